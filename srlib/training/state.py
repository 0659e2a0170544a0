"""The state of a training, its means, its processes, and how it is stopped."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list

from srlib.training.checkpoint import Checkpoint

__all__ = ["Meter", "StopRequest", "TrainingState", "in_main_process", "join_processes"]


def join_processes(device: torch.device) -> PartialState:
    """Return accelerate's view of the processes that ``torchrun`` has started, or of this one.

    ValueError if accelerate was used before and found fewer: each would train alone, in one folder.
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    # Unless told that there is no GPU, accelerate lets each process on a CPU train alone.
    state = PartialState(cpu=launched > 1 and device.type == "cpu")
    if state.num_processes != launched:
        raise ValueError(
            f"{launched} processes were started (WORLD_SIZE), and accelerate has joined "
            f"{state.num_processes}; make no Accelerator or PartialState before the training"
        )
    return state


def in_main_process(accelerator: Accelerator, call: Callable[[], None]) -> None:
    """Call it in the main process only; what it raises there is raised in all processes."""
    errors: list[Exception | None] = [None]
    if accelerator.is_main_process:
        try:
            call()
        except (OSError, ValueError) as error:
            errors = [error]
    if accelerator.num_processes > 1:
        broadcast_object_list(errors)
    if errors[0] is not None:
        raise errors[0]


class Meter:
    """Means over the steps between two rows of the history, over all processes.

    `patches` is their number in a step, in all processes together; `device` is where the numbers
    of a step are.
    """

    def __init__(self, patches: int, accelerator: Accelerator, device: torch.device):
        self._patches, self._accelerator, self._device = patches, accelerator, device
        self._seconds, self._values = 0.0, []

    def add(self, loss: torch.Tensor, squared_error: torch.Tensor, norm: torch.Tensor) -> None:
        """Add the numbers of a step, without waiting for the GPU."""
        self._values.append(torch.stack([loss, squared_error, norm]))

    def means(self) -> torch.Tensor:
        """Return the means since the last `read`, (3,), where the numbers of a step are."""
        return self._accelerator.reduce(torch.stack(self._values).mean(dim=0), "mean")

    def read(self, seconds: float, means: list[float]) -> dict[str, float]:
        """Return a row of `means`, as numbers, and begin anew; `seconds` is the time now."""
        loss, squared_error, norm = means
        rate = self._patches * len(self._values) / max(seconds - self._seconds, 1e-9)
        self._seconds, self._values = seconds, []
        return {
            "loss": loss,
            "psnr_db": -10 * math.log10(max(squared_error, 1e-12)),
            "gradient_norm": norm,
            "patches_per_s": rate,
        }

    def state_dict(self) -> dict:
        """Return the numbers that are in no row yet."""
        values = [self._accelerator.reduce(value, "mean").cpu() for value in self._values]
        return {"seconds": self._seconds, "values": values}

    def load_state_dict(self, state: dict) -> None:
        """Continue with what `state_dict` returned."""
        self._seconds = state["seconds"]
        self._values = [value.to(self._device) for value in state["values"]]


class TrainingState:
    """Everything that a checkpoint holds. All processes call each method together.

    `parts` are network, optimizer, sampler ... by name: what has a ``state_dict``; "model" and
    "optimizer" must be there. With `may_overflow` there is a "scaler", which skips a step whose
    gradient is infinite.
    """

    def __init__(self, accelerator: Accelerator, parts: dict, *, may_overflow: bool = False):
        self._accelerator, self._parts, self._may_overflow = accelerator, parts, may_overflow
        self._unchecked = self._good = None
        # To look at a number on a GPU is to wait for it: done only before a row or checkpoint.
        self._late = any(p.device.type != "cpu" for p in parts["model"].parameters())

    def restore(self, checkpoint: Checkpoint | None) -> tuple[int, float]:
        """Load what the main process has read; return step and seconds, 0 without a checkpoint."""
        if self._accelerator.num_processes > 1:
            checkpoint = broadcast_object_list([checkpoint])[0]
        if checkpoint is None:
            self._keep()
            return 0, 0.0
        for name, part in self._parts.items():
            # "auto" may mean another precision on this device, which needs a scaler, or none.
            if name != "scaler" or name in checkpoint.state:
                part.load_state_dict(checkpoint.state[name])
        for parameter, values in self._parts["optimizer"].state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:  # laid out in memory as the weights are
                    values[name] = torch.empty_like(parameter).copy_(value)
        random = checkpoint.state["random"]
        torch.set_rng_state(random["cpu"])
        if torch.cuda.is_available() and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])
        self._keep()
        return checkpoint.step, checkpoint.state["seconds"]

    def collect(self, seconds: float) -> dict:
        """Return everything for a checkpoint, after a `check`."""
        self.check()
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        return parts | {"random": random, "seconds": seconds}

    def watch(
        self, step: int, learning_rate: float, loss: torch.Tensor, norm: torch.Tensor
    ) -> None:
        """Note loss and gradient norm; on a CPU check them before they change the weights."""
        self._unchecked = step, learning_rate, loss.detach(), norm
        if not self._late:
            self.check()

    def check(self, also: torch.Tensor | None = None) -> list[float]:
        """If the last step was not finite, restore the last good weights: FloatingPointError.

        Return what is in a tensor `also`, (N,), read at the same time: to read is to wait.
        """
        if self._unchecked is None:
            return [] if also is None else also.tolist()
        step, learning_rate, loss, norm = self._unchecked
        self._unchecked = None
        loss = self._accelerator.reduce(loss, "mean")
        numbers = torch.stack([loss, norm.to(loss)])
        numbers = numbers if also is None else torch.cat([numbers, also.to(loss)])
        loss, norm, *others = numbers.tolist()
        # In float16 the scaler first lowers its scale; below 1 the gradient itself is at fault.
        if math.isfinite(loss) and (
            math.isfinite(norm) or (self._may_overflow and self._parts["scaler"].get_scale() >= 1)
        ):
            self._keep()
            return others
        if self._good is not None:
            self._parts["model"].load_state_dict(self._good)
        raise FloatingPointError(
            f"the loss in step {step} is {loss}, the norm of its gradient {norm}, "
            f"the learning rate {learning_rate:.3g}. The model has the last good weights. Train "
            "with a lower learning rate and, if the training has a folder, in another one"
        )

    def _keep(self):
        if not self._late:
            return
        weights = self._parts["model"].state_dict()
        if self._good is None:
            self._good = {name: value.detach().clone() for name, value in weights.items()}
        else:  # in one go: a kernel for each would take as long as the step, where all are logged
            torch._foreach_copy_(list(self._good.values()), list(weights.values()))


class StopRequest:
    """Stop after the current step on Ctrl-C or SIGTERM; a second one raises KeyboardInterrupt.

    For a ``with`` block. Outside the main thread Python delivers no signals, and nothing happens.
    """

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._first: float | None = None
        # A terminal sends Ctrl-C to all processes, and their launcher passes it on once more.
        self._patience_s = 1.0 if accelerator.num_processes > 1 else 0.0

    def __enter__(self):
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def agreed(self, due: bool) -> bool:
        """Tell whether to stop; several processes ask each other where `due`, the same in all."""
        requested = self._first is not None
        if self._accelerator.num_processes == 1:
            return requested
        if not due:
            return False
        votes = torch.tensor(float(requested), device=self._accelerator.device)
        return self._accelerator.reduce(votes, "sum").item() > 0

    def _request(self, number, frame):
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first >= self._patience_s:
            raise KeyboardInterrupt
