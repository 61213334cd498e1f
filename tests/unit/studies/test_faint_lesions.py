import sys

import numpy as np
import pytest

from studies.faint_lesions import Phantom, add_faint_lesions, main
from tests.synthetic import read_array, write_image

SHAPE, SPACING_MM = (30, 32, 34), (4.0, 4.0, 4.0)


def phantom(ill=True):
    ct, pet, label = np.full(SHAPE, 45, np.int16), np.full(SHAPE, 0.7, np.float32), np.zeros(SHAPE, np.uint8)
    if ill:
        label[2:5, 2:5, 2:5], pet[2:5, 2:5, 2:5] = 1, 9.0
    return Phantom(ct, pet, label)


@pytest.mark.parametrize("seed", range(5))
def test_new_lesions_are_faint_and_apart_from_old_ones(seed):
    before = phantom()

    after = add_faint_lesions(before, SPACING_MM, np.random.default_rng(seed))

    new = (after.label > 0) & (before.label == 0)
    assert new.sum() * 0.064 > 0.5  # ml
    assert 0.7 < after.pet[new].mean() < 2.5 and after.pet[new].max() < 2.6
    assert after.pet[new].mean() > 0.9
    assert np.array_equal(after.label[before.label > 0], before.label[before.label > 0])
    assert (after.ct.dtype, after.pet.dtype) == (np.int16, np.float32)


def test_patients_without_lesions_stay_without(tmp_path, monkeypatch, capsys):
    source, target = tmp_path / "source", tmp_path / "target"
    for name, case in (("healthy", phantom(ill=False)), ("ill", phantom())):
        write_image(source / "imagesTr" / f"{name}_0000.nii.gz", case.ct, 4.0)
        write_image(source / "imagesTr" / f"{name}_0001.nii.gz", case.pet, 4.0)
        write_image(source / "labelsTr" / f"{name}.nii.gz", case.label, 4.0)
    (source / "dataset.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["faint_lesions", str(source), str(target)])

    main()

    assert not read_array(target / "labelsTr" / "healthy.nii.gz").any()
    assert np.array_equal(read_array(target / "imagesTr" / "healthy_0001.nii.gz"), phantom(ill=False).pet)
    assert read_array(target / "labelsTr" / "ill.nii.gz").sum() > 27
    assert "healthy: 0.0 ml" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="exists"):
        main()
