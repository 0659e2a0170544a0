"""MATLAB's ``imresize``, exactly, and the kernels behind it.

Every table of the field is computed on low-resolution images that MATLAB made. Resizing takes
weighted means of neighbours, along the rows and then along the columns. `_taps` computes the
weights. They are applied to arrays in float64 (exact for uint8), and to torch tensors
(differentiable, on any device).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import sparse

__all__ = [
    "KERNELS",
    "Kernel",
    "cubic",
    "imresize",
    "imresize_bands",
    "modcrop",
    "resized",
    "resize_matrix",
]


@dataclass(frozen=True)
class Kernel:
    """An interpolation kernel: how much a neighbour counts at a given distance.

    Attributes
    ----------
    name : str
        Shown in titles and messages.
    function : callable
        Maps distances (float64 array, in input pixels) to weights; zero beyond `width` / 2.
    width : float
        Full width of the support, in input pixels.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    width: float


def cubic(a: float = -0.5) -> Kernel:
    """Cubic convolution of R. Keys with parameter `a`.

    MATLAB and Pillow use a = -0.5, torch and OpenCV -0.75. It is the slope at distance 1: a more
    negative one is sharper and rings more.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing",
    IEEE Trans. Acoustics, Speech, and Signal Processing 29(6), 1981.
    """

    def function(x):
        x = np.abs(x)
        cube = x * x * x  # the same on every processor, which x**3 is not
        near = (a + 2) * cube - (a + 3) * x**2 + 1
        far = a * cube - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))

    return Kernel(f"cubic (a = {a:g})", function, 4.0)


def _box(x):
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _triangle(x):
    return np.maximum(1 - np.abs(x), 0.0)


def _lanczos(lobes: int) -> Kernel:
    def function(x):
        return np.sinc(x) * np.sinc(x / lobes) * (np.abs(x) < lobes)

    return Kernel(f"lanczos{lobes}", function, 2.0 * lobes)


#: The kernels that `imresize` knows by name: nearest, box, bilinear, bicubic, lanczos2, lanczos3.
#:
#: :meta hide-value:
KERNELS: dict[str, Kernel] = {
    "nearest": Kernel("nearest", _box, 1.0),
    "box": Kernel("box", _box, 1.0),
    "bilinear": Kernel("bilinear", _triangle, 2.0),
    "bicubic": cubic(-0.5),
    "lanczos2": _lanczos(2),
    "lanczos3": _lanczos(3),
}
_BLOCK = 2**20  # values converted to float64 at a time
_BORDERS = ("replicate", "mirror")


def imresize(
    image: np.ndarray | torch.Tensor,
    scale: float,
    *,
    kernel: str | Kernel = "bicubic",
    antialias: bool = True,
    border: str = "replicate",
):
    """Resize by a factor, as MATLAB's ``imresize(image, scale, kernel)`` does.

    For uint8 arrays the result is MATLAB's, bit for bit: first the rows, then the columns, each
    time rounded half up and clipped to 0..255.

    Parameters
    ----------
    image : ndarray or Tensor
        Array of shape (H, W) or (H, W, C), uint8, uint16, float32 or float64; or a
        floating-point tensor of shape (N, C, H, W) or (C, H, W), on any device. Results for
        tensors are differentiable and not clipped.
    scale : float
        Output size over input size, > 0. The output has ``ceil(size * scale)`` pixels a side.
    kernel : str or Kernel
        "nearest", "box", "bilinear", "bicubic" (Keys, a = -0.5), "lanczos2", "lanczos3",
        or a `Kernel`, for instance ``cubic(-0.75)``.
    antialias : bool
        When shrinking, stretch the kernel by 1 / scale, so that every input pixel counts.
        "nearest" never does this.
    border : {"replicate", "mirror"}
        What lies beyond the edge: the edge pixel again (older MATLAB, and the LR files of Set5,
        Set14, BSD100, Urban100), or the mirrored picture (newer MATLAB).

    Returns
    -------
    ndarray or Tensor
        Of the same kind and type as `image`.

    Examples
    --------
    >>> imresize(np.array([[0, 100, 200, 100]], dtype=np.uint8), 0.5)
    array([[ 61, 148]], dtype=uint8)
    """
    if isinstance(image, torch.Tensor):
        return _resize_tensor(image, scale, kernel, antialias, border)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image must be an ndarray or a Tensor, got {type(image).__name__}")
    if image.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise TypeError(f"image must be uint8, uint16, float32 or float64, got {image.dtype}")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"image must have shape (H, W) or (H, W, C), got {image.shape}")
    rows, columns = (
        _sparse_matrix(size, float(scale), _kernel(kernel), antialias, border)
        for size in image.shape[:2]
    )
    image = _apply(rows, image)  # (H', W, C)
    image = _apply(columns, image.swapaxes(0, 1)).swapaxes(0, 1)  # (H', W', C)
    return np.ascontiguousarray(image)


def imresize_bands(
    image: np.ndarray, scale: float, *, kernel: str | Kernel = "bicubic"
) -> Iterator[np.ndarray]:
    """Yield the rows of ``imresize(image, scale, kernel=kernel)`` in bands, from top to bottom.

    `image` is an array (H, W, C). For results that are written as they are made.
    """
    rows, columns = (
        _sparse_matrix(size, float(scale), _kernel(kernel), True, "replicate")
        for size in image.shape[:2]
    )
    for start in range(0, rows.shape[0], 256):
        part = rows[start : start + 256]
        first, last = part.indices.min(), part.indices.max() + 1
        band = _apply(part[:, first:last], image[first:last])
        yield np.ascontiguousarray(_apply(columns, band.swapaxes(0, 1)).swapaxes(0, 1))


