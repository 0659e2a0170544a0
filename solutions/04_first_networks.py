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
# # 04 First networks: convolution, pooling, and stacks that get too deep
#
# The first networks for pictures were made to name what is in them. They convolve, and they pool.
# The first network for super-resolution left the pooling out and had three layers. The obvious
# next step, many more layers of the same kind, fails. This notebook measures all of that. It
# ends where notebook 05 starts: at the question what a deep network needs in order to learn.
#
# **After this you can**
#
# - write a convolution and a pooling by hand, and say what pooling does to the position of things;
# - train SRCNN, and say why the point where it starts decides what a short training reaches;
# - read a layer listing: count its parameters, see what it lacks, and predict where its gradient
#   dies.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 6 on a T4 GPU, 4 on an A100.

# %%
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from srlib.assets import sample_image, sample_names
from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import evaluate, upscale
from srlib.exercises import check
from srlib.figures import compare, show
from srlib.figures.diagrams import draw_chain
from srlib.image import rgb_to_y
from srlib.layers import DeconvBlock
from srlib.models import SRCNN, PlainCNN
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
seeds = by_profile(ci=(0,), cpu=(0, 1, 2), gpu=(0, 1, 2, 3, 4))
pooling_steps = by_profile(ci=3, cpu=120, gpu=3000)
srcnn_steps = by_profile(ci=4, cpu=400, gpu=6000)
depths = by_profile(ci=(2, 6), cpu=(2, 6, 12, 20), gpu=(2, 6, 12, 20))
depth_steps = by_profile(ci=3, cpu=120, gpu=2000)
crop_side = by_profile(ci=48, cpu=96, gpu=192)  # pixels of the test crops

# %% [markdown]
# A photograph, where its vertical edges are, and what two and three poolings leave of them. The
# edges are still found. Where exactly they were is gone.


# %%
def edges(image):
    """Strength of vertical edges: uint8 (H, W, 3) -> float tensor (1, 1, H, W), 0 or more."""
    luma = torch.from_numpy(rgb_to_y(image)).float()[None, None]
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return F.relu(F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel[None, None]))


def as_picture(features, size=1):
    """Features (1, 1, H, W) -> uint8 (size * H, size * W, 3): white is none, black is most."""
    grey = 255 - features[0, 0].clamp(max=255).byte().numpy()
    return grey.repeat(size, 0).repeat(size, 1)[..., None].repeat(3, axis=2)


eye = sample_image("chelsea")[40:168, 100:228]  # (128, 128, 3)
found = edges(eye)
pooled = {f"pooled to 1 / {size}": as_picture(F.max_pool2d(found, size)) for size in (4, 8)}
show(
    compare({"photograph": eye, "vertical edges": as_picture(found), **pooled}),
    "A cat's eye, a drawing of its vertical edges, and the same edges as coarse and as very "
    "coarse squares.",
)

# %% [markdown]
# ## 1. A convolution by hand
#
# A small table of weights, the **kernel**, is laid on the picture. The pixels under it are
# multiplied by the weights and added up: one number. The kernel moves on by one pixel, and so on.
# A layer of a network does just this, for many kernels at once, and the weights are learned.
#
# *Predict:* how large is the result for a picture of 5x6 pixels and a kernel of 3x3?
#
# ### Exercise 04.1
#
# Write it for a grey picture and one kernel, without padding: the kernel never leaves the
# picture. Do not turn the kernel round. (Mathematics does, and calls your function a
# cross-correlation. In networks it makes no difference, since the weights are learned.)


# %%
def convolve(image, kernel):
    """Lay `kernel` (K, L) on every place of `image` (H, W) -> floats (H - K + 1, W - L + 1)."""
    ### BEGIN SOLUTION
    height = image.shape[0] - kernel.shape[0] + 1
    width = image.shape[1] - kernel.shape[1] + 1
    result = np.zeros((height, width))
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            result += kernel[i, j] * image[i : i + height, j : j + width]
    return result
    ### END SOLUTION


