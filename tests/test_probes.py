"""What a training would notice of an answer."""

import pytest
import torch
from torch import nn

from srlib import exercises
from srlib.exercises.comparison import difference
from srlib.exercises.grading import grade
from srlib.exercises.probes import NO_GRADIENT, OVERWRITTEN, used_as_network, with_gradients

WITH_GRADIENTS = [
    task
    for task in map(exercises.get_exercise, exercises.list_exercises().index)
    if task.probe is with_gradients
]


def test_gradients_of_tensors_and_of_weights_are_found():
    x, layer = torch.ones(1, 2), nn.Linear(2, 1, bias=False)
    found = with_gradients(lambda x, pair: pair[0](x) + pair[1].sum(), x, (layer, torch.zeros(3)))
    result, gradients = found["the result"], found["the gradients"]
    assert not result.requires_grad and len(gradients) == 3
    assert torch.equal(gradients[0], layer.weight)  # of x; the one pixel of the result weighs 1
    assert torch.equal(gradients[1], x) and torch.equal(gradients[2], torch.ones(3))


def test_a_gradient_that_does_not_arrive_is_named():
    x, y = torch.ones(2), torch.ones(2)
    assert with_gradients(lambda x, y: x * y.detach(), x, y)["the gradients"][1] == NO_GRADIENT
    with_none = with_gradients(lambda x, y: (x * y).detach(), x, y)
    assert with_none["the gradients"] == (NO_GRADIENT, NO_GRADIENT)
    number = with_gradients(lambda x: 3, x)
    assert number == {"the result": 3, "the gradients": (NO_GRADIENT,)}


def test_what_an_answer_writes_into_its_input_is_seen_there():
    x = torch.ones(2)
    found = with_gradients(lambda x: x.mul_(2), x)
    assert torch.equal(x, torch.full((2,), 2.0))
    assert found["the gradients"] == (OVERWRITTEN,)


class TwoLayers(nn.Module):
    """Made in any order; `way` is what is wrong."""

    def __init__(self, names=("first", "second"), way=""):
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(3, 4) if name == "first" else nn.Linear(4, 2))
        self.way = way
        self.requires_grad_(way != "frozen")

    def parameters(self, recurse=True):
        return iter(()) if self.way == "own parameters" else super().parameters(recurse)

    def forward(self, x):
        x = self.first(x)
        if self.way == "detached":
            x = x.detach()
        return x[:, :2] if self.way == "unused" else self.second(x)


def use(*options):
    return used_as_network(TwoLayers, options, torch.ones(1, 3))


def test_the_order_in_which_a_network_makes_its_layers_is_free():
    found = use(("first", "second"))
    assert found["the shapes of the weights"] == [(2,), (2, 4), (4,), (4, 3)]
    assert difference(use(("second", "first")), found, tolerance=0) == ""


@pytest.mark.parametrize(
    ("way", "count"),
    [("", 4), ("own parameters", 4), ("frozen", 0), ("detached", 2), ("unused", 2)],
)
def test_weights_that_would_not_learn_are_counted(way, count):
    found = use(("first", "second"), way)
    assert found["the number of weights with a gradient"] == count
    lost = found["the gradient that comes back"] is NO_GRADIENT
    assert lost == (way == "detached")


@pytest.mark.parametrize("made", [lambda: 3, lambda: nn.LSTM(3, 4)])
def test_what_is_no_network_is_named(made):
    with pytest.raises(TypeError, match="got 3|should return a tensor, got a tuple"):
        used_as_network(made, (), torch.ones(1, 3))


def test_the_exercises_whose_answers_are_trained_with_are_here():
    assert {"05.1", "05.3", "07.1", "07.2", "09.4", "15.2"} <= {task.id for task in WITH_GRADIENTS}


@pytest.mark.parametrize("task", WITH_GRADIENTS, ids=lambda task: task.id)
@pytest.mark.parametrize("how", ["detach", "no_grad", "inference_mode", "numpy"])
def test_a_right_value_without_a_gradient_does_not_pass(task, how):
    def answer(*arguments):
        if how == "detach":
            return task.reference(*arguments).detach()
        if how == "numpy":
            return torch.from_numpy(task.reference(*arguments).detach().numpy())
        with getattr(torch, how)():
            return task.reference(*arguments)

    verdict = grade(task, answer)
    assert verdict.status == "failed"
    if how != "inference_mode":
        assert "no gradient comes back" in verdict.message
