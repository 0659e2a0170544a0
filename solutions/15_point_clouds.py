# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 15 Point clouds: super-resolution without a grid
#
# A laser scanner or a stereo camera does not deliver pixels. It delivers **points**: a list of
# places in space, in no order, dense here and sparse there. Super-resolution then means: make four
# points of each one, and put them where the surface is. This notebook builds the twins of what the
# course used on images: neighbourhoods without a grid, residual blocks, a shuffle that turns
# channels into points, and a skip from the classical interpolation.
#
# **After this you can**
#
# - turn a disparity map into a cloud in real units, and check whether it can be true;
# - measure clouds by Chamfer, Hausdorff and point-to-surface distance, and say what each misses;
# - write and train a network that makes a cloud four times denser, and say where it loses.
#
# Time: 80 minutes to read and try. Of these the computer needs at most 3 minutes on two CPU cores;
# calculated, not measured: 3 on a T4 GPU, 2 on an A100.

# %%
import itertools

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from skimage import data
from torch import nn
from tqdm.auto import tqdm

# %%
from srlib.environment import by_profile
from srlib.exercises import check
from srlib.figures import show
from srlib.widgets import Explorer

# %% tags=["parameters"]
seeds = by_profile(ci=(0, 1), cpu=(0, 1, 2), gpu=(0, 1, 2))
num_patches = by_profile(ci=12, cpu=300, gpu=1000)
steps = by_profile(ci=3, cpu=400, gpu=3000)
channels = by_profile(ci=8, cpu=32, gpu=64)
test_points = by_profile(ci=80, cpu=400, gpu=400)  # of each held-out surface
test_shapes = by_profile(ci=1, cpu=2, gpu=2)  # for each kind
cloud_points = by_profile(ci=300, cpu=3000, gpu=6000)  # of the motorcycle, before enlarging

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
scale = 4

# %% [markdown]
# A photograph, each pixel put where it was in space, and seen from three sides. Section 1 says how.


# %%
photo, _, disparity = data.stereo_motorcycle()  # (H, W, 3) uint8, and (H, W) in pixels
focal, centre_x, centre_y = 994.978, 311.193, 254.877  # pixels
offset, baseline = 31.086, 193.001  # pixels, millimetres


def cloud_from_disparity(disparity, offset):
    """Put every pixel into space: (H, W) -> (H, W, 3) in metres, NaN where unknown."""
    v, u = np.indices(disparity.shape)
    known = np.where(np.isfinite(disparity), disparity, np.nan)
    z = focal * baseline / 1000 / (known + offset)
    return np.stack([(u - centre_x) * z / focal, (v - centre_y) * z / focal, z], axis=2)


grid = cloud_from_disparity(disparity, offset)  # x to the right, y down, z away from the camera
known = np.isfinite(grid[..., 2])
scene, scene_colours = grid[known], photo[known]  # (n, 3) each

# %% [markdown]
# To look at a cloud, turn it, project it with perspective, and paint the far points first, so that
# near ones cover them. NumPy does this fast enough to drag.


# %%
def draw(points, colours, azimuth=0, elevation=0, size=2, frame=None, fade=0.35):
    """Paint a cloud from a camera that circles it, angles in degrees: uint8 (420, 560, 3)."""
    height, width = 420, 560
    frame = points if frame is None else frame  # the points that shall fill the picture
    a, e = np.radians(azimuth), np.radians(elevation)
    around = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    above = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    centre = (frame.min(0) + frame.max(0)) / 2
    radius = np.quantile(np.linalg.norm(frame - centre, axis=1), 0.85)  # outliers may leave
    turned = (points - centre) @ (above @ around).T / radius  # most lie within a ball of radius 1
    depth = turned[:, 2] + 3  # the camera stands 3 radii from the middle
    zoom = 1.3 * height / depth
    nearness = np.clip(1 + fade * (3 - depth), 0.6, 1.3)[:, None]  # far points are darker
    shaded = np.clip(colours * nearness, 0, 255).astype(np.uint8)
    u = (width / 2 + turned[:, 0] * zoom).astype(int)
    v = (height / 2 + turned[:, 1] * zoom).astype(int)
    order = np.argsort(-depth)  # far ones first
    down, across = np.divmod(np.arange(size**2), size)  # a point is a square of size x size pixels
    rows, columns = v[order, None] + down, u[order, None] + across  # (n, size ** 2)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    picture = np.full((height, width, 3), 22, dtype=np.uint8)
    colour = np.repeat(shaded[order], size**2, axis=0)[inside.ravel()]
    picture[rows[inside], columns[inside]] = colour  # where two meet, the last one stays
    return picture


# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 2.9))
for axes, (azimuth, elevation) in zip(panels, ((0, 0), (35, 10), (-40, 30))):
    axes.imshow(draw(scene, scene_colours, azimuth, elevation, frame=scene[scene[:, 2] < 3.5]))
    axes.set_title(f"azimuth {azimuth}, elevation {elevation} degrees", fontsize=10)
    axes.set_axis_off()
show(
    figure,
    "The motorcycle in its garage as a cloud of coloured points: from the camera, from its side "
    "and from above. From aside, dark gaps open behind the motorcycle, where no camera looked.",
)

# %% [markdown]
# ## 1. A photograph with depth
#
# Two cameras side by side see a point at two different columns. The difference is the
# **disparity** d, in pixels. Near things have a large one. scikit-image ships such a pair with its
# measured disparity: the motorcycle of the Middlebury 2014 data set, at a quarter of the original
# resolution. Its documentation states the calibration, and that unknown pixels are NaN.
#
# *Predict:* how far away is the motorcycle, and how far the wall behind it?

# %%
print(f"NaN: {np.isnan(disparity).mean():.1%}, infinite: {np.isinf(disparity).mean():.1%}")

# %% [markdown]
# Look before you trust. The unknown pixels are **infinite**, not NaN. A check for NaN alone would
# let them through, and depth 1/infinity is 0: a pile of points in the camera's lens.
#
# With focal length f (pixels), baseline B (mm) and principal point (cx, cy), depth is
#
# $$z = \frac{f\,B}{d + \Delta}, \qquad x = \frac{(u - c_x)\,z}{f}, \qquad
# y = \frac{(v - c_y)\,z}{f}.$$
#
# $\Delta$ is the distance of the two cameras' principal points. It is easily forgotten, because
# many textbooks set it to 0.

# %%
print(f"{len(scene)} points, depth {scene[:, 2].min():.2f} to {scene[:, 2].max():.2f} m")

# %% [markdown]
# Is that plausible? Three checks with things whose size or shape is known. The garage's wall stands
# upright on its floor. A cardboard box does so as well. And the axles of a motorcycle of this kind
# are about 1.4 m apart (Yamaha's service data for the XJ550: 1410 mm).


# %%
def normal_of(points):
    """Direction in which flat points vary least: (n, 3) -> (3,)."""
    points = points[np.isfinite(points[:, 2])]
    return np.linalg.svd(points - points.mean(0), full_matrices=False)[2][2]


def place(grid, row, column):
    """Return the median place of a few pixels, which survives unknown ones and outliers."""
    window = grid[row - 4 : row + 5, column - 4 : column + 5].reshape(-1, 3)
    return np.nanmedian(window, axis=0)


