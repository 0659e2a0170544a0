"""Transposed convolutions whose sums do not depend on the size of the input."""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["FixedOrder"]


class FixedOrder(TorchFunctionMode):
    """Inside this ``with`` block, the same pixels give the same output in an input of any size.

    On a CPU, torch sums up a transposed convolution in an order that depends on the size of the
    input and the number of threads. Here a convolution computes the same sum, and its channels
    become pixels. It is not slower, and torch keeps the order of convolutions, except in the
    smallest inputs. Groups, dilation, unequal strides and other devices are left alone.

    References
    ----------
    W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?",
    arXiv:1609.07009, 2016.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        function = _transposed if func is torch.conv_transpose2d else func
        return function(*args, **(kwargs or {}))


def _transposed(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """As `torch.conv_transpose2d`: (N, in, H, W) with weights (in, out, kH, kW)."""
    plain = input.ndim == 4 and input.device.type == "cpu" and groups == 1
    plain &= set(_pair(dilation)) == {1} and len(set(_pair(stride))) == 1
    if not plain:
        return torch.conv_transpose2d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    # Without padding, output s * i + a is the sum over d of input i - d times tap s * d + a: a
    # convolution, whose channels are the s * s places a. Padding cuts off the edges.
    s = _pair(stride)[0]
    margins, taps, size = _pair(padding), [], []
    for length, width, margin, extra in zip(
        input.shape[2:], weight.shape[2:], margins, _pair(output_padding), strict=True
    ):
        taps.append(-(-max(width, width - margin + extra) // s))
        size.append((length - 1) * s - 2 * margin + width + extra)
    (rows, columns), (height, width) = taps, weight.shape[2:]
    kernel = F.pad(weight, (0, columns * s - width, 0, rows * s - height))
    kernel = kernel.reshape(*weight.shape[:2], rows, s, columns, s)
    kernel = kernel.flip(2, 4).permute(1, 3, 5, 0, 2, 4)  # (out, s, s, in, rows, columns)
    # Padded here, not by the convolution, whose order then may depend on the size after all.
    phases = F.conv2d(
        F.pad(input, (columns - 1, columns - 1, rows - 1, rows - 1)),
        kernel.reshape(-1, weight.shape[0], rows, columns),
        None if bias is None else bias.repeat_interleave(s * s),
    )  # (N, out * s * s, H + rows - 1, W + columns - 1)
    output = F.pixel_shuffle(phases, s)
    return output.narrow(2, margins[0], size[0]).narrow(3, margins[1], size[1])


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)
