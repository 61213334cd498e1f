"""Which files belong to a case: nnU-Net's layout, case_0000, case_0001, ... in one folder."""

import re
from pathlib import Path
from typing import NamedTuple

import SimpleITK

from h2aseg_nnunet.petct.images.grids import Grid
from h2aseg_nnunet.petct.images.reading import read_image


class CaseFiles(NamedTuple):
    """The images of one case, in the order of their channels."""

    name: str
    images: list[Path]

    def read(self) -> list[SimpleITK.Image]:
        """The images as they lie in the files.

        Raises:
            ValueError: If a file cannot be read, or they do not share one grid.
        """
        images = [read_image(file) for file in self.images]
        grid = Grid.of(images[0])
        for file, image in zip(self.images[1:], images[1:], strict=True):
            if Grid.of(image).size != grid.size or grid.start_of(Grid.of(image)) != (0, 0, 0):
                raise ValueError(f"{file} is not on the grid of {self.images[0]}: nnU-Net needs one grid per case.")
        return images


def find_cases(given: Path, num_channels: int, file_ending: str) -> list[CaseFiles]:
    """The cases meant by a folder (all in it), by FOLDER/case, or by one file of a case.

    Args:
        given: As the user wrote it.
        num_channels: Images of each case.
        file_ending: From dataset.json.

    Raises:
        ValueError: If there is none, or files are missing.
    """
    channel = re.compile(rf"(.+)_\d{{4}}{re.escape(file_ending)}")
    if given.is_dir():
        found = (channel.fullmatch(file.name) for file in given.iterdir() if not file.name.startswith("."))
        names = sorted({match[1] for match in found if match})
        if not names:
            raise ValueError(f"{given} holds no case: no file like case_0000{file_ending} is in it.")
        return [_files(given, name, num_channels, file_ending) for name in names]
    match = channel.fullmatch(given.name)
    return [_files(given.parent, match[1] if match else given.name, num_channels, file_ending)]


def _files(folder: Path, name: str, num_channels: int, file_ending: str) -> CaseFiles:
    images = [folder / f"{name}_{channel:04d}{file_ending}" for channel in range(num_channels)]
    missing = [file.name for file in images if not file.is_file()]
    if missing:
        raise ValueError(
            f"{folder / name}: {', '.join(missing)} missing. Give a folder of images, FOLDER/case for "
            f"FOLDER/case_0000{file_ending}, or one file of a case."
        )
    return CaseFiles(name, images)
