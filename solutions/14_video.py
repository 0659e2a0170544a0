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
# # 14 Video: many small frames hold a large one
#
# A single small image has lost what it has lost: a network can only guess it from what it has seen
# in training. A video is better off. The camera moves by a fraction of a pixel between two frames,
# so each frame samples the scene at other points, and together they hold detail that none of them
# has. This notebook makes such frames from photographs, with a motion that is known exactly, and
# then takes the knowledge away step by step. Then something moves by itself, and leaves a ghost.
#
# **After this you can**
#
# - estimate motion to a tenth of a pixel, and say when the estimate is worthless;
# - align and fuse frames, measure what each adds, and mask what moves by itself;
# - measure flicker, and enlarge a video file of your own frame by frame.
#
# Time: 85 minutes to read and try. Of these the computer needs at most 2 minutes on two CPU cores;
# calculated, not measured: 5 on a T4 GPU, 5 on an A100.

# %% tags=["folded"]
# @title Imports
import collections
import functools
import io
import itertools
import os
import tempfile
import tracemalloc
from base64 import b64encode
from fractions import Fraction
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import display
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, uniform_filter
from skimage.filters import window
from skimage.registration import optical_flow_ilk, phase_cross_correlation
from torch import nn
from tqdm.auto import tqdm

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image, sample_names
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import compare, show, zoom_grid
from srlib.figures.history import plot_trainings
from srlib.image import rgb_to_y, to_uint8
from srlib.layers import BicubicUpsample, PixelShuffleBlock, ResidualBlock
from srlib.metrics import score
from srlib.models import load_pretrained
from srlib.resample import imresize
from srlib.training import TrainConfig
from srlib.training.experiments import compare_trainings, long_run
from srlib.video import read_frames, write_frames
from srlib.widgets import Explorer

# %% tags=["parameters"]
video = None  # section 9: the path of your own video file, such as "holiday.mp4"
video_reach = 0  # neighbours on each side that are fused; 0: each frame by itself
test_names = by_profile(ci=("camera", "page"), cpu=sample_names("test"), gpu=sample_names("test"))
train_names = by_profile(
    ci=("astronaut", "text"), cpu=sample_names("train"), gpu=sample_names("train")
)
side = by_profile(ci=28, cpu=48, gpu=48)  # of a frame, in LR pixels
length = by_profile(ci=9, cpu=24, gpu=24)  # frames of a sequence
pairs_per_photo = by_profile(ci=2, cpu=25, gpu=25)  # section 3
tolerances = by_profile(ci=(0, 8, 32), cpu=(0, 4, 6, 8, 10, 12, 16, 24, 32), gpu=range(0, 34, 2))
seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2))
steps = by_profile(ci=4, cpu=500, gpu=3000, long=8000)
channels, num_blocks = 16, 3  # of the networks in section 5
patch, batch = by_profile(ci=(12, 2), cpu=(16, 8), gpu=(24, 8))  # LR pixels, clips

# %% [markdown]
# A page of a book, photographed nine times by a camera with large pixels that moved by thirds of a
# pixel in between. One of the frames; the same frame enlarged; all nine, laid into each other; and
# the original. Nothing is learned here, and nothing guessed.

# %% tags=["folded"]
# @title Nine frames laid into each other
page, (height, width) = sample_image("page"), (180, 372)
laid = page[:height, :width] * 0
for y in range(3):
    for x in range(3):
        small = imresize(page[y : y + height, x : x + width], 1 / 3, kernel="box")
        part = laid[1 + y :: 3, 1 + x :: 3]  # every third pixel
        part[:] = small[: len(part), : part.shape[1]]
small = imresize(page[:height, :width], 1 / 3, kernel="box")
versions = {"one frame": small, "one frame, bicubic": imresize(small, 3)}
versions |= {"nine frames": laid, "original": page[:height, :width]}
show(
    zoom_grid(versions, (66, 150, 54, 90), reference="original"),
    "Part of a printed page: in one small frame the letters can hardly be read, enlarged they "
    "are blurred; nine frames laid into each other show them clearly, a little soft.",
)

# %% [markdown]
# ## 1. A moving camera with a known motion
#
# A window moves over a photograph, by whole HR pixels. What is in the window is made three times
# smaller. So a step of one HR pixel is a motion of exactly one third of an LR pixel, and nothing
# was interpolated to make it.
#
# All frames that such a camera can ever take are parts of nine small images: the photograph, made
# smaller after it was shifted by 0, 1, 2 pixels down and 0, 1, 2 across. These nine are called the
# **phases**.

# %% tags=["experiment"]
device = "cuda" if torch.cuda.is_available() else "cpu"
scale = 3  # odd: the centre of an LR pixel is then the centre of an HR pixel


