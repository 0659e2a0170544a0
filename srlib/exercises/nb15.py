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
    redraw=lambda random: tuple(
        (_cloud(n, random.integers(1e6)), _cloud(m, random.integers(1e6), size))
        for n, m, size in ((5, 12, 1.0), (14, 4, 2.0), (8, 8, 0.5))
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
    generator = torch.Generator().manual_seed(int(seed))
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
    redraw=lambda random: tuple(
        (_features(*shape, random.integers(1e6)), r)
        for shape, r in (((2, 12, 5), 4), ((1, 6, 7), 2), ((3, 6, 4), 3))
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


# Farthest points


def _farthest(points, count, *, merge=torch.minimum, best=torch.argmax, first=None):
    """Merge the distances to the last chosen point into those to all before, and take the best."""
    last = torch.zeros(len(points), dtype=torch.long) if first is None else first(points)
    chosen, distances = [last], None
    for _ in range(count - 1):
        last = points.gather(2, chosen[-1][:, None, None].expand(-1, 3, 1))
        new = (points - last).square().sum(1)
        distances = new if distances is None else merge(distances, new)
        chosen.append(best(distances, 1))
    return torch.stack(chosen, dim=1)


def _from_the_middle(points):
    return (points - points.mean(2, keepdim=True)).square().sum(1).argmax(1)


def _of_the_first_cloud(points, count):
    return _farthest(points[:1], count).expand(len(points), -1)


def _manhattan(points, count):
    chosen = [torch.zeros(len(points), dtype=torch.long)]
    nearest = torch.full_like(points[:, 0], torch.inf)
    for _ in range(count - 1):
        last = points.gather(2, chosen[-1][:, None, None].expand(-1, 3, 1))
        nearest = torch.minimum(nearest, (points - last).abs().sum(1))
        chosen.append(nearest.argmax(1))
    return torch.stack(chosen, dim=1)


def _clouds(count, points, seed):
    generator = torch.Generator().manual_seed(int(seed))
    return torch.randn(count, 3, points, generator=generator, dtype=torch.float64)


_FARTHEST_SIZES = ((1, 40, 9), (3, 25, 6), (2, 12, 12), (2, 30, 2))

_FARTHEST = Exercise(
    title="find the bug: farthest points",
    reference=lambda points, count: _farthest(points, count),
    cases=lambda: tuple(
        Case(name, (_clouds(clouds, points, seed), count))
        for seed, (name, (clouds, points, count)) in enumerate(
            zip(
                ("one cloud", "three clouds", "all points", "two points"),
                _FARTHEST_SIZES,
                strict=True,
            )
        )
    ),
    redraw=lambda random: tuple(
        (_clouds(clouds, points, random.integers(1e6)), count)
        for clouds, points, count in _FARTHEST_SIZES
    ),
    mistakes=(
        Mistake(
            lambda points, count: _farthest(points, count, merge=lambda before, new: new),
            "This is the function with its bug: it looks for the point farthest from the last one "
            "only, and goes back and forth between two corners. What counts is the distance to the "
            "nearest of all chosen points.",
        ),
        Mistake(
            lambda points, count: _farthest(points, count, merge=torch.add),
            "The distances to the chosen points are added up. A point close to one of them can "
            "still be far from the others. Keep the smallest distance.",
        ),
        Mistake(
            lambda points, count: _farthest(points, count, merge=torch.maximum),
            "The largest distance to a chosen point is kept. Keep the smallest: how far is the "
            "nearest of those that are taken?",
        ),
        Mistake(
            lambda points, count: _farthest(points, count, best=torch.argmin),
            "Chosen points are chosen again. Either the nearest one is taken, not the farthest, or "
            "the distances begin with 0. They begin with infinity.",
        ),
        Mistake(
            lambda points, count: _farthest(points, count, first=_from_the_middle),
            "The first chosen point shall be point 0 of each cloud.",
        ),
        Mistake(
            lambda points, count: _farthest(points, count + 1)[:, 1:],
            "Point 0 is left out. It is the first of those that are chosen.",
        ),
        Mistake(
            _of_the_first_cloud,
            "All clouds get the choice of the first one. Each cloud has its own.",
        ),
        Mistake(
            lambda points, count: _farthest(points, count).mT,
            "The shape is (N, count): a row for each cloud.",
        ),
        Mistake(
            lambda points, count: _farthest(points, count).sort(dim=1).values,
            "The right points, sorted by number. They are asked for in the order in which they "
            "are chosen.",
        ),
        Mistake(
            _manhattan,
            "This adds the absolute differences of the coordinates. The distance of two points is "
            "the root of the sum of squares (and without the root the order is the same).",
        ),
    ),
    hints=(
        "Print what it chooses for a small cloud: from the third number on, the same two points "
        "take turns.",
        "Keep for each point the distance to the nearest chosen one. Begin with infinity.",
        "In each round: nearest = torch.minimum(nearest, distance to the last chosen point), then "
        "nearest.argmax(1).",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_CHAMFER, _SHUFFLE, _FARTHEST)
