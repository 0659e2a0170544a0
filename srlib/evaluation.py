"""Enlarge images with a network, and score an upscaler on a benchmark."""

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from srlib import assets
from srlib._arguments import check_count
from srlib._fixed_order import FixedOrder
from srlib.data import Pair
from srlib.image import check_image, to_float, to_uint8
from srlib.measuring import receptive_field
from srlib.metrics import EvalProtocol, score

__all__ = ["evaluate", "published_results", "upscale"]

# Swap rows and columns? Then reverse the rows, the columns? The first does none of these.
_TURNS = tuple(itertools.product((False, True), repeat=3))
# With one thread, torch convolves inputs of up to 20 480 numbers by another algorithm, with another
# rounding. So windows have at least this number of pixels squared, if the image has as many.
_LEAST = 144


def upscale(
    model: nn.Module,
    image: np.ndarray,
    *,
    tile: int | None = None,
    ensemble: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """Enlarge an image with a network, in evaluation mode, on the device of its weights.

    Parameters
    ----------
    model : nn.Module
        Takes (1, 3, H, W) in 0..1. It returns to its mode afterwards.
    image : ndarray
        uint8, shape (H, W, 3).
    tile : int, optional
        Side of a tile in LR pixels; by default the image is enlarged in one piece. Tiles get a
        margin as wide as the network's `srlib.measuring.receptive_field`, so the result is the
        same, with memory for one tile and its margin only. Exact on a CPU. On a GPU, or with a
        compiled network, the order of some sums depends on the size of the input, and now and
        then a value differs by one level.
    ensemble : bool
        Self-ensemble: the mean of the outputs, before rounding, for the image rotated and flipped
        in all 8 ways, at 8 times the work. Say so beside a score that is made with it.
    progress : bool
        Show a progress bar if there are several tiles.

    Returns
    -------
    ndarray
        uint8, shape (scale * H, scale * W, 3).

    Raises
    ------
    ValueError
        If there are several tiles and the network has no bounded receptive field.

    References
    ----------
    R. Timofte, R. Rothe, L. Van Gool, "Seven ways to improve example-based single image super
    resolution", CVPR, 2016, for the self-ensemble; B. Lim et al., "Enhanced deep residual networks
    for single image super-resolution", CVPR Workshops, 2017, for networks.
    """
    if tile is not None:
        check_count("tile", tile)
    turns = _TURNS if ensemble else _TURNS[:1]
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), FixedOrder():
            if tile is None or tile >= max(image.shape[:2]):
                spans = [(0, length) for length in image.shape[:2]]
                return to_uint8(_run(model, image, spans, turns))
            return _run_tiles(model, image, tile, turns, progress)
    finally:
        model.train(was_training)


def _run_tiles(model, image, tile, turns, progress):
    check_image(image)
    radius, grid = receptive_field(model)
    rows, columns = (
        [(start, min(start + tile, length)) for start in range(0, length, tile)]
        for length in image.shape[:2]
    )
    tiles = list(itertools.product(rows, columns))
    result = None
    for spans in tqdm(tiles, desc="upscale", unit="tile", disable=not progress):
        sr = to_uint8(_run(model, image, spans, turns, radius, grid))
        if result is None:
            scale = len(sr) // (spans[0][1] - spans[0][0])
            result = np.empty((scale * image.shape[0], scale * image.shape[1], 3), np.uint8)
        result[tuple(slice(scale * start, scale * stop) for start, stop in spans)] = sr
    return result


def _run(model, image, spans, turns, radius=0, grid=1):
    """Mean of a network's outputs over turned images, (1, 3, s*H, s*W), for a box of the image.

    `spans` are the (start, stop) of the box's rows and of its columns.
    """
    parameter = next(model.parameters())
    total = 0
    for transpose, *flips in turns:
        turned, box = (image.swapaxes(0, 1), spans[::-1]) if transpose else (image, spans)
        turned = turned[tuple(slice(None, None, -1 if flip else None) for flip in flips)]
        sizes = turned.shape[:2]
        box = [
            (size - stop, size - start) if flip else (start, stop)
            for (start, stop), size, flip in zip(box, sizes, flips, strict=True)
        ]
        windows = [
            _window(span, size, other, radius, grid)
            for span, size, other in zip(box, sizes, sizes[::-1], strict=True)
        ]
        lr = to_float(np.ascontiguousarray(turned[tuple(slice(*window) for window in windows)]))
        sr = model(lr.to(parameter.device, parameter.dtype)).float()
        scale = sr.shape[-1] // lr.shape[-1]
        for dim, (start, stop), (first, last) in zip((-2, -1), box, windows, strict=True):
            margin = scale * (start - first)
            sr = sr.narrow(dim, margin, sr.shape[dim] - margin - scale * (last - stop))
        sr = sr.flip([dim for dim, flip in zip((-2, -1), flips, strict=True) if flip])
        total = total + (sr.mT if transpose else sr)
    return total / len(turns)


def _window(span, size, other, radius, grid):
    """Return the part of a side of `size` pixels that a span of the output depends on."""
    first, last = max(0, span[0] - radius), min(size, span[1] + radius)
    least = max(_LEAST, _LEAST**2 // other)
    first = max(0, min(first, last - least))
    last = min(size, max(last, first + least))
    return first // grid * grid, min(size, -(-last // grid) * grid)


def evaluate(
    upscaler: nn.Module | Callable[[np.ndarray], np.ndarray],
    pairs: Iterable[Pair],
    scale: float,
    *,
    protocol: EvalProtocol = EvalProtocol(),  # noqa: B008
    progress: bool = True,
) -> pd.DataFrame:
    """Score an upscaler on pairs of images with `srlib.metrics.score`.

    Parameters
    ----------
    upscaler : nn.Module or callable
        A network, see `upscale`, or a function that takes an LR image, uint8 (H, W, 3), and
        returns the SR image, (scale*H, scale*W, 3) in 0..255, uint8 or floating point, such as
        ``lambda lr: imresize(lr, 4)``.
    pairs : iterable of Pair
        See `srlib.data.make_pairs`.

    Returns
    -------
    DataFrame
        Columns ``psnr_db`` and ``ssim``; a row for each image, and as the last one "mean": the
        mean of the images' scores, not of their pixels.
    """
    pairs = list(pairs)
    if not pairs:
        raise ValueError("pairs must hold at least one pair, got none")
    rows = {}
    for pair in tqdm(pairs, desc="evaluate", unit="image", disable=not progress):
        sr = upscale(upscaler, pair.lr) if isinstance(upscaler, nn.Module) else upscaler(pair.lr)
        try:
            rows[pair.name] = score(sr, pair.hr, scale, protocol)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{pair.name}: {error}") from error
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["psnr_db", "ssim"])
    table.index.name = "image"
    table.loc["mean"] = table.mean()
    return table


def published_results(scale: int | None = None) -> pd.DataFrame:
    """Scores that papers report, by the default protocol of `srlib.metrics`, for one scale or all.

    The DataFrame has the columns network, scale, parameters (of the x4 network), dataset, psnr_db,
    ssim, trained_on, source and note.
    """
    table = pd.read_csv(assets.data_file("published_results.csv"))
    if scale is not None:
        table = table[table["scale"] == scale].reset_index(drop=True)
        if table.empty:
            raise ValueError(f"scale must be 2, 3 or 4, got {scale!r}")
    return table
