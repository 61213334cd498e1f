import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg_misalign, nnUNetTrainerH2ASeg_modalitydropout
from h2aseg_nnunet.trainer.augmentation import MisalignTransform, ModalityDropoutTransform
from tests.blobs import blob, center_of_mass

CUBES = (1.0, 1.0, 1.0)


def test_only_the_given_channels_move_and_never_the_label():
    torch.manual_seed(0)
    image, label = torch.randn(3, 8, 9, 10), torch.randint(0, 2, (1, 8, 9, 10))
    before = image.clone()

    result = MisalignTransform([0, 2], CUBES, max_angle_deg=5, max_shift_voxels=2)(image=image, segmentation=label)

    assert torch.equal(result["image"][1], before[1])
    assert not any(torch.allclose(result["image"][channel], before[channel]) for channel in (0, 2))
    assert result["segmentation"] is label
    assert torch.equal(image, before)  # what was handed in is left as it was


def test_shifts_reach_two_voxels_within_slices_and_not_beyond():
    np.random.seed(0)
    image = blob((9, 21, 21), (4, 10, 10)).repeat(2, 1, 1, 1)
    transform = MisalignTransform([0], CUBES, max_shift_voxels=2)

    moves = np.array([center_of_mass(transform(image=image)["image"][0]) - (4, 10, 10) for _ in range(60)])

    np.testing.assert_allclose(moves[:, 0], 0, atol=1e-3)
    assert (np.abs(moves[:, 1:]).max(0) <= 2 + 1e-2).all()
    assert (moves[:, 1:].max(0) > 1.5).all() and (moves[:, 1:].min(0) < -1.5).all()


def test_rotations_reach_five_degrees_about_each_axis_and_not_beyond():
    np.random.seed(0)
    draws = np.array(
        [
            MisalignTransform([0], CUBES, 5).get_parameters(image=torch.zeros(1, 2, 2, 2))["angles_deg"]
            for _ in range(99)
        ]
    )

    assert (np.abs(draws).max(0) <= 5).all()
    assert (draws.max(0) > 4).all() and (draws.min(0) < -4).all()
    moved = MisalignTransform([0], CUBES, 5)(image=blob((9, 9, 41), (4, 4, 35)).repeat(2, 1, 1, 1))["image"]
    assert np.linalg.norm(center_of_mass(moved[0]) - (4, 4, 35)) <= 15 * np.deg2rad(3 * 5)


def misalignments(trainer, dummy_2d: bool = False, image_channels: int = 2):
    """The recipe's transforms: those that are new, and where they are."""
    transforms = trainer.get_training_transforms(
        trainer.configuration_manager.patch_size, (-0.5, 0.5), None, (0,), dummy_2d
    ).transforms
    found = [i for i, each in enumerate(transforms) if isinstance(getattr(each, "transform", None), MisalignTransform)]
    return transforms, found


@pytest.mark.parametrize(
    ("configuration", "dummy_2d", "last"),
    [
        ("2d", False, SpatialTransform),
        ("3d_fullres", False, SpatialTransform),
        ("3d_fullres", True, Convert2DTo3DTransform),
    ],
)
def test_both_follow_the_spatial_transform(make_trainer, configuration, dummy_2d, last):
    trainer = make_trainer(nnUNetTrainerH2ASeg_misalign, configuration=configuration)

    transforms, (rotate, shift) = misalignments(trainer, dummy_2d)

    assert isinstance(transforms[rotate - 1], last)
    assert shift == rotate + 1
    assert [transforms[i].apply_probability for i in (rotate, shift)] == [0.1, 0.1]
    assert (transforms[rotate].transform.max_angle_deg, transforms[rotate].transform.max_shift_voxels) == (5, 0)
    assert (transforms[shift].transform.max_angle_deg, transforms[shift].transform.max_shift_voxels) == (0, 2)
    assert transforms[rotate].transform.spacing_mm == trainer.configuration_manager.spacing
    size = [n + 4 for n in trainer.configuration_manager.patch_size]
    size = [trainer.configuration_manager.patch_size[0], *size[1:]] if dummy_2d else size
    for transform in (transforms[rotate], transforms[shift]):
        transform.apply_probability = 1
    compose = trainer.get_training_transforms(
        trainer.configuration_manager.patch_size, (-0.5, 0.5), None, (0,), dummy_2d
    )
    compose.transforms = transforms
    result = compose(image=torch.randn(2, *size), segmentation=torch.zeros(1, *size))
    assert result["image"].shape[1:] == tuple(trainer.configuration_manager.patch_size)
    assert result["image"].isfinite().all()


