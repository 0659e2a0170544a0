"""What the shape of the repository promises."""

import ast
import importlib
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

FLOORS = [
    {"environment", "image", "resample", "checks", "download", "comparison", "safe_call"}
    | {"checkpoint", "history_plots", "stop_request", "whole_file", "fixed_order"}
    | {"muon"},
    {"assets", "metrics", "layers", "exercise_inputs", "live", "measuring", "onnx_files", "run_log"}
    | {"train_config", "training_state"},
    {"data", "classic_models", "grading"},
    {"evaluation", "models", "training"} | {f"exercises_{number:02}" for number in range(16)},
    {"figures", "diagrams", "exercises", "photo_picker", "recipes"},
    {"widgets", "train_command"},
    {"examination"},
    {"doctor"},
    {"__main__"},
]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}
MODULES = sorted(p for p in (REPOSITORY / "srlib").glob("*.py") if p.stem != "__init__")
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)


def test_the_package_is_flat_and_its_init_empty():
    assert (REPOSITORY / "srlib/__init__.py").read_text() == ""
    assert {path.stem for path in MODULES} == FLOOR.keys()


@each_module
def test_imports_lead_downwards(path):
    for node in ast.walk(ast.parse(path.read_text())):
        imported = []
        if isinstance(node, ast.ImportFrom) and node.module == "srlib":
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srlib."):
            imported = [node.module.removeprefix("srlib.")]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("srlib.") for alias in node.names)
        for name in imported:
            assert FLOOR[name] < FLOOR[path.stem], f"{path.stem} imports {name}"


@each_module
def test_modules_stay_small(path):
    # Exercises are content: references, cases, mistakes and hints, no logic.
    limit = 400 if path.stem.startswith("exercises_") else 350
    assert len(path.read_text().splitlines()) <= limit
    module = importlib.import_module(f"srlib.{path.stem}")
    assert module.__doc__
    assert 1 <= len(module.__all__) <= 6
    for name in module.__all__:
        assert not name.startswith("_") and hasattr(module, name)
        value = getattr(module, name)
        assert not callable(value) or value.__doc__


def test_pyproject_environment_and_readme_agree():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    environment = (REPOSITORY / "environment.yml").read_text()
    readme = (REPOSITORY / "README.md").read_text()
    python = project["requires-python"].removeprefix(">=")
    assert f"python>={python}" in environment
    assert f"Python {python}" in readme
    extras = set(project["optional-dependencies"])
    assert extras == {"notebooks", "course", "dev"}
    assert ".[course,dev]" in environment and '".[course]"' in readme
    assert "constraints.txt" in environment and "constraints.txt" in readme
    torch = next(d for d in project["dependencies"] if d.startswith("torch"))
    assert torch == "torch>=2.6"
    # Thin: python, pip, and this package; nothing else is named.
    listed = [line.strip() for line in environment.splitlines() if line.strip().startswith("- ")]
    assert listed == [
        "- conda-forge",
        f"- python>={python}",
        "- pip",
        "- pip:",
        "- --constraint constraints.txt",
        "- --editable .[course,dev]",
    ]
    for target in ("make lab", "make test", "make bench", "make notebooks"):
        assert target in readme


def test_what_is_declared_is_pinned_and_installed_as_pinned():
    from importlib.metadata import version

    from packaging.requirements import Requirement
    from packaging.version import Version

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra
    pins = [
        Requirement(line)
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    for requirement in map(Requirement, declared):
        if requirement.name == "srlib":  # an extra that takes another one in
            continue
        found = [
            p for p in pins if p.name == requirement.name and (not p.marker or p.marker.evaluate())
        ]
        assert len(found) == 1, requirement
        (pin,) = next(iter([p.specifier for p in found]))
        assert Version(pin.version) in requirement.specifier
        if os.environ.get("CI"):  # elsewhere the versions are the user's own affair
            assert version(requirement.name) == pin.version


@pytest.mark.slow
def test_the_wheel_carries_its_data_and_works(tmp_path):
    """Build the wheel, unpack it, and use it with the clone out of the way."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import srlib.assets, srlib.evaluation as e, matplotlib.style as s\n"
        "print(srlib.assets.__file__)\n"
        "assert len(e.published_results()) > 10\n"
        "assert srlib.assets.data_file('records/protocol_audit_imdn.csv').is_file()\n"
        "assert not srlib.assets.is_cached('Set5')\n"
        "from srlib.models import load_pretrained\n"
        "assert load_pretrained('srresnet_small_x4').scale == 4\n"
        "s.use('srlib.course')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("SRLIB_DATA", None)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(site))
