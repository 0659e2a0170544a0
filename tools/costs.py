"""What each notebook takes on a GPU: calculated, because nobody has measured it yet.

python tools/costs.py           # the table, from data/records/costs.csv and the parameters cells
python tools/costs.py --count   # count the steps' operations and launches anew, into that file
python tools/costs.py --write   # and write the sentence of each title cell

A step takes its launches, one after the other, and then its operations at half of what the GPU's
data sheet gives in float32. Both together is more than it should take, as they overlap. What a GPU
does not hasten (figures, scores, files) is taken as measured on one core, with steps left out: the
column rest_minutes of data/records/notebook_times.csv; where it was not measured, it is all of the
minutes on two cores. host_ms of a row is what its steps take on the processor besides.
"""

import argparse
import ast
import csv
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from srlib._atomic import atomic_write

ROOT = Path(__file__).resolve().parents[1]
COSTS, TIMES = (ROOT / "data" / "records" / f"{name}.csv" for name in ("costs", "notebook_times"))
COLUMNS = "notebook what steps runs gflop launches host_ms".split()


class Gpu(NamedTuple):
    """What is taken for granted about a GPU and the computer around it."""

    flops: float  # float32 operations a second, half of the data sheet's
    launch: float  # seconds that Python and the driver need for a kernel


# Colab's T4 has two slow processor cores, hence the longer launch.
GPUS = {"T4": Gpu(0.5 * 8.1e12, 12e-6), "A100": Gpu(0.5 * 19.5e12, 6e-6)}
# Kernels of a step around the network, of a loop such as srlib.training's: a batch is gathered and
# turned (20), the norm is cut (8), fused Adam steps (4), means for the log (8).
AROUND = 40
# No kernels: they give another view of a tensor, or memory.
_VIEWS = (
    "alias as_strided detach empty expand is_ lift_fresh _local_scalar permute reshape select "
    "slice split squeeze t. transpose unbind unfold _unsafe_view unsqueeze view"
).split()


