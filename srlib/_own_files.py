"""A learner's own torch.py or random.py, which Python takes for the module of that name.

Nothing is imported here that such a file could hide.
"""

import os
import sys
from importlib.machinery import PathFinder

__all__ = ["in_the_way"]


def in_the_way(error: BaseException | None = None) -> tuple[str, str] | None:
    """Say which files of the current folder were taken for modules, and what to do, if any were.

    What was taken shows in the modules that are loaded, and in the traceback of `error`, by which
    an import has failed.
    """
    taken = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    while error is not None:
        taken.add(getattr(error, "filename", None))  # of a SyntaxError
        trace = error.__traceback__
        while trace is not None:
            taken.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    files = sorted({file for file in taken if isinstance(file, str) and _hides_a_module(file)})
    if not files:
        return None
    plural = len(files) > 1
    return (
        f"{' and '.join(files)} {'hide modules' if plural else 'hides a module'} of the same name "
        "that the course needs",
        f"rename {'them' if plural else 'it'}, delete the folder __pycache__ beside "
        f"{'them' if plural else 'it'}, and start again (in a notebook: restart the kernel)",
    )


def _hides_a_module(file):
    """Tell whether a file of the current folder has the name of a module elsewhere."""
    folder, name = os.path.split(os.path.realpath(file))
    if name == "__init__.py":
        folder, name = os.path.split(folder)
    here, name = os.path.realpath(os.curdir), name.partition(".")[0]
    if folder != here or not name.isidentifier() or name == "srlib":  # another clone of the course
        return False
    elsewhere = [place for place in sys.path if os.path.realpath(place or os.curdir) != here]
    found = PathFinder.find_spec(name, elsewhere)
    return found is not None and found.origin is not None
