import sys

import numpy as np
import pytest
import SimpleITK

from studies.by_uptake import dice_of_pet, main


@pytest.fixture
def dataset(tmp_path):
    """Four tumours of 10 voxels; PET above 41 % of their maximum in 10, 8, 5 and 2 of them and nowhere else."""
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for case, hot in zip("abcd", (10, 8, 5, 2), strict=True):
        pet, tumor = np.zeros((3, 4, 5)), np.zeros((3, 4, 5), np.uint8)
        tumor.flat[:10] = 1
        pet.flat[:10] = 4  # 40 % of the maximum
        pet.flat[:hot] = 10
        for array, name in ((pet, f"imagesTr/{case}_0001"), (tumor, f"labelsTr/{case}")):
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / f"{name}.nii.gz"))
    return tmp_path


def test_dice_of_pet_alone(dataset):
    """All 10, 8, 5 and 2 voxels of 10: 2 * 8 / 18, and so on."""
    assert [dice_of_pet(dataset, case) for case in "abcd"] == pytest.approx([1, 16 / 18, 10 / 15, 4 / 12])


def test_differences_of_the_two_halves(dataset, monkeypatch, capsys):
    """The other trainer gains 0.1 where PET misleads (c, d) and loses 0.2 elsewhere."""
    rows = [f"stock,0,0,{case},0.5" for case in "abcd"]
    rows += [f"other,0,0,{case},{value}" for case, value in zip("abcd", (0.3, 0.3, 0.6, 0.6), strict=True)]
    (dataset / "compare.csv").write_text("\n".join(["trainer,seed,folds,case,dice", *rows]))
    monkeypatch.setattr(sys, "argv", ["by_uptake", str(dataset / "compare.csv"), str(dataset)])

    main()

    table = capsys.readouterr().out
    assert "| stock | 0.500 | 0 | 0.500 | 0 | +nan |" in table
    assert "| other | 0.600 | +0.100 [+0.100, +0.100] | 0.300 | -0.200 [-0.200, -0.200] | -0.89 |" in table
