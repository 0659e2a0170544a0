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
# Time: 30 minutes to read and try. Of these the computer needs at most 1 minute on two CPU cores;
# calculated, not measured: 1 on a T4 GPU, 1 on an A100.

# %% tags=["folded"]
# @title Imports
import functools
import io
import time

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from PIL import Image

from srlib import doctor
from srlib.assets import sample_image, sample_names
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint, list_exercises  # noqa: F401 (hint is for you)
from srlib.figures import compare, show, wipe
from srlib.metrics import score
from srlib.models import load_pretrained
from srlib.resample import imresize, modcrop
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters", "folded"]
# @title Parameters: which network, how much to compute
network_name = by_profile(
    ci="srresnet_small_x4", cpu="srresnet_small_x4", gpu="srresnet_x4"
)  # two of the networks that the course has trained
product_size = by_profile(ci=256, cpu=1024, gpu=4096)  # of the matrices that are timed below
comparison_names = by_profile(
    ci=("chelsea", "coffee"), cpu=sample_names("test"), gpu=sample_names("test")
)

# %% [markdown]
# This is the task in one picture. A photograph was shrunk by 4, which keeps one pixel of 16. From
# the pixels that are left, a method has to restore the original. Bicubic interpolation is the
# usual one in photo programs. The network is one that this course has trained, with the programs
# that you will write and use. It has never seen this photograph.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
network = load_pretrained(network_name).to(device)
hr = modcrop(sample_image("coffee"), 4)  # the original: uint8 (H, W, 3)
lr = imresize(hr, 1 / 4)  # what is left of it: (H / 4, W / 4, 3)
bicubic = imresize(lr, 4)  # two restorations: (H, W, 3)
sr = upscale(network, lr)
count = sum(parameter.numel() for parameter in network.parameters())
print(f"{network_name}: {count:,} numbers that were learned")

# %% tags=["folded"]
# @title Draw the four pictures
cup = (slice(60, 180), slice(150, 300))  # rows, columns
squares = imresize(lr, 4, kernel="nearest")
four = {"what is left": squares, "bicubic": bicubic, "network": sr, "original": hr}
figure, panels = plt.subplots(2, 2, figsize=(10, 8.5))
for axes, (name, image) in zip(panels.flat, four.items()):
    axes.imshow(image[cup])
    axes.set_title(name, fontsize=15)
    axes.set_axis_off()
show(
    figure,
    "The rim of a coffee cup, four times: as large squares; soft and with jagged edges by bicubic "
    "interpolation; with clean, sharp edges by the network; and the original.",
)

# %% [markdown]
# ## Before and after
#
# Move the line: left of it is the simple enlargement, right of it the network's. Move the part,
# choose another photograph, or load one of your own. Each is shrunk by 4 first (bicubic, with
# antialiasing), so that there is an original to measure against: more decibels (dB) are closer to
# it. The part is shown with three screen pixels for each of its pixels.
#
# *Predict:* where will the two sides differ most, on smooth areas or at edges? What does neither
# bring back?


# %% tags=["folded"]
# @title The slider of before and after: the enlargements
@functools.lru_cache(maxsize=16)  # the network works once for a photograph, not for each position
def enlarge(pixels, shape):
    """Enlarge an image, given as its bytes, by 4: bicubic and by the network."""
    small = np.frombuffer(pixels, np.uint8).reshape(shape)
    return imresize(small, 4), upscale(network, small)


@functools.lru_cache(maxsize=16)
def shrink_and_enlarge(pixels, shape):
    """Shrink by 4, then enlarge: the pixels as squares, bicubic, network, and a caption."""
    original = np.frombuffer(pixels, np.uint8).reshape(shape)
    small = imresize(original, 1 / 4)
    bicubic, sr = enlarge(small.tobytes(), small.shape)
    scores = [score(image, original, 4)[0] for image in (bicubic, sr)]
    size = f"{small.shape[1]} x {small.shape[0]} pixels enlarged by 4"
    caption = "{}: bicubic {:.2f} dB, network {:.2f} dB".format(size, *scores)
    return imresize(small, 4, kernel="nearest"), bicubic, sr, caption


