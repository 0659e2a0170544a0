"""Tests of the grading machinery on small invented exercises."""

import _thread
import gc
import linecache
import random
import threading
import time
import types
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from srlib.exercises.comparison import difference, in_words
from srlib.exercises.grading import Case, Exercise, Mistake, grade
from srlib.exercises.safe_call import TimeUp, safe_call

TOLERANCE = 1e-6


def diff(value, expected, tolerance=TOLERANCE):
    return difference(value, expected, tolerance=tolerance)


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (255, "; yours is in 0..255, expected 0..1"),
        (1 / 255, "; yours is in 0..1, expected 0..255"),
    ],
)
def test_the_other_range_is_named(factor, text):
    picture = np.linspace(0, 1, 12).reshape(3, 4) * (1 if factor == 255 else 255)
    assert diff(picture * factor, picture).endswith(text)
    assert diff(torch.tensor(picture * factor), torch.tensor(picture)).endswith(text)
    assert "yours is in" not in diff(picture * factor * 0.9, picture)
    assert "yours is in" not in diff(picture * factor / 300, picture / 300)  # too dark to tell


# An exercise: the brightness of an image, doubled. ------------------------------------------


def double(image, offset=0):
    return image.astype(np.float64) * 2 + offset


def double_cases():
    image = np.arange(200, 212, dtype=np.uint8).reshape(3, 4)
    return (
        Case("dark", (image // 100,)),
        Case("bright", (image,)),
        Case("with an offset", (image,), {"offset": 1.5}),
    )


def double_in_uint8(image, offset=0):
    return (image * np.uint8(2)).astype(np.float64) + offset


def double_without_offset(image, offset=0):
    return double(image)


def double_by_index(image, offset=0):
    return image[:, :, 0] * 2


DOUBLE = Exercise(
    title="Doubling",
    reference=double,
    cases=double_cases,
    mistakes=(
        Mistake(double_in_uint8, "Eight bits end at 255."),
        Mistake(double_without_offset, "The offset is missing."),
        Mistake(double_by_index, "This image has two axes."),
    ),
    hints=("Think of the type.", "Convert first."),
)


def exercise(reference, *cases, mistakes=(), tolerance=TOLERANCE):
    """Make an exercise with unnamed cases, given as tuples of arguments."""
    made = tuple(Case(f"number {n}", arguments) for n, arguments in enumerate(cases))
    return Exercise("Invented", reference, lambda: made, mistakes, (), tolerance)


def failure(task, answer, **options):
    verdict = grade(task, answer, **options)
    assert verdict.status == "failed"
    return verdict.message


# Right answers ------------------------------------------------------------------------------


def double_by_loops(image, offset=0):
    result = np.zeros(image.shape, np.float32)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            result[row, column] = float(image[row, column]) + float(image[row, column]) + offset
    return result


@pytest.mark.parametrize(
    "answer",
    [
        double,
        double_by_loops,
        lambda image, offset=0: np.add(image, image, dtype=np.float64) + offset,
        lambda *arguments, **options: double(*arguments, **options),
        lambda image, offset=0, more=None: double(image, offset),
    ],
)
def test_right_answers_pass(answer):
    verdict = grade(DOUBLE, answer)
    assert verdict.status == "passed"
    assert verdict.message == ""


def test_a_torch_module_is_an_answer():
    task = exercise(lambda image: image * 2, (torch.ones(1, 3, 2, 2),))
    layer = torch.nn.Conv2d(3, 3, 1, groups=3, bias=False)
    torch.nn.init.constant_(layer.weight, 2)
    assert grade(task, layer).status == "passed"
    torch.nn.init.constant_(layer.weight, 3)
    assert "12 of 12 values differ, first at [0, 0, 0, 0]" in failure(task, layer)


def test_slow_pixel_loops_pass():
    def slow(image, offset=0):
        time.sleep(0.1)
        return double_by_loops(image, offset)

    assert grade(DOUBLE, slow).status == "passed"


# Wrong answers ------------------------------------------------------------------------------


def test_the_message_tells_case_place_values_and_arguments():
    def wrong(image, offset=0):
        result = double(image, offset)
        if offset:
            result[1, 2] += 1
            result[2, 0] += 30
        return result

    assert failure(DOUBLE, wrong) == (
        "Case 'with an offset': 2 of 12 values differ, first at [1, 2]: yours is 414.5, "
        "expected 413.5; the largest difference is 30 at [2, 0].\n"
        "The arguments were: image = a uint8 array of shape (3, 4), values 200 to 211; "
        "offset = 1.5."
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda image, offset=0: None, "returned None. Is a `return` missing?"),
        (lambda image, offset=0: double(image).T, "has shape (4, 3), expected (3, 4)"),
        (lambda image, offset=0: (double(image), 1), "yours is a tuple"),
        (lambda image, offset=0: double(image).tolist(), "yours is a list"),
        (lambda image, offset=0: torch.from_numpy(double(image)), "float64 torch tensor"),
        (lambda image, offset=0: image, "dtype uint8, expected float64"),
        (lambda image, offset=0: double(image) * np.nan, "yours is nan"),
        (lambda image, offset=0: double(image) + np.inf, "yours is inf"),
        (lambda image, offset=0: double, "the function double"),
        (lambda image, offset=0: map(float, image), "of type map"),
        (lambda image, offset=0: double(image).astype(object), "dtype object"),
        (lambda image: double(image), "Yours are (image), expected are (image, offset)"),
        (lambda: 1, "too many positional arguments"),
        (np.zeros((2, 2)), "Pass the function itself, without calling it"),
        (None, "Pass the function itself, without calling it"),
    ],
)
def test_wrong_answers_are_told_apart(answer, words):
    assert words in failure(DOUBLE, answer)


