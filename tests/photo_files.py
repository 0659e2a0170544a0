"""Small files of many formats, and damaged copies of them."""

import io
import random
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageCms

LEVELS = np.random.default_rng(1).integers(0, 256, (9, 13, 4), dtype=np.uint8)
COLOUR = Image.fromarray(LEVELS[..., :3])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(picture: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def png(
    levels: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes], interlaced=False
) -> bytes:
    """Put a PNG together that Pillow cannot write; `levels` is uint8 or uint16, (H, W, C)."""

    def chunk(kind, body):
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    height, width, _ = levels.shape
    depth = levels.dtype.itemsize * 8
    parts = [levels]
    if interlaced:
        parts = [levels[y::down, x::right] for x, y, right, down in _ADAM7]
    rows = b"".join(
        b"\0" + row.astype(levels.dtype.newbyteorder(">")).tobytes()
        for part in parts
        if part.size
        for row in part
    )
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(*each) for each in chunks)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def few_bits_png(bits: int, packed: bytes, transparent: int) -> bytes:
    """One row of grey levels of 1, 2 or 4 bits, one of which is transparent."""
    levels = np.frombuffer(packed, np.uint8).reshape(1, -1, 1)
    data = png(levels, 0, (b"tRNS", struct.pack(">H", transparent)))
    header = struct.pack(">IIB", len(packed) * 8 // bits, 1, bits)
    return _mended_png(data[:16] + header + data[25:])


def twelve_bit_tiff() -> bytes:
    """Two pixels of grey, 4095 and 2048 of 4095."""
    data = bytearray(encoded(Image.fromarray(np.zeros((1, 2), np.uint16)), "TIFF"))
    place = data.index(struct.pack("<HHL", 258, 3, 1))
    data[place + 8 : place + 10] = struct.pack("<H", 12)
    with Image.open(io.BytesIO(data)) as picture:
        offset = picture.tag_v2[273][0]
    data[offset : offset + 3] = b"\xff\xf8\x00"
    return bytes(data)


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", place + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02400000, kind, space, pcs)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">III", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def _xyz(x, y, z) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(65536 * v) for v in (x, y, z)))


def _gamma(value) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * value))


# Colorants of Display P3, adapted to D50, as in Apple's profile, with a plain gamma.
WHITE = (0.9642, 1.0, 0.8249)
P3_COLORANTS = (
    (0.51512, 0.2412, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.1571, 0.06657, 0.78407),
)
P3 = _profile(
    b"mntr",
    b"RGB ",
    b"XYZ ",
    {b"wtpt": _xyz(*WHITE)}
    | {
        name + b"XYZ": _xyz(*xyz)
        for name, xyz in zip((b"r", b"g", b"b"), P3_COLORANTS, strict=True)
    }
    | {name + b"TRC": _gamma(2.2) for name in (b"r", b"g", b"b")},
)
DARK_GREY = _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(*WHITE), b"kTRC": _gamma(1.0)})


def _odd_inks() -> bytes:
    """A press whose inks are other than their names: cyan prints yellow and the reverse."""
    grid = bytearray()
    for inks in range(16):  # first ink slowest
        yellow, magenta, cyan, black = ((inks >> bit) & 1 for bit in (3, 2, 1, 0))
        light = 255 if not inks else (0 if black else 200 - 60 * (yellow + magenta + cyan - 1))
        grid += bytes(
            (
                light,
                128 + 70 * magenta - 40 * cyan - 20 * (black * magenta),
                128 + 80 * yellow - 50 * cyan,
            )
        )
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0))
    lut += struct.pack(">9i", *(65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    lut += identity * 4 + bytes(grid) + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(*WHITE), b"A2B0": lut, b"A2B1": lut})


ODD_INKS = _odd_inks()


def exif_blob(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif[0x011A] = exif[0x011B] = 300.0
    exif[0x0128] = 2
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0xA002: 13, 0xA003: 9, 0x927C: b"note" * 5})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5)})
    return exif.tobytes()