convolve = check("04.1", convolve)

# %% [markdown]
# Stuck? Run `from srlib.exercises import hint` and `hint("04.1")`. A wrong answer never stops
# the notebook: `check` hands on the reference.
#
# Your function and torch's, on a photograph:

# %%
grey = rgb_to_y(sample_image("camera")) / 255  # (512, 512)
kernel = np.array([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]])
yours = convolve(grey, kernel)
theirs = F.conv2d(torch.tensor(grey)[None, None].double(), torch.tensor(kernel)[None, None])
gap = abs(yours - theirs[0, 0].numpy()).max()
print(f"{grey.shape} -> {yours.shape}, largest difference {gap:.0e}")

# %% [markdown]
# Now turn the nine weights yourself. The kernel is symmetric, so three numbers are enough.
#
# *Predict:* which weights blur? Which sharpen? Which leave only edges?


# %%
def weigh(image, centre, side, corner):
    """Filter a photograph with the kernel of these weights."""
    kernel = torch.tensor([[corner, side, corner], [side, centre, side], [corner, side, corner]])
    channels = torch.from_numpy(image).float().permute(2, 0, 1)[:, None]  # (3, 1, H, W)
    filtered = F.conv2d(F.pad(channels, (1, 1, 1, 1), mode="replicate"), kernel[None, None])
    total = centre + 4 * side + 4 * corner
    middle = 128 if abs(total) < 1e-6 else 0  # no brightness is left: 0 becomes grey
    levels = (filtered[:, 0] + middle).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return levels, f"the weights sum to {total:.1f}" + ("; 0 is drawn grey" if middle else "")


kernel_slider = Explorer(
    weigh,
    photo=PhotoPicker("coffee", max_side=320),
    centre=ipywidgets.FloatSlider(5, min=-4, max=9, step=0.1),
    side=ipywidgets.FloatSlider(-1, min=-2, max=2, step=0.1),
    corner=ipywidgets.FloatSlider(0, min=-2, max=2, step=0.1),
)
kernel_slider

# %%
coffee = sample_image("coffee")[60:260, 180:480]
kernels = {"sharpen: 5, -1, 0": (5.0, -1.0, 0.0), "edges: 8, -1, -1": (8.0, -1.0, -1.0)}
kernels["blur: 0.2, 0.1, 0.1"] = (0.2, 0.1, 0.1)
filtered = {name: weigh(coffee, *weights)[0] for name, weights in kernels.items()}
show(
    compare({"photograph": coffee, **filtered}),
    "A cup of coffee; the same sharper; only its outlines on grey; the same blurred.",
)

# %% [markdown]
# ## 2. Pooling, and what it loses
#
# A network that names things has to be indifferent to where they are: a cat on the left is a cat
# on the right. **Max pooling** makes it so. It cuts the features into blocks and keeps the
# largest value of each.
#
# ### Exercise 04.2
#
# Write it for one channel. Rows and columns that do not fill a block are left out.


# %%
def max_pool(image, size):
    """Largest value of each block of size x size: (H, W) -> (H // size, W // size)."""
    ### BEGIN SOLUTION
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(height, size, width, size)
    return blocks.max(axis=(1, 3))
    ### END SOLUTION


max_pool = check("04.2", max_pool)

# %% [markdown]
# Put one bright pixel on a black picture of 8x8, at each of its 64 places.
#
# *Predict:* how many different results does a pooling of 2x2 give? Of 4x4? Of 8x8?

# %%
dots = np.eye(64).reshape(64, 8, 8)  # 64 pictures, a dot at each place
told_apart = {
    f"{size} x {size}": len({max_pool(dot, size).tobytes() for dot in dots})
    for size in (1, 2, 4, 8)
}
pd.DataFrame(told_apart, index=["places that can be told apart, of 64"]).T

