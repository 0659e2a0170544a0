"""Load images, make pairs of low and high resolution, and draw patches of them."""

import functools
import hashlib
import itertools
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from srlib import assets
from srlib._arguments import check_count
from srlib.environment import memory_is_said
from srlib.image import read_image
from srlib.resample import imresize, modcrop

__all__ = [
    "Pair",
    "PatchSampler",
    "add_shrunk",
    "content_hash",
    "image_files",
    "image_readers",
    "load_images",
    "make_pairs",
]

# img_005 of Set5 is this photograph at 71 % of the size: training on it is training on the test.
_BENCHMARK_TWINS = {("BSDS500", "train", "302003.jpg")}
# What a folder is searched for: pictures, of all that Pillow reads.
_SUFFIXES = set(
    ".apng .avif .bmp .dib .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .jpx .mpo .pbm "
    ".pcx .pgm .png .pnm .ppm .psd .qoi .sgi .tga .tif .tiff .webp".split()
)
_COLOUR_ORDERS = list(itertools.permutations(range(3)))


class Pair(NamedTuple):
    """An original image and the same at low resolution, with the name for tables.

    `hr` is uint8 (H, W, 3), or (H, W) for a grey image loaded "as_grey"; `lr` is uint8
    (H / scale, W / scale, 3).
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
        - the name of a dataset (see ``python -m srlib info``), downloaded if it is not there yet;
        - a folder: its image files, not those of its subfolders, see `image_files`.

        302003.jpg of BSDS500/train is left out: it is img_005 of Set5 at another size.
    scale : int, optional
        2, 3 or 4. A benchmark (Set5, Set14, BSD100, Urban100) needs it, because its originals are
        cut to multiples of the scale.
    grey : {"as_rgb", "as_grey"}
        See `srlib.image.read_image`. "as_rgb" is what most papers since 2017 do.

    Returns
    -------
    dict
        Name to uint8 image (H, W, 3), or (H, W) for grey ones "as_grey", sorted by name. The names
        are those of the files without their endings, or with them if two files would have one name.

    Raises
    ------
    ValueError
        If there is no such source, it holds no image, images cannot be read (it names each), or
        `grey` is none of the two.
    """
    images, failed = {}, []
    readers = image_readers(source, scale, grey=grey)
    for name, read in readers.items():
        try:
            images[name] = read()
        except (OSError, ValueError) as error:
            failed.append(str(error))
    if failed:
        count = f"{len(failed)} of {len(readers)} images cannot be read: " if failed[1:] else ""
        raise ValueError(count + "; ".join(failed))
    return images


def image_readers(
    source: str | os.PathLike, scale: int | None = None, *, grey: str = "as_rgb"
) -> dict[str, Callable[[], np.ndarray]]:
    """List the images that `load_images` loads: name to a function that loads one."""
    if grey not in ("as_rgb", "as_grey"):
        raise ValueError(f"grey must be 'as_rgb' or 'as_grey', got {grey!r}")
    if str(source).split("/")[0] == "bundled":
        _, _, split = str(source).partition("/")
        names = assets.sample_names(split or None)
        return {name: functools.partial(_sample, name, grey) for name in names}
    folder = Path(source)
    if not folder.is_dir():
        folder = _fetch(str(source), scale)
    paths = [path for path in image_files(folder) if not _is_twin(path)]
    if not paths:
        raise ValueError(f"source must hold image files, got {str(folder)!r}, which has none")
    stems = {path.stem for path in paths}
    unclear = len(stems) < len(paths) or "mean" in stems  # a table's last row is the mean
    names = [path.name if unclear else path.stem for path in paths]
    return {
        name: functools.partial(read_image, path, grey=grey)
        for name, path in zip(names, paths, strict=True)
    }


def image_files(
    folder: str | os.PathLike,
    *,
    recursive: bool = False,
    without: str | os.PathLike | None = None,
) -> list[Path]:
    """List the pictures in a folder, by their endings, sorted; hidden files (".x") do not count.

    A UserWarning names what else is in the folder and so left out. With `recursive` the folders
    within are searched too, but not those that are links, and not the folder `without`.
    """
    found, others = [], []
    without = without and os.path.realpath(without)
    for path in sorted(Path(folder).iterdir()):
        if path.name.startswith(".") or (without and os.path.realpath(path) == without):
            continue
        if recursive and path.is_dir() and not path.is_symlink():
            try:
                found += image_files(path, recursive=True, without=without)
            except OSError as error:  # closed, for instance
                others.append(f"{path.name} ({error.strerror})")
        elif path.is_dir() or path.suffix.lower() not in _SUFFIXES:
            others.append(path.name + os.sep * path.is_dir())
        else:
            found.append(path)
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        warnings.warn(f"{folder}: left out: {', '.join(others[:5])}{more}", stacklevel=2)
    return found


def _sample(name: str, grey: str) -> np.ndarray:
    image = assets.sample_image(name)
    is_grey = (image == image[..., :1]).all()
    return image[..., 0].copy() if grey == "as_grey" and is_grey else image


