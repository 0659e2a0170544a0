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
# # 16 Perception: faithful, or pleasing
#
# The networks so far are trained to be close to the original, pixel by pixel, and PSNR praises
# them for it. Eyes do not: where grass or fur was, they see wax. SrResNet comes from a paper about
# the cure (Ledig et al. 2017): a second network that tells photographs from enlargements, and a
# first one that learns to deceive it. The result looks like a photograph. What it shows is made up.
#
# **After this you can**
#
# - say why the answer with the best PSNR is soft, and by how many decibels a sharp one must lose;
# - measure how natural a picture is without an original, and say what such a measure misses;
# - train a network against a discriminator, see when that fails, and say where its pictures must
#   not be used.
#
# Time: 80 minutes to read and try. Of these the computer needs at most 2 minutes on two CPU cores;
# calculated, not measured: 2 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import copy
import functools
import importlib.util

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import nn
from torchvision.models import vgg19
from tqdm.auto import tqdm

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import data_file, sample_image
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import compare, show
from srlib.image import to_float
from srlib.metrics import psnr, score
from srlib.models import blend, load_pretrained
from srlib.perception import niqe, power_spectrum, sliced_wasserstein
from srlib.resample import imresize, modcrop, resize_matrix
from srlib.training import TrainConfig, train
from srlib.training.adversarial import (
    AdversarialLoss,
    FeatureLoss,
    PatchDiscriminator,
    vgg_features,
)
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import BlindVote, Explorer, verdict

# %% tags=["parameters"]
reach = by_profile(ci=1, cpu=3, gpu=3)  # pixels by which the answers of section 1 are moved
draws = by_profile(ci=3, cpu=40, gpu=40)  # of random answers, for each point of a curve
loop_steps = by_profile(ci=2, cpu=60, gpu=300)  # of each short training against a discriminator
term_steps = by_profile(ci=2, cpu=20, gpu=200, long=1500)  # of each training in "each term"
term_seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1), long=(0, 1, 2))
crop_side = by_profile(ci=96, cpu=192, gpu=192)  # of the pictures that are measured, in pixels
shares = by_profile(ci=(0.0, 1.0), cpu=(0, 0.25, 0.5, 0.75, 1), gpu=(0, 0.25, 0.5, 0.75, 1))
use_vgg = False  # True downloads 548 MiB, once

# %% [markdown]
# Two networks of one architecture. The faithful one was trained by L1, as in notebook 09. The
# pleasing one started from its weights and went on against a discriminator; section 5 says how.

# %%
scale = 4
faithful = load_pretrained("srresnet_small_x4")
pleasing = load_pretrained("srresnet_gan_x4")

# %% tags=["folded"]
# @title The same picture from both


def pair_of(name, top, left, height=crop_side, width=crop_side):
    """Cut a crop out of a bundled photograph: HR and LR."""
    hr = modcrop(sample_image(name)[top : top + height, left : left + width], scale)
    return hr, imresize(hr, 1 / scale)


