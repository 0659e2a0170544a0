"""Enlarge images with a network, and score an upscaler on a benchmark."""

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from srlib import assets
from srlib._arguments import check_count
from srlib._fixed_order import FixedOrder
from srlib.data import Pair
from srlib.environment import cpu_has_bfloat16, memory_is_said
from srlib.image import check_image
from srlib.measuring import activation_bytes, receptive_field
from srlib.metrics import EvalProtocol, score

__all__ = ["evaluate", "published_results", "upscale", "upscale_bands"]

# Swap rows and columns? Then reverse the rows, the columns? The first does none of these.
_TURNS = tuple(itertools.product((False, True), repeat=3))
# With one thread, torch convolves inputs of up to 20 480 numbers by another algorithm, with another
# rounding. So windows have at least this number of pixels squared, if the image has as many.
_LEAST = 144
# Bytes for a network's tensors on a CPU; torch takes as much again for itself.
_MEMORY = 450 * 2**20
_BAND = 2**20  # LR pixels that a band may have, so that it is small beside these
_SMALL = 128 * 128  # LR pixels that no network needs so much for: they go through in one piece


def upscale(
    model: nn.Module,
    image: np.ndarray,
    *,
    tile: int | None = None,
    ensemble: bool = False,
    half: bool = False,
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
        Longest side of a tile in LR pixels. By default a large image is cut into tiles that take
        at most 1 GiB (on a GPU, half of what is free). Tiles get a margin as wide as the network's
        `srlib.measuring.receptive_field`, so the result is the same, with memory for one tile and
        its margin only. Exact on a CPU. On a GPU, or with a compiled network, the order of some
        sums depends on the size of the input, and now and then a value differs by one level.
    ensemble : bool
        Self-ensemble: the mean of the outputs, before rounding, for the image rotated and flipped
        in all 8 ways, at 8 times the work. Say so beside a score that is made with it.
    half : bool
        Convolve in half precision, bfloat16 on a CPU and float16 on a GPU: up to twice as fast. On
        photographs a tenth of the samples differ, by up to 3 levels. Warns if the processor has no
        instructions for it and so is slower.
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
    MemoryError
        If a tile is too large for the memory.

    References
    ----------
    R. Timofte, R. Rothe, L. Van Gool, "Seven ways to improve example-based single image super
    resolution", CVPR, 2016, for the self-ensemble; B. Lim et al., "Enhanced deep residual networks
    for single image super-resolution", CVPR Workshops, 2017, for networks.
    """
    check_image(image)
    bands = upscale_bands(model, image, tile=tile, ensemble=ensemble, half=half, progress=progress)
    result, top = None, 0
    for band in bands:
        if result is None:
            scale = band.shape[1] // image.shape[1]
            result = np.empty((scale * image.shape[0], scale * image.shape[1], 3), np.uint8)
        result[top : top + len(band)] = band
        top += len(band)
    return result


def upscale_bands(
    model: nn.Module,
    image: np.ndarray,
    *,
    tile: int | None = None,
    ensemble: bool = False,
    half: bool = False,
    progress: bool | tqdm = False,
) -> Iterator[np.ndarray]:
    """Enlarge an image band by band, so that a result of any size can be written as it is made.

    Parameters
    ----------
    image : ndarray
        uint8 or uint16, shape (H, W, 3), or (H, W, 1) for grey.
    model, tile, ensemble, half
        As for `upscale`.
    progress : bool or tqdm
        As for `upscale`; a bar of the caller's is moved on by 1 in all.

    Yields
    ------
    ndarray
        (h, scale * W, C) of the image's type and number of channels, from top to bottom.
    """
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(
            f"image must be uint8 or uint16 of shape (H, W, 3) or (H, W, 1), "
            f"got {image.dtype} {image.shape}"
        )
    if tile is not None:
        check_count("tile", tile)
    if half and not next(model.parameters()).is_cuda and not cpu_has_bfloat16():
        warnings.warn("this processor has no bfloat16: half precision is slower", stacklevel=2)
    turns = _TURNS if ensemble else _TURNS[:1]
    was_training = model.training
    model.eval()
    try:
        rows, columns, radius, grid = _cut(model, image.shape[:2], tile)
        tiles = len(rows) * len(columns)
        if isinstance(progress, bool):
            hidden = not progress or tiles == 1
            bar, step = tqdm(total=tiles, desc="upscale", unit="tile", disable=hidden), 1
        else:
            bar, step = contextlib.nullcontext(progress), 1 / tiles
        with bar as bar:
            for row in rows:
                band = None
                for column in columns:
                    sr = _run(model, image, (row, column), turns, radius, grid, half)[0]
                    if band is None:
                        scale = sr.shape[1] // (row[1] - row[0])
                        shape = sr.shape[1], scale * image.shape[1], image.shape[2]
                        band = np.empty(shape, image.dtype)
                    band[:, scale * column[0] : scale * column[1]] = _to_levels(sr, image)
                    bar.update(step)
                yield band
    finally:
        model.train(was_training)


def _cut(model, size, tile):
    """Spans of rows and of columns, and the network's radius and grid, 0 and 1 for one piece."""
    height, width = size
    most = None
    if tile is None and height * width > _SMALL:
        parameter = next(model.parameters())
        memory = _MEMORY
        if parameter.is_cuda:
            memory = torch.cuda.mem_get_info(parameter.device)[0] // 2
        with torch.inference_mode(), FixedOrder():
            # Pixels at once. An ONNX file's memory cannot be seen, so at least 2 KiB for each.
            most = memory // max(activation_bytes(model), 2048)
    if (tile is None or tile >= max(size)) and (most is None or height * width <= most):
        return [(0, height)], [(0, width)], 0, 1
    radius, grid = receptive_field(model)
    tile_height, tile_width = (tile, tile) if tile else _best_tile(height, width, radius, most)
    rows, columns = (
        [(start, min(start + step, length)) for start in range(0, length, step)]
        for length, step in ((height, tile_height), (width, tile_width))
    )
    return rows, columns, radius, grid


def _best_tile(height, width, radius, most):
    """Height and width of the tiles that see the fewest pixels in all, each `most` at once."""
    most = max(most, (2 * radius + 64) ** 2)  # less would be nearly all margin
    best = None
    for rows in range(1, height + 1):
        tile_height = math.ceil(height / rows)
        if tile_height * width > max(_BAND, 64 * width) and height * width > most:
            continue
        seen = min(height, tile_height + 2 * radius)
        room = most // seen - 2 * radius
        columns = 1 if width * seen <= most else math.ceil(width / room) if room > 0 else None
        if columns is None:
            continue
        tile_width = math.ceil(width / columns)
        work = rows * seen * columns * min(width, tile_width + 2 * radius)
        if best is None or work < best[0]:
            best = work, tile_height, tile_width
        elif tile_height < 2 * radius:
            break
    return best[1:]


def _run(model, image, spans, turns, radius=0, grid=1, half=False):
    """Mean of a network's outputs over turned images, (1, 3, s*H, s*W), for a box of the image.

    `spans` are the (start, stop) of the box's rows and of its columns.
    """
    parameter = next(model.parameters())
    total = None
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
        part = turned[tuple(slice(*window) for window in windows)].transpose(2, 0, 1)
        # With the channels of a pixel side by side, torch convolves faster.
        lr = torch.empty(1, 3, *part.shape[1:], memory_format=torch.channels_last)
        lr.copy_(torch.from_numpy(part.astype(np.float32))).div_(np.iinfo(image.dtype).max)
        lr = lr.to(parameter.device, parameter.dtype)
        half_type = torch.float16 if lr.is_cuda else torch.bfloat16
        memory_short = (
            f"the network needs more memory than there is for {lr.shape[2]} x {lr.shape[3]} "
            "pixels at once; choose a smaller tile"
        )
        with (
            memory_is_said(memory_short),
            torch.inference_mode(),
            torch.autocast(lr.device.type, half_type, enabled=half),
            FixedOrder(),
        ):
            sr = model(lr).float().cpu()
        scale = sr.shape[-1] // lr.shape[-1]
        for dim, (start, stop), (first, last) in zip((-2, -1), box, windows, strict=True):
            margin = scale * (start - first)
            sr = sr.narrow(dim, margin, sr.shape[dim] - margin - scale * (last - stop))
        if flipped := [dim for dim, flip in zip((-2, -1), flips, strict=True) if flip]:
            sr = sr.flip(flipped)
        sr = sr.mT if transpose else sr
        total = sr if total is None else total + sr
    return total if len(turns) == 1 else total / len(turns)


def _to_levels(sr, image):
    """Round a tensor (3, H, W) to an array (H, W, C) of the type and the channels of `image`."""
    if torch.isnan(sr).any():
        raise ValueError("the network's output must be free of NaN, got at least one")
    sr = sr if image.shape[2] == 3 else sr.mean(dim=0, keepdim=True)
    peak = np.iinfo(image.dtype).max
    # Not by `to_uint8`: early in a training a network may be far beside the range and come back.
    sr = sr.double() if peak > 255 else sr
    levels = (sr * peak + 0.5).floor().clamp(0, peak)
    return levels.permute(1, 2, 0).numpy().astype(image.dtype)


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
        mean of the images' scores, not of their pixels. Where an image could not be scored there
        are NaN, and where it was reproduced exactly the PSNR is infinite. Neither counts in the
        mean, and a UserWarning names them.

    Raises
    ------
    ValueError
        If there is no pair, no image could be scored, or two have one name, or the name "mean".
    MemoryError
        If an image is too large for the memory.
    """
    rows, failed = {}, {}
    for pair in tqdm(pairs, desc="evaluate", unit="image", disable=not progress):
        if pair.name in rows or pair.name == "mean":
            raise ValueError(f"names of pairs must differ, and from 'mean', got {pair.name!r}")
        memory_short = (
            f"{pair.name}: enlarging {pair.lr.shape[0]} x {pair.lr.shape[1]} pixels at once needs "
            "more memory than there is; let `upscale` cut it into tiles"
        )
        with memory_is_said(memory_short):
            if isinstance(upscaler, nn.Module):
                sr = upscale(upscaler, pair.lr)
            else:
                sr = upscaler(pair.lr)
        try:
            rows[pair.name] = score(sr, pair.hr, scale, protocol)
        except (TypeError, ValueError) as error:
            rows[pair.name] = math.nan, math.nan
            failed[pair.name] = f"{pair.name}: {error}"
    if len(failed) == len(rows):
        raise ValueError(next(iter(failed.values()), "pairs must hold at least one pair, got none"))
    for text in failed.values():
        warnings.warn(f"{text}; it is not in the mean", stacklevel=2)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["psnr_db", "ssim"])
    table.index.name = "image"
    exact = table["psnr_db"] == math.inf
    if exact.any() and not exact.all():
        names = ", ".join(map(str, table.index[exact]))
        warnings.warn(f"{names}: reproduced exactly, not in the mean PSNR", stacklevel=2)
        table.loc["mean"] = table.mask(table == math.inf).mean()
    else:
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
