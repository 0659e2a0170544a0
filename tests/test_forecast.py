"""What is said about a training before its first step, and how a recipe suits a GPU."""

import os
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.models import SrResNet
from srlib.training import TrainConfig, forecast
from srlib.training.forecast import bytes_per_patch, suit
from srlib.training.recipes import PROFILES, network_options

GPU = torch.device("cuda")


@pytest.fixture
def training():
    torch.manual_seed(0)
    pairs = make_pairs({"astronaut": sample_image("astronaut")[:128, :128]}, 4)
    sampler = PatchSampler(pairs, 4, lr_patch_size=12, batch_size=4, seed=0)
    return SrResNet(4, channels=8, num_blocks=1, hr_channels=4), sampler


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_forecast_counts_and_measures_and_changes_nothing(training, optimizer):
    model, sampler = training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    place, random = sampler.state_dict(), torch.random.get_rng_state()
    # This rate would end in NaN at once.
    config = TrainConfig(seconds=60.0, optimizer=optimizer, learning_rate=1e6, ema_decay=0.9)
    found = forecast.forecast(model, sampler, config)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert str(sampler.state_dict()) == str(place)
    assert torch.random.get_rng_state().equal(random)
    with FlopCounterMode(display=False) as counter:
        lr, hr = sampler.sample()
        F.l1_loss(model(lr), hr).backward()
    assert found.operations == counter.get_total_flops()
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    assert 1e-4 < found.seconds < 5


def test_a_slow_step_is_tried_three_times_only(training, monkeypatch):
    model, sampler = training
    clock, calls, sample = [0.0], [], sampler.sample

    def slow(*processes):
        calls.append(1)
        clock[0] += 7
        return sample(*processes)

    monkeypatch.setattr(sampler, "sample", slow)
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: clock[0])
    assert forecast.forecast(model, sampler, TrainConfig(steps=10**6)).seconds == 7
    assert len(calls) == 3


def test_ctrl_c_ends_a_forecast(training, monkeypatch):
    def stopped(*arguments, **options):
        return SimpleNamespace(attrs={"complete": False})

    monkeypatch.setattr(forecast, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        forecast.forecast(*training, TrainConfig(steps=10))


def test_half_precision_takes_half_of_the_memory():
    model = SrResNet(4, channels=16, num_blocks=2)
    whole, half = (bytes_per_patch(model, 16, t) for t in (torch.float32, torch.bfloat16))
    assert 0.4 < half / whole < 0.7
    # Each block keeps its input and what is behind its ReLU, 16 channels of 16 x 16 each.
    deeper = bytes_per_patch(SrResNet(4, channels=16, num_blocks=6), 16, torch.float32)
    assert 4 * 2 * 16 * 16 * 16 * 4 <= deeper - whole <= 4 * 4 * 16 * 16 * 16 * 4


@pytest.fixture
def pretend(monkeypatch):
    def make(capability, gibibytes, *, compiler=True, triton=True, windows=False):
        properties = SimpleNamespace(total_memory=gibibytes * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(shutil, "which", lambda name: name if compiler else None)
        found = forecast.importlib.util.find_spec
        there = lambda name: (triton or None) if name == "triton" else found(name)  # noqa: E731
        monkeypatch.setattr(forecast.importlib.util, "find_spec", there)
        if windows:
            monkeypatch.setattr(forecast, "os", SimpleNamespace(name="nt", environ=os.environ))
        recipe = PROFILES["gpu"]
        model = SrResNet(4, **network_options(recipe))
        return lambda **options: suit(recipe, model, GPU, **options)

    return make


@pytest.mark.parametrize(
    ("capability", "gibibytes", "precision"),
    [((7, 5), 15, "float16"), ((8, 0), 40, "bfloat16"), ((8, 6), 4, "bfloat16"),
     ((8, 9), 8, "bfloat16"), ((9, 0), 80, "bfloat16"), ((9, 0), 139, "bfloat16")],
)  # fmt: skip
def test_the_recorded_recipe_fits_from_4_gib_on(pretend, capability, gibibytes, precision):
    recipe, reasons = pretend(capability, gibibytes)()
    assert recipe == PROFILES["gpu"]
    text = "\n".join(reasons)
    assert f"convolutions in {precision}: the GPU's capability is {capability[0]}." in text
    assert f"batches of 32 patches: about 2.1 of {gibibytes}.0 GiB" in text
    assert "compiled (default)" in text


def test_a_small_memory_makes_the_batch_smaller(pretend):
    sizes = {size: pretend((7, 5), size)()[0]["batch_size"] for size in (1, 2, 2.3, 4)}
    assert sizes[1] == 1 and sizes[4] == 32
    assert list(sizes.values()) == sorted(sizes.values())
    assert 1 < sizes[2] < sizes[2.3] < 32
    assert pretend((7, 5), 2)(fixed=["batch_size"])[0]["batch_size"] == 32  # who asks for it


@pytest.mark.parametrize(
    ("lacks", "reason"),
    [({"compiler": False}, "no C compiler"), ({"triton": False}, "Triton is not installed"),
     ({"windows": True}, "no Triton for Windows"), ({"capability": (6, 1)}, "7.0 or more")],
)  # fmt: skip
def test_where_nothing_can_compile_it_is_not_tried(pretend, lacks, reason):
    capability = lacks.pop("capability", (7, 5))
    recipe, reasons = pretend(capability, 15, **lacks)()
    assert recipe == PROFILES["gpu"] | {"compile": "no"}
    assert any(text.startswith("uncompiled: ") and reason in text for text in reasons)
    recipe, reasons = pretend(capability, 15, **lacks)(fixed={"compile"})
    assert recipe["compile"] == "default" and not any("compiled" in text for text in reasons)


def test_on_a_processor_only_the_precision_is_told():
    model = SrResNet(4, channels=8, num_blocks=1)
    recipe, reasons = suit(PROFILES["cpu"], model, torch.device("cpu"))
    assert recipe == PROFILES["cpu"] and len(reasons) == 1 and "the processor has" in reasons[0]
