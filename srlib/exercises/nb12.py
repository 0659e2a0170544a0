"""Exercises: real time."""

import numpy as np
import torch

from srlib.exercises.grading import Case, Exercise, Mistake

__all__ = ["EXERCISES"]


# Fold branches


def _fold(weight3, bias3, weight1, bias1):
    weight = weight3.clone()
    weight[:, :, 1, 1] += weight1[:, :, 0, 0] + torch.eye(len(weight3), dtype=weight3.dtype)
    return weight, bias3 + bias1


def _with_weight(change):
    """Make a mistake that gets the bias right; `change` gets (3x3, 1x1 as (C, C), identity)."""

    def wrong(weight3, bias3, weight1, bias1):
        identity = torch.eye(len(weight3), dtype=weight3.dtype)
        return change(weight3.clone(), weight1[:, :, 0, 0], identity), bias3 + bias1

    return wrong


def _with_bias(bias):
    """Make a mistake that gets the kernel right."""
    return lambda weight3, bias3, weight1, bias1: (
        _fold(weight3, bias3, weight1, bias1)[0],
        bias(bias3, bias1),
    )


def _add_at(row, column):
    def change(weight, point, identity):
        weight[:, :, row, column] += point + identity
        return weight

    return change


def _add_middle(content):
    def change(weight, point, identity):
        weight[:, :, 1, 1] += content(point, identity)
        return weight

    return change


def _random(seed, *shapes, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=random, dtype=dtype) for shape in shapes)


def _branches(channels, seed, dtype=torch.float32):
    shapes = ((channels, channels, 3, 3), (channels,), (channels, channels, 1, 1), (channels,))
    return _random(seed, *shapes, dtype=dtype)


_FOLD = Exercise(
    title="fold branches",
    reference=_fold,
    cases=lambda: (
        Case("four channels", _branches(4, 0)),
        Case("three channels, as many as a kernel is wide", _branches(3, 1)),
        Case("one channel", _branches(1, 2)),
        Case("six channels in float64", _branches(6, 3, torch.float64)),
    ),
    mistakes=(
        Mistake(
            _with_weight(_add_middle(lambda point, identity: point)),
            "The identity is missing: its kernel is 1 in the middle, from each channel to itself.",
        ),
        Mistake(
            _with_weight(_add_middle(lambda point, identity: identity)),
            "The 1x1 branch's kernel is missing.",
        ),
        Mistake(
            _with_bias(lambda bias3, bias1: bias3),
            "The kernel is right. The bias of the 1x1 branch is forgotten.",
        ),
        Mistake(
            _with_bias(lambda bias3, bias1: bias3 + bias1 + 1),
            "The kernel is right. The identity adds its input, and no bias.",
        ),
        Mistake(
            _with_weight(_add_at(0, 0)),
            "The 1x1 kernel and the identity stand in a corner, so the picture shifts by a pixel. "
            "They look at the pixel itself: the middle of the 3x3 kernel.",
        ),
        Mistake(
            _with_weight(_add_at(2, 2)),
            "The 1x1 kernel and the identity stand in a corner, so the picture shifts by a pixel. "
            "They look at the pixel itself: the middle of the 3x3 kernel.",
        ),
        Mistake(
            _with_weight(lambda weight, p, identity: weight + (p + identity)[..., None, None]),
            "The 1x1 kernel and the identity were added to all nine places: that is a sum over the "
            "neighbourhood. Add them to one place only.",
        ),
        Mistake(
            _with_weight(lambda weight, p, identity: _add_at(1, 1)(weight, p, 0) + _all(identity)),
            "The identity was added to all nine places. It belongs to the middle alone.",
        ),
        Mistake(
            _with_weight(_add_middle(lambda point, identity: point.T + identity)),
            "The 1x1 kernel is transposed: input and output channels are exchanged. Both kernels "
            "have the output channels first.",
        ),
        Mistake(
            _with_weight(_add_middle(lambda point, identity: point + 1)),
            "The identity became 1 between all channels, so each output is the sum of all inputs. "
            "Only a channel's way to itself is 1: torch.eye.",
        ),
        Mistake(
            _with_weight(lambda weight, point, identity: weight),
            "Only the 3x3 kernel is there. The other two branches act on the middle place.",
        ),
    ),
    hints=(
        "Kernels of branches with the same input are added, and so are biases. First make each a "
        "3x3 kernel.",
        "A 1x1 kernel is a 3x3 kernel with zeros around the middle, place [1, 1]. The identity is "
        "a 1x1 convolution too: 1 from each channel to itself, 0 to others.",
        "weight = weight3.clone(), then add weight1[:, :, 0, 0] and torch.eye(C) to "
        "weight[:, :, 1, 1].",
    ),
    tolerance=1e-5,
)


