"""Answers to the exercises of 00 to 03, for test_unusual_answers.py."""

import functools
import math

import numpy as np
import torch
from scipy import signal
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srlib import exercises
from srlib.image import rgb_to_y
from srlib.metrics import psnr, score
from srlib.resample import KERNELS, cubic, imresize, resize_matrix


def loops(values_at):
    """Fill an array like `x` by a function of one number."""
    return lambda x, a: np.array([values_at(abs(v), a) for v in np.ravel(x)]).reshape(np.shape(x))


def keys(x, a):
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def positions(out_size, scale):
    return (np.arange(out_size) + 0.5) / scale - 0.5


def row_by_loops(row, scale):
    stretch, result = min(scale, 1.0), []
    for i in range(math.ceil(len(row) * scale)):
        position, total, weights = (i + 0.5) / scale - 0.5, 0.0, 0.0
        reach = math.ceil(2 / stretch)
        for j in range(math.floor(position) - reach, math.floor(position) + reach + 2):
            weight = keys(abs(stretch * (position - j)), -0.5)
            total += weight * row[min(max(j, 0), len(row) - 1)]
            weights += weight
        result.append(total / weights)
    return np.array(result)


def row_by_padding(row, scale):
    """All pixels of a padded row, weights of each output pixel as a matrix."""
    margin = 12
    padded = np.pad(row, margin, mode="edge")
    out = positions(int(np.ceil(len(row) * scale)), scale)
    distance = out[:, None] - np.arange(-margin, len(row) + margin)
    weights = cubic(-0.5).function(min(scale, 1) * distance)
    return (weights @ padded) / weights.sum(1)


def running_mean(pictures):
    mean = 0
    for count, picture in enumerate(pictures, start=1):
        mean = mean + (picture - mean) / count
    return mean


def window_ssim(x, y, ddof=0):
    c1, c2 = 6.5025, 58.5225
    cov = np.cov(np.ravel(x), np.ravel(y), ddof=ddof)
    mx, my = np.mean(x), np.mean(y)
    structure = (2 * cov[0, 1] + c2) / (cov[0, 0] + cov[1, 1] + c2)
    return (2 * mx * my + c1) / (mx * mx + my * my + c1) * structure


def protocol(sr, hr, scale, peak=255, border=None, luma=rgb_to_y):
    edge = scale if border is None else border
    difference = (luma(sr) - luma(hr))[edge:-edge, edge:-edge]
    return 20 * np.log10(peak / np.sqrt(np.square(difference).mean()))


def in_place(function):
    """Do the work, and leave the first array changed."""

    @functools.wraps(function)
    def spoiling(first, *rest):
        result = np.copy(function(first, *rest))
        (first[0] if isinstance(first, list) else first)[...] += 1
        return result

    return spoiling


WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255