def test_generators_and_coroutines_are_named():
    def generator(image, offset=0):
        yield double(image)

    async def coroutine(image, offset=0):
        return double(image)

    assert "`yield`" in failure(DOUBLE, generator)
    assert "round brackets" in failure(DOUBLE, lambda image, offset=0: (2 * row for row in image))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert "`async`" in failure(DOUBLE, coroutine)
        gc.collect()
    assert not caught  # "was never awaited"


@pytest.mark.parametrize("place", ["in an array", "in a list", "by keyword", "in a tensor"])
def test_a_changed_input_is_named(place):
    def meddle(image, boxes, *, mask, noise):
        match place:
            case "in an array":
                image[0, 0] = 9
            case "in a list":
                boxes[0][0] = 9
            case "by keyword":
                mask["all"][:] = 9
            case "in a tensor":
                noise.add_(1)
        return 1

    def reference(image, boxes, *, mask, noise):
        return 1

    arguments = (np.zeros((2, 2)), [np.zeros(2)])
    keywords = {"mask": {"all": np.zeros(2)}, "noise": torch.zeros(2)}
    case = Case("only", arguments, keywords)
    task = replace(exercise(reference), cases=lambda: (case,))
    name = {"in an array": "image", "in a list": "boxes", "by keyword": "mask"}.get(place, "noise")
    assert f"changed its input {name}. Work on a copy." in failure(task, meddle)
    assert arguments[0].sum() == arguments[1][0].sum() == keywords["mask"]["all"].sum() == 0
    assert keywords["noise"].sum() == 0


def test_a_random_generator_may_be_used_up():
    def noise(generator):
        return generator.normal(size=3)

    task = exercise(noise, (np.random.default_rng(0),))
    assert grade(task, lambda generator: generator.normal(size=3)).status == "passed"
    assert grade(task, lambda generator: generator.normal(1, size=3)).status == "failed"


def test_an_answer_that_changes_its_input_gets_fresh_ones_in_each_case():
    image = np.ones(3)
    task = exercise(lambda image: image + 1, (image,), (image,))

    def in_place(image):
        image += 1
        return image

    message = failure(task, in_place)
    assert "'number 0': your function changed its input image" in message


# Errors -------------------------------------------------------------------------------------


def test_an_error_is_quoted_with_the_learners_line():
    def helper(image):
        return image.reshape(7, 7)  # the learner's own

    def wrong(image, offset=0):
        return helper(image)

    message = failure(DOUBLE, wrong)
    assert "raised ValueError: cannot reshape array of size 12 into shape (7,7)" in message
    assert "of helper: `return image.reshape(7, 7)  # the learner's own`" in message


def test_the_line_is_the_learners_where_the_library_raises():
    def wrong(image, offset=0):
        return np.stack([image, image[0]])

    message = failure(DOUBLE, wrong)
    assert "of wrong: `return np.stack([image, image[0]])`" in message


