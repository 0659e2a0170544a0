"""What the tests of the website share: a small course, its site, and a browser that reads it."""

import contextlib
import functools
import http.server
import shutil
import threading
from pathlib import Path

import build_site
import pytest
from browser import ROOT

FORK = "Café course"  # a folder's name, as people choose them
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
AXE = ROOT / "build/npm/node_modules/axe-core/axe.min.js"
SERIOUS = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.filter(v => ["serious", "critical"].includes(v.impact)).map(
    v => `${v.id} (${v.nodes.length}): ${v.nodes[0].html.slice(0, 150)}`);
}"""


def set_repository(root: Path, repository: str, ref: str = "v1"):
    setting = f'[tool.srlib.course]\nrepository = "{repository}"\nref = "{ref}"\n'
    (root / "pyproject.toml").write_text(setting)


def small_course(folder: Path, repository: str) -> Path:
    """Return a course of one notebook, by links, that names a repository or none."""
    root = folder / FORK
    for name in ("docs/notebooks", "notebooks", "solutions", "data", "build"):
        (root / name).mkdir(parents=True)
    for name in ("docs/conf.py", "docs/package.json", "docs/package-lock.json"):
        shutil.copy(ROOT / name, root / name)
    for name in ("docs/_static", "docs/_templates", "docs/try"):
        shutil.copytree(ROOT / name, root / name)
    (root / "docs/index.md").write_text("# Home\n\n```{toctree}\n:glob:\n\n*\n*/*\n```\n")
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "data/README.md",
        "docs/licence.md",
    ):
        (root / name).write_text(f"# {name}\n")
    links = [f"{folder}/{NOTEBOOKS[2].name}" for folder in ("notebooks", "solutions")]
    for name in ("LICENSE", "LICENSE-TEXT", "srlib", *links):
        (root / name).symlink_to(ROOT / name)
    set_repository(root, repository, "main")
    for name in ("build/npm", "build/try-networks"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    return root


def build_or_skip(root: Path, output: Path) -> Path:
    if not shutil.which("npm") and not AXE.is_file():
        pytest.skip("needs npm: apt-get install nodejs npm")
    assert build_site.main(["--root", str(root), "--output", str(output)]) == 0
    return output


@contextlib.contextmanager
def served(folder: Path, asked: list | None = None, isolated: bool = False):
    """Serve a folder; give its address. What a browser asks for goes into `asked`."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            if isolated:
                self.send_header("Cross-Origin-Opener-Policy", "same-origin")
                self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_):
            if asked is not None:
                asked.append(self.path.lstrip("/"))

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Reader:
    """A browser on the served site that writes down whatever goes wrong."""

    forgiven = ("net::ERR_ABORTED",)  # another page was opened meanwhile

    def __init__(self, page, base: str):
        self.page, self.base, self.faults = page, base, []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._note(f"script error: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failure)
        page.on("response", self._response)

    def _note(self, fault: str):
        self.faults.append(f"{self.page.url.removeprefix(self.base)}: {fault}")

    def _console(self, message):
        if message.type == "error":
            self._note(f"console: {message.text}")

    def _request(self, request):
        if not request.url.startswith((self.base, "data:", "blob:")):
            self._note(f"asked another host: {request.url[:200]}")

    def _failure(self, request):
        if request.failure not in self.forgiven:
            self._note(f"failed request: {request.url[:200]}, {request.failure}")

    def _response(self, response):
        if response.status >= 400:
            self._note(f"{response.status} for {response.url}")

    def expect(self, script: str, fault: str):
        """Note a fault for every item of the list that a script finds on the page."""
        for item in self.page.evaluate(script):
            self._note(f"{fault}: {item}")

    def open(self, name: str):
        self.page.goto(self.base + name, wait_until="load")
        self.page.evaluate("document.fonts.ready.then(() => true)")
        # Widgets come after the page, and their pictures after them.
        self.page.wait_for_function(
            """() => [...document.querySelectorAll(".still-widget")].every(
                 w => w.querySelector("img.widget-image")?.naturalWidth)
               && (!document.querySelector(".math") || window.MathJax?.startup?.promise)"""
        )
        self.page.evaluate("async () => { await window.MathJax?.startup?.promise; return true; }")
