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
# # 03 Measuring quality: why is my PSNR 2 dB off
#
# A paper says 28.42 dB. Your code says 26.69, for the same method on the same images. Nobody
# lied. Between the two numbers stands a protocol that neither of you wrote down. This notebook
# builds the two scores of the field, takes the protocol apart, and measures what each part of it
# is worth.
#
# **After this you can**
#
# - write PSNR and luma yourself, and say what an SSIM adds;
# - score a picture exactly as the tables of the field do;
# - name the deviation when a published number does not agree with yours.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 1 minute on two CPU cores;
# calculated, not measured: 1 on a T4 GPU, 1 on an A100.

# %% tags=["folded"]
# @title Imports
import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from PIL import Image
from skimage.filters import gaussian
from skimage.metrics import structural_similarity

from srlib.assets import data_file, is_cached, sample_image
from srlib.data import load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import evaluate, published_results
from srlib.exercises import check, hint  # noqa: F401 (hint is for you)
from srlib.figures import compare, error_map, show
from srlib.image import rgb_to_y, to_float, to_uint8
from srlib.metrics import EvalProtocol, psnr, score, ssim
from srlib.resample import imresize, modcrop
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
photo_names = by_profile(
    ci=("chelsea",),
    cpu=("astronaut", "chelsea", "coffee", "rocket"),
    gpu=("astronaut", "chelsea", "coffee", "rocket"),
)
bisection_steps = by_profile(ci=10, cpu=20, gpu=20)  # in the search for equal PSNR

# %% [markdown]
# A photograph and six copies. Each copy is wrong in another way, and all have the same PSNR, within
# half a decibel.
#
# *Predict:* which one would you call the best, which the worst? Will the SSIM, the other score of
# the field, agree with you?

# %%
photo = imresize(sample_image("coffee")[60:340, 150:450], 0.8)  # (224, 240, 3)

# %% tags=["folded"]
# @title Six ways to damage a picture


