"""Exercises: the data pipeline."""

import copy

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.resample import imresize

__all__ = ["EXERCISES"]


def _noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# A crop of both


def _aligned_crop(lr, hr, top, left, size, scale):
    end_row, end_column = top + size, left + size
    return (
        lr[top:end_row, left:end_column],
        hr[scale * top : scale * end_row, scale * left : scale * end_column],
    )


def _crop_cases():
    cases = []
    for name, height, width, place, size, scale in (
        ("in the middle, x4", 9, 12, (3, 5), 4, 4),
        ("the last place, x2", 10, 7, (6, 3), 4, 2),
        ("at the corner, x3", 8, 8, (0, 0), 5, 3),
    ):
        hr = _noise(height * scale, width * scale, 3, seed=scale)
        cases.append(Case(name, (imresize(hr, 1 / scale), hr, *place, size, scale)))
    return tuple(cases)


def _cut(image, top, left, size):
    return image[top : top + size, left : left + size]


def _one_pixel_more(lr, hr, top, left, size, scale):
    return (
        _cut(lr, top, left, size + 1),
        _cut(hr, scale * top, scale * left, scale * size + 1),
    )


def _shrunk_crop(lr, hr, top, left, size, scale):
    hr_patch = _cut(hr, scale * top, scale * left, scale * size)
    return imresize(hr_patch, 1 / scale), hr_patch


