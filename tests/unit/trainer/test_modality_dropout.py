import numpy as np
import pytest
import torch

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg_modalitydropout
from h2aseg_nnunet.trainer.modality_dropout import ModalityDropoutTransform

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
    transform = recipe(make_trainer(nnUNetTrainerH2ASeg_modalitydropout))[-1]
    draws = [tuple(transform.get_parameters()["channels"]) for _ in range(2000)]

    assert {*draws} == {(CT,), (PET,), ()}
    assert 150 < draws.count((CT,)) < 250 and 150 < draws.count((PET,)) < 250


def recipe(trainer) -> list:
    patch_size = trainer.configuration_manager.patch_size
    return trainer.get_training_transforms(patch_size, (-0.5, 0.5), None, (0,), False).transforms


def test_it_is_the_last_transform_of_training_and_none_of_validation(make_trainer):
    trainer = make_trainer(nnUNetTrainerH2ASeg_modalitydropout)

    found = [isinstance(each, ModalityDropoutTransform) for each in recipe(trainer)]

    assert found.index(True) == len(found) - 1
    validation = trainer.get_validation_transforms(None).transforms
    assert not any(isinstance(each, ModalityDropoutTransform) for each in validation)


def test_a_cascades_segmentation_is_never_dropped(make_trainer):
    """Both streams read it; it comes behind the images."""
    trainer = make_trainer(nnUNetTrainerH2ASeg_modalitydropout)

    assert trainer.modality_channels() == ((CT,), (PET,))
    assert dropped(ModalityDropoutTransform(trainer.modality_channels(), (1, 0)), torch.randn(BOTH + 1, 4, 5)) == {CT}
