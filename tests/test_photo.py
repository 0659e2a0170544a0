import contextlib
import io
import os
import random
import signal
import struct
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import av
import numpy as np
import photo_files
import pytest
import tifffile
from forks import in_a_fork
from photo_files import (
    COLOUR,
    DARK_GREY,
    LEVELS,
    ODD_INKS,
    P3,
    P3_COLORANTS,
    encoded,
    exif_blob,
    png,
)
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from srlib.image import read_image
from srlib.photo import Photo, _encoders, check_output, read_photo, write_photo
from srlib.resample import imresize

PHOTO = LEVELS[..., :3]
DEEP = np.random.default_rng(2).integers(0, 65536, (9, 13, 4), dtype=np.uint16)
CLOUD = Image.fromarray(LEVELS[:4, :5, :3]).resize((26, 18), Image.Resampling.BICUBIC)
GREY = COLOUR.convert("L")


# How an upright picture is stored under each orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def named(cases):
    return [pytest.param(*case, id=name) for name, case in cases.items()]


def larger(levels, scale):
    return levels.repeat(scale, axis=0).repeat(scale, axis=1)


def opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture


def enlarge(photo, path, scale=2, strip=3):
    """What the command does, in small: nearest neighbours, in strips."""
    height, width = (scale * side for side in photo.pixels.shape[:2])
    notes = check_output(path, like=photo, height=height, width=width)
    pixels = larger(photo.pixels, scale)
    alpha = None if photo.alpha is None else larger(photo.alpha, scale)
    with write_photo(path, like=photo, height=height, width=width) as writer:
        for top in range(0, height, strip):
            rows = slice(top, top + strip)
            writer.write_rows(pixels[rows], None if alpha is None else alpha[rows])
    return notes


# What a file holds


@pytest.mark.parametrize(
    "data, pixels",
    named(
        {
            "grey": (encoded(GREY, "PNG"), np.asarray(GREY)[..., None]),
            "grey TIFF": (encoded(GREY, "TIFF"), np.asarray(GREY)[..., None]),
            "bilevel": (encoded(Image.new("1", (4, 3), 1), "PNG"), np.full((3, 4, 1), 255)),
            "fax": (
                encoded(Image.new("1", (4, 3), 1), "TIFF", compression="group4"),
                np.full((3, 4, 1), 255),
            ),
            "palette": (
                encoded(COLOUR.quantize(16), "PNG"),
                np.asarray(COLOUR.quantize(16).convert("RGB")),
            ),
            "palette of greys": (encoded(GREY.convert("P"), "PNG"), np.asarray(GREY)[..., None]),
            "GIF": (encoded(GREY, "GIF"), np.asarray(GREY)[..., None]),
            "1 x 1": (encoded(Image.new("RGB", (1, 1), (4, 5, 6)), "BMP"), np.array([[[4, 5, 6]]])),
            "opaque alpha": (encoded(COLOUR.convert("RGBA"), "PNG"), PHOTO),
            "interlaced": (png(PHOTO, 2, interlaced=True), PHOTO),
        }
    ),
)
def test_what_a_file_holds_is_read(data, pixels):
    photo = read_photo(data)
    assert photo.pixels.dtype == np.uint8 and photo.alpha is None and not photo.notes
    np.testing.assert_array_equal(photo.pixels, pixels)


@pytest.mark.parametrize("colour", ["RGB", "L", "YCbCr"])
def test_progressive_jpeg_is_read_as_pillow_reads_it(colour):
    data = encoded(CLOUD.convert(colour), "JPEG", progressive=True)
    with Image.open(io.BytesIO(data)) as expected:
        np.testing.assert_array_equal(read_photo(data).pixels.squeeze(), np.asarray(expected))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_quality_of_a_jpeg_is_found_in_its_tables(mode, options):
    picture = Image.new(mode, (16, 16))
    for quality in (3, 30, 49, 50, 51, 75, 90, 100):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, **options)
        assert read_photo(file.getvalue()).jpeg_quality == quality
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    assert read_photo(file.getvalue()).jpeg_quality is None


def test_a_table_of_another_program_has_the_nearest_quality():
    """Photoshop's and a phone's are not multiples of the standard's."""
    picture = Image.new("RGB", (16, 16))
    rows, columns = np.mgrid[:8, :8]
    table = (6 + 2 * rows + 2 * columns).ravel()  # mean 20; the standard's at 80 has 23
    file = io.BytesIO()
    picture.save(file, "JPEG", qtables=[table.tolist()] * 2)
    assert 75 <= read_photo(file.getvalue()).jpeg_quality <= 88


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    "colour_type, channels", [(0, [0]), (2, [0, 1, 2]), (4, [0, 3]), (6, [0, 1, 2, 3])]
)
def test_sixteen_bit_png_is_read(colour_type, channels, interlaced):
    photo = read_photo(png(DEEP[..., channels], colour_type, interlaced=interlaced))
    assert photo.pixels.dtype == np.uint16 and not photo.notes
    colours = [channel for channel in channels if channel < 3]
    np.testing.assert_array_equal(
        photo.pixels[DEEP[..., 3] > 0], DEEP[DEEP[..., 3] > 0][:, colours]
    )
    if colour_type >= 4:
        np.testing.assert_array_equal(photo.alpha, DEEP[..., 3])


