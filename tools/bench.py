"""Measure what docs/results.md states about speed: ``make bench``, or ``... BENCH=class_minute``.

Times on a shared machine scatter, so that each is a median, and what can be a ratio is one.
"""

import functools
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import numpy as np
import pandas as pd
import torch
from bench_browser import bench_browser
from bench_training import bench_latency, bench_training
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler

from srlib.assets import is_cached
from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import hardware
from srlib.evaluation import evaluate, upscale
from srlib.exercises import get_exercise, list_exercises
from srlib.exercises.grading import grade
from srlib.image import to_float, to_uint8, write_image
from srlib.models import SrResNet, load_pretrained
from srlib.onnx_files import OnnxNetwork, export_onnx
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.training.recipes import PROFILES, network_options, photographs, sampler_options

ROOT = Path(__file__).resolve().parents[1]
SWEEP = """
import json
import statistics

from srlib.widgets import Explorer

for name, value in list(globals().items()):
    if isinstance(value, Explorer) and not name.startswith("_"):
        seconds = value.sweep() + value.sweep()
        print("sweep", json.dumps([name, statistics.median(seconds), max(seconds)]))
"""


def median_ms(function, repetitions=15):
    """Return the median time of a call in milliseconds, after one call to warm up."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def bench_resize():
    """Shrink a uint8 photograph of 2040 x 1356 by 4, with Pillow and with imresize."""
    image = np.random.default_rng(0).integers(0, 256, (1356, 2040, 3), dtype=np.uint8)
    picture = Image.fromarray(image)
    pillow = median_ms(lambda: picture.resize((510, 339), Image.Resampling.BICUBIC))
    ours = median_ms(lambda: imresize(image, 1 / 4))
    print(f"resize 2040 x 1356 by 1/4: Pillow {pillow:.1f} ms, imresize {ours:.1f} ms, ", end="")
    print(f"ratio {ours / pillow:.2f} (aim: at most 3)")


def bench_upscale(sizes=((300, 400), (60, 2048), (900, 1200)), rounds=3):
    """Enlarge with `upscale` and with the plain network on the whole picture, in turns.

    Each number is the best of the rounds over the plain network's best.
    """
    random = np.random.default_rng(0)
    for name, (height, width) in itertools.product(("srresnet_small_x4", "srresnet_x4"), sizes):
        network = load_pretrained(name)
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            in_onnx = OnnxNetwork(export_onnx(network, Path(folder, "network.onnx")))
        ways = {
            "plain": lambda network=network, image=image: to_uint8(network(to_float(image))),
            "upscale": functools.partial(upscale, network, image),
            "in tiles of 256": functools.partial(upscale, network, image, tile=256),
            "in half precision": functools.partial(upscale, network, image, half=True),
            "in ONNX Runtime": functools.partial(upscale, in_onnx, image),
        }
        best = dict.fromkeys(ways, math.inf)
        for _, (way, run) in itertools.product(range(rounds), ways.items()):
            start = time.perf_counter()
            with torch.inference_mode():
                run()
            best[way] = min(best[way], time.perf_counter() - start)
        ratios = ", ".join(f"{way} {best[way] / best['plain']:.2f}" for way in list(ways)[1:])
        print(f"{name}, {height} x {width}: plain {best['plain']:.2f} s; times that: {ratios}")


class PngPatches(Dataset):
    """The usual way: decode a photograph's two PNG files, cut one patch out of each."""

    def __init__(self, folder, scale, size):
        self.paths = sorted(folder.glob("*.hr.png"))
        self.scale, self.size = scale, size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        hr_path = self.paths[index]
        lr_path = hr_path.with_name(hr_path.name.replace(".hr.", ".lr."))
        lr, hr = (np.asarray(Image.open(path).convert("RGB")) for path in (lr_path, hr_path))
        top, left = (int(torch.randint(n - self.size + 1, ())) for n in lr.shape[:2])
        turns, flip = int(torch.randint(4, ())), torch.rand(()) < 0.5
        patches = []
        for image, factor in ((lr, 1), (hr, self.scale)):
            rows, columns = (slice(factor * n, factor * (n + self.size)) for n in (top, left))
            patch = image[rows, columns]
            patches.append(np.rot90(patch[::-1] if flip else patch, turns).copy())
        return patches  # uint8, so that little travels between processes


def decoded_batches(dataset, batch_size):
    """Batches from a worker per core; one endless epoch, so that workers start only once."""
    endless = RandomSampler(dataset, replacement=True, num_samples=10**9)
    loader = DataLoader(
        dataset, batch_size, sampler=endless, num_workers=os.cpu_count(), prefetch_factor=4
    )
    for patches in loader:  # [(N, P, P, 3), (N, sP, sP, 3)]
        yield [patch.permute(0, 3, 1, 2).float() / 255 for patch in patches]


def batches_from_files(pairs, size, batch_size, scale=4):
    """Write the pairs as PNG files; yield batches of patches that workers decode from them."""
    with tempfile.TemporaryDirectory() as folder:
        for number, pair in enumerate(pairs):
            write_image(Path(folder) / f"{number}.lr.png", pair.lr)
            write_image(Path(folder) / f"{number}.hr.png", pair.hr)
        yield from decoded_batches(PngPatches(Path(folder), scale, size), batch_size)


def patches_per_second(batches, seconds):
    """Count what arrives; the first batches, while workers start, do not count."""
    for _ in range(4 * os.cpu_count()):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += len(next(batches)[0])
    return count / (time.perf_counter() - start)


