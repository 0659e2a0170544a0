"""Answers to the exercises of 08 to 10, for test_unusual_answers.py."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F


# 09.1
def by_one_vector(gradients, largest):
    vector = torch.cat([gradient.flatten() for gradient in gradients])
    vector = vector * min(1.0, largest / max(vector.norm().item(), 1e-30))
    parts = vector.split([gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]


def by_torch(gradients, largest):
    weights = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(weights, largest)
    return [weight.grad for weight in weights]


def norm_of_norms(gradients, largest):
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    factor = (largest / norm).clamp(max=1) if norm > 0 else 1
    return tuple(gradient * factor for gradient in gradients)


def by_numpy(gradients, largest):
    norm = math.sqrt(sum(float(np.square(g.numpy(), dtype=np.float64).sum()) for g in gradients))
    return [g / max(1.0, norm / largest) for g in gradients]


def copies_first(gradients, largest):
    gradients = [gradient.clone() for gradient in gradients]
    norm = sum(float(gradient.double().pow(2).sum()) for gradient in gradients) ** 0.5
    if norm > largest:
        for gradient in gradients:
            gradient *= largest / norm
    return gradients


# 09.2
def by_sine(step, steps, warmup_steps, highest):
    if step < warmup_steps:
        return step * (highest / warmup_steps)
    left = (steps - step) / (steps - warmup_steps)
    return highest * math.sin(math.pi / 2 * left) ** 2


def by_interp(step, steps, warmup_steps, highest):
    angle = np.interp(step, [warmup_steps, steps], [0, np.pi])
    rise = 1 if step >= warmup_steps else step / warmup_steps
    return highest * rise * np.cos(angle / 2) ** 2


def by_torch_tensor(step, steps, warmup_steps, highest):
    if warmup_steps and step <= warmup_steps:
        return torch.tensor(highest * step / warmup_steps, dtype=torch.float64)
    part = torch.tensor((step - warmup_steps) / (steps - warmup_steps), dtype=torch.float64)
    return highest * (torch.cos(math.pi * part) + 1) / 2


def from_the_end(step, steps, warmup_steps, highest):
    if step >= warmup_steps:
        part = (steps - step) / (steps - warmup_steps)
        return highest * (1 - math.cos(math.pi * part)) / 2
    return highest - highest * (warmup_steps - step) / warmup_steps


def by_complex(step, steps, warmup_steps, highest):
    if step < warmup_steps:
        return highest / warmup_steps * step
    turn = np.exp(1j * np.pi * (step - warmup_steps) / (steps - warmup_steps))
    return highest * (1 + turn.real) / 2


# 09.3
def by_lerp(average, weights, decay):
    return [old.lerp(new, 1 - decay) for old, new in zip(average, weights, strict=True)]


def by_foreach(average, weights, decay):
    return list(torch._foreach_lerp(average, weights, 1 - decay))


def by_difference(average, weights, decay):
    return [new + decay * (old - new) for old, new in zip(average, weights, strict=True)]


def by_index(average, weights, decay):
    result = []
    for k in range(len(average)):
        one = average[k].clone()
        one.mul_(decay)
        one.add_(weights[k], alpha=1 - decay)
        result.append(one)
    return result


def as_tuple(average, weights, decay):
    pairs = (torch.stack(pair) for pair in zip(average, weights, strict=True))
    mix = torch.tensor([decay, 1 - decay])
    return tuple(torch.tensordot(mix, pair, dims=1) for pair in pairs)


# 09.4
def by_hypot(sr, hr, eps=1e-3):
    return torch.hypot(sr - hr, torch.full_like(sr, eps)).mean()


def by_power(sr, hr, eps=1e-3):
    return ((sr - hr).square() + eps * eps).pow(0.5).sum() / sr.numel()


def by_complex_abs(sr, hr, eps=1e-3):
    return torch.complex(sr - hr, torch.full_like(sr, eps)).abs().mean()


def image_by_image(sr, hr, eps=1e-3):
    each = [((a - b) ** 2 + eps**2).sqrt().mean() for a, b in zip(sr, hr, strict=True)]
    return torch.stack(each).mean()


def by_norm(sr, hr, eps=1e-3):
    both = torch.stack([hr - sr, torch.full_like(sr, eps)])
    return torch.linalg.vector_norm(both, dim=0).mean()


# 09.5
def by_autograd_grad(network, parts):
    weights = list(network.parameters())
    total = [torch.zeros_like(weight) for weight in weights]
    count = sum(lr.shape[0] for lr, _ in parts)
    for lr, hr in parts:
        loss = (network(lr) - hr).abs().mean() * (lr.shape[0] / count)
        for sum_, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
            sum_ += gradient
    return total


def sums_first(network, parts):
    for weight in network.parameters():
        weight.grad = None
    for lr, hr in parts:
        F.l1_loss(network(lr), hr, reduction="sum").backward()
    values = sum(hr.numel() for _, hr in parts)
    return [weight.grad / values for weight in network.parameters()]


def patch_by_patch(network, parts):
    network.zero_grad()
    patches = [(lr[k : k + 1], hr[k : k + 1]) for lr, hr in parts for k in range(len(lr))]
    for lr, hr in patches:
        (F.l1_loss(network(lr), hr) / len(patches)).backward()
    return tuple(weight.grad for weight in network.parameters())


def running_mean(network, parts):
    seen, mean = 0, None
    for lr, hr in parts:
        network.zero_grad(set_to_none=True)
        F.l1_loss(network(lr), hr).backward()
        new = [weight.grad.clone() for weight in network.parameters()]
        seen += len(lr)
        share = len(lr) / seen
        mean = new if mean is None else [m.lerp(n, share) for m, n in zip(mean, new, strict=True)]
    return mean


def with_a_copy(network, parts):
    twin = copy.deepcopy(network)
    count = sum(len(hr) for _, hr in parts)
    for lr, hr in parts:
        twin(lr).sub(hr).abs().mean((1, 2, 3)).sum().div(count).backward()
    return [weight.grad for weight in twin.parameters()]


def all_at_once(network, parts):
    network.zero_grad()
    lr, hr = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    F.l1_loss(network(lr), hr).backward()
    return [weight.grad for weight in network.parameters()]


def one_sum_of_losses(network, parts):
    network.zero_grad()
    count = sum(len(lr) for lr, _ in parts)
    sum(F.l1_loss(network(lr), hr) * len(lr) / count for lr, hr in parts).backward()
    return [weight.grad for weight in network.parameters()]


def squares(network, parts):
    network.zero_grad()
    count = sum(len(lr) for lr, _ in parts)
    for lr, hr in parts:
        (F.mse_loss(network(lr), hr) * len(lr) / count).backward()
    return [weight.grad for weight in network.parameters()]


RIGHT = {
    "09.1": [by_one_vector, by_torch, norm_of_norms, by_numpy, copies_first],
    "09.2": [by_sine, by_interp, by_torch_tensor, from_the_end, by_complex],
    "09.3": [by_lerp, by_foreach, by_difference, by_index, as_tuple],
    "09.4": [by_hypot, by_power, by_complex_abs, image_by_image, by_norm],
    "09.5": [by_autograd_grad, sums_first, patch_by_patch, running_mean, with_a_copy],
}
WRONG = {
    "09.1": [
        lambda gradients, largest: [g / g.norm() * largest for g in gradients],
        lambda gradients, largest: [g * min(1.0, largest) for g in gradients],
        lambda gradients, largest: [
            g * largest / max(largest, max(float(x.norm()) for x in gradients)) for g in gradients
        ],
    ],
    "09.2": [
        lambda step, steps, warmup_steps, highest: highest * (1 - step / steps),
        lambda step, steps, warmup_steps, highest: highest * min(1, step / max(1, warmup_steps)),
        lambda step, steps, warmup_steps, highest: by_sine(step + 1, steps, warmup_steps, highest),
    ],
    "09.3": [
        lambda average, weights, decay: [(a + w) / 2 for a, w in zip(average, weights)],  # noqa: B905
        lambda average, weights, decay: average,
        lambda average, weights, decay: by_lerp(average, weights, 1 - decay**2),
    ],
    "09.4": [
        lambda sr, hr, eps=1e-3: by_hypot(sr, hr, 1e-3),
        lambda sr, hr, eps=1e-3: by_hypot(sr, hr, eps).detach(),
        lambda sr, hr, eps=1e-3: F.smooth_l1_loss(sr, hr, beta=eps),
        lambda sr, hr, eps=1e-3: by_hypot(sr, hr, eps) - eps,
    ],
    "09.5": [all_at_once, one_sum_of_losses, squares],
}
