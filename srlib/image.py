"""Read and write images; convert between images, tensors and luma.

A picture has three forms in this course, and each function says which one it takes:

- *image*: ``uint8`` NumPy array of shape (H, W, 3), RGB, 0..255. What files hold and people see.
- *tensor*: ``float32`` torch tensor of shape (N, 3, H, W), RGB, 0..1. What networks work on.
- *luma*: one channel, what scores are computed on.
"""

import os
import types
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from srlib._arguments import check_range
from srlib._atomic import atomic_write
from srlib.decoding import decode, eight_bits, on_white, open_picture, to_srgb

__all__ = [
    "SAVE_OPTIONS",
    "check_image",
    "read_image",
    "rgb_to_y",
    "save_picture",
    "to_float",
    "to_uint8",
    "write_image",
]

# Luma weights of BT.601 for R, G, B. The studio weights of MATLAB's rgb2ycbcr add up to 219 / 255.
_STUDIO_WEIGHTS = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_FULL_WEIGHTS = (0.299, 0.587, 0.114)

#: How each ending is written, in Pillow's words.
#:
#: :meta hide-value:
SAVE_OPTIONS = {
    ".png": {"format": "PNG"},
    ".tif": {"format": "TIFF", "compression": "tiff_lzw"},
    ".tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    ".bmp": {"format": "BMP"},
    ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


def read_image(
    source: str | os.PathLike | bytes | BinaryIO, *, grey: str = "as_rgb", srgb: bool = False
) -> np.ndarray:
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
    srgb : bool
        Convert colours by the file's profile to sRGB, so that a photograph looks as it should.
        Benchmarks are read without.

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
    with open_picture(source) as (picture, file, name, notes):
        levels, info = decode(picture, file, name, notes, by_profile=srgb)
        if levels.dtype == np.uint16:
            notes.append("16 bits per channel are reduced to 8")
        if levels.shape[2] in (2, 4):
            notes.append("transparency is blended onto white")
            levels = on_white(levels[..., :-1], levels[..., -1:])
        image = eight_bits(levels)
        if srgb and info.get("icc_profile"):
            image = to_srgb(image, info["icc_profile"], notes)
    if notes:
        warnings.warn(f"{name}: {', '.join(notes)}", UserWarning, stacklevel=2)
    if image.shape[2] == 1:
        return image[..., 0].copy() if grey == "as_grey" else image.repeat(3, axis=2)
    return image.copy()


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image, uint8 (H, W, 3) or (H, W); the file appears whole or not at all.

    The ending of `path` chooses the format: .png, .tif, .tiff, .bmp and .webp are lossless, .jpg
    and .jpeg have quality 95 and full colour resolution. ValueError for other endings and images.
    """
    path = Path(path)
    options = SAVE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise ValueError(f"path must end in one of {', '.join(SAVE_OPTIONS)}, got {path.name!r}")
    is_grey = np.ndim(image) == 2 and getattr(image, "dtype", None) == np.uint8
    if not is_grey:
        check_image(image)
    with atomic_write(path) as partial, open(partial, "wb") as file:
        save_picture(Image.fromarray(image), file, options)


def save_picture(picture: Image.Image, file: BinaryIO, options: dict) -> None:
    """Let Pillow write to an open file all bytes, or raise an OSError.

    Where Pillow gets at the file's descriptor, it does not notice that a full disk takes only the
    first bytes of the last piece.
    """
    without = {name: getattr(file, name) for name in ("write", "flush", "seek", "tell")}
    picture.save(types.SimpleNamespace(**without), **options)


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
