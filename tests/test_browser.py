"""Every learner notebook in a real browser: run it, look at it, move what can be moved.

Where there is no Chromium, `make test` runs them with nbval. The screenshots stay in
build/screenshots. How fast sliders are says `make bench BENCH=browser`.
"""

import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bench_browser import measure, open_with_empty_slider
from browser import ROOT, SCREENSHOTS, jupyterlab, launch
from notebook_page import Control, NotebookPage, prepare
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.notebooks, pytest.mark.slow]


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def context():
    with launch() as context:
        yield context


@pytest.fixture(scope="module")
def lab(context, tmp_path_factory):
    # One thread for the kernel: the browser needs a core as well.
    folder = tmp_path_factory.mktemp("jupyterlab")
    with jupyterlab(folder, SRLIB_PROFILE="ci", OMP_NUM_THREADS="1") as lab:
        yield lab


@pytest.fixture
def open_notebook(context, lab):
    """Open a copy of a notebook, without its outputs; close it after the test."""
    opened = []

    def open_copy(source: Path) -> NotebookPage:
        prepare(source, lab.root / source.name)
        opened.append(NotebookPage(context, lab, source.name))
        opened[-1].open()
        return opened[-1]

    yield open_copy
    for notebook in opened:
        notebook.close()


def checked(notebook: nbformat.NotebookNode) -> list:
    """Return what the cells show that must be the same everywhere, as nbval would compare it."""
    found = []
    for cell in notebook.cells:
        if "NBVAL_CHECK_OUTPUT" in cell.source:
            printed = "".join("".join(output.get("text", "")) for output in cell.outputs)
            shown = [output.get("data", {}) for output in cell.outputs]
            found.append((printed, [{k: "".join(d[k]) for k in d if "text" in k} for d in shown]))
    return found


def test_there_are_notebooks_and_outputs_to_check():
    assert len(NOTEBOOKS) >= 16
    assert sum(len(checked(nbformat.read(path, as_version=4))) for path in NOTEBOOKS) >= 17


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_everything_moves(path, open_notebook):
    notebook = open_notebook(path)
    notebook.run_all()
    assert checked(notebook.contents()) == checked(nbformat.read(path, as_version=4))
    notebook.screenshot(SCREENSHOTS / f"{path.stem}.jpg")
    faults = notebook.faults()
    assert faults + notebook.move_everything() + notebook.console == []


INTERPOLATION = ROOT / "notebooks" / "02_interpolation.ipynb"


def test_cells_out_of_order_and_a_restart_lose_nothing(open_notebook):
    notebook = open_notebook(INTERPOLATION)
    last = notebook.code_cells.filter(has_text="@title Shrink and enlarge")
    notebook.run(last)
    assert "NameError" in notebook.errors()[0]
    for run in (notebook.run_all, lambda: notebook.run(last), notebook.restart_and_run_all):
        run()
        assert notebook.faults() == []
        assert Control(notebook, "slider", last.locator(".widget-slider")).faults() == []
    # What JupyterLab itself says when a kernel goes; in the other tests it is a fault.
    gone = "warning: Connection lost, reconnecting in 0 seconds."
    assert [line for line in notebook.console if line != gone] == []


def test_a_photograph_of_ones_own(open_notebook):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).resize((900, 600)).save(photo := io.BytesIO(), format="JPEG")
    notebook = open_notebook(INTERPOLATION)
    notebook.run_all()
    cell = notebook.code_cells.filter(has_text="@title Shrink and enlarge")
    slider = Control(notebook, "slider", cell.locator(".widget-slider"))

    def upload(name: str, content: bytes) -> None:
        with notebook.page.expect_file_chooser() as chooser:
            cell.locator(".widget-upload").click()
        slider.picture.evaluate("expect")
        chooser.value.set_files({"name": name, "mimeType": "image/jpeg", "buffer": content})

    upload("my own, grün.jpg", photo.getvalue())
    cell.get_by_text("my own, grün.jpg: 900 x 600 shrunk to 512 x 342").wait_for()
    assert slider.picture.evaluate("arrived")
    size = "image => [image.naturalWidth, image.naturalHeight]"
    assert slider.picture.evaluate(size) == [3 * 210, 3 * 140]  # the middle, three times as large
    assert slider.faults() == []
    shown = slider.picture.evaluate("look")
    upload("notes.jpg", b"no picture at all")
    cell.get_by_text("notes.jpg: ").wait_for()
    assert slider.picture.evaluate("look") == shown
    assert notebook.errors() + notebook.console == []


