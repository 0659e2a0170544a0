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
# # 05 Residual blocks: add the input, and depth starts to pay
#
# Notebook 04 left ten plain layers that make a picture worse than they were given. The cure is a
# single plus sign: rung 3 of the ladder. This notebook builds it, takes it away again, and measures
# what is lost. Rung 4 does the same once more over all blocks. Then you cut blocks out of a network
# that was trained for hours.
#
# **After this you can**
#
# - write a residual block and a chain of them as modules, and name the mistakes that silently
#   break them;
# - compare networks fairly: same depth, same parameters, same start, several seeds;
# - say what the skip of a block, of the features and of the image each contribute.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.ticker import MaxNLocator
from torch import nn

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image
from srlib.data import make_pairs
from srlib.environment import by_profile
from srlib.exercises import check, hint
from srlib.figures import compare, show
from srlib.figures.diagrams import draw_chain
from srlib.figures.history import plot_trainings
from srlib.image import to_float, to_uint8
from srlib.layers import BicubicUpsample, PixelShuffleBlock
from srlib.metrics import score
from srlib.models import load_pretrained
from srlib.resample import imresize
from srlib.training import TrainConfig
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer

# %% tags=["parameters"]
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
ladder_steps = by_profile(ci=2, cpu=100, gpu=2000, long=2000)  # sections 2 and 3
deep_blocks = by_profile(ci=3, cpu=12, gpu=12)  # section 4: two convolutions each
deep_steps = by_profile(ci=2, cpu=200, gpu=3000, long=3000)
skip_steps = by_profile(ci=2, cpu=120, gpu=2000, long=2000)  # section 5
crop_side = by_profile(ci=48, cpu=96, gpu=96)  # pixels of the test crops

# %% [markdown]
# The picture shows where this leads. It is one network, `srresnet_small_x4`, trained for hours,
# that uses none of its eight residual blocks, some of them, or all. Each block adds something to
# what the blocks before it made.

# %% tags=["experiment"]
scale = 4
task = SmallTask(scale, crop_side=crop_side)  # photographs to train on, crops of others to score
print(f"bicubic x{scale}: {task.bicubic_db:.2f} dB on {len(task.test_pairs)} crops")

# %% tags=["folded"]
# @title A trained network with some of its blocks
shipped = load_pretrained("srresnet_small_x4")
face = make_pairs({"chelsea": sample_image("chelsea")[60:204, 110:254]}, scale)[0]


@torch.inference_mode()
def run_with(network, lr, kept):
    """Enlarge a uint8 image with the blocks of these numbers only."""
    x = to_float(lr)
    first = features = network.head(x)
    for index in kept:
        features = network.blocks[index](features)
    return to_uint8(network.tail(network.upsample(first + network.body(features)), x))


used = (0, 3, 8)
pictures = {f"{count} of 8 blocks": run_with(shipped, face.lr, range(count)) for count in used}
show(
    compare({"original": face.hr, **pictures}, reference="original", scale=scale),
    "A cat's eye: the original, and a trained network's output with none, three and all of its "
    "eight blocks. The more blocks, the sharper the eye.",
)

# %% [markdown]
# ## 1. One addition
#
# A **residual block** computes a change, and adds it to what came in:
#
# $$ y = x + f(x), \qquad f(x) = W_2 * \mathrm{ReLU}(W_1 * x + b_1) + b_2 $$
#
# $x$ are features, $f$ is called the **branch**, and the way around it the **skip**. A block that
# has nothing to say makes $f(x) = 0$ and lets its input through.

# %% tags=["folded"]
# @title Draw a residual block
show(
    draw_chain(
        [
            ("x", "tensor", "(N, C, H, W)"),
            ("conv 3x3", "conv", "(N, C, H, W)"),
            ("ReLU", "activation", ""),
            ("conv 3x3", "conv", "(N, C, H, W)"),
            ("x + f(x)", "add", "(N, C, H, W)"),
        ],
        skips=[(0, 4, "skip: x as it came")],
        title="A residual block",
    ),
    "A chain from x through a convolution, a ReLU and a convolution to a plus, and an arc from x "
    "straight to the plus.",
)

# %% [markdown]
# ### Exercise 05.1
#
# Write it. `first` and `second` are the two convolutions, to be called like functions. The check
# also sends a gradient back, since a network is going to train with your answer.


