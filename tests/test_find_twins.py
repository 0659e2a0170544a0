"""Twins of benchmark images among training photographs."""

import find_twins
import numpy as np
import pytest

from srlib.assets import sample_image
from srlib.data import load_images
from srlib.resample import imresize


@pytest.fixture
def benchmarks(monkeypatch, tmp_path):
    """Fingerprints of two images, one of them a small crop of a photograph at another size."""
    images = {
        "a": imresize(sample_image("coffee")[120:300, 200:440], 1.3),
        "b": sample_image("chelsea"),
    }
    monkeypatch.setattr(find_twins, "FOLDER", tmp_path / "fingerprints")
    monkeypatch.setattr(find_twins, "load_images", lambda *_: images)
    find_twins.write("Two")
    return find_twins.read()


def test_a_crop_at_another_size_is_found_and_so_is_a_mirrored_one(benchmarks):
    coffee = sample_image("coffee")
    for image, expected in ((coffee, "Two/a"), (coffee[:, ::-1], "Two/a mirrored")):
        name, corners = find_twins.nearest(image, benchmarks)
        assert name == expected and corners >= find_twins.LEAST


@pytest.mark.parametrize("name", ["rocket", "grass"])
def test_other_photographs_are_no_twins(benchmarks, name):
    assert find_twins.nearest(sample_image(name), benchmarks)[1] < find_twins.LEAST


def test_an_image_without_corners_is_nobody_s_twin(benchmarks):
    assert find_twins.nearest(np.full((64, 96, 3), 128, np.uint8), benchmarks)[1] == 0


def test_the_command_tells_and_ends_with_1(benchmarks, capsys):
    """The photographs come from the fixture's `load_images`, so they are the benchmark itself."""
    assert find_twins.main(["photos"]) == 1
    said = capsys.readouterr().out
    assert "2 photographs, 2 benchmark images: 2 twins" in said and "Two/b" in said


def test_fingerprints_of_benchmarks_find_the_known_twin(shared_data):
    """302003 of BSDS500/train is img_005 of Set5 at another size; `load_images` leaves it out."""
    from srlib.image import read_image

    image = read_image(shared_data / "BSDS500/train/302003.jpg")
    name, corners = find_twins.nearest(image, find_twins.read())
    assert name == "Set5/img_005" and corners > 5 * find_twins.LEAST
    assert "302003" not in load_images(shared_data / "BSDS500/train")
