import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from srlib.training.config import LOSSES, TrainConfig, charbonnier, schedule

# Written down anew: where a training stands, and the part of the highest rate that goes with it.
BY_HAND = {
    ("cosine", 0.2): [(0.1, 0.5), (0.2, 1.0), (0.6, 0.5), (1.0, 0.0), (0.4, (2 + 2**0.5) / 4)],
    ("cosine", 0.0): [(0.0, 1.0), (0.5, 0.5), (0.25, (2 + 2**0.5) / 4), (1.0, 0.0)],
    ("step", 0.1): [
        (0.05, 0.5),
        (0.1, 1.0),
        (0.499, 1.0),
        (0.5, 0.5),
        (0.79, 0.5),
        (0.8, 0.25),
        (0.9, 0.125),
        (0.95, 0.0625),
    ],
    ("constant", 0.5): [(0.25, 0.5), (0.5, 1.0), (1.0, 1.0)],
    ("one_cycle", 0.9): [(0.0, 0.04), (0.15, 0.52), (0.3, 1.0), (0.65, 0.5), (1.0, 0.0)],
}


@pytest.mark.parametrize("kind, warmup", BY_HAND)
def test_schedules_by_hand(kind, warmup):
    for done, part in BY_HAND[kind, warmup]:
        assert schedule(kind, done, warmup) == pytest.approx(part, abs=1e-12)


def expected(kind, done, warmup):
    """Return the same by interpolation in tables, sums and powers instead."""
    if kind == "one_cycle":
        angle = np.interp(done, [0, 0.3, 1], [-math.pi, 0, math.pi])
        low = 0.04 if done < 0.3 else 0.0
        return low + (1 - low) * math.cos(angle / 2) ** 2
    if done < warmup:
        return done / warmup
    if kind == "cosine":
        return math.cos(math.pi / 2 * (done - warmup) / (1 - warmup)) ** 2
    places = [0.5, 0.8, 0.9, 0.95]
    return 2.0 ** -np.searchsorted(places, done, side="right") if kind == "step" else 1.0


parts = st.floats(0, 1)


@given(st.sampled_from(["cosine", "step", "one_cycle", "constant"]), parts, st.floats(0, 0.99))
@example("cosine", 0.0, 1e-4)  # the least that is not zero is not more than all
def test_schedules_equal_other_formulas(kind, done, warmup):
    value = schedule(kind, done, warmup)
    assert 0 <= value <= 1 or value == pytest.approx(1)
    if warmup == 0 or done >= 1e-3 or kind == "one_cycle":
        assert value == pytest.approx(expected(kind, done, warmup), abs=1e-12)
    else:  # never zero in the first step
        assert value == min(1, 1e-3 / warmup) if done < warmup else value > 0


