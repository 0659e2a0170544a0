import io
import signal
import warnings

import numpy as np
import pytest
import tifffile
import torch
from forks import in_a_fork
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from photo_files import encoded, png, twelve_bit_tiff
from PIL import Image

from srlib.image import read_image, rgb_to_y, to_float, to_uint8, write_image

images = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
    elements=st.integers(0, 255),
)
PHOTO = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_lossless_formats_return_what_was_written(tmp_path, suffix):
    write_image(tmp_path / f"photo{suffix}", PHOTO)
    np.testing.assert_array_equal(read_image(tmp_path / f"photo{suffix}"), PHOTO)
    assert [p.name for p in tmp_path.iterdir()] == [f"photo{suffix}"]  # no temporary file left


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "photo.jpg"
    write_image(path, PHOTO)
    before = path.read_bytes()
    with pytest.raises(OSError):
        write_image(path, np.zeros((1, 70000, 3), np.uint8))  # JPEG ends at 65535 pixels
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.processes
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".jpg"])
def test_a_full_disk_leaves_the_old_one(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    resource = pytest.importorskip("resource")
    path.write_bytes(b"precious")

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        with pytest.raises(OSError, match="File too large"):
            write_image(path, PHOTO)

    assert in_a_fork(write) == 0
    assert path.read_bytes() == b"precious" and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["photo.xyz", "photo", "photo.svg"])
def test_unknown_endings_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in one of \.png.*got 'photo"):
        write_image(tmp_path / name, PHOTO)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2, 3)),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2)),
        np.zeros((0, 2, 3), np.uint8),
        [[0, 255]],
    ],
)
def test_only_uint8_pictures_are_written(tmp_path, image):
    with pytest.raises(ValueError, match="image must be uint8"):
        write_image(tmp_path / "photo.png", image)


@pytest.mark.parametrize(
    "picture, expected",
    [
        (Image.new("L", (3, 2), 77), [77, 77, 77]),
        (Image.new("1", (3, 2), 1), [255, 255, 255]),
        (Image.new("RGB", (3, 2), (1, 2, 3)), [1, 2, 3]),
        (
            Image.new("RGB", (3, 2), (9, 8, 7)).convert("P", palette=Image.Palette.ADAPTIVE),
            [9, 8, 7],
        ),
        (Image.new("RGBA", (3, 2), (1, 2, 3, 255)), [1, 2, 3]),
        (Image.new("LA", (3, 2), (50, 255)), [50, 50, 50]),
        (Image.new("RGB", (1, 1), (4, 5, 6)), [4, 5, 6]),
    ],
    ids=["grey", "bilevel", "rgb", "palette", "opaque alpha", "grey with opaque alpha", "1x1"],
)
def test_kinds_that_lose_nothing_are_read_without_a_word(picture, expected):
    image = read_image(encoded(picture, "PNG"))
    assert image.dtype == np.uint8 and image.shape == (*picture.size[::-1], 3)
    assert (image == expected).all()


@pytest.mark.parametrize(
    "data, expected, message",
    [
        (encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 51)), "PNG"), 204, "blended onto white"),
        (encoded(Image.new("LA", (2, 2), (0, 0)), "PNG"), 255, "blended onto white"),
        (encoded(Image.fromarray(np.full((2, 2), 51400, np.uint16)), "PNG"), 200, "16 bits"),
        (encoded(Image.fromarray(np.full((2, 2), 128, np.uint16)), "PNG"), 0, "16 bits"),
        (encoded(Image.fromarray(np.full((2, 2), 129, np.uint16)), "PNG"), 1, "16 bits"),
        (encoded(Image.fromarray(np.full((2, 2), 51400, np.uint16)), "TIFF"), 200, "16 bits"),
        (encoded(Image.new("CMYK", (2, 2), (0, 0, 0, 55)), "TIFF"), 200, "CMYK"),
        (encoded(Image.new("CMYK", (2, 2), (0, 0, 0, 55)), "JPEG"), 200, "CMYK"),
        (
            encoded(
                Image.new("RGB", (2, 2), "black"),
                "GIF",
                save_all=True,
                append_images=[Image.new("RGB", (2, 2), "white")],
            ),
            0,
            "first of 2 frames",
        ),
    ],
)
def test_kinds_that_lose_something_say_so(data, expected, message):
    with pytest.warns(UserWarning, match=message):
        image = read_image(data)
    assert (image == expected).all()


