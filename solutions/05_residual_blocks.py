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
# Notebook 04 ended with plain networks that get worse as they get deeper. The cure is a single
# plus sign. This notebook builds it, takes it away again, and measures what is lost. Then it does
# the same with two longer skips, over all features and over the image.
#
# **After this you can**
#
# - write a residual block, and name the mistakes that silently break it;
# - compare networks fairly: same depth, same parameters, same start, several seeds;
# - say what the skip of a block, of the features and of the image each contribute.
#
# Time: 60 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 2 on an A100.

# %%
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.ticker import MaxNLocator
from torch import nn
from tqdm.auto import tqdm

from srlib.assets import sample_image
from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import evaluate
from srlib.exercises import check
from srlib.figures import show
from srlib.figures.diagrams import draw_chain
from srlib.image import to_float, to_uint8
from srlib.layers import PixelShuffleBlock
from srlib.metrics import score
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.widgets import Explorer

# %% tags=["parameters"]
seeds = by_profile(ci=(0, 1, 2), cpu=(0, 1, 2), gpu=(0, 1, 2, 3, 4))
deep_blocks = by_profile(ci=3, cpu=12, gpu=16)  # section 3: two convolutions each
deep_steps = by_profile(ci=4, cpu=200, gpu=1000)
switch_blocks = by_profile(ci=2, cpu=4, gpu=4)  # section 4
switch_steps = by_profile(ci=3, cpu=200, gpu=1000)
cut_blocks = by_profile(ci=2, cpu=6, gpu=6)  # section 5
cut_steps = by_profile(ci=4, cpu=400, gpu=2000)
channels = by_profile(ci=8, cpu=16, gpu=32)

# %% [markdown]
# ## 1. One addition
#
# A **residual block** computes a change, and adds it to what came in:
#
# $$ y = x + f(x), \qquad f(x) = W_2 * \mathrm{ReLU}(W_1 * x + b_1) + b_2 $$
#
# $x$ are features, $f$ is called the **branch**, and the way around it the **skip**. A block that
# has nothing to say makes $f(x) = 0$ and lets its input through.

# %%
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
# Write it. `first` and `second` are the two convolutions, to be called like functions.


# %%
def residual_block(x, first, second):
    """Residual block: features (N, C, H, W) and two convolutions -> (N, C, H, W)."""
    ### BEGIN SOLUTION
    return x + second(F.relu(first(x)))
    ### END SOLUTION


residual_block = check("05.1", residual_block)

# %% [markdown]
# Stuck? Run `from srlib.exercises import hint` and `hint("05.1")`. A wrong answer never stops
# the notebook: `check` hands on the reference.
#
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
    print(
        f"{name}: the gradient's root mean square is {gradient.square().mean().sqrt():.1e}, from 1"
    )

# %% [markdown]
# ## 2. Two longer skips
#
# SrResNet has the same idea twice more. The **feature skip** leads around all blocks. The **image
# skip** leads around the whole network: it enlarges the LR image by bicubic interpolation, and the
# network only makes what that lacks.

# %%
show(
    draw_chain(
        [
            ("LR image", "tensor", "(N, 3, H, W)"),
            ("conv 3x3", "conv", "(N, C, H, W)"),
            ("blocks, each with its skip", "conv", "(N, C, H, W)"),
            ("conv 3x3", "conv", "(N, C, H, W)"),
            ("", "add", "(N, C, H, W)"),
            ("enlarge", "enlarge", "(N, 3, sH, sW)"),
            ("SR image", "add", "(N, 3, sH, sW)"),
        ],
        skips=[(1, 4, "feature skip"), (0, 6, "image skip, bicubic")],
        title="The three skips of the network of this notebook",
    ),
    "A chain of seven boxes from the LR to the SR image. One arc leads around the blocks, a longer "
    "one from the LR image to the end.",
)