# %% tags=["folded"]
# @title The slider of before and after
def part_of(image, across, down, height, width):
    """A part of an image, (height, width, 3) or less, at a place from 0 to 1."""
    top = round(down * max(0, image.shape[0] - height))
    left = round(across * max(0, image.shape[1] - width))
    return image[top : top + height, left : left + width]


def before_after(image, position, across, down, left):
    """Put a simple enlargement and the network's side by side."""
    original = modcrop(image, 4)
    squares, bicubic, sr, caption = shrink_and_enlarge(original.tobytes(), original.shape)
    before = bicubic if left == "bicubic" else squares
    before, after = (part_of(whole, across, down, 180, 280) for whole in (before, sr))
    return wipe(*(half.repeat(3, 0).repeat(3, 1) for half in (before, after)), position), caption


fraction = {"min": 0, "max": 1, "step": 0.01}
before_after_slider = Explorer(
    before_after,
    photo=PhotoPicker("coffee", names=sample_names("test"), max_side=640),
    position=ipywidgets.FloatSlider(0.5, **fraction, description="line (of the width)"),
    across=ipywidgets.FloatSlider(0.42, **fraction, description="part, across"),
    down=ipywidgets.FloatSlider(0.27, **fraction, description="part, down"),
    left=ipywidgets.ToggleButtons(
        options=["bicubic", "pixels as squares"], description="left of the line"
    ),
)
before_after_slider

# %% [markdown]
# <details><summary>What happened</summary>
#
# On smooth areas, such as the coffee, the two sides are nearly the same. At edges they are not:
# bicubic smears the rim of the cup over several pixels and leaves steps on slanted edges; the
# network draws one clean line. Neither brings back what was smaller than a pixel of the small
# picture: the fine bubbles and the grain of the wood stay away.
#
# </details>

# %% [markdown]
# ## 1. Can this computer do the course?
#
# The course runs on a laptop, without a GPU and without a network. Each problem below comes with
# what to do about it. If a cell above stopped with an error, run this one: it says what is missing.

# %%
print(doctor.report(doctor.examine()))
doctor.show_test_widget()

# %% [markdown]
# A GPU makes training faster, nothing else. The profile, in the list above, says how much work the
# notebooks do: `ci` takes seconds and is for tests, `cpu` is for a laptop, `gpu` for full training.
# Set the environment variable `SRLIB_PROFILE` before starting JupyterLab to choose another one.
#
# Networks spend nearly all their time in multiplications and additions. How many does this
# computer do in a second?

# %%
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
# ## 2. A photograph as it is
#
# Above, each photograph was shrunk, so the network only had to bring back what had been there.
# Here a part of the photograph is enlarged as it is. There is no original of that size, so there
# is no score: you have to look.
#
# A camera's file is usually a JPEG, which stores blocks of 8 x 8 pixels and leaves out what the
# eye hardly sees. This network was trained on photographs shrunk by bicubic interpolation, never
# on JPEGs.
#
# *Predict:* save the photograph as a JPEG of low quality first. What does the network make of
# the blocks: does it remove them, or enlarge them? A file of your own may hold some already.


