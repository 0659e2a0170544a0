"""Exercises: real photographs."""

import io

import numpy as np
import torch
from PIL import Image

from srlib.exercises.grading import Case, Exercise, Mistake

__all__ = ["EXERCISES"]


# Noise that does not wrap around


def _add_noise(image, noise):
    return np.floor(np.clip(image + noise, 0, 255) + 0.5).astype(np.uint8)


def _pictures():
    random = np.random.default_rng(17)
    middle = random.integers(60, 190, (4, 5, 3), dtype=np.uint8)
    ends = random.choice(np.array([0, 2, 253, 255], np.uint8), (5, 4, 3))
    return (
        Case("a white sky and a black night", (ends, random.normal(scale=9, size=(5, 4, 3)))),
        Case("noise far from black and white", (middle, random.normal(scale=9, size=(4, 5, 3)))),
        Case("halves", (middle[:2], np.full((2, 5, 3), 0.5))),
        Case("strong noise", (middle, random.normal(scale=120, size=(4, 5, 3)))),
        Case("no noise", (ends, np.zeros((5, 4, 3)))),
    )


_ADD_NOISE = Exercise(
    title="find the bug: black specks in a white sky",
    reference=_add_noise,
    cases=_pictures,
    mistakes=(
        Mistake(
            lambda image, noise: (image + noise).astype(np.int64).astype(np.uint8),
            "What is above 255 begins again at 0, and what is below 0 at 255. That was the bug: "
            "clip before the conversion.",
        ),
        Mistake(
            lambda image, noise: np.floor(image + noise + 0.5).astype(np.int64).astype(np.uint8),
            "Rounded, but what is above 255 still begins again at 0: clip before the conversion.",
        ),
        Mistake(
            lambda image, noise: np.clip(image + noise, 0, 255).astype(np.uint8),
            "The conversion to uint8 cuts the fraction off, which makes the picture darker by half "
            "a level on average. Round first.",
        ),
        Mistake(
            lambda image, noise: image + np.round(noise).astype(np.int64).astype(np.uint8),
            "The noise is converted first, and the sum of two uint8 arrays wraps around as well.",
        ),
        Mistake(
            lambda image, noise: np.clip(image + noise, 0, 255).round().astype(np.uint8),
            "NumPy rounds halves to the even number, 0.5 to 0 and 1.5 to 2. Here they go up.",
        ),
        Mistake(
            lambda image, noise: np.clip(image + noise, 0, 255),
            "The picture is float now. A file holds whole grey levels: uint8.",
        ),
        Mistake(
            lambda image, noise: np.floor(np.clip(image + noise, 1, 254) + 0.5).astype(np.uint8),
            "Black and white are clipped away: 0 and 255 are allowed.",
        ),
        Mistake(
            lambda image, noise: np.floor(
                np.clip(image + noise.mean(axis=2, keepdims=True), 0, 255) + 0.5
            ).astype(np.uint8),
            "All channels get the same noise, so it has no colour. Each has its own in `noise`.",
        ),
        Mistake(
            lambda image, noise: image.copy(),
            "The picture is as it was.",
        ),
    ),
    hints=(
        "What is np.array([260.0]).astype(np.uint8)? And what is it for -3.0?",
        "Add in float, clip to 0..255, round half up, convert.",
        "np.floor(np.clip(image + noise, 0, 255) + 0.5).astype(np.uint8)",
    ),
)


# Two networks become one


def _blend(first, second, strength):
    return {name: (1 - strength) * first[name] + strength * second[name] for name in first}


def _weights(seed, *, step=0.0):
    random = torch.Generator().manual_seed(seed)
    shapes = {"head.weight": (2, 3, 3, 3), "head.bias": (2,), "tail.weight": (1, 2, 1, 1)}
    return {name: torch.randn(s, generator=random) + step for name, s in shapes.items()}


