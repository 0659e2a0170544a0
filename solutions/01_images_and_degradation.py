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
# # 01 Images and degradation: what a small picture has lost
#
# Super-resolution turns a small picture into a large one. To see why that is hard, go the other
# way first. This notebook makes the small picture, one step after the other, and looks at what
# each step destroys. At the end it shows pictures that differ wildly and shrink to the same few
# pixels.
#
# **After this you can**
#
# - shrink a picture with and without aliasing, and predict the false pattern;
# - write the degradation model: blur, downsampling, noise, JPEG;
# - show that one LR image has many HR answers, and say why their mean is blurred.
#
# Time: 60 minutes to read and try. Of these the computer needs at most 1 minute on two CPU cores;
# calculated, not measured: 1 on a T4 GPU, 1 on an A100.

# %% tags=["folded"]
# @title Imports
import io
from functools import cache

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from skimage.filters import gaussian
from torchvision.transforms import v2
from torchvision.utils import make_grid

from srlib.assets import sample_image
from srlib.environment import by_profile
from srlib.exercises import check, hint  # noqa: F401 (hint is for you)
from srlib.figures import compare, show, zoom_grid
from srlib.metrics import psnr, score
from srlib.resample import imresize, modcrop, resize_matrix
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
moves = by_profile(ci=(-2, 2), cpu=(-2, 0, 2), gpu=(-2, 0, 2))  # pixels, in section 6

# %% [markdown]
# A photograph, and what is left of it at a quarter of its width and height. Super-resolution is
# asked to lead from the right crop back to the middle one.

# %%
hr = modcrop(sample_image("chelsea"), 4)  # (H, W, 3)
lr = imresize(hr, 1 / 4)  # (H / 4, W / 4, 3)
eye = (80, 124, 48, 64)  # top, left, height, width
show(
    zoom_grid({"high resolution (HR)": hr, "low resolution (LR)": lr}, eye),
    "A cat, a crop with its eye, and the same crop with a sixteenth of the pixels: large squares.",
)

# %% [markdown]
# ## 1. A picture is numbers
#
# Here a picture is an array of shape (H, W, 3): rows, columns, and the three colours red, green
# and blue. Each number is a whole **grey level** from 0 (dark) to 255 (bright), of type `uint8`.
#
# *Predict:* the crop below lies around the highlight of the eye. Where are the large numbers?

# %% tags=["folded"]
# @title Draw 8 x 8 pixels and their numbers
small_crop = hr[97:105, 166:174]  # (8, 8, 3)
figure, panels = plt.subplots(1, 2, figsize=(8.4, 4.2))
panels[0].imshow(small_crop)
panels[0].set_title("8 x 8 pixels")
panels[1].imshow(small_crop[..., 1], cmap="gray", vmin=0, vmax=255)
panels[1].set_title("their green numbers")
for (row, column), level in np.ndenumerate(small_crop[..., 1]):
    colour = "black" if level > 127 else "white"
    panels[1].text(column, row, level, ha="center", va="center", color=colour, fontsize=10)
for axes in panels:
    axes.set_axis_off()
show(figure, "Eight by eight pixels in colour, and their green values as numbers on grey squares.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# In the highlight: up to 185, and most of it in two columns. The dark pupil around it has numbers
# below 50. From one to the other it takes a pixel or two: that is what an edge is.
#
# </details>

# %% [markdown]
# The large picture is called **HR** (high resolution), the small one **LR** (low resolution).
# The **scale** says how many times the HR picture is wider and higher.
#
# *Predict:* at scale 4, which part of the numbers is left?

# %%
# NBVAL_CHECK_OUTPUT
kept = {}
for scale in (1, 2, 3, 4, 8):
    height, width, colours = imresize(modcrop(hr, scale), 1 / scale).shape
    numbers = height * width * colours
    kept[f"x{scale}"] = (f"{width} x {height}", numbers, f"1 of {scale**2}")
pd.DataFrame(kept, index=["pixels", "numbers", "left"]).T

# %% [markdown]
# <details><summary>What happened</summary>
#
# One number of 16: a quarter of the columns and a quarter of the rows. At scale 8 it is one of 64.
#
# </details>

# %% [markdown]
# ## 2. Two ways to shrink
#
# The lazy way keeps every third pixel of every third row: `image[::3, ::3]`. The careful way
# replaces each block of 3 x 3 pixels by its mean.
#
# ### Exercise 01.1
#
# Write the careful way for any whole scale. Each colour has its own mean, and the result is
# rounded to whole grey levels. Both sides of the picture are multiples of the scale.


# %%
def block_mean(image, scale):
    """Shrink by block means: uint8 (H, W, 3) -> uint8 (H / scale, W / scale, 3)."""
    ### BEGIN SOLUTION
    height, width = image.shape[0] // scale, image.shape[1] // scale
    blocks = image.reshape(height, scale, width, scale, 3)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)
    ### END SOLUTION


