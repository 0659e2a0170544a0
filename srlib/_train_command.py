"""``python -m srlib train``: what a notebook trains, from the command line."""

import argparse
import dataclasses
import functools
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
from srlib._files import file_sha256
from srlib.data import PatchSampler, content_hash
from srlib.degradation import DegradedSampler, RandomDegradation, degrade_pairs
from srlib.environment import active_profile, hardware, memory_is_said
from srlib.evaluation import evaluate
from srlib.models import (
    SrResNet,
    create_model,
    load_pretrained,
    read_record,
    save_network,
    weights_file,
)
from srlib.training import TrainConfig, train
from srlib.training.adversarial import AdversarialLoss
from srlib.training.checkpoint import load_checkpoint
from srlib.training.config import LOSSES, field_type
from srlib.training.forecast import forecast, suit
from srlib.training.identity import check_same
from srlib.training.recipes import (
    PROFILES,
    distill_targets,
    network_options,
    photographs,
    sampler_options,
)
from srlib.training.state import join_processes

__all__ = ["add_parser"]

_SHARE = 0.5  # of a teacher
_LIMIT_MINUTES = 120.0  # of a length that the profile chose
_WEIGHTS = ("pixel_weight", "coarse_weight", "feature_weight", "adversarial_weight")

_DESCRIPTION = """
Train a network on photographs; call it again with the same OUT to go on. OUT gets checkpoints,
log.csv, run.json (command, data, versions, time) and, at the end, model.safetensors, which
`python -m srlib upscale --method` takes; with --start-from also a folder start, which tells how
those weights were made. What is not given comes from the profile, as it suits the GPU; "none"
stands for no value. Before the first step it says what was chosen and how long it will take.
Several processes, which share each step: torchrun --nproc-per-node 2 -m srlib train ...
"""


