"""Answers to the exercises of 11, for test_unusual_answers.py."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def by_linspace(height, width, scale):
    """From the middle of the first pixel to that of the last."""
    counts = [math.ceil(height * scale), math.ceil(width * scale)]
    first = 0.5 / scale - 0.5
    return [np.linspace(first, first + (n - 1) / scale, n) for n in counts]


def pixel_by_pixel(height, width, scale):
    def side(size):
        return np.array([(2 * i + 1 - scale) / (2 * scale) for i in range(math.ceil(size * scale))])

    return side(height), side(width)


def in_torch(height, width, scale):
    sides = (torch.arange(math.ceil(n * scale), dtype=torch.float64) for n in (height, width))
    return tuple(((side + 0.5) / scale - 0.5).numpy() for side in sides)


def by_edges(height, width, scale):
    """The mean of a pixel's two edges."""
    result = []
    for size in (height, width):
        edges = np.arange(math.ceil(size * scale) + 1) / scale
        result.append((edges[1:] + edges[:-1]) / 2 - 0.5)
    return tuple(result)


def by_running_sum(height, width, scale):
    counts = (-int(-height * scale // 1), -int(-width * scale // 1))
    return tuple(np.cumsum(np.full(n, 1 / scale)) - 0.5 / scale - 0.5 for n in counts)


def one_grid(height, width, scale):
    """Both with as many as the rows."""
    rows = by_edges(height, height, scale)[0]
    return rows, rows


def rounded_to_nearest_count(height, width, scale):
    return tuple((np.arange(round(n * scale)) + 0.5) / scale - 0.5 for n in (height, width))


def scale_of_the_lr_half(height, width, scale):
    return tuple(
        (np.arange(math.ceil(n * scale)) + 0.5 - 0.5 * scale) * scale for n in (height, width)
    )


def with_while(size, tile, halo):
    spans, start = [], 0
    while start < size:
        stop = start + tile if start + tile < size else size
        first = start - halo if start > halo else 0
        last = stop + halo if stop + halo < size else size
        spans.append((start, stop, first, last))
        start = stop
    return spans


def by_clip(size, tile, halo):
    starts = np.arange(0, size, tile)
    stops = np.minimum(starts + tile, size)
    ends = (starts - halo).clip(0), (stops + halo).clip(max=size)
    return np.stack([starts, stops, *ends], axis=1).tolist()


def by_pixels(size, tile, halo):
    """Collect the pixels of each tile, then those within reach."""
    spans = []
    for k in range((size + tile - 1) // tile):
        own = [i for i in range(size) if i // tile == k]
        near = [i for i in range(size) if own[0] - halo <= i <= own[-1] + halo]
        spans.append((own[0], own[-1] + 1, near[0], near[-1] + 1))
    return spans


def by_slices(size, tile, halo):
    places = range(size)
    tiles = [places[start : start + tile] for start in places[::tile]]
    return [
        (t[0], t[-1] + 1, *(f(x) for f, x in ((lambda a: max(a - halo, 0), t[0]),
                                             (lambda b: min(b + 1 + halo, size), t[-1]))))
        for t in tiles
    ]  # fmt: skip


def by_bounds(size, tile, halo):
    bounds = [*range(0, size, tile), size]
    return [
        (a, b, max(a - halo, 0), min(b + halo, size))
        for a, b in zip(bounds, bounds[1:], strict=False)
    ]


def halo_in_front_only(size, tile, halo):
    return [(a, b, first, b) for a, b, first, _ in with_while(size, tile, halo)]


def half_the_halo(size, tile, halo):
    return with_while(size, tile, halo // 2)


def inclusive(size, tile, halo):
    return [(a, b - 1, c, d - 1) for a, b, c, d in with_while(size, tile, halo)]


def by_unfold(x, side):
    n, c, _, _ = x.shape
    columns = F.unfold(x, side, stride=side)  # (N, C * side * side, windows)
    return columns.reshape(n, c, side * side, -1).permute(0, 3, 2, 1).flatten(0, 1)


def by_cutting(x, side):
    rows = [part for image in x for part in image.split(side, dim=1)]
    return torch.stack([w.flatten(1).T for row in rows for w in row.split(side, dim=2)])


def by_tensor_unfold(x, side):
    windows = x.unfold(2, side, side).unfold(3, side, side)  # (N, C, rows, columns, side, side)
    return windows.permute(0, 2, 3, 4, 5, 1).reshape(-1, side * side, x.shape[1])


def by_unshuffle(x, side):
    n, c, h, w = x.shape
    x = F.pixel_unshuffle(x, side).reshape(n, c, side * side, h // side, w // side)
    return x.permute(0, 3, 4, 2, 1).reshape(n * h * w // side**2, side**2, c)


def by_index(x, side):
    n, c, h, w = x.shape
    numbers = np.arange(h * w).reshape(h // side, side, w // side, side)
    places = torch.from_numpy(numbers.transpose(0, 2, 1, 3).reshape(-1))
    return x.flatten(2)[:, :, places].mT.reshape(-1, side * side, c)


def in_channels_last(x, side):
    x = x.contiguous(memory_format=torch.channels_last).movedim(1, -1)
    x = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # (N, rows, side, columns, side, C)
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def side_and_count_mixed(x, side):
    n, c, h, w = x.shape
    x = x.reshape(n, c, side, h // side, side, w // side)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, c)


def through_numpy(x, side):
    return torch.from_numpy(np.asarray(by_unfold(x.detach(), side)))


def mirrored(x, side):
    return by_unfold(x.mT, side)


RIGHT = {
    "11.1": [by_linspace, pixel_by_pixel, in_torch, by_edges, by_running_sum],
    "11.2": [with_while, by_clip, by_pixels, by_slices, by_bounds],
    "11.3": [
        *(by_unfold, by_cutting, by_tensor_unfold, by_unshuffle, by_index, in_channels_last),
    ],
}
WRONG = {
    "11.1": [one_grid, rounded_to_nearest_count, scale_of_the_lr_half],
    "11.2": [halo_in_front_only, half_the_halo, inclusive],
    "11.3": [side_and_count_mixed, through_numpy, mirrored],
}
