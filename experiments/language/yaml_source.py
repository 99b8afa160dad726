"""Reads a YAML file as plain data and remembers the line of every path in it.

YAML 1.2's core schema on PyYAML's parser: `on`, `off`, `yes` and `no` are words, `1e-3` is a number, dates are text,
a key that stands twice is an error, and no tag builds an object.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import UserError, nearest

YamlPath = tuple[str | int, ...]
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Libyaml's loader, where PyYAML was built with it."""

_NESTING, _SURELY_SHALLOW = "[{-:?", 10_000
"""What begins a value inside another, and up to how many of these libyaml is safe: it crashes at some 50,000 levels."""

_NODE_LIMIT = 100_000
_MOST_DIGITS = 400
"""More digits than any sensible setting has; Python would take hours to read a number of millions of them."""

_CORE = {
    "tag:yaml.org,2002:null": re.compile(r"~|null|Null|NULL|"),
    "tag:yaml.org,2002:bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "tag:yaml.org,2002:int": re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
}

_PIECE = re.compile(r"[-+]?[0-9.]+\)?")
"""What YAML takes for a name without a value in `{lr: 0,05}` and `{layers: (1, 2)}`."""

_COLON = ("mapping values are not allowed here", "but got ':'")
"""The parser's messages for a text that holds a colon, the commonest mistake of all."""

_SAID = (
    ("found character '\\t'", "got a tab, expected blanks: YAML indents by nothing else"),
    ("expected <block end>", "the indentation fits no line above, expected names, or dashes, that line up"),
    ("could not find expected ':'", "got a line without ': ', expected `name: value`"),
)
"""What the parser says of other mistakes, and what is meant."""

_SIGNS = ("cannot start any token", "found undefined alias")
"""What it says of a text that begins with a sign of YAML's own."""


@dataclass(frozen=True)
class YamlSource:
    """A parsed file: `data` and the line (from 1) of each path, for messages."""

    file: Path
    data: Any
    lines: dict[YamlPath, int]
    text: str = ""
    """The file, as it was read."""

    def error(self, path: YamlPath, message: str) -> UserError:
        """`file:line: path: message`, at the nearest enclosing path that has a line of its own."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        where = ".".join(
            repr(part)[1:-1] if isinstance(part, str) and not part.isprintable() else str(part) for part in path
        )
        line = self.lines.get(known, 1)
        return UserError(f"{self.file}:{line}: {where + ': ' if where else ''}{_one_line(message)}")


def read_yaml(path: Path | str) -> YamlSource:
    """Parse one YAML document; raises UserError naming file and line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a study in YAML{_sibling_hint(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; expected a study in YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read: {error}") from None
    builder = _Builder(path)
    try:
        node = _composed(text)
        data = builder.build(node, ()) if node is not None else None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}:{_malformed(error)}") from None
    return YamlSource(path, data, builder.lines, text)


def is_text(plain: str) -> bool:
    """Whether a study that has this without quotes means text: no number, truth value or nothing."""
    return not any(pattern.fullmatch(plain) for pattern in _CORE.values())


def _composed(text: str) -> yaml.Node | None:
    if sum(map(text.count, _NESTING)) <= _SURELY_SHALLOW:
        with suppress(yaml.YAMLError):
            return yaml.compose(text, Loader=_FAST)
    # this loader says more about what is malformed than libyaml
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _malformed(error: Exception) -> str:
    """`line: what is wrong` with a text that is no YAML."""
    marks = [getattr(error, name, None) for name in ("problem_mark", "context_mark")]
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "nested too deeply")
    if "could not find expected ':'" in problem:
        # a name that lacks its colon is missed only in the next line
        marks.reverse()
    line = next((mark.line + 1 for mark in marks if mark), 1)
    said = next((meant for words, meant in _SAID if words in problem), _one_line(problem))
    return f"{line}: malformed YAML: {said}{_begun(error, line)}{_quotes(problem)}"


def _begun(error: Exception, line: int) -> str:
    """Where what is malformed began, such as a quote that is never closed, if on another line."""
    begun, what = getattr(error, "context_mark", None), getattr(error, "context", None)
    if begun and "expected <block end>" in str(getattr(error, "problem", "")):
        return f" with what begins in line {begun.line + 1}"
    return f" {what} that begins in line {begun.line + 1}" if begun and what and begun.line + 1 != line else ""


def _quotes(problem: str) -> str:
    if any(words in problem for words in _COLON):
        return "; expected quotes around a text that holds ': ', or names that line up"
    sign = any(words in problem for words in _SIGNS) and "\\t" not in problem
    return "; expected quotes around a text that begins with such a sign" if sign else ""


class _Builder:
    """Turns composed nodes into dicts, lists and scalars."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: dict[YamlPath, int] = {}
        self.open: set[int] = set()
        self.count = 0

    def build(self, node: yaml.Node, path: YamlPath) -> Any:
        self.count += 1
        if self.count > _NODE_LIMIT:
            raise self.error(node, path, f"more than {_NODE_LIMIT} values after its aliases are expanded")
        if id(node) in self.open:
            raise self.error(node, path, "an alias refers to a value that contains it")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self.check_tag(node, path, "seq")
                return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            self.check_tag(node, path, "map")
            return self.mapping(node, path)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, path, "got a list or mapping as a key, expected a name")
            key = key_node.value
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise self.error(key_node, path, "merge keys (<<) are not part of the study language")
            if value_node.value == "" and not value_node.style and _PIECE.fullmatch(key):
                message = f"got {key!r} alone between commas, expected decimals as 0.5 and lists as [1, 2]"
                raise self.error(key_node, path, message)
            if key in result:
                raise self.error(key_node, (*path, key), f"the name {key!r} stands twice")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, (*path, key))
        return result

    def scalar(self, node: yaml.ScalarNode, path: YamlPath) -> Any:
        if node.tag.startswith("tag:yaml.org,2002:python") or node.tag.startswith("!"):
            raise self.error(node, path, f"the tag {node.tag!r} is refused: a study holds plain data only")
        if node.style or node.tag == "tag:yaml.org,2002:binary":
            return node.value
        text = node.value
        for tag, pattern in _CORE.items():
            if pattern.fullmatch(text):
                if len(text) > _MOST_DIGITS:
                    raise self.error(
                        node, path, f"got a number of {len(text):,} digits, expected at most {_MOST_DIGITS}"
                    )
                return _convert(tag.rsplit(":", 1)[1], text)
        return text

    def check_tag(self, node: yaml.Node, path: YamlPath, plain: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{plain}":
            raise self.error(node, path, f"the tag {node.tag!r} is refused: a study holds plain data only")

    def error(self, node: yaml.Node, path: YamlPath, message: str) -> UserError:
        self.lines[path] = node.start_mark.line + 1
        return YamlSource(self.file, None, self.lines).error(path, message)


def _convert(tag: str, text: str) -> Any:
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _sibling_hint(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.glob("*.yaml")] if folder.is_dir() else []
    return nearest(path.name, names)


def _one_line(text: str) -> str:
    return " ".join(text.split())
