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
# # 10 Evaluation: is it better, and where is it not
#
# The networks are trained. This notebook puts them to the test as a paper would: by the protocol
# of notebook 03, on the field's benchmarks, beside the published table. Then it asks what a table
# of means hides: which images gain, which do not, what happens to inputs of another kind, and
# whether a difference of a tenth of a decibel means anything.
#
# **After this you can**
#
# - score a network on a benchmark so that the number may stand beside published ones;
# - tell a difference from chance, over images and over seeds;
# - show where a network fails, and name the tricks that raise a score.
#
# Time: 80 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 3 on an A100.

# %% tags=["folded"]
# @title Imports
import functools
import io
import itertools
import time

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats
from torch import nn
from tqdm.auto import tqdm

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import is_cached, sample_image, sample_names
from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import evaluate, published_results, upscale
from srlib.exercises import check, hint
from srlib.figures import compare, show, zoom_grid
from srlib.figures.history import plot_trainings
from srlib.image import rgb_to_y, to_float
from srlib.layers import BicubicUpsample
from srlib.metrics import psnr, score
from srlib.models import PoolingCNN, SrResNet, load_pretrained, pretrained
from srlib.resample import imresize
from srlib.training import TrainConfig
from srlib.training.experiments import compare_trainings, long_run
from srlib.widgets import Explorer

# %% tags=["parameters"]
benchmarks = by_profile(  # used where they are on this computer; nothing is downloaded
    ci=(),
    cpu=("Set5", "Set14"),
    gpu=("Set5", "Set14", "BSD100"),
)
photo_side = by_profile(ci=112, cpu=None, gpu=None)  # photographs are cut to this; None: not
crop_side = by_profile(ci=64, cpu=128, gpu=192)  # where many variants are scored
seeds = by_profile(ci=(0, 1), cpu=(0, 1), gpu=(0, 1, 2), long=(0, 1, 2))  # section 6
steps = by_profile(ci=3, cpu=80, gpu=1000, long=3000)
channels = by_profile(ci=8, cpu=12, gpu=12)
num_blocks = by_profile(ci=1, cpu=3, gpu=3)
close_seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2, 3, 4), long=(0, 1, 2, 3, 4))
close_steps = by_profile(ci=3, cpu=80, gpu=1000, long=2000)  # section 7

# %% [markdown]
# The networks of this notebook come with the course, trained by its own `train`. The card of each,
# `data/weights/NAME/README.md`, says on what, and whether a benchmark's photograph was found among
# it later: read it before you quote a score. They may be replaced by better ones, so this text
# states no score of theirs: the cells do.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
networks = {
    "small": load_pretrained("srresnet_small_x4").to(device),
    "full": load_pretrained("srresnet_x4").to(device),
}
pretrained()[["scale", "parameters"]]

# %% tags=["folded", "experiment"]
# @title The middle of an image


def middle(image, side):
    """Cut the square in the middle out of an image, or leave it as it is if side is None."""
    if side is None:
        return image
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


# %%
scale = 4
upscalers = {"bicubic": functools.partial(imresize, scale=scale)}
upscalers |= {name: functools.partial(upscale, network) for name, network in networks.items()}
photographs = {name: middle(sample_image(name), photo_side) for name in sample_names("test")}
photo_pairs = {pair.name: pair for pair in make_pairs(photographs, scale)}


@functools.cache
def enlarged(network, photo):
    """Return a photograph, made small and enlarged again: uint8 (H, W, 3)."""
    return upscalers[network](photo_pairs[photo].lr)


# %% [markdown]
# A photograph was made four times smaller and then enlarged: by bicubic interpolation, by the small
# network and by the full one.
#
# *Predict:* by how many decibels do they differ? Where would you look for the difference?

# %% tags=["folded"]
# @title Enlarge the cat, and find where the versions differ


def loudest_box(image, other, side):
    """Find the square in which two images differ most: (top, left, side, side)."""
    difference = np.abs(image.astype(float) - other).mean(axis=2)  # (H, W)
    mean = F.avg_pool2d(torch.from_numpy(difference)[None], side, stride=1)[0]  # by top left
    top, left = np.unravel_index(int(mean.argmax()), mean.shape)
    return int(top), int(left), side, side


