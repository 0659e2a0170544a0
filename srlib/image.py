"""Read and write images; convert between images, tensors and luma.

A picture has three forms in this course, and each function says which one it takes:

- *image*: ``uint8`` NumPy array of shape (H, W, 3), RGB, 0..255. What files hold and people see.
- *tensor*: ``float32`` torch tensor of shape (N, 3, H, W), RGB, 0..1. What networks work on.
- *luma*: one channel, what scores are computed on.
"""

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from srlib._arguments import check_range
from srlib._atomic import atomic_write
from srlib._files import check_file

__all__ = [
    "MAX_PIXELS",
    "SAVE_OPTIONS",
    "check_image",
    "open_picture",
    "read_image",
    "rgb_to_y",
    "to_float",
    "to_uint8",
    "upright",
    "write_image",
]

#: Larger images are refused. It is Pillow's own limit against attacks, 512 MiB as RGB.
MAX_PIXELS = 178_956_970
# As many pixels with 16-bit red, green, blue and alpha, uncompressed, are 1.33 GiB.
_MAX_BYTES = 2**31

# How a stored picture is turned upright, by the EXIF tag Orientation.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Luma weights of BT.601 for R, G, B. The studio weights of MATLAB's rgb2ycbcr add up to 219 / 255.
_STUDIO_WEIGHTS = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_FULL_WEIGHTS = (0.299, 0.587, 0.114)

#: How each ending is written, in Pillow's words.
SAVE_OPTIONS = {
    ".png": {"format": "PNG"},
    ".tif": {"format": "TIFF", "compression": "tiff_lzw"},
    ".tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    ".bmp": {"format": "BMP"},
    ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


def read_image(source: str | os.PathLike | bytes | BinaryIO, *, grey: str = "as_rgb") -> np.ndarray:
    """Read any photograph as 8-bit RGB, turned the way it is meant to be seen.

    Grey and palette images become RGB, and the EXIF orientation is applied. A `UserWarning` says
    what is lost: transparency is blended onto white, 16 bits become 8, CMYK is converted, only
    the first of several frames is read. Colour profiles are ignored, as in the field's benchmarks.
    What belongs to a photograph besides is kept by `srlib.photo.read_photo`.

    Parameters
    ----------
    source : path, bytes or binary file
        An image in any format that Pillow reads (PNG, JPEG, WebP, TIFF, BMP, GIF, ...).
    grey : {"as_rgb", "as_grey"}
        Whether a grey file gets three equal channels or keeps its one. The scores of the two
        differ, see `srlib.metrics.score`.

    Returns
    -------
    ndarray
        uint8, shape (H, W, 3), RGB, 0..255; (H, W) for grey files with "as_grey".

    Raises
    ------
    OSError
        If the path cannot be opened.
    ValueError
        If the content is not an image, is damaged or cut off, has more than 178 956 970 pixels,
        holds numbers without a stated range (32-bit integers, floats), or is a pipe or a device.
    """
    if grey not in ("as_rgb", "as_grey"):
        raise ValueError(f"grey must be 'as_rgb' or 'as_grey', got {grey!r}")
    with open_picture(source) as (picture, _, name, notes):
        image = _decode(picture, name, grey, notes)
    if notes:
        warnings.warn(f"{name}: {', '.join(notes)}", UserWarning, stacklevel=2)
    return image


@contextlib.contextmanager
def open_picture(
    source: str | os.PathLike | bytes | BinaryIO,
) -> Iterator[tuple[Image.Image, BinaryIO, str, list[str]]]:
    """Open a picture for a ``with`` block. Whatever its decoder raises there is one ValueError.

    Yields Pillow's picture, not yet decoded, the open file, its name, and an empty list of notes;
    what the decoder warns of is added to it after the block. Raises what `read_image` raises.
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
    return (
        "not an image in a format that can be read here (PNG, JPEG, WebP, TIFF, BMP, GIF), "
        f"got {file.seek(0, io.SEEK_END)} bytes that start with {start!r}"
    )


def upright(picture: Image.Image, notes: list[str]) -> Image.Image:
    """Turn a picture as its EXIF orientation asks; its EXIF itself stays as it is."""
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION))
    except Exception:  # a sound picture with damaged EXIF
        notes.append("its EXIF is damaged, so its orientation is unknown")
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _decode(picture: Image.Image, name: str, grey: str, lost: list[str]) -> np.ndarray:
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
        lost.append(f"only the first of {picture.n_frames} frames is read")
    # Pillow itself reduces 16-bit colour to 8 while decoding; the raw mode tells.
    raw_mode = str(picture.tile[0][3]) if picture.tile else ""
    if ";16" in raw_mode or picture.mode.startswith("I;16"):
        lost.append("16 bits per channel are reduced to 8")
    picture.load()
    picture = upright(picture, lost)

    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(
                f"{name}: 32-bit integers have no stated range, "
                f"got values from {levels.min()} to {levels.max()}"
            )
        if "16 bits per channel are reduced to 8" not in lost:
            lost.append("16 bits per channel are reduced to 8")
        picture = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif picture.mode in ("F", "LAB", "HSV"):
        raise ValueError(
            f"{name}: pixel format {picture.mode!r} is not supported; "
            "save the picture as 8-bit RGB first"
        )
    elif picture.mode == "CMYK":
        lost.append("CMYK is converted without its colour profile")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        if rgba.getextrema()[3][0] < 255:
            lost.append("transparency is blended onto white")
            white = Image.new("RGBA", rgba.size, "white")
            rgba = Image.alpha_composite(white, rgba)
        picture = rgba
    if picture.mode in ("1", "L") and grey == "as_grey":
        return np.array(picture.convert("L"))
    return np.array(picture.convert("RGB"))


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image, uint8 (H, W, 3) or (H, W); the file appears whole or not at all.

    The ending of `path` chooses the format: .png, .tif, .tiff, .bmp and .webp are lossless, .jpg
    and .jpeg have quality 95 and full colour resolution.
    """
    path = Path(path)
    options = SAVE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise ValueError(f"path must end in one of {', '.join(SAVE_OPTIONS)}, got {path.name!r}")
    is_grey = np.ndim(image) == 2 and image.dtype == np.uint8
    if not is_grey:
        check_image(image)
    with atomic_write(path) as partial:
        Image.fromarray(image).save(partial, **options)


def check_image(image: np.ndarray, name: str = "image") -> None:
    """Raise ValueError unless `image`, called `name` in the message, is uint8 (H, W, 3)."""
    dtype, shape = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", ())
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(f"{name} must be uint8 of shape (H, W, 3), got {dtype} {shape}")


def to_float(image: np.ndarray) -> torch.Tensor:
    """Image, uint8 (H, W, 3) in 0..255 -> tensor for networks, float32 (1, 3, H, W) in 0..1."""
    check_image(image)
    return torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32) / 255


