"""Use a learner's function as a training would, to see what its value does not show."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from srlib.exercises.grading import Mistake

__all__ = ["NO_GRADIENT", "no_gradient", "with_gradients"]

NO_GRADIENT = "no gradient"


def with_gradients(answer: Callable, *arguments: Any) -> Any:
    """Call a function of tensors and modules, and send a gradient back through its result.

    Returns ``{"the result": tensor, "the gradients": tuple}``: a gradient for each float tensor in
    the arguments and for each weight of a module in them, or `NO_GRADIENT` where none arrives, as
    after an argument was overwritten.
    """
    leaves, given = [], []

    def prepare(value):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            leaves.append(value.detach().clone().requires_grad_())
            given.append((value, leaves[-1] * 1))  # no leaf, because an answer may write into it
            return given[-1][1]
        if isinstance(value, nn.Module):
            leaves.extend(value.parameters())
        if isinstance(value, (list, tuple)):
            return type(value)(prepare(part) for part in value)
        return value

    result = answer(*map(prepare, arguments))
    whole = True
    for original, copy in given:
        whole &= torch.equal(original, copy)
        original.copy_(copy.detach())  # there it is noticed that an input was changed
    gradients = [None] * len(leaves)
    if isinstance(result, torch.Tensor) and result.requires_grad and whole:
        # Every pixel weighs something else, or gradients that went astray could cancel out.
        weights = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
        gradients = torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True)
    found = tuple(NO_GRADIENT if gradient is None else gradient for gradient in gradients)
    result = result.detach() if isinstance(result, torch.Tensor) else result
    return {"the result": result, "the gradients": found}


def no_gradient(reference: Callable) -> Mistake:
    """Make the mistake of a right result through which no gradient comes back."""
    return Mistake(
        lambda *arguments: reference(*arguments).detach(),
        "The result is right, but no gradient comes back through it, so nothing that stands before "
        "it could learn. Was it detached, or computed under torch.no_grad()?",
    )
