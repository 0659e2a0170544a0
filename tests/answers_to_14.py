"""Answers to the exercises of 14, for test_unusual_answers.py."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, signal


def pixel_by_pixel(frames, offsets, scale):
    height, width = (scale * n for n in frames.shape[1:3])
    samples = [[[] for _ in range(width)] for _ in range(height)]
    for frame, (down, right) in zip(frames, offsets, strict=True):
        for i, j in np.ndindex(*frame.shape[:2]):
            y, x = scale * i + down + scale // 2, scale * j + right + scale // 2
            if 0 <= y < height and 0 <= x < width:
                samples[y][x].append(frame[i, j].astype(float))
    zero = np.zeros(3)
    mean = [[np.mean(some, axis=0) if some else zero for some in row] for row in samples]
    return np.array(mean), np.array([[len(some) for some in row] for row in samples])


def by_bincount(frames, offsets, scale):
    count, h, w, _ = frames.shape
    t, i, j = np.indices((count, h, w))
    y = scale * i + offsets[t, 0] + (scale - 1) // 2
    x = scale * j + offsets[t, 1] + (scale - 1) // 2
    good = (y >= 0) & (y < scale * h) & (x >= 0) & (x < scale * w)
    place = (y * scale * w + x)[good]
    n = np.bincount(place, minlength=scale * scale * h * w)
    totals = [np.bincount(place, frames[good][:, c], len(n)) for c in range(3)]
    mean = np.stack(totals, axis=1) / np.maximum(n, 1)[:, None]
    return mean.reshape(scale * h, scale * w, 3), n.reshape(scale * h, scale * w)


def by_add_at(frames, offsets, scale):
    frames = np.asarray(frames, np.float32)
    h, w = frames.shape[1:3]
    total, count = np.zeros((scale * h, scale * w, 3)), np.zeros((scale * h, scale * w), int)
    for frame, offset in zip(frames, offsets, strict=True):
        y, x = np.mgrid[:h, :w] * scale + (scale - 1) // 2 + np.reshape(offset, (2, 1, 1))
        fits = (y >= 0) & (y < scale * h) & (x >= 0) & (x < scale * w)
        np.add.at(total, (y[fits], x[fits]), frame[fits])
        np.add.at(count, (y[fits], x[fits]), 1)
    mean = np.zeros_like(total)
    np.divide(total, count[..., None], out=mean, where=count[..., None] > 0)
    return mean, count


def with_room(frames, offsets, scale):
    """On a grid so large that nothing falls outside, which is then cut."""
    h, w = frames.shape[1:3]
    room = int(np.abs(offsets).max()) + 1
    total = np.zeros((scale * h + 2 * room, scale * w + 2 * room, 3))
    count = np.zeros(total.shape[:2])
    for frame, (down, right) in zip(frames, offsets, strict=True):
        top, left = room + down + scale // 2, room + right + scale // 2
        total[top : top + scale * h : scale, left : left + scale * w : scale][:h, :w] += frame
        count[top : top + scale * h : scale, left : left + scale * w : scale][:h, :w] += 1
    cut = slice(room, -room)
    total, count = total[cut, cut], count[cut, cut]
    return [total / (count + (count == 0))[..., None], count]


def by_torch(frames, offsets, scale):
    mean, count = with_room(frames, np.asarray(torch.tensor(offsets)), scale)
    return torch.tensor(mean).numpy(), torch.tensor(count).numpy()


def nearest_middle(frames, offsets, scale):
    """Rounds the middle of an LR pixel up."""
    return pixel_by_pixel(frames, np.asarray(offsets) + 1, scale)


def first_one_wins(frames, offsets, scale):
    mean, count = by_bincount(frames, offsets, scale)
    return mean, np.minimum(count, 1)


def spectrum(reference, moving):
    product = np.conj(np.fft.fft2(reference)) * np.fft.fft2(moving)
    return np.exp(1j * np.angle(product))


def by_angles(reference, moving):
    c = np.fft.ifft2(np.conj(spectrum(reference, moving))).real
    place = np.unravel_index(np.argmax(c), c.shape)
    return [(p + n // 2) % n - n // 2 for p, n in zip(place, c.shape, strict=True)]


def by_fftshift(reference, moving):
    c = np.fft.fftshift(np.abs(np.fft.ifft2(np.conj(spectrum(reference, moving)))))
    return np.argwhere(c == c.max())[0] - np.array(c.shape) // 2


def by_frequencies(reference, moving):
    c = np.fft.ifft2(np.conj(spectrum(reference, moving))).real
    row, column = divmod(int(c.argmax()), c.shape[1])
    return tuple(
        int(round(np.fft.fftfreq(n)[k] * n)) for n, k in zip(c.shape, (row, column), strict=True)
    )


def by_torch_fft(reference, moving):
    a, b = (torch.fft.fft2(torch.as_tensor(picture)) for picture in (reference, moving))
    c = torch.fft.ifft2(a * b.conj() / (a * b.conj()).abs()).real
    row, column = divmod(c.argmax().item(), c.shape[1])
    return (
        row - c.shape[0] * (row > c.shape[0] // 2),
        column - c.shape[1] * (column > c.shape[1] // 2),
    )


def by_real_transform(reference, moving):
    a, b = np.fft.rfft2(reference), np.fft.rfft2(moving)
    product = a * b.conj()
    c = np.fft.irfft2(product / (np.abs(product) + 1e-9), s=np.shape(reference))
    c = np.roll(c, (10, 10), (0, 1))[:21, :21]
    return tuple(np.unravel_index(c.argmax(), c.shape) - np.int64(10))


def product_not_normalised_but_flattened(reference, moving):
    a, b = (p - p.mean() for p in (reference, moving))
    c = np.fft.ifft2(np.fft.fft2(a) * np.conj(np.fft.fft2(b))).real
    return by_peak(c)


def by_peak(c):
    return tuple((p + n // 2) % n - n // 2 for p, n in zip(*where(c), strict=True))


def where(c):
    return np.unravel_index(c.argmax(), c.shape), c.shape


def normalised_by_one(reference, moving):
    a, b = np.fft.fft2(reference), np.conj(np.fft.fft2(moving))
    return by_peak(np.fft.ifft2(a / np.abs(a).max() * b).real)


def by_windows(sample, expected, size, tolerance):
    padded = np.pad(np.abs(sample - expected), size // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return windows.mean(axis=(2, 3)) <= tolerance


def by_pooling(sample, expected, size, tolerance):
    difference = torch.as_tensor(np.abs(sample - expected))[None, None]
    padded = F.pad(difference, [size // 2] * 4, mode="replicate")
    return (F.avg_pool2d(padded, size, stride=1) <= tolerance)[0, 0].numpy()


def by_convolution(sample, expected, size, tolerance):
    padded = np.pad(np.abs(expected - sample), size // 2, mode="edge")
    return signal.convolve2d(padded, np.full((size, size), size**-2.0), "valid") < tolerance


def by_rows_and_columns(sample, expected, size, tolerance):
    mean = np.maximum(sample - expected, expected - sample)
    for axis in (0, 1):
        mean = ndimage.uniform_filter1d(mean, size, axis=axis, mode="nearest")
    return np.where(mean > tolerance, False, True)


def by_loops(sample, expected, size, tolerance):
    height, width = sample.shape
    reach, result = size // 2, np.zeros((height, width), bool)
    for i, j in np.ndindex(height, width):
        rows = np.clip(np.arange(i - reach, i + reach + 1), 0, height - 1)
        columns = np.clip(np.arange(j - reach, j + reach + 1), 0, width - 1)
        window = np.ix_(rows, columns)
        result[i, j] = np.abs(sample[window] - expected[window]).mean() <= tolerance
    return result


def by_median(sample, expected, size, tolerance):
    return ndimage.median_filter(np.abs(sample - expected), size, mode="nearest") <= tolerance


def only_inside(sample, expected, size, tolerance):
    """At the border, the mean over what lies in the picture."""
    difference = np.abs(sample - expected)
    total = ndimage.uniform_filter(difference, size, mode="constant")
    share = ndimage.uniform_filter(np.ones_like(difference), size, mode="constant")
    return total / share <= tolerance


def as_numbers(sample, expected, size, tolerance):
    return by_windows(sample, expected, size, tolerance).astype(float)


def shift_of_means(sample, expected, size, tolerance):
    a, b = (ndimage.uniform_filter(p, size, mode="nearest") for p in (sample, expected))
    return np.abs(a - b) <= tolerance


def by_slices(lumas, path, margin):
    _, height, width = np.shape(lumas)
    values = []
    for t in range(len(lumas) - 1):
        down, right = path[t + 1] - path[t]
        first = lumas[t][margin : height - margin, margin : width - margin]
        top, left = margin - down, margin - right
        second = lumas[t + 1][top : top + first.shape[0], left : left + first.shape[1]]
        values.append(np.abs(first - second).mean())
    return np.mean(values)


def by_rolling_the_first(lumas, path, margin):
    """Turned round, and cut where the first one's middle has gone."""
    values = []
    for t in range(len(lumas) - 1):
        move = tuple(int(step) for step in path[t + 1] - path[t])
        back = np.roll(np.roll(lumas[t + 1], move[0], 0), move[1], 1)
        values.append(np.mean(np.abs(back - lumas[t])[margin:-margin, margin:-margin]))
    return sum(values) / len(values)


