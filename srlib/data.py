"""From files to pairs of low-resolution and high-resolution images."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srlib import assets
from srlib.image import read_image
from srlib.resample import imresize, modcrop

__all__ = ["Pair", "load_images", "make_pairs"]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}


class Pair(NamedTuple):
    """An original and what is left of it at low resolution.

    Attributes
    ----------
    name : str
        What the image is called in tables.
    lr : ndarray
        uint8, shape (H / scale, W / scale, 3).
    hr : ndarray
        uint8, shape (H, W, 3), or (H, W) for a grey image loaded "as_grey".
    """

    name: str
    lr: np.ndarray
    hr: np.ndarray


def load_images(
    source: str | os.PathLike, scale: int | None = None, *, grey: str = "as_rgb"
) -> dict[str, np.ndarray]:
    """Load the images of a folder, of a dataset, or those bundled with scikit-image.

    Parameters
    ----------
    source : str or path
        - "bundled", "bundled/train" or "bundled/test": photographs inside scikit-image;
        - the name of a dataset (see ``python -m srlib info``), fetched where it is not there;
        - a folder: its image files, not those of its subfolders.
    scale : int, optional
        2, 3 or 4: which originals of a benchmark (Set5, Set14, BSD100, Urban100) are meant.
        They are cut to multiples of the scale, so they differ.
    grey : {"as_rgb", "as_grey"}
        See `srlib.image.read_image`. "as_rgb" is what most papers since 2017 do.

    Returns
    -------
    dict
        Name to uint8 image (H, W, 3), in the order of the names.

    Raises
    ------
    ValueError
        If `source` is no folder and no known name, if it holds no images, or if a benchmark
        is asked for without a scale.
    """
    if str(source).split("/")[0] == "bundled":
        _, _, split = str(source).partition("/")
        names = assets.sample_names(split or None)
        return {name: assets.sample_image(name) for name in names}
    folder = Path(source)
    if not folder.is_dir():
        folder = _fetch(str(source), scale)
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ValueError(f"source must hold image files, got {str(folder)!r}, which has none")
    return {path.stem: read_image(path, grey=grey) for path in paths}


def _fetch(source: str, scale: int | None) -> Path:
    name = source.split("/")[0]
    datasets = assets.datasets()
    if name not in datasets:
        raise ValueError(
            f"source must be a folder, 'bundled' or one of {', '.join(datasets)}, got {source!r}"
        )
    if datasets[name].use != "benchmark":
        return assets.fetch(source)
    if scale is None:
        raise ValueError(f"scale must be given for the benchmark {name}, got None")
    return assets.fetch(f"{name}/x{scale}") / "HR"


def make_pairs(images: dict[str, np.ndarray], scale: int) -> list[Pair]:
    """Make low-resolution images with MATLAB's bicubic resize, as all tables of the field do.

    Parameters
    ----------
    images : dict
        Name to uint8 image (H, W, 3) or (H, W). Sides that are not multiples of `scale` are
        cut at the right and at the bottom.
    scale : int
        At least 1.

    Returns
    -------
    list of Pair
        In the order of `images`.

    Raises
    ------
    ValueError
        If `scale` is not a positive whole number or an image is smaller than it.
    """
    pairs = []
    for name, image in images.items():
        hr = modcrop(image, scale)
        lr = imresize(hr, 1 / scale)
        if lr.ndim == 2:  # networks take RGB, whatever the score looks at
            lr = np.repeat(lr[..., None], 3, axis=2)
        pairs.append(Pair(name, lr, hr))
    return pairs
