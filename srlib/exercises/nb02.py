"""Exercises: interpolation."""

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image
from srlib.resample import cubic, resize_matrix

__all__ = ["EXERCISES"]


# The cubic kernel


def _cubic_weight(x, a):
    return cubic(a).function(np.asarray(x, dtype=float))


def _cubic_formula(x, a):
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return near, far


def _cubic_signed(x, a):
    near, far = _cubic_formula(x, a)
    return np.where(np.abs(x) <= 1, near, np.where(np.abs(x) <= 2, far, 0.0))


def _cubic_endless(x, a):
    near, far = _cubic_formula(np.abs(x), a)
    return np.where(np.abs(x) <= 1, near, far)


def _cubic_near_only(x, a):
    near, _ = _cubic_formula(np.abs(x), a)
    return np.where(np.abs(x) <= 1, near, 0.0)


_CUBIC_WEIGHT = Exercise(
    title="the cubic kernel",
    reference=_cubic_weight,
    cases=lambda: (
        Case("right of the centre, a = -0.5", (np.linspace(0, 1.9, 20), -0.5)),
        Case("left of the centre, a = -0.5", (np.linspace(-1.9, 0, 20), -0.5)),
        Case("a = -0.75", (np.linspace(-2, 2, 21), -0.75)),
        Case("far away", (np.array([-7.0, -2.5, 2.5, 3.0]), -0.5)),
        Case("whole distances, a = -1", (np.arange(-3.0, 4.0), -1.0)),
        Case("distances of shape (4, 5)", (np.linspace(-2.4, 2.4, 20).reshape(4, 5), -0.6)),
    ),
    mistakes=(
        Mistake(
            _cubic_signed,
            "The kernel is the same on both sides. The formula wants the distance, "
            "which is never negative.",
        ),
        Mistake(_cubic_endless, "Beyond a distance of 2 the kernel is zero."),
        Mistake(
            _cubic_near_only,
            "The part between the distances 1 and 2 is missing. There the kernel is negative.",
        ),
        Mistake(
            lambda x, a: _cubic_weight(x, -0.5),
            "The parameter a is not used everywhere. It seems to be fixed at -0.5.",
        ),
        Mistake(
            lambda x, a: _cubic_weight(x, -a),
            "The sign of a is turned round. a is negative, and so is the kernel beyond 1.",
        ),
    ),
    hints=(
        "Start with x = np.abs(x).",
        "Compute both formulas for all x, then choose with np.where(condition, this, that).",
        "np.where(x <= 1, near, np.where(x <= 2, far, 0.0))",
    ),
)


# Where output pixels lie


def _source_positions(out_size, scale):
    return (np.arange(out_size) + 0.5) / scale - 0.5


_SOURCE_POSITIONS = Exercise(
    title="where output pixels lie in the input",
    reference=_source_positions,
    cases=lambda: (
        Case("enlarging x2", (8, 2)),
        Case("enlarging x3", (9, 3)),
        Case("shrinking by 4", (5, 1 / 4)),
        Case("scale 1 changes nothing", (4, 1)),
        Case("enlarging x1.5", (7, 1.5)),
    ),
    redraw=lambda random: tuple((int(random.integers(10, 30)), s) for s in (2, 3, 1 / 4, 1, 1.5)),
    mistakes=(
        Mistake(
            lambda out_size, scale: np.arange(out_size) / scale,
            "The picture is shifted by a fraction of a pixel. Pixels are squares: "
            "the centre of pixel 0 lies at 0.5 from the edge.",
        ),
        Mistake(
            lambda out_size, scale: (np.arange(out_size) + 0.5) / scale,
            "This counts from the edge of the input. Its pixel 0 has its centre half a pixel in.",
        ),
        Mistake(
            lambda out_size, scale: (np.arange(out_size) + 0.5) * scale - 0.5,
            "The scale is used the wrong way round. Enlarging by 2 puts output pixels closer.",
        ),
        Mistake(
            lambda out_size, scale: np.linspace(0, round(out_size / scale) - 1, out_size),
            "This puts the first and last centres on each other (align_corners). "
            "The edges of the two pictures must agree, not their corner centres.",
        ),
        Mistake(
            lambda out_size, scale: np.floor(_source_positions(out_size, scale)),
            "These are whole pixels. The position itself has a fraction.",
        ),
    ),
    hints=(
        "Draw two rows of squares of the same total length, 4 large ones and 8 small ones.",
        "Output pixel i has its centre at (i + 0.5) output pixels from the edge. "
        "How many input pixels are that?",
        "Divide by scale, then subtract 0.5, since input pixel 0 has its centre at 0.5.",
    ),
)


