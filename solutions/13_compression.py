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
# battery. Four ways make it smaller: teach a small network by a large one, cut channels out, store
# each weight in 8 bits instead of 32, or in 16. Each costs decibels, or should; here all are
# measured on the shipped networks, in one table of KiB, milliseconds and dB.
#
# **After this you can**
#
# - train a small network on the outputs of a large one, and tell whether that helped;
# - cut channels so that a network really gets faster, and show that zeros alone do not help;
# - turn a network into an int8 ONNX file, say which parts must stay in float, and check the file.
#
# Time: 75 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 4 on a T4 GPU, 3 on an A100.

# %%
import copy
import functools
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

# %%
from srlib.assets import is_cached, sample_image
from srlib.data import Pair, PatchSampler, load_images, make_pairs
from srlib.environment import by_profile
from srlib.evaluation import evaluate, upscale
from srlib.exercises import check
from srlib.figures import show, zoom_grid
from srlib.image import to_float
from srlib.measuring import measure
from srlib.metrics import score
from srlib.models import SrResNet, load_pretrained
from srlib.onnx_files import OnnxNetwork, export_onnx
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.widgets import Explorer

# %% tags=["parameters"]
benchmark = by_profile(ci=None, cpu="Set5", gpu="Set5")  # where it is on this computer
crop_side = by_profile(ci=64, cpu=192, gpu=224)  # where many variants are scored
student = by_profile(
    ci={"channels": 8, "num_blocks": 1, "hr_channels": 4},
    cpu={"channels": 16, "num_blocks": 3, "hr_channels": 8},
    gpu={"channels": 24, "num_blocks": 6, "hr_channels": 12},
)
seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2))
student_steps = by_profile(ci=3, cpu=250, gpu=6000)
tuning_steps = by_profile(ci=2, cpu=50, gpu=2000)  # after pruning
calibration_patches = by_profile(ci=2, cpu=16, gpu=32)
cut_shares = by_profile(ci=(0.5,), cpu=(0.75, 0.5, 0.25), gpu=(0.875, 0.75, 0.5, 0.25))
chance_draws = by_profile(ci=2, cpu=5, gpu=10)
repeats = by_profile(ci=2, cpu=15, gpu=15)  # timed runs

# %% [markdown]
# Two of the shipped networks, both for a factor of 4. All scores are by the protocol, on the same
# images. Nothing here is trained on them.

# %%
scale = 4
device = "cuda" if torch.cuda.is_available() else "cpu"
teacher = load_pretrained("srresnet_x4")
small = load_pretrained("srresnet_small_x4")