@pytest.mark.parametrize("max_lr, steps", [(0.1, 60)])
def test_one_cycle_is_that_of_torch(max_lr, steps):
    """torch counts the steps so that the last one has the lowest rate."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=max_lr)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr, total_steps=steps + 1, pct_start=0.3, final_div_factor=1e9
    )
    for step in range(steps):
        # Its rise ends a step early: at pct_start * total_steps - 1.
        if step >= 0.3 * steps:
            start = 0.3 * (steps + 1) - 1
            done = 0.3 + 0.7 * (step - start) / (steps - start)
            rate = max_lr * schedule("one_cycle", done, 0)
            assert theirs.get_last_lr()[0] == pytest.approx(rate, abs=1e-9)
        optimizer.step()
        theirs.step()
    assert schedule("one_cycle", 0, 0) == pytest.approx(1 / 25)


def test_losses():
    sr, hr = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.1, 0.7, 0.3])
    values = {name: loss(sr, hr).item() for name, loss in LOSSES.items()}
    assert values["l1"] == pytest.approx(0.8 / 3)
    assert values["mse"] == pytest.approx((0.04 + 0.36) / 3)
    by_hand = (1e-3 + math.sqrt(0.04 + 1e-6) + math.sqrt(0.36 + 1e-6)) / 3
    assert values["charbonnier"] == pytest.approx(by_hand)
    same = torch.full((4,), 0.3, requires_grad=True)
    charbonnier(same, same.detach()).backward()
    assert (same.grad == 0).all()  # smooth, where L1 has a corner and a root would have NaN


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "either steps or seconds, got steps=None, seconds=None"),
        ({"steps": 3, "seconds": 4}, "either steps or seconds, got steps=3, seconds=4"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5"),
        ({"steps": "10"}, "steps must be a whole number of at least 1, got '10'"),
        ({"seconds": -1.0}, "seconds must be > 0 and finite, got -1.0"),
        ({"seconds": math.nan}, "seconds must be > 0 and finite, got nan"),
        ({"seconds": math.inf}, "seconds must be > 0 and finite, got inf"),
        ({"seconds": "60"}, "seconds must be > 0 and finite, got '60'"),
        ({"steps": 3, "learning_rate": 0.0}, "learning_rate must be > 0 and finite, got 0.0"),
        ({"steps": 3, "learning_rate": None}, "learning_rate must be > 0 and finite, got None"),
        ({"steps": 3, "learning_rate": math.inf}, "learning_rate must be > 0 and finite, got inf"),
        ({"steps": 3, "clip_norm": -1}, "clip_norm must be > 0 and finite, got -1"),
        ({"steps": 3, "warmup": 1.0}, "warmup must be in 0..1, without 1, got 1.0"),
        ({"steps": 3, "warmup": -0.1}, "warmup must be in 0..1, without 1, got -0.1"),
        ({"steps": 3, "warmup": None}, "warmup must be in 0..1, without 1, got None"),
        ({"steps": 3, "warmup": math.nan}, "warmup must be in 0..1, without 1, got nan"),
        ({"steps": 3, "ema_decay": 1}, "ema_decay must be between 0 and 1, got 1"),
        ({"steps": 3, "ema_decay": 0.0}, "ema_decay must be between 0 and 1, got 0.0"),
        ({"steps": 3, "log_every": 0}, "log_every must be a whole number of at least 1, got 0"),
        ({"steps": 3, "log_every": None}, "log_every must be a whole .* got None"),
        ({"steps": 3, "validate_every": -1}, "validate_every must be a whole .* got -1"),
        ({"steps": 3, "checkpoint_every": 1.5}, "checkpoint_every must be a whole .* got 1.5"),
        ({"steps": 3, "optimizer": "rmsprop"}, "optimizer must be one of adam, .*, got 'rmsprop'"),
        ({"steps": 3, "schedule": None}, "schedule must be one of cosine, .*got None"),
        ({"steps": 3, "mixed_precision": True}, "mixed_precision must be one of no, .*got True"),
        ({"steps": 3, "compile": "yes"}, "compile must be one of no, default, .*, got 'yes'"),
        ({"steps": 3, "progress": 1}, "progress must be True or False, got 1"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_a_recipe_gives_what_a_config_has_and_what_is_changed_comes_first():
    recipe = {"data": ["photos"], "channels": 8, "steps": 20, "learning_rate": 3e-3}
    assert TrainConfig.from_recipe(recipe) == TrainConfig(steps=20, learning_rate=3e-3)
    changed = TrainConfig.from_recipe(recipe, steps=None, seconds=2.0, clip_norm=None)
    assert changed == TrainConfig(seconds=2.0, learning_rate=3e-3, clip_norm=None)
    with pytest.raises(ValueError, match="learning_rate must be > 0 and finite, got 0"):
        TrainConfig.from_recipe(recipe, learning_rate=0)


def test_numbers_of_numpy_become_plain_ones():
    config = TrainConfig(steps=np.int64(3), learning_rate=np.float32(0.5), clip_norm=None)
    assert type(config.steps) is int and type(config.learning_rate) is float
    assert config == TrainConfig(steps=3, learning_rate=0.5, clip_norm=None)


def test_a_config_stays_as_it_is_and_its_fields_are_described():
    config = TrainConfig(seconds=60)
    with pytest.raises(FrozenInstanceError):
        config.seconds = 3
    for field in fields(config):
        assert f"\n{field.name} : " in TrainConfig.__doc__
        assert len(field.metadata["help"]) > 10 and field.metadata["help"] in TrainConfig.__doc__