# %% [markdown]
# ### Exercise 05.2
#
# Write the feature skip: through all blocks, then through the convolution `last`, then add. The
# skip starts *before* the blocks and ends *after* `last`.


# %%
def skip_over_blocks(x, blocks, last):
    """Blocks one after the other, a last convolution, and x added: all (N, C, H, W)."""
    ### BEGIN SOLUTION
    features = x
    for block in blocks:
        features = block(features)
    return x + last(features)
    ### END SOLUTION


skip_over_blocks = check("05.2", skip_over_blocks)

# %% [markdown]
# ### Exercise 05.3
#
# Write the image skip. `residual` is what the network made, as large as the output. Use
# `imresize`, which takes tensors as well. Nothing is cut off to 0..1.


# %%
def add_to_bicubic(lr, residual, scale):
    """Image skip: (N, 3, H, W) and (N, 3, scale * H, scale * W) -> the size of the latter."""
    ### BEGIN SOLUTION
    return imresize(lr, scale) + residual
    ### END SOLUTION


add_to_bicubic = check("05.3", add_to_bicubic)

# %% [markdown]
# Now the network, with a switch for each skip. Your three functions do the adding. The last layer
# enlarges by sub-pixel convolution, which notebook 06 explains. Its weights start small, so with
# the image skip the first output is close to bicubic interpolation.


# %%
class Block(nn.Module):
    """Two convolutions, as a residual block or as a plain one."""

    def __init__(self, kind):
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


# %%
scale = 3


class SmallNetwork(nn.Module):
    """A small network for x3 with three switches."""

    def __init__(self, num_blocks, kind="residual", *, feature_skip=True, image_skip=True):
        super().__init__()
        self.feature_skip, self.image_skip = feature_skip, image_skip
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(Block(kind) for _ in range(num_blocks))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.enlarge = PixelShuffleBlock(channels, 3, scale)
        with torch.no_grad():
            self.enlarge.conv.weight.mul_(0.1)

    def forward(self, lr, blocks=None):
        """(N, 3, H, W) -> (N, 3, 3 * H, 3 * W), through all blocks or the given ones."""
        blocks = self.blocks if blocks is None else blocks
        x = self.head(lr)  # (N, C, H, W)
        if self.feature_skip:
            x = skip_over_blocks(x, blocks, self.last)
        else:
            x = self.last(nn.Sequential(*blocks)(x))
        residual = self.enlarge(x)  # (N, 3, 3 * H, 3 * W)
        return add_to_bicubic(lr, residual, scale) if self.image_skip else residual


# %% [markdown]
# Networks are trained on the bundled photographs for training, and scored on crops of others, by
# the protocol of notebook 03. A score is given as **gain**: the mean PSNR above bicubic
# interpolation, in dB.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
train_pairs = make_pairs(load_images("bundled/train"), scale)
corners = {"chelsea": (60, 110), "coffee": (100, 200), "camera": (80, 150), "coins": (60, 100)}
crops = {
    name: sample_image(name)[top : top + 144, left : left + 144]
    for name, (top, left) in corners.items()
}
test_pairs = make_pairs(crops, scale)


def make_sampler(seed):
    """Patches of 12 x 12 LR pixels, eight a batch; the same ones for the same seed."""
    options = {"lr_patch_size": 12, "batch_size": 8}
    return PatchSampler(train_pairs, scale, **options, seed=seed, device=device)


def psnr_of(upscaler):
    """Mean PSNR over the test crops, in dB."""
    return evaluate(upscaler, test_pairs, scale, progress=False).loc["mean", "psnr_db"]


bicubic_db = psnr_of(lambda lr: imresize(lr, scale))
print(f"bicubic: {bicubic_db:.2f} dB, the mean of {len(test_pairs)} crops, x{scale}")