def test_the_line_of_a_notebook_cell_is_found():
    source = "def wrong(image, offset=0):\n    return image.no_such_name\n"
    name = "<ipython-input-7>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    cell = {}
    exec(compile(source, name, "exec"), cell)
    assert "in line 2 of wrong: `return image.no_such_name`" in failure(DOUBLE, cell["wrong"])


def test_system_exit_does_not_leave():
    def leave(image, offset=0):
        raise SystemExit("bye")

    assert "raised SystemExit: bye" in failure(DOUBLE, leave)


def test_endless_recursion_is_a_failure():
    def deep(image, offset=0):
        return deep(image, offset)

    assert "raised RecursionError" in failure(DOUBLE, deep)


def test_the_stub_is_not_attempted():
    def helper():
        raise NotImplementedError("to be written")

    def stub(image, offset=0):
        return helper()

    assert grade(DOUBLE, stub).status == "not attempted"


def test_half_a_solution_is_not_attempted():
    def half(image, offset=0):
        if offset:
            raise NotImplementedError
        return double(image)

    assert grade(DOUBLE, half).status == "not attempted"


def test_a_dtype_that_torch_does_not_implement_is_a_failure():
    def wrong(image, offset=0):
        tensor = torch.zeros(1, 1, 4, 4, dtype=torch.int32)
        return torch.nn.functional.interpolate(tensor, scale_factor=2, mode="bicubic")

    with pytest.raises(RuntimeError) as info:  # a NotImplementedError since torch 2.7 or so
        wrong(None)
    assert f"raised {info.type.__name__}" in failure(DOUBLE, wrong)


def test_an_error_can_be_what_is_expected():
    def root(x):
        if x < 0:
            raise ValueError("x must not be negative")
        return x**0.5

    task = exercise(root, (4.0,), (-4.0,))
    assert grade(task, root).status == "passed"
    assert "should raise ValueError" in failure(task, lambda x: 2.0)

    def other_error(x):
        return x**0.5 if x > 0 else {}["negative"]

    assert "raised KeyError" in failure(task, other_error)


# Diagnosis ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda image, offset=0: np.float32(image + image) + offset, "Eight bits end at 255."),
        (lambda image, offset=0: image * 2.0, "The offset is missing."),
        (lambda image, offset=0: image[..., 0, 0, 0] * 2.0, "This image has two axes."),
    ],
)
def test_a_known_mistake_is_named_first(answer, sentence):
    message = failure(DOUBLE, answer)
    assert message.startswith(sentence + "\nCase '")


@pytest.mark.parametrize(
    "answer",
    [
        lambda image, offset=0: image * 3.0,
        lambda image, offset=0: double(image) if offset else double(image) + 1,
        # Agrees with a mistake only where that mistake is right.
        lambda image, offset=0: double(image) if image[0, 0] < 100 else image * 5.0,
        # Raises the mistake's error, but for another reason: not in all cases.
        lambda image, offset=0: double(image) if not offset else image[:, :, 0],
        # Raises another error.
        lambda image, offset=0: image.nothing,
    ],
)
def test_an_unknown_mistake_gets_no_sentence(answer):
    assert failure(DOUBLE, answer).startswith("Case '")


def test_a_mistake_is_named_beside_an_error_of_another_case():
    def two_errors(image, offset=0):
        if offset:
            raise KeyError("offset")
        return double_in_uint8(image)

    message = failure(DOUBLE, two_errors)
    assert message.startswith("Eight bits end at 255.\nCase 'bright'")


def test_a_mistake_that_changes_its_input_is_recognised():
    def clip_in_place(image):
        np.minimum(image, 1, out=image)
        return image

    task = exercise(
        lambda image: np.minimum(image, 1),
        (np.array([0.5, 1.5]),),
        mistakes=(Mistake(clip_in_place, "The input is overwritten."),),
    )
    message = failure(task, clip_in_place)
    assert message.startswith("The input is overwritten.\n")
    assert not failure(task, lambda image: image).startswith("The input")


