"""Surfaces: samples lie on them, and the nearest point is the nearest."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from srlib.point_clouds import Box, Cone, Cylinder, Lens, Saddle, Sphere, Torus

KINDS = (Sphere, Torus, Cylinder, Box, Cone, Lens, Saddle)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def generator():
    return np.random.default_rng(15)


@each_kind
def test_samples_lie_on_the_surface(kind, generator):
    surface = kind.random(generator)
    points = surface.sample(generator, 2000)
    assert points.shape == (2000, 3) and np.isfinite(points).all()
    assert surface.distance(points).max() < 1e-12


@each_kind
def test_the_seed_decides_surface_and_samples(kind):
    def drawn(seed):
        generator = np.random.default_rng(seed)
        return kind.random(generator).sample(generator, 50)

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.allclose(drawn(1), drawn(2))


@each_kind
@pytest.mark.parametrize("away", [0.003, 0.03, 0.15])
def test_no_sample_is_nearer_than_the_nearest_point(kind, away, generator):
    surface = kind.random(generator)
    many = surface.sample(generator, 40_000)
    points = many[:400] + generator.normal(0, away, (400, 3))
    nearest = surface.nearest(points)
    assert surface.distance(nearest).max() < 1e-12
    exact, sampled = surface.distance(points), cKDTree(many).query(points)[0]
    if kind is Saddle:  # it goes on beyond the square from which its samples come
        inside = (np.abs(nearest[:, :2]) < 1).all(1)
        exact, sampled = exact[inside], sampled[inside]
    assert (exact <= sampled + 1e-12).all()


@each_kind
def test_samples_are_spread_evenly_by_area(kind, generator):
    """Of two independent clouds each point's nearest neighbour in the other is as far anywhere."""
    surface = kind.random(generator)
    few, many = surface.sample(generator, 3000), surface.sample(generator, 30_000)
    inside = np.ones(len(few), bool)
    if kind is Saddle:  # near the border half of the neighbours are missing
        inside = (np.abs(few[:, :2]) < 0.9).all(1)
    gap = cKDTree(many).query(few, 5)[0][inside, 4]
    for axis in range(3):
        coordinate = np.abs(few[inside, axis])
        if np.ptp(coordinate) > 1e-6:
            assert abs(stats.spearmanr(coordinate, gap)[0]) < 0.12


def test_by_hand():
    def distance(surface, *point):
        return surface.distance(np.array([point], dtype=float))[0]

    assert distance(Sphere(2), 0, 0, 0) == 2
    assert distance(Sphere(2), 0, 3, 4) == pytest.approx(3)
    assert distance(Torus(0.25), 0, 2, 0) == pytest.approx(0.75)
    assert distance(Torus(0.25), 0, 0, 0) == pytest.approx(0.75)
    assert distance(Torus(0.25), 1, 0, 0) == pytest.approx(0.25)
    assert distance(Box([1, 2, 3]), 0.75, 0, 0) == 0.25
    assert distance(Box([1, 2, 3]), 4, 6, 3) == 5
    assert distance(Cylinder(1, 2), 0, 0.9, 0) == pytest.approx(0.1)
    assert distance(Cylinder(1, 2), 4, 0, 6) == pytest.approx(5)
    assert distance(Cone(1), 0, 0, 3) == pytest.approx(2)
    assert distance(Cone(0.5), 1, 1, 0.5) == pytest.approx(1)
    assert distance(Lens(0.75), 0, 0, 0) == pytest.approx(0.5)
    assert distance(Lens(0.75), 0, 0, -1) == pytest.approx(0.5)
    assert distance(Lens(0.75), 3, 0, 0) == pytest.approx(2)
    assert distance(Saddle(0.5), 0, 0, 0.25) == pytest.approx(0.25)


def test_the_middle_of_a_sphere_has_a_nearest_point_too():
    assert Sphere(0.5).nearest(np.zeros((1, 3))).tolist() == [[0, 0, 0.5]]
