"""Build the course's website: every notebook with its figures, the library, the teacher's pages.

Run it from anywhere::

    python tools/build_site.py                # into build/site
    python tools/build_site.py --output DIR   # into another folder, which is replaced

Nothing is executed: notebooks show their committed outputs. The scripts that the pages need come
from the npm packages in docs/package.json and are copied into the site, so that a reader's browser
contacts no other host.
"""

import argparse
import html
import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_try
import nbformat
from build_notebooks import COLAB, TITLE, WIDGETS, ScriptError, course_address, widget_states
from nbformat import NotebookNode
from npm_packages import SiteError, install_packages
from publish import TRY_LINE
from sanitise import MODEL, clean_metadata, clean_output, clean_states, requests

ROOT = Path(__file__).resolve().parents[1]
VIEW = "application/vnd.jupyter.widget-view+json"
# The page that enlarges photographs in the browser, and a setting of it for each notebook that has
# something to try there. docs/try/state.js says what the settings mean.
TRY = "try/index.html"
TRY_SETTINGS = {
    "00": "image=coffee&a=nearest",
    "01": "image=brick&a=nearest&b=bicubic&kernel=nearest",
    "02": "image=camera&a=nearest&b=bicubic",
    "03": "image=chelsea&a=bicubic&b=lanczos3&show=error",
    "04": "image=coffee&a=bicubic&b=srresnet_small_x4",
    "05": "image=chelsea&a=bicubic&b=srresnet_x4",
    "06": "image=camera&a=lanczos3&b=srresnet_x4&zoom=4",
    "07": "image=coffee&a=bicubic&b=srresnet_x4&zoom=4",
    "08": "image=brick&a=bicubic&b=srresnet_small_x4",
    "09": "image=coins&a=bicubic&b=srresnet_x4",
    "10": "image=brick&a=srresnet_small_x4&b=srresnet_x4&show=error",
    "11": "image=coffee&a=bicubic&b=srresnet_x3&scale=3",
    "12": "image=chelsea&a=bicubic&b=srresnet_small_x4",
    "13": "image=coffee&a=srresnet_x4&b=srresnet_small_x4&zoom=4",
    "16": "image=chelsea&a=srresnet_small_x4&b=srresnet_gan_x4&zoom=4",
    "17": "image=coffee&a=srresnet_small_x4&b=srresnet_real_x4&jpeg=40",
}
VENDORED = {  # from build/npm/node_modules to _static/vendor
    "requirejs/require.js": "require.js",
    "@jupyter-widgets/html-manager/dist/embed-amd.js": "widgets/embed-amd.js",
    "@jupyter-widgets/html-manager/dist/*.woff2": "widgets",
    "mathjax/es5/tex-chtml.js": "mathjax/tex-chtml.js",
    "mathjax/es5/output/chtml/fonts/woff-v2/*.woff": "mathjax/output/chtml/fonts/woff-v2",
}


def page_sources(root: Path) -> dict[str, str]:
    """Return which file of the repository becomes which page's source, as relative paths."""
    sources = {
        path.relative_to(root).as_posix(): path.relative_to(root / "docs").as_posix()
        for path in (root / "docs").rglob("*")
        if path.is_file()
        and not {"node_modules", "try"} & set(path.relative_to(root / "docs").parts)
        and path.suffix != ".json"
    }
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        sources[f"notebooks/{path.name}"] = f"notebooks/{path.name}"
    for path in sorted((root / "data/weights").glob("*/README.md")):
        sources[path.relative_to(root).as_posix()] = f"networks/{path.parent.name}.md"
    return sources | {
        "README.md": "index.md",  # other pages take sections of it too
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "LICENSE": "licence.md",
        "LICENSE-TEXT": "licence.md",
        "data/README.md": "datasets.md",
    }


