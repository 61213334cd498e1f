"""Files of a case: where grand-challenge puts them, and masks that it can read."""

from pathlib import Path
from typing import NamedTuple

import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.challenge.interfaces import CT, PET, Interface
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.images.grids import Grid, with_grid

ENDINGS = (".mha", ".nii.gz", ".nii", ".mhd")


class CaseFiles(NamedTuple):
    """Images of a case; None where there is not exactly one.

    Attributes:
        ct, pet: The files.
        problem: What is wrong with them; empty if nothing is.
    """

    ct: Path | None
    pet: Path | None
    problem: str


def find_case(folder: Path) -> CaseFiles:
    """Find the CT and the PET of a case; their names are uuids, and differ."""
    found: dict[str, Path | None] = {}
    problems = []
    for place in (CT, PET):
        files = sorted(file for ending in ENDINGS for file in (folder / place).glob(f"*{ending}"))
        found[place] = files[0] if len(files) == 1 else None
        if len(files) != 1:
            problems.append(f"{folder / place} holds {len(files)} images, one was expected")
    return CaseFiles(found[CT], found[PET], "; ".join(problems) + "." * bool(problems))


def mask_file(output: Path, interface: Interface, case: CaseFiles) -> Path:
    """Return the file of the mask."""
    image = case.ct or case.pet
    name = image.name.split(".")[0] if interface.by_uuid and image is not None else "output"
    return output / interface.mask / f"{name}.mha"


def grid_of_mask(case: CaseFiles, interface: Interface) -> Grid:
    """Return the grid that the mask must have, as far as any header tells: one voxel if none does."""
    own, other = (case.ct, case.pet) if interface.grid == "ct" else (case.pet, case.ct)
    for file in (own, other):
        if file is not None and (grid := _grid_in_header(file)) is not None:
            return grid
    return Grid((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def write_mask(mask: SimpleITK.Image, grid: Grid, file: Path) -> None:
    """Write a mask under exactly this header, compressed; the file is whole or not there.

    Raises:
        UserError: If the mask has another size.
    """
    if mask.GetSize() != tuple(grid.size):
        raise UserError(f"the mask has {mask.GetSize()} voxels, the challenge wants {grid.size}.")
    with replacing(file) as temporary:
        SimpleITK.WriteImage(with_grid(SimpleITK.Cast(mask, SimpleITK.sitkUInt8), grid), str(temporary), True)


def empty_mask(grid: Grid) -> SimpleITK.Image:
    """Return a mask without any lesion."""
    return SimpleITK.Image(grid.size, SimpleITK.sitkUInt8)


def _grid_in_header(file: Path) -> Grid | None:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    if reader.GetDimension() != 3:
        return None
    return Grid(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
