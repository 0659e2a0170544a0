"""Answers to the exercises of 12, for test_unusual_answers.py."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def by_padding(weight3, bias3, weight1, bias1):
    eye = torch.eye(len(bias1), dtype=weight1.dtype)[..., None, None]
    return weight3 + F.pad(weight1 + eye, [1] * 4), torch.stack([bias3, bias1]).sum(0)


def by_the_impulse_response(weight3, bias3, weight1, bias1):
    """What comes out where one channel has one bright pixel, turned round."""
    channels = len(bias3)
    dots = torch.zeros(channels, channels, 5, 5, dtype=weight3.dtype)
    dots[range(channels), range(channels), 2, 2] = 1
    seen = F.conv2d(dots, weight3, padding=1) + F.conv2d(dots, weight1) + dots
    return seen[:, :, 1:4, 1:4].flip(2, 3).transpose(0, 1), bias1 + bias3


def by_loops(weight3, bias3, weight1, bias1):
    weight = weight3.detach().clone()
    for o in range(len(weight)):
        weight[o, o, 1, 1] += 1.0
        for i in range(len(weight)):
            weight[o, i, 1, 1] += weight1[o, i].item()
    return [weight, bias3.add(bias1)]


def in_numpy(weight3, bias3, weight1, bias1):
    middle = np.zeros((3, 3))
    middle[1, 1] = 1
    points = weight1.numpy()[:, :, 0, 0] + np.identity(len(bias3))
    weight = weight3.numpy() + np.multiply.outer(points, middle)
    return torch.from_numpy(weight), torch.from_numpy(bias3.numpy() + bias1.numpy())


def by_dirac(weight3, bias3, weight1, bias1):
    """The identity as torch makes it, the 1x1 kernel upsampled with zeros around it."""
    identity = nn.init.dirac_(torch.empty_like(weight3))
    frame = torch.zeros(1, 1, 3, 3, dtype=weight1.dtype)
    frame[..., 1, 1] = 1
    return weight3 + identity + weight1 * frame, bias3 + bias1


def identity_too_weak(weight3, bias3, weight1, bias1):
    weight, bias = by_padding(weight3, bias3, weight1, bias1)
    return weight - 0.01 * torch.eye(len(bias))[..., None, None], bias


def only_the_weight(weight3, bias3, weight1, bias1):
    return by_padding(weight3, bias3, weight1, bias1)[0]


def bias_twice(weight3, bias3, weight1, bias1):
    return by_padding(weight3, bias3, weight1, bias1)[0], bias3 + 2 * bias1


def chain_by_matrices(weight1, bias1, weight3, bias3):
    weight = (weight3.permute(2, 3, 0, 1) @ weight1[:, :, 0, 0]).permute(2, 3, 0, 1)
    return weight, bias3 + weight3.sum((2, 3)) @ bias1


def chain_by_convolution(weight1, bias1, weight3, bias3):
    """The 3x3 kernels are pictures with M channels."""
    weight = F.conv2d(weight3, weight1.transpose(0, 1))
    grey = bias1[None, :, None, None].expand(1, -1, 3, 3)
    return weight, F.conv2d(grey, weight3, bias3).flatten()


def chain_by_impulses(weight1, bias1, weight3, bias3):
    inputs = weight1.shape[1]
    nothing = torch.zeros(1, inputs, 5, 5, dtype=weight1.dtype)
    dots = torch.zeros(inputs, inputs, 5, 5, dtype=weight1.dtype)
    dots[range(inputs), range(inputs), 2, 2] = 1
    bias = F.conv2d(F.conv2d(nothing, weight1, bias1), weight3, bias3)[0, :, 0, 0]
    seen = F.conv2d(F.conv2d(dots, weight1), weight3)
    return seen.flip(-1, -2).transpose(0, 1), bias


def chain_by_loops(weight1, bias1, weight3, bias3):
    weight, bias = torch.zeros(len(bias3), weight1.shape[1], 3, 3), bias3.clone()
    for o, m in np.ndindex(*weight3.shape[:2]):
        bias[o] += bias1[m] * weight3[o, m].sum()
        for i in range(weight1.shape[1]):
            weight[o, i] += weight3[o, m] * weight1[m, i, 0, 0]
    return weight, bias


def chain_in_numpy(weight1, bias1, weight3, bias3):
    one, three = weight1.numpy()[..., 0, 0], weight3.numpy()
    weight = np.moveaxis(np.tensordot(three, one, axes=(1, 0)), -1, 1)
    bias = np.tensordot(three.sum(axis=(2, 3)), bias1.numpy(), axes=1) + bias3.numpy()
    return torch.tensor(weight), torch.tensor(bias)


def chain_with_the_corner(weight1, bias1, weight3, bias3):
    return chain_by_matrices(weight1, bias1, weight3, bias3)[0], bias3 + weight3[..., 0, 0] @ bias1


def chain_turned(weight1, bias1, weight3, bias3):
    weight, bias = chain_by_matrices(weight1, bias1, weight3, bias3)
    return weight.flip(2, 3), bias


def chain_with_absolute_sum(weight1, bias1, weight3, bias3):
    weight = chain_by_matrices(weight1, bias1, weight3, bias3)[0]
    return weight, bias3 + weight3.abs().sum((2, 3)) @ bias1


def by_broadcasting(ms, db):
    as_good = (ms[:, None] <= ms) & (db[:, None] >= db)
    better = (ms[:, None] < ms) | (db[:, None] > db)
    (front,) = np.nonzero(~(as_good & better).any(axis=0))
    return front[np.argsort(ms[front], kind="stable")]


def by_sorting(ms, db):
    front, best = [], -np.inf
    for i in np.lexsort((range(len(ms)), -db, ms)):
        if db[i] > best or (front and (ms[i], db[i]) == (ms[front[-1]], db[front[-1]])):
            front, best = [*front, i], db[i]
    return front


def by_cumulative_best(ms, db):
    order = np.lexsort((-db, ms))
    before = np.maximum.accumulate(np.r_[-np.inf, db[order][:-1]])
    points = {(ms[i], db[i]) for i, best in zip(order, before, strict=True) if db[i] > best}
    return sorted((i for i in range(len(ms)) if (ms[i], db[i]) in points), key=lambda i: (ms[i], i))


def by_removing(ms, db):
    left = list(range(len(ms)))
    for i in range(len(ms)):
        left = [
            j
            for j in left
            if not (ms[i] <= ms[j] and db[i] >= db[j] and (ms[i], db[i]) != (ms[j], db[j]))
        ]
    return tuple(sorted(left, key=ms.__getitem__))


def in_torch(ms, db):
    points = torch.stack([torch.as_tensor(ms), -torch.as_tensor(db)])
    one, other = points[:, :, None], points[:, None]
    worse = (one <= other).all(0) & (one < other).any(0)
    front = torch.nonzero(~worse.any(0)).flatten()
    return front[torch.argsort(torch.as_tensor(ms)[front], stable=True)].tolist()


def no_equal_points(ms, db):
    front = by_broadcasting(ms, db)
    _, first = np.unique(np.stack([ms[front], db[front]]), axis=1, return_index=True)
    return front[np.sort(first)]


def the_best_first(ms, db):
    return sorted(by_sorting(ms, db), key=lambda i: -db[i])


def faster_than_the_mean(ms, db):
    return [i for i in by_sorting(ms, db) if ms[i] <= ms.mean()]


RIGHT = {
    "12.1": [by_padding, by_the_impulse_response, by_loops, in_numpy, by_dirac],
    "12.2": [
        chain_by_matrices,
        chain_by_convolution,
        chain_by_impulses,
        chain_by_loops,
        chain_in_numpy,
    ],
    "12.3": [by_broadcasting, by_sorting, by_cumulative_best, by_removing, in_torch],
}
WRONG = {
    "12.1": [identity_too_weak, only_the_weight, bias_twice],
    "12.2": [chain_with_the_corner, chain_turned, chain_with_absolute_sum],
    "12.3": [no_equal_points, the_best_first, faster_than_the_mean],
}
