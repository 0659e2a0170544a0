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
# # 11 Any scale, any size
#
# The networks of the course enlarge by 2, by 3 or by 4, and each by one of these only. And they
# take the whole photograph at once. This notebook removes both limits: one network for several
# scales, a network for any scale, 2.7 included, and pictures that are larger than the memory. On
# the way you meet attention, and what it does to tiles.
#
# **After this you can**
#
# - say where each output pixel lies in the input, and find a shift of half a pixel;
# - build a network that is asked for a colour at any place, and compare it fairly with its rivals;
# - enlarge in tiles without a seam, and say which kinds of attention allow it.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 2 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tifffile
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image, sample_names
from srlib.data import Pair, PatchSampler
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import show, zoom_grid
from srlib.figures.history import plot_trainings
from srlib.image import to_float, to_uint8
from srlib.layers import BicubicUpsample, PixelShuffleBlock, ResidualBlock
from srlib.measuring import receptive_field
from srlib.metrics import score
from srlib.models import load_pretrained
from srlib.resample import KERNELS, imresize
from srlib.training import TrainConfig
from srlib.training.experiments import SmallTask, Trainings, compare_trainings, long_run
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
steps = by_profile(ci=2, cpu=200, gpu=1500, long=6000)
rates = by_profile(ci=(3e-3,), cpu=(3e-3,), gpu=(3e-3,), long=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2))
timed_side = by_profile(ci=24, cpu=96, gpu=192)  # section 6: LR pixels
sources = by_profile(  # section 7: LR pixels a side
    ci=(64, 128),
    cpu=(256, 512, 1024, 1536),
    gpu=(256, 512, 1024, 2048),
)
network_sources = by_profile(ci=(64,), cpu=(192, 320, 512), gpu=(192, 320, 512))

# %% [markdown]
# A photograph was shrunk by 3.4. How would you enlarge it by 3.4, with a network for 4 at hand?
# The usual way is to enlarge by 4 and shrink the result to 3.4.

# %% tags=["folded"]
# @title Enlarge a cat's eye by 3.4
small_x4 = load_pretrained("srresnet_small_x4")
hr = sample_image("chelsea")[:240, 60:420]
height, width = hr.shape[:2]
lr = imresize(hr, 1 / 3.4)
versions = {
    "original": hr,
    "bicubic, by 3.4": imresize(lr, 3.4)[:height, :width],
    "network for 4, shrunk to 3.4": imresize(upscale(small_x4, lr), 3.4 / 4)[:height, :width],
}
show(
    zoom_grid(versions, (100, 60, 90, 110), reference="original", scale=3.4),
    "A cat's eye: the original, enlarged by 3.4 bicubically, and by a network for 4 and shrunk.",
)

# %% [markdown]
# It works, though it makes 16 pixels for every 11.6 that are wanted. Beyond 4 it has nothing to
# offer but another resize. Keep it in mind all the same: it is the **rival** that every network
# for any scale has to beat, and papers often leave it out.

# %% [markdown]
# ## 1. Where is a pixel?
#
# A pixel is a small square. Lay the two pictures over each other, edge on edge, and measure in LR
# pixels: the centre of LR pixel $k$ is to be at $k$. Output pixel $i$ is $1/s$ wide, with $s$ the
# scale, so its centre lies $(i + 0.5)/s$ from the edge.
#
# ### Exercise 11.1
#
# Compute the positions of all output pixels. An enlargement has `math.ceil(size * scale)` pixels a
# side, as with `imresize`.


# %%
def output_grid(height, width, scale):
    """Positions of the output's rows and of its columns, in LR pixels: two float arrays.

    `height` and `width` are those of the LR image.
    """
    ### BEGIN SOLUTION
    rows, columns = (
        (np.arange(math.ceil(size * scale)) + 0.5) / scale - 0.5 for size in (height, width)
    )
    return rows, columns
    ### END SOLUTION


output_grid = check("11.1", output_grid)

# %%
# NBVAL_CHECK_OUTPUT
print(output_grid(2, 2, 2)[0], output_grid(2, 2, 2.5)[0])

# %% [markdown]
# Stuck? `hint("11.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("11.1")

# %% [markdown]
# With positions, interpolation is two matrix products, one for the rows and one for the columns
# (notebook 02). This one takes any positions.


# %%
def bicubic_matrix(positions, size):
    """Cubic interpolation of `size` pixels at some positions, as a matrix (positions, size)."""
    taps = np.floor(positions)[:, None] + np.arange(-1, 3)  # four neighbours
    weights = KERNELS["bicubic"].function(positions[:, None] - taps)
    matrix = np.zeros((len(positions), size))
    index = taps.astype(int).clip(0, size - 1)  # beyond the border, the border pixel
    np.add.at(matrix, (np.arange(len(positions))[:, None], index), weights)
    return torch.from_numpy(matrix)


def interpolate(lr, rows, columns):
    """Bicubic interpolation of (N, C, h, w) at rows (Q,) and columns (R,): (N, C, Q, R)."""
    by_rows = bicubic_matrix(rows, lr.shape[-2]).to(lr.device, lr.dtype)
    by_columns = bicubic_matrix(columns, lr.shape[-1]).to(lr.device, lr.dtype)
    return by_rows @ lr @ by_columns.mT


picture = to_float(lr)
for scale in (2, 3.4, 7.1):
    mine = interpolate(picture, *output_grid(*lr.shape[:2], scale))
    off = 255 * (mine - imresize(picture, scale)).abs().max()
    print(f"scale {scale}: largest difference to imresize {off:.5f} grey levels")

# %% [markdown]
# How do you find a shift in a program that somebody else wrote? Give it a picture whose pixels hold
# their own position. Interpolation has to return the position it was asked for.

# %%
ramp = torch.arange(20.0).expand(1, 1, 20, 20)  # each pixel holds its column
asked = output_grid(20, 20, 2.5)[1]
answered = interpolate(ramp, *output_grid(20, 20, 2.5))[0, 0, 0].numpy()
inside = slice(6, -6)  # the ramp ends at the border
print(f"largest difference inside: {np.abs(asked - answered)[inside].max():.6f} LR pixels")

# %% [markdown]
# Now the mistakes that are made. Photographs are shrunk by s and interpolated back, at wrong
# positions: without the half pixels, with the corner pixels' centres on each other, and with a step
# that was computed from the rounded sizes.
#
# *Predict:* how many decibels do they cost? Which one does a test at x2, x3 and x4 not find?

# %% tags=["folded", "experiment"]
# @title Photographs to train on, crops of others to score
scales, curve = (2, 3, 4), (1.25, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8)
tasks = {scale: SmallTask(scale) for scale in scales}
device = tasks[4].device
crops = [pair.hr for pair in tasks[4].test_pairs]


def psnr_at(enlarge, scale):
    """Mean PSNR in dB over the crops, each shrunk by the scale; see `enlarge(lr, scale)`."""
    values = []
    for hr in crops:
        sr = enlarge(imresize(hr, 1 / scale), scale)[: hr.shape[0], : hr.shape[1]]
        values.append(score(sr, hr, scale)[0])
    return float(np.mean(values))


def psnr_by_scale(network):
    """PSNR in dB at each scale of the curve."""
    return {f"x{scale:g}": psnr_at(network.enlarge, scale) for scale in curve}


# %% tags=["folded"]
# @title Four sets of places
GRIDS = {
    "right": lambda size, count, s: (np.arange(count) + 0.5) / s - 0.5,
    "half pixel forgotten": lambda size, count, s: np.arange(count) / s,
    "corners on corners": lambda size, count, s: np.linspace(0, size - 1, count),
    "step from rounded sizes": lambda size, count, s: (np.arange(count) + 0.5) * size / count - 0.5,
}
fractions = (1.3, 1.7, 2, 2.3, 2.7, 3, 3.4, 3.7, 4)


def at_grid(grid):
    """Make a function that interpolates at one of the grids."""

    def enlarge(lr, scale):
        places = (GRIDS[grid](*sizes, scale) for sizes in zip(lr.shape[:2], crops[0].shape[:2]))
        return to_uint8(interpolate(to_float(lr), *places))

    return enlarge


