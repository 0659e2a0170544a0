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
# # 09 Training: a network in a minute
#
# The network is built, the patches arrive in time. What remains is to turn 60 seconds of a laptop,
# or a night of a GPU, into as many decibels as they are worth, and to lose nothing when somebody
# pulls the plug. Each choice on the way (learning rate, batch size, decay, averaging, loss,
# precision) is made by measuring it on a small network: for a second here, and for a minute or
# more in a long run that comes with the course. Then comes the class minute, and after it, if you
# want it, the full training.
#
# **After this you can**
#
# - find a learning rate in a minute, and say by its trace when one is too high;
# - choose batch size, decay, loss and precision by a measurement instead of by habit;
# - stop a training, go on where it stopped, and prove that nothing was lost.
#
# Time: 70 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 5 on a T4 GPU, 4 on an A100.
#
# The full trainings of section 9 are not part of this. They start only where you ask for them.

# %% tags=["folded"]
# @title Imports
import contextlib
import json
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

# %% tags=["folded"]
# @title Imports from the course's library
from srlib.assets import data_file, is_cached, sample_image
from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import active_profile, by_profile
from srlib.evaluation import evaluate, published_results, upscale
from srlib.exercises import check, hint
from srlib.figures import compare, plot_history, show
from srlib.figures.history import plot_trainings
from srlib.metrics import score
from srlib.models import SrResNet
from srlib.resample import imresize
from srlib.training import LOSSES, TrainConfig, train
from srlib.training.checkpoint import load_checkpoint
from srlib.training.config import schedule
from srlib.training.experiments import compare_trainings, long_run
from srlib.training.forecast import forecast, suit
from srlib.training.muon import orthogonalized
from srlib.training.recipes import PROFILES, photographs, sampler_options
from srlib.widgets import Explorer, LivePlot

# %% tags=["parameters"]
profile = active_profile()
recipe_name = by_profile(ci="ci", cpu="cpu", gpu="cpu")  # section 8; see 9 for "colab" and "gpu"
longest = 20  # minutes: section 8 refuses a training that would take longer; None: it does not
keep_in = None  # section 8: a folder for its checkpoints, one that outlives this session
seeds = by_profile(ci=(0, 1), cpu=(0,), gpu=(0, 1, 2), long=(0, 1, 2))
range_seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2))
range_steps = by_profile(ci=8, cpu=100, gpu=300)  # section 2
trial_steps = by_profile(ci=3, cpu=100, gpu=500, long=2000)
batch_patches = by_profile(ci=32, cpu=480, gpu=4000, long=12_000)  # section 3
decay_steps = by_profile(ci=6, cpu=120, gpu=1000, long=5000)  # section 4
loss_steps = by_profile(ci=3, cpu=100, gpu=500, long=3000)  # section 5
measured_seconds = by_profile(ci=0.05, cpu=1.0, gpu=3.0)  # section 6, for each setting, 3 times
resume_steps = by_profile(ci=6, cpu=40, gpu=100)  # section 7
validate_every = by_profile(ci=10, cpu=100, gpu=100)  # section 8, if the recipe does not say
checkpoint_every = by_profile(ci=5, cpu=200, gpu=2000)

# %% tags=["folded"]
# @title Is the disk there?
if keep_in and not Path(keep_in).parent.is_dir():  # where nothing is mounted, nothing outlives
    raise FileNotFoundError(f"keep_in: is the disk mounted? There is no {Path(keep_in).parent}")

# %% [markdown]
# Here is where it leads: the log of the four trainings that made `srresnet_small_x4`, the network
# that most notebooks of this course enlarge with. Each went on from the weights of the one before,
# so the rate rises four times. At its second rise the validation falls back, and ends higher. The
# third training had a new end of the network and more photographs, and was judged by others: loss
# and validation go on at another level. At the end of this notebook you will read every curve in
# it, and start one like it.

# %% tags=["folded"]
# @title Draw the log of the shipped network
record_folder = data_file("weights/srresnet_small_x4")
log = pd.read_csv(record_folder / "log.csv", index_col="step")
show(
    plot_history(log, x="seconds"),
    "Curves of the training of the shipped network against time: the loss of the batches, noisy "
    "and falling; the validation PSNR, rising and flattening; the learning rate, which rises and "
    "falls to zero four times. At its second rise the validation PSNR drops for a while. At its "
    "third the loss falls to another level and the PSNR rises to one.",
)

# %% tags=["folded"]
# @title What it was made with
record = json.loads((record_folder / "record.json").read_text())
plain = {name: value for name, value in record.items() if not isinstance(value, (dict, list))}
pd.DataFrame({record_folder.name: plain})

# %% [markdown]
# ## 1. One step
#
# A training is one step, many times:
#
# 1. draw a batch of patches, send the LR ones through the network;
# 2. compare with the HR ones: the loss, one number;
# 3. go backwards: for each weight the gradient, which says how the loss would change with it;
# 4. if the gradient is very long, shorten it;
# 5. let the optimizer change each weight a little, against its gradient.
#
# How little, the **learning rate** says. It is the one number that decides most, and the next
# section looks for it. First step 4: now and then a batch gives a gradient that is many times
# longer than usual. One such step can undo a thousand good ones, so its length is limited.
#
# ### Exercise 09.1
#
# Write the limit. All gradients together are one long vector. If its norm is larger than
# `largest`, multiply all of them with one factor, so that the norm is `largest`. Its direction
# stays. Return a new list; the gradients that are given stay as they are.


# %%
def clip_by_norm(gradients, largest):
    """Shorten a list of tensors, of any shapes, to a common norm of at most `largest`."""
    ### BEGIN SOLUTION
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    factor = largest / norm if norm > largest else 1.0
    return [gradient * factor for gradient in gradients]
    ### END SOLUTION


clip_by_norm = check("09.1", clip_by_norm)

# %% [markdown]
# Stuck? `hint("09.1")` gives one hint at a time. A wrong answer never stops the notebook: `check`
# hands on the reference.

# %%
hint("09.1")

# %% [markdown]
# The trials of this notebook use a small network, a scale of 2 and five photographs with detail, so
# that a hundred steps take a second and show a difference. (In a night sky bicubic interpolation is
# right already.) Three sets of photographs keep apart what must be kept apart:
#
# - **training** photographs, from which the patches come;
# - **validation** photographs, by which we choose;
# - **test** images, looked at once, at the end. To choose by them is to train on them.

# %% tags=["experiment"]
trial_scale = 2
device = "cuda" if torch.cuda.is_available() else "cpu"
detailed = ("astronaut", "gravel", "immunohistochemistry", "rocket", "text")
trial_pairs = make_pairs({name: sample_image(name) for name in detailed}, trial_scale)
corners = {"camera": (80, 150), "coins": (60, 100), "brick": (200, 200), "page": (20, 120)}
crops = {
    name: sample_image(name)[top : top + 96, left : left + 96]
    for name, (top, left) in corners.items()
}
validation_pairs = make_pairs(crops, trial_scale)


def small_network():
    """Make the network of the trials."""
    return SrResNet(trial_scale, channels=16, num_blocks=2, hr_channels=8)


def make_sampler(seed, batch_size=8):
    """Patches of 12 x 12 LR pixels; the same ones for the same seed."""
    options = {"lr_patch_size": 12, "batch_size": batch_size}
    return PatchSampler(trial_pairs, trial_scale, **options, seed=seed, device=device)


def psnr_of(upscaler):
    """Mean PSNR over the validation crops, in dB, by the protocol."""
    table = evaluate(upscaler, validation_pairs, trial_scale, progress=False)
    return table.loc["mean", "psnr_db"]


# %%
def make_model(seed):
    """Make the small network; the same seed gives the same first weights."""
    torch.manual_seed(seed)
    return small_network().to(device)


bicubic_db = psnr_of(lambda lr: imresize(lr, trial_scale))
print(f"bicubic: {bicubic_db:.2f} dB, the mean of {len(validation_pairs)} validation crops, x2")

