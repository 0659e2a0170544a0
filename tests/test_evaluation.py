import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from srlib.data import Pair, make_pairs
from srlib.evaluation import evaluate, published_results, upscale
from srlib.metrics import EvalProtocol, score
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
