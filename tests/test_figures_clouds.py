"""Clouds as pictures."""

import numpy as np
import pytest

from srlib.figures.clouds import draw_cloud

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)


def seen(picture, colour):
    """Mean row and column of the pixels of a colour."""
    return np.argwhere((picture == colour).all(2)).mean(0)


def test_a_point_lands_where_the_camera_sees_it():
    points = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    colours = np.array([[200, 0, 0], [0, 200, 0]])
    picture = draw_cloud(points, colours, frame=CUBE, fade=0, point_size=1)
    assert picture.shape == (420, 560, 3) and picture.dtype == np.uint8
    right, low = seen(picture, (200, 0, 0)), seen(picture, (0, 200, 0))
    assert right[0] == 210 and right[1] > 280 and low[0] > 210 and low[1] == 280
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (40, 20), (180, 0), (-90, 70)])
def test_near_points_cover_far_ones(azimuth, elevation):
    a, e = np.radians(azimuth), np.radians(elevation)
    towards = np.array([np.sin(a) * np.cos(e), np.sin(e) * -1, -np.cos(a) * np.cos(e)])
    points = np.array([towards, -towards, 0 * towards]) * 0.5
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]])
    for order in ([0, 1, 2], [2, 1, 0]):
        picture = draw_cloud(
            points[order],
            colours[order],
            azimuth=azimuth,
            elevation=elevation,
            frame=CUBE,
            fade=0,
            point_size=5,
        )
        assert (picture == (200, 0, 0)).all(2).sum() == 25
        assert (picture == (0, 0, 200)).all(2).sum() < 25


def test_size_of_picture_and_point():
    colours = np.full((8, 3), 255)
    picture = draw_cloud(CUBE, colours, point_size=3, height=100, width=150, fade=0)
    assert picture.shape == (100, 150, 3)
    assert (picture == 255).all(2).sum() == 8 * 9
    darker = draw_cloud(CUBE, colours // 2, height=100, width=150, point_size=3)
    assert len(np.unique(darker)) == 3  # background, four near points, four far ones


def test_what_is_behind_the_camera_is_not_drawn():
    points = np.array([[0, 0, -50.0], [0, 0, 0]])
    picture = draw_cloud(points, np.array([[200, 0, 0], [0, 0, 200]]), frame=CUBE, fade=0)
    assert not (picture == (200, 0, 0)).all(2).any()
    assert (picture == (0, 0, 200)).all(2).sum() == 4


def test_one_point_is_in_the_middle_and_none_is_nothing():
    one = draw_cloud(np.array([[3.0, 4, 5]]), np.array([[200, 0, 0]]), fade=0, point_size=1)
    assert seen(one, (200, 0, 0)).tolist() == [210, 280]
    none = draw_cloud(np.zeros((0, 3)), np.zeros((0, 3)), height=100, width=150)
    assert none.shape == (100, 150, 3) and len(np.unique(none)) == 1