def test_probability_zero_leaves_the_image_alone(make_trainer):
    class Never(nnUNetTrainerH2ASeg_misalign):
        p_rotation = p_shift = 0.0

    transforms, found = misalignments(make_trainer(Never))
    image = torch.randn(2, 4, 5, 6)

    for i in found:
        assert isinstance(transforms[i], RandomTransform)
        assert all(transforms[i](image=image)["image"] is image for _ in range(50))


def test_the_ct_channels_are_the_plans(plans, make_trainer):
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = [
        "ZScoreNormalization",
        "CTNormalization",
        "CTNormalization",
    ]

    transforms, found = misalignments(make_trainer(nnUNetTrainerH2ASeg_misalign))

    assert [transforms[i].transform.channels for i in found] == [[1, 2], [1, 2]]


def test_modalities_without_a_channel_of_their_own_are_refused(plans, make_trainer):
    arch_kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arch_kwargs |= {"ct_channels": [0, 1], "pet_channels": [1]}

    with pytest.raises(ValueError, match=r"nnUNetTrainerH2ASeg_misalign changes CT and PET separately.*\[0, 1\]"):
        make_trainer(nnUNetTrainerH2ASeg_misalign).modality_channels()


CT, PET, BOTH = 0, 1, 2  # channels; the last as a cascade's segmentation


def dropped(transform: ModalityDropoutTransform, image: torch.Tensor) -> set[int]:
    """Channels that are constant now; asserts that they hold their mean and that all others are untouched."""
    before = image.clone()
    result = transform(image=image)["image"]
    constant = {i for i, channel in enumerate(result) if channel.min() == channel.max()}
    for i, (channel, original) in enumerate(zip(result, before, strict=True)):
        if i in constant:
            assert channel.flatten()[0].item() == pytest.approx(original.mean().item(), abs=1e-6)
        else:
            assert torch.equal(channel, original)
    assert torch.equal(image, before)  # what was handed in is left as it was
    return constant


@pytest.mark.parametrize("size", [(4, 5), (3, 4, 5)])
@pytest.mark.parametrize(("probabilities", "expected"), [((1, 0), {CT}), ((0, 1), {PET}), ((0, 0), set())])
def test_a_modality_becomes_its_mean_and_the_other_stays(size, probabilities, expected):
    transform = ModalityDropoutTransform([[CT], [PET]], probabilities)

    assert all(dropped(transform, torch.randn(3, *size)) == expected for _ in range(20))


def test_all_channels_of_a_modality_go_together_each_with_its_own_mean():
    assert dropped(ModalityDropoutTransform([[0, 2], [1]], (1, 0)), torch.randn(4, 3, 4) + 7) == {0, 2}


def test_never_both():
    np.random.seed(0)
    transform = ModalityDropoutTransform([[CT], [PET]], (0.5, 0.5))

    seen = [frozenset(dropped(transform, torch.randn(3, 4, 5))) for _ in range(40)]

    assert set(seen) == {frozenset({CT}), frozenset({PET})}


def test_a_tenth_each_by_default(make_trainer):
    """2,000 draws: 200 of each expected, standard deviation 13."""
    np.random.seed(0)
    transform = training_transforms(make_trainer(nnUNetTrainerH2ASeg_modalitydropout))[-1]
    draws = [tuple(transform.get_parameters()["channels"]) for _ in range(2000)]

    assert {*draws} == {(CT,), (PET,), ()}
    assert 150 < draws.count((CT,)) < 250 and 150 < draws.count((PET,)) < 250


def training_transforms(trainer) -> list:
    patch_size = trainer.configuration_manager.patch_size
    return trainer.get_training_transforms(patch_size, (-0.5, 0.5), None, (0,), False).transforms


def test_it_is_the_last_transform_of_training_and_none_of_validation(make_trainer):
    trainer = make_trainer(nnUNetTrainerH2ASeg_modalitydropout)

    found = [isinstance(each, ModalityDropoutTransform) for each in training_transforms(trainer)]

    assert found.index(True) == len(found) - 1
    validation = trainer.get_validation_transforms(None).transforms
    assert not any(isinstance(each, ModalityDropoutTransform) for each in validation)


def test_a_cascades_segmentation_is_never_dropped(make_trainer):
    """Both streams read it; it comes behind the images."""
    trainer = make_trainer(nnUNetTrainerH2ASeg_modalitydropout)

    assert trainer.modality_channels() == ((CT,), (PET,))
    assert dropped(ModalityDropoutTransform(trainer.modality_channels(), (1, 0)), torch.randn(BOTH + 1, 4, 5)) == {CT}