rows = {}
for name, shift in (("with the offset", offset), ("offset forgotten", 0)):
    shaped = cloud_from_disparity(disparity, shift)
    floor = normal_of(shaped[420:490, 250:480].reshape(-1, 3))
    wall = normal_of(shaped[20:100, 185:290].reshape(-1, 3))
    box = normal_of(shaped[215:270, 620:675].reshape(-1, 3))
    rows[name] = {
        "floor to wall (degrees)": np.degrees(np.arccos(abs(floor @ wall))),
        "floor to box (degrees)": np.degrees(np.arccos(abs(floor @ box))),
        "axle to axle (m)": np.linalg.norm(place(shaped, 330, 200) - place(shaped, 372, 600)),
        "farthest point (m)": np.nanmax(shaped[..., 2]),
    }
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# With the offset the right angles are nearly right; without it the garage is squashed, and 27 m
# deep. So the formula and the offset fit this scene. The **size** does not: between the axles about
# a third is missing. Right angles say nothing about size, because the baseline multiplies
# everything alike. Which of the published numbers is off cannot be told from here. All metres
# below are the documented ones; they are good for comparing, not for building a garage.
#
# Look at the first picture again. The gaps are the shadow of the motorcycle: what one eye cannot
# see has no point. And in the gaps hang dots, between a near edge and what is behind it. They are
# called **flying pixels**: at an edge, smoothing and resampling mix two depths into one that is
# nowhere. Count those that jump by more than 5 cm from the left neighbour *and* on to the right
# one, in the same direction, and see which points have fewer than eight others within 2 cm.

# %%
z = grid[..., 2]
before, after = z[:, 1:-1] - z[:, :-2], z[:, 2:] - z[:, 1:-1]  # metres
flying = (np.minimum(np.abs(before), np.abs(after)) > 0.05) & (before * after > 0)
eighth = cKDTree(scene).query(scene, 9)[0][:, 8]  # distance to the eighth other point, metres
lonely = np.zeros_like(known)
lonely[known] = eighth > 0.02
print(
    f"pixels lie {1000 * np.median(scene[:, 2]) / focal:.1f} mm apart, in the middle of the scene"
)
print(f"{flying.sum()} points jump, {lonely.sum()} are lonely, of {known.sum()}")

# %% [markdown]
# Few, but they ruin every measure that looks at the worst point. From here on, the lonely ones are
# left out. That is the usual cure, and a blunt one: thin wires go as well.

# %% [markdown]
# ## 2. Surfaces whose truth is known
#
# What is the truth for a cloud? Not another cloud: that is one random sample of the surface. The
# truth is the **surface**. For a sphere or a cone its distance from any point is a formula, so an
# error can be exact. Each class below draws random parameters, samples points evenly by area, and
# knows the distance. The networks are trained on the four kinds here and on no others.


# %%
length = torch.linalg.vector_norm


class Sphere:
    def __init__(self, generator):
        self.radius = generator.uniform(0.5, 1)

    def sample(self, generator, count):
        points = generator.normal(size=(count, 3))
        return self.radius * points / np.linalg.norm(points, axis=1, keepdims=True)

    def distance(self, points):  # (n, 3) -> (n,)
        return (length(points, dim=1) - self.radius).abs()


class Torus:
    def __init__(self, generator):
        self.tube = generator.uniform(0.2, 0.6)

    def sample(self, generator, count):
        a, b, keep = generator.uniform(
            0, [[2 * np.pi], [2 * np.pi], [1 + self.tube]], (3, 8 * count)
        )
        a, b = np.stack([a, b])[:, keep < 1 + self.tube * np.cos(a)][:, :count]  # evenly by area
        around = 1 + self.tube * np.cos(a)
        return np.stack([around * np.cos(b), around * np.sin(b), self.tube * np.sin(a)], axis=1)

    def distance(self, points):
        from_axis = length(points[:, :2], dim=1)
        return (length(torch.stack([from_axis - 1, points[:, 2]]), dim=0) - self.tube).abs()


# %%
class Turned:
    """A surface turned on a lathe: corners of a profile, each (distance from the axis, height)."""

    def sample(self, generator, count):
        start, end = self.profile[:-1], self.profile[1:]
        area = np.linalg.norm(end - start, axis=1) * (start + end)[:, 0]
        piece = generator.choice(len(area), count, p=area / area.sum())
        (r0, z0), (r1, z1) = start[piece].T, end[piece].T
        u, angle = generator.uniform(0, [[1], [2 * np.pi]], (2, count))
        r = np.sqrt(r0**2 + u * (r1**2 - r0**2))  # evenly by area
        along = np.divide(r - r0, r1 - r0, out=u.copy(), where=r1 != r0)
        return np.stack([r * np.cos(angle), r * np.sin(angle), z0 + along * (z1 - z0)], axis=1)

    def distance(self, points):
        flat = torch.stack([length(points[:, :2], dim=1), points[:, 2]], dim=1)  # (n, 2)
        corners = torch.as_tensor(self.profile, dtype=points.dtype, device=points.device)
        found = []
        for start, end in itertools.pairwise(corners):
            along = ((flat - start) @ (end - start) / (end - start).square().sum()).clamp(0, 1)
            found.append(length(flat - start - along[:, None] * (end - start), dim=1))
        return torch.stack(found).amin(0)


class Cylinder(Turned):
    def __init__(self, generator):
        r, h = generator.uniform(0.4, 1), generator.uniform(0.3, 1)
        self.profile = np.array([[0, -h], [r, -h], [r, h], [0, h]])


# %%
class Box:
    def __init__(self, generator):
        self.half = generator.uniform(0.4, 1, 3)

    def sample(self, generator, count):
        area = self.half.prod() / self.half
        across = generator.choice(3, count, p=area / area.sum())
        points = generator.uniform(-1, 1, (count, 3))
        points[np.arange(count), across] = np.sign(points[np.arange(count), across])
        return points * self.half

    def distance(self, points):
        half = torch.as_tensor(self.half, dtype=points.dtype, device=points.device)
        beyond = points.abs() - half
        return (length(beyond.clamp(min=0), dim=1) + beyond.amax(1).clamp(max=0)).abs()


# %% [markdown]
# Three other kinds are **held out** for the test: a cone, a lens (two spheres that meet in a sharp
# rim), and a saddle, which bends both ways, as no surface of the training does everywhere. The
# saddle's nearest point has no short formula; the best point of a coarse grid and Newton's method
# from there find it to the last digit. Outside the square from which points are drawn, the saddle
# goes on.


# %%
class Cone(Turned):
    def __init__(self, generator):
        h = generator.uniform(0.5, 1)
        self.profile = np.array([[0, -h], [1, -h], [0, h]])


class Lens:
    def __init__(self, generator):
        self.below = generator.uniform(0.3, 0.8)  # a sphere's centre lies below the rim
        self.radius = np.hypot(1, self.below)

    def sample(self, generator, count):
        z, angle = generator.uniform([[self.below], [0]], [[self.radius], [2 * np.pi]], (2, count))
        r = np.sqrt(self.radius**2 - z**2)
        side = generator.choice([-1, 1], count)
        return np.stack([r * np.cos(angle), r * np.sin(angle), (z - self.below) * side], axis=1)

    def distance(self, points):
        r, z = length(points[:, :2], dim=1), points[:, 2].abs() + self.below
        from_centre = torch.hypot(r, z)
        on_cap = z * self.radius >= self.below * from_centre
        to_rim = torch.hypot(r - 1, z - self.below)
        return torch.where(on_cap, (from_centre - self.radius).abs(), to_rim)


