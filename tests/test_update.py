"""`make update` on real git repositories: whatever a learner has done, no byte is lost."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import update
from hypothesis import given, settings
from hypothesis import strategies as st

REPOSITORY = Path(__file__).resolve().parents[1]

NOTEBOOK = "notebooks/05.ipynb"
pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder, *arguments, check=True):
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def notebook(*cells, output=""):
    cells = [{"cell_type": "code", "source": c, "outputs": [output]} for c in cells]
    return json.dumps({"cells": cells})


def commit(folder):
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "change")


FIRST = {
    NOTEBOOK: notebook("a = 1", "b = 2"),
    "notebooks/06.ipynb": notebook("c = 3"),
    "srlib/models.py": "layers = 3\n",
    "old.txt": "to be deleted",
    ".gitignore": "runs/\n",
}


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def plain_git(tmp_path_factory):
    """Git as it is delivered, whatever the settings of the account that runs the tests."""
    settings = tmp_path_factory.mktemp("git") / "config"
    settings.write_text("[user]\nname=A\nemail=a@b\n[init]\ndefaultBranch=main\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The course with a first version, which a learner has cloned."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "origin").mkdir()
    git(folder / "origin", "init", "--quiet")
    put(folder / "origin", FIRST)
    commit(folder / "origin")
    return folder


def clone(template, folder):
    shutil.copytree(template / "origin", folder / "origin")
    git(folder, "clone", "--quiet", "origin", "learner")
    return folder / "origin", folder / "learner"


@pytest.fixture
def course(template, tmp_path):
    return clone(template, tmp_path)


NEWS = {NOTEBOOK: notebook("a = 10", "b = 2"), "srlib/models.py": "layers = 4\n", "new.txt": "new"}


def publish(origin, files=None):
    put(origin, NEWS if files is None else files)
    commit(origin)


def everything(folder):
    """Every content that can be found: in the working tree, and in what a branch names."""
    found = {
        path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
    for line in git(folder, "rev-list", "--objects", "--branches", "--remotes").splitlines():
        name = line.split()[0]
        if git(folder, "cat-file", "-t", name) == "blob":
            found.add(subprocess.check_output(["git", "cat-file", "blob", name], cwd=folder))
    return found


def state(folder):
    """All that an update that did not take place must leave alone."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", "my_work"} & set(path.relative_to(folder).parts)
    }
    return (
        files,
        git(folder, "status", "--porcelain=v2", "--branch").splitlines()[:2],
        staged(folder),
    )


def staged(folder):
    return git(folder, "ls-files", "--stage"), git(folder, "stash", "list")


def kept(learner):
    """What lies in my_work, by its name there without the date."""
    files = [p for p in (learner / "my_work").glob("*/**/*") if p.is_file()]
    return {"/".join(p.relative_to(learner / "my_work").parts[1:]): p.read_text() for p in files}


def is_new(learner):
    head = git(learner, "rev-parse", "HEAD")
    return head == git(learner, "rev-parse", "origin/main") and (learner / "new.txt").is_file()


# --- what goes well ---------------------------------------------------------------------------


def test_an_untouched_copy_is_updated(course, capsys):
    origin, learner = course
    publish(origin)
    assert update.main(learner) == 0
    assert is_new(learner) and git(learner, "status", "--porcelain") == ""
    assert not (learner / "my_work").exists()
    assert "1 new version" in capsys.readouterr().out
    before = state(learner)
    assert update.main(learner) == 0
    assert state(learner) == before and "up to date" in capsys.readouterr().out


def test_changed_notebooks_are_kept_and_replaced(course, capsys):
    origin, learner = course
    publish(origin)
    mine = notebook("a = 1", "b = 'my answer ü'")
    put(learner, {NOTEBOOK: mine, "notebooks/06.ipynb": notebook("mine too")})
    assert update.main(learner) == 0
    assert is_new(learner)
    assert (learner / NOTEBOOK).read_text() == NEWS[NOTEBOOK]
    assert kept(learner) == {NOTEBOOK: mine}
    # The update has nothing for 06, so it stays where it was.
    assert (learner / "notebooks/06.ipynb").read_text() == notebook("mine too")
    assert git(learner, "status", "--porcelain") == "M notebooks/06.ipynb"
    printed = capsys.readouterr().out
    assert NOTEBOOK in printed and "my_work/20" in printed and "only run" not in printed


