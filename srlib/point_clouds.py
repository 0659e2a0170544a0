"""Surfaces of which every distance is known, to train and to judge what enlarges point clouds.

A surface draws points of itself, evenly by area, and tells for any point in space the nearest one
on it. Clouds are NumPy arrays, float (n, 3).
"""

import itertools
from abc import ABC, abstractmethod
from typing import Self

import numpy as np

__all__ = ["Box", "Cone", "Cylinder", "Lathed", "Lens", "Saddle", "Sphere", "Surface", "Torus"]


class Surface(ABC):
    """A surface in space. Its unit is about half of its size."""

    @classmethod
    @abstractmethod
    def random(cls, generator: np.random.Generator) -> Self:
        """Return a surface of this kind with random proportions."""

    @abstractmethod
    def sample(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Draw points of the surface at random, evenly by area: (count, 3)."""

    @abstractmethod
    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return for each point the nearest one of the surface: (n, 3) -> (n, 3)."""

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return each point's distance to the surface, not negative: (n, 3) -> (n,)."""
        return np.linalg.norm(points - self.nearest(points), axis=1)


class Sphere(Surface):
    """Around the origin."""

    def __init__(self, radius: float):
        self.radius = radius

    @classmethod
    def random(cls, generator):
        """Radius in 0.5..1."""
        return cls(generator.uniform(0.5, 1))

    def sample(self, generator, count):
        """Project normal numbers, which point everywhere alike."""
        return self.nearest(generator.normal(size=(count, 3)))

    def nearest(self, points):
        """Go out from the middle; from the middle itself, up."""
        length = np.linalg.norm(points, axis=1, keepdims=True)
        directions = np.divide(points, length, where=length > 0, out=np.zeros_like(points))
        directions[length[:, 0] == 0, 2] = 1
        return self.radius * directions


class Torus(Surface):
    """A tube whose middle is the unit circle in the plane z = 0; `tube` is its radius, below 1."""

    def __init__(self, tube: float):
        self.tube = tube

    @classmethod
    def random(cls, generator):
        """Tube in 0.2..0.6."""
        return cls(generator.uniform(0.2, 0.6))

    def sample(self, generator, count):
        """There is more surface on the outside than on the inside."""
        a, b = _rejected(
            generator,
            count,
            lambda n: generator.uniform(0, 2 * np.pi, (2, n)),
            lambda a, b: (1 + self.tube * np.cos(a)) / (1 + self.tube),
        )
        around = 1 + self.tube * np.cos(a)
        return np.stack([around * np.cos(b), around * np.sin(b), self.tube * np.sin(a)], axis=1)

    def nearest(self, points):
        """Go out from the nearest point of the circle."""
        angle = np.arctan2(points[:, 1], points[:, 0])
        middle = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        return middle + Sphere(self.tube).nearest(points - middle)


class Lathed(Surface):
    """What turns around the z axis: a line through corners, each (distance from the axis, z)."""

    def __init__(self, corners: np.ndarray):
        self.corners = np.asarray(corners, dtype=float)  # (m, 2)

    def sample(self, generator, count):
        """Choose a piece of the line by its area, then a place on it."""
        start, end = self.corners[:-1], self.corners[1:]
        area = np.linalg.norm(end - start, axis=1) * (start + end)[:, 0]
        piece = generator.choice(len(area), count, p=area / area.sum())
        (r0, z0), (r1, z1) = start[piece].T, end[piece].T
        u, angle = generator.uniform(0, [[1], [2 * np.pi]], (2, count))
        r = np.sqrt(r0**2 + u * (r1**2 - r0**2))
        along = np.divide(r - r0, r1 - r0, out=u.copy(), where=r1 != r0)
        return np.stack([r * np.cos(angle), r * np.sin(angle), z0 + along * (z1 - z0)], axis=1)

    def nearest(self, points):
        """In the half plane through the axis and the point: the nearest point of each piece."""
        flat = np.stack([np.hypot(points[:, 0], points[:, 1]), points[:, 2]], axis=1)  # (n, 2)
        found = []
        for start, end in itertools.pairwise(self.corners):
            along = (flat - start) @ (end - start) / np.square(end - start).sum()
            found.append(start + along.clip(0, 1)[:, None] * (end - start))
        distance = np.linalg.norm(np.stack(found) - flat, axis=2)  # (m - 1, n)
        r, z = np.stack(found)[distance.argmin(0), np.arange(len(points))].T
        angle = np.arctan2(points[:, 1], points[:, 0])
        return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


class Cylinder(Lathed):
    """With lids. Around the z axis, from z = -`half_height` to `half_height`."""

    def __init__(self, radius: float, half_height: float):
        r, h = radius, half_height
        super().__init__([(0, -h), (r, -h), (r, h), (0, h)])

    @classmethod
    def random(cls, generator):
        """Radius in 0.4..1, half of the height in 0.3..1."""
        return cls(generator.uniform(0.4, 1), generator.uniform(0.3, 1))


class Cone(Lathed):
    """With a base of radius 1 at z = -`half_height`, and its tip at `half_height`."""

    def __init__(self, half_height: float):
        super().__init__([(0, -half_height), (1, -half_height), (0, half_height)])

    @classmethod
    def random(cls, generator):
        """Half of the height in 0.5..1."""
        return cls(generator.uniform(0.5, 1))


class Box(Surface):
    """Around the origin; `half` is half of each side, (3,)."""

    def __init__(self, half: np.ndarray):
        self.half = np.asarray(half, dtype=float)

    @classmethod
    def random(cls, generator):
        """Half of each side in 0.4..1."""
        return cls(generator.uniform(0.4, 1, 3))

    def sample(self, generator, count):
        """Choose a pair of faces by its area, then a place on one of both."""
        area = self.half.prod() / self.half
        across = generator.choice(3, count, p=area / area.sum())
        points = generator.uniform(-1, 1, (count, 3))
        points[np.arange(count), across] = np.sign(points[np.arange(count), across])
        return points * self.half

    def nearest(self, points):
        """Clip what is outside; push what is inside through the nearest face."""
        found = points.clip(-self.half, self.half)
        room = self.half - np.abs(found)  # to each pair of faces
        inside = np.flatnonzero(room.min(1) > 0)
        across = room[inside].argmin(1)
        found[inside, across] = np.copysign(self.half[across], points[inside, across])
        return found


class Lens(Surface):
    """Two spherical caps that meet in a sharp rim, the unit circle in the plane z = 0.

    `below` is how far the centre of the upper cap lies below the rim.
    """

    def __init__(self, below: float):
        self.below = below
        self.radius = np.hypot(1, below)

    @classmethod
    def random(cls, generator):
        """Centres are 0.3..0.8 from the plane of the rim."""
        return cls(generator.uniform(0.3, 0.8))

    def sample(self, generator, count):
        """On a sphere, equal heights have equal areas."""
        z, angle = generator.uniform([[self.below], [0]], [[self.radius], [2 * np.pi]], (2, count))
        r = np.sqrt(self.radius**2 - z**2)
        side = generator.choice([-1, 1], count)
        return np.stack([r * np.cos(angle), r * np.sin(angle), (z - self.below) * side], axis=1)

    def nearest(self, points):
        """On the cap of the point's side, or on the rim."""
        centre, side = np.array([0, 0, -self.below]), np.where(points[:, 2] < 0, -1, 1)
        upper = points * np.stack([side**2, side**2, side], axis=1)
        cap = centre + Sphere(self.radius).nearest(upper - centre)
        angle = np.arctan2(points[:, 1], points[:, 0])
        rim = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        found = np.where(cap[:, 2:] >= 0, cap, rim)
        found[:, 2] *= side
        return found


class Saddle(Surface):
    """``z = bend * (x ** 2 - y ** 2)``, which bends both ways and goes on without end.

    Samples come from the square from -1 to 1.
    """

    def __init__(self, bend: float):
        self.bend = bend

    @classmethod
    def random(cls, generator):
        """Bend in 0.4..0.9."""
        return cls(generator.uniform(0.4, 0.9))

    def _at(self, x, y):
        return np.stack([x, y, self.bend * (x**2 - y**2)], axis=-1)

    def sample(self, generator, count):
        """Draw more where it is steep: there is more surface over a piece of the square."""
        x, y = _rejected(
            generator,
            count,
            lambda n: generator.uniform(-1, 1, (2, n)),
            lambda x, y: np.sqrt((1 + 4 * self.bend**2 * (x**2 + y**2)) / (1 + 8 * self.bend**2)),
        )
        return self._at(x, y)

    def nearest(self, points):
        """Start at the best of a grid; there Newton's method has the last digit after 20 steps."""
        k, (px, py, pz) = self.bend, points.T
        line = np.linspace(-2, 2, 41)
        x, y = (grid.ravel() for grid in np.meshgrid(line, line))
        squared = np.square(points).sum(1)[:, None] - 2 * points @ self._at(x, y).T
        best = (squared + np.square(self._at(x, y)).sum(1)).argmin(1)
        x, y = x[best], y[best]
        for _ in range(20):  # to where the squared distance has no slope
            e = k * (x * x - y * y) - pz
            dx, dy = x - px + 2 * k * x * e, y - py - 2 * k * y * e
            xx, yy = 1 + 4 * k * k * x * x + 2 * k * e, 1 + 4 * k * k * y * y - 2 * k * e
            xy = -4 * k * k * x * y
            det = xx * yy - xy * xy
            x, y = x - (yy * dx - xy * dy) / det, y - (xx * dy - xy * dx) / det
        return self._at(x, y)


def _rejected(generator, count, draw, share):
    """Draw pairs until there are enough, and keep each with the probability `share`."""
    kept = np.zeros((2, 0))
    while kept.shape[1] < count:
        pairs = draw(2 * count)
        kept = np.concatenate([kept, pairs[:, generator.random(2 * count) < share(*pairs)]], axis=1)
    return kept[:, :count]
