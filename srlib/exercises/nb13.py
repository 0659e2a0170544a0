"""Exercises: compression."""

import numpy as np
import torch

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.probes import with_gradients
from srlib.exercises.safe_call import Misfit

__all__ = ["EXERCISES"]


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _uneven(*shape: int, axis: int, seed: int = 0) -> torch.Tensor:
    """Make weights whose range differs from channel to channel."""
    factors = torch.linspace(0.2, 2.0, shape[axis], dtype=torch.float64)
    return _noise(*shape, seed=seed) * factors.reshape([-1 if d == axis else 1 for d in range(4)])


def _in_an_array(answer, *arguments):
    """Call an answer whose numbers or booleans may also be in a tensor, a list or a tuple."""
    found = answer(*arguments)
    if type(found).__module__ == "torch.return_types":
        name = type(found).__name__
        raise Misfit(f"{name} returns two things, values and indices. Take the one that you need.")
    if isinstance(found, (list, tuple)) and all(np.ndim(x) == 0 for x in found):
        found = np.array([x.item() if isinstance(x, torch.Tensor) else x for x in found])
    return found.numpy(force=True) if isinstance(found, torch.Tensor) else found


# The channels that stay


def _channels_to_keep(weight, count):
    return _largest_first(weight.abs().sum(dim=(1, 2, 3)), count).sort().values


def _largest_first(norms, count):
    return norms.argsort(descending=True)[:count]


_CHANNELS_TO_KEEP = Exercise(
    title="the channels that stay",
    reference=_channels_to_keep,
    probe=_in_an_array,
    cases=lambda: (
        Case("4 of 6 channels", (_noise(6, 3, 3, 3), 4)),
        Case("3 of 8 channels", (_uneven(8, 5, 3, 3, axis=0, seed=1).flip(0), 3)),
        Case("as many inputs as outputs", (_uneven(7, 7, 3, 3, axis=1, seed=2), 5)),
        Case(
            "biased filters",
            (_noise(8, 2, 3, 3, seed=3) + torch.linspace(-1, 1, 8).view(-1, 1, 1, 1), 4),
        ),
        Case(
            "one sharp peak",
            (_noise(5, 4, 3, 3, seed=4) + 9.0 * (torch.arange(180) == 40).view(5, 4, 3, 3), 2),
        ),
        Case("all", (_noise(4, 2, 1, 1, seed=5), 4)),
        Case("one, of long filters", (_noise(5, 3, 1, 7, seed=6), 1)),
    ),
    mistakes=(
        Mistake(
            lambda weight, count: _largest_first(weight.abs().sum(dim=(1, 2, 3)), count),
            "The right channels, the largest first. Their order must stay as it was, or the next "
            "layer's weights no longer fit.",
        ),
        Mistake(
            lambda weight, count: weight.abs().sum(dim=(1, 2, 3)).argsort()[-count:],
            "The right channels, in the order of their norms. Sort their numbers: the order must "
            "stay as it was.",
        ),
        Mistake(
            lambda weight, count: (
                _largest_first(-weight.abs().sum(dim=(1, 2, 3)), count).sort().values
            ),
            "These are the smallest norms: the channels that go.",
        ),
        Mistake(
            lambda weight, count: _largest_first(weight.sum(dim=(1, 2, 3)), count).sort().values,
            "The weights are added with their signs, so that a strong filter for edges adds up to "
            "nothing. The L1 norm adds absolute values.",
        ),
        Mistake(
            lambda weight, count: (
                _largest_first(weight.sum(dim=(1, 2, 3)).abs(), count).sort().values
            ),
            "The absolute value is taken after the sum. It belongs before it.",
        ),
        Mistake(
            lambda weight, count: (
                _largest_first(weight.abs().sum(dim=(0, 2, 3)), count).sort().values
            ),
            "These are norms by input channel, axis 1. The filters that make the output channels "
            "lie along axis 0.",
        ),
        Mistake(
            lambda weight, count: (
                _largest_first(weight.square().sum(dim=(1, 2, 3)), count).sort().values
            ),
            "This is the L2 norm, which listens to the largest weights most. L1 is asked.",
        ),
        Mistake(
            lambda weight, count: (
                _largest_first(weight.abs().amax(dim=(1, 2, 3)), count).sort().values
            ),
            "This looks at the largest weight of each filter. The L1 norm is the sum of all.",
        ),
        Mistake(
            lambda weight, count: torch.arange(count),
            "These are the first channels, whatever their weights are.",
        ),
    ),
    hints=(
        "One number for each output channel: the sum of the absolute weights of its filter.",
        "weight.abs().sum(dim=(1, 2, 3)) has the shape (out,). Its topk(count).indices are the "
        "channels to keep, in the order of their norms.",
        "The order must be that of the channels: .sort().values at the end.",
    ),
)