def _is_twin(path: Path) -> bool:
    # A link may lead to the photograph or, where files are kept by their digests, away from it.
    places = os.path.abspath(path), os.path.realpath(path)
    return any(Path(place).parts[-3:] in _BENCHMARK_TWINS for place in places)


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
    """Add shrunk copies of images, uint8, by factors between 0 and 1, named like "boat x0.8".

    They have finer detail and less noise to train on. Copies with a side shorter than
    `smallest_side` pixels are left out. ValueError if an image is called as a copy would be.

    References
    ----------
    C. Dong, C. C. Loy, X. Tang, "Accelerating the super-resolution convolutional neural network",
    ECCV, 2016: they shrink by 0.9, 0.8, 0.7 and 0.6.
    """
    if bad := [factor for factor in factors if not 0 < factor < 1]:
        raise ValueError(f"factors must be between 0 and 1, got {bad[0]!r}")
    copies = {
        f"{name} x{factor:g}": imresize(image, factor)
        for factor in factors
        for name, image in images.items()
        if math.ceil(min(image.shape[:2]) * factor) >= smallest_side
    }
    if twice := sorted(images.keys() & copies.keys()):
        raise ValueError(f"images must not be called as shrunk copies are, got {twice[0]!r}")
    return images | copies


def make_pairs(images: dict[str, np.ndarray], scale: int) -> list[Pair]:
    """Make low-resolution images with MATLAB's bicubic resize, as all tables of the field do.

    `images` maps names to uint8 images, (H, W, 3) or (H, W). They are cut at the right and at the
    bottom to sides that are multiples of `scale`, a whole number of at least 1.
    """
    pairs = []
    for name, image in images.items():
        hr = modcrop(image, scale)
        lr = imresize(hr, 1 / scale)
        if lr.ndim == 2:  # networks always take RGB
            lr = np.repeat(lr[..., None], 3, axis=2)
        pairs.append(Pair(name, lr, hr))
    return pairs


def content_hash(pairs: list[Pair]) -> str:
    """Return 16 hexadecimal digits that stand for the images of pairs, whatever their names are."""
    digest = hashlib.sha256()
    for _, *images in pairs:
        for image in images:
            digest.update(f"{image.shape}".encode())
            digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()[:16]


class PatchSampler:
    """Draw batches of aligned random patches from images that stay on the device.

    The decoded images are kept there as uint8, in one long row of pixels, and a batch is gathered
    from that row by indices: no file is opened and no process started. LR patches are cut out of
    the LR image; shrinking an HR patch would give other pixels at its border.

    Parameters
    ----------
    pairs : list of Pair
        In colour, see `make_pairs`.
    lr_patch_size : int
        Side of a patch, in LR pixels.
    batch_size : int
        Patches in a batch.
    augment : bool
        Rotate and flip each patch at random, in eight ways.
    permute_colours : bool
        Put red, green and blue in a random order.
    equal_images : bool
        Take as many patches from each image, as the field does with images of one size. Otherwise
        every place of every image is as likely, and large images give most of the patches.
    seed : int
        The same seed gives the same patches on every device.
    device : str or torch.device
        Where the images are kept and the patches made.

    Attributes
    ----------
    content : str
        The `content_hash` of the pairs, by which a training knows them again.
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
        equal_images: bool = False,
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
        self.permute_colours, self.equal_images, self.seed = permute_colours, equal_images, seed
        self.content = content_hash(pairs)
        self._generator = torch.Generator().manual_seed(seed)
        packed = [_pack([pair[k] for pair in pairs]) for k in (1, 2)]  # LR, HR
        mebibytes = sum(pixels.nbytes for pixels in packed) / 2**20
        memory_short = (
            f"{len(pairs)} photographs take {mebibytes:.0f} MiB, more than is free on {device}; "
            "take fewer, or without shrunk copies"
        )
        with memory_is_said(memory_short):
            self._pixels = [pixels.to(device) for pixels in packed]
        self.hr_pixels = len(self._pixels[1])
        self._orders = torch.tensor(_COLOUR_ORDERS, device=device)
        sizes = torch.tensor([pair.lr.shape[:2] for pair in pairs])  # (images, 2)
        self._widths = sizes[:, 1]
        self._starts = sizes.prod(dim=1).cumsum(0) - sizes.prod(dim=1)  # LR pixels before an image
        self._choices = sizes - lr_patch_size + 1  # places for a patch: (images, 2)

    def sample(self, process: int = 0, processes: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a batch: float32 LR (N, 3, P, P) and HR (N, 3, s * P, s * P), both in 0..1.

        Where several `processes` train together, each passes its number and gets its part of one
        large batch, of `processes` times `batch_size` patches.
        """
        count, random = self.batch_size * processes, self._generator
        places = self._choices.prod(dim=1).double()
        weights = torch.ones_like(places) if self.equal_images else places
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
        """Return the state of the random numbers."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue where the sampler that `state` comes from stopped."""
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
    """Put the pixels of images, uint8 (H, W, 3), in one row, each pixel as an int32.

    The fourth byte is unused: gathering whole words is four times faster than gathering bytes.
    """
    pixels = np.concatenate([image.reshape(-1, 3) for image in images])
    rgbx = np.ascontiguousarray(np.pad(pixels, ((0, 0), (0, 1))))
    return torch.from_numpy(rgbx).view(torch.int32).flatten()
