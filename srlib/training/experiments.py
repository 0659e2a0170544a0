"""Train networks beside each other: for seconds in a notebook, and once for hours.

A notebook calls `compare_trainings` with the steps that its profile allows. Under the profile
"long" the same call takes hours, can be stopped and goes on, and leaves what it found in a folder.
``make experiments`` runs it so and keeps the result in ``data/experiments``, where `long_run` finds
it.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

from srlib import assets
from srlib._atomic import atomic_write
from srlib._files import check_file
from srlib.data import PatchSampler
from srlib.environment import active_profile
from srlib.training import TrainConfig, train

__all__ = ["FOLDER_VARIABLE", "Trainings", "compare_trainings", "long_run"]

FOLDER_VARIABLE = "SRLIB_EXPERIMENTS"
_MARKS = 20  # scores of a training
_COLUMNS = ["candidate", "seed", "step", "seconds", "loss", "psnr_db"]
_MAX_BYTES = 2**24  # of a file with weights


@dataclass(frozen=True)
class Trainings:
    """Networks that were trained alike, each from several seeds.

    Attributes
    ----------
    name : str
        Such as "04_depth".
    curves : DataFrame
        A row for each score: candidate, seed, step, seconds of training, loss (the mean since the
        row before; NaN at step 0), psnr_db.
    networks : dict of (candidate, seed) to nn.Module
        The trained ones; empty for a `long_run`, see `load`.
    record : dict
        How a long run was made: command, steps, versions, machine, date.
    """

    name: str
    curves: pd.DataFrame
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
        """Tell whether the candidates' means are in the same order after half of the training."""
        half, whole = (self.scores(part).mean(axis=1) for part in (0.5, 1.0))
        return list(half.sort_values().index) == list(whole.sort_values().index)

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
    score: Callable[[nn.Module], float],
    *,
    seeds: Iterable[int],
    keep: Iterable[str] = (),
) -> Trainings:
    """Train every candidate from every seed, on the same patches for the same seed.

    Each training is `srlib.training.train`, and is scored twenty times on the way.

    Parameters
    ----------
    name : str
        Of the experiment: the notebook's number and a word, such as "04_depth".
    candidates : dict of str to callable
        Makes a network; torch's random numbers are seeded before. The order is kept.
    make_sampler : callable
        Takes the seed.
    config : TrainConfig
        With `steps`; how often it logs and validates is set here.
    score : callable
        Takes a network, returns its PSNR in dB.
    seeds : sequence of int
    keep : sequence of str
        Candidates whose weights, from the first seed, a long run keeps.

    Raises
    ------
    ValueError
        If `config` has no steps, `keep` names no candidate, or under the profile "long" the
        environment variable SRLIB_EXPERIMENTS names no folder.
    """
    if config.steps is None:
        raise ValueError(f"config must have steps, got seconds={config.seconds!r}")
    if unknown := [candidate for candidate in keep if candidate not in candidates]:
        raise ValueError(f"keep must name some of {', '.join(candidates)}, got {unknown[0]!r}")
    seeds = list(seeds)
    folder = _long_folder(name)
    every = max(1, config.steps // _MARKS)
    config = replace(
        config,
        log_every=every,
        validate_every=every,
        checkpoint_every=every if folder else None,
        progress=False,
    )
    networks, rows = {}, []
    runs = [(candidate, seed) for seed in seeds for candidate in candidates]
    for candidate, seed in tqdm(runs, desc=name, unit="network"):
        torch.manual_seed(seed)
        network, sampler = candidates[candidate](), make_sampler(seed)
        start = score(network.to(sampler.device))
        place = folder / f"{_file_name(candidate)}_{seed}" if folder else None
        history = train(network, sampler, config, folder=place, validate=score)
        if not history.attrs["complete"]:
            raise KeyboardInterrupt(f"{name} was stopped at {candidate}, seed {seed}")
        rows.append((candidate, seed, 0, 0.0, float("nan"), start))
        rows += [
            (candidate, seed, step, row.seconds, row.loss, row.validation_db)
            for step, row in history.dropna(subset="validation_db").iterrows()
        ]
        networks[candidate, seed] = network.eval()
    found = Trainings(name, pd.DataFrame(rows, columns=_COLUMNS), networks)
    if folder:
        _write(found, config, folder, {name: networks[name, seeds[0]] for name in keep})
    return found


def long_run(name: str) -> Trainings:
    """Read what a long run found, from ``data/experiments``; FileNotFoundError if there is none."""
    folder = assets.data_file(f"experiments/{name}")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return Trainings(name, pd.read_csv(folder / "curves.csv"), record=record)


def _long_folder(name):
    if active_profile() != "long":
        return None
    if not (folder := os.environ.get(FOLDER_VARIABLE)):
        raise ValueError(
            f"the profile long needs a folder in {FOLDER_VARIABLE}: use make experiments"
        )
    return Path(folder) / name


def _write(found, config, folder, kept):
    """Leave the curves, the settings and the weights of a long run."""
    settings = {
        "steps": config.steps,
        "optimizer": config.optimizer,
        "learning_rate": config.learning_rate,
        "schedule": config.schedule,
        "seeds": found.curves["seed"].unique().tolist(),
        "seconds": round(found.curves.groupby(["candidate", "seed"])["seconds"].max().sum()),
        "parameters": {
            candidate: sum(p.numel() for p in network.parameters())
            for (candidate, _), network in found.networks.items()
        },
    }
    with atomic_write(folder / "curves.csv") as partial:
        found.curves.round({"seconds": 1, "loss": 6, "psnr_db": 3}).to_csv(partial, index=False)
    for candidate, network in kept.items():
        with atomic_write(folder / f"{_file_name(candidate)}.safetensors") as partial:
            save_file({k: v.cpu().contiguous() for k, v in network.state_dict().items()}, partial)
    with atomic_write(folder / "record.json") as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _file_name(candidate: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in candidate).split())
