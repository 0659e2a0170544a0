import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot, style
from matplotlib.figure import Figure

from srlib.figures import plot_history
from srlib.figures.history import fit_scale, label_steps
from srlib.figures.raster import rasterize


def history(steps=400, *, every=1, seed=0, validate_every=100, seconds=0.05, **columns):
    rng = np.random.default_rng(seed)
    step = np.arange(every, steps + 1, every)
    loss = 0.25 * np.exp(-step / steps * 8) + 0.01 + 0.002 * rng.random(len(step))
    table = {
        "seconds": seconds * step,
        "loss": loss,
        "psnr_db": -20 * np.log10(loss),
        "learning_rate": 1e-3 * (1 + np.cos(np.pi * step / steps)) / 2,
        "gradient_norm": rng.uniform(0.1, 0.2, len(step)),
        "patches_per_s": rng.uniform(200, 300, len(step)),
        "validation_db": np.where(step % validate_every == 0, 27 + step / steps, np.nan),
    }
    return pd.DataFrame(table | columns, index=pd.Index(step, name="step"))


def panel(figure: Figure, label: str):
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel().startswith(label)]
    return axes


def strong(axes) -> list:
    return [line for line in axes.lines if line.get_alpha() is None]


def test_what_train_returns_is_drawn_with_units():
    figure = plot_history(history())
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["loss (images in 0..1)", "validation PSNR (dB)", "learning rate"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}
    (line,) = panel(figure, "learning rate").lines
    assert np.array_equal(line.get_xdata(), history().index)
    assert np.array_equal(line.get_ydata(), history()["learning_rate"])
    assert not figure.legends


def test_rows_without_validation_are_skipped_and_dots_stand_where_it_was():
    (line,) = panel(plot_history(history(400)), "validation").lines
    assert line.get_xdata().tolist() == [100, 200, 300, 400]
    assert line.get_ydata().tolist() == [27.25, 27.5, 27.75, 28]
    assert line.get_marker() == "o"


def test_an_infinite_value_is_skipped():
    table = history(10, gradient_norm=[1, np.inf, *range(3, 11)])
    (line,) = plot_history(table, ("gradient_norm",)).axes[0].lines
    assert line.get_xdata().tolist() == [1, *range(3, 11)]


def test_columns_without_numbers_are_left_out_unless_asked_for():
    table = history(50)
    assert [axes.get_ylabel() for axes in plot_history(table).axes] == [
        "loss (images in 0..1)",
        "learning rate",
    ]
    with pytest.raises(ValueError, match="columns must be some of .*got 'validation_db'"):
        plot_history(table, ("loss", "validation_db"))


def test_one_history_may_lack_what_another_has():
    both = {"validated": history(400), "not": history(50), "old": history(50)[["loss"]]}
    figure = plot_history(both)
    assert len(panel(figure, "validation").lines) == 1
    assert len(strong(panel(figure, "learning rate"))) == 2
    assert [text.get_text() for text in figure.legends[0].texts] == list(both)
    rasterize(figure)


@given(steps=st.integers(1, 300), every=st.integers(1, 7), smooth=st.integers(1, 60))
def test_smoothing_is_a_centred_mean_over_the_stated_steps(steps, every, smooth):
    table = history(max(steps, every), every=every)
    figure = plot_history(table, ("loss",), smooth=smooth)
    rows = max(1, round(smooth / every)) if len(table) > 1 else 1
    values = table["loss"].to_numpy()
    # A window of an even length reaches one row further to the left.
    expected = [
        values[max(0, i - rows // 2) : i + (rows + 1) // 2].mean() for i in range(len(values))
    ]
    assert strong(figure.axes[0])[0].get_ydata() == pytest.approx(expected)
    note = figure.get_supxlabel()
    assert note == (
        "" if rows == 1 else f"loss: running mean over {smooth} steps; pale: all values"
    )


def test_validation_and_learning_rate_are_never_smoothed():
    figure = plot_history(history(), ("validation_db", "learning_rate"), smooth=100)
    assert figure.get_supxlabel() == ""
    assert panel(figure, "validation").lines[0].get_ydata()[-1] == 28


def test_equal_smoothing_for_logs_of_different_density():
    wave = np.sin(2 * np.pi * np.arange(1, 401) / 100)  # which a mean over 100 steps removes
    logs = {
        "each step": history(400, psnr_db=wave),
        "each tenth": history(400, every=10, psnr_db=wave[9::10]),
    }
    figure = plot_history(logs, ("psnr_db",), smooth=100)
    dense, sparse = (line.get_ydata() for line in strong(figure.axes[0]))
    assert abs(dense[60:-60]).max() < 0.01 and abs(sparse[6:-6]).max() < 0.01
    assert figure.get_supxlabel().startswith("PSNR of the batches: running mean over 100 steps")


def test_raw_values_lie_behind_the_lines_of_few():
    few = plot_history({f"{seed}": history(seed=seed) for seed in range(3)}, ("loss",))
    many = plot_history({f"{seed}": history(seed=seed) for seed in range(4)}, ("loss",))
    pale = [line for line in few.axes[0].lines if line.get_alpha()]
    assert len(pale) == 3 and max(line.zorder for line in pale) < strong(few.axes[0])[0].zorder
    assert len(many.axes[0].lines) == 4
    assert "pale" in few.get_supxlabel() and "pale" not in many.get_supxlabel()


def test_the_loss_is_logarithmic_where_it_spans_a_decade():
    assert plot_history(history(), ("loss",)).axes[0].get_yscale() == "log"
    flat = plot_history(history(loss=np.linspace(0.05, 0.01, 400)), ("loss",))
    assert flat.axes[0].get_yscale() == "linear"
    assert plot_history(history(), ("psnr_db",)).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 10], "log"),
        ([1, 9.9], "linear"),
        ([0, 10], "linear"),
        ([-1, 10], "linear"),
        ([1, np.nan, 20], "log"),
        ([np.nan], "linear"),
        ([], "linear"),
    ],
)
def test_scale(values, scale):
    axes = Figure().subplots()
    fit_scale(axes, np.array(values, float))
    assert axes.get_yscale() == scale