def jpeg(image, quality):
    """Write and read a JPEG file in memory."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(quality))
    return np.array(Image.open(buffer))


def shift(image, distance):
    """Move to the right by a fraction of a pixel; the left edge is repeated."""
    position = np.clip(np.arange(image.shape[1]) - distance, 0, None)
    left = np.floor(position).astype(int)
    part = (position - left)[:, None]
    right = np.minimum(left + 1, image.shape[1] - 1)
    return image[:, left] * (1 - part) + image[:, right] * part


noise = np.random.default_rng(0).normal(size=photo.shape)
distortions = {  # each gets the picture and a strength in 0..1
    "noise": lambda image, s: image + 60 * s * np.resize(noise, image.shape),
    "blur": lambda image, s: 255 * gaussian(image / 255, 0.1 + 6 * s, channel_axis=2),
    "shift": lambda image, s: shift(image, 12 * s),
    "contrast": lambda image, s: 128 + (image - 128.0) * (1 - s),
    "brightness": lambda image, s: image + 80.0 * s,
    "JPEG": lambda image, s: jpeg(image, 96 - 95 * s),
}


def distort(image, name, strength):
    """Return a distorted copy: uint8 (H, W, 3)."""
    return np.clip(np.floor(distortions[name](image, strength) + 0.5), 0, 255).astype(np.uint8)


# %% tags=["folded"]
# @title Find the strength for a PSNR, and draw the copies
def strength_for(name, target_db):
    """Find the strength that gives a PSNR, by halving the interval."""
    low, high = 0.0, 1.0
    for _ in range(bisection_steps):
        middle = (low + high) / 2
        better = psnr(distort(photo, name, middle), photo, data_range=255) > target_db
        low, high = (middle, high) if better else (low, middle)
    return low


strengths = {name: strength_for(name, 26.5) for name in distortions}
equals = {name: distort(photo, name, strength) for name, strength in strengths.items()}
show(
    compare(
        {"original": photo}
        | {
            f"{name}: {psnr(image, photo, data_range=255):.1f} dB, "
            f"SSIM {ssim(image, photo, data_range=255):.2f}": image
            for name, image in equals.items()
        }
    ),
    "A coffee cup, and six copies with equal PSNR: noise, blur, shift, contrast, brightness, JPEG. "
    "They look very different.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# You have probably called the shift, the contrast or the brightness best, and noise, blur or JPEG
# worst. The PSNR makes no difference. The SSIM puts noise last by far and JPEG next to it, as you
# may have done, but the blur level with contrast, brightness and shift.
#
# </details>

# %% [markdown]
# ## 1. From differences to decibels
#
# The **mean squared error** (MSE) averages the squares of all differences, over pixels and
# colours. The **peak signal-to-noise ratio** puts it on a logarithmic scale, against the largest
# value that a pixel can have:
#
# $$ \mathrm{PSNR} = 10 \log_{10} \frac{\text{peak}^2}{\mathrm{MSE}} $$
#
# *Predict:* two pictures differ by exactly one grey level of 255 everywhere. How many dB? And
# what does half the error change?
#
# ### Exercise 03.1
#
# Write it for arrays of any shape. Mind that images are uint8. Stuck? Run `hint("03.1")` in a cell
# of your own; each call says more.


# %%
def my_psnr(prediction, target, data_range):
    """Peak signal-to-noise ratio in dB of two arrays of one shape."""
    ### BEGIN SOLUTION
    difference = prediction.astype(float) - target.astype(float)
    return 10 * np.log10(data_range**2 / np.mean(difference**2))
    ### END SOLUTION


my_psnr = check("03.1", my_psnr)

# %%
# NBVAL_CHECK_OUTPUT
for error in (1, 2, 4, 8, 16, 32):
    flat = np.zeros((8, 8), dtype=np.uint8)
    print(f"off by {error:2} grey levels: {my_psnr(flat + np.uint8(error), flat, 255):.2f} dB")
print(f"half the error: {20 * np.log10(2):+.2f} dB")
print(f"one tenth of a decibel: {100 * (10 ** (0.1 / 20) - 1):.1f} % of the error")

# %% [markdown]
# <details><summary>What happened</summary>
#
# One grey level everywhere is 48.13 dB. Half the error is 6.02 dB more.
#
# </details>
#
# One tenth of a decibel is 1.2 % of the error. Papers are proud of tenths, so a tenth lost in the
# protocol matters.

# %% [markdown]
# ## 2. What PSNR does not see
#
# Move the strength, and change the kind. The caption has both scores. Look for pairs that score
# alike and look different: a shift by one pixel, say, and strong noise.
#
# *Predict:* the SSIM is said to forgive brightness and contrast. Does it, whatever the strength?


# %% tags=["folded"]
# @title The slider of distortions
def distorted(image, kind, strength):
    """Draw a distorted copy with its scores, at twice its size."""
    result = distort(image, kind, strength)
    scores = psnr(result, image, data_range=255), ssim(result, image, data_range=255)
    caption = f"PSNR {scores[0]:.2f} dB, SSIM {scores[1]:.3f}"
    return result.repeat(2, 0).repeat(2, 1), caption


distortion_slider = Explorer(
    distorted,
    photo=PhotoPicker("coffee", max_side=240),
    kind=ipywidgets.Dropdown(options=list(distortions), description="kind"),
    strength=ipywidgets.FloatSlider(0.2, min=0.05, max=1, step=0.01, description="strength"),
)
distortion_slider

# %% [markdown]
# For print, one score against the other. At one place on the horizontal axis all copies have the
# same PSNR.

# %%
levels_db = (20, 23, 26.5, 30, 34)
curves = {}  # name -> SSIM at each level
for name in distortions:
    copies = [distort(photo, name, strength_for(name, level)) for level in levels_db]
    curves[name] = [ssim(copy, photo, data_range=255) for copy in copies]
pd.DataFrame(curves, index=[f"{level} dB" for level in levels_db]).T.round(2)

# %% tags=["folded"]
# @title Draw the SSIM against the PSNR
figure, axes = plt.subplots(figsize=(8, 4.2))
for name, values in curves.items():
    axes.plot(levels_db, values, "o-", label=name)
axes.set(xlabel="PSNR (dB)", ylabel="SSIM", title="Two scores of the same copies")
axes.legend(loc="lower right", ncols=2)
show(
    figure,
    "SSIM against PSNR, a curve for each of six distortions. Noise is lowest everywhere, JPEG next "
    "to it. At 20 dB brightness and contrast are highest; at 34 dB shift and blur are, and "
    "contrast is nearly as low as JPEG.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Only where they are strong. At 20 dB brightness and contrast stand above all others. At 26.5 dB
# they are level with shift and blur, and at 34 dB below them. What the SSIM never forgives, in this
# picture, is noise, and next to it JPEG.
#
# </details>
#
# So "SSIM sees what the eye sees" says too much: it takes nearly as much off for a shift, which one
# hardly notices, as for a blur.

# %% [markdown]
# ## 3. Structure
#
# The **structural similarity** (SSIM) compares small windows instead of single pixels. In each
# window it asks three things: is the mean equal, is the spread equal, do the pixels rise and fall
# together?
#
# $$
# \mathrm{SSIM} = \frac{2\mu_x\mu_y + c_1}{\mu_x^2 + \mu_y^2 + c_1} \cdot
# \frac{2\sigma_{xy} + c_2}{\sigma_x^2 + \sigma_y^2 + c_2}
# $$
#
# $\mu$ are the means and $\sigma$ the variances and the covariance in a window. The field's window
# is a Gaussian of 11 x 11 pixels with a spread of 1.5. The result is 1 for equal pictures.
#
# *Predict:* where in the picture does a blurred copy lose most, at the edges of the cup or on
# the table?

# %%
_, similarity = structural_similarity(
    rgb_to_y(equals["blur"]),
    rgb_to_y(photo),
    data_range=255,
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
    full=True,
)

# %% tags=["folded"]
# @title Draw the map
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), width_ratios=(1, 1, 1.2))
panels[0].imshow(photo)
panels[1].imshow(equals["blur"])
drawn = panels[2].imshow(similarity, vmin=0, vmax=1, cmap="cividis")
for axes, title in zip(panels, ("original", "blurred", "SSIM of each window")):
    axes.set_title(title)
    axes.set_axis_off()
figure.colorbar(drawn, ax=panels[2], label="SSIM")
show(
    figure,
    "A cup, a blurred copy, and a map of the SSIM: low at edges, glints and on the "
    "grain of the wood, high on smooth areas.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# At the edges, and most of all where small glints were: on the spoon and on the handle. There the
# blur has taken all structure away. The saucer and the coffee are smooth and stay near 1. The wood
# of the table, in the upper corners, does not: its grain is fine, and the blur has taken it.
#
# </details>

# %% [markdown]
# ## 4. Luma
#
# The tables of the field do not score red, green and blue. They score one channel, the **luma**
# Y, because the eye sees detail in brightness far better than in colour:
#
# $$ Y = 16 + \frac{65.481\,R + 128.553\,G + 24.966\,B}{255} $$
#
# This is the *studio range*: black is 16 and white is 235. It is what MATLAB's `rgb2ycbcr` gives.
#
# ### Exercise 03.2
#
# Write it. The result is in floating point and not rounded.


# %%
def my_luma(image):
    """Luma in the studio range: uint8 (H, W, 3) -> float (H, W)."""
    ### BEGIN SOLUTION
    red, green, blue = np.moveaxis(image.astype(float), 2, 0)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    ### END SOLUTION


my_luma = check("03.2", my_luma)

# %% [markdown]
# *Predict:* from black to white are 255 levels in RGB and 219 in luma, and the peak of the PSNR
# stays 255. What does this alone do to the score of a grey picture?

# %%
# NBVAL_CHECK_OUTPUT
grey = np.repeat(sample_image("camera")[:256, :256, :1], 3, axis=2)
off = np.clip(grey.astype(int) + 5, 0, 255).astype(np.uint8)
as_grey = my_psnr(off[..., 0], grey[..., 0], 255)
as_luma = my_psnr(my_luma(off), my_luma(grey), 255)
print(f"grey levels {as_grey:.2f} dB, luma {as_luma:.2f} dB, difference {as_luma - as_grey:.2f} dB")
print(f"20 log10(255 / 219) = {20 * np.log10(255 / 219):.2f} dB")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The same errors count for less, because they span 219 of 255 levels: the score rises by 1.32 dB.
# Nothing in the picture has become better.
#
# </details>

# %% [markdown]
# ## 5. The protocol
#
# Three more rules, and the number is the one of the tables:
#
# 1. The output is rounded and clipped to 8 bits, as a file would be.
# 2. At x4, four pixels are cut off on every side. What lies beyond the border is guesswork.
# 3. Each image has its own score, and the table states the mean of the scores.
#
# ### Exercise 03.3
#
# Write the PSNR of the tables for one image. `my_luma` and `my_psnr` are at hand.


# %%
def my_score(sr, hr, scale):
    """PSNR in dB by the protocol: two uint8 images (H, W, 3), both of the same size."""
    ### BEGIN SOLUTION
    inside = (slice(scale, -scale), slice(scale, -scale))
    return my_psnr(my_luma(sr)[inside], my_luma(hr)[inside], 255)
    ### END SOLUTION


my_score = check("03.3", my_score)

# %% [markdown]
# Bicubic interpolation under your score. If Set5 is on this computer it is used, otherwise four
# photographs that came with the course (`python -m srlib fetch Set5` loads it, 3 MB).

# %%
if is_cached("Set5/x4"):
    title, images = "Set5", load_images("Set5", 4)
else:
    title, images = "photographs", {name: sample_image(name) for name in photo_names}
pairs = make_pairs(images, 4)


def bicubic(lr):
    """Enlarge by 4: uint8 (H, W, 3) -> uint8 (4H, 4W, 3)."""
    return imresize(lr, 4)


table = evaluate(bicubic, pairs, 4, progress=False)
table.insert(0, "my_score", [my_score(bicubic(lr), hr, 4) for _, lr, hr in pairs] + [np.nan])
print(f"bicubic x4 on {title}")
table.round(4)

# %%
published = published_results(4).query("network == 'bicubic'")
print(*published["source"].unique(), sep="\n")
published[["dataset", "psnr_db", "ssim"]]

# %% [markdown]
# On Set5 that is 28.43 dB (`python -m srlib evaluate --method bicubic`) against the published
# 28.42. Even the last hundredth has a cause: the early papers shrank and enlarged the luma alone,
# rounded to 8 bits. You will see it in the audit.

# %% [markdown]
# ## 6. The audit
#
# Now the protocol is broken, one rule at a time. First the rules of scoring.
#
# *Predict:* which of these is worth more than a decibel?


# %%
def mean_score(function):
    """Mean PSNR and SSIM over all pairs of function(lr, hr) -> (PSNR, SSIM)."""
    return tuple(np.mean([function(pair.lr, pair.hr) for pair in pairs], axis=0))


def with_protocol(**rules):
    """Score bicubic interpolation by another protocol."""
    protocol = EvalProtocol(**rules)
    exact = not protocol.round_output  # then the output stays in floating point
    return mean_score(
        lambda lr, hr: score(bicubic(lr.astype(float) if exact else lr), hr, 4, protocol)
    )


def default_ssim(lr, hr):
    """Compute the SSIM with scikit-image's default window, 7 x 7 and uniform."""
    sr_luma, hr_luma = (rgb_to_y(image)[4:-4, 4:-4] for image in (bicubic(lr), hr))
    return score(bicubic(lr), hr, 4)[0], structural_similarity(sr_luma, hr_luma, data_range=255)


