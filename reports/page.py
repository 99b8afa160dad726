"""report.html: the report as one file that needs nothing else."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from markdown_it import MarkdownIt

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
p { max-width: 60rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; font-size: .92em; }
th:first-child, td:first-child { position: sticky; left: 0; background: Canvas; }
td[style*="right"] { white-space: nowrap; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
thead th { border-bottom-width: 2px; }
img { max-width: 100%; background: white; border-radius: 4px; }
code { font-size: .9em; }
"""


def to_html(text: str, title: str, folder: Path) -> str:
    """The Markdown `text` as a page; images below `folder` are put inside it. Raw HTML in the text stays text."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)

    def inline(match: re.Match[str]) -> str:
        data = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/svg+xml;base64,{data}"'

    body = re.sub(r'src="(figures/[A-Za-z0-9_.-]+\.svg)"', inline, body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