def test_a_mistake_of_changed_input_needs_a_changed_input():
    def add_in_place(image):
        image += 1
        return image

    task = exercise(
        lambda image: image + 1,
        (np.zeros(2),),
        (np.ones(2),),
        mistakes=(Mistake(add_in_place, "The input is overwritten."),),
    )
    assert failure(task, lambda image: image + 1 if image[0] else 1 / 0).startswith("Case '")


def test_every_error_has_to_be_that_of_the_mistake():
    def error_of(x):
        raise (KeyError if x > 0 else IndexError)

    mistakes = (Mistake(error_of, "The wrong place."),)
    task = exercise(lambda x: x, (1.0,), (-1.0,), mistakes=mistakes)
    assert failure(task, error_of).startswith("The wrong place.")

    def always_index_error(x):
        raise IndexError

    assert failure(task, always_index_error).startswith("Case '")


def test_the_first_fitting_mistake_is_named():
    twins = (Mistake(lambda x: x + 1, "First."), Mistake(lambda x: 1 + x, "Second."))
    task = exercise(lambda x: x, (1.0,), mistakes=twins)
    assert failure(task, lambda x: x - -1).startswith("First.")


# Time ---------------------------------------------------------------------------------------


def loop_for_ever(image, offset=0):
    while True:
        pass


def test_an_endless_loop_is_ended():
    started = time.perf_counter()
    message = failure(DOUBLE, loop_for_ever, time_limit_s=0.5)
    assert "was stopped" in message
    assert time.perf_counter() - started >= 0.5


def test_an_endless_loop_that_catches_exceptions_is_ended():
    def stubborn(image, offset=0):
        while True:
            try:
                1 / 0  # noqa: B018
            except Exception:
                pass

    assert "was stopped" in failure(DOUBLE, stubborn, time_limit_s=0.2)


def test_a_swallowed_stop_still_counts():
    def swallow(image, offset=0):
        try:
            while True:
                pass
        except BaseException:
            return double(image)

    assert "was stopped" in failure(DOUBLE, swallow, time_limit_s=0.1)


def test_the_limit_is_for_all_cases_together():
    task = exercise(lambda x: x, *[(1,)] * 20)

    def slow(x):
        time.sleep(0.01)
        return x

    assert "was stopped" in failure(task, slow, time_limit_s=0.1)
    assert grade(task, slow, time_limit_s=600).status == "passed"


def test_an_answer_in_time_is_never_interrupted_late():
    """Answers that end about when the limit does: either verdict, but no interrupt later."""
    task = exercise(lambda x: x, (1,))
    statuses = set()
    limit = 0.003
    for step in range(200):
        end = limit * (0.5 + step / 40)  # the watchdog may wait 5 ms for its turn

        def answer(x, end=end):
            stop = time.perf_counter() + end
            while time.perf_counter() < stop:
                pass
            return x

        statuses.add(grade(task, answer, time_limit_s=limit).status)
        for _ in range(1000):  # where a late interrupt would arrive
            pass
    assert statuses <= {"passed", "failed"}  # which of them is the machine's affair
    assert threading.active_count() < 10


def test_an_interrupt_on_its_way_when_the_answer_ends_is_lost(monkeypatch):
    ringing = threading.Event()

    def interrupt_late():
        ringing.set()
        time.sleep(0.1)  # the answer ends in the meantime
        _thread.interrupt_main()

    ring = types.SimpleNamespace(interrupt_main=interrupt_late)
    monkeypatch.setitem(safe_call.__globals__, "_thread", ring)
    outcome = safe_call(ringing.wait, (), {}, limit_s=0.05)
    assert outcome.value is True
    assert outcome.error is None


def test_the_users_interrupt_passes_through():
    import signal

    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        grade(DOUBLE, loop_for_ever, time_limit_s=30)
    timer.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_off_the_main_thread_there_is_no_limit():
    verdicts = []

    def slow(image, offset=0):
        time.sleep(0.05)
        return double(image, offset)

    worker = threading.Thread(
        target=lambda: verdicts.append(grade(DOUBLE, slow, time_limit_s=0.01))
    )
    worker.start()
    worker.join()
    assert verdicts[0].status == "passed"


def test_time_up_is_no_exception():
    assert not issubclass(TimeUp, Exception)
    outcome = safe_call(lambda: loop_for_ever(None), (), {}, limit_s=0.1)
    assert isinstance(outcome.error, TimeUp)


# Circumstances ------------------------------------------------------------------------------


