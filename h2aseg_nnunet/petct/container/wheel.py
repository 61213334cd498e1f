"""The package that runs here as a wheel, without building it: installed from a clone or not, without network."""

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import h2aseg_nnunet
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import replacing

NAME = "h2aseg_nnunet"
STARTUP = "_startup"
"""Folder of the files that go to the root of site-packages, where Python runs them: the trainers are found by them."""

WHEEL = "Wheel-Version: 1.0\nGenerator: h2aseg container\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path) -> Path:
    """Write a wheel of this package.

    Args:
        folder: Folder for it.

    Returns:
        The wheel.

    Raises:
        UserError: If this package is not installed.
    """
    try:
        installed = distribution(NAME)
    except ModuleNotFoundError as error:
        raise UserError(f"{NAME} is not installed here: pip install . in its repository.") from error
    package = Path(h2aseg_nnunet.__file__).parent
    contents = {
        f"{NAME}/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    contents |= {file.name: file.read_bytes() for file in sorted((package / STARTUP).iterdir()) if file.is_file()}
    info = f"{NAME}-{installed.version}.dist-info"
    contents |= {f"{info}/{name}": text.encode() for name, text in _about(installed).items()}
    contents[f"{info}/RECORD"] = _record(contents, f"{info}/RECORD")
    wheel = folder / f"{NAME}-{installed.version}-py3-none-any.whl"
    with replacing(wheel) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return wheel


def _about(installed: Distribution) -> dict[str, str]:
    metadata = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    return {"METADATA": metadata, "WHEEL": WHEEL, "entry_points.txt": installed.read_text("entry_points.txt") or ""}


def _record(contents: dict[str, bytes], name: str) -> bytes:
    lines = []
    for file, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{name},,", ""]).encode()
