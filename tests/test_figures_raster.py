import io

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from srlib.assets import sample_image
from srlib.figures import compare
from srlib.figures.raster import encode_for_file, encode_for_screen, encode_lines, rasterize
from srlib.resample import imresize

NOISE = np.random.default_rng(0).integers(0, 256, (300, 450, 3), dtype=np.uint8)
PHOTO = imresize(imresize(NOISE, 1 / 3), 3)[:300, :450]  # about as rough as fur


@pytest.fixture(scope="module")
def plot() -> np.ndarray:
    before = pyplot.get_fignums()
    figure, axes = pyplot.subplots(figsize=(8, 4), dpi=100)
    for order in range(1, 6):
        axes.plot(np.linspace(0, 1, 200) ** order, label=f"order {order}")
    axes.legend()
    picture = rasterize(figure)
    assert pyplot.get_fignums() == before
    return picture


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_figure_becomes_an_image(plot):
    assert plot.dtype == np.uint8 and plot.shape == (400, 800, 3)
    assert (plot[0, 0] == 255).all() and len(np.unique(plot.reshape(-1, 3), axis=0)) > 5


def test_what_is_animated_is_drawn_over_a_picture_that_stays():
    pictures = []
    for animated in (False, True):
        figure = Figure(figsize=(4, 3), dpi=100)
        axes, other = figure.subplots(1, 2)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        (line,) = axes.plot([0, 1], [0, 1], animated=animated)
        image = other.imshow(np.zeros((4, 4)), vmin=0, vmax=1, animated=animated)
        label = figure.text(0.5, 0.01, "before", animated=animated)
        rasterize(figure)
        line.set_ydata([1, 0.2])
        image.set_data(np.eye(4))
        label.set_text("after")
        pictures.append(rasterize(figure))
    assert pictures[0].min() < 50
    # Only the order differs in which axes and curves are drawn.
    assert (pictures[0] != pictures[1]).any(axis=2).mean() < 0.01


def test_in_a_file_line_plots_are_small_and_photographs_fit(plot):
    kind, data = encode_for_file(plot)
    assert kind == "png" and len(data) < 40_000
    assert np.abs(decode(data).astype(float) - plot).mean() < 0.5
    first, second = (rasterize(compare({"a": PHOTO, "b": PHOTO, "c": PHOTO})) for _ in range(2))
    kind, data = encode_for_file(first)
    assert kind == "jpeg" and len(data) < 120_000
    assert Image.open(io.BytesIO(data)).layers == 3
    assert encode_for_file(second) == (kind, data)


def test_on_the_screen_pictures_are_lossless_unless_there_is_a_limit():
    kind, data = encode_for_screen(NOISE)
    assert kind == "webp" and (decode(data) == NOISE).all()
    kind, data = encode_for_screen(NOISE[:32, :32], limit=110_000)
    assert kind == "webp" and (decode(data) == NOISE[:32, :32]).all()
    photo = sample_image("chelsea")
    sizes = []
    for limit in (110_000, 50_000):
        kind, data = encode_for_screen(photo, limit)
        assert kind == "jpeg" and len(data) <= limit
        sizes.append(len(data))
    assert sizes[0] > sizes[1]


def test_lines_keep_their_colours(plot):
    picture = Image.open(io.BytesIO(encode_lines(plot)))
    assert picture.format == "PNG" and len(picture.getcolors()) <= 64
    assert np.abs(np.asarray(picture.convert("RGB"), dtype=float) - plot).mean() < 2
