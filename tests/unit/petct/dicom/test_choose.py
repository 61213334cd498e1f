import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.choose import choose_pair
from h2aseg_nnunet.petct.dicom.tree import read_tree
from tests.unit.petct.dicom.exports import ORIGIN_MM, SHAPE, Export


def uid_of(files) -> str:
    return str(dcmread(files[0]).SeriesInstanceUID)


def test_the_uncorrected_pet_is_passed_over(export, only_study):
    export.add_ct()
    export.add_pet(number=2, CorrectedImage=["DECY", "DTIM"], description="NAC")
    corrected = uid_of(export.add_pet(number=3))

    pair = choose_pair(only_study(export))

    assert pair.pet.uid == corrected
    assert [reason for name, reason in pair.passed_over.items() if "NAC" in name] == ["not corrected for attenuation"]


def test_an_uncorrected_pet_is_refused_even_if_it_is_asked_for(export, only_study):
    export.add_ct()
    uncorrected = uid_of(export.add_pet(CorrectedImage=["DECY"]))

    with pytest.raises(UserError, match=r"no attenuation-corrected PET.*not corrected for attenuation"):
        choose_pair(only_study(export), pet_uid=uncorrected)


def test_of_several_pets_the_one_of_the_largest_extent_is_chosen(export, only_study):
    export.add_ct()
    head = np.full((5, *SHAPE[1:]), 1000.0)
    export.add_pet(head, number=1)
    body = uid_of(export.add_pet(number=2))

    assert choose_pair(only_study(export)).pet.uid == body


def test_of_several_cts_the_one_that_covers_the_pet_is_chosen(export, only_study):
    export.add_ct(number=1, positions_mm=[np.add(ORIGIN_MM, (0, 0, 60 + 3.0 * k)) for k in range(6)])
    covering = uid_of(export.add_ct(number=2))
    export.add_pet(number=3)

    assert choose_pair(only_study(export)).ct.uid == covering


def test_a_series_can_be_named(export, only_study):
    export.add_ct(number=1)
    second = uid_of(export.add_ct(number=2))
    export.add_pet(number=3)

    assert choose_pair(only_study(export), ct_uid=second).ct.uid == second


def test_a_named_series_that_is_not_there_is_said_with_what_is(export, only_study):
    export.add_ct(description="CT WB")
    export.add_pet(number=3)

    with pytest.raises(UserError, match=r"no PT series 1\.2\.3 \(--pet-series\)\. Found: CT series 1 \(CT WB"):
        choose_pair(only_study(export), pet_uid="1.2.3")


def test_localizers_are_passed_over(export, only_study):
    export.add_ct(number=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    export.add_pet(number=3)

    with pytest.raises(UserError, match=r"has no CT.*image type LOCALIZER"):
        choose_pair(only_study(export))


def test_another_frame_of_reference_does_not_pair(export, only_study):
    export.add_ct(FrameOfReferenceUID=generate_uid())
    export.add_pet(number=3)

    with pytest.raises(UserError, match="frame of reference"):
        choose_pair(only_study(export))


def test_two_studies_are_two_studies(tmp_path):
    for patient in ("B", "A"):
        export = Export(tmp_path / "export" / "same", patient)
        export.add_ct()
        export.add_pet(number=3)
    (tmp_path / "export" / "readme.txt").write_text("not DICOM")
    (tmp_path / "export" / "DICOMDIR").write_bytes(b"not read")

    tree = read_tree(tmp_path / "export")

    assert [study.patient for study in tree.studies] == ["A", "B"]
    assert tree.passed_over == 1


def test_files_without_preamble_are_read(export, only_study):
    for file in export.add_ct():
        file.write_bytes(file.read_bytes()[132:])  # 128 bytes and "DICM"
    export.add_pet(number=3)

    assert len(choose_pair(only_study(export)).ct.slices) == SHAPE[0]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes").write_text("nothing")

    with pytest.raises(UserError, match="holds no CT or PET image"):
        read_tree(tmp_path)
