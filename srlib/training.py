"""One training loop that reads from top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from srlib.data import PatchSampler

__all__ = ["TrainConfig", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a training is, beside network and data.

    Attributes
    ----------
    steps : int or None
        How many batches. Either this or `seconds`.
    seconds : float or None
        How long, in seconds on the clock; the schedule follows the clock then.
    learning_rate : float
        Of Adam, at its highest: after the warm-up, before the cosine brings it to zero.
    warmup : float
        Part of the training in which the learning rate rises.
    clip_norm : float
        Largest norm of the gradient; larger ones are shortened.
    progress : bool
        Show a progress bar.
    """

    steps: int | None = None
    seconds: float | None = None
    learning_rate: float = 1e-3
    warmup: float = 0.05
    clip_norm: float = 1.0
    progress: bool = True

    def __post_init__(self):
        if (self.steps is None) == (self.seconds is None):
            raise ValueError(
                f"give either steps or seconds, got steps={self.steps!r}, seconds={self.seconds!r}"
            )
        for name in ("steps", "seconds", "learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be > 0, got {value!r}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in 0..1, without 1, got {self.warmup!r}")


def train(
    model: nn.Module,
    sampler: PatchSampler,
    config: TrainConfig,
    *,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.l1_loss,
    on_step: Callable[[int, nn.Module], None] | None = None,
) -> pd.DataFrame:
    """Train a network in place on batches of patches.

    Parameters
    ----------
    model : nn.Module
        On the sampler's device. Left in training mode.
    sampler : PatchSampler
        Where batches come from.
    config : TrainConfig
        Length and learning rate.
    loss : callable
        Of prediction and target, both (N, 3, H, W) in 0..1; returns a scalar.
    on_step : callable, optional
        Called with the number of the step, from 1, and the model, after each step. The clock
        stands still meanwhile.

    Returns
    -------
    DataFrame
        A row per step: ``seconds`` since the start, ``loss``, ``learning_rate``,
        ``gradient_norm`` before it was shortened.

    Raises
    ------
    FloatingPointError
        If the loss is not finite; the model then has the weights of the step before.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    bar = tqdm(total=config.steps, desc="train", unit="step", disable=not config.progress)
    rows, step, waited = [], 0, 0.0
    start = time.perf_counter()
    model.train()
    while True:
        elapsed = time.perf_counter() - start - waited
        done = step / config.steps if config.steps else elapsed / config.seconds  # 0..1
        if done >= 1:
            break
        learning_rate = config.learning_rate * _schedule(done, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate

        lr, hr = sampler.sample()  # (N, 3, P, P), (N, 3, sP, sP)
        value = loss(model(lr), hr)
        if not torch.isfinite(value):
            bar.close()
            raise FloatingPointError(f"the loss in step {step + 1} is {value.item()}")
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()

        step += 1
        elapsed = time.perf_counter() - start - waited
        rows.append((step, elapsed, value.item(), learning_rate, norm.item()))
        bar.update()
        if on_step is not None:
            paused = time.perf_counter()
            on_step(step, model)
            waited += time.perf_counter() - paused
    bar.close()
    columns = ["step", "seconds", "loss", "learning_rate", "gradient_norm"]
    return pd.DataFrame(rows, columns=columns).set_index("step")


def _schedule(done: float, warmup: float) -> float:
    """Part of the highest learning rate: a straight rise, then half a cosine down to zero."""
    if done < warmup:
        return max(done, 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
