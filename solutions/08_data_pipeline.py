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
# # 08 Data pipeline: patches that are right, and arrive in time
#
# A network learns from what it is shown. This notebook looks at what that is: small squares cut
# from photographs, in pairs of LR and HR. Three things can go wrong, and none of them stops the
# program: the two squares do not fit each other, the validation photographs are known already, or
# the network waits for its data.
#
# **After this you can**
#
# - cut, turn and flip LR and HR together, and measure what a pixel of misalignment costs;
# - split photographs into training and validation so that nothing leaks;
# - measure whether your data arrives as fast as your network can take it, and repair it.
#
# Time: 65 minutes to read and try. Of these the computer needs at most 2 minutes on two CPU cores;
# calculated, not measured: 2 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import os
import sys
import tempfile
import time
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.flop_counter import FlopCounterMode
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.utils import make_grid

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import datasets
from srlib.data import Pair, PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.exercises import check, hint
from srlib.figures import show
from srlib.image import to_float, write_image
from srlib.metrics import score
from srlib.models import SRCNN, SrResNet
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.widgets import Explorer

# %% tags=["parameters"]
gradient_batches = by_profile(ci=3, cpu=100, gpu=200)  # section 1
gradient_steps = by_profile(ci=1, cpu=60, gpu=60)
crops_per_photo = by_profile(ci=3, cpu=40, gpu=40)  # section 2
detail_patches = by_profile(ci=200, cpu=3000, gpu=6000)  # section 4
leak_side = 96  # section 6: LR pixels
leak_photos = by_profile(
    ci=("rocket", "motorcycle_left"),
    cpu=("astronaut", "gravel", "moon", "rocket", "motorcycle_left"),
    gpu=("astronaut", "gravel", "moon", "rocket", "motorcycle_left"),
)
measured_seconds = by_profile(ci=0.3, cpu=6.0, gpu=6.0)  # section 8, for each pipeline
workers = os.cpu_count()

# %% [markdown]
# This is a batch, the food of a network: eight LR patches of 24 x 24 pixels, and below each one
# the HR patch of 96 x 96 that the network is to make of it.

# %%
scale, size = 4, 24  # of a patch, in LR pixels
device = "cuda" if torch.cuda.is_available() else "cpu"
pairs = make_pairs(load_images("bundled/train"), scale)
lr_batch, hr_batch = PatchSampler(pairs, scale, batch_size=8, seed=108).sample()