# %% [markdown]
# ## 3. Plain against residual
#
# Three networks of equal depth and equal parameters:
#
# - **residual**: every block is $x + f(x)$;
# - **plain**: every block is $f(x)$. The convolutions and their first weights are the same, to
#   the bit. The only difference is the addition;
# - **plain, ReLU**: the plain network at its best. A ReLU follows every convolution, and the
#   weights start as He et al. (2015) advise for that, so that signals neither fade nor grow.
#
# The feature skip is off in all three, because it would lead around the blocks. The image skip is
# on in all three.

# %%
# NBVAL_CHECK_OUTPUT
kinds = ("residual", "plain", "plain, ReLU")


def make_deep(kind, seed):
    """Make one of the three networks; the same seed gives the same first weights."""
    torch.manual_seed(seed)
    network = SmallNetwork(deep_blocks, kind, feature_skip=False)
    if kind == "plain, ReLU":
        for layer in network.blocks.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
    return network.to(device)


counts = {kind: sum(p.numel() for p in make_deep(kind, 0).parameters()) for kind in kinds}
start = [make_deep(kind, 0).state_dict() for kind in ("residual", "plain")]
print("equal parameters:", len(set(counts.values())) == 1)
print("equal first weights:", all(start[0][name].equal(start[1][name]) for name in start[0]))

# %%
layer_count = 2 * deep_blocks
print(f"{layer_count} convolutions in blocks, {counts['residual']:,} parameters in each network")

# %% [markdown]
# ### Before training: how much gradient arrives
#
# One batch, one step back. For each convolution of the blocks: the norm of the loss's gradient with
# respect to its weights.
#
# *Predict:* where in the plain network is the gradient largest? By how much does it shrink?


# %%
def gradient_norms(kind, seed):
    """Norm of the gradient of each convolution in the blocks, before training."""
    network, (lr, hr) = make_deep(kind, seed), make_sampler(seed).sample()
    F.l1_loss(network(lr), hr).backward()
    layers = [layer for block in network.blocks for layer in (block.first, block.second)]
    return [layer.weight.grad.norm().item() for layer in layers]


norms = {kind: np.array([gradient_norms(kind, seed) for seed in seeds]) for kind in kinds}
figure, axes = plt.subplots()
for kind, values in norms.items():  # (seeds, layers)
    depth = np.arange(1, layer_count + 1)
    (line,) = axes.plot(depth, np.exp(np.log(values).mean(axis=0)), "o-", ms=4, label=kind)
    axes.fill_between(depth, values.min(0), values.max(0), color=line.get_color(), alpha=0.2)
axes.set(yscale="log", xlabel="convolution, from the input", ylabel="gradient norm")
axes.set_title(f"Gradient of the weights before training, {len(seeds)} seeds with their range")
axes.xaxis.set_major_locator(MaxNLocator(integer=True))
axes.legend()
show(
    figure,
    "Gradient norm against layer on a logarithmic axis: nearly level for the residual network, "
    "falling by orders of magnitude towards the input for the plain one, level but lower for the "
    "plain network with ReLU and He's start.",
)

# %%
pd.DataFrame(
    {kind: np.exp(np.log(v).mean(0))[[0, -1]] for kind, v in norms.items()},
    index=["first convolution", "last convolution"],
).T.map("{:.1e}".format)

# %% [markdown]
# In the plain network next to nothing arrives at the first blocks. Adam divides each gradient by
# its usual size, which helps small ones, but it adds 1e-8 to the divisor: those far below stay
# lost.
#
# He's start keeps the norm level without any skip. So if the norm were the whole story, the third
# network would train as well as the first.
#
# ### Training
#
# *Predict:* does it?


# %%
def bicubic_losses(seed):
    """L1 loss of bicubic interpolation on the batches that a training with this seed sees."""
    sampler = make_sampler(seed)
    batches = (sampler.sample() for _ in range(deep_steps))
    return np.array([F.l1_loss(imresize(lr, scale), hr).item() for lr, hr in batches])


