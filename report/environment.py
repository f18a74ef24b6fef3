"""How templates are read and filled in."""

import jinja2


def templates() -> jinja2.Environment:
    """Make the environment of report/templates/; HTML is escaped, Markdown by the filter cell."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    return environment


def _cell(text: str) -> str:
    """Keep text in its cell of a Markdown table, and its tags text."""
    for char, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " ")):
        text = text.replace(char, safe)
    return text
