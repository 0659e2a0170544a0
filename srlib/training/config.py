"""Settings of a training, losses and learning-rate schedules."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from numbers import Real
from types import NoneType
from typing import Any, Self

import torch
import torch.nn.functional as F

from srlib._arguments import check_count
from srlib.environment import cpu_has_bfloat16

__all__ = ["LOSSES", "TrainConfig", "charbonnier", "field_type", "precision_type", "schedule"]

_POSITIVE = (lambda value: 0 < value < math.inf), "> 0 and finite"
_FRACTION = (lambda value: 0 < value < 1), "between 0 and 1"
_FRACTION_OR_ZERO = (lambda value: 0 <= value < 1), "in 0..1, without 1"


def charbonnier(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
    """Mean of sqrt(difference**2 + 1e-6): as L1, but smooth at zero.

    P. Charbonnier, L. Blanc-Feraud, G. Aubert, M. Barlaud, "Two deterministic half-quadratic
    regularization algorithms for computed imaging", ICIP, 1994.
    """
    return torch.sqrt((sr - hr) ** 2 + 1e-6).mean()


LOSSES = {"l1": F.l1_loss, "mse": F.mse_loss, "charbonnier": charbonnier}


def _setting(default, text, *, choices=(), within=None) -> Any:
    """Make a field with its help, which `--help` and the docstring of `TrainConfig` show."""
    text += f" One of {', '.join(choices)}." if choices else ""
    return dataclasses.field(
        default=default, metadata={"help": text, "choices": choices, "within": within}
    )


def field_type(field: dataclasses.Field) -> tuple[type, bool]:
    """Return a field's type without None, and whether it may be None."""
    kinds = typing.get_args(field.type) or (field.type,)
    return kinds[0], NoneType in kinds


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training; ValueError if one is out of range."""

    steps: int | None = _setting(None, "How many batches. Either this or `seconds`.")
    seconds: float | None = _setting(
        None, "How long, on the clock; the schedule follows it.", within=_POSITIVE
    )
    optimizer: str = _setting(
        "adam", "SGD has Nesterov momentum of 0.9.", choices=("adam", "sgd", "muon")
    )
    learning_rate: float = _setting(1e-3, "At its highest.", within=_POSITIVE)
    schedule: str = _setting(
        "cosine",
        "Of the learning rate, after the warm-up.",
        choices=("cosine", "step", "one_cycle", "constant"),
    )
    warmup: float = _setting(
        0.05,
        "Part of the training in which the learning rate rises; one_cycle has its own.",
        within=_FRACTION_OR_ZERO,
    )
    clip_norm: float | None = _setting(1.0, "Largest norm of the gradient.", within=_POSITIVE)
    ema_decay: float | None = _setting(
        None,
        "Average the weights exponentially, with 0.999 for instance; the average is validated, "
        "and the network ends with it.",
        within=_FRACTION,
    )
    mixed_precision: str = _setting(
        "no",
        "Type of the convolutions, while weights stay float32; auto is bf16 where the processor "
        "has it and on GPUs from capability 8.0, fp16 on GPUs from 7.0, else no.",
        choices=("no", "bf16", "fp16", "auto"),
    )
    channels_last: bool = _setting(
        False, "Keep the channels of a pixel side by side in memory: faster convolutions."
    )
    compile: str = _setting(
        "no",
        "Mode of `torch.compile`, which takes a minute or more, not on the clock, before the first "
        "step; reduce-overhead replays CUDA graphs.",
        choices=("no", "default", "reduce-overhead", "max-autotune"),
    )
    log_every: int = _setting(1, "Steps between two rows of the history.")
    validate_every: int | None = _setting(
        None, "Steps between two validations; there is always one at the end."
    )
    checkpoint_every: int | None = _setting(
        None,
        "Steps between two checkpoints, of which there is always one at the end; without it a "
        "training that is killed starts again from the beginning. They are written to the folder.",
    )
    tensorboard: bool = _setting(False, "Write the history for TensorBoard too.")
    progress: bool = _setting(True, "Show a progress bar.")

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any], **changed: Any) -> Self:
        """Take the settings from a recipe, such as an entry of `srlib.training.recipes.PROFILES`.

        Its other entries are ignored; what is `changed` comes first. With `seconds`, set `steps`
        to None where the recipe has them.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: recipe[name] for name in recipe if name in names} | changed)

    def __post_init__(self):
        if (self.steps is None) == (self.seconds is None):
            raise ValueError(
                f"give either steps or seconds, got steps={self.steps!r}, seconds={self.seconds!r}"
            )
        for field in dataclasses.fields(self):
            (kind, optional), limits = field_type(field), field.metadata
            name, value = field.name, getattr(self, field.name)
            if value is None and optional:
                continue
            if kind is int:
                check_count(name, value)
            elif kind is float and not (isinstance(value, Real) and limits["within"][0](value)):
                raise ValueError(f"{name} must be {limits['within'][1]}, got {value!r}")
            elif kind is str and value not in (choices := limits["choices"]):
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
            elif kind is bool and not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
            object.__setattr__(self, name, kind(value))  # NumPy's numbers become Python's


TrainConfig.__doc__ += "\n\nAttributes\n----------\n" + "\n".join(
    f"{field.name} : {getattr(field.type, '__name__', field.type)}\n    {field.metadata['help']}"
    for field in dataclasses.fields(TrainConfig)
)


def schedule(kind: str, done: float, warmup: float) -> float:
    """Return the factor on the highest learning rate when the part `done` of a training is over.

    After a linear rise over the part `warmup`, "cosine" falls along half a cosine to zero
    (Loshchilov and Hutter, "SGDR", ICLR, 2017), "step" halves at 50, 80, 90 and 95 %, "constant"
    stays. "one_cycle" rises along a cosine from 1/25 over 30 % and falls along another to zero
    (Smith and Topin, "Super-convergence", 2018). `done` and `warmup` are in 0..1.
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


def precision_type(name: str, device: torch.device) -> torch.dtype:
    """Return the type for autocast of a `mixed_precision`; float32 means none."""
    if name == "auto":
        name = "no"
        if device.type == "cuda":  # by what the GPU has, not by what torch would emulate
            capability = torch.cuda.get_device_capability(device)
            name = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "no"
        elif device.type == "cpu" and cpu_has_bfloat16():
            name = "bf16"
    return {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