bicubic_loss = {seed: bicubic_losses(seed) for seed in seeds}
config = TrainConfig(steps=deep_steps, progress=False)
curves, deep_gain = {}, {}
with tqdm(total=len(kinds) * len(seeds), desc="train", unit="network") as bar:
    for kind in kinds:
        for seed in seeds:
            network = make_deep(kind, seed)
            history = train(network, make_sampler(seed), config)
            curves[kind, seed] = history["loss"].to_numpy()
            deep_gain[kind, seed] = psnr_of(network) - bicubic_db
            bar.update()

# %% [markdown]
# A loss on random patches is noisy, because some patches are harder. All networks of a seed see the
# same patches, so each loss is divided by that of bicubic interpolation on the same ones.

# %%
window = max(1, deep_steps // 10)


def smooth(losses):
    """Running mean over a tenth of the training."""
    return np.convolve(losses, np.ones(window) / window, mode="valid")


figure, axes = plt.subplots()
for kind in kinds:
    ratios = [100 * smooth(curves[kind, s]) / smooth(bicubic_loss[s]) for s in seeds]
    steps = np.arange(window, deep_steps + 1)
    (line,) = axes.plot(steps, np.mean(ratios, axis=0), label=kind)
    axes.fill_between(
        steps, np.min(ratios, axis=0), np.max(ratios, axis=0), color=line.get_color(), alpha=0.2
    )
axes.axhline(100, color="grey", linestyle=":")
axes.set_ylim(top=min(axes.get_ylim()[1], 130))
axes.set(xlabel="step", ylabel="loss (% of bicubic's)")
axes.set_title(f"{layer_count} convolutions in blocks, {len(seeds)} seeds with their range")
axes.legend()
show(
    figure,
    "Training curves: the residual network falls below the loss of bicubic interpolation, "
    "both plain networks stay at it.",
)

# %% [markdown]
# The gain over bicubic on the test crops:


# %%


def spread(gains):
    """Mean, lowest and highest over the seeds, for a table."""
    return {"mean (dB)": np.mean(gains), "lowest": min(gains), "highest": max(gains)}


pd.DataFrame({kind: spread([deep_gain[kind, s] for s in seeds]) for kind in kinds}).T.round(2)

# %% [markdown]
# The untrained residual network lets most through, so at first it adds the most noise to the
# bicubic image. A gain near 0.00 is the image skip alone: such a network has learned to add
# nothing. To see whether patience helps, raise `deep_steps` in the parameters cell.
#
# Without gradient nothing is learned, but a healthy norm is not enough. Balduzzi et al. (2017)
# offer a reason: in deep plain networks the gradients at similar inputs have hardly anything in
# common, like white noise, however large they are. With skips they stay alike. That is their
# measurement, not ours.

# %% [markdown]
# ## 4. What each skip contributes
#
# Now a smaller depth, and all eight settings of the three switches. The block switch turns
# $x + f(x)$ into $f(x)$, as before, from the same first weights.
#
# *Predict:* order the three skips by what they bring in this short training.

# %%
settings = [  # block, feature, image
    (block, feature, image)
    for image in (False, True)
    for feature in (False, True)
    for block in (False, True)
]


def train_with(setting, seed, num_blocks, steps):
    """Train a network with some of the three skips."""
    block, feature, image = setting
    torch.manual_seed(seed)
    kind = "residual" if block else "plain"
    network = SmallNetwork(num_blocks, kind, feature_skip=feature, image_skip=image).to(device)
    train(network, make_sampler(seed), TrainConfig(steps=steps, progress=False))
    return network.eval()


networks, gains = {}, {}
with tqdm(total=len(settings) * len(seeds), desc="train", unit="network") as bar:
    for setting in settings:
        for seed in seeds:
            networks[setting, seed] = train_with(setting, seed, switch_blocks, switch_steps)
            gains[setting, seed] = psnr_of(networks[setting, seed]) - bicubic_db
            bar.update()

# %%
skip_names = ("block", "feature", "image")
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=False)
for axes, with_image in zip(panels, (False, True)):
    chosen = [setting for setting in settings if setting[2] == with_image]
    values = np.array([[gains[setting, seed] for seed in seeds] for setting in chosen])
    mean = values.mean(axis=1)
    reach = [mean - values.min(axis=1), values.max(axis=1) - mean]
    axes.bar(range(4), mean, yerr=reach, capsize=5, color="C0" if with_image else "C5")
    labels = [" +\n".join(n for n, on in zip(skip_names[:2], s) if on) or "neither" for s in chosen]
    axes.set_xticks(range(4), labels=labels)
    axes.axhline(0, color="black", linewidth=1)
    axes.set(title=f"{'with' if with_image else 'without'} the image skip")
    axes.set_ylabel("PSNR above bicubic (dB)")
