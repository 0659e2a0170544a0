"""Arguments and inputs that every layer and network refuses."""

from numbers import Integral

import torch

__all__ = ["check_count", "check_input", "check_odd", "check_scale"]


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError unless `value`, an argument called `name`, is a whole number >= `least`."""
    # 2.0 neither: torch refuses it later, in words that do not help.
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_odd(name: str, value: int) -> None:
    """Raise ValueError unless `value`, an argument called `name`, is odd and positive."""
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name} must be odd and positive, got {value!r}")


def check_scale(scale: int) -> None:
    """Raise ValueError unless `scale` is 2, 3 or 4."""
    if not isinstance(scale, Integral) or scale not in (2, 3, 4):
        raise ValueError(f"scale must be 2, 3 or 4, got {scale!r}")


def check_input(lr: torch.Tensor) -> None:
    """Raise ValueError unless `lr` is a batch of RGB images, (N, 3, H, W)."""
    if lr.ndim != 4 or lr.shape[1] != 3:
        raise ValueError(f"input must be RGB, (N, 3, H, W), got {tuple(lr.shape)}")
