"""What the course does on a GPU: training in every way of hurrying, stopping, enlarging."""

import shutil

import numpy as np
import pytest
import torch

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.evaluation import upscale
from srlib.measuring import measure
from srlib.models import SrResNet, load_pretrained
from srlib.training import TrainConfig, train

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # The compiler's say nothing about this code, except that it was left as it is.
    pytest.mark.filterwarnings(
        "ignore", "error:training goes on uncompiled", "error:.*not support bfloat16 compilation"
    ),
]
COMPILED = [mode for mode in ("default", "reduce-overhead") if shutil.which("g++")]


@pytest.fixture(scope="module")
def pairs():
    return make_pairs({"astronaut": sample_image("astronaut")[:256, :256]}, 4)


def run(pairs, device=DEVICE, seed=0, **options):
    torch.manual_seed(seed)
    model = SrResNet(4, channels=16, num_blocks=2, hr_channels=8)
    sampler = PatchSampler(pairs, 4, lr_patch_size=12, batch_size=8, seed=seed, device=device)
    values = {"steps": 30, "progress": False, **options.pop("config", {})}
    return model, train(model, sampler, TrainConfig(**values), **options)


def test_the_first_steps_are_those_of_the_cpu(pairs, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # of 10 bits
    (_, here), (_, there) = (run(pairs, device, config={"steps": 3}) for device in (DEVICE, "cpu"))
    for column in ("loss", "gradient_norm", "psnr_db"):
        np.testing.assert_allclose(here[column], there[column], rtol=2e-3)


@pytest.mark.parametrize("compiled", ["no", *COMPILED])
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_every_way_of_hurrying_learns_the_same(pairs, optimizer, precision, compiled):
    if compiled != "no" and precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("not run: below capability 8.0 torch compiles no bfloat16")
    _, plain = run(pairs, config={"optimizer": optimizer})
    config = {"mixed_precision": precision, "channels_last": True, "compile": compiled}
    config["optimizer"] = optimizer
    _, history = run(pairs, config={**config, "ema_decay": 0.9, "log_every": 5})
    every_five = plain["loss"].groupby((plain.index - 1) // 5).mean()
    np.testing.assert_allclose(history["loss"], every_five, rtol=0.1)


@pytest.mark.parametrize("compiled", ["no", *COMPILED])
def test_a_training_that_was_stopped_goes_on(pairs, tmp_path, compiled):
    """Not bit for bit: a GPU adds in an order of its own."""
    config = {"channels_last": True, "compile": compiled, "checkpoint_every": 10}
    whole, _ = run(pairs, config=config)

    def stop(step, model):
        if step == 17:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(pairs, config=config, folder=tmp_path, on_step=stop)
    steps = []
    rest, history = run(
        pairs, config=config, folder=tmp_path, on_step=lambda step, model: steps.append(step)
    )
    assert steps == list(range(11, 31)) and list(history.index) == list(range(1, 31))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(rest.state_dict()[name], value, rtol=0.05, atol=2e-3)


def test_a_loss_that_is_not_finite_stops_late_and_keeps_good_weights(pairs):
    def loss(sr, hr):
        step = len(seen)
        seen.append(step)
        return (sr - hr).abs().mean() * (float("nan") if step == 13 else 1)

    seen = []
    torch.manual_seed(0)
    model = SrResNet(4, channels=8, num_blocks=1)
    sampler = PatchSampler(pairs, 4, lr_patch_size=12, batch_size=4, device=DEVICE)
    with pytest.raises(FloatingPointError, match="the loss in step"):
        train(model, sampler, TrainConfig(steps=40, log_every=5, progress=False), loss=loss)
    assert len(seen) <= 15  # it looks every five steps
    assert all(torch.isfinite(value).all() for value in model.parameters())


@pytest.mark.parametrize("name", ["srresnet_x2", "srresnet_x3", "srresnet_small_x4"])
def test_pictures_are_those_of_the_cpu(name):
    lr = sample_image("coffee")[:90, :130]
    network = load_pretrained(name)
    expected = upscale(network, lr).astype(int)
    network.to(DEVICE)
    for picture in (upscale(network, lr), upscale(network, lr, tile=48)):
        assert np.abs(picture - expected).max() <= 1


def test_memory_follows_the_size_of_the_picture():
    network = load_pretrained("srresnet_small_x4").to(DEVICE)
    small, large = (measure(network, (side, side), repeats=2) for side in (64, 256))
    assert 4 < large["peak_memory_mib"] / small["peak_memory_mib"] < 20
