import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import StreamChannels, suv_channels
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_misalign
from h2aseg_nnunet.trainer.intensity import CompressTransform

CT, Z, AS_IT_IS = "CTNormalization", "ZScoreNormalization", "NoNormalization"
FULLRES = "3d_fullres"


def initialized(make_trainer, plans, scheme, trainer=nnUNetTrainerH2ASeg):
    plans["configurations"][FULLRES]["normalization_schemes"] = [CT, scheme]
    made = make_trainer(trainer)
    made.initialize()
    return made


def transforms_of(trainer):
    patch = trainer.configuration_manager.patch_size
    return trainer.get_training_transforms(patch, (-0.5, 0.5), None, (0,), False)


@pytest.mark.parametrize(
    ("streams", "schemes", "expected"),
    [
        (StreamChannels((0,), (1,)), [CT, AS_IT_IS], (1,)),
        (StreamChannels((0,), (1,)), [CT, Z], ()),
        (StreamChannels((0,), (1,)), [AS_IT_IS, CT], ()),  # a CT in HU is no SUV
        (StreamChannels((0, 2), (1, 2)), [CT, AS_IT_IS], (1,)),  # channel 2 is a cascade's segmentation
        (StreamChannels((0, 1), (1, 2)), [CT, AS_IT_IS, AS_IT_IS], (2,)),
    ],
)
def test_pet_that_is_not_normalized_is_suv(streams, schemes, expected):
    assert suv_channels(streams, schemes) == expected


def test_the_trainer_compresses_pet_that_is_not_normalized(make_trainer, plans):
    assert initialized(make_trainer, plans, AS_IT_IS).network.intensity.channels == [1]


@pytest.mark.parametrize("scheme", [CT, Z])
def test_normalized_pet_is_left_as_it_is_and_augmented_as_by_nnunet(make_trainer, plans, scheme):
    trainer = initialized(make_trainer, plans, scheme)

    assert trainer.network.intensity is None
    assert not any(isinstance(each, CompressTransform) for each in transforms_of(trainer).transforms)


def test_a_recipe_may_keep_suv_linear(make_trainer, plans):
    class Linear(nnUNetTrainerH2ASeg):
        network_options = {"suv_channels": ()}  # noqa: RUF012

    assert initialized(make_trainer, plans, AS_IT_IS, Linear).network.intensity is None


def test_weights_of_before_are_refused_and_not_misread(make_trainer, plans):
    normalized = initialized(make_trainer, plans, Z).network.state_dict()

    with pytest.raises(UserError, match=r"1 missing \(intensity\.scale\)"):
        initialized(make_trainer, plans, AS_IT_IS).network.load_state_dict(normalized)


@pytest.mark.parametrize("recipe", [nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_misalign])
def test_all_that_is_random_in_intensity_lies_between_compression_and_its_undoing(make_trainer, plans, recipe):
    transforms = transforms_of(initialized(make_trainer, plans, AS_IT_IS, recipe)).transforms
    there, back = (
        next(n for n, each in enumerate(transforms) if isinstance(each, CompressTransform) and each.back == back)
        for back in (False, True)
    )

    assert any(isinstance(each, SpatialTransform) for each in transforms[:there])
    intensity = [each for each in transforms[there + 1 : back]]
    assert len(intensity) == 7 and all(isinstance(each, RandomTransform) for each in intensity)
    assert any(isinstance(each, MirrorTransform) for each in transforms[back:])


def test_compression_and_its_undoing_give_back_suv_and_leave_ct():
    image = torch.tensor([[[[-1000.0, 40.0]]], [[[0.3, 80.0]]]])

    compressed = CompressTransform([1], 2.0)(image=image.clone())["image"]
    restored = CompressTransform([1], 2.0, back=True)(image=compressed.clone())["image"]

    assert torch.equal(compressed[0], image[0])
    assert compressed[1].ravel().tolist() == pytest.approx(np.arcsinh([0.15, 40.0]).tolist())
    assert torch.allclose(restored, image, rtol=1e-5)


def test_augmented_suv_stays_of_the_size_of_suv(make_trainer, plans):
    """Muscle at 0.7, a lesion at 6 and a bladder at 60: as normalized images, none of them leaves its kind."""
    torch.manual_seed(0)
    np.random.seed(0)
    compose = transforms_of(initialized(make_trainer, plans, AS_IT_IS))
    transforms = [each.transform for each in compose.transforms if isinstance(each, RandomTransform)]
    steps = [CompressTransform([1], 1.0), *transforms, CompressTransform([1], 1.0, back=True)]

    for step in (None, *range(1, len(steps) - 1)):
        image = torch.full((2, 12, 12, 12), 0.7)
        image[1, 2:5, 2:5, 2:5], image[1, 7:11, 7:11, 7:11] = 6.0, 60.0
        for each in steps if step is None else (steps[0], steps[step], steps[-1]):
            image = each(image=image)["image"]
        muscle, lesion, bladder = image[1, :, 6, 0].median(), image[1, 3, 3, 3], image[1, 9, 9, 9]
        assert image.isfinite().all()
        assert muscle < lesion < bladder
        assert muscle.abs() < 2.5 and bladder < 1e3