# %% tags=["folded"]
# @title Draw what wrong places cost
grid_psnr = {grid: [psnr_at(at_grid(grid), scale) for scale in fractions] for grid in GRIDS}
figure, axes = plt.subplots(figsize=(9, 3.6))
for (grid, values), marker in zip(grid_psnr.items(), "osD^"):
    axes.plot(fractions, values, marker=marker, label=grid)
axes.set(xlabel="scale", ylabel="PSNR (dB)", title="Bicubic interpolation at four sets of places")
axes.legend()
show(
    figure,
    "PSNR against scale. The right grid lies highest; without the half pixel several decibels are "
    "lost, and the step from rounded sizes loses at some scales and nothing at 2, 3 and 4.",
)
pd.DataFrame(grid_psnr, index=[f"x{scale}" for scale in fractions]).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Forgetting the half pixel costs decibels at each scale. The last mistake is the quiet one. The LR
# image has a whole number of pixels, so `ceil(size / s)` is a little more than `size / s`, and
# whoever divides the sizes again gets another step. At scales that divide the side it is right.
#
# </details>
#
# In this notebook: `lr = imresize(hr, 1 / s)`, the step is exactly 1 / s, and what the enlargement
# has more than the original at the right and at the bottom is cut off. Other programs define the
# scale by the two sizes. Both are fine; mixing them is not.

# %% [markdown]
# ## 2. One network for three scales
#
# What a network learns of edges and textures hardly depends on the scale. So let three scales
# share the **encoder**, all that works at low resolution, and give each its own **tail**, the
# last convolution. MDSR did this: in its small form 3.2 million parameters take the place of three
# networks of 1.5 million each (Lim et al., 2017).

# %% tags=["experiment"]
channels, num_blocks, hidden = 16, 4, 32


class Encoder(nn.Module):
    """Features of an LR image: (N, 3, h, w) -> (N, C, h, w)."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        blocks = [ResidualBlock(channels, scaling=0.3) for _ in range(num_blocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, lr):
        features = self.head(lr)
        return features + self.body(features)


# %% tags=["experiment"]
class MultiScale(nn.Module):
    """One encoder, or one for each scale; and a tail for each, which adds to the bicubic image."""

    def __init__(self, shared=True):
        super().__init__()
        self.encoders = nn.ModuleList(Encoder() for _ in (scales[:1] if shared else scales))
        self.tails = nn.ModuleList(PixelShuffleBlock(channels, 3, scale) for scale in scales)
        self.bicubic = nn.ModuleList(BicubicUpsample(scale) for scale in scales)
        for tail in self.tails:
            nn.init.zeros_(tail.conv.weight)  # untrained it is bicubic

    def forward(self, batch):
        lr, scale = batch
        k = scales.index(scale)
        features = self.encoders[k % len(self.encoders)](lr)
        return self.bicubic[k](lr) + self.tails[k](features)

    @torch.inference_mode()
    def enlarge(self, image, scale):
        """Enlarge uint8 by the next larger scale that it knows, or by 4, then resize."""
        known = min((s for s in scales if s >= scale), default=max(scales))
        sr = to_uint8(self((to_float(image).to(device), known)))
        return imresize(sr, scale / known)


# %% [markdown]
# Its opponents are three **separate** networks: `MultiScale(shared=False)`, with an encoder for
# each scale. Both take batches of the scales in turn. So both do the same number of steps, and each
# separate encoder gets a third of them.
#
# Above all, each must get a **learning rate** that suits it. A rate that was tuned for one of two
# networks decides a comparison before it begins. The long run tries five rates for each kind, from
# the first seed, and trains the best one from two more seeds. Gradients are clipped (notebook 09):
# near the highest rate that works, one unlucky batch can throw a network back for good.
#
# *Predict:* at an equal number of steps, do the separate networks win, with more than twice the
# weights? Or does the shared one?


# %% tags=["folded", "experiment"]
# @title Batches of the three scales in turn
class ScalesInTurn:
    """Return ((lr, scale), hr): the next scale for each batch; a sampler for `train`."""

    def __init__(self, seed):
        self.samplers, self.turn = [tasks[scale].sampler(seed) for scale in scales], 0
        last = self.samplers[-1]
        for name in "scale batch_size lr_patch_size augment device hr_pixels content seed".split():
            setattr(self, name, getattr(last, name))

    def sample(self, process=0, processes=1):
        k = self.turn % len(scales)
        self.turn += 1
        lr, hr = self.samplers[k].sample()
        return (lr, scales[k]), hr

    def state_dict(self):
        return {"turn": self.turn, "samplers": [s.state_dict() for s in self.samplers]}

    def load_state_dict(self, state):
        self.turn = state["turn"]
        for sampler, own in zip(self.samplers, state["samplers"]):
            sampler.load_state_dict(own)


# %% tags=["experiment"]
multi_runs = compare_trainings(
    "11_scales",
    {"shared": MultiScale, "separate": lambda: MultiScale(shared=False)},
    ScalesInTurn,
    TrainConfig(steps=steps, clip_norm=0.1),
    psnr_by_scale,
    seeds=seeds,
    rates=rates,
)


# %% tags=["folded"]
# @title A verdict from several seeds
def verdict(first, second, better, worse):
    """Say who is ahead, by scores of the same seeds: only if all seeds agree."""
    ahead = np.asarray(first) - np.asarray(second)
    low, mean, high = ahead.min(), ahead.mean(), ahead.max()
    who = better if low > 0 else worse if high < 0 else "undecided, the seeds disagree"
    return f"{mean:+.2f} dB ({low:+.2f} to {high:+.2f}): {who}"


def tried(run):
    """Scores in dB of all rates, from the first seed."""
    return pd.DataFrame(run.record["tried"]).T.rename(columns="rate {}".format).round(2)


# %% tags=["folded"]
# @title Draw the long run, each kind at its best rate
multi_long = long_run("11_scales")
bicubic_db = {scale: psnr_at(imresize, scale) for scale in curve}
middle_db = np.mean(list(bicubic_db.values()))
show(
    plot_trainings(multi_runs, multi_long, baselines={"bicubic": middle_db}),
    "Mean PSNR of ten scales against the step, for the shared and the separate networks, here "
    "and in the long run. Both start at bicubic interpolation.",
)
tried(multi_long)


# %% tags=["folded"]
# @title Scale by scale
def at_scale(run, candidate, scale):
    """Scores of a candidate at a scale, one for each seed, in the order of the seeds."""
    rows = run.parts[run.parts["candidate"] == candidate]
    rows = rows[rows["part"] == f"x{scale:g}"].sort_values("seed")
    return rows["psnr_db"].to_numpy()


weights = {kind: sum(p.numel() for p in MultiScale(kind == "shared").parameters())
           for kind in ("shared", "separate")}  # fmt: skip
print(f"{multi_long.summary()}; weights: {weights}")
for scale in scales:
    shared, separate = (at_scale(multi_long, kind, scale) for kind in weights)
    print(f"x{scale}, shared minus separate:", verdict(shared, separate, "shared", "separate"))
for part, when in ((0.5, "half-way"), (1.0, "at the end")):
    lead = multi_long.scores(part).loc["shared"] - multi_long.scores(part).loc["separate"]
    print(f"mean of ten scales, {when}: shared is {lead.mean():+.2f} dB ahead")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The shared one, at every scale and from every seed, with less than half of the weights. An edge is
# an edge at any scale, so what the encoder learns at x2 serves it at x4. And each batch trains it,
# while a separate encoder gets one batch of three.
#
# </details>
#
# The lead was larger half-way than at the end. So sharing saves training, above all. Where the
# separate networks would end with all the time in the world, this run cannot say.

# %% [markdown]
# ## 3. A network that is asked
#
# Three tails are three scales. For all scales there is another way to think of an image: as a
# function of continuous coordinates. The network is asked for the colour at a place, and how many
# places one asks about is up to the asker. This is a **local implicit image function** (LIIF, Chen,
# Liu and Wang, 2021):
#
# - the encoder gives every LR pixel a **code**, a vector of features;
# - a small network, the **decoder**, takes the code of a pixel nearby, the **offset** from that
#   pixel to the place, and the **cell**: how wide the wanted pixel is, in LR pixels, so 1 / s;
# - it returns what is to be added to the bicubic image at that place.
#
# Without the cell it could only give the colour of a point. A pixel is a mean over its square, and
# at scale 1.5 that square is larger than at 4.
#
# If only the nearest LR pixel were asked, the picture would jump where the nearest one changes. So
# four neighbours are asked, and their answers are averaged with the weights of bilinear
# interpolation: the **local ensemble**. It costs four questions for each pixel.


# %% tags=["folded", "experiment"]
# @title The two LR pixels around a place
def neighbours(positions, size):
    """Give the two LR pixels around each position: (index, offset, weight), thrice (Q,), twice."""
    result = []
    for whole in (np.floor(positions), np.floor(positions) + 1):
        index = whole.clip(0, size - 1)  # beyond the border, the border pixel
        result.append((index.astype(int), positions - index, 1 - np.abs(positions - whole)))
    return result


# %% tags=["experiment"]
class AnyScale(nn.Module):
    """A local implicit decoder on the encoder of section 2."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.code = nn.Conv2d(channels, hidden, 3, padding=1)
        self.wave = nn.Linear(3, hidden)  # of two offsets and the cell
        nn.init.normal_(self.wave.weight, std=2.0)
        self.mlp = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3))
        self.linear = nn.Linear(hidden, 3)
        for last in (self.mlp[-1], self.linear):
            nn.init.zeros_(last.weight)  # untrained it is bicubic
            nn.init.zeros_(last.bias)

    def encode(self, lr):
        """(N, 3, h, w) -> codes (N, h, w, hidden)."""
        return self.code(self.encoder(lr)).permute(0, 2, 3, 1)

    def forward(self, batch):
        lr, *question = batch
        return self.decode(self.encode(lr), lr, *question)