def test_a_notebook_that_was_only_run_is_said_to_be(course, capsys):
    origin, learner = course
    publish(origin)
    put(learner, {NOTEBOOK: notebook("a = 1", "b = 2", output="12 dB")})
    assert update.main(learner) == 0
    assert NOTEBOOK in kept(learner) and "only run" in capsys.readouterr().out


def test_what_is_staged_is_kept_too(course):
    origin, learner = course
    publish(origin)
    put(learner, {NOTEBOOK: "staged", "new.txt": "added"})
    git(learner, "add", "--all")
    put(learner, {NOTEBOOK: "later"})
    assert update.main(learner) == 0
    assert kept(learner) == {
        NOTEBOOK: "later",
        f"staged/{NOTEBOOK}": "staged",
        "other/new.txt": "added",
    }
    assert is_new(learner) and git(learner, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["new.txt", "runs/1/log.csv", "notebooks/neu ü [1]*.ipynb"])
def test_own_files_where_the_course_has_new_ones_are_kept(course, name):
    """Ignored ones too, which git itself overwrites without a word."""
    origin, learner = course
    publish(origin, NEWS | {name: "the course's"})
    put(learner, {name: "mine"})
    assert update.main(learner) == 0
    assert is_new(learner) and (learner / name).read_text() == "the course's"
    assert list(kept(learner).values()) == ["mine"]


def test_deleted_and_renamed_files(course, capsys):
    origin, learner = course
    git(origin, "mv", NOTEBOOK, "notebooks/05_new.ipynb")
    (origin / "old.txt").unlink()
    publish(origin, {"new.txt": "new", "notebooks/06.ipynb": notebook("c = 4")})
    put(learner, {NOTEBOOK: notebook("mine"), "old.txt": "mine"})
    (learner / "notebooks/06.ipynb").unlink()
    assert update.main(learner) == 0
    assert is_new(learner) and git(learner, "status", "--porcelain") == ""
    assert kept(learner) == {NOTEBOOK: notebook("mine"), "other/old.txt": "mine"}
    assert not (learner / "old.txt").exists() and not (learner / NOTEBOOK).exists()
    assert "you had deleted it" in capsys.readouterr().out


def test_a_name_that_looks_like_a_pattern_is_that_file_only(course):
    origin, learner = course
    publish(origin, {"a*.txt": "1", "ab.txt": "1"})
    assert update.main(learner) == 0
    publish(origin, NEWS | {"a*.txt": "2"})
    put(learner, {"a*.txt": "mine", "ab.txt": "mine too"})
    assert update.main(learner) == 0
    assert is_new(learner) and kept(learner) == {"other/a*.txt": "mine"}
    assert (learner / "ab.txt").read_text() == "mine too"


def test_two_updates_in_one_minute_keep_both(course):
    origin, learner = course
    for text in ("first", "second"):
        publish(origin, NEWS | {NOTEBOOK: notebook(f"the course's {text}")})
        put(learner, {NOTEBOOK: text})
        assert update.main(learner) == 0
    contents = {p.read_text() for p in learner.glob(f"my_work/*/{NOTEBOOK}")}
    assert contents == {"first", "second"}


def test_a_notebook_that_became_a_link_and_an_own_list_of_what_to_ignore(course):
    origin, learner = course
    put(learner, {"my_work/.gitignore": "mine\n", "my_work/05.ipynb": "elsewhere"})
    (learner / NOTEBOOK).unlink()
    (learner / NOTEBOOK).symlink_to(Path("..", "my_work", "05.ipynb"))
    publish(origin)
    assert update.main(learner) == 0 and is_new(learner)
    link = next(learner.glob("my_work/20*")) / NOTEBOOK
    assert link.is_symlink() and str(link.readlink()) == "../my_work/05.ipynb"
    assert (learner / "my_work/.gitignore").read_text() == "mine\n"


def test_the_setup_cell_does_not_take_what_is_kept_for_the_course(course):
    origin, learner = course
    publish(origin, NEWS | {"pyproject.toml": "new"})
    put(learner, {NOTEBOOK: "mine", "pyproject.toml": "mine", "srlib/models.py": "mine"})
    assert update.main(learner) == 0
    folder = next(learner.glob(f"my_work/*/{NOTEBOOK}")).parent
    places = [folder, *folder.parents]
    courses = [p for p in places if (p / "srlib").is_dir() and (p / "pyproject.toml").is_file()]
    assert courses[0] == learner


