"""Names as text: nothing that a study calls its options is read as markup."""

from __future__ import annotations

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
    '"': r"\textquotedbl{}",
}
_MARKDOWN = set(r"\`*_{}[]<>#|~!&$")


def latex(text: str) -> str:
    """Text for LaTeX's horizontal mode."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def markdown(text: str) -> str:
    """Text for a line or table cell of Markdown."""
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in " ".join(text.split()))
