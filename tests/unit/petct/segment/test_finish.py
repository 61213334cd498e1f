import numpy as np
import SimpleITK
from matplotlib.image import imread

from h2aseg_nnunet.petct.segment.finish import _draw


def test_a_preview_is_as_high_as_the_body_in_it(tmp_path):
    """Panels of 100 and 75 mm share 7 inches, so 200 mm are 8 inches high, 0.6 more for titles; 150 dots per inch."""
    pet = SimpleITK.GetImageFromArray(np.ones((50, 25, 50), np.float32))
    pet.SetSpacing((2.0, 3.0, 4.0))

    _draw(SimpleITK.Cast(pet, SimpleITK.sitkUInt8), pet, 10.0, tmp_path / "preview.png")

    assert imread(tmp_path / "preview.png").shape[:2] == (1290, 1050)
