import io
import warnings

import ipywidgets
import numpy as np
import pytest
import traitlets
from matplotlib import pyplot
from matplotlib.figure import Figure
from photo_files import P3
from PIL import Image

from srlib.assets import sample_image, sample_names
from srlib.image import read_image
from srlib.widgets import Explorer, PhotoPicker


def slider(value=1, **options):
    return ipywidgets.IntSlider(value=value, min=0, max=4, **options)


def grey(level):
    return np.full((40, 60, 3), level * 50, np.uint8), f"level {level}"


def decode(explorer) -> np.ndarray:
    picture = Image.open(io.BytesIO(explorer.picture.value))
    assert picture.format.lower() == explorer.picture.format
    return np.asarray(picture.convert("RGB"))


def upload(picker, data: bytes, name="photo.png"):
    """Hand a file over as the browser does."""
    if isinstance(picker.upload.value, dict):  # ipywidgets 7
        file = {"metadata": {"name": name}, "content": data}
        picker.upload.set_trait("value", {name: file})
        return
    content = memoryview(data)
    file = {"name": name, "type": "", "size": len(data), "content": content, "last_modified": 0}
    picker.upload.set_state({"value": [file]})


def encode(array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return sample_image("coffee")[:80, :120]


# Explorer


def test_the_picture_follows_its_control():
    explorer = Explorer(grey, level=slider(1))
    assert (decode(explorer) == 50).all() and explorer.caption.value == "level 1"
    explorer.controls["level"].value = 4
    assert (decode(explorer) == 200).all() and explorer.caption.value == "level 4"


def test_all_values_arrive_by_name():
    seen = []

    def render(level, name, flag):
        seen.append((level, name, flag))
        return np.zeros((20, 20, 3), np.uint8)

    explorer = Explorer(
        render,
        level=slider(2),
        name=ipywidgets.Dropdown(options=[("first", 10), ("second", 20)]),
        flag=ipywidgets.Checkbox(value=True),
    )
    explorer.controls["name"].value = 20
    assert seen == [(2, 10, True), (2, 20, True)]


def test_moved_pictures_are_lossless_whatever_their_size():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 300, 400, 3), dtype=np.uint8)
    explorer = Explorer(lambda k: noise[k], k=ipywidgets.IntSlider(value=0, min=0, max=1))
    assert explorer.picture.format == "jpeg"  # the first one, which the notebook stores
    explorer.controls["k"].value = 1
    assert (decode(explorer) == noise[1]).all()
    explorer.controls["k"].value = 0
    assert (decode(explorer) == noise[0]).all()


def test_the_stored_state_is_small():
    explorer = Explorer(lambda image: image, photo=PhotoPicker("coffee"))
    assert explorer.picture.format == "jpeg" and len(explorer.picture.value) <= 110_000


@pytest.mark.parametrize("through_pyplot", [False, True])
def test_figures_are_drawn_and_closed(through_pyplot):
    def plot(level):
        size = (3, 2)
        figure = pyplot.figure(figsize=size) if through_pyplot else Figure(figsize=size)
        figure.subplots().plot([0, level])
        return figure

    before = pyplot.get_fignums()
    explorer = Explorer(plot, level=slider())
    first = decode(explorer)
    explorer.controls["level"].value = 3
    assert first.shape == (200, 300, 3) and (first != decode(explorer)).any()
    assert pyplot.get_fignums() == before


def test_an_error_is_shown_and_cleared():
    def fails(level):
        if level > 2:
            raise ValueError(f"too much <b> {level}")
        return grey(level)

    explorer = Explorer(fails, level=slider(1))
    assert explorer.error.value == ""
    good = explorer.picture.value
    explorer.controls["level"].value = 3
    shown = explorer.error.value
    assert 'class="srlib-error"' in shown and "<b>" not in shown
    assert "ValueError: too much &lt;b&gt; 3" in shown and "raise ValueError(" in shown
    assert explorer.picture.value == good
    explorer.controls["level"].value = 2
    assert explorer.error.value == "" and explorer.picture.value != good


def test_the_first_error_raises():
    def fails(level):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Explorer(fails, level=slider())


@pytest.mark.parametrize(
    "picture", [None, np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), "x"]
)
def test_a_picture_of_another_kind_is_refused(picture):
    with pytest.raises(ValueError, match=r"the picture must be uint8 of shape \(H, W, 3\), got"):
        Explorer(lambda level: picture, level=slider())


def test_a_control_without_value_is_refused():
    with pytest.raises(TypeError, match="'level' must be a widget with a value, got 3"):
        Explorer(grey, level=3)


def test_none_among_the_options_is_refused():
    for kind in (ipywidgets.SelectionSlider, ipywidgets.Dropdown):
        with pytest.raises(ValueError, match="'level' must not offer None"):
            Explorer(grey, level=kind(options=[("one", 1), ("nothing", None)], value=1))