figure.suptitle(
    f"{switch_blocks} blocks, {switch_steps} steps, {len(seeds)} seeds with their range"
)
show(
    figure,
    "Two groups of four bars with error bars, without and with the image skip. Without it all are "
    "far below bicubic, with it at or above bicubic. The two scales differ.",
)

# %% [markdown]
# Mind the two scales. Each skip one at a time: what it adds to a network that has none, and what is
# lost when it is taken from the network that has all three.

# %%
none, everything = (False,) * 3, (True,) * 3
rows = {}
for place, name in enumerate(skip_names):
    alone = tuple(k == place for k in range(3))
    others = tuple(k != place for k in range(3))
    added = [gains[alone, s] - gains[none, s] for s in seeds]
    lost = [gains[everything, s] - gains[others, s] for s in seeds]
    rows[name] = {
        "added to none (dB)": f"{np.mean(added):+.2f}  ({min(added):+.2f} to {max(added):+.2f})",
        "share in all three (dB)": f"{np.mean(lost):+.2f}  ({min(lost):+.2f} to {max(lost):+.2f})",
    }
pd.DataFrame(rows).T

# %% [markdown]
# In brackets is the range over the seeds. Where the range includes zero, this experiment does not
# show that the skip helps. Two skips can stand in for each other: what one adds depends on which
# others are there.

# %% [markdown]
# ## 5. Cutting blocks off
#
# Each residual block adds a change. What if a trained network uses the first few blocks only? It
# was never trained for that.
#
# Three networks: one with all three skips, one with the block skips alone, and the same one without
# them, that is, without any skip.
#
# *Predict:* a network loses the last half of its blocks. Which pictures are ruined?

# %%
variants = {  # block, feature, image
    "all three skips": (True, True, True),
    "block skips only": (True, False, False),
    "no skip": (False, False, False),
}

cut_networks = {}
for name, setting in variants.items():
    cut_networks[name] = train_with(setting, 0, cut_blocks, cut_steps)


@torch.inference_mode()
def run_with(network, lr, blocks):
    """Enlarge a uint8 image with some of a network's blocks."""
    return to_uint8(network(to_float(lr).to(device), blocks))


cut_pair = test_pairs[0]


def with_first_blocks(network, used):
    """Draw the output of the first blocks only, each pixel as 3 x 3."""
    sr = run_with(cut_networks[network], cut_pair.lr, cut_networks[network].blocks[:used])
    caption = f"{used} of {cut_blocks} blocks: {score(sr, cut_pair.hr, scale)[0]:.2f} dB"
    return sr.repeat(3, axis=0).repeat(3, axis=1), caption


cut_slider = Explorer(
    with_first_blocks,
    network=ipywidgets.ToggleButtons(options=list(cut_networks)),
    used=ipywidgets.IntSlider(cut_blocks, 0, cut_blocks, description="blocks used"),
)
cut_slider

# %% [markdown]
# The same for print, over all seeds, with the networks of section 4. On the left only the first
# blocks are used; on the right a single block is left out, as Veit et al. (2016) did.

