"""What each profile trains, and on which photographs."""

import inspect
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from srlib import assets
from srlib.data import Pair, add_shrunk, load_images, make_pairs
from srlib.evaluation import upscale
from srlib.models import SrResNet, load_pretrained

__all__ = ["PROFILES", "distill_targets", "network_options", "photographs", "sampler_options"]

# What each profile trains by default; "colab" is a recipe only, no profile of the notebooks.
PROFILES = {
    "ci": {
        "data": ["bundled/train"],
        "channels": 8,
        "num_blocks": 1,
        "hr_channels": 4,
        "steps": 20,
        "lr_patch_size": 12,
        "batch_size": 4,
    },
    "cpu": {  # the class minute
        "data": ["bundled/train"],
        "shrink": [0.9, 0.8, 0.7, 0.6, 0.5],
        "permute_colours": True,
        "equal_images": True,  # a third of the pixels are one picture of a retina
        "channels": 32,
        "num_blocks": 6,
        "hr_channels": 0,
        "seconds": 60.0,
        "optimizer": "muon",
        "learning_rate": 5e-3,
        "clip_norm": 0.02,
        "lr_patch_size": 16,
        "batch_size": 16,
        "mixed_precision": "auto",
        "channels_last": True,
        "log_every": 10,
    },
    "colab": {  # a quarter of an hour on a T4; see docs/gpu_record.md
        "data": ["BSDS500/train", "BSDS500/test"],
        "shrink": [0.8, 0.6],
        "channels": 32,
        "num_blocks": 8,
        "hr_channels": 16,
        "seconds": 780.0,
        "optimizer": "muon",
        "learning_rate": 2e-3,
        "clip_norm": 0.02,
        "lr_patch_size": 24,
        "batch_size": 16,
        "mixed_precision": "auto",
        "channels_last": True,
        "log_every": 100,
        "validate_every": 10_000,
        "checkpoint_every": 5_000,
        "holdout": 20,
    },
    "gpu": {
        "data": ["BSDS500/train", "BSDS500/test"],
        "shrink": [0.9, 0.8, 0.7, 0.6, 0.5],
        "permute_colours": True,
        "channels": 64,
        "num_blocks": 18,
        "hr_channels": 32,
        "steps": 500_000,
        "learning_rate": 1e-3,
        "clip_norm": 0.02,
        "lr_patch_size": 40,
        "batch_size": 32,
        "mixed_precision": "auto",
        "channels_last": True,
        "compile": "default",
        "ema_decay": 0.999,
        "log_every": 100,
        "validate_every": 10_000,
        "checkpoint_every": 5_000,
        "holdout": 20,
    },
}


def photographs(recipe: dict, scale: int) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to train on and those to validate on; no photograph is in both.

    `recipe` is like an entry of `PROFILES`: "data", and optionally "holdout", "shrink" and
    "lr_patch_size". Shrunk copies are trained on, not validated on. ValueError if a source is a
    benchmark, or "holdout" does not fit the number of photographs.
    """
    images = {}
    for source in recipe["data"]:
        _refuse_benchmark(source)
        images |= {f"{source}/{name}": image for name, image in load_images(source).items()}
    pairs = make_pairs(images, scale)
    every = recipe.get("holdout") or 0
    if every and not 2 <= every <= len(pairs):
        raise ValueError(
            f"--holdout must be from 2 to {len(pairs)}, the number of photographs, or none, "
            f"got {every}"
        )
    held_out = pairs[every - 1 :: every] if every else []
    seen = {pair.hr.tobytes() for pair in held_out}  # two sources may hold the same photograph
    training = {pair.name: pair.hr for pair in pairs if pair.hr.tobytes() not in seen}
    smallest = scale * recipe.get("lr_patch_size", 1)
    return make_pairs(add_shrunk(training, recipe.get("shrink", ()), smallest), scale), held_out


def network_options(recipe: dict) -> dict:
    """Return what of a recipe `srlib.models.SrResNet` takes as keywords."""
    return {name: recipe[name] for name in inspect.signature(SrResNet).parameters if name in recipe}


def sampler_options(recipe: dict) -> dict:
    """Return what of a recipe `srlib.data.PatchSampler` takes as keywords."""
    known = ("lr_patch_size", "batch_size", "permute_colours", "equal_images")
    return {name: recipe[name] for name in known if name in recipe}


def _refuse_benchmark(source: str) -> None:
    is_folder = Path(source).is_dir()
    parts = Path(source).resolve().parts if is_folder else tuple(source.split("/"))
    benchmarks = {name for name, info in assets.datasets().items() if info.use == "benchmark"}
    # BSD100 is the folder val of BSDS500.
    if benchmarks & set(parts if is_folder else parts[:1]) or parts[-2:] == ("BSDS500", "val"):
        hint = "; a folder of other pictures needs another name" if is_folder else ""
        raise ValueError(f"--data: {source} is a benchmark, to score with, not to train on{hint}")


def distill_targets(
    pairs: list[Pair], name: str, share: float, device: torch.device, *, progress: bool = True
) -> list[Pair]:
    """Return pairs whose HR images are mixed with what a teacher makes of each LR image.

    `name` is the teacher's, as `srlib.models.load_pretrained` takes it; `share` is its part in the
    mixture, 0..1. ValueError if that is out of range or the teacher has another scale.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share!r}")
    teacher = load_pretrained(name).to(device)
    if teacher.scale != (scale := pairs[0].hr.shape[0] // pairs[0].lr.shape[0]):
        raise ValueError(f"--teacher: {name} enlarges by {teacher.scale}, not by {scale}")
    result = []
    for pair in tqdm(pairs, desc="teacher", unit="image", disable=not progress):
        picture = upscale(teacher, pair.lr, tile=512)
        mixed = share * picture.astype(np.float32) + (1 - share) * pair.hr
        result.append(Pair(pair.name, pair.lr, (mixed + 0.5).astype(np.uint8)))
    return result
