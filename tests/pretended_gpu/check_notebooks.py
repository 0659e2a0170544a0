"""Every notebook on a pretended GPU, at the sizes of the profile "ci"."""

from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import pytest

# A warning is nothing that a GPU would not bear.
pytestmark = pytest.mark.filterwarnings("default")

SCRIPTS = sorted((Path(__file__).parents[2] / "solutions").glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook(script, gpu, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Exercises are checked on the CPU, also those that train.
    monkeypatch.setattr("srlib.exercises.check", lambda exercise_id, answer: answer)
    names = {"__name__": "__main__", "display": lambda *pictures, **options: None}
    source = script.read_text()
    for cell in jupytext.reads(source, fmt="py:percent").cells:
        if cell.cell_type == "code":
            # On the lines of the script, so that what is found there is told by them.
            line = source[: source.index(cell.source)].count("\n")
            exec(compile("\n" * line + cell.source, script, "exec"), names)
            plt.close("all")
    assert not gpu.trained_on_cpu