def deep_tiff(levels, planes, **options) -> bytes:
    channels = levels.shape[2]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.moveaxis(levels, 2, 0) if planes == "separate" else levels.squeeze(),
        photometric="minisblack" if channels == 1 else "rgb",
        planarconfig=None if channels == 1 else planes,
        extrasamples=["unassalpha"] if channels == 4 else None,
        rowsperstrip=4,
        **options,
    )
    return buffer.getvalue()


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize(
    "planes, compression", [("contig", None), ("contig", "zlib"), ("separate", None)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_tiff_is_read(channels, planes, compression, byteorder):
    levels = DEEP[..., :channels]
    data = deep_tiff(levels, planes, compression=compression, byteorder=byteorder)
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, levels[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(photo.alpha, levels[..., 3])
    assert not photo.notes


def test_compressed_planes_of_sixteen_bits_are_reduced_and_said():
    photo = read_photo(deep_tiff(DEEP[..., :3], "separate", compression="zlib"))
    np.testing.assert_array_equal(photo.pixels, DEEP[..., :3] >> 8)  # as Pillow reduces them
    assert photo.notes == ["16 bits per channel are reduced to 8"]


def test_white_may_be_zero_in_tiff():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, DEEP[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(buffer.getvalue()).pixels, 65535 - DEEP[..., :1])


def test_colours_multiplied_by_alpha_are_divided():
    straight, alpha = DEEP[..., :3], np.maximum(DEEP[..., 3:], 9000)
    stored = (straight.astype(np.uint64) * alpha + 32767) // 65535
    stored = np.concatenate([stored, alpha], axis=2).astype(np.uint16)
    for levels in (stored, (stored >> 8).astype(np.uint8)):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, levels, photometric="rgb", extrasamples=["assocalpha"])
        photo = read_photo(buffer.getvalue())
        np.testing.assert_array_equal(photo.alpha, levels[..., 3])
        full = np.iinfo(levels.dtype).max
        tolerance = 5 if full > 255 else 9
        np.testing.assert_allclose(
            photo.pixels / full * 65535, straight, atol=tolerance * 65535 / full
        )


@pytest.mark.parametrize("channels", [[0], [0, 3], [0, 1, 2], [0, 1, 2, 3]])
def test_sixteen_bit_pictures_are_turned_upright(channels):
    levels = np.maximum(DEEP[..., channels], 1)  # no pixel is hidden
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[len(channels)]
    files = [png(levels, colour_type, (b"eXIf", exif_blob(6)[6:]))]
    if len(channels) != 2:
        files += [
            deep_tiff(levels, "contig", extratags=[(274, "H", 1, 6, True)], compression=compression)
            for compression in (None, "zlib")
        ]
    for data in files:
        photo = read_photo(data)
        parts = [photo.pixels] if photo.alpha is None else [photo.pixels, photo.alpha[..., None]]
        np.testing.assert_array_equal(np.concatenate(parts, axis=2), np.rot90(levels, -1))


def test_twelve_bits_fill_the_range():
    assert read_photo(photo_files.twelve_bit_tiff()).pixels.ravel().tolist() == [65535, 32775]


def test_a_preview_of_a_raw_photograph_is_refused():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PHOTO, subfiletype=1, photometric="rgb")
    with pytest.raises(ValueError, match="develop it"):
        read_photo(buffer.getvalue())


def test_a_depth_that_pillow_cannot_give_is_said():
    photo = read_photo(b"P6 2 1 65535\n" + bytes(12))
    assert photo.notes == ["16 bits per channel are reduced to 8"]


@pytest.mark.parametrize("reader", [read_photo, read_image])
@pytest.mark.parametrize("boxes", [True, False])
def test_deep_jpeg_2000_is_refused_because_pillow_turns_white_black(reader, boxes):
    data = encoded(COLOUR, "JPEG2000", no_jp2=not boxes)
    reader(data)
    before, after = b"\x00\x03\x07" + b"\7" * boxes, b"\x00\x03\x0b" + b"\7" * boxes
    assert before in data
    with pytest.raises(ValueError, match="12 bits per channel is read wrongly"):
        reader(data.replace(before, after, 1))


def tiff(levels, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, levels, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("reader", [read_photo, read_image])
@pytest.mark.parametrize(
    "levels, message",
    [
        (np.full((2, 2), 9, np.int16), "signed integers"),
        (np.full((2, 2), 9, np.uint32), "32-bit and"),
        (np.full((2, 2), 0.5, np.float32), "'F' is not supported"),
        (np.full((2, 2), 0.5, np.float16), "TIFF file of a rare kind"),
        (np.full((2, 2, 3), 9, np.uint32), "TIFF file of a rare kind"),
    ],
)
def test_tiff_whose_numbers_have_no_stated_range_is_refused(reader, levels, message):
    options = {"photometric": "rgb"} if levels.ndim == 3 else {}
    with pytest.raises(ValueError, match=message):
        reader(tiff(levels, **options))


def test_a_fourth_channel_without_a_meaning_is_dropped_and_said():
    for levels in (DEEP, LEVELS):
        photo = read_photo(tiff(levels, photometric="rgb", extrasamples=["unspecified"]))
        np.testing.assert_array_equal(photo.pixels, levels[..., :3])
        assert photo.alpha is None
        assert photo.notes == ["a fourth channel without a stated meaning is dropped"]


def test_the_first_of_several_frames_is_read_and_said():
    frames = {"save_all": True, "append_images": [Image.new("RGB", (13, 9), "red")]}
    for name in ("GIF", "PNG", "WEBP", "TIFF"):
        photo = read_photo(encoded(COLOUR, name, **frames))
        assert photo.notes == ["only the first of 2 frames is read"]
        assert photo.pixels.shape == PHOTO.shape and photo.pixels.std() > 50
    assert not read_photo(encoded(COLOUR, "MPO", **frames)).notes  # both are one photograph


# Transparency


@pytest.mark.parametrize(
    "data, pixels, alpha",
    named(
        {
            "LA": (encoded(Image.new("LA", (1, 1), (50, 7)), "PNG"), [50], 7),
            "RGBA": (
                encoded(Image.new("RGBA", (1, 1), (1, 2, 3, 4)), "WEBP", lossless=True),
                [1, 2, 3],
                4,
            ),
            "grey tRNS": (encoded(Image.new("L", (1, 1), 9), "PNG", transparency=9), [9], 0),
            "bilevel tRNS": (photo_files.few_bits_png(1, b"\xf0", 0), [255], 255),
            "2-bit tRNS": (photo_files.few_bits_png(2, bytes([0b10_00_00_00]), 2), [0], 0),
            "4-bit tRNS": (photo_files.few_bits_png(4, bytes([0x5A]), 5), [170], 0),
            "RGB tRNS": (
                encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
                [1, 2, 3],
                0,
            ),
            "palette tRNS": (
                encoded(
                    Image.new("RGB", (1, 1), (1, 2, 3)).quantize(2), "PNG", transparency=b"\x80"
                ),
                [1, 2, 3],
                128,
            ),
            "palette with alpha": (
                encoded(Image.new("RGBA", (1, 1), (1, 2, 3, 200)).convert("PA"), "TIFF"),
                None,
                200,
            ),
            "GIF": (
                encoded(Image.new("RGB", (1, 1), (1, 2, 3)).quantize(2), "GIF", transparency=0),
                [1, 2, 3],
                0,
            ),
            "16-bit grey tRNS": (
                png(np.full((1, 1, 1), 300, np.uint16), 0, (b"tRNS", b"\x01\x2c")),
                [300],
                0,
            ),
            "16-bit RGB tRNS": (
                png(np.array([[[258, 2, 3]]], np.uint16), 2, (b"tRNS", b"\x01\x02\0\2\0\3")),
                [258, 2, 3],
                0,
            ),
        }
    ),
)
def test_transparency_is_read(data, pixels, alpha):
    photo = read_photo(data)
    assert (
        photo.alpha.dtype == photo.pixels.dtype and photo.alpha[0, 0] == alpha and not photo.notes
    )
    if pixels:
        assert photo.pixels[0, 0].tolist() == pixels


def test_only_the_exact_sixteen_bit_colour_is_transparent():
    levels = np.array([[[258, 2, 3], [1, 2, 3]]], np.uint16)
    photo = read_photo(png(levels, 2, (b"tRNS", b"\x00\x01\0\2\0\3")))
    assert photo.alpha.tolist() == [[65535, 0]]


def logo(hidden):
    """A red disc with a soft edge, cut from twice its size, and colours of no meaning around it."""
    disc = Image.new("L", (96, 96))
    ImageDraw.Draw(disc).ellipse((16, 16, 80, 80), fill=255)
    alpha = np.asarray(disc.resize((24, 24), Image.Resampling.BOX))
    pixels = np.where(alpha[..., None] > 0, np.uint8([220, 30, 40]), np.uint8(hidden))
    return np.dstack([pixels, alpha])


@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (0, 255, 0)])
def test_hidden_colours_make_no_fringe(hidden):
    levels = logo(hidden)
    photo = read_photo(encoded(Image.fromarray(levels), "PNG"))
    np.testing.assert_array_equal(photo.alpha, levels[..., 3])
    colours = imresize(photo.pixels, 4).astype(int)
    assert np.abs(colours - np.array([220, 30, 40])).max() <= 1
    # As it would be without care: the network mixes what nobody sees into the edge.
    naive = imresize(levels[..., :3], 4)
    visible = larger(levels[..., 3], 4) > 30
    assert np.abs(naive[visible].astype(int) - [220, 30, 40]).max() > 15


