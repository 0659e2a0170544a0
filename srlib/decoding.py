"""Decode picture files: the pixels as they are meant to be seen, in the depth that the file has.

`srlib.image.read_image` makes 8-bit RGB of them, `srlib.photo.read_photo` keeps what there is.
"""

import contextlib
import functools
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from srlib._files import check_file

__all__ = [
    "MAX_PIXELS",
    "decode",
    "eight_bits",
    "jpeg_quality",
    "on_white",
    "open_picture",
    "srgb_transform",
    "to_srgb",
]

#: Larger images are refused. It is Pillow's own limit against attacks, 512 MiB as RGB.
MAX_PIXELS = 178_956_970
# As many pixels with 16-bit red, green, blue and alpha, uncompressed, are 1.33 GiB.
_MAX_BYTES = 2**31


@contextlib.contextmanager
def open_picture(
    source: str | os.PathLike | bytes | BinaryIO,
) -> Iterator[tuple[Image.Image, BinaryIO, str, list[str]]]:
    """Open a picture for a ``with`` block. Whatever its decoder raises there is one ValueError.

    Yields Pillow's picture, not yet decoded, the open file, its name, and an empty list of notes;
    what the decoder warns of is added to it after the block. Raises what
    `srlib.image.read_image` raises.
    """
    name, file = _open_file(source)
    notes: list[str] = []
    try:
        with file, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # The size is checked below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                with Image.open(file, formats=_formats(file)) as picture:
                    width, height = picture.size
                    if width * height > MAX_PIXELS:
                        raise Image.DecompressionBombError
                    yield picture, file, name, notes
            except UnidentifiedImageError:
                raise ValueError(f"{name}: {_unidentified(file)}") from None
        for warning in caught:
            text = " ".join(str(warning.message).split())
            if text not in notes:
                notes.append(text)
    except Image.DecompressionBombError:
        raise ValueError(f"{name}: too large, more than {MAX_PIXELS} pixels") from None
    except MemoryError as error:
        raise ValueError(f"{name}: needs more memory than there is") from error
    except Exception as error:  # Pillow reports damaged files through nearly every type
        if isinstance(error, ValueError) and str(error).startswith(f"{name}: "):
            raise
        reason = " ".join(str(error).split())[:200]
        if not isinstance(error, (OSError, SyntaxError, ValueError)):
            reason = f"{type(error).__name__} {reason}".rstrip()
        raise ValueError(f"{name}: damaged or cut off ({reason})") from error


def jpeg_quality(picture: Image.Image) -> int | None:
    """Estimate how hard a picture was compressed when its file was saved, from 1 to 100.

    It is the quality whose table for luma, as libjpeg makes it, is nearest to the file's, by the
    sum of absolute differences. None for a file that is no JPEG. An earlier JPEG leaves no trace in
    the tables.

    References
    ----------
    ITU-T T.81, 1992, Annex K: the tables that qualities scale.
    """
    tables = getattr(picture, "quantization", None)
    if not tables or 0 not in tables:
        return None
    distances = np.abs(_luma_tables() - np.array(tables[0])).sum(axis=1)
    return int(distances.argmin()) + 1


