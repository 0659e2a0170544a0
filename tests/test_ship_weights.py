"""A finished training becomes a shipped network: tools/ship_weights.py."""

import json
import sys
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import ship_weights as ship
import torch
from PIL import Image

from srlib.__main__ import main
from srlib._files import file_sha256
from srlib.assets import sample_image
from srlib.data import load_images
from srlib.degradation import degrade
from srlib.evaluation import upscale
from srlib.metrics import score
from srlib.models import load_pretrained
from srlib.perception import niqe, sliced_wasserstein
from srlib.resample import imresize


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Where networks are shipped to; the benchmarks are a crop each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ship, "WEIGHTS", tmp_path / "weights")
    crop = sample_image("astronaut")[:96, :96]
    (tmp_path / "pictures").mkdir()
    for number in (1, 2):
        Image.fromarray(np.roll(crop, 9 * number, 1)).save(tmp_path / f"pictures/{number}.png")

    def load(name, scale=None):
        return load_images(name) if name == "pictures" else {name: crop}

    monkeypatch.setattr(ship, "load_images", load)
    return tmp_path / "weights"


def train(out, *more):
    options = ["--profile", "ci", "--out", out, "--steps", "4", "--progress", "false", *more]
    with mock.patch.object(sys, "argv", ["srlib", "train", *options]):  # what a card will say
        assert main() == 0


def test_a_network_is_shipped_with_all_that_made_it(shipped, tmp_path):
    train("first", "--scale", "2")
    ship.main(tmp_path / "first", "mine")
    before = json.loads((shipped / "mine/record.json").read_text())
    train("second", "--scale", "2", "--start-from", "weights/mine/model.safetensors", "--seed", "3")
    ship.main(tmp_path / "second", "mine")
    record = json.loads((shipped / "mine/record.json").read_text())
    assert record["start"] == before and record["seed"] == 3
    log = pd.read_csv(shipped / "mine/log.csv", index_col="step")
    parts = [pd.read_csv(tmp_path / name / "log.csv") for name in ("first", "second")]
    assert list(log.index) == list(range(1, 9))
    assert list(log["loss"]) == [loss for part in parts for loss in part["loss"]]
    assert log["seconds"].is_monotonic_increasing
    card = (shipped / "mine/README.md").read_text()
    assert card.index("--out first") < card.index("--out second") < card.index("--seed 3")
    assert "of the trainings at x2 one after the other" in card
    trained = load_pretrained(tmp_path / "second/model.safetensors").state_dict()
    for name, value in load_pretrained(shipped / "mine/model.safetensors").state_dict().items():
        assert torch.equal(value, trained[name].half().float())


def test_the_log_of_another_network_is_not_taken(shipped, tmp_path):
    train("first", "--scale", "2")
    train("third", "--scale", "3", "--start-from", "first/model.safetensors")
    ship.main(tmp_path / "third", "x3")
    assert len(pd.read_csv(shipped / "x3/log.csv")) == 4
    card = (shipped / "x3/README.md").read_text()
    assert "one after the other" not in card and "--out first" in card


def test_the_log_of_the_same_blocks_behind_another_end_is_kept(shipped, tmp_path):
    train("first")
    train("second", "--start-from", "first/model.safetensors", "--hr-channels", "8")
    ship.main(tmp_path / "second", "mine")
    assert list(pd.read_csv(shipped / "mine/log.csv")["step"]) == list(range(1, 9))
    assert "one after the other" in (shipped / "mine/README.md").read_text()


def test_steps_behind_the_last_row_of_a_log_count(shipped, tmp_path):
    train("first", "--log-every", "3")
    train("second", "--start-from", "first/model.safetensors")
    log = pd.read_csv(tmp_path / "second/start/log.csv")
    log[log["step"] <= 3].to_csv(tmp_path / "second/start/log.csv", index=False)
    ship.main(tmp_path / "second", "mine")
    assert list(pd.read_csv(shipped / "mine/log.csv")["step"]) == [3, 5, 6, 7, 8]


