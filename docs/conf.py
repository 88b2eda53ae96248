"""Settings of Sphinx. A build runs every code block, and fails if a public name is missing in the reference."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from jupyter_client import KernelManager
from sphinx.application import Sphinx
from sphinx.util import logging

import engine

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from public import INTERNAL, PLACES, names_of, public_modules, write_pages  # noqa: E402 # docs/public.py

project = "engine"
author = "The engine authors"
project_copyright = "The engine authors, BSD-3-Clause"
version = release = engine.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]

# The pages are notebooks written as text. The blocks of a page run in order in one Python process. Output on the error
# stream is a warning, which makes the build fail.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 60
nb_output_stderr = "error"
nb_merge_streams = True
# The kernel warns if its messages go over the network interface in plain text. Neither MyST-NB nor nbclient passes an
# option on to the kernel's manager, so the default of the option changes here.
KernelManager.transport_encryption.default_value = "auto"
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
os.environ["MATPLOTLIBRC"] = str(HERE / "matplotlibrc")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))

# Docstrings have code between single backticks, and describe types in words.
default_role = "code"
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": ",".join(sorted(INTERNAL)),
}
autodoc_typehints = "none"
autosummary_generate = False  # `write_pages` writes the pages of the modules
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
add_module_names = False
toc_object_entries_show_parents = "hide"

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"engine {version}"
html_static_path = ["_static"]
html_css_files = ["engine.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d5fa8", "color-brand-content": "#1d5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db8f0", "color-brand-content": "#7db8f0"},
    "top_of_page_buttons": [],
}


write_pages(HERE / "reference" / "generated")


def _require_all_names(app: Sphinx, env: Any) -> None:
    """Warns of public names that the reference lacks, which makes the build fail."""
    del app
    described = {name for name, *_ in env.get_domain("py").get_objects()}
    elsewhere = [cls for cls, place in PLACES.items() if place in described]
    for module in public_modules():
        for name in names_of(module):
            if f"{module.__name__}.{name}" not in described and getattr(module, name) not in elsewhere:
                logging.getLogger(__name__).warning("the reference lacks %s.%s", module.__name__, name)


def _name_public_bases(app: Sphinx, name: str, obj: type, options: Any, bases: list[Any]) -> None:
    """Replaces the bases of a class by their public names."""
    del app, options
    bases[:] = [f":py:class:`~{PLACES[base]}`" for base in obj.__mro__[1:] if base in PLACES][:1]


def _keep_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps napoleon from reading the first line of an attribute as "type: description"."""
    del app, name, obj, options
    if what in {"attribute", "property"}:
        lines[:0] = ["..", ""]  # an empty reStructuredText comment before the first line


def _visit_math(translator: Any, node: Any) -> None:
    """Writes a formula as MathML, for which browsers need no script and no network."""
    block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=block)
    translator.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def _leave_out_older_names(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leaves out the methods that only older versions of Keras had."""
    del app, what, name, skip, options
    module = getattr(getattr(member, "fget", member), "__module__", None)
    return True if str(module).startswith("engine._keras2") else None


def setup(app: Sphinx) -> None:
    """Registers the functions above. Sphinx calls it."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math, None))
    app.connect("autodoc-process-docstring", _keep_colons, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", _leave_out_older_names)
    app.connect("autodoc-process-bases", _name_public_bases)
    app.connect("env-check-consistency", _require_all_names)
