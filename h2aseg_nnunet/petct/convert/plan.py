"""What a converter decides: which files are which case of the nnU-Net dataset. No image is opened for it."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.images.grids import Box
from h2aseg_nnunet.petct.labels import Declared, Labels

PET_CHANNELS = {"CT": "CT", "PET": "PET", "SUV": "noNorm"}
"""What `--pet-channel` chooses from -> the channel's name in dataset.json, by which nnU-Net normalizes."""

BACKGROUND, IGNORE = "background", "ignore"
"""nnU-Net's own names of labels."""


class Fold(TypedDict):
    """One entry of nnU-Net's splits_final.json."""

    train: list[str]
    val: list[str]


@dataclass(frozen=True)
class Case:
    """One study.

    Attributes:
        name: nnU-Net's case identifier.
        patient: Studies of one patient stay on one side of every fold.
        ct: File of the CT.
        pet: File of the PET.
        label: File of the reference; None where there is none, which test cases only may lack.
        training: Whether it goes to imagesTr and labelsTr, else to imagesTs and labelsTs.
        stratum: Group of which each fold gets its share, for instance the tracer.
        box_mm: Box outside of which voxels are cut off: x1, y1, z1, x2, y2, z2 (ITK's physical space), if given.
    """

    name: str
    patient: str
    ct: Path
    pet: Path
    label: Path | None = None
    training: bool = True
    stratum: str = ""
    box_mm: Box | None = None

    @property
    def sources(self) -> dict[str, Path]:
        files = {"ct": self.ct, "pet": self.pet, "label": self.label}
        return {role: file for role, file in files.items() if file is not None}


@dataclass(frozen=True)
class Plan:
    """A whole conversion.

    Attributes:
        name: Name of the dataset, as in DatasetXXX_name.
        layout: What the source is, in words.
        labels: Names of label 1, 2, ...
        refused: Studies that cannot become a case, with the reason.
        folds: Folds delivered with the source, if any.
        one_grid: The source promises CT and PET on one grid, so that a case where they are not is refused.
        reference: Where the data comes from, for dataset.json.
        details: Options of this layout, for the record.
        notes: What a user should know, one sentence each.
        labels_by: Option that names the labels, for messages.
        listed: The source lists its cases one by one, so that a finished case that it lists no more was taken out.

    Raises:
        UserError: If two cases would have one name (also where the file system ignores case), there is none, or a
            label cannot have its name.
    """

    name: str
    layout: str
    source: Path
    labels: tuple[str, ...]
    cases: tuple[Case, ...]
    refused: dict[str, str] = field(default_factory=dict)
    folds: list[Fold] | None = None
    one_grid: bool = False
    reference: str = ""
    details: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    labels_by: str = ""
    listed: bool = False

    def __post_init__(self) -> None:
        _check_labels(self.labels)
        if not self.cases and not self.refused:
            raise UserError(f"{self.source} has no case to convert.")
        seen: dict[str, Case] = {}
        for case in self.cases:
            if (other := seen.setdefault(case.name.casefold(), case)) is not case:
                raise UserError(f"Two studies would be called {case.name!r}: {other.ct} and {case.ct}.")

    @property
    def label_values(self) -> dict[str, int]:
        """Name and value of each label in dataset.json, without background."""
        return {name: value for value, name in enumerate(self.labels, start=1)}

    @property
    def lesion_values(self) -> dict[str, int]:
        """Name and value of each label that is a lesion's: all but nnU-Net's ignore label."""
        return {name: value for name, value in self.label_values.items() if name != IGNORE}

    @property
    def declared(self) -> Declared:
        """The values that label maps may hold."""
        values = self.label_values
        ignore = values.get(IGNORE)
        classes: dict[str, tuple[int, ...]] = {name: (value,) for name, value in self.lesion_values.items()}
        how = f"name the label with {self.labels_by}" if self.labels_by else ""
        labels = Labels((0, *self.lesion_values.values()), classes, ignore)
        return Declared(labels, self.labels_by or self.layout, how)

    @property
    def num_patients(self) -> int:
        return len({case.patient for case in self.cases})


def _check_labels(labels: tuple[str, ...]) -> None:
    """Names become keys of dataset.json: there background is 0, and nnU-Net's ignore label must be the highest.

    Raises:
        UserError: If a name cannot be.
    """
    expected = "Name label 1, 2, ... of the label maps, each once; background is 0 and not named."
    for position, name in enumerate(labels):
        if not name.strip() or "," in name or name != name.strip():
            raise UserError(f"--labels: {name!r} cannot be a label's name. {expected} Separate names by spaces.")
        if name.casefold() == BACKGROUND:
            raise UserError(f"--labels: {name} would be label {position + 1}. {expected}")
        if name.casefold() in {other.casefold() for other in labels[:position]}:
            raise UserError(f"--labels: {name} is named twice. {expected}")
        if name.casefold() == IGNORE and (name != IGNORE or position == 0 or position + 1 < len(labels)):
            raise UserError(
                f"--labels: {name} is nnU-Net's name of voxels that nobody judged: it must be the last of several, "
                f"spelled {IGNORE}."
            )


def is_found(file: Path) -> bool:
    """Whether a file can be reached; a disk that is gone, or refuses, is no reason to stop."""
    try:
        return file.exists()
    except OSError:
        return False


def source_folder(source: str | Path) -> Path:
    """The folder with links resolved.

    Raises:
        UserError: If it is none.
    """
    folder = Path(source).resolve()
    if not folder.is_dir():
        raise UserError(f"{source} is not a folder; the folder of the unpacked challenge data was expected.")
    return folder


def _is_size(mm: float) -> bool:
    return math.isfinite(mm) and mm > 0


@dataclass(frozen=True)
class ConversionOptions:
    """How to carry a plan out.

    Attributes:
        spacing_mm: Resample CT, PET and labels to this spacing; None keeps the CT's grid.
        reorient: Exchange and flip axes, without interpolation, so that all cases have those that most have.
        link: Symbolic links instead of copies where a file needs no change.
        pet_channel: One of `PET_CHANNELS`: how nnU-Net normalizes channel 1.

    Raises:
        UserError: If the spacing is not three positive numbers.
    """

    spacing_mm: tuple[float, float, float] | None = None
    link: bool = False
    pet_channel: str = "CT"
    reorient: bool = False

    def __post_init__(self) -> None:
        if self.spacing_mm is not None and not (len(self.spacing_mm) == 3 and all(map(_is_size, self.spacing_mm))):
            raise UserError(f"The spacing must be one or three positive numbers in mm, not {self.spacing_mm}.")

    @property
    def channel_names(self) -> dict[str, str]:
        return {str(CT): "CT", str(PET): PET_CHANNELS[self.pet_channel]}
