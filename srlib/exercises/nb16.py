"""Exercises: perception."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from srlib.exercises.comparison import in_words
from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.safe_call import Misfit

__all__ = ["EXERCISES"]


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The distance of two heaps


def _in_a_tensor(answer, *arguments):
    """Call an answer whose numbers may also be in an array, a list or a tuple."""
    found = answer(*arguments)
    if isinstance(found, list | tuple) and all(np.ndim(x) == 0 for x in found):
        found = torch.tensor([float(x) for x in found])
    return torch.from_numpy(found) if isinstance(found, np.ndarray) else found


def _wasserstein(a, b):
    return (a.sort(dim=-1).values - b.sort(dim=-1).values).abs().mean(dim=-1)


def _differences(a, b):
    return a.sort(dim=-1).values - b.sort(dim=-1).values


_WASSERSTEIN = Exercise(
    title="the distance of two heaps",
    reference=_wasserstein,
    probe=_in_a_tensor,
    tolerance=1e-9,
    cases=lambda: (
        Case("one direction, three numbers", (_noise(1, 3), _noise(1, 3, seed=1) + 1)),
        Case("three directions", (_noise(3, 20, seed=2), 2 * _noise(3, 20, seed=3))),
        Case(
            "the same numbers in another order",
            (_noise(2, 9, seed=4), _noise(2, 9, seed=4).flip(1)),
        ),
        Case("as many directions as numbers", (_noise(6, 6, seed=5), _noise(6, 6, seed=6) - 2)),
        Case("one number", (_noise(4, 1, seed=7), _noise(4, 1, seed=8))),
        Case(
            "one heap wide, one narrow", (5 * _noise(2, 30, seed=9), 0.1 * _noise(2, 30, seed=10))
        ),
    ),
    mistakes=(
        Mistake(
            lambda a, b: (a - b).abs().mean(dim=-1),
            "Number by number, as they lie. Where a number lies in its heap must not matter: sort "
            "both heaps first.",
        ),
        Mistake(
            lambda a, b: (a.sort(dim=-1).values - b).abs().mean(dim=-1),
            "Only one of the heaps is sorted. Both have to be.",
        ),
        Mistake(
            lambda a, b: (
                (a.sort(dim=-1).values - b.sort(dim=-1, descending=True).values).abs().mean(dim=-1)
            ),
            "The smallest of one heap goes to the largest of the other: the dearest way. Sort both "
            "in the same direction.",
        ),
        Mistake(
            lambda a, b: (a.mean(dim=-1) - b.mean(dim=-1)).abs(),
            "This is the distance of the means. Two heaps with one mean can differ: the one wide, "
            "the other narrow.",
        ),
        Mistake(
            lambda a, b: _differences(a, b).mean(dim=-1),
            "The signs are still there, so that ways to the left and to the right cancel. Take "
            "absolute values.",
        ),
        Mistake(
            lambda a, b: _differences(a, b).square().mean(dim=-1),
            "The ways are squared. Here a way counts by its length.",
        ),
        Mistake(
            lambda a, b: _differences(a, b).square().mean(dim=-1).sqrt(),
            "The ways are squared, and the root taken at the end: another distance, in which long "
            "ways count more. Here a way counts by its length.",
        ),
        Mistake(
            lambda a, b: _differences(a, b).abs().sum(dim=-1),
            "This is the sum of all ways. The mean does not depend on how many numbers there are.",
        ),
        Mistake(
            lambda a, b: _differences(a, b).abs().mean(),
            "One number for all directions. Each row is a heap of its own and gets its own number.",
        ),
        Mistake(
            lambda a, b: (a.sort(dim=0).values - b.sort(dim=0).values).abs().mean(dim=-1),
            "The numbers are sorted along axis 0, across the directions. A heap is a row.",
        ),
        Mistake(
            lambda a, b: _differences(a, b).abs().amax(dim=-1),
            "This is the longest way only. All ways count, by their mean.",
        ),
    ),
    hints=(
        "The cheapest way to move one heap of numbers onto another: the smallest goes to the "
        "smallest, the next to the next.",
        "a.sort(dim=-1).values has each row in rising order.",
        "The absolute difference of both, and its mean over the last axis.",
    ),
)


# What each of the two wants


def _losses(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


def _both_with_gradients(answer, real, fake):
    """Call with logits, and ask each loss for its gradients."""
    given = real, fake
    leaves = [x.detach().clone().requires_grad_() for x in given]
    copies = [x * 1 for x in leaves]  # no leaves, because an answer may write into them
    found = answer(*copies)
    whole = all(map(torch.equal, given, copies))
    for original, copy in zip(given, copies, strict=True):
        original.copy_(copy.detach())  # there it is noticed that an input was changed
    if found is None:
        return None
    if isinstance(found, torch.Tensor) and found.dim() == 1:
        found = found.unbind()
    if not isinstance(found, list | tuple) or len(found) != 2:
        yours = in_words(found)
        raise Misfit(
            f"Return two losses: the discriminator's, then the generator's. Yours: {yours}."
        )
    names = "the discriminator's loss", "the generator's loss"
    result = {}
    for name, loss in zip(names, found, strict=True):
        gradients = (None, None)
        if isinstance(loss, torch.Tensor) and loss.requires_grad and loss.numel() == 1 and whole:
            gradients = torch.autograd.grad(
                loss.sum(), leaves, retain_graph=True, allow_unused=True
            )
        result[name] = loss.detach() if isinstance(loss, torch.Tensor) else loss
        result[f"the gradients of {name}"] = tuple(
            torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)
        )
    return result


def _with(discriminator, generator):
    """Make an answer of two functions of the logits."""
    return lambda real, fake: (discriminator(real, fake), generator(real, fake))


def _of_discriminator(real, fake):
    return _losses(real, fake)[0]


def _of_generator(real, fake):
    return _losses(real, fake)[1]


_LOSSES = Exercise(
    title="what each of the two wants",
    reference=_losses,
    probe=_both_with_gradients,
    tolerance=1e-9,
    cases=lambda: (
        Case("undecided", (0.1 * _noise(2, 1, 3, 3), 0.1 * _noise(2, 1, 3, 3, seed=1))),
        Case(
            "it tells them apart", (3 + _noise(4, 1, 2, 5, seed=2), _noise(4, 1, 2, 5, seed=3) - 3)
        ),
        Case("it is wrong", (_noise(1, 1, 4, 4, seed=4) - 2, 2 + _noise(1, 1, 4, 4, seed=5))),
        Case("very sure", (200 + _noise(2, 1, 2, 2, seed=6), _noise(2, 1, 2, 2, seed=7) - 900)),
        Case(
            "very sure, and wrong",
            (_noise(2, 1, 2, 2, seed=8) - 900, 900 + _noise(2, 1, 2, 2, seed=9)),
        ),
    ),
    mistakes=(
        Mistake(
            lambda real, fake: _losses(real, fake)[::-1],
            "The two losses stand in the wrong order: the discriminator's comes first.",
        ),
        Mistake(
            _with(lambda real, fake: _of_discriminator(fake, real), _of_generator),
            "The discriminator is rewarded for taking photographs for generated ones: in its loss "
            "the two are swapped.",
        ),
        Mistake(
            _with(_of_discriminator, lambda real, fake: F.softplus(fake).mean()),
            "The generator is rewarded for being found out. Its loss is small where the logits of "
            "its pictures are positive.",
        ),
        Mistake(
            _with(_of_discriminator, lambda real, fake: -F.softplus(fake).mean()),
            "This is the discriminator's loss with the other sign, which saturates: where the "
            "discriminator is sure, at the start for instance, its gradient is nearly 0. Minimise "
            "softplus(-fake) instead.",
        ),
        Mistake(
            _with(_of_discriminator, lambda real, fake: -fake.mean()),
            "This is the generator's loss of another GAN (Wasserstein). Here it is logistic, as "
            "the discriminator's.",
        ),
        Mistake(
            _with(
                lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
                lambda real, fake: -fake.mean(),
            ),
            "These are hinge losses, which work as well. Here softplus is asked.",
        ),
        Mistake(
            _with(lambda real, fake: F.softplus(-real).mean(), _of_generator),
            "The discriminator sees only photographs. It would learn to say yes to all.",
        ),
        Mistake(
            _with(lambda real, fake: F.softplus(fake).mean(), _of_generator),
            "The discriminator sees only generated pictures. It would learn to say no to all.",
        ),
        Mistake(
            _with(lambda real, fake: _of_discriminator(real, fake) / 2, _of_generator),
            "The discriminator's loss is the sum of the two means, not their mean.",
        ),
        Mistake(
            _with(
                lambda real, fake: F.softplus(-real).sum() + F.softplus(fake).sum(),
                lambda real, fake: F.softplus(-fake).sum(),
            ),
            "These are sums over all logits. Means do not depend on the size of the pictures.",
        ),
        Mistake(
            _with(
                _of_discriminator,
                lambda real, fake: F.softplus(-fake).mean() + F.softplus(real).mean(),
            ),
            "The generator's loss looks at the photographs, too. It cannot change them.",
        ),
        Mistake(
            _with(
                lambda real, fake: (
                    -torch.log(torch.sigmoid(real)).mean()
                    - torch.log(1 - torch.sigmoid(fake)).mean()
                ),
                lambda real, fake: -torch.log(torch.sigmoid(fake)).mean(),
            ),
            "Right, until the discriminator is very sure: then exp is infinite, or a sigmoid "
            "exactly 0 or 1. F.softplus stays finite.",
        ),
        Mistake(
            _with(
                lambda real, fake: F.softplus(-real.mean()) + F.softplus(fake.mean()),
                lambda real, fake: F.softplus(-fake.mean()),
            ),
            "The mean is taken before softplus. It belongs after it.",
        ),
        Mistake(
            _with(lambda real, fake: _of_discriminator(real, fake.detach()), _of_generator),
            "The discriminator's loss sends no gradient through the generated pictures' logits, so "
            "it learns nothing from them. To detach is right, but the picture, not the logits.",
        ),
    ),
    hints=(
        "softplus(x) = log(1 + exp(x)) is small where x is negative. The discriminator wants "
        "`real` positive, so softplus(-real) is what it minimises.",
        "And `fake` negative: softplus(fake). The generator wants the opposite of that.",
        "F.softplus(-real).mean() + F.softplus(fake).mean(), and F.softplus(-fake).mean().",
    ),
)


# The discriminator's turn


def _discriminator_step(discriminator, optimizer, sr, hr):
    loss, _ = _losses(discriminator(hr), discriminator(sr.detach()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _turn(discriminator, optimizer, sr, hr, *, detach=True, order="zero backward step", swap=False):
    images = [hr, sr.detach() if detach else sr]
    real, fake = map(discriminator, images[::-1] if swap else images)
    loss, _ = _losses(real, fake)
    actions = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
    for name in order.split():
        actions[name]()
    return loss.item()


def _under_no_grad(discriminator, optimizer, sr, hr):
    with torch.no_grad():
        fake = discriminator(sr)
    loss, _ = _losses(discriminator(hr), fake)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _the_generators(discriminator, optimizer, sr, hr):
    _, loss = _losses(discriminator(hr), discriminator(sr.detach()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _cut_off_for_good(discriminator, optimizer, sr, hr):
    return _discriminator_step(discriminator, optimizer, sr.detach_(), hr)


def _three_turns(step, discriminator, optimizer, sr, hr):
    """Take three turns; before all but the first, the generator's has left gradients there."""
    generator = torch.ones(1, dtype=sr.dtype, requires_grad=True)
    losses, pictures = [], []
    for turn in range(3):
        for weight in discriminator.parameters():
            weight.grad = torch.ones_like(weight) if turn > 0 else None
        pictures.append(sr * generator)
        losses.append(step(discriminator, optimizer, pictures[-1], hr))
    if all(loss is None for loss in losses):
        return None
    return {
        "the losses of three turns": [
            loss.item() if isinstance(loss, torch.Tensor) else loss for loss in losses
        ],
        "the discriminator's weights": [weight.detach() for weight in discriminator.parameters()],
        "the gradient that reaches the generator": (
            torch.zeros_like(generator) if generator.grad is None else generator.grad
        ),
        "whether the pictures still lead back to the generator": all(
            picture.requires_grad for picture in pictures
        ),
    }