# %% tags=["experiment"]
def decode(self, codes, lr, rows, columns, cell):
    """Ask at rows (Q,) and columns (R,), in LR pixels: (N, 3, Q, R)."""
    total = 0
    pairs = itertools.product(neighbours(rows, lr.shape[-2]), neighbours(columns, lr.shape[-1]))
    for (row, down, weight), (column, right, other_weight) in pairs:
        where = np.stack(np.broadcast_arrays(down[:, None], right, cell), axis=-1)  # (Q, R, 3)
        wave = torch.cos(self.wave(torch.from_numpy(where).to(codes)))  # (Q, R, hidden)
        features = codes[:, row[:, None], column] * wave  # (N, Q, R, hidden)
        answer = self.linear(features) + self.mlp(features)  # (N, Q, R, 3)
        share = torch.from_numpy(weight[:, None] * other_weight).to(codes)  # (Q, R)
        total = total + answer * share[..., None]
    return interpolate(lr, rows, columns) + total.permute(0, 3, 1, 2)


# %% [markdown]
# LIIF puts code and coordinates side by side into a deeper network and trains it for a thousand
# epochs. Here two things are different. The code is **multiplied** by waves of the coordinates, an
# idea of LTE (Lee and Jin, 2022): for a fixed place this is a filter of the features, as in a
# sub-pixel convolution. And there is a linear path beside the small network. LIIF feeds the decoder
# with the 3 x 3 codes around a pixel; the convolution `code` does the same and is computed once for
# an LR pixel, not once for a question.
#
# To enlarge an image, encode it once. Then ask in portions, a few rows at a time, and memory does
# not grow with the scale.
#
# For each batch a scale is drawn between 1 and 4, and HR patches are shrunk by it. Notebook 08
# shows that shrinking a patch is wrong at its border, so three rings of LR pixels are thrown away,
# and the questions keep four more LR pixels away from the edge.


# %% tags=["folded", "experiment"]
# @title Enlarge by any scale, in portions
@torch.inference_mode()
def render(self, image, scale, cell=None, rows_at_a_time=64):
    """Enlarge uint8 (h, w, 3) by any scale: uint8 (ceil(h * scale), ceil(w * scale), 3)."""
    lr = to_float(image).to(device)
    rows, columns = output_grid(*image.shape[:2], scale)
    codes = self.encode(lr)
    portions = (rows[k : k + rows_at_a_time] for k in range(0, len(rows), rows_at_a_time))
    parts = [self.decode(codes, lr, part, columns, cell or 1 / scale) for part in portions]
    return to_uint8(torch.cat(parts, dim=2))


AnyScale.decode, AnyScale.enlarge = decode, render


# %% tags=["folded", "experiment"]
# @title Batches of a random scale
class AnyScaleBatches(PatchSampler):
    """Return ((lr, rows, columns, cell), hr) for a random scale; a sampler for `train`."""

    window, ring, margin, largest = 24, 3, 4, 4.0  # the window in HR, ring and margin in LR pixels

    def __init__(self, seed):
        originals = [Pair(name, hr, hr) for name, _, hr in tasks[4].train_pairs]
        side = self.side(self.largest)
        super().__init__(originals, 1, lr_patch_size=side, batch_size=8, seed=seed, device=device)
        self.random = np.random.default_rng(seed)

    def side(self, scale):
        return math.ceil(self.window + 2 * (self.ring + self.margin) * scale)

    def sample(self, process=0, processes=1):
        scale, ring = self.random.uniform(1, self.largest), self.ring
        hr = super().sample()[1][..., : self.side(scale), : self.side(scale)]
        lr = (imresize(hr, 1 / scale) * 255).round().clamp(0, 255) / 255  # 8 bits, as a file has
        rows, columns = output_grid(*lr.shape[-2:], scale)
        first = round((ring + self.margin) * scale)
        seen = slice(first, first + self.window)
        lr = lr[..., ring:-ring, ring:-ring]
        return (lr, rows[seen] - ring, columns[seen] - ring, 1 / scale), hr[..., seen, seen]


# %% tags=["folded", "experiment"]
# @title So that a long training can be stopped and go on
def state_of(self):
    """What a training needs to go on."""
    return {"patches": PatchSampler.state_dict(self), "random": self.random.bit_generator.state}


def set_state(self, state):
    """Go on where the sampler of this state stopped."""
    PatchSampler.load_state_dict(self, state["patches"])
    self.random.bit_generator.state = state["random"]


AnyScaleBatches.state_dict, AnyScaleBatches.load_state_dict = state_of, set_state

# %% tags=["folded", "experiment"]
# @title Train it
any_runs = compare_trainings(
    "11_implicit",
    {"implicit": AnyScale},
    AnyScaleBatches,
    TrainConfig(steps=steps, clip_norm=0.1),
    psnr_by_scale,
    seeds=seeds,
    rates=rates,
    keep=["implicit"],
)

# %% tags=["folded"]
# @title The implicit network of the long run
any_long = long_run("11_implicit")
implicit = any_long.load("implicit", AnyScale()).to(device)  # of the first seed
whole, portions = (implicit.enlarge(lr, 3.4, rows_at_a_time=n) for n in (10**6, 16))
print(f"asked at once and 16 rows at a time: {(whole != portions).sum()} samples differ")
weights["implicit"] = sum(p.numel() for p in implicit.parameters())
print(f"{weights['implicit']:,} weights; {any_long.summary()}")
tried(any_long)

# %% [markdown]
# ## 4. At equal budgets
#
# Now the two answers to "any scale" meet: the implicit network, and the shared network with a
# resize, enlarging by the next larger scale that it knows. Both have the same encoder and about as
# many weights. Both did the same number of steps, each with about as many HR pixels, and each has
# its best of five rates. No network was trained on the photographs of the test. (The rates were
# chosen by the same test scores, for both networks alike. That flatters both.)
#
# A third curve is the rival of the opening: the shipped network for x4 and a resize. It is a
# larger network and trained for hours, so it shows what is possible, not what is fair.
#
# *Predict:* what does the implicit network do at 6, beyond its training? And at 1.25? Who is ahead
# at x4, for which the shared network has a tail of its own?

# %% tags=["folded"]
# @title Draw both trainings
parts = {
    name: [pd.concat([getattr(run, part) for run in runs]) for part in ("curves", "parts")]
    for name, runs in (("now", (any_runs, multi_runs)), ("long", (any_long, multi_long)))
}
both_now, both_long = (Trainings("11", *parts[name][:1], parts=parts[name][1]) for name in parts)
show(
    plot_trainings(both_now, both_long, baselines={"bicubic": middle_db}),
    "Mean PSNR of ten scales against the step for the implicit, the shared and the separate "
    "networks, here and in the long run.",
)
seconds = both_long.curves.groupby(["candidate", "seed"])["seconds"].max().groupby("candidate")
print("seconds of a training, on cores shared with others:", seconds.mean().round().to_dict())


