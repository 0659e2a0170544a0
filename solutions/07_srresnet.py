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
# # 07 SrResNet: the whole network
#
# You have written residual blocks and deconvolution, and climbed five rungs of the ladder. One is
# left. The course began with a listing that goes by the network's name, and with this formula:
#
# $$y = \sigma\big(W_{out} * \mathrm{ReLU}(W_{res} * (x + F_{res}(x)) + b_{out})\big)$$
#
# You find every symbol of it in a line of code, and change one thing: rung 6. What this course
# ships is larger, and enlarges in two steps. You assemble it from its file, weight for weight,
# until your functions give the same picture. Then you find out what it costs, how far it sees, and
# whether it can learn.
#
# **After this you can**
#
# - draw SrResNet from memory, with the shape after every step;
# - count its parameters, its multiply-adds and the pixels that it sees, and check each count;
# - test that a network can learn before you spend hours on training it.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 4 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import math
from dataclasses import replace

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import data_file, sample_image
from srlib.data import Pair, PatchSampler
from srlib.environment import by_profile
from srlib.exercises import check, hint
from srlib.figures import compare, show
from srlib.figures.diagrams import draw_chain
from srlib.figures.history import plot_trainings
from srlib.figures.ladder import draw_ladder, ladder
from srlib.image import to_float, to_uint8
from srlib.layers import BicubicUpsample, DeconvBlock, ResidualBlock
from srlib.metrics import score
from srlib.models import SrResNet, TwoStageSrResNet, load_pretrained
from srlib.resample import imresize, modcrop
from srlib.training import TrainConfig, train
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer

# %% tags=["parameters"]
overfit_seeds = (0, 1, 2)
overfit_steps = by_profile(ci=3, cpu=300, gpu=2000)  # on one crop, for each run
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
ladder_steps = by_profile(ci=2, cpu=200, gpu=2000, long=2000)  # as in notebooks 05 and 06
choice_steps = by_profile(ci=2, cpu=200, gpu=10000, long=10000)
crop_side = by_profile(ci=48, cpu=96, gpu=96)  # pixels of the test crops

# %% tags=["folded", "experiment"]
# @title Photographs to train on, crops of others to score
task = SmallTask(4, crop_side=crop_side)
print(f"bicubic x4: {task.bicubic_db:.2f} dB on {len(task.test_pairs)} crops")

# %% [markdown]
# The whole ladder, by the long runs of notebooks 04 to 07. All rungs but the first are small
# networks of 16 channels and trained for 2000 steps. The star is the network that ships, on the
# same crops.

# %% tags=["folded"]
# @title Draw the ladder
network = load_pretrained("srresnet_small_x4")
show(
    draw_ladder(task.bicubic_db, shipped_db=task.score(network)),
    "Six rungs from below to above, each with its edit, its PSNR, the gradient at its first layer "
    "and its multiply-adds. Rung 1 is far left, rungs 2 to 5 near the bicubic line, rung 6 well "
    "above it, and the shipped network right of all. The gradient grows by a factor of thousands "
    "at rung 3; the cost falls at rungs 2 and 5.",
)

# %% [markdown]
# ## 1. The formula, symbol by symbol
#
# Read it from the inside:
#
# | symbol | what it is | in `SrResNet.forward` |
# |---|---|---|
# | $x$ | features of the LR image, by a first convolution | `self.head(lr)` |
# | $F_{res}(x)$ | residual blocks, one more convolution | `self.body(self.blocks(features))` |
# | $x + F_{res}(x)$ | the feature skip | `features + ...` |
# | $W_{res} *$ | a deconvolution, which enlarges | `self.upsample[0]` |
# | $\mathrm{ReLU}$ | cuts off what is negative | `self.upsample[1]` |
# | $W_{out} *$, $b_{out}$ | to three colours | `self.upsample[2]` or `self.tail.conv` |
# | $\sigma$ | the sigmoid, which keeps the result in 0..1 | the end of `self.tail` |
#
# (The formula writes one bias, inside the ReLU. Every layer of the code has its own.)
#
# The course makes two changes:
#
# 1. **Rung 6: the bicubic image is added before the sigmoid.** The plain formula has to make the
#    whole picture. With this image skip it only makes what bicubic interpolation lacks. Section 2
#    says how to add to a picture inside a sigmoid, and section 8 measures what it is worth.
# 2. **$W_{out}$ enlarges, too.** $W_{res}$ enlarges by 2, to few channels, and $W_{out}$ is another
#    deconvolution by 2, straight to the colours. So nearly all of the work is done on the small
#    picture, where a pixel costs a sixteenth. Section 5 counts it.
#
# The whole network, as it is shipped under the name `srresnet_small_x4`. Three paths go around
# something: one around each residual block (inside the box), one around all blocks, and one around
# the whole network.
#
# For now, find the three of them in the picture, and in the table.

# %% tags=["folded"]
# @title Draw the network
steps = [
    ("LR image", "tensor", "(N, 3, H, W)"),
    ("head: conv 3x3", "conv", "x: (N, 32, H, W)"),
    ("8 residual blocks", "conv", "(N, 32, H, W)"),
    ("body: conv 3x3", "conv", "F_res(x): (N, 32, H, W)"),
    ("feature skip", "add", "(N, 32, H, W)"),
    ("W_res: deconv x2", "enlarge", "(N, 12, 2H, 2W)"),
    ("ReLU", "activation", "(N, 12, 2H, 2W)"),
    ("W_out: deconv x2", "enlarge", "(N, 3, 4H, 4W)"),
    ("image skip", "add", "(N, 3, 4H, 4W)"),
    ("sigmoid", "activation", "(N, 3, 4H, 4W)"),
]
skips = [(1, 4, "features"), (0, 8, "bicubic x4, then logit")]
show(
    draw_chain(steps, skips=skips, title="srresnet_small_x4"),
    "A chain of ten steps: LR image, head, residual blocks, body, plus, deconvolution, ReLU, "
    "deconvolution, plus, sigmoid. One arc leads from the head to the first plus, one from the LR "
    "image to the second.",
)

