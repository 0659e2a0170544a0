"""The network of a training that has not ended: tools/weights_so_far.py."""

import json
import runpy
import sys

import pytest
import torch
import weights_so_far

from srlib.__main__ import main
from srlib.models import load_pretrained
from srlib.training import train
from srlib.training.checkpoint import load_checkpoint


class KilledError(Exception):
    """Whatever ends a process."""


@pytest.mark.parametrize("decay", ["none", "0.5"])
def test_the_weights_are_those_of_the_last_checkpoint(tmp_path, monkeypatch, decay):
    options = ["train", "--profile", "ci", "--hr-channels", "0", "--schedule", "constant"]
    options += ["--warmup", "0", "--ema-decay", decay, "--progress", "false"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert main([*options, "--steps", "4", "--out", str(whole)]) == 0

    def train_until_killed(*arguments, on_step, **more):
        def step_or_die(step, model):
            on_step(step, model)
            if step == 6:
                raise KilledError

        return train(*arguments, on_step=step_or_die, **more)

    monkeypatch.setattr("srlib._train_command.train", train_until_killed)
    with pytest.raises(KilledError):
        main([*options, "--steps", "9", "--checkpoint-every", "4", "--out", str(part)])
    assert not (part / "model.safetensors").exists()
    weights_so_far.main(part)
    expected = load_pretrained(whole / "model.safetensors").state_dict()
    for name, value in load_pretrained(part / "model.safetensors").state_dict().items():
        assert torch.equal(value, expected[name]), name
    run = json.loads((part / "run.json").read_text())
    seconds = load_checkpoint(part / "checkpoints").state["seconds"]
    assert run["steps"] == 4 and run["train_seconds"] == round(seconds, 1)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(SystemExit, match="holds no checkpoint"):
        weights_so_far.main(tmp_path)


def test_a_damaged_record_is_named(tmp_path, monkeypatch):
    options = ["train", "--profile", "ci", "--steps", "2", "--progress", "false"]
    assert main([*options, "--out", str(tmp_path)]) == 0
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "run.json").write_text("[]")
    monkeypatch.setattr(sys, "argv", ["weights_so_far.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="error: .*run.json is damaged"):
        runpy.run_path(weights_so_far.__file__, run_name="__main__")
    assert (tmp_path / "model.safetensors").read_bytes() == weights
