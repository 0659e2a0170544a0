"""Score a finished training and put it among the shipped networks, with its card.

python tools/ship_weights.py RUN NAME

RUN is the --out of python -m srlib train, NAME like srresnet_x4. Writes data/weights/NAME/:
model.safetensors (float16; this file is scored), log.csv, record.json, README.md. If RUN started
from other weights, the record says how those were made, under which name if they have been shipped
since, and log.csv has the trainings of the same blocks one after the other. The benchmarks are
scored here, once, and decide nothing. A training on damaged images, or an adversarial one, stands
beside the network that it started from: the first on damaged benchmarks, the second with patch
distance and NIQE too.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from srlib._atomic import atomic_write
from srlib._files import file_sha256
from srlib.data import load_images, make_pairs
from srlib.degradation import degrade, jpeg
from srlib.evaluation import evaluate, upscale
from srlib.measuring import measure
from srlib.models import first_piece, load_pretrained, read_record
from srlib.perception import niqe, sliced_wasserstein
from srlib.resample import imresize

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"
QUALITIES = (95, 80, 60)
DAMAGES = {  # of networks that were trained on damaged images, too
    "JPEG of quality 30": {"quality": 30},
    "noise of 5 grey levels": {"noise": 5},
    "noise of 15 grey levels": {"noise": 15},
    "blur of 2 HR pixels": {"blur": 2},
    "blur of 1, noise of 5, JPEG of quality 60": {"blur": 1, "noise": 5, "quality": 60},
}


def score(upscaler, pairs, scale):
    """Return PSNR in dB and SSIM, the means over the images."""
    return evaluate(upscaler, pairs, scale).loc["mean"].tolist()


def naturalness(upscaler, pairs, scale):
    """Return PSNR, patch distance and NIQE, the means over the images."""
    made = [upscaler(pair.lr) for pair in pairs]
    distances = [
        sliced_wasserstein(sr, pair.hr).mean() for sr, pair in zip(made, pairs, strict=True)
    ]
    exact = dict(zip((pair.lr.tobytes() for pair in pairs), made, strict=True))
    decibels, _ = score(lambda lr: exact[lr.tobytes()], pairs, scale)
    return [decibels, float(np.mean(distances)), float(np.mean([niqe(sr) for sr in made]))]


def compare_naturalness(model, before, run, scale):
    """Return a row of scores for each set of photographs and each way to enlarge them."""
    images = {
        f"{source}/{name}": image
        for source in run["data"]
        for name, image in load_images(source).items()
    }
    sets = {"held-out photographs": make_pairs({n: images[n] for n in run["held_out"]}, scale)}
    for benchmark in ("Set5", "Set14"):
        sets[benchmark] = make_pairs(load_images(benchmark, scale), scale)
    ways = {
        "this network": lambda lr: upscale(model, lr),
        "the one before": lambda lr: upscale(before, lr),
        "bicubic": lambda lr: imresize(lr, scale),
    }
    return [
        [name, way, *naturalness(enlarge, pairs, scale)]
        for name, pairs in sets.items()
        for way, enlarge in ways.items()
    ]


def origin(folder):
    """Return the record and the log of a training, and in them what it started from."""
    (path,) = [*folder.glob("run.json"), *folder.glob("record.json")]
    record = read_record(path)
    record.pop("held_out", None)
    log = pd.read_csv(folder / "log.csv", index_col="step")
    if record["start_from"] and "start" not in record:  # else the log is chained, too
        before = folder / "start"
        if shipped := shipped_since(record.get("start_from_sha256")):
            # From here on it is known by its name, and by the file that everybody has.
            before, weights = shipped, shipped / "model.safetensors"
            record |= {"start_from": shipped.name, "start_from_sha256": file_sha256(weights)}
        elif not before.is_dir():
            sys.exit(f"{folder} does not say what made {record['start_from']}")
        record["start"], before = origin(before)
        if went_on(record):
            log = chained(before, log, steps_in_all(record["start"]))
    return record, log


def shipped_since(sha256):
    """Return the folder of the network that was shipped from these weights, rounded, or None."""
    for path in sorted(WEIGHTS.glob("*/record.json")) if sha256 else ():
        if read_record(path).get("trained_sha256") == sha256:
            return path.parent
    return None


def main(run_folder: Path, name: str):
    """Ship RUN as NAME."""
    record, log = origin(run_folder)
    if "finished" not in record:
        sys.exit(f"{run_folder} has not ended")
    scale = record["network"]["scale"]
    record = {"scale": scale, **record}
    folder = WEIGHTS / name
    folder.mkdir(parents=True, exist_ok=True)
    source, target = run_folder / "model.safetensors", folder / "model.safetensors"
    record["trained_sha256"] = file_sha256(source)  # before it is rounded
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    with atomic_write(target) as partial:
        save_file({k: v.half() for k, v in load_file(source).items()}, partial, metadata=metadata)

    model = load_pretrained(target)
    cost = measure(model, (90, 120))
    record["parameters"] = cost["parameters"]
    record["multiply_adds_per_pixel"] = round(cost["multiply_adds_per_pixel"])
    damages = DAMAGES if record.get("degrade") else {}
    ways = {"this network": model}
    if damages or record["loss"] == "adversarial":
        ways["the one before"] = load_pretrained(first_piece(record, name)["start_from"])
    ways["bicubic"] = lambda lr: imresize(lr, scale)
    scores = {}
    for benchmark in ("Set5", "Set14"):
        pairs = make_pairs(load_images(benchmark, scale), scale)
        cases = {benchmark: pairs}
        for quality in QUALITIES:
            label = f"{benchmark}, LR as JPEG of quality {quality}"
            cases[label] = [pair._replace(lr=jpeg(pair.lr, quality)) for pair in pairs]
        for damage, values in damages.items():
            cases[f"{benchmark}, {damage}"] = [
                pair._replace(lr=degrade(pair.hr, scale, **values, seed=number))
                for number, pair in enumerate(pairs)
            ]
        for label, damaged in cases.items():
            scores[label] = {way: score(network, damaged, scale) for way, network in ways.items()}
        clean = scores[benchmark]["this network"]
        record[f"{benchmark.lower()}_db"] = round(clean[0], 3)
        record[f"{benchmark.lower()}_ssim"] = round(clean[1], 4)
    if damages:
        record["damaged"] = {
            f"{label}, {way}": {"psnr_db": round(db, 3), "ssim": round(ssim, 4)}
            for label, found in scores.items()
            for way, (db, ssim) in found.items()
        }
    natural = []
    if record["loss"] == "adversarial":
        run = read_record(run_folder / "run.json")
        natural = compare_naturalness(model, ways["the one before"], run, scale)
        record["naturalness"] = {
            f"{name}, {way}": {"psnr_db": db, "patch_distance": distance, "niqe": value}
            for name, way, db, distance, value in natural
        }
    texts = {
        "log.csv": log.to_csv(float_format="%.7g", na_rep="nan"),
        "record.json": json.dumps(record, indent=2) + "\n",
        "README.md": card(name, record, scores, log, natural),
    }
    for file_name, text in texts.items():
        with atomic_write(folder / file_name) as partial:
            partial.write_text(text)
    print(f"{folder}: Set5 {record['set5_db']:.2f} dB, Set14 {record['set14_db']:.2f} dB")


def went_on(record):
    """Tell whether a training went on with the same blocks, so that logs chain.

    Behind another end, they are the same: what they have learned before, they keep.
    """
    return "start" in record and without_end(record["start"]) == without_end(record)


def without_end(record):
    """Return what a network was made with, but for the options of its end."""
    return {k: v for k, v in record["network"].items() if k not in ("hr_channels", "mid_channels")}


def steps_in_all(record):
    """Return how many steps the blocks of a network have had, those of this training the last."""
    return record["steps"] + (steps_in_all(record["start"]) if went_on(record) else 0)


def chained(before, log, steps):
    """Return two logs as one: steps and seconds of the second count on, behind so many steps."""
    log = log.set_axis(log.index + steps)  # a training that was stopped ends between two rows
    return pd.concat([before, log.assign(seconds=log["seconds"] + before["seconds"].iloc[-1])])


def commands(record):
    """Return the commands of all trainings that lead to a network, the first one first."""
    start = record.get("start")
    if not start:
        return record["command"]
    reached = f"{start['train_seconds'] / 60:.0f} minutes"
    if start["steps"] != (start["config"]["steps"] or start["steps"]):  # or it ran by the clock
        reached = f"stopped after {start['steps']:,} steps, {reached}"
    reached += f", Set5 {start['set5_db']:.2f} dB" if "set5_db" in start else ""
    then = "then from its weights (--start-from), into another folder (--out)"
    return f"{commands(start)}\n# {reached}; {then}\n{record['command']}"


_CLEAN = """It was trained on LR images that MATLAB's bicubic shrinking made, and on nothing else.
What JPEG leaves it takes for detail and sharpens: the rows with JPEG show how its lead over bicubic
goes. Blur, noise and motion are not removed."""
_FAITHFUL = """Detail that is not in the photograph is not invented:
L1 training gives the middle, the median, of what might have been there."""
_AS_IT_WAS = """One training after the other. A name behind `--start-from` is the network as it was
then: what the command before made.

