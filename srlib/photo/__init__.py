"""Photographs as people have them: what a file holds besides RGB comes back in the result.

`srlib.image` is the reader of benchmarks: 8-bit RGB, everything else dropped. Here grey stays
grey, transparency, 16 bits, the colour profile, EXIF and the print size are kept as far as the
format of the result can hold them, and what is lost is said. Results are written in strips, so
that a picture larger than the memory can be made.

`srlib.decoding` gives the pixels, `_tags` knows EXIF and TIFF, `_plan` what a format holds,
`_encoders` write it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms
from scipy import ndimage

from srlib._atomic import atomic_write
from srlib.decoding import (
    decode,
    eight_bits,
    jpeg_quality,
    on_white,
    open_picture,
    srgb_transform,
)
from srlib.photo._encoders import PillowEncoder, PngEncoder, TiffEncoder
from srlib.photo._plan import Plan, make_plan
from srlib.photo._tags import Tags, print_size, read_exif

__all__ = ["Photo", "PhotoWriter", "check_output", "read_photo", "write_photo"]


@dataclass
class Photo:
    """A picture and what its file says about it.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    pixels : ndarray
        uint8 or uint16 over their whole range, upright, shape (H, W, 1) if grey, (H, W, 3) if RGB.
        Where the picture is fully transparent they hold the nearest visible colour: a network that
        saw the hidden one, mostly black, would draw it as a fringe.
    alpha : ndarray, optional
        Of the same type, shape (H, W); 0 is transparent. None if the picture is opaque.
    icc_profile : bytes, optional
        The colour profile that `pixels` are meant in. None means sRGB.
    exif : dict
        EXIF as {tag: (type, count, little-endian bytes)}, without the thumbnail.
    dpi : tuple of float, optional
        Pixels per inch, horizontally and vertically.
    jpeg_quality : int, optional
        Of a JPEG file, estimated by `srlib.decoding.jpeg_quality`.
    notes : list of str
        What could not be kept, in words.
    """

    name: str
    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    exif: Tags = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    jpeg_quality: int | None = None
    notes: list[str] = field(default_factory=list)


def read_photo(source: str | os.PathLike | bytes | BinaryIO) -> Photo:
    """Read a photograph with all that can be kept of it.

    Bilevel pictures and palettes of greys become grey, other palettes RGB, CMYK becomes sRGB
    (through the file's profile, where it has one). Of several frames the first is read.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the path cannot be opened.
    ValueError
        For any other file that cannot be read, in one sentence with its name; limits are those of
        `srlib.image.read_image`.
    """
    with open_picture(source) as (picture, file, name, notes):
        levels, info = decode(picture, file, name, notes, by_profile=True)
        pixels, alpha = _split_alpha(levels)
        pixels = _by_png_gamma(pixels, info, notes)
        exif = read_exif(picture.format, info, file, notes)
        photo = Photo(name, pixels, alpha, exif=exif, notes=notes)
        photo.icc_profile = _fitting_profile(info, pixels.shape[2], notes)
        photo.dpi = print_size(picture.format, info, exif)
        photo.jpeg_quality = jpeg_quality(picture)
        lost = ["XMP"] if info.get("xmp") or info.get("XML:com.adobe.xmp") else []
        if 0x0404 in info.get("photoshop", ()):
            lost.append("IPTC")
        texts = set(getattr(picture, "text", ())) - {"XML:com.adobe.xmp", "Raw profile type exif"}
        if any(not text.startswith("date:") for text in texts):  # ImageMagick writes these
            lost.append("PNG texts")
        if lost:
            notes.append(f"metadata are not kept: {', '.join(lost)}")
    return photo


def _split_alpha(levels):
    """Return pixels and alpha, or None; hidden pixels get the nearest visible colour."""
    if levels.shape[2] in (1, 3):
        return np.ascontiguousarray(levels), None
    pixels, alpha = levels[..., :-1], levels[..., -1]
    hidden = alpha == 0
    if hidden.any() and not hidden.all():
        nearest = ndimage.distance_transform_edt(
            hidden, return_distances=False, return_indices=True
        )
        pixels = pixels[tuple(nearest)]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(alpha)


# White, red, green and blue of sRGB, as PNG's cHRM holds them.
_SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


def _by_png_gamma(pixels, info, notes):
    """Make sRGB of levels that PNG's gAMA describes: light is level ** (1 / gamma)."""
    if "srgb" in info or info.get("icc_profile"):
        return pixels
    primaries = info.get("chromaticity", ())
    if len(primaries) == 8 and not np.allclose(primaries, _SRGB_PRIMARIES, atol=0.01):
        notes.append("its primary colours (cHRM) are not kept")
    gamma = info.get("gamma", 0)
    if gamma <= 0 or abs(gamma - 0.45455) < 0.01:
        return pixels
    notes.append(f"its gamma of {gamma} is converted to sRGB")
    full = np.iinfo(pixels.dtype).max
    light = np.linspace(0, 1, full + 1) ** (1 / gamma)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(full * curve).astype(pixels.dtype)[pixels]


def _fitting_profile(info, channels, notes):
    icc_profile = info.get("icc_profile")
    if not icc_profile:
        return None
    mode, space = ("L", b"GRAY") if channels == 1 else ("RGB", b"RGB ")
    if icc_profile[16:20] != space:
        notes.append("its colour profile is for another kind of picture and is dropped")
        return None
    try:
        srgb_transform(icc_profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("its colour profile is damaged and is dropped")
        return None
    return icc_profile


def check_output(path: str | os.PathLike, *, like: Photo, height: int, width: int) -> list[str]:
    """Refuse, before any work, a result that could not be written; say what it could not hold.

    Parameters
    ----------
    path : path
        The file to be written. Its ending chooses the format, as in `srlib.image.write_image`.
    like : Photo
        The photograph that is enlarged.
    height, width : int
        Of the result, in pixels.

    Returns
    -------
    list of str
        What of the photograph the format cannot hold, and what is done instead.

    Raises
    ------
    ValueError
        If the ending is unknown, the format cannot hold so large a picture, or the file cannot be
        written at that place.
    """
    _check_place(path)
    return make_plan(path, like, height, width).notes


def _check_place(path):
    place = Path(os.path.realpath(path))
    # os.path, because pathlib raises where a folder on the way is closed.
    if os.path.islink(place):
        raise ValueError(f"{path}: a link that leads back to itself")
    if os.path.isdir(place):
        raise ValueError(f"{path}: a folder, not a file")
    if os.path.exists(place) and not os.path.isfile(place):
        raise ValueError(f"{path}: not an ordinary file but a pipe or a device")
    if not os.path.isdir(place.parent):
        raise ValueError(f"{path}: the folder {place.parent} does not exist")
    try:
        tempfile.TemporaryFile(dir=place.parent).close()
    except OSError as error:
        raise ValueError(
            f"{path}: the folder {place.parent} cannot be written to ({error.strerror})"
        ) from None


@contextlib.contextmanager
def write_photo(
    path: str | os.PathLike, *, like: Photo, height: int, width: int
) -> Iterator["PhotoWriter"]:
    """Write a photograph from top to bottom in a ``with`` block; it appears whole or not at all.

    PNG and TIFF need memory for a few rows only, other formats for the whole result.

    Parameters
    ----------
    path : path
        Its ending chooses the format.
    like : Photo
        The photograph that is enlarged: profile, EXIF and resolution are taken from it.
    height, width : int
        Of the result, in pixels.

    Raises
    ------
    ValueError
        As `check_output`; if rows are missing at the end of the block; if the result does not fit
        into the memory.
    OSError
        If the disk is full, for instance.

    Examples
    --------
    >>> photo = Photo("dot", np.full((2, 3, 1), 255, np.uint8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with write_photo(f"{folder}/large.png", like=photo, height=4, width=6) as writer:
    ...         for row in photo.pixels:
    ...             writer.write_rows(row[None].repeat(2, axis=0).repeat(2, axis=1))
    ...     read_photo(f"{folder}/large.png").pixels.shape
    (4, 6, 1)
    """
    plan = make_plan(path, like, height, width)
    _check_place(path)
    try:
        with atomic_write(path) as partial, open(partial, "wb") as file:
            with _said_memory(path, plan):
                writer = PhotoWriter(file, like, plan)
            yield writer
            with _said_memory(path, plan):
                writer._finish()
    except OSError as error:
        if error.errno and error.filename is None:  # a full disk does not say where it is
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def _said_memory(path, plan):
    try:
        yield
    except MemoryError:
        raise ValueError(
            f"{path}: {plan.format} is put together in memory, and {plan.width} x {plan.height} "
            "pixels need more than there is; .png and .tif need little"
        ) from None


class PhotoWriter:
    """What `write_photo` gives."""

    def __init__(self, file: BinaryIO, like: Photo, plan: Plan):
        self._plan, self._photo, self._rows = plan, like, 0
        encoders = {"PNG": PngEncoder, "TIFF": TiffEncoder}
        self._encoder = encoders.get(plan.format, PillowEncoder)(file, plan)

    def _finish(self):
        if self._rows != self._plan.height:
            raise ValueError(f"{self._plan.height} rows were announced, got {self._rows}")
        self._encoder.finish()

    def write_rows(self, rows: np.ndarray, alpha_rows: np.ndarray | None = None) -> None:
        """Write the next rows.

        Parameters
        ----------
        rows : ndarray
            Of the photo's type, shape (rows, width, channels) with the photo's channels.
        alpha_rows : ndarray, optional
            Of the same type, shape (rows, width) or (rows, width, 1); due if the photo has alpha.

        Raises
        ------
        ValueError
            If shape or type are others, or the rows are more than were announced.
        """
        plan, like = self._plan, self._photo
        expected = (len(rows), plan.width, like.pixels.shape[2])
        if rows.dtype != like.pixels.dtype or rows.shape != expected or not len(rows):
            raise ValueError(
                f"rows must be {like.pixels.dtype} of shape (rows, {plan.width}, {expected[2]}), "
                f"got {rows.dtype} {rows.shape}"
            )
        if (alpha_rows is None) != (like.alpha is None):
            raise ValueError("alpha_rows are due exactly if the photo has alpha")
        if self._rows + len(rows) > plan.height:
            raise ValueError(f"{plan.height} rows were announced, got {self._rows + len(rows)}")
        if alpha_rows is not None:
            if alpha_rows.dtype != rows.dtype or alpha_rows.size != len(rows) * plan.width:
                raise ValueError(
                    f"alpha_rows must be {rows.dtype} of shape {expected[:2]}, "
                    f"got {alpha_rows.dtype} {alpha_rows.shape}"
                )
            alpha_rows = alpha_rows.reshape(*expected[:2], 1)
        self._rows += len(rows)
        # What follows makes several copies.
        height = max(1, 2**18 // (plan.width * plan.samples * plan.bits // 8))
        for start in range(0, len(rows), height):
            block = slice(start, start + height)
            alpha = None if alpha_rows is None else alpha_rows[block]
            self._encoder.write(self._stored(rows[block], alpha))

    def _stored(self, rows, alpha):
        """Turn rows into what the format holds."""
        plan = self._plan
        if alpha is not None and not plan.alpha:
            rows = on_white(rows, alpha)
        samples = [rows] if alpha is None or not plan.alpha else [rows, alpha]
        if plan.bits == 8:
            samples = [eight_bits(x) for x in samples]
        if plan.transform:
            colours = samples[0][..., 0] if samples[0].shape[2] == 1 else samples[0]
            converted = np.asarray(plan.transform.apply(Image.fromarray(colours)))
            samples[0] = converted[..., : plan.channels]
        if samples[0].shape[2] < plan.channels:
            samples[0] = samples[0].repeat(plan.channels, axis=2)
        return np.concatenate(samples, axis=2) if len(samples) > 1 else samples[0]
