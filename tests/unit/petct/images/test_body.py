import numpy as np

from h2aseg_nnunet.petct.images.body import body_box

SPACING_MM = (5.0, 5.0, 5.0)
SHAPE = (60, 60, 60)
BODY = (slice(20, 40), slice(22, 42), slice(15, 45))
MARGIN = 3  # 15 mm


def air_and_body():
    ct = np.full(SHAPE, -1000.0)
    ct[BODY] = 0
    return ct, np.zeros(SHAPE)


def test_air_around_the_body_is_cut_off():
    ct, pet = air_and_body()
    box = body_box(ct, pet, SPACING_MM)

    for part, body in zip(box, BODY, strict=True):
        assert body.start - MARGIN - 2 <= part.start <= body.start - MARGIN
        assert body.stop + MARGIN <= part.stop <= body.stop + MARGIN + 2


def test_scanner_table_does_not_count_as_body():
    ct, pet = air_and_body()
    without = body_box(ct, pet, SPACING_MM)
    ct[:, 55, :] = 100

    assert body_box(ct, pet, SPACING_MM) == without


def test_arm_outside_the_field_of_view_of_ct_is_kept():
    ct, pet = air_and_body()
    pet[20:40, 28:32, 2:8] = 3

    assert body_box(ct, pet, SPACING_MM)[2].start == 0


def test_noise_in_the_air_is_not():
    ct, pet = air_and_body()
    without = body_box(ct, pet, SPACING_MM)
    pet[2, 2, 2] = 3

    assert body_box(ct, pet, SPACING_MM) == without


def test_a_false_lesion_in_the_air_is_kept():
    ct, pet = air_and_body()
    assert body_box(ct, pet, SPACING_MM, [(slice(50, 51), slice(30, 31), slice(30, 31))])[0].stop == 51 + MARGIN


def test_without_a_body_everything_is_shown():
    nothing = np.full(SHAPE, -1000.0), np.zeros(SHAPE)
    assert body_box(*nothing, SPACING_MM) == (slice(0, 60),) * 3
