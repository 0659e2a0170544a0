"""`srlib.assets` and `srlib._download`, against a server on this machine that misbehaves."""

import errno
import hashlib
import io
import json
import ntpath
import os
import posixpath
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import pytest
import tqdm.auto
from file_server import (
    REPOSITORY,
    assert_nothing_half,
    bytes_of,
    cut_off,
    images_in,
    make_zip,
    run_fetch,
    trickle,
)
from hypothesis import given
from hypothesis import strategies as st

from srlib import _download as download
from srlib import assets
from srlib._download import FetchError, RemoteFile


def snapshot(folder):
    """Everything that writing to a folder would change."""
    entries = [folder, *folder.rglob("*")]
    return {p: (p.stat().st_mtime_ns, p.stat().st_size, p.stat().st_mode) for p in entries}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_RETRY_WAITS_S", (0, 0, 0))
    monkeypatch.setenv("SRLIB_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def registry(monkeypatch):
    """Replace the registry by the given files."""
    return lambda *files: monkeypatch.setattr(assets, "_load_registry", lambda: files)


def block_network(monkeypatch):
    class Blocked(socket.socket):
        def __init__(self, *args, **kwargs):
            raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", Blocked)


@pytest.fixture
def no_network(monkeypatch):
    block_network(monkeypatch)


# --- what the repository states ---------------------------------------------------------------


def test_every_row_of_the_registry_is_well_formed():
    files, datasets = assets._load_registry(), assets.datasets()
    assert len({file.name for file in files}) == len({file.target for file in files}) == len(files)
    for file in files:
        path = PurePosixPath(file.name)
        assert str(path) == file.name and not path.is_absolute() and ".." not in path.parts
        assert re.fullmatch(r"[\w./]+\.(png|jpg|zip)", file.name)
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.bytes > 0
        assert urlsplit(file.url).scheme == "https" and urlsplit(file.url).hostname
        assert path.parts[0] in datasets


@pytest.mark.parametrize("name", ["../x.png", "Set5/../../x.png", "/x.png", "C:/x.png", "a\\b", ""])
def test_a_row_that_leads_out_of_the_cache_is_refused(name):
    with pytest.raises(ValueError, match="inside the cache folder, got "):
        RemoteFile(name, "https://example.org/x.png", "0" * 64, 1)


def test_every_dataset_is_described():
    assert set(assets.datasets()) == {file.name.split("/")[0] for file in assets._load_registry()}
    for info in assets.datasets().values():
        assert info.licence and re.search(r"(19|20)\d\d", info.citation)
        assert urlsplit(info.homepage).scheme == "https"
    readme = (assets.data_file("registry.csv").parent / "README.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (\w+) \| (\d+).*? \| ([\d.]+) ([MG])B \| (\w+) \|", readme, re.MULTILINE
    )
    listed = {name: (int(files), use) for name, files, _, _, use in rows}
    assert listed == {name: (info.files, info.use) for name, info in assets.datasets().items()}
    for name, _, size, unit, _ in rows:
        number = assets.datasets()[name].bytes / {"M": 1e6, "G": 1e9}[unit]
        assert f"{number:.{len(size.partition('.')[2])}f}" == size, name


def test_nothing_to_train_on_comes_from_bsd100():
    hashes = {"BSD100": set(), "BSDS500": set()}
    for file in assets._load_registry():
        hashes.get(file.name.split("/")[0], set()).add(file.sha256)
    assert hashes["BSD100"] and not hashes["BSD100"] & hashes["BSDS500"]
    assert not any("/val/" in file.url for file in assets._load_registry())


def test_data_file_in_a_clone():
    assert assets.data_file("registry.csv") == REPOSITORY / "data" / "registry.csv"
    with pytest.raises(FileNotFoundError, match=r"got 'missing\.csv'"):
        assets.data_file("missing.csv")


def test_an_installed_package_finds_its_files_and_another_cache(tmp_path):
    package = tmp_path / "site" / "srlib"
    (package / "_data").mkdir(parents=True)
    for module in ("__init__", "assets", "_download"):
        source = REPOSITORY / "srlib" / f"{module}.py"
        (package / source.name).write_bytes(source.read_bytes())
    for name in ("registry.csv", "datasets.toml"):
        (package / "_data" / name).write_bytes(assets.data_file(name).read_bytes())
    program = (
        "from srlib import assets\n"
        "print(assets.data_file('registry.csv'))\n"
        "print(assets.cache_root())\n"
        "print(assets.datasets()['Set5'].files)"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "site"),
        "XDG_CACHE_HOME": str(tmp_path / "user"),
        "SRLIB_DATA": "",
    }
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert answer[0] == str(package / "_data" / "registry.csv")
    assert "srlib" in Path(answer[1]).name and tmp_path / "site" not in Path(answer[1]).parents
    assert answer[2] == "30"