def _turn_case(name, kind, seed):
    discriminator = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 1)
    ).double()
    with torch.no_grad():
        for number, weight in enumerate(discriminator.parameters()):
            weight.copy_(_noise(*weight.shape, seed=10 * seed + number) / 3)
    sr, hr = (_noise(2, 3, 6, 6, seed=seed + more) for more in (5, 6))
    return Case(name, (discriminator, kind(discriminator.parameters(), lr=0.02), sr, hr))


_DISCRIMINATOR_STEP = Exercise(
    title="the discriminator's turn",
    reference=_discriminator_step,
    probe=_three_turns,
    tolerance=1e-7,
    cases=lambda: (
        _turn_case("plain descent", torch.optim.SGD, 0),
        _turn_case("Adam", torch.optim.Adam, 1),
        _turn_case("other pictures", torch.optim.SGD, 2),
    ),
    mistakes=(
        Mistake(
            _cut_off_for_good,
            "detach_ with the underscore cuts the picture itself off, and in its own turn the "
            "generator would learn nothing. detach gives a copy that is cut off.",
        ),
        Mistake(
            lambda *arguments: _turn(*arguments, detach=False, order="backward step zero"),
            "This is the function as it was given. The discriminator's loss reaches the generator, "
            "which then learns to be found out, and gradients of the generator's turn are still "
            "there when it steps.",
        ),
        Mistake(
            lambda *arguments: _turn(*arguments, detach=False),
            "The discriminator's loss reaches the generator: its gradient says how to be found "
            "out more easily. Cut the picture off.",
        ),
        Mistake(
            lambda *arguments: _turn(*arguments, order="backward step zero"),
            "The generator's turn has left gradients in the discriminator, and they are added to "
            "its own. Set them to zero before backward.",
        ),
        Mistake(
            lambda *arguments: _turn(*arguments, swap=True),
            "Photographs and generated pictures are swapped: the discriminator learns to say yes "
            "to what is generated.",
        ),
        Mistake(
            _under_no_grad,
            "The discriminator learns nothing from the generated picture, because it looks at it "
            "under no_grad. Only the picture is to be cut off.",
        ),
        Mistake(
            _the_generators,
            "This is the generator's loss: the discriminator would learn to be deceived.",
        ),
        Mistake(
            lambda *arguments: _turn(*arguments, order="zero backward"),
            "No weight moves. Either the optimizer's step is missing, or zero_grad stands between "
            "backward and step.",
        ),
    ),
    hints=(
        "Two lines are wrong. Ask of each gradient where it comes from, and where it goes.",
        "sr was made by the generator, and backward goes all the way. What stops it?",
        "discriminator(sr.detach()). And the generator's turn, before this one, sent gradients "
        "through the discriminator: zero_grad belongs before backward.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (_WASSERSTEIN, _LOSSES, _DISCRIMINATOR_STEP)