# Profiles, EXIF, resolution


def p3_in_srgb(levels):
    """Convert by the standards' numbers: gamma 2.2, P3 to XYZ (D50) to linear sRGB to its curve."""
    linear = (levels / 255) ** 2.2
    xyz = linear @ np.array(P3_COLORANTS)
    srgb = np.array(
        [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.7141]]
    )
    rgb = np.clip(xyz @ np.linalg.inv(srgb), 0, 1)
    return 255 * np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_a_colour_profile_is_kept(tmp_path, source, suffix):
    photo = read_photo(encoded(COLOUR, source, icc_profile=P3))
    assert enlarge(photo, tmp_path / f"large{suffix}") == [] == photo.notes
    with Image.open(tmp_path / f"large{suffix}") as result:
        assert result.info["icc_profile"] == P3


def test_where_the_format_holds_no_profile_colours_are_converted(tmp_path):
    photo = read_photo(encoded(COLOUR, "PNG", icc_profile=P3))
    (note,) = enlarge(photo, tmp_path / "large.bmp", scale=1)
    assert "converted to sRGB" in note
    got = np.asarray(opened(tmp_path / "large.bmp")).astype(float)
    inside = ((PHOTO > 40) & (PHOTO < 215)).all(axis=2)  # LittleCMS and the formula clip alike
    assert inside.any() and np.abs(got - p3_in_srgb(PHOTO))[inside].max() < 1.5


