"""From files to pairs of low-resolution and high-resolution images, and to patches of them."""

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from srlib import assets
from srlib._arguments import check_count
from srlib.image import read_image
from srlib.resample import imresize, modcrop

__all__ = ["Pair", "PatchSampler", "add_shrunk", "load_images", "make_pairs"]

# The same photograph as img_005 of Set5, there at 71 % of the size: whoever trains on it, trains on
# the benchmark.
_BENCHMARK_TWINS = {("BSDS500", "train", "302003.jpg")}
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
_COLOUR_ORDERS = list(itertools.permutations(range(3)))


class Pair(NamedTuple):
    """An original and what is left of it at low resolution.

    Attributes
    ----------
    name : str
        What the image is called in tables.
    lr : ndarray
        uint8, shape (H / scale, W / scale, 3).
    hr : ndarray
        uint8, shape (H, W, 3), or (H, W) for a grey image loaded "as_grey".
    """

    name: str
    lr: np.ndarray
    hr: np.ndarray


def load_images(
    source: str | os.PathLike, scale: int | None = None, *, grey: str = "as_rgb"
) -> dict[str, np.ndarray]:
    """Load the images of a folder, of a dataset, or those bundled with scikit-image.

    Parameters
    ----------
    source : str or path
        - "bundled", "bundled/train" or "bundled/test": photographs inside scikit-image;
        - the name of a dataset (see ``python -m srlib info``), fetched where it is not there;
        - a folder: its image files, not those of its subfolders.

        Of BSDS500/train one is left out: 302003.jpg is img_005 of Set5 at another size.
    scale : int, optional
        2, 3 or 4: which originals of a benchmark (Set5, Set14, BSD100, Urban100) are meant.
        They are cut to multiples of the scale, so they differ.
    grey : {"as_rgb", "as_grey"}
        See `srlib.image.read_image`. "as_rgb" is what most papers since 2017 do.

    Returns
    -------
    dict
        Name to uint8 image (H, W, 3), in the order of the names.

    Raises
    ------
    ValueError
        If `source` is no folder and no known name, if it holds no images, or if a benchmark
        is asked for without a scale.
    """
    if str(source).split("/")[0] == "bundled":
        _, _, split = str(source).partition("/")
        names = assets.sample_names(split or None)
        return {name: assets.sample_image(name) for name in names}
    folder = Path(source)
    if not folder.is_dir():
        folder = _fetch(str(source), scale)
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and path.parts[-3:] not in _BENCHMARK_TWINS
    )
    if not paths:
        raise ValueError(f"source must hold image files, got {str(folder)!r}, which has none")
    return {path.stem: read_image(path, grey=grey) for path in paths}


def _fetch(source: str, scale: int | None) -> Path:
    name = source.split("/")[0]
    datasets = assets.datasets()
    if name not in datasets:
        raise ValueError(
            f"source must be a folder, 'bundled' or one of {', '.join(datasets)}, got {source!r}"
        )
    if datasets[name].use != "benchmark":
        return assets.fetch(source)
    if scale is None:
        raise ValueError(f"scale must be given for the benchmark {name}, got None")
    return assets.fetch(f"{name}/x{scale}") / "HR"


def add_shrunk(
    images: dict[str, np.ndarray], factors: Sequence[float], smallest_side: int = 1
) -> dict[str, np.ndarray]:
    """Add what photographs look like shrunk: more to train on, with finer detail and less noise.

    Dong, Loy, Tang, "Accelerating the super-resolution convolutional neural network", ECCV,
    2016, shrink by 0.9, 0.8, 0.7 and 0.6.

    Parameters
    ----------
    images : dict
        Name to uint8 image (H, W, 3) or (H, W).
    factors : sequence of float
        Between 0 and 1.
    smallest_side : int
        Copies that have a shorter side, in pixels, are left out.

    Returns
    -------
    dict
        `images`, and behind them the copies, named like "boat x0.8".

    Raises
    ------
    ValueError
        If a factor is not between 0 and 1.
    """
    if bad := [factor for factor in factors if not 0 < factor < 1]:
        raise ValueError(f"factors must be between 0 and 1, got {bad[0]!r}")
    copies = {
        f"{name} x{factor:g}": imresize(image, factor)
        for factor in factors
        for name, image in images.items()
        if math.ceil(min(image.shape[:2]) * factor) >= smallest_side
    }
    return images | copies


def make_pairs(images: dict[str, np.ndarray], scale: int) -> list[Pair]:
    """Make low-resolution images with MATLAB's bicubic resize, as all tables of the field do.

    Parameters
    ----------
    images : dict
        Name to uint8 image (H, W, 3) or (H, W). Sides that are not multiples of `scale` are
        cut at the right and at the bottom.
    scale : int
        At least 1.

    Returns
    -------
    list of Pair
        In the order of `images`.

    Raises
    ------
    ValueError
        If `scale` is not a positive whole number or an image is smaller than it.
    """
    pairs = []
    for name, image in images.items():
        hr = modcrop(image, scale)
        lr = imresize(hr, 1 / scale)
        if lr.ndim == 2:  # networks take RGB, whatever the score looks at
            lr = np.repeat(lr[..., None], 3, axis=2)
        pairs.append(Pair(name, lr, hr))
    return pairs


