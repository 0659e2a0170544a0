"""Answers to the exercises of 17, for test_unusual_answers.py."""

import copy

import numpy as np
import torch


def in_float32(image, noise):
    return ((image.astype(np.float32) + noise).clip(0, 255) + 0.5).astype(np.uint8)


def by_where(image, noise):
    sum_ = np.floor(image + noise + 0.5)
    return np.where(sum_ < 0, 0, np.where(sum_ > 255, 255, sum_)).astype(np.uint8)


def pixel_by_pixel(image, noise):
    result = np.empty_like(image)
    for place in np.ndindex(image.shape):
        value = int(image[place]) + noise[place]
        result[place] = int(min(max(value, 0.0), 255.0) + 0.5)
    return result


def in_torch(image, noise):
    sum_ = torch.from_numpy(image).double() + torch.from_numpy(noise)
    return (sum_.clamp(0, 255) + 0.5).floor().to(torch.uint8).numpy()


def rounded_then_clipped(image, noise):
    return np.floor(0.5 + image + noise).clip(min=0).clip(max=255).astype("uint8")


def wraps(image, noise):
    return (image.astype(np.int16) + np.round(noise).astype(np.int16)).astype(np.uint8)


def wraps_by_modulo(image, noise):
    return np.mod(np.floor(image + noise + 0.5), 256).astype(np.uint8)


def shifted_by_a_level(image, noise):
    return np.ceil(np.clip(image + noise, 0, 255)).astype(np.uint8)


def by_lerp(first, second, strength):
    return {name: torch.lerp(first[name], second[name], float(strength)) for name in second}


def by_loop(first, second, strength):
    result = copy.deepcopy(first)
    for name, weight in second.items():
        result[name] += strength * (weight - first[name])
    return result


def in_float64(first, second, strength):
    return {
        name: (first[name].double() + strength * (second[name].double() - first[name])).float()
        for name in first
    }


def by_stack(first, second, strength):
    shares = torch.tensor([1 - strength, strength])
    return {
        n: torch.tensordot(shares.float(), torch.stack([first[n], second[n]]), 1) for n in first
    }


def sorted_by_name(first, second, strength):
    return {n: first[n] * (1 - strength) + second[n] * strength for n in sorted(first)}


def the_other_way(first, second, strength):
    return {name: torch.lerp(second[name], first[name], strength) for name in first}


def beyond(first, second, strength):
    return {n: first[n] + 2 * strength * (second[n] - first[n]) for n in first}


def into_the_first(first, second, strength):
    for name in first:
        first[name].lerp_(second[name], strength)
    return first


def by_parts(base, quality):
    factor = int(5000 / quality) if quality < 50 else 2 * (100 - quality)
    return np.clip(np.floor_divide(base * factor + 50, 100), 1, 255)


def number_by_number(base, quality):
    factor = 200 - 2 * quality
    if quality < 50:
        factor = 5000 // quality
    rows = [max(1, min(255, (int(b) * factor + 50) // 100)) for b in np.ravel(base)]
    return np.array(rows).reshape(np.shape(base))


def by_floor(base, quality):
    factor = np.floor(5000 / quality) if quality < 50 else 200.0 - 2 * quality
    return np.floor((base * factor + 50) / 100).clip(1, 255).astype(int)


def as_uint8(base, quality):
    return np.minimum(np.maximum(by_parts(base, quality), 1), 255).astype(np.uint8)


def table_in_torch(base, quality):
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = torch.from_numpy(np.asarray(base)) * factor + 50
    return torch.div(table, 100, rounding_mode="floor").clamp(1, 255).numpy()


def fraction_of_the_factor(base, quality):
    factor = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((base * factor + 50) // 100).clip(1, 255).astype(int)


def from_60(base, quality):
    factor = 5000 // quality if quality < 60 else 200 - 2 * quality
    return ((base * factor + 50) // 100).clip(1, 255)


def starts_at_zero(base, quality):
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((base * factor + 50) // 100).clip(0, 255)


RIGHT = {
    "17.1": [in_float32, by_where, pixel_by_pixel, in_torch, rounded_then_clipped],
    "17.2": [by_lerp, by_loop, in_float64, by_stack, sorted_by_name],
    "17.3": [by_parts, number_by_number, by_floor, as_uint8, table_in_torch],
}
WRONG = {
    "17.1": [wraps, wraps_by_modulo, shifted_by_a_level],
    "17.2": [the_other_way, beyond, into_the_first],
    "17.3": [fraction_of_the_factor, from_60, starts_at_zero],
}
