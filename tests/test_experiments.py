"""Trainings beside each other, the tool that runs them for hours, and what it kept."""

import json
import shutil
from pathlib import Path

import experiments
import jupytext
import numpy as np
import pandas as pd
import papermill
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srlib import assets
from srlib.data import Pair, PatchSampler
from srlib.environment import by_profile
from srlib.figures.history import plot_trainings
from srlib.models import SrResNet, load_pretrained
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.training.experiments import (
    FOLDER_VARIABLE,
    SmallTask,
    Trainings,
    compare_trainings,
    long_run,
)

ROOT = Path(__file__).resolve().parents[1]


def make_sampler(seed, batch_size=2):
    random = np.random.default_rng(0)
    picture = Pair("a", *(random.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (12, 24)))
    return PatchSampler([picture], 2, lr_patch_size=4, batch_size=batch_size, seed=seed)


def small():
    return SrResNet(2, channels=4, num_blocks=1, hr_channels=0)


def small_from(seed):
    torch.manual_seed(seed)
    return small()


def same_weights(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def score(network):
    """Something that depends on the weights."""
    with torch.no_grad():
        return sum(p.square().sum() for p in network.parameters()).item()


def compare(**changed):
    options = {"seeds": (0, 1), "config": TrainConfig(steps=40)} | changed
    config = options.pop("config")
    candidates = options.pop("candidates", {"one": small, "the other": small})
    return compare_trainings("99_x", candidates, make_sampler, config, score, **options)


@pytest.fixture
def long(monkeypatch, tmp_path):
    """Run as make experiments does, and find there what was kept."""
    monkeypatch.setenv("SRLIB_PROFILE", "long")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "experiments"))
    monkeypatch.setattr(assets, "data_file", lambda relative: tmp_path / relative)
    folder = tmp_path / "experiments" / "99_x"
    folder.mkdir(parents=True)  # as make experiments does for those that are to be run
    return folder


# The task


def test_the_small_task_trains_on_some_photographs_and_scores_others():
    task = SmallTask(3, crop_side=48)
    assert {pair.hr.shape for pair in task.test_pairs} == {(48, 48, 3)}
    assert not {p.name for p in task.train_pairs} & {p.name for p in task.test_pairs}
    assert task.score(lambda lr: imresize(lr, 3)) == task.bicubic_db
    lr, hr = task.sampler(1, lr_patch_size=5, batch_size=2).sample()
    assert lr.shape == (2, 3, 5, 5) and hr.shape == (2, 3, 15, 15)
    again, other = (task.sampler(seed, 5, 2).sample()[0] for seed in (1, 2))
    assert lr.equal(again) and not lr.equal(other)


@pytest.mark.parametrize(("scale", "least"), [(2, 16), (3, 18), (4, 20)])
def test_the_small_task_has_crops_that_can_be_scored(scale, least):
    assert SmallTask(scale, crop_side=least).bicubic_db > 10
    for wrong in (least - 1, 97):
        with pytest.raises(ValueError, match=rf"crop_side must be in {least}..96, got {wrong}"):
            SmallTask(scale, crop_side=wrong)


# Trainings beside each other


def test_each_candidate_is_trained_from_each_seed_and_scored_on_the_way():
    found = compare()
    assert list(found.curves) == ["candidate", "seed", "step", "seconds", "loss", "psnr_db"]
    for key, curve in found.curves.groupby(["candidate", "seed"]):
        assert curve["step"].tolist() == list(range(0, 41, 2))  # at the start, then twenty times
        assert np.isnan(curve["loss"].iloc[0]) and curve["loss"].iloc[1:].notna().all()
        assert curve["psnr_db"].iloc[-1] == pytest.approx(score(found.networks[key]))
        assert not found.networks[key].training
    assert len(found.networks) == 4 and found.parts.empty


def test_a_training_may_differ_in_more_than_its_network():
    own = {"steps": 20, "learning_rate": 1e-2, "ema_decay": 0.5}
    changed = {
        "shorter": own,
        "squares": {"loss": F.mse_loss},
        "one patch": {"make_sampler": lambda seed: make_sampler(seed, batch_size=1)},
    }
    names = ["as it is", *changed]
    found = compare(candidates=dict.fromkeys(names, small), settings=changed, seeds=(0,))
    ends = found.scores()[0]
    assert ends.is_unique
    assert found.table()["steps"].to_dict() == dict.fromkeys(names, 40) | {"shorter": 20}
    network, sampler = small_from(0), make_sampler(0)
    train(network, sampler, TrainConfig(**own, progress=False))
    assert ends["shorter"] == pytest.approx(score(network))
    network, sampler = small_from(0), make_sampler(0, batch_size=1)
    train(network, sampler, TrainConfig(steps=40, progress=False))
    assert ends["one patch"] == pytest.approx(score(network))


