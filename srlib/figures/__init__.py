"""Static pictures of super-resolution: side by side, enlarged, as an error map, half and half.

Each function takes images (uint8, RGB, shape (H, W, 3)) and returns a Matplotlib figure in the
look of ``srlib/course.mplstyle``, whatever style is active. So does `plot_history`, which takes
trainings and lives in `srlib.figures.history`. `show` puts a figure into a notebook with a
description for those who cannot see it.
"""

import io
import math
import textwrap
from base64 import b64encode

import numpy as np
from IPython.display import display
from matplotlib import pyplot, style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from srlib.figures.history import plot_history
from srlib.image import rgb_to_y
from srlib.metrics import score

__all__ = ["compare", "error_map", "plot_history", "show", "wipe", "zoom_grid"]

WIDTH = 10.0  # inches: 1000 pixels, about the width of a notebook cell
JPEG_LIMIT = 100_000  # bytes; see `show`


def compare(
    images: dict[str, np.ndarray],
    *,
    reference: str | np.ndarray | None = None,
    scale: int | None = None,
) -> Figure:
    """Show images side by side, all at the same size, with their scores.

    A smaller image (the LR one) is enlarged without smoothing: its pixels show as squares. A
    larger one than its place is shrunk with smoothing, so for details use `zoom_grid`.

    Parameters
    ----------
    images : dict of str to ndarray
        Titles and images, uint8, shape (H, W, 3). From five on they fill two or more rows.
    reference : str or ndarray, optional
        The true HR image, or its title in `images`.
    scale : int, optional
        Together with `reference`: images of the reference's shape get a second line
        "28.42 dB / 0.810", their PSNR and SSIM by `srlib.metrics.score`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no image, one is not uint8 (H, W, 3), `reference` is not a title in
        `images`, or `scale` comes without `reference`.
    """
    reference = _check_images(images, reference, scale)
    rows = math.ceil(len(images) / 4)
    columns = math.ceil(len(images) / rows)
    cell = WIDTH / columns  # inches
    titles = _titles(images, reference, scale, cell)
    tallest = max(image.shape[0] / image.shape[1] for image in images.values())
    with style.context("srlib.course", after_reset=True):
        figure = Figure(figsize=(WIDTH, rows * _cell_height(cell, tallest, titles)))
        grid = _grid(figure, rows, columns)
        for axes, title, image in zip(grid, titles, images.values(), strict=False):
            axes.imshow(image, interpolation=_interpolation(image, cell * figure.dpi))
            axes.set_title(title)
    return figure


def zoom_grid(
    images: dict[str, np.ndarray],
    box: tuple[int, int, int, int],
    *,
    reference: str | np.ndarray | None = None,
    scale: int | None = None,
) -> Figure:
    """Show a picture with a box in it, and what is in the box in each image, enlarged.

    Nothing is smoothed in the enlargements: every pixel is a square.

    Parameters
    ----------
    images : dict of str to ndarray
        Titles and images, uint8, shape (H, W, 3). An LR image may be smaller by a whole factor;
        the box is scaled for it.
    box : tuple of int
        Top, left, height, width, in pixels of the HR image.
    reference : str or ndarray, optional
        The true HR image, or its title in `images`. It is the whole picture on the left;
        without it, the largest of `images` is (of equally large ones the first).
    scale : int, optional
        Together with `reference`: scores in the titles, of the whole images, as in `compare`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        As `compare`; also if the box is empty or leaves the picture, or an image is not smaller
        than the picture by a whole factor.
    """
    reference = _check_images(images, reference, scale)
    whole = max(images.values(), key=lambda i: i.size) if reference is None else reference
    height, width = whole.shape[:2]
    top, left, box_height, box_width = box
    if min(box_height, box_width) < 1 or min(top, left) < 0:
        raise ValueError(f"box must be (top, left, height, width) with a content, got {box!r}")
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
    whole_width = WIDTH * (0.4 if columns <= 2 else 0.3)
    cell = (WIDTH - whole_width) / columns
    titles = _titles(images, reference, scale, cell)
    figure_height = max(
        rows * _cell_height(cell, box_height / box_width, titles),
        _cell_height(whole_width, height / width, titles[:columns]),
    )
    with style.context("srlib.course", after_reset=True):
        figure = Figure(figsize=(WIDTH, figure_height))
        parts = figure.subfigures(1, 2, width_ratios=(whole_width, WIDTH - whole_width))
        (axes,) = _grid(parts[0], 1, 1)
        axes.imshow(whole, interpolation=_interpolation(whole, whole_width * figure.dpi))
        axes.set_title("the whole picture")
        corner = (left - 0.5, top - 0.5)
        for colour, points in (("black", 5), ("white", 2)):  # can be seen on any photograph
            outline = Rectangle(corner, box_width, box_height, fill=False, ec=colour, lw=points)
            axes.add_patch(outline)
        grid = _grid(parts[1], rows, columns)
        for axes, title, image in zip(grid, titles, images.values(), strict=False):
            # All images share the HR image's coordinates; the limits cut the box out.
            axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
            axes.set_xlim(left, left + box_width)
            axes.set_ylim(top + box_height, top)
            axes.set_title(title)
    return figure