# %%
def residual_block(x, first, second):
    """Residual block: features (N, C, H, W) and two convolutions -> (N, C, H, W)."""
    ### BEGIN SOLUTION
    return x + second(F.relu(first(x)))
    ### END SOLUTION


residual_block = check("05.1", residual_block)

# %% [markdown]
# Stuck? `hint("05.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("05.1")

# %% [markdown]
# Why should this help? The derivative of $x + f(x)$ is $1 + f'(x)$. Through many blocks, gradients
# are multiplied by many such factors. Without the skip the factor is $f'(x)$ alone, and twenty
# factors below 1 leave nothing.
#
# *Predict:* send features through 20 blocks at their first weights, and a gradient back. What
# is left of it with the skip, and without?

# %%
torch.manual_seed(0)
pairs_of_convs = [[nn.Conv2d(16, 16, 3, padding=1) for _ in range(2)] for _ in range(20)]
for name, block in (
    ("with the skip", residual_block),
    ("without", lambda x, first, second: second(F.relu(first(x)))),
):
    x = torch.randn(1, 16, 12, 12, requires_grad=True)
    y = x
    for first, second in pairs_of_convs:
        y = block(y, first, second)
    (gradient,) = torch.autograd.grad(y, x, torch.randn_like(y))
    size = gradient.square().mean().sqrt()
    print(f"{name}: the gradient's root mean square is {size:.1e}, from 1")

# %% [markdown]
# <details><summary>What happened</summary>
#
# With the skip it arrives larger than it started: each block adds a little. Without it, each block
# takes most of it away, and after twenty nothing is left that a computer could use.
#
# </details>

# %% [markdown]
# ## 2. Rung 3: the addition
#
# This is where notebook 04 stopped, rung 2: ten convolutions of 16 channels behind the bicubic
# interpolation. The edit of rung 3: layers 2 to 9 become four residual blocks. No weight is added,
# none is taken away.


# %% tags=["experiment"]
class Block(nn.Module):
    """Two convolutions as a residual block or, with another `kind`, as plain ones."""

    def __init__(self, channels, kind="residual"):
        super().__init__()
        self.kind = kind  # "residual", "plain", or "plain, ReLU"
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        """(N, C, H, W) -> (N, C, H, W)."""
        if self.kind == "residual":
            return residual_block(x, self.first, self.second)
        branch = self.second(F.relu(self.first(x)))
        return F.relu(branch) if self.kind == "plain, ReLU" else branch


class Rung3(nn.Module):
    """y = sigmoid(W_out * F_res(x)), where x are features of the bicubic image."""

    def __init__(self, kind="residual"):
        super().__init__()
        self.bicubic = BicubicUpsample(scale)
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(16, kind) for _ in range(4)))
        self.tail = nn.Conv2d(16, 3, 3, padding=1)  # W_out

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        x = F.relu(self.head(self.bicubic(lr)))
        return torch.sigmoid(self.tail(self.blocks(x)))


# %% [markdown]
# ## 3. Rung 4: a skip over all blocks
#
# The same idea once more, further out: the **feature skip** leads around all blocks. Behind the
# blocks stands one more convolution, so that the network can choose what it adds. This is the term
# $x + F_{res}(x)$ of the formula.

# %% tags=["folded"]
# @title Draw the skip over all blocks
show(
    draw_chain(
        [
            ("features x", "tensor", "(N, C, H, W)"),
            ("block", "conv", "each with its skip"),
            ("block", "conv", ""),
            ("...", "conv", ""),
            ("last conv 3x3", "conv", "(N, C, H, W)"),
            ("x + F_res(x)", "add", "(N, C, H, W)"),
        ],
        skips=[(0, 5, "feature skip")],
        title="A chain of blocks, and the skip over all of them",
    ),
    "A chain of boxes from the features through several blocks and a last convolution to a plus. "
    "One arc leads from the features to the plus.",
)

# %% [markdown]
# ### Exercise 05.2
#
# Write it as a module. `Trunk(channels, num_blocks)` makes its blocks with `Block(channels)` and
# the last convolution, 3x3 with padding, in `__init__`. `forward` sends the features through the
# blocks one after the other, then through the last convolution, and adds what came in.


