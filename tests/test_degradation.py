import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.degradation import (
    DegradedSampler,
    RandomDegradation,
    degrade,
    degrade_pairs,
    jpeg,
)
from srlib.resample import imresize

CAT = sample_image("chelsea")[:160, 100:260]
FLAT = np.full((64, 48, 3), 120, np.uint8)
NOTHING = RandomDegradation(kernels=("bicubic",), left_out=1.0)


def sampler(degradation, **options):
    options = {"lr_patch_size": 8, "batch_size": 4, "seed": 3} | options
    return DegradedSampler(make_pairs({"cat": CAT}, 4), 4, degradation, **options)


def test_without_terms_it_is_the_shrinking_of_the_benchmarks():
    np.testing.assert_array_equal(degrade(CAT, 4), imresize(CAT, 1 / 4))
    lanczos = imresize(CAT, 1 / 2, kernel="lanczos3")
    np.testing.assert_array_equal(degrade(CAT, 2, kernel="lanczos3"), lanczos)


def test_blur_is_scipy_s():
    order = ("shrink", "blur", "noise", "jpeg")
    blurred = degrade(CAT, 2, blur=3, order=order)
    small = imresize(CAT, 1 / 2).astype(float)
    expected = gaussian_filter(small, (1.5, 1.5, 0), mode="nearest")  # 3 HR pixels
    assert np.abs(blurred - expected).max() <= 0.51


def test_noise_has_its_standard_deviation_in_each_channel():
    noisy = degrade(np.full((400, 400, 3), 120, np.uint8), 2, noise=7) - 120.0
    np.testing.assert_allclose(noisy.std(axis=(0, 1)), 7, rtol=0.02)
    assert np.abs(np.corrcoef(noisy.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    again = degrade(FLAT, 2, noise=7), degrade(FLAT, 2, noise=7), degrade(FLAT, 2, noise=7, seed=1)
    assert (again[0] == again[1]).all() and (again[0] != again[2]).any()


def test_noise_does_not_turn_white_into_black():
    assert degrade(np.full_like(FLAT, 255), 2, noise=5).min() > 200


def test_jpeg_is_pillow_s():
    file = io.BytesIO()
    Image.fromarray(CAT).save(file, "JPEG", quality=40)
    np.testing.assert_array_equal(jpeg(CAT, 40), np.array(Image.open(file)))
    np.testing.assert_array_equal(degrade(CAT, 4, quality=40), jpeg(imresize(CAT, 1 / 4), 40))
    assert jpeg(CAT[..., 0], 40).shape == CAT.shape[:2]


def test_the_order_is_kept():
    orders = ("blur", "shrink", "noise", "jpeg"), ("jpeg", "noise", "shrink", "blur")
    first, second = (degrade(CAT, 4, blur=1, noise=10, quality=30, order=o) for o in orders)
    assert np.abs(first - second.astype(float)).mean() > 2
    last = imresize(jpeg(CAT, 30), 1 / 4)
    np.testing.assert_array_equal(degrade(CAT, 4, quality=30, order=orders[1]), last)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hr": CAT / 255}, "hr must be uint8"),
        ({"scale": 5}, "scale must be 2, 3 or 4, got 5"),
        ({"blur": -1}, "blur must be at least 0, got -1"),
        ({"noise": float("nan")}, "noise must be at least 0, got nan"),
        ({"quality": 0}, "quality must be in 1..100, got 0"),
        ({"kernel": "cubic"}, "got 'cubic'"),
        ({"order": ("blur", "jpeg")}, "order must hold blur, shrink, noise, jpeg, each once"),
    ],
)
def test_bad_values_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        degrade(**{"hr": CAT, "scale": 4, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"noise": (5, 2)}, "noise must be two numbers in 0..255, the lower one first, got 5 and"),
        ({"quality": (0, 50)}, "quality must be two numbers in 1..100"),
        ({"kernels": ("bicubic", "b")}, "kernels must be of nearest, .*got 'b'"),
        ({"kernels": ()}, "kernels must hold at least one"),
        ({"left_out": 1.5}, "left_out must be in 0..1, got 1.5"),
    ],
)
def test_ranges_that_are_none_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        RandomDegradation(**changed)


def test_what_is_drawn_fills_the_ranges():
    generator = torch.Generator().manual_seed(0)
    drawn = [RandomDegradation().draw(500, generator) for _ in range(8)]
    assert {kernel for _, kernel in drawn} > {"bicubic", "box"}
    blur, noise, quality = torch.cat([values for values, _ in drawn], dim=1)
    for values, low, high in ((blur, 0, 2), (noise, 0, 15), (quality, 30, 95)):
        there = values[values > 0]
        assert len(there) / len(values) == pytest.approx(0.7, abs=0.03)
        assert low <= there.min() < low + (high - low) / 20
        assert high - (high - low) / 20 < there.max() <= high
    assert (quality == quality.round()).all()
    without, _ = RandomDegradation(quality=None, left_out=0.0).draw(9, generator)
    assert (without[2] == 0).all() and (without[:2] > 0).all()


def test_each_term_is_left_out_for_itself():
    drawn, _ = RandomDegradation(left_out=0.5).draw(500, torch.Generator().manual_seed(0))
    assert len(torch.unique(drawn == 0, dim=1).T) == 8  # of three terms any may be there


