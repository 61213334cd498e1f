"""nnU-Net's experiment planner, with the memory that H2ASeg itself needs in place of the U-Net's."""

from collections.abc import Collection, Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.planning.memory import training_step_bytes
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg

GB = 2**30
RESERVE = 0.1
"""Share of the target left for what no tensor holds: CUDA context, convolution workspaces, fragmentation."""

MOMENTS = 2
"""What AdamW keeps per weight."""

CASCADE = {"3d_fullres", "3d_lowres", "3d_cascade_fullres"}


class H2ASegPlanner(ExperimentPlanner):
    """Chooses the largest patch of which two samples fit into the memory, then as many samples as fit.

    nnU-Net's search is untouched, and the plan names nnU-Net's U-Net, which the trainer maps to H2ASeg as it maps any
    plan's: one kind of plan for all trainers, and the stock U-Net can be trained on the same patches to compare. Only
    the estimate is H2ASeg's. nnU-Net scales the batch size by reference / estimate. Here the reference is 1, the whole
    card, and the estimate is the fraction of the card that one sample needs.

    Args:
        gpu_memory_target_in_gb: Memory of the card, in GiB.
        trainer: The trainer whose network is planned for.
        configurations: The configurations to write; all if empty. Those of a cascade name each other, so that one of
            them brings the others.
        others: The arguments of nnU-Net's planner.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = "nnUNetH2ASegPlans",
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        trainer: type[nnUNetTrainerH2ASeg] = nnUNetTrainerH2ASeg,
        configurations: Collection[str] = (),
    ):
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.trainer = trainer
        self.configurations = set(configurations)
        if self.configurations & CASCADE - {"3d_fullres"}:
            self.configurations |= CASCADE
        self.UNet_reference_val_2d = self.UNet_reference_val_3d = 1
        self.UNet_reference_val_corresp_GB = gpu_memory_target_in_gb
        self.UNet_reference_val_corresp_bs_2d = self.UNet_reference_val_corresp_bs_3d = 1
        self._bytes: dict[tuple[int, ...], _Line] = {}  # by patch

    def generate_data_identifier(self, configuration_name: str) -> str:
        """2d and 3d_fullres are preprocessed as for nnU-Net's default plans, whose data they share."""
        shared = configuration_name in ("2d", "3d_fullres")
        return f"{'nnUNetPlans' if shared else self.plans_identifier}_{configuration_name}"

    def get_plans_for_configuration(self, *args, **kwargs) -> dict:
        """nnU-Net's, with the estimate beside it."""
        plan = super().get_plans_for_configuration(*args, **kwargs)
        step = self._bytes[_extents(plan["patch_size"])].bytes(plan["batch_size"])
        plan["estimated_gpu_memory_gb"] = round(step / (1 - RESERVE) / GB, 2)
        return plan

    def save_plans(self, plans: dict) -> None:
        """As nnU-Net's, with the chosen configurations only.

        Raises:
            ValueError: If one was not planned.
        """
        planned = plans["configurations"]
        missing = sorted(self.configurations - planned.keys())
        if missing:
            raise UserError(
                f"{self.dataset_name} has no configuration {', '.join(missing)}: nnU-Net planned {', '.join(planned)} "
                "(a low resolution only where 3d_fullres patches see too little of an image). Adapt -c."
            )
        if self.configurations:
            for name in planned.keys() - self.configurations:
                del planned[name]
        super().save_plans(plans)

    def static_estimate_VRAM_usage(  # noqa: N802, nnU-Net's own name; static there, and called on the instance
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict,
        arch_kwargs_req_import: Sequence[str],
    ) -> float:
        """Share of the target that one sample takes: 1 / (samples that fit), infinite where two do not fit.

        Raises:
            ValueError: If nnU-Net has made the patch too small for H2ASeg.
        """
        patch = _extents(patch_size)
        if arch_kwargs["n_stages"] < 2:
            raise UserError(
                f"A memory target of {self.UNet_vram_target_GB:g} GB is too small: patches were tried down to "
                f"{' x '.join(map(str, patch))}, which leaves no second stage. Raise -gpu_memory_target."
            )
        architecture = {
            "network_class_name": arch_class_name,
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": arch_kwargs_req_import,
        }
        schemes, _ = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        configuration = {"patch_size": patch, "normalization_schemes": schemes, "architecture": architecture}

        def build_network() -> nn.Module:
            manager = ConfigurationManager(configuration)
            return self.trainer.build_network_architecture(None, manager, input_channels, output_channels, True)

        def count(batch_size: int, limit: float = inf) -> int:
            return training_step_bytes(build_network, input_channels, patch, batch_size, limit=limit, moments=MOMENTS)

        budget = (1 - RESERVE) * self.UNet_vram_target_GB * GB
        try:
            line = _Line(1, count(1), 2, count(2, limit=budget))
        except MemoryError:
            return inf
        if (most := line.largest(budget)) > 2:
            line = _Line(2, line.bytes_b, most, count(most))  # the peak of small batches lies elsewhere in a step
        self._bytes[patch] = line
        return 1 / line.largest(budget)


class _Line(NamedTuple):
    """Bytes of a training step by batch size: the line through two counts.

    The true curve is a maximum of lines, one for each moment that may be the peak. Between the counts the line lies
    above it, so that what fits by the line does fit.
    """

    a: int
    bytes_a: int
    b: int
    bytes_b: int

    def bytes(self, batch_size: int) -> float:
        return self.bytes_a + (batch_size - self.a) * (self.bytes_b - self.bytes_a) / (self.b - self.a)

    def largest(self, budget: float) -> int:
        """Return the largest batch that needs at most `budget` bytes."""
        return int(self.a + (budget - self.bytes_a) * (self.b - self.a) / (self.bytes_b - self.bytes_a))


def _extents(patch_size: Sequence[int]) -> tuple[int, ...]:
    return tuple(np.asarray(patch_size).tolist())