# %% [markdown]
# ## 2. The learning rate
#
# ### The range test
#
# One short training with a rate that rises from far too small to far too large, a little with
# each step (Smith, 2017). The loss first stays, then falls, then explodes. Good rates lie where it
# falls, well before it turns. Each loss is divided by that of bicubic interpolation on the same
# batch, because some batches are harder than others.
#
# This loop is the whole of a training. Find the five steps in it.


# %%
def range_test(make_optimizer, rates, seed):
    """Train with a learning rate that changes with each step; losses in % of bicubic's."""
    model, sampler = make_model(seed), make_sampler(seed)
    weights = list(model.parameters())
    optimizer = make_optimizer(weights)
    ratios = []
    for rate in rates:
        lr, hr = sampler.sample()
        loss = F.l1_loss(model(lr), hr)
        gradients = torch.autograd.grad(loss, weights)
        for weight, gradient in zip(weights, clip_by_norm(gradients, 1.0)):
            weight.grad = gradient
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        base = F.l1_loss(model.tail.bicubic(lr), hr)
        ratios.append(100 * (loss / base).item())
    return ratios


def adam(weights):
    """Adam, which divides each gradient by its usual size."""
    return torch.optim.Adam(weights)


def sgd(weights):
    """Stochastic gradient descent with Nesterov's momentum, as in `srlib.training`."""
    return torch.optim.SGD(weights, lr=1.0, momentum=0.9, nesterov=True)


# %% [markdown]
# Two optimizers. **SGD** with momentum steps along a running mean of the gradients. **Adam** does
# that too, and divides each weight's step by the usual size of its gradient, so its learning rate
# is, roughly, the length of a step itself (Kingma and Ba, 2015).
#
# *Predict:* at which rate does Adam's loss turn up? Is that of SGD higher or lower?

# %% tags=["folded"]
# @title Run and draw the range test
window = max(1, range_steps // 12)
kernel = np.ones(window) / window
figure, axes = plt.subplots()
for name, make_optimizer, lowest in (("Adam", adam, 1e-4), ("SGD with momentum", sgd, 1e-2)):
    rates = np.geomspace(lowest, 1000 * lowest, range_steps)
    curves = np.array([range_test(make_optimizer, rates, seed) for seed in range_seeds])
    smooth = np.array([np.convolve(curve, kernel, mode="valid") for curve in curves])
    middle = rates[window // 2 :][: smooth.shape[1]]
    (line,) = axes.plot(middle, smooth.mean(0), label=name)
    axes.fill_between(middle, smooth.min(0), smooth.max(0), color=line.get_color(), alpha=0.2)
axes.axhline(100, color="grey", linestyle=":", label="bicubic")
axes.set(xscale="log", ylim=(92, 115), xlabel="learning rate", ylabel="loss (% of bicubic's)")
axes.set_title(f"Range test: {range_steps} steps, {len(range_seeds)} seeds with their range")
axes.legend(loc="upper left")
show(
    figure,
    "Loss against a rising learning rate on a logarithmic axis. That of Adam stays level, falls, "
    "and shoots up; that of SGD stays level much longer, and shoots up at a far higher rate.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The curve of Adam turns up near a rate of 0.01, that of SGD a hundred times higher. The two have
# different units: "a learning rate of 0.001" says nothing without the optimizer's name.
#
# If the curve of SGD hardly dips before it turns, that is no mistake. The last layer of this
# network starts at zero, so that it starts as bicubic interpolation; hence the layers below get
# nearly no gradient at first. Adam makes up for small gradients, SGD does not.
#
# </details>
#
# The test costs one short training and tells the order of magnitude. It errs on the high side:
# here the rate has risen gently, and one that is survived for a few steps is not one to start with
# or to stay at.
#
# ### A third optimizer
#
# SGD and Adam look at each weight alone. But a kernel is more than its weights: it is a matrix,
# which makes `out` channels of `in` x 3 x 3 numbers, a pixel with its neighbours. A step has
# directions, each a pattern in and a pattern out, and the singular values of the step tell how far
# it goes in each.
#
# **Muon** (Jordan et al., 2024) takes the running mean of the gradients, as SGD does, and makes
# all singular values of it nearly equal. The directions stay. `srlib.training.muon` does it for
# the kernels between the first and the last one, and leaves all other weights to Adam. Its step is
# as long as one of Adam's, so that the same learning rates fit (Liu et al., 2025).
#
# The figure follows the gradients of one kernel through a short training, and compares the step
# that each optimizer would make of them in the end.
#
# *Predict:* this kernel has 16 directions. In how many does SGD make a step of at least a tenth of
# its longest?

# %% tags=["folded"]
# @title Follow the gradients of one kernel
shape = make_model(0).blocks[1].first.weight.shape  # (16, 16, 3, 3)
mean, square = torch.zeros(shape), torch.zeros(shape)


def watch(step, model):
    """Keep running means of a kernel's gradients and of their squares, as Adam does."""
    gradient = model.blocks[1].first.weight.grad.cpu()
    mean.lerp_(gradient, 0.1)
    square.lerp_(gradient**2, 0.001)


train(make_model(0), make_sampler(0), TrainConfig(steps=trial_steps, progress=False), on_step=watch)
made_of_it = {
    "SGD with momentum": mean.flatten(1),  # (16, 144)
    "Adam": (mean / (square.sqrt() + 1e-8)).flatten(1),
    "Muon": orthogonalized(mean.flatten(1)[None])[0],
}
lengths = {name: torch.linalg.svdvals(step) for name, step in made_of_it.items()}

# %% tags=["folded"]
# @title Draw the steps
figure, axes = plt.subplots()
for name in ("Adam", "SGD with momentum", "Muon"):
    values = lengths[name] / lengths[name].max()
    axes.plot(range(1, len(values) + 1), values, "o-", label=name)
    print(f"{name}: {(values >= 0.1).sum()} of {len(values)} directions have a tenth or more")
axes.axhline(0.1, color="grey", linestyle=":")
axes.set(yscale="log", xlabel="direction, the longest first", ylabel="step, part of the longest")
axes.set_title("How far one step goes in each direction of a kernel")
axes.legend()
show(
    figure,
    "Singular values of the step for three optimizers, each as a part of its largest. That of SGD "
    "falls steeply, that of Adam less, that of Muon stays near one.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The number of directions with a tenth or more stands above the figure. What most patches ask for
# lies in the first directions; in the others SGD hardly moves. Adam is fairer, weight by weight.
# Muon moves in all directions alike, and so learns what few patches ask for, too. Much there is
# noise, which is why the running mean comes first.
#
# </details>
#
# ### Trial runs
#
# Now whole trainings, each with warm-up and decay as the real one will have, judged by the
# validation crops: three optimizers, four rates each. Thin lines are yours, of a second each. Thick
# ones are the course's **long run** of the same cell.
#
# The second panel looks inside: which part of the channels in front of a ReLU is negative
# everywhere, on a whole batch? The ReLU makes such a channel zero, no gradient comes back through
# it, and as a rule it stays dead. A step that is too long kills it.
#
# *Predict:* does the validation fall before channels die, or after? Is the best rate of a short
# training too high for a long one, or too low?

# %% tags=["experiment"]
rates = {
    "adam": (3e-4, 1e-3, 3e-3, 1e-2),
    "sgd": (3e-2, 1e-1, 3e-1, 1.0),
    "muon": (3e-4, 1e-3, 3e-3, 1e-2),
}
trials = {
    f"{name} {rate:g}": {"optimizer": name, "learning_rate": rate}
    for name in rates
    for rate in rates[name]
}
rate_runs = compare_trainings(
    "09_rates",
    dict.fromkeys(trials, small_network),
    make_sampler,
    TrainConfig(steps=trial_steps),
    psnr_of,
    seeds=seeds,
    settings=trials,
)

# %% tags=["folded"]
# @title Count dead channels
probe = make_sampler(99).sample()[0]  # (8, 3, 12, 12)


def dead_share(model):
    """Part of the channels that a ReLU makes zero everywhere on a batch, in %."""
    outputs = []
    layers = [block.first for block in model.blocks] + [model.upsample[0]]
    hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[2])) for layer in layers]
    with torch.no_grad():
        model(probe)
    for hook in hooks:
        hook.remove()
    dead = torch.cat([output.amax(dim=(0, 2, 3)) <= 0 for output in outputs])
    return 100 * dead.float().mean().item()


# %% tags=["folded"]
# @title How to draw scores against learning rates


def by_rate(run):
    """Gain over bicubic in dB: a row for each name and rate, a column for each seed."""
    gains = run.scores() - bicubic_db
    keys = [name.rpartition(" ")[::2] for name in gains.index]
    gains.index = pd.MultiIndex.from_tuples([(key.rstrip(","), float(rate)) for key, rate in keys])
    return gains


def draw_by_rate(axes, now, long):
    """Draw the gain against the learning rate: thick the long run, thin this one."""
    for run, look in ((long, {"linewidth": 2.2}), (now, {"linewidth": 1, "marker": "."})):
        gains = by_rate(run)
        for place, name in enumerate(gains.index.unique(0)):
            part = gains.loc[name]
            label = f"{name}, long run" if run is long else f"{name}, this run"
            axes.plot(part.mean(axis=1), color=f"C{place}", label=label, **look)
            band = part.min(axis=1), part.max(axis=1)
            axes.fill_between(part.index, *band, color=f"C{place}", alpha=0.2, linewidth=0)
    axes.axhline(0, color="grey", linestyle=":")
    axes.set(xscale="log", xlabel="highest learning rate")
    axes.set_ylabel("validation PSNR above bicubic (dB)")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], -0.5))  # far below is far below


