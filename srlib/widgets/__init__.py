"""Sliders: one function from values to a picture, and the controls that give it the values.

The function is plain and can be tested without a browser (`Explorer.sweep`); the picture
travels as encoded bytes, and an error in the function is shown where the picture is. `LivePlot`,
which follows a training without controls, lives in `srlib.widgets.live`, `PhotoPicker` in
`srlib.widgets.photo_picker`.
"""

import html
import io
import math
import time
import traceback
from collections.abc import Callable

import ipywidgets
import numpy as np
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from srlib.widgets.live import LivePlot
from srlib.widgets.photo_picker import PhotoPicker

__all__ = ["Explorer", "LivePlot", "PhotoPicker"]

FIRST_PICTURE_LIMIT = 110_000  # bytes; 147 kB in the notebook file
MIN_WIDTH = 420  # pixels: a slider with its description and readout needs that much


class Explorer(ipywidgets.VBox):
    """A picture that follows its controls.

    Pictures are sent lossless (WebP), so that what is seen is what the function made, never a
    trace of the encoder. The one exception is the first picture, because it is stored in the
    notebook file: if it needs more than 110 000 bytes it is a JPEG with full colour resolution,
    of the best quality that fits and of quality 70 at least.

    Parameters
    ----------
    render : callable
        ``render(image, **values)``, or ``render(**values)`` without `photo`. Gets a copy of the
        photograph and the controls' values by name. Returns the picture, or picture and
        caption (str). A picture is uint8 of shape (H, W, 3), or a Matplotlib figure (which
        takes about 60 ms to draw). For one photograph all pictures must have one size.
    photo : PhotoPicker, optional
        Where the image comes from. It stands above the controls; explorers can share one.
    live : bool
        Whether the picture follows a slider while it is dragged. Choose False if `render`
        needs more than 100 ms.
    **controls : ipywidgets widgets
        Sliders, dropdowns, toggle buttons, checkboxes. A control without a description gets its
        name; state the unit in the description.

    Attributes
    ----------
    controls : dict of str to widget
    picture : ipywidgets.Image
    caption, error : ipywidgets.HTML
        `error` is empty, or says in red what went wrong in `render` (the element has the class
        ``srlib-error``); the last good picture stays.

    Raises
    ------
    TypeError
        If a control is not a widget with a value, or the first picture is of another type.
    ValueError
        If None is among a control's options.
    Exception
        Whatever `render` raises for the first picture.
    """

    def __init__(self, render: Callable, *, photo=None, live=True, **controls):
        for name, control in controls.items():
            if not isinstance(control, ipywidgets.ValueWidget):
                raise TypeError(f"control {name!r} must be a widget with a value, got {control!r}")
            if control.has_trait("options") and None in _range(control):
                # ipywidgets takes it for "nothing chosen" and loses the choice.
                raise ValueError(f"control {name!r} must not offer None, got {control.options!r}")
        self.controls = controls
        self._render = render
        self._photo = photo
        self._defaults = self._values()
        # An Image has no alt text, and ipywidgets 8.1 fails to draw one that has a tooltip.
        self.picture = ipywidgets.Image()
        self.caption = ipywidgets.HTML()
        self.error = ipywidgets.HTML()
        self._lay_out_controls(live)
        above = [] if photo is None else [photo]
        super().__init__([*above, *controls.values(), self.picture, self.caption, self.error])
        self._fitted_to = None  # the photograph that the layout has the size for
        picture, caption = self._draw(self._defaults)
        self._fit(picture, caption)
        self._show(picture, caption, limit=FIRST_PICTURE_LIMIT)
        for control in controls.values():
            control.observe(self._refresh, "value")
        if photo is not None:
            photo.observe(self._refresh, "image")

    def sweep(self) -> list[float]:
        """Draw the picture for every control's extremes, and time it.

        Each control goes through its minimum, default and maximum (a selection through all
        its options) while the others have their defaults; then all have their minimum, then
        all their maximum. What is displayed does not change.

        Returns
        -------
        list of float
            Seconds for each picture, encoding included.

        Raises
        ------
        ValueError
            If two pictures have different sizes: the notebook would jump.
        TypeError
            If a control is of a kind whose extremes are not known.
        Exception
            Whatever `render` raises, with a note that holds the values.
        """
        ranges = {name: _range(control) for name, control in self.controls.items()}
        cases = [self._defaults]
        for name, values in ranges.items():
            cases += [{**self._defaults, name: value} for value in values]
        cases.append({name: values[0] for name, values in ranges.items()})
        cases.append({name: values[-1] for name, values in ranges.items()})
        seconds, first_shape = [], None
        for case in cases:
            start = time.perf_counter()
            try:
                picture, _ = self._draw(case)
                _encode(picture)
                first_shape = first_shape or picture.shape
                if picture.shape != first_shape:
                    raise ValueError(
                        f"all pictures must have one shape, got {first_shape} and {picture.shape}"
                    )
            except Exception as error:
                error.add_note(f"while drawing with {case!r}")
                raise
            seconds.append(time.perf_counter() - start)
        return seconds

    def _values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    def _lay_out_controls(self, live):
        longest = 0
        for name, control in self.controls.items():
            control.description = control.description or name.replace("_", " ")
            longest = max(longest, len(control.description))
            if control.has_trait("continuous_update"):
                control.continuous_update = live
        for control in self.controls.values():
            if hasattr(control.style, "description_width"):
                control.style.description_width = f"{longest * 0.5 + 1:.1f}em"
            if hasattr(control.style, "button_width"):
                control.style.button_width = "auto"  # as wide as its words
                control.layout.display = "flex"  # beside the description, not below
            control.layout.width = "auto"

    def _draw(self, values) -> tuple[np.ndarray, str]:
        # A copy, so that a function that changes its input does so for itself only.
        arguments = [] if self._photo is None else [self._photo.image.copy()]
        result = self._render(*arguments, **values)
        picture, caption = result if isinstance(result, tuple) else (result, "")
        if isinstance(picture, Figure):
            picture = _rasterise(picture)
        kind = getattr(picture, "dtype", type(picture).__name__)
        shape = getattr(picture, "shape", "")
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise TypeError(f"a picture must be uint8 of shape (H, W, 3), got {kind} {shape}")
        return picture, caption

    def _refresh(self, change):
        # No queue of old positions can build up: the browser holds a control's changes back
        # until the kernel has answered the last one, and then sends the newest only.
        try:
            picture, caption = self._draw(self._values())
            if self._photo is not None and self._photo.image is not self._fitted_to:
                self._fit(picture, caption)
            self._show(picture, caption)
        except Exception as error:
            self.error.value = _describe(error)

    def _fit(self, picture, caption):
        """Reserve the place, so that nothing moves when the picture is exchanged."""
        height, width = picture.shape[:2]
        box_width = max(width, MIN_WIDTH)
        self.layout.width, self.layout.max_width = f"{box_width + 8}px", "100%"
        layout = self.picture.layout
        layout.width, layout.height = f"{width}px", f"{height}px"
        layout.max_width, layout.object_fit, layout.object_position = "100%", "contain", "0 0"
        letters = box_width / 7  # in a line, about
        lines = sum(max(1, math.ceil(len(line) / letters)) for line in caption.splitlines())
        self.caption.layout.min_height = f"{lines * 22}px"
        self._fitted_to = self._photo and self._photo.image

    def _show(self, picture, caption, *, limit=None):
        kind, data = _encode(picture, limit)
        with self.picture.hold_sync():  # one message for both
            self.picture.format, self.picture.value = kind, data
        self.caption.value = html.escape(caption).replace("\n", "<br>")
        self.error.value = ""


