"""Point clouds as pictures, drawn fast enough to be turned by a slider."""

import numpy as np

__all__ = ["draw_cloud"]

_BACKGROUND = 22  # dark grey


def draw_cloud(
    points: np.ndarray,
    colours: np.ndarray,
    *,
    azimuth: float = 0,
    elevation: float = 0,
    point_size: int = 2,
    frame: np.ndarray | None = None,
    fade: float = 0.35,
    height: int = 420,
    width: int = 560,
) -> np.ndarray:
    """Paint a cloud as a camera sees it that circles it: uint8 (height, width, 3).

    Far points first, so that near ones cover them.

    Parameters
    ----------
    points : ndarray
        (n, 3): x to the right, y down, z away from the camera. With none the picture is empty.
    colours : ndarray
        (n, 3), in 0..255.
    azimuth, elevation : float
        Where the camera stands, in degrees: 0 and 0 is in front.
    point_size : int
        Side of the square that is drawn for a point, in pixels.
    frame : ndarray, optional
        (m, 3): the points that fill the picture; outliers may leave it. By default all.
    fade : float
        How much darker far points are; 0: not at all.
    """
    picture = np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)
    if not len(points):
        return picture
    frame = points if frame is None else frame
    a, e = np.radians(azimuth), np.radians(elevation)
    around = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    above = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    centre = (frame.min(0) + frame.max(0)) / 2
    radius = np.quantile(np.linalg.norm(frame - centre, axis=1), 0.85) or 1  # of one point
    turned = (points - centre) @ (above @ around).T / radius  # most lie within a ball of radius 1
    depth = turned[:, 2] + 3  # the camera stands 3 radii from the middle
    zoom = 1.3 * height / np.maximum(depth, 0.1)
    nearness = np.clip(1 + fade * (3 - depth), 0.6, 1.3)[:, None] if fade else 1
    shaded = np.clip(colours * nearness, 0, 255).astype(np.uint8)
    u = (width / 2 + turned[:, 0] * zoom).astype(int)
    v = (height / 2 + turned[:, 1] * zoom).astype(int)
    order = np.argsort(-depth)
    order = order[depth[order] > 0.1]  # what is behind the camera is not seen
    down, across = np.divmod(np.arange(point_size**2), point_size)
    rows, columns = v[order, None] + down, u[order, None] + across  # (n, point_size ** 2)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    colour = np.repeat(shaded[order], point_size**2, axis=0)[inside.ravel()]
    picture[rows[inside], columns[inside]] = colour  # where two meet, the last one stays
    return picture
