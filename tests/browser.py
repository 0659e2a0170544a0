"""Chromium, and a JupyterLab for it: what the tests with a real browser start."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "build" / "screenshots"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",  # containers run as root, and lack the kernel features it needs
    "--disable-gpu",
    "--disable-dev-shm-usage",  # /dev/shm has 64 MB in many containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_or_skip() -> str:
    """Return the path of Chromium; skip the test where it or Playwright is missing."""
    pytest.importorskip("playwright", reason="needs Playwright: pip install playwright")
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return found or pytest.skip(f"needs Chromium: none of {', '.join(PROGRAMS)} is installed")


@contextlib.contextmanager
def launch(width: int = 1366, height: int = 768, **options) -> Iterator:
    """Start Chromium with an empty profile; give a Playwright browser context.

    Playwright occupies the thread's event loop: nothing else may use asyncio meanwhile.
    """
    program = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="chromium-") as profile, sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            profile,
            executable_path=program,
            headless=True,
            args=list(FLAGS),
            viewport={"width": width, "height": height},
            **options,
        )
        yield context
        context.close()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    """Ask until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


class JupyterLab:
    """A running server: its `url`, the folder it serves, `root`, and its `log`."""

    def __init__(self, url: str, root: Path, log: Path):
        self.url, self.root, self.log = url, root, log

    def api(self, path: str, method: str = "GET"):
        """Call the server's REST interface."""
        request = urllib.request.Request(f"{self.url}/api/{path}?token=T", method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def address(self, name: str) -> str:
        """Return the address that opens a notebook alone, in a workspace of its own."""
        return f"{self.url}/lab/tree/{name}?reset&token=T"

    def is_up(self) -> bool:
        try:
            return bool(self.api("status"))
        except OSError:
            return False


@contextlib.contextmanager
def jupyterlab(folder: Path, **environment: str) -> Iterator[JupyterLab]:
    """Start JupyterLab without the user's settings; it serves folder/root."""
    root, log = folder / "root", folder / "server.log"
    root.mkdir()
    settings = folder / "settings"
    notification = settings / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    notification.parent.mkdir(parents=True)
    notification.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    private = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": settings,
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "IPYTHONDIR": folder / "ipython",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    command += [
        "--expose-app-in-browser",
        "--IdentityProvider.token=T",
        f"--ServerApp.root_dir={root}",
    ]
    with log.open("w") as file:
        server = subprocess.Popen(
            command,
            env=os.environ | {name: str(path) for name, path in private.items()} | environment,
            stdout=file,
            stderr=file,
        )
        lab = JupyterLab(f"http://127.0.0.1:{port}", root, log)
        try:
            wait_until(lab.is_up, "JupyterLab")
            yield lab
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
