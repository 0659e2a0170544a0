"""A notebook from anybody: nothing in it runs on the site, and what the course shows stays."""

import functools
import html
import http.server
import json
import re
import threading
from html.parser import HTMLParser

import build_site
import nbformat
import pytest
import sanitise
from browser import chromium_or_skip, launch
from build_notebooks import METADATA, WIDGETS, widget_states
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)
from site_reading import NOTEBOOKS, Reader, build_or_skip, served, small_course

HIT = "(window.hits = window.hits || []).push('{}')"
# Each runs by itself where a page shows it as it is.
ATTACKS = {
    "script": "<script>{}</script>",
    "image": '<img src="data:image/png," onerror="{}">',
    "svg": '<svg onload="{}"><circle r="9"/></svg>',
    "nested svg": '<svg><image href="data:image/png," onerror="{}"/></svg>',
    "frame": '<iframe src="javascript:parent.eval(`{}`)"></iframe>',
    "frame of text": '<iframe srcdoc="<script>parent.eval(`{}`)</script>"></iframe>',
    "object": '<object data="gone" onerror="{}"></object><embed src="javascript:1">',
    "details": '<details open ontoggle="{}"><summary>x</summary></details>',
    "style": '<style onload="{}">*{{color: red}}</style>',
    "focus": '<input autofocus onfocus="{}">',
    "animation": '<style>@keyframes k {{}} b {{animation:k 1s}}</style><b onanimationend="{}">x',
    "media": '<video><source src="data:video/mp4," onerror="{}"></video>',
    "end of script": '</SCRIPT ><script>{}</script><img src="data:image/png," onerror="{}">',
}
# These need a click or a second parsing, or load something, or cover the page.
OTHER = [
    f'<math><mtext><table><mglyph><style><img src="data:," onerror="{HIT.format("maths")}">',
    '<a href="javascript:alert(1)">x</a>',
    '<a href=" java&#10;script:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href=" d&#9;ata:text/html,x">x</a>',
    '<img src="https://example.org/x.png">',
    '<img src="//example.org/x.png">',
    '<img src="/\\example.org/x.png">',
    '<img src="h&#10;ttps://example.org/x.png">',
    '<img srcset="https://example.org/x.png 2x">',
    '<video poster="https://example.org/x.png" src="http://example.org/x.mp4"></video>',
    '<p style="background:url(https://example.org/x.png);position:fixed;inset:0">x</p>',
    "<style>@import url(https://example.org/x.css); p {position: fixed}</style><p>x</p>",
    '<link rel="stylesheet" href="https://example.org/x.css"><base href="https://example.org/">',
    '<meta http-equiv="refresh" content="0; url=https://example.org/">',
    '<form action="https://example.org/"><button formaction="javascript:1">x</button></form>',
    '<a href="#" data-bs-toggle="tooltip" data-bs-title="<b>x</b>" data-bs-html="true">x</a>',
]


class Elements(HTMLParser):
    """The elements, their attributes and the texts of a piece of HTML."""

    def __init__(self, markup: str):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.words += data.split()


def attack(name: str, where: str = "") -> str:
    code = HIT.format(f"{name} {where}".strip())
    return ATTACKS[name].replace("{}", code).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("markup", [*map(attack, ATTACKS), *OTHER])
def test_what_could_run_load_or_cover_is_taken_out(markup):
    found = Elements(sanitise.clean_html(f"<p>before</p>{markup}"))
    assert found.words[0] == "before"
    assert not set(found.tags) & {"script", "style", "iframe", "object", "embed", "link", "base"}
    assert not set(found.tags) & {"meta", "form", "input", "button", "svg", "math", "template"}
    for tag, name, value in found.attributes:
        assert not name.startswith(("on", "data-bs")) and name not in ("srcset", "srcdoc")
        value = re.sub(r"\s", "", value).lower()
        assert "javascript:" not in value and "example.org" not in value
        assert not value.startswith("data:") or name == "src"
        assert name != "style" or "fixed" not in value, tag