# %%
class Saddle:
    def __init__(self, generator):
        self.bend = generator.uniform(0.4, 0.9)  # z = bend * (x ** 2 - y ** 2)

    def sample(self, generator, count):
        steepest = np.sqrt(1 + 8 * self.bend**2)
        x, y, keep = generator.uniform([[-1], [-1], [0]], [[1], [1], [steepest]], (3, 8 * count))
        keep = keep < np.sqrt(1 + 4 * self.bend**2 * (x**2 + y**2))  # evenly by area
        x, y = x[keep][:count], y[keep][:count]
        return np.stack([x, y, self.bend * (x**2 - y**2)], axis=1)

    def distance(self, points):
        k, (px, py, pz) = self.bend, points.T
        line = torch.linspace(-2, 2, 81, dtype=points.dtype, device=points.device)
        x, y = torch.cartesian_prod(line, line).T
        nearest = torch.cdist(points, torch.stack([x, y, k * (x * x - y * y)], dim=1)).argmin(1)
        x, y = x[nearest], y[nearest]
        for _ in range(20):  # Newton: where near this is the squared distance smallest?
            e = k * (x * x - y * y) - pz
            dx, dy = x - px + 2 * k * x * e, y - py - 2 * k * y * e
            xx, yy = 1 + 4 * k * k * x * x + 2 * k * e, 1 + 4 * k * k * y * y - 2 * k * e
            xy = -4 * k * k * x * y
            det = xx * yy - xy * xy
            x, y = x - (yy * dx - xy * dy) / det, y - (xx * dy - xy * dx) / det
        return length(torch.stack([x - px, y - py, k * (x * x - y * y) - pz]), dim=0)


# %% [markdown]
# Formulas have slips, so check each: samples lie on the surface, and the distance of a point near
# it is never more than that of the nearest of many samples, and not much less.

# %%
train_kinds, test_kinds = (Sphere, Torus, Cylinder, Box), (Cone, Lens, Saddle)
rows = {}
for kind in train_kinds + test_kinds:
    generator = np.random.default_rng(15)
    surface = kind(generator)
    many = surface.sample(generator, 20_000)
    near = many[:500] * [1, 1, 0.97] + generator.normal(0, 0.01, (500, 3))
    exact = surface.distance(torch.from_numpy(near)).numpy()
    sampled = cKDTree(many).query(near)[0]
    rows[kind.__name__] = {
        "of samples": surface.distance(torch.from_numpy(many)).max().item(),
        "exact never above sampled": bool((exact <= sampled + 1e-12).all()),
        "sampled minus exact, mean": (sampled - exact).mean(),
    }
pd.DataFrame(rows).T.map(lambda value: value if isinstance(value, bool) else f"{value:.1e}")


# %%
def upright(points):
    """Turn z from up to away, as `draw` and the camera have it."""
    return points[:, [0, 2, 1]] * [1, -1, 1]


figure, panels = plt.subplots(2, 4, figsize=(10, 4.4))
for axes, kind in itertools.zip_longest(panels.flat, train_kinds + test_kinds):
    axes.set_axis_off()
    if kind:
        generator = np.random.default_rng(15)
        points = upright(kind(generator).sample(generator, 6000))
        height = np.ptp(points[:, 1]) and (points[:, 1] - points[:, 1].min()) / np.ptp(points[:, 1])
        colours = plt.cm.viridis(1 - height)[:, :3] * 255
        axes.imshow(draw(points, colours, 25, 25))
        axes.set_title(kind.__name__ + (" (held out)" if kind in test_kinds else ""), fontsize=10)
show(figure, "Seven surfaces as clouds. Sphere, torus, cylinder and box are trained on.")

# %% [markdown]
# ## 3. How far apart are two clouds?
#
# For each point of one cloud find the nearest point of the other. The **Chamfer distance** averages
# these distances, both ways. The **Hausdorff distance** takes the largest. "The" Chamfer distance
# does not exist: papers square the distances or not, add the ways or average them, and multiply by
# 1000 without a word. Here: not squared, mean over points, mean of both ways. The unit is that of
# the coordinates.
#
# ### Exercise 15.1
#
# Write it for two small clouds. No search tree is needed: a table of all distances will do.


# %%
def my_chamfer(a, b):
    """Chamfer distance of two clouds, (n, 3) and (m, 3) -> float."""
    ### BEGIN SOLUTION
    table = np.linalg.norm(a[:, None] - b[None], axis=2)  # (n, m)
    return (table.min(axis=1).mean() + table.min(axis=0).mean()) / 2
    ### END SOLUTION


my_chamfer = check("15.1", my_chamfer)

# %% [markdown]
# Stuck? Run `from srlib.exercises import hint` and `hint("15.1")`. The table has n times m entries.
# For large clouds a k-d tree finds the nearest points without it.


# %%
def measure(points, surface, reference):
    """Score a cloud against a surface and a dense sample of it: dict of floats, units * 1000."""
    to_reference = cKDTree(reference).query(points)[0]
    to_points, owner = cKDTree(points).query(reference)
    to_surface = surface.distance(torch.from_numpy(points)).numpy()
    share = np.bincount(owner, minlength=len(points))  # of the surface, for each point
    return {
        "to surface": 1000 * to_surface.mean(),
        "worst": 1000 * to_surface.max(),
        "Chamfer": 1000 * (to_reference.mean() + to_points.mean()) / 2,
        "Hausdorff": 1000 * max(to_reference.max(), to_points.max()),
        "unevenness": share.std() / share.mean(),  # 0: each has the same share
    }


# %% [markdown]
# *Predict:* take 500 points of a sphere. Which measures notice (a) that each point is only repeated
# four times, (b) one flying point, (c) a hole, (d) that the same number of points crowds on one
# side?

# %%
generator = np.random.default_rng(0)
ball = Sphere(generator)
ball.radius = 1
reference = ball.sample(generator, 32_000)
few, more = ball.sample(generator, 500), ball.sample(generator, 2000)
many = ball.sample(generator, 8000)
crowded = np.vstack([many[many[:, 2] > 0][:1800], many[many[:, 2] < 0][:200]])
rows = {
    "500 points": few,
    "(a) 500 points, four times": np.repeat(few, 4, axis=0),
    "2000 points": more,
    "(b) 2000 points, one flies": np.vstack([more[1:], [[0, 0, 1.5]]]),
    "(c) 2000 points with a hole": more[more[:, 2] < 0.9],
    "(d) 2000 points, crowded": crowded,
}
rows = {name: measure(points, ball, reference) for name, points in rows.items()}
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# - The distance **to the surface** is zero for all points that lie on it, however few or badly
#   spread. Doing nothing wins. Never report it alone.
# - **Chamfer** is dominated by the spacing, so it falls when points are added. It cannot see
#   repetition: (a) scores like the 500. A single flying point hardly moves it. It feels crowding
#   only through the gaps elsewhere.
# - **Hausdorff** is one point's opinion: (b) and (c) ruin it, for opposite reasons.
# - **Unevenness** is how much the points' shares of the surface vary. It sees repetition and
#   crowding, and nothing of a flying point.
#
# So a cloud is judged by several numbers together.

