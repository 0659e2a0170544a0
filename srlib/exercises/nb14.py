"""Exercises: video."""

import numpy as np
from scipy.ndimage import uniform_filter

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import smooth_image

__all__ = ["EXERCISES"]


# Shift and add


def _places(length, offset, scale, *, middle=None, outside="drop"):
    """Place samples of one dimension on the HR grid: which samples, and where."""
    middle = (scale - 1) // 2 if middle is None else middle
    target = scale * np.arange(length) + offset + middle
    if outside == "wrap":
        return np.arange(length), target % (scale * length)
    if outside == "wrap below":  # what a negative index does in Python
        fits = target < scale * length
    else:
        fits = (target >= 0) & (target < scale * length)
    return np.flatnonzero(fits), target[fits]


def _shift_and_add(frames, offsets, scale, *, average=True, overwrite=False, **options):
    height, width = frames.shape[1:3]
    total = np.zeros((scale * height, scale * width, 3))
    count = np.zeros(total.shape[:2])
    for frame, (down, right) in zip(frames, offsets, strict=True):
        rows, target_rows = _places(height, down, scale, **options)
        columns, target_columns = _places(width, right, scale, **options)
        places = np.ix_(target_rows, target_columns)
        samples = frame[np.ix_(rows, columns)].astype(float)
        total[places] = samples if overwrite else total[places] + samples
        count[places] += 1
    if average and not overwrite:
        total /= np.maximum(count, 1)[..., None]
    return total, count


def _in_uint8(frames, offsets, scale):
    height, width = frames.shape[1:3]
    total = np.zeros((scale * height, scale * width, 3), np.uint8)
    count = np.zeros(total.shape[:2])
    for frame, (down, right) in zip(frames, offsets, strict=True):
        rows, target_rows = _places(height, down, scale)
        columns, target_columns = _places(width, right, scale)
        places = np.ix_(target_rows, target_columns)
        total[places] += frame[np.ix_(rows, columns)]
        count[places] += 1
    return total / np.maximum(count, 1)[..., None], count


def _divided_by_all(frames, offsets, scale):
    total, count = _shift_and_add(frames, offsets, scale, average=False)
    return total / len(frames), count


def _clip(frames, height, width, seed):
    values = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3))
    return values.astype(np.uint8)


_SHIFT_AND_ADD = Exercise(
    title="shift and add",
    reference=lambda frames, offsets, scale: _shift_and_add(frames, offsets, scale),
    cases=lambda: (
        Case("one frame", (_clip(1, 3, 4, 0), np.array([[0, 0]]), 3)),
        Case("two frames, one pixel apart", (_clip(2, 4, 3, 1), np.array([[0, 0], [1, 0]]), 3)),
        Case(
            "four frames, some samples outside",
            (_clip(4, 4, 5, 2), np.array([[0, 0], [1, -1], [-4, 2], [5, 3]]), 3),
        ),
        Case(
            "frames that meet at the same places",
            (_clip(3, 4, 4, 3), np.array([[0, 0], [3, 0], [0, 0]]), 3),
        ),
        Case("scale 5", (_clip(2, 3, 3, 4), np.array([[0, 0], [-2, 4]]), 5)),
    ),
    mistakes=(
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(frames, -np.asarray(offsets), scale),
            "The frames move the wrong way. A window that lies further down shows what lies "
            "further down in the picture: its samples go there.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(
                frames, np.asarray(offsets)[:, ::-1], scale
            ),
            "Rows and columns are exchanged: the first number of an offset is down, the second "
            "right.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(frames, offsets, scale, middle=0),
            "All samples lie too far up and left: the middle of an LR pixel is missing, "
            "(scale - 1) // 2.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(frames, offsets, scale, outside="wrap"),
            "Samples that leave the grid come back at the other side. They have to be dropped.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(
                frames, offsets, scale, outside="wrap below"
            ),
            "Samples above or left of the grid appear at its other end: Python counts negative "
            "indices from there. Drop them.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(frames, offsets, scale, overwrite=True),
            "Where several samples meet, the last one wins. Their mean is asked: add up, count, "
            "divide.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(frames, offsets, scale, average=False),
            "Where several samples meet there is their sum. Divide by how many they are.",
        ),
        Mistake(
            _divided_by_all,
            "The sum is divided by the number of all frames. Divide by the number of samples at "
            "that place.",
        ),
        Mistake(
            lambda frames, offsets, scale: _shift_and_add(
                frames, scale * np.asarray(offsets), scale
            ),
            "The offsets are multiplied by the scale. They are in HR pixels already.",
        ),
        Mistake(
            _in_uint8,
            "Sums of uint8 values wrap around at 256. Add up in floating point.",
        ),
    ),
    hints=(
        "Two arrays of the HR size: the sum of the samples at each place, and their number. Both "
        "start at zero.",
        "For one frame: rows = scale * np.arange(h) + dy + (scale - 1) // 2, and keep those with "
        "0 <= row < scale * h. The same for columns.",
        "places = np.ix_(rows[good], columns[fine]) picks all pairs of rows and columns: "
        "total[places] += frame[np.ix_(good, fine)]; count[places] += 1.",
    ),
)


