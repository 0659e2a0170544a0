"""Exercises: measuring quality."""

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image, smooth_image
from srlib.image import rgb_to_y
from srlib.metrics import psnr
from srlib.resample import imresize

__all__ = ["EXERCISES"]


# PSNR


def _psnr(prediction, target, data_range):
    return psnr(prediction, target, data_range=data_range)


def _psnr_from(mean_error, numerator):
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(numerator / np.float64(mean_error)))


def _mse(prediction, target):
    return np.mean((np.asarray(prediction, float) - target) ** 2)


def _psnr_cases():
    image = noise_image(8, 9)
    noisy = np.clip(image + np.random.default_rng(1).normal(0, 8, image.shape), 0, 255)
    noisy = noisy.astype(np.uint8)
    return (
        Case(
            "two grey levels apart",
            (np.full((4, 4), 10, np.uint8), np.full((4, 4), 12, np.uint8), 255),
        ),
        Case("noise", (noisy, image, 255)),
        Case("noise, as floating point in 0..1", (noisy / 255, image / 255, 1)),
        Case("far apart", (np.zeros((4, 4), np.uint8), np.full((4, 4), 200, np.uint8), 255)),
        Case("a long row, peak 219", (np.arange(0.0, 219.0), np.arange(1.0, 220.0) * 0.99, 219)),
    )


_PSNR = Exercise(
    title="PSNR",
    reference=_psnr,
    cases=_psnr_cases,
    mistakes=(
        Mistake(
            lambda prediction, target, data_range: _psnr_from(
                np.mean((prediction - target) ** 2), data_range**2
            ),
            "uint8 wraps round: 10 - 12 gives 254, and its square does not fit either. "
            "Turn the images to floating point first.",
        ),
        Mistake(
            lambda prediction, target, data_range: _psnr_from(_mse(prediction, target), 255**2),
            "The peak is fixed at 255. It has to be data_range, which is 1 for images in 0..1.",
        ),
        Mistake(
            lambda prediction, target, data_range: _psnr_from(
                _mse(prediction, target), float(np.max(prediction)) ** 2
            ),
            "The peak is taken from the picture. It is the largest value that a pixel can have, "
            "data_range, whatever this picture holds.",
        ),
        Mistake(
            lambda prediction, target, data_range: _psnr_from(_mse(prediction, target), data_range),
            "The peak has to be squared, because the error is: 10 log10(peak**2 / MSE).",
        ),
        Mistake(
            lambda prediction, target, data_range: (
                2 * _psnr_from(_mse(prediction, target), data_range**2)
            ),
            "The factor 20 belongs to the root of the mean squared error. With the MSE it is 10.",
        ),
        Mistake(
            lambda prediction, target, data_range: float(
                10 * np.log(data_range**2 / _mse(prediction, target))
            ),
            "np.log is the natural logarithm. Decibels use the one to base 10.",
        ),
        Mistake(
            lambda prediction, target, data_range: _psnr_from(
                np.mean(np.abs(np.asarray(prediction, float) - target)) ** 2, data_range**2
            ),
            "This uses the mean absolute error. PSNR uses the mean of the squares.",
        ),
        Mistake(
            lambda prediction, target, data_range: (
                -_psnr_from(_mse(prediction, target), data_range**2)
            ),
            "The sign is turned round: the peak stands above the error, so that more is better.",
        ),
    ),
    hints=(
        "Three steps: differences, mean of their squares, 10 * log10(peak**2 / that mean).",
        "prediction.astype(float) before the subtraction.",
        "10 * np.log10(data_range**2 / mse)",
    ),
)


# Luma


def _luma_cases():
    return (
        Case("red, green and blue", (np.eye(3, dtype=np.uint8)[None] * np.uint8(255),)),
        Case("black and white", (np.array([[[0] * 3, [255] * 3]], dtype=np.uint8),)),
        Case("noise", (noise_image(4, 5),)),
    )


_LUMA = Exercise(
    title="luma",
    reference=lambda image: rgb_to_y(image),
    cases=_luma_cases,
    mistakes=(
        Mistake(
            lambda image: rgb_to_y(image, full_range=True),
            "These are the weights of the full range. The protocol uses the studio range, "
            "where black is 16 and white is 235.",
        ),
        Mistake(
            lambda image: rgb_to_y(image) - 16,
            "The offset of 16 is missing. It cancels in a PSNR, but not in an SSIM.",
        ),
        Mistake(
            lambda image: rgb_to_y(image[..., ::-1]),
            "Red and blue are swapped. The last dimension holds red, green, blue, in this order.",
        ),
        Mistake(
            lambda image: image.astype(float).mean(axis=2),
            "The eye does not see the three colours equally bright. They have different weights.",
        ),
        Mistake(
            lambda image: np.rint(rgb_to_y(image)),
            "The protocol does not round the luma.",
        ),
        Mistake(
            lambda image: (rgb_to_y(image) - 16) * 255 + 16,
            "The weights belong to values from 0 to 1. For 0..255 divide by 255.",
        ),
    ),
    hints=(
        "image[..., 0] is red, image[..., 1] green, image[..., 2] blue.",
        "Turn the image to floating point before you multiply.",
        "16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255",
    ),
)


# The score of a benchmark


def _protocol_psnr(sr, hr, scale):
    crop = (slice(scale, -scale), slice(scale, -scale))
    return psnr(rgb_to_y(sr)[crop], rgb_to_y(hr)[crop], data_range=255)


