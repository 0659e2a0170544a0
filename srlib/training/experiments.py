"""Train networks beside each other: for seconds in a notebook, and once for hours.

A notebook calls `compare_trainings` with the steps that its profile allows. Under the profile
"long" the same call takes hours, can be stopped and goes on, and leaves what it found in a folder.
``make experiments`` runs it so, makes a folder for each experiment that is to be run, and keeps the
result in ``data/experiments``, where `long_run` finds it.
"""

import copy
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from srlib import assets
from srlib._atomic import atomic_write
from srlib._files import check_file
from srlib.data import PatchSampler, load_images, make_pairs
from srlib.environment import active_profile
from srlib.evaluation import evaluate
from srlib.resample import imresize
from srlib.training import TrainConfig, train

__all__ = ["FOLDER_VARIABLE", "SmallTask", "Trainings", "compare_trainings", "long_run"]

FOLDER_VARIABLE = "SRLIB_EXPERIMENTS"
_MARKS = 20  # scores of a training
_COLUMNS = ["candidate", "seed", "step", "seconds", "loss", "psnr_db"]
_PARTS = ["candidate", "seed", "part", "psnr_db"]
_MEASURES = ["candidate", "seed", "measure", "value"]
_MAX_BYTES = 2**24  # of a file with weights
# Crops with outlines, letters and fur, of photographs that nobody trains on: top and left.
_CROPS = {"chelsea": (60, 110), "coffee": (130, 330), "camera": (60, 180)}


class SmallTask:
    """Bundled photographs to train on, and small crops of others to score: small networks' task.

    The comparisons of the notebooks share it, so that a number of one can be held against a number
    of another.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    crop_side : int
        Of the square test crops, in pixels: at least 16, 18 and 20 at x2, x3 and x4, so that the
        SSIM has its 11 pixels inside the border; at most 96.

    Attributes
    ----------
    scale : int
    train_pairs, test_pairs : list of Pair
    device : str
        "cuda" if there is one, else "cpu".
    bicubic_db : float
        The score of bicubic interpolation.

    Raises
    ------
    ValueError
        If `crop_side` is not in this range.
    """

    def __init__(self, scale: int = 4, *, crop_side: int = 96):
        least = math.ceil((11 + 2 * scale) / scale) * scale  # crops are cut to multiples of it
        if not least <= crop_side <= 96:
            raise ValueError(f"crop_side must be in {least}..96, got {crop_side!r}")
        self.scale = scale
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.train_pairs = make_pairs(load_images("bundled/train"), scale)
        crops = {
            name: assets.sample_image(name)[top : top + crop_side, left : left + crop_side]
            for name, (top, left) in _CROPS.items()
        }
        self.test_pairs = make_pairs(crops, scale)
        self.bicubic_db = self.score(lambda lr: imresize(lr, scale))

    def sampler(self, seed: int, lr_patch_size: int = 8, batch_size: int = 8) -> PatchSampler:
        """Return random patches of the training photographs, the same for the same seed.

        They lie on `device`. `lr_patch_size` is in LR pixels.
        """
        return PatchSampler(
            self.train_pairs,
            self.scale,
            lr_patch_size=lr_patch_size,
            batch_size=batch_size,
            seed=seed,
            device=self.device,
        )

    def score(self, upscaler: Callable) -> float:
        """Return the mean PSNR over the test crops in dB, by the protocol of the course.

        `upscaler` as in `srlib.evaluation.evaluate`: a network, or a function of an LR image.
        """
        table = evaluate(upscaler, self.test_pairs, self.scale, progress=False)
        return float(table.loc["mean", "psnr_db"])