@functools.cache
def _luma_tables():
    """Return the table of each quality from 1 to 100: integers (100, 64)."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=50)  # there it is the standard's own
    with Image.open(file) as picture:
        base = np.array(picture.quantization[0])
    quality = np.arange(1, 101)[:, None]
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return ((base * percent + 50) // 100).clip(1, 255)


def _open_file(source) -> tuple[str, BinaryIO]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "image", io.BytesIO(source)
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "read"):
            raise TypeError(
                f"source must be a path, bytes or a binary file, got {type(source).__name__}"
            )
        return str(getattr(source, "name", "image")), io.BytesIO(source.read())
    name = os.fspath(source)
    check_file(name, _MAX_BYTES)
    return name, open(name, "rb")


def _formats(file: BinaryIO) -> list[str]:
    """Name the formats to try: all but EPS, a programme that another programme has to run."""
    Image.init()
    if _brand(file) in _HEIC_BRANDS and "HEIF" not in Image.OPEN:
        with contextlib.suppress(ImportError):
            importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in Image.ID if name != "EPS"]


_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def _brand(file: BinaryIO) -> bytes:
    """Return the kind of a file of the HEIF family, which AVIF belongs to, or nothing."""
    file.seek(0)
    start = file.read(12)
    file.seek(0)
    return start[8:] if start[4:8] == b"ftyp" else b""


def _unidentified(file: BinaryIO) -> str:
    brand = _brand(file)
    if brand in (b"avif", b"avis") and "AVIF" not in Image.OPEN:
        return "AVIF is read by Pillow 11.3 or newer; install it with: pip install -U pillow"
    if brand in _HEIC_BRANDS and "HEIF" not in Image.OPEN:
        return (
            "HEIC is read with the package pillow-heif; install it with: "
            'pip install "srlib[heic]" or pip install pillow-heif'
        )
    start = file.read(8)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return (
            "not an image that can be read here, but a TIFF file of a rare kind (such as floats, "
            "12-bit colour or 16-bit grey with alpha) or a damaged one; save it as 16-bit RGB"
        )
    return (
        "not an image in a format that can be read here (PNG, JPEG, WebP, TIFF, BMP, GIF), "
        f"got {file.seek(0, io.SEEK_END)} bytes that start with {start!r}"
    )


def decode(
    picture: Image.Image, file: BinaryIO, name: str, notes: list[str], *, by_profile: bool
) -> tuple[np.ndarray, dict]:
    """Decode a picture of `open_picture`, and turn it as its EXIF orientation asks.

    Bilevel pictures and palettes of greys become grey, other palettes RGB. Of several frames the
    first is read.

    Parameters
    ----------
    picture, file, name, notes
        What `open_picture` yields; what is lost is added to `notes`.
    by_profile : bool
        Whether CMYK is converted to sRGB by the file's profile, or plainly.

    Returns
    -------
    levels : ndarray
        uint8 or uint16 over their whole range, shape (H, W, C): grey (C = 1), grey and alpha (2),
        RGB (3), or RGB and alpha (4), alpha only where something is transparent.
    info : dict
        Pillow's `info` of the picture.

    Raises
    ------
    ValueError
        If the numbers have no stated range, or the picture is a raw photograph's preview.
    """
    if picture.format == "TIFF":
        _check_tiff(picture, name, notes)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format not in ("MPO", "PSD"):  # there the first is the whole one
        notes.append(f"only the first of {frames} frames is read")
    depth = _hidden_depth(picture, file)
    if depth > 8:
        if picture.format == "JPEG2000":  # white overflows, in Pillow up to 13.0 at least
            raise ValueError(
                f"{name}: JPEG 2000 with {depth} bits per channel is read wrongly here (white "
                "would be black); save it as PNG or TIFF first"
            )
        notes.append(f"{depth} bits per channel are reduced to 8")

    if _is_deep_colour(picture):
        levels = _deep_colour(picture, file)
    else:
        raw = _raw_mode(picture)
        picture.load()
        if picture.mode.startswith("I"):
            levels = _deep_grey(picture, raw, name)
        else:
            levels = _eight_bit_levels(picture, raw, name, notes, by_profile)
    full = np.iinfo(levels.dtype).max
    key = _transparent_colour(picture)
    if key is not None and levels.shape[2] in (1, 3):
        alpha = np.where((levels == key).all(axis=2, keepdims=True), 0, full)
        levels = np.concatenate([levels, alpha.astype(levels.dtype)], axis=2)
    if levels.shape[2] in (2, 4) and (levels[..., -1] == full).all():
        levels = levels[..., :-1]
    return _upright(levels, picture, notes), picture.info


def _check_tiff(picture, name, notes):
    if _raw_mode(picture).startswith("RGBX"):
        notes.append("a fourth channel without a stated meaning is dropped")
    if picture.mode == "I" and (_tiff_depth(picture) == 32 or picture.tag_v2.get(339) == (2,)):
        raise ValueError(f"{name}: 32-bit and signed integers have no stated range")
    # DNG, NEF and the like are TIFF files that begin with a small preview.
    if 50706 in picture.tag_v2 or picture.tag_v2.get(254, 0) == 1:
        raise ValueError(
            f"{name}: its first picture is a preview, as in a camera's raw file; "
            "develop it to TIFF or JPEG first"
        )


def _raw_mode(picture) -> str:
    """Return how samples lie in the file, in Pillow's words, such as "RGB;16B"."""
    arguments = picture.tile[0].args if picture.tile else None
    return str(arguments[0] if isinstance(arguments, tuple) else arguments or "")


def _tiff_depth(picture) -> int:
    return picture.tag_v2.get(258, (1,))[0]