def test_a_training_that_goes_on_is_not_shipped(shipped, tmp_path):
    train("first")
    record = json.loads((tmp_path / "first/run.json").read_text())
    del record["finished"]
    (tmp_path / "first/run.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit, match="first has not ended"):
        ship.main(tmp_path / "first", "mine")
    assert not shipped.exists()


def test_what_a_training_started_from_gets_its_name_when_it_was_shipped_since(shipped, tmp_path):
    """Or a strength would have nothing to blend with: the shipped file is rounded, another one."""
    train("first")
    train("second", "--start-from", "first/model.safetensors", "--seed", "3")
    ship.main(tmp_path / "first", "one")
    ship.main(tmp_path / "second", "two")
    start, record = (json.loads((shipped / n / "record.json").read_text()) for n in ("one", "two"))
    assert record["start_from"] == "one"
    assert record["start_from_sha256"] == file_sha256(shipped / "one/model.safetensors")
    assert record["start"]["set5_db"] == start["set5_db"]


def test_a_chain_that_was_never_shipped_is_whole(shipped, tmp_path):
    """And stays so when what it started from is replaced, or the training is called once more."""
    train("first")
    for source, out, seed in [("first", "second", "1"), ("second", "third", "2")]:
        train(out, "--start-from", f"{source}/model.safetensors", "--seed", seed)
    for name in ("run.json", "log.csv"):
        (tmp_path / "second" / name).write_text("replaced")
    train("third", "--start-from", "second/model.safetensors", "--seed", "2", "--log-every", "2")
    ship.main(tmp_path / "third", "mine")
    record = json.loads((shipped / "mine/record.json").read_text())
    assert [record["seed"], record["start"]["seed"], record["start"]["start"]["seed"]] == [2, 1, 0]
    assert "start" not in record["start"]["start"]
    assert list(pd.read_csv(shipped / "mine/log.csv")["step"]) == list(range(1, 13))


def test_a_chain_with_a_gap_is_refused_and_nothing_written(shipped, tmp_path):
    train("first")
    (tmp_path / "first/run.json").unlink()
    (tmp_path / "first/log.csv").unlink()
    train("second", "--start-from", "first/model.safetensors")
    with pytest.raises(SystemExit, match="second does not say what made first/model.safetensors"):
        ship.main(tmp_path / "second", "mine")
    assert not shipped.exists()


def test_a_card_of_an_adversarial_training_says_what_it_won_and_what_it_invents(shipped, tmp_path):
    train("first", "--data", "pictures", "--holdout", "2")
    more = ["--data", "pictures", "--holdout", "2", "--loss", "adversarial"]
    train("second", "--start-from", "first/model.safetensors", *more, "--pixel-weight", "2")
    ship.main(tmp_path / "second", "pleasing")
    record = json.loads((shipped / "pleasing/record.json").read_text())
    weights = {"pixel_weight": 2.0, "coarse_weight": 10.0}
    weights |= {"feature_weight": 1.0, "adversarial_weight": 0.1}
    assert record["loss_weights"] == weights
    assert "held_out" not in record and len(record["naturalness"]) == 9
    card = (shipped / "pleasing/README.md").read_text()
    before, this, plain = (
        record["naturalness"][f"Set5, {way}"]
        for way in ("the one before", "this network", "bicubic")
    )
    assert before != this != plain
    assert this["psnr_db"] == pytest.approx(record["set5_db"], abs=1e-3)
    crop = sample_image("astronaut")[:96, :96]
    bicubic = imresize(imresize(crop, 0.25), 4)
    assert plain["patch_distance"] == pytest.approx(sliced_wasserstein(bicubic, crop).mean())
    assert plain["niqe"] == pytest.approx(niqe(bicubic))
    assert "invents detail" in card and "is not invented" not in card
    assert f"| Set5 | bicubic | {plain['psnr_db']:.2f} |" in card


def test_a_card_of_a_training_on_damaged_images_says_what_it_cures_and_costs(shipped, tmp_path):
    train("first", "--data", "pictures", "--holdout", "2")
    more = ["--data", "pictures", "--holdout", "2", "--degrade", "noise=5-9", "blur=0-0"]
    more += ["--lr-patch-size", "8"]
    train("second", "--start-from", "first/model.safetensors", *more)
    ship.main(tmp_path / "second", "blind")
    record = json.loads((shipped / "blind/record.json").read_text())
    crop = sample_image("astronaut")[:96, :96]
    lr = degrade(crop, 4, noise=15, seed=0)
    found = record["damaged"]
    label = "Set5, noise of 15 grey levels"
    by_hand = {
        "this network": upscale(load_pretrained(shipped / "blind/model.safetensors"), lr),
        "the one before": upscale(load_pretrained(tmp_path / "first/model.safetensors"), lr),
        "bicubic": imresize(lr, 4),
    }
    card = (shipped / "blind/README.md").read_text()
    for way, image in by_hand.items():
        decibels, ssim = score(image, crop, 4)
        assert found[f"{label}, {way}"]["psnr_db"] == pytest.approx(decibels, abs=1e-3)
        assert f"{decibels:.2f} / {ssim:.4f}" in card
    assert "noise=(5" in card and "nothing else" not in card and "is not invented" in card