def test_new_packages_are_said(course, capsys):
    origin, learner = course
    publish(origin, {"pyproject.toml": "new"})
    assert update.main(learner) == 0
    assert "make lab" in capsys.readouterr().out


def test_a_shallow_clone_is_updated(course, tmp_path):
    origin, _ = course
    git(tmp_path, "clone", "--quiet", "--depth=1", origin.as_uri(), "shallow")
    publish(origin)
    put(tmp_path / "shallow", {NOTEBOOK: "mine"})
    assert update.main(tmp_path / "shallow") == 0
    assert is_new(tmp_path / "shallow") and kept(tmp_path / "shallow") == {NOTEBOOK: "mine"}


def test_an_autostash_setting_changes_nothing(course):
    origin, learner = course
    publish(origin)
    git(learner, "config", "merge.autoStash", "true")
    git(learner, "config", "pull.rebase", "true")
    put(learner, {NOTEBOOK: "mine"})
    assert update.main(learner) == 0
    assert is_new(learner) and kept(learner) == {NOTEBOOK: "mine"} and staged(learner)[1] == ""


def test_it_runs_as_a_program_and_an_old_python_can_read_it(course):
    origin, learner = course
    (learner / "tools").mkdir()
    program = shutil.copy(REPOSITORY / "tools" / "update.py", learner / "tools")
    ast.parse(Path(program).read_text(), feature_version=(3, 9))
    publish(origin)
    put(learner, {NOTEBOOK: "mine"})
    command = [sys.executable, "-I", program]
    done = subprocess.run(command, cwd=learner.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert is_new(learner) and kept(learner) == {NOTEBOOK: "mine"}


# --- what does not ----------------------------------------------------------------------------


def own_commit(origin, learner):
    put(learner, {"mine.txt": "mine"})
    commit(learner)


def detached(origin, learner):
    git(learner, "checkout", "--quiet", "--detach")


def no_upstream(origin, learner):
    git(learner, "checkout", "--quiet", "-b", "mine")


def no_server(origin, learner):
    origin.rename(origin.with_name("elsewhere"))


def merging(origin, learner):
    git(learner, "checkout", "--quiet", "-b", "side")
    put(learner, {NOTEBOOK: "side"})
    commit(learner)
    git(learner, "checkout", "--quiet", "main")
    put(learner, {NOTEBOOK: "main"})
    commit(learner)
    git(learner, "merge", "side", check=False)


def rebasing(origin, learner):
    merging(origin, learner)
    git(learner, "merge", "--abort")
    git(learner, "rebase", "side", check=False)


def file_for_a_folder(origin, learner):
    publish(origin, {"extra/file.txt": "the course's"})
    put(learner, {"extra": "mine", NOTEBOOK: "mine as well", "new.txt": "and this"})
    git(learner, "add", NOTEBOOK)


def folder_for_a_file(origin, learner):
    put(learner, {"new.txt/mine": "mine", NOTEBOOK: "mine as well"})


def tracked_file_made_a_folder(origin, learner):
    (learner / "srlib/models.py").unlink()
    put(learner, {"srlib/models.py/mine": "mine"})


def hidden_change(origin, learner):
    git(learner, "update-index", "--skip-worktree", NOTEBOOK)
    put(learner, {NOTEBOOK: "hidden", "srlib/models.py": "seen"})


def locked(origin, learner):
    put(learner, {NOTEBOOK: "mine"})
    (learner / ".git" / "index.lock").touch()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (own_commit, "1 commit.* of its own.*git branch my-commits"),
        (detached, "not on a branch.*git checkout main"),
        (no_upstream, "git branch --set-upstream-to=origin/main"),
        (no_server, "server cannot be reached"),
        (merging, "A merge is not finished.*git merge --abort"),
        (rebasing, "A rebase is not finished.*git rebase --abort"),
        (file_for_a_folder, "Git refuses to update. Nothing was changed.*extra"),
        (folder_for_a_file, "Git refuses to update. Nothing was changed.*new.txt"),
        (tracked_file_made_a_folder, "folder of yours.*srlib/models.py"),
        (hidden_change, "Git refuses to update. Nothing was changed.*05.ipynb"),
        (locked, "index.lock"),
    ],
)
def test_what_cannot_be_updated_is_said_and_nothing_changes(course, capsys, trouble, said):
    origin, learner = course
    publish(origin)
    trouble(origin, learner)
    before = state(learner)
    assert update.main(learner) == 1
    assert re.search(said, capsys.readouterr().err, re.DOTALL)
    (learner / ".git" / "index.lock").unlink(missing_ok=True)
    assert state(learner) == before
    assert kept(learner) == {}


