import argparse
import dataclasses
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError

from srlib import _train_command as train_command
from srlib import models
from srlib.__main__ import main
from srlib._train_command import add_parser
from srlib.assets import sample_names
from srlib.evaluation import upscale
from srlib.image import write_image
from srlib.models import create_model, load_pretrained, save_network
from srlib.training import TrainConfig, recipes
from srlib.training.checkpoint import load_checkpoint
from srlib.training.forecast import Forecast
from srlib.training.recipes import PROFILES, network_options
from srlib.training.run_log import RunLog

TINY = "--profile ci --scale 2 --steps 6 --progress false"


def run(text, *more):
    """Call the command; more arguments may hold spaces."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["train", *text.split(), *map(str, more)])
    options.run(options)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 36, 3), dtype=np.uint8)
    for name, image in zip("abcde", images, strict=True):
        write_image(folder / f"{name}.png", image)
    return folder


@pytest.fixture
def tiny(photographs, tmp_path):
    """Train a tiny network into a folder, with more options."""

    def call(more="", out="out", *rest):
        run(f"{TINY} {more}", "--data", photographs, *rest, "--out", tmp_path / out)
        return tmp_path / out

    return call


def help_text(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    return " ".join(capsys.readouterr().out.split())


def test_every_field_is_an_option_with_its_default_in_each_profile(capsys):
    text = help_text(capsys)
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        found = re.search(rf"{flag} {field.name.upper()} (.*?\((?:default|ci): [^)]*\))", text)
        assert found, field.name
        values = {name: p.get(field.name, field.default) for name, p in PROFILES.items()}
        for profile, value in values.items():
            either = (f"{profile}: {str(value).lower()}", f"(default: {str(value).lower()}")
            assert any(part in found[1] for part in either), (field.name, found[1])
    for name in ("data", "holdout", "lr-patch-size", "batch-size", "channels", "hr-channels"):
        assert re.search(rf"--{name} .*?\(ci: ", text)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_profiles_can_be_made(profile):
    values = PROFILES[profile]
    TrainConfig.from_recipe(values)
    create_model("SrResNet", 4, **network_options(values))


def test_the_folder_holds_what_is_promised(tiny, photographs, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["somewhere/__main__.py", "train", "--out", "my folder"])
    out = tiny("--seed 3 --holdout 2 --validate-every 3 --ema-decay 0.9")
    assert "model.safetensors: written" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "checkpoints",
        "config.json",
        "log.csv",
        "model.safetensors",
        "run.json",
    }
    record = json.loads((out / "run.json").read_text())
    assert record["command"] == "python -m srlib train --out 'my folder'"
    assert record["network"] == {
        "name": "SrResNet",
        "scale": 2,
        "channels": 8,
        "num_blocks": 1,
        "hr_channels": 4,
    }
    assert record["config"]["steps"] == record["steps"] == 6
    assert record["config"]["ema_decay"] == 0.9
    assert record["data"] == [str(photographs)] and record["images"] == 3
    assert record["held_out"] == [f"{photographs}/{name}" for name in "bd"]
    assert record["seed"] == 3 and record["loss"] == "l1" and record["start_from"] is None
    assert record["lr_patch_size"] == 12 and record["batch_size"] == 4
    assert record["torch"] == torch.__version__ and record["processes"] == 1
    assert record["hardware"] and record["device"] in ("cpu", "cuda")
    if record["device"] == "cpu":
        name, cores = re.fullmatch(r"(.+) \(.+\), (\d+) cores, .+", record["hardware"]).groups()
        assert int(cores) == os.cpu_count()
        systems = [platform.processor(), platform.machine()]
        if Path("/proc/cpuinfo").exists():
            systems.append(Path("/proc/cpuinfo").read_text())
        assert any(name in said for said in systems)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", record["finished"])
    log = pd.read_csv(out / "log.csv", index_col="step")
    assert record["train_seconds"] == round(log["seconds"].iloc[-1], 1)
    assert list(log.index[log["validation_db"].notna()]) == [3, 6]
    model = load_pretrained(out / "model.safetensors")
    assert model.scale == 2
    average = load_checkpoint(out / "checkpoints").state["ema"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, average[f"module.{name}"])


def test_degraded_pictures_are_trained_on_and_validated_on(tiny):
    rest = "--holdout 2 --lr-patch-size 2"
    degraded = "--degrade noise=100-100 left_out=0"
    outs = [tiny(f"{rest} {more}", more or "clean") for more in ("", degraded)]
    records = [json.loads((out / "run.json").read_text()) for out in outs]
    assert records[0]["degrade"] is None
    assert all(part in records[1]["degrade"] for part in ("noise=(100.0, 100.0)", "left_out=0.0"))
    logs = [pd.read_csv(out / "log.csv", index_col="step") for out in outs]
    assert logs[0].loc[6, "validation_db"] > logs[1].loc[6, "validation_db"]
    assert logs[0]["psnr_db"].iloc[0] > logs[1]["psnr_db"].iloc[0]


def test_what_is_held_out_is_never_trained_on(tiny, photographs, tmp_path, monkeypatch):
    """Not even where another source holds the same photograph under another name."""
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "z.png").write_bytes((photographs / "d.png").read_bytes())
    seen = {}
    sampler, evaluate = train_command.PatchSampler, train_command.evaluate

    def spying_sampler(pairs, *arguments, **options):
        seen["trained"] = [pair.hr.tobytes() for pair in pairs]
        return sampler(pairs, *arguments, **options)

    def spying_evaluate(model, pairs, *arguments, **options):
        seen["validated"] = [pair.hr.tobytes() for pair in pairs]
        return evaluate(model, pairs, *arguments, **options)

    monkeypatch.setattr(train_command, "PatchSampler", spying_sampler)
    monkeypatch.setattr(train_command, "evaluate", spying_evaluate)
    tiny("--holdout 4", "out", twin)
    assert len(seen["validated"]) == 1 and len(seen["trained"]) == 4  # of six files
    assert not set(seen["trained"]) & set(seen["validated"])


def test_shrunk_copies_are_trained_on_but_not_of_what_is_held_out(photographs):
    recipe = {"data": [str(photographs)], "holdout": 4, "shrink": [0.9, 0.5], "lr_patch_size": 16}
    training, held_out = recipes.photographs(recipe, 2)
    originals = [pair.name for pair in training if " x" not in pair.name]
    assert len(originals) == 4 and [Path(pair.name).stem for pair in held_out] == ["d"]
    # 40 x 36 shrunk by 0.5 has no place for 16 LR pixels at x2
    assert [pair.name for pair in training[4:]] == [f"{name} x0.9" for name in originals]
    assert training[4].hr.shape == (36, 32, 3)


def test_a_teacher_s_picture_is_mixed_into_what_is_learned(tiny, tmp_path, photographs, capsys):
    save_network(tmp_path / "t.safetensors", create_model("SrResNet", scale=2, channels=4),
                 name="SrResNet", scale=2, channels=4)  # fmt: skip
    recipe = {"data": [str(photographs)]}
    pairs, _ = recipes.photographs(recipe, 2)
    teacher = tmp_path / "t.safetensors"
    picture = upscale(load_pretrained(teacher), pairs[1].lr)
    for share, expected in ((0, pairs[1].hr), (1, picture)):
        (_, target, *_) = recipes.distill_targets(pairs, teacher, share, torch.device("cpu"))
        np.testing.assert_array_equal(target.hr, expected)
    half = recipes.distill_targets(pairs, teacher, 0.5, torch.device("cpu"))[1].hr.astype(float)
    assert np.abs(half - (picture.astype(float) + pairs[1].hr) / 2).max() <= 0.5
    capsys.readouterr()
    out = tiny(f"--teacher {teacher} --teacher-share 1")
    assert "teacher" not in capsys.readouterr().err  # TINY shows no progress
    assert json.loads((out / "run.json").read_text())["teacher"] == [str(teacher), 1]
    with pytest.raises(ValueError, match="another training .teacher: "):
        tiny()


def test_a_finished_one_called_again_does_nothing(tiny, capsys):
    out = tiny()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    tiny()
    assert "model.safetensors: finished before, on 20" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "model.safetensors").unlink()  # killed before it was written
    tiny()
    assert (out / "model.safetensors").read_bytes() == before[out / "model.safetensors"]


def interrupt_at(at, monkeypatch):
    """Press Ctrl-C in a step of the trainings that follow; later ones do not reach it again."""
    train = train_command.train

    def interrupted(*arguments, on_step, **options):
        def press(step, model):
            on_step(step, model)
            if step == at:
                signal.raise_signal(signal.SIGINT)

        return train(*arguments, on_step=press, **options)

    monkeypatch.setattr(train_command, "train", interrupted)


@pytest.mark.parametrize("more", ["", "--degrade noise=0-20 --lr-patch-size 2"])
def test_interrupted_and_called_again_it_ends_the_same(tiny, monkeypatch, more):
    whole = tiny(f"--checkpoint-every 2 {more}", "whole")
    interrupt_at(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        tiny(f"--checkpoint-every 2 {more}", "cut")
    out = whole.parent / "cut"
    assert not (out / "model.safetensors").exists()
    assert "finished" not in json.loads((out / "run.json").read_text())
    tiny(f"--checkpoint-every 2 {more}", "cut")
    name = "model.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_weights_that_cannot_be_written_are_written_by_the_next_call(tiny, tmp_path, monkeypatch):
    def full(weights, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(models, "save_file", full)
    with pytest.raises(OSError, match="model.safetensors cannot be written: .*No space left"):
        tiny()
    monkeypatch.undo()
    assert not list((tmp_path / "out").rglob(".*"))
    monkeypatch.setattr(train_command.PatchSampler, "sample", None)  # nothing is trained again
    out = tiny()
    load_pretrained(out / "model.safetensors")
    assert "finished" in json.loads((out / "run.json").read_text())


@pytest.mark.parametrize(
    "changed, message",
    [
        ("--seed 1", "seed: 0 there, 1 now"),
        ("--holdout 2", "images: 5 there, 3 now"),
        ("--channels 4", "network: .*'channels': 8.* there, .*'channels': 4.* now"),
        ("--learning-rate 0.01", "learning_rate: 0.001 there, 0.01 now"),
        ("--steps 7", "steps: 6 there, 7 now"),
        ("--degrade --lr-patch-size 2", "degrade: None there, .RandomDegradation.* now"),
    ],
)
def test_the_folder_of_another_training_is_refused(tiny, changed, message):
    out = tiny()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=f"holds another training.*{message}.*choose another"):
        tiny(changed)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def same_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "letter, message",
    [("a", "pictures: '[0-9a-f]{16}' there, '[0-9a-f]{16}' now"), ("d", "held_out_pictures: '")],
)
def test_other_pictures_of_the_same_names_and_sizes_are_refused(tmp_path, letter, message):
    images = np.random.default_rng(1).integers(0, 256, (5, 40, 36, 3), dtype=np.uint8)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name, image in zip("abcde", images, strict=True):
        write_image(photographs / f"{name}.png", image)
    arguments = (f"{TINY} --holdout 4 --data", photographs, "--out", tmp_path / "out")
    run(*arguments)
    before = same_files(tmp_path / "out")
    write_image(photographs / f"{letter}.png", images[0, ::-1])
    with pytest.raises(ValueError, match=rf"holds another training \({message}.*choose another"):
        run(*arguments)
    assert same_files(tmp_path / "out") == before


@pytest.mark.parametrize("option", ["start-from", "teacher"])
def test_another_network_in_a_file_of_the_same_name_is_refused(tiny, tmp_path, option):
    source = tmp_path / "source.safetensors"
    made_by = {"name": "SrResNet", "scale": 2, "channels": 8, "num_blocks": 1}
    torch.manual_seed(1)
    save_network(source, create_model(**made_by), **made_by)
    out = tiny("", "out", f"--{option}", source)
    before = same_files(out)
    tiny("", "out", f"--{option}", source)
    torch.manual_seed(2)
    save_network(source, create_model(**made_by), **made_by)
    name = option.replace("-", "_")
    with pytest.raises(ValueError, match=rf"holds another training \({name}_sha256: '[^;]*\);"):
        tiny("", "out", f"--{option}", source)
    assert same_files(out) == before


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_what_it_started_from_may_change_once_there_is_a_checkpoint(
    tiny, tmp_path, monkeypatch, change
):
    source = tmp_path / "source.safetensors"
    made_by = {"name": "SrResNet", "scale": 2, "channels": 8, "num_blocks": 1}
    options = ("--checkpoint-every 2", "out", "--start-from", source)
    save_network(source, create_model(**made_by), **made_by)
    interrupt_at(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        tiny(*options)
    monkeypatch.undo()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    if change == "gone":
        source.unlink()
    else:
        torch.manual_seed(2)
        save_network(source, create_model(**made_by), **made_by)
    with pytest.raises(ValueError, match=r"holds another training \(start_from: "):
        tiny("--checkpoint-every 2")
    finished = json.loads((tiny(*options) / "run.json").read_text())
    assert finished["start_from_sha256"] == record["start_from_sha256"] and "finished" in finished


def test_a_teacher_whose_pictures_differ_in_rounding_is_the_same(tiny, tmp_path, monkeypatch):
    """As on another machine, or on a GPU."""
    source = tmp_path / "source.safetensors"
    made_by = {"name": "SrResNet", "scale": 2, "channels": 4}
    save_network(source, create_model(**made_by), **made_by)
    tiny("--checkpoint-every 2", "out", "--teacher", source)
    monkeypatch.setattr(recipes, "upscale", lambda *more, **options: upscale(*more, **options) ^ 1)
    tiny("--checkpoint-every 2", "out", "--teacher", source)


def cut(tiny, monkeypatch, out="out", more=""):
    """Train until something ends it after the fourth of six steps."""
    train = train_command.train

    def cut_train(*arguments, on_step, **options):
        def stop(step, model):
            on_step(step, model)
            if step == 4:
                raise InterruptedError

        return train(*arguments, on_step=stop, **options)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(train_command, "train", cut_train)
        tiny(f"--checkpoint-every 2 {more}", out)


def test_a_record_of_an_older_version_is_completed(tiny, tmp_path, monkeypatch):
    cut(tiny, monkeypatch, more="--holdout 2")
    path = tmp_path / "out" / "run.json"
    whole = json.loads(path.read_text())
    new = {"held_out_pictures", "start_from_sha256", "teacher_sha256"}
    path.write_text(json.dumps({k: v for k, v in whole.items() if k not in new}))
    tiny("--checkpoint-every 2 --holdout 2")
    again = json.loads(path.read_text())
    assert new <= set(again) and all(again[name] == whole[name] for name in new)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"7", b"null", b"\xff\xfe\x00"])
def test_a_damaged_record_is_named_and_nothing_is_lost(tiny, tmp_path, monkeypatch, content):
    whole = tiny("--checkpoint-every 2", "whole") / "model.safetensors"
    cut(tiny, monkeypatch)
    path = tmp_path / "out" / "run.json"
    path.write_bytes(content)
    before = same_files(tmp_path / "out")
    with pytest.raises(ValueError, match=f"{path} is damaged: .*Restore it; without it"):
        tiny("--checkpoint-every 2")
    assert same_files(tmp_path / "out") == before
    path.unlink()
    out = tiny("--checkpoint-every 2")
    assert (out / "model.safetensors").read_bytes() == whole.read_bytes()
    assert "finished" in json.loads(path.read_text())


def test_a_folder_in_use_is_refused(tiny, tmp_path):
    log = RunLog(tmp_path / "out", {})
    log.read()
    with pytest.raises(ValueError, match="out is in use: another training is writing to it"):
        tiny()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    log.close()
    tiny()


def test_a_record_that_another_training_wrote_meanwhile_stays(tmp_path):
    """Two that start together: the second found no record yet, and the first is over."""
    record = {"network": {}, "start_from": None}
    first, second = (train_command._Run(tmp_path, {**record, "seed": seed}) for seed in (1, 2))
    first.start(1, None)
    with pytest.raises(ValueError, match="run.json was written meanwhile by another training"):
        second.start(1, None)
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 1


def test_a_training_that_diverges_ends_in_a_sentence(photographs, tmp_path, capsys):
    options = f"train {TINY} --output linear --learning-rate 1e30 --clip-norm none --holdout 2"
    options += " --optimizer sgd --validate-every 1 --out"
    code = main([*options.split(), str(tmp_path / "out"), "--data", str(photographs)])
    said = capsys.readouterr().err
    assert code == 1 and "error: the loss in step" in said and "a lower learning rate" in said
    assert "Traceback" not in said


def test_start_from_takes_what_fits(tiny, tmp_path, capsys):
    """Up to the first layer that has another shape; what is behind it stays as initialised."""
    source = tmp_path / "source.safetensors"
    made_by = {"name": "SrResNet", "scale": 2, "channels": 8, "num_blocks": 1, "hr_channels": 6}
    torch.manual_seed(77)
    other = create_model(**made_by)
    other.tail.conv.bias.data.fill_(0.5)  # would fit, but is behind
    save_network(source, other, **made_by)
    # A learning rate so small that nothing moves.
    out = tiny("--learning-rate 1e-30", "out", "--start-from", source)
    said = re.search(r"(\d+) of (\d+) tensors come from .*source", capsys.readouterr().out)
    torch.manual_seed(0)
    fresh = create_model(**{**made_by, "hr_channels": 4}).state_dict()
    taken, fits = 0, True
    for name, value in load_pretrained(out / "model.safetensors").state_dict().items():
        fits = fits and other.state_dict()[name].shape == value.shape
        taken += fits
        torch.testing.assert_close(value, other.state_dict()[name] if fits else fresh[name])
    assert (int(said[1]), int(said[2])) == (taken, len(fresh)) and 0 < taken < len(fresh)
    assert json.loads((out / "run.json").read_text())["start_from"] == str(source)


def test_start_from_names_what_does_not_fit(tiny, tmp_path):
    source = tmp_path / "alien.safetensors"
    save_network(source, create_model("SRCNN", 2), name="SRCNN", scale=2)
    with pytest.raises(ValueError, match="--start-from: no weight of .*alien.safetensors fits"):
        tiny("", "out", "--start-from", source)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more, message",
    [
        ("--steps 0", "steps must be a whole number of at least 1, got 0"),
        ("--steps 5 --seconds 5", "either steps or seconds, got steps=5, seconds=5.0"),
        ("--steps none", "either steps or seconds, got steps=None"),
        ("--learning-rate nan", "learning_rate must be > 0 and finite, got nan"),
        ("--schedule linear", "schedule must be one of cosine, step, .* got 'linear'"),
        ("--scale 5", "scale must be 2, 3 or 4, got 5"),
        ("--channels 0", "channels must be a whole number"),
        ("--lr-patch-size 30", "lr_patch_size must be at most 18, got 30"),
        ("--lr-patch-size 3 --degrade", "lr_patch_size must be at most 2 with a .*, got 3"),
        ("--degrade left_out=2", "left_out must be in 0..1, got 2.0"),
        ("--degrade noise=9-3", "noise must be two numbers in .*the lower one first, got 9.0 and"),
        ("--batch-size 0", "batch_size must be a whole number of at least 1, got 0"),
        ("--holdout 1", "--holdout must be from 2 to 5, .* got 1"),
        ("--holdout 6", "--holdout must be from 2 to 5, .* got 6"),
        ("--holdout -2", "--holdout must be from 2 to 5, .* got -2"),
        ("--validate-every 2", "--validate-every needs photographs.*--holdout"),
        ("--network Transformer", "name must be one of SrResNet, .* got 'Transformer'"),
        ("--network SRCNN --num-blocks 3", "SRCNN takes .*, got 'num_blocks'"),
        ("--shrink 0.9 1.5", "factors must be between 0 and 1, got 1.5"),
        ("--teacher srresnet_x4", "--teacher: srresnet_x4 enlarges by 4, not by 2"),
        ("--teacher srresnet_x2 --teacher-share 2", "--teacher-share must be in 0..1, got 2"),
        ("--teacher-share 5", "--teacher-share must be in 0..1, got 5"),
        ("--teacher-share 0.2", "--teacher-share needs --teacher"),
        ("--start-from nothing", "name must be one of .* or a file, got 'nothing'"),
        ("--feature-weight 2", "--feature-weight is for --loss adversarial, got --loss l1"),
        ("--loss adversarial --pixel-weight -1", "pixel_weight must be at least 0 .* got -1"),
        ("--data nowhere", "source must be a folder, 'bundled' or one of .* got 'nowhere'"),
        ("--data Set5", "--data: Set5 is a benchmark, to score with, not to train on"),
        ("--data Urban100/x4", "--data: Urban100/x4 is a benchmark"),
    ],
)
def test_bad_values_are_named_and_nothing_is_written(photographs, tmp_path, more, message):
    data = () if "--data" in more else ("--data", photographs)
    names = ("--steps 6 " if "--steps" not in more else "") + more
    with pytest.raises(ValueError, match=message):
        run(f"--profile ci --scale 2 --progress false {names}", *data, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["Set5", "Set14/x4/HR", "BSDS500/val"])
def test_a_benchmark_is_refused_as_a_folder_too(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    write_image(tmp_path / place / "a.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=f"{place} is a benchmark.* needs another name"):
        recipes.photographs({"data": [str(tmp_path / place)]}, 2)


@pytest.fixture
def step_of(monkeypatch):
    """Pretend how long a step takes; return what was asked."""

    def pretend(seconds):
        asked = []

        def forecast(model, sampler, config, *, loss):
            asked.append(config)
            return Forecast(4139, 20_901_888, seconds)

        monkeypatch.setattr(train_command, "forecast", forecast)
        return asked

    return pretend


def test_before_the_first_step_it_says_how_long_it_takes(tiny, capsys, step_of):
    asked = step_of(1200)
    out = tiny()  # --steps 6 is given: no limit
    said = capsys.readouterr().out
    assert "4,139 parameters; a step: 20.9 MFLOP, measured 1,200 s\n" in said
    assert "6 steps, about 2 hours; ends " in said
    assert asked[0] == TrainConfig.from_recipe(PROFILES["ci"], steps=6, progress=False)
    asked = step_of(1200)
    tiny()
    assert asked == [] and "finished before" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text())["suited"] == {}


@pytest.mark.parametrize(
    ("more", "seconds", "words"),
    [
        (
            "--limit-minutes 1",
            11,
            "6 steps, about 66 seconds, which is more than --limit-minutes 1",
        ),
        (
            "--profile cpu --lr-patch-size 4 --limit-minutes 0.5",
            1,
            "60 seconds, about 60 steps, which is more than",
        ),
        ("--profile gpu --batch-size 2 --lr-patch-size 4", 3600, "about 20,833 days, which is"),
    ],
)
def test_what_would_take_too_long_is_not_begun(
    photographs, tmp_path, capsys, step_of, more, seconds, words
):
    step_of(seconds)
    base = [] if "--profile" in more else TINY.split()
    command = ["train", *base, *more.split(), "--out", str(tmp_path / "out")]
    command += ["--data", str(photographs)]
    command += ["--holdout", "none", "--shrink"] if "gpu" in more else []
    assert main(command) == 1
    said = capsys.readouterr().err
    assert words in said and "Nothing was trained. Add --yes" in said
    assert not (tmp_path / "out").exists()


def test_yes_trains_all_the_same(tiny, capsys, step_of):
    step_of(1000)
    out = tiny("--limit-minutes 1 --yes")
    assert json.loads((out / "run.json").read_text())["steps"] == 6


def test_what_is_given_by_the_profile_is_cut_to_what_fits(
    photographs, tmp_path, capsys, step_of, monkeypatch
):
    """20 steps of 15 s: 9 fit into 140 s, and so they are 9 whenever it is called again."""
    step_of(15)
    monkeypatch.setattr(train_command, "_LIMIT_MINUTES", 140 / 60)
    text = "--profile ci --scale 2 --progress false --checkpoint-every 2"
    call = lambda *more: run(text, "--data", photographs, *more)  # noqa: E731
    call("--out", tmp_path / "out")
    said = capsys.readouterr().out
    assert "- 9 steps: all 20 would take 5 minutes, more than 2.33333 minutes" in said
    assert "9 steps, about 2.25 minutes; ends" in said
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["suited"] == {"steps": 9} and record["config"]["steps"] == record["steps"] == 9
    step_of(0.001)
    call("--out", tmp_path / "out")
    assert "finished before" in capsys.readouterr().out
    call("--out", tmp_path / "all", "--yes")
    assert json.loads((tmp_path / "all" / "run.json").read_text())["steps"] == 20
    step_of(100)  # not even a tenth of the steps fits
    with pytest.raises(ValueError, match="20 steps, about 33.3 minutes, which is more than"):
        call("--out", tmp_path / "none")


def test_a_resumed_training_reckons_what_is_left(tiny, capsys, step_of, monkeypatch):
    step_of(60)
    train = train_command.train

    def interrupted(*arguments, on_step, **options):
        def press(step, model):
            on_step(step, model)
            if step == 4:
                signal.raise_signal(signal.SIGINT)

        return train(*arguments, on_step=press, **options)

    monkeypatch.setattr(train_command, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny()
    monkeypatch.setattr(train_command, "train", train)
    capsys.readouterr()
    tiny("--limit-minutes 2")  # 6 minutes in all
    assert "step 4 is done; to go: 2 steps, about 2 minutes; ends" in capsys.readouterr().out


def test_a_batch_that_was_made_to_fit_stays_on_another_gpu(tiny, monkeypatch):
    def suit(recipe, model, device, *, fixed):
        seen.append(recipe["batch_size"])
        return recipe | ({} if "batch_size" in fixed else {"batch_size": 2}), []

    seen = []
    monkeypatch.setattr(train_command, "suit", suit)
    record = json.loads((tiny() / "run.json").read_text())
    assert record["suited"] == {"batch_size": 2} and record["batch_size"] == 2
    monkeypatch.undo()
    tiny()  # without a GPU nothing is chosen
    assert seen == [4]


def test_a_network_that_does_not_fit_into_the_memory_gets_a_sentence(tiny, monkeypatch):
    def create(**_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 3 TB")

    monkeypatch.setattr(train_command, "create_model", create)
    with pytest.raises(MemoryError, match="^the network needs more memory than there is"):
        tiny()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(tiny):
    with pytest.raises(ValueError, match="--device cuda: torch finds no GPU here"):
        tiny("--device cuda")


@pytest.mark.parametrize(
    "more, message",
    [
        ("--steps many", "--steps: must be a whole number, got 'many'"),
        ("--learning-rate none", "--learning-rate: must be a number, got 'none'"),
        ("--warmup x", "--warmup: must be a number, got 'x'"),
        ("--channels-last maybe", "--channels-last: must be true or false, got 'maybe'"),
        (
            "--degrade hue=1-2",
            "--degrade: must be blur, noise or quality with a range, .* got 'hue=1-2'",
        ),
        ("--loss huber", "argument --loss: invalid choice: 'huber'"),
        ("--device tpu", "argument --device: invalid choice: 'tpu'"),
    ],
)
def test_wrong_usage_ends_with_2(more, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run(f"--out x {more}")
    assert caught.value.code == 2 and re.search(message, capsys.readouterr().err)


def test_none_takes_away_what_the_profile_gives(tiny):
    out = tiny("--hr-channels none --clip-norm none --ema-decay NONE --holdout none")
    record = json.loads((out / "run.json").read_text())
    assert record["network"]["hr_channels"] is None and record["config"]["clip_norm"] is None
    tiny("--validate-every none", "other")


def test_other_networks_take_their_own_options(tiny):
    out = tiny("--network TwoStageSrResNet --channels 4")
    record = json.loads((out / "run.json").read_text())
    assert record["network"] == {"name": "TwoStageSrResNet", "scale": 2, "channels": 4}
    load_pretrained(out / "model.safetensors")


def test_bundled_photographs_are_found():
    training, held_out = recipes.photographs({"data": ["bundled/train"], "holdout": 2}, 4)
    assert len(training) + len(held_out) == len(sample_names("train")) and held_out


SCRIPT = """
import argparse, sys
from srlib._train_command import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers())
options = parser.parse_args()
try:
    options.run(options)
