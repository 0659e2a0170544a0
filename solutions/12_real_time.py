# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 Real time: quality against milliseconds
#
# A video has 24 to 60 frames a second, so a network that enlarges it has 17 to 42 milliseconds for
# each. This notebook measures how long networks take, makes them faster in ways that do not change
# a pixel, and in ways that do, and draws what is left to choose from: decibels against
# milliseconds.
#
# **After this you can**
#
# - time a network so that somebody else gets the same number;
# - fold a block of many branches into one convolution, exactly, padding included;
# - say why two networks of equal multiply-adds differ in speed, and by how much they may.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 8 on a T4 GPU, 6 on an A100.

# %%
import copy
import logging
import platform
import tempfile
import time
import warnings
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from scipy.optimize import nnls
from torch import nn
from tqdm.auto import tqdm

from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import evaluate, upscale
from srlib.exercises import check
from srlib.figures import show, zoom_grid
from srlib.layers import BicubicUpsample
from srlib.measuring import measure

# %%
from srlib.models import FSRCNN, SrResNet, load_pretrained
from srlib.onnx_files import OnnxNetwork, export_onnx
from srlib.training import TrainConfig, train
from srlib.widgets import Explorer

# %% tags=["parameters"]
steps = by_profile(ci=3, cpu=300, gpu=4000)  # of each training
seeds = by_profile(ci=(0,), cpu=(0, 1, 2), gpu=(0, 1, 2))
lr_patch_size = by_profile(ci=12, cpu=16, gpu=48)
batch_size = by_profile(ci=2, cpu=8, gpu=16)
crop_side = by_profile(ci=64, cpu=192, gpu=256)  # of the test photographs
frame = by_profile(ci=(18, 32), cpu=(180, 320), gpu=(360, 640))  # rows, columns
hd_frame = by_profile(ci=(36, 64), cpu=(540, 960), gpu=(540, 960))
repeats = by_profile(ci=3, cpu=15, gpu=20)
hd_repeats = by_profile(ci=2, cpu=7, gpu=10)
exported = by_profile(
    ci=("plain 16x4", "ESPCN"),
    cpu=("plain 8x2", "plain 16x4", "ESPCN", "FSRCNN", "SrResNet 16x2"),
    gpu=("plain 8x2", "plain 16x4", "ESPCN", "FSRCNN", "SrResNet 16x2"),
)
compiled_too = by_profile(ci=(), cpu=("plain 16x4",), gpu=("plain 16x4",))

# %%
scale = 2
device = "cuda" if torch.cuda.is_available() else "cpu"
test_images = load_images("bundled/test")