# Phase correlation

_EPS = 1e-12


def _correlation(reference, moving, *, normalise=True):
    product = np.fft.fft2(reference) * np.conj(np.fft.fft2(moving))
    if normalise:
        product = product / np.maximum(np.abs(product), _EPS)
    return np.fft.ifft2(product).real


def _signed(peak, shape):
    return tuple(
        int(place) if place <= size // 2 else int(place) - size
        for place, size in zip(peak, shape, strict=True)
    )


def _peak(correlation):
    return np.unravel_index(correlation.argmax(), correlation.shape)


def _whole_pixel_shift(reference, moving):
    return _signed(_peak(_correlation(reference, moving)), np.shape(reference))


def _around_the_middle(reference, moving):
    peak = _peak(np.fft.fftshift(_correlation(reference, moving)))
    return tuple(int(place) for place in peak)


def _magnitude_only(reference, moving):
    product = np.abs(np.fft.fft2(reference) * np.conj(np.fft.fft2(moving)))
    return _signed(_peak(np.fft.ifft2(product).real), np.shape(reference))


def _without_conjugate(reference, moving):
    product = np.fft.fft2(reference) * np.fft.fft2(moving)
    product = product / np.maximum(np.abs(product), _EPS)
    return _signed(_peak(np.fft.ifft2(product).real), np.shape(reference))


def _windows(height, width, down, right, seed, slope=0.0):
    """Cut two windows from one picture; with a slope it gets brighter to the right."""
    picture = smooth_image(height + 20, width + 20, seed)[..., 1].astype(float)
    picture += np.random.default_rng(seed).normal(0, 20, picture.shape)
    picture += slope * np.arange(picture.shape[1])
    first = picture[10 : 10 + height, 10 : 10 + width]
    rows, columns = slice(10 + down, 10 + down + height), slice(10 + right, 10 + right + width)
    return first.copy(), picture[rows, columns].copy()


_PHASE_CORRELATION = Exercise(
    title="phase correlation",
    reference=lambda reference, moving: tuple(map(float, _whole_pixel_shift(reference, moving))),
    cases=lambda: (
        Case("down and right", _windows(32, 40, 3, 5, seed=0)),
        Case("up and left", _windows(32, 40, -2, -6, seed=1)),
        Case("up and right", _windows(36, 30, -4, 7, seed=2)),
        Case("brighter on one side", _windows(32, 32, 5, -3, seed=3, slope=12.0)),
        Case("no motion", _windows(24, 28, 0, 0, seed=4)),
    ),
    redraw=lambda random: tuple(
        _windows(height, width, *(sign * random.integers(1, 7, 2)), random.integers(1e6), slope)
        for height, width, sign, slope in (
            (32, 40, (1, 1), 0.0),
            (32, 40, (-1, -1), 0.0),
            (36, 30, (-1, 1), 0.0),
            (32, 32, (1, -1), 12.0),
            (24, 28, (0, 0), 0.0),
        )
    ),
    mistakes=(
        Mistake(
            lambda reference, moving: _whole_pixel_shift(moving, reference),
            "The sign is the other way round. Which of the two transforms has to be conjugated?",
        ),
        Mistake(
            lambda reference, moving: tuple(map(int, _peak(_correlation(reference, moving)))),
            "Motion up or left comes out as a large positive number. The indices of a Fourier "
            "transform go round: those beyond the middle mean negative shifts.",
        ),
        Mistake(
            lambda reference, moving: _signed(
                _peak(_correlation(reference, moving, normalise=False)), np.shape(reference)
            ),
            "This is the plain correlation. On the picture with a slope in brightness it finds the "
            "slope: divide the product by its magnitude before going back.",
        ),
        Mistake(
            lambda reference, moving: _whole_pixel_shift(reference, moving)[::-1],
            "The two numbers are exchanged: (dy, dx), down first.",
        ),
        Mistake(
            lambda reference, moving: _whole_pixel_shift(moving, reference)[::-1],
            "Two things: the sign is the other way round, and the order is (dy, dx).",
        ),
        Mistake(
            _around_the_middle,
            "The index is counted from the corner of the shifted array. After fftshift, no motion "
            "is at the middle: subtract it.",
        ),
        Mistake(
            _without_conjugate,
            "The product lacks the conjugate of one transform. It finds where a picture matches "
            "the other one turned by 180 degrees.",
        ),
        Mistake(
            _magnitude_only,
            "This keeps the magnitude, which a shift does not change, and drops the phase, in "
            "which the shift is. Divide by the magnitude instead.",
        ),
        Mistake(
            lambda reference, moving: int(_correlation(reference, moving).argmax()),
            "This is one number, the place in the flattened array. np.unravel_index turns it into "
            "row and column.",
        ),
    ),
    hints=(
        "Four steps: two transforms (np.fft.fft2), one product, division by its magnitude, and "
        "back (np.fft.ifft2). The real part has its peak at the shift.",
        "product = np.fft.fft2(reference) * np.conj(np.fft.fft2(moving)). "
        "np.unravel_index(c.argmax(), c.shape) is the place of the peak.",
        "A place beyond size // 2 means place - size. Do it for rows and for columns.",
    ),
)


