import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from srlib._fixed_order import FixedOrder

axis = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 4), st.integers(0, 4))


@settings(max_examples=200, deadline=None)
@given(axis, axis, st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_it_is_torchs_transposed_convolution(rows, columns, height, width, with_bias):
    (k, s, p, e), (m, t, q, f) = rows, columns
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, height, width, dtype=torch.float64, generator=generator)
    weight = torch.rand(3, 2, k, m, dtype=torch.float64, generator=generator)
    bias = torch.rand(2, dtype=torch.float64, generator=generator) if with_bias else None
    arguments = (x, weight, bias, (s, t), (p, q), (e % s, f % t))
    size = [
        (n - 1) * a - 2 * b + c + d % a
        for n, a, b, c, d in ((height, s, p, k, e), (width, t, q, m, f))
    ]
    if min(size) < 1:
        return
    expected = F.conv_transpose2d(*arguments)
    with FixedOrder():
        result = F.conv_transpose2d(*arguments)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("channels", [(32, 16), (64, 24), (8, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_part_gives_what_the_whole_gives_there(channels, threads, layout, set_threads):
    set_threads(threads)
    torch.manual_seed(0)
    deconv, x = nn.ConvTranspose2d(*channels, 8, 4, 2), torch.rand(1, channels[0], 240, 240)
    x = x.contiguous(memory_format=layout)
    with torch.inference_mode():
        plain = deconv(x)
        with FixedOrder():
            whole = deconv(x)
            torch.testing.assert_close(whole, plain)
            for height, width in ((150, 150), (235, 184), (170, 190), (145, 147), (240, 144)):
                part = deconv(x[:, :, :height, :width].contiguous(memory_format=layout))
                inner = (..., slice(4 * height - 8), slice(4 * width - 8))
                assert torch.equal(part[inner], whole[inner])


def test_groups_and_dilation_are_torchs_own():
    x = torch.rand(1, 4, 5, 5)
    for options in ({"groups": 2}, {"dilation": 2}):
        deconv = nn.ConvTranspose2d(4, 4, 4, 2, 1, **options)
        with FixedOrder():
            result = deconv(x)
        assert torch.equal(result, deconv(x))


def test_gradients_are_the_same():
    x = torch.rand(1, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    deconv = nn.ConvTranspose2d(3, 2, 9, 4, 4, 3).double()
    expected = torch.autograd.grad(deconv(x).square().sum(), [x, deconv.weight, deconv.bias])
    with FixedOrder():
        result = torch.autograd.grad(deconv(x).square().sum(), [x, deconv.weight, deconv.bias])
    torch.testing.assert_close(result, expected)