# %% [markdown]
# Each pooling of 2x2 divides the places by four. For a label that is the purpose. For a picture
# with more pixels than before it is the wrong direction: **the position is the answer**.
#
# The same on a photograph. Shift it by a few pixels, and compare the features before and after
# by their correlation: 1 means that nobody noticed.
#
# *Predict:* features of single pixels forget the old picture after how many pixels' shift? And
# after pooling by 8?


# %%
def alike(first, second):
    """Correlation of two tensors of one shape."""
    return torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].item()


def shift_and_pool(image, shift, size):
    """Draw pooled edges of a photograph, of the shifted photograph, and what changed."""
    side = min(*image.shape[:2], 128) // 8 * 8
    found = edges(image)
    parts = [features[..., :side, :side] for features in (found, found.roll(shift, dims=-1))]
    before, after = (F.max_pool2d(part, size) for part in parts)
    panels = [as_picture(part, 2 * size) for part in (before, after, (before - after).abs())]
    caption = f"before, after, difference; correlation {alike(before, after):.2f}"
    return np.concatenate(panels, axis=1), caption


shift_slider = Explorer(
    shift_and_pool,
    photo=PhotoPicker("coins", names=sample_names("test")),
    shift=ipywidgets.IntSlider(1, min=0, max=16, description="shift (pixels)"),
    size=ipywidgets.ToggleButtons(options=[1, 2, 4, 8], value=8, description="pooling by"),
)
shift_slider

# %% [markdown]
# For print, over the test photographs: the line is their mean, the band from the lowest to the
# highest.

# %%
shifts = np.arange(0, 13)
test_edges = [edges(sample_image(name)) for name in sample_names("test")]
figure, axes = plt.subplots()
noticed = {}
for size, style in zip((1, 2, 4, 8), ("-", "--", "-.", ":"), strict=True):
    values = np.array(
        [
            [alike(F.max_pool2d(e, size), F.max_pool2d(e.roll(int(s), -1), size)) for s in shifts]
            for e in test_edges
        ]
    )  # (photographs, shifts)
    noticed[size] = values[:, 1].mean()
    label = f"pooled by {size}" if size > 1 else "not pooled"
    axes.plot(shifts, values.mean(axis=0), style, label=label)
    axes.fill_between(shifts, values.min(axis=0), values.max(axis=0), alpha=0.15)
axes.set(xlabel="shift (pixels)", ylabel="correlation with the features before")
axes.set(title="The more is pooled, the less a shift is noticed")
axes.legend(loc="upper right")
show(figure, "Correlation falls with the shift; the more is pooled, the slower it falls.")

# %% [markdown]
# ### What that costs
#
# Three networks for x2, all with three convolutions and a deconvolution that brings the features
# to the size of the output. One pools never, one once, one twice. (The last is the library's
# `PoolingCNN`.) The ones that pool even have more parameters, since they enlarge further.
#
# They train on the photographs for training and are scored on crops of others, by the protocol
# of notebook 03. Each is trained from several seeds.

# %%
scale = 2
device = "cuda" if torch.cuda.is_available() else "cpu"
train_pairs = make_pairs(load_images("bundled/train"), scale)
corners = {"chelsea": (60, 110), "coffee": (130, 330), "camera": (60, 180)}
crops = {
    name: sample_image(name)[top : top + crop_side, left : left + crop_side]
    for name, (top, left) in corners.items()
}
test_pairs = make_pairs(crops, scale)


# %%
def fit(model, seed, lr_patch_size=16, batch_size=8, on_step=None, **config):
    """Train on random patches; return the history."""
    sampler = PatchSampler(
        train_pairs,
        scale,
        lr_patch_size=lr_patch_size,
        batch_size=batch_size,
        seed=seed,
        device=device,
    )
    return train(model.to(device), sampler, TrainConfig(progress=False, **config), on_step=on_step)


def test_db(upscaler):
    """Mean PSNR over the test crops."""
    return evaluate(upscaler, test_pairs, scale, progress=False).loc["mean", "psnr_db"]


