"""The pilots that chose the design of the shipped networks: tools/pilots.py and its record."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pilots
import pytest
import torch

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.resample import imresize

RECORD = pd.read_csv(pilots.RECORD)


@pytest.mark.parametrize("name", pilots.CANDIDATES)
def test_a_candidate_learns_from_the_first_step_on(name):
    torch.manual_seed(0)
    model = pilots.make(**pilots.CANDIDATES[name])
    lr = torch.rand(1, 3, 6, 7)
    before = model(lr)
    np.testing.assert_allclose(before.detach(), imresize(lr, 4).clamp(0, 1), atol=0.4 / 255)
    loss = (before - 0.5).square().mean()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
        assert (model(lr) - 0.5).square().mean() < loss


def test_a_folded_network_is_the_same_network():
    torch.manual_seed(0)
    model = pilots.make(**pilots.CANDIDATES["folded"]).double()
    torch.nn.init.normal_(model.upsample[0].deconv.weight)  # zero before training
    lr = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    before = model(lr)
    assert {name for name in model.state_dict() if "parametrizations" in name}
    torch.testing.assert_close(pilots.fold(model)(lr), before, rtol=0, atol=1e-12)
    plain = pilots.make(**pilots.CANDIDATES["relu"]).state_dict()
    assert {n: w.shape for n, w in model.state_dict().items()} == {
        n: w.shape for n, w in plain.items()
    }


def test_patches_grow_and_stay_inside_the_photographs():
    pairs = make_pairs({"a": sample_image("coffee")[:160, :152]}, 4)  # LR 40 x 38
    sampler = pilots.Growing(pairs, 4, lr_patch_size=24, batch_size=8)
    sampler.sizes, sampler.steps = ((16, 18), (24, 8), (38, 2)), 7
    shapes = [tuple(sampler.sample()[0].shape) for _ in range(7)]
    assert shapes == 3 * [(18, 3, 16, 16)] + 2 * [(8, 3, 24, 24)] + 2 * [(2, 3, 38, 38)]
    plain = pilots.Growing(pairs, 4, lr_patch_size=24, batch_size=8)
    both = PatchSampler(pairs, 4, lr_patch_size=24, batch_size=8)
    torch.testing.assert_close(plain.sample()[1], both.sample()[1], rtol=0, atol=0)


def test_crops_are_the_same_place_in_both_images():
    (pair,) = make_pairs({"a": sample_image("astronaut")[:, :400]}, 4)
    (crop,) = pilots.crops([pair])
    assert crop.hr.shape == (320, 320, 3) and crop.lr.shape == (80, 80, 3)
    np.testing.assert_array_equal(crop.hr, pair.hr[96:416, 40:360])
    np.testing.assert_array_equal(crop.lr, pair.lr[24:104, 10:90])


def test_the_record_is_of_these_candidates_and_measures_them_beside_the_shipped_one():
    assert set(RECORD["candidate"]) <= set(pilots.CANDIDATES)
    for row in RECORD.itertuples():
        assert json.loads(row.options) == pilots.CANDIDATES[row.candidate]
        model = pilots.fold(pilots.make(**pilots.CANDIDATES[row.candidate]))
        assert sum(p.numel() for p in model.parameters()) == row.parameters
    assert RECORD.loc[RECORD["candidate"] == "old", "ratio"].between(0.9, 1.1).all()
    assert not RECORD.duplicated(["candidate", "seed", "seconds"]).any()


def test_times_measured_again_are_written_into_the_rows_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(pilots, "RECORD", tmp_path / "pilots.csv")
    monkeypatch.setattr(pilots, "milliseconds", lambda *models: [50.0, 20.0][: len(models)])
    row = {"candidate": "relu", "ms": "1", "ratio": "1", "machine": pilots.processor()}
    elsewhere, other = row | {"machine": "another"}, row | {"candidate": "silu"}
    pilots.record([row, elsewhere, other])
    pilots.measure_times_again(["relu"])
    assert pilots.recorded() == [row | {"ms": "20.0", "ratio": "0.4"}, elsewhere, other]


def test_two_at_a_time_lose_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(pilots, "RECORD", tmp_path / "pilots.csv")

    def slowly():
        rows = recorded()
        time.sleep(0.05)  # enough for the other one, if nothing kept it out
        return rows

    def add(number):
        with pilots.rows_to_change() as rows:
            rows.append({"row": str(number)})

    recorded = pilots.recorded
    monkeypatch.setattr(pilots, "recorded", slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert sorted(row["row"] for row in recorded()) == list("0123")


def test_each_gets_as_long_as_so_many_steps_of_relu_take(tmp_path, monkeypatch):
    monkeypatch.setattr(pilots, "RECORD", tmp_path / "pilots.csv")
    pairs = make_pairs({"a": sample_image("coffee")[:320, :320]}, 4)
    monkeypatch.setattr(pilots, "photographs", lambda *_: (pairs, pairs))
    costs = {"relu": 0.05, "gate": 0.08, "silu": 0.04}
    monkeypatch.setattr(pilots, "step_seconds", lambda names, _: {n: costs[n] for n in names})
    monkeypatch.setattr(pilots, "pilot", lambda *given: {"row": "{} {} {} {}".format(*given)})
    monkeypatch.setattr("sys.argv", "pilots.py gate silu --seeds 0 1 --relu-steps 800".split())
    pilots.main()
    monkeypatch.setattr("sys.argv", "pilots.py gate --seconds 30".split())
    pilots.main()
    rows = ["gate 0 40.0 0.08", "silu 0 40.0 0.04", "gate 1 40.0 0.08", "silu 1 40.0 0.04"]
    assert [row["row"] for row in pilots.recorded()] == [*rows, "gate 0 30.0 0.08"]