# %%
count = switch_blocks
ways = {
    "blocks used, the first ones": [list(range(k)) for k in range(count + 1)],
    "block left out": [[j for j in range(count) if j != k] for k in range(count)],
}
cut_gain = {}  # (seeds, ways) by network and panel
for label, ways_to_cut in ways.items():
    for name, setting in variants.items():
        values = np.empty((len(seeds), len(ways_to_cut)))
        for row, seed in enumerate(seeds):
            network = networks[setting, seed]
            for column, kept in enumerate(ways_to_cut):
                blocks = [network.blocks[k] for k in kept]
                result = psnr_of(lambda lr, n=network, b=blocks: run_with(n, lr, b))
                values[row, column] = result - bicubic_db
        cut_gain[name, label] = values

# %%
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
for first_place, axes, label in zip((0, 1), panels, ways):
    for name in variants:
        values = cut_gain[name, label]
        places = first_place + np.arange(values.shape[1])
        (line,) = axes.plot(places, values.mean(axis=0), "o-", label=name)
        axes.fill_between(places, values.min(0), values.max(0), color=line.get_color(), alpha=0.2)
    axes.axhline(0, color="grey", linestyle=":")
    axes.set(xlabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
panels[0].set_ylabel("PSNR above bicubic (dB)")
panels[1].legend(loc="center")
figure.suptitle(f"Cut after training, {len(seeds)} seeds with their range")
show(
    figure,
    "PSNR above bicubic against the number of first blocks used, and against the block that is "
    "left out, for three networks with the range over seeds. With skips the curves fall gently, "
    "without any skip they collapse.",
)

# %% [markdown]
# And as pictures: the networks of the slider with all blocks, and with half of them.

# %%
figure, panels = plt.subplots(2, 3, figsize=(9, 6.4))
for row, used in zip(panels, (cut_blocks, cut_blocks // 2)):
    for axes, name in zip(row, variants):
        network = cut_networks[name]
        sr = run_with(network, cut_pair.lr, network.blocks[:used])
        axes.imshow(sr)
        axes.set_axis_off()
        psnr_db = score(sr, cut_pair.hr, scale)[0]
        axes.set_title(f"{name}\n{used} of {cut_blocks} blocks: {psnr_db:.2f} dB")
show(
    figure,
    "Six pictures of a cat's face. With half of the blocks, the network with all skips looks as "
    "before, the one with block skips is recognisable, the one without skips is ruined.",
)

# %% [markdown]
# ## What you saw

# %%
for kind in kinds:
    first, last = np.exp(np.log(norms[kind]).mean(axis=0))[[0, -1]]
    gain = np.mean([deep_gain[kind, seed] for seed in seeds])
    print(
        f"{layer_count} convolutions, {kind}: {gain:+.2f} dB against bicubic; gradient norm "
        f"{first:.0e} at the first, {last:.0e} at the last"
    )
for name in variants:
    values = cut_gain[name, "blocks used, the first ones"].mean(axis=0)
    half = values[count // 2]
    print(f"{name}: all blocks {values[-1]:+.2f} dB, half {half:+.2f} dB, none {values[0]:+.2f} dB")

# %% [markdown]
# - Equal convolutions, equal first weights, equal data: one addition a block decides whether a deep
#   network learns in the time given.
# - In the plain network almost no gradient arrives at the first layers. That is a reason, but not
#   the only one: in the third network it arrives, and that one does not learn either.
# - In a short training the image skip is worth most by far: without it the network spends its time
#   on learning to copy the picture. Of the other two, each alone helps a network that has none, and
#   with all three present, the last one to come adds little.
# - Residual blocks refine what the blocks before them made, so some can be missing. A plain block
#   changes the code that its successor reads, so none can.

# %% [markdown]
# ## Pitfalls
#
# - **A ReLU after the sum.** In the block for classification (He, CVPR 2016) there is one; for
#   super-resolution it is left out (Lim 2017), so that the skip carries negative values too.
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