def middle(image, side):
    """Cut the square in the middle out of an image, as far as it is that large; None: leave it."""
    if side is None:
        return image
    top, left = (max(0, length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


crops = {name: middle(image, crop_side) for name, image in test_images.items()}
test_pairs = make_pairs(crops, scale)
train_pairs = make_pairs(load_images("bundled/train"), scale)
where = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
threads = torch.get_num_threads()
print(f"torch {torch.__version__} on {device} ({where}), {threads} threads")


# %%
class Bicubic(nn.Module):
    """The fixed interpolation, as a network."""

    def __init__(self):
        super().__init__()
        self.enlarge = BicubicUpsample(scale)
        self.nothing = nn.Parameter(torch.empty(0))  # callers ask the first one for its device

    def forward(self, lr):
        return self.enlarge(lr)  # (N, 3, 2 * H, 2 * W)


bicubic = Bicubic().to(device).eval()
shipped = load_pretrained("srresnet_x2").to(device)
pair = next(pair for pair in test_pairs if pair.name == "coffee")
side = min(pair.hr.shape[:2]) // 3
versions = {"original": pair.hr}
for name, network in (("bicubic", bicubic), ("SrResNet", shipped)):
    costs = measure(network, frame, repeats=3, warmup=1)
    per_frame = f"{name}, {costs['latency_ms']:.0f} ms"
    versions[per_frame] = upscale(network, pair.lr)
box = (side, side, side, side)
show(
    zoom_grid(versions, box, reference="original", scale=scale),
    "A photograph enlarged twice: by bicubic interpolation and by the shipped SrResNet, with the "
    "milliseconds of each for one frame.",
)

# %% [markdown]
# The milliseconds are for one frame of the size in the parameters cell. The network is better, and
# far from video. Everything below lies between these two.
#
# Measured times change from machine to machine, and from minute to minute. This text therefore
# states none: the cells do.
#
# ## 1. How to time
#
# *Predict:* the same network gets the same frame forty times. Which call takes longest? Is the
# mean of all calls above or below their median?


# %%
def finish():
    """Wait until the device has done all it was asked to do."""
    if device == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def time_once(call, *arguments):
    """Milliseconds of one call."""
    finish()
    start = time.perf_counter()
    call(*arguments)
    finish()
    return 1000 * (time.perf_counter() - start)


torch.manual_seed(0)
fresh = FSRCNN(scale).to(device).eval()
picture = torch.rand(1, 3, *(length + 8 for length in frame), device=device)  # a new size
series = np.array([time_once(fresh, picture) for _ in range(40)])

# %%
figure, axes = plt.subplots(figsize=(9, 3.2))
axes.plot(series, "o-", markersize=4, linewidth=1)
axes.plot(0, series[0], "D", color="C3", markersize=8, label="first call")
axes.axhline(series.mean(), color="C1", linestyle="--", label="mean of all")
axes.axhline(np.median(series), color="C2", label="median of all")
axes.set(xlabel="call", ylabel="time (ms)", yscale="log")
above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False}  # not on the data
axes.legend(ncols=3, **above)
axes.yaxis.set_major_formatter(LogFormatter())
axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
show(figure, "Time of forty calls one after the other, with the first, the mean and the median.")
first, mean, median = series[0], series.mean(), np.median(series)
quartiles = np.percentile(series[3:], [25, 75])
print(
    f"first call {first:.1f} ms, {first / median:.1f} times the median\n"
    f"mean of all {mean:.1f} ms, {100 * (mean / median - 1):+.0f} % from the median\n"
    f"median without the first three {np.median(series[3:]):.1f} ms, "
    f"half of the calls in {quartiles[0]:.1f} to {quartiles[1]:.1f} ms"
)

# %% [markdown]
# The first call pays once for what later calls use: memory is fetched from the system, an algorithm
# chosen, weights put in order. So a few calls are **warm-up** and are thrown away. Other programs
# delay some calls, and nothing makes a call faster than the processor can: as a rule the delays are
# on one side and pull the mean. The **median** hardly moves, and the **interquartile range** says
# how far to trust it. State the number of **threads** too, or nobody can repeat it.
#
# **On a GPU there is a third trap.** A call only puts work into a queue and returns. Without
# `synchronize` the clock stops while the GPU is still busy: one measures the launch.

# %%
if device == "cuda":
    finish()
    start = time.perf_counter()
    fresh(picture)
    unsynchronised = 1000 * (time.perf_counter() - start)
    print(f"without synchronize {unsynchronised:.2f} ms, with it {np.median(series[3:]):.2f} ms")
else:
    print("No GPU here: on a CPU a call returns when its work is done.")

# %% [markdown]
# And a fourth: to time A for a minute, then B for a minute, compares two minutes as well as two
# networks, because the clock rate of a warm processor sinks. So here they **take turns**.


# %%
def race(calls, repeats, warmup=2):
    """Time calls without arguments in turns: dict of name to milliseconds, (repeats,) each."""
    results = {name: [] for name in calls}
    for turn in range(warmup + repeats):
        for name, call in calls.items():
            took = time_once(call)
            if turn >= warmup:
                results[name].append(took)
    return {name: np.array(values) for name, values in results.items()}


def on(network, size):
    """Make a call without arguments: the network on one random frame, as `measure` does."""
    weight = next(network.parameters())
    lr = torch.rand(1, 3, *size, device=weight.device, dtype=weight.dtype)
    return lambda: network(lr)


def spread(times):
    """Median and interquartile range."""
    first, median, third = np.percentile(times, [25, 50, 75])
    return median, third - first


# %%
median, width = spread(race({"bicubic": on(bicubic, frame)}, repeats)["bicubic"])
costs = measure(bicubic, frame, repeats=repeats)
print(f"race: {median:.2f} ms, spread {width:.2f} ms")
print(f"srlib's measure: {costs['latency_ms']:.2f} ms, spread {costs['latency_iqr_ms']:.2f} ms")

# %% [markdown]
# `srlib.measuring.measure` does the same for one network, and counts its multiply-adds.
#
# ## 2. Networks for real time
#
# All of them work at low resolution, where a pixel costs four times less (Dong et al. 2016; Shi et
# al. 2016), and enlarge in the last step.
#
# - **ESPCN**: convolutions 5, 3, 3 and pixel shuffle. Shi's works on luma with tanh; this one on
#   RGB with ReLU.
# - **FSRCNN** on luma, from the library.
# - **SrResNet** with few channels, enlarging late and without the sigmoid, which would cost a
#   logarithm and an exponential for every sample of the large frame.
# - **plain**: 3x3 convolutions with ReLU, nothing else. "16x4" is 16 channels, 4 hidden layers.
#
# Seconds of training are not enough to learn to copy a picture. So each network learns what to add:
# FSRCNN and SrResNet to the bicubic image, the others to the **anchor**, the input pixel repeated
# four times, which costs next to nothing (Du et al. 2021).


# %%
def add_anchor(features, lr):
    """Features (N, 12, H, W) plus each input pixel four times -> image (N, 3, 2 * H, 2 * W)."""
    return F.pixel_shuffle(features + lr.repeat_interleave(scale**2, dim=1), scale)


def start_as_skip(network, last):
    """Start with He's weights (notebook 04), and zeros in the last layer: as the image added to."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


class Espcn(nn.Module):
    """Three convolutions, 5-3-3, and pixel shuffle."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU()),
            *(nn.Conv2d(64, 32, 3, padding=1), nn.ReLU()),
            nn.Conv2d(32, 3 * scale**2, 3, padding=1),
        )
        start_as_skip(self, self.layers[-1])

    def forward(self, lr):
        return add_anchor(self.layers(lr), lr)


# %%
class SkipFsrcnn(FSRCNN):
    """FSRCNN that learns what to add to the bicubic luma."""

    def __init__(self):
        super().__init__(scale)
        start_as_skip(self, self.deconv)

    def luma(self, lr, large):
        return large + super().luma(lr, large)


