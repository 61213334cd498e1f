"""Real PET/CT, whose modalities have grids of their own, arranged in each collection's layout.

Places are checked by nibabel and scipy, which share no code with SimpleITK. The data (TCIA Soft-tissue-Sarcoma, IBSI's
edition) lies beside the repository and is never committed.
"""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import map_coordinates

from h2aseg_nnunet import cli
from tests.locations import TEST_DATA

RAW = TEST_DATA / "sts_raw"
PATIENTS = ("STS_003", "STS_024", "STS_032")
STEP = 5  # check every fifth voxel along each axis

pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason=f"real PET/CT is not at {RAW}")


def hecktor(source: Path) -> list[dict[str, Path]]:
    return arrange(
        source,
        CT_image="imagesTr/{}__CT.nii.gz",
        PET_image="imagesTr/{}__PT.nii.gz",
        CT_mask="labelsTr/{}.nii.gz",
    )


def hecktor_2021(source: Path) -> list[dict[str, Path]]:
    folder = "hecktor2021_train/hecktor_nii"
    return arrange(
        source,
        CT_image=f"{folder}/{{}}_ct.nii.gz",
        PET_image=f"{folder}/{{}}_pt.nii.gz",
        CT_mask=f"{folder}/{{}}_gtvt.nii.gz",
    )


def pairs(source: Path) -> list[dict[str, Path]]:
    """With the mask of the PET's grid."""
    studies = arrange(source, CT_image="{}/ct.nii.gz", PET_image="{}/pet.nii.gz", PET_mask="{}/mask.nii.gz")
    rows = [f"{patient},{patient}/ct.nii.gz,{patient}/pet.nii.gz,{patient}/mask.nii.gz" for patient in PATIENTS]
    (source / "cohort.csv").write_text("\n".join(["case,ct,pet,label", *rows]))
    return studies


def autopet(source: Path) -> list[dict[str, Path]]:
    """The release resamples the CT to the PET's grid, so the test does, too."""
    folder = "PETCT_{}/01-02-2003-NA-PET-CT Ganzkoerper  primaer mit KM-1"
    studies = arrange(
        source,
        CT_image=f"{folder}/CTres.nii.gz",
        PET_image=f"{folder}/SUV.nii.gz",
        PET_mask=f"{folder}/SEG.nii.gz",
    )
    for study in studies:
        ct, pet = (SimpleITK.ReadImage(str(study[role])) for role in ("ct", "pet"))
        SimpleITK.WriteImage(SimpleITK.Resample(ct, pet, defaultPixelValue=-1000), str(study["ct"]))
    return studies


def autopet_iii(source: Path) -> list[dict[str, Path]]:
    studies = autopet(source.with_name("as_released"))
    for study, patient in zip(studies, PATIENTS, strict=True):
        name = f"fdg_{patient.replace('_', '')}_01-02-2003"
        targets = (f"imagesTr/{name}_0000", f"imagesTr/{name}_0001", f"labelsTr/{name}")
        for role, target in zip(("ct", "pet", "label"), targets, strict=True):
            (source / target).parent.mkdir(parents=True, exist_ok=True)
            study[role] = study[role].rename(source / f"{target}.nii.gz")
    return studies


def arrange(source: Path, **names: str) -> list[dict[str, Path]]:
    """Copy each patient's CT, PET and mask to the given names; returns where they lie, by role."""
    studies = []
    for patient in PATIENTS:
        study = {}
        for role, (name, target) in zip(("ct", "pet", "label"), names.items(), strict=True):
            study[role] = source / target.format(patient)
            study[role].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RAW / patient / f"{name}.nii.gz", study[role])
        studies.append(study)
    return studies


@pytest.mark.parametrize(
    ("layout", "command", "same_grid"),
    [
        (autopet, ["autopet", "."], True),
        (autopet_iii, ["autopet", ".", "--link"], True),
        (hecktor, ["hecktor", "."], False),
        (hecktor_2021, ["hecktor", ".", "--spacing", "3"], False),
        (pairs, ["pairs", "cohort.csv", "--link"], False),
    ],
    ids=["autopet", "autopet III", "hecktor", "hecktor 2021", "pairs"],
)
def test_every_voxel_is_the_sources_value_at_its_place(nnunet, monkeypatch, layout, command, same_grid):
    source = nnunet / "source"
    studies = layout(source)
    monkeypatch.chdir(source)

    assert cli.main(["convert", *command, "-d", "801", "-np", "1"]) == 0

    (raw,) = (nnunet / "nnUNet_raw").iterdir()
    names = sorted(json.loads((raw / "conversion.json").read_text())["cases"])
    for name, study in zip(names, studies, strict=True):
        files = {"ct": f"imagesTr/{name}_0000", "pet": f"imagesTr/{name}_0001", "label": f"labelsTr/{name}"}
        converted = {role: nibabel.load(raw / f"{file}.nii.gz") for role, file in files.items()}
        for role, image in converted.items():
            np.testing.assert_allclose(image.affine, converted["ct"].affine, atol=1e-4)
            assert image.shape == converted["ct"].shape
            if same_grid:
                assert (raw / f"{files[role]}.nii.gz").read_bytes() == study[role].read_bytes()
            check_voxels(image, nibabel.load(study[role]), order=0 if role == "label" else 1)
        assert 0.9 < volume(converted["label"]) / volume(nibabel.load(study["label"])) < 1.1


def check_voxels(image, source, order: int) -> None:
    index = np.stack(np.meshgrid(*(np.arange(0, n, STEP) for n in image.shape), indexing="ij"), axis=-1)
    place = nibabel.affines.apply_affine(np.linalg.inv(source.affine) @ image.affine, index)
    assert place.min() > -0.5 - 1e-3 and (place < np.array(source.shape) - 0.5 + 1e-3).all(), "outside the source"
    expected = map_coordinates(
        np.asarray(source.dataobj, dtype=float), np.moveaxis(place, -1, 0), order=order, mode="nearest"
    )
    found = np.asarray(image.dataobj)[::STEP, ::STEP, ::STEP]
    tolerance = 0 if order == 0 else 0.01  # of Hounsfield units where they change by 1000 from voxel to voxel
    np.testing.assert_allclose(found, expected, atol=tolerance)


def volume(image) -> float:
    return np.count_nonzero(np.asarray(image.dataobj)) * abs(np.linalg.det(image.affine[:3, :3]))