@dataclass(frozen=True)
class Trainings:
    """Networks that were trained alike, each from several seeds.

    Attributes
    ----------
    name : str
        Such as "04_depth".
    curves : DataFrame
        A row for each score: candidate, seed, step, seconds of training, loss (the mean since the
        row before; NaN at step 0), psnr_db (the score).
    parts : DataFrame
        What the last scores are the means of, if `score` told: candidate, seed, part, psnr_db.
    measures : DataFrame
        What else was measured of the trained networks: candidate, seed, measure, value.
    networks : dict of (candidate, seed) to nn.Module
        The trained ones; empty for a `long_run`, see `load`.
    record : dict
        How a long run was made: command, steps, versions, machine, date. "settings" has what
        differs in a candidate's training, where something does. "start" has for each candidate its
        multiply-adds for an LR pixel, forward, with fixed layers, and the norm of the first layer's
        gradient before training, the mean over the seeds.
    """

    name: str
    curves: pd.DataFrame
    parts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_PARTS))
    measures: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_MEASURES))
    networks: dict[tuple[str, int], nn.Module] = field(default_factory=dict)
    record: dict = field(default_factory=dict)

    def scores(self, part: float = 1.0) -> pd.DataFrame:
        """Return the scores after a part of the training: a row a candidate, a column a seed.

        In dB. `part` is in 0..1; the last score before it counts.
        """
        if not 0 <= part <= 1:
            raise ValueError(f"part must be in 0..1, got {part!r}")
        rows = {}
        for (candidate, seed), curve in self.curves.groupby(["candidate", "seed"], sort=False):
            last = curve.loc[curve["step"] <= part * curve["step"].max(), "psnr_db"]
            rows.setdefault(candidate, {})[seed] = last.iloc[-1]
        return pd.DataFrame.from_dict(rows, orient="index")

    def table(self) -> pd.DataFrame:
        """Return a row a candidate: steps, and mean, lowest and highest score in dB."""
        scores = self.scores()
        steps = self.curves.groupby("candidate", sort=False)["step"].max()
        columns = {"mean (dB)": scores.mean(axis=1), "lowest": scores.min(axis=1)}
        return pd.DataFrame({"steps": steps, **columns, "highest": scores.max(axis=1)})

    def order_holds(self) -> bool:
        """Tell whether those that differ at the end were in this order after half of the training.

        Two candidates differ if the scores of their seeds do not overlap. In between the means of
        the seeds count.
        """
        half, whole = self.scores(0.5).mean(axis=1), self.scores()
        return all(
            half[lower] < half[upper]
            for lower, upper in itertools.permutations(whole.index, 2)
            if whole.loc[lower].max() < whole.loc[upper].min()
        )

    def summary(self) -> str:
        """Return a line for the reader: how long, how many seeds, and whether the order holds."""
        order = (
            "what differs was in this order at half-way"
            if self.order_holds()
            else "the order still changed"
        )
        steps, seeds = self.curves["step"].max(), self.curves["seed"].nunique()
        return f"{self.name}: {steps:,} steps, {seeds} seeds; {order}"

    def load(self, candidate: str, network: nn.Module) -> nn.Module:
        """Put the weights of a long run's candidate, from its first seed, into a network.

        Returned in evaluation mode. ValueError if none were kept, or they do not fit.
        """
        path = assets.data_file(f"experiments/{self.name}") / f"{_file_name(candidate)}.safetensors"
        if not path.is_file():
            kept = sorted(file.stem for file in path.parent.glob("*.safetensors"))
            raise ValueError(
                f"{self.name} keeps the weights of {', '.join(kept) or 'none'}, got {candidate!r}"
            )
        check_file(path, _MAX_BYTES)
        try:
            network.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise ValueError(f"the weights of {candidate!r} do not fit: {error}") from error
        return network.eval()