# Weights of a few bits


def _quantise(weight, bits, axis=None):
    return _rounded_to_steps(weight, bits, axis)


def _largest(weight, axis):
    if axis is None:
        return weight.abs().amax()
    others = [dim for dim in range(weight.ndim) if dim != axis]
    return weight.abs().amax(dim=others, keepdim=True)


def _rounded_to_steps(weight, bits, axis, *, levels=None, rounding=torch.round, largest=_largest):
    levels = levels or 2 ** (bits - 1) - 1
    step = largest(weight, axis) / levels
    step = torch.where(step > 0, step, torch.ones_like(step))
    return rounding(weight / step).clamp(-levels, levels) * step


def _zeros_become_nan(weight, bits, axis=None):
    step = _largest(weight, axis) / (2 ** (bits - 1) - 1)
    return torch.round(weight / step) * step


def _without_abs(weight, bits, axis=None):
    others = [dim for dim in range(weight.ndim) if dim != axis]
    largest = weight.amax() if axis is None else weight.amax(others, keepdim=True)
    step = largest / (2 ** (bits - 1) - 1)
    return torch.round(weight / step) * step


def _with_zero_point(weight, bits, axis=None):
    others = [dim for dim in range(weight.ndim) if dim != axis]
    low, high = (
        getattr(weight, name)(dim=others, keepdim=True) if axis is not None else value
        for name, value in (("amin", weight.amin()), ("amax", weight.amax()))
    )
    step = (high - low) / (2**bits - 1)
    step = torch.where(step > 0, step, torch.ones_like(step))
    return torch.round((weight - low) / step) * step + low


def _whole_numbers(weight, bits, axis=None):
    levels = 2 ** (bits - 1) - 1
    step = _largest(weight, axis) / levels
    return torch.round(weight / torch.where(step > 0, step, torch.ones_like(step)))


def _one_channel_silent():
    weight = _uneven(4, 2, 3, 3, axis=0, seed=4)
    weight[2] = 0
    return weight


