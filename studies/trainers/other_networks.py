"""H2ASeg with attention elsewhere, or with another start of its weights."""

from torch import nn

from h2aseg_nnunet.network.tamw import ChannelGains
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


class nnUNetTrainerH2ASeg_zeroTAMW(nnUNetTrainerH2ASeg):
    """TAMW's gains start at zero: the decoder begins by concatenating features as they are."""

    @classmethod
    def adjust_network(cls, network: nn.Module) -> None:
        super().adjust_network(network)
        for module in network.modules():
            if isinstance(module, ChannelGains):
                nn.init.zeros_(module.fc2.weight)
                nn.init.zeros_(module.fc2.bias)