audit = {
    "reference protocol": with_protocol(),
    "RGB instead of Y": with_protocol(channel="rgb"),
    "full-range Y": with_protocol(channel="y_full"),
    "no border crop": with_protocol(border=0),
    "output not rounded": with_protocol(round_output=False),
    "scikit-image's default SSIM (7x7 uniform window)": mean_score(default_ssim),
}

# %% [markdown]
# One more rule of scoring: the mean over images. Pooling all pixels before the logarithm changes
# two things: bad images count more, and so do large ones. The score may go up or down.

# %%
lumas = [[rgb_to_y(i)[4:-4, 4:-4].ravel() for i in (bicubic(p.lr), p.hr)] for p in pairs]
sr_pixels, hr_pixels = (np.concatenate(parts) for parts in zip(*lumas))
audit["MSE pooled over images before the logarithm"] = (
    psnr(sr_pixels, hr_pixels, data_range=255),
    np.nan,
)

# %% [markdown]
# Then the rules of making images. Here the score is right, and either the LR image or the
# enlargement was made by another resize of the same name.


# %%
def pillow_bicubic(image, scale):
    """Pillow's bicubic: a = -0.5, antialiased."""
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def torch_bicubic(image, scale, antialias):
    """Torch's bicubic: a = -0.75 without antialiasing, a = -0.5 with it."""
    resize = torch.nn.functional.interpolate
    return to_uint8(
        resize(to_float(image), scale_factor=scale, mode="bicubic", antialias=antialias)
    )