def resolve_links(text: str, file: str, page: str, root: Path, sources: dict[str, str]) -> str:
    """Return a Markdown text of `file` with its links as they must be on `page`.

    A link to a file that is no page leads to GitHub, or becomes plain text if no repository is set.
    """
    repository, ref = course_address(root)

    def resolve(link: re.Match) -> str:
        image, words, target = link.groups()
        address, hash_, anchor = target.partition("#")
        if re.match(r"[a-z]+:", address) or not address:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), address))
        if path == f"docs/{TRY}":  # no page of Sphinx
            to = posixpath.relpath(TRY, posixpath.dirname(page) or ".")
            return f'<a href="{to}{html.escape(hash_ + anchor)}">{words}</a>'
        if path in sources:
            to = posixpath.relpath(sources[path], posixpath.dirname(page) or ".")
            return f"{image}[{words}]({to}{hash_}{anchor})"
        if not (root / path).exists():
            raise SiteError(f"{file}: a link leads to {target!r}, which is not there")
        if not repository:
            return words
        return f"[{words}](https://github.com/{repository}/blob/{ref}/{path}{hash_}{anchor})"

    parts = re.split(r"(^```.*?^```\s*?$)", text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", resolve, part) for part in parts[::2]]
    return "".join(parts)


def readme_sections(text: str) -> dict[str, str]:
    """Return the README's sections by heading; ``<details>`` are under "HEADING, details"."""
    title, *sections = re.split(r"^#{1,2} (.+)\n", text, flags=re.MULTILINE)
    found = {}
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        details = re.findall(
            r"<details><summary>(.*?)</summary>\n(.*?)</details>", body, flags=re.DOTALL
        )
        found[heading] = re.sub(r"<details>.*?</details>\n*", "", body, flags=re.DOTALL).strip()
        if details:
            folded = [f"### {summary}\n\n{inside.strip()}" for summary, inside in details]
            found[f"{heading}, details"] = "\n\n".join(folded)
    return found


def text_page(file: str, page: str, root: Path, sources: dict[str, str]) -> str:
    """Return a Markdown page with its links resolved and the README's sections filled in."""
    readme = readme_sections((root / "README.md").read_text("utf-8"))

    def fill(place: re.Match) -> str:
        if place[1] not in readme:
            raise SiteError(f"{file} takes {place[1]!r} from README.md, which has no such section")
        text = re.sub(TRY_LINE, "", readme[place[1]], flags=re.MULTILINE).strip()
        return resolve_links(text, "README.md", page, root, sources)

    text = resolve_links((root / file).read_text("utf-8"), file, page, root, sources)
    return re.sub(r"^<!-- README: (.+) -->$", fill, text, flags=re.MULTILINE)


def notebook_page(notebook: NotebookNode, stem: str, address: tuple[str, str]) -> None:
    """Turn a learner notebook into a page for reading, in place.

    The title gets buttons, folded cells stay folded, and widgets become still frames.
    """
    title = notebook.cells[0]
    badge = rf"\[!\[Open in Colab\]\({re.escape(COLAB)}[^)]*\)\]\([^)]*\)\s*"  # an image of Colab's
    heading, _, rest = re.sub(badge, "", title.source).partition("\n")
    moves = any(model["model_name"] == "ImageModel" for model in widget_states(notebook).values())
    title.source = f"{heading}\n\n{launch_bar(stem, address, moves)}\n\n{rest.lstrip()}"
    if states := clean_states(widget_states(notebook)):
        notebook.metadata.widgets[WIDGETS]["state"] = states
    else:
        notebook.metadata.pop("widgets", None)
    clean_metadata(notebook)
    for cell in notebook.cells:
        if "folded" in cell.metadata.get("tags", []):
            title = re.match(TITLE, cell.source)[1]
            cell.metadata.tags = [*cell.metadata.tags, "hide-input"]
            cell.metadata.mystnb = {f"code_prompt_{do}": title for do in ("show", "hide")}
        for output in cell.get("outputs", []):
            model = output.get("data", {}).get(VIEW, {}).get("model_id")
            if model in states:
                output.data, output.metadata = clean_output(show_widget(states, model)), {}
            elif "data" in output:
                output.data = clean_output(output.data)


def launch_bar(stem: str, address: tuple[str, str], moves: bool) -> str:
    """Return the buttons below a notebook's title, and the line about its sliders."""
    repository, ref = address
    place = f"{repository}/blob/{ref}/notebooks/{stem}.ipynb"
    setting = TRY_SETTINGS.get(stem[:2])
    live = html.escape(f"../{TRY}#{setting}")
    buttons = [
        (setting, live, "Try it in the browser", ""),
        (repository, f"{COLAB}/github/{place}", "Open in Colab", ""),
        (True, f"{stem}.ipynb", "Download notebook", " download"),
        (True, f"../solutions/{stem}.ipynb", "Solutions", " download"),
        (repository, f"https://github.com/{place}", "View source", ""),
    ]
    bar = "\n".join(
        f'<a class="launch" href="{to}"{extra}>{words}</a>'
        for wanted, to, words, extra in buttons
        if wanted
    )
    if moves:
        where = "JupyterLab or Colab" if repository else "JupyterLab"
        instead = f'<a href="{live}">Move some in the browser</a>, or open' if setting else "Open"
        remark = f"On this page sliders stand still. {instead} the notebook in {where}."
        bar += f"\n<p>{remark}</p>"
    return f'<div class="launch-bar">\n{bar}\n</div>'


def show_widget(states: dict, model: str) -> dict:
    """Return a saved widget as output data: a frame of HTML that the page's scripts fill.

    A widget without controls needs no script: a picture becomes an image, a progress bar text.
    """
    inside = list(widgets_inside(states, model))
    if inside[0]["model_name"] == "ImageModel":
        data = next(b["data"] for b in inside[0]["buffers"] if b["path"] == ["value"])
        drawn = "What was drawn while the cell ran, as it stood at the end."
        return {f"image/{inside[0]['state'].get('format', 'png')}": data, "text/plain": drawn}
    texts = [plain(w["state"]["value"]) for w in inside if w["model_name"] == "HTMLModel"]
    texts = [text for text in texts if text]
    if not any(w["model_name"] == "ImageModel" for w in inside):
        return {"text/plain": " ".join(texts)}
    values = [words for w in inside if (words := control_value(w["state"]))]
    shown = html.escape(". ".join([", ".join(values), *texts]).strip(". "), quote=True)
    return {
        "text/html": f'<div class="still-widget" data-shows="{shown}" data-view="{model}"></div>'
    }


def widgets_inside(states: dict, model: str):
    """Yield a saved widget and all inside it, in the order in which they are shown."""
    yield states[model]
    for child in states[model]["state"].get("children", []):
        yield from widgets_inside(states, child.removeprefix(MODEL))


def control_value(state: dict) -> str:
    """Return a control's name and value in words; empty if the widget is no control."""
    name = state.get("description")
    options = state.get("_options_labels")
    if options and state.get("index") is not None:
        return f"{name}: {options[state['index']]}"
    value = state.get("value")
    if not name or not isinstance(value, bool | int | float):
        return ""
    return f"{name}: {('no', 'yes')[value] if isinstance(value, bool) else f'{value:g}'}"


def plain(markup: str) -> str:
    """Return the words of a piece of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def gather(root: Path, target: Path, packages: Path) -> None:
    """Write all sources for Sphinx into `target`, which is replaced."""
    shutil.rmtree(target, ignore_errors=True)
    sources, address = page_sources(root), course_address(root)
    for file, page in sources.items():
        path = target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        if file in ("README.md", "LICENSE", "LICENSE-TEXT"):
            continue
        if file.endswith(".md"):
            path.write_text(text_page(file, page, root, sources), "utf-8")
        elif file.endswith(".ipynb"):
            notebook = nbformat.read(root / file, as_version=4)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    if asked := requests(cell.source):
                        raise SiteError(f"{file}: a notebook's text cannot use {asked[0]}")
                    cell.source = resolve_links(cell.source, file, page, root, sources)
            notebook_page(notebook, path.stem, address)
            nbformat.write(notebook, path)
            for download in (file, f"solutions/{path.name}"):
                to = target / "_extra" / download
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / download, to)
        else:
            shutil.copy(root / file, path)
    for name in ("LICENSE", "LICENSE-TEXT"):
        shutil.copy(root / name, target)
    for pattern, place in VENDORED.items():
        found = sorted(packages.glob(pattern))
        if not found:
            raise SiteError(f"the npm packages hold no {pattern}")
        for path in found:
            to = target / "_static" / "vendor" / place
            to = to / path.name if "*" in pattern else to
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def build(root: Path, output: Path) -> None:
    """Build the site into `output`; raise SiteError on any fault, warnings included."""
    work = root / "build" / "site-work"
    packages = install_packages(root)
    gather(root, work / "source", packages)
    shutil.rmtree(work / "site", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    command += ["-j", "auto", "-E", "-d", str(work / "doctrees")]
    repository, _ = course_address(root)
    if repository:
        command += ["-D", f"html_theme_options.github_url=https://github.com/{repository}"]
    command += [str(work / "source"), str(work / "site")]
    tools = str(Path(__file__).parent)  # docs/conf.py takes sanitise from there
    path = os.pathsep.join([str(root), tools, *filter(None, [os.environ.get("PYTHONPATH")])])
    if subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode:
        raise SiteError("Sphinx found faults, see above; the site was not replaced")
    build_try.build(root, work / "site" / "try", packages)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(work / "site", output)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if the site cannot be built, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder")
    parser.add_argument("--output", type=Path, help="the site's folder (default: build/site)")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    output = (options.output or root / "build" / "site").resolve()
    try:
        build(root, output)
    except (SiteError, ScriptError) as error:
        print(error, file=sys.stderr)
        return 1
    files = [path for path in output.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{output / 'index.html'}: {len(files)} files, {size:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
