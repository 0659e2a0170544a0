"""Write a fork's name into pyproject.toml, and from there into badges, setup cells and README.md.

Run it from anywhere, commit and push: the notebooks open on Colab, GitHub can build the site::

    python tools/publish.py owner/name --ref main
    python tools/publish.py --none                 # remove the badges
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

import build_notebooks
from build_notebooks import COLAB, ROOT, ScriptError, check_address

from srlib._atomic import atomic_write

TABLE = "[tool.srlib.course]"
TRY_LINE = r"^\*\*\[?Try it in the browser.*$"  # of README.md


def stamp(text: str, repository: str, ref: str) -> str:
    """Return pyproject.toml's text with another repository and ref, and nothing else changed."""
    head, table, rest = text.partition(f"\n{TABLE}\n")
    body, bracket, rest = rest.partition("\n[")
    for key, value in {"repository": repository, "ref": ref}.items():
        line = rf"^({key}\s*=\s*)(\"[^\"\n]*\"|'[^'\n]*')"
        body, count = re.subn(line, rf'\g<1>"{value}"', body, flags=re.MULTILINE)
        if count != 1:
            raise ScriptError(f'pyproject.toml: {TABLE} needs one line {key} = "..."')
    new = head + table + body + bracket + rest
    course = tomllib.loads(new)["tool"]["srlib"]["course"]
    assert (course["repository"], course["ref"]) == (repository, ref), course
    return new


def site_address(repository: str) -> str:
    """Return where GitHub Pages shows the site of a repository "owner/name"."""
    owner, name = repository.split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def try_line(repository: str) -> str:
    """Return the README's line that leads to the sliders; without a repository, to their file."""
    if not repository:
        return "**Try it in the browser**: `make site`, then open `build/site/try/index.html`."
    page = f"{site_address(repository)}try/index.html"
    return f"**[Try it in the browser]({page})**, with a photograph of your own, nothing uploaded."


def link_readme(root: Path, repository: str) -> None:
    """Put the link for this repository into README.md, where the line about it stands."""
    readme = root / "README.md"
    text = readme.read_text("utf-8") if readme.is_file() else ""
    new, count = re.subn(TRY_LINE, lambda _: try_line(repository), text, flags=re.MULTILINE)
    if not count:
        print("README.md has no line 'Try it in the browser', so no link to your site")
    elif new != text:
        with atomic_write(readme) as partial:
            partial.write_text(new, encoding="utf-8", newline="\n")
        print("README.md: written")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if anything is wrong, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("repository", nargs="?", metavar="OWNER/NAME", help="on GitHub, public")
    parser.add_argument("--ref", default="main", help="a branch or tag (default: main)")
    parser.add_argument("--none", action="store_true", help="name no repository, remove badges")
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder")
    options = parser.parse_args(arguments)
    if bool(options.repository) == options.none:
        parser.error("give owner/name, as in: make publish REPO=owner/name REF=main (or --none)")

    repository, ref = ("", "main") if options.none else (options.repository, options.ref)
    project = options.root / "pyproject.toml"
    try:
        if repository:
            check_address(repository, ref)
        text = project.read_text(encoding="utf-8")
        new = stamp(text, repository, ref)
    except ScriptError as error:
        print(error, file=sys.stderr)
        return 1
    if new != text:
        with atomic_write(project) as partial:
            partial.write_text(new, encoding="utf-8", newline="\n")
        print("pyproject.toml: written")
    link_readme(options.root, repository)
    if faults := build_notebooks.main(["--root", str(options.root)]):
        return faults
    if repository:
        first = f"{COLAB}/github/{repository}/blob/{ref}/notebooks/00_welcome.ipynb"
        print(f"Commit, push to {ref} of {repository}, then open {first}")
        print(
            f"The site will be at {site_address(repository)}\n"
            f"Switch it on once: https://github.com/{repository}/settings/pages, "
            "Source: GitHub Actions. A push to the default branch builds it."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
