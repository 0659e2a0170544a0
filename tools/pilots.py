"""Train candidates for a shipped x4 network for equally long, and record what each reached.

OMP_NUM_THREADS=1 python tools/pilots.py old silu --seeds 0 1

Run it where the folder photos is. Each candidate gets as many steps as it can take in --seconds of
a processor's time. With --relu-steps it is the time that "relu" takes for so many steps here, and
rows of a fast machine stand beside those of a slow one. A candidate is judged by crops of held-out
photographs, never by a benchmark, and by its time for a 128x128 image on one thread as a part of
that of "old". Each training adds a row to data/records/pilots.csv; rows of what did not help stay.
What else runs on the machine stretches the times: with --times nothing is trained, and those of the
rows are measured again, in turns.
"""

import argparse
import contextlib
import csv
import datetime
import json
import math
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import nn
from torch.nn.utils import parametrize

from srlib._atomic import atomic_write
from srlib.data import Pair, PatchSampler
from srlib.environment import processor_name
from srlib.evaluation import evaluate
from srlib.layers import ResidualBlock
from srlib.measuring import measure
from srlib.models import SrResNet
from srlib.training import TrainConfig, train
from srlib.training.recipes import photographs, sampler_options

RECORD = Path(__file__).resolve().parents[1] / "data" / "records" / "pilots.csv"
SCALE, CROP = 4, 320  # HR pixels; the photographs of BSDS500 are 481 x 321
DIRECT = {"channels": 32, "num_blocks": 8, "hr_channels": 0}  # one deconvolution straight to RGB
CANDIDATES = {
    "old": {"channels": 32, "num_blocks": 8, "hr_channels": 16},
    "relu": DIRECT,
    "silu": DIRECT | {"activation": "silu"},
    "pre-activation": DIRECT | {"activation": "silu", "block": "PreActivation"},
    "gate": DIRECT | {"num_blocks": 5, "block": "Gate"},
    "silu, wide start": DIRECT | {"activation": "silu", "block": "WideStart"},
    "gate, wide start": DIRECT | {"num_blocks": 5, "block": "GateWideStart"},
    "between": DIRECT | {"mid_channels": 12},  # by 2 twice
    "between, wider": DIRECT | {"num_blocks": 7, "mid_channels": 32},
    "eight behind": DIRECT | {"hr_channels": 8},
    "wide and few": DIRECT | {"channels": 48, "num_blocks": 3},
    "narrow and many": DIRECT | {"channels": 24, "num_blocks": 14},
    "folded": DIRECT | {"block": "Folded"},
    "growing patches": DIRECT | {"patches": [[16, 18], [24, 8], [32, 5]]},  # side, how many
}
RECIPE = {
    "data": ["BSDS500/train", "BSDS500/test", "photos"],
    "holdout": 20,
    "shrink": [0.8, 0.6],
    "lr_patch_size": 24,
    "batch_size": 8,
    "optimizer": "muon",
    "learning_rate": 2e-3,
    "clip_norm": 0.02,
    "channels_last": True,
    "log_every": 100,
    "progress": False,
}


class PreActivation(ResidualBlock):
    """``x + scaling * conv(act(conv(act(x))))``, of He et al., ECCV, 2016."""

    def forward(self, x):
        """Return a tensor of the shape of `x`."""
        inner = self.first(self.activation(x))
        return x + self.scaling * self.second(self.activation(inner))


class Gate(ResidualBlock):
    """The first convolution makes two halves, ``silu(one) * other``; Shazeer, 2020 (SwiGLU)."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.first = nn.Conv2d(channels, 2 * channels, 3, padding=1)

    def forward(self, x):
        """Return a tensor of the shape of `x`."""
        one, other = self.first(x).chunk(2, dim=1)
        return x + self.scaling * self.second(F.silu(one) * other)


class WideStart(ResidualBlock):
    """Starts with so large weights that SiLU is not nearly a straight line."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        _widen(self.first)


class GateWideStart(Gate):
    """Both."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        _widen(self.first)


class Folded(ResidualBlock):
    """Each 3x3 convolution has one of 1x1 beside it, as in RepVGG (Ding et al., CVPR, 2021)."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for conv in (self.first, self.second):
            parametrize.register_parametrization(conv, "weight", _Beside(channels))


class _Beside(nn.Module):
    """The sum of two convolutions of one input is one convolution, with the sum of the kernels."""

    def __init__(self, channels):
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, kernel):
        return kernel + F.pad(self.pointwise.weight, (1, 1, 1, 1))


