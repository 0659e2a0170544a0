"""``python -m srlib upscale``: enlarge a photograph, or a folder of them."""

import errno
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from srlib._files import in_words
from srlib.data import image_files
from srlib.environment import gpu_has_failed
from srlib.image import SAVE_OPTIONS
from srlib.photo import check_output, read_photo, write_photo
from srlib.resample import resized

__all__ = ["ending_of_result", "upscale_folder", "upscale_photo"]

# Takes pixels, and True or a bar as `srlib.evaluation.upscale_bands` does; yields bands of rows.
Enlarge = Callable[[np.ndarray, bool | tqdm], Iterator[np.ndarray]]

# At this quality and below, `upscale` speaks of it.
HARD_JPEG = 85


def upscale_photo(
    source: Path,
    target: Path,
    enlarge: Enlarge,
    scale: float,
    advised: str | None = None,
    progress: bool | tqdm = True,
) -> None:
    """Enlarge one photograph. ValueError or OSError if it cannot be read, held or written.

    `advised` is a method for photographs that were compressed hard, named where one was.
    """
    photo = read_photo(source)
    height, width = photo.pixels.shape[:2]
    if advised and photo.jpeg_quality and photo.jpeg_quality <= HARD_JPEG:
        photo.notes.append(
            f"a JPEG of quality {photo.jpeg_quality} or so, whose blocks will be enlarged with it; "
            f"--method {advised} takes them away"
        )
    size = {"height": resized(height, scale), "width": resized(width, scale)}
    for note in photo.notes + check_output(target, like=photo, **size):
        tqdm.write(f"note: {source}: {note}", file=sys.stderr)
    with write_photo(target, like=photo, **size) as writer:
        if photo.alpha is None:
            for rows in enlarge(photo.pixels, progress):
                writer.write_rows(rows)
        else:  # row by row: a GPU's free memory changes, and may cut the two into other bands
            alphas = itertools.chain.from_iterable(enlarge(photo.alpha[..., None], False))
            for rows in enlarge(photo.pixels, progress):
                writer.write_rows(rows, np.stack(list(itertools.islice(alphas, len(rows)))))
    tqdm.write(f"{target}: {size['width']} x {size['height']}, from {width} x {height}")


def ending_of_result(source: Path) -> str:
    """Return the ending of a photograph's name, or ".png" where no such file can be written."""
    return source.suffix if source.suffix.lower() in SAVE_OPTIONS else ".png"


def upscale_folder(
    folder: Path,
    out: Path,
    enlarge: Enlarge,
    scale: float,
    advised: str | None = None,
    *,
    suffix: str | None = None,
    recursive: bool = False,
    force: bool = False,
) -> int:
    """Enlarge the photographs of a folder; return how many could not be.

    Results that are there already are left as they are, unless `force` is given, so that the same
    call goes on after an interruption. A photograph that fails stops no other; the reasons are
    said at the end. Only a full disk, or a GPU that has failed, stops all.

    Parameters
    ----------
    advised : str, optional
        As in `upscale_photo`.
    folder, out : path
        Results stand in `out` as the photographs in `folder`, under the same names.
    suffix : str, optional
        What all results end in. By default each keeps its ending, or gets ".png" where none can be
        written. Of two that would become one, the whole name is kept: "boat.gif.png".
    recursive : bool
        Also the photographs in folders within `folder`.
    """
    if out.suffix.lower() in SAVE_OPTIONS or (out.exists() and not out.is_dir()):
        raise ValueError(f"{out}: must be a folder, because {folder} is one")
    if out.exists() and out.samefile(folder):
        raise ValueError(f"{out}: results need another folder than that of the photographs")
    files = image_files(folder, recursive=recursive, without=out)
    if not files:
        raise ValueError(f"{folder}: holds no photographs")
    targets = _targets(files, folder, out, suffix)
    waiting = {s: t for s, t in targets.items() if force or not t.exists()}
    if there := len(targets) - len(waiting):
        tqdm.write(f"{out}: {there} of {len(targets)} are there already; --force makes them anew")
    failed = {}
    layout = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"
    with tqdm(total=len(waiting), desc="pictures", bar_format=layout) as bar:
        for done, (source, target) in enumerate(waiting.items(), 1):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                upscale_photo(source, target, enlarge, scale, advised, bar)
            except Exception as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if gpu_has_failed(error):  # nor could any other be enlarged
                    raise
                text = in_words(error)
                failed[source] = text if str(source) in text else f"{source}: {text}"
            bar.update(done - bar.n)
    tqdm.write(f"{out}: {len(waiting) - len(failed)} enlarged, {len(failed)} failed")
    for text in failed.values():
        print(f"error: {text}", file=sys.stderr)
    return len(failed)


def _targets(files, folder, out, suffix) -> dict[Path, Path]:
    """Name a result for each file; none twice, also where upper and lower case are the same."""
    places = {file: out / file.relative_to(folder) for file in files}
    endings = {file: suffix or ending_of_result(file) for file in files}
    targets = {file: place.with_suffix(endings[file]) for file, place in places.items()}
    count = Counter(str(target).casefold() for target in targets.values())
    for file, target in targets.items():
        if count[str(target).casefold()] > 1 and target != places[file]:
            targets[file] = places[file].with_name(file.name + endings[file])
    twice = [target for target, n in Counter(targets.values()).items() if n > 1]
    if twice:
        sources = [file.name for file, target in targets.items() if target == twice[0]]
        raise ValueError(f"{folder}: {' and '.join(sources)} would both become {twice[0]}")
    return targets
