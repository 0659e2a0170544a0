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
# # 00 Welcome: what super-resolution is
#
# A photograph is too small. Super-resolution makes a larger one in which the details look as
# they would have looked in the original. This course goes from classical interpolation to neural
# networks that you build, train, measure and speed up yourself.
#
# **After this you can**
#
# - say whether this computer is ready for the course, and how fast it is;
# - handle an image as an array of numbers;
# - compare two enlargements, by eye and by a number.
#
# Time: 30 minutes to read and try, of which the computer needs less than one, with or without
# a GPU.

# %%
import time

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from srlib.assets import sample_image, sample_names
from srlib.environment import by_profile, describe
from srlib.exercises import check, list_exercises
from srlib.figures import compare, show, wipe, zoom_grid
from srlib.metrics import score
from srlib.resample import imresize, modcrop
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
product_size = by_profile(ci=256, cpu=1024, gpu=4096)  # of the matrices that are timed below
comparison_names = by_profile(
    ci=("chelsea", "coffee"), cpu=sample_names("test"), gpu=sample_names("test")
)

# %% [markdown]
# This is the task in one picture. A photograph was shrunk by 4, which keeps one pixel of 16.
# From the pixels that are left, a method has to restore the original. Bicubic interpolation, the
# usual one in photo programs, does this. Every network of this course has to do better.

# %%
hr = modcrop(sample_image("chelsea"), 4)  # the original: uint8 (H, W, 3)
lr = imresize(hr, 1 / 4)  # what is left of it: (H / 4, W / 4, 3)
sr = imresize(lr, 4)  # the restoration: (H, W, 3)
show(
    zoom_grid(
        {"low resolution": lr, "bicubic x4": sr, "original": hr},
        (66, 100, 88, 120),
        reference="original",
        scale=4,
    ),
    "A cat: the low-resolution pixels as squares, a soft bicubic enlargement, and the original.",
)

# %% [markdown]
# ## 1. Is this computer ready?
#
# The course runs on a laptop without a GPU. It runs without a network. A GPU makes training
# faster, nothing else.

# %%
pd.Series(describe(), name="this computer").to_frame()

# %% [markdown]
# The profile says how much work the notebooks do: `ci` takes seconds and is for tests, `cpu` is
# for a laptop, `gpu` for full training. Set the environment variable `SRLIB_PROFILE` before
# starting JupyterLab to choose another one.
#
# Networks spend nearly all their time in multiplications and additions. How many does this
# computer do in a second?

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
matrix = torch.rand(product_size, product_size, device=device)
seconds = []
for _ in range(5):
    start = time.perf_counter()
    product = matrix @ matrix
    if device == "cuda":
        torch.cuda.synchronize()  # a GPU works on while Python goes on
    seconds.append(time.perf_counter() - start)
operations = 2 * product_size**3 / np.median(seconds)
print(f"{device}: {operations / 1e9:.0f} billion operations a second")

# %% [markdown]
# ## 2. Before and after
#
# Move the line. Left of it is the low-resolution picture with its pixels as squares, right of it
# the enlargement. Choose another method, another photograph, or load one of your own.
#
# *Predict:* where is the difference largest, on smooth areas or at edges? What does no method
# bring back?


# %%
def before_after(image, position, method, scale):
    """Shrink, enlarge, and put the pixels and the enlargement side by side."""
    original = modcrop(image, scale)
    small = imresize(original, 1 / scale)
    after = imresize(small, scale, kernel=method)
    before = imresize(small, scale, kernel="nearest")
    picture = image.copy()  # the photograph's own size, whatever the scale leaves of it
    picture[: after.shape[0], : after.shape[1]] = wipe(before, after, position)
    psnr_db, _ = score(after, original, scale)
    return picture, f"{small.shape[1]} x {small.shape[0]} pixels enlarged, PSNR {psnr_db:.2f} dB"


before_after_slider = Explorer(
    before_after,
    photo=PhotoPicker("chelsea"),
    position=ipywidgets.FloatSlider(
        0.5, min=0, max=1, step=0.01, description="line (of the width)"
    ),
    method=ipywidgets.ToggleButtons(
        options=["nearest", "bilinear", "bicubic", "lanczos3"],
        value="bicubic",
        description="method",
    ),
    scale=ipywidgets.ToggleButtons(options=[2, 3, 4, 8], value=4, description="scale"),
)
before_after_slider

# %% [markdown]
# The same for print, with one position of the line.

# %%
nearest = imresize(lr, 4, kernel="nearest")
show(
    compare({"pixels | bicubic": wipe(nearest, sr, 0.5), "original": hr}),
    "A cat, on the left half as coarse pixels, on the right half enlarged; beside it the original.",
)

# %% [markdown]
# ## 3. An image is an array
#
# Rows first, then columns, then the colours red, green and blue, each from 0 to 255.

# %%
# NBVAL_CHECK_OUTPUT
print("shape", hr.shape, "type", hr.dtype)
print("the pixel in row 100, column 150:", hr[100, 150])

