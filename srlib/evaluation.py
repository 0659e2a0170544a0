"""Runs an upscaler over a benchmark and reports."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from srlib import assets
from srlib.data import Pair
from srlib.image import to_float, to_uint8
from srlib.metrics import EvalProtocol, score

__all__ = ["evaluate", "published_results", "upscale"]


def upscale(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """Enlarge an image with a network, in evaluation mode, on the device of its weights.

    Parameters
    ----------
    model : nn.Module
        Takes (1, 3, H, W) in 0..1. Its mode is as before afterwards.
    image : ndarray
        uint8, shape (H, W, 3).

    Returns
    -------
    ndarray
        uint8, shape (scale * H, scale * W, 3).

    Raises
    ------
    ValueError
        If the image has another shape or type, or the output holds NaN.
    """
    parameter = next(model.parameters())
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return to_uint8(model(to_float(image).to(parameter.device, parameter.dtype)))
    finally:
        model.train(was_training)


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
