"""One study as nnU-Net wants it: CT in HU and PET in SUVbw as images in physical space, and what was assumed."""

from typing import Any, NamedTuple

import SimpleITK

from h2aseg_nnunet.petct.dicom.choose import Pair, choose_pair
from h2aseg_nnunet.petct.dicom.series import Series
from h2aseg_nnunet.petct.dicom.stack import stack
from h2aseg_nnunet.petct.dicom.suv import NOTHING_GIVEN, Given, suv_factors
from h2aseg_nnunet.petct.dicom.tree import Study
from h2aseg_nnunet.petct.dicom.values import quietly, text_of, value_of
from h2aseg_nnunet.petct.dicom.volume import read_volume


class StudyImages(NamedTuple):
    """The images of a study, each on its own grid.

    Attributes:
        ct_hu: CT in Hounsfield units.
        pet_suv: PET in SUVbw.
        pair: The series they come from.
        record: Series, values and assumptions, ready for JSON.
    """

    ct_hu: SimpleITK.Image
    pet_suv: SimpleITK.Image
    pair: Pair
    record: dict[str, Any]


@quietly()
def read_study(
    study: Study, given: Given = NOTHING_GIVEN, ct_uid: str | None = None, pet_uid: str | None = None
) -> StudyImages:
    """Read the CT and the PET of a study.

    Args:
        study: Of `read_tree`.
        given: What the user supplies in place of the header.
        ct_uid: CT series to use in place of the rule of `choose_pair`.
        pet_uid: PET series to use in place of it.

    Raises:
        UserError: If there is no pair, a volume is not whole, or SUV cannot be computed.
    """
    pair = choose_pair(study, ct_uid, pet_uid)
    slices = stack(pair.pet).slices
    suv = suv_factors(pair.pet, slices, study.name, given)
    record = {
        "study": study.uid,
        "patient": study.patient,
        "study_date": study.date,
        "ct": _describe(pair.ct),
        "pet": _describe(pair.pet),
        "passed_over": pair.passed_over,
        "notes": pair.notes,
        "suv": suv.record,
    }
    return StudyImages(read_volume(pair.ct), read_volume(pair.pet, suv.factors), pair, record)


def _describe(series: Series) -> dict[str, Any]:
    header = series.header
    drugs = list(value_of(header, "RadiopharmaceuticalInformationSequence") or [])
    tracer = {"radiopharmaceutical": text_of(drugs[0], "Radiopharmaceutical")} if drugs else {}
    return tracer | {
        "series": series.uid,
        "number": series.number,
        "description": text_of(header, "SeriesDescription"),
        "manufacturer": text_of(header, "Manufacturer"),
        "slices": len(series.slices),
        "frame_of_reference": series.frame_of_reference,
    }
