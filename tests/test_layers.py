"""Every layer against NumPy, with the same weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from srlib.layers import (
    BicubicUpsample,
    DeconvBlock,
    PixelShuffleBlock,
    PoolDeconvStage,
    ResidualBlock,
    ResizeConvBlock,
)
from srlib.resample import imresize

ENLARGING = [DeconvBlock, PixelShuffleBlock, ResizeConvBlock]
SCALES = [1, 2, 3, 4]
each_scale = pytest.mark.parametrize("scale", SCALES)
sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))


def random_tensor(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def run(module, x):
    """In float64, so that differences are mistakes."""
    with torch.no_grad():
        return module.double()(x)


def numpy_weights(layer):
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def numpy_conv(x, layer):
    """(C, H, W) -> (D, H, W), with zeros beyond the border."""
    weight, bias = numpy_weights(layer)
    half = weight.shape[-1] // 2
    windows = sliding_window_view(
        np.pad(x, ((0, 0), (half, half), (half, half))), weight.shape[-2:], axis=(1, 2)
    )  # (C, H, W, K, K)
    return np.einsum("chwij,dcij->dhw", windows, weight) + bias[:, None, None]


def numpy_overlap_add(x, layer, scale):
    """Stamp the kernel, times the pixel, at every pixel's place; cut the edge off."""
    weight, bias = numpy_weights(layer)  # (C, D, K, K)
    size = weight.shape[-1]
    _, height, width = x.shape
    canvas = np.zeros((weight.shape[1], height * scale + size, width * scale + size))
    for row in range(height):
        for column in range(width):
            stamp = np.einsum("c,cdij->dij", x[:, row, column], weight)
            top, left = row * scale, column * scale
            canvas[:, top : top + size, left : left + size] += stamp
    edge = (size - scale) // 2
    canvas = canvas[:, edge : edge + height * scale, edge : edge + width * scale]
    return canvas + bias[:, None, None]


def numpy_max_pool(x):
    _, height, width = x.shape
    return np.stack(
        [
            [x[:, i : i + 2, j : j + 2].max(axis=(1, 2)) for j in range(0, width, 2)]
            for i in range(0, height, 2)
        ]
    ).transpose(2, 0, 1)


@each_scale
@pytest.mark.parametrize("block", ENLARGING)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 7), (4, 6)])
def test_enlarging_blocks_multiply_the_size_by_the_scale(block, scale, size):
    output = run(block(3, 5, scale), random_tensor(2, 3, *size))
    assert output.shape == (2, 5, scale * size[0], scale * size[1])


@each_scale
@pytest.mark.parametrize("init", ["bilinear", "icnr", "random"])
def test_deconvolution_is_overlap_add(scale, init):
    block = DeconvBlock(3, 4, scale, init=init)
    torch.nn.init.normal_(block.deconv.bias)
    x = random_tensor(1, 3, 5, 4)
    expected = numpy_overlap_add(x[0].numpy(), block.deconv, scale)
    np.testing.assert_allclose(run(block, x)[0], expected, atol=1e-12)


@pytest.mark.parametrize("scale", range(1, 9))
def test_the_kernel_is_divisible_by_the_stride(scale):
    layer = DeconvBlock(1, 1, scale).deconv
    assert layer.stride == (scale, scale)
    assert layer.kernel_size[0] % scale == 0 and layer.kernel_size[0] >= 2 * scale


@each_scale
def test_a_new_deconvolution_interpolates_bilinearly_inside(scale):
    block = DeconvBlock(3, 2, scale).double()
    x = random_tensor(1, 3, 6, 7)
    mix = block.deconv.weight.detach().sum(dim=(2, 3)) / scale**2  # (in, out)
    assert (mix.abs() > 1e-4).all() and mix.flatten().unique().numel() == 6
    large = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    expected = torch.einsum("nihw,io->nohw", large, mix)
    inside = (..., slice(scale, -scale), slice(scale, -scale))
    np.testing.assert_allclose(run(block, x)[inside], expected[inside], atol=1e-6)
    np.testing.assert_array_equal(block.deconv.bias.detach(), 0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_new_blocks_keep_the_variance_as_he_asks(scale):
    # He et al., ICCV 2015, equation 10: the variance is 2 over the number of inputs of a pixel.
    # What interpolates has as many inputs as channels: its weights sum to 1.
    torch.manual_seed(0)
    weight = DeconvBlock(64, 64, scale).deconv.weight.detach()
    assert (weight.sum(dim=(2, 3)) / scale**2).std().item() == pytest.approx(
        (2 / 64) ** 0.5, rel=0.05
    )
    weight = DeconvBlock(64, 64, scale, init="icnr").deconv.weight.detach()
    inputs = 64 * weight[0, 0].numel() / scale**2
    assert weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.05)
    weight = PixelShuffleBlock(64, 64, scale).conv.weight.detach()
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