def test_a_photograph_for_the_screen_is_converted_to_srgb():
    image = read_image(encoded(COLOUR, "PNG", icc_profile=P3), srgb=True)
    inside = ((PHOTO > 40) & (PHOTO < 215)).all(axis=2)
    assert np.abs(image - p3_in_srgb(PHOTO))[inside].max() < 1.5
    np.testing.assert_array_equal(read_image(encoded(COLOUR, "PNG", icc_profile=P3)), PHOTO)
    for grey, shape in (("as_grey", (3, 4)), ("as_rgb", (3, 4, 3))):
        file = encoded(Image.new("L", (4, 3), 128), "PNG", icc_profile=DARK_GREY)
        image = read_image(file, grey=grey, srgb=True)
        assert image.shape == shape and np.unique(image).tolist() == [188]
    with pytest.warns(UserWarning, match="its colour profile is damaged"):
        image = read_image(encoded(COLOUR, "PNG", icc_profile=P3[:200]), srgb=True)
    np.testing.assert_array_equal(image, PHOTO)
    for inks in (GREY, COLOUR.convert("CMYK")):  # profiles of other kinds
        profile = P3 if inks.mode == "L" else DARK_GREY
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # CMYK without a profile that fits
            file = encoded(inks, "TIFF", icc_profile=profile)
            np.testing.assert_array_equal(read_image(file, srgb=True), read_image(file))


def test_a_grey_profile_is_kept_or_converted(tmp_path):
    photo = read_photo(encoded(Image.new("L", (4, 3), 128), "PNG", icc_profile=DARK_GREY))
    assert enlarge(photo, tmp_path / "large.png") == []
    assert opened(tmp_path / "large.png").info["icc_profile"] == DARK_GREY
    for name in ("large.webp", "large.bmp"):  # a linear 128 is 188 in sRGB
        (note,) = enlarge(photo, tmp_path / name)
        assert "converted to sRGB" in note
        assert np.unique(np.asarray(opened(tmp_path / name))).tolist() == [188]


@pytest.mark.parametrize(
    "picture, profile, message",
    [
        (GREY, P3, "another kind"),
        (COLOUR, DARK_GREY, "another kind"),
        (COLOUR, P3[:200], "damaged"),
    ],
)
def test_a_profile_that_cannot_be_used_is_dropped_and_said(picture, profile, message):
    photo = read_photo(encoded(picture, "PNG", icc_profile=profile))
    assert photo.icc_profile is None and message in photo.notes[0]


def test_metadata_that_are_not_kept_are_named():
    texts = PngInfo()
    texts.add_text("Title", "a title")
    texts.add_itxt("XML:com.adobe.xmp", "<x/>")
    photo = read_photo(encoded(COLOUR, "PNG", pnginfo=texts))
    assert photo.notes == ["metadata are not kept: XMP, PNG texts"]
    photo = read_photo(png(PHOTO, 2, (b"cHRM", struct.pack(">8I", *range(8)))))
    assert photo.notes == ["its primary colours (cHRM) are not kept"]


# By hand: light is level ** (1 / gamma), and sRGB's curve is that of IEC 61966-2-1.
@pytest.mark.parametrize(
    "gamma, expected", [(1.0, [0, 13, 34, 99, 188, 255]), (0.55, [0, 0, 2, 42, 146, 255])]
)
def test_a_gamma_of_png_is_converted(gamma, expected):
    levels = np.uint8([[0, 1, 4, 32, 128, 255]])[..., None]
    chunk = (b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    photo = read_photo(png(levels, 0, chunk))
    assert photo.notes == [f"its gamma of {gamma} is converted to sRGB"]
    assert photo.pixels.ravel().tolist() == expected
    deep = read_photo(png(levels.astype(np.uint16) * 257, 0, chunk)).pixels
    np.testing.assert_allclose(deep.ravel() / 257, expected, atol=0.51)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 45_455))],
        [(b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0")],
        [(b"gAMA", bytes(4))],
        [(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))],
    ],
)
def test_srgb_in_other_words_stays(chunks):
    photo = read_photo(png(PHOTO, 2, *chunks))
    np.testing.assert_array_equal(photo.pixels, PHOTO)
    assert photo.notes == []


def test_cmyk_is_converted_by_its_profile():
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for name in ("JPEG", "TIFF"):
        photo = read_photo(encoded(inks, name, icc_profile=ODD_INKS))
        assert photo.notes == ["CMYK is converted to sRGB by its colour profile"]
        assert photo.icc_profile is None
        np.testing.assert_allclose(
            photo.pixels[3, 3], (222, 192, 0), atol=3
        )  # its "cyan" is yellow
        photo = read_photo(encoded(inks, name))
        assert "without a colour profile" in photo.notes[0]
        np.testing.assert_allclose(photo.pixels[3, 3], (0, 255, 255), atol=3)


def test_ycck_is_read():
    data = encoded(Image.new("CMYK", (16, 16), (100, 150, 90, 20)), "JPEG", quality=100)
    place = data.index(b"Adobe") + 11
    assert data[place] == 0
    with Image.open(io.BytesIO(data[:place] + b"\2" + data[place + 1 :])) as expected:
        rgb = expected.convert("RGB").getpixel((3, 3))
    assert rgb != opened(io.BytesIO(data)).convert("RGB").getpixel((3, 3))
    photo = read_photo(data[:place] + b"\2" + data[place + 1 :])
    assert tuple(photo.pixels[3, 3]) == rgb


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_pictures_are_turned_upright(tmp_path, source, orientation):
    turn = STORED[orientation]
    stored = CLOUD if turn is None else CLOUD.transpose(turn)
    options = (
        {"lossless": True} if source == "WEBP" else {"quality": 95} if source == "JPEG" else {}
    )
    photo = read_photo(encoded(stored, source, exif=exif_blob(orientation), **options))
    tolerance = 40 if source == "JPEG" else 0
    difference = np.abs(photo.pixels.astype(int) - np.asarray(CLOUD))
    assert difference.max() <= tolerance and difference.mean() <= tolerance / 4
    for suffix in (".png", ".tif", ".webp", ".jpg"):
        assert enlarge(photo, tmp_path / f"large{suffix}") == []
        with Image.open(tmp_path / f"large{suffix}") as result:
            assert result.size == (52, 36) and result.getexif()[0x0112] == 1


