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
# # 04 First networks: your own training loop, and a listing to repair
#
# Here a network learns for the first time, and you write both: the network, three layers, and the
# step that trains it, six lines. Then comes a listing of ten layers that circulates under the
# name SrResNet. It does not work. You measure what is wrong with it, and from here to notebook 07
# it is repaired, one edit at a time, until it is the network that this course ships.
#
# **After this you can**
#
# - write SRCNN and the loop that trains it, and say what each of its lines does;
# - say what pooling loses, and why a network for pictures does without it;
# - read a layer listing: count its parameters, see what it lacks, and predict where its gradient
#   dies.
#
# Time: 90 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image, sample_names
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import compare, show
from srlib.figures.diagrams import draw_chain
from srlib.figures.history import fit_scale, plot_trainings
from srlib.image import rgb_to_y
from srlib.layers import BicubicUpsample, DeconvBlock
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer, PhotoPicker

# %% tags=["parameters"]
seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
loop_steps = by_profile(ci=4, cpu=200, gpu=1000)  # your own loop
start_steps = by_profile(ci=2, cpu=120, gpu=2000, long=2000)
pooling_steps = by_profile(ci=2, cpu=200, gpu=4000, long=3000)
listing_steps = by_profile(ci=1, cpu=4, gpu=400, long=100)
depth_steps = by_profile(ci=2, cpu=100, gpu=2000, long=2000)
depths = by_profile(ci=(2, 6, 10), cpu=(2, 6, 10, 20), gpu=(2, 6, 10, 20))
crop_side = by_profile(ci=48, cpu=96, gpu=96)  # pixels of the test crops

# %% [markdown]
# Experiments that train run twice in this course: for seconds here, and once for much longer, from
# three seeds, by `make experiments`. What the long runs found is stored in `data/experiments`. A
# figure shows both, and the text concludes from the long one.
#
# The picture below leads the way: SRCNN after its long run, beside the bicubic interpolation that
# it starts from.

# %% tags=["experiment"]
scale = 4
task = SmallTask(scale, crop_side=crop_side)  # photographs to train on, crops of others to score
print(f"bicubic x{scale}: {task.bicubic_db:.2f} dB on {len(task.test_pairs)} crops")
eye = task.test_pairs[0]

# %% tags=["folded"]
# @title What the long run of section 3 reached
long_start = long_run("04_start")
reached = long_start.load(
    "start as bicubic",
    nn.Sequential(
        BicubicUpsample(scale),
        *(nn.Conv2d(3, 64, 9, padding=4), nn.ReLU()),
        *(nn.Conv2d(64, 32, 5, padding=2), nn.ReLU()),
        nn.Conv2d(32, 3, 5, padding=2),
    ),
)
pictures = {"bicubic": imresize(eye.lr, scale), "SRCNN": upscale(reached, eye.lr)}
show(
    compare({"original": eye.hr, **pictures}, reference="original", scale=scale),
    "A cat's eye: the original, bicubic interpolation, and SRCNN, whose outlines are sharper.",
)

# %% [markdown]
# ## 1. A convolution by hand
#
# A small table of weights, the **kernel**, is laid on the picture. The pixels under it are
# multiplied by the weights and added up: one number. The kernel moves on by one pixel, and so on.
# A layer of a network does just this, for many kernels at once, and the weights are learned.
#
# *Predict:* how large is the result for a picture of 5x6 pixels and a kernel of 3x3?
#
# ### Exercise 04.1
#
# Write it for a grey picture and one kernel, without padding: the kernel never leaves the
# picture. Do not turn the kernel round. (Mathematics does, and calls your function a
# cross-correlation. In networks it makes no difference, since the weights are learned.)


# %%
def convolve(image, kernel):
    """Lay `kernel` (K, L) on every place of `image` (H, W) -> floats (H - K + 1, W - L + 1)."""
    ### BEGIN SOLUTION
    height = image.shape[0] - kernel.shape[0] + 1
    width = image.shape[1] - kernel.shape[1] + 1
    result = np.zeros((height, width))
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            result += kernel[i, j] * image[i : i + height, j : j + width]
    return result
    ### END SOLUTION


convolve = check("04.1", convolve)

# %% [markdown]
# Stuck? `hint("04.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("04.1")

# %% [markdown]
# Your function and torch's, on a photograph:

