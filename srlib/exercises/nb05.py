"""Exercises: residual blocks."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from srlib.exercises.comparison import in_words
from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.probes import no_gradient, used_as_network, with_gradients
from srlib.resample import imresize

__all__ = ["EXERCISES"]


def _tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _make_conv(channels, seed):
    """Make a 3x3 convolution with weights of its own."""
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    with torch.no_grad():
        weight = _tensor(channels, channels, 3, 3, seed=seed)
        layer.weight.copy_(weight / (3 * channels**0.5))
        layer.bias.copy_(_tensor(channels, seed=seed + 1) / 2)
    return layer


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
    probe=with_gradients,
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
        no_gradient(_residual_block),
        Mistake(
            lambda x, first, second: x + second(F.relu(first(x))).detach(),
            "The branch is detached, so its convolutions would never learn.",
        ),
        Mistake(
            lambda x, first, second: x.detach() + second(F.relu(first(x))),
            "The skip is detached: the value passes along it, the gradient does not. But the "
            "gradient is what the skip is for.",
        ),
        Mistake(
            lambda x, first, second: x + second(F.relu(first(x.detach()))),
            "The branch works on a detached x, so no gradient comes back through the branch.",
        ),
    ),
    hints=(
        "Two ways lead from x to the end: through both convolutions, and straight. "
        "They meet in a sum.",
        "One ReLU only, between the convolutions: F.relu(first(x)).",
        "x + second(F.relu(first(x)))",
    ),
)


# The chain of blocks with the skip over all of them, as a module


class _Block(nn.Module):
    def __init__(self, channels, skip=True):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = skip

    def forward(self, x):
        branch = self.second(F.relu(self.first(x)))
        return x + branch if self.skip else branch


class _Trunk(nn.Module):
    """The reference; `way` makes the mistakes."""

    def __init__(self, channels, num_blocks, *, way="", keep=nn.ModuleList):
        super().__init__()
        blocks = [_Block(channels, skip=way != "plain") for _ in range(num_blocks)]
        self.blocks = keep(blocks[:1] * num_blocks if way == "one block" else blocks)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.way = way

    def forward(self, x):
        features = x
        for block in self.blocks:
            features = block(features)
        ways = {
            "": lambda: x + self.last(features),
            "plain": lambda: x + self.last(features),
            "one block": lambda: x + self.last(features),
            "no skip": lambda: self.last(features),
            "early end": lambda: self.last(x + features),
            "late start": lambda: features + self.last(features),
            "no last": lambda: x + features,
            "ReLU": lambda: F.relu(x + self.last(features)),
            "detached": lambda: x.detach() + self.last(features),
        }
        return ways[self.way]()


def _trunk(channels, num_blocks):
    return _Trunk(channels, num_blocks)


def _use_trunk(make, channels, num_blocks):
    x = _tensor(2, channels, 5, 6, seed=channels)
    return used_as_network(make, (channels, num_blocks), x)


_TRUNK = Exercise(
    title="a chain of blocks with its skip",
    reference=_trunk,
    tolerance=1e-3,
    probe=_use_trunk,
    cases=lambda: (
        Case("three blocks", (4, 3)),
        Case("one block", (6, 1)),
        Case("five narrow blocks", (2, 5)),
    ),
    redraw=lambda random: tuple(
        (int(channels), blocks)
        for channels, blocks in zip(random.permutation([3, 5, 7]), (2, 4, 3), strict=True)
    ),
    mistakes=(
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="no skip"),
            "Nothing goes around the blocks. Add what came in.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="early end"),
            "The skip ends before the last convolution. It goes around that one too.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="late start"),
            "What is added is the result of the blocks. The loop has given the name x to it, "
            "so the features from before the blocks are lost.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="no last"),
            "The last convolution is not used.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="plain"),
            "The blocks inside have lost their own skips. Make them with Block(channels).",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="ReLU"),
            "There is a ReLU at the end. The sum must leave as it is.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, keep=list),
            "The blocks are kept in a plain list, so their weights are not weights of this module "
            "and would never learn. Use nn.ModuleList or nn.Sequential.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="one block"),
            "It is the same block several times. Make a new one for each place.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks + 1),
            "There is one block too many.",
        ),
        Mistake(
            lambda channels, num_blocks: _Trunk(channels, num_blocks, way="detached"),
            "The skip is detached: the value passes along it, the gradient does not.",
        ),
    ),
    hints=(
        "Make the blocks and the last convolution in __init__, use them in forward.",
        "nn.Sequential(*(Block(channels) for _ in range(num_blocks))) is a module and calls one "
        "after the other.",
        "forward returns x + self.last(self.blocks(x)).",
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
    probe=with_gradients,
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
        no_gradient(_add_to_bicubic),
        Mistake(
            lambda lr, residual, scale: imresize(lr, scale) + residual.detach(),
            "The residual is detached, so the network that made it would never learn.",
        ),
    ),
    hints=(
        "Two images of one size are added. One of them has to be made first.",
        "imresize takes tensors (N, C, H, W) too, and its kernel is bicubic unless you say else.",
        "imresize(lr, scale) + residual",
    ),
)

# Rivals that start alike


def _make_rivals(make, kinds, seed):
    rivals = {}
    for kind in kinds:
        torch.manual_seed(seed)
        rivals[kind] = make(kind)
    return rivals


def _seeded_once(make, kinds, seed):
    torch.manual_seed(seed)
    return {kind: make(kind) for kind in kinds}


def _seeded_otherwise(make, kinds, seed):
    rivals = {}
    for place, kind in enumerate(kinds):
        torch.manual_seed(seed + place)
        rivals[kind] = make(kind)
    return rivals


def _one_for_all(make, kinds, seed):
    torch.manual_seed(seed)
    return dict.fromkeys(kinds, make(kinds[0]))


def _make_layer(kind):
    layer = nn.Conv2d(2, 2, 3)
    layer.kind = kind
    return layer


def _use_rivals(make_rivals, make, kinds, seed):
    """Return each rival's kind and first weights, and how many networks and weights there are."""
    rivals = make_rivals(make, kinds, seed)
    if not isinstance(rivals, Mapping):
        raise TypeError(f"this should return a dict of networks, got {in_words(rivals)}")
    return {
        "the kinds": {kind: network.kind for kind, network in rivals.items()},
        "the first weights": {kind: net.weight.detach() for kind, net in rivals.items()},
        "the number of networks": len(set(map(id, rivals.values()))),
        "the number of weights": len({net.weight.data_ptr() for net in rivals.values()}),
    }


