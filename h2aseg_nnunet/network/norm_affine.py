"""Affine instance norm throughout H2ASeg, as in nnU-Net's own networks; the release has none."""

from torch import nn

from h2aseg_nnunet.network.blocks import ResidualBlock, StemBlock
from h2aseg_nnunet.network.decoder import SegLayer
from h2aseg_nnunet.network.mcsa import MCSA
from h2aseg_nnunet.network.norm_prelu import AffinePReLU


def make_norms_affine(network: nn.Module) -> None:
    """Give every norm of `network` a learned scale and shift per channel; they start as 1 and 0.

    Where two paths share a norm, each has its own scale and shift, as if it were normalised twice.
    """
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.activation1 = AffinePReLU(module.conv1.in_channels)
            module.activation_skip = AffinePReLU(module.conv_skip.in_channels)
            module.activation2 = AffinePReLU(module.conv2.in_channels)
        elif isinstance(module, StemBlock):
            module.norm_activation.activation = AffinePReLU(module.conv2.in_channels)
        elif isinstance(module, SegLayer):
            module.activation = AffinePReLU(module.conv.in_channels)
        elif isinstance(module, MCSA):
            for norm in (module.ct_activation1, module.pet_activation1, module.ct_activation2, module.pet_activation2):
                norm.activation = AffinePReLU(module.between_windows.merge_ct.in_channels)