def test_the_outputs_of_the_course_keep_elements_texts_and_styles():
    tables = 0
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                before = output.get("data", {}).get("text/html")
                if before is None:
                    continue
                after = Elements(sanitise.clean_output(output.data)["text/html"])
                before = Elements(re.sub(r"<style.*?</style>", "", before, flags=re.DOTALL))
                assert after.words == before.words and after.tags == before.tags
                kept = {item for item in before.attributes if item[1] != "style"}
                assert kept <= set(after.attributes)
                tables += "table" in after.tags
    assert tables > 100


def test_a_style_sheet_reaches_its_own_table_and_nothing_else():
    sheet = "<style>#T_1 {font-weight: bold; position: fixed} body, td {color: red}</style>"
    table = f'{sheet}<table><tr><td id="T_1">1</td></tr></table>'
    cleaned = sanitise.clean_output({"text/html": table})["text/html"]
    assert "<style" not in cleaned and "fixed" not in cleaned
    (style,) = [value for _, name, value in Elements(cleaned).attributes if name == "style"]
    assert set(style.split(";")) == {"font-weight:bold", "color:red"}
    assert sanitise.clean_html(f"{sheet}<td>1</td>") == "1", "in a text it reaches nothing"


def test_the_widgets_of_the_course_stay_as_they_are():
    states = [widget_states(nbformat.read(path, as_version=4)) for path in NOTEBOOKS]
    assert sum(map(len, states)) > 1000
    for saved in states:
        assert sanitise.clean_states(saved) == saved


@pytest.mark.parametrize("key", ["model_module", "_model_module", "_view_module"])
def test_a_widget_that_brings_its_own_script_is_left_out(key):
    state = {"_model_module": "@jupyter-widgets/controls", "_view_module": None}
    model = {"model_module": "@jupyter-widgets/controls", "state": state}
    assert sanitise.clean_states({"a1": model}) == {"a1": model}
    (model if key in model else state)[key] = "https://example.org/x.js"
    box = {**model, "state": {"children": ["IPY_MODEL_a1", "IPY_MODEL_b1"]}}
    box["model_module"] = "@jupyter-widgets/controls"
    kept = sanitise.clean_states({"a1": model, "b1": {**box, "state": {}}, "box": box})
    assert kept["box"]["state"]["children"] == ["IPY_MODEL_b1"] and "a1" not in kept


def test_other_kinds_of_output_are_shown_as_text_or_not_at_all():
    data = {"application/javascript": "x()", "application/x-unknown": "", "text/plain": "x"}
    assert sanitise.clean_output(data) == {"text/plain": "x"}
    shown = sanitise.clean_output({"image/svg+xml": "<svg onload='x()'/>", "text/plain": '"a"'})
    assert shown["text/html"].startswith('<img alt="&quot;a&quot;" src="data:image/svg+xml;base64,')
    assert sanitise.clean_html(shown["text/html"]).count("base64") == 1, "it survives the page"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("```{include} /etc/hosts\n```", "{include} /etc/hosts"),
        ("```{raw} html\n<script>1</script>\n```", "{raw} html"),
        ("> 1. ~~~ {literalinclude} /etc/hosts\n>    ~~~", "{literalinclude} /etc/hosts"),
        (":::{image} /secret.png\n:::", "{image} /secret.png"),
        ("# Title {download}`/etc/hosts`", "{download}"),
        ("\\` {download}`/etc/hosts`", "{download}"),
        ("| a |\n|---|\n| {download}`/etc/hosts` |", "{download}"),
        ("---\nmyst:\n  enable_extensions: [substitution]\n---\n", "front matter"),
    ],
)
def test_what_a_text_asks_of_sphinx_is_found_and_refused(text, asked, tmp_path):
    assert sanitise.requests(text) == [asked]
    root = small_course(tmp_path, "")
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), new_markdown_cell(text)])
    nbformat.write(notebook, root / "notebooks" / "00_hostile.ipynb")
    complaint = f"notebooks/00_hostile.ipynb: .* cannot use {re.escape(asked)}"
    with pytest.raises(build_site.SiteError, match=complaint):
        build_site.gather(root, tmp_path / "source", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("`runs/{name}` and {name}", "```python\nx = {}\n```", "    ```{include} x", "$a_{b}$"),
        *("``{download}`x` ``", "---\n\nText", "<b>{include}</b>"),
    ],
)
def test_other_braces_stay(text):
    assert sanitise.requests(text) == []


