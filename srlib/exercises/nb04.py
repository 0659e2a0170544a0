"""Exercises: first networks."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from srlib.exercises.grading import Case, Exercise, Mistake
from srlib.exercises.inputs import noise_image
from srlib.exercises.probes import used_as_network
from srlib.layers import BicubicUpsample

__all__ = ["EXERCISES"]


def _picture(height, width, seed=0):
    return noise_image(height, width, seed)[:, :, 0] / 255


# A convolution


def _convolve(image, kernel):
    height, width = (size - k + 1 for size, k in zip(image.shape, kernel.shape, strict=True))
    result = np.zeros((height, width))
    for row, column in np.ndindex(kernel.shape):
        window = image[row : row + height, column : column + width]
        result += kernel[row, column] * window
    return result


def _convolve_padded(image, kernel):
    before = [(k - 1) // 2 for k in kernel.shape]
    after = [k // 2 for k in kernel.shape]
    return _convolve(np.pad(image, list(zip(before, after, strict=True))), kernel)


def _convolve_last(image, kernel):
    height, width = (size - k + 1 for size, k in zip(image.shape, kernel.shape, strict=True))
    return kernel[-1, -1] * image[-height:, -width:]


_CONVOLVE = Exercise(
    title="a convolution by hand",
    reference=_convolve,
    tolerance=1e-9,
    cases=lambda: (
        Case("a kernel of 3x3", (_picture(5, 6), _picture(3, 3, seed=1) - 0.4)),
        Case("a wide kernel", (_picture(6, 9, seed=2), _picture(2, 5, seed=3) - 0.4)),
        Case("one weight", (_picture(3, 4), np.array([[2.5]]))),
        Case(
            "results of both signs",
            (_picture(5, 5, seed=5), np.array([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])),
        ),
        Case("as large as the picture", (_picture(4, 3), _picture(4, 3, seed=4))),
        Case("whole numbers", (noise_image(5, 5)[:, :, 1], np.full((2, 3), 0.5))),
    ),
    mistakes=(
        Mistake(
            lambda image, kernel: _convolve(image, kernel[::-1, ::-1]),
            "The kernel is turned upside down. That is the convolution of mathematics; networks "
            "lay the kernel on the picture as it is.",
        ),
        Mistake(
            _convolve_padded,
            "The picture was continued beyond its border. Here the kernel stays inside, "
            "so the result is smaller than the picture.",
        ),
        Mistake(
            lambda image, kernel: _convolve(image, kernel)[:-1, :-1],
            "The last row and column are missing. A kernel of k fits n - k + 1 times.",
        ),
        Mistake(
            lambda image, kernel: _convolve(image, kernel.T),
            "Rows and columns of the kernel are exchanged.",
        ),
        Mistake(
            lambda image, kernel: _convolve(image, kernel) / kernel.size,
            "This is a mean of the products. A convolution is their sum.",
        ),
        Mistake(
            _convolve_last,
            "Only the last product is left. All products under the kernel are added up.",
        ),
    ),
    hints=(
        "How often does a kernel of 3 fit into a row of 5, without leaving it?",
        "Loop over the weights of the kernel. Each multiplies a shifted part of the picture.",
        "result += kernel[i, j] * image[i : i + height, j : j + width], where height and width "
        "are those of the result.",
    ),
)


# SRCNN


def _layers(scale, kernels=(9, 5, 5), widths=(64, 32), relus=2, padded=True, first=None):
    layers = [BicubicUpsample(scale) if first is None else first]
    for place, (kernel, before, after) in enumerate(
        zip(kernels, (3, *widths), (*widths, 3), strict=True)
    ):
        layers.append(nn.Conv2d(before, after, kernel, padding=kernel // 2 if padded else 0))
        layers += [nn.ReLU()] if place < relus else []
    return nn.Sequential(*layers)


def _use_network(make, *arguments):
    # Values of both signs, or a ReLU in front would change nothing.
    x = torch.randn(1, 3, 5, 7, generator=torch.Generator().manual_seed(arguments[0]))
    return used_as_network(make, arguments, x)


_SRCNN = Exercise(
    title="SRCNN in three layers",
    reference=_layers,
    tolerance=1e-4,
    probe=_use_network,
    cases=lambda: tuple(Case(f"enlarge by {scale}", (scale,)) for scale in (2, 3, 4)),
    redraw=lambda random: ((5,), (6,), (7,)),  # the course's own are all in the cases
    mistakes=(
        Mistake(
            lambda scale: _layers(scale, first=nn.Identity()),
            "The result is as large as the input: nothing enlarges. BicubicUpsample(scale) is the "
            "first layer.",
        ),
        Mistake(
            lambda scale: _layers(
                scale, first=nn.Upsample(scale_factor=scale, mode="bicubic", align_corners=False)
            ),
            "nn.Upsample's cubic kernel has another shape, with -0.75 where MATLAB's, which made "
            "the scores of the field, has -0.5. BicubicUpsample(scale) is the first layer.",
        ),
        Mistake(
            lambda scale: _layers(scale, padded=False),
            "The result has lost pixels at its border. A kernel of 9 needs padding=4 to keep the "
            "size, a kernel of 5 needs 2.",
        ),
        Mistake(
            lambda scale: _layers(scale, relus=3),
            "There is a ReLU behind the last convolution. It would cut off what is below black.",
        ),
        Mistake(
            lambda scale: _layers(scale, relus=0),
            "There is no ReLU between the convolutions. Without it all three are one linear map.",
        ),
        Mistake(lambda scale: _layers(scale, relus=1), "The second ReLU is missing."),
        Mistake(
            lambda scale: _layers(scale, kernels=(9, 1, 5)),
            "The second kernel is 1 x 1, as in the first version of the paper. Here it is 5 x 5.",
        ),
        Mistake(
            lambda scale: _layers(scale, kernels=(5, 5, 9)),
            "The kernels are in the wrong order: 9, then 5, then 5.",
        ),
        Mistake(
            lambda scale: _layers(scale, widths=(32, 64)),
            "64 channels come after the first convolution and 32 after the second.",
        ),
        Mistake(lambda scale: _layers(4), "The scale is not always 4: use the argument."),
    ),
    hints=(
        "nn.Sequential takes layers and calls one after the other.",
        "The first layer is BicubicUpsample(scale), the last a convolution from 32 channels to 3.",
        "nn.Sequential(BicubicUpsample(scale), nn.Conv2d(3, 64, 9, padding=4), nn.ReLU(), "
        "nn.Conv2d(64, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 3, 5, padding=2))",
    ),
)


# A step of training


def _train_step(network, lr, hr, optimizer):
    loss = F.l1_loss(network(lr), hr)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _step_with(network, lr, hr, optimizer, *, loss=F.l1_loss, order="zero backward step", last=""):
    value = loss(network(lr), hr)
    actions = {"zero": optimizer.zero_grad, "backward": value.backward, "step": optimizer.step}
    for name in order.split():
        actions[name]()
    if last == "again":
        return F.l1_loss(network(lr), hr).item()
    return value if last == "tensor" else value.item()


def _take_three_steps(step, network, lr, hr, optimizer):
    """No gradient is there before the first step; then there is one, as after another batch."""
    losses = [step(network, lr, hr, optimizer)]
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    losses += [step(network, lr, hr, optimizer) for _ in range(2)]
    return {
        "the losses of three steps": losses,
        "whether a loss is a tensor still": any(isinstance(loss, torch.Tensor) for loss in losses),
        "the weights after three steps": [weight.detach() for weight in network.parameters()],
    }


def _step_case(name, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(BicubicUpsample(2), nn.Conv2d(3, 3, 3, padding=1))
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 5)
    lr, hr = (torch.rand(2, 3, side, side, generator=generator) for side in (5, 10))
    return Case(name, (network, lr, hr, kind(network.parameters(), lr=0.01)))


_UNMOVED = (
    "No weight moves. One of three things: backward is missing, so there is no gradient; step is "
    "missing, so nobody uses it; or zero_grad stands between the two and erases it."
)

_TRAIN_STEP = Exercise(
    title="a step of training",
    reference=_train_step,
    tolerance=1e-5,
    probe=_take_three_steps,
    cases=lambda: (
        _step_case("plain descent", torch.optim.SGD, 0),
        _step_case("Adam", torch.optim.Adam, 1),
    ),
    mistakes=(
        Mistake(
            lambda *arguments: _step_with(*arguments, order="backward step zero"),
            "The old gradients are forgotten only after the step, so those of another batch, which "
            "may be there before the first step, are in it. Forget them before backward.",
        ),
        Mistake(
            lambda *arguments: _step_with(*arguments, order="backward step"),
            "The gradients of the step before are still there, and the new ones are added to them. "
            "Set them to zero first.",
        ),
        Mistake(lambda *arguments: _step_with(*arguments, order="backward zero step"), _UNMOVED),
        Mistake(lambda *arguments: _step_with(*arguments, order="zero backward"), _UNMOVED),
        Mistake(lambda *arguments: _step_with(*arguments, order="zero step"), _UNMOVED),
        Mistake(
            lambda *arguments: _step_with(*arguments, loss=F.mse_loss),
            "This is the squared difference. The L1 loss is the mean of the absolute one.",
        ),
        Mistake(
            lambda *arguments: _step_with(*arguments, loss=lambda a, b: (a - b).abs().sum()),
            "This is the sum of the absolute differences. The loss is their mean.",
        ),
        Mistake(
            lambda *arguments: _step_with(*arguments, loss=lambda a, b: (a - b).mean()),
            "Without abs() the signs cancel: too bright and too dark together look like no error.",
        ),
        Mistake(
            lambda *arguments: _step_with(*arguments, last="again"),
            "This is the loss after the step. Return the one that the step was made from.",
        ),
        Mistake(
            lambda *arguments: _step_with(*arguments, last="tensor"),
            "This is a tensor, which may keep everything it was computed from, on the GPU too. "
            "Return the number in it.",
        ),
    ),
    hints=(
        "The lines above are all that is needed; what they name is given to you.",
        "In this order: result, loss, zero_grad, backward, step.",
        "loss = F.l1_loss(network(lr), hr); optimizer.zero_grad(); loss.backward(); "
        "optimizer.step(); return loss.item()",
    ),
)


# Max pooling


def _max_pool(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(height, size, width, size)
    return blocks.max(axis=(1, 3))


def _blocks_mean(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(height, size, width, size)
    return blocks.mean(axis=(1, 3))


def _sliding_max(image, size):
    height, width = (side - size + 1 for side in image.shape)
    shifted = [
        image[row : row + height, column : column + width] for row, column in np.ndindex(size, size)
    ]
    return np.max(shifted, axis=0)


def _max_pool_with_rest(image, size):
    rest = [(0, -side % size) for side in image.shape]
    return _max_pool(np.pad(image, rest, constant_values=image.min()), size)


def _max_pool_scrambled(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    blocks = image[: height * size, : width * size].reshape(size, height, size, width)
    return blocks.max(axis=(0, 2))


def _max_pool_first_pixel(image, size):
    height, width = image.shape[0] // size, image.shape[1] // size
    return image[: height * size : size, : width * size : size]


_MAX_POOL = Exercise(
    title="max pooling",
    reference=_max_pool,
    cases=lambda: (
        Case("blocks of 2x2", (_picture(4, 6), 2)),
        Case("blocks of 3x3", (_picture(9, 6, seed=1), 3)),
        Case("sides that are no multiples", (_picture(5, 7, seed=2), 2)),
        Case("negative values", (_picture(4, 4, seed=3) - 2, 2)),
        Case("size 1 changes nothing", (_picture(3, 4, seed=4), 1)),
    ),
    mistakes=(
        Mistake(_blocks_mean, "This is the mean of each block. Max pooling keeps the largest."),
        Mistake(
            _sliding_max,
            "The blocks overlap: this moves on by one pixel. Move on by a whole block.",
        ),
        Mistake(
            lambda image, size: _max_pool_with_rest(image, size),
            "Rows and columns that do not fill a block are left out.",
        ),
        Mistake(
            _max_pool_scrambled,
            "The pixels of a block are not neighbours. Check the order in reshape: "
            "(rows of blocks, size, columns of blocks, size).",
        ),
        Mistake(
            lambda image, size: image[size - 1 :: size, size - 1 :: size],
            "This keeps one corner of each block. Compare all its pixels.",
        ),
        Mistake(
            _max_pool_first_pixel,
            "This keeps the upper left pixel of each block. Compare all its pixels.",
        ),
        Mistake(
            lambda image, size: np.maximum(_max_pool(image, size), 0),
            "Negative values became 0. The largest of negative numbers is negative.",
        ),
    ),
    hints=(
        "The result has height // size rows. Cut off what is left over.",
        "reshape(rows, size, columns, size) gives every block two axes of its own.",
        "image.reshape(rows, size, columns, size).max(axis=(1, 3)), after cutting.",
    ),
)


# Counting parameters


def _count_parameters(widths, kernel_size):
    return sum(
        before * after * kernel_size**2 + after
        for before, after in zip(widths[:-1], widths[1:], strict=True)
    )


def _count_with(widths, kernel_size, layer):
    layers = zip(widths[:-1], widths[1:], strict=True)
    return sum(layer(before, after, kernel_size) for before, after in layers)


_COUNT_PARAMETERS = Exercise(
    title="counting parameters",
    reference=_count_parameters,
    cases=lambda: (
        Case("one layer", ([3, 8], 3)),
        Case("two layers of 5x5", ([1, 4, 2], 5)),
        Case("four layers", ([3, 16, 32, 16, 3], 3)),
        Case("1x1", ([7, 5, 2], 1)),
    ),
    redraw=lambda random: tuple(
        (random.integers(2, 33, count).tolist(), size)
        for count, size in ((2, 3), (3, 5), (5, 3), (3, 1))
    ),
    mistakes=(
        Mistake(
            lambda widths, kernel_size: _count_with(widths, kernel_size, lambda b, a, k: b * a * k),
            "A kernel has kernel_size rows and as many columns, and each output channel a bias.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k * k
            ),
            "The biases are missing: one for each output channel.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k * k + b
            ),
            "A bias belongs to an output channel. This counts one for each input channel.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k * k + 1
            ),
            "This has one bias a layer. There is one for each output channel.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: a * k * k + a
            ),
            "Each output channel has a kernel for every input channel, not one kernel in all.",
        ),
        Mistake(
            lambda widths, kernel_size: _count_with(
                widths, kernel_size, lambda b, a, k: b * a * k + a
            ),
            "A kernel is a square: kernel_size rows of kernel_size weights.",
        ),
    ),
    hints=(
        "How many numbers does one output channel of one layer need?",
        "A kernel of kernel_size x kernel_size for each input channel, and one bias.",
        "before * after * kernel_size**2 + after, summed over zip(widths[:-1], widths[1:]).",
    ),
)

# A stack that hides its layers


def _make_stack(depth, width):
    return _Stack(depth, width, nn.ModuleList)


class _Stack(nn.Module):
    """`depth` convolutions; `keep` makes the list that holds them."""

    def __init__(self, depth, width, keep, relus=True, shared=False):
        super().__init__()
        numbers = [3] + [width] * (depth - 1) + [3]
        pairs = zip(numbers[:-1], numbers[1:], strict=True)
        layers = [nn.Conv2d(before, after, 3, padding=1) for before, after in pairs]
        if shared:
            layers[1:-1] = layers[1:2] * (depth - 2)
        self.layers = keep(layers)
        self.relus = relus

    def forward(self, x):
        """(N, 3, H, W) -> (N, 3, H, W)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x)) if self.relus else layer(x)
        return self.layers[-1](x)


