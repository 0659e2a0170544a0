"""`srlib.doctor`: each fault is made, named, and comes with its remedy."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srlib import assets, doctor, environment
from srlib.__main__ import main
from srlib._own_files import in_the_way
from srlib.doctor import examine, report, show_test_widget
from srlib.doctor import looks as examination
from srlib.doctor.looks import LOOKS, Check, look

REPOSITORY = Path(__file__).resolve().parents[1]


def assert_found(check, state, *words, stops=False):
    """Every problem has a remedy; all words are said somewhere."""
    assert (check.state, check.stops) == (state, stops), check
    assert check.remedy or state != "problem"
    for word in words:
        assert word in f"{check.found} -> {check.remedy}", check


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that comes before the installed ones, here and in processes."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def add(name, version, body=None, requires=()):
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines))
        if body is not None:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(body)
            (folder / name / "version.py").write_text(f"__version__ = '{version}'\n")
        return folder

    return add


# --- the whole --------------------------------------------------------------------------------


def test_this_machine_can_do_the_course(monkeypatch):
    monkeypatch.setattr(assets, "servers", lambda: ())
    checks = examine()
    assert [check.name for check in checks] == [*LOOKS, "internet"]
    assert not [check for check in checks if check.stops]
    assert report(checks).splitlines()[-1].startswith("This machine can do the course.")


TEXTS = st.text(st.sampled_from("ab-. ü"), max_size=300)
CHECKS = st.builds(
    Check, st.sampled_from([*LOOKS]), TEXTS, st.sampled_from(["ok", "note", "problem"]), TEXTS
)


@given(st.lists(CHECKS, max_size=5))
def test_a_report_is_whole_and_fits_the_screen(checks):
    lines = report(checks).splitlines()
    said = "".join("".join(lines).split())
    for check in checks:
        assert "".join(check.found.split()) in said and "".join(check.remedy.split()) in said
        assert any(line.split()[:2] == [check.state, check.name] for line in lines)
    words = [word for check in checks for word in f"{check.found} {check.remedy}".split()]
    assert max(map(len, lines)) <= max([100, *(len(word) + 28 for word in words)])


@pytest.mark.parametrize(
    ("faults", "verdict"),
    [
        ([], "This machine can do the course."),
        ([("GPU", False)], "This machine can do the course. Worth mending: GPU."),
        ([("GPU", False), ("torch", True)], "Mend first: torch. Then look again."),
    ],
)
def test_the_verdict_and_the_exit_code(faults, verdict, monkeypatch, capsys):
    checks = [Check(name, "broken", "problem", "mend it", stops) for name, stops in faults]
    monkeypatch.setattr(doctor, "examine", lambda: [Check("Python", "3"), *checks])
    assert main(["info"]) == any(stops for _, stops in faults)
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def test_colours_are_for_terminals(monkeypatch, capsys):
    checks = [Check("a", "b", state) for state in ("ok", "note", "problem")]
    assert "\x1b" not in report(checks) and report(checks, colour=True).count("\x1b[0m") == 3
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    for terminal, no_colour, count in ((True, None, 3), (True, "1", 0), (False, None, 0)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.delenv("NO_COLOR", raising=False)
        if no_colour:
            monkeypatch.setenv("NO_COLOR", no_colour)
        main(["info"])
        assert capsys.readouterr().out.count("\x1b[0m") == count


def test_a_look_that_fails_is_a_note():
    def fail():
        raise OSError("no such thing")

    assert_found(look("disk", fail), "note", "could not be looked at: OSError: no such thing")


# --- broken installations ---------------------------------------------------------------------


@pytest.mark.parametrize("command", [["info"], ["upscale", "photo.jpg", "out.png"]])
def test_the_program_says_what_is_wrong_where_torch_cannot_be_imported(site, command):
    folder = site("torch", "2.14.1", "raise OSError('libcudart.so.13: cannot open')")
    (folder / "requests.py").write_text("head = lambda *args, **options: None")
    done = subprocess.run(
        [sys.executable, "-m", "srlib", *command], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr == "error: OSError: libcudart.so.13: cannot open\n"
    assert "torch        2.14.1 cannot be imported: OSError: libcudart" in done.stdout
    assert "uninstall torch" in done.stdout and "make lab" in done.stdout
    assert done.stdout.splitlines()[-1] == "Mend first: torch. Then look again."


def test_a_missing_torch_is_said_once(monkeypatch):
    monkeypatch.setattr(assets, "servers", lambda: ())
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(examination, "_version", lambda name: name != "torch" and "99" or None)
    checks = {check.name: check for check in examine()}
    assert_found(checks["torch"], "problem", "is missing", "make lab", stops=True)
    assert not {"library", "torchvision", "GPU", "profile"} & checks.keys()
    assert {"Python", "memory", "networks", "cache", "disk"} <= checks.keys()


def test_a_package_that_is_there_and_broken_is_said(monkeypatch):
    def fail(name):
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    assert_found(LOOKS["library"](), "ok")
    monkeypatch.setattr(examination.importlib, "import_module", fail)
    words = ("srlib cannot be imported: ValueError: numpy.dtype size changed", "make clean")
    assert_found(LOOKS["library"](), "problem", *words, stops=True)


@pytest.mark.skipif(not os.path.exists("/usr/bin/python3"), reason="needs another Python")
def test_another_python_without_any_package_gets_a_sentence():
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.argv = ['', 'info']\n"
        "runpy.run_module('srlib', run_name='__main__')"
    )
    command = ["/usr/bin/python3", "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    if "needs Python 3.11 or newer" not in done.stderr:
        assert "Mend first: torch, packages" in done.stdout


def in_a_folder_with(folder, name, content, *program):
    """Run Python where a file of the learner's has the name of a module."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, *program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return path, done


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("torch.py", ""),
        ("torch.py", "import torch\nweights = torch.ones(3)\n"),
        ("torch.py", "this is no Python"),
        ("torch.py", "raise SystemExit(3)"),
        ("torch/__init__.py", ""),
        ("numpy.py", "print('an exercise')"),
        ("PIL.py", ""),
        ("random.py", ""),
        ("json.py", ""),
        ("csv.py", ""),  # is imported without harm, and used later
        ("re.py", ""),  # stops even the imports of the doctor
        ("argparse.py", ""),
    ],
)
def test_a_learner_s_file_that_hides_a_module_is_named(tmp_path, name, content):
    path, done = in_a_folder_with(tmp_path, name, content, "-m", "srlib", "fetch", "Set5")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {path} hides a module of the same name that the course needs: rename it, delete "
        "the folder __pycache__ beside it, and start again (in a notebook: restart the kernel)\n"
    )