def bicubic(lr):
    """The baseline."""
    return imresize(lr, scale)


print(
    f"bicubic x{scale}: {test_db(bicubic):.2f} dB on {len(test_pairs)} crops of {crop_side} pixels"
)


# %%
def classical_cnn(poolings, channels=16):
    """Three convolutions with `poolings` poolings between, a deconvolution and a sigmoid."""
    layers = []
    for index, before in enumerate((3, channels, channels)):
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
        if index < poolings:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, DeconvBlock(channels, 3, scale * 2**poolings), nn.Sigmoid())


pooling_rows, blurred = [], {}
for seed in tqdm(seeds, desc="pooling", unit="seed"):
    for poolings in (0, 1, 2):
        torch.manual_seed(seed)
        model = classical_cnn(poolings)
        fit(model, seed, batch_size=16, steps=pooling_steps, learning_rate=2e-3)
        size = sum(p.numel() for p in model.parameters())
        pooling_rows.append((poolings, seed, size, test_db(model)))
        blurred[f"{poolings} poolings"] = upscale(model, test_pairs[0].lr)
pooling_table = pd.DataFrame(pooling_rows, columns=["poolings", "seed", "parameters", "psnr_db"])
pooling_db = pooling_table.groupby("poolings")["psnr_db"].agg(["mean", "min", "max"])
pooling_table.groupby("poolings")[["parameters"]].first().join(pooling_db).round(2)

# %%
show(
    compare({"original": crops["chelsea"], **blurred}, reference="original", scale=scale),
    "A cat's eye, and what three networks make of it: the more poolings, the more blurred.",
)

# %% [markdown]
# The features that were pooled still know that there is an eye. The deconvolution has to guess
# where its outline runs, and the best guess under doubt is a mean: blur.
#
# Note also that none of the three comes near the bicubic line above. In so short a time a network
# that has to make the whole picture from nothing does not get there. Keep that in mind.

# %% [markdown]
# ## 3. SRCNN
#
# In 2014 Dong and others published the first convolutional network for super-resolution. It
# enlarges by bicubic interpolation first and repairs the luma of the result with three
# convolutions, without any pooling.

# %%
show(
    draw_chain(
        [
            ("luma, low resolution", "tensor", "(N, 1, H, W)"),
            ("bicubic", "enlarge", "(N, 1, sH, sW)"),
            ("conv 9x9", "conv", "(N, 64, sH, sW)"),
            ("ReLU", "activation", ""),
            ("conv 5x5", "conv", "(N, 32, sH, sW)"),
            ("ReLU", "activation", ""),
            ("conv 5x5", "conv", "(N, 1, sH, sW)"),
        ],
        title="SRCNN: interpolate, then three convolutions",
    ),
    "A chain of boxes: the image, bicubic interpolation, and three convolutions with ReLU between.",
)

# %% [markdown]
# Its layers were said to extract patches, map them and put them together. What the training has
# to find first, however, is how to pass the picture through at all: with random weights the
# output is noise, though the input was a good picture already.
#
# So we start it twice: with torch's random weights, and so that one channel of each layer passes
# the picture on unchanged while the others are random but not yet used. The untrained network
# then *is* bicubic interpolation. Architecture, data and steps are the same.
#
# *Predict:* which start wins, and does either get above bicubic?


# %%
@torch.no_grad()
def start_as_identity(network):
    """Let channel 0 of each layer hand the bicubic picture on; silence the other channels."""
    for layer in (network.extract, network.map, network.reconstruct):
        middle = layer.kernel_size[0] // 2
        layer.weight[0] = 0
        layer.bias[0] = 0
        layer.weight[0, 0, middle, middle] = 1
    network.reconstruct.weight[0, 1:] = 0
    return network


