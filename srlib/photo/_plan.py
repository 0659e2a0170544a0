"""What of a photograph a file format can hold, and what is done with the rest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ImageCms

from srlib.decoding import srgb_transform
from srlib.image import SAVE_OPTIONS
from srlib.photo._tags import Tags, enlarged_exif, exif_blob

__all__ = ["Plan", "make_plan"]

_MAX_SIDE = {"PNG": 2**31 - 1, "TIFF": 2**31 - 1, "BMP": 2**31 - 1, "WEBP": 16383, "JPEG": 65500}
_BYTES_PER_PIXEL = {"BMP": 4, "JPEG": 4, "WEBP": 17}  # of memory; measured on 192 megapixels
_MAX_JPEG_EXIF = 65_533 - len(b"Exif\0\0")


@dataclass
class Plan:
    """How a photo is stored in the format of the result."""

    format: str
    height: int
    width: int
    channels: int  # without alpha
    alpha: bool
    bits: int
    icc_profile: bytes | None
    transform: ImageCms.ImageCmsTransform | None
    exif: Tags
    dpi: tuple[float, float] | None
    notes: list[str]

    @property
    def samples(self) -> int:
        return self.channels + self.alpha


def make_plan(path, photo, height: int, width: int) -> Plan:
    """Decide how `photo`, enlarged to a size, is stored at `path`; as `check_output` raises."""
    suffix = Path(path).suffix.lower()
    if suffix not in SAVE_OPTIONS:
        raise ValueError(f"{path}: a result must end in one of {', '.join(SAVE_OPTIONS)}")
    name = SAVE_OPTIONS[suffix]["format"]
    channels = photo.pixels.shape[2]
    _check_size(path, name, height, width, channels)

    notes = []
    deep = photo.pixels.dtype == np.uint16
    # Pillow, and what is built on it, cannot read 16-bit grey with alpha from TIFF.
    holds_deep = name == "PNG" or (name == "TIFF" and (channels == 3 or photo.alpha is None))
    bits = 16 if deep and holds_deep else 8
    if deep and bits == 8:
        able = ".png" if name == "TIFF" else ".png and .tif"
        what = "grey with transparency" if name == "TIFF" else "each channel"
        notes.append(
            f"16 bits are reduced to 8, which is what {name} holds of {what}; {able} holds more"
        )
    alpha = photo.alpha is not None and name in ("PNG", "TIFF", "WEBP")
    if photo.alpha is not None and not alpha:
        notes.append(
            f"{name} holds no transparency, so it is blended onto white; "
            ".png, .tif and .webp hold it"
        )
    memory = height * width * _BYTES_PER_PIXEL.get(name, 0) / 2**30
    if memory >= 1:
        notes.append(
            f"{name} is put together in memory, {memory:.1f} GiB here; .png and .tif need little"
        )
    icc_profile, transform = photo.icc_profile, None
    if icc_profile and (name == "BMP" or (name == "WEBP" and channels == 1)):
        kind = "a grey picture's" if name == "WEBP" else "no"
        notes.append(f"{name} cannot hold {kind} colour profile, so colours are converted to sRGB")
        transform = srgb_transform(icc_profile, "L" if channels == 1 else "RGB")
        icc_profile = None
    if name == "WEBP":
        channels = 3  # it knows no grey

    dpi = None
    if photo.dpi:  # the size in print stays
        before = photo.pixels.shape
        dpi = photo.dpi[0] * width / before[1], photo.dpi[1] * height / before[0]
    exif = enlarged_exif(photo.exif, height, width, dpi, create=name == "WEBP")
    if name == "BMP" and photo.exif:
        notes.append("BMP holds no EXIF, so it is dropped")
    if name == "JPEG" and len(exif_blob(exif)) > _MAX_JPEG_EXIF:
        notes.append("JPEG holds at most 64 KiB of EXIF, so it is dropped")
        exif = {}
    return Plan(
        name, height, width, channels, alpha, bits, icc_profile, transform, exif, dpi, notes
    )


def _check_size(path, name, height, width, channels):
    if height < 1 or width < 1:
        raise ValueError(f"{path}: a picture has at least 1 x 1 pixels, got {width} x {height}")

    def holds(other):
        row = (width * (1 if channels == 1 else 3) + 3) // 4 * 4
        too_heavy = other == "BMP" and row * height + 2048 >= 2**32  # its header counts in 32 bits
        return max(height, width) <= _MAX_SIDE[other] and not too_heavy

    if not holds(name):
        able = [suffix for suffix, other in SAVE_OPTIONS.items() if holds(other["format"])]
        limit = "4 GiB" if name == "BMP" else f"{_MAX_SIDE[name]} pixels a side"
        raise ValueError(
            f"{path}: {name} ends at {limit}, and the result has {width} x {height} pixels; "
            + (f"it can be held by {', '.join(able)}" if able else "no format here can hold it")
        )
