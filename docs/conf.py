"""Sphinx's settings for the course's website, which `tools/build_site.py` builds."""

from docutils import nodes
from sanitise import MARKDOWN, clean_html  # tools/sanitise.py

project = "From bicubic to SrResNet"
copyright = "the authors of the super-resolution course. Text CC BY 4.0, code MIT"
html_title = project
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_extra", "_static", "_templates", "node_modules", "try"]

# Notebooks are shown as they were committed.
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show {type}"
nb_code_prompt_hide = "Hide {type}"
myst_enable_extensions = MARKDOWN
myst_heading_anchors = 3

# The empty CDN: widgets load from this site only.
nb_ipywidgets_js = {
    "vendor/require.js": {"defer": "defer"},
    "vendor/widgets/embed-amd.js": {"defer": "defer", "data-jupyter-widgets-cdn": ""},
}
mathjax_path = "vendor/mathjax/tex-chtml.js"
mathjax_config_path = "_static/mathjax-config.js"
myst_update_mathjax = False

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have them, with shapes and units
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_preserve_defaults = True

html_theme = "pydata_sphinx_theme"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_extra_path = ["_extra"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "learning": [], "teaching": []}
html_theme_options = {
    "logo": {"text": project},
    "navbar_align": "left",
    "navbar_persistent": ["try-link", "search-button-field"],
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "primary_sidebar_end": [],
    "article_footer_items": [],
    "footer_start": ["copyright"],
    "footer_end": [],
}

# A second lock: tools/sanitise.py leaves nothing that these could stop.
POLICY = "script-src-attr 'none'; object-src 'none'; base-uri 'none'"


def name_pictures(app, doctree):
    """Put each figure of a notebook into a frame, with its plain text as alternative text."""
    for bundle in doctree.findall(nodes.container):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        texts = [part.astext() for part in bundle if part.get("mime_type") == "text/plain"]
        for image in list(bundle.findall(nodes.image)):
            image["alt"] = " ".join(" ".join(texts).split())
            image.replace_self(nodes.container("", image.copy(), classes=["picture"]))


def plain_defaults(app, what, name, obj, options, signature, returned):
    """Write a field's default that is made anew each time as Python's stubs do."""
    return (signature or "").replace("<factory>", "...") or None, returned


def plain_headings(app, doctree):
    """Leave no HTML in a notebook's headings: navigation and search show them on every page."""
    if app.env.docname.startswith("notebooks/"):
        for heading in doctree.findall(nodes.title):
            for raw in list(heading.findall(nodes.raw)):
                raw.parent.remove(raw)
            for text in list(heading.findall(nodes.Text)):  # the theme takes it for HTML too
                text.parent.replace(
                    text, nodes.Text(text.replace("<", "\N{FULLWIDTH LESS-THAN SIGN}"))
                )


def clean_page(app, name, template, context, doctree):
    """Let nothing that a notebook holds run on its page, and no attribute run on any page."""
    lock = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    context["metatags"] = f"{lock}\n{context.get('metatags', '')}"
    if name.startswith("notebooks/") and "body" in context:
        context["body"] = clean_html(context["body"])


def setup(app):
    """Register the functions above with Sphinx."""
    app.connect("autodoc-process-signature", plain_defaults)
    app.connect("doctree-read", plain_headings, priority=100)  # before titles are collected
    app.connect("doctree-read", name_pictures)
    app.connect("html-page-context", clean_page, priority=900)