def to_uint8(tensor: torch.Tensor) -> np.ndarray:
    """Tensor, floating point (1, 3, H, W) or (3, H, W), nominally 0..1 -> uint8 image (H, W, 3).

    Rounded half up, then clipped. ValueError for NaN, and for a tensor in 0..255, which would be
    all white.
    """
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if hasattr(tensor, "dtype") else type(tensor).__name__
        raise ValueError(f"tensor must be a floating-point torch tensor, got {kind}")
    shape = tuple(tensor.shape)
    if len(shape) == 4 and shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ValueError(f"tensor must have shape (1, 3, H, W) or (3, H, W), got {shape}")
    if torch.isnan(tensor).any():
        raise ValueError("tensor must be free of NaN, got at least one")
    check_range(1, tensor=tensor)
    levels = (tensor.detach().float() * 255 + 0.5).floor().clamp(0, 255)
    return levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy().copy()


def rgb_to_y(image: np.ndarray | torch.Tensor, *, full_range: bool = False):
    """Luma of BT.601, not rounded: the Y that benchmark scores are computed on.

    ``Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255``, as in MATLAB's ``rgb2ycbcr``: the
    "studio" range, from 16 for black to 235 for white (ITU-R Recommendation BT.601-7, 2011). With
    `full_range` the weights are 0.299, 0.587, 0.114, black is 0 and white 255, as in JPEG files.

    An array (H, W, 3) in 0..255, R, G, B, gives a float64 array (H, W) in 0..255; a floating-point
    tensor (N, 3, H, W) in 0..1 gives one (N, 1, H, W) in 0..1. ValueError for an array in 0..1;
    the values of a tensor are not looked at, because networks contain this function.

    Examples
    --------
    >>> rgb_to_y(np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8))
    array([[ 16., 235.]])
    """
    weights = _FULL_WEIGHTS if full_range else _STUDIO_WEIGHTS
    offset = 0.0 if full_range else 16.0
    if isinstance(image, torch.Tensor):
        if not image.is_floating_point() or image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(
                "image must be a floating-point tensor (N, 3, H, W), "
                f"got {image.dtype} {tuple(image.shape)}"
            )
        red, green, blue = image.split(1, dim=1)  # (N, 1, H, W) each
        offset /= 255
    else:
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image must have shape (H, W, 3), got {image.shape}")
        if image.size:
            check_range(255, image=image)
        red, green, blue = np.moveaxis(image.astype(np.float64), 2, 0)  # (H, W) each
    return offset + weights[0] * red + weights[1] * green + weights[2] * blue
