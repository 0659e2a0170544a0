"""Answers to the exercises of 13, for test_unusual_answers.py."""

import heapq

import numpy as np
import torch
import torch.nn.functional as F

from srlib.exercises import get_exercise

quantise = get_exercise("13.2").reference


# 13.1


def by_numpy(weight, count):
    norms = np.abs(weight.numpy()).reshape(len(weight), -1).sum(axis=1)
    return np.sort(np.argsort(norms)[-count:])


def a_list_by_sorting(weight, count):
    norms = [float(filter_.abs().sum()) for filter_ in weight]
    return sorted(sorted(range(len(norms)), key=norms.__getitem__, reverse=True)[:count])


def a_tuple_from_a_heap(weight, count):
    norms = torch.linalg.vector_norm(weight, ord=1, dim=(1, 2, 3)).tolist()
    return tuple(sorted(n for _, n in heapq.nlargest(count, zip(norms, range(len(norms))))))  # noqa: B905


def by_a_threshold(weight, count):
    norms = weight.flatten(1).norm(p=1, dim=1)
    return torch.nonzero(norms >= norms.sort(descending=True).values[count - 1]).flatten()


def by_a_mask(weight, count):
    mask = torch.zeros(weight.shape[0], dtype=torch.bool)
    mask[weight.abs().mean((1, 2, 3)).argsort()[-count:]] = True  # all filters are equally long
    return torch.arange(len(mask))[mask].int()


def tensors_in_a_list(weight, count):
    keep = set(torch.topk(weight.abs().sum((-1, -2)).sum(-1), count)[1].tolist())
    return [n for n in torch.arange(len(weight)) if int(n) in keep]


def a_mask_itself(weight, count):
    mask = torch.zeros(weight.shape[0], dtype=torch.bool)
    mask[weight.abs().sum((1, 2, 3)).topk(count).indices] = True
    return mask


def counted_from_one(weight, count):
    return by_numpy(weight, count) + 1


def as_floats(weight, count):
    return by_numpy(weight, count).astype(float)


def one_too_few(weight, count):
    return by_numpy(weight, count)[1:]


def largest_norm_along_axis_1(weight, count):
    return weight.abs().sum(1).amax((1, 2)).topk(count).indices.sort().values


def the_weights_that_stay(weight, count):
    return weight[by_numpy(weight, count)]


# 13.2


def channel_by_channel(weight, bits, axis=None):
    if axis is not None:
        return torch.stack([channel_by_channel(w, bits) for w in weight.unbind(axis)], dim=axis)
    largest = float(weight.abs().max())
    if largest == 0:
        return torch.zeros_like(weight)
    step = largest / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


def by_rint(weight, bits, axis=None):
    w = weight.numpy()
    others = None if axis is None else tuple(n for n in range(4) if n != axis)
    step = np.abs(w).max(axis=others, keepdims=True) / ((1 << (bits - 1)) - 1)
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.nan_to_num(np.rint(w / step)) * step)


def by_moving_the_axis(weight, bits, axis=None):
    moved = weight[None] if axis is None else weight.movedim(axis, 0)
    flat = moved.flatten(1)
    step = flat.abs().max(1, keepdim=True)[0].clamp(min=1e-300) / (2 ** (bits - 1) - 1)
    rounded = (torch.floor(flat / step + 0.5) * step).reshape(moved.shape)
    return rounded[0] if axis is None else rounded.movedim(0, axis)


def by_the_nearest_level(weight, bits, axis=None):
    levels = torch.arange(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), dtype=weight.dtype)
    if axis is None:
        largest = weight.abs().max()
    else:
        largest = weight.abs().amax(tuple({0, 1, 2, 3} - {axis}), keepdim=True)
    grid = largest[..., None] * levels / levels.max()  # (..., levels)
    nearest = (weight[..., None] - grid).abs().argmin(-1, keepdim=True)
    return grid.expand(*weight.shape, -1).gather(-1, nearest)[..., 0]


def from_normalised(weight, bits, axis=None):
    dims = (0, 1, 2, 3) if axis is None else tuple(n for n in range(4) if n != axis)
    largest = torch.linalg.vector_norm(weight, ord=float("inf"), dim=dims, keepdim=True)
    top = 2 ** (bits - 1) - 1
    return torch.nan_to_num((weight / largest * top).round() / top * largest)


def a_step_of_its_own_type(weight, bits, axis=None):
    return channel_by_channel(weight, bits, axis).clone().contiguous() + 0.0


def one_level_short(weight, bits, axis=None):
    return channel_by_channel(weight, bits - 1, axis) if bits > 2 else weight * 0


def mean_for_largest(weight, bits, axis=None):
    step = weight.abs().mean() / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


def rounded_up(weight, bits, axis=None):
    top = 2 ** (bits - 1) - 1
    largest = weight.abs().max() if axis is None else channel_largest(weight, axis)
    return torch.nan_to_num(torch.ceil(weight / largest * top) / top * largest)


def channel_largest(weight, axis):
    return weight.abs().amax([n for n in range(4) if n != axis], keepdim=True)


def as_integers(weight, bits, axis=None):
    top = 2 ** (bits - 1) - 1
    largest = weight.abs().max() if axis is None else channel_largest(weight, axis)
    return torch.nan_to_num(weight / largest * top).round().to(torch.int8)


def decimals(weight, bits, axis=None):
    return weight.round(decimals=bits)


# 13.3


class Staircase(torch.autograd.Function):
    @staticmethod
    def forward(context, weight, bits, axis):
        return quantise(weight, bits, axis)

    @staticmethod
    def backward(context, gradient):
        return gradient, None, None


