"""The notebook tool on scratch scripts; then the course's notebooks: form, outputs, execution."""

import ast
import asyncio
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty

import build_notebooks as tool
import nbformat
import pytest
import zmq
import zmq.asyncio
from build_site import VIEW, widgets_inside
from jupyter_client.session import Session

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "build_notebooks.py"
SCRIPTS = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))
IMAGES = ("image/png", "image/jpeg")


SCRIPT = '''\
# ---
# jupyter:
#   kernelspec:
#     name: somebody-elses-kernel
#     display_name: Mine
# ---

# %% [markdown]
# # Doubling
# What it is about.

# %% tags=["parameters"]
count = 3

# %%
from srlib.exercises import check


def double(value):
    """Return twice the value."""
    twice = None
    ### BEGIN SOLUTION
    twice = 2 * value
    if value:
        pass
    ### END SOLUTION
    return twice


double = check("90.1", double)

# %% [markdown]
# Once more.

# %% [markdown]
# Once more.
'''

BUSY = """\
# %%
import sys
import ipywidgets as widgets
from IPython.display import display
from tqdm import tqdm
from tqdm.notebook import tqdm as widget_bar

for _ in tqdm(range(3)):
    pass
print("before")
for _ in widget_bar(range(4)):
    pass
display(widgets.VBox([widgets.IntSlider(value=2), widgets.HTML("now")]))
print("after", object())
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Write a scratch course: one script, and the least that its setup cell imports."""
    files = {
        "solutions/90_doubling.py": SCRIPT,
        "pyproject.toml": (
            "[project]\ndependencies = ['torch>=2.6', 'nbformat']\n"
            "optional-dependencies.notebooks = ['jupytext']\n"
        ),
        "srlib/__init__.py": "",
        "srlib/course.mplstyle": "figure.dpi: 80\n",
        "srlib/environment.py": "import os\nactive_profile = lambda: os.environ['SRLIB_PROFILE']\n",
        "srlib/exercises.py": (
            "def check(name, function):\n"
            "    print('Exercise', name, 'not attempted')\n"
            "    return lambda value: 2 * value\n"
        ),
        # Importing the real torch takes seconds, and nothing here needs it.
        "torch.py": "__version__ = '2.6'\nclass cuda:\n    is_available = lambda: False\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run_tool(course: Path, *arguments: str) -> int:
    return tool.main([*arguments, "--root", str(course)])


def edit(course: Path, old: str, new: str, name: str = "solutions/90_doubling.py") -> None:
    text = (course / name).read_text()
    assert text.count(old) == 1
    (course / name).write_text(text.replace(old, new))


def set_repository(course: Path, repository: str, ref: str = "main") -> None:
    with (course / "pyproject.toml").open("a") as file:
        file.write(f'[tool.srlib.course]\nrepository = "{repository}"\nref = "{ref}"\n')


def read(course: Path, folder: str = "notebooks") -> nbformat.NotebookNode:
    notebook = nbformat.read(course / folder / "90_doubling.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def output_text(cell: nbformat.NotebookNode) -> str:
    return "".join(str(o.get("text", "")) + str(o.get("data", "")) for o in cell.get("outputs", []))


# The tool


def test_learner_notebook_keeps_all_but_the_solution(course):
    assert run_tool(course) == 0
    learner, solution = read(course), read(course, "solutions")
    for notebook in (learner, solution):
        assert [c.cell_type for c in notebook.cells] == ["markdown"] + 3 * ["code"] + 2 * [
            "markdown"
        ]
        assert notebook.metadata == tool.METADATA
        assert tagged(notebook, "setup") == [notebook.cells[1]]
        assert tagged(notebook, "parameters") == [notebook.cells[2]]
    assert solution.cells[3].source == SCRIPT.split("# %%\n")[1].split("\n\n# %%")[0]
    function = learner.cells[3].source.split("\n\n\n")[1]
    assert function.splitlines() == [
        "def double(value):",
        '    """Return twice the value."""',
        "    twice = None",
        "    raise NotImplementedError",
        "    return twice",
    ]


def test_cell_ids_are_unique_and_follow_the_content(course):
    run_tool(course)
    before = [cell.id for cell in read(course).cells]
    assert len(set(before)) == len(before)
    edit(course, "count = 3", "count = 4")
    run_tool(course)
    after = [cell.id for cell in read(course).cells]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True] * 2 + [False] + [
        True
    ] * 3


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(course):
    def files(seed: str) -> dict[str, bytes]:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, str(TOOL), "--root", str(course)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return {path.parent.name: path.read_bytes() for path in course.glob("*/*.ipynb")}

    first = files("1")
    for path in course.glob("*/*.ipynb"):
        path.unlink()
    assert files("2") == first
    assert set(first) == {"notebooks", "solutions"}


def test_a_second_run_writes_nothing(course, capsys):
    run_tool(course)
    times = {path: path.stat().st_mtime_ns for path in course.glob("*/*.ipynb")}
    capsys.readouterr()
    assert run_tool(course) == 0
    assert capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in course.glob("*/*.ipynb")} == times


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("    ### BEGIN SOLUTION\n", "", 25, "no BEGIN SOLUTION before it"),
        ("    ### END SOLUTION\n", "", 22, "no END SOLUTION in its cell"),
        ("    if value:\n", "    ### BEGIN SOLUTION\n", 22, "no END SOLUTION in its cell"),
        ("    if value:\n", "# %%\n    if value:\n", 22, "no END SOLUTION in its cell"),
        ("    ### BEGIN", "    # BEGIN", 22, "stands alone"),
        ("    ### END SOLUTION", "    pass  ### END SOLUTION", 26, "stands alone"),
        ("count = 3", "### BEGIN SOLUTION\ncount = 3\n### END SOLUTION", 13, "inside a function"),
        ("    ### BEGIN", "### BEGIN", 27, "no Python"),
        ('double = check("90.1", double)', "", 22, "no check for this region"),
        ("double = check", "checked = check", 22, "no check for this region"),
        ('check("90.1", double)', 'check("90.1", check)', 22, "no check for this region"),
        ('    """Return twice the value."""\n', "", 19, "double needs a docstring"),
        (' tags=["parameters"]', "", 1, "no parameters cell"),
        ("# What it is", "# ![x](data:image/png;base64,iVBO)", 10, "no saved output"),
        ("count = 3", "count = 3\n\n# %% outputs=[]", 15, "no saved output"),
        ("# # Doubling", "# Doubling", 1, "begin with a markdown cell"),
        ('"parameters"]', '"parameters", "folded"]', 12, "opens with a line '# @title"),
        (
            "# %% [markdown]\n# # D",
            '# %% [markdown] tags=["folded"]\n# # D',
            8,
            "is code that opens",
        ),
    ],
)
def test_bad_scripts_are_refused_with_file_and_line(course, capsys, old, new, line, message):
    edit(course, old, new)
    assert run_tool(course) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"solutions/90_doubling.py:{line}: ")
    assert message in error
    assert not list(course.glob("*/*.ipynb"))