"""
_PLEASING = """**It invents detail**: grass, fur,
strokes of letters, edges in tissue, as sharp as what is really there. It is for pictures that
please. It is not for evidence, diagnosis, reading or measuring; there, use the network that it
started from."""


def natural_text(record, before, natural):
    """Return what the card of an adversarial training says about naturalness, Markdown."""
    if not natural:
        return ""
    lines = "\n".join(
        f"| {name} | {way} | {db:.2f} | {distance:.3f} | {value:.2f} |"
        for name, way, db, distance, value in natural
    )
    weights = ", ".join(f"{name}={value:g}" for name, value in record["loss_weights"].items())
    return f"""
PSNR in dB as above; patch distance: the mean of `srlib.perception.sliced_wasserstein` over three
levels, in grey levels; NIQE with the course's model. Less is better for both. "The one before" is
{before}.

| photographs | enlarged by | PSNR | patch distance | NIQE |
|---|---|---|---|---|
{lines}

The loss is `srlib.training.adversarial.AdversarialLoss` with {weights}.
"""


def seen_text(record, before):
    """Return what the card says of the damage that a network was trained on, Markdown."""
    if not record.get("degrade"):
        return _CLEAN
    return f"""It was trained on LR images that were damaged at random, as cameras and the net do
(`{record["degrade"]}`,
blur in HR pixels, noise in grey levels). It takes away what JPEG, noise and a little blur left, and
pays for it on clean images, as the rows show. Motion blur, scratches and a JPEG of a JPEG it has
not seen. "The one before" is {before};
`--strength S` mixes both, from that one at 0 to this one at 1.
"""


def card(name, record, scores, log, natural=()):
    """Return the model card, Markdown; `scores` as {benchmark: {way: (PSNR in dB, SSIM)}}."""
    network = ", ".join(f"{key}={value!r}" for key, value in record["network"].items())
    before = first_piece(record, name)["start_from"]
    ways = list(next(iter(scores.values())))
    head = f"| benchmark | {' | '.join(ways)} |\n|{'---|' * (1 + len(ways))}"
    rows = "\n".join(
        f"| {label} | {' | '.join(f'{found[w][0]:.2f} / {found[w][1]:.4f}' for w in ways)} |"
        for label, found in scores.items()
    )
    validation = log["validation_db"].dropna()
    held_out = f", {validation.iloc[-1]:.2f} dB on held-out photographs" if len(validation) else ""
    shrunk = " and ".join(f"{factor:g}" for factor in record.get("shrink") or [])
    shrunk = f", and copies of them shrunk to {shrunk} of their size" if shrunk else ""
    log_of = "`log.csv`"
    if went_on(record):
        log_of += f", of the trainings at x{record['scale']} one after the other"
    return f"""# {name}

