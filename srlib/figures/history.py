"""Plot trainings that are over; `srlib.widgets.live` plots one while it runs."""

import itertools
import math
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import rcParams, style, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srlib.training.experiments import Trainings

__all__ = ["fit_scale", "label_steps", "plot_history", "plot_trainings"]

_LABELS = {
    "step": "step",
    "seconds": "time (s)",
    "loss": "loss (images in 0..1)",
    "psnr_db": "PSNR of the batches (dB)",
    "validation_db": "validation PSNR (dB)",
    "learning_rate": "learning rate",
    "gradient_norm": "norm of the gradient",
    "patches_per_s": "patches a second",
}
_DEFAULT = ("loss", "validation_db", "learning_rate")
_NOISY = ("loss", "psnr_db", "gradient_norm", "patches_per_s")
_FROM_ZERO_UP = ("loss", "gradient_norm")  # these may get a logarithmic axis
_PALE_LIMIT = 3  # histories; the raw values of more would hide the lines


@style.context("srlib.course", after_reset=True)
def plot_history(
    histories: pd.DataFrame | Mapping[str, pd.DataFrame],
    columns: tuple[str, ...] | None = None,
    *,
    x: str = "step",
    smooth: int | None = None,
) -> Figure:
    """Plot one or several trainings, with a panel for each column.

    The values of batches (loss, psnr_db, gradient_norm, patches_per_s) are noisy, so the line is
    their running mean: centred, shorter at both ends, noted below the panels. Up to three histories
    show the values themselves too, pale behind it. Other columns are not smoothed; the validation
    has dots where it was measured. Loss and gradient norm get a logarithmic axis if they span a
    factor of ten.

    Parameters
    ----------
    histories : DataFrame, or dict of str to DataFrame
        As `srlib.training.train` returns them, with the index "step". The names are shown in a
        legend above the panels.
    columns : tuple of str, optional
        What to plot. By default those of loss, validation_db and learning_rate that hold numbers.
    x : {"step", "seconds"}
        The horizontal axis. Long times are in minutes or hours.
    smooth : int, optional
        Length of the running mean in steps, 1 for none. By default a fiftieth of the longest
        history.
    """
    histories = _check_histories(histories, x)
    if columns is None:
        columns = [name for name in _DEFAULT if _any_numbers(histories, name)]
    if isinstance(columns, str):
        raise ValueError(f"columns must be a sequence of names, got {columns!r}")
    for column in columns:
        if not _any_numbers(histories, column):
            known = sorted({name for history in histories.values() for name in history.columns})
            raise ValueError(f"columns must be some of {known} that hold numbers, got {column!r}")
    if len(columns) == 0:
        raise ValueError(f"columns must name at least one column, got {columns!r}")
    if smooth is None:
        smooth = max(1, max(int(history.index[-1]) for history in histories.values()) // 50)
    if not smooth >= 1:
        raise ValueError(f"smooth must be at least 1 step, got {smooth!r}")
    last = max(_places(history, x).max() for history in histories.values())
    unit, label = (1, "step") if x == "step" else _time_unit(last)
    names = [textwrap.shorten(name, 60, placeholder=" ...") for name in histories if name]
    width = 8 if len(columns) == 1 else 10  # inches
    longest = max(map(len, names), default=0)
    per_line = int((width - 0.2) // (0.7 + 0.08 * longest))  # names in a line of the legend
    note = _note(histories, columns, smooth)
    across = 2 if len(columns) == 4 else min(len(columns), 3)
    rows = math.ceil(len(columns) / across)
    height = 3.3 * rows + 0.25 * (math.ceil(len(names) / per_line) + bool(note))
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    colours = rcParams["axes.prop_cycle"].by_key()["color"]
    looks = itertools.cycle(itertools.product(("-", "--", ":", "-."), colours))
    looks = list(itertools.islice(looks, len(histories)))
    for axes, column in zip(panels, columns, strict=False):
        for look, history in zip(looks, histories.values(), strict=True):
            pale = len(histories) <= _PALE_LIMIT
            places = _places(history, x) / unit
            _draw_line(axes, places, history, column, _rows_in(history, smooth), look, pale)
        axes.set(xlabel=label, ylabel=_LABELS.get(column, column), xlim=(0, 1.03 * last / unit))
        if x == "step":
            label_steps(axes)
        if column in _FROM_ZERO_UP:
            fit_scale(axes, np.concatenate([line.get_ydata() for line in axes.lines]))
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    if names:
        handles = [Line2D([], [], linestyle=line, color=colour) for line, colour in looks]
        figure.legend(handles, names, loc="outside upper left", ncols=per_line)
    if note:
        figure.supxlabel(note, fontsize=11)
    return figure


@style.context("srlib.course", after_reset=True)
def plot_trainings(
    now: Trainings,
    long: Trainings | None = None,
    *,
    baselines: Mapping[str, float] | None = None,
    lowest_db: float | None = None,
    label: str = "PSNR of the test crops (dB)",
) -> Figure:
    """Plot the scores of a few trainings against the step, over those of a long run.

    The axis of the steps is logarithmic, so that seconds and hours are both seen. A line is the
    mean of the seeds, the band around it reaches from the lowest to the highest. A candidate has
    the same colour in both, a thin line for `now` with a dot at each score, a thick one for `long`.

    Parameters
    ----------
    now, long : Trainings
        `long` may have more candidates, or fewer.
    baselines : dict of str to float, optional
        Horizontal lines with their names, in dB.
    lowest_db : float, optional
        Where the axis begins; what is below is not seen.
    label : str
        Of the vertical axis: what the score is.
    """
    figure = Figure(figsize=(9, 4.4))
    axes = figure.subplots()
    every = [run for run in (long, now) if run is not None]
    names = list(dict.fromkeys(name for run in every for name in run.curves["candidate"]))
    for place, name in enumerate(names):
        for run in every:
            curves = run.curves[(run.curves["candidate"] == name) & (run.curves["step"] > 0)]
            if curves.empty:
                continue
            scores = curves.pivot(index="step", columns="seed", values="psnr_db")
            look = {"linewidth": 2.2} if run is long else {"linewidth": 1, "marker": "."}
            axes.plot(scores.mean(axis=1), color=f"C{place}", **look)
            band = scores.min(axis=1), scores.max(axis=1)
            axes.fill_between(scores.index, *band, color=f"C{place}", alpha=0.2, linewidth=0)
    handles = [Line2D([], [], color=f"C{place}", linewidth=2.2) for place in range(len(names))]
    for (name, value), line in zip((baselines or {}).items(), itertools.cycle((":", "-.", "--"))):  # noqa: B905
        handles.append(axes.axhline(value, color="black", linestyle=line, linewidth=1))
        names.append(name)
    for run, name in ((long, "the long run"), (now, "this run")):
        if long is not None:
            look = {"linewidth": 2.2} if run is long else {"linewidth": 1, "marker": "."}
            handles.append(Line2D([], [], color="grey", **look))
            names.append(name)
    axes.set(xscale="log", xlabel="step (log scale)", ylabel=label)
    axes.set_ylim(bottom=lowest_db)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", " "))
    figure.legend(handles, names, loc="outside right upper")
    return figure


def label_steps(axes: Axes) -> None:
    """Label the horizontal axis with about five whole numbers, large ones in thousands ("40k")."""
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    large = axes.get_xlim()[1] >= 10_000
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value / 1000:g}k" if large and value else f"{value:g}"
    )


