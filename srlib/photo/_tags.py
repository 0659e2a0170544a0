"""Directories of tags, as TIFF and EXIF hold them (TIFF 6.0; EXIF 2.3; BigTIFF).

A directory is {tag: (type, count, little-endian bytes)}; a directory within it is a dict. Values
stay bytes, so that what nobody here understands is kept, too.
"""

import io
import struct
from fractions import Fraction
from numbers import Rational
from typing import BinaryIO

import numpy as np

__all__ = [
    "Tags",
    "enlarged_exif",
    "exif_blob",
    "long",
    "print_size",
    "rational",
    "read_exif",
    "short",
    "tag_bytes",
]

Tags = dict

# Bytes of a value of each type, and of the numbers that it is made of (a rational is two).
_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
# What describes the photograph in the first directory, from ImageDescription to XPSubject. Its
# other tags describe the thumbnail or, in a TIFF file, how the pixels lie there.
_DESCRIPTIVE = {
    270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 18246, 33432,
    40091, 40092, 40093, 40094, 40095, _EXIF, _GPS,
}  # fmt: skip
_CHILDREN = {None: {_EXIF, _GPS}, _EXIF: {_INTEROPERABILITY}}
_MAX_TAG_BYTES = 2**24


def read_exif(picture_format: str, info: dict, file: BinaryIO, notes: list[str]) -> Tags:
    """Read what describes a photograph; `info` is Pillow's, `file` is read where it is a TIFF.

    The orientation becomes 1, because `decode` turns pixels upright. Damage is added to `notes`.
    """
    blob = info.get("exif") or b""
    damaged: list[int] = []
    try:
        if not blob and "Raw profile type exif" in info:  # ImageMagick's way in PNG
            blob = bytes.fromhex("".join(str(info["Raw profile type exif"]).split("\n")[3:]))
        if picture_format != "TIFF":
            file = io.BytesIO(blob.removeprefix(b"Exif\0\0"))
        file.seek(0)
        header = file.read(16)
        if not header:
            return {}
        order = {b"II": "<", b"MM": ">"}[header[:2]]
        big = struct.unpack(order + "H", header[2:4]) == (43,)
        (first,) = struct.unpack(
            order + ("Q" if big else "L"), header[8:16] if big else header[4:8]
        )
        tags = _read_tags(file, first, order, big, damaged)
    except (KeyError, OSError, OverflowError, ValueError, struct.error):
        notes.append("its EXIF is damaged and is dropped")
        return {}
    if damaged:
        notes.append(f"{len(damaged)} damaged EXIF tags are dropped")
    if 274 in tags:
        tags[274] = short(1)  # the pixels are turned upright
    return tags


def _read_tags(file, offset, order, big, damaged, parent=None) -> Tags:
    """Read a directory of tags and those within it; list in `damaged` what the file lacks."""
    position = "Q" if big else "L"
    inline = struct.calcsize("=" + position)
    entry = struct.Struct(f"{order}HH{position}{inline}s")
    file.seek(offset)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    table = file.read(min(count, 65535) * entry.size)
    tags = {}
    for tag, kind, count, value in entry.iter_unpack(
        table[: len(table) // entry.size * entry.size]
    ):
        if parent is None and tag not in _DESCRIPTIVE:
            continue
        size = _TYPE_BYTES.get(kind, 0) * count
        if tag in _CHILDREN.get(parent, ()) and size in (4, inline):
            (within,) = struct.unpack(order + ("L" if size == 4 else "Q"), value[:size])
            try:
                tags[tag] = _read_tags(file, within, order, big, damaged, tag)
            except (OSError, OverflowError, ValueError, struct.error):
                damaged.append(tag)
            continue
        if size > inline:
            file.seek(struct.unpack(order + position, value)[0])
            value = file.read(min(size, _MAX_TAG_BYTES))
        value = value[:size]
        if not value or len(value) < size:
            damaged.append(tag)
            continue
        width = 4 if kind in (5, 10) else _TYPE_BYTES[kind]
        if order == ">" and width > 1:
            value = np.frombuffer(value, f">u{width}").astype(f"<u{width}").tobytes()
        tags[tag] = (kind, count, value)
    return tags


def tag_bytes(tags: Tags, offset: int, *, big: bool = False) -> bytes:
    """Lay a directory of tags out, to stand at `offset` of a little-endian file."""
    position = "<Q" if big else "<L"
    inline = struct.calcsize(position)
    table = struct.pack("<Q" if big else "<H", len(tags))
    beyond = bytearray()  # values that do not fit into the table, and directories within
    end = offset + len(table) + len(tags) * (4 + 2 * inline) + inline
    for tag, value in sorted(tags.items()):
        if isinstance(value, dict):
            kind, count, value = 16 if big else 4, 1, struct.pack(position, end + len(beyond))
            beyond += tag_bytes(tags[tag], end + len(beyond), big=big)
        else:
            kind, count, value = value
            if len(value) > inline:
                start = struct.pack(position, end + len(beyond))
                beyond += value
                value = start
        beyond += bytes(len(beyond) % 2)
        table += struct.pack("<HH", tag, kind) + struct.pack(position, count)
        table += value.ljust(inline, b"\0")
    return table + bytes(inline) + bytes(beyond)


def short(*values: int) -> tuple:
    """Make a tag's value of 16-bit numbers."""
    return 3, len(values), struct.pack(f"<{len(values)}H", *values)


def long(value: int) -> tuple:
    """Make a tag's value of one 32-bit number."""
    return 4, 1, struct.pack("<L", value)


def rational(value: float) -> tuple:
    """Make a tag's value of one fraction."""
    fraction = Fraction(value).limit_denominator(100)
    return 5, 1, struct.pack("<LL", fraction.numerator, fraction.denominator)


def enlarged_exif(exif: Tags, height: int, width: int, dpi, *, create: bool) -> Tags:
    """Let EXIF say the size and the resolution of the result."""
    tags = {tag: value for tag, value in exif.items() if tag not in (282, 283, 296)}
    within = tags.get(_EXIF)
    if isinstance(within, dict):
        sizes = {40962: long(width), 40963: long(height)}
        tags[_EXIF] = {**within, **{tag: sizes[tag] for tag in sizes if tag in within}}
    if dpi and (tags or create):
        tags |= {282: rational(dpi[0]), 283: rational(dpi[1]), 296: short(2)}
    return tags


def exif_blob(tags: Tags) -> bytes:
    """Lay EXIF out as it stands in a PNG or, after its prefix, in a JPEG."""
    return b"II\x2a\0" + struct.pack("<L", 8) + tag_bytes(tags, 8)


def print_size(picture_format: str, info: dict, exif: Tags) -> tuple[float, float] | None:
    """Return the pixels per inch, horizontally and vertically, where the file states them."""
    dpi = info.get("dpi")
    if picture_format == "TIFF" or (picture_format == "JPEG" and not info.get("jfif_unit")):
        dpi = None  # Pillow makes one up where there is none
    if dpi is None:
        unit = exif.get(296, short(2))
        centimetres = unit == short(3)
        if unit not in (short(2), short(3)):
            return None
        dpi = [_ratio(exif.get(tag)) * (2.54 if centimetres else 1) for tag in (282, 283)]
    # 1 stands for "no size" in many files.
    if not all(isinstance(x, (int, float, Rational)) and 1 < x < 1e5 for x in dpi):
        return None
    return float(dpi[0]), float(dpi[1])


def _ratio(tag) -> float:
    numerator, denominator = struct.unpack("<LL", tag[2]) if tag and len(tag[2]) == 8 else (0, 0)
    return numerator / denominator if denominator else 0.0