def test_a_record_tells_what_differed(long):
    changed = {
        "one": {"steps": 20, "loss": F.mse_loss, "make_sampler": make_sampler},
        "the other": {"optimizer": "muon", "learning_rate": 0.01},
    }
    compare(settings=changed, seeds=(0,))
    assert json.loads((long / "record.json").read_text())["settings"] == {
        "one": {"steps": 20, "loss": "mse_loss"},
        "the other": {"optimizer": "muon", "learning_rate": 0.01},
    }


def test_the_seed_decides_start_and_patches():
    curves = compare().curves.set_index(["candidate", "seed", "step"])["psnr_db"].sort_index()
    assert curves["one", 0].equals(curves["the other", 0])
    assert not curves["one", 0].equals(curves["one", 1])


def test_a_score_may_tell_its_parts(long):
    def by_part(network):
        return {"x2": score(network), "x3": 3 * score(network)}

    found = compare_trainings(
        "99_x", {"one": small}, make_sampler, TrainConfig(steps=4), by_part, seeds=(0, 1)
    )
    for seed, parts in found.parts.groupby("seed"):
        values = parts.set_index("part")["psnr_db"]
        once = score(found.networks["one", seed])
        assert values.to_dict() == pytest.approx({"x2": once, "x3": 3 * once})
        assert found.scores().loc["one", seed] == pytest.approx(2 * once)
    shutil.copytree(long, long.parents[1] / "99_x")
    pd.testing.assert_frame_equal(long_run("99_x").parts, found.parts.round({"psnr_db": 3}))


def test_other_numbers_than_the_score_are_kept(long):
    def measure(network):
        return {"first weight": next(network.parameters()).flatten()[0].item(), "twice": 2.0}

    found = compare(measure=measure, seeds=(0,), config=TrainConfig(steps=2))
    first = found.measures.query("measure == 'first weight'").set_index("candidate")["value"]
    for (candidate, _), network in found.networks.items():
        assert first[candidate] == measure(network)["first weight"]
    assert list(found.measures["measure"]) == 2 * ["first weight", "twice"]
    stored = long_run("99_x").measures
    pd.testing.assert_frame_equal(stored, found.measures.round({"value": 4}))


