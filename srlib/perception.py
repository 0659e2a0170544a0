"""How natural a picture is: measures that compare statistics, not pixels.

`niqe` needs no original. `sliced_wasserstein` compares the patches of two pictures wherever they
lie, `power_spectrum` how much of it is coarse and how much fine. None needs a download.
"""

import functools
import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from scipy.ndimage import correlate1d
from scipy.special import gamma

from srlib import assets
from srlib._arguments import check_count
from srlib._atomic import atomic_write
from srlib._files import check_file
from srlib.image import check_image, rgb_to_y
from srlib.resample import imresize

__all__ = [
    "NaturalModel",
    "fit_natural_model",
    "natural_features",
    "niqe",
    "power_spectrum",
    "sliced_wasserstein",
]

_BLOCK = 96  # pixels, side of a patch of NIQE
_SHARP = 0.75  # of the sharpest patch: what is less sharp does not count when a model is fitted
_SHAPES = np.arange(0.2, 10.001, 0.001)  # of a generalised Gaussian
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # rising
_SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # to the neighbours whose products are looked at
_MAX_BYTES = 2**20


class NaturalModel(NamedTuple):
    """What patches of natural photographs are like, for `niqe`.

    `mean` has the shape (36,), `covariance` (36, 36), both float64.
    """

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> "NaturalModel":
        """Load a model that `save` wrote; by default that of the course.

        ``data/natural_model/README.md`` tells which photographs that one was fitted on.
        """
        if path is None:
            path = assets.data_file("natural_model/model.safetensors")
        check_file(path, _MAX_BYTES)
        return cls(**load_file(path))

    def save(self, path: str | os.PathLike) -> None:
        """Write a .safetensors file; it appears whole or not at all."""
        with atomic_write(path) as partial:
            save_file(self._asdict(), partial)