other_lr = {
    "LR by Pillow bicubic": lambda hr: pillow_bicubic(hr, 1 / 4),
    "LR by torch interpolate with antialias": lambda hr: torch_bicubic(hr, 1 / 4, True),
    "LR without antialiasing": lambda hr: imresize(hr, 1 / 4, antialias=False),
    "LR by box average": lambda hr: imresize(hr, 1 / 4, kernel="box"),
    "LR with JPEG quality 90": lambda hr: jpeg(imresize(hr, 1 / 4), 90),
}
for name, shrink in other_lr.items():
    audit[name] = mean_score(lambda lr, hr, shrink=shrink: score(bicubic(shrink(hr)), hr, 4))


# %%
def luma_only(lr, hr):
    """Shrink and enlarge the luma, in 8 bits, as papers did before 2016."""
    luma = np.floor(rgb_to_y(hr) + 0.5).astype(np.uint8)  # (H, W)
    return score(bicubic(imresize(luma, 1 / 4)), luma, 4)


def one_pixel_off(lr, hr):
    """Move the output right and down by one pixel."""
    return score(np.roll(bicubic(lr), (1, 1), axis=(0, 1)), hr, 4)


audit["everything on 8-bit luma"] = mean_score(luma_only)
audit["output enlarged by torch (a = -0.75)"] = mean_score(
    lambda lr, hr: score(torch_bicubic(lr, 4, False), hr, 4)
)
audit["output shifted by one pixel"] = mean_score(one_pixel_off)