# %%
def conv3(in_channels, out_channels):
    """Make a plain 3x3 convolution."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class StackNet(nn.Module):
    """3x3 layers with ReLU at low resolution; `layer` makes one from its channels."""

    def __init__(self, channels, depth, layer=conv3):
        super().__init__()
        widths = [3, *[channels] * (depth + 1)]
        self.layers = nn.ModuleList(layer(a, b) for a, b in zip(widths, widths[1:]))
        self.tail = conv3(channels, 3 * scale**2)
        start_as_skip(self, self.tail)

    def forward(self, lr):
        features = lr
        for layer in self.layers:
            features = F.relu(layer(features))
        return add_anchor(self.tail(features), lr)


# %% [markdown]
# ### Many branches for training, one convolution for use
#
# A convolution is linear, and so is a sum of convolutions. So one may train several branches side
# by side, which gives the optimizer other directions to move in, and add their kernels afterwards.
# This is **structural re-parameterisation** (RepVGG, Ding et al. 2021). ECBSR (Zhang et al. 2021)
# brought it to super-resolution, with branches that contain fixed edge filters.
#
# *Predict:* a 1x1 convolution is a 3x3 convolution with which kernel? And the identity?
#
# ### Exercise 12.1
#
# Three branches have the same input and are added: a 3x3 convolution with zero padding, a 1x1
# convolution, and the identity. Write the one 3x3 convolution that does the same.


# %%
def fold_branches(weight3, bias3, weight1, bias1):
    """Fold conv3x3(x) + conv1x1(x) + x into one convolution.

    weight3 (C, C, 3, 3), bias3 (C,), weight1 (C, C, 1, 1), bias1 (C,), all torch tensors, output
    channels first -> weight (C, C, 3, 3) and bias (C,).
    """
    ### BEGIN SOLUTION
    weight = weight3.clone()
    weight[:, :, 1, 1] += weight1[:, :, 0, 0] + torch.eye(len(weight3))
    return weight, bias3 + bias1
    ### END SOLUTION


fold_branches = check("12.1", fold_branches)

# %%
with torch.inference_mode():
    x = torch.randn(2, 6, 9, 11, dtype=torch.float64)
    weight3, bias3 = torch.randn(6, 6, 3, 3).double(), torch.randn(6).double()
    weight1, bias1 = torch.randn(6, 6, 1, 1).double(), torch.randn(6).double()
    branches = F.conv2d(x, weight3, bias3, padding=1) + F.conv2d(x, weight1, bias1) + x
    one = F.conv2d(x, *fold_branches(weight3, bias3, weight1, bias1), padding=1)
print(f"largest difference {(branches - one).abs().max():.1e}")

# %% [markdown]
# Stuck? Run `from srlib.exercises import hint` and `hint("12.1")`.
#
# ### One behind the other: the padding trap
#
# ECBSR also has branches of a 1x1 convolution **followed** by a 3x3. Again the result is linear, so
# there is one kernel: for each pair of an input and an output channel, the 3x3 kernels summed over
# the channels in between, weighted by the 1x1. The bias of the first goes through the second: it is
# multiplied by the sum of the kernel.


# %%
def fold_chain(weight1, bias1, weight3, bias3):
    """Fold conv3x3(conv1x1(x)): weights (M, I, 1, 1) and (O, M, 3, 3) -> (O, I, 3, 3), (O,)."""
    weight = torch.einsum("omyx,mi->oiyx", weight3, weight1[:, :, 0, 0])
    return weight, bias3 + torch.einsum("omyx,m->o", weight3, bias1)


with torch.inference_mode():
    folded = F.conv2d(x, *fold_chain(weight1, bias1, weight3, bias3), padding=1)
    between = F.conv2d(x, weight1, bias1)
    padded_between = F.conv2d(between, weight3, bias3, padding=1)
    padded_first = F.conv2d(F.conv2d(F.pad(x, (1,) * 4), weight1, bias1), weight3, bias3)
maps = {
    "padding between the two": (padded_between - folded).abs().amax(dim=(0, 1)),
    "padding before both": (padded_first - folded).abs().amax(dim=(0, 1)),
}

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3))
brightest = max(image.max() for image in maps.values())
for axes, (name, image) in zip(panels, maps.items()):
    drawn = axes.imshow(image, cmap="magma", vmin=0, vmax=brightest)
    inside = image[1:-1, 1:-1].max()
    axes.set_title(f"{name}\nborder {image.max():.1e}, inside {inside:.1e}", fontsize=10)
    axes.set_axis_off()
figure.colorbar(drawn, ax=panels, label="difference")
show(
    figure,
    "Largest difference between branch and folded convolution at each pixel: with padding between "
    "the two layers it is large along the border, with padding before both it is zero.",
)

# %% [markdown]
# The folded convolution pads the **input** with zeros. There the 1x1 convolution would give its
# bias. But if the 3x3 layer of the branch pads by itself, it puts zeros where the bias should
# be. The difference sits on the border, one pixel wide in each layer, and no test on the inside
# finds it. So pad the input once, before the 1x1 convolution, and let the 3x3 layer pad nothing.
# (ECBSR pads with the bias, which is the same.)


# %%
SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
EDGES = torch.stack([SOBEL, SOBEL.T, torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])])


class RepBlock(nn.Module):
    """3x3, 1x1 and identity, 1x1 then 3x3, and 1x1 then an edge filter (three of them), added."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = conv3(in_channels, out_channels)
        self.point = nn.Conv2d(in_channels, out_channels, 1)
        self.expand = nn.Conv2d(in_channels, 2 * out_channels, 1)
        self.squeeze = nn.Conv2d(2 * out_channels, out_channels, 3)  # does not pad
        self.before_edge = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in EDGES)
        self.strength = nn.Parameter(1e-3 * torch.randn(len(EDGES), out_channels))
        self.register_buffer("edges", EDGES.clone())
        self.identity = in_channels == out_channels

    def edge_kernels(self):
        """Return one filter for each edge and channel: (3, C, 1, 3, 3)."""
        return self.strength[:, :, None, None, None] * self.edges[:, None, None]

    def forward(self, x):
        padded = F.pad(x, (1, 1, 1, 1))  # once, before every branch that needs it
        result = self.conv(x) + self.point(x) + self.squeeze(self.expand(padded))
        for point, kernel in zip(self.before_edge, self.edge_kernels()):
            result = result + F.conv2d(point(padded), kernel, groups=len(kernel))
        return result + x if self.identity else result


# %%
@torch.no_grad()
def fold_block(block):
    """Make one 3x3 convolution of a RepBlock."""
    block = copy.deepcopy(block).cpu().double()  # sums of products lose less so
    conv, point = block.conv, block.point
    if block.identity:
        weight, bias = fold_branches(conv.weight, conv.bias, point.weight, point.bias)
    else:
        weight, bias = conv.weight + F.pad(point.weight, (1, 1, 1, 1)), conv.bias + point.bias
    chains = [(block.expand, block.squeeze.weight, block.squeeze.bias)]
    for before, kernel in zip(block.before_edge, block.edge_kernels()):
        every = torch.diag_embed(kernel[:, 0].permute(1, 2, 0)).permute(2, 3, 0, 1)  # (C, C, 3, 3)
        chains.append((before, every, torch.zeros_like(bias)))
    for before, weight3, bias3 in chains:
        more_weight, more_bias = fold_chain(before.weight, before.bias, weight3, bias3)
        weight, bias = weight + more_weight, bias + more_bias
    folded = conv3(conv.in_channels, conv.out_channels)
    folded.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return folded


