"""The folder of a training: its settings, its log, its checkpoints."""

import contextlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from srlib._atomic import atomic_write
from srlib.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

__all__ = ["COLUMNS", "RunLog", "check_same"]

COLUMNS = "seconds loss psnr_db learning_rate gradient_norm patches_per_s validation_db".split()
_NAMES = ["step", *COLUMNS]


def check_same(folder: Path, old: dict, new: dict) -> None:
    """Raise ValueError if the description of the training in a folder is not the `new` one."""
    differences = [
        f"{key}: {old.get(key)!r} there, {new.get(key)!r} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if differences:
        raise ValueError(
            f"{folder} holds another training ({'; '.join(differences)}); "
            "choose another folder, or the same values to go on"
        )


class RunLog:
    """Rows of a training's history, in memory and, with a folder, on the disk.

    The folder has ``config.json`` (the `description`), ``log.csv``, ``checkpoints/``, and
    ``tensorboard/`` if wanted. ValueError if it holds a training of another description. What
    cannot be written is a CheckpointError.
    """

    def __init__(self, folder: str | os.PathLike | None, description: dict, *, tensorboard=False):
        self.rows: list[dict] = []
        self.folder = None if folder is None else Path(folder)
        self._description, self._tensorboard = description, tensorboard
        self.checkpoint = self._file = self._board = None
        if self.folder is None:
            return
        self.checkpoint = load_checkpoint(self.folder / "checkpoints")
        if self.checkpoint is not None:
            check_same(self.folder, self.checkpoint.state["description"], description)
            self.rows = [
                {"step": int(step), **dict(zip(COLUMNS, numbers, strict=True))}
                for step, *numbers in self.checkpoint.state["history"].tolist()
            ]

    def open(self) -> None:
        """Start to write, without the rows that came after the last checkpoint."""
        if self.folder is None:
            return
        path = self.folder / "log.csv"
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / "config.json") as config:
                config.write_text(json.dumps(self._description, indent=2) + "\n")
            with atomic_write(path) as log:
                header = dict(zip(_NAMES, _NAMES, strict=True))
                log.write_text("".join(map(_line, [header, *self.rows])))
            self._file = open(path, "a")  # noqa: SIM115
        if self._tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            step = self.checkpoint.step if self.checkpoint else 0
            self._board = SummaryWriter(self.folder / "tensorboard", purge_step=step + 1)

    def add(self, row: dict) -> None:
        """Keep a row: ``step`` and a number for each of `COLUMNS`."""
        self.rows.append(row)
        with self._writing():
            if self._file is not None:
                self._file.write(_line(row))
                self._file.flush()
            if self._board is not None:
                for name in COLUMNS:
                    if not math.isnan(row[name]):
                        self._board.add_scalar(name, row[name], row["step"])

    def save(self, step: int, state: dict) -> None:
        """Write a checkpoint of `state` and the history."""
        if self.folder is None:
            return
        history = torch.tensor(self.table().reset_index().to_numpy(np.float64))
        state = {**state, "history": history, "description": self._description}
        with self._writing():
            save_checkpoint(self.folder / "checkpoints", step, state)

    def close(self) -> None:
        """Close the files."""
        for file in filter(None, (self._file, self._board)):
            with contextlib.suppress(OSError):  # a full disk was reported before
                file.close()

    def table(self) -> pd.DataFrame:
        """Return the history: index ``step``, columns `COLUMNS`."""
        return pd.DataFrame(self.rows, columns=_NAMES).astype({"step": int}).set_index("step")

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"{self.folder}: {error}. The network in memory has the weights of the last step; "
                "make room and call again with the same folder to go on from the last checkpoint"
            ) from error


def _line(row):
    values = (row[name] for name in _NAMES)
    return ",".join(f"{v:.7g}" if isinstance(v, float) else str(v) for v in values) + "\n"
