"""Answers that only a training would find wrong, and right ones that nobody expects."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srlib import exercises
from srlib.exercises.grading import grade
from srlib.exercises.probes import NO_GRADIENT, with_gradients
from srlib.layers import BicubicUpsample
from srlib.resample import imresize

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
    assert found["the gradients"] == (NO_GRADIENT,)


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


# Right answers that nobody expects


class FunctionalSRCNN(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.extract = nn.Conv2d(3, 64, 9, padding="same")
        self.map = nn.Conv2d(64, 32, 5, padding="same")
        self.reconstruct = nn.Conv2d(32, 3, 5, padding=2)

    def forward(self, lr):
        x = self.extract(imresize(lr, self.scale)).clamp(min=0)
        return self.reconstruct(torch.relu(self.map(x)))


def loop_with_closure(network, lr, hr, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = (network(lr) - hr).abs().mean()
        loss.backward()
        return loss

    return optimizer.step(closure)


def loop_that_cleans_up_itself(network, lr, hr, optimizer):
    for weight in network.parameters():
        weight.grad = None
    loss = nn.L1Loss()(hr, network(lr))
    loss.backward()
    optimizer.step()
    network.zero_grad()
    return float(loss)


def loop_by_autograd(network, lr, hr, optimizer):
    loss = F.l1_loss(network(lr), hr)
    weights = list(network.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    optimizer.step()
    return loss.detach().numpy()


def sequential_stack(depth, width):
    layers = []
    for place in range(depth):
        before, after = 3 if place == 0 else width, 3 if place == depth - 1 else width
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class NamedStack(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.depth = depth
        for place in range(depth):
            before, after = 3 if place == 0 else width, 3 if place == depth - 1 else width
            self.add_module(f"conv{place}", nn.Conv2d(before, after, 3, padding=1))

    def forward(self, x):
        for place in range(self.depth):
            x = getattr(self, f"conv{place}")(F.relu(x) if place else x)
        return x


class OwnTrunk(nn.Module):
    """The last convolution made first, blocks in a dict, no class for the block."""

    def __init__(self, channels, num_blocks):
        super().__init__()
        self.end = nn.Conv2d(channels, channels, 3, padding="same")
        self.parts = nn.ModuleDict(
            {
                str(place): nn.Sequential(
                    nn.Conv2d(channels, channels, 3, 1, 1),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, 1, 1),
                )
                for place in range(num_blocks)
            }
        )

    def forward(self, x):
        deep = x
        for part in self.parts.values():
            deep = deep + part(deep)
        return self.end(deep).add(x)


def copied_rivals(make, kinds, seed):
    torch.manual_seed(seed)
    first = make(kinds[0])
    rivals = {kinds[0]: first}
    for kind in kinds[1:]:
        rivals[kind] = make(kind)
        rivals[kind].load_state_dict(copy.deepcopy(first.state_dict()))
    return rivals


def by_gradient(x, kernel, stride, padding):
    length = (len(x) - 1) * stride + len(kernel) - 2 * padding
    zeros = torch.zeros(1, 1, length, dtype=x.dtype, requires_grad=True)
    small = F.conv1d(zeros, kernel[None, None], stride=stride, padding=padding)
    return torch.autograd.grad(small, zeros, x[None, None])[0][0, 0]


def by_own_logit(bicubic, residual, eps):
    safe = bicubic.clamp(eps, 1 - eps)
    return 1 / (1 + (1 - safe) / safe * torch.exp(-residual))


UNUSUAL = [
    ("04.2", FunctionalSRCNN),
    ("04.2", lambda scale: FunctionalSRCNN(scale).eval()),
    ("04.2", lambda scale: nn.Sequential(BicubicUpsample(scale), *srcnn_layers())),
    ("04.3", loop_with_closure),
    ("04.3", loop_that_cleans_up_itself),
    ("04.3", loop_by_autograd),
    ("04.6", sequential_stack),
    ("04.6", NamedStack),
    ("05.1", lambda x, first, second: x + second(first(x).clamp(min=0))),
    ("05.1", lambda x, first, second: torch.add(x, nn.Sequential(first, nn.ReLU(), second)(x))),
    ("05.1", lambda x, first, second: second(nn.ReLU(inplace=True)(first(x))) + x),
    ("05.2", OwnTrunk),
    ("05.3", lambda lr, residual, scale: residual + BicubicUpsample(scale)(lr)),
    ("05.3", lambda lr, residual, scale: torch.stack([imresize(lr, scale), residual]).sum(0)),
    ("05.4", copied_rivals),
    ("06.1", by_gradient),
    ("07.1", by_own_logit),
    ("07.1", lambda bicubic, residual, eps: torch.logit(bicubic, eps).add(residual).sigmoid()),
]


def srcnn_layers():
    convolutions = [nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in ((3, 64, 9), (64, 32, 5))]
    first, second = convolutions
    return first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(32, 3, 5, padding=2)


@pytest.mark.parametrize(("name", "answer"), UNUSUAL)
def test_an_unusual_right_answer_passes(name, answer):
    verdict = grade(exercises.get_exercise(name), answer)
    assert verdict.status == "passed", verdict.message


def test_the_function_that_is_to_be_written_cannot_be_called():
    def called(x, kernel, stride, padding):
        rows = F.conv_transpose1d(x[None, None], kernel[None, None], None, stride, padding)
        return rows[0, 0]

    verdict = grade(exercises.get_exercise("06.1"), called)
    assert "without conv_transpose1d" in verdict.message
