"""``python -m srlib train``: what a notebook trains, from the command line."""

import argparse
import dataclasses
import inspect
import json
import platform
import re
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from safetensors import SafetensorError
from tqdm.auto import tqdm

from srlib import assets
from srlib.data import Pair, PatchSampler, add_shrunk, load_images, make_pairs
from srlib.environment import active_profile, describe
from srlib.evaluation import evaluate, upscale
from srlib.models import SrResNet, create_model, load_pretrained, save_network
from srlib.train_config import LOSSES
from srlib.training import TrainConfig, train
from srlib.training_state import join_processes
from srlib.whole_file import whole_file

__all__ = ["PROFILES", "add_parser", "photographs"]

# What each profile trains where the command line does not say otherwise.
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
        "channels": 32,
        "num_blocks": 4,
        "hr_channels": 16,
        "seconds": 60.0,
        "learning_rate": 3e-3,
        "lr_patch_size": 16,
        "batch_size": 16,
        "mixed_precision": "auto",
        "channels_last": True,
        "log_every": 10,
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


def add_parser(commands) -> None:
    """Add ``train`` to the commands of ``python -m srlib``."""
    parser = commands.add_parser("train", help="train a network", description=_train.__doc__)
    add = parser.add_argument
    profile = active_profile()
    add("--out", type=Path, required=True, help="folder for checkpoints, log and weights")
    add(
        "--profile",
        choices=PROFILES,
        default=profile,
        help=f"where defaults come from (default: {profile})",
    )
    add("--scale", type=int, default=4, help="2, 3 or 4 (default: 4)")
    add("--network", default="SrResNet", help="see srlib.models.create_model (default: SrResNet)")
    for name, parameter in inspect.signature(SrResNet).parameters.items():
        if name != "scale":
            kind = int if parameter.default is None else type(parameter.default)
            optional = parameter.default is None
            _option(add, name, kind, "of SrResNet", parameter.default, optional=optional)
    add("--start-from", metavar="NAME", help="take weights that fit from this network or file")
    add("--teacher", metavar="NAME", help="learn from what this network or file makes, too")
    add(
        "--teacher-share",
        type=float,
        default=0.5,
        help="0..1: what is learned is so much the teacher's picture, the rest the original "
        "(default: 0.5)",
    )
    _option(add, "data", str, "images: folders, datasets, 'bundled/train'", nargs="+")
    _option(
        add,
        "holdout",
        int,
        "one photograph in so many is validated on, not trained on",
        optional=True,
    )
    _option(add, "shrink", float, "add copies of the photographs shrunk so", [], nargs="*")
    _option(add, "permute_colours", bool, "put red, green, blue in a random order", False)
    _option(add, "lr_patch_size", int, "side of a patch, in LR pixels")
    _option(add, "batch_size", int, "patches a batch and process")
    add("--seed", type=int, default=0, help="of weights and patches (default: 0)")
    add("--device", choices=("cpu", "cuda"), help="by default cuda where it is there")
    add("--loss", choices=LOSSES, default="l1", help="what is minimised (default: l1)")
    texts = dict(re.findall(r"^    (\w+) : .*\n((?:        .*\n)+)", TrainConfig.__doc__, re.M))
    for field in dataclasses.fields(TrainConfig):
        kind = next(t for t in (bool, int, float, str) if t.__name__ in str(field.type))
        text, optional = " ".join(texts[field.name].split()), "None" in str(field.type)
        _option(add, field.name, kind, text, field.default, optional=optional)
    parser.set_defaults(run=_train)