def fit_srcnn(network, seed):
    """Train; return the PSNR after some of the steps, and the seconds of training."""
    curve = {0: test_db(network.to(device))}
    every = max(1, srcnn_steps // 8)

    def note(step, model):
        if step % every == 0:
            curve[step] = test_db(model)

    history = fit(network, seed, steps=srcnn_steps, on_step=note)
    return pd.Series(curve), history["seconds"].iloc[-1]


# %%
srcnn_runs, networks, srcnn_seconds = {}, {}, []
for seed in tqdm(seeds, desc="SRCNN", unit="seed"):
    for start in ("random start", "start as bicubic"):
        torch.manual_seed(seed)
        network = SRCNN(scale)
        if start == "start as bicubic":
            start_as_identity(network)
        srcnn_runs[start, seed], seconds = fit_srcnn(network, seed)
        networks[f"SRCNN, {start}"] = network
        srcnn_seconds.append(seconds)

# %%
figure, axes = plt.subplots()
for start, style in (("random start", "-"), ("start as bicubic", "--")):
    curves = pd.concat([srcnn_runs[start, seed] for seed in seeds], axis=1)
    axes.plot(curves.mean(axis=1), style, marker="o", label=f"SRCNN, {start}")
    axes.fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), alpha=0.25)
axes.axhline(test_db(bicubic), color="black", linestyle=":", label="bicubic")
axes.set(xlabel="step", ylabel="PSNR of the test crops (dB)", ylim=(22, None))
axes.set(title=f"SRCNN x{scale}, {np.mean(srcnn_seconds):.0f} s of training a line")
axes.legend(loc="lower right")
show(
    figure,
    "PSNR against step for two starts. The one that starts as bicubic rises above it; "
    "the random one comes from far below.",
)

# %% [markdown]
# Beginning at bicubic, SRCNN beats it within seconds. From random weights it spends the training
# on learning what bicubic knew. The paper did it the long way, with hundreds of millions of
# backpropagations, and arrived above as well. Notebook 05 builds the good start into the network:
# the image skip.

# %% [markdown]
# ## 4. Ten layers, and what they lack
#
# A listing of ten layers circulates under the name SrResNet. In its usual form it reads like
# this.

# %%
listing_widths = [3, 64, 128, 256, 512, 1024, 512, 256, 128, 64, 3]
layers = []
for before, after in zip(listing_widths[:-1], listing_widths[1:], strict=True):
    layers += [nn.Conv2d(before, after, kernel_size=3, padding=1), nn.ReLU()]
layers[-1] = nn.Sigmoid()
listing = nn.Sequential(*layers)
with torch.inference_mode():
    print("input", (1, 3, 24, 24), " output", tuple(listing(torch.rand(1, 3, 24, 24)).shape))

# %% [markdown]
# Look for the "res" in it: nothing is added anywhere. Look for a deconvolution, or anything else
# that enlarges: the output is as large as the input. It is a plain stack of convolutions.
#
# ### Exercise 04.3
#
# How large is it? Count the parameters of a chain of convolutions with the given numbers of
# channels, from the input's to the output's. Each layer has biases.


# %%
def count_parameters(widths, kernel_size):
    """Count weights and biases of len(widths) - 1 layers: list of channels, side -> int."""
    ### BEGIN SOLUTION
    total = 0
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        total += before * after * kernel_size**2 + after
    return total
    ### END SOLUTION


count_parameters = check("04.3", count_parameters)

# %%
counted = sum(p.numel() for p in listing.parameters())
srcnn_size = sum(p.numel() for p in SRCNN(scale).parameters())
widest = count_parameters([512, 1024, 512], 3)
print(f"the listing: {count_parameters(listing_widths, 3):,} by formula, {counted:,} counted")
print(f"SRCNN: {srcnn_size:,}. The listing has {counted / srcnn_size:.0f} times as many,")
print(f"{widest / counted:.0%} of them in the two layers around the 1024 channels.")

