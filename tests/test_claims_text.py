"""The claims as printed: how many more seeds would decide them, and which pairs are lacking."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from made_up import made_up_runs, planned, recorded, runs_of
from scipy import stats

from reports.answer.pairs import answer_study
from reports.answer.text import change_sentence
from reports.claims import answer_claims
from reports.claims_text import claims_notes, claims_text, seeds_text
from reports.numbers import CUT
from reports.page.tables import changes_view
from reports.runs import Runs
from reports.tables import make_tables

PLAIN = [0.50, 0.60, 0.70]


def decided_with(differences: list[float], most: int = 2000) -> int:
    """Seeds in all whose t interval leaves out zero, mean and spread staying as they are, counted up one by one."""
    mean, sd = abs(float(np.mean(differences))), float(np.std(differences, ddof=1))
    return next(n for n in range(2, most) if mean > stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n))


def text_of(runs: Runs) -> str:
    return claims_text(answer_claims(runs), runs.plan)


def test_an_undecided_claim_says_how_many_seeds_would_decide_it(tmp_path: Path) -> None:
    shifts = [0.05, -0.04, 0.02]
    runs = made_up_runs(tmp_path, {"plain": PLAIN, "plain+c": [p + s for p, s in zip(PLAIN, shifts, strict=True)]})
    (finding,) = answer_claims(runs)[0].findings
    assert finding.further == decided_with(shifts) - 3
    assert f"| **undecided** | about {finding.further} |" in text_of(runs)
    assert "how many would decide it if mean and spread stayed as they are" in text_of(runs)


def test_a_decided_claim_asks_for_no_more_seeds(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, {"plain": PLAIN, "plain+c": [0.55, 0.66, 0.74]})
    assert answer_claims(runs)[0].findings[0].further == 0
    assert "More seeds" not in text_of(runs)


def test_what_no_spread_tells_is_a_question_mark(tmp_path: Path) -> None:
    for values in ([0.6], [0.6, 0.7]):
        runs = made_up_runs(tmp_path, {"plain": PLAIN[: len(values)], "plain+c": values})
        assert seeds_text(answer_claims(runs)[0].findings[0]) == "?"
    equal = made_up_runs(tmp_path, {"plain": [0.5, 0.6, 0.7], "plain+c": [0.6, 0.5, 0.7]})
    assert seeds_text(answer_claims(equal)[0].findings[0]) == "over 1,000"


def test_averaged_weights_are_compared_with_the_raw_ones(tmp_path: Path) -> None:
    claim = "plain.ema_top1 > plain.top1"
    plan = planned(tmp_path, TINY.replace("plain+c.top1 > plain.top1", claim).replace("designs:", "seeds: 3\ndesigns:"))
    runs = runs_of(plan, lambda trial: recorded(plan, trial, [{"top1": 0.5, "ema_top1": 0.6 + 0.01 * trial.seed}]))
    (answer,) = answer_claims(runs)
    assert answer.verdict == "reproduced"
    assert answer.findings[0].estimate is not None
    assert answer.findings[0].estimate.mean == pytest.approx(0.11)


@pytest.mark.parametrize(("second", "cut"), [(0.9, True), (0.501, False)])
def test_intervals_that_are_cut_say_so_everywhere(tmp_path: Path, second: float, cut: bool) -> None:
    text = TINY.replace("rows: stem,", "rows: [plain, plain+c], reference: plain,")
    values = {"plain": [0.5, 0.5], "plain+c": [0.5, second], "plain+l": [0.5, 0.5], "deep": [0.5, 0.5]}
    runs = made_up_runs(tmp_path, values, text)
    answer = answer_study(runs)
    found = next(change for change in answer.changes if change.label == "c")
    assert ("95 % interval cut at what is possible, \u2212100.0 to" in change_sentence(found, "top1")) is cut
    assert (CUT in changes_view(answer).notes[0]) is cut
    assert (f"An{CUT[2:]}" in claims_notes(answer_claims(runs), runs.plan)) is cut
    assert (CUT in " ".join(note for table in make_tables(runs) for note in table.footnotes)) is cut


def test_a_seed_that_one_arm_lacks_is_named(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, {"plain": PLAIN, "plain+c": [0.55, 0.66, 0.74]}, failed=("plain+c", 1))
    (finding,) = answer_claims(runs)[0].findings
    assert finding.difference is not None
    assert (finding.difference.n, finding.dropped) == (2, (1,))
    notes = claims_notes(answer_claims(runs), runs.plan)
    assert "Without a pair, because one of the two has no number: seed 1 of plain+c.top1 > plain.top1" in notes
    both = made_up_runs(tmp_path, {"plain": PLAIN, "plain+c": PLAIN}, missing=("plain", "plain+c"))
    assert answer_claims(both)[0].findings[0].dropped == ()


def test_comparisons_that_lack_the_same_seeds_are_named_at_once(tmp_path: Path) -> None:
    text = TINY.replace("plain+c.top1 > plain.top1", "plain+c.top1 > plain.top1 and plain+c.top1 > plain+l.top1")
    values = dict.fromkeys(("plain", "plain+c", "plain+l"), PLAIN)
    runs = made_up_runs(tmp_path, values, text, failed=("plain+c", 1))
    lacking = [note for note in claims_notes(answer_claims(runs), runs.plan) if note.startswith("Without a pair")]
    assert lacking == [
        "Without a pair, because one of the two has no number: seed 1 of plain+c.top1 > plain.top1, plain+c.top1 > "
        "plain+l.top1"
    ]


def test_what_a_claim_cannot_tell_apart_stands_under_it(tmp_path: Path) -> None:
    text = TINY.replace("c: {schedule: {kind: cosine}}", "c: {schedule: {kind: cosine}, optimizer.lr: 0.01}")
    runs = made_up_runs(tmp_path, {"plain": PLAIN, "plain+c": PLAIN}, text)
    assert "Note: c changes optimizer.lr (0.05 → 0.01) and schedule.kind (constant → cosine) at once" in text_of(runs)
