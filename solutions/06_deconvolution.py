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
# # 06 Deconvolution: making pictures larger inside a network
#
# A network works on small pictures, because they are cheap, and has to hand out large ones. Some
# layer must make pixels. Three are in use: deconvolution, sub-pixel convolution and
# resize-convolution. At the same cost two of them can express exactly the same, and the third a
# part of it. What they do before they are trained is very different.
#
# **After this you can**
#
# - compute a transposed convolution by hand, in four ways, and say what size it has;
# - see, measure and prevent checkerboard artefacts;
# - choose between the three layers, and write the formula of the course as a network: rung 5.
#
# Time: 80 minutes to read and try. Of these the computer needs at most 2 minutes on two CPU cores;
# calculated, not measured: 5 on a T4 GPU, 3 on an A100.

# %% tags=["folded"]
# @title Imports
import time
from math import prod

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import nn

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image
from srlib.environment import by_profile
from srlib.exercises import check, hint
from srlib.figures import show, zoom_grid
from srlib.figures.diagrams import draw_chain
from srlib.image import to_float, to_uint8
from srlib.layers import (
    BicubicUpsample,
    DeconvBlock,
    PixelShuffleBlock,
    PoolDeconvStage,
    ResidualBlock,
    ResizeConvBlock,
)
from srlib.resample import imresize, modcrop
from srlib.training import TrainConfig
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer

# %% tags=["parameters"]
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
enlarge_steps = by_profile(ci=2, cpu=200, gpu=4000, long=4000)  # section 7
stage_steps = by_profile(ci=2, cpu=200, gpu=4000, long=4000)  # section 8
ladder_steps = by_profile(ci=2, cpu=200, gpu=2000, long=2000)  # section 9: as in notebook 05
longer_steps = by_profile(ci=4, cpu=400, gpu=20000, long=20000)
crop_side = by_profile(ci=48, cpu=96, gpu=96)  # pixels of the test crops
timing_rounds = by_profile(ci=2, cpu=15, gpu=15)

# %% [markdown]
# The eye of a cat, enlarged by 3 with seven layers that have never been trained. All weights are
# random. A layer like this is what a network starts with.


# %% tags=["experiment"]
def uneven(in_channels, out_channels):
    """Deconvolution x3 with a kernel that the stride does not divide: 5 wide, stride 3."""
    return nn.ConvTranspose2d(in_channels, out_channels, 5, stride=3, padding=1)


def random_pixel_shuffle(in_channels, out_channels):
    """Sub-pixel convolution x3 with torch's default weights."""
    layer = PixelShuffleBlock(in_channels, out_channels, 3)
    layer.conv.reset_parameters()
    return layer


layers = {
    "deconvolution 5, random": uneven,
    "deconvolution 9, random": lambda i, o: DeconvBlock(i, o, 3, init="random"),
    "sub-pixel, random": random_pixel_shuffle,
    "deconvolution 9, ICNR": lambda i, o: DeconvBlock(i, o, 3, init="icnr"),
    "deconvolution 9, bilinear": lambda i, o: DeconvBlock(i, o, 3, init="bilinear"),
    "sub-pixel, ICNR": lambda i, o: PixelShuffleBlock(i, o, 3),
    "resize-convolution": lambda i, o: ResizeConvBlock(i, o, 3),
}
rivals = list(layers)[-3:]  # they start plain, and cost the same

# %% tags=["folded"]
# @title Draw seven untrained layers
hr = modcrop(sample_image("chelsea"), 3)  # (H, W, 3)
lr = imresize(hr, 1 / 3)  # (H / 3, W / 3, 3)
features = to_float(lr).mean(1, keepdim=True).expand(-1, 16, -1, -1)  # (1, 16, H / 3, W / 3)


def untrained(name):
    """Enlarge the grey cat with a random layer, then give it its old mean and contrast."""
    torch.manual_seed(1)
    with torch.no_grad():
        result = layers[name](16, 1)(features)
    turned = (F.avg_pool2d(result, 3) * (features - features.mean())[:, :1]).sum() < 0
    result = (result - result.mean()) / result.std() * (-1 if turned else 1)
    return to_uint8((features.mean() + features.std() * result).expand(-1, 3, -1, -1))


pictures = {name: untrained(name) for name in layers}
show(
    zoom_grid({"original": hr, **pictures}, (84, 120, 48, 64), reference="original"),
    "The eye of a cat, enlarged by seven untrained layers. Three with random weights cover it "
    "with a regular pattern of dots, four show smooth or blocky pictures without dots.",
)

# %% [markdown]
# The regular pattern in three of them is the **checkerboard**. It repeats every three pixels,
# wherever you look. It is in the layer, not in the cat.

# %% [markdown]
# ## 1. A convolution is a matrix
#
# A convolution with stride 2 makes a row of 7 pixels into one of 4. It is linear, so it is a
# multiplication with a matrix of 4 rows and 7 columns. To find the matrix, push unit vectors
# through: each comes out as a column.
#
# *Predict:* which shape does the same matrix have when it is transposed, and what does it do to
# the number of pixels?


# %%
def conv(x, weight, stride, padding):
    """Convolution of rows or pictures, after the number of axes of the weight."""
    return (F.conv1d if weight.ndim == 3 else F.conv2d)(x, weight, None, stride, padding)


def matrix_of(function, *shape):
    """Matrix of a linear function of tensors (C, L) or (C, H, W): (outputs, inputs)."""
    units = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)
    return function(units).flatten(1).T


taps = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)  # (1, 1, 3)
down = matrix_of(lambda x: conv(x, taps, 2, 1), 1, 7)  # (4, 7)

# %% tags=["folded"]
# @title Draw both matrices
figure, panels = plt.subplots(1, 2, figsize=(8, 3.6))
for axes, matrix, title in zip(
    panels, (down, down.T), ("convolution: 7 to 4 pixels", "transposed: 4 to 7 pixels"), strict=True
):
    axes.imshow(torch.where(matrix > 0, matrix, torch.nan), cmap="summer_r", vmin=1, vmax=4)
    for (row, column), value in np.ndenumerate(matrix.numpy()):
        axes.text(column, row, f"{value:g}", ha="center", va="center")
    axes.set(
        title=title,
        xlabel="input pixel",
        ylabel="output pixel",
        xticks=range(matrix.shape[1]),
        yticks=range(matrix.shape[0]),
    )
    axes.grid(False)
