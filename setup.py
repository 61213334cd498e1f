"""Installs the start-up files through which stock nnU-Net finds the trainers; all else is in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_py import build_py

# `.start` (PEP 829) replaces `.pth` from Python 3.15 on. Python runs both only at the root of site-packages.
STARTUP_FILES = ["h2aseg_nnunet/_startup/h2aseg_nnunet.pth", "h2aseg_nnunet/_startup/h2aseg_nnunet.start"]


class BuildPy(build_py):
    """Puts the start-up files beside the package, at the root of every wheel."""

    def run(self):
        super().run()
        # an editable wheel leaves `build_lib` out, and takes what setuptools would install
        root = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        for file in STARTUP_FILES:
            self.copy_file(file, root)


if __name__ == "__main__":  # nnU-Net imports this file when nnUNet_extTrainer points at the repository
    setup(cmdclass={"build_py": BuildPy})