# %% tags=["folded"]
# @title Draw the batch
figure, panels = plt.subplots(2, 1, figsize=(10, 2.8), layout="tight")
for axes, name, batch, padding in zip(panels, ("LR", "HR"), (lr_batch, hr_batch), (1, scale)):
    grid = make_grid(batch, nrow=8, padding=padding, pad_value=1)  # one picture (3, H, W)
    axes.imshow(grid.permute(1, 2, 0), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_ylabel(f"{name}\n{batch.shape[-1]} x {batch.shape[-1]}")
    axes.spines[:].set_visible(False)
show(
    figure,
    "Eight pairs of patches: coarse squares above, the same content in fine pixels below. An "
    "engine and other parts of a motorcycle, a shelf, galaxies, tissue, an astronaut's badge.",
)

# %% [markdown]
# ## 1. Why patches
#
# A batch is one tensor, so all its images have one size; photographs do not. And a training step
# remembers every feature of every layer until the gradient has come back.

# %%
photo_pixels = 510 * 339  # LR pixels of a photograph of 2040 x 1356, at x4
layers, channels = 34, 64  # about what SrResNet keeps at low resolution
for name, pixels in (
    ("16 patches of 24 x 24", 16 * 24 * 24),
    ("16 photographs of 510 x 339", 16 * photo_pixels),
):
    gigabytes = pixels * layers * channels * 4 / 1e9  # float32
    print(f"{name}: {gigabytes:.2f} GB of features at low resolution alone")

# %% [markdown]
# One could take a smaller batch of larger patches instead. But neighbouring pixels tell nearly the
# same. What counts is how well the gradient of one batch points where the gradient of the whole
# data points.
#
# *Predict:* three batches of equally many pixels: 16 patches of 24 x 24, 4 of 48 x 48, one of
# 96 x 96. Whose gradient is best?
#
# The photographs are cut to one size here, so that each counts alike.

# %%
side = 104  # LR pixels: what the patches of 96 find room in
large = [
    Pair(pair.name, pair.lr[:side, :side], pair.hr[: scale * side, : scale * side])
    for pair in pairs
    if min(pair.lr.shape[:2]) >= side
]
torch.manual_seed(0)
network = SrResNet(scale, channels=8, num_blocks=2, output="linear").to(device)
beginning = TrainConfig(steps=gradient_steps, progress=False)
train(network, PatchSampler(large, scale, seed=5, device=device), beginning)


def gradients(lr_patch_size, batch_size, count, seed):
    """Gradients of `count` batches, as rows: (count, parameters)."""
    options = {"lr_patch_size": lr_patch_size, "batch_size": batch_size, "seed": seed}
    sampler = PatchSampler(large, scale, **options, device=device)
    rows = []
    for _ in range(count):
        lr, hr = sampler.sample()
        network.zero_grad()
        F.l1_loss(network(lr), hr).backward()
        rows.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    return torch.stack(rows)


# %%
shapes = ((16, 24), (4, 48), (1, 96))
whole = torch.cat(  # batches of all three kinds, so that none has an advantage
    [gradients(side, count, gradient_batches, seed=99) for count, side in shapes]
).mean(dim=0)
cosines = {
    f"{count} of {side} x {side}": F.cosine_similarity(
        gradients(side, count, gradient_batches, seed=1), whole[None]
    ).cpu()
    for count, side in shapes
}
medians = {name: values.median().item() for name, values in cosines.items()}
print("median cosine: " + ", ".join(f"{name} {value:.3f}" for name, value in medians.items()))

# %% tags=["folded"]
# @title Draw the cosines
figure, axes = plt.subplots(figsize=(8, 3.6))
axes.boxplot(list(cosines.values()), widths=0.5, whis=(5, 95))
axes.set_xticks(range(1, 4), labels=list(cosines))
axes.set(ylabel="cosine (1 is best)", xlabel="patches in a batch, in LR pixels")
axes.set_title(f"Gradient of a batch against that of the data, {gradient_batches} batches each")
show(
    figure,
    "Three box plots of the cosine. Sixteen small patches lie highest; the larger the patches, the "
    "lower the median.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The sixteen small patches: as a rule their gradient points nearest to that of the data. They come
# from many places. One large patch tells nearly the same thing over and over.
#
# </details>
#
# There is a limit below: at the border of a patch the network sees zeros instead of neighbours,
# and a small patch is all border. 24 to 48 LR pixels are usual at x4.

# %% [markdown]
# ## 2. Aligned crops
#
# LR pixel number $k$ covers the HR pixels $sk$ to $sk + s - 1$, with $s$ the scale. So a patch is
# named by its place in the LR image, and the place in the HR image follows.
#
# ### Exercise 08.1
#
# Cut a patch out of both. `top`, `left` and `size` count LR pixels.


# %%
def aligned_crop(lr, hr, top, left, size, scale):
    """LR (H, W, 3), HR (scale * H, scale * W, 3), a place -> the LR patch, the HR patch."""
    ### BEGIN SOLUTION
    bottom, right = top + size, left + size
    lr_patch = lr[top:bottom, left:right]
    hr_patch = hr[scale * top : scale * bottom, scale * left : scale * right]
    return lr_patch, hr_patch
    ### END SOLUTION


aligned_crop = check("08.1", aligned_crop)

# %% [markdown]
# Stuck? `hint("08.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("08.1")

# %% [markdown]
# ### Cut first, or shrink first
#
# There is a second way, and many programs take it: cut the HR patch, then shrink that to get the
# LR patch.
#
# *Predict:* are the two LR patches equal? If not, where do they differ?

# %%
generator = np.random.default_rng(0)


def random_place(pair):
    """Top and left of a patch that lies within the LR image."""
    return [int(generator.integers(0, side - size + 1)) for side in pair.lr.shape[:2]]


errors = []  # absolute differences, (patches, 24, 24, 3)
for pair in pairs:
    for _ in range(crops_per_photo):
        lr_patch, hr_patch = aligned_crop(pair.lr, pair.hr, *random_place(pair), size, scale)
        errors.append(np.abs(imresize(hr_patch, 1 / scale).astype(int) - lr_patch))
errors = np.array(errors)
place = np.arange(size)
to_edge = np.minimum(place, size - 1 - place)
distance = np.minimum(to_edge[:, None], to_edge)  # (24, 24): LR pixels from the border
border_table = pd.DataFrame(
    {
        "mean difference (grey levels)": errors[:, distance == d].mean(),
        "largest": errors[:, distance == d].max(),
        "pixels of a patch (%)": 100 * (distance == d).mean(),
    }
    for d in range(4)
).rename_axis("LR pixels from the border")
border_table.round(2)

# %% tags=["folded"]
# @title Draw where they differ
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1, 1.5))
drawn = panels[0].imshow(errors.mean(axis=(0, 3)), cmap="magma", vmin=0)
panels[0].set(title="Where in the patch", xlabel="column (LR pixels)", ylabel="row (LR pixels)")
panels[0].grid(False)
figure.colorbar(drawn, ax=panels[0], label="grey levels")
panels[1].bar(border_table.index, border_table["mean difference (grey levels)"])
panels[1].set(xlabel="LR pixels from the border", ylabel="mean difference (grey levels)")
panels[1].set_xticks(border_table.index)
panels[1].set_title("Shrinking the crop instead of cropping the shrunk")
show(
    figure,
    "A square whose outermost ring is bright, the next one faint and the rest black, and the same "
    "as bars.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Two rings differ, and the rest is equal to the bit. The kernel at x4 is 16 HR pixels wide and
# reaches two LR pixels far. Near the border of a cut patch it finds no neighbours and repeats the
# edge pixel.
#
# </details>
#
# A photograph that the network will see has such rings only at its own border, so training on them
# teaches something that is not there. `PatchSampler` cuts the LR image.
#
# ### One pixel off
#
# Now the coarser mistake: HR and LR patches that do not lie at the same place. Here the HR patch
# is moved by a few HR pixels, and bicubic interpolation is scored against it.
#
# *Predict:* how many decibels does one HR pixel cost, at x4?

# %%
photo = next(pair for pair in pairs if pair.name == "astronaut")
enlarged = imresize(photo.lr, scale)
offsets = range(5)
inside = slice(8, -8)
shift_psnr = [
    score(
        enlarged[inside, inside],
        np.roll(photo.hr, (-d, -d), axis=(0, 1))[inside, inside],
        scale,
    )[0]
    for d in offsets
]
print(f"one pixel costs {shift_psnr[0] - shift_psnr[1]:.2f} dB")

# %% tags=["folded"]
# @title Draw what a shift costs
figure, axes = plt.subplots(figsize=(8, 3.2))
axes.plot(offsets, shift_psnr, "o-")
axes.set(xlabel="HR patch moved down and right by (HR pixels)", ylabel="PSNR (dB)")
axes.set_xticks(offsets)
axes.set_title("Bicubic interpolation against a misaligned original, astronaut x4")
show(figure, "A curve that falls steeply from zero to four pixels.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Decibels, as the line above the figure says: as much as years of the field's progress. A quarter
# of an LR pixel is enough.
#
# </details>
#
# A network that is trained on such pairs learns the shift: it moves the picture. On its own
# training data its loss looks fine.

# %% [markdown]
# ## 3. Eight ways to see a patch
#
# A mirrored photograph is a photograph, and so is a turned one. Two flips and a transposition
# make eight views of each patch: all turns by 90 degrees, and their mirror images.
#
# ### Exercise 08.2
#
# Write it: first the flips, then the transposition. `flip_rows` puts the last row first. Do not
# write into the patch.


# %%
def augment(patch, flip_rows, flip_columns, transpose):
    """One of eight views of a patch: (H, W, 3) -> (H, W, 3), or (W, H, 3) if transposed."""
    ### BEGIN SOLUTION
    if flip_rows:
        patch = patch[::-1]
    if flip_columns:
        patch = patch[:, ::-1]
    if transpose:
        patch = patch.swapaxes(0, 1)
    return patch
    ### END SOLUTION


augment = check("08.2", augment)

# %% tags=["folded"]
# @title Draw the eight views
eight = {}
for view in np.ndindex(2, 2, 2):
    words = [w for w, on in zip(("rows", "columns", "transposed"), view) if on]
    eight[" + ".join(words) or "as it is"] = view
_, hr_patch = aligned_crop(photo.lr, photo.hr, 6, 34, 40, scale)
figure, panels = plt.subplots(2, 4, figsize=(9, 5))
for axes, (name, view) in zip(panels.flat, eight.items()):
    axes.imshow(augment(hr_patch, *view))
    axes.set_title(name, fontsize=10)
    axes.set_axis_off()
show(figure, "Eight views of the face of an astronaut: four turns and their mirror images.")

# %% [markdown]
# ### What an augmentation must not do
#
# The pair has to stay a pair: the LR patch must be what the *changed* HR patch would have become.
# In short: changing and shrinking must give the same in either order. For each row below, the
# photograph is changed and then shrunk, and the LR image is changed; the table shows how far the
# two are apart.
#
# *Predict:* which rows are zero?

# %% tags=["folded"]
# @title Two ways to shrink, four changes


def with_gamma(image):
    """Brighten the dark parts: v -> v ** 0.7."""
    return np.round(255 * (image / 255) ** 0.7).astype(np.uint8)


def antialiased(image):
    """MATLAB's bicubic."""
    return imresize(image, 1 / scale)


def every_fourth(image):
    """Keep the upper left pixel of each 4 x 4: a kernel that is not symmetric."""
    return image[::scale, ::scale]


def unchanged(image):
    """Give the image back."""
    return image


def flipped(image):
    """Upside down and mirrored."""
    return augment(image, True, True, False)


def transposed(image):
    """Rows become columns."""
    return augment(image, False, False, True)


def recoloured(image):
    """Exchange red and blue."""
    return image[..., ::-1]


# %%
changes = {  # name: shrink, change of HR, change of LR
    "flip": (antialiased, flipped, flipped),
    "transpose": (antialiased, transposed, transposed),
    "red and blue exchanged": (antialiased, recoloured, recoloured),
    "gamma": (antialiased, with_gamma, with_gamma),
    "gamma on HR only": (antialiased, with_gamma, unchanged),
    "flip; LR is every fourth pixel": (every_fourth, flipped, flipped),
}

# %%
rows = {}
for name, (shrink, change_hr, change_lr) in changes.items():
    wanted = shrink(np.ascontiguousarray(change_hr(photo.hr))).astype(int)
    error = np.abs(wanted - change_lr(shrink(photo.hr)))
    rows[name] = {"mean (grey levels)": error.mean(), "largest": error.max()}
change_table = pd.DataFrame(rows).T
change_table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Two rows are zero: the flip, and the exchange of colours in both images.
#
# - Transposing is nearly exact. MATLAB's resize rounds and clips between rows and columns, and the
#   two are exchanged here. `PatchSampler` accepts that.
# - Gamma does not commute with a weighted mean. On one of the two images alone it is no
#   augmentation at all: the network learns to brighten.
# - With an asymmetric kernel (every fourth pixel, the blur of a slanting motion) a flip of the LR
#   image belongs to another camera. Flip the HR image first, then degrade it.
#
# </details>
#
# ### Exercise 08.4: find the bug
#
# Somebody gives a pair one of the eight views, by chance. It runs, the patches look good one by
# one, and a network that is trained on them blurs everything.
#
# ```python
# def random_view(lr, hr, generator):
#     views = []
#     for image in (lr, hr):
#         flip_rows, flip_columns, transpose = generator.random(3) < 0.5
#         views.append(augment(image, flip_rows, flip_columns, transpose))
#     return views
# ```
#
# Write it right. Each of the eight views comes equally often.


# %%
def random_view(lr, hr, generator):
    """One of eight views, by chance: LR (H, W, 3), HR (s H, s W, 3), a NumPy generator -> both."""
    ### BEGIN SOLUTION
    flip_rows, flip_columns, transpose = generator.random(3) < 0.5
    return [augment(image, flip_rows, flip_columns, transpose) for image in (lr, hr)]
    ### END SOLUTION


random_view = check("08.4", random_view)

# %%
apart = []
for _ in range(50):
    crops = aligned_crop(photo.lr, photo.hr, *random_place(photo), size, scale)
    lr_view, hr_view = random_view(*crops, generator)
    apart.append(np.abs(imresize(np.ascontiguousarray(lr_view), scale).astype(int) - hr_view))
print(f"bicubic against HR over 50 pairs: {np.mean(apart):.1f} grey levels apart")

# %% [markdown]
# ### Measure something of your own
#
# **Open.** Find one more change that gives the same before and after shrinking, and one that looks
# as if it should and does not. Measure both as in the table above.
#
# <details><summary>A sample answer</summary>
#
# ```python
# def negative(image):
#     return 255 - image
#
# def brighter(image):
#     return np.clip(image.astype(int) + 60, 0, 255).astype(np.uint8)
#
# for change in (negative, brighter):
#     wanted = antialiased(change(photo.hr)).astype(int)
#     error = np.abs(wanted - change(antialiased(photo.hr)))
#     print(f"{change.__name__}: mean {error.mean():.3f}, largest {error.max()} grey levels")
# ```
#
# The weights of the kernel add up to 1, so the negative of a mean is the mean of the negatives, but
# for halves that round the other way. To add a constant is exact for the same reason, until
# something is clipped: the sum at white, or at black what the kernel undershoots beside a dark
# edge.
#
# </details>

# %% [markdown]
# ## 4. What a patch holds
#
# How much is there to learn in a patch? Bicubic interpolation is free, so take what it lacks: the
# root mean square of HR minus bicubic, in grey levels. Call it the patch's **detail**.
#
# Move the patch over the photograph: sky, rocket, launch tower.


# %%
def detail_of(lr, hr):
    """Root mean square of what bicubic interpolation lacks: (N, 3, ...) -> (N,), grey levels."""
    return 255 * (hr - imresize(lr, scale)).square().mean(dim=(1, 2, 3)).sqrt()


# %% tags=["folded"]
# @title A frame, and large pixels


def framed(image, top, left, side):
    """A copy with a square frame, black and white."""
    image = image.copy()
    for inset, grey in ((0, 0), (1, 255), (2, 255), (3, 0)):
        upper, lower = top + inset, top + side - 1 - inset
        first, last = left + inset, left + side - 1 - inset
        image[[upper, lower], first : last + 1] = grey
        image[upper : lower + 1, [first, last]] = grey
    return image


def blocks(image, factor):
    """Each pixel as a square of factor x factor."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


# %% tags=["folded"]
# @title A slider for the patch
PANEL = 192  # pixels, for the two patches on the right
rocket = next(pair for pair in pairs if pair.name == "rocket")


def show_patch(down, right, patch_size, view):
    """The photograph with a frame, and beside it the LR patch above the HR patch."""
    top, left = (round(part * (n - patch_size)) for part, n in zip((down, right), rocket.lr.shape))
    crops = aligned_crop(rocket.lr, rocket.hr, top, left, patch_size, scale)
    lr_patch, hr_patch = (augment(crop, *eight[view]) for crop in crops)
    height, width = rocket.hr.shape[:2]
    board = np.full((height, width + 12 + PANEL, 3), 255, np.uint8)
    board[:, :width] = framed(rocket.hr, scale * top, scale * left, scale * patch_size)
    board[:PANEL, -PANEL:] = blocks(lr_patch, PANEL // patch_size)
    board[-PANEL:, -PANEL:] = blocks(hr_patch, PANEL // (scale * patch_size))
    detail = detail_of(*(to_float(patch.copy()) for patch in (lr_patch, hr_patch))).item()
    where = f"LR rows {top} to {top + patch_size - 1}, columns {left} to {left + patch_size - 1}"
    return board, f"{where}; HR patch below, {scale * patch_size} pixels; detail {detail:.1f}"


patch_slider = Explorer(
    show_patch,
    down=ipywidgets.FloatSlider(0.62, min=0, max=1, step=0.01, description="down"),
    right=ipywidgets.FloatSlider(0.47, min=0, max=1, step=0.01, description="right"),
    patch_size=ipywidgets.ToggleButtons(options=[12, 16, 24, 48], value=24),
    view=ipywidgets.Dropdown(options=list(eight), description="flip, transpose"),
)
patch_slider

# %% [markdown]
# *Predict:* draw patches at random from all training photographs. Which part of all detail
# (squared, as the error counts it) does the richest tenth of the patches hold?

# %%
drawer = PatchSampler(pairs, scale, batch_size=detail_patches // 10, augment=False, seed=3)
drawn_patches = [drawer.sample() for _ in range(10)]
details = torch.cat([detail_of(lr, hr) for lr, hr in drawn_patches]).numpy()
order = details.argsort()
share = np.cumsum(np.sort(details)[::-1] ** 2) / np.sum(details**2)
richest = 100 * share[len(share) // 10 - 1]
print(f"the richest tenth of the patches holds {richest:.0f} % of the squared detail")

# %% tags=["folded"]
# @title Draw the detail
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6))
panels[0].hist(details.clip(0.1), bins=np.geomspace(0.1, details.max(), 40))
panels[0].set(xscale="log", xlabel="detail (grey levels)", ylabel="patches")
panels[0].axvline(np.median(details), color="C1", label=f"median {np.median(details):.1f}")
panels[0].legend(loc="upper left")
panels[1].plot(100 * np.arange(1, len(share) + 1) / len(share), 100 * share)
panels[1].plot([0, 100], [0, 100], color="grey", linestyle=":", label="all patches alike")
panels[1].set(xlabel="richest patches (% of all)", ylabel="squared detail they hold (%)")
panels[1].legend(loc="lower right")
show(
    figure,
    "A histogram of detail on a logarithmic axis, broad, and a curve that rises steeply and "
    "then is flat: many patches hold next to nothing.",
)

# %% tags=["folded"]
# @title Seven patches, from the smoothest to the richest
hr_patches = torch.cat([hr for _, hr in drawn_patches])
figure, panels = plt.subplots(1, 7, figsize=(10, 2))
for axes, part in zip(panels, (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)):
    index = order[int(part * len(order))]
    axes.imshow(hr_patches[index].permute(1, 2, 0))
    axes.set_title(f"{100 * part:.0f} %: {details[index]:.1f}")
    axes.set_axis_off()
show(figure, "Seven HR patches from the smoothest to the richest, with their detail.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# A good part of it, as the line above the figures says. So much of a batch tells the network what
# bicubic interpolation does already, and a batch's loss depends on the luck of the draw: that is
# the noise in the loss curves of notebook 04.
#
# </details>
#
# It is tempting to draw rich patches only. Then the network never sees sky, and may paint texture
# on it. The usual way, here too, is to draw every place alike.

# %% [markdown]
# ## 5. A batch without opening a file
#
# Keep the decoded photographs in memory, all their pixels in one long row, photograph after
# photograph, line after line. A patch is then a table of numbers: where in the row its pixels are.
#
# ### Exercise 08.3
#
# Write the table. `start` is the number of pixels before this photograph, `width` its width. Use
# `np.arange`, no loop.


# %%
def pixel_index(start, width, top, left, size):
    """Where the pixels of a patch are in the long row: integers (size, size)."""
    ### BEGIN SOLUTION
    rows = top + np.arange(size)
    columns = left + np.arange(size)
    return start + rows[:, None] * width + columns
    ### END SOLUTION


pixel_index = check("08.3", pixel_index)

# %% [markdown]
# Stack such tables and index once: that is a batch. No loop over patches remains, and it runs where
# the long row is, on a GPU too. A flip reverses the table instead of the pixels.

# %%
# NBVAL_CHECK_OUTPUT
long_row = np.concatenate([pair.lr.reshape(-1, 3) for pair in pairs])  # (pixels, 3)
counts = [pair.lr.shape[0] * pair.lr.shape[1] for pair in pairs]
starts = np.cumsum([0, *counts[:-1]])
chosen = generator.integers(0, len(pairs), 16)
places = [random_place(pairs[k]) for k in chosen]
index = np.stack(
    [pixel_index(starts[k], pairs[k].lr.shape[1], *at, size) for k, at in zip(chosen, places)]
)  # (16, 24, 24)
batch = long_row[index]  # (16, 24, 24, 3), uint8
one_by_one = [
    aligned_crop(pairs[k].lr, pairs[k].hr, *at, size, scale)[0] for k, at in zip(chosen, places)
]
print("indices", index.shape, "-> batch", batch.shape, batch.dtype)
print("equal to sixteen crops:", np.array_equal(batch, one_by_one))

# %% [markdown]
# `PatchSampler` does this for LR and HR, with random places and views. It is about a page long;
# read it in `srlib/data.py`.

# %% [markdown]
# ## 6. Validation: split by photograph
#
# To see whether a network learns or memorises, some data is kept from it. Which? The tempting way:
# cut all photographs into patches, and keep every tenth patch.
#
# To see what this does, take an upscaler that does nothing but memorise. It stores every 5 x 5
# window of its training LR images, with the detail that belongs to the middle pixel. Asked for a
# pixel, it looks up the most similar window. Refined, it was a method once (Freeman et al., 2002).
#
# *Predict:* what does it gain over bicubic interpolation on held-out patches? On held-out
# photographs?


# %%
def memorise(pair):
    """Windows (pixels, 75) without their mean, and detail of the middle pixels (pixels, 48)."""
    lr, hr = (to_float(image).to(device) for image in (pair.lr, pair.hr))
    windows = F.unfold(F.pad(lr, (2, 2, 2, 2), mode="replicate"), 5)[0].T
    detail = F.unfold(hr - imresize(lr, scale), scale, stride=scale)[0].T
    return windows - windows.mean(dim=1, keepdim=True), detail


def recall(windows, memory):
    """Detail of the most similar window in memory, for each window."""
    known, detail = memory
    nearest = [torch.cdist(part, known).argmin(dim=1) for part in windows.split(500)]
    return detail[torch.cat(nearest)]


def corner(pair):
    """The upper left of a pair, to be quick."""
    return Pair(pair.name, *aligned_crop(pair.lr, pair.hr, 0, 0, leak_side, scale))


squares = [corner(pair) for pair in pairs]
memories = {pair.name: memorise(pair) for pair in squares}
square_of = {pair.name: pair for pair in squares}

# %% [markdown]
# The same pixels are asked for three times, from three memories:
#
# - **by patch**: all other photographs, and 36 of 40 random patches of this one;
# - **by photograph**: all other photographs;
# - **by scene**: the two motorcycles are a stereo pair, two photographs of one scene. For them, the
#   other one is left out too.


# %%
def join(names, extra=()):
    """One memory of several photographs."""
    parts = [memories[name] for name in names] + list(extra)
    return tuple(torch.cat([part[k] for part in parts]) for k in (0, 1))


# %% tags=["folded"]
# @title Ask the three memories for the same pixels


def leak(name):
    """Gain over bicubic in dB for each split, and the part of held-out pixels that was seen."""
    seen, held_out = (np.zeros(square_of[name].lr.shape[:2], bool) for _ in range(2))
    for number in range(40):
        top, left = random_place(square_of[name])
        mask = held_out if number % 10 == 0 else seen
        mask[top : top + size, left : left + size] = True
    asked, known = (torch.from_numpy(mask.ravel()).to(device) for mask in (held_out, seen))
    windows, detail = (part[asked] for part in memories[name])
    others = [other for other in memories if other != name]
    scene = [other for other in others if other.split("_")[0] != name.split("_")[0]]
    patches = [part[known] for part in memories[name]]
    found = {"by patch": join(others, [patches]), "by photograph": join(others)}
    found["by scene"] = join(scene)
    gains = {}
    for split, memory in found.items():
        error = recall(windows, memory) - detail
        remaining = error.square().mean() + 1e-6  # a perfect copy counts as 60 dB
        gains[split] = 10 * (detail.square().mean() / remaining).log10().item()
    return gains | {"seen (%)": 100 * (seen & held_out).sum() / held_out.sum()}


leaks = pd.DataFrame({name: leak(name) for name in leak_photos}).T
leaks.round(1)

# %% tags=["folded"]
# @title Draw the three splits
figure, axes = plt.subplots(figsize=(9, 3.8))
spots = np.arange(len(leaks))
for k, split in enumerate(("by patch", "by photograph", "by scene")):
    bars = axes.bar(spots + 0.27 * (k - 1), leaks[split], 0.25, label=split)
    axes.bar_label(bars, fmt="%+.1f", fontsize=9)
axes.axhline(0, color="black", linewidth=1)
axes.set_xticks(spots, labels=leaks.index)
axes.margins(y=0.12)
axes.set(ylabel="PSNR above bicubic (dB)", title="An upscaler that only memorises, three splits")
axes.legend(loc="upper left")
show(
    figure,
    "Bars for each photograph: far above bicubic when split by patch; below it when split by "
    "photograph, but for the motorcycle, which is just above it, and falls below when it is split "
    "by scene.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Split by patch, nearly every held-out pixel has been seen in a patch that overlaps, and memory
# looks like a breakthrough. Patches cut without overlap would leak less, not nothing. Split by
# photograph, it loses against bicubic on all but one. The motorcycle gains a little as long as its
# stereo twin is in the memory: a file name of its own is not enough.
#
# </details>
#
# A network memorises far less than this upscaler, so its leak is smaller, and harder to notice.
# Hold out whole photographs, and with them all frames of a burst, video or stereo pair.
# `srlib.assets` keeps both motorcycles on the training side for that reason.
#
# It happens to careful people. Number 302003 of BSDS500, on which many networks are trained, is
# the fifth image of Set5, on which they are scored, at 1.4 times its size. Two data sets, two
# names, one photograph. `load_images` leaves it out; a comparison of thumbnails found it.

# %% [markdown]
# ## 7. Does it all fit?
#
# A photograph has three sizes: the file, the decoded bytes (uint8), and the numbers that networks
# take (float32).
#
# *Predict:* DIV2K, the usual training set, has 800 photographs for training and 100 for validation.
# Do they fit into a GPU with 8 GB? Into the memory of this computer?

# %% tags=["folded"]
# @title Write the files, and count the bytes
folder = tempfile.TemporaryDirectory()
for name in ("lr", "hr"):
    (Path(folder.name) / name).mkdir()
    for pair in pairs:
        write_image(Path(folder.name) / name / f"{pair.name}.png", getattr(pair, name))
png_bytes = sum(path.stat().st_size for path in Path(folder.name).glob("*/*.png"))
known = datasets()
decoded = {  # bytes as uint8, and of the files; LR adds a sixteenth at x4
    "bundled photographs": (sum(p.lr.nbytes + p.hr.nbytes for p in pairs), png_bytes),
    "BSDS500, 400 of 481 x 321": (400 * 481 * 321 * 3 * 17 / 16, known["BSDS500"].bytes),
    "DIV2K, 900 of about 2040 x 1400": (900 * 2040 * 1400 * 3 * 17 / 16, known["DIV2K"].bytes),
}
sizes = pd.DataFrame(
    {
        name: {"file": f / 1e9, "uint8": u / 1e9, "float32": 4 * u / 1e9}
        for name, (u, f) in decoded.items()
    }
).T
sizes.round(3)

# %% tags=["folded"]
# @title Draw the bytes
figure, axes = plt.subplots(figsize=(9, 3.6))
spots = np.arange(len(sizes))
for k, kind in enumerate(sizes.columns):
    bars = axes.barh(spots + 0.27 * (k - 1), sizes[kind], 0.25, label=kind)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=10)
axes.set_yticks(spots, labels=sizes.index)
axes.invert_yaxis()
axes.set(xscale="log", xlabel="gigabytes (logarithmic)", title="Bytes of three training sets")
axes.set_xlim(right=5 * sizes.to_numpy().max())
axes.legend(loc="upper right")
show(
    figure,
    "Horizontal bars for three data sets: files are smallest, uint8 two to seven times as large, "
    "float32 four times as large as uint8.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# As uint8, DIV2K fills more than 8 GB, before there is a network; a GPU with 16 GB takes it, and so
# do most computers. As float32 it would need four times as much and would not hold anything more.
#
# </details>
#
# So the sampler keeps uint8, and turns the patches of one batch into float after cutting. It adds a
# fourth, unused byte to each pixel, because whole words are gathered faster, and needs a third more
# than the column uint8 says.
#
# (The files are PNG for the bundled photographs, LR and HR, and for DIV2K; JPEG for BSDS500, HR
# only. The side lengths of DIV2K differ; 2040 x 1400 is a round number.)
#
# ## 8. Does it arrive in time?
#
# The ordinary pipeline has three parts. A `Dataset` gives one pair of patches: it opens two PNG
# files, decodes them, cuts one patch out of each and throws the rest away. Transforms cut and turn.
# A `DataLoader` runs the two in worker processes, as many as there are cores. torchvision brings
# `decode_image` for the files and `transforms.v2` for the patches.
#
# ### LR and HR alike
#
# A transform has to flip both images or neither. Those of `v2` take several images at once, and
# draw once for all of them.
#
# *Predict:* the flip below happens with probability 1. Which images does it turn?

# %%
lr_image, hr_image = (torch.tensor(x).permute(2, 0, 1) for x in (photo.lr, photo.hr))
flip = v2.RandomHorizontalFlip(p=1)
for name, kind in (("plain tensors", torch.as_tensor), ("tv_tensors.Image", tv_tensors.Image)):
    both = kind(lr_image), kind(hr_image)
    turned = [not torch.equal(before, after) for before, after in zip(both, flip(*both))]
    print(f"{name}: LR turned {turned[0]}, HR turned {turned[1]}")
try:
    v2.RandomCrop(size)(tv_tensors.Image(lr_image), tv_tensors.Image(hr_image))
except ValueError as error:
    print("RandomCrop:", error)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Of plain tensors `v2` takes the first for the image, and the others for something that is not to
# be turned. No error: the pair is broken. `tv_tensors.Image` is a tensor that says what it is.
#
# </details>
#
# `RandomCrop` wants images of one size, and LR and HR have two. So the aligned crop of section 2
# becomes a transform of its own: `make_params` draws a place once, `transform` is called for each
# image. `v2` has no transposition either.
#
# On Windows and macOS, and from Python 3.14 on under Linux too, workers start without what the
# notebook has defined and get their code by importing it. A class that was typed into a notebook
# cannot be imported: the loader fails with an `AttributeError`, or hangs. So the classes go into a
# file, and work everywhere.

# %%
MODULE = """
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2


class AlignedCrop(v2.Transform):
    # One place out of LR (3, H, W) and HR (3, sH, sW); the size counts LR pixels.
    def __init__(self, size):
        super().__init__()
        self.size = size

    def make_params(self, images):
        height, width = images[0].shape[-2:]  # of LR
        top, left = (int(torch.randint(n - self.size + 1, ())) for n in (height, width))
        return {"width": width, "box": (top, left, self.size, self.size)}

    def transform(self, image, params):
        factor = image.shape[-1] // params["width"]  # 1 for LR, s for HR
        return v2.functional.crop(image, *(factor * n for n in params["box"]))
"""

# %% tags=["folded"]
# @title The Dataset, in the same file
MODULE += """

class Transpose(v2.Transform):
    def transform(self, image, params):
        return tv_tensors.wrap(image.mT, like=image)


class RandomPatches(Dataset):
    # A random pair of patches of one photograph: uint8, LR (3, P, P) and HR (3, sP, sP).
    def __init__(self, sources, size):
        self.sources = sources  # (LR, HR) of each photograph: paths of files, or tensors
        flips = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.RandomApply([Transpose()])]
        self.views = v2.Compose([AlignedCrop(size), *flips, v2.ToPureTensor()])

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, index):
        lr, hr = (x if torch.is_tensor(x) else decode_image(x, ImageReadMode.RGB)
                  for x in self.sources[index])
        return self.views(tv_tensors.Image(lr), tv_tensors.Image(hr))
