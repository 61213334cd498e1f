"""Synthetic studies in each collection's own layout, the command that converts them, and what it makes."""

import json
import os
from pathlib import Path

import numpy as np
import SimpleITK

from h2aseg_nnunet import cli
from tests.unit.petct.convert.synthetic_studies import POINT_MM, RADIUS_MM, grid_around, ramp, read, write, write_study

CT_GRID = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0))
PET_GRID = grid_around(POINT_MM + np.array((1.3, -0.7, 0.4)), (14, 15, 13), (4.1, 4.1, 5.0))
WIDE = (40, 40, 40)
LAYOUTS = ["hecktor 2022", "hecktor 2021", "autopet II", "autopet III", "pairs"]
PATIENTS = ("one", "two")


def convert(*arguments) -> int:
    return cli.main(["convert", *map(str, arguments), "-np", "1"])


def arrange(layout: str, root: Path, ct_grid, pet_grid, patients=("one",), label_grid=None) -> list:
    """Studies in a collection's own layout; returns the command that converts them and the case names."""
    for patient in patients:
        if layout == "hecktor 2022":
            ct, pet = (root / "imagesTr" / f"{patient}__{modality}.nii.gz" for modality in ("CT", "PT"))
            label = root / "labelsTr" / f"{patient}.nii.gz"
        elif layout == "hecktor 2021":
            ct, pet, label = (root / "hecktor_nii" / f"{patient}_{end}.nii.gz" for end in ("ct", "pt", "gtvt"))
        elif layout == "autopet II":
            ct, pet, label = (root / f"PETCT_{patient}" / "s  1" / f"{name}.nii.gz" for name in ("CTres", "SUV", "SEG"))
        elif layout == "autopet III":
            ct, pet = (root / "imagesTr" / f"fdg_{patient}_s  1_000{channel}.nii.gz" for channel in (0, 1))
            label = root / "labelsTr" / f"fdg_{patient}_s  1.nii.gz"
        else:
            ct, pet, label = (root / patient / f"{name}.nii" for name in ("ct", "pet", "label"))
        write_study(ct, pet, label, ct_grid, pet_grid, label_grid)
    if layout == "pairs":
        rows = [f"{patient},{patient}/ct.nii,{patient}/pet.nii,{patient}/label.nii" for patient in patients]
        (root / "pairs.csv").write_text("\n".join(["case,ct,pet,label", *rows]) + "\n")
        return ["pairs", root / "pairs.csv", "-d", 7]
    return [layout.split()[0], root, "-d", 7]


def dataset(nnunet: Path) -> Path:
    (folder,) = (nnunet / "nnUNet_raw").iterdir()
    return folder


def only_case(nnunet: Path) -> list[Path]:
    """CT, PET and label of a dataset's only case."""
    folder = dataset(nnunet)
    return [*sorted((folder / "imagesTr").iterdir()), *(folder / "labelsTr").iterdir()]


def record(nnunet: Path) -> dict:
    return json.loads((dataset(nnunet) / "conversion.json").read_text())


def contents(nnunet: Path) -> dict[str, bytes]:
    """Name and bytes of every visible file of the dataset; of a link where it leads."""
    folder = dataset(nnunet)
    return {
        str(file.relative_to(folder)): os.readlink(file).encode() if file.is_symlink() else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if (file.is_symlink() or file.is_file()) and "/." not in f"/{file.relative_to(folder)}"
    }


def sources(nnunet: Path) -> list[Path]:
    (case,) = record(nnunet)["cases"].values()
    return [Path(case["sources"][role]["file"]) for role in ("ct", "pet", "label")]


def check_positions(nnunet: Path) -> None:
    """Every voxel of CT, PET and label lies where its value says."""
    ct, pet, label = (read(file) for file in only_case(nnunet))
    for _, place in (pet, label):
        np.testing.assert_allclose(place, ct[1], atol=2e-4)
    np.testing.assert_allclose(ct[0], ramp(ct[1]) - 500, atol=1e-3)
    np.testing.assert_allclose(pet[0], ramp(pet[1]), atol=1e-3)
    distance_mm = np.linalg.norm(label[1] - POINT_MM, axis=-1)
    half_diagonal_mm = 2.5  # of the label's voxels below
    assert label[0][distance_mm < RADIUS_MM - half_diagonal_mm].all()
    assert not label[0][distance_mm > RADIUS_MM + half_diagonal_mm].any()
    np.testing.assert_allclose(label[1][label[0] > 0].mean(axis=0), POINT_MM, atol=0.7)


def spoil(file: Path, how: str) -> None:
    image = SimpleITK.ReadImage(str(file))
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "missing":
        file.unlink()
    elif how == "moved far away":
        image.SetOrigin(np.add(image.GetOrigin(), 1000).tolist())
        SimpleITK.WriteImage(image, str(file))
    elif how == "not finite":
        values = SimpleITK.GetArrayFromImage(image).astype(np.float32)
        values[0, 0, 0] = np.nan
        write(values, CT_GRID if file.name != "one__PT.nii.gz" else PET_GRID, file)
    elif how == "other values":
        SimpleITK.WriteImage(image * 255, str(file))


def converted(nnunet, layout: str, *options: str) -> list:
    """Convert two patients; returns the command."""
    command = [*arrange(layout, nnunet / "source", CT_GRID, CT_GRID, PATIENTS), *options]
    assert convert(*command) == 0
    return command


def images_of(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in contents.items() if name.endswith(".nii.gz")}


def find_source(nnunet, patient: str, role: str) -> list[Path]:
    (case,) = (case for name, case in record(nnunet)["cases"].items() if patient in name)
    roles = {"CT": "ct", "PET": "pet", "label": "label"}
    return [Path(source["file"]) for key, source in case["sources"].items() if role == "all" or key == roles[role]]