def _hidden_depth(picture, file) -> int:
    """Return the bits per channel of a picture that Pillow gives 8 of, 0 if there are no more."""
    eight = picture.mode in ("L", "LA", "RGB", "RGBA")
    if picture.format in ("AVIF", "HEIF", "JPEG2000") and eight:
        place = file.tell()
        file.seek(0)
        start = file.read(2**16)
        file.seek(place)
        # ISO 23008-12, 6.5.6: version and flags, number of channels, bits of each.
        if found := re.search(rb"pixi.{5}(.)", start, re.DOTALL):
            return found[1][0]
        # JPEG 2000, I.5.3.1: height, width, number of channels, bits less one (255: they differ).
        # A.5.1: length, capabilities, eight sizes, number of channels, bits less one.
        header = rb"ihdr.{10}([^\xff])|\xff\x4f\xff\x51.{38}(.)"
        if found := re.search(header, start, re.DOTALL):
            return (found[found.lastindex][0] & 0x7F) + 1
    if picture.format == "PPM" and eight:
        arguments = picture.tile[0].args
        return 16 if isinstance(arguments, tuple) and arguments[-1] > 255 else 0
    deep = ";16" in _raw_mode(picture) and picture.mode[0] != "I"
    return 16 if deep and not _is_deep_colour(picture) else 0


def _is_deep_colour(picture) -> bool:
    if picture.format == "TIFF" and _tiff_depth(picture) == 16:
        if picture.tag_v2.get(284) == 2 and picture.tile[0][0] == "libtiff":
            return False  # planes, compressed: Pillow chooses the bytes itself
        # Samples in planes of their own, uncompressed: Pillow takes their bytes for 8-bit samples.
        return picture.mode in ("RGB", "RGBA")
    known = re.fullmatch(r"(RGB|RGBA|RGBX|RGBa|LA);16[BLN]", _raw_mode(picture))
    return picture.format in ("PNG", "TIFF") and known is not None


