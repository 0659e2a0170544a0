"""Exercises: the whole network."""

import torch
import torch.nn.functional as F

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.probes import no_gradient, with_gradients

__all__ = ["EXERCISES"]


# Adding in logit space


def _add_in_logit_space(bicubic, residual, eps):
    return torch.sigmoid(torch.logit(bicubic.clamp(eps, 1 - eps)) + residual)


def _logit_cases():
    random = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 4, 5, generator=random) * 0.8 + 0.1
    residual = torch.randn(2, 3, 4, 5, generator=random)
    ends = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 2, 3)
    push = torch.tensor([0.0, 0.0, 3.0, -3.0, -3.0, 3.0]).reshape(1, 1, 2, 3)
    beyond = torch.tensor([-0.1, 1.1, -0.02, 1.02, -0.1, 1.1]).reshape(1, 1, 2, 3)
    return (
        Case("greys with a residual", (image, residual, 1e-3)),
        Case("greys, no residual", (image, torch.zeros_like(image), 1e-3)),
        Case("black and white", (ends, push, 1.5e-3)),
        Case("bicubic overshoots 0..1", (beyond, push, 1e-2)),
    )


_ADD_IN_LOGIT_SPACE = Exercise(
    title="add in logit space",
    reference=_add_in_logit_space,
    probe=with_gradients,
    cases=_logit_cases,
    mistakes=(
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic.clamp(eps, 1 - eps))),
            "The residual is not added.",
        ),
        Mistake(
            lambda bicubic, residual, eps: _add_in_logit_space(bicubic, -residual, eps),
            "The residual is subtracted. Add it.",
        ),
        Mistake(
            lambda bicubic, residual, eps: (
                torch.sigmoid(torch.logit(bicubic.clamp(eps, 1 - eps))) + residual
            ),
            "The residual is added after the sigmoid, so the sum can leave 0..1. "
            "The sigmoid comes last.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic) + residual),
            "The logit of 0 and 1 is infinite, and beyond them it is not a number. "
            "Clamp the image first.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(
                torch.logit(bicubic.clamp(0, 1)) + residual
            ),
            "Clamped to 0..1 the image still holds 0 and 1, whose logit is infinite: no residual "
            "can move them. Keep away from both ends by eps.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(
                torch.logit(bicubic.clamp(min=eps)) + residual
            ),
            "Black is clamped, white is not. Clamp on both sides.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(
                torch.logit(bicubic.clamp(max=1 - eps)) + residual
            ),
            "White is clamped, black is not. Clamp on both sides.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(bicubic + residual),
            "This is the sigmoid of the image itself: black becomes a middle grey. "
            "Take the image to logit space first.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.sigmoid(bicubic.clamp(eps, 1 - eps) + residual),
            "The image was clamped but not taken to logit space. With a residual of 0 the result "
            "should be the image.",
        ),
        Mistake(
            lambda bicubic, residual, eps: torch.tanh(
                torch.logit(bicubic.clamp(eps, 1 - eps)) + residual
            ),
            "tanh does not undo the logit: it goes from -1 to 1. The sigmoid does.",
        ),
        Mistake(
            lambda bicubic, residual, eps: (bicubic + residual).clamp(0, 1),
            "This adds in the image and cuts off at 0 and 1. Add the residual to the logit.",
        ),
        Mistake(
            lambda bicubic, residual, eps: _add_in_logit_space(bicubic, residual, 1e-3),
            "eps is not always 1e-3: use the argument.",
        ),
        Mistake(
            lambda bicubic, residual, eps: _add_in_logit_space(bicubic, residual, 1.5e-3),
            "eps is not always 1.5e-3: use the argument.",
        ),
        Mistake(
            lambda bicubic, residual, eps: _add_in_logit_space(bicubic, residual, eps).clamp(
                eps, 1 - eps
            ),
            "The output is clamped too. Only the image that goes in is: a residual may make it "
            "blacker than eps.",
        ),
        no_gradient(_add_in_logit_space),
        Mistake(
            lambda bicubic, residual, eps: _add_in_logit_space(bicubic, residual.detach(), eps),
            "The residual is detached, so the network that made it would never learn.",
        ),
    ),
    hints=(
        "With a residual of 0 the result is the image, up to eps. Which function undoes a sigmoid?",
        "Three steps: clamp the image to eps..1 - eps, add the residual to its torch.logit, "
        "take the sigmoid.",
    ),
)