def fold_network(network):
    """Copy a StackNet with each RepBlock folded."""
    result = copy.deepcopy(network)
    result.layers = nn.ModuleList(fold_block(layer) for layer in network.layers)
    return result.to(next(network.parameters()).device).eval()


# %% [markdown]
# ### Training
#
# All get equal steps on the same patches, three seeds each. That is seconds: enough to rank
# structures roughly, far from what they reach in days.

# %%
late = {"scale": scale, "hr_channels": 8, "output": "linear"}
makers = {
    "plain 8x2": lambda: StackNet(8, 2),
    "plain 16x4": lambda: StackNet(16, 4),
    "re-param 16x4": lambda: StackNet(16, 4, RepBlock),
    "ESPCN": Espcn,
    "FSRCNN": SkipFsrcnn,
    "SrResNet 8x1": lambda: SrResNet(channels=8, num_blocks=1, **late),
    "SrResNet 16x2": lambda: SrResNet(channels=16, num_blocks=2, **late),
}


# %%
def trained(make, seed):
    """Train a new network."""
    torch.manual_seed(seed)
    network = make()
    sampler = PatchSampler(
        train_pairs,
        scale,
        lr_patch_size=lr_patch_size,
        batch_size=batch_size,
        seed=seed,
        device=device,
    )
    train(network, sampler, TrainConfig(steps=steps, log_every=steps, progress=False))
    return network.eval()


# %%
def quality(network):
    """Mean PSNR in dB on the test photographs, by the protocol."""
    return evaluate(network, test_pairs, scale, progress=False).loc["mean", "psnr_db"]


networks, db_of_seeds, seconds_of, worst_fold = {}, {}, {}, 0.0
probe = torch.rand(1, 3, 37, 41, device=device)
with tqdm(total=len(makers) * len(seeds), desc="train", unit="network") as bar:
    for name, make in makers.items():
        scores, start = [], time.perf_counter()
        for seed in seeds:
            network = trained(make, seed)
            if "re-param" in name:
                branched, network = network, fold_network(network)
                # On a GPU, cuDNN's convolutions keep 10 bits (TF32), torch's own all 23.
                with torch.inference_mode(), torch.backends.cudnn.flags(enabled=False):
                    change = (branched(probe) - network(probe)).abs().max().item()
                worst_fold = max(worst_fold, change)
            scores.append(quality(network))
            bar.update()
        networks[name], db_of_seeds[name] = network, np.array(scores)
        seconds_of[name] = (time.perf_counter() - start) / len(seeds)

networks = {"bicubic": bicubic, **networks, "SrResNet, shipped": shipped}
for name in ("bicubic", "SrResNet, shipped"):
    db_of_seeds[name] = np.array([quality(networks[name])])

# %%
print(f"folded against branches: largest difference {worst_fold:.1e} (images are 0 to 1)")
rows = {}
for name, network in networks.items():
    scores = db_of_seeds[name]
    rows[name] = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "dB": scores.mean(),
        "spread over seeds (dB)": scores.max() - scores.min() if len(scores) > 1 else np.nan,
        "training and scoring (s)": seconds_of.get(name, np.nan),
    }
assert worst_fold < 1e-5
quality_table = pd.DataFrame(rows).T
quality_table.style.format(
    {"parameters": "{:,.0f}", "training and scoring (s)": "{:.1f}"}, precision=2, na_rep=""
)

# %% [markdown]
# "re-param" stands in the table as it is used: folded. Does it pay? It has the same cost as
# "plain 16x4", the same patches and seeds, so compare seed by seed (notebook 10).

# %%
gains = db_of_seeds["re-param 16x4"] - db_of_seeds["plain 16x4"]
sizes = [sum(p.numel() for p in net.parameters()) for net in (branched, networks["plain 16x4"])]
slower = seconds_of["re-param 16x4"] / seconds_of["plain 16x4"]
print("re-param minus plain by seed (dB):", gains.round(2))
print(f"parameters in training {sizes[0]:,} against {sizes[1]:,}, time x{slower:.1f}")
if gains.min() > 0:
    print("At these steps the branches help, on every seed.")
elif gains.max() < 0:
    print("At these steps the branches do harm, on every seed.")
else:
    print("At these steps the seeds do not agree: no gain is shown.")

# %%
times = race({"branches": on(branched, frame), "folded": on(networks["re-param 16x4"], frame)}, 5)
branched_ms, folded_ms = (np.median(values) for values in times.values())
print(f"one frame: with branches {branched_ms:.1f} ms, folded {folded_ms:.1f} ms")

# %% [markdown]
# Equal steps are a choice in favour of the branches: each of their steps costs more. At equal
# **time** the plain network could take as many more steps as the factor above says. The papers'
# gains come from far longer trainings. The claim "free at inference" is true, and
# checked above; the claim "better" needs seeds.
#
# ## 3. The same network, run in other ways
#
# *Predict:* which of these is fastest on this machine, and does any of them change the picture?
#
# - **eager**: torch, operation by operation.
# - **channels-last**: the channels of a pixel lie side by side in memory.
# - **half**: bfloat16 on a CPU, float16 on a GPU. Fast where the processor has instructions for it,
#   and slow where it has not.
# - **ONNX Runtime**: another engine, on the CPU, from a file (`srlib.onnx_files`).
# - **compiled**: `torch.compile` writes and builds code for this network and this size. It needs a
#   C++ compiler, and the first call takes long.