show(
    figure,
    "Two matrices of zeros and a band of 1, 2, 3: four rows and seven columns, where the band "
    "moves two columns a row, and the same turned over, with seven rows and four columns.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# It has 7 rows and 4 columns, and makes 7 pixels of 4: it enlarges.
#
# </details>
#
# Left, each row holds the kernel 1 2 3, two places further than the row above: every output pixel
# **reads** three input pixels. Right is the same matrix, turned over. Each *column* holds the
# kernel: every input pixel **writes** to three output pixels. That is the **transposed
# convolution**. Where two kernels overlap, their terms add up: output pixels 1, 3 and 5 get two
# terms, the others one. This will matter.
#
# The common name deconvolution promises too much. It goes back to the old size, not to the old
# values:

# %%
row = torch.arange(1.0, 8.0, dtype=torch.float64)  # 7 pixels
print("pixels:                        ", row.tolist())
print("convolved:                     ", (down @ row).tolist())
print("transposed convolution of that:", (down.T @ down @ row).tolist())

# %% [markdown]
# ## 2. Overlap and add
#
# Nobody builds the matrix. Read its columns: input pixel $i$ lays the kernel, multiplied by its
# value, down at the places $i s, i s + 1, \dots$ of the output, and what overlaps is added. That
# makes $(n - 1)\,s + k$ pixels from $n$, with stride $s$ and kernel size $k$. A padding $p$ adds
# zeros around the input of a convolution. Transposed, it takes $p$ pixels of the output away, at
# each end:
#
# $$ \text{output size} = (n - 1)\,s + k - 2p $$
#
# ### Exercise 06.1
#
# Write it for one row. Do not use `F.conv_transpose1d`.


# %%
def transposed_conv_1d(x, kernel, stride, padding):
    """Tensors x (n,) and kernel (k,) -> tensor ((n - 1) * stride + k - 2 * padding,)."""
    ### BEGIN SOLUTION
    full = x.new_zeros((len(x) - 1) * stride + len(kernel))
    for index, value in enumerate(x):
        full[index * stride : index * stride + len(kernel)] += value * kernel
    return full[padding : len(full) - padding]
    ### END SOLUTION


transposed_conv_1d = check("06.1", transposed_conv_1d)

# %% [markdown]
# Stuck? `hint("06.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("06.1")

# %% [markdown]
# Here it is as a picture. Each colour is one input pixel with its copy of the kernel.

# %% tags=["folded"]
# @title Draw what overlaps
values = torch.tensor([1.0, 0.6, 1.4, 0.9, 1.2], dtype=torch.float64)  # five pixels
bump = torch.tensor([0.5, 1.0, 0.7, 0.3], dtype=torch.float64)  # kernel of 4
figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for axes, stride in zip(panels, (2, 3), strict=True):
    total = torch.zeros((len(values) - 1) * stride + len(bump), dtype=torch.float64)
    for index in range(len(values)):
        single = torch.where(torch.arange(len(values)) == index, values, 0.0)
        part = transposed_conv_1d(single, bump, stride, 0)
        axes.bar(range(len(total)), part, bottom=total, width=0.9)
        total += part
    axes.set(title=f"kernel 4, stride {stride}", xlabel="output pixel")
    axes.set_xticks(range(0, len(total), 2))
    assert torch.equal(total, transposed_conv_1d(values, bump, stride, 0))
panels[0].set_ylabel("value (sum of the terms)")
show(
    figure,
    "Stacked bars. With stride 2 every output pixel but the outermost has two colours; with "
    "stride 3 every third has two and the others one.",
)

# %% [markdown]
# ## 3. The gradient of a convolution
#
# Backpropagation through $y = A x$ multiplies the gradient by $A^T$. So every network that trains
# a convolution with a stride computes transposed convolutions all the time, and PyTorch's
# `conv_transpose2d` runs the same code. To get one, ask autograd for the gradient.
#
# There is a fourth way: put $s - 1$ zeros between the input pixels and convolve with the flipped
# kernel, at stride 1. It multiplies mostly zeros, so it is good for explaining only. Four ways,
# for rows and for pictures:


# %%
def by_matrix(y, weight, stride, padding, shape):
    matrix = matrix_of(lambda x: conv(x, weight, stride, padding), *shape)
    return (y.flatten(1) @ matrix).reshape(-1, *shape)  # y A: the rows of y times A transposed


def by_overlap_add(y, weight, stride, padding, shape):
    axes, size = weight.ndim - 2, weight.shape[-1]
    full = y.new_zeros(len(y), shape[0], *(n + 2 * padding for n in shape[1:]))
    for place in np.ndindex(*y.shape[2:]):
        window = tuple(slice(p * stride, p * stride + size) for p in place)
        full[:, :, *window] += torch.tensordot(y[:, :, *place], weight, dims=1)
    return full[:, :, *(slice(padding, padding + n) for n in shape[-axes:])]


def by_gradient(y, weight, stride, padding, shape):
    x = torch.zeros(len(y), *shape, dtype=y.dtype, requires_grad=True)
    return torch.autograd.grad(conv(x, weight, stride, padding), x, y)[0]


def by_zeros_between(y, weight, stride, padding, shape):
    spread = y.new_zeros(*y.shape[:2], *((n - 1) * stride + 1 for n in y.shape[2:]))
    spread[:, :, *(slice(None, None, stride),) * (weight.ndim - 2)] = y
    flipped = weight.flip(tuple(range(2, weight.ndim))).transpose(0, 1)
    return conv(spread, flipped, 1, weight.shape[-1] - 1 - padding)


# %% [markdown]
# The convolutions below go from 3 channels to 2, so their transposes go from 2 to 3. Both use the
# *same* weight tensor: `conv_transpose2d` calls its axes (in, out, k, k), `conv2d` (out, in, k, k).
#
# *Predict:* the numbers are the largest differences from PyTorch's own function, in float64. What
# should they be?

# %% tags=["folded"]
# @title Compare the four ways with PyTorch's own
generator = torch.Generator().manual_seed(0)
ways = (by_matrix, by_overlap_add, by_gradient, by_zeros_between)
differences = {}
for axes in (1, 2):
    for kernel_size, stride, padding in ((3, 1, 1), (3, 2, 1), (4, 2, 1), (5, 3, 1), (9, 3, 3)):
        size = (4 - 1) * stride + kernel_size - 2 * padding  # of the output, for 4 pixels
        weight, y = (
            torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((2, 3) + (kernel_size,) * axes, (2, 2) + (4,) * axes)
        )
        torchs = F.conv_transpose1d if axes == 1 else F.conv_transpose2d
        expected = torchs(y, weight, stride=stride, padding=padding)
        shape = (3,) + (size,) * axes
        differences[f"{axes}-D, kernel {kernel_size}, stride {stride}, padding {padding}"] = {
            way.__name__: (way(y, weight, stride, padding, shape) - expected).abs().max().item()
            for way in ways
        }
pd.DataFrame(differences).T.map("{:.0e}".format)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Nothing but rounding. All are the same operation, seen from four sides.
#
# </details>

# %% [markdown]
# ## 4. How many terms does a pixel get?
#
# Set all inputs and all weights to 1. Then the output of a transposed convolution is the number
# of terms that each pixel gets.
#
# *Predict:* kernel 3, stride 2 in two dimensions. Which numbers appear?


# %%
def overlap(kernel_size, stride, size=40):
    """Number of terms of each pixel of a row, away from the ends: (size,)."""
    ones = torch.ones(1, 1, size)
    counts = F.conv_transpose1d(ones, ones[..., :kernel_size], stride=stride)[0, 0]
    start = -(-kernel_size // stride) * stride  # a multiple of the stride, behind the first kernel
    return counts[start : start + size].int()


def draw_overlap(axes, kernel_size, stride, size=12):
    row = overlap(kernel_size, stride)[:size]
    counts = row[:, None] * row
    axes.imshow(counts, cmap="viridis", vmin=0, vmax=max(1, counts.max()))
    for (y, x), count in np.ndenumerate(counts.numpy()):
        dark = count < 0.6 * counts.max()
        axes.text(x, y, count, ha="center", va="center", color="w" if dark else "k", fontsize=8)
    axes.set_title(f"kernel {kernel_size}, stride {stride}")
    axes.set_axis_off()


figure, panels = plt.subplots(1, 3, figsize=(8, 3.1))
for axes, (kernel_size, stride) in zip(panels, ((3, 2), (4, 2), (5, 3)), strict=True):
    draw_overlap(axes, kernel_size, stride)
show(
    figure,
    "Number of terms of each pixel. Kernel 3, stride 2: 1, 2 and 4 in a checkerboard; "
    "kernel 4, stride 2: 4 everywhere; kernel 5, stride 3: 1, 2 and 4 with period 3.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# 1, 2 and 4. A row gets 1 or 2 terms; in two dimensions the counts of row and column multiply.
#
# </details>
#
# Kernel 3 with stride 2 gives 1, 2 or 4 terms, kernel 4 gives 4 terms to every pixel. The rule: a
# pixel of a row gets $\lfloor k / s \rfloor$ or $\lceil k / s \rceil$ terms, and equally many only
# if **the stride divides the kernel size**. In two dimensions the unevenness multiplies.
#
# Try it. The left panel is the matrix of section 1 with all weights 1, the middle one its row
# sums, the right one the picture. What happens when the kernel is smaller than the stride?


# %% tags=["folded"]
# @title A figure that is drawn once
board = Figure(figsize=(7.4, 2.9), layout="none")  # made once; what is animated changes
left, middle, right = (board.add_axes((x, 0.17, 0.27, 0.69)) for x in (0.05, 0.38, 0.7))
left.set(title="matrix", xlabel="input pixel", ylabel="output pixel", xticks=[], yticks=[])
middle.set(title="terms in a row", xlabel="output pixel", xlim=(0, 24), ylim=(0, 9.3))
middle.set(xticks=[0, 12, 24], yticks=range(10))
right.set_title("terms in a picture")
right.set_axis_off()
nothing = np.zeros((24, 24))
ones = left.imshow(nothing, cmap="Blues", vmin=0, vmax=1.5, aspect="auto", animated=True)
bars = middle.stairs(nothing[0], fill=True, animated=True)
terms = right.imshow(nothing, cmap="viridis", animated=True)


# %% tags=["folded"]
# @title A slider for kernel and stride
def show_overlap(kernel_size, stride):
    """Matrix, terms of a row, terms of a picture."""
    first = -(-kernel_size // stride)  # input pixels before the part that is shown
    writes = np.arange(24)[:, None] - stride * np.arange(-first, 24 // stride + 1)
    matrix = (writes >= 0) & (writes < kernel_size)  # (output pixels, input pixels)
    counts = matrix.sum(1)
    least, most = counts.min() ** 2, counts.max() ** 2
    ones.set_data(matrix)  # stretched over the panel, however many columns it has
    bars.set_data(counts)
    terms.set(data=counts[:, None] * counts, clim=(0, most))
    verdict = f"{most}, every pixel alike" if least == most else f"{least} to {most}, uneven"
    return board, f"kernel {kernel_size}, stride {stride}, terms of a pixel: {verdict}"


overlap_slider = Explorer(
    show_overlap,
    kernel_size=ipywidgets.IntSlider(3, min=1, max=9, description="kernel size (pixels)"),
    stride=ipywidgets.IntSlider(2, min=1, max=4, description="stride (pixels)"),
)
overlap_slider

# %% [markdown]
# ## 5. The checkerboard, measured
#
# Give a layer the plainest features there are, each channel one value everywhere. A good layer
# makes a plain picture of them. A checkerboard repeats with the period $s$ of the stride, so sort
# the output pixels into $s \times s$ **phases**, by their place within an input pixel. The measure
# is the variance between the phases' means, as part of the output's mean square. By Parseval's
# theorem this is the energy at the frequencies $1/s, 2/s, \dots$ per pixel. 0 % is plain.


# %% tags=["experiment"]
def phase_means(y, scale, border=9):
    """Mean of each phase, away from the border: (N, C, H, W) -> (N, C, scale**2)."""
    inner = y[..., border:-border, border:-border]
    count, channels, height, width = inner.shape
    blocks = inner.reshape(count, channels, height // scale, scale, width // scale, scale)
    return blocks.mean((2, 4)).flatten(2)


# %%
def checkerboard_share(layer, in_channels, scale):
    """Part of the energy that lies in differences between phases, for constant features: 0..1."""
    plain = torch.randn(1, in_channels, 1, 1).expand(-1, -1, 12, 12)
    with torch.no_grad():
        phases = phase_means(layer(plain), scale)
    return (phases.var(2, correction=0).sum() / phases.square().mean(2).sum()).item()


# %% [markdown]
# *Predict:* a kernel of 9 with stride 3 has no uneven overlap. With random weights, will its
# picture be plain?


# %%
def with_weights(layer, value):
    """Set all weights to one value, the bias to zero."""
    nn.init.constant_(layer.weight, value)
    nn.init.zeros_(layer.bias)
    return layer


equal = {
    "deconvolution 5, all weights equal": lambda i, o: with_weights(uneven(i, o), 0.1),
    "deconvolution 9, all weights equal": lambda i, o: with_weights(
        nn.ConvTranspose2d(i, o, 9, stride=3, padding=3), 0.1
    ),
}
shares = {}
for name, make in {**equal, **layers}.items():
    shares[name] = []
    for seed in range(10):
        torch.manual_seed(seed)
        shares[name].append(100 * checkerboard_share(make(16, 3), 16, 3))
shares = pd.DataFrame(shares)  # ten seeds
pd.DataFrame(
    {"checkerboard share, mean (%)": shares.mean(), "standard deviation": shares.std()}
).round(1)

# %% [markdown]
# <details><summary>What happened</summary>
#
# No. The overlap is even, and the picture is not: see the second and fourth row of the table.
#
# </details>
#
# Three cures, and what each does:
#
# - **A kernel divisible by the stride** takes away the unevenness of the overlap: with equal
#   weights the share falls to zero. With random weights it does nothing. The nine phases use nine
#   different sets of weights, and random sets have different sums.
# - **ICNR** (Aitken et al. 2017) starts all phases with the same weights, so that the layer begins
#   as pixel repetition after a convolution. Bilinear weights do likewise for deconvolution. Then
#   the layer *starts* plain. Training may change that.
# - **Resize-convolution** (Odena et al. 2016) repeats pixels first and convolves then. Every output
#   pixel uses the same weights. Plain features *cannot* give a checkerboard, trained or not.

# %% [markdown]
# ## 6. Sub-pixel convolution
#
# Keep the convolution on the small grid, let it make $s^2$ times the channels, and deal them out
# as pixels (Shi et al. 2016). Channel $c\,s^2 + i\,s + j$ gives the pixel in row $i$, column $j$ of
# each $s \times s$ block of output channel $c$.
#
# ### Exercise 06.2
#
# Write the dealing out, without `nn.PixelShuffle` and `F.pixel_shuffle`.


# %%
def pixel_shuffle(features, scale):
    """Tensor (N, C * scale**2, H, W) -> (N, C, scale * H, scale * W).

    Raises ValueError if the number of channels is no multiple of scale**2.
    """
    ### BEGIN SOLUTION
    n, channels, height, width = features.shape
    if channels % scale**2:
        raise ValueError(f"channels must be a multiple of {scale**2}, got {channels}")
    c = channels // scale**2
    blocks = features.reshape(n, c, scale, scale, height, width)
    blocks = blocks.permute(0, 1, 4, 2, 5, 3)  # (N, C, H, scale, W, scale)
    return blocks.reshape(n, c, height * scale, width * scale)
    ### END SOLUTION


pixel_shuffle = check("06.2", pixel_shuffle)

# %% [markdown]
# ### Exercise 06.4: find the bug
#
# ICNR starts a sub-pixel convolution as pixel repetition: it makes few weights, for the output
# channels alone, and copies each for all $s^2$ pixels of a block. Somebody wrote the copying like
# this. The shapes fit, and the layer shows a checkerboard from its first day.
#
# ```python
# def icnr_weights(few, scale):
#     return few.repeat(scale**2, 1, 1, 1)
# ```
#
# Use what you know from exercise 06.2, and write it right.


# %%
def icnr_weights(few, scale):
    """Weights (C, I, K, K) -> (C * scale**2, I, K, K): all pixels of a block start alike."""
    ### BEGIN SOLUTION
    return few.repeat_interleave(scale**2, dim=0)
    ### END SOLUTION


icnr_weights = check("06.4", icnr_weights)

# %%
few = torch.randn(2, 4, 3, 3)
features_in = torch.randn(1, 4, 5, 5)
blocks = pixel_shuffle(F.conv2d(features_in, icnr_weights(few, 3)), 3)
repeated = F.interpolate(F.conv2d(features_in, few), scale_factor=3)
print("pixels repeated after a convolution:", torch.allclose(blocks, repeated))

# %% [markdown]
# A deconvolution with kernel 9, stride 3 and padding 3 writes each pixel to 9 x 9 places. Seen
# from the output, a pixel of phase $(i, j)$ reads 3 x 3 input pixels, with its own weights. That
# is what a 3 x 3 sub-pixel convolution does.
#
# *Predict:* is every sub-pixel convolution a deconvolution with the same number of weights?

# %%
# NBVAL_CHECK_OUTPUT
sub_pixel = random_pixel_shuffle(16, 3).double()
weight = sub_pixel.conv.weight.detach().reshape(3, 3, 3, 16, 3, 3)  # (out, i, j, in, rows, columns)
kernel = weight.flip(4, 5).permute(3, 0, 4, 1, 5, 2).reshape(16, 3, 9, 9)  # (in, out, 9, 9)
x = torch.randn(1, 16, 10, 12, dtype=torch.float64)
with torch.no_grad():
    bias = sub_pixel.conv.bias.reshape(1, 3, 3, 3)
    tiled = bias.repeat(1, 1, 10, 12)  # one bias for each phase
    expected = F.conv_transpose2d(x, kernel, stride=3, padding=3) + tiled
    shuffled = pixel_shuffle(sub_pixel.conv(x), 3)
print("weights:", sub_pixel.conv.weight.numel(), "and", kernel.numel())
print("equal:", torch.allclose(shuffled, expected, rtol=0, atol=1e-12))

# %% [markdown]
# <details><summary>What happened</summary>
#
# Yes: the weights are the same numbers in another order.
#
# </details>
#
# It is; only the bias differs: one for each phase here, one for each channel there. So a
# well-sized deconvolution and a sub-pixel convolution are **the same function in different
# clothes**. What differs is what they start from, and how fast the machine runs them.
# Resize-convolution is a special case of both: with a 3 x 3 kernel it reads 2 x 2 input pixels or
# fewer, and has a ninth of the weights.

# %% [markdown]
# ## 7. The same cost, side by side
#
# Count multiplications with addition for each LR pixel. A convolution does all its weights once
# for each *output* pixel, a transposed one once for each *input* pixel. Time the layers as well,
# on the features of one picture of 128 x 128 LR pixels.


# %% tags=["folded"]
# @title Count and time
def multiply_adds(layer, x):
    """Multiply-adds of the convolutions for each pixel of x."""
    counts = []

    def count(module, inputs, output):
        grid = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        counts.append(module.weight.numel() * grid[0, 0].numel() // x[0, 0].numel())

    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    modules = [module for module in layer.modules() if isinstance(module, convolutions)]
    handles = [module.register_forward_hook(count) for module in modules]
    with torch.no_grad():
        layer(x)
    for handle in handles:
        handle.remove()
    return sum(counts)


def milliseconds(functions, x):
    """Time functions of x in turns: {name: [ms of each round]}, after one round for warming up."""
    times = {name: [] for name in functions}
    for _ in range(timing_rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            with torch.inference_mode():
                function(x)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: rounds[1:] for name, rounds in times.items()}


# %% tags=["folded"]
# @title The table of costs
features = torch.rand(1, 16, 128, 128)  # on the CPU
layer_times = milliseconds({name: layers[name](16, 3) for name in rivals}, features)
pd.DataFrame(
    {
        name: {
            "weights": sum(weight.numel() for weight in layers[name](16, 3).parameters()),
            "multiply-adds a LR pixel": multiply_adds(layers[name](16, 3), features),
            "fastest (ms)": min(rounds).__round__(1),
            "lower quartile (ms)": np.quantile(rounds, 0.25).round(1),
            "upper quartile (ms)": np.quantile(rounds, 0.75).round(1),
        }
        for name, rounds in layer_times.items()
    }
).T.map("{:g}".format)

# %% [markdown]
# The counts are equal, the times on a CPU need not be: it depends on how well each operation is
# written for the machine. Measure on yours. Half of the rounds lie between the two quartiles; other
# programs make some rounds slower, and never one faster.
#
# Now quality. A small network of two residual blocks ends in one of the layers, straight to RGB.
# It has to make the whole picture by itself. A second group adds to the bicubic image; there the
# layer starts with zeros, so that the untrained network is the bicubic image and no start is
# better than another. All see the same patches for the same number of steps.


# %% tags=["experiment"]
class Network(nn.Module):
    """Features, a body, an enlarging layer to RGB; on top of the bicubic image if wanted."""

    def __init__(self, up, body=None, image_skip=False):
        super().__init__()
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.body = nn.Sequential(ResidualBlock(16), ResidualBlock(16)) if body is None else body()
        self.up = up(16, 3)
        self.bicubic = BicubicUpsample(3) if image_skip else None
        if image_skip:  # then zero is the best first guess
            for weight in self.up.parameters():
                nn.init.zeros_(weight)

    def forward(self, lr):
        """(N, 3, H, W) in 0..1 -> (N, 3, 3 H, 3 W)."""
        result = self.up(self.body(F.relu(self.head(lr - 0.5))))
        return result + (0.5 if self.bicubic is None else self.bicubic(lr))


task = SmallTask(3, crop_side=crop_side)  # the photographs and crops of notebooks 04 and 05, for x3
print(f"bicubic x3: {task.bicubic_db:.2f} dB on {len(task.test_pairs)} crops")

# %% [markdown]
# *Predict:* deconvolution 9 and sub-pixel convolution are the same function. Will they score
# alike? And which checkerboards will training have removed?


# %% tags=["folded", "experiment"]
# @title The checkerboard that a network makes of grey, and who is compared
def checkerboard_levels(network):
    """Standard deviation between phases for plain grey pictures, in grey levels of 255."""
    greys = torch.linspace(0.1, 0.9, 9, device=task.device).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        phases = 255 * phase_means(network(greys.expand(-1, 3, 24, 24)), 3, border=24)
    return {"checkerboard": phases.var(2, correction=0).mean().sqrt().item()}


plans = {name: {"up": make} for name, make in layers.items()}
plans |= {f"{name} + bicubic image": {"up": layers[name], "image_skip": True} for name in rivals}
drawn_on_grey = [list(layers)[k] for k in (0, 2, 5, 6)]  # their weights are kept


# %% tags=["experiment"]
enlarge_runs = compare_trainings(
    "06_enlarge",
    {name: (lambda parts=parts: Network(**parts)) for name, parts in plans.items()},
    lambda seed: task.sampler(seed, lr_patch_size=16),
    TrainConfig(steps=enlarge_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
    keep=drawn_on_grey,
    measure=checkerboard_levels,
)

# %% tags=["folded"]
# @title The checkerboard that is left
long_enlarge = long_run("06_enlarge")


def levels_of(run):
    """The checkerboard on plain grey, in grey levels: a row for each layer, a column a seed."""
    left = run.measures.query("measure == 'checkerboard'")
    return left.pivot(index="candidate", columns="seed", values="value").loc[list(layers)]


levels, levels_now = levels_of(long_enlarge), levels_of(enlarge_runs)
print("checkerboard on plain grey (grey levels); the long run has", levels.shape[1], "seeds")
pd.DataFrame(
    {
        "this run": levels_now.mean(axis=1),
        "the long run": levels.mean(axis=1),
        "lowest": levels.min(axis=1),
        "highest": levels.max(axis=1),
    }
).round(2)


# %% tags=["folded"]
# @title How scores are drawn
def draw_dots(axes, now, long, names):
    """A dot for each seed of the long run, a line at their mean, a cross for this run.

    Both have a row for each name and a column for each seed.
    """
    for place, name in enumerate(names):
        found = long.loc[name]
        axes.plot(found, [place] * len(found), "o", color="C0", alpha=0.7)
        axes.plot([found.mean()] * 2, [place - 0.35, place + 0.35], color="C0")
        axes.plot(now.loc[name].mean(), place, "x", color="C1")
    axes.set(xlabel="PSNR (dB)", yticks=range(len(names)), yticklabels=names)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first at the top


def label_dots(figure):
    """Say once what dots and crosses are."""
    marks = [Line2D([], [], color="C0", marker="o"), Line2D([], [], color="C1", marker="x", ls="")]
    names = ["the long run, each seed and their mean", "this run"]
    figure.legend(marks, names, loc="outside upper right", ncols=2)


# %% tags=["folded"]
# @title Draw quality and checkerboard
figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
draw_dots(panels[0], enlarge_runs.scores(), long_enlarge.scores(), list(layers))
panels[0].set_title("quality")
draw_dots(panels[1], levels_now, levels, list(layers))
panels[1].set(title="checkerboard after training", xlabel="between phases (grey levels)")
label_dots(figure)
show(
    figure,
    "Dots for seven networks. Left the PSNR; right the checkerboard that is left after training, "
    "which is zero for resize-convolution only.",
)

# %% [markdown]
# The same as a picture: what the networks of the long run make of plain grey. Nothing is drawn
# larger than it is, but the contrast is: black is one level of 255 too dark, white one too bright.

# %% tags=["folded"]
# @title Draw what they make of grey
plain = torch.full((1, 3, 24, 24), 0.5)
figure, panels = plt.subplots(1, 4, figsize=(9, 2.6))
for axes, name in zip(panels, drawn_on_grey, strict=True):
    trained = long_enlarge.load(name, Network(**plans[name]))  # its first seed
    with torch.no_grad():
        output = 255 * trained(plain)[0, 1, 27:45, 27:45]  # green
    picture = axes.imshow(output - output.mean(), vmin=-1, vmax=1, cmap="gray")
    axes.set_title(name.replace(", ", ",\n").replace("-conv", "-\nconv"))
    axes.set_axis_off()
figure.colorbar(picture, ax=panels, label="grey levels", shrink=0.7)
show(
    figure,
    "What four trained networks make of plain grey, in strong contrast: regular patterns, and "
    "plain grey with resize-convolution.",
)

# %% tags=["folded"]
# @title Draw those on the bicubic image
figure, axes = plt.subplots(figsize=(8, 2.6))
on_bicubic = [name for name in plans if "bicubic" in name]
draw_dots(axes, enlarge_runs.scores(), long_enlarge.scores(), on_bicubic)
axes.axvline(task.bicubic_db, color="black", linestyle=":")
axes.set_title("added to the bicubic image (dotted line)")
label_dots(figure)
show(
    figure,
    "Dots for three seeds of three networks that add to the bicubic image, and the bicubic image "
    "as a dotted line, which all of them exceed in the long run.",
)

# %% tags=["folded"]
# @title Seed by seed
by_seed = long_enlarge.scores()
deconvolved, shuffled_db, resized = (by_seed.loc[f"{name} + bicubic image"] for name in rivals)
print("the long run, for each seed, added to the bicubic image (dB):")
print("sub-pixel minus deconvolution:", (shuffled_db - deconvolved).round(2).tolist())
print("sub-pixel minus resize-conv.: ", (shuffled_db - resized).round(2).tolist())

# %% [markdown]
# <details><summary>What happened</summary>
#
# The long run is what counts. On top of the bicubic image, deconvolution and sub-pixel convolution
# score alike, seed by seed, within some hundredths: they are the same function, and here they start
# alike.
#
# The start is forgotten. Untrained, random weights make the dots of this notebook's first picture,
# ICNR and bilinear weights make none. After the long run all of them have some tenths of a grey
# level, and their scores lie within what seeds differ. So the second cure is one for the first
# minutes. The first cure lasts in part: the kernel that the stride does not divide keeps most, with
# each of three seeds.
#
# Resize-convolution has none, since it cannot have one, and pays with quality: some tenths of a
# decibel where it makes the whole picture. It costs as much and has a ninth of the weights.
#
# And all that is small against the bicubic image, which is worth more than a decibel to each.
#
# </details>

# %% [markdown]
# ## 8. Pool, deconvolve back, add
#
# Deconvolution serves inside a network as well. At half the resolution a 3 x 3 convolution sees
# twice as far and costs a quarter. So: convolve and pool, convolve there, deconvolve back. What
# pooling lost of the position comes back by addition: the **low-level** features, which never
# left the full resolution, are added to the **high-level** ones.

# %%
# NBVAL_CHECK_OUTPUT
size = "(N, C, H, W)"
half = "(N, C, H/2, W/2)"
boxes = [
    ("low-level features", "tensor", size),
    ("conv 3x3, ReLU", "conv", size),
    ("max pool 2", "pool", half),
    ("conv 3x3, ReLU", "conv", half),
    ("deconv 4x4, stride 2", "enlarge", size),
    ("add", "add", size),
]
show(
    draw_chain(boxes, skips=[(0, 5, "low-level features")], title="PoolDeconvStage"),
    "A chain: low-level features, convolution, pooling to half the size, convolution, "
    "deconvolution back, addition. An arc leads from the low-level features to the addition.",
)
stage = PoolDeconvStage(16)
for height, width in ((32, 32), (7, 5), (1, 1)):
    print((height, width), "to", tuple(stage(torch.rand(1, 16, height, width)).shape[2:]))

# %% [markdown]
# An addition needs two tensors of one size, and odd sizes are where it breaks. `PoolDeconvStage`
# lets the pooling round up, so that 7 becomes 4, the deconvolution makes 8, and one row is cut.
#
# With a strided convolution in place of the pooling there is another way. With kernel 3, stride 2
# and padding 1, rows of 7 and of 8 pixels both become 4. The transposed convolution cannot know
# where it came from and makes 7. `output_padding` tells it: so many pixels are appended, which is
# at most `stride - 1`. They are no padding in the usual sense; they are part of the output that
# would otherwise be cropped.
#
# ### Exercise 06.3
#
# Which `output_padding` brings a row back to its size?


# %%
def output_padding(size, kernel_size, stride, padding):
    """Of the transposed convolution that undoes the change of size of a convolution: int."""
    ### BEGIN SOLUTION
    small = (size + 2 * padding - kernel_size) // stride + 1
    return size - ((small - 1) * stride + kernel_size - 2 * padding)
    ### END SOLUTION


output_padding = check("06.3", output_padding)

# %%
# NBVAL_CHECK_OUTPUT
kernel = torch.ones(1, 1, 3)
for length in (7, 8, 9, 10):
    small = F.conv1d(torch.ones(1, 1, length), kernel, stride=2, padding=1)
    extra = output_padding(length, 3, 2, 1)
    back = F.conv_transpose1d(small, kernel, stride=2, padding=1, output_padding=extra)
    print(f"{length} pixels to {small.shape[2]}, with output_padding {extra} to {back.shape[2]}")

# %% [markdown]
# What is the addition worth? Three bodies of the same network: none at all, two stages, and two
# stages without the addition, which have the same weights to train.
#
# *Predict:* can two stages without the addition be worse than no stage?


# %% tags=["experiment"]
class WithoutAddition(PoolDeconvStage):
    """The high-level features alone."""

    def forward(self, x):
        """Return a tensor of the shape of `x`."""
        return super().forward(x) - x


bodies = {
    "no stage": nn.Identity,
    "two stages": lambda: nn.Sequential(PoolDeconvStage(16), PoolDeconvStage(16)),
    "two stages, no addition": lambda: nn.Sequential(WithoutAddition(16), WithoutAddition(16)),
}
up = layers["deconvolution 9, bilinear"]
stage_plans = {
    name + suffix: {"up": up, "body": body, "image_skip": image_skip}
    for suffix, image_skip in (("", False), (" + bicubic image", True))
    for name, body in bodies.items()
}
stage_runs = compare_trainings(
    "06_stages",
    {name: (lambda parts=parts: Network(**parts)) for name, parts in stage_plans.items()},
    lambda seed: task.sampler(seed, lr_patch_size=16),
    TrainConfig(steps=stage_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw what the addition is worth
long_stages = long_run("06_stages")
figure, panels = plt.subplots(1, 2, figsize=(9.5, 2.8), sharey=True)
for axes, suffix in zip(panels, ("", " + bicubic image"), strict=True):
    names = [name + suffix for name in bodies]
    draw_dots(axes, stage_runs.scores(), long_stages.scores(), names)
    axes.set_yticklabels(bodies)
    axes.set_title(f"on top of{suffix[2:]}" if suffix else "whole picture")
panels[1].axvline(task.bicubic_db, color="black", linestyle=":")
label_dots(figure)
show(
    figure,
    "Dots for three networks, twice: whole pictures on the left, and added to the bicubic image, "
    "a dotted line, on the right. Without the addition the PSNR is lowest in both.",
)
long_stages.table().round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Yes, by decibels. Without the addition all detail has to pass a grid of half the resolution,
# twice. Where such a network makes the whole picture, it is far below the one without any stage. On
# top of the bicubic image it stays on the dotted line, also in the long run: it has found nothing
# to add.
#
# With the addition a stage can only add to what is there. On top of the bicubic image two stages
# bring some tenths. Two residual blocks bring more, as the long run of section 7 shows: they never
# leave the resolution of the small picture.
#
# </details>

# %% [markdown]
# ## 9. Rung 5: a deconvolution at the end
#
# Back to the ladder of notebooks 04 and 05, and to x4. Rung 4 enlarges first, by interpolation, and
# then all of its layers work on the large picture. The edit of rung 5: the interpolation in front
# goes, and near the end comes a deconvolution. All blocks now work on the small picture.
#
# With it the formula of the course is complete. The deconvolution is $W_{res}$. Behind it stand a
# ReLU and the last convolution, $W_{out}$:
#
# $$ y = \sigma\big(W_{out} * \mathrm{ReLU}(W_{res} * (x + F_{res}(x)) + b_{out})\big) $$


# %% tags=["experiment"]
class Rung5(nn.Module):
    """y = sigmoid(W_out * ReLU(W_res * (x + F_res(x)) + b_out))."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(16) for _ in range(4)))
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.enlarge = DeconvBlock(16, 16, 4)  # W_res, with its bias
        self.tail = nn.Conv2d(16, 3, 3, padding=1)  # W_out

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        x = F.relu(self.head(lr))  # (N, 16, H, W)
        refined = x + self.last(self.blocks(x))  # x + F_res(x)
        return torch.sigmoid(self.tail(F.relu(self.enlarge(refined))))


# %% tags=["folded", "experiment"]
# @title Rung 4, from notebook 05


class Rung4(Rung5):
    """As in notebook 05: interpolate first, then everything on the large picture."""

    def __init__(self):
        super().__init__()
        self.enlarge = nn.Identity()
        self.bicubic = BicubicUpsample(4)

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        x = F.relu(self.head(self.bicubic(lr)))
        return torch.sigmoid(self.tail(x + self.last(self.blocks(x))))


# %% [markdown]
# *Predict:* what does a step of rung 5 cost against one of rung 4? And after equally many steps,
# which one is ahead?

# %% tags=["folded"]
# @title What each costs
x = torch.rand(1, 3, 24, 24)
rung_macs = {rung.__name__: multiply_adds(rung(), x) for rung in (Rung4, Rung5)}
for name, count in rung_macs.items():
    print(f"{name}: {count:,} multiply-adds a LR pixel")

# %% tags=["experiment"]
task_x4 = SmallTask(4, crop_side=crop_side)
print(f"bicubic x4: {task_x4.bicubic_db:.2f} dB")
rung_5 = {"rung 5: deconvolution at the end": Rung5}
options = {"make_sampler": task_x4.sampler, "score": task_x4.score, "seeds": seeds}
rung_runs = compare_trainings(
    "06_ladder", rung_5, config=TrainConfig(steps=ladder_steps, learning_rate=2e-3), **options
)
longer_runs = compare_trainings(
    "06_longer", rung_5, config=TrainConfig(steps=longer_steps, learning_rate=2e-3), **options
)

# %% tags=["folded"]
# @title What is drawn
RUNG_4, RUNG_5 = "rung 4: a skip over all blocks", "rung 5: deconvolution at the end"
lines = (
    (long_run("05_ladder"), RUNG_4, "Rung4", "rung 4, 2000 steps", "C0-"),
    (long_run("06_ladder"), RUNG_5, "Rung5", "rung 5, 2000 steps", "C1-"),
    (long_run("06_longer"), RUNG_5, "Rung5", "rung 5, 20 000 steps", "C2-"),
    (rung_runs, RUNG_5, "Rung5", "rung 5, this run", "C1.:"),
)

# %% tags=["folded"]
# @title Draw rungs 4 and 5
figure, axes = plt.subplots()
for run, candidate, rung, label, look in lines:
    curves = run.curves[(run.curves["candidate"] == candidate) & (run.curves["step"] > 0)]
    by_step = curves.pivot(index="step", columns="seed", values="psnr_db")
    spent = by_step.index * 8 * 8**2 * rung_macs[rung] / 1e12  # eight patches of 8 x 8
    axes.plot(spent, by_step.mean(axis=1), look[2:], color=look[:2], label=label)
    axes.fill_between(
        spent, by_step.min(axis=1), by_step.max(axis=1), color=look[:2], alpha=0.2, linewidth=0
    )
axes.axhline(task_x4.bicubic_db, color="black", linestyle=":", label="bicubic")
axes.set(xscale="log", xlabel="multiply-adds spent, forward (trillions, log scale)")
axes.set(ylabel="PSNR of the test crops (dB)", title="Two rungs, x4", ylim=(20, None))
axes.legend(loc="lower right")
show(
    figure,
    "PSNR against the multiply-adds spent. Rung 5 is above rung 4 wherever they have spent the "
    "same; after ten times as many steps it is above the bicubic image.",
)

# %% tags=["folded"]
# @title The same as a table
pd.DataFrame(
    {
        label: {
            "lowest (dB)": run.scores().loc[candidate].min(),
            "mean (dB)": run.scores().loc[candidate].mean(),
            "highest (dB)": run.scores().loc[candidate].max(),
        }
        for run, candidate, _, label, _ in lines[:3]
    }
).T.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# A step of rung 5 costs about an eighth: only the last convolution still works on the large
# picture. After equally many steps it is some tenths below rung 4. Rung 4 is handed a bicubic
# image; rung 5 has to make the whole picture. But for about the same number of multiply-adds it can
# take ten times as many steps, and then it is a decibel ahead.
#
# So it is cheaper *and* better, and still it makes what interpolation makes for nothing. The last
# edits, in notebook 07, give the bicubic image back and pay for it with a single addition.
#
# </details>

# %% [markdown]
# ### Open: a layer of your own
#
# Bilinear weights are one smooth start of many. Start a deconvolution 9 so that it interpolates
# bicubically (the kernel of notebook 02, read at the places of 06's bilinear one), and measure its
# checkerboard before and after training, and its score. What do you expect, given that the first
# output is closer to the picture?
#
# <details><summary>A sample answer</summary>
#
# ```python
# from srlib.resample import resize_matrix
#
# def bicubic_start(in_channels, out_channels):
#     layer = nn.ConvTranspose2d(in_channels, out_channels, 15, stride=3, padding=6)
#     dot = torch.zeros(9)
#     dot[4] = 1
#     row = torch.from_numpy(resize_matrix(9, 3, kernel="bicubic")).float() @ dot  # 27 pixels
#     row = row[6:21]  # 15 around the dot
#     mix = torch.randn(in_channels, out_channels) / in_channels**0.5
#     layer.weight.data = mix[..., None, None] * (row[:, None] * row)
#     nn.init.zeros_(layer.bias)
#     return layer
#
# runs = compare_trainings(
#     "my_start", {"bicubic start": lambda: Network(bicubic_start)},
#     lambda seed: task.sampler(seed, lr_patch_size=16),
#     TrainConfig(steps=enlarge_steps, learning_rate=2e-3), task.score, seeds=seeds)
# print("before:", checkerboard_levels(Network(bicubic_start).to(task.device)))
# print("after:", checkerboard_levels(runs.networks["bicubic start", seeds[0]]))
# runs.table()
# ```
#
# The kernel is 15 wide, which 3 divides, and its phases have equal sums, so the start is plain.
# It has nearly three times the weights of kernel 9, so a better score would prove nothing about
# the start: to compare starts, give both layers one size.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - A transposed convolution multiplies with the transposed matrix of a convolution. Overlap-add,
#   the gradient, and zeros with a flipped kernel give the same numbers.
# - If the stride does not divide the kernel size, some pixels get more terms than others.
# - A divisible kernel alone does not make a random layer plain. ICNR and bilinear weights make its
#   start plain; resize-convolution makes it plain for good.
# - Long training forgets which of them a layer started from.
# - Sub-pixel convolution and a deconvolution of fitting size are the same function.
# - Low-level features, added, bring back the detail that pooling loses.

# %% tags=["folded"]
# @title The numbers
for name in ("deconvolution 9, all weights equal", "deconvolution 9, random", "sub-pixel, ICNR"):
    print(f"{name}: checkerboard share {shares[name].mean():.1f} % before training")
for name in ("sub-pixel, random", "sub-pixel, ICNR", "resize-convolution"):
    value = levels.loc[name].mean()
    print(f"{name}: {value:.2f} grey levels of checkerboard after the long run")
stage_db = long_stages.scores().mean(axis=1)
worth = stage_db["two stages"] - stage_db["two stages, no addition"]
print(f"the addition of low-level features: {worth:+.2f} dB")
for run in (long_enlarge, long_stages):
    print(run.summary())
for run, candidate, _, label, _ in lines[:3]:
    print(f"{label}: {run.scores().loc[candidate].mean():.2f} dB")

# %% [markdown]
# ## Pitfalls
#
# - `ConvTranspose2d` keeps its weights as (in, out, k, k), `Conv2d` as (out, in, k, k).
#   Initialisations that count inputs by the axis (`fan_in`) count the wrong one.
# - Padding of a transposed convolution takes away. More padding, smaller output.
# - The convolution before a pixel shuffle needs `out_channels * scale**2`. ICNR repeats *groups*
#   of neighbouring channels; repeated in the wrong order it is no ICNR and shows a checkerboard.
# - TensorFlow's `depth_to_space` orders channels otherwise than `PixelShuffle`. Weights that are
#   carried over without sorting give scrambled pictures.
# - A kernel that the stride divides but that does not lie symmetric around its pixel shifts the
#   picture. Size minus stride should be even, as in 4 and 2, 9 and 3, 8 and 4.
# - Strided convolutions have the checkerboard in their *gradient*, which is a transposed
#   convolution. Max pooling's gradient is uneven as well.
# - Cost counted is not time. Resize-convolution needs memory for features of the full size.
#
# ## Further reading
#
# - M. D. Zeiler, D. Krishnan, G. W. Taylor, R. Fergus, "Deconvolutional networks", CVPR, 2010.
# - M. D. Zeiler, G. W. Taylor, R. Fergus, "Adaptive deconvolutional networks for mid and high
#   level feature learning", ICCV, 2011.
# - J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation",
#   CVPR, 2015.
# - V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning",
#   arXiv:1603.07285, 2016.
# - A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", Distill, 2016.
# - W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
#   convolutional neural network", CVPR, 2016.
# - W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?",
#   arXiv:1609.07009, 2016.
# - A. Aitken et al., "Checkerboard artifact free sub-pixel convolution: a note on sub-pixel
#   convolution, resize convolution and convolution resize", arXiv:1707.02937, 2017.
