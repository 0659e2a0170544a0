"""Answers to the exercises of 16, for test_unusual_answers.py."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance

# 16.1


def by_numpy(a, b):
    return np.abs(np.sort(a.numpy()) - np.sort(b.numpy())).mean(-1)


def by_scipy(a, b):
    return [wasserstein_distance(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]


def by_quantiles(a, b):
    number = a.shape[-1]
    q = (torch.arange(number, dtype=a.dtype)) / max(number - 1, 1)
    return (torch.quantile(a, q, dim=-1) - torch.quantile(b, q, dim=-1)).abs().mean(0)


def by_the_areas_between_two_steps(a, b):
    found = []
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        places = sorted(x + y)
        area = 0.0
        for left, right in zip(places, places[1:], strict=False):
            above = sum(v <= left for v in x) - sum(v <= left for v in y)
            area += abs(above) * (right - left)
        found.append(area / len(x))
    return tuple(found)


def by_argsort_and_gather(a, b):
    x, y = (t.gather(-1, t.argsort(-1)) for t in (a, b))
    return torch.linalg.vector_norm(x - y, ord=1, dim=-1) / a.size(-1)


def by_l1_loss(a, b):
    rows = zip(torch.sort(a, -1)[0], torch.sort(b, -1)[0], strict=True)
    return torch.stack([F.l1_loss(x, y) for x, y in rows])


def a_column(a, b):
    return torch.as_tensor(by_numpy(a, b))[:, None]


def of_deviations(a, b):
    return (a.std(-1, correction=0) - b.std(-1, correction=0)).abs()


def of_medians(a, b):
    return (a.median(-1).values - b.median(-1).values).abs()


def of_all_pairs(a, b):
    return (a[:, :, None] - b[:, None]).abs().mean((1, 2))


def over_one_less(a, b):
    return torch.as_tensor(by_numpy(a, b)) * a.shape[-1] / max(a.shape[-1] - 1, 1)


# 16.2


def by_binary_cross_entropy(real, fake):
    bce = F.binary_cross_entropy_with_logits
    yes, no = torch.ones_like(real), torch.zeros_like(fake)
    return bce(real, yes) + bce(fake, no), bce(fake, torch.ones_like(fake))


def by_logsigmoid(real, fake):
    return [-F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean(), -F.logsigmoid(fake).mean()]


def by_logaddexp(real, fake):
    def soft(x):
        return torch.logaddexp(x, torch.zeros_like(x)).mean()

    return soft(-real) + soft(fake), soft(-fake)


def by_a_sum_over_the_number(real, fake):
    d = F.softplus(-real).sum() / real.numel() + F.softplus(fake).sum() / fake.numel()
    return d, F.softplus(fake.neg()).sum() / fake.numel()


def by_relu_and_log1p(real, fake):
    def soft(x):
        return (F.relu(x) + torch.log1p(torch.exp(-x.abs()))).mean()

    return (soft(-real) + soft(fake), soft(-fake))


def in_one_batch(real, fake):
    sign = torch.cat([-torch.ones_like(real), torch.ones_like(fake)])
    each = F.softplus(sign * torch.cat([real, fake]))
    return 2 * each.mean(), F.softplus(-fake).mean()


def of_squares(real, fake):
    return (real - 1).square().mean() + fake.square().mean(), (fake - 1).square().mean()


def relativistic(real, fake):
    d = F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()
    return d, F.softplus(real.mean() - fake).mean()


def as_numbers(real, fake):
    return tuple(loss.item() for loss in by_logsigmoid(real, fake))


def the_sum_of_both(real, fake):
    return sum(by_logsigmoid(real, fake))


def of_probabilities(real, fake):
    return F.softplus(-torch.sigmoid(real)).mean() + F.softplus(torch.sigmoid(fake)).mean(), (
        F.softplus(-torch.sigmoid(fake)).mean()
    )


# 16.3


def in_one_call(discriminator, optimizer, sr, hr):
    real, fake = discriminator(torch.cat([hr, sr.detach()])).chunk(2)
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def two_backwards(discriminator, optimizer, sr, hr):
    optimizer.zero_grad(set_to_none=False)
    first = F.softplus(-discriminator(hr)).mean()
    first.backward()
    second = F.softplus(discriminator(sr.detach().clone())).mean()
    second.backward()
    optimizer.step()
    return first.item() + second.item()


def gradients_by_hand(discriminator, optimizer, sr, hr):
    weights = list(discriminator.parameters())
    loss = F.softplus(-discriminator(hr)).mean() + F.softplus(discriminator(sr.data)).mean()
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    optimizer.step()
    return float(loss)


def zero_by_the_module(discriminator, optimizer, sr, hr):
    discriminator.zero_grad()
    logits = [discriminator(x) for x in (hr, torch.tensor(sr.tolist(), dtype=sr.dtype))]
    loss = sum(F.softplus(s * x).mean() for s, x in zip((-1, 1), logits, strict=True))
    loss.backward()
    optimizer.step()
    return loss.detach().numpy()


def only_its_own_weights(discriminator, optimizer, sr, hr):
    optimizer.zero_grad()
    loss = F.softplus(-discriminator(hr)).mean() + F.softplus(discriminator(sr)).mean()
    loss.backward(inputs=list(discriminator.parameters()))
    optimizer.step()
    return loss.item()


def a_step_too_many(discriminator, optimizer, sr, hr):
    loss = in_one_call(discriminator, optimizer, sr, hr)
    optimizer.step()
    return loss


def on_photographs_only(discriminator, optimizer, sr, hr):
    return in_one_call(discriminator, optimizer, hr, hr)


def by_the_logits(discriminator, optimizer, sr, hr):
    loss = -discriminator(hr).mean() + discriminator(sr.detach()).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def the_loss_afterwards(discriminator, optimizer, sr, hr):
    in_one_call(discriminator, optimizer, sr, hr)
    return F.softplus(-discriminator(hr)).mean() + F.softplus(discriminator(sr.detach())).mean()


def up_the_hill(discriminator, optimizer, sr, hr):
    loss = F.softplus(-discriminator(hr)).mean() + F.softplus(discriminator(sr.detach())).mean()
    optimizer.zero_grad()
    (-loss).backward()
    optimizer.step()
    return loss.item()


RIGHT = {
    "16.1": [
        *(by_numpy, by_scipy, by_quantiles, by_the_areas_between_two_steps),
        *(by_argsort_and_gather, by_l1_loss),
    ],
    "16.2": [
        *(by_binary_cross_entropy, by_logsigmoid, by_logaddexp, by_a_sum_over_the_number),
        *(by_relu_and_log1p, in_one_batch),
    ],
    "16.3": [
        *(in_one_call, two_backwards, gradients_by_hand, zero_by_the_module),
        only_its_own_weights,
    ],
}
WRONG = {
    "16.1": [a_column, of_deviations, of_medians, of_all_pairs, over_one_less],
    "16.2": [of_squares, relativistic, as_numbers, the_sum_of_both, of_probabilities],
    "16.3": [
        *(a_step_too_many, on_photographs_only, by_the_logits, the_loss_afterwards, up_the_hill),
    ],
}