def test_the_cache_folder(monkeypatch):
    monkeypatch.delenv("SRLIB_DATA", raising=False)
    assert assets.cache_root() == REPOSITORY / "data" / "cache"
    monkeypatch.setenv("SRLIB_DATA", "~/pictures")
    assert assets.cache_root() == Path.home() / "pictures"
    monkeypatch.setenv("SRLIB_DATA", "pictures")
    assert assets.cache_root() == Path.cwd() / "pictures"


# --- photographs inside scikit-image ----------------------------------------------------------


@pytest.mark.parametrize("name", assets.sample_names())
def test_each_photograph_loads_without_a_network(name, no_network):
    image = assets.sample_image(name)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert min(image.shape[:2]) >= 150 and image.std() > 5
    assert image.flags.c_contiguous and image.flags.writeable


def test_photographs_are_fresh_copies():
    assets.sample_image("coffee")[:] = 0
    assert assets.sample_image("coffee").any()


def test_motorcycles_are_two_views():
    left, right = assets.sample_image("motorcycle_left"), assets.sample_image("motorcycle_right")
    assert left.shape == right.shape and (left != right).any()


def test_photographs_are_split_once_and_for_all():
    train, test = assets.sample_names("train"), assets.sample_names("test")
    assert not set(train) & set(test)
    assert sorted(train + test) == list(assets.sample_names())
    assert {"chelsea", "coffee", "camera"} <= set(test)
    assert {"astronaut", "rocket"} <= set(train)
    assert ("motorcycle_left" in train) == ("motorcycle_right" in train)
    images = {name: assets.sample_image(name) for name in train}
    assert sum((image[..., 0] != image[..., 1]).any() for image in images.values()) >= 6


def test_unknown_names_come_with_the_closest_one():
    with pytest.raises(ValueError, match="got 'chelsee'.*'chelsea'"):
        assets.sample_image("chelsee")
    with pytest.raises(ValueError, match="got 'val'"):
        assets.sample_names("val")
    with pytest.raises(ValueError, match=r"Urban100.*got 'set14' .*mean 'Set14'\?"):
        assets.fetch("set14")
    with pytest.raises(ValueError, match=r"mean 'Set5/x[234]'\?"):
        assets.fetch("Set5/x5")
    with pytest.raises(ValueError, match="got 'DIV2k'.*'DIV2K'"):
        assets.is_cached("DIV2k")


@pytest.mark.parametrize("name", ["Set", "", ".", "Set5/", "Set5/..", "../Set5", "/", None])
def test_only_whole_folders_are_parts(name):
    with pytest.raises(ValueError, match="got "):
        assets.fetch(name)


# --- downloading ------------------------------------------------------------------------------


def test_fetch_downloads_once(server, cache, registry, capfd):
    names = [f"Set5/x2/{kind}/img_{i}.png" for kind in ("HR", "LR") for i in range(6)]
    files = [server.serve(name, bytes_of(name)) for name in names]
    registry(*files, server.serve("Set5/x3/HR/other.png", b"other"))
    assert assets.fetch("Set5/x2", progress=False) == cache / "Set5" / "x2"
    assert_nothing_half(cache, *((name, bytes_of(name)) for name in names))
    assert assets.fetch("Set5/x2", progress=False) == cache / "Set5" / "x2"
    assert server.hits == {f"/{name}": 1 for name in names}
    assert capfd.readouterr() == ("", "")


