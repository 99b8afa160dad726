"""Names as text: nothing that a study calls its options is read as markup."""

from __future__ import annotations

import re

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "→": r"$\to$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
}
_MARKDOWN = re.compile(r"[\\`*\[\]<|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^(?:[#>+=-]|\d+[.)])")


def latex(text: str) -> str:
    """Text for LaTeX's horizontal mode."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def markdown(text: str) -> str:
    """Text for a line or table cell of Markdown."""
    escaped = _MARKDOWN.sub(lambda match: "\\" + match[0], " ".join(text.split()))
    return _LINE_START.sub(lambda match: match[0][:-1] + "\\" + match[0][-1], escaped)
