"""Normalised tokens: what attention adds to a stream does not outgrow the stream; the release has no such norm."""

from torch import nn

from h2aseg_nnunet.network.attention import GlobalAttention
from h2aseg_nnunet.network.mcsa import BetweenWindows


def normalize_tokens(network: nn.Module) -> None:
    """Give every attention that reads unnormalised maps a layer norm of its tokens, one for each stream.

    Between windows and at the deepest stages attention reads residual maps, which no norm bounds, the former after a
    convolution over some thousand values whose weights an optimiser moves together. What it adds, a weighted mean of
    projected tokens, then outgrows the map that it is added to; the norm behind the sum shrinks both, and features of
    single positions are lost under what whole blocks share. Scores grow with the square, until every token reads a
    single one (docs/accuracy.md). Within windows it is not needed: attention reads normalised maps there.

    Reference:
        The norm before attention, in transformers: Xiong et al., arXiv:2002.04745.
    """
    for module in network.modules():
        if isinstance(module, BetweenWindows | GlobalAttention):
            attention = module.attention
            attention.ct_norm = nn.LayerNorm(attention.channels)
            attention.pet_norm = nn.LayerNorm(attention.channels)
