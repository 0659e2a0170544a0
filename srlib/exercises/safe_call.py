"""Calls a function that may do anything, and comes back with what happened."""

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
    """What a call did.

    Attributes
    ----------
    value
        What it returned.
    error
        What it raised, a `TimeUp` if it was stopped; None if it returned.
    changed
        Positions and keywords of the arguments that it changed.
    """

    value: Any = None
    error: BaseException | None = None
    changed: tuple[int | str, ...] = ()


class Misfit(Exception):
    """Stands for an outcome where the function could not be called; its text says why."""


class NotAttempted(Exception):
    """Stands for the outcome of a function that nobody has written yet."""


class TimeUp(BaseException):
    """Ends a call that runs too long; no Exception, so that ``except Exception`` lets it by."""


def safe_call(
    function: Callable, arguments: tuple, keywords: dict[str, Any], *, limit_s: float | None = None
) -> Outcome:
    """Call a function on copies of the arguments and let neither errors nor effects out.

    Random states are the same in each call and are restored, warnings are silent. The output
    that the function prints is left alone.

    Parameters
    ----------
    function
        What to call.
    arguments, keywords
        What to call it with; deep copies are made.
    limit_s
        Seconds after which the call is stopped; None for no limit. This works between two Python
        instructions (not inside one long call of NumPy, nor where a bare ``except:`` catches all),
        and on the main thread; on others there is no limit.

    Returns
    -------
    Outcome
        What it returned or raised, SystemExit included.

    Raises
    ------
    KeyboardInterrupt
        If the user presses Ctrl-C or the stop button.
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
    """Fix the random states, silence warnings, and put all of it back afterwards."""
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

    A watchdog thread interrupts the main thread as Ctrl-C would. A flag tells the handler which
    of the two it was. Nothing can arrive late: the watchdog has ended before the old handler is
    back, and `signal.signal` first delivers what is pending.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if limit_s is None or not on_main_thread or signal.getsignal(signal.SIGINT) is None:
        return call()
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
    """Make something of `value` that is unequal after a change of arrays, lists and the like."""
    if isinstance(value, torch.Tensor):
        value = value.numpy(force=True)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes()
    if isinstance(value, (tuple, list)):
        return [_fingerprint(part) for part in value]
    if isinstance(value, Mapping):
        return {key: _fingerprint(part) for key, part in value.items()}
    return repr(value) if isinstance(value, (str, int, float, complex)) else None
