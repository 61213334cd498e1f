import copy
import math

import matplotlib
import pytest
import torch

from h2aseg_nnunet.trainer.tamw_log import log_gains, measure_gains

pytestmark = pytest.mark.filterwarnings("default")  # matplotlib and seaborn warn of their own matters


@pytest.fixture
def make_small_trainer(plans, make_trainer):
    """A trainer of four narrow stages with a patch of a few thousand voxels."""

    def make():
        plans["configurations"]["3d_fullres"]["patch_size"] = [16, 16, 16]
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [16] * 4
        trainer = make_trainer()
        trainer.initialize()
        return trainer

    return make


def run_epoch(trainer, batch: dict) -> None:
    """An epoch of one iteration, in the order of nnU-Net's run_training."""
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    trainer.on_train_epoch_end([trainer.train_step(batch)])
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        trainer.on_validation_epoch_end([trainer.validation_step(copy.deepcopy(batch))])
    with matplotlib.rc_context({"savefig.dpi": 10}):
        trainer.on_epoch_end()


def keys(history: dict) -> list[str]:
    return sorted(key for key in history if key.startswith("tamw/"))


EXPECTED_KEYS = sorted(
    f"tamw/stage{stage}_{modality}_{where}"
    for stage in (1, 2, 3)
    for modality in ("CT", "PET")
    for where in ("tumor", "background")
)


def test_every_epoch_has_one_value_per_stage_modality_and_place(make_small_trainer, make_batch, tmp_path):
    trainer = make_small_trainer()
    for _ in range(2):
        run_epoch(trainer, make_batch(trainer))

    history = trainer.logger.get_checkpoint()
    assert keys(history) == EXPECTED_KEYS
    assert all(len(values) == 2 for values in history.values())
    assert all(-1 < value < 1 for key in EXPECTED_KEYS for value in history[key])
    output = tmp_path / "nnUNet_results"
    (log,) = output.rglob("training_log_*.txt")
    assert log.read_text().count("TAMW in tumor / background: stage 1 CT") == 2
    assert list(output.rglob("progress.png"))


def test_values_are_the_gains_of_the_network(make_small_trainer):
    """With weights 0 and a bias in its last layer, TAMW's gains are tanh(bias) for every image."""
    trainer = make_small_trainer()
    stages = trainer.network.decoder.stages
    finest = stages[-1].tamw
    torch.nn.init.zeros_(finest.fc2.weight)
    for part, bias in zip(finest.fc2.bias.split([*finest.parts, finest.parts[2]]), (0.5, -0.25, 0.0, 0.0), strict=True):
        torch.nn.init.constant_(part, bias)

    first, *_ = measure_gains(trainer.network.eval(), torch.randn(2, 2, 16, 16, 16), trainer.device)

    assert first.stage == 1
    assert first.tumor == pytest.approx({"CT": math.tanh(0.5), "PET": math.tanh(-0.25)}, rel=1e-5)
    assert first.background == {"CT": 0, "PET": 0}


def test_a_checkpoint_without_gains_is_resumed(make_small_trainer, make_batch, tmp_path):
    trainer, other = make_small_trainer(), make_small_trainer()
    run_epoch(trainer, make_batch(trainer))
    history = trainer.logger.get_checkpoint()
    for key in keys(history):
        del history[key]
    trainer.current_epoch -= 1  # nnU-Net writes the number of the next epoch
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    run_epoch(other, make_batch(other))

    history = other.logger.get_checkpoint()
    assert keys(history) == EXPECTED_KEYS
    assert {len(values) for values in history.values()} == {2}  # so progress.png shows both epochs
    assert [math.isnan(value) for value in history[EXPECTED_KEYS[0]]] == [True, False]


def test_gains_travel_with_a_checkpoint(make_small_trainer, make_batch, tmp_path):
    trainer, other = make_small_trainer(), make_small_trainer()
    run_epoch(trainer, make_batch(trainer))
    trainer.current_epoch -= 1
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))

    before, after = trainer.logger.get_checkpoint(), other.logger.get_checkpoint()
    assert {key: after[key] for key in keys(after)} == {key: before[key] for key in EXPECTED_KEYS}


def test_other_ranks_measure_nothing(make_small_trainer, make_batch):
    trainer = make_small_trainer()
    trainer.local_rank = 1

    trainer.network.eval()
    with torch.no_grad():
        trainer.on_validation_epoch_end([trainer.validation_step(make_batch(trainer))])

    assert not keys(trainer.logger.get_checkpoint())


def test_a_value_is_logged_once_per_epoch(make_small_trainer):
    trainer = make_small_trainer()
    gains = measure_gains(trainer.network.eval(), torch.randn(1, 2, 16, 16, 16), trainer.device)

    for epoch in (0, 1, 2):
        log_gains(trainer.logger, gains, epoch)

    assert {len(trainer.logger.get_checkpoint()[key]) for key in EXPECTED_KEYS} == {3}