def test_a_folded_cell_is_folded_in_jupyterlab_and_colab(course, capsys):
    edit(course, "# %%\nfrom", '# %% tags=["folded"]\n# @title Imports\nfrom')
    assert run_tool(course) == 0
    for notebook in (read(course), read(course, "solutions")):
        setup, _, imports = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert tagged(notebook, "folded") == [setup, imports]
        for cell in (setup, imports):
            assert cell.source.startswith("# @title ")
            assert cell.metadata.jupyter == {"source_hidden": True}
            assert cell.metadata.cellView == "form"
    assert [c.metadata for c in read(course).cells if c.cell_type == "markdown"] == 3 * [{}]


def test_badge_and_clone_follow_the_setting(course):
    run_tool(course)
    plain = (course / "notebooks" / "90_doubling.ipynb").read_text()
    assert "colab" not in plain.lower()
    assert "git" not in plain
    set_repository(course, "owner/name", "v1")
    assert run_tool(course) == 0
    title, setup = read(course).cells[:2]
    link = "https://colab.research.google.com/github/owner/name/blob/v1/notebooks/90_doubling.ipynb"
    assert title.source.startswith("# Doubling\n\n[![Open in Colab](")
    assert title.source.count(f"]({link})\n\nWhat it is about.") == 1
    assert 'repository, ref = "owner/name", "v1"' in setup.source


