"""Exercises: any scale, tiles, windows."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.probes import no_gradient, with_gradients

__all__ = ["EXERCISES"]


# The output grid


def _centres(size, scale):
    return (np.arange(math.ceil(size * scale)) + 0.5) / scale - 0.5


def _grid_by(side):
    """Make an answer from a function for one side."""
    return lambda height, width, scale: (side(height, scale), side(width, scale))


def _whole_steps(size, scale):
    return np.arange(math.ceil(size * scale)) / scale


def _from_the_edge(size, scale):
    return (np.arange(math.ceil(size * scale)) + 0.5) / scale


def _corners_on_corners(size, scale):
    return np.linspace(0, size - 1, math.ceil(size * scale))


def _stretched(size, scale):
    count = math.ceil(size * scale)
    return (np.arange(count) + 0.5) * size / count - 0.5


def _wrong_way(size, scale):
    return (np.arange(math.ceil(size * scale)) + 0.5) * scale - 0.5


def _half_of_the_wrong_pixel(size, scale):
    return np.arange(math.ceil(size * scale)) / scale - 0.5


def _shifted_back_first(size, scale):
    return (np.arange(math.ceil(size * scale)) - 0.5) / scale + 0.5


def _nearest(size, scale):
    return np.floor(_centres(size, scale) + 0.5)


def _clipped(size, scale):
    return _centres(size, scale).clip(0, size - 1)


def _minus_one_to_one(size, scale):
    count = math.ceil(size * scale)
    return (2 * np.arange(count) + 1) / count - 1


_OUTPUT_GRID = Exercise(
    title="output grid",
    reference=lambda height, width, scale: (_centres(height, scale), _centres(width, scale)),
    cases=lambda: (
        Case("enlarged by 2", (3, 5, 2)),
        Case("enlarged by 2.5", (5, 4, 2.5)),
        Case("a scale that leaves a rest", (4, 7, 3.3)),
        Case("scale 1", (3, 2, 1)),
    ),
    redraw=lambda random: tuple(
        (int(random.integers(6, 10)), int(random.integers(3, 10)), scale)
        for scale in (2, 2.5, 3.3, 1)
    ),
    tolerance=1e-5,
    mistakes=(
        Mistake(
            lambda height, width, scale: (_centres(width, scale), _centres(height, scale)),
            "The two are swapped: rows come first, and there are as many as the height asks for.",
        ),
        Mistake(
            _grid_by(_whole_steps),
            "Output pixel 0 sits on the centre of input pixel 0, so the picture is shifted by part "
            "of a pixel. What must coincide are the edges of the two pictures.",
        ),
        Mistake(
            _grid_by(_from_the_edge),
            "Positions are counted from the picture's edge here. Input pixel 0 has its centre half "
            "a pixel from that edge, and its position is to be 0.",
        ),
        Mistake(
            _grid_by(_corners_on_corners),
            "This puts the centres of the corner pixels on each other (align_corners=True). The "
            "step between two pixels is then no longer 1 / scale.",
        ),
        Mistake(
            _grid_by(_stretched),
            "The step follows from the sizes, which were rounded. Where scale times size is no "
            "whole number, it must still be 1 / scale.",
        ),
        Mistake(
            _grid_by(_wrong_way),
            "These are positions in the output's pixels. An output pixel is smaller than an input "
            "pixel, by the scale.",
        ),
        Mistake(
            _grid_by(_half_of_the_wrong_pixel),
            "The half pixel is taken off, but not put on before: output pixel i has its centre at "
            "i + 0.5, counted from the edge.",
        ),
        Mistake(
            _grid_by(_shifted_back_first),
            "The two halves have the wrong signs. Go from the centre to the edge first (plus), "
            "change the unit, then go back to the centre (minus).",
        ),
        Mistake(
            _grid_by(_nearest),
            "The positions are rounded to whole pixels. Between two pixels is where it gets "
            "interesting: keep the fractions.",
        ),
        Mistake(
            _grid_by(lambda size, scale: _centres(size, scale).astype(int)),
            "astype(int) cuts the fractions off. Between two pixels is where it gets interesting: "
            "keep them.",
        ),
        Mistake(
            _grid_by(_clipped),
            "The outermost positions are clipped. They lie beyond the centre of the border pixel, "
            "and may be negative.",
        ),
        Mistake(
            _grid_by(_minus_one_to_one),
            "These positions run from -1 to 1, as grid_sample wants them. Here the unit is the "
            "input pixel.",
        ),
        Mistake(
            _grid_by(lambda size, scale: _centres(math.floor(size * scale) / scale, scale)),
            "A pixel is missing where scale times size is no whole number. Round the number of "
            "output pixels up, as imresize does.",
        ),
    ),
    hints=(
        "Lay both pictures over each other, edge on edge. Where is the middle of output pixel 0, "
        "measured from the edge in output pixels? And in input pixels?",
        "math.ceil(size * scale) pixels. From the edge, centre i is at (i + 0.5) output pixels; "
        "divide by the scale; input pixel 0 has its centre at 0.5 from the edge and is to be 0.",
        "For one side: (np.arange(math.ceil(size * scale)) + 0.5) / scale - 0.5",
    ),
)


# Tiles with a halo


def _tile_spans(size, tile, halo):
    return [
        (start, min(start + tile, size), max(0, start - halo), min(size, start + tile + halo))
        for start in range(0, size, tile)
    ]


def _spans(size, tile, halo, *, starts=range, stop=min, first=None, last=None):
    """Make the list with one thing done in another way."""
    result = []
    for start in starts(0, size, tile):
        end = stop(start + tile, size)
        result.append(
            (
                start,
                end,
                max(0, start - halo) if first is None else first(start, halo),
                min(size, end + halo) if last is None else last(end, halo),
            )
        )
    return result


def _shorter_steps(size, tile, halo):
    step = max(1, tile - 2 * halo)
    return [
        (start, min(start + tile, size), max(0, start - halo), min(size, start + tile + halo))
        for start in range(0, size, step)
    ]


def _last_moved_back(size, tile, halo):
    starts = [min(start, max(0, size - tile)) for start in range(0, size, tile)]
    return [(s, min(s + tile, size), max(0, s - halo), min(size, s + tile + halo)) for s in starts]


_TILE_SPANS = Exercise(
    title="tiles with a halo",
    reference=_tile_spans,
    cases=lambda: (
        Case("a last tile that is shorter", (11, 4, 1)),
        Case("tiles that fit", (12, 4, 2)),
        Case("a halo as wide as the tile", (10, 3, 3)),
        Case("one tile, larger than the image", (5, 8, 2)),
        Case("no halo", (7, 3, 0)),
    ),
    redraw=lambda random: tuple(
        (tile * int(random.integers(4, 9)) + rest if rest < tile else 6, tile, halo)
        for tile, rest, halo in ((4, 3, 1), (4, 0, 2), (3, 1, 3), (9, 9, 2), (3, 1, 0))
    ),
    mistakes=(
        Mistake(
            lambda size, tile, halo: _spans(
                size, tile, halo, first=lambda start, h: start - h, last=lambda end, h: end + h
            ),
            "The window leaves the image at its border. A negative index counts from the end, so "
            "the network would see the wrong side.",
        ),
        Mistake(
            lambda size, tile, halo: _spans(size, tile, halo, first=lambda start, h: start - h),
            "The first window starts below 0. A negative index counts from the image's end.",
        ),
        Mistake(
            lambda size, tile, halo: _spans(size, tile, halo, last=lambda end, h: end + h),
            "The last window goes beyond the image. Python's slices forgive that, the arithmetic "
            "of what to cut off afterwards does not.",
        ),
        Mistake(
            lambda size, tile, halo: _tile_spans(size, tile, halo)[: size // tile],
            "The last tile is missing where the size is no multiple of the tile.",
        ),
        Mistake(
            lambda size, tile, halo: [
                (start, start + tile, first, last)
                for start, _, first, last in _tile_spans(size, tile, halo)
            ],
            "The last tile is too long: stop may not be larger than the size.",
        ),
        Mistake(
            _shorter_steps,
            "The tiles overlap. Only what the network sees overlaps; what it delivers starts where "
            "the tile before stopped.",
        ),
        Mistake(
            _last_moved_back,
            "The last tile was moved back to have its full length, so it overlaps the one before. "
            "Here it is simply shorter.",
        ),
        Mistake(
            lambda size, tile, halo: _spans(size, tile, halo, first=lambda start, h: start),
            "There is no halo at the start of a tile. The network looks in both directions.",
        ),
        Mistake(
            lambda size, tile, halo: _spans(size, tile, halo, last=lambda end, h: end),
            "There is no halo at the end of a tile. The network looks in both directions.",
        ),
        Mistake(
            lambda size, tile, halo: _tile_spans(size, tile, 0),
            "The windows have no halo: each tile is computed as if nothing were around it.",
        ),
        Mistake(
            lambda size, tile, halo: [
                (start, stop, start - first, last - stop)
                for start, stop, first, last in _tile_spans(size, tile, halo)
            ],
            "First and last are the widths of the halo here. They are to be places in the image, "
            "as start and stop are.",
        ),
        Mistake(
            lambda size, tile, halo: [
                (first, last, start, stop)
                for start, stop, first, last in _tile_spans(size, tile, halo)
            ],
            "The two pairs are swapped: first the tile (start, stop), then the larger window.",
        ),
    ),
    hints=(
        "Leave the halo out at first: tiles from 0 in steps of tile, and the last one may be "
        "shorter. What does min do to its end?",
        "range(0, size, tile) gives the starts. Then first is start minus the halo, but not below "
        "0, and last is stop plus the halo, but not above the size.",
        "For each start: stop = min(start + tile, size), then "
        "(start, stop, max(0, start - halo), min(size, stop + halo))",
    ),
)


# Windows


def _to_windows(x, side):
    return _windows_in(x, side, (0, 2, 4, 3, 5, 1))


def _windows_in(x, side, order):
    """Bring (image, channel, window row, row, window column, column) into an order."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // side, side, w // side, side)
    return x.permute(order).reshape(-1, side * side, c)