def test_captions_are_text():
    explorer = Explorer(lambda level: (grey(1)[0], "a < b\n<script>"), level=slider())
    assert explorer.caption.value == "a &lt; b<br>&lt;script&gt;"


def test_nothing_jumps_while_a_slider_moves():
    explorer = Explorer(grey, level=slider())
    before = dict(explorer.picture.layout.get_state()), dict(explorer.layout.get_state())
    explorer.controls["level"].value = 3
    assert before == (explorer.picture.layout.get_state(), explorer.layout.get_state())
    assert explorer.picture.layout.width == "60px" and explorer.picture.layout.height == "40px"
    assert explorer.picture.layout.max_width == "100%"


def test_descriptions_are_given_and_live_is_obeyed():
    controls = {"blur_sigma": slider(), "level": slider(description="level (grey levels)")}
    explorer = Explorer(lambda **_: grey(1), live=False, **controls)
    assert explorer.controls["blur_sigma"].description == "blur sigma"
    assert explorer.controls["level"].description == "level (grey levels)"
    assert not any(control.continuous_update for control in explorer.controls.values())


def test_sweep_visits_every_extreme_and_moves_nothing():
    seen = []

    def render(a, log, name, flag):
        seen.append((a, log, name, flag))
        return np.zeros((20, 20, 3), np.uint8)

    explorer = Explorer(
        render,
        a=slider(1),
        log=ipywidgets.FloatLogSlider(value=1, base=10, min=-1, max=2),
        name=ipywidgets.ToggleButtons(options=["x", "y", "z"]),
        flag=ipywidgets.Checkbox(value=False),
    )
    seen.clear()
    seconds = explorer.sweep()
    assert len(seconds) == len(seen) == 1 + 2 + 2 + 3 + 2 + 2
    assert all(second > 0 for second in seconds)
    assert {a for a, *_ in seen} == {0, 1, 4}
    assert {log for _, log, *_ in seen} == {0.1, 1, 100}
    assert {name for *_, name, _ in seen} == {"x", "y", "z"}
    assert seen[-2:] == [(0, 0.1, "x", False), (4, 100, "z", True)]
    assert explorer.controls["a"].value == 1


@pytest.mark.parametrize(
    "options", [["x", "y"], [("first", "x"), ("second", "y")], {"first": "x", "second": "y"}]
)
def test_sweep_visits_every_option(options):
    seen = []
    explorer = Explorer(
        lambda name: (seen.append(name), grey(1))[1], name=ipywidgets.Dropdown(options=options)
    )
    seen.clear()
    explorer.sweep()
    assert seen == ["x", "x", "y", "x", "y"]


def test_sweep_starts_from_the_defaults():
    seen = []
    explorer = Explorer(lambda level: seen.append(level) or grey(level), level=slider(1))
    explorer.controls["level"].value = 2
    seen.clear()
    explorer.sweep()
    assert seen == [1, 0, 4, 0, 4]