# %%
class Trunk(nn.Module):
    """Residual blocks, a last convolution, and the skip over all: (N, C, H, W) -> the same."""

    def __init__(self, channels, num_blocks):
        ### BEGIN SOLUTION
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(num_blocks)))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return x + self.last(self.blocks(x))
        ### END SOLUTION


Trunk = check("05.2", Trunk)


# %% tags=["experiment"]
class Rung4(Rung3):
    """y = sigmoid(W_out * (x + F_res(x)))."""

    def __init__(self):
        super().__init__()
        self.blocks = Trunk(16, 4)


ladder_runs = compare_trainings(
    "05_ladder",
    {
        "rung 2: ten plain layers": lambda: Rung3("plain, ReLU"),
        "rung 3: the addition": Rung3,
        "rung 4: a skip over all blocks": Rung4,
    },
    task.sampler,
    TrainConfig(steps=ladder_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
)

# %% [markdown]
# *Predict:* how many decibels is the addition worth? And the second skip?

# %% tags=["folded"]
# @title Draw the rungs
long_ladder = long_run("05_ladder")
show(
    plot_trainings(ladder_runs, long_ladder, baselines={"bicubic": task.bicubic_db}),
    "PSNR against step for three rungs, here and in the long run. The plain layers stay lowest; "
    "those with the addition rise by many decibels.",
)
long_ladder.table().round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The addition is worth about a decibel in the long run, whose table stands above, and more in the
# first hundreds of steps. It lifts ten layers above the bicubic image that they are given. The skip
# over all blocks changes little here, within what seeds differ: with four blocks, their own skips
# lead around already. What is most wanted is still missing, rung 6.
#
# </details>

# %% [markdown]
# ## 4. Plain against residual, at depth
#
# The third skip of SrResNet leads around the whole network: the **image skip** adds the bicubic
# image to what the network made. Then the network only makes what that image lacks. (Notebook 07
# adds it before a sigmoid. Here it is the plain sum.)
#
# ### Exercise 05.3
#
# Write it. `residual` is what the network made, as large as the output. Use `imresize`, which takes
# tensors as well. Nothing is cut off to 0..1.


# %%
def add_to_bicubic(lr, residual, scale):
    """Image skip: (N, 3, H, W) and (N, 3, scale * H, scale * W) -> the size of the latter."""
    ### BEGIN SOLUTION
    return imresize(lr, scale) + residual
    ### END SOLUTION


add_to_bicubic = check("05.3", add_to_bicubic)

# %% [markdown]
# Now a network with a switch for each of the three skips. Your three answers do the adding. It
# works on the small picture, and its last layer enlarges by sub-pixel convolution, which notebook
# 06 explains. That layer's weights start small, so with the image skip the first output is close to
# bicubic interpolation.


# %% tags=["experiment"]
class SmallNetwork(nn.Module):
    """A small network for x4 with three switches."""

    def __init__(self, num_blocks, kind="residual", *, feature_skip=True, image_skip=True):
        super().__init__()
        self.feature_skip, self.image_skip = feature_skip, image_skip
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(16, kind) for _ in range(num_blocks)))
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.enlarge = PixelShuffleBlock(16, 3, scale)
        with torch.no_grad():
            self.enlarge.conv.weight.mul_(0.1)

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        x = self.head(lr)  # (N, C, H, W)
        deep = self.last(self.blocks(x))
        residual = self.enlarge(x + deep if self.feature_skip else deep)
        return add_to_bicubic(lr, residual, scale) if self.image_skip else residual


# %% [markdown]
# Three of them, with 24 convolutions in blocks, equal in depth and in parameters:
#
# - **residual**: every block is $x + f(x)$;
# - **plain**: every block is $f(x)$. The convolutions and their first weights are the same, to
#   the bit. The only difference is the addition;
# - **plain, ReLU**: the plain network at its best. A ReLU follows every convolution, and the
#   weights start as He et al. (2015) advise for that, so that signals neither fade nor grow.
#
# The feature skip is off in all three, because it would lead around the blocks. The image skip is
# on in all three. So each of them starts not far from the bicubic score. The residual one starts
# lowest, by up to 3 dB in the long run, because each addition makes the features larger.


