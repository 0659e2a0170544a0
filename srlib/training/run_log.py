"""The folder of a training: its settings, its log, its checkpoints."""

import contextlib
import json
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from srlib._atomic import atomic_write
from srlib.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from srlib.training.identity import check_same

__all__ = ["COLUMNS", "RunLog"]

COLUMNS = "seconds loss psnr_db learning_rate gradient_norm patches_per_s validation_db".split()
_NAMES = ["step", *COLUMNS]


class RunLog:
    """Rows of a training's history, in memory and, with a folder, on the disk.

    The folder has ``config.json`` (the `description`), ``log.csv``, ``checkpoints/``, and
    ``tensorboard/`` if wanted. First `read`, then `open` to write. Until it is closed, no other
    training can use the folder; the system lets go of it when a process dies.
    """

    def __init__(self, folder: str | os.PathLike | None, description: dict, *, tensorboard=False):
        self.rows: list[dict] = []
        self.folder = None if folder is None else Path(folder)
        self._description, self._tensorboard = description, tensorboard
        self.checkpoint = self._lock = self._unwritable = self._file = self._board = None

    def read(self) -> None:
        """Take the folder and its last checkpoint.

        ValueError if another training is using the folder, or the checkpoint is of another one;
        CheckpointError if it cannot be read.
        """
        if self.folder is None:
            return
        self._take()
        self.checkpoint = load_checkpoint(self.folder / "checkpoints")
        if self.checkpoint is None:
            return
        state, path = self.checkpoint.state, self.checkpoint.path
        if not {"description", "history"} <= set(state):
            raise ValueError(f"{path} is no checkpoint of a training, it has {list(state)}")
        # What is newer than the record was off, or was recorded only where it was on.
        old = {"permute_colours": False, "equal_images": False} | state["description"]
        # An AdversarialLoss once had them in public.
        if "logits" not in self._description.get("loss_options", {}):
            old.get("loss_options", {}).pop("logits", None)
        check_same(self.folder, old, self._description)
        if unknown := [key for key in self._description if key not in old]:
            warnings.warn(
                f"{path} is of an older version and does not tell {', '.join(unknown)}: "
                "from the next checkpoint on they are compared",
                stacklevel=3,
            )
        self.rows = [
            {"step": int(step), **dict(zip(COLUMNS, numbers, strict=True))}
            for step, *numbers in state["history"].tolist()
        ]

    def open(self) -> None:
        """Start to write, without the rows that came after the last checkpoint.

        CheckpointError, as whenever something cannot be written.
        """
        if self.folder is None:
            return
        if self._unwritable is not None:
            raise CheckpointError(
                f"{self.folder} cannot take a training: {self._unwritable}. "
                "Make it writable, or choose another folder"
            ) from self._unwritable
        path = self.folder / "log.csv"
        settings = {k: v for k, v in self._description.items() if k != "network_options"}
        with self._writing():
            (self.folder / "checkpoints").mkdir(exist_ok=True)  # or it fails hours later
            with atomic_write(self.folder / "config.json") as config:
                config.write_text(json.dumps(settings, indent=2) + "\n")
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
        """Close the files, and let others use the folder."""
        for file in filter(None, (self._file, self._board)):
            with contextlib.suppress(OSError):  # a full disk was reported before
                file.close()
        if self._lock is not None:
            with contextlib.suppress(OSError):  # on Windows `release` removes it
                os.remove(self._lock.lock_file)
            self._lock.release()
            self._lock = None

    def _take(self):
        """Lock the folder; one that is only read, a finished training's, needs no lock."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{self.folder} is in use: another training is writing to it. "
                "Choose another folder, or wait until it has ended"
            ) from None
        except (OSError, NotImplementedError) as error:  # the latter by older versions of filelock
            self._unwritable = error
        else:
            self._lock = lock

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
