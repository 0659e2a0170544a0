"""Downloads that arrive whole, verified and once, however many processes ask for them.

One process downloads while the others wait. A file is downloaded beside its place, checked against
its SHA-256 and only then renamed. A zip is refused if a member would leave its folder.
"""

import hashlib
import json
import os
import posixpath
import shutil
import stat
import threading
import time
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["FetchError", "RemoteFile", "obtain"]

_PARALLEL_DOWNLOADS = 4
_TIMEOUT_S = (10, 30)  # to connect, to wait for more of a file
_PIECE_BYTES = 1 << 14  # small, so that Ctrl-C is answered soon on a slow line too
_RETRY_WAITS_S = (0.5, 1, 2)
_QUIET_WAIT_S = 3  # how long to wait for another process without saying so
_MAX_EXPANSION = 4  # images hardly shrink in a zip; more than this is no image archive
_MARKER = ".unpacked.json"  # in an unpacked folder: SHA-256 of the zip and of each file


class FetchError(OSError):
    """A file could not be downloaded, verified, unpacked or stored."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download; `target` is what it becomes in the cache, for a zip a folder."""

    name: str  # its place below the cache folder: "Set5/x4/HR/img_001.png"
    url: str
    sha256: str  # 64 hexadecimal digits
    bytes: int

    def __post_init__(self):
        if not self.name or _leaves_folder(self.name):
            raise ValueError(f"a file must lie inside the cache folder, got {self.name!r}")

    @property
    def target(self) -> str:
        return self.name.removesuffix(".zip")

    @property
    def is_zip(self) -> bool:
        return self.name.endswith(".zip")


def obtain(files: list[RemoteFile], root: Path, *, progress: bool = True) -> None:
    """Make sure that all `files`, of one dataset, are below `root` and right; download the others.

    The dataset is the first folder in their names. A zip becomes a folder of its name without
    ".zip"; folders that all its members share are dropped. Where nothing is missing nothing is
    written, so `root` may be read-only. After a FetchError finished files stay, half ones do not.
    Warns if a file had other content and was downloaded again.
    """
    try:
        missing = [file for file in files if not _is_right(root, file)]
    except OSError as error:
        raise FetchError(
            f"cannot read the cache folder {root}: {error}. Ask its owner to make it readable "
            "(chmod -R a+rX), or set SRLIB_DATA to another one."
        ) from error
    if not missing:
        return
    dataset = root / missing[0].name.split("/")[0]
    scratch = dataset / ".partial"  # on the same disk, so that renaming is atomic
    try:
        dataset.mkdir(parents=True, exist_ok=True)
        with _only_process(dataset):
            missing = [file for file in missing if not _is_right(root, file)]
            altered = [file.target for file in missing if (root / file.target).exists()]
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
            scratch.mkdir()
            try:
                if missing:  # else another process has just done it
                    _download_all(missing, root, scratch, progress)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except FetchError:
        raise
    except OSError as error:
        size = sum(file.bytes for file in missing) / 1e6
        raise FetchError(
            f"cannot write to the cache folder {root}: {error}. Needed there: {len(missing)} files "
            f"of {dataset.name} ({size:.1f} MB), missing or altered, such as {missing[0].target}. "
            "Make room, make the folder writable, or set SRLIB_DATA to another one."
        ) from error
    if altered:
        message = f"{len(altered)} altered in {root}, downloaded again: {', '.join(altered[:5])}"
        warnings.warn(message, stacklevel=3)


def _is_right(root, file):
    target = root / file.target
    if not file.is_zip:
        return _sha256(target) == file.sha256
    try:
        marker = json.loads((target / _MARKER).read_bytes())
        return marker["zip"] == file.sha256 and all(
            _sha256(target / name) == sha256 for name, sha256 in marker["files"].items()
        )
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):  # no marker
        return False


def _sha256(path):
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _only_process(dataset):
    from filelock import FileLock, Timeout

    # The system releases it when a process dies. On file systems without such locks newer versions
    # of filelock warn and use the existence of a file.
    lock = FileLock(dataset / ".lock")
    try:
        lock.acquire(timeout=_QUIET_WAIT_S)
    except Timeout:
        print(f"Another process is downloading to {dataset}; waiting for it.")
        lock.acquire()
    except NotImplementedError as error:  # by older versions of filelock
        raise OSError(f"it cannot be locked against other processes ({error})") from error
    try:
        yield
    finally:
        lock.release()


