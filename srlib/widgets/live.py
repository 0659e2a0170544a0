"""Plot a training while it runs; `srlib.figures.history` plots it when it is over."""

import math
import os
import time
from collections.abc import Mapping

import ipywidgets
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib import style
from matplotlib.figure import Figure

from srlib.figures.history import fit_scale, label_steps
from srlib.figures.raster import encode_lines, rasterize

__all__ = ["LivePlot"]

_POINTS = 200  # in a curve, because it is drawn again and again
_SHARE = 0.025  # of the time goes into drawing, at most


class LivePlot:
    """Loss and PSNR of a training while it runs: ``train(..., on_log=LivePlot())``.

    The first row of the history displays `picture` below the cell that trains. When the cell ends,
    also by an error or an interrupt, the picture is brought up to date, so that a saved notebook
    keeps it. Another cell gets another picture. A step that is not larger than the one before
    starts a new training with an empty picture.

    Pictures are at least `every` seconds apart, and further on a slow machine: drawing takes at
    most 2.5 percent of the time. Long curves are drawn as 200 means of neighbouring rows; the line
    above the plot says of how many.

    Nothing is drawn outside a Jupyter kernel (in a script, or a process started from a notebook).
    """

    def __init__(self, *, every: float = 1.0):
        if not every > 0:
            raise ValueError(f"every must be > 0, got {every!r}")
        self.picture: ipywidgets.Image | None = None
        self._every = every
        self._process = os.getpid()
        self._in_cell = False  # whether the running cell has its picture
        self._rows: list[tuple] = []  # (step, seconds, loss, PSNR, validation PSNR)
        self._drawn = 0  # rows in the picture
        self._next_time = 0.0  # nothing is drawn before that
        self._figure: Figure | None = None

    def __call__(self, row: Mapping) -> None:
        """Take a row of the history: step, loss, perhaps seconds, psnr_db and validation_db."""
        if not {"step", "loss"} <= row.keys():
            raise ValueError(f"row must hold 'step' and 'loss', got {list(row)!r}")
        kernel = getattr(get_ipython(), "kernel", None)
        if kernel is None or os.getpid() != self._process:
            return
        if self._rows and row["step"] <= self._rows[-1][0]:
            self._rows, self._drawn, self._figure = [], 0, None
        optional = (float(row.get(key, math.nan)) for key in ("psnr_db", "validation_db"))
        self._rows.append((row["step"], row.get("seconds"), float(row["loss"]), *optional))
        if not self._in_cell:
            self._open()
        elif time.perf_counter() >= self._next_time:
            self._draw()

    def _open(self):
        self._in_cell = True
        get_ipython().events.register("post_run_cell", self._close)
        self.picture = ipywidgets.Image(
            format="png", layout={"width": "900px", "max_width": "100%"}
        )
        self._draw()
        display(self.picture)

    def _close(self, _result):
        get_ipython().events.unregister("post_run_cell", self._close)
        self._in_cell = False
        if self._drawn < len(self._rows):
            self._draw()

    def _draw(self):
        start = time.perf_counter()
        with style.context("srlib.course", after_reset=True):
            if self._figure is None:
                self._figure = _live_figure()
            _update(self._figure, self._rows)
            self.picture.value = encode_lines(rasterize(self._figure))
        self._drawn = len(self._rows)
        now = time.perf_counter()
        self._next_time = now + max(self._every, (now - start) / _SHARE)


def _live_figure() -> Figure:
    # Fixed places: laying out each picture again would take as long as drawing it.
    figure = Figure(figsize=(9, 3.2), layout="none")
    figure.subplots_adjust(left=0.09, right=0.985, bottom=0.18, top=0.8, wspace=0.22)
    loss, psnr = figure.subplots(1, 2)
    loss.plot([], [])
    psnr.plot([], [])
    psnr.plot([], [], "o-", markersize=5)
    for axes, label in ((loss, "loss (images in 0..1)"), (psnr, "PSNR (dB)")):
        axes.set(xlabel="step", ylabel=label)
    handles = psnr.lines
    psnr.legend(
        handles, ["batches", "validation"], loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2
    )
    return figure


def _update(figure, rows):
    loss, psnr = figure.axes
    table = np.array([(step, *values) for step, _, *values in rows])  # (N, 4)
    length = math.ceil(len(table) / _POINTS)
    table[~np.isfinite(table)] = np.nan
    steps, losses, batches, _ = _means(table, length).T
    validated = table[~np.isnan(table[:, 3])]
    loss.lines[0].set_data(steps, losses)
    psnr.lines[0].set_data(steps, batches)
    psnr.lines[1].set_data(validated[:, 0], validated[:, 3])
    fit_scale(loss, losses)
    for axes in (loss, psnr):
        axes.relim()
        axes.autoscale_view()
        axes.set_xlim(0, 1.03 * table[-1, 0])
        label_steps(axes)
    step, seconds = rows[-1][:2]
    parts = [f"step {step}"] + ([] if seconds is None else [f"{seconds:.0f} s"])
    parts += [f"each point the mean of {length} rows"] if length > 1 else []
    loss.set_title(", ".join(parts), loc="left")


def _means(table, length) -> np.ndarray:
    """Means of `length` rows each; the last may have fewer."""
    starts = np.arange(0, len(table), length)
    counts = np.diff(np.append(starts, len(table)))
    return np.add.reduceat(table, starts) / counts[:, None]