block_mean = check("01.1", block_mean)

# %% [markdown]
# Stuck? Run `hint("01.1")` in a cell of your own; each call says more. A wrong answer never stops
# the notebook: `check` hands on the reference.
#
# *Predict:* letters are a few pixels wide. What does each way make of them at scale 3?

# %%
page = modcrop(sample_image("page"), 3)
lazy, careful = page[::3, ::3], block_mean(page, 3)
show(
    zoom_grid({"every third pixel": lazy, "block means": careful}, (9, 3, 36, 108), reference=page),
    "A page, and its headline, twice. With every third pixel strokes are missing or too "
    "thick, with block means they are grey and even.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The lazy picture looks sharp, but its strokes are a lottery: a thin line stays if it happens to
# lie on a kept pixel. Block means turn each stroke to an even grey.
#
# </details>

# %% [markdown]
# Now move the page by one pixel and shrink it again. What changes?

# %%
moved = np.roll(page, 1, axis=1)
flicker = {
    "every third pixel": np.abs(moved[::3, ::3].astype(float) - lazy).mean(),
    "block means": np.abs(block_mean(moved, 3).astype(float) - careful).mean(),
}
for name, change in flicker.items():
    print(f"{name}: {change:.1f} grey levels")

# %% [markdown]
# Both change, because the page did move. The lazy one changes more. In a film it would flicker.

# %% [markdown]
# ## 3. Aliasing
#
# Keeping every third pixel is **sampling**. Nothing between two samples is seen.
#
# *Predict:* a wave swings 9 times per unit, and we take 10 samples. How fast is the slowest wave
# through these samples?

# %% tags=["folded"]
# @title Draw the two waves
time = np.linspace(0, 1, 801)
samples = np.arange(11) / 10
figure, axes = plt.subplots(figsize=(8, 2.8))
axes.plot(time, np.cos(2 * np.pi * 9 * time), color="lightgrey", label="frequency 9")
axes.plot(time, np.cos(2 * np.pi * time), "--", label="frequency 1")
axes.plot(samples, np.cos(2 * np.pi * 9 * samples), "o", color="black", label="10 samples per unit")
axes.set(xlabel="position", ylabel="value", title="Two waves, the same samples")
axes.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.25))
show(figure, "A fast and a slow cosine that meet in every one of the sample points.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# It swings once per unit. The samples of both waves are the same, so whoever has the samples alone
# sees the slow one.
#
# </details>

# %% [markdown]
# The slow wave is an **alias**: a name under which the
# fast wave goes. Waves are safe below half the sampling rate, the **Nyquist frequency**. With 10
# samples per unit that is 5.
#
# ### Exercise 01.2
#
# Which frequency do the samples show? Return one from 0 to half the sampling rate. It must work
# for arrays of frequencies as well.


# %%
def apparent_frequency(frequency, sampling_rate):
    """Frequency of the slowest wave through the samples of a cosine."""
    ### BEGIN SOLUTION
    return np.abs(frequency - sampling_rate * np.round(frequency / sampling_rate))
    ### END SOLUTION


apparent_frequency = check("01.2", apparent_frequency)

# %% [markdown]
# Move the frequency slowly from 0 to 20. The dashed wave is the one that your function names.

# %% tags=["folded"]
# @title The slider of waves and samples
board = Figure(figsize=(6.6, 3), layout="none")  # made once; what is animated moves
wave_axes = board.add_axes((0.12, 0.18, 0.86, 0.78))
wave_axes.set(xlabel="position", ylabel="value", ylim=(-1.15, 1.15))
(true_wave,) = wave_axes.plot(time, time, color="lightgrey", animated=True)
(alias,) = wave_axes.plot(time, time, "--", animated=True)
(dots,) = wave_axes.plot(samples, samples, "o", color="black", animated=True)


def sampled_wave(frequency):
    """Draw a wave, 10 samples of it, and the slowest wave through them."""
    seen = apparent_frequency(frequency, 10.0)
    for curve, places, rate in ((true_wave, time, frequency), (alias, time, seen)):
        curve.set_ydata(np.cos(2 * np.pi * rate * places))
    dots.set_ydata(np.cos(2 * np.pi * frequency * samples))
    return board, f"grey: frequency {frequency:.1f}; dashed: {seen:.1f}; 10 samples per unit"


wave_slider = Explorer(
    sampled_wave,
    frequency=ipywidgets.FloatSlider(9, min=0, max=20, step=0.1, description="frequency"),
)
wave_slider

# %% [markdown]
# The same for print: what goes in, and what the samples show.

# %% tags=["folded"]
# @title Draw the frequency seen against the frequency
frequencies = np.linspace(0, 20, 401)
figure, axes = plt.subplots(figsize=(8, 3.2))
axes.plot(frequencies, apparent_frequency(frequencies, 10.0))
axes.axhline(5, color="grey", linestyle=":")
axes.text(20, 5.1, "Nyquist frequency", ha="right", va="bottom", color="dimgrey")
axes.set(
    xlabel="frequency of the wave",
    ylabel="frequency seen",
    ylim=(0, 6.2),
    title="10 samples per unit",
)
show(figure, "A zigzag between zero and five: rising to five at five, back to zero at ten.")

# %% [markdown]
# Pictures have waves too: fur, cloth, bricks. The **zone plate** has all of them. Its rings get
# finer from the centre outwards, and the finest are in the corners.
#
# *Predict:* it is shrunk by 4. Where do false rings appear, and which way of shrinking has none?

# %%
rows, columns = np.mgrid[:192, :192] - 95.5
rings = 127.5 + 127.5 * np.cos(0.7 * np.pi * (rows**2 + columns**2) / 192)
plate = np.repeat(rings.astype(np.uint8)[..., None], 3, axis=2)  # (192, 192, 3)
ways = {
    "zone plate": plate,
    "every 4th pixel": plate[::4, ::4],
    "block means": block_mean(plate, 4),
    "bicubic, antialiased": imresize(plate, 1 / 4),
}

# %% tags=["folded"]
# @title Draw the four squares
figure = plt.figure(figsize=(8, 2.2), layout="none")
for index, (name, image) in enumerate(ways.items()):
    axes = figure.add_axes((0.005 + 0.25 * index, 0, 0.24, 192 / 220))  # 192 screen pixels
    axes.imshow(image, extent=(-96, 96, -96, 96))
    axes.add_patch(plt.Circle((0, 0), 192 / 0.7 / 8, fill=False, color="C1"))
    axes.set_title(name)
    axes.set_axis_off()
show(
    figure,
    "Four squares with rings. Every fourth pixel shows nine centres instead of one, block means "
    "show faint false ones, antialiased bicubic is almost plain grey outside a circle.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The circle is the Nyquist frequency of the small picture. No ring outside it can be kept, so an
# honest small picture is grey there. Every fourth pixel fills the place with rings that never
# were. Block means leave faint ones. The wider bicubic kernel leaves almost none.
#
# </details>

# %% [markdown]
# The field makes its LR images with it, as `imresize` does; notebook 02 explains how.

# %% [markdown]
# ## 4. The degradation model
#
# A camera does more than shrink. The lens and the hand blur, the sensor samples and adds noise,
# and the file is a JPEG:
#
# $$ y = \mathrm{JPEG}\big( (x * k)\downarrow_s + n \big) $$
#
# $x$ is the HR picture, $*\,k$ a blur, $\downarrow_s$ the shrinking by $s$, $n$ the noise and
# $y$ the LR picture. In code it is one step after the other.


# %%
def to_levels(values):
    """Round to whole grey levels and clip: float array -> uint8."""
    return np.floor(np.clip(values, 0, 255) + 0.5).astype(np.uint8)


def jpeg_file(image, quality):
    """Bytes of a JPEG file: uint8 (H, W, 3), quality 1..95."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def degrade(image, blur=0.0, scale=1, noise=0.0, quality=None):
    """HR -> LR, both uint8. Blur: sigma in HR pixels; noise: sigma in grey levels."""
    blurred = gaussian(image, blur, channel_axis=2, preserve_range=True)
    small = imresize(blurred, 1 / scale)
    noisy = small + np.random.default_rng(0).normal(scale=noise, size=small.shape)
    lr = to_levels(noisy)
    if quality is None:
        return lr
    return np.array(Image.open(io.BytesIO(jpeg_file(lr, quality))))


# %% [markdown]
# Each term alone, then all together.
#
# *Predict:* under which terms does the highlight in the eye survive?

# %%
terms = {
    "original": hr,
    "blur, sigma 2": degrade(hr, blur=2),
    "downsampling by 4": degrade(hr, scale=4),
    "noise, sigma 20": degrade(hr, noise=20),
    "JPEG, quality 10": degrade(hr, quality=10),
    "all, but milder": degrade(hr, blur=1, scale=4, noise=5, quality=50),
}
show(
    zoom_grid(terms, eye),
    "The eye of a cat: original, blurred, in large pixels, with coloured noise, with the blocks "
    "of JPEG, and with all of it.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Noise leaves it, for it moves nothing. JPEG keeps a smudge of it. Blur makes it a dim glow, and
# of the downsampling a single pale pixel is left. With all of them, even mild ones, it is gone.
#
# </details>

# %% [markdown]
# Now with your hands. The LR picture is shown enlarged to the old size, one square for each
# pixel. Try this: find the noise that makes the JPEG file half as large again. Then see which of
# the four you notice first when all are weak.


# %% tags=["folded"]
# @title The sliders of degradation
def degraded(image, blur, scale, noise, quality):
    """Show the LR picture at the size of the HR picture."""
    small = degrade(image, blur, scale, noise)
    caption = f"{small.shape[1]} x {small.shape[0]} pixels, {small.size / 1000:.1f} kB of numbers"
    if quality:
        file = jpeg_file(small, quality)
        small = np.array(Image.open(io.BytesIO(file)))
        caption += f", JPEG file of {len(file) / 1000:.1f} kB"
    enlarged = small.repeat(scale, 0).repeat(scale, 1)[: image.shape[0], : image.shape[1]]
    return enlarged, caption


qualities = [("no JPEG", 0), *((str(q), q) for q in (95, 90, 80, 70, 50, 30, 20, 10, 5))]
degradation_slider = Explorer(
    degraded,
    photo=PhotoPicker("coffee", max_side=320),
    blur=ipywidgets.FloatSlider(0, min=0, max=4, step=0.1, description="blur sigma (HR pixels)"),
    scale=ipywidgets.IntSlider(2, min=1, max=8, description="scale"),
    noise=ipywidgets.IntSlider(0, min=0, max=50, description="noise sigma (levels)"),
    quality=ipywidgets.SelectionSlider(options=qualities, value=70, description="JPEG quality"),
)
degradation_slider

# %% [markdown]
# The tables of the field use the downsampling alone: no blur besides that of the bicubic kernel,
# no noise, no JPEG. That is mild, and still far from easy, as the rest of this notebook shows.
#
# ### The same terms from a library
#
# torchvision's `transforms.v2` has a transform for each term. They take tensors (3, H, W). Do they
# do what `degrade` does?
#
# First the blur. `v2.GaussianBlur` wants the size of its kernel beside sigma, and cuts off what
# lies outside. Beyond the border it mirrors the picture; `gaussian` repeats the edge pixel.
#
# *Predict:* with sigma 2, how many pixels wide should the kernel be?


# %%
def to_tensor(image):
    """uint8 (H, W, 3) -> uint8 tensor (3, H, W)."""
    return torch.tensor(image).permute(2, 0, 1)


def to_array(tensor):
    """Tensor (3, H, W) -> array (H, W, 3)."""
    return tensor.permute(1, 2, 0).numpy()


dot = torch.zeros(1, 33, 33)
dot[0, 16, 16] = 1  # blurred, it is the kernel itself
away = np.arange(33) - 16
ours = gaussian(hr, 2, channel_axis=2, preserve_range=True)
blur_rows = {}
for kernel_size in (3, 5, 9, 17):
    blur = v2.GaussianBlur(kernel_size, 2.0)
    weights = blur(dot)[0].sum(dim=0).numpy()
    error = np.abs(to_array(blur(to_tensor(hr).float())) - ours)
    blur_rows[kernel_size] = (np.sqrt(weights @ away**2), error[8:-8, 8:-8].max(), error.max())
columns = ["sigma that is left", "largest difference inside", "anywhere"]
pd.DataFrame(blur_rows, index=columns).T.rename_axis("kernel size").round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Seventeen: four times sigma to either side. Then the two agree inside and differ at the border
# only. A kernel of 5 pixels cuts so much off that a blur of sigma 1.29 is left of 2.
#
# </details>
#
# `gaussian` takes the right size by itself. (The differences are in grey levels; inside begins 8
# pixels from the border.)
#
# Now the noise. `v2.GaussianNoise` takes floats in 0..1, so its sigma is a part of 1, and it clips
# by default. The noise is another one on each call; `torch.manual_seed` repeats it.
#
# *Predict:* noise of sigma 20 on a black, a grey and a white picture. What are their means?

# %%
noise_rows = {}
noise_20 = v2.GaussianNoise(sigma=20 / 255)
torch.manual_seed(0)  # the noise of v2
for level in (0, 128, 255):
    flat = np.full((200, 200, 3), level, np.uint8)
    both = degrade(flat, noise=20), 255 * to_array(noise_20(to_tensor(flat) / 255))
    unclipped = v2.GaussianNoise(sigma=20 / 255, clip=False)(to_tensor(flat) / 255)
    wrapped = to_array((255 * unclipped).round().int().to(torch.uint8))
    noise_rows[level] = [image.mean() for image in (*both, wrapped)]
columns = ["degrade", "v2", "v2, clip=False, then uint8"]
pd.DataFrame(noise_rows, index=columns).T.rename_axis("grey level").round(1)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Black gets brighter, to 8.0, and white darker, to 247.0, because half of the noise is clipped
# away. Grey stays. That is the price of clipping, and it is easily missed. But clip one must:
# without it, what lies outside of 0..255 wraps round when it becomes `uint8`. Black gets white
# dots, and its mean is 125.1.
#
# </details>
#
# The two libraries agree, up to the luck of the draw.
#
# Last the JPEG. `v2.JPEG` takes `uint8`. Both it and Pillow store colour at half the width and
# half the height unless told otherwise (**chroma subsampling**, 4:2:0); `v2.JPEG` cannot be told.
#
# *Predict:* how much smaller does this make the file?

# %%
jpeg_rows = {}
for quality in (10, 50, 90):
    pillow = np.array(Image.open(io.BytesIO(jpeg_file(hr, quality))))
    library = to_array(v2.JPEG(quality)(to_tensor(hr)))
    full = io.BytesIO()
    Image.fromarray(hr).save(full, "JPEG", quality=quality, subsampling=0)
    jpeg_rows[quality] = {
        "values that differ, v2 and Pillow": np.count_nonzero(library != pillow),
        "kB, 4:2:0": len(jpeg_file(hr, quality)) / 1000,
        "kB, full colour": full.tell() / 1000,
        "PSNR (dB), 4:2:0": psnr(pillow, hr, data_range=255),
        "PSNR (dB), full colour": psnr(np.array(Image.open(full)), hr, data_range=255),
    }
pd.DataFrame(jpeg_rows).T.rename_axis("quality").round(1)

# %% [markdown]
# <details><summary>What happened</summary>
#
# By a sixth to a quarter, depending on the quality. At quality 50 the file has 13.6 kB instead of
# 16.1, and the picture 33.9 dB instead of 34.3.
#
# </details>

# %% [markdown]
# Both leave the work to libjpeg, so they agree. `degrade` and `v2` are one model, with other
# conventions at its edges.
#
# What `v2` is made for is something else: the strength of blur and JPEG may be a range, and every
# call draws from it. To train on pictures that are damaged in many ways, this is the whole model:

# %%
damage = v2.Compose(
    [
        v2.GaussianBlur(25, sigma=(0.2, 3.0)),
        v2.Resize(hr.shape[0] // 4, antialias=True, interpolation=v2.InterpolationMode.BICUBIC),
        v2.ToDtype(torch.float32, scale=True),
        v2.GaussianNoise(sigma=8 / 255),
        v2.ToDtype(torch.uint8, scale=True),
        v2.JPEG((10, 90)),
    ]
)
torch.manual_seed(6)
damaged = torch.stack([damage(to_tensor(hr)) for _ in range(4)])  # (4, 3, H / 4, W / 4)
grid = make_grid(damaged[..., 14:54, 32:88], nrow=4, pad_value=255)  # one picture (3, 44, 234)
figure = plt.figure(figsize=(7.02, 1.32), layout="none")  # 3 screen pixels for each
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(to_array(grid), interpolation="nearest")
axes.set_axis_off()
show(
    figure,
    "The face of a cat in small squares, four times: soft or sharp, with fine noise or with the "
    "blotches that JPEG makes of it.",
)

# %% [markdown]
# ## 5. One LR picture, many answers
#
# Take a single block and a single colour. Its mean is 100.
#
# *Predict:* how many different blocks of 2 x 2 grey levels have this mean? More than a million?

# %%
# NBVAL_CHECK_OUTPUT
for scale in (2, 3, 4):
    ways_to_sum = np.ones(1)  # ways_to_sum[total] for no pixel yet
    for _ in range(scale**2):
        ways_to_sum = np.convolve(ways_to_sum, np.ones(256))  # one more pixel, 0..255
    totals = np.arange(len(ways_to_sum))
    count = ways_to_sum[np.floor(totals / scale**2 + 0.5) == 100].sum()
    print(f"x{scale}: {count:.1e} blocks have the mean 100")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Far more: 35 million. At scale 4 the number has 37 digits.
#
# </details>

# %% [markdown]
# And this for every block of the picture. So "which HR picture gave this LR picture?" has no
# single answer. Such a problem is called **ill-posed**. What can be asked is whether a picture is
# *an* answer.
#
# ### Exercise 01.3
#
# Shrink a candidate with `imresize` and return the mean absolute difference from the LR picture,
# in grey levels. Zero means: it explains the LR picture perfectly.


# %%
def lr_error(candidate, lr, scale):
    """How badly an HR candidate explains an LR picture: two uint8 arrays, scale -> float."""
    ### BEGIN SOLUTION
    small = imresize(candidate, 1 / scale)
    return np.abs(small.astype(float) - lr).mean()
    ### END SOLUTION


lr_error = check("01.3", lr_error)

# %% [markdown]
# *Predict:* is the bicubic enlargement of the LR picture an answer?

# %%
print(f"original: {lr_error(hr, lr, 4):.2f} grey levels")
print(f"bicubic enlargement: {lr_error(imresize(lr, 4), lr, 4):.2f} grey levels")

# %% [markdown]
# <details><summary>What happened</summary>
#
# It is not. Shrinking it blurs once more, and the result is off by 1.23 grey levels on average.
#
# </details>

# %% [markdown]
# Any picture can be *made* an answer. Shrinking
# multiplies by a matrix $D$. Its pseudo-inverse $D^+$ enlarges so that shrinking gives the LR
# picture back: $D D^+ = 1$. So shrink the picture, look at what is missing, enlarge that, add it:
#
# $$ x \leftarrow x + D^+ (y - D x) $$
#
# This is **back-projection** (Irani and Peleg 1991), in a single step.


# %%
@cache
def matrices(size, scale):
    """The matrix that shrinks a row of `size` pixels, and its pseudo-inverse."""
    shrink = resize_matrix(size, 1 / scale)  # (size / scale, size)
    return shrink, np.linalg.pinv(shrink)


def both_ways(image, row_matrix, column_matrix):
    """Multiply the rows and the columns of a picture (H, W, 3) by matrices."""
    return np.einsum("ai,ijc,bj->abc", row_matrix, image, column_matrix, optimize=True)


def explain(picture, lr, scale):
    """Nearest picture to `picture` that shrinks to `lr`: floats (H, W, 3), not rounded."""
    (shrink_rows, grow_rows), (shrink_columns, grow_columns) = (
        matrices(size, scale) for size in picture.shape[:2]
    )
    missing = lr - both_ways(picture.astype(float), shrink_rows, shrink_columns)
    return picture + both_ways(missing, grow_rows, grow_columns)


# %% [markdown]
# What shrinking does not see is called its **null space**: pictures that shrink to plain zero.
# Any of them can be added to an answer, and it stays one. `explain(picture, 0, scale)` finds the
# part of a picture that lies there. It is its fine detail.
#
# *Predict:* below are six answers to one LR picture. How different can they be?


# %%
def hidden(name, shape, scale=4):
    """Detail of a photograph that shrinking does not see: floats (H, W, 3)."""
    texture = np.tile(sample_image(name), (3, 3, 1))[: shape[0], : shape[1]]
    return explain(texture, 0, scale)


soft = explain(imresize(lr, 4), lr, 4)  # floats (H, W, 3)
answers = {
    "original": hr,
    "bicubic, corrected": to_levels(soft),
    "blocks, corrected": to_levels(explain(imresize(lr, 4, kernel="nearest"), lr, 4)),
    "detail inverted": to_levels(2 * soft - hr),  # soft + (soft - hr)
    "with gravel": to_levels(soft + 0.8 * hidden("gravel", hr.shape)),
    "with a page of text": to_levels(soft + 0.8 * hidden("page", hr.shape)),
}
show(
    zoom_grid(answers, (72, 112, 60, 80), reference="original"),
    "Six versions of a cat's eye: sharp, soft, with blocks, with inverted detail, with the "
    "cracks of gravel, and with printed words across it.",
)

# %%
table = {
    name: (lr_error(answer, lr, 4), score(answer, hr, 4)[0]) for name, answer in answers.items()
}
pd.DataFrame(table, index=["LR error (grey levels)", "PSNR (dB)"]).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# As different as one likes: there is even text on the cat. All of them shrink to the same LR
# picture. What little LR error there is comes from rounding and from clipping at 0 and 255.
#
# </details>
#
# The PSNR tells them apart (higher is closer to the original, inf is equal; notebook 03), but only
# because we have the original.
#
# To choose, one needs to know what photographs look like: cats seldom carry text. This knowledge
# is called a **prior**. A network learns it from examples.
#
# Move the strength, and watch the right side. Photographs with much black or white clip sooner:
# there the LR error grows.


# %% tags=["folded"]
# @title The slider of hidden detail
hidden_once = cache(hidden)  # not again for each strength


def with_hidden(image, strength, detail):
    """Show an answer with hidden detail beside the LR picture that it gives."""
    image = modcrop(image, 4)
    small = imresize(image, 1 / 4)
    base = explain(imresize(small, 4), small, 4)
    answer = to_levels(base + strength * hidden_once(detail, image.shape))
    shrunk = imresize(answer, 1 / 4).repeat(4, 0).repeat(4, 1)
    gap = np.full_like(image[:, :8], 255)
    caption = f"left: an answer; right: its LR picture; LR error {lr_error(answer, small, 4):.2f}"
    return np.hstack([answer, gap, shrunk]), caption


hidden_slider = Explorer(
    with_hidden,
    photo=PhotoPicker("chelsea", max_side=240),
    strength=ipywidgets.FloatSlider(0.8, min=0, max=1.5, step=0.05, description="strength"),
    detail=ipywidgets.Dropdown(options=["page", "gravel", "brick"], description="hidden detail"),
)
hidden_slider

# %% [markdown]
# ## 6. Why a network's pictures are soft
#
# Suppose that a network knows: the truth is one of a few sharp answers. It does not know which.
# It is trained to make the mean squared error small, whichever is true.
#
# The sharp answers here are the original, moved by up to two pixels and corrected with `explain`.
#
# *Predict:* should the network choose one of them?

# %%
sharp = [
    to_levels(explain(np.roll(hr, (down, right), axis=(0, 1)), lr, 4))
    for down in moves
    for right in moves
]
mean = to_levels(np.mean(sharp, axis=0))
sides = {
    "one answer": sharp[0],
    "another answer": sharp[-1],
    f"mean of {len(sharp)} answers": mean,
    "bicubic, corrected": answers["bicubic, corrected"],
}
show(
    compare({name: image[80:128, 124:188] for name, image in sides.items()}),
    "Two sharp versions of a cat's eye, their soft mean, and the corrected bicubic enlargement, "
    "which looks like the mean.",
)

# %%
between = [psnr(a, b, data_range=255) for a in sharp for b in sharp if a is not b]
to_mean = [psnr(mean, a, data_range=255) for a in sharp]
print("guessing one answer when another is true:", end=" ")
print(f"{np.mean(between):.2f} dB on average, {max(between):.2f} at best")
print("guessing the mean:", end=" ")
print(f"{np.mean(to_mean):.2f} dB on average, {min(to_mean):.2f} at worst")
print(f"LR error of the mean: {lr_error(mean, lr, 4):.2f} grey levels")

# %% [markdown]
# <details><summary>What happened</summary>
#
# No. A wrong guess reaches 27.40 dB at best, the mean 30.27 at worst. One guess in nine is right,
# but that does not make up for the others. The mean is a valid answer too, and it is blurred,
# because the details of the sharp ones cancel.
#
# </details>

# %% [markdown]
# A network trained on the mean squared error learns this
# mean. A high PSNR and a soft picture go together. Networks that draw sharp detail are trained
# for something else, and score lower.
#
# ### Exercise 01.4: find the bug
#
# The nine answers need memory for nine pictures. A colleague keeps one, and takes the next answer
# in by averaging the two:


# %%
def running_mean(pictures):
    """Mean of pictures that come one at a time: iterable of (H, W, 3) -> floats (H, W, 3)."""
    mean = None
    for picture in pictures:
        mean = picture.astype(float) if mean is None else (mean + picture) / 2
    return mean


colleague = to_levels(running_mean(sharp))
print(f"the mean: {np.mean([psnr(mean, a, data_range=255) for a in sharp]):.2f} dB on average")
print(f"colleague's: {np.mean([psnr(colleague, a, data_range=255) for a in sharp]):.2f} dB")

# %% [markdown]
# It runs, it looks soft, and it is too far from the answers. Give it pictures whose mean you know,
# a white one among black ones, at different places. What does each weigh? Then write it right, with
# one picture in memory.


# %%
def mean_picture(pictures):
    """Mean of pictures that come one at a time: iterable of (H, W, 3) -> floats (H, W, 3)."""
    ### BEGIN SOLUTION
    total, count = 0.0, 0
    for picture in pictures:
        total, count = total + picture, count + 1
    return total / count
    ### END SOLUTION


mean_picture = check("01.4", mean_picture)

# %%
repaired = to_levels(mean_picture(sharp))
print(f"repaired: {np.mean([psnr(repaired, a, data_range=255) for a in sharp]):.2f} dB on average")

# %% [markdown]
# ## What you saw
#
# - At scale 4 one number of 16 is left.
# - Sampling turns a frequency above half the sampling rate into a false lower one. Averaging
#   first prevents it.
# - Degradation has four terms: blur, downsampling, noise, JPEG. The benchmarks use the second.
# - Very different pictures shrink to the same LR picture. Only a prior can choose.
# - The best guess under the squared error is the mean of the answers, and it is soft.

# %%
print(f"10 samples per unit show frequency 38 as {apparent_frequency(38.0, 10.0):g}")
print(f"text on a cat: LR error {table['with a page of text'][0]:.2f} grey levels")
print(f"mean against a single answer: {np.mean(to_mean) - np.mean(between):+.2f} dB")
files = [len(jpeg_file(image, 70)) / 1000 for image in (hr, degrade(hr, noise=20))]
print(f"the cat as JPEG, quality 70: {files[0]:.1f} kB, with noise of 20 levels {files[1]:.1f} kB")

# %% [markdown]
# ## Pitfalls
#
# - Arithmetic in `uint8` wraps round: 200 + 100 is 44, and 3 - 5 is 254. Turn to floating point
#   first, round and clip last.
# - Grey levels are not light. Files use a gamma curve: half the light of white is stored as 188,
#   not 128 (sRGB). Means of grey levels darken fine bright patterns. The benchmarks do it anyway.
# - The order of the terms matters. JPEG turns noise that came before it into blotches; noise
#   that comes after it stays fine. And a blur by 2 pixels is another one after the shrinking.
# - Real noise grows with brightness and is no independent number for each pixel once the camera
#   has processed it.
# - A network that has seen only bicubic LR images takes noise and JPEG blocks for detail, and
#   sharpens them. For real photographs train with the degradation of real photographs.
# - Viewers smooth what they enlarge. To judge an LR picture, look at its pixels as squares.
#
# ## Further reading
#
# - C. E. Shannon, "Communication in the presence of noise", Proceedings of the IRE 37(1), 1949
#   (the sampling theorem).
# - M. Irani, S. Peleg, "Improving resolution by image registration", CVGIP: Graphical Models and
#   Image Processing 53(3), 1991.
# - M. Elad, A. Feuer, "Restoration of a single superresolution image from several blurred, noisy,
#   and undersampled measured images", IEEE Transactions on Image Processing 6(12), 1997.
# - S. Baker, T. Kanade, "Limits on super-resolution and how to break them", IEEE Transactions on
#   Pattern Analysis and Machine Intelligence 24(9), 2002.
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017 (why the squared error gives soft pictures).
# - Y. Bahat, T. Michaeli, "Explorable super resolution", CVPR, 2020.
# - K. Zhang, J. Liang, L. Van Gool, R. Timofte, "Designing a practical degradation model for deep
#   blind image super-resolution", ICCV, 2021.