# %%
def middle(image, side):
    """Cut the square in the middle out of an image, or less of it if it is smaller."""
    height, width = (min(side, length) for length in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


if benchmark and is_cached(f"{benchmark}/x{scale}"):
    scored_on, images = benchmark, load_images(benchmark, scale)
else:  # brick is left out: softer than what the networks know, see notebook 10
    scored_on, images = "photographs", load_images("bundled/test")
    del images["brick"]
    images = {name: middle(image, 2 * crop_side) for name, image in images.items()}
scored = make_pairs(images, scale)
crop_pairs = make_pairs({name: middle(hr, crop_side) for name, _, hr in scored}, scale)


def psnr_of(upscaler, pairs):
    """Mean PSNR over pairs of images, in dB, by the protocol."""
    return evaluate(upscaler, pairs, scale, progress=False).loc["mean", "psnr_db"]


def bicubic(lr):
    """Enlarge by bicubic interpolation."""
    return imresize(lr, scale)


print(
    f"scored on {scored_on}, {len(scored)} images, or on their middle {crop_side} x {crop_side} px"
)

# %%
photo = make_pairs({"chelsea": sample_image("chelsea")[40:232, 60:316]}, scale)[0]
names = {"bicubic": bicubic, "network A": functools.partial(upscale, small)}
names["network B"] = functools.partial(upscale, teacher)
versions = {"original": photo.hr} | {name: run(photo.lr) for name, run in names.items()}
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
# ONNX is a format for networks that is run by other programs than torch: in a browser, a phone, a
# camera. `export_onnx` traces the network and writes one file for all sizes of images. The
# exporter also writes notes into it, which line of Python made which operation. They are of use to
# nobody who runs the file, so `slim` takes them out.


# %%
def slim(path):
    """Rewrite an ONNX file without the exporter's notes."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def kib(path):
    """Size of a file in KiB."""
    return path.stat().st_size / 1024


def count(network):
    """Count the parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


# %%
temporary = tempfile.TemporaryDirectory()  # gone when the notebook's kernel ends
folder = Path(temporary.name)
files = {"teacher": folder / "teacher.onnx", "small": folder / "small.onnx"}
rows = {}
for name, network in (("teacher", teacher), ("small", small)):
    export_onnx(network, files[name])
    before = kib(files[name])
    slim(files[name])
    rows[name] = {
        "parameters": count(network),
        "4 bytes each (KiB)": count(network) * 4 / 1024,
        "as exported (KiB)": before,
        "slim (KiB)": kib(files[name]),
    }
pd.DataFrame(rows).T.round(1)

# %% [markdown]
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


pd.DataFrame({name: parity(net, files[name]) for name, net in
              (("teacher", teacher), ("small", small))}).map("{:.1e}".format)  # fmt: skip

# %% [markdown]
# These are float32's rounding errors, sums in another order. A grey level is 4e-3.
#
# The weights are nearly all of the file. So there are two ways to a smaller one: fewer weights
# (sections 2 and 3), or fewer bits for each (sections 4 and 5).
#
# ## 2. A student and a teacher
#
# **Distillation** trains a small network, the student, on the outputs of a large one (Hinton,
# Vinyals, Dean 2015). For classes the gain is clear: the teacher's probabilities say how alike a
# cat and a lynx are, a label does not. For pictures the target is already as rich as the output.
# What may help: the teacher's picture has no detail that nobody could guess from the LR image, so
# it is easier to follow than the original. What may hurt: it has the teacher's errors.
#
# *Predict:* by how many dB does a student gain from the teacher, in a short training?
#
# The teacher is far more expensive than the student. It therefore runs once over the training
# photographs, and its pictures are kept. A second sampler with the same seed then cuts the same
# patches, turned the same way, out of them.

# %%
detailed = ("astronaut", "gravel", "immunohistochemistry", "rocket", "text")
train_pairs = make_pairs({name: sample_image(name) for name in detailed}, scale)
teacher.to(device)
taught_pairs = [Pair(name, lr, upscale(teacher, lr)) for name, lr, _ in train_pairs]
teacher.cpu()


class TeachingSampler(PatchSampler):
    """A PatchSampler that also holds what the teacher makes of the same patches."""

    def __init__(self, pairs, taught_pairs, scale, **options):
        super().__init__(pairs, scale, **options)
        self._teacher = PatchSampler(taught_pairs, scale, **options)  # same seed, same places

    def sample(self, process=0, processes=1):
        """Draw a batch as PatchSampler does; `taught` is the teacher's HR batch."""
        _, self.taught = self._teacher.sample(process, processes)
        return super().sample(process, processes)


# %% [markdown]
# The loss is a mix: `share` of it is the distance to the teacher's picture, the rest that to the
# original. 0 is the student without a teacher. For one seed all mixes start from the same weights
# and see the same patches.


# %%
patches = {"lr_patch_size": 16, "batch_size": 8, "device": device}


def train_student(share, seed):
    """Train a student by a teacher's share of the loss, 0 to 1; returns it on the CPU."""
    torch.manual_seed(seed)
    network = SrResNet(scale, **student)
    sampler = TeachingSampler(train_pairs, taught_pairs, scale, seed=seed, **patches)

    def loss(sr, hr):
        return (1 - share) * F.l1_loss(sr, hr) + share * F.l1_loss(sr, sampler.taught)

    config = TrainConfig(steps=student_steps, learning_rate=2e-3, progress=False)
    train(network, sampler, config, loss=loss)
    return network.cpu().eval()


shares = (0.0, 0.5, 1.0)
students, student_db = {}, pd.DataFrame(index=seeds, columns=shares, dtype=float)
with tqdm(total=len(shares) * len(seeds), desc="train", unit="student") as bar:
    for share in shares:
        for seed in seeds:
            students[share, seed] = train_student(share, seed)
            student_db.loc[seed, share] = psnr_of(students[share, seed], scored)
            bar.update()

# %%
bicubic_db, teacher_db, small_db = (psnr_of(net, scored) for net in (bicubic, teacher, small))
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6))
gains = student_db.sub(student_db[0.0], axis=0)
for axes, table in zip(panels, (student_db - bicubic_db, gains[list(shares[1:])])):
    for place, share in enumerate(table):
        values = table[share]
        spread = [[values.mean() - values.min()], [values.max() - values.mean()]]
        axes.errorbar(place, values.mean(), spread, fmt="_", ms=22, capsize=5, color="C0")
    axes.plot(range(table.shape[1]), table.T, "o-", ms=4, lw=0.6, color="grey")
    axes.set_xticks(range(table.shape[1]), [f"{share:.0%}" for share in table])
    axes.set(xlabel="share of the teacher in the loss", xlim=(-0.5, table.shape[1] - 0.5))
panels[0].set(ylabel="PSNR above bicubic (dB)", title=f"on {scored_on}, {student_steps} steps")
panels[1].axhline(0, color="grey", linestyle=":")
panels[1].set(ylabel="PSNR (dB)", title="the same seed with minus without teacher")
show(
    figure,
    "Left the students' gain over bicubic for three shares of the teacher, a grey line for each "
    "seed, mean and range in blue. Right the difference to the student without a teacher.",
)

