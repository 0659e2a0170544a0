import math
import types

import matplotlib
import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot, style
from matplotlib.figure import Figure

from srlib import figures
from srlib.figures import compare, error_map, show, wipe, zoom_grid
from srlib.figures.raster import rasterize
from srlib.metrics import score
from srlib.resample import imresize


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    hr = imresize(noise, 4)  # (96, 144, 3)
    lr = imresize(hr, 1 / 4)
    return {
        "LR": lr,
        "nearest": imresize(lr, 4, kernel="nearest"),
        "bicubic": imresize(lr, 4),
        "HR": hr,
    }


def assert_texts_fit(figure: Figure):
    """All titles lie within the figure and none covers another."""
    rasterize(figure)
    titles = [axes.title for axes in figure.findobj(matplotlib.axes.Axes) if axes.get_title()]
    boxes = [title.get_window_extent() for title in titles]
    width, height = figure.bbox.width, figure.bbox.height
    for box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_compare_writes_names_and_scores(images):
    figure = compare(images, reference="HR", scale=4)
    titles = [axes.get_title() for axes in figure.axes]
    psnr, ssim = score(images["bicubic"], images["HR"], 4)
    assert titles[0] == "LR"
    assert titles[2] == f"bicubic\n{psnr:.2f} dB / {ssim:.3f}"
    assert titles[3] == "HR"
    assert_texts_fit(figure)


def test_compare_takes_the_reference_as_an_image(images):
    only = {"bicubic": images["bicubic"]}
    figure = compare(only, reference=images["HR"], scale=4)
    assert "dB" in figure.axes[0].get_title()


def test_compare_shows_lr_pixels_as_squares_of_the_same_total_size(images):
    figure = compare(images)
    rasterize(figure)
    extents = [axes.get_window_extent() for axes in figure.axes]
    assert len({(round(e.width), round(e.height)) for e in extents}) == 1
    assert [axes.images[0].get_interpolation() for axes in figure.axes] == ["nearest"] * 4


def test_compare_smooths_what_it_shrinks():
    stripes = np.zeros((100, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = rasterize(compare({"a": stripes, "b": stripes}))
    middle = picture[picture.shape[0] // 2, 100:400, 0]
    assert middle.std() < 40  # dropping pixels would keep black and white: 127


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 9])
def test_titles_fit_for_any_number_of_images(images, count):
    named = {f"a name of some length, number {i}": images["bicubic"] for i in range(count)}
    for figure in (
        compare(named, reference=images["HR"], scale=4),
        zoom_grid(named, (10, 20, 30, 40), reference=images["HR"], scale=4),
    ):
        assert_texts_fit(figure)


def test_zoom_grid_cuts_the_same_region_out_of_every_size(images):
    figure = zoom_grid(images, (22, 33, 41, 58), reference="HR", scale=4)
    crops = figure.axes[1:]
    assert len(crops) == 4
    for axes in crops:
        assert axes.get_xlim() == (33, 91) and axes.get_ylim() == (63, 22)
        assert axes.images[0].get_extent() == [0, 144, 96, 0]
        assert axes.images[0].get_interpolation() == "nearest"
    assert_texts_fit(figure)


def test_zoom_grid_shows_the_pixels_of_the_box(images):
    hr = np.zeros((40, 60, 3), np.uint8)
    hr[10:20, 30:50] = (255, 0, 0)
    figure = zoom_grid({"HR": hr}, (10, 30, 10, 20))
    picture = rasterize(figure)
    box = figure.axes[1].get_window_extent()
    rows = slice(round(figure.bbox.height - box.y1) + 2, round(figure.bbox.height - box.y0) - 2)
    crop = picture[rows, round(box.x0) + 2 : round(box.x1) - 2]
    assert (crop == (255, 0, 0)).all()


@pytest.mark.parametrize("colour", [0, 255])
def test_zoom_grid_outline_shows_on_black_and_on_white(colour):
    flat = np.full((60, 60, 3), colour, np.uint8)
    figure = zoom_grid({"flat": flat}, (20, 20, 20, 20))
    picture = rasterize(figure)
    box = figure.axes[0].get_window_extent()
    height = figure.bbox.height
    whole = picture[round(height - box.y1) + 2 : round(height - box.y0) - 2]
    whole = whole[:, round(box.x0) + 2 : round(box.x1) - 2]
    assert abs(whole.astype(int) - colour).max() > 200


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 97, 5), (90, 0, 7, 5), (0, 140, 5, 5)]
)
def test_zoom_grid_refuses_a_box_outside(images, box):
    with pytest.raises(ValueError, match="box must"):
        zoom_grid(images, box)


def test_zoom_grid_refuses_sizes_that_do_not_match(images):
    odd = {**images, "odd": images["HR"][:90]}
    with pytest.raises(ValueError, match="'odd' must be 96x144"):
        zoom_grid(odd, (0, 0, 5, 5), reference="HR")


@pytest.mark.parametrize("function", [compare, lambda i, **k: zoom_grid(i, (0, 0, 5, 5), **k)])
def test_wrong_input_is_refused(images, function):
    with pytest.raises(ValueError, match="at least one image"):
        function({})
    with pytest.raises(ValueError, match="reference must be one of .*got 'hr'"):
        function(images, reference="hr")
    with pytest.raises(ValueError, match="needs a reference"):
        function(images, scale=4)
    with pytest.raises(ValueError, match="'float' must be uint8"):
        function({"float": images["HR"] / 255})
    with pytest.raises(ValueError, match="'grey' must be uint8"):
        function({"grey": images["HR"][..., 0]})