def test_a_badge_replaces_the_one_before(course):
    set_repository(course, "first/name")
    run_tool(course)
    edit(course, "first/name", "second/name", "pyproject.toml")
    run_tool(course)
    text = (course / "notebooks" / "90_doubling.ipynb").read_text()
    assert "first/name" not in text
    assert text.count("Open in Colab") == 1


def test_a_repository_that_is_no_repository_is_refused(course, capsys):
    set_repository(course, "https://example.org/x")
    assert run_tool(course) == 1
    error = capsys.readouterr().err
    assert error.startswith("pyproject.toml: repository must be 'owner/name' on GitHub, got 'https")
    assert error.count("\n") == 1


@pytest.mark.parametrize("repository", ["", "owner/name"])
def test_setup_cell_is_readable_code(course, repository):
    set_repository(course, repository)
    source, _ = tool.setup_cell(course)
    compile(source, "setup", "exec")
    assert max(map(len, source.splitlines())) <= 100


def run_setup(course: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the setup cell in a Python that has no srlib of its own."""
    hide = (
        "import sys, pathlib\n"
        "own = [p for p in sys.path if pathlib.Path(p, 'srlib', '__init__.py').exists()]\n"
        "sys.path = [p for p in sys.path if p not in own]\n"
    )
    code = f"{hide}{tool.setup_cell(course)[0]}\nimport srlib\nprint(srlib.__file__, flush=True)"
    code += "\nimport subprocess\n"
    code += "subprocess.run([sys.executable, '-c', 'import srlib; print(srlib.__file__)'])"
    environment = os.environ | {"SRLIB_PROFILE": "ci", "MPLBACKEND": "agg"} | environment
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_setup_cell_finds_the_checkout_around_it(course):
    folder = course / "notebooks" / "deeper"
    folder.mkdir(parents=True)
    done = run_setup(course, folder)
    assert done.returncode == 0, done.stderr
    version = sys.version.split()[0]
    line, file, _ = done.stdout.splitlines()
    assert line == f"Python {version}, torch 2.6, CPU, profile ci"
    assert Path(file) == course / "srlib" / "__init__.py"


def test_setup_cell_says_what_to_do_where_there_is_no_checkout(course, tmp_path_factory):
    done = run_setup(course, tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 1
    assert "ModuleNotFoundError: srlib was not found: open this notebook inside" in done.stderr


@pytest.mark.slow
def test_setup_cell_clones_the_repository_once(course, tmp_path_factory):
    (course / "tools").mkdir()
    shutil.copy(TOOL.parent / "install_missing.py", course / "tools")
    set_repository(course, "owner/name", "term/1")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(course)]
    for arguments in (["init", "-q", "-b", "term/1"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run(git + arguments, check=True)
    environment = {
        "GIT_CONFIG_COUNT": "1",  # answers for github.com, so that no network is needed
        "GIT_CONFIG_KEY_0": f"url.file://{course}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/owner/name.git",
        "PIP_NO_INDEX": "1",
    }
    empty = tmp_path_factory.mktemp("colab")
    (empty / "srlib").mkdir()  # a mere folder is no package
    clone = empty / "owner-name-term-1"
    for said in (f"Cloned https://github.com/owner/name.git at term/1 into {clone}",
                 f"The course is in {clone}"):  # fmt: skip
        done = run_setup(course, empty, **environment)
        assert done.returncode == 0, done.stderr
        first, second, versions, place, child = done.stdout.splitlines()
        assert (first, second) == (said, "No package is missing")
        assert versions.endswith("torch 2.6, CPU, profile ci")
        assert place == child == str(clone / "srlib" / "__init__.py")
        assert sorted(path.name for path in empty.iterdir()) == [clone.name, "srlib"]


def test_outputs_stay_while_the_code_is_the_same(course, capsys):
    run_tool(course)
    path = course / "notebooks" / "90_doubling.ipynb"
    notebook = read(course)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="kept\n")]
    notebook.cells[2].execution_count = 2
    notebook.metadata.widgets = {tool.WIDGETS: {"state": {}}}
    nbformat.write(notebook, path)
    before = path.read_text()

    run_tool(course)
    assert path.read_text() == before
    edit(course, "What it is about", "What it is all about")
    edit(course, "# %%\nfrom", '# %% tags=["folded"]\n# @title Imports\nfrom')
    set_repository(course, "owner/name")
    run_tool(course)
    assert output_text(read(course).cells[2]) == "kept\n"
    assert "widgets" in read(course).metadata

    capsys.readouterr()
    edit(course, "count = 3", "count = 4")
    run_tool(course)
    assert (
        "90_doubling.ipynb: written without outputs: it needs --execute" in capsys.readouterr().out
    )
    assert output_text(read(course).cells[2]) == ""


def test_check_finds_what_is_changed_missing_or_surplus(course, capsys):
    def faults() -> str:
        assert run_tool(course, "--check") == 1
        return capsys.readouterr().err

    assert "solutions/90_doubling.ipynb: is missing" in faults()
    run_tool(course)
    assert run_tool(course, "--check") == 0
    path = course / "notebooks" / "90_doubling.ipynb"
    built = path.read_text()

    path.write_text(built.replace("count = 3", "count = 4"))
    assert "notebooks/90_doubling.ipynb: cell 2 differs in source" in faults()
    path.write_text(built.replace('"parameters"', '"parameter"'))
    assert "cell 2 differs in metadata" in faults()
    notebook = nbformat.reads(built, as_version=4)
    del notebook.cells[-1]
    nbformat.write(notebook, path)
    assert "cell 5 is missing" in faults()
    assert path.read_text() != built, "--check writes nothing"
    path.write_text(built)
    (course / "notebooks" / "91_gone.ipynb").write_text(built)
    assert faults() == "notebooks/91_gone.ipynb: no script makes this notebook\n"


def test_a_notebook_that_cannot_be_written_whole_stays_as_it_was(course, monkeypatch):
    run_tool(course)
    paths = [course / folder / "90_doubling.ipynb" for folder in ("solutions", "notebooks")]
    before = [path.read_text() for path in paths]
    edit(course, "count = 3", "count = 4")

    def half(path, text, **_):
        path.write_bytes(text[:1].encode())
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="full"):
        run_tool(course)
    assert [path.read_text() for path in paths] == before


def test_an_unknown_number_is_refused(course, capsys):
    with pytest.raises(SystemExit):
        run_tool(course, "90", "17")
    assert "no script in solutions/ has the number 17" in capsys.readouterr().err


@pytest.fixture
def executable(course, monkeypatch) -> Path:
    """Put the scratch course's packages before the real ones in every kernel."""
    monkeypatch.setenv("PYTHONPATH", str(course))
    monkeypatch.setenv("SRLIB_STRICT", "1")
    monkeypatch.delenv("SRLIB_PROFILE", raising=False)
    return course


def append(course: Path, text: str) -> None:
    with (course / "solutions" / "90_doubling.py").open("a") as file:
        file.write(f"\n{text}")


@pytest.mark.slow
def test_executed_notebooks_repeat_byte_for_byte(executable):
    append(executable, BUSY)
    path = executable / "notebooks" / "90_doubling.ipynb"
    assert run_tool(executable, "90", "--execute") == 0
    first = path.read_text()
    path.unlink()
    assert run_tool(executable, "90", "--execute") == 0
    assert path.read_text() == first
    assert run_tool(executable, "--check") == 0

    notebook = read(executable)
    assert output_text(notebook.cells[1]).endswith("torch 2.6, CPU, profile cpu\n")
    assert output_text(notebook.cells[3]) == "Exercise 90.1 not attempted\n"
    before, bar, bar_widget, slider, after = notebook.cells[-1].outputs
    assert before.text == "before\n"
    assert re.fullmatch(r"100%\|█+\| 3/3\n", bar.text)
    assert after.text == "after <object object at 0x0>\n"
    assert bar_widget.data["text/plain"] == "  0%|          | 0/4"
    state = notebook.metadata.widgets[tool.WIDGETS]["state"]
    assert "\u20074/4" in [model["state"].get("value") for model in state.values()]
    shown = slider.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    children = [child.removeprefix("IPY_MODEL_") for child in state[shown]["state"]["children"]]
    assert [state[child]["model_name"] for child in children] == ["IntSliderModel", "HTMLModel"]
    assert sorted(state) == [f"{n:032x}" for n in range(len(state))]
    assert "language_info" in notebook.metadata
    assert notebook.metadata.language_info == {"name": "python"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        (
            "import ipywidgets\nbox = ipywidgets.Output()\ndisplay(box)\nwith box:\n    1 / 0",
            "inside an Output widget: ZeroDivisionError: division by zero",
        ),
        (
            "import ipywidgets\nipywidgets.HTML('<pre class=\"srlib-error\">bad value</pre>')",
            "shown by a widget: <pre class=",
        ),
        ("print('x' * 1_000_000)", "largest: cell 6 (stream) 1,000,"),
    ],
)
def test_execute_refuses_errors_and_heavy_outputs(executable, capsys, cell, message):
    append(executable, f"# %%\n{cell}\n")
    assert run_tool(executable, "--execute") == 1
    error = capsys.readouterr().err
    assert error.startswith("notebooks/90_doubling.ipynb: ")
    assert message in error
    assert not (executable / "notebooks" / "90_doubling.ipynb").exists()


