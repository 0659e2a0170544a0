import io
import math
import subprocess
import sys
import types

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.events import EventManager, available_events
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from srlib.widgets import LivePlot, live
from srlib.widgets.live import _means


def row(step, **values):
    """Return a row as `srlib.training.train` makes it."""
    loss = 0.01 + 0.2 * math.exp(-step / 50)
    numbers = {"seconds": step / 10, "loss": loss, "psnr_db": -20 * math.log10(loss)}
    numbers |= {"learning_rate": 1e-3, "gradient_norm": 0.1, "patches_per_s": 300}
    return {"step": step, **numbers, "validation_db": math.nan} | values


class Notebook:
    """Stands for a kernel: its event, what it displays, its clock."""

    def __init__(self, monkeypatch):
        self.events = EventManager(self, available_events)
        self.shown, self.errors, self.now = [], [], 0.0
        self.draw_seconds = 0.01
        shell = types.SimpleNamespace(kernel=object(), events=self.events)
        monkeypatch.setattr(live, "get_ipython", lambda: shell)
        monkeypatch.setattr(live, "display", self.shown.append)
        monkeypatch.setattr(live.time, "perf_counter", lambda: self.now)
        update = live._update

        def slow_update(figure, rows):
            self.now += self.draw_seconds
            update(figure, rows)

        monkeypatch.setattr(live, "_update", slow_update)

    def end_cell(self):
        self.events.trigger("post_run_cell", None)
        assert self.errors == []

    def showtraceback(self):  # what the events do with an error
        self.errors.append(sys.exc_info()[1])


@pytest.fixture
def notebook(monkeypatch) -> Notebook:
    return Notebook(monkeypatch)


