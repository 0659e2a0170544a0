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
# - time a network so that somebody else gets the same number, also beside another engine;
# - fold a block of many branches into one convolution, exactly, padding included;
# - say what a roofline tells about a layer's speed, and what it does not.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 5 on a T4 GPU, 4 on an A100.

# %% tags=["folded"]
# @title Imports
import copy
import importlib.util
import logging
import tempfile
import time
import warnings
from dataclasses import replace
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

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image
from srlib.environment import by_profile, memory
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import show, zoom_grid
from srlib.figures.history import plot_trainings
from srlib.layers import BicubicUpsample
from srlib.measuring import activation_bytes, measure
from srlib.models import FSRCNN, SrResNet, load_pretrained
from srlib.onnx_files import OnnxNetwork, export_onnx
from srlib.resample import imresize
from srlib.training import TrainConfig
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer

# %% tags=["parameters"]
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
steps = by_profile(ci=2, cpu=150, gpu=2000, long=2000)  # of each training
more = 3  # times as many steps for the plain network, whose training then takes as long
crop_side = by_profile(ci=48, cpu=96, gpu=96)  # of the test photographs, in pixels
frame = by_profile(ci=(18, 32), cpu=(180, 320), gpu=(360, 640))  # rows, columns
hd_frame = by_profile(ci=(36, 64), cpu=(540, 960), gpu=(540, 960))
repeats = by_profile(ci=3, cpu=11, gpu=20)
hd_repeats = by_profile(ci=2, cpu=4, gpu=10)
exported = by_profile(
    ci=("plain 16x4", "ESPCN"),
    cpu=("plain 8x2", "plain 16x4", "re-param 16x4", "ESPCN", "FSRCNN", "SrResNet 16x2"),
    gpu=("plain 8x2", "plain 16x4", "re-param 16x4", "ESPCN", "FSRCNN", "SrResNet 16x2"),
)
compiled_too = by_profile(ci=(), cpu=("plain 16x4",), gpu=("plain 16x4",))

# %% tags=["folded", "experiment"]
# @title Photographs to train on, crops of others to score
scale = 2
task = SmallTask(scale, crop_side=crop_side)
device = task.device

# %% tags=["folded"]
# @title The network that ships, and bicubic interpolation, with their times


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
hr = sample_image("coffee")[100:340, 200:440]
versions = {"original": hr}
for name, network in (("bicubic", bicubic), ("SrResNet", shipped)):
    costs = measure(network, frame, repeats=3, warmup=1)
    versions[f"{name}, {costs['latency_ms']:.0f} ms"] = upscale(network, imresize(hr, 1 / scale))
show(
    zoom_grid(versions, (70, 70, 80, 80), reference="original", scale=scale),
    "A cup of coffee enlarged twice: by bicubic interpolation and by the shipped SrResNet, with "
    "the milliseconds of each for one frame.",
)

# %% [markdown]
# The milliseconds are for one frame of the size in the parameters cell. The network is better, and
# far from video. Everything below lies between these two.
#
# Measured times change from machine to machine, and from minute to minute. So the cells state them,
# and which is faster. The text says what to look for.
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


threads = torch.get_num_threads()
torch.manual_seed(0)
fresh = FSRCNN(scale).to(device).eval()
picture = torch.rand(1, 3, *(length + 8 for length in frame), device=device)  # a new size
series = np.array([time_once(fresh, picture) for _ in range(40)])

# %% tags=["folded"]
# @title Draw the forty calls
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
    f"{threads} threads. First call {first:.1f} ms, {first / median:.1f} times the median\n"
    f"mean of all {mean:.1f} ms, {100 * (mean / median - 1):+.0f} % from the median\n"
    f"median without the first three {np.median(series[3:]):.1f} ms, "
    f"half of the calls in {quartiles[0]:.1f} to {quartiles[1]:.1f} ms"
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# As a rule the first call is the longest. It pays once for what later calls use: an algorithm is
# chosen, weights are put in order. Where it is not, a later call met a delay. And as a rule the
# mean is above the median: other programs delay some calls, and nothing makes a call faster than
# the processor can.
#
# </details>
#
# So a few calls are **warm-up** and are thrown away. The **median** hardly moves with a delay, and
# the **interquartile range** says how far to trust it. State the number of **threads** too, or
# nobody can repeat it.
#
# **On a GPU there is a third trap.** A call only puts work into a queue and returns. Without
# `synchronize` the clock stops while the GPU is still busy: one measures the launch.

# %% tags=["folded"]
# @title On a GPU: without synchronize
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


median, width = spread(race({"bicubic": on(bicubic, frame)}, repeats)["bicubic"])
costs = measure(bicubic, frame, repeats=repeats)  # for one network: time, and multiply-adds
print(f"race: {median:.2f} ms, spread {width:.2f} ms")
print(f"srlib's measure: {costs['latency_ms']:.2f} ms, spread {costs['latency_iqr_ms']:.2f} ms")

# %% [markdown]
# ### The fifth trap: two engines
#
# ONNX Runtime is another engine for the same networks. An engine splits its work over threads.
# When a call is over, they wait for the next one. They can **sleep**, and be woken. Or they can
# **spin**: ask again and again whether there is work, so that they begin at once.
#
# *Predict:* torch and ONNX Runtime take turns. ONNX Runtime's threads spin, as they do if nobody
# says otherwise. What does that do to torch's time?

