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
# # 17 Real photographs
#
# A photograph of your own has been through a lens, a sensor and a JPEG file, perhaps through
# several. The networks of the course have seen none of that. They take its traces for detail and
# draw them larger. In this notebook you make such traces yourself, at random, and train them away.
# That has a price, and you can choose how much of it to pay.
#
# **After this you can**
#
# - degrade photographs at random as a camera and the net do, and say why the order counts;
# - cure a trained network in minutes, and measure what the cure costs on clean pictures;
# - enlarge a photograph of your own at a strength that you chose, and say why a score without an
#   original should not choose it.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 3 on an A100.

# %% tags=["folded"]
# @title Imports
import functools
import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image, sample_names
from srlib.degradation import TERMS, DegradedSampler, RandomDegradation, degrade, jpeg
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import compare, show
from srlib.figures.history import plot_trainings
from srlib.image import to_float, to_uint8
from srlib.metrics import score
from srlib.models import blend, load_pretrained
from srlib.perception import NaturalModel, niqe
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
seconds = by_profile(ci=0.5, cpu=60, gpu=60)  # of the cure in section 3
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
steps = by_profile(ci=2, cpu=60, gpu=300, long=3000)

# %% [markdown]
# A picture from the net: small, and saved as a JPEG of quality 40. Nobody has kept the original.

# %% tags=["folded"]
# @title Enlarge a picture from the net
small, real = (load_pretrained(f"srresnet_{kind}_x4") for kind in ("small", "real"))
photo = jpeg(sample_image("chelsea")[60:135, 110:210], 40)
versions = {"bicubic": imresize(photo, 4)}
versions |= {"srresnet_small_x4": upscale(small, photo), "srresnet_real_x4": upscale(real, photo)}
show(
    compare(versions),
    "A cat's eye from a small JPEG, enlarged four times. Bicubic interpolation and the network for "
    "clean pictures show the blocks of the JPEG, the network for real photographs does not.",
)

# %% [markdown]
# ## 1. What happens before you get it
#
# Notebook 01 wrote it as a formula: blur, shrinking, noise, JPEG, in this order. `degrade` is that
# chain, and it takes the terms in any order. Move one slider at a time. The right half is what the
# network for clean pictures makes of the left half.


# %% tags=["folded"]
# @title The sliders of damage
ORDERS = {
    "camera": TERMS,
    "JPEG before the noise": ("blur", "shrink", "jpeg", "noise"),
    "JPEG before the shrinking": ("blur", "noise", "jpeg", "shrink"),
}


def part_of(image, across, down, side):
    """Cut a square out of an image; across and down in 0..1."""
    side = min(side, *image.shape[:2])
    top, left = round(down * (image.shape[0] - side)), round(across * (image.shape[1] - side))
    return image[top : top + side, left : left + side]


def damaged_and_enlarged(image, blur, noise, quality, order, across, down):
    """Draw the LR picture in large pixels, and its enlargement by the network."""
    part = part_of(image, across, down, 192)
    values = {"blur": blur, "noise": noise, "quality": quality or None}
    lr = degrade(part, 4, **values, order=ORDERS[order])
    sr = upscale(small, lr)[: part.shape[0], : part.shape[1]]
    shown = lr.repeat(4, 0).repeat(4, 1)[: part.shape[0], : part.shape[1]]
    caption = f"LR, in large pixels | enlarged, PSNR {score(sr, part, 4)[0]:.2f} dB (luma)"
    return np.hstack([shown, sr]).repeat(2, axis=0).repeat(2, axis=1), caption


# %% tags=["folded"]
# @title The sliders themselves
fraction = {"min": 0, "max": 1, "step": 0.01}
qualities = [("no JPEG", 0), *((str(q), q) for q in (95, 90, 80, 70, 60, 50, 40, 30, 20, 10))]
damage_sliders = Explorer(
    damaged_and_enlarged,
    photo=PhotoPicker("chelsea", names=sample_names("test")),
    blur=ipywidgets.FloatSlider(0, min=0, max=4, step=0.1, description="blur sigma (HR pixels)"),
    noise=ipywidgets.IntSlider(0, min=0, max=30, description="noise sigma (levels)"),
    quality=ipywidgets.SelectionSlider(options=qualities, value=40, description="JPEG quality"),
    order=ipywidgets.Dropdown(options=list(ORDERS)),
    across=ipywidgets.FloatSlider(0.4, **fraction, description="part, across"),
    down=ipywidgets.FloatSlider(0.3, **fraction, description="part, down"),
)
damage_sliders

