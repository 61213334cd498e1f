import sys

import numpy as np
import SimpleITK

from studies.pet_alone import main


def test_dice_of_the_thresholded_pet_and_mean_uptake(tmp_path, monkeypatch):
    """Tumors of 10 voxels; PET is above 41 % of their maximum in 10, 8 and 2 of them: 1, 2 * 8 / 18 and 2 * 2 / 12.

    Mean uptakes are 10, (8 * 10 + 2 * 4) / 10 and (2 * 10 + 8 * 4) / 10.
    """
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for case, hot in zip("abc", (10, 8, 2), strict=True):
        pet, tumor = np.zeros((3, 4, 5)), np.zeros((3, 4, 5), np.uint8)
        tumor.flat[:10] = 1
        pet.flat[:10] = 4  # 40 % of the maximum
        pet.flat[:hot] = 10
        for array, name in ((pet, f"imagesTr/{case}_0001"), (tumor, f"labelsTr/{case}")):
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / f"{name}.nii.gz"))
    monkeypatch.setattr(sys, "argv", ["pet_alone", str(tmp_path), str(tmp_path / "alone.csv")])

    main()

    assert (
        tmp_path / "alone.csv"
    ).read_text() == "case,dice,suv_mean\na,1.0000,10.0000\nb,0.8889,8.8000\nc,0.3333,5.2000\n"
