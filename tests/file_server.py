"""A server on this machine that counts requests and misbehaves; processes that fetch from it."""

import hashlib
import io
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from srlib._download import RemoteFile

REPOSITORY = Path(__file__).resolve().parents[1]


class Server:
    """Answers each address with its list of answers, one a request, the last one for ever."""

    def __init__(self):
        self.answers, self.hits = {}, Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.hits[self.path] += 1
                answers = outer.answers[self.path]
                answer = answers[min(outer.hits[self.path], len(answers)) - 1]
                if isinstance(answer, int):
                    self.send_error(answer)
                elif isinstance(answer, bytes):
                    self.send(answer, len(answer))
                else:
                    answer(self)

            def send(self, body, length):
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def serve(self, name, content, *answers) -> RemoteFile:
        """Register a file whose right content is `content`; by default the server sends it."""
        self.answers[f"/{name}"] = answers or (content,)
        url = f"http://127.0.0.1:{self.http.server_port}/{name}"
        return RemoteFile(name, url, hashlib.sha256(content).hexdigest(), len(content))


def cut_off(content):
    """Promise the whole content, send half of it and hang up."""
    return lambda handler: handler.send(content[: len(content) // 2], len(content))


def trickle(handler):
    """Send slowly and for long; the limit only keeps a failing test from hanging."""
    try:
        handler.send(b"", 1_000_000_000)
        for _ in range(30_000):
            time.sleep(0.02)
            handler.wfile.write(bytes(2000))
    except OSError:  # the client has gone
        pass


def bytes_of(seed, size=1000):
    return random.Random(seed).randbytes(size)


def images_in(folder):
    """The files that a user of the folder sees; the lock file is hidden."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def assert_nothing_half(cache, *right):
    assert images_in(cache) == dict(right)
    assert not list(cache.rglob(".partial"))


def make_zip(members) -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members:
                archive.writestr(member, content)
        return buffer.getvalue()


def run_fetch(files, name, cache, *, wait=False, locks=True, **options):
    """Start `fetch` in a process of its own.

    With `wait` it says "ready" when all is imported, and goes on when it gets a line. Without
    `locks` the system's locks are missing.
    """
    rows = [(file.name, file.url, file.sha256, file.bytes) for file in files]
    no_locks = (
        "import errno, fcntl\n"
        "def flock(descriptor, operation):\n"
        "    raise OSError(errno.ENOSYS, 'Function not implemented')\n"
        "fcntl.flock = flock\n"
    )
    program = (
        "import signal, filelock, pooch, requests, tqdm.auto\n"
        "from srlib import _download as download, assets\n"
        # A shell that starts the tests in the background leaves Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"assets._load_registry = lambda: [download.RemoteFile(*row) for row in {rows!r}]\n"
        f"{'' if locks else no_locks}"
        f"{wait} and (print('ready', flush=True), input())\n"
        f"print(assets.fetch({name!r}, progress=False))"
    )
    environment = {**os.environ, "SRLIB_DATA": str(cache), "PYTHONPATH": str(REPOSITORY)}
    warnings = "error" if locks else "default"
    command = [sys.executable, "-W", warnings, "-c", program]
    return subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **options)
