"""The course where it is not installed: setup cell, missing packages, forks, cut sessions."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import NamedTuple

import build_notebooks as notebooks
import nbformat
import publish
import pytest
from install_missing import exactly
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# What Colab has for certain, and what a kernel needs.
BROUGHT = ("torch", "torchvision", "numpy", "matplotlib", "ipywidgets", "scikit-image", "ipykernel")
REPOSITORY, REF = "owner/name", "trunk"


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, **options)


def copy_course(target: Path) -> Path:
    """Copy what git would commit now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = run(*listed, cwd=ROOT)
    if done.returncode:
        pytest.skip(f"needs a clone, not a download, of the course: {done.stderr.strip()}")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():  # not deleted, and no submodule
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# A fork


@pytest.fixture(scope="module")
def fork(tmp_path_factory) -> Path:
    """A copy of the course that names no repository, whatever this one does."""
    course = copy_course(tmp_path_factory.mktemp("fork"))
    assert publish.main(["--none", "--root", str(course)]) == 0
    return course


@pytest.mark.slow
def test_a_second_fork_stamps_over_the_first(fork, capsys):
    def stamp(*arguments: str) -> str:
        assert publish.main([*arguments, "--root", str(fork)]) == 0
        assert notebooks.main(["--check", "--root", str(fork)]) == 0
        return capsys.readouterr().out

    def traces(text: bytes) -> list[str]:
        return [name for name, held in contents(fork).items() if text in held]

    shutil.rmtree(fork / "tests")  # this file holds all the names
    before = contents(fork)
    assert not traces(b"colab.research.google.com/github/")

    said = stamp("first-uni/sr-course", "--ref", "v1.0")
    assert "github/first-uni/sr-course/blob/v1.0/notebooks/00_welcome.ipynb" in said
    made = {
        f"{f}/{s.stem}.ipynb"
        for s in fork.glob("solutions/*.py")
        for f in ("notebooks", "solutions")
    }
    assert set(traces(b"first-uni")) == made | {"pyproject.toml", "README.md"}
    assert "https://first-uni.github.io/sr-course/\n" in said and "/settings/pages" in said
    link = b"(https://first-uni.github.io/sr-course/try/index.html)"
    assert contents(fork)["README.md"].count(link) == 1
    first = contents(fork)
    assert "written" not in stamp("first-uni/sr-course", "--ref", "v1.0")
    assert contents(fork) == first

    stamp("second/super.resolution", "--ref", "main")
    assert traces(b"first-uni") == traces(b"v1.0/notebooks") == []
    assert set(traces(b"second/super.resolution")) == made | {"pyproject.toml"}
    assert b"https://second.github.io/super.resolution/try/" in contents(fork)["README.md"]
    for path in fork.glob("notebooks/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert cells[0].source.count("Open in Colab") == 1
        assert f"blob/main/notebooks/{path.name})" in cells[0].source
        assert 'repository, ref = "second/super.resolution", "main"' in cells[1].source
        compile(cells[1].source, path.name, "exec")

    old, new = before["pyproject.toml"].decode(), contents(fork)["pyproject.toml"].decode()
    assert new == old.replace('\nrepository = ""', '\nrepository = "second/super.resolution"')
    stamp("--none")
    assert contents(fork) == before  # outputs too


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://github.com/owner/name"], "repository must be 'owner/name' on GitHub, got 'http"),
        (["owner"], "repository must be 'owner/name' on GitHub, got 'owner'"),
        (["owner/name.git"], "got 'owner/name.git'"),
        (["owner/.."], "got 'owner/..'"),
        (['owner/na"me'], "repository must be"),
        (["owner/name", "--ref", "two words"], "ref must be the name of a branch or tag"),
        (["owner/name", "--ref=--upload-pack=x"], "ref must be the name"),
        (["owner/name", "--ref", "a..b"], "got 'a..b'"),
        (["owner/name", "--ref", ""], "got ''"),
        (["owner/name", "--ref", "0123456789" * 4], "which can be cloned, got commit '0123"),
    ],
)
def test_publish_refuses_what_learners_could_not_clone(fork, capsys, arguments, message):
    before = contents(fork)
    assert publish.main([*arguments, "--root", str(fork)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert contents(fork) == before


@pytest.mark.parametrize("arguments", [[], [""], ["owner/name", "--none"]])
def test_publish_without_a_name_shows_how(fork, capsys, arguments):
    with pytest.raises(SystemExit):
        publish.main([*arguments, "--root", str(fork)])
    assert "make publish REPO=owner/name REF=main" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", '[tool.srlib.course]\nrepository = ""\n', "[tool]\nref = 1\n"]
)
def test_publish_says_where_a_setting_is_missing(tmp_path, capsys, text):
    (tmp_path / "pyproject.toml").write_text(text)
    assert publish.main(["owner/name", "--root", str(tmp_path)]) == 1
    assert "[tool.srlib.course] needs one line" in capsys.readouterr().err
    assert (tmp_path / "pyproject.toml").read_text() == text


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("owner/name", "https://owner.github.io/name/"),
        ("Some-Uni/SR.course", "https://some-uni.github.io/SR.course/"),
        ("Owner/owner.github.io", "https://owner.github.io/"),
        ("other/owner.github.io", "https://other.github.io/owner.github.io/"),
    ],
)
def test_where_pages_shows_a_site(repository, address):
    assert publish.site_address(repository) == address
    assert f"]({address}try/index.html)" in publish.try_line(repository)