# The mask


def _trusted(sample, expected, size, tolerance, *, mode="nearest"):
    difference = np.abs(np.asarray(sample) - expected)
    return uniform_filter(difference, size, mode=mode) <= tolerance


def _signed_mean(sample, expected, size, tolerance):
    return np.abs(uniform_filter(sample - expected, size, mode="nearest")) <= tolerance


def _without_abs(sample, expected, size, tolerance):
    return uniform_filter(sample - expected, size, mode="nearest") <= tolerance


def _squared(sample, expected, size, tolerance):
    return uniform_filter((sample - expected) ** 2, size, mode="nearest") <= tolerance


def _neighbour(height, width, seed, slope=0.0):
    """Make two lumas that differ by noise, and by a lot in a patch at the border and one inside."""
    random = np.random.default_rng(seed)
    expected = smooth_image(height, width, seed)[..., 1].astype(float)
    sample = expected + random.normal(0, 6, expected.shape)
    for top, left in ((0, width - 6), (height // 2, 3)):
        patch = sample[top : top + 6, left : left + 6]
        patch += random.choice((-1, 1), patch.shape) * random.uniform(15, 60, patch.shape)
    sample += slope * np.linspace(-1, 1, height)[:, None]
    return sample, expected


_MASK_CASES = (
    ("windows of 5 pixels", (20, 24), 5, 8.3, 0.0),
    ("windows of 3 pixels", (16, 18), 3, 10.6, 0.0),
    ("a smaller tolerance", (18, 20), 5, 5.2, 0.0),
    ("one picture brighter below, darker above", (24, 16), 7, 9.4, 14.0),
    ("windows of one pixel", (12, 14), 1, 7.7, 0.0),
)

_MASK = Exercise(
    title="which samples to trust",
    reference=lambda sample, expected, size, tolerance: _trusted(sample, expected, size, tolerance),
    cases=lambda: tuple(
        Case(name, (*_neighbour(*shape, seed, slope), size, tolerance))
        for seed, (name, shape, size, tolerance, slope) in enumerate(_MASK_CASES)
    ),
    redraw=lambda random: tuple(
        (*_neighbour(*shape, random.integers(1e6), slope), size, tolerance)
        for _, shape, size, tolerance, slope in _MASK_CASES
    ),
    mistakes=(
        Mistake(
            lambda sample, expected, size, tolerance: ~_trusted(sample, expected, size, tolerance),
            "This is the opposite: True where the difference is large. What fits is to be trusted.",
        ),
        Mistake(
            _without_abs,
            "The differences keep their sign, so a sample that is far too dark passes. What counts "
            "is how large they are.",
        ),
        Mistake(
            _signed_mean,
            "The differences keep their sign in the mean, and cancel out: a coin that is brighter "
            "here and darker there would pass. First the absolute value, then the mean.",
        ),
        Mistake(
            _squared,
            "This is the mean of the squares, which is not in grey levels. The mean of the "
            "absolute differences is asked.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: np.abs(sample - expected) <= tolerance,
            "Each pixel is judged by itself. By chance a wrong one may fit: take the mean over the "
            "window around it.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: (
                uniform_filter(np.abs(sample - expected), size, mode="nearest") * size**2
                <= tolerance
            ),
            "This is the sum over the window. Divide by its number of pixels.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: _trusted(
                sample, expected, size, tolerance, mode="constant"
            ),
            "At the border there are zeros beyond the picture, so what lies there looks too good. "
            "Repeat the edge pixels.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: _trusted(
                sample, expected, size, tolerance, mode="reflect"
            ),
            "At the border the picture is mirrored, which is what scipy does if not told else. "
            "Repeat the edge pixels.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: _trusted(
                sample, expected, 2 * size + 1, tolerance
            ),
            "The window is too large: size is its whole side, not how far it reaches.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: _trusted(sample, expected, 5, tolerance),
            "The window is not always 5 pixels wide: use the argument.",
        ),
        Mistake(
            lambda sample, expected, size, tolerance: _trusted(sample, expected, size, 8),
            "The tolerance is not always 8: use the argument.",
        ),
    ),
    hints=(
        "Three steps: how much each pixel differs, the mean of that around each pixel, and a "
        "comparison, which makes bool of it.",
        "scipy.ndimage.uniform_filter(picture, size, mode=...) is the mean over a square window. "
        "Its documentation says which mode repeats the edge.",
        'uniform_filter(np.abs(sample - expected), size, mode="nearest") <= tolerance',
    ),
)

