"""Training steps, checkpoint and sliding-window prediction as nnU-Net does them, on every device and dimension.

On a GPU this includes what nnU-Net switches on there: float16 autocast, gradient scaling and torch.compile.
"""

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from tests.integration.precision import ON_CUDA

# a GPU's compiler stack warns of its own matters
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=ON_CUDA,
        ),
    ]
)
def device(request):
    return request.param


def predict(trainer, image: torch.Tensor) -> np.ndarray:
    predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    settings = (trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None)
    predictor.manual_initialization(trainer.network, *settings)
    return predictor.predict_sliding_window_return_logits(image).float().cpu().numpy()


@pytest.mark.parametrize(("configuration", "patch_size"), [("3d_fullres", [26, 20, 22]), ("2d", [45, 28])])
def test_a_trained_network_predicts_the_same_from_its_checkpoint(
    plans, make_trainer, make_batch, tmp_path, device, configuration, patch_size
):
    torch.manual_seed(0)
    plans["configurations"][configuration]["patch_size"] = patch_size  # neither strides nor windows divide it
    trainer, other = (make_trainer(configuration=configuration, device=device) for _ in range(2))
    trainer.initialize()
    batch = make_batch(trainer)
    image = torch.randn(2, 30, 24, 26)

    losses = [trainer.train_step(batch)["loss"] for _ in range(5)]
    trainer.network.eval()
    with torch.no_grad():
        validation = trainer.validation_step(make_batch(trainer))
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))

    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert np.isfinite(validation["loss"])
    assert all(parameter.isfinite().all() for parameter in trainer.network.parameters())
    logits = predict(trainer, image)
    assert logits.shape == (2, 30, 24, 26)
    np.testing.assert_allclose(predict(other, image), logits, atol=1e-5 if device == "cpu" else 1e-2)
