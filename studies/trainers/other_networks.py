"""H2ASeg with attention elsewhere, with other slopes, or with its modules in the release's form."""

from torch import nn

from h2aseg_nnunet.network.layout import PUBLISHED_MODULES
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASeg_globalOnly(nnUNetTrainerH2ASeg):
    """The streams interact at the two deepest stages alone, where all positions read one another."""

    network_options = {"interactions": lambda n_stages: ["none"] * (n_stages - 2) + ["global"] * 2}  # noqa: RUF012


class nnUNetTrainerH2ASeg_LeakyReLU(nnUNetTrainerH2ASeg):
    """Every slope stays at 0.01, nnU-Net's, instead of starting at 0.25 and being learned."""

    slope = 0.01

    @classmethod
    def adjust_network(cls, network: nn.Module) -> None:
        super().adjust_network(network)
        for module in network.modules():
            if isinstance(module, nn.PReLU):
                nn.init.constant_(module.weight.requires_grad_(False), cls.slope)


class nnUNetTrainerH2ASeg_publishedModules(nnUNetTrainerH2ASeg):
    """MCSA and TAMW in the release's form, with the default's training and normalized tokens."""

    network_options = PUBLISHED_MODULES