def make_phases(photo, kernel="bicubic"):
    """Shrink a photograph at all shifts: uint8 (H, W, 3) -> (scale, scale, h, w, 3)."""
    height, width = (scale * (length // scale - 1) for length in photo.shape[:2])
    return np.array(
        [
            [
                imresize(photo[y : y + height, x : x + width], 1 / scale, kernel=kernel)
                for x in range(scale)
            ]
            for y in range(scale)
        ]
    )


def take_frame(phases, place, side):
    """Return the frame whose window has its top left corner at HR pixel (top, left)."""
    top, left = place
    rows, columns = (slice(start // scale, start // scale + side) for start in place)
    return phases[top % scale, left % scale, rows, columns]


# %% tags=["folded", "experiment"]
# @title Places in photographs, paths, and the frames along them
@functools.cache
def phases_of(name, kernel="bicubic"):
    return make_phases(sample_image(name), kernel)


def home_of(name):
    """Return a place near the middle of a photograph, with room to move around it."""
    return np.array([(length - scale * side) // 2 for length in sample_image(name).shape[:2]])


def walk(length, seed, largest=15):
    """Return a path as of a hand: a place for each frame, whole HR pixels, starting at 0."""
    moves = np.random.default_rng(seed).integers(-2, 3, (length, 2))
    return (moves.cumsum(axis=0) - moves[0]).clip(-largest, largest)


def original(name, place):
    """Return the HR frame: what is in the window."""
    top, left = home_of(name) + place
    return sample_image(name)[top : top + scale * side, left : left + scale * side]


def take(name, path, kernel="bicubic"):
    """Take the LR frames along a path: uint8 (T, side, side, 3)."""
    home = home_of(name)
    return np.array([take_frame(phases_of(name, kernel), home + place, side) for place in path])


# %% tags=["folded"]
# @title A walk over the page
path = walk(length, seed=1)
frames = take("page", path)
from_window = imresize(original("page", path[3]), 1 / scale)
inner = (slice(4, -4), slice(4, -4))
down, right = path[3] / scale
print(f"{len(frames)} frames of {side}x{side}")
print(f"frame 3 lies {down:.2f} LR pixels below frame 0 and {right:.2f} to the right")
print(
    "largest difference to the window made smaller by itself, off the border: "
    f"{np.abs(frames[3][inner].astype(int) - from_window[inner]).max()} grey levels"
)

# %% [markdown]
# A window of its own would have a wrong border, because beyond it nothing is known. A camera does
# see beyond. Hence the detour over the phases.
#
# How much a frame blurs is a choice. The course's bicubic shrinking takes a weighted mean over 12
# pixels a side, to keep aliasing low. A camera's pixel averages over its own area (**box**),
# here 3 pixels. **Nearest** takes one pixel of nine and has no blur at all.
#
# **Aliasing** (notebook 01) means that structure too fine for the pixels shows up as coarse
# structure. In one image that is damage. In several it is information: it changes with the shift,
# and from the changes the fine structure can be computed. What the blur removed never comes back.
#
# *Predict:* nine frames, one for each phase, are laid into one grid. For which of the three kinds
# of shrinking is the result the photograph itself? For which is it most like bicubic enlarging?
#
# ### Exercise 14.1
#
# Write **shift and add**. LR pixel (i, j) of a frame that moved by (dy, dx) HR pixels lies on the
# HR grid at row `scale * i + dy + (scale - 1) // 2`, and so for columns; the last term is the
# middle of the LR pixel, for an odd scale. Where several samples meet, their mean counts. Samples
# that fall outside of the grid are dropped.


# %%
def shift_and_add(frames, offsets, scale):
    """Put LR samples on the HR grid of the frame with offset (0, 0), and average.

    frames: (T, h, w, 3); offsets: (T, 2) whole HR pixels, down and right. Returns the means, float
    (scale * h, scale * w, 3), 0 where no sample fell, and the number of samples at each place.
    """
    ### BEGIN SOLUTION
    height, width = (scale * length for length in frames.shape[1:3])
    total, count = np.zeros((height, width, 3)), np.zeros((height, width))
    for frame, (down, right) in zip(frames, offsets):
        rows = scale * np.arange(frame.shape[0]) + down + (scale - 1) // 2
        columns = scale * np.arange(frame.shape[1]) + right + (scale - 1) // 2
        row_fits, column_fits = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        places = np.ix_(rows[row_fits], columns[column_fits])
        total[places] += frame[np.ix_(row_fits, column_fits)]
        count[places] += 1
    return total / np.maximum(count, 1)[..., None], count
    ### END SOLUTION


shift_and_add = check("14.1", shift_and_add)

# %% tags=["folded"]
# @title Two frames of two pixels
# NBVAL_CHECK_OUTPUT
ramp = np.arange(12).reshape(2, 2, 1, 3) * 10.0  # two frames of 2 x 1 pixels
mean, count = shift_and_add(ramp, np.array([[0, 0], [1, 1]]), 3)
print(mean[..., 0].astype(int))
print(count.astype(int))

# %% [markdown]
# Stuck? `hint("14.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("14.1")

# %% [markdown]
# ## 2. The detail is there
#
# Scores are by the protocol of notebook 03, on the luma, with one difference: near the border,
# neighbours are missing when the camera moves away, so 12 HR pixels are left out all around.

# %% tags=["folded", "experiment"]
# @title Scores
margin = 12  # HR pixels
photos = [name for name in test_names if home_of(name).min() >= 2 * scale + 15]  # for the walk


def decibels(sr, hr):
    """PSNR by the protocol, without the margin."""
    inside = slice(margin, -margin)
    return score(sr[inside, inside], hr[inside, inside], scale)[0]


def round_to_uint8(image):
    return np.floor(np.clip(image, 0, 255) + 0.5).astype(np.uint8)


# %%
def fill(frames, offsets):
    """Shift and add; where no sample fell, bicubic interpolation of the first frame."""
    mean, count = shift_and_add(frames, offsets, scale)
    return np.where(count[..., None] > 0, mean, imresize(frames[0], scale))


# %%
every_phase = np.array([(y, x) for y in range(scale) for x in range(scale)])
hr, rows = original("page", (0, 0)), {}
for kernel in ("nearest", "box", "bicubic"):
    nine = take("page", every_phase, kernel)
    rows[kernel] = {
        "one frame, bicubic": decibels(imresize(nine[0], scale), hr),
        "nine frames, shift and add": decibels(round_to_uint8(fill(nine, every_phase)), hr),
    }
print("PSNR (dB); inf: no difference at all")
pd.DataFrame(rows).T.rename_axis("shrunk by").round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# With point samples it is the photograph, pixel by pixel. Otherwise it is the photograph under the
# blur of the shrinking: no jagged edges, all fine structure in its place, only weak. The bicubic
# kernel blurs most, so its result is closest to bicubic enlarging.
#
# </details>
#
# A blur that is known can be undone as far as it left something.
#
# Irani and Peleg's **iterative back-projection** does so with all frames at once. Take a guess at
# the HR picture, make LR frames from it as the camera did, look where they differ from those it
# took, and add the differences, enlarged, to the guess. Repeat. It needs the offsets and the blur.


# %%
def back_project(frames, offsets, start, kernel="bicubic", rounds=20, trust=None):
    """Improve an HR picture until the LR frames made from it are the given ones."""
    guess, room = start.astype(float), np.abs(offsets).max()
    edge = ((room, room), (room, room), (0, 0))
    trust = np.ones(frames.shape[:3]) if trust is None else trust  # section 4
    for _ in range(rounds):
        padded = np.pad(guess, edge, mode="edge")
        change = np.zeros_like(padded)
        for frame, (down, right), weight in zip(frames, offsets, trust):
            rows = slice(room + down, room + down + guess.shape[0])
            columns = slice(room + right, room + right + guess.shape[1])
            made = imresize(padded[rows, columns], 1 / scale, kernel=kernel)
            change[rows, columns] += imresize((frame - made) * weight[..., None], scale)
        rows, columns = (slice(room, room + n) for n in guess.shape[:2])
        guess = guess + change[rows, columns] / len(frames)
    return round_to_uint8(guess)


# %% tags=["folded"]
# @title Score one to nine frames
def classical(name, offsets, kernel):
    """Return dB of bicubic, shift and add, back-projection, for frames of one photograph."""
    taken, hr = take(name, offsets, kernel), original(name, (0, 0))
    laid = fill(taken, offsets)
    results = imresize(taken[0], scale), round_to_uint8(laid)
    results += (back_project(taken, offsets, laid, kernel),)
    return [decibels(sr, hr) for sr in results]


drawn = np.random.default_rng(0).permutation(every_phase[1:])
orders = {1: every_phase[:1], 3: drawn[:2], 5: drawn[:4], 7: drawn[:6], 9: drawn}
rows = {}
for kernel, (number, offsets) in itertools.product(("bicubic", "box"), orders.items()):
    offsets = offsets if number == 1 else np.concatenate([every_phase[:1], offsets])
    rows[kernel, number] = np.mean([classical(name, offsets, kernel) for name in photos], axis=0)
names = ["bicubic of one frame", "shift and add", "back-projection"]
classical_db = pd.DataFrame(rows, index=names).T.rename_axis(["shrunk by", "frames"])
print("mean PSNR (dB) over", ", ".join(photos))
classical_db.round(2)

# %% [markdown]
# The first row of each kind is what back-projection alone does, by sharpening. All below it comes
# from other frames, and nothing was learned for it: measured detail, not guessed. And frames with
# **less** blur, which have more aliasing, are worth **more** together. The antialiased bicubic
# frames, the field's standard for images and for many videos, leave less to gain. The rest of the
# notebook uses them.
#
# But the offsets were known. They never are.

# %% [markdown]
# ## 3. Estimating the motion
#
# If a picture shifts, its Fourier transform turns its phases and keeps its magnitudes. **Phase
# correlation** multiplies the transform of one frame by the conjugate of the other's, divides by
# the magnitude so that only phases are left, and transforms back: there is a peak at the shift.
#
# *Predict:* why divide by the magnitude? What would the product alone be, back in pixels?
#
# ### Exercise 14.2
#
# Write it for whole pixels. The window of `moving` lies (dy, dx) pixels further down and right
# than that of `reference`; that is, `moving[i, j]` shows what `reference[i + dy, j + dx]` shows.


# %%
def whole_pixel_shift(reference, moving):
    """Estimate (dy, dx) from two grey pictures (H, W); each in -H/2..H/2 and -W/2..W/2."""
    ### BEGIN SOLUTION
    product = np.fft.fft2(reference) * np.conj(np.fft.fft2(moving))
    correlation = np.fft.ifft2(product / np.maximum(np.abs(product), 1e-12)).real
    peak = np.unravel_index(correlation.argmax(), correlation.shape)
    return tuple(
        int(place) if place <= size // 2 else int(place) - size
        for place, size in zip(peak, correlation.shape)
    )
    ### END SOLUTION


whole_pixel_shift = check("14.2", whole_pixel_shift)


# %% [markdown]
# <details><summary>What happened</summary>
#
# The product alone is the ordinary correlation. It is large wherever bright parts lie over each
# other, so its peak is broad, and a slope in brightness can pull it away. Divided by the magnitude,
# every frequency counts alike, and all of them agree in one pixel only.
#
# </details>
#
# scikit-image refines the peak to fractions: around it, the transform back is computed on a grid
# that is 20 times finer (`upsample_factor`, by Guizar-Sicairos and others). One thing remains to
# do by hand. A Fourier transform takes a picture for a tile that repeats, and its jump from the
# right edge to the left one does not move with the camera. A **window** (Hann) fades the edges.
#
# The other family is **optical flow**: a motion for each pixel, from the brightness around it.
# Lucas and Kanade's method solves for the one motion that explains a small neighbourhood best.


# %%
def grey(frame):
    return rgb_to_y(frame) / 255  # (H, W)


def by_phase(reference, moving, *, fade=True, fine=20):
    """Estimate by phase correlation: (2,) LR pixels."""
    pictures = [grey(frame) - grey(frame).mean() for frame in (reference, moving)]
    if fade:
        pictures = [picture * window("hann", picture.shape) for picture in pictures]
    return phase_cross_correlation(*pictures, upsample_factor=fine)[0]


def flow(reference, moving):
    """Dense flow by iterative Lucas-Kanade: (2, H, W) LR pixels, signed as the offsets."""
    return -optical_flow_ilk(grey(reference), grey(moving), radius=7, prefilter=True)


estimators = {
    "phase, whole pixels": lambda a, b: whole_pixel_shift(grey(a), grey(b)),
    "phase, 1/20 pixel": functools.partial(by_phase, fade=False),
    "phase, 1/20, Hann": by_phase,
    "flow, median": lambda a, b: np.median(flow(a, b), axis=(1, 2)),
}


# %% tags=["folded", "experiment"]
# @title Pairs of frames with a known offset
def random_pairs(name, kernel, count, largest=2 * scale):
    """Yield pairs of frames at random places, and their offset in LR pixels."""
    random, phases = np.random.default_rng(7), phases_of(name, kernel)
    room = np.array(sample_image(name).shape[:2]) - scale * (side + 2) - 2 * largest
    for _ in range(count):
        place = largest + random.integers(0, room)
        offset = random.integers(-largest, largest + 1, 2)
        pair = (take_frame(phases, start, side) for start in (place, place + offset))
        yield *pair, offset / scale


def errors_of(estimator, pairs):
    """Length of the error for each pair, in LR pixels."""
    return np.array([np.linalg.norm(estimator(a, b) - true) for a, b, true in pairs])


# %%
errors = {}
for kernel in ("bicubic", "box", "nearest"):
    pairs = [p for name in photos for p in random_pairs(name, kernel, pairs_per_photo)]
    for label, estimator in estimators.items():
        errors[label, kernel] = errors_of(estimator, pairs)
print(f"median error (LR pixels) over {len(pairs)} pairs, motion up to 2 pixels each way")
pd.Series({key: np.median(value) for key, value in errors.items()}).unstack(sort=False).round(3)

# %% tags=["folded"]
# @title Draw the errors
figure, axes = plt.subplots(figsize=(9.5, 4))
for label in estimators:
    values = np.sort(errors[label, "bicubic"])
    axes.step(values, 100 * np.arange(1, len(values) + 1) / len(values), label=label)
axes.axvline(0.5 / scale, color="black", linewidth=1)
axes.annotate("half an HR pixel", (0.5 / scale, 4), (4, 0), textcoords="offset points")
axes.set(xscale="log", xlim=(0.01, 4), xlabel="error (LR pixels, log scale)", ylabel="pairs (%)")
axes.set(title="share of the pairs with at most this error (bicubic frames)")
axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
figure.legend(loc="outside right upper")
show(
    figure,
    "Four rising curves: for each method the share of pairs that it estimates within an error.",
)

# %% [markdown]
# Left of the line, rounding the estimate to the HR grid gives the true offset, if the error points
# along one axis. Read the columns of the table once more: the frames with the most aliasing, which
# carry the most detail, are the hardest to align. That is the field's dilemma.
#
# Now motions and pictures that are unkind: far, flat, repeating.
#
# *Predict:* which method fails on which?


# %% tags=["folded"]
# @title Unkind pictures
def tiled(photo, period):
    """Repeat a small piece of a photograph, every `period` HR pixels."""
    return np.tile(photo[100 : 100 + period, 100 : 100 + period], (12, 12, 1))


def pairs_in(photo, box, offset, count=8):
    """Yield pairs of frames from within a box (top, left, bottom, right) of a photograph."""
    phases, random = make_phases(photo), np.random.default_rng(3)
    top, left, bottom, right = box
    for _ in range(count):
        place = random.integers((top, left), (bottom, right))
        pair = (take_frame(phases, start, side) for start in (place, place + offset))
        yield *pair, np.array(offset) / scale


# %% tags=["folded"]
# @title Errors on them
coffee, camera = sample_image("coffee"), sample_image("camera")
free = (60, 60, 100, 200)
cases = {
    "coffee, 1.3 pixels": (coffee, free, (4, 1)),
    "coffee, 10 pixels": (coffee, free, (18, 24)),
    "coffee, two thirds of the frame": (coffee, free, (0, 2 * side)),
    "sky, almost flat": (camera, (8, 300, 16, 340), (4, 1)),
    "repeats every 12 pixels, 1.3 pixels": (tiled(coffee, 36), (8, 8, 40, 40), (4, 1)),
    "repeats every 12 pixels, 8 pixels": (tiled(coffee, 36), (8, 8, 40, 40), (24, 0)),
}
rows = {}
for case, (photo, box, offset) in cases.items():
    pairs = list(pairs_in(photo, box, offset))
    rows[case] = {label: np.median(errors_of(e, pairs)) for label, e in estimators.items()}
failures = pd.DataFrame(rows).T
print("median error (LR pixels)")
failures.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# - **Flat** areas have little that could be matched. Here flow suffers most; phase correlation is
#   about as far off as on the coffee.
# - What **repeats** looks the same after a whole period. Flow, and phase correlation with a window,
#   take the nearest candidate. Without a window all periods tie, and rounding decides.
# - **Large** motion leaves little in common, for flow too, which starts from "no motion" and looks
#   in coarse steps first. And beyond half of the frame phase correlation cannot tell a shift from
#   one the other way: an error of 48 pixels is the side of the frame.
#
# None of the four says that it failed: a number comes out in any case.
#
# </details>
#
# Where in the frame does flow fail? Its error at each pixel is known here, because the whole frame
# moved alike:

# %% tags=["folded"]
# @title Draw the error of the flow
start, offset = home_of("camera") + (-90, 30), np.array([4, 2])
pair = [take_frame(phases_of("camera"), start + move, side) for move in (0, offset)]
distance = np.linalg.norm(flow(*pair) - offset[:, None, None] / scale, axis=0)
figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.4))
panels[0].imshow(pair[0])
panels[0].set_title("frame")
drawn_map = panels[1].imshow(distance, cmap="magma", vmin=0, vmax=1)
panels[1].set_title(f"error of the flow, median {np.median(distance):.2f}")
figure.colorbar(drawn_map, ax=panels[1], extend="max", label="LR pixels")
for axes in panels:
    axes.set_axis_off()
show(
    figure, "A frame with a man's head and sky, and the flow's error: large where the sky is flat."
)

# %% [markdown]
# ## 4. What moves by itself
#
# So far everything in a frame moved alike. Now somebody pushes a coin across the page while the
# camera trembles. Page and coin are photographs; from frame to frame the coin moves by 2/3 of an LR
# pixel down and 4/3 to the right over the page. It covers letters, and sets others free. We know
# the camera's motion, and align by it.
#
# *Predict:* seven frames, aligned by the camera's motion. What becomes of the coin? And of the page
# beside it?

# %% tags=["folded", "experiment"]
# @title Push a coin across a page
wide, radius = 48, 28  # a frame's side in LR pixels; the coin's radius in HR pixels
push = np.array([2, 4])  # HR pixels a frame, over the page
coin_path = walk(7, seed=83)  # the camera's
y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
disc = y**2 + x**2 <= radius**2
coin = sample_image("coins")[43 - radius : 44 + radius, 336 - radius : 337 + radius]


def scene_at(t):
    """Return the page with the coin on it, and where the coin is."""
    scene, covered = sample_image("page").copy(), np.zeros((191, 384), bool)
    top, left = np.array([100, 180]) + push * (t - 3) - radius
    place = slice(top, top + len(disc)), slice(left, left + len(disc))
    scene[place][disc] = coin[disc]
    covered[place] = disc
    return scene, covered


def seen(picture, t, room=0):
    """Cut out what the camera sees at time t, and some room around it."""
    top, left = np.array([23, 120]) + coin_path[t] - room
    size = scale * wide + 2 * room
    return picture[top : top + size, left : left + size]


# %% tags=["folded", "experiment"]
# @title The seven frames, and three regions of the middle one
moments = [3, 0, 1, 2, 4, 5, 6]  # the frame to be enlarged comes first
large = np.array([imresize(seen(scene_at(t)[0], t, 12), 1 / scale) for t in moments])
coin_frames = large[:, 4:-4, 4:-4]  # a camera sees beyond the frame's border
coin_offsets = coin_path[moments] - coin_path[3]
coin_hr = seen(scene_at(3)[0], 3)
now = seen(scene_at(3)[1], 3)
ever = np.any([seen(scene_at(t)[1], 3) for t in moments], axis=0)
inner = np.zeros_like(now)
inner[margin:-margin, margin:-margin] = True
regions = {
    "the coin": now & inner,
    "its wake": ever & ~now & inner,  # covered before or after, free now
    "the rest": inner & ~binary_dilation(ever, iterations=scale),
}


def in_regions(sr):
    """PSNR on the luma in each region, in dB."""
    square = (rgb_to_y(sr) - rgb_to_y(coin_hr)) ** 2
    return {name: 10 * np.log10(255**2 / square[where].mean()) for name, where in regions.items()}


# %%
rough = imresize(coin_frames[0], scale)
pushed = {
    "bicubic": rough,
    "one frame": back_project(coin_frames[:1], coin_offsets[:1], rough),
    "seven frames": back_project(coin_frames, coin_offsets, rough),
}
print("back-projection, PSNR (dB)")
pd.DataFrame({name: in_regions(sr) for name, sr in pushed.items()}).T.round(2)

# %% tags=["folded"]
# @title Look at the coin
coin_box = (33, 30, 80, 80)
show(
    zoom_grid({"original": coin_hr, **pushed}, coin_box, reference="original"),
    "A coin on a printed page: sharp in the original, blurred by bicubic; with seven frames the "
    "letters around it are sharp, but the coin is covered by a pattern of stripes.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The page gains, as before. The coin is a **ghost**: each frame lays its own piece of coin, or of
# page, into the same places, and back-projection looks for one picture that explains all of them.
# There is none. On the coin the result is decibels below that of one frame, and even the wake
# loses: letters that are free now were covered in other frames.
#
# </details>
#
# What cannot fit should not count. From the frame to be enlarged we know, roughly, what a
# neighbour must see: enlarge it, and read it off at the places of the neighbour's samples. Where
# the neighbour shows something else, something moved. The difference between the two is the
# **residual** of the alignment.


# %%
def expected_luma(frame, offset):
    """Luma (h, w) that a neighbour shows at this offset if nothing but the camera moved."""
    (height, width), room = frame.shape[:2], np.abs(offset).max()
    large = np.pad(rgb_to_y(imresize(frame, scale)), room, mode="edge")
    down, right = offset + room + (scale - 1) // 2
    return large[down : down + scale * height : scale, right : right + scale * width : scale]


# %% [markdown]
# ### Exercise 14.3
#
# Write the **mask**: a sample is trusted if the residual around it is small. Take the mean absolute
# difference over a window of `size` x `size` pixels around each pixel, and compare it with
# `tolerance`. Beyond the border of the picture its edge pixels are repeated.


# %%
def trusted(sample, expected, size, tolerance):
    """Say which samples fit: luma (h, w), luma (h, w), odd side, grey levels -> bool (h, w)."""
    ### BEGIN SOLUTION
    difference = np.abs(sample - expected)
    return uniform_filter(difference, size, mode="nearest") <= tolerance
    ### END SOLUTION


trusted = check("14.3", trusted)


# %%
def make_mask(frames, offsets, tolerance=8):
    """Mask the samples that do not fit the first frame: (T, h, w, 3), (T, 2) -> bool (T, h, w)."""
    return np.array(
        [
            trusted(rgb_to_y(frame), expected_luma(frames[0], offset), 5, tolerance)
            for frame, offset in zip(frames, offsets)
        ]
    )


coin_mask = make_mask(coin_frames, coin_offsets)
print(f"trusted: {coin_mask[1:].mean():.0%} of the neighbours' samples")

# %% tags=["folded"]
# @title Look at the mask of the first frame
sample, expected = rgb_to_y(coin_frames[1]), expected_luma(coin_frames[0], coin_offsets[1])
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4))
panels[0].imshow(coin_frames[1])
panels[0].set_title("the first frame")
drawn_map = panels[1].imshow(np.abs(sample - expected), cmap="magma", vmin=0, vmax=64)
panels[1].set_title("its residual")
figure.colorbar(drawn_map, ax=panels[1], extend="max", label="grey levels")
panels[2].imshow(coin_mask[1], cmap="gray", vmin=0, vmax=1)
panels[2].set_title("trusted: white")
for axes in panels:
    axes.set_axis_off()
show(
    figure,
    "A small frame with the coin; its residual, bright where the coin is in one of the two frames "
    "and weaker along letters; the mask, black around the coin and in a few places at letters.",
)

# %% [markdown]
# *Predict:* back-projection now counts trusted samples only. What does the coin get back, and what
# its wake? The mask also has holes where nothing moved: what does that cost the rest?

# %%
by_tolerance = {}
for tolerance in tolerances:
    mask = make_mask(coin_frames, coin_offsets, tolerance)
    by_tolerance[tolerance] = back_project(coin_frames, coin_offsets, rough, trust=mask)
pushed["seven frames, masked"] = by_tolerance[8]
print("back-projection, PSNR (dB)")
coin_db = pd.DataFrame({name: in_regions(sr) for name, sr in pushed.items()}).T
coin_db.loc["the mask's gain"] = coin_db.iloc[-1] - coin_db.loc["seven frames"]
coin_db.round(2)

# %% tags=["folded"]
# @title Look at the coin once more
coin_rows, coin_columns = slice(33, 113), slice(30, 110)
chosen = {"original": coin_hr, **pushed}
show(
    compare(
        {name: sr[coin_rows, coin_columns] for name, sr in chosen.items() if name != "one frame"}
    ),
    "The coin again: with the mask it is as clear as from one frame, without any ghost, and the "
    "letters around it are as sharp as from seven.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The ghost is gone. The coin is nearly as good as from one frame, and not better: it has its own
# motion, by which nobody aligned it, so its samples in other frames are not trusted. The wake is
# now above one frame: what was free in some of the other frames comes from those. The last row also
# says what the mask costs the rest: about a tenth of a decibel. At letters aliasing alone makes a
# residual, and a mask cannot tell what is new from what is wrong.
#
# </details>
#
# That is the price, and `tolerance` sets it: strict masks throw good samples away, lenient ones let
# the ghost in.

# %% tags=["folded"]
# @title Draw the price, and a slider for it
curves = pd.DataFrame({tolerance: in_regions(sr) for tolerance, sr in by_tolerance.items()}).T
figure, axes = plt.subplots(figsize=(9.5, 4))
for region in regions:
    (line,) = axes.plot(curves.index, curves[region], "o-", label=region)
    level = coin_db.loc["seven frames", region]
    axes.axhline(level, color=line.get_color(), linestyle=":", linewidth=1)
axes.plot([], [], color="grey", linestyle=":", linewidth=1, label="without a mask")
axes.set(xlabel="tolerance (grey levels)", ylabel="PSNR (dB)", title="what the mask lets through")
figure.legend(loc="outside right upper")
show(
    figure,
    "PSNR against the tolerance: the coin falls from 8 grey levels on, the rest rises up to 10, "
    "the wake is best at 12.",
)


# %% tags=["folded"]
# @title Pictures beside each other
def side_by_side(pictures, factor, gap=12, head=24):
    """Put named pictures of one size, uint8, beside each other, enlarged, each under its name."""
    height, width = (factor * length for length in next(iter(pictures.values())).shape[:2])
    font = ImageFont.load_default(size=15)
    canvas = Image.new("RGB", (len(pictures) * (width + gap) - gap, head + height), "white")
    for k, (name, picture) in enumerate(pictures.items()):
        left = k * (width + gap)
        enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        canvas.paste(Image.fromarray(enlarged), (left, head))
        place = left + width // 2, head // 2
        ImageDraw.Draw(canvas).text(place, name, fill="black", font=font, anchor="mm")
    return np.array(canvas)


# %% tags=["folded"]
# @title A slider for the tolerance


def with_tolerance(tolerance):
    pictures = {"seven frames, masked": by_tolerance[tolerance], "original": coin_hr}
    pictures = {name: sr[coin_rows, coin_columns] for name, sr in pictures.items()}
    scores = ", ".join(f"{name} {db:.2f} dB" for name, db in curves.loc[tolerance].items())
    return side_by_side(pictures, 3), scores


mask_slider = Explorer(
    with_tolerance,
    tolerance=ipywidgets.SelectionSlider(
        options=list(by_tolerance), value=8, description="tolerance (grey levels)"
    ),
)
mask_slider

# %% [markdown]
# ## 5. A network that fuses
#
# Video networks do three things: **align** the neighbours with the frame to be enlarged, **fuse**
# them, **restore** what comes out. Many align by warping, as VESPCN does: each neighbour is
# interpolated at the places of the middle frame's pixels. That blurs it a little more, and hides
# from the network where its samples really lay. So here each sample goes where it belongs, as in
# 14.1 and in Tao's sub-pixel motion compensation. At each LR pixel the network sees:
#
# - the colour of the frame to be enlarged (3 channels);
# - for each of the nine HR places in that pixel: by how much the samples there differ from bicubic
#   interpolation (27 channels, 0 where there is none), and how many they are (9 channels).
#
# There may be any number of frames. It changes no weight, only how many places are filled. Samples
# that a mask does not trust are left out.

# %% tags=["experiment"]
bicubic = BicubicUpsample(scale).to(device)


def lay(frames, offsets, trust=1.0):
    """Align: (N, T, 3, h, w), whole HR pixels (N, T, 2) -> (N, 3 + 4 * scale**2, h, w).

    The first of the T frames is the one to be enlarged; its offset is 0. trust: (N, T, h, w) of 0
    and 1, or 1 for all.
    """
    n, _, _, h, w = frames.shape
    height, width, middle = scale * h, scale * w, (scale - 1) // 2
    rows = scale * torch.arange(h, device=frames.device) + offsets[..., :1] + middle  # (N, T, h)
    columns = scale * torch.arange(w, device=frames.device) + offsets[..., 1:] + middle
    rows, columns = rows[..., None], columns[..., None, :]
    fits = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)  # (N, T, h, w)
    image = torch.arange(n, device=frames.device)[:, None, None, None]
    place = (image * height + rows) * width + columns
    samples = F.pad(frames.permute(0, 1, 3, 4, 2), (0, 1), value=1.0)  # a 1 to be counted
    samples = samples * (trust[..., None] if torch.is_tensor(trust) else trust)
    grid = samples.new_zeros(n * height * width, 4).index_add_(0, place[fits], samples[fits])
    grid = grid.view(n, height, width, 4).permute(0, 3, 1, 2)
    total, count = grid[:, :3], grid[:, 3:]
    news = (total - count * bicubic(frames[:, 0])) / count.clamp(min=1)
    parts = [F.pixel_unshuffle(part, scale) for part in (4 * news, count.clamp(max=2))]
    return torch.cat([frames[:, 0], *parts], dim=1)


# %% tags=["experiment"]
class Fusion(nn.Module):
    """Early fusion: all aligned samples enter the first convolution together."""

    def __init__(self, channels):
        super().__init__()
        self.head = nn.Conv2d(3 + 4 * scale**2, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(num_blocks)))
        self.upsample = PixelShuffleBlock(channels, 3, scale)
        nn.init.zeros_(self.upsample.conv.weight)  # starts as bicubic interpolation

    def forward(self, laid):
        """(N, 3 + 4 * scale**2, h, w) of `lay` -> (N, 3, scale * h, scale * w)."""
        features = self.blocks(self.head(laid))  # no ReLU at the end: it would die at this rate
        return bicubic(laid[:, :3]) + self.upsample(features)


# %% tags=["experiment"]
class FromClip(nn.Module):
    """Fusion of a random number of a clip's frames, which are told with an error up to `wrong`."""

    def __init__(self, channels, numbers, wrong=0.0):
        super().__init__()
        self.fusion, self.numbers, self.wrong = Fusion(channels), numbers, wrong

    def forward(self, clip):
        """(N, 7 * 5, h, w), of a frame 3 colours and 2 offsets -> (N, 3, scale * h, scale * w)."""
        number = self.numbers[torch.randint(len(self.numbers), ()).item()]
        clip = clip.unflatten(1, (-1, 5))[:, :number]
        frames, offsets = clip[:, :, :3], clip[:, :, 3:, 0, 0].long()  # (N, T, 2)
        angle, length = torch.rand(2, len(clip), number, 1)
        length = scale * self.wrong * length[:, :1]  # alike for all of a clip
        error = length * torch.cat([angle.mul(2 * np.pi).sin(), angle.mul(2 * np.pi).cos()], 2)
        error[:, 0] = 0  # of the frame to be enlarged
        return self.fusion(lay(frames, offsets + error.round().long().to(offsets.device)))


# %% [markdown]
# In training it gets clips of seven frames, of which it uses a random number. The two more channels
# of each frame hold its offset, so that a clip is one tensor. `wrong` moves what the network is
# *told* about the motion, for section 6. Clips come from the training photographs: a random place,
# random offsets for the neighbours. To `train` the sampler is like any other.

# %% tags=["folded", "experiment"]
# @title Photographs to train on, and wrong offsets
train_photos = [sample_image(name) for name in train_names]
train_phases = [make_phases(photo) for photo in train_photos]
train_sizes = np.array([photo.shape[0] * photo.shape[1] for photo in train_photos])


def misplace(offsets, error, random):
    """Add an error of so many LR pixels, in a random direction, to all offsets but the first."""
    angle = random.uniform(0, 2 * np.pi, len(offsets))
    wrong = scale * error * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return offsets + np.rint(wrong).astype(int) * (np.arange(len(offsets)) > 0)[:, None]


# %% tags=["folded", "experiment"]
# @title Draw a clip


def draw_clip(random):
    """Return seven frames, their offsets, and the HR patch of the first, from a random place."""
    index, reach = random.choice(len(train_sizes), p=train_sizes / train_sizes.sum()), 6
    photo, phases = train_photos[index], train_phases[index]
    room = np.array(photo.shape[:2]) - scale * (patch + 2) - 2 * reach
    place = reach + random.integers(0, room)
    offsets = random.integers(-reach, reach + 1, (7, 2)) * (np.arange(7) > 0)[:, None]
    frames = np.array([take_frame(phases, place + offset, patch) for offset in offsets])
    rows, columns = (slice(start, start + scale * patch) for start in place)
    return frames, offsets, photo[rows, columns]


# %% tags=["folded", "experiment"]
# @title The sampler
class ClipSampler:
    """Batches of clips, (N, 7 * 5, h, w): colours and offset of each frame; and HR patches."""

    scale, batch_size, lr_patch_size, augment = scale, batch, patch, False
    device, hr_pixels = torch.device(device), int(train_sizes.sum())
    content = " ".join(train_names)

    def __init__(self, seed):
        self.seed, self.random = seed, np.random.default_rng(seed)

    def sample(self, process=0, processes=1):
        clips = [draw_clip(self.random) for _ in range(self.batch_size)]
        frames, offsets, hr = (torch.from_numpy(np.stack(p)).to(device) for p in zip(*clips))
        frames, hr = frames.movedim(-1, -3) / 255, hr.movedim(-1, -3) / 255
        offsets = offsets[..., None, None].expand(-1, -1, -1, patch, patch)
        return torch.cat([frames, offsets], dim=2).flatten(1, 2), hr

    def state_dict(self):
        return {"random": self.random.bit_generator.state}

    def load_state_dict(self, state):
        self.random.bit_generator.state = state["random"]


# %% [markdown]
# **Equal parameters.** The opponent is the same network, trained and used with one frame. Of its
# first convolution 32 of 39 input channels are always 0 then, weights without work. To be fair, it
# gets more channels, until its *working* weights are as many as those of the other.


# %% tags=["folded", "experiment"]
# @title Equal working parameters
def count_weights(network, number):
    """Parameters, and those that work if there are `number` frames."""
    total = sum(parameter.numel() for parameter in network.parameters())
    idle = 4 * (scale**2 - 1) if number == 1 else 0
    return total, total - idle * network.head.weight[:, 0].numel()


wider = next(
    c
    for c in itertools.count(channels)
    if (count_weights(Fusion(c), 1)[1] >= count_weights(Fusion(channels), 7)[1])
)
kinds = {
    "one frame": (wider, {"numbers": (1,)}),
    "several frames": (channels, {"numbers": (1, 3, 5, 7)}),
    "several, motion unsure": (channels, {"numbers": (1, 3, 5, 7), "wrong": 0.5}),
}
rows = {
    kind: (width, *count_weights(Fusion(width), max(options["numbers"])))
    for kind, (width, options) in kinds.items()
}
pd.DataFrame(rows, index=["channels", "parameters", "of which work"]).T

# %% [markdown]
# The test: sequences from the test photographs, as from a camera in a hand, three frames of each to
# be enlarged. Neighbours are the frames before and after. The third network waits until section 6.
#
# *Predict:* how many decibels will two neighbours bring, and how many the next two? There are nine
# phases. And what if the camera stands still?


# %% tags=["folded", "experiment"]
# @title Enlarge the first of some frames
@torch.inference_mode()
def enlarge(network, frames, offsets, mask=None):
    """Enlarge the first of some frames: uint8 (T, h, w, 3), HR pixels (T, 2) -> uint8."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames)).to(device).movedim(-1, -3) / 255
    offsets = torch.from_numpy(np.ascontiguousarray(offsets)).to(device)
    trust = 1.0 if mask is None else torch.from_numpy(mask).to(device)[None].float()
    return to_uint8(network(lay(tensor[None], offsets[None], trust)))


# %% tags=["folded", "experiment"]
# @title The clips to test on
def neighbours(total, target, number):
    """Indices of `number` frames around the target, the target first."""
    first = min(max(target - number // 2, 0), total - number)
    return [target] + [t for t in range(first, first + number) if t != target]


@functools.cache
def test_clips(number):
    """List (frames, offsets, HR image), the frame to be enlarged first."""
    clips = []
    for seed, name in enumerate(photos):
        path = walk(length, seed=100 + seed)
        frames = take(name, path)
        for target in (length // 4, length // 2, 3 * length // 4):
            chosen = neighbours(length, target, number)
            hr = original(name, path[target])
            clips.append((frames[chosen], path[chosen] - path[target], hr))
    return clips


# %% tags=["folded", "experiment"]
# @title Scores on them


def mean_db(network, number, change=lambda frames, offsets: offsets):
    """Mean PSNR on the test clips; `change` makes the offsets that the network is told."""
    return np.mean(
        [
            decibels(enlarge(network, frames, change(frames, offsets)), hr)
            for frames, offsets, hr in test_clips(number)
        ]
    )


# %% tags=["experiment"]
def score_fusion(network):
    """Mean PSNR on the middle frames of the test clips, with all frames that it may use."""
    clips = test_clips(max(network.numbers))[1::3]
    return np.mean([decibels(enlarge(network.fusion, f, o), hr) for f, o, hr in clips])


fusion_runs = compare_trainings(
    "14_fusion",
    {kind: (lambda of=of: FromClip(of[0], **of[1])) for kind, of in kinds.items()},
    ClipSampler,
    TrainConfig(steps=steps, learning_rate=2e-3),
    score_fusion,
    seeds=seeds,
    keep=list(kinds),
)

# %% tags=["folded"]
# @title The networks of the long run, scored with other numbers of frames
long_fusion = long_run("14_fusion")
networks = {
    kind: long_fusion.load(kind, FromClip(width, **options)).fusion.to(device)
    for kind, (width, options) in kinds.items()
}
numbers = (1, 3, 5, 7)
bicubic_db = np.mean([decibels(imresize(f[0], scale), hr) for f, _, hr in test_clips(1)])
single_db = mean_db(networks["one frame"], 1)
several_db = np.array([mean_db(networks["several frames"], number) for number in numbers])
solved_db = np.mean(
    [decibels(back_project(f, o, fill(f, o), "bicubic"), hr) for f, o, hr in test_clips(7)]
)
shipped = load_pretrained(f"srresnet_x{scale}").to(device)
shipped_db = np.mean([decibels(upscale(shipped, f[0]), hr) for f, _, hr in test_clips(1)])

# %% tags=["folded"]
# @title Draw the trainings
middle = test_clips(7)[1::3]
lines = {
    "bicubic": np.mean([decibels(imresize(f[0], scale), hr) for f, _, hr in middle]),
    "back-projection, seven": np.mean(
        [decibels(back_project(f, o, fill(f, o)), hr) for f, o, hr in middle]
    ),
}
show(
    plot_trainings(fusion_runs, long_fusion, baselines=lines, lowest_db=26),
    "PSNR against step for the three networks, here and in the long run, and level lines for "
    "bicubic interpolation and for back-projection, which only several frames with true motion "
    "pass, in the long run.",
)
long_fusion.table().round(2)

# %% tags=["folded"]
# @title Draw what each frame adds
figure, axes = plt.subplots(figsize=(9.5, 4))
axes.plot(numbers, several_db, "o-", color="C0", label="network, several frames")
axes.axhline(single_db, color="C1", label="network, one frame")
axes.axhline(bicubic_db, color="black", linestyle=":", label="bicubic, one frame")
axes.axhline(solved_db, color="black", linestyle="--", label="back-projection, seven")
axes.set(xlabel="frames", ylabel="PSNR (dB)", xticks=numbers)
axes.ticklabel_format(axis="y", useOffset=False)
axes.set_title("known motion: mean over test clips, networks of the long run")
figure.legend(loc="outside right upper")
show(
    figure,
    "PSNR against the number of frames: a curve that rises steeply to three frames and then "
    "flattens, from below the network for one frame to above back-projection.",
)


# %% tags=["folded"]
# @title Offsets that are estimated
def estimated(estimator):
    """Replace the known offsets by estimated ones, rounded to the HR grid."""

    def change(frames, offsets):
        found = [estimator(frames[0], frame) for frame in frames[1:]]
        return np.rint(scale * np.array([(0, 0), *found])).astype(int)

    return change


# %% tags=["folded"]
# @title Score other ways to align
still = [(np.stack([f[0]] * 7), np.zeros((7, 2), int), hr) for f, _, hr in test_clips(1)]
fusing = networks["several frames"]
rows = {
    "bicubic": bicubic_db,
    "network for one frame": single_db,
    "seven, motion known": several_db[-1],
    "seven, phase correlation": mean_db(fusing, 7, estimated(by_phase)),
    "seven, optical flow": mean_db(fusing, 7, estimated(estimators["flow, median"])),
    "seven, not aligned": mean_db(fusing, 7, lambda f, o: 0 * o),
    "seven, camera stands still": np.mean(
        [decibels(enlarge(fusing, f, o), hr) for f, o, hr in still]
    ),
    "seven, motion known, back-projection": solved_db,
    "one, the course's srresnet_x3": shipped_db,
}
fused_db = pd.Series(rows, name="PSNR (dB)").to_frame()
fused_db.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The first two neighbours bring most; the more of the nine phases are there, the less is left for
# the next. From five to seven nothing is gained. Given one frame alone, the network for several is
# behind the other one: only a quarter of its training was for that. Where the camera stands still,
# seven frames are one frame, as the table says: the gain comes from **motion**.
#
# In the first seconds of training the networks are behind back-projection, which needs none. In the
# long run the one for several frames, with true motion, passes it.
#
# The hole in the curve of several frames is one training of three. At one checkpoint it is far
# below bicubic, at the next it is back near the others. Whoever scores the last step alone
# never sees it.
#
# </details>
#
# - The estimate is rounded to the HR grid, on which the true motion lies here. Real motion lies
#   anywhere, so with real frames some error remains, up to a sixth of an LR pixel along each axis.
# - Back-projection learns nothing, but it knows the blur exactly, and has twenty rounds. The
#   networks had to find the blur by themselves. What they know besides is how pictures look.
# - The last row is the course's large network, with many times the parameters and the training, and
#   one frame. The small one with seven frames is ahead of it by a decibel. EDVR and BasicVSR have
#   both, size and frames.

# %% tags=["folded"]
# @title Look at the page once more
frames, offsets, hr = test_clips(7)[3 * photos.index("page") + 1]
box = (scale * side // 4, scale * side // 4, scale * side // 2, scale * side // 2)
versions = {
    "original": hr,
    "bicubic": imresize(frames[0], scale),
    "network, one frame": enlarge(networks["one frame"], frames[:1], offsets[:1]),
    "network, seven frames": enlarge(networks["several frames"], frames, offsets),
}
show(
    zoom_grid(versions, box, reference="original", scale=scale),
    "The page: original, bicubic, the network with one frame, and, sharpest, with seven.",
)

# %% [markdown]
# ## 6. When the alignment is wrong
#
# Now each neighbour's offset is wrong by a given length, in a random direction. Then it is rounded
# to whole HR pixels, as every estimate above was. So a small error is rounded away, and a larger
# one puts samples at least one HR pixel off, a third of an LR pixel.
#
# *Predict:* at which error would it have been better to take one frame alone? Half a pixel? A
# tenth?

# %% tags=["folded"]
# @title Score wrong offsets
wrong_by = np.array([0, 1 / 6, 0.18, 0.2, 0.25, 0.5, 0.75, 1.0])  # LR pixels
unmoved = np.zeros((1001, 2), int)
misplaced = [
    misplace(unmoved, error, np.random.default_rng(0))[1:].any(axis=1).mean() for error in wrong_by
]


def wrongly(error):
    random = np.random.default_rng(5)
    return lambda frames, offsets: misplace(offsets, error, random)


wrong_db = {
    kind: np.array([mean_db(networks[kind], 7, wrongly(error)) for error in wrong_by])
    for kind in ("several frames", "several, motion unsure")
}

# %% tags=["folded"]
# @title Draw what wrong alignment costs
trained_with = dict(zip(wrong_db, ("trained with true motion", "trained with wrong motion")))
figure, axes = plt.subplots(figsize=(9.5, 4))
for kind, values in wrong_db.items():
    axes.plot(wrong_by, values, "o-", label=f"seven,\n{trained_with[kind]}")
axes.axhline(single_db, color="C2", label="one frame")
axes.axhline(bicubic_db, color="black", linestyle=":", label="bicubic")
axes.axvspan(0, 0.5 / scale, color="0.9", label="rounded away")
axes.set(xlabel="error of the alignment (LR pixels)", ylabel="PSNR (dB)")
axes.ticklabel_format(axis="y", useOffset=False)
axes.set_title("wrong motion: mean over test clips, networks of the long run")
figure.legend(loc="outside right upper")
show(
    figure,
    "PSNR against the alignment error. Up to a sixth of a pixel it is level. Then the network that "
    "was trained with true motion falls at once below the line of one frame, the one that was "
    "trained with wrong motion slowly.",
)


# %% tags=["folded"]
# @title In numbers
print(f"one frame: {single_db:.2f} dB; bold: one frame would have been better")
columns = {f"{trained_with[kind]} (dB)": values for kind, values in wrong_db.items()}
wrong_table = pd.DataFrame(columns, index=pd.Index(wrong_by, name="error (LR pixels)"))
wrong_table.insert(0, "offsets that are wrong (%)", 100 * np.array(misplaced))
wrong_style = wrong_table.style.format(precision=2).format_index("{:.2f}")
wrong_style.format("{:.0f}", subset=wrong_table.columns[:1])
wrong_style.map(lambda db: "font-weight: bold" if db < single_db else "", subset=list(columns))

# %% [markdown]
# <details><summary>What happened</summary>
#
# Up to a sixth of an LR pixel the offsets round to the true ones. Just beyond, at 0.18, nearly half
# of them do not. With true motion in training that is too much already: the network trusts each
# sample, wherever it is told that it lies. The one that was **trained with wrong motion**, by up to
# half an LR pixel, gains a little less where all is right, and loses much less where it is not.
#
# </details>
#
# Larger networks learn the alignment themselves (deformable convolutions in EDVR, flow trained with
# the rest in BasicVSR). On telephones, Wronski and others weigh each sample by how well it agrees:
# a soft form of your mask.

# %% tags=["folded"]
# @title A slider for frames and errors
slider_clips = {name: test_clips(7)[3 * k + 1] for k, name in enumerate(photos)}
slider_rough = {name: imresize(clip[0][0], scale) for name, clip in slider_clips.items()}
rough_db = {name: decibels(slider_rough[name], clip[2]) for name, clip in slider_clips.items()}


def fused_picture(picture, frames, error, network):
    taken, offsets, hr = slider_clips[picture]
    told = misplace(offsets[:frames], error, np.random.default_rng(8))
    sr = enlarge(networks[network], taken[:frames], told)
    pictures = {"bicubic": slider_rough[picture], "network": sr, "original": hr}
    off = (told != offsets[:frames]).any(axis=1).sum()
    caption = f"bicubic {rough_db[picture]:.2f} dB, network {decibels(sr, hr):.2f} dB, "
    return side_by_side(pictures, 2), caption + f"{off} of {frames} frames misplaced"


fusion_slider = Explorer(
    fused_picture,
    picture=ipywidgets.Dropdown(options=photos, value="page"),
    network=ipywidgets.Dropdown(options=["several frames", "several, motion unsure"]),
    frames=ipywidgets.SelectionSlider(options=numbers, value=7),
    error=ipywidgets.FloatSlider(0, min=0, max=1.5, step=0.05, description="error (LR pixels)"),
)
fusion_slider

# %% [markdown]
# ## 7. Flicker
#
# A score looks at one frame at a time. A viewer sees a sequence, and notices at once if an edge
# that should stand still crawls. Enlarging each frame by itself does that: the frame's samples lie
# elsewhere each time, so its error is another one each time.
#
# The measure: bring consecutive outputs to the same place by the known motion (whole HR pixels, so
# exactly) and take the mean absolute difference.
#
# ### Exercise 14.4: find the bug
#
# Somebody wrote this. It runs, and gives a number for every method that looks like a result.
#
# ```python
# def flicker(lumas, path, margin):
#     inside, values = slice(margin, -margin), []
#     for first, second, move in zip(lumas, lumas[1:], np.diff(path, axis=0)):
#         moved = np.roll(second, tuple(-move), axis=(0, 1))
#         values.append(np.abs(first - moved)[inside, inside].mean())
#     return np.mean(values)
# ```
#
# Test a measure on something whose value you know. The originals are cut from one photograph, so
# nothing flickers in them: `flicker(lumas, test_path, margin)` must be 0. Find the bug, and write
# it right.

# %%
test_path = walk(length, seed=3)
lumas = np.array([rgb_to_y(original("page", place)) for place in test_path])  # (T, H, W)


def flicker(lumas, path, margin):
    """Mean absolute difference of consecutive frames without the camera's motion, in grey levels.

    lumas: (T, H, W); path: (T, 2) where each frame's window lies, whole HR pixels, down and right.
    Compared are the pixels of the earlier frame that lie `margin` or more from its border; no step
    of the path is longer than that.
    """
    ### BEGIN SOLUTION
    inside, values = slice(margin, -margin), []
    for first, second, move in zip(lumas, lumas[1:], np.diff(path, axis=0)):
        moved = np.roll(second, tuple(move), axis=(0, 1))
        values.append(np.abs(first - moved)[inside, inside].mean())
    return np.mean(values)
    ### END SOLUTION


flicker = check("14.4", flicker)

# %%
# NBVAL_CHECK_OUTPUT
print("the originals flicker by", flicker(lumas, test_path, margin), "grey levels")

# %% [markdown]
# Two paths: a **tremor** within one LR pixel, as of a camera on a tripod in the wind, and a
# **walk** by hand.
#
# *Predict:* which is steadier, bicubic or the network for one frame?


# %% tags=["folded"]
# @title Enlarge all frames of a path
def enlarge_all(frames, path, kind, number):
    outputs = []
    for target in range(len(frames)):
        chosen = neighbours(len(frames), target, number)
        outputs.append(enlarge(networks[kind], frames[chosen], path[chosen] - path[target]))
    return outputs


@functools.cache
def all_outputs(name, tremor):
    """Return the path, and all outputs of each method."""
    random = np.random.default_rng(2)
    path = random.integers(0, scale, (length, 2)) if tremor else walk(length, seed=3)
    frames = take(name, path)
    return path, {
        "original": [original(name, place) for place in path],
        "bicubic": [imresize(frame, scale) for frame in frames],
        "network, one frame": enlarge_all(frames, path, "one frame", 1),
        "network, seven frames": enlarge_all(frames, path, "several frames", 7),
    }


# %%
rows = collections.defaultdict(list)
for name, tremor in itertools.product(photos, (True, False)):
    path, outputs = all_outputs(name, tremor)
    for method, sequence in outputs.items():
        value = flicker(np.array([rgb_to_y(picture) for picture in sequence]), path, margin)
        rows[method, "flicker, tremor" if tremor else "flicker, walk"].append(value)
        if not tremor and method != "original":
            score_of = map(decibels, sequence, outputs["original"])
            rows[method, "PSNR, walk (dB)"].append(np.mean(list(score_of)))
flicker_table = pd.Series({k: np.mean(v) for k, v in rows.items()}).unstack(sort=False)
print("flicker in grey levels of 255, mean over", len(photos), "photographs")
flicker_table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Bicubic. But the steadiest video is a grey one: blur has no fine structure that could
# flicker, so bicubic wins this column while it loses the PSNR. Compare methods of like sharpness,
# the two networks. With seven frames consecutive outputs rest on mostly the same samples, and
# flicker less, although they are sharper.
#
# </details>

# %% [markdown]
# A picture of it is the **time slice**: one row of the picture, for each frame, one under the
# other. What stands still is a straight vertical line.


# %% tags=["folded"]
# @title Cut the same row from all frames
def steady(outputs, path, size):
    """Cut the same piece of the scene from each frame: (T, size, size, 3)."""
    start = margin + scale
    return np.array(
        [
            sr[start - y : start - y + size, start - x : start - x + size]
            for sr, (y, x) in zip(outputs, path)
        ]
    )


path, outputs = all_outputs("page", True)
shown = min(72, scale * side - 2 * margin - 2 * scale)
scene = {method: steady(sequence, path, shown) for method, sequence in outputs.items()}
row = int(np.abs(np.diff(rgb_to_y(scene["original"][0]), axis=1)).sum(axis=1).argmax())

# %% tags=["folded"]
# @title Draw the time slices
slices = {
    method: frames[:, row].repeat(4, axis=0).repeat(4, axis=1) for method, frames in scene.items()
}
figure, panels = plt.subplots(2, 2, figsize=(10, 5.6))
for axes, (method, picture) in zip(panels.flat, slices.items()):
    axes.imshow(picture, extent=(0, shown, length, 0), aspect="auto")
    axes.set_title(method)
    axes.grid(False)
for axes in panels[-1]:
    axes.set_xlabel("HR pixel in the row")
for axes in panels[:, 0]:
    axes.set_ylabel("frame")
show(
    figure,
    "Time slices of one row under tremor: straight lines for the original, blurred and ragged "
    "ones for bicubic, sharper ones for the networks, with seven frames nearer to the original.",
)

# %% [markdown]
# ## 8. The result, moving
#
# The same as an animation: a PNG with several frames (APNG), which plays in JupyterLab, in exported
# pages and in every browser, without a video codec. The scene stands still; what moves is error.


# %% tags=["folded"]
# @title Make an animation
def animate(pictures, alt, milliseconds=120):
    """Display frames, uint8 (T, H, W, 3), as an animation of at most 64 colours."""
    images = [Image.fromarray(picture) for picture in pictures]
    palette = Image.fromarray(np.concatenate(pictures[:4])).quantize(64, dither=0)
    first, *rest = (image.quantize(palette=palette, dither=0) for image in images)
    file = io.BytesIO()
    first.save(file, "PNG", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    png = b64encode(file.getvalue()).decode()
    display({"image/png": png, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)
    return file.tell()


# %% tags=["folded"]
# @title Play it
methods = ("bicubic", "network, one frame", "network, seven frames")
stills = [{method: scene[method][t] for method in methods} for t in range(min(5, length))]
weight = animate(
    np.array([side_by_side(pictures, 3) for pictures in stills]),
    "Animation of a piece of a page, three times: enlarged by bicubic its letters are blurred and "
    "tremble, from one frame they are a little sharper, from seven frames the sharpest.",
)
print(f"{weight / 1000:.0f} kB")

# %% [markdown]
# ## 9. A video file of your own
#
# A minute of video is 1500 frames; at 1080p they fill 9 GB. So a video is never loaded. A
# **generator** hands out one frame at a time, the next function takes it, and only the frames in
# work are in memory. `srlib.video` reads and writes files in this way, with PyAV, the Python face
# of FFmpeg's libraries.
#
# What is special about real files, and what it does about it:
#
# - Telephones store the picture lying on its side, and an angle. It is turned.
# - The **frame rate may vary**. Each frame keeps its own time stamp, to 1/90000 s.
# - H.264 with 4:2:0 colour wants **even sides**. An odd side gets its last row or column twice.
# - What is no video, is empty or is cut off gives an error with the file's name.
# - **Sound is left out**, and so are subtitles.
#
# In between: a sliding window over the stream, for methods that look at neighbours, and the method.
# It estimates the motion and masks what moves by itself.


# %%
def sliding(timed_frames, reach):
    """Yield (time, [frame, up to 2 * reach neighbours ...]) with a few frames in memory."""
    stream = iter(timed_frames)
    held, place = collections.deque(itertools.islice(stream, reach + 1)), 0
    while place < len(held):
        others = [frame for k, (_, frame) in enumerate(held) if k != place]
        yield held[place][0], [held[place][1], *others]
        held.extend(itertools.islice(stream, 1))
        place += 1
        if place > reach:
            held.popleft()
            place -= 1


# %%
def enlarge_window(frames):
    """Enlarge the first frame, with what fits of the others after one motion for each."""
    kind = "one frame" if len(frames) == 1 else "several, motion unsure"
    found = [(0, 0), *(by_phase(frames[0], frame) for frame in frames[1:])]
    offsets = np.rint(scale * np.array(found)).astype(int)
    mask = make_mask(frames, offsets)
    return enlarge(networks[kind], np.stack(frames), offsets, mask)


def upscale_video(source, output=None, *, reach=0, progress=False):
    """Enlarge a video file frame by frame into an mp4 beside it; return its path."""
    source = Path(source)
    output = Path(output or source.with_name(f"{source.stem}_x{scale}.mp4"))
    windows = tqdm(sliding(read_frames(source), reach), desc=source.name, disable=not progress)
    write_frames(output, ((time, enlarge_window(frames)) for time, frames in windows))
    return output


# %% [markdown]
# The test file is made here: a walk over a photograph, with an uneven frame rate.
#
# *Predict:* H.264 throws away what the eye does not miss. Will seven frames still be worth more
# than one?

# %% tags=["folded"]
# @title Write a video file, and enlarge it twice
folder = tempfile.TemporaryDirectory()
test_file = Path(folder.name) / "walk.mp4"
path = walk(length, seed=100 + photos.index("page"))
times = [Fraction(t, 25) + Fraction(t % 3, 100) for t in range(length)]
write_frames(test_file, zip(times, take("page", path)))
made = {
    reach: upscale_video(test_file, Path(folder.name) / f"x{reach}.mp4", reach=reach)
    for reach in (0, 3)
}
decoded = {reach: list(read_frames(file)) for reach, file in made.items()}
kept = [time for time, _ in decoded[0]] == times
print(f"{len(decoded[0])} frames of {decoded[0][0][1].shape[:2]}, time stamps kept: {kept}")

# %% tags=["folded"]
# @title Score the results, and the same without a codec
size = scale * side
truth = [original("page", place) for place in path]
rows = {}
for reach, timed in decoded.items():
    windows = sliding(zip(times, take("page", path)), reach)
    raw = [enlarge_window(frames) for _, frames in windows]
    coded = [frame[:size, :size] for _, frame in timed]
    rows["7 frames" if reach else "1 frame"] = {
        "no codec": np.mean([decibels(*pair) for pair in zip(raw, truth)]),
        "through the codec twice": np.mean([decibels(*pair) for pair in zip(coded, truth)]),
    }
print("mean PSNR (dB)")
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# They are. The codec takes about a tenth of a decibel of the gain: to it, part of the aliasing is
# noise. These files have a high bit rate; what is left at a low one, the table does not tell.
#
# </details>
#
# Inside a telephone, multi-frame methods work on raw frames, before anything is compressed (Wronski
# et al., 2019).
#
# Does memory stay constant? The same file, read at once and one by one, and one four times as long:

# %% tags=["folded"]
# @title Measure the memory
long_file = Path(folder.name) / "long.mp4"
repeated = itertools.chain.from_iterable(itertools.repeat(list(take("page", path)), 4))
write_frames(long_file, ((Fraction(t, 25), frame) for t, frame in enumerate(repeated)))


def peak_kib(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 1024
    tracemalloc.stop()
    return peak


streamed = {
    "one by one": lambda f: collections.deque(sliding(read_frames(f), 3), maxlen=0),
    "as a list": lambda f: list(read_frames(f)),
}
rows = {
    way: [peak_kib(functools.partial(work, file)) for file in (test_file, long_file)]
    for way, work in streamed.items()
}
print("peak memory of NumPy and Python (KiB)")
memory = pd.DataFrame(rows, index=[f"{length} frames", f"{4 * length} frames"]).T
memory.round(0).astype(int)

# %% tags=["folded"]
# @title Files that are no videos
(Path(folder.name) / "notes.mp4").write_text("this is a text")
(Path(folder.name) / "empty.mp4").touch()
(Path(folder.name) / "cut.mp4").write_bytes(test_file.read_bytes()[:1500])
for name in ("notes.mp4", "empty.mp4", "cut.mp4", "missing.mp4"):
    try:
        upscale_video(Path(folder.name) / name)
    except (ValueError, OSError) as error:
        print(type(error).__name__, str(error).replace(f"{folder.name}{os.sep}", ""))
print("left in the folder:", sorted(file.name for file in Path(folder.name).iterdir()))

# %% [markdown]
# Now yours: set `video` in the parameters cell to a path, run that cell and the next one. The
# result lies beside your file, `NAME_x3.mp4`; an older one is replaced. Begin with a short,
# small video. `video_reach = 3` fuses seven frames. One motion is estimated for the whole frame, so
# what moves by itself is masked, and is enlarged as from one frame.

# %% tags=["folded"]
# @title Enlarge your video
if video is None:
    print("no video given: set video in the parameters cell")
else:
    source = Path(video).expanduser()
    enlarged_file = upscale_video(source, reach=video_reach, progress=True)
    (_, small), (_, large) = (next(read_frames(file)) for file in (source, enlarged_file))
    show(compare({"first frame": small, "enlarged": large}), "The first frame of your own video.")
    print("written to", enlarged_file)

# %% [markdown]
# ## 10. Measure something of your own
#
# **Open.** The mask gives the coin back as one frame shows it. Yet seven frames show the coin, each
# at other points: align it by its **own** motion, which you know here, and let the mask decide
# which samples fit which motion. How much better do the coin, its wake and the rest become? Or ask
# something else. Does a mask help where the camera's motion was estimated wrongly? How does the
# best tolerance change with frames of the kernel "box", which have more aliasing? Write down what
# you expect before you look.
#
# <details><summary>A sample answer</summary>
#
# ```python
# own_offsets = coin_offsets - push * (np.array(moments) - 3)[:, None]
# own_mask = make_mask(coin_frames, own_offsets)
# twice = [
#     np.concatenate([of_camera, of_coin[1:]])
#     for of_camera, of_coin in (
#         (coin_frames, coin_frames), (coin_offsets, own_offsets), (coin_mask, own_mask))
# ]
# print(in_regions(back_project(*twice[:2], rough, trust=twice[2], rounds=40)))
# ```
#
# The coin comes to 24.2 dB (measured, with these lines), which is 1.2 more than with the mask
# alone; its wake and the rest stay where they are. It takes 40 rounds, because the change of a
# round is divided among nearly twice as many frames, and the mask leaves little of most. Where
# nothing is known about the coin, its motion has to be estimated first, for instance by optical
# flow where the mask has its hole.
#
# </details>

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers
one, most = classical_db.loc[("bicubic", 1)].iloc[0], classical_db.loc[("bicubic", 9)].iloc[2]
print(f"nine frames with known motion, no learning: {most - one:+.2f} dB over bicubic")
one, most = classical_db.loc[("box", 1)].iloc[0], classical_db.loc[("box", 9)].iloc[2]
print(f"the same from frames with less blur: {most - one:+.2f} dB")
for kernel in ("bicubic", "nearest"):
    median = np.median(errors["phase, 1/20, Hann", kernel])
    print(f"phase correlation on {kernel} frames: median error {median:.3f} LR pixels")
for region, gain in coin_db.loc["the mask's gain"].items():
    print(f"a mask against the ghost, {region}: {gain:+.2f} dB")
print(long_fusion.summary())
for number, gain in zip(numbers, several_db - single_db):
    print(f"the network for several, given {number}, against that for one: {gain:+.2f} dB")
tremble = flicker_table["flicker, tremor"]
for method in methods:
    print(f"flicker under tremor, {method}: {tremble[method]:.2f} grey levels")

# %% [markdown]
# - Sub-pixel motion and aliasing carry detail from frame to frame. Without motion there is none,
#   and what the blur removed from all frames stays lost.
# - In the median, flow finds the motion of a textured frame to a tenth of a pixel or better. In
#   flat, repeating and far-moved pictures it goes wrong, and nothing in the number says so.
# - What moves by itself leaves a ghost, which costs more than all frames together gain. A mask from
#   the residual removes it, and costs a little where aliasing looks like motion.
# - Flicker is a quality of its own, which PSNR of single frames does not see.
# - A network for several frames needs training to be worth it: after seconds it is behind a method
#   that learns nothing, in the long run ahead. Trained with true motion alone, it trusts blindly.
#
# ## Pitfalls
#
# - **A path in LR pixels, rounded.** A motion of whole LR pixels brings nothing new. Test clips
#   whose motion is made by interpolation are blurred by it, and flatter the method.
# - **Which way is positive.** scikit-image's phase correlation returns the shift that brings the
#   moving picture back, its flow points the other way. Test with a known motion before all else.
# - **The half pixel.** The centre of LR pixel i is at HR coordinate s i + (s - 1) / 2. Forgotten,
#   it shifts all samples alike: the picture looks right, and scores badly.
# - **Scenes in both sets.** Frames of one scene are nearly the same picture. Split by scene.
# - **Which frames are scored.** Vid4 has four short clips, REDS4 four of the training scenes of
#   REDS. Papers score RGB or Y, drop the first and last frames or do not, and blur with "BI"
#   (bicubic) or "BD" (Gaussian, sigma 1.6, then every fourth pixel). Numbers of different protocols
#   may not stand in one table.
# - **A mask that is too strict** takes aliasing for motion, and throws away what you came for.
# - **Cuts between scenes.** A window of seven frames must not reach across.
# - **Interlaced and HDR video** needs care before any of this: here it is read as 8-bit RGB as is.
#
# ## Further reading
#
# - R. Y. Tsai, T. S. Huang, "Multiframe image restoration and registration", Advances in Computer
#   Vision and Image Processing 1, 1984. The first: aliasing over several frames, in frequencies.
# - M. Irani, S. Peleg, "Improving resolution by image registration", CVGIP: Graphical Models and
#   Image Processing 53(3), 1991. Back-projection.
# - S. C. Park, M. K. Park, M. G. Kang, "Super-resolution image reconstruction: a technical
#   overview", IEEE Signal Processing Magazine 20(3), 2003.
# - B. D. Lucas, T. Kanade, "An iterative image registration technique with an application to stereo
#   vision", IJCAI, 1981; G. Le Besnerais, F. Champagnat, "Dense optical flow by iterative local
#   window registration", ICIP, 2005. The flow of section 3.
# - M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, "Efficient subpixel image registration
#   algorithms", Optics Letters 33(2), 2008. The refined peak.
# - J. Caballero et al., "Real-time video super-resolution with spatio-temporal networks and motion
#   compensation", CVPR, 2017. VESPCN: warp, then early fusion.
# - X. Tao, H. Gao, R. Liao, J. Wang, J. Jia, "Detail-revealing deep video super-resolution", ICCV,
#   2017. Sub-pixel motion compensation.
# - X. Wang, K. C. K. Chan, K. Yu, C. Dong, C. C. Loy, "EDVR: video restoration with enhanced
#   deformable convolutional networks", CVPR Workshops, 2019.
# - K. C. K. Chan, X. Wang, K. Yu, C. Dong, C. C. Loy, "BasicVSR: the search for essential
#   components in video super-resolution and beyond", CVPR, 2021. Features travel through the clip.
# - B. Wronski et al., "Handheld multi-frame super-resolution", ACM Transactions on Graphics 38(4)
#   (SIGGRAPH), 2019. From the tremor of a hand to a telephone's zoom.
# - G. Bhat, M. Danelljan, L. Van Gool, R. Timofte, "Deep burst super-resolution", CVPR, 2021.
# - S. Nah et al., "NTIRE 2019 challenge on video deblurring and super-resolution: dataset and
#   study", CVPR Workshops, 2019. REDS.
# - C. Liu, D. Sun, "On Bayesian adaptive video super resolution", IEEE Transactions on Pattern
#   Analysis and Machine Intelligence 36(2), 2014. The clips that became Vid4.