def test_is_cached_looks_and_does_not_load(server, cache, registry):
    registry(
        server.serve("Set5/x2/HR/img_0.png", b"content"), server.serve("Set5/x3/HR/img_0.png", b"3")
    )
    assert not assets.is_cached("Set5/x2") and server.hits == {}
    path = assets.fetch("Set5/x2", progress=False) / "HR" / "img_0.png"
    assert assets.is_cached("Set5/x2") and not assets.is_cached("Set5")
    path.write_bytes(b"half")
    assert not assets.is_cached("Set5/x2")
    path.unlink()
    assert not assets.is_cached("Set5/x2")


def test_one_file_is_a_part_as_well(server, cache, registry):
    registry(server.serve("Set5/x2/HR/img_0.png", b"content"))
    assert assets.fetch("Set5/x2/HR/img_0.png", progress=False).read_bytes() == b"content"


def test_one_progress_bar_counts_bytes_also_over_a_retry(server, cache, registry, monkeypatch):
    bars = []

    class Recorder(tqdm.auto.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, file=io.StringIO(), **kwargs)
            bars.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Recorder)
    big = bytes_of("big", 300_000)
    registry(
        server.serve("Set5/a.png", big, cut_off(big), 503, big),
        server.serve("Set5/b.png", bytes_of("b")),
    )
    assets.fetch("Set5")
    (bar,) = bars
    assert bar.total == bar.n == 301_000
    assert bar.unit == "B"
    assets.fetch("Set5")
    assert len(bars) == 1


@pytest.mark.parametrize("failure", [500, 503, 429, cut_off(bytes_of("x"))])
def test_passing_failures_are_tried_again(server, cache, registry, failure):
    content = bytes_of("x")
    registry(server.serve("Set5/x.png", content, failure, failure, content))
    assets.fetch("Set5", progress=False)
    assert server.hits["/Set5/x.png"] == 3
    assert_nothing_half(cache, ("Set5/x.png", content))


@pytest.mark.parametrize(
    ("answer", "said", "requests"),
    [
        (cut_off(bytes_of("x")), "500 bytes read, 500 more expected", 4),
        (bytes_of("x")[:500], "truncated or altered", 1),
        (b"", "truncated or altered", 1),
        (bytes_of("y"), "truncated or altered", 1),
        (bytes_of("x") + b"more", "truncated or altered", 1),
        (bytes_of("y", 400_000), "truncated or altered", 1),
        (404, "404", 1),
        (500, "500", 4),
    ],
    ids=["cut off", "short", "empty", "altered", "longer", "much longer", "404", "500"],
)
def test_a_bad_download_is_a_clear_error(server, cache, registry, answer, said, requests):
    file = server.serve("Set5/x.png", bytes_of("x"), answer)
    registry(file)
    with pytest.raises(FetchError) as caught:
        assets.fetch("Set5", progress=False)
    for part in (said, file.name, file.url, "127.0.0.1", str(cache), "etch again|maintainers"):
        assert re.search(part if "|" in part else re.escape(part), str(caught.value)), part
    if "altered" in said:
        assert file.sha256 in str(caught.value)
    if answer == bytes_of("y"):
        assert hashlib.sha256(answer).hexdigest() in str(caught.value)
    assert server.hits["/Set5/x.png"] == requests
    assert_nothing_half(cache)


def test_an_endless_file_is_left(server, cache, registry):
    registry(server.serve("Set5/x.png", b"5 bytes, say", trickle))
    with pytest.raises(FetchError, match="truncated or altered"):
        assets.fetch("Set5", progress=False)


