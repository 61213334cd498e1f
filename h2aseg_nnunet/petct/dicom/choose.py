"""Which CT and which PET of a study belong together. The rule is stated, and can be overridden by naming series."""

from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.series import Series
from h2aseg_nnunet.petct.dicom.stack import Stack, stack
from h2aseg_nnunet.petct.dicom.tree import Study
from h2aseg_nnunet.petct.dicom.values import text_of, value_of

FEWEST_SLICES = 5
"""Fewer are a localizer or a projection."""

NOT_ACQUIRED = {"LOCALIZER", "PROJECTION IMAGE", "MIP"}
SECOND_HAND = "SECONDARY"
"""Image type of what was computed or captured; it is used only if the user names the series."""

COVERAGE_STEP = 0.05
"""CTs whose coverage of the PET differs by less than this cover it alike."""


class Pair(NamedTuple):
    """A CT and a PET in one frame of reference.

    Attributes:
        ct, pet: The series.
        passed_over: Name of every other series, with the reason.
        notes: What the user should know, as sentences.
    """

    ct: Series
    pet: Series
    passed_over: dict[str, str]
    notes: list[str]


def choose_pair(study: Study, ct_uid: str | None = None, pet_uid: str | None = None) -> Pair:
    """Choose the CT and the PET of a study.

    The PET is corrected for attenuation, and of several the one of the largest extent, then of most slices, then of the
    lowest series number. The CT shares its frame of reference, and of several the one that covers most of the PET,
    then an original before a derived one, then the lowest series number.

    Args:
        study: The study.
        ct_uid: Series instance UID of the CT, to override the rule.
        pet_uid: That of the PET. One that is not corrected is refused all the same.

    Raises:
        UserError: If there is no such pair; the message says what was found.
    """
    if study.faults:
        raise UserError(f"{study.name}: {'; '.join(study.faults)}. Export the study again.")
    passed_over: dict[str, str] = {}
    pets = _candidates(study, "PT", pet_uid, passed_over)
    if not pets:
        raise UserError(f"{study.name} has no attenuation-corrected PET. {_found(study, passed_over)}")
    cts = _candidates(study, "CT", ct_uid, passed_over)
    if not cts:
        raise UserError(f"{study.name} has no CT. {_found(study, passed_over)}")
    frames = {ct.frame_of_reference for ct in cts}
    together = [pet for pet in pets if pet.frame_of_reference and pet.frame_of_reference in frames]
    if not together:
        raise UserError(f"{study.name}: no CT shares the frame of reference of a PET. {_found(study, passed_over)}")
    notes = list(study.remarks)
    stacks = _stacks(study, together, passed_over, notes)
    pet = _first(study, {each.uid: _pet_rank(each, stacks[each.uid]) for each in together if each.uid in stacks})
    partners = [ct for ct in cts if ct.frame_of_reference == pet.frame_of_reference]
    stacks |= _stacks(study, partners, passed_over, notes)
    of_pet = stacks[pet.uid]
    ct = _first(study, {each.uid: _ct_rank(each, stacks[each.uid], of_pet) for each in partners if each.uid in stacks})
    chosen = {ct.uid, pet.uid}
    for series in (*pets, *cts):
        if series.uid not in chosen:
            passed_over.setdefault(series.name, "another candidate came first")
    return Pair(ct, pet, passed_over, notes)


def _stacks(study: Study, candidates: list[Series], passed_over: dict[str, str], notes: list[str]) -> dict[str, Stack]:
    """The candidates that form a volume; if there is one, the others are passed over with a note."""
    stacks, errors = {}, {}
    for series in candidates:
        try:
            stacks[series.uid] = stack(series)
        except UserError as error:
            errors[series.name] = str(error)
    if not stacks:
        raise UserError(f"{study.name}: {next(iter(errors.values()))}")
    passed_over |= errors
    notes += [f"passed over: {error}" for error in errors.values()]
    return stacks


def _first(study: Study, ranks: dict[str, tuple]) -> Series:
    """The candidate of the lowest rank."""
    best = min(ranks.values())
    first, *others = [study.series[uid] for uid, rank in ranks.items() if rank == best]
    if others:
        option = "--ct-series" if first.modality == "CT" else "--pet-series"
        raise UserError(f"{study.name}: {first.name} and {others[0].name} are alike: name one with {option}.")
    return first


def why_uncorrected(series: Series) -> str | None:
    """Say why a PET must not be used for SUV: not corrected for attenuation, or for decay although it says so."""
    header = series.header
    value = value_of(header, "CorrectedImage") or []
    corrected = {str(each).strip().upper() for each in ([value] if isinstance(value, str) else value)}
    if text_of(header, "AttenuationCorrected").upper() == "YES":
        corrected.add("ATTN")
    if text_of(header, "DecayCorrected").upper() == "YES" or text_of(header, "DecayCorrection").upper() == "NONE":
        corrected.add("DECY")  # NONE is brought to one time slice by slice
    missing = {"ATTN": "attenuation", "DECY": "decay"}
    lacking = [word for code, word in missing.items() if code not in corrected]
    return f"not corrected for {' and '.join(lacking)}" if lacking else None


def _candidates(study: Study, modality: str, uid: str | None, passed_over: dict[str, str]) -> list[Series]:
    of_modality = [series for series in study.series.values() if series.modality == modality]
    if uid is not None:
        of_modality = [series for series in of_modality if series.uid == uid]
        if not of_modality:
            option = "--ct-series" if modality == "CT" else "--pet-series"
            raise UserError(f"{study.name} has no {modality} series {uid} ({option}). {_found(study, passed_over)}")
    usable = []
    for series in of_modality:
        if reason := _why_unusable(series, named=uid is not None):
            passed_over[series.name] = reason
        else:
            usable.append(series)
    return usable


def _why_unusable(series: Series, named: bool) -> str | None:
    unwanted = NOT_ACQUIRED if named else NOT_ACQUIRED | {SECOND_HAND}
    if found := unwanted.intersection(series.image_type):
        return f"image type {min(found)}"
    if not text_of(series.header, "PhotometricInterpretation").upper().startswith("MONOCHROME"):
        return "a picture, no measured values"
    if len(series.slices) < FEWEST_SLICES:
        return f"{len(series.slices)} slices"
    kind = text_of(series.header, "RescaleType").upper()
    if series.modality == "CT" and kind not in ("", "HU"):
        return f"RescaleType (0028,1054) {kind}, not HU"
    return why_uncorrected(series) if series.modality == "PT" else None


def _pet_rank(series: Series, stacked: Stack) -> tuple[float, int, int]:
    low, high = stacked.extent_mm
    return -round(high - low, 1), -len(series.slices), series.number


def _ct_rank(series: Series, stacked: Stack, pet: Stack) -> tuple[int, bool, int]:
    low, high = stacked.extent_mm
    pet_low, pet_high = pet.extent_mm
    coverage = max(0.0, min(high, pet_high) - max(low, pet_low)) / max(pet_high - pet_low, 1e-6)
    return -round(coverage / COVERAGE_STEP), "DERIVED" in series.image_type, series.number


def _found(study: Study, passed_over: dict[str, str]) -> str:
    """What the study has, for a message."""
    parts = [
        f"{series.modality} {series.name}" + (f": {passed_over[series.name]}" if series.name in passed_over else "")
        for series in sorted(study.series.values(), key=lambda series: series.number)
    ]
    return f"Found: {'; '.join(parts) or 'nothing'}."
