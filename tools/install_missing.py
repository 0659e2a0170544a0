"""Install the packages that the notebooks need and that are missing; change none that is there.

The setup cell runs this on Colab and the like, in the notebook's own process, before anything of
the course can be imported: it needs nothing but Python and pip. Torch is never installed, and
torchvision only where pip can find the one that fits torch.
"""

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]


def installed() -> dict[str, str]:
    """Return the version of each installed package; of two copies the one that is imported."""
    importlib.invalidate_caches()  # pip, another process, may have added some
    found: dict[str, str] = {}
    for package in distributions():
        if package.name and package.version:  # an uninstall that failed can leave neither
            found.setdefault(normal(package.name), package.version)
    return found


def normal(requirement: str) -> str:
    """Return a requirement's package name as PEP 503 spells it, such as ``scikit-image``."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def exactly(version: str) -> str:
    """Return what pins a version; Debian has some, such as 1.1build1, that pip can only compare."""
    parts = r"\d+(\.\d+)*([-_.]?(a|b|c|rc|post|dev)\d*)*(\+[\w.-]+)?"
    return ("==" if re.fullmatch(parts, version) else "===") + version


def wanted() -> list[str]:
    """Return what the library and the notebooks import, by pyproject.toml."""
    project = tomllib.loads((COURSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + project["optional-dependencies"]["notebooks"]


def install_missing() -> None:
    """Install what is missing and say what that was; RuntimeError if it cannot be done."""
    before = installed()
    if "torch" not in before:
        raise RuntimeError(
            "torch is not installed here, and the course does not install it: "
            "see pytorch.org for the one that fits this machine"
        )
    missing = [line for line in wanted() if normal(line) not in before]
    number, _, build = before["torch"].partition("+")
    if build and "torchvision" in map(normal, missing):  # pip would take one of another build
        fitting = f"0.{int(number.split('.')[1]) + 15}"  # 2.0 and 0.15, 2.1 and 0.16, and so on
        raise RuntimeError(
            f"torchvision is not installed here: install torchvision {fitting} of the build "
            f"{build} with --no-deps, from where torch {before['torch']} came"
        )
    if not missing:
        print("No package is missing")
        return
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    with tempfile.TemporaryDirectory() as folder:
        # What a missing package needs in turn may be installed too, but whatever is here stays as
        # it is: pip has to get along with it, or fail.
        here = Path(folder) / "here.txt"
        here.write_text("".join(f"{name}{exactly(v)}\n" for name, v in before.items()))
        # No compiling: of C++ it takes minutes and fails, of Python half of the time.
        command = [*pip, "--only-binary=:all:", "--no-compile", f"--constraint={here}", *missing]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = [*errors, *done.stderr.strip().splitlines(), "pip does not say why"][0]
        names = ", ".join(map(normal, missing))
        raise RuntimeError(f"pip cannot install {names}: {reason.removeprefix('ERROR: ')}")
    new = {name: version for name, version in installed().items() if name not in before}
    print("Installed", ", ".join(f"{name} {version}" for name, version in sorted(new.items())))


if __name__ == "__main__":
    install_missing()
