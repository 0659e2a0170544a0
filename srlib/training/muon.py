"""Muon: an optimizer whose step is of one size in all directions of a kernel."""

from collections import defaultdict

import torch

__all__ = ["Muon", "orthogonalized"]


class Muon(torch.optim.Adam):
    """Muon for the kernels of the hidden convolutions, Adam for all other weights.

    A kernel of shape (A, B, k, k) is a matrix with A rows. The running mean of its gradients
    (`momentum`, with Nesterov's look ahead) has a few strong directions and many weak ones.
    Adam's step follows the strong ones; Muon's has the same directions, all equally strong, so
    that the weak ones are learned, too. Its root mean square is about Adam's, 0.2 times the
    learning rate, so that one learning rate `lr` serves both. `fused` is Adam's.

    Kernels that take or give an image (3 channels or fewer), depthwise kernels and biases stay
    with Adam. `torch.optim.Muon` takes matrices only.

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the size of
    the step: J. Liu et al., "Muon is scalable for LLM training", 2025.
    """

    def __init__(self, parameters, lr=1e-3, momentum=0.95, *, fused=False):
        parameters = list(parameters)
        hidden = [p.ndim == 4 and min(p.shape[:2]) > 3 for p in parameters]
        others = [p for p, is_hidden in zip(parameters, hidden, strict=True) if not is_hidden]
        kernels = [p for p, is_hidden in zip(parameters, hidden, strict=True) if is_hidden]
        super().__init__([{"params": others}, {"params": kernels}], lr=lr, fused=fused)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; weights without a gradient stay.

        With `fused`, `torch.amp.GradScaler` does not wait for the GPU in each step to see whether
        a gradient is infinite, but gives the answer as a tensor, and the step leaves all as it is.
        Then the gradients must be unscaled before; RuntimeError if not.
        """
        if getattr(self, "grad_scale", None) is not None:
            raise RuntimeError("gradients are still scaled: call scaler.unscale_(optimizer) before")
        infinite = getattr(self, "found_inf", None)
        loss = torch.enable_grad()(closure)() if closure else None
        group = self.param_groups[1]
        kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
        of_one_shape = defaultdict(list)
        for kernel in kernels:
            of_one_shape[kernel.shape].append(kernel)
        for shape, alike in of_one_shape.items():
            updates = orthogonalized(
                torch.stack([self._mean(kernel, infinite) for kernel in alike])
            )
            if infinite is not None:
                updates = torch.where(infinite > 0, 0, updates)
            size = 0.2 * max(updates.shape[1:]) ** 0.5
            for kernel, update in zip(alike, updates, strict=True):
                kernel.add_(update.view(shape), alpha=-size * group["lr"])

        gradients = [kernel.grad for kernel in kernels]
        for kernel in kernels:
            kernel.grad = None  # so that Adam passes over it
        super().step()
        for kernel, gradient in zip(kernels, gradients, strict=True):
            kernel.grad = gradient
        return loss

    def _mean(self, kernel, infinite):
        """Update the running mean; return Nesterov's look ahead as a matrix."""
        state = self.state[kernel]
        if not state:  # Adam's names, which it expects when a state is loaded
            state["step"], state["exp_avg"] = torch.tensor(0.0), torch.zeros_like(kernel)
        state["step"] += 1
        if infinite is None:
            state["exp_avg"].lerp_(kernel.grad, 1 - self.momentum)
        else:
            mean = state["exp_avg"].lerp(kernel.grad, 1 - self.momentum)
            state["exp_avg"].copy_(torch.where(infinite > 0, state["exp_avg"], mean))
        return kernel.grad.lerp(state["exp_avg"], self.momentum).flatten(1)


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of matrices, float (N, A, B), to about 1; keep their directions.

    Five steps of an iteration of products only (Newton and Schulz, with the coefficients of K.
    Jordan et al., 2024). Singular values of 0.002 to 1 times the matrix's norm come out between
    0.68 and 1.21, smaller ones smaller.
    """
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-12)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x  # the smaller product
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x
