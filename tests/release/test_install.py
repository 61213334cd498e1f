"""Every way to install the plugin, each in an environment of its own: stock nnU-Net finds the trainer by name."""

import base64
import hashlib
import os
import shutil
import subprocess
import venv
import zipfile
from importlib import metadata
from pathlib import Path
from sysconfig import get_path

import nnunetv2
import pytest

from tests.locations import REPOSITORY

OURS = ("h2aseg", "__editable__")  # how our own files in site-packages begin, whichever way they were installed
FIND_TRAINER = """
import h2aseg_nnunet, nnunetv2
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
found = recursive_find_trainer_class_by_name("nnUNetTrainerH2ASeg")
print(found is h2aseg_nnunet.nnUNetTrainerH2ASeg, h2aseg_nnunet.__file__, nnunetv2.__file__, sep="\\n")
"""
SHOW_VARIABLE = "import os; print(os.environ.get('nnUNet_extTrainer'))"


class Environment:
    """A virtual environment that borrows the packages of the running one, through a folder of links."""

    def __init__(self, folder, without):
        venv.create(folder, symlinks=True)
        links = folder / "links"
        links.mkdir()
        for entry in Path(get_path("purelib")).iterdir():
            if not entry.name.lower().startswith(without):
                (links / entry.name).symlink_to(entry)
        self.executable = folder / "bin" / "python"
        (self.site_packages,) = folder.glob("lib/python*/site-packages")
        (self.site_packages / "borrowed.pth").write_text(f"{links}\n")
        self.elsewhere = folder / "elsewhere"  # no package of ours lies in the working directory
        self.elsewhere.mkdir()

    def python(self, *arguments):
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet", "PYTHON"))}
        done = subprocess.run(
            [self.executable, *arguments], cwd=self.elsewhere, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def install(self, *arguments):
        self.python("-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", *arguments)

    def uninstall(self):
        self.python("-m", "pip", "uninstall", "--yes", "h2aseg_nnunet")

    def files(self):
        return {path for folder in (self.site_packages, self.executable.parent) for path in folder.rglob("*")}


@pytest.fixture
def source(tmp_path):
    """A copy of the sources: building leaves files behind."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (REPOSITORY / name).is_file():
            shutil.copy(REPOSITORY / name, copy)
    shutil.copytree(REPOSITORY / "h2aseg_nnunet", copy / "h2aseg_nnunet", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def regular_nnunet(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("regular_nnunet"), without=OURS)


@pytest.fixture(scope="module")
def editable_nnunet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("editable_nnunet")
    environment = Environment(folder, without=(*OURS, "nnunetv2"))
    project = folder / "nnunet_source"
    installed = Path(nnunetv2.__file__).parent
    shutil.copytree(installed, project / "nnunetv2", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "nnunetv2"\nversion = "{metadata.version("nnunetv2")}"\n'
        '[tool.setuptools.packages.find]\ninclude = ["nnunetv2*"]\n'
    )
    environment.install("--editable", project)
    return environment


@pytest.fixture(params=["regular_nnunet", "editable_nnunet"])
def environment(request):
    return request.getfixturevalue(request.param)


def assert_nnunet_finds_the_trainer(environment, package_in):
    *_, is_ours, plugin, nnunet = environment.python("-c", FIND_TRAINER).stdout.splitlines()
    assert is_ours == "True"
    assert Path(plugin).is_relative_to(package_in)
    assert Path(nnunet).is_relative_to(environment.executable.parents[1])  # not that of the checkout


def test_regular_install(environment, source):
    before = environment.files()

    environment.install(source)
    assert_nnunet_finds_the_trainer(environment, package_in=environment.site_packages)
    environment.uninstall()

    assert environment.files() == before


@pytest.mark.parametrize("mode", ["lenient", "strict", "compat"])
def test_editable_install(regular_nnunet, source, mode):
    check_editable_install(regular_nnunet, source, mode)


def test_editable_install_beside_editable_nnunet(editable_nnunet, source):
    check_editable_install(editable_nnunet, source, mode="lenient")


def check_editable_install(environment, source, mode):
    before = environment.files()

    environment.install("--editable", source, "--config-settings", f"editable_mode={mode}")
    assert_nnunet_finds_the_trainer(environment, package_in=source)
    environment.uninstall()

    assert environment.files() == before


def build(environment, source, kind, folder):
    code = "import os, sys, setuptools.build_meta as backend; os.chdir(sys.argv[1]); backend.build_{}(sys.argv[2])"
    environment.python("-c", code.format(kind), source, folder)
    (archive,) = (path for path in folder.iterdir() if path.is_file())
    return archive


def test_wheel_built_from_the_sdist(regular_nnunet, source, tmp_path):
    regular_nnunet.install(build(regular_nnunet, source, "sdist", tmp_path))
    assert_nnunet_finds_the_trainer(regular_nnunet, package_in=regular_nnunet.site_packages)
    regular_nnunet.uninstall()


def test_the_editable_wheel_records_the_start_up_files(regular_nnunet, source, tmp_path):
    # pip records what it installs; other installers refuse a file that is missing or differs in RECORD
    with zipfile.ZipFile(build(regular_nnunet, source, "editable", tmp_path)) as wheel:
        (record,) = (name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
        recorded = dict(line.split(",", maxsplit=1) for line in wheel.read(record).decode().splitlines())

        assert sorted(recorded) == sorted(wheel.namelist())
        for name in ("h2aseg_nnunet.pth", "h2aseg_nnunet.start"):
            content = wheel.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert recorded[name] == f"sha256={digest},{len(content)}"


@pytest.fixture
def installed(regular_nnunet, source):
    regular_nnunet.install(source)
    yield regular_nnunet
    regular_nnunet.uninstall()


def test_start_up_imports_nothing_but_the_registration(installed):
    line = (installed.site_packages / "h2aseg_nnunet.pth").read_text()
    code = (
        f"import os, sys; sys.path.append({str(installed.site_packages)!r}); before = set(sys.modules); "
        f"exec({line!r}); print(*sorted(set(sys.modules) - before))"
    )

    done = installed.python("-S", "-c", code)  # -S: the line has not run before

    assert done.stdout.split() == ["h2aseg_nnunet", "h2aseg_nnunet._register"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(shutil.rmtree, id="deleted"),
        pytest.param(lambda package: (package / "_register.py").unlink(), id="incomplete"),
        pytest.param(lambda package: (package / "__init__.py").write_text("import"), id="syntax error"),
        pytest.param(lambda package: (package / "__init__.py").write_text("1 / 0"), id="exception"),
    ],
)
def test_a_broken_package_does_not_disturb_python(installed, damage):
    assert "_nnunet_ext" in installed.python("-c", SHOW_VARIABLE).stdout

    damage(installed.site_packages / "h2aseg_nnunet")
    done = installed.python("-c", SHOW_VARIABLE)

    assert done.stdout.strip() == "None"
    assert done.stderr == ""
