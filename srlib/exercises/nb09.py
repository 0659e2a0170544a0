"""Exercises: training."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.probes import no_gradient, with_gradients

__all__ = ["EXERCISES"]


def _tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Clipping by norm


def _clip_by_norm(gradients, largest):
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    factor = largest / norm if norm > largest else 1.0
    return [gradient * factor for gradient in gradients]


def _scaled(factor_of):
    """Make a clipping that multiplies all gradients with ``factor_of(gradients, largest)``."""

    def clip_by_norm(gradients, largest):
        factor = factor_of(gradients, largest)
        return [gradient * factor for gradient in gradients]

    return clip_by_norm


def _norm(gradients, power=2):
    return sum((gradient.abs() ** power).sum() for gradient in gradients) ** (1 / power)


def _each(gradients, largest):
    norm = _norm(gradients)
    return largest / norm if norm > largest else 1.0


def _clip_in_place(gradients, largest):
    norm = _norm(gradients)
    for gradient in gradients:
        gradient.mul_(min(1.0, float(largest / norm)) if norm > 0 else 1.0)
    return gradients


def _clip_cases():
    gradients = [_tensor(3, 4, seed=1), _tensor(5, seed=2) * 3, _tensor(2, 2, 2, seed=3)]
    return (
        Case("a norm that is too large", (gradients, 1.0)),
        Case("a norm that is small enough", ([gradient / 100 for gradient in gradients], 1.0)),
        Case("another limit", (gradients, 2.5)),
        Case("a gradient of zero", ([torch.zeros(3), torch.zeros(2, 2)], 1.0)),
    )


_CLIP_BY_NORM = Exercise(
    title="clipping by norm",
    reference=_clip_by_norm,
    tolerance=1e-5,
    cases=_clip_cases,
    mistakes=(
        Mistake(
            lambda gradients, largest: [_scaled(_each)([g], largest)[0] for g in gradients],
            "Each tensor is shortened by its own norm. That turns the step into another direction. "
            "One norm over all of them, one factor for all.",
        ),
        Mistake(
            lambda gradients, largest: [g.clamp(-largest, largest) for g in gradients],
            "Single values are cut off. That turns the step into another direction. Multiply all "
            "of them with one factor.",
        ),
        Mistake(
            _scaled(lambda gradients, largest: largest / _norm(gradients)),
            "A short gradient is made longer (and one of zero not a number). Leave it as it is if "
            "its norm is small enough.",
        ),
        Mistake(
            _scaled(
                lambda gradients, largest: (
                    min(1.0, float(largest / _norm(gradients) ** 2))
                    if _norm(gradients) > 0
                    else 1.0
                )
            ),
            "The root is missing: this is the square of the norm.",
        ),
        Mistake(
            _scaled(
                lambda gradients, largest: (
                    min(1.0, float(largest / _norm(gradients, 1))) if _norm(gradients) > 0 else 1.0
                )
            ),
            "This is the sum of the absolute values. The norm here is the root of the sum of "
            "squares.",
        ),
        Mistake(
            _scaled(
                lambda gradients, largest: (
                    _norm(gradients) / largest if _norm(gradients) > largest else 1.0
                )
            ),
            "The factor is upside down: large gradients become larger.",
        ),
        Mistake(
            _clip_in_place,
            "This writes into the tensors it was given. Here a new list is wanted.",
        ),
    ),
    hints=(
        "All values of all tensors together make one long vector. Its length is the norm.",
        "Square, sum over each tensor, sum over the tensors, root.",
        "If the norm is larger than the limit, multiply every tensor with limit / norm.",
    ),
)


# Warm-up and cosine


def _learning_rate_at(step, steps, warmup_steps, highest):
    if step < warmup_steps:
        return highest * step / warmup_steps
    return highest * _half_cosine((step - warmup_steps) / (steps - warmup_steps))


def _half_cosine(part):
    return 0.5 * (1 + math.cos(math.pi * part))


def _rise_then(fall):
    """Make a schedule with the right warm-up and another fall, of the part of it that is over."""

    def learning_rate_at(step, steps, warmup_steps, highest):
        if step < warmup_steps:
            return highest * step / warmup_steps
        return highest * fall((step - warmup_steps) / (steps - warmup_steps))

    return learning_rate_at


def _cosine_from_step_zero(step, steps, warmup_steps, highest):
    if step < warmup_steps:
        return highest * step / warmup_steps
    return highest * _half_cosine(step / steps)


def _product_of_both(step, steps, warmup_steps, highest):
    rise = min(step / warmup_steps, 1) if warmup_steps else 1
    return highest * rise * _half_cosine(step / steps)


def _warmup_added(step, steps, warmup_steps, highest):
    if step < warmup_steps:
        return highest * step / warmup_steps
    return highest * _half_cosine((step - warmup_steps) / steps)


def _rise_up_to_its_end(step, steps, warmup_steps, highest):
    if step <= warmup_steps:
        return highest * step / warmup_steps
    return _learning_rate_at(step, steps, warmup_steps, highest)


def _factor_only(step, steps, warmup_steps, highest):
    return _learning_rate_at(step, steps, warmup_steps, 1.0)


_LEARNING_RATE_AT = Exercise(
    title="warm-up and cosine",
    reference=_learning_rate_at,
    tolerance=1e-9,
    cases=lambda: tuple(
        Case(f"step {step} of 100, {warmup} of them warm-up", (step, 100, warmup, 2e-3))
        for step, warmup in (
            *((30, 20), (75, 20), (5, 20), (20, 20), (0, 20), (40, 0), (100, 20)),
            (0, 0),
        )
    ),
    redraw=lambda random: tuple(
        (min(step, steps), steps, warmup, random.uniform(1e-3, 1e-2))
        for steps in (int(random.integers(120, 300)),)
        for step, warmup in (
            *((50, 30), (90, 30), (7, 30), (30, 30), (0, 30), (60, 0), (999, 30)),
            (0, 0),
        )
    ),
    mistakes=(
        Mistake(
            _rise_up_to_its_end,
            "Without a warm-up there is nothing to rise: in step 0 the rate is the highest "
            "already. Does step < warmup_steps hold there?",
        ),
        Mistake(
            lambda step, steps, warmup_steps, highest: highest * _half_cosine(step / steps),
            "There is no warm-up: the first step has the highest rate.",
        ),
        Mistake(
            _cosine_from_step_zero,
            "The cosine starts at step 0, so the rate jumps down where the warm-up ends. "
            "It starts at its top when the warm-up is over.",
        ),
        Mistake(
            _product_of_both,
            "Rise and cosine are multiplied. They follow each other: the cosine starts at its top "
            "when the warm-up is over.",
        ),
        Mistake(
            _warmup_added,
            "The cosine takes as many steps as the whole training, so it is not at zero when the "
            "training ends. It has only the steps after the warm-up.",
        ),
        Mistake(
            _rise_then(lambda part: math.cos(math.pi * part)),
            "A cosine runs from 1 to -1, and a negative learning rate climbs. Move it up and "
            "halve it.",
        ),
        Mistake(
            _rise_then(lambda part: math.cos(math.pi * part / 2)),
            "This is a quarter of the cosine: flat at the top, steep at the end. It should be "
            "flat at both ends.",
        ),
        Mistake(
            _rise_then(lambda part: 0.5 * (1 + math.cos(2 * math.pi * part))),
            "This is a whole cosine: it is at zero half way, and back at the top in the end.",
        ),
        Mistake(_rise_then(lambda part: 1 - part), "The fall is a straight line, not a cosine."),
        Mistake(
            _factor_only,
            "This is the part of the highest rate, from 0 to 1. Multiply it with the highest rate.",
        ),
    ),
    hints=(
        "Two cases: step < warmup_steps, and after that. Draw the curve on paper first.",
        "After the warm-up: which part of the steps that are left is over? It runs from 0 to 1.",
        "highest * 0.5 * (1 + np.cos(np.pi * part)), where part is "
        "(step - warmup_steps) / (steps - warmup_steps)",
    ),
)


# The moving average of the weights


def _ema_update(average, weights, decay):
    return [decay * old + (1 - decay) * new for old, new in zip(average, weights, strict=True)]


def _ema_in_place(average, weights, decay):
    for old, new in zip(average, weights, strict=True):
        old.mul_(decay).add_(new, alpha=1 - decay)
    return average


def _ema_cases():
    shapes = ((4, 3, 3, 3), (4,), ())
    return tuple(
        Case(
            name,
            (
                [_tensor(*shape, seed=10 + k) for k, shape in enumerate(shapes)],
                [_tensor(*shape, seed=20 + k) for k, shape in enumerate(shapes)],
                decay,
            ),
        )
        for name, decay in (("decay 0.9", 0.9), ("decay 0.999", 0.999), ("decay 0", 0.0))
    )


def _zipped(average, weights, function):
    return [function(old, new) for old, new in zip(average, weights, strict=True)]


_EMA_UPDATE = Exercise(
    title="the moving average of the weights",
    reference=_ema_update,
    tolerance=1e-6,
    cases=_ema_cases,
    mistakes=(
        Mistake(
            lambda average, weights, decay: _zipped(
                average, weights, lambda old, new: (1 - decay) * old + decay * new
            ),
            "The two factors are swapped: with a decay of 0.999 the average would be nearly the "
            "newest weights. Most of it should stay as it was.",
        ),
        Mistake(
            _ema_in_place,
            "This writes into the tensors it was given. It saves memory, and the library does it, "
            "but here a new list is wanted.",
        ),
        Mistake(
            lambda average, weights, decay: _zipped(
                average, weights, lambda old, new: decay * old + new
            ),
            "The new weights need a factor as well, or the average grows without end: the two "
            "factors add up to 1.",
        ),
        Mistake(
            lambda average, weights, decay: _zipped(
                average, weights, lambda old, new: old - (1 - decay) * (new - old)
            ),
            "The average moves away from the weights. It should move a little towards them.",
        ),
        Mistake(
            lambda average, weights, decay: decay * average[0] + (1 - decay) * weights[0],
            "Only the first tensor is averaged. A network has many: return a list of them.",
        ),
        Mistake(
            lambda average, weights, decay: list(weights),
            "These are the newest weights. Nothing is averaged.",
        ),
    ),
    hints=(
        "The lists are parallel: zip(average, weights) gives the pairs.",
        "Each new value is a mixture of two, and the two factors add up to 1.",
        "decay * old + (1 - decay) * new, in a list",
    ),
)


# Charbonnier


def _charbonnier(sr, hr, eps=1e-3):
    return torch.sqrt((sr - hr) ** 2 + eps**2).mean()


def _charbonnier_cases():
    sr, hr = (_tensor(2, 3, 4, 5, seed=seed).sigmoid() for seed in (1, 2))
    return (
        Case("two batches of images", (sr, hr)),
        Case("a large eps", (sr, hr, 0.5)),
        Case("equal images", (hr, hr.clone(), 0.1)),
        Case("one pixel off", (hr, hr + torch.eye(4, 5) * 0.2, 0.1)),
    )


_CHARBONNIER = Exercise(
    title="the Charbonnier loss",
    reference=_charbonnier,
    probe=with_gradients,
    tolerance=1e-6,
    cases=_charbonnier_cases,
    mistakes=(
        Mistake(
            lambda sr, hr, eps=1e-3: torch.sqrt((sr - hr) ** 2 + eps).mean(),
            "eps stands under the root as it is. Square it: then it has the unit of a difference.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: (sr - hr).abs().mean(),
            "This is L1: eps is not used. The corner at zero is still there.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: ((sr - hr).abs() + eps).mean(),
            "eps is added to the absolute difference. That moves the curve up and leaves its "
            "corner. It belongs under the root.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: (torch.sqrt((sr - hr) ** 2) + eps**2).mean(),
            "eps is added after the root. That moves the curve up and leaves its corner. "
            "It belongs under the root.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: torch.sqrt(((sr - hr) ** 2).mean() + eps**2),
            "The mean is taken before the root. Each pixel has a root of its own; then comes "
            "the mean.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: ((sr - hr) ** 2 + eps**2).mean(),
            "The root is missing, so this is MSE and a constant.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: torch.sqrt((sr - hr) ** 2 + eps**2).sum(),
            "This is the sum over all pixels. It grows with the batch, and the learning rate "
            "would have to follow. Take the mean.",
        ),
        Mistake(
            lambda sr, hr, eps=1e-3: torch.sqrt((sr - hr) ** 2 + eps**2),
            "Each pixel has its loss now. A training needs one number: take the mean.",
        ),
        no_gradient(_charbonnier),
    ),
    hints=(
        "Start with the difference of the two images, pixel by pixel.",
        "torch.sqrt of the squared difference plus eps squared, for every pixel.",
        "torch.sqrt((sr - hr) ** 2 + eps**2).mean()",
    ),
)

# Find the bug: gradient accumulation


class _SmallMemory(nn.Module):
    """A network whose memory holds the graph of so many patches, until they have gone back."""

    def __init__(self, patches):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2, stride=2)
        )
        self.patches, self.held = patches, 0

    def forward(self, lr):
        self.held += len(lr)
        if self.held > self.patches:
            raise RuntimeError(
                f"no memory for {self.held} patches at once, only for {self.patches}: send a part "
                "backward before the next one goes forward"
            )
        sr = self.layers(lr)
        if sr.requires_grad:
            sr.register_hook(lambda _: setattr(self, "held", self.held - len(lr)))
        return sr


def _after_a_step(answer, network, parts):
    """Use a network that has gradients from the step before; one that is new has none."""
    network = copy.deepcopy(network)
    for weight in network.parameters() if len(parts) > 1 else ():
        weight.grad = torch.full_like(weight, 0.3)
    return answer(network, parts)


def _gradients_in_parts(network, parts):
    count = sum(len(lr) for lr, _ in parts)
    network.zero_grad()
    for lr, hr in parts:
        (F.l1_loss(network(lr), hr) * len(lr) / count).backward()
    return [weight.grad for weight in network.parameters()]


def _added_up(network, parts, *, share, zero="before"):
    """Accumulate with another share for each part, or zeroed elsewhere."""
    sizes = [len(lr) for lr, _ in parts]
    if zero == "before":
        network.zero_grad()
    for lr, hr in parts:
        if zero == "each":
            network.zero_grad()
        (F.l1_loss(network(lr), hr) * share(len(lr), sizes)).backward()
    return [weight.grad for weight in network.parameters()]


def _parts_cases():
    def parts(*sizes, seed):
        return [
            (
                _tensor(size, 3, 4, 5, seed=seed + k).sigmoid(),
                _tensor(size, 3, 8, 10, seed=50 + seed + k).sigmoid(),
            )
            for k, size in enumerate(sizes)
        ]

    torch_state = torch.get_rng_state()
    torch.manual_seed(3)
    network = _SmallMemory(4)
    torch.set_rng_state(torch_state)
    return (
        Case("parts of 4, 4 and 2 patches", (network, parts(4, 4, 2, seed=1))),
        Case("parts of one size", (network, parts(3, 3, seed=20))),
        Case("a single part", (network, parts(4, seed=30))),
    )


_GRADIENTS_IN_PARTS = Exercise(
    title="find the bug: gradient accumulation",
    reference=_gradients_in_parts,
    probe=_after_a_step,
    tolerance=1e-5,
    cases=_parts_cases,
    mistakes=(
        Mistake(
            lambda network, parts: _added_up(
                network, parts, share=lambda size, sizes: 1, zero="each"
            ),
            "Only the last part counts: before it, the gradients of the others are set to zero.",
        ),
        Mistake(
            lambda network, parts: _added_up(
                network, parts, share=lambda size, sizes: size / sum(sizes), zero="each"
            ),
            "Now each part has its share, but only the last part counts: before it, the gradients "
            "of the others are set to zero.",
        ),
        Mistake(
            lambda network, parts: _added_up(network, parts, share=lambda size, sizes: 1),
            "The parts add up now, but each as if it were the whole batch: with three parts the "
            "gradient is about three times too long. What is the share of a part?",
        ),
        Mistake(
            lambda network, parts: _added_up(
                network, parts, share=lambda size, sizes: 1 / len(sizes)
            ),
            "Each part counts alike, also a smaller one. Each patch should count alike.",
        ),
        Mistake(
            lambda network, parts: _added_up(
                network, parts, share=lambda size, sizes: size / sizes[0] / len(sizes)
            ),
            "The share of a part is taken of the first part's size. It should be a share of all "
            "patches.",
        ),
        Mistake(
            lambda network, parts: _added_up(
                network, parts, share=lambda size, sizes: size / sum(sizes), zero="never"
            ),
            "The gradients from the step before are still in it. Set them to zero once, before the "
            "first part.",
        ),
        Mistake(
            lambda network, parts: _added_up(
                network, parts, share=lambda size, sizes: 1 / sum(sizes)
            ),
            "F.l1_loss is the mean over a part's patches already. Divided by the number of all "
            "patches, it is too small.",
        ),
    ),
    hints=(
        "backward() adds to the gradients that are there. When must they be set to zero?",
        "F.l1_loss is a mean over one part. Which share of all patches is in that part?",
        "zero_grad() once, before the loop; in it, (len(lr) / count * loss).backward()",
    ),
)

EXERCISES: tuple[Exercise, ...] = (
    _CLIP_BY_NORM,
    _LEARNING_RATE_AT,
    _EMA_UPDATE,
    _CHARBONNIER,
    _GRADIENTS_IN_PARTS,
)