# %% [markdown]
# ## 2. The last line first: adding in logit space
#
# The image skip means that the network does not have to make a picture. It makes a **residual**:
# what has to be added to bicubic interpolation. A sigmoid at the end keeps the sum in 0..1. But
# the sigmoid of a picture is not the picture: sigmoid(0), black, is 0.5.
#
# The way out: undo the sigmoid first. Its inverse is the **logit**, $\log(p / (1 - p))$. Then a
# residual of 0 gives the bicubic image back. One thing is left to care for: the logit of black
# is minus infinity, and bicubic interpolation overshoots 0..1.
#
# ### Exercise 07.1
#
# Add a residual to a bicubic image in logit space. Keep the image away from both ends by `eps`.


# %%
def add_in_logit_space(bicubic, residual, eps):
    """Tensors (N, 3, H, W), image in about 0..1, residual any number -> image in 0..1."""
    ### BEGIN SOLUTION
    return torch.sigmoid(torch.logit(bicubic.clamp(eps, 1 - eps)) + residual)
    ### END SOLUTION


add_in_logit_space = check("07.1", add_in_logit_space)

# %% [markdown]
# Stuck? `hint("07.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("07.1")

# %% [markdown]
# *Predict:* the same residual is added to a mid grey and to white. Which one changes more?

# %% tags=["folded"]
# @title Draw what a residual moves
grey = torch.linspace(0, 1, 256)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
for value, style in ((1.0, "-"), (0.0, ":"), (-1.0, "--")):
    line = add_in_logit_space(grey, torch.tensor(value), 1.5e-3)
    left.plot(grey, line, style, color="C0", label=f"logit space, residual {value:+.0f}")
