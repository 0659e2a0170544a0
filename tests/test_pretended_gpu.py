"""What goes wrong on a GPU only, found without one: see tests/pretended_gpu/run.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from pretended_gpu import run as pretended_gpu

HERE = Path(pretended_gpu.__file__).parent
# Capability and GiB of some GPUs: Colab's T4, two of laptops, one of data centres.
T4, RTX_3050, RTX_4060, A100 = (7.5, 15), (8.6, 4), (8.9, 8), (8.0, 40)

PRECISIONS = """
import os, torch
from srlib.training.config import precision_type
for capability in {capabilities}:
    if os.fork() == 0:  # torch asks a GPU only once
        os.environ["PRETENDED_GPU_CAPABILITY"] = capability
        print(capability, precision_type("auto", torch.device("cuda")), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """A function that runs Python, on a GPU if one is given, and returns its output."""
    if reason := pretended_gpu.missing():
        pytest.skip(f"the pretended GPU {reason}")
    folder = pretended_gpu.build(tmp_path_factory.mktemp("pretended_gpu"))

    def run(*arguments, gpu=T4):
        environment = pretended_gpu.environment(folder)
        environment |= {"SRLIB_PROFILE": "ci", "SRLIB_STRICT": "1", "MPLBACKEND": "agg"}
        names = "PRETENDED_GPU_CAPABILITY", "PRETENDED_GPU_GIB"
        environment |= {name: str(value) for name, value in zip(names, gpu, strict=True)}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def check(python):
    """A function that runs a file of checks on a GPU."""
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "--show-capture=no"]

    def check(name, *more, gpu=T4):
        python(HERE / "run.py", "-m", "pytest", *options, HERE / f"{name}.py", *more, gpu=gpu)

    return check


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("gpu", [T4, RTX_3050], ids=str)
def test_every_kind_of_fault_is_found(check, gpu):
    check("check_faults", gpu=gpu)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("gpu", [T4, A100], ids=str)
def test_training(check, gpu):
    check("check_training", gpu=gpu)


@pytest.mark.processes
@pytest.mark.slow
def test_the_library(check):
    check("check_library", gpu=A100)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("gpu", [RTX_3050, RTX_4060, T4], ids=str)
def test_memory(check, gpu):
    check("check_memory", gpu=gpu)


@pytest.mark.processes
@pytest.mark.slow
def test_precision_follows_the_capability(python):
    expected = {"6.1": "float32", "7.0": "float16", "7.5": "float16", "8.0": "bfloat16"}
    expected |= {"8.6": "bfloat16", "9.0": "bfloat16", "12.0": "bfloat16"}
    lines = python("-c", PRECISIONS.format(capabilities=list(expected))).splitlines()
    assert lines == [f"{capability} torch.{kind}" for capability, kind in expected.items()]


@pytest.mark.notebooks
@pytest.mark.processes
@pytest.mark.slow
def test_notebooks(check):
    check("check_notebooks", gpu=RTX_3050)