# Resizing a row


def _resize_row(row, scale):
    return resize_matrix(len(row), scale) @ row


def _resize_row_variant(row, scale, *, stretch=True, shift=0.0, normalise=True, inside=None):
    """Resize a row with one thing done wrong."""
    factor = min(scale, 1) if stretch else 1
    positions = _source_positions(int(np.ceil(len(row) * scale - 1e-9)), scale) + shift
    reach = int(np.ceil(2 / factor)) + 1
    result = []
    for position in positions:
        neighbours = np.arange(int(np.floor(position)) - reach, int(np.floor(position)) + reach + 2)
        weights = _cubic_weight((neighbours - position) * factor, -0.5)
        if normalise:
            weights = weights / weights.sum()
        if inside == "zero":
            values = np.where(
                (neighbours < 0) | (neighbours >= len(row)),
                0,
                row[neighbours.clip(0, len(row) - 1)],
            )
        elif inside == "wrap":
            values = row[neighbours % len(row)]
        else:
            values = row[neighbours.clip(0, len(row) - 1)]
        result.append(np.sum(weights * values))
    return np.array(result)


_RESIZE_ROW = Exercise(
    title="resize a row of pixels",
    reference=_resize_row,
    tolerance=1e-9,
    cases=lambda: (
        Case("enlarging x2", (noise_image(1, 9)[0, :, 0].astype(float), 2)),
        Case("enlarging x3", (noise_image(1, 6, seed=1)[0, :, 0].astype(float), 3)),
        Case("shrinking by 2", (noise_image(1, 12)[0, :, 0].astype(float), 1 / 2)),
        Case("shrinking by 4", (noise_image(1, 24, seed=2)[0, :, 0].astype(float), 1 / 4)),
        Case("a row of one grey level", (np.full(8, 100.0), 1 / 2)),
        Case("9 pixels by 2: 4.5", (noise_image(1, 9, seed=3)[0, :, 0].astype(float), 1 / 2)),
        Case("11 pixels by 4: 2.75", (noise_image(1, 11, seed=4)[0, :, 0].astype(float), 1 / 4)),
        Case("7 pixels by 2.5: 17.5", (noise_image(1, 7, seed=5)[0, :, 0].astype(float), 2.5)),
        Case("15 pixels by 0.6: 9", (noise_image(1, 15, seed=6)[0, :, 0].astype(float), 0.6)),
    ),
    mistakes=(
        Mistake(
            lambda row, scale: _resize_row(row, scale)[: int(len(row) * scale)],
            "The number of output pixels is rounded down. A part of a pixel counts as one: "
            "ceil(len(row) * scale).",
        ),
        Mistake(
            lambda row, scale: _resize_row(row, scale)[: round(len(row) * scale)],
            "The number of output pixels is rounded to the nearest. It has to be rounded up: "
            "ceil(len(row) * scale).",
        ),
        Mistake(
            lambda row, scale: _resize_row_variant(row, scale, stretch=False),
            "Shrinking without antialiasing: the kernel has to get wider by 1 / scale, "
            "so that every pixel of the input counts.",
        ),
        Mistake(
            lambda row, scale: _resize_row_variant(row, scale, normalise=False),
            "The weights do not sum to 1 when the kernel is stretched. Divide by their sum.",
        ),
        Mistake(
            lambda row, scale: _resize_row_variant(row, scale, inside="zero"),
            "Beyond the edge there is no black. The edge pixel counts again.",
        ),
        Mistake(
            lambda row, scale: _resize_row_variant(row, scale, inside="wrap"),
            "Beyond one edge the other end of the row comes in: a negative index counts "
            "from the end. Clip the indices.",
        ),
        Mistake(
            lambda row, scale: _resize_row_variant(row, scale, shift=0.5 - 0.5 / scale),
            "The result is shifted by a fraction of a pixel. Use source_positions.",
        ),
        Mistake(
            lambda row, scale: np.interp(
                _source_positions(len(_resize_row(row, scale)), scale), np.arange(len(row)), row
            ),
            "This is linear interpolation. The weights should come from cubic_weight.",
        ),
        Mistake(
            lambda row, scale: np.rint(_resize_row(row, scale)),
            "Nothing should be rounded here. The row is in floating point and stays so.",
        ),
    ),
    hints=(
        "For each output position: distances to all input pixels, weights, weighted mean.",
        "The stretch is min(scale, 1): weights = cubic_weight((index - position) * stretch, -0.5).",
        "Let the index run past both ends, take row[np.clip(index, 0, len(row) - 1)], "
        "and divide the weighted sum by the sum of the weights.",
    ),
)


