"""Names as text: nothing that a study calls its options is read as markup."""

from __future__ import annotations

import re
import unicodedata

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
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # at the beginning of a row, LaTeX would read a bare bracket as an argument of the previous row's end
    "[": "{[}",
    '"': "''",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "„": ",,",
    "…": r"\ldots{}",
    "†": r"\textsuperscript{$\dagger$}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\copyright{}",
    "¿": "?`",
    "¡": "!`",
}
_MATHS = {
    "±": r"\pm",
    "−": "-",
    "×": r"\times",
    "·": r"\cdot",
    "→": r"\to",
    "←": r"\leftarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "≤": r"\le",
    "≥": r"\ge",
    "≠": r"\ne",
    "≈": r"\approx",
    "∞": r"\infty",
    "√": r"\surd",
    # \checkmark needs a package
    "✓": r"\surd",
    "°": r"{}^\circ",
    "µ": r"\mu",
    "¹": "{}^1",
    "²": "{}^2",
    "³": "{}^3",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
_GREEK = {"omicron": "o", "final sigma": r"\varsigma"}
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
_MARKDOWN = re.compile(r"[\\`*\[\]<|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^(?:[#>+=-]|\d+[.)])")


def latex(text: str) -> str:
    """Text for LaTeX's horizontal mode: ASCII only, so that it compiles in whatever encoding and font.

    A character that pdflatex's own fonts can't print becomes its Unicode name in brackets (`[balloon]`). Characters
    without a width are left out, among them the marks that change the direction of writing.
    """
    plain = unicodedata.normalize("NFC", " ".join(text.split()))
    # LaTeX would print two hyphens as a dash
    parts = plain.split("--")
    return "-{}-".join("".join(map(_latex_character, part)) for part in parts)


def spoken(text: str) -> str:
    """The text as `latex` has it printed, with names for what pdflatex can't print, so that its width is known."""
    plain = unicodedata.normalize("NFC", text)
    names = {c: said for c in set(plain) if (said := _latex_character(c)).startswith("{[}") and c != "["}
    return "".join(f"[{names[c][3:]}" if c in names else c for c in plain)


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character in _MATHS:
        return f"${_MATHS[character]}$"
    if " " <= character <= "~":
        return character
    if unicodedata.category(character) in ("Cc", "Cf", "Mn"):
        return ""
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        return f"\\{_ACCENTS[marks[0]]}{{{chr(92) + base if base in 'ij' else base}}}"
    name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
    greek = re.fullmatch(r"greek (small|capital) letter ([a-z ]+)", name)
    said = _greek(greek[1], greek[2]) if greek else None
    return f"{{[}}{name}]" if said is None else f"${said}$"


def _greek(case: str, letter: str) -> str | None:
    letter = "lambda" if letter == "lamda" else letter
    if letter in _GREEK:
        return _GREEK[letter]
    if case == "small":
        return f"\\{letter}" if " " not in letter else None
    return f"\\{letter.capitalize()}" if letter.capitalize() in _CAPITALS else None


def markdown(text: str) -> str:
    """Text for a line or table cell of Markdown."""
    # marks that change the direction of writing would change it for the rest of the line
    plain = "".join(character for character in text if unicodedata.category(character) != "Cf")
    escaped = _MARKDOWN.sub(lambda match: "\\" + match[0], " ".join(plain.split()))
    return _LINE_START.sub(lambda match: match[0][:-1] + "\\" + match[0][-1], escaped)
