"""What a converter decides: which files are which case of the nnU-Net dataset. No image is opened for it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.images.grids import Box


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
        label: None where there is no reference, allowed for test cases only.
        training: imagesTr and labelsTr if true, else imagesTs and labelsTs.
        stratum: Each fold gets its share of every stratum, for instance of each tracer.
        box_mm: Keep only voxels inside x1, y1, z1, x2, y2, z2 (ITK's physical space), if given.
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
        name: Of the dataset, as in DatasetXXX_name.
        layout: What the source is, in words.
        labels: Names of label 1, 2, ...
        refused: Studies that cannot become a case, with the reason.
        folds: Folds delivered with the source, if any.
        one_grid: The source promises CT and PET on one grid, so that a case where they are not is refused.
        reference: Where the data comes from, for dataset.json.
        details: Options of this layout, for the record.
        notes: What a user should know, one sentence each.

    Raises:
        UserError: If two cases would have one name (also where the file system ignores case), or there is none.
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

    def __post_init__(self) -> None:
        if not self.cases and not self.refused:
            raise UserError(f"{self.source} has no case to convert.")
        seen: dict[str, Case] = {}
        for case in self.cases:
            if (other := seen.setdefault(case.name.casefold(), case)) is not case:
                raise UserError(f"Two studies would be called {case.name!r}: {other.ct} and {case.ct}.")

    @property
    def num_patients(self) -> int:
        return len({case.patient for case in self.cases})


def source_folder(source: str | Path) -> Path:
    """The folder with links resolved.

    Raises:
        UserError: If it is none.
    """
    folder = Path(source).resolve()
    if not folder.is_dir():
        raise UserError(f"{source} is not a folder; the folder of the unpacked challenge data was expected.")
    return folder


@dataclass(frozen=True)
class Options:
    """How to carry a plan out.

    Attributes:
        spacing_mm: Resample CT, PET and labels to this spacing; None keeps the CT's grid.
        link: Symbolic links instead of copies where a file needs no change.
        pet_channel: Name of channel 1 in dataset.json, from which nnU-Net chooses the normalization.

    Raises:
        UserError: If the spacing is not three positive numbers.
    """

    spacing_mm: tuple[float, float, float] | None = None
    link: bool = False
    pet_channel: str = "CT"

    def __post_init__(self) -> None:
        if self.spacing_mm is not None and (len(self.spacing_mm) != 3 or min(self.spacing_mm) <= 0):
            raise UserError(f"The spacing must be one or three positive numbers in mm, not {self.spacing_mm}.")

    @property
    def channel_names(self) -> dict[str, str]:
        return {str(CT): "CT", str(PET): self.pet_channel}
