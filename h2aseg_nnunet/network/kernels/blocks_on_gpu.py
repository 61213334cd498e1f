"""The blocks' forward and backward passes on a CUDA card, in terms of the operations of ops.py.

Everywhere x is saved and what lies between x and the next convolution is not: backward computes it once more.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.kernels import ops  # noqa: F401, registers torch.ops.h2aseg
from h2aseg_nnunet.network.kernels.stacking import cast
from h2aseg_nnunet.network.norm import exact_dtype
from h2aseg_nnunet.network.tamw import GatedTAMW

Weighing = tuple[Tensor | None, Tensor | None, Tensor | None]
NO_WEIGHING: Weighing = (None, None, None)


class Geometry(NamedTuple):
    """Stride and padding of a convolution, and the extents of its kernel."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    kernel: tuple[int, ...]

    @classmethod
    def of(cls, conv: nn.Module) -> "Geometry":
        return cls(conv.stride, conv.padding, conv.kernel_size)


class _Norm(NamedTuple):
    """Maps, perhaps weighed by TAMW, before their norm and PReLU; shapes in ops.py."""

    parts: Sequence[Tensor]
    weighing: Weighing
    slopes: Sequence[Tensor]
    mean: Tensor
    inverse_std: Tensor

    @classmethod
    def of(cls, parts: Sequence[Tensor], slopes: Sequence[Tensor], weighing: Weighing = NO_WEIGHING) -> "_Norm":
        shape = len(parts[0]), sum(part.shape[1] for part in parts)
        mean, inverse_std = (parts[0].new_empty(shape, dtype=exact_dtype(parts[0])) for _ in range(2))
        return cls(parts, weighing, slopes, mean, inverse_std)

    def activate(self, outs: Sequence[Tensor], again: bool = False) -> None:
        torch.ops.h2aseg.norm_prelu(self.parts, *self.weighing, self.slopes, outs, self.mean, self.inverse_std, again)

    def backward(self, gradients: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Gradients of the parts, of the slopes (k,), and of what weighs."""
        statistics = (self.mean, self.inverse_std)
        found = torch.ops.h2aseg.norm_prelu_backward(gradients, self.parts, *self.weighing, self.slopes, *statistics)
        n = len(self.parts)
        return found[:n], found[n], found[n + 1 :]


class NormPReLUs(torch.autograd.Function):
    """n maps and n slopes -> n maps."""

    @staticmethod
    def forward(ctx: Any, n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        norm, outs = _Norm.of(tensors[:n], tensors[n:]), [_dense_like(x) for x in tensors[:n]]
        norm.activate(outs)
        ctx.save_for_backward(*tensors, norm.mean, norm.inverse_std)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, mean, inverse_std = ctx.saved_tensors
        n = len(gradients)
        of_parts, of_slopes, _ = _Norm(tensors[:n], NO_WEIGHING, tensors[n:], mean, inverse_std).backward(gradients)
        return None, *of_parts, *of_slopes.split(1)


class NormPReLUConv(torch.autograd.Function):
    """x, geometry, slope, weight, bias -> conv(PReLU(norm(x)))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: Geometry, slope: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        norm, activated = _Norm.of([x], [slope]), _dense_like(x)
        norm.activate([activated])
        ctx.geometry, ctx.dtype = geometry, weight.dtype
        weight, bias = cast([weight, bias], x.dtype)
        ctx.save_for_backward(x, slope, norm.mean, norm.inverse_std, weight, bias)
        return _convolve(activated, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, slope, mean, inverse_std, weight, bias = ctx.saved_tensors
        norm, activated = _Norm([x], NO_WEIGHING, [slope], mean, inverse_std), _dense_like(x)
        norm.activate([activated], again=True)
        gradient, of_weight, of_bias = _convolve_backward(gradient, activated, weight, bias, ctx.geometry)
        (of_x,), of_slope, _ = norm.backward([gradient])
        return of_x, None, of_slope, *cast([of_weight, of_bias], ctx.dtype)


class Stems(torch.autograd.Function):
    """For each of n streams conv2(PReLU(norm(conv1(x)))) + conv_skip(x), as one convolution of the joined maps.

    Args:
        n: Streams.
        masks: What channel dropout multiplies the activated maps with, or None.
        tensors: x of every stream, slope of every stream, then for each of them weights and biases of conv1, conv_skip
            and conv2.
    """

    @staticmethod
    def forward(ctx: Any, n: int, masks: Sequence[Tensor | None], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        maps, slopes, parameters = tensors[:n], tensors[n : 2 * n], tensors[2 * n :]
        ctx.dtype = parameters[0].dtype
        parameters = [_join(six) for six in _sixes(cast(parameters, maps[0].dtype))]
        mains = [_convolve(x, six[0], six[3], _same(six[0])) for x, six in zip(maps, parameters, strict=True)]
        norm = _Norm.of(mains, slopes)
        joined = Stems.fill(norm, maps, masks, again=False)
        ctx.n, ctx.masks = n, masks
        flat = [each for six in parameters for each in six]
        ctx.save_for_backward(*maps, *slopes, *mains, norm.mean, norm.inverse_std, *flat)
        return tuple(_convolve(x, six[2], six[5], _same(six[2])) for x, six in zip(joined, parameters, strict=True))

    @staticmethod
    def fill(norm: _Norm, maps: Sequence[Tensor], masks: Sequence[Tensor | None], again: bool) -> list[Tensor]:
        """What the joined convolutions read: the activated maps, then the images."""
        joined = [
            x.new_empty(len(x), main.shape[1] + x.shape[1], *x.shape[2:])
            for x, main in zip(maps, norm.parts, strict=True)
        ]
        activated = [each[:, : main.shape[1]] for each, main in zip(joined, norm.parts, strict=True)]
        norm.activate(activated, again)
        for each, x, out, mask in zip(joined, maps, activated, masks, strict=True):
            each[:, out.shape[1] :].copy_(x)
            if mask is not None:
                out.mul_(mask)
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        n, saved = ctx.n, ctx.saved_tensors
        maps, slopes, mains, statistics = saved[:n], saved[n : 2 * n], saved[2 * n : 3 * n], saved[3 * n : 3 * n + 2]
        parameters = _sixes(saved[3 * n + 2 :])
        norm = _Norm(mains, NO_WEIGHING, slopes, *statistics)
        joined = Stems.fill(norm, maps, ctx.masks, again=True)
        of_joined, of_activated, of_parameters, of_maps = [], [], [], []
        for gradient, each, six, main, mask in zip(gradients, joined, parameters, mains, ctx.masks, strict=True):
            geometry = _same(six[2])
            of_each, of_weights, of_bias = _convolve_backward(gradient, each, six[2], six[5], geometry)
            of_joined.append(of_each)
            activated = of_each[:, : main.shape[1]]
            of_activated.append(activated if mask is None else activated * mask)
            of_weight2, of_weight_skip = _unjoin(of_weights, main.shape[1])
            of_parameters.append([None, of_weight_skip, of_weight2, None, of_bias, of_bias])
        del joined
        of_mains, of_slopes, _ = norm.backward(of_activated)
        for i, (of_main, x, six) in enumerate(zip(of_mains, maps, parameters, strict=True)):
            needs_input = ctx.needs_input_grad[2 + i]
            of_x, of_parameters[i][0], of_parameters[i][3] = _convolve_backward(
                of_main, x, six[0], six[3], _same(six[0]), needs_input
            )
            of_maps.append(of_x + of_joined[i][:, of_main.shape[1] :] if needs_input else None)
        flat = [each for six in of_parameters for each in six]
        return None, None, *of_maps, *of_slopes.split(1), *cast(flat, ctx.dtype)


class Blocks(torch.autograd.Function):
    """n residual blocks conv2(PReLU(norm(conv1(PReLU(x))))) + conv_skip(PReLU(x)) of normalized x.

    Several blocks read a map each. A single one reads all parts side by side, perhaps weighed by TAMW. Where no stride
    separates them, a block's last two convolutions are one of the joined maps.

    Args:
        n: Blocks.
        num_parts: Maps, as many as blocks, or any number for a single block.
        geometry: Strides, padding and kernels of conv1, conv_skip and conv2.
        masks: What channel dropout multiplies the outputs of conv1 with, or None, for each block.
        tensors: Parts; tumor, w1 and w0, or None three times; the first activations' slopes of all blocks, those of the
            skip paths, those of the second activations; for each block weights and biases of conv1, conv_skip, conv2.
    """

    @staticmethod
    def forward(
        ctx: Any,
        n: int,
        num_parts: int,
        geometry: tuple[Geometry, ...],
        masks: Sequence[Tensor | None],
        *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:
        parts, weighing, slopes, parameters = _sort(n, num_parts, tensors)
        ctx.n, ctx.num_parts, ctx.geometry, ctx.masks = n, num_parts, geometry, masks
        ctx.dtype = parameters[0].dtype
        ctx.joins = geometry[1] == geometry[2]
        sixes = _sixes(cast(parameters, parts[0].dtype))
        if ctx.joins:
            sixes = [_join(six) for six in sixes]
        norm = _Norm.of(parts, _per_part(slopes[: 2 * n], n, num_parts), weighing)
        room = _Room(norm, sixes, ctx.joins)
        room.activate(norm)
        mains = [_convolve(x, six[0], six[3], geometry[0]) for x, six in zip(room.activated, sixes, strict=True)]
        room.activated.clear()
        for main, mask in zip(mains, masks, strict=True):
            if mask is not None:
                main.mul_(mask)
        norm2 = _Norm.of(mains, slopes[2 * n :])
        activated2 = room.ahead(mains)
        norm2.activate(activated2)
        outputs = []
        for joined, x2, six in zip(room.joined, activated2, sixes, strict=True):
            output = _convolve(joined if ctx.joins else x2, six[2], six[5], geometry[2])
            outputs.append(output if ctx.joins else output.add_(_convolve(joined, six[1], six[4], geometry[1])))
        flat = [each for six in sixes for each in six]
        statistics = (norm.mean, norm.inverse_std, norm2.mean, norm2.inverse_std)
        ctx.save_for_backward(*parts, *weighing, *slopes, *flat, *mains, *statistics)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        n, geometry, saved = ctx.n, ctx.geometry, ctx.saved_tensors
        parts, weighing, slopes, others = _sort(n, ctx.num_parts, saved)
        sixes, mains, statistics = _sixes(others[: 6 * n]), others[6 * n : 7 * n], others[7 * n :]
        norm = _Norm(parts, weighing, _per_part(slopes[: 2 * n], n, ctx.num_parts), *statistics[:2])
        norm2 = _Norm(mains, NO_WEIGHING, slopes[2 * n :], *statistics[2:])
        room = _Room(norm, sixes, ctx.joins)
        room.activate(norm, again=True)
        activated2 = room.ahead(mains)
        norm2.activate(activated2, again=True)
        of_sixes: list[list[Tensor | None]] = []
        of_activated2, of_skips = [], []
        for gradient, joined, x2, six, main in zip(gradients, room.joined, activated2, sixes, mains, strict=True):
            if ctx.joins:
                of_joined, of_weights, of_bias2 = _convolve_backward(gradient, joined, six[2], six[5], geometry[2])
                of_x2, of_skip = of_joined[:, : main.shape[1]], of_joined[:, main.shape[1] :]
                (of_weight2, of_weight_skip), of_bias_skip = _unjoin(of_weights, main.shape[1]), of_bias2
            else:
                of_x2, of_weight2, of_bias2 = _convolve_backward(gradient, x2, six[2], six[5], geometry[2])
                of_skip, of_weight_skip, of_bias_skip = _convolve_backward(
                    gradient, joined, six[1], six[4], geometry[1]
                )
            of_activated2.append(of_x2)
            of_skips.append(of_skip)
            of_sixes.append([None, of_weight_skip, of_weight2, None, of_bias_skip, of_bias2])
        room.joined.clear()
        del joined, activated2, x2, gradient
        of_mains, of_slopes2, _ = norm2.backward(of_activated2)
        del of_activated2, of_x2
        of_activated = []
        for i, (of_main, mask, six) in enumerate(zip(of_mains, ctx.masks, sixes, strict=True)):
            of_main = of_main if mask is None else of_main * mask
            of_x, of_sixes[i][0], of_sixes[i][3] = _convolve_backward(
                of_main, room.activated[i], six[0], six[3], geometry[0]
            )
            of_activated.append(of_x)
        room.activated.clear()
        of_parts, of_slopes, of_weighing = norm.backward([*_slices(norm, of_activated), *_slices(norm, of_skips)])
        del of_activated, of_skips, of_skip, of_x, of_main, of_mains
        if n == 1 and ctx.num_parts > 1:
            of_slopes = of_slopes.view(2, -1).sum(1)
        flat = [each for six in of_sixes for each in six]
        return (
            *(None, None, None, None),
            *of_parts,
            *(of_weighing or NO_WEIGHING),
            *of_slopes.split(1),
            *of_slopes2.split(1),
            *cast(flat, ctx.dtype),
        )


class MeansByShare(torch.autograd.Function):
    """Maps as they are, and their means over positions in what a share counts and in the rest, (b, 2, c); see ops.py.

    Args:
        masked: Whether sums are divided by the share and by the rest, or by all voxels.
        spans: Number of maps of each share.
        tensors: Shares, then maps.
    """

    @staticmethod
    def forward(ctx: Any, masked: bool, spans: tuple[int, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        shares, maps = tensors[: len(spans)], tensors[len(spans) :]
        means, counts = torch.ops.h2aseg.means_by_share(maps, shares, spans, masked)
        ctx.masked, ctx.spans = masked, spans
        ctx.save_for_backward(means, counts, *tensors)
        return *maps, means

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        means, counts, *tensors = ctx.saved_tensors
        *gradients, of_means = gradients
        n = len(ctx.spans)
        of_shares = any(ctx.needs_input_grad[2 : 2 + n])
        found = torch.ops.h2aseg.means_by_share_backward(
            gradients, of_means, tensors[n:], tensors[:n], ctx.spans, means if ctx.masked else None, counts, of_shares
        )
        of_maps, of_each = found[: len(gradients)], found[len(gradients) :]
        return None, None, *(of_each if of_shares else [None] * n), *of_maps


class WeighDecoder(torch.autograd.Function):
    """GatedTAMW.weigh_decoder, whose gradients take fewer passes than PyTorch's."""

    @staticmethod
    def forward(ctx: Any, decoder: Tensor, tumor: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(decoder, tumor, gain, shift)
        return GatedTAMW.weigh_decoder(decoder, tumor, gain, shift)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        decoder, tumor, gain, shift = ctx.saved_tensors
        in_tumor = gradient * tumor
        positions = list(range(2, decoder.ndim))
        of_shift = in_tumor.sum(positions, keepdim=True)
        of_gain = (in_tumor * decoder).sum(positions, keepdim=True)
        of_tumor = None
        if ctx.needs_input_grad[1]:
            of_tumor = (gradient * torch.addcmul(shift, decoder, gain)).sum(1, keepdim=True)
        return torch.addcmul(gradient, in_tumor, gain), of_tumor, of_gain, of_shift


class _Room:
    """Memory for what a block's convolutions read.

    Attributes:
        activated: What conv1 reads, for each block.
        joined: What conv_skip reads, for each block; with room for what conv2 reads ahead of it where they are one.
    """

    def __init__(self, norm: _Norm, sixes: Sequence[Sequence[Tensor | None]], joins: bool):
        x, self.joins = norm.parts[0], joins
        channels = [six[0].shape[1] for six in sixes]
        ahead = self._ahead = [len(six[0]) if joins else 0 for six in sixes]
        self.activated = [x.new_empty(len(x), c, *x.shape[2:]) for c in channels]
        self.joined = [x.new_empty(len(x), a + c, *x.shape[2:]) for a, c in zip(ahead, channels, strict=True)]

    def activate(self, norm: _Norm, again: bool = False) -> None:
        """Write what conv1 and conv_skip read."""
        skips = [joined[:, a:] for joined, a in zip(self.joined, self._ahead, strict=True)]
        norm.activate([*_slices(norm, self.activated), *_slices(norm, skips)], again)

    def ahead(self, mains: Sequence[Tensor]) -> list[Tensor]:
        """Memory for what conv2 reads."""
        if not self.joins:
            return [_dense_like(main) for main in mains]
        return [joined[:, : main.shape[1]] for joined, main in zip(self.joined, mains, strict=True)]


def _slices(norm: _Norm, maps: Sequence[Tensor]) -> list[Tensor]:
    """Every part's channels: a map for each part, or one map that holds all parts."""
    if len(maps) == len(norm.parts):
        return list(maps)
    return list(maps[0].split([part.shape[1] for part in norm.parts], 1))


def _per_part(slopes: Sequence[Tensor], n: int, num_parts: int) -> list[Tensor]:
    """Slopes of n blocks, twice, for each of their parts: a single block has the same for all parts."""
    return list(slopes) if n == num_parts else [slope for slope in slopes for _ in range(num_parts)]


def _sort(n: int, num_parts: int, tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    parts, others = tensors[:num_parts], tensors[num_parts:]
    return list(parts), tuple(others[:3]), list(others[3 : 3 + 3 * n]), others[3 + 3 * n :]


def _sixes(tensors: Sequence[Tensor | None]) -> list[list[Tensor | None]]:
    """Weights and biases of conv1, conv_skip and conv2, block by block."""
    return [list(tensors[i : i + 6]) for i in range(0, len(tensors), 6)]


def _join(six: Sequence[Tensor | None]) -> list[Tensor | None]:
    """conv2 and conv_skip as one convolution in conv2's place, of conv2's input and conv_skip's behind it."""
    weight1, weight_skip, weight2, bias1, bias_skip, bias2 = six
    joined_bias = None if bias2 is None else bias2 + bias_skip
    return [weight1, weight_skip, torch.cat([weight2, weight_skip], 1), bias1, bias_skip, joined_bias]


def _unjoin(of_weights: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Gradients of conv2's and conv_skip's weights."""
    return of_weights[:, :channels].contiguous(), of_weights[:, channels:].contiguous()


def _same(weight: Tensor) -> Geometry:
    """Stride 1, and padding that keeps the size."""
    kernel = tuple(weight.shape[2:])
    return Geometry((1,) * len(kernel), tuple((k - 1) // 2 for k in kernel), kernel)


def _dense_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    dimension = len(geometry.kernel)
    ones, zeros = [1] * dimension, [0] * dimension
    return torch.convolution(x, weight, bias, geometry.stride, geometry.padding, ones, False, zeros, 1)


def _convolve_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, needs_input: bool = True
) -> tuple[Tensor | None, ...]:
    dimension = len(geometry.kernel)
    ones, zeros = [1] * dimension, [0] * dimension
    sizes, mask = None if bias is None else list(bias.shape), [needs_input, True, bias is not None]
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, sizes, geometry.stride, geometry.padding, ones, False, zeros, 1, mask
    )