# %% [markdown]
# To compare it at all, it needs something that enlarges. `PlainCNN` puts the bicubic
# interpolation in front, as in SRCNN, and is otherwise the listing. Every parameter is used once
# for every pixel of the large picture.
#
# It now trains **as long on the clock** as SRCNN did, with the same batches.
#
# *Predict:* how many steps does it get?

# %%
same_time = float(np.mean(srcnn_seconds))
listing_db, listing_steps = [], []
for seed in tqdm(seeds, desc="listing", unit="seed"):
    torch.manual_seed(seed)
    network = PlainCNN(scale)
    history = fit(network, seed, seconds=same_time)
    listing_steps.append(len(history))
    listing_db.append(test_db(network))
networks["ten-layer listing"] = network
rows = {
    "bicubic": (0, 0, [test_db(bicubic)]),
    "ten-layer listing": (counted, np.mean(listing_steps), listing_db),
}
for start in ("random start", "start as bicubic"):
    final = [srcnn_runs[start, seed].iloc[-1] for seed in seeds]
    rows[f"SRCNN, {start}"] = (srcnn_size, srcnn_steps, final)
same_minute = pd.DataFrame(
    {
        name: (size, round(steps), np.mean(db), min(db), max(db))
        for name, (size, steps, db) in rows.items()
    },
    index=["parameters", "steps", "psnr_db", "lowest", "highest"],
).T.astype({"parameters": int, "steps": int})
print(f"{same_time:.1f} s of training each")
same_minute.round(2)

# %%
figure, axes = plt.subplots(figsize=(8, 3))
middle = same_minute["psnr_db"]
spread = [middle - same_minute["lowest"], same_minute["highest"] - middle]
axes.barh(same_minute.index, middle, xerr=spread, capsize=5, color=["grey", "C1", "C0", "C2"])
for place, (value, steps) in enumerate(zip(middle, same_minute["steps"], strict=True)):
    axes.text(1, place, f"{value:.1f} dB after {steps} steps", va="center", color="white")
axes.set(xlabel="PSNR of the test crops (dB)", title=f"{same_time:.0f} s of training each")
axes.grid(False, axis="y")
show(figure, "Bars: the ten-layer listing is far below bicubic, SRCNN from the good start above.")

# %%
pictures = {"bicubic": bicubic(test_pairs[0].lr)}
pictures |= {name: upscale(network, test_pairs[0].lr) for name, network in networks.items()}
pictures = {"original": crops["chelsea"], **pictures}
show(
    compare(pictures, reference="original", scale=scale),
    "The cat's eye from each network. The ten-layer listing shows hardly anything.",
)

# %% [markdown]
# What is missing in the listing, and where the course puts it in:
#
# | missing | what that does | notebook |
# |---|---|---|
# | a path around the layers | ten layers must first learn to hand the picture on | 05 |
# | a layer that enlarges | an interpolation in front, every layer works at full size | 06 |
# | a sensible distribution of widths | most parameters sit in two layers in the middle | 07 |
#
# A fair word: what it reaches after hours on a GPU was not measured here. What was measured is the
# price of a step, and how little a few steps do from such a start.

# %% [markdown]
# ## 5. Why deeper plain networks train worse
#
# Is it only the size? Take slim stacks of equal width, 16 channels, as deep as you like, with
# torch's own initialisation and the same number of steps.
#
# *Predict:* 2, 6, 12 or 20 layers: which one is best?

# %%
width = 16


def plain(depth):
    """`depth` convolutions of equal width behind the bicubic interpolation."""
    return PlainCNN(scale, widths=(width,) * (depth - 1))


def he_start(network):
    """Initialise as He et al. (2015): weights of variance 2 / inputs, no biases."""
    for layer in network.layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return network