`create_model({network})`, {record["parameters"]:,} parameters,
{record["multiply_adds_per_pixel"]:,} multiply-adds a pixel of the output. Use it:
`load_pretrained("{name}")` or `python -m srlib upscale photo.jpg out.png --method {name}`.

## Scores

PSNR in dB / SSIM, on luma, {record["scale"]} pixels of border cut off, output rounded, grey images
as RGB (`python -m srlib evaluate --method {name} --scale {record["scale"]}`).

{head}
{rows}
{natural_text(record, before, natural)}
## What it is for, and not for

{seen_text(record, before)}
{_PLEASING if natural else _FAITHFUL}

## How it was made

{_AS_IT_WAS if "start" in record else ""}```sh
{commands(record)}
```

{record["steps"]:,} steps, {record["train_seconds"] / 60:.0f} minutes on
{record["hardware"]}, {record["finished"]}{held_out}.
Python {record["python"]}, torch {record["torch"]}, seed {record["seed"]}. The curves are in
{log_of}; everything else is in `record.json`.

Trained on {record["images"]:,} images: photographs of {", ".join(record["data"])}{shrunk}.
Others of the same sources were held out to validate on (`photos`: see `data/README.md`).
No image of Set5, Set14, BSD100 (the `val` folder of BSDS500) or Urban100 was trained on, and no
checkpoint was chosen by them: it is the last one.

Licence of the weights: as the code, MIT. BSDS500 is for non-commercial research and education.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
