"""Runs an upscaler over a benchmark and reports."""

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
from srlib.image import to_float, to_uint8
from srlib.measuring import receptive_field
from srlib.metrics import EvalProtocol, score

__all__ = ["evaluate", "published_results", "upscale"]

# Whether to swap rows and columns, then to reverse rows, columns. The first leaves all as it is.
_TURNS = tuple(itertools.product((False, True), repeat=3))
# With one thread, torch convolves inputs of up to 20 480 numbers by another algorithm, which
# rounds otherwise. No window has fewer pixels than this squared, if the image has as many.
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
        Takes (1, 3, H, W) in 0..1. Its mode is as before afterwards.
    image : ndarray
        uint8, shape (H, W, 3).
    tile : int, optional
        Side of a tile in LR pixels; in one piece by default. Around a tile the network sees as
        far as its `srlib.measuring.receptive_field`, so that the picture is the same, and needs
        memory for a tile and that margin only. Exact on a CPU; on a GPU, or for a compiled
        network, the size of an input decides on the order of some sums, and now and then a sample
        differs by one level.
    ensemble : bool
        Self-ensemble: the mean of the outputs for the image turned and mirrored in all 8 ways,
        before rounding, at 8 times the work. Scores made with it must say so.
    progress : bool
        Show a progress bar where there are several tiles.

    Returns
    -------
    ndarray
        uint8, shape (scale * H, scale * W, 3).

    Raises
    ------
    ValueError
        If the image has another shape or type, `tile` is no whole number >= 1, or the output
        holds NaN; if there are several tiles and the network has no bounded receptive field.

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
    to_float(image[:1])  # refuses what is no image
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

    The box is given by its rows and columns, (start, stop) each.
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
    """Return what the network must see of a side of `size` pixels to make a span of the output."""
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
    """Score an upscaler on pairs of images.

    Parameters
    ----------
    upscaler : nn.Module or callable
        A network, see `upscale`, or a function that takes an LR image, uint8 (H, W, 3), and
        returns the SR image, (scale*H, scale*W, 3) in 0..255, uint8 or floating point. For
        instance ``lambda lr: imresize(lr, 4)``.
    pairs : iterable of Pair
        See `srlib.data.make_pairs`.
    scale : float
        The factor between LR and HR.
    protocol : EvalProtocol
        See `srlib.metrics.score`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        Columns ``psnr_db`` and ``ssim``; a row for each image and "mean" as the last. The mean
        is over the images' scores, not over pooled pixels.

    Raises
    ------
    ValueError
        If there are no pairs, or the upscaler's output does not fit its original; the message
        names the image.
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
    """Scores that papers report, by the protocol of `srlib.metrics.EvalProtocol`.

    Parameters
    ----------
    scale : int, optional
        Only the rows of this scale.

    Returns
    -------
    DataFrame
        Columns network, scale, parameters (of the x4 network), dataset, psnr_db, ssim,
        trained_on, source, note.

    Raises
    ------
    ValueError
        If there are no rows for `scale`.
    """
    table = pd.read_csv(assets.data_file("published_results.csv"))
    if scale is not None:
        table = table[table["scale"] == scale].reset_index(drop=True)
        if table.empty:
            raise ValueError(f"scale must be 2, 3 or 4, got {scale!r}")
    return table