# What the checks above must find: a made-up notebook's cells, and what the faults say.

PRELUDE = """\
import sys
import ipywidgets
import numpy as np
from IPython.display import Image, Javascript, display
from srlib.widgets import Explorer

def plain(value):
    return np.full((40, 60, 3), value, np.uint8)

def noise(seed):  # so much that the first picture is a JPEG
    return np.random.default_rng(int(seed)).integers(0, 256, (300, 300, 3), np.uint8)

def slider(**options):
    return ipywidgets.IntSlider(3, 0, 9, **options)
"""
FAULTY = {
    "print('late', file=sys.stderr)": ["late"],
    "1 / 0": ["ZeroDivisionError"],
    "display(Javascript('console.error(\"made up\")'))": ["error: made up"],
    "display(Javascript('setTimeout(() => { throw Error(\"lost\") })'))": ["uncaught: lost"],
    "display(Image(b'no picture', format='png'))": ["figure 0 is empty"],
    "slider(description='much longer than its place')": [
        "cut label: much longer than its place",
        "slider 'much longer than its place': has no picture",
    ],
    "Explorer(lambda good: plain(good), good=slider())": [],
    "Explorer(lambda stuck: plain(stuck), stuck=slider(disabled=True))": [
        "slider 'stuck': cannot be moved"
    ],
    "Explorer(lambda still: plain(1), still=slider())": [
        "slider 'still' to the End: no new picture",
        "slider 'still' to the Home: no new picture",
        "slider 'still' to the start: no new picture",
        "slider 'still': cannot be moved",
    ],
    "Explorer(lambda twin: noise(twin == 0), twin=slider())": [
        "slider 'twin': two of ['9.0', '0.0', '3.0'] have the same picture"
    ],
    "Explorer(lambda bad: plain(10 // (9 - bad)), bad=slider())": [
        "slider 'bad' to the End: ZeroDivisionError"
    ],
    "Explorer(lambda jump: (plain(jump), 'caption\\n' * jump), jump=slider())": [
        "slider 'jump' to the "
    ],
    "Explorer(lambda on: plain(7), on=ipywidgets.Checkbox(True))": [
        "checkbox 'on' to the False: no new picture",
        "checkbox 'on' to the True: no new picture",
        "checkbox 'on': cannot be moved",
    ],
}


def test_the_checks_find_what_is_wrong(open_notebook, tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in (PRELUDE, *FAULTY)]
    for cell in cells:
        cell.metadata.tags = ["raises-exception"]  # run all goes on
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    faulty = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(faulty, tmp_path / "faulty.ipynb")
    notebook = open_notebook(tmp_path / "faulty.ipynb")
    notebook.run_all()
    faults = notebook.faults()
    found = faults + notebook.move_everything() + notebook.console
    expected = [fault for faults in FAULTY.values() for fault in faults]
    assert [fault for fault in found if not any(part in fault for part in expected)] == []
    assert [part for part in expected if not any(part in fault for fault in found)] == []


SLOW = """\
import time
import ipywidgets
import numpy as np
from srlib.widgets import Explorer

def render(slow):
    time.sleep(0.3)
    return np.full((40, 60, 3), slow, np.uint8)

Explorer(render, slow=ipywidgets.IntSlider(3, 0, 9))
"""


def test_the_bench_takes_the_time(context, lab, tmp_path):
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    slow = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SLOW)], metadata=metadata)
    nbformat.write(slow, tmp_path / "slow.ipynb")
    notebook = open_with_empty_slider(context, lab, tmp_path / "slow.ipynb")
    slider, empty = notebook.controls()
    milliseconds, of_the_empty = measure(slider, empty, presses=3)
    notebook.close()
    assert milliseconds > 300 and of_the_empty > 0
