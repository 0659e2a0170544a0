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
# scales, a network for any scale, 2.7 included, and pictures that are larger than the memory.
#
# **After this you can**
#
# - say where each output pixel lies in the input, and find a shift of half a pixel;
# - build a network that is asked for a colour at any place, and say what it gains and where;
# - enlarge in tiles without a seam, and explain how wide their overlap has to be.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 5 on a T4 GPU, 3 on an A100.

# %%
import functools
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

# %%
from srlib.assets import sample_image, sample_names
from srlib.data import Pair, PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check
from srlib.figures import show, zoom_grid
from srlib.image import to_float, to_uint8
from srlib.layers import BicubicUpsample, PixelShuffleBlock, ResidualBlock
from srlib.measuring import receptive_field
from srlib.metrics import score
from srlib.models import load_pretrained
from srlib.resample import KERNELS, imresize
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2))
channels = by_profile(ci=8, cpu=16, gpu=32)
num_blocks = by_profile(ci=1, cpu=4, gpu=8)
steps = by_profile(ci=3, cpu=210, gpu=2400)  # section 2, of the network for three scales
hidden = by_profile(ci=8, cpu=32, gpu=64)  # section 3
any_steps = by_profile(ci=3, cpu=400, gpu=5000)
window = by_profile(ci=16, cpu=24, gpu=48)  # HR pixels a side
crop_side = by_profile(ci=96, cpu=144, gpu=192)  # of the photographs that are scored
curve = by_profile(
    ci=(2.5, 6.5),
    cpu=(1.25, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8),
    gpu=(1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8),
)
halo_side = by_profile(ci=48, cpu=96, gpu=192)  # section 5: LR pixels
tiled_side = by_profile(ci=72, cpu=256, gpu=512)
sources = by_profile(  # section 6: LR pixels a side
    ci=(64, 128),
    cpu=(256, 512, 1024, 1536),
    gpu=(256, 512, 1024, 2048),
)
network_sources = by_profile(ci=(64,), cpu=(192, 320, 512), gpu=(192, 320, 512))

# %% [markdown]
# A photograph was shrunk by 3.4. How would you enlarge it by 3.4, with a network for 4 at hand?
# The usual way is to enlarge by 4 and shrink the result to 3.4.
#
# *Predict:* is that better than bicubic interpolation by 3.4? Does it waste anything?

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
small_x4 = load_pretrained("srresnet_small_x4").to(device)
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
# It works, and it makes 16 pixels for every 11.6 that are wanted. Beyond 4 it has nothing to
# offer. Keep it in mind all the same: it is the rival that every network for any scale has to
# beat, and papers often leave it out.

# %% [markdown]
# ## 1. Where is a pixel?
#
# A pixel is a small square. Lay the two pictures over each other, edge on edge, and measure in LR
# pixels: the centre of LR pixel $k$ is to be at $k$. Output pixel $i$ is $1/s$ wide, with $s$ the
# scale, so its centre lies $(i + 0.5)/s$ from the edge.
#
# ### Exercise 11.1
#
# Write the positions of all output pixels. An enlargement has `math.ceil(size * scale)` pixels a
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
# Stuck? Run `from srlib.exercises import hint` and `hint("11.1")`. A wrong answer never stops
# the notebook: `check` hands on the reference.
#
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
inside = slice(6, -6)  # at the border the ramp stops to be one
print(f"largest difference inside: {np.abs(asked - answered)[inside].max():.6f} LR pixels")

# %% [markdown]
# Now the mistakes that are made. Each photograph is shrunk by s and interpolated back, at wrong
# positions.
#
# *Predict:* how many decibels do they cost? Which one grows with the scale?