# %%
for share in shares[1:]:
    mean, error = gains[share].mean(), gains[share].std(ddof=1) / len(seeds) ** 0.5
    verdict = "larger than chance" if abs(mean) > 4.3 * error else "within what chance does"
    print(f"teacher's share {share:.0%}: {mean:+.3f} dB, standard error {error:.3f}: {verdict}")
print(f"the teacher is {teacher_db - student_db[0.0].mean():.2f} dB above the student without it")

# %% [markdown]
# (4.3 standard errors is Student's t for three seeds, one case of twenty by chance; notebook 10.)
# Whatever the sign, compare its size with the gap to the teacher in the last line. In a short
# training the student is held back by its steps more than by its targets. Papers that gain a tenth
# train for days, start from features as well as outputs (FAKD, He et al. 2020), and compare with a
# student that had the same steps. The last is what to look for when you read one.
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
# `weight` has the shape (out, in, kH, kW). Return the indices of the `count` output channels whose
# filters have the largest L1 norm, in the channels' order (rising).


# %%
def channels_to_keep(weight, count):
    """Indices of the output channels with the largest L1 norms, rising: (count,), whole numbers."""
    ### BEGIN SOLUTION
    norms = weight.abs().sum(dim=(1, 2, 3))  # (out,)
    return norms.topk(count).indices.sort().values
    ### END SOLUTION


channels_to_keep = check("13.1", channels_to_keep)

# %% [markdown]
# Stuck? Run `from srlib.exercises import hint` and `hint("13.1")`. A wrong answer never stops
# the notebook: `check` hands on the reference.


# %%
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
        keep = choose(index, block, round(share * block.first.out_channels))
        block.first, block.second = cut(block.first, 0, keep), cut(block.second, 1, keep)
    return network


# %% [markdown]
# A criterion needs rivals. One is chance. The other looks at what the norm cannot see, the
# pictures: how strong a channel is on average behind its ReLU, times the weights that read it (in
# the manner of Hu et al. 2016). For that the network sees one batch of training patches.


# %%
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


batch, _ = PatchSampler(train_pairs, scale, lr_patch_size=40, batch_size=8, seed=0).sample()
activity = activities(small, batch)
silent = sum(int((mean == 0).sum()) for mean in activity)
print(f"{silent} of {sum(map(len, activity))} channels are silent: zero behind the ReLU everywhere")


# %%
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
# *Predict:* without any training, how many dB does the small network lose with half of these
# channels, chosen by norm, by activity, by chance?
#
# Then a short training, called fine-tuning, lets the rest adapt. And as a control the opposite of
# cutting: set the smallest weights to zero and leave the shapes. Zeros are multiplied like all
# other numbers.


# %%
def with_zeros(network, share):
    """Copy a network, with the smallest weights of each layer of its blocks set to zero."""
    network = copy.deepcopy(network)
    for layer in network.blocks.modules():
        if isinstance(layer, nn.Conv2d):
            sizes = layer.weight.data.abs()
            layer.weight.data[sizes < sizes.quantile(1 - share)] = 0
    return network


def tune(network):
    """Train a copy of a network further, for a few steps with a small learning rate."""
    network = copy.deepcopy(network)
    sampler = PatchSampler(train_pairs, scale, seed=0, **patches)
    train(network, sampler, TrainConfig(steps=tuning_steps, learning_rate=5e-4, progress=False))
    return network.cpu().eval()


def latency_of(network):
    """Median latency in ms for 64 x 64 LR pixels, in torch."""
    return measure(network, (64, 64), repeats=repeats)["latency_ms"]


# %%
pruned, rows = {}, {}
torch.manual_seed(0)
for share in tqdm(cut_shares, desc="prune", unit="share"):
    row = {"zeros": psnr_of(with_zeros(small, share), crop_pairs)}
    for name, choose in (("norm", by_norm), ("activity", by_activity)):
        network = prune(small, share, choose)
        pruned[name, share] = tune(network)
        row[name] = psnr_of(network, crop_pairs)
        row[f"{name}, tuned"] = psnr_of(pruned[name, share], crop_pairs)
    draws = [psnr_of(prune(small, share, by_chance), crop_pairs) for _ in range(chance_draws)]
    row |= {"chance, mean": np.mean(draws), "worst": min(draws), "best": max(draws)}
    rows[share] = row
pruning = pd.DataFrame(rows).T
whole_db = psnr_of(small, crop_pairs)

# %%
timed = {("whole", 1): small}
for share in cut_shares:
    timed["cut", share] = prune(small, share, by_activity)
    timed["zeros", share] = with_zeros(small, share)
# In turns, so that a slow moment of the machine meets all of them.
rounds = [{key: latency_of(network) for key, network in timed.items()} for _ in range(5)]
latency = {key: np.median([times[key] for times in rounds]) for key in timed}  # ms
left = [100, *pruning.index * 100]  # percent

