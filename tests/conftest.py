import os
from pathlib import Path

import pytest
import torch
from file_server import Server
from hypothesis import settings

# The machines that run this are shared: how long an example takes says nothing.
settings.register_profile("course", deadline=None)
settings.load_profile("course")

REPOSITORY = Path(__file__).parent.parent


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
