"""The networks of the course: RGB in 0..1, (N, 3, H, W) -> (N, 3, sH, sW), for s = 2, 3 or 4."""

import copy
import inspect
import json
import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from srlib import assets
from srlib._arguments import check_count, check_input, check_scale
from srlib._atomic import atomic_write
from srlib._files import check_file, file_sha256
from srlib.image import rgb_to_y
from srlib.layers import (
    BicubicUpsample,
    DeconvBlock,
    PixelShuffleBlock,
    PoolDeconvStage,
    ResidualBlock,
    ResizeConvBlock,
)

__all__ = [
    "FSRCNN",
    "PlainCNN",
    "PoolingCNN",
    "SRCNN",
    "SrResNet",
    "TwoStageSrResNet",
    "blend",
    "create_model",
    "first_piece",
    "load_pretrained",
    "pretrained",
    "read_record",
    "save_network",
    "weights_file",
]

_UPSAMPLERS = {
    "deconv": DeconvBlock,
    "pixel_shuffle": PixelShuffleBlock,
    "resize_conv": ResizeConvBlock,
}
# The logit of black and white is infinite. Rounded to 8 bits, this is still black.
_LOGIT_EPS = 1.5e-3
# Of a file with weights, in bytes; the header has less than 0.5 KiB for each residual block.
_MAX_BYTES, _MAX_HEADER = 2**30, 2**22
_FLOATS = "F16", "BF16", "F32"


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
        2, 3 or 4. At 4 it enlarges by 2 twice, or, if only `hr_channels` is given, in one step.
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
        At the output's size. If they are few, nearly all of the work is done at low resolution,
        where a pixel costs scale**2 times less. As many as `channels` by default.
        0: none at all, the deconvolution makes the three colours, and no convolution follows.
    mid_channels : int, optional
        At twice the input's size, if it enlarges by 2 twice; so only at scale 4. As many as
        `channels` by default.
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
        mid_channels: int | None = None,
        activation: str = "relu",
    ):
        super().__init__()
        _check(scale, channels, output, image_skip)
        check_count("num_blocks", num_blocks)
        if hr_channels is not None:
            check_count("hr_channels", hr_channels, least=0)
        if mid_channels is not None:
            check_count("mid_channels", mid_channels)
            if scale != 4:
                raise ValueError(f"mid_channels needs scale 4, got {scale}")
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
        twice = scale == 4 and (hr_channels is None or mid_channels is not None)
        hr_channels = channels if hr_channels is None else hr_channels
        widths = [channels, *([mid_channels or channels] if twice else []), hr_channels or 3]
        self.upsample = _upsample(_UPSAMPLERS[upsampler], widths, scale)
        if hr_channels == 0:
            del self.upsample[-1]  # the colours may be negative
            if image_skip:
                _fill_with_zeros(self.upsample[-1])
        self.tail = _Tail(hr_channels, scale, output, image_skip)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W), in 0..1 with a sigmoid."""
        check_input(lr)
        features = self.head(lr)  # (N, C, H, W)
        features = features + self.body(self.blocks(features))
        return self.tail(self.upsample(features), lr)


class TwoStageSrResNet(nn.Module):
    """Two times pool, deconvolve and add; then enlarge, with a sigmoid at the end.

    This variant adds low-level features to high-level ones, see `srlib.layers.PoolDeconvStage`.
    The parameters mean the same as for `SrResNet`.
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
        _check(scale, channels, output, image_skip)
        self.scale = scale
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.stages = nn.Sequential(PoolDeconvStage(channels), PoolDeconvStage(channels))
        widths = [channels] * (3 if scale == 4 else 2)
        self.upsample = _upsample(DeconvBlock, widths, scale)
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


# Networks without residual blocks: the first ones of the field, and plain stacks to compare with.


