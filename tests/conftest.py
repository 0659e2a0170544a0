import os
from pathlib import Path

import pytest
import torch
from file_server import Server
from hypothesis import settings

# One thread here and in all that a test starts, unless it sets their number: the workers share the
# cores already. (The Makefile also sets OMP_WAIT_POLICY, which must be set before Python starts:
# without it a test with two threads took 35 s beside another busy process, with it 1.3 s.)
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))

# The machines that run this are shared: how long an example takes says nothing.
settings.register_profile("course", deadline=None)
settings.load_profile("course")

REPOSITORY = Path(__file__).parent.parent

# A file's tests share what is expensive, and go to one worker (--dist loadfile): the longest first.
LONGEST = ["test_browser", "test_site", "test_assignment", "test_colab", "test_notebooks"]


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be missing
def pytest_xdist_auto_num_workers() -> int:
    """A worker per core, at least two, and few enough for the memory: each takes a gigabyte."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(max(2, cores), 8)


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.suffix == ".ipynb":  # nbval: a test for each cell, in one kernel
            item.add_marker("notebooks")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [item.path.stem != name for name in LONGEST])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with Set5, Set14 and BSDS500, which are not part of the repository."""
    for folder in (os.environ.get("SRLIB_DATA"), REPOSITORY.parent / "shared" / "data"):
        if folder and (Path(folder) / "Set5").is_dir():
            return Path(folder).resolve()
    pytest.skip("needs the benchmark images: set SRLIB_DATA to a folder that holds Set5")


@pytest.fixture
def server():
    """A server of files on this machine, with answers as each test wants them."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def set_threads():
    """Set torch's number of threads until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