def exif_of(path):
    with Image.open(path) as picture:
        exif = picture.getexif()
        return exif, exif.get_ifd(0x8769), exif.get_ifd(0x8825)


@pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_exif_is_kept_and_says_the_new_size(tmp_path, source, suffix):
    photo = read_photo(encoded(COLOUR, source, exif=exif_blob(), dpi=(300, 300)))
    assert enlarge(photo, tmp_path / f"large{suffix}") == [] == photo.notes
    exif, camera, place = exif_of(tmp_path / f"large{suffix}")
    assert exif[0x010F] == "Maker" and exif[0x0112] == 1
    assert camera[0x829A] == pytest.approx(0.01) and camera[0x927C] == b"note" * 5
    assert (camera[0xA002], camera[0xA003]) == (26, 18)
    assert place[1] == "N" and place[2] == pytest.approx((52.0, 31.0, 12.5))
    assert float(exif[0x011A]) == float(exif[0x011B]) == pytest.approx(600, abs=0.1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_both_byte_orders_is_kept_without_the_thumbnail(tmp_path, order):
    text = b"a model" + bytes(1)
    first = struct.pack(order + "H", 2)
    first += struct.pack(order + "HHLL", 0x0110, 2, 8, 38) + struct.pack(
        order + "HHLHH", 0x0112, 3, 1, 3, 0
    )
    blob = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
    blob += first + struct.pack(order + "L", 46) + text
    blob += struct.pack(order + "H", 1) + struct.pack(order + "HHLL", 0x0103, 4, 1, 6) + bytes(4)
    photo = read_photo(encoded(COLOUR, "PNG", exif=blob))
    np.testing.assert_array_equal(photo.pixels, PHOTO[::-1, ::-1])
    enlarge(photo, tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as result:
        assert dict(result.getexif()) == {0x0110: "a model", 0x0112: 1}
        assert not result.getexif().get_ifd(1)


def test_exif_in_a_text_of_png_is_kept():
    blob = exif_blob(6)
    texts = PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(blob):8}\n{blob.hex()}\n")
    photo = read_photo(encoded(COLOUR, "PNG", pnginfo=texts))
    assert photo.exif[271] == (2, 6, b"Maker\0") and photo.notes == []
    np.testing.assert_array_equal(photo.pixels, np.rot90(PHOTO, -1))


def broken_rational() -> bytes:
    """XResolution is -1 over 0, so that Pillow cannot write its own EXIF back."""
    blob = b"II*\0\10\0\0\0" + struct.pack("<H", 2)
    blob += struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHLL", 0x011A, 10, 1, 38)
    return b"Exif\0\0" + blob + bytes(4) + struct.pack("<ll", -1, 0)


def test_a_broken_number_in_exif_is_no_reason_to_refuse_a_picture(tmp_path):
    data = encoded(COLOUR, "JPEG", exif=broken_rational())
    photo = read_photo(data)
    assert photo.pixels.shape == (13, 9, 3) and photo.dpi is None
    assert read_image(data).shape == (13, 9, 3)
    enlarge(photo, tmp_path / "large.png")
    assert dict(exif_of(tmp_path / "large.png")[0]) == {0x0112: 1}


@pytest.mark.parametrize(
    "blob", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\0\0", exif_blob()[:60]]
)
def test_damaged_exif_is_dropped_and_said(blob):
    photo = read_photo(encoded(COLOUR, "JPEG", exif=blob))
    assert photo.pixels.shape == PHOTO.shape
    assert any("EXIF" in note for note in photo.notes)


def test_exif_that_points_at_itself_ends():
    blob = (
        b"II*\0\10\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHLL", 0x8769, 4, 1, 8) + bytes(4)
    )
    photo = read_photo(encoded(COLOUR, "PNG", exif=blob))
    assert photo.pixels.shape == PHOTO.shape


def test_exif_too_long_for_jpeg_is_dropped_and_said(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = bytes(70_000)
    photo = read_photo(encoded(COLOUR, "PNG", exif=exif.tobytes()))
    assert enlarge(photo, tmp_path / "large.png") == []
    (note,) = enlarge(photo, tmp_path / "large.jpg")
    assert "64 KiB" in note and opened(tmp_path / "large.jpg").size == (26, 18)


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".bmp"])
def test_the_size_in_print_stays(tmp_path, source, suffix):
    photo = read_photo(encoded(COLOUR, source, dpi=(300, 150)))
    enlarge(photo, tmp_path / f"large{suffix}", scale=4)
    if suffix == ".webp":
        exif = exif_of(tmp_path / "large.webp")[0]
        dpi = float(exif[0x011A]), float(exif[0x011B])
    else:
        dpi = opened(tmp_path / f"large{suffix}").info["dpi"]
    assert dpi == pytest.approx((1200, 600), abs=0.1)


def test_where_no_print_size_is_given_none_is_made_up(tmp_path):
    for name in ("PNG", "JPEG", "WEBP", "BMP"):
        photo = read_photo(encoded(COLOUR, name, **({"dpi": (0, 0)} if name == "BMP" else {})))
        assert photo.dpi is None
    assert read_photo(encoded(COLOUR, "JPEG", exif=exif_blob()[:20] + bytes(4))).dpi is None


