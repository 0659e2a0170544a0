"""Every network: what all must do, and each against a computation of its own."""

import copy
import functools
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from skimage.color import rgb2ycbcr
from torch import nn

from srlib.assets import data_file
from srlib.data import load_images, make_pairs
from srlib.evaluation import evaluate
from srlib.layers import DeconvBlock, PixelShuffleBlock
from srlib.models import (
    FSRCNN,
    SRCNN,
    PlainCNN,
    PoolingCNN,
    SrResNet,
    TwoStageSrResNet,
    blend,
    create_model,
    load_pretrained,
    pretrained,
    save_network,
)
from srlib.resample import imresize

PUBLISHED = {"upsampler": "pixel_shuffle", "output": "linear", "image_skip": False}
SMALL = {"channels": 6, "num_blocks": 2}
NETWORKS = {
    "SrResNet": ("SrResNet", SMALL),
    "SrResNet, pixel_shuffle": ("SrResNet", SMALL | {"upsampler": "pixel_shuffle"}),
    "SrResNet, resize_conv": ("SrResNet", SMALL | {"upsampler": "resize_conv"}),
    "SrResNet, linear": ("SrResNet", SMALL | {"output": "linear"}),
    "SrResNet, no image skip": ("SrResNet", SMALL | {"image_skip": False}),
    "SrResNet, late": ("SrResNet", SMALL | {"hr_channels": 4}),
    "SrResNet, straight to RGB": ("SrResNet", SMALL | {"hr_channels": 0, "activation": "silu"}),
    "SrResNet, as published": ("SrResNet", SMALL | PUBLISHED),
    "TwoStageSrResNet": ("TwoStageSrResNet", {"channels": 6}),
    "TwoStageSrResNet, no image skip": (
        "TwoStageSrResNet",
        {"channels": 6, "image_skip": False, "output": "linear"},
    ),
    "SRCNN": ("SRCNN", {}),
    "FSRCNN": ("FSRCNN", {}),
    "PlainCNN": ("PlainCNN", {"widths": (6, 8, 6)}),
    "PoolingCNN": ("PoolingCNN", {"channels": 6}),
}
each_network = pytest.mark.parametrize("variant", NETWORKS)
each_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def make(variant, scale):
    """With random weights everywhere: the untrained tail of a network with image skip is zero."""
    torch.manual_seed(0)
    name, options = NETWORKS[variant]
    model = create_model(name, scale, **options)
    for parameter in model.parameters():
        if not parameter.abs().sum():
            nn.init.normal_(parameter, std=0.1)
    return model


def picture(*size, seed=0):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def count_weights(model):
    """Without biases and the slopes of PReLU."""
    return sum(p.numel() for p in model.parameters() if p.ndim > 1)


# What all have in common.


@each_network
@each_scale
def test_the_output_is_the_input_times_the_scale_at_any_size(variant, scale):
    model = make(variant, scale)
    for size in [(1, 1), (1, 4), (5, 3), (6, 8)]:
        with torch.no_grad():
            output = model(picture(*size))
        assert output.shape == (2, 3, scale * size[0], scale * size[1])
        assert output.isfinite().all()


@each_network
@each_scale
def test_the_gradient_reaches_every_parameter(variant, scale):
    model = make(variant, scale)
    F.mse_loss(model(picture(5, 7)), torch.rand(2, 3, 5 * scale, 7 * scale)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@each_network
def test_images_of_a_batch_do_not_mix(variant):
    model = make(variant, 2)
    batch = picture(6, 5)
    with torch.no_grad():
        alone = torch.cat([model(image[None]) for image in batch])
        np.testing.assert_allclose(model(batch), alone, atol=1e-5)


@each_network
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_gives_nearly_the_same(variant, dtype):
    model, lr = make(variant, 2), picture(6, 7)
    lr[0, :, 0, 0], lr[1, :, 0, 0] = 0, 1
    with torch.no_grad():
        expected = model(lr)
        try:
            output = model.to(dtype)(lr.to(dtype))
        except RuntimeError as error:
            if dtype == torch.float16 and "not implemented for 'Half'" in str(error):
                pytest.skip(f"this torch has no float16 on this CPU: {error}")
            raise
    assert output.dtype == dtype
    # bfloat16 has 8 significant bits: 0.4 % a step of the computation.
    np.testing.assert_allclose(output.float(), expected, atol=0.05)


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # on Python 3.13.0
@pytest.mark.parametrize("variant", [name for name in NETWORKS if "," not in name])
def test_a_network_can_be_traced_as_one_graph(variant):
    model, lr = make(variant, 2), picture(5, 6)
    torch.compiler.reset()
    with torch.no_grad():
        output = torch.compile(model, backend="eager", fullgraph=True)(lr)
        np.testing.assert_allclose(output, model(lr), atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler: they say nothing about this code
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_a_compiled_network_gives_the_same():
    torch.manual_seed(0)
    model, lr = SrResNet(2, channels=2, num_blocks=1), picture(5, 6)
    nn.init.normal_(model.tail.conv.weight)
    with torch.no_grad():
        output = torch.compile(model, fullgraph=True)(lr)
        np.testing.assert_allclose(output, model(lr), atol=1e-5)


@each_network
@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 1, 4, 4), (3, 4, 4), (1, 4, 4, 3)])
def test_what_is_not_an_rgb_batch_is_named(variant, shape):
    message = r"input must be RGB, \(N, 3, H, W\), got \(" + ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=message):
        make(variant, 2)(torch.rand(shape))


