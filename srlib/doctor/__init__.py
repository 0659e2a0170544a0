"""Say whether this machine can do the course, and what to mend where it cannot."""

import textwrap
import threading
import time
from collections.abc import Callable

from srlib import assets
from srlib.doctor.looks import LOOKS, Check, look

__all__ = ["examine", "report", "show_test_widget"]

_NETWORK_S = 2  # how long a server may take to answer
_COLOURS = {"ok": "\x1b[32m", "note": "\x1b[36m", "problem": "\x1b[31m"}
_STANDS_ON = {  # not checked where one of these is broken: it would only say so again
    "torch": {"names"},
    "library": {"names", "torch", "packages"},
    "torchvision": {"names", "torch"},
    "GPU": {"names", "torch"},
    "profile": {"names", "torch"},
}
_NO_WIDGETS = (
    "No sliders here. On a page that only shows a notebook that is as it should be. In JupyterLab: "
    "install ipywidgets and jupyterlab_widgets into the environment that JupyterLab runs in "
    "(make lab does), restart JupyterLab and reload the page."
)


def examine() -> list[Check]:
    """Check everything that the course depends on; takes two seconds where no network answers."""
    looks = LOOKS | {"internet": _ask_servers()}
    checks = []
    for name, at in looks.items():
        broken = {check.name for check in checks if check.stops}
        if not broken & _STANDS_ON.get(name, set()):
            checks.append(look(name, at))
    return checks


def _ask_servers() -> Callable[[], Check]:
    """Start to ask each server of the datasets; return the check of the answers so far."""
    answers = dict.fromkeys(assets.servers(), f"no answer in {_NETWORK_S} s")

    def ask(host):
        try:
            import requests

            requests.head(f"https://{host}/", timeout=_NETWORK_S)
            answers[host] = ""
        except ImportError:
            answers[host] = "requests is missing"
        except Exception as error:  # an OSError, unless requests itself is broken
            answers[host] = type(error).__name__

    # Looking up a name has no time limit: threads, which nobody has to wait for.
    threads = [threading.Thread(target=ask, args=(host,), daemon=True) for host in answers]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _NETWORK_S

    def look_at_answers():
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))
        now = dict(answers)  # a late answer no longer changes it
        faults = [
            f"{' and '.join(h for h in now if now[h] == why)} cannot be reached ({why})"
            for why in sorted(set(now.values()) - {""})
        ]
        if not faults:
            return Check("internet", f"{' and '.join(now)} can be reached")
        remedy = "not needed for the course, only to fetch datasets"
        return Check("internet", "; ".join(faults), "note", remedy)

    return look_at_answers


def report(checks: list[Check], *, colour: bool = False) -> str:
    """Return a line for each check, its remedy below, and a verdict; `colour` is for terminals."""
    lines = []
    for check in checks:
        start = f"  {check.state:7}  {check.name:11}  "
        block = _wrapped(start, check.found)
        if colour:
            block[0] = block[0].replace(check.state, f"{_COLOURS[check.state]}{check.state}\x1b[0m")
        lines += block
        if check.remedy:
            lines += _wrapped(" " * len(start) + "-> ", check.remedy)
    stopping = [check.name for check in checks if check.stops]
    others = [check.name for check in checks if check.state == "problem" and not check.stops]
    verdict = "This machine can do the course."
    if stopping:
        verdict = f"Mend first: {', '.join(stopping)}. Then look again."
    elif others:
        verdict += f" Worth mending: {', '.join(others)}."
    return "\n".join([*lines, verdict])


def _wrapped(start, text):
    whole = {"break_on_hyphens": False, "break_long_words": False}  # for commands and paths
    return textwrap.wrap(start + text, 100, subsequent_indent=" " * len(start), **whole)


def show_test_widget() -> None:
    """Show a widget, or, in a program that cannot show it, the text that says what to do."""
    from IPython.display import display
    from ipywidgets import HTML

    widget = HTML("Widgets can be shown here. In a running notebook the sliders work.")
    model = {"model_id": widget.model_id, "version_major": 2, "version_minor": 0}
    bundle = {"application/vnd.jupyter.widget-view+json": model, "text/plain": _NO_WIDGETS}
    display(bundle, raw=True)
