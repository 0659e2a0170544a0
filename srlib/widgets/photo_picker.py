"""Choose a bundled photograph, or load one of your own."""

import html
import io
import warnings

import ipywidgets
import numpy as np
import traitlets

from srlib.assets import sample_image, sample_names
from srlib.image import read_image
from srlib.resample import imresize

__all__ = ["PhotoPicker"]

_MIN_SIDE = 16  # pixels: smaller pictures show nothing
_LEAST_MAX_SIDE = 40  # "text", the longest of the bundled photographs, is then 40 x 16


class PhotoPicker(ipywidgets.VBox):
    """Choose a bundled photograph, or load one of your own.

    An uploaded file may be any image that `srlib.image.read_image` takes. If it cannot be read,
    a line below says why, and the picture stays.

    The limit of 10 MB is Jupyter's: the server closes the connection if a message has more than
    10 MiB. JupyterLab reconnects silently, but the button is dead until its cell runs again.
    ``--ServerApp.tornado_settings='{"websocket_max_message_size": 100000000}'`` raises the limit.

    Parameters
    ----------
    default : str
        Name of the photograph that is shown first.
    names : sequence of str, optional
        The photographs to choose from; by default all of `srlib.assets.sample_names()`.
    max_side : int
        In pixels, at least 40. Larger pictures are shrunk to it (bicubic, antialiased), and a line
        below says so.

    Attributes
    ----------
    image : ndarray
        The current picture, uint8, shape (H, W, 3), both sides in 16..`max_side`. Observe it
        with ``picker.observe(function, "image")``.
    """

    image = traitlets.Instance(np.ndarray)

    def __init__(self, default="chelsea", *, names=None, max_side=512):
        names = tuple(sample_names() if names is None else names)
        if default not in names:
            raise ValueError(f"default must be one of {', '.join(names)}, got {default!r}")
        if max_side < _LEAST_MAX_SIDE:
            raise ValueError(f"max_side must be at least {_LEAST_MAX_SIDE}, got {max_side!r}")
        self._max_side = max_side
        self.dropdown = ipywidgets.Dropdown(
            options=names,
            value=default,
            description="photo",
            style={"description_width": "auto"},
            layout={"width": "190px"},
        )
        self.upload = ipywidgets.FileUpload(
            accept="image/*",
            description="your own, up to 10 MB",
            tooltip="Load a photograph from this computer",
            layout={"width": "auto"},
        )
        self.status = ipywidgets.HTML()
        row = ipywidgets.HBox([self.dropdown, self.upload], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.status])
        self._choose(default)
        self.dropdown.observe(lambda change: self._choose(change.new), "value")
        self.upload.observe(self._load, "value")

    def _choose(self, name):
        if name is not None:  # None: an uploaded one is shown
            self._take(name, sample_image(name))

    def _load(self, change):
        if not change.new:
            return
        # Emptied, so that the same file can be loaded again, and the notebook does not keep it.
        if isinstance(change.new, dict):  # ipywidgets 7, which Colab has
            ((name, file),) = change.new.items()
            self.upload.data, self.upload.metadata = [], []
        else:
            (file,), name = change.new, change.new[0]["name"]
        self.upload.set_trait("value", type(change.new)())
        source = io.BytesIO(file["content"])
        source.name = name
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                image = read_image(source, srgb=True)
            self._take(name, image, *(str(warning.message) for warning in caught))
        except ValueError as error:
            self._say(str(error))
        else:
            self.dropdown.value = None

    def _take(self, name, image, *remarks):
        height, width = image.shape[:2]
        size = f"{name}: {width} x {height}"
        if max(height, width) > self._max_side:
            image = imresize(image, self._max_side / max(height, width))
            size += f" shrunk to {image.shape[1]} x {image.shape[0]}"
        if min(image.shape[:2]) < _MIN_SIDE:
            raise ValueError(f"{name}: must have at least {_MIN_SIDE} pixels a side, got {size}")
        self._say(size, *remarks)
        self.image = image

    def _say(self, *lines):
        self.status.value = "<br>".join(html.escape(line) for line in lines)
