"""nnU-Net trainers with H2ASeg in place of the U-Net. Everything else is nnU-Net's."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import StreamChannels, channels_of_plan, suv_channels
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.layout import arguments_from_unet, stage_sizes
from h2aseg_nnunet.network.readings import unwrap
from h2aseg_nnunet.petct.nnunet.checkpoints import save_whole
from h2aseg_nnunet.trainer.checkpoints import CheckedH2ASeg, check_checkpoint
from h2aseg_nnunet.trainer.compilation import recomputed_activations
from h2aseg_nnunet.trainer.intensity import compress_for
from h2aseg_nnunet.trainer.supervision import FullResolutionSupervision, dice_of, halving_weights
from h2aseg_nnunet.trainer.tamw_log import as_line, log_gains, measure_gains

H2ASEG_CLASS, CHECKED_CLASS = (f"{each.__module__}.{each.__name__}" for each in (H2ASeg, CheckedH2ASeg))

NNUNET_SETTINGS = (
    *("initial_lr", "weight_decay", "num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch"),
    *("oversample_foreground_percent", "probabilistic_oversampling", "enable_deep_supervision"),
    *("save_every", "disable_checkpointing"),
)
"""What nnU-Net's constructor sets and a recipe may set as a class attribute."""


class nnUNetTrainerH2ASeg(nnUNetTrainer):
    """nnU-Net's trainer with H2ASeg: nnUNetv2_train DATASET CONFIGURATION FOLD -tr nnUNetTrainerH2ASeg.

    The plan's U-Net is mapped to H2ASeg stage by stage: same kernels and strides; each stream has a quarter of the
    plan's features (32, 64, 128, ... becomes the published 8, 16, 32, ... per stream). A plan that names H2ASeg itself
    is taken as it is.

    AdamW trains it instead of nnU-Net's SGD, the rate falls as nnU-Net's does; Dice is that of the whole batch, also
    where nnU-Net plans that of each sample; every stage is compared with the label at full resolution, as in the
    release, and not at its own. Attention reads normalized tokens, unlike the release's: see BidirectionalAttention. A
    plan that names H2ASeg decides that itself. studies/notebook.md has the evidence.

    Recipes are subclasses of a few lines (docs/trainers.md). A subclass may set NNUNET_SETTINGS as class attributes.

    Attributes:
        network_options: Arguments of H2ASeg that are the recipe's. They count more than the plan's, and a subclass's
            more than its parents'. A value may be a function of the number of stages.
        features_divisor: The plan's features, divided by this, are the features of each stream.
        he_initialization: Start convolutions as nnU-Net does instead of with PyTorch's defaults.
        deep_supervision_weights: Number of stages -> weights of their losses, from fine to coarse.
        batch_dice: Compute the Dice loss over the batch instead of for each sample. Where a sample holds no tumour, its
            own Dice is 0 whatever is marked, which leaves false positives to the much weaker cross-entropy; and it
            jumps to 1 once all probabilities vanish, which has taught networks to mark nothing at all.
        full_resolution_supervision: Compare every stage with the label at full resolution instead of at its own. The
            nearest voxels of a coarse map lose small lesions: the label there is empty and rewards marking nothing,
            although this very prediction drives TAMW.
    """

    initial_lr = 1e-3
    weight_decay = 1e-2
    network_options: ClassVar[Mapping[str, Any]] = {}
    features_divisor = 4
    he_initialization = True
    deep_supervision_weights = staticmethod(halving_weights)
    batch_dice = True
    full_resolution_supervision = True
    _last_validation_data: torch.Tensor | None = None

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net's own default
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in NNUNET_SETTINGS:
            of_recipe, of_nnunet = (getattr(cls, name, None) for cls in (type(self), nnUNetTrainer))
            if of_recipe is not of_nnunet:  # a default that nnU-Net may give its class one day is no recipe's choice
                setattr(self, name, of_recipe)

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
        arguments = dict(configuration_manager.network_arch_init_kwargs)
        network_class = configuration_manager.network_arch_class_name
        if network_class != H2ASEG_CLASS:
            arguments = arguments_from_unet(arguments, network_class, cls.features_divisor)
        arguments.setdefault("patch_size", configuration_manager.patch_size)
        streams = cls._streams(configuration_manager, num_input_channels)
        arguments |= {"ct_channels": streams.ct, "pet_channels": streams.pet}
        arguments.setdefault("suv_channels", suv_channels(streams, configuration_manager.normalization_schemes))
        arguments |= cls._merged_network_options(arguments["n_stages"])
        network = get_network_from_plans(
            CHECKED_CLASS,
            arguments,
            [key for key in configuration_manager.network_arch_init_kwargs_req_import if key in arguments],
            num_input_channels,
            num_output_channels,
            allow_init=cls.he_initialization,
            deep_supervision=enable_deep_supervision,
        )
        cls.adjust_network(network)
        return network

    @classmethod
    def _merged_network_options(cls, n_stages: int) -> dict[str, Any]:
        """The options of this class and all its parents, the nearest counting most."""
        merged: dict[str, Any] = {}
        for each in reversed(cls.__mro__):
            merged |= vars(each).get("network_options", {})
        return {name: value(n_stages) if callable(value) else value for name, value in merged.items()}

    @classmethod
    def adjust_network(cls, network: nn.Module) -> None:
        """Change the network that was built, for instance the start of its weights; here nothing."""

    @staticmethod
    def _streams(configuration_manager: ConfigurationManager, num_input_channels: int) -> StreamChannels:
        given = configuration_manager.network_arch_init_kwargs
        return channels_of_plan(given, configuration_manager.normalization_schemes, num_input_channels)

    def modality_channels(self) -> StreamChannels:
        """Image channels that are one modality's only, for augmentation that treats CT and PET differently.

        Raises:
            UserError: If a modality has none.
        """
        images = range(len(self.configuration_manager.normalization_schemes))  # without a cascade's segmentation
        streams = self._streams(self.configuration_manager, len(images))
        ct, pet = set(streams.ct) & set(images), set(streams.pet) & set(images)
        if not ct - pet or not pet - ct:
            raise UserError(
                f"{type(self).__name__} changes CT and PET separately, but the plan's ct_channels {sorted(ct)} and "
                f"pet_channels {sorted(pet)} do not give each a channel of its own: change them, or train without."
            )
        return StreamChannels(tuple(sorted(ct - pet)), tuple(sorted(pet - ct)))

    def get_training_transforms(self, *args, **kwargs) -> BasicTransform:
        """nnU-Net's; where PET is SUV, what is random in intensity works on the network's scale: see `compress_for`.

        No staticmethod as there: it asks the network.
        """
        compose = super().get_training_transforms(*args, **kwargs)
        intensity = None if self.network is None else unwrap(self.network).intensity
        return compose if intensity is None else compress_for(compose, intensity.channels, float(intensity.scale))

    def initialize(self) -> None:
        """As nnU-Net's; the network learns whether labels are regions, which its builder is not told."""
        super().initialize()
        unwrap(self.network).decoder.seg_layers.set_regions(self.label_manager.has_regions)

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """One scale per stage, the deepest included: its prediction drives TAMW (nnU-Net leaves the deepest out).

        From the maps' true extents, so that targets fit also where strides do not divide the patch.
        """
        if not self.enable_deep_supervision:
            return None
        patch_size = self.configuration_manager.patch_size
        sizes = stage_sizes(patch_size, self.configuration_manager.pool_op_kernel_sizes)
        return [[n / extent for n, extent in zip(size, patch_size, strict=True)] for size in sizes]

    def _build_loss(self) -> nn.Module:
        """nnU-Net's loss; weights halve from stage to stage as there, but no stage is left out (weight 0)."""
        loss = super()._build_loss()
        dice_of(loss).batch_dice = self.batch_dice
        if not self.enable_deep_supervision:
            return loss
        supervision = FullResolutionSupervision if self.full_resolution_supervision else DeepSupervisionWrapper
        return supervision(loss.loss, self.deep_supervision_weights(len(loss.weight_factors)))

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """AdamW; nnU-Net's schedule."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def train_step(self, batch: dict) -> dict:
        """As nnU-Net's.

        Raises:
            UserError: If an image holds NaN or infinite values, which would make every weight NaN and go unnoticed.
        """
        with recomputed_activations():  # the first step compiles
            step = super().train_step(batch)
        if not np.isfinite(step["loss"]):
            _refuse_images_that_are_not_finite(batch)  # else float16 overflowed, which nnU-Net's loss scaling mends
        return step

    def validation_step(self, batch: dict) -> dict:
        """As nnU-Net's; the epoch's last batch shows how the modalities are weighted."""
        self._last_validation_data = batch["data"]
        return super().validation_step(batch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """As nnU-Net's; logs the mean TAMW gains too (tamw_log.py)."""
        super().on_validation_epoch_end(val_outputs)
        if self.local_rank == 0 and self._last_validation_data is not None:
            gains = measure_gains(self.network, self._last_validation_data, self.device)
            log_gains(self.logger, gains, self.current_epoch)
            self.print_to_log_file(as_line(gains))
        self._last_validation_data = None

    def save_checkpoint(self, filename: str) -> None:
        """As nnU-Net's, but a process killed while writing leaves the previous checkpoint whole."""
        save_whole(self, super().save_checkpoint, filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """As nnU-Net's.

        Raises:
            UserError: If the file is damaged or no checkpoint of nnU-Net, or the weights are another network's.
        """
        if isinstance(filename_or_checkpoint, str):
            check_checkpoint(filename_or_checkpoint)  # read once more below: nnU-Net's own path for a dict is broken
        super().load_checkpoint(filename_or_checkpoint)


class nnUNetTrainerH2ASeg_L(nnUNetTrainerH2ASeg):
    """Twice as wide: each stream has half of the plan's features."""

    features_divisor = 2


def _refuse_images_that_are_not_finite(batch: dict) -> None:
    cases = [case for case, image in zip(batch["keys"], batch["data"], strict=True) if not image.isfinite().all()]
    if cases:
        raise UserError(
            f"{', '.join(cases)}: NaN or infinite values in the preprocessed images. Replace them in the images, then "
            "run nnUNetv2_plan_and_preprocess again. Checkpoints written so far are good: --c continues from them."
        )
