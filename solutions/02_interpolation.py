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
# # 02 Interpolation: what lies between the pixels
#
# An enlarged picture has pixels that nobody measured. Interpolation fills them in from their
# neighbours. It is the baseline that every network has to beat, it makes the training data of
# every network, and most wrong results in super-resolution come from a resize that was not the
# one its author believed it to be.
#
# **After this you can**
#
# - write cubic convolution from its formula and put its samples in the right place;
# - say what antialiasing does, and measure what it costs to forget it;
# - resize a picture exactly as MATLAB does, to the last bit, and know why that matters.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 1 minute on two CPU cores;
# calculated, not measured: 1 on a T4 GPU, 1 on an A100.

# %% tags=["folded"]
# @title Imports
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from srlib.assets import fetch, is_cached, sample_image
from srlib.environment import by_profile
from srlib.exercises import check, hint  # noqa: F401 (hint is for you)
from srlib.figures import show, zoom_grid
from srlib.image import read_image, rgb_to_y, to_float, to_uint8
from srlib.metrics import score
from srlib.resample import KERNELS, cubic, imresize, modcrop, resize_matrix
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
curve_points = by_profile(ci=5, cpu=25, gpu=25)  # values of a, in the curve of section 3
a_points = by_profile(ci=5, cpu=21, gpu=21)  # in section 7: of -1 to 0, 21 are steps of 0.05
photo_names = by_profile(
    ci=("chelsea",), cpu=("chelsea", "coffee", "brick"), gpu=("chelsea", "coffee", "brick")
)

# %% [markdown]
# Five ways to enlarge the same low-resolution picture by 4. The numbers are PSNR in dB and SSIM,
# which notebook 03 explains. Higher is better for both.

# %%
hr = modcrop(sample_image("chelsea"), 4)  # (H, W, 3)
lr = imresize(hr, 1 / 4)  # (H / 4, W / 4, 3)
names = ("nearest", "bilinear", "bicubic", "lanczos2", "lanczos3")
methods = {name: imresize(lr, 4, kernel=name) for name in names}
show(
    zoom_grid({"original": hr, **methods}, (76, 120, 64, 80), reference="original", scale=4),
    "The eye of a cat, enlarged by four with five kernels: nearest shows blocks, "
    "bilinear is soft, bicubic and Lanczos are sharper with faint halos.",
)

# %% [markdown]
# ## 1. A weighted mean of neighbours
#
# Take one row of pixels. Between two of them lies a position without a value, say 4.3.
# Every method of this notebook answers in the same way: it looks at how far away the pixels are,
# turns each distance into a weight, and takes the weighted mean. The function from distance to
# weight is called the **kernel**.
#
# *Predict:* below are ten pixels and three kernels. Which curves go through all pixels? Which
# curve goes above the brightest pixel?

# %%
row = np.array([40, 42, 41, 45, 200, 205, 203, 90, 88, 91], dtype=float)  # ten pixels
between = np.linspace(0, len(row) - 1, 601)


def interpolate(values, positions, kernel):
    """Weighted mean along the first axis, with weights by distance; edge pixels go on."""
    pixels = np.arange(-4, len(values) + 4)
    weights = kernel.function(positions[:, None] - pixels)  # (positions, pixels)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, values[pixels.clip(0, len(values) - 1)], axes=1)


# %% tags=["folded"]
# @title Draw the three curves
figure, axes = plt.subplots()
for name in ("nearest", "bilinear", "bicubic"):
    axes.plot(between, interpolate(row, between, KERNELS[name]), label=name)