def _all(identity):
    return identity[..., None, None].expand(-1, -1, 3, 3)


# Fold a chain


def _fold_chain(weight1, bias1, weight3, bias3):
    weight = torch.einsum("omyx,mi->oiyx", weight3, weight1[:, :, 0, 0])
    return weight, bias3 + torch.einsum("omyx,m->o", weight3, bias1)


def _chain_with_bias(bias):
    """Make a mistake that gets the kernel right."""
    return lambda weight1, bias1, weight3, bias3: (
        _fold_chain(weight1, bias1, weight3, bias3)[0],
        bias(bias1, weight3, bias3),
    )


def _chain_with_weight(formula):
    """Make a mistake that gets the bias right."""
    return lambda weight1, bias1, weight3, bias3: (
        torch.einsum(formula, weight3, weight1[:, :, 0, 0]),
        _fold_chain(weight1, bias1, weight3, bias3)[1],
    )


def _chain(inputs, between, outputs, seed, dtype=torch.float32):
    shapes = ((between, inputs, 1, 1), (between,), (outputs, between, 3, 3), (outputs,))
    return _random(seed, *shapes, dtype=dtype)


_FOLD_CHAIN = Exercise(
    title="find the bug: a chain that shifts the brightness",
    reference=_fold_chain,
    cases=lambda: (
        Case("four channels everywhere", _chain(4, 4, 4, 0)),
        Case("from 3 over 6 to 4 channels", _chain(3, 6, 4, 1)),
        Case("one channel", _chain(1, 1, 1, 2)),
        Case("from 5 over 3 to 2 channels, in float64", _chain(5, 3, 2, 3, torch.float64)),
    ),
    mistakes=(
        Mistake(
            _chain_with_bias(lambda bias1, weight3, bias3: bias3 + weight3[:, :, 1, 1] @ bias1),
            "This is the function with its bug. The first layer's bias is a constant picture: at "
            "each pixel the 3x3 kernel sees it nine times, and not in its middle alone.",
        ),
        Mistake(
            _chain_with_bias(lambda bias1, weight3, bias3: bias3),
            "The kernel is right. The bias of the first layer is forgotten: send a picture of "
            "zeros through both layers.",
        ),
        Mistake(
            _chain_with_bias(lambda bias1, weight3, bias3: bias3 + bias1),
            "The biases are added as if the branches stood side by side. Here the first bias goes "
            "through the second layer.",
        ),
        Mistake(
            _chain_with_bias(lambda bias1, weight3, bias3: weight3.sum(dim=(2, 3)) @ bias1),
            "The kernel is right. The bias of the second layer is forgotten.",
        ),
        Mistake(
            _chain_with_bias(
                lambda bias1, weight3, bias3: bias3 + weight3.mean(dim=(2, 3)) @ bias1
            ),
            "The kernel is right. The bias goes through the mean of the 3x3 kernel: a convolution "
            "adds its nine products.",
        ),
        Mistake(
            _chain_with_bias(
                lambda bias1, weight3, bias3: bias3 + weight3.sum(dim=(1, 2, 3)) * bias1.sum()
            ),
            "The kernel is right. For the bias, each channel in between has a kernel of its own: "
            "multiply first, then add.",
        ),
        Mistake(
            _chain_with_weight("omyx,im->oiyx"),
            "The 1x1 kernel is transposed: it has its output channels first, and these are the "
            "channels in between.",
        ),
        Mistake(
            _chain_with_weight("moyx,mi->oiyx"),
            "The 3x3 kernel is transposed: its output channels come first.",
        ),
    ),
    hints=(
        "The kernel is right. Send a picture of zeros through both layers: what comes out is the "
        "bias of the folded one.",
        "After the first layer that picture has the value bias1[m] at every pixel of channel m. "
        "What does a 3x3 convolution make of a constant?",
        "Its value times the sum of the kernel's nine numbers: weight3.sum(dim=(2, 3)) @ bias1, "
        "and the second bias besides.",
    ),
    tolerance=1e-5,
)