def test_random_states_are_fixed_and_restored():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1)

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = draw()
    first = safe_call(draw, (), {}).value
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    second = safe_call(draw, (), {}).value
    assert first == second
    assert not set(first) & set(expected)
    assert draw() == expected


def test_warnings_do_not_decide():
    def warn(image, offset=0):
        warnings.warn("a remark", stacklevel=1)
        return np.where(True, double(image, offset), np.float64(1) / 0)

    with np.errstate(all="raise"):
        assert grade(DOUBLE, warn).status == "passed"


def test_what_the_answer_prints_is_left_alone(capsys):
    def talk(image, offset=0):
        print("shape", image.shape)
        return double(image, offset)

    grade(DOUBLE, talk)
    assert capsys.readouterr().out == "shape (3, 4)\n" * 3
    grade(DOUBLE, double)
    assert capsys.readouterr().out == ""


def test_grading_is_deterministic():
    assert failure(DOUBLE, double_in_uint8) == failure(DOUBLE, double_in_uint8)


# Comparison ---------------------------------------------------------------------------------

FLOATS = hnp.arrays(
    np.float64,
    hnp.array_shapes(max_dims=4, max_side=5),
    elements=st.floats(-1e3, 1e3),
)


@given(FLOATS, st.data())
def test_one_changed_element_is_found_at_its_index(expected, data):
    index = data.draw(st.tuples(*(st.integers(0, side - 1) for side in expected.shape)))
    allowed = TOLERANCE + 1e-6 * np.abs(expected).max()
    step = data.draw(st.floats(1.01, 1e9)) * allowed * data.draw(st.sampled_from([-1, 1]))
    value = expected.copy()
    value[index] += step
    text = diff(value, expected)
    assert text.startswith(f"1 value differs at {list(index)}: yours is ")
    assert "largest" not in text


@given(FLOATS, st.data())
def test_the_first_of_several_changed_elements_is_named(expected, data):
    flat = (
        data.draw(st.sets(st.integers(0, expected.size - 1), min_size=2))
        if (expected.size > 1)
        else {0}
    )
    value = expected.copy()
    value.flat[list(flat)] += 5000.0
    first = [int(i) for i in np.unravel_index(min(flat), expected.shape)]
    assert f" at {first}: yours is " in diff(value, expected)


@given(FLOATS, st.floats(-1, 1), st.sampled_from([np.float32, np.float64]))
def test_within_tolerance_is_equal(expected, part, dtype):
    assert diff((expected + part * 0.99e-3).astype(dtype), expected, tolerance=1e-3) == ""
    assert diff(expected.astype(np.float32), expected) == ""


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=3, max_side=5)), st.data())
def test_integers_are_compared_exactly(expected, data):
    assert diff(expected.copy(), expected) == ""
    index = data.draw(st.tuples(*(st.integers(0, side - 1) for side in expected.shape)))
    value = expected.copy()
    value[index] = (int(value[index]) + 1) % 256
    text = diff(value, expected)
    assert f"at {list(index)}: yours is {value[index]}, expected {expected[index]}" in text


@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4)))
def test_every_array_equals_its_copy(array):
    """Also with NaN and infinities in it."""
    assert diff(array.copy(), array) == ""
    assert diff(torch.from_numpy(array.copy()), torch.from_numpy(array)) == ""