def test_what_is_left_out_leaves_the_patches_of_clean_pictures():
    lr, hr = sampler(NOTHING).sample()
    assert lr.shape == (4, 3, 8, 8) and hr.shape == (4, 3, 32, 32)
    np.testing.assert_array_equal(lr * 255, (lr * 255).round())
    _, whole = PatchSampler(
        make_pairs({"cat": CAT}, 4), 4, lr_patch_size=24, batch_size=4, seed=3
    ).sample()
    shrunk = (imresize(whole, 1 / 4) * 255).round().clamp(0, 255) / 255  # (4, 3, 24, 24)
    places = [(top, left) for top in range(4, 12) for left in range(4, 12)]
    found = [(t, s) for t, s in places if torch.equal(shrunk[..., t : t + 8, s : s + 8], lr)]
    assert len(found) == 1
    top, left = (4 * place for place in found[0])
    torch.testing.assert_close(whole[..., top : top + 32, left : left + 32], hr)


def test_each_patch_gets_its_own_noise_blur_and_jpeg():
    flat = make_pairs({"flat": np.full((120, 120, 3), 120, np.uint8)}, 4)
    noisy = RandomDegradation(noise=(1, 15), left_out=0.0)
    lr, _ = DegradedSampler(flat, 4, noisy, lr_patch_size=8, batch_size=6).sample()
    spread = 255 * lr.std(dim=(1, 2, 3))
    assert len({round(float(value), 2) for value in spread}) == 6 and spread.min() > 0
    # one patch alone is degraded as it is among others
    hr = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    from srlib.degradation import _blur, _compress

    sigma, quality = torch.tensor([0.0, 0.7, 2.0]), torch.tensor([0, 40, 90])
    for n in range(3):
        alone = _blur(hr[n : n + 1], sigma[n : n + 1])
        torch.testing.assert_close(_blur(hr, sigma)[n : n + 1], alone)
        expected = _compress(hr[n : n + 1], quality[n : n + 1])
        assert torch.equal(_compress(hr, quality)[n : n + 1], expected)


@pytest.mark.parametrize("blur", [2, 10])
def test_the_edge_of_a_patch_is_not_felt(blur):
    only_blur = RandomDegradation((blur, blur), (0, 0), None, ("bicubic",), left_out=0.0)
    pairs = make_pairs({"cat": CAT}, 2)
    lr, hr = DegradedSampler(pairs, 2, only_blur, lr_patch_size=8, augment=False).sample()
    whole = degrade(CAT, 2, blur=blur) / 255
    originals, blurred = (
        np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))
        for image, side in ((CAT[..., 0], 16), (whole, 8))
    )  # (145, 145, 16, 16), (73, 73, 3, 8, 8)
    for patch, original in zip(lr.numpy(), (hr * 255).round().numpy(), strict=True):
        ((top, left),) = np.argwhere((originals == original[0]).all(axis=(2, 3)))
        assert np.abs(blurred[top // 2, left // 2] - patch).max() < 1.01 / 255  # by rounding


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_blurs_of_the_default_keep_their_window(scale):
    """The patches of all trainings so far depend on it."""
    assert DegradedSampler.window(24, RandomDegradation().blur[1], scale) == 40
    assert DegradedSampler.window(24, 20, scale) > 40
    with pytest.raises(ValueError, match="cat: lr_patch_size must be at most"):
        sampler(RandomDegradation(blur=(0, 20)), lr_patch_size=24)


def test_it_goes_on_where_it_stopped():
    first, second = sampler(RandomDegradation()), sampler(RandomDegradation())
    first.sample()
    state = first.state_dict()
    after = first.sample()
    second.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(after, second.sample(), strict=True))


def test_two_processes_share_a_batch():
    both = [sampler(RandomDegradation(noise=(0, 0)), batch_size=2) for _ in range(2)]
    parts = [sampler.sample(k, 2) for k, sampler in enumerate(both)]
    whole = sampler(RandomDegradation(noise=(0, 0)), batch_size=4).sample()
    for k in range(2):
        torch.testing.assert_close(torch.cat([part[k] for part in parts]), whole[k])


def test_each_process_has_noise_of_its_own():
    noise = RandomDegradation((0, 0), (10, 10), None, ("bicubic",), left_out=0.0)
    flat = make_pairs({"flat": np.full((120, 120, 3), 120, np.uint8)}, 4)
    first, second = (
        DegradedSampler(flat, 4, noise, lr_patch_size=8).sample(k, 2)[0] for k in range(2)
    )
    assert first.std() > 0 and not torch.equal(first, second)


def test_pairs_are_degraded_each_in_its_own_way():
    pairs = make_pairs({name: CAT for name in "abc"}, 4)
    degraded = degrade_pairs(pairs, 4, RandomDegradation(left_out=0.0))
    assert [pair.name for pair in degraded] == ["a", "b", "c"]
    assert all((pair.hr == CAT).all() for pair in degraded)
    assert len({pair.lr.tobytes() for pair in degraded}) == 3
    again = degrade_pairs(pairs, 4, RandomDegradation(left_out=0.0))
    assert [a.lr.tobytes() for a in again] == [b.lr.tobytes() for b in degraded]