# %% tags=["folded"]
# @title Draw what the rates bring
long_rates = long_run("09_rates")
figure, panels = plt.subplots(1, 2, figsize=(10, 4.2))
draw_by_rate(panels[0], rate_runs, long_rates)
for place, name in enumerate(rates):
    dead = [
        np.mean([dead_share(rate_runs.networks[f"{name} {rate:g}", seed]) for seed in seeds])
        for rate in rates[name]
    ]
    panels[1].plot(rates[name], dead, ".-", color=f"C{place}", linewidth=1, label=name)
panels[0].set_title("What was learned")
panels[1].set(xscale="log", xlabel="highest learning rate", ylim=(-5, 105))
panels[1].set(ylabel="channels that are zero (%)", title="Dead ReLUs, this run")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
show(
    figure,
    "Left, the gain over bicubic against the highest learning rate: in this run a low hill for "
    "each optimizer, in the long run much higher curves that still rise at the largest rates. "
    "Right, the share of dead channels in this run: a few percent at small rates, more at the "
    "largest.",
)

# %% tags=["folded"]
# @title The best rates


def best_of(run):
    """The rate whose lowest seed is highest, for each name, and the gains with it."""
    gains, rows = by_rate(run), {}
    for name in gains.index.unique(0):
        part = gains.loc[name]
        rate = part.min(axis=1).idxmax()
        low, mean, high = part.loc[rate].min(), part.loc[rate].mean(), part.loc[rate].max()
        rows[name] = {"rate": rate, "gain (dB)": mean, "lowest": low, "highest": high}
    return pd.DataFrame(rows).T


best_rates = {"this run": best_of(rate_runs), "the long run": best_of(long_rates)}
print(long_rates.summary())
pd.concat(best_rates, axis=1).round(4)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The validation falls where channels die. A few can be enough: all detail passes the eight behind
# the deconvolution, which are a fifth of those counted. Where they are zero the result is the
# bicubic image, 0 dB in the left panel. It does not look dead in its loss, which many would take
# for a slow start. A rate that is too low only learns slowly, and more steps help.
#
# Compare the two halves of the table. The best rates of the long run are several times higher. The
# warm-up is a twentieth of a training; in a short one the full rate comes after a few steps, and
# kills channels that a slower rise would have spared. So the short trials err on the low side, as
# the range test errs on the high side. SGD is far behind the other two. Its best rate is the
# highest that was tried, and so is Muon's. At the rates of the table each seed of Muon is ahead of
# each of Adam's. At Adam's next higher rate, which the left panel has, its seeds lie further apart,
# and the highest of them is ahead of all of Muon's. Three seeds do not tell which of the two is
# better.
#
# </details>
#
# The best rate belongs to all that is around it: network, batch size, warm-up, number of steps.
# The table judges a rate by its lowest seed, because near the edge some seeds are lucky. Trials
# tell the order of magnitude; the last ones should be as long as you can afford.
#
# Two comparisons of hours are in `docs/tried.md`. On one core, the small network's design before
# this one reached 26.52 dB on other held-out photographs in 65 minutes with Muon, and 26.49 dB in
# 85 with Adam (measured in November 2026). What is shipped was trained with Muon. In the class
# minute the two are level.

# %% [markdown]
# ## 3. The batch size
#
# A larger batch has a less noisy gradient and costs more. So compare at an equal number of
# patches: a batch of 32 makes a quarter of the steps that one of 8 makes.
#
# *Predict:* which of the three batch sizes wins? Whose best rate is the highest?

