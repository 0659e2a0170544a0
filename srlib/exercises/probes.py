"""Use a learner's function as a training would, to see what its value does not show."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from srlib.exercises.comparison import in_words
from srlib.exercises.grading import Mistake

__all__ = ["NO_GRADIENT", "OVERWRITTEN", "no_gradient", "used_as_network", "with_gradients"]

NO_GRADIENT = "no gradient"
OVERWRITTEN = "none, because an argument was overwritten"


def with_gradients(answer: Callable, *arguments: Any) -> Any:
    """Call a function of tensors and modules, and send a gradient back through its result.

    Returns ``{"the result": tensor, "the gradients": tuple}``: a gradient for each float tensor in
    the arguments and for each weight of a module in them; `NO_GRADIENT` where none arrives, and
    `OVERWRITTEN` for all where the function wrote into an argument.
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
    gradients = [None if whole else OVERWRITTEN] * len(leaves)
    if isinstance(result, torch.Tensor) and result.requires_grad and whole:
        # Every pixel weighs something else, or gradients that went astray could cancel out.
        weights = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
        gradients = torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True)
    found = tuple(NO_GRADIENT if gradient is None else gradient for gradient in gradients)
    result = result.detach() if isinstance(result, torch.Tensor) else result
    return {"the result": result, "the gradients": found}


def used_as_network(make: Callable, arguments: tuple, x: torch.Tensor) -> dict[str, Any]:
    """Make a network by ``make(*arguments)``, set its weights, and send `x` through it and back.

    Returns the shapes of the weights in order of size, the result, the gradient of the result's
    sum of squares at `x`, and how many weights it reaches. Weights of one shape get the same
    values, because the order in which a network makes its layers is free. TypeError if it is no
    module or returns no tensor.
    """
    network = make(*arguments)
    if not isinstance(network, nn.Module):
        raise TypeError(f"this should make a network, an nn.Module, got {in_words(network)}")
    # What torch finds, even if the network has a method parameters() of its own.
    weights = sorted(nn.Module.parameters(network), key=lambda weight: weight.shape)
    shapes = [tuple(weight.shape) for weight in weights]
    with torch.no_grad():
        for weight, shape in zip(weights, shapes, strict=True):
            angle = torch.arange(weight.numel()) * (0.7 + 0.1 * sorted(set(shapes)).index(shape))
            inputs = max(weight[0].numel(), 9)
            weight.copy_(torch.sin(angle).reshape(shape) / inputs**0.5)
    x = x.detach().clone().requires_grad_()
    result = network(x * 1)  # no leaf, because a network may write into it
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"the network should return a tensor, got {in_words(result)}")
    if result.requires_grad:
        result.square().sum().backward()
    return {
        "the shapes of the weights": shapes,
        "the result": result.detach(),
        "the gradient that comes back": NO_GRADIENT if x.grad is None else x.grad,
        "the number of weights with a gradient": sum(w.grad is not None for w in weights),
    }


def no_gradient(reference: Callable) -> Mistake:
    """Make the mistake of a right result through which no gradient comes back."""
    return Mistake(
        lambda *arguments: reference(*arguments).detach(),
        "The result is right, but no gradient comes back through it, so nothing that stands before "
        "it could learn. Was it detached, or computed under torch.no_grad()?",
    )
