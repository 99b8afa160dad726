"""Figures as files: the same bytes from the same data, drawn only where something changed, whoever draws them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import TINY
from made_up import made_up_runs
from matplotlib.figure import Figure
from test_reports import HOSTILE, VALUES

from reports.figures import Curves, files, learning_curves, make_figure, processes, write_figures
from trainer import children

SUFFIXES = ("svg", "pdf", "png", "csv")


def curves(tmp_path: Path, id: str = "x", text: str = TINY) -> Curves:
    runs = made_up_runs(tmp_path, VALUES, text)
    found = learning_curves(runs, ["plain", "deep"], id, "Caption", ["top1"])
    assert found is not None
    return found


def contents(folder: Path, id: str = "x") -> dict[str, bytes]:
    return {suffix: (folder / f"{id}.{suffix}").read_bytes() for suffix in SUFFIXES}


def times(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_process_is_ready() -> Iterator[None]:
    processes.dismiss()
    yield
    processes.dismiss()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Curves, Path]:
    folder = tmp_path_factory.mktemp("drawn")
    figure = curves(folder)
    assert write_figures([figure], folder / "figures") == ["x"]
    return figure, folder / "figures"


def test_what_has_not_changed_is_left_alone(drawn: tuple[Curves, Path]) -> None:
    figure, folder = drawn
    before = times(folder)
    assert write_figures([figure], folder) == []
    assert times(folder) == before


def test_what_is_drawn_again_has_the_same_bytes(drawn: tuple[Curves, Path]) -> None:
    figure, folder = drawn
    before = contents(folder)
    (folder / "x.svg").unlink()
    (folder / "x.png").write_text("edited")
    assert write_figures([figure], folder) == ["x"]
    assert contents(folder) == before


def test_what_is_killed_while_it_draws_leaves_whole_files(
    drawn: tuple[Curves, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, folder = drawn[0], tmp_path / "figures"
    shutil.copytree(drawn[1], folder)
    before = contents(folder)

    def torn(self: Figure, file: Path, **more: object) -> None:
        file.write_text("half")
        raise InterruptedError

    monkeypatch.setattr(Figure, "savefig", torn)
    with pytest.raises(InterruptedError):
        files.draw_figure(figure, folder)
    assert contents(folder) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("edited", [None, "edited"])
def test_each_file_that_was_deleted_or_edited_is_made_again(
    suffix: str, edited: str | None, drawn: tuple[Curves, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, folder = drawn
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / f"copy/x.{suffix}"
    file.unlink()
    if edited:
        file.write_text(edited)
    monkeypatch.setattr(files, "in_processes", lambda figures, folder: None)
    assert write_figures([figure], tmp_path / "copy") == ["x"]


@pytest.mark.parametrize("known", [None, "not JSON", "[]", '{"x": 3}'])
def test_what_is_not_known_is_drawn(
    known: str | None, drawn: tuple[Curves, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, folder = drawn
    shutil.copytree(folder, tmp_path / "copy")
    if known is None:
        (tmp_path / "copy" / files.DRAWN).unlink()
    else:
        (tmp_path / "copy" / files.DRAWN).write_text(known)
    monkeypatch.setattr(files, "in_processes", lambda figures, folder: None)
    assert write_figures([figure], tmp_path / "copy") == ["x"]
    assert write_figures([figure], tmp_path / "copy") == []


def test_another_number_title_band_or_code_is_drawn_again(
    drawn: tuple[Curves, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, folder = drawn[0], tmp_path / "copy"
    shutil.copytree(drawn[1], folder)
    monkeypatch.setattr(files, "in_processes", lambda figures, folder: None)
    data = figure.data.copy()
    data.loc[0, "mean"] += 1e-15
    for changed in ({"data": data}, {"title": "Another"}, {"band": "range"}):
        assert write_figures([dataclasses.replace(figure, **changed)], folder) == ["x"], changed  # type: ignore[arg-type]
    (folder / files.DRAWN).unlink()
    write_figures([figure], folder)
    assert write_figures([figure], folder) == []
    monkeypatch.setattr(files, "_code", lambda: "another version")
    assert write_figures([figure], folder) == ["x"]


def test_processes_draw_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [curves(tmp_path, id) for id in "ab"]
    monkeypatch.setattr(processes, "MOST", 1)
    write_figures(figures, tmp_path / "one")
    monkeypatch.setattr(processes, "MOST", 2)
    monkeypatch.setattr(processes, "WORTH", 0.1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    here: list[str] = []
    draw = files.draw_figure
    monkeypatch.setattr(files, "draw_figure", lambda figure, folder: (here.append(figure.id), draw(figure, folder)))
    write_figures(figures, tmp_path / "two")
    assert len(here) == 1, "the other was drawn elsewhere"
    for id in "ab":
        assert contents(tmp_path / "one", id) == contents(tmp_path / "two", id)
    assert (tmp_path / "one" / files.DRAWN).read_bytes() == (tmp_path / "two" / files.DRAWN).read_bytes()


def test_a_process_that_is_ready_draws_where_starting_one_would_not_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = [curves(tmp_path, id) for id in "ab"]
    write_figures(figures, tmp_path / "one")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    (tmp_path / "elsewhere").mkdir()
    with contextlib.chdir(tmp_path / "elsewhere"):
        processes.get_ready()
    processes.get_ready()
    (waiting,) = processes._ready
    monkeypatch.chdir(tmp_path)
    here: list[str] = []
    draw = files.draw_figure
    monkeypatch.setattr(files, "draw_figure", lambda figure, folder: (here.append(figure.id), draw(figure, folder)))
    write_figures(figures, Path("two"))
    assert len(here) == 1
    assert (processes._ready, waiting.returncode) == ([], 0)
    for id in "ab":
        assert contents(tmp_path / "one", id) == contents(tmp_path / "two", id)


def test_a_process_that_waits_in_vain_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    processes.get_ready()
    (waiting,) = processes._ready
    assert waiting.poll() is None
    processes.dismiss()
    assert waiting.returncode is not None
    # one whose parent is killed: its input ends
    processes.get_ready()
    (waiting,) = processes._ready
    assert waiting.stdin is not None
    waiting.stdin.close()
    assert waiting.wait(30) == 0


@pytest.mark.parametrize("cores", [1, 2])
def test_two_cores_have_enough_to_do(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    processes.get_ready()
    assert processes._ready == []


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("worker", ["import sys; sys.exit(3)", "import sys; sys.stdin.buffer.read(); sys.exit(1)"])
def test_what_another_process_could_not_draw_is_drawn_here(
    worker: str, ready: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_CALL", worker)
    monkeypatch.setattr(processes, "WORTH", 0.1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    if ready:
        processes.get_ready()
    here: list[str] = []
    monkeypatch.setattr(files, "draw_figure", lambda figure, folder: here.append(figure.id))
    processes.in_processes([curves(tmp_path, id) for id in "ab"], tmp_path)
    assert sorted(here) == ["a", "b"]


@pytest.mark.parametrize(("number", "cores", "processes_"), [(3, 2, 1), (8, 2, 2), (8, 1, 1), (40, 64, 8), (8, 64, 2)])
def test_as_many_processes_as_pay(
    number: int, cores: int, processes_: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    figure = curves(tmp_path)
    shares = processes._shares([dataclasses.replace(figure, id=f"f{i}") for i in range(number)])
    assert len(shares) == processes_
    assert sorted(f.id for share in shares for f in share) == sorted(f"f{i}" for i in range(number))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


NAMES = [
    HOSTILE,
    "$x$",
    "\\$",
    "a\nb\tc",
    "🎈👩‍🔬",
    "שלום עולם",
    "x" * 100,
    "<svg onload=alert(1)>",
    "&amp; ]]>",
    "\x07bell",
]


@pytest.mark.parametrize("first", [0, 4, 6])
def test_hostile_names_are_text(first: int, tmp_path: Path) -> None:
    labels = dict(zip(("plain", "deep", "c", "l"), NAMES[first : first + 4], strict=True))
    words = f"cells: [plain, deep, c, l], caption: {json.dumps(NAMES[first])}, labels: {json.dumps(labels)}"
    runs = made_up_runs(tmp_path, VALUES, f"{TINY}figures: [{{id: x, {words}}}]\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_figures([make_figure(runs.plan.study.figures[0], runs)], tmp_path)
    svg = ElementTree.parse(tmp_path / "x.svg")
    texts = [element.text or "" for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    for label in labels.values():
        assert any(" ".join(label.split()).replace("\x07", " ").strip()[:20] in text for text in texts), label
    assert not [e for e in svg.iter() if e.tag.endswith("script") or "onload" in e.attrib]