def add_parser(commands) -> None:
    """Add ``train`` to the commands of ``python -m srlib``."""
    parser = commands.add_parser("train", help="train a network", description=_DESCRIPTION)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for checkpoints, log and weights")
    text = "where defaults come from (default: SRLIB_PROFILE, else gpu if there is one, else cpu)"
    add("--profile", choices=PROFILES, help=text)
    add("--scale", type=int, default=4, help="2, 3 or 4 (default: 4)")
    add("--network", default="SrResNet", help="see srlib.models.create_model (default: SrResNet)")
    for name, parameter in inspect.signature(SrResNet).parameters.items():
        if name != "scale":
            value, optional = parameter.default, parameter.default is None
            kind = int if optional else type(value)
            _option(add, name, kind, "of SrResNet", value, optional=optional)
    add("--start-from", metavar="NAME", help="start from weights that fit, of a network or file")
    add("--teacher", metavar="NAME", help="learn also from the output of this network or file")
    text = "0..1: part of the teacher's output in the target, the rest is the original"
    add("--teacher-share", type=float, help=f"{text} (default: {_SHARE})")
    _option(add, "data", str, "images: folders, datasets, 'bundled/train'", nargs="+")
    text = "of every so many photographs one is kept for validation"
    _option(add, "holdout", int, text, optional=True)
    _option(add, "shrink", float, "add copies of the photographs shrunk so", [], nargs="*")
    _option(add, "permute_colours", bool, "put red, green, blue in a random order", False)
    text = "take as many patches from each image, not more from large ones"
    _option(add, "equal_images", bool, text, False)
    text = "degrade the LR images at random; NAME is blur (sigma in HR pixels), noise (sigma in "
    text += "grey levels) or quality (of JPEG), left_out=0.3 how often each is left out; what is "
    text += "not given is as in srlib.degradation.RandomDegradation"
    add("--degrade", nargs="*", type=_read_range, metavar="NAME=LOW-HIGH", help=text)
    _option(add, "lr_patch_size", int, "side of a patch, in LR pixels")
    _option(add, "batch_size", int, "patches per batch and process")
    add("--seed", type=int, default=0, help="of weights and patches (default: 0)")
    add("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    losses = [*LOSSES, "adversarial"]
    add("--loss", choices=losses, default="l1", help="what is minimised (default: l1)")
    for name in _WEIGHTS:
        value = inspect.signature(AdversarialLoss).parameters[name].default
        text = f"of the adversarial loss (default: {value:g})"
        add("--" + name.replace("_", "-"), type=float, default=argparse.SUPPRESS, help=text)
    text = "a training that would take longer is not started without --yes; one that gets its "
    text += "steps from the profile, and would, is cut down to a tenth of them at most (default: "
    add(
        "--limit-minutes",
        type=_reader(float, True),
        default=argparse.SUPPRESS,
        help=f"{text}{_LIMIT_MINUTES:g}, and none where --steps or --seconds is given)",
    )
    add("--yes", action="store_true", help="train in full, however long it takes")
    for field in dataclasses.fields(TrainConfig):
        kind, optional = field_type(field)
        text = field.metadata["help"]
        _option(add, field.name, kind, text, field.default, optional=optional)
    parser.set_defaults(run=_train)


def _train(options) -> None:
    # parse
    given = vars(options)
    name = options.profile or active_profile()
    if name not in PROFILES:
        raise ValueError(f"SRLIB_PROFILE={name} is for notebooks: give --profile")
    profile = PROFILES[name]
    if own_length := "steps" in given or "seconds" in given:  # either may replace the other
        profile = {name: v for name, v in profile.items() if name not in ("steps", "seconds")}
    values = {**profile, **given}
    limit = given.get("limit_minutes", None if own_length else _LIMIT_MINUTES)
    TrainConfig.from_recipe(values)
    source = values if options.network == "SrResNet" else given  # the profiles are for SrResNet
    made_by = {"name": options.network, **network_options(source)}

    share = _SHARE if options.teacher_share is None else options.teacher_share
    if not 0 <= share <= 1:
        raise ValueError(f"--teacher-share must be in 0..1, got {share!r}")
    if options.teacher_share is not None and not options.teacher:
        raise ValueError("--teacher-share needs --teacher")
    loss = _loss(options.loss, given, options.seed)

    # make the network and the data
    device = _device(options.device)
    processes = join_processes(device)
    torch.manual_seed(options.seed)
    with memory_is_said("the network needs more memory than there is; choose a smaller one"):
        model = create_model(**made_by)
    path = options.out / "run.json"
    before = read_record(path) if path.exists() else {}
    start_sha256 = None
    if options.start_from:
        if "finished" not in before and load_checkpoint(options.out / "checkpoints"):
            start_sha256 = before.get("start_from_sha256")  # the checkpoint has its weights by now
        if not start_sha256:
            _take_over(model, options.start_from)
            start_sha256 = _sha256(options.start_from)
    suited = {k: v for k, v in before.get("suited", {}).items() if k not in given}
    values |= suited  # what was chosen for the GPU that it began on
    recipe, values = values, values.copy()
    values, reasons = suit(values, model, device, fixed={*given, *suited})
    suited |= {k: values[k] for k in ("batch_size",) if values[k] != recipe[k]}
    degradation = None if options.degrade is None else RandomDegradation(**dict(options.degrade))
    window = values["lr_patch_size"]
    if degradation:
        window = DegradedSampler.window(window, degradation.blur[1], options.scale)
    training, held_out = photographs(values | {"lr_patch_size": window}, options.scale)
    if degradation:
        held_out = degrade_pairs(held_out, options.scale, degradation)
    if given.get("validate_every") and not held_out:
        raise ValueError("--validate-every needs photographs to validate on: give --holdout too")
    originals = None
    if options.teacher:  # what it makes differs a little from machine to machine
        originals = content_hash(training)
        shown = processes.is_main_process and TrainConfig.from_recipe(values).progress
        training = distill_targets(training, options.teacher, share, device, progress=shown)

    # record, and check it against the one that is there
    launcher = ["python"]
    if processes.num_processes > 1:
        launcher = ["torchrun", "--nproc-per-node", str(processes.num_processes)]
    record = {
        "command": shlex.join([*launcher, "-m", "srlib", *sys.argv[1:]]),
        "network": made_by,
        "config": dataclasses.asdict(TrainConfig.from_recipe(values)),
        "suited": suited,
        "data": values["data"],
        "images": len(training),
        "held_out": [pair.name for pair in held_out],
        "held_out_pictures": content_hash(held_out),
        "shrink": values.get("shrink", []),
        "permute_colours": values.get("permute_colours", False),
        "equal_images": values.get("equal_images", False),
        "degrade": degradation and str(degradation),
        "lr_patch_size": values["lr_patch_size"],
        "batch_size": values["batch_size"],
        "processes": processes.num_processes,
        "loss": options.loss,
        "loss_weights": {name: vars(loss)[name] for name in _WEIGHTS if name in vars(loss)},
        "seed": options.seed,
        "start_from": options.start_from,
        "start_from_sha256": start_sha256,
        "teacher": options.teacher and [options.teacher, share],
        "teacher_sha256": _sha256(options.teacher),
        "device": str(device),
        "hardware": hardware()["CPU" if device.type == "cpu" else "GPU"],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    run = _Run(options.out, record)
    make_sampler = PatchSampler
    if degradation:
        make_sampler = functools.partial(DegradedSampler, degradation=degradation)
    sampler = make_sampler(
        training,
        options.scale,
        **sampler_options(values),
        seed=options.seed,
        device=device,
    )
    sampler.content = originals or sampler.content

    # say what was chosen and how long it takes, before the first step
    if processes.is_main_process:
        print("\n".join([f"{record['hardware']}", *(f"- {reason}" for reason in reasons)]))
    if processes.num_processes == 1:
        changeable = not (own_length or before or options.yes)
        config = _in_time(options, model, sampler, values, loss, limit, changeable)
        if config.steps != values.get("steps"):
            suited["steps"] = config.steps
        record["config"] = dataclasses.asdict(config)
    else:
        config = TrainConfig.from_recipe(values)

    # run
    def validate(model):
        table = evaluate(model, held_out, options.scale, progress=False)
        return table.loc["mean", "psnr_db"]

    history = train(
        model,
        sampler,
        config,
        loss=loss,
        folder=options.out,
        validate=validate if held_out else None,
        on_step=run.start if processes.is_main_process else None,
    )
    if not history.attrs["complete"]:
        raise KeyboardInterrupt
    if processes.is_main_process:
        run.finish(model, history)


def _loss(name, given, seed):
    """Return a loss by its name; ValueError where weights are given to one that has none."""
    weights = {weight: given[weight] for weight in _WEIGHTS if weight in given}
    if name == "adversarial":
        return AdversarialLoss(**weights, seed=seed)
    if weights:
        option = "--" + next(iter(weights)).replace("_", "-")
        raise ValueError(f"{option} is for --loss adversarial, got --loss {name}")
    return LOSSES[name]


def _in_time(options, model, sampler, values, loss, limit, changeable):
    """Say how long a training takes; return its settings, with fewer steps if it were too long.

    `limit` is in minutes, or None. ValueError if the training would pass it all the same.
    """
    config = TrainConfig.from_recipe(values)
    saved = load_checkpoint(options.out / "checkpoints")
    done, spent = (saved.step, float(saved.state.get("seconds", 0))) if saved else (0, 0.0)
    if (done >= config.steps) if config.steps else (spent >= config.seconds):
        return config
    found = forecast(model, sampler, config, loss=loss)
    uncompiled = ", uncompiled" if config.compile != "no" else ""
    print(
        f"{found.parameters:,} parameters; a step: {_metric(found.operations)}FLOP, measured "
        f"{_short(found.seconds)} s{uncompiled}"
    )
    seconds = config.seconds - spent if config.seconds else (config.steps - done) * found.seconds
    enough = limit is None or options.yes or seconds <= 60 * limit
    if not enough and changeable and config.steps:
        fitting = int(60 * limit / found.seconds)
        fitting -= fitting % 10 ** max(0, len(str(fitting)) - 2)  # two digits
        if fitting >= config.steps / 10:
            print(
                f"- {fitting:,} steps: all {config.steps:,} would take {_duration(seconds)}, more "
                f"than {limit:g} minutes (--yes takes them all, --limit-minutes another limit)"
            )
            config, seconds = dataclasses.replace(config, steps=fitting), fitting * found.seconds
            enough = True
    if config.seconds:
        text = f"{_duration(seconds)}, about {done + int(seconds / found.seconds):,} steps"
    else:
        text = f"{config.steps - done:,} steps, about {_duration(seconds)}"
    if done:
        text = f"step {done:,} is done; to go: {text}"
    if not enough:
        raise ValueError(
            f"{text}, which is more than --limit-minutes {limit:g}. Nothing was trained. Add --yes "
            "to train all the same, or choose --seconds, --steps or a smaller --profile"
        )
    end = time.strftime("%a %H:%M", time.localtime(time.time() + seconds))
    besides = "validation" if config.compile == "no" else "validation and compiling"
    print(f"{text}; ends {end}, without {besides}", flush=True)
    return config


def _duration(seconds):
    """Write a time in the unit that suits it."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} seconds"


def _short(number):
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _metric(number):
    """Write a number with T, G or M behind it."""
    unit, size = next(pair for pair in (("T", 1e12), ("G", 1e9), ("M", 0)) if number >= pair[1] / 5)
    return f"{number / (size or 1e6):.3g} {unit}"


class _Run:
    """The folder of a training: run.json, which must fit the one that is there, and the weights."""

    def __init__(self, folder, record):
        self.folder, self.record, self.started = folder, record, False
        self.path, self.weights = folder / "run.json", folder / "model.safetensors"
        self.before = read_record(self.path) if self.path.exists() else {}
        if self.before:
            same = "network data images held_out shrink degrade start_from teacher seed".split()
            # An older record may lack some; that is the same as empty.
            same = [name for name in same if name in self.before or record[name]]
            hashes = "held_out_pictures start_from_sha256 teacher_sha256".split()
            same += [name for name in hashes if name in self.before]
            check_same(
                folder, *({name: r.get(name) for name in same} for r in (self.before, record))
            )

    def start(self, step, model):
        """Write the record, after the first step: a training that is refused writes nothing."""
        if self.started:
            return
        if (read_record(self.path) if self.path.exists() else {}) != self.before:
            raise ValueError(f"{self.path} was written meanwhile by another training: call again")
        self.started, source = True, self.record["start_from"]
        if source and not self.before:
            _copy_origin(weights_file(source), self.folder / "start")
        self.write()

    def finish(self, model, history):
        """Write the weights, and complete the record."""
        if not self.started and "finished" in self.before and self.weights.is_file():
            print(f"{self.weights}: finished before, on {self.before['finished']}")
            return
        try:
            save_network(self.weights, model.cpu(), **self.record["network"])
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"{self.weights} cannot be written: {error}; make room, call again"
            ) from error
        self.record["train_seconds"] = round(float(history["seconds"].iloc[-1]), 1)
        self.record["steps"] = int(history.index[-1])
        self.record["finished"] = time.strftime("%Y-%m-%d", time.gmtime())
        self.write()
        print(f"{self.weights}: written")

    def write(self):
        with atomic_write(self.path) as partial:
            partial.write_text(json.dumps(self.record, indent=2) + "\n")


def _sha256(network):
    """Return the SHA-256 of a network's file, which another may have replaced; None for None."""
    return None if network is None else file_sha256(weights_file(network))


def _device(wanted):
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU here")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return PartialState().device


def _take_over(model, source):
    """Copy weights in the order of the layers, up to the first that does not fit.

    A layer behind it would get features that it was not trained on, and stays as initialised.
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
    """Copy what tells how weights were made: the files beside them may be replaced later."""
    for name in ("run.json", "record.json", "log.csv"):
        if (source := weights.with_name(name)).is_file():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / name)
    if (earlier := weights.with_name("start")).is_dir():
        shutil.copytree(earlier, folder / "start", dirs_exist_ok=True)


def _option(add, name, kind, text, default=None, *, optional=False, **more):
    """Add an option that is absent where it is not given, and shows each profile's default."""
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


def _read_range(text):
    """Read NAME=LOW-HIGH, or left_out=NUMBER."""
    number = r"(\d+(?:\.\d+)?)"
    if found := re.fullmatch(rf"(blur|noise|quality)={number}-{number}", text):
        name, low, high = found.groups()
        return name, (float(low), float(high))
    if found := re.fullmatch(f"left_out={number}", text):
        return "left_out", float(found[1])
    expected = "blur, noise or quality with a range, such as noise=0-15, or left_out with a number"
    raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}")


def _show(value):
    return " ".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _reader(kind, optional):
    def read(text):
        try:
            if optional and text.lower() == "none":
                return None
            return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError):
            expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}") from None

    return read