stacks = {f"{depth} layers": (lambda d=depth: plain(d)) for depth in depths}
deepest = f"{depths[-1]} layers"
stacks[f"{deepest}, He's start"] = lambda: he_start(plain(depths[-1]))
stack_losses, stack_db = {}, {}
for seed in tqdm(seeds, desc="depth", unit="seed"):
    for name, make in stacks.items():
        torch.manual_seed(seed)
        network = make()
        history = fit(network, seed, 12, steps=depth_steps, learning_rate=2e-3)
        stack_losses[name, seed] = history["loss"].rolling(15, min_periods=1).mean()
        stack_db[name, seed] = test_db(network)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(1.5, 1))
depth_db = pd.Series(stack_db).groupby(level=0, sort=False).agg(["mean", "min", "max"])
for place, name in enumerate(stacks):
    curves = pd.concat([stack_losses[name, seed] for seed in seeds], axis=1)
    style = "--" if "He" in name else "-"
    left.plot(curves.mean(axis=1), style, color=f"C{place}", label=name)
    left.fill_between(
        curves.index, curves.min(axis=1), curves.max(axis=1), color=f"C{place}", alpha=0.2
    )
    mean, lowest, highest = depth_db.loc[name]
    bar = [[mean - lowest], [highest - mean]]
    right.errorbar(place, mean, yerr=bar, fmt="o", capsize=6, color=f"C{place}")
left.set(xlabel="step", ylabel="training loss, mean of 15 steps (L1)", title="Training")
left.legend(loc="upper right")
right.set(ylabel="PSNR of the test crops (dB)", title="Test, mean and range")
right.set_xticks(range(len(stacks)), [name.replace(", ", "\n") for name in stacks], rotation=45)
show(
    figure,
    "Training loss of plain stacks: the deepest ones hardly move, six layers learn most. "
    "The test scores show the same order.",
)

# %% [markdown]
# More layers help at first. Then they hurt, and not because of overfitting: the *training* loss
# is worse. A deeper stack could always do what the shallow one does, if the further layers handed
# the picture on. It does not find that. He and others (2016) called it **degradation**.
#
# ### The reason, before the first step
#
# The gradient reaches the first layer through all others. Torch initialises a convolution with
# weights of variance 1 / (3 inputs), and a ReLU lets half of the signal's power through. So a
# layer passes on 1 / 6 of the power, and $\sqrt{1/6} = 0.41$ of the size. Twenty layers pass on
# $0.41^{20}$. He's initialisation has variance 2 / inputs, which makes the factor 1.
#
# *Predict:* how large is that for twenty layers, about?


# %%
def at_the_start(network, seed):
    """Norm of the gradient of each layer's weights; how much the outputs of 8 patches differ."""
    sampler = PatchSampler(train_pairs, scale, lr_patch_size=12, batch_size=8, seed=seed)
    lr, hr = sampler.sample()
    sr = network(lr)  # (N, 3, sP, sP)
    F.l1_loss(sr, hr).backward()
    norms = [layer.weight.grad.norm().item() for layer in network.layers]
    return norms, sr.std(dim=0).mean().item()


norms, contrast = {}, {}
for name, make in stacks.items():
    runs = []
    for seed in seeds:
        torch.manual_seed(seed)
        runs.append(at_the_start(make(), seed))
    norms[name] = np.array([run[0] for run in runs])  # (seeds, layers)
    contrast[name] = np.mean([run[1] for run in runs])

# %%
figure, axes = plt.subplots(figsize=(9, 4.5))
for place, (name, values) in enumerate(norms.items()):
    layer = np.arange(1, values.shape[1] + 1)
    middle = np.exp(np.log(values).mean(axis=0))
    style = "--" if "He" in name else "-"
    axes.semilogy(layer, middle, style, marker="o", color=f"C{place}", label=name)
    axes.fill_between(layer, values.min(axis=0), values.max(axis=0), color=f"C{place}", alpha=0.2)
axes.set(xlabel="layer, counted from the input", ylabel="norm of the gradient (log scale)")
axes.set(title="The gradient before the first step", xticks=range(1, depths[-1] + 1))
axes.legend(loc="lower right")
show(
    figure,
    "On a log scale the gradient falls in a straight line from the last layer to the first, over "
    "many powers of ten in the deepest stack. With He's start it stays level.",
)

