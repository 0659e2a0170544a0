"""The networks of the course, from one interface: RGB in 0..1, (N, 3, H, W) -> (N, 3, sH, sW)."""

import inspect
import json
import os
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from srlib import assets
from srlib.checks import check_count, check_input, check_scale
from srlib.classic_models import FSRCNN, SRCNN, PlainCNN, PoolingCNN
from srlib.layers import (
    BicubicUpsample,
    DeconvBlock,
    PixelShuffleBlock,
    PoolDeconvStage,
    ResidualBlock,
    ResizeConvBlock,
)
from srlib.whole_file import whole_file

__all__ = [
    "SrResNet",
    "TwoStageSrResNet",
    "create_model",
    "load_pretrained",
    "pretrained",
    "save_network",
]

_UPSAMPLERS = {
    "deconv": DeconvBlock,
    "pixel_shuffle": PixelShuffleBlock,
    "resize_conv": ResizeConvBlock,
}
# The logit of black and white is infinite. Rounded to 8 bits, this is still black.
_LOGIT_EPS = 1.5e-3


class SrResNet(nn.Module):
    """The course's network, not Ledig's SRResNet, from which it differs in four things.

    It enlarges by deconvolution instead of sub-pixel convolution, ends in a sigmoid, adds the
    bicubic image before that sigmoid, and has no batch normalisation::

        y = sigmoid(logit(bicubic(lr)) + W_out * ReLU(W_res * (x + F_res(x)) + b_out))

    where x are features of the LR image, F_res the residual blocks and a convolution, W_res the
    deconvolution. An untrained network is bicubic interpolation, up to 0.4 grey levels at black
    and white. With ``upsampler="pixel_shuffle", output="linear", image_skip=False`` it is of
    the published kind.

    Parameters
    ----------
    scale : int
        2, 3 or 4. At 4 it enlarges by 2 twice, unless `hr_channels` is given.
    channels : int
        Of the features.
    num_blocks : int
        Of residual blocks, at least 1.
    upsampler : {"deconv", "pixel_shuffle", "resize_conv"}
        See `srlib.layers`.
    output : {"sigmoid", "linear"}
        Whether the output is confined to 0..1.
    image_skip : bool
        Whether the network adds to the bicubic image (in logit space before a sigmoid), or
        makes the whole image by itself.
    hr_channels : int, optional
        Enlarge in one step, to so few channels: nearly all of the work is then done at low
        resolution, where a pixel costs scale**2 times less. As many as `channels` by default.
        0: none at all, the deconvolution makes the three colours, and no convolution follows.
    activation : {"relu", "silu"}
        In the residual blocks.

    Raises
    ------
    ValueError
        If an argument is not one of these; from `forward` if the input is not (N, 3, H, W).

    References
    ----------
    C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
    network", CVPR, 2017.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        channels: int = 64,
        num_blocks: int = 16,
        upsampler: str = "deconv",
        output: str = "sigmoid",
        image_skip: bool = True,
        hr_channels: int | None = None,
        activation: str = "relu",
    ):
        super().__init__()
        _check(scale, channels, output)
        check_count("num_blocks", num_blocks)
        if upsampler not in _UPSAMPLERS:
            raise ValueError(
                f"upsampler must be one of {', '.join(_UPSAMPLERS)}, got {upsampler!r}"
            )
        self.scale = scale
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(channels, scaling=0.3, activation=activation)
                for _ in range(num_blocks)
            )
        )
        self.body = nn.Conv2d(channels, channels, 3, padding=1)
        enlarge = _UPSAMPLERS[upsampler]
        if hr_channels is None:
            self.upsample = _upsample(enlarge, channels, scale)
            hr_channels = channels
        elif hr_channels == 0:
            self.upsample = nn.Sequential(enlarge(channels, 3, scale))
            if image_skip:
                _fill_with_zeros(self.upsample)
        else:
            check_count("hr_channels", hr_channels, least=0)
            self.upsample = nn.Sequential(enlarge(channels, hr_channels, scale), nn.ReLU())
        self.tail = _Tail(hr_channels, scale, output, image_skip)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W), in 0..1 with a sigmoid."""
        check_input(lr)
        features = self.head(lr)  # (N, C, H, W)
        features = features + self.body(self.blocks(features))
        return self.tail(self.upsample(features), lr)


class TwoStageSrResNet(nn.Module):
    """Pool, deconvolve, add: twice; then enlarge and a sigmoid.

    The variant that adds low-level features to high-level ones, `srlib.layers.PoolDeconvStage`.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    channels : int
        Of the features.
    output : {"sigmoid", "linear"}
        As for `SrResNet`.
    image_skip : bool
        As for `SrResNet`.

    Raises
    ------
    ValueError
        As for `SrResNet`.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        channels: int = 64,
        output: str = "sigmoid",
        image_skip: bool = True,
    ):
        super().__init__()
        _check(scale, channels, output)
        self.scale = scale
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.stages = nn.Sequential(PoolDeconvStage(channels), PoolDeconvStage(channels))
        self.upsample = _upsample(DeconvBlock, channels, scale)
        self.tail = _Tail(channels, scale, output, image_skip)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W), in 0..1 with a sigmoid."""
        check_input(lr)
        features = self.stages(F.relu(self.head(lr)))  # (N, C, H, W)
        return self.tail(self.upsample(features), lr)


