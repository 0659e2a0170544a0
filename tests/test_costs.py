"""The title cells say what tools/costs.py calculates from what is counted."""

import math
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import costs

ROWS = {(row["notebook"], row["what"]): row for row in costs.work()}


def test_every_notebook_has_its_times():
    numbers = [path.name[:2] for path in sorted((costs.ROOT / "solutions").glob("*.py"))]
    assert list(costs.times()) == numbers


@pytest.mark.parametrize("number", costs.times())
def test_a_title_cell_says_what_is_calculated(number):
    code = costs.script(number).read_text(encoding="utf-8")
    title = re.search(r"^# %% \[markdown\]\n((?:#.*\n)+)", code, re.M)[1]
    text = " ".join(line.removeprefix("#").strip() for line in title.splitlines())
    assert costs.sentence(number) in text, "python tools/costs.py --write"


def test_times_follow_from_the_table_by_the_stated_formula(monkeypatch):
    row = {"notebook": "13", "what": "students", "steps": "10 * 60", "runs": "len(seeds)",
           "gflop": "8.1", "launches": "500", "host_ms": "2"}  # fmt: skip
    monkeypatch.setattr(costs, "work", lambda: [row])
    monkeypatch.setattr(costs, "parameters", lambda number: {"seeds": (0, 1, 2)})
    rest = float(costs.times()["13"]["rest_minutes"])
    gpu = costs.Gpu(flops=8.1e12, launch=10e-6)
    # a step takes 1 ms of operations, 5 ms of launches and 2 ms of the processor
    assert costs.minutes(gpu)["13"] == pytest.approx(rest + 30 * 0.008)


def test_what_cannot_be_written_whole_stays_as_it_was(tmp_path, monkeypatch):
    def half(*_, **__):
        raise OSError("the disk is full")

    old, table = "# Time: long\n", costs.COSTS.read_text()
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "90_x.py").write_text(old)
    (tmp_path / "costs.csv").write_text(table)
    monkeypatch.setattr(costs, "ROOT", tmp_path)
    monkeypatch.setattr(costs, "COSTS", tmp_path / "costs.csv")
    monkeypatch.setattr(costs, "sentence", lambda number: "Time: short")
    monkeypatch.setattr(costs, "count", lambda *_: (1.0, 1))
    monkeypatch.setattr(costs.csv.DictWriter, "writerows", half)
    monkeypatch.setattr("sys.argv", ["costs.py", "--count"])
    with pytest.raises(OSError, match="full"):
        costs.main()
    monkeypatch.setattr(Path, "write_text", lambda path, _, **__: half(path.write_bytes(b"#")))
    with pytest.raises(OSError, match="full"):
        costs.write("90")
    assert (tmp_path / "costs.csv").read_text() == table
    assert (tmp_path / "solutions" / "90_x.py").read_text() == old


def test_every_notebook_ends_well_within_ten_minutes_on_a_t4():
    assert max(costs.minutes(costs.GPUS["T4"]).values()) <= 9


@pytest.mark.parametrize(
    "path", sorted((costs.ROOT / "solutions").glob("*.py")), ids=lambda p: p.stem
)
def test_every_notebook_that_trains_is_in_the_table(path):
    code = path.read_text(encoding="utf-8")
    trains = re.search(r"^[^#\n]*(?:\btrain\(|compare_trainings\(|optimizer\.step\()", code, re.M)
    assert bool(trains) == any(number == path.name[:2] for number, _ in ROWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "what"),
    [row for row in ROWS if (row[0], costs.LIKE.get(row[1], row[1])) in costs.STEPS],
)
def test_a_step_has_as_many_operations_and_launches_as_the_table_says(number, what):
    gflop, launches = costs.count(number, costs.LIKE.get(what, what))
    row = ROWS[number, what]
    assert f"{gflop:.4g}" == row["gflop"] and math.isclose(
        launches, int(row["launches"]), rel_tol=0.05
    )