@each_scale
def test_an_icnr_deconvolution_repeats_pixels(scale):
    block = DeconvBlock(3, 2, scale, init="icnr")
    offset = block.deconv.padding[0] % scale  # an even kernel's blocks lie between the pixels
    output = run(block, random_tensor(1, 3, 6, 6))[..., offset:, offset:]
    few = output[..., ::scale, ::scale]
    repeated = few.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    height, width = output.shape[-2:]
    np.testing.assert_allclose(output, repeated[..., :height, :width], atol=1e-12)
    assert few.std() > 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("init, flat", [("bilinear", True), ("icnr", True), ("random", False)])
def test_only_a_random_deconvolution_shows_a_checkerboard(scale, init, flat):
    output = run(DeconvBlock(4, 1, scale, init=init), torch.ones(1, 4, 8, 8).double())
    inside = output[..., 2 * scale : -2 * scale, 2 * scale : -2 * scale]
    assert (inside.std() < 1e-6) == flat


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixel_shuffle_starts_as_repeated_pixels_of_a_convolution(scale):
    block = PixelShuffleBlock(3, 2, scale).double()
    x = random_tensor(1, 3, 5, 6)
    few = block.conv.weight.detach()[:: scale**2]  # (2, 3, 3, 3)
    expected = F.interpolate(F.conv2d(x, few, padding=1), scale_factor=scale, mode="nearest")
    np.testing.assert_allclose(run(block, x), expected, atol=1e-12)


@each_scale
def test_pixel_shuffle_takes_neighbouring_channels_for_a_block(scale):
    block = PixelShuffleBlock(3, 2, scale)
    torch.nn.init.normal_(block.conv.weight)
    torch.nn.init.normal_(block.conv.bias)
    x = random_tensor(1, 3, 4, 3)
    maps = numpy_conv(x[0].numpy(), block.conv)  # (2 * scale**2, 4, 3)
    expected = np.empty((2, 4 * scale, 3 * scale))
    for channel in range(2):
        for row in range(4 * scale):
            for column in range(3 * scale):
                part = row % scale * scale + column % scale
                value = maps[channel * scale**2 + part, row // scale, column // scale]
                expected[channel, row, column] = value
    np.testing.assert_allclose(run(block, x)[0], expected, atol=1e-12)


@each_scale
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_resize_convolution_repeats_and_convolves(scale, kernel_size):
    block = ResizeConvBlock(3, 4, scale, kernel_size=kernel_size)
    x = random_tensor(1, 3, 4, 5)
    repeated = x[0].numpy().repeat(scale, axis=1).repeat(scale, axis=2)
    expected = numpy_conv(repeated, block.conv)
    np.testing.assert_allclose(run(block, x)[0], expected, atol=1e-12)


@each_scale
@pytest.mark.parametrize("block", ENLARGING)
def test_nothing_shifts(block, scale):
    module = block(1, 1, scale)
    for name, parameter in module.named_parameters():
        torch.nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    impulse = torch.zeros(1, 1, 9, 11).double()
    impulse[..., 4, 3] = 1
    output = run(module, impulse)[0, 0]
    rows, columns = (torch.arange(n).double() for n in output.shape)
    mass = output.sum()
    # A pixel's centre is at its index plus a half.
    assert (output.sum(1) @ rows / mass + 0.5).item() == pytest.approx(4.5 * scale)
    assert (output.sum(0) @ columns / mass + 0.5).item() == pytest.approx(3.5 * scale)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("scaling", [1.0, 0.3])
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_residual_block_adds_its_convolutions_to_the_input(kernel_size, scaling, size):
    block = ResidualBlock(4, kernel_size=kernel_size, scaling=scaling)
    x = random_tensor(2, 4, *size)
    before = x.clone()
    output = run(block, x)
    np.testing.assert_array_equal(x, before)
    for sample, result in zip(x.numpy(), output, strict=True):
        branch = numpy_conv(np.maximum(numpy_conv(sample, block.first), 0), block.second)
        np.testing.assert_allclose(result, sample + scaling * branch, atol=1e-12)
    assert output.min() < 0  # there is no activation behind the addition


def test_the_activation_of_a_residual_block_may_be_silu():
    block = ResidualBlock(4, scaling=0.3, activation="silu")
    x = random_tensor(1, 4, 5, 6)
    inner = numpy_conv(x[0].numpy(), block.first.double())
    branch = numpy_conv(inner / (1 + np.exp(-inner)), block.second.double())
    np.testing.assert_allclose(run(block, x)[0], x[0].numpy() + 0.3 * branch, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 7), (6, 4)])
