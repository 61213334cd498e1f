"""The oldest nnU-Net that we allow, in an environment of its own, passes the tests of every interface we use.

All other tests run with the nnU-Net that is installed: the newest in a fresh environment.
"""

import os
import subprocess
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.locations import REPOSITORY
from tests.release.test_install import OURS, Environment, source  # noqa: F401, `source` is a fixture

pytestmark = pytest.mark.slow

TESTS = REPOSITORY / "tests"
SELECTED = [
    "unit/test_register.py",
    "unit/trainer",
    "integration/test_configurations.py",
    "integration/test_label_schemes.py",
    "integration/test_pretrained_weights.py",
    "integration/test_resume.py",
]
NO_INDEX = "(from versions: none)"
"""What pip says of a package when no index answers; one that answers lists its releases."""


def oldest_nnunet() -> Version:
    """The lower bound that pyproject.toml declares."""
    (requirement,) = (r for r in map(Requirement, metadata.requires("h2aseg_nnunet")) if r.name == "nnunetv2")
    (bound,) = (specifier.version for specifier in requirement.specifier if specifier.operator == ">=")
    return Version(bound)


def test_the_oldest_nnunet_passes(source, tmp_path):  # noqa: F811
    environment = Environment(tmp_path / "environment", without=(*OURS, "nnunetv2"))
    download = subprocess.run(
        [environment.executable, "-m", "pip", "install", "--no-deps", f"nnunetv2=={oldest_nnunet()}"],
        capture_output=True,
        text=True,
    )
    if NO_INDEX in download.stderr:
        pytest.skip(f"no package index to download nnunetv2 {oldest_nnunet()} from: {download.stderr[-200:]}")
    assert download.returncode == 0, download.stderr  # an index that has other releases only: our lower bound is wrong
    environment.install(source)
    version = environment.python("-c", "from importlib.metadata import version; print(version('nnunetv2'))").stdout

    done = subprocess.run(
        [
            *(environment.executable, "-m", "pytest", "-q", "--durations=5", "-p", "no:cacheprovider"),
            *("--basetemp", tmp_path / "basetemp", *(TESTS / name for name in SELECTED)),
        ],
        cwd=environment.elsewhere,
        env={name: value for name, value in os.environ.items() if not name.startswith(("nnUNet", "PYTHON"))},
        capture_output=True,
        text=True,
    )

    print(done.stdout)
    assert Version(version.strip()) == oldest_nnunet()
    assert done.returncode == 0, done.stdout + done.stderr