def test_sixteen_bit_colour_is_reduced_and_said():
    levels = np.arange(2 * 3 * 3, dtype=np.uint16).reshape(2, 3, 3) * 257 * 10
    with pytest.warns(UserWarning, match="16 bits"):
        image = read_image(png(levels, 2))
    np.testing.assert_array_equal(image, levels // 257)


def tiff(levels, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, levels, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_sixteen_bit_tiff_is_reduced_to_the_nearest_levels(planes, compression):
    levels = np.random.default_rng(1).integers(0, 256, (7, 5, 3), dtype=np.uint16) * 257
    stored = np.moveaxis(levels, 2, 0) if planes == "separate" else levels
    data = tiff(stored, photometric="rgb", planarconfig=planes, compression=compression)
    with pytest.warns(UserWarning, match="16 bits per channel are reduced to 8"):
        np.testing.assert_array_equal(read_image(data), levels // 257)


@pytest.mark.parametrize(
    "photometric, expected", [("minisblack", [0, 200, 255]), ("miniswhite", [255, 55, 0])]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_may_be_zero_in_tiff(dtype, photometric, expected):
    levels = np.array([[0, 200, 255]], dtype) * dtype(257 if dtype == np.uint16 else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        image = read_image(tiff(levels, photometric=photometric), grey="as_grey")
    assert image.tolist() == [expected]


def test_twelve_bits_fill_the_range():
    with pytest.warns(UserWarning, match="reduced to 8"):
        image = read_image(twelve_bit_tiff(), grey="as_grey")
    assert image.tolist() == [[255, 128]]


@pytest.mark.parametrize("sixteen", [False, True])
def test_one_transparent_colour_is_white(sixteen):
    levels = np.array([[[258, 2, 3], [258, 2, 4]]], np.uint16)
    if not sixteen:
        levels = levels.astype(np.uint8)
    data = png(levels, 2, (b"tRNS", levels[0, 0].astype(">u2").tobytes()))
    with pytest.warns(UserWarning, match="blended onto white"):
        image = read_image(data)
    assert image[0, 0].tolist() == [255, 255, 255] and image[0, 1].max() < 5


@pytest.mark.parametrize("name", ["QOI", "XBM"])
def test_formats_without_a_raw_mode_are_read(name):
    picture = Image.fromarray(PHOTO) if name == "QOI" else Image.fromarray(PHOTO[..., 0] > 99)
    np.testing.assert_array_equal(
        read_image(encoded(picture, name)), np.asarray(picture.convert("RGB"))
    )


def test_sixteen_bit_icon_is_read():
    levels = np.full((16, 16), 51400, np.uint16)
    with pytest.warns(UserWarning, match="16 bits"):
        assert (read_image(encoded(Image.fromarray(levels), "ICNS")) == 200).all()


@pytest.mark.parametrize(
    "picture, name",
    [
        (Image.new("L", (3, 2), 77), "GIF"),
        (Image.new("LA", (3, 2), (77, 255)), "PNG"),
        (Image.new("L", (3, 2), 77).convert("P"), "PNG"),
    ],
)
def test_every_grey_file_can_stay_grey(picture, name):
    assert (read_image(encoded(picture, name), grey="as_grey") == np.full((2, 3), 77)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = Image.fromarray(PHOTO)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # stored turned the other way
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(encoded(stored, "PNG", exif=exif)), PHOTO)


@pytest.mark.filterwarnings("ignore:(Corrupt EXIF|Truncated File):UserWarning")
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_cut_off_file_is_refused(file_format):
    whole = encoded(Image.fromarray(PHOTO), file_format)
    # 12 bytes: a PNG without its closing chunk still holds all pixels.
    for length in range(0, len(whole) - 12, 37):
        with pytest.raises(ValueError, match="cut off|not an image"):
            read_image(whole[:length])


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(np.full((2, 2), 70000, np.int32)),
        Image.fromarray(np.zeros((2, 2), np.float32)),
    ],
    ids=["32-bit integer", "float"],
)
def test_numbers_without_a_range_are_refused(picture):
    with pytest.raises(ValueError, match="no stated range|not supported"):
        read_image(encoded(picture, "TIFF"))


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg></svg>", b"%PDF-1.7"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ValueError, match="not an image"):
        read_image(data)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked():
    header = encoded(Image.new("1", (1, 1)), "PNG")
    huge = bytearray(header)
    huge[16:24] = (20000).to_bytes(4, "big") * 2
    import zlib

    huge[29:33] = zlib.crc32(bytes(huge[12:29])).to_bytes(4, "big")
    with pytest.raises(ValueError, match="too large"):
        read_image(bytes(huge))


def test_missing_files_and_folders_keep_python_s_own_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError):
        read_image(tmp_path)
    with pytest.raises(TypeError, match="got int"):
        read_image(7)


def test_grey_files_can_stay_grey(tmp_path):
    write_image(tmp_path / "grey.png", PHOTO[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", grey="as_grey"), PHOTO[..., 0])
    assert read_image(tmp_path / "grey.png").shape == (12, 20, 3)
    with pytest.raises(ValueError, match="got 'grey'"):
        read_image(tmp_path / "grey.png", grey="grey")


def test_an_open_file_is_read_and_named(tmp_path):
    write_image(tmp_path / "photo.png", PHOTO)
    with open(tmp_path / "photo.png", "rb") as file:
        np.testing.assert_array_equal(read_image(file), PHOTO)
    (tmp_path / "text.png").write_text("text")
    with open(tmp_path / "text.png", "rb") as file, pytest.raises(ValueError, match="text.png"):
        read_image(file)


@given(images)
def test_to_float_and_back_changes_nothing(image):
    tensor = to_float(image)
    assert tensor.shape == (1, 3, *image.shape[:2]) and tensor.dtype == torch.float32
    assert 0 <= tensor.min() and tensor.max() <= 1
    np.testing.assert_array_equal(to_uint8(tensor), image)


def test_to_uint8_rounds_half_up_and_clips():
    levels = torch.tensor([-3.0, 0.49, 0.5, 1.5, 2.5, 254.5, 300.0], dtype=torch.float64) / 255
    image = to_uint8(levels.expand(1, 3, 1, -1))
    assert image[0, :, 0].tolist() == [0, 0, 1, 2, 3, 255, 255]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, 3, 4, 4),
        torch.zeros(1, 1, 4, 4),
        torch.zeros(4, 4, 3),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.full((1, 3, 2, 2), float("nan")),
        np.zeros((1, 3, 2, 2)),
    ],
)
def test_to_uint8_refuses(tensor):
    with pytest.raises(ValueError, match="tensor must"):
        to_uint8(tensor)


@given(images)
def test_luma_of_arrays_and_tensors_agree(image):
    red, green, blue = np.moveaxis(image.astype(float), 2, 0)
    expected = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    np.testing.assert_allclose(rgb_to_y(image), expected, atol=1e-9)
    tensor = rgb_to_y(to_float(image).double())
    assert tensor.shape == (1, 1, *image.shape[:2])
    np.testing.assert_allclose(tensor[0, 0] * 255, expected, atol=1e-4)


def test_luma_of_grey_is_grey():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_allclose(rgb_to_y(grey)[0], 16 + 219 / 255 * np.arange(256))
    np.testing.assert_allclose(rgb_to_y(grey, full_range=True)[0], np.arange(256))


@pytest.mark.parametrize(
    "image", [np.zeros((3, 4, 4)), torch.zeros(3, 4, 4), torch.zeros(1, 4, 4, 3)]
)
def test_luma_refuses_other_shapes(image):
    with pytest.raises(ValueError, match="image must"):
        rgb_to_y(image)


def test_reading_does_not_silence_the_caller_s_warnings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(encoded(Image.new("L", (2, 2)), "PNG"))
        warnings.warn("still heard", stacklevel=1)
    assert [str(w.message) for w in caught] == ["still heard"]