@each_network
@pytest.mark.parametrize("scale", [5, 1, 0, 2.5, 2.0, "4", None])
def test_a_bad_scale_is_named(variant, scale):
    name, options = NETWORKS[variant]
    with pytest.raises(ValueError, match=f"scale must be 2, 3 or 4, got {scale!r}"):
        create_model(name, scale, **options)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("SrResNet", {"num_blocks": 0}, "num_blocks must be.*got 0"),
        ("SrResNet", {"num_blocks": 1.5}, "num_blocks must be.*got 1.5"),
        ("SrResNet", {"channels": 0}, "channels must be.*got 0"),
        ("SrResNet", {"channels": "64"}, "channels must be.*got '64'"),
        ("SrResNet", {"upsampler": "shuffle"}, "upsampler must be one of deconv.*got 'shuffle'"),
        ("SrResNet", {"hr_channels": -1}, "hr_channels must be.* of at least 0, got -1"),
        ("SrResNet", {"hr_channels": 2.0}, "hr_channels must be.*got 2.0"),
        ("SrResNet", {"mid_channels": 0}, "mid_channels must be.*got 0"),
        ("SrResNet", {"activation": "elu"}, "activation must be one of relu, silu, got 'elu'"),
        ("SrResNet", {"output": "tanh"}, "output must be 'sigmoid' or 'linear', got 'tanh'"),
        ("TwoStageSrResNet", {"channels": -1}, "channels must be.*got -1"),
        ("TwoStageSrResNet", {"output": None}, "output must be.*got None"),
        ("PoolingCNN", {"channels": 0}, "channels must be.*got 0"),
        ("PlainCNN", {"widths": ()}, r"widths must hold.*got \(\)"),
        ("PlainCNN", {"widths": (8, 0)}, "each of widths must be.*got 0"),
        ("SRResNet", {}, "name must be one of SrResNet.*got 'SRResNet'"),
        ("SrResNet", {"blocks": 3}, "SrResNet takes channels, num_blocks.*got 'blocks'"),
        ("SRCNN", {"channels": 3}, "SRCNN takes no option beside the scale, got 'channels'"),
    ],
)
def test_bad_arguments_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, 2, **options)


def test_create_model_makes_what_is_asked_for():
    with pytest.raises(ValueError, match="name must be one of") as error:
        create_model("")
    offered = str(error.value).removeprefix("name must be one of ").removesuffix(", got ''")
    assert {type(make(variant, 2)).__name__ for variant in NETWORKS} == set(offered.split(", "))
    model = create_model("SrResNet", channels=6, num_blocks=3, upsampler="pixel_shuffle")
    assert model.scale == 4 and len(model.blocks) == 3 and model.head.out_channels == 6
    assert isinstance(model.upsample[0], PixelShuffleBlock)


# How many parameters, counted by hand.


@each_scale
def test_srcnn_has_the_parameters_of_the_paper(scale):
    # Dong et al., PAMI 2016, section 4.3.2: 9-5-5 has 57 184 weights = 9*9*64 + 64*5*5*32 + 32*5*5.
    model = SRCNN(scale)
    assert count_weights(model) == 5184 + 51200 + 800 == 57184
    assert count(model) == 57184 + 64 + 32 + 1


@each_scale
def test_fsrcnn_has_the_parameters_of_the_paper(scale):
    # Dong et al., ECCV 2016, table 1: FSRCNN (56, 12, 4) has 12 464.
    # Equation 3: 25 d + s d + 9 m s^2 + d s + 81 d.
    d, s, m = 56, 12, 4
    model = FSRCNN(scale)
    assert count_weights(model) == 25 * d + s * d + 9 * m * s**2 + d * s + 81 * d == 12464
    slopes = d + s + m * s + d
    assert count(model) == 12464 + slopes + (slopes + 1)  # a bias for each slope; the output's