@pytest.fixture
def counted(notebook, monkeypatch) -> Notebook:
    """Draw pictures that hold nothing but how many rows there are: quick, and all different."""

    def count(figure, rows):
        notebook.now += notebook.draw_seconds
        figure.patch.set_facecolor((len(rows) % 16 / 15, len(rows) // 16 % 16 / 15, 0))
        figure.set_size_inches(0.2, 0.01 * (len(rows) // 256 + 1))

    monkeypatch.setattr(live, "_live_figure", lambda: Figure(layout="none"))
    monkeypatch.setattr(live, "_update", count)
    return notebook


def decode(plot: LivePlot) -> np.ndarray:
    picture = Image.open(io.BytesIO(plot.picture.value))
    assert picture.format == "PNG" == plot.picture.format.upper()
    return np.asarray(picture.convert("RGB"))


def test_the_first_row_displays_the_picture(notebook):
    plot = LivePlot()
    assert notebook.shown == [] and plot.picture is None
    plot(row(1))
    assert notebook.shown == [plot.picture]
    assert decode(plot).shape == (320, 900, 3)
    assert plot.picture.layout.width == "900px" and plot.picture.layout.max_width == "100%"


def test_it_is_drawn_every_second_at_most_and_finally_at_the_end_of_the_cell(counted):
    plot, pictures = LivePlot(), []
    for step in range(1, 301):  # 30 s
        counted.now += 0.1
        plot(row(step))
        if not pictures or plot.picture.value != pictures[-1]:
            pictures.append(plot.picture.value)
    assert 26 <= len(pictures) <= 31
    counted.now += 0.01
    plot(row(301))
    assert plot.picture.value == pictures[-1]
    counted.end_cell()
    assert plot.picture.value != pictures[-1]
    assert counted.shown == [plot.picture]


@pytest.mark.parametrize("draw_seconds", [0.01, 0.1, 1.0])
def test_drawing_costs_two_and_a_half_percent_at_most(counted, draw_seconds):
    counted.draw_seconds = draw_seconds
    plot, pictures, trained = LivePlot(), set(), 0.0
    for step in range(1, 2001):
        counted.now += 0.1
        trained += 0.1
        plot(row(step))
        pictures.add(plot.picture.value)
    # The first is free: it is to be seen at once.
    assert (len(pictures) - 1) * draw_seconds <= 0.0251 * trained
    assert len(pictures) >= 5


def test_an_interval_of_your_own(counted):
    plot, pictures = LivePlot(every=10), set()
    for step in range(1, 301):
        counted.now += 0.1
        plot(row(step))
        pictures.add(plot.picture.value)
    assert len(pictures) == 3
    with pytest.raises(ValueError, match="every must be > 0, got 0"):
        LivePlot(every=0)


def test_each_cell_gets_a_picture_and_the_training_goes_on_in_it(notebook):
    plot = LivePlot()
    plot(row(1))
    plot(row(2))
    notebook.end_cell()
    first, before = plot.picture, plot.picture.value
    plot(row(3))
    assert notebook.shown == [first, plot.picture] and plot.picture is not first
    assert first.value == before
    assert plot._figure.axes[0].lines[0].get_xdata().tolist() == [1, 2, 3]


def test_a_smaller_step_starts_a_new_training(notebook):
    plot = LivePlot()
    for step in (1, 2, 3, 1, 2):
        plot(row(step))
    notebook.end_cell()
    assert plot._figure.axes[0].lines[0].get_xdata().tolist() == [1, 2]
    assert len(notebook.shown) == 1


def test_nothing_stays_registered(notebook):
    plot = LivePlot()
    for _ in range(3):
        plot(row(1))
        notebook.end_cell()
        assert notebook.events.callbacks["post_run_cell"] == []


def test_loss_psnr_and_validation_are_in_it(notebook):
    plot = LivePlot()
    for step in range(1, 21):
        plot(row(step, validation_db=25.5 if step % 10 == 0 else math.nan))
    notebook.end_cell()
    loss, psnr = plot._figure.axes
    assert loss.lines[0].get_ydata()[-1] == row(20)["loss"]
    assert psnr.lines[0].get_ydata()[-1] == row(20)["psnr_db"]
    assert psnr.lines[1].get_xydata().tolist() == [[10, 25.5], [20, 25.5]]
    assert loss.get_ylabel() == "loss (images in 0..1)" and psnr.get_ylabel() == "PSNR (dB)"
    assert loss.get_title(loc="left") == "step 20, 2 s"
    assert psnr.get_ylim()[0] < min(psnr.lines[0].get_ydata()) and psnr.get_ylim()[1] > 25.5


def test_the_legend_covers_no_panel_and_nothing_is_cut_off(notebook):
    plot = LivePlot()
    for step in range(1, 100_000, 199):
        plot(row(step, seconds=99_999, psnr_db=27.123, validation_db=30))
    notebook.end_cell()
    figure = plot._figure
    boxes = [axes.get_window_extent() for axes in figure.axes]
    legend = figure.axes[1].get_legend().get_window_extent()
    texts = figure.axes[0].findobj(Text)
    (title,) = (t.get_window_extent() for t in texts if t.get_text().startswith("step 9"))
    assert not any(legend.overlaps(box) for box in [*boxes, title])
    for box in [legend, title, *(axes.get_tightbbox() for axes in figure.axes)]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 900 and box.y1 <= 320


def test_long_curves_are_drawn_as_means(notebook):
    plot = LivePlot()
    for step in range(1, 1001):
        plot(row(step, loss=float(step % 5)))
    notebook.end_cell()
    line = plot._figure.axes[0].lines[0]
    assert len(line.get_xdata()) == 200
    assert line.get_ydata() == pytest.approx(2)
    assert "each point the mean of 5 rows" in plot._figure.axes[0].get_title(loc="left")


@given(rows=st.integers(1, 50), length=st.integers(1, 60))
def test_means(rows, length):
    table = np.random.default_rng(rows).random((rows, 4))
    expected = [table[i : i + length].mean(0) for i in range(0, rows, length)]
    assert _means(table, length) == pytest.approx(np.array(expected))


def test_rows_of_another_loop(notebook):
    plot = LivePlot()
    plot({"step": 1, "loss": 2})
    plot({"step": 2, "loss": 1, "psnr_db": math.inf})
    notebook.end_cell()
    assert plot._figure.axes[0].get_title(loc="left") == "step 2"
    with pytest.raises(ValueError, match=r"row must hold 'step' and 'loss', got \['step'\]"):
        plot({"step": 3})


def test_an_error_while_drawing_is_not_swallowed(notebook, monkeypatch):
    def fail(figure, rows):
        raise RuntimeError("no")

    plot = LivePlot()
    plot(row(1))
    monkeypatch.setattr(live, "_update", fail)
    notebook.now += 100
    with pytest.raises(RuntimeError, match="no"):
        plot(row(2))
    with pytest.raises(AssertionError):
        notebook.end_cell()
    assert isinstance(notebook.errors[0], RuntimeError)
    assert notebook.events.callbacks["post_run_cell"] == []


def test_outside_of_a_kernel_no_picture_is_made_but_errors_are():
    plot = LivePlot()
    plot(row(1))
    assert plot.picture is None
    with pytest.raises(ValueError, match="row must hold"):
        plot({})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_process_started_from_a_notebook_displays_nothing(notebook, monkeypatch):
    plot = LivePlot()
    monkeypatch.setattr(live.os, "getpid", lambda: -1)
    plot(row(1))
    assert plot.picture is None and notebook.shown == []


@pytest.mark.slow
def test_a_script_prints_nothing():
    code = "from srlib.widgets.live import LivePlot\nLivePlot()({'step': 1, 'loss': 1.0})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


CELLS = (
    """
from srlib.widgets.live import LivePlot
live = LivePlot()
""",
    """
for step in range(1, 51):
    live({"step": step, "loss": 1 / step, "psnr_db": 20.0, "validation_db": 21.0})
""",
    "assert live._drawn == 50",
    """
live({"step": 51, "loss": 1.0})
live({"step": 52, "loss": 1.0})
raise KeyboardInterrupt
""",
    "assert live._drawn == 52",
)


@pytest.mark.slow
def test_in_a_real_kernel_the_saved_notebook_has_the_final_pictures():
    nbclient = pytest.importorskip("nbclient")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True)
    client.execute()
    view = "application/vnd.jupyter.widget-view+json"
    displays = [o for cell in cells for o in cell.outputs if view in o.get("data", {})]
    errors = [o.ename for cell in cells for o in cell.outputs if o.output_type == "error"]
    assert errors == ["KeyboardInterrupt"]
    assert [view in cell.outputs[0].data if cell.outputs else False for cell in cells] == [
        False,
        True,
        False,
        True,
        False,
    ]
    saved = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    values = [saved[o.data[view]["model_id"]]["buffers"][0]["data"] for o in displays]
    assert len(set(values)) == 2 and all(10_000 < len(value) < 60_000 for value in values)