def test_sweep_finds_an_error_at_an_extreme():
    explorer = Explorer(lambda level: grey(10 // (4 - level)), level=slider(1))
    with pytest.raises(ZeroDivisionError) as caught:
        explorer.sweep()
    assert caught.value.__notes__ == ["while drawing with {'level': 4}"]


def test_sweep_finds_a_jumping_size():
    explorer = Explorer(lambda level: np.zeros((20 + level // 4, 20, 3), np.uint8), level=slider())
    with pytest.raises(ValueError, match=r"one shape, got \(20, 20, 3\) and \(21, 20, 3\)"):
        explorer.sweep()


def test_sweep_names_a_control_it_does_not_know():
    explorer = Explorer(lambda text: grey(1), text=ipywidgets.Text("a"))
    with pytest.raises(TypeError, match="extremes of a control must be known, got Text"):
        explorer.sweep()


# PhotoPicker


def test_bundled_photographs():
    picker = PhotoPicker("chelsea")
    assert (picker.image == sample_image("chelsea")).all()
    assert picker.status.value == "chelsea: 451 x 300"
    picker.dropdown.value = "coffee"
    assert picker.image.shape == (342, 512, 3) and picker.image.dtype == np.uint8
    assert picker.status.value == "coffee: 600 x 400 shrunk to 512 x 342"


def test_refused_arguments():
    with pytest.raises(ValueError, match="default must be one of .*got 'nobody'"):
        PhotoPicker("nobody")
    with pytest.raises(ValueError, match="max_side must be at least 40, got 39"):
        PhotoPicker("chelsea", max_side=39)


@pytest.mark.parametrize("name", sample_names())
def test_every_bundled_photograph_fits_the_least_side(name):
    assert max(PhotoPicker(name, max_side=40).image.shape) == 40


def test_several_explorers_share_a_picker(photo):
    picker = PhotoPicker("chelsea")
    explorers = [Explorer(lambda image: image, photo=picker) for _ in range(2)]
    upload(picker, encode(photo))
    for explorer in explorers:
        assert (decode(explorer) == photo).all()
        assert explorer.picture.layout.width == "120px"
        assert explorer.error.value == ""


def test_a_photograph_of_one_s_own_looks_as_it_should(photo):
    picker = PhotoPicker("chelsea")
    Image.fromarray(photo).save(file := io.BytesIO(), format="PNG", icc_profile=P3)
    upload(picker, file.getvalue())
    np.testing.assert_array_equal(picker.image, read_image(file.getvalue(), srgb=True))
    assert np.abs(picker.image.astype(int) - photo).max() > 10


def test_a_function_that_writes_into_its_input_harms_nobody():
    picker = PhotoPicker("chelsea")

    def blacken(image):
        image[:] = 0
        return image

    Explorer(blacken, photo=picker)
    assert (picker.image == sample_image("chelsea")).all()


def test_layout_fits_the_new_photograph_even_after_an_error(photo):
    def fails(image, level):
        if level == 0:
            raise ValueError("no")
        return image

    picker = PhotoPicker("chelsea")
    explorer = Explorer(fails, photo=picker, level=slider(1))
    explorer.controls["level"].value = 0
    upload(picker, encode(photo))
    assert "srlib-error" in explorer.error.value
    explorer.controls["level"].value = 1
    assert explorer.picture.layout.width == "120px" and explorer.error.value == ""


def test_uploading_the_same_file_twice(photo):
    picker = PhotoPicker("chelsea")
    count = []
    picker.observe(count.append, "image")
    for _ in range(2):
        upload(picker, encode(photo))
        assert not picker.upload.value  # neither kept nor in the way
    assert len(count) == 2
    assert (picker.image == photo).all() and picker.status.value == "photo.png: 120 x 80"
    picker.dropdown.value = "chelsea"
    assert (picker.image == sample_image("chelsea")).all()


def test_an_upload_of_ipywidgets_7_arrives_too(photo, monkeypatch):
    """Colab has it. Its FileUpload keeps a dict, and the files' bytes once more."""

    class Upload7(ipywidgets.FileUpload):
        value, data, metadata = traitlets.Dict(), traitlets.List(), traitlets.List()

    monkeypatch.setattr(ipywidgets, "FileUpload", Upload7)
    picker = PhotoPicker("chelsea")
    picker.upload.data, picker.upload.metadata = [encode(photo)], [{"name": "mine.png"}]
    upload(picker, encode(photo), "mine.png")
    assert (picker.image == photo).all() and picker.status.value == "mine.png: 120 x 80"
    assert not (picker.upload.value or picker.upload.data or picker.upload.metadata)


def test_upload_of_a_large_photograph():
    large = np.zeros((4000, 6000, 3), np.uint8)
    large[:, 3000:] = 200
    picker = PhotoPicker("chelsea")
    upload(picker, encode(large), "large <1>.png")
    assert picker.image.shape == (342, 512, 3)
    assert picker.image[0, 0, 0] == 0 and picker.image[-1, -1, 0] == 200
    assert picker.status.value == "large &lt;1&gt;.png: 6000 x 4000 shrunk to 512 x 342"


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (encode(np.full((30, 40), 99, np.uint8)), None),
        (encode(np.full((30, 40, 4), 99, np.uint8)), "transparency"),
    ],
    ids=["grey", "alpha"],
)
def test_upload_of_any_kind(data, remark):
    picker = PhotoPicker("chelsea")
    upload(picker, data)
    assert picker.image.shape == (30, 40, 3) and picker.image.dtype == np.uint8
    lines = picker.status.value.split("<br>")
    assert lines[0] == "photo.png: 40 x 30"
    assert remark is None or remark in lines[1]
    assert picker.dropdown.value is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "not an image"),
        (b"", "not an image"),
        (encode(sample_image("coffee"))[:5000], "damaged or cut off"),
        (encode(np.zeros((1, 1, 3), np.uint8)), "at least 16 pixels"),
        (encode(np.zeros((2, 5000, 3), np.uint8)), "at least 16 pixels"),
    ],
    ids=["text", "empty", "truncated", "1x1", "thin"],
)
def test_a_bad_upload_leaves_the_picture(data, reason):
    picker = PhotoPicker("chelsea")
    explorer = Explorer(lambda image: image, photo=picker)
    before = picker.image
    upload(picker, data, "mine.png")
    assert picker.image is before and picker.dropdown.value == "chelsea"
    assert "mine.png" in picker.status.value and reason in picker.status.value
    # A learner's mistake is no failure of the notebook.
    assert "srlib-error" not in picker.status.value + explorer.error.value


def test_no_warning_leaves_the_picker():
    picker = PhotoPicker("chelsea")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upload(picker, encode(np.full((30, 40, 4), 99, np.uint8)))
