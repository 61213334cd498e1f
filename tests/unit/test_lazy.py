import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = [
    f"h2aseg_nnunet.{name}" for name in ("demo", "explain", "petct.compare", "petct.evaluate", "petct.robustness")
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_found(package):
    module = import_module(package)

    assert module.__all__
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_other_names_are_missing_by_name(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'unknown'"):
        import_module(package).unknown  # noqa: B018


def test_packages_are_imported_without_the_libraries_that_take_seconds():
    code = f"import sys, {', '.join(PACKAGES)}; assert not {{'torch', 'scipy', 'matplotlib'}} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True)