# %%
half = torch.float16 if device == "cuda" else torch.bfloat16
folder = Path(tempfile.mkdtemp())
ways = {}
for name in tqdm(exported, desc="export", unit="network"):
    network = networks[name]
    file = export_onnx(network, folder / f"{name}.onnx")
    ways[name] = {
        "eager": network,
        "channels-last": copy.deepcopy(network).to(memory_format=torch.channels_last),
        f"half ({str(half)[6:]})": copy.deepcopy(network).to(half),
        "ONNX Runtime, CPU": OnnxNetwork(file, threads=threads),
    }


# %%
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no CUDA: no matter


def compile_network(network, size):
    """Compile for one size: the compiled network and seconds, or None and what went wrong."""
    compiled = torch.compile(copy.deepcopy(network), dynamic=False)
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            time_once(on(compiled, size))
    except Exception as error:  # no compiler, or one that fails
        return None, f"not possible here: {type(error).__name__}"
    return compiled, f"{time.perf_counter() - start:.0f} s to compile"


for name in compiled_too:
    compiled, remark = compile_network(networks[name], frame)
    print(f"{name}: {remark}")
    if compiled is not None:
        ways[name]["compiled"] = compiled

# %%
rows, times = [], {}
for name, variants in ways.items():
    calls = {way: on(network, frame) for way, network in variants.items()}
    times[name] = race(calls, repeats)
    with torch.inference_mode():
        reference = networks[name](lr := torch.rand(1, 3, *frame, device=device))
        for way, network in variants.items():
            weight = next(network.parameters())
            output = network(lr.to(weight.device, weight.dtype)).float().to(device)
            median, width = spread(times[name][way])
            levels = 255 * (output - reference).abs().max().item()
            rows.append((name, way, median, width, levels))
columns = ["network", "way", "median (ms)", "spread (ms)", "largest difference (grey levels)"]
ways_table = pd.DataFrame(rows, columns=columns).set_index(["network", "way"])
ways_table.style.format("{:.2f}")

# %%
medians = ways_table["median (ms)"].unstack()
relative = medians.div(medians["eager"], axis=0)
for way in relative.columns.drop("eager"):
    ratios = relative[way].dropna()
    verdict = "faster" if ratios.max() < 1 else "slower" if ratios.min() > 1 else "mixed"
    low, high = ratios.min(), ratios.max()
    print(f"{way}: {verdict}, takes {low:.2f} to {high:.2f} of the time of eager")
lost = quality(networks["ESPCN"]) - quality(ways["ESPCN"][f"half ({str(half)[6:]})"])
print(f"half precision costs ESPCN {lost:.3f} dB")

# %% [markdown]
# Half precision changes the picture. The other ways change the order of sums, and differ by far
# less than a grey level. Which one is fastest depends on processor and network, so measure on the
# machine that will run it. A half that is slower has been computed in float32 behind conversions.
#
# ### The Pareto picture
#
# A network is **dominated** if another is at least as good in both, milliseconds and decibels,
# and better in one. What is not dominated is the **Pareto front**: only among these is a choice
# to be made.
#
# ### Exercise 12.2
#
# Find them. Of points that are equal in both, none dominates the other, so all stay.


# %%
def pareto_front(ms, db):
    """Indices of the points that no other dominates, the fastest first.

    Two arrays (n,) -> list of int. Less is better in ms, more in db. Points of equal ms (which
    are then equal in db too) stand in the order of their indices.
    """
    ### BEGIN SOLUTION
    front = []
    for i in range(len(ms)):
        as_good = (ms <= ms[i]) & (db >= db[i])
        better = (ms < ms[i]) | (db > db[i])
        if not (as_good & better).any():
            front.append(i)
    return sorted(front, key=lambda i: ms[i])
    ### END SOLUTION


pareto_front = check("12.2", pareto_front)

# %%
calls = {name: on(network, frame) for name, network in networks.items()}
slow_call = {name: calls.pop(name) for name in ["SrResNet, shipped"]}
torch_times = race(calls, repeats) | race(slow_call, 3, 1)
onnx_times = {name: results["ONNX Runtime, CPU"] for name, results in times.items()}
points = pd.DataFrame(
    [
        (name, engine, *np.percentile(values, [25, 50, 75]), db_of_seeds[name].mean())
        for engine, results in (("torch", torch_times), ("ONNX", onnx_times))
        for name, values in results.items()
    ],
    columns=["network", "engine", "low", "ms", "high", "db"],
)
front = pareto_front(points["ms"].to_numpy(), points["db"].to_numpy())
on_front = [" in ".join(points.loc[i, ["network", "engine"]]) for i in front]
print("on the front, the fastest first:", ", ".join(on_front))


# %%
def apart(values, gap):
    """Move values apart until no two are closer than gap, keeping their order."""
    order, result = np.argsort(values), np.array(values, float)
    for _ in range(500):
        for low, high in zip(order, order[1:]):
            push = max(0, gap - (result[high] - result[low])) / 2
            result[low] -= push
            result[high] += push
    return result


def label_points(axes, x, y, labels):
    """Write the labels in a column right of the picture, with a line to each point."""
    low, high = axes.get_ylim()
    places = apart((y - low) / (high - low), 0.95 / len(y))
    places += 0.5 - places.mean()
    for point, place, label in zip(zip(x, y), places, labels):
        axes.annotate(
            label,
            point,
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.6, "alpha": 0.7},
        )


# %%
figure, axes = plt.subplots(figsize=(10, 5))
for name, rows in points.groupby("network", sort=False):
    axes.plot(rows["ms"], rows["db"], color="grey", linewidth=0.8, linestyle=":")
    for row, (color, marker) in zip(rows.itertuples(), (("C0", "o"), ("C1", "s"))):
        scores = db_of_seeds[name]
        across = [[row.ms - row.low], [row.high - row.ms]]
        along = [[row.db - scores.min()], [scores.max() - row.db]]
        axes.errorbar(row.ms, row.db, along, across, marker, color=color, capsize=3)
