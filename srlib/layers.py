"""Blocks that refine or enlarge features.

All take and return tensors (N, C, H, W) of any size from 1x1. The three blocks that enlarge take
the same arguments and can replace each other; none contains an activation.
"""

import torch
import torch.nn.functional as F
from torch import nn

from srlib._arguments import check_count, check_odd
from srlib.resample import resize_matrix

__all__ = [
    "BicubicUpsample",
    "DeconvBlock",
    "PixelShuffleBlock",
    "PoolDeconvStage",
    "ResidualBlock",
    "ResizeConvBlock",
]


_ACTIVATIONS = {"relu": F.relu, "silu": F.silu}


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to the input: ``x + scaling * conv(relu(conv(x)))``.

    No normalisation and no activation after the addition, as in EDSR; He's block for
    classification and Ledig's SRResNet have batch normalisation.

    Parameters
    ----------
    channels : int
        Of input and output.
    kernel_size : int
        Odd.
    scaling : float
        Factor of the branch. Below 1 it keeps deep stacks stable.
    activation : {"relu", "silu"}
        Between the convolutions. SiLU, ``x * sigmoid(x)``, is a ReLU without the corner.

    Raises
    ------
    ValueError
        If `kernel_size` or `activation` is not one of these.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR, 2016.
    B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single image
    super-resolution", CVPR Workshops, 2017.
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks 107, 2018.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 3,
        scaling: float = 1.0,
        activation: str = "relu",
    ):
        super().__init__()
        check_odd("kernel_size", kernel_size)
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}"
            )
        padding = kernel_size // 2
        self.first = nn.Conv2d(channels, channels, kernel_size, padding=padding)
        self.second = nn.Conv2d(channels, channels, kernel_size, padding=padding)
        self.scaling = scaling
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of `x`."""
        # Not in place: the skip needs x as it came.
        return x + self.scaling * self.second(self.activation(self.first(x)))


class DeconvBlock(nn.Module):
    """Enlarge by a transposed convolution, also called deconvolution.

    The kernel is 2 * scale pixels wide for even scales, 3 * scale for odd ones. That is divisible
    by the stride, so every output pixel gets equally many terms, and symmetric around the output
    pixels of an input pixel, so nothing shifts.

    Parameters
    ----------
    in_channels, out_channels, scale : int
        At least 1.
    init : {"bilinear", "icnr", "random"}
        What the layer does before training: bilinear interpolation of randomly mixed channels,
        repeated pixels of a random convolution, or torch's default, which shows a checkerboard.

    References
    ----------
    M. D. Zeiler, D. Krishnan, G. W. Taylor, R. Fergus, "Deconvolutional networks", CVPR, 2010.
    A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", Distill, 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, scale: int, *, init: str = "bilinear"):
        super().__init__()
        check_count("scale", scale)
        kernel_size = (3 if scale % 2 else 2) * scale
        self.deconv = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size, stride=scale, padding=(kernel_size - scale) // 2
        )
        weight = self.deconv.weight  # (in, out, K, K)
        if init == "bilinear":
            mix = nn.init.kaiming_normal_(torch.empty(out_channels, in_channels)).T  # (in, out)
            distance = torch.arange(kernel_size) - (kernel_size - 1) / 2
            row = (1 - distance.abs() / scale).clamp(min=0)
            kernel = mix[..., None, None] * (row[:, None] * row)
        elif init == "icnr":
            taps = kernel_size // scale
            few = nn.init.kaiming_normal_(torch.empty(out_channels, in_channels, taps, taps))
            kernel = few.transpose(0, 1).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        elif init == "random":
            return
        else:
            raise ValueError(f"init must be 'bilinear', 'icnr' or 'random', got {init!r}")
        with torch.no_grad():
            weight.copy_(kernel)
            self.deconv.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, scale * H, scale * W)."""
        return self.deconv(x)


class PixelShuffleBlock(nn.Module):
    """Enlarge by a convolution to scale**2 times the channels, which become pixels.

    Also called sub-pixel convolution. With the ICNR initialisation, the scale**2 channels of a
    block are equal before training, so that no checkerboard shows. `kernel_size` is odd.

    References
    ----------
    W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", CVPR, 2016.
    A. Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv:1707.02937, 2017.
    """

    def __init__(self, in_channels: int, out_channels: int, scale: int, *, kernel_size: int = 3):
        super().__init__()
        check_count("scale", scale)
        check_odd("kernel_size", kernel_size)
        self.conv = nn.Conv2d(
            in_channels, out_channels * scale**2, kernel_size, padding=kernel_size // 2
        )
        few = torch.empty(out_channels, in_channels, kernel_size, kernel_size)
        with torch.no_grad():
            # PixelShuffle makes a block of pixels from scale**2 neighbouring channels.
            self.conv.weight.copy_(nn.init.kaiming_normal_(few).repeat_interleave(scale**2, 0))
            self.conv.bias.zero_()
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, scale * H, scale * W)."""
        return self.shuffle(self.conv(x))


class ResizeConvBlock(nn.Module):
    """Enlarge by repeating pixels, then convolve: no checkerboard, at scale**2 times the cost.

    `kernel_size` is odd.

    References
    ----------
    A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", Distill, 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, scale: int, *, kernel_size: int = 3):
        super().__init__()
        check_count("scale", scale)
        check_odd("kernel_size", kernel_size)
        self.scale = scale
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, scale * H, scale * W)."""
        return self.conv(F.interpolate(x, scale_factor=self.scale, mode="nearest"))


class PoolDeconvStage(nn.Module):
    """Convolve and pool, deconvolve back, add the low-level features to the high-level ones.

    At half the resolution a 3x3 convolution sees twice as far. The positions that pooling loses
    come back with the low-level features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 3, padding=1)
        self.low = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = DeconvBlock(channels, channels, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of `x`, odd sizes included."""
        pooled = F.max_pool2d(F.relu(self.before(x)), 2, ceil_mode=True)  # (N, C, H / 2, W / 2)
        high = self.up(F.relu(self.low(pooled)))  # (N, C, H or H + 1, W or W + 1)
        return x + high[..., : x.shape[-2], : x.shape[-1]]


class BicubicUpsample(nn.Module):
    """Enlarge as `srlib.resample.imresize` does, as one fixed convolution.

    Every output pixel is a weighted mean of 5 x 5 input pixels. The weights depend only on its
    place among the scale x scale output pixels of an input pixel.
    """

    def __init__(self, scale: int):
        super().__init__()
        check_count("scale", scale)
        row = torch.from_numpy(resize_matrix(5, scale)[2 * scale : 3 * scale])  # the middle pixel's
        weight = torch.einsum("pi,qj->pqij", row, row).reshape(-1, 1, 5, 5)
        # Not saved with the weights, because it follows from the scale.
        self.register_buffer("weight", weight.float(), persistent=False)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, scale * H, scale * W)."""
        # bfloat16 would cost a grey level. "meta", for counting, has no autocast, and is not asked.
        if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self(x)
        channels = x.reshape(-1, 1, *x.shape[-2:])  # (N * C, 1, H, W)
        padded = F.pad(channels, (2, 2, 2, 2), mode="replicate")
        # A cast that changes nothing would cost the weight its name in ONNX files of older torch.
        weight = self.weight if self.weight.dtype == x.dtype else self.weight.to(x.dtype)
        result = F.pixel_shuffle(F.conv2d(padded, weight), self.scale)
        return result.reshape(*x.shape[:2], *result.shape[-2:])
