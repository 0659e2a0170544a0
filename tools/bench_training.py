"""What a training step costs, what the hardware allows, and what each means of hurrying gains.

``make bench BENCH=training`` and ``make bench BENCH=latency`` use the GPU where there is one and
the recipe of the active profile; see ``docs/gpu_record.md`` for what to do with the numbers.
"""

import contextlib
import copy
import statistics
import textwrap
import time
import warnings

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from srlib.data import PatchSampler
from srlib.environment import active_profile, by_profile, hardware
from srlib.measuring import measure
from srlib.models import SrResNet, load_pretrained
from srlib.training import TrainConfig, train
from srlib.training.recipes import PROFILES, network_options, photographs, sampler_options

WAYS = {  # each adds one thing to the one before
    "float32, eager": {"mixed_precision": "no", "channels_last": False, "compile": "no"},
    "bfloat16": {"mixed_precision": "bf16", "channels_last": False, "compile": "no"},
    "channels-last": {"mixed_precision": "bf16", "channels_last": True, "compile": "no"},
    "compiled": {"mixed_precision": "bf16", "channels_last": True, "compile": "default"},
    "CUDA graphs": {"mixed_precision": "bf16", "channels_last": True, "compile": "reduce-overhead"},
}


def timed(function, device, repeats):
    """Return the median seconds of a call, each waited for, after three that do not count."""
    seconds = []
    for _ in range(3 + repeats):
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


def ceilings(device):
    """Measure what this hardware gives at best: bfloat16 operations and bytes a second."""
    side, count = (8192, 2**31) if device == "cuda" else (1024, 2**26)
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in "ab")
    source = torch.zeros(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    operations = 2 * side**3 / timed(lambda: left @ right, device, 10)
    return operations, 2 * count / timed(lambda: target.copy_(source), device, 10)


def step_cost(model, sampler):
    """Count operations and bytes of a training step in bfloat16.

    Operations: of the convolutions, forward and backward. Bytes: each convolution reads its input
    and writes its output once forward; backward it reads the input again, reads the gradient of
    its output twice and writes that of its input. Everything else is taken to be fused with them,
    so both are lower bounds.
    """
    lr, hr = sampler.sample()
    touched = []
    hooks = [
        layer.register_forward_hook(
            lambda layer, given, out: touched.append(3 * (given[0].numel() + out.numel()))
        )
        for layer in model.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    with FlopCounterMode(display=False) as counter:
        F.l1_loss(model(lr), hr).backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops(), 2 * sum(touched)


class LoaderSampler(PatchSampler):
    """Stands in for a PatchSampler, but its batches come from a DataLoader's workers."""

    def __init__(self, pairs, scale, batches, **options):
        super().__init__(pairs, scale, **options)
        self._batches = batches

    def sample(self, process=0, processes=1):
        """Take the next batch."""
        return [patch.to(self.device, non_blocking=True) for patch in next(self._batches)]


def recipe_of_profile():
    """Return the recipe of the active profile, network options, patch sizes and pairs."""
    recipe = PROFILES[active_profile()]
    network = network_options(recipe)
    sizes = sampler_options(recipe)
    pairs, _ = photographs({**recipe, "holdout": None, "shrink": ()}, 4)
    return recipe, network, sizes, pairs


@contextlib.contextmanager
def compiler_is_silent():
    """Silence what the compiler warns of, except that it leaves a network as it is: an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for message in ("training goes on uncompiled", ".*not support bfloat16 compilation"):
            warnings.filterwarnings("error", message)
        yield


def not_run(name, reason):
    """Say why a row is missing; below 8.0, for instance, torch compiles no bfloat16."""
    print(f"{name}: not run: {textwrap.shorten(str(reason), 200, placeholder=' ...')}")


def speed(model, sampler, recipe, way, steps):
    """Train `steps` steps in a way; return the patches a second of the rows behind the first."""
    here = {"steps": steps, "seconds": None, "log_every": max(1, steps // 5), "progress": False}
    here |= {"validate_every": None, "checkpoint_every": None}
    config = TrainConfig.from_recipe(recipe, **here, **way)
    with compiler_is_silent():
        history = train(model, sampler, config)
    return history["patches_per_s"].iloc[1:].median()


def bench_training(loader_batches):
    """Predict a training step from its operations and bytes, then measure it in several ways."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe, network, sizes, pairs = recipe_of_profile()
    steps = by_profile(ci=10, cpu=50, gpu=500)
    print(f"{hardware()['GPU' if device == 'cuda' else 'CPU']}, torch {torch.__version__}")

    def fresh(sampler=None):
        torch.manual_seed(0)
        return SrResNet(4, **network), sampler or PatchSampler(pairs, 4, device=device, **sizes)

    model, sampler = fresh()
    operations, moved = step_cost(model.to(device), sampler)
    top_operations, top_bytes = ceilings(device)
    bounds = 1000 * operations / top_operations, 1000 * moved / top_bytes
    print(f"ceilings: {top_operations / 1e12:.3g} TFLOP/s, {top_bytes / 1e12:.3g} TB/s")
    print(
        f"a step of {sizes['batch_size']} patches: {operations / 1e12:.3g} TFLOP, at least "
        f"{bounds[0]:.2f} ms; {moved / 1e9:.3g} GB, at least {bounds[1]:.2f} ms"
    )
    rows, ways = [], dict(WAYS)
    if device == "cpu":
        del ways["CUDA graphs"]
    for name, way in ways.items():
        try:
            rows.append((name, speed(*fresh(), recipe, way, steps)))
        except (RuntimeError, Warning) as reason:
            not_run(name, reason)
    batches = loader_batches(pairs, sizes["lr_patch_size"], sizes["batch_size"])
    loaded = LoaderSampler(pairs, 4, batches, device=device, **sizes)
    fed = "compiled, fed by a DataLoader"
    try:
        rows.append((fed, speed(*fresh(loaded), recipe, WAYS["compiled"], steps)))
    except (RuntimeError, Warning) as reason:
        not_run(fed, reason)
    batches.close()
    table = pd.DataFrame(rows, columns=["way", "patches_per_s"]).set_index("way")
    table["ms_per_step"] = 1000 * sizes["batch_size"] / table["patches_per_s"]
    table["of_the_bound"] = max(bounds) / table["ms_per_step"]
    print(table.round(3).to_string())


def bench_latency():
    """Enlarge one frame with the shipped networks: time and memory, in several ways."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    frame = by_profile(ci=(45, 80), cpu=(90, 160), gpu=(540, 960))
    print(f"LR {frame[1]} x {frame[0]}, x4, {hardware()['GPU' if device == 'cuda' else 'CPU']}")
    rows = []
    for name in ("srresnet_small_x4", "srresnet_x4"):
        network = load_pretrained(name).to(device)
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)
        half = copy.deepcopy(last).to(torch.bfloat16)
        ways = {
            "float32, eager": network,
            "channels-last": last,
            "bfloat16": half,
            "compiled": torch.compile(half, dynamic=False),
        }
        for way, variant in ways.items():
            try:
                with compiler_is_silent():
                    cost = measure(variant, frame, repeats=by_profile(ci=5, cpu=20, gpu=50))
            except (RuntimeError, Warning) as reason:
                not_run(f"{name}, {way}", reason)
                continue
            rows.append(
                (name, way, *(cost[k] for k in ("latency_ms", "latency_iqr_ms", "peak_memory_mib")))
            )
    columns = ["network", "way", "latency_ms", "iqr_ms", "peak_memory_mib"]
    print(pd.DataFrame(rows, columns=columns).round(2).to_string(index=False))
