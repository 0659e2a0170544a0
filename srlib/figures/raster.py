"""Matplotlib figures as RGB arrays, and RGB arrays as small PNG, JPEG or WebP files."""

import io

import numpy as np
from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["encode_for_file", "encode_for_screen", "encode_lines", "rasterize"]


def rasterize(figure: Figure) -> np.ndarray:
    """Draw a figure to an image, uint8 (H, W, 3), and close it.

    If parts of it are animated, as after ``axes.plot(..., animated=True)``, the rest is drawn the
    first time only, and must stay as it is. So a curve that follows a slider takes some
    milliseconds instead of 60.
    """
    if not hasattr(figure, "_srlib_still"):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # without what is animated
        pyplot.close(figure)
        moving = sorted(figure.findobj(Artist.get_animated), key=Artist.get_zorder)
        figure._srlib_still = canvas, canvas.copy_from_bbox(figure.bbox), moving
    canvas, still, moving = figure._srlib_still
    if not moving:
        del figure._srlib_still  # next time everything is drawn again
    canvas.restore_region(still)
    for artist in moving:
        artist.draw(canvas.get_renderer())
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def encode_for_file(picture: np.ndarray) -> tuple[str, bytes]:
    """Format and bytes of a picture in a notebook file, where it must be small.

    If 256 colours change the picture by less than half a grey level on average, as in line plots
    and error maps, it is a PNG with a palette. Otherwise it is a JPEG with full colour resolution,
    of the best quality of 92, 88 and 84 that needs at most 100 000 bytes, else 84.
    """
    image = Image.fromarray(picture)
    palette = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    change = np.abs(np.asarray(palette.convert("RGB"), dtype=float) - picture)
    if change.mean() < 0.5:
        return "png", _encode(palette, "PNG", optimize=True)
    return "jpeg", _encode_jpeg(image, 100_000, (92, 88, 84), optimize=True)


def encode_for_screen(picture: np.ndarray, limit: int | None = None) -> tuple[str, bytes]:
    """Format and bytes of a picture that a browser shows at once: lossless WebP.

    If that needs more than `limit` bytes, it is a JPEG with full colour resolution, of the best
    quality from 98 to 70 that fits, else 70.
    """
    image = Image.fromarray(picture)
    # A 640x400 photograph on one core: 16 ms, 404 kB; PNG at level 1: 23 ms, 499 kB;
    # JPEG at 95 (40 dB): 2 ms, 144 kB. With noise: 15 ms, 100 ms and 7 ms.
    data = _encode(image, "WEBP", lossless=True, quality=0, method=0)
    if limit is None or len(data) <= limit:
        return "webp", data
    return "jpeg", _encode_jpeg(image, limit, (98, 95, 92, 88, 84, 80, 70))


def encode_lines(picture: np.ndarray) -> bytes:
    """Encode a line plot fast: PNG with 64 colours."""
    colours = Image.fromarray(picture).quantize(64, method=Image.Quantize.FASTOCTREE)
    return _encode(colours, "PNG")


def _encode_jpeg(image, limit, qualities, **options) -> bytes:
    for quality in qualities:
        data = _encode(image, "JPEG", quality=quality, subsampling=0, **options)
        if len(data) <= limit:
            break
    return data


def _encode(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