def test_the_readme_begins_with_the_way_to_the_sliders():
    first = (ROOT / "README.md").read_text("utf-8").splitlines()[2]
    assert first == publish.try_line(notebooks.course_address(ROOT)[0])
    assert re.fullmatch(publish.TRY_LINE, first)
    assert "](" not in publish.try_line(""), "no dead link where nothing is published"


def test_a_readme_without_the_line_is_left_alone(tmp_path, capsys):
    (tmp_path / "README.md").write_text("# Mine\n")
    publish.link_readme(tmp_path, "owner/name")
    assert "README.md has no line" in capsys.readouterr().out
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


def test_what_publish_cannot_write_whole_stays_as_it_was(tmp_path, monkeypatch):
    texts = {
        "README.md": "**Try it in the browser**\n",
        "pyproject.toml": '\n[tool.srlib.course]\nrepository = ""\nref = "main"\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    def half(path, text, **_):
        path.write_bytes(text[:1].encode())
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="full"):
        publish.link_readme(tmp_path, "owner/name")
    with pytest.raises(OSError, match="full"):
        publish.main(["owner/name", "--root", str(tmp_path)])
    assert {name: (tmp_path / name).read_text() for name in texts} == texts


@pytest.mark.parametrize("ref", ["main", "v1.0", "term/2026-autumn", "a+b_c"])
def test_course_address_reads_what_publish_wrote(tmp_path, ref):
    text = "[x]\nref = \"mine\"\n\n[tool.srlib.course]\n# a note\nrepository = 'o/n'  # whose\n"
    text += 'ref = "main"\n\n[y]\nrepository = "mine"\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert publish.main(["owner/name", "--ref", ref, "--root", str(tmp_path)]) == 0
    assert notebooks.course_address(tmp_path) == ("owner/name", ref)
    written = (tmp_path / "pyproject.toml").read_text()
    assert written == text.replace("'o/n'", '"owner/name"').replace('"main"', f'"{ref}"')
    assert publish.main(["--none", "--root", str(tmp_path)]) == 0
    assert notebooks.course_address(tmp_path) == ("", "")


# Missing packages


def make_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{name.replace('-', '_')}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)


class Machine(NamedTuple):
    """A Python of its own, and the variables that its programs see."""

    folder: Path
    environment: dict[str, str]

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        (path,) = self.folder.glob("lib/python*/site-packages")
        return path

    def installed(self) -> dict[str, tuple[str, int, int]]:
        """Name to version, and to inode and time of the RECORD, which pip writes anew."""
        found = {}
        for package in distributions(path=[str(self.packages)]):
            if package.name:
                record = (Path(package._path) / "METADATA").stat()
                found[canonicalize_name(package.name)] = (
                    package.version, record.st_ino, record.st_mtime_ns,
                )  # fmt: skip
        return found

    def run(self, *command, **options) -> subprocess.CompletedProcess:
        environment = self.environment | options.pop("env", {})
        return run(self.python, *command, **{"cwd": self.folder, "env": environment, **options})