def _deep_colour(picture, file):
    """Decode 16-bit colour, which Pillow reduces to 8 bits: once for each byte of a sample.

    Told that samples are big-endian, Pillow keeps their first byte, else their second.
    """
    raw = _raw_mode(picture)
    if raw.startswith("LA"):  # the two samples' four bytes fit into one 8-bit RGBA pixel
        picture.tile = [tile._replace(args="RGBA") for tile in picture.tile]
        picture.load()
        return np.asarray(picture).view(">u2").astype(np.uint16)
    tiles = picture.tile
    samples = []
    for order in (";16B", ";16L"):
        one = Image.open(file, formats=[picture.format]) if samples else picture
        one.tile = [_as_mode(tile, order) for tile in tiles]
        one.load()
        samples.append(np.asarray(one))
    big_endian = picture.format == "PNG" or picture.tag_v2.prefix == b"MM"
    if raw.endswith("N"):  # libtiff gives samples in the processor's order
        big_endian = sys.byteorder == "big"
    levels = np.stack(samples, axis=-1).view(">u2" if big_endian else "<u2")[..., 0]
    levels = levels.astype(np.uint16, copy=False)
    if raw.startswith("RGBa"):  # colours were multiplied by alpha
        alpha = levels[..., 3:].astype(np.uint32)
        straight = (levels[..., :3] * np.uint32(65535) + alpha // 2) // np.maximum(alpha, 1)
        levels[..., :3] = np.minimum(straight, 65535)
    return levels


def _as_mode(tile, order):
    """Let a tile be read in another order of bytes, and RGBa without the division by alpha."""
    mode, *rest = [tile.args] if isinstance(tile.args, str) else tile.args
    mode = mode.split(";")[0].replace("a", "A") + order
    return tile._replace(args=(mode, *rest) if rest else mode)


def _deep_grey(picture, raw, name):
    levels = np.asarray(picture).astype(np.int32)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(
            f"{name}: 32-bit integers have no stated range, "
            f"got values from {levels.min()} to {levels.max()}"
        )
    if "12" in raw:
        levels = levels * 65535 // 4095
    if picture.format == "TIFF" and picture.tag_v2.get(262) == 0:  # white is zero
        levels = 65535 - levels
    return levels.astype(np.uint16)[..., None]


def _eight_bit_levels(picture, raw, name, notes, by_profile):
    if picture.format == "TIFF" and raw in "CMYK" and _tiff_depth(picture) == 16:
        raise ValueError(f"{name}: 16-bit CMYK in separate planes is not supported")
    mode = picture.mode
    if mode in ("F", "LAB", "HSV"):
        raise ValueError(
            f"{name}: pixel format {mode!r} is not supported; save the picture as RGB first"
        )
    low_bits = re.fullmatch(r"L;([24])", raw)
    if low_bits and isinstance(picture.info.get("transparency"), int):  # the level is one of few
        picture.info["transparency"] *= 255 // (2 ** int(low_bits[1]) - 1)
    if mode == "CMYK":
        profile = picture.info.pop("icc_profile", None)
        levels = np.asarray(_cmyk_to_srgb(picture, profile if by_profile else None, notes))
    elif mode in ("1", "L"):
        levels = np.asarray(picture.convert("L"))[..., None]
    elif mode in ("LA", "La"):
        levels = np.asarray(picture.convert("LA"))
    elif mode in ("RGBA", "RGBa") or (mode in ("P", "PA") and picture.has_transparency_data):
        levels = np.asarray(picture.convert("RGBA"))
    else:
        levels = np.asarray(picture.convert("RGB"))
    if mode in ("P", "PA"):
        coloured = picture.info.get("icc_profile", b"")[16:20] == b"RGB "
        if not coloured and (levels[..., :2] == levels[..., 1:3]).all():
            return levels[..., 2:]
    return levels


def _transparent_colour(picture):
    """Return the one colour that means transparent, a number or three, or None."""
    key = picture.info.get("transparency")
    return key if isinstance(key, (int, tuple)) and picture.mode not in ("P", "PA") else None


def _cmyk_to_srgb(picture, icc_profile, notes):
    if icc_profile:
        try:
            converted = srgb_transform(icc_profile, "CMYK").apply(picture)
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("its colour profile is damaged")
        else:
            notes.append("CMYK is converted to sRGB by its colour profile")
            return converted
    notes.append("CMYK is converted without a colour profile, so its colours may differ")
    return picture.convert("RGB")


def to_srgb(image: np.ndarray, icc_profile: bytes, notes: list[str]) -> np.ndarray:
    """Convert an image, uint8 (H, W, 1) or (H, W, 3), by its colour profile to sRGB.

    With a profile that is damaged, which is added to `notes`, or is for another kind of picture, as
    that of CMYK is, the image comes back as it is.
    """
    grey = image.shape[2] == 1
    if icc_profile[16:20] != (b"GRAY" if grey else b"RGB "):
        return image
    try:
        transform = srgb_transform(icc_profile, "L" if grey else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("its colour profile is damaged")
        return image
    converted = transform.apply(Image.fromarray(image[..., 0] if grey else image))
    return np.asarray(converted)[..., : image.shape[2]]


def srgb_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """Prepare the way from a profile to sRGB: relative colorimetric, black point compensated.

    `mode` is Pillow's: "L", "RGB" or "CMYK". Raises PyCMSError, OSError or ValueError for a profile
    that is damaged or of another kind.
    """
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


# How a stored picture is turned upright, by the EXIF tag Orientation.
_ORIENTATION = 0x0112
_TURNS = {
    2: lambda levels: levels[:, ::-1],
    3: lambda levels: levels[::-1, ::-1],
    4: lambda levels: levels[::-1],
    5: lambda levels: levels.swapaxes(0, 1),
    6: lambda levels: levels[::-1].swapaxes(0, 1),
    7: lambda levels: levels[::-1, ::-1].swapaxes(0, 1),
    8: lambda levels: levels[:, ::-1].swapaxes(0, 1),
}


def _upright(levels, picture, notes):
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION))
    except Exception:  # a sound picture with damaged EXIF
        notes.append("its EXIF is damaged, so its orientation is unknown")
        turn = None
    return levels if turn is None else turn(levels)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend pixels (H, W, C) by alpha (H, W, 1) onto white; uint8 or uint16, rounded."""
    full = np.uint32(np.iinfo(pixels.dtype).max)
    over = alpha.astype(np.uint32)
    return ((pixels * over + full * (full - over) + full // 2) // full).astype(pixels.dtype)


def eight_bits(levels: np.ndarray) -> np.ndarray:
    """Round uint16 levels of 0..65535 to uint8 of 0..255; uint8 stays."""
    if levels.dtype == np.uint8:
        return levels
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