# %%
figure, panels = plt.subplots(1, 2, figsize=(10, 4.5), width_ratios=(3, 2))
for name, colour in (("norm", "C0"), ("activity", "C1")):
    panels[0].plot(left, [whole_db, *pruning[name]], "o--", color=colour, label=f"by {name}")
    tuned = [whole_db, *pruning[f"{name}, tuned"]]
    panels[0].plot(left, tuned, "o-", color=colour, label=f"by {name}, tuned")
panels[0].plot(left, [whole_db, *pruning["zeros"]], "^:", color="C2", label="zeros")
mean = pruning["chance, mean"]
spread = [mean - pruning["worst"], pruning["best"] - mean]
panels[0].errorbar(left[1:], mean, spread, fmt="x", color="C3", capsize=4, label="by chance")
panels[0].axhline(psnr_of(bicubic, crop_pairs), color="grey", linestyle=":", label="bicubic")
panels[0].set(ylabel="PSNR (dB)", title=f"quality, crops of {scored_on}")
for kind, look, colour in (("cut", "o-", "C1"), ("zeros", "^:", "C2")):
    by_share = [latency["whole", 1], *(latency[kind, share] for share in cut_shares)]
    panels[1].plot(left, by_share, look, color=colour, label=kind)
panels[1].set(ylabel="median latency (ms)", ylim=(0, None), title="64 x 64 LR pixels, torch")
for axes in panels:
    axes.set(xlabel="channels or weights left (%)")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4, fontsize=8, handlelength=3
    )
show(
    figure,
    "Left PSNR against the share left: channels cut by norm, by activity and by chance, before and "
    "after tuning, and weights set to zero. Right the latency of cut channels and of zeros.",
)

# %%
pruning.sub(whole_db).round(2)

# %% [markdown]
# The table is in dB against the whole network; a row for each share that is left.
#
# - **Cutting makes the network smaller and faster.** Zeros cost little quality and gain no time: a
#   dense convolution multiplies them. They need special kernels, special hardware (2 of 4 weights
#   on some GPUs), or at least a compressed file. Cutting gains time in jumps: a processor takes
#   channels in blocks, 16 at a time where its registers hold 512 bits, so 24 cost what 32 cost.
# - **A norm is a guess.** Compare its column with that of chance. With a ReLU in between, a filter
#   can be doubled and the weights behind it halved, and the network stays the same: the norm of a
#   filter says nothing by itself. Batch normalisation would fix the scale; these blocks have none.
#   A channel with large weights can even be silent, because its ReLU never opens. Silent channels
#   are free to cut. That chance is hard to beat after tuning is known (Mittal et al. 2018).
# - **Tuning on a few photographs** is not always a gain: it moves the network towards them.

# %% [markdown]
# ## 4. Fewer bits for each weight
#
# A weight in float32 takes 32 bits. Stored as a whole number of 8 bits, it takes a quarter. All
# that is needed beside the whole numbers is the **step** between two of them: weight = step x
# whole number. The largest weight decides on the step, and every other one is rounded to it.
#
# **Per tensor** there is one step for all weights of a layer. **Per channel** each output channel
# has its own. That costs four bytes a channel and nothing in time, because the step can be
# multiplied after the sum.
#
# ### Exercise 13.2
#
# Round a weight tensor to `bits` bits, symmetrically around zero: step = largest absolute weight /
# (2**(bits - 1) - 1), and each weight becomes the nearest multiple of the step. With `axis` every
# index of that axis gets its own step. A channel of zeros stays zero.


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
# `nn.ConvTranspose2d` they are (in, out, kH, kW). Whoever overlooks that gives the deconvolution a
# step for each *input* channel. In this simulation it even works. In a real file it cannot: the
# sum over input channels mixes the steps, and they cannot be multiplied after it.


# %%
def layers_of(network):
    """Convolutions of a network, by name, each with the axis of its output channels."""
    return {
        name: (layer, 1 if isinstance(layer, nn.ConvTranspose2d) else 0)
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    }


def with_rounded_weights(network, bits, per_channel):
    """Copy a network, its weights rounded to so many bits; it still computes in float."""
    network = copy.deepcopy(network)
    for layer, axis in layers_of(network).values():
        layer.weight.data = quantise(layer.weight.data, bits, axis if per_channel else None)
    return network


# %% [markdown]
# *Predict:* move the slider from 8 bits down. Where do you see it first? Where does it matter
# whether there is one step for a layer or one for a channel?

# %%
eye = make_pairs({"eye": sample_image("chelsea")[76:236, 104:264]}, scale)[0]
plain_eye = upscale(small, eye.lr)


@functools.cache
def rounded_eye(bits, per_channel):
    """Enlarge the crop with rounded weights; 32 bits: as they are."""
    network = small if bits == 32 else with_rounded_weights(small, bits, per_channel)
    return upscale(network, eye.lr)