def in_torch(lumas, path, margin):
    lumas, path, total = torch.as_tensor(lumas), np.asarray(path).tolist(), 0.0
    for t in range(1, len(lumas)):
        shift = [path[t][axis] - path[t - 1][axis] for axis in (0, 1)]
        moved = torch.roll(lumas[t], shift, dims=(0, 1))
        total += F.l1_loss(
            moved[margin:-margin, margin:-margin], lumas[t - 1][margin:-margin, margin:-margin]
        )
    return total / (len(lumas) - 1)


def by_shifting(lumas, path, margin):
    moved = [
        ndimage.shift(luma, move, order=0, mode="nearest")
        for luma, move in zip(lumas[1:], np.diff(path, axis=0), strict=True)
    ]
    return np.abs(np.array(moved) - lumas[:-1])[:, margin:-margin, margin:-margin].mean()


def by_places(lumas, path, margin):
    lumas, values = np.array(lumas), []
    y, x = np.mgrid[margin : lumas.shape[1] - margin, margin : lumas.shape[2] - margin]
    for t, (down, right) in enumerate(np.diff(path, axis=0)):
        values += [np.abs(lumas[t, y, x] - lumas[t + 1, y - down, x - right])]
    return float(np.mean(values))


def all_to_the_first(lumas, path, margin):
    """Against frame 0 instead of the frame before."""
    return np.mean([by_slices(lumas[[0, t]], path[[0, t]], margin) for t in range(1, len(lumas))])


def highest_difference(lumas, path, margin):
    return max(by_slices(lumas[t : t + 2], path[t : t + 2], margin) for t in range(len(lumas) - 1))


RIGHT = {
    "14.1": [pixel_by_pixel, by_bincount, by_add_at, with_room, by_torch],
    "14.2": [
        *(by_angles, by_fftshift, by_frequencies, by_torch_fft, by_real_transform),
        lambda reference, moving: tuple(map(float, by_angles(reference, moving))),
    ],
    "14.3": [by_windows, by_pooling, by_convolution, by_rows_and_columns, by_loops],
    "14.4": [by_slices, by_rolling_the_first, in_torch, by_shifting, by_places],
}
WRONG = {
    "14.1": [nearest_middle, first_one_wins, lambda frames, offsets, scale: frames],
    "14.2": [
        product_not_normalised_but_flattened,
        normalised_by_one,
        lambda reference, moving: (0, 0),
    ],
    "14.3": [by_median, only_inside, as_numbers, shift_of_means],
    "14.4": [all_to_the_first, highest_difference, lambda lumas, path, margin: 0.0],
}