# %% [markdown]
# The result, beside the same audit of a strong network. IMDN (Hui et al. 2019) was scored for
# this course with its published weights on Set5 x4; the file is
# `data/records/protocol_audit_imdn.csv`.

# %%
audit_table = pd.DataFrame(audit, index=["PSNR (dB)", "SSIM"]).T
audit_table.insert(1, "change (dB)", audit_table["PSNR (dB)"] - audit["reference protocol"][0])
imdn = pd.read_csv(data_file("records/protocol_audit_imdn.csv"), index_col="deviation")
audit_table["IMDN on Set5 (dB)"] = imdn["psnr_db"]
imdn_change = imdn["psnr_db"] - imdn.loc["reference protocol", "psnr_db"]
audit_table["IMDN change (dB)"] = imdn_change
print(f"bicubic x4 on {title}")
audit_table.round(3)

# %% tags=["folded"]
# @title Draw the changes
changes = audit_table[["change (dB)", "IMDN change (dB)"]]
changes = changes.drop(["reference protocol", "scikit-image's default SSIM (7x7 uniform window)"])
changes = changes.sort_values("change (dB)", ascending=False)
figure, axes = plt.subplots(figsize=(10, 5.6))
places = np.arange(len(changes))
axes.barh(places + 0.2, changes["change (dB)"], 0.4, label=f"bicubic on {title}")
axes.barh(places - 0.2, changes["IMDN change (dB)"], 0.4, label="IMDN on Set5")
axes.axvline(0, color="black", linewidth=1)
axes.set_yticks(places, changes.index, fontsize=10)
axes.set(xlabel="change of the PSNR (dB)", xlim=(-3.2, 0.6), title="What each deviation is worth")
axes.grid(axis="y", visible=False)
cut_off = list(changes.index).index("LR without antialiasing")
label = f"IMDN: {changes['IMDN change (dB)'].iloc[cut_off]:.2f} dB"
axes.text(-3.15, cut_off - 0.2, label, color="white", va="center", fontsize=10)
for place in places[changes["IMDN change (dB)"].isna()]:
    axes.text(-0.04, place - 0.2, "not measured", va="center", ha="right", fontsize=9, color="C1")