# %%
folder = Path(tempfile.mkdtemp())
file = export_onnx(fresh, folder / "fresh.onnx")
half_frame = tuple(length // 2 for length in frame)
torch_call = on(copy.deepcopy(fresh).cpu(), half_frame)
beside, waiting = {"nobody": race({"torch": torch_call}, repeats)}, {}
for name, spinning in (("spinning threads", True), ("sleeping threads", False)):
    engine = OnnxNetwork(file, threads=max(2, threads), spinning=spinning)
    onnx_call = on(engine, half_frame)
    beside[name] = race({"torch": torch_call, "ONNX Runtime": onnx_call}, repeats)
    onnx_call()
    before = time.process_time()  # of all threads
    time.sleep(0.2)
    waiting[name] = 1000 * (time.process_time() - before)

# %% tags=["folded"]
# @title What waiting costs
for name, value in waiting.items():
    print(f"{name}: {value:.0f} ms of processor time in the 200 ms after a call")
alone_ms = np.median(beside["nobody"]["torch"])
longer_by = {name: np.median(times["torch"]) / alone_ms for name, times in beside.items()}
worse = longer_by["spinning threads"] / longer_by["sleeping threads"]
verdict = "Spinning slows torch down here." if worse > 1.1 else "Here torch does not suffer."
print(f"torch uses {threads} threads. {verdict}")
rows = {
    f"{engine}, beside {name}": (*spread(values), values.max())
    for name, times in beside.items()
    for engine, values in times.items()
}
pd.DataFrame(rows, index=["median (ms)", "spread (ms)", "longest (ms)"]).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Threads that spin take processor time after their call, when they do nothing. If torch needs their
# cores in this moment, it waits for them. So it suffers where torch uses all cores. With one
# thread of torch, and a core to spare, it does not. The last line above the table says what was the
# case here.
#
# </details>
#
# This notebook once fell into the trap. It let both engines take turns, with spinning threads. Then
# bicubic interpolation took 55 times as long for 9 times the pixels. Alone it took 12.7 times as
# long (measured on two cores). So the times said more about the threads than about the work.
# Section 4 measures it afresh, and finds another cause of long times.
#
# There are two cures: **a process of its own** for each engine, or **sleeping threads**. From here
# on all threads of ONNX Runtime sleep, which is the default of `srlib.onnx_files.OnnxNetwork`. And
# one engine runs at a time: first all networks of torch take turns, then all of ONNX Runtime.
# Section 3 repeats a measurement at its end, to see whether it gives the same again.

# %% [markdown]
# ## 2. Networks for real time
#
# All of them work at low resolution and enlarge in the last step. For x2 there are four times fewer
# pixels at low resolution (Dong et al. 2016; Shi et al. 2016).
#
# - **plain**: 3x3 convolutions with ReLU, nothing else. "16x4" is 16 channels, 4 hidden layers.
# - **ESPCN**: convolutions 5, 3, 3 and pixel shuffle. Shi's works on luma with tanh; this one on
#   RGB with ReLU.
# - **FSRCNN** on luma, from the library.
# - **SrResNet** with few channels, enlarging late and without the sigmoid, which would cost a
#   logarithm and an exponential for every sample of the large frame.
#
# Each network learns what to add to a picture: FSRCNN and SrResNet to the bicubic image, the others
# to the **anchor**, the input pixel repeated four times, which costs next to nothing (Du et al.
# 2021).

# %% tags=["folded", "experiment"]
# @title Where a network starts: at the image that it adds to


def start_as_skip(network, last):
    """Start with He's weights (notebook 04), and zeros in the last layer: as the image added to."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


# %% tags=["experiment"]
def conv3(in_channels, out_channels):
    """Make a plain 3x3 convolution."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def add_anchor(features, lr):
    """Features (N, 12, H, W) plus each input pixel four times -> image (N, 3, 2 * H, 2 * W)."""
    return F.pixel_shuffle(features + lr.repeat_interleave(scale**2, dim=1), scale)


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


# %% tags=["folded", "experiment"]
# @title ESPCN, and FSRCNN that adds to the bicubic luma


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


class SkipFsrcnn(FSRCNN):
    """FSRCNN that learns what to add to the bicubic luma."""

    def __init__(self):
        super().__init__(scale)
        start_as_skip(self, self.deconv)

    def luma(self, lr, large):
        return large + super().luma(lr, large)


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
    """Fold conv3x3(x) + conv1x1(x) + x into one convolution, after training.

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
# <details><summary>What happened</summary>
#
# The 1x1 kernel stands in the middle of a 3x3 kernel of zeros. The identity is a 1x1 convolution
# too: 1 from each channel to itself, 0 to the others.
#
# </details>
#
# Stuck? `hint("12.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("12.1")

# %% [markdown]
# ### Exercise 12.2: find the bug
#
# ECBSR also has branches of a 1x1 convolution **followed** by a 3x3. Again the result is linear, so
# there is one kernel: for each pair of an input and an output channel, the 3x3 kernels summed over
# the channels in between, weighted by the 1x1. The bias of the first layer goes through the second.
#
# Somebody wrote it, and nothing fails. But every picture comes out too dark or too bright:
#
# ```python
# def fold_chain(weight1, bias1, weight3, bias3):
#     weight = torch.einsum("omyx,mi->oiyx", weight3, weight1[:, :, 0, 0])
#     return weight, bias3 + weight3[:, :, 1, 1] @ bias1
# ```
#
# Write it right.


# %%
def fold_chain(weight1, bias1, weight3, bias3):
    """Fold conv3x3(conv1x1(x)), without any padding, into one convolution, after training.

    weight1 (M, I, 1, 1), bias1 (M,), weight3 (O, M, 3, 3), bias3 (O,) -> (O, I, 3, 3) and (O,).
    """
    ### BEGIN SOLUTION
    weight = torch.einsum("omyx,mi->oiyx", weight3, weight1[:, :, 0, 0])
    return weight, bias3 + torch.einsum("omyx,m->o", weight3, bias1)
    ### END SOLUTION


fold_chain = check("12.2", fold_chain)

# %% [markdown]
# ### The padding trap
#
# All branches must pad to keep the size, and then it matters where.
#
# *Predict:* the 3x3 layer of the branch pads its input with zeros. Where in the picture does it
# differ from the folded convolution?

# %%
with torch.inference_mode():
    folded = F.conv2d(x, *fold_chain(weight1, bias1, weight3, bias3), padding=1)
    between = F.conv2d(x, weight1, bias1)
    padded_between = F.conv2d(between, weight3, bias3, padding=1)
    padded_first = F.conv2d(F.conv2d(F.pad(x, (1,) * 4), weight1, bias1), weight3, bias3)
maps = {
    "padding between the two": (padded_between - folded).abs().amax(dim=(0, 1)),
    "padding before both": (padded_first - folded).abs().amax(dim=(0, 1)),
}

# %% tags=["folded"]
# @title Draw the differences
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
# <details><summary>What happened</summary>
#
# Along the border, one pixel wide in each layer. No test on the inside finds it.
#
# </details>
#
# The folded convolution pads the **input** with zeros. There the 1x1 convolution would give its
# bias. But if the 3x3 layer of the branch pads by itself, it puts zeros where the bias should be.
# So pad the input once, before the 1x1 convolution, and let the 3x3 layer pad nothing. (ECBSR pads
# with the bias, which is the same.)
#
# A block with all of these branches:

# %% tags=["folded", "experiment"]
# @title Three fixed edge filters
SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
EDGES = torch.stack([SOBEL, SOBEL.T, torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])])


# %% tags=["experiment"]
class RepBlock(nn.Module):
    """3x3, 1x1 and identity, 1x1 then 3x3, and 1x1 then an edge filter (three of them), added."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = conv3(in_channels, out_channels)
        self.point = nn.Conv2d(in_channels, out_channels, 1)
        self.expand = nn.Conv2d(in_channels, 2 * out_channels, 1)
        self.squeeze = nn.Conv2d(2 * out_channels, out_channels, 3)  # does not pad
        self.before_edges = nn.Conv2d(in_channels, len(EDGES) * out_channels, 1)
        self.strength = nn.Parameter(1e-3 * torch.randn(len(EDGES), out_channels))
        self.register_buffer("edges", EDGES.clone())
        self.identity = in_channels == out_channels

    def edge_kernels(self):
        """Return a filter for each edge and channel: (3 * C, 1, 3, 3)."""
        return (self.strength[..., None, None] * self.edges[:, None]).flatten(0, 1)[:, None]

    def forward(self, x):
        padded = F.pad(x, (1, 1, 1, 1))  # once, before every branch that needs it
        kernels = self.edge_kernels()
        edges = F.conv2d(self.before_edges(padded), kernels, groups=len(kernels))
        result = self.conv(x) + self.point(x) + self.squeeze(self.expand(padded))
        result = result + edges.unflatten(1, (len(EDGES), -1)).sum(dim=1)
        return result + x if self.identity else result


# %% tags=["folded"]
# @title Fold a block, and a network


@torch.no_grad()
def fold_block(block):
    """Make one 3x3 convolution of a RepBlock, of the same type."""
    kind = block.conv.weight.dtype
    block = copy.deepcopy(block).cpu().double()  # sums of products lose less so
    conv, point = block.conv, block.point
    weight, bias = conv.weight + F.pad(point.weight, (1, 1, 1, 1)), conv.bias + point.bias
    if block.identity:
        weight, bias = fold_branches(conv.weight, conv.bias, point.weight, point.bias)
    each = torch.eye(len(bias), dtype=torch.float64).repeat(1, len(EDGES))  # (C, 3 * C)
    edges = each[..., None, None] * block.edge_kernels()[:, 0]  # (C, 3 * C, 3, 3)
    chains = [(block.expand, block.squeeze.weight, block.squeeze.bias)]
    chains.append((block.before_edges, edges, torch.zeros_like(bias)))
    for before, weight3, bias3 in chains:
        more_weight, more_bias = fold_chain(before.weight, before.bias, weight3, bias3)
        weight, bias = weight + more_weight, bias + more_bias
    folded = conv3(conv.in_channels, conv.out_channels).to(kind)
    folded.load_state_dict({"weight": weight.to(kind), "bias": bias.to(kind)})
    return folded


def fold_network(network):
    """Copy a StackNet with each RepBlock folded."""
    result = copy.deepcopy(network)
    result.layers = nn.ModuleList(fold_block(layer) for layer in network.layers)
    return result.to(next(network.parameters()).device).eval()


# %% [markdown]
# ### Training
#
# All get the same patches, equal steps and an equal learning rate. A step with branches takes
# longer, so equal steps are a choice in favour of the branches. Therefore one more plain network
# gets three times the steps, which takes about as long.
#
# *Predict:* do the branches help at equal steps? And at equal time?

# %% tags=["folded", "experiment"]
# @title The candidates
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

# %% tags=["experiment"]
runs = compare_trainings(
    "12_quality",
    makers,
    task.sampler,
    TrainConfig(steps=steps, learning_rate=1e-3),
    task.score,
    seeds=seeds,
    keep=list(makers),
)

# %% tags=["folded", "experiment"]
# @title The plain network with three times the steps
longer_runs = compare_trainings(
    "12_longer",
    {"plain 16x4, three times the steps": makers["plain 16x4"]},
    task.sampler,
    TrainConfig(steps=more * steps, learning_rate=1e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw the plain network and that with branches; all in the table
long, longer = long_run("12_quality"), long_run("12_longer")
now = replace(runs, curves=pd.concat([runs.curves, longer_runs.curves]))
both = replace(long, curves=pd.concat([long.curves, longer.curves]))
drawn = [
    replace(run, curves=run.curves[run.curves["candidate"].str.contains("16x4")])
    for run in (now, both)
]
show(
    plot_trainings(*drawn, baselines={"bicubic": task.bicubic_db}, lowest_db=29),
    "PSNR against step for the plain network, the same with branches, and the plain one with three "
    "times the steps, here and in the long run. All start more than two decibels below the bicubic "
    "line; in the long run all end above it.",
)
print(f"bicubic {task.bicubic_db:.2f} dB. {long.summary()}")
both.table().round(2)

# %% tags=["folded"]
# @title Do the branches help? By the long runs, seed by seed
long_db = both.scores()
plain_db, branch_db = long_db.loc["plain 16x4"], long_db.loc["re-param 16x4"]
took = runs.curves.groupby(["candidate", "seed"])["seconds"].max().unstack().median(axis=1)
print(f"a step with branches takes {took['re-param 16x4'] / took['plain 16x4']:.1f} times as "
      f"long here; parameters {long.record['parameters']['re-param 16x4']:,} "
      f"against {long.record['parameters']['plain 16x4']:,}")  # fmt: skip
longer_db = long_db.loc[longer.curves["candidate"].iloc[0]]
for what, other in (("steps", plain_db), ("time", longer_db)):
    gains = branch_db - other
    verdict = "they help" if gains.min() > 0 else "they do harm" if gains.max() < 0 else "no gain"
    print(f"branches at equal {what}: {gains.mean():+.2f} dB, by seed {gains.min():+.2f} to "
          f"{gains.max():+.2f}: {verdict}")  # fmt: skip

# %% [markdown]
# <details><summary>What happened</summary>
#
# At equal steps they help, on each of three seeds. At equal time the gain is gone: the plain
# network with three times the steps is as good. So at this length branches save steps, but no time.
# And a run of seconds may say the opposite: the network with branches is slow to leave its start.
#
# </details>
#
# Whether they end higher after days of training, as the papers say, was not measured here. What
# holds in any case: at use the branches cost nothing, if they are folded.
#
# Is the folded network the same network? Compare in float64, where rounding is far below the
# claim. (In float32 a GPU may round the factors of a convolution to 10 bits, which is called TF32,
# and hide a mistake in folding.) The networks from here on are those of the long run.

# %%
networks = {name: long.load(name, make()).to(device) for name, make in makers.items()}
branched = networks["re-param 16x4"]
networks["re-param 16x4"] = fold_network(branched)
exact = copy.deepcopy(branched).double()
probe = torch.rand(1, 3, 37, 41, dtype=torch.float64, device=device)
with torch.inference_mode():
    worst_fold = (exact(probe) - fold_network(exact)(probe)).abs().max().item()
assert worst_fold < 1e-12
pair = {"branches": on(branched, frame), "folded": on(networks["re-param 16x4"], frame)}
branched_ms, folded_ms = (spread(times)[0] for times in race(pair, 5).values())
print(f"folded against branches in float64: largest difference {worst_fold:.1e}")
print(f"one frame: with branches {branched_ms:.1f} ms, folded {folded_ms:.1f} ms, "
      f"{branched_ms / folded_ms:.1f} times faster")  # fmt: skip

# %% tags=["folded"]
# @title The same networks with bicubic interpolation and the shipped network
networks = {"bicubic": bicubic, **networks, "SrResNet, shipped": shipped}
db_of_seeds = {name: long_db.loc[name].to_numpy() for name in makers}
db_of_seeds["bicubic"] = np.array([task.bicubic_db])
db_of_seeds["SrResNet, shipped"] = np.array([task.score(shipped)])
rows = {
    name: (sum(p.numel() for p in network.parameters()), db_of_seeds[name].mean())
    for name, network in networks.items()
}
quality_table = pd.DataFrame(rows, index=["parameters", "dB"]).T
quality_table.style.format({"parameters": "{:,.0f}", "dB": "{:.2f}"})

# %% [markdown]
# ## 3. The same network, run in other ways
#
# *Predict:* which of these is fastest on this machine, and does any of them change the picture?
#
# - **eager**: torch, operation by operation.
# - **channels-last**: the channels of a pixel lie side by side in memory.
# - **half**: bfloat16 on a CPU, float16 on a GPU. Fast where the processor has instructions for it,
#   and slow where it has not.
# - **compiled**: `torch.compile` writes and builds code for this network and this size. It needs a
#   C++ compiler, and the first call takes long.
# - **ONNX Runtime**: the other engine, on the CPU, from a file (`srlib.onnx_files`).

# %%
half = torch.float16 if device == "cuda" else torch.bfloat16
half_name, onnx_name = f"half ({str(half)[6:]})", "ONNX Runtime, CPU"
ways = {(name, "eager"): network for name, network in networks.items()}
for name in tqdm(exported, desc="export", unit="network"):
    network = networks[name]
    ways[name, "channels-last"] = copy.deepcopy(network).to(memory_format=torch.channels_last)
    ways[name, half_name] = copy.deepcopy(network).to(half)
    ways[name, onnx_name] = OnnxNetwork(export_onnx(network, folder / f"{name}.onnx"))

# %% tags=["folded"]
# @title Compile
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
        ways[name, "compiled"] = compiled

# %%
times, slow_ones = {}, {"SrResNet, shipped", half_name}  # fewer repeats for these
for is_onnx in (False, True):  # one engine at a time, the networks of each in turns
    chosen = {key: net for key, net in ways.items() if (key[1] == onnx_name) == is_onnx}
    calls = {key: on(network, frame) for key, network in chosen.items()}
    slow = {key: calls.pop(key) for key in chosen if slow_ones & set(key)}
    times |= race(calls, repeats) | race(slow, 3, 1)

# %% tags=["folded"]
# @title The table, and what changes the picture
rows = []
with torch.inference_mode():
    lr = torch.rand(1, 3, *frame, device=device)
    for (name, way), network in ways.items():
        if name in exported:
            weight = next(network.parameters())
            output = network(lr.to(weight.device, weight.dtype)).float().to(device)
            levels = 255 * (output - networks[name](lr)).abs().max().item()
            rows.append((name, way, *spread(times[name, way]), levels))
columns = ["network", "way", "median (ms)", "spread (ms)", "largest difference (grey levels)"]
ways_table = pd.DataFrame(rows, columns=columns).set_index(["network", "way"]).sort_index()
medians = ways_table["median (ms)"].unstack()
relative = medians.div(medians["eager"], axis=0)
for way in relative.columns.drop("eager"):
    ratios = relative[way].dropna()
    verdict = "faster" if ratios.max() < 1 else "slower" if ratios.min() > 1 else "mixed"
    print(f"{way}: {verdict}, takes {ratios.min():.2f} to {ratios.max():.2f} of the time of eager")
lost = task.score(networks["ESPCN"]) - task.score(ways["ESPCN", half_name])
print(f"half precision changes ESPCN's score by {-lost:+.3f} dB")
ways_table.style.format("{:.2f}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The lines above the table say it for this machine. Half precision changes the picture most; the
# last column says by how much. The other ways only change the order of sums, and differ by far less
# than one grey level. Where half precision is slower, the processor has no instructions for it.
#
# </details>
#
# And now the control. The eager networks are timed once more, after everything else has run. If the
# two tables differ by more than their spreads, something else was going on, and neither is worth
# much.


# %%
def agree(first, second):
    """Tell whether two series of times have the same median, within their spreads or 5 %."""
    (one, one_width), (other, other_width) = spread(first), spread(second)
    return abs(one - other) <= max(one_width + other_width, 0.05 * one)


again = race({(name, "eager"): on(networks[name], frame) for name in exported}, repeats)
control = {key: agree(times[key], again[key]) for key in again}

# %% tags=["folded"]
# @title Both tables beside each other
rows = {
    key[0]: (
        *np.round([*spread(times[key]), *spread(again[key])], 2),
        "yes" if control[key] else "no",
    )
    for key in again
}
if all(control.values()):
    print("Both tables agree within their spread.")
else:
    print("They do not agree: something else runs on this machine. Repeat it when it is idle.")
columns = ["median (ms)", "spread (ms)", "again (ms)", "spread (ms) ", "agree"]
pd.DataFrame(rows, index=columns).T

# %% [markdown]
# ### The Pareto picture
#
# A network is **dominated** if another is at least as good in both, milliseconds and decibels,
# and better in one. What is not dominated is the **Pareto front**: only among these is a choice
# to be made.
#
# ### Exercise 12.3
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


pareto_front = check("12.3", pareto_front)

# %% tags=["folded"]
# @title Who is on the front
points = pd.DataFrame(
    [
        (name, "torch" if way == "eager" else "ONNX", *np.percentile(values, [25, 50, 75]))
        for (name, way), values in times.items()
        if way in ("eager", onnx_name)
    ],
    columns=["network", "engine", "low", "ms", "high"],
)
points["db"] = [db_of_seeds[name].mean() for name in points["network"]]
front = pareto_front(points["ms"].to_numpy(), points["db"].to_numpy())
on_front = [" in ".join(points.loc[i, ["network", "engine"]]) for i in front]
print("on the front, the fastest first:", ", ".join(on_front))

# %% tags=["folded"]
# @title How a point looks
names = sorted(networks, key=lambda name: -db_of_seeds[name].mean())
looks = dict(
    zip(names, zip(["C0", "C1", "C2", "C3", "C4", "C5", "C7", "brown", "grey"], "osD^vP*Xp"))
)


def draw_point(axes, row):
    """Draw a network in an engine: quartiles of its times, range of its scores over the seeds."""
    color, marker = looks[row.network]
    scores, inside = db_of_seeds[row.network], color if row.engine == "torch" else "white"
    across = [[row.ms - row.low], [row.high - row.ms]]
    along = [[row.db - scores.min()], [scores.max() - row.db]]
    face = {"markersize": 9, "markerfacecolor": inside}
    axes.errorbar(row.ms, row.db, along, across, marker, color=color, capsize=3, **face)


# %% tags=["folded"]
# @title Draw the front
figure, axes = plt.subplots(figsize=(10, 5))
for row in points.itertuples():
    draw_point(axes, row)
line = points.loc[front, ["ms", "db"]].to_numpy().T
axes.step(*line, "black", where="post", linewidth=1, label="Pareto front", zorder=1)
for name in names:
    color, marker = looks[name]
    axes.plot([], [], marker, color=color, markersize=9, label=name)
axes.plot([], [], "o", color="grey", markerfacecolor="white", label="hollow: ONNX Runtime")
axes.set(xscale="log", xlabel=f"time for a frame of {frame[1]} x {frame[0]} (ms)")
axes.set(ylabel="PSNR on the test crops (dB)")
axes.xaxis.set_major_formatter(LogFormatter())
axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
figure.legend(loc="outside right upper", fontsize=10)
show(
    figure,
    "Decibels against milliseconds of all networks, filled in torch and hollow in ONNX Runtime. "
    "Bars: interquartile range of the times, range over seeds of the scores. The Pareto front as "
    "steps. The legend lists the networks from the best score to the lowest.",
)

# %% [markdown]
# Read the front from the left. Where a step is short and high, a little more time buys much
# quality; where it is long and low, little. Points under it are never the right choice, except for
# what the picture does not show: memory, energy, or the size of the file. The decibels are those of
# the long run, which is still short beside the training of the shipped network.
#
# ## 4. From 540 to 1080 lines
#
# *Predict:* a frame now has several times the pixels, on a CPU nine times. Does bicubic
# interpolation take as many times as long? And which networks reach 24 frames a second on this
# machine?

# %% tags=["folded"]
# @title Those for whose features there is memory
free = torch.cuda.mem_get_info()[0] if device == "cuda" else memory()[1]  # bytes
pixels = hd_frame[0] * hd_frame[1]
fits = [
    name
    for name in networks
    if name != "SrResNet, shipped" and activation_bytes(networks[name]) * pixels < free / 2
]

# %%
hd_times = race({name: on(networks[name], hd_frame) for name in fits}, hd_repeats, warmup=1)
onnx_calls = {
    f"{name} (ONNX)": on(ways[name, onnx_name], hd_frame) for name in exported if name in fits
}
hd_times |= race(onnx_calls, hd_repeats, warmup=1)
hd_ms = pd.Series({name: np.median(values) for name, values in hd_times.items()})

# %% tags=["folded"]
# @title Draw the frames a second
order = hd_ms.sort_values(ascending=False).index
figure, axes = plt.subplots(figsize=(9, 4.4))
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
axes.set_xlim(min(20, fps.min() / 2), max(60, fps.max()) * 2.2)
axes.xaxis.set_major_formatter(LogFormatter())
axes.grid(False)
show(figure, "Frames a second of each network, with lines at 24, 30 and 60 frames a second.")

# %% tags=["folded"]
# @title Who reaches which rate
larger = pixels / (frame[0] * frame[1])
slower = hd_ms["bicubic"] / np.median(times["bicubic", "eager"])
print(f"bicubic: {larger:.1f} times the pixels, {slower:.1f} times the time")
for rate in (24, 30, 60):
    reached = [name for name in hd_ms.drop("bicubic").index if 1000 / hd_ms[name] >= rate]
    print(f"{rate} frames a second: {', '.join(reached) or 'no network'}")
lines = {}
for name in hd_ms.drop("bicubic").index:
    rows = hd_frame[0] * (1000 / 30 / hd_ms[name]) ** 0.5
    lines[name] = {"rows in": int(rows), "rows out": scale * int(rows)}
budget = pd.DataFrame(lines).T.sort_values("rows in")
budget

# %% [markdown]
# If it takes far more, something disturbs the measurement. One suspect can be counted: the pages of
# memory that the system gives the process anew.


# %% tags=["folded"]
# @title Count the pages of new memory
def new_pages(call):
    """Count the pages of memory that the process is given during a call; not on Windows."""
    import resource  # Windows has no such module

    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


if importlib.util.find_spec("resource"):
    for size in (frame, hd_frame):
        pages = new_pages(on(networks["bicubic"], size))
        print(f"bicubic, {size[1]} x {size[0]}: {pages:,} new pages at each call")
    pages = new_pages(on(ways[exported[0], onnx_name], hd_frame))
    print(f"{exported[0]} in ONNX Runtime, {hd_frame[1]} x {hd_frame[0]}: {pages:,}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Bicubic interpolation hardly computes; it moves numbers, and into new memory. After a small frame
# the process keeps its memory for the next call. After a large one it gives the memory back, and at
# each call the system hands out new pages, which it has to clear first. On a CPU that can take
# longer than the interpolation. It slows all networks of torch; ONNX Runtime keeps its memory.
#
# A process can be told to keep it. On Linux, `MALLOC_MMAP_THRESHOLD_=1000000000` and
# `MALLOC_TRIM_THRESHOLD_=4000000000` in the environment do so. Then nine times the pixels took 9.5
# times as long, and without them 17 times (measured, one thread).
#
# </details>
#
# The table has the frame that each network does at 30 frames a second, if time is proportional to
# pixels. Is it? The best of them, at that size:

# %% tags=["folded"]
# @title The best at that size
best = budget.index[-1]
rows = int(budget.loc[best, "rows in"])
size = (rows, round(rows * 16 / 9))
name = best.removesuffix(" (ONNX)")
network = networks[name] if name == best else ways[name, onnx_name]
median, width = spread(race({"it": on(network, size)}, hd_repeats)["it"])
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
# - **separable**: eight times a 3x3 convolution of each channel by itself (**depthwise**) and a 1x1
#   convolution (**pointwise**): 8 * (9 * 72 + 72 * 72), which is the same number;
# - **pointwise**: nine 1x1 convolutions: 9 * 72 * 72.
#
# *Predict:* all three take equally long? If not, which is slowest?

# %%
kinds = {
    "full": lambda: conv3(72, 72),
    "depthwise": lambda: nn.Conv2d(72, 72, 3, padding=1, groups=72),
    "pointwise": lambda: nn.Conv2d(72, 72, 1),
}
bodies = {
    "dense": ["full"],
    "separable": 8 * ["depthwise", "pointwise"],
    "pointwise": 9 * ["pointwise"],
}
equals = {}
for name, body in bodies.items():
    layers = (kinds[kind]() for kind in body)
    network = nn.Sequential(conv3(3, 72), *layers, conv3(72, 12), nn.PixelShuffle(2))
    equals[name] = network.to(device).eval()
counts = {measure(network, frame, repeats=1)["multiply_adds"] for network in equals.values()}
assert len(counts) == 1
equal_times = race({name: on(network, frame) for name, network in equals.items()}, repeats)
equal_ms = pd.Series({name: np.median(values) for name, values in equal_times.items()})

# %% tags=["folded"]
# @title Who is slowest
slowest, fastest = equal_ms.idxmax(), equal_ms.idxmin()
factor = equal_ms.max() / equal_ms.min()
print(", ".join(f"{name} {ms:.1f} ms" for name, ms in equal_ms.items()))
print(f"equal multiply-adds, and {slowest} takes {factor:.1f} times as long as {fastest}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# They do not. As a rule the separable network is slowest, though its design is known for saving
# multiply-adds. The last line says it for this machine.
#
# </details>
#
# ### The roofline, for each kind of layer
#
# A processor computes and moves numbers at the same time, and the slower of the two decides. This
# is the **roofline** model (Williams, Waterman, Patterson 2009). **Arithmetic intensity** is FLOP
# per byte moved. Left of the **ridge** memory is the limit: the roof slopes there. Right of it
# arithmetic is.
#
# To draw the roof of this machine: for its slope, a large copy; for its height, a large matrix
# product and a wide convolution, and the faster of the two. The libraries behind them do not use
# the same instructions on every processor.

# %% tags=["folded"]
# @title The roof of this machine
side = int(min(by_profile(ci=256, cpu=2048, gpu=8192), (free / 24) ** 0.5))  # half of the memory
a, b = torch.rand(2, side, side, device=device)
numbers = int(min(by_profile(ci=10**6, cpu=3 * 10**7, gpu=2 * 10**8), free / 16))
source = torch.rand(numbers, device=device)
target = torch.empty_like(source)
wide = nn.Conv2d(64, 64, kernel_size=3, padding=1, device=device)
wide_input = torch.rand(by_profile(ci=1, cpu=1, gpu=16), 64, 90, 160, device=device)
calls = {"product": lambda: a @ b, "convolution": lambda: wide(wide_input)}
limits = race({**calls, "copy": lambda: target.copy_(source)}, 5)
ms = {name: np.median(values) for name, values in limits.items()}
flop = {"product": 2 * side**3, "convolution": 2 * 9 * 64 * wide_input.numel()}
reached = {name: flop[name] / ms[name] / 1e6 for name in flop}  # GFLOP/s
peak = max(reached.values())
bandwidth = 2 * numbers * 4 / ms["copy"] / 1e6  # GB/s, read and written
print(*(f"{name} {speed:.0f} GFLOP/s" for name, speed in reached.items()), sep=", ")
print(f"peak {peak:.0f} GFLOP/s, memory {bandwidth:.1f} GB/s, ridge {peak / bandwidth:.1f} FLOP/B")

# %% [markdown]
# Now one layer of each kind, alone. Each weight is used once at each pixel. A layer has to move at
# least its input, its output and its weights.


# %%
def intensity(layer, pixels):
    """FLOP and bytes of a convolution with 72 input and output channels."""
    products = layer.weight.numel() * pixels
    moved = 2 * 72 * pixels + sum(p.numel() for p in layer.parameters())
    return 2 * products, 4 * moved


layers = {kind: make().to(device).eval() for kind, make in kinds.items()}
features = torch.rand(1, 72, *frame, device=device)
layer_times = race({k: lambda layer=v: layer(features) for k, v in layers.items()}, repeats)
rows = {}
for kind, layer in layers.items():
    work, moved = intensity(layer, frame[0] * frame[1])
    took, roof = np.median(layer_times[kind]), min(peak, bandwidth * work / moved)
    rows[kind] = (work / moved, roof, work / took / 1e6, took, work / roof / 1e6)
columns = ["FLOP per byte", "roof (GFLOP/s)", "reached (GFLOP/s)", "time (ms)", "by the roof (ms)"]
layer_table = pd.DataFrame(rows, index=columns).T
layer_table.round(2)

# %% tags=["folded"]
# @title Draw the roofline
across = np.geomspace(1, 300, 100)
figure, axes = plt.subplots(figsize=(8, 4.2))
axes.plot(across, np.minimum(peak, bandwidth * across), "k", label="roof of this machine")
for (kind, row), marker in zip(layer_table.iterrows(), "osD"):
    axes.plot(row.iloc[0], row.iloc[2], marker, markersize=10, label=kind)
axes.set(xscale="log", yscale="log", xlabel="arithmetic intensity (FLOP per byte)")
axes.set(ylabel="speed (GFLOP/s)")
axes.set_ylim(min(bandwidth, layer_table.iloc[:, 2].min()) / 2, 2 * peak)
axes.legend(ncols=4, columnspacing=1, handletextpad=0.4, **above)
for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_formatter(LogFormatter())
show(
    figure,
    "Roofline: speed against arithmetic intensity, with three kinds of layers: depthwise far left, "
    "pointwise in the middle, full far right.",
)

# %% tags=["folded"]
# @title What the figure supports
ridge = peak / bandwidth
for kind, row in layer_table.iterrows():
    limit = "memory" if row.iloc[0] < ridge else "arithmetic"
    print(f"{kind}: the limit is {limit}, {row.iloc[2] / row.iloc[1]:.0%} of its roof is reached")
by_roof = {
    name: sum(layer_table.loc[kind, "by the roof (ms)"] for kind in body)
    for name, body in bodies.items()
}
for name in ("separable", "pointwise"):
    told, found = (ms[name] / ms["dense"] for ms in (by_roof, equal_ms))
    print(f"{name} against dense: by the roof {told:.1f} times as long, measured {found:.1f} times")

# %% [markdown]
# What does the figure support? Where a layer's point lies on its roof, the roof explains its
# speed. Depthwise layers are far left: nine products for each number read. They save multiply-adds,
# and pay in bytes. Pointwise layers have eight times the intensity. The first lines above say on
# which side of the ridge each kind is here.
#
# Where a point lies far under the roof, the figure explains nothing. Then it is the code: how the
# numbers are laid out, which instructions are used, how a convolution is divided among threads. The
# last two lines compare both. What the roof foretells of the gap is memory and arithmetic. The rest
# of the gap is the code. A point may also lie **above** the slope, if features stay in the cache.
#
# ## 6. Predicting a frame time
#
# So take three things into account: time = a * multiply-adds + b * bytes + c * layers. The last
# term is what it costs to start a layer. The three numbers come from plain networks measured at one
# frame size, and are tested at a frame that is four times larger, which they have not seen.
#
# *Predict:* how far off will it be?

# %% tags=["folded"]
# @title Measure plain networks of many sizes
choices = by_profile(ci=(4, 16), cpu=(4, 8, 16, 32), gpu=(8, 16, 32, 64))
depths = by_profile(ci=(1, 4), cpu=(1, 2, 4, 8), gpu=(1, 2, 4, 8))
heights = (frame[0] // 2, frame[0])
calls = {}
for channels in choices:
    for depth in depths:
        network = StackNet(channels, depth).to(device).eval()
        for rows in heights:
            calls[channels, depth, rows] = on(network, (rows, round(rows * 16 / 9)))
grid = {key: spread(values)[0] for key, values in race(calls, max(3, repeats // 3)).items()}


# %%
def terms(channels, depth, rows):
    """Multiply-adds, bytes and layers of a StackNet: three numbers, of a frame of 16 to 9."""
    pixels = rows * round(rows * 16 / 9)
    widths = [3, *[channels] * (depth + 1), 12]
    pairs = list(zip(widths, widths[1:]))
    products = sum(9 * a * b for a, b in pairs) * pixels
    moved = 4 * pixels * sum(a + b for a, b in pairs)
    return np.array([products, moved, len(pairs)], float)


known, unknown = ([key for key in grid if key[2] == height] for height in heights)
measured = np.array([grid[key] for key in known])
matrix = np.array([terms(*key) for key in known]) / measured[:, None]  # relative errors count
unit = matrix.max(axis=0)
factors = nnls(matrix / unit, np.ones(len(known)))[0] / unit  # none below zero


def predict(channels, depth, rows):
    """Milliseconds for a frame."""
    return float(terms(channels, depth, rows) @ factors)


# %% tags=["folded"]
# @title How far off
only_products = np.median(measured / np.array([terms(*key)[0] for key in known]))
off = {
    label: np.array([abs(guess(*key) / grid[key] - 1) for key in unknown])
    for label, guess in (
        ("all three terms", predict),
        ("multiply-adds alone", lambda *key: terms(*key)[0] * only_products),
    )
}
for label, values in off.items():
    print(f"{label}: {np.median(values):.0%} off in the median, {values.max():.0%} at most")
better = np.median(off["all three terms"]) < np.median(off["multiply-adds alone"])
print("Three terms are better." if better else "Three terms are no better here.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The last line says which is better here. A formula that was fitted at one size cannot know from
# which size on the memory is given anew at each call, and so it may be far off for single networks.
#
# </details>
#
# Now the same for any size. Find the widest network that does 30 frames a second at the full
# height, then the deepest. Which has more multiply-adds?

# %% tags=["folded"]
# @title The picture of the slider
board = Figure(figsize=(7, 3.6), dpi=80, layout="none")  # drawn once, but for what moves
board_axes = board.add_axes((0.1, 0.15, 0.87, 0.81))
frame_rows = np.linspace(heights[0] / 2, 6 * heights[0], 40)
longest = max(1000 / 24, predict(choices[-1], depths[-1], round(frame_rows[-1])))
board_axes.set(xlabel="rows of the LR frame", ylabel="time (ms)", yscale="log")
board_axes.set_ylim(min(grid.values()) / 3, 2 * longest)
for rate, upper in ((24, True), (30, False), (60, False)):
    board_axes.axhline(1000 / rate, color="grey", linewidth=1, linestyle=":")
    place = {"va": "bottom" if upper else "top", "ha": "left", "fontsize": 9}
    board_axes.text(frame_rows[0], 1000 / rate, f"{rate} frames/s", **place)
(curve,) = board_axes.plot(frame_rows, frame_rows, label="predicted", animated=True)
dots = [
    board_axes.plot([height], [1], f"C1{mark}", label=f"measured, {kind}", animated=True)[0]
    for height, mark, kind in zip(heights, "os", ("fitted", "not fitted"))
]
board_axes.legend(loc="lower right", fontsize=9)
chosen_row = board_axes.axvline(heights[1], color="C2", linewidth=1, animated=True)


# %% tags=["folded"]
# @title A slider for the frame time
def frame_time(channels, depth, rows):
    """Draw time against frame height, predicted and measured."""
    curve.set_ydata([predict(channels, depth, round(row)) for row in frame_rows])
    for dot, height in zip(dots, heights):
        dot.set_ydata([grid[channels, depth, height]])
    chosen_row.set_xdata([rows, rows])
    took = predict(channels, depth, rows)
    return board, (
        f"{channels} channels, {depth} hidden layers, {rows} rows: predicted {took:.1f} ms, "
        f"{1000 / took:.0f} frames a second"
    )


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
# ### Open: a plain network for your screen
#
# Which plain network has the most multiply-adds and still does 30 frames a second for the frame of
# section 4, by the prediction? Any number of channels and layers may be used. Then measure it. How
# far off was the prediction, and does your network keep the limit?
#
# <details><summary>A sample answer</summary>
#
# ```python
# rows = hd_frame[0]
# tried = [(channels, depth) for channels in range(2, 49, 2) for depth in range(1, 9)]
# within = [key for key in tried if predict(*key, rows) <= 1000 / 30] or tried[:1]
# mine = max(within, key=lambda key: terms(*key, rows)[0])
# network = StackNet(*mine).to(device).eval()
# size = (rows, round(rows * 16 / 9))
# median, width = spread(race({"mine": on(network, size)}, hd_repeats)["mine"])
# print(f"{mine[0]} channels, {mine[1]} layers: {predict(*mine, rows):.1f} ms predicted, "
#       f"{median:.1f} ms measured, spread {width:.1f} ms")
# ```
#
# If none keeps the limit, this takes the smallest one. The prediction chooses what it takes for the
# best, so it tends to choose where it is too hopeful. Leave some room below the limit.
#
# </details>
#
# ## What you saw

# %% tags=["folded"]
# @title The numbers
best_hd = hd_ms.drop("bicubic").idxmin()
print(
    f"first call: {series[0] / np.median(series):.1f} times the median\n"
    f"torch beside spinning threads: {longer_by['spinning threads']:.1f} times its time alone, "
    f"beside sleeping ones {longer_by['sleeping threads']:.1f} times\n"
    f"measured twice: {sum(control.values())} of {len(control)} networks agree\n"
    f"folding: largest difference {worst_fold:.1e}, {branched_ms / folded_ms:.1f} times faster\n"
    f"branches against plain: {(branch_db - plain_db).mean():+.2f} dB (mean of 3 seeds)\n"
    f"front: {', '.join(on_front)}\n"
    f"{scale * hd_frame[0]} lines: {best_hd} with {1000 / hd_ms[best_hd]:.0f} frames a second\n"
    f"equal multiply-adds: {slowest} takes {factor:.1f} times as long as {fastest}"
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
# - Several engines in one process share the cores: threads that wait by spinning slow down the next
#   one. Let them sleep, run one engine at a time, and measure one thing twice.
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