except KeyboardInterrupt:
    sys.exit(130)
"""


def launch(tmp_path, photographs, steps, *options):
    """Start two processes with 4 patches each."""
    script = tmp_path / "command.py"
    script.write_text(SCRIPT)
    arguments = f"--profile ci --scale 2 --steps {steps} --progress false --checkpoint-every 5"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(
        [
            sys.executable,
            *"-m torch.distributed.run --standalone --nproc-per-node 2".split(),
            str(script),
            "train",
            *arguments.split(),
            *options,
            "--batch-size",
            "4",
            "--data",
            str(photographs),
            "--out",
            str(tmp_path / "out"),
        ],
        env=environment,
        cwd=Path(train_command.__file__).parents[1],
        start_new_session=True,
        # What runs in the background of a shell ignores Ctrl-C, and its children do too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_make_one_network(tmp_path, photographs):
    """In channels-last, where torch could not send each buffer from one process to another."""
    process = launch(tmp_path, photographs, 6, "--channels-last", "true")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["processes"] == 2 and record["steps"] == 6
    assert record["command"].startswith("torchrun --nproc-per-node 2 -m srlib train --profile ci")
    one = "--profile ci --scale 2 --steps 6 --progress false --channels-last true --batch-size 8"
    run(one, "--data", photographs, "--out", tmp_path / "one")
    two, one = (load_pretrained(tmp_path / out / "model.safetensors") for out in ("out", "one"))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_ctrl_c_ends_a_launch_of_two_and_one_goes_on(tmp_path, photographs):
    """A terminal interrupts all processes, and the launcher passes it on: it comes twice."""
    process = launch(tmp_path, photographs, steps=100_000)
    checkpoints = tmp_path / "out" / "checkpoints"
    try:
        for _ in range(3000):
            if checkpoints.is_dir() and any(checkpoints.glob("*.safetensors")):
                break
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=600)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    stopped = int(re.search(r"stopped after step (\d+)", said)[1])
    assert said.count("stopped after step") == 1 and process.returncode != 0
    there = load_checkpoint(checkpoints)
    assert there.step == stopped
    assert json.loads((tmp_path / "out" / "run.json").read_text())["processes"] == 2
    # One process with as many patches in all goes on; other lengths are another training.
    with pytest.raises(ValueError, match="steps: 100000 there, 6 now"):
        run(f"{TINY} --batch-size 8", "--data", photographs, "--out", tmp_path / "out")