def compare_trainings(
    name: str,
    candidates: Mapping[str, Callable[[], nn.Module]],
    make_sampler: Callable[[int], PatchSampler],
    config: TrainConfig,
    score: Callable[[nn.Module], float | Mapping[str, float]],
    *,
    seeds: Iterable[int],
    keep: Iterable[str] = (),
    settings: Mapping[str, Mapping] | None = None,
    rates: Iterable[float] = (),
    measure: Callable[[nn.Module], Mapping[str, float]] | None = None,
) -> Trainings:
    """Train every candidate from every seed, on the same patches for the same seed.

    Each training is `srlib.training.train`, and is scored twenty times on the way. Under the
    profile "long" an experiment without a folder is not run again: what is stored is returned.

    Parameters
    ----------
    name : str
        Of the experiment: the notebook's number and a word, such as "04_depth".
    candidates : dict of str to callable
        Makes a network; torch's random numbers are seeded before. The order is kept.
    make_sampler : callable
        Takes the seed. What a sampler's `sample` returns first is given to the network: an LR
        batch, or a tuple that begins with one.
    config : TrainConfig
        With `steps`; how often it logs and validates is set here.
    score : callable
        Takes a network, returns its PSNR in dB, or one for each part, such as an image or a scale;
        then the mean of all parts counts.
    seeds : sequence of int
    keep : sequence of str
        Candidates whose weights, from the first seed, a long run keeps.
    settings : dict of str to dict, optional
        In what a candidate's training differs from the others': fields of `TrainConfig`, "loss"
        and "make_sampler". A loss that is an nn.Module is copied for each training.
    rates : sequence of float, optional
        Learning rates to try: each candidate trains at each from the first seed, and from the other
        seeds at its best. The others are only in the record, as "tried": their scores in dB.
    measure : callable, optional
        Takes a trained network, returns other numbers of it by their names.

    Raises
    ------
    ValueError
        If `config` has no steps, `keep` or `settings` name no candidate, or under the profile
        "long" the environment variable SRLIB_EXPERIMENTS names no folder.
    """
    if config.steps is None:
        raise ValueError(f"config must have steps, got seconds={config.seconds!r}")
    for what, names in (("keep", keep), ("settings", settings or {})):
        if unknown := [candidate for candidate in names if candidate not in candidates]:
            raise ValueError(
                f"{what} must name some of {', '.join(candidates)}, got {unknown[0]!r}"
            )
    seeds, rates = list(seeds), list(rates)
    folder = _long_folder(name)
    if folder and not folder.is_dir():
        return long_run(name)  # nobody asked for a new one
    samplers, losses, configs = {}, {}, {}
    for candidate in candidates:
        own = dict((settings or {}).get(candidate, {}))
        samplers[candidate] = own.pop("make_sampler", make_sampler)
        losses[candidate] = own.pop("loss", F.l1_loss)
        every = max(1, own.get("steps", config.steps) // _MARKS)
        often = {"log_every": every, "validate_every": every}
        saved = {"checkpoint_every": every if folder else None, "progress": False}
        configs[candidate] = replace(config, **often, **saved, **own)

    def mean(found):
        return sum(found.values()) / len(found) if isinstance(found, Mapping) else found

    def trained(candidate, seed, rate=None):
        """Train one; return its last score, the network, the first score and the history."""
        run = candidate if rate is None else f"{candidate}, rate {rate:g}"
        own = configs[candidate]
        torch.manual_seed(seed)
        network, sampler = candidates[candidate](), samplers[candidate](seed)
        start = score(network.to(sampler.device))
        history = train(
            network,
            sampler,
            own if rate is None else replace(own, learning_rate=rate),
            loss=copy.deepcopy(losses[candidate]),
            folder=folder / f"{_file_name(run)}_{seed}" if folder else None,
            validate=lambda network: mean(score(network)),
        )
        if not history.attrs["complete"]:
            raise KeyboardInterrupt(f"{name} was stopped at {run}, seed {seed}")
        return history["validation_db"].iloc[-1], network, start, history

    networks, rows, parts, measures, tried = {}, [], [], [], {}
    runs = [(candidate, seed) for seed in seeds for candidate in candidates]
    for candidate, seed in tqdm(runs, desc=name, unit="network"):
        if rates and candidate not in tried:
            trials = {rate: trained(candidate, seed, rate) for rate in rates}
            tried[candidate] = {rate: trial[0] for rate, trial in trials.items()}
            best = max(rates, key=tried[candidate].get)
            configs[candidate] = replace(configs[candidate], learning_rate=best)
            _, network, start, history = trials[best]
        else:
            rate = configs[candidate].learning_rate if rates else None
            _, network, start, history = trained(candidate, seed, rate)
        rows.append((candidate, seed, 0, 0.0, float("nan"), mean(start)))
        rows += [
            (candidate, seed, step, row.seconds, row.loss, row.validation_db)
            for step, row in history.dropna(subset="validation_db").iterrows()
        ]
        networks[candidate, seed] = network.eval()
        if isinstance(start, Mapping):  # one that was trained before has not been scored here
            parts += [(candidate, seed, part, value) for part, value in score(network).items()]
        if measure:
            measures += [(candidate, seed, *item) for item in measure(network).items()]
    tables = zip((rows, parts, measures), (_COLUMNS, _PARTS, _MEASURES), strict=True)
    found = Trainings(name, *(pd.DataFrame(t, columns=columns) for t, columns in tables), networks)
    if folder:
        start = {
            name: _at_the_start(make, samplers[name], seeds) for name, make in candidates.items()
        }
        kept = {name: networks[name, seeds[0]] for name in keep}
        _write(found, config, _in_words(settings or {}), folder, kept, start, tried)
    return found


def long_run(name: str) -> Trainings:
    """Read what a long run found, from ``data/experiments``; FileNotFoundError if there is none."""
    folder = assets.data_file(f"experiments/{name}")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    tables = {
        table: pd.read_csv(folder / f"{table}.csv")
        for table in ("curves", "parts", "measures")
        if (folder / f"{table}.csv").is_file()
    }
    return Trainings(name, **tables, record=record)


def _long_folder(name):
    if active_profile() != "long":
        return None
    if not (folder := os.environ.get(FOLDER_VARIABLE)):
        raise ValueError(
            f"the profile long needs a folder in {FOLDER_VARIABLE}: use make experiments"
        )
    return Path(folder) / name


def _at_the_start(make, make_sampler, seeds):
    """Count a network's cost; measure how much gradient reaches its first layer before training."""
    norms = []
    for seed in seeds:
        torch.manual_seed(seed)
        lr, hr = make_sampler(seed).sample()
        network = make().to(hr.device)
        with FlopCounterMode(display=False) as counter:
            sr = network(lr)
        F.l1_loss(sr, hr).backward()
        norms.append(next(network.parameters()).grad.norm().item())
    pixels = (lr[0] if isinstance(lr, tuple) else lr)[:, 0].numel()
    return {
        "multiply_adds_per_lr_pixel": round(counter.get_total_flops() / 2 / pixels),
        "first_layer_gradient": float(f"{sum(norms) / len(norms):.2e}"),
    }


def _in_words(settings):
    """Return what differs in each training as plain values; samplers are in the code."""
    return {
        candidate: {
            name: getattr(value, "__name__", type(value).__name__) if name == "loss" else value
            for name, value in own.items()
            if name != "make_sampler"
        }
        for candidate, own in settings.items()
    }


def _write(found, config, own, folder, kept, start, tried):
    """Leave the curves, the settings and the weights of a long run."""
    settings = {
        "steps": config.steps,
        "optimizer": config.optimizer,
        "learning_rate": (
            {name: max(scores, key=scores.get) for name, scores in tried.items()}
            or config.learning_rate
        ),
        "tried": tried,
        "schedule": config.schedule,
        "settings": own,
        "seeds": found.curves["seed"].unique().tolist(),
        "seconds": round(found.curves.groupby(["candidate", "seed"])["seconds"].max().sum()),
        "parameters": {
            candidate: sum(p.numel() for p in network.parameters())
            for (candidate, _), network in found.networks.items()
        },
        "start": start,
    }
    with atomic_write(folder / "curves.csv") as partial:
        found.curves.round({"seconds": 1, "loss": 6, "psnr_db": 3}).to_csv(partial, index=False)
    for name, table in (("parts", found.parts), ("measures", found.measures)):
        if len(table):
            with atomic_write(folder / f"{name}.csv") as partial:
                table.round({"psnr_db": 3, "value": 4}).to_csv(partial, index=False)
    for candidate, network in kept.items():
        with atomic_write(folder / f"{_file_name(candidate)}.safetensors") as partial:
            save_file({k: v.cpu().contiguous() for k, v in network.state_dict().items()}, partial)
    with atomic_write(folder / "record.json") as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _file_name(candidate: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in candidate).split())