# The Pareto front


def _front(ms, db, dominates=None, key=None):
    """Keep what no other point dominates; by default as the exercise asks."""
    if dominates is None:

        def dominates(a, b):
            return ms[a] <= ms[b] and db[a] >= db[b] and (ms[a] < ms[b] or db[a] > db[b])

    points = range(len(ms))
    front = [i for i in points if not any(dominates(other, i) for other in points if other != i)]
    return sorted(front, key=key or (lambda i: ms[i]))


def _pareto_front(ms, db):
    return _front(ms, db)


def _dominated_if(rule):
    """Make a mistake with another rule: rule(ms of one, dB of one, ms of other, dB of other)."""
    return lambda ms, db: _front(ms, db, lambda a, b: rule(ms[a], db[a], ms[b], db[b]))


def _running_best(ms, db):
    """Sort by time alone, keep each that is better than all before: ties come out by chance."""
    front, best = [], -np.inf
    for i in np.argsort(ms, kind="stable"):
        if db[i] > best:
            front.append(int(i))
            best = db[i]
    return front


def _mask(ms, db):
    front = _pareto_front(ms, db)
    return [i in front for i in range(len(ms))]


_PARETO_FRONT = Exercise(
    title="Pareto front",
    reference=_pareto_front,
    cases=lambda: (
        Case(
            "six networks",
            (
                np.array([40.0, 5.0, 12.0, 90.0, 15.0, 60.0]),
                np.array([33.1, 31.0, 32.4, 33.8, 32.0, 32.9]),
            ),
        ),
        Case(
            "equal times, the worse first", (np.array([8.0, 8.0, 3.0]), np.array([30.0, 31.0, 29]))
        ),
        Case("equal scores", (np.array([9.0, 4.0, 20.0]), np.array([30.0, 30.0, 31.0]))),
        Case(
            "two equal points", (np.array([7.0, 2.0, 7.0, 8.0]), np.array([32.0, 30.0, 32.0, 31]))
        ),
        Case("one network", (np.array([5.0]), np.array([30.0]))),
    ),
    mistakes=(
        Mistake(
            _dominated_if(lambda m, d, ms, db: m >= ms and d >= db and (m > ms or d > db)),
            "This prefers slow networks: of two with equal dB it drops the faster one. Less is "
            "better in ms.",
        ),
        Mistake(
            _dominated_if(lambda m, d, ms, db: m <= ms and d <= db and (m < ms or d < db)),
            "This takes fewer decibels for better. Less is better in ms, more in dB.",
        ),
        Mistake(
            _dominated_if(lambda m, d, ms, db: m < ms and d > db),
            "Points stay that tie with a better one. A point is dominated too if another is equal "
            "in one and better in the other.",
        ),
        Mistake(
            _dominated_if(lambda m, d, ms, db: m <= ms and d >= db),
            "Two equal points have thrown each other out. To dominate, a point must be better in "
            "at least one of the two.",
        ),
        Mistake(
            _running_best,
            "Points of equal time are taken as they come: a worse one that comes first stays, and "
            "of equal points only one does. Sort ties by dB, and let equal points stay.",
        ),
        Mistake(
            lambda ms, db: _pareto_front(ms, db)[::-1],
            "The points are right, the order is not: the fastest comes first.",
        ),
        Mistake(
            lambda ms, db: sorted(_pareto_front(ms, db)),
            "The points are right, but stand in the order of their indices. The fastest comes "
            "first.",
        ),
        Mistake(
            _mask,
            "This is a row of True and False. Return the indices of the points.",
        ),
        Mistake(
            lambda ms, db: [(ms[i], db[i]) for i in _pareto_front(ms, db)],
            "These are the points themselves. Return their indices.",
        ),
        Mistake(
            lambda ms, db: [int(np.argmin(ms)), int(np.argmax(db))],
            "These are the ends of the front, the fastest and the best. What no other point "
            "dominates lies between them too.",
        ),
    ),
    hints=(
        "For each point ask: is there another one that is at least as good in both, and better in "
        "one?",
        "With arrays, for point i: (ms <= ms[i]) & (db >= db[i]) are at least as good, and "
        "(ms < ms[i]) | (db > db[i]) are better in one.",
        "Collect the i for which no point is in both sets, then "
        "sorted(front, key=lambda i: ms[i]).",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_FOLD, _FOLD_CHAIN, _PARETO_FRONT)