# What goes out


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp", ".jpg"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_came_in_goes_out(tmp_path, channels, deep, suffix):
    levels = (DEEP if deep else LEVELS)[..., [0, 3] if channels == 2 else slice(channels)].copy()
    pixels, alpha = (levels[..., :-1], levels[..., -1]) if channels in (2, 4) else (levels, None)
    photo = Photo("it", pixels, alpha)
    notes = enlarge(photo, tmp_path / f"large{suffix}", scale=3, strip=5)
    result = read_photo(tmp_path / f"large{suffix}")
    # Pillow does not read 16-bit grey with alpha from TIFF.
    lost_depth = deep and not (suffix == ".png" or (suffix == ".tif" and channels != 2))
    lost_alpha = alpha is not None and suffix in (".bmp", ".jpg")
    assert [("16 bits" in note, "blended" in note) for note in notes] == (
        [(True, False)] * lost_depth + [(False, True)] * lost_alpha
    )

    expected = pixels.astype(float) / np.iinfo(pixels.dtype).max
    if lost_alpha:
        weight = alpha[..., None] / np.iinfo(alpha.dtype).max
        expected = expected * weight + 1 - weight
    if suffix == ".webp":
        expected = np.broadcast_to(expected, (9, 13, 3))
    assert result.pixels.dtype == (np.uint16 if deep and not lost_depth else np.uint8)
    got = result.pixels / np.iinfo(result.pixels.dtype).max
    shown = slice(None) if lost_alpha or alpha is None else larger(alpha, 3) > 200
    tolerance = 0.5 if suffix == ".jpg" else 0.5001 / 255 if lost_depth or lost_alpha else 0
    assert got.shape == larger(expected, 3).shape
    assert np.abs(got - larger(expected, 3))[shown].max() <= tolerance + 1e-12
    if alpha is None or lost_alpha:
        assert result.alpha is None
    elif not lost_depth:
        np.testing.assert_array_equal(result.alpha, larger(alpha, 3))


@pytest.mark.parametrize(
    "levels", [DEEP[..., :1], DEEP[..., :3], DEEP, LEVELS, LEVELS[..., :3], LEVELS[..., :1]]
)
def test_other_readers_agree(tmp_path, levels):
    pixels, alpha = (levels[..., :3], levels[..., 3]) if levels.shape[2] == 4 else (levels, None)
    enlarge(Photo("it", pixels, alpha), tmp_path / "large.tif")
    enlarge(Photo("it", pixels, alpha), tmp_path / "large.png")
    expected = larger(levels, 2)
    tiff = tifffile.imread(tmp_path / "large.tif")
    np.testing.assert_array_equal(tiff.reshape(expected.shape), expected)
    with av.open(tmp_path / "large.png") as file:
        (frame,) = file.decode(video=0)
    np.testing.assert_array_equal(frame.to_ndarray().reshape(expected.shape), expected)


