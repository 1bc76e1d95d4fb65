"""The documentation site: `sphinx-build -W -b html docs build/docs`.

With `-t offline` it has no links into other sites.
"""

import importlib.util
import re
import urllib.request

import grokrfm
import matplotlib

matplotlib.use("Agg")

project, author, release = "grokrfm", "grokrfm", grokrfm.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
# The gallery's scripts are pages only as what Sphinx makes of them.
exclude_patterns = ["gallery/*"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"grokrfm {release}"
html_copy_source = html_show_copyright = False
default_role = "py:obj"
myst_heading_anchors = 3

numpydoc_show_class_members = False
autosummary_ignore_module_all = False
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # numpydoc's sections tell them
# Between the rooms of the package, not for users.
autodoc_default_options = {
    "exclude-members": "adopt, check_parameters, fitted_state, plain_params, prepare, "
    "require_fit, require_memory, restore"
}
has_torch = importlib.util.find_spec("torch") is not None
autodoc_mock_imports = [] if has_torch else ["torch"]


def _inventories(sites):
    """Those that can be had now: a build without a network has no links to them, and no warning."""
    reached = {}
    for name, url in sites.items():
        try:
            with urllib.request.urlopen(url + "objects.inv", timeout=5):
                reached[name] = (url, None)
        except OSError:
            print(f"{url}: not reached, no links to {name}")
    return reached


SITES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
}
offline = tags.has("offline")  # noqa: F821  # Sphinx has it in store
intersphinx_mapping = {} if offline else _inventories(SITES)

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    # All are run; without PyTorch those that need it are shown alone.
    "filename_pattern": r"\.py$" if has_torch else r"plot_(?!torch).*\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "capture_repr": (),
    "reset_modules": ("matplotlib",),
    "show_signature": False,
}


def _prepare(app, docname, source):
    """Pages are written for reading as they stand; these are their links here.

    Names of the package link to the reference; Markdown outside docs is a file to fetch.
    """
    if str(app.env.doc2path(docname)).endswith(".md"):
        text = re.sub(r"(?<!`)`(grokrfm(?:\.\w+)+)`(?!`)", r"{py:obj}`\1`", source[0])
        source[0] = re.sub(r"\]\((\.\./[^)]+\.md)\)", r"](path:\1)", text)


def setup(app):
    app.connect("source-read", _prepare)
