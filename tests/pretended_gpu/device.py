"""A GPU that is not there: the processor does its work, and what a GPU would not bear is noted.

Its tensors are torch's own, on "cuda:0": runtime.c gives torch the computer's memory for them, as
much as the GPU would have. So allocation, streams, generators and autograd are torch's. No kernel
can run: while the mode `PretendedGpu` is on, each operation comes here, and the processor computes
it in the same memory.
"""

import collections
import contextlib
import ctypes
import functools
import linecache
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
    only_memory : bool
        Results get their memory and no content: for what the processor would take hours for.
    """

    def __init__(self):
        super().__init__()
        self.no_float64 = self.only_memory = False
        self.reset()
        self._capability = torch.cuda.get_device_capability()
        self._synchronized = ctypes.c_ulong.in_dll(ctypes.CDLL(None), "pretended_gpu_waits")
        # Backward in this thread, too: in another one no line of the project is to be seen.
        torch.autograd.set_multithreading_enabled(False)
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") is seen
        for kind in ("flash", "mem_efficient", "cudnn"):  # attention whose kernels only GPUs have
            getattr(torch.backends.cuda, f"enable_{kind}_sdp")(False)
        torch._tensor_str._str = as_text  # torch switches modes off to print
        register_optimizer_step_pre_hook(self._note_training)

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # what torch puts around it takes longer than it

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
        if torch.is_inference_mode_enabled() or any(t.is_inference() for t in tensors):
            # compound operations come whole
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
        """Let the processor do it, in the same memory; or find out the results' sizes only."""
        if self.only_memory and func is aten._local_scalar_dense.default:
            return 1
        if self.only_memory and not func._schema.returns:
            return None
        original = {}  # by the stand-in's id

        def stand_in(leaf):
            if isinstance(leaf, torch.Tensor) and leaf.is_cuda:
                other = without_content(leaf) if self.only_memory else on_cpu(leaf)
                original[id(other)] = leaf, other  # both stay alive, so the ids stay theirs
                return other
            return None if isinstance(leaf, torch.Generator) else leaf

        def placed(leaf):
            if id(leaf) in original:
                return original[id(leaf)][0]
            if isinstance(leaf, torch.Tensor) and device.type == "cuda":
                result = torch.empty_like(leaf, device=device)
                if not self.only_memory:
                    on_cpu(result).copy_(leaf)
                return result
            if isinstance(leaf, torch.Tensor) and leaf.is_meta:
                return torch.ones_like(leaf, device=device)
            return leaf

        given = (*args, *kwargs.values())
        generators = [value for value in given if isinstance(value, torch.Generator)]
        args = in_each(stand_in, args)
        if self._rounds_to_tf32(func):
            args = in_each(as_tf32, args)
        kwargs = {name: in_each(stand_in, value) for name, value in kwargs.items()}
        if "device" in kwargs:
            kwargs["device"] = torch.device("meta" if self.only_memory else "cpu")
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        random = contextlib.nullcontext()
        if torch.Tag.nondeterministic_seeded in func.tags:
            random = drawing_from(generators[0] if generators else None, device)
        with random:
            result = func(*args, **kwargs)
        return in_each(placed, result)

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
        if func in CONVOLUTIONS:
            allowed = torch._C._get_cudnn_enabled() and torch._C._get_cudnn_allow_tf32()
        else:
            allowed = func in PRODUCTS and torch._C._get_cublas_allow_tf32()
        return allowed and self._capability >= (8, 0)


def project_line() -> str:
    """Return the innermost line of the project that led here."""
    frame = sys._getframe(1)
    while frame:
        path = Path(frame.f_code.co_filename)
        own = path.is_relative_to(REPOSITORY) and "site-packages" not in path.parts
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


def without_content(tensor):
    """Return a tensor that has all but memory."""
    size, stride = tensor.size(), tensor.stride()
    return torch.empty_strided(size, stride, dtype=tensor.dtype, device="meta")


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
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32 or tensor.is_meta:
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