def _train(options) -> None:
    """Train a network on photographs; call it again with the same OUT to go on.

    OUT gets checkpoints, log.csv, run.json (command, data, versions, time) and, at the end,
    model.safetensors, which `python -m srlib upscale --method` takes. What is not given comes
    from the profile; "none" stands for no value. Several processes, which share each step:
    torchrun --nproc-per-node 2 -m srlib train ...
    """
    given = vars(options)
    profile = PROFILES[options.profile]
    if "steps" in given or "seconds" in given:  # either may replace the other
        profile = {name: v for name, v in profile.items() if name not in ("steps", "seconds")}
    values = {**profile, **given}
    config = TrainConfig.from_recipe(values)
    source = values if options.network == "SrResNet" else given  # the profiles are for SrResNet
    made_by = {
        name: source[name] for name in inspect.signature(SrResNet).parameters if name in source
    }
    made_by = {"name": options.network, **made_by}
    device = _device(options.device)
    state = join_processes(device)
    torch.manual_seed(options.seed)
    model = create_model(**made_by)
    if options.start_from:
        _take_over(model, options.start_from)
    training, held_out = photographs(values, options.scale)
    if options.teacher:
        training = _taught(training, options.teacher, options.teacher_share, options.device)
    if "validate_every" in given and not held_out:
        raise ValueError("--validate-every needs photographs to validate on: give --holdout too")
    launcher = ["python"]
    if state.num_processes > 1:
        launcher = ["torchrun", "--nproc-per-node", str(state.num_processes)]
    run = {
        "command": shlex.join([*launcher, "-m", "srlib", *sys.argv[1:]]),
        "network": made_by,
        "config": dataclasses.asdict(config),
        "data": values["data"],
        "images": len(training),
        "held_out": [pair.name for pair in held_out],
        "shrink": values.get("shrink", []),
        "permute_colours": values.get("permute_colours", False),
        "lr_patch_size": values["lr_patch_size"],
        "batch_size": values["batch_size"],
        "processes": state.num_processes,
        "loss": options.loss,
        "seed": options.seed,
        "start_from": options.start_from,
        "teacher": options.teacher and [options.teacher, options.teacher_share],
        "device": str(device),
        "hardware": describe()["CPU" if device.type == "cpu" else "GPU"],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    record, weights = options.out / "run.json", options.out / "model.safetensors"
    before = json.loads(record.read_text()) if record.is_file() else {}
    same = ("network", "data", "images", "held_out", "shrink", "start_from", "teacher", "seed")
    for name in same:
        if before and (before.get(name) or None) != (run[name] or None):
            raise ValueError(
                f"{options.out} holds another training ({name}: {before.get(name)!r} there, "
                f"{run[name]!r} now); choose another --out, or the same values to go on"
            )
    sampler = PatchSampler(
        training,
        options.scale,
        lr_patch_size=values["lr_patch_size"],
        batch_size=values["batch_size"],
        permute_colours=run["permute_colours"],
        seed=options.seed,
        device=device,
    )
    trained = []  # whether there was anything left to do

    def validate(model):
        table = evaluate(model, held_out, options.scale, progress=False)
        return table.loc["mean", "psnr_db"]

    def on_step(step, model):
        if not trained and state.is_main_process:
            _write(record, run)
        trained[:] = [True]

    history = train(
        model,
        sampler,
        config,
        loss=LOSSES[options.loss],
        folder=options.out,
        validate=validate if held_out else None,
        on_step=on_step,
    )
    if not history.attrs["complete"]:
        raise KeyboardInterrupt
    if not state.is_main_process:
        return
    if not trained and "finished" in before and weights.is_file():
        print(f"{weights}: finished before, on {before['finished']}")
        return
    try:
        save_network(weights, model.cpu(), **made_by)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{weights} cannot be written: {error}; make room, call again") from error
    run["train_seconds"] = round(float(history["seconds"].iloc[-1]), 1)
    run["steps"] = int(history.index[-1])
    run["finished"] = time.strftime("%Y-%m-%d", time.gmtime())
    _write(record, run)
    print(f"{weights}: written")


def photographs(recipe: dict, scale: int) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to train on and those to validate on, without any photograph in both.

    Parameters
    ----------
    recipe : dict
        Like an entry of `PROFILES`: "data", and where they are there "holdout", "shrink" and
        "lr_patch_size". Shrunk copies are trained on, not validated on.
    scale : int
        2, 3 or 4.

    Raises
    ------
    ValueError
        If a source is a benchmark, or "holdout" does not fit the number of photographs.
    """
    images = {}
    for source in recipe["data"]:
        dataset = assets.datasets().get(source.split("/")[0])
        if dataset and dataset.use == "benchmark" and not Path(source).is_dir():
            raise ValueError(f"--data: {source} is a benchmark, to score with, not to train on")
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


def _taught(pairs, name, share, device):
    """Mix what a teacher makes of each LR image into its original."""
    if not 0 <= share <= 1:
        raise ValueError(f"--teacher-share must be in 0..1, got {share!r}")
    teacher = load_pretrained(name).to(_device(device))
    if teacher.scale != (scale := pairs[0].hr.shape[0] // pairs[0].lr.shape[0]):
        raise ValueError(f"--teacher: {name} enlarges by {teacher.scale}, not by {scale}")
    taught = []
    for pair in tqdm(pairs, desc="teacher", unit="image"):
        picture = upscale(teacher, pair.lr, tile=512)
        mixed = share * picture.astype(np.float32) + (1 - share) * pair.hr
        taught.append(Pair(pair.name, pair.lr, (mixed + 0.5).astype(np.uint8)))
    return taught


def _device(wanted):
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU here")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return PartialState().device


def _take_over(model, source):
    """Copy weights in the order of the layers, up to the first that does not fit.

    What comes behind it would get features that it does not know, and stays as initialised.
    """
    weights, own = load_pretrained(source).state_dict(), model.state_dict()
    fitting = {}
    for name, value in own.items():
        if name not in weights or weights[name].shape != value.shape:
            break
        fitting[name] = weights[name]
    if not fitting:
        raise ValueError(f"--start-from: no weight of {source} fits into this network")
    model.load_state_dict(fitting, strict=False)
    if PartialState().is_main_process:
        print(f"{len(fitting)} of {len(own)} tensors come from {source}")


def _write(path, run):
    with whole_file(path) as partial:
        partial.write_text(json.dumps(run, indent=2) + "\n")


def _option(add, name, kind, text, default=None, *, optional=False, **more):
    defaults = {profile: values.get(name, default) for profile, values in PROFILES.items()}
    shown = {profile: _show(value) for profile, value in defaults.items()}
    if len(set(shown.values())) == 1:
        shown = {"default": next(iter(shown.values()))}
    listed = ", ".join(f"{profile}: {value}" for profile, value in shown.items())
    add(
        "--" + name.replace("_", "-"),
        type=_reader(kind, optional),
        help=f"{text} ({listed})".replace("%", "%%"),
        metavar=None if more else name.upper(),
        default=argparse.SUPPRESS,
        **more,
    )


def _show(value):
    return " ".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _reader(kind, optional):
    def read(text):
        if optional and text.lower() == "none":
            return None
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)

    def checked(text):
        try:
            return read(text)
        except (KeyError, ValueError):
            expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}") from None

    return checked