@pytest.mark.parametrize("name", ["torch.py", "PIL.py"])
def test_the_doctor_of_a_notebook_names_it_and_does_not_advise_to_install_again(tmp_path, name):
    program = (
        "from srlib import assets, doctor; assets.servers = lambda: ()\n"
        "print(doctor.report(doctor.examine()))"
    )
    path, done = in_a_folder_with(tmp_path, name, "", "-c", program)
    said = " ".join(done.stdout.split())
    assert f"problem names {path} hides a module" in said
    assert "rename it, delete the folder __pycache__" in said and "restart the kernel" in said
    assert "uninstall" not in said and "make lab" not in said
    assert said.endswith("Mend first: names. Then look again.")


def test_files_that_nobody_took_for_a_module_are_no_matter(tmp_path, monkeypatch):
    for name in ("test.py", "code.py", "my_network.py", "torch.py"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "my_network", SimpleNamespace(__file__="my_network.py"))
    assert in_the_way() is None and in_the_way(ValueError("of something else")) is None
    assert_found(LOOKS["names"](), "ok", "none")
    monkeypatch.setitem(sys.modules, "code", SimpleNamespace(__file__=str(tmp_path / "code.py")))
    error = SyntaxError("no Python", ("test.py", 1, 1, ""))
    found, remedy = in_the_way(error)
    assert found.startswith(f"{tmp_path / 'code.py'} and test.py hide modules")
    assert remedy.startswith("rename them")


def test_missing_and_old_packages_are_named(site, monkeypatch):
    site("numpy", "1.20.0")
    version = examination._version
    monkeypatch.setattr(examination, "_version", lambda n: None if n == "av" else version(n))
    found = LOOKS["packages"]()
    words = ("numpy 1.20.0 does not fit numpy>=1.26", "av is missing", "make lab")
    assert_found(found, "problem", *words, stops=True)
    assert "pooch" not in found.found


def test_packages_of_an_installed_wheel(site, monkeypatch, tmp_path):
    monkeypatch.setattr(examination, "_COURSE", tmp_path)  # no pyproject.toml there
    requires = ["torch>=2.6", 'pytest>=99; extra == "dev"', 'nosuch>=1; extra == "notebooks"']
    site("srlib", "9.9", requires=requires)
    assert_found(LOOKS["packages"](), "problem", "nosuch is missing", stops=True)
    assert "pytest" not in LOOKS["packages"]().found


