"""nnU-Net trainers with H2ASeg in place of the U-Net. Everything else is nnU-Net's."""

import os
import pickle
from collections.abc import Sequence

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from h2aseg_nnunet.modalities import assign_channels
from h2aseg_nnunet.network.h2aseg import H2ASeg

H2ASEG_CLASS = f"{H2ASeg.__module__}.{H2ASeg.__name__}"
PLAN_KEYS = ("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "conv_bias")
"""What H2ASeg takes over from the plan of nnU-Net's own network."""


class nnUNetTrainerH2ASeg(nnUNetTrainer):
    """nnU-Net's trainer with H2ASeg: nnUNetv2_train DATASET CONFIGURATION FOLD -tr nnUNetTrainerH2ASeg.

    The plan's U-Net is mapped to H2ASeg stage by stage: same kernels and strides; each stream has a quarter of the
    plan's features (32, 64, 128, ... becomes the published 8, 16, 32, ... per stream). A plan that names H2ASeg itself
    is taken as it is.
    """

    features_divisor = 4

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Map the plan to H2ASeg; nnU-Net calls this for training and, on the class, for prediction.

        Raises:
            ValueError: If the plan lacks a key, or the dataset does not give both streams a channel.
        """
        arch_kwargs = dict(configuration_manager.network_arch_init_kwargs)
        if configuration_manager.network_arch_class_name != H2ASEG_CLASS:
            arch_kwargs = cls._arch_kwargs_from_unet(arch_kwargs, configuration_manager)
        streams = assign_channels(configuration_manager.normalization_schemes, num_input_channels)
        arch_kwargs.setdefault("patch_size", configuration_manager.patch_size)
        arch_kwargs.setdefault("ct_channels", streams.ct)
        arch_kwargs.setdefault("pet_channels", streams.pet)
        return get_network_from_plans(
            H2ASEG_CLASS,
            arch_kwargs,
            [key for key in configuration_manager.network_arch_init_kwargs_req_import if key in arch_kwargs],
            num_input_channels,
            num_output_channels,
            allow_init=True,
            deep_supervision=enable_deep_supervision,
        )

    @classmethod
    def _arch_kwargs_from_unet(cls, unet_kwargs: dict, configuration_manager: ConfigurationManager) -> dict:
        missing = [key for key in PLAN_KEYS if key not in unet_kwargs]
        if missing:
            raise ValueError(
                f"The plan's architecture ({configuration_manager.network_arch_class_name}) has no {missing}, which "
                "H2ASeg takes over. Use plans made for a U-Net (nnUNetv2_plan_experiment with the default or a ResEnc "
                "planner), or plan again if the file was edited."
            )
        # H2ASeg works with quarters of its features: four is the least
        features = [max(4, f // cls.features_divisor) for f in unet_kwargs["features_per_stage"]]
        return {key: unet_kwargs[key] for key in PLAN_KEYS} | {"features_per_stage": features}

    def initialize(self) -> None:
        if self.label_manager.has_regions:
            raise ValueError(
                "This dataset has region-based labels (a label in dataset.json is a list). H2ASeg's target-aware "
                "weighting needs class probabilities with a background: declare plain integer labels instead."
            )
        super().initialize()

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """One scale per stage, the deepest included: its prediction drives TAMW (nnU-Net leaves the deepest out)."""
        if not self.enable_deep_supervision:
            return None
        return (1 / np.cumprod(self.configuration_manager.pool_op_kernel_sizes, axis=0)).tolist()

    def _build_loss(self) -> nn.Module:
        """nnU-Net's loss; weights halve from stage to stage as there, but no stage is left out (weight 0)."""
        loss = super()._build_loss()
        if self.enable_deep_supervision:
            loss.weight_factors = halving_weights(len(loss.weight_factors))
        return loss

    def save_checkpoint(self, filename: str) -> None:
        """As nnU-Net's, but a process killed while writing leaves the previous checkpoint whole."""
        partial = f"{filename}.part"
        super().save_checkpoint(partial)
        if os.path.isfile(partial):  # not on other ranks, nor with --disable_checkpointing
            os.replace(partial, filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """As nnU-Net's.

        Raises:
            ValueError: If the file is damaged or no checkpoint of nnU-Net.
        """
        if not self.was_initialized:
            self.initialize()  # its own errors are not the file's
        try:
            super().load_checkpoint(filename_or_checkpoint)
        except torch.cuda.OutOfMemoryError:  # says nothing about the file
            raise
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{filename_or_checkpoint if isinstance(filename_or_checkpoint, str) else 'checkpoint'}: cannot be "
                f"read as an nnU-Net checkpoint ({type(error).__name__}: {error}). If the file is damaged, remove it: "
                "nnUNetv2_train --c continues from checkpoint_final, else _latest, else _best."
            ) from error


class nnUNetTrainerH2ASeg_L(nnUNetTrainerH2ASeg):
    """Twice as wide: each stream has half of the plan's features."""

    features_divisor = 2


def halving_weights(n_stages: int) -> tuple[float, ...]:
    """Loss weights 1, 1/2, 1/4, ... from fine to coarse, normalised to sum 1."""
    weights: Sequence[float] = [0.5**stage for stage in range(n_stages)]
    return tuple(weight / sum(weights) for weight in weights)
