"""Exercises: images and degradation."""

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image, smooth_image
from srlib.resample import imresize

__all__ = ["EXERCISES"]


# Shrinking by block means


def _block_mean(image, scale):
    height, width = image.shape[0] // scale, image.shape[1] // scale
    blocks = image.reshape(height, scale, width, scale, 3).astype(np.float64)
    return np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)


def _block_mean_overflow(image, scale):
    total = sum(
        image[row::scale, column::scale] for row in range(scale) for column in range(scale)
    )  # uint8 wraps round at 256
    return (total // scale**2).astype(np.uint8)


def _block_mean_divided_first(image, scale):
    parts = image // scale**2
    return sum(parts[row::scale, column::scale] for row in range(scale) for column in range(scale))


def _block_mean_truncated(image, scale):
    height, width = image.shape[0] // scale, image.shape[1] // scale
    return image.reshape(height, scale, width, scale, 3).mean(axis=(1, 3)).astype(np.uint8)


def _block_mean_rounded_up(image, scale):
    height, width = image.shape[0] // scale, image.shape[1] // scale
    return np.ceil(image.reshape(height, scale, width, scale, 3).mean(axis=(1, 3))).astype(np.uint8)


def _block_mean_wrong_order(image, scale):
    height, width = image.shape[0] // scale, image.shape[1] // scale
    blocks = image.reshape(scale, height, scale, width, 3)
    return np.floor(blocks.mean(axis=(0, 2)) + 0.5).astype(np.uint8)


def _block_mean_all_channels(image, scale):
    height, width = image.shape[0] // scale, image.shape[1] // scale
    blocks = image.reshape(height, scale, width, scale, 3)
    return np.floor(blocks.mean(axis=(1, 3, 4)) + 0.5).astype(np.uint8)


_BLOCK_MEAN = Exercise(
    title="shrink by block means",
    reference=_block_mean,
    # There are no ties, so that every way of rounding to the nearest level is right: none at odd
    # scales, none for multiples of 4 at scale 2.
    cases=lambda: (
        Case("noise, scale 3", (noise_image(9, 12), 3)),
        Case("bright picture, scale 3", (noise_image(6, 9) // 8 + 220, 3)),
        Case("noise, scale 5", (noise_image(10, 15, seed=1), 5)),
        Case("scale 1 changes nothing", (noise_image(2, 4), 1)),
        Case("scale 2, without ties", (noise_image(6, 4, seed=2) // 4 * 4, 2)),
    ),
    mistakes=(
        Mistake(
            lambda image, scale: image[::scale, ::scale],
            "This keeps one pixel of each block and drops the others. That is how aliasing starts.",
        ),
        Mistake(
            _block_mean_overflow,
            "The sum of a block does not fit into uint8: 200 + 100 gives 44. "
            "Turn the picture to floating point first.",
        ),
        Mistake(
            _block_mean_divided_first,
            "Each pixel is divided before the sum, and each division cuts a fraction off. "
            "Add first, in floating point, then divide.",
        ),
        Mistake(
            _block_mean_truncated,
            "astype(np.uint8) cuts the fraction off, so the picture gets darker. Round first.",
        ),
        Mistake(
            _block_mean_rounded_up,
            "The means are rounded up, so the picture gets brighter. Round to the nearest level.",
        ),
        Mistake(
            _block_mean_wrong_order,
            "The reshape does not group neighbours. Of H rows, H // scale blocks "
            "of scale rows each: reshape(H // scale, scale, ...).",
        ),
        Mistake(
            _block_mean_all_channels,
            "The mean runs over the colours as well. Each channel has a mean of its own.",
        ),
    ),
    hints=(
        "A picture of 9 x 12 pixels at scale 3 has 3 x 4 blocks. "
        "A reshape to (3, 3, 4, 3, 3) gives each block its own rows and columns.",
        "After image.reshape(H // scale, scale, W // scale, scale, 3), "
        "average over the axes 1 and 3.",
        "np.round(means).astype(np.uint8) rounds to the nearest grey level.",
    ),
)


# Aliasing


def _apparent_frequency(frequency, sampling_rate):
    return np.abs(frequency - sampling_rate * np.round(np.divide(frequency, sampling_rate)))


_APPARENT_FREQUENCY = Exercise(
    title="the frequency that aliasing shows",
    reference=_apparent_frequency,
    cases=lambda: (
        Case("below half the sampling rate", (3.0, 10.0)),
        Case("above half the sampling rate", (7.0, 10.0)),
        Case("just above the sampling rate", (11.0, 10.0)),
        Case("far above", (38.0, 10.0)),
        Case("many frequencies", (np.linspace(0, 40, 33), 16.0)),
    ),
    redraw=lambda random: (
        *((random.uniform(*bounds), 9.0) for bounds in ((1, 4), (5, 8), (9.5, 13), (30, 60))),
        (random.permutation(np.linspace(0, 40, 33)), 17.0),
    ),
    mistakes=(
        Mistake(
            lambda frequency, sampling_rate: np.mod(frequency, sampling_rate),
            "The remainder lies between 0 and the sampling rate. What is above half "
            "of the sampling rate folds back.",
        ),
        Mistake(
            lambda frequency, sampling_rate: (
                frequency - sampling_rate * np.round(np.divide(frequency, sampling_rate))
            ),
            "Some frequencies are negative. A wave that runs backwards looks like one "
            "that runs forwards.",
        ),
        Mistake(
            lambda frequency, sampling_rate: np.minimum(frequency, sampling_rate / 2),
            "Frequencies above half the sampling rate do not stop there. They come back down.",
        ),
        Mistake(
            lambda frequency, sampling_rate: np.abs(sampling_rate - frequency),
            "This is right between half of and one and a half times the sampling rate only.",
        ),
        Mistake(
            lambda frequency, sampling_rate: np.where(
                np.asarray(frequency) < sampling_rate / 2, frequency, sampling_rate - frequency
            ),
            "This folds back once. Higher frequencies go up and down again, without an end.",
        ),
    ),
    hints=(
        "Sampled at 10 per unit, waves of 3, 13 and 23 give the same samples. So do 7 and 3.",
        "Which multiple of the sampling rate is nearest to the frequency?",
        "The distance to it: abs(frequency - sampling_rate * np.round(frequency / sampling_rate)).",
    ),
)


# Does an HR picture explain the LR picture


def _lr_error(candidate, lr, scale):
    return float(np.abs(imresize(candidate, 1 / scale).astype(float) - lr).mean())


def _lr_error_by(summary):
    """Make an answer that sums the differences up in another way."""
    return lambda candidate, lr, scale: float(
        summary(imresize(candidate, 1 / scale).astype(float) - lr)
    )


def _lr_error_cases():
    hr, other = smooth_image(24, 36), smooth_image(24, 36, seed=1)
    return (
        Case("the original", (hr, imresize(hr, 1 / 3), 3)),
        Case("another picture", (other, imresize(hr, 1 / 3), 3)),
        Case("bicubic enlargement", (imresize(imresize(hr, 1 / 4), 4), imresize(hr, 1 / 4), 4)),
        Case("sides that are no multiples", (other[:23, :34], imresize(hr[:23, :34], 1 / 3), 3)),
    )


_LR_ERROR = Exercise(
    title="does a picture explain the LR image",
    reference=_lr_error,
    cases=_lr_error_cases,
    mistakes=(
        Mistake(
            lambda candidate, lr, scale: float(np.abs(imresize(candidate, 1 / scale) - lr).mean()),
            "uint8 minus uint8 wraps round: 3 - 5 gives 254. Turn one side to floating point.",
        ),
        Mistake(
            _lr_error_by(np.mean),
            "Positive and negative differences cancel. Take absolute values before the mean.",
        ),
        Mistake(
            lambda candidate, lr, scale: float(
                np.abs(imresize(lr, scale).astype(float) - candidate).mean()
            ),
            "This enlarges the LR image. The question is whether the candidate, shrunk, gives it.",
        ),
        Mistake(
            lambda candidate, lr, scale: float(
                np.abs(imresize(candidate.astype(float), 1 / scale) - lr).mean()
            ),
            "Shrink first, as uint8, because the LR image was rounded as well. Convert afterwards.",
        ),
        Mistake(
            lambda candidate, lr, scale: float(
                np.abs(candidate[::scale, ::scale].astype(float) - lr).mean()
            ),
            "Keeping every scale-th pixel is not how the LR image was made. Use imresize.",
        ),
        Mistake(
            _lr_error_by(lambda gap: (gap**2).mean()),
            "These are squared differences. The question asks for absolute ones, in grey levels.",
        ),
        Mistake(
            _lr_error_by(lambda gap: np.sqrt((gap**2).mean())),
            "This is the root of the mean square, in which large differences count more. "
            "The question asks for the mean of the absolute ones.",
        ),
        Mistake(
            _lr_error_by(lambda gap: np.abs(gap).sum()),
            "This is the sum, which grows with the picture. The question asks for the mean.",
        ),
        Mistake(
            _lr_error_by(lambda gap: np.abs(gap).max()),
            "This is the largest difference. The question asks for the mean.",
        ),
    ),
    hints=(
        "Two steps: shrink the candidate with imresize(candidate, 1 / scale), then compare.",
        "Both small pictures are uint8. Turn one to floating point before you subtract.",
        "np.abs(small.astype(float) - lr).mean()",
    ),
)


# Find the bug: the mean of pictures that come one at a time


def _mean_picture(pictures):
    return np.mean([picture.astype(float) for picture in pictures], axis=0)


def _mean_by_halves(pictures):
    pictures = list(pictures)
    mean = pictures[0].astype(float)
    for picture in pictures[1:]:
        mean = (mean + picture) / 2
    return mean


def _mean_rounded_at_each_step(pictures):
    pictures = list(pictures)
    mean = pictures[0].astype(float)
    for count, picture in enumerate(pictures[1:], start=2):
        mean = np.round(mean + (picture - mean) / count)
    return mean


def _mean_one_short(pictures):
    pictures = list(pictures)
    return np.sum([picture.astype(float) for picture in pictures], axis=0) / (len(pictures) + 1)


def _mean_overflow(pictures):
    pictures = list(pictures)
    total = np.zeros_like(pictures[0])
    for picture in pictures:
        total = total + picture  # uint8 wraps round at 256
    return total / len(pictures)


def _mean_cases():
    black, white = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)
    return (
        Case("a white picture, then two black ones", ([white, black, black],)),
        Case("two black pictures, then a white one", ([black, black, white],)),
        Case("five pictures", ([noise_image(4, 3, seed) for seed in range(5)],)),
        Case("nine pictures", ([noise_image(3, 5, seed) for seed in range(9)],)),
        Case("a single picture", ([noise_image(5, 2)],)),
        Case(
            "six pictures from an iterator, one at a time",
            (iter([noise_image(4, 2, seed) for seed in range(10, 16)]),),
        ),
    )


_MEAN_PICTURE = Exercise(
    title="find the bug: a mean of pictures",
    reference=_mean_picture,
    cases=_mean_cases,
    mistakes=(
        Mistake(
            _mean_by_halves,
            "The last picture still has a weight of one half, however many came before it. "
            "All of them should count the same.",
        ),
        Mistake(
            _mean_rounded_at_each_step,
            "The mean is rounded after each picture, and the errors add up. Round at the end.",
        ),
        Mistake(
            _mean_one_short,
            "The sum is divided by the wrong number. How many pictures were there?",
        ),
        Mistake(
            _mean_overflow,
            "The sum does not fit into uint8: 200 + 100 gives 44. Add in floating point.",
        ),
    ),
    hints=(
        "Feed it one white picture and two black ones, in each order. The mean is 85 every time. "
        "What does the colleague's function say?",
        "Adding the third picture, the mean of two should count twice as much as the new one.",
        "Keep a sum in floating point and a count, and divide once, at the end.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_BLOCK_MEAN, _APPARENT_FREQUENCY, _LR_ERROR, _MEAN_PICTURE)