hr = photo_pairs["chelsea"].hr
versions = {"original": hr} | {name: enlarged(name, "chelsea") for name in upscalers}
box = loudest_box(versions["full"], versions["bicubic"], hr.shape[0] // 4)
show(
    zoom_grid(versions, box, reference="original", scale=scale),
    "A cat with a box where the networks change most, and the box enlarged: original, bicubic, "
    "small network, full network.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The scores stand over the pictures. A decibel is much in a table and little to the eye. The box is
# where the networks change most: on edges, fur and other fine structure.
#
# </details>

# %% [markdown]
# ## 1. The benchmark
#
# A **benchmark** is a set of images that everybody scores on and nobody trains on. The protocol
# of notebook 03 makes the LR images, rounds, takes the luma, cuts the border. What remains is the
# mean over images, and there are two of them.
#
# *Predict:* of two images of one size, one is easy (40 dB), one is hard (20 dB). The mean of the
# two scores is 30 dB. And the PSNR of all their pixels taken together?
#
# ### Exercise 10.1
#
# Write both. `errors` is a list of arrays, one for each image: the difference of two lumas, in
# grey levels of 255. The images have different sizes.


# %%
def two_means(errors):
    """Mean of the images' PSNRs, and the PSNR of all their pixels pooled: two floats, in dB."""
    ### BEGIN SOLUTION
    one_by_one = [10 * np.log10(255**2 / np.mean(error**2)) for error in errors]
    pooled = np.concatenate([error.ravel() for error in errors])
    return np.mean(one_by_one), 10 * np.log10(255**2 / np.mean(pooled**2))
    ### END SOLUTION


two_means = check("10.1", two_means)

# %%
# NBVAL_CHECK_OUTPUT
easy, hard = np.full((9, 9), 2.55), np.full((9, 9), 25.5)  # 40 dB and 20 dB
print("mean of scores {:.2f} dB, pooled {:.2f} dB".format(*two_means([easy, hard])))

# %% [markdown]
# <details><summary>What happened</summary>
#
# 22.97 dB: the pooled number belongs to the worst image.
#
# </details>
#
# Stuck? `hint("10.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("10.1")

# %% [markdown]
# The tables of the field state the mean of the scores, and so does `evaluate`. What the choice
# alone is worth on the photographs:

# %% tags=["folded"]
# @title Both means over the photographs
rows = {}
for name in upscalers:
    errors = [
        rgb_to_y(enlarged(name, photo)).astype(float) - rgb_to_y(pair.hr)
        for photo, pair in photo_pairs.items()
    ]
    inside = (slice(scale, -scale), slice(scale, -scale))
    rows[name] = two_means([error[inside] for error in errors])
pd.DataFrame(rows, index=["mean of scores (dB)", "pooled (dB)"]).T.round(2)

# %% [markdown]
# Now all sets that are on this computer. `python -m srlib fetch Set5` and `fetch Set14` load the
# two small ones (20 MB). The **photographs** are the bundled ones that are kept for testing, so
# there is always something to score.

# %%
sets = {"photographs": list(photo_pairs.values())}
for name in benchmarks:
    if is_cached(f"{name}/x{scale}"):
        sets[name] = make_pairs(load_images(name, scale), scale)
print({name: f"{len(pairs)} images" for name, pairs in sets.items()})

# %% tags=["folded"]
# @title Score all sets


def tidy(table, digits=2):
    """Make the numbers of a table readable: missing ones empty, large ones whole."""

    def text(value):
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"

    return table.map(text)


tables = {}
with tqdm(total=len(sets) * len(upscalers), desc="evaluate", unit="table") as bar:
    for set_name, pairs in sets.items():
        for name, upscaler in upscalers.items():
            tables[name, set_name] = evaluate(upscaler, pairs, scale, progress=False)
            bar.update()

parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
ours = pd.DataFrame(
    {
        f"{name}, here": {"parameters": parameters.get(name)}
        | {set_name: tables[name, set_name].loc["mean", "psnr_db"] for set_name in sets}
        for name in upscalers
    }
).T
tidy(ours)

# %% [markdown]
# The same beside what papers report (`published_results` has the sources). Only where a set was
# scored above do the first rows have a number to compare.

# %% tags=["folded"]
# @title The published table
published = published_results(scale)
beside = published.pivot(index="network", columns="dataset", values="psnr_db")
beside.insert(0, "parameters", published.groupby("network")["parameters"].first())
datasets = ["Set5", "Set14", "BSD100", "Urban100"]
columns = ["parameters", *datasets]
together = pd.concat([ours.reindex(columns=columns), beside[columns].sort_values("Set5")])
tidy(together)

# %% tags=["folded"]
# @title What each was trained on
for row in published.drop_duplicates("network").dropna(subset="trained_on").itertuples():
    print(f"{row.network}, trained on {row.trained_on}: {row.source}")

# %% [markdown]
# One file of Set14 is grey. Turned to RGB, as here, it lifts the bicubic mean from 25.99 to 26.09
# dB (measured in notebook 03), and that of a network as well. So the two bicubic rows differ
# there.
#
# Two things about such a table are easily overlooked. What a network was **trained on**: more
# images and more steps raise the score of most of them, whatever their structure. And the
# **parameters**: rows of unequal size are no contest of ideas.
#
# SSIM is scored as well (`tables["full", "photographs"]` has it by image). Where two rows disagree
# by PSNR and by SSIM, say so.
#
# The other factors, on the smallest set at hand:

# %% tags=["folded"]
# @title The other factors
rows = {}
for factor in (2, 3):
    network = load_pretrained(f"srresnet_x{factor}").to(device)
    name = next((name for name in benchmarks if is_cached(f"{name}/x{factor}")), None)
    if name:
        images = load_images(name, factor)
    else:
        images = {photo: middle(image, crop_side) for photo, image in photographs.items()}
    pairs = make_pairs(images, factor)
    bicubic = functools.partial(imresize, scale=factor)
    rows[f"x{factor} on {name or 'cut photographs'}"] = {
        f"{label} (dB)": evaluate(upscaler, pairs, factor, progress=False).loc["mean", "psnr_db"]
        for label, upscaler in (("bicubic", bicubic), ("full", network))
    }
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# ## 2. Image by image
#
# Behind each mean is a list. Images differ by ten decibels and more, and networks by far less. So
# is a difference of means lost in the differences between images?
#
# *Predict:* on how many images is the full network worse than the small one?

# %% tags=["folded"]
# @title The scores image by image
listed = [name for name, pairs in sets.items() if len(pairs) <= 20]  # what fits in a figure
by_image = pd.DataFrame(
    {
        name: pd.concat({s: tables[name, s]["psnr_db"].drop("mean") for s in listed})
        for name in upscalers
    }
)

# %% tags=["folded"]
# @title Draw the images one by one
figure, panels = plt.subplots(1, 2, figsize=(10, 1.6 + 0.24 * len(by_image)), sharey=True)
places = np.arange(len(by_image))[::-1]
for name, marker in zip(upscalers, "osD"):
    panels[0].plot(by_image[name], places, marker, label=name)
panels[0].hlines(places, by_image.min(axis=1), by_image.max(axis=1), color="grey", lw=1, zorder=0)
for set_name in listed:
    rows = [place for place, key in zip(places, by_image.index) if key[0] == set_name]
    step = by_image.loc[set_name, "full"] - by_image.loc[set_name, "small"]
    panels[1].plot(step, rows, "o", label=set_name)
panels[1].axvline(0, color="black", linewidth=1)
panels[0].set_yticks(
    places, [" ".join(key).removeprefix("photographs ") for key in by_image.index], fontsize=9
)
panels[0].set(xlabel="PSNR (dB)", title="scores")
panels[1].set(xlabel="PSNR of full minus small (dB)", title="differences")
for axes in panels:
    axes.legend()
show(figure, "A row for each image. Left its three scores, right the difference of two networks.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The right panel shows a dot left of the line for each image on which the full network is worse;
# the next table counts them. It has nearly five times the parameters, and is still not ahead
# everywhere.
#
# </details>
#
# The scores lie some ten decibels apart, the differences much closer together. Both networks had
# the **same** images, so the comparison is **paired**: subtract image by image first, and most of
# what makes an image easy or hard drops out.
#
# ### Exercise 10.2
#
# Write the mean of the differences a minus b, and its **standard error**: the standard deviation
# of the differences (`ddof=1`) divided by the root of their number. It says how far the mean would
# move if the images had been others of the same kind.


# %%
def paired_difference(scores_a, scores_b):
    """Mean of a minus b and its standard error: two arrays (n,) -> two floats."""
    ### BEGIN SOLUTION
    differences = scores_a - scores_b
    return differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5
    ### END SOLUTION


paired_difference = check("10.2", paired_difference)

# %% tags=["folded"]
# @title The differences as a table
rows = {}
for a, b in (("small", "bicubic"), ("full", "bicubic"), ("full", "small")):
    scores_a, scores_b = by_image[a].to_numpy(), by_image[b].to_numpy()
    mean, error = paired_difference(scores_a, scores_b)
    unpaired = np.sqrt((scores_a.var(ddof=1) + scores_b.var(ddof=1)) / len(scores_a))
    rows[f"{a} minus {b}"] = {
        "mean (dB)": mean,
        "median (dB)": np.median(scores_a - scores_b),
        "standard error, paired": error,
        "as if unpaired": unpaired,
        "worse on": f"{(scores_a < scores_b).sum()} of {len(scores_a)}",
    }
tidy(pd.DataFrame(rows).T)

# %% [markdown]
# As a rule of thumb, a difference is worth talking about from two or three standard errors on.
# Compared without pairing, even the step from bicubic to a network can drown in the differences
# between images. One caution: the images of a benchmark are few, and not drawn at random.
#
# A single image may decide a mean. Is one in the right panel far from all others? It moves the
# mean and swells the standard error; the median hardly notices it. Report both, look at the
# picture, and leave it in.
#
# Why is the full network so little ahead of the small one? It has nearly five times the
# parameters. But each of its steps takes longer, and in the hours that it had it made fewer: the
# cards of both say so (`data/weights`). Parameters pay only with the training they need.

# %% [markdown]
# ## 3. Where the error is
#
# *Predict:* a network was trained to have a small error everywhere. Where is what remains?

# %% tags=["folded"]
# @title Draw the errors


def error_of(network, photo):
    """Absolute error of the luma: (H, W), in grey levels."""
    return np.abs(
        rgb_to_y(enlarged(network, photo)).astype(float) - rgb_to_y(photo_pairs[photo].hr)
    )


shown = ("chelsea", "coffee")
side = min(min(photo_pairs[photo].hr.shape[:2]) for photo in shown)
figure, panels = plt.subplots(len(shown), 4, figsize=(9, 2.2 * len(shown)))
for row, photo in zip(panels, shown):
    row[0].imshow(middle(photo_pairs[photo].hr, side))
    for axes, network in zip(row[1:], upscalers):
        error = middle(error_of(network, photo), side)
        drawn = axes.imshow(error, cmap="magma", vmin=0, vmax=48)
        axes.set_title(f"{network}: {error.mean():.2f}", fontsize=10)
for axes in panels.flat:
    axes.set_axis_off()
label = "error in luma (grey levels)"
figure.colorbar(drawn, ax=panels, extend="max", label=label, shrink=0.8)
show(
    figure,
    "Two photographs, each with its error maps for bicubic, the small and the full network. "
    "Errors sit on edges and on texture; the networks' maps are darker, most of all along edges.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The title of a map is its mean. Smooth areas are right from the start. Edges gain, because how an
# edge goes on can be learned. Fine texture keeps most of its error: what lies above the LR image's
# sampling limit is gone (notebook 01), and every network can only guess it.
#
# </details>
#
# ### Failure cases
#
# Which photograph gains least over bicubic interpolation, and which most?

# %%
gain = (by_image["full"] - by_image["bicubic"]).loc["photographs"].sort_values()
least, most = gain.index[0], gain.index[-1]
gain.round(2).rename("full minus bicubic (dB)").to_frame()

# %% tags=["folded"]
# @title Draw the one that gains least
hr = photo_pairs[least].hr
worst_box = loudest_box(enlarged("full", least), hr, min(hr.shape[:2]) // 4)
versions = {"original": hr} | {name: enlarged(name, least) for name in upscalers}
show(
    zoom_grid(versions, worst_box, reference="original", scale=scale),
    "The photograph that gains least, and in it the place where the full network errs most: "
    "original, bicubic, small, full.",
)

# %% [markdown]
# The box is where the full network errs most. Look at what it drew there: does it stay blurred, or
# does it invent a structure that is not in the original? The second is the worse failure, because
# nobody can see it without the original.
#
# ### Too sharp
#
# A network can also err by drawing an edge sharper than it was. A spectrum shows it: the power of
# the luma in rings of equal spatial frequency, of the enlargement against that of the original.
# Below 0 dB detail is missing. Above, there is more than there was.
#
# *Predict:* on which side of 0 dB is bicubic interpolation? And a network?


# %%
def spectrum(image):
    """Mean power of the luma in 25 rings of frequency, 0 to 0.5 cycles a pixel: (25,)."""
    luma = rgb_to_y(image).astype(float)
    fade = np.hanning(luma.shape[0])[:, None] * np.hanning(luma.shape[1])  # no jump at the edges
    power = np.abs(np.fft.fft2((luma - luma.mean()) * fade)) ** 2
    rows, columns = (np.fft.fftfreq(length) for length in luma.shape)
    frequency = np.hypot(rows[:, None], columns)
    return stats.binned_statistic(frequency.ravel(), power.ravel(), bins=25, range=(0, 0.5))[0]


def excess(network, photo):
    """Power of an enlargement against that of the original in each ring, in dB."""
    return 10 * np.log10(spectrum(enlarged(network, photo)) / spectrum(photo_pairs[photo].hr))


# %% tags=["folded"]
# @title Draw the spectra
over = {photo: excess("full", photo) for photo in photo_pairs}
sharpest = max(over, key=lambda photo: over[photo].max())
ring = (np.arange(25) + 0.5) / 50  # the middle of each, cycles a pixel
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
for photo, power in over.items():
    panels[0].plot(ring, power, label=photo)
for network in upscalers:
    panels[1].plot(ring, excess(network, sharpest), label=network)
panels[0].set(title="full network", ylabel="power against the original (dB)", ylim=(-30, 12))
panels[1].set(title=f"{sharpest}, which the full network makes too sharp")
for axes in panels:
    axes.axhline(0, color="black", linewidth=1)
    axes.axvline(0.5 / scale, color="grey", linestyle=":")
    axes.set_xlabel("frequency (cycles a pixel)")
    axes.legend(loc="lower left", fontsize=9)
show(
    figure,
    "Power of enlargements against that of the original over frequency. Left the full network on "
    "each photograph: brick rises above 0 dB, the others fall. Right three methods on "
    f"{sharpest}: both networks rise above 0 dB, bicubic interpolation falls. A dotted line marks "
    "the sampling limit of the LR image.",
)

# %% tags=["folded"]
# @title Draw the place
again = imresize(enlarged("full", sharpest), 1 / scale).astype(float)
off = np.abs(again - photo_pairs[sharpest].lr).mean()
print(f"{sharpest}, full, shrunk again: {off:.2f} grey levels from the LR image")
versions = {"original": photo_pairs[sharpest].hr}
versions |= {name: enlarged(name, sharpest) for name in upscalers}
top, left, height, width = loudest_box(versions["full"], versions["original"], side // 4)
place = (slice(top, top + height), slice(left, left + width))
show(
    compare({k: v[place] for k, v in versions.items()}, reference="original", scale=scale),
    f"The place of {sharpest} where the full network errs most: original, bicubic, small, full. "
    "Joints between bricks are soft in the original, thin and clear-cut in both networks' "
    "pictures.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Bicubic interpolation is below 0 dB nearly everywhere. So is a network on most photographs, only
# less: right of the dotted line, the sampling limit of the LR image, whatever it draws is what it
# has learned, and the mean of all that is possible is soft.
#
# A line above 0 dB is a photograph that is itself soft. The networks learned from sharp ones, and
# made it as sharp as those. Nothing in the LR image says that this is wrong: shrunk again, the
# result is nearly that image (notebook 01).
#
# </details>
#
# Now go through the pictures yourself. The four windows are original, bicubic, small and full, and
# the caption has the PSNR *in the window*.

# %% tags=["folded"]
# @title Pictures beside each other


def strip(images, factor):
    """Put images beside each other, each pixel as a square, with a white gap."""
    large = [image.repeat(factor, axis=0).repeat(factor, axis=1) for image in images]
    gap = np.full((large[0].shape[0], 4, 3), 255, dtype=np.uint8)
    return np.concatenate([part for image in large for part in (gap, image)][1:], axis=1)


# %% tags=["folded"]
# @title A slider for the window
window = 56  # pixels


def window_at(picture, down, across):
    """Cut the same window out of all versions of a photograph."""
    hr = photo_pairs[picture].hr
    top, left = (int(p * (n - window)) for p, n in zip((down, across), hr.shape))
    inside = (slice(top, top + window), slice(left, left + window))
    parts = {name: enlarged(name, picture)[inside] for name in upscalers}
    target = rgb_to_y(hr[inside])
    scores = [
        f"{name} {psnr(rgb_to_y(part), target, data_range=255):.2f} dB"
        for name, part in parts.items()
    ]
    return strip([hr[inside], *parts.values()], 4), "original; " + ", ".join(scores)


window_slider = Explorer(
    window_at,
    picture=ipywidgets.Dropdown(options=list(photo_pairs), value="camera"),
    down=ipywidgets.FloatSlider(0.25, min=0, max=1, step=0.01),
    across=ipywidgets.FloatSlider(0.45, min=0, max=1, step=0.01),
)
window_slider

# %% [markdown]
# ## 4. Inputs of another kind
#
# The benchmark's LR images were shrunk by one certain bicubic resize, and so were the images that
# the networks were trained on. A photograph from the net has been through JPEG. One from a camera
# has noise.
#
# *Predict:* take the same LR images, saved as JPEG of quality 90, which few can tell from the
# original. How much of the gain over bicubic interpolation is left? And at quality 50?


# %%
def jpeg(image, quality):
    """Write and read a JPEG file in memory."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(quality))
    return np.array(Image.open(buffer))


def noisy(image, sigma):
    """Add the same Gaussian noise each time, sigma in grey levels."""
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(np.floor(image + noise + 0.5), 0, 255).astype(np.uint8)


damages = {  # from little to much
    "JPEG quality": (jpeg, (100, 95, 90, 80, 70, 60, 50, 40, 30)),
    "noise (grey levels)": (noisy, (0, 1, 2, 4, 6, 8, 12)),
}
crops = {name: middle(image, crop_side) for name, image in photographs.items()}
crop_pairs = make_pairs(crops, scale)

# %%
rows, damaged_outputs = [], {}
for kind, (damage, strengths) in damages.items():
    for strength in strengths:
        for name, lr, hr in crop_pairs:
            damaged_lr = damage(lr, strength)
            for network, upscaler in upscalers.items():
                sr = damaged_outputs[kind, strength, name, network] = upscaler(damaged_lr)
                rows.append((kind, strength, name, network, score(sr, hr, scale)[0]))
damaged = pd.DataFrame(rows, columns=["kind", "strength", "image", "network", "psnr_db"])
damaged = damaged.pivot(index=["kind", "strength", "image"], columns="network", values="psnr_db")

# %% tags=["folded"]
# @title Draw the gain on damaged inputs
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
for axes, (kind, (_, strengths)) in zip(panels, damages.items()):
    for name, marker in (("small", "s-"), ("full", "D-")):
        results = [
            paired_difference(part[name].to_numpy(), part["bicubic"].to_numpy())
            for part in (damaged.loc[kind, strength] for strength in strengths)
        ]
        mean, error = np.array(results).T
        axes.errorbar(range(len(strengths)), mean, error, fmt=marker, capsize=4, label=name)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_xticks(range(len(strengths)), strengths)
    axes.set(xlabel=f"{kind} of the LR image")
panels[0].set_ylabel("gain over bicubic (dB)")
panels[0].legend()
figure.suptitle(f"{len(crop_pairs)} crops of photographs, mean and standard error")
show(
    figure,
    "Gain over bicubic interpolation against JPEG quality and against noise: it falls with both, "
    "towards or below zero.",
)

# %% tags=["folded"]
# @title Where it is lost
for kind, (_, strengths) in damages.items():
    for name in networks:
        above = [(damaged[name] - damaged["bicubic"])[kind, k].mean() for k in strengths]
        lost = [k for k, value in zip(strengths, above) if value < 0]
        worse = f"worse than bicubic at {lost}" if lost else "above bicubic at all of them"
        print(f"{name}, {kind}: {above[0]:+.2f} dB at {strengths[0]}; {worse}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The lines above the text say how much is left, and where it turns to a loss. The baseline gets the
# same damaged input. A network that was trained on clean bicubic images takes what it finds for
# detail, so it sharpens the blocks of the JPEG and the grains of the noise. The network that is
# better on clean images need not be the better one here: compare the two curves. IMDN, in the audit
# of notebook 03, loses 2.6 dB by JPEG of quality 90 (measured in
# `data/records/protocol_audit_imdn.csv`).
#
# </details>
#
# A benchmark with clean inputs says nothing about any of this, so a model card must. The cure is
# training on damaged inputs (Zhang et al. 2021), at some cost on clean ones: notebook 17.

# %% tags=["folded"]
# @title A slider for the JPEG quality
crop_of = {pair.name: pair.hr for pair in crop_pairs}


def after_jpeg(picture, quality):
    """Draw original, bicubic, small and full, made from an LR image of that quality."""
    case = "JPEG quality", quality, picture
    images = [crop_of[picture], *(damaged_outputs[*case, network] for network in upscalers)]
    scores = [f"{network} {damaged.loc[case, network]:.2f} dB" for network in upscalers]
    side = min(crop_side, 112)
    return strip([middle(image, side) for image in images], 2), "original; " + ", ".join(scores)


jpeg_slider = Explorer(
    after_jpeg,
    picture=ipywidgets.Dropdown(options=list(crops), value="chelsea"),
    quality=ipywidgets.SelectionSlider(
        options=damages["JPEG quality"][1], value=50, description="JPEG quality of the LR image"
    ),
)
jpeg_slider

# %% [markdown]
# ## 5. Self-ensemble
#
# Nothing makes a network treat a picture and its mirror image quite alike. So enlarge all eight
# turned and mirrored versions, turn the results back, and average. Where their errors differ, they
# cancel in part. This is the **self-ensemble**, often marked by a "+" behind a network's name.
#
# *Predict:* eight times the time for how many decibels?
#
# ### Exercise 10.3
#
# Write it for any upscaler. Nothing is rounded. `np.rot90` and `np.flip` do the turning.


# %%
def self_ensemble(upscaler, image):
    """Mean of the eight outputs, turned back: image (H, W, 3) -> float (s * H, s * W, 3).

    upscaler takes an image (h, w, 3) of any size and returns a float array (s * h, s * w, 3).
    """
    ### BEGIN SOLUTION
    outputs = []
    for flipped in (False, True):
        for turns in range(4):
            turned = np.rot90(np.flip(image, axis=1) if flipped else image, turns)
            output = np.rot90(upscaler(turned), -turns)
            outputs.append(np.flip(output, axis=1) if flipped else output)
    return np.mean(outputs, axis=0)
    ### END SOLUTION


self_ensemble = check("10.3", self_ensemble)

# %% tags=["folded"]
# @title Without rounding, and by the library


def in_float(network):
    """Make an upscaler of arrays that does not round: (H, W, 3) -> float, 0..255."""

    @torch.inference_mode()
    def upscaler(image):
        image = to_float(np.ascontiguousarray(image)).to(device)
        return 255 * network(image)[0].permute(1, 2, 0).cpu().numpy()

    return upscaler


def rounded(image):
    """Round to 8 bits, as the protocol does: float -> uint8."""
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)


lr = crop_pairs[0].lr
mine = rounded(self_ensemble(in_float(networks["small"]), lr))
library = upscale(networks["small"], lr, ensemble=True)
difference = np.abs(mine.astype(int) - library).max()
print(f"yours and srlib's upscale(..., ensemble=True) differ by at most {difference} grey levels")

# %% [markdown]
# The gain by image and the cost, on the smallest benchmark at hand:

# %% tags=["folded"]
# @title Score and time it
target = next((name for name in sets if name != "photographs"), "photographs")
pairs = sets[target] if target != "photographs" else crop_pairs
ensemble_scores, seconds_of = {}, {}
for name, network in networks.items():
    upscale(network, pairs[0].lr)  # the first run is slower, and is not timed
    for ensemble in (False, True):
        scores, seconds = [], []
        for pair in pairs:
            start = time.perf_counter()
            sr = upscale(network, pair.lr, ensemble=ensemble)
            seconds.append(time.perf_counter() - start)
            scores.append(score(sr, pair.hr, scale)[0])
        ensemble_scores[name, ensemble], seconds_of[name, ensemble] = np.array([scores, seconds])

# %% tags=["folded"]
# @title What it gains, and what it costs
rows = {}
for name in networks:
    mean, error = paired_difference(ensemble_scores[name, True], ensemble_scores[name, False])
    rows[name] = {
        "alone (dB)": ensemble_scores[name, False].mean(),
        "ensemble (dB)": ensemble_scores[name, True].mean(),
        "gain (dB)": mean,
        "standard error": error,
        "worse on": f"{(ensemble_scores[name, True] < ensemble_scores[name, False]).sum()} images",
        "times as long": np.median(seconds_of[name, True] / seconds_of[name, False]),
    }
print(f"{target}, {len(pairs)} images")
tidy(pd.DataFrame(rows).T, digits=3)

# %% [markdown]
# <details><summary>What happened</summary>
#
# A tenth or two, for nearly eight times the time. The standard error and the column beside it say
# how sure the gain is. IMDN gains 0.09 dB on Set5 (measured in
# `data/records/protocol_audit_imdn.csv`).
#
# </details>
#
# It comes from the averaging, not from the network. A table may have it if it says so and states
# the eightfold cost; to compare a network *with* against another *without* is a trick. For the same
# time one may run a larger network, and what that gives depends on its training: compare the step
# from small to full in section 2.
#
# ## 6. An ablation with error bars
#
# An **ablation** takes parts away, to see what each is worth. Eight networks, all trained alike,
# with the same patches in the same order, for the same number of steps:
#
# - **classical CNN**: convolve and pool, as for classification, then enlarge (notebook 04);
# - **plain**: bicubic interpolation first, then convolutions at the output's size;
# - **residual**: the same with skips over blocks and features (notebook 05);
# - **deconvolution**: plain, but on the LR image, enlarged inside (notebook 06);
# - **full**: SrResNet (notebook 07);
# - **full without** block skips, feature skip or image skip: one part taken away.
#
# The plain stacks get He's start, which was made for them (He et al. 2015).
#
# *Predict:* put the eight in order. Then guess how far apart two seeds of one network are.

# %% tags=["experiment"]
scale, size = 4, {"channels": channels, "num_blocks": num_blocks}


class Ablated(SrResNet):
    """The course's network, with some of its parts left out."""

    def __init__(self, deconv=True, block_skips=True, feature_skip=True, image_skip=True):
        super().__init__(scale, **size, image_skip=image_skip)
        self.block_skips, self.feature_skip = block_skips, feature_skip
        self.before = nn.Identity() if deconv else BicubicUpsample(scale)
        if not deconv:  # enlarged at the beginning
            self.upsample = nn.ReLU()
        if not block_skips:
            start_as_he([*self.blocks.modules(), self.body])

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 * H, 4 * W)."""
        x = features = self.head(self.before(lr))
        for block in self.blocks:
            x = block(x) if self.block_skips else F.relu(block.second(F.relu(block.first(x))))
        x = self.body(x) + features if self.feature_skip else self.body(x)
        return self.tail(self.upsample(x), lr)


def start_as_he(layers):
    """Give the convolutions of a plain stack the start made for them (He et al. 2015)."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


# %% tags=["experiment"]
no_skips = {"block_skips": False, "feature_skip": False, "image_skip": False}
makers = {
    "classical CNN": functools.partial(PoolingCNN, scale, channels=channels),
    "plain": functools.partial(Ablated, deconv=False, **no_skips),
    "residual": functools.partial(Ablated, deconv=False, image_skip=False),
    "deconvolution": functools.partial(Ablated, **no_skips),
    "full without block skips": functools.partial(Ablated, block_skips=False),
    "full without feature skip": functools.partial(Ablated, feature_skip=False),
    "full without image skip": functools.partial(Ablated, image_skip=False),
    "full": Ablated,
}
device = "cuda" if torch.cuda.is_available() else "cpu"
train_pairs = make_pairs(load_images("bundled/train"), scale)
small_crops = {name: middle(sample_image(name), 96) for name in sample_names("test")}
small_pairs = make_pairs(small_crops, scale)


def patches(seed):
    """Return random patches of the training photographs, the same for the same seed."""
    options = {"lr_patch_size": 12, "batch_size": 8}
    return PatchSampler(train_pairs, scale, **options, seed=seed, device=device)


def by_crop(upscaler):
    """PSNR of each crop in dB, by the protocol."""
    table = evaluate(upscaler, small_pairs, scale, progress=False)
    return table["psnr_db"].drop("mean").to_dict()


# %% tags=["experiment"]
config = TrainConfig(steps=steps, learning_rate=1e-3)
ablation = compare_trainings("10_ablation", makers, patches, config, by_crop, seeds=seeds)

# %% tags=["folded"]
# @title Draw the ablation
long_ablation = long_run("10_ablation")
base_db = pd.Series(by_crop(functools.partial(imresize, scale=scale)))
figure = plot_trainings(
    ablation, long_ablation, baselines={"bicubic": base_db.mean()}, lowest_db=base_db.mean() - 5
)
figure.set_size_inches(10, 4.8)
show(
    figure,
    "PSNR against step for eight networks, here and in the long run. Those with the image skip "
    "start at bicubic; the others start far below and have passed it, or not, by the end. The "
    "classical CNN stays below what is drawn.",
)
print(long_ablation.summary())

# %% [markdown]
# Each training has a score for each crop, and all saw the same patches in the same order. So the
# differences to the full network are paired twice: over the seeds, and over the crops.
#
# ### Exercise 10.4: find the bug
#
# How sure is a mean difference, if both networks were trained again from other seeds and scored on
# the same crops? Somebody has 3 seeds and 6 crops, and takes all 18 differences for independent.
# The error comes out wrong: too small where another seed moves all crops together, too large where
# the crops differ among themselves, which has nothing to do with seeds.
#
# ```python
# def error_over_seeds(scores_a, scores_b):
#     differences = (scores_a - scores_b).ravel()
#     return differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5
# ```
#
# What is independent here, and how many of these are there? Write it right.


# %%
def error_over_seeds(scores_a, scores_b):
    """Mean of a minus b and its standard error over seeds: arrays (crops, seeds) -> two floats.

    Both networks were trained from the same seeds: a column each.
    """
    ### BEGIN SOLUTION
    differences = (scores_a - scores_b).mean(axis=0)  # one for each seed
    return differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5
    ### END SOLUTION


error_over_seeds = check("10.4", error_over_seeds)

# %% [markdown]
# Turned on its side, the same function gives the error over crops: what if the pictures had been
# others? With so few of either, a standard error is itself uncertain, so the bar is higher than
# two: Student's t tells how high. A difference is called sure where it passes both bars.


# %%
def paired(run, a, b):
    """Mean of a minus b in dB, then its standard errors over seeds and over crops, and two bars."""
    table = run.parts.pivot(index="part", columns=["candidate", "seed"], values="psnr_db")
    scores_a, scores_b = table[a].to_numpy(), table[b].to_numpy()  # (crops, seeds)
    mean, seed_error = error_over_seeds(scores_a, scores_b)
    _, crop_error = error_over_seeds(scores_a.T, scores_b.T)
    bars = [stats.t.ppf(0.975, count - 1) for count in scores_a.shape[::-1]]
    return mean, seed_error, crop_error, *bars


# %% tags=["folded"]
# @title How to compare with one of them
def against(run, now, reference):
    """Table of all candidates of a long run against one of them; the time is that of this run."""
    seconds = now.curves.groupby(["candidate", "seed"])["seconds"].max().groupby("candidate").min()
    rows = {}
    for name, scores in run.scores().iterrows():
        rows[name] = {
            "parameters": run.record["parameters"][name],
            "times as long, this run": seconds[name] / seconds[reference],
            "gain (dB)": scores.mean() - base_db.mean(),
            "range over seeds": np.ptp(scores),
        }
        if name != reference:
            mean, seed_error, crop_error, seed_bar, crop_bar = paired(run, name, reference)
            bars = {"seeds": seed_bar * seed_error, "crops": crop_bar * crop_error}
            sure = [what for what, bar in bars.items() if abs(mean) > bar]
            rows[name] |= {
                f"minus {reference}": mean,
                "error, seeds": seed_error,
                "error, crops": crop_error,
                "beyond chance for": " and ".join(sure) or "neither",
            }
    return pd.DataFrame(rows).T


# %% tags=["folded"]
# @title Each network against the full one
tidy(against(long_ablation, ablation, "full"))

# %% tags=["folded"]
# @title What each step is worth
for a, b in (
    *(("residual", "plain"), ("deconvolution", "plain")),
    *(("full without image skip", "deconvolution"), ("full", "full without image skip")),
):
    mean, error, _, bar, _ = paired(long_ablation, a, b)
    print(f"{a} minus {b}: {mean:+.2f} dB, {abs(mean) / error:.1f} standard errors; bar {bar:.1f}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The image skip is worth more than a decibel: without it the network ends about where bicubic
# interpolation is. Block skips and feature skip bring no more than chance gives. Three blocks are
# no depth, and the image skip is a way around all of them; with twelve blocks the block skips
# decide (notebook 05). So an ablation holds for one size.
#
# Where the last column says "seeds" only, another training would show the same, but other pictures
# perhaps not: the crops differ too much, and there are six.
#
# From below the same parts look otherwise. Skips help the plain network. Deconvolution makes it
# worse in these steps, because it has to learn the enlarging. Whatever ends below bicubic
# interpolation has not finished: its curve is flat at the end because the learning rate went to
# zero. What is compared there is how fast a network learns to make a picture at all.
#
# </details>
#
# How to read such a table:
#
# - All have one learning rate. A fair contest looks for the best one of each.
# - Plain and residual work at the output's size, so the same number of steps takes them longer:
#   the column says how many times. At equal **time** the others would get more steps. A paper that
#   fixes one of the two must say which.
# - The pooling network has most of its parameters in one wide deconvolution. They do not bring
#   back the positions that it has thrown away (notebook 04).
# - Among many rows, one difference near the bar may be the one case of twenty that chance makes.
#
# ## 7. A difference of tenths
#
# Those were differences of decibels. Most papers argue about tenths. So, a closer race: the full
# network with three ways of enlarging, from notebook 06. The long run has five seeds.
#
# *Predict:* is there a winner?

# %% tags=["experiment"]
close = {
    name: functools.partial(SrResNet, scale, upsampler=name, **size)
    for name in ("deconv", "pixel_shuffle", "resize_conv")
}
config = TrainConfig(steps=close_steps, learning_rate=1e-3)
race = compare_trainings("10_close", close, patches, config, by_crop, seeds=close_seeds)

# %% tags=["folded"]
# @title Draw the close race
long_race = long_run("10_close")
figure, panels = plt.subplots(1, 2, figsize=(10, 3.8))
for axes, run, title in zip(panels, (race, long_race), ("this run", "the long run"), strict=True):
    gains = run.scores() - base_db.mean()
    axes.plot(range(len(gains)), gains, ".-", color="grey", linewidth=0.6)  # a line a seed
    errors = gains.std(axis=1, ddof=1) / gains.shape[1] ** 0.5
    for place in range(len(gains)):
        mean, error = gains.iloc[place].mean(), errors.iloc[place]
        axes.errorbar(place + 0.15, mean, error, fmt="D", capsize=6, color=f"C{place}")
    axes.set_xticks(range(len(gains)), gains.index)
    axes.set(ylabel="PSNR above bicubic (dB)", xlim=(-0.5, len(gains) - 0.5))
    axes.set_title(f"{title}: {run.curves['step'].max():,} steps, {gains.shape[1]} seeds")
show(
    figure,
    "Gain over bicubic of three upsamplers, a dot for each seed joined by lines, and mean with "
    "standard error; left in this run, right in the long run.",
)

# %% tags=["folded"]
# @title The race as a table, and as duels
print(long_race.summary())
ends = long_race.scores()
for a, b in itertools.combinations(ends.index, 2):
    duels = [x > y for x, y in itertools.product(ends.loc[a], ends.loc[b])]
    print(f"one training of each, any seeds: {a} beats {b} in {sum(duels)} of {len(duels)} cases")
tidy(against(long_race, race, "pixel_shuffle"), digits=3)

# %% [markdown]
# <details><summary>What happened</summary>
#
# There is none. In the long run the three lie within a tenth, the seeds overlap, and the duels are
# won by either side. The left panel, after a few steps, shows who starts faster. That is another
# question.
#
# </details>
#
# The duels are what a paper with one seed each would have found. Where the count is far from none
# and from all, such a paper could have claimed either.
#
# "Neither" does not mean that two networks are equal. It means that these seeds and crops do not
# tell. And a sure difference holds for this size and this many steps, no further: a longer training
# may turn it round. The three differ in parameters and in time, too, so even a sure winner may owe
# it to these.
#
# ## 8. Measure something of your own
#
# **Open.** All LR images here were shrunk by one bicubic resize. Many cameras and programs average
# each 4 x 4 pixels instead. How much of the gain is left then? Say first what you expect: a box
# average loses no more than bicubic shrinking does.
#
# <details><summary>A sample answer</summary>
#
# ```python
# rows = {}
# for name, pair in {pair.name: pair for pair in crop_pairs}.items():
#     h, w = pair.lr.shape[:2]
#     mean = pair.hr.reshape(h, scale, w, scale, 3).mean(axis=(1, 3))
#     for shrunk, lr in (("bicubic", pair.lr), ("box", rounded(mean))):
#         scores = {n: score(f(lr), pair.hr, scale)[0] for n, f in upscalers.items()}
#         rows[name, shrunk] = scores["full"] - scores["bicubic"]
# pd.Series(rows).unstack().round(2)
# ```
#
# A box average is a little softer than the bicubic one, and the network does not know it. It loses
# a good part of its gain, and on some crops all of it. No noise, no JPEG: only another filter. The
# name of the resize belongs beside every score (notebook 03).
#
# </details>

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers
for name, values in by_image.items():
    means = values.groupby(level=0, sort=False).mean()
    print(f"{name}: " + ", ".join(f"{key} {value:.2f} dB" for key, value in means.items()))
mean, error = paired_difference(by_image["full"].to_numpy(), by_image["small"].to_numpy())
print(f"full minus small: {mean:+.2f} dB, standard error {error:.2f}, {len(by_image)} images")
print(f"least gain on {least}, most on {most}: {gain[least]:+.2f} and {gain[most]:+.2f} dB")
for name in networks:
    fine, coarse = (
        (damaged[name] - damaged["bicubic"])["JPEG quality", q].mean() for q in (100, 50)
    )
    print(f"{name}, gain over bicubic at JPEG quality 100 and 50: {fine:+.2f} and {coarse:+.2f} dB")
    extra = ensemble_scores[name, True] - ensemble_scores[name, False]
    ratio = np.median(seconds_of[name, True] / seconds_of[name, False])
    print(f"{name}, self-ensemble: {extra.mean():+.3f} dB for {ratio:.1f} times the time")
for name, values in (long_ablation.scores() - base_db.mean()).iterrows():
    print(f"{name}: {values.mean():+.2f} dB against bicubic, range over seeds {np.ptp(values):.2f}")

# %% [markdown]
# - A mean over images has a standard error, and pairing makes that of a difference far smaller.
# - What remains after a network is texture and the finest structure. On inputs that are not like
#   those it was trained on, the gain shrinks, and a soft photograph comes out too sharp.
# - The self-ensemble gives a little, for eight times the work.
# - Seeds of one network can lie as far apart as two networks. One seed proves little, and a
#   difference counts from several standard errors on.
#
# ## Pitfalls
#
# - **Choosing by the benchmark.** The best of ten checkpoints on Set5 is too good by what chance
#   gives the best of ten. Choose on other images, score once.
# - **Benchmark images in the training set.** BSD100 is the `val` part of BSDS500; training sets
#   from the net may hold any of them.
# - **A self-ensemble that is not named**, or a network with against others without.
# - **Equal steps or equal time** favour different networks. Parameters say little about either.
# - **Published numbers** are other people's data, steps and seeds, mostly one seed. They are for
#   orientation; a claim needs your own run of both.
# - **The mean alone.** An upscaler for scanned text may be judged by faces and a butterfly.
#
# ## Further reading
#
# - R. Timofte, R. Rothe, L. Van Gool, "Seven ways to improve example-based single image super
#   resolution", CVPR, 2016. The self-ensemble, there called enhanced prediction.
# - B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single image
#   super-resolution", CVPR Workshops, 2017. EDSR, and EDSR+ with the self-ensemble.
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017. SRResNet.
# - M. Bevilacqua, A. Roumy, C. Guillemot, M.-L. Alberi Morel, "Low-complexity single-image
#   super-resolution based on nonnegative neighbor embedding", BMVC, 2012. Set5.
# - R. Zeyde, M. Elad, M. Protter, "On single image scale-up using sparse-representations", Curves
#   and Surfaces, 2010. Set14.
# - D. Martin, C. Fowlkes, D. Tal, J. Malik, "A database of human segmented natural images and its
#   application to evaluating segmentation algorithms and measuring ecological statistics", ICCV,
#   2001. BSD100.
# - J.-B. Huang, A. Singh, N. Ahuja, "Single image super-resolution from transformed
#   self-exemplars", CVPR, 2015. Urban100.
# - X. Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys, 2021.
# - K. Zhang, J. Liang, L. Van Gool, R. Timofte, "Designing a practical degradation model for deep
#   blind image super-resolution", ICCV, 2021. Training on damaged inputs.
# - K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level
#   performance on ImageNet classification", ICCV, 2015. The start of the plain networks.
