"""The tests and intervals keep their levels on made-up studies: benchmarks/calibration.py in small."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

import pytest
from conftest import REPOSITORY

STUDIES = 1000
ERROR = 3 * math.sqrt(0.05 * 0.95 / STUDIES)


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("calibration")


@pytest.mark.parametrize("kind", ["normal", "counts"])
def test_where_nothing_is_real_marks_claims_and_left_out_bests_keep_the_level(
    calibration: ModuleType, kind: str
) -> None:
    tally = calibration.nothing_real(kind, 4, 10, STUDIES)
    assert 0.01 < tally.share("any mark") < 0.05 + ERROR
    assert 0 < tally.share("single marks") < tally.share("any mark")
    assert 0 < tally.share("best left out") < 0.05 + ERROR
    assert tally.share("t covers") == pytest.approx(0.95, abs=ERROR)
    assert tally.share("claims") == pytest.approx(0.05, abs=ERROR)
    assert tally.share("too small") == 0


def test_too_few_seeds_mark_nothing_and_say_so(calibration: ModuleType) -> None:
    tally = calibration.nothing_real("normal", 4, 6, 100)
    assert (tally.share("any mark"), tally.share("best left out"), tally.share("too small")) == (0, 0, 1)


def test_real_effects_are_found_the_larger_the_more_often(calibration: ModuleType) -> None:
    tally = calibration.one_real(2, 10, 300)
    found = [tally.share(f"better {size}") for size in calibration.SIZES]
    # the power of the paired t test at 0.5, 1 and 2 standard deviations is 0.29, 0.80 and 1.00
    assert found == pytest.approx([0.29, 0.80, 1.0], abs=0.08)


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_effects_cover_at_their_rate_and_are_false_at_their_level(calibration: ModuleType, size: float) -> None:
    for design in calibration.DESIGNS:
        tally = calibration.factor_effects(design, "normal", 3, size, STUDIES)
        assert tally.share("covers") == pytest.approx(0.95, abs=ERROR)
        assert 0 < tally.share("any mark") < 0.05 + ERROR


def test_a_level_that_is_exceeded_is_named_and_an_error_of_the_simulation_is_not(calibration: ModuleType) -> None:
    most = calibration.Measure("false", "false", at_most=0.05)
    least = calibration.Measure("covers", "covers", at_least=0.95)
    exceeded: list[str] = []
    for wrong, expected in ((60, 0), (200, 2)):
        tally = calibration.Tally()
        tally.add("false", wrong, STUDIES)
        tally.add("covers", STUDIES - wrong, STUDIES)
        printed = [measure.print(tally, STUDIES, "row", exceeded) for measure in (most, least)]
        assert len(exceeded) == expected
    assert exceeded == ["row: false 0.200", "row: covers 0.800"]
    assert printed == ["**0.200**", "**0.800**"]
    assert most.print(calibration.Tally(), STUDIES, "row", exceeded) == "–"


def test_the_command_prints_a_table_a_question(
    calibration: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["calibration.py", "--studies", "2", "--processes", "1"])
    code = calibration.main()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("|---") for line in lines) == 3
    assert sum(line.startswith("| ") for line in lines) == 3 + 24 + 12 + 8
    assert (code == 1) == ("Exceeded" in lines[-1])