# %%
def middle(image, side):
    """Cut the square in the middle out of an image; a smaller image stays as it is."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


test_crops = {name: middle(image, crop_side) for name, image in load_images("bundled/test").items()}
WRONG = {
    "right": lambda size, count, s: (np.arange(count) + 0.5) / s - 0.5,
    "half pixel forgotten": lambda size, count, s: np.arange(count) / s,
    "corners on corners": lambda size, count, s: np.linspace(0, size - 1, count),
    "step from rounded sizes": lambda size, count, s: (np.arange(count) + 0.5) * size / count - 0.5,
}


def psnr_of(grid, scale):
    """Mean PSNR of the crops, shrunk and interpolated at the positions of one of the grids."""
    values = []
    for hr in test_crops.values():
        lr = imresize(hr, 1 / scale)
        places = (WRONG[grid](n, m, scale) for n, m in zip(lr.shape[:2], hr.shape[:2]))
        values.append(score(to_uint8(interpolate(to_float(lr), *places)), hr, scale)[0])
    return np.mean(values)


# %%
fractions = (1.3, 1.7, 2, 2.3, 2.7, 3, 3.4, 3.7, 4)
grid_psnr = {grid: [psnr_of(grid, scale) for scale in fractions] for grid in WRONG}
figure, axes = plt.subplots(figsize=(9, 3.6))
for (grid, values), marker in zip(grid_psnr.items(), "osD^"):
    axes.plot(fractions, values, marker=marker, label=grid)
axes.set(xlabel="scale", ylabel="PSNR (dB)", title="Bicubic interpolation at four sets of places")
axes.legend()
show(
    figure,
    "PSNR against scale. The right grid lies highest; without the half pixel several decibels are "
    "lost, and other grids lose at fractional scales.",
)

# %% [markdown]
# The last mistake is the quiet one. The LR image has a whole number of pixels, so
# `ceil(size / s)` is a little more than `size / s`. Whoever divides the sizes again gets another
# step. At scales that divide the side it is right, so a test at 2, 3 and 4 does not find it.
#
# In this notebook: `lr = imresize(hr, 1 / s)`, the step is exactly 1 / s, and what the enlargement
# has more than the original at the right and at the bottom is cut off. Other programs define the
# scale by the two sizes. Both are fine; mixing them is not.

# %% [markdown]
# ## 2. One network for three scales
#
# What a network learns of edges and textures hardly depends on the scale. So let three scales
# share the **encoder**, all that works at low resolution, and give each its own **tail**, the
# last convolution. MDSR (Lim et al., 2017) did this: in its paper 3.2 million parameters take the
# place of three networks of 1.5 million each.


# %%
class Encoder(nn.Module):
    """Features of an LR image: (N, 3, h, w) -> (N, C, h, w)."""

    def __init__(self, channels, num_blocks):
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        blocks = [ResidualBlock(channels, scaling=0.3) for _ in range(num_blocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, lr):
        features = self.head(lr)
        return features + self.body(features)


class MultiScale(nn.Module):
    """One encoder, and a tail for each scale, which adds to the bicubic image."""

    def __init__(self, scales, channels, num_blocks):
        super().__init__()
        self.encoder = Encoder(channels, num_blocks)
        self.tails = nn.ModuleDict({str(s): PixelShuffleBlock(channels, 3, s) for s in scales})
        self.bicubic = nn.ModuleDict({str(s): BicubicUpsample(s) for s in scales})
        for tail in self.tails.values():
            nn.init.zeros_(tail.conv.weight)  # untrained it is bicubic

    def forward(self, lr, scale):
        return self.bicubic[str(scale)](lr) + self.tails[str(scale)](self.encoder(lr))


# %%
def fit(network, draw, steps, learning_rate):
    """Train on batches: `draw(step)` returns the network's arguments and the HR patches."""
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        arguments, hr = draw(step)
        loss = F.l1_loss(network(*arguments), hr)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        plan.step()
    return network.eval()


@torch.inference_mode()
def apply(network, image, scale):
    """Enlarge uint8 (h, w, 3) by one of the scales of a `MultiScale` network."""
    return to_uint8(network(to_float(image).to(device), scale))


# %% [markdown]
# Three contestants, equal in everything but this:
#
# - **separate, a third each**: three networks, which together get as many steps as the shared one;
# - **separate, all steps each**: three networks with three times the work;
# - **shared**: one network, which takes the scales in turn.
#
# *Predict:* which is best at x2? Which at x4?

