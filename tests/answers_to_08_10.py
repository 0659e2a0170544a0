"""Answers to the exercises of 08 to 10, for test_unusual_answers.py."""

import copy
import math
import statistics

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats


# 08.1
def by_two_slices(lr, hr, top, left, size, scale):
    rows, columns = slice(top, top + size), slice(left, left + size)
    large = [slice(scale * part.start, scale * part.stop) for part in (rows, columns)]
    return lr[rows, columns], hr[tuple(large)]


def by_rows_of_pixels(lr, hr, top, left, size, scale):
    both = []
    for image, s in ((lr, 1), (hr, scale)):
        rows, columns = s * top + np.arange(s * size), s * left + np.arange(s * size)
        both.append(image[np.ix_(rows, columns)])
    return both


def by_taking(lr, hr, top, left, size, scale):
    def take(image, s):
        rows = image.take(range(s * top, s * (top + size)), axis=0)
        return rows.take(range(s * left, s * (left + size)), axis=1)

    return take(lr, 1), take(hr, scale)


def cut_from_behind(lr, hr, top, left, size, scale):
    below, right = lr.shape[0] - top - size, lr.shape[1] - left - size
    hr = hr[scale * top : hr.shape[0] - scale * below, scale * left : hr.shape[1] - scale * right]
    return lr[top : lr.shape[0] - below, left : lr.shape[1] - right], hr


def by_blocks(lr, hr, top, left, size, scale):
    h, w = lr.shape[:2]
    hr = hr.reshape(h, scale, w, scale, -1)[top : top + size, :, left : left + size]
    return lr[top:, left:][:size, :size].copy(), hr.reshape(scale * size, scale * size, -1)


# 08.2
def by_functions(patch, flip_rows, flip_columns, transpose):
    patch = np.flipud(patch) if flip_rows else patch
    patch = np.fliplr(patch) if flip_columns else patch
    return np.transpose(patch, (1, 0, 2)) if transpose else patch