def _download_all(files, root, scratch, progress):
    import requests
    from tqdm.auto import tqdm

    stop, lock = threading.Event(), threading.Lock()
    total, label = sum(file.bytes for file in files), scratch.parent.name
    bar = tqdm(total=total, desc=label, unit="B", unit_scale=True, disable=not progress)

    def count(received):
        if stop.is_set():
            raise FetchError(f"the download of {label} was stopped")
        with lock:
            bar.update(received)

    def download_one(file):
        path = root / file.name
        if file.is_zip and _sha256(path) == file.sha256:  # its unpacking was interrupted
            count(file.bytes)
        else:
            fresh = _download(file, root, scratch, session, count)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh, path)
        if file.is_zip:
            _unpack(file, root, scratch)

    with bar, requests.Session() as session, ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        jobs = [pool.submit(download_one, file) for file in files]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:  # Ctrl-C too: do not wait for the other downloads
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download(file, root, scratch, session, count):
    """Download a file into `scratch`, verify it and return its path."""
    from requests import HTTPError, RequestException

    path = scratch / file.name.replace("/", "_")
    # A compressed transfer would hide a cut: its length says nothing about the file's.
    options = {"stream": True, "timeout": _TIMEOUT_S, "headers": {"Accept-Encoding": "identity"}}
    for wait_s in (*_RETRY_WAITS_S, None):
        received = 0
        try:
            with session.get(file.url, **options) as response, open(path, "wb") as sink:
                response.raise_for_status()
                for piece in response.iter_content(_PIECE_BYTES):
                    sink.write(piece)
                    received += len(piece)
                    count(len(piece))
                    if received > file.bytes:  # endless, or wrong at least
                        break
        except RequestException as error:
            count(-received)  # it starts again, or ends in an error
            status = error.response.status_code if isinstance(error, HTTPError) else None
            refused = status is not None and status < 500 and status != 429  # 429: too many now
            if wait_s is not None and not refused:
                time.sleep(wait_s)
                continue
            reason = str(error)
            advice = (
                "Is the network there? Fetch again: what has arrived is not loaded twice. Without "
                "a network, set SRLIB_DATA to a folder that already holds the files."
            )
            if refused:
                advice = "The server does not hand it out: tell the maintainers of the course."
        else:
            if (sha256 := _sha256(path)) == file.sha256:
                return path
            reason = f"it has the SHA-256 {sha256}, not {file.sha256}"
            advice = (
                "It arrived truncated or altered. Fetch again; if that fails too, the server has "
                "another file than the course was made with: tell its maintainers."
            )
        raise FetchError(
            f"cannot get {file.name} from {urlsplit(file.url).hostname}: {reason}\n"
            f"Its address is {file.url}. Nothing of it was kept in the cache {root}. {advice}"
        )


def _unpack(file, root, scratch):
    """Unpack a verified zip into `scratch`, then move the finished folder into place."""
    path, folder, fresh = root / file.name, root / file.target, scratch / file.target
    try:
        with zipfile.ZipFile(path) as archive:
            members = _safe_members(archive, file.bytes)
            archive.extractall(fresh, members)
    # Damaged; needs a password or a method that is not there
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        path.unlink()
        raise FetchError(f"refused to unpack {file.name} from {file.url}: {error}") from error
    # The folders that all members share say nothing; the target's name replaces them.
    fresh /= posixpath.commonpath([posixpath.dirname(m.filename) for m in members])
    hashes = {m.relative_to(fresh).as_posix(): _sha256(m) for m in fresh.rglob("*") if m.is_file()}
    (fresh / _MARKER).write_text(json.dumps({"zip": file.sha256, "files": hashes}))
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(fresh, folder)
    path.unlink()


def _safe_members(archive, stated_bytes):
    """Return the files of a zip; BadZipFile if one would leave the folder or they are a bomb."""
    for member in archive.infolist():
        name = member.orig_filename  # as stored; `filename` is already adapted to this system
        kind = stat.S_IFMT(member.external_attr >> 16)
        if _leaves_folder(name):
            raise zipfile.BadZipFile(f"member {name!r} would leave the folder")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise zipfile.BadZipFile(f"member {name!r} is a link or a device")
    members = [member for member in archive.infolist() if not member.is_dir()]
    unpacked = sum(member.file_size for member in members)
    if not 0 < unpacked <= _MAX_EXPANSION * stated_bytes:
        raise zipfile.BadZipFile(f"{stated_bytes} bytes would unpack to {unpacked} bytes")
    return members


def _leaves_folder(name):
    """Tell whether a relative path would lead outside, on any system."""
    return name.startswith("/") or ".." in name.split("/") or bool(set(name) & set("\\:\0"))
