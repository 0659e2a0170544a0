"""Measure what the README states about speed: ``make bench``.

Times on a shared machine scatter, so that each is a median, and what can be a ratio is one.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import jupytext
import numpy as np
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from PIL import Image

from srlib.resample import imresize

ROOT = Path(__file__).resolve().parents[1]
SWEEP = """
import json
import statistics

from srlib.widgets import Explorer

for name, value in list(globals().items()):
    if isinstance(value, Explorer) and not name.startswith("_"):
        seconds = value.sweep() + value.sweep()
        print("sweep", json.dumps([name, statistics.median(seconds), max(seconds)]))
"""


def median_ms(function, repetitions=15):
    """Return the median time of a call in milliseconds, after one call to warm up."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def bench_resize():
    """Shrink a uint8 photograph of 2040 x 1356 by 4, with Pillow and with imresize."""
    image = np.random.default_rng(0).integers(0, 256, (1356, 2040, 3), dtype=np.uint8)
    picture = Image.fromarray(image)
    pillow = median_ms(lambda: picture.resize((510, 339), Image.Resampling.BICUBIC))
    ours = median_ms(lambda: imresize(image, 1 / 4))
    print(f"resize 2040 x 1356 by 1/4: Pillow {pillow:.1f} ms, imresize {ours:.1f} ms, ", end="")
    print(f"ratio {ours / pillow:.2f} (aim: at most 3)")


def bench_sliders():
    """Move every slider of every notebook: drawing and encoding, as `Explorer.sweep` does."""
    for script in sorted((ROOT / "solutions").glob("*.py")):
        notebook = jupytext.read(script)
        notebook.cells.append(new_code_cell(SWEEP))
        place = {"metadata": {"path": str(ROOT / "notebooks")}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
        for output in notebook.cells[-1].outputs:
            for line in output.get("text", "").splitlines():
                name, median, worst = json.loads(line.removeprefix("sweep "))
                print(f"{script.stem}.{name}: ", end="")
                print(
                    f"median {1000 * median:.0f} ms, worst {1000 * worst:.0f} ms (aim: median 100)"
                )


if __name__ == "__main__":
    os.environ.setdefault("SRLIB_PROFILE", "ci")
    bench_resize()
    sys.stdout.flush()
    bench_sliders()