def _rasterise(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pyplot.close(figure)
    return np.asarray(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))


def _encode(picture: np.ndarray, limit: int | None = None) -> tuple[str, bytes]:
    """Format and bytes: lossless, or at most about `limit` bytes."""
    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    # A 640x400 photograph on one core: 16 ms, 404 kB; PNG at level 1: 23 ms, 499 kB;
    # JPEG at 95 (40 dB): 2 ms, 144 kB. With noise: 15 ms, 100 ms and 7 ms.
    image.save(buffer, format="WEBP", lossless=True, quality=0, method=0)
    if limit is None or buffer.tell() <= limit:
        return "webp", buffer.getvalue()
    for quality in (98, 95, 92, 88, 84, 80, 70):
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality, subsampling=0)
        if buffer.tell() <= limit:
            break
    return "jpeg", buffer.getvalue()


def _describe(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = (
        f"{type(error).__name__}: {error}\n"
        f"in {where.name}, line {where.lineno}: {where.line}\n"
        "The picture is the last good one."
    )
    style = "color: #b00020; white-space: pre-wrap; line-height: 1.4"
    return f'<div class="srlib-error" role="alert" style="{style}">{html.escape(text)}</div>'


def _range(control) -> tuple:
    """Return a control's values to try, the smallest first and the largest last."""
    if isinstance(control, ipywidgets.FloatLogSlider):
        return control.base**control.min, control.base**control.max
    if control.has_trait("options"):
        return tuple(value for _, value in control._options_full)
    if isinstance(control.value, bool):
        return False, True
    if control.has_trait("min") and not isinstance(control.value, tuple):
        return control.min, control.max
    raise TypeError(f"sweep knows no extremes of this kind of control, got {control!r}")