RIGHT = {
    "00.1": [
        lambda image, height, width: image[
            (len(image) - height) >> 1 : ((len(image) - height) >> 1) + height
        ][:, (image.shape[1] - width) // 2 :][:, :width],
        lambda image, height, width: (
            np.array(
                [
                    line[(image.shape[1] - width) // 2 : (image.shape[1] + width) // 2]
                    for line in image[
                        (image.shape[0] - height) // 2 : (image.shape[0] + height) // 2
                    ]
                ]
            )
            if (image.shape[0] - height) % 2 == (image.shape[1] - width) % 2 == 0
            else image[(len(image) - height) // 2 :][:height][:, (image.shape[1] - width) // 2 :][
                :, :width
            ]
        ),
        lambda image, height, width: np.take(
            np.take(
                image, range((len(image) - height) // 2, (len(image) - height) // 2 + height), 0
            ),
            np.arange(width) + (image.shape[1] - width) // 2,
            axis=1,
        ),
        lambda image, height, width: image[
            np.ix_(
                np.arange(height) + (image.shape[0] - height) // 2,
                np.arange(width) + (image.shape[1] - width) // 2,
            )
        ],
        lambda image, height, width: np.rot90(
            np.rot90(image[(len(image) - height) // 2 :][:height])[
                -((image.shape[1] - width) // 2) - width :
            ][:width],
            -1,
        ),
    ],
    "00.2": [
        lambda image, scale: np.kron(image, np.ones((scale, scale, 1), image.dtype)),
        lambda image, scale: image[
            np.arange(len(image) * scale)[:, None] // scale,
            np.arange(image.shape[1] * scale) // scale,
        ],
        lambda image, scale: imresize(image, scale, kernel="nearest"),
        lambda image, scale: np.stack(
            [
                np.stack([p for p in line for _ in range(scale)])
                for line in image
                for _ in range(scale)
            ]
        ),
        lambda image, scale: np.broadcast_to(
            image[:, None, :, None],
            (image.shape[0], scale, image.shape[1], scale, 3),
        ).reshape(scale * image.shape[0], -1, 3),
    ],
    "01.1": [
        lambda image, scale: np.rint(block_reduce(image, (scale, scale, 1), np.mean)).astype("u1"),
        lambda image, scale: np.floor(
            sum(image[r::scale, c::scale].astype(float) for r in range(scale) for c in range(scale))
            / scale**2
            + 0.5
        ).astype(np.uint8),
        lambda image, scale: (
            imresize(image.astype(float), 1 / scale, kernel="box").round().astype(np.uint8)
        ),
        lambda image, scale: (
            torch.nn.functional.avg_pool2d(
                torch.tensor(image).permute(2, 0, 1)[None].double(), scale
            )[0]
            .permute(1, 2, 0)
            .round()
            .numpy()
            .astype(np.uint8)
        ),
        lambda image, scale: (
            (
                image.astype(np.uint32)
                .reshape(len(image) // scale, scale, -1, scale, 3)
                .sum((1, 3))
                * 2
                + scale**2
            )
            // (2 * scale**2)
        ).astype(np.uint8),
    ],
    "01.2": [
        lambda frequency, sampling_rate: np.minimum(
            np.mod(frequency, sampling_rate), -np.mod(frequency, sampling_rate) + sampling_rate
        ),
        lambda frequency, sampling_rate: np.abs(
            (np.asarray(frequency) + sampling_rate / 2) % sampling_rate - sampling_rate / 2
        ),
        lambda frequency, sampling_rate: (
            np.arccos(np.cos(2 * np.pi * np.asarray(frequency) / sampling_rate))
            * sampling_rate
            / (2 * np.pi)
        ),
        lambda frequency, sampling_rate: np.min(
            [np.abs(frequency - k * sampling_rate) for k in range(100)], axis=0
        ),
        lambda frequency, sampling_rate: np.vectorize(
            lambda f: abs(math.remainder(f, sampling_rate))
        )(frequency),
    ],
    "01.3": [
        lambda candidate, lr, scale: np.mean(
            np.abs(np.subtract(imresize(candidate, 1 / scale), lr, dtype=float))
        ),
        lambda candidate, lr, scale: (
            np.linalg.norm(imresize(candidate, 1 / scale).astype(float).ravel() - lr.ravel(), 1)
            / lr.size
        ),
        lambda candidate, lr, scale: (
            torch.tensor(imresize(candidate, 1 / scale))
            .double()
            .sub(torch.tensor(lr).double())
            .abs()
            .mean()
        ),
        lambda candidate, lr, scale: float(
            sum(
                abs(int(a) - int(b))
                for a, b in zip(imresize(candidate, 1 / scale).flat, lr.flat, strict=True)
            )
            / lr.size
        ),
        lambda candidate, lr, scale: np.float32(
            np.abs(imresize(candidate, 1 / scale).astype(np.int16) - lr).mean()
        ),
    ],
    "01.4": [
        running_mean,
        lambda pictures: np.mean(np.stack(list(pictures)), axis=0),
        lambda pictures: torch.stack([torch.tensor(p).double() for p in pictures]).mean(0).numpy(),
        lambda pictures: functools.reduce(
            lambda mean, nth: mean + (nth[1] - mean) / nth[0], enumerate(pictures, start=1), 0.0
        ),
        lambda pictures: np.divide(
            *functools.reduce(lambda sums, p: (sums[0] + p, sums[1] + 1), pictures, (0.0, 0))
        ),
    ],
    "02.1": [
        loops(keys),
        lambda x, a: np.piecewise(
            np.abs(x),
            [np.abs(x) <= 1, (np.abs(x) > 1) & (np.abs(x) <= 2)],
            [
                lambda d: ((a + 2) * d - (a + 3)) * d * d + 1,
                lambda d: a * (d - 1) * (d - 2) ** 2,
                0,
            ],
        ),
        lambda x, a: np.select(
            [abs(x) < 1, abs(x) < 2],
            [(a + 2) * abs(x) ** 3 - (a + 3) * x**2 + 1, a * (abs(x) - 1) * (abs(x) - 2) ** 2],
        ),
        lambda x, a: cubic(a).function(np.array(x)),
        np.vectorize(lambda x, a: keys(abs(x), a), otypes=[float]),
    ],
    "02.2": [
        lambda out_size, scale: np.array([(i + 0.5) / scale - 0.5 for i in range(out_size)]),
        lambda out_size, scale: (2 * np.arange(out_size) + 1 - scale) / (2 * scale),
        lambda out_size, scale: np.linspace(
            0.5 / scale - 0.5, (out_size - 0.5) / scale - 0.5, out_size
        ),
        lambda out_size, scale: np.cumsum(np.full(out_size, 1 / scale)) - 0.5 / scale - 0.5,
        lambda out_size, scale: np.arange(0.5, out_size) / scale - 0.5,
    ],
    "02.3": [
        row_by_loops,
        row_by_padding,
        lambda row, scale: imresize(row[:, None], scale)[:, 0],
        lambda row, scale: imresize(np.stack([row, row], 1), scale).mean(axis=1),
        lambda row, scale: resize_matrix(row.size, scale, kernel=cubic(-0.5)).dot(row),
    ],
    "02.4": [
        row_by_loops,
        row_by_padding,
        lambda row, scale: imresize(row[:, None], scale)[:, 0],
        lambda row, scale: (
            np.flip(row_by_padding(np.flip(row), scale))
            if float(len(row) * scale).is_integer()
            else row_by_padding(row, scale)
        ),
        lambda row, scale: np.array([w @ row for w in resize_matrix(len(row), scale)]),
    ],
    "03.1": [
        lambda prediction, target, data_range: (
            20
            * math.log10(
                data_range / np.sqrt(np.square(np.subtract(prediction, target, dtype=float)).mean())
            )
        ),
        lambda prediction, target, data_range: peak_signal_noise_ratio(
            np.asarray(target, float), np.asarray(prediction, float), data_range=data_range
        ),
        lambda prediction, target, data_range: (
            -10 * np.log10(np.mean(((prediction.astype("f8") - target) / data_range) ** 2))
        ),
        lambda prediction, target, data_range: (
            10
            * torch.log10(
                data_range**2
                / torch.nn.functional.mse_loss(
                    torch.tensor(prediction).double(), torch.tensor(target).double()
                )
            )
        ),
        lambda prediction, target, data_range: (
            10
            * np.log10(
                data_range**2
                * target.size
                / np.linalg.norm((prediction.astype(float) - target).ravel()) ** 2
            )
        ),
    ],
    "03.2": [
        lambda image: image @ WEIGHTS + 16,
        lambda image: np.tensordot(image, WEIGHTS, axes=1) + 16.0,
        lambda image: np.einsum("hwc,c->hw", image.astype(np.float32), WEIGHTS) + 16,
        lambda image: 16 + (image / 255 * [65.481, 128.553, 24.966]).sum(axis=-1),
        lambda image: rgb_to_y(image.copy()).astype(np.float32),
    ],
    "03.3": [
        protocol,
        lambda sr, hr, scale: score(sr, hr, scale)[0],
        lambda sr, hr, scale: psnr(
            rgb_to_y(sr[scale:-scale, scale:-scale]),
            rgb_to_y(hr[scale:-scale, scale:-scale]),
            data_range=255,
        ),
        lambda sr, hr, scale: protocol(*(np.rot90(image) for image in (sr, hr)), scale),
        lambda sr, hr, scale: peak_signal_noise_ratio(
            *(rgb_to_y(i)[scale : len(i) - scale, scale : i.shape[1] - scale] for i in (hr, sr)),
            data_range=255,
        ),
    ],
    "03.4": [
        window_ssim,
        lambda x, y: window_ssim(x.T, y.T),
        lambda x, y: window_ssim(y, x),
        lambda x, y: np.float32(window_ssim(x.astype(np.float64), y)),
        lambda x, y: torch.tensor(window_ssim(x, y)),
    ],
}

WRONG = {
    "00.1": [
        lambda image, height, width: image[
            round((len(image) - height) / 2) :, round((image.shape[1] - width) / 2) :
        ][:height, :width],
        lambda image, height, width: image[-height:, -width:],
        in_place(exercises.get_exercise("00.1").reference),
    ],
    "00.2": [
        lambda image, scale: image.repeat(2, axis=0).repeat(2, axis=1),
        lambda image, scale: imresize(image, scale),
        lambda image, scale: image.repeat(scale, 0).repeat(scale, 1).astype(float),
        in_place(exercises.get_exercise("00.2").reference),
    ],
    "01.1": [
        lambda image, scale: imresize(image, 1 / scale),
        lambda image, scale: np.ceil(block_reduce(image, (scale, scale, 1), np.mean)).astype("u1"),
        lambda image, scale: block_reduce(image, (scale, scale, 1), np.median).astype("u1"),
        lambda image, scale: np.rint(block_reduce(image, (3, 3, 1), np.mean)).astype("u1"),
        lambda image, scale: imresize(image, 1 / scale, kernel="box") // 2 * 2,
        in_place(exercises.get_exercise("01.1").reference),
    ],
    "01.2": [
        lambda frequency, sampling_rate: np.abs(frequency - 10 * np.round(frequency / 10)),
        lambda frequency, sampling_rate: np.abs(
            frequency - sampling_rate * np.floor(np.divide(frequency, sampling_rate))
        ),
        lambda frequency, sampling_rate: abs(math.remainder(np.max(frequency), sampling_rate)),
    ],
    "01.3": [
        lambda candidate, lr, scale: np.abs(
            imresize(candidate, 1 / scale, antialias=False).astype(float) - lr
        ).mean(),
        lambda candidate, lr, scale: np.abs(imresize(candidate, 1 / 4).astype(float) - lr).mean(),
        lambda candidate, lr, scale: np.abs(
            imresize(candidate, 1 / scale)[:5, :5].astype(float) - lr[:5, :5]
        ).mean(),
        lambda candidate, lr, scale: np.abs(
            imresize(candidate[..., :1], 1 / scale).astype(float) - lr[..., :1]
        ).mean(),
    ],
    "01.4": [
        lambda pictures: np.median(np.stack(list(pictures)), axis=0),
        lambda pictures: sum(p.astype(float) for p in pictures) / 3,
        # Right for lists only.
        lambda pictures: sum(np.asarray(p, np.float32) for p in pictures) / len(list(pictures)),
        lambda pictures: sum(pictures, np.zeros(pictures[0].shape)) / len(pictures),
        lambda pictures: np.average(np.array(pictures), axis=0, weights=[1] * len(pictures)),
        lambda pictures: (pictures[0].astype(float) + pictures[-1]) / 2,
        lambda pictures: np.mean(np.stack(pictures), axis=0).round(),
        in_place(lambda pictures: np.mean(np.stack(pictures), axis=0)),
    ],
    "02.1": [
        lambda x, a: np.where(abs(x) <= 2, cubic(a).function(x), a),
        lambda x, a: cubic(-0.75).function(x),
        lambda x, a: np.maximum(cubic(a).function(x), 0),
        lambda x, a: KERNELS["lanczos2"].function(x),
        in_place(lambda x, a: cubic(a).function(x)),
    ],
    "02.2": [
        lambda out_size, scale: np.arange(out_size) / scale - 0.375,
        lambda out_size, scale: np.arange(out_size) / scale + 0.5,
        lambda out_size, scale: np.maximum(positions(out_size, scale), 0),
        lambda out_size, scale: positions(out_size, round(scale) or scale),
    ],
    "02.3": [
        lambda row, scale: row_by_loops(row, scale)[: math.floor(len(row) * scale)],
        lambda row, scale: np.resize(row_by_loops(row, scale), round(len(row) * scale)),
        lambda row, scale: np.resize(row_by_loops(row, scale), int(len(row) * scale) + 1),
        lambda row, scale: imresize(row[:, None], scale, border="mirror")[:, 0],
        lambda row, scale: imresize(row[:, None], scale, kernel=cubic(-0.75))[:, 0],
        lambda row, scale: imresize(row[:, None], scale, kernel="lanczos2")[:, 0],
        lambda row, scale: signal.resample(row, math.ceil(len(row) * scale)),
        lambda row, scale: np.clip(row_by_loops(row, scale), 0, 255),
        in_place(row_by_loops),
    ],
    "02.4": [
        lambda row, scale: imresize(row[:, None], scale, antialias=False)[:, 0],
        lambda row, scale: np.clip(row_by_loops(row, scale), row.min(), row.max()),
        lambda row, scale: imresize(row[:, None], scale, kernel="bilinear")[:, 0],
        in_place(row_by_loops),
    ],
    "03.1": [
        lambda prediction, target, data_range: psnr(
            *(np.asarray(i, float) / i.max() for i in (prediction, target)), data_range=1
        ),
        lambda prediction, target, data_range: (
            10
            * np.log10(
                (255 if data_range > 1 else 1) ** 2 / np.mean((prediction * 1.0 - target) ** 2)
            )
        ),
        lambda prediction, target, data_range: (
            10 * np.log10(data_range**2 / np.var(prediction.astype(float) - target))
        ),
        lambda prediction, target, data_range: (
            10 * np.log10(data_range**2 / np.median((prediction.astype(float) - target) ** 2))
        ),
    ],
    "03.2": [
        lambda image: image @ np.array([0.299, 0.587, 0.114]),
        lambda image: (image @ WEIGHTS + 16).astype(np.uint8),
        lambda image: np.clip(image @ WEIGHTS + 16, 16, 200),
        lambda image: (image @ WEIGHTS + 16)[..., None],
        in_place(rgb_to_y),
    ],
    "03.3": [
        lambda sr, hr, scale: protocol(sr, hr, scale, border=4),
        lambda sr, hr, scale: protocol(sr, hr, scale, border=scale + 1),
        lambda sr, hr, scale: protocol(sr, hr, scale, peak=235),
        lambda sr, hr, scale: protocol(sr, hr, scale, luma=lambda i: rgb_to_y(i).round()),
        lambda sr, hr, scale: protocol(sr, hr, scale, luma=lambda i: rgb_to_y(i[..., ::-1])),
        lambda sr, hr, scale: score(sr, hr, scale),
        in_place(protocol),
    ],
    "03.4": [
        functools.partial(window_ssim, ddof=1),
        lambda x, y: min(window_ssim(x, y, ddof=1), 1),
        lambda x, y: abs(window_ssim(x, y)),
        lambda x, y: structural_similarity(x, y, data_range=255, win_size=3),
        lambda x, y: np.corrcoef(x.ravel(), y.ravel())[0, 1],
        in_place(window_ssim),
    ],
}