def bench_patches(scale=4, size=24, batch_size=16, seconds=8):
    """Patches a second on the CPU: `PatchSampler`, and a DataLoader that decodes PNG files.

    The bundled colour photographs for training, cut or mirrored on to the size of DIV2K's and
    of BSDS500's. The loader has a worker per core; files are in the system's cache.
    """
    photos = load_images("bundled/train")
    photos = {name: image for name, image in photos.items() if np.ptp(image, axis=2).any()}
    for height, width in ((1356, 2040), (320, 480)):
        pairs = make_pairs(
            {name: fit(image, height, width) for name, image in photos.items()}, scale
        )
        batches = batches_from_files(pairs, size, batch_size, scale)
        loader = patches_per_second(batches, seconds)
        batches.close()  # ends the workers
        sampler = PatchSampler(pairs, scale, lr_patch_size=size, batch_size=batch_size)
        ours = patches_per_second(iter(sampler.sample, None), seconds)
        print(f"patches of {size} x {size} LR, x{scale}, from {len(pairs)} photographs of ", end="")
        print(f"{width} x {height} as PNG, {os.cpu_count()} cores: ", end="")
        print(f"DataLoader {loader:.0f}/s, PatchSampler ", end="")
        print(f"{ours:.0f}/s, ratio {ours / loader:.0f} (aim: at least 10)")


def fit(image, height, width):
    """Cut a photograph to a size, mirrored at its edges where it is too small."""
    image = image[:height, :width]
    missing = (height - image.shape[0], width - image.shape[1])
    return np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")


def bench_class_minute(seeds=(0, 1, 2), marks=(2, 5, 10, 20, 30, 45)):
    """Train the class minute: Set5 x4 in dB against seconds, from random weights.

    Bundled photographs, the "cpu" profile of ``python -m srlib train``; scoring is not on the
    clock. Where Set5 is not there, the bundled test photographs.
    """
    recipe = PROFILES["cpu"]
    options = network_options(recipe)
    config = TrainConfig.from_recipe(recipe, progress=False)
    source = "Set5" if is_cached("Set5/x4") else "bundled/test"
    test, (pairs, _) = make_pairs(load_images(source, 4), 4), photographs(recipe, 4)
    rows = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = SrResNet(4, **options)
        sampler = PatchSampler(pairs, 4, seed=seed, **sampler_options(recipe))
        ahead = list(marks)

        def look(row, seed=seed, model=model, ahead=ahead):
            if ahead and row["seconds"] >= ahead[0]:
                ahead.pop(0)
                rows.append((seed, row["step"], row["seconds"], set5(model)))

        def set5(model):
            return evaluate(model, test, 4, progress=False).loc["mean", "psnr_db"]

        history = train(model, sampler, config, on_log=look)
        rows.append((seed, history.index[-1], history["seconds"].iloc[-1], set5(model)))
        for _, step, seconds, db in rows[-1 - len(marks) + len(ahead) :]:
            print(f"class minute, seed {seed}: {seconds:5.1f} s, step {step:5}: {db:.2f} dB")
    final = [[row[3] for row in rows if row[0] == seed][-1] for seed in seeds]
    print(
        f"class minute: {source} x4 {statistics.median(final):.2f} dB, median of {len(seeds)} "
        f"seeds, {hardware()['CPU']} (aim: at least 30.75 on Set5)"
    )
    table = pd.DataFrame(rows, columns=["seed", "step", "seconds", "psnr_db"]).round(3)
    path = ROOT / "build" / "class_minute.csv"
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    print(f"{path}: written")


def bench_sliders():
    """Move every slider of every notebook: drawing and encoding, as `Explorer.sweep` does."""
    for script in sorted((ROOT / "solutions").glob("*.py")):
        notebook = jupytext.read(script)
        notebook.cells.append(new_code_cell(SWEEP))
        place = {"metadata": {"path": str(ROOT / "notebooks")}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
        for output in notebook.cells[-1].outputs:
            for line in output.get("text", "").splitlines():
                name, median, worst = json.loads(line.removeprefix("sweep "))
                print(f"{script.stem}.{name}: ", end="")
                print(
                    f"median {1000 * median:.0f} ms, worst {1000 * worst:.0f} ms (aim: median 100)"
                )


def bench_grading():
    """Grade the reference and each known mistake of every exercise, as ``check`` does."""
    seconds = {}
    for name in list_exercises().index:
        task, start = get_exercise(name), time.perf_counter()
        for answer in (task.reference, *(mistake.function for mistake in task.mistakes)):
            grade(task, answer)
        seconds[name] = (time.perf_counter() - start) / (1 + len(task.mistakes))
    slowest = sorted(seconds, key=seconds.get)[-3:]
    named = ", ".join(f"{name} {seconds[name]:.2f} s" for name in reversed(slowest))
    print(f"grading an answer: median {statistics.median(seconds.values()):.2f} s, slowest {named}")


if __name__ == "__main__":
    os.environ.setdefault("SRLIB_PROFILE", "ci")
    benches = {
        "resize": bench_resize,
        "upscale": bench_upscale,
        "patches": bench_patches,
        "class_minute": bench_class_minute,
        "sliders": bench_sliders,
        "browser": bench_browser,
        "grading": bench_grading,
        "training": lambda: bench_training(batches_from_files),
        "latency": bench_latency,
    }
    for name in sys.argv[1:] or benches:
        benches[name]()
        sys.stdout.flush()
