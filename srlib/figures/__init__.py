"""Pictures of super-resolution: side by side, enlarged, as an error map, half and half.

The functions take images, uint8 RGB of shape (H, W, 3), and return Matplotlib figures in the style
``srlib/course.mplstyle``, whatever style is active. `show` puts a figure into a notebook with a
description for those who cannot see it. `plot_history` draws trainings, not images.
"""

import math
import textwrap
from base64 import b64encode

import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from srlib.figures.history import plot_history
from srlib.figures.raster import encode_for_file, rasterize
from srlib.image import check_image, rgb_to_y
from srlib.metrics import score

__all__ = ["compare", "error_map", "plot_history", "show", "wipe", "zoom_grid"]

_places: set[str] = set()  # where a picture is, by its place and the run of the cell

_WIDTH = 10.0  # inches: 1000 pixels, about the width of a notebook cell


@style.context("srlib.course", after_reset=True)
def compare(
    images: dict[str, np.ndarray],
    *,
    reference: str | np.ndarray | None = None,
    scale: int | None = None,
) -> Figure:
    """Show images side by side, all at the same size, with their scores.

    An image smaller than its place, such as the LR one, is enlarged without smoothing: its pixels
    show as squares. A larger one is shrunk with smoothing; use `zoom_grid` for details.

    Parameters
    ----------
    images : dict of str to ndarray
        Titles and images, uint8, shape (H, W, 3). More than four fill several rows.
    reference : str or ndarray, optional
        The true HR image, or its title in `images`.
    scale : int, optional
        With it, images of the reference's shape get a second line such as "28.42 dB / 0.810",
        their PSNR and SSIM by `srlib.metrics.score`.
    """
    reference = _check_images(images, reference, scale)
    rows = math.ceil(len(images) / 4)
    columns = math.ceil(len(images) / rows)
    cell = _WIDTH / columns  # inches
    titles = _titles(images, reference, scale, cell)
    tallest = max(image.shape[0] / image.shape[1] for image in images.values())
    figure = Figure(figsize=(_WIDTH, rows * _cell_height(cell, tallest, titles)))
    grid = _grid(figure, rows, columns)
    for axes, title, image in zip(grid, titles, images.values(), strict=False):
        axes.imshow(image, interpolation=_interpolation(image, cell * figure.dpi))
        axes.set_title(title)
    return figure


@style.context("srlib.course", after_reset=True)
def zoom_grid(
    images: dict[str, np.ndarray],
    box: tuple[int, int, int, int],
    *,
    reference: str | np.ndarray | None = None,
    scale: int | None = None,
) -> Figure:
    """Show a picture with a box in it, and the content of the box in each image, enlarged.

    The enlargements are not smoothed: every pixel is a square.

    Parameters
    ----------
    images : dict of str to ndarray
        Titles and images, uint8, shape (H, W, 3). They may be smaller than the HR image by a whole
        factor; the box is scaled accordingly.
    box : tuple of int
        Top, left, height, width, in pixels of the HR image.
    reference : str or ndarray, optional
        The true HR image, or its title in `images`. The whole picture on the left shows it;
        without it, the first of the largest images.
    scale : int, optional
        Together with `reference`: scores in the titles, of the whole images, as in `compare`.
    """
    reference = _check_images(images, reference, scale)
    whole = max(images.values(), key=lambda i: i.size) if reference is None else reference
    height, width = whole.shape[:2]
    top, left, box_height, box_width = box
    if min(box_height, box_width) < 1 or min(top, left) < 0:
        raise ValueError(f"box must be (top, left, height, width), not empty, got {box!r}")
    if top + box_height > height or left + box_width > width:
        raise ValueError(f"box must lie within the {height}x{width} picture, got {box!r}")
    for name, image in images.items():
        factor = height // image.shape[0]
        if (image.shape[0] * factor, image.shape[1] * factor) != (height, width):
            raise ValueError(
                f"{name!r} must be {height}x{width}, or smaller by a whole factor, "
                f"got {image.shape[0]}x{image.shape[1]}"
            )

    rows = 1 if len(images) <= 3 else max(2, math.ceil(len(images) / 4))
    columns = math.ceil(len(images) / rows)
    whole_width = _WIDTH * (0.4 if columns <= 2 else 0.3)
    cell = (_WIDTH - whole_width) / columns
    titles = _titles(images, reference, scale, cell)
    figure_height = max(
        rows * _cell_height(cell, box_height / box_width, titles),
        _cell_height(whole_width, height / width, titles[:columns]),
    )
    figure = Figure(figsize=(_WIDTH, figure_height))
    parts = figure.subfigures(1, 2, width_ratios=(whole_width, _WIDTH - whole_width))
    (axes,) = _grid(parts[0], 1, 1)
    axes.imshow(whole, interpolation=_interpolation(whole, whole_width * figure.dpi))
    axes.set_title("the whole picture")
    corner = (left - 0.5, top - 0.5)
    for colour, points in (("black", 5), ("white", 2)):  # visible on any photograph
        outline = Rectangle(corner, box_width, box_height, fill=False, ec=colour, lw=points)
        axes.add_patch(outline)
    grid = _grid(parts[1], rows, columns)
    for axes, title, image in zip(grid, titles, images.values(), strict=False):
        # All images are placed in the HR image's coordinates; the limits cut the box out.
        axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
        axes.set_xlim(left, left + box_width)
        axes.set_ylim(top + box_height, top)
        axes.set_title(title)
    return figure