# %% tags=["experiment"]
def make_deep(kind):
    """Make one of the three networks."""
    network = SmallNetwork(deep_blocks, kind, feature_skip=False)
    if kind == "plain, ReLU":
        for layer in network.blocks.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
    return network


kinds = ("residual", "plain", "plain, ReLU")

# %% [markdown]
# ### Exercise 05.4: find the bug
#
# Before networks are compared, they have to start alike. Somebody wrote this. It runs, and the
# comparison it makes is worth nothing.
#
# ```python
# def make_rivals(make, kinds, seed):
#     torch.manual_seed(seed)
#     return {kind: make(kind) for kind in kinds}
# ```
#
# Find out what is wrong by comparing first weights, and write it right.


# %%
def make_rivals(make, kinds, seed):
    """Make a network of each kind, `make(kind)`, all from the same seed: dict by kind."""
    ### BEGIN SOLUTION
    rivals = {}
    for kind in kinds:
        torch.manual_seed(seed)
        rivals[kind] = make(kind)
    return rivals
    ### END SOLUTION


make_rivals = check("05.4", make_rivals)

# %%
# NBVAL_CHECK_OUTPUT
rivals = make_rivals(make_deep, kinds, seed=0)
counts = {kind: sum(p.numel() for p in network.parameters()) for kind, network in rivals.items()}
start = [rivals[kind].state_dict() for kind in ("residual", "plain")]
print("equal parameters:", len(set(counts.values())) == 1)
print("equal first weights:", all(start[0][name].equal(start[1][name]) for name in start[0]))

# %% [markdown]
# ### Before training: how much gradient arrives
#
# One batch, one step back. For each convolution of the blocks: the norm of the loss's gradient with
# respect to its weights.
#
# *Predict:* where in the plain network is the gradient largest? By how much does it shrink?


# %%
def gradient_norms(network, seed):
    """Norm of the gradient of each convolution in the blocks, before training."""
    lr, hr = task.sampler(seed).sample()
    F.l1_loss(network.to(task.device)(lr), hr).backward()
    layers = [layer for block in network.blocks for layer in (block.first, block.second)]
    return [layer.weight.grad.norm().item() for layer in layers]


norms = {kind: [] for kind in kinds}
for seed in (0, 1, 2):
    for kind, network in make_rivals(make_deep, kinds, seed).items():
        norms[kind].append(gradient_norms(network, seed))
norms = {kind: np.array(values) for kind, values in norms.items()}  # (seeds, layers)

# %% tags=["folded"]
# @title Draw the gradients
layer_count = 2 * deep_blocks
figure, axes = plt.subplots()
for kind, values in norms.items():
    depth = np.arange(1, layer_count + 1)
    (line,) = axes.plot(depth, np.exp(np.log(values).mean(axis=0)), "o-", ms=4, label=kind)
    axes.fill_between(depth, values.min(0), values.max(0), color=line.get_color(), alpha=0.2)
axes.set(yscale="log", xlabel="convolution, from the input", ylabel="gradient norm (log scale)")
axes.set_title("Gradient of the weights before training, three seeds with their range")
axes.xaxis.set_major_locator(MaxNLocator(integer=True))
axes.legend()
show(
    figure,
    "Gradient norm against layer on a logarithmic axis: nearly level for the residual network, "
    "falling by orders of magnitude towards the input for the plain one, level but lower for the "
    "plain network with ReLU and He's start.",
)
pd.DataFrame(
    {kind: np.exp(np.log(v).mean(0))[[0, -1]] for kind, v in norms.items()},
    index=["first convolution", "last convolution"],
).T.map("{:.1e}".format)

# %% [markdown]
# <details><summary>What happened</summary>
#
# In the plain network it is largest at the end, and next to nothing arrives at the first blocks.
# Adam divides each gradient by its usual size, which helps small ones, but it adds 1e-8 to the
# divisor: those far below stay lost. He's start keeps the norm level without any skip.
#
# </details>
#
# ### Training
#
# So if the norm were the whole story, the third network would train as well as the first.
#
# *Predict:* does it?

