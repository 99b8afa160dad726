"""Effects of factors by least squares: against statsmodels, paired differences, and designs whose aliases are known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.multitest import multipletests

from reports.effects import SEED, Effects, Row, Unidentified, effects
from reports.least_squares import Term
from reports.statistics import paired_difference

OFF_ON = ("off", "on")


def on(*names: str) -> Term:
    return tuple((name, "on") for name in names)


def switches(names: str, cells: list[str], seeds: int = 3, **amounts: float) -> list[Row]:
    """Runs of cells that name the switches that are on; each combination of switches adds its amount, and a bit of noise."""
    draw = np.random.default_rng(0)
    return [
        (
            {name: OFF_ON[name in cell] for name in names},
            seed,
            0.5 + 0.1 * seed + sum(a for w, a in amounts.items() if set(w) <= set(cell)) + float(draw.normal(0, 1e-4)),
        )
        for cell in cells
        for seed in range(seeds)
    ]


def factors_of(names: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names, OFF_ON)


def subsets(names: str) -> list[str]:
    return ["".join(n for n, x in zip(names, on, strict=True) if x) for on in product((0, 1), repeat=len(names))]


def by_term(found: Effects) -> dict[Term, float]:
    return {effect.factors: effect.estimate for effect in found.effects}


def frame_of(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame([{**options, "seed": seed, "y": value} for options, seed, value in rows])


def test_one_factor_is_the_paired_difference_with_its_interval() -> None:
    draw = np.random.default_rng(1)
    rows: list[Row] = [({"c": option}, seed, float(draw.normal())) for option in OFF_ON for seed in range(6)]
    arms = {option: {seed: value for options, seed, value in rows if options["c"] == option} for option in OFF_ON}
    expected = paired_difference(arms["on"], arms["off"])
    found = effects(rows, factors_of("c"))
    (effect,) = found.effects
    assert expected is not None
    assert (effect.estimate, effect.low, effect.high) == pytest.approx((expected.mean, expected.low, expected.high))
    assert effect.adjusted == effect.p
    assert (found.runs, found.df, found.blocked, found.unidentified) == (12, 5, True, ())


@pytest.mark.parametrize("dropped", [0, 1, 7])
@pytest.mark.parametrize("level", [0.05, 0.1])
def test_factorials_are_statsmodels(dropped: int, level: float) -> None:
    draw = np.random.default_rng(dropped)
    factors = {"model": ("A", "B", "C"), "c": OFF_ON, "m": OFF_ON}
    cells = [dict(zip(factors, cell, strict=True)) for cell in product(*factors.values())]
    rows: list[Row] = [(cell, seed, float(draw.normal())) for cell in cells for seed in range(3)]
    kept = [rows[i] for i in sorted(draw.permutation(len(rows))[dropped:])]
    found = effects(kept, factors, level=level)
    # deviation coding: a main effect is the difference of two coefficients, averaged over the other factors
    summed = smf.ols("y ~ (C(model, Sum) + C(c, Sum) + C(m, Sum))**2 + C(seed)", frame_of(kept)).fit()
    treated = smf.ols("y ~ (C(model) + C(c) + C(m))**2 + C(seed)", frame_of(kept)).fit()
    asked = {
        (("model", "B"),): (summed, "C(model, Sum)[S.B] - C(model, Sum)[S.A]"),
        (("model", "C"),): (summed, "-2 * C(model, Sum)[S.A] - C(model, Sum)[S.B]"),
        (("c", "on"),): (summed, "-2 * C(c, Sum)[S.off]"),
        (("m", "on"),): (summed, "-2 * C(m, Sum)[S.off]"),
        (("model", "B"), ("c", "on")): (treated, "C(model)[T.B]:C(c)[T.on]"),
        (("model", "B"), ("m", "on")): (treated, "C(model)[T.B]:C(m)[T.on]"),
        (("model", "C"), ("c", "on")): (treated, "C(model)[T.C]:C(c)[T.on]"),
        (("model", "C"), ("m", "on")): (treated, "C(model)[T.C]:C(m)[T.on]"),
        (("c", "on"), ("m", "on")): (treated, "C(c)[T.on]:C(m)[T.on]"),
    }
    assert {effect.factors for effect in found.effects} == asked.keys()
    assert (found.df, found.sd) == (summed.df_resid, pytest.approx(math.sqrt(summed.mse_resid)))
    for effect in found.effects:
        fit, contrast = asked[effect.factors]
        theirs = fit.t_test(contrast)
        assert effect.estimate == pytest.approx(theirs.effect.item())
        assert (effect.low, effect.high) == pytest.approx(tuple(theirs.conf_int(level)[0]))
        assert effect.p == pytest.approx(theirs.pvalue.item())
    adjusted = multipletests([effect.p for effect in found.effects], method="holm")[1]
    assert [effect.adjusted for effect in found.effects] == pytest.approx(adjusted.tolist())


def test_the_level_of_a_seed_is_taken_out_and_what_is_no_factor_is_not_looked_at() -> None:
    draw = np.random.default_rng(2)
    rows: list[Row] = [
        ({"model": m, "c": c}, seed, seed + 0.2 * (c == "on") + float(draw.normal(0, 0.1)))
        for m, c, seed in product("AB", OFF_ON, range(4))
        if (m, c, seed) != ("B", "on", 3)
    ]
    found = effects(rows, factors_of("c"))
    theirs = smf.ols("y ~ C(c) + C(seed)", frame_of(rows)).fit()
    (effect,) = found.effects
    assert effect.estimate == pytest.approx(theirs.params["C(c)[T.on]"])
    assert (effect.low, effect.high) == pytest.approx(tuple(theirs.conf_int().loc["C(c)[T.on]"]))
    assert (found.df, found.blocked) == (theirs.df_resid, True)
    assert not effects([row for row in rows if row[1] == 0], factors_of("c")).blocked
    assert len(effects(rows, {"model": "AB", "c": OFF_ON}).effects) == 3
    with pytest.raises(ValueError, match="a run has model='B'; expected one of 'A', 'C'"):
        effects(rows, {"model": "AC"})


def test_subsets_identify_all_pairs() -> None:
    found = effects(switches("abc", subsets("abc"), a=0.2, c=-0.1, ab=0.4), factors_of("abc"))
    expected = {on("a"): 0.4, on("b"): 0.2, on("c"): -0.1, on("a", "b"): 0.4, on("a", "c"): 0, on("b", "c"): 0}
    assert by_term(found) == pytest.approx(expected, abs=1e-3)
    assert (found.unidentified, found.additive, found.df) == ((), False, 24 - 7 - 2)


def test_pairwise_designs_identify_all_pairs() -> None:
    cells = [cell for cell in subsets("abcd") if len(cell) < 3]
    found = effects(switches("abcd", cells, a=0.2, ab=0.4, cd=-0.3), factors_of("abcd"))
    assert found.unidentified == ()
    crossed = {term: value for term, value in by_term(found).items() if len(term) == 2}
    assert crossed == pytest.approx(
        {pair: {on("a", "b"): 0.4, on("c", "d"): -0.3}.get(pair, 0) for pair in crossed}, abs=2e-3
    )
    assert len(crossed) == 6


def test_leave_one_out_compares_with_the_others_on_and_add_one_with_them_off() -> None:
    amounts = {"a": 0.2, "b": 0.1, "c": 0.0, "ab": 0.4}
    without = effects(switches("abc", ["abc", "bc", "ac", "ab"], **amounts), factors_of("abc"))
    alone = effects(switches("abc", ["", "a", "b", "c"], **amounts), factors_of("abc"))
    assert by_term(without) == pytest.approx({on("a"): 0.6, on("b"): 0.5, on("c"): 0.0}, abs=1e-3)
    assert by_term(alone) == pytest.approx({on("a"): 0.2, on("b"): 0.1, on("c"): 0.0}, abs=1e-3)
    pairs = [on("a", "b"), on("a", "c"), on("b", "c")]
    assert without.unidentified == tuple(Unidentified(pair, (pair[:1], pair[1:])) for pair in pairs)
    assert alone.unidentified == tuple(Unidentified(pair, ()) for pair in pairs)
    assert not without.additive
    assert not alone.additive


def test_a_cumulative_design_gives_each_step() -> None:
    found = effects(switches("abc", ["", "a", "ab", "abc"], a=0.2, b=0.1, ab=0.3, abc=-0.5), factors_of("abc"))
    assert by_term(found) == pytest.approx({on("a"): 0.2, on("b"): 0.4, on("c"): -0.5}, abs=1e-3)
    assert found.unidentified[0] == Unidentified(on("a", "b"), (on("b"),))


def test_a_half_fraction_names_the_aliased_pairs_and_keeps_their_sum() -> None:
    # 2^(4-1) with d = abc: each main effect is free of pairs, each pair aliased with its complement
    cells = ["", "ad", "bd", "cd", "ab", "ac", "bc", "abcd"]
    found = effects(switches("abcd", cells, a=0.2, d=0.1, ab=0.4), factors_of("abcd"))
    assert by_term(found) == pytest.approx({on("a"): 0.4, on("b"): 0.2, on("c"): 0.0, on("d"): 0.1}, abs=1e-3)
    aliases = {one.factors: one.aliases for one in found.unidentified}
    assert aliases[on("a", "b")] == (on("c", "d"),)
    assert aliases[on("b", "c")] == (on("a", "d"),)
    assert len(aliases) == 6
    assert not found.additive
    # the three sums of aliased pairs are in the model: 24 runs, seeds 3, mains 4, sums 3
    assert found.df == 24 - 3 - 4 - 3


def test_where_pairs_hide_main_effects_they_are_taken_to_be_none_and_it_says_so() -> None:
    # twelve runs of Plackett & Burman (1946): no pair is clear of the main effects
    row = [1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0]
    names = "abcdefghijk"
    cells = ["", *("".join(n for n, x in zip(names, row[-i:] + row[:-i], strict=True) if x) for i in range(11))]
    found = effects(switches(names, cells, a=0.2, f=-0.1), factors_of(names))
    assert found.additive
    assert {t: v for t, v in by_term(found).items() if abs(v) > 1e-3} == pytest.approx(
        {on("a"): 0.2, on("f"): -0.1}, abs=1e-3
    )
    assert len(found.effects) == 11
    assert len(found.unidentified) == 55
    assert all(one.aliases for one in found.unidentified)


def test_factors_that_change_together_are_named_with_each_other() -> None:
    together = effects(switches("abc", ["", "ab", "c", "abc"], a=0.2, c=0.1), factors_of("abc"))
    assert by_term(together).keys() == {on("c")}
    assert by_term(together)[on("c")] == pytest.approx(0.1, abs=1e-3)
    assert together.unidentified[:2] == (Unidentified(on("a"), (on("b"),)), Unidentified(on("b"), (on("a"),)))
    seeded: list[Row] = [({"c": OFF_ON[s]}, s, 0.5 + s) for s in (0, 1)]
    assert effects(seeded, factors_of("c")).unidentified == (Unidentified(on("c"), (((SEED, "1"),),)),)


def test_cells_of_several_designs_are_compared_where_they_meet() -> None:
    # models A to D plain, and every subset of c and l on A and B only
    factors = {"model": ("A", "B", "C", "D"), "c": OFF_ON, "l": OFF_ON}
    cells = [(m, "off", "off") for m in "CD"] + [*product("AB", OFF_ON, OFF_ON)]
    level = {"A": 0, "B": 0.1, "C": 0.2, "D": 0.3}
    draw = np.random.default_rng(0)
    rows: list[Row] = [
        (
            dict(zip(factors, cell, strict=True)),
            s,
            level[cell[0]] + (cell[1] == "on") * (0.05 + 0.2 * (cell[0] == "B")) + float(draw.normal(0, 1e-4)),
        )
        for cell in cells
        for s in range(3)
    ]
    found = by_term(effects(rows, factors))
    assert found[(("c", "on"),)] == pytest.approx(0.15, abs=1e-3)
    assert found[(("model", "B"),)] == pytest.approx(0.2, abs=1e-3)
    assert found[(("model", "C"),)] == pytest.approx(0.2, abs=1e-3)
    assert found[(("model", "B"), ("c", "on"))] == pytest.approx(0.2, abs=1e-3)
    assert [one.factors for one in effects(rows, factors).unidentified] == [
        ((("model", m)), (name, "on")) for name in "cl" for m in "CD"
    ]


def test_options_that_never_ran_and_a_first_option_that_never_ran() -> None:
    rows = switches("a", ["", "a"])
    factors = {"a": ("off", "on", "more"), "b": ("x", "y")}
    found = effects([({**options, "b": "y"}, seed, value) for options, seed, value in rows], factors)
    assert by_term(found).keys() == {on("a")}
    assert {one.factors: one.aliases for one in found.unidentified if len(one.factors) == 1} == {
        (("a", "more"),): (),
        (("b", "y"),): (),
    }


def test_effects_against_a_first_option_that_no_run_has_are_not_identified() -> None:
    found = effects([(o, s, v) for o, s, v in switches("a", ["", "a"])], {"a": ("never", "off", "on")})
    assert found.effects == ()
    assert found.unidentified == (Unidentified((("a", "off"),), ()), Unidentified(on("a"), ()))


@pytest.mark.parametrize("rows", [[], [({"c": "on"}, 0, math.nan)]])
def test_of_nothing_nothing_is_identified(rows: list[Row]) -> None:
    found = effects(rows, factors_of("c"))
    assert found == Effects((), (Unidentified(on("c"), ()),), False, 0, 0, None, False)


def test_one_seed_without_freedom_and_runs_without_noise_have_no_intervals() -> None:
    saturated = effects(switches("ab", subsets("ab"), seeds=1, a=0.2), factors_of("ab"))
    assert (saturated.df, saturated.sd) == (0, None)
    for value in (0.0, 1.0, 0.7):
        flat: list[Row] = [({"a": a, "b": b}, s, value) for a, b, s in product(OFF_ON, OFF_ON, range(3))]
        still = effects(flat, factors_of("ab"))
        for found in (saturated, still):
            for effect in found.effects:
                assert (effect.low, effect.high, effect.p, effect.adjusted) == (None,) * 4
        assert [effect.estimate for effect in still.effects] == pytest.approx([0, 0, 0], abs=1e-9)
    assert by_term(saturated) == pytest.approx({on("a"): 0.2, on("b"): 0, on("a", "b"): 0}, abs=1e-3)


def test_a_run_that_is_missing_or_not_finite_leaves_its_row_out() -> None:
    rows = switches("ab", subsets("ab"), a=0.2)
    options, seed, _ = rows[4]
    broken: list[Row] = [*rows[:4], (options, seed, math.inf), *rows[5:]]
    assert effects(broken, factors_of("ab")) == effects(rows[:4] + rows[5:], factors_of("ab"))
    assert effects(broken, factors_of("ab")).runs == 11


def test_factors_may_have_any_name() -> None:
    rows: list[Row] = [
        ({"seed": o, "": "x|y"}, s, s + (o == "on") + 0.1 * s * (o == "on")) for o in OFF_ON for s in range(3)
    ]
    found = effects(rows, {"seed": OFF_ON, "": ("x|y",)})
    assert by_term(found) == pytest.approx({on("seed"): 1.1})
