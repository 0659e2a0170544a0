"""Exercises: deconvolution."""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from srlib.exercises.grading import Case, Exercise, Mistake

__all__ = ["EXERCISES"]


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Transposed convolution of a row


def _transposed_conv_1d(x, kernel, stride, padding):
    full = _overlap_add(x, kernel, stride)
    return full[padding : len(full) - padding]


def _overlap_add(x, kernel, stride, *, overwrite=False):
    full = x.new_zeros((len(x) - 1) * stride + len(kernel))
    for index, value in enumerate(x):
        place = slice(index * stride, index * stride + len(kernel))
        full[place] = value * kernel + (0 if overwrite else full[place])
    return full


def _overwriting(x, kernel, stride, padding):
    full = _overlap_add(x, kernel, stride, overwrite=True)
    return full[padding : len(full) - padding]


def _zeros_behind_the_last(x, kernel, stride, padding):
    full = F.pad(_overlap_add(x, kernel, stride), (0, stride - 1))
    return full[padding : len(full) - padding]


def _forward_convolution(x, kernel, stride, padding):
    return F.conv1d(x[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]


class _ByHand(TorchFunctionMode):
    """Refuse the function that is to be written, by whichever of its names."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if "conv_transpose" in name or name == "convolution":
            raise RuntimeError(f"write the transposed convolution without {name}")
        return function(*args, **(kwargs or {}))


def _by_hand(answer, *arguments):
    with _ByHand():
        return answer(*arguments)


_TRANSPOSED_CONV_1D = Exercise(
    title="transposed convolution of a row",
    reference=_transposed_conv_1d,
    probe=_by_hand,
    tolerance=1e-9,
    cases=lambda: (
        Case("stride 2, no padding", (_noise(4), _noise(3, seed=1), 2, 0)),
        Case("stride 2, padding 1", (_noise(5), _noise(4, seed=1), 2, 1)),
        Case("stride 3, padding 2", (_noise(4, seed=2), _noise(5, seed=3), 3, 2)),
        Case("stride 1", (_noise(6, seed=2), _noise(3, seed=3), 1, 1)),
        Case("kernel smaller than the stride", (_noise(3, seed=4), _noise(2, seed=5), 3, 0)),
        Case("one pixel", (_noise(1, seed=6), _noise(4, seed=7), 2, 1)),
    ),
    mistakes=(
        Mistake(
            lambda x, kernel, stride, padding: _transposed_conv_1d(
                x, kernel.flip(0), stride, padding
            ),
            "The kernel is flipped. An input pixel lays the kernel down as it is, "
            "from left to right.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _transposed_conv_1d(x, kernel, 1, padding),
            "The stride is ignored. The kernel of the next input pixel lies stride places on: "
            "as if stride - 1 zeros stood between the input pixels.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _transposed_conv_1d(x, kernel, stride + 1, padding),
            "The kernels lie one place too far apart. Between two input pixels there are "
            "stride - 1 zeros, not stride.",
        ),
        Mistake(
            _overwriting,
            "Where two kernels overlap, the second overwrites the first. Add them.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _overlap_add(x, kernel, stride),
            "The padding is ignored. Here it takes pixels away: padding at each end.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: F.pad(
                _overlap_add(x, kernel, stride), (padding, padding)
            ),
            "The padding is added. It turns round what padding does in a convolution, "
            "so here it takes pixels away.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _overlap_add(x, kernel, stride)[padding:],
            "Only the left end is cropped. Crop padding pixels at both ends.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _overlap_add(x, kernel, stride)[2 * padding :],
            "Both crops are taken from the left end. Each end gives up padding pixels.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _overlap_add(x, kernel, stride)[
                : (len(x) - 1) * stride + len(kernel) - 2 * padding
            ],
            "The length is right, but both crops are taken from the right end.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _overlap_add(x, kernel, stride)[padding:-padding],
            "With padding 0 the slice [0:-0] is empty. Count the end from the left.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: _transposed_conv_1d(x, kernel, stride, padding)[:-1],
            "The result is one pixel too short: (n - 1) * stride + k - 2 * padding are wanted.",
        ),
        Mistake(
            lambda x, kernel, stride, padding: F.pad(
                _transposed_conv_1d(x, kernel, stride, padding), (0, 1)
            ),
            "The result is one pixel too long: (n - 1) * stride + k - 2 * padding are wanted.",
        ),
        Mistake(
            _zeros_behind_the_last,
            "There are zeros behind the last kernel. n pixels have n - 1 gaps, so the length is "
            "(n - 1) * stride + k before the crop.",
        ),
        Mistake(
            _forward_convolution,
            "This is the convolution itself, which shrinks. Its transpose goes the other way.",
        ),
    ),
    hints=(
        "Start with zeros, of the length (len(x) - 1) * stride + len(kernel).",
        "Input pixel i adds x[i] * kernel from the place i * stride on.",
        "for i, value in enumerate(x): full[i * stride : i * stride + k] += value * kernel. "
        "Then return full[padding : len(full) - padding].",
    ),
)


# The shuffle of sub-pixel convolution


def _pixel_shuffle(features, scale):
    if features.shape[1] % scale**2:
        raise ValueError(
            f"channels must be a multiple of {scale**2} for scale {scale}, "
            f"got {features.shape[1]!r}"
        )
    return _shuffle(features, scale)


def _shuffle(features, scale, *, split="C i j", order=(0, 1, 4, 2, 5, 3)):
    count, channels, height, width = features.shape
    sizes = {"C": channels // scale**2, "i": scale, "j": scale}
    parts = features.reshape(count, *(sizes[name] for name in split.split()), height, width)
    shape = (count, sizes["C"], height * scale, width * scale)
    return parts.permute(order).reshape(shape)


def _variant(change):
    """Check the channels as the reference does, so that only one thing is wrong."""

    def wrong(features, scale):
        _pixel_shuffle(features, scale)
        return change(features, scale)

    return wrong


_PIXEL_SHUFFLE = Exercise(
    title="the shuffle of sub-pixel convolution",
    reference=_pixel_shuffle,
    tolerance=0,
    cases=lambda: (
        Case("one channel, scale 2", (_noise(1, 4, 2, 3), 2)),
        Case("three channels, scale 2", (_noise(1, 12, 4, 2, seed=1), 2)),
        Case("two images, scale 3", (_noise(2, 18, 3, 6, seed=2), 3)),
        Case("scale 1", (_noise(1, 2, 3, 2, seed=3), 1)),
        Case("channels that do not fit", (_noise(1, 6, 2, 2, seed=4), 2)),
    ),
    mistakes=(
        Mistake(
            _variant(
                lambda features, scale: _shuffle(
                    features, scale, split="i j C", order=(0, 3, 4, 1, 5, 2)
                )
            ),
            "The channels are split as (scale, scale, C). PyTorch orders them (C, scale, scale): "
            "neighbours in the list of channels become neighbours in the picture. TensorFlow's "
            "depth_to_space has your order.",
        ),
        Mistake(
            _variant(lambda features, scale: _shuffle(features, scale, order=(0, 1, 4, 3, 5, 2))),
            "Rows and columns are swapped within each block. Channel 1 belongs to the right of "
            "channel 0, not below it.",
        ),
        Mistake(
            _variant(
                lambda features, scale: features.reshape(
                    len(features), -1, features.shape[2] * scale, features.shape[3] * scale
                )
            ),
            "A reshape alone keeps the numbers in their order. Rows of several channels must be "
            "interleaved, so a permute has to come between two reshapes.",
        ),
        Mistake(
            _variant(lambda features, scale: _shuffle(features, scale, order=(0, 1, 2, 4, 3, 5))),
            "This puts the channels beside each other like tiles. They must be interleaved: "
            "put each scale axis directly behind the axis that it enlarges.",
        ),
        Mistake(
            _variant(
                lambda features, scale: features.repeat_interleave(scale, 2).repeat_interleave(
                    scale, 3
                )
            ),
            "The pixels are repeated and all channels stay. Here scale**2 channels become one.",
        ),
        Mistake(
            _shuffle,
            "Where the channels are no multiple of scale**2, raise ValueError. This is what "
            "happens when the convolution in front forgets to multiply its out_channels by "
            "scale**2.",
        ),
        Mistake(
            lambda features, scale: _shuffle(
                features[:, : features.shape[1] // scale**2 * scale**2], scale
            ),
            "Channels are dropped silently when they are no multiple of scale**2. "
            "Raise ValueError there.",
        ),
    ),
    hints=(
        "reshape to (N, C, scale, scale, H, W): row within the block, then column.",
        "permute so that each scale axis stands directly behind the axis it enlarges, "
        "then reshape again.",
        "features.reshape(n, c, scale, scale, h, w).permute(0, 1, 4, 2, 5, 3)"
        ".reshape(n, c, h * scale, w * scale)",
    ),
)


# Back to the same size


def _output_padding(size, kernel_size, stride, padding):
    return (size + 2 * padding - kernel_size) % stride


_SAME_SIZE = (  # size, kernel_size, stride, padding
    (7, 3, 2, 1),
    (8, 3, 2, 1),
    (9, 4, 2, 1),
    (12, 5, 3, 1),
    (13, 5, 3, 2),
    (14, 7, 4, 1),
    (10, 3, 1, 1),
)

_OUTPUT_PADDING = Exercise(
    title="back to the same size",
    reference=_output_padding,
    tolerance=0,
    cases=lambda: tuple(
        Case(f"size {size}, kernel {kernel}, stride {stride}", (size, kernel, stride, padding))
        for size, kernel, stride, padding in _SAME_SIZE
    ),
    redraw=lambda random: tuple(  # sizes that leave another rest, where the stride allows it
        (int(size + 1 + stride * random.integers(3, 9)), kernel, stride, padding)
        for size, kernel, stride, padding in _SAME_SIZE
    ),
    mistakes=(
        Mistake(
            lambda size, kernel_size, stride, padding: 0,
            "Nothing is added. A convolution with a stride may leave pixels at the end unread; "
            "these are missing afterwards.",
        ),
        Mistake(
            lambda size, kernel_size, stride, padding: stride - 1,
            "stride - 1 is the largest value it can have. How many are missing depends on the "
            "size.",
        ),
        Mistake(
            lambda size, kernel_size, stride, padding: size % stride,
            "Kernel and padding count too: the last place of the kernel decides what is left.",
        ),
        Mistake(
            lambda size, kernel_size, stride, padding: (size + padding - kernel_size) % stride,
            "The padding is at both ends.",
        ),
        Mistake(
            lambda size, kernel_size, stride, padding: (size - kernel_size) % stride,
            "The padding is missing: the kernel moves over size + 2 * padding pixels.",
        ),
        Mistake(
            lambda size, kernel_size, stride, padding: (
                (size + 2 * padding - kernel_size + 1) % stride
            ),
            "Wrong by one. The first place of the kernel is 0, and the last is "
            "size + 2 * padding - kernel_size at most.",
        ),
        Mistake(
            lambda size, kernel_size, stride, padding: -(size + 2 * padding - kernel_size) % stride,
            "This is what would be needed to reach the next whole step. Asked is what was left "
            "over after the last.",
        ),
    ),
    hints=(
        "The convolution gives n = (size + 2 * padding - kernel_size) // stride + 1 pixels.",
        "The transposed one makes (n - 1) * stride + kernel_size - 2 * padding of them. "
        "Subtract that from size.",
        "What is left over by // is what % gives.",
    ),
)

# Weights that are no ICNR


def _icnr(few, scale):
    return few.repeat_interleave(scale**2, dim=0)


_ICNR = Exercise(
    title="find the bug: a start that is not plain",
    reference=_icnr,
    tolerance=1e-9,
    cases=lambda: (
        Case("two channels by 2", (_noise(2, 3, 3, 3), 2)),
        Case("three channels by 3", (_noise(3, 2, 3, 3, seed=1), 3)),
        Case("one channel by 4", (_noise(1, 4, 1, 1, seed=2), 4)),
    ),
    mistakes=(
        Mistake(
            lambda few, scale: few.repeat(scale**2, 1, 1, 1),
            "The whole set is repeated, channel after channel. PixelShuffle takes scale**2 "
            "neighbouring channels for the pixels of one output channel, so neighbours have to be "
            "alike.",
        ),
        Mistake(
            lambda few, scale: few.repeat_interleave(scale, dim=0),
            "Each channel is repeated scale times. A block has scale * scale pixels.",
        ),
        Mistake(
            lambda few, scale: few.repeat_interleave(scale**2, dim=0) / scale**2,
            "The weights are divided by the number of copies. Each pixel is computed from one copy "
            "alone, so it would come out too dark.",
        ),
        Mistake(
            lambda few, scale: few.repeat_interleave(scale**2, dim=1),
            "This repeats the input channels. Output channels come first in a weight of Conv2d.",
        ),
    ),
    hints=(
        "Which channels does PixelShuffle deal out into one block of pixels? See exercise 06.2.",
        "The copies of a channel have to stand next to each other.",
        "few.repeat_interleave(scale**2, dim=0)",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_TRANSPOSED_CONV_1D, _PIXEL_SHUFFLE, _OUTPUT_PADDING, _ICNR)
