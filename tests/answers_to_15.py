"""Answers to the exercises of 15, for test_unusual_answers.py."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree, distance
from torch import nn


def by_tree(a, b):
    return 0.5 * (cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean())


def by_cdist(a, b):
    table = distance.cdist(a, b)
    return np.mean([table.min(1).mean(), table.min(0).mean()])


def by_loops(a, b):
    def way(some, others):
        return sum(min(np.sqrt(((p - q) ** 2).sum()) for q in others) for p in some) / len(some)

    return (way(a, b) + way(b, a)) / 2


def by_products(a, b):
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    table = np.sqrt(np.maximum(squared, 0))
    return table.min(1).mean() / 2 + table.min(0).mean() / 2


def by_torch(a, b):
    table = torch.cdist(torch.as_tensor(a), torch.as_tensor(b))
    return (table.amin(1).mean() + table.amin(0).mean()) / 2


def nearest_of_all(a, b):
    """The same point of b for all of a."""
    return distance.cdist(a, b).mean(0).min()


def one_way_twice(a, b):
    return distance.cdist(a, b).min(1).mean() / 2 + distance.cdist(a, b).min(1).mean() / 2


def median(a, b):
    table = distance.cdist(a, b)
    return (np.median(table.min(1)) + np.median(table.min(0))) / 2


def flat(a, b):
    """Without the depth."""
    return by_tree(a[:, :2], b[:, :2])


def by_slices(features, r):
    result = features.new_zeros(len(features), features.shape[1] // r, features.shape[2] * r)
    for child in range(r):
        result[:, :, child::r] = features[:, child::r]
    return result


def by_stack(features, r):
    return torch.stack([features[:, child::r] for child in range(r)], dim=3).flatten(2)


def by_pixel_shuffle(features, r):
    """Each channel r times, so that one of both directions can be dropped."""
    twice = features.repeat_interleave(r, dim=1)[..., None]  # (N, C * r * r, P, 1)
    return F.pixel_shuffle(twice, r)[..., 0]


def by_einsum(features, r):
    split = features.reshape(len(features), -1, r, features.shape[2])
    return torch.einsum("ncrp->ncpr", split).reshape(len(features), split.shape[1], -1)


def by_transposed_convolution(features, r):
    channels = features.shape[1] // r
    weight = torch.eye(r, dtype=features.dtype).repeat(channels, 1)[:, None]  # (C * r, 1, r)
    return F.conv_transpose1d(features, weight, stride=r, groups=channels)


def by_fold(features, r):
    cut = nn.Unflatten(1, (features.shape[1] // r, r))(features)
    return cut.transpose(-1, -2).contiguous().view(len(features), features.shape[1] // r, -1)


def blocks_of_channels(features, r):
    """Channel c of child j is channel j * C + c."""
    channels = features.shape[1] // r
    parts = [features[:, j * channels : (j + 1) * channels] for j in range(r)]
    return torch.stack(parts, dim=3).flatten(2)


def children_in_reverse(features, r):
    return torch.stack([features[:, r - 1 - child :: r] for child in range(r)], dim=3).flatten(2)


def by_view(features, r):
    return features.reshape(len(features), -1, r * features.shape[2])


def in_numpy(features, r):
    split = features.detach().numpy().reshape(len(features), -1, r, features.shape[2])
    return torch.from_numpy(split.swapaxes(2, 3).reshape(len(features), split.shape[1], -1).copy())


def by_table(points, count):
    """All distances at once."""
    table = torch.cdist(points.mT, points.mT)
    chosen = torch.zeros(len(points), 1, dtype=torch.long)
    while chosen.shape[1] < count:
        index = chosen[:, :, None].expand(-1, -1, table.shape[2])
        farthest = table.gather(1, index).amin(1).argmax(1)
        chosen = torch.cat([chosen, farthest[:, None]], dim=1)
    return chosen


def cloud_by_cloud(points, count):
    result = []
    for cloud in points.mT.numpy():
        chosen = [0]
        while len(chosen) < count:
            chosen.append(int(distance.cdist(cloud, cloud[chosen]).min(1).argmax()))
        result.append(chosen)
    return torch.tensor(result)


def with_trees(points, count):
    chosen = np.zeros((len(points), count), dtype=int)
    for number, cloud in enumerate(points.mT.numpy()):
        for place in range(1, count):
            far = cKDTree(cloud[chosen[number, :place]]).query(cloud)[0]
            chosen[number, place] = np.argmax(far)
    return torch.from_numpy(chosen)


def in_place(points, count):
    """Written into a result of int32; distances with their root."""
    batch = torch.arange(len(points))
    result = torch.zeros(len(points), count, dtype=torch.int32)
    nearest = torch.full((len(points), points.shape[2]), float("inf"), dtype=points.dtype)
    for place in range(1, count):
        last = points[batch, :, result[:, place - 1].long()]
        nearest = nearest.clamp(max=torch.linalg.norm(points - last[..., None], dim=1))
        result[:, place] = nearest.max(dim=1).indices
    return result


def in_lists(points, count):
    def choose(cloud):
        chosen, nearest = [0], [float("inf")] * len(cloud)
        for _ in range(count - 1):
            last = cloud[chosen[-1]]
            nearest = [
                min(before, sum((p - q) ** 2 for p, q in zip(point, last, strict=True)))
                for before, point in zip(nearest, cloud, strict=True)
            ]
            chosen.append(max(range(len(cloud)), key=nearest.__getitem__))
        return chosen

    return torch.tensor([choose(cloud) for cloud in points.mT.tolist()])


def from_the_first_only(points, count):
    """Those farthest from point 0."""
    return (points - points[:, :, :1]).square().sum(1).argsort(dim=1, descending=True)[:, :count]


def to_the_middle_of_the_chosen(points, count):
    chosen = torch.zeros(len(points), 1, dtype=torch.long)
    while chosen.shape[1] < count:
        taken = points.gather(2, chosen[:, None].expand(-1, 3, -1)).mean(2, keepdim=True)
        far = (points - taken).square().sum(1).argmax(1)
        chosen = torch.cat([chosen, far[:, None]], dim=1)
    return chosen


def the_places_themselves(points, count):
    return points.gather(2, by_table(points, count)[:, None].expand(-1, 3, -1))


def the_first_ones(points, count):
    return torch.arange(count).expand(len(points), -1)


RIGHT = {
    "15.1": [by_tree, by_cdist, by_loops, by_products, by_torch],
    "15.2": [by_slices, by_stack, by_einsum, by_transposed_convolution, by_fold, by_pixel_shuffle],
    "15.3": [by_table, cloud_by_cloud, with_trees, in_place, in_lists],
}
WRONG = {
    "15.1": [nearest_of_all, one_way_twice, median, flat, lambda a, b: 0.0],
    "15.2": [blocks_of_channels, children_in_reverse, by_view, in_numpy],
    "15.3": [
        from_the_first_only,
        to_the_middle_of_the_chosen,
        the_places_themselves,
        the_first_ones,
    ],
}
