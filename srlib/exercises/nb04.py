"""Exercises: first networks."""

import numpy as np

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image

__all__ = ["EXERCISES"]


def _picture(height, width, seed=0):
    return noise_image(height, width, seed)[:, :, 0] / 255


# A convolution


def _convolve(image, kernel):
    height, width = (size - k + 1 for size, k in zip(image.shape, kernel.shape, strict=True))
    result = np.zeros((height, width))
    for row, column in np.ndindex(kernel.shape):
        window = image[row : row + height, column : column + width]
        result += kernel[row, column] * window
    return result


def _convolve_padded(image, kernel):
    before = [(k - 1) // 2 for k in kernel.shape]
    after = [k // 2 for k in kernel.shape]
    return _convolve(np.pad(image, list(zip(before, after, strict=True))), kernel)


def _convolve_last(image, kernel):
    height, width = (size - k + 1 for size, k in zip(image.shape, kernel.shape, strict=True))
    return kernel[-1, -1] * image[-height:, -width:]


_CONVOLVE = Exercise(
    title="a convolution by hand",
    reference=_convolve,
    tolerance=1e-9,
    cases=lambda: (
        Case("a kernel of 3x3", (_picture(5, 6), _picture(3, 3, seed=1) - 0.4)),
        Case("a wide kernel", (_picture(6, 9, seed=2), _picture(2, 5, seed=3) - 0.4)),
        Case("one weight", (_picture(3, 4), np.array([[2.5]]))),
        Case("as large as the picture", (_picture(4, 3), _picture(4, 3, seed=4))),
        Case("whole numbers", (noise_image(5, 5)[:, :, 1], np.full((2, 3), 0.5))),
    ),
    mistakes=(
        Mistake(
            lambda image, kernel: _convolve(image, kernel[::-1, ::-1]),
            "The kernel is turned upside down. That is the convolution of mathematics; networks "
            "lay the kernel on the picture as it is.",
        ),
        Mistake(
            _convolve_padded,
            "The picture was continued beyond its border. Here the kernel stays inside, "
            "so the result is smaller than the picture.",
        ),
        Mistake(
            lambda image, kernel: _convolve(image, kernel)[:-1, :-1],
            "The last row and column are missing. A kernel of k fits n - k + 1 times.",
        ),
        Mistake(
            lambda image, kernel: _convolve(image, kernel.T),
            "Rows and columns of the kernel are exchanged.",
        ),
        Mistake(
            lambda image, kernel: _convolve(image, kernel) / kernel.size,
            "This is a mean of the products. A convolution is their sum.",
        ),
        Mistake(
            _convolve_last,
            "Only the last product is left. All products under the kernel are added up.",
        ),
    ),
    hints=(
        "How often does a kernel of 3 fit into a row of 5, without leaving it?",
        "Loop over the weights of the kernel. Each multiplies a shifted part of the picture.",
        "result += kernel[i, j] * image[i : i + height, j : j + width], where height and width "
        "are those of the result.",
    ),
)


# Max pooling


def _max_pool(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(height, size, width, size)
    return blocks.max(axis=(1, 3))


def _blocks_mean(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(height, size, width, size)
    return blocks.mean(axis=(1, 3))


def _sliding_max(image, size):
    height, width = (side - size + 1 for side in image.shape)
    shifted = [
        image[row : row + height, column : column + width] for row, column in np.ndindex(size, size)
    ]
    return np.max(shifted, axis=0)


def _max_pool_with_rest(image, size):
    rest = [(0, -side % size) for side in image.shape]
    return _max_pool(np.pad(image, rest, constant_values=image.min()), size)


def _max_pool_scrambled(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(size, height, size, width)
    return blocks.max(axis=(0, 2))


_MAX_POOL = Exercise(
    title="max pooling",
    reference=_max_pool,
    cases=lambda: (
        Case("blocks of 2x2", (_picture(4, 6), 2)),
        Case("blocks of 3x3", (_picture(9, 6, seed=1), 3)),
        Case("sides that are no multiples", (_picture(5, 7, seed=2), 2)),
        Case("negative values", (_picture(4, 4, seed=3) - 2, 2)),
        Case("size 1 changes nothing", (_picture(3, 4, seed=4), 1)),
    ),
    mistakes=(
        Mistake(_blocks_mean, "This is the mean of each block. Max pooling keeps the largest."),
        Mistake(
            _sliding_max,
            "The blocks overlap: this moves on by one pixel. Move on by a whole block.",
        ),
        Mistake(
            lambda image, size: _max_pool_with_rest(image, size),
            "Rows and columns that do not fill a block are left out.",
        ),
        Mistake(
            _max_pool_scrambled,
            "The pixels of a block are not neighbours. Check the order in reshape: "
            "(rows of blocks, size, columns of blocks, size).",
        ),
        Mistake(
            lambda image, size: image[size - 1 :: size, size - 1 :: size],
            "This keeps one corner of each block. Compare all its pixels.",
        ),
        Mistake(
            lambda image, size: np.maximum(_max_pool(image, size), 0),
            "Negative values became 0. The largest of negative numbers is negative.",
        ),
    ),
    hints=(
        "The result has height // size rows. Cut off what is left over.",
        "reshape(rows, size, columns, size) gives every block two axes of its own.",
        "image.reshape(rows, size, columns, size).max(axis=(1, 3)), after cutting.",
    ),
)


# Counting parameters


def _count_parameters(widths, kernel_size):
    return sum(
        before * after * kernel_size**2 + after
        for before, after in zip(widths[:-1], widths[1:], strict=True)
    )


def _count_with(widths, kernel_size, layer):
    layers = zip(widths[:-1], widths[1:], strict=True)
    return sum(layer(before, after, kernel_size) for before, after in layers)


_COUNT_PARAMETERS = Exercise(
    title="counting parameters",
    reference=_count_parameters,
    cases=lambda: (
        Case("one layer", ([3, 8], 3)),
        Case("two layers of 5x5", ([1, 4, 2], 5)),
        Case("four layers", ([3, 16, 32, 16, 3], 3)),
        Case("1x1", ([7, 5, 2], 1)),
    ),
    redraw=lambda random: tuple(
        (random.integers(2, 33, count).tolist(), size)
        for count, size in ((2, 3), (3, 5), (5, 3), (3, 1))
    ),
    mistakes=(
        Mistake(
            lambda widths, kernel_size: _count_with(widths, kernel_size, lambda b, a, k: b * a * k),
            "A kernel has kernel_size rows and as many columns, and each output channel a bias.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k * k
            ),
            "The biases are missing: one for each output channel.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k * k + b
            ),
            "A bias belongs to an output channel. This counts one for each input channel.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k * k + 1
            ),
            "This has one bias a layer. There is one for each output channel.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: a * k * k + a
            ),
            "Each output channel has a kernel for every input channel, not one kernel in all.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k + a
            ),
            "A kernel is a square: kernel_size rows of kernel_size weights.",
        ),
    ),
    hints=(
        "How many numbers does one output channel of one layer need?",
        "A kernel of kernel_size x kernel_size for each input channel, and one bias.",
        "before * after * kernel_size**2 + after, summed over zip(widths[:-1], widths[1:]).",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_CONVOLVE, _MAX_POOL, _COUNT_PARAMETERS)
