"""Ctrl-C as a wish that is granted at a good moment."""

import signal
import threading
import time

import torch
from accelerate import Accelerator

__all__ = ["StopRequest"]


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