_MAKE_RIVALS = Exercise(
    title="find the bug: a comparison that is not fair",
    reference=_make_rivals,
    probe=_use_rivals,
    cases=lambda: (
        Case("two kinds", (_make_layer, ("residual", "plain"), 0)),
        Case("three kinds", (_make_layer, ("a", "b", "c"), 7)),
        Case("one kind", (_make_layer, ("alone",), 3)),
    ),
    redraw=lambda random: tuple(
        (_make_layer, kinds, int(random.integers(10, 1000)))
        for kinds in (("plain", "residual"), ("c", "a", "b"), ("only",))
    ),
    mistakes=(
        Mistake(
            _seeded_once,
            "The first network uses up random numbers, so the second one starts from others. Look "
            "at where the seed is set.",
        ),
        Mistake(
            _seeded_otherwise,
            "Every network has a seed of its own. To start alike they need the same one.",
        ),
        Mistake(
            _one_for_all,
            "There is one network under all names. Make one for each kind.",
        ),
        Mistake(
            lambda make, kinds, seed: _make_rivals(make, kinds, 0),
            "The seed is not always 0: use the argument.",
        ),
    ),
    hints=(
        "Compare the first weights of the two networks. Are they equal?",
        "Random numbers come from one stream. Who draws first leaves the stream further on.",
        "torch.manual_seed(seed) belongs inside the loop, before each network is made.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_RESIDUAL_BLOCK, _TRUNK, _ADD_TO_BICUBIC, _MAKE_RIVALS)