def test_a_reply_that_comes_in_while_something_is_sent_is_seen():
    session = Session(key=b"key")

    async def exchange() -> dict:
        kernel = zmq.Context.instance().socket(zmq.PAIR)
        socket = zmq.asyncio.Context.instance().socket(zmq.PAIR)
        with kernel, socket:
            socket.connect(f"tcp://127.0.0.1:{kernel.bind_to_random_port('tcp://127.0.0.1')}")
            channel = tool.ReplyChannel(socket, session)
            channel.send(session.msg("hello"))
            kernel.recv_multipart()
            waiting = asyncio.create_task(channel.get_msg())
            await asyncio.sleep(0.1)
            session.send(kernel, "execute_reply")
            time.sleep(0.2)  # the reply is there; asyncio has not run since, and does not know
            channel.send(session.msg("comm_msg"))
            return await asyncio.wait_for(waiting, 20)

    assert asyncio.run(exchange())["msg_type"] == "execute_reply"


def test_a_reply_that_does_not_come_is_not_waited_for_longer_than_asked():
    async def ask() -> None:
        with zmq.asyncio.Context.instance().socket(zmq.PAIR) as socket:
            socket.bind("inproc://nobody")
            await tool.ReplyChannel(socket, Session()).get_msg(timeout=0.7)

    with pytest.raises(Empty):
        asyncio.run(ask())