_QUANTISE = Exercise(
    title="weights of a few bits",
    reference=_quantise,
    tolerance=1e-9,
    cases=lambda: (
        Case("one step for all, 8 bits", (_uneven(4, 3, 3, 3, axis=0), 8, None)),
        Case("one step for all, 3 bits", (_uneven(4, 3, 3, 3, axis=0, seed=1), 3, None)),
        Case("a step for each index of axis 0", (_uneven(4, 3, 3, 3, axis=0, seed=2), 4, 0)),
        Case("a step for each index of axis 1", (_uneven(5, 3, 2, 2, axis=1, seed=3), 4, 1)),
        Case("a step for each index of axis 2", (_uneven(2, 3, 5, 2, axis=2, seed=7), 4, 2)),
        Case("without an axis", (_uneven(4, 3, 3, 3, axis=0, seed=8), 3)),
        Case("a channel of zeros", (_one_channel_silent(), 8, 0)),
        Case("negative weights only", (-_noise(3, 2, 3, 3, seed=5).abs(), 5, 0)),
        Case("2 bits, of long filters", (_noise(3, 4, 1, 5, seed=6), 2, 0)),
    ),
    mistakes=(
        Mistake(
            lambda weight, bits, axis=None: _quantise(weight, bits, axis or None),
            "Axis 0 is taken for no axis: `if axis` is false for 0 as well. Compare with None.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _quantise(weight, bits),
            "There is one step for the whole tensor, also where `axis` asks for one each.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _quantise(weight, bits, None if axis is None else 0),
            "The steps always go along axis 0. In the weights of a transposed convolution the "
            "output channels are axis 1.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(
                weight,
                bits,
                axis,
                largest=lambda w, a: _largest(w, a) if a is None else w.abs().amax(a, keepdim=True),
            ),
            "The maximum is taken over `axis` itself. Each index of `axis` needs its own maximum, "
            "over all the other axes.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(
                weight, bits, axis, rounding=torch.trunc
            ),
            "The numbers are cut off towards zero. Rounding to the nearest halves the error.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(
                weight, bits, axis, rounding=torch.floor
            ),
            "The numbers are rounded down, which shifts all weights by half a step on average.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(
                weight, bits, axis, levels=2 ** (bits - 1)
            ),
            "The largest weight became 2**(bits - 1) steps. A signed whole number of so many bits "
            "ends one below.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(
                weight, bits, axis, levels=2**bits - 1
            ),
            "All 2**bits - 1 steps lie on one side of zero. One bit is needed for the sign.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(weight, bits, axis, levels=2**bits),
            "The step is the largest weight over 2**bits, which takes one bit too many.",
        ),
        Mistake(
            _with_zero_point,
            "This spreads the levels from the smallest weight to the largest, with a zero point. "
            "Symmetric levels reach equally far on both sides of zero, and zero stays zero.",
        ),
        Mistake(
            _whole_numbers,
            "These are the whole numbers. Multiply by the step to get weights again.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _rounded_to_steps(
                weight, bits, axis, largest=lambda w, a: _largest(w.clamp(min=0), a)
            ),
            "The largest weight is taken with its sign. A negative weight can be the largest.",
        ),
        Mistake(
            _without_abs,
            "The largest weight is taken with its sign. A negative weight can be the largest.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _quantise(weight, 8, axis),
            "The step is that of 8 bits, whatever `bits` says.",
        ),
        Mistake(
            _zeros_become_nan,
            "A channel of zeros has the step 0, and 0 / 0 is no number. Give it any other step.",
        ),
    ),
    hints=(
        "Three lines: the step, the whole numbers, and back. The step is the largest absolute "
        "weight divided by the largest whole number, 2**(bits - 1) - 1.",
        "With an axis: weight.abs().amax(dim=all other axes, keepdim=True), so that it divides "
        "the tensor as it is. Without: weight.abs().amax().",
        "step = torch.where(step > 0, step, 1.0) saves a channel of zeros. Then "
        "torch.round(weight / step) * step.",
    ),
)


# Rounded forwards, not backwards


def _straight_through(weight, bits, axis=None):
    return weight + (_quantise(weight, bits, axis) - weight).detach()


def _through_the_step(weight, bits, axis=None):
    levels = 2 ** (bits - 1) - 1
    step = _largest(weight, axis) / levels
    whole = weight / torch.where(step > 0, step, torch.ones_like(step))
    return step * (whole + (torch.round(whole) - whole).detach())


def _times_the_ratio(weight, bits, axis=None):
    with torch.no_grad():
        rounded = _quantise(weight, bits, axis)
        ratio = torch.where(weight != 0, rounded / weight, torch.zeros_like(weight))
    return weight * ratio


def _overwritten(weight, bits, axis=None):
    weight.data = _quantise(weight.data, bits, axis)
    return weight