NMS = "raise RuntimeError('operator torchvision::nms does not exist')"


@pytest.mark.parametrize(
    ("torch_version", "version", "body", "state", "said"),
    [
        ("2.14.1+cpu", "0.29.2+cu130", NMS, "problem", "torchvision::nms does not exist"),
        ("2.14.1+cu130", "0.29.2+cpu", NMS, "problem", "torchvision::nms does not exist"),
        ("2.14.1+cu130", "0.29.2", NMS, "problem", "torchvision::nms does not exist"),
        ("2.13.0+cu130", "0.21.0+cu124", NMS, "problem", "do not belong together"),
        ("2.14.1+cu130", "0.28.0+cu130", NMS, "problem", "do not belong together"),
        ("2.14.1+cpu", "0.29.2+cu130", "import os; os._exit(7)", "problem", "import crashes"),
        ("2.14.1+cpu", "0.29.2+cu130", "", "note", "can be imported"),
        # Nothing speaks against these, so they are not imported.
        ("2.14.1+cu130", "0.29.2+cu132", NMS, "ok", "same build"),
        ("2.14.1+cpu", "0.29.2+cpu", NMS, "ok", "same build"),
        ("2.6.0", "0.21.0", NMS, "ok", "same build"),
    ],
)
def test_builds_that_do_not_belong_together(
    site, monkeypatch, torch_version, version, body, state, said
):
    monkeypatch.setattr(torch, "__version__", torch_version)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    site("torchvision", version, body)
    found = LOOKS["torchvision"]()
    assert_found(found, state, version, said, stops=state == "problem")
    if state == "problem":
        fitting = {"2.14": "0.29", "2.13": "0.28"}[torch_version[:4]]
        assert torch_version in found.found and "uninstall torchvision" in found.remedy
        assert f"install torchvision {fitting} with --no-deps" in found.remedy


@pytest.mark.parametrize("rest", ["nothing", "an empty folder"])
def test_a_missing_torchvision_is_not_installed_over_a_torch(site, monkeypatch, rest):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" not in p])
    if rest == "an empty folder":
        (site("other", "1") / "torchvision").mkdir()
    found = LOOKS["torchvision"]()
    words = ("is missing", "torchvision 0.24 with --no-deps, from where torch 2.9.1+cpu came")
    assert_found(found, "problem", *words, stops=True)
    assert "make lab" not in found.remedy


@pytest.mark.parametrize(
    ("versions", "state", "words"),
    [
        ({}, "ok", ["ipywidgets 8.1.9", "jupyterlab_widgets 3.0.17", "jupyterlab "]),
        ({"jupyterlab_widgets": "1.1.0"}, "problem", ["jupyterlab_widgets~=3.0.17 is needed"]),
        ({"widgetsnbextension": "3.6"}, "problem", ["widgetsnbextension~=4.0.16", "got 3.6"]),
        ({"jupyterlab_widgets": None}, "problem", ["got None", "restart JupyterLab"]),
        ({"jupyterlab": None}, "note", ["jupyterlab is not in this environment", "VS Code"]),
        ({"ipywidgets": None}, "problem", ["ipywidgets is missing", "make lab"]),
    ],
)
def test_the_parts_of_ipywidgets_belong_together(site, monkeypatch, versions, state, words):
    parts = ["widgetsnbextension~=4.0.16", "jupyterlab_widgets~=3.0.17", "comm>=0.1.3"]
    site("ipywidgets", "8.1.9", requires=parts)
    for name, version in {"widgetsnbextension": "4.0.16", "jupyterlab_widgets": "3.0.17"}.items():
        if versions.get(name, version):
            site(name, versions.get(name, version))
    version = examination._version
    missing = [name for name in versions if versions[name] is None]
    monkeypatch.setattr(examination, "_version", lambda n: None if n in missing else version(n))
    assert_found(LOOKS["sliders"](), state, *words, stops=state == "problem")


# --- the machine ------------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """Pretend what torch says, and what GPU is there."""

    def pretend(usable, there, cuda="13.0", warning="", metal=False):
        def is_available():
            if warning:
                warnings.warn(warning, stacklevel=1)
            return usable

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", is_available)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: metal)
        monkeypatch.setattr(environment, "nvidia_gpu", lambda: there)
        properties = SimpleNamespace(name="A GPU", total_memory=8 * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)

    return pretend


