"""nnU-Net's raw dataset folder: names of files and folders."""

import re
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.files import OutputFolder
from h2aseg_nnunet.petct.nnunet.folders import new_raw_dataset

FILE_ENDING = ".nii.gz"


class RawFolder(NamedTuple):
    """One DatasetXXX folder that `h2aseg convert` makes, or one inside it in which a new version is made."""

    path: Path

    @property
    def output(self) -> OutputFolder:
        """The folder as an output, which is ours if it has a record."""
        keys = ("settings", "cases")
        return OutputFolder(self.path, self.record.name, "a dataset of h2aseg convert", keys, "choose another -d")

    @property
    def record(self) -> Path:
        """What was done for every case; its presence says that `h2aseg convert` made the folder."""
        return self.path / "conversion.json"

    @property
    def lock(self) -> Path:
        """Held while a conversion works in the folder."""
        return self.path / ".conversion.lock"

    @property
    def staging(self) -> "RawFolder":
        """Where cases are made before they are put into their place one by one."""
        return RawFolder(self.path / ".converting")

    @property
    def anew(self) -> "RawFolder":
        """Where a whole dataset is made that will take the place of this one."""
        return RawFolder(self.path / ".overwriting")

    @property
    def dataset_json(self) -> Path:
        return self.path / "dataset.json"

    @property
    def splits(self) -> Path:
        return self.path / "splits_final.json"

    def files(self, case: str, training: bool) -> dict[str, Path]:
        """Return where the CT, PET and label of a case belong."""
        part = "Tr" if training else "Ts"
        images, labels = self.path / f"images{part}", self.path / f"labels{part}"
        return {
            "ct": images / f"{case}_{CT:04d}{FILE_ENDING}",
            "pet": images / f"{case}_{PET:04d}{FILE_ENDING}",
            "label": labels / f"{case}{FILE_ENDING}",
        }


def raw_folder(dataset_id: int, name: str) -> RawFolder:
    """Return nnUNet_raw/DatasetXXX_name.

    Raises:
        UserError: If number or name cannot be, nnUNet_raw is not set, or nnU-Net knows another dataset of this number.
    """
    if not 1 <= dataset_id <= 999:
        raise UserError(f"The dataset number must be between 1 and 999, not {dataset_id}.")
    if not re.fullmatch(r"\w[\w-]*", name):
        raise UserError(f"The dataset's name may have letters, digits, _ and -, not {name!r}.")
    return RawFolder(new_raw_dataset(dataset_id, name))