# The residual blocks with the skip around them


def _conv(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _block(x, first, first_bias, second, second_bias, scaling=0.3):
    return x + scaling * _conv(F.relu(_conv(x, first, first_bias)), second, second_bias)


def _after_blocks(features, blocks, scaling=0.3):
    for block in blocks:
        features = _block(features, *block, scaling=scaling)
    return features


def _refine(features, blocks, body):
    return features + _conv(_after_blocks(features, blocks), *body)


def _refine_activated(features, blocks, body):
    deep = features
    for block in blocks:
        deep = F.relu(_block(deep, *block))
    return features + _conv(deep, *body)


def _refine_parallel(features, blocks, body):
    deep = features
    for block in blocks:
        deep = _block(features, *block)
    return features + _conv(deep, *body)


def _refine_late_skip(features, blocks, body):
    deep = _after_blocks(features, blocks)
    return deep + _conv(deep, *body)


def _refine_plain(features, blocks, body):
    deep = features
    for first, first_bias, second, second_bias in blocks:
        deep = _conv(F.relu(_conv(deep, first, first_bias)), second, second_bias)
    return features + _conv(deep, *body)


def _refine_cases():
    random = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=random) * 0.3

    blocks = [(draw(4, 4, 3, 3), draw(4), draw(4, 4, 3, 3), draw(4)) for _ in range(3)]
    body = (draw(4, 4, 3, 3), draw(4))
    return (
        Case("one block", (draw(1, 4, 5, 6), blocks[:1], body)),
        Case("three blocks", (draw(2, 4, 6, 5), blocks, body)),
    )


_REFINE = Exercise(
    title="residual blocks and the feature skip",
    reference=_refine,
    probe=with_gradients,
    tolerance=1e-5,
    cases=_refine_cases,
    mistakes=(
        Mistake(
            lambda features, blocks, body: _conv(_after_blocks(features, blocks), *body),
            "The skip around all blocks is missing: the features that came in are added at "
            "the end.",
        ),
        Mistake(
            lambda features, blocks, body: _conv(features + _after_blocks(features, blocks), *body),
            "The features are added before the last convolution. The skip ends behind it.",
        ),
        Mistake(
            lambda features, blocks, body: _conv(_after_blocks(features + features, blocks), *body),
            "The skip comes before the blocks. It goes around them: add at the end.",
        ),
        Mistake(
            _refine_late_skip,
            "The features that are added at the end have been through the blocks already. Keep "
            "those that came in under a name of their own.",
        ),
        Mistake(
            _refine_activated,
            "There is a ReLU after the addition of a block. After it no block can lower "
            "a feature below zero.",
        ),
        Mistake(
            _refine_parallel,
            "Each block gets the features that came in, so only the last one counts. "
            "It should get what the block before it returned.",
        ),
        Mistake(
            lambda features, blocks, body: (
                features + _conv(_after_blocks(features, blocks, scaling=1.0), *body)
            ),
            "The blocks' branches are added in full. In this network each is multiplied by 0.3.",
        ),
        Mistake(
            _refine_plain,
            "The blocks have no skip of their own: each adds its branch to its input.",
        ),
        Mistake(
            lambda features, blocks, body: features + _after_blocks(features, blocks),
            "The convolution after the blocks, body, is missing.",
        ),
        no_gradient(_refine),
        Mistake(
            lambda features, blocks, body: (
                features + _conv(_after_blocks(features, blocks).detach(), *body)
            ),
            "The features are detached before the body, so no block would learn.",
        ),
    ),
    hints=(
        "Two kinds of skip: one inside each block, one around all of them and the last "
        "convolution.",
        "Let deep = features, and replace deep by residual_block(deep, *block) for each block.",
        "The last line is: return features + conv(deep, *body).",
    ),
)


