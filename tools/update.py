"""Get the course's newest version without losing anything.

``make update``, or ``python tools/update.py`` on a machine without make; any Python from 3.9 on.

A file that you changed and the new version changes too is first copied to ``my_work/DATE/``, which
git ignores, and then replaced. If that cannot be done, a sentence says why, and everything is as it
was.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
PACKAGES = {"pyproject.toml", "constraints.txt"}


class CannotUpdate(Exception):
    """An update is not possible and nothing has changed; the message says why."""


class Git:
    """Runs git in a folder, in English and without questions."""

    def __init__(self, root):
        self.root = root
        self.program = shutil.which("git")
        if not self.program:
            raise CannotUpdate("git was not found. Install it: git-scm.com")

    def run(self, *arguments):
        command = [
            self.program,
            "--literal-pathspecs",
            *("-c", "merge.autoStash=false"),  # else it may leave conflict marks in notebooks
            *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),  # bytes/s, s
            *arguments,
        ]
        environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            environment.pop(name, None)
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True)

    def ask(self, *arguments, otherwise=None):
        """Return what git prints. If it fails, raise CannotUpdate, with `otherwise` first."""
        done = self.run(*arguments)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise CannotUpdate(f"{otherwise or 'git ' + ' '.join(arguments) + ' failed'}\n{said}")
        return done.stdout.decode(errors="surrogateescape")

    def changed(self, *arguments):
        """Return the paths that `git diff` lists."""
        return self.paths("diff", "--name-only", "--no-renames", "--no-ext-diff", *arguments)

    def paths(self, *arguments):
        """Return the paths that a git command lists."""
        command, *options = arguments
        return set(filter(None, self.ask(command, "-z", *options).split("\0")))


def update(root):
    """Update the checkout at `root`; return the lines to print, or raise CannotUpdate."""
    git = Git(root)
    check_state(git)
    git.ask(
        "fetch",
        "--quiet",
        otherwise="The course's server cannot be reached. Is the network there? Git says:",
    )
    ahead, behind = map(
        int, git.ask("rev-list", "--left-right", "--count", "HEAD...@{upstream}").split()
    )
    if not behind:
        return ["The course is up to date. Nothing was changed."]
    if ahead:
        raise CannotUpdate(
            f"This copy has {ahead} commit(s) of its own, and the course has {behind} new one(s). "
            "To keep yours under a name and take the course's version:\n"
            "  git branch my-commits\n  git reset --keep @{upstream}\n"
            "To put both together yourself: git pull --no-rebase"
        )
    old, new = (git.ask("rev-parse", name).strip() for name in ("HEAD", "@{upstream}"))
    touched = git.changed(old, new)
    mine = find_mine(git, touched)
    kept = keep(git, mine) if mine else None
    index = Path(git.ask("rev-parse", "--absolute-git-dir").strip(), "index")
    index_before = index.read_bytes()
    try:
        clear(git, mine)
        git.ask(
            "merge",
            "--ff-only",
            "--no-overwrite-ignore",
            "--quiet",
            new,
            otherwise="Git refuses to update. Nothing was changed. It says:",
        )
    except BaseException:
        if git.ask("rev-parse", "HEAD").strip() != new:
            put_back(git, mine, kept)
            index.write_bytes(index_before)
        raise
    lines = [f"The course was updated ({behind} new version(s))."]
    if mine:
        place = kept.relative_to(git.root).as_posix()
        lines.append(f"Files of yours that have a new version; yours are in {place}:")
        lines += [f"  {path}{remark(git, old, path, kept)}" for path in mine]
    if PACKAGES & touched:
        lines.append(
            "It may need other packages now. Once more: make lab "
            '(or python -m pip install -c constraints.txt -e ".[course]")'
        )
    return lines


def check_state(git):
    """Raise CannotUpdate if there is no branch that can be moved to a newer version."""
    if not os.access(git.root, os.W_OK):
        # Read from the file: git refuses to open a repository of another account.
        config = str(git.root / ".git" / "config")
        origin = git.run("config", "--file", config, "remote.origin.url").stdout.decode().strip()
        raise CannotUpdate(
            f"{git.root} belongs to another account. Make a copy of your own, and work there:\n"
            f'  git clone "{origin or git.root}" my-course'
        )
    git.ask(
        "rev-parse",
        "--git-dir",
        otherwise="This folder cannot be updated by git. If it came as a ZIP file, get the new "
        "one and copy your notebooks into it. Git says:",
    )
    # If the course lies inside another repository, git would update that one.
    if git.ask("rev-parse", "--show-prefix").strip():
        raise CannotUpdate(f"{git.root} is a folder of another git repository; update that one.")
    folder = Path(git.ask("rev-parse", "--absolute-git-dir").strip())
    for name, what in UNFINISHED.items():
        if (folder / name).exists():
            raise CannotUpdate(
                f"A {what} is not finished. Finish it, or give it up: git {what} --abort"
            )
    if git.changed("--diff-filter=U"):
        raise CannotUpdate("Some files hold conflicts. Settle them first; git status lists them.")
    if git.run("symbolic-ref", "--quiet", "HEAD").returncode:
        raise CannotUpdate(
            "This copy is at a fixed version, not on a branch. To follow the newest one: "
            "git checkout main"
        )
    git.ask("rev-parse", "--verify", "--quiet", "HEAD", otherwise="There is no version here yet.")
    git.ask(
        "rev-parse",
        "--verify",
        "@{upstream}",
        otherwise="This branch follows no branch of the course. If that is origin/main: "
        "git branch --set-upstream-to=origin/main. Git says:",
    )


def find_mine(git, touched):
    """Return the files that the update changes and that differ from the last version."""
    changed = git.changed("HEAD") | git.changed("--cached", "HEAD")
    unknown = touched - git.paths("ls-files", "--cached")
    places = {path: git.root / path for path in unknown}
    in_the_way = {p for p, place in places.items() if place.is_file() or place.is_symlink()}
    mine = sorted((changed & touched) | in_the_way)
    for path in mine:
        if (git.root / path).is_dir() and not (git.root / path).is_symlink():
            raise CannotUpdate(
                f"A folder of yours is where the course has a file: {path}. Move it."
            )
    return mine


def copy_of(path, kept):
    """Return where a file is kept; a kept srlib must not pass for the course's own."""
    return kept / path if path.endswith(".ipynb") else kept / "other" / path


