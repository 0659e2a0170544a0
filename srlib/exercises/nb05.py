"""Exercises: residual blocks."""

import torch
import torch.nn.functional as F

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.resample import imresize

__all__ = ["EXERCISES"]


def _tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _make_conv(channels, seed):
    """Make a 3x3 convolution with weights of its own, as a plain function."""
    weight = _tensor(channels, channels, 3, 3, seed=seed) / (3 * channels**0.5)
    bias = _tensor(channels, seed=seed + 1) / 2

    def convolution(x):
        return F.conv2d(x, weight, bias, padding=1)

    return convolution


# The residual block


def _residual_block(x, first, second):
    return x + second(F.relu(first(x)))


def _activated_in_place(x, first, second):
    return x + second(F.relu(first(F.relu_(x))))


def _added_in_place(x, first, second):
    x += second(F.relu(first(x)))
    return x


def _activated_input(x, first, second):
    x = F.relu(x)
    return x + second(F.relu(first(x)))


def _skip_from_inside(x, first, second):
    x = F.relu(first(x))
    return x + second(x)


def _skip_from_first(x, first, second):
    x = first(x)
    return x + second(F.relu(x))


_SKIP_FROM_INSIDE = (
    "What is added is the result of the first convolution. The skip carries x as it came in, "
    "so do not give another value the name x."
)

_RESIDUAL_BLOCK = Exercise(
    title="a residual block",
    reference=_residual_block,
    tolerance=1e-5,
    cases=lambda: (
        Case("two images", (_tensor(2, 4, 5, 7), _make_conv(4, 1), _make_conv(4, 3))),
        Case("one pixel", (_tensor(1, 3, 1, 1, seed=5), _make_conv(3, 6), _make_conv(3, 8))),
        Case(
            "features that are all negative",
            (-_tensor(1, 4, 3, 3, seed=9).abs(), _make_conv(4, 10), _make_conv(4, 12)),
        ),
    ),
    mistakes=(
        Mistake(
            lambda x, first, second: second(F.relu(first(x))),
            "This is the branch alone. The input is not added, so the block is a plain one.",
        ),
        Mistake(
            _activated_in_place,
            "F.relu_ (or inplace=True) writes into x itself. The skip then adds a damaged x: "
            "all its negative values are gone.",
        ),
        Mistake(
            _added_in_place,
            "x += writes the sum into the caller's tensor, which others may still need. "
            "Make a new tensor with x + ....",
        ),
        Mistake(
            lambda x, first, second: F.relu(x + second(F.relu(first(x)))),
            "There is a ReLU after the addition. The sum must leave the block as it is, "
            "or nothing negative can pass along the skip.",
        ),
        Mistake(
            lambda x, first, second: x + F.relu(second(F.relu(first(x)))),
            "There is a ReLU at the end of the branch. So the block can only add, never subtract.",
        ),
        Mistake(
            lambda x, first, second: x + second(first(x)),
            "The ReLU between the two convolutions is missing. Without it, two convolutions "
            "are one linear map.",
        ),
        Mistake(
            _activated_input,
            "x goes through a ReLU before anything else, and the skip carries the result. "
            "It should carry x as it came in.",
        ),
        Mistake(
            lambda x, first, second: x + second(F.relu(first(F.relu(x)))),
            "There is a ReLU before the first convolution. That is the block of He's second "
            "paper; here the convolution sees x itself.",
        ),
        Mistake(_skip_from_inside, _SKIP_FROM_INSIDE),
        Mistake(_skip_from_first, _SKIP_FROM_INSIDE),
        Mistake(
            lambda x, first, second: x + first(F.relu(second(x))),
            "The convolutions are in the wrong order: first comes before second.",
        ),
        Mistake(
            lambda x, first, second: x + first(F.relu(first(x))),
            "The first convolution is used twice, the second never.",
        ),
        Mistake(
            lambda x, first, second: torch.cat([x, second(F.relu(first(x)))], dim=1),
            "torch.cat puts the two beside each other and doubles the channels. "
            "A residual block adds.",
        ),
    ),
    hints=(
        "Two ways lead from x to the end: through both convolutions, and straight. "
        "They meet in a sum.",
        "One ReLU only, between the convolutions: F.relu(first(x)).",
        "x + second(F.relu(first(x)))",
    ),
)


# The skip over all blocks


def _skip_over_blocks(x, blocks, last):
    return x + last(_through(x, blocks))


def _through(x, blocks):
    for block in blocks:
        x = block(x)
    return x


def _blocks_cases():
    return tuple(
        Case(name, (_tensor(*shape, seed=20), blocks, _make_conv(shape[1], 30)))
        for name, shape, blocks in (
            ("three blocks", (2, 4, 5, 6), [_make_conv(4, seed) for seed in (1, 3, 5)]),
            ("two blocks", (1, 3, 4, 4), [_make_conv(3, seed) for seed in (7, 9)]),
            ("no block at all", (1, 4, 2, 3), []),
        )
    )


def _skip_overwritten(x, blocks, last):
    x = _through(x, blocks)
    return x + last(x)


def _skip_each_time(x, blocks, last):
    features = x
    for block in blocks:
        features = x + block(features)
    return last(features)


def _side_by_side(x, blocks, last):
    return x + last(sum(block(x) for block in blocks))