def make_machine(folder: Path, **environment: str) -> Machine:
    done = run(sys.executable, "-m", "venv", folder)
    if done.returncode:
        pytest.skip(f"no environment can be made: {(done.stdout + done.stderr).strip()[-200:]}")
    hidden = ("SRLIB_", "PYTHON", "VIRTUAL_ENV", "JUPYTER", "MPL")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(hidden)}
    return Machine(folder, kept | environment)


@pytest.fixture(scope="module")
def small_once(tmp_path_factory) -> Machine:
    folder = tmp_path_factory.mktemp("small")
    shelf = folder / "shelf"
    for name, version, *requires in [
        ("torch", "2.6.0+mine"), ("torch", "2.7.0"), ("torch", "99.0"), ("tidy", "1.0"),
        ("tidy", "2.0"), ("torchvision", "0.21.0", "torch==2.6.0"),
        ("torchvision", "0.22.0", "torch==2.7.0"), ("torchvision", "0.99.0", "torch>=99"),
        ("left-pad", "1.0", "tidy>=1", "torch", "under_neath"), ("under-neath", "3.0"),
        ("greedy", "1.0", "torch>=99"), ("Dotted.Name", "1.0"),
    ]:  # fmt: skip
        make_wheel(shelf, name, version, tuple(requires))
    machine = make_machine(
        folder / "machine", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(shelf), PIP_NO_CACHE_DIR="1"
    )
    there = ("torch==2.6.0+mine", "tidy==1.0", "Dotted.Name")
    assert machine.run("-m", "pip", "install", *there).returncode == 0
    return machine


@pytest.fixture
def small(small_once, tmp_path) -> Machine:
    """A machine with a torch of its own, and a shelf of wheels in place of the package index."""
    shutil.copytree(small_once.folder, tmp_path / "machine", symlinks=True)
    return small_once._replace(folder=tmp_path / "machine")


def install_missing(machine: Machine, dependencies: list[str], extra: list[str] = ()):
    """Run the tool in a scratch course with these dependencies."""
    course = machine.folder.parent / "course"
    (course / "tools").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tools" / "install_missing.py", course / "tools")
    (course / "pyproject.toml").write_text(
        f"[project]\ndependencies = {json.dumps(dependencies)}\n"
        f"[project.optional-dependencies]\nnotebooks = {json.dumps(list(extra))}\n"
    )
    return machine.run(course / "tools" / "install_missing.py")