@dataclass(frozen=True)
class Size:
    height: int


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, np.float64(1)),
        (np.float32(0.1), 0.1),
        (1, 1.0),
        (torch.tensor(2.5), 2.5),
        (np.array(2.5), 2.5),
        (float("inf"), np.inf),
        (float("nan"), np.nan),
        (np.True_, True),
        (np.uint8(3), 3),
        (3, np.uint8(3)),
        ([1, 2], (1, 2.0)),
        (np.array([1.0, 2.0]), (1.0, 2.0)),
        (torch.Size([1, 3]), (1, 3)),
        (np.array([0, 1]), np.array([0.0, 1.0])),
        (np.array([1, 2], np.int32), np.array([1, 2], np.uint16)),
        (torch.ones(2, dtype=torch.float64, requires_grad=True), torch.ones(2)),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
        ({"a": 1, "b": [np.ones(2)]}, {"b": [np.ones(2)], "a": 1}),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (1 + 2j, np.complex64(1 + 2j)),
        (np.array(["a", "b"]), np.array(["a", "b"])),
        ("nearest", "nearest"),
        (None, None),
        (Size(3), Size(3)),
    ],
)
def test_equal_in_meaning(value, expected):
    assert diff(value, expected) == ""


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        (1.5, 1.25, "yours is 1.5, expected 1.25"),
        (1 / 3, 1 / 3 + 1e-5, "yours is 0.333333, expected 0.333343"),
        (1e-7, 0.0, ""),
        (30.0000001, 30.0001, "yours is 30, expected 30.0001"),
        (1000.0, 1000.0021, "yours is 1000.0, expected 1000.0021"),
        (12.0, 12, "yours has dtype float64, expected int64"),
        (1, True, "yours has dtype int64, expected bool"),
        (np.array([1.5]), 1.5, "yours is a float64 array [1.5], expected a single number"),
        ("1.5", 1.5, "yours is '1.5', expected a single number"),
        (None, 1.5, "yours is None, expected a single number"),
        (1j, 1.5, "yours has dtype complex128, expected float64"),
        (0.0, np.inf, "yours is 0, expected inf"),
        (np.nan, 1.0, "yours is nan, expected 1"),
        (1.0, np.nan, "yours is 1, expected nan"),
        (np.inf, -np.inf, "yours is inf, expected -inf"),
        (
            np.ones(2),
            torch.ones(2),
            "yours is a float64 array [1, 1], expected a float32 torch tensor of shape (2,)",
        ),
        (0.5, torch.tensor(0.5), "yours is 0.5, expected a float32 torch tensor of shape ()"),
        (
            np.array([1, 2]),
            np.array([1, 2], np.uint8),
            "yours has dtype int64, expected uint8",
        ),
        (
            np.array([True]),
            np.array([1.0]),
            "yours has dtype bool, expected float64",
        ),
        (
            np.array([1, 2]),
            np.array([1.0, 2.5]),
            "1 value differs at [1]: yours is 2, expected 2.5 "
            "(yours has dtype int64, expected float64)",
        ),
        (
            np.array([np.nan, 5.0, np.nan]),
            np.array([1.0, 1.0, 1.0]),
            "3 of 3 values differ, first at [0]: yours is nan, expected 1",
        ),
        ((1, 2, 3), (1, 2), "yours holds 3 values, expected 2"),
        (7, (1, 2), "yours is 7, expected a tuple of 2"),
        (torch.tensor(7), [1, 2], "yours is an int64 torch tensor of shape (), all values 7, "
         "expected a list of 2"),
        ((1, (2, 4)), (1, (2, 3)), "value 2 of 2: value 2 of 2: yours is 4, expected 3"),
        ([1], {"a": 1}, "yours is a list (1), expected a dict"),
        ({}, {"a": 1}, "yours has no key 'a'"),
        ({"a": 1, "b": 2}, {"a": 1}, "yours has the key 'b', which is not expected"),
        ({"a": np.ones(1)}, {"a": np.zeros(1)}, "under 'a': 1 value differs at [0]: "
         "yours is 1, expected 0"),
        ("bilinear", "nearest", "yours is 'bilinear', expected 'nearest'"),
        (0, None, "yours is 0, expected None"),
        (Size(4), Size(3), "yours is an object of type Size, expected an object of type Size"),
        (np.array(["a"]), np.array(["b"]), "1 value differs at [0]: yours is a, expected b"),
    ],
)  # fmt: skip
def test_differences_in_words(value, expected, text):
    assert diff(value, expected) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((2, 3), np.uint8), "a uint8 array of shape (2, 3), all values 0"),
        (torch.arange(8.0), "a float32 torch tensor of shape (8,), values 0 to 7"),
        (np.array([0.5, -1]), "a float64 array [0.5, -1]"),
        (np.zeros((0, 3)), "a float64 array of shape (0, 3)"),
        (np.zeros(9, complex), "a complex128 array of shape (9,)"),
        ((1, "x", None), "a tuple (1, 'x', None)"),
        ([1.23456789] * 40, "a list of 40 values"),
        (len, "the builtin_function_or_method len"),
        (255, "255"),
        (np.bool_(True), "True"),
        (object(), "an object of type object"),
    ],
)
def test_values_in_words(value, text):
    assert in_words(value) == text