def work():
    """Return the rows of the table."""
    with open(COSTS, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def times():
    """Return for each notebook the minutes to read, measured on two cores, and of the rest."""
    with open(TIMES, newline="", encoding="utf-8") as file:
        return {row.pop("notebook"): row for row in csv.DictReader(file)}


def script(number):
    """Return the path of a notebook's script."""
    (path,) = (ROOT / "solutions").glob(f"{number}_*.py")
    return path


def parameters(number, profile="gpu") -> dict[str, Any]:
    """Evaluate the parameters cell of a notebook in a profile."""
    code = script(number).read_text(encoding="utf-8")
    cell = re.search(r'^# %% tags=\["parameters"[^\n]*\]\n(.*?)^# %%', code, re.M | re.S)[1]
    before = os.environ.get("SRLIB_PROFILE")
    os.environ["SRLIB_PROFILE"] = profile
    try:
        from srlib.assets import sample_names
        from srlib.environment import active_profile, by_profile

        found = {f.__name__: f for f in (sample_names, active_profile, by_profile)} | {"os": os}
        exec(cell, found)
    finally:
        os.environ.pop("SRLIB_PROFILE")
        if before is not None:
            os.environ["SRLIB_PROFILE"] = before
    return found


def minutes(gpu: Gpu) -> dict[str, float]:
    """Calculate how long each notebook takes."""
    total = {number: float(row["rest_minutes"]) for number, row in times().items()}
    values = {number: parameters(number) for number in total}
    for row in work():
        number = row["notebook"]
        steps, runs = (eval(row[name], values[number].copy()) for name in ("steps", "runs"))
        step = float(row["gflop"]) * 1e9 / gpu.flops + int(row["launches"]) * gpu.launch
        total[number] += steps * runs * (step + float(row["host_ms"]) / 1000) / 60
    return total


def sentence(number: str) -> str:
    """Return what the title cell of a notebook says about time."""
    row = times()[number]
    t4, a100 = (math.ceil(round(minutes(gpu)[number], 1)) for gpu in GPUS.values())
    unit = "minute" if row["cpu_minutes"] == "1" else "minutes"
    return (
        f"Time: {row['reading_minutes']} minutes to read and try. Of these the computer needs at "
        f"most {row['cpu_minutes']} {unit} on two CPU cores; calculated, not measured: {t4} on a "
        f"T4 GPU, {a100} on an A100."
    )


# For each training: a network, its input, and how a step calls it if not as `network(x)`. They see
# the notebook's classes, functions and parameters, in the profile gpu. Where networks differ, it is
# one in the middle.
STEPS = {
    ("04", "start"): ("srcnn(scale)", "8, 3, 8, 8"),
    ("04", "pooling"): ("PooledDetail(1)", "8, 3, 16, 16"),
    ("04", "listing"): ("rung_1()", "1, 3, 8, 8"),
    ("04", "depth"): ("Plain(10)", "8, 3, 8, 8"),
    ("05", "ladder"): ("Rung4()", "8, 3, 8, 8"),
    ("05", "depth"): ("SmallNetwork(deep_blocks)", "8, 3, 12, 12"),
    ("05", "skips"): ("SmallNetwork(4)", "8, 3, 12, 12"),
    ("06", "enlarge"): (
        "Network(lambda a, b: DeconvBlock(a, b, 3), image_skip=True)",
        "8, 3, 16, 16",
    ),
    ("06", "ladder"): ("Rung5()", "8, 3, 8, 8"),
    ("07", "overfit"): ("SrResNet(4, channels=32, num_blocks=4)", "1, 3, 12, 12"),
    ("07", "ladder"): ("Rung6()", "8, 3, 8, 8"),
    ("07", "choices"): ("SrResNet(4, channels=16, num_blocks=4, hr_channels=16)", "8, 3, 8, 8"),
    ("08", "gradients"): ("SrResNet(4, channels=8, num_blocks=2)", "16, 3, 24, 24"),
    ("09", "small network"): (
        SMALL := "SrResNet(2, channels=16, num_blocks=2, hr_channels=8)",
        "8, 3, 12, 12",
    ),
    ("09", "trials of Muon"): (SMALL, "8, 3, 12, 12"),
    ("09", "batches of 2"): (SMALL, "2, 3, 12, 12"),
    ("09", "batches of 32"): (SMALL, "32, 3, 12, 12"),
    ("10", "at the output's size"): ("Ablated(deconv=False)", "8, 3, 12, 12"),
    ("10", "at the input's size"): ("Ablated()", "8, 3, 12, 12"),
    ("11", "three scales"): ("MultiScale()", "8, 3, 8, 8", "network((x, 3))"),
    ("11", "any scale"): (
        "AnyScale()",
        "8, 3, (side := math.ceil(24 / 2.5) + 8), side",
        "decode(network, network.encode(x), x, p := 4 + np.arange(24) / 2.5, p, 0.4)",
    ),
    ("11", "attention"): ("Enlarger(WindowBlock(16), WindowBlock(16, shift=4))", "4, 3, 16, 16"),
    ("12", "small networks"): ("StackNet(16, 4)", "8, 3, 8, 8"),
    ("12", "re-param"): ("StackNet(16, 4, RepBlock)", "8, 3, 8, 8"),
    ("13", "students"): ("SrResNet(4, **student)", "8, 3, 12, 12"),
    ("13", "cut"): (
        SHIPPED := "SrResNet(4, channels=32, num_blocks=8, hr_channels=0, mid_channels=12)",
        "8, 3, 12, 12",
    ),
    ("13", "bits"): (f"FewBits({SHIPPED}, 4)", "8, 3, 12, 12"),
    ("14", "fusion"): ("Fusion(channels)", "batch, 3 + 4 * scale**2, patch, patch"),
    ("15", "clouds"): (
        "PointUpsampler(channels, num_blocks, chooses=True)",
        "8, 3, 64 * (1 + 4 * children)",
    ),
    ("16", "duels"): (
        SHIPPED,
        "4, 3, 12, 12",
        "both_turns(network, x)",
    ),
    ("16", "terms"): (SHIPPED, "8, 3, 16, 16", "both_turns(network, x)"),
    ("17", "terms"): (SHIPPED, "8, 3, 12, 12"),
}
# These train a network of another row.
LIKE = dict.fromkeys(("range test", "trials", "batches of 8", "decay", "losses"), "small network")
LIKE |= {"close race": "at the input's size", "loop": "start", "stages": "enlarge"}
LIKE |= {"strength": "terms"}
# Networks of the notebooks take these from around them.
GLOBALS = {
    "10": 'scale, size = 4, {"channels": channels, "num_blocks": num_blocks}',
    "11": "scales, channels, num_blocks, hidden = (2, 3, 4), 16, 4, 32; Attention.forward = attend",
    "12": "scale, EDGES = 2, torch.zeros(3, 3, 3)",
    "14": "bicubic = BicubicUpsample(scale)",
    "15": """
import itertools
children, proposers = 6, range(4)
pairs = tuple(zip(*itertools.combinations(range(4), 2)))
length = torch.linalg.vector_norm
""",
    "16": """
from srlib.models import SrResNet

def both_turns(network, x):
    discriminator, sr = PatchDiscriminator(16), network(x)
    seen = sr, sr.detach(), *torch.rand(2, *sr.shape)
    return sum(discriminator(image).mean() for image in seen)
""",
    "17": "from srlib.models import SrResNet",
}


def names(number) -> dict[str, Any]:
    """Run what a notebook defines, and nothing else: imports, constants, classes, functions."""
    found = parameters(number)
    tree = ast.parse(script(number).read_text(encoding="utf-8"))
    for node in tree.body:
        constant = isinstance(node, ast.Assign) and isinstance(
            node.value, ast.Constant | ast.Attribute
        )
        defined = isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef)
        taken = any(getattr(t, "id", "") in found for t in getattr(node, "targets", ()))
        if (constant and not taken) or defined:
            try:
                exec(compile(ast.Module([node], []), str(script(number)), "exec"), found)
            except (NameError, ModuleNotFoundError):  # it needs what is not run here
                continue
    return found