def test_the_ten_layers_have_twelve_and_a_half_million_parameters():
    # 3*3 weights for each pair of channels in 3-64-128-256-512-1024-512-256-128-64-3.
    pairs = 3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1024
    biases = 2 * (64 + 128 + 256 + 512) + 1024 + 3
    model = PlainCNN(2)
    assert len(model.layers) == 10
    assert count_weights(model) == 9 * 2 * pairs == 12_537_216
    assert count(model) == 12_537_216 + biases == 12_540_163


@each_scale
@pytest.mark.parametrize("upsampler", ["deconv", "pixel_shuffle", "resize_conv"])
@pytest.mark.parametrize("channels, num_blocks", [(6, 1), (10, 4), (64, 16)])
def test_srresnet_has_as_many_parameters_as_counted(scale, upsampler, channels, num_blocks):
    conv = 9 * channels**2 + channels
    factor = 2 if scale == 4 else scale
    step = {
        # kernels of 4x4 and 9x9: two and three times the stride
        "deconv": {2: 16, 3: 81}[factor] * channels**2 + channels,
        "pixel_shuffle": factor**2 * conv,
        "resize_conv": conv,
    }[upsampler]
    expected = (27 + 1) * channels  # head
    expected += num_blocks * 2 * conv + conv  # blocks and body
    expected += step * (2 if scale == 4 else 1)
    expected += 27 * channels + 3  # tail
    for image_skip in (True, False):  # it has no weights
        model = SrResNet(
            scale,
            channels=channels,
            num_blocks=num_blocks,
            upsampler=upsampler,
            image_skip=image_skip,
        )
        assert count(model) == expected


@each_scale
@pytest.mark.parametrize("hr_channels", [1, 24])
def test_a_late_srresnet_has_as_many_parameters_as_counted(scale, hr_channels):
    conv = 9 * 10**2 + 10
    width = {2: 4, 3: 9, 4: 8}[scale]  # of the one deconvolution
    expected = 28 * 10 + 5 * conv + (10 * width**2 + 1) * hr_channels + 27 * hr_channels + 3
    model = SrResNet(scale, channels=10, num_blocks=2, hr_channels=hr_channels)
    assert count(model) == expected


@each_scale
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_an_srresnet_straight_to_rgb_has_as_many_parameters_as_counted(scale, activation):
    width = {2: 4, 3: 9, 4: 8}[scale]  # of the one deconvolution
    expected = 28 * 10 + 5 * (9 * 10**2 + 10) + 10 * width**2 * 3 + 3
    options = {"hr_channels": 0, "activation": activation}
    assert count(SrResNet(scale, channels=10, num_blocks=2, **options)) == expected


def test_an_srresnet_with_few_channels_between_has_as_many_parameters_as_counted():
    blocks = 28 * 10 + 5 * (9 * 10**2 + 10)
    options = {"channels": 10, "num_blocks": 2, "mid_channels": 7}
    straight = 16 * 10 * 7 + 7 + 16 * 7 * 3 + 3
    assert count(SrResNet(4, hr_channels=0, **options)) == blocks + straight
    to_five = 16 * 10 * 7 + 7 + 16 * 7 * 5 + 5 + 27 * 5 + 3
    assert count(SrResNet(4, hr_channels=5, **options)) == blocks + to_five


@pytest.mark.parametrize("scale", [2, 3])
def test_there_is_nothing_between_at_other_scales(scale):
    with pytest.raises(ValueError, match=f"mid_channels needs scale 4, got {scale}"):
        SrResNet(scale, mid_channels=8)


def test_the_default_srresnet_has_1_35_million_parameters():
    # 1792 + 16 * 73 856 + 36 928 + 2 * 65 600 + 1731
    assert count(SrResNet()) == 1_353_347


@each_scale
def test_the_other_networks_have_as_many_parameters_as_counted(scale):
    c = 8
    conv, deconv2 = 9 * c**2 + c, 16 * c**2 + c
    up = {2: deconv2, 3: 81 * c**2 + c, 4: 2 * deconv2}[scale]
    expected = 28 * c + 2 * (2 * conv + deconv2) + up + 27 * c + 3
    assert count(TwoStageSrResNet(scale, channels=c)) == expected
    expected = 28 * c + 2 * conv + 3 * c * (8 * scale) ** 2 + 3
    assert count(PoolingCNN(scale, channels=c)) == expected


# What they compute.


