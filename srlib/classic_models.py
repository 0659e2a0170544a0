"""The networks that came before residual blocks, and the plain stacks they are compared with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from srlib.checks import check_count, check_input, check_scale
from srlib.image import rgb_to_y
from srlib.layers import BicubicUpsample, DeconvBlock

__all__ = ["FSRCNN", "PlainCNN", "PoolingCNN", "SRCNN"]


class _LumaNetwork(nn.Module):
    """What networks for luma share: the colour of the bicubic image, the luma of the network."""

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
        # White is (1, 1, 1), and the luma's range 219 / 255 of RGB's.
        return large + (self.luma(rgb_to_y(lr), before) - before) * (255 / 219)

    def luma(self, lr, large):
        """Luma of the LR image and of the bicubic image -> luma of the output."""
        raise NotImplementedError


class SRCNN(_LumaNetwork):
    """Super-resolution CNN: three convolutions, 9-5-5, on the luma of the bicubic image.

    57 184 weights and 97 biases. The paper has no padding and so loses 8 pixels a side; here the
    luma is continued beyond the border by its edge pixels.

    Parameters
    ----------
    scale : int
        2, 3 or 4. The layers do not depend on it.

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
    """Fast SRCNN: works at low resolution, enlarges by a deconvolution at the end.

    Five parts with d = 56, s = 12, m = 4: extract 5x5, shrink 1x1, map 4 times 3x3, expand 1x1,
    deconvolve 9x9; PReLU with one slope a channel between. 12 464 weights in convolutions.

    Parameters
    ----------
    scale : int
        2, 3 or 4: the stride of the deconvolution.

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

    With its default widths it is the ten-layer listing 3-64-128-256-512-1024-512-256-128-64-3
    that circulates under the name SrResNet. It has neither residual connections nor
    deconvolution, and does not enlarge: the bicubic interpolation in front was added here.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    widths : sequence of int
        Channels of the hidden layers.

    Raises
    ------
    ValueError
        If `scale` is another one or there is no hidden layer.
    """

    def __init__(
        self,
        scale: int = 4,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 1024, 512, 256, 128, 64),
    ):
        super().__init__()
        check_scale(scale)
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must hold positive numbers, got {widths!r}")
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
    """A classical CNN as for classification: convolve and pool, then enlarge what is left.

    Two poolings halve the LR image twice, and one deconvolution brings it to 4 * scale times
    that size. It shows what pooling loses: there is no way around it for the position.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    channels : int
        Of the features.

    Raises
    ------
    ValueError
        If `scale` is another one or `channels` is not positive.
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