axes.step(*points.loc[front, ["ms", "db"]].to_numpy().T, "C2", where="post", label="Pareto front")
axes.plot([], [], "C0o", label="torch, eager")
axes.plot([], [], "C1s", label="ONNX Runtime, CPU")
axes.set(xscale="log", xlabel=f"time for a frame of {frame[1]} x {frame[0]} (ms)")
axes.set(ylabel="PSNR on test photographs (dB)")
axes.xaxis.set_major_formatter(LogFormatter())
axes.legend(ncols=3, **above)
named = points[points["engine"] == "torch"]
label_points(axes, *(named[key].to_numpy() for key in ("ms", "db", "network")))
show(
    figure,
    "Decibels against milliseconds of all networks in torch and, joined by a dotted line, in "
    "ONNX Runtime. Bars: interquartile range of the times, range over seeds of the scores. The "
    "Pareto front as steps.",
)

# %% [markdown]
# Read the front from the left. Where it is steep, a little more time buys much quality; where it
# is flat, little. Points under it are never the right choice, except for
# what the picture does not show: memory, energy, or the size of the file. And the decibels
# are those of a short training, apart from the shipped network, which was trained for far longer.
#
# ## 4. From 540 to 1080 lines
#
# *Predict:* which of them reach 24 frames a second on this machine?

# %%
fast = ["bicubic", "plain 8x2", "SrResNet 8x1", "FSRCNN", "plain 16x4", "SrResNet 16x2", "ESPCN"]
calls = {name: on(networks[name], hd_frame) for name in fast}
for name in fast:
    if name in ways:
        calls[f"{name} (ONNX)"] = on(ways[name]["ONNX Runtime, CPU"], hd_frame)
hd_times = race(calls, hd_repeats, warmup=1)
hd_ms = pd.Series({name: np.median(values) for name, values in hd_times.items()})

# %%
order = hd_ms.sort_values(ascending=False).index
figure, axes = plt.subplots(figsize=(9, 4.2))
fps = 1000 / hd_ms[order]
quartiles = np.array([np.percentile(1000 / hd_times[name], [25, 75]) for name in order])
colors = ["C1" if "ONNX" in name else "C0" for name in order]
errors = np.abs(quartiles.T - fps.to_numpy())
axes.barh(order, fps, xerr=errors, color=colors, capsize=3, error_kw={"ecolor": "black"})
for rate in (24, 30, 60):
    axes.axvline(rate, color="black", linewidth=1, linestyle=":")
    axes.annotate(
        f"{rate}", (rate, 1), (0, 3), fontsize=9, ha="center",
        xycoords=("data", "axes fraction"), textcoords="offset points",
    )  # fmt: skip
for place, (rate, high) in enumerate(zip(fps, quartiles[:, 1])):
    axes.text(1.05 * max(rate, high), place, f"{rate:.1f}", va="center", fontsize=9)
axes.set(xlabel=f"frames a second, {hd_frame[1]} x {hd_frame[0]} to twice that", xscale="log")
axes.set_xlim(min(20, fps.min() / 2), max(60, fps.max()) * 1.6)
axes.xaxis.set_major_formatter(LogFormatter())
axes.grid(False)
show(figure, "Frames a second of each network, with lines at 24, 30 and 60 frames a second.")

# %%
for rate in (24, 30, 60):
    reached = [name for name in hd_ms.index if 1000 / hd_ms[name] >= rate]
    networks_only = [name for name in reached if name != "bicubic"]
    print(f"{rate} frames a second: {', '.join(networks_only) or 'no network'}")

lines = {}
for name in hd_ms.drop("bicubic").index:
    rows = hd_frame[0] * (1000 / 30 / hd_ms[name]) ** 0.5
    lines[name] = {"rows in": int(rows), "rows out": scale * int(rows)}
budget = pd.DataFrame(lines).T.sort_values("rows in")
budget

# %% [markdown]
# The table has the frame that each network does at 30 frames a second, if time is proportional to
# pixels. Is it? The best of them, at that size:

# %%
best = budget.index[-1]
rows = int(budget.loc[best, "rows in"])
size = (rows, round(rows * 16 / 9))
name = best.removesuffix(" (ONNX)")
network = networks[name] if name == best else ways[name]["ONNX Runtime, CPU"]
call = on(network, size)
median, width = spread(race({"it": call}, hd_repeats)["it"])
print(f"{best}, {size[1]} x {size[0]}: {median:.1f} ms, wanted {1000 / 30:.1f} ms")

# %% [markdown]
# Add to that what a player has to do besides: decode the video, convert colours, show the frame
# (and on a GPU move it there and back). A frame rate of a network is an upper limit of a player's.
#
# ## 5. Why multiply-adds do not predict time
#
# Papers compare networks by multiply-adds (often called FLOPs, though one is two of these). Here
# are three networks that `measure` counts as equal. They have the same first and last layer. In
# between, with 72 channels:
#
# - **dense**: one 3x3 convolution: 9 * 72 * 72 products at each pixel;
# - **separable**: eight times a 3x3 convolution of each channel by itself (depthwise) and a 1x1
#   convolution: 8 * (9 * 72 + 72 * 72), which is the same number;
# - **pointwise**: nine 1x1 convolutions: 9 * 72 * 72.
#
# *Predict:* all three take equally long? If not, which is slowest?


# %%
def separable():
    """Depthwise 3x3, then pointwise 1x1."""
    depthwise = nn.Conv2d(72, 72, 3, padding=1, groups=72)
    return nn.Sequential(depthwise, nn.Conv2d(72, 72, 1))


bodies = {
    "dense": lambda: [conv3(72, 72)],
    "separable": lambda: [separable() for _ in range(8)],
    "pointwise": lambda: [nn.Conv2d(72, 72, 1) for _ in range(9)],
}
equals = {
    name: nn.Sequential(conv3(3, 72), *body(), conv3(72, 12), nn.PixelShuffle(2)).to(device).eval()
    for name, body in bodies.items()
}


