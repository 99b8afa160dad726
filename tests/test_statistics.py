"""Means, intervals, tests and corrections, against scipy, statsmodels, exact counting and by hand."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from reports.power import fewest_seeds, seeds_to_decide
from reports.significance import (
    Equals,
    PairedComparison,
    among_the_best,
    compare,
    compare_pairs,
    holm,
    sign_flips,
    smallest_p,
    superiority,
)
from reports.statistics import Difference, paired_difference, summarize

DIFFERENCES = [
    [0.4, -0.1, 0.3, 0.25, 0.05, 0.31],
    [1.0, 2.0, 3.0],
    [-0.02, -0.04, 0.02, 0.0, 0.0, -0.08, 0.06],
    [5.0],
    [1e-9, 3e-9, -2e-9, 8e-9],
    [1e6, -2e6, 5e6, 5e6, 5e6],
]


def counted(differences: list[int]) -> float:
    """The test's p by counting sums of whole numbers: how many flips lead to each."""
    sums = Counter({0: 1})
    for difference in differences:
        after: Counter[int] = Counter()
        for total, ways in sums.items():
            after[total + difference] += ways
            after[total - difference] += ways
        sums = after
    observed = abs(sum(differences))
    return sum(ways for total, ways in sums.items() if abs(total) >= observed) / 2 ** len(differences)


def sign_flip(differences: list[float]) -> float:
    return float(sign_flips(np.array([differences], dtype=np.float64))[0])


def arms_of(values: dict[str, list[float]]) -> dict[str, dict[int, float]]:
    return {name: dict(enumerate(found)) for name, found in values.items()}


def best_arms(
    arms: dict[str, dict[int, float]], *, larger_is_better: bool = True, level: float = 0.05
) -> frozenset[str] | None:
    found = among_the_best(arms, larger_is_better=larger_is_better, level=level)
    return found and found.arms


def shifted(by: float, n: int, seed: int = 0) -> list[float]:
    """Values that lie above or below those of `shifted(0, n)` under every seed, where `by` is not tiny."""
    spread = np.random.default_rng(seed).uniform(0.001, 0.002, n)
    return [0.7 + 0.01 * i + by + float(spread[i]) for i in range(n)]


def test_summary_is_numpys_mean_and_sample_deviation() -> None:
    summary = summarize([0.5, 0.6, 0.7, 0.9])
    assert summary is not None
    assert (summary.mean, summary.n) == (pytest.approx(0.675), 4)
    assert summary.sd == pytest.approx(scipy.stats.tstd([0.5, 0.6, 0.7, 0.9]))
    assert summarize([0.5]) is not None
    assert summarize([0.5]).sd is None  # type: ignore[union-attr]
    assert summarize([]) is None


def test_what_is_not_finite_is_left_out() -> None:
    broken = [0.1, math.nan, 0.2, math.inf, 0.4, 0.3]
    kept = [0.1, 0.2, 0.4, 0.3]
    assert superiority(broken) == superiority(kept)
    assert superiority([math.nan]) is None
    assert summarize([0.5, math.nan, 0.7, math.inf]) == summarize([0.5, 0.7])
    assert summarize([math.nan]) is None


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_paired_difference_is_scipys_paired_t(confidence: float) -> None:
    left, right = [0.71, 0.74, 0.69, 0.73, 0.75], [0.70, 0.70, 0.70, 0.70, 0.71]
    expected = scipy.stats.ttest_rel(left, right).confidence_interval(confidence)
    ours = paired_difference(dict(enumerate(left)), dict(enumerate(right)), confidence)
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high))
    assert ours.sd == pytest.approx(np.std(np.subtract(left, right), ddof=1))


