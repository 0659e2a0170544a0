"""What this machine is, and how much a notebook should compute on it."""

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "active_profile",
    "by_profile",
    "cpu_has_bfloat16",
    "gpu_has_failed",
    "gpu_failure_is_said",
    "hardware",
    "memory",
    "memory_is_said",
    "nvidia_gpu",
    "processor_name",
]

_PROFILES = ("ci", "cpu", "gpu", "long")
# How torch begins where the GPU is lost or has failed: its driver, cuDNN, cuBLAS.
_GPU_FAILED = ("CUDA error", "cuDNN error", "CUDA driver error", "CUDA call failed")
# How torch says that there is no memory, on a CPU, on a GPU, and in a library's words.
_NO_MEMORY = ("allocate", "out of memory", "ALLOC_FAILED")
_OWN_CGROUPS, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def active_profile() -> str:
    """Return how much a notebook does: "ci" (seconds), "cpu" (a laptop), "gpu", or "long".

    The last is for the runs of hours that ``make experiments`` keeps. ``SRLIB_PROFILE`` decides;
    without it "gpu" where CUDA works, else "cpu".
    """
    import torch  # here, because `srlib.doctor` works without it

    profile = os.environ.get("SRLIB_PROFILE") or ("gpu" if torch.cuda.is_available() else "cpu")
    if profile not in _PROFILES:
        raise ValueError(f"SRLIB_PROFILE must be one of {', '.join(_PROFILES)}, got {profile!r}")
    return profile


def by_profile(*, ci, cpu, gpu, long=None):
    """Return the value for the `active_profile`; without one for "long" that is `cpu`."""
    return {"ci": ci, "cpu": cpu, "gpu": gpu, "long": cpu if long is None else long}[
        active_profile()
    ]


def cpu_has_bfloat16() -> bool:
    """Tell whether the processor has instructions for bfloat16; without them it is slower."""
    import torch

    # torch.cpu.get_capabilities() is public, and missing before torch 2.11.
    return torch.cpu._is_avx512_bf16_supported()


def hardware() -> dict[str, str]:
    """Return a line for the processor ("CPU": name, instructions, cores) and one for the "GPU"."""
    import torch

    gpu = "none that torch can use"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    instructions = torch.backends.cpu.get_cpu_capability()
    if cpu_has_bfloat16():
        instructions += " with bfloat16"
    cores, threads = os.cpu_count(), torch.get_num_threads()
    cpu = f"{processor_name()} ({instructions}), {cores} cores, torch threads: {threads}"
    return {"CPU": cpu, "GPU": gpu}


def processor_name() -> str:
    """Return the processor's name as the system gives it, or its architecture."""
    with contextlib.suppress(OSError):  # Linux; platform.processor() is often empty there
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory() -> tuple[int, int]:
    """Return (total, free) bytes of main memory for this process; limits of a container count."""
    import psutil

    system = psutil.virtual_memory()
    total, free = system.total, system.available
    for limit, used in _container_limits():
        total, free = min(total, limit), min(free, limit - used)
    return total, max(free, 0)


@contextlib.contextmanager
def memory_is_said(sentence: str) -> Iterator[None]:
    """For a ``with`` block: if torch finds no memory in it, raise MemoryError with a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise MemoryError(sentence) from error


def gpu_has_failed(error: Exception) -> bool:
    """Tell whether an error means that the GPU is lost: nothing works on it in this process."""
    return isinstance(error, RuntimeError) and str(error).startswith(_GPU_FAILED)


@contextlib.contextmanager
def gpu_failure_is_said(sentence: str) -> Iterator[None]:
    """For a ``with`` block: if the GPU fails in it, raise RuntimeError with a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not gpu_has_failed(error):
            raise
        reason = str(error).partition("\n")[0]
        raise RuntimeError(f"the GPU has failed ({reason}). {sentence}") from error


def _container_limits() -> Iterator[tuple[int, int]]:
    """Yield (limit, used) in bytes for each control group around this process; Linux only."""
    if not _OWN_CGROUPS.is_file():
        return
    for line in _OWN_CGROUPS.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "memory":  # version 1
            top, names = _CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        elif not controllers:  # version 2
            top, names = _CGROUPS, ("memory.max", "memory.current")
        else:
            continue
        group = top / group.lstrip("/")
        # Inside a container the group's own folder may be what is mounted at the top.
        for folder in (place for place in (group, *group.parents) if place.is_relative_to(top)):
            try:
                limit, used = ((folder / name).read_text().strip() for name in names)
                lines = (folder / "memory.stat").read_text().splitlines()
            except OSError:
                continue
            statistics = dict(line.split() for line in lines if line)
            # Files that were read count as used, but make room when it is needed.
            unused = statistics.get("total_inactive_file") or statistics.get("inactive_file", 0)
            if limit != "max":
                yield int(limit), int(used) - int(unused)


def nvidia_gpu() -> str:
    """Name the NVIDIA GPU of this machine, whether torch can use it or not; "" if there is none."""
    if program := shutil.which("nvidia-smi"):
        query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        result = subprocess.run(query, capture_output=True, text=True, timeout=20)
        if result.returncode == 0 and result.stdout.strip():
            name, _, driver = result.stdout.splitlines()[0].partition(", ")
            return f"{name}, driver {driver}"
    return "an NVIDIA GPU" if any(Path("/proc/driver/nvidia/gpus").glob("*")) else ""