class _LumaNetwork(nn.Module):
    """Base of networks that make the luma; the colour is that of the bicubic image."""

    def __init__(self, scale):
        super().__init__()
        check_scale(scale)
        self.scale = scale
        self.bicubic = BicubicUpsample(scale)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W)."""
        check_input(lr)
        large = self.bicubic(lr)  # (N, 3, sH, sW)
        before = rgb_to_y(large)
        # Luma covers 219 of 255 levels.
        return large + (self.luma(rgb_to_y(lr), before) - before) * (255 / 219)

    def luma(self, lr, large):
        """Luma of the LR image and of the bicubic image -> luma of the output."""
        raise NotImplementedError


class SRCNN(_LumaNetwork):
    """Super-resolution CNN: three convolutions, 9-5-5, on the luma of the bicubic image.

    57 184 weights and 97 biases, at any scale. The paper has no padding and so loses 8 pixels a
    side; here the edge pixels of the luma are repeated beyond the border.

    References
    ----------
    C. Dong, C. C. Loy, K. He, X. Tang, "Image super-resolution using deep convolutional networks",
    IEEE Trans. Pattern Analysis and Machine Intelligence 38(2), 2016.
    """

    def __init__(self, scale: int = 4):
        super().__init__(scale)
        self.extract = nn.Conv2d(1, 64, 9)
        self.map = nn.Conv2d(64, 32, 5)
        self.reconstruct = nn.Conv2d(32, 1, 5)

    def luma(self, lr, large):
        """See `_LumaNetwork`."""
        features = F.relu(self.extract(F.pad(large, (8, 8, 8, 8), mode="replicate")))
        return self.reconstruct(F.relu(self.map(features)))  # (N, 1, sH, sW)


class FSRCNN(_LumaNetwork):
    """Fast SRCNN: works at low resolution and enlarges at the end, by a deconvolution.

    Five parts with d = 56, s = 12, m = 4: extract 5x5, shrink 1x1, map 4 times 3x3, expand 1x1,
    deconvolve 9x9. Between them PReLU with a slope for each channel. 12 464 weights in
    convolutions.

    References
    ----------
    C. Dong, C. C. Loy, X. Tang, "Accelerating the super-resolution convolutional neural network",
    ECCV, 2016.
    """

    def __init__(self, scale: int = 4):
        super().__init__(scale)
        layers = [nn.Conv2d(1, 56, 5, padding=2), nn.PReLU(56), nn.Conv2d(56, 12, 1), nn.PReLU(12)]
        for _ in range(4):
            layers += [nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12)]
        layers += [nn.Conv2d(12, 56, 1), nn.PReLU(56)]
        self.features = nn.Sequential(*layers)
        padding = (9 - scale + 1) // 2
        self.deconv = nn.ConvTranspose2d(
            56, 1, 9, stride=scale, padding=padding, output_padding=2 * padding - 9 + scale
        )

    def luma(self, lr, large):
        """See `_LumaNetwork`."""
        return self.deconv(self.features(lr))  # (N, 1, sH, sW)


class PlainCNN(nn.Module):
    """A plain stack of 3x3 convolutions with ReLU and a sigmoid, behind an interpolation.

    With the default `widths`, the channels of the hidden layers, it is the ten-layer listing
    3-64-128-256-512-1024-512-256-128-64-3 that circulates under the name SrResNet. It has neither
    residual connections nor deconvolution and does not enlarge; the bicubic interpolation in
    front was added here.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 1024, 512, 256, 128, 64),
    ):
        super().__init__()
        check_scale(scale)
        if not isinstance(widths, Sequence) or not widths:
            raise ValueError(f"widths must hold at least one number, got {widths!r}")
        for width in widths:
            check_count("each of widths", width)
        self.scale = scale
        self.bicubic = BicubicUpsample(scale)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip((3, *widths), (*widths, 3), strict=True)
        )

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W) in 0..1."""
        check_input(lr)
        features = self.bicubic(lr)
        for layer in self.layers[:-1]:
            features = F.relu(layer(features))
        return torch.sigmoid(self.layers[-1](features))


class PoolingCNN(nn.Module):
    """A CNN as for classification: convolve and pool twice, then enlarge what is left.

    One deconvolution enlarges by 4 * scale. It shows what pooling loses, because nothing leads
    the positions around it.
    """

    def __init__(self, scale: int = 4, *, channels: int = 64):
        super().__init__()
        check_scale(scale)
        check_count("channels", channels)
        self.scale = scale
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.third = nn.Conv2d(channels, channels, 3, padding=1)
        self.enlarge = DeconvBlock(channels, 3, 4 * scale)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W) in 0..1."""
        check_input(lr)
        features = F.max_pool2d(F.relu(self.first(lr)), 2, ceil_mode=True)  # (N, C, H / 2, W / 2)
        features = F.max_pool2d(F.relu(self.second(features)), 2, ceil_mode=True)
        image = self.enlarge(F.relu(self.third(features)))
        height, width = lr.shape[-2] * self.scale, lr.shape[-1] * self.scale
        return torch.sigmoid(image[..., :height, :width])


def create_model(name: str, scale: int = 4, **options) -> nn.Module:
    """Make an untrained network by the name of its class, with the class's keywords as options."""
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