# The course's notebooks

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


@functools.cache
def learner(script: Path) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{script.stem}.ipynb", as_version=4)


def markdown(notebook: nbformat.NotebookNode) -> str:
    """Return the notebook's text without its fenced code."""
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def images(cell: nbformat.NotebookNode) -> list:
    return [o for o in cell.get("outputs", []) if set(IMAGES) & set(o.get("data", {}))]


def checks(cell: nbformat.NotebookNode) -> int:
    """Count the exercises that a cell checks."""
    return len(re.findall(r"\bcheck\(", cell.source)) if cell.cell_type == "code" else 0


def test_there_are_notebooks():
    assert len(SCRIPTS) >= 4


def test_committed_notebooks_equal_a_rebuild(capsys):
    assert tool.main(["--check"]) == 0, capsys.readouterr().err


@each_script
def test_outputs_are_whole_and_light(script):
    path = ROOT / "notebooks" / f"{script.stem}.ipynb"
    assert path.stat().st_size <= tool.SIZE_LIMIT, tool.largest_outputs(learner(script))
    assert tool.find_errors(learner(script)) == []
    code = [cell for cell in learner(script).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "not executed: --execute"
    assert any(images(cell) for cell in code)
    assert "not attempted" not in output_text(tagged(learner(script), "setup")[0])


@each_script
def test_solution_notebooks_have_no_outputs(script):
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@each_script
def test_every_exercise_reports_not_attempted(script):
    for index, cell in enumerate(learner(script).cells):
        reports = output_text(cell).lower().count("not attempted")
        assert reports >= checks(cell), f"cell {index}: {output_text(cell)}"


@each_script
def test_opening_promises_and_shows_where_it_leads(script):
    cells = learner(script).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    sections = 0
    for cell in cells:  # a picture stands before the third section
        if cell.cell_type == "markdown":
            sections += len(re.findall(r"^## ", cell.source, flags=re.MULTILINE))
        if images(cell):
            break
    assert sections < 3
    opening = re.split(r"^## ", markdown(learner(script)), flags=re.MULTILINE)[0]
    promise = re.search(
        r"After this you can\b[^\n]*\n+((?:[-*\d].*\n(?:  .*\n)*)+)", opening + "\n"
    )
    assert promise, "the opening has no list 'After this you can'"
    assert len(re.findall(r"^[-*\d]", promise[1], flags=re.MULTILINE)) == 3
    assert re.search(r"\d+ (seconds|minutes?)\b", opening)
    assert "GPU" in opening, "say what the time is with and without a GPU"


@each_script
def test_what_is_saved_names_no_folder_of_the_computer_that_ran_it(script):
    saved = [cell.get("outputs", []) for cell in learner(script).cells]
    found = re.findall(r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt|srv)/\S+", json.dumps(saved))
    assert not found, f"run it again with SRLIB_DATA unset: {found[:3]}"


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        (" 50%|#####     | 1/2 [00:01<00:01,  1.00it/s]", " 50%|#####     | 1/2"),
        ("halo: 3step [1:02:03, 2.5step/s, 31.2 dB]", "halo: 3step"),
        ("halo:   0%|          | 0/21 [00:00<?, ?picture/s]", "halo:   0%|          | 0/21"),
        ("tensor([[ 8,  9],\n        [10, 11]])", "tensor([[ 8,  9],\n        [10, 11]])"),
        ("[95, 80] at 0x7f12ab34cd", "[95, 80] at 0x0"),
    ],
)
def test_times_and_addresses_leave_the_outputs_and_nothing_else(printed, kept):
    output = nbformat.v4.new_output("stream", name="stdout", text=printed)
    cell = nbformat.v4.new_code_cell(outputs=[output])
    notebook = tool.normalise(nbformat.v4.new_notebook(cells=[cell]))
    assert notebook.cells[0].outputs[0].text == kept