def conv(x, weights, name):
    weight = weights[f"{name}.weight"]
    return F.conv2d(x, weight, weights[f"{name}.bias"], padding=weight.shape[-1] // 2)


def enlarged(x, weights, steps, upsampler="deconv", relu_behind=True):
    """Enlarge by each of `steps`, with a ReLU between, and one behind where wanted."""
    for index, factor in enumerate(steps):
        name = f"upsample.{2 * index}"
        if upsampler == "deconv":
            weight, bias = weights[f"{name}.deconv.weight"], weights[f"{name}.deconv.bias"]
            # The full result is K - factor larger: as much is cut off on each side.
            x = F.conv_transpose2d(x, weight, bias, stride=factor)
            cut = (weight.shape[-1] - factor) // 2
            x = x[..., cut:-cut, cut:-cut]
        elif upsampler == "pixel_shuffle":
            x = F.pixel_shuffle(conv(x, weights, f"{name}.conv"), factor)
        else:
            x = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            x = conv(x, weights, f"{name}.conv")
        if index < len(steps) - 1 or relu_behind:
            x = x.clamp(min=0)
    return x


def with_image(residual, lr, scale, output, image_skip):
    image = imresize(lr, scale)
    if not image_skip:
        return 1 / (1 + torch.exp(-residual)) if output == "sigmoid" else residual
    if output == "linear":
        return image + residual
    image = image.clamp(1.5e-3, 1 - 1.5e-3)
    return 1 / (1 + torch.exp(-(torch.log(image / (1 - image)) + residual)))


@each_scale
@pytest.mark.parametrize("upsampler", ["deconv", "pixel_shuffle", "resize_conv"])
@pytest.mark.parametrize("output", ["sigmoid", "linear"])
@pytest.mark.parametrize("image_skip", [True, False])
@pytest.mark.parametrize(
    "hr_channels, mid_channels, activation",
    [(None, None, "relu"), (4, None, "silu"), (0, None, "silu"), (0, 6, "relu"), (4, 6, "relu")],
)
def test_srresnet_step_by_step(
    scale, upsampler, output, image_skip, hr_channels, mid_channels, activation
):
    torch.manual_seed(0)
    options = {"upsampler": upsampler, "output": output, "image_skip": image_skip}
    options |= {"hr_channels": hr_channels, "activation": activation}
    if scale == 4:
        options["mid_channels"] = mid_channels
    steps = [2, 2] if scale == 4 and (mid_channels or hr_channels is None) else [scale]
    model = SrResNet(scale, channels=5, num_blocks=3, **options).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.15)
    weights, lr = dict(model.state_dict()), picture(5, 4).double()
    with torch.no_grad():
        head = conv(lr, weights, "head")
        x = head
        for block in range(3):
            branch = conv(x, weights, f"blocks.{block}.first")
            branch = branch * torch.sigmoid(branch) if activation == "silu" else branch.clamp(min=0)
            x = x + 0.3 * conv(branch, weights, f"blocks.{block}.second")
        features = head + conv(x, weights, "body")
        if hr_channels == 0:
            residual = enlarged(features, weights, steps, upsampler, relu_behind=False)
        else:
            residual = conv(enlarged(features, weights, steps, upsampler), weights, "tail.conv")
        expected = with_image(residual, lr, scale, output, image_skip)
        np.testing.assert_allclose(model(lr), expected, atol=1e-5)
        assert (expected - imresize(lr, scale)).abs().max() > 0.05  # the weights matter


@each_scale
def test_two_stages_step_by_step(scale):
    torch.manual_seed(0)
    model = TwoStageSrResNet(scale, channels=5).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.15)
    weights, lr = dict(model.state_dict()), picture(5, 4).double()
    with torch.no_grad():
        x = conv(lr, weights, "head").clamp(min=0)
        for stage in range(2):
            low = conv(x, weights, f"stages.{stage}.before").clamp(min=0)
            low = F.max_pool2d(F.pad(low, (0, 0, 0, 1)), 2)  # values are >= 0
            low = conv(low, weights, f"stages.{stage}.low").clamp(min=0)
            weight = weights[f"stages.{stage}.up.deconv.weight"]
            bias = weights[f"stages.{stage}.up.deconv.bias"]
            high = F.conv_transpose2d(low, weight, bias, stride=2)[..., 1:-1, 1:-1]
            x = x + high[..., :5, :4]
        residual = conv(
            enlarged(x, weights, [2, 2] if scale == 4 else [scale]), weights, "tail.conv"
        )
        expected = with_image(residual, lr, scale, "sigmoid", True)
        np.testing.assert_allclose(model(lr), expected, atol=1e-5)


@each_scale
@pytest.mark.parametrize("network", [SrResNet, TwoStageSrResNet])
def test_an_untrained_network_with_image_skip_is_bicubic(network, scale):
    check_is_bicubic(network, scale)


@each_scale
@pytest.mark.parametrize("upsampler", ["deconv", "pixel_shuffle", "resize_conv"])
def test_an_untrained_network_straight_to_rgb_is_bicubic(scale, upsampler):
    options = {"upsampler": upsampler, "hr_channels": 0}
    check_is_bicubic(functools.partial(SrResNet, **options), scale)
    if scale == 4:
        check_is_bicubic(functools.partial(SrResNet, **options, mid_channels=5), scale)