# %%
@torch.inference_mode()
def bytes_moved(network, size):
    """Bytes that the convolutions read and write at least: inputs, outputs and weights."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        numbers = inputs[0].numel() + output.numel() + sum(p.numel() for p in layer.parameters())
        total += output.element_size() * numbers

    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in convolutions]
    on(network, size)()
    for hook in hooks:
        hook.remove()
    return total


# %%
equal_times = race({name: on(network, frame) for name, network in equals.items()}, repeats)
rows = {}
for name, network in equals.items():
    multiply_adds = measure(network, frame, repeats=1, warmup=1)["multiply_adds"]
    moved = bytes_moved(network, frame)
    rows[name] = {
        "multiply-adds (millions)": multiply_adds / 1e6,
        "moved (MB)": moved / 1e6,
        "FLOP per byte": 2 * multiply_adds / moved,
        "median (ms)": np.median(equal_times[name]),
    }
equal_table = pd.DataFrame(rows).T
equal_table["GFLOP/s"] = 2 * equal_table.iloc[:, 0] / equal_table["median (ms)"]
equal_table.style.format("{:,.1f}")

# %%
counts = set(equal_table["multiply-adds (millions)"])
assert len(counts) == 1
slow = equal_table["median (ms)"].idxmax()
fastest = equal_table["median (ms)"].idxmin()
factor = equal_table["median (ms)"].max() / equal_table["median (ms)"].min()
print(f"equal multiply-adds, and {slow} takes {factor:.1f} times as long as {fastest}")

# %% [markdown]
# A processor computes and moves numbers at the same time, and the slower of the two decides. This
# is the **roofline** model (Williams, Waterman, Patterson 2009). **Arithmetic intensity** is FLOP
# per byte moved. Below a certain intensity, memory is the limit: the roof slopes there. To draw the
# roof of this machine: for its slope, a large copy; for its height, a large matrix product and a
# wide convolution, and the faster of the two. The libraries behind them do not use the same
# instructions on every processor.

# %%
side = by_profile(ci=256, cpu=2048, gpu=8192)
a, b = torch.rand(2, side, side, device=device)
long = torch.rand(by_profile(ci=10**6, cpu=3 * 10**7, gpu=2 * 10**8), device=device)
target = torch.empty_like(long)
wide = nn.Conv2d(64, 64, kernel_size=3, padding=1, device=device)
wide_input = torch.rand(by_profile(ci=1, cpu=1, gpu=64), 64, 90, 160, device=device)
calls = {"product": lambda: a @ b, "convolution": lambda: wide(wide_input)}
limits = race({**calls, "copy": lambda: target.copy_(long)}, 5)
ms = {name: np.median(values) for name, values in limits.items()}
flop = {"product": 2 * side**3, "convolution": 2 * 9 * 64 * wide_input.numel()}
reached = {name: flop[name] / ms[name] / 1e6 for name in flop}  # GFLOP/s
peak = max(reached.values())
bandwidth = 2 * long.numel() * 4 / ms["copy"] / 1e6  # GB/s, read and written
print(*(f"{name} {speed:.0f} GFLOP/s" for name, speed in reached.items()), sep=", ")
print(f"peak {peak:.0f} GFLOP/s, memory {bandwidth:.1f} GB/s, ridge {peak / bandwidth:.1f} FLOP/B")

# %%
intensity = np.geomspace(1, 300, 100)
figure, axes = plt.subplots(figsize=(8, 4.2))
axes.plot(intensity, np.minimum(peak, bandwidth * intensity), "k", label="roof of this machine")
for (name, row), marker in zip(equal_table.iterrows(), "osD"):
    axes.plot(row["FLOP per byte"], row["GFLOP/s"], marker, markersize=10, label=name)
axes.set(xscale="log", yscale="log", xlabel="arithmetic intensity (FLOP per byte)")
axes.set(ylabel="speed (GFLOP/s)")
axes.set_ylim(1, 2 * peak)
axes.legend(ncols=4, columnspacing=1, handletextpad=0.4, **above)
for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_formatter(LogFormatter())
show(figure, "Roofline: speed against arithmetic intensity, with the three networks of equal work.")

# %% [markdown]
# Dense and deep do the same products; but each further layer writes its features and reads them
# again. Depthwise convolutions are the extreme: nine products for each number read. They save
# multiply-adds, and pay in bytes.
#
# The picture is a bound, not a prediction. A point may lie **above** the slope where features stay
# in the cache between two layers, and below it where the code is not good (grouped convolutions
# often are such a case) or where calls are so small that starting them costs most.
#
# ## 6. Predicting a frame time
#
# So take both into account, and each layer's start: time = a * multiply-adds + b * bytes +
# c * layers. The three numbers come from plain networks measured at one frame size, and are tested
# at a frame that is four times larger, which they have not seen.
#
# *Predict:* how far off will it be?

# %%
choices = by_profile(ci=(4, 16), cpu=(4, 8, 16, 32), gpu=(8, 16, 32, 64))
depths = by_profile(ci=(1, 4), cpu=(1, 2, 4, 8), gpu=(1, 2, 4, 8))
heights = (frame[0] // 2, frame[0])


def terms(channels, depth, rows):
    """Multiply-adds, bytes and layers of a StackNet: three numbers, of a frame of 16 to 9."""
    pixels = rows * round(rows * 16 / 9)
    widths = [3, *[channels] * (depth + 1), 12]
    pairs = list(zip(widths, widths[1:]))
    products = sum(9 * a * b for a, b in pairs) * pixels
    moved = 4 * pixels * sum(a + b for a, b in pairs)
    return np.array([products, moved, len(pairs)], float)


calls = {}
for channels in choices:
    for depth in depths:
        network = StackNet(channels, depth).to(device).eval()
        for rows in heights:
            calls[channels, depth, rows] = on(network, (rows, round(rows * 16 / 9)))
grid = {key: spread(values)[0] for key, values in race(calls, max(3, repeats // 3)).items()}

# %%
known = [key for key in grid if key[2] == heights[0]]
unknown = [key for key in grid if key[2] == heights[1]]
measured = np.array([grid[key] for key in known])
matrix = np.array([terms(*key) for key in known]) / measured[:, None]  # relative errors count
unit = matrix.max(axis=0)
factors = nnls(matrix / unit, np.ones(len(known)))[0] / unit  # none below zero


def predict(channels, depth, rows):
    """Milliseconds for a frame."""
    return float(terms(channels, depth, rows) @ factors)


only_products = np.median(measured / np.array([terms(*key)[0] for key in known]))
for label, guess in (
    ("all three terms", predict),
    ("multiply-adds alone", lambda *key: terms(*key)[0] * only_products),
):
    off = [abs(guess(*key) / grid[key] - 1) for key in unknown]
    print(
        f"{label}: {100 * np.median(off):.0f} % off in the median, {100 * max(off):.0f} % at most"
    )


# %%
board = Figure(figsize=(7, 3.6), dpi=80, layout="none")  # drawn once, a fixed layout is faster
board_axes = board.add_axes((0.1, 0.15, 0.82, 0.81))
frame_rows = np.linspace(heights[0] / 2, 6 * heights[0], 40)
longest = max(1000 / 24, predict(choices[-1], depths[-1], round(frame_rows[-1])))
board_axes.set(xlabel="rows of the LR frame", ylabel="time (ms)", yscale="log")
board_axes.set_ylim(min(grid.values()) / 3, 2 * longest)
for rate, above in ((24, True), (30, False), (60, False)):
    board_axes.axhline(1000 / rate, color="grey", linewidth=1, linestyle=":")
    place = {"va": "bottom" if above else "top", "ha": "left", "fontsize": 9}
    board_axes.text(frame_rows[0], 1000 / rate, f"{rate} frames/s", **place)
(curve,) = board_axes.plot(frame_rows, frame_rows, label="predicted")
dots = [
    board_axes.plot([height], [1], f"C1{marker}", label=f"measured, {kind}")[0]
    for height, marker, kind in zip(heights, "os", ("fitted", "not fitted"))
]
board_axes.legend(loc="lower right", fontsize=9)
here = board_axes.axvline(heights[1], color="C2", linewidth=1)


# %%
def frame_time(channels, depth, rows):
    """Draw time against frame height, predicted and measured."""
    curve.set_ydata([predict(channels, depth, round(row)) for row in frame_rows])
    for dot, height in zip(dots, heights):
        dot.set_ydata([grid[channels, depth, height]])
    here.set_xdata([rows, rows])
    took = predict(channels, depth, rows)
    return board, (
        f"{channels} channels, {depth} hidden layers, {rows} rows: predicted {took:.1f} ms, "
        f"{1000 / took:.0f} frames a second"
    )


# %%
frame_slider = Explorer(
    frame_time,
    channels=ipywidgets.SelectionSlider(options=choices, value=choices[1]),
    depth=ipywidgets.SelectionSlider(options=depths, value=depths[1]),
    rows=ipywidgets.IntSlider(
        heights[1], min=heights[0], max=6 * heights[0], step=2, description="rows in"
    ),
)
frame_slider

# %% [markdown]
# Find the widest network that does 30 frames a second at the full height, then the deepest. Which
# has more multiply-adds?
#
# ## What you saw

# %%
best_hd = hd_ms.drop("bicubic").idxmin()
print(
    f"first call: {series[0] / np.median(series):.1f} times the median\n"
    f"folding: largest difference {worst_fold:.1e}, {branched_ms / folded_ms:.1f} times faster\n"
    f"branches against plain: {gains.mean():+.2f} dB (mean of {len(seeds)} seeds)\n"
    f"front: {', '.join(on_front)}\n"
    f"{scale * hd_frame[0]} lines: {best_hd} with {1000 / hd_ms[best_hd]:.0f} frames a second\n"
    f"equal multiply-adds: {slow} takes {factor:.1f} times as long as {fastest}"
)

# %% [markdown]
# ## Pitfalls
#
# - Timing the first call, the mean, or on a GPU the launch. Not saying how many threads.
# - Comparing a network with branches by its training form: fold it first, and show the difference.
# - Padding between the layers of a branch that is folded: wrong along the border only.
# - Multiply-adds in place of milliseconds. Milliseconds of another machine in place of one's own.
# - Timing random frames is fine for convolutions, and wrong where time depends on content.
# - `torch.compile` for one size compiles again for the next. State the compile time.
# - A latency for batches is a throughput: a live video comes frame by frame.
# - Several engines in one process share the cores: their idle threads may wait actively for a
#   while, and slow the next one down.
#
# ## Further reading
#
# - W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
#   convolutional neural network", CVPR, 2016.
# - C. Dong, C. C. Loy, X. Tang, "Accelerating the super-resolution convolutional neural network",
#   ECCV, 2016.
# - X. Ding, X. Zhang, N. Ma, J. Han, G. Ding, J. Sun, "RepVGG: making VGG-style ConvNets great
#   again", CVPR, 2021.
# - X. Zhang, H. Zeng, L. Zhang, "Edge-oriented convolution block for real-time super resolution on
#   mobile devices", ACM Multimedia, 2021.
# - Z. Du, J. Liu, J. Tang, G. Wu, "Anchor-based plain net for mobile image super-resolution",
#   CVPR Workshops, 2021.
# - F. Kong et al., "Residual local feature network for efficient super-resolution", CVPR
#   Workshops, 2022, the winner in runtime of that year's NTIRE challenge on efficient
#   super-resolution (Y. Li et al., "NTIRE 2022 challenge on efficient super-resolution: methods
#   and results", CVPR Workshops, 2022).
# - S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
#   multicore architectures", Communications of the ACM 52(4), 2009.
# - A. G. Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
#   applications", arXiv:1704.04861, 2017, for depthwise separable convolutions.
