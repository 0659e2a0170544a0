"""A check of each thing that the course depends on.

They run where torch or another package is missing or broken, so only Python itself is imported.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from srlib import assets, environment
from srlib._own_files import in_the_way

__all__ = ["LOOKS", "Check", "look"]

_COURSE = Path(__file__).resolve().parents[2]
# Bytes; a notebook takes up to 1.2 GiB of memory, measured.
_LEAST_MEMORY, _LEAST_FREE, _LEAST_DISK = 2 * 2**30, 1.5 * 2**30, 2**29
# Environments made by uv have no pip. (To look for the module would warn beside old setuptools.)
_HAS_PIP = any(True for _ in importlib.metadata.distributions(name="pip"))
_PIP = "python -m pip" if _HAS_PIP else "uv pip"
_INSTALL = f'in the course\'s folder: make lab, or {_PIP} install -c constraints.txt -e ".[course]"'


class Check(NamedTuple):
    """What was found about one thing that the course depends on."""

    name: str
    found: str
    state: str = "ok"  # or "note", worth knowing, or "problem"
    remedy: str = ""
    stops: bool = False  # whether some notebook cannot be done before the problem is mended


def look(name: str, at: Callable[[], Check]) -> Check:
    """Check one thing; a check that fails itself becomes a note."""
    try:
        return at()
    except Exception as error:
        return Check(name, f"could not be looked at: {_in_short(error)}", "note")


def _in_short(error):
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return textwrap.shorten(text, 200, placeholder=" ...")


def _shown(path):
    """Return a path relative to the course's folder or to home, if it is in there."""
    for folder, name in ((_COURSE, ""), (Path.home(), "~/")):
        if path.is_relative_to(folder) and path != folder:
            return f"{name}{path.relative_to(folder).as_posix()}"
    return str(path)


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_python():
    place, system = _shown(Path(sys.prefix)), f"{platform.system()} {platform.machine()}"
    return Check("Python", f"{platform.python_version()} in {place}, {system}")


def _check_own_files():
    error = None
    try:
        importlib.import_module("srlib.widgets")  # which stands on nearly everything
    except (Exception, SystemExit) as raised:  # the looks below say why, if it is no own file
        error = raised
    if said := in_the_way(error):
        return Check("names", said[0], "problem", said[1], stops=True)
    return Check("names", "none of this folder hides a module")


def _check_packages():
    project = _COURSE / "pyproject.toml"
    if project.is_file():  # newer than what is noted about an installation of long ago
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        stated = [*table["dependencies"], *table["optional-dependencies"]["notebooks"]]
    else:
        stated = importlib.metadata.requires("srlib")
        stated = [text for text in stated if "extra" not in text or "notebooks" in text]
    stated = [text for text in stated if not text.startswith("torchvision")]  # has its own look
    faults = []
    for text in stated:
        name = re.match(r"[\w.-]+", text)[0]
        if _version(name) is None:
            faults.append(f"{name} is missing")
        elif not _fits(text):
            faults.append(f"{name} {_version(name)} does not fit {text.partition(';')[0]}")
    if faults:
        return Check("packages", "; ".join(faults), "problem", _INSTALL, stops=True)
    return Check("packages", f"all {len(stated)} that notebooks need")


