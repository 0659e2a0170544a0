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
    smallest inputs. Groups, dilation and other devices are left alone.

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
    if not plain or set(_pair(dilation)) != {1}:
        return torch.conv_transpose2d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    # Along each axis output s*i + a is the sum of input i + d times tap a + padding - s*d.
    size, edges, taps, kernel = [], [], [], []
    for length, width, s, margin, extra in zip(
        input.shape[2:],
        weight.shape[2:],
        *map(_pair, (stride, padding, output_padding)),
        strict=True,
    ):
        size.append((length - 1) * s - 2 * margin + width + extra)
        first, last = -((width - 1 - margin) // s), (s - 1 + margin) // s
        blocks = -(-size[-1] // s)
        edges.append((-first, blocks - length + last))
        taps.append((last - first + 1, s))
        front = s * last - margin
        kernel.append((front, (last - first + 1) * s - front - width))
    (rows, row_stride), (columns, column_stride) = taps
    kernel = F.pad(weight, (*kernel[1], *kernel[0]))
    kernel = kernel.reshape(*weight.shape[:2], rows, row_stride, columns, column_stride)
    kernel = kernel.flip(2, 4).permute(1, 3, 5, 0, 2, 4)  # (out, s, s, in, rows, columns)
    out_channels = weight.shape[1]
    phases = F.conv2d(
        F.pad(input, (*edges[1], *edges[0])),
        kernel.reshape(-1, weight.shape[0], rows, columns),
        None if bias is None else bias.repeat_interleave(row_stride * column_stride),
    )  # (N, out * s * s, H, W)
    height, width = phases.shape[2:]
    phases = phases.reshape(-1, out_channels, row_stride, column_stride, height, width)
    output = phases.permute(0, 1, 4, 2, 5, 3).reshape(
        -1, out_channels, height * row_stride, width * column_stride
    )
    return output[:, :, : size[0], : size[1]]


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)
