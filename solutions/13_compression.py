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
# # 13 Compression: the same picture from a smaller file
#
# A network that runs in a browser or a phone has to be downloaded, kept in memory, and run on a
# battery. Three ways make it smaller: teach a small network by a large one, cut channels out,
# store each weight in fewer bits. Each costs decibels, or should. Here all are measured beside a
# rival that costs nothing: no teacher, chance, rounding without training. At the end one figure
# says which of the files nobody needs.
#
# **After this you can**
#
# - train a small network on the outputs of a large one, and tell whether that helped;
# - cut channels and round weights, train them back, and say what the training is worth;
# - turn a network into an int8 ONNX file, check it, and tell which file dominates which.
#
# Time: 80 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 2 on an A100.

# %% tags=["folded"]
# @title Imports
import copy
import functools
import itertools
import logging
import tempfile
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import onnx
import pandas as pd
import torch
import torch.nn.functional as F
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn
from tqdm.auto import tqdm

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import sample_image
from srlib.data import Pair, PatchSampler, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import upscale
from srlib.exercises import check, hint
from srlib.figures import show, zoom_grid
from srlib.figures.history import plot_trainings
from srlib.image import to_float
from srlib.measuring import measure
from srlib.metrics import score
from srlib.models import SrResNet, load_pretrained
from srlib.onnx_files import OnnxNetwork, export_onnx
from srlib.resample import imresize
from srlib.training import TrainConfig
from srlib.training.experiments import SmallTask, compare_trainings, long_run
from srlib.widgets import Explorer