# %%
scales = (2, 3, 4)
photos = load_images("bundled/train")
train_pairs = {scale: make_pairs(photos, scale) for scale in scales}
test_pairs = {scale: make_pairs(test_crops, scale) for scale in scales}


def batches_of(scales, seed):
    """Return a function that draws batches of the scales in turn."""
    options = {"lr_patch_size": 16, "batch_size": 8, "seed": seed, "device": device}
    samplers = {scale: PatchSampler(train_pairs[scale], scale, **options) for scale in scales}

    def draw(step):
        scale = scales[step % len(scales)]
        lr, hr = samplers[scale].sample()
        return (lr, scale), hr

    return draw


def mean_psnr(enlarge, scale):
    """Mean PSNR over the test crops, of a function `enlarge(lr, scale)`."""
    return np.mean([score(enlarge(p.lr, scale), p.hr, scale)[0] for p in test_pairs[scale]])


# %%
contestants = {
    "separate, a third each": [((scale,), steps // 3) for scale in scales],
    "separate, all steps each": [((scale,), steps) for scale in scales],
    "shared": [(scales, steps)],
}
multi_psnr, sizes, shared = {}, {}, {}  # the first by (contestant, scale): a value for each seed
with tqdm(total=7 * len(seeds), desc="train", unit="network") as bar:
    for seed, (name, plans) in itertools.product(seeds, contestants.items()):
        sizes[name] = 0
        for own_scales, own_steps in plans:
            torch.manual_seed(seed)
            network = MultiScale(own_scales, channels, num_blocks)
            fit(network, batches_of(own_scales, seed), own_steps, learning_rate=1e-3)
            sizes[name] += sum(p.numel() for p in network.parameters())
            for scale in own_scales:
                value = mean_psnr(functools.partial(apply, network), scale)
                multi_psnr.setdefault((name, scale), []).append(value)
            bar.update()
        if name == "shared":
            shared[seed] = network

# %%
bicubic_psnr = {scale: mean_psnr(imresize, scale) for scale in scales}
figure, axes = plt.subplots(figsize=(9, 4.2))
for k, name in enumerate(contestants):
    gains = np.array([multi_psnr[name, s] for s in scales]) - [[bicubic_psnr[s]] for s in scales]
    places = np.arange(len(scales)) + 0.26 * (k - 1)
    spread = [gains.mean(1) - gains.min(1), gains.max(1) - gains.mean(1)]
    label = f"{name} ({sizes[name]:,} parameters)"
    axes.bar(places, gains.mean(1), 0.24, yerr=spread, capsize=4, label=label)
axes.set_xticks(range(len(scales)), [f"x{scale}" for scale in scales])
axes.set(ylabel="PSNR over bicubic (dB)", title=f"Mean and range of {len(seeds)} seeds")
axes.axhline(0, color="black", linewidth=1)
figure.legend(loc="outside lower center", ncols=2, fontsize=10)
show(figure, "Bars for x2, x3 and x4: three separate networks, short and long, and one for all.")

# %%
for rival in list(contestants)[:2]:
    ahead = {
        f"x{s}": np.mean(np.subtract(multi_psnr["shared", s], multi_psnr[rival, s])) for s in scales
    }
    text = ", ".join(f"{scale} {value:+.2f} dB" for scale, value in ahead.items())
    print(f"shared minus {rival!r}: {text}")

# %% [markdown]
# At equal work, every step for one scale trains the encoder for the others too. Compare also with
# the long training: whatever the shared network loses there, it loses to three times the work and
# more parameters. These trainings are short; MDSR and EDSR, trained to the end, differ by a few
# hundredths of a decibel on Set5 in their paper, though there EDSR is the larger one.

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


# %%
def neighbours(positions, size):
    """Give the two LR pixels around each position: (index, offset, weight), thrice (Q,), twice."""
    result = []
    for whole in (np.floor(positions), np.floor(positions) + 1):
        index = whole.clip(0, size - 1)  # beyond the border, the border pixel
        result.append((index.astype(int), positions - index, 1 - np.abs(positions - whole)))
    return result


class AnyScale(nn.Module):
    """A local implicit decoder on the encoder of section 2."""

    def __init__(self, channels, num_blocks, hidden):
        super().__init__()
        self.encoder = Encoder(channels, num_blocks)
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


# %%
def decode(self, codes, lr, rows, columns, cell):
    """Ask at rows (Q,) and columns (R,), in LR pixels: (N, 3, Q, R)."""
    total = 0
    pairs = itertools.product(neighbours(rows, lr.shape[-2]), neighbours(columns, lr.shape[-1]))
    for (row, down, weight), (column, right, other_weight) in pairs:
        where = np.stack(np.broadcast_arrays(down[:, None], right, cell), axis=-1)  # (Q, R, 3)
        where = torch.from_numpy(where).to(codes)
        wave = torch.cos(self.wave(where))  # (Q, R, hidden)
        hidden = codes[:, row[:, None], column] * wave  # (N, Q, R, hidden)
        answer = self.linear(hidden) + self.mlp(hidden)  # (N, Q, R, 3)
        total = (
            total + answer * torch.from_numpy(weight[:, None] * other_weight).to(codes)[..., None]
        )
    return interpolate(lr, rows, columns) + total.permute(0, 3, 1, 2)


AnyScale.decode = decode
AnyScale.forward = lambda self, lr, *question: self.decode(self.encode(lr), lr, *question)

# %% [markdown]
# LIIF puts code and coordinates side by side into a deeper network and trains it for a thousand
# epochs. Here a short training must do, so two things are different. The code is **multiplied** by
# waves of the coordinates, an idea of LTE (Lee and Jin, 2022): for a fixed place this is a filter
# of the features, as in a sub-pixel convolution. And there is a linear path beside the small
# network. LIIF feeds the decoder with the 3 x 3 codes around a pixel; the convolution `code` does
# the same and is computed once for an LR pixel, not once for a question.
#
# ### Batches of a random scale
#
# For each step a scale is drawn between 1 and 4, and HR patches are shrunk by it. Notebook 08 has
# shown that shrinking a patch is wrong at its border, so three rings of LR pixels are thrown away,
# and the questions keep four more LR pixels away from the edge.
#
# The scale is the same for all patches of a batch, so they share their positions.


# %%
def any_scale_batches(seed, batch_size=8, largest=4.0, ring=3, margin=4):
    """Return a function that draws batches of random scales from 1 to `largest`."""
    side = math.ceil(window + 2 * (ring + margin) * largest)
    originals = [
        Pair(name, image, image) for name, image in photos.items() if min(image.shape[:2]) >= side
    ]
    options = {"lr_patch_size": side, "batch_size": batch_size, "seed": seed, "device": device}
    sampler, generator = PatchSampler(originals, 1, **options), np.random.default_rng(seed)

    def draw(step):
        scale = generator.uniform(1, largest)
        needed = math.ceil(window + 2 * (ring + margin) * scale)
        hr = sampler.sample()[1][..., :needed, :needed]
        lr = (imresize(hr, 1 / scale) * 255).round().clamp(0, 255) / 255  # 8 bits, as a file has
        rows, columns = output_grid(*lr.shape[-2:], scale)
        first = round((ring + margin) * scale)
        seen = slice(first, first + window)
        lr = lr[..., ring:-ring, ring:-ring]
        return (lr, rows[seen] - ring, columns[seen] - ring, 1 / scale), hr[..., seen, seen]

    return draw


# %%
implicit = {}
for seed in tqdm(seeds, desc="train", unit="network"):
    torch.manual_seed(seed)
    network = AnyScale(channels, num_blocks, hidden)
    implicit[seed] = fit(network, any_scale_batches(seed), any_steps, learning_rate=3e-3)
print(f"{sum(p.numel() for p in network.parameters()):,} parameters")

# %% [markdown]
# An image is encoded once. Then the questions can be asked in portions, a few rows at a time, and
# memory does not grow with the scale.


# %%
@torch.inference_mode()
def render(network, image, scale, cell=None, rows_at_a_time=64):
    """Enlarge uint8 (h, w, 3) by any scale: uint8 (ceil(h * scale), ceil(w * scale), 3)."""
    lr = to_float(image).to(device)
    rows, columns = output_grid(*image.shape[:2], scale)
    codes = network.encode(lr)
    portions = (rows[k : k + rows_at_a_time] for k in range(0, len(rows), rows_at_a_time))
    parts = [network.decode(codes, lr, part, columns, cell or 1 / scale) for part in portions]
    return to_uint8(torch.cat(parts, dim=2))


first = implicit[seeds[0]]
whole, portions = (render(first, lr, 3.4, rows_at_a_time=n) for n in (10**6, 16))
print(f"asked at once and 16 rows at a time: {(whole != portions).sum()} samples differ")
any_psnr = {
    scale: [mean_psnr(functools.partial(render, implicit[k]), scale) for k in seeds]
    for scale in scales
}
rows = {"bicubic": bicubic_psnr, "implicit": {s: np.mean(v) for s, v in any_psnr.items()}}
rows |= {name: {s: np.mean(multi_psnr[name, s]) for s in scales} for name in contestants}
pd.DataFrame(rows).T.rename(columns=lambda s: f"x{s} (dB)").round(2)

# %% [markdown]
# At 2, 3 and 4 the tails were made for exactly these scales, and the implicit network was not.
# What it has to offer lies between them, and beyond.

# %% [markdown]
# ## 4. Between the scales, and beyond
#
# The trained range ends at 4. Rivals are bicubic interpolation, and the shared network of section
# 2 used as at the top of this notebook: enlarge by the next larger scale that it knows, then
# resize bicubically. It has about as many parameters and the same encoder.
#
# *Predict:* what does the implicit network do at 6? And at 1, where the LR image *is* the original?


# %%
def by_resizing(network, image, scale):
    """Enlarge by the next larger scale of a `MultiScale` network (or by 4), then resize."""
    known = min((s for s in scales if s >= scale), default=max(scales))
    return imresize(apply(network, image, known), scale / known)


def gains_over_bicubic(enlarge, scale):
    """Mean gain in dB over the test crops for each seed; `enlarge(seed, lr)` makes the image."""
    values = []
    for hr in test_crops.values():
        lr, (height, width) = imresize(hr, 1 / scale), hr.shape[:2]
        base = score(imresize(lr, scale)[:height, :width], hr, scale)[0]
        values.append([score(enlarge(k, lr)[:height, :width], hr, scale)[0] - base for k in seeds])
    return np.mean(values, axis=0)


methods = {
    "implicit": lambda s: lambda k, lr: render(implicit[k], lr, s),
    "implicit, cell held at 1/4": lambda s: (
        lambda k, lr: render(implicit[k], lr, s, max(1 / s, 0.25))
    ),
    "shared network, resized": lambda s: lambda k, lr: by_resizing(shared[k], lr, s),
}
gains = {
    name: np.array([gains_over_bicubic(method(s), s) for s in curve])
    for name, method in methods.items()
}  # each (scales, seeds)

# %%
figure, axes = plt.subplots(figsize=(9, 4.2))
for (name, values), style in zip(gains.items(), ("o-", "o:", "s--")):
    (line,) = axes.plot(curve, values.mean(1), style, label=name)
    axes.fill_between(curve, values.min(1), values.max(1), color=line.get_color(), alpha=0.2)
axes.axhline(0, color="black", linewidth=1, label="bicubic")
axes.axvspan(1, 4, color="grey", alpha=0.12)
axes.text(1.05, axes.get_ylim()[1], "scales it was trained on", va="top")
axes.set(xlabel="scale", ylabel="PSNR over bicubic (dB)")
axes.set_title(f"Mean and range of {len(seeds)} seeds, {len(test_crops)} photographs")
axes.legend(loc="upper right")
show(
    figure,
    "Gain over bicubic against the scale from 1.25 to 8, for the implicit network, the same with "
    "the cell held, and the shared network with resizing. A grey band marks the trained scales.",
)

# %%
ahead = gains["implicit"].mean(1) - gains["shared network, resized"].mean(1)
for text, found in (
    ("implicit loses to bicubic at", gains["implicit"].mean(1) < 0),
    ("implicit gains less than 0.05 dB at", np.abs(gains["implicit"].mean(1)) < 0.05),
    ("implicit beats the resized shared network at", ahead > 0),
):
    print(text, ", ".join(f"x{s:g}" for s, here in zip(curve, found) if here) or "none")
outside = [k for k, s in enumerate(curve) if s > 4]
held = gains["implicit, cell held at 1/4"] - gains["implicit"]
print(f"cell held beyond x4: {held[outside].mean():+.3f} dB on average")
same = [score(render(first, hr, 1.0), hr, 1)[0] for hr in test_crops.values()]
print(f"at x1 bicubic returns the picture itself; implicit: {np.mean(same):.1f} dB, so it can lose")

# %% [markdown]
# Beyond the trained range two things change. The network was never asked with so small a cell;
# the dotted line shows whether that matters. And at 8 an LR pixel stands for 64, whose texture
# cannot be told from their mean. What a network gains there is steeper, straighter edges of large
# shapes. Look at the pictures below before you believe in the decibels.
#
# Where the resized shared network wins, continuity is not what limits the picture. Its curve is
# uneven: just above 2 it makes far more pixels than are wanted, and beyond 4 the last step is
# bicubic. Here both are trained for a minute only. With long training, LIIF's paper finds it on a
# par with networks made for one scale inside the trained range, and ahead of Meta-SR beyond it; a
# fixed network with a resize is not in its tables. Ask what was compared.
#
# ### Turn the scale
#
# A part of a photograph is shrunk by the scale and enlarged again. Slide slowly from 1 to 8: what
# disappears first? From where on do the two enlargements look alike?


# %%
def from_one_to_eight(image, scale, across, down):
    """Draw the original, bicubic and implicit, side by side; each pixel twice as large."""
    side = min(144, *image.shape[:2])
    top, left = round(down * (image.shape[0] - side)), round(across * (image.shape[1] - side))
    hr = image[top : top + side, left : left + side]
    lr = imresize(hr, 1 / scale)
    start = time.perf_counter()
    sr = render(first, lr, scale)[:side, :side]
    took = 1000 * (time.perf_counter() - start)
    bicubic = imresize(lr, scale)[:side, :side]
    errors = [np.mean((picture - hr.astype(float)) ** 2) for picture in (bicubic, sr)]
    scores = ["exact" if not e else f"{10 * np.log10(255**2 / e):.2f} dB" for e in errors]
    caption = f"original | bicubic, {scores[0]} | implicit, {scores[1]} (RGB)\n"
    caption += f"{lr.shape[1]} x {lr.shape[0]} pixels times {scale:g}, asked in {took:.0f} ms"
    return np.hstack([hr, bicubic, sr]).repeat(2, axis=0).repeat(2, axis=1), caption


fraction = {"min": 0, "max": 1, "step": 0.01}
scale_slider = Explorer(
    from_one_to_eight,
    photo=PhotoPicker("chelsea", names=sample_names("test")),
    scale=ipywidgets.FloatSlider(3.4, min=1, max=8, step=0.1, description="scale"),
    across=ipywidgets.FloatSlider(0.6, **fraction, description="part, across"),
    down=ipywidgets.FloatSlider(0.4, **fraction, description="part, down"),
)
scale_slider

# %%
seconds = scale_slider.sweep()
print(
    f"a picture takes {1000 * np.median(seconds):.0f} ms, the slowest {1000 * max(seconds):.0f} ms"
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
# residual blocks and one after them, which makes 18; deconvolution and the last convolution, which
# work on fine pixels, add one more.
#
# *Predict:* the smallest halo that leaves no trace in an 8-bit picture: the same number, or less?

# %%
network = small_x4
radius, _ = receptive_field(network)
lr = to_float(middle(sample_image("brick"), halo_side)).to(device)
tile = halo_side // 2
with torch.inference_mode():
    untiled = network(lr)
halos = range(radius + 2)
largest, differing, seams = [], [], None
for halo in tqdm(halos, desc="halo", unit="picture"):
    tiled = in_tiles(network, lr, tile, halo)
    difference = 255 * (tiled - untiled).abs()  # grey levels
    seams = difference if seams is None else seams  # with no halo
    largest.append(difference.max().item())
    differing.append(int((to_uint8(tiled) != to_uint8(untiled)).sum()))
no_trace = 1 + max((h for h in halos if differing[h]), default=-1)  # from here on
print(f"receptive field: {radius} LR pixels; no 8-bit sample differs from a halo of {no_trace} on")

# %%
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
right.set(xlabel="halo (LR pixels)", title="The wider, the less", xticks=range(0, radius + 2, 4))
right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=9, ncols=2)
show(
    figure,
    "Left: a cross of bright lines where four tiles meet. Right: the largest difference and the "
    "number of differing samples fall with the halo, on a logarithmic axis.",
)

# %%
at_radius, before = largest[radius], largest[radius - 1]
print(f"at halo {radius - 1} {before:.1e} grey levels are left, at {radius} {at_radius:.1e}")
print(f"at halo {no_trace} it is {largest[no_trace]:.1e}: too little to cross a rounding step here")

# %% [markdown]
# The field by formula is the farthest that anything can come from. Most of what arrives comes from
# much nearer (Luo et al., 2016), and the influence falls by a large factor for each pixel. So an
# 8-bit picture stops to change before the receptive field is reached. Which halo is enough for
# that depends on the picture and on the weights; the receptive field is enough always.
#
# What remains at the receptive field is not the halo: a computer adds in another order where the
# input has another size, and floating-point sums then differ in the last bits. Where a value lies
# within that of a rounding step, an 8-bit sample may flip. `upscale(tile=...)` chooses its windows
# so that this does not happen either. Its docstring says where that holds. Here:

# %%
photo = middle(sample_image("coffee"), tiled_side)
noise = np.random.default_rng(0).integers(0, 256, (70, 110, 3), dtype=np.uint8)
for name, image in (("coffee", photo), ("noise", noise)):
    one_piece, pieces = upscale(network, image), upscale(network, image, tile=64)
    unequal = (one_piece != pieces).sum()
    print(f"{name}: {unequal} of {one_piece.size:,} samples differ between tiled and untiled")

# %% [markdown]
# ## 6. Larger than memory
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
# The code goes into a file, because memory will be measured in a fresh process.

# %%
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

# %%
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
    height, width = row_spans[-1][1] * scale, column_spans[-1][1] * scale
    tile = (row_spans[0][1] * scale, column_spans[0][1] * scale)
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
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
work = Path(folder.name)
(work / "big_picture.py").write_text(MODULE, encoding="utf-8")
sys.path.insert(0, folder.name)

# %% [markdown]
# TIFF wants the sides of tiles to be multiples of 16. First a small one, to see that it is right:

# %%
from big_picture import enlarge_file, write_source

side = network_sources[0]
write_source(work / "source.tif", sample_image("coffee"), side)
spans = tile_spans(side, 64, radius)
enlarge_file(
    work / "source.tif", work / "result.tif", spans, spans, lambda lr: upscale(network, lr), 4
)
result = tifffile.imread(work / "result.tif")
expected = upscale(network, tifffile.imread(work / "source.tif"))
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

# %%
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

# %%
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

# %%
import srlib

paths = [folder.name, str(Path(srlib.__path__[0]).parent), os.environ.get("PYTHONPATH", "")]
environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def peaks(sides, halo, with_network=False):
    """Run a process over sources of some sides; rows of megapixels, peak in MiB, seconds."""
    files = []
    for side in sides:
        path = work / f"source_{side}.tif"
        write_source(path, sample_image("coffee"), side)
        files.append((str(path), None if halo is None else tile_spans(side, 64, halo)))
    task = json.dumps({"network": with_network, "files": files})
    command = [sys.executable, "-c", JOB]
    done = subprocess.run(
        command, input=task, env=environment, text=True, capture_output=True, check=True
    )
    return np.array([json.loads(line) for line in done.stdout.splitlines()])


# %%
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

# %%
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
# The band is what is left of the source: it grows with the picture's width, so with the root of
# the number of pixels. A source that is tiled itself would not even need that.
#
# One tile of the largest result, read without the rest:

# %%
path = work / f"source_{network_sources[-1]}.tif.out.tif"
with tifffile.TiffFile(path) as tiff:
    page = tiff.pages[0]
    across = math.ceil(network_sources[-1] / 64)
    number = across // 3 * (across + 1)  # on the diagonal
    tiff.filehandle.seek(page.dataoffsets[number])
    block = page.decode(tiff.filehandle.read(page.databytecounts[number]), number)[0][0]
    print(f"{path.stat().st_size / 1e6:.0f} MB, BigTIFF: {tiff.is_bigtiff}, ", end="")
    print(f"{len(page.dataoffsets)} tiles, read {block.nbytes / 1e6:.2f} MB")
figure, axes = plt.subplots(figsize=(3.6, 3.8))
axes.imshow(block)
axes.set_axis_off()
axes.set_title(f"tile {number}")
show(figure, "A square piece of the photograph of a coffee cup, enlarged.")
folder.cleanup()

# %% [markdown]
# ## What you saw

# %%
lost = grid_psnr["half pixel forgotten"][-1] - grid_psnr["right"][-1]
print(f"half a pixel beside, at x4: {lost:+.1f} dB for bicubic")
for s in scales:
    short, full, one = (
        np.mean(multi_psnr[name, s]) - bicubic_psnr[s]
        for name in ("separate, a third each", "separate, all steps each", "shared")
    )
    print(f"x{s}, over bicubic: three networks {short:+.2f} dB and, with thrice the work,", end=" ")
    print(f"{full:+.2f} dB; one network {one:+.2f} dB; ", end="")
    print(f"implicit {np.mean(any_psnr[s]) - bicubic_psnr[s]:+.2f} dB")
for k in outside:
    print(f"implicit at x{curve[k]:g}: {gains['implicit'][k].mean():+.3f} dB over bicubic")
print(f"halo: {no_trace} LR pixels leave no trace in 8 bits, {radius} never can")
grown = runs["bicubic, in tiles"][-1, 1] - runs["bicubic, in tiles"][1, 1]
factor = runs["bicubic, in tiles"][-1, 0] / runs["bicubic, in tiles"][1, 0]
print(f"{factor:.0f} times the pixels in tiles: {grown:+.0f} MiB of peak memory")

# %% [markdown]
# - Edges lie on edges, and the step is 1 / s. A ramp shows a shift at once.
# - Scales can share nearly all of a network.
# - An implicit decoder answers for any scale, also beyond its training. What it adds there is
#   edges; texture does not come back. A network for 4 with a resize is a rival to be reckoned with.
# - A halo as wide as the receptive field makes tiles exact; the influence fades long before.
# - Strips in, tiles out: memory for one row of tiles, whatever the picture's size.
#
# ## Pitfalls
#
# - **Scale or size.** A scale of 2.7 and a pair of sizes are two definitions. Say which one, and
#   use it for shrinking, for positions and for the cell.
# - **Scores at fractional scales** depend on the resize, the cut border and how the sizes were
#   rounded. Numbers of two papers can be compared only where they state all three.
# - **The cell of the training.** A decoder that never saw a small cell answers one with whatever it
#   extrapolates. Test it with the cell held.
# - **Baselines for any scale**: bicubic is an easy one. Resize the output of a fixed network too.
# - **Blending overlapping tiles** hides seams and makes an image that no network computed. With the
#   right halo there is nothing to hide.
# - **A network that looks at the whole image**, through attention, a global mean or instance
#   normalisation, has no finite halo. Its tiles are another image; `upscale` refuses.
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
# - W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep
#   convolutional neural networks", NIPS, 2016.
# - G. Parmar, R. Zhang, J.-Y. Zhu, "On aliased resizing and surprising subtleties in GAN
#   evaluation", CVPR, 2022.
# - Aware Systems and the libtiff project, "The BigTIFF file format", 2007. Read and written here by
#   C. Gohlke's `tifffile`.
