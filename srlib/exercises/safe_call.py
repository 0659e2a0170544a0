"""Call a learner's function, which may do anything, and report what happened."""

import _thread
import copy
import inspect
import random
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["Misfit", "NotAttempted", "Outcome", "TimeUp", "safe_call"]


@dataclass(frozen=True)
class Outcome:
    """What a call did: the value it returned or the error it raised, and the arguments it changed.

    `changed` holds their positions and keywords.
    """

    value: Any = None
    error: BaseException | None = None
    changed: tuple[int | str, ...] = ()


class Misfit(Exception):
    """The function cannot be called with the arguments; the text says why."""


class NotAttempted(Exception):
    """The function has not been written yet."""


class TimeUp(BaseException):
    """The call ran too long. No Exception, so that ``except Exception`` does not catch it."""


def safe_call(
    function: Callable, arguments: tuple, keywords: dict[str, Any], *, limit_s: float | None = None
) -> Outcome:
    """Call a function with deep copies of the arguments, and catch all errors, also SystemExit.

    Every call has the same random states, which are restored afterwards. Warnings are silenced,
    printed text is not. Only the KeyboardInterrupt of Ctrl-C or the stop button gets out.

    The call is stopped after `limit_s` seconds (None for no limit), if it runs on the main thread.
    That happens between two Python instructions, not inside a long call of NumPy.
    """
    given, given_keywords = copy.deepcopy((arguments, keywords))
    value, error = None, None
    with _same_circumstances():
        try:
            value = _within(limit_s, lambda: function(*given, **given_keywords))
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            error = raised
    if inspect.iscoroutine(value):
        value.close()  # otherwise Python warns that it was never awaited
    before = dict(enumerate(arguments)) | keywords
    after = dict(enumerate(given)) | given_keywords
    changed = tuple(n for n in before if _fingerprint(before[n]) != _fingerprint(after[n]))
    return Outcome(value, error, changed)


@contextmanager
def _same_circumstances() -> Iterator[None]:
    """Fix the random states and silence warnings, and restore both afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with (
        warnings.catch_warnings(action="ignore"),
        np.errstate(all="ignore"),
        torch.random.fork_rng(devices=[]),
    ):
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)  # torch.manual_seed would also touch the GPUs
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _within(limit_s: float | None, call: Callable[[], Any]) -> Any:
    """Return ``call()``; raise `TimeUp` in it after `limit_s` seconds, if on the main thread.

    A watchdog thread interrupts the main thread as Ctrl-C does, because that works on Windows too.
    The flag `rung` tells the two apart. No interrupt can come late: the watchdog ends before the
    old handler returns, and `signal.signal` delivers what is pending first.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if limit_s is None or not on_main_thread or signal.getsignal(signal.SIGINT) is None:
        return call()
    if limit_s <= 0:  # spent by earlier calls; a short one could end before the watchdog wakes
        raise TimeUp
    running, rung, timed_out = False, False, False
    finished = threading.Event()

    def watch():
        nonlocal rung
        pause = limit_s
        while not finished.wait(pause):
            rung = True
            _thread.interrupt_main()
            pause = 0.1  # again and again: a bare `except:` may have swallowed it

    def on_interrupt(signum, frame):
        nonlocal rung, timed_out
        if not rung:
            (previous if callable(previous) else signal.default_int_handler)(signum, frame)
            return
        rung = False
        if running:
            timed_out = True
            raise TimeUp

    watchdog = threading.Thread(target=watch, daemon=True)
    previous = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        watchdog.start()
        running = True
        value = call()
    finally:
        running = False
        finished.set()
        if watchdog.is_alive():
            watchdog.join()
        signal.signal(signal.SIGINT, previous)
    if timed_out:
        raise TimeUp
    return value


def _fingerprint(value: Any) -> Any:
    """Return something that differs after a change inside `value`."""
    if isinstance(value, torch.Tensor):
        value = value.numpy(force=True)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes()
    if isinstance(value, (tuple, list)):
        return [_fingerprint(part) for part in value]
    if isinstance(value, Mapping):
        return {key: _fingerprint(part) for key, part in value.items()}
    return repr(value) if isinstance(value, (str, int, float, complex)) else None