# Find the bug: a row with as many pixels as the kernel is wide


def _few_taps(row, scale, *, rounding=np.floor, more=0):
    stretch = min(scale, 1)
    reach = 2 / stretch
    positions = _source_positions(int(np.ceil(len(row) * scale - 1e-9)), scale)
    first = rounding(positions - reach).astype(int)
    pixels = first[:, None] + np.arange(int(np.ceil(2 * reach)) + more)
    weights = _cubic_weight(stretch * (positions[:, None] - pixels), -0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights * row[pixels.clip(0, len(row) - 1)]).sum(axis=1)


def _row_cases():
    def noise(size, seed):
        return noise_image(1, size, seed)[0, :, 1].astype(float)

    return (
        Case("a ramp, enlarging x2", (np.arange(10.0), 2)),
        Case("a ramp, shrinking by 2", (np.arange(16.0), 1 / 2)),
        Case("noise, enlarging x3", (noise(7, 0), 3)),
        Case("noise, 13 pixels by 4", (noise(13, 1), 1 / 4)),
        Case("noise, 9 pixels by 1.5", (noise(9, 2), 1.5)),
        Case("noise, 15 pixels by 0.4", (noise(15, 3), 0.4)),
        Case("noise, scale 1", (noise(6, 4), 1)),
    )


_REPAIRED_ROW = Exercise(
    title="find the bug: a row with a pixel too few",
    reference=_resize_row,
    tolerance=1e-9,
    cases=_row_cases,
    mistakes=(
        Mistake(
            _few_taps,
            "The last neighbour on the right is still missing. Print the distances of the first "
            "output pixel: from where to where do they go, and what does the kernel reach?",
        ),
        Mistake(
            lambda row, scale: _few_taps(row, scale, rounding=np.round, more=0),
            "The window starts at the nearest pixel now, and is too short at half of the places. "
            "It has to hold every pixel within reach.",
        ),
        Mistake(
            lambda row, scale: _resize_row_variant(row, scale, stretch=False),
            "Shrinking without antialiasing. Keep the stretch; the bug lies elsewhere.",
        ),
    ),
    hints=(
        "The ramp fails, the one grey level does not: weights are normalised, but a neighbour is "
        "missing. Print positions[:, None] - pixels.",
        "np.floor starts one pixel too early, where the weight is zero, so the window ends one "
        "pixel too early.",
        "Start with np.ceil, or take one pixel more: np.arange(int(np.ceil(2 * reach)) + 1).",
    ),
)

EXERCISES: tuple[Exercise, ...] = (
    _CUBIC_WEIGHT,
    _SOURCE_POSITIONS,
    _RESIZE_ROW,
    _REPAIRED_ROW,
)
