"""A network as an ONNX file, and the file as a network again."""

import contextlib
import copy
import logging
import os
import warnings
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from srlib._arguments import check_count, check_input
from srlib._atomic import atomic_write

__all__ = ["OnnxNetwork", "export_onnx"]

# Sizes differ from each other and from 0 and 1, which torch.export would take for fixed ones.
_EXAMPLE = (2, 3, 12, 14)


def export_onnx(model: nn.Module, path: str | os.PathLike, *, opset: int = 18) -> Path:
    """Write a network to one ONNX file that takes batches of images of any size.

    The network is traced in evaluation mode, float32, on the CPU; the one given stays as it is.
    The input is called "lr", (N, 3, H, W); the output "sr". The weights are inside the file, those
    of convolutions under the network's names for them, so that tools can pick or spare a layer.

    Parameters
    ----------
    model : nn.Module
        Takes (N, 3, H, W) in 0..1. What it does must not depend on the size or the values of its
        input, apart from what torch.export can follow.
    path : path
        Replaced if it exists, and only if all goes well.
    opset : int
        Version of ONNX's operators. 18, of 2022, is the lowest that torch translates to itself.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError
        If `opset` is not a whole number of at least 1.
    torch.onnx.OnnxExporterError
        If torch cannot trace or translate the network.
    """
    check_count("opset", opset)
    path = Path(path)
    traced = copy.deepcopy(model).float().cpu().eval()
    free = {axis: torch.export.Dim(name) for axis, name in ((0, "N"), (2, "H"), (3, "W"))}
    with atomic_write(path) as partial, _quiet_exporter():
        torch.onnx.export(
            traced,
            (torch.rand(_EXAMPLE),),
            partial,
            input_names=["lr"],
            output_names=["sr"],
            opset_version=opset,
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return path


@contextlib.contextmanager
def _quiet_exporter():
    """Torch's exporter uses what torch has deprecated, and logs that torchvision is missing."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


class OnnxNetwork(nn.Module):
    """An ONNX file that runs as a network, by ONNX Runtime on the CPU.

    It can be given to `srlib.evaluation.upscale` and `evaluate`, and to
    `srlib.measuring.measure` for its latency; parameters, multiply-adds and memory are out of
    torch's sight, so `measure` counts none.

    Parameters
    ----------
    path : path
        Written by `export_onnx`, or any ONNX file with one input (N, 3, H, W), float32, and
        one output.
    threads : int, optional
        How many one operation may use; as many as torch uses now by default.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as a network or takes another input, or `threads` is no whole
        number of at least 1; from `forward` if the input is not float32 (N, 3, H, W) on the CPU.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int | None = None):
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no ONNX file {str(self.path)!r}")
        self.threads = torch.get_num_threads() if threads is None else threads
        check_count("threads", self.threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3  # errors only
        try:
            self._session = onnxruntime.InferenceSession(
                self.path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise ValueError(f"{self.path} holds no network that runs: {error}") from error
        found = [(one.type, len(one.shape), one.shape[1:2]) for one in self._session.get_inputs()]
        if found != [("tensor(float)", 4, [3])] or len(self._session.get_outputs()) != 1:
            raise ValueError(
                f"{self.path} must have one input, float32 (N, 3, H, W), and one output, got "
                f"{[(one.name, one.type, one.shape) for one in self._session.get_inputs()]} and "
                f"{[one.name for one in self._session.get_outputs()]}"
            )
        # Callers ask the first parameter for device and type.
        self._nothing = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> what the file makes of it, as a rule (N, 3, scale * H, scale * W)."""
        check_input(lr)
        if lr.dtype != torch.float32 or lr.device.type != "cpu":
            raise ValueError(f"input must be float32 on the CPU, got {lr.dtype} on {lr.device}")
        (sr,) = self._session.run(None, {self._session.get_inputs()[0].name: lr.detach().numpy()})
        return torch.from_numpy(sr)

    def __deepcopy__(self, memo):
        # A session cannot be copied, and need not be: it keeps nothing between two runs.
        return copy.copy(self)