_ALIGNED_CROP = Exercise(
    title="a crop of both",
    reference=_aligned_crop,
    cases=_crop_cases,
    mistakes=(
        Mistake(
            lambda lr, hr, top, left, size, scale: (
                _cut(lr, top, left, size),
                _cut(hr, top, left, scale * size),
            ),
            "The HR crop starts at (top, left) as they are. They count LR pixels, and each of "
            "those is scale HR pixels wide.",
        ),
        Mistake(
            lambda lr, hr, top, left, size, scale: (
                _cut(lr, top, left, size),
                _cut(hr, scale * top, scale * left, size),
            ),
            "The HR crop starts in the right place, but has as many pixels as the LR crop. It "
            "should show as much of the picture.",
        ),
        Mistake(
            lambda lr, hr, top, left, size, scale: (
                _cut(lr, top, left, size),
                _cut(hr, top, left, size),
            ),
            "Both crops have the same numbers. Place and size count LR pixels; for HR all of "
            "them have to grow by the scale.",
        ),
        Mistake(
            lambda lr, hr, top, left, size, scale: (
                _cut(lr, top // scale, left // scale, size // scale),
                _cut(hr, top, left, size),
            ),
            "Place and size are taken as HR pixels here. They count LR pixels.",
        ),
        Mistake(
            lambda lr, hr, top, left, size, scale: _aligned_crop(lr, hr, left, top, size, scale),
            "top and left have changed places. The first axis of an image is its rows.",
        ),
        Mistake(
            lambda lr, hr, top, left, size, scale: (
                lr[top:size, left:size],
                hr[scale * top : scale * size, scale * left : scale * size],
            ),
            "A slice is start:end, and the end is start + size.",
        ),
        Mistake(
            _one_pixel_more,
            "The crops are a pixel too long each way. A slice leaves its end out.",
        ),
        Mistake(
            _shrunk_crop,
            "The LR patch is made from the HR patch. At its border it lacks the neighbours that "
            "the whole picture has, so cut it from lr.",
        ),
        Mistake(
            lambda lr, hr, top, left, size, scale: _aligned_crop(lr, hr, top, left, size, scale)[
                ::-1
            ],
            "The order is the other way round: first LR, then HR.",
        ),
    ),
    hints=(
        "Two slices an image: one for the rows, one for the columns.",
        "LR pixel number k covers the HR pixels from scale * k up to scale * (k + 1).",
        "lr[top : top + size, left : left + size], and for hr each of the four numbers times scale",
    ),
)


# Eight ways to see a patch


def _augment(patch, flip_rows, flip_columns, transpose):
    if flip_rows:
        patch = patch[::-1]
    if flip_columns:
        patch = patch[:, ::-1]
    if transpose:
        patch = patch.swapaxes(0, 1)
    return patch


def _transpose_first(patch, flip_rows, flip_columns, transpose):
    if transpose:
        patch = patch.swapaxes(0, 1)
    return _augment(patch, flip_rows, flip_columns, False)


def _only_one(patch, flip_rows, flip_columns, transpose):
    if flip_rows:
        return patch[::-1]
    if flip_columns:
        return patch[:, ::-1]
    return patch.swapaxes(0, 1) if transpose else patch


def _all_axes(patch, flip_rows, flip_columns, transpose):
    patch = _augment(patch, flip_rows, flip_columns, False)
    return patch.T if transpose else patch


def _reshaped(patch, flip_rows, flip_columns, transpose):
    patch = _augment(patch, flip_rows, flip_columns, False)
    height, width, channels = patch.shape
    return patch.reshape(width, height, channels) if transpose else patch


def _turned(patch, flip_rows, flip_columns, transpose):
    patch = _augment(patch, flip_rows, flip_columns, False)
    return np.rot90(patch) if transpose else patch


def _channels_too(patch, flip_rows, flip_columns, transpose):
    if flip_rows:
        patch = np.flip(patch)
    if flip_columns:
        patch = np.flip(patch)
    return patch.swapaxes(0, 1) if transpose else patch


def _colours_reversed(patch, flip_rows, flip_columns, transpose):
    patch = patch[::-1] if flip_rows else patch
    patch = patch[..., ::-1] if flip_columns else patch
    return patch.swapaxes(0, 1) if transpose else patch


def _in_place(patch, flip_rows, flip_columns, transpose):
    if flip_rows:
        patch[:] = patch[::-1].copy()
    if flip_columns:
        patch[:] = patch[:, ::-1].copy()
    return patch.swapaxes(0, 1) if transpose else patch


_AUGMENT = Exercise(
    title="eight ways to see a patch",
    reference=_augment,
    cases=lambda: tuple(
        Case(f"{_name(flags)}, {shape[0]} x {shape[1]}", (_noise(*shape, seed=seed), *flags))
        for shape, seed in (((3, 5, 3), 0), ((4, 4, 3), 1))
        for flags in np.ndindex(2, 2, 2)
    ),
    mistakes=(
        Mistake(
            _transpose_first,
            "The patch is transposed before the flips. Rows are columns by then, so the wrong "
            "side is flipped. Flip first.",
        ),
        Mistake(
            lambda patch, flip_rows, flip_columns, transpose: _augment(
                patch, flip_columns, flip_rows, transpose
            ),
            "The two flips have changed places. To flip the rows is to turn upside down: the "
            "last row comes first.",
        ),
        Mistake(
            _only_one,
            "Only one of the three happens. They can all be wanted at once, so use three "
            "separate ifs without return or elif.",
        ),
        Mistake(
            _all_axes,
            ".T turns the order of all axes round, so the colours come first. Only rows and "
            "columns change places.",
        ),
        Mistake(
            _reshaped,
            "reshape keeps the pixels in their order and breaks the lines elsewhere. To "
            "transpose is to exchange the two axes.",
        ),
        Mistake(
            _turned,
            "np.rot90 turns the patch. That is a transposition and a flip together; here only "
            "the transposition is wanted.",
        ),
        Mistake(
            _channels_too,
            "np.flip without an axis reverses all of them: rows, columns and the order of the "
            "colours.",
        ),
        Mistake(
            _colours_reversed,
            "patch[..., ::-1] reverses the last axis, which is the colours. Columns are axis 1.",
        ),
        Mistake(
            lambda patch, flip_rows, flip_columns, transpose: _augment(
                patch, flip_rows, flip_columns, False
            ),
            "The transposition is missing.",
        ),
        Mistake(
            _in_place,
            "patch[:] = ... writes into the caller's patch, which is part of the photograph. "
            "patch = ... gives the name to a new view and leaves the photograph alone.",
        ),
    ),
    hints=(
        "Three ifs, one after the other. Each gives the name patch to a new view of it.",
        "A slice with step -1 runs backwards: patch[::-1] for rows. Columns are the second axis.",
        "patch.swapaxes(0, 1) exchanges rows and columns and leaves the colours where they are.",
    ),
)


def _name(flags):
    names = [
        n for n, on in zip(("flip rows", "flip columns", "transpose"), flags, strict=True) if on
    ]
    return " and ".join(names) or "nothing"


# Where the pixels of a patch are


def _pixel_index(start, width, top, left, size):
    place = np.arange(size)
    return start + (top + place[:, None]) * width + left + place


def _row_after_row(start, width, top, left, size):
    return start + top * width + left + np.arange(size * size).reshape(size, size)


_PIXEL_INDEX = Exercise(
    title="where the pixels of a patch are",
    reference=_pixel_index,
    cases=lambda: (
        Case("first photograph, at its corner", (0, 10, 0, 0, 3)),
        Case("first photograph, inside", (0, 10, 2, 5, 3)),
        Case("a later photograph", (350, 24, 7, 3, 4)),
        Case("one pixel", (100, 8, 4, 6, 1)),
    ),
    redraw=lambda random: tuple(
        (start, int(random.integers(12, 30)), top, left, size)
        for start, top, left, size in ((0, 0, 0, 4), (0, 3, 6, 3), (410, 5, 2, 4), (90, 6, 4, 1))
    ),
    mistakes=(
        Mistake(
            _row_after_row,
            "The patch's rows follow each other without a gap. In the long row of pixels, the "
            "one below is width pixels further on.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(0, width, top, left, size),
            "start is not used: this finds the pixels of the first photograph only.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(start, width, left, top, size),
            "top and left have changed places. A step down costs width pixels, a step to the "
            "right one.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(start, width, top, left, size).T,
            "The table is transposed: its first axis should be the rows.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(start, size, top, left, size),
            "A step down is counted as size pixels, as in the patch. The photograph's rows are "
            "width long.",
        ),
        Mistake(
            lambda start, width, top, left, size: 3 * _pixel_index(start, width, top, left, size),
            "This counts bytes, three a pixel. The long row has a whole pixel per entry.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(
                start * width, width, top, left, size
            ),
            "start is multiplied by the width. It counts pixels already, not rows.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(
                start, width, top, left, size
            ).ravel(),
            "The numbers are right, but lie in one line. The table is (size, size), so that the "
            "pixels come out as a patch.",
        ),
        Mistake(
            lambda start, width, top, left, size: _pixel_index(start, width, top, left, size + 1),
            "The table has one row and one column too many. np.arange(size) ends before size.",
        ),
    ),
    hints=(
        "Pixel (row, column) of a photograph is number row * width + column of its pixels.",
        "rows = top + np.arange(size) and columns = left + np.arange(size). Give the rows a "
        "second axis with [:, None], and their sum becomes a table.",
        "start + rows[:, None] * width + columns",
    ),
)

