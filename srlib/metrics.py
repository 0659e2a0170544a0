"""PSNR and SSIM, and the protocol behind a score.

The colour space, the border, the rounding and the peak each change a PSNR by 0.1 to 2 dB.
`EvalProtocol` states all of them; its defaults are those of the field's tables.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from srlib._arguments import check_range, to_float64
from srlib.image import rgb_to_y

__all__ = ["EvalProtocol", "psnr", "score", "ssim"]

_WINDOW_RADIUS = 5  # 11x11 pixels
_WINDOW_SIGMA = 1.5


def psnr(prediction, target, *, data_range: float):
    """Peak signal-to-noise ratio in decibels: ``10 log10(data_range**2 / MSE)``.

    Parameters
    ----------
    prediction, target : ndarray or Tensor
        Two arrays of one shape give one number, two tensors (N, C, H, W) one per image.
        Computed in float64, so that uint8 does not overflow.
    data_range : float
        Largest minus smallest value that a pixel can have: 255 for 8-bit images, 1 for 0..1.

    Returns
    -------
    float or Tensor
        In dB; infinite for equal images. For tensors float64 of shape (N,), on their device; on
        the CPU for tensors on Apple's GPU, which has no float64.

    Raises
    ------
    ValueError
        If the shapes differ, or an image cannot be in the range that `data_range` says: 0..255
        with 1, or 0..1 with 255. Values beside the range, by overshoot, are taken as they are.

    Examples
    --------
    >>> psnr(np.array([100, 100]), np.array([100, 110]), data_range=255)
    31.14...
    """
    prediction, target, batched = _as_batches(prediction, target, data_range)
    mse = (prediction - target).square().flatten(1).mean(dim=1)  # (N,)
    result = 10 * torch.log10(data_range**2 / mse)
    return result if batched else result.item()


def ssim(prediction, target, *, data_range: float):
    """Structural similarity, averaged over all positions of an 11x11 Gaussian window.

    sigma 1.5, population covariance, K1 = 0.01, K2 = 0.03. It equals scikit-image's
    ``structural_similarity(..., gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``.

    Parameters
    ----------
    prediction, target : ndarray or Tensor
        Two arrays (H, W) or (H, W, C) give one number, two tensors (N, C, H, W) one per image.
        Channels are scored one by one and averaged. Both sides at least 11 pixels.
    data_range : float
        As for `psnr`.

    Returns
    -------
    float or Tensor
        At most 1, for equal images. For tensors as `psnr`.

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", IEEE Trans. Image Processing 13(4), 2004.
    """
    x, y, batched = _as_batches(prediction, target, data_range)
    if x.ndim != 4:
        raise ValueError(f"images must be (H, W), (H, W, C) or (N, C, H, W), got {x.ndim - 1}-D")
    size = 2 * _WINDOW_RADIUS + 1
    if min(x.shape[-2:]) < size:
        height, width = x.shape[-2:]
        raise ValueError(f"images must be at least {size}x{size} pixels, got {height}x{width}")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    maps = torch.stack([x, y, x * x, y * y, x * y])  # (5, N, C, H, W)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _window_mean(maps)
    variance_x, variance_y = mean_xx - mean_x**2, mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    result = (luminance * structure).flatten(1).mean(dim=1)
    return result if batched else result.item()


@dataclass(frozen=True, kw_only=True)
class EvalProtocol:
    """How to compare a super-resolved image with the original; by default as the field's tables do.

    Attributes
    ----------
    channel : {"y", "y_full", "rgb"}
        "y": luma in the studio range 16..235 (MATLAB's ``rgb2ycbcr``), not rounded.
        "y_full": luma in the full range. "rgb": the mean over all three channels.
    border : int or None
        Pixels cut off on every side; None for as many as the scale.
    round_output : bool
        First round half up to grey levels and clip to 0..255, as saving to a file does.
    """

    channel: str = "y"
    border: int | None = None
    round_output: bool = True

    def __post_init__(self):
        if self.channel not in ("y", "y_full", "rgb"):
            raise ValueError(f"channel must be one of y, y_full, rgb, got {self.channel!r}")
        if self.border is not None and (self.border != int(self.border) or self.border < 0):
            raise ValueError(f"border must be None or a whole number >= 0, got {self.border!r}")


def score(sr, hr, scale: float, protocol: EvalProtocol = EvalProtocol()):  # noqa: B008
    """PSNR and SSIM of a super-resolved image under a protocol, with peak 255.

    Parameters
    ----------
    sr, hr : ndarray or Tensor
        Two images in 0..255, uint8 (`sr` may be floating point, not yet rounded), or two
        floating-point tensors in 0..1 on one device. Colour is (H, W, 3) or (N, 3, H, W).
        A grey original, (H, W) or (N, 1, H, W), is its own luma, whatever `protocol.channel`
        is; a coloured `sr` is then compared by its full-range luma. ValueError for an image that
        is in the other range or holds NaN, and for a grey `sr` beside a coloured `hr`.
    scale : float
        The factor of the enlargement, >= 1. Rounded up it is the default border.

    Returns
    -------
    tuple
        (PSNR in dB, SSIM): floats for arrays, tensors of shape (N,) for tensors.

    Notes
    -----
    A grey photograph converted to RGB scores 1.32 dB more, because its luma spans 219 of 255
    levels. One file of Set14 is grey: bicubic at x4 has a mean of 26.00 dB with that file as it
    is, and of 26.09 dB with it converted to RGB. `srlib.data.load_images` offers both.

    Examples
    --------
    >>> hr = np.tile(np.arange(60, dtype=np.uint8)[:, None, None], (1, 60, 3))
    >>> score(hr + np.uint8(1), hr, scale=2)
    (49.4..., 0.99...)
    """
    if not (math.isfinite(scale) and scale >= 1):
        raise ValueError(f"scale must be a finite number >= 1, got {scale!r}")
    batched = isinstance(hr, torch.Tensor)
    if batched != isinstance(sr, torch.Tensor):
        raise TypeError("sr and hr must both be arrays or both be tensors")
    given = {"sr": sr, "hr": hr} if batched else {"sr": np.asarray(sr), "hr": np.asarray(hr)}
    sr, hr = (_in_levels(image, name) for name, image in given.items())
    check_range(1 if batched else 255, **given)
    for name, image in (("sr", sr), ("hr", hr)):
        if torch.isnan(image).any():
            raise ValueError(f"{name} must be free of NaN, got at least one")
    if sr.shape[1] < hr.shape[1]:
        shapes = " and ".join(str(tuple(image.shape)) for image in given.values())
        raise ValueError(f"sr must have colour as hr has, got {shapes}")
    if protocol.round_output:
        sr = _round(sr)
    if batched:
        hr = _round(hr)  # dividing 8-bit levels by 255 has rounded them
    channel = "y_full" if hr.shape[1] == 1 else protocol.channel
    border = math.ceil(scale) if protocol.border is None else int(protocol.border)
    height, width = hr.shape[-2:]
    if min(height, width) <= 2 * border:
        raise ValueError(f"nothing is left of {height}x{width} pixels after cutting {border}")
    inside = (..., slice(border, height - border), slice(border, width - border))
    sr, hr = (_select(image, channel) for image in (sr, hr))
    if sr.shape != hr.shape:
        raise ValueError(
            f"sr and hr must have one size (see modcrop), got {tuple(sr.shape)}, {tuple(hr.shape)}"
        )
    results = tuple(f(sr[inside], hr[inside], data_range=255) for f in (psnr, ssim))
    return results if batched else tuple(value.item() for value in results)


def _in_levels(image, name):
    """One image or a batch -> float64 (N, C, H, W) in 0..255, C = 1 or 3."""
    if isinstance(image, torch.Tensor):
        if not image.is_floating_point():
            raise ValueError(f"{name} must be a floating-point tensor in 0..1, got {image.dtype}")
        tensor = to_float64(image) * 255
    else:
        if name == "hr" and image.dtype != np.uint8:
            raise ValueError(f"hr must be uint8 in 0..255, got {image.dtype}")
        array = np.array(image, dtype=np.float64)
        tensor = torch.from_numpy(array[..., None] if array.ndim == 2 else array)
        tensor = tensor.permute(2, 0, 1)[None] if tensor.ndim == 3 else tensor
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or 0 in tensor.shape:
        raise ValueError(
            f"{name} must be (H, W, 3), (H, W), (N, 3, H, W) or (N, 1, H, W), "
            f"got {tuple(image.shape)}"
        )
    return tensor


def _round(levels):
    return (levels + 0.5).floor().clamp(0, 255)


def _select(image, channel):
    if channel == "rgb" or image.shape[1] == 1:
        return image
    luma = rgb_to_y(image / 255, full_range=channel == "y_full") * 255
    return luma.round(decimals=9)  # three equal channels give their level, without a rest


def _as_batches(prediction, target, data_range):
    """Return both as float64 tensors with a batch dimension, and whether they were tensors."""
    if not data_range > 0:
        raise ValueError(f"data_range must be > 0, got {data_range!r}")
    batched = isinstance(prediction, torch.Tensor)
    if batched != isinstance(target, torch.Tensor):
        raise TypeError("prediction and target must both be arrays or both be tensors")
    if not batched:
        prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.shape != target.shape or 0 in prediction.shape:
        raise ValueError(
            "prediction and target must have one shape and hold pixels (see modcrop), "
            f"got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    check_range(data_range, prediction=prediction, target=target)
    if batched:
        if prediction.ndim != 4:
            raise ValueError(f"tensors must be (N, C, H, W), got {tuple(prediction.shape)}")
        return to_float64(prediction), to_float64(target), True
    pair = []
    for image in (prediction, target):
        tensor = torch.from_numpy(np.array(image, dtype=np.float64))
        if tensor.ndim == 3:
            tensor = tensor.permute(2, 0, 1)  # (C, H, W)
        pair.append(tensor[None, None] if tensor.ndim == 2 else tensor[None])
    return *pair, False


def _window_mean(x):
    """Gaussian mean at all positions of the window: (..., H, W) -> (..., H - 10, W - 10)."""
    offsets = torch.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1, dtype=torch.float64)
    window = torch.exp(-(offsets**2) / (2 * _WINDOW_SIGMA**2))
    window = (window / window.sum()).tolist()
    for dim in (-2, -1):
        size = x.shape[dim] - 2 * _WINDOW_RADIUS
        mean = torch.zeros_like(x.narrow(dim, 0, size))
        for start, weight in enumerate(window):  # on a CPU 25 times faster than conv2d in float64
            mean.add_(x.narrow(dim, start, size), alpha=weight)
        x = mean
    return x
