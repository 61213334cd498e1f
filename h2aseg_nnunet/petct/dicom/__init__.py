"""From a scanner's export, a table or nnU-Net's images to images for a network, and from masks to DICOM objects."""

from importlib.util import find_spec

from h2aseg_nnunet.errors import UserError


def require_dicom() -> None:
    """Make sure that the libraries of the extra `dicom` are installed.

    Raises:
        UserError: If not.
    """
    missing = [name for name in ("pydicom", "highdicom") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} not installed: pip install 'h2aseg_nnunet[dicom]', or in a clone '.[dicom]'."
        )
