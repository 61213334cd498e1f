"""Installs h2aseg_nnunet, and the start-up files through which stock nnU-Net finds its trainers."""

import base64
import hashlib
import re
import zipfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
README = ROOT / "README.md"
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "h2aseg_nnunet/__init__.py").read_text(), re.MULTILINE)[1]
# `.start` (PEP 829) replaces `.pth` from Python 3.15 on. Python runs them only at the root of site-packages.
STARTUP_FILES = [ROOT / "h2aseg_nnunet/_startup" / name for name in ("h2aseg_nnunet.pth", "h2aseg_nnunet.start")]


class BuildPy(build_py):
    """Puts the start-up files beside the package, from where every wheel takes them."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for file, target in zip(STARTUP_FILES, self._startup_targets(), strict=True):
                self.copy_file(str(file), target)

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *self._startup_targets()]

    def _startup_targets(self):
        return [str(Path(self.build_lib, file.name)) for file in STARTUP_FILES]


class EditableWheel(editable_wheel):
    """Adds the start-up files to an editable wheel: setuptools has no hook for files at its root."""

    def run(self):
        super().run()
        (wheel,) = Path(self.dist_dir).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        (record,) = (name for name in contents if name.endswith(".dist-info/RECORD"))
        for file in STARTUP_FILES:
            contents[file.name] = file.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(contents[file.name]).digest()).rstrip(b"=").decode()
            contents[record] += f"{file.name},sha256={digest},{len(contents[file.name])}\n".encode()
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)


if __name__ == "__main__":  # nnU-Net imports this file when nnUNet_extTrainer points at the repository
    setup(
        name="h2aseg_nnunet",
        version=VERSION,
        description="H2ASeg tumor segmentation in PET/CT as a plugin for nnU-Net v2",
        long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        classifiers=[
            "Development Status :: 4 - Beta",
            "Environment :: GPU :: NVIDIA CUDA",
            "Intended Audience :: Healthcare Industry",
            "Intended Audience :: Science/Research",
            "Operating System :: OS Independent",
            "Programming Language :: Python :: 3",
            "Topic :: Scientific/Engineering :: Artificial Intelligence",
            "Topic :: Scientific/Engineering :: Medical Science Apps.",
        ],
        # _nnunet_ext has no __init__.py, so find_packages leaves it out; named, it is in every kind of install
        packages=[*find_packages(include=["h2aseg_nnunet*"]), "h2aseg_nnunet._nnunet_ext"],
        package_data={
            "h2aseg_nnunet": ["_startup/*"],  # puts them into the sdist
            "h2aseg_nnunet.petct.report": ["templates/*"],
        },
        python_requires=">=3.10",
        install_requires=[
            "nnunetv2>=2.8,<3",  # the framework; from 2.8 on it searches nnUNet_extTrainer for trainers
            "torch>=2.3",  # scaled_dot_product_attention with masks and a scale
            "dynamic-network-architectures>=0.4",  # building blocks and weight initialization of nnU-Net's networks
            "batchgenerators>=0.25",  # nnU-Net's augmentation workers, which the trainers inherit
            "simpleitk>=2.2",  # reads and writes images in physical space
            "nibabel",  # notices damaged NIfTI files, which SimpleITK reads without a word
            "scikit-learn>=1.1",  # stratified folds grouped by patient
            "numpy>=1.24",  # nnU-Net's own lower bound
            "einops",  # reshapes with named axes
            "matplotlib",  # pictures
            "contourpy",  # outlines of masks; matplotlib draws its contours with it
            "pillow",  # PNG and JPEG inside the report's pages
            "jinja2",  # the report's pages; escapes every text put into them
            "connected-components-3d>=3.18",  # lesions, with the connectivity and library of the AutoPET challenges
            "scipy",  # blurring and distance transforms of the phantoms, the signed-rank test of comparisons
            "tqdm",  # progress bars
        ],
        extras_require={
            # HD95 and surface Dice; not above, because new releases of it would replace the torch that a machine has
            "surface": ["monai>=1.3"],
            "test": [
                "pytest",
                "hypothesis",  # random plans
                "monai>=1.3",  # as under surface
                "ruff>=0.17,<0.18",  # a newer minor version may format differently
                "mypy",  # types, where pyproject.toml says they pay
            ],
        },
        entry_points={"console_scripts": ["h2aseg = h2aseg_nnunet.cli:main"]},
        cmdclass={"build_py": BuildPy, "editable_wheel": EditableWheel},
    )
