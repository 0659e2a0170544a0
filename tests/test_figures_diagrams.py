import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox

from srlib.figures.diagrams import draw_chain

FEATURES = "(N, 64, H, W)"
RESIDUAL = [
    ("x", "tensor", FEATURES),
    ("conv 3x3", "conv", FEATURES),
    ("ReLU", "activation", FEATURES),
    ("conv 3x3", "conv", FEATURES),
    ("", "add", FEATURES),
]
SRRESNET = [
    ("LR image", "tensor", "(N, 3, H, W)"),
    ("head: conv 3x3", "conv", FEATURES),
    ("16 residual blocks", "conv", FEATURES),
    ("body: conv 3x3", "conv", FEATURES),
    ("", "add", FEATURES),
    ("deconv x2", "enlarge", "(N, 64, 2H, 2W)"),
    ("ReLU", "activation", ""),
    ("deconv x2", "enlarge", "(N, 64, 4H, 4W)"),
    ("ReLU", "activation", ""),
    ("tail: conv 3x3", "conv", "(N, 3, 4H, 4W)"),
    ("", "add", "(N, 3, 4H, 4W)"),
    ("sigmoid", "activation", ""),
    ("SR image", "tensor", "(N, 3, 4H, 4W)"),
]


def boxes_of_texts(figure: Figure) -> dict:
    """Text objects and where they are, in inches from the top left corner, y upwards."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    inverse = axes.transData.inverted()
    return {text: text.get_window_extent(renderer).transformed(inverse) for text in axes.texts}


def assert_legible(figure: Figure):
    """No text leaves the figure, covers another one, is crossed by a line or leaves its box."""
    boxes = boxes_of_texts(figure)
    (axes,) = figure.axes
    width, height = figure.get_size_inches()
    assert width <= 10
    assert all(text.get_fontsize() >= 11 for text in boxes)
    lines = [
        Bbox.from_extents(*np.min(piece, axis=0), *np.max(piece, axis=0))
        for patch in axes.patches
        if isinstance(patch, FancyArrowPatch)
        for polyline in patch.get_path().to_polygons(closed_only=False)
        for piece in zip(polyline, polyline[1:], strict=False)
    ]
    shapes = [p.get_path().transformed(p.get_patch_transform()) for p in axes.patches]
    shapes = [
        path.get_extents()
        for path, patch in zip(shapes, axes.patches, strict=True)
        if isinstance(patch, FancyBboxPatch)
    ]
    seen = []
    for text, box in boxes.items():
        words = text.get_text()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= -height and box.y1 <= 0, words
        assert not any(box.overlaps(other) for other in seen), words
        seen.append(box)
        if words != "+":
            assert not any(line.overlaps(box) for line in lines), words
        for shape in shapes:
            assert not shape.overlaps(box) or Bbox.intersection(shape, box).bounds == box.bounds


@pytest.mark.parametrize(
    "steps, skips",
    [
        (RESIDUAL, [(0, 4, "block skip: x as it came")]),
        (SRRESNET, [(1, 4, "feature skip"), (0, 10, "image skip: logit of the bicubic image")]),
        (SRRESNET + [("a file", "tensor", "")], [(8, 10, "short"), (6, 10, "around the corner")]),
    ],
)
def test_every_label_is_drawn_and_legible(steps, skips):
    figure = draw_chain(steps, skips=skips, title="The title of the diagram")
    drawn = [" ".join(text.get_text().split()) for text in figure.axes[0].texts]
    expected = ["The title of the diagram", *(label for _, _, label in skips)]
    expected += [text for label, _, shape in steps for text in (label, shape) if text]
    expected += ["+" for _, kind, _ in steps if kind == "add"]
    assert sorted(drawn) == sorted(expected)
    assert_legible(figure)


@st.composite
def chains(draw):
    count = draw(st.integers(3, 14))
    skips = []
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, count - 3))
        stop = draw(st.integers(start + 2, count - 1))
        # Skips that cross each other would cross each other's labels.
        if all(stop < a or b < start or a < start < stop < b or start < a < b < stop
               for a, b, _ in skips):  # fmt: skip
            label = draw(st.sampled_from(["skip", "the features at low resolution", "x"]))
            skips.append((start, stop, label))
    adds = {stop for _, stop, _ in skips}
    labels = st.sampled_from(["ReLU", "conv 3x3", "16 residual blocks", "deconvolution x2"])
    shapes = st.sampled_from(["", FEATURES, "(N, 256, 4H, 4W)", "(N, 64, H/2, W/2)"])
    kinds = st.sampled_from(["tensor", "conv", "activation", "enlarge", "pool"])
    steps = [
        (draw(labels), "add" if index in adds else draw(kinds), draw(shapes))
        for index in range(count)
    ]
    return steps, skips


@settings(max_examples=20)
@given(chains())
def test_nothing_overlaps_in_any_chain(chain):
    steps, skips = chain
    assert_legible(draw_chain(steps, skips=skips, title="Any chain"))


def test_an_add_is_a_circle_and_the_rest_are_boxes_in_the_colour_of_their_kind():
    (axes,) = draw_chain(RESIDUAL, skips=[(0, 4, "skip")]).axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    circles = [p for p in axes.patches if isinstance(p, Circle) and p.radius > 0.1]
    assert len(boxes) == 4 and len(circles) == 1
    colours = [patch.get_facecolor() for patch in boxes]
    assert colours[1] == colours[3] and len(set(colours)) == 3
    centres = [box.get_x() + box.get_width() / 2 for box in boxes]
    assert centres == sorted(centres) and circles[0].center[0] > centres[-1]


def test_a_skip_leads_from_behind_its_step_to_its_add():
    (axes,) = draw_chain(RESIDUAL, skips=[(1, 4, "skip")]).axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    (circle,) = (p for p in axes.patches if isinstance(p, Circle) and p.radius > 0.1)
    colour = next(p for p in axes.patches if isinstance(p, Circle) and p.radius < 0.1)
    arrows = [p for p in axes.patches if isinstance(p, FancyArrowPatch)]
    (skip,) = (p for p in arrows if p.get_edgecolor() == colour.get_edgecolor())
    extents = skip.get_path().get_extents()
    behind = boxes[1].get_x() + boxes[1].get_width()
    assert behind < extents.x0 < boxes[2].get_x()
    assert extents.x1 == pytest.approx(circle.center[0], abs=0.1)
    assert len(arrows) == len(RESIDUAL)  # one between two steps each, and the skip


def test_many_steps_continue_in_the_next_row():
    for count in (7, 8, 14):
        (axes,) = draw_chain([("conv", "conv", "")] * count).axes
        boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
        rows = {round(box.get_y(), 3) for box in boxes}
        assert len(boxes) == count and len(rows) == (1 if count == 7 else 2)


def test_the_look_does_not_depend_on_the_active_style():
    before = boxes_of_texts(draw_chain(RESIDUAL)).values()
    with style.context({"font.size": 30, "font.family": "monospace"}):
        after = boxes_of_texts(draw_chain(RESIDUAL)).values()
    assert [box.bounds for box in before] == [pytest.approx(box.bounds) for box in after]


@pytest.mark.parametrize(
    "steps, skips, message",
    [
        ([], [], "at least one step, got none"),
        ([("x", "convolution", "")], [], "kind of 'x' must be one of tensor.*got 'convolution'"),
        (RESIDUAL, [(0, 5, "a")], "'a': an index must be in 0..4, got 5"),
        (RESIDUAL, [(-1, 4, "a")], "'a': an index must be in 0..4, got -1"),
        (RESIDUAL, [(3, 4, "a")], "'a' must lead over at least one step, got 3 to 4"),
        (RESIDUAL, [(0, 3, "a")], "'a' must end at an 'add', got 'conv'"),
        ([("a" * 40, "conv", "")], [], "a word must fit into a box, got 'aaaa"),
    ],
)
def test_bad_arguments_are_named(steps, skips, message):
    with pytest.raises(ValueError, match=message):
        draw_chain(steps, skips=skips)
