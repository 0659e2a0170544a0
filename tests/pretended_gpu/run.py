"""Run Python with a pretended GPU: ``python tests/pretended_gpu/run.py -m srlib info``.

PRETENDED_GPU_CAPABILITY, 7.5 if it is not set, and PRETENDED_GPU_GIB, 15, say which one. Takes what
Python takes: a file, or -m and a module.
"""

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def missing() -> str:
    """Say what the pretended GPU needs and this computer lacks; "" if it has all."""
    import torch

    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "needs Linux on x86-64"
    if not torch.version.cuda:
        return "needs a CUDA build of torch"
    if not shutil.which("gcc"):
        return "needs gcc"
    if len(_headers()) < 2:
        return "needs the headers that come with torch's CUDA build"
    names = "_construct_storage_from_data_pointer _set_only_lift_cpu_tensors".split()
    lacking = [name for name in names if not hasattr(torch._C, name)]
    return f"needs a torch that has torch._C.{lacking[0]}" if lacking else ""


def build(folder: Path) -> Path:
    """Compile the runtime; return the folder."""
    command = ["gcc", "-shared", "-fPIC", "-o", folder / "runtime.so", HERE / "runtime.c"]
    subprocess.run([*command, *(f"-I{path}" for path in _headers())], check=True)
    (folder / "libcuda.so.1").symlink_to("runtime.so")
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return the variables with which a Python has the GPU, without device.py's mode."""
    return os.environ | {
        "LD_PRELOAD": str(folder / "runtime.so"),
        "LD_LIBRARY_PATH": str(folder),
        "PRETENDED_GPU": "on",
    }


def _headers():
    """Folders of the runtime's header, of torch's version, and of those that it includes."""
    packages = Path(sysconfig.get_path("purelib"))
    folders = [*packages.glob("nvidia/*/include"), packages / "triton/backends/nvidia/include"]
    wanted = "cuda_runtime_api.h", "crt/host_defines.h"
    found = ([path for path in folders if (path / name).is_file()] for name in wanted)
    return [paths[0] for paths in found if paths]


def _run(arguments):
    from pretended_gpu.device import PretendedGpu

    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH"):
        os.environ.pop(name, None)  # other programs have no GPU: the mode is not on in them
    with PretendedGpu():
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    if "PRETENDED_GPU" in os.environ:
        sys.path[0:1] = [str(HERE.parent), os.getcwd()]
        _run(sys.argv[1:])
    elif reason := missing():
        sys.exit(f"The pretended GPU {reason}.")
    else:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, *sys.argv]
            sys.exit(subprocess.run(command, env=environment(build(Path(folder)))).returncode)
