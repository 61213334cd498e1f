"""Checkpoints that do not fit are refused in one sentence, in training and in prediction."""

import pickle
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.network.h2aseg import H2ASeg

REQUIRED = {"network_weights", "optimizer_state", "current_epoch", "init_args", "logging"}


def check_checkpoint(file: str) -> None:
    """Refuse a file that is no whole checkpoint of an nnU-Net training.

    Raises:
        UserError: If the file is damaged or something else.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{file}: damaged, or no file of torch ({error}). Move it away: nnUNetv2_train --c continues from "
            "checkpoint_final, else checkpoint_latest, else checkpoint_best."
        ) from error
    missing = REQUIRED - set(checkpoint)
    if missing:
        raise UserError(f"{file}: no checkpoint of an nnU-Net training, for it lacks {sorted(missing)}.")


class CheckedH2ASeg(H2ASeg):
    """H2ASeg that says in one sentence what is wrong with weights of another network.

    nnU-Net's predictor loads weights into the network by itself, without the trainer: the network carries the check.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False):
        """Load weights as torch does.

        Raises:
            UserError: If strict and names or shapes differ.
        """
        if strict:
            _compare(expected=self.state_dict(), given=state_dict)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def _compare(expected: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    shapes = {name: torch.as_tensor(value).shape for name, value in given.items()}
    other_shapes = [
        f"{name} {tuple(shapes[name])} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if shapes.get(name, value.shape) != value.shape
    ]
    problems = [
        *_listed("missing", expected.keys() - given.keys()),
        *_listed("unexpected", given.keys() - expected.keys()),
        *_listed("of another shape", other_shapes),
    ]
    if problems:
        raise UserError(
            f"These weights are not of this H2ASeg: of {len(expected)} tensors, {'; '.join(problems)}. Was the "
            "checkpoint trained by another trainer (-tr), another width (nnUNetTrainerH2ASeg_L), on other plans or "
            "by an earlier version?"
        )


def _listed(kind: str, names: Iterable[str]) -> list[str]:
    """The number of names and the first three; nothing if there are none."""
    names = sorted(names)
    return [f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"] if names else []
