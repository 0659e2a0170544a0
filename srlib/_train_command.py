"""``python -m srlib train``: what a notebook trains, from the command line."""

import argparse
import dataclasses
import inspect
import json
import platform
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError

from srlib._atomic import atomic_write
from srlib.data import PatchSampler
from srlib.environment import active_profile, describe
from srlib.evaluation import evaluate
from srlib.models import SrResNet, create_model, load_pretrained, save_network, weights_file
from srlib.training import TrainConfig, train
from srlib.training.config import LOSSES
from srlib.training.recipes import PROFILES, photographs, taught
from srlib.training.state import join_processes

__all__ = ["add_parser"]


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
    model.safetensors, which `python -m srlib upscale --method` takes; with --start-from a folder
    start, too, which tells how those weights were made. What is not given comes from the profile;
    "none" stands for no value. Several processes, which share each step:
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
        training = taught(training, options.teacher, options.teacher_share, device)
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
            if options.start_from and not before:
                _copy_origin(weights_file(options.start_from), options.out / "start")
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


def _copy_origin(weights, folder):
    """Copy what tells how weights were made, where it is there: the files may be replaced later."""
    for name in ("run.json", "record.json", "log.csv"):
        if (source := weights.with_name(name)).is_file():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / name)
    if (earlier := weights.with_name("start")).is_dir():
        shutil.copytree(earlier, folder / "start", dirs_exist_ok=True)


def _write(path, run):
    with atomic_write(path) as partial:
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
