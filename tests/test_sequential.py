"""Seeds until decided: levels over all looks, one comparison followed, and studies whose truth is known."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from conftest import REPOSITORY
from scipy import stats

from reports.replicates.boundaries import crossing, nominal_level
from reports.replicates.sequential import Standing, StoppingRule, chance_to_settle, follow, look
from reports.significance import holm
from reports.statistics import Difference

sys.path.append(str(REPOSITORY / "benchmarks"))
import sequential as simulation

SEEDS = tuple(range(12))


def pairs(*differences: float) -> list[tuple[float, float]]:
    return [(difference, 0.0) for difference in differences]


def by_seed(*differences: float | None) -> dict[int, tuple[float, float] | None]:
    return {seed: None if d is None else (d, 0.0) for seed, d in enumerate(differences)}


@pytest.mark.parametrize(("least", "most", "nominal"), [(2, 5, 0.02), (3, 12, 0.02), (3, 12, 0.004), (5, 15, 0.01)])
def test_the_chance_to_cross_is_that_of_drawn_samples(least: int, most: int, nominal: float) -> None:
    draws = 50_000
    values = np.random.default_rng(0).standard_normal((draws, most)) * 7
    crossed = np.zeros(draws, dtype=bool)
    for n in range(least, most + 1):
        t = stats.ttest_1samp(values[:, :n], 0, axis=1, alternative="greater")
        crossed |= t.pvalue <= nominal * n / most
    expected = crossed.mean()
    assert crossing(least, most, nominal) == pytest.approx(
        expected, abs=4 * math.sqrt(expected / draws) + 0.005 * expected
    )


@pytest.mark.parametrize(("least", "most"), [(2, 4), (3, 12), (6, 20)])
@pytest.mark.parametrize("error", [0.05, 0.002, 1e-5])
def test_levels_spend_what_is_allowed_and_no_more(least: int, most: int, error: float) -> None:
    spent = crossing(least, most, nominal_level(least, most, error), bins=600)
    assert 0.96 * error < spent <= error


def test_a_single_look_is_students_interval() -> None:
    rule = StoppingRule(5, 5, 0.05, 3)
    assert rule.critical(5) == pytest.approx(stats.t.ppf(1 - 0.05 / 6, 4), rel=1e-2)
    assert rule.critical(5) >= stats.t.ppf(1 - 0.05 / 6, 4)
    assert rule.critical_one_sided(5) == pytest.approx(stats.t.ppf(1 - 0.05 / 3, 4), rel=1e-2)


def test_a_look_is_wider_than_a_fixed_sample_and_narrows() -> None:
    one, seven = StoppingRule(3, 12, 0.05, 1), StoppingRule(3, 12, 0.05, 7)
    for n in range(3, 13):
        assert stats.t.ppf(0.975, n - 1) < one.critical(n) < seven.critical(n)
        assert one.critical_one_sided(n) < one.critical(n)
    reaches = [one.critical(n) / math.sqrt(n) for n in range(3, 13)]
    assert reaches == sorted(reaches, reverse=True)


def test_the_interval_is_critical_values_of_standard_errors() -> None:
    differences, rule = (0.02, 0.05, 0.03, 0.06), StoppingRule(3, 12, 0.05, 2)
    verdict, found = look(pairs(*differences), rule)
    mean, error = np.mean(differences), stats.sem(differences)
    assert (found.mean, found.n) == (pytest.approx(mean), 4)
    assert found.low == pytest.approx(mean - rule.critical(4) * error)
    assert found.high == pytest.approx(mean + rule.critical(4) * error)
    assert (verdict == "decided") == (mean > rule.critical(4) * error)


def test_equivalent_is_two_one_sided_tests_against_the_margin() -> None:
    differences = (0.001, -0.001, 0.0005, -0.0005, 0.0)
    error, critical = stats.sem(differences), StoppingRule(3, 12, 0.05, 2).critical_one_sided(5)
    for margin, expected in ((critical * error * 1.001, "equivalent"), (critical * error * 0.999, "open")):
        assert look(pairs(*differences), StoppingRule(3, 12, 0.05, 2, margin))[0] == expected
    assert look(pairs(*differences), StoppingRule(3, 12, 0.05, 2))[0] == "open"


@pytest.mark.parametrize("difference", [0.1, 0.0])
def test_what_does_not_vary_decides_nothing(difference: float) -> None:
    # 0.8 - 0.7 and 0.9 - 0.8 differ in the last bit
    same = [(0.8, 0.8 - difference), (0.7, 0.7 - difference), (0.9, 0.9 - difference)]
    assert look(same, StoppingRule(3, 12, 0.05, 1, 0.5))[0] == "open"


def test_a_difference_of_just_a_claims_margin_is_no_difference() -> None:
    left, margin = (0.81, 0.77, 0.93), 0.02
    verdict, found = look([(value, (value - margin) + margin) for value in left], StoppingRule(3, 12, 0.05, 1))
    assert (verdict, found.low) == ("open", None)


def test_a_comparison_stops_at_the_look_that_decides_it() -> None:
    rule = StoppingRule(3, 12, 0.05, 1)
    clear = (0.100, 0.101, 0.102, 0.5, -3.0)
    standing = follow(by_seed(*clear), SEEDS, rule)
    assert (standing.verdict, standing.wanted, standing.waits) == ("decided", 3, False)
    assert standing.difference is not None
    assert standing.difference.n == 3


def test_what_is_open_wants_one_seed_more_until_the_most() -> None:
    rule, noise = StoppingRule(3, 6, 0.05, 1), (0.1, -0.2, 0.15, -0.1, 0.05, 0.02, 0.1)
    assert [follow(by_seed(*noise[:n]), SEEDS, rule).wanted for n in range(7)] == [3, 3, 3, 4, 5, 6, 6]
    assert [follow(by_seed(*noise[:n]), SEEDS, rule).waits for n in (2, 5, 6, 7)] == [True, True, False, False]
    assert follow(by_seed(), SEEDS, rule).difference is None


def test_looks_wait_for_their_seeds_in_order() -> None:
    rule = StoppingRule(3, 6, 0.05, 1)
    late = by_seed(0.100, 0.101, 0.102, 0.103)
    del late[1]
    assert follow(late, SEEDS, rule).verdict == "open"
    assert follow(late, SEEDS, rule).wanted == 3


def test_a_seed_that_failed_leaves_the_pairs_and_another_comes() -> None:
    rule = StoppingRule(3, 6, 0.05, 1)
    standing = follow(by_seed(0.100, None, 0.102), SEEDS, rule)
    assert (standing.verdict, standing.wanted, standing.difference) == ("open", 4, None)
    standing = follow(by_seed(0.100, None, 0.102, 0.101), SEEDS, rule)
    assert (standing.verdict, standing.wanted) == ("decided", 4)
    assert standing.difference is not None
    assert standing.difference.n == 3
    assert follow(by_seed(*[None] * 6), SEEDS, rule).wanted == 6
    assert not follow(by_seed(*[None] * 6), SEEDS, rule).waits


def as_seeds_come(values: dict[int, tuple[float, float]], rule: StoppingRule) -> Iterator[Standing]:
    """What a study says that trains what it wants, round by round."""
    ended: dict[int, tuple[float, float] | None] = {}
    while True:
        standing = follow(ended, SEEDS, rule)
        yield standing
        if not standing.waits:
            return
        ended |= {seed: values[seed] for seed in range(standing.wanted)}


@pytest.mark.parametrize("futility", [0.0, 0.1])
@pytest.mark.parametrize("margin", [None, 1.5])
def test_the_simulation_follows_as_a_study_does(margin: float | None, futility: float) -> None:
    rule = StoppingRule(3, 12, 0.05, 3, margin, futility)
    values = simulation.normal_values([0.0, 2.0, 4.0], 40, 12, np.random.default_rng(1))
    verdicts, seeds, means = simulation.run(values, rule)
    names = {
        "open": simulation.OPEN,
        "decided": simulation.DECIDED,
        "equivalent": simulation.EQUIVALENT,
        "futile": simulation.FUTILE,
    }
    for study in range(40):
        for arm in range(3):
            by_seed = {s: (float(values[study, arm + 1, s]), float(values[study, 0, s])) for s in SEEDS}
            *_, standing = as_seeds_come(by_seed, rule)
            assert (names[standing.verdict], standing.wanted) == (verdicts[study, arm], seeds[study, arm])
            assert standing.difference is not None
            assert standing.difference.mean == pytest.approx(means[study, arm])
    assert (verdicts == simulation.FUTILE).any() == bool(futility)


def test_what_is_settled_stays_so_as_seeds_come() -> None:
    rules, rng = (
        (StoppingRule(3, 12, 0.2, 1, 2.5, 0.1), StoppingRule(3, 12, 0.05, 4, None, 0.1)),
        np.random.default_rng(7),
    )
    found = set()
    for effect, rule in product((0.0, 1.0, 2.0) * 10, rules):
        ended = {s: (float(rng.normal(effect)), 0.0) for s in SEEDS}
        course = [follow({s: ended[s] for s in range(n)}, SEEDS, rule) for n in range(13)]
        first = next((i for i, each in enumerate(course) if each.verdict in ("decided", "equivalent")), 12)
        assert course[first:] == [course[first]] * (13 - first)
        # whoever has more seeds never wants fewer
        assert [each.wanted for each in course] == sorted(each.wanted for each in course)
        found |= {each.verdict for each in course}
    assert found == {"decided", "equivalent", "futile", "open"}


@pytest.mark.parametrize(("mean", "margin"), [(0.0, None), (0.6, None), (-0.6, None), (0.3, 1.8), (0.0, 3.0)])
def test_the_chance_to_settle_is_that_of_drawn_pairs(mean: float, margin: float | None) -> None:
    rule, rng = StoppingRule(3, 12, 0.05, 2, margin, 0.1), np.random.default_rng(8)
    so_far = Difference(mean, None, None, 5, 1.0)
    spread = np.sqrt(4 / rng.chisquare(4, 200_000))
    truth = mean + spread / math.sqrt(5) * rng.standard_normal(200_000)
    later = truth + spread / math.sqrt(7) * rng.standard_normal(200_000)
    last = np.abs(5 * mean + 7 * later) / 12
    error = 1 / math.sqrt(12)
    settled = last > rule.critical(12) * error
    if margin is not None:
        settled |= last + rule.critical_one_sided(12) * error < margin
    assert chance_to_settle(so_far, rule, 12) == pytest.approx(settled.mean(), abs=0.005)


def test_what_is_futile_asks_for_nothing_but_looks_at_what_comes() -> None:
    rule = StoppingRule(3, 12, 0.05, 1, None, 0.1)
    flat = (0.01, -0.01, 0.005, -0.004, 0.002)
    standing = follow(by_seed(*flat), SEEDS, rule)
    assert (standing.verdict, standing.wanted, standing.waits) == ("futile", 5, False)
    assert standing.chance is not None
    assert standing.chance < 0.1
    # its cells got seeds for another comparison, and these say otherwise
    more = (*flat, 0.03, 0.03)
    assert follow(by_seed(*more), SEEDS, rule).verdict == "open"
    assert follow(by_seed(*more), SEEDS, rule).wanted == 8
    assert follow(by_seed(*flat), SEEDS, StoppingRule(3, 12, 0.05, 1)).verdict == "open"
    assert follow(by_seed(*flat, *[None] * 7), SEEDS, rule).verdict == "open"


@pytest.mark.parametrize("kind", ["normal", "normal, related", "100 images", "20 images"])
@pytest.mark.parametrize("cells", [2, 6, 12])
def test_no_more_studies_err_than_the_level_says(cells: int, kind: str) -> None:
    for effects in simulation.truths(cells - 1).values():
        found = simulation.error_of(effects, kind, 4_000, np.random.default_rng(3))
        assert found.decided_in_error + found.equivalent_in_error <= 0.05
        if len(set(effects)) == 1:
            # the level is spent, not hoarded: of each kind alone most of it
            assert found.decided_in_error + found.equivalent_in_error > 0.015


def test_giving_up_errs_no_more() -> None:
    for effects in simulation.truths(5).values():
        one, other = (
            simulation.error_of(effects, "normal", 4_000, np.random.default_rng(9), futility) for futility in (0.0, 0.1)
        )
        assert other.decided_in_error <= one.decided_in_error
        assert other.equivalent_in_error <= one.equivalent_in_error


def test_the_truths_would_catch_looks_that_are_not_paid_for() -> None:
    class Naive(StoppingRule):
        def critical(self, n: int) -> float:
            return float(stats.t.ppf(1 - self.level / self.comparisons / 2, n - 1))

    values = simulation.normal_values([0.0] * 5, 5_000, 12, np.random.default_rng(4))
    assert simulation.summarise(values, [0.0] * 5, Naive(3, 12, 0.05, 5)).decided_in_error > 0.09


def test_holms_tests_are_those_of_scipys_t() -> None:
    values = simulation.normal_values([0.0, 0.8, 1.2, 2.0], 30, 6, np.random.default_rng(5))
    found = simulation.holm_decides(values, 0.05)
    for study in range(30):
        p = [stats.ttest_rel(values[study, arm], values[study, 0]).pvalue for arm in range(1, 5)]
        assert list(found[study]) == [adjusted <= 0.05 for adjusted in holm(p)]


@pytest.mark.parametrize(
    ("effects", "power"), [((1.5, 2.5, 4.0), 0.95), ((1.5, 2.5, 4.0, 0, 0, 0, 0), 0.93), ((2, 3, 4, 0, 0, 0, 0), 0.98)]
)
def test_real_effects_save_trials(effects: tuple[float, ...], power: float) -> None:
    values = simulation.normal_values(effects, 2_000, 12, np.random.default_rng(6))
    rule = StoppingRule(3, 12, 0.05, len(effects), None, simulation.FUTILITY)
    found = simulation.summarise(values, effects, rule)
    assert found.saved >= 0.4
    assert found.power > power
    # without giving up it is below what is possible, which a test of known spread comes near
    patient = simulation.summarise(values, effects, dataclasses.replace(rule, futility=0.0))
    assert patient.power - 0.01 < found.power
    assert patient.saved < simulation.bound(effects, rule)


def test_no_test_needs_fewer_pairs_than_walds_with_known_spread() -> None:
    # sequential probability ratio test of zero against a margin, errors 0.01, of a true difference of zero
    rule = StoppingRule(2, 400, 0.01, 1, 0.5)
    steps = np.random.default_rng(10).normal(0, 1, (4_000, 400)) * 0.5 - 0.125
    ends = np.abs(np.cumsum(steps, axis=1)) > math.log(100)
    taken = (ends.argmax(axis=1) + 1).mean()
    assert 0.75 * taken < simulation.fewest(0.0, rule) <= taken