def blend(first: nn.Module, second: nn.Module, share: float) -> nn.Module:
    """Mix two networks: each weight is (1 - share) of the first's plus `share` of the second's.

    That makes sense if one of them was trained on from the other: their layers then still mean the
    same. The new network is in evaluation mode, on the first's device. ValueError if `share` is not
    in 0..1 or the networks are not made alike.

    References
    ----------
    X. Wang, K. Yu, C. Dong, X. Tang, C. C. Loy, "Deep network interpolation for continuous imagery
    effect transition", CVPR, 2019.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share!r}")
    made, made_too = _options(first), _options(second)
    for name in sorted(made.keys() | made_too.keys()):
        if made.get(name) != made_too.get(name):
            raise ValueError(
                f"networks must be made alike, got {name or 'the network'}: "
                f"{made.get(name, 'none')} and {made_too.get(name, 'none')}"
            )
    result, weights = copy.deepcopy(first).eval(), second.state_dict()
    with torch.no_grad():
        for name, value in result.state_dict().items():
            value.lerp_(weights[name].to(value), share)
    return result


def _options(network):
    """Return each layer's kind, plain attributes, functions by name, and shapes of weights."""
    return {
        name: {
            "": type(layer).__name__,
            **{
                k: getattr(v, "__qualname__", v)
                for k, v in vars(layer).items()  # a training leaves private ones
                if (isinstance(v, str | int | float) or hasattr(v, "__qualname__"))
                and not k.startswith("_")
            },
            **{k: tuple(v.shape) for k, v in layer.named_parameters(recurse=False)},
            "training": None,  # it may differ
        }
        for name, layer in network.named_modules()
    }


def pretrained() -> pd.DataFrame:
    """List the trained networks that come with the course; see `load_pretrained`.

    The DataFrame has the index ``name`` and the columns ``scale``, ``parameters``, ``set5_db`` and
    ``set14_db`` (PSNR by the protocol of `srlib.metrics`). ``data/weights/NAME/README.md`` tells
    how a network was trained.
    """
    records = sorted(assets.data_file("weights").glob("*/record.json"))
    rows = [{"name": path.parent.name, **read_record(path)} for path in records]
    columns = ["scale", "parameters", "set5_db", "set14_db"]
    return pd.DataFrame(rows, columns=["name", *columns]).set_index("name")


def weights_file(name: str | os.PathLike) -> Path:
    """Return the file that `load_pretrained` reads. One given as a path need not exist."""
    path = Path(name)
    if path.suffix == ".safetensors":
        return path
    names = list(pretrained().index)
    if name not in names:
        raise ValueError(f"name must be one of {', '.join(names)} or a file, got {name!r}")
    return assets.data_file(f"weights/{name}/model.safetensors")


def load_pretrained(name: str | os.PathLike, strength: float = 1) -> nn.Module:
    """Load a trained network: in evaluation mode, float32, on the CPU.

    Parameters
    ----------
    name : str or path
        One of `pretrained`, such as "srresnet_x4", or a file that `save_network` wrote. Those
        called real were trained on damaged LR images, all others on bicubic ones: they take the
        traces of a JPEG file for detail.
    strength : float
        In 0..1, for a network that was trained on from another one: how far to go from that one, at
        0, to this one, at 1; between them see `blend`.

    Raises
    ------
    ValueError
        If `strength` is less than 1 and the network did not start from another one that is here, or
        for a file that holds no network of this course, whole and finite: a file may come from
        anyone. It says what is wrong, before anything larger than the file is made.
    """
    path = weights_file(name)
    check_file(path, _MAX_BYTES)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in 0..1, got {strength!r}")
    try:
        network = _read_network(path).eval()
    except (SafetensorError, ValueError) as error:
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise ValueError(f"{path} holds no network of this course: {reason}") from error
    if strength == 1:
        return network
    start = _start_of(name, path)
    try:
        return blend(start, network, strength)
    except ValueError as error:  # trained on to another scale, or behind another end
        raise ValueError(f"{name} has no strength: {error}") from error


def read_record(path: Path) -> dict:
    """Read the record of a training, run.json or record.json; ValueError if it is damaged."""
    try:
        record, error = json.loads(path.read_text("utf-8")), "it is no record of a training"
    except ValueError as reason:
        record, error = None, reason
    if not isinstance(record, dict) or "network" not in record:
        raise ValueError(
            f"{path} is damaged: {error}. Restore it; without it, a training goes on too, and is "
            "compared only with its checkpoint"
        )
    return record


def first_piece(record: dict, name: str) -> dict:
    """Return the record of the first training of a network.

    A training may go on in pieces, each from the weights of the one before and all under one name:
    `record` is the last one's, and has those before it as "start".
    """
    while record.get("start_from") == name and "start" in record:
        record = record["start"]
    return record


