"""Compare a learner's answer to an exercise with the reference, and say what is wrong.

`grade` runs both on the same small cases, prints nothing and catches every error of the answer.
Its two halves, `Exercise.attempt` and `Exercise.judge`, can run in different processes.
"""

import functools
import inspect
import sysconfig
import textwrap
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srlib.exercises.comparison import difference, in_words
from srlib.exercises.inputs import shuffle
from srlib.exercises.safe_call import Misfit, NotAttempted, Outcome, TimeUp, safe_call

__all__ = ["Case", "Exercise", "Mistake", "Verdict", "grade", "place_of"]

# Code in these folders is not the learner's.
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")) + (
    str(Path(__file__).parents[1]),
)


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners really give, as code that runs.

    `message` leads to the mistake without giving the solution away.
    """

    function: Callable
    message: str


@dataclass(frozen=True)
class Case:
    """One call of the function: ``function(*arguments, **keywords)``, with small inputs."""

    name: str
    arguments: tuple
    keywords: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What was found: the status, and a message for the learner (empty if passed).

    `right` says of each case that was tried whether it was right.
    """

    status: Literal["passed", "failed", "not attempted"]
    message: str = ""
    right: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A function to write, and all that is needed to check it."""

    title: str
    # Its parameters' names stand in messages; where it raises, an answer must raise the same type.
    reference: Callable
    cases: Callable[[], tuple[Case, ...]]  # the same ones each time; they tell the mistakes apart
    mistakes: tuple[Mistake, ...]  # the message names the first one that fits
    hints: tuple[str, ...]  # from gentle to concrete
    tolerance: float = 1e-6  # see `srlib.exercises.comparison.difference`
    # New arguments for all cases, in their order, for `twins`; by default arrays are shuffled.
    redraw: Callable[[np.random.Generator], tuple[tuple, ...]] | None = None
    # How an answer is used: `probe(answer, *arguments)` is compared, not what the answer returns.
    # For what a value does not show, such as gradients; see `srlib.exercises.probes`.
    probe: Callable[..., Any] | None = None
    id: str = ""  # such as "03.1": the exercise's module and its place there

    def twins(self, seed: int) -> tuple[Case, ...]:
        """Make `cases` again with other numbers, so that the results cannot be written down."""
        random = np.random.default_rng([seed, *self.id.encode()])
        cases = self.cases()
        if self.redraw is not None:
            redrawn = zip(cases, self.redraw(random), strict=True)
            return tuple(replace(case, arguments=arguments) for case, arguments in redrawn)
        return tuple(
            Case(case.name, shuffle(case.arguments, random), shuffle(case.keywords, random))
            for case in cases
        )

    def attempt(
        self, answer: Any, cases: Iterable[Case], *, time_limit_s: float | None = None
    ) -> Iterator[Outcome]:
        """Call an answer with each case, and yield the outcomes.

        The error of the last one is a `Misfit` if the answer cannot be called like the reference,
        `NotAttempted` if it is the stub, `TimeUp` if `time_limit_s` for all cases together is over.
        """
        if not callable(answer):
            text = f"Pass the function itself, without calling it. This is {in_words(answer)}."
            yield Outcome(error=Misfit(text))
            return
        for case in cases:
            if misfit := _misfit(answer, self.reference, case):
                yield Outcome(error=Misfit(misfit))
                return
            started = time.perf_counter()
            outcome = self.call(answer, case, time_limit_s)
            if time_limit_s is not None:
                time_limit_s -= time.perf_counter() - started
            if _is_stub(outcome.error):
                outcome = Outcome(error=NotAttempted("raise NotImplementedError"))
            yield outcome
            if isinstance(outcome.error, (NotAttempted, TimeUp)):
                return

    def call(self, function: Callable, case: Case, limit_s: float | None = None) -> Outcome:
        """Call a function with the arguments of a case, by the `probe` if there is one.

        Where the function returns None the outcome is None, whatever the probe does then.
        """
        if self.probe is None:
            return safe_call(function, case.arguments, case.keywords, limit_s=limit_s)
        returned = []

        def noted(*arguments, **keywords):
            returned.append(function(*arguments, **keywords))
            return returned[-1]

        probe = functools.partial(self.probe, noted)
        outcome = safe_call(probe, case.arguments, case.keywords, limit_s=limit_s)
        nothing = returned and all(value is None for value in returned)
        return Outcome(changed=outcome.changed) if nothing else outcome

    def judge(self, cases: Iterable[Case], outcomes: Iterable[Outcome]) -> Verdict:
        """Compare the outcomes of `attempt` with those of the reference, for the same cases."""
        trials = []
        for case, outcome in zip(cases, outcomes, strict=False):
            if isinstance(outcome.error, Misfit):
                return Verdict("failed", str(outcome.error))
            if isinstance(outcome.error, NotAttempted):
                return Verdict("not attempted", "The function still raises NotImplementedError.")
            expected = self.call(self.reference, case)
            problem = _problem(outcome, expected, case, self)
            trials.append(_Trial(case, expected, outcome, problem))
        right = tuple(not trial.problem for trial in trials)
        if all(right):
            return Verdict("passed", right=right)
        first = trials[right.index(False)]
        explained = (m.message + "\n" for m in self.mistakes if _explains(m, trials, self))
        message = (
            f"{next(explained, '')}Case '{first.case.name}': {first.problem}\n"
            f"The arguments were: {_list_arguments(first.case, self.reference)}."
        )
        return Verdict("failed", message, right)


@dataclass(frozen=True)
class _Trial:
    case: Case
    expected: Outcome
    outcome: Outcome
    problem: str


def grade(exercise: Exercise, answer: Any, *, time_limit_s: float = 10.0) -> Verdict:
    """Compare an answer, whatever the learner hands in, with the reference of an exercise.

    It has `time_limit_s` seconds for all cases together; see `srlib.exercises.safe_call.safe_call`
    for the circumstances of each call. The status is "not attempted" if the answer itself raises
    ``NotImplementedError``. The message of a failed answer names the first case that failed, and
    starts with the sentence of a `Mistake` if the results are those of the mistake.
    """
    cases = exercise.cases()
    return exercise.judge(cases, exercise.attempt(answer, cases, time_limit_s=time_limit_s))


def _problem(outcome: Outcome, expected: Outcome, case: Case, exercise: Exercise) -> str:
    """Say what is wrong with one outcome; empty if nothing is."""
    error, value, wanted = outcome.error, outcome.value, expected.error
    if isinstance(error, TimeUp):
        return "your function ran too long and was stopped. Is there a loop without an end?"
    if wanted is not None:
        if error is None:
            return f"your function should raise {type(wanted).__name__}, but it returned."
        if isinstance(error, type(wanted)):
            return ""
    if error is not None:
        wanted_here = f"; it should raise {type(wanted).__name__} here" if wanted else ""
        return f"your function raised {_one_line(error)}{place_of(error)}{wanted_here}."
    if inspect.isgenerator(value) and value.gi_code.co_name == "<genexpr>":
        return (
            "(... for ...) in round brackets makes no tuple but a generator. "
            "Write [... for ...] or tuple(...)."
        )
    if inspect.isgenerator(value):
        return "your function contains `yield`, so it made a generator. Use `return`."
    if inspect.iscoroutine(value):
        return "your function is `async`, so nothing ran. Write `def` alone."
    if value is None and expected.value is not None:
        return "your function returned None. Is a `return` missing?"
    problems = []
    if text := difference(value, expected.value, tolerance=exercise.tolerance):
        problems.append(f"{text}.")
    if changed := [place for place in outcome.changed if place not in expected.changed]:
        names = " and ".join(_names(case, exercise.reference)[place] for place in changed)
        problems.append(f"your function changed its input {names}. Work on a copy.")
    return " Also, ".join(problems)


def _explains(mistake: Mistake, trials: list[_Trial], exercise: Exercise) -> bool:
    """Whether the answer gives what the mistake gives, and is wrong because of that.

    Cases in which the answer raises count only if no other case is wrong: often an answer has two
    faults, of which one can be explained.
    """
    wrong_alike, raised_alike = False, []
    for trial in trials:
        theirs = exercise.call(mistake.function, trial.case)
        mine = trial.outcome
        if mine.error is not None:
            raised_alike.append(type(mine.error) is type(theirs.error))
            continue
        if theirs.error is not None or not set(theirs.changed) <= set(mine.changed):
            return False
        if difference(mine.value, theirs.value, tolerance=exercise.tolerance):
            return False
        wrong_alike |= bool(_problem(theirs, trial.expected, trial.case, exercise))
    return wrong_alike or (bool(raised_alike) and all(raised_alike))


def _misfit(answer: Callable, reference: Callable, case: Case) -> str:
    """Say why the answer cannot be called as the reference can; empty if it can."""
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some callables written in C have none
        return ""
    try:
        signature.bind(*case.arguments, **case.keywords)
    except TypeError as error:
        return (
            f"The parameters do not fit: {error}. Yours are {_parameters(signature)}, "
            f"expected are {_parameters(inspect.signature(reference))}."
        )
    return ""


def _parameters(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def _names(case: Case, reference: Callable) -> dict[int | str, str]:
    """Name the arguments, by position or keyword, as the reference does."""
    parameters = inspect.signature(reference).parameters
    return dict(enumerate(parameters)) | {name: name for name in case.keywords}


def _list_arguments(case: Case, reference: Callable) -> str:
    names = _names(case, reference)
    inputs = dict(enumerate(case.arguments)) | case.keywords
    return "; ".join(f"{names[place]} = {in_words(value)}" for place, value in inputs.items())


def _is_stub(error: BaseException | None) -> bool:
    """Distinguish the stub's NotImplementedError from torch's, which means "not for this dtype"."""
    if not isinstance(error, NotImplementedError):
        return False
    line = traceback.extract_tb(error.__traceback__)[-1].line
    return not line or "NotImplementedError" in line


def _one_line(error: BaseException) -> str:
    text = "".join(traceback.format_exception_only(error))
    return textwrap.shorten(text, 200).rstrip(".")


def place_of(error: BaseException) -> str:
    """Quote the innermost line of the learner's own code."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.line and not frame.filename.startswith(_LIBRARIES):
            return f", in line {frame.lineno} of {frame.name}: `{frame.line}`"
    return ""
