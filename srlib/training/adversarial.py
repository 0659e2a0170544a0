"""Train for the eye: a loss with a discriminator of its own, and distances between features."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from srlib._arguments import check_count, check_input

__all__ = [
    "AdversarialLoss",
    "FeatureLoss",
    "PatchDiscriminator",
    "discriminator_loss",
    "generator_loss",
    "vgg_features",
]

# ImageNet's, of R, G, B in 0..1: torchvision's networks were trained on images relative to these.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's loss: small if `real` is positive and `fake` negative.

    Both are logits of any shape: above 0 stands for "a photograph". A scalar comes back, the sum of
    the two means of the logistic loss.

    References
    ----------
    I. Goodfellow et al., "Generative adversarial nets", NIPS, 2014.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """Return the generator's loss, a scalar: small if the logits of its pictures are positive.

    The non-saturating one of Goodfellow et al.: its gradient is largest where the discriminator is
    sure that the picture is none.
    """
    return F.softplus(-fake).mean()


class PatchDiscriminator(nn.Module):
    """Tells photographs from generated pictures, patch by patch: 44 x 44 pixels see each other.

    One logit for each 4 x 4 pixels. It first puts blocks of 2 x 2 pixels into channels: it then
    works on a quarter of the positions and still sees every pixel, so that it notices a
    checkerboard. Spectral normalisation keeps each layer from amplifying, and so the gradients that
    it sends back in bounds; the last layer goes without, or it could not be sure of anything.

    Parameters
    ----------
    channels : int
        Of the first layer; later ones have twice as many.

    References
    ----------
    P. Isola, J.-Y. Zhu, T. Zhou, A. A. Efros, "Image-to-image translation with conditional
    adversarial networks", CVPR, 2017.
    T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral normalization for generative adversarial
    networks", ICLR, 2018.
    """

    def __init__(self, channels: int = 32):
        super().__init__()
        check_count("channels", channels)
        wide = 2 * channels
        self.layers = nn.ModuleList(
            spectral_norm(layer)
            for layer in (
                nn.Conv2d(12, channels, 3, padding=1),
                nn.Conv2d(channels, wide, 4, stride=2, padding=1),
                nn.Conv2d(wide, wide, 3, padding=1),
                nn.Conv2d(wide, wide, 3, padding=1),
                nn.Conv2d(wide, wide, 3, padding=1),
            )
        )
        self.last = nn.Conv2d(wide, 1, 3, padding=1)

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) in 0..1 -> what each layer but the last one finds; H, W multiples of 4."""
        check_input(image)
        if image.shape[-2] % 4 or image.shape[-1] % 4:
            raise ValueError(f"sides must be multiples of 4, got {tuple(image.shape)}")
        x, found = F.pixel_unshuffle(2 * image - 1, 2), []  # (N, 12, H / 2, W / 2)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            found.append(x)
        return found

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in 0..1 -> logits (N, 1, H / 4, W / 4)."""
        return self.last(self.features(image)[-1]).float()  # where autocast makes it bfloat16


class AdversarialLoss(nn.Module):
    """A loss for `srlib.training.train` that trains a discriminator along, a step each time.

    Each call first teaches the discriminator, on `hr` and the detached `sr`. Then it returns the
    generator's loss under it::

        pixel_weight * L1 + coarse_weight * L1 of the means of 4 x 4 pixels
        + feature_weight * L1 of features + adversarial_weight * generator_loss

    where features are those of the discriminator's layers, and L1 is their mean over the layers.
    The discriminator and its optimizer are in ``state_dict``, so that a training goes on bit for
    bit. ValueError in a training of several processes: each would have its own discriminator.

    Parameters
    ----------
    pixel_weight, coarse_weight, feature_weight, adversarial_weight : float
        At least 0. The first two are anchors: what is where, and colours, which the LR image tells.
    learning_rate : float
        Of the discriminator, constant. Its optimizer is Adam with betas of 0.5 and 0.99.
    channels : int
        See `PatchDiscriminator`.
    seed : int
        Of the discriminator's first weights.

    Attributes
    ----------
    logits : tuple of Tensor
        The means of the last call, scalars, for originals and for generated pictures. Far apart,
        the discriminator has won, and the generator learns nothing; equal, it sees no difference.

    References
    ----------
    C. Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial
    network", CVPR, 2017.
    T.-C. Wang et al., "High-resolution image synthesis and semantic manipulation with conditional
    GANs", CVPR, 2018: the features of the discriminator.
    """

    def __init__(
        self,
        *,
        pixel_weight: float = 1.0,
        coarse_weight: float = 10.0,
        feature_weight: float = 1.0,
        adversarial_weight: float = 0.1,
        learning_rate: float = 2e-4,
        channels: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        weights = {
            "pixel_weight": pixel_weight,
            "coarse_weight": coarse_weight,
            "feature_weight": feature_weight,
            "adversarial_weight": adversarial_weight,
        }
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {weight!r}")
            setattr(self, name, float(weight))
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be > 0 and finite, got {learning_rate!r}")
        self.learning_rate, self.channels, self.seed = learning_rate, channels, seed
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # not those of the GPUs
            self.discriminator = PatchDiscriminator(channels)
        self._optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.99)
        )
        # Private: public attributes that change would make another training of it, see `identity`.
        self._logits: tuple[torch.Tensor, ...] = ()

    @property
    def logits(self) -> tuple[torch.Tensor, ...]:
        """Two means of the last call, see the class; empty before the first."""
        return self._logits

    def forward(self, sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        """Both (N, 3, H, W) in 0..1 -> the generator's loss, a scalar."""
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            raise ValueError(
                "an adversarial loss trains in one process, "
                f"got {torch.distributed.get_world_size()}"
            )
        # the discriminator's step
        real, fake = self.discriminator(torch.cat([hr, sr.detach()])).chunk(2)
        self._optimizer.zero_grad()
        discriminator_loss(real, fake).backward()
        self._optimizer.step()
        self._logits = real.detach().mean(), fake.detach().mean()

        # the generator's loss; its gradient passes through the discriminator and leaves it alone
        self.discriminator.requires_grad_(False)
        try:
            return self._of_generator(sr, hr)
        finally:  # or a training with this object would be taken for another one when it goes on
            self.discriminator.requires_grad_(True)

    def _of_generator(self, sr, hr):
        found = self.discriminator.features(sr)
        loss = self.pixel_weight * F.l1_loss(sr, hr)
        if self.coarse_weight:
            coarse = F.l1_loss(F.avg_pool2d(sr, 4), F.avg_pool2d(hr, 4))
            loss = loss + self.coarse_weight * coarse
        if self.adversarial_weight:
            fake = self.discriminator.last(found[-1]).float()
            loss = loss + self.adversarial_weight * generator_loss(fake)
        if self.feature_weight:
            with torch.no_grad():
                due = self.discriminator.features(hr)
            loss = loss + self.feature_weight * _mean_distance(found, due)
        return loss

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the discriminator's optimizer, for ``state_dict``."""
        return self._optimizer.state_dict()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Continue with what `get_extra_state` returned."""
        self._optimizer.load_state_dict(dict(state))


class FeatureLoss(nn.Module):
    """Distance between the features of two pictures, in layers of a trained network.

    Parameters
    ----------
    layers : nn.Sequential
        Of a network that was trained for something else. They are frozen.
    places : sequence of int
        Behind which layers features are compared, by L1; counted from 0.

    References
    ----------
    J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and
    super-resolution", ECCV, 2016.
    """

    def __init__(self, layers: nn.Sequential, places: tuple[int, ...]):
        super().__init__()
        if not places or not all(0 <= place < len(layers) for place in places):
            raise ValueError(f"places must name some of {len(layers)} layers, got {places!r}")
        self.places = tuple(places)
        self.layers = layers[: max(places) + 1].eval().requires_grad_(False)
        for layer in self.layers:
            if getattr(layer, "inplace", False):  # a ReLU that would overwrite what is compared
                layer.inplace = False

    def forward(self, sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        """Both (N, 3, H, W) in 0..1 -> a scalar."""
        with torch.no_grad():
            due = self._features(hr)
        return _mean_distance(self._features(sr), due)

    def _features(self, x):
        found = []
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place in self.places:
                found.append(x)
        return found


def vgg_features(network: nn.Module) -> FeatureLoss:
    """Make the field's usual perceptual term: features of VGG-19, as in ESRGAN before the ReLU.

    `network` is ``torchvision.models.vgg19(weights="IMAGENET1K_V1")``, which downloads 548 MiB when
    it is called for the first time. Its weights were trained on ImageNet.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition",
    ICLR, 2015.
    X. Wang et al., "ESRGAN: Enhanced super-resolution generative adversarial networks", ECCV
    Workshops, 2018.
    """
    # conv1_2, conv2_2, conv3_4, conv4_4, conv5_4, one further behind the normalisation
    places = tuple(1 + place for place in (2, 7, 16, 25, 34))
    return FeatureLoss(nn.Sequential(_Normalised(), *network.features), places)


class _Normalised(nn.Module):
    """Colours relative to ImageNet's mean and deviation."""

    def __init__(self):
        super().__init__()
        for name, values in (("mean", _IMAGENET_MEAN), ("deviation", _IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, x):
        return (x - self.mean) / self.deviation


def _mean_distance(found, due):
    return sum(F.l1_loss(a, b) for a, b in zip(found, due, strict=True)) / len(found)