# Find the bug: one view for both

_VIEWS = tuple(np.ndindex(2, 2, 2))


def _random_view(lr, hr, generator):
    view = generator.random(3) < 0.5
    return [_augment(image, *view) for image in (lr, hr)]


def _drawn_often(answer, lr, hr, generator):
    """Ask for many pairs, and tell the views that came; which one comes when is free."""
    together, views = 0, []
    twins = copy.deepcopy(generator), copy.deepcopy(generator)
    for _ in range(320):
        result = answer(lr, hr, generator)
        if not isinstance(result, (list, tuple)) or len(result) != 2:
            raise TypeError("two images are wanted, a list or tuple of LR and HR")
        for image, changed in zip((lr, hr), result, strict=True):
            found = [v for v in _VIEWS if np.array_equal(_augment(image, *v), np.asarray(changed))]
            views.append(found[0] if found else None)
        together += views[-1] == views[-2]
    counts = [views.count(view) for view in _VIEWS]
    again = [[np.asarray(answer(lr, hr, twin)[0]) for _ in range(20)] for twin in twins]
    return {
        "results that are one of the eight views": sum(counts),
        "pairs whose LR and HR have one view": together,
        "views that come": sum(count > 0 for count in counts),
        "whether they come about equally often": min(counts) > 0.4 * np.mean(counts),
        "whether a generator in the same state gives the same again": all(
            map(np.array_equal, *again)
        ),
    }


def _view_cases():
    square = _noise(4, 4, 3, seed=1), _noise(8, 8, 3, seed=2)
    other = _noise(2, 4, 3, seed=3), _noise(6, 12, 3, seed=4)
    return (
        Case("a square patch, x2", (*square, np.random.default_rng(5))),
        Case("a patch that is not square, x3", (*other, np.random.default_rng(6))),
    )


def _two_draws(lr, hr, generator):
    return [_augment(image, *(generator.random(3) < 0.5)) for image in (lr, hr)]


def _once_for_all(lr, hr, generator):
    return [_augment(image, *(np.random.default_rng(0).random(3) < 0.5)) for image in (lr, hr)]


def _like(draw):
    def random_view(lr, hr, generator):
        view = draw(generator)
        return [_augment(image, *view) for image in (lr, hr)]

    return random_view


_ANOTHER = np.random.default_rng(7)  # instead of the one that is given

_RANDOM_VIEW = Exercise(
    title="find the bug: one view for both",
    reference=_random_view,
    probe=_drawn_often,
    cases=_view_cases,
    mistakes=(
        Mistake(
            _like(lambda generator: _ANOTHER.random(3) < 0.5),
            "Draw from the generator that is given. Otherwise nobody can draw the same again.",
        ),
        Mistake(
            _two_draws,
            "Three numbers are drawn for LR and three others for HR. In most pairs the two have "
            "different views.",
        ),
        Mistake(
            _once_for_all,
            "LR and HR fit now, but it is the same view each time. Draw from the generator anew.",
        ),
        Mistake(
            _like(lambda generator: [generator.random() < 0.5] * 3),
            "One number decides all three: two of the eight views come.",
        ),
        Mistake(
            _like(lambda generator: (*(generator.random(2) < 0.5), False)),
            "The transposition is missing: four of the eight views come.",
        ),
        Mistake(
            _like(lambda generator: generator.random(3) < 0.1),
            "Some views come much more often than others. Each switch is on in half of the cases.",
        ),
        Mistake(
            lambda lr, hr, generator: _random_view(lr, hr, generator)[::-1],
            "LR and HR are exchanged.",
        ),
        Mistake(
            lambda lr, hr, generator: [_random_view(lr, hr, generator)[0], hr],
            "Only LR is changed. The pair must stay a pair.",
        ),
    ),
    hints=(
        "Print the three switches for LR and for HR.",
        "When is the generator asked? How often should it be, for one pair?",
        "Draw the three switches once, before the loop.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_ALIGNED_CROP, _AUGMENT, _PIXEL_INDEX, _RANDOM_VIEW)
