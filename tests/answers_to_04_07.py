"""Answers to the exercises of 04 to 07, for test_unusual_answers.py."""

import copy
import functools
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from answers_to_00_03 import in_place
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal
from skimage.measure import block_reduce
from torch import nn

from srlib.layers import BicubicUpsample
from srlib.models import SrResNet
from srlib.resample import imresize

# 04: first networks ----------------------------------------------------------------------------


def by_four_loops(image, kernel, kind=float):
    result = np.zeros([n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=True)], kind)
    for row, column in np.ndindex(result.shape):
        total = 0.0
        for i, j in np.ndindex(kernel.shape):
            total += image[row + i, column + j] * kernel[i, j]
        result[row, column] = total
    return result


def by_conv2d(image, kernel, kind=torch.float64):
    image, kernel = (torch.tensor(array, dtype=kind)[None, None] for array in (image, kernel))
    return F.conv2d(image, kernel)[0, 0].numpy()


def by_fourier(image, kernel):
    spectrum = np.fft.fft2(image) * np.conj(np.fft.fft2(kernel, image.shape))
    height, width = by_four_loops(image, kernel).shape
    return np.fft.ifft2(spectrum).real[:height, :width]


def srcnn_layers(scale, **options):
    layers = [BicubicUpsample(scale)]
    for before, after, side in ((3, 64, 9), (64, 32, 5), (32, 3, 5)):
        layers += [nn.Conv2d(before, after, side, padding=side // 2, **options), nn.ReLU()]
    return layers[:-1]


class OwnSRCNN(nn.Module):
    """The last convolution made first; `blind` makes it run without gradients."""

    def __init__(self, scale, blind=False):
        super().__init__()
        self.scale, self.blind = scale, blind
        self.reconstruct = nn.Conv2d(32, 3, 5, padding=2)
        self.map = nn.Conv2d(64, 32, 5, padding="same")
        self.extract = nn.Conv2d(3, 64, 9, padding="same")

    def forward(self, lr):
        with torch.set_grad_enabled(not self.blind):
            x = self.extract(imresize(lr, self.scale)).clamp(min=0)
            x = torch.relu(self.map(x))
        return self.reconstruct(x)


class Hidden(nn.Module):
    """Layers in a plain list, or with no super().__init__() before them, or a wrong result."""

    def __init__(self, layers, way="plain list"):
        if way != "no init":
            super().__init__()
        self.way = way
        self.layers = layers if way == "plain list" else nn.Sequential(*layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return {"tuple": (x, x), "detached": x.detach()}.get(self.way, x)


class OwnParameters(Hidden):
    def parameters(self, recurse=True):
        for layer in self.layers:
            yield from layer.parameters(recurse)


def step_by(loss_of=F.l1_loss, zero=lambda network, optimizer: optimizer.zero_grad(), end=float):
    def step(network, lr, hr, optimizer):
        zero(network, optimizer)
        loss = loss_of(network(lr), hr)
        loss.backward()
        optimizer.step()
        return end(loss)

    return step


def step_with_closure(network, lr, hr, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = (network(lr) - hr).abs().mean()
        loss.backward()
        return loss

    return optimizer.step(closure).item()


def step_that_cleans_up_itself(network, lr, hr, optimizer):
    for weight in network.parameters():
        weight.grad = None
    loss = nn.L1Loss()(hr, network(lr))
    loss.backward()
    optimizer.step()
    network.zero_grad()
    return float(loss)


def step_by_autograd(network, lr, hr, optimizer):
    loss = F.l1_loss(network(lr), hr)
    weights = list(network.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    optimizer.step()
    return loss.detach().numpy()


def step_image_by_image(network, lr, hr, optimizer):
    optimizer.zero_grad()
    total = 0
    for small, large in zip(lr, hr, strict=True):
        loss = F.l1_loss(network(small[None]), large[None]) / len(lr)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


def step_by_hand(network, lr, hr, optimizer):
    network.zero_grad()
    loss = F.l1_loss(network(lr), hr)
    loss.backward()
    with torch.no_grad():
        for weight in network.parameters():
            weight -= 0.01 * weight.grad
    return loss.item()


def step_with_own_adam(network, lr, hr, optimizer):
    return step_by()(network, lr, hr, torch.optim.Adam(network.parameters(), lr=0.01))


def zero_what_is_there(network, optimizer):
    for weight in network.parameters():
        weight.grad.zero_()  # before the first step there is none


def step_twice(network, lr, hr, optimizer):
    first = step_by()(network, lr, hr, optimizer)
    step_by()(network, lr, hr, optimizer)
    return first


def step_clipped(network, lr, hr, optimizer):
    loss = F.l1_loss(network(lr), hr)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 0.1)
    optimizer.step()
    return loss.item()


def whole(image, size):
    """Cut off what fills no block."""
    return image[: len(image) // size * size, : image.shape[1] // size * size]


def pool_by_loops(image, size):
    result = np.empty((len(image) // size, image.shape[1] // size))
    for i, j in np.ndindex(result.shape):
        result[i, j] = image[i * size : (i + 1) * size, j * size : (j + 1) * size].max()
    return result


def pool_by_torch(image, size, **options):
    return F.max_pool2d(torch.tensor(image)[None, None], size, **options)[0, 0].numpy()


def pool_by_ranges(image, size, end=0):
    rows, columns = (range(0, side - end, size) for side in image.shape)
    return np.array([[image[i:, j:][:size, :size].max() for j in columns] for i in rows])


def stack_layers(depth, width, activation=nn.ReLU, **options):
    layers, options = [], {"kernel_size": 3, "padding": 1} | options
    for before, after in itertools.pairwise([3] + [width] * (depth - 1) + [3]):
        layers += [nn.Conv2d(before, after, **options), activation()]
    return layers[:-1]


class NamedStack(nn.Module):
    """Layers with names of their own, or found otherwise than they were made."""

    def __init__(self, depth, width, way=""):
        super().__init__()
        self.places = range(depth)
        sides = [3] + [width] * (depth - 1) + [3]
        for place in self.places[::-1] if way == "last made first" else self.places:
            layer = nn.Conv2d(sides[place], sides[place + 1], 3, padding=1)
            self.add_module(f"conv{place}", layer)
        if way == "one inside":
            self.places = [0, *[1] * (depth - 2), depth - 1]

    def forward(self, x):
        for place in self.places:
            x = getattr(self, f"conv{place}")(F.relu(x) if place else x)
        return x


class StackOfWeights(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        pairs = list(itertools.pairwise([3] + [width] * (depth - 1) + [3]))
        self.weights = nn.ParameterList(torch.randn(b, a, 3, 3) / 10 for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(b) for _, b in pairs)

    def forward(self, x):
        for place, weight in enumerate(self.weights):
            x = F.conv2d(F.relu(x) if place else x, weight, self.biases[place], padding=1)
        return x


def nested_stack(depth, width):
    network = nn.Conv2d(3, width, 3, padding=1)
    for place in range(depth - 1):
        after = width if place < depth - 2 else 3
        last = nn.Conv2d(width, after, 3, padding="same")
        network = nn.Sequential(network, nn.ReLU(inplace=True), last)
    return network


class ListedStack(Hidden):
    """A plain list, and the modules in it known by another name."""

    def __init__(self, depth, width):
        super().__init__(stack_layers(depth, width))
        self.known = nn.Sequential(*self.layers)


# 05: residual blocks ---------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.second(F.relu(self.first(x)))


class Trunk(nn.Module):
    """Right; the classes that follow change one thing."""

    def __init__(self, channels, num_blocks):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(num_blocks)))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.last(self.blocks(x))


class TrunkOfDict(nn.Module):
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


class TrunkOfAttributes(Trunk):
    def __init__(self, channels, num_blocks):
        super().__init__(channels, 0)
        self.count = num_blocks
        for place in range(num_blocks):
            setattr(self, f"block{place}", Block(channels))

    def forward(self, x):
        deep = x.clone()
        for place in range(self.count):
            deep = getattr(self, f"block{place}")(deep)
        return torch.add(self.last(deep), x)


class TrunkOfCopies(nn.Module):
    def __init__(self, channels, num_blocks):
        super().__init__()
        block, last = Block(channels), nn.Conv2d(channels, channels, 3, padding=1)
        copies = [copy.deepcopy(block) for _ in range(num_blocks)]
        self.body = nn.Sequential(*copies, last)

    def forward(self, x):
        return self.body(x).add_(x)


class TrunkOfConvolutions(nn.Module):
    def __init__(self, channels, num_blocks):
        super().__init__()
        count = 2 * num_blocks + 1
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(count)
        )

    def forward(self, x):
        deep = x
        for first, second in zip(self.convs[:-1:2], self.convs[1::2], strict=True):
            deep = deep + second(first(deep).clamp(min=0))
        return x + self.convs[-1](deep)


class TrunkByReduce(Trunk):
    def forward(self, x):
        layers = [*self.blocks, self.last]
        return functools.reduce(lambda features, layer: layer(features), layers, x) + x


class WrongTrunk(Trunk):
    def __init__(self, channels, num_blocks, way):
        super().__init__(channels, num_blocks)
        if way == "1x1":
            self.last = nn.Conv2d(channels, channels, 1)
        self.way = way

    def forward(self, x):
        one = self.blocks[0]
        ways = {
            "1x1": lambda: x + self.last(self.blocks(x)),
            "same block": lambda: (
                x + self.last(functools.reduce(lambda y, _: one(y), self.blocks, x))
            ),
            "side by side": lambda: x + self.last(sum(block(x) for block in self.blocks)),
            "last not used": lambda: x + one.first(self.blocks(x)),
            "tuple": lambda: (x + self.last(self.blocks(x)), x),
            "in place": lambda: x.add_(self.last(self.blocks(x))),
        }
        return ways[self.way]()


class TrunkWithoutInit(nn.Module):
    def __init__(self, channels, num_blocks):
        self.last = nn.Conv2d(channels, channels, 3, padding=1)


class TrunkMadeTooLate(nn.Module):
    """Makes new layers each time."""

    def __init__(self, channels, num_blocks):
        super().__init__()
        self.sizes = channels, num_blocks

    def forward(self, x):
        return Trunk(*self.sizes)(x)


def seeded(make, kind, seed):
    torch.manual_seed(seed)
    return make(kind)


def copied_rivals(make, kinds, seed):
    first = seeded(make, kinds[0], seed)
    rivals = {kinds[0]: first}
    for kind in kinds[1:]:
        rivals[kind] = make(kind)
        rivals[kind].load_state_dict(copy.deepcopy(first.state_dict()))
    return rivals


def rivals_by_state(make, kinds, seed):
    torch.manual_seed(seed)
    state, rivals = torch.get_rng_state(), {}
    for kind in kinds:
        torch.set_rng_state(state)
        rivals[kind] = make(kind)
    return rivals


def rivals_in_forks(make, kinds, seed):
    rivals = {}
    for kind in kinds:
        with torch.random.fork_rng(devices=[]):
            rivals[kind] = seeded(make, kind, seed)
    return rivals


def overwritten_rivals(make, kinds, seed, share=False):
    rivals = {kind: seeded(make, kind, seed) for kind in kinds[:1]}
    rivals |= {kind: make(kind) for kind in kinds[1:]}
    source = rivals[kinds[0]].weight
    for network in rivals.values():
        network.weight.data = source.data if share else source.data.clone()
    return rivals


def rivals_by_numpy(make, kinds, seed):
    rivals = {}
    for kind in kinds:
        np.random.seed(seed)
        rivals[kind] = make(kind)
    return rivals


# 06: deconvolution -----------------------------------------------------------------------------


def by_gradient(x, kernel, stride, padding):
    length = (len(x) - 1) * stride + len(kernel) - 2 * padding
    zeros = torch.zeros(1, 1, length, dtype=x.dtype, requires_grad=True)
    small = F.conv1d(zeros, kernel[None, None], stride=stride, padding=padding)
    return torch.autograd.grad(small, zeros, x[None, None])[0][0, 0]


def by_matrix(x, kernel, stride, padding):
    matrix = torch.zeros((len(x) - 1) * stride + len(kernel), len(x), dtype=x.dtype)
    for column in range(len(x)):
        matrix[column * stride : column * stride + len(kernel), column] = kernel
    return matrix[padding : len(matrix) - padding] @ x


def by_zeros_between(x, kernel, stride, padding):
    apart = x.new_zeros((len(x) - 1) * stride + 1)
    apart[::stride] = x
    full = F.conv1d(apart[None, None], kernel.flip(0)[None, None], padding=len(kernel) - 1)[0, 0]
    return full[padding : len(full) - padding]


def by_fold(x, kernel, stride, padding):
    length = (len(x) - 1) * stride + len(kernel) - 2 * padding
    columns = (kernel[:, None] * x)[None]
    options = {"padding": (0, padding), "stride": (1, stride)}
    return F.fold(columns, (1, length), (1, len(kernel)), **options)[0, 0, 0]


def by_index_add(x, kernel, stride, padding):
    places = torch.arange(len(x))[:, None] * stride + torch.arange(len(kernel))
    full = torch.zeros((len(x) - 1) * stride + len(kernel), dtype=torch.float64)
    full.index_add_(0, places.flatten(), torch.outer(x, kernel).flatten())
    return full[padding:][: len(full) - 2 * padding]


def by_scipy(x, kernel, stride, padding):
    full = torch.from_numpy(signal.upfirdn(kernel.numpy(), x.numpy(), up=stride))
    return full[padding : len(full) - padding]


def transposed_by(function):
    return lambda x, kernel, stride, padding: function(
        x[None, None], kernel[None, None], None, [stride], [padding]
    )[0, 0]


# Not allowed, for it is what the learner has to write.
BY_TORCH = [
    transposed_by(F.conv_transpose1d),
    transposed_by(torch.conv_transpose1d),
    transposed_by(torch.ops.aten.conv_transpose1d),
    transposed_by(lambda *arguments: torch.convolution(*arguments, [1], True, [0], 1)),
]


def checked(shuffle):
    def answer(features, scale):
        if features.shape[1] % scale**2:
            raise ValueError("the channels do not fit")
        return shuffle(features, scale)

    return answer


def shuffle_by_assigning(features, scale):
    count, channels, height, width = features.shape
    result = features.new_empty(count, channels // scale**2, height * scale, width * scale)
    for i, j in np.ndindex(scale, scale):
        result[:, :, i::scale, j::scale] = features[:, i * scale + j :: scale**2]
    return result


def shuffle_by_stacking(features, scale):
    parts = [features[:, place :: scale**2] for place in range(scale**2)]
    rows = [torch.stack(parts[i * scale :][:scale], -1).flatten(-2) for i in range(scale)]
    return torch.stack(rows, -2).flatten(-3, -2)


def shuffle_by_fold(features, scale):
    size = tuple(scale * side for side in features.shape[-2:])
    return F.fold(features.flatten(2), size, scale, stride=scale)


def shuffle_by_einsum(features, scale):
    count, _, height, width = features.shape
    parts = features.view(count, -1, scale, scale, height, width)
    shape = count, -1, height * scale, width * scale
    return torch.einsum("ncijhw -> nchiwj", parts).reshape(shape)


def shuffle_or_error(features, scale):
    try:
        return nn.PixelShuffle(scale)(features)
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def left_by_search(size, kernel_size, stride, padding):
    count = (size + 2 * padding - kernel_size) // stride + 1
    lengths = [(count - 1) * stride + kernel_size - 2 * padding + extra for extra in range(stride)]
    return lengths.index(size)


def left_by_torch(size, kernel_size, stride, padding):
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel_size)
    small = F.conv1d(x, weight, stride=stride, padding=padding)
    return size - F.conv_transpose1d(small, weight, stride=stride, padding=padding).shape[-1]


# 07: the whole network -------------------------------------------------------------------------


def by_own_logit(bicubic, residual, eps):
    safe = bicubic.clamp(eps, 1 - eps)
    return 1 / (1 + (1 - safe) / safe * torch.exp(-residual))


def by_logarithms(bicubic, residual, eps):
    safe = torch.where(bicubic < eps, eps, bicubic)
    safe = torch.where(bicubic > 1 - eps, 1 - eps, safe)
    return torch.special.expit(torch.log(safe) - torch.log1p(-safe) + residual)


def by_softmax(bicubic, residual, eps):
    logit = torch.logit(bicubic, eps) + residual
    return torch.softmax(torch.stack([logit, torch.zeros_like(logit)]), 0)[0]


def clamped_behind_the_gradient(bicubic, residual, eps):
    clamped = bicubic + (bicubic.clamp(eps, 1 - eps) - bicubic).detach()
    return torch.sigmoid(torch.logit(clamped) + residual)


def convolve(x, weight, bias):
    return F.conv2d(x, weight, bias, padding="same")


def block_by(x, first, first_bias, second, second_bias, scaling=0.3, activation=F.relu):
    branch = convolve(activation(convolve(x, first, first_bias)), second, second_bias)
    return x + scaling * branch


def through(features, blocks, **options):
    return functools.reduce(lambda x, block: block_by(x, *block, **options), blocks, features)


def refine_by_index(features, blocks, body):
    x = features.clone()
    for place in range(len(blocks)):
        first, first_bias, second, second_bias = blocks[place]
        hidden = torch.relu(F.conv2d(x, first, first_bias, 1, 1))
        x = x.add(F.conv2d(hidden, second, second_bias, stride=1, padding=1), alpha=0.3)
    return torch.stack((features, F.conv2d(x, *body, padding=1))).sum(0)


def refine_by_recursion(features, blocks, body, skip=None):
    skip = features if skip is None else skip
    if not blocks:
        return skip + convolve(features, *body)
    return refine_by_recursion(block_by(features, *blocks[0]), blocks[1:], body, skip)


def refine_by_scaled_weights(features, blocks, body):
    x = features
    for *first, second, bias in blocks:
        x = convolve(F.relu_(convolve(x, *first)), 0.3 * second, 0.3 * bias).add_(x)
    return convolve(x, *body).add_(features)


def refine_by_layers(features, blocks, body):
    layer = nn.Conv2d(4, 4, 3, padding=1)

    def run(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    x = features
    for *first, second, bias in blocks:
        x = x + 0.3 * run(F.relu(run(x, *first)), second, bias)
    return features + run(x, *body)


def refine_by_data(features, blocks, body):
    """The layers' weights are no longer those that were given."""

    def layer(weight, bias):
        made = nn.Conv2d(4, 4, 3, padding=1)
        made.weight.data, made.bias.data = weight, bias
        return made

    x = features
    for *first, second, bias in blocks:
        x = x + 0.3 * layer(second, bias)(F.relu(layer(*first)(x)))
    return features + layer(*body)(x)


def refine_in_place(features, blocks, body):
    skip = features
    for block in blocks:
        features += block_by(features, *block) - features
    return skip + convolve(features, *body)


def macs_by_hooks(channels, num_blocks, scale, upsampler):
    total = 0

    def add(layer, inputs, result):
        nonlocal total
        pixels = (inputs[0] if isinstance(layer, nn.ConvTranspose2d) else result).shape[-2:]
        total += math.prod(pixels) * layer.weight.numel()

    options = {"channels": channels, "num_blocks": num_blocks, "upsampler": upsampler}
    network = SrResNet(scale, **options)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(add)
    network(torch.zeros(1, 3, 8, 8))
    return total // 64


def macs_by_table(
    channels, num_blocks, scale, upsampler, deconv=(16, 81, 80), shuffle=(36, 81, 180)
):
    square = (deconv if upsampler == "deconv" else shuffle)[scale - 2]
    return 27 * channels * (1 + scale**2) + (9 * (2 * num_blocks + 1) + square) * channels**2


def macs_of_a_picture(channels, num_blocks, scale, upsampler):
    side = 10
    total = side**2 * (27 * channels + (2 * num_blocks + 1) * 9 * channels**2)
    for step in (2, 2) if scale == 4 else (scale,):
        kernel = {2: 16, 3: 81}[step] if upsampler == "deconv" else 9 * step**2
        total += side**2 * kernel * channels**2
        side *= step
    return (total + side**2 * 27 * channels) // 100


def macs_of_a_list(channels, num_blocks, scale, upsampler):
    area, layers = 1, [(9, 3, channels), *[(9, channels, channels)] * (2 * num_blocks + 1)]
    for step in [2] * (scale // 2) if scale % 2 == 0 else [scale]:
        kernel = {2: 16, 3: 81}[step] if upsampler == "deconv" else 9 * step**2
        layers.append((area, kernel, channels, channels))
        area *= step**2
    return sum(math.prod(layer) for layer in [*layers, (area, 9, channels, 3)])


def full_size(x, weight, scale):
    return F.conv_transpose2d(x, weight, stride=scale), (weight.shape[-1] - scale) // 2


def enlarge_by_crop(x, weight, scale):
    full, extra = full_size(x, weight, scale)
    height, width = (scale * side for side in x.shape[-2:])
    return full[..., extra : extra + height, extra : extra + width]


def enlarge_by_negative_padding(x, weight, scale):
    full, extra = full_size(x, weight, scale)
    return F.pad(full, (-extra,) * 4)


def enlarge_by_zeros(x, weight, scale):
    height, width = ((side - 1) * scale + 1 for side in x.shape[-2:])
    apart = x.new_zeros(*x.shape[:2], height, width)
    apart[..., ::scale, ::scale] = x
    padding = (weight.shape[-1] + scale) // 2 - 1
    return F.conv2d(apart, weight.flip(2, 3).transpose(0, 1), padding=padding)


def enlarge_by_fold(x, weight, scale):
    size, side = [scale * n for n in x.shape[-2:]], weight.shape[-1]
    columns = torch.einsum("nchw,cdkl->ndklhw", x, weight).flatten(4).flatten(1, 3)
    return F.fold(columns, size, side, padding=(side - scale) // 2, stride=scale)


def enlarge_by_gradient(x, weight, scale):
    height, width = (scale * side for side in x.shape[-2:])
    shape, padding = (len(x), weight.shape[1], height, width), (weight.shape[-1] - scale) // 2
    return torch.nn.grad.conv2d_input(shape, weight, x, stride=scale, padding=padding)


def enlarge_by_squares(x, weight, scale):
    full, extra = full_size(x, weight, scale)
    side = scale * x.shape[-1]
    return full[..., extra : extra + side, extra : extra + side]


def enlarge_rows_only(x, weight, scale):
    full, extra = full_size(x, weight, scale)
    height, width = (scale * side for side in x.shape[-2:])
    return full[..., extra : extra + height, :width]


def enlarge_by_resizing(x, weight, scale):
    full, _ = full_size(x, weight, scale)
    return F.interpolate(full, size=[scale * side for side in x.shape[-2:]])


def enlarge_by_rolling(x, weight, scale):
    full, extra = full_size(x, weight, scale)
    height, width = (scale * side for side in x.shape[-2:])
    return full[..., :height, :width].roll((-extra, -extra), (2, 3))


RIGHT = {
    "04.1": [
        by_four_loops,
        by_conv2d,
        by_fourier,
        functools.partial(signal.correlate2d, mode="valid"),
        lambda image, kernel: by_conv2d(image, kernel, kind=torch.float32),
        lambda image, kernel: signal.convolve2d(image, kernel[::-1, ::-1], "valid"),
        lambda image, kernel: np.einsum(
            "ijkl,kl->ij", sliding_window_view(image, kernel.shape), kernel
        ),
    ],
    "04.2": [
        OwnSRCNN,
        lambda scale: OwnSRCNN(scale).eval(),
        lambda scale: nn.Sequential(*srcnn_layers(scale)),
        lambda scale: nn.Sequential(*(nn.Sequential(layer) for layer in srcnn_layers(scale))),
        lambda scale: Hidden(srcnn_layers(scale), way="known"),
    ],
    "04.3": [
        step_with_closure,
        step_that_cleans_up_itself,
        step_by_autograd,
        step_image_by_image,
        step_by(zero=lambda network, optimizer: network.zero_grad()),
        step_by(zero=lambda network, optimizer: optimizer.zero_grad(set_to_none=False)),
        step_by(lambda sr, hr: torch.sum(torch.abs(hr - sr)) / sr.numel(), end=torch.Tensor.tolist),
        step_by(lambda sr, hr: torch.norm(sr - hr, 1) / hr.numel(), end=float),
    ],
    "04.4": [
        pool_by_loops,
        pool_by_torch,
        lambda image, size: block_reduce(whole(image, size), size, np.max),
        lambda image, size: sliding_window_view(image, (size, size))[::size, ::size].max((2, 3)),
        lambda image, size: np.maximum.reduce(
            [whole(image, size)[i::size, j::size] for i, j in np.ndindex(size, size)]
        ),
        lambda image, size: pool_by_torch(pool_by_torch(image, (size, 1)), (1, size)),
    ],
    "04.5": [
        lambda widths, size: sum(
            weight.numel()
            for before, after in itertools.pairwise(widths)
            for weight in nn.Conv2d(before, after, size).parameters()
        ),
        lambda widths, size: int(np.dot(widths[:-1], widths[1:])) * size**2 + sum(widths[1:]),
        lambda widths, size: sum(
            (widths[place] * size * size + 1) * widths[place + 1]
            for place in range(len(widths) - 1)
        ),
        lambda widths, size: np.sum(np.array(widths[1:]) * (np.array(widths[:-1]) * size**2 + 1)),
        lambda widths, size: (
            torch.tensor(widths[1:]).mul(torch.tensor(widths[:-1]) * size**2 + 1).sum()
        ),
    ],
    "04.6": [
        NamedStack,
        StackOfWeights,
        ListedStack,
        nested_stack,
        lambda depth, width: nn.Sequential(*stack_layers(depth, width)),
        lambda depth, width: NamedStack(depth, width, "last made first"),
    ],
    "05.1": [
        lambda x, first, second: x + second(first(x).clamp(min=0)),
        lambda x, first, second: torch.add(x, nn.Sequential(first, nn.ReLU(), second)(x)),
        lambda x, first, second: second(nn.ReLU(inplace=True)(first(x))) + x,
        lambda x, first, second: x.clone().add_(second(F.threshold(first(x), 0, 0))),
        lambda x, first, second: torch.cat([second(F.relu(first(i[None]))) + i for i in x]),
        lambda x, first, second: (
            x - -convolve(convolve(x, first.weight, first.bias).relu(), second.weight, second.bias)
        ),
    ],
    "05.2": [
        Trunk,
        TrunkOfDict,
        TrunkOfAttributes,
        TrunkOfCopies,
        TrunkOfConvolutions,
        TrunkByReduce,
    ],
    "05.3": [
        lambda lr, residual, scale: residual + BicubicUpsample(scale)(lr),
        lambda lr, residual, scale: torch.stack([imresize(lr, scale), residual]).sum(0),
        lambda lr, residual, scale: residual.clone().add_(imresize(lr, scale)),
        lambda lr, residual, scale: residual - imresize(-lr, scale),
        lambda lr, residual, scale: torch.cat([imresize(i[None], scale) for i in lr]) + residual,
    ],
    "05.4": [
        copied_rivals,
        rivals_by_state,
        rivals_in_forks,
        overwritten_rivals,
        lambda make, kinds, seed: {kind: seeded(make, kind, seed) for kind in kinds},
    ],
    "06.1": [
        by_gradient,
        by_matrix,
        by_zeros_between,
        by_fold,
        by_index_add,
        by_scipy,
    ],
    "06.2": [
        checked(F.pixel_shuffle),
        checked(shuffle_by_assigning),
        checked(shuffle_by_stacking),
        checked(shuffle_by_fold),
        checked(shuffle_by_einsum),
        shuffle_or_error,
    ],
    "06.3": [
        left_by_search,
        left_by_torch,
        lambda size, kernel, stride, padding: divmod(size + 2 * padding - kernel, stride)[1],
        lambda size, kernel, stride, padding: np.mod(size + 2 * padding - kernel, stride),
        lambda size, kernel, stride, padding: (
            size - ((size + 2 * padding - kernel) // stride * stride + kernel - 2 * padding)
        ),
        lambda size, kernel, stride, padding: torch.tensor(size + 2 * padding - kernel).remainder(
            stride
        ),
    ],
    "06.4": [
        lambda few, scale: torch.kron(few, few.new_ones(scale**2, 1, 1, 1)),
        lambda few, scale: few[:, None].expand(-1, scale**2, -1, -1, -1).flatten(0, 1),
        lambda few, scale: few[torch.arange(len(few) * scale**2) // scale**2],
        lambda few, scale: torch.stack([few] * scale**2, 1).reshape(-1, *few.shape[1:]),
        lambda few, scale: torch.from_numpy(np.repeat(few.numpy(), scale**2, axis=0)),
    ],
    "07.1": [
        by_own_logit,
        by_logarithms,
        by_softmax,
        lambda bicubic, residual, eps: torch.logit(bicubic, eps=eps).add(residual).sigmoid(),
        lambda bicubic, residual, eps: (
            torch.tanh((torch.logit(bicubic, eps) + residual) / 2) / 2 + 0.5
        ),
        lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic.double(), eps) + residual),
    ],
    "07.2": [
        refine_by_index,
        refine_by_recursion,
        refine_by_scaled_weights,
        refine_by_layers,
        lambda features, blocks, body: convolve(through(features, blocks), *body) + features,
    ],
    "07.3": [
        macs_by_hooks,
        macs_by_table,
        macs_of_a_picture,
        macs_of_a_list,
        lambda *arguments: torch.tensor(macs_by_table(*arguments)),
    ],
    "07.4": [
        enlarge_by_crop,
        enlarge_by_negative_padding,
        enlarge_by_zeros,
        enlarge_by_fold,
        enlarge_by_gradient,
        lambda x, weight, scale: torch.cat([enlarge_by_crop(i[None], weight, scale) for i in x]),
    ],
}

WRONG = {
    "04.1": [
        functools.partial(by_four_loops, kind=int),
        functools.partial(signal.correlate2d, mode="same"),
        lambda image, kernel: np.maximum(by_conv2d(image, kernel), 0),
        lambda image, kernel: np.clip(by_conv2d(image, kernel), 0, 1),
        lambda image, kernel: by_conv2d(image, kernel[:, ::-1].copy()),
        lambda image, kernel: by_conv2d(image, kernel)[None],
        lambda image, kernel: torch.from_numpy(by_conv2d(image, kernel)),
        in_place(by_four_loops),
    ],
    "04.2": [
        lambda scale: OwnSRCNN(scale, blind=True),
        lambda scale: nn.Sequential(*srcnn_layers(scale)).requires_grad_(False),
        *(
            lambda scale, way=way: Hidden(srcnn_layers(scale), way)
            for way in ("plain list", "no init", "tuple", "detached")
        ),
        lambda scale: nn.Sequential(*srcnn_layers(scale), nn.Sigmoid()),
        lambda scale: nn.Sequential(nn.ReLU(), *srcnn_layers(scale)),
        lambda scale: nn.Sequential(*srcnn_layers(scale, bias=False)),
        lambda scale: nn.Sequential(*srcnn_layers(scale, padding_mode="replicate")),
        lambda scale: nn.Sequential(*srcnn_layers(scale)[1:], BicubicUpsample(scale)),
        lambda scale: nn.Sequential(
            nn.Upsample(scale_factor=scale, mode="bicubic"), *srcnn_layers(scale)[1:]
        ),
        srcnn_layers,
        lambda scale: OwnSRCNN,
    ],
    "04.3": [
        step_by(end=lambda loss: loss),
        step_by(end=lambda loss: [loss.item()]),
        step_by(end=lambda loss: round(loss.item(), 2)),
        step_by(F.smooth_l1_loss),
        step_by(lambda sr, hr: F.l1_loss(sr.clamp(0, 1), hr)),
        step_by(lambda sr, hr: F.l1_loss(sr[:1], hr[:1])),
        step_by(lambda sr, hr: F.l1_loss(sr, hr) / len(sr)),
        step_by(lambda sr, hr: F.l1_loss(sr, hr).detach().requires_grad_()),
        step_by(end=torch.Tensor.detach),
        step_by(zero=zero_what_is_there),
        step_by_hand,
        step_with_own_adam,
        step_twice,
        step_clipped,
    ],
    "04.4": [
        pool_by_ranges,
        functools.partial(pool_by_ranges, end=1),
        lambda image, size: pool_by_ranges(image, size, end=size),
        lambda image, size: block_reduce(image, size, np.max),
        lambda image, size: pool_by_torch(image, 2),
        lambda image, size: pool_by_torch(image, size)[None],
        lambda image, size: pool_by_torch(image, size, padding=size // 2),
        lambda image, size: pool_by_loops(abs(image), size),
        lambda image, size: -pool_by_loops(-image, size),
        lambda image, size: pool_by_loops(image, size).T,
        lambda image, size: pool_by_loops(image[len(image) % size :], size),
        in_place(pool_by_loops),
    ],
    "04.5": [
        lambda widths, size: sum(a * b * 9 + b for a, b in itertools.pairwise(widths)),
        lambda widths, size: sum(a * b * size**2 + b for a, b in itertools.pairwise(widths[:-1])),
        lambda widths, size: sum(a * b * size**2 + a + b for a, b in itertools.pairwise(widths)),
        lambda widths, size: sum(a * (b * size**2 + b) for a, b in itertools.pairwise(widths)),
        lambda widths, size: [a * b * size**2 + b for a, b in itertools.pairwise(widths)],
    ],
    "04.6": [
        lambda depth, width: NamedStack(depth, width, "one inside"),
        lambda depth, width: NamedStack(width, depth),
        lambda depth, width: nn.Sequential(*stack_layers(depth, width)).requires_grad_(False),
        *(
            lambda depth, width, way=way: Hidden(stack_layers(depth, width), way)
            for way in ("no init", "tuple", "detached")
        ),
        lambda depth, width: OwnParameters(stack_layers(depth, width)),
        lambda depth, width: nn.Sequential(*stack_layers(depth, width), nn.ReLU()),
        lambda depth, width: nn.Sequential(*stack_layers(depth, width), nn.Sigmoid()),
        lambda depth, width: nn.Sequential(nn.ReLU(), *stack_layers(depth, width)),
        lambda depth, width: nn.Sequential(*stack_layers(depth, width, nn.LeakyReLU)),
        lambda depth, width: nn.Sequential(*stack_layers(depth, width, padding=0)),
        lambda depth, width: nn.Sequential(*stack_layers(depth, width, bias=False)),
        lambda depth, width: NamedStack,
    ],
    "05.1": [
        lambda x, first, second: x + second(F.leaky_relu(first(x))),
        lambda x, first, second: x + second(F.gelu(first(x))),
        lambda x, first, second: x + second(first(x).abs()),
        lambda x, first, second: (x + second(F.relu(first(x)))) / 2,
        lambda x, first, second: x + 0.3 * second(F.relu(first(x))),
        lambda x, first, second: (x + second(F.relu(first(x))), x),
        lambda x, first, second: x.data + second(F.relu(first(x))),
        lambda x, first, second: x + second(F.relu(first(x)).detach()),
        lambda x, first, second: torch.tensor(x + second(F.relu(first(x)))),
        lambda x, first, second: x + convolve(F.relu(first(x)), second.weight.data, second.bias),
    ],
    "05.2": [
        *(
            lambda channels, num_blocks, way=way: WrongTrunk(channels, num_blocks, way)
            for way in ("1x1", "same block", "side by side", "last not used", "tuple", "in place")
        ),
        TrunkWithoutInit,
        TrunkMadeTooLate,
        lambda channels, num_blocks: Trunk(channels, num_blocks).requires_grad_(False),
        lambda channels, num_blocks: Trunk(num_blocks, channels),
        lambda channels, num_blocks: Trunk(channels, 3),
        lambda channels, num_blocks: Trunk(channels, num_blocks - 1),
    ],
    "05.3": [
        lambda lr, residual, scale: residual.add_(imresize(lr, scale)),
        lambda lr, residual, scale: imresize(lr, 2) + residual,
        lambda lr, residual, scale: imresize(lr.detach(), scale) + residual,
        lambda lr, residual, scale: (imresize(lr, scale) + residual) / 2,
        lambda lr, residual, scale: torch.cat([imresize(lr, scale), residual], 1),
        lambda lr, residual, scale: imresize(lr, scale, kernel="lanczos3") + residual,
        lambda lr, residual, scale: torch.clamp(imresize(lr, scale) + residual, 0),
        lambda lr, residual, scale: (imresize(lr, scale) + residual).numpy(force=True),
    ],
    "05.4": [
        functools.partial(overwritten_rivals, share=True),
        rivals_by_numpy,
        lambda make, kinds, seed: [seeded(make, kind, seed) for kind in kinds],
        lambda make, kinds, seed: {kind: seeded(make, kinds[0], seed) for kind in kinds},
        lambda make, kinds, seed: {kind: seeded(make, kind, seed) for kind in kinds[:2]},
        lambda make, kinds, seed: {kind: make for kind in kinds},
        lambda make, kinds, seed: {kind: make(kind) for kind in kinds},
    ],
    "06.1": [
        in_place(by_matrix),
        *BY_TORCH,
        lambda x, kernel, stride, padding: by_matrix(x, kernel, stride, padding).numpy(),
        lambda x, kernel, stride, padding: by_matrix(x, kernel, stride, padding)[None],
        lambda x, kernel, stride, padding: by_matrix(x, kernel, 2, padding),
        lambda x, kernel, stride, padding: by_matrix(kernel, x, stride, padding),
        lambda x, kernel, stride, padding: F.interpolate(x[None, None], scale_factor=stride)[0, 0],
    ],
    "06.2": [
        F.pixel_shuffle,
        shuffle_by_assigning,
        checked(lambda features, scale: F.pixel_shuffle(features, 2)),
        checked(lambda features, scale: F.pixel_shuffle(features, scale)[0]),
        checked(lambda features, scale: F.pixel_shuffle(features, scale).permute(0, 2, 3, 1)),
        checked(lambda features, scale: F.pixel_shuffle(features, scale).numpy()),
        checked(lambda features, scale: F.pixel_shuffle(features.flip(1), scale)),
        checked(lambda features, scale: F.pixel_unshuffle(features, scale)),
        checked(
            lambda features, scale: F.interpolate(features[:, :: scale**2], scale_factor=scale)
        ),
    ],
    "06.3": [
        lambda size, kernel, stride, padding: min(stride - 1, 1),
        lambda size, kernel, stride, padding: (size + 2 * padding - kernel) // stride,
        lambda size, kernel, stride, padding: (size + 2 * padding - kernel - 1) % stride,
        lambda size, kernel, stride, padding: (size + 2 * padding) % stride,
        lambda size, kernel, stride, padding: (size + 2 * padding - kernel) % 2,
        lambda size, kernel, stride, padding: [(size + 2 * padding - kernel) % stride],
    ],
    "06.4": [
        lambda few, scale: few.repeat_interleave(4, 0),
        lambda few, scale: few.repeat_interleave(scale * 2, 0),
        lambda few, scale: few.repeat_interleave(scale**2, 0).numpy(),
        lambda few, scale: few[:, None].expand(-1, scale**2, -1, -1, -1),
        lambda few, scale: few.repeat_interleave(scale, 0).repeat(scale, 1, 1, 1),
        lambda few, scale: few.repeat_interleave(scale, 2).repeat_interleave(scale, 3),
        lambda few, scale: few.mul_(1.5).repeat_interleave(scale**2, 0),
    ],
    "07.1": [
        clamped_behind_the_gradient,
        lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic.detach(), eps) + residual),
        lambda bicubic, residual, eps: torch.sigmoid(
            bicubic.clamp_(eps, 1 - eps).logit() + residual
        ),
        lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic, eps) - residual),
        lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic, 0.1) + residual),
        lambda bicubic, residual, eps: torch.logit(bicubic, eps) + residual,
        lambda bicubic, residual, eps: torch.sigmoid(torch.logit(bicubic + residual, eps)),
        lambda bicubic, residual, eps: torch.sigmoid(
            torch.logit(bicubic * (1 - 2 * eps) + eps) + residual
        ),
        lambda bicubic, residual, eps: torch.sigmoid(
            torch.log(bicubic.clamp(eps, 1 - eps)) + residual
        ),
    ],
    "07.2": [
        refine_by_data,
        refine_in_place,
        lambda features, blocks, body: refine_by_index(features, blocks[::-1], body),
        lambda features, blocks, body: refine_by_index(features, blocks[:1], body),
        lambda features, blocks, body: refine_by_index(features.detach(), blocks, body),
        lambda features, blocks, body: (refine_by_index(features, blocks, body), features),
        lambda features, blocks, body: features + 0.3 * convolve(through(features, blocks), *body),
        lambda features, blocks, body: features + F.conv2d(through(features, blocks), *body),
        lambda features, blocks, body: (
            features + convolve(through(features, blocks, activation=F.leaky_relu), *body)
        ),
    ],
    "07.3": [
        lambda *arguments: 2 * macs_by_table(*arguments),
        lambda *arguments: float(macs_by_table(*arguments)),
        lambda *arguments: macs_by_table(*arguments, deconv=(16, 81, 64)),
        lambda *arguments: macs_by_table(*arguments, deconv=(9, 9, 45)),
        lambda channels, num_blocks, scale, upsampler: (
            macs_by_table(channels, num_blocks, scale, upsampler) // scale**2
        ),
    ],
    "07.4": [
        enlarge_by_squares,
        enlarge_rows_only,
        enlarge_by_resizing,
        enlarge_by_rolling,
        lambda x, weight, scale: full_size(x, weight, scale)[0][..., 2:-2, 2:-2],
        lambda x, weight, scale: enlarge_by_crop(x, weight.flip(2, 3), scale),
        lambda x, weight, scale: enlarge_by_crop(x, weight.mT, scale),
        lambda x, weight, scale: enlarge_by_crop(x, weight.data, scale),
        lambda x, weight, scale: F.conv_transpose2d(
            x, weight, stride=scale, padding=weight.shape[-1] // 4
        ),
    ],
}