_STRAIGHT_THROUGH = Exercise(
    title="rounded forwards, not backwards",
    reference=_straight_through,
    probe=with_gradients,
    tolerance=1e-9,
    cases=lambda: (
        Case("one step for all, 3 bits", (_uneven(4, 3, 3, 3, axis=0, seed=1), 3, None)),
        Case("one step for all, 8 bits", (_uneven(4, 3, 3, 3, axis=0), 8, None)),
        Case("a step for each index of axis 0", (_uneven(4, 3, 3, 3, axis=0, seed=2), 4, 0)),
        Case("a step for each index of axis 1", (_uneven(5, 3, 2, 2, axis=1, seed=3), 4, 1)),
        Case("without an axis", (_uneven(4, 3, 3, 3, axis=0, seed=8), 3)),
        Case("a channel of zeros", (_one_channel_silent(), 4, 0)),
        Case("2 bits, of long filters", (_noise(3, 4, 1, 5, seed=6), 2, 0)),
    ),
    mistakes=(
        Mistake(
            _overwritten,
            "The exact weights were overwritten. They have to stay: small steps of the training "
            "add up in them, until one of them is rounded to the next number.",
        ),
        Mistake(
            _quantise,
            "The values are right, but the gradient is that of rounding: 0 for all weights but the "
            "largest, which decide on the step. With it nothing would be learned.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _quantise(weight, bits, axis).detach(),
            "The values are right, but no gradient comes back: the weights themselves are cut off. "
            "Only the difference to the weights is to be cut off.",
        ),
        Mistake(
            lambda weight, bits, axis=None: weight * 1,
            "These are the weights themselves. Forwards they have to be rounded.",
        ),
        Mistake(
            lambda weight, bits, axis=None: (
                weight.detach() + _quantise(weight, bits, axis) - weight
            ),
            "The gradient has the wrong sign: the weights are cut off where they are added, and "
            "not where they are subtracted.",
        ),
        Mistake(
            lambda weight, bits, axis=None: (
                _quantise(weight, bits, axis) + weight - weight.detach()
            ),
            "The gradient passes twice: straight through, and through the largest weights, which "
            "decide on the step. Cut the rounded weights off.",
        ),
        Mistake(
            _through_the_step,
            "The gradient also goes through the step, to the largest weights. It is to pass as if "
            "nothing had been rounded: cut the step off as well.",
        ),
        Mistake(
            _times_the_ratio,
            "The gradient is multiplied by rounded weight / weight. It is to pass unchanged: add "
            "a difference instead of multiplying by a ratio.",
        ),
        Mistake(
            lambda weight, bits, axis=None: _straight_through(weight, bits),
            "There is one step for the whole tensor, also where `axis` asks for one each.",
        ),
        Mistake(
            lambda weight, bits, axis=None: weight + (_quantise(weight, 8, axis) - weight).detach(),
            "`bits` is not handed on.",
        ),
    ),
    hints=(
        "Two things are wanted of one tensor: the value of the rounded weights, and the gradient "
        "of the weights. A sum can have both.",
        "A difference that is detached counts as a constant: it changes the value, not the "
        "gradient.",
        "Which constant, added to weight, gives quantise(weight, bits, axis)?",
    ),
)


# What nothing else beats


def _on_the_front(costs, quality):
    front = []
    for cost, good in zip(costs, quality, strict=True):
        as_good = (costs <= cost).all(axis=1) & (quality >= good)
        better = (costs < cost).any(axis=1) | (quality > good)
        front.append(not (as_good & better).any())
    return np.array(front)


def _everywhere_better(costs, quality):
    return np.array(
        [
            not ((costs < cost).all(axis=1) & (quality > good)).any()
            for cost, good in zip(costs, quality, strict=True)
        ]
    )


def _beats_itself(costs, quality):
    return np.array(
        [
            not ((costs <= cost).all(axis=1) & (quality >= good)).any()
            for cost, good in zip(costs, quality, strict=True)
        ]
    )


def _others_as_good(costs, quality):
    front = []
    for n in range(len(costs)):
        as_good = (costs <= costs[n]).all(axis=1) & (quality >= quality[n])
        front.append(as_good.sum() == 1)
    return np.array(front)