# The cost


def _count_macs(
    channels,
    num_blocks,
    scale,
    upsampler,
    *,
    colours=3,
    convs_per_block=2,
    body=1,
    grows=True,
    shuffle_factor=None,
    deconv_at_output=False,
    tail_at_output=True,
    bias=0,
):
    """Count multiply-adds, with or without something done wrong."""
    macs = 9 * colours * channels + bias * channels
    macs += (num_blocks * convs_per_block + body) * (9 * channels**2 + bias * channels)
    area = 1  # pixels for each LR pixel
    for step in (2, 2) if scale == 4 else (scale,):
        if upsampler == "deconv":
            kernel_size = 2 * step if step % 2 == 0 else 3 * step
            places = area * step**2 if deconv_at_output else area
            macs += places * kernel_size**2 * channels**2 + bias * area * step**2 * channels
        else:
            out_channels = channels * (step**2 if shuffle_factor is None else shuffle_factor)
            macs += area * (9 * channels * out_channels + bias * out_channels)
        if grows:
            area *= step**2
    macs += (area if tail_at_output else 1) * (9 * channels * colours + bias * 3)
    return macs


def _count_mistake(**wrong):
    return lambda channels, num_blocks, scale, upsampler: _count_macs(
        channels, num_blocks, scale, upsampler, **wrong
    )


def _count_macs_per_lr_pixel(channels, num_blocks, scale, upsampler):
    return _count_macs(channels, num_blocks, scale, upsampler)


_COUNT_MACS = Exercise(
    title="multiply-adds for each LR pixel",
    reference=_count_macs_per_lr_pixel,
    cases=lambda: (
        Case("x2, deconvolution", (8, 2, 2, "deconv")),
        Case("x2, sub-pixel", (8, 2, 2, "pixel_shuffle")),
        Case("x3, deconvolution", (16, 3, 3, "deconv")),
        Case("x4, deconvolution", (64, 16, 4, "deconv")),
        Case("x4, sub-pixel", (64, 16, 4, "pixel_shuffle")),
        Case("x3, sub-pixel", (16, 3, 3, "pixel_shuffle")),
    ),
    redraw=lambda random: tuple(
        (int(random.integers(20, 60)), int(random.integers(4, 16)), scale, kind)
        for scale, kind in (
            *((2, "deconv"), (2, "pixel_shuffle"), (3, "deconv")),
            *((4, "deconv"), (4, "pixel_shuffle"), (3, "pixel_shuffle")),
        )
    ),
    mistakes=(
        Mistake(
            _count_mistake(grows=False),
            "After an enlargement there are more pixels to compute for each LR pixel: every later "
            "layer costs step squared times as much.",
        ),
        Mistake(
            _count_mistake(tail_at_output=False),
            "The last convolution runs on the large image: scale squared pixels for each LR pixel.",
        ),
        Mistake(
            _count_mistake(colours=1),
            "The image has three colours: the first layer has 3 input channels, the last has "
            "3 output channels.",
        ),
        Mistake(
            _count_mistake(bias=1),
            "Biases are added, nothing is multiplied by them. They do not count.",
        ),
        Mistake(
            _count_mistake(convs_per_block=1),
            "A residual block has two convolutions.",
        ),
        Mistake(
            _count_mistake(body=0),
            "The convolution after the blocks, before the feature skip, is missing.",
        ),
        Mistake(
            _count_mistake(shuffle_factor=4),
            "The sub-pixel convolution has step squared times the channels: 4 times at a step of "
            "2, but 9 times at 3.",
        ),
        Mistake(
            _count_mistake(shuffle_factor=1),
            "The sub-pixel convolution makes step squared times the channels, which then become "
            "pixels. out_channels has to be multiplied by step squared.",
        ),
        Mistake(
            _count_mistake(deconv_at_output=True),
            "A deconvolution spreads each of its input pixels over kernel x kernel outputs. "
            "Count its input pixels, not its output pixels.",
        ),
    ),
    hints=(
        "A convolution costs kernel * kernel * in_channels * out_channels for each pixel it makes.",
        "Carry a variable: how many pixels there are for each LR pixel. It starts at 1 and is "
        "multiplied by step**2 after each enlargement.",
        "The steps are (2, 2) at x4, else (scale,). A deconvolution of step 2 has kernel 4, of "
        "step 3 kernel 9; the sub-pixel convolution has kernel 3 and channels * step**2 outputs.",
    ),
)