def test_error_map_is_the_luma_difference():
    hr = np.zeros((20, 30, 3), np.uint8)
    sr = hr.copy()
    sr[5:10, 5:10] = 255
    figure = error_map(sr, hr, max_error=50)
    picture = figure.axes[0].images[0]
    assert picture.get_array()[7, 7] == pytest.approx(219)  # of MATLAB's luma, 16..235
    assert picture.get_array()[0, 0] == 0
    assert picture.get_clim() == (0, 50)
    assert f"{219 * 25 / 600:.2f}" in figure.axes[0].get_title()
    assert "grey levels of 255" in figure.axes[1].get_ylabel()
    assert_texts_fit(figure)


@pytest.mark.parametrize("max_error", [0, -1, math.nan, math.inf])
def test_error_map_refuses(images, max_error):
    with pytest.raises(ValueError, match="max_error must"):
        error_map(images["HR"], images["HR"], max_error=max_error)
    with pytest.raises(ValueError, match="same shape"):
        error_map(images["LR"], images["HR"])


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 40),
    position=st.floats(0, 1),
)
def test_wipe_takes_each_side_from_its_image(height, width, position):
    before = np.full((height, width, 3), 10, np.uint8)
    after = np.full((height, width, 3), 200, np.uint8)
    picture = wipe(before, after, position)
    assert picture.shape == before.shape and picture.dtype == np.uint8
    is_line = (picture[0, :, 0] == 0) | (picture[0, :, 0] == 255)
    assert is_line.sum() <= 3
    sides = picture[0, ~is_line, 0].astype(int)
    assert set(sides) <= {10, 200} and (np.diff(sides) >= 0).all()
    assert abs((sides == 10).sum() - position * width) <= 2
    assert (before == 10).all() and (after == 200).all()


def test_wipe_ends_without_a_line(images):
    before, after = images["bicubic"], images["HR"]
    assert (wipe(before, after, 0) == after).all()
    assert (wipe(before, after, 1) == before).all()


@pytest.mark.parametrize("position", [-0.01, 1.01, math.nan])
def test_wipe_refuses(images, position):
    with pytest.raises(ValueError, match="position must"):
        wipe(images["HR"], images["HR"], position)
    with pytest.raises(ValueError, match="same shape"):
        wipe(images["LR"], images["HR"], 0.5)


def line_plot() -> Figure:
    with style.context("srlib.course"):
        figure, axes = pyplot.subplots()
        for order in range(1, 6):
            axes.plot(np.linspace(0, 1, 200) ** order, label=f"order {order}")
        axes.legend()
    return figure


@pytest.fixture
def shown(monkeypatch) -> list:
    calls = []
    monkeypatch.setattr(figures, "_places", set())
    monkeypatch.setattr(figures, "display", lambda data, **options: calls.append((data, options)))
    return calls


def test_show_stores_alt_text_and_closes(shown):
    before = pyplot.get_fignums()
    show(line_plot(), "  Five powers.  ")
    ((data, options),) = shown
    assert data["text/plain"] == "Five powers."
    assert options == {"metadata": {"image/png": {"alt": "Five powers."}}, "raw": True}
    assert pyplot.get_fignums() == before


def test_show_alt_text_arrives_in_html(shown):
    nbconvert = pytest.importorskip("nbconvert")
    show(line_plot(), "Five powers & more.")
    ((data, options),) = shown
    output = nbformat.v4.new_output("display_data", data=data, metadata=options["metadata"])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    html, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert 'alt="Five powers &amp; more."' in html


def test_show_replaces_what_the_same_run_of_a_cell_showed_there(shown, monkeypatch):
    for count, place in ((1, "film"), (1, "film"), (1, "other"), (2, "film"), (2, None)):
        kernel = types.SimpleNamespace(execution_count=count)
        monkeypatch.setattr(figures, "get_ipython", lambda kernel=kernel: kernel)
        show(line_plot(), "Five powers.", place=place)
    ids = [(options.get("display_id"), options.get("update")) for _, options in shown]
    assert ids == [
        *(("film 1", False), ("film 1", True), ("other 1", False), ("film 2", False)),
        (None, None),
    ]


@pytest.mark.parametrize("alt", ["", " \n"])
def test_show_refuses_to_say_nothing(alt):
    with pytest.raises(ValueError, match="alt must"):
        show(Figure(), alt)


def test_figures_look_alike_under_any_style(images):
    plain = rasterize(compare(images, reference="HR", scale=4))
    with style.context("dark_background"):
        dark = rasterize(compare(images, reference="HR", scale=4))
    with style.context("srlib.course"):
        course = rasterize(compare(images, reference="HR", scale=4))
    assert (plain == dark).all() and (plain == course).all()


def test_no_figure_stays_open(images):
    before = pyplot.get_fignums()
    compare(images)
    zoom_grid(images, (0, 0, 5, 5))
    error_map(images["HR"], images["HR"])
    assert pyplot.get_fignums() == before


def test_style():
    with style.context("srlib.course"):
        settings = matplotlib.rcParams
        sizes = ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
        assert all(settings[name] >= 11 for name in sizes)
        assert settings["image.interpolation"] == "nearest"
        assert len(set(settings["axes.prop_cycle"].by_key()["color"])) == 8
