"""What this machine is, and how much work a notebook should do on it."""

import os
import platform
from importlib import metadata

import torch

__all__ = ["active_profile", "by_profile", "describe"]

_PROFILES = ("ci", "cpu", "gpu")


def active_profile() -> str:
    """Return how much a notebook does: "ci" (seconds), "cpu" (a laptop) or "gpu" (full size).

    The environment variable ``SRLIB_PROFILE`` decides; without it "gpu" where CUDA works,
    else "cpu".

    Raises
    ------
    ValueError
        If ``SRLIB_PROFILE`` holds anything else.
    """
    profile = os.environ.get("SRLIB_PROFILE") or ("gpu" if torch.cuda.is_available() else "cpu")
    if profile not in _PROFILES:
        raise ValueError(f"SRLIB_PROFILE must be one of {', '.join(_PROFILES)}, got {profile!r}")
    return profile


def by_profile(*, ci, cpu, gpu):
    """Return the value for the active profile; see `active_profile`."""
    return {"ci": ci, "cpu": cpu, "gpu": gpu}[active_profile()]


def describe() -> dict[str, str]:
    """Describe this machine as far as the course depends on it.

    Returns
    -------
    dict
        Python, operating system, processor cores, memory, GPU, package versions, profile.
    """
    report = {
        "Python": platform.python_version(),
        "System": f"{platform.system()} {platform.machine()}",
        "CPU": f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads",
        "Memory": _memory(),
        "GPU": _gpu(),
    }
    for package in ("torch", "numpy", "scikit-image", "pillow", "jupyterlab", "ipywidgets"):
        try:
            report[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            report[package] = "not installed"
    report["Profile"] = active_profile()
    return report


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError):  # Windows has no sysconf
        return "unknown"


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use"
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