_BLEND = Exercise(
    title="two networks become one",
    reference=_blend,
    cases=lambda: (
        Case("half of each", (_weights(0), _weights(1), 0.5)),
        Case("a quarter of the second", (_weights(2), _weights(3, step=4), 0.25)),
        Case("all of the first", (_weights(4), _weights(5), 0)),
        Case("all of the second", (_weights(6), _weights(7), 1)),
        Case("another order of the names", (_weights(8), dict(reversed(_weights(9).items())), 0.8)),
    ),
    tolerance=1e-5,
    mistakes=(
        Mistake(
            lambda first, second, strength: _blend(second, first, strength),
            "The two are swapped: at strength 0 all is the first.",
        ),
        Mistake(
            lambda first, second, strength: _blend(first, second, 0.5),
            "This is always the mean. How much of each is `strength`'s to say.",
        ),
        Mistake(
            lambda first, second, strength: {
                name: first[name] + strength * second[name] for name in first
            },
            "The first stays whole, so at strength 1 the weights are the sum of both. What the "
            "second gets, the first must lose.",
        ),
        Mistake(
            lambda first, second, strength: {
                name: b if strength >= 0.5 else a
                for (name, a), b in ((item, second[item[0]]) for item in first.items())
            },
            "This takes one of the two. Each weight is to be a mean of both.",
        ),
        Mistake(
            lambda first, second, strength: {
                name: (1 - strength) * a + strength * b
                for (name, a), b in zip(first.items(), second.values(), strict=True)
            },
            "Weights are taken by their place. Take them by name: the order may differ.",
        ),
        Mistake(
            lambda first, second, strength: {
                name: _blend(first, second, strength)[name] if "bias" not in name else first[name]
                for name in first
            },
            "The biases are those of the first. They belong to the weights: blend them too.",
        ),
        Mistake(
            lambda first, second, strength: {
                name: first[name] ** (1 - strength) * second[name] ** strength for name in first
            },
            "This is a geometric mean, NaN for negative weights. A weighted mean is asked.",
        ),
    ),
    hints=(
        "Both have the same names. What is each tensor at strength 0, and what at 1?",
        "A weighted mean: (1 - strength) of the first and strength of the second.",
        "{name: torch.lerp(first[name], second[name], strength) for name in first}",
    ),
)


# The table in a JPEG file


def _base():
    """Return the standard's table, as Pillow writes it at quality 50."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=50)
    with Image.open(file) as picture:
        return np.array(picture.quantization[0])


def _factor(quality):
    return 5000 // quality if quality < 50 else 200 - 2 * quality


def _table_of(base, quality):
    return ((base * _factor(quality) + 50) // 100).clip(1, 255)


_TABLE = Exercise(
    title="the table in a JPEG file",
    reference=_table_of,
    cases=lambda: (
        Case("quality 75", (_base(), 75)),
        Case("quality 50", (_base(), 50)),
        Case("quality 100", (_base(), 100)),
        Case("quality 37", (_base(), 37)),
        Case("quality 58", (_base(), 58)),
        Case("quality 3", (_base(), 3)),
        Case("quality 28", (_base(), 28)),
        Case("another table, 90", (np.arange(2, 66).reshape(8, 8), 90)),
    ),
    mistakes=(
        Mistake(
            lambda base, quality: (base * _factor(quality) + 50) // 100,
            "At a high quality the table has zeros, and nothing can be divided by 0: at least 1.",
        ),
        Mistake(
            lambda base, quality: ((base * _factor(quality) + 50) // 100).clip(min=1),
            "At a low quality the numbers do not fit into a byte: at most 255.",
        ),
        Mistake(
            lambda base, quality: ((base * (200 - 2 * quality) + 50) // 100).clip(1, 255),
            "Below 50 the factor is 5000 / quality, rounded down.",
        ),
        Mistake(
            lambda base, quality: (
                ((base * round(5000 / quality) + 50) // 100).clip(1, 255)
                if quality < 50
                else _table_of(base, quality)
            ),
            "Below 50 the factor is rounded down, not to the nearest.",
        ),
        Mistake(
            lambda base, quality: ((base * (5000 // quality) + 50) // 100).clip(1, 255),
            "From 50 on the factor is 200 - 2 * quality.",
        ),
        Mistake(
            lambda base, quality: ((base * _factor(quality)) // 100).clip(1, 255),
            "This rounds down. The 50 before the division makes it round to the nearest.",
        ),
        Mistake(
            lambda base, quality: ((base * _factor(quality) + 50) / 100).clip(1, 255),
            "These are fractions. The table holds whole numbers.",
        ),
        Mistake(
            lambda base, quality: ((base * 50 / quality + 0.5) // 1).clip(1, 255).astype(int),
            "This is right at 50 and below. Above, the factor falls in a straight line.",
        ),
        Mistake(
            lambda base, quality: base.copy(),
            "This is the standard's table itself, whatever the quality.",
        ),
    ),
    hints=(
        "First the factor S, a whole number that depends on the quality only. What is it at 50?",
        "Then (base * S + 50) // 100 for all numbers at once, clipped to 1..255.",
        "factor = 5000 // quality if quality < 50 else 200 - 2 * quality; "
        "((base * factor + 50) // 100).clip(1, 255)",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_ADD_NOISE, _BLEND, _TABLE)