def count(number, what) -> tuple[float, int]:
    """Count a step's GFLOP and the kernels that it launches."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    from srlib.training.muon import Muon

    class Launches(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.found = Counter()

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            self.found[str(operation).removeprefix("aten.")] += 1
            return operation(*args, **(kwargs or {}))

    network, x, *call = STEPS[number, what]
    modes = FlopCounterMode(display=False), Launches()
    for mode in modes:
        found = names(number)
        exec(f"import torch\n{GLOBALS.get(number, '')}", found)
        exec(f"network = {network}; x = torch.rand({x})", found)
        after = Muon(found["network"].parameters()).step if what == "trials of Muon" else None
        with mode:
            exec(f"loss = ({call[0] if call else 'network(x)'}).mean()", found)
            found["loss"].backward()
            if after:
                after()
    flops, launches = modes
    kernels = sum(n for name, n in launches.found.items() if not name.startswith(tuple(_VIEWS)))
    return flops.get_total_flops() / 1e9, kernels + AROUND


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", action="store_true", help="count the steps anew")
    parser.add_argument("--write", action="store_true", help="write the title cells' sentences")
    options = parser.parse_args()
    if options.count:
        rows = work()
        for row in rows:
            what = LIKE.get(row["what"], row["what"])
            if (row["notebook"], what) in STEPS:  # else it is none of a GPU's
                gflop, launches = count(row["notebook"], what)
                row |= {"gflop": f"{gflop:.4g}", "launches": launches}
        with (
            atomic_write(COSTS) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if options.write:
        for number in times():
            write(number)
    found = {name: minutes(gpu) for name, gpu in GPUS.items()}
    print("notebook  CPU  " + "  ".join(f"{name:>6}" for name in found) + "   minutes")
    for number, row in times().items():
        numbers = "  ".join(f"{found[name][number]:6.1f}" for name in found)
        print(f"{number:8}  {row['cpu_minutes']:>3}  {numbers}")


def write(number):
    """Put the sentence about time into a title cell, wrapped as it is there."""
    import textwrap

    path = script(number)
    code = path.read_text(encoding="utf-8")
    lines = textwrap.wrap(sentence(number), 98, break_on_hyphens=False)
    text = "".join(f"# {line}\n" for line in lines)
    new, places = re.subn(r"^# Time: .*\n(?:# \S.*\n)*", lambda _: text, code, count=1, flags=re.M)
    if not places:
        raise ValueError(f"{path.name}: no line begins with '# Time: '")
    with atomic_write(path) as partial:
        partial.write_text(new, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
