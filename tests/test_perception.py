import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import gamma
from scipy.stats import gennorm, wasserstein_distance

from srlib.assets import data_file, sample_image
from srlib.image import rgb_to_y
from srlib.perception import (
    NaturalModel,
    _asymmetric_gaussian,
    fit_natural_model,
    natural_features,
    niqe,
    power_spectrum,
    sliced_wasserstein,
)
from srlib.resample import imresize

CAMERA = sample_image("camera")
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (64, 80, 3), dtype=np.uint8)


def soft(image, factor=2):
    return imresize(imresize(image, 1 / factor), factor)


# NIQE


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 5.0])
def test_the_fit_finds_the_shape_and_scale_of_scipy_s_generalised_gaussian(shape):
    values = gennorm(shape, scale=1.7).rvs(400_000, random_state=1)
    found, left, right = _asymmetric_gaussian(values)
    assert found == pytest.approx(shape, rel=0.05)
    assert left == pytest.approx(1.7, rel=0.05) and right == pytest.approx(1.7, rel=0.05)


def test_the_fit_finds_two_scales():
    size = 400_000
    left = RANDOM.random(size) < 0.25  # the sides are as likely as they are wide
    half = np.abs(gennorm(1.5).rvs(size, random_state=2))
    values = np.where(left, -1.0 * half, 3.0 * half)
    shape, low, high = _asymmetric_gaussian(values)
    assert shape == pytest.approx(1.5, rel=0.05)
    assert low == pytest.approx(1.0, rel=0.05) and high == pytest.approx(3.0, rel=0.05)


def second_features(luma):
    """The first 18 features of a picture of one patch, from the paper, with none of srlib."""
    options = {"sigma": 7 / 6, "radius": 3, "mode": "nearest"}
    mean = gaussian_filter(luma, **options)
    deviation = np.sqrt(np.abs(gaussian_filter(luma**2, **options) - mean**2))
    x = (luma - mean) / (deviation + 1)

    def fit(v):
        left, right = v[v < 0], v[v > 0]
        sl, sr = np.sqrt((left**2).mean()), np.sqrt((right**2).mean())
        g = sl / sr
        r = np.abs(v).mean() ** 2 / (v**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        shapes = np.arange(200, 10001) / 1000
        a = min(shapes, key=lambda s: (gamma(2 / s) ** 2 / gamma(1 / s) / gamma(3 / s) - r) ** 2)
        c = np.sqrt(gamma(1 / a) / gamma(3 / a))
        return a, sl * c, sr * c

    a, low, high = fit(x)
    found = [a, (low + high) / 2]
    for down, right in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        a, low, high = fit(x * np.roll(np.roll(x, down, 0), right, 1))
        found += [a, (high - low) * gamma(2 / a) / gamma(1 / a), low, high]
    return found, deviation.mean()


def test_features_are_those_of_the_paper():
    patch = CAMERA[100:196, 200:296]
    features, sharpness = natural_features(patch)
    expected, sharp = second_features(rgb_to_y(patch, full_range=True))
    assert features.shape == (1, 36)
    assert features[0, :18] == pytest.approx(expected, rel=1e-6)
    assert sharpness[0] == pytest.approx(sharp)


def test_patches_do_not_overlap_and_the_rest_is_left_out():
    features, sharpness = natural_features(CAMERA[:200, :300])
    assert features.shape == (6, 36) and sharpness.shape == (6,)
    whole, _ = natural_features(CAMERA[:192, :288])
    assert np.array_equal(features, whole)


def test_the_model_is_the_gaussian_of_sharp_patches():
    images = [sample_image(name)[:384, :384] for name in ("brick", "grass", "gravel", "coffee")]
    model = fit_natural_model(images)
    kept = []
    for image in images:
        features, sharpness = natural_features(image)
        kept += [f for f, s in zip(features, sharpness, strict=True) if s > 0.75 * max(sharpness)]
    assert np.allclose(model.mean, np.mean(kept, axis=0))
    assert np.allclose(model.covariance, np.cov(np.array(kept), rowvar=False))


def test_niqe_is_the_distance_of_two_gaussians():
    model = NaturalModel.load()
    features, _ = natural_features(CAMERA)
    difference = features.mean(axis=0) - model.mean
    middle = (np.cov(features, rowvar=False) + model.covariance) / 2
    expected = np.sqrt(difference @ np.linalg.solve(middle, difference))
    assert niqe(CAMERA) == pytest.approx(expected, rel=1e-6)


def test_what_is_blurred_or_noisy_is_less_natural():
    noisy = (CAMERA + np.random.default_rng(1).normal(0, 40, CAMERA.shape)).clip(0, 255)
    for worse in (soft(CAMERA, 4), noisy.astype(np.uint8)):
        assert niqe(worse) > niqe(CAMERA) + 1


def test_an_even_picture_has_no_score():
    assert np.isnan(niqe(np.full((96, 96, 3), 90, np.uint8)))


def test_a_model_comes_back_from_its_file(tmp_path):
    model = NaturalModel(RANDOM.random(36), RANDOM.random((36, 36)))
    model.save(tmp_path / "model.safetensors")
    for a, b in zip(model, NaturalModel.load(tmp_path / "model.safetensors"), strict=True):
        assert np.array_equal(a, b)


def test_the_model_of_the_course_is_what_its_card_says():
    model = NaturalModel.load()
    assert model.mean.shape == (36,) and model.covariance.shape == (36, 36)
    assert np.allclose(model.covariance, model.covariance.T)
    assert np.linalg.eigvalsh(model.covariance).min() > 0
    assert "tools/fit_natural_model.py" in data_file("natural_model/README.md").read_text()


def test_what_has_no_patch_is_refused():
    with pytest.raises(ValueError, match="at least 96x96 pixels, got 64x80"):
        niqe(NOISE)
    with pytest.raises(ValueError, match="at least 37 sharp patches, got 1"):
        fit_natural_model([CAMERA[:96, :96]])


# Patches


def test_one_direction_is_scipy_s_distance():
    """With patches of one pixel, and one level, all can be written down."""
    a, b = NOISE, soft(NOISE)
    found = sliced_wasserstein(a, b, levels=1, patch_size=1, directions=5, seed=3)

    def band(image):
        x = image.astype(np.float32)
        return x - imresize(imresize(x, 0.5), 2)

    import torch

    lines = torch.randn(5, 3, generator=torch.Generator().manual_seed(3)).double().numpy()
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    expected = [
        wasserstein_distance(*(band(image).reshape(-1, 3) @ line for image in (a, b)))
        for line in lines
    ]
    assert found == pytest.approx([np.mean(expected)], rel=1e-4)


def test_patches_are_told_from_other_patches_but_not_places():
    """A picture and its mirror image have other patches; a rolled one the same, but its border."""
    tile = np.tile(NOISE[:32, :32], (4, 4, 1))
    rolled = np.roll(tile, (5, 9), axis=(0, 1))
    inside = sliced_wasserstein(tile, rolled, levels=1)
    assert inside[0] < 0.05 * sliced_wasserstein(tile, soft(tile), levels=1)[0]


def test_a_picture_is_at_no_distance_from_itself_and_softness_counts():
    assert (sliced_wasserstein(CAMERA, CAMERA) == 0).all()
    fine, middle, coarse = sliced_wasserstein(soft(CAMERA), CAMERA)
    assert fine > 2 * middle > 4 * coarse
    more = sliced_wasserstein(soft(CAMERA, 4), CAMERA)
    assert (more > [fine, middle, coarse]).all()


def test_the_seed_decides_the_directions_and_few_are_enough():
    a, b = CAMERA[:128, :128], soft(CAMERA[:128, :128])
    first, again = (sliced_wasserstein(a, b, seed=1) for _ in range(2))
    other = sliced_wasserstein(a, b, seed=2)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert other == pytest.approx(first, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels must be a whole number of at least 1, got 0"),
        ({"levels": 6}, "at least 224 pixels a side, got"),
        ({"patch_size": 1.5}, "patch_size must be a whole number"),
    ],
)
def test_what_cannot_be_compared_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein(NOISE, NOISE, **options)
    with pytest.raises(ValueError, match="must have one size"):
        sliced_wasserstein(NOISE, NOISE[1:])


