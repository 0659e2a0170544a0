"""The website: built once, then opened in a browser page by page, as readers would."""

import ast
import html
import posixpath
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin

import build_site
import nbformat
import npm_packages
import pytest
from browser import ROOT, SCREENSHOTS, chromium_or_skip, launch
from site_reading import (
    AXE,
    FORK,
    NOTEBOOKS,
    SERIOUS,
    Reader,
    build_or_skip,
    served,
    set_repository,
    small_course,
)

NOT_SHOWN = """[...document.images].filter(i => !i.naturalWidth || !i.alt.trim()).map(
  i => i.outerHTML.slice(0, 200))"""
NOT_DRAWN = """[...document.querySelectorAll(".math")].filter(
  m => !m.querySelector("mjx-container mjx-math") || m.querySelector("mjx-merror")
).map(m => m.textContent)"""
SCROLLS = "pre, .picture, .still-widget, .text_html, .pst-scrollable-table-container, mjx-container"
# After a change of size the theme waits a little, then lets the keyboard reach what scrolls.
REACHABLE = """() => !document.getAnimations().length && [...document.querySelectorAll(
    "pre, .cell_output > .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container")].every(
  e => !e.tabIndex === (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight))"""
TOO_WIDE = f"""[document.documentElement, ...document.querySelectorAll(
    ".bd-article :is(p, li, dt, dd, h1, h2, h3, code, a, img, summary)")].filter(
  e => Math.max(e.scrollWidth, e.getBoundingClientRect().right) > 320 && !e.closest("{SCROLLS}")
).map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site of this repository as it is."""
    return build_or_skip(ROOT, tmp_path_factory.mktemp("built") / "site")


@pytest.fixture(scope="module")
def fork(tmp_path_factory) -> Path:
    """The site of a course without a repository if this one has one, else with one."""
    repository = "" if build_site.course_address(ROOT)[0] else "some-owner/some-course"
    folder = tmp_path_factory.mktemp("fork")
    return build_or_skip(small_course(folder, repository), folder / "site")


@pytest.fixture(scope="class")
def browser(site):
    chromium_or_skip()
    with served(site) as base, launch() as context:
        yield context, base


@pytest.fixture
def reader(browser):
    context, base = browser
    page = context.new_page()
    page.set_default_timeout(300_000)  # on any machine; nothing takes long but what hangs
    yield Reader(page, base)
    page.close()


def pages(site: Path) -> list[str]:
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    # The theme's, and the page that tests/test_try.py looks at.
    return [name for name in found if not name.startswith(("_static/", "try/"))]


