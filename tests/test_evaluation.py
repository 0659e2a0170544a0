import contextlib
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from srlib import evaluation
from srlib.assets import sample_image
from srlib.data import Pair, make_pairs
from srlib.evaluation import evaluate, published_results, upscale, upscale_bands
from srlib.image import to_float, to_uint8
from srlib.measuring import activation_bytes, receptive_field
from srlib.metrics import EvalProtocol, score
from srlib.models import create_model, load_pretrained
from srlib.resample import imresize

RANDOM = np.random.default_rng(0)
PAIRS = make_pairs(
    {
        name: imresize(RANDOM.integers(0, 256, (10, 12, 3), dtype=np.uint8), 4)
        for name in ("first", "second")
    },
    2,
)


def bicubic(lr):
    return imresize(lr, 2)


def test_a_row_per_image_and_the_mean_of_the_scores(capsys):
    table = evaluate(bicubic, PAIRS, 2)
    assert list(table.index) == ["first", "second", "mean"]
    assert list(table.columns) == ["psnr_db", "ssim"]
    for pair in PAIRS:
        assert tuple(table.loc[pair.name]) == pytest.approx(score(bicubic(pair.lr), pair.hr, 2))
    np.testing.assert_allclose(table.loc["mean"], table.iloc[:2].mean())
    assert "2/2" in capsys.readouterr().err  # the progress bar
    evaluate(bicubic, PAIRS, 2, progress=False)
    assert capsys.readouterr().err == ""


def test_the_protocol_is_used():
    table = evaluate(bicubic, PAIRS, 2, protocol=EvalProtocol(channel="rgb"), progress=False)
    expected = score(bicubic(PAIRS[0].lr), PAIRS[0].hr, 2, EvalProtocol(channel="rgb"))
    assert tuple(table.loc["first"]) == pytest.approx(expected)


def test_the_image_is_named_when_an_output_does_not_fit():
    with pytest.raises(ValueError, match="first: sr and hr must have one size"):
        evaluate(lambda lr: lr, PAIRS, 2, progress=False)
    with pytest.raises(ValueError, match="at least one pair"):
        evaluate(bicubic, [], 2)


def test_an_error_of_the_upscaler_itself_passes_through():
    def broken(lr):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(broken, PAIRS, 2, progress=False)


def test_perfect_restoration_is_infinite():
    pair = Pair("same", PAIRS[0].lr, PAIRS[0].hr)
    table = evaluate(lambda lr: pair.hr, [pair], 2, progress=False)
    assert table.loc["same", "psnr_db"] == np.inf and table.loc["same", "ssim"] == pytest.approx(1)


def test_an_image_without_a_score_is_named_and_not_in_the_mean():
    tiny = Pair("tiny", PAIRS[0].lr[:3, :3], PAIRS[0].hr[:6, :6])
    with pytest.warns(UserWarning, match="tiny: .*at least 11x11.* not in the mean"):
        table = evaluate(bicubic, [PAIRS[0], tiny, PAIRS[1]], 2, progress=False)
    assert list(table.index) == ["first", "tiny", "second", "mean"]
    assert table.loc["tiny"].isna().all()
    expected = evaluate(bicubic, PAIRS, 2, progress=False)
    np.testing.assert_array_equal(table.loc["mean"], expected.loc["mean"])


def test_an_infinite_score_is_not_in_the_mean():
    white = Pair("white", np.full((20, 20, 3), 255, np.uint8), np.full((40, 40, 3), 255, np.uint8))
    with pytest.warns(UserWarning, match="^white: reproduced exactly, not in the mean PSNR"):
        table = evaluate(bicubic, [*PAIRS, white], 2, progress=False)
    assert table.loc["white", "psnr_db"] == np.inf
    assert table.loc["mean", "psnr_db"] == pytest.approx(table["psnr_db"].iloc[:2].mean())
    assert table.loc["mean", "ssim"] == pytest.approx(table["ssim"].iloc[:3].mean())


@pytest.mark.parametrize("names", [("same", "same"), ("mean", "other")])
def test_no_row_of_a_table_takes_the_place_of_another(names):
    pairs = [pair._replace(name=name) for pair, name in zip(PAIRS, names, strict=True)]
    with pytest.raises(ValueError, match=f"got {names[0]!r}"):
        evaluate(bicubic, pairs, 2, progress=False)