@pytest.mark.slow
def test_only_missing_packages_are_installed(small):
    before = small.installed()
    done = install_missing(small, ["torch>=2.6", "tidy>=1", "dotted-name"], ["left_pad>=1"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Installed left-pad 1.0, under-neath 3.0\n"
    after = small.installed()
    assert {name: after[name] for name in before} == before
    assert {name: after[name][0] for name in after.keys() - before.keys()} == {
        "left-pad": "1.0",
        "under-neath": "3.0",
    }
    spelled = ["torch", "left_pad", "dotted-name"]
    assert install_missing(small, spelled).stdout == "No package is missing\n"


@pytest.mark.slow
def test_what_is_there_stays_though_a_package_wants_it_newer(small):
    before = small.installed()
    done = install_missing(small, ["torch>=2.6", "left-pad", "greedy"])
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("RuntimeError: pip cannot install left-pad, greedy: Cannot install gree")
    assert small.installed() == before

    done = install_missing(small, ["torch>=2.6", "nowhere>=1"])
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: pip cannot install nowhere: Could not find a version that satisfies the req"
    )


@pytest.mark.slow
def test_what_a_failed_uninstall_left_does_no_harm(small):
    (small.packages / "~roken-1.0.dist-info").mkdir()
    done = install_missing(small, ["torch", "under-neath"])
    assert (done.returncode, done.stdout) == (0, "Installed under-neath 3.0\n"), done.stderr


@pytest.mark.parametrize("version", ["2", "2.6.0+cu124", "1.0rc1", "2024.1.post2", "0.1.dev3"])
def test_versions_are_pinned(version):
    assert Requirement(f"x{exactly(version)}").specifier.contains(version)
    assert exactly(version) == f"=={version}"


def test_versions_that_are_none_are_compared_as_text():  # pip refuses ==1.1build1
    assert exactly("1.1build1") == "===1.1build1"


@pytest.mark.slow
def test_of_two_copies_the_one_that_is_imported_counts(small, tmp_path):
    older = tmp_path / "older"
    pip = ("-m", "pip", "install", "--target", older, "--no-deps", "tidy==2.0", "under-neath")
    assert small.run(*pip).returncode == 0
    (small.packages / "older.pth").write_text(str(older))  # behind site-packages on sys.path
    done = install_missing(small, ["torch", "left-pad", "under-neath"])
    assert (done.returncode, done.stdout) == (0, "Installed left-pad 1.0\n"), done.stderr
    assert small.installed()["tidy"][0] == "1.0"


@pytest.mark.slow
def test_torch_is_never_installed(small):
    assert small.run("-m", "pip", "uninstall", "-y", "torch").returncode == 0
    done = install_missing(small, ["torch>=2.6", "under-neath"])
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: torch is not installed here, and")
    assert not {"torch", "under-neath"} & small.installed().keys()


@pytest.mark.slow
def test_a_missing_torchvision_is_the_one_that_fits_torch(small):
    before = small.installed()
    done = install_missing(small, ["torch>=2.6"], ["torchvision>=0.21", "under-neath"])
    assert done.stderr.splitlines()[-1] == (
        "RuntimeError: torchvision is not installed here: install torchvision 0.21 of the build "
        "mine with --no-deps, from where torch 2.6.0+mine came"
    )
    assert small.installed() == before

    assert small.run("-m", "pip", "install", "torch==2.7.0").returncode == 0  # of no named build
    before = small.installed()
    done = install_missing(small, ["torch>=2.6"], ["torchvision>=0.21"])
    assert (done.returncode, done.stdout) == (0, "Installed torchvision 0.22.0\n"), done.stderr
    assert small.installed()["torch"] == before["torch"]


# Colab


def closure(names: tuple[str, ...]) -> dict[str, list[Path]]:
    """Files of packages and of all that they need, relative to site-packages, by package."""
    files, queue, seen = {}, [(name, "") for name in names], set()
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        package = distribution(name)
        # Scripts, outside of site-packages, would start this Python.
        files[name] = [Path(file) for file in package.files if ".." not in file.parts]
        for requirement in map(Requirement, package.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                queue += [(needed, wish) for wish in ("", *requirement.extras)]
    return files


def link(files: list[Path], source: Path, target: Path) -> None:
    """Put files, and their compiled twins, at a second place without a second copy of them."""
    for file in files:
        twin = Path(importlib.util.cache_from_source(str(file))) if file.suffix == ".py" else file
        for name in {file, twin}:
            if (source / name).is_file() and not (target / name).exists():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(source / name, target / name)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """The course as a fork's repository."""
    course = copy_course(tmp_path_factory.mktemp("served"))
    assert publish.main([REPOSITORY, "--ref", REF, "--root", str(course)]) == 0
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", course)
    for arguments in (("init", "-q", "-b", REF), ("add", "-A"), ("commit", "-q", "-m", "x")):
        done = run(*git, *arguments)
        assert done.returncode == 0, done.stderr
    return course


@pytest.fixture(scope="module")
def colab(served) -> Iterator[Machine]:
    """A machine like Colab: torch and the usual packages, `google.colab`, no srlib."""
    (ROOT / "build").mkdir(exist_ok=True)  # on the disk of the environment that runs this
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="colab-") as folder:
        machine = make_machine(
            Path(folder) / "machine",
            SRLIB_PROFILE="ci",
            OMP_NUM_THREADS="1",
            GIT_CONFIG_COUNT="1",  # answers for github.com
            GIT_CONFIG_KEY_0=f"url.file://{served}.insteadOf",
            GIT_CONFIG_VALUE_0=f"https://github.com/{REPOSITORY}.git",
            JUPYTER_PATH=str(Path(folder) / "jupyter"),
        )
        source = Path(distribution("torch").locate_file(""))
        try:
            for files in closure(BROUGHT).values():
                link(files, source, machine.packages)
        except OSError as error:
            pytest.skip(f"build/ and the environment cannot share files: {error}")
        google = machine.packages / "google" / "colab"
        google.mkdir(parents=True)  # a namespace package, as protobuf has its part of it
        (google / "__init__.py").write_text("")
        (google / "drive.py").write_text("def mount(mountpoint): ...\n")
        kernel = Path(folder) / "jupyter" / "kernels" / "colab" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        start = [str(machine.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": start, "display_name": "", "language": "python"}))
        find = "from importlib.util import find_spec as f; import google.colab"
        done = machine.run("-c", f"{find}; print([bool(f(n)) for n in ('torch', 'srlib', 'tqdm')])")
        assert done.stdout == "[True, False, False]\n", done.stderr
        yield machine


def setup_source(served: Path) -> str:
    notebook = nbformat.read(served / "notebooks" / "00_welcome.ipynb", as_version=4)
    assert "setup" in notebook.cells[1].metadata.tags
    return notebook.cells[1].source


@pytest.mark.slow
def test_setup_says_in_a_sentence_why_it_cannot_go_on(colab, served, tmp_path):
    def last_line(source: str, **environment: str) -> str:
        done = colab.run("-c", source, cwd=tmp_path, env=environment)
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    before, source = colab.installed(), setup_source(served)
    said = last_line(source.replace(f'"{REF}"', '"gone"'))
    assert said.startswith(
        f"RuntimeError: the course cannot be cloned from https://github.com/{REPOSITORY}.git at "
        "gone: "
    )
    assert said.endswith("fatal: Remote branch gone not found in upstream origin")
    said = last_line(source.replace(REPOSITORY, "owner/private"), https_proxy="http://127.0.0.1:9")
    assert "cannot be cloned from https://github.com/owner/private.git at trunk: fatal: " in said
    assert [path.name for path in tmp_path.iterdir()] == []

    said = last_line(source, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert said.startswith("RuntimeError: pip cannot install accelerate, pandas, ")
    assert ": Could not find a version that satisfies the requirement " in said
    assert colab.installed() == before


class Session(NamedTuple):
    """A folder outside of the repository in which notebooks are opened."""

    machine: Machine
    folder: Path

    def open(self, served: Path, number: str) -> nbformat.NotebookNode:
        """Run a learner notebook as it would be opened from its badge."""
        (path,) = served.glob(f"notebooks/{number}_*.ipynb")
        shutil.copy(path, self.folder)
        done = run(
            sys.executable, "-m", "papermill", path.name, f"out_{number}.ipynb", "--kernel",
            "colab", "--no-progress-bar", "--execution-timeout", 300,
            cwd=self.folder, env=self.machine.environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        executed = nbformat.read(self.folder / f"out_{number}.ipynb", as_version=4)
        assert notebooks.find_errors(executed) == []
        return executed


def setup_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells if "setup" in cell.metadata.tags)


def printed(cell: nbformat.NotebookNode) -> list[str]:
    return "".join(output.get("text", "") for output in cell.outputs).splitlines()


@pytest.fixture(scope="module")
def first_session(colab, served, tmp_path_factory):
    """Notebook 00 on a fresh machine, whose setup cell had all the work to do."""
    asked = colab.run(
        "-m", "pip", "install", "--dry-run", "--no-deps", "--retries", "0", "--timeout", "10", "av"
    )
    if asked.returncode:
        pytest.skip(f"pip reaches no package index: {asked.stderr.strip().splitlines()[-1]}")
    session = Session(colab, tmp_path_factory.mktemp("content"))
    junk = session.folder / f"owner-name-{REF}.part" / "srlib"  # of a clone that was interrupted
    junk.mkdir(parents=True)
    before = colab.installed()
    return session, before, session.open(served, "00")


@pytest.mark.network
@pytest.mark.slow
def test_setup_clones_and_installs_what_is_missing(first_session, colab, served, capsys):
    session, before, notebook = first_session
    cell = setup_cell(notebook)
    clone = session.folder / f"owner-name-{REF}"
    cloned, installed, versions = printed(cell)
    assert cloned == f"Cloned https://github.com/{REPOSITORY}.git at {REF} into {clone}"
    assert versions.startswith("Python 3.")
    assert sorted(path.name for path in session.folder.iterdir()) == sorted(
        [clone.name, "00_welcome.ipynb", "out_00.ipynb"]
    )
    after = colab.installed()
    added = {name: after[name][0] for name in after.keys() - before.keys()}
    assert installed.startswith("Installed ")
    assert dict(item.split() for item in installed[10:].split(", ")) == added
    project = tomllib.loads((served / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    names = {canonicalize_name(Requirement(line).name) for line in asked}
    assert names <= after.keys()
    assert names - before.keys() <= added.keys()
    seconds = cell.metadata.papermill.duration
    with capsys.disabled():
        print(f"\nsetup cell on a fresh machine: {seconds:.1f} s, {len(added)} packages installed")


@pytest.mark.network
@pytest.mark.slow
def test_setup_changes_nothing_that_was_there(first_session, colab):
    _, before, _ = first_session
    after = colab.installed()
    assert {name: after[name] for name in before} == before
    here = Path(distribution("torch").locate_file(""))
    files = closure(("torch",))["torch"]
    assert len(files) > 1000
    for file in files:
        one, other = (here / file).stat(), (colab.packages / file).stat()
        assert (one.st_ino, one.st_mtime_ns) == (other.st_ino, other.st_mtime_ns), file


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("number", ["07", "09"])
def test_notebooks_run_outside_of_the_repository(first_session, served, tmp_path, number):
    session, _, _ = first_session
    again = number == "09"  # in the same session; the other one on the machine after a restart
    session = session if again else Session(session.machine, tmp_path)
    place, packages, _ = printed(setup_cell(session.open(served, number)))
    assert place.startswith("The course is in " if again else "Cloned ")
    assert packages == "No package is missing"


# A session that is cut

KILL = """
import os, signal
draw, drawn = sampler.sample, []

def draw_until_killed(*arguments):
    drawn.append(1)
    if len(drawn) == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(*arguments)

sampler.sample = draw_until_killed
"""


@pytest.mark.notebooks
@pytest.mark.slow
def test_training_goes_on_in_a_mounted_folder_after_the_session_was_cut(tmp_path):
    def session(name: str, notebook: nbformat.NotebookNode) -> tuple[int, str]:
        (tmp_path / name).mkdir()
        nbformat.write(notebook, tmp_path / name / "09.ipynb")
        done = run(
            sys.executable, "-m", "papermill", "09.ipynb", "out.ipynb", "--kernel", "python3",
            "--no-progress-bar", "--parameters", "keep_in", tmp_path / "drive" / "srlib",
            cwd=tmp_path / name, env=os.environ | {"SRLIB_PROFILE": "ci"},
        )  # fmt: skip
        executed = nbformat.read(tmp_path / name / "out.ipynb", as_version=4)
        code = [cell for cell in executed.cells if cell.cell_type == "code"]
        return done.returncode, "\n".join(sum(map(printed, code), [])) + done.stderr

    (path,) = ROOT.glob("notebooks/09_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    (place,) = [n for n, cell in enumerate(notebook.cells) if "history = train(\n" in cell.source]
    cut = nbformat.from_dict(notebook)
    cut.cells = [*cut.cells[:place], nbformat.v4.new_code_cell(KILL), *cut.cells[place:]]

    code, text = session("unmounted", notebook)
    assert code == 1
    assert "FileNotFoundError: keep_in: is the disk mounted? There is no" in text
    (tmp_path / "drive").mkdir()

    code, text = session("first", cut)
    assert code != 0
    assert "Kernel died" in text
    assert "starts at step 0" in text
    kept = sorted((tmp_path / "drive" / "srlib").rglob("step-*"))
    assert [int(re.search(r"step-(\d+)", path.name)[1]) for path in kept] == [5, 10]

    code, text = session("second", notebook)
    assert code == 0
    assert f"resumes from step 10, saved in {tmp_path}/drive/srlib/09_training/ci" in text
    assert re.search(r"^20 steps in", text, re.MULTILINE)
    assert not (tmp_path / "second" / "runs").exists()