axes.legend(loc="lower left")
show(
    figure,
    "Bars of the change in PSNR for each deviation. For bicubic RGB, full-range luma and a shift "
    "by one pixel cost more than a decibel; for IMDN also three ways to make the LR image: box "
    "average, JPEG, and above all no antialiasing. Three of IMDN say that they were not measured.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# For bicubic three: a shift by one pixel, RGB, and the full-range luma. For IMDN also LR images by
# box averages, with JPEG, and without antialiasing; its shift was not measured.
#
# </details>
#
# So, 28.42 and 26.69: whoever finds 1.7 dB too little has most likely scored RGB. At 1.3 dB too
# little it is the full-range luma. Without the border crop bicubic stays where it is, and IMDN
# loses a tenth. A shift by a pixel costs 2.1 dB on Set5. How much it costs depends on the picture.
#
# The two methods do not suffer alike. LR images made by box averages cost bicubic nothing and the
# network two decibels, because it has learned what the right LR images look like.
#
# A deviation can also *raise* a score. A larger number is no proof of a better method.
#
# ### Exercise 03.4: find the bug
#
# A colleague's SSIM is a little too high. Here is its heart, the SSIM of a single window, without
# weights. A picture compared with itself must give 1, because the formula says so.


# %%
def colleagues_ssim(x, y):
    """SSIM of one window: floats in 0..255 of one shape -> float."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = np.cov(x.ravel(), y.ravel())[0, 1]
    means = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
    return means * (2 * covariance + c2) / (x.var() + y.var() + c2)


window = rgb_to_y(photo)[20:31, 30:41]  # (11, 11), on the rim of the cup
other = rgb_to_y(equals["blur"])[20:31, 30:41]
print(f"with itself: {colleagues_ssim(window, window):.4f}")
print(f"with the blurred copy: {colleagues_ssim(window, other):.4f}")

# %% [markdown]
# More than 1 cannot be. Try smaller and larger windows: where is the error larger? Then write it
# right, so that variances and covariance are means over all pixels, as in the field.


# %%
def window_ssim(x, y):
    """SSIM of one window, variances and covariance divided by the number of pixels: -> float."""
    ### BEGIN SOLUTION
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    means = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
    return means * (2 * covariance + c2) / (x.var() + y.var() + c2)
    ### END SOLUTION


window_ssim = check("03.4", window_ssim)
print(f"repaired: {window_ssim(window, window):.4f} and {window_ssim(window, other):.4f}")

# %% [markdown]
# ## 7. Where the errors are
#
# A mean hides where a method fails. A map of the errors shows it.
#
# *Predict:* where will bicubic interpolation fail on a cat?

# %%
hr = modcrop(sample_image("chelsea"), 4)
show(
    error_map(bicubic(imresize(hr, 1 / 4)), hr, max_error=48),
    "Error of bicubic enlargement on a cat: bright along whiskers, eyes and fur.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Where brightness changes fast and thin: in the whiskers, around the eyes, and in the fur. The
# blurred background is dark, that is, right.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Pictures of equal PSNR can look entirely different. SSIM is strict with noise and JPEG, and
#   forgives brightness and contrast only where they are far off.
# - The tables score the luma in the studio range, which spans 219 levels: 1.32 dB more than the
#   same errors in grey levels.
# - A wrong colour space, a wrong range and a shift cost from 1.3 to 2.1 dB. The rounding and
#   Pillow's bicubic change hundredths at most, the border a tenth for IMDN, nothing for bicubic.

# %%
# NBVAL_CHECK_OUTPUT
lr = imresize(hr, 1 / 4)
print("chelsea, bicubic x4: {:.2f} dB, SSIM {:.4f}".format(*score(bicubic(lr), hr, 4)))
rgb = score(bicubic(lr), hr, 4, EvalProtocol(channel="rgb"))
print(f"scored as RGB: {rgb[0]:.2f} dB")

# %% [markdown]
# ## Pitfalls
#
# - Subtracting uint8 images. 3 - 5 is 254.
# - `data_range` guessed from the picture. For floating-point images it is 1, for uint8 it is 255,
#   and a peak of `image.max()` makes scores of different images incomparable.
# - Grey images. One file of Set14 is grey. Scored as it is the bicubic mean is 26.00 dB, turned
#   to RGB first it is 26.09 dB (measured, `docs/results.md`). `load_images(..., grey="as_grey")`
#   and `"as_rgb"` give the two.
# - SSIM has a window, a spread and two kinds of covariance. scikit-image's defaults give .9032
#   where the field's give .8936 (IMDN, Set5 x4). Ledig's SRResNet reports .9019 with yet another
#   SSIM; chasing that number is a mistake.
# - Comparing means over different image sets, or one seed with one seed.
#
# ## Further reading
#
# - Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
#   visibility to structural similarity", IEEE Transactions on Image Processing 13(4), 2004.
# - Q. Huynh-Thu, M. Ghanbari, "Scope of validity of PSNR in image/video quality assessment",
#   Electronics Letters 44(13), 2008.
# - Y. Blau, T. Michaeli, "The perception-distortion tradeoff", CVPR, 2018.
# - J.-B. Huang, A. Singh, N. Ahuja, "Single image super-resolution from transformed
#   self-exemplars", CVPR, 2015 (the benchmark images as this course uses them).
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017.
