"""What a training is, beside network and data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Self

import torch
import torch.nn.functional as F

from srlib._arguments import check_count

__all__ = ["LOSSES", "TrainConfig", "charbonnier", "schedule"]

_CHOICES = {
    "optimizer": ("adam", "sgd", "muon"),
    "schedule": ("cosine", "step", "one_cycle", "constant"),
    "mixed_precision": ("no", "bf16", "fp16", "auto"),
    "compile": ("no", "default", "reduce-overhead", "max-autotune"),
}
_POSITIVE = (lambda value: 0 < value < math.inf), "> 0 and finite"
_RANGES = {
    "seconds": _POSITIVE,
    "learning_rate": _POSITIVE,
    "warmup": ((lambda value: 0 <= value < 1), "in 0..1, without 1"),
    "clip_norm": _POSITIVE,
    "ema_decay": ((lambda value: 0 < value < 1), "between 0 and 1"),
}
_OPTIONAL = {"seconds", "clip_norm", "ema_decay"}


def charbonnier(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
    """Mean of sqrt(difference**2 + 1e-6): as L1, but smooth at zero.

    P. Charbonnier, L. Blanc-Feraud, G. Aubert, M. Barlaud, "Two deterministic half-quadratic
    regularization algorithms for computed imaging", ICIP, 1994.
    """
    return torch.sqrt((sr - hr) ** 2 + 1e-6).mean()


LOSSES = {"l1": F.l1_loss, "mse": F.mse_loss, "charbonnier": charbonnier}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a training is, beside network and data.

    Attributes
    ----------
    steps : int or None
        How many batches. Either this or `seconds`.
    seconds : float or None
        How long, in seconds on the clock; the schedule follows the clock then.
    optimizer : {"adam", "sgd", "muon"}
        Stochastic gradient descent comes with Nesterov's momentum of 0.9; see
        `srlib.training.muon.Muon`.
    learning_rate : float
        At its highest.
    schedule : {"cosine", "step", "one_cycle", "constant"}
        How the learning rate goes on after the warm-up; see `schedule`.
    warmup : float
        Part of the training in which the learning rate rises; "one_cycle" has its own.
    clip_norm : float or None
        Largest norm of the gradient; larger ones are shortened.
    ema_decay : float or None
        Keep an exponential moving average of the weights, 0.999 for instance. It is validated,
        and the network ends with it.
    mixed_precision : {"no", "bf16", "fp16", "auto"}
        Type of the convolutions in forward and backward; weights stay float32. "auto" is bf16
        where the processor computes it faster, else "no".
    channels_last : bool
        Keep the channels of a pixel side by side in memory, which convolutions like.
    compile : {"no", "default", "reduce-overhead", "max-autotune"}
        Mode of `torch.compile`; "reduce-overhead" replays CUDA graphs. Compiling takes a minute
        or more before the first step and is not on the clock.
    log_every : int
        Steps between two rows of the history.
    validate_every : int or None
        Steps between two validations; there is one at the end in any case.
    checkpoint_every : int or None
        Steps between two checkpoints; there is one at the end in any case. Without it a training
        that is killed begins anew.
    tensorboard : bool
        Write the history for TensorBoard too.
    progress : bool
        Show a progress bar.
    """

    steps: int | None = None
    seconds: float | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    clip_norm: float | None = 1.0
    ema_decay: float | None = None
    mixed_precision: str = "no"
    channels_last: bool = False
    compile: str = "no"
    log_every: int = 1
    validate_every: int | None = None
    checkpoint_every: int | None = None
    tensorboard: bool = False
    progress: bool = True

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any], **changed: Any) -> Self:
        """Take from a recipe what stands above, and let what is `changed` come before it.

        Parameters
        ----------
        recipe : mapping
            Like an entry of `srlib.training.recipes.PROFILES`; what else it holds is left alone.
        **changed
            Attributes. With `seconds`, set `steps` to None where the recipe has them.

        Raises
        ------
        ValueError
            If a value is out of range.
        """
        names = {field.name for field in fields(cls)}
        return cls(**{name: recipe[name] for name in recipe if name in names} | changed)

    def __post_init__(self):
        if (self.steps is None) == (self.seconds is None):
            raise ValueError(
                f"give either steps or seconds, got steps={self.steps!r}, seconds={self.seconds!r}"
            )
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        for name in ("steps", "log_every", "validate_every", "checkpoint_every"):
            if name == "log_every" or getattr(self, name) is not None:
                check_count(name, getattr(self, name))
                object.__setattr__(self, name, int(getattr(self, name)))  # NumPy's numbers too
        for name, (good, allowed) in _RANGES.items():
            value = getattr(self, name)
            if name in _OPTIONAL and value is None:
                continue
            if not isinstance(value, Real) or not good(value):
                raise ValueError(f"{name} must be {allowed}, got {value!r}")
            object.__setattr__(self, name, float(value))
        for name in ("channels_last", "tensorboard", "progress"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")


def schedule(kind: str, done: float, warmup: float) -> float:
    """Return the part of the highest learning rate when the part `done` of a training is done.

    After a straight rise over the part `warmup`, "cosine" falls along half a cosine to zero
    (Loshchilov and Hutter, "SGDR", ICLR, 2017), "step" halves at 50, 80, 90 and 95 %, "constant"
    stays. "one_cycle" rises along a cosine from 1/25 over 30 % and falls along another to zero
    (Smith and Topin, "Super-convergence", 2018).

    Parameters
    ----------
    kind : str
        As ``TrainConfig.schedule``.
    done, warmup : float
        In 0..1.
    """
    if kind == "one_cycle":
        if done < 0.3:
            return 1 / 25 + (1 - 1 / 25) * _half_cosine(1 - done / 0.3)
        return _half_cosine((done - 0.3) / 0.7)
    if done < warmup:
        return min(max(done, 1e-3) / warmup, 1.0)  # not zero in the first step
    if kind == "cosine":
        return _half_cosine((done - warmup) / (1 - warmup))
    if kind == "step":
        return 0.5 ** sum(done >= place for place in (0.5, 0.8, 0.9, 0.95))
    return 1.0


def _half_cosine(part: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * part))
