import json

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct.dicom.objects import write_rtstruct, write_seg
from h2aseg_nnunet.petct.dicom.tree import read_tree
from tests.unit.petct.dicom.exports import SHAPE, Export


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def mask():
    made = np.zeros(SHAPE, np.uint8)
    made[1:3, 1:4, 0:2] = 1
    return made


@pytest.fixture
def export(tmp_path, mask):
    """Three studies: one with a SEG, one with an RTSTRUCT, one without reference."""
    for patient, write in (("A", write_seg), ("B", write_rtstruct), ("C", None)):
        study = Export(tmp_path / "export" / patient, patient)
        study.add_ct()
        study.add_pet(number=2)
        if write:
            (read,) = read_tree(study.folder).studies
            (pet,) = (series for series in read.series.values() if series.modality == "PT")
            (tmp_path / "labels").mkdir(exist_ok=True)
            write(tmp_path / "labels" / patient, {"tumor": mask}, pet, "drawn")
    return tmp_path / "export"


def convert(export, *more) -> int:
    return main(["convert", "dicom", str(export), "-d", "230", "-np", "1", *map(str, more)])


def test_studies_with_a_reference_train_and_others_test(raw, export, mask, tmp_path):
    assert convert(export, "--labels", tmp_path / "labels") == 0

    dataset = raw / "Dataset230_DICOM"
    names = [f"{patient}_20240301" for patient in "ABC"]
    assert sorted(file.name for file in (dataset / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in names[:2]]
    assert (dataset / "imagesTs" / f"{names[2]}_0001.nii.gz").is_file()
    for name in names[:2]:
        label = SimpleITK.ReadImage(str(dataset / "labelsTr" / f"{name}.nii.gz"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label), mask)
    suv = SimpleITK.ReadImage(str(dataset / "imagesTr" / f"{names[0]}_0001.nii.gz"))
    expected = 1000 * 70e3 / 350e6 / 2 ** (-3600 / 6586.2)
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(suv), expected, rtol=1e-3)
    assert json.loads((dataset / "dataset.json").read_text())["labels"] == {"background": 0, "tumor": 1}


def test_a_study_that_cannot_be_read_is_refused_and_the_others_go_on(raw, export, tmp_path, capsys):
    broken = Export(export / "D", "D")
    broken.add_ct()
    broken.add_pet(number=2, PatientWeight=0)

    assert convert(export, "--labels", tmp_path / "labels") == 1

    shown = capsys.readouterr()
    assert "D_20240301 REFUSED" in shown.out and "PatientWeight (0010,1030) is 0" in shown.out
    assert len(list((raw / "Dataset230_DICOM" / "imagesTr").iterdir())) == 4


def test_a_repeated_command_reads_nothing_again(raw, export, tmp_path):
    convert(export, "--labels", tmp_path / "labels")
    files = sorted((raw / ".Dataset230_DICOM.dicom").rglob("*.nii.gz"))
    before = [file.stat().st_mtime_ns for file in files]

    assert convert(export, "--labels", tmp_path / "labels") == 0
    assert len(files) == 8
    assert [file.stat().st_mtime_ns for file in files] == before


def test_an_object_of_no_study_is_refused(raw, export, tmp_path, capsys):
    assert convert(export / "C", "--labels", tmp_path / "labels") == 1
    assert "is the study of no image" in capsys.readouterr().err
