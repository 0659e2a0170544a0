"""Exercises: welcome."""

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image

__all__ = ["EXERCISES"]


# Centre crop


def _centre_crop(image, height, width):
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _crop_cases():
    return (
        Case("a wide crop", (noise_image(20, 32), 6, 12)),
        Case("a tall crop", (noise_image(20, 32), 14, 8)),
        Case("an odd margin", (noise_image(9, 12), 4, 5)),
        Case("everything", (noise_image(4, 5), 4, 5)),
    )


_CENTRE_CROP = Exercise(
    title="centre crop",
    reference=_centre_crop,
    cases=_crop_cases,
    mistakes=(
        Mistake(
            lambda image, height, width: _centre_crop(image, width, height),
            "Height and width are swapped. The first dimension of an image counts rows.",
        ),
        Mistake(
            lambda image, height, width: image[:height, :width],
            "This is the top left corner. Where does a crop in the middle start?",
        ),
        Mistake(
            lambda image, height, width: image[
                (image.shape[0] - height) // 2 : (image.shape[0] - height) // 2 + height,
                (image.shape[0] - height) // 2 : (image.shape[0] - height) // 2 + width,
            ],
            "The left margin is computed from the height. Columns have a margin of their own.",
        ),
        Mistake(
            lambda image, height, width: image[
                image.shape[0] // 2 : image.shape[0] // 2 + height,
                image.shape[1] // 2 : image.shape[1] // 2 + width,
            ],
            "The crop starts in the middle instead of lying around it.",
        ),
        Mistake(
            lambda image, height, width: image[
                (image.shape[0] - height) // 2 : -((image.shape[0] - height) // 2),
                (image.shape[1] - width) // 2 : -((image.shape[1] - width) // 2),
            ],
            "Cutting the same margin from both ends fails where it is odd or zero. "
            "Count from the start: start, and start plus size.",
        ),
    ),
    hints=(
        "An image of shape (H, W, 3) is sliced as image[rows, columns].",
        "The rows that are left over are shared by top and bottom: (H - height) // 2 at the top.",
        "image[top : top + height, left : left + width]",
    ),
)


# Enlarging by repeating pixels


def _repeat_pixels(image, scale):
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


_REPEAT_PIXELS = Exercise(
    title="enlarge by repeating pixels",
    reference=_repeat_pixels,
    cases=lambda: (
        Case("x2", (noise_image(3, 4), 2)),
        Case("x3", (noise_image(4, 2), 3)),
        Case("x1 changes nothing", (noise_image(2, 3), 1)),
    ),
    mistakes=(
        Mistake(
            lambda image, scale: np.tile(image, (scale, scale, 1)),
            "The whole picture is repeated, like tiles. Each pixel has to be repeated in place.",
        ),
        Mistake(
            lambda image, scale: np.repeat(image, scale),
            "Without an axis, np.repeat flattens the picture to one long row.",
        ),
        Mistake(
            lambda image, scale: image.repeat(scale, axis=0),
            "Only the rows are repeated. The columns need the same.",
        ),
        Mistake(
            lambda image, scale: image.repeat(scale, axis=1),
            "Only the columns are repeated. The rows need the same.",
        ),
        Mistake(
            lambda image, scale: image.repeat(scale, axis=1).repeat(scale, axis=2),
            "Axis 2 holds the colours. Rows and columns are axes 0 and 1.",
        ),
        Mistake(
            lambda image, scale: np.resize(
                image, (image.shape[0] * scale, image.shape[1] * scale, 3)
            ),
            "np.resize fills the new shape with the old numbers in order, row after row.",
        ),
    ),
    hints=(
        "Think of one row first: [a, b] becomes [a, a, b, b].",
        "np.repeat does this along one axis: image.repeat(scale, axis=...).",
        "Repeat along axis 0, then along axis 1.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_CENTRE_CROP, _REPEAT_PIXELS)