def check_is_bicubic(network, scale):
    lr = picture(8, 9)
    lr[0, :, :4], lr[1, :, :, :4] = 0, 1  # black and white, where logits are infinite
    bicubic = imresize(lr, scale)
    with torch.no_grad():
        output = network(scale, channels=6)(lr)
        difference = (output - bicubic.clamp(0, 1)).abs().max().item()
        assert difference * 255 <= 0.4
        linear = network(scale, channels=6, output="linear")(lr)
        np.testing.assert_allclose(linear, bicubic, atol=1e-6)


def test_the_published_kind_has_sub_pixel_convolutions_and_nothing_behind_its_last_one():
    model = SrResNet(4, **SMALL, **PUBLISHED)
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.PixelShuffle) == 2 and nn.ConvTranspose2d not in kinds
    assert not [kind for kind in kinds if kind.__name__ in ("BicubicUpsample", "BatchNorm2d")]
    nn.init.constant_(model.tail.conv.bias, 50.0)
    nn.init.zeros_(model.tail.conv.weight)
    with torch.no_grad():
        np.testing.assert_array_equal(model(picture(3, 3)), 50.0)
    assert isinstance(SrResNet(4, **SMALL).upsample[0], DeconvBlock)


def ycbcr(image):
    """By scikit-image, in 0..1: (N, 3, H, W) -> (N, H, W, 3)."""
    return rgb2ycbcr(image.double().permute(0, 2, 3, 1).numpy()) / 255


@each_scale
@pytest.mark.parametrize("network", [SRCNN, FSRCNN])
def test_classic_networks_keep_the_colour_of_the_bicubic_image(network, scale):
    model, lr = make(network.__name__, scale), picture(7, 6)
    with torch.no_grad():
        output = model(lr)
    before, after = ycbcr(imresize(lr, scale)), ycbcr(output)
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-5)
    assert np.abs(after[..., 0] - before[..., 0]).max() > 0.05
    grey = lr[:, :1].expand(-1, 3, -1, -1)
    with torch.no_grad():
        output = model(grey)
    np.testing.assert_allclose(output, output[:, :1].expand(-1, 3, -1, -1), atol=1e-5)


@each_scale
def test_srcnn_step_by_step(scale):
    model, lr = make("SRCNN", scale), picture(4, 5)
    x = ycbcr(imresize(lr, scale))[..., 0]  # (N, H, W)
    x = torch.from_numpy(np.pad(x, ((0, 0), (8, 8), (8, 8)), mode="edge"))[:, None].float()
    with torch.no_grad():
        x = F.conv2d(x, model.extract.weight, model.extract.bias).clamp(min=0)
        x = F.conv2d(x, model.map.weight, model.map.bias).clamp(min=0)
        x = F.conv2d(x, model.reconstruct.weight, model.reconstruct.bias)
        np.testing.assert_allclose(ycbcr(model(lr))[..., 0], x[:, 0], atol=1e-5)


@each_scale
def test_fsrcnn_step_by_step(scale):
    model, lr = make("FSRCNN", scale), picture(4, 5)
    weights = list(model.parameters())  # weight, bias, slopes: seven times; then weight, bias
    x = torch.from_numpy(ycbcr(lr)[..., 0])[:, None].float()
    with torch.no_grad():
        for index in range(0, 21, 3):
            weight, bias, slopes = weights[index : index + 3]
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
            x = torch.where(x > 0, x, slopes[:, None, None] * x)
        x = F.conv_transpose2d(x, *weights[21:], stride=scale)
        # 9 - scale rows are too many; where that is odd, the top loses one more.
        cut = (9 - scale + 1) // 2
        x = x[..., cut : cut + 4 * scale, cut : cut + 5 * scale]
        np.testing.assert_allclose(ycbcr(model(lr))[..., 0], x[:, 0], atol=1e-5)


@each_scale
def test_plain_cnn_step_by_step(scale):
    model, lr = make("PlainCNN", scale), picture(4, 5)
    weights = dict(model.state_dict())
    x = imresize(lr, scale)
    with torch.no_grad():
        for index in range(3):
            x = conv(x, weights, f"layers.{index}").clamp(min=0)
        expected = torch.sigmoid(conv(x, weights, "layers.3"))
        np.testing.assert_allclose(model(lr), expected, atol=1e-5)


@each_scale
def test_pooling_cnn_step_by_step(scale):
    model, lr = make("PoolingCNN", scale), picture(5, 8)
    weights = dict(model.state_dict())
    with torch.no_grad():
        x = lr
        for name in ("first", "second"):
            x = conv(x, weights, name).clamp(min=0)
            x = F.max_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2)
        x = conv(x, weights, "third").clamp(min=0)
        weight, bias = weights["enlarge.deconv.weight"], weights["enlarge.deconv.bias"]
        x = F.conv_transpose2d(x, weight, bias, stride=4 * scale)
        cut = 2 * scale
        x = torch.sigmoid(x[..., cut : cut + 5 * scale, cut : cut + 8 * scale])
        np.testing.assert_allclose(model(lr), x, atol=1e-5)


