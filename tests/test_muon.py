import copy

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from srlib.training.muon import Muon, orthogonalized


def network(seed=0):
    """Kernels of an image, hidden ones (two alike, one deconvolution), one of single channels."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),
        nn.Conv2d(4, 3, 3, padding=1),
    )


def give_gradients(model, seed):
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)


HIDDEN = {"1.weight", "2.weight", "4.weight"}


def directions(rows, columns, singular, seed=0):
    """A matrix with these singular values."""
    random = np.random.default_rng(seed)
    left = np.linalg.qr(random.normal(size=(rows, len(singular))))[0]
    right = np.linalg.qr(random.normal(size=(columns, len(singular))))[0]
    return torch.from_numpy((left * singular) @ right.T), torch.from_numpy(left @ right.T)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 90),
    st.floats(-20, 10),
    st.lists(st.floats(0.001, 1), min_size=40, max_size=40),
    st.integers(0, 9),
)
def test_singular_values_become_one_and_directions_stay(rows, columns, size, values, seed):
    rank = min(rows, columns)
    values = np.maximum(values[:rank], 0.0022 * np.linalg.norm(values[:rank]))
    matrix, flat = directions(rows, columns, values * 10**size, seed)
    result = orthogonalized(matrix[None])[0]
    if size > -9:  # below, the matrix counts as zero
        # In the directions it had, and in no others: the flat matrix undone leaves a diagonal.
        inner = flat.T @ result
        torch.testing.assert_close(inner, inner.T, atol=1e-6, rtol=0)
        found = torch.linalg.svdvals(result)
        assert 0.68 < found.min() and found.max() < 1.21
    assert torch.isfinite(result).all()


def test_each_of_a_stack_is_treated_alone_and_zero_stays_zero():
    stack = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0))
    stack[1] = 0
    together = orthogonalized(stack)
    for matrix, result in zip(stack, together, strict=True):
        torch.testing.assert_close(orthogonalized(matrix[None])[0], result)
    assert not together[1].any()
    torch.testing.assert_close(orthogonalized(stack.mT), together.mT)


def test_every_step_is_that_written_down_by_hand():
    """In float64, with a singular value decomposition instead of the iteration."""
    model = network().double()
    optimizer = Muon(model.parameters(), lr=0.01)
    means = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for step in range(4):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        random = torch.Generator().manual_seed(step)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=random, dtype=torch.float64)
        optimizer.step()
        for name, p in model.named_parameters():
            if name not in HIDDEN:
                continue
            means[name] = 0.95 * means[name] + 0.05 * p.grad
            ahead = (0.95 * means[name] + 0.05 * p.grad).flatten(1)
            left, _, right = torch.linalg.svd(ahead, full_matrices=False)
            expected = -0.01 * 0.2 * max(ahead.shape) ** 0.5 * (left @ right)
            moved = (p - before[name]).flatten(1)
            alike = (moved * expected).sum() / moved.norm() / expected.norm()
            assert alike > 0.95 and 0.7 < moved.norm() / expected.norm() < 1.2
            # Its size is Adam's: 0.2 of the rate where there are no more rows than columns.
            if moved.shape[0] <= moved.shape[1]:
                assert 0.6 < moved.square().mean().sqrt() / (0.2 * 0.01) < 1.3


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9")
def test_it_is_torchs_own_on_matrices():
    """That one takes no kernels, and computes in bfloat16."""
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(24, 8, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    mine = Muon([kernel], lr=0.01)
    theirs = torch.optim.Muon([matrix], lr=0.01, weight_decay=0, adjust_lr_fn="match_rms_adamw")
    start = matrix.detach().clone()
    for seed in range(5):
        gradient = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(seed))
        kernel.grad, matrix.grad = gradient, gradient.flatten(1)
        mine.step()
        theirs.step()
        way = (matrix - start).norm()
        assert (kernel.flatten(1) - matrix).norm() < 0.02 * way


@pytest.mark.parametrize("fused", [False, True])
def test_all_other_weights_are_adams(fused):
    mine, adams = network(), network()
    muon = Muon(mine.parameters(), lr=0.01, fused=fused)
    adam = torch.optim.Adam(adams.parameters(), lr=0.01, fused=fused)
    for seed in range(3):
        for model, optimizer in ((mine, muon), (adams, adam)):
            give_gradients(model, seed)
            optimizer.step()
    theirs = dict(adams.named_parameters())
    different = {name for name, p in mine.named_parameters() if not torch.equal(p, theirs[name])}
    assert different == HIDDEN
    assert all(p.grad is not None for p in mine.parameters())  # they are left as they were


def test_the_layout_in_memory_changes_nothing():
    plain, last = network(), network().to(memory_format=torch.channels_last)
    for model in (plain, last):
        optimizer = Muon(model.parameters(), lr=0.01)
        for seed in range(3):
            give_gradients(model, seed)
            for p in model.parameters():
                p.grad = torch.empty_like(p).copy_(p.grad)  # as backward lays it out
            optimizer.step()
    for one, other in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-6)


def test_it_goes_on_from_its_state_bit_for_bit():
    whole = network()
    optimizer = Muon(whole.parameters(), lr=0.01)
    for seed in range(4):
        if seed == 2:
            rest = network(7)
            rest.load_state_dict(copy.deepcopy(whole.state_dict()))
            continued = Muon(rest.parameters(), lr=0.5)
            continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        give_gradients(whole, seed)
        optimizer.step()
        if seed >= 2:
            give_gradients(rest, seed)
            continued.step()
    for one, other in zip(whole.parameters(), rest.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_without_a_gradient_stay():
    model = network()
    before = copy.deepcopy(model.state_dict())
    give_gradients(model, 0)
    model[2].weight.grad = model[0].bias.grad = None
    Muon(model.parameters()).step()
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert same == {"2.weight", "0.bias"}


def test_a_step_with_infinite_gradients_is_left_out_by_the_scaler():
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimizer, scaler = Muon(model.parameters()), torch.amp.GradScaler("cpu")
    for gradient, moves in ((float("inf"), False), (1.0, True)):
        loss = (model(torch.rand(1, 3, 6, 6)) * gradient).mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        changed = [not torch.equal(v, before[name]) for name, v in model.state_dict().items()]
        assert any(changed) == moves


def test_a_closure_is_called_once_and_its_loss_returned():
    model, calls = network(), []

    def closure():
        calls.append(0)
        loss = model(torch.ones(1, 3, 6, 6)).square().mean()
        loss.backward()
        return loss

    assert Muon(model.parameters()).step(closure).item() > 0 and len(calls) == 1


def test_a_network_of_kernels_only_or_without_any_trains():
    for parameters in ([nn.Parameter(torch.ones(8, 8, 3, 3))], [nn.Parameter(torch.ones(8))]):
        optimizer = Muon(parameters, lr=0.1)
        parameters[0].grad = torch.randn(parameters[0].shape)
        optimizer.step()
        assert (parameters[0] != 1).any()


def test_a_scaler_skips_infinite_gradients_without_asking(monkeypatch):
    """Fused, the answer stays on the GPU; the result is that of the scaler's own skipping."""
    results = []
    for fused in (False, True):
        model = network()
        optimizer = Muon(model.parameters(), lr=1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        scaler.scale(torch.zeros(()))
        if fused:
            monkeypatch.setattr(scaler, "_maybe_opt_step", lambda *_: pytest.fail("it asks"))
        for step in range(6):
            give_gradients(model, step)
            for parameter in model.parameters():
                parameter.grad *= scaler.get_scale()
            if step in (0, 3):
                model[1].weight.grad[0, 0, 0, 0] = torch.inf
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        results.append(model.state_dict())
    for name, value in results[0].items():
        assert value.isfinite().all()
        torch.testing.assert_close(results[1][name], value, rtol=1e-5, atol=1e-6)


def test_gradients_that_are_still_scaled_are_refused():
    model = network()
    optimizer = Muon(model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("cpu")
    give_gradients(model, 0)
    scaler.scale(torch.zeros(()))
    with pytest.raises(RuntimeError, match="unscale_"):
        scaler.step(optimizer)