_SKIP_OVER_BLOCKS = Exercise(
    title="the skip over all blocks",
    reference=_skip_over_blocks,
    tolerance=1e-5,
    cases=_blocks_cases,
    mistakes=(
        Mistake(
            lambda x, blocks, last: last(_through(x, blocks)),
            "Nothing goes around the blocks. Add x.",
        ),
        Mistake(
            lambda x, blocks, last: last(_through(x + x, blocks)),
            "x is added before the blocks instead of after them, so nothing goes around them.",
        ),
        Mistake(
            lambda x, blocks, last: last(x + _through(x, blocks)),
            "The skip ends before the last convolution. It goes around that one too.",
        ),
        Mistake(
            _skip_overwritten,
            "What is added is the result of the blocks. The loop has given the name x to it, "
            "so the features from before the blocks are lost.",
        ),
        Mistake(
            _skip_each_time,
            "x is added behind every block. This skip is added once, at the end.",
        ),
        Mistake(
            lambda x, blocks, last: x + _through(x, blocks),
            "The last convolution is missing.",
        ),
        Mistake(
            lambda x, blocks, last: x + last(_through(x, blocks[::-1])),
            "The blocks are used from the last to the first.",
        ),
        Mistake(
            _side_by_side,
            "Every block sees x. Each one should see the result of the one before.",
        ),
        Mistake(
            lambda x, blocks, last: x + last(blocks[-1](x)),
            "Only the last block counts: each one should see the result of the one before, not x.",
        ),
    ),
    hints=(
        "Keep x, and give the features that go through the blocks another name.",
        "features = x, then for each block: features = block(features).",
        "Return x + last(features).",
    ),
)


# The skip over the image


def _add_to_bicubic(lr, residual, scale):
    return imresize(lr, scale) + residual


def _enlarge(lr, scale, mode, **options):
    return F.interpolate(lr, scale_factor=scale, mode=mode, **options)


def _bicubic_cases():
    sharp = torch.zeros(1, 3, 5, 6)
    sharp[:, :, :, 3:] = 1.0  # bicubic overshoots here
    return tuple(
        Case(name, (lr, _tensor(*lr.shape[:2], *(scale * n for n in lr.shape[2:])) / 4, scale))
        for name, lr, scale in (
            ("photograph-like values, x2", _tensor(2, 3, 6, 5, seed=1).sigmoid(), 2),
            ("an edge from black to white, x3", sharp, 3),
            ("x4", _tensor(1, 3, 5, 4, seed=2).sigmoid(), 4),
        )
    )


_ADD_TO_BICUBIC = Exercise(
    title="the skip over the image",
    reference=_add_to_bicubic,
    tolerance=1e-4,
    cases=_bicubic_cases,
    mistakes=(
        Mistake(
            lambda lr, residual, scale: residual,
            "This is the residual alone. The enlarged LR image is not added.",
        ),
        Mistake(
            lambda lr, residual, scale: _enlarge(lr, scale, "nearest") + residual,
            "This adds repeated pixels (nearest), not the bicubic image. "
            "The network would first have to learn to smooth the blocks away.",
        ),
        Mistake(
            lambda lr, residual, scale: _enlarge(lr, scale, "bilinear") + residual,
            "This adds the bilinear image, not the bicubic one.",
        ),
        Mistake(
            lambda lr, residual, scale: imresize(lr, scale, kernel="bilinear") + residual,
            "This adds the bilinear image, not the bicubic one.",
        ),
        Mistake(
            lambda lr, residual, scale: _enlarge(lr, scale, "bicubic") + residual,
            "F.interpolate has another bicubic kernel, with a = -0.75. Take imresize.",
        ),
        Mistake(
            lambda lr, residual, scale: _enlarge(lr, scale, "bicubic", antialias=True) + residual,
            "F.interpolate treats the border in another way, even with antialias=True. "
            "Take imresize.",
        ),
        Mistake(
            lambda lr, residual, scale: imresize(lr, scale).clamp(0, 1) + residual,
            "The bicubic image is cut off to 0..1 before the addition. Its overshoot is lost, "
            "and the residual of the first step no longer fits.",
        ),
        Mistake(
            lambda lr, residual, scale: (imresize(lr, scale) + residual).clamp(0, 1),
            "The sum is cut off to 0..1. Where it is, no gradient comes back. Cut off only when "
            "you make a picture.",
        ),
        Mistake(
            lambda lr, residual, scale: torch.sigmoid(
                torch.logit(imresize(lr, scale), eps=1.5e-3) + residual
            ),
            "This adds in logit space, as notebook 07 does. Here the two images are added as "
            "they are.",
        ),
        Mistake(
            lambda lr, residual, scale: torch.sigmoid(imresize(lr, scale) + residual),
            "A sigmoid changes every value, so a residual of zero would no longer give the "
            "bicubic image.",
        ),
        Mistake(
            lambda lr, residual, scale: imresize(lr, scale) - residual,
            "The residual is subtracted. It is what the bicubic image lacks, so add it.",
        ),
        Mistake(
            lambda lr, residual, scale: imresize(lr + imresize(residual, 1 / scale), scale),
            "The skip comes in before the enlargement, and with it the residual loses all its "
            "detail. Enlarge first, then add.",
        ),
    ),
    hints=(
        "Two images of one size are added. One of them has to be made first.",
        "imresize takes tensors (N, C, H, W) too, and its kernel is bicubic unless you say else.",
        "imresize(lr, scale) + residual",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_RESIDUAL_BLOCK, _SKIP_OVER_BLOCKS, _ADD_TO_BICUBIC)
