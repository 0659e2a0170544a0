"""All that a training is made of, to be saved and restored."""

import math
import os
import signal
import threading
import time

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list

from srlib.training.checkpoint import Checkpoint

__all__ = ["Meter", "StopRequest", "TrainingState", "join_processes"]


def join_processes(device: torch.device) -> PartialState:
    """Return accelerate's view of the processes that ``torchrun`` has started, or of this one.

    Raises
    ------
    ValueError
        If accelerate was asked before, and found fewer: each would train alone, in one folder.
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


class Meter:
    """Means over the steps between two rows of the history.

    Parameters
    ----------
    patches : int
        A step, in all processes together.
    accelerator : Accelerator
        Of the training.
    device : torch.device
        Where the numbers of a step are.
    """

    def __init__(self, patches: int, accelerator: Accelerator, device: torch.device):
        self._patches, self._accelerator, self._device = patches, accelerator, device
        self._seconds, self._values = 0.0, []

    def add(self, loss: torch.Tensor, squared_error: torch.Tensor, norm: torch.Tensor) -> None:
        """Take the numbers of a step, without waiting for a GPU to know them."""
        self._values.append(torch.stack([loss, squared_error, norm]))

    def read(self, seconds: float) -> dict[str, float]:
        """Return the means since the last call, over all processes."""
        mean = self._accelerator.reduce(torch.stack(self._values).mean(dim=0), "mean")
        loss, squared_error, norm = mean.tolist()
        rate = self._patches * len(self._values) / max(seconds - self._seconds, 1e-9)
        self._seconds, self._values = seconds, []
        return {
            "loss": loss,
            "psnr_db": -10 * math.log10(max(squared_error, 1e-12)),
            "gradient_norm": norm,
            "patches_per_s": rate,
        }

    def state_dict(self) -> dict:
        """Return the numbers that no row has yet."""
        values = [self._accelerator.reduce(value, "mean").cpu() for value in self._values]
        return {"seconds": self._seconds, "values": values}

    def load_state_dict(self, state: dict) -> None:
        """Go on with the numbers of `state`."""
        self._seconds = state["seconds"]
        self._values = [value.to(self._device) for value in state["values"]]


class TrainingState:
    """All that a training is made of, to be saved and restored.

    Parameters
    ----------
    accelerator : Accelerator
        Of the training. All of its processes call each method together.
    parts : dict
        Name to network, optimizer, sampler ...: what has a ``state_dict``. "model" and
        "optimizer" must be there.
    may_overflow : bool
        Whether a gradient may be infinite now and then, because a scaler leaves out such a step.
    """

    def __init__(self, accelerator: Accelerator, parts: dict, *, may_overflow: bool = False):
        self._accelerator, self._parts, self._may_overflow = accelerator, parts, may_overflow
        self._seen = self._good = None
        # On a GPU, to look is to wait: it is done when something is shown or saved.
        self._late = any(p.device.type != "cpu" for p in parts["model"].parameters())

    def restore(self, checkpoint: Checkpoint | None) -> tuple[int, float]:
        """Take over what the main process read; return step and seconds, 0 without any."""
        if self._accelerator.num_processes > 1:
            checkpoint = broadcast_object_list([checkpoint])[0]
        if checkpoint is None:
            self._keep()
            return 0, 0.0
        for name, part in self._parts.items():
            part.load_state_dict(checkpoint.state[name])
        for parameter, values in self._parts["optimizer"].state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:  # laid out in memory as the weights are
                    values[name] = torch.empty_like(parameter).copy_(value)
        torch.set_rng_state(checkpoint.state["random"]["cpu"])
        if torch.cuda.is_available() and "cuda" in checkpoint.state["random"]:
            torch.cuda.set_rng_state(checkpoint.state["random"]["cuda"])
        self._keep()
        return checkpoint.step, checkpoint.state["seconds"]

    def collect(self, seconds: float) -> dict:
        """Return all of it, for a checkpoint, once it is sure that the weights are good."""
        self.check()
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        return parts | {"random": random, "seconds": seconds}

    def watch(
        self, step: int, learning_rate: float, loss: torch.Tensor, norm: torch.Tensor
    ) -> None:
        """Take loss and norm of a gradient; on a CPU check them at once, before they do harm."""
        self._seen = step, learning_rate, loss.detach(), norm
        if not self._late:
            self.check()

    def check(self) -> None:
        """Raise FloatingPointError if the last step was not finite, bring back good weights."""
        if self._seen is None:
            return
        step, learning_rate, loss, norm = self._seen
        self._seen = None
        loss = self._accelerator.reduce(loss, "mean")
        if torch.isfinite(loss) and (torch.isfinite(norm) or self._overflows()):
            self._keep()
            return
        if self._good is not None:
            self._parts["model"].load_state_dict(self._good)
        raise FloatingPointError(
            f"the loss in step {step} is {loss.item()}, the norm of its gradient {norm.item()}, "
            f"the learning rate {learning_rate:.3g}. The model has the last good weights. Train "
            "with a lower learning rate and, if the training has a folder, in another one"
        )

    def _overflows(self):
        """Whether float16 explains an infinite gradient: the scaler has not given up yet."""
        return self._may_overflow and self._parts["scaler"].get_scale() >= 1

    def _keep(self):
        if self._late:
            weights = self._parts["model"].state_dict()
            self._good = {name: value.detach().clone() for name, value in weights.items()}


class StopRequest:
    """Wait for Ctrl-C, or a request to terminate, inside of a ``with`` block.

    The first one is kept, to be asked for by `agreed`; a second one raises KeyboardInterrupt at
    once. Only the main thread of a process can listen: in others nothing happens.

    Parameters
    ----------
    accelerator : Accelerator
        Of the training, which may have several processes.
    """

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._first: float | None = None
        # A terminal sends Ctrl-C to all processes, and their launcher passes it on once more.
        self._patience = 1.0 if accelerator.num_processes > 1 else 0.0

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
        """Tell whether to stop; several processes decide together, when it is `due` in all."""
        requested = self._first is not None
        if self._accelerator.num_processes == 1:
            return requested
        if not due:
            return False
        wish = torch.tensor(float(requested), device=self._accelerator.device)
        return self._accelerator.reduce(wish, "sum").item() > 0

    def _request(self, number, frame):
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first >= self._patience:
            raise KeyboardInterrupt