def samples() -> dict[str, bytes]:
    """Return a file of every format that Pillow here reads and writes, in several modes."""
    Image.init()
    files = {}
    for name in sorted(set(Image.OPEN) & set(Image.SAVE) | {"MPO"}):
        if name == "EPS":
            continue
        for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "YCbCr", "LAB"):
            # ICNS holds it in many sizes up to 1024 x 1024, which takes seconds if it is noise.
            levels = LEVELS if name != "ICNS" else np.full_like(LEVELS, 99)
            picture = Image.fromarray(levels).convert("RGB" if mode != "RGBA" else "RGBA")
            try:
                if mode == "I;16":
                    picture = Image.fromarray(LEVELS[..., 0].astype(np.uint16) * 256)
                elif mode == "LAB":
                    profile = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
                    picture = ImageCms.profileToProfile(picture, *profile, outputMode="LAB")
                else:
                    picture = (picture.convert("L") if mode == "LA" else picture).convert(mode)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    files[f"{name} {mode}"] = encoded(picture, name)
            except (OSError, ValueError, KeyError, AttributeError):
                continue  # a format that does not know the mode
    rows = LEVELS.astype(np.uint16) * 257
    two = {"save_all": True, "append_images": [Image.new("RGB", (13, 9), "red")]}
    files |= {
        "PNG 16 rgb": png(rows[..., :3], 2, (b"tRNS", rows[0, 0, :3].astype(">u2").tobytes())),
        "PNG 16 rgba": png(rows, 6),
        "PNG 16 la": png(rows[..., :2], 4),
        "PNG 16 grey": png(rows[..., :1], 0, (b"tRNS", rows[0, 0, :1].astype(">u2").tobytes())),
        "PNG palette": encoded(COLOUR.quantize(8), "PNG", transparency=3, dpi=(72, 72)),
        "PNG profile": encoded(COLOUR, "PNG", icc_profile=SRGB, exif=exif_blob(6)),
        "JPEG exif": encoded(COLOUR, "JPEG", icc_profile=SRGB, exif=exif_blob(6), dpi=(72, 72)),
        "JPEG progressive": encoded(COLOUR, "JPEG", progressive=True),
        "WEBP exif": encoded(COLOUR, "WEBP", icc_profile=SRGB, exif=exif_blob(6)),
        "TIFF exif": encoded(COLOUR, "TIFF", icc_profile=SRGB, exif=exif_blob(6)),
        "GIF frames": encoded(COLOUR, "GIF", **two),
        "PNG frames": encoded(COLOUR, "PNG", **two),
        "WEBP frames": encoded(COLOUR, "WEBP", **two),
        "TIFF frames": encoded(COLOUR, "TIFF", **two),
        "MPO frames": encoded(COLOUR, "MPO", **two),
        "PPM 16": b"P6 2 2 65535\n" + bytes(range(24)),
        "PPM text": b"P3 2 2 255\n" + b"1 2 3 " * 4,
        "PPM float": b"Pf 2 2 -1.0\n" + bytes(16),
    }
    if "AVIF" in Image.SAVE:
        files["AVIF frames"] = encoded(COLOUR, "AVIF", **two)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
        picture = COLOUR.convert("1") if compression == "group4" else COLOUR
        files[f"TIFF {compression}"] = encoded(picture, "TIFF", compression=compression)
    return files


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file: flip bits, set bytes and fields of the header, cut, swap, repeat, insert."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        place = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 200))
        kind = rng.randrange(8)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:  # a number of a header
            number = rng.choice(
                (0, 1, 2, 255, 32768, 65535, 2**31 - 1, 2**32 - 1, rng.getrandbits(32))
            )
            width = rng.choice((2, 4))
            order = rng.choice(("little", "big"))
            data[place : place + width] = (number % 2 ** (8 * width)).to_bytes(width, order)
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            other = rng.randrange(len(data))
            size = rng.randrange(1, 32)
            data[place : place + size] = data[other : other + size]
        elif kind == 5:
            del data[place : place + rng.randrange(1, 16)]
        elif kind == 6:
            data[place:place] = rng.randbytes(rng.randrange(1, 16))
        else:
            data[place:place] = data[place : place + 64]
    data = bytes(data)
    return _mended_png(data) if rng.random() < 0.7 else data


def _mended_png(data: bytes) -> bytes:
    """Give a PNG's chunks right checksums, so that damage gets past the first test."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    place, mended = 8, bytearray(data)
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + size
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(mended)