# %% [markdown]
# ### How exercises work
#
# You write a function where it says `raise NotImplementedError`, run the cell, and `check` tells
# what it finds. Nothing stops the notebook: until your function is right, `check` hands on a
# reference. Run `from srlib.exercises import hint` once; then
# `hint("00.1")` gives a hint, and another one each time.
#
# ### Exercise 00.1
#
# Cut a part of given size out of the middle. If a margin is odd, the smaller half lies at the
# top or on the left.


# %%
def centre_crop(image, height, width):
    """Cut the middle out of an image (H, W, 3): returns (height, width, 3)."""
    ### BEGIN SOLUTION
    top = (image.shape[0] - height) // 2
    left = (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
    ### END SOLUTION


centre_crop = check("00.1", centre_crop)

# %% [markdown]
# ### Exercise 00.2
#
# The simplest enlargement repeats each pixel `scale` times in both directions. It is called
# *nearest neighbour*.


# %%
def repeat_pixels(image, scale):
    """Enlarge by a whole number: (H, W, 3) -> (scale * H, scale * W, 3)."""
    ### BEGIN SOLUTION
    return image.repeat(scale, axis=0).repeat(scale, axis=1)
    ### END SOLUTION


repeat_pixels = check("00.2", repeat_pixels)

# %%
middle = centre_crop(lr, 24, 36)
show(
    compare({"36 x 24 pixels": middle, "your enlargement x8": repeat_pixels(middle, 8)}),
    "The middle of the small picture, and the same with each pixel repeated: they look alike.",
)

# %% [markdown]
# The two look the same: the figure draws each pixel as a square, and so did you. The right one
# has 64 times as many numbers and not one bit more information. All that super-resolution adds
# has to come from knowledge about what pictures look like.

# %% [markdown]
# ## 4. A number for quality
#
# The peak signal-to-noise ratio (PSNR) compares with the original, in decibels. Higher is better.
# Notebook 03 explains it, and its pitfalls. Here it ranks four classical methods.
#
# *Predict:* does the same method win on every photograph?


# %%
def score_methods(name):
    """PSNR in dB of four methods at x4 on one photograph."""
    original = modcrop(sample_image(name), 4)
    small = imresize(original, 1 / 4)
    return {
        method: score(imresize(small, 4, kernel=method), original, 4)[0]
        for method in ("nearest", "bilinear", "bicubic", "lanczos3")
    }


table = pd.DataFrame({name: score_methods(name) for name in comparison_names}).T  # dB
table.loc["mean"] = table.mean()
table.round(2)

# %%
figure, axes = plt.subplots()
places = np.arange(len(table))
for number, method in enumerate(table.columns):
    axes.plot(places + 0.12 * (number - 1.5), table[method], "o", markersize=9, label=method)
axes.set_xticks(places, table.index)
axes.set(ylabel="PSNR (dB)", ylim=(table.min().min() - 1, table.max().max() + 2.5))
axes.set_title("Four methods at x4")
axes.legend(ncols=4, loc="upper center")
axes.grid(axis="x", visible=False)
show(
    figure,
    "PSNR of four methods: they rank alike on each photograph, and differ by up to 2.5 decibels.",
)

# %% [markdown]
# ## 5. The way ahead
#
# | part | notebooks | what you build |
# |---|---|---|
# | I | 00 to 03 | the baseline: degradation, interpolation, honest scores |
# | II | 04 to 07 | the networks: residual blocks, deconvolution, SrResNet |
# | III | 08 to 10 | training, evaluation by the book |
# | IV | 11 to 15 | any scale, real time, compression, video, point clouds |
#
# This version of the course contains Parts I and II; the others follow. These are its exercises:

# %%
list_exercises()

# %% [markdown]
# ## What you saw
#
# - Shrinking by 4 leaves one pixel of 16. Interpolation gives a larger picture, and no detail.
# - An image is an array (height, width, 3) of numbers from 0 to 255.
# - Better kernels win tenths of a decibel to a decibel or two. What is lost stays lost.

# %%
gain = table.loc["mean", "bicubic"] - table.loc["mean", "nearest"]
print(f"bicubic instead of nearest: {gain:+.2f} dB in the mean of {len(table) - 1} photographs")

# %% [markdown]
# ## Pitfalls
#
# - Rows come first: `image.shape` is (height, width, 3), and `image[row, column]`. People say
#   "451 x 300" with the width first.
# - Enlarging in a photo program and comparing by eye tells little. Compare with an original.
# - Cells run in any order you like, and names keep their last value. When something looks
#   impossible, choose Kernel, then "Restart Kernel and Run All Cells".
#
# ## Further reading
#
# - W. Yang, X. Zhang, Y. Tian, W. Wang, J.-H. Xue, Q. Liao, "Deep learning for single image
#   super-resolution: a brief review", IEEE Transactions on Multimedia 21(12), 2019.
# - Z. Wang, J. Chen, S. C. H. Hoi, "Deep learning for image super-resolution: a survey", IEEE
#   Transactions on Pattern Analysis and Machine Intelligence 43(10), 2021.
# - S. C. Park, M. K. Park, M. G. Kang, "Super-resolution image reconstruction: a technical
#   overview", IEEE Signal Processing Magazine 20(3), 2003.