# %% tags=["experiment"]
deep_runs = compare_trainings(
    "05_depth",
    {kind: (lambda kind=kind: make_deep(kind)) for kind in kinds},
    lambda seed: task.sampler(seed, lr_patch_size=12),
    TrainConfig(steps=deep_steps, learning_rate=1e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw plain against residual
long_deep = long_run("05_depth")
show(
    plot_trainings(deep_runs, long_deep, baselines={"bicubic": task.bicubic_db}, lowest_db=26),
    "PSNR against step for three deep networks, which are soon near bicubic, here and in the long "
    "run. The residual one rises above it.",
)
deep_table = long_deep.table()
deep_table["gain over bicubic"] = deep_table["mean (dB)"] - task.bicubic_db
deep_table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Read the last column, which is the long run's. A gain near 0 is the image skip alone: such a
# network has learned to add nothing. The plain one did that from every seed. With ReLUs and He's
# start one seed of three found a way out, and its gain is far below that of the residual network,
# whose seeds all lie close together.
#
# A healthy norm is not enough. Balduzzi et al. (2017) offer a reason: in deep plain networks the
# gradients at similar inputs have hardly anything in common, like white noise, however large they
# are. With skips they stay alike. That is their measurement, not ours.
#
# </details>

# %% [markdown]
# ## 5. What each skip contributes
#
# Now four blocks, and all eight settings of the three switches. The block switch turns $x + f(x)$
# into $f(x)$, as before, from the same first weights.
#
# *Predict:* order the three skips by what they bring.

# %% tags=["experiment"]
skip_names = ("block", "feature", "image")
settings = {}
for image in (False, True):
    for feature in (False, True):
        for block in (False, True):
            chosen = [n for n, on in zip(skip_names, (block, feature, image), strict=True) if on]
            settings[" + ".join(chosen) or "none"] = (block, feature, image)


def with_skips(block, feature, image):
    """Make a network of four blocks with some of the three skips."""
    kind = "residual" if block else "plain"
    return SmallNetwork(4, kind, feature_skip=feature, image_skip=image)


skip_runs = compare_trainings(
    "05_skips",
    {name: (lambda setting=setting: with_skips(*setting)) for name, setting in settings.items()},
    lambda seed: task.sampler(seed, lr_patch_size=12),
    TrainConfig(steps=skip_steps, learning_rate=1e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw the eight settings
long_skips = long_run("05_skips")
figure, panels = plt.subplots(1, 2, figsize=(10, 4))
for axes, with_image in zip(panels, (False, True), strict=True):
    chosen = [name for name, setting in settings.items() if setting[2] == with_image]
    for run, colour, label in ((long_skips, "C0", "the long run"), (skip_runs, "C1", "this run")):
        gains = run.scores().loc[chosen] - task.bicubic_db
        mean = gains.mean(axis=1)
        reach = [mean - gains.min(axis=1), gains.max(axis=1) - mean]
        axes.errorbar(range(4), mean, yerr=reach, fmt="o", capsize=5, color=colour, label=label)
    labels = [name.removesuffix("image").strip("+ ") or "neither" for name in chosen]
    axes.set_xticks(
        range(4), [label.replace(" + ", " +\n").replace("none", "neither") for label in labels]
    )
    axes.axhline(0, color="black", linewidth=1)
    axes.set(title=f"{'with' if with_image else 'without'} the image skip")
    axes.set_ylabel("PSNR above bicubic (dB)")
panels[0].legend()
show(
    figure,
    "Two groups of four settings with error bars, without and with the image skip, from the long "
    "run and from this one. The two scales differ.",
)

# %% [markdown]
# Mind the two scales. Each skip one at a time, from the long run: what it adds to a network that
# has none, and what is lost when it is taken from the network that has all three.

# %% tags=["folded"]
# @title Each skip one at a time
by_setting = {settings[name]: row for name, row in long_skips.scores().iterrows()}
none, everything = (False,) * 3, (True,) * 3
rows = {}
for place, name in enumerate(skip_names):
    alone = tuple(k == place for k in range(3))
    others = tuple(k != place for k in range(3))
    added = by_setting[alone] - by_setting[none]
    lost = by_setting[everything] - by_setting[others]
    rows[name] = {
        "added to none (dB)": f"{added.mean():+.2f}  ({added.min():+.2f} to {added.max():+.2f})",
        "share in all three (dB)": f"{lost.mean():+.2f}  ({lost.min():+.2f} to {lost.max():+.2f})",
    }
pd.DataFrame(rows).T

# %% [markdown]
# <details><summary>What happened</summary>
#
# In brackets is the range over the seeds. Without the image skip, each of the other two is worth
# decibels. With it, they are worth nothing in the long run, and cost some tenths; why was not
# measured. In the first steps they may help. Two skips can stand in for each other, so what one is
# worth depends on which others are there, and on the depth: four blocks are no depth; at twelve, in
# section 4, the block skip decides. Do not read more into the tenths: with the image skip the seeds
# differ by nearly as much.
#
# </details>

# %% [markdown]
# ## 6. Cutting blocks out of a trained network
#
# Each residual block adds a change. What if a trained network uses the first few blocks only? It
# was never trained for that. The slider cuts `srresnet_small_x4`, which trained for hours.
#
# *Predict:* with how many of its eight blocks is it better than bicubic interpolation?

# %% tags=["folded"]
# @title A slider for the blocks


face_bicubic_db = score(imresize(face.lr, scale), face.hr, scale)[0]


def with_first_blocks(count):
    """Draw the output of the first blocks only, each pixel as 3 x 3."""
    sr = run_with(shipped, face.lr, range(count))
    reached = f"{count} of 8 blocks: {score(sr, face.hr, scale)[0]:.2f} dB"
    caption = f"{reached}; bicubic: {face_bicubic_db:.2f} dB"
    return sr.repeat(3, axis=0).repeat(3, axis=1), caption


cut_slider = Explorer(
    with_first_blocks, count=ipywidgets.IntSlider(8, 0, 8, description="blocks used")
)
cut_slider

# %% [markdown]
# For print, over the test crops and for both shipped networks of x4. On the left only the first
# blocks are used; on the right a single block is left out, as Veit et al. (2016) did.

# %%
cut_db = {}
for name in ("srresnet_small_x4", "srresnet_x4"):
    network = load_pretrained(name)
    count = len(network.blocks)
    ways = {
        "first": [list(range(k)) for k in range(count + 1)],
        "left out": [[j for j in range(count) if j != k] for k in range(count)],
    }
    for way, lists in ways.items():
        cut_db[name, way] = [
            task.score(lambda lr, k=kept, n=network: run_with(n, lr, k)) for kept in lists
        ]

# %% tags=["folded"]
# @title Draw what the cuts cost
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
for place, name in enumerate(("srresnet_small_x4", "srresnet_x4")):
    first, single = cut_db[name, "first"], cut_db[name, "left out"]
    panels[0].plot(range(len(first)), first, "o-", color=f"C{place}", label=name)
    panels[1].plot(range(1, len(single) + 1), single, "o", color=f"C{place}")
    panels[1].axhline(first[-1], color=f"C{place}", linewidth=1)
for axes, label in zip(panels, ("blocks used, the first ones", "block left out"), strict=True):
    axes.axhline(task.bicubic_db, color="black", linestyle=":", label="bicubic")
    axes.set(xlabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
panels[0].set_ylabel("PSNR of the test crops (dB)")
panels[0].legend(loc="lower right")
panels[1].set_title("lines: all blocks")
show(
    figure,
    "PSNR against the number of first blocks used, which rises step by step, and against the block "
    "that is left out, which costs a few tenths of a decibel for most blocks.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Both networks are above bicubic without any block, since head, body and deconvolution learned
# something too. Every block adds to what the ones before it made, so the score rises step by step.
# Most single blocks can be missing at the cost of some tenths of a decibel. A few early ones cost
# a decibel or more: those behind them were trained to refine what they make.
#
# </details>

# %% [markdown]
# ## 7. Measure something of your own
#
# **Open.** Change one thing about the block, and find out whether it is better: a factor of 0.1 on
# the branch, as EDSR has it; a ReLU before the first convolution (He et al., ECCV 2016); a kernel
# of 1x1 in second place and more channels. Equal parameters, equal start where that is possible,
# three seeds. Write down what you expect before you look.
#
# <details><summary>A sample answer</summary>
#
# ```python
# class ScaledBlock(Block):
#     def forward(self, x):
#         return x + 0.1 * self.second(F.relu(self.first(x)))
#
# def with_block(block):
#     network = SmallNetwork(4)
#     network.blocks = nn.Sequential(*(block(16) for _ in range(4)))
#     return network
#
# runs = compare_trainings(
#     "my_block",
#     {"as it is": lambda: with_block(Block), "times 0.1": lambda: with_block(ScaledBlock)},
#     task.sampler, TrainConfig(steps=skip_steps, learning_rate=1e-3), task.score, seeds=(0, 1, 2))
# plot_trainings(runs, baselines={"bicubic": task.bicubic_db})
# ```
#
# After so few steps the two are equal. After 600 the factor has cost 0.1 to 0.2 dB (measured, two
# seeds): with it each block has to grow ten times as far. It was made for stacks of dozens of
# blocks, whose sum would grow too large without it. A difference that is smaller than the bands of
# the seeds is no difference.
#
# </details>

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers, from the long runs
for kind in kinds:
    first, last = np.exp(np.log(norms[kind]).mean(axis=0))[[0, -1]]
    print(
        f"{layer_count} convolutions, {kind}: {deep_table.loc[kind, 'gain over bicubic']:+.2f} dB "
        f"against bicubic; gradient norm {first:.0e} at the first, {last:.0e} at the last"
    )
for run in (long_ladder, long_deep, long_skips):
    print(run.summary())
for name, row in long_ladder.table().iterrows():
    print(f"    {name}: {row['mean (dB)']:.2f} dB ({row['lowest']:.2f} to {row['highest']:.2f})")
for name in ("srresnet_small_x4", "srresnet_x4"):
    first = cut_db[name, "first"]
    half = first[len(first) // 2]
    print(f"{name}: no block {first[0]:.2f} dB, half {half:.2f}, all {first[-1]:.2f}")

# %% [markdown]
# - Equal convolutions, equal first weights, equal data: one addition a block decides whether a deep
#   network learns in the time given.
# - In the plain network almost no gradient arrives at the first layers. That is a reason, but not
#   the only one: with He's start it arrives, and that helped one seed of three.
# - The image skip is worth most: without it the network spends its time on learning to copy the
#   picture. In a shallow network it makes the other two superfluous. In a deep one the block skip
#   still decides; the feature skip was not tried there.
# - Residual blocks refine what the blocks before them made, so single ones can be missing.

# %% [markdown]
# ## Pitfalls
#
# - **A ReLU after the sum.** In the block for classification (He, CVPR 2016) there is one. Ledig's
#   block (2017) left it out, and Lim's (2017) the normalisation too, so that the skip carries
#   everything as it came.
# - **`nn.ReLU(inplace=True)`** at the start of a branch writes into the tensor that the skip needs.
#   Nothing fails: the block trains, and is another one.
# - **Unequal comparisons.** A skip with a 1x1 convolution, more layers, another start, or one lucky
#   seed can each look like the effect of the skip.
# - **A loss that falls** may be only the picture's mean colour being learned. Compare with bicubic
#   interpolation on the same patches.
# - **Very deep or wide stacks.** Each addition makes the features larger. EDSR multiplies the
#   branch by 0.1; `srlib.models.SrResNet` multiplies it by 0.3.
# - **A short training** tells what is learned fast, not what is best in the end.
#
# ## Further reading
#
# - K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR, 2016.
# - K. He, X. Zhang, S. Ren, J. Sun, "Identity mappings in deep residual networks", ECCV, 2016.
#   Which place of the activation keeps the skip clean.
# - K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level
#   performance on ImageNet classification", ICCV, 2015. The start of the third network.
# - A. Veit, M. Wilber, S. Belongie, "Residual networks behave like ensembles of relatively shallow
#   networks", NIPS, 2016.
# - D. Balduzzi, M. Frean, L. Leary, J. P. Lewis, K. W.-D. Ma, B. McWilliams, "The shattered
#   gradients problem: if resnets are the answer, then what is the question?", ICML, 2017.
# - J. Kim, J. K. Lee, K. M. Lee, "Accurate image super-resolution using very deep convolutional
#   networks", CVPR, 2016. VDSR: the image skip.
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017. SRResNet: block skips and the feature skip.
# - B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single image
#   super-resolution", CVPR Workshops, 2017. EDSR: no normalisation, no ReLU after the sum.