class PatchSampler:
    """Draw batches of aligned random patches from images that stay on the device.

    The decoded images live there as uint8, in one long row of pixels. A batch is a table of
    indices into that row: no files are opened, no processes started. The LR patch is cut from
    the LR image, so it equals what a camera would have seen, borders of the patch included.

    Parameters
    ----------
    pairs : list of Pair
        See `make_pairs`; colour only.
    scale : int
        The factor between LR and HR.
    lr_patch_size : int
        Side of a patch, in LR pixels.
    batch_size : int
        Patches a batch.
    augment : bool
        Turn and flip each patch at random: eight ways.
    permute_colours : bool
        Put red, green and blue into a random order: six ways.
    seed : int
        Of the random numbers. The same seed gives the same patches on every device.
    device : str or torch.device
        Where images and patches are.

    Raises
    ------
    ValueError
        If there are no pairs, one is not aligned or grey, an LR image is smaller than a patch, or
        a size is not a positive whole number.
    """

    def __init__(
        self,
        pairs: list[Pair],
        scale: int,
        *,
        lr_patch_size: int = 24,
        batch_size: int = 16,
        augment: bool = True,
        permute_colours: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        if not pairs:
            raise ValueError("pairs must hold at least one pair, got none")
        check_count("lr_patch_size", lr_patch_size)
        check_count("batch_size", batch_size)
        for name, lr, hr in pairs:
            height, width = lr.shape[:2]
            if hr.shape != (height * scale, width * scale, 3):
                raise ValueError(
                    f"{name}: HR must be {scale} times LR and RGB, got {hr.shape} and {lr.shape}"
                )
            if min(height, width) < lr_patch_size:
                raise ValueError(
                    f"{name}: lr_patch_size must be at most {min(height, width)}, "
                    f"got {lr_patch_size}"
                )
        self.scale, self.batch_size, self.augment = scale, batch_size, augment
        self.lr_patch_size, self.device = lr_patch_size, torch.device(device)
        self.permute_colours = permute_colours
        self._generator = torch.Generator().manual_seed(seed)
        self._pixels = [_pack([pair[k] for pair in pairs]).to(device) for k in (1, 2)]  # LR, HR
        self.hr_pixels = len(self._pixels[1])
        self._orders = torch.tensor(_COLOUR_ORDERS, device=device)
        sizes = torch.tensor([pair.lr.shape[:2] for pair in pairs])  # (images, 2)
        self._widths = sizes[:, 1]
        self._starts = sizes.prod(dim=1).cumsum(0) - sizes.prod(dim=1)  # LR pixels before an image
        self._choices = sizes - lr_patch_size + 1  # places for a patch: (images, 2)

    def sample(self, process: int = 0, processes: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a batch: float32 LR (N, 3, P, P) and HR (N, 3, s * P, s * P), both in 0..1.

        Of `processes` that train together, each calls this with its number and gets its part of
        the batch that one process would draw with a `batch_size` so many times larger.
        """
        count, random = self.batch_size * processes, self._generator
        weights = self._choices.prod(dim=1).double()  # every place of every image alike
        image = torch.multinomial(weights, count, replacement=True, generator=random)
        corner = torch.rand(count, 2, generator=random, dtype=torch.float64)
        corner = (corner * self._choices[image]).long()  # (N, 2)
        turns = torch.randint(2, (3, count), generator=random) * self.augment
        orders = torch.zeros(count, dtype=torch.long)
        if self.permute_colours:
            orders = torch.randint(len(_COLOUR_ORDERS), (count,), generator=random)
        plan = torch.stack([self._starts[image], self._widths[image], *corner.T, *turns, orders])
        plan = plan[:, process * self.batch_size :][:, : self.batch_size]  # (8, N)
        plan = plan.to(self.device, non_blocking=True)[..., None, None]  # (8, N, 1, 1)
        return self._gather(self._pixels[0], 1, plan), self._gather(
            self._pixels[1], self.scale, plan
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return where the sequence of random patches stands."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on where the sampler stood that `state` is of."""
        self._generator.set_state(state["generator"])

    def _gather(self, pixels, factor, plan):
        start, width, top, left, transpose, flip_rows, flip_columns, order = plan
        size = self.lr_patch_size * factor
        place = torch.arange(size, device=self.device)
        rows, columns = place[:, None], place  # (P, 1), (P,)
        rows, columns = (
            torch.where(transpose > 0, columns, rows),
            torch.where(transpose > 0, rows, columns),
        )  # (N, P, P)
        rows = torch.where(flip_rows > 0, size - 1 - rows, rows) + top * factor
        columns = torch.where(flip_columns > 0, size - 1 - columns, columns) + left * factor
        index = start * factor**2 + rows * (width * factor) + columns
        rgbx = pixels.index_select(0, index.flatten()).view(torch.uint8)
        rgb = rgbx.view(*index.shape, 4)[..., :3]  # (N, P, P, 3)
        if self.permute_colours:
            channels = self._orders[order]  # (N, 1, 1, 3)
            rgb = rgb.gather(3, channels.expand(*rgb.shape))
        return rgb.permute(0, 3, 1, 2).float() / 255


def _pack(images):
    """Images, uint8 (H, W, 3), to their pixels one behind the other, an int32 each.

    Red, green, blue and a byte that is not used: a gather of whole words is four times faster.
    """
    pixels = np.concatenate([image.reshape(-1, 3) for image in images])
    rgbx = np.ascontiguousarray(np.pad(pixels, ((0, 0), (0, 1))))
    return torch.from_numpy(rgbx).view(torch.int32).flatten()