def _protocol_cases():
    hr = smooth_image(32, 44)
    nearly = (hr * 0.9 + 10).astype(np.uint8)
    nearly[:4] //= 2  # what lies at the border must not count
    nearly[:, -2:] = 255
    odd = smooth_image(33, 45, seed=1)
    return (
        Case("bicubic x2", (imresize(imresize(hr, 1 / 2), 2), hr, 2)),
        Case("bicubic x4", (imresize(imresize(hr, 1 / 4), 4), hr, 4)),
        Case("errors at the border", (nearly, hr, 4)),
        Case("33 x 45 pixels x3", (imresize(imresize(odd, 1 / 3), 3), odd, 3)),
    )


def _luma_psnr(sr, hr, rows=slice(None), columns=slice(None)):
    return psnr(rgb_to_y(sr)[rows, columns], rgb_to_y(hr)[rows, columns], data_range=255)


_PROTOCOL_PSNR = Exercise(
    title="the PSNR of a benchmark table",
    reference=_protocol_psnr,
    cases=_protocol_cases,
    mistakes=(
        Mistake(
            lambda sr, hr, scale: _luma_psnr(sr, hr),
            "The border is not cut off. Scale pixels on every side do not count.",
        ),
        Mistake(
            lambda sr, hr, scale: psnr(
                sr[scale:-scale, scale:-scale], hr[scale:-scale, scale:-scale], data_range=255
            ),
            "This scores red, green and blue. The tables score the luma.",
        ),
        Mistake(
            lambda sr, hr, scale: psnr(sr, hr, data_range=255),
            "This scores all pixels and all colours. The tables score the luma, "
            "without the border.",
        ),
        Mistake(
            lambda sr, hr, scale: _luma_psnr(sr, hr, slice(scale, None), slice(scale, None)),
            "Only the top and the left are cut off. The other two sides need the same.",
        ),
        Mistake(
            lambda sr, hr, scale: _luma_psnr(sr, hr, slice(scale, -scale)),
            "Only rows are cut off. Columns need the same.",
        ),
        Mistake(
            lambda sr, hr, scale: _luma_psnr(
                sr, hr, slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale)
            ),
            "Too much is cut off: scale pixels on every side, not in sum.",
        ),
        Mistake(
            lambda sr, hr, scale: psnr(
                rgb_to_y(sr, full_range=True)[scale:-scale, scale:-scale],
                rgb_to_y(hr, full_range=True)[scale:-scale, scale:-scale],
                data_range=255,
            ),
            "This gives a luma that spans the full range, or a peak of 219. The tables use "
            "the studio range, 16 to 235, and yet the peak 255.",
        ),
    ),
    hints=(
        "Three steps: luma of both images, cut the border, PSNR with peak 255.",
        "luma[scale:-scale, scale:-scale] cuts scale pixels on every side.",
        "my_psnr(luma_sr, luma_hr, 255), with both lumas cut.",
    ),
)


# Find the bug: the SSIM of one window


def _window_ssim(x, y, *, pixels_less=(0, 0), c1=(0.01 * 255) ** 2, c2=(0.03 * 255) ** 2):
    """SSIM of one window; `pixels_less` is what is taken off N for variances and covariance."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    for_variance, for_covariance = (x.size / (x.size - less) for less in pixels_less)
    covariance = for_covariance * ((x - x.mean()) * (y - y.mean())).mean()
    spread = for_variance * (x.var() + y.var())
    means = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
    return float(means * (2 * covariance + c2) / (spread + c2))


def _window_cases():
    image, other = (smooth_image(11, 15, seed)[..., 1].astype(float) for seed in (0, 1))
    noise = noise_image(5, 4)[..., 0].astype(float)
    return (
        Case("a window and itself", (image, image.copy())),
        Case("two different windows", (image, other)),
        Case("a brighter copy", (image * 0.6, image * 0.6 + 30)),
        Case("an inverted copy, 5 x 4", (noise, 255 - noise)),
        Case("3 x 3 pixels", (image[:3, :3].copy(), other[:3, :3].copy())),
        Case("little contrast", (image * 0.02 + 90, other * 0.02 + 90)),
    )


_WINDOW_SSIM = Exercise(
    title="find the bug: the SSIM of a window",
    reference=lambda x, y: _window_ssim(x, y),
    cases=_window_cases,
    mistakes=(
        Mistake(
            lambda x, y: _window_ssim(x, y, pixels_less=(0, 1)),
            "A window and itself still give more than 1: the covariance is divided by another "
            "number than the variances.",
        ),
        Mistake(
            lambda x, y: _window_ssim(x, y, pixels_less=(1, 1)),
            "Now both are divided by the number of pixels minus one. They agree, but the field "
            "takes means: divide by the number of pixels.",
        ),
        Mistake(
            lambda x, y: _window_ssim(x, y, pixels_less=(1, 0)),
            "The variances are divided by the number of pixels minus one, the covariance is not. "
            "So a window and itself give less than 1.",
        ),
        Mistake(
            lambda x, y: min(1.0, _window_ssim(x, y, pixels_less=(0, 1))),
            "Cutting off at 1 hides the symptom. Other pairs are still too high.",
        ),
        Mistake(
            lambda x, y: _window_ssim(x, y, c1=0.01 * 255, c2=0.03 * 255),
            "The two constants are squared: (0.01 * 255) ** 2.",
        ),
        Mistake(
            lambda x, y: _window_ssim(x, y, c1=0, c2=0),
            "The two constants are missing. They keep the fractions calm where a window is dark "
            "or has no contrast.",
        ),
    ),
    hints=(
        "For a window and itself numerator and denominator have to be equal. Print covariance and "
        "x.var() for x and x.",
        "np.cov divides by the number of pixels minus one unless told otherwise, x.var() does not.",
        "((x - x.mean()) * (y - y.mean())).mean(), or np.cov(..., ddof=0)",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_PSNR, _LUMA, _PROTOCOL_PSNR, _WINDOW_SSIM)
