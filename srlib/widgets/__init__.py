"""Widgets for notebooks: pictures that follow sliders, a photo picker, live plots, a blind vote.

`Explorer` takes a plain function from values to a picture, which can be tested without a browser
(`Explorer.sweep`).
"""

import html
import math
import time
import traceback
from collections.abc import Callable, Mapping

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from srlib.figures.raster import encode_for_screen, rasterize
from srlib.image import check_image
from srlib.widgets.live import LivePlot
from srlib.widgets.photo_picker import PhotoPicker
from srlib.widgets.vote import BlindVote, verdict

__all__ = ["BlindVote", "Explorer", "LivePlot", "PhotoPicker", "verdict"]

_FIRST_PICTURE_LIMIT = 110_000  # bytes; 147 kB in the notebook file
_MIN_WIDTH = 420  # pixels, for a slider with its description and readout


class Explorer(ipywidgets.VBox):
    """A picture that follows its controls.

    Pictures are sent as lossless WebP, so that the encoder leaves no traces in them. Only the first
    one, which is stored in the notebook file, becomes a JPEG of quality 70 or better if it needs
    more than 110 000 bytes.

    Parameters
    ----------
    render : callable
        ``render(image, **values)``, or ``render(**values)`` without `photo`. Gets a copy of the
        photograph, and the controls' values by name. Returns the picture, or picture and
        caption (str). A picture is uint8 of shape (H, W, 3), or a Matplotlib figure. A figure takes
        about 60 ms to draw; less if it is made once and only what moves in it is drawn again, see
        `srlib.figures.raster.rasterize`. All pictures of a photograph must have one size.
    photo : PhotoPicker, optional
        Where the image comes from. It is shown above the controls; explorers can share one.
    live : bool
        Whether the picture follows a slider while it is dragged. Choose False if `render`
        needs more than 100 ms.
    **controls : ipywidgets widgets
        Sliders, dropdowns, toggle buttons, checkboxes; without a description they get their name.
        State the unit in the description.

    Attributes
    ----------
    controls : dict of str to widget
    picture : ipywidgets.Image
    caption, error : ipywidgets.HTML
        `error` is empty, or says in red what went wrong in `render` (the element has the class
        ``srlib-error``), and the last good picture stays. An error in the first picture is raised.
    """

    def __init__(self, render: Callable, *, photo=None, live=True, **controls):
        for name, control in controls.items():
            if not isinstance(control, ipywidgets.ValueWidget):
                raise TypeError(f"control {name!r} must be a widget with a value, got {control!r}")
            if control.has_trait("options") and None in _range(control):
                # To ipywidgets None means that nothing is chosen.
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
        self._fitted_to = None  # the photograph whose size the layout has
        picture, caption = self._draw(self._defaults)
        self._fit(picture, caption)
        self._show(picture, caption, limit=_FIRST_PICTURE_LIMIT)
        for control in controls.values():
            control.observe(self._refresh, "value")
        if photo is not None:
            photo.observe(self._refresh, "image")

    def sweep(self) -> list[float]:
        """Draw the picture for every control's extremes; return the seconds for each.

        Each control takes its minimum, default and maximum (a selection all its options) while
        the others keep their defaults; then all take their minimum, then all their maximum. What
        is displayed does not change.

        Raises
        ------
        ValueError
            If two pictures have different sizes, which would make the notebook jump.
        TypeError
            If the extremes of a control are not known.
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
                encode_for_screen(picture)
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
        # A copy, because the function may change its input.
        arguments = [] if self._photo is None else [self._photo.image.copy()]
        result = self._render(*arguments, **values)
        picture, caption = result if isinstance(result, tuple) else (result, "")
        if isinstance(picture, Figure):
            picture = rasterize(picture)
        check_image(picture, "the picture")
        return picture, caption

    def _refresh(self, change):
        # No old positions queue up: the browser waits for the kernel's answer to a change, and then
        # sends only the newest.
        try:
            picture, caption = self._draw(self._values())
            if self._photo is not None and self._photo.image is not self._fitted_to:
                self._fit(picture, caption)
            self._show(picture, caption)
        except Exception as error:
            self.error.value = _error_html(error)

    def _fit(self, picture, caption):
        """Reserve the picture's space, so that nothing moves when another one is shown."""
        height, width = picture.shape[:2]
        box_width = max(width, _MIN_WIDTH)
        self.layout.width, self.layout.max_width = f"{box_width + 8}px", "100%"
        layout = self.picture.layout
        layout.width, layout.height = f"{width}px", f"{height}px"
        layout.max_width, layout.object_fit, layout.object_position = "100%", "contain", "0 0"
        letters = box_width / 7  # about, in a line
        lines = sum(max(1, math.ceil(len(line) / letters)) for line in caption.splitlines())
        self.caption.layout.min_height = f"{lines * 22}px"
        self._fitted_to = self._photo and self._photo.image

    def _show(self, picture, caption, *, limit=None):
        kind, data = encode_for_screen(picture, limit)
        with self.picture.hold_sync():  # one message for both
            self.picture.format, self.picture.value = kind, data
        self.caption.value = html.escape(caption).replace("\n", "<br>")
        self.error.value = ""


def _error_html(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = (
        f"{type(error).__name__}: {error}\n"
        f"in {where.name}, line {where.lineno}: {where.line}\n"
        "The picture is the last good one."
    )
    style = "color: #b00020; white-space: pre-wrap; line-height: 1.4"
    return f'<div class="srlib-error" role="alert" style="{style}">{html.escape(text)}</div>'


def _range(control) -> tuple:
    """Return the values of a control to try, from the smallest to the largest."""
    if isinstance(control, ipywidgets.FloatLogSlider):
        return control.base**control.min, control.base**control.max
    if control.has_trait("options"):
        options = control.options
        options = list(options.items() if isinstance(options, Mapping) else options)
        pairs = all(isinstance(option, (tuple, list)) and len(option) == 2 for option in options)
        return tuple(option[1] if pairs else option for option in options)
    if isinstance(control.value, bool):
        return False, True
    if control.has_trait("min") and not isinstance(control.value, tuple):
        return control.min, control.max
    raise TypeError(f"the extremes of a control must be known, got {control!r}")
