"""Factors worked out by hand: weight 70 kg, dose 350 MBq; 70000 / 350e6 = 0.0002 per Bq/ml before decay."""

import math
from copy import deepcopy
from datetime import datetime

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.dataset import Dataset

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.study import read_study
from h2aseg_nnunet.petct.dicom.suv import NOTHING_GIVEN, Given
from tests.unit.petct.dicom.exports import DRUG, SHAPE

HALF_LIFE_S = 6586.2
PER_BQ = 70.0 * 1000 / 350e6


def after(hours: float) -> float:
    """Share of the dose that is left."""
    return 2 ** (-hours * 3600 / HALF_LIFE_S)


def suv_of(export, only_study, given=NOTHING_GIVEN, **changes):
    """SUV of 1000 Bq/ml, and the record."""
    export.add_ct()
    export.add_pet(**changes)
    read = read_study(only_study(export), given)
    values = SimpleITK.GetArrayFromImage(read.pet_suv)
    assert np.ptp(values) < 1e-3 * values.max()  # although every slice has its own slope
    return float(values.mean()), read.record["suv"]


def add_private(export, files, creator, group, element, vr, value):
    for file in files:
        ds = dcmread(file)
        ds.private_block(group, creator, create=True).add_new(element, vr, value)
        ds.save_as(file)


def test_start_decays_the_dose_to_the_series_time(export, only_study):
    suv, record = suv_of(export, only_study)

    assert suv == pytest.approx(1000 * PER_BQ / after(1), rel=1e-4)
    assert record["reference_rule"] == "series time (0008,0031)"
    assert record["weight_kg"] == 70 and record["dose_bq"] == 350e6


def test_admin_takes_the_dose_as_injected(export, only_study):
    assert suv_of(export, only_study, DecayCorrection="ADMIN")[0] == pytest.approx(0.2, rel=1e-4)


def test_none_decays_the_dose_to_the_mean_time_of_every_slice(export, only_study):
    times = ("100000", "100000", "103000", "103000", "110000", "110000")
    export.add_ct()
    export.add_pet(DecayCorrection="NONE", CorrectedImage=["ATTN"], AcquisitionTime=times, ActualFrameDuration=600000)

    slices = SimpleITK.GetArrayFromImage(read_study(only_study(export)).pet_suv).mean(axis=(1, 2))

    decay = math.log(2) / HALF_LIFE_S
    within_h = math.log(decay * 600 / (1 - math.exp(-decay * 600))) / decay / 3600  # 4.95 min into the frame
    expected = [1000 * PER_BQ / after(hours + within_h) for hours in (1, 1, 1.5, 1.5, 2, 2)]
    np.testing.assert_allclose(slices, expected, rtol=1e-3)


def test_a_series_written_after_the_scan_counts_from_the_earliest_acquisition(export, only_study):
    times = ("102000", "102000", "101000", "101000", "100000", "100000")
    suv, record = suv_of(export, only_study, SeriesTime="150000", AcquisitionTime=times)

    assert suv == pytest.approx(1000 * PER_BQ / after(1), rel=1e-4)
    assert record["reference_rule"].startswith("earliest acquisition")


def test_the_frame_reference_time_leads_back_to_the_scan_start(export, only_study):
    decay = math.log(2) / HALF_LIFE_S
    within_s = math.log(decay * 120 / (1 - math.exp(-decay * 120))) / decay
    suv, record = suv_of(
        export, only_study, SeriesTime="150000", AcquisitionTime="102000", FrameReferenceTime=(1200 + within_s) * 1000
    )

    assert suv == pytest.approx(1000 * PER_BQ / after(1), rel=1e-4)
    assert "0054,1300" in record["reference_rule"]


@pytest.mark.parametrize(
    ("maker", "creator", "group", "element"),
    [("SIEMENS", "SIEMENS MED PT", 0x0071, 0x22), ("GE MEDICAL SYSTEMS", "GEMS_PETD_01", 0x0009, 0x0D)],
)
def test_the_vendors_private_time_counts_first(export, only_study, maker, creator, group, element):
    export.add_ct()
    files = export.add_pet(Manufacturer=maker, SeriesTime="150000", AcquisitionTime="120000")
    add_private(export, files, creator, group, element, "DT", "20240301100000.00")

    read = read_study(only_study(export))

    assert SimpleITK.GetArrayFromImage(read.pet_suv).mean() == pytest.approx(1000 * PER_BQ / after(1), rel=1e-4)


