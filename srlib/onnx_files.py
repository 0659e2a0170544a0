"""Write a network to an ONNX file, and run an ONNX file as a network."""

import copy
import os
import warnings
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import nn

from srlib._arguments import check_count, check_input
from srlib._atomic import atomic_write
from srlib._files import check_file

__all__ = ["OnnxNetwork", "export_onnx"]

# torch.export takes equal sizes, 0 and 1 for fixed.
_EXAMPLE = (2, 3, 12, 14)


def export_onnx(model: nn.Module, path: str | os.PathLike, *, opset: int = 18) -> Path:
    """Write a network to one ONNX file that takes batches of images of any size.

    A copy is traced in evaluation mode, float32, on the CPU. The file's input is called "lr",
    (N, 3, H, W), its output "sr". It holds the weights too, those of convolutions under the names
    that they have in the network, so that tools can tell layers apart. The exporter's notes, which
    name the files of Python that made each operation, are left out. `path` is replaced only if all
    goes well.

    `model` takes (N, 3, H, W) in 0..1. What it does must not depend on the size or the values of
    its input, except where torch.export can follow; else torch.onnx.OnnxExporterError. `opset` is
    the version of ONNX's operators: 18, of 2022, is the lowest that torch writes directly.
    """
    check_count("opset", opset)
    path = Path(path)
    traced = copy.deepcopy(model).float().cpu().eval()
    sizes = {axis: torch.export.Dim(name) for axis, name in ((0, "N"), (2, "H"), (3, "W"))}
    with atomic_write(path) as partial, warnings.catch_warnings():
        # The exporter uses what torch has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            traced,
            (torch.rand(_EXAMPLE),),
            input_names=["lr"],
            output_names=["sr"],
            opset_version=opset,
            dynamic_shapes=(sizes,),
            dynamo=True,
            verbose=False,
        )
        onnx.save(_without_notes(program.model_proto), partial)
    return path


def _without_notes(model):
    """Nobody who runs the file needs them, and paths tell whose machine it was."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (model, graph, *graph.node, *values):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


class OnnxNetwork(nn.Module):
    """Runs an ONNX file as a network, with ONNX Runtime on the CPU.

    `srlib.evaluation.upscale` and `evaluate` take it. `srlib.measuring.measure` tells its latency,
    but counts no parameters, multiply-adds and memory, because torch does not see them.

    Parameters
    ----------
    path : path
        Written by `export_onnx`, or any ONNX file with one input (N, 3, H, W), float32, and
        one output.
    threads : int, optional
        How many an operation may use; by default as many as torch uses now.
    spinning : bool
        Whether threads without work keep their cores busy for a while, as is ONNX Runtime's
        default. That may make calls faster, and slows down what else runs, such as torch.
    """

    def __init__(
        self, path: str | os.PathLike, *, threads: int | None = None, spinning: bool = False
    ):
        super().__init__()
        self.path = Path(path)
        check_file(self.path, 2**31)  # protobuf holds no more
        self.threads = torch.get_num_threads() if threads is None else threads
        check_count("threads", self.threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        options.log_severity_level = 3  # errors only
        try:
            self._session = onnxruntime.InferenceSession(
                self.path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no other class
            raise ValueError(f"{self.path} holds no network that runs: {error}") from error
        found = [(one.type, len(one.shape), one.shape[1:2]) for one in self._session.get_inputs()]
        if found != [("tensor(float)", 4, [3])] or len(self._session.get_outputs()) != 1:
            raise ValueError(
                f"{self.path} must have one input, float32 (N, 3, H, W), and one output, got "
                f"{[(one.name, one.type, one.shape) for one in self._session.get_inputs()]} and "
                f"{[one.name for one in self._session.get_outputs()]}"
            )
        # Callers take the device and type from the first parameter.
        self._nothing = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> the file's output, usually (N, 3, scale * H, scale * W)."""
        check_input(lr)
        if lr.dtype != torch.float32 or lr.device.type != "cpu":
            raise ValueError(f"input must be float32 on the CPU, got {lr.dtype} on {lr.device}")
        (sr,) = self._session.run(None, {self._session.get_inputs()[0].name: lr.detach().numpy()})
        return torch.from_numpy(sr)

    def __deepcopy__(self, memo):
        # The session cannot be copied, and need not be, because it keeps no state.
        return copy.copy(self)