# Weights on disk.


def test_an_untrained_network_straight_to_rgb_without_image_skip_is_no_constant():
    model = SrResNet(2, **SMALL, hr_channels=0, image_skip=False, output="linear")
    with torch.no_grad():
        assert model(picture(5, 6)).std() > 1e-3


@each_network
def test_a_saved_network_comes_back(variant, tmp_path):
    name, options = NETWORKS[variant]
    model, lr = make(variant, 3).eval(), picture(5, 6)
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    save_network(tmp_path / "net.safetensors", model, name, scale=3, **options)
    loaded = load_pretrained(tmp_path / "net.safetensors")
    assert not loaded.training and type(loaded) is type(model)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    with torch.no_grad():
        np.testing.assert_array_equal(loaded(lr), model(lr))
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_saved_network_is_float32_whatever_it_was_trained_in(tmp_path):
    model = make("SrResNet", 2).to(torch.bfloat16).to(memory_format=torch.channels_last)
    save_network(tmp_path / "net.safetensors", model, "SrResNet", scale=2, **SMALL)
    assert {w.dtype for w in load_file(tmp_path / "net.safetensors").values()} == {torch.float32}


OPTIONS = {"scale": 2, "channels": 6, "num_blocks": 2}


def write_by_hand(path, network, change=None):
    """Write the weights of a small SrResNet, as `change` makes them, beside any metadata."""
    weights = SrResNet(**OPTIONS).state_dict()
    if change:
        change(weights)
    save_file(weights, path, metadata=None if network is None else {"network": network})


def assert_refused(path, message):
    with pytest.raises(ValueError) as caught:
        load_pretrained(path)
    text = str(caught.value)
    assert text.startswith(f"{path} holds no network of this course: ")
    assert re.search(message, text) and len(text) < len(str(path)) + 400


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("num_blocks", 10**9, "more tensors than it holds"),
        ("num_blocks", 3, r"'blocks.2.first.bias' of shape \[6\], the file none"),
        ("num_blocks", "2", "num_blocks must be a whole number.* got '2'"),
        ("channels", 10**9, "makes no network|more tensors than it holds"),
        ("channels", 10**30, "'channels': 10{30}, .* makes no network"),
        ("channels", 2000, "more tensors than it holds, or larger ones"),
        ("channels", 7, r"shape \[7\], the file \[6\]"),
        ("channels", 6.0, "channels must be a whole number.* got 6.0"),
        ("channels", True, "channels must be a whole number.* got True"),
        ("scale", "4", "scale must be 2, 3 or 4, got '4'"),
        ("scale", 3, "upsample"),
        ("hr_channels", False, "hr_channels must be a whole number.* got False"),
        ("hr_channels", 10**9, "makes no network|more tensors than it holds"),
        ("image_skip", "yes", "image_skip must be True or False, got 'yes'"),
        ("output", "tanh", "output must be .* got 'tanh'"),
        ("upsampler", ["deconv"], r"'upsampler': \['deconv'\]} makes no network"),
        ("upsampler", "x" * 10**5, "upsampler must be"),
        ("activation", {}, "'activation': {}} makes no network"),
        ("self", 1, "got 'self'"),
        ("name", "os.system", "name must be one of SrResNet.* got 'os.system'"),
    ],
)
def test_options_in_a_file_are_checked_against_its_tensors(tmp_path, option, value, message):
    path = tmp_path / "net.safetensors"
    write_by_hand(path, json.dumps({"name": "SrResNet", **OPTIONS, option: value}))
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([1] * 30_000, "more tensors than it holds"),
        ([10**9], "makes no network|or larger ones"),
        ([[10**9, 10**9]], "each of widths must be"),
        (["1"], "each of widths must be a whole number of at least 1, got '1'"),
        ([], "at least one number"),
        (5, "at least one number, got 5"),
    ],
)
def test_widths_in_a_file_are_checked_against_its_tensors(tmp_path, widths, message):
    path = tmp_path / "net.safetensors"
    write_by_hand(path, json.dumps({"name": "PlainCNN", "scale": 2, "widths": widths}))
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, "no 'network': save_network did not write it"),
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read.*recursion"),
        ('{"name": "SrResNet", "channels": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"name": "SrResNet", "channels": 1e999}', "channels must be .* got inf"),
        ('{"name": "SrResNet", "channels": NaN}', "channels must be .* got nan"),
        ('{"name": "FSRCNN", "name": "SrResNet"}', r"once, got \['name', 'name'\]"),
        ("null", "must be a name with options, got None"),
        ('["SrResNet"]', r"must be a name with options, got \['SrResNet'\]"),
        ('{"scale": 2}', "must be a name with options, got {'scale': 2}"),
        ('{"name": ["SrResNet"]}', "must be a name with options"),
        ("{}" + " " * 2**22, "its header would have 4[0-9]{6} bytes"),
    ],
)
def test_metadata_that_makes_no_sense_is_said(tmp_path, network, message):
    path = tmp_path / "net.safetensors"
    write_by_hand(path, network)
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.weight"), r"'head.weight' of shape \[6, 3, 3, 3\], the file none"),
        (lambda w: w.update(more=torch.ones(1)), r"'more' of shape none, the file \[1\]"),
        (
            lambda w: w.update({"head.weight": torch.ones(6, 3, 1, 1)}),
            r"'head.weight' of shape \[6, 3, 3, 3\], the file \[6, 3, 1, 1\]",
        ),
        (lambda w: w.update({"body.bias": torch.ones(6).int()}), "'body.bias' .* got I32"),
        (lambda w: w["body.bias"].fill_(torch.nan), "'body.bias' holds NaN or infinity"),
        (
            lambda w: w["tail.conv.weight"][0, 0, 0].fill_(-torch.inf),
            "'tail.conv.weight' holds NaN",
        ),
    ],
)
def test_tensors_that_are_not_the_network_s_are_named(tmp_path, change, message):
    path = tmp_path / "net.safetensors"
    write_by_hand(path, json.dumps({"name": "SrResNet", **OPTIONS}), change)
    assert_refused(path, message)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path, dtype):
    path, whole = tmp_path / "net.safetensors", {}

    def halve(weights):
        whole.update({key: value.to(dtype) for key, value in weights.items()})
        weights.update(whole)

    write_by_hand(path, json.dumps({"name": "SrResNet", **OPTIONS}), halve)
    loaded = load_pretrained(path).state_dict()
    assert all(torch.equal(loaded[key], value.float()) for key, value in whole.items())


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda whole: b"", "header too small"),
        (lambda whole: b"not safetensors at all", "it is no safetensors file"),
        (lambda whole: b"\xff" * 8 + whole[8:], "header would have 18446744073709551615 bytes"),
        (lambda whole: (10**8).to_bytes(8, "little") + bytes(10**6), "would have 100000000 bytes"),
        (lambda whole: bytes(1000), "header"),
        (lambda whole: whole[:50], "header"),
        (lambda whole: whole[:-100], "not fully covered"),
        (lambda whole: whole + b"x", "not fully covered"),
    ],
)
def test_damaged_files_are_named(tmp_path, harm, message):
    path = tmp_path / "net.safetensors"
    write_by_hand(path, json.dumps({"name": "SrResNet", **OPTIONS}))
    path.write_bytes(harm(path.read_bytes()))
    assert_refused(path, message)


