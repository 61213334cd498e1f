"""Masks written as DICOM objects and read back lie where they lay."""

import shutil
import subprocess

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.labels import find_label_objects, read_label
from h2aseg_nnunet.petct.dicom.objects import write_rtstruct, write_seg
from h2aseg_nnunet.petct.dicom.volume import read_volume
from tests.unit.petct.dicom.exports import SHAPE
from tests.unit.petct.dicom.test_volume import OBLIQUE

WRITERS = {"SEG": write_seg, "RTSTRUCT": write_rtstruct}


@pytest.fixture
def mask():
    """Two parts, one of them with a hole; nothing is symmetric."""
    made = np.zeros(SHAPE, np.uint8)
    made[1:3, 0:3, 0:3] = 1
    made[1:3, 1, 1] = 0
    made[4, 4, 3] = 1
    return made


def pet_series(study):
    (series,) = (each for each in study.series.values() if each.modality == "PT")
    return series


def points(image):
    """Physical points of all marked voxels."""
    array = SimpleITK.GetArrayFromImage(image)
    return {
        tuple(np.round(image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]), 2))
        for index in np.argwhere(array)
    }


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE], ids=["axial", "oblique"])
def test_a_mask_comes_back_at_the_same_points(export, only_study, tmp_path, mask, kind, axes):
    export.add_pet(axes=axes, reverse=True)
    study = only_study(export)
    series = pet_series(study)
    WRITERS[kind](tmp_path / "labels" / "object.dcm", {"tumor": mask}, series, "a model")

    objects = find_label_objects(tmp_path / "labels")[study.uid]
    read = read_label(objects, study, series)

    on_pet = SimpleITK.GetImageFromArray(mask)
    on_pet.CopyInformation(read_volume(series, [1.0] * SHAPE[0]))
    assert objects[0].kind == kind and objects[0].names == {1: "tumor"}
    assert points(read) == points(on_pet)


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
def test_an_empty_mask_is_an_object_without_tumor(export, only_study, tmp_path, kind):
    export.add_pet()
    series = pet_series(only_study(export))

    WRITERS[kind](tmp_path / "object.dcm", {"tumor": np.zeros(SHAPE, np.uint8)}, series, "a model")

    assert (tmp_path / "object.dcm").stat().st_size > 0


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
def test_the_object_conforms_to_the_standard(export, only_study, tmp_path, mask, kind):
    export.add_pet()
    WRITERS[kind](tmp_path / "object.dcm", {"tumor": mask}, pet_series(only_study(export)), "a model")

    done = subprocess.run(["dciodvfy", "-new", tmp_path / "object.dcm"], capture_output=True, text=True)

    assert "Error" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_of_several_rois_the_tumors_must_be_named(export, only_study, tmp_path, mask):
    export.add_pet()
    study = only_study(export)
    series = pet_series(study)
    write_rtstruct(tmp_path / "object.dcm", {"BODY": np.ones(SHAPE, np.uint8), "GTV": mask}, series, "a model")
    objects = find_label_objects(tmp_path / "object.dcm")[study.uid]

    with pytest.raises(UserError, match=r"2 ROIs \('BODY', 'GTV'\): name those that are tumor with --roi"):
        read_label(objects, study, series)
    with pytest.raises(UserError, match="none of the ROIs PTV; it has 'BODY', 'GTV'"):
        read_label(objects, study, series, ["PTV"])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_label(objects, study, series, ["gtv"])), mask)


def test_several_objects_of_a_study_are_refused(export, only_study, tmp_path, mask):
    export.add_pet()
    study = only_study(export)
    for name in ("a.dcm", "b.dcm"):
        write_seg(tmp_path / "labels" / name, {"tumor": mask}, pet_series(study), "a model")

    with pytest.raises(UserError, match="2 label objects"):
        read_label(find_label_objects(tmp_path / "labels")[study.uid], study, pet_series(study))


def test_a_folder_without_label_objects_is_refused(export, tmp_path):
    export.add_pet()

    with pytest.raises(UserError, match="holds no DICOM SEG or RTSTRUCT"):
        find_label_objects(export.folder)