def draw_rounded(bits, steps):
    """Draw the enlarged crop, and its difference to that of the float network, times 8."""
    picture = rounded_eye(bits, steps == "a channel")
    change = picture.astype(float) - plain_eye
    shown = np.clip(128 + 8 * change, 0, 255).astype(np.uint8)
    caption = (
        f"{score(picture, eye.hr, scale)[0]:.2f} dB, float {score(plain_eye, eye.hr, scale)[0]:.2f}"
        f" dB. Right: difference to float x 8, mean {np.abs(change).mean():.2f} grey levels"
    )
    return np.hstack([picture, shown]).repeat(2, axis=0).repeat(2, axis=1), caption


# %%
choices = [*((str(bits), bits) for bits in range(2, 9)), ("float", 32)]
bits_slider = Explorer(
    draw_rounded,
    bits=ipywidgets.SelectionSlider(options=choices, value=4, description="bits of a weight"),
    steps=ipywidgets.ToggleButtons(
        options=["a layer", "a channel"], description="one step for", value="a layer"
    ),
)
bits_slider

# %% [markdown]
# The same as a curve, on the crops, and beside it the reason: the range of the
# weights of each channel. A channel that is half as wide as the widest of its layer wastes one bit
# of a step that is made for the widest.

# %%
bit_counts = (3, 4, 5, 6, 8)
rounded_db = pd.DataFrame(
    {
        steps: [psnr_of(with_rounded_weights(small, b, per), crop_pairs) for b in bit_counts]
        for steps, per in (("one for a layer", False), ("one for a channel", True))
    },
    index=bit_counts,
)


def wasted_bits(network):
    """Bits by which the widest channel of a layer is wider than each channel, by layer."""
    result = {}
    for name, (layer, axis) in layers_of(network).items():
        widths = layer.weight.detach().abs().transpose(0, axis).flatten(1).amax(dim=1)
        result[name] = torch.log2(widths.max() / widths).numpy()
    return result


def draw_wasted(axes, network):
    """Draw what each channel wastes, a column for each layer."""
    for place, bits in enumerate(wasted_bits(network).values()):
        axes.plot([place] * len(bits), bits, "o", color="C0", ms=3, alpha=0.5)
        axes.plot(place, np.median(bits), "_", color="black", ms=12, mew=2)
    axes.set(xlabel="layer, from the first to the last", ylabel="wasted bits")
    axes.set_xticks(range(0, place + 1, 5))


# %%
figure, panels = plt.subplots(1, 2, figsize=(10, 3.8))
for steps, marker in zip(rounded_db, "so"):
    panels[0].plot(rounded_db[steps] - whole_db, f"{marker}-", label=steps)
panels[0].axhline(0, color="grey", linestyle=":")
panels[0].set(xlabel="bits of a weight", ylabel="PSNR minus float (dB)", title="steps")
panels[0].legend()
draw_wasted(panels[1], small)
panels[1].set_title("a dot for each channel, a dash: the median")
show(
    figure,
    "Left the loss against the bits of a weight: at 4 and 5 bits one step for each channel loses "
    "less, at 3 both are lost. Right the bits that a layer's channels waste if they share a step.",
)
(rounded_db - whole_db).round(3).T

# %% [markdown]
# At 8 bits this network has bits to spare: its channels are about equally wide. At 5 and 4 bits
# every wasted bit counts. At 3 bits neither way leaves enough.
#
# So where does the rule come from that one step for a layer is not enough at 8 bits? From networks
# whose channels differ much in width, as after **folded batch normalisation**: its factors are
# multiplied into the weights, and a channel with a small response gets large ones (Nagel et al.
# 2019, on MobileNet). The small network can be written so, too, by the freedom of section 3: in
# each block one filter is multiplied by 50, and what reads its channel is divided by 50. In float
# it is the same network.
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


# %%
wide = rescaled(small, one_wide_channel)
forms = {"as shipped": small, "one wide channel a block": wide}
forms["wide, then equalised"] = rescaled(wide, equalising)
table = {}
for name, network in forms.items():
    table[name] = {"float": psnr_of(network, crop_pairs) - whole_db}
    for steps, per in (("8 bits, one step for a layer", False), ("for a channel", True)):
        rounded = with_rounded_weights(network, 8, per)
        table[name][steps] = psnr_of(rounded, crop_pairs) - whole_db
pd.DataFrame(table).T.add_suffix(" (dB)").round(3)

