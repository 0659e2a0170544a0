import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from srlib.layers import DeconvBlock
from srlib.measuring import measure, receptive_field
from srlib.models import create_model

SMALL = {
    "SrResNet": {"channels": 4, "num_blocks": 1},
    "TwoStageSrResNet": {"channels": 4},
    "PlainCNN": {"widths": (4, 4)},
    "PoolingCNN": {"channels": 4},
}


def conv(side):
    return nn.Conv2d(3, 3, side, padding=side // 2)


def test_costs_of_a_network_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), DeconvBlock(8, 3, 2))
    costs = measure(network, (20, 30), repeats=2, warmup=1)
    parameters = 3 * 8 * 9 + 8 + 8 * 3 * 16 + 3
    assert costs["parameters"] == parameters
    assert costs["multiply_adds"] == 20 * 30 * (3 * 8 * 9 + 8 * 3 * 16)
    assert costs["multiply_adds_per_pixel"] == costs["multiply_adds"] / (40 * 60)
    # While it enlarges: weights, input, features, output. Before: the features twice.
    held = 4 * (parameters + 3 * 600)
    assert costs["peak_memory_mib"] * 2**20 == held + 4 * max(2 * 8 * 600, 8 * 600 + 3 * 2400)


def test_groups_strides_and_views_are_counted_right():
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, stride=2, padding=2, groups=3),
        nn.ConvTranspose2d(12, 4, 6, stride=2, padding=2, groups=2),
        nn.Flatten(2),
        nn.Unflatten(2, (16, 24)),
    )
    costs = measure(network, (16, 24), repeats=1, warmup=1)
    assert costs["multiply_adds"] == 8 * 12 * (12 * 1 * 25 + 12 * 2 * 36)
    weights = sum(p.numel() for p in network.parameters())
    pixels = 16 * 24
    assert costs["peak_memory_mib"] * 2**20 == 4 * (weights + (3 + 12 // 4 + 4) * pixels)


def test_multiply_adds_of_srresnet_by_hand():
    network = create_model("SrResNet", 4, channels=16, num_blocks=3)
    lr_pixels = 24 * 25
    at_lr = 9 * (3 * 16 + 7 * 16 * 16) + 16 * 16 * 16  # convolutions and the first deconvolution
    at_x2, at_x4, bicubic = 16 * 16 * 16, 9 * 16 * 3, 3 * 16 * 25
    expected = lr_pixels * (at_lr + 4 * at_x2 + 16 * at_x4 + bicubic)
    assert measure(network, (24, 25), repeats=1, warmup=1)["multiply_adds"] == expected


class Sleeping(nn.Module):
    """Takes 1 s, 1 s, then 5, 10, 10, 10 and 15 ms after the runs that only count."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.now = 0.0
        self.times = iter([9.0, 1.0, 1.0, 0.005, 0.01, 0.01, 0.01, 0.015, 9.0])
        self.modes = set()
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def forward(self, x):
        self.now += next(self.times)
        self.modes.add((self.training, torch.is_inference_mode_enabled()))
        return x * self.weight


def test_latency_is_the_median_without_the_warm_up(monkeypatch):
    network = Sleeping(monkeypatch).train()
    costs = measure(network, (4, 4), repeats=5, warmup=2)
    assert costs["latency_ms"] == pytest.approx(10)
    assert costs["latency_iqr_ms"] == pytest.approx(0, abs=1e-6)
    assert network.training and network.modes == {(False, True)}


@pytest.mark.parametrize("arguments", [{"lr_size": (4,)}, {"lr_size": (0, 4)}, {"repeats": 0}])
def test_measure_refuses(arguments):
    with pytest.raises(ValueError, match="got"):
        measure(create_model("FSRCNN"), **{"lr_size": (8, 8), **arguments})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_on_a_gpu_counts_weights_and_activations():
    network = nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU()).cuda()
    peak = measure(network, (256, 256))["peak_memory_mib"]
    assert peak >= (3 + 2 * 64) * 256**2 * 4 / 2**20


@given(st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=6))
def test_radii_of_convolutions_add_up(sides):
    network = nn.Sequential(*map(conv, sides))
    assert receptive_field(network) == (sum(side // 2 for side in sides), 1)


def test_the_widest_direction_counts_and_zero_weights_do_too():
    wide = nn.Conv2d(3, 3, (1, 9), padding=(0, 4))
    tall = nn.Conv2d(3, 3, (11, 1), padding=(5, 0))
    nn.init.zeros_(tall.weight)
    assert receptive_field(wide) == (4, 1)
    assert receptive_field(tall) == (5, 1)
    assert receptive_field(nn.Sequential(*(conv(41) for _ in range(3)))) == (60, 1)


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_poolings_set_the_grid(factor):
    network = nn.Sequential(nn.MaxPool2d(factor), nn.Upsample(scale_factor=factor))
    assert receptive_field(network) == (0, factor)


def test_the_radius_at_the_output_is_rounded_up_to_pixels_of_the_input():
    # 1 output pixel is half an input pixel.
    assert receptive_field(nn.Sequential(nn.Upsample(scale_factor=2), conv(3))) == (1, 1)
    assert receptive_field(nn.Sequential(nn.Upsample(scale_factor=2), conv(7))) == (2, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "name", ["SrResNet", "TwoStageSrResNet", "SRCNN", "FSRCNN", "PlainCNN", "PoolingCNN"]
)
def test_nothing_beyond_the_radius_matters(name, scale):
    torch.manual_seed(0)
    network = create_model(name, scale, **SMALL.get(name, {})).double().eval()
    radius, grid = receptive_field(network)
    assert grid == {"TwoStageSrResNet": 2, "PoolingCNN": 4}.get(name, 1)
    lr = torch.rand(1, 3, 12, 96, dtype=torch.float64)
    other = lr.clone()
    cell = 48 // grid * grid
    other[..., cell + grid :] = torch.rand(1, 3, 12, 96 - cell - grid)
    with torch.inference_mode():
        same = (network(lr) == network(other)).all(dim=2).all(dim=1)[0]
    inside = math.floor(scale * (cell + grid - radius))
    assert same[:inside].all() and not same[inside + scale * (radius + 1) :].any()


class Attention(nn.Module):
    def forward(self, x):
        return x * x.mean(dim=(2, 3), keepdim=True)


class Blind(nn.Module):
    def forward(self, x):
        return x.nan_to_num()


@pytest.mark.parametrize(
    "network, message",
    [
        (Attention(), "Attention sees more than"),
        (nn.Sequential(nn.MaxPool2d(32), nn.Upsample(scale_factor=32)), "not the whole image"),
        (Blind(), "let a NaN through"),
        (nn.Upsample(scale_factor=1.5), "whole number"),
        (nn.AvgPool2d(2), "whole number"),
    ],
)
def test_networks_that_cannot_be_tiled_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        receptive_field(network)


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(conv(3), nn.BatchNorm2d(3)).train().double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert receptive_field(network) == (1, 1)
    assert network.training
    for name, value in network.state_dict().items():
        assert value.equal(before[name]) and value.dtype == before[name].dtype