def _fits(text):
    """Tell whether an installed package has a version as required; yes where nobody can tell."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return True
    requirement = Requirement(text)
    return requirement.specifier.contains(_version(requirement.name), prereleases=True)


def _check_library():
    try:
        importlib.import_module("srlib.widgets")  # which stands on nearly everything
    except Exception as error:
        found = f"srlib cannot be imported: {_in_short(error)}"
        remedy = f"delete the environment (make clean deletes .venv) and install again, {_INSTALL}"
        return Check("library", found, "problem", remedy, stops=True)
    return Check("library", "srlib imports what it needs")


def _check_torch():
    try:
        import torch

        version, threads = torch.__version__, torch.get_num_threads()
    except Exception as error:
        if _version("torch") is None:
            return Check("torch", "is missing", "problem", _INSTALL, stops=True)
        remedy = f"{_PIP} uninstall torch, then {_INSTALL}"
        if os.name == "nt":
            remedy += ". If it stays: install Microsoft's Visual C++ Redistributable (x64)"
        found = f"{_version('torch')} cannot be imported: {_in_short(error)}"
        return Check("torch", found, "problem", remedy, stops=True)
    return Check("torch", f"{version}, computes with {threads} of {os.cpu_count()} cores")


def _check_torchvision():
    """Compare builds by name; only a doubtful pair is worth the seconds that an import takes."""
    import torch

    ours = torch.__version__
    number = [int(n) for n in ours.split(".")[:2]]
    fitting = f"0.{number[1] + 15}"  # they run in step: 2.0 and 0.15, 2.1 and 0.16, and so on
    remedy = f"install torchvision {fitting} with --no-deps, from where torch {ours} came"
    try:
        found = importlib.util.find_spec("torchvision")
    except ValueError:  # a module that was put there by hand
        found = None
    if found is None or found.origin is None:
        return Check("torchvision", "is missing", "problem", remedy, stops=True)
    source = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    version = re.search(r"__version__ = ['\"]([^'\"]+)", source)[1]
    builds = [re.findall(r"\+(cpu|cu\d\d|rocm\d)", v) for v in (ours, version)]
    if builds[0] == builds[1] and number[0] == 2 and re.match(rf"{fitting}\b", version):
        return Check("torchvision", f"{version}, of the same build as torch")
    program = [sys.executable, "-c", "import torchvision"]
    result = subprocess.run(program, capture_output=True, text=True, timeout=120)
    if result.returncode == 0:
        return Check(
            "torchvision", f"{version}, made for another torch; it can be imported", "note"
        )
    said = result.stderr.strip().splitlines()
    return Check(
        "torchvision",
        f"{version} and torch {ours} are builds that do not belong together: "
        f"{said[-1] if said else 'the import crashes'}",
        "problem",
        f"{_PIP} uninstall torchvision, then {remedy}",
        stops=True,
    )


def _check_gpu():
    import torch

    with warnings.catch_warnings(record=True) as said:  # torch says so where a driver is too old
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if usable:
        name = environment.hardware()["GPU"]
        try:  # one that is too old or too new for this torch fails only when it computes
            torch.ones(2, device="cuda").sum().item()
        except RuntimeError as error:
            remedy = (
                "another program may hold it: close that. If it is too old or too new for this "
                "torch, install another torch: pytorch.org. Until then set CUDA_VISIBLE_DEVICES=-1"
            )
            found = f"{name}; fails: {_in_short(error)}"
            return Check("GPU", found, "problem", remedy, stops=True)
        return Check("GPU", name)
    there = environment.nvidia_gpu()
    if not there:
        if torch.backends.mps.is_available():
            return Check("GPU", "Apple's Metal is there; the course works on the processor")
        return Check("GPU", "none, training takes longer; else the course is the same")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Check("GPU", f"{there}, hidden by CUDA_VISIBLE_DEVICES", "note")
    if not torch.version.cuda:
        why = f"torch {torch.__version__} was built for the processor only"
        remedy = (
            "make clean, then make lab, which installs torch's CUDA build. Without make: "
            f"{_PIP} uninstall torch torchvision, then install the CUDA build: pytorch.org"
        )
    else:
        why = f"torch, made for CUDA {torch.version.cuda}, cannot use it"
        if said:
            why += f": {textwrap.shorten(str(said[0].message), 120, placeholder=' ...')}"
        remedy = (
            "update the GPU's driver and restart, or install a torch made for an older CUDA: "
            "pytorch.org. Until then the course runs on the processor"
        )
    return Check("GPU", f"{there}; {why}", "problem", remedy)


def _check_profile():
    try:
        return Check("profile", f"{environment.active_profile()}, which says how much to compute")
    except ValueError as error:
        return Check("profile", str(error), "problem", "unset SRLIB_PROFILE", stops=True)


def _check_memory():
    total, free = environment.memory()
    found = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if total < _LEAST_MEMORY:
        remedy = "use a larger machine, a larger container, or Colab"
        return Check("memory", found, "problem", remedy, stops=True)
    if free < _LEAST_FREE:
        return Check("memory", found, "note", "close other programs and notebooks")
    return Check("memory", found)


def _check_widgets():
    """Compare the versions of the parts of ipywidgets that are in this environment."""
    if _version("ipywidgets") is None:
        return Check("sliders", "ipywidgets is missing", "problem", _INSTALL, stops=True)
    faults, parts = [], [f"ipywidgets {_version('ipywidgets')}"]
    for text in importlib.metadata.requires("ipywidgets"):
        name = re.match(r"[\w.-]+", text)[0]
        if name in ("jupyterlab_widgets", "widgetsnbextension"):
            parts.append(f"{name} {_version(name)}")
            if _version(name) is None or not _fits(text):
                faults.append(f"{text} is needed, got {_version(name)}")
    if faults:
        remedy = f"{_PIP} install --force-reinstall --no-deps ipywidgets jupyterlab_widgets "
        remedy += "widgetsnbextension; then restart JupyterLab and reload the page"
        found = f"{parts[0]}: {'; '.join(faults)}"
        return Check("sliders", found, "problem", remedy, stops=True)
    if lab := _version("jupyterlab"):
        return Check("sliders", f"{', '.join(parts)}, jupyterlab {lab}")
    found = f"{parts[0]}; jupyterlab is not in this environment"
    remedy = "fine in VS Code, on Colab, or with a JupyterLab elsewhere; else " + _INSTALL
    return Check("sliders", found, "note", remedy)


def _check_networks():
    from safetensors import SafetensorError, safe_open

    faults, paths = [], sorted(assets.data_file("weights").glob("*/model.safetensors"))
    for path in paths:
        try:
            safe_open(path, framework="numpy")  # its header says how long the file must be
        except (OSError, SafetensorError) as error:
            faults.append(f"{path.parent.name} cannot be read ({_in_short(error)})")
    if faults or not paths:
        remedy = "get them again: git checkout -- data/weights. If another account owns the "
        remedy += "course's folder, it has to make it readable: chmod -R a+rX"
        found = "; ".join(faults) or "none of the course is here"
        return Check("networks", found, "problem", remedy, stops=True)
    return Check("networks", f"all {len(paths)} of the course can be read")


def _check_cache():
    try:
        root, set_by_hand = assets.cache_root(), bool(os.environ.get("SRLIB_DATA"))
    except ValueError as error:
        remedy = "set SRLIB_DATA to a folder that holds datasets, or unset it"
        return Check("cache", str(error), "problem", remedy)
    there = [name for name in assets.datasets() if assets.is_cached(name)]
    found = f"{_shown(root)}{', set by SRLIB_DATA' * set_by_hand}: "
    found += ", ".join(there) or "no dataset yet"
    here = _nearest(root)
    if os.path.isdir(here) and os.access(here, os.W_OK | os.X_OK):
        if here != root and set_by_hand:
            found += "; the folder is not there"
            return Check("cache", found, "note", "is SRLIB_DATA right?")
        return Check("cache", found if here == root else f"{found}; fetch makes the folder")
    if there:
        return Check("cache", f"{found}; read-only, which is fine")
    remedy = (
        "the photographs that come with scikit-image are enough for the course. For datasets, "
        "set SRLIB_DATA to a folder that holds them, or to one that you can write to"
    )
    return Check("cache", f"{found}; cannot be written to", "note", remedy)


def _check_disk():
    free = shutil.disk_usage(_nearest(assets.cache_root())).free
    found = f"{free / 1e9:.1f} GB free for the cache"
    if free < _LEAST_DISK:
        return Check("disk", found, "note", "make room before fetching datasets or training")
    return Check("disk", found)


def _nearest(path):
    """Return the path, or the nearest folder above it that can be seen."""
    return next(place for place in (path, *path.parents) if os.path.exists(place))


LOOKS: dict[str, Callable[[], Check]] = {
    "Python": _check_python,
    "names": _check_own_files,
    "torch": _check_torch,
    "packages": _check_packages,
    "library": _check_library,
    "torchvision": _check_torchvision,
    "GPU": _check_gpu,
    "profile": _check_profile,
    "memory": _check_memory,
    "sliders": _check_widgets,
    "networks": _check_networks,
    "cache": _check_cache,
    "disk": _check_disk,
}