def test_a_loss_with_weights_of_its_own_begins_anew_in_each_training():
    class Learns(nn.Module):
        """A loss that is another one after each call."""

        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, sr, hr):
            self.calls += 1
            return self.calls * F.l1_loss(sr, hr)

    loss = Learns()
    settings = {name: {"loss": loss} for name in ("one", "the other")}
    found = compare(settings=settings, seeds=(0,), config=TrainConfig(steps=3))
    assert loss.calls == 0
    assert same_weights(*found.networks.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": TrainConfig(seconds=1)}, "config must have steps, got seconds=1"),
        ({"keep": ["one", "none"]}, "keep must name some of one, the other, got 'none'"),
        ({"settings": {"two": {}}}, "settings must name some of one, the other, got 'two'"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        compare(**changed)


def test_each_candidate_tries_its_rates_and_keeps_the_best(long, monkeypatch):
    arguments = {"one": small}, make_sampler, TrainConfig(steps=2, schedule="constant"), score
    found = compare_trainings("99_x", *arguments, seeds=(0, 1), rates=(1e-3, 1e-1, 1e-2))
    record = long_run("99_x").record
    tried = record["tried"]["one"]
    assert list(tried) == ["0.001", "0.1", "0.01"] and len(set(tried.values())) == 3
    best = max(tried, key=tried.get)
    assert record["learning_rate"] == {"one": float(best)}
    assert found.scores().loc["one", 0] == tried[best]
    folders = {path.name for path in long.iterdir() if path.is_dir()}
    name = f"one_rate_{best.replace('.', '_')}_1"
    assert len(folders) == 4 and {f for f in folders if f.endswith("_1")} == {name}
    monkeypatch.setenv("SRLIB_PROFILE", "cpu")
    alone = compare_trainings("99_x", *arguments, seeds=(0,), rates=[float(best)])
    assert alone.scores().loc["one", 0] == tried[best]


def test_a_batch_may_tell_the_network_more_than_the_image(long):
    class Told(SrResNet):
        def forward(self, batch):
            lr, factor = batch
            return factor * super().forward(lr)

    class Sampler(PatchSampler):
        def sample(self, process=0, processes=1):
            lr, hr = super().sample(process, processes)
            return (lr, 0.5), hr

    def telling(seed):
        picture = Pair("a", *(np.zeros((n, n, 3), np.uint8) for n in (12, 24)))
        return Sampler([picture], 2, lr_patch_size=4, batch_size=2, seed=seed)

    made = {"told": lambda: Told(2, channels=4, num_blocks=1, hr_channels=0)}
    compare_trainings("99_x", made, telling, TrainConfig(steps=2), score, seeds=(0,))
    start = long_run("99_x").record["start"]["told"]
    assert start["multiply_adds_per_lr_pixel"] == 9 * 12 + 27 * 16 + 16 * 12 + 25 * 3 * 4


def test_tables():
    rows = [
        (candidate, seed, step, 0.0, 0.0, level + seed + gain * step)
        for candidate, level, gain in (("a", 20, 0.1), ("b", 22, 0.08), ("c", 30, 0.0))
        for seed in (0, 1)
        for step in (0, 40, 80, 120)
    ]
    found = Trainings("99_x", pd.DataFrame(rows, columns=experiments_columns()))
    assert found.scores().loc["a"].tolist() == pytest.approx([32, 33])
    assert found.scores(0.5).loc["a"].tolist() == pytest.approx([24, 25])  # 40 of 120 steps
    assert found.table().loc["b"].tolist() == pytest.approx([120, 32.1, 31.6, 32.6])
    assert list(found.table().index) == ["a", "b", "c"]
    # At the end: c 30 and 31, a 32 and 33, b 31.6 and 32.6. c is below both, and led at step 40.
    assert not found.order_holds() and found.summary().endswith("the order still changed")
    a_and_b = Trainings("x", found.curves[found.curves["candidate"] != "c"])
    assert a_and_b.order_holds()  # they overlap
    assert a_and_b.summary() == "x: 120 steps, 2 seeds; what differs was in this order at half-way"
    rising = found.curves["candidate"] != "c"
    apart = found.curves.assign(
        psnr_db=found.curves["psnr_db"] + 5.0 * (found.curves["candidate"] == "b")
    )
    assert Trainings("x", apart[rising]).order_holds()  # b leads all the way
    with pytest.raises(ValueError, match="part must be in 0..1, got 2"):
        found.scores(2)


def experiments_columns():
    return ["candidate", "seed", "step", "seconds", "loss", "psnr_db"]


# For hours


def test_the_profile_long_needs_a_folder(monkeypatch):
    monkeypatch.setenv("SRLIB_PROFILE", "long")
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=f"a folder in {FOLDER_VARIABLE}: use make experiments"):
        compare()


def test_what_nobody_asked_for_is_not_run_again(long, monkeypatch):
    first = compare()
    asked_for = long.parent.with_name("asked for")
    monkeypatch.setenv(FOLDER_VARIABLE, str(asked_for))
    again = compare(config=TrainConfig(steps=80))
    assert again.table().equals(first.table().round(3)) and not again.networks
    assert not asked_for.exists()


def test_a_long_run_leaves_curves_settings_and_weights(long):
    found = compare(keep=["the other"])
    assert {path.name for path in long.iterdir() if path.is_file()} == {
        *("curves.csv", "record.json", "the_other.safetensors")
    }
    again = long_run("99_x")
    assert again.table().equals(found.table().round(3)) and again.record["settings"] == {}
    assert again.record["steps"] == 40 and again.record["seeds"] == [0, 1]
    assert again.record["parameters"]["one"] == sum(p.numel() for p in small().parameters())
    start = again.record["start"]["one"]  # by hand: head, block, body, deconvolution, bicubic
    assert start["multiply_adds_per_lr_pixel"] == 9 * 12 + 27 * 16 + 16 * 12 + 25 * 3 * 4
    assert start["first_layer_gradient"] == 0  # the last layer starts at zero
    torch.manual_seed(5)
    loaded = again.load("the other", small())
    assert score(loaded) == score(found.networks["the other", 0]) and not loaded.training
    with pytest.raises(ValueError, match="keeps the weights of the_other, got 'one'"):
        again.load("one", small())
    with pytest.raises(ValueError, match="the weights of 'the other' do not fit"):
        again.load("the other", nn.Conv2d(3, 3, 3))


def test_a_long_run_goes_on_where_it_was_stopped(long, monkeypatch):
    calls = 0

    def stop_in_the_third(network):
        nonlocal calls
        calls += 1
        if calls == 50:  # each training is scored 21 times
            raise RuntimeError("the power is gone")
        return score(network)

    arguments = ({"one": small, "the other": small}, make_sampler, TrainConfig(steps=40))
    with pytest.raises(RuntimeError, match="the power"):
        compare_trainings("99_x", *arguments, stop_in_the_third, seeds=(0, 1))
    assert not (long / "record.json").exists()
    calls = 100
    resumed = compare_trainings("99_x", *arguments, stop_in_the_third, seeds=(0, 1))
    assert calls < 150  # the two that had ended were not trained again
    monkeypatch.setenv("SRLIB_PROFILE", "cpu")
    whole = compare()
    columns = ["candidate", "seed", "step", "loss", "psnr_db"]
    assert resumed.curves[columns].equals(whole.curves[columns])


def test_the_profile_long_takes_its_own_value_or_that_of_cpu(monkeypatch):
    monkeypatch.setenv("SRLIB_PROFILE", "long")
    assert by_profile(ci=1, cpu=2, gpu=3, long=4) == 4
    assert by_profile(ci=1, cpu=2, gpu=3) == 2


# Drawn


def test_both_runs_are_drawn_in_one_colour_a_candidate():
    now, long = compare(), compare(candidates={"the other": small, "third": small})
    figure = plot_trainings(now, long, baselines={"bicubic": 1.0}, lowest_db=0.5, label="gain (dB)")
    (axes,) = figure.axes
    assert axes.get_ylabel() == "gain (dB)"
    lines = {}
    for line in axes.lines:
        lines.setdefault(line.get_color(), []).append(line)
    assert sorted(map(len, lines.values())) == [1, 1, 1, 2]  # bicubic, third, one, the other
    assert axes.get_xscale() == "log" and axes.get_ylim()[0] == 0.5
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["the other", "third", "one", "bicubic", "the long run", "this run"]
    alone = plot_trainings(now).legends[0].get_texts()
    assert [text.get_text() for text in alone] == ["one", "the other"]


# The tool

SCRIPT = """# %% [markdown]
# compare_trainings("in_the_text")

# %% tags=["parameters"]
steps = by_profile(ci=1, cpu=2, gpu=3, long=4)
sizes = by_profile(ci=5, cpu=6, gpu=7)
name = "x"

# %% tags=["folded"]
# @title Imports
import numpy

# %% tags=["folded"]
# @title Draw
def draw():
    pass


draw()

# %% tags=["folded", "experiment"]
# @title Crops
crops = 1

# %% tags=["experiment"]
compare_trainings("99_a", crops)

# %%
lesson = 2

# %% tags=["experiment"]
compare_trainings(
    "99_b", crops
)

# %%
what_comes_after = "it"
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "99_x.py"
    path.write_text(SCRIPT)
    return path


def test_the_code_of_an_experiment_ends_with_it(script):
    first, second = experiments.experiments_of(script).items()
    assert first[0] == "99_a" and second[0] == "99_b"
    assert first[1].startswith(
        "steps = 4\nsizes = 6\nname = 'x'\n\n# @title Crops\ncrops = 1\n\ncompare"
    )
    assert first[1].endswith('compare_trainings("99_a", crops)\n')
    assert second[1].startswith(first[1].rstrip()) and '"99_b"' in second[1]
    assert "lesson" not in second[1] and "draw" not in second[1]
    script.write_text(SCRIPT.replace("# %%\nlesson", '# %%\ncompare_trainings("99_c")\nlesson'))
    with pytest.raises(ValueError, match='99_x.py: the cell of 99_c needs the tag "experiment"'):
        experiments.experiments_of(script)


def test_of_other_cells_only_imports_and_definitions_are_run(script):
    sources = [cell.source for cell in experiments.for_hours(script).cells]
    assert [source.splitlines()[-1:] for source in sources] == [
        ['name = "x"'],
        ["import numpy"],
        ["    pass"],
        ["crops = 1"],
        ['compare_trainings("99_a", crops)'],
        [],  # the lesson
        [")"],
    ]


def test_a_run_that_began_with_other_code_is_not_mixed_with_this(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RUNS", tmp_path)
    experiments.begin("99_a", "steps = 4\n")
    experiments.begin("99_a", "steps = 4\n")
    with pytest.raises(SystemExit, match=r"remove it to begin again(.|\n)*-steps = 4\n\+steps = 5"):
        experiments.begin("99_a", "steps = 5\n")


def test_what_runs_is_the_code_that_the_record_keeps(script, monkeypatch):
    """Not a notebook that was generated before the script was changed."""
    solutions, ran = script.parent / "solutions", []
    solutions.mkdir()
    script.rename(solutions / script.name)
    old = jupytext.reads(SCRIPT.replace("crops = 1", "crops = 2"), fmt="py:percent")
    jupytext.write(old, solutions / "99_x.ipynb")
    monkeypatch.setattr(experiments, "ROOT", script.parent)
    monkeypatch.setattr(experiments, "RUNS", script.parent)
    monkeypatch.setattr(experiments, "RECORDS", script.parent / "none")
    monkeypatch.setattr(experiments, "keep", lambda *arguments: ran.append(arguments[2]))
    monkeypatch.setattr(
        papermill, "execute_notebook", lambda path, *_, **__: ran.append(path.read_text())
    )
    for variable in ("SRLIB_PROFILE", FOLDER_VARIABLE):
        monkeypatch.setenv(variable, "")  # put back afterwards
    monkeypatch.setattr("sys.argv", ["experiments.py", "99"])
    experiments.main()
    assert [("crops = 1" in code, "crops = 2" in code) for code in ran] == [(True, False)] * 3


def test_what_this_code_made_is_not_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "RUNS", tmp_path)
    monkeypatch.setattr("sys.argv", ["experiments.py", "04"])
    experiments.main()
    assert "04: this code made what is stored" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert experiments.stored("99_none") == {}


# What was kept

STORED = {
    name: code
    for path in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))
    for name, code in experiments.experiments_of(path).items()
}


@pytest.mark.parametrize("name", STORED)
def test_a_record_belongs_to_the_code_of_its_notebook(name):
    run = long_run(name)
    changed = experiments.difference(name, "\n".join(run.record["code"]), STORED[name])
    assert not changed, (
        f"{changed}\nRun it again, or: python tools/experiments.py {name[:2]} --accept"
    )
    assert len(run.record["seeds"]) >= 3
    assert sorted(run.curves["seed"].unique()) == run.record["seeds"]
    for (candidate, _), last in run.curves.groupby(["candidate", "seed"])["step"].max().items():
        own = run.record.get("settings", {}).get(candidate, {})
        assert last == own.get("steps", run.record["steps"])
    assert set(run.record["parameters"]) == set(run.curves["candidate"])
    assert {"command", "date", "python", "torch", "machine", "seconds"} <= set(run.record)


@pytest.mark.parametrize("number", sorted({name[:2] for name in STORED}))
def test_what_is_run_for_hours_needs_nothing_that_was_left_out(number, monkeypatch, tmp_path):
    monkeypatch.setenv("SRLIB_PROFILE", "long")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))  # nothing is asked for, so nothing trains
    (path,) = (ROOT / "solutions").glob(f"{number}_*.py")
    names = {}
    for cell in experiments.for_hours(path).cells:
        if "setup" not in cell.metadata.get("tags", []):
            exec(compile(cell.source, path.name, "exec"), names)
    seeds = names["term_seeds" if number == "16" else "seeds"]
    assert seeds == (0, 1, 2)


def test_13_began_with_the_network_that_is_shipped():
    """Else its long runs are those of another network, and are to be run again."""
    shipped_db = SmallTask(4).score(load_pretrained("srresnet_small_x4"))
    began_at = long_run("13_cut").scores(0).loc["whole"]
    assert began_at.tolist() == pytest.approx([shipped_db] * 3, abs=2e-3)


def test_nothing_is_kept_that_no_notebook_names():
    folder = ROOT / "data" / "experiments"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(STORED)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 8e6
    assert json.loads((folder / next(iter(STORED)) / "record.json").read_text())["code"]