def test_a_file_of_torch_save_is_named(tmp_path):
    path = tmp_path / "net.safetensors"
    torch.save(SrResNet(**OPTIONS).state_dict(), path)
    assert_refused(path, "it is no safetensors file")


@pytest.mark.parametrize(
    ("make_file", "error", "message"),
    [
        (lambda path: None, FileNotFoundError, "No such file"),
        (lambda path: path.mkdir(), IsADirectoryError, "a folder, not a file"),
        (lambda path: os.mkfifo(path), ValueError, "a pipe or a device"),
        (lambda path: path.symlink_to("/dev/zero"), ValueError, "a pipe or a device"),
        (lambda path: (path.touch(), os.truncate(path, 2**40)), ValueError, "too large"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="pipes and devices are elsewhere")
def test_what_is_no_ordinary_file_is_not_opened(tmp_path, make_file, error, message):
    path = tmp_path / "net.safetensors"
    make_file(path)
    with pytest.raises(error, match=message) as caught:
        load_pretrained(path)
    assert "net.safetensors" in str(caught.value)


def test_a_blend_lies_between_two_networks():
    torch.manual_seed(0)
    first, second = (SrResNet(2, channels=4, num_blocks=1) for _ in range(2))
    lr = torch.rand(1, 3, 5, 6)
    with torch.no_grad():
        for network in (first, second):  # they begin as the same picture
            network.tail.conv.weight.normal_()
        before = copy.deepcopy(first.state_dict())
        for share, end in ((0, first), (1, second)):
            assert torch.equal(blend(first, second, share)(lr), end(lr))
    second._is_accelerate_prepared = True  # what a training leaves
    half = blend(first.train(), second, 0.25)
    assert not half.training and first.training
    for name, value in half.state_dict().items():
        one, other = first.state_dict()[name], second.state_dict()[name]
        assert torch.allclose(value, 0.75 * one + 0.25 * other)
        assert torch.equal(one, before[name])


@pytest.mark.parametrize(
    ("other", "share", "message"),
    [
        ({}, 1.5, "share must be in 0..1, got 1.5"),
        ({}, float("nan"), "share must be in 0..1, got nan"),
        ({"channels": 6}, 0.5, "made alike, got blocks.0.first"),
        ({"num_blocks": 2}, 0.5, "made alike, got blocks.1: none and"),
        ({"output": "linear"}, 0.5, "made alike, got tail.*sigmoid.*linear"),
        ({"activation": "silu"}, 0.5, "made alike, got blocks.0: .*relu.*silu"),
    ],
)
def test_what_cannot_be_blended_is_refused(other, share, message):
    with pytest.raises(ValueError, match=message):
        blend(
            SrResNet(2, channels=4, num_blocks=1),
            SrResNet(2, **{"channels": 4, "num_blocks": 1, **other}),
            share,
        )


def test_an_unknown_network_is_named_beside_those_there_are():
    with pytest.raises(ValueError, match=r"one of .*srresnet_x4.* or a file, got 'srresnet'"):
        load_pretrained("srresnet")


@pytest.mark.parametrize("name", pretrained().index)
def test_a_shipped_network_is_what_its_record_says(name):
    model, row = load_pretrained(name), pretrained().loc[name]
    assert model.scale == row["scale"] and count(model) == row["parameters"]
    assert isinstance(model, SrResNet) and isinstance(model.upsample[0], DeconvBlock)
    record = json.loads((data_file("weights") / name / "record.json").read_text())
    for key in ("command", "data", "seed", "torch", "device", "train_seconds", "steps"):
        assert record[key] is not None, key
    log = pd.read_csv(data_file("weights") / name / "log.csv")
    steps, part = 0, record
    blocks = ("name", "scale", "channels", "num_blocks")
    while part and all(part["network"].get(k) == record["network"].get(k) for k in blocks):
        steps, part = steps + part["steps"], part.get("start")  # it may have gone on from another
    assert log["step"].iloc[-1] == steps and log["step"].is_monotonic_increasing
    if record["loss"] != "adversarial":  # whose opponent learns, too
        began = steps - record["steps"] if record.get("degrade") else 0  # clean images are easier
        loss = log.loc[log["step"] > began, "loss"]
        assert loss.iloc[-20:].mean() < loss.iloc[:20].mean()
    card = (data_file("weights") / name / "README.md").read_text()
    assert record["command"] in card and "JPEG" in card
    assert bool(record["start_from"]) == ("start" in record)  # what was before can be made again
    assert record.get("start", record)["command"] in card


@pytest.mark.slow
@pytest.mark.parametrize("name", pretrained().index)
def test_a_shipped_network_scores_what_its_record_says(name, shared_data, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    row = pretrained().loc[name]
    scale = int(row["scale"])
    pairs = make_pairs(load_images("Set5", scale), scale)
    table = evaluate(load_pretrained(name), pairs, scale, progress=False)
    assert table.loc["mean", "psnr_db"] == pytest.approx(row["set5_db"], abs=2e-3)


def test_the_shipped_networks_are_there_and_the_small_one_is_small():
    table = pretrained()
    kinds = ("x2", "x3", "x4", "small_x4", "real_x4", "gan_x4")
    assert {f"srresnet_{kind}" for kind in kinds} == set(table.index)
    assert table.loc["srresnet_small_x4", "parameters"] <= 165_000


@pytest.mark.parametrize("name", ["srresnet_x2", "srresnet_x4", "srresnet_small_x4"])
def test_a_shipped_network_without_a_strength_says_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the runs it began as are not
    others = "Networks with one: srresnet_gan_x4, srresnet_real_x4$"
    with pytest.raises(ValueError, match=f"^{name} has no strength: .*, is not here as.*{others}"):
        load_pretrained(name, 0.5)


@pytest.mark.parametrize("name", ["srresnet_real_x4", "srresnet_gan_x4"])
def test_a_shipped_network_that_was_trained_on_has_a_strength(name):
    """What it started from must be here as it was: train it anew when that one is replaced."""
    first, second = load_pretrained("srresnet_small_x4"), load_pretrained(name)
    for strength in (0, 0.5, 1):
        found = load_pretrained(name, strength).state_dict()
        expected = blend(first, second, strength).state_dict()
        assert all(torch.equal(found[key], expected[key]) for key in found)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"start_from": "srresnet_x4"}'])
def test_a_damaged_record_is_named_where_a_strength_is_asked_for(content, tmp_path):
    path = tmp_path / "model.safetensors"
    save_network(path, create_model("SrResNet", 4, **SMALL), name="SrResNet", scale=4, **SMALL)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path / 'run.json'} is damaged: "):
        load_pretrained(path, 0.5)
    assert load_pretrained(path).scale == 4