def test_a_missing_network_is_a_clear_error(cache, registry):
    with socket.socket() as reserved:  # bound but not listening: nobody answers there
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/x.png"
        registry(RemoteFile("Set5/x.png", url, "0" * 64, 1))
        with pytest.raises(FetchError) as caught:
            assets.fetch("Set5", progress=False)
    for part in ("127.0.0.1", str(cache), "SRLIB_DATA", "Without a network"):
        assert part in str(caught.value)
    assert_nothing_half(cache)


def test_what_has_arrived_is_not_loaded_again(server, cache, registry):
    contents = {f"Set5/{i}.png": bytes_of(i) for i in range(5)}
    files = [server.serve(name, content) for name, content in contents.items()]
    server.answers["/Set5/4.png"] = (404, contents["Set5/4.png"])
    registry(*files)
    with pytest.raises(FetchError, match="404"):
        assets.fetch("Set5", progress=False)
    arrived = set(images_in(cache))
    assert arrived <= contents.keys() - {"Set5/4.png"}
    before = dict(server.hits)
    assets.fetch("Set5", progress=False)
    assert_nothing_half(cache, *contents.items())
    for name in arrived:
        assert server.hits[f"/{name}"] == before[f"/{name}"] == 1


@pytest.mark.processes
@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ends_early_leaves_nothing_half(server, cache, registry, end):
    content = bytes_of("x", 10_000_000)
    file = server.serve("Set5/x.png", content, trickle, content)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with run_fetch([file], "Set5", cache, **pipes) as process:
        try:
            while not server.hits:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(end)
            process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode != 0
    assert not (cache / "Set5" / "x.png").exists()
    if end == signal.SIGINT:
        assert_nothing_half(cache)
    registry(file)
    assets.fetch("Set5", progress=False)
    assert_nothing_half(cache, ("Set5/x.png", content))


def test_a_wrong_file_in_the_cache_is_replaced_and_said_so(server, cache, registry):
    registry(server.serve("Set5/a.png", b"right a"), server.serve("Set5/b.png", b"right b"))
    assets.fetch("Set5", progress=False)
    (cache / "Set5/a.png").write_bytes(b"wrong a")
    with pytest.warns(UserWarning, match=r"1 altered .*Set5/a\.png"):
        assets.fetch("Set5", progress=False)
    assert_nothing_half(cache, ("Set5/a.png", b"right a"), ("Set5/b.png", b"right b"))
    assert server.hits == {"/Set5/a.png": 2, "/Set5/b.png": 1}


