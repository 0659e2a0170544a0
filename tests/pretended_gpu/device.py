"""A GPU that is not there: the processor does its work, and what a GPU would not bear is noted.

Its tensors are torch's own, on "cuda:0". The runtime that torch asks for memory is runtime.c, which
takes the computer's; so sizes, streams, generators, out of memory are torch's own matters, too. No
kernel can run: while the mode `PretendedGpu` is on, each operation comes here and is computed by the
processor, in the same memory.
"""

import collections
import contextlib
import ctypes
import functools
import linecache
import os
import sys
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
aten = torch.ops.aten

CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}
PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
# These touch no number: torch's own do.
NO_KERNEL = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten._unsafe_view.default,
    aten.resize_.default,
    aten.set_.source_Storage,
    aten.set_.source_Storage_storage_offset,
    aten.set_.source_Tensor,
    aten.record_stream.default,
}
# Their result's size, or the Python number that they return, is known when the GPU has got there.
WAITING = {
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
INDEXING = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
# They take tensors of several devices.
MIXING = INDEXING | {
    aten.copy_.default,
    aten._to_copy.default,
    aten.set_.source_Tensor,
    aten._has_compatible_shallow_copy_type.default,
}


class PretendedGpu(TorchDispatchMode):
    """Computes what is asked of "cuda:0".

    Attributes
    ----------
    waits : Counter
        How often the processor waited for the GPU, by (reason, line of the project).
    trained_on_cpu : Counter
        Steps of optimizers whose weights are on the CPU, by line.
    no_float64 : bool
        Like Apple's GPU: TypeError for a float64 tensor.
    """

    def __init__(self, *, no_float64: bool = False):
        super().__init__()
        self.no_float64 = no_float64
        self.reset()
        self._capability = torch.cuda.get_device_capability()
        self._synchronized = ctypes.c_ulong.in_dll(ctypes.CDLL(None), "pretended_gpu_waits")
        # Backward in this thread, too: in another one no line of the project is to be seen.
        torch.autograd.set_multithreading_enabled(False)
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") is seen
        torch._tensor_str._str = as_text  # torch switches modes off to print
        register_optimizer_step_pre_hook(self._note_training)

    def reset(self):
        """Forget what was counted."""
        self.waits, self.trained_on_cpu = collections.Counter(), collections.Counter()
        torch.cuda.reset_peak_memory_stats()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = tensors_in([*args, *kwargs.values()])
        ours = [tensor for tensor in tensors if tensor.is_cuda]
        device = torch.device(kwargs.get("device") or (ours[0].device if ours else CPU))
        if not ours and device.type != "cuda":
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled():  # compound operations come whole
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        check_devices(func, tensors)
        self._note_waits(func, args, kwargs, ours, device)
        if func in NO_KERNEL or is_view(func):
            result = func(*args, **kwargs)
        else:
            result = self._compute(func, args, kwargs, device)
        if self.no_float64:
            if any(t.is_cuda and t.dtype == torch.float64 for t in tensors_in([result])):
                raise TypeError(f"this GPU has no float64 ({project_line()})")
        return result

    def _compute(self, func, args, kwargs, device):
        """Let the processor do it, with the same memory."""
        original = {}  # by the alias's id

        def to_cpu(leaf):
            if isinstance(leaf, torch.Tensor) and leaf.is_cuda:
                alias = on_cpu(leaf)
                original[id(alias)] = leaf, alias  # both stay alive, so the ids stay theirs
                return alias
            return None if isinstance(leaf, torch.Generator) else leaf

        def to_gpu(leaf):
            if id(leaf) in original:
                return original[id(leaf)][0]
            if isinstance(leaf, torch.Tensor) and device.type == "cuda":
                result = torch.empty_like(leaf, device=device)
                on_cpu(result).copy_(leaf)
                return result
            return leaf

        generators = [
            leaf for leaf in (*args, *kwargs.values()) if isinstance(leaf, torch.Generator)
        ]
        cpu_args = in_each(to_cpu, args)
        cpu_kwargs = {name: in_each(to_cpu, value) for name, value in kwargs.items()}
        if "device" in kwargs:
            cpu_kwargs["device"] = CPU
        if cpu_kwargs.get("pin_memory"):
            cpu_kwargs["pin_memory"] = False
        if self._rounds_to_tf32(func):
            cpu_args = [as_tf32(arg) if isinstance(arg, torch.Tensor) else arg for arg in cpu_args]
        random = contextlib.nullcontext()
        if torch.Tag.nondeterministic_seeded in func.tags:
            random = drawing_from(generators[0] if generators else None, device)
        with random:
            result = func(*cpu_args, **cpu_kwargs)
        return in_each(to_gpu, result)

    def _note_training(self, optimizer, args, kwargs):
        if not all(
            weight.is_cuda for group in optimizer.param_groups for weight in group["params"]
        ):
            self.trained_on_cpu[project_line()] += 1

    def _note_waits(self, func, args, kwargs, ours, device):
        reason = None
        if func in WAITING:
            reason = str(func)
        elif func in INDEXING:
            indices = [i for i in args[1] if isinstance(i, torch.Tensor)]
            if any(i.is_cuda and i.dtype in (torch.bool, torch.uint8) for i in indices):
                reason = "a mask as an index"
            elif any(not i.is_cuda for i in indices):
                reason = "an index on the CPU"
        elif func in (aten._to_copy.default, aten.copy_.default):
            copying = func is aten.copy_.default
            source, target = (
                (args[1].device, args[0].device) if copying else (args[0].device, device)
            )
            blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
            if source.type != target.type and (blocking or target.type == "cpu"):
                reason = f"a copy from {source.type} to {target.type}"
        if reason:
            self.waits[reason, project_line()] += 1

    def synchronizations(self) -> int:
        """How often the runtime was told to wait, as by ``torch.cuda.synchronize()``."""
        return self._synchronized.value

    def _rounds_to_tf32(self, func):
        if self._capability < (8, 0):
            return False
        return (func in CONVOLUTIONS and torch._C._get_cudnn_allow_tf32()) or (
            func in PRODUCTS and torch._C._get_cublas_allow_tf32()
        )


def project_line() -> str:
    """Return the innermost line of the project that led here."""
    frame = sys._getframe(1)
    while frame:
        path = Path(frame.f_code.co_filename)
        own = path.is_relative_to(REPOSITORY) and ".venv" not in path.parts
        if own and path != Path(__file__):
            line = linecache.getline(str(path), frame.f_lineno).strip()
            return f"{path.relative_to(REPOSITORY)}:{frame.f_lineno} {line}"
        frame = frame.f_back
    return "?"


def tensors_in(values):
    """List the tensors among values, and in tuples and lists there."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += tensors_in(value)
    return found


def in_each(function, value):
    """Apply a function to a value, or to each in a tuple or list."""
    if type(value) in (tuple, list):
        return type(value)(in_each(function, part) for part in value)
    return function(value)


def check_devices(func, tensors):
    """Raise RuntimeError, as torch does, if tensors of several devices meet."""
    if func in MIXING:
        if func in INDEXING and not tensors[0].is_cuda:
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
        return
    # A single number may come from the CPU where each result is of one number of each tensor.
    of_one_number = torch.Tag.pointwise in func.tags or str(func).startswith(SINGLE_NUMBERS)
    target = func._schema.arguments[0].alias_info
    if target and target.is_write and not tensors[0].is_cuda:
        of_one_number = False
    others = [t for t in tensors if not t.is_cuda and not (of_one_number and t.ndim == 0)]
    if others and any(t.is_cuda for t in tensors):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"cuda:0 and cpu! ({func}, {project_line()})"
        )


SINGLE_NUMBERS = ("aten._foreach", "aten._fused", "aten._amp", "aten.masked_fill", "aten.fill")


def on_cpu(tensor):
    """Return a CPU tensor in the same memory."""
    storage = tensor.untyped_storage()
    if not storage.nbytes():
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    storage = torch._C._construct_storage_from_data_pointer(
        storage.data_ptr(), CPU, storage.nbytes()
    )
    alias = torch.empty(0, dtype=tensor.dtype)
    return alias.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())


def as_text(tensor, *, tensor_contents=None, to_text=torch._tensor_str._str):
    """Do as torch's own, with the processor."""
    return to_text(tensor.detach().cpu(), tensor_contents=tensor_contents)


@functools.cache
def is_view(func):
    """Tell whether an operation returns its input's memory and writes nothing."""
    returned = [r.alias_info for r in func._schema.returns]
    return bool(returned) and all(alias and not alias.is_write for alias in returned)


def as_tf32(tensor):
    """Round to the 10 bits of TF32, half up."""
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    bits = tensor.view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


@contextlib.contextmanager
def drawing_from(generator, device):
    """Let the processor's random numbers follow from the generator of the GPU."""
    if generator is None and device.type == "cuda":
        generator = torch.cuda.default_generators[0]
    if generator.device.type != device.type:
        raise RuntimeError(
            f"Expected a '{device.type}' device type for generator but found "
            f"'{generator.device.type}' ({project_line()})"
        )
    offset, before = generator.get_offset(), torch.get_rng_state()
    torch.default_generator.manual_seed(hash((generator.initial_seed(), offset)))
    generator.set_offset(offset + 4)
    yield
    torch.set_rng_state(before)