# %% [markdown]
# ## 4. Neighbours without a grid
#
# A pixel has eight neighbours by its address. A point has the k **nearest** ones, which must be
# searched. And to thin a picture we take every second pixel; to thin a cloud, one draws at random
# or takes again and again the point that is **farthest** from all taken so far. The course's
# convention stays: clouds are tensors `(N, 3, P)`, the points where the pixels were.


# %%
def neighbours(points, k):
    """Find the k nearest other points, the nearest first: (N, 3, P) -> (N, P, k)."""
    # The fast way to distances, by a matrix product, loses the digits that matter here.
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(points.mT, points.mT, compute_mode=exact)
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)  # a point is not its own neighbour
    return distances.topk(k, largest=False).indices


def gather(features, index):
    """Look up the features of neighbours: (N, C, P) and (N, P, k) -> (N, C, P, k)."""
    flat = index.flatten(1)[:, None].expand(-1, features.shape[1], -1)
    return features.gather(2, flat).unflatten(2, index.shape[1:])


def farthest(points, count):
    """Choose points far from each other, from the first one on: (N, 3, P) -> (N, count)."""
    chosen = [torch.zeros(len(points), dtype=torch.long, device=points.device)]
    nearest = torch.full_like(points[:, 0], torch.inf)  # squared distance to what is chosen
    for _ in range(count - 1):
        last = gather(points, chosen[-1][:, None])  # (N, 3, 1)
        nearest = torch.minimum(nearest, (points - last).square().sum(1))
        chosen.append(nearest.argmax(1))
    return torch.stack(chosen, dim=1)


# %%
def to_tensor(points):
    """Make a cloud a batch of one: (n, 3) -> (1, 3, n)."""
    return torch.from_numpy(np.ascontiguousarray(points.T))[None]


generator = np.random.default_rng(3)
saddle = Saddle(generator)
dense = saddle.sample(generator, 3000)
thinned = {
    "at random": dense[:300],
    "farthest points": dense[farthest(to_tensor(dense), 300)[0].numpy()],
}
figure, panels = plt.subplots(1, 2, figsize=(10, 3.2))
for axes, (name, points) in zip(panels, thinned.items()):
    scores = measure(points, saddle, dense)
    axes.plot(points[:, 0], points[:, 1], ".", markersize=4)
    axes.set(aspect="equal", xlabel="x (units)", ylabel="y (units)")
    axes.set_title(f"{name}: unevenness {scores['unevenness']:.2f}", fontsize=10)
show(figure, "300 points of a saddle from above. At random they clump; farthest points are even.")

# %% [markdown]
# Farthest points leave no holes, but the method is greedy for extremes: it takes every flying pixel
# first. And a cloud thinned by it is easier to enlarge than one that a scanner delivers. The test
# below uses random points, the harder case; say which when you report a number.
#
# ### Edge convolution
#
# A convolution weighs neighbours by their place in the grid. Without a grid, each neighbour j of
# point i gets the same small network h, which sees the point's features and the **difference** to
# the neighbour's, and the maximum over the neighbours is kept:
#
# $$x_i' = \max_{j \in N(i)} h(x_i,\; x_j - x_i).$$
#
# This is DGCNN's edge convolution (Wang et al. 2019). A maximum does not care for order. DGCNN
# searches the neighbours anew in every layer, among the features; here they stay the nearest
# points, which is cheaper. h is linear and a ReLU, so its two linear parts can be applied to the
# points before the neighbours are looked up. Our h also sees where the neighbour is.


# %%
class EdgeBlock(nn.Module):
    """Residual block with an edge convolution: (N, C, P) -> (N, C, P)."""

    def __init__(self, channels):
        super().__init__()
        self.centre = nn.Conv1d(channels, channels, 1)  # of x_i
        self.edge = nn.Conv1d(channels, channels, 1, bias=False)  # of x_j - x_i
        self.where = nn.Conv2d(3, channels, 1, bias=False)  # of the place of j seen from i
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x, index, places):
        y = F.relu(x)
        edge = self.edge(y)
        difference = gather(edge, index) - edge[..., None]  # (N, C, P, k)
        hidden = F.relu(self.centre(y)[..., None] + difference + self.where(places))
        return x + self.mix(hidden.amax(3))


# %% [markdown]
# ### The shuffle of points
#
# Pixel shuffle made $r^2 C$ channels of one pixel into C channels of $r^2$ pixels. Its twin makes
# $rC$ channels of one point into C channels of r points, its **children** (PU-GCN calls it
# NodeShuffle).
#
# ### Exercise 15.2
#
# Write it. The children of a point stand side by side: those of point i at places `i * r` to
# `i * r + r - 1`. As in `nn.PixelShuffle`, channels `c * r` to `c * r + r - 1` are channel c of
# the children, in order.


# %%
def points_shuffle(features, r):
    """Channels to points: (N, r * C, P) -> (N, C, r * P)."""
    ### BEGIN SOLUTION
    split = features.unflatten(1, (-1, r))  # (N, C, r, P)
    return split.mT.flatten(2)  # (N, C, P, r) -> (N, C, P * r)
    ### END SOLUTION


points_shuffle = check("15.2", points_shuffle)

# %%
# NBVAL_CHECK_OUTPUT
print(points_shuffle(torch.arange(12.0).reshape(1, 6, 2), 3))

# %% [markdown]
# ## 5. Classical interpolation
#
# A network for images predicts what bicubic interpolation lacks. What is the bicubic of clouds?
#
# **Midpoints.** From a point go half way to some of its neighbours. The three nearest are a poor
# choice: they may all lie on one side. So of the eight nearest we take five that are far from each
# other. With the point itself this makes six children. Points i and j may both choose their common
# midpoint, so there are too many, and some twice: of all children, the farthest points are kept,
# four times as many as there were input points. That is the last step of every method below,
# networks included.


# %%
children = 6  # of which 4 in 6 remain


def midpoints(points):
    """Interpolate linearly: (n, 3) -> (n, children, 3), the point itself first."""
    nearest = cKDTree(points).query(points, 9)[1]  # of which the first is the point itself
    around = points[nearest]  # (n, 9, 3)
    ends = farthest(torch.from_numpy(around).mT, children).numpy()  # (n, children)
    return (points[:, None] + np.take_along_axis(around, ends[..., None], axis=1)) / 2


def thin(candidates):
    """Keep the farthest points: a batch (N, n, children, 3) -> (N, scale * n, 3)."""
    flat = np.asarray(candidates).reshape(len(candidates), -1, 3)  # (N, n * children, 3)
    count = scale * flat.shape[1] // children
    keep = farthest(torch.tensor(flat, dtype=torch.float32, device=device).mT.contiguous(), count)
    return np.take_along_axis(flat, keep.cpu().numpy()[..., None], axis=1)


# %% [markdown]
# **Local quadratics.** A midpoint of a curved surface lies below it, as a chord lies below its arc.
# So fit a small bent sheet to the 16 nearest points, a quadratic function over their tangent plane
# with weights that fall with distance, and move the midpoint onto it. This is one step of **moving
# least squares** (Alexa et al. 2003), the strong classical method.


