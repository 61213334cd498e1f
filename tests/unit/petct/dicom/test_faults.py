"""Damaged, mixed and misplaced files: what they belong to is refused by name, and nothing else."""

import os
import shutil

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.uid import generate_uid

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.study import read_study
from h2aseg_nnunet.petct.dicom.tree import read_tree
from tests.unit.petct.dicom.exports import SHAPE, Export


@pytest.fixture
def whole(export):
    """A study of one CT and one PET; its PET files from feet to head."""
    export.add_ct(number=1)
    return export, export.add_pet(number=2)


def change(files, **elements):
    for file in files:
        ds = dcmread(file)
        for name, value in elements.items():
            if value is None:
                delattr(ds, name)
            else:
                setattr(ds, name, value)
        ds.save_as(file)


def refusal(export, **more) -> str:
    (study,) = read_tree(export.folder).studies
    with pytest.raises(UserError) as error:
        read_study(study, **more)
    return str(error.value)


@pytest.mark.parametrize("kept", [0, 140, 250, 400, 700, 1000])
def test_a_file_cut_off_in_its_header_refuses_the_study_even_at_the_end_of_the_volume(whole, kept):
    export, files = whole
    files[-1].write_bytes(files[-1].read_bytes()[:kept])

    said = refusal(export)

    assert str(files[-1]) in said and "cannot be read" in said


def test_a_damaged_file_of_one_study_leaves_the_others(tmp_path):
    for patient in ("A", "B"):
        export = Export(tmp_path / "export" / patient, patient)
        export.add_ct(number=1)
        export.add_pet(number=2)
    next((tmp_path / "export" / "A").iterdir()).write_bytes(b"")

    first, second = read_tree(tmp_path / "export").studies

    with pytest.raises(UserError, match="empty file"):
        read_study(first)
    assert read_study(second).pet_suv.GetSize() == SHAPE[::-1]


def test_a_file_beside_the_images_that_is_no_dicom_is_noted(whole):
    export, files = whole
    files[-1].write_bytes(b"not DICOM")
    (study,) = read_tree(export.folder).studies

    assert any(str(files[-1]) in note for note in read_study(study).pair.notes)


def test_a_folder_that_may_not_be_read_is_named(whole, monkeypatch):
    export, _ = whole
    locked = export.folder / "locked"
    locked.mkdir()
    scan = os.scandir

    def deny(path):
        if str(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)

    assert read_tree(export.folder).unreadable == {locked: "Permission denied"}


def test_linked_folders_are_followed_once(whole, tmp_path):
    export, _ = whole
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "study").symlink_to(export.folder)
    (export.folder / "back").symlink_to(tmp_path / "links")

    (study,) = read_tree(tmp_path / "links").studies

    assert sum(len(series.slices) for series in study.series.values()) == 2 * SHAPE[0]


def test_a_dicomdir_alone_is_said(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(b"not read")

    with pytest.raises(UserError, match="no CT or PET image in DICOM format but a DICOMDIR"):
        read_tree(tmp_path)


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID", "Rows"])
def test_an_image_without_what_every_image_has_is_damaged(whole, name):
    export, files = whole
    change(files[3:4], **{name: None})

    assert f"{name} is missing" in refusal(export)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Units", "CNTS"), ("PatientWeight", 80), ("Rows", 4), ("DecayCorrection", "NONE"), ("PatientID", "P2")],
)
def test_files_of_one_series_that_contradict_each_other_are_refused(whole, name, value):
    export, files = whole
    change(sorted(files)[-1:], **{name: value})  # read last: the first one names the series' patient

    said = refusal(export)

    assert f"files with different {name}" in said and str(value) in said


def test_two_patients_with_one_study_uid_are_refused(whole):
    export, files = whole
    change(files, PatientID="P2")

    assert "2 patients: P1, P2" in refusal(export)


def test_a_series_split_over_two_folders_is_one(whole):
    export, files = whole
    (export.folder / "more").mkdir()
    for file in files[::2]:
        file.rename(export.folder / "more" / file.name)
    (study,) = read_tree(export.folder).studies

    assert read_study(study).pet_suv.GetSize() == SHAPE[::-1]


def test_more_pixels_than_the_header_tells_are_damage(whole):
    export, files = whole
    change(files[2:3], PixelData=dcmread(files[2]).PixelData + bytes(40))

    assert "is damaged: it has 80 bytes of pixels, 40 are expected" in refusal(export)


def test_slices_that_lack_at_an_end_are_counted_by_the_pets_own_number(whole):
    export, files = whole
    change(files, NumberOfSlices=SHAPE[0])
    files[-1].unlink()

    assert f"lacks 1 of {SHAPE[0]} slices" in refusal(export)


@pytest.mark.parametrize(("name", "value"), [("RescaleSlope", None), ("RescaleSlope", 0), ("RescaleIntercept", None)])
def test_a_slice_without_scale_is_refused(whole, name, value):
    export, files = whole
    change(files[1:2], **{name: value})

    assert str(files[1]) in refusal(export)


def test_an_intercept_counts(whole):
    export, files = whole
    (before,) = read_tree(export.folder).studies
    suv = SimpleITK.GetArrayFromImage(read_study(before).pet_suv)
    change(files, RescaleIntercept=1000.0)
    (after,) = read_tree(export.folder).studies

    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(read_study(after).pet_suv), 2 * suv, rtol=1e-3)


def test_a_ct_that_is_not_in_hounsfield_units_is_passed_over(export):
    export.add_ct(RescaleType="MGML")
    export.add_pet(number=2)

    assert "has no CT" in (said := refusal(export)) and "MGML, not HU" in said


def test_padding_outside_of_the_field_of_view_is_air(export, only_study):
    values = np.full(SHAPE, 1064)
    values[:, 0] = -2000
    export.add_ct(values, PixelPaddingValue=-2000)
    export.add_pet(number=2)

    hu = SimpleITK.GetArrayFromImage(read_study(only_study(export)).ct_hu)

    assert (hu[:, 0] == -1024).all() and (hu[:, 1:] == 40).all()


def test_a_candidate_that_is_no_volume_is_passed_over_with_a_note(whole):
    export, _ = whole
    export.add_ct(number=0, positions_mm=[np.array([0, k, 100 + 3.0 * k]) for k in range(SHAPE[0])])
    (study,) = read_tree(export.folder).studies

    assert "tilted gantry" in read_study(study).pair.notes[0]


def test_candidates_that_are_alike_must_be_named(whole):
    export, files = whole
    copies = [shutil.copy(file, export.folder / f"copy{k}") for k, file in enumerate(files)]
    uid = generate_uid()
    change(copies, SeriesInstanceUID=uid)

    assert "are alike: name one with --pet-series" in refusal(export)
    (study,) = read_tree(export.folder).studies
    assert read_study(study, pet_uid=uid).pair.pet.uid == uid


def test_a_secondary_series_is_used_if_it_is_named(export):
    export.add_ct()
    files = export.add_pet(number=2, ImageType=["DERIVED", "SECONDARY"])
    uid = str(dcmread(files[0]).SeriesInstanceUID)

    assert "image type SECONDARY" in refusal(export)
    (study,) = read_tree(export.folder).studies
    assert read_study(study, pet_uid=uid).pair.pet.uid == uid