def _start_of(name, path):
    """Load the network that another one was trained on from, by the record beside its file."""
    records = [path.with_name("record.json"), path.with_name("run.json")]
    record = next((read_record(r) for r in records if r.is_file()), {})
    record = first_piece(record, path.parent.name)
    if start := _start_file(record):
        return load_pretrained(start)
    why = "it was not trained on from another network"
    if began := record.get("start_from"):
        why = f"{began}, which it was trained on from, is not here as it was then"
    shipped = {n: read_record(weights_file(n).with_name("record.json")) for n in pretrained().index}
    those = [n for n, record in shipped.items() if _start_file(first_piece(record, n))]
    raise ValueError(f"{name} has no strength: {why}. Networks with one: {', '.join(those)}")


def _start_file(record):
    """Return the file that a training began with; None if there was none, or it has changed."""
    if not record.get("start_from"):
        return None
    start = weights_file(record["start_from"])
    same = start.is_file() and file_sha256(start) == record.get("start_from_sha256")
    return start if same else None


def _read_network(path):
    """Load a file by strangers: nothing is made that is larger than the tensors in the file."""
    with open(path, "rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _MAX_HEADER:
        raise ValueError(
            f"it is no safetensors file: its header would have {header} bytes, and at most "
            f"{_MAX_HEADER} are read"
        )
    with safe_open(path, framework="pt") as file:
        made_by = (file.metadata() or {}).get("network")
        if made_by is None:
            raise ValueError("its metadata has no 'network': save_network did not write it")
        try:
            made_by = json.loads(made_by, object_pairs_hook=_without_repetition)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its 'network' cannot be read: {error}") from error
        if not isinstance(made_by, dict) or not isinstance(made_by.get("name"), str):
            raise ValueError(f"its 'network' must be a name with options, got {made_by!r}")
        slices = {key: file.get_slice(key) for key in file.keys()}
        for key, part in slices.items():
            if part.get_dtype() not in _FLOATS:
                kinds = ", ".join(_FLOATS)
                raise ValueError(f"{key!r} must be one of {kinds}, got {part.get_dtype()}")
        there = {key: part.get_shape() for key, part in slices.items()}
        numbers = sum(math.prod(shape) for shape in there.values())
        try:
            with _AtMost(len(there), numbers):
                model = create_model(**made_by)
        except (TypeError, RuntimeError) as error:  # a list in place of a word; too much memory
            raise ValueError(f"{made_by} makes no network: {error}") from error
        due = {key: list(value.shape) for key, value in model.state_dict().items()}
        for key in sorted(due.keys() | there.keys()):
            if due.get(key) != there.get(key):
                raise ValueError(
                    f"{made_by['name']} with these options has {key!r} of shape "
                    f"{due.get(key, 'none')}, the file {there.get(key, 'none')}"
                )
        weights = {key: file.get_tensor(key) for key in there}
    for key, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"{key!r} holds NaN or infinity: its training has diverged")
    model.load_state_dict(weights)
    return model


class _AtMost(TorchFunctionMode):
    """Within it, a network of more or larger tensors than are in a file is not built."""

    def __init__(self, tensors, numbers):
        super().__init__()
        # Blocks make their first weights beside the layer and copy them.
        self.tensors, self.numbers = 2 * tensors, 2 * numbers

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function is torch.empty:  # its memory is used only when it is filled
            self.tensors, self.numbers = self.tensors - 1, self.numbers - made.numel()
            if min(self.tensors, self.numbers) < 0:
                raise ValueError("its options ask for more tensors than it holds, or larger ones")
        return made


def _without_repetition(pairs):
    made_by = dict(pairs)
    if len(made_by) < len(pairs):
        raise ValueError(f"keys must stand there once, got {[key for key, _ in pairs]}")
    return made_by


def save_network(path: str | os.PathLike, model: nn.Module, name: str, **options) -> None:
    """Write the weights in float32 to a .safetensors file; it appears whole or not at all.

    With them go the name and the options with which `create_model` made the network.
    """
    weights = {key: value.float().contiguous() for key, value in model.state_dict().items()}
    with atomic_write(path) as partial:
        save_file(weights, partial, metadata={"network": json.dumps({"name": name, **options})})


def _upsample(block, widths, scale):
    """Enlarge from so many channels to so many, in one step or by 2 twice, with ReLUs behind."""
    steps = [scale] if len(widths) == 2 else [2, 2]
    changes = zip(widths[:-1], widths[1:], steps, strict=True)
    return nn.Sequential(*(layer for change in changes for layer in (block(*change), nn.ReLU())))


def _check(scale, channels, output, image_skip):
    check_scale(scale)
    check_count("channels", channels)
    if not isinstance(image_skip, bool):
        raise ValueError(f"image_skip must be True or False, got {image_skip!r}")
    if output not in ("sigmoid", "linear"):
        raise ValueError(f"output must be 'sigmoid' or 'linear', got {output!r}")