@pytest.mark.parametrize("span", [12, 100, 1e5])
def test_logarithmic_ticks_are_plain_and_several(span):
    table = history(100, loss=np.geomspace(0.2, 0.2 / span, 100))
    figure = plot_history(table, ("loss",))
    rasterize(figure)
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    shown = [t.get_text() for t in axes.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert 3 <= len(shown) <= 10
    assert all(float(text) > 0 for text in shown)


@pytest.mark.parametrize(
    ("last", "texts"),
    [(800, ["0", "200", "400", "600", "800"]), (50_000, ["0", "10k", "20k", "40k"])],
)
def test_steps_are_whole_and_large_ones_in_thousands(last, texts):
    axes = Figure().subplots()
    axes.set_xlim(0, last)
    label_steps(axes)
    formatter = axes.xaxis.get_major_formatter()
    labels = [formatter(value) for value in axes.get_xticks()]
    assert set(texts) <= set(labels)


@pytest.mark.parametrize(
    ("seconds", "label", "last"),
    [(0.1, "time (s)", 40), (1, "time (min)", 400 / 60), (60, "time (h)", 400 / 60)],
)
def test_time_comes_in_a_readable_unit(seconds, label, last):
    figure = plot_history(history(seconds=seconds), ("loss", "learning_rate"), x="seconds")
    axes = panel(figure, "learning rate")
    assert axes.get_xlabel() == label
    assert axes.lines[0].get_xdata()[-1] == pytest.approx(last)
    assert axes.get_xlim() == (0, pytest.approx(1.03 * last))


@pytest.mark.parametrize("names", [1, 2, 5, 9])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_nothing_is_covered_or_cut_off(names, count):
    columns = (
        "loss",
        "validation_db",
        "psnr_db",
        "gradient_norm",
        "patches_per_s",
        "learning_rate",
    )
    table = history(4000, every=10)
    named = {f"network of some kind, number {number}": table for number in range(names)}
    figure = plot_history(named, columns[:count])
    rasterize(figure)
    everything = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
    assert len(everything) == count
    everything.append(figure.legends[0].get_window_extent())
    everything += [text.get_window_extent() for text in figure.texts]
    width, height = figure.bbox.width, figure.bbox.height
    assert width <= 1000
    for index, box in enumerate(everything):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        for other in everything[:index]:
            assert not (box.padded(-1)).overlaps(other.padded(-1))
    for axes in figure.axes[:count]:
        assert axes.get_window_extent().width > 200 and axes.get_window_extent().height > 150
        assert axes.xaxis.label.get_fontsize() >= 11


def test_each_history_has_a_look_of_its_own():
    figure = plot_history({f"{seed}": history(seed=seed) for seed in range(12)}, ("loss",))
    looks = [(line.get_color(), line.get_linestyle()) for line in strong(figure.axes[0])]
    assert len(set(looks)) == 12
    shown = [(line.get_color(), line.get_linestyle()) for line in figure.legends[0].get_lines()]
    assert shown == looks
    with style.context("srlib.course", after_reset=True):
        assert looks[0][0] == matplotlib.rcParams["axes.prop_cycle"].by_key()["color"][0]


def test_the_look_does_not_depend_on_the_style():
    plain = rasterize(plot_history(history()))
    with style.context("dark_background"):
        assert (rasterize(plot_history(history())) == plain).all()


def test_no_figure_stays_open_and_the_input_stays():
    table, before = history(), pyplot.get_fignums()
    copy = table.copy()
    plot_history({"a": table})
    assert pyplot.get_fignums() == before
    pd.testing.assert_frame_equal(table, copy)


def test_a_history_read_from_its_file(tmp_path):
    history().to_csv(tmp_path / "log.csv")
    plot_history(pd.read_csv(tmp_path / "log.csv", index_col="step"))
    with pytest.raises(ValueError, match="index_col='step'.*got the index None"):
        plot_history(pd.read_csv(tmp_path / "log.csv"))


def test_a_single_row():
    rasterize(plot_history(history(1), ("loss", "learning_rate"), x="seconds"))


def test_other_columns_are_drawn_under_their_name():
    table = history(validation_ssim=np.linspace(0.7, 0.8, 400))
    assert plot_history(table, ("validation_ssim",)).axes[0].get_ylabel() == "validation_ssim"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None,), {}, "histories must be a DataFrame or a dict of them, got None"),
        (({},), {}, "histories must be .*got {}"),
        (([history()],), {}, "histories must be"),
        (({"a": [1]},), {}, r"history 'a' must be a DataFrame with rows, got \[1\]"),
        ((history()[:0],), {}, "the history must be a DataFrame with rows"),
        ((history(), ("speed",)), {}, "columns must be some of .*got 'speed'"),
        ((history(), ()), {}, "columns must name at least one column"),
        ((history(), "loss"), {}, "columns must be a sequence of names, got 'loss'"),
        ((history()[["seconds"]],), {}, "columns must name at least one"),
        ((history(),), {"x": "minutes"}, "x must be 'step' or 'seconds', got 'minutes'"),
        ((history()[["loss"]],), {"x": "seconds"}, "must have a column 'seconds'"),
        ((history(),), {"smooth": 0}, "smooth must be at least 1 step, got 0"),
        ((history(),), {"smooth": math.nan}, "smooth must be at least 1 step, got nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        plot_history(*arguments, **options)