def test_another_vendors_element_of_the_same_number_is_not_a_time(export, only_study):
    export.add_ct()
    add_private(export, export.add_pet(), "ACME", 0x0071, 0x22, "DT", "20240301093000.00")

    record = read_study(only_study(export)).record["suv"]

    assert record["reference_rule"] == "series time (0008,0031)"


def test_an_injection_before_midnight_is_the_day_before(export, only_study):
    suv, record = suv_of(
        export,
        only_study,
        drug=DRUG | {"RadiopharmaceuticalStartTime": "233000"},
        SeriesTime="003000",
        AcquisitionTime="003000",
    )

    assert suv == pytest.approx(1000 * PER_BQ / after(1), rel=1e-4)
    assert record["injected"] == "2024-02-29 23:30:00"


@pytest.mark.parametrize(("element", "factor"), [(0x00, 0.0007), (0x09, None)])
def test_philips_counts_have_a_factor_to_suv_or_to_activity(export, only_study, element, factor):
    export.add_ct()
    files = export.add_pet(Manufacturer="Philips", Units="CNTS")
    add_private(export, files, "Philips PET Private Group", 0x7053, element, "DS", "0.0007" if factor else "2")

    suv = SimpleITK.GetArrayFromImage(read_study(only_study(export)).pet_suv).mean()

    assert suv == pytest.approx(0.7 if factor else 2 * 1000 * PER_BQ / after(1), rel=1e-4)


def test_gml_is_suv_already(export, only_study):
    assert suv_of(export, only_study, activity=np.full(SHAPE, 6.0), Units="GML", PatientWeight=None)[0] == 6.0


@pytest.mark.parametrize(
    ("changes", "drug", "said"),
    [
        ({"PatientWeight": None}, {}, ["PatientWeight (0010,1030) is missing", "weight_kg"]),
        ({"PatientWeight": 0}, {}, ["PatientWeight (0010,1030) is 0", "weight_kg"]),
        ({"PatientWeight": 70000}, {}, ["70000", "no kg"]),
        ({}, {"RadionuclideTotalDose": 350}, ["RadionuclideTotalDose (0018,1074) is 350", "MBq", "dose_mbq"]),
        ({}, {"RadionuclideTotalDose": 0}, ["(0018,1074) is 0", "dose_mbq"]),
        ({}, {"RadionuclideHalfLife": 109.8}, ["(0018,1075) is 109.8", "no PET radionuclide"]),
        ({}, {"RadionuclideHalfLife": 0}, ["(0018,1075) is 0"]),
        ({}, {"RadiopharmaceuticalStartDateTime": "20240301110000"}, ["after the scan", "injected"]),
        ({}, {"RadiopharmaceuticalStartDateTime": "20230301090000"}, ["half-lives before", "anonymization"]),
        ({}, {"RadiopharmaceuticalStartTime": "120000"}, ["half-lives before"]),
        ({}, {"RadiopharmaceuticalStartTime": ""}, ["(0018,1072)", "injected"]),
        ({}, {"RadionuclideHalfLife": 282280.0}, ["StartDateTime (0018,1078) is missing", "day"]),
        ({"Units": "PROPCNTS"}, {}, ["Units (0054,1001) is PROPCNTS"]),
        ({"Units": "CNTS"}, {}, ["(7053,1000)"]),
        ({"Units": "GML", "SUVType": "LBM"}, {}, ["LBM", "BW"]),
        ({"Units": "CM2ML"}, {}, ["Units (0054,1001) is CM2ML"]),
        ({"DecayCorrection": None}, {}, ["DecayCorrection (0054,1102) is missing"]),
        ({}, {"RadiopharmaceuticalStartDateTime": "20240301"} | {"RadiopharmaceuticalStartTime": ""}, ["20240301"]),
        ({}, {"RadiopharmaceuticalStartDateTime": "20240301080000"}, ["090000", "one of them is wrong", "injected"]),
        ({"SeriesTime": "070000"}, {"RadiopharmaceuticalStartTime": "223000"}, ["after the scan", "injected"]),
        (
            {"SeriesTime": "000000", "AcquisitionTime": "000000"},
            {"RadiopharmaceuticalStartTime": "000000"},
            ["removed"],
        ),
        ({"SeriesTime": "092000", "FrameReferenceTime": 60000}, {}, ["SeriesTime (0008,0031)", "corrected_to"]),
        ({"SeriesTime": None, "AcquisitionTime": None}, {}, ["(0008,0032)", "(0008,0031)", "corrected_to"]),
    ],
)
def test_what_cannot_be_right_is_refused_by_tag_value_and_option(export, only_study, changes, drug, said):
    with pytest.raises(UserError) as error:
        suv_of(export, only_study, drug=DRUG | drug, **changes)

    for part in (*said, export.uid, "P1"):
        assert part in str(error.value)