# %% [markdown]
# Does the order count? Take the same noise and the same JPEG, before the shrinking or after it.
#
# *Predict:* which of the four pictures is farthest from the clean one? Which is hardly damaged?

# %% tags=["folded"]
# @title The same terms in four orders
four = {
    "camera": TERMS,
    "JPEG, then noise": ("blur", "shrink", "jpeg", "noise"),
    "noise before the shrinking": ("noise", "blur", "shrink", "jpeg"),
    "all before the shrinking": ("blur", "noise", "jpeg", "shrink"),
}
hr = sample_image("chelsea")[20:276, 80:400]
clean = degrade(hr, 4)
in_order = {name: degrade(hr, 4, noise=12, quality=40, order=o) for name, o in four.items()}
figure, panels = plt.subplots(1, 5, figsize=(11, 3))
for axes, (name, picture) in zip(panels, {"clean": clean, **in_order}.items()):
    axes.imshow(picture[10:50, 15:55], interpolation="nearest")
    axes.set_axis_off()
    off = np.sqrt(np.mean((picture.astype(float) - clean) ** 2))
    axes.set_title(name.replace(" before", "\nbefore") + f"\nRMS {off:.1f} grey levels", fontsize=9)
    print(f"{name}: {off:.1f} grey levels from the clean LR picture (root mean square)")
