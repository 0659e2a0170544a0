"""What make installs, from an index made here, and which Pythons continuous integration finds."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BACKEND = """
import shutil

def build_editable(folder, *_):
    return shutil.copy("srlib-1-py3-none-any.whl", folder).rpartition("/")[2]
"""

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


def wheel(folder: Path, name: str, version: str, *headers: str):
    """Write a wheel without contents, and a page that lists it as an index does."""
    folder.mkdir(parents=True, exist_ok=True)
    file, info = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *headers]
    with zipfile.ZipFile(folder / file, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        names = ("METADATA", "WHEEL", "RECORD")
        archive.writestr(f"{info}/RECORD", "".join(f"{info}/{name},,\n" for name in names))
    (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')


@pytest.fixture
def course(tmp_path):
    """A course that needs torch and torchvision only; its usual index has both, with CUDA."""
    folder = tmp_path / "a course"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    extras = [f"Provides-Extra: {name}" for name in ("course", "dev")]
    needs = [f"Requires-Dist: {name}" for name in ("torch>=2.6", "torchvision")]
    wheel(folder, "srlib", "1", *extras, *needs)
    (folder / "backend.py").write_text(BACKEND)
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project = '[project]\nname = "srlib"\ndynamic = ["version", "dependencies"]\n'
    (folder / "pyproject.toml").write_text(build + project)
    (folder / "constraints.txt").write_text("torch==2.14.1\ntorchvision==0.29.2\n")
    for name, version in {"torch": "2.14.1", "torchvision": "0.29.2"}.items():
        wheel(tmp_path / "usual" / name, name, version)
        wheel(tmp_path / "cpu" / name, name, f"{version}+cpu")
    return folder


def make(folder: Path, *arguments: str) -> str:
    """Run make with this Python and nothing of its environment; return what it prints."""
    usual = (folder.parent / "usual").as_uri()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent)}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": usual, "UV_INDEX_URL": usual}
    command = ["make", f"PYTHON={sys.executable}", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(folder: Path) -> list[str]:
    """Return the versions of torch and torchvision in the course's environment."""
    ask = "from importlib.metadata import version as v; print(v('torch'), v('torchvision'))"
    command = [folder / ".venv/bin/python", "-c", ask]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@needs_make
@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_the_cpu_build_is_taken_where_asked_for_and_stays(course, installer):
    if installer == "uv" and not shutil.which("uv"):
        pytest.skip("needs uv")
    with_pip = ["UV="] if installer == "pip" else []
    # PyTorch's own index becomes the folder; what stands before it is looked at below.
    cpu_index = f"CPU_BUILD=--index-url {(course.parent / 'cpu').as_uri()}"
    usual, cpu = ["2.14.1", "0.29.2"], ["2.14.1+cpu", "0.29.2+cpu"]

    make(course, ".venv/.course", *with_pip, cpu_index)
    assert installed(course) == usual
    make(course, ".venv/.course", *with_pip, cpu_index, "TORCH=cpu")
    assert installed(course) == cpu
    make(course, ".venv/.dev", *with_pip, cpu_index)  # nobody says it again
    assert installed(course) == cpu

    (course / "constraints.txt").write_text("torch==2.15.0\ntorchvision==0.30.0\n")
    for name, version in {"torch": "2.15.0", "torchvision": "0.30.0"}.items():
        wheel(course.parent / "usual" / name, name, version)
        wheel(course.parent / "cpu" / name, name, f"{version}+cpu")
    make(course, ".venv/.course", *with_pip, cpu_index)
    assert installed(course) == ["2.15.0+cpu", "0.30.0+cpu"]

    (course / "constraints.txt").write_text("torch==2.16.0\ntorchvision==0.31.0\n")
    with pytest.raises(AssertionError, match="There is no such build, or pytorch.org cannot be"):
        make(course, ".venv/.course", *with_pip, cpu_index)


@needs_make
def test_the_cpu_build_comes_from_pytorch_and_only_if_asked_for(course):
    pytorch = "--index-url https://download.pytorch.org/whl/cpu torchvision"
    for target in (".venv/.course", ".venv/.dev"):
        assert pytorch in make(course, "-n", target, "UV=", "TORCH=cpu")
        assert "--torch-backend=cpu torchvision" in make(course, "-n", target, "UV=uv", "TORCH=cpu")
        assert "torchvision" not in make(course, "-n", target, "UV=")
    with pytest.raises(AssertionError, match="TORCH is cpu or nothing, got cuda"):
        make(course, "-n", ".venv/.course", "TORCH=cuda")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("runs", "this", "found"),
    [
        ("3.11 3.12 3.13", "3.11", "3.13"),  # 3.14 is a shim of pyenv: there, and does not run
        ("3.11 3.12 3.13", "3.13", "3.12"),
        ("3.11 3.14", "3.11", "3.14"),
        ("3.11", "3.11", ""),
    ],
)
def test_the_newest_other_python_is_found(tmp_path, runs, this, found):
    for version in ("3.11", "3.12", "3.13", "3.14"):
        program = tmp_path / f"python{version}"
        program.write_text(f"#!/bin/sh\nexit {0 if version in runs.split() else 127}\n")
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYENV_ROOT": str(tmp_path)}
    command = ["bash", ROOT / ".ci/other_python", this]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == (f"{tmp_path}/python{found}" if found else "")