# %% [markdown]
# One wide channel spoils the step of its whole layer. With a step for each channel it spoils its
# own only. **Equalisation** uses the same freedom the other way, and makes one step enough again.
# No data and no training are needed for either.
#
# ## 5. int8 for real
#
# So far the weights were rounded and the sums done in float, which shows the loss and saves
# nothing. For speed the **activations** have to be whole numbers as well, and their ranges are not
# known beforehand. **Calibration** runs the float network on some photographs (those for training)
# and notes the smallest and largest value of each activation. ONNX Runtime's toolkit does that,
# and writes the steps into the file as pairs of operators, QuantizeLinear and DequantizeLinear.
#
# *Predict:* the network ends in a convolution whose output is added to the logit of the bicubic
# image, and a sigmoid. Is that output a good candidate for 8 bits?


# %%
class CalibrationPatches(CalibrationDataReader):
    """Hand out patches of the training photographs, until there are no more."""

    def __init__(self):
        sampler = PatchSampler(train_pairs, scale, lr_patch_size=40, batch_size=1, seed=0)
        self._left = iter([sampler.sample()[0].numpy() for _ in range(calibration_patches)])

    def get_next(self):
        """Return the next input by name, or None."""
        patch = next(self._left, None)
        return None if patch is None else {"lr": patch}


logging.getLogger().setLevel(logging.ERROR)  # the toolkit's advice about steps that are not needed