# %%
def quadratic(points):
    """Interpolate on local quadratics: (n, 3) -> (n, children, 3), the point itself first."""
    start = midpoints(points)
    queries = start[:, 1:].reshape(-1, 3)
    distance, index = cKDTree(points).query(queries, 16)
    width = distance.mean(1)[:, None]
    weight = np.exp(-((distance / width) ** 2))[..., None]  # (m, 16, 1)
    near = points[index]  # (m, 16, 3)
    middle = (weight * near).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    spread = np.einsum("mki,mkj->mij", weight * (near - middle), near - middle)
    frame = np.linalg.eigh(spread)[1][..., ::-1]  # columns: two tangents, and the normal last
    u, v, height = np.moveaxis((near - queries[:, None]) @ frame / width[..., None], 2, 0)
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=2)  # (m, 16, 6)
    normal_matrix = np.einsum("mki,mkj->mij", weight * terms, terms) + 1e-3 * np.eye(6)
    right = (weight * terms * height[..., None]).sum(1)
    fitted = np.linalg.solve(normal_matrix, right[..., None])[:, 0]  # height above the query
    moved = queries + fitted * width * frame[..., 2]
    return np.concatenate([start[:, :1], moved.reshape(len(points), -1, 3)], axis=1)


# %% [markdown]
# *Predict:* on which of the held-out surfaces will local quadratics be hard to beat, and on which
# will they help little?
#
# ## 6. The network
#
# It gets the points and the children of a classical interpolation, and predicts an **offset** for
# each child: the skip from the interpolation, as in the course's SrResNet. All it sees are
# differences of points, divided by the mean distance to the neighbours of that point. The offsets
# are multiplied by it again. So moving and enlarging the cloud changes nothing, by construction,
# and a network trained on small patches runs on a whole scene whose spacing varies.


# %%
def pointwise(*channels):
    """Make a small network that is applied to each point by itself."""
    layers = [nn.Conv1d(before, after, 1) for before, after in itertools.pairwise(channels)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])


# %%
class PointUpsampler(nn.Module):
    """Refine interpolated children: (N, 3, P) and (N, 3, P * r) -> (N, 3, P * r)."""

    def __init__(self, channels=32, num_blocks=3, r=children, k=12):
        super().__init__()
        self.r, self.k = r, k
        self.first = nn.Conv2d(4, channels, 1)
        self.blocks = nn.ModuleList(EdgeBlock(channels) for _ in range(num_blocks))
        self.expand = nn.Conv1d(channels, r * channels, 1)
        self.head = pointwise(channels + 3, 2 * channels, channels, 3)
        nn.init.zeros_(self.head[-1].weight)  # untrained, it is the interpolation
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, points, start):
        index = neighbours(points, self.k)  # (N, P, k)
        places = gather(points, index) - points[..., None]  # (N, 3, P, k)
        spacing = length(places, dim=1, keepdim=True).mean(3)  # (N, 1, P)
        places = places / spacing[..., None]
        parent, unit = (t.repeat_interleave(self.r, dim=2) for t in (points, spacing))
        edges = torch.cat([places, length(places, dim=1, keepdim=True)], dim=1)
        x = F.relu(self.first(edges)).amax(3)  # (N, C, P)
        for block in self.blocks:
            x = block(x, index, places)
        child = points_shuffle(self.expand(F.relu(x)), self.r)  # (N, C, P * r)
        return start + unit * self.head(torch.cat([child, (start - parent) / unit], dim=1))


# %% [markdown]
# Three things should not change the result: the order of the points, a shift, and another unit of
# length. A rotation should turn the output with the input, but nothing in the network provides for
# it. Tried with random weights, in double precision:


# %%
def rotation(generator):
    """Draw a random rotation, all alike: (3, 3)."""
    q, r = np.linalg.qr(generator.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)  # of the two kinds, the one without a mirror


@torch.inference_mode()
def run(network, points, interpolation):
    """Enlarge a cloud: (n, 3) -> (n, children, 3)."""
    weights = next(network.parameters())
    inputs = [to_tensor(p.reshape(-1, 3)).to(weights) for p in (points, interpolation(points))]
    return network(*inputs)[0].mT.unflatten(0, (-1, children)).cpu().double().numpy()


torch.manual_seed(0)
network = PointUpsampler(16).double()
nn.init.normal_(network.head[-1].weight, std=0.1)
points = Torus(generator).sample(generator, 200)
output = run(network, points, midpoints)
order, turn = generator.permutation(200), rotation(generator)
changes = {
    "other order": run(network, points[order], midpoints) - output[order],
    "shifted by 7": run(network, points + 7, midpoints) - 7 - output,
    "in other units": run(network, points * 25.4, midpoints) / 25.4 - output,
    "turned": run(network, points @ turn.T, midpoints) @ turn - output,
}
for name, change in changes.items():
    print(f"{name}: largest change {np.abs(change).max():.1e}")

# %% [markdown]
# Rotations have to be **learned**: every training patch is turned at random each time it is used.
#
# ## 7. Training
#
# A training patch is 64 neighbouring points of a surface of one of the four kinds, drawn at random
# from 160 to 1000 points of the whole, so that flat and strongly bent patches occur. The target has
# two parts, both divided by the patch's spacing: the exact distance of each child to the surface,
# and the Chamfer distance's other way, from dense samples of the patch's middle to the nearest
# child. The border is left out of the second, because half of its neighbours are missing. With
# scanned data instead of formulas, dense scans would take the surface's place, with their noise.


# %%
def make_patch(generator):
    """Draw a surface, and of it: points (64, 3), truth (240, 3), two interpolations, spacing."""
    surface = train_kinds[generator.integers(len(train_kinds))](generator)
    count = int(160 * 6.25 ** generator.uniform())
    cloud, dense = (surface.sample(generator, m) for m in (count, 10 * count))
    middle = cloud[0]
    points = cloud[cKDTree(cloud).query(middle, 64)[1]]
    truth = dense[cKDTree(dense).query(middle, 240)[1]]
    spacing = cKDTree(points).query(points, 9)[0][:, 1:].mean()
    parts = (points, truth, midpoints(points), quadratic(points))
    tensors = (torch.from_numpy(part.reshape(-1, 3)).float() for part in parts)
    return surface, *tensors, spacing


generator = np.random.default_rng(0)
drawn = [make_patch(generator) for _ in tqdm(range(num_patches), desc="patches", unit="patch")]
surfaces, *columns = zip(*drawn)
patches, truths, *both = (torch.stack(column).to(device) for column in columns[:-1])
starts = dict(zip(("midpoints", "quadratic"), both))  # (patches, 64 * children, 3)
spacings = torch.tensor(columns[-1], dtype=torch.float32, device=device)


# %%
def training_step(network, start, generator, batch_size=8):
    """Two losses in units of the spacing: distance to the surface, and gaps."""
    chosen = generator.integers(len(patches), size=batch_size)
    turns = torch.tensor(np.stack([rotation(generator) for _ in chosen]), dtype=torch.float32)
    turns, unit = turns.to(device), spacings[chosen]
    output = network(turns @ patches[chosen].mT, turns @ start[chosen].mT)
    output = (turns.mT @ output).mT  # turned back: (N, P * r, 3)
    off = [surfaces[i].distance(points).mean() for i, points in zip(chosen, output)]
    gaps = torch.cdist(truths[chosen], output).amin(2).mean(1)
    return (torch.stack(off) / unit).mean(), (gaps / unit).mean()


