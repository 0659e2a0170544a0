"""The rest of the library on a pretended GPU: as on the CPU, and where the network is."""

import numpy as np
import pytest
import torch
from pretended_gpu.steps import run

from srlib import _arguments
from srlib.__main__ import main
from srlib.assets import sample_image
from srlib.evaluation import evaluate, upscale
from srlib.image import to_float, to_uint8, write_image
from srlib.measuring import measure, receptive_field
from srlib.metrics import psnr, score, ssim
from srlib.models import create_model, load_pretrained, save_network
from srlib.onnx_files import export_onnx
from srlib.resample import KERNELS, imresize

LR = sample_image("coffee")[:60, :90]
WAYS = {
    "whole": {},
    "tiled": {"tile": 40},
    "ensemble": {"ensemble": True},
    "half": {"half": True},
}


@pytest.fixture
def network():
    return load_pretrained("srresnet_small_x4").to("cuda")


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_is_that_of_the_cpu(network, way):
    tolerance = 3 if way == "half" or torch.cuda.get_device_capability() >= (8, 0) else 1
    picture = upscale(network, LR, **WAYS[way]).astype(int)
    assert torch.cuda.max_memory_allocated() > 2**20
    network.cpu()
    expected = upscale(network, LR, **{**WAYS[way], "half": False})
    assert np.abs(picture - expected).max() <= tolerance


def test_evaluation_and_measuring(network, pairs):
    assert evaluate(network, pairs, 4, progress=False).loc["mean", "psnr_db"] > 24
    small, large = (measure(network, (side, side), repeats=2) for side in (32, 128))
    assert 2 < large["peak_memory_mib"] / small["peak_memory_mib"] < 20
    assert receptive_field(network)[1] == 1


@pytest.mark.parametrize("scale", [0.5, 2.5])
@pytest.mark.parametrize("kernel", KERNELS)
def test_resizing(kernel, scale):
    image = to_float(LR)
    here = imresize(image.to("cuda"), scale, kernel=kernel)
    assert here.is_cuda
    torch.testing.assert_close(here.cpu(), imresize(image, scale, kernel=kernel))


def test_metrics():
    hr = to_float(LR)
    sr = (hr + 0.01).clamp(0, 1)

    def all_of(sr, hr):
        in_range = (metric(sr, hr, data_range=1) for metric in (psnr, ssim))
        return torch.stack([*in_range, *score(sr, hr, 2)])

    torch.testing.assert_close(all_of(sr.to("cuda"), hr.to("cuda")).cpu(), all_of(sr, hr))


def test_a_gpu_without_float64(network, pairs, make_sampler, gpu, monkeypatch):
    """What needs float64 goes to the CPU there."""
    monkeypatch.setattr(gpu, "no_float64", True)
    monkeypatch.setattr(_arguments, "_WITHOUT_FLOAT64", {"cuda"})
    test_metrics()
    evaluate(network, pairs, 4, progress=False)
    to_uint8(imresize(to_float(LR).to("cuda"), 0.5))
    for optimizer in ("adam", "sgd", "muon"):
        run(make_sampler(), optimizer=optimizer, mixed_precision="bf16", ema_decay=0.9, steps=2)


def test_files_of_networks(network, tmp_path):
    options = {"scale": 2, "channels": 8, "num_blocks": 1}
    network = create_model("SrResNet", **options).to("cuda")
    save_network(tmp_path / "network.safetensors", network, "SrResNet", **options)
    again = load_pretrained(tmp_path / "network.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value.cpu())
    assert export_onnx(network, tmp_path / "network.onnx").is_file()
    assert next(network.parameters()).is_cuda


def test_the_command_line(tmp_path):
    picture, out = tmp_path / "lr.png", tmp_path / "sr.png"
    write_image(picture, LR)
    assert main(["info"]) == 0
    assert main(["upscale", str(picture), str(out), "--method", "srresnet_small_x4"]) == 0
    assert torch.cuda.max_memory_allocated() > 2**20
    run = str(tmp_path / "run")
    training = ["train", "--profile", "ci", "--out", run, "--steps", "4", "--holdout", "4"]
    assert main([*training, "--teacher", "srresnet_small_x4"]) == 0
    benchmark = ["--data", str(tmp_path / "hr")]
    (tmp_path / "hr").mkdir()
    write_image(tmp_path / "hr" / "a.png", LR)
    assert main(["evaluate", "--method", f"{run}/model.safetensors", *benchmark]) == 0