def fit_scale(axes: Axes, values: np.ndarray) -> None:
    """Make the vertical axis logarithmic if positive values span a factor of ten, else linear.

    `values` is what is drawn; NaN and infinity do not count.
    """
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (1, 1)
    scale = "log" if 0 < low * 10 <= high else "linear"
    if axes.get_yscale() != scale:  # setting it makes new ticks, which takes time
        axes.set_yscale(scale)
    if scale == "log":
        subs = (1, 2, 5) if high < 300 * low else (1,)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=subs))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _check_histories(histories, x) -> dict[str, pd.DataFrame]:
    """Return the histories by name; a single one has the name ""."""
    if isinstance(histories, pd.DataFrame):
        histories = {"": histories}
    if not isinstance(histories, Mapping) or not histories:
        raise ValueError(f"histories must be a DataFrame or a dict of them, got {histories!r}")
    if x not in ("step", "seconds"):
        raise ValueError(f"x must be 'step' or 'seconds', got {x!r}")
    for name, history in histories.items():
        which = f"history {name!r}" if name else "the history"
        if not isinstance(history, pd.DataFrame) or history.empty:
            raise ValueError(f"{which} must be a DataFrame with rows, got {history!r}")
        if history.index.name != "step":
            raise ValueError(
                f"{which} must have the index 'step' (a file: pandas.read_csv(path, "
                f"index_col='step')), got the index {history.index.name!r}"
            )
        if x == "seconds" and "seconds" not in history:
            raise ValueError(f"{which} must have a column 'seconds', got {list(history)}")
    return dict(histories)


def _any_numbers(histories, column) -> bool:
    return any(
        column in history and history[column].notna().any() for history in histories.values()
    )


def _rows_in(history, steps) -> int:
    """Return how many rows of a history cover `steps` steps, at least 1."""
    distance = np.median(np.diff(history.index)) if len(history) > 1 else steps
    return max(1, round(steps / max(distance, 1)))


def _places(history, x) -> np.ndarray:
    return (history.index if x == "step" else history["seconds"]).to_numpy(float)


def _time_unit(last) -> tuple[int, str]:
    for unit, name in ((3600, "h"), (60, "min")):
        if last >= 3 * unit:
            return unit, f"time ({name})"
    return 1, "time (s)"


def _note(histories, columns, smooth) -> str:
    noisy = [_LABELS[name].partition(" (")[0] for name in columns if name in _NOISY]
    if not noisy or all(_rows_in(history, smooth) == 1 for history in histories.values()):
        return ""
    pale = "; pale: all values" if len(histories) <= _PALE_LIMIT else ""
    return f"{', '.join(noisy)}: running mean over {smooth} steps{pale}"


def _draw_line(axes, places, history, column, window, look, pale):
    if not _any_numbers({"": history}, column):
        return
    linestyle, colour = look
    values = history[column].to_numpy(float)
    there = np.isfinite(values)
    places, values = places[there], values[there]
    if column in _NOISY and window > 1:
        if pale:
            axes.plot(places, values, color=colour, alpha=0.3, linewidth=0.8, zorder=1.9)
        values = pd.Series(values).rolling(window, center=True, min_periods=1).mean()
    dots = {"marker": "o", "markersize": 5 if len(values) <= 30 else 3}
    if column != "validation_db":
        dots = {}
    axes.plot(places, values, color=colour, linestyle=linestyle, **dots)