def test_the_cure_for_own_commits_works(course, capsys):
    origin, learner = course
    publish(origin)
    own_commit(origin, learner)
    update.main(learner)
    for line in capsys.readouterr().err.splitlines():
        if line.startswith("  git "):
            git(learner, *line.split()[1:])
    assert is_new(learner) and git(learner, "show", "my-commits:mine.txt") == "mine"


def test_ctrl_c_puts_everything_back(course, monkeypatch):
    origin, learner = course
    publish(origin)
    put(learner, {NOTEBOOK: "mine", "new.txt": "mine too"})
    git(learner, "add", NOTEBOOK)
    before = state(learner)
    ask = update.Git.ask

    def interrupted(self, *arguments, **options):
        if arguments[0] == "merge":
            raise KeyboardInterrupt
        return ask(self, *arguments, **options)

    monkeypatch.setattr(update.Git, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        update.update(learner)
    assert state(learner) == before and kept(learner) == {}


def test_no_repository_and_one_inside_another(course, tmp_path, capsys):
    (tmp_path / "zip").mkdir()
    assert update.main(tmp_path / "zip") == 1
    assert "If it came as a ZIP file" in capsys.readouterr().err
    assert update.main(course[1] / "notebooks") == 1
    assert "folder of another git repository" in capsys.readouterr().err


def test_git_is_missing(course, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert update.main(course[1]) == 1
    assert "git was not found" in capsys.readouterr().err


def test_a_copy_of_another_account(course, monkeypatch, capsys):
    monkeypatch.setattr(update.os, "access", lambda path, mode: mode != os.W_OK)
    assert update.main(course[1]) == 1
    address = git(course[1], "remote", "get-url", "origin")
    assert f'git clone "{address}" my-course' in capsys.readouterr().err


# --- anything at all --------------------------------------------------------------------------

NAMES = ["notebooks/05.ipynb", "notebooks/06.ipynb", "old.txt", "new.txt", "runs/log", "d/e"]
LEARNER = st.lists(
    st.tuples(
        st.sampled_from(["edit", "edit", "add", "delete", "remove", "run"]), st.sampled_from(NAMES)
    ),
    max_size=8,
)
COURSE = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["edit", "delete"]), max_size=6)


@pytest.mark.processes
@settings(max_examples=25)
@given(LEARNER, COURSE, st.booleans())
def test_no_byte_is_lost(template, tmp_path_factory, learner_does, course_does, commits):
    folder = tmp_path_factory.mktemp("any")
    origin, learner = clone(template, folder)
    for name, action in course_does.items():
        if action == "edit":
            put(origin, {name: f"the course's {name}"})
        else:
            (origin / name).unlink(missing_ok=True)
    publish(origin)
    had = set()
    for number, (action, name) in enumerate(learner_does):
        if action == "edit":
            put(learner, {name: f"mine {number}"})
        elif action == "run":
            put(learner, {name: notebook("a = 1", "b = 2", output=number)})
        elif action == "add":
            git(learner, "add", "--force", name, check=False)
        elif action == "delete":
            (learner / name).unlink(missing_ok=True)
        else:
            git(learner, "rm", "--cached", "--quiet", name, check=False)
    if commits:
        git(learner, "commit", "--quiet", "-m", "mine", check=False)
    had = {p.read_bytes() for p in learner.rglob("*") if p.is_file() and ".git" not in p.parts}
    for line in git(learner, "ls-files", "--stage").splitlines():
        name = line.split()[1]
        had.add(subprocess.check_output(["git", "cat-file", "blob", name], cwd=learner))
    before, own = state(learner), git(learner, "rev-list", "--count", "origin/main..HEAD")
    status = update.main(learner)
    assert had <= everything(learner)
    if own == "0":
        assert status == 0 and is_new(learner)
    else:
        assert status == 1 and state(learner) == before
    shutil.rmtree(folder)