class Growing(PatchSampler):
    """Patches that grow: each of `sizes`, (LR side, how many), for as many of the steps."""

    sizes, steps, done = ((RECIPE["lr_patch_size"], RECIPE["batch_size"]),), 1, 0

    def sample(self, process=0, processes=1):
        """Draw a batch of the size whose turn it is."""
        side, self.batch_size = self.sizes[self.done * len(self.sizes) // self.steps]
        self._choices += self.lr_patch_size - side
        self.lr_patch_size = side
        self.done += 1
        return super().sample(process, processes)


def _widen(conv):
    """Make of features with a spread of 0.3, as the first convolution leaves them, one of 1."""
    nn.init.normal_(conv.weight, std=3 * conv.weight[0].numel() ** -0.5)


def make(block=None, patches=None, **options):
    """Return a candidate: an SrResNet, perhaps with other blocks; `patches` are for `trained`."""
    model = SrResNet(SCALE, **options)
    if block:
        kind, activation = globals()[block], options.get("activation", "relu")
        for index in range(len(model.blocks)):
            model.blocks[index] = kind(options["channels"], scaling=0.3, activation=activation)
    return model


def fold(model):
    """Add kernels that lie beside each other; return the model, which does the same."""
    for layer in model.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    return model


def crops(pairs):
    """Cut the middle out of each photograph, so that judging takes seconds."""
    result = []
    for pair in pairs:
        top, left = ((side - CROP // SCALE) // 2 for side in pair.lr.shape[:2])
        size = CROP // SCALE
        lr = pair.lr[top : top + size, left : left + size]
        hr = pair.hr[SCALE * top :, SCALE * left :][: SCALE * size, : SCALE * size]
        result.append(Pair(pair.name, lr, hr))
    return result


def milliseconds(*models, repeats=15):
    """Return the median processor time of each model for a 128x128 image; they take turns."""
    lr = torch.rand(1, 3, 128, 128)
    times = [[] for _ in models]
    with torch.inference_mode():
        for _ in range(3 + repeats):
            for model, of_model in zip(models, times, strict=True):
                model(lr)  # once for the memory that the model before gave back
                start = time.process_time()  # on one thread
                model(lr)
                of_model.append(1000 * (time.process_time() - start))
    return [statistics.median(of_model[3:]) for of_model in times]


def processor():
    """Name the processor, and the instructions that torch uses of it."""
    return f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}"


def trained(name, seed, steps, sampler):
    """Return a candidate after so many steps."""
    torch.manual_seed(seed)
    model = make(**CANDIDATES[name])
    sampler.load_state_dict({"generator": torch.Generator().manual_seed(seed).get_state()})
    sampler.sizes = CANDIDATES[name].get("patches", Growing.sizes)
    sampler.steps, sampler.done = steps, 0
    history = train(model, sampler, TrainConfig.from_recipe(RECIPE, steps=steps))
    if not history.attrs["complete"]:
        raise KeyboardInterrupt
    return model


def step_seconds(names, sampler):
    """Return the processor time of a training step of each candidate, the least of five looks.

    They take turns, and the least counts, so that what else runs on the machine does not.
    """
    least = dict.fromkeys(names, math.inf)
    for _ in range(5):
        for name in names:
            start = time.process_time()
            trained(name, 0, 20, sampler)
            least[name] = min(least[name], (time.process_time() - start) / 20)
    return least


def pilot(name, seed, seconds, cost, sampler, held_out):
    """Train one candidate for `seconds` of processor time, a step taking `cost`; return its row."""
    steps = round(seconds / cost)
    model = fold(trained(name, seed, steps, sampler))
    model = model.to(memory_format=torch.contiguous_format).eval()
    db = evaluate(model, held_out, SCALE, progress=False).loc["mean", "psnr_db"]
    ms, old_ms = milliseconds(model, make(**CANDIDATES["old"]))
    work = measure(model, (128, 128), repeats=1)
    return {
        "candidate": name,
        "options": json.dumps(CANDIDATES[name]),
        "parameters": work["parameters"],
        "multiply_adds_per_pixel": round(work["multiply_adds_per_pixel"]),
        "ms": round(ms, 1),
        "ratio": round(ms / old_ms, 3),
        "seconds": seconds,
        "steps": steps,
        "seed": seed,
        "held_out_db": round(float(db), 3),
        "torch": torch.__version__,
        "machine": processor(),
        "date": datetime.date.today().isoformat(),
    }


def recorded():
    """Return the rows of the record, each a dictionary of texts."""
    if not RECORD.exists():
        return []
    with RECORD.open(newline="") as file:
        return list(csv.DictReader(file))


def record(rows):
    """Write the record anew; it appears whole or not at all."""
    with atomic_write(RECORD) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextlib.contextmanager
def rows_to_change():
    """Give a ``with`` block the rows; write them as it leaves them. Another process waits."""
    with FileLock(RECORD.with_name(f".{RECORD.name}.lock")):
        rows = recorded()
        yield rows
        record(rows)


def measure_times_again(names):
    """Write new times into the rows that this machine made of these candidates."""
    names = list(dict.fromkeys(["old", *names]))
    times = milliseconds(*(fold(make(**CANDIDATES[name])).eval() for name in names))
    ms_of, machine = dict(zip(names, times, strict=True)), processor()
    with rows_to_change() as rows:
        for row in rows:
            if row["candidate"] in ms_of and row["machine"] == machine:
                ms = ms_of[row["candidate"]]
                row |= {"ms": round(ms, 1), "ratio": round(ms / times[0], 3)}


def main():
    """Train each candidate with each seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("candidates", nargs="+", choices=CANDIDATES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=600, help="processor time of each")
    parser.add_argument("--relu-steps", type=int, help="instead: as long as these take here")
    parser.add_argument("--times", action="store_true", help="train nothing; of recorded rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.times:
        measure_times_again(options.candidates)
        return
    training, held_out = photographs(RECIPE, SCALE)
    held_out = crops(held_out)
    sampler = Growing(training, SCALE, **sampler_options(RECIPE), device=torch.device("cpu"))
    costs = step_seconds(dict.fromkeys(["relu", *options.candidates]), sampler)
    print({name: f"{1000 * cost:.1f} ms a step" for name, cost in costs.items()}, flush=True)
    if options.relu_steps:
        options.seconds = round(options.relu_steps * costs["relu"], 1)
    for seed in options.seeds:
        for name in options.candidates:
            row = pilot(name, seed, options.seconds, costs[name], sampler, held_out)
            print(row, flush=True)
            with rows_to_change() as rows:
                rows.append(row)


if __name__ == "__main__":
    main()