def _strips(x, side):
    return x.permute(0, 2, 3, 1).reshape(-1, side * side, x.shape[1])


def _spread(x, side):
    n, c, h, w = x.shape
    x = x.reshape(n, c, side, h // side, side, w // side)
    return x.permute(0, 3, 5, 2, 4, 1).reshape(-1, side * side, c)


def _window_cases():
    random = torch.Generator().manual_seed(11)

    def picture(*shape):
        return torch.randn(shape, generator=random)

    return (
        Case("one channel", (torch.arange(16.0).reshape(1, 1, 4, 4), 2)),
        Case("two images, wider than high", (picture(2, 3, 4, 6), 2)),
        Case("higher than wide", (picture(1, 2, 9, 3), 3)),
        Case("one window", (picture(2, 2, 4, 4), 4)),
        Case("windows of one pixel", (picture(1, 2, 2, 3), 1)),
    )


_TO_WINDOWS = Exercise(
    title="find the bug: windows that are strips",
    reference=_to_windows,
    probe=with_gradients,
    cases=_window_cases,
    mistakes=(
        Mistake(
            _strips,
            "A window holds side * side pixels of one row and the next, as they follow in memory, "
            "and no square. That was the bug.",
        ),
        Mistake(
            lambda x, side: x.reshape(-1, side * side, x.shape[1]),
            "Channels and pixels are mixed up: reshape alone moves nothing in memory. The axes "
            "have to be put in order before.",
        ),
        Mistake(
            lambda x, side: x.permute(0, 2, 3, 1).reshape(-1, side * side, x.shape[1]).flip(1),
            "The pixels of a window stand in the wrong order, and come from a strip, no square.",
        ),
        Mistake(
            _spread,
            "A window holds pixels that lie apart, from all over the picture. Which of the two "
            "axes, the number of windows or the side, comes first when an axis is split?",
        ),
        Mistake(
            lambda x, side: _windows_in(x, side, (0, 2, 4, 5, 3, 1)),
            "The pixels within a window go column by column. They are to go row by row.",
        ),
        Mistake(
            lambda x, side: _windows_in(x, side, (0, 4, 2, 3, 5, 1)),
            "The windows go column by column. They are to go row by row.",
        ),
        Mistake(
            lambda x, side: _windows_in(x, side, (2, 4, 0, 3, 5, 1)),
            "Windows of different images alternate. All windows of the first image come first.",
        ),
        Mistake(
            lambda x, side: _to_windows(x[:1], side),
            "Only the first image of the batch becomes windows.",
        ),
        Mistake(
            lambda x, side: _to_windows(x, side).mT,
            "The channels stand before the pixels. They are to be the last axis.",
        ),
        Mistake(
            lambda x, side: F.unfold(x, side, stride=side).mT.reshape(-1, side**2, x.shape[1]),
            "The channels stand before the pixels when the axes are joined, so both get mixed. Put "
            "the channels last, then reshape. F.unfold gives them in this order, too.",
        ),
        no_gradient(_to_windows),
    ),
    hints=(
        "Number the pixels of a picture of 4 x 4 and look at what lies in each window.",
        "Split both sides: x.reshape(n, c, h // side, side, w // side, side). Which of these six "
        "axes say which window it is, which say which pixel of it?",
        "Then .permute(0, 2, 4, 3, 5, 1): image, window row, window column, row, column, channel; "
        "and .reshape(-1, side * side, c)",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_OUTPUT_GRID, _TILE_SPANS, _TO_WINDOWS)
