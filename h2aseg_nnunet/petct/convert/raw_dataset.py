"""nnU-Net's raw dataset folder: names of files, and dataset.json and folds as a conversion writes them."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.convert.plan import Fold, Options, Plan
from h2aseg_nnunet.petct.files import OutputFolder, as_json, read_json, write_text
from h2aseg_nnunet.petct.nnunet.folders import new_raw_dataset, preprocessed_splits

FILE_ENDING = ".nii.gz"
MODALITIES = {str(CT): "CT in Hounsfield units", str(PET): "PET in SUV"}
NORMALIZATION = {
    "CT": 'Both channels are named "CT" because nnU-Net then clips and standardizes each by statistics of the whole '
    "dataset: a given SUV is the same input in every patient, whatever part of the body the scan covers.",
    "PET": 'Channel 1 is named "PET", so nnU-Net standardizes each PET image by its own mean and standard deviation: '
    "its scale need not be SUV, but SUVs are no longer comparable between patients.",
}


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


def describe(plan: Plan, options: Options, settings: dict[str, Any], num_training: int) -> dict[str, Any]:
    """Return the content of dataset.json."""
    return {
        "channel_names": options.channel_names,
        "labels": {"background": 0} | plan.label_values,
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
        "name": plan.name,
        "description": f"{plan.layout}, PET/CT on one grid. {NORMALIZATION[options.pet_channel]}",
        "reference": plan.reference,
        "converted_by": f"h2aseg convert, h2aseg_nnunet {__version__}",
        "modalities": MODALITIES,
        "conversion": settings,
    }


def publish_splits(folds: list[Fold], raw: RawFolder, earlier_sha256: str | None) -> tuple[str | None, list[str]]:
    """Write splits_final.json beside dataset.json and, if nnUNet_preprocessed is set, where nnU-Net's training looks.

    nnU-Net's planning copies the first to the second, but stops at a difference and is not run with plans from
    elsewhere. Another file that is already there stays, unless it is `earlier_sha256` of an earlier run and no
    preprocessed data lies beside it.

    Returns:
        The checksum of the written folds, and what a user should know.
    """
    if not folds:
        return None, []
    elsewhere = preprocessed_splits(raw.path.name)
    files = [raw.splits, *([] if elsewhere is None else [elsewhere])]
    text = as_json(folds)
    notes = []
    for file in files:
        ours = file.is_file() and sha256(file.read_bytes()).hexdigest() == earlier_sha256
        unused = file == raw.splits or not any(other != file for other in file.parent.glob("*"))
        if not file.exists() or (ours and unused):
            write_text(file, text)
        elif read_json(file) != folds:
            notes.append(
                f"{file} holds other folds and was left. If no training depends on it, remove it and run again."
            )
    return sha256(text.encode()).hexdigest(), notes
