"""Arguments and inputs that are refused wherever they come in."""

import math
from numbers import Integral

import numpy as np
import torch

__all__ = ["check_count", "check_input", "check_odd", "check_range", "check_scale", "to_float64"]

# The data_range of integers lies above the first number and is at most the second.
_RANGES = {"uint8": (1, 255), "uint16": (255, 65535)}

_WITHOUT_FLOAT64 = {"mps"}  # Apple's GPU


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError unless `value`, an argument called `name`, is a whole number >= `least`."""
    # 2.0 neither: torch refuses it later, in words that do not help. Python takes True for 1.
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
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


def check_range(data_range: float, **pictures: np.ndarray | torch.Tensor) -> None:
    """Raise ValueError if a picture is in another range than 0..data_range.

    `pictures` are one picture, or two of one scene, by the names for the message. A single value
    tells little: before its training a network without a sigmoid gives -2.6 or 1.8 where 0..1 is
    due. So three things are refused:

    - uint8 with a `data_range` of up to 1 or above 255, uint16 with one of up to 255;
    - a mean below -data_range or above 2 * data_range: that of real pictures lies within the range,
      that of untrained networks by half of it beside it at most;
    - from 255 on, floating point that stays within a hundredth of the range, as all in 0..1 does.
      To the eye that were black. Excepted are constants, and a picture beside integers that are as
      dark, so a picture that is really so dark is to be given as integers.
    """
    found = {}
    for name, picture in pictures.items():
        tensor = isinstance(picture, torch.Tensor)
        wide = to_float64(picture.detach()) if tensor else np.asarray(picture, np.float64)
        kind = str(picture.dtype).removeprefix("torch.")
        low, mean, high = (float(f()) for f in (wide.min, wide.mean, wide.max))
        above, most = _RANGES.get(kind, (0, math.inf))
        if not above < data_range <= most:
            raise ValueError(
                f"{name} is {kind}, so data_range must be above {above} and at most {most}, "
                f"got {data_range}"
            )
        values = f"{name} must be in 0..{data_range:g}, got {low:.4g} to {high:.4g}"
        if mean < -data_range or mean > 2 * data_range:
            raise ValueError(f"{values}, with a mean of {mean:.4g}")
        if data_range >= 255 and max(-low, high) <= data_range / 100:
            found[name] = "float" in kind, low < high, values
    if all(is_float for is_float, _, _ in found.values()):
        for _, varies, values in found.values():
            if varies:
                raise ValueError(f"{values}, which is 0..1 (if it is so dark, give it as uint8)")


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Convert a tensor, on the CPU if its device has no float64."""
    return (tensor.cpu() if tensor.device.type in _WITHOUT_FLOAT64 else tensor).double()