def keep(git, mine):
    """Copy files, and their staged versions, to a new folder in my_work; return the folder."""
    work = git.root / "my_work"
    kept, number = work / time.strftime("%Y-%m-%d_%H%M"), 1
    while kept.exists():
        number += 1
        kept = work / time.strftime(f"%Y-%m-%d_%H%M_{number}")
    kept.mkdir(parents=True)
    if not (work / ".gitignore").exists():
        (work / ".gitignore").write_text("*\n")
    for path in mine:
        source, target = git.root / path, copy_of(path, kept)
        if os.path.lexists(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    staged = git.changed("--diff-filter=d", "--cached", "HEAD") & set(mine)
    place = f"--prefix={kept.relative_to(git.root).as_posix()}/staged/"
    for path in staged & git.changed():
        git.ask("checkout-index", place, "--", path)
    return kept


def clear(git, mine):
    """Reset files to the last version, in the index too; delete those that it did not have."""
    known = set(mine) & git.paths("ls-tree", "-r", "--name-only", "--full-tree", "HEAD")
    staged = set(mine) & git.paths("ls-files", "--cached")
    if known | staged:
        git.ask("reset", "--quiet", "HEAD", "--", *sorted(known | staged))
    if known:
        git.ask("checkout", "--quiet", "--", *sorted(known))
    for path in set(mine) - known:
        (git.root / path).unlink()


def put_back(git, mine, kept):
    """Undo `clear`, then `keep`."""
    for path in mine:
        source, target = copy_of(path, kept), git.root / path
        if os.path.lexists(target):
            target.unlink()
        if os.path.lexists(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    if kept:
        shutil.rmtree(kept)


def remark(git, old, path, kept):
    """Say what is special about a file that was kept."""
    if not os.path.lexists(copy_of(path, kept)):
        return "   (you had deleted it)"
    if path.endswith(".ipynb") and copy_of(path, kept).is_file():  # no link that leads nowhere
        before = git.run("show", f"{old}:{path}").stdout
        if sources(before) == sources(copy_of(path, kept).read_bytes()):
            return "   (only run, its cells are as they were)"
    return ""


def sources(notebook):
    """Return the types and sources of a notebook's cells, or its bytes if it is no notebook."""
    try:
        cells = json.loads(notebook)["cells"]
        return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError):
        return notebook


def main(root=ROOT):
    """Run the command line; return 0 if the course is now up to date, else 1."""
    for stream in (sys.stdout, sys.stderr):  # file names a terminal cannot show
        stream.reconfigure(errors="backslashreplace")
    try:
        print(*update(Path(root).resolve()), sep="\n")
    except CannotUpdate as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Not updated: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