def by_steps(patch, flip_rows, flip_columns, transpose):
    patch = patch[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.moveaxis(patch, 0, 1) if transpose else patch.copy()


def transposed_first(patch, flip_rows, flip_columns, transpose):
    if transpose:
        patch, flip_rows, flip_columns = np.swapaxes(patch, 0, 1), flip_columns, flip_rows
    axes = [axis for axis, flip in enumerate((flip_rows, flip_columns)) if flip]
    return np.flip(patch, axes)


def by_torch_views(patch, flip_rows, flip_columns, transpose):
    patch = torch.from_numpy(np.ascontiguousarray(patch))
    patch = patch.flip([axis for axis, on in ((0, flip_rows), (1, flip_columns)) if on])
    return (patch.transpose(0, 1) if transpose else patch).numpy()


def by_turns(patch, flip_rows, flip_columns, transpose):
    if flip_rows and flip_columns:
        patch = np.rot90(patch, 2)
    elif flip_rows or flip_columns:
        patch = patch[::-1] if flip_rows else patch[:, ::-1]
    return np.rot90(patch, 1)[::-1] if transpose else patch


# 08.3
def by_grid(start, width, top, left, size):
    rows, columns = np.mgrid[top : top + size, left : left + size]
    return rows * width + columns + start


def by_ravelling(start, width, top, left, size):
    places = np.indices((size, size)) + np.array([top, left])[:, None, None]
    return start + np.ravel_multi_index(places, (top + size, width))


def by_cutting_a_table(start, width, top, left, size):
    table = start + np.arange((top + size) * width).reshape(-1, width)
    return table[top:, left : left + size]


def by_outer_sum(start, width, top, left, size):
    first = start + top * width + left
    return np.add.outer(first + width * np.arange(size), np.arange(size))


def by_tensor(start, width, top, left, size):
    corner, step = start + top * width + left, torch.arange(size)
    return (corner + step[:, None] * width + step).numpy()


# 08.4
def by_one_number(lr, hr, generator):
    number = int(generator.integers(8))
    view = number & 1, number & 2, number & 4
    return tuple(by_functions(image, *map(bool, view)) for image in (lr, hr))


def by_turn_and_mirror(lr, hr, generator):
    turns, mirror = generator.integers(4), generator.integers(2)
    images = (np.rot90(image, turns) for image in (lr, hr))
    return [image[:, ::-1] if mirror else image for image in images]


def by_choice(lr, hr, generator):
    rows, columns, swap = generator.choice([True, False], 3)
    return by_steps(lr, rows, columns, swap), by_steps(hr, rows, columns, swap)


def step_by_step(lr, hr, generator):
    if generator.random() > 0.5:
        lr, hr = lr[::-1], hr[::-1]
    if generator.random() > 0.5:
        lr, hr = lr[:, ::-1], hr[:, ::-1]
    if generator.random() > 0.5:
        lr, hr = lr.swapaxes(0, 1), hr.swapaxes(0, 1)
    return lr, hr


def from_one_state(lr, hr, generator):
    seed = int(generator.integers(2**32))
    return [by_one_number(x, x, np.random.default_rng(seed))[0] for x in (lr, hr)]


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


# 10.1
def by_logs(errors):
    each = [20 * np.log10(255) - 10 * np.log10((error**2).mean()) for error in errors]
    squares, count = sum((error**2).sum() for error in errors), sum(e.size for e in errors)
    return sum(each) / len(each), 20 * np.log10(255) - 10 * np.log10(squares / count)


def by_vdot(errors):
    pooled = sum(np.vdot(e, e) for e in errors) / sum(map(np.size, errors))
    return [np.mean([psnr_of(np.vdot(e, e) / e.size) for e in errors]), psnr_of(pooled)]


def psnr_of(mse):
    return float(10 * np.log10(65025 / mse))


def by_weights(errors):
    mse = np.array([np.square(e).mean() for e in errors])
    return psnr_of(mse.prod() ** (1 / len(mse))), psnr_of(
        np.average(mse, weights=[e.size for e in errors])
    )


def by_tensors(errors):
    errors = [torch.from_numpy(e) for e in errors]
    mse = torch.stack([(e**2).mean() for e in errors])
    pooled = torch.cat([e.flatten() for e in errors]).square().mean()
    return (10 * torch.log10(255**2 / mse)).mean(), 10 * torch.log10(255**2 / pooled)


def by_rms(errors):
    rms = [np.linalg.norm(e) / e.size**0.5 for e in errors]
    all_of_it = (
        np.linalg.norm([np.linalg.norm(e) for e in errors]) / sum(e.size for e in errors) ** 0.5
    )
    return np.mean(20 * np.log10(255 / np.array(rms))), 20 * np.log10(255 / all_of_it)


# 10.2
def by_sem(scores_a, scores_b):
    return np.mean(scores_a - scores_b), stats.sem(scores_a - scores_b)


def by_statistics(scores_a, scores_b):
    d = [float(a) - float(b) for a, b in zip(scores_a, scores_b, strict=True)]
    return statistics.fmean(d), statistics.stdev(d) / math.sqrt(len(d))


def by_covariance(scores_a, scores_b):
    (aa, ab), (_, bb) = np.cov(scores_a, scores_b)
    return scores_a.mean() - scores_b.mean(), ((aa + bb - 2 * ab) / len(scores_a)) ** 0.5


def by_sums(scores_a, scores_b):
    d, n = np.asarray(scores_a) - np.asarray(scores_b), len(scores_a)
    mean = d.sum() / n
    return np.array([mean, np.sqrt(((d - mean) ** 2).sum() / (n - 1) / n)])


def by_series(scores_a, scores_b):
    d = pd.Series(scores_a) - pd.Series(scores_b)
    return [d.mean(), d.sem()]


# 10.3
def by_transposing(upscaler, image):
    total = 0
    for turn in (lambda x: x, lambda x: x.swapaxes(0, 1)):
        for down in (slice(None), slice(None, None, -1)):
            for right in (slice(None), slice(None, None, -1)):
                total = total + turn(upscaler(turn(image[down, right])))[down, right] / 8
    return total


def flipped_after_turning(upscaler, image):
    outputs = []
    for k in range(4):
        for flip in (lambda x: x, np.flipud):
            outputs.append(np.rot90(flip(upscaler(flip(np.rot90(image, k)))), -k))
    return sum(outputs) / len(outputs)


def turned_three_times_more(upscaler, image):
    mirrored = [image, image[:, ::-1]]
    outputs = [[np.rot90(upscaler(np.rot90(m, k)), 4 - k) for k in range(4)] for m in mirrored]
    return (np.mean(outputs[0], axis=0) + np.mean(outputs[1], axis=0)[:, ::-1]) / 2


def of_copies(upscaler, image):
    image, running = np.ascontiguousarray(image), None
    for count in range(8):
        k, flip = divmod(count, 2)
        seen = np.rot90(image[::-1] if flip else image, k).copy()
        back = np.rot90(upscaler(seen), -k)
        back = back[::-1] if flip else back
        running = back if running is None else running + (back - running) / (count + 1)
    return running


def in_torch(upscaler, image):
    outputs = []
    for k in range(4):
        for dims in ([], [1]):
            turned = torch.rot90(torch.from_numpy(image.copy()).flip(dims), k, (0, 1))
            output = torch.from_numpy(np.array(upscaler(turned.numpy())))
            outputs.append(torch.rot90(output, -k, (0, 1)).flip(dims))
    return torch.stack(outputs).mean(0).numpy()


# 10.4
def means_first(scores_a, scores_b):
    return by_sem(np.mean(scores_a, axis=0), np.mean(scores_b, axis=0))


def by_frame(scores_a, scores_b):
    d = pd.DataFrame(scores_a - scores_b).mean()
    return d.mean(), d.sem()


def by_t_test(scores_a, scores_b):
    d = (scores_a - scores_b).mean(0)
    return d.mean(), d.mean() / stats.ttest_1samp(d, 0).statistic


def seed_by_seed(scores_a, scores_b):
    d = [float((a - b).sum()) / len(a) for a, b in zip(scores_a.T, scores_b.T, strict=True)]
    return statistics.mean(d), (statistics.variance(d) / len(d)) ** 0.5


def by_covariance_of_crops(scores_a, scores_b):
    d = scores_a - scores_b
    return d.mean(), (np.cov(d).sum() / d.shape[0] ** 2 / d.shape[1]) ** 0.5


def as_if_there_were_gradients(network, parts):
    for weight in network.parameters():
        weight.grad.zero_()  # a network that is new has none
    return by_autograd_grad(network, parts)


RIGHT = {
    "08.1": [by_two_slices, by_rows_of_pixels, by_taking, cut_from_behind, by_blocks],
    "08.2": [by_functions, by_steps, transposed_first, by_torch_views, by_turns],
    "08.3": [by_grid, by_ravelling, by_cutting_a_table, by_outer_sum, by_tensor],
    "08.4": [by_one_number, by_turn_and_mirror, by_choice, step_by_step, from_one_state],
    "09.1": [by_one_vector, by_torch, norm_of_norms, by_numpy, copies_first],
    "09.2": [by_sine, by_interp, by_torch_tensor, from_the_end, by_complex],
    "09.3": [by_lerp, by_foreach, by_difference, by_index, as_tuple],
    "09.4": [by_hypot, by_power, by_complex_abs, image_by_image, by_norm],
    "09.5": [by_autograd_grad, sums_first, patch_by_patch, running_mean, with_a_copy],
    "10.1": [by_logs, by_vdot, by_weights, by_tensors, by_rms],
    "10.2": [by_sem, by_statistics, by_covariance, by_sums, by_series],
    "10.3": [
        *(by_transposing, flipped_after_turning, turned_three_times_more, of_copies, in_torch)
    ],
    "10.4": [means_first, by_frame, by_t_test, seed_by_seed, by_covariance_of_crops],
}
WRONG = {
    "08.1": [
        lambda lr, hr, top, left, size, scale: by_taking(lr, hr, left, top, size, scale),
        lambda lr, hr, top, left, size, scale: by_taking(lr, hr, top, left, size, scale)[::-1],
        lambda lr, hr, top, left, size, scale: (
            by_taking(lr, hr, top, left, size, scale)[0],
            hr[top * scale :, left * scale :][:size, :size],
        ),
    ],
    "08.2": [
        lambda patch, flip_rows, flip_columns, transpose: patch,
        lambda patch, flip_rows, flip_columns, transpose: by_steps(
            patch, flip_columns, flip_rows, transpose
        ),
        lambda patch, flip_rows, flip_columns, transpose: by_steps(
            patch.T if transpose else patch, flip_rows, flip_columns, False
        ),
    ],
    "08.3": [
        lambda start, width, top, left, size: by_grid(start, size, top, left, size),
        lambda start, width, top, left, size: by_grid(start, width, left, top, size),
        lambda start, width, top, left, size: by_grid(start, width, top, left, size).ravel(),
    ],
    "08.4": [
        lambda lr, hr, generator: (lr, hr),
        lambda lr, hr, generator: (
            by_choice(lr, lr, generator)[0],
            by_choice(hr, hr, generator)[0],
        ),
        lambda lr, hr, generator: by_turn_and_mirror(lr, hr[::-1], generator),
    ],
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
    "09.5": [all_at_once, one_sum_of_losses, squares, as_if_there_were_gradients],
    "10.1": [
        lambda errors: by_logs([np.abs(error) ** 0.5 for error in errors]),
        lambda errors: by_logs([error - error.mean() for error in errors]),
        lambda errors: (np.median([by_logs([e])[0] for e in errors]), by_logs(errors)[1]),
    ],
    "10.2": [
        lambda scores_a, scores_b: (np.median(scores_a - scores_b), by_sem(scores_a, scores_b)[1]),
        lambda scores_a, scores_b: by_sem(np.sort(scores_a), np.sort(scores_b)),
        lambda scores_a, scores_b: (by_sem(scores_a, scores_b)[0], stats.sem(scores_a)),
    ],
    "10.3": [
        lambda upscaler, image: upscaler(image),
        lambda upscaler, image: (upscaler(image) + upscaler(image[:, ::-1])[:, ::-1]) / 2,
        lambda upscaler, image: by_transposing(upscaler, image).round(),
        lambda upscaler, image: by_transposing(upscaler, image)[: 2 * len(image)],
    ],
    "10.4": [
        lambda scores_a, scores_b: by_sem(scores_a.ravel(), scores_b.ravel()),
        lambda scores_a, scores_b: means_first(scores_b, scores_a),
        lambda scores_a, scores_b: (
            means_first(scores_a, scores_b)[0],
            by_sem(scores_a[0], scores_b[0])[1],
        ),
    ],
}