def test_metadata_set_no_option_of_the_site():
    options = {"mystnb": {"execution_mode": "force"}, "myst": {"substitutions": {"a": "b"}}}
    cell = new_code_cell("1", metadata={"mystnb": {"markdown_format": "myst"}, "tags": ["folded"]})
    states = {"widgets": {WIDGETS: {"state": {}}}}
    notebook = new_notebook(cells=[cell], metadata=METADATA | options | states)
    sanitise.clean_metadata(notebook)
    assert notebook.metadata == METADATA | states
    assert notebook.cells[0].metadata == {"tags": ["folded"]}


# ---- in the browser ------------------------------------------------------------------------


def hostile_notebook(elsewhere: str) -> nbformat.NotebookNode:
    """Return a notebook that attacks at every place where a page takes something from it."""
    every = functools.partial(map, attack, ATTACKS)
    image, script = (functools.partial(attack, name) for name in ("image", "script"))
    code = HIT.format("code")

    def display(kind: str, text: str):
        return new_output("display_data", {kind: text, "text/plain": "x"})

    outputs = [display("text/html", attack(name, "output")) for name in ATTACKS]
    outputs += [display("text/html", text) for text in OTHER if "example" not in text]
    outputs += [
        display("text/html", f'<style>@import url("{elsewhere}style.css");</style>'),
        display("text/html", f'<img src="{elsewhere}image.png"><script src="{elsewhere}a.js">'),
        display("text/markdown", "\n\n".join(every())),
        display("text/latex", rf"$\href{{javascript:{code}}}{{x}}$ " + image("latex")),
        display("application/javascript", code),
        display("image/svg+xml", f'<svg xmlns="http://www.w3.org/2000/svg" onload="{code}"/>'),
        new_output("stream", name="stdout", text="</pre>" + script("stream")),
        new_output("error", ename=image("error"), evalue="", traceback=[script("traceback")]),
        new_output(
            "display_data", {build_site.VIEW: {"model_id": "root"}, "text/plain": image("view")}
        ),
        new_output("display_data", {build_site.VIEW: {"model_id": "foreign"}, "text/plain": "x"}),
    ]
    cells = [
        new_markdown_cell(f"# Title {image('title')} `{image('code in title')}`\n\nText."),
        new_markdown_cell(f"## Part {script('heading')}\n\nText <b>bold</b> {image('inline')}"),
        new_markdown_cell(rf"$\href{{javascript:{code}}}{{x}}$ `{image('code')}`"),
        new_code_cell(f"# @title {image('fold')}\n1", metadata={"tags": ["folded"]}),
        new_code_cell(
            "1",
            metadata={
                "tags": ["hide-input"],
                "mystnb": {
                    "code_prompt_show": image("prompt"),
                    "code_prompt_hide": "x",
                    "markdown_format": "myst",
                },
            },
        ),
        new_code_cell(script("source"), outputs=outputs),
        new_code_cell(f"import urllib.request\nurllib.request.urlopen('{elsewhere}executed')"),
        # What opens an element and does not close it hides what follows.
        new_markdown_cell("## Last"),
        *(new_markdown_cell(attack(name, "markdown")) for name in ATTACKS),
        *(new_markdown_cell(text) for text in OTHER if "example" not in text),
    ]
    states = hostile_widgets(elsewhere)
    return new_notebook(
        cells=cells,
        metadata=METADATA
        | {"mystnb": {"execution_mode": "force"}}
        | {"widgets": {WIDGETS: {"version_major": 2, "version_minor": 0, "state": states}}},
    )