def resize_matrix(
    size: int,
    scale: float,
    *,
    kernel: str | Kernel = "bicubic",
    antialias: bool = True,
    border: str = "replicate",
) -> np.ndarray:
    """Matrix that resizes one dimension: float64, (ceil(size * scale), size); each row sums to 1.

    ``resize_matrix(len(row), scale) @ row`` resizes a row. The parameters are those of `imresize`.
    """
    return _sparse_matrix(size, float(scale), _kernel(kernel), antialias, border).toarray()


def modcrop(image: np.ndarray | torch.Tensor, scale: int):
    """Cut off the right and the bottom edge so that both sides are multiples of `scale`.

    `image` is an array (H, W) or (H, W, C), or a tensor (..., H, W).
    """
    if scale != int(scale) or scale < 1:
        raise ValueError(f"scale must be a whole number of at least 1, got {scale!r}")
    scale = int(scale)
    is_tensor = isinstance(image, torch.Tensor)
    height, width = image.shape[-2:] if is_tensor else image.shape[:2]
    if height < scale or width < scale:
        raise ValueError(f"image must be at least {scale}x{scale} pixels, got {height}x{width}")
    height, width = height - height % scale, width - width % scale
    return image[..., :height, :width] if is_tensor else image[:height, :width]


def resized(size: int, scale: float) -> int:
    """Pixels of a side after `imresize`."""
    # 30 * 0.1 is 3.0000000000000004 in floating point, which must not add a fourth pixel.
    return max(1, math.ceil(size * scale * (1 - 1e-12)))


def _kernel(kernel: str | Kernel) -> Kernel:
    if isinstance(kernel, Kernel):
        return kernel
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be a Kernel or one of {', '.join(KERNELS)}, got {kernel!r}")
    return KERNELS[kernel]


def _taps(size: int, scale: float, kernel: Kernel, antialias: bool, border: str):
    """Find the K input pixels behind each output pixel: indices and weights, both (out, K).

    Follows the function ``contributions`` in MATLAB's imresize.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be a finite number > 0, got {scale!r}")
    if border not in _BORDERS:
        raise ValueError(f"border must be one of {', '.join(_BORDERS)}, got {border!r}")
    out_size = resized(size, scale)
    stretch = scale if antialias and scale < 1 and kernel.name != "nearest" else 1.0
    width = kernel.width / stretch

    # Centres of the output pixels, in input pixels counted from 1 (half-pixel alignment).
    centres = np.arange(1, out_size + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centres - width / 2)
    indices = left[:, None] + np.arange(math.ceil(width) + 2)  # (out, K)
    weights = stretch * kernel.function(stretch * (centres[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)

    indices = indices.astype(np.int64) - 1
    if border == "replicate":
        indices = indices.clip(0, size - 1)
    else:
        indices = indices % (2 * size)
        indices = np.minimum(indices, 2 * size - 1 - indices)
    keep = np.any(weights != 0, axis=0)
    return indices[:, keep], weights[:, keep]


@lru_cache(maxsize=64)
def _sparse_matrix(size, scale, kernel, antialias, border):
    indices, weights = _taps(size, scale, kernel, antialias, border)
    out_size, taps = indices.shape
    # Several taps on one edge pixel stay separate entries: they are added in MATLAB's order.
    row_starts = np.arange(0, out_size * taps + 1, taps)
    return sparse.csr_array((weights.ravel(), indices.ravel(), row_starts), shape=(out_size, size))


def _apply(matrix, image: np.ndarray) -> np.ndarray:
    """Multiply along the first axis; whole numbers stay whole, rounded half up."""
    flat = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    result = np.empty((matrix.shape[0], flat.shape[1]), dtype=image.dtype)
    # In blocks: float64 takes eight times the memory of uint8.
    block = max(1, _BLOCK // max(matrix.shape))
    for start in range(0, flat.shape[1], block):
        columns = slice(start, start + block)
        values = matrix @ flat[:, columns].astype(np.float64)
        if image.dtype.kind == "u":
            values += 0.5  # the cast below cuts the fraction off
            np.clip(values, 0, np.iinfo(image.dtype).max, out=values)
        result[:, columns] = values
    return result.reshape(-1, *image.shape[1:])


def _resize_tensor(image, scale, kernel, antialias, border):
    if not image.is_floating_point():
        raise TypeError(
            f"a tensor must be floating point (see to_float), got {image.dtype}; "
            "uint8 images go in as arrays (H, W, C)"
        )
    if image.ndim not in (3, 4) or 0 in image.shape[-3:]:
        raise ValueError(f"a tensor must have shape (N, C, H, W), got {tuple(image.shape)}")
    for dim in (-2, -1):  # rows, then columns
        taps = _taps(image.shape[dim], float(scale), _kernel(kernel), antialias, border)
        indices, weights = map(torch.from_numpy, taps)
        weights = weights.to(image.dtype)  # here: Apple's GPU has no float64
        indices, weights = indices.to(image.device), weights.to(image.device)
        shape = (-1, 1) if dim == -2 else (-1,)
        image = sum(
            image.index_select(dim, indices[:, k]) * weights[:, k].view(shape)
            for k in range(indices.shape[1])
        )
    return image