@each_script
def test_the_course_form(script):
    notebook = learner(script)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.cell_type for cell in tagged(notebook, "parameters")] == ["code"]
    assert sum(map(checks, code)) >= 2
    assert any("Explorer(" in cell.source for cell in code)
    headings = re.findall(r"^##+ (.*?)\s*$", markdown(notebook), flags=re.MULTILINE)
    for heading in ("What you saw", "Pitfalls", "Further reading"):
        assert heading in headings


@each_script
def test_code_cells_are_short(script):
    for index, cell in enumerate(learner(script).cells):
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 25, f"cell {index} of {script.stem}: {lines[0]}"


OPEN_LINES = 250  # of code that is the lesson, in a notebook
# All other code is folded.


@each_script
def test_only_the_lesson_is_open(script):
    cells = [cell for cell in learner(script).cells if cell.cell_type == "code"]
    unfolded = [cell for cell in cells if "folded" not in cell.metadata.get("tags", [])]
    lines = [line for cell in unfolded for line in cell.source.splitlines() if line.strip()]
    assert len(lines) <= OPEN_LINES, f"fold what is not the lesson: {len(lines)} lines are open"
    imports = ast.Import | ast.ImportFrom
    for cell in unfolded:
        only_imports = all(isinstance(node, imports) for node in ast.parse(cell.source).body)
        assert not only_imports, "a cell of imports gets the tag folded"