def by_a_function(weight, bits, axis=None):
    return Staircase.apply(weight, bits, axis)


def error_subtracted(weight, bits, axis=None):
    return weight - (weight - quantise(weight, bits, axis)).detach()


def without_gradients(weight, bits, axis=None):
    with torch.no_grad():
        change = quantise(weight, bits, axis) - weight
    return weight + change


def rounded_plus_nothing(weight, bits, axis=None):
    return quantise(weight, bits, axis).detach() + (weight - weight.detach())


def by_a_hook(weight, bits, axis=None):
    class Given(torch.autograd.Function):
        @staticmethod
        def forward(context, exact, rounded):
            return rounded.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient, None

    return Given.apply(weight, quantise(weight.detach(), bits, axis))


def both_steps_cut_off(weight, bits, axis=None):
    w = weight.detach()
    top = 2 ** (bits - 1) - 1
    step = (w.abs().max() if axis is None else channel_largest(w, axis)) / top
    step = step.clamp(min=1e-300)
    whole = weight / step
    return (whole + (whole.round() - whole).detach()) * step


def by_data(weight, bits, axis=None):
    result = weight.clone()
    result.data = quantise(weight.data, bits, axis)
    return result


def a_smooth_staircase(weight, bits, axis=None):
    return weight - 0.1 * torch.sin(weight)


def half_of_each(weight, bits, axis=None):
    return (quantise(weight, bits, axis).detach() + weight) / 2


def twice_the_gradient(weight, bits, axis=None):
    return 2 * weight + (quantise(weight, bits, axis) - 2 * weight).detach()


def only_small_weights_learn(weight, bits, axis=None):
    small = (weight.abs() < 0.5).to(weight.dtype)
    return weight * small + (quantise(weight, bits, axis) - weight * small).detach()


def written_into(weight, bits, axis=None):
    weight.data.copy_(quantise(weight.data, bits, axis))
    return weight


def a_new_leaf(weight, bits, axis=None):
    return quantise(weight, bits, axis).detach().requires_grad_()


def squashed(weight, bits, axis=None):
    soft = F.hardtanh(weight)
    return soft + (quantise(weight, bits, axis) - soft).detach()


# 13.4


def a_list_of_booleans(costs, quality):
    files = [(*cost, -good) for cost, good in zip(costs, quality, strict=True)]
    return [
        not any(f != g and all(a <= b for a, b in zip(f, g, strict=True)) for f in files)
        for g in files
    ]


def by_broadcasting(costs, quality):
    table = np.column_stack([costs, -quality])
    as_good = (table[:, None] <= table).all(axis=2)
    return ~(as_good & ~as_good.T).any(axis=0)


def as_a_tensor(costs, quality):
    table = torch.tensor(np.c_[costs, -quality])
    as_good = (table[:, None] <= table).all(-1)
    same = (table[:, None] == table).all(-1)
    return ~(as_good & ~same).any(0)


def step_by_step(costs, quality):
    order = np.lexsort([*costs.T[::-1], -quality])
    result = np.zeros(len(quality), dtype=bool)
    kept = []
    for n in order:
        row = np.append(costs[n], -quality[n])
        result[n] = not any((k <= row).all() and (k < row).any() for k in kept)
        if result[n]:
            kept.append(row)
    return result


def by_unique_rows(costs, quality):
    table = np.unique(np.column_stack([costs, -quality]), axis=0)
    best = {tuple(r) for r in table if sum((s <= r).all() for s in table) == 1}
    return [(*c, -q) in best for c, q in zip(costs, quality, strict=True)]


def a_column_of_booleans(costs, quality):
    return by_broadcasting(costs, quality)[:, None]


def the_best_only(costs, quality):
    return quality == quality.max()


def the_first_cost_only(costs, quality):
    return by_broadcasting(costs[:, :1], quality)


def cheapest_or_best(costs, quality):
    return (costs == costs.min(axis=0)).any(axis=1) | (quality == quality.max())


def one_of_those_alike(costs, quality):
    table = np.column_stack([costs, -quality])
    first = np.zeros(len(table), dtype=bool)
    first[np.unique(table, axis=0, return_index=True)[1]] = True
    return by_broadcasting(costs, quality) & first


def all_of_them(costs, quality):
    return np.ones(len(quality), dtype=bool)


RIGHT = {
    "13.1": [
        *(by_numpy, a_list_by_sorting, a_tuple_from_a_heap, by_a_threshold, by_a_mask),
        tensors_in_a_list,
    ],
    "13.2": [
        *(channel_by_channel, by_rint, by_moving_the_axis, by_the_nearest_level, from_normalised),
        a_step_of_its_own_type,
    ],
    "13.3": [
        *(by_a_function, error_subtracted, without_gradients, rounded_plus_nothing, by_a_hook),
        *(both_steps_cut_off, by_data),
    ],
    "13.4": [a_list_of_booleans, by_broadcasting, as_a_tensor, step_by_step, by_unique_rows],
}
WRONG = {
    "13.1": [
        *(a_mask_itself, counted_from_one, as_floats, one_too_few, largest_norm_along_axis_1),
        the_weights_that_stay,
    ],
    "13.2": [one_level_short, mean_for_largest, rounded_up, as_integers, decimals],
    "13.3": [
        *(a_smooth_staircase, half_of_each, twice_the_gradient, only_small_weights_learn),
        *(written_into, a_new_leaf, squashed),
    ],
    "13.4": [
        *(a_column_of_booleans, the_best_only, the_first_cost_only, cheapest_or_best),
        *(one_of_those_alike, all_of_them),
    ],
}