# %% tags=["folded"]
# @title Draw the gain at each scale
def shipped_resized(lr, scale):
    """Enlarge by 4 with the shipped network, then resize."""
    return imresize(upscale(small_x4, lr), scale / 4)


def held(lr, scale):
    """Ask with a cell that is never smaller than in training."""
    return implicit.enlarge(lr, scale, cell=max(1 / scale, 0.25))


gains = {
    kind: np.array([at_scale(both_long, kind, s) - bicubic_db[s] for s in curve])
    for kind in ("implicit", "shared")
}  # (scales, seeds)
gains["the rival: shipped x4"] = np.array(
    [[psnr_at(shipped_resized, s) - bicubic_db[s]] for s in curve]
)

# %% tags=["folded"]
# @title The figure
figure, axes = plt.subplots(figsize=(9, 4.2))
labels = {"shared": "shared, resized"}
for (name, values), style in zip(gains.items(), ("o-", "s--", "^:")):
    (line,) = axes.plot(curve, values.mean(1), style, label=labels.get(name, name))
    axes.fill_between(curve, values.min(1), values.max(1), color=line.get_color(), alpha=0.2)
axes.axhline(0, color="black", linewidth=1, label="bicubic")
axes.axvspan(1, 4, color="grey", alpha=0.12, label="trained scales")
axes.set(xlabel="scale", ylabel="PSNR over bicubic (dB)", xlim=(1, 8.2))
axes.set_title("Long run: mean and range of three seeds; three photographs")
figure.legend(loc="outside right upper")
show(
    figure,
    "Gain over bicubic against the scale from 1.25 to 8, for the implicit network, the shared "
    "network with resizing, and the shipped network with resizing. A grey band marks the trained "
    "scales.",
)
rows = {}
for k, s in enumerate(curve):
    result = verdict(gains["implicit"][k], gains["shared"][k], "implicit", "shared")
    rows[f"x{s:g}"] = [*(values[k].mean() for values in gains.values()), result]
pd.DataFrame(rows, index=[*gains, "implicit minus shared"]).T

# %% tags=["folded"]
# @title The verdict
for who, sign in (("implicit", 1), ("shared", -1)):
    won = [s for k, s in enumerate(curve)
           if (sign * (gains["implicit"][k] - gains["shared"][k]) > 0).all()]  # fmt: skip
    print(f"{who} is ahead with each seed at:", ", ".join(f"x{s:g}" for s in won) or "no scale")
rival = gains["the rival: shipped x4"][:, 0]
for who in ("implicit", "shared"):
    beaten = [f"x{s:g}" for k, s in enumerate(curve) if gains[who][k].min() > rival[k]]
    print(f"{who} beats the rival with each seed at:", ", ".join(beaten) or "no scale")
beyond = [s for s in curve if s > 4]
change = np.mean([psnr_at(held, s) - psnr_at(implicit.enlarge, s) for s in beyond])
print(f"implicit beyond x4, with the cell held at 1/4: {change:+.3f} dB on average")
same = np.mean([score(implicit.enlarge(hr, 1.0), hr, 1)[0] for hr in crops])
print(f"at x1 bicubic returns the picture itself; implicit: {same:.1f} dB, so it can lose")

# %% [markdown]
# <details><summary>What happened</summary>
#
# They lie close together, and who is ahead depends on the scale. The implicit network is at 1.25
# and 2.5, two of the scales where the shared one takes a detour. The shared one is at 2 and 4,
# where it has tails of its own, and beyond 4. Cells that the implicit one never saw are not the
# reason: held at 1/4, which is the line before the last, it gains next to nothing. And it is behind
# at 4 already. At the other scales the seeds disagree. The rival is larger and was trained for
# hours, and that counts for more than either idea.
#
# </details>
#
# So a network for fixed scales and a resize are hard to beat by score. What speaks for the implicit
# decoder is that it answers for any place: for scales that differ by axis, for a grid that is bent.
#
# ### Turn the scale
#
# A part of a photograph is shrunk by the scale and enlarged again. Slide slowly from 1 to 8: what
# disappears first? From where on do the two enlargements look alike?


# %% tags=["folded"]
# @title A slider for the scale
def from_one_to_eight(image, scale, across, down):
    """Draw the original, bicubic and implicit, side by side; each pixel three times as large."""
    side = min(96, *image.shape[:2])
    top, left = round(down * (image.shape[0] - side)), round(across * (image.shape[1] - side))
    hr = image[top : top + side, left : left + side]
    lr = imresize(hr, 1 / scale)
    sr, bicubic = (f(lr, scale)[:side, :side] for f in (implicit.enlarge, imresize))
    errors = [np.mean((picture - hr.astype(float)) ** 2) for picture in (bicubic, sr)]
    scores = ["exact" if not e else f"{10 * np.log10(255**2 / e):.2f} dB" for e in errors]
    caption = f"original | bicubic, {scores[0]} | implicit, {scores[1]} (RGB)\n"
    caption += f"{lr.shape[1]} x {lr.shape[0]} pixels times {scale:g}"
    return np.hstack([hr, bicubic, sr]).repeat(3, axis=0).repeat(3, axis=1), caption


# %% tags=["folded"]
# @title The slider itself
fraction = {"min": 0, "max": 1, "step": 0.01}
scale_slider = Explorer(
    from_one_to_eight,
    photo=PhotoPicker("chelsea", names=sample_names("test")),
    scale=ipywidgets.FloatSlider(3.4, min=1, max=8, step=0.1, description="scale"),
    across=ipywidgets.FloatSlider(0.45, **fraction, description="part, across"),
    down=ipywidgets.FloatSlider(0.4, **fraction, description="part, down"),
)
scale_slider

# %% tags=["folded"]
# @title The same for print
pictures = {}
for scale in (2, 4, 8):
    picture, caption = from_one_to_eight(sample_image("chelsea"), scale, 0.45, 0.4)
    pictures[caption] = picture
figure, panels = plt.subplots(3, 1, figsize=(8, 9))
for axes, (caption, picture) in zip(panels, pictures.items()):
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_title(caption, fontsize=10)
show(
    figure,
    "A cat's eye three times: the original, bicubic and implicit. At 2 the implicit one is a "
    "little sharper, at 4 its edges are straighter, at 8 both are blurred blobs.",
)

# %% [markdown]
# ## 5. Tiles without a seam
#
# Now the size. What a network needs in memory grows with the image: for a photograph of 24
# megapixels, 32 channels of 4 bytes are 3 GB, for a single layer. So it is cut into **tiles**. A
# tile's pixels near its edge need neighbours from the next tile. So the network is given a larger
# **window**, the tile and a **halo** around it, and the halo's output is thrown away.
#
# ### Exercise 11.2
#
# Cut one side of an image into tiles. For each give `start` and `stop` of the tile and `first` and
# `last` of the window, all counted from the image's start, ends exclusive as in a slice. The last
# tile may be shorter. At the image's border there is no halo: the network pads there, exactly
# as it would without tiles.


# %%
def tile_spans(size, tile, halo):
    """Return a list of (start, stop, first, last), one for each tile of a side of `size` pixels."""
    ### BEGIN SOLUTION
    spans = []
    for start in range(0, size, tile):
        stop = min(start + tile, size)
        spans.append((start, stop, max(0, start - halo), min(size, stop + halo)))
    return spans
    ### END SOLUTION


tile_spans = check("11.2", tile_spans)

# %%
# NBVAL_CHECK_OUTPUT
tile_spans(100, 40, 8)


# %%
@torch.inference_mode()
def in_tiles(network, lr, tile, halo):
    """Enlarge (1, 3, h, w) tile by tile: (1, 3, s * h, s * w)."""
    scale = network.scale
    result = lr.new_empty(1, 3, scale * lr.shape[-2], scale * lr.shape[-1])
    spans = (tile_spans(size, tile, halo) for size in lr.shape[-2:])
    for (top, bottom, up, low), (left, right, near, far) in itertools.product(*spans):
        sr = network(lr[..., up:low, near:far])
        sr = sr[..., scale * (top - up) :, scale * (left - near) :]  # without the halo
        sr = sr[..., : scale * (bottom - top), : scale * (right - left)]
        result[..., scale * top : scale * bottom, scale * left : scale * right] = sr
    return result


