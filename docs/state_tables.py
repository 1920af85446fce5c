"""Show the drawings of state machines as tables, in a site without scripts from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_STEP = re.compile(r"(?m)^ *(\S+) --> (\S+)(?:: (.+))?$")
_HEADINGS = ("From", "To", "By")


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


class StateTable(SphinxDirective):
    """A ``stateDiagram`` of Mermaid's: a row for each arrow, in the order of the drawing."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make the table; a drawing of another kind is an error, so that nobody misses it."""
        steps = _STEP.findall("\n".join(self.content))
        if not self.content[0].startswith("stateDiagram") or not steps:
            raise self.error("of Mermaid's drawings the site shows those of state machines only")
        body = (
            _row((before, after, ", ".join(events.split("<br>")))) for before, after, events in steps if before != "[*]"
        )
        group = nodes.tgroup(
            "",
            *(nodes.colspec(colwidth=width) for width in (25, 25, 50)),
            nodes.thead("", _row(_HEADINGS)),
            nodes.tbody("", *body),
            cols=len(_HEADINGS),
        )
        return [nodes.table("", group)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("mermaid", StateTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