# %%
def save_as_jpeg(image, quality):
    """What comes back from a JPEG file: uint8 (H, W, 3)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


# %% tags=["folded"]
# @title The slider of a part as it is
def enlarge_part(image, position, across, down, jpeg):
    """Enlarge a part of a photograph by 4, without shrinking it before."""
    part = part_of(image, across, down, 80, 120)
    if jpeg != "none":
        part = save_as_jpeg(part, quality=int(jpeg))
    size = f"{part.shape[1]} x {part.shape[0]} of {image.shape[1]} x {image.shape[0]} pixels"
    return wipe(*enlarge(part.tobytes(), part.shape), position), f"{size}, enlarged by 4"


as_it_is_slider = Explorer(
    enlarge_part,
    photo=PhotoPicker("coffee", names=sample_names("test"), max_side=4096),
    position=ipywidgets.FloatSlider(0.5, **fraction, description="line: bicubic | network"),
    across=ipywidgets.FloatSlider(0.63, **fraction, description="part, across"),
    down=ipywidgets.FloatSlider(0.74, **fraction, description="part, down"),
    jpeg=ipywidgets.ToggleButtons(options=["none", "75", "30"], description="JPEG quality"),
)
as_it_is_slider

# %%
part = sample_image("coffee")[250:298, 330:402]  # of the spoon
pictures = {}
for name, small in (("as it is", part), ("JPEG, quality 30", save_as_jpeg(part, 30))):
    pictures[f"{name}: bicubic"], pictures[f"{name}: network"] = enlarge(
        small.tobytes(), small.shape
    )
show(
    compare(pictures),
    "A spoon enlarged by 4, bicubic and by the network, as it is and from a JPEG.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# It enlarges them. What JPEG has left, blocks and ripples around edges, is detail to the network,
# and it makes the detail crisp. Bicubic at least blurs it. A network for such photographs has to be
# trained on such photographs.
#
# </details>

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
# reference. Stuck? Run `hint("00.1")` in a cell of your own; each call says more.
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
# Notebook 03 explains it, and its pitfalls. Here it ranks four classical methods and the network.
#
# *Predict:* does the same method win on every photograph?


# %%
def score_methods(name):
    """PSNR in dB of five methods at x4 on one photograph."""
    original = modcrop(sample_image(name), 4)
    small = imresize(original, 1 / 4)
    kernels = ("nearest", "bilinear", "bicubic", "lanczos3")
    enlarged = {kernel: imresize(small, 4, kernel=kernel) for kernel in kernels}
    enlarged["network"] = upscale(network, small)
    return {method: score(image, original, 4)[0] for method, image in enlarged.items()}


table = pd.DataFrame({name: score_methods(name) for name in comparison_names}).T  # dB
gains = table["network"] - table["bicubic"]
least, most = gains.idxmin(), gains.idxmax()
print("the network instead of bicubic:", end=" ")
print(f"{gains[least]:+.1f} dB on {least}, {gains[most]:+.1f} dB on {most}")
table.loc["mean"] = table.mean()
table.round(2)

# %% tags=["folded"]
# @title Draw the scores
figure, axes = plt.subplots()
places = np.arange(len(table))
for number, method in enumerate(table.columns):
    axes.plot(places + 0.12 * (number - 2), table[method], "o", markersize=9, label=method)
axes.set_xticks(places, table.index)
axes.set(ylabel="PSNR (dB)", ylim=(table.min().min() - 1, table.max().max() + 2.5))
axes.set_title("Five methods at x4")
axes.legend(ncols=5, loc="upper center")
axes.grid(axis="x", visible=False)
show(
    figure,
    "PSNR of four classical methods and of the network, for each photograph.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The order is the same on all six photographs: nearest, bilinear, bicubic, lanczos3, network. The
# gap is not. From bicubic to the network it is 0.6 dB on the page of text, whose letters shrink to
# dots, and 3.1 dB on the bricks, which are long straight edges.
#
# </details>

# %% [markdown]
# ## 5. The way ahead
#
# | part | notebooks | what you build |
# |---|---|---|
# | I | 00 to 03 | the baseline: degradation, interpolation, honest scores |
# | II | 04 to 07 | the networks: residual blocks, deconvolution, SrResNet |
# | III | 08 data pipeline, 09 training, 10 evaluation | networks that beat bicubic, and the proof |
# | IV | 11 to 15 | any scale, real time, compression, video, point clouds |
# | V | 16, 17 | what people see: pleasing pictures, real photographs |
#
# These are the exercises of all parts:

# %%
with pd.option_context("display.max_rows", None):
    display(list_exercises())

# %% [markdown]
# ## What you saw
#
# - Shrinking by 4 leaves one pixel of 16. Interpolation gives a larger picture, and no detail.
# - An image is an array (height, width, 3) of numbers from 0 to 255.
# - A better kernel wins tenths of a decibel to a decibel or two. A network adds what it has learned
#   from other photographs. What is lost stays lost: it guesses well, it does not know.

# %%
gain = table.loc["mean", "bicubic"] - table.loc["mean", "nearest"]
print(f"bicubic instead of nearest: {gain:+.2f} dB in the mean of {len(table) - 1} photographs")
gain = table.loc["mean", "network"] - table.loc["mean", "bicubic"]
print(f"the network instead of bicubic: {gain:+.2f} dB")

# %% [markdown]
# ## Pitfalls
#
# - A network enlarges everything, also noise and the traces of a JPEG file. It was measured on
#   clean photographs; your own may be of another kind.
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