# %% [markdown]
# How wide must the halo be? `receptive_field` measures how far the network sees. By hand: every
# 3 x 3 convolution sees one pixel farther. The small network has one at the start, two in each of 8
# residual blocks and one after them, which makes 18; the two deconvolutions, which work on finer
# pixels, add one more.
#
# *Predict:* the smallest halo that leaves no trace in an 8-bit picture: the same number, or less?


# %% tags=["folded"]
# @title Widen the halo step by step
def middle(image, side):
    """Cut the square in the middle out of an image; a smaller image stays as it is."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


radius, _ = receptive_field(small_x4)
brick = to_float(middle(sample_image("brick"), 96))
with torch.inference_mode():
    untiled = small_x4(brick)
halos = range(radius + 2)
largest, differing, seams = [], [], None
for halo in tqdm(halos, desc="halo", unit="picture"):
    tiled = in_tiles(small_x4, brick, 48, halo)
    difference = 255 * (tiled - untiled).abs()  # grey levels
    seams = difference if seams is None else seams  # with no halo
    largest.append(difference.max().item())
    differing.append(int((to_uint8(tiled) != to_uint8(untiled)).sum()))
no_trace = 1 + max((h for h in halos if differing[h]), default=-1)  # from here on

# %% tags=["folded"]
# @title Draw it
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1, 1.5))
drawn = left.imshow(seams[0].mean(0).cpu(), cmap="magma", vmax=4)
figure.colorbar(drawn, ax=left, label="grey levels", extend="max", shrink=0.8)
left.set(title="Halo 0: difference", xlabel="column (HR pixels)", ylabel="row (HR pixels)")
left.grid(False)
right.semilogy(halos, np.maximum(largest, 1e-6), "o-", label="largest difference (grey levels)")
counts = np.where(np.array(differing) > 0, differing, np.nan)
right.semilogy(halos, counts, "s-", label="8-bit samples that differ (ends at the last one)")
right.axhline(0.5, color="grey", linestyle=":", label="half a grey level")
right.axvline(radius, color="black", linestyle="--", label=f"receptive field: {radius}")
right.axvline(no_trace, color="C2", linestyle="--", label=f"none differs from {no_trace} on")
right.set(xlabel="halo (LR pixels)", xticks=range(0, radius + 2, 4))
right.set_title("The wider, the less (less than 1e-6 is drawn as 1e-6)", fontsize=10)
right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=9, ncols=2)
show(
    figure,
    "Left: a cross of bright lines where four tiles meet. Right: the largest difference and the "
    "number of differing samples fall with the halo, on a logarithmic axis.",
)

# %% tags=["folded"]
# @title The numbers
print(f"receptive field: {radius} LR pixels; no 8-bit sample differs from a halo of {no_trace} on")
print(f"at halo {no_trace} {largest[no_trace]:.1e} grey levels are left, ", end="")
print(f"at {radius - 1} {largest[radius - 1]:.1e}, at {radius} {largest[radius]:.1e}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Less. The field by formula is the farthest that anything can come from. Most of what arrives comes
# from much nearer (Luo et al., 2016), and the influence falls by about half for each pixel. So
# an 8-bit picture stops changing before the receptive field is reached. Which halo is enough for
# that depends on the picture and on the weights; the receptive field is always enough.
#
# </details>
#
# What remains at the receptive field is not the halo: a computer adds in another order where the
# input has another size, and floating-point sums then differ in the last bits. Where a value lies
# within that of a rounding step, an 8-bit sample may flip. `upscale(tile=...)` chooses its windows
# so that this does not happen either. Its docstring says where that holds. Here:

# %%
photo = middle(sample_image("coffee"), 160)
one_piece, pieces = upscale(small_x4, photo), upscale(small_x4, photo, tile=64)
print(f"{(one_piece != pieces).sum()} of {pieces.size:,} samples differ between tiled and untiled")

# %% [markdown]
# ## 6. Attention, and what it does to tiles
#
# A convolution mixes its neighbours with weights that were fixed in training. **Attention** makes
# the weights from the picture itself. Each pixel makes three vectors of its features: a *query*, a
# *key* and a *value*. The query is compared with the keys of other pixels, and where they agree the
# value is taken: $\mathrm{softmax}(q\,k^\top / \sqrt{d} + b)\, v$. With the $d$ in the formula
# the sums do not grow with the length of the vectors. The learned $b$ depends on the offset between
# the two pixels; without it attention would not know where anything is.
#
# To compare all pixels with all others costs the square of their number. So SwinIR (Liang et al.,
# 2021) compares them within **windows** of 8 x 8 pixels only. Every other block shifts the windows
# by half their side, or nothing would ever cross their borders.
#
# ### Exercise 11.3: find the bug
#
# First the picture must become windows. Somebody writes:
#
# ```python
# def to_windows(x, side):
#     return x.permute(0, 2, 3, 1).reshape(-1, side * side, x.shape[1])
# ```
#
# The shape is right and nothing fails. A network with it even trains. But what lies in a window?
# Write it right.


# %%
def to_windows(x, side):
    """(N, C, H, W) -> (windows, side * side, C): windows row by row, and so their pixels.

    All windows of the first image come first. H and W are multiples of `side`.
    """
    ### BEGIN SOLUTION
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // side, side, w // side, side)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, c)
    ### END SOLUTION


to_windows = check("11.3", to_windows)

# %%
# NBVAL_CHECK_OUTPUT
numbers = torch.arange(16.0).reshape(1, 1, 4, 4)
print(to_windows(numbers, 2)[..., 0])

# %% [markdown]
# All of window attention, in two classes. `outside` marks the pixels that a shifted window has
# beyond the picture's border. They get a bias of -100, so their weight is practically zero.


# %% tags=["folded", "experiment"]
# @title The way back from windows
def from_windows(windows, side, shape):
    """(windows, side * side, C) -> (N, C, H, W), the way back."""
    n, c, h, w = shape
    x = windows.reshape(n, h // side, w // side, side, side, c)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(shape)


# %% tags=["experiment"]
class Attention(nn.Module):
    """Each pixel of a window takes from all of its pixels: (B, T, C) -> (B, T, C)."""

    def __init__(self, channels, side, heads=2):
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(channels, 3 * channels)  # query, key and value
        self.merge = nn.Linear(channels, channels)
        self.near = nn.Parameter(torch.zeros(heads, (2 * side - 1) ** 2))  # one for each offset
        row, column = torch.arange(side**2) // side, torch.arange(side**2) % side
        down, right = (place[:, None] - place + side - 1 for place in (row, column))
        self.register_buffer("offset", down * (2 * side - 1) + right, persistent=False)  # (T, T)


# %% tags=["experiment"]
def attend(self, x, outside):
    """`outside` (B, T) is 1 where a window reaches beyond the picture."""
    parts = self.ask(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, heads, d)
    query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
    bias = self.near[:, self.offset] - 100 * outside[:, None, None]  # (B, heads, T, T)
    # softmax(query @ key.T / sqrt(d) + bias) @ value
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return self.merge(mixed.transpose(1, 2).flatten(2))


Attention.forward = attend


# %% tags=["experiment"]
class WindowBlock(nn.Module):
    """Attention within windows, then two layers for each pixel: (N, C, H, W) -> the same."""

    def __init__(self, channels, side=8, shift=0):
        super().__init__()
        self.side, self.shift = side, shift
        self.norm, self.attention = nn.LayerNorm(channels), Attention(channels, side)
        wide = 2 * channels
        layers = nn.Linear(channels, wide), nn.GELU(), nn.Linear(wide, channels)
        self.mlp = nn.Sequential(nn.LayerNorm(channels), *layers)

    def forward(self, x):
        (height, width), side, shift = x.shape[-2:], self.side, self.shift
        around = (shift, -(width + shift) % side, shift, -(height + shift) % side)
        outside = F.pad(torch.zeros_like(x[:, :1]), around, value=1.0)
        padded = F.pad(x, around)
        pixels = to_windows(padded, side)
        pixels = pixels + self.attention(self.norm(pixels), to_windows(outside, side)[..., 0])
        pixels = pixels + self.mlp(pixels)
        whole = from_windows(pixels, side, padded.shape)
        return whole[..., shift : shift + height, shift : shift + width]


# %% [markdown]
# **Channel attention** (RCAN, Zhang et al., 2018) asks less: how much of each *channel* is wanted
# in this picture? It looks at the mean of the channel over the whole picture.


# %% tags=["experiment"]
class ChannelBlock(nn.Module):
    """A residual block whose channels are weighed by their means over the whole picture."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        squeeze, excite = nn.Linear(channels, channels // 4), nn.Linear(channels // 4, channels)
        self.gate = nn.Sequential(squeeze, nn.ReLU(), excite, nn.Sigmoid())

    def forward(self, x):
        change = self.second(F.relu(self.first(x)))
        gate = self.gate(change.mean(dim=(2, 3)))  # (N, C)
        return x + change * gate[:, :, None, None]


