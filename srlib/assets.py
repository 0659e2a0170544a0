"""Photographs and datasets of the course: bundled, cached or downloaded, and verified.

The cache is the folder named by the environment variable ``SRLIB_DATA``, else ``data/cache`` of a
clone, else the user's cache folder. Files in it are named as in ``data/registry.csv``, which has
their SHA-256: any folder of that layout will do, also a read-only one.
"""

import csv
import difflib
import functools
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from srlib._download import RemoteFile, obtain

__all__ = ["data_file", "datasets", "fetch", "is_cached", "sample_image", "sample_names"]

# A wheel carries its data files in srlib/_data; in a clone they lie in data/ beside srlib/.
_PACKAGE = Path(__file__).resolve().parent
_IN_CLONE = not (_PACKAGE / "_data").is_dir()
_DATA = _PACKAGE.parent / "data" if _IN_CLONE else _PACKAGE / "_data"

# Split once and for all. "test" is what figures and demos show as results: no network of this
# course is ever trained on it. The two motorcycles show one scene, so they stay on one side.
# Left out: drawings and test patterns, and what is tiny, blurred by motion or not a photograph.
_SAMPLES = {
    "train": "astronaut grass gravel hubble_deep_field immunohistochemistry moon motorcycle_left "
    "motorcycle_right retina rocket text".split(),
    "test": "brick camera chelsea coffee coins page".split(),
}


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset is: files and bytes to download, terms, origin, and what to use it for."""

    files: int
    bytes: int
    licence: str
    citation: str
    homepage: str
    use: str  # "benchmark" or "training"


def sample_names(split: str | None = None) -> tuple[str, ...]:
    """Return the names of the bundled photographs: "train", "test" (never train on it), or all.

    >>> sample_names("test")
    ('brick', 'camera', 'chelsea', 'coffee', 'coins', 'page')
    """
    if split is None:
        return tuple(sorted(_SAMPLES["train"] + _SAMPLES["test"]))
    if split not in _SAMPLES:
        raise ValueError(f"split must be 'train', 'test' or None, got {split!r}")
    return tuple(_SAMPLES[split])


def sample_image(name: str):
    """Load one of `sample_names` from scikit-image: uint8 (H, W, 3), RGB, a fresh copy.

    "motorcycle_left" and "motorcycle_right" are a stereo pair; grey photographs get three equal
    channels.
    """
    if name not in sample_names():
        raise ValueError(_unknown("photograph", name, sample_names()))
    import numpy as np
    from skimage import data

    if name.startswith("motorcycle"):
        left, right, _disparity = data.stereo_motorcycle()
        image = left if name == "motorcycle_left" else right
    else:
        image = getattr(data, name)()
    return np.stack([image] * 3, axis=-1) if image.ndim == 2 else np.array(image)


def datasets() -> dict[str, DatasetInfo]:
    """Return the datasets that `fetch` knows, by name."""
    return {
        name: DatasetInfo(
            files=len(files := _select(name)), bytes=sum(file.bytes for file in files), **described
        )
        for name, described in _load_descriptions().items()
    }


def data_file(relative: str) -> Path:
    """Return the path of a data file of the course, such as "registry.csv"."""
    if not (_DATA / relative).exists():
        raise FileNotFoundError(f"no such file in {_DATA}, got {relative!r}")
    return _DATA / relative


def fetch(name: str, *, progress: bool = True) -> Path:
    """Return the folder of a dataset; download what is missing and verify every file, every time.

    `name` is one of `datasets`, or a part: "Set5/x4", "BSDS500/train", "DIV2K/DIV2K_valid_HR" (the
    zips of DIV2K are unpacked and deleted). Any number of processes may share a cache: one of them
    downloads. `srlib._download.FetchError`, an OSError, if that fails; it leaves no half file.
    Warns if a cached file was altered and was downloaded again.
    """
    files, root = _select(name), cache_root()
    obtain(files, root, progress=progress)
    return root / name


def check_name(name: str) -> None:
    """Raise ValueError unless `fetch` knows a dataset, or a part of one, of this name."""
    _select(name)


def is_cached(name: str) -> bool:
    """Tell whether `fetch` would need no network, by names and sizes of the files only."""
    root = cache_root()
    # os.path, because a folder that may not be entered is no error here.
    return all(
        os.path.isdir(root / file.target)
        if file.is_zip
        else os.path.isfile(root / file.name) and os.path.getsize(root / file.name) == file.bytes
        for file in _select(name)
    )


def cache_root() -> Path:
    """Return the folder in which `fetch` keeps its files; it need not exist."""
    if folder := os.environ.get("SRLIB_DATA"):
        try:
            return Path(folder).expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"SRLIB_DATA must be a folder, got {folder!r}: {error}") from error
    if _IN_CLONE:
        return _DATA / "cache"
    import pooch

    return Path(pooch.os_cache("srlib"))


def servers() -> tuple[str, ...]:
    """Return the names of the computers that `fetch` downloads from."""
    return tuple(sorted({urlsplit(file.url).hostname for file in _load_registry()}))


@functools.cache
def _load_registry() -> tuple[RemoteFile, ...]:
    with open(data_file("registry.csv"), newline="", encoding="utf-8") as file:
        return tuple(
            RemoteFile(**{**row, "bytes": int(row["bytes"])}) for row in csv.DictReader(file)
        )


@functools.cache
def _load_descriptions() -> dict[str, dict[str, str]]:
    return tomllib.loads(data_file("datasets.toml").read_text(encoding="utf-8"))


def _select(name: str) -> list[RemoteFile]:
    targets = {entry.target: entry for entry in _load_registry()}
    found = [entry for t, entry in targets.items() if t == name or t.startswith(f"{name}/")]
    if not found:
        folders = {str(folder) for t in targets for folder in PurePosixPath(t).parents[:-1]}
        raise ValueError(_unknown("dataset", name, _load_descriptions(), folders | targets.keys()))
    return found


def _unknown(kind: str, name, listed, parts=()) -> str:
    spelling = {known.lower(): known for known in {*listed, *parts}}
    close = difflib.get_close_matches(str(name).lower(), spelling, n=1)
    hint = f" (did you mean {spelling[close[0]]!r}?)" if close else ""
    return f"{kind} must be one of {', '.join(listed)}, got {name!r}{hint}"