left.plot(grey, torch.sigmoid(grey), color="C1", label="sigmoid of the image itself")
left.plot(grey, (grey + 0.2).clamp(0, 1), color="C2", label="plain sum, +0.2, cut off")
left.set(xlabel="bicubic grey value", ylabel="output", title="What comes out")
left.legend(fontsize=9)
right.plot(grey, grey * (1 - grey), color="C0", label="logit space, residual 0: y (1 - y)")
right.axhline(1, color="C2", label="plain sum: 1")
right.set(xlabel="output y", ylabel="change of output per residual", title="What a residual moves")
right.legend(fontsize=10)
show(
    figure,
    "Left: in logit space the output bends from 0 to 1 and never leaves this range; the sigmoid "
    "of the image is confined to the middle. Right: the slope y (1 - y) is 0.25 in the middle "
    "and falls to 0 at black and white.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The grey. At mid grey the slope is 0.25, at white it is nearly zero.
#
# </details>
#
# At black and white the sigmoid **saturates**: a residual moves hardly anything, and the gradient
# that comes back is as small. For a picture this is mostly a blessing, because white stays white
# without effort. It has a price: where bicubic gave black and the truth is grey, the residual has
# to be large. The clamp sets the price. Its own error, without any residual, is below half a grey
# level:

# %%
moved = (add_in_logit_space(grey, torch.zeros(1), 1.5e-3) - grey).abs() * 255
needed = torch.logit(torch.tensor(0.5)) - torch.logit(torch.tensor(1.5e-3))
print(f"largest change by the clamp: {moved.max():.2f} grey levels")
print(f"slope at black {1.5e-3 * (1 - 1.5e-3):.4f}, at mid grey {0.25:.4f}")
print(f"residual that turns black into mid grey: {needed:.1f}")

# %% [markdown]
# ## 3. The assembly, step by step
#
# Here is the shipped network with its table of weights, as they lie in its file. Your functions
# take these tensors, and in the end both must give the same picture.

# %%
weights = {name: tensor.detach() for name, tensor in network.named_parameters()}
for name, tensor in weights.items():
    if not name.startswith("blocks.") or name.startswith("blocks.0"):
        print(f"{name:28} {tuple(tensor.shape)}")
print(f"and seven more blocks: {sum(t.numel() for t in weights.values()):,} weights and biases")

# %% [markdown]
# **Step 1, the head:** $x$. A convolution makes 32 features of 3 colours. No ReLU follows it.

# %%
hr = modcrop(sample_image("chelsea"), 4)[92:156, 152:248]  # (64, 96, 3), the eye
lr = to_float(imresize(hr, 1 / 4))  # (1, 3, 16, 24)


def conv(x, weight, bias):
    """Convolve and keep the size: (N, C, H, W) -> (N, D, H, W), weight (D, C, K, K)."""
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


features = conv(lr, weights["head.weight"], weights["head.bias"])
print("LR image", tuple(lr.shape), "-> head", tuple(features.shape))

# %% [markdown]
# **Step 2, a residual block.** Convolution, ReLU, convolution, times 0.3, plus the input. The
# factor 0.3 lets an untrained block change little. Training may make it change more.


# %%
def residual_block(x, first, first_bias, second, second_bias):
    """(N, C, H, W) -> (N, C, H, W)."""
    return x + 0.3 * conv(F.relu(conv(x, first, first_bias)), second, second_bias)


def block_weights(index):
    """Four tensors: weight and bias of both convolutions of a block."""
    parts = ("first.weight", "first.bias", "second.weight", "second.bias")
    return tuple(weights[f"blocks.{index}.{part}"] for part in parts)


deep = residual_block(features, *block_weights(0))
print("features", tuple(features.shape), "-> block", tuple(deep.shape))
print(f"mean change by the block: {(deep - features).abs().mean():.3f}, "
      f"mean feature: {features.abs().mean():.3f}")  # fmt: skip

# %% [markdown]
# **Step 3, all blocks, the body, the feature skip:** $x + F_{res}(x)$. The blocks follow one
# another. Then comes one more convolution, the *body*. Then the features of step 1 are added.
#
# ### Exercise 07.2
#
# Write step 3. `blocks` is a list with four tensors for each block, `body` is weight and bias.
# You may use `residual_block` and `conv`.


# %%
def refine(features, blocks, body):
    """(N, C, H, W) -> (N, C, H, W); blocks: list of (first, bias, second, bias)."""
    ### BEGIN SOLUTION
    deep = features
    for block in blocks:
        deep = residual_block(deep, *block)
    return features + conv(deep, *body)
    ### END SOLUTION


refine = check("07.2", refine)

# %%
blocks = [block_weights(index) for index in range(8)]
refined = refine(features, blocks, (weights["body.weight"], weights["body.bias"]))
print("features", tuple(features.shape), "-> blocks, body, feature skip", tuple(refined.shape))

# %% [markdown]
# **Step 4, the deconvolution and a ReLU:** $\mathrm{ReLU}(W_{res} * \ldots)$. Kernel 4, stride 2,
# padding 1: the kernel is divisible by the stride, so no checkerboard is built in.


# %%
def enlarge(x, weight, bias):
    """(N, C, H, W) -> (N, D, 2 H, 2 W), weight (C, D, 4, 4): input channels come first."""
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


first, second = (
    (weights[f"upsample.{place}.deconv.weight"], weights[f"upsample.{place}.deconv.bias"])
    for place in (0, 2)
)
larger = F.relu(enlarge(refined, *first))
print("refined", tuple(refined.shape), "-> enlarged by 2", tuple(larger.shape))

# %% [markdown]
# **Step 5, the second deconvolution:** $W_{out}$ turns 12 features into 3 colours. **Step 6, the
# image skip,** adds the bicubic image in logit space. **Step 7, the sigmoid** $\sigma$, is part of
# `add_in_logit_space`.

# %%
residual = enlarge(larger, *second)
bicubic = BicubicUpsample(4)(lr)
output_by_hand = add_in_logit_space(bicubic, residual, 1.5e-3)
with torch.inference_mode():
    expected = network(lr)
print("residual", tuple(residual.shape), "+ bicubic", tuple(bicubic.shape))
print(f"largest difference to the shipped network: {(output_by_hand - expected).abs().max():.1e}")
print(f"largest difference to bicubic: {(output_by_hand - bicubic).abs().max():.2f}")

# %% tags=["folded"]
# @title Your assembly's picture
pictures = {"bicubic": to_uint8(bicubic), "your assembly": to_uint8(output_by_hand)}
show(
    compare({"original": hr, **pictures}, reference="original", scale=4),
    "The cat's eye: the original, bicubic interpolation, and the sharper output of the assembly.",
)

# %% [markdown]
# The first difference is what float32 arithmetic may lose, at most. The second shows that the
# comparison was a test: this network is far from bicubic. The seven steps are the network that
# `python -m srlib upscale` can use; nothing was left out.

# %% [markdown]
# ## 4. Variants
#
# - **As shipped**, assembled above: 32 channels, 8 blocks, two deconvolutions by 2, with 12
#   channels between.
# - **SrResNet()**, the class without options: 64 channels, 16 blocks, two deconvolutions by 2 that
#   keep the 64 channels, a ReLU behind each, and a convolution to the colours. It is rung 6 with
#   $W_{res}$ in two steps.
# - The **two-stage** variant: no residual blocks, but twice the stage of notebook 06, "convolve
#   and pool, deconvolve back, add the low-level features to the high-level ones"; then enlargement,
#   tail, image skip and sigmoid as in SrResNet().
# - The **published kind**: Ledig et al. (2017) have 16 blocks of 64 channels, the feature skip,
#   sub-pixel convolution, no image skip and no sigmoid. Their blocks have batch normalisation and
#   a parametric ReLU, and their first and last convolution are 9x9. `SrResNet(upsampler=
#   "pixel_shuffle", output="linear", image_skip=False)` has the structure without these three.

# %% tags=["folded"]
# @title Draw the two-stage variant
stage = [
    ("conv 3x3, ReLU", "conv", "(N, C, H, W)"),
    ("max pool 2", "pool", "(N, C, H/2, W/2)"),
    ("conv 3x3, ReLU", "conv", "(N, C, H/2, W/2)"),
    ("deconv x2", "enlarge", "(N, C, H, W)"),
    ("low-level features", "add", "(N, C, H, W)"),
]
ending = [
    ("deconv x2, ReLU", "enlarge", "(N, C, 2H, 2W)"),
    ("deconv x2, ReLU", "enlarge", "(N, C, 4H, 4W)"),
    ("tail: conv 3x3", "conv", "(N, 3, 4H, 4W)"),
    *steps[8:],
]
two_stage = [steps[0], ("head, ReLU", "conv", "(N, C, H, W)"), *stage, *stage, *ending]
two_stage_skips = [(1, 6, "stage 1"), (6, 11, "stage 2"), (0, 15, "bicubic x4, logit")]
show(
    draw_chain(two_stage, skips=two_stage_skips, title="The two-stage variant, x4"),
    "A chain of the LR image, the head, twice a stage of convolution, pooling, convolution, "
    "deconvolution and plus with an arc around each stage, then two deconvolutions, tail, plus "
    "and sigmoid.",
)

# %% [markdown]
# ### Is there a better one?
#
# Pilots look for it: candidates, each trained from two seeds for as long as "straight" needs for
# 8,000 steps, six to ten minutes of one core. They are judged on photographs that were held out
# (`tools/pilots.py`, `data/records/pilots.csv`). All are variants of this network. The time is that
# of one picture of 128 x 128 pixels.
#
# - The design before this one made 16 channels of full size; its $W_{out}$ was a convolution.
# - "Straight" has no $W_{out}$: one deconvolution by 4 makes the three colours. It has 8 blocks of
#   32 channels; all below it in the legend are changes of it.
# - A gated block multiplies one half of its features by the other half.
# - Folded: beside each 3 x 3 convolution there is one of 1 x 1. After training both are added into
#   one, so that the picture costs no more (notebook 12).
# - Growing patches: 16 x 16 first, then 24 x 24, then 32 x 32. The others have 24 x 24.
#
# *Predict:* is a network better if it spends more milliseconds? Which change helps?

# %% tags=["folded"]
# @title Read the pilots
CANDIDATES = {
    "old": "the design before",
    "between": "as shipped",
    "relu": "straight",
    "silu": "SiLU",
    "gate": "5 gated blocks",
    "wide and few": "3 blocks of 48",
    "narrow and many": "14 blocks of 24",
    "folded": "folded",
    "growing patches": "growing patches",
}
pilots = pd.read_csv(data_file("records/pilots.csv"))
long_enough = pilots["seconds"] > 300  # the record has shorter ones too
pilots = pilots[long_enough & pilots["candidate"].isin(CANDIDATES)]
pilots["time (%)"] = 100 * pilots["ratio"]

# %% tags=["folded"]
# @title Draw the pilots
figure, axes = plt.subplots(figsize=(8, 4.2))
for place, (name, label) in enumerate(CANDIDATES.items()):
    rows = pilots[pilots["candidate"] == name]
    percent, db = rows["time (%)"].mean(), rows["held_out_db"]
    style = {"color": f"C{place % 8}", "marker": "os^vDPXp*"[place]}
    axes.plot([percent] * len(rows), db, "-", lw=1, color=style["color"])
    axes.plot([percent] * len(rows), db, ls="", ms=7, label=label, **style)
axes.set(xlabel="time for a picture (% of the design before)", ylabel="PSNR, held out (dB)")
axes.set(title="Equally long training, two seeds")
axes.margins(y=0.1)
figure.legend(loc="outside right upper", fontsize=9)
show(figure, "Held-out PSNR against the time for a picture: two dots or more for each candidate.")

# %% tags=["folded"]
# @title The same as a table
table = pilots.groupby("candidate").agg(
    parameters=("parameters", "first"),
    steps=("steps", "mean"),
    percent=("time (%)", "mean"),
    lowest=("held_out_db", "min"),
    highest=("held_out_db", "max"),
)
table.loc[list(CANDIDATES)].rename(index=CANDIDATES).round({"steps": 0, "percent": 0})

# %% [markdown]
# <details><summary>What happened</summary>
#
# No. The design before takes twice the time of the straight one and is no better. How far do dots
# lie apart by chance? The straight one was trained four times, on two machines: two hundredths of a
# decibel. To take a picture, straight, folded and growing patches are one and the same network: as
# far as their times lie apart, times mean nothing. A tie goes to the cheaper one.
#
# Three changes are behind with both seeds: SiLU, gates, and few wide blocks. Many narrow blocks
# gain nothing and take longer. Folding gains nothing here. Patches that grow are ahead of all
# others with both seeds, by little, and cost a picture nothing. So pilots can choose how to train,
# too.
#
# So short a training could not tell "as shipped" and "straight" apart. Longer ones could: behind
# the same trained blocks the end by 2 twice was ahead (`docs/tried.md` has by how much).
#
# </details>

# %% [markdown]
# ## 5. What it costs
#
# The cost of a convolution is counted in **multiply-adds** (MACs): for each pixel it makes,
# kernel x kernel x input channels x output channels. A deconvolution multiplies each pixel it
# *takes* by its whole kernel. Biases do not count. To compare networks, divide by the number of
# LR pixels.
#
# *Predict:* in SrResNet(), 16 blocks have nearly all of the parameters. Have they nearly all of the
# cost?
#
# ### Exercise 07.3
#
# Count the multiply-adds for each LR pixel of SrResNet(), with any number of channels and blocks,
# at `scale` 2, 3 or 4, with
# `upsampler` "deconv" or "pixel_shuffle". The layers: head, blocks, body, then enlargement by 2
# twice at x4, else once by `scale`, then the tail. A deconvolution has kernel 4 for a step of 2
# and 9 for 3; all other layers have kernel 3. The sub-pixel convolution has `step**2` times the
# output channels.


# %%
def count_macs_per_lr_pixel(channels, num_blocks, scale, upsampler):
    """Multiply-adds of all learned layers, divided by the number of LR pixels: int."""
    ### BEGIN SOLUTION
    macs = 9 * 3 * channels  # head
    macs += (2 * num_blocks + 1) * 9 * channels**2  # blocks and body
    area = 1  # pixels for each LR pixel
    for step in (2, 2) if scale == 4 else (scale,):
        if upsampler == "deconv":
            kernel_size = {2: 4, 3: 9}[step]
            macs += area * kernel_size**2 * channels**2
        else:
            macs += area * 9 * channels * channels * step**2
        area *= step**2
    return macs + area * 9 * channels * 3  # tail
    ### END SOLUTION


count_macs_per_lr_pixel = check("07.3", count_macs_per_lr_pixel)

# %% [markdown]
# A count by hand needs a second count. A **hook** is called with the input and the output of a
# layer while a real image goes through. And torch has a counter of its own, which counts a
# multiply-add as two operations and includes the fixed bicubic layer.


# %%
def measure_macs(model, side=8):
    """Multiply-adds per LR pixel by hooks, learned layers only, and by torch's counter."""
    total = 0

    def add(layer, inputs, result):
        nonlocal total
        pixels = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else result
        kernel = math.prod(layer.kernel_size) * layer.in_channels * layer.out_channels
        total += kernel * math.prod(pixels.shape[-2:])

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total / side**2, counter.get_total_flops() / 2 / side**2


# %%
variants = {
    "SrResNet()": SrResNet(4),
    "two-stage": TwoStageSrResNet(4),
    "published kind": SrResNet(4, upsampler="pixel_shuffle", output="linear", image_skip=False),
}
# Two stages in place of the body: full, half, half resolution; a quarter of the pixels there.
stages = 2 * (9 + 9 / 4 + 16 / 4) * 64**2
by_hand = {
    "SrResNet()": count_macs_per_lr_pixel(64, 16, 4, "deconv"),
    "two-stage": count_macs_per_lr_pixel(64, 0, 4, "deconv") - 9 * 64**2 + stages,
    "published kind": count_macs_per_lr_pixel(64, 16, 4, "pixel_shuffle"),
}
variants["as shipped"] = network
# Head, blocks and body; then a deconvolution takes an LR pixel, and another the 4 that it makes.
by_hand["as shipped"] = 27 * 32 + 17 * 9 * 32**2 + 16 * 32 * 12 + 4 * 16 * 12 * 3
costs = pd.DataFrame({name: measure_macs(model) for name, model in variants.items()}).T
costs.columns = ["by hooks", "by torch's counter"]
costs.insert(0, "by hand", pd.Series(by_hand))
costs.insert(0, "parameters", [sum(p.numel() for p in m.parameters()) for m in variants.values()])
costs["per output pixel"] = costs["by hand"] / 16
costs.astype(int)

# %% tags=["folded"]
# @title What the enlargement costs
enlargement = {
    "SrResNet()": by_hand["SrResNet()"] - 64 * 27 - 33 * 9 * 64**2,
    "as shipped": 16 * 32 * 12 + 4 * 16 * 12 * 3,
}
for name, part in enlargement.items():
    weights_there = sum(p.numel() for p in variants[name].upsample.parameters())
    of_weights = 100 * weights_there / costs.loc[name, "parameters"]
    of_cost = 100 * part / by_hand[name]
    print(
        f"{name}: enlargement {of_weights:.0f} % of the weights, "
        f"with what follows {of_cost:.0f} % of the cost"
    )
twice = count_macs_per_lr_pixel(32, 8, 4, "deconv") / by_hand["as shipped"]
print(f"as shipped, but in two steps that keep 32 channels: {twice:.2f} times the cost")
bicubic_macs = costs.loc["as shipped", "by torch's counter"] - costs.loc["as shipped", "by hooks"]
print(f"fixed bicubic layer, only in torch's count: {bicubic_macs:.0f} for each LR pixel")
for name in enlargement:
    billions = by_hand[name] * 480 * 270 / 1e9
    print(f"{name}, a 480 x 270 image: {billions:.0f} billion multiply-adds")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Not quite. The enlargement has a small part of the weights and more than twice that part of the
# cost, because its weights work on pixels that are four times as many, and the tail's on sixteen
# times as many.
#
# </details>
#
# Hand, hooks and torch agree. A weight costs once for every pixel it is used on: before the
# enlargement once for each LR pixel, after the first step four times, at the end sixteen times.
# That is why the blocks stand *before* the enlargement, and why the course's second change pays:
# few channels behind them, and no convolution at full size. It is also why sub-pixel convolution by
# a 3x3 kernel, 36 for each pair of channels and pixel, costs more here than deconvolution by a 4x4
# kernel, 16.

# %% [markdown]
# ## 6. How far it sees
#
# Which LR pixels can change one output pixel? Go backwards through the layers and follow an
# interval of pixels. A convolution widens it by kernel - 1. Pooling doubles it. An enlargement
# *halves* it: two neighbours at high resolution come from nearly the same pixels below.
#
# For a layer with kernel $k$, stride $s$ and padding $p$, outputs $a..b$ depend on inputs
# $sa - p$ to $sb - p + k - 1$. For a deconvolution it is the other way round: input $i$ reaches
# outputs $si - p$ to $si - p + k - 1$. (Sub-pixel shuffling is a deconvolution with $k = s$.)


# %%
def seen(layers, first, last):
    """Walk back: the first and last input pixel that outputs first..last depend on."""
    for kind, kernel, stride, padding in reversed(layers):
        if kind == "conv":
            first, last = first * stride - padding, last * stride - padding + kernel - 1
        else:  # whole numbers only: round up, round down
            first = -((kernel - 1 - padding - first) // stride)
            last = (last + padding) // stride
    return first, last


conv3, pool = ("conv", 3, 1, 1), ("conv", 2, 2, 0)
deconv, shuffle = ("deconv", 4, 2, 1), ("deconv", 2, 2, 0)
chains = {
    "as shipped": [conv3] * (1 + 2 * 8 + 1) + [deconv] * 2,
    "SrResNet()": [conv3] * (1 + 2 * 16 + 1) + [deconv] * 2 + [conv3],
    "two-stage": [conv3] + [conv3, pool, conv3, deconv] * 2 + [deconv] * 2 + [conv3],
    "published kind": [conv3] * (1 + 2 * 16 + 1) + [conv3, shuffle] * 2 + [conv3],
}


def widest(layers, pixels=range(400, 416)):
    """Side of the largest field among neighbouring output pixels, in LR pixels."""
    return max(last - first + 1 for first, last in (seen(layers, p, p) for p in pixels))


print({name: widest(layers) for name, layers in chains.items()})

# %% [markdown]
# *Predict:* does a network use all of that field? A trained one more of it than a random one?
#
# Now measure. Send a picture through a real network, take one output pixel, and ask for the
# gradient with respect to the input. Where it is not exactly zero, the pixel is seen. The image
# skip is off (it sees 4x4 pixels in the middle), and double precision keeps the faint rim from
# vanishing. Four neighbouring output pixels are tried, along the diagonal. The shipped network gets
# its own trained weights and a photograph; the others, and a twin of it, have random weights and
# see noise.


# %%
def input_gradients(model, pixels, picture):
    """Magnitude of the gradient of each output pixel by the LR image: list of (H, W)."""
    lr = to_float(picture).double().requires_grad_()  # (1, 3, H, W)
    output = model.double()(lr)
    values = [output[:, :, pixel, pixel].sum() for pixel in pixels]
    grads = [torch.autograd.grad(value, lr, retain_graph=True)[0] for value in values]
    return [grad.abs().sum((0, 1)) for grad in grads]


def extent(gradient):
    """First and last row that is not zero."""
    rows = gradient.any(dim=1).nonzero().flatten()
    return rows[0].item(), rows[-1].item()


torch.manual_seed(0)
blind = {"as shipped, trained": load_pretrained("srresnet_small_x4")}
blind["as shipped, trained"].tail.bicubic = None
blind["as shipped, random"] = SrResNet(
    4, channels=32, num_blocks=8, hr_channels=0, mid_channels=12, image_skip=False
)
options = {"channels": 8, "image_skip": False}  # the field does not depend on the channels
blind["SrResNet(), random"] = SrResNet(4, **options)
blind["two-stage, random"] = TwoStageSrResNet(4, **options)
pixels = range(160, 164)
fur = imresize(modcrop(sample_image("chelsea"), 4), 1 / 4)[:80, :80]
noise = np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8)
inputs = {name: fur if "trained" in name else noise for name in blind}
gradients = {name: input_gradients(model, pixels, inputs[name]) for name, model in blind.items()}

# %% tags=["folded"]
# @title The fields as a table
field_rows = {}
for name, pictures in gradients.items():
    chain = chains[name.partition(",")[0]]
    pairs_of_ends = [(extent(g), seen(chain, p, p)) for g, p in zip(pictures, pixels)]
    energy = pictures[0].sum(dim=0).cumsum(0) / pictures[0].sum()  # along a row
    field_rows[name] = {
        "side by formula": widest(chain),
        "side measured": max(last - first + 1 for (first, last), _ in pairs_of_ends),
        "pixels whose ends agree": f"{sum(m == f for m, f in pairs_of_ends)} of {len(pixels)}",
        "95 % of the gradient": int((energy < 0.975).sum() - (energy < 0.025).sum()) + 1,
    }
pd.DataFrame(field_rows).T

# %% tags=["folded"]
# @title Draw the fields
figure, panels = plt.subplots(1, 4, figsize=(11, 3.5))
for axes, (name, pictures) in zip(panels, gradients.items()):
    best = max(range(len(pixels)), key=lambda k: -np.subtract(*extent(pictures[k])))  # the widest
    picture = (pictures[best] / pictures[best].max()).log10()
    picture[picture.isinf()] = torch.nan  # not seen: stays white
    drawn = axes.imshow(picture, vmin=-12, vmax=0, cmap="viridis")
    first, last = seen(chains[name.partition(",")[0]], pixels[best], pixels[best])
    size = last - first + 1
    axes.add_patch(plt.Rectangle((first - 0.5, first - 0.5), size, size, fill=False, ec="C1", lw=2))
    axes.set(title=f"{name.replace(', ', chr(10))}: {size} x {size}", xlabel="LR column")
    axes.grid(False)
panels[0].set_ylabel("LR row")
figure.colorbar(drawn, ax=panels, label="gradient, power of ten")
show(
    figure,
    "Four maps of the input gradient of one output pixel, with the square that the formula "
    "gives. The gradient is brightest in the middle and falls by many powers of ten to the rim. "
    "The trained network's is wider than its random twin's.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The formula and the gradient agree to the pixel; white pixels have a gradient of exactly 0. But
# mind the scale, which is in powers of ten: most of the gradient comes from the middle. This is the
# **effective receptive field** of Luo et al. (2016). The last column of the table is its side.
# Training widens it: the shipped network looks nearly twice as far as its random twin.
#
# </details>
#
# Below, the field of one output pixel on a photograph enlarged by 4. The dot is the output pixel.
# Move it, and change the number of blocks.

# %% tags=["folded"]
# @title A slider for the field
photo = modcrop(sample_image("coffee"), 4)  # (400, 600, 3)


def draw_field(row, column, blocks):
    """Darken what an output pixel does not depend on."""
    layers = [conv3] * (2 + 2 * blocks) + [deconv] * 2
    picture = photo // 3
    ends = [seen(layers, place, place) for place in (row, column)]
    window = tuple(slice(max(4 * first, 0), 4 * (last + 1)) for first, last in ends)
    picture[window] = photo[window]
    picture[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = (0, 255, 255)
    side = ends[0][1] - ends[0][0] + 1
    return picture, f"blocks: {blocks}; field: {side} LR pixels high, {4 * side} HR pixels"


field_slider = Explorer(
    draw_field,
    row=ipywidgets.IntSlider(180, min=0, max=399, description="row"),
    column=ipywidgets.IntSlider(250, min=0, max=599, description="column"),
    blocks=ipywidgets.IntSlider(8, min=1, max=32, description="blocks"),
)
field_slider

# %% [markdown]
# ## 7. Can it learn at all? Overfit one picture
#
# Before hours of training comes a test of seconds: a network that cannot learn one small crop by
# heart has a mistake in its code. There is no test set here. The only question is whether the
# training error goes towards zero. Over 40 dB the eye hardly sees a difference.
#
# To see what the test finds, the same network is trained with a mistake that is easy to make and
# gives no error: a second sigmoid at the end.
#
# *Predict:* what can a network with two sigmoids not show?

# %%
target = modcrop(sample_image("chelsea"), 4)[98:146, 158:206]  # (48, 48, 3)
small = imresize(target, 1 / 4)  # (12, 12, 3)


class TwoSigmoids(SrResNet):
    """SrResNet with a mistake."""

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        return torch.sigmoid(super().forward(lr))


overfit, curves = {}, {}
runs = [(kind, seed) for kind in (SrResNet, TwoSigmoids) for seed in overfit_seeds]
for kind, seed in tqdm(runs, desc="overfit"):
    torch.manual_seed(seed)
    model = kind(4, channels=32, num_blocks=4)
    # A patch as large as the picture: the same one in each step.
    eye = [Pair("eye", small, target)]
    one = PatchSampler(eye, 4, lr_patch_size=12, batch_size=1, augment=False, device=task.device)
    # The one with the mistake is flat long before a third of the steps.
    length = overfit_steps if kind is SrResNet else max(overfit_steps // 3, 1)
    config = TrainConfig(steps=length, learning_rate=2e-3, progress=False)
    history = train(model, one, config, loss=F.mse_loss)
    curves[kind.__name__, seed] = -10 * np.log10(history["loss"].to_numpy())  # PSNR, RGB
    overfit[kind.__name__, seed] = model.cpu()

# %% tags=["folded"]
# @title Draw the curves
figure, axes = plt.subplots()
for name, colour in (("SrResNet", "C0"), ("TwoSigmoids", "C1")):
    lines = np.array([curves[name, seed] for seed in overfit_seeds])  # (seeds, steps)
    count = np.arange(1, lines.shape[1] + 1)
    axes.fill_between(count, lines.min(0), lines.max(0), color=colour, alpha=0.3)
    axes.plot(count, lines.mean(0), color=colour, label=f"{name}, {len(overfit_seeds)} seeds")
axes.axhline(40, color="black", linestyle="--", label="40 dB")
axes.set(xlabel="step", ylabel="PSNR on the crop (dB)", title="One crop, learned by heart")
axes.legend(loc="lower right")
show(
    figure,
    "PSNR against step. SrResNet climbs from the bicubic score over the line at 40 dB. "
    "The network with two sigmoids starts far below and stays below.",
)
final = {
    name: [curves[name, seed][-1] for seed in overfit_seeds] for name in ("SrResNet", "TwoSigmoids")
}
pd.DataFrame({name: [min(v), np.mean(v), max(v)] for name, v in final.items()},
             index=["worst seed (dB)", "mean (dB)", "best seed (dB)"]).round(1)  # fmt: skip

# %% [markdown]
# <details><summary>What happened</summary>
#
# Black, white, and most of what lies between: a sigmoid of something in 0..1 lies between 0.50 and
# 0.73.
#
# </details>
#
# The right network passes, and the wrong one does not, though its loss falls as well: a falling
# loss alone proves little. Other mistakes that this test finds: a learning rate that is far off,
# weights that the optimiser does not know, LR and HR patches that do not belong together. It does
# not find mistakes in the validation, or a network that only memorises.
#
# Now turn the residual up and down: 0 is bicubic, 1 the network, 2 overshoots. The sigmoid keeps
# even that in 0..1. (The caption scores the luma without its border, as notebook 03 does; the curve
# above scores all colours of the whole crop, and is some decibels lower.)

# %% tags=["folded"]
# @title A slider for the residual
learned = overfit["SrResNet", 0].eval()
with torch.no_grad():
    first_features = learned.head(to_float(small))
    deep = first_features + learned.body(learned.blocks(first_features))
    learned_residual = learned.tail.conv(learned.upsample(deep))  # (1, 3, 48, 48)
    base = torch.logit(learned.tail.bicubic(to_float(small)), eps=1.5e-3)


def with_strength(strength):
    """Add the residual times a factor; beside it the original."""
    sr = to_uint8(torch.sigmoid(base + strength * learned_residual))
    side_by_side = np.concatenate([sr, np.full((48, 2, 3), 255, np.uint8), target], axis=1)
    caption = f"strength {strength:.2f}: PSNR {score(sr, target, 4)[0]:.1f} dB, right: the original"
    return imresize(side_by_side, 6, kernel="nearest"), caption


strength_slider = Explorer(
    with_strength,
    strength=ipywidgets.FloatSlider(1, min=0, max=2, step=0.05, description="residual"),
)
strength_slider

# %% tags=["folded"]
# @title The same for print
strengths = {
    f"residual x {s:g}": to_uint8(torch.sigmoid(base + s * learned_residual)) for s in (0, 1, 2)
}
show(
    compare({"original": target, **strengths}, reference="original", scale=4),
    "The cat's eye four times: original, bicubic, the overfitted network, which looks like "
    "the original, and twice its residual, with exaggerated contrast.",
)

# %% [markdown]
# ### Exercise 07.4: find the bug
#
# Somebody writes step 4 for any kernel and scale. The sizes fit and nothing fails, but whatever it
# enlarges does not lie where it should.
#
# ```python
# def enlarge_any(x, weight, scale):
#     full = F.conv_transpose2d(x, weight, stride=scale)
#     return full[..., : scale * x.shape[-2], : scale * x.shape[-1]]
# ```
#
# Enlarge a picture with one bright pixel, look where it comes out, and write it right. All kernels
# are as in notebook 06: their size minus the scale is even.


# %%
def enlarge_any(x, weight, scale):
    """(N, C, H, W), weight (C, D, K, K) -> (N, D, scale * H, scale * W), not shifted."""
    ### BEGIN SOLUTION
    padding = (weight.shape[-1] - scale) // 2
    return F.conv_transpose2d(x, weight, stride=scale, padding=padding)
    ### END SOLUTION


enlarge_any = check("07.4", enlarge_any)

# %%
dot = torch.zeros(1, 1, 5, 5)
dot[..., 2, 2] = 1  # the middle pixel
rows = enlarge_any(dot, torch.ones(1, 1, 8, 8), 4).nonzero()[:, 2]
print(f"the dot's rows {rows.min()} to {rows.max()} of 20; their middle is the picture's middle")

# %% [markdown]
# ## 8. The last rung
#
# Rung 5 is the plain formula. Rung 6 adds the bicubic image before the sigmoid, with your function
# from section 2. One line changes.

# %% tags=["folded", "experiment"]
# @title Rung 5, from notebook 06


class Rung5(nn.Module):
    """y = sigmoid(W_out * ReLU(W_res * (x + F_res(x)) + b_out))."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(16) for _ in range(4)))
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.enlarge = DeconvBlock(16, 16, 4)  # W_res, with its bias
        self.tail = nn.Conv2d(16, 3, 3, padding=1)  # W_out

    def refined(self, lr):
        """(N, 3, H, W) -> x + F_res(x), (N, 16, H, W)."""
        x = F.relu(self.head(lr))
        return x + self.last(self.blocks(x))

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        return torch.sigmoid(self.tail(F.relu(self.enlarge(self.refined(lr)))))


# %% tags=["experiment"]
class Rung6(Rung5):
    """y = sigmoid(logit(bicubic(lr)) + W_out * ReLU(W_res * (x + F_res(x)) + b_out))."""

    def __init__(self):
        super().__init__()
        self.bicubic = BicubicUpsample(4)

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        residual = self.tail(F.relu(self.enlarge(self.refined(lr))))
        return add_in_logit_space(self.bicubic(lr), residual, 1.5e-3)


# %% [markdown]
# *Predict:* how many decibels does the image skip bring, at the same cost?

# %% tags=["experiment"]
ladder_runs = compare_trainings(
    "07_ladder",
    {"rung 6: the image skip": Rung6},
    task.sampler,
    TrainConfig(steps=ladder_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw rung 6 over rung 5
long_ladder = long_run("07_ladder")
with_rung_5 = pd.concat([long_run("06_ladder").curves, long_ladder.curves])
long_ladder = replace(long_ladder, curves=with_rung_5)
show(
    plot_trainings(ladder_runs, long_ladder, baselines={"bicubic": task.bicubic_db}, lowest_db=22),
    "PSNR against step for rungs 5 and 6, here and in the long run. Rung 5 needs most of its steps "
    "to reach the bicubic line; rung 6 is near it from the start and ends far above.",
)
rungs = ladder()
rungs["place"] = rungs["place"].replace("", "-")
rungs["first_layer_gradient"] = rungs["first_layer_gradient"].map("{:.0e}".format)
for column in ("multiply_adds", "parameters", "steps"):
    rungs[column] = rungs[column].map("{:,}".format)
rungs.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# More than a decibel, for one fixed layer and an addition. Rung 5 has to make the picture, and most
# of its steps go into that. Rung 6 begins close to the bicubic image, and every step goes into
# detail.
#
# Read the table from top to bottom. The cost falls at rung 2, where channels go, and at rung 5,
# where the work moves to the small picture. The gradient of the first layer grows a thousandfold at
# rung 3, where a way around the layers opens. The score rises where the picture no longer has to be
# handed on: at rung 3 each block lets it through, and at rung 6 it goes around all of them.
#
# </details>

# %% [markdown]
# ### From rung 6 to the class
#
# `SrResNet(4, channels=16, num_blocks=4, hr_channels=16)` is rung 6 with three details: no ReLU
# behind the head, each branch times 0.3, and a last convolution that starts at zero, so that the
# untrained network is bicubic interpolation. The shipped network has 32 channels and 8 blocks, and
# enlarges by 2 twice.
#
# Two choices are left: a sigmoid at the end or not, and the image skip or not. That makes four
# networks. They train five times as long as the rungs, because those without the skip need it.
#
# *Predict:* order the four. Which choice matters more? Does it still, after 10 000 steps?

# %% tags=["experiment"]
choices = {
    f"{'image skip' if skip else 'no image skip'}, {output}": {"image_skip": skip, "output": output}
    for skip in (True, False)
    for output in ("sigmoid", "linear")
}
choice_runs = compare_trainings(
    "07_choices",
    {
        name: lambda chosen=chosen: SrResNet(4, channels=16, num_blocks=4, hr_channels=16, **chosen)
        for name, chosen in choices.items()
    },
    task.sampler,
    TrainConfig(steps=choice_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw the four networks
long_choices = long_run("07_choices")
show(
    plot_trainings(choice_runs, long_choices, baselines={"bicubic": task.bicubic_db}, lowest_db=24),
    "PSNR against step for four networks, here and in the long run. Both with the image skip start "
    "at bicubic; both without it start more than ten decibels below and never reach the others.",
)
table = long_choices.table()
table["against bicubic"] = table["mean (dB)"] - task.bicubic_db
table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The image skip decides. After 10 000 steps it is still worth more than half a decibel. Its lead
# shrinks with the steps; where it ends was not measured here. The published SRResNet has neither
# image skip nor sigmoid and reaches 32.05 dB on Set5 x4 after a million steps (Ledig et al., 2017).
#
# Sigmoid or linear is the smaller question. With the skip the linear output is a tenth ahead,
# without it they are level. The sigmoid buys something else: an output that never leaves 0..1. This
# course keeps it, as its formula does, and the tenth is what that costs at this size.
#
# </details>

# %% [markdown]
# ## 9. At the whiteboard
#
# Close the notebook and draw the shipped network. Seven steps:
#
# 1. **Head**: convolution 3x3, from 3 colours to 32 features, $x$. (N, 3, H, W) to (N, 32, H, W).
# 2. **Residual blocks**, 8 of them: x + 0.3 conv(ReLU(conv(x))). The shape stays.
# 3. **Body and feature skip**: one more convolution, then add $x$. This is $x + F_{res}(x)$.
# 4. **Deconvolution** $W_{res}$ by 2, kernel 4, to 12 features, and a ReLU. (N, 12, 2H, 2W).
# 5. **Deconvolution** $W_{out}$ by 2, kernel 4, to 3 colours: the residual. (N, 3, 4H, 4W).
# 6. **Image skip**: add the logit of the bicubic image, clamped.
# 7. **Sigmoid** $\sigma$: back to 0..1.
#
# For each skip, say what would happen without it. For each step, say what it costs for one LR
# pixel.

# %% [markdown]
# ### Open: a network of your own
#
# You may spend 165,000 parameters. Divide them otherwise than the shipped network does: fewer and
# wider blocks, more and narrower ones, more or no channels behind the deconvolution. Count the
# multiply-adds, work out the receptive field, and see whether it learns one crop by heart as fast.
#
# <details><summary>A sample answer</summary>
#
# ```python
# mine = SrResNet(4, channels=48, num_blocks=3, hr_channels=0)
# print(sum(p.numel() for p in mine.parameters()), measure_macs(mine)[0])
# print(widest([conv3] * (2 + 2 * 3) + [("deconv", 8, 4, 2)]))
# eye = PatchSampler([Pair("eye", small, target)], 4, lr_patch_size=12, batch_size=1, augment=False)
# config = TrainConfig(steps=overfit_steps, learning_rate=2e-3, progress=False)
# train(mine, eye, config, loss=F.mse_loss)["psnr_db"].iloc[-1]
# ```
#
# Three wide blocks cost as much as eight narrow ones and see less than half as far, since every
# block adds four pixels to the field's side. By heart it may learn as fast: one crop of 12 x 12
# pixels does not ask for a wide field. So the last test cannot tell which design is better.
# Training on many photographs can, as the pilots of section 4 did for the shipped one.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Every symbol of the formula is a line of code. Seven steps on tensors give the same picture as
#   the shipped network.
# - An untrained SrResNet is bicubic interpolation. It adds a residual in logit space.
# - A weight costs once for each pixel it is used on, so the blocks stand before the enlargement.
# - The receptive field by formula is the one by gradient; most of it is hardly used.
# - One crop learned by heart tells in seconds whether a network can learn.
# - The image skip is worth far more than the choice of the output, in seconds and in the long run.

# %% tags=["folded"]
# @title The numbers
skip_gain = table["mean (dB)"].iloc[:2].mean() - table["mean (dB)"].iloc[2:].mean()
print(f"assembled against shipped: {(output_by_hand - expected).abs().max():.1e}")
print(f"parameters of srresnet_small_x4: {costs.loc['as shipped', 'parameters']:,.0f}")
print(f"multiply-adds for each LR pixel: {by_hand['as shipped']:,}")
print(f"receptive field: {widest(chains['as shipped'])} LR pixels a side")
print(f"one crop by heart: {min(final['SrResNet']):.1f} dB at least, "
      f"with two sigmoids {max(final['TwoSigmoids']):.1f} dB at most")  # fmt: skip
print(f"the image skip: {skip_gain:+.1f} dB")
print(long_choices.summary())

# %% [markdown]
# ## Pitfalls
#
# - "SrResNet" names many networks. Ask for the upsampler, the output and the skips before you
#   compare numbers. The ten-layer listing of notebook 04 goes by the same name.
# - `torch.logit` without a clamp gives infinities at black and white, and their gradient is not a
#   number. `torch.logit(x, eps=...)` clamps on both sides.
# - `conv_transpose2d` wants its weight as (in, out, K, K), `conv2d` as (out, in, K, K). With equal
#   numbers of channels a mix-up gives no error, only another picture.
# - Features saved for a skip must not be changed in place afterwards (`inplace=True`, `+=`).
# - Counters differ: one multiply-add is one MAC and two FLOPs, papers count for an output of
#   1280 x 720 or for nothing they name, and some include fixed layers.
# - Tiles cut for memory have to overlap by half the receptive field, or their seams differ.
# - An overfitted crop says that the code can learn, and nothing about other pictures.
#
# ## Further reading
#
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017.
# - K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR, 2016.
# - B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single image
#   super-resolution", CVPR Workshops, 2017.
# - M. D. Zeiler, D. Krishnan, G. W. Taylor, R. Fergus, "Deconvolutional networks", CVPR, 2010.
# - W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
#   convolutional neural network", CVPR, 2016.
# - W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep
#   convolutional neural networks", NIPS, 2016.
