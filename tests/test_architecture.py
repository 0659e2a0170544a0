"""What the shape of the repository promises."""

import ast
import graphlib
import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

PACKAGE = REPOSITORY / "srlib"
WINGS = {"exercises", "figures", "widgets", "doctor"}  # the library does without them
NAMES = {
    path: ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
}
each_module = pytest.mark.parametrize("path", NAMES, ids=NAMES.values())


def imported_by(path: Path) -> set[str]:
    """Modules of srlib that a module imports when it is imported itself."""
    found = set()
    nodes = list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue  # runs later
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        nodes += ast.iter_child_nodes(node)
    return found & set(NAMES.values()) - {"srlib"}


def test_the_library_never_imports_the_courses_machinery():
    for path, name in NAMES.items():
        wing = name.split(".")[1] if "." in name else ""
        if wing in WINGS or wing in ("__main__", "_train_command"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):  # inside functions too
            modules = [getattr(node, "module", None) or ""] if hasattr(node, "names") else []
            modules += [
                f"{getattr(node, 'module', '') or ''}.{alias.name}".strip(".")
                for alias in getattr(node, "names", [])
                if isinstance(alias, ast.alias)
            ]
            for module in modules:
                parts = module.split(".")
                assert parts[0] != "srlib" or not WINGS & set(parts[1:2]), f"{name}: {module}"


def test_nothing_imports_in_a_circle():
    graph = {name: imported_by(path) - {name} for path, name in NAMES.items()}
    # A package imports its parts; a part is imported after the package's own lines.
    graph = {
        name: {other for other in imports if not name.startswith(f"{other}.")}
        for name, imports in graph.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError and names it


@each_module
def test_what_a_module_offers_is_there_and_described(path):
    if NAMES[path] == "srlib":
        assert path.read_text() == ""
        return
    module = importlib.import_module(NAMES[path])
    assert module.__doc__
    for name in module.__all__:
        assert not name.startswith("_")
        value = getattr(module, name)
        assert not callable(value) or value.__doc__


def test_what_is_used_elsewhere_is_offered():
    """A name that another file takes from a module stands in that module's ``__all__``."""
    others = (REPOSITORY / folder for folder in ("tools", "solutions"))
    files = [*NAMES, *(path for folder in others for path in folder.glob("*.py"))]
    missing = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module not in NAMES.values():
                continue
            offered = getattr(importlib.import_module(node.module), "__all__", [])
            for alias in node.names:
                if (
                    f"{node.module}.{alias.name}" not in NAMES.values()
                    and alias.name not in offered
                ):
                    missing.add(f"{node.module}.{alias.name}")
    assert not missing


def test_pyproject_environment_and_readme_agree():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    environment = (REPOSITORY / "environment.yml").read_text()
    readme = (REPOSITORY / "README.md").read_text()
    python = project["requires-python"].removeprefix(">=")
    assert f"python>={python}" in environment
    assert f"Python {python}" in readme
    extras = set(project["optional-dependencies"])
    assert extras == {"notebooks", "course", "dev", "heic"}
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


# These need what notebooks need, too.
LIBRARY_EXTRA = {"doctor", "figures", "widgets", "onnx_files", "video"}


@pytest.mark.parametrize(
    ("pattern", "extras"),
    [
        ("srlib/**/*.py", ()),
        ("solutions/*.py", ("notebooks",)),
        ("tools/*.py", ("notebooks", "dev")),
        ("tests/*.py", ("notebooks", "dev")),
    ],
)
def test_what_is_imported_is_declared(pattern, extras):
    from importlib.metadata import packages_distributions

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    own = {path.stem for folder in ("tools", "tests") for path in REPOSITORY.glob(f"{folder}/*.py")}
    own |= {path.parent.name for path in REPOSITORY.glob("tests/*/*.py")}
    own |= {"srlib", "big_picture", "random_patches"}  # the last two: notebooks write them
    distributions = packages_distributions()  # looks at every installed file
    for path in REPOSITORY.glob(pattern):
        wing = path.relative_to(REPOSITORY).with_suffix("").parts[1]
        groups = extras or (("notebooks",) if wing in LIBRARY_EXTRA else ())
        lines = [*project["dependencies"], *(line for group in groups for line in optional[group])]
        declared = {re.match(r"[\w.-]+", line)[0] for line in lines}
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for module in {module.split(".")[0] for module in modules}:
                if module in sys.stdlib_module_names or module in own:
                    continue
                packages = {n.lower().replace("_", "-") for n in distributions.get(module, ())}
                assert packages & declared, f"{path.relative_to(REPOSITORY)} imports {module}"


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
            assert Version(version(requirement.name)).public == pin.version  # 2.14.1+cpu counts


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