# Flicker


def _flicker(lumas, path, margin, *, sign=1, measure=np.abs, swap=False, whole=False):
    inside, values = slice(None) if whole else slice(margin, -margin), []
    for first, second, move in zip(lumas, lumas[1:], np.diff(path, axis=0), strict=False):
        move = tuple(sign * int(step) for step in (move[::-1] if swap else move))
        moved = np.roll(second, move, axis=(0, 1))
        values.append(measure(first - moved)[inside, inside].mean())
    return float(np.mean(values))


def _rolled_by_place(lumas, path, margin):
    inside = slice(margin, -margin)
    return np.mean(
        [
            np.abs(lumas[t] - np.roll(lumas[t + 1], tuple(path[t + 1]), (0, 1)))[inside, inside]
            for t in range(len(lumas) - 1)
        ]
    )


def _walk_over(frames, height, width, seed, noise):
    """Cut windows from a picture along a path: luma (T, H, W), with noise; and the path."""
    random = np.random.default_rng(seed)
    picture = smooth_image(height + 20, width + 20, seed)[..., 1].astype(float)
    picture += random.normal(0, 10, picture.shape)
    moves = random.integers(-2, 3, (frames, 2))
    moves[1] = (2, -1)  # at least one step that goes down and left
    path = (moves.cumsum(axis=0) - moves[0]).clip(-8, 8)
    cut = [picture[10 + y : 10 + y + height, 10 + x : 10 + x + width] for y, x in path]
    return np.array(cut) + random.normal(0, noise, (frames, height, width)), path


_FLICKER_CASES = (
    ("two frames", (2, 16, 18), 0.0, 3),
    ("the originals, which do not flicker", (5, 18, 16), 0.0, 4),
    ("frames with noise", (5, 18, 20), 6.0, 4),
    ("another margin", (6, 20, 16), 9.0, 6),
)

_FLICKER = Exercise(
    title="find the bug: originals that flicker",
    reference=lambda lumas, path, margin: _flicker(lumas, path, margin),
    cases=lambda: tuple(
        Case(name, (*_walk_over(*shape, seed, noise), margin))
        for seed, (name, shape, noise, margin) in enumerate(_FLICKER_CASES)
    ),
    redraw=lambda random: tuple(
        (*_walk_over(*shape, random.integers(1e6), noise), margin)
        for _, shape, noise, margin in _FLICKER_CASES
    ),
    mistakes=(
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, margin, sign=-1),
            "This is the function with its bug. Its originals flicker, though they are cut from "
            "one picture. Which way does a window's content go if the window goes down?",
        ),
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, margin, sign=0),
            "The motion is not taken out: this measures how far the camera moved.",
        ),
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, margin, swap=True),
            "Rows and columns are exchanged: the first number of a place is down, axis 0.",
        ),
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, margin, whole=True),
            "Near the border one frame has what the other has not, and np.roll brings it in from "
            "the other side. Compare the middle only.",
        ),
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, margin, measure=np.square),
            "The differences are squared. Their absolute values are asked.",
        ),
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, margin, measure=np.copy),
            "Without the absolute value, differences of both signs cancel out.",
        ),
        Mistake(
            _rolled_by_place,
            "Each frame is moved by its whole way since the start. Two consecutive frames differ "
            "by one step only.",
        ),
        Mistake(
            lambda lumas, path, margin: (
                _flicker(lumas, path, margin) * (len(lumas) - 1) / len(lumas)
            ),
            "The sum is divided by the number of frames. Between them there is one step fewer.",
        ),
        Mistake(
            lambda lumas, path, margin: _flicker(lumas, path, 4),
            "The margin is not always 4: use the argument.",
        ),
    ),
    hints=(
        "Give it the originals: windows cut from one picture. They must give 0.",
        "A frame whose window lies 2 pixels further down shows everything 2 pixels further up. To "
        "lie over the frame before, it has to come down again.",
        "np.roll(second, move, axis=(0, 1)): positive numbers move down and right.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_SHIFT_AND_ADD, _PHASE_CORRELATION, _MASK, _FLICKER)