@style.context("srlib.course", after_reset=True)
def error_map(sr: np.ndarray, hr: np.ndarray, *, max_error: float = 64) -> Figure:
    """Show where an image differs from the true one: dark is right, bright is wrong.

    The error is that of the luma, `srlib.image.rgb_to_y`, as in scores; no border is cut off.
    `sr` and `hr` are uint8 of one shape, (H, W, 3). `max_error` is the error with the brightest
    colour, in grey levels of 255; keep it the same for maps that are compared.
    """
    _check_pair(sr=sr, hr=hr)
    if not (math.isfinite(max_error) and max_error > 0):
        raise ValueError(f"max_error must be a finite number > 0, got {max_error!r}")
    error = np.abs(rgb_to_y(sr) - rgb_to_y(hr))  # (H, W)
    width = 6.6  # inches
    figure = Figure(figsize=(8, max(3, min(width * sr.shape[0] / sr.shape[1] + 0.4, 8))))
    (axes,) = _grid(figure, 1, 1)
    axes.set_title(f"mean absolute error: {error.mean():.2f} of 255")
    smoothing = _interpolation(error, width * figure.dpi)
    picture = axes.imshow(error, cmap="magma", vmin=0, vmax=max_error, interpolation=smoothing)
    figure.colorbar(
        picture,
        ax=axes,
        extend="max" if error.max() > max_error else "neither",
        label="error in luma (grey levels of 255)",
    )
    return figure


def wipe(before: np.ndarray, after: np.ndarray, position: float) -> np.ndarray:
    """Put two images into one: `before` to the left of a line, `after` to the right of it.

    All are uint8 of one shape, (H, W, 3). `position` is the place of the line as a fraction of the
    width: 0 shows all of `after`, 1 all of `before`, both without a line.
    """
    _check_pair(before=before, after=after)
    if not 0 <= position <= 1:
        raise ValueError(f"position must be in 0..1, got {position!r}")
    width = before.shape[1]
    column = round(position * width)
    picture = np.concatenate([before[:, :column], after[:, column:]], axis=1)
    if 0 < column < width:
        picture[:, column - 1 : column + 2] = 0
        picture[:, column] = 255
    return picture


def show(figure: Figure, alt: str, *, place: str | None = None) -> None:
    """Display a figure in the notebook with `alt`, a sentence that says what it shows; close it.

    With a `place`, a name, it takes the place of the picture that the same run of the cell showed
    there before: one can watch a training.

    The sentence is the output's plain text, and stands in its metadata, as in IPython's `Image`.
    nbconvert's "classic" template makes it the picture's ``alt``; JupyterLab 4 and the "lab"
    template ignore it.

    The picture must be small, because a committed notebook weighs at most 1 MB: it is stored as a
    PNG if 256 colours suffice, otherwise as a JPEG of about 100 kB at most. So examine single
    pixels in the arrays, not in the picture.
    """
    alt = alt.strip()
    if not alt:
        raise ValueError(f"alt must say what the figure shows, got {alt!r}")
    kind, data = encode_for_file(rasterize(figure))
    mime = f"image/{kind}"
    live = {}
    if place is not None:
        name = f"{place} {getattr(get_ipython(), 'execution_count', 0)}"
        live = {"display_id": name, "update": name in _places}
        _places.add(name)
    display(
        {mime: b64encode(data).decode(), "text/plain": alt},
        metadata={mime: {"alt": alt}},
        raw=True,
        **live,
    )


def _check_images(images, reference, scale) -> np.ndarray | None:
    """Return the reference as an image."""
    if not images:
        raise ValueError(f"images must hold at least one image, got {images!r}")
    if isinstance(reference, str):
        if reference not in images:
            raise ValueError(f"reference must be one of {list(images)}, got {reference!r}")
        reference = images[reference]
    if scale is not None and reference is None:
        raise ValueError(f"scale needs a reference to score against, got scale {scale!r} only")
    for name, image in images.items():
        check_image(image, repr(name))
    if reference is not None:
        check_image(reference, "reference")
    return reference


def _check_pair(**images):
    for name, image in images.items():
        check_image(image, name)
    one, other = (image.shape for image in images.values())
    if one != other:
        raise ValueError(f"{' and '.join(images)} must have the same shape, got {one} and {other}")


def _titles(images, reference, scale, inches: float) -> list[str]:
    """Name and scores, for a place of the given width."""
    titles = []
    for name, image in images.items():
        title = textwrap.fill(name, max(8, int(inches * 10)))  # ten letters an inch
        if scale is not None and image is not reference and image.shape == reference.shape:
            psnr, ssim = score(image, reference, scale)
            title += f"\n{psnr:.2f} dB / {ssim:.3f}"
        titles.append(title)
    return titles


def _cell_height(width: float, aspect: float, titles: list[str]) -> float:
    """Inches for a picture, whose height over width is `aspect`, and its title."""
    lines = 1 + max(title.count("\n") for title in titles)
    return width * min(aspect, 2.0) + 0.2 * lines + 0.2


def _grid(figure, rows: int, columns: int) -> list:
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid:
        axes.set_axis_off()
        axes.set_anchor("N")
    return grid


def _interpolation(image: np.ndarray, pixels: float) -> str:
    # Leaving out pixels would show aliasing that is not in the image.
    return "antialiased" if image.shape[1] > pixels else "nearest"