"""
(Path(folder.name) / "random_patches.py").write_text(MODULE, encoding="utf-8")
sys.path.insert(0, folder.name)  # the workers get this path too

from random_patches import RandomPatches

# %% [markdown]
# ### Where the time goes
#
# A PNG can only be decoded from the top, line by line. So the whole photograph is decoded for one
# patch.
#
# *Predict:* which part of the time is decoding? Which part of the decoded pixels is used?

# %%
paths = [
    tuple(str(Path(folder.name) / kind / f"{pair.name}.png") for kind in ("lr", "hr"))
    for pair in pairs
]
decoded_pairs = [
    tuple(torch.tensor(x).permute(2, 0, 1).contiguous() for x in (pair.lr, pair.hr))
    for pair in pairs
]


def milliseconds(function):
    """Mean time for a photograph, over all of them twice."""
    start = time.perf_counter()
    for k in [*range(len(pairs))] * 2:
        function(k)
    return 1000 * (time.perf_counter() - start) / (2 * len(pairs))


from_files, from_tensors = (RandomPatches(x, size) for x in (paths, decoded_pairs))
whole_item = milliseconds(from_files.__getitem__)
cutting = milliseconds(from_tensors.__getitem__)
used = len(pairs) * (scale * size) ** 2 / sum(p.hr.shape[0] * p.hr.shape[1] for p in pairs)
print(f"a pair of patches from files: {whole_item:.1f} ms, from decoded tensors: {cutting:.2f} ms")
print(f"so reading and decoding take {100 * (1 - cutting / whole_item):.0f} % of the time")
print(f"of the decoded HR pixels, {100 * used:.1f} % are used")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The three lines above say it: nearly all of the time goes into decoding, and nearly all of what
# is decoded is thrown away.
#
# </details>
#
# ### Patches per second
#
# Three pipelines, each with all cores of this computer, measured from outside: how many patches
# arrive on the device as float32?
#
# - the files, through a `DataLoader` with a worker per core;
# - the same with decoded tensors instead of files: workers cut, turn and pack only;
# - `PatchSampler`, without workers.
#
# All three draw a place and one of eight views. They differ in one thing: the `Dataset` draws every
# photograph alike, the sampler every place. Workers send `uint8`, and it becomes float on the
# device. They work ahead, so their start is not counted: the first batches are thrown away.


# %% tags=["folded"]
# @title Count the patches of a second


def loader_batches(dataset):
    """An endless stream of batches from worker processes."""
    endless = RandomSampler(dataset, replacement=True, num_samples=10**9)
    loader = DataLoader(
        dataset,
        batch_size=16,
        sampler=endless,
        num_workers=workers,
        prefetch_factor=4,
        pin_memory=device == "cuda",
    )
    to_float32 = v2.ToDtype(torch.float32, scale=True)
    for pair in loader:
        yield [to_float32(x.to(device, non_blocking=True)) for x in pair]


def patches_per_second(batches):
    """How many patches arrive a second, without the start."""
    for _ in range(2 * workers):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < measured_seconds:
        lr, hr = next(batches)
        count += len(lr)
    hr.sum().item()  # waits for a GPU
    return count / (time.perf_counter() - start)


# %%
sampler = PatchSampler(pairs, scale, lr_patch_size=size, batch_size=16, device=device)
pipelines = {
    "PNG files, DataLoader": loader_batches(from_files),
    "decoded tensors, DataLoader": loader_batches(from_tensors),
    f"PatchSampler on {device}": iter(sampler.sample, None),  # calls it for ever
}
rates = {name: patches_per_second(batches) for name, batches in pipelines.items()}
for batches in pipelines.values():
    if hasattr(batches, "close"):
        batches.close()  # ends the workers
png_rate, tensor_rate, sampler_rate = rates.values()
print(
    f"{workers} workers; against the files, decoded tensors are {tensor_rate / png_rate:.0f} times "
    f"as fast and the sampler {sampler_rate / png_rate:.0f} times"
)

# %% tags=["folded"]
# @title Draw the rates
figure, axes = plt.subplots(figsize=(9, 2.8))
bars = axes.barh(list(rates), list(rates.values()), color=["C1", "C3", "C0"])
axes.bar_label(bars, fmt="{:,.0f}", padding=4)
axes.invert_yaxis()
axes.set(xscale="log", xlabel="patches per second (logarithmic)")
axes.set_xlim(png_rate / 3, 4 * max(rates.values()))
axes.set_title(f"24 x 24 LR and 96 x 96 HR, batch 16, {workers} cores")
show(figure, "Three bars: from files by far the slowest, from tensors and from the sampler fast.")

# %% [markdown]
# Decoding is what costs: without it, workers bring many times more. What is left to them is `v2`'s
# Python for each single patch; the sampler indexes sixteen at once. And the workers take the cores
# on which the network trains, and every patch still has to travel to the GPU where there is one.
# The sampler's pixels are there already.
#
# These photographs have about half a megapixel on average. Those of DIV2K have nearly three, and
# decoding takes that much longer; `make bench` measures it with photographs of that size. The usual
# repair is to cut all photographs into small files beforehand. It makes decoding cheaper, and keeps
# it.
#
# ### When a network starves
#
# Are a hundred patches a second few? That depends on who eats. A training step needs a known
# number of operations for each patch, forwards and back.


# %% tags=["folded"]
# @title Count what the networks take


def training_flops(network):
    """Floating-point operations for a patch, forwards and back."""
    lr = torch.rand(1, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        network(lr).mean().backward()
    return counter.get_total_flops()


flops = {
    "SrResNet, 64 channels, 16 blocks": training_flops(SrResNet(scale)),
    "SrResNet, 32 channels, 4 blocks": training_flops(SrResNet(scale, channels=32, num_blocks=4)),
    "SRCNN": training_flops(SRCNN(scale)),
}
small_name = "SrResNet, 32 channels, 4 blocks"
small = SrResNet(scale, channels=32, num_blocks=4).to(device)
history = train(small, sampler, TrainConfig(steps=by_profile(ci=2, cpu=8, gpu=50), progress=False))
steps_timed = len(history) - 1
taken = 16 * steps_timed / (history["seconds"].iloc[-1] - history["seconds"].iloc[0])
useful = taken * flops[small_name]  # operations a second that this machine really does
print(f"here, {small_name} takes {taken:.0f} patches/s: {useful / 1e9:.0f} GFLOP/s")

# %% tags=["folded"]
# @title Draw who waits for whom
speed = np.geomspace(1e10, 1e14, 50)  # useful operations a second
figure, axes = plt.subplots(figsize=(9, 4.8))
for (name, per_patch), style in zip(flops.items(), ("-", "--", ":")):
    axes.plot(speed, speed / per_patch, color="black", linestyle=style, label=f"takes: {name}")
for (name, rate), colour in zip(rates.items(), ("C1", "C3", "C0")):
    axes.axhline(rate, color=colour, label=f"brings: {name}")
axes.plot(useful, taken, "o", color="black", markersize=9, label="measured here")
axes.axvline(8.1e12, color="grey", linewidth=1)
axes.text(7e12, speed[0] / max(flops.values()), "peak of a T4", rotation=90, ha="right")
axes.set(xscale="log", xlabel="useful operations per second")
axes.set(yscale="log", ylabel="patches per second")
axes.set_title("Where a network takes more than the pipeline brings, it waits")
axes.legend(loc="upper left", fontsize=9)
axes.set_ylim(top=3e3 * max(rates.values()))
show(
    figure,
    "Three rising lines, the patches that networks take against the speed of the computer, and "
    "three level lines, the patches that pipelines bring. Fast computers cross the level lines.",
)

# %% [markdown]
# The same as a table: a network waits where the computer does more useful TFLOP/s
# (million million operations a second) than this.

# %% tags=["folded"]
# @title From which speed on a network waits
limits = {
    pipeline: {name: rate * per_patch / 1e12 for name, per_patch in flops.items()}
    for pipeline, rate in rates.items()
}
pd.DataFrame(limits).round(3)

# %% [markdown]
# The T4 is the GPU of Colab's free tier; 8.1 TFLOP/s is its peak in float32 (NVIDIA T4 data sheet,
# 2019), which no program reaches. Compare it with the first column: a GPU that could do twice as
# much as stands there waits half of its time for files, and a faster one only waits longer. Where a
# large network trains on a laptop's processor, decoding is hardly noticed, apart from the cores
# that it takes.

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers
lost = border_table["pixels of a patch (%)"].iloc[:2].sum()
print(
    f"LR patch shrunk from its own crop: wrong in the outer two rings, {lost:.0f} % of its pixels"
)
print(f"HR patch moved by one pixel: {shift_psnr[1] - shift_psnr[0]:+.2f} dB for bicubic")
print(f"the richest tenth of the patches holds {richest:.0f} % of the squared detail")
print(f"memory, split by patch: {leaks['by patch'].mean():+.1f} dB against bicubic")
print(f"memory, split by scene: {leaks['by scene'].mean():+.1f} dB")
print(f"patches per second: {png_rate:,.0f} from files, {sampler_rate:,.0f} from the sampler")

# %% [markdown]
# - Many small patches make a better gradient than few large ones of equally many pixels.
# - The LR of a crop is the crop of the LR. Shrinking the crop is wrong at its border.
# - Flips are exact under a symmetric kernel; what changes one image of a pair only, is no
#   augmentation.
# - A split by patch measures memory. Split by photograph, and by scene where there are twins.
# - Decoding costs nearly all the time of the ordinary pipeline. Decoded once, kept as uint8 and
#   gathered by index, the same patches come many times faster.
#
# ## Pitfalls
#
# - **HR sides that are no multiple of the scale.** `modcrop` first. A resize to rounded sides
#   shrinks by a little more or less than s, and LR pixel k no longer covers HR pixels sk to
#   sk + s - 1.
# - **Plain tensors in a `v2` transform**: LR is turned, HR is not, and nothing says so.
# - **`decode_image`** leaves a photograph on its side that a camera marked as turned, unless told
#   `apply_exif_orientation=True`. torchvision 0.29 announces that it moves to the package
#   TorchCodec, where it has the same name.
# - **A NumPy generator inside a `Dataset`** is copied into every worker: all workers draw the same
#   places. Draw with `torch`, which seeds each worker by itself.
# - **JPEG photographs** carry blocks of 8 x 8. Shrinking by 4 hides them in LR, and the network
#   learns to paint them. Training photographs are best stored without loss.
# - **Every place alike** does not mean every pixel alike: a pixel in the photograph's corner is in
#   one patch only, one in the middle in as many as a patch has pixels.
# - **Several training processes** on one machine each hold a copy of the photographs.
# - **Timing a loader** from its first batch measures how long the workers take to start. And a
#   GPU's clock needs `synchronize`, or a result that is read.
#
# ## Further reading
#
# - R. Timofte, R. Rothe, L. Van Gool, "Seven ways to improve example-based single image super
#   resolution", CVPR, 2016. What the eight views bring, in training and in use.
# - E. Agustsson, R. Timofte, "NTIRE 2017 challenge on single image super-resolution: dataset and
#   study", CVPR Workshops, 2017. DIV2K.
# - W. T. Freeman, T. R. Jones, E. C. Pasztor, "Example-based super-resolution", IEEE Computer
#   Graphics and Applications 22(2), 2002. Super-resolution from memory.
# - J. Yoo, N. Ahn, K.-A. Sohn, "Rethinking data augmentation for image super-resolution: a
#   comprehensive analysis and a new strategy", CVPR, 2020.
# - S. Kaufman, S. Rosset, C. Perlich, "Leakage in data mining: formulation, detection, and
#   avoidance", KDD, 2011.
# - J. Mohan, A. Phanishayee, A. Raniwala, V. Chidambaram, "Analyzing and mitigating data stalls in
#   DNN training", PVLDB 14(5), 2021. How much of training is waiting.
# - G. Leclerc, A. Ilyas, L. Engstrom, S. M. Park, H. Salman, A. Madry, "FFCV: accelerating training
#   by removing data bottlenecks", CVPR, 2023.