def test_pool_deconv_stage_adds_high_to_low(size):
    stage = PoolDeconvStage(4)
    x = random_tensor(1, 4, *size)
    pooled = numpy_max_pool(np.maximum(numpy_conv(x[0].numpy(), stage.before), 0))
    high = numpy_overlap_add(np.maximum(numpy_conv(pooled, stage.low), 0), stage.up.deconv, 2)
    expected = x[0].numpy() + high[:, : size[0], : size[1]]
    np.testing.assert_allclose(run(stage, x)[0], expected, atol=1e-12)


@settings(max_examples=30)
@given(sizes, st.sampled_from(SCALES), st.sampled_from([torch.float32, torch.float64]))
def test_bicubic_upsample_is_imresize(size, scale, dtype):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(size[0]), dtype=dtype)
    output = BicubicUpsample(scale)(x)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, imresize(x, scale), atol=1e-6)
    array = imresize(x[1].permute(1, 2, 0).double().numpy(), scale)
    np.testing.assert_allclose(output[1].permute(1, 2, 0), array, atol=1e-6)


def test_bicubic_upsample_has_nothing_to_learn_and_to_save():
    layer = BicubicUpsample(3)
    assert not list(layer.parameters()) and not layer.state_dict()
    x = torch.rand(1, 3, 4, 4, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.sum().item() == pytest.approx(16 * 3 * 9, rel=1e-5)


@given(sizes, st.sampled_from([*ENLARGING, ResidualBlock, PoolDeconvStage]))
def test_gradients_reach_every_weight_at_any_size(size, block):
    module = block(2, 2, 2) if block in ENLARGING else block(2)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    module(torch.rand(1, 2, *size) + 0.1).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("layer", [*ENLARGING, BicubicUpsample])
@pytest.mark.parametrize("scale", [0, -1, 2.5, 2.0])
def test_a_bad_scale_is_named(layer, scale):
    arguments = (scale,) if layer is BicubicUpsample else (3, 3, scale)
    with pytest.raises(ValueError, match=f"scale must be a whole number.*got {scale!r}"):
        layer(*arguments)


@pytest.mark.parametrize(
    "make", [lambda size: ResidualBlock(3, kernel_size=size)] + [
        lambda size, block=block: block(3, 3, 2, kernel_size=size) for block in ENLARGING[1:]
    ]
)  # fmt: skip
@pytest.mark.parametrize("kernel_size", [0, 2, 4, -1])
def test_a_bad_kernel_size_is_named(make, kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size must be odd.*got {kernel_size}"):
        make(kernel_size)


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="activation must be one of relu, silu, got 'tanh'"):
        ResidualBlock(3, activation="tanh")


def test_an_unknown_init_is_named():
    with pytest.raises(ValueError, match="init must be 'bilinear', 'icnr' or.*got 'zeros'"):
        DeconvBlock(3, 3, 2, init="zeros")


def test_a_network_can_be_counted_without_memory():
    layer = BicubicUpsample(2).to("meta")
    assert layer(torch.empty(1, 3, 4, 5, device="meta")).shape == (1, 3, 8, 10)