show(
    figure,
    "The cat's eye at low resolution five times: clean, in a camera's order, with the noise after "
    "the JPEG, with the noise before the shrinking, and with all before the shrinking. The last is "
    "hardly damaged.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# What comes before the shrinking is averaged away with it: sixteen pixels become one. Noise that
# comes after the JPEG stays as it is, beside what the JPEG does: that is farthest. A JPEG after the
# noise throws a part of it away, and makes blotches and blocks of the rest.
#
# </details>
#
# So a network that was trained in one order meets pictures of another order unprepared. Here
# everything is trained in a camera's order. "Designing a practical degradation model" (Zhang et
# al., 2021) shuffles it, and Real-ESRGAN (Wang et al., 2021) sends each picture through twice.
#
# ### Exercise 17.1: find the bug
#
# Somebody adds noise to photographs, and black specks appear in a white sky:
#
# ```python
# def add_noise(image, noise):
#     return (image + noise).astype(np.uint8)
# ```
#
# The average picture looks right, and a network trains on it without complaint. Write it right.


# %%
def add_noise(image, noise):
    """Add noise, float (H, W, 3) in grey levels, to a uint8 image: uint8, rounded half up."""
    ### BEGIN SOLUTION
    return np.floor(np.clip(image + noise, 0, 255) + 0.5).astype(np.uint8)
    ### END SOLUTION


add_noise = check("17.1", add_noise)

# %% [markdown]
# Stuck? `hint("17.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("17.1")

# %% [markdown]
# ## 2. At random
#
# Nobody tells the network what has happened to a picture. So it is shown everything that may have
# happened: each training patch is degraded in its own way. `RandomDegradation` holds the ranges,
# `DegradedSampler` draws the patches.

# %% tags=["experiment"]
scale = 4
task = SmallTask(scale)
everything = RandomDegradation(blur=(0, 2), noise=(0, 15), quality=(30, 95), left_out=0.3)


def damaged_patches(seed, degradation=everything):
    """Batches of 8 patches of 12 x 12 LR pixels."""
    options = {"lr_patch_size": 12, "batch_size": 8, "device": task.device}
    return DegradedSampler(task.train_pairs, scale, degradation, seed=seed, **options)


# %%
print(everything)
batch_lr, batch_hr = damaged_patches(seed=3).sample()
print(tuple(batch_lr.shape), tuple(batch_hr.shape))

# %% tags=["folded"]
# @title Draw the batch
figure, panels = plt.subplots(2, 8, figsize=(11, 3.2))
for row, (name, batch) in zip(panels, (("LR", batch_lr), ("HR", batch_hr))):
    for axes, patch in zip(row, batch):
        axes.imshow(patch.permute(1, 2, 0).cpu(), interpolation="nearest", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
show(
    figure,
    "Eight pairs of patches: below the original, above the same at a quarter of the size. Some are "
    "noisy, some blurred, some have blocks of JPEG, some are clean.",
)

# %% [markdown]
# Two things are easily done wrong. JPEG cuts a picture into blocks of 8 x 8 pixels that begin at
# its corner. If each patch were compressed by itself, all blocks of the training would begin at a
# patch's corner, and those of photographs do not. And blur at the edge of a patch lacks what lies
# beyond. So a larger patch is degraded, and a border of random width is cut off.
#
# ## 3. The cure
#
# The network `srresnet_small_x4` was trained for hours on clean pictures. Nothing of that has to be
# thrown away: it is trained on, with damaged pictures. That is **fine-tuning**.
#
# *Predict:* how many seconds does it take until one sees the difference?

# %%
cured = load_pretrained("srresnet_small_x4")
history = train(cured, damaged_patches(seed=0), TrainConfig(seconds=seconds, learning_rate=3e-4))
cured.eval()
print(f"{history.index[-1]:,} steps in {seconds:g} s")

# %% tags=["folded"]
# @title Before and after
before_after = {"before": upscale(small, photo), f"after {seconds:g} s": upscale(cured, photo)}
show(
    compare({"bicubic": imresize(photo, 4)} | before_after),
    "The cat's eye again: bicubic, the network before and after fine-tuning. Before, blocks and "
    "coloured seams are seen, after it hardly any.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Blocks and coloured seams go within the first seconds of training. What was already lost does not
# come back: the fine hairs stay away.
#
# </details>
#
# ### What does each term do?
#
# The long run fine-tunes four times: on clean pictures, on noise alone, on JPEG alone, on
# everything. Each is scored on crops that were damaged in one way each. All start from the same
# network and do the same number of steps.
#
# *Predict:* is the network for everything better on JPEG than the one for JPEG alone? And what do
# the four do on clean pictures?

# %% tags=["folded", "experiment"]
# @title Four ways to draw damage
NOTHING = {"blur": (0, 0), "noise": (0, 0), "kernels": ("bicubic",)}
KINDS = {
    "clean": RandomDegradation(**NOTHING, left_out=1),
    "noise": RandomDegradation(**NOTHING | {"noise": (0, 15)}, quality=None, left_out=0),
    "JPEG": RandomDegradation(**NOTHING, quality=(30, 95), left_out=0),
    "everything": everything,
}
# %% tags=["folded", "experiment"]
# @title The damages that all are scored on
DAMAGES = {
    "clean": {},
    "JPEG 90": {"quality": 90},
    "JPEG 60": {"quality": 60},
    "JPEG 30": {"quality": 30},
    "noise 5": {"noise": 5},
    "noise 15": {"noise": 15},
    "blur 2": {"blur": 2},
    "all, mild": {"blur": 1, "noise": 5, "quality": 60},
}
crops = [pair.hr for pair in task.test_pairs]


def psnr_on(enlarge, damage):
    """Mean PSNR in dB over the crops, each damaged so."""
    pairs = [(degrade(crop, scale, seed=k, **damage), crop) for k, crop in enumerate(crops)]
    return float(np.mean([score(enlarge(lr), crop, scale)[0] for lr, crop in pairs]))


def psnr_by_damage(network):
    """PSNR in dB for each kind of damage."""
    return {name: psnr_on(lambda lr: upscale(network, lr), d) for name, d in DAMAGES.items()}


# %% tags=["experiment"]
term_runs = compare_trainings(
    "17_terms",
    dict.fromkeys(KINDS, lambda: load_pretrained("srresnet_small_x4")),
    damaged_patches,
    TrainConfig(steps=steps, learning_rate=3e-4),
    psnr_by_damage,
    seeds=seeds,
    settings={
        kind: {"make_sampler": lambda seed, ranges=ranges: damaged_patches(seed, ranges)}
        for kind, ranges in KINDS.items()
    },
)

# %% tags=["folded"]
# @title Draw the long run
term_long = long_run("17_terms")
before_db = psnr_by_damage(load_pretrained("srresnet_small_x4"))
bicubic_db = {name: psnr_on(lambda lr: imresize(lr, scale), d) for name, d in DAMAGES.items()}
show(
    plot_trainings(term_runs, term_long, baselines={"bicubic": np.mean(list(bicubic_db.values()))}),
    "Mean PSNR over eight kinds of damage against the step, for four fine-tunings, here and in the "
    "long run.",
)

# %% tags=["folded"]
# @title Damage by damage
ends = term_long.parts.pivot_table(
    index="part", columns=["candidate", "seed"], values="psnr_db", sort=False
)
table = pd.DataFrame({kind: ends[kind].mean(axis=1) for kind in KINDS})
print(term_long.summary())
for name in DAMAGES:
    gain = ends["everything"].loc[name] - before_db[name]
    over = table.loc[name, "everything"] - bicubic_db[name]
    print(
        f"everything, on {name}: {gain.mean():+.2f} dB by fine-tuning "
        f"({gain.min():+.2f} to {gain.max():+.2f}), {over:+.2f} dB over bicubic"
    )
alone = ends["JPEG"].loc["JPEG 60"] - ends["everything"].loc["JPEG 60"]
print(f"on JPEG 60, JPEG alone against everything: {alone.min():+.2f} to {alone.max():+.2f} dB")
table = table.assign(before=before_db, bicubic=bicubic_db)
table.style.format(precision=2).highlight_max(axis=1, props="font-weight: bold")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Each is best at the strong damage that it was shown. On JPEG the one for JPEG is ahead of the one
# for everything in each seed; where a mild blur and noise came before it, in the mean only. The
# one for everything is best at blur, which no other has seen. At slight damage, noise of 5 and a
# quality of 90, it is behind the network that it began as.
#
# On clean crops it pays most, and so does the one for JPEG: what looks like a block may be a roof.
#
# </details>
#
# So whoever knows what happened to a picture takes a network for just that. The one for everything
# is for those who do not know, and most people do not.
#
# ## 4. The price
#
# `srresnet_real_x4` was made in the same way, longer and on more photographs: its card in
# `data/weights` has the ranges. Here it is beside the network that it began as.
#
# *Predict:* at which quality of JPEG do the two curves cross?

# %% tags=["folded"]
# @title Draw PSNR against the quality of JPEG, and against noise
sweeps = {
    "JPEG quality": ("quality", (30, 40, 50, 60, 70, 80, 90, 95, 100)),
    "noise sigma (grey levels)": ("noise", (0, 2, 4, 6, 8, 10, 12, 15)),
}
METHODS = {
    "bicubic": lambda lr: imresize(lr, scale),
    "srresnet_small_x4": lambda lr: upscale(small, lr),
    "srresnet_real_x4": lambda lr: upscale(real, lr),
}
curves = {
    (damage, method): [psnr_on(enlarge, {argument: value}) for value in values]
    for damage, (argument, values) in sweeps.items()
    for method, enlarge in METHODS.items()
}

# %% tags=["folded"]
# @title The figure
figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
for axes, (damage, (_, values)) in zip(panels, sweeps.items()):
    for method, style in zip(METHODS, ("o:", "s--", "D-")):
        axes.plot(values, curves[damage, method], style, label=method)
    axes.set(xlabel=damage)
panels[0].set_ylabel("PSNR (dB)")
panels[0].invert_xaxis()
panels[0].legend()
show(
    figure,
    "PSNR against the quality of JPEG and against noise for bicubic interpolation and two "
    "networks. The network for clean pictures falls fast and drops below bicubic; the one for real "
    "photographs stays above bicubic.",
)
clean_db = {name: psnr_on(enlarge, {}) for name, enlarge in METHODS.items()}
price = clean_db["srresnet_small_x4"] - clean_db["srresnet_real_x4"]
over = clean_db["srresnet_real_x4"] - clean_db["bicubic"]
print(f"on clean pictures the cure costs {price:.2f} dB, and leaves {over:.2f} dB over bicubic")

# %% [markdown]
# <details><summary>What happened</summary>
#
# They cross near 90, and at a noise of about 5 grey levels. On the clean side the network for clean
# pictures is ahead, most of all where there is no damage: that is the price. On the other side it
# falls to bicubic and below. The one for real photographs stays above bicubic everywhere here.
#
# </details>
#
# Where does the price come from? A fine line in a clean picture is a fine line. In a picture that
# may have noise it is, perhaps, noise. The network answers with the mean of what may lie behind
# (notebook 16), and doubt makes means softer. Whoever knows that a picture is clean should say so.
#
# ## 5. A strength
#
# So say it: with a number from 0, the picture is clean, to 1, it is badly damaged. There are two
# ways.
#
# - **Blend** the weights of two networks: those before and those after fine-tuning. Each weight is
#   a mean of two. That this gives a network that works, and not rubbish, is an observation about
#   fine-tuned networks (Wang et al., 2019: deep network interpolation); two that were trained
#   apart cannot be blended.
# - **Tell** the network: the strength is one more input, and it is trained with it.
#
# ### Exercise 17.2
#
# Blend the weights of two networks.


# %%
def blend_weights(first, second, strength):
    """From two state dicts a third: all of `first` at strength 0, all of `second` at 1."""
    ### BEGIN SOLUTION
    return {name: torch.lerp(first[name], second[name], strength) for name in first}
    ### END SOLUTION


blend_weights = check("17.2", blend_weights)

# %%
halfway = load_pretrained("srresnet_small_x4")
halfway.load_state_dict(blend_weights(small.state_dict(), real.state_dict(), 0.5))
print(f"{psnr_on(lambda lr: upscale(halfway, lr), {'quality': 60}):.2f} dB on JPEG of quality 60")

# %% [markdown]
# Told, the network needs hardly more. The strength moves the features behind the first
# convolution, all pixels alike, and the blocks can make of it what they want.


# %% tags=["experiment"]
class Told(nn.Module):
    """The small network, told how strong the damage is: (lr, strength) -> sr."""

    scale = 4

    def __init__(self):
        super().__init__()
        self.network = load_pretrained("srresnet_small_x4")
        channels = self.network.head.out_channels
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, batch):
        lr, strength = batch
        features = self.network.head(lr) + strength * self.shift
        features = features + self.network.body(self.network.blocks(features))
        return self.network.tail(self.network.upsample(features), lr)


# %% tags=["experiment"]
class BySeverity(DegradedSampler):
    """Draw a severity for each batch, damage it so, and tell it if asked to.

    Three batches of four have one from 0 to 1, the fourth is clean: 0.
    """

    def __init__(self, seed, tell):
        options = {"lr_patch_size": 12, "batch_size": 8, "device": task.device}
        super().__init__(task.train_pairs, scale, everything, seed=seed, **options)
        self.tell, self.random = tell, np.random.default_rng(seed)

    def sample(self, process=0, processes=1):
        severity = max(0.0, self.random.uniform(-1 / 3, 1))
        damaged = RandomDegradation(**at(severity), left_out=0.3)
        self.degradation = damaged if severity else KINDS["clean"]
        lr, hr = super().sample(process, processes)
        return ((lr, severity) if self.tell else lr), hr

    def state_dict(self):
        return super().state_dict() | {"random": self.random.bit_generator.state}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.random.bit_generator.state = state["random"]


# %% tags=["folded", "experiment"]
# @title What a severity means, and how both ways are scored
SEVERITIES, STRENGTHS = (0, 0.3, 0.6, 1), (0, 0.25, 0.5, 0.75, 1)


def at(severity):
    """Ranges of one point each."""
    quality = round(95 - 65 * severity)
    return {name: (value, value) for name, value in
            (("blur", 2 * severity), ("noise", 15 * severity), ("quality", quality))}  # fmt: skip


def damage_at(severity):
    """The same for `degrade`; at 0 there is none."""
    return {name: value for name, (value, _) in at(severity).items()} if severity else {}


@torch.inference_mode()
def psnr_by_strength(network):
    """PSNR in dB for each severity and each strength."""
    start, found = load_pretrained("srresnet_small_x4").to(task.device), {}
    for strength in STRENGTHS:

        def tell(lr, strength=strength):
            return to_uint8(network((to_float(lr).to(task.device), strength)))

        mixed = None if isinstance(network, Told) else blend(start, network, strength)
        for severity in SEVERITIES:
            enlarge = functools.partial(upscale, mixed) if mixed else tell
            found[f"{severity}, {strength}"] = psnr_on(enlarge, damage_at(severity))
    return found


# %% tags=["experiment"]
strength_runs = compare_trainings(
    "17_strength",
    {"blended": lambda: load_pretrained("srresnet_small_x4"), "told": Told},
    lambda seed: BySeverity(seed, tell=False),
    TrainConfig(steps=steps, learning_rate=3e-4),
    psnr_by_strength,
    seeds=seeds,
    settings={"told": {"make_sampler": lambda seed: BySeverity(seed, tell=True)}},
)

# %% [markdown]
# Both are scored at each severity with each strength.
#
# *Predict:* if somebody always chose the best strength, which way would be ahead? And if nobody
# chose, and it stayed at 1?

# %% tags=["folded"]
# @title Draw the long run
strength_long = long_run("17_strength")
parts = strength_long.parts.assign(
    severity=lambda t: t["part"].str.split(", ").str[0].astype(float),
    strength=lambda t: t["part"].str.split(", ").str[1].astype(float),
)
means = parts.groupby(["candidate", "severity", "strength"])["psnr_db"].mean()
figure, panels = plt.subplots(1, len(SEVERITIES), figsize=(11, 3.4), sharex=True)
for axes, severity in zip(panels, SEVERITIES):
    for way, style in (("blended", "o-"), ("told", "s--")):
        values = means[way, severity]
        axes.plot(values.index, values, style, label=way)
        axes.plot(values.idxmax(), values.max(), "*", color="black", markersize=11, zorder=3)
    axes.set(title=f"severity {severity:g}", xlabel="strength", xticks=STRENGTHS)
panels[0].set_ylabel("PSNR (dB)")
panels[0].legend()
show(
    figure,
    "PSNR against strength at four severities, for the blended and the told network. A star marks "
    "the best strength: it moves to the right with the severity.",
)

# %% tags=["folded"]
# @title In numbers
print(strength_long.summary())
by_seed = parts.pivot_table(
    index=["severity", "strength"], columns=["candidate", "seed"], values="psnr_db"
)
for severity in SEVERITIES:
    best = by_seed.loc[severity].max()
    ahead, at_one = (
        (values["told"] - values["blended"]) for values in (best, by_seed.loc[severity, 1.0])
    )
    print(
        f"severity {severity:g}: told minus blended, best strength {ahead.mean():+.2f} dB "
        f"({ahead.min():+.2f} to {ahead.max():+.2f}), strength 1 {at_one.mean():+.2f} dB"
    )

# %% [markdown]
# <details><summary>What happened</summary>
#
# The best strength grows with the severity: step by step for the network that is told, at once for
# the blended one. On clean crops blending is half a decibel ahead: at strength 0 it is the network
# that it began as, untouched. The one that is told has one set of weights for all strengths. A
# quarter of its batches were clean, and what it learned from the others still costs it something
# there. With the best strength both are within a tenth of a decibel on damaged crops. Where nobody
# chooses and it stays at 1, being told costs on clean and on mildly damaged ones, and gains a
# little on the worst.
#
# </details>
#
# So the slider below blends. It needs no new training, and at 0 nothing is lost. Here the strength
# is told by one shift of the features; the papers below put it into every layer, and tell more.
#
# ### Choose it yourself
#
# Take a photograph of your own, best a small one from the net. Its own JPEG is all the damage there
# is, unless you add some. Where do you stop?


# %% tags=["folded"]
# @title A slider for the strength
def at_strength(image, strength, quality, across, down):
    """Draw a part of a photograph, enlarged bicubically and at a strength."""
    part = part_of(image, across, down, 80)
    lr = jpeg(part, quality) if quality else part
    sr = upscale(blend(small, real, strength), lr)
    caption = "bicubic | srresnet_small_x4 to srresnet_real_x4, "
    return np.hstack([imresize(lr, 4), sr]), caption + f"strength {strength:.2f}"


# %% tags=["folded"]
# @title The slider itself
strength_slider = Explorer(
    at_strength,
    photo=PhotoPicker("coffee", names=sample_names("test"), max_side=640),
    strength=ipywidgets.FloatSlider(1, min=0, max=1, step=0.05),
    quality=ipywidgets.SelectionSlider(options=qualities, value=50, description="add a JPEG"),
    across=ipywidgets.FloatSlider(0.4, **fraction, description="part, across"),
    down=ipywidgets.FloatSlider(0.3, **fraction, description="part, down"),
)
strength_slider

# %% tags=["folded"]
# @title The same for print
pictures = [
    at_strength(sample_image("coffee"), strength, 50, 0.4, 0.3)[0] for strength in (0, 0.5, 1)
]
shown = {"bicubic": pictures[0][:, :320]}
shown |= {f"strength {s:g}": p[:, 320:] for s, p in zip((0, 0.5, 1), pictures)}
figure, panels = plt.subplots(2, 2, figsize=(7, 7))
for axes, (name, picture) in zip(panels.flat, shown.items()):
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_title(name, fontsize=10)
show(
    figure,
    "A part of a cup of coffee from a JPEG of quality 50, enlarged four times: bicubic, and at "
    "strengths 0, 0.5 and 1. Blocks fade as the strength grows.",
)

# %% [markdown]
# ## 6. What the file tells
#
# A JPEG file holds the table by which its writer divided and rounded. The larger its numbers, the
# more is lost. Most programs make it of a table in the standard, which is `BASE` here, and of a
# quality $q$:
#
# $$ S = \lfloor 5000 / q \rfloor \text{ below } 50, \text{ else } 200 - 2q \qquad
# T = \lfloor (S \cdot \text{BASE} + 50) / 100 \rfloor, \text{ at least 1, at most 255} $$
#
# ### Exercise 17.3
#
# Write the table for a quality. With it, the quality of any JPEG file can be found: it is the one
# whose table lies nearest.


# %%
def table_of(base, quality):
    """The table of a JPEG of a quality of 1..100: a whole-number array of the shape of base."""
    ### BEGIN SOLUTION
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((base * factor + 50) // 100).clip(1, 255)
    ### END SOLUTION


table_of = check("17.3", table_of)


# %%
def tables_in(file):
    """The tables for brightness and colour of a JPEG file, and its size."""
    with Image.open(file) as picture:
        return [np.array(table) for table in picture.quantization.values()]


def saved(image, quality):
    """A JPEG file in memory."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file


BASE = tables_in(saved(hr, 50))[0]  # at 50 the table is the standard's


def quality_of(file):
    """The quality whose table for brightness is nearest to the file's."""
    found = tables_in(file)[0]
    return min(range(1, 101), key=lambda q: np.abs(table_of(BASE, q) - found).sum())


print([quality_of(saved(hr, quality)) for quality in (95, 80, 60, 37, 10)])

# %% [markdown]
# `python -m srlib upscale` reads the table too. If a photograph was compressed hard, it says so and
# names the network for it:
#
# ```sh
# python -m srlib upscale photo.jpg large.png --method srresnet_real_x4 --strength 0.5
# ```
#
# Do not trust it blindly. A picture that was compressed hard once, enlarged, and saved again at 95
# has a table of 95 and the blocks of its youth.
#
# ## 7. Scores without an original
#
# Of a real photograph there is no original, so no PSNR. `niqe` (notebook 16) needs none: it tells
# how unlike natural photographs a picture's statistics are, lower is better. Could it choose the
# strength?
#
# *Predict:* here the original is known, for once. Does NIQE choose the strength that PSNR chooses?

# %% tags=["folded"]
# @title NIQE and PSNR against strength
model = NaturalModel.load()
whole = sample_image("coffee")[:384, :576]
chosen = {}
for name in ("clean", "JPEG 60", "noise 15"):
    picture = degrade(whole, scale, **DAMAGES[name])
    for strength in STRENGTHS:
        sr = upscale(blend(small, real, strength), picture)
        chosen[name, strength] = score(sr, whole, scale)[0], niqe(sr, model)
choices = pd.DataFrame(chosen, index=["PSNR (dB)", "NIQE"]).T

# %% tags=["folded"]
# @title Draw them
figure, panels = plt.subplots(2, 3, figsize=(11, 5), sharex=True)
for column, name in zip(panels.T, ("clean", "JPEG 60", "noise 15")):
    for axes, measure, best in zip(column, choices.columns, ("idxmax", "idxmin")):
        values = choices.loc[name, measure]
        axes.plot(values.index, values, "o-")
        where = getattr(values, best)()
        axes.plot(where, values[where], "*", color="C1", markersize=14)
        axes.set_ylabel(measure)
    column[0].set_title(name)
    column[1].set_xlabel("strength")
show(
    figure,
    "PSNR and NIQE against strength for a clean picture, a JPEG and a noisy picture. Stars mark "
    "what each would choose: the same end, though NIQE falls and rises otherwise in between.",
)
for name in ("clean", "JPEG 60", "noise 15"):
    by_psnr, by_niqe = choices.loc[name, "PSNR (dB)"].idxmax(), choices.loc[name, "NIQE"].idxmin()
    lost = choices.loc[name, "PSNR (dB)"].max() - choices.loc[(name, by_niqe), "PSNR (dB)"]
    print(f"{name}: PSNR takes strength {by_psnr}, NIQE {by_niqe}, which costs {lost:.2f} dB")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Of these strengths, yes: on all three it takes the end that PSNR takes. In between it does not
# follow. From 0 to a half the JPEG and the noisy picture become better by PSNR, and less natural to
# NIQE: edges of blocks are edges, and to a score without an original they are detail. Every blend
# seems to it less natural than one of the ends. So it may help to compare, and must not choose.
#
# </details>
#
# ### Open: a chain of your own
#
# Think of a picture that you really have: scanned, sent twice by a messenger, sharpened by a phone.
# Write its chain, and measure on the crops what each network makes of it. Is what is worse than in
# the training also worse than bicubic?
#
# <details><summary>A sample answer</summary>
#
# ```python
# def sent_twice(crop):
#     first = degrade(crop, 4, noise=4, quality=70)
#     return jpeg(np.roll(first, 3, axis=(0, 1)), 50)[3:, 3:]  # cut, so the blocks lie elsewhere
#
# for name, enlarge in METHODS.items():
#     values = [score(enlarge(sent_twice(c)), c[: -12, : -12], 4)[0] for c in crops]
#     print(f"{name}: {np.mean(values):.2f} dB")
# ```
#
# The blocks of two JPEGs lie across each other. No picture of the training had that.
#
# </details>

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers
for name in ("clean", "JPEG 60", "noise 15"):
    gain = ends["everything"].loc[name].mean() - before_db[name]
    print(f"fine-tuned on everything, {name}: {gain:+.2f} dB")
print(f"srresnet_real_x4 on clean crops: {-price:+.2f} dB against the network it began as")
crossing = {m: np.array(curves["JPEG quality", m]) for m in METHODS}
ahead = crossing["srresnet_real_x4"] > crossing["srresnet_small_x4"]
print("ahead of it at JPEG quality", *np.array(sweeps["JPEG quality"][1])[ahead])

# %% [markdown]
# - A network knows the damage that it was shown, and takes any other for detail.
# - Minutes of fine-tuning cure a network that took hours.
# - Doubt costs sharpness. Whoever knows that a picture is clean should say so: by the strength.
# - A file's table tells how hard it was compressed, the last time.
# - A score without an original likes what looks like a photograph, whether or not it is this one.
#
# ## Pitfalls
#
# - **Damage made on patches.** The blocks of JPEG then always begin at the patch's corner, and blur
#   has no neighbours at the edge.
# - **The same noise again.** A generator that is made anew for each batch gives the same noise to
#   each. A network learns to subtract that.
# - **Whole numbers.** Noise on `uint8` wraps around; and a picture that was never rounded to 8 bits
#   carries more than any file does.
# - **A test that was trained on.** If the test is damaged by the same code as the training, a fault
#   of that code is not seen. Take real files as well.
# - **Blended strangers.** Weights of two networks can be blended if one was fine-tuned from the
#   other.
# - **Twice is not once.** A network for real photographs smooths a little each time. Keep the
#   original, and enlarge that.
#
# ## Further reading
#
# - K. Zhang, J. Liang, L. Van Gool, R. Timofte, "Designing a practical degradation model for deep
#   blind image super-resolution", ICCV, 2021. BSRGAN.
# - X. Wang, L. Xie, C. Dong, Y. Shan, "Real-ESRGAN: training real-world blind super-resolution with
#   pure synthetic data", ICCV Workshops, 2021.
# - X. Wang, K. Yu, C. Dong, X. Tang, C. C. Loy, "Deep network interpolation for continuous imagery
#   effect transition", CVPR, 2019.
# - K. Zhang, W. Zuo, L. Zhang, "FFDNet: toward a fast and flexible solution for CNN-based image
#   denoising", IEEE Transactions on Image Processing 27(9), 2018. A network that is told the noise.
# - K. Zhang, W. Zuo, L. Zhang, "Learning a single convolutional super-resolution network for
#   multiple degradations", CVPR, 2018. SRMD, told blur and noise.
# - G. K. Wallace, "The JPEG still picture compression standard", Communications of the ACM 34(4),
#   1991. The tables are in Annex K of ITU-T T.81.
# - A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer",
#   IEEE Signal Processing Letters 20(3), 2013. NIQE.

# %% [markdown]
# # The end of the course
#
# ## What you can do now
#
# - Say what degradation made a low-resolution image, and resize bit for bit as the field does
#   (01, 02).
# - Measure by a stated protocol, and find the cause when a PSNR is 2 dB off (03, 10).
# - Build a residual deconvolution network from its parts, and say what each part is worth (04 to
#   07).
# - Feed, train, stop and resume it, and compare over seeds (08, 09, 10).
# - Make it serve any scale, any size of image, a time limit, a size limit (11, 12, 13).
# - Use several frames, and points instead of pixels (14, 15).
# - Choose between a faithful and a pleasing picture, and say what was invented (16).
# - Enlarge a photograph that nobody prepared for you (17).
#
# ## What the course leaves out
#
# - **Transformers.** They lead the tables of PSNR: J. Liang et al., "SwinIR: image restoration
#   using Swin transformer", ICCV Workshops, 2021; X. Chen et al., "Activating more pixels in
#   image super-resolution transformer", CVPR, 2023.
# - **Diffusion.** Slow, strong, and free to invent: C. Saharia et al., "Image super-resolution
#   via iterative refinement", IEEE Transactions on Pattern Analysis and Machine Intelligence
#   45(4), 2023.
# - **Faces.** A sharp face made of a few pixels need not be that person's, and proves nothing
#   about anybody: S. Menon et al., "PULSE", CVPR, 2020, with its discussion of bias.
# - **Raw bursts.** B. Wronski et al., "Handheld multi-frame super-resolution", ACM Transactions
#   on Graphics 38(4), 2019.
#
# ## Where to read on
#
# - Z. Wang, J. Chen, S. C. H. Hoi, "Deep learning for image super-resolution: a survey", IEEE
#   Transactions on Pattern Analysis and Machine Intelligence 43(10), 2021.
# - E. Agustsson, R. Timofte, "NTIRE 2017 challenge on single image super-resolution: dataset and
#   study", CVPR Workshops, 2017. The yearly reports of that workshop say what wins now.
# - P. Milanfar (editor), *Super-Resolution Imaging*, CRC Press, 2010. The time before networks.
# - R. Szeliski, *Computer Vision: Algorithms and Applications*, 2nd edition, Springer, 2022.
#
# And the best next step is none of these: take images of your own, write down how they were
# degraded, and measure.
