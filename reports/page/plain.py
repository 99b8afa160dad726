"""A page made from Markdown, for reports that have no template of their own, such as a search's."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from .page import render

_SCROLLS = '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>'


def to_html(text: str, title: str, folder: Path) -> str:
    """The Markdown `text` as a page, with figures from `folder` put into it. HTML in the text is shown as text."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)

    def inline(match: re.Match[str]) -> str:
        data = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/svg+xml;base64,{data}"'

    body = re.sub(r'src="(figures/[A-Za-z0-9_.-]+\.svg)"', inline, body)
    # the page's policy blocks style attributes
    body = body.replace(' style="text-align:right"', ' class="number"').replace(' style="text-align:left"', "")
    body = body.replace("<table>", _SCROLLS).replace("</table>", "</table></div>")
    return render("plain.html", title=title, body=Markup(body))