coffee_hr, coffee_lr = pair_of("coffee", 20, 60)
versions = {
    "original": coffee_hr,
    "bicubic": imresize(coffee_lr, scale),
    "faithful": upscale(faithful, coffee_lr),
    "pleasing": upscale(pleasing, coffee_lr),
}
side = min(coffee_hr.shape[:2])
show(
    compare({name: image[: side // 3, 8 : 8 + side // 2] for name, image in versions.items()}),
    "A part of a wooden table, enlarged: the original, bicubic interpolation, the faithful "
    "network, which is smooth, and the pleasing one, which has a grain where the original has "
    "another.",
)

# %% [markdown]
# *Predict:* which of the two has the higher PSNR? Which would you hang on a wall?

# %%
for name in ("bicubic", "faithful", "pleasing"):
    print(f"{name}: {score(versions[name], coffee_hr, scale)[0]:.2f} dB")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The faithful one has the higher PSNR: the pleasing one pays for its grain, which is another than
# that of this table. On a wall most would hang the pleasing one. Section 6 asks you, blindly.
#
# </details>
#
# ## 1. The mean of many answers
#
# In notebook 01 one LR picture had six answers, as different as one likes, and nine sharp ones
# whose mean was soft. Here they are again, of a lawn: the original, moved by a few pixels, and
# corrected so that shrinking it gives the same LR picture. Each is as sharp as the original.

# %% tags=["folded"]
# @title explain, from notebook 01


@functools.cache
def matrices(size, scale):
    """The matrix that shrinks a row of `size` pixels, and its pseudo-inverse."""
    shrink = resize_matrix(size, 1 / scale)  # (size / scale, size)
    return shrink, np.linalg.pinv(shrink)


def explain(picture, lr, scale):
    """Nearest picture to `picture` that shrinks to `lr`: floats (H, W, 3), not rounded."""
    (shrink_rows, grow_rows), (shrink_columns, grow_columns) = (
        matrices(size, scale) for size in picture.shape[:2]
    )

    def both_ways(image, rows, columns):
        return np.einsum("ai,ijc,bj->abc", rows, image, columns, optimize=True)

    missing = lr - both_ways(picture.astype(float), shrink_rows, shrink_columns)
    return picture + both_ways(missing, grow_rows, grow_columns)


def to_levels(image):
    """Round to grey levels: floats -> uint8."""
    return (image + 0.5).clip(0, 255).astype(np.uint8)


# %%
grass_hr, grass_lr = pair_of("camera", 310, 140)
moves = sorted(range(-reach, reach + 1), key=abs)  # the first answer is the original
rolled = [np.roll(grass_hr, (down, right), (0, 1)) for down in moves for right in moves]
answers = np.stack([explain(image, grass_lr, scale) for image in rolled])
# (answers, H, W, 3), all with the same LR picture
print(f"{len(answers)} answers")

# %% [markdown]
# A network sees the LR picture only. Somebody draws the truth from these answers and does not tell.
# The network may name one answer, or the mean of several. If a pixel has the variance $v$ over the
# answers, a guess that is drawn like the truth is wrong by $2v$: its own variance, and the truth's.
# The mean of all is wrong by $v$ only. The mean of $K$ lies between, at $v(1 + 1/K)$.
#
# *Predict:* how many decibels does the mean of all win over a guess? And what happens to its
# patches?
#
# A distance of patches needs a distance of two heaps of numbers first. The cheapest way to move
# one heap onto the other sends the smallest number to the smallest, the next to the next. The mean
# way is the **Wasserstein distance**.
#
# ### Exercise 16.1
#
# Each row of `a` and `b` is a heap; where a number lies in it means nothing. Return the distance of
# both, row by row.


# %%
def wasserstein(a, b):
    """Mean way from heap to heap: two float tensors (directions, n) -> (directions,)."""
    ### BEGIN SOLUTION
    return (a.sort(dim=-1).values - b.sort(dim=-1).values).abs().mean(dim=-1)
    ### END SOLUTION


wasserstein = check("16.1", wasserstein)

# %% [markdown]
# Stuck? `hint("16.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("16.1")

# %% [markdown]
# A patch of 7 x 7 pixels is one point in 147 dimensions. There the cheapest way is too expensive to
# find. So the points are projected onto random directions, and each direction gives two heaps
# (Rabin et al. 2011). A convolution projects all patches at once. Fine and coarse detail are
# measured apart: before that, the picture is split into bands, each with what halving its size
# loses (Karras et al. 2018).


# %%
def patch_distance(image, reference, directions=64):
    """Sliced Wasserstein distance of the finest band's 7 x 7 patches, in grey levels."""
    bands = []
    for picture in (image, reference):
        whole = 255 * to_float(picture)  # (1, 3, H, W)
        bands.append(whole - imresize(imresize(whole, 0.5), 2))
    kernels = torch.randn(directions, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    kernels /= kernels.flatten(1).norm(dim=1)[:, None, None, None]
    ways = wasserstein(*(F.conv2d(band, kernels)[0].flatten(1) for band in bands))
    return float(sum(ways) / directions)


soft_grass = imresize(grass_lr, scale)
print(f"bicubic, by these lines: {patch_distance(soft_grass, grass_hr):.3f} grey levels")
by_library = sliced_wasserstein(soft_grass, grass_hr)
print(f"and by srlib, from fine to coarse: {by_library.round(3)}")

# %% tags=["folded"]
# @title Guess one answer, or the mean of K
random = np.random.default_rng(0)
counts = [k for k in (1, 2, 4, 8, 16, 32) if k < len(answers)]
curve = []
for count in tqdm(counts, desc="means"):
    losses, distances = [], []
    for _ in range(draws):
        truth, *guess = random.permutation(len(answers))[: count + 1]
        mean = answers[guess].mean(axis=0)
        losses.append(np.mean((mean - answers[truth]) ** 2))
        if len(distances) < 5:
            distances.append(patch_distance(to_levels(mean), to_levels(answers[truth])))
    curve.append((10 * np.log10(255**2 / np.mean(losses)), np.mean(distances)))
measured = pd.DataFrame(
    curve,
    index=pd.Index(counts, name="answers in the mean"),
    columns=["PSNR (dB)", "patch distance"],
)
variance = answers.var(axis=0, ddof=1).mean()
measured["PSNR by the formula"] = [10 * np.log10(255**2 / (variance * (1 + 1 / k))) for k in counts]

# %% tags=["folded"]
# @title Draw both
figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.4))
panels[0].plot(measured.index, measured["PSNR (dB)"], "o", label="measured")
panels[0].plot(
    measured.index, measured["PSNR by the formula"], "-", color="grey", label="v (1 + 1/K)"
)
panels[0].set(ylabel="PSNR (dB)", title="closer to the truth")
panels[0].legend(loc="lower right")
panels[1].plot(measured.index, measured["patch distance"], "o-", color="C1")
panels[1].set(
    ylabel="patch distance (grey levels)", title="further from a photograph", ylim=(0, None)
)
for axes in panels:
    axes.set(xlabel="answers in the mean, K", xscale="log")
    axes.set_xticks(counts, counts)
    axes.minorticks_off()
show(
    figure,
    "Left: the more answers a mean holds, the higher its PSNR, as the formula says, by 3 dB. "
    "Right: its patches move away from those of the truth.",
)
measured.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# A mean of many wins 3 dB, the factor of two between $2v$ and $v$. It loses what makes a picture
# look like one: its patches are those of no answer. A guess has the patches of a photograph and
# pays 3 dB for them; so few draws miss the formula by some tenths. That is the exchange rate of
# this notebook, and it is a theorem: whoever draws from the true answers loses at most 3 dB (Blau
# and Michaeli 2018).
#
# </details>
#
# Move the number of answers, and watch the grass go.

# %% tags=["folded"]
# @title The slider of answers
order = np.random.default_rng(1).permutation(len(answers) - 1) + 1


def mean_of(count):
    """Show a part of the mean of several answers beside the same part of the truth."""
    mean = to_levels(answers[order[:count]].mean(axis=0))
    truth = to_levels(answers[0])
    found = psnr(mean, truth, data_range=255)
    part = slice(side // 3, 2 * side // 3)
    gap = np.full_like(mean[part, :4], 255)
    picture = np.hstack([truth[part, part], gap, mean[part, part]])
    caption = f"left: the truth; right: the mean of {count} of {len(order)} others, {found:.2f} dB"
    return picture.repeat(6, 0).repeat(6, 1), caption


Explorer(
    mean_of,
    count=ipywidgets.IntSlider(1, min=1, max=len(answers) - 1, description="answers in the mean"),
)

# %% tags=["folded"]
# @title The same as a figure
few = sorted({1, min(4, len(order)), len(order)})
still = {"the truth": to_levels(answers[0])}
still |= {f"mean of {k}": to_levels(answers[order[:k]].mean(axis=0)) for k in few}
part = slice(side // 3, 2 * side // 3)
show(
    compare({name: image[part, part] for name, image in still.items()}),
    "Grass: the truth, another answer, the mean of four and the mean of all, softer and softer.",
)

# %% [markdown]
# ## 2. Measures for what is seen
#
# PSNR asks: the same pixels? Three other questions need no download:
#
# - **patch distance**: the same kinds of patches, wherever they lie? It needs the original.
# - **NIQE**: does it look like a photograph at all? It needs none. Each pixel is divided by the
#   contrast around it; in photographs the results follow a well-known curve. NIQE fits that curve
#   to every patch, and compares the fits with those of photographs (Mittal et al. 2013). The model
#   of the photographs was fitted by this project, so its numbers are not those of papers.
# - **spectrum**: how much is coarse, how much fine?
#
# *Predict:* which of the four pictures below has the best NIQE?

# %% tags=["folded"]
# @title Whole photographs, measured
names = ("camera", "chelsea", "coffee")


def middle(image):
    """The square in the middle, to measure patches in."""
    top, left = ((length - crop_side) // 2 for length in image.shape[:2])
    return image[top : top + crop_side, left : left + crop_side]


def measures(image, hr):
    """PSNR, patch distance, NIQE."""
    return {
        "PSNR (dB)": score(image, hr, scale)[0] if image is not hr else np.inf,
        "patch distance": sliced_wasserstein(middle(image), middle(hr)).mean(),
        "NIQE": niqe(image),
    }


def with_grain(image):
    """Add soft grain, as of film, the same to all colours."""
    return to_levels(image + grain[: image.shape[0], : image.shape[1], None])


# %% tags=["folded"]
# @title Four ways to make each of them
photos = {name: modcrop(sample_image(name), scale) for name in names}
small = {name: imresize(photo, 1 / scale) for name, photo in photos.items()}
grain = gaussian_filter(np.random.default_rng(0).normal(size=(700, 700)), 0.7)
grain *= 5 / grain.std()  # grey levels
makers = {
    "original": lambda name: photos[name],
    "bicubic": lambda name: imresize(small[name], scale),
    "faithful": lambda name: upscale(faithful, small[name]),
    "faithful, with grain": lambda name: with_grain(upscale(faithful, small[name])),
}
pictures = {kind: {name: make(name) for name in names} for kind, make in makers.items()}
table = {
    kind: pd.DataFrame([measures(image, photos[name]) for name, image in made.items()]).mean()
    for kind, made in tqdm(pictures.items(), desc="measure")
}
pd.DataFrame(table).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The faithful network is far better than bicubic by PSNR and patches, and its NIQE is still far
# from the original's. Then soft grain, like that of film, is laid over it. It has nothing to do
# with the picture, and costs PSNR.
#
# NIQE takes the result for nearly as natural as the original: it knows what photographs are like,
# and nothing of this one. Even the patch distance falls, since it does not ask where a patch lies.
# So neither stands alone, and whoever claims that a network draws texture has to beat grain.
#
# </details>

# %% tags=["folded"]
# @title Spectra
figure, axes = plt.subplots(figsize=(7, 3.6))
for kind in ("original", "bicubic", "faithful", "faithful, with grain"):
    frequency, power = power_spectrum(pictures[kind]["camera"])
    axes.plot(frequency, power, label=kind)
axes.axvline(1 / (2 * scale), color="grey", lw=0.8)
axes.set(xlabel="spatial frequency (cycles per pixel)", ylabel="power (grey levels²)", yscale="log")
axes.legend(frameon=False, fontsize=9)
show(
    figure,
    "Power against spatial frequency. Up to the finest that the LR picture can hold, a grey line, "
    "the network follows the original and bicubic falls below it. Beyond, both are far below the "
    "original, and grain adds little.",
)

# %% [markdown]
# Left of the grey line lies what the LR picture holds. To the right lies what has to be found or
# made up. The faithful network is far below the original there: that is its softness, as a curve.
#
# **LPIPS** (Zhang et al. 2018) is the measure that most papers give: the distance between features
# of a network, weighted so that it agrees with people. It needs the original and downloads weights.

# %% tags=["folded"]
# @title LPIPS, if it is installed
if importlib.util.find_spec("lpips") is None:
    print("LPIPS is not installed here. pip install lpips, and it downloads a network.")
else:
    lpips = importlib.import_module("lpips")
    network = lpips.LPIPS(net="alex", verbose=False)
    for kind, made in pictures.items():
        both = [2 * to_float(middle(x["camera"])) - 1 for x in (made, pictures["original"])]
        with torch.no_grad():
            print(f"{kind}: LPIPS {network(*both).item():.3f}")

# %% [markdown]
# ## 3. A perceptual term without a download
#
# One can also train for features. A picture goes through the first layers of some trained network,
# and what counts is that the features are alike, not the pixels (Johnson et al. 2016). Usually this
# network is VGG, trained on a million photographs with labels. But any network that had to look at
# pictures has features. The course has trained some itself: here, the blocks of the faithful one.
#
# A test that is fair to all: four kinds of damage, each mixed in until the PSNR is 28 dB. (Rounding
# and clipping at 0 and 255 change it a little.)
#
# *Predict:* which of the four do the features find worst, and which the L1 of pixels?

# %%
own = FeatureLoss(nn.Sequential(faithful.head, *faithful.blocks), places=(2, 4, 6, 8))


def damaged(image, wrong, db=28):
    """Go from an image towards a wrong one, as far as a PSNR allows: floats (H, W, 3)."""
    difference = wrong - image
    return image + difference * 255 / 10 ** (db / 20) / np.sqrt(np.mean(difference**2))


photo = middle(photos["camera"]).astype(float)
noise = np.random.default_rng(0).normal(size=photo.shape)
damage = {
    "brighter": photo + 1,
    "moved": np.roll(photo, 1, axis=1),
    "noise": photo + noise,
    "blurred": gaussian_filter(photo, (2, 2, 0)),
}

# %%
terms = {"L1 of pixels": F.l1_loss, "own features": own}
if use_vgg:
    terms["VGG features"] = vgg_features(vgg19(weights="IMAGENET1K_V1"))
rows = {}
for name, wrong in damage.items():
    image = to_float(to_levels(damaged(photo, wrong)))
    target = to_float(to_levels(photo))
    rows[name] = {term: distance(image, target).item() for term, distance in terms.items()}
relative = pd.DataFrame(rows).T
(relative / relative.loc["brighter"]).round(2)

# %% [markdown]
# Each column is divided by its first number: how much worse than a change of brightness does a term
# find the damage?
#
# <details><summary>What happened</summary>
#
# At the same PSNR the L1 of pixels finds brightness the worst of all, which eyes hardly see. To the
# features each change of structure costs at least twice as much as brightness, and noise most: this
# network was trained to look at fine detail. So a loss of features spends its effort on structure.
#
# But a share of a move by one pixel costs as much as a share of blur. A distance of features is
# still a distance to one original, place by place, and its best answer is again a mean. It cannot
# make grass.
#
# </details>
#
# ## 4. An opponent
#
# A **discriminator** looks at a picture and says, patch by patch, whether it is a photograph. Its
# answer is a **logit**: above 0 for yes. It has its own training: photographs should get positive
# logits, enlargements negative ones. The network that enlarges, now called **generator**, wants
# its pictures to get positive ones (Goodfellow et al. 2014). No mean of answers gets through: the
# discriminator knows that photographs are not soft.
#
# ### Exercise 16.2
#
# Write both losses with `F.softplus`, which is log(1 + exp(x)): nearly 0 for a negative x, nearly x
# for a positive one. The discriminator's is the sum of two means, the generator's is one mean.


# %%
def adversarial_losses(real, fake):
    """Losses of discriminator and generator, from logits (N, 1, h, w) of both kinds."""
    ### BEGIN SOLUTION
    discriminators = F.softplus(-real).mean() + F.softplus(fake).mean()
    return discriminators, F.softplus(-fake).mean()
    ### END SOLUTION


adversarial_losses = check("16.2", adversarial_losses)

# %% [markdown]
# ### Exercise 16.3: find the bug
#
# In each step first the discriminator learns, then the generator. Somebody wrote the first turn:
#
# ```python
# def discriminator_step(discriminator, optimizer, sr, hr):
#     loss, _ = adversarial_losses(discriminator(hr), discriminator(sr))
#     loss.backward()
#     optimizer.step()
#     optimizer.zero_grad()
#     return loss.item()
# ```
#
# It runs. `sr` comes from the generator, and before this turn the generator had its own, with a
# gradient that went back through the discriminator. Two lines are wrong. Write it right.


# %%
def discriminator_step(discriminator, optimizer, sr, hr):
    """Teach the discriminator once, on a batch of pictures and of photographs; return its loss."""
    ### BEGIN SOLUTION
    loss, _ = adversarial_losses(discriminator(hr), discriminator(sr.detach()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


discriminator_step = check("16.3", discriminator_step)

# %% [markdown]
# Now the loop. The generator's loss has a second part, the old L1. It is the anchor: without it,
# nothing says that the picture should show what the LR picture shows.


# %% tags=["experiment"]
task = SmallTask(4)


# %%
def duel(generator, discriminator, sampler, steps, *, pixels=1.0, opponent=0.1, fast=2e-4):
    """Train both in turns; return a row a step."""
    adam = torch.optim.Adam(generator.parameters(), lr=1e-4)
    other_adam = torch.optim.Adam(discriminator.parameters(), lr=fast, betas=(0.5, 0.99))
    rows = []
    for _ in tqdm(range(steps), desc="duel", leave=False):
        lr, hr = sampler.sample()  # (N, 3, P, P), (N, 3, 4P, 4P)
        sr = generator(lr)
        discriminator_step(discriminator, other_adam, sr, hr)  # its turn
        real, fake = discriminator(hr), discriminator(sr)  # the generator's turn
        _, wanted = adversarial_losses(real, fake)
        loss = pixels * F.l1_loss(sr, hr) + opponent * wanted
        adam.zero_grad()
        loss.backward()
        adam.step()
        colour = (sr - hr).detach().mean(dim=(0, 2, 3)).abs().max() * 255
        rows.append([loss, real.mean(), fake.mean(), colour])
    columns = ["loss", "photographs", "pictures", "colour"]
    return pd.DataFrame([[x.item() for x in row] for row in rows], columns=columns)


# %% [markdown]
# The library trains like this too: `train` with a loss that owns the discriminator. That brings
# checkpoints, and a training that goes on bit for bit. The same seeds have to give the same losses,
# up to a little: spectral normalisation, which keeps the discriminator's gradients in bounds, looks
# a bit closer each time a picture passes, and the loop above sends more of them through.


# %%
def beginners(seed=0, channels=16):
    """A generator that starts from the faithful one, a new discriminator, a sampler."""
    torch.manual_seed(seed)
    network = copy.deepcopy(faithful).train().to(task.device)
    sampler = task.sampler(seed=seed, lr_patch_size=12, batch_size=4)
    return network, PatchDiscriminator(channels).to(task.device), sampler


network, discriminator, sampler = beginners()
by_hand = duel(network, discriminator, sampler, 5)
network, _, sampler = beginners()
loss = AdversarialLoss(coarse_weight=0, feature_weight=0, channels=16, seed=0)
config = TrainConfig(
    steps=5, learning_rate=1e-4, schedule="constant", warmup=0, clip_norm=None, progress=False
)
by_library = train(network, sampler, config, loss=loss)
pd.DataFrame(
    {"by hand": by_hand["loss"].to_numpy(), "by srlib": by_library["loss"].to_numpy()}
).round(4)

# %% [markdown]
# Three duels, for seconds each: as above; without the anchor; and with an opponent that learns
# twenty times as fast and counts ten times as much.
#
# *Predict:* which of the curves below will tell that something is wrong: the logits, the loss, the
# colours?

# %%
kinds = {
    "with an anchor": {},
    "without an anchor": {"pixels": 0.0},
    "a hasty opponent": {"fast": 4e-3, "opponent": 1.0},
}
duels = {name: duel(*beginners(), loop_steps, **options) for name, options in kinds.items()}

# %% tags=["folded"]
# @title Draw the duels
figure, panels = plt.subplots(1, 3, figsize=(11, 3.4))
for number, (name, rows) in enumerate(duels.items()):
    smooth = rows.rolling(max(1, loop_steps // 12), min_periods=1).mean()
    panels[0].plot(smooth["photographs"] - smooth["pictures"], color=f"C{number}", label=name)
    panels[1].plot(smooth["loss"], color=f"C{number}")
    panels[2].plot(smooth["colour"], color=f"C{number}")
titles = (
    "logit of photographs minus that of pictures",
    "loss of the generator",
    "mean colour, off by (grey levels)",
)
for axes, title in zip(panels, titles):
    axes.set(xlabel="step")
    axes.set_title(title, fontsize=10)
panels[0].axhline(0, color="grey", lw=0.8)
figure.legend(loc="outside lower center", ncols=3, fontsize=9)
show(
    figure,
    "Three short duels. Left: how far the discriminator tells photographs from pictures. Middle: "
    "the generator's loss. Right: how far the mean colour is off, most without an anchor.",
)
last = {name: rows.tail(max(1, loop_steps // 6)).mean() for name, rows in duels.items()}
pd.DataFrame(last).T.round(3)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Without an anchor the colours drift away: nothing holds them. Its loss is the lowest of all, only
# because the anchor's part is missing. That with the hasty opponent is far higher, only because the
# opponent counts ten times as much: its part is about log 2 = 0.69, a coin's, before it is
# weighted, in each of the three. So the loss tells little. The colours tell of a missing anchor.
# The logits tell of the opponent: near zero for good, it learns nothing; far apart for good, it has
# won, and its gradient only says "wrong".
#
# </details>
#
# These are trainings of seconds, and they show what to watch, not what comes out.

# %% [markdown]
# ### What does each term do?
#
# The long run trains the faithful network on, with four losses: the L1 of pixels, as before; the
# same and its own features; then `AdversarialLoss`, first without the reward for deceiving, which
# leaves the features of the opponent, and at last with it.
#
# `AdversarialLoss` has a second anchor: the L1 of the means of 4 x 4 pixels, ten times as heavy.
# What is coarse the LR picture tells, so there is nothing to make up.
#
# *Predict:* which loss brings the patches closest to those of photographs? What does it cost?


# %% tags=["experiment"]
class OwnFeatures(nn.Module):
    """The L1 of pixels, and that of the faithful network's features."""

    def __init__(self):
        super().__init__()
        network = load_pretrained("srresnet_small_x4")
        layers = nn.Sequential(network.head, *network.blocks)
        self.features = FeatureLoss(layers, places=(2, 4, 6, 8))

    def forward(self, sr, hr):
        return F.l1_loss(sr, hr) + self.features(sr, hr)


def patches_of(network):
    """Patch distance from fine to coarse, the means over the test crops, in grey levels."""
    found = [sliced_wasserstein(upscale(network, lr), hr) for _, lr, hr in task.test_pairs]
    return dict(zip(("fine", "middle", "coarse"), np.mean(found, axis=0).tolist()))


# %% tags=["experiment"]
LOSSES = {
    "pixels": F.l1_loss,
    "own features": OwnFeatures(),
    "an opponent's features": AdversarialLoss(adversarial_weight=0),
    "features and reward": AdversarialLoss(),
}
term_runs = compare_trainings(
    "16_terms",
    dict.fromkeys(LOSSES, lambda: load_pretrained("srresnet_small_x4")),
    lambda seed: task.sampler(seed, lr_patch_size=16, batch_size=8),
    TrainConfig(steps=term_steps, learning_rate=2e-4, clip_norm=1.0),
    task.score,
    seeds=term_seeds,
    settings={name: {"loss": loss} for name, loss in LOSSES.items()},
    measure=patches_of,
)

# %% tags=["folded"]
# @title Draw the long run
term_long = long_run("16_terms")
distances = term_long.measures.pivot_table(
    index=["candidate", "seed"], columns="measure", values="value"
)[["fine", "middle", "coarse"]]
before_fine, before_db = patches_of(faithful)["fine"], task.score(faithful)
figure, panels = plt.subplots(1, 2, figsize=(11, 4))
for name, curves in term_long.curves.groupby("candidate", sort=False):
    db = curves.pivot_table(index="step", columns="seed", values="psnr_db")
    panels[0].plot(db.index, db.mean(axis=1), label=name)
    panels[0].fill_between(db.index, db.min(axis=1), db.max(axis=1), alpha=0.2)
    panels[1].plot(db.iloc[-1], distances.loc[name, "fine"], "o", label=name)
panels[0].set(xlabel="step", ylabel="PSNR (dB)", title="on the way")
panels[1].plot(before_db, before_fine, "k*", ms=11, label="before")
panels[1].set(
    xlabel="PSNR (dB)", ylabel="patch distance, fine (grey levels)", title="at the end, by seed"
)
panels[1].legend(frameon=False, fontsize=9)
show(
    figure,
    "Left: PSNR against the step for four losses, the means of the seeds. Right: fine patch "
    "distance against PSNR at the end: what falls in distance falls in PSNR, too.",
)

# %% tags=["folded"]
# @title In numbers
ends = term_long.scores()
in_numbers = distances.groupby("candidate", sort=False).mean().loc[list(LOSSES)]
in_numbers.insert(0, "PSNR (dB)", ends.mean(axis=1))
in_numbers.loc["before"] = {"PSNR (dB)": before_db, **patches_of(faithful)}
print(term_long.summary())
for name in LOSSES:
    won, paid = distances.loc[name, "fine"] / before_fine - 1, ends.loc[name] - before_db
    print(
        f"{name}: fine patch distance {won.mean():+.0%} ({won.min():+.0%} to {won.max():+.0%}), "
        f"PSNR {paid.mean():+.2f} dB ({paid.min():+.2f} to {paid.max():+.2f})"
    )
in_numbers.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The L1 of pixels gains decibels, and the patches move away. Own features leave the fine patches
# where they were. The coarser ones move away, and decibels are lost; why was not measured. The
# opponent's features change with what gives a picture away. They bring the patches a good part of
# the way, at a small price. The reward brings more, and costs most. All three seeds agree in this
# order.
#
# </details>
#
# ## 5. The pleasing network, and the plane
#
# `srresnet_gan_x4` is the last of these, trained for longer and on more photographs.

# %% tags=["folded"]
# @title How it was trained
record = pd.read_json(data_file("weights/srresnet_gan_x4/record.json"), typ="series")
print(record["command"])
print(
    f"{record['steps']:,} steps, {record['train_seconds'] / 60:.0f} minutes on {record['hardware']}"
    f", after {record['start']['steps']:,} steps of the same kind"
)
print(f"weights of the loss: {record['loss_weights']}")

# %% [markdown]
# Both networks have the same layers, and one came from the other. So their weights can be mixed:
# `blend(faithful, pleasing, share)` (Wang et al. 2019). Each share is a network. All of them, and
# bicubic, have a place in a plane: to the right what is closer to the original, downwards what has
# the patches of a photograph.
#
# *Predict:* can a network be better in both than both of these?

# %%
rows = {"bicubic": table["bicubic"], "faithful, with grain": table["faithful, with grain"]}
for share in tqdm(shares, desc="blend"):
    network = blend(faithful, pleasing, share)
    found = [measures(upscale(network, small[name]), photos[name]) for name in names]
    rows[f"share {share:g}"] = pd.DataFrame(found).mean()
plane = pd.DataFrame(rows).T
plane.round(2)

# %% tags=["folded"]
# @title Draw the plane
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharex=True)
blends = plane[plane.index.str.startswith("share")]
for axes, column in zip(panels, ("patch distance", "NIQE")):
    axes.plot(blends["PSNR (dB)"], blends[column], "o-", label="blends")
    for name, marker in (("bicubic", "s"), ("faithful, with grain", "^")):
        axes.plot(*plane.loc[name, ["PSNR (dB)", column]], marker, ms=8, label=name)
    for place, name, offset in ((0, "faithful", (-14, 8)), (-1, "pleasing", (-4, 12))):
        axes.annotate(
            name,
            blends.iloc[place][["PSNR (dB)", column]],
            xytext=offset,
            textcoords="offset points",
            fontsize=9,
        )
    axes.set(
        xlabel="PSNR (dB), to the right: more faithful", ylabel=f"{column}, down: more natural"
    )
panels[1].axhline(table["original"]["NIQE"], color="grey", lw=0.8, label="original")
panels[1].legend(frameon=False, fontsize=9)
show(
    figure,
    "The perception-distortion plane. A curve of blends leads from faithful, upper right, to "
    "pleasing, lower left. Bicubic lies behind it; grain near it by patches, before it by NIQE.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The blends make a front: what they win in patches they pay for in decibels. By a theorem every
# such front has a side that nobody reaches (Blau and Michaeli 2018): the best mean is soft, and
# what is not soft is not the mean. None of the blends is better in both than the two they come
# from. Bicubic lies behind the blends, so it is simply worse.
#
# And grain lies nearly on their curve by patches, and by NIQE before it: by these measures the
# cheapest trick keeps up with the network, or beats it. So look, in the figure below. Grain is as
# rough in the eye as in the fur. The network adds more where the fur is coarse, and specks in the
# eye too. Neither measure asks where a patch belongs. Who reports one number reports the wrong
# thing.
#
# </details>
#
# Move the share, from faithful to pleasing. Each position is a network of its own.

# %% tags=["folded"]
# @title The slider from faithful to pleasing
places = {
    "wood": ("coffee", 40, 30),
    "fur": ("chelsea", 60, 110),
    "grass": ("camera", 360, 60),
    "bricks": ("brick", 100, 100),
}


@functools.cache
def crop_of(place):
    """HR and LR of a place."""
    return pair_of(*places[place], 64, 96)


def from_to(share, place):
    """Show the blend beside the original."""
    hr, lr = crop_of(place)
    image = upscale(blend(faithful, pleasing, share), lr)
    gap = np.full_like(hr[:, :8], 255)
    caption = f"left: share {share:g}, {score(image, hr, scale)[0]:.2f} dB; right: the original"
    return np.hstack([image, gap, hr]).repeat(4, 0).repeat(4, 1), caption


Explorer(
    from_to,
    share=ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="pleasing"),
    place=ipywidgets.Dropdown(options=list(places), description="place"),
)

# %% tags=["folded"]
# @title The same as a figure
hr, lr = pair_of(*places["fur"], 80, 112)
still = {"original": hr}
still |= {f"share {share:g}": upscale(blend(faithful, pleasing, share), lr) for share in (0, 1)}
still["share 0, with grain"] = with_grain(still["share 0"])
show(
    compare(still, reference="original", scale=scale),
    "A cat's eye and fur: original, the faithful and smooth network, the pleasing and rough one, "
    "and the smooth one with grain, which is as rough in the eye as in the fur.",
)

# %% [markdown]
# ## 6. A blind vote
#
# Which do people like better? Ask, and do not tell them which is which. Sides and order are drawn
# at random; `counts` keeps the votes as long as the kernel runs.

# %% tags=["folded"]
# @title Vote
cuts = [
    *places.values(),
    ("camera", 40, 180),
    ("chelsea", 150, 200),
    ("coffee", 200, 300),
    ("coins", 60, 60),
]
ballots = []
for cut in cuts:
    _, lr = pair_of(*cut, 96, 128)
    made = {"faithful": upscale(faithful, lr), "pleasing": upscale(pleasing, lr)}
    ballots.append({name: image.repeat(3, 0).repeat(3, 1) for name, image in made.items()})
vote = BlindVote(ballots)
vote

# %% [markdown]
# Nobody knows after nine votes. A fair coin, too, falls seven times of nine on one side now and
# then. The **binomial test** says how often. Run this cell when you have voted.

# %%
print(verdict(vote.counts))
print("for comparison:", verdict({"A": 7, "B": 2}))
print("for comparison:", verdict({"A": 14, "B": 4}))

# %% tags=["folded"]
# @title The ballots as a figure
shown = {}
for number, ballot in enumerate(ballots[:2], start=1):
    sides = ("faithful", "pleasing") if number == 1 else ("pleasing", "faithful")
    shown |= {
        f"{number}, {s}": ballot[name][:192, :256] for s, name in zip(("left", "right"), sides)
    }
show(
    compare(shown),
    "Two ballots, each with two enlargements: wood and fur, one of each pair smooth, the other "
    "rough.",
)

# %% [markdown]
# <details><summary>Which is which</summary>
#
# The pleasing one is on the right in ballot 1, on the left in ballot 2.
#
# </details>
#
# One person's votes are about that person. A result needs many people, and a rule, made before,
# for how many.
#
# ## 7. What was invented
#
# Grass may be made up. Here are letters, a face, and what a doctor looks at.
#
# *Predict:* shrink the pleasing picture again. Will it give the LR picture back, as an answer
# should?

# %% tags=["folded"]
# @title Letters, a face, tissue, a retina
serious = {
    "letters": ("page", 20, 100),
    "a face": ("astronaut", 40, 160),
    "stained tissue": ("immunohistochemistry", 200, 200),
    "a retina": ("retina", 500, 200),
}
errors, shown = {}, {}
for what, cut in serious.items():
    hr, lr = pair_of(*cut, 128, 160)
    made = {"original": hr, "bicubic": imresize(lr, scale), "faithful": upscale(faithful, lr)}
    made["pleasing"] = upscale(pleasing, lr)
    shown |= {f"{what}: {name}": image[42:82, 50:106] for name, image in made.items()}
    errors[what] = {
        name: np.abs(imresize(image, 1 / scale).astype(float) - lr).mean()
        for name, image in made.items()
    }
show(
    compare(shown),
    "Letters, a face, stained tissue and a retina, each as original, bicubic, faithful and "
    "pleasing: the pleasing one is sharp, and differs from the original.",
)
pd.DataFrame(errors).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The table has the mean difference of the LR pictures, in grey levels. Those of both networks are
# small, so both are answers to the LR picture, nearly. The faithful one's are smaller each time.
# Where letters were too small to read, both networks draw strokes that are others. The pleasing one
# adds specks and edges, in tissue and in a retina too, that nobody has. They are as sharp as the
# true ones, and that is the danger: softness says "I do not know", and it is gone.
#
# </details>
#
# So: **never as evidence**. Not to read a number plate or a face, not for a diagnosis, not where
# somebody will measure in the picture. For a wall, a game, a film: gladly, and say so.
#
# ## 8. Your own trade
#
# **Open.** Make a network that is better for the eye than a blend at the same PSNR. Ideas: another
# weight of the opponent; features without an opponent (`AdversarialLoss(adversarial_weight=0)`);
# grain that follows the picture's own contrast. Say before which measures decide, and on which
# photographs.
#
# <details><summary>A sample answer</summary>
#
# ```python
# network, _, sampler = beginners()
# steps = TrainConfig(steps=5 * loop_steps, learning_rate=1e-4)
# train(network, sampler, steps, loss=AdversarialLoss(adversarial_weight=0, channels=16))
# found = [measures(upscale(network.eval(), small[name]), photos[name]) for name in names]
# print(pd.DataFrame(found).mean())
# ```
#
# The discriminator still learns to tell pictures from photographs, and its features still count:
# so this is features without the generator's reward. Draw the point into the plane. If it lies on
# the line of blends, nothing was won. It is one seed, and a training of seconds: a start, and no
# result. Next: three seeds, more steps, and the blend of the same PSNR as the rival.
#
# </details>
#
# ## What you saw

# %% tags=["folded"]
# @title The numbers
won = measured["PSNR (dB)"].iloc[-1] - measured["PSNR (dB)"].iloc[0]
one, many = measured["patch distance"].iloc[[0, -1]]
print(f"the mean of {counts[-1]} answers against one: {won:+.2f} dB")
print(f"patch distance: {one:.2f} for one answer, {many:.2f} for the mean")
first, last = (plane.loc[f"share {share:g}"] for share in (shares[0], shares[-1]))
for name in plane.columns:
    print(f"{name}: faithful {first[name]:.2f}, pleasing {last[name]:.2f}")

# %% [markdown]
# - The answer with the best PSNR is the mean of all answers, and it is soft. The best sharp answer
#   need not lose more than 3 dB, by arithmetic.
# - How natural a picture is can be measured: by its patches, by NIQE, by its spectrum. None of them
#   knows the truth. Grain fools the first two.
# - A discriminator makes a network draw texture. An anchor keeps it at the picture. Watch logits,
#   colours and PSNR, not the loss.
# - Weights of two related networks can be mixed, and the mixture is a network between them.
# - What is invented looks like what is seen. It must not be used where it matters which is which.
#
# ## Pitfalls
#
# - **Judging a GAN by its loss.** The opponent changes, so the numbers mean something else in each
#   step. Score pictures.
# - **The picture not detached.** The discriminator's step then teaches the generator to lose.
# - **One measure.** What is trained on a measure gets good at the measure. The pleasing network was
#   not trained on patch distance or NIQE; one that was would need others to be judged by. Compare
#   with grain, too: it needs no training and improves both.
# - **NIQE of small crops.** It needs many patches of 96 pixels. And numbers of different models
#   cannot be compared, ours and a paper's neither.
# - **Looking at one crop.** Look at many, at the size at which they will be seen, for checkerboards
#   and colours too.
# - **Seven of nine.** Decide before how many votes, and do not stop when you like the count.
#
# ## Further reading
#
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017.
# - Y. Blau, T. Michaeli, "The perception-distortion tradeoff", CVPR, 2018.
# - I. Goodfellow et al., "Generative adversarial nets", NIPS, 2014.
# - P. Isola, J.-Y. Zhu, T. Zhou, A. A. Efros, "Image-to-image translation with conditional
#   adversarial networks", CVPR, 2017.
# - T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral normalization for generative adversarial
#   networks", ICLR, 2018.
# - J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and
#   super-resolution", ECCV, 2016.
# - X. Wang et al., "ESRGAN: Enhanced super-resolution generative adversarial networks", ECCV
#   Workshops, 2018.
# - X. Wang, K. Yu, C. Dong, X. Tang, C. C. Loy, "Deep network interpolation for continuous imagery
#   effect transition", CVPR, 2019.
# - A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer",
#   IEEE Signal Processing Letters 20(3), 2013.
# - J. Rabin, G. Peyre, J. Delon, M. Bernot, "Wasserstein barycenter and its application to texture
#   mixing", SSVM, 2011.
# - T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive growing of GANs for improved quality,
#   stability, and variation", ICLR, 2018.
# - R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The unreasonable effectiveness of deep
#   features as a perceptual metric", CVPR, 2018.