# The spectrum


def test_a_wave_has_its_power_at_its_frequency():
    x = np.arange(128)
    wave = np.rint(128 + 50 * np.sin(2 * np.pi * x / 8))
    image = np.broadcast_to(wave[None, :, None], (128, 128, 3)).astype(np.uint8)
    for picture in (image, image.transpose(1, 0, 2)):
        frequency, power = power_spectrum(picture)
        assert frequency[np.argmax(power)] == pytest.approx(1 / 8)
        assert frequency[0] > 0 and frequency[-1] == 0.5 and len(frequency) == len(power)


def test_white_noise_has_equal_power_everywhere():
    grey = np.random.default_rng(3).normal(128, 20, (256, 256)).clip(0, 255).astype(np.uint8)
    _, power = power_spectrum(np.stack([grey] * 3, axis=-1))
    assert power[8:].mean() == pytest.approx(400, rel=0.05)
    assert power[8:64].mean() == pytest.approx(power[64:].mean(), rel=0.1)


def test_a_picture_without_a_spectrum_is_refused():
    frequency, power = power_spectrum(CAMERA[:3, :9])
    assert frequency.tolist() == [0.5] and np.isfinite(power).all()
    with pytest.raises(ValueError, match="image must be at least 3x3 pixels, got 2x9"):
        power_spectrum(CAMERA[:2, :9])


def test_an_enlargement_lacks_what_is_fine():
    _, sharp = power_spectrum(CAMERA)
    _, blurred = power_spectrum(soft(CAMERA, 4))
    assert blurred[-50:].mean() < 0.1 * sharp[-50:].mean()