def test_pairs_are_by_seed_and_a_seed_without_a_number_drops_out() -> None:
    left = {0: 1.0, 1: 2.0, 2: 9.0, 4: math.nan, 5: 1.0}
    right = {1: 1.0, 0: 0.5, 3: 4.0, 4: 1.0, 5: math.inf}
    difference = paired_difference(left, right)
    assert difference is not None
    assert (difference.mean, difference.n) == (0.75, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({}, {}) is None


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_differences_without_spread_have_no_interval(size: float) -> None:
    left, right = {0: 0.9 * size, 1: 0.8 * size, 2: 0.7 * size}, {0: 0.85 * size, 1: 0.75 * size, 2: 0.65 * size}
    difference = paired_difference(left, right)
    assert difference is not None
    assert (difference.low, difference.high, difference.sd, difference.n) == (None, None, None, 3)
    assert difference.mean == pytest.approx(0.05 * size)


@pytest.mark.parametrize("differences", DIFFERENCES)
def test_sign_flips_are_scipys_permutations_of_signs(differences: list[float]) -> None:
    def distance(values: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(values.mean(axis=axis))

    scipys = scipy.stats.permutation_test(
        (np.array(differences),), distance, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue if len(differences) > 1 else 1.0  # fmt: skip
    assert sign_flip(differences) == pytest.approx(scipys, abs=1e-12)


@pytest.mark.parametrize("n", range(1, 15))
def test_sign_flips_of_accuracies_count_ties_as_exact_numbers_do(n: int) -> None:
    draw = np.random.default_rng(n)
    for images in (10, 50, 10_000):
        left, right = draw.integers(images // 2, images // 2 + 6, (2, n)).tolist()
        accuracies = [a / images - b / images for a, b in zip(left, right, strict=True)]
        assert sign_flip(accuracies) == counted([a - b for a, b in zip(left, right, strict=True)])


def test_twenty_pairs_are_exact_and_more_are_sampled_near_it() -> None:
    draw = np.random.default_rng(0)
    whole = (draw.integers(-40, 60, 20)).tolist()
    assert sign_flip(whole) == counted(whole)
    more = draw.integers(-40, 60, (2, 26))
    for p, row in zip(sign_flips(more.astype(float)), more.tolist(), strict=True):
        exact = counted(row)
        assert p == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 2**19))
        assert sign_flip(row) == p
    assert sign_flip([0.01] * 40) == smallest_p(40) == 2 / 2**20


def test_sign_flips_know_neither_order_nor_scale_nor_direction() -> None:
    for differences in DIFFERENCES:
        p = sign_flip(differences)
        for other in (differences[::-1], [-d for d in differences], [1e-7 * d for d in differences]):
            assert sign_flip(other) == p


def test_the_smallest_p_is_that_of_pairs_that_all_agree() -> None:
    assert [smallest_p(n) for n in (-1, 0, 1, 5, 6)] == [1, 1, 1, 0.0625, 0.03125]
    for n in range(1, 21):
        assert sign_flip([0.3 + 0.01 * i for i in range(n)]) == smallest_p(n)


def test_nothing_and_differences_of_zero_are_no_evidence() -> None:
    assert sign_flip([]) == sign_flip([0.0] * 8) == sign_flip([0.0] * 30) == 1.0
    assert sign_flip([0.0, 0.0, 0.1, 0.2, 0.3]) == sign_flip([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "p", [[0.01, 0.04, 0.03, 0.005], [0.2], [0.5, 0.5, 0.5], [0.001, 0.9, 0.02, 0.02, 1.0], [0.05, 0.01, 0.05]]
)
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


def test_superiority_counts_wins_and_half_of_the_ties() -> None:
    assert superiority([0.1, 0.2, -0.1, 0.0]) == 2.5 / 4
    assert superiority([0.1, 0.2, -0.1, 0.0], larger_is_better=False) == 1.5 / 4
    assert (superiority([]), superiority([0.0]), superiority([1.0])) == (None, 0.5, 1.0)


def rejected(p: list[float]) -> set[int]:
    """Holm's own words: the smallest p against 0.05 / m, the next against 0.05 / (m - 1), until one is larger."""
    found: set[int] = set()
    for place in sorted(range(len(p)), key=lambda place: p[place]):
        if p[place] > 0.05 / (len(p) - len(found)):
            break
        found.add(place)
    return found


def verdicts(comparisons: dict[str, PairedComparison]) -> dict[str, str]:
    return {name: comparison.verdict for name, comparison in comparisons.items()}


def test_comparisons_are_paired_tested_and_corrected() -> None:
    arms = arms_of(
        {"base": shifted(0, 8), "up": shifted(0.05, 8, 1), "down": shifted(-0.05, 8, 2), "same": shifted(0, 8, 3)}
    )
    found = compare(arms, "base", larger_is_better=True)
    assert verdicts(found) == {"up": "better", "down": "worse", "same": "not significant"}
    raw = [sign_flip([arms[name][i] - arms["base"][i] for i in range(8)]) for name in found]
    assert [comparison.p for comparison in found.values()] == raw
    assert [comparison.adjusted for comparison in found.values()] == pytest.approx(
        multipletests(raw, method="holm")[1].tolist()
    )
    assert found["up"].difference == paired_difference(arms["up"], arms["base"])
    assert [comparison.superiority for comparison in found.values()][:2] == [1.0, 0.0]


def test_where_smaller_is_better_the_verdicts_turn_round() -> None:
    arms = arms_of({"base": shifted(0, 8), "up": shifted(0.05, 8, 1), "down": shifted(-0.05, 8, 2)})
    turned = {name: {seed: -value for seed, value in values.items()} for name, values in arms.items()}
    larger = compare(arms, "base", larger_is_better=True)
    smaller = compare(turned, "base", larger_is_better=False)
    assert verdicts(larger) == verdicts(smaller)
    assert [c.superiority for c in larger.values()] == [c.superiority for c in smaller.values()]
    assert best_arms(arms) == best_arms(turned, larger_is_better=False) == {"up"}


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize("family", [1, 2, 3, 9, 17])
def test_n_is_too_small_exactly_where_no_outcome_could_be_significant(family: int, level: float) -> None:
    fewest = fewest_seeds(family, level)
    assert fewest is not None
    for n, enough in ((2, False), (fewest - 1, False), (fewest, True), (fewest + 1, True)):
        best = {"base": shifted(0, n)} | {f"arm{i}": shifted(0.05, n, i) for i in range(family)}
        equal = {"base": shifted(0, n)} | {f"arm{i}": shifted(0, n, i + 7) for i in range(family)}
        at_best = set(verdicts(compare(arms_of(best), "base", larger_is_better=True, level=level)).values())
        assert at_best == {"better" if enough else "n too small"}
        if not enough:
            ended = compare(arms_of(equal), "base", larger_is_better=True, level=level)
            assert set(verdicts(ended).values()) == {"n too small"}


def test_n_too_small_beside_comparisons_with_more_pairs() -> None:
    # six pairs alone pass the level at 0.03125; in a family of two only after the other has been decided
    base = shifted(0, 10)
    mixed = [value + 0.002 * (-1) ** i for i, value in enumerate(base[:6])]
    decided = arms_of({"base": base, "long": shifted(0.05, 10, 1), "short": mixed})
    open_ = arms_of({"base": base, "long": [v + 1e-3 * (-1) ** i for i, v in enumerate(base)], "short": mixed})
    assert verdicts(compare(decided, "base", larger_is_better=True)) == {"long": "better", "short": "not significant"}
    assert verdicts(compare(open_, "base", larger_is_better=True)) == {
        "long": "not significant",
        "short": "n too small",
    }
    best = decided | {"short": dict(enumerate(shifted(0.05, 6, 2)))}
    assert verdicts(compare(best, "base", larger_is_better=True)) == {"long": "better", "short": "better"}


def test_n_too_small_is_what_its_smallest_p_would_not_change() -> None:
    draw = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    for _ in range(150):
        base = draw.normal(0, 1, 10)
        arms = {"base": dict(enumerate(base.tolist()))}
        for i in range(draw.integers(1, 6)):
            n = int(draw.choice([3, 5, 6, 7, 8, 10]))
            arms[str(i)] = dict(enumerate((base[:n] + draw.choice([0, 3]) + draw.normal(0, 1, n)).tolist()))
        found = compare(arms, "base", larger_is_better=True)
        p = [comparison.p or 0.0 for comparison in found.values()]
        for place, (name, comparison) in enumerate(found.items()):
            best_case = [*p[:place], smallest_p(len(arms[name])), *p[place + 1 :]]
            decided, reachable = place in rejected(p), place in rejected(best_case)
            expected = {"better", "worse"} if decided else {"not significant"} if reachable else {"n too small"}
            assert comparison.verdict in expected
            seen[comparison.verdict] += 1
    assert min(seen[verdict] for verdict in ("better", "not significant", "n too small")) > 20


def test_an_arm_without_a_pair_is_not_of_the_family() -> None:
    base = dict(enumerate(shifted(0, 6)))
    up = dict(enumerate(shifted(0.05, 6, 1)))
    apart = {"base": base, "up": up, "elsewhere": {7: 0.5}, "failed": {}, "nan": {0: math.nan}}
    found = compare(apart, "base", larger_is_better=True)
    assert verdicts(found) == {"up": "better", "elsewhere": "no pair", "failed": "no pair", "nan": "no pair"}
    assert found["up"].adjusted == found["up"].p == 0.03125
    for name in ("elsewhere", "failed", "nan"):
        assert (found[name].difference, found[name].p, found[name].adjusted, found[name].superiority) == (None,) * 4
    assert found["elsewhere"].dropped == (0, 1, 2, 3, 4, 5, 7)
    assert found["nan"].dropped == (0, 1, 2, 3, 4, 5)
    assert compare({"base": {}, "up": up}, "base", larger_is_better=True)["up"].verdict == "no pair"
    assert compare({"base": base}, "base", larger_is_better=True) == {}


def test_comparisons_with_references_of_their_own_are_one_family() -> None:
    steps = [dict(enumerate(shifted(0.05 * i, 7, i))) for i in range(4)]
    found = compare_pairs({f"step {i}": (steps[i], steps[i - 1]) for i in (1, 2, 3)}, larger_is_better=True)
    assert [c.verdict for c in found.values()] == ["better"] * 3
    assert [c.adjusted for c in found.values()] == [3 * 2 / 2**7] * 3
    assert [c.difference for c in found.values()] == [paired_difference(steps[i], steps[i - 1]) for i in (1, 2, 3)]


def test_dropped_seeds_are_those_that_one_of_the_two_lacks() -> None:
    arms = {"base": {0: 0.5, 1: 0.5, 2: 0.5}, "arm": {1: 0.6, 2: 0.6, 3: 0.6}}
    found = compare(arms, "base", larger_is_better=True)["arm"]
    assert found.dropped == (0, 3)
    assert found.difference is not None
    assert found.difference.n == 2


@pytest.mark.parametrize("value", [0.0, 1.0, 0.7])
@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_arms_without_any_spread_have_defined_results(value: float, n: int) -> None:
    arms = arms_of({"base": [value] * n, "same": [value] * n, "less": [value / 2] * n})
    found = compare(arms, "base", larger_is_better=True)
    less = found["less"]
    assert (found["same"].p, found["same"].superiority) == (1.0, 0.5)
    assert found["same"].verdict == ("not significant" if n == 12 else "n too small")
    assert less.difference == Difference(pytest.approx(-value / 2), None, None, n)  # type: ignore[arg-type]
    assert less.verdict == (found["same"].verdict if value == 0 or n < 12 else "worse")
    best = best_arms(arms)
    assert best == (None if n < 12 else arms.keys() - ({"less"} if value else set()))


def test_among_the_best_are_all_that_are_not_worse_than_the_best() -> None:
    arms = arms_of({"a": shifted(0.05, 9), "b": shifted(0.05, 9, 1), "c": shifted(0, 9, 2), "d": shifted(-0.05, 9, 3)})
    assert best_arms(arms) == {"a", "b"}
    assert best_arms(arms, larger_is_better=False) == {"d"}
    assert best_arms(arms, level=0.001) is None


def test_two_arms_take_six_seeds_to_be_told_apart_and_one_arm_is_no_choice() -> None:
    for n, expected in ((5, None), (6, {"a"})):
        assert best_arms(arms_of({"a": shifted(0.05, n), "b": shifted(0, n)})) == expected
    for arms in ({}, {"a": {0: 1.0}}, {"a": {}, "b": {}}, arms_of({"a": shifted(0, 9), "b": []})):
        assert best_arms(arms) is None


def test_an_arm_with_one_lucky_seed_neither_hides_the_best_nor_is_left_out() -> None:
    arms = arms_of({"a": shifted(0.05, 9), "b": shifted(0, 9, 1), "lucky": [0.99]})
    assert among_the_best(arms, larger_is_better=True) == Equals("a", frozenset({"a", "lucky"}))


def test_among_the_best_never_contradicts_the_comparison_with_the_best() -> None:
    draw = np.random.default_rng(3)
    for _ in range(50):
        values = draw.normal(0, 1, (5, 9)) + draw.choice([0, 1.5], (5, 1))
        arms = arms_of({str(i): row for i, row in enumerate(values.tolist())})
        top = max(arms, key=lambda name: sum(arms[name].values()))
        left_out = arms.keys() - (best_arms(arms) or arms.keys())
        worse = {n for n, c in compare(arms, top, larger_is_better=True).items() if c.verdict == "worse"}
        assert left_out <= worse


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.3, 0.6, 1.0, 4.0])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_seeds_to_decide_are_counted_one_by_one(ratio: float, n: int) -> None:
    low, high = (ratio - scipy.stats.t.ppf(0.975, n - 1) / math.sqrt(n), None)
    difference = Difference(-ratio, low, high, n, 1.0)
    total = n
    while ratio <= scipy.stats.t.ppf(0.975, total - 1) / math.sqrt(total):
        total += 1
    expected = total - n if total <= 1000 else None
    assert seeds_to_decide(difference) == expected
    assert seeds_to_decide(difference, most=total) == total - n
    assert seeds_to_decide(difference, most=total - 1) is None


def test_without_mean_or_spread_no_number_of_seeds_is_known() -> None:
    for difference in (
        Difference(0.0, -1.0, 1.0, 3, 1.0),
        Difference(0.1, None, None, 1),
        Difference(0.1, None, None, 5),
    ):
        assert seeds_to_decide(difference) is None


def test_a_decided_comparison_needs_no_further_seed() -> None:
    decided = paired_difference(dict(enumerate(shifted(0.05, 5))), dict(enumerate(shifted(0, 5, 1))))
    assert decided is not None
    assert seeds_to_decide(decided) == 0


def test_fewest_seeds_are_those_whose_floor_passes_holms_first_step() -> None:
    for family, level in product((1, 2, 3, 17, 100), (0.05, 0.01)):
        fewest = fewest_seeds(family, level)
        assert fewest is not None
        for n in range(1, 21):
            assert (n >= fewest) == (family * 2 / 2**n <= level)
    assert fewest_seeds(10**6) is None
