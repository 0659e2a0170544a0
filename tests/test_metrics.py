import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srlib.data import load_images, make_pairs
from srlib.image import read_image, rgb_to_y, to_float, to_uint8
from srlib.metrics import EvalProtocol, psnr, score, ssim
from srlib.resample import imresize

RANDOM = np.random.default_rng(0)
HR = imresize(RANDOM.integers(0, 256, (20, 23, 3), dtype=np.uint8), 3)  # (60, 69, 3), smooth
SR = (HR + RANDOM.normal(0, 6, HR.shape)).clip(0, 255).astype(np.uint8)
uint8_images = arrays(np.uint8, (13, 14, 3))


def second_score(sr, hr, scale):
    """The protocol once more, in the fewest possible terms, with none of srlib."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    a, b = (16 + image.astype(float) @ weights for image in (sr, hr))
    a, b = a[scale:-scale, scale:-scale], b[scale:-scale, scale:-scale]
    similarity = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return 20 * np.log10(255 / np.sqrt(np.mean((a - b) ** 2))), similarity


@given(uint8_images, uint8_images)
def test_psnr_equals_scikit_image(a, b):
    expected = np.inf if (a == b).all() else peak_signal_noise_ratio(a, b, data_range=255)
    assert psnr(a, b, data_range=255) == pytest.approx(expected)
    assert psnr(a / 255, b / 255, data_range=1) == pytest.approx(expected)


@settings(max_examples=30)
@given(uint8_images, uint8_images)
def test_ssim_equals_scikit_image(a, b):
    expected = structural_similarity(
        a,
        b,
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(a, b, data_range=255) == pytest.approx(expected, abs=1e-9)


def test_known_values():
    zero = np.zeros((16, 16))
    assert psnr(zero, zero + 255, data_range=255) == 0
    assert psnr(zero, zero + 25.5, data_range=255) == pytest.approx(20)
    assert psnr(zero, zero, data_range=255) == np.inf
    assert ssim(HR, HR, data_range=255) == pytest.approx(1)
    assert ssim(zero, zero + 255, data_range=255) == pytest.approx(0.0001, rel=1e-3)
    # uint8 would wrap round: 0 - 1 = 255
    assert psnr(np.zeros(4, np.uint8), np.ones(4, np.uint8), data_range=255) == pytest.approx(
        48.1308
    )


def test_tensors_give_a_score_per_image():
    a, b = torch.rand(3, 3, 20, 21, dtype=torch.float64), torch.rand(3, 3, 20, 21).double()
    for metric in (psnr, ssim):
        batch = metric(a, b, data_range=1)
        assert batch.shape == (3,)
        for index in range(3):
            single = metric(
                a[index].permute(1, 2, 0).numpy(), b[index].permute(1, 2, 0).numpy(), data_range=1
            )
            assert batch[index].item() == pytest.approx(single)


def test_score_equals_a_second_computation():
    for scale in (2, 3, 4):
        assert score(SR, HR, scale) == pytest.approx(second_score(SR, HR, scale))


def test_score_of_tensors_equals_score_of_images():
    sr, hr = (torch.cat([to_float(a), to_float(b)]) for a, b in ((SR, HR), (HR, HR)))
    psnrs, ssims = score(sr, hr, 3)
    expected = score(SR, HR, 3)
    assert (psnrs[0].item(), ssims[0].item()) == pytest.approx(expected)
    assert psnrs[1] == torch.inf and ssims[1].item() == pytest.approx(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees():
    sr, hr = (to_float(image).cuda() for image in (SR, HR))
    psnrs, ssims = score(sr, hr, 4)
    assert psnrs.device.type == "cuda"
    assert (psnrs.item(), ssims.item()) == pytest.approx(score(SR, HR, 4))


def test_each_field_of_the_protocol():
    inner = (slice(4, -4), slice(4, -4))
    assert score(SR, HR, 4, EvalProtocol(channel="rgb"))[0] == pytest.approx(
        psnr(SR[inner], HR[inner], data_range=255)
    )
    full = [rgb_to_y(image, full_range=True) for image in (SR, HR)]
    assert score(SR, HR, 4, EvalProtocol(channel="y_full"))[0] == pytest.approx(
        psnr(full[0][inner], full[1][inner], data_range=255)
    )
    luma = [rgb_to_y(image) for image in (SR, HR)]
    assert score(SR, HR, 4, EvalProtocol(border=0))[0] == pytest.approx(psnr(*luma, data_range=255))
    noisy = SR + 0.4
    assert score(noisy, HR, 4) == pytest.approx(score(SR, HR, 4))
    assert score(noisy, HR, 4, EvalProtocol(round_output=False))[0] == pytest.approx(
        psnr(rgb_to_y(noisy)[inner], luma[1][inner], data_range=255)
    )
    assert score(SR, HR, 2.5) == score(SR, HR, 3)


def test_grey_originals_are_their_own_luma():
    grey_sr, grey_hr = SR[..., 1], HR[..., 1]
    as_grey = score(grey_sr, grey_hr, 3)
    assert as_grey[0] == pytest.approx(
        psnr(grey_sr[3:-3, 3:-3], grey_hr[3:-3, 3:-3], data_range=255)
    )
    as_rgb_sr, as_rgb_hr = (np.repeat(g[..., None], 3, axis=2) for g in (grey_sr, grey_hr))
    assert score(as_rgb_sr, grey_hr, 3) == pytest.approx(as_grey)
    assert score(as_rgb_hr, grey_hr, 3) == (np.inf, pytest.approx(1))
    as_rgb = score(as_rgb_sr, as_rgb_hr, 3)
    assert as_rgb[0] - as_grey[0] == pytest.approx(20 * np.log10(255 / 219))


def bicubic(scale):
    return lambda lr: imresize(lr, scale)


@pytest.mark.parametrize(
    "dataset, scale, grey, expected_db, tolerance_db",
    [
        # The protocol's measured value, from uint8 RGB both ways.
        ("Set5", 4, "as_rgb", 28.43, 0.005),
        # Published values; they were computed on the luma alone, which costs up to 0.02 dB.
        ("Set5", 2, "as_rgb", 33.66, 0.02),
        ("Set5", 3, "as_rgb", 30.39, 0.02),
        # The two treatments of the grey file of Set14.
        ("Set14", 4, "as_rgb", 26.09, 0.005),
        ("Set14", 4, "as_grey", 25.99, 0.01),
    ],
)
def test_bicubic_scores_of_the_field(
    shared_data, monkeypatch, dataset, scale, grey, expected_db, tolerance_db
):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    pairs = make_pairs(load_images(dataset, scale, grey=grey), scale)
    scores = [score(bicubic(scale)(pair.lr), pair.hr, scale) for pair in pairs]
    assert np.mean(scores, axis=0)[0] == pytest.approx(expected_db, abs=tolerance_db)


def test_the_last_hundredth_of_the_published_bicubic_scores(shared_data):
    """Papers resized the luma alone, in uint8: 28.42 dB and 0.8104 on Set5 x4."""
    scores = []
    for path in sorted((shared_data / "Set5/x4/HR").glob("*.png")):
        hr = np.floor(rgb_to_y(read_image(path)) + 0.5).astype(np.uint8)
        scores.append(score(imresize(imresize(hr, 1 / 4), 4), hr, 4))
    assert np.round(np.mean(scores, axis=0)[0], 2) == 28.42
    assert np.mean(scores, axis=0)[1] == pytest.approx(0.8104, abs=0.0005)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: psnr(HR, HR[1:], data_range=255), ValueError, r"\(60, 69, 3\) and \(59, 69, 3\)"),
        (lambda: psnr(HR, HR, data_range=0), ValueError, "data_range must be > 0, got 0"),
        (lambda: psnr(HR, torch.zeros(1), data_range=1), TypeError, "both be"),
        (lambda: psnr(HR[:0], HR[:0], data_range=1), ValueError, "hold pixels"),
        (lambda: score(SR, to_float(HR), 4), TypeError, "both be arrays or both be tensors"),
        (lambda: ssim(HR[:10], HR[:10], data_range=255), ValueError, "at least 11x11.*got 10x69"),
        (lambda: ssim(HR[0, 0], HR[0, 0], data_range=255), ValueError, "got 1-D"),
        (lambda: score(HR, HR, 0), ValueError, "scale must be .* >= 1, got 0"),
        (lambda: score(HR, HR, 30), ValueError, "nothing is left of 60x69"),
        (lambda: score(HR[:-4], HR, 4), ValueError, "one size"),
        (lambda: score(HR[..., :2], HR, 4), ValueError, "sr must be .H, W, 3"),
        (lambda: score(HR * np.nan, HR, 4), ValueError, "sr must be free of NaN"),
        (lambda: score(UNIT_SR, UNIT_HR * np.nan, 4), ValueError, "hr must be free of NaN"),
        (lambda: score(SR[..., 0], HR, 4), ValueError, r"got \(60, 69\) and \(60, 69, 3\)"),
        (lambda: score(UNIT_SR[:, :1], UNIT_HR, 4), ValueError, "sr must have colour as hr has"),
        (lambda: score(SR / 255, HR / 255, 4), ValueError, "hr must be uint8.*got float64"),
        (lambda: score(*[torch.zeros(1, 3, 32, 32).byte()] * 2, 4), ValueError, "torch.uint8"),
        (lambda: EvalProtocol(channel="Y"), ValueError, "got 'Y'"),
        (lambda: EvalProtocol(border=-1), ValueError, "got -1"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Two pictures in 0..1, made by hand so that no helper's own contract is in the way.
UNIT_SR, UNIT_HR = (torch.tensor(i.transpose(2, 0, 1)[None] / 255) for i in (SR, HR))
LEVELS_SR, LEVELS_HR = UNIT_SR * 255, UNIT_HR * 255
RANGE = r"must be in 0\.\.1, got .* to 2\d\d.*, with a mean of 1\d\d"
DARK = r"must be in 0\.\.255, got 0.* to [01].*, which is 0\.\.1"


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("prediction", "target", "data_range", "message"),
    [
        (LEVELS_SR, UNIT_HR, 1, f"prediction {RANGE}"),
        (UNIT_SR, LEVELS_HR, 1, f"target {RANGE}"),
        (SR.astype(float), HR / 255, 1, f"prediction {RANGE}"),
        (SR / 255, HR.astype(np.float32), 1, f"target {RANGE}"),
        (SR, HR, 1, "prediction is uint8, so data_range must be above 1 and at most 255, got 1"),
        (SR / 255, HR, 1, "target is uint8"),
        (SR, HR, 65535, "prediction is uint8"),
        (SR * np.uint16(257), HR * np.uint16(257), 255, "prediction is uint16.* got 255"),
        (SR / 255, HR, 255, f"prediction {DARK}"),
        (SR, HR / 255, 255, f"target {DARK}"),
        (SR / 255, HR / 255, 255, f"prediction {DARK}"),
        (UNIT_SR, LEVELS_HR, 255, f"prediction {DARK}"),
        (SR / 255, HR / 255, 65535, "which is 0..1"),
        (np.full(HR.shape, np.inf), HR * 1.0, 255, "with a mean of inf"),
    ],
)
def test_a_range_that_cannot_be_is_refused(metric, prediction, target, data_range, message):
    with pytest.raises(ValueError, match=message):
        metric(prediction, target, data_range=data_range)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: score(LEVELS_SR, LEVELS_HR, 4), f"sr {RANGE}"),
        (lambda: score(LEVELS_SR, UNIT_HR, 4), f"sr {RANGE}"),
        (lambda: score(UNIT_SR, LEVELS_HR, 4), f"hr {RANGE}"),
        (lambda: score(SR / 255, HR, 4), f"sr {DARK}"),
        (lambda: score((SR / 255).astype(np.float32), HR, 4), f"sr {DARK}"),
        (lambda: score(SR * np.uint16(257), HR, 4), "sr is uint16"),
        (lambda: to_uint8(LEVELS_HR), f"tensor {RANGE}"),
        (lambda: to_uint8(LEVELS_HR[0].half()), f"tensor {RANGE}"),
        (lambda: to_uint8(-LEVELS_HR), r"got -2\d\d.*, with a mean of -1\d\d"),
        (lambda: rgb_to_y(HR / 255), f"image {DARK}"),
        (lambda: rgb_to_y(HR * np.uint16(257)), "image is uint16"),
    ],
)
def test_every_entrance_refuses_a_range_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()


NIGHT = (HR // 128).astype(np.uint8)  # 0 and 1 of 255


@pytest.mark.parametrize(
    ("prediction", "target", "data_range"),
    [
        (UNIT_SR * 5 - 3, UNIT_HR, 1),  # an untrained network without a sigmoid
        (UNIT_SR * 0, UNIT_HR, 1),
        (torch.full_like(UNIT_HR, 0.5), UNIT_HR, 1),
        (UNIT_SR / 200, UNIT_HR / 200, 1),  # a night in 0..1
        (np.zeros(HR.shape), HR, 255),  # black, as an answer that is wrong
        (np.full(HR.shape, 0.5), HR, 255),
        (NIGHT, NIGHT, 255),
        (NIGHT * 0.9 - 0.2, NIGHT, 255),  # a night, enlarged and not rounded
        (NIGHT.astype(np.int64), NIGHT.astype(np.int64), 255),
        (HR > 99, HR > 99, 1),
        (SR * np.uint16(4), HR * np.uint16(4), 1023),  # 10 bits
        (SR * np.uint16(257), HR * np.uint16(257), 65535),
        (HR / 127.5 - 1, SR / 127.5 - 1, 2),
        (HR * 219 / 255, SR * 219 / 255, 219),
    ],
)
def test_what_a_picture_may_be_is_scored(prediction, target, data_range):
    assert psnr(prediction, target, data_range=data_range) is not None
    if data_range == 1 and isinstance(target, torch.Tensor):
        score(prediction, target, 4)
        to_uint8(prediction)
    elif target.dtype == np.uint8:
        score(prediction, target, 4)


@given(uint8_images, uint8_images)
def test_no_picture_in_8_bits_is_refused(a, b):
    psnr(a, b, data_range=255)
    psnr(a / 255, b / 255, data_range=1)
    score(a, b, 1)
    rgb_to_y(a)