def test_a_philips_factor_that_is_no_factor_is_refused(export, only_study):
    export.add_ct()
    add_private(
        export, export.add_pet(Manufacturer="Philips", Units="CNTS"), "Philips PET Private Group", 0x7053, 0, "DS", "-1"
    )

    with pytest.raises(UserError, match=r"\(7053,1000\) is -1"):
        read_study(only_study(export))


def test_a_weight_for_philips_counts_goes_by_the_factor_to_activity(export, only_study):
    export.add_ct()
    files = export.add_pet(Manufacturer="Philips", Units="CNTS")
    add_private(export, files, "Philips PET Private Group", 0x7053, 0x00, "DS", "0.0007")
    with pytest.raises(UserError, match="holds weight and dose already"):
        read_study(only_study(export), Given(weight_kg=35.0))
    add_private(export, files, "Philips PET Private Group", 0x7053, 0x09, "DS", "2")

    suv = SimpleITK.GetArrayFromImage(read_study(only_study(export), Given(weight_kg=35.0)).pet_suv).mean()

    assert suv == pytest.approx(2 * 1000 * PER_BQ / 2 / after(1), rel=1e-4)


def test_two_items_of_one_injection_are_one_and_others_are_refused(export, only_study):
    export.add_ct()
    files = export.add_pet()
    for dose, said in ((350e6, None), (100e6, "2 injections|3 injections")):
        for file in files:
            ds = dcmread(file)
            item = deepcopy(ds.RadiopharmaceuticalInformationSequence[0])
            item.RadionuclideTotalDose = dose
            ds.RadiopharmaceuticalInformationSequence.append(item)
            ds.save_as(file)
        if said is None:
            assert read_study(only_study(export)).record["suv"]["dose_bq"] == dose
        else:
            with pytest.raises(UserError, match=said):
                read_study(only_study(export))


def test_the_half_life_of_another_nuclide_than_the_named_one_is_refused(export, only_study):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "35337001", "SCT", "^68^Gallium"

    with pytest.raises(UserError, match=r"6586.2 s, which is not that of Ga-68 .*\(0054,0300\)"):
        suv_of(export, only_study, drug=DRUG | {"RadionuclideCodeSequence": [code]})


def test_assumptions_are_recorded(export, only_study):
    record = suv_of(export, only_study, SeriesTime="095500", FrameReferenceTime=60000)[1]

    assert "no date" in record["assumptions"][1]
    assert "SeriesTime (0008,0031) is 2024-03-01 09:55:00" in record["assumptions"][0]


def test_an_impossible_value_of_the_user_is_refused(export, only_study):
    with pytest.raises(UserError, match="weight_kg of --weights is 70000"):
        suv_of(export, only_study, Given(weight_kg=70000.0))


def test_the_user_may_say_to_which_time_the_pet_is_corrected(export, only_study):
    given = Given(corrected_to=datetime(2024, 3, 1, 11, 0))
    suv, record = suv_of(export, only_study, given, SeriesTime=None, AcquisitionTime=None)

    assert suv == pytest.approx(1000 * PER_BQ / after(2), rel=1e-4)
    assert record["reference_rule"] == "given"


def test_what_the_user_supplies_takes_the_headers_place_and_is_recorded(export, only_study):
    given = Given(weight_kg=35.0, dose_mbq=700.0, injected=datetime(2024, 3, 1, 8, 0))
    suv, record = suv_of(export, only_study, given, PatientWeight=None, drug=DRUG | {"RadionuclideTotalDose": 350})

    assert suv == pytest.approx(1000 * 35e3 / 700e6 / after(2), rel=1e-4)
    assert record["given"] == {"weight_kg": "35.0", "dose_mbq": "700.0", "injected": "2024-03-01 08:00:00"}