def _one_cost_is_enough(costs, quality):
    front = []
    for cost, good in zip(costs, quality, strict=True):
        as_good = (costs <= cost).any(axis=1) & (quality >= good)
        better = (costs < cost).any(axis=1) | (quality > good)
        front.append(not (as_good & better).any())
    return np.array(front)


def _better_in_quality(costs, quality):
    return np.array(
        [
            not ((costs <= cost).all(axis=1) & (quality > good)).any()
            for cost, good in zip(costs, quality, strict=True)
        ]
    )


def _better_in_costs(costs, quality):
    front = []
    for cost, good in zip(costs, quality, strict=True):
        cheaper = (costs <= cost).all(axis=1) & (costs < cost).any(axis=1)
        front.append(not (cheaper & (quality >= good)).any())
    return np.array(front)


def _files(*rows):
    """Split rows of costs, with the quality last."""
    table = np.array(rows, dtype=float)
    return table[:, :-1], table[:, -1]


def _other_files(random):
    """Draw files anew: ranks get other values, so that what ties still ties."""
    drawn = []
    for case in _ON_THE_FRONT.cases():
        table = np.column_stack(case.arguments)
        for column in table.T:
            ranks = np.unique(column, return_inverse=True)[1]
            column[:] = np.cumsum(random.uniform(0.5, 5, len(column)))[ranks]
        table = random.permutation(table)
        drawn.append((table[:, :-1], table[:, -1]))
    return tuple(drawn)


_ON_THE_FRONT = Exercise(
    title="what nothing else beats",
    reference=_on_the_front,
    probe=_in_an_array,
    redraw=_other_files,
    cases=lambda: (
        Case("no two alike", _files((100, 9, 30), (200, 8, 29), (50, 20, 28), (300, 30, 27))),
        Case("equally large, one better", _files((200, 9, 28), (200, 9, 30), (100, 20, 27))),
        Case("equally good, one smaller", _files((200, 9, 30), (100, 9, 30), (400, 5, 31))),
        Case("two that are the same", _files((100, 5, 30), (100, 5, 30), (200, 8, 29))),
        Case("one cost", _files((100, 28), (200, 30), (150, 27), (300, 30))),
        Case("three costs", _files((1, 5, 9, 30), (2, 4, 9, 30), (2, 5, 9, 30), (2, 5, 8, 29))),
        Case("a single file", _files((100, 5, 30))),
    ),
    mistakes=(
        Mistake(
            _everywhere_better,
            "This is the function as it was given: it asks for a file that is better in all. "
            "One that is equally large, and better, dominates as well.",
        ),
        Mistake(
            _beats_itself,
            "With <= and >= every file beats itself, and nothing is left. It must also be better "
            "in at least one.",
        ),
        Mistake(
            _others_as_good,
            "Of two files that are the same neither is better, so both stay.",
        ),
        Mistake(
            _one_cost_is_enough,
            "A file dominates only if none of its costs is higher. Here one cost was enough.",
        ),
        Mistake(
            _better_in_quality,
            "A file that is equally good and cheaper dominates as well.",
        ),
        Mistake(
            _better_in_costs,
            "A file that costs the same and is better dominates as well.",
        ),
        Mistake(
            lambda costs, quality: ~_on_the_front(costs, quality),
            "These are the dominated files. True is asked for the others.",
        ),
        Mistake(
            lambda costs, quality: _on_the_front(costs, -quality),
            "This takes the lower PSNR for the better one.",
        ),
        Mistake(
            lambda costs, quality: np.flatnonzero(_on_the_front(costs, quality)),
            "These are the places of the files on the front. Asked is True or False for each file.",
        ),
    ),
    hints=(
        "Give the function two files that are equally large and equally fast, one of them better. "
        "What should it say, and what does it say?",
        "To dominate means two things: at least as good in all, and better in one.",
        "At least as good: (costs <= cost).all(axis=1) & (quality >= db). Better in one: "
        "(costs < cost).any(axis=1) | (quality > db).",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_CHANNELS_TO_KEEP, _QUANTISE, _STRAIGHT_THROUGH, _ON_THE_FRONT)
