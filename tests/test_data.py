import numpy as np
import pytest

from srlib.assets import sample_names
from srlib.data import load_images, make_pairs
from srlib.image import read_image, write_image
from srlib.resample import imresize

RANDOM = np.random.default_rng(0)


def test_a_folder_is_read_in_the_order_of_the_names(tmp_path):
    images = {name: RANDOM.integers(0, 256, (9, 8, 3), dtype=np.uint8) for name in "bca"}
    for name, image in images.items():
        write_image(tmp_path / f"{name}.png", image)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "sub").mkdir()
    loaded = load_images(tmp_path)
    assert list(loaded) == ["a", "b", "c"]
    for name, image in loaded.items():
        np.testing.assert_array_equal(image, images[name])


def test_bundled_photographs_need_no_network():
    assert tuple(load_images("bundled/test")) == sample_names("test")
    assert set(load_images("bundled")) == set(sample_names())


def test_benchmarks_are_loaded_by_name_and_scale(shared_data, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    images = load_images("Set14", 3)
    assert len(images) == 14
    expected = read_image(shared_data / "Set14/x3/HR/img_003.png")
    np.testing.assert_array_equal(images["img_003"], expected)
    as_grey = load_images("Set14", 3, grey="as_grey")
    assert [name for name, image in as_grey.items() if image.ndim == 2] == ["img_003"]


def test_pairs_equal_the_published_low_resolution_images(shared_data, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    for pair in make_pairs(load_images("Set5", 3), 3):
        expected = read_image(shared_data / f"Set5/x3/LR/{pair.name}.png")
        np.testing.assert_array_equal(pair.lr, expected)


def test_pairs_are_aligned_and_cut():
    hr = RANDOM.integers(0, 256, (23, 17, 3), dtype=np.uint8)
    (pair,) = make_pairs({"photo": hr}, 4)
    assert pair.name == "photo" and pair.lr.shape == (5, 4, 3)
    np.testing.assert_array_equal(pair.hr, hr[:20, :16])
    np.testing.assert_array_equal(pair.lr, imresize(hr[:20, :16], 1 / 4))


def test_the_lr_image_of_a_grey_original_is_rgb():
    hr = RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)
    (pair,) = make_pairs({"grey": hr}, 2)
    assert pair.hr.shape == (8, 8) and pair.lr.shape == (4, 4, 3)
    np.testing.assert_array_equal(pair.lr[..., 2], imresize(hr, 1 / 2))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("Set6", 4), "must be a folder, 'bundled' or one of Set5.*got 'Set6'"),
        (("Set5",), "scale must be given for the benchmark Set5"),
        (("Set5", 5), "Set5/x5"),
        (("bundled/val",), "got 'val'"),
    ],
)
def test_unknown_sources_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_images(*arguments)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="must hold image files"):
        load_images(tmp_path)