@each_script
def test_no_exercise_is_folded(script):
    assert sum(map(checks, tagged(learner(script), "folded"))) == 0


FOLDED_ANSWER = re.compile(
    r"^<details><summary>What happened</summary>\n\n.+?\n\n</details>$", re.MULTILINE | re.DOTALL
)


@each_script
def test_every_predict_is_answered_and_the_answer_is_folded(script):
    text = markdown(learner(script))
    parts = re.split(r"^\*Predict:\*", text, flags=re.MULTILINE)[1:]
    for part in parts:
        assert len(FOLDED_ANSWER.findall(part)) == 1, f"answered once, below: {part[:80]}"
    assert len(FOLDED_ANSWER.findall(text)) == len(parts)


# Decimal numbers with a unit, also in "0.79 and 0.86 dB", "from 1.3 to 2.1 dB".
UNIT = r" ?(?:dB\b|%|ms\b|grey levels\b|kB\b)"
QUOTED = re.compile(
    rf"(?<![\w.])\d+\.\d+(?:{UNIT})?(?:(?:,| and| or| to| against| instead of) \d+\.\d+)*{UNIT}"
)
SOURCE = re.compile(r"\b(19|20)\d\d\b|\(measured|published")


def quoted_numbers(text: str) -> list[str]:
    """Return the numbers with a unit in a notebook's prose, but those whose sentence has a source.

    A source is a year, the word "published", or a bracket that opens with "(measured".
    """
    found = []
    for sentence in re.split(r"(?<=[.?:])\s+|\n\n|\n[-|] ", prose(text)):
        if not SOURCE.search(sentence):
            quotes = QUOTED.findall(" ".join(sentence.split()))
            found += [number for quote in quotes for number in re.findall(r"\d+\.\d+", quote)]
    return found


def printed_numbers(cells: list, states: dict) -> list[str]:
    """Return all numbers that cells have printed or that stand beside their widgets."""
    texts = []
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        if VIEW in data:
            inside = widgets_inside(states, data[VIEW]["model_id"])
            texts += [str(model["state"].get("value", "")) for model in inside]
        elif not set(IMAGES) & set(data):  # whose text is a figure's alt text
            texts += [output.get("text", ""), data.get("text/plain", "")]
    return re.findall(r"\d+(?:\.\d+)?", " ".join(texts))


def sections(notebook: nbformat.NotebookNode) -> list[list]:
    """Return the cells of each section; its heading is in the first one."""
    found = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^## ", cell.source, flags=re.MULTILINE):
            found.append([])
        found[-1].append(cell)
    return found


def is_rounded_from(quoted: str, printed: str) -> bool:
    digits = len(quoted.partition(".")[2])
    enough = len(printed.partition(".")[2]) >= digits
    return enough and abs(float(quoted) - float(printed)) <= 0.5001 * 10**-digits


@each_script
def test_quoted_numbers_are_what_the_cells_print(script):
    """In a numbered section it is a cell of the section, elsewhere any cell."""
    notebook = learner(script)
    for cells in sections(notebook):
        numbered = re.match(r"## \d", cells[0].source)
        printed = printed_numbers(
            cells if numbered else notebook.cells, tool.widget_states(notebook)
        )
        for number in quoted_numbers(markdown(nbformat.from_dict({"cells": cells}))):
            found = any(is_rounded_from(number, other) for other in printed)
            assert found, f"{number} is not printed; print it, or name a source in the sentence"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It gains 0.25 dB, and\n0.79 and 0.86 dB there.", ["0.25", "0.79", "0.86"]),
        ("From 1.3 to 2.1 dB. So 13.6 kB instead of 16.1 kB.", ["1.3", "2.1", "13.6", "16.1"]),
        ("At a = -0.5 it is 2 dB; see section 3.2. `0.5 dB`, $0.5$ dB", []),
        ("IMDN loses 8.5 dB (measured, section 7). Hui et al. 2019 say 32.19 dB.", []),
        ("Half the error\nis 1.2 % of it.", ["1.2"]),
    ],
)
def test_quoted_numbers_are_found(text, found):
    assert quoted_numbers(text) == found


