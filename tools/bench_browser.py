"""How long a moved slider takes in a real browser: from the key press to the new picture.

``make bench BENCH=browser``, or with some notebooks ``python tools/bench_browser.py 02 08``. The
time is taken in the page. Beside each slider an empty one is pressed by turns, which does nothing
but exchange two pictures: what it takes is JupyterLab's and the machine's part.
"""

import math
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from browser import jupyterlab, launch  # noqa: E402
from notebook_page import Control, NotebookPage, prepare  # noqa: E402

EMPTY = """\
def _empty_slider():
    import io
    import ipywidgets
    from PIL import Image

    pictures = []
    for colour in ("white", "black"):
        Image.new("RGB", (8, 8), colour).save(file := io.BytesIO(), format="PNG")
        pictures.append(file.getvalue())
    slider = ipywidgets.IntSlider(0, 0, 1000, description="empty")
    picture = ipywidgets.Image(value=pictures[0], layout={"width": "8px"})
    slider.observe(lambda change: setattr(picture, "value", pictures[change.new % 2]), "value")
    return ipywidgets.VBox([slider, picture])


_empty_slider()
"""

STOPWATCH = """
document.addEventListener('keydown', event => { window.pressed = event.timeStamp }, true);
window.stopwatch = image => { image.addEventListener(
    'load', () => { image.took = performance.now() - window.pressed }, {once: true}) };
"""


def open_with_empty_slider(context, lab, source: Path) -> NotebookPage:
    """Open a copy of a notebook whose last cell is the empty slider, and run it."""
    prepare(source, lab.root / source.name)
    notebook = nbformat.read(lab.root / source.name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(EMPTY))
    nbformat.write(notebook, lab.root / source.name)
    opened = NotebookPage(context, lab, source.name)
    opened.page.add_init_script(STOPWATCH)
    opened.open()
    opened.run_all()
    return opened


def press(slider: Control, key: str) -> float | None:
    """Press a key; return the milliseconds to the new picture, None if there is none."""
    slider.picture.evaluate("stopwatch")
    return slider.picture.evaluate("image => image.took") if slider.press(key) else None


def measure(slider: Control, empty: Control, presses: int = 15) -> tuple[float, float]:
    """Return the median milliseconds of a slider, and of the empty one beside it."""
    slider.holder.scroll_into_view_if_needed()
    own, others, key = [], [], "ArrowRight"
    for _ in range(presses):
        before, took = slider.value(), press(slider, key)
        if slider.value() == before:  # it is at its end
            key = {"ArrowRight": "ArrowLeft", "Home": "End"}.get(key, "Home")
            took = press(slider, key)
        own.append(math.inf if took is None else took)
        if took is None:  # a step may be too small to change a pixel
            key = "End"
        elif key in ("End", "Home"):
            key = "Home" if key == "End" else "End"
        others.append(press(empty, "ArrowRight"))
    return statistics.median(own), statistics.median(others)


def bench_browser(numbers: list[str] = ()) -> None:
    """Print and write the table: notebook, slider, milliseconds, those of the empty slider."""
    rows = []
    folder = tempfile.TemporaryDirectory(prefix="jupyterlab-")
    with folder as place, launch() as context, jupyterlab(Path(place), SRLIB_PROFILE="ci") as lab:
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            if numbers and path.name[:2] not in numbers:
                continue
            notebook = open_with_empty_slider(context, lab, path)
            *sliders, empty = [c for c in notebook.controls() if c.kind == "slider"]
            for slider in sliders:
                rows.append((path.stem, slider.label, *measure(slider, empty)))
                name, label, own, other = rows[-1]
                print(f"{name:28} {label:32} {own:5.0f} ms, empty {other:3.0f} ms", flush=True)
            notebook.close()
    table = pd.DataFrame(rows, columns=["notebook", "slider", "milliseconds", "empty"]).round(1)
    target = ROOT / "build" / "slider_latency.csv"
    target.parent.mkdir(exist_ok=True)
    table.to_csv(target, index=False)
    worst = (table["milliseconds"] - table["empty"]).max()
    print(f"{target}: written; the slowest takes {worst:.0f} ms more than an empty one (aim: 100)")


if __name__ == "__main__":
    bench_browser(sys.argv[1:])