# %% [markdown]
# Four bodies for the same small network for x4: two blocks of window attention, of which one is
# shifted; a residual block with channel attention; and plain residual blocks, twice. One of them
# has as many **weights** as the window network, eight take about as many **milliseconds**. Papers
# compare at equal weights. Who waits for a picture compares at equal milliseconds.
#
# *Predict:* which is best at equal weights, and which at equal time?


# %% tags=["folded", "experiment"]
# @title A network for x4 around any blocks
class Enlarger(nn.Module):
    """(N, 3, h, w) -> (N, 3, 4 h, 4 w)."""

    scale = 4

    def __init__(self, *blocks):
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*blocks, nn.Conv2d(channels, channels, 3, padding=1))
        self.tail = PixelShuffleBlock(channels, 3, 4)
        self.bicubic = BicubicUpsample(4)
        nn.init.zeros_(self.tail.conv.weight)

    def forward(self, lr):
        features = self.head(lr)
        return self.bicubic(lr) + self.tail(features + self.body(features))


# %% tags=["experiment"]
def plain():
    """A residual block."""
    return ResidualBlock(channels, scaling=0.3)


kinds = {
    "window attention": lambda: Enlarger(WindowBlock(channels), WindowBlock(channels, shift=4)),
    "channel attention": lambda: Enlarger(ChannelBlock(channels)),
    "convolutions, as many weights": lambda: Enlarger(plain()),
    "convolutions, as many ms": lambda: Enlarger(*(plain() for _ in range(8))),
}
attention_runs = compare_trainings(
    "11_attention",
    kinds,
    lambda seed: tasks[4].sampler(seed, lr_patch_size=16, batch_size=4),
    TrainConfig(steps=steps, clip_norm=0.1),
    tasks[4].score,
    seeds=seeds,
    rates=rates,
    keep=list(kinds)[:3],
)

# %% tags=["folded"]
# @title Draw the long run, each kind at its best rate
attention_long = long_run("11_attention")
show(
    plot_trainings(attention_runs, attention_long, baselines={"bicubic": tasks[4].bicubic_db}),
    "PSNR at x4 against the step for window attention, channel attention and two plain stacks of "
    "convolutions, here and in the long run.",
)
tried(attention_long)

# %% tags=["folded"]
# @title What they cost, and the verdict
cost = {kind: [] for kind in kinds}
networks = {kind: make().to(device).eval() for kind, make in kinds.items()}
picture = torch.rand(1, 3, timed_side, timed_side, device=device)
with torch.inference_mode():
    for _, kind in itertools.product(range(12), kinds):  # in turn, so that a pause meets all
        start = time.perf_counter()
        networks[kind](picture).sum().item()  # .item() waits for a GPU
        cost[kind].append(1000 * (time.perf_counter() - start))
rows = {
    kind: {
        "weights": sum(p.numel() for p in networks[kind].parameters()),
        "multiply-adds": attention_long.record["start"][kind]["multiply_adds_per_lr_pixel"],
        "time (1: windows)": min(cost[kind]) / min(cost["window attention"]),
    }
    for kind in kinds
}

# %% tags=["folded"]
# @title The table
table = pd.DataFrame(rows).T
table[["weights", "multiply-adds"]] = table[["weights", "multiply-adds"]].astype(int)
scores = attention_long.scores()
table["long run (dB)"] = scores.mean(axis=1)
print(f"{attention_long.summary()}; multiply-adds for an LR pixel")
for kind, other in itertools.product(list(kinds)[:2], list(kinds)[2:]):
    print(f"{kind} minus {other}:", verdict(scores.loc[kind], scores.loc[other], kind, other))
table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# At equal weights window attention, by a little, and only late: half-way it was still behind, so
# another length might have turned it. At equal time the plain blocks, clearly. Multiply-adds do not
# tell that: the window network has half as many of them as the eight blocks on the patches of the
# training, and fewer on a larger picture, where less is padding. A good part of its time goes into
# moving pixels to windows and back. For channel attention three seeds show no gain.
#
# </details>
#
# Networks with attention lead the tables of PSNR, with hundreds of times the weights and days of
# training. This long run says nothing about them. It says what a small network gets for its
# milliseconds.
#
# ### What a pixel sees
#
# As in notebook 07: the gradient of one output pixel with respect to the LR picture, by the weights
# of the long run. Where it is exactly zero, the pixel is not seen.

# %% tags=["folded"]
# @title Draw what a pixel sees
trained = {kind: attention_long.load(kind, kinds[kind]()) for kind in list(kinds)[:3]}
fur = to_float(imresize(sample_image("chelsea"), 1 / 4)[20:60, 40:80]).requires_grad_()

# %% tags=["folded"]
# @title The three maps
figure, panels = plt.subplots(1, 3, figsize=(11, 4))
for axes, (kind, network) in zip(panels, trained.items()):
    value = network(fur)[0, :, 82, 74].sum()  # of LR pixel (20, 18)
    gradient = torch.autograd.grad(value, fur)[0].abs().sum((0, 1))
    shown = (gradient / gradient.max()).log10()
    shown[shown.isinf()] = torch.nan  # not seen: stays white
    drawn = axes.imshow(shown, vmin=-8, vmax=0)
    axes.plot(18, 20, "+", color="C1", markersize=12, markeredgewidth=2)
    axes.set(title=kind.replace(", ", "\n"), xlabel="LR column", xticks=range(0, 40, 8))
    axes.set(yticks=range(0, 40, 8))
    axes.grid(False)
    print(f"{kind}: {100 * (gradient > 0).float().mean():.0f} % of {gradient.numel()} pixels seen")
panels[0].set_ylabel("LR row")
figure.colorbar(drawn, ax=panels, label="gradient, power of ten", shrink=0.8)
show(
    figure,
    "Three maps of the gradient of one output pixel by 40 x 40 LR pixels. Window attention: a "
    "block of whole windows. Channel attention: a bright middle, and all of the picture faintly. "
    "Convolutions: a small square around the pixel.",
)

# %% [markdown]
# Convolutions see a square around the pixel. Window attention sees whole windows: how far depends
# on where in its window a pixel lies. Channel attention sees everything, because every pixel is
# part of a mean. `receptive_field` says the same in numbers: the radius, and the grid on which an
# input may be shifted.

# %%
for kind, network in trained.items():
    try:
        print(f"{kind}: radius and grid {receptive_field(network)}")
    except ValueError as error:
        print(f"{kind}: {error}")

# %% [markdown]
# *Predict:* each network runs in tiles of 24 LR pixels. With which halos are the tiles exact?

# %% tags=["folded"]
# @title Tiles of networks with attention
brick = to_float(middle(sample_image("brick"), 96))
tile_halos = range(26)
tile_errors = {}
for kind, network in trained.items():
    with torch.inference_mode():
        untiled = network(brick)
    tile_errors[kind] = [
        255 * (in_tiles(network, brick, 24, halo) - untiled).abs().max().item()
        for halo in tile_halos
    ]

