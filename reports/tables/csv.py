"""A table's raw numbers as CSV, a row for each number."""

from __future__ import annotations

import csv
import io

from .printed import PrintedTable


def to_csv(table: PrintedTable) -> str:
    """A table's numbers in our units (accuracies are fractions of 1); a slash between several published ones."""
    if not table.numbers:
        return ""
    heads = [head for head in dict.fromkeys(key for number in table.numbers for key in number) if head != "table"]
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for number in table.numbers:
        writer.writerow({head: _plain(number.get(head)) for head in heads})
    return text.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, list):
        return " / ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value