axes.plot(row, "o", color="black", markersize=8, label="pixels")
axes.set(
    xlabel="position (pixels)",
    ylabel="grey level",
    xticks=range(10),
    title="One row, three kernels",
)
axes.legend(loc="upper right")
show(
    figure,
    "Ten pixels with an edge. Nearest is a staircase, bilinear a polygon, "
    "bicubic a smooth curve that overshoots.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# All three go through the pixels: that is what makes them *interpolating*. Only the cubic curve
# leaves the range of the pixels, beside the edges.
#
# </details>

# %% [markdown]
# Where a curve leaves the range of the pixels, it **overshoots**. This makes edges look crisp. Too
# much of it makes halos.

# %% [markdown]
# ## 2. The kernels
#
# A kernel is a function of the distance $x$, in pixels. The most used one is the **cubic
# convolution** of Keys (1981), made of two cubic polynomials and one parameter $a$:
#
# $$
# k(x) = \begin{cases}
# (a+2)|x|^3 - (a+3)|x|^2 + 1 & |x| \le 1 \\
# a|x|^3 - 5a|x|^2 + 8a|x| - 4a & 1 < |x| \le 2 \\
# 0 & \text{else}
# \end{cases}
# $$
#
# ### Exercise 02.1
#
# Write it for an array of distances, of any shape. `np.where(condition, this, that)` chooses for
# each element.


# %%
def cubic_weight(x, a):
    """Cubic convolution kernel: array of distances in pixels -> array of weights."""
    ### BEGIN SOLUTION
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
    ### END SOLUTION


cubic_weight = check("02.1", cubic_weight)

# %% [markdown]
# Stuck? Run `hint("02.1")` in a cell of your own; each call says more. A wrong answer never stops
# the notebook: `check` hands on the reference.
#
# Here is your kernel beside the others. At whole distances each is 0, except at 0, where it is 1.
# That is why the curves go through the pixels.

# %% tags=["folded"]
# @title Draw the kernels
x = np.linspace(-3.5, 3.5, 701)
figure, axes = plt.subplots()
for name in ("nearest", "bilinear", "lanczos3"):
    axes.plot(x, KERNELS[name].function(x), label=name)
axes.plot(x, cubic_weight(x, -0.5), label="yours: cubic, a = -0.5", linestyle="--", color="black")
axes.set(xlabel="distance (pixels)", ylabel="weight", title="Weight against distance")
axes.legend(loc="upper right")
show(
    figure,
    "Four kernels: a box, a triangle, and two bell shapes with negative lobes beyond distance one.",
)

# %% [markdown]
# ## 3. The parameter a
#
# MATLAB and Pillow use a = -0.5, torch's `interpolate` and OpenCV a = -0.75. All are called
# "bicubic".
#
# *Predict:* which value restores photographs best? What happens to edges at a = -2, and at a = 0?
#
# Move the slider. The left side shows the kernel, the right side a crop enlarged by 4.

# %% tags=["folded"]
# @title The slider of a
crop = hr[64:144, 110:230]  # (80, 120, 3)
small = imresize(crop, 1 / 4)
board = Figure(figsize=(8.2, 3.2), layout="none")  # made once; what is animated moves
kernel_axes = board.add_axes((0.105, 0.18, 0.3, 0.78))
kernel_axes.set(xlabel="distance (pixels)", ylabel="weight", xlim=(-3, 3), ylim=(-0.6, 1.1))
(curve,) = kernel_axes.plot(x, cubic_weight(x, -0.5), animated=True)
crop_axes = board.add_axes((0.4146, 0, 0.5854, 1))  # 480 x 320 screen pixels
shown = crop_axes.imshow(crop, animated=True)
crop_axes.set_axis_off()


def with_parameter(a):
    """Draw the kernel and a crop enlarged with it."""
    sr = imresize(small, 4, kernel=cubic(a))
    curve.set_ydata(cubic_weight(x, a))
    shown.set_data(sr)
    return board, f"a = {a:.2f}: PSNR {score(sr, crop, 4)[0]:.2f} dB"


parameter_slider = Explorer(
    with_parameter,
    a=ipywidgets.FloatSlider(-0.5, min=-2, max=0.5, step=0.05, description="a"),
)
parameter_slider

# %% [markdown]
# The same for print, with three values, and the score of whole photographs against a.

# %%
values = {f"a = {a}": imresize(lr, 4, kernel=cubic(a)) for a in (0.0, -0.5, -2.0)}
show(
    zoom_grid(values, (76, 120, 64, 80), reference=hr, scale=4),
    "The same eye with a = 0, soft and blocky, a = -0.5, balanced, and a = -2, with strong halos.",
)

# %%
parameters = np.linspace(-1.5, 0.25, curve_points)
scores = {}
for name in photo_names:
    original = modcrop(sample_image(name), 4)
    low = imresize(original, 1 / 4)
    scores[name] = np.array(
        [score(imresize(low, 4, kernel=cubic(a)), original, 4)[0] for a in parameters]
    )
best_a = {name: parameters[values.argmax()] for name, values in scores.items()}

# %% tags=["folded"]
# @title Draw the score against a
figure, axes = plt.subplots()
for name, values in scores.items():
    axes.plot(parameters, values - values.max(), label=f"{name}: best at a = {best_a[name]:.2f}")
for a, user in ((-0.5, "MATLAB"), (-0.75, "torch")):
    axes.axvline(a, color="grey", linestyle=":")
    axes.text(a, axes.get_ylim()[0], f" {user}", rotation=90, va="bottom", ha="right")
axes.set(xlabel="a", ylabel="PSNR below the best (dB)", title="What a is worth, x4")
axes.legend(loc="lower left")
show(
    figure,
    "PSNR against a for the photographs: flat maxima near minus one, well below minus one half.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# All three are best near -1, and the maxima are flat. At a = -2 edges get strong halos. At a = 0
# the weights of the second neighbours vanish, and blocks show.
#
# </details>

# %% [markdown]
# Keys chose a = -0.5 because it is exact for quadratic functions, not because it is best for
# photographs. Why it is near -1 that photographs are restored best is shown in section 6.

# %% [markdown]
# ## 4. Where the new pixels lie
#
# A pixel is a square, and its value belongs to its centre. When a row of 4 squares becomes a row
# of 8, the two rows have the same length: their *edges* agree, and their centres do not.
#
# *Predict:* output pixel 0 of 8 lies left or right of input pixel 0 of 4?

# %% tags=["folded"]
# @title Draw the two rows
figure, axes = plt.subplots(figsize=(8, 2.4))
for level, count, colour in ((1, 4, "C0"), (0, 8, "C1")):
    size = 8 / count
    for index in range(count):
        square = plt.Rectangle((index * size, level), size, 0.8, fill=False, ec=colour, lw=2)
        axes.add_patch(square)
        axes.text((index + 0.5) * size, level + 0.22, index, ha="center", color=colour)
    axes.plot((np.arange(count) + 0.5) * size, np.full(count, level + 0.62), "o", color=colour)
axes.set(xlim=(-0.1, 8.1), ylim=(-0.15, 1.95), yticks=[0.4, 1.4], yticklabels=["output", "input"])
axes.set_xticks(range(0, 9, 2), labels=[f"{edge / 2:.0f}" for edge in range(0, 9, 2)])
axes.set(xlabel="distance from the left edge (input pixels)")
axes.grid(False)
show(
    figure,
    "Four large squares above eight small ones. Their outer edges agree, their centres do not.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Left of it, by a quarter of an input pixel. It is half as wide, and the left edges agree.
#
# </details>

# %% [markdown]
# ### Exercise 02.2
#
# Return the positions of all output pixels, counted in input pixels, where the centre of input
# pixel 0 has position 0. For the picture above the first two are -0.25 and 0.25.


# %%
def source_positions(out_size, scale):
    """Centres of the output pixels in input pixels: float array (out_size,)."""
    ### BEGIN SOLUTION
    return (np.arange(out_size) + 0.5) / scale - 0.5
    ### END SOLUTION


source_positions = check("02.2", source_positions)

# %% [markdown]
# The popular mistake is `np.arange(out_size) / scale`. At x4 it reads 1.5 output pixels too far to
# the right and too far down, so the picture moves up and to the left. Nobody sees it; the score
# does.


# %%
def enlarge_at(image, row_positions, column_positions):
    """Bicubic values of a picture at any rows and columns."""
    rows = interpolate(image.astype(float), row_positions, KERNELS["bicubic"])
    columns = interpolate(rows.swapaxes(0, 1), column_positions, KERNELS["bicubic"])
    return columns.swapaxes(0, 1)


right = enlarge_at(lr, *(source_positions(size, 4) for size in hr.shape[:2]))
shifted = enlarge_at(lr, *(np.arange(size) / 4 for size in hr.shape[:2]))
placement = {
    "centres in the right place": score(right, hr, 4),
    "np.arange / scale": score(shifted, hr, 4),
}
pd.DataFrame(placement, index=["PSNR (dB)", "SSIM"]).T.round(3)

# %% [markdown]
# ## 5. Shrinking
#
# Now the other direction. Shrinking by 4 keeps one pixel of 16. The cubic kernel is 4 pixels wide,
# whatever the scale. How much of a row does it see?

# %%
seen = {}
for factor in (2, 3, 4, 8):
    matrix = resize_matrix(240, 1 / factor, antialias=False)  # (output pixels, input pixels)
    weights = matrix[5][matrix[5] != 0]  # of one output pixel
    unread = 100 * (matrix == 0).all(axis=0).mean()
    seen[f"by {factor}"] = (", ".join(f"{w:.2f}" for w in weights), f"{unread:.0f}")
pd.DataFrame(seen, index=["weights of an output pixel", "input pixels not read (%)"]).T

# %% [markdown]
# By 4, two of four pixels get nearly all the weight. By 3 and by 8, some pixels are not read at
# all. What they held is lost, or worse, comes back as a pattern that was never there. That is
# **aliasing**.
#
# The cure is to stretch the kernel: at scale $s < 1$ it becomes $s\,k(s x)$, so it is $1/s$
# times as wide and every input pixel counts. This is **antialiasing**.
#
# *Predict:* which of the two small pictures below has the clearer bricks? Which is right?

# %%
brick = modcrop(sample_image("brick"), 8)
with_cure, without = imresize(brick, 1 / 8), imresize(brick, 1 / 8, antialias=False)
figure, panels = plt.subplots(1, 3, figsize=(10, 3.6))
for axes, picture, title in zip(
    panels, (brick, with_cure, without), ("original", "antialiased", "not antialiased")
):
    axes.imshow(picture, interpolation="antialiased" if picture is brick else "nearest")
    axes.set(title=f"{title}\n{picture.shape[1]} x {picture.shape[0]} pixels")
    axes.set_axis_off()
show(
    figure,
    "A brick wall, and two versions eight times smaller. Without antialiasing the far bricks "
    "turn into noise.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The one without antialiasing has the clearer bricks, and they are false: joints break off, and at
# the top on the right they turn into noise. In the antialiased one every joint runs on. It is
# pale, because it is thinner than a pixel. That is right.
#
# </details>

# %% [markdown]
# ### Exercise 02.3
#
# Put it together: resize a row with the cubic kernel at a = -0.5. For each output position:
#
# 1. the distances to all pixels, including some beyond both ends;
# 2. the weights, `cubic_weight(stretch * distance, -0.5)` with `stretch = min(scale, 1)`;
# 3. the weighted mean, that is, divided by the sum of the weights.
#
# Beyond an end the edge pixel counts again. The output has `ceil(len(row) * scale)` pixels.


# %%
def resize_row(row, scale):
    """Resize a row of floats (size,) -> (ceil(size * scale),), with antialiasing."""
    ### BEGIN SOLUTION
    stretch = min(scale, 1)
    margin = int(np.ceil(2 / stretch)) + 1
    positions = source_positions(int(np.ceil(len(row) * scale)), scale)
    pixels = np.arange(-margin, len(row) + margin)
    weights = cubic_weight(stretch * (positions[:, None] - pixels), -0.5)  # (out, pixels)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ row[pixels.clip(0, len(row) - 1)]
    ### END SOLUTION


resize_row = check("02.3", resize_row)

# %% [markdown]
# ### Exercise 02.4: find the bug
#
# A colleague looks at the nearest pixels only, which is faster. A picture that goes through the
# function looks fine.


# %%
def colleagues_row(row, scale):
    """Resize a row like `resize_row`, with as many pixels as the kernel is wide."""
    stretch = min(scale, 1)
    reach = 2 / stretch  # of the kernel, to either side
    positions = source_positions(int(np.ceil(len(row) * scale)), scale)
    first = np.floor(positions - reach).astype(int)
    pixels = first[:, None] + np.arange(int(np.ceil(2 * reach)))  # (out, taps)
    weights = cubic_weight(stretch * (positions[:, None] - pixels), -0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights * row[pixels.clip(0, len(row) - 1)]).sum(axis=1)


# %% [markdown]
# Find out by measuring. A row of one grey level must stay as it is. A **ramp**, whose value is the
# position, must give the positions, apart from the ends. Which test does it fail?

# %%
ramp = np.arange(20.0)
for scale in (2, 1 / 2):
    level = colleagues_row(np.full(20, 100.0), scale)
    wrong = colleagues_row(ramp, scale) - source_positions(int(20 * scale), scale)
    print(f"scale {scale:g}: level off by {np.abs(level - 100).max():.2f}", end=", ")
    print(f"ramp off by {np.abs(wrong[4:-4]).max():.2f} pixels")

# %% [markdown]
# Find the line, and repair it.


# %%
def repaired_row(row, scale):
    """Resize a row of floats (size,) -> (ceil(size * scale),), as `resize_row` does."""
    ### BEGIN SOLUTION
    stretch = min(scale, 1)
    reach = 2 / stretch
    positions = source_positions(int(np.ceil(len(row) * scale)), scale)
    first = np.ceil(positions - reach).astype(int)
    pixels = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 1)
    weights = cubic_weight(stretch * (positions[:, None] - pixels), -0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights * row[pixels.clip(0, len(row) - 1)]).sum(axis=1)
    ### END SOLUTION


repaired_row = check("02.4", repaired_row)

# %% [markdown]
# ### A resize is a matrix
#
# Your function is a matrix in disguise: each output pixel is a weighted sum of input pixels. A
# picture is resized by one such matrix for its rows and one for its columns.

# %% tags=["folded"]
# @title Draw the matrices
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4))
for axes, (title, scale, antialias) in zip(
    panels,
    (
        ("enlarging x2", 2, True),
        ("shrinking by 2", 1 / 2, True),
        ("by 2, not antialiased", 1 / 2, False),
    ),
):
    matrix = resize_matrix(16, scale, antialias=antialias)
    drawn = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axes.set(title=title, xlabel="input pixel", ylabel="output pixel")
    axes.grid(False)
figure.colorbar(drawn, ax=panels, label="weight")
show(figure, "Three banded matrices. The antialiased one has wider bands than the one without.")

# %% [markdown]
# ## 6. The same in frequencies
#
# Notebook 01 looked at pictures as waves. A kernel treats each wave in its own way: some it keeps,
# some it weakens. The part that it keeps is its **frequency response**.


# %%
def response(kernel, frequency):
    """Part of a wave that a kernel keeps; frequency in cycles per pixel, (n,) -> (n,)."""
    distance = (np.arange(-300, 300) + 0.5) / 100  # pixels
    waves = np.cos(2 * np.pi * frequency[:, None] * distance)  # (n, 600)
    return waves @ kernel.function(distance) / 100


def spectrum(image, scale):
    """Waves along the rows: frequency in cycles per LR pixel, and power, both (n,)."""
    luma = rgb_to_y(image)  # (H, W)
    rows = (luma - luma.mean(axis=1, keepdims=True)) * np.hanning(luma.shape[1])
    power = np.abs(np.fft.rfft(rows, axis=1)) ** 2
    return scale * np.fft.rfftfreq(luma.shape[1]), power.mean(axis=0)


four_kernels = {
    "nearest": KERNELS["nearest"],
    "cubic, a = -0.5": cubic(-0.5),
    "cubic, a = -1": cubic(-1),
    "lanczos3": KERNELS["lanczos3"],
}


# %% [markdown]
# An LR picture holds waves up to half a cycle per pixel. On a finer grid its samples fit faster
# waves too: each wave $f$ has **copies** at $1 - f$, $1 + f$ and so on. This is aliasing, seen from
# the other side. Enlarging should keep the waves and remove the copies.
#
# *Predict:* which kernel keeps most, which removes most? The LR picture was itself shrunk with
# the kernel at a = -0.5. What has that done to its waves?

# %% tags=["folded"]
# @title The waves of the LR picture, and their copies
frequency = np.linspace(0, 1.4, 281)
copied_from = np.abs(frequency - np.round(frequency))  # the wave of which each is a copy
waves, power = spectrum(hr, 4)
amplitude = np.interp(copied_from, waves, np.sqrt(power)) * response(cubic(-0.5), copied_from)
amplitude = np.minimum(1, amplitude / np.interp(0.06, frequency, amplitude))

# %% tags=["folded"]
# @title Draw what the kernels keep
figure, panels = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True)
for place, shade, words in ((frequency <= 0.5, 0.4, "waves"), (frequency >= 0.5, 0.15, "copies")):
    grey = {"color": "black", "alpha": shade, "linewidth": 0, "label": f"{words} of the LR picture"}
    panels[0].fill_between(frequency, amplitude, where=place, **grey)