def natural_features(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return NIQE's features of the patches of a picture, and how sharp each patch is.

    Each pixel is taken relative to its surroundings: minus their mean, over their standard
    deviation (plus one grey level). How these values, and the products of neighbours, are
    distributed in a patch says whether it is natural: 18 numbers, and 18 more at half the size.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3), at least 96 pixels high and wide. Patches have 96 x 96 pixels
        and do not overlap; what remains at the right and at the bottom is left out.

    Returns
    -------
    features : ndarray
        (patches, 36), row by row.
    sharpness : ndarray
        (patches,): the mean of the local standard deviation, in grey levels.
    """
    check_image(image)
    luma = rgb_to_y(image, full_range=True)
    rows, columns = (side // _BLOCK for side in luma.shape)
    if min(rows, columns) < 1:
        height, width = luma.shape
        raise ValueError(f"image must be at least {_BLOCK}x{_BLOCK} pixels, got {height}x{width}")
    luma = luma[: rows * _BLOCK, : columns * _BLOCK]
    found = []
    for side in (_BLOCK, _BLOCK // 2):
        relative, deviation = _relative_to_surroundings(luma)
        if side == _BLOCK:
            sharpness = _patches(deviation, side).mean(axis=(1, 2))
            luma = imresize(luma, 0.5)
        found.append([_features(patch) for patch in _patches(relative, side)])
    return np.hstack(found), sharpness


def fit_natural_model(images: Iterable[np.ndarray]) -> NaturalModel:
    """Fit what `niqe` compares with: mean and covariance of the features of sharp patches.

    A patch counts if it has more than 0.75 of the sharpness of the sharpest one in its picture.
    `images` as for `natural_features`; they need about a hundred such patches in all. ValueError if
    there are fewer than 37: 36 features would then have no covariance of full rank.
    """
    sharp = []
    for image in images:
        features, sharpness = natural_features(image)
        sharp.append(features[sharpness > _SHARP * sharpness.max()])
    sharp = np.concatenate(sharp) if sharp else np.empty((0, 36))
    sharp = sharp[np.isfinite(sharp).all(axis=1)]
    if len(sharp) < 37:
        raise ValueError(f"images must hold at least 37 sharp patches, got {len(sharp)}")
    return NaturalModel(sharp.mean(axis=0), np.cov(sharp.T))


def niqe(image: np.ndarray, model: NaturalModel | None = None) -> float:
    """Natural image quality evaluator: how far a picture is from natural ones; less is better.

    It needs no original, and so knows nothing of what the picture should show. Grain and invented
    detail can score better than the truth.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3). The fewer patches of 96 x 96 pixels, the less it says: it takes
        the covariance of their features. One patch has none, and 0 is taken.
    model : NaturalModel, optional
        By default that of the course. Numbers of different models cannot be compared.

    Returns
    -------
    float
        The distance of the two Gaussians' means, relative to the mean of their covariances. NaN if
        no patch has any structure.

    References
    ----------
    A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer",
    IEEE Signal Processing Letters 20(3), 2013.
    """
    model = _natural_model() if model is None else model
    features, _ = natural_features(image)
    features = features[np.isfinite(features).all(axis=1)]  # an even patch has none
    if not len(features):
        return float("nan")
    covariance = np.cov(features.T) if len(features) > 1 else np.zeros_like(model.covariance)
    difference = model.mean - features.mean(axis=0)
    inverse = np.linalg.pinv((model.covariance + covariance) / 2)
    return float(np.sqrt(difference @ inverse @ difference))


@functools.cache
def _natural_model():
    return NaturalModel.load()


def _relative_to_surroundings(luma):
    """Return (luma - mean) / (deviation + 1) in a 7x7 Gaussian window, and the deviation."""
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()

    def blur(image):
        return correlate1d(correlate1d(image, window, 0, mode="nearest"), window, 1, mode="nearest")

    mean = blur(luma)
    deviation = np.sqrt(np.abs(blur(luma**2) - mean**2))
    return (luma - mean) / (deviation + 1), deviation


def _patches(image, side):
    height, width = image.shape
    blocks = image.reshape(height // side, side, width // side, side)
    return blocks.swapaxes(1, 2).reshape(-1, side, side)


def _features(patch):
    """Return 18 numbers of the distribution of a patch and of four products of neighbours."""
    shape, left, right = _asymmetric_gaussian(patch)
    found = [shape, (left + right) / 2]
    for shift in _SHIFTS:  # round the patch, as the authors' code does
        product = patch * np.roll(patch, shift, axis=(0, 1))
        shape, left, right = _asymmetric_gaussian(product)
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return found


def _asymmetric_gaussian(values):
    """Fit shape, left and right scale of an asymmetric generalised Gaussian, by its moments."""
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt(np.square(values[side]).sum() / side.sum()) for side in (values < 0, values > 0)
        )
        skew = left / right
        ratio = np.abs(values).mean() ** 2 / np.square(values).mean()
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    if not np.isfinite(ratio):
        return np.nan, np.nan, np.nan
    shape = _SHAPES[np.argmin((_RATIOS - ratio) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def sliced_wasserstein(
    image: np.ndarray,
    reference: np.ndarray,
    *,
    levels: int = 3,
    patch_size: int = 7,
    directions: int = 64,
    seed: int = 0,
) -> np.ndarray:
    """Distance between the patches of two pictures, for each level of detail, in grey levels.

    A picture is split into bands (a Laplacian pyramid): what halving its size loses, what halving
    it again loses, and so on. In each band all patches are projected onto random directions of
    length one. Each direction gives two heaps of numbers; sorted, their mean difference is what it
    costs to move one heap onto the other. The distance is the mean over the directions. Where a
    patch lies does not matter: a texture that is shifted is at no distance.

    Parameters
    ----------
    image, reference : ndarray
        uint8 (H, W, 3), of one size; the smallest band must hold a patch.
    levels : int
        Of the pyramid; the last band, what remains, is not looked at: enlarging keeps it.
    patch_size : int
        Side of the patches, in pixels of their band.
    directions : int
    seed : int
        The same seed gives the same directions.

    Returns
    -------
    ndarray
        (levels,), the finest first. A mean over them is one number for a picture.

    References
    ----------
    J. Rabin, G. Peyre, J. Delon, M. Bernot, "Wasserstein barycenter and its application to texture
    mixing", SSVM, 2011.
    T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive growing of GANs for improved quality,
    stability, and variation", ICLR, 2018. They also divide each set by its own deviation, which
    hides that a soft picture has too little; here nothing is divided.
    """
    for name, value in (("levels", levels), ("patch_size", patch_size), ("directions", directions)):
        check_count(name, value)
    check_image(image)
    check_image(reference, "reference")
    if image.shape != reference.shape:
        raise ValueError(
            f"image and reference must have one size, got {image.shape} and {reference.shape}"
        )
    if min(image.shape[:2]) < patch_size * 2 ** (levels - 1):
        raise ValueError(
            f"{levels} levels with patches of {patch_size} need at least "
            f"{patch_size * 2 ** (levels - 1)} pixels a side, got {image.shape[:2]}"
        )
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(directions, 3, patch_size, patch_size, generator=generator)
    kernels /= kernels.flatten(1).norm(dim=1)[:, None, None, None]
    found = []
    for bands in zip(_bands(image, levels), _bands(reference, levels), strict=True):
        # A convolution projects all patches at once: (directions, patches).
        one, other = (np.sort(F.conv2d(band, kernels)[0].flatten(1).numpy()) for band in bands)
        found.append(np.abs(one - other).mean(dtype=np.float64))
    return np.array(found)


def _bands(image, levels):
    """Return what each halving loses: tensors (1, 3, H, W) in grey levels, the finest first."""
    rest = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    found = []
    for _ in range(levels):
        half = imresize(rest, 0.5)
        again = imresize(half, 2)[..., : rest.shape[-2], : rest.shape[-1]]
        found.append(rest - again)
        rest = half
    return found


def power_spectrum(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of a picture's luma against spatial frequency, whatever its direction.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3), both sides at least 3 pixels. Faded out towards its border (Hann window),
        because to a Fourier transform the border is a jump.

    Returns
    -------
    frequency : ndarray
        In cycles per pixel, up to 0.5, the finest pattern that pixels can hold.
    power : ndarray
        The mean over the ring around that frequency, in grey levels squared.

    Raises
    ------
    ValueError
        If the image is none or too small.
    """
    check_image(image)
    if min(image.shape[:2]) < 3:  # the window leaves nothing of it
        height, width = image.shape[:2]
        raise ValueError(f"image must be at least 3x3 pixels, got {height}x{width}")
    luma = rgb_to_y(image, full_range=True)
    height, width = luma.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    window /= np.sqrt(np.mean(window**2))
    power = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2 / luma.size
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    rings = min(height, width) // 2
    ring = np.rint(radius * 2 * rings).astype(int).ravel()
    total, count = (
        np.bincount(ring, weights=w, minlength=rings + 1) for w in (power.ravel(), None)
    )
    return np.arange(1, rings + 1) / (2 * rings), (total / count)[1 : rings + 1]