@pytest.mark.parametrize("levels", [LEVELS, DEEP])
def test_above_4_gib_tiff_is_bigtiff(tmp_path, monkeypatch, levels):
    monkeypatch.setattr(_encoders, "_MAX_TIFF_BYTES", 2**20)
    source = read_photo(encoded(COLOUR, "TIFF", exif=exif_blob(), icc_profile=P3, dpi=(300, 300)))
    photo = Photo("it", levels[..., :3], levels[..., 3], P3, source.exif, source.dpi)
    enlarge(photo, tmp_path / "large.tif", scale=20, strip=100)
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), larger(levels, 20))
        tags = file.pages[0].tags
        assert tags["Make"].value == "Maker" and tags["ExifTag"].value["MakerNote"] == b"note" * 5
        assert tags["InterColorProfile"].value == P3
    again = read_photo(tmp_path / "large.tif")
    assert again.exif[271] == source.exif[271] and again.dpi == (6000, 6000)
    assert again.exif[34853] == source.exif[34853] and again.notes == []


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_png_and_tiff_need_memory_for_a_strip_only(tmp_path, suffix):
    rows = np.random.default_rng(0).integers(0, 256, (50, 1000, 3), dtype=np.uint8)
    photo = Photo("it", rows[:, :50])

    def peak(height):
        path = tmp_path / f"it{suffix}"
        tracemalloc.start()
        try:
            with write_photo(path, like=photo, height=height, width=1000) as writer:
                for _ in range(height // 50):
                    writer.write_rows(rows)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            np.testing.assert_array_equal(read_photo(path).pixels[-50:], rows)

    assert peak(2000) < 1.1 * peak(500)


@pytest.mark.parametrize(
    "name, height, width, message",
    [
        (
            "a.webp",
            240,
            16400,
            r"WEBP ends at 16383 pixels.*16400 x 240.*\.png, \.tif, \.tiff, \.bmp, \.jpg",
        ),
        ("a.jpg", 65501, 2, r"JPEG ends at 65500 pixels.*held by \.png, \.tif, \.tiff, \.bmp$"),
        ("a.bmp", 40_000, 40_000, r"BMP ends at 4 GiB.*\.png, \.tif.*\.jpg"),
        ("a.png", 2**31, 1, "no format"),
        ("a.png", 0, 1, "at least 1 x 1"),
        ("a.gif", 2, 2, r"must end in one of \.png"),
        ("a", 2, 2, r"must end in one of \.png"),
        ("no/folder/a.png", 2, 2, "folder .*no/folder does not exist"),
        ("file/a.png", 2, 2, "folder .*file does not exist"),
        ("folder.png", 2, 2, "folder.png: a folder"),
        ("pipe.png", 2, 2, "not an ordinary file"),
        ("loop.png", 2, 2, "a link that leads back to itself"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(tmp_path, name, height, width, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    photo = Photo("it", PHOTO)
    with pytest.raises(ValueError, match=message):
        check_output(tmp_path / name, like=photo, height=height, width=width)
    with (
        pytest.raises(ValueError, match=message),
        write_photo(tmp_path / name, like=photo, height=height, width=width),
    ):
        pytest.fail("the block was entered")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png", "loop.png", "pipe.png"]


@pytest.mark.parametrize(
    "suffix, notes",
    [(".webp", ["WEBP is put together in memory, 3.0 GiB"]), (".jpg", []), (".png", [])],
)
def test_what_needs_much_memory_is_said(tmp_path, suffix, notes):
    photo = Photo("it", PHOTO)
    said = check_output(tmp_path / f"a{suffix}", like=photo, height=12_000, width=16_000)
    assert [note.split(" here")[0] for note in said] == notes


def test_a_result_larger_than_the_memory_is_said(tmp_path, monkeypatch):
    def new(*arguments):
        raise MemoryError

    monkeypatch.setattr(Image, "new", new)
    photo = Photo("it", PHOTO)
    for suffix in (".jpg", ".webp", ".bmp"):
        with (
            pytest.raises(ValueError, match=r"13 x 9 pixels need more .* \.png and \.tif"),
            write_photo(tmp_path / f"a{suffix}", like=photo, height=9, width=13),
        ):
            pytest.fail("the block was entered")
    assert not os.listdir(tmp_path)


def test_the_limits_themselves_can_be_written(tmp_path):
    photo = Photo("it", PHOTO[:1, :1])
    for name, side in (("a.webp", 16383), ("a.jpg", 65500)):
        with write_photo(tmp_path / name, like=photo, height=1, width=side) as writer:
            writer.write_rows(PHOTO[:1, :1].repeat(side, axis=1))
        assert opened(tmp_path / name).size == (side, 1)


@contextlib.contextmanager
def as_nobody():
    """Root may do everything: be somebody else."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder():
    """A folder that every account can reach; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_closed_folder_and_a_closed_file_are_said(public_folder):
    (public_folder / "closed").mkdir(mode=0o555)
    (public_folder / "photo.png").write_bytes(encoded(COLOUR, "PNG"))
    (public_folder / "photo.png").chmod(0)
    with as_nobody():
        with pytest.raises(ValueError, match=r"closed cannot be written to \(Permission denied\)"):
            check_output(
                public_folder / "closed" / "a.png", like=Photo("it", PHOTO), height=2, width=2
            )
        with pytest.raises(PermissionError, match=r"photo\.png"):
            read_photo(public_folder / "photo.png")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"large{suffix}"
    path.write_bytes(b"precious")
    photo = Photo("it", PHOTO)
    with pytest.raises(ValueError, match="9 rows were announced, got 3"):
        with write_photo(path, like=photo, height=9, width=13) as writer:
            writer.write_rows(PHOTO[:3])
    with pytest.raises(KeyboardInterrupt):
        with write_photo(path, like=photo, height=9, width=13) as writer:
            writer.write_rows(PHOTO[:3])
            raise KeyboardInterrupt
    assert path.read_bytes() == b"precious" and os.listdir(tmp_path) == [path.name]


@pytest.mark.processes
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp"])
def test_a_full_disk_is_said_with_the_name(tmp_path, suffix):
    path = tmp_path / f"large{suffix}"
    path.write_bytes(b"precious")
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
        with pytest.raises(OSError, match=rf"File too large.*large\{suffix}"):
            enlarge(Photo("it", noise), path, scale=1)

    assert in_a_fork(write) == 0
    assert path.read_bytes() == b"precious" and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    "rows, alpha",
    [
        (LEVELS[..., :1], LEVELS[..., 3]),
        (DEEP[..., :3], DEEP[..., 3]),
        (PHOTO[:, :5], LEVELS[:, :5, 3]),
        (PHOTO, None),
        (PHOTO, LEVELS[:3, :, 3]),
        (PHOTO, DEEP[..., 3]),
        (PHOTO.repeat(2, axis=0), LEVELS[..., 3].repeat(2, axis=0)),
        (PHOTO[:0], LEVELS[:0, :, 3]),
    ],
)
def test_rows_of_another_kind_are_refused(tmp_path, rows, alpha):
    photo = Photo("it", PHOTO, LEVELS[..., 3])
    with pytest.raises(ValueError, match="rows"):
        with write_photo(tmp_path / "a.png", like=photo, height=9, width=13) as writer:
            writer.write_rows(rows, alpha)
    assert not os.listdir(tmp_path)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    enlarge(Photo("it", PHOTO), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert read_photo(tmp_path / "real.png").pixels.shape == (18, 26, 3)


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(b"precious")
    photo = Photo("it", DEEP[..., :3])

    def write():
        with write_photo(path, like=photo, height=18, width=13) as writer:
            writer.write_rows(photo.pixels)
            os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_a_fork(write)) == signal.SIGKILL
    assert path.read_bytes() == b"precious" and len(os.listdir(tmp_path)) == 2
    enlarge(photo, path)
    assert os.listdir(tmp_path) == [path.name]


# One way to fail


@pytest.mark.parametrize("reader", [read_photo, read_image])
def test_what_is_no_ordinary_file_is_refused(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", "/dev/null"):
        with pytest.raises(ValueError, match=f"{path}: not an ordinary file"):
            reader(path)
    with pytest.raises(IsADirectoryError):
        reader(tmp_path)
    with pytest.raises(FileNotFoundError):
        reader(tmp_path / "missing.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png: not an image .*got 0 bytes"):
        reader(tmp_path / "empty.png")
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(2**31 + 1)  # takes no room
    with pytest.raises(ValueError, match=r"sparse\.png: too large, 2147483649 bytes"):
        reader(tmp_path / "sparse.png")
    with pytest.raises(ValueError, match="zero byte"):
        reader("a\0b")


def cut_pages() -> bytes:
    """The directory of the second page lies beyond the end."""
    second = [Image.new("RGB", (13, 9), "red")]
    whole = encoded(COLOUR, "TIFF", save_all=True, append_images=second)
    with Image.open(io.BytesIO(whole)) as picture:
        picture.seek(1)
        return whole[: picture.tag_v2._offset + 1]


def damaged_avif() -> bytes:
    data = encoded(COLOUR, "AVIF")
    return data.replace(b"av01", b"xx01")


@pytest.mark.parametrize("reader", [read_photo, read_image])
@pytest.mark.parametrize(
    "make, name", [(cut_pages, "cut_pages.tif"), (damaged_avif, "damaged.avif")]
)
def test_damaged_files_are_refused_by_name(tmp_path, reader, make, name):
    if name.endswith("avif") and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ValueError, match=f"{name}: (damaged or cut off|not an image)"):
        reader(tmp_path / name)


@pytest.mark.parametrize(
    "raised, message",
    [
        (RuntimeError("bad\n item"), "damaged or cut off .RuntimeError bad item."),
        (KeyError(256), "damaged or cut off .KeyError 256."),
        (struct.error("argument out of range"), "damaged or cut off"),
        (ZeroDivisionError(), "damaged or cut off .ZeroDivisionError"),
        (RecursionError(), "damaged or cut off .RecursionError"),
        (StopIteration(), "damaged or cut off .StopIteration"),
        (MemoryError(), "needs more memory"),
        (Image.DecompressionBombError(), "too large"),
    ],
)
def test_whatever_a_decoder_raises_is_one_sentence(monkeypatch, raised, message):
    def load(self):
        raise raised

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    for reader in (read_photo, read_image):
        with pytest.raises(ValueError, match=f"^image: {message}"):
            reader(encoded(COLOUR, "BMP"))


def test_a_bomb_is_refused_before_it_is_unpacked():
    data = png(np.zeros((1, 1, 1), np.uint8), 0)
    header = struct.pack(">II", 20_000, 20_000)
    data = photo_files._mended_png(data[:16] + header + data[24:])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="too large"):
            read_photo(data)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_postscript_is_not_run():
    with pytest.raises(ValueError, match="not an image"):
        read_photo(encoded(COLOUR, "EPS"))


def test_what_a_decoder_warns_of_is_noted():
    data = encoded(COLOUR, "TIFF")
    with Image.open(io.BytesIO(data)) as picture:
        offset = picture.tag_v2._offset
    count = struct.unpack("<H", data[offset : offset + 2])[0]
    entry = offset + 2 + 12 * (count - 1)  # the last tag: let its value lie beyond the end
    data = data[:entry] + struct.pack("<HHLL", 33432, 2, 50, 10**6) + data[entry + 12 :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo(data).notes
    with pytest.warns(UserWarning, match="^image: (Corrupt EXIF data|Truncated File Read)"):
        read_image(data)


def test_mutated_files_are_read_or_refused_in_one_sentence():
    for name, data in photo_files.samples().items():
        for attempt in range(3):
            rng = random.Random(f"{name} {attempt}")
            damaged = photo_files.mutate(data, rng)
            try:
                photo = read_photo(damaged)
            except ValueError as error:
                assert str(error).startswith("image: ") and "\n" not in str(error)
            else:
                assert photo.pixels.dtype in (np.uint8, np.uint16)
                assert photo.pixels.ndim == 3 and photo.pixels.shape[2] in (1, 3)
                assert photo.alpha is None or photo.alpha.shape == photo.pixels.shape[:2]


# HEIC

HEIC = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(40)


@pytest.mark.parametrize("reader", [read_photo, read_image])
def test_heic_asks_for_its_package(monkeypatch, reader):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    with pytest.raises(ValueError, match=r"pip install \"srlib\[heic\]\""):
        reader(HEIC)


def test_an_old_pillow_is_named_for_avif(monkeypatch):
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "AVIF"})
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "AVIF"])
    with pytest.raises(ValueError, match=r"AVIF is read by Pillow 11\.3"):
        read_photo(HEIC.replace(b"heic", b"avif"))


def test_heic_is_read_where_its_package_is(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    file = heif.from_pillow(CLOUD.resize((64, 48)))
    file.save(buffer, quality=-1, exif=exif_blob(), icc_profile=P3)
    photo = read_photo(buffer.getvalue())
    assert photo.pixels.shape == (48, 64, 3) and photo.icc_profile == P3
    assert np.abs(photo.pixels.astype(int) - np.asarray(CLOUD.resize((64, 48)))).mean() < 6
    assert photo.exif[271] == (2, 6, b"Maker\0")
    file.save(plain := io.BytesIO(), exif=None, icc_profile=None)
    photo = read_photo(plain.getvalue())
    assert (photo.exif, photo.icc_profile, photo.notes) == ({}, None, [])


# Between pixels and networks