for name, kernel in four_kernels.items():
    panels[0].plot(frequency, response(kernel, frequency), label=name)
    panels[1].plot(frequency, response(cubic(-0.5), frequency) * response(kernel, frequency))
for axes, title in zip(panels, ("enlarging alone", "after shrinking with a = -0.5")):
    axes.step([0, 0.5, 1.4], [1, 1, 0], where="pre", color="black", linestyle=":", label="ideal")
    axes.set(title=title, xlabel="frequency (cycles per LR pixel)")
panels[0].set(ylabel="part of a wave that is kept", ylim=(-0.25, 1.2))
panels[1].set(xlim=(-0.02, 0.8))
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
show(
    figure,
    "Two plots against frequency. Left: the LR picture's waves up to one half, their mirrored "
    "copies beyond, and four responses. Nearest lets copies through; cubic with a = -0.5 weakens "
    "waves from a quarter on; a = -1 lifts them above one; lanczos3 is nearest to the ideal step. "
    "Right: after shrinking, a = -1 and lanczos3 stay nearest to one.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Left: lanczos3, six pixels wide, keeps most waves and removes most copies. Nearest lets many
# copies through: they are the edges of its squares. The cubic kernel at a = -0.5 removes copies
# well, but weakens waves from a quarter of a cycle on. At a = -1 it makes them too strong.
#
# Right: shrinking has weakened the same waves before, so too strong is what they need. Together,
# a = -1 comes nearer to 1 than a = -0.5.
#
# </details>
#
# So the best a has to follow from the waves alone. Add up what is too weak, what is left of the
# copies, and what was lost beyond half a cycle. Nothing is enlarged here.


# %%
def wave_error(kernel, image):
    """Error of shrinking by 4 with a = -0.5 and enlarging, as a part of the power of the waves."""
    frequency, power = spectrum(image, 4)
    kept = frequency <= 0.5
    shrunk = response(cubic(-0.5), frequency)
    error = (power * (1 - shrunk * response(kernel, frequency)) ** 2)[kept].sum()
    for copy in (1 - frequency, 1 + frequency, 2 - frequency, 2 + frequency):
        error += (power * (shrunk * response(kernel, copy)) ** 2)[kept].sum()
    return (error + power[~kept].sum()) / power.sum()


def foretell(kernel, image):
    """The PSNR that follows, in dB, up to a constant; of rows and columns."""
    return -10 * np.log10(wave_error(kernel, image) + wave_error(kernel, image.swapaxes(0, 1)))


# %%
lanczos, keys = KERNELS["lanczos3"], cubic(-0.5)
foretold = {}
for name in photo_names:
    original = modcrop(sample_image(name), 4)
    low = imresize(original, 1 / 4)
    lanczos_db, keys_db = (
        score(imresize(low, 4, kernel=k), original, 4)[0] for k in (lanczos, keys)
    )
    waves, power = spectrum(original, 4)
    foretold[name] = {
        "best a: from the waves": max(parameters, key=lambda a: foretell(cubic(a), original)),
        "measured": best_a[name],
        "lanczos3 over a = -0.5 (dB): from the waves": foretell(lanczos, original)
        - foretell(keys, original),
        "measured (dB)": lanczos_db - keys_db,
        "power from 0.25 to 0.5 (%)": 100 * power[abs(waves - 0.375) < 0.125].sum() / power.sum(),
    }
pd.DataFrame(foretold).round(2)

# %% [markdown]
# The waves foretell it: the same best a as the curves of section 3, and what lanczos3 gains to a
# few hundredths of a decibel.

# %% [markdown]
# ## 7. To the last bit
#
# The low-resolution images of the usual benchmarks were made by MATLAB's `imresize`. A table is
# comparable only if this is reproduced. One step is easy to miss: MATLAB resizes the rows first
# and **rounds the picture in between to whole grey levels**. So does `srlib.resample.imresize`.
#
# *Predict:* how many of 100 values change if nothing is rounded in between?


# %%
def pillow_bicubic(image, scale):
    """Pillow's bicubic: a = -0.5, antialiased, in fixed point, columns first."""
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def torch_bicubic(image, scale, antialias):
    """Torch's bicubic, in floating point."""
    result = torch.nn.functional.interpolate(
        to_float(image), scale_factor=scale, mode="bicubic", antialias=antialias
    )
    return to_uint8(result)


def torchvision_bicubic(image, scale, antialias):
    """Torchvision's bicubic, of uint8 in fixed point."""
    size = [round(side * scale) for side in image.shape[:2]]
    pixels = torch.tensor(image).permute(2, 0, 1)  # (3, H, W)
    result = resize(pixels, size, InterpolationMode.BICUBIC, antialias=antialias)
    return result.permute(1, 2, 0).numpy()


# %%
def library_results(image, scale):
    """The same resize by three libraries, name to uint8 picture."""
    results = {"Pillow": pillow_bicubic(image, scale)}
    for antialias in (True, False):
        results[f"torch, antialias={antialias}"] = torch_bicubic(image, scale, antialias)
    for antialias in (True, False):
        name = f"torchvision, antialias={antialias}"
        results[name] = torchvision_bicubic(image, scale, antialias)
    return results


unrounded = np.floor(imresize(hr.astype(float), 1 / 4) + 0.5).clip(0, 255)
shrunk = library_results(hr, 1 / 4)
others = {"not rounded in between": unrounded, **shrunk}
differences = {name: np.abs(other - lr.astype(float)) for name, other in others.items()}
pd.DataFrame(
    {
        "values that differ (%)": {name: 100 * (d > 0).mean() for name, d in differences.items()},
        "largest difference (grey levels)": {name: d.max() for name, d in differences.items()},
    }
).round(1)

# %% [markdown]
# <details><summary>What happened</summary>
#
# About 11, by one grey level. The libraries with antialiasing differ by a level or two here and
# there as well, which no score notices. Without antialiasing it is another operation under the
# same name.
#
# </details>

# %% [markdown]
# ### Which a is it?
#
# No library says in its call which $a$ it uses. But it can be found out: resize with many values
# of $a$, and take the one that comes nearest.
#
# *Predict:* torch uses a = -0.75. Does antialiasing change that?


# %%
def nearest_a(image, scale, result, antialias):
    """The a with which `imresize` comes nearest to a result, and the mean difference left."""
    left = {}
    for a in np.linspace(-1, 0, a_points):
        own = imresize(image.astype(float), scale, kernel=cubic(a), antialias=antialias)
        left[a] = np.abs(own.clip(0, 255) - result).mean()
    a = min(left, key=left.get)
    return f"{a:.2f} ({left[a]:.2f})"


found = {}
enlarged = library_results(lr, 4)
for name in shrunk:
    antialias = not name.endswith("False")
    found[name] = {
        "a, shrinking by 4": nearest_a(hr, 1 / 4, shrunk[name], antialias),
        "a, enlarging by 4": nearest_a(lr, 4, enlarged[name], antialias),
    }
same = (enlarged["torchvision, antialias=True"] == enlarged["Pillow"]).mean()
print(f"torchvision, antialiased, and Pillow agree in {100 * same:.1f} % of the enlarged values")
pd.DataFrame(found).T

# %% [markdown]
# <details><summary>What happened</summary>
#
# Yes. In torch and torchvision the switch that adds antialiasing also changes a, from -0.75 to
# -0.5. It does so when enlarging too, where there is nothing to antialias.
#
# </details>
#
# In brackets: the mean difference that is left, in grey levels. Rounding to whole levels alone
# leaves about a quarter.
#
# The defaults differ as well:
# `torchvision`'s `resize` antialiases, `torch`'s `interpolate` does not. So two programs that both
# enlarge "with bicubic" get two pictures.
#
# ### Against MATLAB's own files
#
# If the benchmark images are on this computer, the next cell compares `imresize` with the files
# that MATLAB made (`python -m srlib fetch Set5` loads them, 3 MB).

# %%
if is_cached("Set5/x4"):
    folder = fetch("Set5/x4")
    for path in sorted((folder / "HR").iterdir()):
        made, expected = imresize(read_image(path), 1 / 4), read_image(folder / "LR" / path.name)
        print(f"{path.name}: {np.count_nonzero(made != expected)} of {made.size} values differ")
else:
    print("Set5 is not on this computer.")

# %% [markdown]
# What does a forgotten antialiasing cost? Here the LR image is made without it and enlarged by
# bicubic interpolation. A network has learned what antialiased pictures look like, and loses far
# more: the published IMDN falls from 32.19 to 23.64 dB on Set5 x4, by 8.5 dB (measured for this
# course; `data/records/protocol_audit_imdn.csv`).

# %%
costs = {}
for name in photo_names:
    original = modcrop(sample_image(name), 4)
    costs[name] = {
        title: score(imresize(imresize(original, 1 / 4, antialias=antialias), 4), original, 4)[0]
        for title, antialias in (("antialiased (dB)", True), ("not antialiased (dB)", False))
    }
costs = pd.DataFrame(costs).T
costs["change (dB)"] = costs["not antialiased (dB)"] - costs["antialiased (dB)"]
costs.round(2)

# %% [markdown]
# The cat and the cup lose 0.80 and 0.86 dB. The bricks gain 0.09 dB: they hold more than the others
# in the waves that antialiasing weakens (last row of the table in section 6), and keeping those
# outweighs the false pattern. So a higher score does not mean that the LR image was made right.

# %% [markdown]
# ## 8. All of it under your hands
#
# Shrink and enlarge the middle of a photograph, or of one of your own. A factor need not be a whole
# number. Watch fine texture while you turn antialiasing off.


# %% tags=["folded"]
# @title Shrink and enlarge
def shrink_and_enlarge(image, scale, kernel, antialias):
    """Shrink the middle by `scale`, enlarge again, show it at three times its size."""
    top, left = (max(0, size - most) // 2 for size, most in zip(image.shape, (140, 210)))
    middle = image[top : top + 140, left : left + 210]
    small = imresize(middle, 1 / scale, antialias=antialias)
    enlarged = imresize(small, scale, kernel=kernel)
    enlarged = enlarged[: middle.shape[0], : middle.shape[1]]  # ceil may add a pixel
    caption = f"{small.shape[1]} x {small.shape[0]} pixels, PSNR "
    caption += f"{score(enlarged, middle, scale)[0]:.2f} dB"
    return enlarged.repeat(3, 0).repeat(3, 1), caption


playground = Explorer(
    shrink_and_enlarge,
    photo=PhotoPicker("coffee"),
    scale=ipywidgets.FloatSlider(3, min=1.5, max=8, step=0.5, description="factor"),
    kernel=ipywidgets.Dropdown(options=list(KERNELS), value="bicubic", description="enlarge with"),
    antialias=ipywidgets.Checkbox(True, description="antialias when shrinking"),
)
playground

# %% [markdown]
# ## What you saw
#
# - Interpolation is a weighted mean; the kernel turns distances into weights.
# - Kernels with negative lobes overshoot at edges. That looks crisp, and scores above bilinear. Of
#   the five lanczos3 scores best: it keeps most of the waves and least of their copies.
# - The parameter a changes the score by tenths of a decibel. It is best near -1, where it lifts the
#   waves that shrinking has weakened. The position of the samples changes it by whole decibels.
# - Shrinking needs a kernel stretched by 1 / scale. Without it bicubic loses 0.86 dB on the cup,
#   gains 0.09 dB on the bricks, and a network loses 8.5 dB (measured, section 7).
# - MATLAB rounds between rows and columns. `imresize` does the same and agrees to the last bit.

# %%
best = max(methods, key=lambda name: score(methods[name], hr, 4)[0])
print(f"best of the five on chelsea x4: {best}, {score(methods[best], hr, 4)[0]:.2f} dB")
print(f"samples in the wrong place: {score(shifted, hr, 4)[0] - score(right, hr, 4)[0]:.2f} dB")

# %% [markdown]
# ## Pitfalls
#
# - `torch.nn.functional.interpolate(mode="bicubic")` does not antialias unless told to;
#   torchvision's `resize` does unless told not to. Either changes a along with it. OpenCV never
#   antialiases with `INTER_CUBIC`.
# - `align_corners=True` puts corner centres on each other. The picture is then scaled by
#   (out - 1) / (in - 1), not by the scale you asked for.
# - MATLAB changed what lies beyond the border: old versions repeat the edge pixel, new ones
#   mirror. `imresize(..., border="mirror")` gives the new one. Benchmarks come in both.
# - Enlarging and shrinking are no inverses: what the LR image lost stays lost.
#
# ## Further reading
#
# - R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
#   Acoustics, Speech, and Signal Processing 29(6), 1981.
# - P. Thevenaz, T. Blu, M. Unser, "Interpolation revisited", IEEE Transactions on Medical Imaging
#   19(7), 2000.
# - C. E. Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied Meteorology
#   18(8), 1979.
# - G. Parmar, R. Zhang, J.-Y. Zhu, "On aliased resizing and surprising subtleties in GAN
#   evaluation", CVPR, 2022.