def test_a_wrong_file_stays_if_the_server_is_wrong_too(server, cache, registry):
    registry(server.serve("Set5/a.png", b"right a", 404))
    (cache / "Set5").mkdir(parents=True)
    (cache / "Set5/a.png").write_bytes(b"mine")
    with pytest.raises(FetchError, match="404"):
        assets.fetch("Set5", progress=False)
    assert_nothing_half(cache, ("Set5/a.png", b"mine"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_is_a_clear_error(server, cache, registry, code, monkeypatch):
    def fail(*args):
        raise OSError(code, os.strerror(code))

    registry(server.serve("Set5/a.png", b"content"))
    monkeypatch.setattr(download.os, "replace", fail)
    with pytest.raises(FetchError, match="SRLIB_DATA") as caught:
        assets.fetch("Set5", progress=False)
    for part in (os.strerror(code), str(cache), "Set5/a.png", "Make room"):
        assert part in str(caught.value)
    monkeypatch.undo()
    assert_nothing_half(cache)


def test_a_cache_that_cannot_be_made_is_a_clear_error(server, cache, registry):
    registry(server.serve("Set5/a.png", b"content"))
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(FetchError, match="cannot write to the cache folder"):
        assets.fetch("Set5", progress=False)
    assert not server.hits


@pytest.mark.parametrize("prefix", ["Set5", "BSDS500/test"])
def test_a_complete_cache_is_only_read(server, cache, registry, prefix, monkeypatch):
    files = [server.serve(f"{prefix}/{i}.png", bytes_of(i)) for i in range(3)]
    for file, i in zip(files, range(3), strict=True):
        (cache / file.name).parent.mkdir(parents=True, exist_ok=True)
        (cache / file.name).write_bytes(bytes_of(i))
    registry(*files)
    before = snapshot(cache)
    assets.fetch(prefix, progress=False)
    assert snapshot(cache) == before
    assert not server.hits


@pytest.mark.parametrize("name", ["Set5", "Set14/x3", "BSDS500"])
def test_the_shared_copy_serves_as_it_is(shared_data, name, no_network, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    before = snapshot(shared_data / name)
    assert assets.fetch(name) == shared_data / name
    assert snapshot(shared_data / name) == before
    for file in assets._select(name):
        assert (shared_data / file.name).stat().st_size == file.bytes


def test_waiting_for_another_process_is_said(server, cache, registry, monkeypatch, capsys):
    from filelock import FileLock

    monkeypatch.setattr(download, "_QUIET_WAIT_S", 0.05)
    registry(server.serve("Set5/a.png", b"content"))
    (cache / "Set5").mkdir(parents=True)
    locked = threading.Event()

    def hold():
        with FileLock(cache / "Set5" / ".lock"):
            locked.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    assets.fetch("Set5", progress=False)
    holder.join()
    assert "Another process" in capsys.readouterr().out
    assert_nothing_half(cache, ("Set5/a.png", b"content"))


# --- zips -------------------------------------------------------------------------------------


IMAGES = {"0801.png": bytes_of(1), "0802.png": bytes_of(2)}
ZIP = make_zip(
    [("train/", b""), ("train/x4/", b"")] + [(f"train/x4/{n}", IMAGES[n]) for n in IMAGES]
)


def with_field(offset, value):
    """The zip with another value (2 bytes) in each header, local and in the directory."""
    data = bytearray(ZIP)
    for mark, start in ((b"PK\3\4", offset), (b"PK\1\2", offset + 2)):
        place = data.find(mark)
        while place >= 0:
            data[place + start : place + start + 2] = value.to_bytes(2, "little")
            place = data.find(mark, place + 4)
    return bytes(data)


def test_a_zip_is_unpacked_once(server, cache, registry, monkeypatch):
    registry(server.serve("DIV2K/DIV2K_valid_HR.zip", ZIP))
    folder = assets.fetch("DIV2K/DIV2K_valid_HR", progress=False)
    assert folder == cache / "DIV2K" / "DIV2K_valid_HR"
    assert images_in(folder) == IMAGES
    assert_nothing_half(cache, *((f"DIV2K/DIV2K_valid_HR/{n}", IMAGES[n]) for n in IMAGES))
    block_network(monkeypatch)
    before = snapshot(cache)
    assert assets.fetch("DIV2K", progress=False) == cache / "DIV2K"
    assert snapshot(cache) == before


def test_subfolders_that_differ_are_kept(server, cache, registry):
    members = [("all/a/1.png", bytes_of(1)), ("all/b/1.png", bytes_of(2)), ("all/2.png", b"2")]
    registry(server.serve("DIV2K/all.zip", make_zip(members)))
    assert set(images_in(assets.fetch("DIV2K/all", progress=False))) == {
        "a/1.png",
        "b/1.png",
        "2.png",
    }


@pytest.mark.parametrize("harm", ["altered", "deleted", "{", "{}", "[]", '{"zip": 1}'])
def test_an_unpacked_folder_that_was_changed_is_replaced(server, cache, registry, harm):
    registry(server.serve("DIV2K/valid.zip", ZIP))
    folder = assets.fetch("DIV2K/valid", progress=False)
    if harm == "altered":
        (folder / "0801.png").write_bytes(bytes_of("other"))  # of the same size
    elif harm == "deleted":
        (folder / "0802.png").unlink()
    else:
        (folder / download._MARKER).write_text(harm)
    with pytest.warns(UserWarning, match="altered.*DIV2K/valid"):
        assets.fetch("DIV2K", progress=False)
    assert images_in(folder) == IMAGES
    assert server.hits["/DIV2K/valid.zip"] == 2


def test_a_zip_of_another_edition_is_replaced(server, cache, registry):
    registry(server.serve("DIV2K/valid.zip", ZIP))
    assets.fetch("DIV2K", progress=False)
    registry(server.serve("DIV2K/valid.zip", make_zip([("new.png", b"new")])))
    with pytest.warns(UserWarning, match="altered"):
        assets.fetch("DIV2K", progress=False)
    assert images_in(cache / "DIV2K/valid") == {"new.png": b"new"}


def test_a_zip_that_is_there_already_is_only_unpacked(server, cache, registry):
    registry(server.serve("DIV2K/valid.zip", ZIP, 404))
    (cache / "DIV2K").mkdir(parents=True)
    (cache / "DIV2K/valid.zip").write_bytes(ZIP)
    assert images_in(assets.fetch("DIV2K/valid", progress=False)) == IMAGES
    assert not server.hits
    assert not (cache / "DIV2K/valid.zip").exists()


def test_unpacking_that_fails_keeps_the_zip_and_nothing_else(server, cache, registry, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    registry(server.serve("DIV2K/valid.zip", ZIP))
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "copyfileobj", full)
        with pytest.raises(FetchError, match="No space left"):
            assets.fetch("DIV2K", progress=False)
    assert_nothing_half(cache, ("DIV2K/valid.zip", ZIP))
    assets.fetch("DIV2K", progress=False)
    assert server.hits["/DIV2K/valid.zip"] == 1


def link(name):
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "member",
    [
        "../evil.png",
        "a/../../evil.png",
        "a/..",
        "/evil.png",
        "//host/share/evil.png",
        "..\\evil.png",
        "a\\evil.png",
        "C:/evil.png",
        "C:evil.png",
        "../",
        link("evil"),
    ],
    ids=lambda member: getattr(member, "filename", member),
)
def test_a_member_that_would_leave_the_folder_is_refused(server, cache, registry, member):
    bad = make_zip([("good.png", b"good"), (member, b"/etc/passwd")])
    registry(server.serve("DIV2K/valid.zip", bad))
    name = getattr(member, "filename", member)
    with pytest.raises(FetchError, match=re.escape(repr(name))):
        assets.fetch("DIV2K", progress=False)
    assert [path.name for path in cache.parent.rglob("*") if path.is_file()] == [".lock"]


@given(st.text(st.sampled_from("./\\:aC\0 "), min_size=1, max_size=8))
def test_accepted_members_stay_inside(name):
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # past the constructor, which cuts at a NUL
    try:
        data = make_zip([(member, b"content")])
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = download._safe_members(archive, len(data))
    except zipfile.BadZipFile:
        return
    for system in (ntpath, posixpath):
        for accepted in members:
            joined = system.normpath(system.join("folder", accepted.filename))
            assert joined.split(system.sep)[0] == "folder"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (make_zip([("bomb.png", bytes(1_000_000))]), "would unpack to 1000000 bytes"),
        (make_zip([]), "unpack to 0 bytes"),
        (b"not a zip at all", "not a zip"),
        (ZIP.replace(IMAGES["0802.png"][:40], bytes(40)), "Bad CRC-32 .*0802.png"),
        (with_field(8, 99), "compression method"),
        (with_field(6, 1), "password"),
    ],
    ids=["bomb", "empty", "no zip", "damaged", "unknown method", "password"],
)
def test_a_zip_that_makes_no_sense_is_refused(server, cache, registry, content, said):
    registry(server.serve("DIV2K/valid.zip", content))
    assert content != ZIP
    with pytest.raises(FetchError, match=said):
        assets.fetch("DIV2K", progress=False)
    assert_nothing_half(cache)


def test_the_marker_names_the_zip_and_its_files(server, cache, registry):
    file = server.serve("DIV2K/valid.zip", ZIP)
    registry(file)
    marker = json.loads(
        (assets.fetch("DIV2K/valid", progress=False) / download._MARKER).read_text()
    )
    assert marker["zip"] == file.sha256
    assert set(marker["files"]) == set(IMAGES)