def hostile_widgets(elsewhere: str) -> dict:
    saved = widget_states(nbformat.read(NOTEBOOKS[2], as_version=4))
    picture = next(name for name, model in saved.items() if model["model_name"] == "ImageModel")
    slider = next(m for m in saved.values() if m["model_name"] == "FloatSliderModel")
    text = next(m for m in saved.values() if m["model_name"] == "HTMLModel")
    box = next(m for m in saved.values() if m["model_name"] == "VBoxModel")

    def like(model: dict, **changes) -> dict:
        model = json.loads(json.dumps(model))
        model["state"] |= changes
        return model

    new = {f"text{n}": like(text, value=attack(name, "widget")) for n, name in enumerate(ATTACKS)}
    new["old"] = like(slider, description=attack("image", "old slider"))
    new["old"]["model_module_version"] = "1.5.0"
    new["old"]["state"] |= dict.fromkeys(("_model_module_version", "_view_module_version"), "1.5.0")
    new["slider"] = like(slider, description=attack("image", "slider"), description_allow_html=True)
    new["foreign"] = like(
        text, _view_module=f"{elsewhere}view.js", _model_module=f"{elsewhere}model.js"
    )
    new["foreign"]["model_module"] = f"{elsewhere}module.js"
    children = [f"IPY_MODEL_{name}" for name in [*new, picture]]
    new["root"] = like(box, children=children)
    return {**saved, **new}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The site with a hostile notebook, a host that must not be asked, and what it was asked."""
    chromium_or_skip()
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        folder = tmp_path_factory.mktemp("hostile")
        root = small_course(folder, "")
        notebook = hostile_notebook(f"http://127.0.0.1:{server.server_port}/")
        for place in ("notebooks", "solutions"):
            nbformat.write(notebook, root / place / "00_hostile.ipynb")
        yield build_or_skip(root, folder / "site"), asked
        server.shutdown()


@pytest.mark.browser
@pytest.mark.network
@pytest.mark.slow
class TestHostile:
    def test_each_attack_runs_where_nothing_stops_it(self, tmp_path):
        chromium_or_skip()
        for name in ATTACKS:
            (tmp_path / f"{name}.html").write_text(f"<!doctype html><p>{attack(name)}")
        with served(tmp_path) as base, launch() as context:
            page = context.new_page()
            for name in ATTACKS:
                page.goto(f"{base}{name}.html")
                page.wait_for_function("window.hits?.length", timeout=300_000)
                assert name in page.evaluate("window.hits")

    @pytest.mark.parametrize("width", [1366, 400])
    def test_nothing_runs_on_the_site(self, hostile, width):
        site, asked = hostile
        with served(site) as base, launch(width=width) as context:
            page = context.new_page()
            page.set_default_timeout(300_000)
            reader = Reader(page, base)
            page.on("dialog", lambda dialog: reader.faults.append(f"dialog: {dialog.message}"))
            names = ["notebooks/00_hostile.html", f"notebooks/{NOTEBOOKS[2].stem}.html"]
            names += ["index.html", "genindex.html", "search.html?q=title"]
            for name in names:
                reader.open(name)
                if name.startswith("search"):
                    page.wait_for_selector("#search-results li")
                page.wait_for_load_state("networkidle")
                for link in page.query_selector_all(".bd-article a[href]"):
                    address = link.evaluate("a => a.protocol")
                    assert address in ("http:", "https:", "mailto:"), address
                for summary in page.query_selector_all("summary"):
                    summary.evaluate("s => s.click()")
                assert page.evaluate("window.hits || []") == [], name
                assert page.evaluate("[...document.querySelectorAll('iframe, object')].length") == 0
            assert reader.faults == [] and asked == []

    def test_its_texts_and_pictures_are_still_there(self, hostile):
        site, _ = hostile
        with served(site) as base, launch() as context:
            page = context.new_page()
            page.set_default_timeout(300_000)
            Reader(page, base).open("notebooks/00_hostile.html")
            assert page.inner_text("h1").startswith("Title")
            assert page.inner_text(".bd-article").count("bold") == 1
            frame = page.query_selector(".still-widget")
            assert frame.query_selector("img.widget-image").bounding_box()["width"] >= 100
            assert frame.query_selector_all(".widget-hslider, .widget-html")

    def test_no_file_of_the_site_runs_when_it_is_opened_alone(self, hostile):
        site, _ = hostile
        own = {site / "_static", site / "try"}  # which hold nothing of a notebook
        assert [path for path in site.rglob("*.svg") if not own & set(path.parents)] == []
        page = (site / "notebooks/00_hostile.html").read_text("utf-8")
        for script in re.findall(r"<script[^>]*>(.*?)</script", page, re.DOTALL | re.IGNORECASE):
            assert "hits" not in script
        assert html.escape(attack("script", "source")).split("&#x27;")[0]