# An enlargement that shifts


def _enlarge(x, weight, scale):
    padding = (weight.shape[-1] - scale) // 2
    return F.conv_transpose2d(x, weight, stride=scale, padding=padding)


def _cropped(first):
    """Make the whole result and cut it to size, with `first(extra)` pixels cut off before it."""

    def mistake(x, weight, scale):
        full = F.conv_transpose2d(x, weight, stride=scale)
        height, width = (scale * side for side in x.shape[-2:])
        start = first(weight.shape[-1] - scale)
        return full[..., start : start + height, start : start + width]

    return mistake


def _sliced(x, weight, scale):
    extra = (weight.shape[-1] - scale) // 2
    return F.conv_transpose2d(x, weight, stride=scale)[..., extra:-extra, extra:-extra]


def _enlarge_cases():
    def draw(*shape, seed):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

    return (
        Case("by 4, kernel 8", (draw(1, 3, 4, 5, seed=0), draw(3, 2, 8, 8, seed=1), 4)),
        Case("by 2, kernel 4", (draw(2, 2, 3, 3, seed=2), draw(2, 4, 4, 4, seed=3), 2)),
        Case("by 3, kernel 9", (draw(1, 2, 1, 4, seed=4), draw(2, 2, 9, 9, seed=5), 3)),
        Case("no surplus", (draw(1, 2, 3, 4, seed=6), draw(2, 3, 2, 2, seed=7), 2)),
    )


_ENLARGE = Exercise(
    title="find the bug: a picture that moves",
    reference=_enlarge,
    tolerance=1e-4,
    probe=with_gradients,
    cases=_enlarge_cases,
    mistakes=(
        Mistake(
            _cropped(lambda extra: 0),
            "All the surplus is cut off at the bottom and on the right, so the picture has moved "
            "down and to the right. That was the bug.",
        ),
        Mistake(
            _cropped(lambda extra: extra),
            "All the surplus is cut off at the top and on the left, so the picture has moved up "
            "and to the left. Cut off as much at both ends.",
        ),
        Mistake(
            lambda x, weight, scale: F.conv_transpose2d(x, weight, stride=scale),
            "Nothing is cut off: the result has more than scale times the pixels.",
        ),
        Mistake(
            lambda x, weight, scale: F.conv_transpose2d(x, weight, stride=scale, padding=2),
            "The padding is not always 2. It depends on the kernel and on the scale.",
        ),
        Mistake(
            _sliced,
            "Where nothing is too much, the slice [0:-0] is empty. Count the end from the front.",
        ),
        no_gradient(_enlarge),
    ),
    hints=(
        "Enlarge one bright pixel with a kernel of ones. Where is the middle of what comes out?",
        "From n pixels a kernel of k makes (n - 1) * scale + k. How many are too many, and where "
        "do they lie?",
        "padding=(kernel size - scale) // 2 takes as much away at each end.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_ADD_IN_LOGIT_SPACE, _REFINE, _COUNT_MACS, _ENLARGE)
