"""Exercises: point clouds."""

import numpy as np
import torch

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.probes import no_gradient, with_gradients

__all__ = ["EXERCISES"]


# The Chamfer distance


def _distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=2)  # (n, m)


def _chamfer(a, b):
    distances = _distances(a, b)
    return float((distances.min(axis=1).mean() + distances.min(axis=0).mean()) / 2)


def _both_ways(there, back=None):
    """Make a mistake from what is taken of the nearest distances, there and back."""

    def mistake(a, b):
        distances = _distances(a, b)
        first, second = there(distances.min(axis=1)), (back or there)(distances.min(axis=0))
        return float((first + second) / 2)

    return mistake


def _cloud(count, seed, size=1.0):
    return np.random.default_rng(seed).normal(0, size, (count, 3))


_CHAMFER = Exercise(
    title="Chamfer distance",
    reference=_chamfer,
    cases=lambda: (
        Case("few points and many", (_cloud(5, 0), _cloud(12, 1))),
        Case("many points and few", (_cloud(14, 2), _cloud(4, 3, 2.0))),
        Case("equally many", (_cloud(8, 4), _cloud(8, 5, 0.5))),
    ),
    mistakes=(
        Mistake(
            lambda a, b: float(_distances(a, b).min(axis=1).mean()),
            "This goes one way only, from a to b. A cloud that covers a corner of b would score "
            "well. The way from b to a is missing.",
        ),
        Mistake(
            lambda a, b: float(_distances(a, b).min(axis=0).mean()),
            "This goes one way only, from b to a. Points of a far away from b would cost nothing. "
            "The way from a to b is missing.",
        ),
        Mistake(
            _both_ways(lambda nearest: (nearest**2).mean()),
            "The distances are squared. Many papers do so; here the unit shall be that of the "
            "coordinates.",
        ),
        Mistake(
            lambda a, b: 2 * _both_ways(lambda nearest: (nearest**2).mean())(a, b),
            "This is the sum of two means of squares, as in many papers. Here the distances are "
            "not squared, and the two ways are averaged.",
        ),
        Mistake(
            lambda a, b: 2 * _chamfer(a, b),
            "Twice what it should be: the two ways are added. Here they are averaged.",
        ),
        Mistake(
            _both_ways(np.sum),
            "The distances are summed over the points, so that a larger cloud is worse. Take their "
            "mean.",
        ),
        Mistake(
            lambda a, b: 2 * _both_ways(np.sum)(a, b),
            "This is a sum over all points, both ways. Take the mean of each way, then the mean "
            "of the two.",
        ),
        Mistake(
            lambda a, b: max(
                _distances(a, b).min(axis=1).max(), _distances(a, b).min(axis=0).max()
            ),
            "This is the Hausdorff distance, the largest of the nearest distances. Chamfer takes "
            "their mean.",
        ),
        Mistake(
            _both_ways(lambda nearest: np.sqrt((nearest**2).mean())),
            "This is a root of a mean of squares. Take the mean of the distances as they are.",
        ),
        Mistake(
            lambda a, b: float(_distances(a, b).mean()),
            "This averages the distances of all pairs. Only the nearest point of the other cloud "
            "counts.",
        ),
        Mistake(
            lambda a, b: float(
                np.concatenate([_distances(a, b).min(axis=1), _distances(a, b).min(axis=0)]).mean()
            ),
            "Both ways are thrown together, so the larger cloud counts more. Take the mean of each "
            "way first.",
        ),
        Mistake(
            lambda a, b: float(
                (
                    np.abs(a[:, None] - b[None]).sum(2).min(1).mean()
                    + np.abs(a[:, None] - b[None]).sum(2).min(0).mean()
                )
                / 2
            ),
            "The distance of two points is the root of the sum of squares, not the sum of absolute "
            "differences.",
        ),
    ),
    hints=(
        "Start with a table of all distances, (n, m). One way needs the smallest of each row, the "
        "other the smallest of each column.",
        "np.linalg.norm(a[:, None] - b[None], axis=2) is the table: (n, 1, 3) minus (1, m, 3).",
        "(table.min(axis=1).mean() + table.min(axis=0).mean()) / 2",
    ),
)


# The shuffle of points


def _shuffle(features, r):
    count, channels, points = features.shape
    return (
        features.reshape(count, channels // r, r, points)
        .permute(0, 1, 3, 2)
        .reshape(count, channels // r, points * r)
    )


def _copies_outside(features, r):
    """Split the channels into r blocks; block j makes the children number j."""
    count, channels, points = features.shape
    return features.reshape(count, r, channels // r, points)


def _features(count, channels, points, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, points, generator=generator)


_SHUFFLE = Exercise(
    title="shuffle of points",
    reference=_shuffle,
    probe=with_gradients,
    cases=lambda: (
        Case("two clouds, factor 4", (_features(2, 12, 5, 0), 4)),
        Case("factor 2", (_features(1, 6, 7, 1), 2)),
        Case("factor 3", (_features(3, 6, 4, 2), 3)),
    ),
    mistakes=(
        Mistake(
            lambda features, r: features.reshape(
                len(features), features.shape[1] // r, r * features.shape[2]
            ),
            "The shape is right and the order is not: first come all first children, then all "
            "second ones. The children of one point belong side by side.",
        ),
        Mistake(
            lambda features, r: (
                _copies_outside(features, r)
                .permute(0, 2, 3, 1)
                .reshape(len(features), -1, r * features.shape[2])
            ),
            "The channels are split the wrong way round. Channels 0 to r - 1 belong to channel 0 "
            "of the children, as with nn.PixelShuffle.",
        ),
        Mistake(
            lambda features, r: (
                _copies_outside(features, r)
                .permute(0, 2, 1, 3)
                .reshape(len(features), -1, r * features.shape[2])
            ),
            "Two things: the channels are split the wrong way round (0 to r - 1 belong to channel "
            "0 of the children), and the children of one point do not stand side by side.",
        ),
        Mistake(
            lambda features, r: features[:, : features.shape[1] // r].repeat_interleave(r, dim=2),
            "All children of a point are equal, and most channels are lost. Each child has its own "
            "channels.",
        ),
        Mistake(
            lambda features, r: features.mT.reshape(
                len(features), features.shape[1] // r, r * features.shape[2]
            ),
            "Points and channels are swapped and then cut anew, which mixes the points. Only split "
            "an axis or join two neighbouring ones; permute moves them in between.",
        ),
        Mistake(
            lambda features, r: _shuffle(features, r).flip(2),
            "The points come in reversed order.",
        ),
        Mistake(
            lambda features, r: _shuffle(features, r).mT,
            "Points and channels are swapped at the end. The shape is (N, C, r * P).",
        ),
        no_gradient(_shuffle),
    ),
    hints=(
        "Three steps: split the channels into C and r, move the r behind the points, join the "
        "points and the r.",
        "features.reshape(N, C, r, P), then permute so that r comes last.",
        "features.reshape(N, C, r, P).permute(0, 1, 3, 2).reshape(N, C, P * r)",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_CHAMFER, _SHUFFLE)