class Links(HTMLParser):
    """The addresses and the ids of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.targets, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        self.targets |= {found[name] for name in ("href", "src") if found.get(name)}


# ---- in the browser ------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.network
@pytest.mark.slow
class TestInTheBrowser:
    def test_every_page_is_whole_and_readable_in_light_dark_and_on_a_telephone(self, site, reader):
        page, names = reader.page, pages(site)
        assert len(names) > 60
        for name in names:
            page.set_viewport_size({"width": 1366, "height": 768})
            page.emulate_media(color_scheme="light")
            reader.open(name)
            reader.expect(NOT_SHOWN, "picture not shown, or without a text")
            reader.expect(NOT_DRAWN, "formula not drawn")
            # Pages of source code are long and all made alike: axe looks at one of them.
            axe = not name.startswith("_modules/") or name == "_modules/srlib/metrics.html"
            if axe:
                page.evaluate(AXE.read_text("utf-8"))
                reader.expect(SERIOUS, "axe, light")
            page.set_viewport_size({"width": 320, "height": 800})
            page.emulate_media(color_scheme="dark")
            page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
            page.wait_for_function(REACHABLE)
            if axe:
                reader.expect(SERIOUS, "axe, dark, 320 pixels")
            reader.expect(TOO_WIDE, "wider than 320 pixels")
        assert reader.faults == []

    def test_widgets_show_their_first_state_and_do_not_pretend_to_move(self, reader):
        shown = 0
        for path in NOTEBOOKS:
            reader.open(f"notebooks/{path.stem}.html")
            frames = reader.page.query_selector_all(".still-widget")
            assert bool(frames) == ("sliders stand still" in reader.page.inner_text(".launch-bar"))
            for frame in frames:
                picture = frame.query_selector("img")
                box = picture.bounding_box()
                assert box["width"] >= 100 and box["height"] >= 50
                assert re.search(r"[\w)]: \w", picture.get_attribute("alt"))
                for control in frame.query_selector_all("input, select, button, .noUi-handle"):
                    assert control.evaluate("c => Boolean(c.closest('[inert]'))")
            shown += len(frames)
        text = "".join(path.read_text("utf-8") for path in NOTEBOOKS)
        saved = [text.count(f'"{name}(children') for name in ("Explorer", "BlindVote")]
        assert shown == sum(saved) > 15 and min(saved) > 0
        assert reader.faults == []

    def test_search_finds_words_of_a_notebook_and_of_the_library(self, reader):
        page = reader.page
        page.set_viewport_size({"width": 1366, "height": 768})
        for word, place in (("antialiasing", "02_interpolation"), ("receptive_field", "api/")):
            reader.open("index.html")
            page.keyboard.press("Control+k")
            page.keyboard.type(word)
            page.keyboard.press("Enter")
            page.wait_for_selector(f"#search-results li a[href*='{place}']")
            page.wait_for_load_state("networkidle")  # it reads the pages that it has found
        page.click("#search-results li a")
        page.wait_for_load_state()
        assert "search.html" not in page.url
        assert reader.faults == []

    def test_it_works_from_a_folder_without_a_server(self, site, browser):
        context, _ = browser
        page = context.new_page()
        page.set_default_timeout(300_000)
        reader = Reader(page, f"{site.as_uri()}/")
        for name in ("index", "notebooks/02_interpolation", "api/quality", "results"):
            reader.open(f"{name}.html")
            reader.expect(NOT_SHOWN, "picture not shown, or without a text")
            reader.expect(NOT_DRAWN, "formula not drawn")
        reader.open("search.html?q=antialiasing")
        page.wait_for_selector("#search-results li a[href*='02_interpolation']")
        page.wait_for_selector("#search-results p:has-text('finished')")
        assert reader.faults == []
        page.close()

    def test_the_links_to_try_open_with_their_settings(self, reader):
        for path in NOTEBOOKS:
            reader.page.goto(f"{reader.base}notebooks/{path.stem}.html")
            button = reader.page.query_selector(".launch-bar a:has-text('Try it')")
            setting = build_site.TRY_SETTINGS.get(path.name[:2])
            assert bool(button) == bool(setting)
            if not button:
                continue
            button.click()
            for name, value in parse_qsl(setting):
                if name in ("a", "b", "kernel", "jpeg", "zoom"):
                    asked = "([name, value]) => document.getElementById(name).value === value"
                    reader.page.wait_for_function(asked, arg=[name, value])
        assert reader.faults == []

    def test_the_start_page_shows_the_picture_and_three_ways_in_at_once(self, reader):
        reader.page.set_viewport_size({"width": 1366, "height": 768})
        reader.open("index.html")
        ways = reader.page.query_selector_all(".ways li > p:first-child a")
        leads = [way.get_attribute("href") for way in ways]
        assert leads == [build_site.TRY, "learning.html", "teaching.html"]
        for seen in (*ways, reader.page.query_selector("img[src*='before_after']")):
            box = seen.bounding_box()
            assert box["y"] + box["height"] < 768 and box["x"] + box["width"] < 1366

    def test_the_theme_switch_is_remembered_and_leaves_pictures_alone(self, reader):
        page = reader.page
        page.set_viewport_size({"width": 1366, "height": 768})
        page.emulate_media(color_scheme="light")
        reader.open("index.html")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click(".navbar-header-items__end .theme-switch-button")
        page.click(".navbar-header-items__end .theme-change-button[data-mode='dark']")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        reader.open("notebooks/02_interpolation.html")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        for picture in (".picture img", ".still-widget img"):
            style = f"getComputedStyle(document.querySelector('{picture}'))"
            assert page.evaluate(f"{style}.filter") == "none"
            assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)"
        page.evaluate("localStorage.clear()")  # the other tests begin in the mode of the system

    def test_screenshots_for_people(self, reader):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        names = ("index", "notebooks/02_interpolation", "teaching", "api/quality")
        for width, scheme in ((1366, "light"), (1920, "dark"), (400, "light"), (400, "dark")):
            reader.page.set_viewport_size({"width": width, "height": 1000})
            reader.page.emulate_media(color_scheme=scheme)
            for name in names:
                reader.open(f"{name}.html")
                file = f"site_{name.replace('/', '_')}_{width}_{scheme}.png"
                reader.page.screenshot(path=SCREENSHOTS / file)
        assert reader.faults == []


# ---- in the files --------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.slow
class TestBuilt:
    def test_links_between_pages_lead_somewhere(self, site):
        found = {name: Links((site / name).read_text("utf-8")) for name in pages(site)}
        broken = []
        for name, links in found.items():
            for target in links.targets:
                if re.match(r"(https?|mailto|data|javascript):", target):
                    continue
                path, anchor = urldefrag(urljoin(name, unquote(target)))
                path = path.partition("?")[0]
                if path == build_site.TRY and anchor:
                    anchor = ""  # a setting: see test_what_the_links_to_try_set
                if not (site / path).is_file():
                    broken.append(f"{name}: {target}")
                elif anchor and path in found and anchor not in found[path].ids:
                    broken.append(f"{name}: {target} (no such place)")
        assert broken == []

    def test_figures_keep_their_texts(self, site):
        for path in NOTEBOOKS:
            stored = [
                " ".join(entry["alt"].split())
                for cell in nbformat.read(path, as_version=4).cells
                for output in cell.get("outputs", [])
                for kind, entry in output.get("metadata", {}).items()
                if kind.startswith("image/")
            ]
            page = (site / "notebooks" / f"{path.stem}.html").read_text("utf-8")
            pictures = re.findall(r'<div class="picture[^>]*>\s*<img alt="([^"]*)"', page)
            assert [html.unescape(text) for text in pictures if "ran, as it" not in text] == stored

    def test_folded_code_and_answers_are_folded(self, site):
        for path in NOTEBOOKS:
            notebook = nbformat.read(path, as_version=4)
            folded = [c for c in notebook.cells if "folded" in c.metadata.get("tags", [])]
            titles = [re.match(build_site.TITLE, cell.source)[1] for cell in folded]
            page = (site / "notebooks" / f"{path.stem}.html").read_text("utf-8")
            shown = re.findall(r'<p class="collapsed admonition-title">(.*?)</p>', page)
            assert [html.unescape(text) for text in shown] == titles
            answers = sum(c.source.count("<details>") for c in notebook.cells)
            assert page.count("<details><summary>") == answers

    def test_every_public_name_of_the_library_is_explained_and_no_other(self, site):
        texts = [path.read_text("utf-8") for path in (site / "api").glob("*.html")]
        explained = {name for text in texts for name in Links(text).ids}
        for path in sorted((ROOT / "srlib").rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = module.removesuffix(".__init__")
            if re.search(r"^srlib$|\._(?!_main__)|\.nb\d\d$", module):
                continue
            tree = ast.parse(path.read_text("utf-8"))
            imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
            homes = {name.name: node.module for node in imports for name in node.names}
            (public,) = [
                ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            ]
            for name in public:
                assert f"{homes.get(name, module)}.{name}" in explained
        private = [name for name in explained if re.search(r"^srlib.*\._(?!_main__)", name)]
        assert private == []

    @pytest.mark.parametrize("which", ["site", "fork"])
    def test_buttons_follow_the_one_setting(self, which, request):
        folder = request.getfixturevalue(which)
        root = ROOT if which == "site" else folder.parent / FORK
        address = build_site.course_address(root)
        for path in sorted((root / "notebooks").glob("*.ipynb")):
            page = (folder / "notebooks" / f"{path.stem}.html").read_text("utf-8")
            assert buttons(page) == wanted_buttons(path, address)
            assert "colab-badge" not in page
            assert (folder / "notebooks" / path.name).read_bytes() == path.read_bytes()
        home = (folder / "index.html").read_text("utf-8")
        assert (f"https://github.com/{address[0]}" in home) == bool(address[0])

    def test_solutions_can_be_saved_and_are_not_shown(self, site):
        for path in NOTEBOOKS:
            saved = (site / "solutions" / path.name).read_bytes()
            assert saved == (ROOT / "solutions" / path.name).read_bytes()
        marker = "BEGIN SOLUTION"
        assert not [name for name in pages(site) if marker in (site / name).read_text("utf-8")]

    def test_every_page_leads_to_the_page_to_try(self, site):
        for name in pages(site):
            links = Links((site / name).read_text("utf-8")).targets
            assert posixpath.relpath(build_site.TRY, posixpath.dirname(name) or ".") in links


def buttons(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<a class="launch" href="([^"]*)"[^>]*>([^<]*)</a>', page)


def wanted_buttons(path: Path, address: tuple[str, str]) -> list[tuple[str, str]]:
    repository, ref = address
    file = f"{repository}/blob/{ref}/notebooks/{path.name}"
    wanted = []
    if setting := build_site.TRY_SETTINGS.get(path.name[:2]):
        wanted.append((html.escape(f"../try/index.html#{setting}"), "Try it in the browser"))
    if repository:
        wanted.append((f"{build_site.COLAB}/github/{file}", "Open in Colab"))
    wanted += [(path.name, "Download notebook"), (f"../solutions/{path.name}", "Solutions")]
    return [*wanted, (f"https://github.com/{file}", "View source")] if repository else wanted


# ---- without a build -----------------------------------------------------------------------


@pytest.fixture
def course(tmp_path) -> Path:
    """A folder with a README, a page and a file that is no page."""
    (tmp_path / "README.md").write_text(
        "# Title\n\nHello.\n\n## Start\n\nSee [a page](docs/page.md#there), [code](code/a.py).\n\n"
        "<details><summary>Windows</summary>\n\n`dir`\n\n</details>\n\n## End\n\nBye.\n"
    )
    for folder in ("docs/deep", "code", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docs/page.md").write_text("# Page\n\n<!-- README: Start -->\n")
    (tmp_path / "docs/deep/other.md").write_text("# Deep\n\n<!-- README: Start -->\n")
    (tmp_path / "code/a.py").write_text("")
    return tmp_path


def render(course: Path, file: str) -> str:
    sources = build_site.page_sources(course)
    return build_site.text_page(file, sources[file], course, sources)


def test_links_follow_a_text_to_the_page_where_it_stands(course):
    assert "See [a page](page.md#there), code." in render(course, "docs/page.md")
    assert "See [a page](../page.md#there), code." in render(course, "docs/deep/other.md")
    set_repository(course, "someone/course")
    here = (
        "See [a page](page.md#there), [code](https://github.com/someone/course/blob/v1/code/a.py)."
    )
    assert here in render(course, "docs/page.md")
    assert "dir" not in render(course, "docs/page.md")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[x](gone.md)", "'gone.md', which is not there"),
        ("<!-- README: Gone -->", "'Gone' from README.md, which has no such section"),
    ],
)
def test_what_is_not_there_is_named(course, text, complaint):
    (course / "docs/page.md").write_text(f"# Page\n\n{text}\n")
    with pytest.raises(build_site.SiteError, match=f"docs/page.md.*{re.escape(complaint)}"):
        render(course, "docs/page.md")


def test_links_in_code_and_to_other_hosts_stay(course):
    text = "# Page\n\n[x](https://example.org/a.md)\n\n```sh\n[x](gone.md)\n```\n"
    (course / "docs/page.md").write_text(text)
    assert render(course, "docs/page.md") == text


@pytest.mark.parametrize("address", [("", "main"), ("some-owner/some-course", "v1")])
def test_every_notebook_gets_the_buttons_of_the_setting(address):
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        build_site.notebook_page(notebook, path.stem, address)
        title = notebook.cells[0].source
        assert buttons(title) == wanted_buttons(path, address)
        assert "colab-badge" not in title


def test_the_badge_becomes_a_button():
    badge = f"[![Open in Colab]({build_site.COLAB}/x.svg)]({build_site.COLAB}/y.ipynb)"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(f"# Title\n\n{badge}\n\nText.")]
    )
    build_site.notebook_page(notebook, "02_x", ("a/b", "main"))
    text = notebook.cells[0].source
    assert text.startswith('# Title\n\n<div class="launch-bar">') and text.endswith("\n\nText.")
    assert ".svg" not in text and text.count("Open in Colab") == 1
    assert "sliders" not in text, "it has none"


def test_what_the_links_to_try_set():
    """Each setting is one that the page knows; docs/try/state.js has names and ranges."""
    known = (ROOT / "docs/try/state.js").read_text("utf-8")
    table = known[known.index("const KEYS = {") :]
    keys = set(re.findall(r"^  (\w+): ", table[: table.index("\n};")], re.MULTILINE))
    weights = {path.parent.name for path in (ROOT / "data/weights").glob("*/README.md")}
    numbers = {path.name[:2] for path in NOTEBOOKS}
    assert set(build_site.TRY_SETTINGS) <= numbers
    for setting in build_site.TRY_SETTINGS.values():
        values = dict(parse_qsl(setting, strict_parsing=True))
        assert set(values) <= keys
        for side in ("a", "b"):
            name = values.get(side, "bicubic")
            assert name in weights or f'{name}: "' in known
            scale = values.get("scale", "4")
            assert name not in weights or name.endswith(f"_x{scale}")
        assert f" {values['image']}" in known


def test_without_npm_one_sentence_says_what_to_do(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    monkeypatch.setenv("PATH", "")
    assert build_site.main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == npm_packages.NO_NPM + "\n"


def test_the_lock_file_names_no_host_to_load_from():
    assert '"resolved"' not in (ROOT / "docs/package-lock.json").read_text("utf-8")