# %%
def train_upsampler(start, seed, bar):
    """Train one network, and return it with its losses (steps, 2)."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = PointUpsampler(channels).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    history = []
    for _ in range(steps):
        off_surface, gaps = training_step(network, start, generator)
        optimizer.zero_grad()
        (3 * off_surface + gaps).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimizer.step()
        schedule.step()
        history.append((off_surface.item(), gaps.item()))
        bar.update()
    return network.eval(), np.array(history)


# %% [markdown]
# Two sets of networks are trained, alike in all but their starting points: one set starts from
# midpoints, the other from local quadratics.

# %%
networks, histories = {}, {}
with tqdm(total=len(starts) * len(seeds) * steps, desc="train", unit="step") as bar:
    for (name, start), seed in itertools.product(starts.items(), seeds):
        networks[name, seed], histories[name, seed] = train_upsampler(start, seed, bar)

# %%
window = max(1, steps // 16)
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6))
for axes, column, title in zip(panels, (0, 1), ("distance to the surface", "gaps")):
    for name, style in (("midpoints", "-"), ("quadratic", "--")):
        curves = np.stack([histories[name, seed][:, column] for seed in seeds])
        smooth = np.stack([np.convolve(c, np.ones(window) / window, "valid") for c in curves])
        x = np.arange(smooth.shape[1]) + window
        axes.plot(x, smooth.mean(0), style, label=f"network on {name}")
        axes.fill_between(x, smooth.min(0), smooth.max(0), alpha=0.25)
    axes.set(xlabel="step", ylabel=f"{title} (spacings)", ylim=(0, None), title=title)
    axes.legend()
show(
    figure,
    f"Two losses against the training step, mean and range over {len(seeds)} seeds, for networks "
    "that start from midpoints and from local quadratics.",
)

# %% [markdown]
# ## 8. On surfaces of other kinds
#
# *Predict:* four methods, three kinds of surfaces. Who wins where, by distance and by Chamfer?

# %%
tests, methods = [], {"midpoints": midpoints, "quadratic": quadratic}
for kind, number in itertools.product(test_kinds, range(test_shapes)):
    generator = np.random.default_rng(100 + number)
    surface = kind(generator)
    points, reference = (surface.sample(generator, count) for count in (test_points, 32_000))
    tests.append((kind.__name__, number, surface, points, reference))


def enlarge(method, seed=None):
    """Enlarge all test clouds by one method: (tests, scale * test_points, 3)."""
    interpolation = methods[method.removeprefix("network on ")]
    if seed is None:
        return thin([interpolation(points) for _, _, _, points, _ in tests])
    network = networks[method.removeprefix("network on "), seed]
    return thin([run(network, points, interpolation) for _, _, _, points, _ in tests])


outputs = {(name, None): enlarge(name) for name in methods}
for name, seed in itertools.product(methods, seeds):
    outputs[f"network on {name}", seed] = enlarge(f"network on {name}", seed)

# %%
rows = []
for (method, seed), clouds in outputs.items():
    for (kind, number, surface, _, reference), points in zip(tests, clouds):
        scores = measure(points, surface, reference)
        rows.append(
            {"kind": kind, "shape": number, "method": method, "seed": -1 if seed is None else seed}
            | scores
        )
for kind, number, surface, points, reference in tests:  # a poor start, and none at all
    near = points[cKDTree(points).query(points, 4)[1]]  # itself and the three nearest
    for method, cloud in (
        ("three nearest midpoints", (points[:, None] + near) / 2),
        ("input, repeated", np.repeat(points[:, None], scale, axis=1)),
    ):
        scores = measure(cloud.reshape(-1, 3), surface, reference)
        rows.append({"kind": kind, "shape": number, "method": method, "seed": -1} | scores)
results = pd.DataFrame(rows)
measures = ["to surface", "worst", "Chamfer", "Hausdorff", "unevenness"]
table = results.groupby(["kind", "method"], sort=False)[measures].mean().round(2)
table.sort_index(level="kind", sort_remaining=False)

# %% [markdown]
# All but the unevenness in thousandths of the unit in which the surfaces were defined; a cone's
# base has the radius 1. The means are over shapes and seeds. Their spread:

# %%
names = ["midpoints", "network on midpoints", "quadratic", "network on quadratic"]
kinds = [kind.__name__ for kind in test_kinds]
figure, panels = plt.subplots(1, 2, figsize=(10, 4))
for axes, measured in zip(panels, ("to surface", "Chamfer")):
    for place_of, name in zip(np.arange(4) * 0.2 - 0.3, names):
        part = results[results["method"] == name]
        by_seed = part.groupby(["kind", "seed"])[measured].mean().unstack("kind")
        middle = by_seed[kinds].mean()
        error = np.abs(by_seed[kinds].agg(["min", "max"]) - middle).to_numpy()
        axes.bar(np.arange(3) + place_of, middle, 0.19, yerr=error, capsize=3, label=name)
    axes.set_xticks(range(3), kinds)
    axes.set(ylabel="thousandths of the unit", title=measured)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure.suptitle(
    f"held-out surfaces, {test_shapes} of each kind; bars: range over {len(seeds)} seeds"
)
show(figure, "Distance to the surface and Chamfer distance of four methods on three kinds.")

# %% [markdown]
# The verdict, computed: a network's difference to a baseline on the same clouds, for each kind the
# mean over the shapes, and how many of the seeds agree.


# %%
def verdict(a, b, measured):
    """Say for each kind whether method a has the smaller error than b."""
    mean = results.groupby(["method", "kind", "seed"])[measured].mean()
    lines = {}
    for kind in kinds:
        ours, theirs = mean[a, kind], mean[b, kind].iloc[0]
        wins = int((ours < theirs).sum())
        lines[kind] = f"{100 * (ours.mean() / theirs - 1):+.1f} %, better {wins} of {len(ours)}"
    return lines


pairs = [
    ("network on midpoints", "midpoints"),
    ("network on midpoints", "quadratic"),
    ("network on quadratic", "quadratic"),
]
verdicts = {
    (f"{a} against {b}", measured): verdict(a, b, measured)
    for a, b in pairs
    for measured in ("to surface", "Chamfer")
}
pd.DataFrame(verdicts).T

# %% [markdown]
# Read it line by line, and look for these things:
#
# - **By distance**, a network can gain where its start is wrong in a systematic way: midpoints lie
#   inside a curved face, always on the same side. Against local quadratics it has a hard time. The
#   saddle *is* a quadratic, so there the formula is next to exact, and a small network, trained as
#   briefly as this one, adds noise to what was right.
# - **By Chamfer** the differences are a few per cent, because it is mostly spacing. Compare it with
#   the unevenness: a network gains by pushing children along the surface into gaps, which no
#   interpolation does. So a cloud can win by Chamfer and lose by distance.
# - **Hausdorff** hardly moves: it is the largest hole of the input, and nobody fills that.
# - The baselines are strong because of their last step. **Three nearest midpoints**, without it,
#   are far off by Chamfer, and by distance they look better than they are.
#
# Where are the errors? The same cone, each point coloured by its distance to the surface:

# %%
figure, panels = plt.subplots(1, 4, figsize=(10, 2.4))
cone = kinds.index("Cone") * test_shapes
surface = tests[cone][2]
for axes, name in zip(panels, names):
    points = outputs[name, seeds[0] if "network" in name else None][cone]
    error = 1000 * surface.distance(torch.from_numpy(points)).numpy()
    colours = plt.cm.cividis(np.clip(error / 30, 0, 1))[:, :3] * 255
    axes.imshow(draw(upright(points), colours, 25, 20, size=5, fade=0))
    axes.set_title(f"{name}\nmean {error.mean():.1f}", fontsize=9)
    axes.set_axis_off()
scale_of = plt.cm.ScalarMappable(plt.Normalize(0, 30), "cividis")
figure.colorbar(scale_of, ax=panels, extend="max", label="error (thousandths)", shrink=0.8)
show(
    figure,
    "A held-out cone enlarged by four methods. Bright points are far off; most sit at the rim.",
)

# %% [markdown]
# ## 9. The motorcycle
#
# Take the near part of the scene, draw points from it, and give a random quarter of them to the
# methods. The other three quarters are held out. There is no true surface here, but the photograph
# has far more pixels than we drew, only a few millimetres apart. So three numbers:
#
# - **to measured**: how far an output point is from the nearest of *all* measured points;
# - **from held out**: how far a held-out point is from the nearest output point;
# - **astray**: output points more than 2 cm from everything that was measured.
#
# *Predict:* what does a midpoint do between the handlebar and the floor behind it?

# %%
chosen = known & ~lonely & (grid[..., 2] < 2.75)
chosen[440:] = False  # the bare floor in front
near_part, near_colours = grid[chosen], photo[chosen]
drawn = np.random.default_rng(0).permutation(len(near_part))
given, held_out, other = np.split(
    drawn[: 2 * scale * cloud_points], [cloud_points, scale * cloud_points]
)
points = near_part[given]
clouds = {
    (f"network on {name}" if learned else name): (
        run(networks[name, seeds[0]], points, methods[name]) if learned else methods[name](points)
    )
    for name in methods
    for learned in (False, True)
}
clouds = dict(zip(clouds, thin(list(clouds.values()))))
clouds = {"given": points} | clouds | {"other real points": near_part[other]}

# %%
everything = cKDTree(near_part)
rows = {}
for name, cloud in clouds.items():
    to_measured = 1000 * everything.query(cloud)[0]
    from_held_out = 1000 * cKDTree(cloud).query(near_part[held_out])[0]
    rows[name] = {
        "points": len(cloud),
        "to measured (mm)": to_measured.mean(),
        "from held out (mm)": from_held_out.mean(),
        "Chamfer (mm)": (to_measured.mean() + from_held_out.mean()) / 2,
        "astray (%)": 100 * (to_measured > 20).mean(),
    }
motorcycle = pd.DataFrame(rows).T
motorcycle.round(2)

# %% [markdown]
# The last row is the yardstick: as many real points, drawn at random anew. They know what no
# interpolation can know. The step from "given" to a method, against the step from "given" to them,
# is how much of the way was made.
#
# What this shows: whether a network that has seen four kinds of toy surfaces is of use on a scan.
# What it does not show: the truth. The measured points have errors of their own, the parts that no
# camera saw are missing from both sides, and one scene is one scene. Chamfer also rewards points
# between the wires and spokes, where space is empty but never far from something.


# %%
def colours_of(cloud):
    """Give each point the colour of the nearest given one."""
    return near_colours[given][cKDTree(points).query(cloud)[1]]


shown = ("given", "midpoints", "network on midpoints", "other real points")
wheel = near_part[(near_part[:, 0] > 0.42) & (near_part[:, 1] > 0.05)]
figure, panels = plt.subplots(2, 4, figsize=(10, 4.6))
for column, name in zip(panels.T, shown):
    cloud = clouds[name]
    column[0].imshow(draw(cloud, colours_of(cloud), 20, 10, size=3, frame=near_part))
    column[1].imshow(draw(cloud, colours_of(cloud), 20, 10, size=5, frame=wheel))
    column[0].set_title(name, fontsize=10)
for axes in panels.flat:
    axes.set_axis_off()
show(
    figure,
    "The motorcycle and its front wheel as clouds: the given quarter, four times as many points by "
    "midpoints and by a network, and as many real points.",
)

# %% [markdown]
# Now turn it yourself. From the front all clouds look alike, because that is where the camera
# stood. From aside the points astray show, as threads between near and far.


# %%
def turn_cloud(cloud, azimuth, elevation, point_size):
    """Draw one of the clouds, in the colours of the photograph."""
    chosen = clouds[cloud]
    picture = draw(
        chosen,
        cloud_colours[cloud],
        azimuth,
        elevation,
        point_size,
        frame=near_part,
    )
    return picture, f"{cloud}: {len(chosen)} points, {rows[cloud]['astray (%)']:.1f} % astray"


cloud_colours = {name: colours_of(cloud) for name, cloud in clouds.items()}
cloud_view = Explorer(
    turn_cloud,
    cloud=ipywidgets.Dropdown(options=list(clouds), value="network on midpoints"),
    azimuth=ipywidgets.IntSlider(20, min=-90, max=90, description="azimuth (degrees)"),
    elevation=ipywidgets.IntSlider(10, min=-20, max=80, description="elevation (degrees)"),
    point_size=ipywidgets.IntSlider(3, min=1, max=5, description="point size (pixels)"),
)
cloud_view

# %% [markdown]
# ## What you saw

# %%
for (pair, measured), lines in verdicts.items():
    print(f"{pair}, {measured}: " + "; ".join(f"{kind} {text}" for kind, text in lines.items()))
for name in names:
    row = motorcycle.loc[name]
    chamfer, astray = row["Chamfer (mm)"], row["astray (%)"]
    print(f"motorcycle, {name}: Chamfer {chamfer:.2f} mm, astray {astray:.1f} %")

# %% [markdown]
# - Neighbours, residual blocks, a shuffle and a skip from the interpolation: all that the course
#   used on images has a twin without a grid.
# - What a network adds to an interpolation is a better spread, and a correction where that one is
#   systematically wrong. Where a formula fits the surface, the formula is closer to it.
# - One number does not judge a cloud. Distance to the surface ignores gaps, Chamfer ignores
#   repetition, Hausdorff sees one point.
#
# ## Pitfalls
#
# - **Invalid depth** may be NaN, infinite, 0 or negative. Look, whatever the documentation says.
# - **The offset of the principal points**, the baseline's unit, and a calibration for another
#   resolution: each bends or scales the whole scene. Measure something of known size.
# - **Depth edges.** Interpolating between neighbours in space joins what does not belong together
#   where the spacing is wide. Remove flying pixels before, and count points astray after.
# - **Chamfer distances of two papers** are comparable only if the squares, the factor, the size of
#   the unit and the number of points agree. The reference is a random sample as well.
# - **Scale.** A network that is fed raw coordinates learns the units of its training set.
# - **Farthest points against random points.** A method tuned on evenly thinned clouds may fail on
#   a scanner's. Ours has seen random ones only, and none with noise.
# - **Ties.** On a regular grid, such as a scanner's, many neighbours are equally near, and which
#   are taken depends on the order of the points.
#
# ## Further reading
#
# - D. Scharstein, H. Hirschmüller, Y. Kitajima, G. Krathwohl, N. Nešić, X. Wang, P. Westling,
#   "High-resolution stereo datasets with subpixel-accurate ground truth", GCPR, 2014. The
#   motorcycle; calibration at a quarter of the size from scikit-image's `data.stereo_motorcycle`.
# - Y. Wang, Y. Sun, Z. Liu, S. E. Sarma, M. M. Bronstein, J. M. Solomon, "Dynamic graph CNN for
#   learning on point clouds", ACM Transactions on Graphics 38(5), 2019. Edge convolution.
# - L. Yu, X. Li, C.-W. Fu, D. Cohen-Or, P.-A. Heng, "PU-Net: point cloud upsampling network", CVPR,
#   2018. The first network for the task.
# - R. Li, X. Li, C.-W. Fu, D. Cohen-Or, P.-A. Heng, "PU-GAN: a point cloud upsampling adversarial
#   network", ICCV, 2019. Makes too many points and keeps the farthest.
# - G. Qian, A. Abualshour, G. Li, A. Thabet, B. Ghanem, "PU-GCN: point cloud upsampling using graph
#   convolutional networks", CVPR, 2021. NodeShuffle.
# - Y. He, D. Tang, Y. Zhang, X. Xue, Y. Fu, "Grad-PU: arbitrary-scale point cloud upsampling via
#   gradient descent with learned distance functions", CVPR, 2023. Starts from midpoints, as here.
# - M. Alexa, J. Behr, D. Cohen-Or, S. Fleishman, D. Levin, C. T. Silva, "Computing and rendering
#   point set surfaces", IEEE Transactions on Visualization and Computer Graphics 9(1), 2003. Moving
#   least squares.
# - H. Huang, S. Wu, M. Gong, D. Cohen-Or, U. Ascher, H. Zhang, "Edge-aware point set resampling",
#   ACM Transactions on Graphics 32(1), 2013. A classical method that keeps edges.
# - Y. Eldar, M. Lindenbaum, M. Porat, Y. Y. Zeevi, "The farthest point strategy for progressive
#   image sampling", IEEE Transactions on Image Processing 6(9), 1997.
# - H. Fan, H. Su, L. Guibas, "A point set generation network for 3D object reconstruction from a
#   single image", CVPR, 2017. Chamfer and earth mover's distance as losses.
# - T. Wu, L. Pan, J. Zhang, T. Wang, Z. Liu, D. Lin, "Density-aware Chamfer distance as a
#   comprehensive metric for point cloud completion", NeurIPS, 2021. What Chamfer misses.

# %% [markdown]
# # The end of the course
#
# ## What you can do now
#
# - Say what degradation made a low-resolution image, and resize bit for bit as the field does (01,
#   02).
# - Measure by a stated protocol, and find the cause when a PSNR is 2 dB off (03, 10).
# - Build a residual deconvolution network from its parts, and say what each part is worth (04 to
#   07).
# - Feed, train, stop and resume it, and compare over seeds (08, 09, 10).
# - Make it serve any scale, any size of image, a time limit, a size limit (11, 12, 13).
# - Use several frames, and points instead of pixels (14, 15).
#
# ## What the course leaves out, and why
#
# **Perceptual losses and GANs.** All networks here minimise an error to the true image, so where
# many answers are possible they blur. Adversarial training draws sharp detail that is invented and
# costs PSNR. It needs other measures and human judges, and hours on a GPU.
#
# - Y. Blau, T. Michaeli, "The perception-distortion tradeoff", CVPR, 2018. Why both cannot be had.
# - J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and
#   super-resolution", ECCV, 2016.
# - C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
#   network", CVPR, 2017. SRGAN, and the SRResNet of this course.
# - X. Wang et al., "ESRGAN: enhanced super-resolution generative adversarial networks", ECCV
#   Workshops, 2018.
# - R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The unreasonable effectiveness of deep
#   features as a perceptual metric", CVPR, 2018. LPIPS.
#
# **Blind and real-world super-resolution.** Notebooks 01 and 10 show that a network trained on one
# degradation fails on others. The cure is training on many, which takes large data and long runs.
#
# - K. Zhang, J. Liang, L. Van Gool, R. Timofte, "Designing a practical degradation model for deep
#   blind image super-resolution", ICCV, 2021. BSRGAN.
# - X. Wang, L. Xie, C. Dong, Y. Shan, "Real-ESRGAN: training real-world blind super-resolution with
#   pure synthetic data", ICCV Workshops, 2021.
#
# **Transformers.** They lead the tables of PSNR today. The course's protocol, training and ways of
# comparing apply to them unchanged; two CPU cores do not.
#
# - J. Liang, J. Cao, G. Sun, K. Zhang, L. Van Gool, R. Timofte, "SwinIR: image restoration using
#   Swin transformer", ICCV Workshops, 2021.
# - X. Chen, X. Wang, J. Zhou, Y. Qiao, C. Dong, "Activating more pixels in image super-resolution
#   transformer", CVPR, 2023. HAT.
#
# **Diffusion.** Draws one of the possible answers by many steps of denoising. It is slow, strong,
# and free to invent.
#
# - C. Saharia, J. Ho, W. Chan, T. Salimans, D. J. Fleet, M. Norouzi, "Image super-resolution via
#   iterative refinement", IEEE Transactions on Pattern Analysis and Machine Intelligence 45(4),
#   2023. SR3.
#
# **Faces.** A strong prior makes a sharp face of a few pixels, and it need not be that person's.
# Such a picture proves nothing about anybody; we did not want to teach it in passing.
#
# - S. Menon et al., "PULSE: self-supervised photo upsampling via latent space exploration of
#   generative models", CVPR, 2020. Read the discussion of bias with it.
#
# **Raw bursts.** A telephone merges several raw frames before a picture exists. Notebook 14 has the
# idea; the real thing needs raw data, which no package of the course ships.
#
# - B. Wronski et al., "Handheld multi-frame super-resolution", ACM Transactions on Graphics, 2019.
# - G. Bhat, M. Danelljan, L. Van Gool, R. Timofte, "Deep burst super-resolution", CVPR, 2021.
#
# ## Where to read on
#
# - Z. Wang, J. Chen, S. C. H. Hoi, "Deep learning for image super-resolution: a survey", IEEE
#   Transactions on Pattern Analysis and Machine Intelligence 43(10), 2021.
# - E. Agustsson, R. Timofte, "NTIRE 2017 challenge on single image super-resolution: dataset and
#   study", CVPR Workshops, 2017. DIV2K. The NTIRE workshop's yearly reports say what wins now, at
#   what cost.
# - Y. Chen, S. Liu, X. Wang, "Learning continuous image representation with local implicit image
#   function", CVPR, 2021. LIIF; any scale.
# - K. C. K. Chan, S. Zhou, X. Xu, C. C. Loy, "BasicVSR++: improving video super-resolution with
#   enhanced propagation and alignment", CVPR, 2022. Video.
# - C. R. Qi, L. Yi, H. Su, L. J. Guibas, "PointNet++: deep hierarchical feature learning on point
#   sets in a metric space", NeurIPS, 2017. Points.
# - P. Milanfar (editor), *Super-Resolution Imaging*, CRC Press, 2010. The time before networks.
# - R. Szeliski, *Computer Vision: Algorithms and Applications*, 2nd edition, Springer, 2022. All
#   around it.
#
# And the best next step is none of these: take images of your own, write down how they were
# degraded, and measure.
