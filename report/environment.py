"""The Jinja environment that fills in the templates."""

import base64
import hashlib
import re

import jinja2
from markupsafe import Markup, escape

from bench.runs.ending import plural


def templates() -> jinja2.Environment:
    """Make the environment of report/templates/.

    Text in HTML is escaped; Markdown templates escape the text of a table by the filter ``cell``.
    The filter ``plural`` counts things; ``hashed`` names a script or style in the content
    policy of a page; ``quoted`` sets what stands in backticks as code.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["hashed"] = _hashed
    environment.filters["plural"] = plural
    environment.filters["quoted"] = _quoted
    return environment


def _cell(text: str) -> str:
    """Escape text for a cell of a Markdown table: bars, line breaks and the < of tags."""
    for char, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " ")):
        text = text.replace(char, safe)
    return text


def _quoted(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped


def _hashed(text: str) -> str:
    """Write the source by which a content policy allows this text and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