# %% tags=["folded"]
# @title Draw them
figure, axes = plt.subplots(figsize=(9, 4))
for (kind, values), style in zip(tile_errors.items(), ("o-", "s-", "^-")):
    axes.semilogy(tile_halos, np.maximum(values, 1e-5), style, label=kind, markersize=5)
axes.axhline(0.5, color="grey", linestyle=":", label="half a grey level")
axes.set(xlabel="halo (LR pixels)", ylabel="largest difference (grey levels)")
axes.set_title("Less than 1e-5 is drawn as 1e-5", fontsize=10)
axes.set_xticks(range(0, 26, 4))
figure.legend(loc="outside lower center", ncols=2)
show(
    figure,
    "Largest difference between tiled and untiled against the halo. Convolutions fall to rounding "
    "at their radius. Window attention falls only at halos of 16 and 24. Channel attention "
    "never falls below a level that does not depend on the halo.",
)
for kind, values in tile_errors.items():
    exact = [str(halo) for halo in tile_halos if values[halo] < 1e-2]
    print(f"{kind}: below a hundredth of a grey level at halos {', '.join(exact) or 'none'}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Convolutions: from their radius on. Window attention: at multiples of 8 that are not below its
# radius. At any other halo a tile begins in the middle of a window, all windows lie elsewhere, and
# it is another network. Channel attention: never. A tile has another mean than the picture, so
# every pixel differs, also far from the seams.
#
# </details>
#
# `upscale(tile=...)` aligns its windows with the grid that `receptive_field` found, and refuses a
# network that has none.
#
# ### Open: attention without a mean over everything
#
# Change `ChannelBlock` so that it can run in exact tiles, and keep its weights. What does that cost
# in decibels? Chu et al. (2022) noticed that it can even gain.
#
# <details><summary>A sample answer</summary>
#
# ```python
# class LocalChannelBlock(ChannelBlock):
#     def forward(self, x):
#         change = self.second(F.relu(self.first(x)))
#         mean = F.avg_pool2d(change, 17, stride=1, padding=8, count_include_pad=False)
#         gate = self.gate(mean.movedim(1, -1)).movedim(-1, 1)  # (N, C, H, W)
#         return x + change * gate
#
# local = Enlarger(LocalChannelBlock(channels)).eval()
# local.load_state_dict(trained["channel attention"].state_dict())
# print(receptive_field(local))
# for network in (trained["channel attention"], local):
#     print(f"{tasks[4].score(network.to(device)):.2f} dB")
# ```
#
# The mean over 17 x 17 pixels around each pixel has the size of the patches in training, so the
# gate meets what it was trained with. The radius is now that of the convolutions plus 8, and
# `upscale(tile=...)` takes it.
#
# </details>

# %% [markdown]
# ## 7. Larger than memory
#
# Tiles bound the memory of the network. The picture itself still has to lie somewhere: a gigapixel
# is 3 GB, in and out of a library that copies it several times as much. So neither source nor
# result may ever be whole in memory.
#
# - The source is a TIFF file in **strips** of 64 rows. Only those are read that a row of tiles and
#   its halo need.
# - The result is a **tiled** TIFF, written as the tiles come, from a generator. A viewer can later
#   read any tile by itself. A classic TIFF ends at 4 GiB, because it counts bytes with 32 bits;
#   **BigTIFF** counts with 64.
#
# The code goes into a file, because memory will be measured in a fresh process. Its folded half
# writes the source and reads rows of it.

# %% tags=["folded"]
# @title A large source, and reading rows of it
MODULE = """
import numpy as np
import tifffile


def write_source(path, photo, side, strip=64):
    # A large picture of a photograph and its mirror images, written strip by strip.
    def mirrored(places, size):
        places = places % (2 * size)
        return np.minimum(places, 2 * size - 1 - places)

    def strips():
        columns = mirrored(np.arange(side), photo.shape[1])
        for top in range(0, side, strip):
            rows = mirrored(np.arange(top, min(top + strip, side)), photo.shape[0])
            yield photo[rows[:, None], columns]

    shape = (side, side, 3)
    tifffile.imwrite(
        path, strips(), shape=shape, dtype="uint8", photometric="rgb", rowsperstrip=strip
    )
"""

# %% tags=["folded"]
# @title Read rows
MODULE += """

def read_rows(tiff, first, last):
    # Rows first to last of an open TIFF file, from the strips that hold them.
    page, parts = tiff.pages[0], []
    for k in range(first // page.rowsperstrip, -(-last // page.rowsperstrip)):
        tiff.filehandle.seek(page.dataoffsets[k])
        strip = page.decode(tiff.filehandle.read(page.databytecounts[k]), k)[0][0]
        top = k * page.rowsperstrip
        parts.append(strip[max(0, first - top) : last - top])
    return np.concatenate(parts)
"""

# %%
MODULE += """

def enlarged_tiles(tiff, row_spans, column_spans, upscaler, scale):
    # Yield the tiles of the result, row by row; spans as in exercise 11.2.
    for start, stop, first, last in row_spans:
        band = read_rows(tiff, first, last)  # (rows, width, 3)
        for left, right, near, far in column_spans:
            sr = upscaler(band[:, near:far])
            rows = slice(scale * (start - first), scale * (stop - first))
            yield sr[rows, scale * (left - near) : scale * (right - near)]
"""

# %%
MODULE += """

def enlarge_file(source, target, row_spans, column_spans, upscaler, scale):
    # From a TIFF in strips to a tiled BigTIFF, in memory for a row of LR tiles.
    height, width = (int(spans[-1][1]) * scale for spans in (row_spans, column_spans))
    tile = [int(spans[0][1]) * scale for spans in (row_spans, column_spans)]
    with tifffile.TiffFile(source) as tiff:
        tifffile.imwrite(
            target,
            enlarged_tiles(tiff, row_spans, column_spans, upscaler, scale),
            shape=(height, width, 3),
            dtype="uint8",
            photometric="rgb",
            tile=tile,
            bigtiff=True,
        )
"""

# %% tags=["folded"]
# @title Write it into a file
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
work = Path(folder.name)
(work / "big_picture.py").write_text(MODULE, encoding="utf-8")
sys.path.insert(0, folder.name)

# %% [markdown]
# TIFF wants the sides of tiles to be multiples of 16. First a small file, to see that it is right:

# %% tags=["folded"]
# @title A small one, against the whole picture
from big_picture import enlarge_file, write_source

side = network_sources[0]
write_source(work / "source.tif", sample_image("coffee"), side)
spans = tile_spans(side, 64, radius)
enlarge_file(
    work / "source.tif", work / "result.tif", spans, spans, lambda lr: upscale(small_x4, lr), 4
)
result = tifffile.imread(work / "result.tif")
expected = upscale(small_x4, tifffile.imread(work / "source.tif"))
off = np.abs(result.astype(int) - expected)
print(f"{result.shape[1]} x {result.shape[0]} pixels from a file of tiles, in one piece the same:")
print(f"{(off > 0).sum()} of {off.size:,} samples differ, the largest by {off.max()}")

# %% [markdown]
# (Here the windows are as large as the halo makes them, so a sample that lies on a rounding step
# may differ by one level; see section 5.)
#
# ### The memory
#
# The operating system remembers the most memory that a process ever held, its **peak resident
# set**: Python, torch and everything else included. It never falls. So a fresh process enlarges
# files in ascending size and prints the peak after each. If the number stays the same, no larger
# file needed more.
#
# Three ways, each in a process of its own: bicubic in tiles, bicubic in one piece, and the network
# in tiles.
#
# *Predict:* how do the three curves run?

# %% tags=["folded"]
# @title The process: imports, and its peak
JOB = """
import json, sys, time
import numpy as np, tifffile
from big_picture import enlarge_file
from srlib.evaluation import upscale
from srlib.models import load_pretrained
from srlib.resample import imresize


def peak_mib():
    if sys.platform == "linux":
        (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        import psutil
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes


job = json.load(sys.stdin)
network = load_pretrained("srresnet_small_x4")
upscaler = (lambda lr: upscale(network, lr)) if job["network"] else (lambda lr: imresize(lr, 4))
upscaler(np.zeros((64, 64, 3), np.uint8))
print(json.dumps([0, peak_mib(), 0]))
"""

# %% tags=["folded"]
# @title The process: files in ascending size
JOB += """
for source, spans in job["files"]:
    start, target = time.perf_counter(), source + ".out.tif"
    if spans is None:
        tifffile.imwrite(target, upscaler(tifffile.imread(source)), photometric="rgb", bigtiff=True)
    else:
        enlarge_file(source, target, spans, spans, upscaler, 4)
    seconds = time.perf_counter() - start
    megapixels = tifffile.TiffFile(target).pages[0].size / 3e6
    print(json.dumps([megapixels, peak_mib(), seconds]))
"""

# %% tags=["folded"]
# @title Run it
import srlib

paths = [folder.name, str(Path(srlib.__path__[0]).parent), os.environ.get("PYTHONPATH", "")]
environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def peaks(sides, halo, with_network=False):
    """Run a process over sources of some sides; rows of megapixels, peak in MiB, seconds."""
    files = []
    for side in sides:
        path = work / f"source_{side}.tif"
        write_source(path, sample_image("coffee"), side)
        spans = () if halo is None else tile_spans(side, 64, halo)
        files.append((str(path), [[int(place) for place in span] for span in spans] or None))
    task = json.dumps({"network": with_network, "files": files})
    command = [sys.executable, "-c", JOB]
    done = subprocess.run(
        command, input=task, env=environment, text=True, capture_output=True, check=True
    )
    return np.array([json.loads(line) for line in done.stdout.splitlines()])


# %% tags=["folded"]
# @title Run it three ways, and draw the peaks
runs = {
    "bicubic, in tiles": peaks(sources, halo=2),
    "bicubic, in one piece": peaks(sources, halo=None),
    "network, in tiles": peaks(network_sources, halo=radius, with_network=True),
}
figure, axes = plt.subplots(figsize=(9, 4.2))
for (name, values), style in zip(runs.items(), ("o-", "s--", "D-")):
    axes.plot(values[1:, 0], values[1:, 1], style, label=name)
start = min(values[0, 1] for values in runs.values())
axes.axhline(start, color="grey", linestyle=":", label="before: Python, torch, a tile of 64 x 64")
axes.set(xlabel="output (megapixels)", ylabel="peak memory (MiB)", xlim=(0, None), ylim=(0, None))
axes.set_title("The most that a process ever held")
figure.legend(loc="outside lower center", ncols=2, fontsize=10)
show(
    figure,
    "Peak memory against the number of output pixels: level for the two that work in tiles, "
    "rising for the one that holds the whole picture.",
)

# %% tags=["folded"]
# @title The numbers
for name, values in runs.items():
    grown = values[-1, 1] - values[1, 1]
    print(f"{name}: {values[1, 0]:.1f} to {values[-1, 0]:.1f} megapixels, {grown:+.0f} MiB")
source_side = math.ceil(1e9**0.5 / 4)
band = (64 + 2 * radius) * source_side * 3 / 2**20
print(
    f"a gigapixel needs {1e9 * 3 / 1e9:.0f} GB on the disk and a band of {band:.1f} MiB to be read"
)
for name in ("bicubic, in tiles", "network, in tiles"):
    per_megapixel = runs[name][-1, 2] / runs[name][-1, 0]
    print(f"{name}: {per_megapixel:.3f} s a megapixel here, {1000 * per_megapixel:.0f} s for 1000")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Level for both that work in tiles, at every size that was measured; rising with the number of
# pixels for the one that holds the picture. The network's line lies higher, by what its features
# take for one tile.
#
# </details>
#
# The band is what is left of the source: it grows with the picture's width, so with the root of
# the number of pixels. A source that is tiled itself would not even need that.

# %% [markdown]
# ## What you saw
#
# - Edges lie on edges, and the step is 1 / s. A ramp shows a shift at once.
# - Scales can share nearly all of a network.
# - An implicit decoder answers for any scale, also beyond its training. A network for fixed scales
#   with a resize is a rival to be reckoned with. Who wins where is decided by equal budgets, a rate
#   for each, and several seeds.
# - A halo as wide as the receptive field makes tiles exact; the influence fades long before.
# - Attention in windows runs in exact tiles if these keep to its grid. A mean over the picture does
#   not, with any halo.
# - Strips in, tiles out: memory for one row of tiles, whatever the picture's size.

# %% tags=["folded"]
# @title The numbers
lost = grid_psnr["half pixel forgotten"][-1] - grid_psnr["right"][-1]
print(f"half a pixel off, at x4: {lost:+.1f} dB for bicubic")
for scale in scales:
    found = {kind: at_scale(both_long, kind, scale).mean() - bicubic_db[scale] for kind in weights}
    text = ", ".join(f"{kind} {gain:+.2f} dB" for kind, gain in found.items())
    print(f"x{scale}, over bicubic, long run: {text}")
print(f"halo: on this picture {no_trace} LR pixels leave no trace in 8 bits, in theory {radius}")
for kind, value in table["long run (dB)"].items():
    print(f"{kind}: {value - tasks[4].bicubic_db:+.2f} dB over bicubic, long run")
grown = runs["bicubic, in tiles"][-1, 1] - runs["bicubic, in tiles"][1, 1]
factor = runs["bicubic, in tiles"][-1, 0] / runs["bicubic, in tiles"][1, 0]
print(f"{factor:.0f} times the pixels in tiles: {grown:+.0f} MiB of peak memory")

# %% [markdown]
# ## Pitfalls
#
# - **Scale or size.** A scale of 2.7 and a pair of sizes are two definitions. Say which one, and
#   use it for shrinking, for positions and for the cell.
# - **Scores at fractional scales** depend on the resize, the cut border and how the sizes were
#   rounded. Numbers of two papers can be compared only where they state all three.
# - **The cell of the training.** A decoder that never saw a small cell answers one with whatever it
#   extrapolates. Test it with the cell held.
# - **Baselines for any scale**: bicubic is an easy one. Resize the output of a fixed network too.
# - **Unequal budgets.** An early version of this notebook gave the implicit network twice the steps
#   and three times the learning rate of its rival, said neither, and declared it the winner.
# - **Blending overlapping tiles** hides seams and makes an image that no network computed. With the
#   right halo there is nothing to hide.
# - **A network that looks at the whole image**, through attention over all pixels, a global mean or
#   instance normalisation, has no finite halo. Its tiles are another image; `upscale` refuses.
# - **Peak memory measured inside Python** misses what libraries take for themselves. The operating
#   system does not. But under Linux `ru_maxrss` of a fresh process starts at the memory of the one
#   that started it, and hides all below; `VmHWM` in `/proc/self/status` does not.
#
# ## Further reading
#
# - Y. Chen, S. Liu, X. Wang, "Learning continuous image representation with local implicit image
#   function", CVPR, 2021. LIIF.
# - X. Hu, H. Mu, X. Zhang, Z. Wang, T. Tan, J. Sun, "Meta-SR: a magnification-arbitrary network for
#   super-resolution", CVPR, 2019. A network predicts the filter for each place and scale.
# - J. Lee, K. H. Jin, "Local texture estimator for implicit representation function", CVPR, 2022.
#   LTE: waves whose amplitudes and frequencies come from the features.
# - B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single image
#   super-resolution", CVPR Workshops, 2017. MDSR, one network for three scales.
# - L. Wang, Y. Wang, Z. Lin, J. Yang, W. An, Y. Guo, "Learning a single network for scale-arbitrary
#   super-resolution", ICCV, 2021. Scales that differ by axis.
# - J. Liang et al., "SwinIR: image restoration using Swin transformer", ICCV Workshops, 2021. The
#   windows are those of Z. Liu et al., "Swin transformer", ICCV, 2021.
# - Y. Zhang et al., "Image super-resolution using very deep residual channel attention networks",
#   ECCV, 2018. RCAN.
# - X. Chu, L. Chen, C. Chen, X. Lu, "Improving image restoration by revisiting global information
#   aggregation", ECCV, 2022. What a mean over patches in training does to whole pictures.
# - W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep
#   convolutional neural networks", NIPS, 2016.
# - G. Parmar, R. Zhang, J.-Y. Zhu, "On aliased resizing and surprising subtleties in GAN
#   evaluation", CVPR, 2022.
# - Aware Systems and the libtiff project, "The BigTIFF file format", 2007. Read and written here by
#   C. Gohlke's `tifffile`.