def error_map(sr: np.ndarray, hr: np.ndarray, *, max_error: float = 64) -> Figure:
    """Show where an image differs from the true one: dark is right, bright is wrong.

    The luma is the one that scores are computed on, `srlib.image.rgb_to_y`; nothing is cut off
    at the border.

    Parameters
    ----------
    sr, hr : ndarray
        The image and the true one, uint8, shape (H, W, 3).
    max_error : float
        The error that gets the brightest colour, in grey levels of 255. Keep it the same for
        all maps that are to be compared.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the shapes differ or `max_error` is not a finite number > 0.
    """
    _check_images({"sr": sr, "hr": hr}, None, None)
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must have the same shape, got {sr.shape} and {hr.shape}")
    if not (math.isfinite(max_error) and max_error > 0):
        raise ValueError(f"max_error must be a finite number > 0, got {max_error!r}")
    error = np.abs(rgb_to_y(sr) - rgb_to_y(hr))  # (H, W)
    with style.context("srlib.course", after_reset=True):
        figure = Figure(figsize=(8, max(3, min(6.6 * sr.shape[0] / sr.shape[1] + 0.4, 8))))
        (axes,) = _grid(figure, 1, 1)
        axes.set_title(f"mean absolute error: {error.mean():.2f} of 255")
        picture = axes.imshow(
            error,
            cmap="magma",
            vmin=0,
            vmax=max_error,
            interpolation=_interpolation(error, 6.6 * figure.dpi),
        )
        figure.colorbar(
            picture,
            ax=axes,
            extend="max" if error.max() > max_error else "neither",
            label="error in luma (grey levels of 255)",
        )
    return figure


def wipe(before: np.ndarray, after: np.ndarray, position: float) -> np.ndarray:
    """Put two images into one: left of a line the first, right of it the second.

    Parameters
    ----------
    before, after : ndarray
        uint8, shape (H, W, 3), the same for both.
    position : float
        Where the line stands, as a fraction of the width: 0 shows all of `after`, 1 all of
        `before`, both without a line.

    Returns
    -------
    ndarray
        uint8, shape (H, W, 3). The line is three pixels wide, white between black.

    Raises
    ------
    ValueError
        If the shapes differ, or `position` is not in 0..1.
    """
    _check_images({"before": before, "after": after}, None, None)
    if before.shape != after.shape:
        raise ValueError(
            f"before and after must have the same shape, got {before.shape} and {after.shape}"
        )
    if not 0 <= position <= 1:
        raise ValueError(f"position must be in 0..1, got {position!r}")
    width = before.shape[1]
    column = round(position * width)
    picture = np.concatenate([before[:, :column], after[:, column:]], axis=1)
    if 0 < column < width:
        picture[:, column - 1 : column + 2] = 0
        picture[:, column] = 255
    return picture


def show(figure: Figure, alt: str) -> None:
    """Display a figure in the notebook, with a text that says what is to be seen; close it.

    The text stands in the output's metadata, where ``IPython.display.Image`` puts it too, and is
    the output's plain form. nbconvert's "classic" template makes it the picture's ``alt``;
    JupyterLab 4 and the "lab" template ignore it.

    What is stored must be small, because a committed notebook weighs at most 1 MB. A figure
    that 256 colours can draw (the mean change is below half a grey level: line plots, error
    maps) becomes a PNG with a palette. Any other, as of photographs, becomes a JPEG with full
    colour resolution, of the best quality of 92, 88 and 84 that needs at most 100 000 bytes,
    else 84. So judge single pixels by the arrays, not by the stored picture.

    Parameters
    ----------
    figure : Figure
        Any Matplotlib figure.
    alt : str
        What the picture shows, in a sentence.

    Raises
    ------
    ValueError
        If `alt` is empty.
    """
    alt = alt.strip()
    if not alt:
        raise ValueError(f"alt must say what the figure shows, got {alt!r}")
    mime, data = _encode(figure)
    display(
        {mime: b64encode(data).decode(), "text/plain": alt}, metadata={mime: {"alt": alt}}, raw=True
    )
    pyplot.close(figure)


def _encode(figure: Figure) -> tuple[str, bytes]:
    """MIME type and bytes; the same for the same figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    palette = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    change = np.abs(np.asarray(palette.convert("RGB"), dtype=float) - np.asarray(picture))
    buffer = io.BytesIO()
    if change.mean() < 0.5:
        palette.save(buffer, format="PNG", optimize=True)
        return "image/png", buffer.getvalue()
    for quality in (92, 88, 84):
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=quality, subsampling=0, optimize=True)
        if buffer.tell() <= JPEG_LIMIT:
            break
    return "image/jpeg", buffer.getvalue()


def _check_images(images, reference, scale) -> np.ndarray | None:
    """Return the reference as an image."""
    if not images:
        raise ValueError(f"images must hold at least one image, got {images!r}")
    if isinstance(reference, str):
        if reference not in images:
            raise ValueError(f"reference must be one of {list(images)}, got {reference!r}")
        reference = images[reference]
    if scale is not None and reference is None:
        raise ValueError(f"a score needs a reference beside the scale, got scale {scale!r} only")
    named = list(images.items()) + ([] if reference is None else [("reference", reference)])
    for name, image in named:
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"{name!r} must be uint8 of shape (H, W, 3), got {image.dtype} {image.shape}"
            )
    return reference


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
    """Inches that a picture (height over width: `aspect`) needs with its title."""
    lines = 1 + max(title.count("\n") for title in titles)
    return width * min(aspect, 2.0) + 0.2 * lines + 0.2


def _grid(figure, rows: int, columns: int) -> list:
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid:
        axes.set_axis_off()
        axes.set_anchor("N")
    return grid


def _interpolation(image: np.ndarray, pixels: float) -> str:
    # Dropping pixels would show aliasing that is not in the image.
    return "antialiased" if image.shape[1] > pixels else "nearest"