RTX = "NVIDIA GeForce RTX 3060, driver 470.57"


def test_no_gpu_is_fine(gpu):
    gpu(False, "")
    assert_found(LOOKS["GPU"](), "ok", "none")
    gpu(False, "", metal=True)
    assert_found(LOOKS["GPU"](), "ok", "Metal", "processor")


def test_a_build_for_the_processor_beside_a_gpu(gpu):
    gpu(False, RTX, cuda=None)
    assert_found(
        LOOKS["GPU"](), "problem", RTX, "for the processor only", "make clean, then make lab"
    )


def test_a_driver_that_is_too_old(gpu):
    gpu(False, RTX, warning="The NVIDIA driver on your system is too old (found version 11040)")
    words = ("CUDA 13.0", "too old (found version 11040)", "update the GPU's driver")
    assert_found(LOOKS["GPU"](), "problem", RTX, *words)


def test_a_hidden_gpu(gpu, monkeypatch):
    gpu(False, RTX)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert_found(LOOKS["GPU"](), "note", "hidden by CUDA_VISIBLE_DEVICES")


def test_a_gpu_that_torch_sees_and_cannot_use(gpu, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    gpu(True, RTX)
    monkeypatch.setattr(torch, "ones", fail)
    words = ("A GPU, 8 GiB", "no kernel image", "CUDA_VISIBLE_DEVICES=-1")
    assert_found(LOOKS["GPU"](), "problem", *words, stops=True)
    monkeypatch.setattr(torch, "ones", lambda *args, **options: torch.zeros(2))
    assert_found(LOOKS["GPU"](), "ok", "A GPU, 8 GiB")


@pytest.mark.skipif(os.name == "nt", reason="a script stands in for nvidia-smi")
@pytest.mark.parametrize(
    ("script", "found"),
    [("echo 'NVIDIA T4, 535.1'", "NVIDIA T4, driver 535.1"), ("exit 9", ""), ("true", "")],
)
def test_an_nvidia_gpu_is_found_without_torch(tmp_path, monkeypatch, script, found):
    if list(Path("/proc/driver/nvidia/gpus").glob("*")):
        pytest.skip("there is a real one")
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert environment.nvidia_gpu() == found


@pytest.mark.parametrize("value", ["laptop", "GPU "])
def test_a_profile_that_is_none(monkeypatch, value):
    monkeypatch.setenv("SRLIB_PROFILE", value)
    assert_found(LOOKS["profile"](), "problem", repr(value), "unset SRLIB_PROFILE", stops=True)


GIB = 2**30


@pytest.mark.parametrize(
    ("groups", "files", "total", "free"),
    [
        ("", {}, 64, 32),
        ("0::/", {"memory.max": "max", "memory.current": 5 * GIB, "memory.stat": ""}, 64, 32),
        ("0::/", {"memory.max": 4 * GIB, "memory.current": GIB, "memory.stat": ""}, 4, 3),
        (
            "0::/a/b",
            {
                **{"a/memory.max": 8 * GIB, "a/memory.current": 7 * GIB},
                "a/memory.stat": f"anon 1\ninactive_file {2 * GIB}",
                **{"a/b/memory.max": "max", "a/b/memory.current": GIB, "a/b/memory.stat": ""},
            },
            8,
            3,
        ),
        (
            "5:cpu:/x\n4:memory:/docker/1\n0::/",
            {
                "memory/memory.limit_in_bytes": 2 * GIB,
                "memory/memory.usage_in_bytes": 3 * GIB,
                "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * GIB}",
            },
            2,
            1,
        ),
        (
            "4:memory:/",
            {
                "memory/memory.limit_in_bytes": 9223372036854771712,
                "memory/memory.usage_in_bytes": GIB,
                "memory/memory.stat": "",
            },
            64,
            32,
        ),
    ],
)
def test_limits_of_a_container_count(tmp_path, monkeypatch, groups, files, total, free):
    import psutil

    system = SimpleNamespace(total=64 * GIB, available=32 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: system)
    own = tmp_path / "own"
    if groups:
        own.write_text(groups)
    monkeypatch.setattr(environment, "_OWN_CGROUPS", own)
    monkeypatch.setattr(environment, "_CGROUPS", tmp_path)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert environment.memory() == (total * GIB, free * GIB)


@pytest.mark.parametrize(
    ("total", "free", "state", "said"),
    [(16, 8, "ok", "8.0 of 16.0 GiB free"), (16, 1, "note", "close"), (1, 1, "problem", "larger")],
)
def test_memory(monkeypatch, total, free, state, said):
    monkeypatch.setattr(environment, "memory", lambda: (total * GIB, free * GIB))
    assert_found(LOOKS["memory"](), state, said, stops=state == "problem")


# --- files and network ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "file not fully covered"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "header"),
        (lambda path: path.write_bytes(b""), "header too small"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read (OSError"),
        (lambda path: shutil.rmtree(path.parent), "none of the course"),
    ],
)
def test_networks_that_cannot_be_read(tmp_path, monkeypatch, harm, said):
    file = tmp_path / "srresnet_small_x4" / "model.safetensors"
    file.parent.mkdir()
    shutil.copy(assets.data_file("weights/srresnet_small_x4/model.safetensors"), file)
    monkeypatch.setattr(assets, "data_file", lambda name: tmp_path)
    assert_found(LOOKS["networks"](), "ok", "all 1")
    harm(file)
    found = LOOKS["networks"]()
    assert_found(found, "problem", said, "git checkout -- data/weights", stops=True)
    assert "srresnet_small_x4 cannot be read" in found.found or said == "none of the course"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "is_cached", lambda name: False)
    return tmp_path / "cache"