# %% tags=["experiment"]
batch_trials = {
    f"{size} patches, {rate:g}": {
        "steps": max(1, batch_patches // size),
        "learning_rate": rate,
        "make_sampler": lambda seed, size=size: make_sampler(seed, size),
    }
    for size in (2, 8, 32)
    for rate in (1e-3, 3e-3, 1e-2)
}
batch_runs = compare_trainings(
    "09_batch",
    dict.fromkeys(batch_trials, small_network),
    make_sampler,
    TrainConfig(steps=batch_patches // 8),
    psnr_of,
    seeds=seeds,
    settings=batch_trials,
)

# %% tags=["folded"]
# @title Draw the batch sizes
long_batches = long_run("09_batch")
figure, axes = plt.subplots(figsize=(8.5, 4))
draw_by_rate(axes, batch_runs, long_batches)
figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
show(
    figure,
    "Gain over bicubic against the learning rate for batches of 2, 8 and 32 patches, here and in "
    "the long run, all after the same number of patches.",
)
batch_table = best_of(long_batches)
ends = batch_runs.curves.groupby(["candidate", "seed"], sort=False)[["step", "seconds"]].max()
for size in (2, 8, 32):
    mine = ends[ends.index.get_level_values("candidate").str.startswith(f"{size} ")]
    each_ms = 1000 * (mine["seconds"] / (size * mine["step"])).median()
    batch_table.loc[f"{size} patches", "ms a patch, this run"] = each_ms
print(long_batches.summary())
batch_table.round(3)

# %% [markdown]
# <details><summary>What happened</summary>
#
# At equal patches the smaller batch is ahead, because it makes more steps. And it is the first to
# fall off the cliff: at the highest rate all its seeds are dead, while with larger batches some
# survive. That is the other half of "a larger batch stands a higher rate". A rate that was found at
# one batch size has to be looked for again at another.
#
# Why then are large batches usual? Look at the last column: a patch costs less in a large batch.
# On a GPU a step with 32 patches may take hardly longer than one with 2.
#
# </details>
#
# ### Exercise 09.5: find the bug
#
# Sometimes a batch does not fit into the memory of a GPU. Then it goes through the network in
# parts, one after the other, and the gradients are added up before the step: **gradient
# accumulation**. Somebody writes it like this. It runs, the loss falls, and it is not the step of
# the whole batch. Two things are wrong.
#
# ```python
# def gradients_in_parts(network, parts):
#     for lr, hr in parts:
#         network.zero_grad()
#         F.l1_loss(network(lr), hr).backward()
#     return [weight.grad for weight in network.parameters()]
# ```
#
# The last part may be smaller than the others. Write it right.


# %%
def gradients_in_parts(network, parts):
    """Gradient of the mean L1 loss over all patches for each weight: a list of tensors.

    parts is a list of (lr, hr), batches of any size. One after the other goes through the network,
    forward and backward. What gradients the weights had before does not count.
    """
    ### BEGIN SOLUTION
    count = sum(len(lr) for lr, hr in parts)
    network.zero_grad()
    for lr, hr in parts:
        share = len(lr) / count
        (share * F.l1_loss(network(lr), hr)).backward()
    return [weight.grad for weight in network.parameters()]
    ### END SOLUTION


gradients_in_parts = check("09.5", gradients_in_parts)

# %%
model = make_model(0)
lr, hr = make_sampler(0, 10).sample()
cut = [(lr[:4], hr[:4]), (lr[4:8], hr[4:8]), (lr[8:], hr[8:])]
at_once, weights = F.l1_loss(model(lr), hr), list(model.parameters())
whole = torch.autograd.grad(at_once, weights)
apart = max((a - b).abs().max().item() for a, b in zip(gradients_in_parts(model, cut), whole))
print(f"10 patches in parts of 4, 4 and 2, against all at once: {apart:.0e} apart at most")

# %% [markdown]
# ## 4. Decay and averaging
#
# Near the goal, steps of one length jump over it again and again. So the rate is lowered. Four
# usual ways are drawn below. All but `one_cycle`, which has a rise of its own, begin with a
# **warm-up**, because Adam knows nothing about usual sizes at first.
#
# ### Exercise 09.2
#
# Write the most common one. The rate rises in a straight line from 0 in step 0 to `highest` in step
# `warmup_steps`, and falls along half a cosine to 0 in step `steps`. `warmup_steps` may be 0.


# %%
def learning_rate_at(step, steps, warmup_steps, highest):
    """Learning rate in a step, 0 <= step <= steps: warm-up, then half a cosine."""
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return highest * step / warmup_steps
    part = (step - warmup_steps) / (steps - warmup_steps)
    return highest * 0.5 * (1 + np.cos(np.pi * part))
    ### END SOLUTION


learning_rate_at = check("09.2", learning_rate_at)

# %% tags=["folded"]
# @title Draw four schedules
count = np.arange(101)
figure, axes = plt.subplots()
axes.plot(
    count, [learning_rate_at(step, 100, 5, 1.0) for step in count], color="grey", linewidth=8,
    alpha=0.4, label="yours",
)  # fmt: skip
for kind in ("cosine", "step", "one_cycle", "constant"):
    axes.plot(count, [schedule(kind, step / 100, 0.05) for step in count], label=kind)
axes.set(xlabel="part of the training (%)", ylabel="part of the highest learning rate")
axes.set_title("Four schedules")
axes.legend()
show(
    figure,
    "Four curves from 0 to 100 percent of a training: cosine, step, one_cycle and constant. The "
    "exercise's curve lies under the cosine.",
)

# %% [markdown]
# There is another cure for jumping: let the weights jump, and keep their mean. The
# **exponential moving average** (EMA) moves a little towards the weights with each step,
#
# $$ \bar w \leftarrow d \, \bar w + (1 - d) \, w, $$
#
# and forgets what is older than about $1 / (1 - d)$ steps. It is never trained, only looked at. The
# pictures are made with it.
#
# ### Exercise 09.3
#
# Write the update, for lists of tensors. It returns a new list and changes neither of the two.


# %%
def ema_update(average, weights, decay):
    """Two lists of tensors of the same shapes and a decay in 0..1 -> a list of tensors."""
    ### BEGIN SOLUTION
    return [decay * old + (1 - decay) * new for old, new in zip(average, weights, strict=True)]
    ### END SOLUTION


ema_update = check("09.3", ema_update)

# %% [markdown]
# `TrainConfig(ema_decay=...)` keeps the average. It is what gets validated, and what the network
# has in the end. Do you get the same weights?

# %%
averages = []


def follow(step, model):
    """Keep your own average of the weights that are being trained."""
    weights = [weight.detach().clone() for weight in model.parameters()]
    averages.append(ema_update(averages[-1], weights, 0.9) if averages else weights)


model = make_model(0)
train(model, make_sampler(0), TrainConfig(steps=6, ema_decay=0.9, progress=False), on_step=follow)
apart = max((a - w).abs().max().item() for a, w in zip(averages[-1], model.parameters()))
print(f"largest difference between your average and the library's: {apart:.1e}")

# %% [markdown]
# Two schedules at one rate, each with and without averaging. The raw weights take the same way in
# both; only what is looked at differs.
#
# *Predict:* by how much does averaging change the score, and its jumps, at a constant rate? And at
# the end of a falling one?

# %% tags=["experiment"]
ema_decay = 1 - 1 / (2 + decay_steps / 20)  # it remembers about a twentieth of the training
ways = {
    "constant": {"schedule": "constant"},
    "constant, averaged": {"schedule": "constant", "ema_decay": ema_decay},
    "cosine": {"schedule": "cosine"},
    "cosine, averaged": {"schedule": "cosine", "ema_decay": ema_decay},
}
decay_runs = compare_trainings(
    "09_decay",
    dict.fromkeys(ways, small_network),
    make_sampler,
    TrainConfig(steps=decay_steps, learning_rate=3e-3),
    psnr_of,
    seeds=seeds,
    settings=ways,
)

# %% tags=["folded"]
# @title Draw decay and averaging
long_decay = long_run("09_decay")
show(
    plot_trainings(
        decay_runs, long_decay, baselines={"bicubic": bicubic_db}, label="validation PSNR (dB)"
    ),
    "Validation of raw and averaged weights against the step, at a constant and at a cosine "
    "learning rate, here and in the long run. The raw weights of the constant rate jump.",
)

# %% tags=["folded"]
# @title The ends, and the jumps before


def jumps(run, name):
    """Standard deviation of the score around a straight line, second half, mean of the seeds."""
    found = []
    for _, curve in run.curves[run.curves["candidate"] == name].groupby("seed"):
        late = curve[curve["step"] > curve["step"].max() / 2]
        line = np.polyval(np.polyfit(late["step"], late["psnr_db"], 1), late["step"])
        found.append(np.std(late["psnr_db"] - line))
    return np.mean(found)


decay_table = (long_decay.table() - [0, *[bicubic_db] * 3]).drop(columns="steps")
decay_table.columns = ["gain at the end (dB)", "lowest seed", "highest seed"]
decay_table["jumps, second half (dB)"] = [jumps(long_decay, name) for name in decay_table.index]
print(long_decay.summary())
decay_table.round(3)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The last column is what remains when the climb is taken out: the noise. At a constant rate the
# raw weights jump by a tenth of a decibel from one look to the next, and where the training ends
# is luck. Averaging makes the jumps several times smaller, and the score higher on the mean of
# the seeds. A rate that falls to zero does the same. Both together bring no more than one of
# them.
#
# In the first hundred steps it is the other way round: look at the thin lines. While the curve
# climbs steeply, a falling rate slows the climb, and the average still remembers worse weights.
#
# </details>
#
# What the average is for: in a training whose end is not known, it shows at any time roughly what
# decay would bring.

# %% [markdown]
# ## 5. The loss
#
# PSNR is computed from the mean squared error (**MSE**). So MSE must be the best loss for PSNR,
# or not? **L1**, the mean absolute difference, is what most networks of the field are trained with
# since EDSR (Lim et al., 2017). It has a corner at zero; **Charbonnier** rounds it off,
#
# $$ \ell(\text{sr}, \text{hr}) = \text{mean} \sqrt{(\text{sr} - \text{hr})^2 + \epsilon^2}. $$
#
# ### Exercise 09.4
#
# Write it.


# %%
def charbonnier(sr, hr, eps=1e-3):
    """Charbonnier loss of two float tensors of one shape: a tensor with one number."""
    ### BEGIN SOLUTION
    return torch.sqrt((sr - hr) ** 2 + eps**2).mean()
    ### END SOLUTION


charbonnier = check("09.4", charbonnier)

# %% [markdown]
# *Predict:* which of the three has the highest PSNR after a short training? After a long one? Is
# the difference larger than the spread over the seeds?

# %% tags=["experiment"]
losses = {"L1": F.l1_loss, "MSE": F.mse_loss, "Charbonnier": charbonnier}
loss_trials = {
    f"{name}, {rate:g}": {"loss": losses[name], "learning_rate": rate}
    for name in losses
    for rate in (1e-3, 3e-3)
}
loss_runs = compare_trainings(
    "09_loss",
    dict.fromkeys(loss_trials, small_network),
    make_sampler,
    TrainConfig(steps=loss_steps),
    psnr_of,
    seeds=seeds,
    settings=loss_trials,
)

# %% tags=["folded"]
# @title Draw the losses, each with its better rate
long_loss = long_run("09_loss")
loss_table = best_of(long_loss)
chosen = [f"{name}, {rate:g}" for name, rate in loss_table["rate"].items()]
short, long = (
    replace(run, curves=run.curves[run.curves["candidate"].isin(chosen)])
    for run in (loss_runs, long_loss)
)
show(
    plot_trainings(short, long, baselines={"bicubic": bicubic_db}, label="validation PSNR (dB)"),
    "Validation PSNR against step for three losses, each with the rate that is better in the end, "
    "here and in the long run. In the long run the three lie together in the end.",
)
print(long_loss.summary())
at_both = by_rate(long_loss).agg(["mean", "min", "max"], axis=1)
at_both.rename_axis(["loss", "rate"]).round(3)

# %% tags=["folded"]
# @title The three losses of one pixel
error = torch.linspace(-0.01, 0.01, 201)
figure, axes = plt.subplots(figsize=(6, 3.2))
for (name, function), style in zip(losses.items(), ("-", "-", "--")):
    axes.plot(error, [function(e, torch.zeros(())).item() for e in error], style, label=name)
axes.set(xlabel="difference of a pixel (images in 0..1)", ylabel="its loss", title="Three losses")
axes.set_xticks([-0.01, 0, 0.01])
axes.legend(loc="upper center")
show(
    figure,
    "The three losses of one pixel: L1 with a corner, Charbonnier close to it and round at zero, "
    "MSE a flat parabola near zero.",
)

# %% [markdown]
# <details><summary>What happened</summary>
#
# The thin lines are those of a training that is too short to conclude from: which loss leads there
# depends on who survives the first full steps.
#
# In the long run all three have the same better rate, and there they are level: the seeds overlap.
# But look at the table, which has both rates. At the lower one MSE is well behind, and its seeds do
# not reach those of L1. Whoever compares losses at that rate alone finds that L1 is better. Zhao et
# al. (2017) found that L1 can end at a better MSE than MSE itself.
#
# The last figure shows in what they differ. Near zero MSE is flat: most pixels of a smooth wall are
# nearly right already and hardly count, and a few edges make up most of the gradient. L1 pulls at
# all pixels alike. It is less choosy about its rate, and that is worth having.
#
# </details>
#
# The values of different losses cannot be compared with each other. Compare the validation.

# %% [markdown]
# ## 6. Mixed precision
#
# Convolutions may be computed with 16 bits a number, where the processor is faster at it; the
# weights and their small changes stay float32. There are two kinds of 16 bits: float16 has more
# digits, bfloat16 has the range of float32. `mixed_precision="auto"` takes bfloat16 where the
# processor has instructions for it, else leaves all as it is. `channels_last` keeps the channels of
# a pixel side by side in memory.
#
# *Predict:* what does it bring on this machine?

# %%
scale, recipe = 4, PROFILES[profile]
train_pairs = make_pairs(load_images("bundled/train"), scale)
settings = {
    "float32": {},
    "float32, channels last": {"channels_last": True},
    "auto, channels last": {"channels_last": True, "mixed_precision": "auto"},
}
speed, types = {name: [] for name in settings}, {name: set() for name in settings}


def make_recipe_model():
    """Make the network of the recipe, untrained."""
    torch.manual_seed(0)
    names = ("channels", "num_blocks", "hr_channels")
    return SrResNet(scale, **{name: recipe[name] for name in names})


sampler = PatchSampler(train_pairs, scale, **sampler_options(recipe), device=device)
for _ in range(3):  # in turns: what slows the machine down then slows down all of them
    for name, setting in settings.items():
        model = make_recipe_model()
        model.head.register_forward_hook(lambda *call, name=name: types[name].add(call[2].dtype))
        config = TrainConfig(seconds=measured_seconds, progress=False, **setting)
        speed[name].append(train(model, sampler, config)["patches_per_s"].median())

# %% tags=["folded"]
# @title The speeds as a table
rounds = pd.DataFrame(speed)
ratio = rounds.div(rounds["float32"], axis=0)
precision_table = pd.DataFrame(
    {
        "convolutions in": [str(*types[name]).removeprefix("torch.") for name in settings],
        "patches/s": rounds.median().round(0),
        "times float32": ratio.median().round(2),
        "lowest of 3": ratio.min().round(2),
        "highest of 3": ratio.max().round(2),
    }
)
precision_table

# %% [markdown]
# <details><summary>What happened</summary>
#
# The column "times float32" says it. If the last two rows are in the same type, this processor has
# no fast bfloat16, and "auto" has left it alone. The gain depends on the processor, the sizes and
# the number of channels: measure it, and once is not enough on a machine that does other things.
#
# </details>
#
# And float16? Its smallest number is about 6e-8. What is smaller becomes zero. Gradients of single
# pixels are small, because the loss is a mean over so many of them. So the loss is multiplied with
# a large factor before going back, and the gradients are divided by it afterwards: the **scaler**,
# which `mixed_precision="fp16"` brings with it. How much would be lost without?

# %% tags=["folded"]
# @title How many gradients become zero
model = make_recipe_model()
train(model, sampler, TrainConfig(steps=max(resume_steps, 5), progress=False))
seen = []
handle = model.blocks.register_full_backward_hook(lambda *call: seen.append(call[2][0].flatten()))
lr, hr = sampler.sample()
F.l1_loss(model(lr), hr).backward()
handle.remove()
gradient = seen[0][seen[0] != 0]  # of the features behind the blocks
lost = {
    "float16": (gradient.half() == 0).float().mean().item(),
    "float16, loss x 65536": ((65536 * gradient).half() == 0).float().mean().item(),
    "bfloat16": (gradient.bfloat16() == 0).float().mean().item(),
}
print(f"median size of a gradient of the features: {gradient.abs().median():.1e}")
pd.DataFrame({"become zero (%)": {name: 100 * part for name, part in lost.items()}}).round(2)

# %% [markdown]
# ## 7. Stop, and go on
#
# Long trainings end before their time: somebody closes the laptop, the GPU's time is up, the power
# fails. With `train(..., folder=...)` a **checkpoint** is written every so many steps: the weights,
# their average, the optimizer's memory, the place in the schedule, the state of the random numbers.
# The same call, made again, goes on from the last one.
#
# The test: train once in one go. Train a second time, and half way do what the kernel's stop
# button does (it sends an interrupt, SIGINT). Then call again, with a network of other weights and
# a sampler that stands at its first batch: all that counts has to come from the folder.
#
# *Predict:* how far are the weights of the two apart in the end?

# %%
config = TrainConfig(
    steps=resume_steps, ema_decay=0.9, checkpoint_every=resume_steps // 3, progress=False
)


def press_stop(step, model):
    """Do what the stop button does, in the middle of the training."""
    if step == resume_steps // 2:
        signal.raise_signal(signal.SIGINT)


in_one_go, continued = make_model(0), make_model(77)
train(in_one_go, make_sampler(0), config)
with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
    first = train(make_model(0), make_sampler(0), config, folder="run", on_step=press_stop)
    print(f"first call: {len(first)} steps, complete: {first.attrs['complete']}")
    second = train(continued, make_sampler(0), config, folder="run")
    print(f"second call: {len(second)} steps, complete: {second.attrs['complete']}")
    files = sorted(path for path in Path("run").rglob("*") if path.is_file())
    for path in files:
        print(f"  {path.as_posix():45} {path.stat().st_size / 1000:6.1f} kB")

# %%
# NBVAL_CHECK_OUTPUT
mine, theirs = in_one_go.state_dict(), continued.state_dict()
print("bit for bit the same weights:", all(mine[name].equal(theirs[name]) for name in mine))

# %% [markdown]
# <details><summary>What happened</summary>
#
# Nothing lies between them, not a bit. The checkpoint holds all that the next step depends on.
#
# </details>
#
# Many save the weights only. Then Adam has forgotten the usual sizes of the gradients. How much
# does that change? Here the same patches and a constant rate, and only the optimizer starts anew
# half way.

# %%
half = resume_steps // 2
constant = {"schedule": "constant", "warmup": 0.0, "progress": False}
reference, patched = make_model(0), make_model(0)
start = [weight.detach().clone() for weight in reference.parameters()]
train(reference, make_sampler(0), TrainConfig(steps=2 * half, **constant))
sampler = make_sampler(0)
for _ in range(2):  # the second call makes a new optimizer
    train(patched, sampler, TrainConfig(steps=half, **constant))


def distance(one, other):
    """Length of the difference of two lists of tensors."""
    return sum((a - b).square().sum() for a, b in zip(one, other)).sqrt().item()


trained = list(reference.parameters())
forgotten = distance(patched.parameters(), trained) / distance(start, trained)
print(f"weights only: off by {100 * forgotten:.1f} % of the way that the training has gone")

# %% [markdown]
# That is no catastrophe, but it is another training. If you compare two runs, they should differ in
# what they were meant to differ in, and in nothing else.
#
# A checkpoint helps only where it is still there afterwards. On Colab and other hosted notebooks
# the disk goes with the session. There, mount a disk of your own first; Colab has Google Drive,
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# ```
#
# and name a folder on it in the parameters cell: `keep_in = "/content/drive/MyDrive/srlib"`. When
# the session was cut, do both again in the new one and run all cells: section 8 goes on from the
# last checkpoint. Drive uploads a while after a file was written. If a checkpoint is lost that
# way, or only half there, the one before it is taken; `drive.flush_and_unmount()` waits until all
# is uploaded. Checkpoints that are deleted lie in Drive's bin, and take space, until you empty it.
#
# A training given in **seconds** cannot be repeated bit for bit anyway: how many steps fit into a
# minute depends on what else the machine does. Compare by steps; use seconds where time is the
# question, as in the next section.

# %% [markdown]
# ## 8. The class minute
#
# Everything together. The recipe stands in `srlib.training.recipes.PROFILES`; the command line
# `python -m srlib train` uses the same. Run All trains the class minute on every machine, on a GPU
# too. It is the recipe "cpu", and downloads nothing.
#
# It has eleven photographs. Three entries make more of them: shrunk copies (`shrink`), colours in
# random order (`permute_colours`), and as many patches from each picture (`equal_images`), because
# more than a third of all pixels belong to one picture of a retina. In trials these were worth more
# than the network or the optimizer (`docs/results.md`).

# %%
recipe = PROFILES[recipe_name]
pd.DataFrame({recipe_name: {name: str(value) for name, value in recipe.items()}})

# %% tags=["folded"]
# @title Photographs, sampler and network of the recipe
recipe, reasons = suit(recipe, make_recipe_model(), torch.device(device))
recipe_pairs, held_out = photographs(recipe, scale)  # as `python -m srlib train` takes them
held_out = held_out or make_pairs(crops, scale)  # to validate on
sampler = PatchSampler(recipe_pairs, scale, **sampler_options(recipe), device=device)
often = {"validate_every": validate_every, "checkpoint_every": checkpoint_every}
config = TrainConfig.from_recipe(often | recipe)
kept = keep_in or recipe_name in ("colab", "gpu")  # a minute is soon made again
folder = Path(keep_in or "runs", "09_training", recipe_name) if kept else None
model = make_recipe_model()
parameters = sum(weight.numel() for weight in model.parameters())
print(f"{parameters:,} parameters, {len(recipe_pairs)} images")

# %% [markdown]
# How long will it take? Nobody has to guess: a few steps on a copy of the network tell. A training
# given in seconds is asked how many steps it gets.

# %%
step_cost = forecast(model, sampler, config, loss=LOSSES[recipe.get("loss", "l1")])
expected = config.seconds or config.steps * step_cost.seconds
print(*reasons, sep="\n")
print(f"a step: {step_cost.operations / 1e9:.2f} GFLOP, {1000 * step_cost.seconds:.0f} ms; "
      f"{expected / step_cost.seconds:,.0f} steps in {expected / 60:.1f} minutes")  # fmt: skip
if longest is not None and expected > 60 * longest:
    raise ValueError(
        f"{expected / 60:.0f} minutes are more than {longest}: choose another recipe_name, or set "
        "longest = None in the parameters cell"
    )

# %% [markdown]
# While it trains, the picture below follows: left the loss, right the PSNR of the batches and of
# the validation. After 1, 2, 4, 8, ... steps the network enlarges a crop of a test photograph, for
# the slider further down. The clock stands still meanwhile. (Of a training that resumes it shows
# what follows. The curves further down show all of it; the enlargements of before are lost.)
#
# *Predict:* after how many steps is the network better than bicubic interpolation? After how many
# has it half of what it gains in all?

# %% tags=["folded"]
# @title What to keep on the way: pictures, and a validation
photo = sample_image("coffee")[212:340, 296:424]  # (128, 128, 3)
(photo_pair,) = make_pairs({"coffee": photo}, scale)
snapshots = {0: upscale(make_recipe_model(), photo_pair.lr)}


def snapshot(step, model):
    """Keep a picture after 1, 2, 4, 8, ... steps."""
    if step & (step - 1) == 0:
        snapshots[step] = upscale(model, photo_pair.lr)


def validate(model):
    """Mean PSNR of the held-out images, in dB."""
    return evaluate(model, held_out, scale, progress=False).loc["mean", "psnr_db"]


# %%
saved = load_checkpoint(folder / "checkpoints") if folder else None
print(f"resumes from step {saved.step}, saved in {folder}" if saved else "starts at step 0")
history = train(
    model, sampler, config, loss=LOSSES[recipe.get("loss", "l1")], folder=folder,
    validate=validate, on_step=snapshot, on_log=LivePlot(),
)  # fmt: skip
snapshots[int(history.index[-1])] = upscale(model, photo_pair.lr)

# %% [markdown]
# Move the step, and watch the picture sharpen. Left bicubic interpolation, in the middle the
# network, right the original.

# %% tags=["folded"]
# @title A slider for the step
bicubic = imresize(photo_pair.lr, scale)
gap = np.full((128, 4, 3), 255, np.uint8)
photo_db = {step: score(sr, photo_pair.hr, scale)[0] for step, sr in snapshots.items()}
bicubic_photo_db = score(bicubic, photo_pair.hr, scale)[0]


def at_step(step):
    """Bicubic, the network after that step, and the original, side by side."""
    row = np.concatenate([bicubic, gap, snapshots[step], gap, photo_pair.hr], axis=1)
    caption = (
        f"step {step}: {photo_db[step]:.2f} dB, "
        f"{photo_db[step] - bicubic_photo_db:+.2f} against bicubic"
    )
    return imresize(row, 2, kernel="nearest"), caption


step_slider = Explorer(
    at_step,
    step=ipywidgets.SelectionSlider(
        options=sorted(snapshots), value=max(snapshots), description="step"
    ),
)
step_slider

# %% tags=["folded"]
# @title The same for print
order = sorted(snapshots)
chosen = [order[round(part * (len(order) - 1))] for part in (0, 0.6, 0.8, 1)]
show(
    compare(
        {f"step {step}": snapshots[step] for step in chosen} | {"original": photo_pair.hr},
        reference="original",
        scale=scale,
    ),
    "A coffee spoon at four steps of the training, and the original. The first is blurred as "
    "bicubic interpolation is; the edges of spoon and cup become sharper from one to the next.",
)

# %% tags=["folded"]
# @title Better than bicubic, and half of the gain
above = {step: photo_db[step] - bicubic_photo_db for step in order}
better = next((step for step in order if above[step] > 0), None)
half = next((step for step in order if above[step] >= above[order[-1]] / 2 > 0), None)
print(f"of steps 1, 2, 4, 8, ...: better than bicubic from step {better} on, "
      f"half of the gain at step {half}; all: {above[order[-1]]:+.2f} dB")  # fmt: skip

# %% [markdown]
# <details><summary>What happened</summary>
#
# The line above says it for this crop and this run. The network starts at bicubic interpolation, so
# it does not take long to pass it. Most of what it gains comes early. In the record below, which is
# drawn against the seconds, more than half of the gain lies in the first ten of them; the rest of
# the minute goes into the rest of it. Long trainings are like that as well.
#
# </details>
#
# ### What the curves say, and what not

# %% tags=["folded"]
# @title Draw the curves
show(
    plot_history(history, ("psnr_db", "validation_db", "gradient_norm")),
    "Three curves against the step: PSNR of the batches, jumping by a decibel and more; PSNR of "
    "the validation, rising, with dips while the rate is high; the norm of the gradient.",
)
rest = history.iloc[len(history) // 2 :]
print(f"PSNR of the batches, second half: {rest['psnr_db'].mean():.2f} dB, "
      f"from {rest['psnr_db'].min():.2f} to {rest['psnr_db'].max():.2f}")  # fmt: skip
print(f"validation at the end: {history['validation_db'].iloc[-1]:.2f} dB")
clipped = 100 * (history["gradient_norm"] > config.clip_norm).mean()
print(f"rows with a mean gradient norm above the limit of {config.clip_norm:g}: {clipped:.1f} %")

# %% [markdown]
# The PSNR of the batches is not the quality of the network: it is of other pictures, of three
# colours instead of the luma, with the border, and of whatever patches came by: a batch of moon
# and sky has many decibels more than one of gravel. It tells whether the training is alive. The
# validation tells how good the network is.
#
# If no gradient came near the limit, that is no surprise: L1 is a mean over all pixels of images in
# 0..1, and gives short ones. The limit costs nothing and waits for the batch that is different.
#
# ### Against SRCNN
#
# SRCNN (Dong et al., ECCV 2014) was the first convolutional network for super-resolution that was
# trained from end to end. The scores here are those of its larger version of 2016, which the
# authors trained on images of ImageNet. Now the test images, for the first time. They are Set5
# where this computer has it (`python -m srlib fetch Set5` brings it), else two test photographs.

# %% tags=["folded"]
# @title Score the test images, once
has_set5 = is_cached(f"Set5/x{scale}")
images = load_images("Set5", scale) if has_set5 else {
    name: sample_image(name) for name in ("chelsea", "coffee")
}  # fmt: skip
test_pairs, test_name = make_pairs(images, scale), "Set5" if has_set5 else "two photographs"
own_name = "this notebook's network"
own = {
    "bicubic, here": evaluate(lambda lr: imresize(lr, scale), test_pairs, scale, progress=False),
    own_name: evaluate(model, test_pairs, scale, progress=False),
}
rows = {name: {"psnr_db": table.loc["mean", "psnr_db"]} for name, table in own.items()}
rows[own_name]["parameters"] = sum(w.numel() for w in model.parameters())
if has_set5:
    published = published_results(scale).query("dataset == 'Set5'")
    for _, row in published.iterrows():
        rows[f"{row['network']}, published"] = row[["psnr_db", "parameters"]].to_dict()
test_table = pd.DataFrame(rows).T.sort_values("psnr_db").round(2)
counts = test_table["parameters"]
test_table["parameters"] = [f"{n:,.0f}" if n == n else "" for n in counts]  # NaN: it has none
test_table.rename(columns={"psnr_db": f"{test_name} x{scale} (dB)"})

# %% tags=["folded"]
# @title The minute in numbers
seconds, step = history["seconds"].iloc[-1], history.index[-1]
gain = rows[own_name]["psnr_db"] - rows["bicubic, here"]["psnr_db"]
print(f"{step} steps in {seconds:.1f} s, {torch.get_num_threads()} threads, on {device}")
print(f"{test_name}: {gain:+.2f} dB against bicubic")
if has_set5:
    srcnn = rows["SRCNN, published"]["psnr_db"]
    print(f"against SRCNN's {srcnn:.2f} dB: {rows[own_name]['psnr_db'] - srcnn:+.2f} dB")

# %% [markdown]
# For comparison, the record of the class minute: the same recipe, timed by `make bench` on two
# cores of a server that had nothing else to do, and scored on Set5 on the way.

# %% tags=["folded"]
# @title Draw the record
record_csv = pd.read_csv(data_file("records/class_minute_2.csv"))
figure, axes = plt.subplots(figsize=(7.5, 3.8))
for seed, curve in record_csv.groupby("seed"):
    label = None if seed else f"the record, {record_csv['seed'].nunique()} seeds"
    axes.plot(curve["seconds"], curve["psnr_db"], ".-", color="C0", linewidth=1, label=label)
published_set5 = published_results(scale).query("dataset == 'Set5'").set_index("network")
for name, style in (("SRCNN", "--"), ("FSRCNN", ":")):
    level = published_set5.loc[name, "psnr_db"]
    axes.axhline(level, color="black", linestyle=style, linewidth=1, label=f"{name}, published")
if has_set5 and recipe_name == "cpu":
    here = rows[own_name]["psnr_db"]
    axes.plot(seconds, here, "*", markersize=14, color="C1", label="yours")
axes.set(xlabel="seconds of training", ylabel="PSNR on Set5 x4 (dB)", title="The class minute")
axes.legend(loc="lower right")
show(
    figure,
    "PSNR on Set5 against seconds of training for three seeds of the record: they pass the line of "
    "SRCNN before half a minute and that of FSRCNN before the end. A star is this notebook's own "
    "result, where Set5 is at hand.",
)
last = record_csv.groupby("seed").last()
print(f"the record: {last['psnr_db'].mean():.2f} dB after {last['seconds'].mean():.0f} s and "
      f"{last['step'].mean():,.0f} steps, {len(last)} seeds")  # fmt: skip

# %% [markdown]
# Is your star lower? On a machine that shares its cores, or has no bfloat16, fewer steps fit into
# the minute: compare their number first. Where the network passes the lines, thank ten years of the
# field: residual blocks, an enlargement at the end, Muon, L1, and a start at bicubic interpolation.
# And five images are few: notebook 10 looks at what a difference of a tenth means.

# %% [markdown]
# ## 9. The full training
#
# It is one line in the parameters cell, `recipe_name = "colab"` or `"gpu"`; then run all cells
# again. Both need `BSDS500`, which they fetch: 30 MB. They have a folder, `runs/09_training`, or
# `keep_in` if you set it: stop them when you like, run the cells again, and they go on.
#
# | `recipe_name` | what it is for | T4 | A100 | H200 |
# |---|---|---|---|---|
# | `"cpu"` | the class minute | 1 minute | 1 minute | 1 minute |
# | `"colab"` | to pass VDSR's published 31.35 dB on Set5 | 15 minutes | 15 minutes | 15 minutes |
# | `"gpu"` | the full training | 5 hours | 70 minutes | 40 minutes |
#
# For `"gpu"` set `longest = None` as well. These times are **calculated**, from a step's operations
# and the number of kernels it starts; nobody has measured them. `docs/gpu_record.md` has the
# calculation, and says why 15 minutes should be enough to pass VDSR. The cell of section 8 that
# measures a step tells what your machine will take.

# %% tags=["folded"]
# @title The three recipes
each = {
    name: {key: str(value) for key, value in PROFILES[name].items()}
    for name in ("cpu", "colab", "gpu")
}
pd.DataFrame(each).fillna("")

# %% [markdown]
# The figure at the top of this notebook is such a log, of a network that comes with the course.
# Here are its four trainings in numbers: what each was made with, how long it took and what it
# reached. The last two were validated with other photographs than the first two, so between the
# second and the third the validation cannot be compared.

# %% tags=["folded"]
# @title The shipped network in numbers
trainings = [record]
while "start" in trainings[0]:  # each record holds the one it went on from
    trainings.insert(0, trainings[0]["start"])
made, done = {}, 0
for number, training in enumerate(trainings, 1):
    print(f"training {number} on {training['hardware']}")
    validated = log.loc[done + 1 : done + training["steps"], "validation_db"].dropna()
    done += training["steps"]
    made[number] = {
        "steps": f"{training['steps']:,}",
        "minutes": f"{training['train_seconds'] / 60:.0f}",
        "highest rate": f"{training['config']['learning_rate']:g}",
        "images to draw patches from": f"{training['images']:,}",
        "validation, first to last (dB)": f"{validated.iloc[0]:.2f} to {validated.iloc[-1]:.2f}",
        "Set5 (dB)": f"{training['set5_db']:.2f}" if "set5_db" in training else "not scored",
    }
assert done == log.index[-1]
print(f"{done:,} steps in {log['seconds'].iloc[-1] / 3600:.1f} hours")
pd.DataFrame(made).rename_axis("training", axis=1)

# %% [markdown]
# Without a notebook, on one GPU or none. The command says how long it will take before it begins.
# If all steps of `--profile gpu` would take more than two hours, it takes as many as fit, and says
# so; `--yes` takes them all.
#
# ```
# python -m srlib train --profile colab --out runs/quarter_hour
# python -m srlib train --profile gpu --out runs/my_network
# python -m srlib upscale photo.jpg large.png --method runs/my_network/model.safetensors
# ```
#
# On several GPUs, a process for each:
#
# ```
# torchrun --nproc-per-node 2 -m srlib train --profile gpu --batch-size 16 --out runs/two
# ```
#
# The batch size is that of one process, so two with 16 make the steps of one with 32. From a
# notebook, accelerate starts the processes itself. Each has to make its own network and sampler, so
# the function does it, and nothing may have used the GPU before in this kernel:
#
# ```python
# from accelerate import PartialState, notebook_launcher
#
# def main():
#     device = torch.device("cuda", PartialState().local_process_index)
#     sampler = PatchSampler(train_pairs, 4, batch_size=16, device=device)
#     train(make_recipe_model(), sampler, TrainConfig(steps=10_000), folder="runs/two")
#
# notebook_launcher(main, num_processes=2)
# ```
#
# What of this is tested: two processes with 4 patches each make the same weights as one with 8, on
# CPUs, started by torchrun. Several GPUs, and the launcher in a notebook, were **not** tested for
# this course: no such machine was at hand.

# %% [markdown]
# ## 10. Measure something of your own
#
# **Open.** Change one thing about the trials, and find out whether it is better: another warm-up, a
# `clip_norm` of 0.02, a network that is wider and has one block. Equal steps, three seeds, and
# validation only. Write down what you expect before you look.
#
# <details><summary>A sample answer</summary>
#
# ```python
# mine = {
#     "as it is": {},
#     "short gradients": {"clip_norm": 0.02},
#     "no warm-up": {"warmup": 0.0},
# }
# runs = compare_trainings(
#     "my_training", dict.fromkeys(mine, small_network), make_sampler,
#     TrainConfig(steps=loss_steps, learning_rate=3e-3), psnr_of, seeds=(0, 1, 2), settings=mine)
# plot_trainings(runs, baselines={"bicubic": bicubic_db})
# ```
#
# In so short a training the three bands overlap: it does not tell. Both settings are insurance.
# They matter in the rare training that goes wrong, so count those, over many seeds and at a high
# rate, before you drop one.
#
# </details>

# %% [markdown]
# ## What you saw

# %% tags=["folded"]
# @title The numbers
for name, table in best_rates.items():
    print(f"best learning rates, {name}: " + ", ".join(
        f"{optimizer} {rate:g}" for optimizer, rate in table["rate"].items()))  # fmt: skip
for kind in ("constant", "cosine"):
    raw, averaged = (decay_table.loc[row] for row in (kind, f"{kind}, averaged"))
    help_db = averaged.iloc[0] - raw.iloc[0]
    print(f"averaging at a {kind} rate, the long run: {help_db:+.3f} dB, "
          f"jumps {raw.iloc[-1]:.3f} and {averaged.iloc[-1]:.3f} dB")  # fmt: skip
for name, row in loss_table.iterrows():
    print(f"{name}, the long run: {row['gain (dB)']:+.2f} dB "
          f"({row['lowest']:+.2f} to {row['highest']:+.2f})")  # fmt: skip
print(f"auto, channels last: {precision_table['times float32'].iloc[-1]} times float32")
print(f"{test_name} after {seconds:.0f} s: {rows[own_name]['psnr_db']:.2f} dB, {gain:+.2f}")

# %% [markdown]
# - The learning rate decides most, and its right side is a cliff with dead ReLUs at its foot.
# - At equal patches a small batch learns more, and falls off the cliff sooner.
# - Decay and averaging both remove the noise of the last steps. Either is enough.
# - A comparison of losses at one rate is one of rates.
# - A training that was stopped and continued is the same, to the bit.
#
# ## Pitfalls
#
# - **Choosing by the test set.** Every choice that you make by Set5 (a rate, a checkpoint, when to
#   stop) makes its score look better than the network is. Choose by validation.
# - **Trainings given in time** are not reproducible, and unfair on a busy machine.
# - **float16 without a scaler** trains, with a part of its gradients at zero. Nothing says so.
# - **A rate that kills ReLUs** leaves a network that gives the bicubic image and a loss that
#   does not move. Look at the channels, lower the rate, warm up longer.
# - **The training's decibels are not quality.** They are of patches, of another channel count,
#   and of pictures that the network has seen.
# - A learning rate without optimizer, batch size and schedule is half a recipe.
# - Early validation of an average lags behind: it still remembers the first weights.
# - Cutting a cosine schedule short leaves out its best part. Give the length that you have.
#
# ## Further reading
#
# - D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR, 2015.
# - L. N. Smith, "Cyclical learning rates for training neural networks", WACV, 2017.
# - I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR, 2017.
# - K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024,
#   https://kellerjordan.github.io/posts/muon.
# - J. Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982, 2025.
# - R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
#   ICML, 2013.
# - P. Charbonnier, L. Blanc-Feraud, G. Aubert, M. Barlaud, "Two deterministic half-quadratic
#   regularization algorithms for computed imaging", ICIP, 1994.
# - H. Zhao, O. Gallo, I. Frosio, J. Kautz, "Loss functions for image restoration with neural
#   networks", IEEE Transactions on Computational Imaging 3(1), 2017.
# - B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM
#   Journal on Control and Optimization 30(4), 1992.
# - P. Micikevicius et al., "Mixed precision training", ICLR, 2018.
# - B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single image
#   super-resolution", CVPR Workshops, 2017.
# - C. Dong, C. C. Loy, K. He, X. Tang, "Learning a deep convolutional network for image
#   super-resolution", ECCV, 2014; and "Image super-resolution using deep convolutional networks",
#   IEEE Transactions on Pattern Analysis and Machine Intelligence 38(2), 2016.
# - P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677,
#   2017. How the rate follows the batch size.