# %%
def to_int8(source, target, *, per_channel, keep_tail=True, everything=False):
    """Quantise an ONNX file of an SrResNet: its convolutions, or all operators that can be."""
    graph = onnx.load(source).graph
    kept = "tail." if keep_tail else "tail.bicubic"  # as the weights are called
    in_float = [node.name for node in graph.node if any(kept in name for name in node.input)]
    quantize_static(
        source,
        target,
        CalibrationPatches(),
        per_channel=per_channel,
        op_types_to_quantize=None if everything else ["Conv", "ConvTranspose"],
        nodes_to_exclude=[] if everything else in_float,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return target


# %%
for name, network in (("wide", wide), ("equalised", forms["wide, then equalised"])):
    files[name] = export_onnx(network, folder / f"{name}.onnx")
    slim(files[name])
recipes = {
    "per channel": ("small", {"per_channel": True}),
    "per tensor": ("small", {"per_channel": False}),
    "per channel, last convolution too": ("small", {"per_channel": True, "keep_tail": False}),
    "per channel, image skip and sigmoid too": ("small", {"per_channel": True, "everything": True}),
    "one wide channel, per channel": ("wide", {"per_channel": True}),
    "one wide channel, per tensor": ("wide", {"per_channel": False}),
    "wide, then equalised, per tensor": ("equalised", {"per_channel": False}),
}
small_db, rows = psnr_of(small, scored), {}
for name, (source, options) in tqdm(recipes.items(), desc="int8", unit="file"):
    files[name] = to_int8(files[source], folder / f"{len(files)}.onnx", **options)
    db = psnr_of(OnnxNetwork(files[name]), scored)
    rows[name] = {"KiB": kib(files[name]), "PSNR (dB)": db, "minus float32 (dB)": db - small_db}
print(f"float32: {small_db:.3f} dB on {scored_on}")
int8_table = pd.DataFrame(rows).T
int8_table.round({"KiB": 1, "PSNR (dB)": 3, "minus float32 (dB)": 3})

# %%
outputs = []
listener = small.tail.conv.register_forward_hook(lambda layer, x, y: outputs.append(y.flatten()))
with torch.inference_mode():
    for patch in iter(CalibrationPatches().get_next, None):
        small(torch.from_numpy(patch["lr"]))
listener.remove()
low, high = map(float, torch.cat(outputs).aminmax())
most = float(torch.logit(torch.tensor(1 - 1.5e-3)))  # srlib.models keeps black and white finite


def cost(step, db):
    """Loss in dB by rounding to steps of so many grey levels, where the PSNR was `db`."""
    error, rounding = 255**2 / 10 ** (db / 10), step**2 / 12  # mean squares
    return 10 * np.log10(error / (error + rounding))


rows = {}
ranges = {"last convolution": (low, high), "logit of the bicubic image": (-most, most)}
for name, (first, last) in ranges.items():
    step = (last - first) / 255 * 255 / 4  # the sigmoid's slope on mid-grey is 1/4
    rows[name] = {"smallest": first, "largest": last, "a step (grey levels)": step}
    rows[name] |= {f"cost at {db:.0f} dB": cost(step, db) for db in (small_db, 37, 45)}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# The table says what 255 steps for one output mean in the picture. The errors of rounding are as
# good as independent of those of the network, so their mean squares add.
#
# - **The image skip stays in float.** The logit has a wide range, and one step of it is several
#   grey levels. Beside the error of a network at x4 even that is little. Beside that of a better
#   one, or of x2, it is much: the last columns. Quantising everything is what the toolkit does if
#   not told otherwise.
# - **The last convolution** makes only the detail that is added, so its range is narrow and 8 bits
#   nearly suffice; its row above says what they cost. In a network without an image skip it makes
#   the whole picture. A classifier has no such problem: it asks which output is largest. The last
#   layer has few weights, so leaving it in float costs nearly nothing. (PAMS, Li et al. 2020,
#   learns the ranges instead.)
# - **One wide channel** hurts the activations most of all. There is one step for all channels of
#   an activation, because the sum runs over them. A step for each output channel repairs the
#   weights alone; equalising repairs both.
#
# Half precision needs none of this. float16 has a step of its own for every number, relative to
# its size. It halves the file. Whether it is faster depends on the processor: most CPUs have no
# float16 convolution, and ONNX Runtime converts back and forth.

# %%
half = convert_float_to_float16(onnx.load(files["small"]), keep_io_types=True)
files["small, float16"] = folder / "half.onnx"
onnx.save(half, files["small, float16"])

taught = student_db[list(shares[1:])].mean().idxmax()  # the better share of the teacher
trained = {
    "student, no teacher": students[0.0, seeds[0]],
    "student, taught": students[taught, seeds[0]],
    "small, half the channels": pruned["activity", 0.5],
}
for number, (name, network) in enumerate(trained.items()):
    files[name] = export_onnx(network, folder / f"trained_{number}.onnx")
    slim(files[name])
tiny = to_int8(files["student, taught"], folder / "tiny.onnx", per_channel=True)
files["student, taught, int8"] = tiny

# %% [markdown]
# ## 6. All in one table
#
# All of them run in ONNX Runtime on this computer's processor, on an image of 64 x 64 LR pixels:
# the median of the runs, and the range from the first to the third quartile.
#
# *Predict:* is int8 faster than float32, and by how much? And float16?

# %%
sources = {"teacher": teacher, "small": small, **trained}
sources |= {"small, int8 per channel": small, "small, int8 per tensor": small}
sources |= {"small, float16": small, "student, taught, int8": trained["student, taught"]}
files["small, int8 per channel"] = files["per channel"]
files["small, int8 per tensor"] = files["per tensor"]
rows = {}
for name, network in tqdm(sources.items(), desc="measure", unit="file"):
    onnx_network = OnnxNetwork(files[name])
    cost = measure(onnx_network, (64, 64), repeats=repeats)
    rows[name] = {
        "KiB": kib(files[name]),
        "parameters": count(network),
        "latency (ms)": cost["latency_ms"],
        "quartiles apart (ms)": cost["latency_iqr_ms"],
        "PSNR (dB)": psnr_of(onnx_network, scored),
    }
result = pd.DataFrame(rows).T
result["above bicubic (dB)"] = result["PSNR (dB)"] - bicubic_db
print(f"PSNR on {scored_on}, bicubic {bicubic_db:.2f} dB; {OnnxNetwork(tiny).threads} threads")
result.astype({"parameters": int}).round(2)

# %%
figure, axes = plt.subplots(figsize=(10, 4.2))
markers = dict(zip(result.index, "sosDPo^vX"))
for place, (name, row) in enumerate(result.iterrows()):
    axes.plot(row["KiB"], row["PSNR (dB)"], markers[name], color=f"C{place}", ms=9, label=name)
axes.axhline(bicubic_db, color="grey", linestyle=":", label="bicubic")
axes.axvline(250, color="grey", lw=0.8)
axes.set(xscale="log", xlabel="size of the ONNX file (KiB)", ylabel="PSNR (dB)")
sizes = (25, 50, 100, 250, 500, 1000, 3500)
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.set_title(f"on {scored_on}")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
show(
    figure,
    "PSNR against the size of the file, logarithmic. The int8 file of the small network lies at a "
    "third of the size of its float32 file and at nearly the same height.",
)

# %% [markdown]
# The files are checked like any other, each against the network it came from, on other sizes. A
# quantised file is not equal to its network; what counts is the PSNR. The mean difference in grey
# levels says whether something is broken.

# %%
lr = to_float(make_pairs({"coffee": sample_image("coffee")[60:221, 100:295]}, scale)[0].lr)
for name, network in sources.items():
    with torch.inference_mode():
        change = 255 * (OnnxNetwork(files[name])(lr) - network(lr)).abs()
    print(f"{name}: mean {change.mean():.4f}, largest {change.max():.3f} grey levels")

# %% [markdown]
# Can it be seen? The picture of section 1 again, from three files.

# %%
seen = {"original": photo.hr, "bicubic": versions["bicubic"]}
for name in ("small", "small, int8 per channel", "student, taught, int8"):
    seen[f"{name}, {kib(files[name]):.0f} KiB"] = upscale(OnnxNetwork(files[name]), photo.lr)
show(
    zoom_grid(seen, (44, 60, 64, 64), reference="original", scale=scale),
    "The cat's eye: original, bicubic, the small network in float32 and in int8, and the student "
    "in int8.",
)

# %% [markdown]
# ## What you saw

# %%
float_row, int8_row = result.loc["small"], result.loc["small, int8 per channel"]
cpu_info = Path("/proc/cpuinfo")
flags = cpu_info.read_text().split() if cpu_info.exists() else []
vnni = [flag for flag in ("avx512_vnni", "avx_vnni", "asimddp") if flag in flags]
print(
    f"int8 per channel: {int8_row['PSNR (dB)'] - float_row['PSNR (dB)']:+.3f} dB, "
    f"{float_row['KiB'] / int8_row['KiB']:.1f} times smaller, "
    f"{float_row['latency (ms)'] / int8_row['latency (ms)']:.2f} times as fast as float32"
)
print(f"instructions for sums of 8-bit products: {', '.join(vnni) or 'none that is known here'}")
for name in ("per tensor", "per channel, image skip and sigmoid too"):
    print(f"int8 {name}: {int8_table.loc[name, 'minus float32 (dB)']:+.3f} dB")
useful = result[result["above bicubic (dB)"] > 0.5].sort_values("KiB")
if len(useful):
    name, row = useful.index[0], useful.iloc[0]
    print(f"smallest file more than 0.5 dB above bicubic: {name}, {row['KiB']:.0f} KiB, "
          f"{row['above bicubic (dB)']:+.2f} dB")  # fmt: skip
for share in shares[1:]:
    print(f"student, teacher's share {share:.0%}: {gains[share].mean():+.3f} dB against no teacher")
for share, row in (pruning - whole_db).iterrows():
    names = ("norm", "activity", "chance, mean", "activity, tuned")
    losses = ", ".join(f"{name} {row[name]:+.2f} dB" for name in names)
    print(f"{share:.0%} of the channels: {losses}")

# %% [markdown]
# - int8 is the cheapest of the four: no training, about a third of the size, and hundredths of a
#   decibel, if the image skip and the sigmoid stay in float.
# - One step for each channel costs nothing and is the safer choice. How much it saves depends on
#   how unequal the channels are. Look at them.
# - Cutting channels saves time, zeros do not.
# - A teacher or a criterion is worth what it gains over none, and over chance. Measure both.
# - The methods add up: the smallest file above is a small network, in int8.
#
# Network A is the small one.
#
# ## Pitfalls
#
# - **Everything in int8.** An 8-bit image has 255 steps. A network that has only 255 of them for
#   its last sum rounds twice.
# - **The wrong axis.** ConvTranspose weights are (in, out, kH, kW).
# - **Calibrating on one kind of picture**, or on test images. What lies outside the noted range is
#   clipped: a night sky as the only calibration picture clips every edge.
# - **Parity at one size.** A file that was traced with fixed sizes passes, and fails on the next
#   image. Compare on odd sizes and batches, and score the file, not the network it came from.
# - **Sparsity as speed.** "90% of the weights are zero" says nothing about milliseconds.
# - **A student without a control.** More steps help a student as well. Compare at equal steps, over
#   seeds.
# - **8 bits are not always faster.** Without instructions for sums of 8-bit products, or where
#   small operators between float and int8 take the time, float32 may win. Without them, older x86
#   processors may even overflow: `reduce_range=True` gives the weights 7 bits.
#
# ## Further reading
#
# - G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", NIPS Deep
#   Learning Workshop, 2014; arXiv:1503.02531, 2015.
# - Z. He, T. Dai, J. Lu, Y. Jiang, S.-T. Xia, "FAKD: Feature-affinity based knowledge distillation
#   for efficient image super-resolution", ICIP, 2020.
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning filters for efficient ConvNets",
#   ICLR, 2017.
# - H. Hu, R. Peng, Y.-W. Tai, C.-K. Tang, "Network trimming: A data-driven neuron pruning approach
#   towards efficient deep architectures", arXiv:1607.03250, 2016.
# - D. Mittal, S. Bhardwaj, M. M. Khapra, B. Ravindran, "Recovering from random pruning: On the
#   plasticity of deep convolutional neural networks", WACV, 2018.
# - B. Jacob et al., "Quantization and training of neural networks for efficient
#   integer-arithmetic-only inference", CVPR, 2018.
# - M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-free quantization through weight
#   equalization and bias correction", ICCV, 2019.
# - M. Nagel, M. Fournarakis, R. A. Amjad, Y. Bondarenko, M. van Baalen, T. Blankevoort, "A white
#   paper on neural network quantization", arXiv:2106.08295, 2021.
# - H. Li et al., "PAMS: Quantized super-resolution via parameterized max scale", ECCV, 2020.
# - A. Ignatov, R. Timofte, M. Denna, A. Younes et al., "Real-time quantized image super-resolution
#   on mobile NPUs, Mobile AI 2021 challenge: Report", CVPR Workshops, 2021.
# - A. Ignatov et al., "Efficient and accurate quantized image super-resolution on mobile NPUs,
#   Mobile AI & AIM 2022 challenge: Report", ECCV Workshops, 2022.
