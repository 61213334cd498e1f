import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.segment.lesion_table import measure_lesions, write_lesions


def test_every_lesion_has_its_volume_uptake_position_and_probability(tmp_path):
    mask = np.zeros((6, 8, 10), np.uint8)
    mask[1:3, 1:3, 1:3] = 1  # 8 voxels of 0.008 ml
    mask[5, 7, 9] = 1
    suv, probability = np.where(mask, 4.0, 0.0), np.where(mask, 0.75, 0.1)
    suv[5, 7, 9] = 10.0
    image = SimpleITK.GetImageFromArray(mask)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((100.0, 200.0, 300.0))

    large, small = measure_lesions(image, suv, probability)

    assert (large["lesion"], small["lesion"]) == (1, 2)
    assert large["volume_ml"] == pytest.approx(0.064) and small["volume_ml"] == pytest.approx(0.008)
    assert (large["suv_max"], large["suv_mean"]) == (4.0, 4.0) and small["suv_max"] == 10.0
    assert large["tlg"] == pytest.approx(0.256)
    assert (large["x_mm"], large["y_mm"], large["z_mm"]) == (103.0, 203.0, 303.0)
    assert large["mean_probability"] == pytest.approx(0.75)
    write_lesions([large, small], tmp_path / "lesions.csv")
    rows = (tmp_path / "lesions.csv").read_text().splitlines()
    assert rows[0].startswith("lesion,volume_ml,suv_max") and rows[2].startswith("2,0.008,10.0")


def test_without_a_lesion_there_is_only_the_heading(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((3, 3, 3), np.uint8))

    write_lesions(measure_lesions(image, np.zeros((3, 3, 3)), None), tmp_path / "lesions.csv")

    assert len((tmp_path / "lesions.csv").read_text().splitlines()) == 1
