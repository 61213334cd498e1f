import re

from tests.locations import REPOSITORY

PACKAGE = REPOSITORY / "h2aseg_nnunet"


def test_every_package_and_module_is_on_a_floor():
    """`lint-imports` knows nothing of a package that the contract does not name."""
    (layers,) = re.findall(
        r"^layers = \[$(.*?)^\]$", (REPOSITORY / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE
    )
    named = re.findall(r"h2aseg_nnunet\.([\w.]+)", layers)

    modules = (
        path.relative_to(PACKAGE).with_suffix("")
        for folder in (PACKAGE, PACKAGE / "petct")
        for path in folder.iterdir()
        if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
    )
    assert sorted(named) == sorted({".".join(path.parts) for path in modules} - {"petct"})
