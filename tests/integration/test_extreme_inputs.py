"""What scanners, reconstruction and missing fields of view can put into an image: never a number that is not finite."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet import nnUNetTrainerH2ASeg
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.kernels import as_on_a_gpu

SIZE = (16, 16, 16)
FLOAT16_MAX = 65504.0


def noise() -> torch.Tensor:
    return torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(0))


def suv_200() -> torch.Tensor:
    """A bladder in an image that nobody normalised: CT in HU, PET in SUV."""
    ct, pet = 1000 * noise().split(1, dim=1)[0], torch.ones(1, 1, *SIZE)
    pet[..., 4:9, 4:9, 4:9] = 200
    return torch.cat([ct, pet], dim=1)


def one_hot_voxel() -> torch.Tensor:
    """The largest z-score there is: one voxel among ten million others that are all the same."""
    x = noise()
    x[:, 1] = 0
    x[0, 1, 8, 8, 8] = 1e7**0.5
    return x


def no_pet() -> torch.Tensor:
    """A patch outside the field of view of the PET."""
    return noise() * torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)


def constant_images() -> torch.Tensor:
    return torch.tensor([-2.1, -0.4]).reshape(1, 2, 1, 1, 1).expand(1, 2, *SIZE).clone()


def all_zero() -> torch.Tensor:
    return torch.zeros(1, 2, *SIZE)


EXTREMES = [suv_200, one_hot_voxel, no_pet, constant_images, all_zero]


def make_network() -> H2ASeg:
    torch.manual_seed(0)
    network = H2ASeg(
        input_channels=2,
        n_stages=4,
        features_per_stage=[8, 16, 32, 64],
        conv_op=torch.nn.Conv3d,
        kernel_sizes=3,
        strides=2,
        num_classes=2,
        deep_supervision=True,
        patch_size=SIZE,
        interactions=["none", "mcsa", "global", "global"],
        window_size=(4, 8, 8),
    )
    network.apply(network.initialize)
    return network


def gradient_norm(x: torch.Tensor, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> float:
    """Of a fresh network's cross entropy, all parameters as one vector; nan or inf where any gradient is."""
    network = make_network()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        outputs = network(x)
    assert all(output.isfinite().all() for output in outputs)
    losses = [
        torch.nn.functional.cross_entropy(output.float(), torch.zeros(1, *output.shape[2:], dtype=torch.long))
        for output in outputs
    ]
    (scale * sum(losses)).backward()
    return torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm().item() / scale


@pytest.mark.parametrize("image", EXTREMES)
def test_outputs_are_finite_and_gradients_of_usual_size(image):
    """An exploding gradient would be clipped, and leave nothing of the other images in its batch."""
    assert gradient_norm(image()) < 3 * gradient_norm(noise())


@pytest.mark.parametrize("image", EXTREMES)
@pytest.mark.parametrize("order", [as_on_a_gpu, nullcontext])
def test_gradients_stay_in_the_range_of_float16(image, order):
    """At a loss scale of 256 at least; else each such batch would halve nnU-Net's scale, down to nothing."""
    with order():
        assert np.isfinite(gradient_norm(image(), torch.float16, scale=256.0))


@pytest.mark.parametrize("image", [suv_200, one_hot_voxel])
def test_activations_stay_an_eighth_below_the_limit_of_float16(image):
    network, largest = make_network(), {}
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: largest.update({name: output.abs().max().item()})
            )

    with as_on_a_gpu():  # every convolution as a module of its own
        network(image())

    assert max(largest.values()) > 100  # the hooks saw the extreme
    assert max(largest.values()) < FLOAT16_MAX / 8


@pytest.mark.parametrize("image", EXTREMES)
def test_sliding_window_prediction_is_finite(workspace, image):
    """nnU-Net sums windows in float16 and refuses what becomes infinite."""
    dataset = workspace.dataset("binary")
    with workspace.environment():
        trainer = make_trainer(dataset)
        predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
        trainer.set_deep_supervision_enabled(False)
        settings = (trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None)
        predictor.manual_initialization(trainer.network, *settings)
        logits = predictor.predict_sliding_window_return_logits(image()[0])

    assert logits.isfinite().all()


def make_trainer(dataset) -> nnUNetTrainerH2ASeg:
    plans = dataset.plans() | {"continue_training": False}
    trainer = nnUNetTrainerH2ASeg(plans, "3d_fullres", 0, dataset.description, device=torch.device("cpu"))
    trainer.initialize()
    return trainer


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_training_stops_at_an_image_that_is_not_finite_and_names_the_case(workspace, value):
    """nnU-Net alone would go on, with every weight nan."""
    dataset = workspace.dataset("binary")
    with workspace.environment(nnUNet_n_proc_DA="0"):
        trainer = make_trainer(dataset)
        batches, _ = trainer.get_dataloaders()
        batch = next(batches)
    batch["data"][1, 1, 2, 3, 4] = value

    with pytest.raises(ValueError, match=rf"{batch['keys'][1]}.*NaN or infinite") as error:
        trainer.train_step(batch)

    if batch["keys"][0] != batch["keys"][1]:
        assert batch["keys"][0] not in str(error.value)


def test_preprocessing_stops_at_nan_and_names_the_case(workspace, tmp_path, capsys):
    """nnU-Net's own check; without --verify_dataset_integrity nnU-Net stops too, but does not say at which case."""
    other = type(workspace)(tmp_path)
    dataset = other.locate(999, "binary")
    copy_as_nrrd(workspace.dataset("binary").raw, dataset.raw)
    file = dataset.raw / "imagesTr" / "case_3_0001.nrrd"
    put_nan(file)

    with pytest.raises(RuntimeError, match="Some images have errors"):
        other.run("nnUNetv2_plan_and_preprocess -d 999 -npfp 1 -np 1 --verify_dataset_integrity --no_pbar")

    output = capsys.readouterr().out
    assert "Images contain NaN pixel values" in output
    assert str(file) in output
    assert not dataset.preprocessed.exists() or not list(dataset.preprocessed.glob("nnUNetPlans*"))


def copy_as_nrrd(source: Path, target: Path) -> None:
    for file in source.glob("*/*.nii.gz"):
        (target / file.parent.name).mkdir(parents=True, exist_ok=True)
        copy = target / file.parent.name / file.name.replace(".nii.gz", ".nrrd")
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)), str(copy))
    description = json.loads((source / "dataset.json").read_text()) | {"file_ending": ".nrrd"}
    (target / "dataset.json").write_text(json.dumps(description))


def put_nan(file: Path) -> None:
    image = SimpleITK.ReadImage(str(file))
    image[3, 4, 5] = np.nan
    SimpleITK.WriteImage(image, str(file))


def test_nan_in_nifti_is_read_as_zero_or_refused(workspace, tmp_path):
    """ITK's NIfTI reader, by which nnU-Net reads, replaces it by 0 up to version 5 (ITK's pull request 6683)."""
    folder = workspace.dataset("binary").raw
    image, label = tmp_path / "case_0_0001.nii.gz", folder / "labelsTr" / "case_0.nii.gz"
    shutil.copy(folder / "imagesTr" / image.name, image)
    put_nan(image)

    read, _ = SimpleITKIO().read_images([str(image)])
    accepted = check_cases([str(image)], str(label), 1, SimpleITKIO)

    assert read[0, 5, 4, 3] == 0 or not accepted
    assert np.isfinite(read).all() == accepted
