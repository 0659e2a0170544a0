"""Find training photographs that show what an image of a benchmark shows, even a small part of it.

python tools/find_twins.py BSDS500/train FOLDER ...   # look for twins among these
python tools/find_twins.py --write Set5 Set14         # keep the benchmarks' fingerprints first

A fingerprint is what ORB finds in an image: places of corners and 256 bits about what surrounds
each. It holds no picture. Two images are twins if many of their corners agree in one shift, turn
and size, or do so when one of them is mirrored. Another view of the same building is no twin.

References
----------
E. Rublee, V. Rabaud, K. Konolige, G. Bradski, "ORB: an efficient alternative to SIFT or SURF",
ICCV, 2011.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from skimage.feature import ORB, match_descriptors
from skimage.measure import ransac
from skimage.transform import SimilarityTransform
from tqdm.auto import tqdm

from srlib._atomic import atomic_write
from srlib.data import load_images
from srlib.image import rgb_to_y
from srlib.resample import imresize

FOLDER = Path(__file__).resolve().parents[1] / "data" / "fingerprints"
SIDE = 800  # pixels; what is larger is shrunk
CORNERS = {"benchmark": 200, "photograph": 800}
LEAST = 10  # corners that agree; by chance it is 4 or 5


class Fingerprint(NamedTuple):
    """Corners of an image: where, (n, 2) in pixels, and what surrounds them, bool (n, 256)."""

    places: np.ndarray
    bits: np.ndarray


def fingerprint(image: np.ndarray, corners: int) -> Fingerprint:
    """Return the fingerprint of an image, uint8 (H, W, 3), of at most so many corners."""
    smaller = SIDE / max(image.shape[:2])
    grey = rgb_to_y(imresize(image, smaller) if smaller < 1 else image) / 255
    finder = ORB(n_keypoints=corners, fast_threshold=0.05)
    try:
        finder.detect_and_extract(grey)
    except (RuntimeError, IndexError):  # it has no corners
        return Fingerprint(np.zeros((0, 2), np.float32), np.zeros((0, 256), bool))
    return Fingerprint(finder.keypoints.astype(np.float32), finder.descriptors)


def agreeing(first: Fingerprint, second: Fingerprint) -> int:
    """Count the corners of two images that agree in one shift, turn and size."""
    if min(len(first.places), len(second.places)) < LEAST:
        return 0
    pairs = match_descriptors(first.bits, second.bits, cross_check=True, max_ratio=0.85)
    if len(pairs) < LEAST:
        return 0
    places = first.places[pairs[:, 0]], second.places[pairs[:, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of corners that lie on one point
        _, agree = ransac(
            places, SimilarityTransform, 2, residual_threshold=4, max_trials=300, rng=0
        )
    return 0 if agree is None else int(agree.sum())


def write(benchmark: str) -> None:
    """Keep the fingerprints of a benchmark's images."""
    arrays = {}
    images = load_images(benchmark, 4)
    for name, image in tqdm(images.items(), desc=benchmark, unit="image"):
        for view, seen in ((name, image), (f"{name} mirrored", image[:, ::-1])):
            places, bits = fingerprint(seen, CORNERS["benchmark"])
            arrays |= {f"{view}/places": places, f"{view}/bits": np.packbits(bits, axis=1)}
    FOLDER.mkdir(exist_ok=True)
    with atomic_write(FOLDER / f"{benchmark}.npz") as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def read() -> dict[str, Fingerprint]:
    """Return the fingerprints that were kept, by benchmark and image: "Set5/img_001"."""
    found = {}
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path) as arrays:
            for name in sorted({key.rpartition("/")[0] for key in arrays}):
                bits = np.unpackbits(arrays[f"{name}/bits"], axis=1).astype(bool)
                found[f"{path.stem}/{name}"] = Fingerprint(arrays[f"{name}/places"], bits)
    return found


def nearest(image: np.ndarray, benchmarks: dict[str, Fingerprint]) -> tuple[str, int]:
    """Return the benchmark image that is likest to a photograph, and how many corners agree."""
    seen = fingerprint(image, CORNERS["photograph"])
    counts = {name: agreeing(seen, kept) for name, kept in benchmarks.items()}
    name = max(counts, key=counts.get)
    return name, counts[name]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 1 if there are twins."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folders or datasets")
    parser.add_argument("--write", action="store_true", help="keep the fingerprints of benchmarks")
    options = parser.parse_args(arguments)
    if options.write:
        for source in options.sources:
            write(source)
        return 0
    benchmarks = read()
    rows = []
    for source in options.sources:
        images = load_images(source)
        for name, image in tqdm(images.items(), desc=source, unit="image"):
            rows.append([f"{source}/{name}", *nearest(image, benchmarks)])
    table = pd.DataFrame(rows, columns=["photograph", "nearest", "corners"])
    table = table.sort_values("corners", ascending=False, ignore_index=True)
    print(table.head(10).to_string(index=False))
    twins = int((table["corners"] >= LEAST).sum())
    print(f"{len(table)} photographs, {len(benchmarks) // 2} benchmark images: {twins} twins")
    return int(twins > 0)


if __name__ == "__main__":
    sys.exit(main())