_MAKE_STACK = Exercise(
    title="find the bug: a network that hides its layers",
    reference=_make_stack,
    tolerance=1e-4,
    probe=_use_network,
    cases=lambda: (
        Case("three layers", (3, 4)),
        Case("five layers", (5, 6)),
        Case("eight layers", (8, 2)),
    ),
    redraw=lambda random: tuple(
        (int(depth), int(width))
        for depth, width in zip(random.integers(3, 9, 3), random.integers(2, 9, 3), strict=True)
    ),
    mistakes=(
        Mistake(
            lambda depth, width: _Stack(depth, width, list),
            "The optimizer would still learn nothing: the network does not know the layers in a "
            "plain Python list. Count its parameters.",
        ),
        Mistake(
            lambda depth, width: _Stack(depth, width, nn.ModuleList, shared=True),
            "One layer stands in several places, so its weights are shared. Make a new one each "
            "time.",
        ),
        Mistake(
            lambda depth, width: _Stack(depth, width, nn.ModuleList, relus=False),
            "The ReLUs are gone. Only the place where the layers are kept was wrong.",
        ),
        Mistake(
            lambda depth, width: _Stack(depth, 16, nn.ModuleList),
            "The width is not always 16: use the argument.",
        ),
        Mistake(
            lambda depth, width: _Stack(depth + 1, width, nn.ModuleList),
            "This has one layer too many: depth convolutions in all, the first and last among "
            "them.",
        ),
    ),
    hints=(
        "Print sum(p.numel() for p in network.parameters()). How many should there be?",
        "The optimizer moves what network.parameters() lists. That finds modules that are "
        "attributes of the network, but does not look into a plain list.",
        "nn.ModuleList([...]), or nn.Sequential(*layers), in place of the plain list.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (
    _CONVOLVE,
    _SRCNN,
    _TRAIN_STEP,
    _MAX_POOL,
    _COUNT_PARAMETERS,
    _MAKE_STACK,
)
