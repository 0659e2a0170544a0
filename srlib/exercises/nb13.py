"""Exercises: compression."""

import torch

from srlib.exercises.grading import Case, Exercise, Mistake

__all__ = ["EXERCISES"]


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _uneven(*shape: int, axis: int, seed: int = 0) -> torch.Tensor:
    """Make weights whose range differs from channel to channel."""
    factors = torch.linspace(0.2, 2.0, shape[axis], dtype=torch.float64)
    return _noise(*shape, seed=seed) * factors.reshape([-1 if d == axis else 1 for d in range(4)])


# The channels that stay


def _channels_to_keep(weight, count):
    return _largest_first(weight.abs().sum(dim=(1, 2, 3)), count).sort().values


def _largest_first(norms, count):
    return norms.argsort(descending=True)[:count]


_CHANNELS_TO_KEEP = Exercise(
    title="the channels that stay",
    reference=_channels_to_keep,
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
    ),
    mistakes=(
        Mistake(
            lambda weight, count: _largest_first(weight.abs().sum(dim=(1, 2, 3)), count),
            "The right channels, the largest first. Their order must stay as it was, or the next "
            "layer's weights no longer fit.",
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
        Case("a channel of zeros", (_one_channel_silent(), 8, 0)),
        Case("negative weights only", (-_noise(3, 2, 3, 3, seed=5).abs(), 5, 0)),
    ),
    mistakes=(
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

EXERCISES: tuple[Exercise, ...] = (_CHANNELS_TO_KEEP, _QUANTISE)