def test_a_network_too_large_for_the_memory_gets_a_sentence():
    class Greedy(nn.Conv2d):
        def forward(self, lr):
            return super().forward(torch.empty(2**60))

    with pytest.raises(MemoryError, match="10 x 12 pixels at once; choose a smaller tile"):
        upscale(Greedy(3, 3, 3), np.zeros((10, 12, 3), np.uint8))


def test_published_results_carry_their_sources():
    table = published_results()
    assert set(table["scale"]) == {2, 3, 4}
    assert table["source"].str.len().min() > 20
    assert table["psnr_db"].between(20, 40).all()
    x4 = published_results(4).set_index(["network", "dataset"])["psnr_db"]
    assert x4["bicubic", "Set5"] == 28.42 and x4["SRResNet", "Set5"] == 32.05
    for (network, dataset), psnr_db in x4.items():
        assert network == "bicubic" or psnr_db > x4["bicubic", dataset]
    with pytest.raises(ValueError, match="got 5"):
        published_results(5)


class Repeat(nn.Module):
    """Repeats pixels and shows which mode and type it was called in."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.calls = []

    def forward(self, x):
        self.calls.append((self.training, x.dtype, torch.is_grad_enabled(), tuple(x.shape)))
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) * self.factor


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_upscale_runs_a_network_for_evaluation_and_leaves_it_as_it_was(training, dtype):
    network = Repeat().to(dtype).train(training)
    lr = PAIRS[0].lr
    sr = upscale(network, lr)
    assert sr.dtype == np.uint8
    np.testing.assert_array_equal(sr, lr.repeat(2, axis=0).repeat(2, axis=1))
    assert network.calls == [(False, dtype, False, (1, 3, *lr.shape[:2]))]
    assert network.training == training


def test_upscale_rounds_and_clips():
    network = Repeat()
    with torch.no_grad():
        network.factor.fill_(1.5)
    lr = np.array([[[0, 1, 100], [169, 170, 171]]], np.uint8)
    expected = np.array([[0, 2, 150], [254, 255, 255]])  # halves round up
    np.testing.assert_array_equal(upscale(network, lr)[0, ::2], expected)


def test_upscale_keeps_the_mode_when_the_network_fails():
    class Broken(Repeat):
        def forward(self, x):
            raise ZeroDivisionError

    network = Broken().train()
    with pytest.raises(ZeroDivisionError):
        upscale(network, PAIRS[0].lr)
    assert network.training


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_upscale_refuses_what_is_no_image(image):
    with pytest.raises((TypeError, ValueError), match="image must"):
        upscale(Repeat(), image)


def test_evaluate_takes_a_network_like_a_function():
    network = Repeat()
    table = evaluate(network, PAIRS, 2, progress=False)
    as_function = evaluate(lambda lr: upscale(network, lr), PAIRS, 2, progress=False)
    pd.testing.assert_frame_equal(table, as_function)
    nearest = evaluate(lambda lr: imresize(lr, 2, kernel="nearest"), PAIRS, 2, progress=False)
    pd.testing.assert_frame_equal(table, nearest)


def random_image(height, width):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


def trained(name, scale=2, **options):
    """A network in which no layer is zero, as if it had been trained."""
    torch.manual_seed(0)
    network = create_model(name, scale, **options).eval()
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network


NETWORKS = {
    "deconv": ("SrResNet", {"channels": 8, "num_blocks": 2}),
    "late": ("SrResNet", {"channels": 8, "num_blocks": 2, "hr_channels": 4}),
    "straight": ("SrResNet", {"channels": 8, "num_blocks": 2, "hr_channels": 0}),
    "straight, SiLU": (
        "SrResNet",
        {"channels": 8, "num_blocks": 1, "hr_channels": 0, "activation": "silu"},
    ),
    "shuffle": ("SrResNet", {"channels": 8, "num_blocks": 1, "upsampler": "pixel_shuffle"}),
    "linear": ("SrResNet", {"channels": 8, "num_blocks": 1, "output": "linear"}),
    "resize": ("SrResNet", {"channels": 8, "num_blocks": 1, "upsampler": "resize_conv"}),
    "two stages": ("TwoStageSrResNet", {"channels": 8}),
    "pooling": ("PoolingCNN", {"channels": 16}),
    "plain": ("PlainCNN", {"widths": (8, 8)}),
    "SRCNN": ("SRCNN", {}),
    "FSRCNN": ("FSRCNN", {}),
}
FEW_BETWEEN = {  # only at scale 4
    "few between": (
        "SrResNet",
        {"channels": 8, "num_blocks": 2, "hr_channels": 0, "mid_channels": 6},
    )
}


@pytest.mark.parametrize(
    "network, scale", [*itertools.product(NETWORKS, [2, 3, 4]), ("few between", 4)]
)
def test_tiles_make_the_picture_that_one_piece_makes(network, scale):
    name, options = (NETWORKS | FEW_BETWEEN)[network]
    network = trained(name, scale, **options)
    image = random_image(151, 163)
    whole = upscale(network, image)
    assert whole.shape == (151 * scale, 163 * scale, 3)
    np.testing.assert_array_equal(upscale(network, image, tile=90), whole)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_any_number_of_threads_gives_the_same_tiles(output, threads, set_threads):
    network = trained("SrResNet", 4, channels=8, num_blocks=2, hr_channels=4, output=output)
    set_threads(threads)
    for size in ((151, 163), (235, 184), (178, 201)):
        image = random_image(*size)
        np.testing.assert_array_equal(upscale(network, image, tile=90), upscale(network, image))


@settings(max_examples=8)
@given(st.integers(20, 260), st.integers(60, 170), st.integers(40, 200))
def test_any_size_in_any_tiles(height, width, tile):
    network = trained("TwoStageSrResNet", channels=4)
    image = random_image(height, width)
    pieces, whole = upscale(network, image, tile=tile), upscale(network, image)
    np.testing.assert_array_equal(pieces, whole)


class Watched(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
        self.sizes = []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[-2:]))
        return self.network(x)


@pytest.mark.parametrize("ensemble", [False, True])
def test_what_the_network_sees_at_once_is_bounded_by_the_tile(ensemble, capsys):
    network = Watched(trained("PlainCNN", widths=(4,)))
    radius, _ = receptive_field(network)
    image = random_image(440, 370)
    upscale(network, image, tile=170, ensemble=ensemble, progress=True)
    assert len(network.sizes) == 3 * 3 * (8 if ensemble else 1)
    assert max(map(max, network.sizes)) == 170 + 2 * radius
    assert "9/9" in capsys.readouterr().err
    upscale(network, image, tile=170)
    assert capsys.readouterr().err == ""


def test_a_large_image_is_cut_so_that_the_network_stays_within_its_memory(monkeypatch):
    network = trained("SrResNet", 4, channels=8, num_blocks=1)
    image = random_image(300, 410)
    whole = upscale(network, image)
    for memory in (60, 100, 1000):  # MiB
        monkeypatch.setattr(evaluation, "_MEMORY", memory * 2**20)
        watched = Watched(network)
        np.testing.assert_array_equal(upscale(watched, image), whole)
        sizes = [size for size in watched.sizes if size != (48, 48) and 6 not in size]
        pixels = max(height * width for height, width in sizes)
        assert pixels * activation_bytes(network) <= 1.1 * memory * 2**20
        seen = sum(height * width for height, width in sizes)
        assert len(sizes) == 1 if memory == 1000 else seen < 2 * 300 * 410


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 40), st.integers(10_000, 10**6))
def test_tiles_fit_and_waste_little(height, width, radius, most):
    rows, columns = evaluation._best_tile(height, width, radius, most)
    assert 1 <= rows <= height and 1 <= columns <= width
    seen = min(height, rows + 2 * radius) * min(width, columns + 2 * radius)
    assert seen <= max(most, (2 * radius + 64) ** 2)
    if height * width <= most:
        assert (rows, columns) == (height, width)


@pytest.mark.parametrize("tile", [None, 70])
def test_bands_are_the_rows_of_the_picture(tile):
    network = trained("SrResNet", 3, channels=4, num_blocks=1).train()
    image = random_image(150, 160)
    bands = list(upscale_bands(network, image, tile=tile))
    assert len(bands) == (1 if tile is None else 3)
    sr = upscale(network, image, tile=tile)
    np.testing.assert_array_equal(np.concatenate(bands), sr)
    deep = image.astype(np.uint16) * 257  # the same picture in 16 bits
    levels = np.concatenate(list(upscale_bands(network, deep, tile=tile)))
    assert levels.dtype == np.uint16 and np.abs(levels / 257 - sr).max() < 0.51
    assert len(np.unique(levels)) > 1000
    grey = image[..., :1]
    colour = np.concatenate(list(upscale_bands(network, grey.repeat(3, 2), tile=tile)))
    one = np.concatenate(list(upscale_bands(network, grey, tile=tile)))
    assert one.shape == (450, 480, 1) and np.abs(one - colour.mean(2, keepdims=True)).max() < 1
    bands = upscale_bands(network, image, tile=70)
    next(bands)
    bands.close()  # whoever stops in the middle leaves the network as it was
    assert network.training and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("has", [True, False])
def test_half_precision_differs_little_and_is_said_to_be_slow(has, monkeypatch):
    monkeypatch.setattr(evaluation, "cpu_has_bfloat16", lambda: has)
    network, image = load_pretrained("srresnet_small_x4"), sample_image("coffee")[100:160, 100:190]
    exact = upscale(network, image)
    with contextlib.nullcontext() if has else pytest.warns(UserWarning, match="slower"):
        half = upscale(network, image, half=True)
    difference = np.abs(exact.astype(int) - half)
    assert 0 < difference.mean() < 0.2 and difference.max() <= 5


def test_an_image_within_one_tile_goes_through_as_it_is():
    network = Watched(nn.Sequential(trained("FSRCNN"), nn.InstanceNorm2d(3)))
    upscale(network, random_image(20, 31), tile=31)  # no receptive field is asked for
    assert network.sizes == [(20, 31)]


@pytest.mark.parametrize("tile", [0, -3, 2.5])
def test_tile_must_be_a_whole_number(tile):
    with pytest.raises(ValueError, match=f"tile must .* got {tile}"):
        upscale(trained("FSRCNN"), random_image(9, 9), tile=tile)


def test_tiles_refuse_what_one_piece_refuses():
    class Mean(nn.Module):
        def forward(self, x):
            return x - x.mean() * self.factor

    network = Mean().train()
    network.register_parameter("factor", nn.Parameter(torch.ones(())))
    with pytest.raises(ValueError, match="Mean sees more than"):
        upscale(network, random_image(30, 30), tile=10)
    assert network.training
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="image must"):
            upscale(trained("FSRCNN"), image, tile=2)


def test_self_ensemble_is_the_mean_over_eight_turns_before_rounding():
    network = trained("SrResNet", channels=4, num_blocks=1)
    image = random_image(12, 17)
    total = 0
    with torch.inference_mode():
        for quarter_turns in range(4):
            for mirrored in (False, True):
                turned = to_float(image).rot90(quarter_turns, (2, 3))
                sr = network(turned.flip(3) if mirrored else turned)
                total += (sr.flip(3) if mirrored else sr).rot90(-quarter_turns, (2, 3))
    expected = to_uint8(total / 8)
    difference = expected.astype(int) - upscale(network, image, ensemble=True)
    assert abs(difference).max() <= 1 and (difference != 0).mean() < 0.001  # order of the sum
    assert (expected != upscale(network, image)).mean() > 0.1


def test_self_ensemble_turns_with_the_image():
    network = trained("PoolingCNN", channels=4)
    image = random_image(13, 18)
    sr = upscale(network, image, ensemble=True)
    for turn in (np.rot90, np.flipud, np.fliplr, lambda x: x.swapaxes(0, 1)):
        difference = upscale(network, turn(image), ensemble=True).astype(int) - turn(sr)
        assert abs(difference).max() <= 1 and (difference != 0).mean() < 0.001
    assert (upscale(network, np.flipud(image)) != np.flipud(upscale(network, image))).mean() > 0.1


@pytest.mark.parametrize("network", ["deconv", "two stages", "pooling"])
def test_self_ensemble_in_tiles_is_that_in_one_piece(network):
    name, options = NETWORKS[network]
    network = trained(name, **options)
    image = random_image(151, 162)  # no multiples of the pooling: turned, the cells lie elsewhere
    tiled = upscale(network, image, tile=90, ensemble=True)
    np.testing.assert_array_equal(tiled, upscale(network, image, ensemble=True))


@pytest.mark.parametrize(("value", "level"), [(50.0, 255), (-3e4, 0)])
def test_a_network_that_is_far_beside_the_range_is_clipped(value, level):
    """Early in a training it may be, and come back: its validation must not end the training."""
    model = nn.Conv2d(3, 3, 1)
    nn.init.constant_(model.bias, value)
    assert (upscale(model, PAIRS[0].lr) == level).all()
