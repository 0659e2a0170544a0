"""What a photograph goes through before it is enlarged: blur, shrinking, noise and JPEG."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from srlib._arguments import check_count, check_scale
from srlib.data import Pair, PatchSampler
from srlib.image import check_image, to_float, to_uint8
from srlib.resample import KERNELS, imresize

__all__ = ["TERMS", "DegradedSampler", "RandomDegradation", "degrade", "degrade_pairs", "jpeg"]

TERMS = ("blur", "shrink", "noise", "jpeg")  # a camera's order
_BLOCK = 8  # pixels of a JPEG block


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Send an image, uint8 (H, W, 3) or (H, W), through a JPEG file of a quality of 1..100.

    Colour is kept at half the resolution (4:2:0), as most programs do.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be in 1..100, got {quality!r}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.array(Image.open(file))


def degrade(
    hr: np.ndarray,
    scale: int,
    *,
    blur: float = 0.0,
    kernel: str = "bicubic",
    noise: float = 0.0,
    quality: int | None = None,
    order: Sequence[str] = TERMS,
    seed: int = 0,
) -> np.ndarray:
    """Make an LR image of an HR image; without further arguments it is ``imresize(hr, 1 / scale)``.

    Parameters
    ----------
    hr : ndarray
        uint8 (H, W, 3).
    scale : int
        2, 3 or 4.
    blur : float
        Standard deviation of a Gaussian, in HR pixels, wherever it stands in the order.
    kernel : str
        One of `srlib.resample.KERNELS`, for the shrinking.
    noise : float
        Standard deviation of white Gaussian noise in each channel, in grey levels.
    quality : int, optional
        Of a JPEG file, 1..100; None is no JPEG.
    order : sequence of str
        `TERMS` in the order in which they come.
    seed : int
        Of the noise.

    Returns
    -------
    ndarray
        uint8 (ceil(H / scale), ceil(W / scale), 3).
    """
    check_image(hr, "hr")
    check_scale(scale)
    if sorted(order) != sorted(TERMS):
        raise ValueError(f"order must hold {', '.join(TERMS)}, each once, got {order!r}")
    for name, value in (("blur", blur), ("noise", noise)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be at least 0, got {value!r}")
    image = hr  # uint8, and float32 (1, 3, H, W) in 0..1 between two terms that do not round
    for term in order:
        shrunk = order.index(term) > order.index("shrink")
        if term == "shrink":
            image = imresize(image, 1 / scale, kernel=kernel)
        elif term == "blur" and blur:
            sigma = torch.tensor([blur / scale if shrunk else blur])
            image = _blur(_as_float(image), sigma)
        elif term == "noise" and noise:
            generator = torch.Generator().manual_seed(seed)
            image = _add_noise(_as_float(image), torch.tensor([noise]), generator)
        elif term == "jpeg" and quality is not None:
            image = jpeg(_as_uint8(image), quality)
    return _as_uint8(image)


@dataclass(frozen=True)
class RandomDegradation:
    """Ranges to draw degradations from, all evenly.

    Attributes
    ----------
    blur, noise, quality : tuple of two numbers
        As in `degrade`, the lowest and the highest; `quality` may be None, too.
    kernels : tuple of str
        For the shrinking; each batch takes one.
    left_out : float
        How often a term is left out, 0..1: blur, noise and JPEG, each for itself.
    """

    blur: tuple[float, float] = (0.0, 2.0)
    noise: tuple[float, float] = (0.0, 15.0)
    quality: tuple[int, int] | None = (30, 95)
    kernels: tuple[str, ...] = ("bicubic", "bilinear", "lanczos3", "box")
    left_out: float = 0.3

    def __post_init__(self):
        for name, least, most in (("blur", 0, 20), ("noise", 0, 255), ("quality", 1, 100)):
            low, high = getattr(self, name) or (least, most)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{name} must be two numbers in {least}..{most}, the lower one first, "
                    f"got {low} and {high}"
                )
        if unknown := [kernel for kernel in self.kernels if kernel not in KERNELS]:
            raise ValueError(f"kernels must be of {', '.join(KERNELS)}, got {unknown[0]!r}")
        if not self.kernels:
            raise ValueError("kernels must hold at least one, got none")
        if not 0 <= self.left_out <= 1:
            raise ValueError(f"left_out must be in 0..1, got {self.left_out!r}")

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, str]:
        """Draw for some images: blur, noise and quality of each, (3, count), and a kernel.

        What is left out is 0.
        """
        ranges = [self.blur, self.noise, self.quality or (0, 0)]
        ranges = torch.tensor(ranges, dtype=torch.float64)
        low, high = ranges.T[..., None]
        drawn = low + (high - low) * torch.rand(3, count, generator=generator, dtype=torch.float64)
        drawn[2] = drawn[2].round()
        drawn *= torch.rand(3, count, generator=generator) >= self.left_out
        kernel = torch.randint(len(self.kernels), (), generator=generator)
        return drawn.float(), self.kernels[kernel]


def degrade_pairs(
    pairs: list[Pair], scale: int, degradation: RandomDegradation, seed: int = 0
) -> list[Pair]:
    """Return pairs with other LR images: each HR image degraded in its own way."""
    generator, result = torch.Generator().manual_seed(seed), []
    for number, (name, _, hr) in enumerate(pairs):
        ((blur,), (noise,), (quality,)), kernel = degradation.draw(1, generator)
        drawn = {"blur": float(blur), "noise": float(noise), "quality": int(quality) or None}
        lr = degrade(hr, scale, kernel=kernel, seed=seed + number, **drawn)
        result.append(Pair(name, lr, hr))
    return result


class DegradedSampler:
    """Draw batches of aligned patches, each LR patch degraded in its own way.

    The HR patches are those of `srlib.data.PatchSampler`, which see for the arguments. They are
    degraded in a camera's order, with a border that is cut off, so that the edge of a patch is not
    felt and the blocks of JPEG lie anywhere. JPEG runs on the CPU, so on a GPU each batch waits.

    Parameters
    ----------
    degradation : RandomDegradation
    """

    def __init__(
        self,
        pairs: list[Pair],
        scale: int,
        degradation: RandomDegradation,
        *,
        lr_patch_size: int = 24,
        seed: int = 0,
        **options,
    ):
        check_count("scale", scale)
        self._border = _border(degradation.blur[1], scale)
        side = self.window(lr_patch_size, degradation.blur[1], scale)
        for name, lr, _ in pairs:
            if (room := min(lr.shape[:2]) - side) < 0:
                raise ValueError(
                    f"{name}: lr_patch_size must be at most {room + lr_patch_size} "
                    f"with a degradation, got {lr_patch_size}"
                )
        self._patches = PatchSampler(pairs, scale, lr_patch_size=side, seed=seed, **options)
        self.degradation, self.lr_patch_size, self.seed = degradation, lr_patch_size, seed
        self._generator = torch.Generator().manual_seed(seed)
        shared = "scale batch_size augment permute_colours equal_images device hr_pixels content"
        for name in shared.split():
            setattr(self, name, getattr(self._patches, name))

    @staticmethod
    def window(lr_patch_size: int, blur: float, scale: int) -> int:
        """Return the side of what is degraded, in LR pixels: no image may be smaller.

        A `blur` above `scale` HR pixels, the strongest that is drawn, makes it larger.
        """
        return lr_patch_size + 2 * _border(blur, scale) + _BLOCK

    def sample(self, process: int = 0, processes: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a batch, see `PatchSampler.sample`; the LR images are rounded to 8 bits."""
        _, hr = self._patches.sample(process, processes)
        # draw for all processes, and take this one's part
        random, own = self._generator, slice(process * len(hr), (process + 1) * len(hr))
        (blur, noise, quality), kernel = self.degradation.draw(processes * len(hr), random)
        top, left = (self._border + torch.randint(_BLOCK, (2,), generator=random)).tolist()
        seed = int(torch.randint(2**62, (), generator=random)) + process

        # blur, shrink, add noise, round and compress
        lr = imresize(_blur(hr, blur[own]), 1 / self.scale, kernel=kernel)
        lr = _add_noise(lr, noise[own], torch.Generator().manual_seed(seed))
        lr = (255 * lr).round().clamp(0, 255) / 255
        lr = _compress(lr, quality[own])

        # cut the border off
        size, scale = self.lr_patch_size, self.scale
        lr = lr[..., top : top + size, left : left + size]
        hr = hr[..., scale * top :, scale * left :][..., : scale * size, : scale * size]
        return lr.contiguous(), hr.contiguous()

    def state_dict(self) -> dict:
        """Return the state of the random numbers."""
        return {"patches": self._patches.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Continue where the sampler that `state` comes from stopped."""
        self._patches.load_state_dict(state["patches"])
        self._generator.set_state(state["generator"])


def _border(blur, scale):
    """LR pixels beyond which a patch's edge is hardly felt, for the strongest blur."""
    return max(4, math.ceil(3 * blur / scale) + 1)


def _as_float(image):
    return image if isinstance(image, torch.Tensor) else to_float(image)


def _as_uint8(image):
    return to_uint8(image) if isinstance(image, torch.Tensor) else image


def _blur(images, sigma):
    """Blur each of (N, C, H, W) by its own Gaussian; sigma (N,) in pixels, 0 blurs nothing."""
    radius = int(4 * float(sigma.max()) + 0.5)
    if not radius:
        return images
    distance = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-3)[:, None]) ** 2)  # (N, K)
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(images)
    channels = images.shape[1]
    weights = weights.repeat_interleave(channels, dim=0)[:, None]  # (N * C, 1, K)
    planes = F.pad(images, (radius,) * 4, mode="replicate").flatten(0, 1)[None]  # (1, N * C, H, W)
    planes = F.conv2d(planes, weights[..., None], groups=len(weights))
    planes = F.conv2d(planes, weights[:, :, None], groups=len(weights))
    return planes.view_as(images)


def _add_noise(images, sigma, generator):
    """Add white noise to (N, C, H, W) in 0..1; sigma (N,) in grey levels."""
    noise = torch.randn(images.shape, generator=generator) * (sigma / 255)[:, None, None, None]
    return images + noise.to(images)


def _compress(images, quality):
    """Send each of (N, 3, H, W) through a JPEG of its own quality (N,); 0 leaves it as it is."""
    parts = [
        to_float(jpeg(to_uint8(image[None]), int(q)))[0] if q else image
        for image, q in zip(images.cpu(), quality, strict=True)
    ]
    return torch.stack(parts).to(images.device)