# %%
grey = rgb_to_y(sample_image("camera")) / 255  # (512, 512)
kernel = np.array([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]])
yours = convolve(grey, kernel)
theirs = F.conv2d(torch.tensor(grey)[None, None].double(), torch.tensor(kernel)[None, None])
gap = abs(yours - theirs[0, 0].numpy()).max()
print(f"{grey.shape} -> {yours.shape}, largest difference {gap:.0e}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# The kernel of 3 fits into a row of 5 three times and into one of 6 four times: 3x4. Each
# convolution without padding makes height and width smaller by `kernel - 1`.
#
# </details>
#
# Now turn the nine weights yourself. The kernel is symmetric, so three numbers are enough.
#
# *Predict:* which weights blur? Which sharpen? Which leave only edges?

# %% tags=["folded"]
# @title Three sliders for nine weights


def weigh(image, centre, side, corner):
    """Filter a photograph with the kernel of these weights."""
    kernel = torch.tensor([[corner, side, corner], [side, centre, side], [corner, side, corner]])
    channels = torch.from_numpy(image).float().permute(2, 0, 1)[:, None]  # (3, 1, H, W)
    filtered = F.conv2d(F.pad(channels, (1, 1, 1, 1), mode="replicate"), kernel[None, None])
    total = round(centre + 4 * side + 4 * corner, 1) + 0.0  # a zero has no minus
    middle = 128 if total == 0 else 0  # no brightness is left: 0 becomes grey
    levels = (filtered[:, 0] + middle).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return levels, f"the weights sum to {total:.1f}" + ("; 0 is drawn grey" if middle else "")


kernel_slider = Explorer(
    weigh,
    photo=PhotoPicker("coffee", max_side=320),
    centre=ipywidgets.FloatSlider(5, min=-4, max=9, step=0.1),
    side=ipywidgets.FloatSlider(-1, min=-2, max=2, step=0.1),
    corner=ipywidgets.FloatSlider(0, min=-2, max=2, step=0.1),
)
kernel_slider

# %% tags=["folded"]
# @title The same for print
coffee = sample_image("coffee")[60:260, 180:480]
kernels = {"sharpen: 5, -1, 0": (5.0, -1.0, 0.0), "edges: 8, -1, -1": (8.0, -1.0, -1.0)}
kernels["blur: 0.2, 0.1, 0.1"] = (0.2, 0.1, 0.1)
filtered = {name: weigh(coffee, *weights)[0] for name, weights in kernels.items()}
show(
    compare({"photograph": coffee, **filtered}),
    "A cup of coffee; the same sharper; only its outlines on grey; the same blurred.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Weights of one sign blur: each pixel becomes a mean of its neighbours. A large centre with
# negative neighbours sharpens: what differs from its surroundings is made to differ more. If the
# weights sum to 0, an even area becomes 0 and only edges are left.
#
# </details>

# %% [markdown]
# ## 2. Three layers: SRCNN
#
# In 2014 Dong and others published the first convolutional network for super-resolution. It
# enlarges by bicubic interpolation first, and repairs the result with three convolutions.

# %% tags=["folded"]
# @title Draw SRCNN
show(
    draw_chain(
        [
            ("LR image", "tensor", "(N, 3, H, W)"),
            ("bicubic", "enlarge", "(N, 3, sH, sW)"),
            ("conv 9x9", "conv", "(N, 64, sH, sW)"),
            ("ReLU", "activation", ""),
            ("conv 5x5", "conv", "(N, 32, sH, sW)"),
            ("ReLU", "activation", ""),
            ("conv 5x5", "conv", "(N, 3, sH, sW)"),
        ],
        title="SRCNN: interpolate, then three convolutions",
    ),
    "A chain of boxes: the image, bicubic interpolation, and three convolutions with ReLU between.",
)

# %% [markdown]
# A **ReLU** sets what is negative to 0. Without it three convolutions would be one: sums of sums
# are sums. The paper works on the luma alone; yours works on three colours.
#
# ### Exercise 04.2
#
# Write it, with `nn.Sequential`. `BicubicUpsample(scale)` is the first layer. A convolution is
# `nn.Conv2d(channels before, channels after, kernel size, padding=...)`; choose the paddings so
# that the size stays.


# %%
def srcnn(scale):
    """SRCNN for three colours: a network from (N, 3, H, W) to (N, 3, scale * H, scale * W)."""
    ### BEGIN SOLUTION
    return nn.Sequential(
        BicubicUpsample(scale),
        nn.Conv2d(3, 64, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(64, 32, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 3, 5, padding=2),
    )
    ### END SOLUTION


srcnn = check("04.2", srcnn)

# %% [markdown]
# ## 3. The loop that trains it
#
# A network learns from pairs: a patch in low resolution, and the same patch as it should be. The
# sampler of this course cuts them from photographs, eight at a time. Such a heap is a **batch**.


# %%
lr, hr = task.sampler(seed=0).sample()
print("LR", tuple(lr.shape), " HR", tuple(hr.shape), " values", lr.min().item(), lr.max().item())

# %% [markdown]
# How wrong is an output? The **L1 loss** says it in one number: the mean absolute difference from
# the original, over all pixels and colours. 0 is perfect; 0.1 is a tenth of the way from black to
# white. (Notebook 09 compares it with the squared difference.)
#
# The **gradient** says for each weight how the loss changes if the weight grows. `backward`
# computes it for all weights, from the last layer to the first. An **optimizer** moves each weight
# a little against its gradient. The usual one is Adam, which gives every weight a step of its own
# size.
#
# That is all. A step of training is this:
#
# ```python
# lr, hr = sampler.sample()        # a batch
# sr = network(lr)                 # forward
# loss = F.l1_loss(sr, hr)         # how wrong
# optimizer.zero_grad()            # forget the old gradient
# loss.backward()                  # the new one, for all weights
# optimizer.step()                 # move the weights
# ```
#
# ### Exercise 04.3
#
# Write the step as a function, for a batch that is given. Return the loss as a number, which
# `loss.item()` gives.


# %%
def train_step(network, lr, hr, optimizer):
    """Move the weights once; return the loss before that: networks, (N, 3, H, W) -> float."""
    ### BEGIN SOLUTION
    loss = F.l1_loss(network(lr), hr)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


train_step = check("04.3", train_step)

# %% [markdown]
# Now the loop. Watch the picture below it form: it is what the network makes of the cat's eye
# after so many steps.
#
# *Predict:* the weights are small random numbers at first. What does the first picture show? And
# which comes first, the outlines or the right colours?

# %%
torch.manual_seed(0)
network = srcnn(scale).to(task.device)
sampler = task.sampler(seed=0)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
watched = {0, loop_steps // 10, loop_steps}  # a picture after so many steps
losses, pictures = [], {"original": eye.hr}
for step in range(loop_steps + 1):
    if step > 0:
        lr, hr = sampler.sample()
        losses.append(train_step(network, lr, hr, optimizer))
    if step in watched:
        pictures[f"step {step}"] = upscale(network, eye.lr)
        film = compare(pictures, reference="original", scale=scale)
        show(film, "Black at first, then more and more a cat's eye.", place="film")
print(f"{task.score(network):.2f} dB after {loop_steps} steps; bicubic has {task.bicubic_db:.2f}")

# %% tags=["folded"]
# @title Draw the loss
figure, axes = plt.subplots(figsize=(8, 3))
axes.plot(np.arange(1, loop_steps + 1), losses)
axes.set(xlabel="step", ylabel="L1 loss", title="SRCNN, your loop (log scale)")
fit_scale(axes, np.array(losses))
show(figure, "The loss falls steeply in the first steps, then slowly and with much noise.")

# %% [markdown]
# <details><summary>What happened</summary>
#
# At first there is no picture: three layers of small random weights made nearly black of a good
# bicubic image. The outlines come first, in the wrong colour: they were in the input all the time.
# Brightness follows, and colour comes last; at the end the iris is still too brown. (The score is
# of the luma and does not see that.) The loss falls fast at first, then it crawls. After these
# steps the network is still worse than its own input. The loss is noisy because each batch holds
# other patches, and some are harder.
#
# </details>

# %% [markdown]
# ### `train` is your loop
#
# From here on the course calls `srlib.training.train`. Open it (Ctrl-click, or `train??`): it is
# your loop, with a schedule for the learning rate, a log, and checkpoints so that nothing is lost
# when somebody pulls the plug. With all that turned off it must give your losses, to the last
# digit. Does it? (If you wrote the loss another way, the last digit may differ.)

# %%
torch.manual_seed(0)
config = TrainConfig(
    steps=min(loop_steps, 20), learning_rate=1e-3, schedule="constant", warmup=0, clip_norm=None
)
history = train(srcnn(scale), task.sampler(seed=0), config)
equal = history["loss"].to_list() == losses[: config.steps]
print("the same losses, to the last digit:", equal)

# %% [markdown]
# ### The start decides
#
# SRCNN spends its steps on learning to hand on the picture that it was given. So help it: set the
# weights so that one channel of each layer for each colour passes the picture on unchanged, while
# the others are random but not used yet. The untrained network then *is* bicubic interpolation.
# Layers, data and steps stay the same.
#
# *Predict:* which start is ahead after a hundred steps? And after two thousand, does the other one
# catch up?


# %% tags=["experiment"]
@torch.no_grad()
def as_bicubic(network):
    """Let channels 0, 1 and 2 of each layer hand on red, green and blue."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            middle = layer.kernel_size[0] // 2
            layer.weight[:3] = 0
            layer.bias[:3] = 0
            for colour in range(3):
                layer.weight[colour, colour, middle, middle] = 1
    return network


starts = {
    "random start": lambda: srcnn(scale),
    "start as bicubic": lambda: as_bicubic(srcnn(scale)),
}
start_runs = compare_trainings(
    "04_start",
    starts,
    task.sampler,
    TrainConfig(steps=start_steps, learning_rate=1e-3),
    task.score,
    seeds=seeds,
    keep=["start as bicubic"],
)

# %% tags=["folded"]
# @title Draw both starts
show(
    plot_trainings(start_runs, long_start, baselines={"bicubic": task.bicubic_db}, lowest_db=20),
    "PSNR against step for two starts, here and in the long run. The one that starts as bicubic "
    "falls a little and then rises; the random one comes from far below and nearly catches up.",
)
long_start.table().round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# After a hundred steps the good start is decibels ahead. It begins at the bicubic score, and its
# first steps can cost some tenths: the optimizer moves all the random channels as well. After some
# hundred steps it stays above the line. In the long run the random one passes bicubic too, and ends
# within some hundredths of the other. So what a good start buys is time: here some thousand steps.
# The deeper the network, the more it buys, as section 6 shows. Notebook 07 builds it into the
# network, so that no weights need to be set: that is the image skip.
#
# </details>

# %% [markdown]
# ## 4. Pooling, and what it loses
#
# Networks that name what is in a picture had been successful before, and they pool. They have to be
# indifferent to where things are: a cat on the left is a cat on the right. **Max pooling** makes
# them so. It cuts the features into blocks and keeps the largest value of each.
#
# ### Exercise 04.4
#
# Write it for one channel. Rows and columns that do not fill a block are left out.


# %%
def max_pool(image, size):
    """Largest value of each block of size x size: (H, W) -> (H // size, W // size)."""
    ### BEGIN SOLUTION
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(height, size, width, size)
    return blocks.max(axis=(1, 3))
    ### END SOLUTION


max_pool = check("04.4", max_pool)

# %% [markdown]
# Put one bright pixel on a black picture of 8x8, at each of its 64 places.
#
# *Predict:* how many different results does a pooling of 2x2 give? Of 4x4? Of 8x8?

# %%
dots = np.eye(64).reshape(64, 8, 8)  # 64 pictures, a dot at each place
told_apart = {
    f"{size} x {size}": len({max_pool(dot, size).tobytes() for dot in dots})
    for size in (1, 2, 4, 8)
}
pd.DataFrame(told_apart, index=["places that can be told apart, of 64"]).T

# %% [markdown]
# <details><summary>What happened</summary>
#
# 16, 4 and 1: one for each block that is left.
#
# </details>
#
# Each pooling of 2x2 divides the places by four. For a label that is the purpose. For a picture
# with more pixels than before it is the wrong direction: **the position is the answer**.
#
# Try it on a photograph. Shift it by a few pixels, and compare its edges before and after by their
# correlation: 1 means that nobody noticed.

# %% tags=["folded"]
# @title Shift, pool, compare


def edges(image):
    """Strength of vertical edges: uint8 (H, W, 3) -> float tensor (1, 1, H, W), 0 or more."""
    luma = torch.from_numpy(rgb_to_y(image)).float()[None, None]
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return F.relu(F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel[None, None]))


def alike(first, second):
    """Correlation of two tensors of one shape."""
    return torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].item()


# %% tags=["folded"]
# @title A slider for the shift


def shift_and_pool(image, shift, size):
    """Draw pooled edges of a photograph, of the shifted photograph, and what changed."""
    side = min(*image.shape[:2], 128) // 8 * 8
    found = edges(image)
    parts = [features[..., :side, :side] for features in (found, found.roll(shift, dims=-1))]
    before, after = (F.max_pool2d(part, size) for part in parts)
    gap = np.full((2 * side, 8, 3), 128, np.uint8)
    panels = []
    for part in (before, after, (before - after).abs()):
        level = 255 - part[0, 0].clamp(max=255).byte().numpy()  # white is none
        panel = level.repeat(2 * size, 0).repeat(2 * size, 1)[..., None].repeat(3, axis=2)
        panels += [panel, gap]
    caption = f"before, after, difference; correlation {alike(before, after):.2f}"
    return np.concatenate(panels[:-1], axis=1), caption


shift_slider = Explorer(
    shift_and_pool,
    photo=PhotoPicker("coins", names=sample_names("test")),
    shift=ipywidgets.IntSlider(1, min=0, max=16, description="shift (pixels)"),
    size=ipywidgets.ToggleButtons(options=[1, 2, 4, 8], value=8, description="pooling by"),
)
shift_slider

# %% tags=["folded"]
# @title The same for print, over the test photographs
shifts = np.arange(0, 13)
test_edges = [edges(sample_image(name)) for name in sample_names("test")]
figure, axes = plt.subplots()
noticed = {}
for size, style in zip((1, 2, 4, 8), ("-", "--", "-.", ":"), strict=True):
    pooled = [[F.max_pool2d(e.roll(int(s), -1), size) for s in shifts] for e in test_edges]
    values = np.array([[alike(row[0], after) for after in row] for row in pooled])
    noticed[size] = values[:, 1].mean()
    label = f"pooled by {size}" if size > 1 else "not pooled"
    axes.plot(shifts, values.mean(axis=0), style, label=label)
    axes.fill_between(shifts, values.min(axis=0), values.max(axis=0), alpha=0.15)
axes.set(xlabel="shift (pixels)", ylabel="correlation with the features before")
axes.set(title="The more is pooled, the less a shift is noticed: mean and range")
axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(figure, "Correlation falls with the shift; the more is pooled, the slower it falls.")

# %% [markdown]
# ### What that costs
#
# Three networks, each with three convolutions and a deconvolution that brings the features to the
# size of the output. One never pools, one pools once, one twice. What they make is *added* to the
# bicubic image, and is 0 before training, so all three start at the bicubic score. From there on,
# each decibel is detail that they found. The two that pool even have more parameters, since they
# have further to enlarge.
#
# Two details see to it that none of the three dies early. A ReLU that is off everywhere
# gets no gradient and never comes back. With L1 that happened to all channels of the networks that
# pool, within some hundred steps (measured apart, from three starts). So here a negative value
# becomes a tenth of itself, by a **leaky ReLU**, and the loss is the mean *squared* difference.
#
# *Predict:* how much of the gain survives one pooling, and how much two?


# %% tags=["experiment"]
class PooledDetail(nn.Module):
    """Three convolutions with some poolings between, added to the bicubic image."""

    def __init__(self, poolings, channels=16):
        super().__init__()
        layers = []
        for index, before in enumerate((3, channels, channels)):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.LeakyReLU(0.1)]
            layers += [nn.MaxPool2d(2)] if index < poolings else []
        last = DeconvBlock(channels, 3, scale * 2**poolings)
        nn.init.zeros_(last.deconv.weight)
        nn.init.zeros_(last.deconv.bias)
        self.detail = nn.Sequential(*layers, last)
        self.bicubic = BicubicUpsample(scale)

    def forward(self, lr):
        """(N, 3, H, W), sides divisible by 4 -> (N, 3, 4 H, 4 W)."""
        return self.bicubic(lr) + self.detail(lr)


# %% tags=["experiment"]
def larger_patches(seed):
    """Patches that stay larger than the kernels when they were pooled twice."""
    return task.sampler(seed, lr_patch_size=16)


names = ("no pooling", "one pooling", "two poolings")
pooled_networks = {
    name: (lambda count=count: PooledDetail(count)) for count, name in enumerate(names)
}
pooling_runs = compare_trainings(
    "04_pooling",
    pooled_networks,
    larger_patches,
    TrainConfig(steps=pooling_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
    settings=dict.fromkeys(names, {"loss": F.mse_loss}),
)

# %% tags=["folded"]
# @title Draw what pooling costs
long_pooling = long_run("04_pooling")
show(
    plot_trainings(pooling_runs, long_pooling, baselines={"bicubic": task.bicubic_db}),
    "PSNR against step for three networks that start at bicubic. Without pooling the curve rises "
    "furthest, with one pooling less, with two the least.",
)
pooling_table = long_pooling.table()
pooling_table["gain (dB)"] = pooling_table["mean (dB)"] - task.bicubic_db
pooling_table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The features that were pooled still know that there is an eye. The deconvolution has to guess
# where its outline runs. Under the squared difference the best guess is the mean of all places, and
# the mean of many thin lines is hardly there. That is what the last column says: one pooling leaves
# little more than a third of the gain, two leave next to nothing. In the long run the curves lie
# further apart at the end than after 150 steps.
#
# The grid of the networks that pool is coarser too, and holds fewer numbers. How much of the loss
# comes from that, and how much from the maximum, is not measured here. A convolution of stride 2 in
# the place of a convolution and a pooling would tell.
#
# </details>

# %% [markdown]
# ## 5. Ten layers, and what they lack
#
# A listing of ten layers circulates under the name SrResNet. In its usual form it reads like this.


# %%
class Listing(nn.Module):
    """Ten convolutions, as found."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv4 = nn.Conv2d(256, 512, 3, padding=1)
        self.conv5 = nn.Conv2d(512, 1024, 3, padding=1)
        self.conv6 = nn.Conv2d(1024, 512, 3, padding=1)
        self.conv7 = nn.Conv2d(512, 256, 3, padding=1)
        self.conv8 = nn.Conv2d(256, 128, 3, padding=1)
        self.conv9 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv10 = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, x):
        """(N, 3, H, W) -> (N, 3, H, W)."""
        for layer in list(self.children())[:-1]:
            x = F.relu(layer(x))
        return torch.sigmoid(self.conv10(x))


listing = Listing()
with torch.inference_mode():
    print("input", (1, 3, 24, 24), " output", tuple(listing(torch.rand(1, 3, 24, 24)).shape))

# %% [markdown]
# *Before you read on:* the name promises **s**uper-**r**esolution and **res**idual connections.
# Where in the listing is either?
#
# <details><summary>What is missing</summary>
#
# Nothing enlarges: the output is as large as the input. Nothing is added to anything: there is no
# residual connection, and no deconvolution. It is a plain stack of convolutions.
#
# </details>
#
# ### Exercise 04.5
#
# How large is it? Count the parameters of a chain of convolutions with the given numbers of
# channels, from the input's to the output's. Each layer has biases.


# %%
def count_parameters(widths, kernel_size):
    """Count weights and biases of len(widths) - 1 layers: list of channels, side -> int."""
    ### BEGIN SOLUTION
    total = 0
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        total += before * after * kernel_size**2 + after
    return total
    ### END SOLUTION


count_parameters = check("04.5", count_parameters)

# %%
listing_widths = [3, 64, 128, 256, 512, 1024, 512, 256, 128, 64, 3]
counted = sum(p.numel() for p in listing.parameters())
srcnn_size = sum(p.numel() for p in srcnn(scale).parameters())
widest = count_parameters([512, 1024, 512], 3)
print(f"the listing: {count_parameters(listing_widths, 3):,} by formula, {counted:,} counted")
print(f"SRCNN: {srcnn_size:,}. The listing has {counted / srcnn_size:.0f} times as many,")
print(f"{widest / counted:.0%} of them in the two layers around the 1024 channels.")

# %% [markdown]
# ### The formula it should be
#
# The name SrResNet stands for a formula, which this course builds:
#
# $$ y = \sigma\big(W_{out} * \mathrm{ReLU}(W_{res} * (x + F_{res}(x)) + b_{out})\big) $$
#
# $x$ are features of the small picture, $F_{res}$ residual blocks, $W_{res}$ a deconvolution that
# enlarges, $W_{out}$ a last convolution, $\sigma$ the sigmoid. Of all this the listing has the
# sigmoid and the last convolution. The rest comes as a ladder, one edit a rung:
#
# | rung | the edit | place in the formula | notebook |
# |---|---|---|---|
# | 1 | an input it can use: bicubic interpolation in front | | 04 |
# | 2 | even widths, at a cost that trains | | 04 |
# | 3 | the residual addition in each block | $F_{res}$ | 05 |
# | 4 | a skip over all blocks | $x + F_{res}(x)$ | 05 |
# | 5 | a deconvolution at the end instead of the interpolation in front | $W_{res}$ | 06 |
# | 6 | the bicubic image added before the sigmoid | inside $\sigma$ | 07 |

# %% [markdown]
# ### Rung 1: an input it can use
#
# The edit is one line: the picture is enlarged before the first layer. Now the listing can be
# trained and scored. Every one of its weights is used for every pixel of the *large* picture.
#
# *Predict:* how many steps does it get in the time in which SRCNN gets a thousand?


# %% tags=["experiment"]
def rung_1():
    """The ten layers behind the bicubic interpolation."""
    return nn.Sequential(BicubicUpsample(scale), Listing())


def one_patch(seed):
    """A batch of one, because a step is so dear."""
    return task.sampler(seed, batch_size=1)


listing_runs = compare_trainings(
    "04_listing",
    {"rung 1, the listing": rung_1},
    one_patch,
    TrainConfig(steps=listing_steps, learning_rate=2e-4),
    task.score,
    seeds=seeds[:1] if listing_steps < 10 else seeds,
)

# %% tags=["folded"]
# @title What a step of each costs
long_listing = long_run("04_listing")
cost = {}
for name, run, candidate in (
    ("SRCNN, random start, batches of 8", long_start, "random start"),
    ("rung 1, batches of 1", long_listing, "rung 1, the listing"),
):
    curves = run.curves[run.curves["candidate"] == candidate]
    took = curves.groupby("seed")["seconds"].max().median()
    cost[name] = {
        "parameters": run.record["parameters"][candidate],
        "steps": run.record["steps"],
        "seconds for 1000 steps": 1000 * took / run.record["steps"],
        "reached (dB)": run.scores().loc[candidate].mean(),
    }
cost = pd.DataFrame(cost).T
seconds = cost["seconds for 1000 steps"]
cost["steps in SRCNN's time for 1000"] = 1000 * seconds.iloc[0] / seconds
print(f"the long runs; bicubic has {task.bicubic_db:.2f} dB")
cost.style.format("{:,.0f}").format("{:.2f}", subset="reached (dB)")

# %% [markdown]
# <details><summary>What happened</summary>
#
# A step of the listing takes many times as long as one of SRCNN, though it gets a single patch
# where SRCNN gets eight: the last column counts its steps in the time of a thousand. In the long
# run it stays far below the bicubic image that it was given.
# A fair word: what it would reach after weeks on a large GPU was not measured here. What was
# measured is the price of a step, and how far a hundred steps lead.
#
# </details>

# %% [markdown]
# ### Rung 2: even widths
#
# Nothing needs 1024 channels in the middle. The second edit gives all hidden layers 16. Ten layers
# with 16 channels have fewer parameters than SRCNN, and a step costs less. So is it good now?
#
# ## 6. Why deeper plain networks train worse
#
# To see what depth does, take such stacks with 2, 6, 10 and 20 layers, all of 16 channels. Ten is
# rung 2. The deepest one also gets a better start, by He et al. (2015), which section 7 explains.
#
# *Predict:* which depth is best after the same number of steps?


# %% tags=["experiment"]
class Plain(nn.Module):
    """`depth` convolutions of 16 channels behind the bicubic interpolation, and a sigmoid."""

    def __init__(self, depth, channels=16):
        super().__init__()
        widths = [3] + [channels] * (depth - 1) + [3]
        self.bicubic = BicubicUpsample(scale)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, 4 H, 4 W)."""
        x = self.bicubic(lr)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return torch.sigmoid(self.layers[-1](x))


def he_start(network):
    """Initialise as He et al. (2015): weights of variance 2 / inputs, no biases."""
    for layer in network.layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return network


# %% tags=["experiment"]
stacks = {f"{depth} layers": (lambda depth=depth: Plain(depth)) for depth in depths}
deepest = f"{depths[-1]} layers"
stacks[f"{deepest}, He's start"] = lambda: he_start(Plain(depths[-1]))
depth_runs = compare_trainings(
    "04_depth",
    stacks,
    task.sampler,
    TrainConfig(steps=depth_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
)

# %% tags=["folded"]
# @title Draw the depths
long_depth = long_run("04_depth")
show(
    plot_trainings(depth_runs, long_depth, baselines={"bicubic": task.bicubic_db}),
    "PSNR against step for plain stacks of four depths, here and in the long run, with the "
    "bicubic score as a line that none of them reaches.",
)
depth_table = long_depth.table()
depth_table.round(2)

# %% [markdown]
# <details><summary>What happened</summary>
#
# See the table, which is the long run's. All have the same learning rate. Two, six and ten layers
# end within some tenths of each other: six are ahead of two with every seed, ten are not ahead of
# six. Twenty are worse by two decibels, more or less. No depth reaches the bicubic image that it
# was given: such a stack has to learn first how to hand a picture on.
#
# The deep ones do not overfit: their loss on the training patches is worse too. He and others
# (2016) called it **degradation**: a deeper stack could always do what the shallow one does, if the
# further layers handed the picture on, and does not find that.
#
# </details>

# %% [markdown]
# ## 7. One reason, before the first step
#
# He and others saw degradation in normalised networks, whose gradients do not vanish. In these
# plain ones vanishing comes on top.
#
# The gradient reaches the first layer through all others. Torch initialises a convolution with
# weights of variance 1 / (3 inputs), and a ReLU lets half of the signal's power through. So a
# layer passes on 1 / 6 of the power, and $\sqrt{1/6} = 0.41$ of the size. Twenty layers pass on
# $0.41^{20}$. He's initialisation has variance 2 / inputs, which makes the factor 1.
#
# *Predict:* how large is that for twenty layers, about?


# %%
def at_the_start(network, seed):
    """Norm of the gradient of each layer's weights; how much the outputs of 8 patches differ."""
    lr, hr = task.sampler(seed).sample()
    sr = network.to(task.device)(lr)  # (N, 3, sP, sP)
    F.l1_loss(sr, hr).backward()
    norms = [layer.weight.grad.norm().item() for layer in network.layers]
    return norms, sr.std(dim=0).mean().item()


norms, contrast = {}, {}
for name, make in stacks.items():
    runs = []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        runs.append(at_the_start(make(), seed))
    norms[name] = np.array([run[0] for run in runs])  # (seeds, layers)
    contrast[name] = np.mean([run[1] for run in runs])

# %% tags=["folded"]
# @title Draw the gradients
figure, axes = plt.subplots(figsize=(9, 4.5))
for place, (name, values) in enumerate(norms.items()):
    layer = np.arange(1, values.shape[1] + 1)
    middle = np.exp(np.log(values).mean(axis=0))
    style = "--" if "He" in name else "-"
    axes.semilogy(layer, middle, style, marker="o", color=f"C{place}", label=name)
    axes.fill_between(layer, values.min(axis=0), values.max(axis=0), color=f"C{place}", alpha=0.2)
axes.set(xlabel="layer, counted from the input", ylabel="norm of the gradient (log scale)")
axes.set(title="The gradient before the first step", xticks=range(1, depths[-1] + 1))
axes.legend(loc="lower right")
show(
    figure,
    "On a log scale the gradient falls in a straight line from the last layer to the first, over "
    "many powers of ten in the deepest stack. With He's start it stays level.",
)

# %% tags=["folded"]
# @title Two things that die out
reach = norms[deepest]
factor = (reach[:, 0] / reach[:, -1]) ** (1 / (reach.shape[1] - 1))
print(f"{deepest}: factor for each layer {factor.mean():.2f}, expected {(1 / 6) ** 0.5:.2f}")
pd.DataFrame(
    {
        "first layer's gradient": [f"{value[:, 0].mean():.0e}" for value in norms.values()],
        "last layer's gradient": [f"{value[:, -1].mean():.0e}" for value in norms.values()],
        "contrast of the outputs": [f"{value:.0e}" for value in contrast.values()],
    },
    index=list(norms),
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# About 1e-8, by the formula: 0.41 to the power of 20. The factor that was measured stands above the
# table.
#
# </details>
#
# Two things die out. Backwards, the gradient of the first layers. Adam divides by the gradient's
# size and so makes up for much of it, but not where it falls below its `eps` of 1e-8, which is
# for every *single* weight. Forwards, the picture: the *contrast* is how much the outputs for
# eight different patches differ, in a range of 0 to 1. In the deepest stack the output is the
# same grey whatever goes in, and there is nothing to learn from but the grey.
#
# He's initialisation keeps the gradient level. The long run of section 6 says how much that cures:
# one seed of three got away from the bottom, and stays behind the shallow stacks. It repairs the
# start, not the plan, in which every layer has to hand on the whole picture. Notebook 05 gives the
# picture a way around them: rung 3.

# %% [markdown]
# ## 8. Find the bug, and measure something of your own
#
# ### Exercise 04.6
#
# This function makes a stack of convolutions. It gives pictures of the right size, and yet no
# optimizer takes it: "got an empty parameter list". As a part of a larger network it is worse, for
# then nothing says that these layers never move. Find out why, and write it right. Start by
# counting its parameters.
#
# ```python
# def make_stack(depth, width):
#     class Stack(nn.Module):
#         def __init__(self):
#             super().__init__()
#             widths = [3] + [width] * (depth - 1) + [3]
#             pairs = zip(widths[:-1], widths[1:], strict=True)
#             self.layers = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairs]
#
#         def forward(self, x):
#             for layer in self.layers[:-1]:
#                 x = F.relu(layer(x))
#             return self.layers[-1](x)
#
#     return Stack()
# ```


# %%
def make_stack(depth, width):
    """Stack of `depth` 3x3 convolutions with ReLU between: network (N, 3, H, W) -> the same."""

    ### BEGIN SOLUTION
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [3] + [width] * (depth - 1) + [3]
            pairs = zip(widths[:-1], widths[1:], strict=True)
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)

        def forward(self, x):
            for layer in self.layers[:-1]:
                x = F.relu(layer(x))
            return self.layers[-1](x)

    return Stack()
    ### END SOLUTION


make_stack = check("04.6", make_stack)

# %% [markdown]
# ### Open
#
# Does SRCNN need its first kernel of 9x9? Three layers of 9-5-5 look at 17 pixels a side. Choose
# other kernels with the same field, or with the same number of weights, and compare. Say before
# you start what you will compare at equal: steps, seconds, or parameters.
#
# <details><summary>A sample answer</summary>
#
# ```python
# def other(kernels):
#     first, second, third = kernels
#     return as_bicubic(nn.Sequential(
#         BicubicUpsample(scale),
#         nn.Conv2d(3, 64, first, padding=first // 2), nn.ReLU(),
#         nn.Conv2d(64, 32, second, padding=second // 2), nn.ReLU(),
#         nn.Conv2d(32, 3, third, padding=third // 2),
#     ))
#
# runs = compare_trainings(
#     "my_kernels", {str(k): (lambda k=k: other(k)) for k in ((9, 5, 5), (5, 5, 9), (7, 7, 5))},
#     task.sampler, TrainConfig(steps=start_steps, learning_rate=1e-3), task.score, seeds=(0, 1, 2))
# plot_trainings(runs, baselines={"bicubic": task.bicubic_db})
# ```
#
# All three have a field of 17 pixels. (7, 7, 5) has more weights than (9, 5, 5), since they sit in
# the middle layer, where both sides have many channels: equal field is not equal cost. Whether a
# difference in score is larger than the spread over the seeds, the figure shows.
#
# </details>

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers, from the long runs
print(f"Of 64 places of a dot, two poolings of 2x2 leave {told_apart['4 x 4']}.")
print(f"Shift by one pixel: correlation {noticed[1]:.2f} without pooling, {noticed[8]:.2f} by 8.")
print(f"bicubic: {task.bicubic_db:.2f} dB.")
for run in (long_start, long_pooling, long_listing, long_depth):
    print(run.summary())
    for name, row in run.table().iterrows():
        spread = f"{row['lowest']:.2f} to {row['highest']:.2f}"
        print(f"    {name}: {row['mean (dB)']:.2f} dB ({spread})")

# %% [markdown]
# - A network learns by a loop of a few lines: a batch, the result, the loss, its gradient, a step.
# - SRCNN is far ahead if it starts as bicubic interpolation. In the long run a random start nearly
#   catches up: a good start is time saved.
# - Pooling buys indifference to position, and super-resolution pays for it with detail.
# - Parameters are not quality. The listing has far more than a hundred times as many as SRCNN, and
#   on two CPU cores it gets nowhere.
# - Plain stacks lose the gradient and the picture by a constant factor a layer.
#
# ## Pitfalls
#
# - Forget `zero_grad`, and gradients add up from step to step. Nothing fails; it only learns worse.
# - `loss` instead of `loss.item()` in a list keeps every batch's graph in memory.
# - "SrResNet" names several networks. Read the layers, not the title.
# - Equal steps favour the large network, equal seconds the small one. Say which you compare.
# - One seed proves little: look at the spread before you believe a difference.
# - Layers in a plain list are not part of a network. Count the parameters.
# - `nn.Conv2d` initialises for no particular activation. For deep ReLU stacks set it yourself.
# - A sigmoid after a stack that died gives an even grey and a loss that looks like learning: it
#   falls while the grey settles.
#
# ## Further reading
#
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
#   recognition", Proceedings of the IEEE 86(11), 1998.
# - X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
#   networks", AISTATS, 2010.
# - C. Dong, C. C. Loy, K. He, X. Tang, "Learning a deep convolutional network for image
#   super-resolution", ECCV, 2014; "Image super-resolution using deep convolutional networks",
#   IEEE Transactions on Pattern Analysis and Machine Intelligence 38(2), 2016.
# - D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR, 2015.
# - K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level
#   performance on ImageNet classification", ICCV, 2015.
# - K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR, 2016.
