"""What ITK, by which nnU-Net reads images, says of a file."""

from pathlib import Path

import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.grids import Grid


def header_grid(file: Path) -> Grid:
    """What ITK reads of a header.

    Raises:
        UserError: If it does not.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(f"cannot be read: {itk_reason(error)}") from error
    return Grid(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())


def itk_reason(error: RuntimeError) -> str:
    """The last line of ITK's message, where the reason is."""
    return str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ").strip()