def test_a_quoted_number_may_be_rounded():
    pairs = [
        ("28.4", "28.43"),
        ("1.7", "1.737"),
        ("28.43", "28.4"),
        ("28.5", "28.43"),
        ("2.0", "2"),
    ]
    assert [is_rounded_from(*pair) for pair in pairs] == [True, True, False, False, False]


def prose(text: str) -> str:
    """Drop what may hold an exclamation mark: code, formulas, comments, pictures, addresses."""
    return re.sub(
        r"`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|<[^>]*>|!?(?=\[)|\]\([^)]*\)", "", text, flags=re.S
    )


@each_script
def test_prose_has_no_exclamation_marks(script):
    assert re.findall(r".*!.*", prose(markdown(learner(script)))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("Look!", True), ("`a != b`, $n!$, ![alt](a!b), <!-- x -->", False), ("See [it!](b).", True)],
)
def test_prose_finds_exclamation_marks(text, found):
    assert ("!" in prose(text)) is found


@each_script
def test_every_figure_has_alt_text(script):
    for index, cell in enumerate(learner(script).cells):
        for output in images(cell):
            alts = [output.metadata.get(mime, {}).get("alt", "").strip() for mime in IMAGES]
            assert any(alts), f"cell {index} of {script.stem}: use srlib.figures.show(figure, alt)"


SWEEP = """\
from srlib.widgets import Explorer
found = [value for value in list(globals().values()) if isinstance(value, Explorer)]
assert found
for explorer in found:
    explorer.sweep()
"""


SAMPLE_ANSWER = re.compile(
    r"<details><summary>A sample answer</summary>\n\n```python\n(.+?)\n```", re.S
)


def sample_answers(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the code of the folded answers to open exercises."""
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    answers = SAMPLE_ANSWER.findall(text)
    assert len(answers) == text.count("A sample answer<"), "an answer opens with a python block"
    return answers


def test_a_sample_answer_without_code_is_noticed():
    answer = "<details><summary>A sample answer</summary>\n\n{}\n\nIt is 1.\n\n</details>"
    cell = nbformat.v4.new_markdown_cell(answer.format("```python\nx = 1\nprint(x)\n```"))
    assert sample_answers(nbformat.v4.new_notebook(cells=[cell])) == ["x = 1\nprint(x)"]
    cell.source += "\n\n" + answer.format("Look.")
    with pytest.raises(AssertionError, match="opens with a python block"):
        sample_answers(nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.notebooks
@each_script
def test_solution_runs_strictly_with_sliders_and_sample_answers(script, tmp_path, monkeypatch):
    """Every slider at its ends, then the sample answers, which may give names other values."""
    papermill = pytest.importorskip("papermill")
    monkeypatch.setenv("SRLIB_PROFILE", "ci")
    monkeypatch.setenv("SRLIB_STRICT", "1")
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    answers = sample_answers(notebook)
    notebook.cells += map(nbformat.v4.new_code_cell, [SWEEP, *answers])
    nbformat.write(notebook, tmp_path / "solution.ipynb")
    folder = ROOT / "notebooks"
    before = sorted(folder.iterdir())
    try:
        papermill.execute_notebook(
            tmp_path / "solution.ipynb",
            tmp_path / "executed.ipynb",
            cwd=folder,
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=600,
        )
    except papermill.PapermillExecutionError as error:
        where = "the sample answer of " if error.source in answers else ""
        raise AssertionError(f"{where}{script.stem}: {error}") from None
    assert tool.find_errors(nbformat.read(tmp_path / "executed.ipynb", as_version=4)) == []
    assert sorted(folder.iterdir()) == before, "a notebook writes into the repository"