# %% tags=["parameters"]
student = {"channels": 16, "num_blocks": 3, "hr_channels": 8}
lesson_side = by_profile(ci=64, cpu=384, gpu=512, long=512)  # of the teacher's pictures, pixels
seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2))
student_steps = by_profile(ci=3, cpu=100, gpu=1000, long=4000)
tuning_seeds = by_profile(ci=(0,), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
cut_steps = by_profile(ci=2, cpu=40, gpu=300, long=1500)  # after channels were cut
bits_steps = by_profile(ci=2, cpu=40, gpu=250, long=1250)  # with weights of a few bits
calibration_patches = by_profile(ci=2, cpu=16, gpu=32)
repeats = by_profile(ci=2, cpu=9, gpu=15)  # timed runs

# %% [markdown]
# Two of the shipped networks, both for a factor of 4. What is trained below is trained on the
# bundled photographs. All scores are PSNR by the protocol, on small crops of other photographs.
# Task, crops and score are those of notebooks 04 to 07, so the numbers can be compared.

# %% tags=["experiment"]
scale = 4
teacher = load_pretrained("srresnet_x4")
small = load_pretrained("srresnet_small_x4")
task = SmallTask(scale)
patches = {"lr_patch_size": 12, "batch_size": 8, "device": task.device}

# %% tags=["folded", "experiment"]
# @title The middle of an image


def middle(image, side):
    """Cut the square in the middle out of an image, or less of it if it is smaller."""
    height, width = (min(side, length) for length in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


# %% tags=["folded"]
# @title The same picture from two networks
photo = make_pairs({"chelsea": sample_image("chelsea")[40:232, 60:316]}, scale)[0]
versions = {"original": photo.hr, "bicubic": imresize(photo.lr, scale)}
for name, network in (("network A", small), ("network B", teacher)):
    versions[name] = upscale(network, photo.lr)
show(
    zoom_grid(versions, (44, 60, 64, 64), reference="original", scale=scale),
    "A cat, and its eye enlarged: original, bicubic, and two networks that look nearly alike.",
)

# %% [markdown]
# *Predict:* one of the two networks has several times as many weights as the other. Which? How
# many KiB does the smaller one need, and how few could it need?
#
# ## 1. The file, and what is in it
#
# ONNX is a format for networks that other programs than torch run: in a browser, a phone, a
# camera. `export_onnx` traces the network and writes one file for all sizes of images.

# %% tags=["folded"]
# @title The size of a file


def kib(path):
    """Size of a file in KiB."""
    return path.stat().st_size / 1024


def count(network):
    """Count the parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


# %%
temporary = tempfile.TemporaryDirectory()  # gone when the notebook's kernel ends
folder = Path(temporary.name)
files, rows = {}, {}
for name, network in (("teacher", teacher), ("small", small)):
    files[name] = export_onnx(network, folder / f"{name}.onnx")
    rows[name] = {
        "parameters": count(network),
        "4 bytes each (KiB)": count(network) * 4 / 1024,
        "the file (KiB)": kib(files[name]),
    }
pd.DataFrame(rows).T.round(1)

# %% [markdown]
# <details><summary>What happened</summary>
#
# Network A is the small one. Its weights take four bytes each and are nearly all of its file. How
# few KiB it could need is the question of this notebook. One byte a weight would be a quarter,
# and half of the weights an eighth.
#
# </details>
#
# A file is worth nothing before its output has been compared with the network's: on other sizes
# than that of the export, odd ones too, and in batches.


# %%
def parity(network, path, sizes=((1, 17, 31), (1, 50, 20), (3, 24, 24))):
    """Largest difference between a network and its file, on random images, for each size."""
    onnx_network, result = OnnxNetwork(path), {}
    for number, height, width in sizes:
        lr = torch.rand(number, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            difference = (network(lr) - onnx_network(lr)).abs().max()
        result[f"{number} x 3 x {height} x {width}"] = float(difference)
    return result


pd.DataFrame(
    {name: parity(net, files[name]) for name, net in (("teacher", teacher), ("small", small))}
).map("{:.1e}".format)

# %% [markdown]
# These are float32's rounding errors, sums in another order. A grey level is 4e-3.
#
# So there are two ways to a smaller file: fewer weights (sections 2 and 3), or fewer bits for
# each (sections 4 and 5).
#
# ## 2. A student and a teacher
#
# **Distillation** trains a small network, the student, on the outputs of a large one (Hinton,
# Vinyals, Dean 2015). For classes the gain is clear: the teacher's probabilities say how alike a
# cat and a lynx are, a label does not. For pictures the target is already as rich as the output.
# What may help: the teacher's picture has no detail that nobody could guess from the LR image, so
# it is easier to follow than the original. What may hurt: it has the teacher's errors.
#
# The teacher is far more expensive than the student. It therefore runs once over the training
# photographs, and its pictures are kept. A student's target is a mix: `share` of the teacher's
# picture, and the rest of the original. 0 is the student without a teacher. For one seed all
# students start from the same weights and see the same patches.

# %% tags=["experiment"]
crops = {pair.name: middle(pair.hr, lesson_side) for pair in task.train_pairs}
originals = make_pairs(crops, scale)
teacher.to(task.device)
taught = [upscale(teacher, pair.lr) for pair in originals]
teacher.cpu()


def lessons(share):
    """Training pairs whose HR image is mixed: `share` of the teacher's, the rest the original's."""
    return [
        Pair(pair.name, pair.lr, np.rint((1 - share) * pair.hr + share * sr).astype(np.uint8))
        for pair, sr in zip(originals, taught)
    ]


def sampler_of(pairs):
    """Return what makes the sampler of a seed."""
    return lambda seed: PatchSampler(pairs, scale, seed=seed, **patches)


# %% [markdown]
# *Predict:* by how many dB does a student gain from the teacher, in a short training, in a long
# one?

# %% tags=["experiment"]
shares = {"no teacher": 0.0, "half a teacher": 0.5, "teacher alone": 1.0}
student_runs = compare_trainings(
    "13_teacher",
    dict.fromkeys(shares, lambda: SrResNet(scale, **student)),
    sampler_of(originals),
    TrainConfig(steps=student_steps, learning_rate=2e-3),
    task.score,
    seeds=seeds,
    keep=list(shares),
    settings={name: {"make_sampler": sampler_of(lessons(share))} for name, share in shares.items()},
)

# %% tags=["folded"]
# @title Draw the students
long_students = long_run("13_teacher")
teacher_db, small_db = task.score(teacher), task.score(small)
show(
    plot_trainings(
        student_runs, long_students, baselines={"bicubic": task.bicubic_db, "teacher": teacher_db}
    ),
    "PSNR against step for students with three shares of a teacher, here and in the long run. All "
    "rise from the line of bicubic interpolation; their bands lie over each other, far below the "
    "line of the teacher.",
)
long_students.table().round(3)


# %%
def against(scores, candidate, rival):
    """Say by how much a candidate beats a rival over the seeds, and if chance could do that."""
    difference = scores.loc[candidate] - scores.loc[rival]  # a value a seed
    mean, error = difference.mean(), difference.std(ddof=1) / len(difference) ** 0.5
    # Student's t: three seeds exceed 4.3 standard errors by chance once in twenty times.
    verdict = "more than chance does" if abs(mean) > 4.3 * error else "chance can do that"
    print(f"{candidate}, against {rival}: {mean:+.2f} dB, standard error {error:.2f}: {verdict}")


print(long_students.summary())
for name in list(shares)[1:]:
    against(long_students.scores(), name, "no teacher")
gap = teacher_db - long_students.table().loc["no teacher", "mean (dB)"]
print(f"the teacher is {gap:.2f} dB above the student without it")

# %% [markdown]
# <details><summary>What happened</summary>
#
# By nothing that three seeds can tell from chance, neither here nor in the long run. Against the
# gap to the teacher, the last line, both differences are small. What this student lacks is not a
# better target.
#
# </details>
#
# Papers that gain a tenth train for days, start from features as well as outputs (FAKD, He et al.
# 2020), and compare with a student that had the same steps. The last is what to look for when you
# read one.
#
# ## 3. Cutting channels out
#
# **Pruning** takes away what matters least. In a residual block the channels between the two
# convolutions belong to the block alone: cut one, and only the two layers beside it change. The
# classic guess at what matters least is the L1 norm of the filter that makes the channel (Li et
# al. 2017).
#
# ### Exercise 13.1
#
# `weight` has the shape (out, in, kH, kW). Return the indices of the `count` output channels
# whose filters have the largest L1 norm, in the channels' order (rising).


# %%
def channels_to_keep(weight, count):
    """Indices of the output channels with the largest L1 norms, rising: (count,), whole numbers."""
    ### BEGIN SOLUTION
    norms = weight.abs().sum(dim=(1, 2, 3))  # (out,)
    return norms.topk(count).indices.sort().values
    ### END SOLUTION


channels_to_keep = check("13.1", channels_to_keep)

# %% [markdown]
# Stuck? `hint("13.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("13.1")


# %% tags=["experiment"]
def cut(layer, dim, keep):
    """Make a convolution with some of its output (dim 0) or input (dim 1) channels."""
    weight = layer.weight.detach().index_select(dim, keep)
    smaller = nn.Conv2d(weight.shape[1], weight.shape[0], layer.kernel_size, padding=layer.padding)
    smaller.weight.data = weight
    smaller.bias.data = layer.bias.detach()[keep] if dim == 0 else layer.bias.detach().clone()
    return smaller


def prune(network, share, choose):
    """Copy a network, with a share of the channels inside its residual blocks."""
    network = copy.deepcopy(network)
    for index, block in enumerate(network.blocks):
        keep = torch.as_tensor(choose(index, block, round(share * block.first.out_channels)))
        block.first, block.second = cut(block.first, 0, keep), cut(block.second, 1, keep)
    return network


# %% [markdown]
# A criterion needs rivals. One is chance. The other looks at what the norm cannot see, the
# pictures: how strong a channel is on average behind its ReLU, times the weights that read it (in
# the manner of Hu et al. 2016). For that the network sees one batch of training patches.


# %% tags=["experiment"]
def activities(network, lr):
    """Mean of each hidden channel behind its ReLU: for each block a tensor (hidden,)."""
    means = []

    def note(layer, x, y):
        means.append(F.relu(y).mean(dim=(0, 2, 3)))

    listeners = [block.first.register_forward_hook(note) for block in network.blocks]
    with torch.inference_mode():
        network(lr)
    for listener in listeners:
        listener.remove()
    return means


batch, _ = PatchSampler(task.train_pairs, scale, lr_patch_size=40, batch_size=8, seed=0).sample()
activity = activities(small, batch)


# %% tags=["experiment"]
def by_norm(index, block, count):
    """Keep the channels whose filters are largest."""
    return channels_to_keep(block.first.weight.detach(), count)


def by_activity(index, block, count):
    """Keep the channels that pass most on."""
    behind = block.second.weight.detach().abs().sum(dim=(0, 2, 3))
    return (activity[index] * behind).topk(count).indices.sort().values


def by_chance(index, block, count):
    """Keep any."""
    return torch.randperm(block.first.out_channels)[:count].sort().values


# %% [markdown]
# Then a short training, called **fine-tuning**, lets the rest adapt. It has rivals, too: the
# whole network gets the same training, and each seed of "by chance" draws other channels.
#
# *Predict:* how many dB does the small network lose with half of these channels, chosen by norm,
# by activity, by chance? And after the fine-tuning?

# %% tags=["experiment"]
criteria = {"norm": by_norm, "activity": by_activity, "chance": by_chance}
cuts = {"whole": lambda: copy.deepcopy(small)}
for (part, share), (name, choose) in itertools.product(
    {"half": 0.5, "a quarter": 0.25}.items(), criteria.items()
):
    cuts[f"{part}, by {name}"] = functools.partial(prune, small, share, choose)
cut_runs = compare_trainings(
    "13_cut",
    cuts,
    sampler_of(task.train_pairs),
    TrainConfig(steps=cut_steps, learning_rate=5e-4),
    task.score,
    seeds=tuning_seeds,
)

# %% tags=["folded"]
# @title Draw the fine-tuning
long_cut = long_run("13_cut")
lines = {"bicubic": task.bicubic_db, "small, as shipped": small_db}
show(
    plot_trainings(cut_runs, long_cut, baselines=lines),
    "PSNR against step for the whole network and six cut ones, here and in the long run. All cut "
    "ones rise and stay below the whole one. With a quarter of the channels by norm it is lowest.",
)
table = long_cut.table()
table.insert(1, "before (dB)", long_cut.scores(0).mean(axis=1))
table["cost (dB)"] = table["mean (dB)"] - table.loc["whole", "mean (dB)"]
table.round(2)

# %%
print(long_cut.summary())
for part, tuned in (("half", 0), ("half", 1), ("a quarter", 0), ("a quarter", 1)):
    print(f"{part} of the channels, {'after' if tuned else 'before'} the fine-tuning")
    for name in ("norm", "activity"):
        against(long_cut.scores(tuned), f"{part}, by {name}", f"{part}, by chance")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Before the fine-tuning the activity is far ahead of chance, and the norm is behind it. The
# fine-tuning brings all of them closer together, in the short run and more so in the long one. But
# the order of the long run is the same in every seed, with half of the channels and with a quarter
# of them: activity, chance, norm.
#
# It is published that chance is hard to beat after fine-tuning (Mittal et al. 2018). Here it is
# beaten by two tenths of a decibel with a quarter of the channels. With half of them the activity
# is ahead in every seed, by less than three seeds can tell from chance. What a still longer
# training leaves of that was not measured.
#
# The whole network got the same training. So the price of cutting is the distance to it, the last
# column.
#
# </details>
#
# **A norm is a guess.** With a ReLU in between, a filter can be doubled and the weights behind it
# halved, and the network stays the same: the norm of a filter says nothing by itself. Batch
# normalisation would fix the scale; these blocks have none. A channel with large weights can even
# be silent, because its ReLU never opens. Silent channels are free to cut.
#
# ### Smaller, but faster?
#
# As a control the opposite of cutting: set the smallest weights to zero and leave the shapes.
# Zeros are multiplied like all other numbers.

# %% tags=["folded"]
# @title Set weights to zero, cut channels


def with_zeros(network, share):
    """Copy a network, with the smallest weights of each layer of its blocks set to zero."""
    network = copy.deepcopy(network)
    for layer in network.blocks.modules():
        if isinstance(layer, nn.Conv2d):
            sizes = layer.weight.data.abs()
            layer.weight.data[sizes < sizes.quantile(1 - share)] = 0
    return network


timed = {"whole": small}
for share in (0.75, 0.5, 0.25):
    timed[f"{share:.0%} of the channels"] = prune(small, share, by_activity)
    timed[f"{share:.0%} of the weights, zeros"] = with_zeros(small, share)

# %% tags=["folded"]
# @title Time them
# In turns, so that a slow moment of the machine meets all of them.
turns = [
    {name: measure(network, (48, 48), repeats=repeats)["latency_ms"]
     for name, network in timed.items()}
    for _ in range(3)
]  # fmt: skip
silent = sum(int((mean == 0).sum()) for mean in activity)
print(f"{silent} of {sum(map(len, activity))} channels are silent: zero behind the ReLU everywhere")
print("48 x 48 LR pixels in torch, the median of three turns; dB before any fine-tuning")
cut_table = pd.DataFrame(
    {
        "parameters that are not 0": {
            name: sum(int(p.count_nonzero()) for p in network.parameters())
            for name, network in timed.items()
        },
        "PSNR minus whole (dB)": {n: task.score(net) - small_db for n, net in timed.items()},
        "latency (ms)": pd.DataFrame(turns).median(),
    }
)
in_turns = pd.DataFrame(turns).div(pd.DataFrame(turns)["whole"], axis=0)  # each with its own whole
cut_table["time, whole = 1"] = in_turns.median()
cut_table["least"], cut_table["most"] = in_turns.min(), in_turns.max()
cut_table.round(2)

# %% [markdown]
# Zeros cost less quality than as many cut channels. But they gain no time: a dense convolution
# multiplies them, and where they seem to gain or to lose, look at the spread of the three turns.
# They need special kernels, special
# hardware (2 of 4 weights on some GPUs), or at least a compressed file. Cutting gains time in
# jumps: a processor takes channels in blocks, 16 at a time where its registers hold 512 bits, so
# 24 can cost what 32 cost, or more. Half of the channels in the blocks is never half of the time,
# because the layers around them stay.
#
# ## 4. Fewer bits for each weight
#
# A weight in float32 takes 32 bits. Stored as a whole number of 8 bits, it takes a quarter. All
# that is needed beside the whole numbers is the **step** between two of them: weight = step x
# whole number. The largest weight decides on the step, and every other one is rounded to it.
#
# **Per tensor** there is one step for all weights of a layer. **Per channel** each output channel
# has its own. That costs no time, because the step can be multiplied after the sum, and some
# bytes a channel. What they buy is the question of this section.
#
# ### Exercise 13.2
#
# Round a weight tensor to `bits` bits, symmetrically around zero: step = largest absolute weight
# / (2**(bits - 1) - 1), and each weight becomes the nearest multiple of the step. With `axis`
# every index of that axis gets its own step. A channel of zeros stays zero.


# %%
def quantise(weight, bits, axis=None):
    """Round weights, 4 axes, to multiples of a step: same shape, at most 2**bits - 1 values."""
    ### BEGIN SOLUTION
    others = [dim for dim in range(weight.ndim) if dim != axis]
    largest = weight.abs().amax() if axis is None else weight.abs().amax(others, keepdim=True)
    step = largest / (2 ** (bits - 1) - 1)
    step = torch.where(step > 0, step, 1.0)
    return torch.round(weight / step) * step
    ### END SOLUTION


quantise = check("13.2", quantise)


# %% [markdown]
# Which axis holds the output channels? In `nn.Conv2d` the weights are (out, in, kH, kW), in
# `nn.ConvTranspose2d` they are (in, out, kH, kW). Whoever overlooks that gives the deconvolution
# a step for each *input* channel. In this simulation it even works. In a real file it cannot: the
# sum over input channels mixes the steps, and they cannot be multiplied after it.


# %% tags=["experiment"]
def layers_of(network):
    """Convolutions of a network, by name, each with the axis of its output channels."""
    return {
        name: (layer, 1 if isinstance(layer, nn.ConvTranspose2d) else 0)
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    }


# %%
def with_rounded_weights(network, bits, per_channel):
    """Copy a network, its weights rounded to so many bits; it still computes in float."""
    network = copy.deepcopy(network)
    for layer, axis in layers_of(network).values():
        layer.weight.data = quantise(layer.weight.data, bits, axis if per_channel else None)
    return network


# %% [markdown]
# *Predict:* from 8 bits down, where does the PSNR begin to fall? Where does it matter whether
# there is one step for a layer or one for a channel?

# %% tags=["folded"]
# @title Round to 8 bits and fewer
bit_counts = (3, 4, 5, 6, 8)
rounded_db = pd.DataFrame(
    {
        steps: [task.score(with_rounded_weights(small, b, per)) for b in bit_counts]
        for steps, per in (("one for a layer", False), ("one for a channel", True))
    },
    index=bit_counts,
)

widths = [
    layer.weight.detach().abs().transpose(0, axis).flatten(1).amax(dim=1)
    for layer, axis in layers_of(small).values()
]  # of each channel, by layer

# %% tags=["folded"]
# @title Draw the loss, and what a shared step wastes
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
for steps, marker in zip(rounded_db, "so"):
    left.plot(rounded_db[steps] - small_db, f"{marker}-", label=steps)
left.axhline(task.bicubic_db - small_db, color="grey", linestyle=":", label="bicubic")
left.set(xlabel="bits of a weight", ylabel="PSNR minus float (dB)", title="steps")
left.set(xticks=bit_counts, ylim=(-4, 0.2))
left.legend()
for place, width in enumerate(widths):
    wasted = torch.log2(width.max() / width)
    right.plot([place] * len(wasted), wasted, "o", color="C0", ms=3, alpha=0.5)
    right.plot(place, wasted.median(), "_", color="black", ms=12, mew=2)
right.set(xlabel="layer, from the first to the last", ylabel="wasted bits")
right.set_xticks(range(0, len(widths), 5))
right.set_title("a dot for each channel, a dash: the median")
show(
    figure,
    "Left the loss against the bits of a weight: at 4 and 5 bits one step for each channel loses "
    "less; at 3 bits both fall out of the picture, far below bicubic. Right the "
    "bits that a layer's channels waste if they share a step, mostly below one.",
)
(rounded_db - small_db).round(3).T

# %% [markdown]
# <details><summary>What happened</summary>
#
# At 8 bits this network has bits to spare, and one step for a layer is as good as one for a
# channel. At 5 and 4 bits every wasted bit counts: a channel that is half as wide as the widest
# of its layer wastes one bit of a step that is made for the widest. At 3 bits neither way leaves
# enough: far below bicubic interpolation, which needs no weights.
#
# </details>
#
# So where does the rule come from that one step for a layer is not enough at 8 bits? From
# networks whose channels differ much in width, as after **folded batch normalisation**: its
# factors are multiplied into the weights, and a channel with a small response gets large ones
# (Nagel et al. 2019, on MobileNet). The small network can be written so, too, by the freedom of
# section 3: in each block one filter is multiplied by 50, and what reads its channel is divided
# by 50. In float it is the same network.
#
# *Predict:* what does it lose with 8 bits, with one step for a layer, and for a channel?


# %%
def rescaled(network, factors_of):
    """Copy a network, each hidden channel of its blocks times a factor, and undone behind it."""
    network = copy.deepcopy(network)
    for block in network.blocks:
        first, second = block.first.weight.data, block.second.weight.data
        factors = factors_of(first, second)  # (hidden,)
        block.first.weight.data = first * factors[:, None, None, None]
        block.first.bias.data = block.first.bias.data * factors
        block.second.weight.data = second / factors[:, None, None]
    return network


def one_wide_channel(first, second):
    """Return 50 for one channel and 1 for the others."""
    return torch.where(torch.arange(len(first)) == 0, 50.0, 1.0)


def equalising(first, second):
    """Return the factors that make both sides of each channel equally wide (Nagel et al. 2019)."""
    behind, ahead = first.abs().amax(dim=(1, 2, 3)), second.abs().amax(dim=(0, 2, 3))
    return (ahead / behind).sqrt()


# %% tags=["folded"]
# @title Round them to 8 bits
wide = rescaled(small, one_wide_channel)
scaled = {"as shipped": small, "one wide channel a block": wide}
scaled["wide, then equalised"] = rescaled(wide, equalising)
table = {}
for name, network in scaled.items():
    table[name] = {"float": task.score(network) - small_db}
    for steps, per in (("8 bits, one step for a layer", False), ("for a channel", True)):
        rounded = with_rounded_weights(network, 8, per)
        table[name][steps] = task.score(rounded) - small_db
pd.DataFrame(table).T.add_suffix(" (dB)").round(3)

# %% [markdown]
# <details><summary>What happened</summary>
#
# One wide channel spoils the step of its whole layer. With a step for each channel it spoils its
# own only. **Equalisation** uses the same freedom the other way, and makes one step enough again.
# No data and no training are needed for either.
#
# </details>
#
# ## 5. Training with rounded weights
#
# So far the weights were rounded after the training. That is **post-training quantisation**. The
# other way is **quantisation-aware training**: round in every forward pass, and let the training
# find weights that are good when rounded (Jacob et al. 2018).
#
# There is one obstacle. Rounding is a staircase. It is flat nearly everywhere, so its gradient is
# zero, and nothing is learned. The **straight-through estimator** is a bold way out (Bengio,
# Leonard, Courville 2013): forwards the weights are rounded, backwards the gradient passes as if
# they had not been. The exact weights are kept beside. Small steps add up in them, until one of
# them is rounded to the next number.
#
# ### Exercise 13.3
#
# Return what `quantise` returns. But the gradient of the result must reach `weight` unchanged,
# also for the largest weights, which decide on the step. `weight` itself stays as it is. One line
# is enough; `detach` makes a constant of a tensor.


# %%
def straight_through(weight, bits, axis=None):
    """Round weights as `quantise` does; their gradient passes as if nothing had been rounded."""
    ### BEGIN SOLUTION
    return weight + (quantise(weight, bits, axis) - weight).detach()
    ### END SOLUTION


straight_through = check("13.3", straight_through)


# %% tags=["folded"]
# @title Three weights of 2 bits, and their gradients
# NBVAL_CHECK_OUTPUT
weights = torch.tensor([-1.0, 0.4, 0.3]).reshape(3, 1, 1, 1).requires_grad_()
for name, function in (("quantise", quantise), ("straight_through", straight_through)):
    result = function(weights, 2)
    gradient = torch.zeros(3)
    if result.requires_grad:
        (gradient,) = torch.autograd.grad(result.sum(), weights)
    print(f"{name}: {result.flatten().tolist()}, gradient {gradient.flatten().tolist()}")

# %% [markdown]
# `FewBits` puts it into a network. All convolutions compute with rounded weights; the biases stay
# as they are. With `while_training=False` it trains exact weights, and rounds when it is scored:
# post-training quantisation after the same fine-tuning. That is the rival.


# %% tags=["experiment"]
class FewBits(nn.Module):
    """A network whose weights are rounded to a few bits: while it trains, or only afterwards."""

    def __init__(self, network, bits, *, per_channel=True, while_training=True):
        super().__init__()
        self.network = copy.deepcopy(network)
        self.bits, self.per_channel, self.while_training = bits, per_channel, while_training

    def rounded(self):
        """Return the rounded weights by name; a gradient goes through to the exact ones."""
        return {
            f"{name}.weight": straight_through(
                layer.weight, self.bits, axis if self.per_channel else None
            )
            for name, (layer, axis) in layers_of(self.network).items()
        }

    def forward(self, lr):
        """(N, 3, H, W) -> (N, 3, scale * H, scale * W)."""
        if self.training and not self.while_training:
            return self.network(lr)
        return torch.func.functional_call(self.network, self.rounded(), (lr,))


# %% [markdown]
# *Predict:* rounding to 4 bits cost the small network more than half a decibel. How much of that
# does training bring back, if it sees the rounding, and if it does not? What about 3 bits, and
# about 4 bits with one step for a layer?

# %% tags=["experiment"]
forms = {
    "4 bits, rounded after training": {"bits": 4, "while_training": False},
    "4 bits, trained rounded": {"bits": 4},
    "4 bits, a step a layer, trained rounded": {"bits": 4, "per_channel": False},
    "3 bits, rounded after training": {"bits": 3, "while_training": False},
    "3 bits, trained rounded": {"bits": 3},
}
bits_runs = compare_trainings(
    "13_bits",
    {name: functools.partial(FewBits, small, **form) for name, form in forms.items()},
    sampler_of(task.train_pairs),
    TrainConfig(steps=bits_steps, learning_rate=5e-4),
    task.score,
    seeds=tuning_seeds,
)

# %% tags=["folded"]
# @title Draw the trainings
long_bits = long_run("13_bits")
show(
    plot_trainings(bits_runs, long_bits, baselines=lines),
    "PSNR against step for weights of 4 and of 3 bits, rounded in training or after it, here and "
    "in the long run. Those of 4 bits that train rounded rise to near the line of the network in "
    "float. Those rounded after training rise less; with 3 bits they end about bicubic.",
)
table = long_bits.table()
table.insert(1, "before (dB)", long_bits.scores(0).mean(axis=1))
table["minus float (dB)"] = table["mean (dB)"] - small_db
table["minus float, tuned (dB)"] = table["mean (dB)"] - long_cut.table().loc["whole", "mean (dB)"]
table.round(2)

# %%
print(long_bits.summary())
final = long_bits.scores()
against(final, "4 bits, trained rounded", "4 bits, rounded after training")
against(final, "3 bits, trained rounded", "3 bits, rounded after training")
against(final, "4 bits, trained rounded", "4 bits, a step a layer, trained rounded")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Seeing the rounding is what counts. At 4 bits the network that trained rounded comes close to
# float. The rival had the same photographs, the same steps and the same learning rate, and wins
# back less than half. At 3 bits the rival of the long run is about as good as bicubic
# interpolation, by chance better or worse, and training rounded ends more than a decibel above it
# in each seed. The rival's seeds lie so far apart that the test of three cannot exclude chance
# there.
#
# One step for a layer, far behind before the training, catches up by most of its loss, and stays
# behind one for a channel. At 4 bits a step for each channel is worth its bytes.
#
# </details>
#
# The eye of the cat, by your slider. "Trained at 4 bits" is the network of the short training
# above, rounded to the bits that you choose. Its step is one for a channel. With one step for a
# layer, 2 bits look better than 3: nearly all weights become zero, and what is left is the image
# skip, bicubic interpolation.

# %% tags=["folded"]
# @title The eye, and three ways to round
eye = make_pairs({"eye": sample_image("chelsea")[100:212, 128:240]}, scale)[0]
plain_eye = upscale(small, eye.lr)
trained = bits_runs.networks["4 bits, trained rounded", tuning_seeds[0]].network.cpu()
ways = {
    "one for a layer": (small, False),
    "one for a channel": (small, True),
    "trained at 4 bits": (trained, True),
}

# %% tags=["folded"]
# @title Draw the eye, and what has changed


@functools.cache
def rounded_eye(bits, way):
    """Enlarge the crop with rounded weights; 32 bits: as they are."""
    network, per_channel = ways[way]
    return upscale(
        with_rounded_weights(network, bits, per_channel) if bits < 32 else network, eye.lr
    )


def draw_rounded(bits, steps):
    """Draw the enlarged crop, and its difference to that of the float network, times 8."""
    picture = rounded_eye(bits, steps)
    change = picture.astype(float) - plain_eye
    shown = np.clip(128 + 8 * change, 0, 255).astype(np.uint8)
    caption = (
        f"{score(picture, eye.hr, scale)[0]:.2f} dB, float {score(plain_eye, eye.hr, scale)[0]:.2f}"
        f" dB. Right: difference to float x 8, mean {np.abs(change).mean():.2f} grey levels"
    )
    return np.hstack([picture, shown]).repeat(3, axis=0).repeat(3, axis=1), caption


# %% tags=["folded"]
# @title The slider
choices = [*((str(bits), bits) for bits in range(2, 9)), ("float", 32)]
bits_slider = Explorer(
    draw_rounded,
    bits=ipywidgets.SelectionSlider(options=choices, value=4, description="bits of a weight"),
    steps=ipywidgets.ToggleButtons(options=list(ways), value="one for a layer", description="step"),
)
bits_slider

# %% [markdown]
# ## 6. int8 for real
#
# So far the sums were done in float, which shows the loss and saves nothing. For speed the
# **activations** have to be whole numbers as well, and their ranges are not known beforehand.
# **Calibration** runs the float network on some photographs (those for training) and notes the
# smallest and largest value of each activation. ONNX Runtime's toolkit does that, and writes the
# steps into the file as pairs of operators, QuantizeLinear and DequantizeLinear.
#
# *Predict:* the network ends in a convolution whose output is added to the logit of the bicubic
# image, and a sigmoid. Is that output a good candidate for 8 bits?


# %% tags=["folded"]
# @title Patches for the calibration
class CalibrationPatches(CalibrationDataReader):
    """Hand out patches of the training photographs, until there are no more."""

    def __init__(self):
        sampler = PatchSampler(task.train_pairs, scale, lr_patch_size=40, batch_size=1, seed=0)
        self._left = iter([sampler.sample()[0].numpy() for _ in range(calibration_patches)])

    def get_next(self):
        """Return the next input by name, or None."""
        patch = next(self._left, None)
        return None if patch is None else {"lr": patch}


logging.getLogger().setLevel(logging.ERROR)  # the toolkit's advice about steps that are not needed


# %%
def to_int8(source, target, *, per_channel, keep_last=True, everything=False, weight_bits=7):
    """Quantise an ONNX file of an SrResNet: its convolutions, or all operators that can be."""
    graph = onnx.load(source).graph
    kept = ("upsample.2.", "tail.") if keep_last else ("tail.",)  # as the weights are called
    in_float = [
        node.name for node in graph.node if any(name.startswith(kept) for name in node.input)
    ]
    quantize_static(
        source,
        target,
        CalibrationPatches(),
        per_channel=per_channel,
        op_types_to_quantize=None if everything else ["Conv", "ConvTranspose"],
        nodes_to_exclude=[] if everything else in_float,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=weight_bits == 7,  # see "overflow" below
    )
    return target


# %% tags=["folded"]
# @title Eight int8 files
for name, network in (("wide", wide), ("equalised", scaled["wide, then equalised"])):
    files[name] = export_onnx(network, folder / f"{name}.onnx")
recipes = {
    "per channel": ("small", {"per_channel": True}),
    "per tensor": ("small", {"per_channel": False}),
    "per channel, last deconvolution too": ("small", {"per_channel": True, "keep_last": False}),
    "per channel, all": ("small", {"per_channel": True, "everything": True}),
    "per channel, all, weights of 8 bits": (
        "small",
        {"per_channel": True, "everything": True, "weight_bits": 8},
    ),
    "one wide channel, per channel": ("wide", {"per_channel": True}),
    "one wide channel, per tensor": ("wide", {"per_channel": False}),
    "wide, then equalised, per tensor": ("equalised", {"per_channel": False}),
}

# %% tags=["folded"]
# @title Make them, and score them
rows = {}
for name, (source, options) in tqdm(recipes.items(), desc="int8", unit="file"):
    files[name] = to_int8(files[source], folder / f"{len(files)}.onnx", **options)
    db = task.score(OnnxNetwork(files[name]))
    rows[name] = {"KiB": kib(files[name]), "PSNR (dB)": db, "minus float32 (dB)": db - small_db}
int8_table = pd.DataFrame(rows).T
channel, tensor = int8_table.loc["per channel"], int8_table.loc["per tensor"]
print(f"float32: {small_db:.3f} dB")
print(f"one step a channel instead of one a layer: {channel['KiB'] - tensor['KiB']:+.1f} KiB and "
      f"{channel['PSNR (dB)'] - tensor['PSNR (dB)']:+.3f} dB")  # fmt: skip
int8_table.round({"KiB": 1, "PSNR (dB)": 3, "minus float32 (dB)": 3})

# %% tags=["folded"]
# @title What a step of 8 bits means in the picture
outputs = []
listener = small.upsample[2].register_forward_hook(lambda layer, x, y: outputs.append(y.flatten()))
with torch.inference_mode():
    for patch in iter(CalibrationPatches().get_next, None):
        small(torch.from_numpy(patch["lr"]))
listener.remove()
low, high = map(float, torch.cat(outputs).aminmax())
most = float(torch.logit(torch.tensor(1 - 1.5e-3)))  # srlib.models keeps black and white finite


def rounding_cost(step, db):
    """Loss in dB by rounding to steps of so many grey levels, where the PSNR was `db`."""
    error, rounding = 255**2 / 10 ** (db / 10), step**2 / 12  # mean squares
    return 10 * np.log10(error / (error + rounding))


rows = {}
ranges = {"last deconvolution": (low, high), "logit of the bicubic image": (-most, most)}
for name, (first, last) in ranges.items():
    step = (last - first) / 255 * 255 / 4  # the sigmoid's slope on mid-grey is 1/4
    rows[name] = {"smallest": first, "largest": last, "a step (grey levels)": step}
    rows[name] |= {f"loss at {db:.0f} dB": rounding_cost(step, db) for db in (small_db, 37, 45)}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# The last table says what 255 steps for one output mean in the picture. The errors of rounding
# are as good as independent of those of the network, so their mean squares add.
#
# <details><summary>What happened</summary>
#
# - **The image skip stays in float.** The bicubic kernel would be rounded as well: with 7 bits its
#   weights no longer add up to 1, which is most of what the row "all" loses. With 8 bits they
#   nearly do. And the logit has a wide range: one step of it is several grey levels. Beside the
#   error of a network at x4 that is hundredths of a decibel; beside that of a better one, or of x2,
#   it is much: the last columns. Quantising everything is what the toolkit does if not told
#   otherwise.
# - **The last deconvolution** makes only the detail that is added, so its range is narrower, and 8
#   bits nearly suffice; its row says what they cost. In a network without an image skip it makes
#   the whole picture. A classifier has no such problem: it asks which output is largest. The last
#   layer has few weights, so leaving it in float costs nearly nothing. (PAMS, Li et al. 2020,
#   learns the ranges instead.)
#
# </details>
#
# - **Overflow.** Older x86 processors add two products of 8 bits in a register of 16 bits, and
#   where pixels are bright the sum does not fit. So the weights get 7 bits here (`reduce_range`).
#   If the last row of "all" is far below the one before it, yours is such a processor. With
#   instructions for sums of 8-bit products it is the better one: the bicubic kernel has a bit more.
# - **One wide channel** hurts the activations most of all. There is one step for all channels of
#   an activation, because the sum runs over them. A step for each output channel repairs the
#   weights alone; equalising repairs both.
# - **One step a channel** is not free, and this network does not need it at 8 bits: the printed
#   line has both. It is the safer choice where nobody has looked at the channels.
#
# Half precision needs none of this. float16 has a step of its own for every number, relative to
# its size. It halves the file. Whether it is faster depends on the processor: most CPUs have no
# float16 convolution, and ONNX Runtime converts back and forth.
#
# ## 7. All in one table
#
# All files run in ONNX Runtime on this computer's processor, on an image of 64 x 64 LR pixels.
# The students have the weights of the long run. For what was cut or trained rounded, the PSNR is
# the long run's mean; size and time do not depend on the values of weights. No toolkit here
# writes files of 4 bits, so that size is calculated, and there is no time.
#
# *Predict:* is int8 faster than float32, and by how much? And float16? Which file will nobody
# need?

# %% tags=["folded"]
# @title More files
half = convert_float_to_float16(onnx.load(files["small"]), keep_io_types=True)
files["small, float16"] = folder / "half.onnx"
onnx.save(half, files["small, float16"])
networks = {"teacher": teacher, "small": small}
long_db = {}
for part, share in (("half", 0.5), ("a quarter", 0.25)):
    networks[f"small, {part} of the channels"] = prune(small, share, by_activity)
    long_db[f"small, {part} of the channels"] = long_cut.table().loc[
        f"{part}, by activity", "mean (dB)"
    ]
networks["student"] = long_students.load("no teacher", SrResNet(scale, **student))
for number, (name, network) in enumerate(networks.items()):
    if name not in files:
        files[name] = export_onnx(network, folder / f"more_{number}.onnx")
files["small, int8"], files["small, int8 per channel"] = files["per tensor"], files["per channel"]
files["student, int8"] = to_int8(files["student"], folder / "tiny.onnx", per_channel=False)
of = {"small, float16": small, "small, int8": small, "small, int8 per channel": small}
networks |= of | {"student, int8": networks["student"]}

# %% tags=["folded"]
# @title Measure them
rows = {}
for name, network in tqdm(networks.items(), desc="measure", unit="file"):
    onnx_network = OnnxNetwork(files[name])
    latency = measure(onnx_network, (64, 64), repeats=repeats)
    rows[name] = {
        "KiB": kib(files[name]),
        "parameters": count(network),
        "latency (ms)": latency["latency_ms"],
        "quartiles apart (ms)": latency["latency_iqr_ms"],
        "PSNR (dB)": long_db.get(name) or task.score(onnx_network),
    }
few = count(small) - sum(layer.weight.numel() for layer, _ in layers_of(small).values())
rows["small, trained at 4 bits"] = {  # biases in float32, and a step of four bytes a channel
    "KiB": (0.5 * (count(small) - few) + 8 * few) / 1024,
    "parameters": count(small),
    "PSNR (dB)": long_bits.table().loc["4 bits, trained rounded", "mean (dB)"],
}
result = pd.DataFrame(rows).T
result["above bicubic (dB)"] = result["PSNR (dB)"] - task.bicubic_db
print(f"bicubic {task.bicubic_db:.2f} dB; {OnnxNetwork(files['small']).threads} threads")
result.astype({"parameters": int}).round(2)

# %% [markdown]
# ### Exercise 13.4: find the bug
#
# PSNR here means to a tenth of a decibel: three small crops say nothing about hundredths. A file
# **dominates** another if it is at least as good in everything, and better in something.
# What no other file dominates is the **Pareto front**. Nobody needs the rest. Somebody wrote
# this:
#
# ```python
# def on_the_front(costs, quality):
#     front = []
#     for cost, good in zip(costs, quality):
#         beaten = (costs < cost).all(axis=1) & (quality > good)
#         front.append(not beaten.any())
#     return np.array(front)
# ```
#
# It runs, and finds a front. But take two files of the same size, one of them better: it keeps
# both. Find the bug, and write it right. Two files that are alike in everything both stay.


# %%
def on_the_front(costs, quality):
    """Which files no other one dominates: n booleans.

    costs: (n, k), such as KiB and ms, less is better; quality: (n,), such as dB, more is better.
    """
    ### BEGIN SOLUTION
    front = []
    for cost, good in zip(costs, quality):
        as_good = (costs <= cost).all(axis=1) & (quality >= good)
        better = (costs < cost).any(axis=1) | (quality > good)
        front.append(not (as_good & better).any())
    return np.array(front)
    ### END SOLUTION


on_the_front = check("13.4", on_the_front)

# %% tags=["folded"]
# @title Two fronts: by size, and by time
colours = dict(zip(result.index, plt.get_cmap("tab10").colors))
markers = dict(zip(result.index, "os^vDPXph*"))


def draw_front(axes, column):
    """Draw the PSNR against a cost; filled what is on the front, hollow what is dominated."""
    shown = result.dropna(subset=column).sort_values(column)
    quality = shown["PSNR (dB)"].round(1)  # hundredths say nothing on three small crops
    stays = [bool(x) for x in on_the_front(shown[[column]].to_numpy(), quality.to_numpy())]
    axes.plot(column, "PSNR (dB)", "-", color="grey", lw=1, data=shown[stays], label="_front")
    for (name, row), front in zip(shown.iterrows(), stays):
        look = {"color": colours[name], "mfc": colours[name] if front else "none"}
        axes.plot(row[column], row["PSNR (dB)"], markers[name], ms=10, mew=2, label=name, **look)
    axes.set(xscale="log", xlabel=f"{column}, log scale")


# %% tags=["folded"]
# @title Show them
figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
for axes, column in zip(panels, ("KiB", "latency (ms)")):
    draw_front(axes, column)
panels[0].set(
    ylabel="PSNR (dB)", title="size of the ONNX file (4 bits: calculated); the line: 250 KiB"
)
panels[0].axvline(250, color="grey", lw=0.8)
panels[1].set(title="time for 64 x 64 LR pixels")
for axes, ticks in zip(panels, ((25, 100, 250, 1000, 4000), (1, 2, 5, 10, 20, 50, 100, 200))):
    reach = axes.get_xlim()
    axes.set_xticks(ticks, ticks)
    axes.set(xlim=reach)  # ticks outside would widen it
    axes.minorticks_off()
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)
show(
    figure,
    "PSNR against the size of the file, and against its time, both logarithmic. Filled: on the "
    "front, joined by a line; hollow: dominated. By size the cut networks lie to the right of the "
    "int8 file and below it.",
)

# %%
both = result.dropna().drop(columns=["parameters", "quartiles apart (ms)", "above bicubic (dB)"])
costs, quality = both[["KiB", "latency (ms)"]].to_numpy(), both["PSNR (dB)"].to_numpy().round(1)
front = itertools.compress(both.index, on_the_front(costs, quality))
print("on the front of size, time and PSNR:", "; ".join(front))
for (one, first), (other, second) in itertools.permutations(enumerate(both.index), 2):
    pair = [one, other]
    for what, paid in (("size", costs[:, :1]), ("size and time", costs)):
        if tuple(on_the_front(paid[pair], quality[pair])) == (True, False):
            print(f"{first} dominates {second} in {what}")

# %% [markdown]
# <details><summary>What happened</summary>
#
# Both depend on the processor: the table has the numbers of this one, and "What you saw" says
# which instructions it has. Most CPUs compute float16 in float32, with conversions around it.
#
# One file dominates most others in size: the small network in int8. It is smaller than the
# network with half of its channels, also than that with a quarter, and has more decibels than
# both, without any training. So cutting alone is the wrong tool for a small file here. In time
# the answer depends on the processor; the printed lines say what it is on this one.
#
# Weights of 4 bits, trained rounded, take less than half of int8's size, for hundredths of a
# decibel. No such file ran here, so nothing is known about its time.
#
# </details>
#
# The files are checked like any other, each against the network it came from, on another size. A
# quantised file is not equal to its network; what counts is the PSNR. The mean difference in grey
# levels says whether something is broken.

# %% tags=["folded"]
# @title Parity of the files, in grey levels
lr = to_float(make_pairs({"coffee": sample_image("coffee")[60:221, 100:295]}, scale)[0].lr)
for name, network in networks.items():
    with torch.inference_mode():
        change = 255 * (OnnxNetwork(files[name])(lr) - network(lr)).abs()
    print(f"{name}: mean {change.mean():.4f}, largest {change.max():.3f} grey levels")

# %% tags=["folded"]
# @title Can it be seen?
seen = {"original": photo.hr, "bicubic": versions["bicubic"]}
for name in ("small", "small, int8", "student, int8"):
    seen[f"{name}, {kib(files[name]):.0f} KiB"] = upscale(OnnxNetwork(files[name]), photo.lr)
show(
    zoom_grid(seen, (44, 60, 64, 64), reference="original", scale=scale),
    "The cat's eye: original, bicubic, the small network in float32 and in int8, and the student "
    "in int8.",
)

# %% [markdown]
# ## 8. A file of your own
#
# **Open.** The methods can be added: a cut network can be trained rounded, a student stored in 4
# bits. What is the best picture from 64 KiB? Count as the table does: bits of the weights, four
# bytes for each bias and each step. Write down what you expect before you train.
#
# <details><summary>A sample answer</summary>
#
# ```python
# both_runs = compare_trainings(
#     "13_both",
#     {"cut, 4 bits": lambda: FewBits(prune(small, 0.5, by_activity), 4)},
#     sampler_of(task.train_pairs),
#     TrainConfig(steps=5 * bits_steps, learning_rate=1e-3),
#     task.score,
#     seeds=[0],
# )
# halved = both_runs.networks["cut, 4 bits", 0]
# layers = [layer for layer, _ in layers_of(halved).values()]
# weights = sum(layer.weight.numel() for layer in layers)
# channels = sum(layer.bias.numel() for layer in layers)
# print(f"{(weights / 2 + 8 * channels) / 1024:.0f} KiB, {task.score(halved):.2f} dB")
# ```
#
# That gave 48 KiB and 29.29 dB (measured, with these lines on a CPU): as good as the student, which
# needs 109 KiB in float. It is one seed and a training of seconds, so it is a start and no result.
# Next: three seeds, the long run's steps, and the same student with 4 bits as a rival.
#
# </details>
#
# ## What you saw

# %% tags=["folded"]
# @title The numbers
whole, int8, halved = (
    result.loc[name] for name in ("small", "small, int8", "small, half of the channels")
)
cpu_info = Path("/proc/cpuinfo")
flags = cpu_info.read_text().split() if cpu_info.exists() else []
vnni = [flag for flag in ("avx512_vnni", "avx_vnni", "asimddp") if flag in flags]
for name, row in (("int8", int8), ("half of the channels", halved)):
    print(
        f"{name}: {row['PSNR (dB)'] - whole['PSNR (dB)']:+.3f} dB, "
        f"{whole['KiB'] / row['KiB']:.1f} times smaller, "
        f"{whole['latency (ms)'] / row['latency (ms)']:.2f} times as fast as float32"
    )

# %% tags=["folded"]
# @title More numbers
print(f"instructions for sums of 8-bit products: {', '.join(vnni) or 'none that is known here'}")
for bits in (4, 3):
    after, during = (
        long_bits.table().loc[f"{bits} bits, {how}", "mean (dB)"] - small_db
        for how in ("rounded after training", "trained rounded")
    )
    print(f"{bits} bits against float: rounded after training {after:+.2f} dB, "
          f"trained rounded {during:+.2f} dB")  # fmt: skip
useful = result[result["above bicubic (dB)"] > 0.5].sort_values("KiB")
if len(useful):
    row = useful.iloc[0]
    print(f"smallest with more than 0.5 dB above bicubic: {useful.index[0]}, {row['KiB']:.0f} KiB, "
          f"{row['above bicubic (dB)']:+.2f} dB")  # fmt: skip

# %% [markdown]
# - int8 is the cheapest way: no training, about a third of the size, and hundredths of a decibel,
#   if the image skip and the sigmoid stay in float. It dominates cutting by size.
# - Below 8 bits rounding after the training fails first. Training with rounded weights brings
#   most of it back, by one line: rounded forwards, straight through backwards.
# - A norm is no measure of a channel. What a channel passes on is one.
# - Zeros save no time; cut channels save less time than channels.
# - A teacher or a criterion is worth what it gains over none, and over chance. Measure both, over
#   seeds, and with the same training for the rival.
# - A file is worth keeping if no other one dominates it. Decide on the costs first.
#
# ## Pitfalls
#
# - **Everything in int8.** An 8-bit image has 255 steps. A network that has only 255 of them for
#   its last sum rounds twice.
# - **The wrong axis.** ConvTranspose weights are (in, out, kH, kW).
# - **Calibrating on one kind of picture**, or on test images. What lies outside the noted range
#   is clipped: a night sky as the only calibration picture clips every edge.
# - **Parity at one size.** A file that was traced with fixed sizes passes, and fails on the next
#   image. Compare on odd sizes and batches, and score the file, not the network it came from.
# - **Sparsity as speed.** "90% of the weights are zero" says nothing about milliseconds.
# - **A student without a control.** More steps help a student as well. Compare at equal steps,
#   over seeds.
# - **8 bits are not always faster.** Without instructions for sums of 8-bit products, or where
#   small operators between float and int8 take the time, float32 may win. The same processors may
#   overflow with weights of 8 bits: score the file where it will run.
#
# ## Further reading
#
# - G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", NIPS Deep
#   Learning Workshop, 2014; arXiv:1503.02531, 2015.
# - Z. He, T. Dai, J. Lu, Y. Jiang, S.-T. Xia, "FAKD: Feature-affinity based knowledge
#   distillation for efficient image super-resolution", ICIP, 2020.
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning filters for efficient
#   ConvNets", ICLR, 2017.
# - H. Hu, R. Peng, Y.-W. Tai, C.-K. Tang, "Network trimming: A data-driven neuron pruning
#   approach towards efficient deep architectures", arXiv:1607.03250, 2016.
# - D. Mittal, S. Bhardwaj, M. M. Khapra, B. Ravindran, "Recovering from random pruning: On the
#   plasticity of deep convolutional neural networks", WACV, 2018.
# - Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic
#   neurons for conditional computation", arXiv:1308.3432, 2013.
# - B. Jacob et al., "Quantization and training of neural networks for efficient
#   integer-arithmetic-only inference", CVPR, 2018.
# - M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-free quantization through weight
#   equalization and bias correction", ICCV, 2019.
# - M. Nagel, M. Fournarakis, R. A. Amjad, Y. Bondarenko, M. van Baalen, T. Blankevoort, "A white
#   paper on neural network quantization", arXiv:2106.08295, 2021.
# - H. Li et al., "PAMS: Quantized super-resolution via parameterized max scale", ECCV, 2020.
# - A. Ignatov, R. Timofte, M. Denna, A. Younes et al., "Real-time quantized image
#   super-resolution on mobile NPUs, Mobile AI 2021 challenge: Report", CVPR Workshops, 2021.
# - A. Ignatov et al., "Efficient and accurate quantized image super-resolution on mobile NPUs,
#   Mobile AI & AIM 2022 challenge: Report", ECCV Workshops, 2022.