class _Tail(nn.Module):
    """Features at the output's size to an image, with or without the bicubic one beneath.

    With 0 channels it is given the three colours instead of features.
    """

    def __init__(self, channels, scale, output, image_skip):
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 3, padding=1) if channels else nn.Identity()
        self.bicubic = BicubicUpsample(scale) if image_skip else None
        self.output = output
        if image_skip:
            _fill_with_zeros(self.conv)

    def forward(self, features, lr):
        residual = self.conv(features)  # (N, 3, sH, sW)
        if self.bicubic is None:
            return torch.sigmoid(residual) if self.output == "sigmoid" else residual
        image = self.bicubic(lr)
        if self.output == "linear":
            return image + residual
        return torch.sigmoid(torch.logit(image, eps=_LOGIT_EPS) + residual)


def _fill_with_zeros(layer):
    """Beside the bicubic image, zero is the best first guess."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def create_model(name: str, scale: int = 4, **options) -> nn.Module:
    """Make a network by name, untrained.

    Parameters
    ----------
    name : str
        SrResNet, TwoStageSrResNet, SRCNN, FSRCNN, PlainCNN or PoolingCNN.
    scale : int
        2, 3 or 4.
    **options
        Keywords of the class.

    Raises
    ------
    ValueError
        If there is no such network or option, or an option has a value it cannot have.
    """
    networks = (SrResNet, TwoStageSrResNet, SRCNN, FSRCNN, PlainCNN, PoolingCNN)
    classes = {network.__name__: network for network in networks}
    if name not in classes:
        raise ValueError(f"name must be one of {', '.join(classes)}, got {name!r}")
    known = [option for option in inspect.signature(classes[name]).parameters if option != "scale"]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{name} takes {', '.join(known) or 'no option'} beside the scale, got {option!r}"
            )
    return classes[name](scale, **options)


def pretrained() -> pd.DataFrame:
    """List the networks that the course has trained and ships; see `load_pretrained`.

    Returns
    -------
    DataFrame
        Index ``name``; columns ``scale``, ``parameters``, and ``set5_db`` and ``set14_db``, the
        PSNR by the protocol of `srlib.metrics`. How each was trained stands in its card,
        ``data/weights/NAME/README.md``, and in ``record.json`` beside it.
    """
    records = sorted(assets.data_file("weights").glob("*/record.json"))
    rows = [{"name": path.parent.name, **json.loads(path.read_text())} for path in records]
    columns = ["scale", "parameters", "set5_db", "set14_db"]
    return pd.DataFrame(rows, columns=["name", *columns]).set_index("name")


def weights_file(name: str | os.PathLike) -> Path:
    """Return the file that `load_pretrained` reads; it need not be there if `name` is a file.

    Raises
    ------
    ValueError
        If `name` is neither one of `pretrained` nor ends in .safetensors.
    """
    path = Path(name)
    if path.suffix == ".safetensors":
        return path
    names = list(pretrained().index)
    if name not in names:
        raise ValueError(f"name must be one of {', '.join(names)} or a file, got {name!r}")
    return assets.data_file(f"weights/{name}/model.safetensors")


def load_pretrained(name: str | os.PathLike) -> nn.Module:
    """Load a trained network, in evaluation mode, float32, on the CPU.

    Those of the course were trained on bicubic LR images: they sharpen what bicubic shrinking
    left, and take the traces of a JPEG file for detail.

    Parameters
    ----------
    name : str or path
        One of `pretrained`, such as "srresnet_x4", or a file that `save_network` wrote.

    Raises
    ------
    ValueError
        If there is no such network, or the file is not of this kind.
    """
    path = weights_file(name)
    try:
        with safe_open(path, framework="pt") as file:
            made_by = json.loads(file.metadata()["network"])
        model = create_model(**made_by)
        model.load_state_dict(load_file(path))
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no network of this course: {error}") from error
    return model.eval()


def save_network(path: str | os.PathLike, model: nn.Module, name: str, **options) -> None:
    """Write weights, float32, with what `create_model` needs to make the network again.

    Parameters
    ----------
    path : path
        Ends in .safetensors; replaced in one piece.
    model : nn.Module
        Made by ``create_model(name, **options)``.
    name, **options
        See `create_model`.
    """
    weights = {key: value.float().contiguous() for key, value in model.state_dict().items()}
    with whole_file(path) as partial:
        save_file(weights, partial, metadata={"network": json.dumps({"name": name, **options})})


def _upsample(block, channels, scale):
    """Enlarge by 2 twice, or by 2 or 3 once, with a ReLU behind each step."""
    steps = [2, 2] if scale == 4 else [scale]
    return nn.Sequential(
        *(layer for step in steps for layer in (block(channels, channels, step), nn.ReLU()))
    )


def _check(scale, channels, output):
    check_scale(scale)
    check_count("channels", channels)
    if output not in ("sigmoid", "linear"):
        raise ValueError(f"output must be 'sigmoid' or 'linear', got {output!r}")
