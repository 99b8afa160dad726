"""A password of the record's address is in no message, however what quotes it has written it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from click.testing import CliRunner

from experiments.tracking.failures import described
from experiments.tracking.uris import without_secrets
from orchestrator.cli import main

ODD = 'pä\'s  "w/o\\rd" 50%&'


@pytest.mark.parametrize("written", [str, repr, json.dumps, lambda word: quote(word, safe=""), quote_plus, str.split])
@pytest.mark.parametrize("stated", [str, lambda word: quote(word, safe="")])
def test_however_it_is_quoted(
    written: Callable[[str], object], stated: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://me:{stated(ODD)}@127.0.0.1/x")
    found = written(ODD)
    text = " ".join(found) if isinstance(found, list) else str(found)
    assert without_secrets(f"no way in with {text}") in (f"no way in with {q}***{q}" for q in ("", "'", '"'))


def test_of_a_long_message_no_part_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:abcdefghij@127.0.0.1:9")
    for length in range(180, 205):
        assert "abc" not in described(ValueError("." * length + "abcdefghij"))


def test_what_is_no_secret_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mlflow@db/mlflow?connect_timeout=10")
    assert without_secrets("epoch 10: mlflow") == "epoch 10: mlflow"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    folder = Path("50%")
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert without_secrets("no record can be in 50%") == "no record can be in 50%"


def test_a_plugin_that_quotes_it_where_it_is_imported(
    study_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("quotes.py").write_text("import os\n\nraise RuntimeError(os.environ['MLFLOW_TRACKING_URI'])\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")
    study = study_file(("\nstudy: tiny", "\nplugins: [quotes.py]\nstudy: tiny"))
    result = CliRunner().invoke(main, ["plan", str(study)], catch_exceptions=False)
    assert result.exit_code == 2
    assert "quotes.py:3: the plugin fails to import: RuntimeError: ***" in result.stderr
    assert "s3cret" not in result.output


def test_no_other_account_sees_it_while_the_page_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments of a command are everyone's to read (`ps`)."""
    served: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *given: served.extend(given))
    monkeypatch.setattr("experiments.tracking.opening.open_client", lambda: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:s3cret@127.0.0.1:9/runs")
    result = CliRunner().invoke(main, ["ui", "--port", "5099"], catch_exceptions=False)
    assert result.stdout == "http://127.0.0.1:5099 shows the record in about ten seconds; Ctrl-C ends it\n"
    _, arguments, environment = served
    assert arguments[1:8] == ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", "5099"]
    assert "s3cret" not in " ".join(arguments)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:s3cret@127.0.0.1:9/runs"


def test_a_port_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would say so among its own lines, and end with 0."""
    monkeypatch.setattr("os.execve", lambda *given: pytest.fail("served"))
    monkeypatch.setattr("experiments.tracking.opening.open_client", lambda: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me@127.0.0.1:9/runs")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["ui", "--port", port], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ablate: port {port} can't be used (Address already in use); expected a free one")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "http://me:s3cret@127.0.0.1:9",
            "the record at http://127.0.0.1:9: a server, whose own page is at that address",
        ),
        ("postgres://me:s3cret@127.0.0.1:9/runs", "postgres://127.0.0.1:9/runs: a kind of record that MLflow shows no"),
        ("postgresql+psycopg2://me:s3cret@127.0.0.1:9/runs", "can't be opened: connection to server at"),
        ("me:s3cret@127.0.0.1", "the record at me://***: a kind of record"),
    ],
)
def test_a_record_that_has_no_page_is_named_before_mlflow_quotes_it(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.execve", lambda *given: pytest.fail("served"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    result = CliRunner().invoke(main, ["ui"], catch_exceptions=False)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "s3cret" not in result.output
