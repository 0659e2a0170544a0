"""Take out of a notebook's page whatever could run: its outputs may come from anybody.

nh3 decides what HTML is safe, css-inline writes the rules of ``<style>`` into the elements they
mean. So a table keeps its bold figures, and a style sheet cannot reach the page around it.
"""

import base64
import html
import re

import css_inline
import nh3
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

MARKDOWN = ["colon_fence", "dollarmath", "amsmath"]  # what the site's Markdown has beside the usual
# What Sphinx, pandas and people write. What can run or hide something is not in these lists.
TAGS = set(
    "a abbr article aside audio b blockquote br caption cite code col colgroup dd del details div "
    "dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark nav ol p pre q s samp "
    "section small source span strong sub summary sup table tbody td tfoot th thead tr u ul var "
    "video".split()
)
ATTRIBUTES = {
    "*": set(
        "align aria-hidden aria-label aria-level aria-labelledby class data-shows data-view dir "
        "halign id lang role style tabindex title valign".split()
    ),
    "a": {"download", "href", "rel"},
    "audio": {"controls", "src"},
    "col": {"span", "width"},
    "details": {"open"},
    "img": {"alt", "height", "loading", "src", "width"},
    "ol": {"start", "type"},
    "source": {"src", "type"},
    "table": {"border"},
    "td": {"colspan", "headers", "rowspan"},
    "th": {"abbr", "colspan", "headers", "rowspan", "scope"},
    "video": {"controls", "height", "loop", "muted", "poster", "src", "width"},
}
STYLES = set(
    "background-color border border-bottom border-collapse border-left border-right border-spacing "
    "border-top color display font-family font-size font-style font-weight height line-height "
    "list-style-type margin margin-bottom margin-left margin-right margin-top max-height max-width "
    "min-height min-width opacity padding padding-bottom padding-left padding-right padding-top "
    "text-align text-decoration text-indent vertical-align white-space width".split()
)
# From this site or from within the page: a page asks no other host for anything.
OWN_MEDIA = r"data:(image|audio|video)/[\w.+-]+;base64,[\w+/=\s]*|(?![\w.+-]*:)[\w.][^\\\s]*"
SHOWN = {  # kinds of output that a page can show without running anything
    *("text/plain", "text/html", "text/latex", "text/markdown"),
    *("image/png", "image/jpeg", "image/gif"),
}
MODEL = "IPY_MODEL_"  # how a saved widget names another one
WIDGET_MODULES = {"@jupyter-widgets/base", "@jupyter-widgets/controls"}


def _keep(tag: str, attribute: str, value: str) -> str | None:
    if attribute in ("src", "poster"):
        return value if re.fullmatch(OWN_MEDIA, value) else None
    data = attribute == "href" and "".join(value.split()).lower().startswith("data:")
    return None if data else value


_markdown = create_md_parser(MdParserConfig(enable_extensions=set(MARKDOWN)), RendererHTML)
_cleaner = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    attribute_filter=_keep,
    filter_style_properties=STYLES,
    url_schemes={"http", "https", "mailto", "data"},  # data for media only: see _keep
    link_rel=None,
)
_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False)


def clean_html(markup: str) -> str:
    """Return HTML in which nothing can run, load from elsewhere or style the page around it."""
    return _cleaner.clean(markup)


def requests(text: str) -> list[str]:
    """Return what a Markdown text asks of Sphinx, such as ``{include} file`` or ``{download}``.

    Jupyter knows no such words, and they could show a file of the machine that builds the site.
    """
    found, tokens = [], _markdown.parse(text)
    while tokens:
        token = tokens.pop()
        tokens += token.children or []
        if token.type == "front_matter":
            found.append("front matter")
        elif token.type == "myst_role":
            found.append(f"{{{token.meta['name']}}}")
        elif token.type in ("fence", "colon_fence") and token.info.strip().startswith("{"):
            found.append(token.info.strip())
    return found


def clean_metadata(notebook) -> None:
    """Leave of a notebook's metadata what its page needs; other keys set options of Sphinx."""
    kept = {"kernelspec", "language_info", "widgets"}
    notebook.metadata = {key: notebook.metadata[key] for key in kept & notebook.metadata.keys()}
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata.get("tags", [])}


def clean_output(data: dict) -> dict:
    """Return a cell output's data without what could run. An SVG becomes an image, and no file.

    A browser runs no script of an image; an SVG file it would run when somebody opens it.
    """
    kept = {kind: value for kind, value in data.items() if kind in SHOWN}
    svg = data.get("image/svg+xml")
    if "text/html" in kept:
        markup = kept["text/html"]
        if re.search(r"<style\b", markup, flags=re.IGNORECASE):
            markup = _inliner.inline_fragment(markup, "")
        kept["text/html"] = clean_html(markup)
    elif svg and not kept.keys() & {"image/png", "image/jpeg"}:
        code = base64.b64encode(svg.encode()).decode()
        words = html.escape(kept.get("text/plain", ""), quote=True)
        kept["text/html"] = f'<img alt="{words}" src="data:image/svg+xml;base64,{code}">'
    return kept


def clean_states(states: dict) -> dict:
    """Return saved widgets by id: only those of ipywidgets itself, without markup that could run.

    Widgets put their texts into the page as HTML, and load the script that a state names.
    """
    kept = {
        name: _clean_texts(model)
        for name, model in states.items()
        if re.fullmatch(r"[\w-]+", name)
        and {model.get("model_module"), *_modules(model.get("state", {}))} <= WIDGET_MODULES
    }
    for model in kept.values():  # a box without those that were left out
        if "children" in (state := model.get("state", {})):
            left = [child for child in state["children"] if child.removeprefix(MODEL) in kept]
            state["children"] = left
    return kept


def _modules(state: dict) -> list:
    return [state.get(key) for key in ("_model_module", "_view_module") if state.get(key)]


def _clean_texts(node):
    if isinstance(node, dict):
        return {_clean_texts(key): _clean_texts(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_clean_texts(item) for item in node]
    return clean_html(node) if isinstance(node, str) and "<" in node else node