def closed(monkeypatch):
    """For root every folder is open."""
    monkeypatch.setattr(examination.os, "access", lambda path, mode: not mode & os.W_OK)


def test_the_cache(cache, monkeypatch):
    found = LOOKS["cache"]()
    assert_found(found, "note", str(cache), "SRLIB_DATA", "is not there", "is SRLIB_DATA right?")
    cache.mkdir()
    assert_found(LOOKS["cache"](), "ok", str(cache), "no dataset yet")
    closed(monkeypatch)
    assert_found(LOOKS["cache"](), "note", "cannot be written to", "are enough for the course")
    monkeypatch.setattr(assets, "is_cached", lambda name: name == "Set5")
    assert_found(LOOKS["cache"](), "ok", "Set5; read-only, which is fine")


def test_a_file_where_the_cache_should_be(cache):
    cache.write_text("no folder")
    assert_found(LOOKS["cache"](), "note", "cannot be written to", "set SRLIB_DATA")


def test_a_home_that_nobody_has(monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", "~nosuchuser/x")
    assert_found(LOOKS["cache"](), "problem", "SRLIB_DATA must be a folder", "'~nosuchuser/x'")


def test_a_cache_that_nobody_has_chosen(monkeypatch):
    monkeypatch.delenv("SRLIB_DATA", raising=False)
    found = LOOKS["cache"]()
    assert found.state == "ok" and found.found.startswith("data/cache: ")


def test_the_disk(cache, monkeypatch):
    assert_found(LOOKS["disk"](), "ok", "GB free")
    usage = SimpleNamespace(free=10**8)
    monkeypatch.setattr(examination.shutil, "disk_usage", lambda path: usage)
    assert_found(LOOKS["disk"](), "note", "0.1 GB free", "make room")


def test_servers_that_cannot_be_reached(monkeypatch):
    with socket.socket() as reserved:  # bound but not listening: nobody answers there
        reserved.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        monkeypatch.setattr(assets, "servers", lambda: (host,))
        words = (f"{host} cannot be reached (ConnectionError)", "not needed for the course")
        assert_found(doctor._ask_servers()(), "note", *words)


def test_servers_that_answer(monkeypatch):
    asked = []
    monkeypatch.setattr("requests.head", lambda address, timeout: asked.append(address))
    found = doctor._ask_servers()()
    assert_found(found, "ok", "raw.githubusercontent.com", "can be reached")
    assert len(asked) == len(assets.servers()) == 2


def test_nobody_waits_for_a_name_that_is_looked_up(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr("requests.head", lambda address, timeout: over.wait())
    monkeypatch.setattr(doctor, "_NETWORK_S", 0.1)
    assert_found(doctor._ask_servers()(), "note", "no answer in 0.1 s")  # while both still wait
    over.set()


def test_the_widget_comes_with_what_to_do_where_there_are_none(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **options: shown.append(things))
    show_test_widget()
    ((bundle,),) = shown
    assert "restart JupyterLab and reload the page" in bundle["text/plain"]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