# %%
reach = norms[deepest]
factor = (reach[:, 0] / reach[:, -1]) ** (1 / (reach.shape[1] - 1))
start_table = pd.DataFrame(
    {
        "first layer's gradient": [f"{value[:, 0].mean():.0e}" for value in norms.values()],
        "last layer's gradient": [f"{value[:, -1].mean():.0e}" for value in norms.values()],
        "contrast of the outputs": [f"{value:.0e}" for value in contrast.values()],
        "PSNR trained (dB)": depth_db["mean"].round(2).to_list(),
    },
    index=list(norms),
)
print(f"{deepest}: factor for each layer {factor.mean():.2f}, expected {(1 / 6) ** 0.5:.2f}")
start_table

# %% [markdown]
# Two things die out. Backwards, the gradient of the first layers. Adam divides by the gradient's
# size and so makes up for much of it, but not where it falls below its `eps` of 1e-8, which is
# for every *single* weight. Forwards, the picture: the *contrast* is how much the outputs for
# eight different patches differ, in a range of 0 to 1. In the deepest stack the output is the
# same grey whatever goes in, and there is nothing to learn from but the grey.
#
# He's initialisation keeps the gradient level, and the deep stack trains: its loss falls. The
# figure shows how far that gets it in the same steps. It repairs the start, not the plan: every
# layer still has to hand on the whole picture. Notebook 05 gives the picture a way around them.

# %% [markdown]
# ## What you saw

# %%
print(f"Of 64 places of a dot, two poolings of 2x2 leave {told_apart['4 x 4']}.")
print(f"Shift by one pixel: correlation {noticed[1]:.2f} without pooling, {noticed[8]:.2f} by 8.")
print(f"No, one, two poolings: {', '.join(f'{db:.1f}' for db in pooling_db['mean'])} dB.")
for name, row in same_minute.iterrows():
    print(f"{name}: {row.psnr_db:.2f} dB, {row.parameters:,.0f} parameters, {row.steps:.0f} steps.")
for name, row in depth_db.iterrows():
    print(f"{name}: {row['mean']:.1f} dB ({row['min']:.1f} to {row['max']:.1f}).")

# %% [markdown]
# - A convolution is a sum of products under a moving kernel; a network learns the kernel.
# - Pooling buys indifference to position. Super-resolution pays for it with blur.
# - SRCNN beats bicubic after seconds if it starts there, and not if it starts at random weights.
# - Parameters are not quality: the listing has hundreds of times more than SRCNN, and in the
#   same time on two CPU cores it gets nowhere.
# - Plain stacks lose the gradient and the picture by a constant factor a layer.
#
# ## Pitfalls
#
# - "SrResNet" names several networks. Read the layers, not the title.
# - Equal steps favour the large network, equal seconds the small one. Say which you compare.
# - One seed proves little: look at the spread before you believe a difference.
# - A network without padding loses pixels at the border. The paper's SRCNN does, and its scores
#   leave them out.
# - `nn.Conv2d` initialises for no particular activation. For deep ReLU stacks set it yourself.
# - A sigmoid after a stack that died gives an even grey and a loss that looks like learning: it
#   falls while the grey settles.
#
# ## Further reading
#
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
#   recognition", Proceedings of the IEEE 86(11), 1998.
# - X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
#   networks", AISTATS, 2010.
# - C. Dong, C. C. Loy, K. He, X. Tang, "Learning a deep convolutional network for image
#   super-resolution", ECCV, 2014; "Image super-resolution using deep convolutional networks",
#   IEEE Transactions on Pattern Analysis and Machine Intelligence 38(2), 2016.
# - K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
#   recognition", ICLR, 2015.
# - K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level
#   performance on ImageNet classification", ICCV, 2015.
# - K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR, 2016.
