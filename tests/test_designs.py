"""Every design word against an enumeration written out by hand or by another route."""

from __future__ import annotations

from itertools import product

import pytest

from experiments.language.designs import cell_name, expand_design, parse_cell
from experiments.language.factors import Factor, parse_factors
from experiments.language.shapes import Design
from experiments.language.validation import Problem, validate

FACTORS: dict[str, Factor] = parse_factors(
    {
        "model": {"A": {}, "B": {"architecture.tweak": "B"}, "C": {"architecture.tweak": "C"}},
        "c": {"schedule": {"kind": "cosine"}},
        "l": {"loss.label_smoothing": 0.1},
        "m": {"refinements.mixup": {"alpha": 0.2}},
    }
)


def names(**words: object) -> list[str]:
    return [cell_name(choice, FACTORS) for choice in expand_design(validate(Design, words), FACTORS)]


def test_grid_is_the_product_in_order() -> None:
    assert names(grid={"model": ["A", "C"], "c": "all"}) == ["A", "A+c", "C", "C+c"]
    assert names(grid=["model"]) == ["A", "B", "C"]


def test_subsets_are_all_on_off_combinations() -> None:
    found = names(subsets=["c", "l", "m"])
    by_product = {
        "+".join(["A", *(s for s, on in zip("clm", bits, strict=True) if on)]) for bits in product([0, 1], repeat=3)
    }
    assert set(found) == by_product
    assert len(found) == 8
    assert found == ["A", "A+c", "A+l", "A+m", "A+c+l", "A+c+m", "A+l+m", "A+c+l+m"]


def test_leave_one_out() -> None:
    assert names(leave_one_out=["c", "l", "m"]) == ["A+c+l+m", "A+l+m", "A+c+m", "A+c+l"]


def test_add_one() -> None:
    assert names(add_one=["c", "l", "m"]) == ["A", "A+c", "A+l", "A+m"]


def test_cumulative_keeps_the_order_of_its_steps() -> None:
    assert names(cumulative=["m", "c", "l"]) == ["A", "A+m", "A+c+m", "A+c+l+m"]


def test_a_later_step_may_take_the_place_of_an_option() -> None:
    assert names(cumulative=["model.B", "c", "model.C", "m"]) == ["A", "B", "B+c", "C+c", "C+c+m"]
    for twice in (["model.B", "model.B"], ["c", "model.B", "c"]):
        with pytest.raises(Problem, match="stands twice among the steps"):
            names(cumulative=twice)


def test_pairwise_has_every_pair_alone_and_nothing() -> None:
    assert names(pairwise=["c", "l", "m"]) == ["A", "A+c", "A+l", "A+m", "A+c+l", "A+c+m", "A+l+m"]


def test_a_step_may_be_an_option_of_a_factor() -> None:
    assert names(cumulative=["model.B", "c"]) == ["A", "B", "B+c"]
    assert names(leave_one_out=["model.C", "l"]) == ["C+l", "A+l", "C"]


def test_list_takes_names_and_mappings() -> None:
    assert names(list=["B+c", {"model": "C", "l": "on"}, {"c": True}, "A"]) == ["B+c", "C+l", "A+c", "A"]


def test_an_option_may_look_like_a_number() -> None:
    widths = parse_factors({"width": {"64": {}, "128": {"architecture.width": 128}}})
    choices = expand_design(validate(Design, {"grid": {"width": [128, 64]}}), widths)
    assert [cell_name(choice, widths) for choice in choices] == ["128", "64"]


def test_words_of_one_design_multiply() -> None:
    assert names(grid={"model": ["A", "B"]}, subsets=["c"]) == ["A", "A+c", "B", "B+c"]


def test_where_and_exclude() -> None:
    assert names(grid={"model": "all"}, subsets=["c", "l"], where={"model": ["B", "C"], "c": "on"}) == [
        "B+c", "B+c+l", "C+c", "C+c+l",
    ]  # fmt: skip
    assert names(subsets=["c", "l"], exclude={"c": "on", "l": "on"}) == ["A", "A+c", "A+l"]
    assert names(subsets=["c", "l"], exclude=[{"c": True}, {"l": "off"}]) == ["A+l"]


def test_a_study_of_switches_alone_has_a_baseline() -> None:
    switches = parse_factors({"c": {"schedule": {"kind": "cosine"}}, "l": {"loss.label_smoothing": 0.1}})
    choices = expand_design(validate(Design, {"add_one": ["c", "l"]}), switches)
    assert [cell_name(choice, switches) for choice in choices] == ["baseline", "c", "l"]
    assert parse_cell("baseline", switches) == {"c": "off", "l": "off"}


@pytest.mark.parametrize("name", ["A", "B+c", "C+l+m", "A+c+l+m"])
def test_names_and_choices_are_inverse(name: str) -> None:
    assert cell_name(parse_cell(name, FACTORS), FACTORS) == name


def test_the_order_of_a_name_is_that_of_the_factors() -> None:
    assert cell_name(parse_cell("l+B+c", FACTORS), FACTORS) == "B+c+l"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "an empty design"),
        ({"grid": {}}, "an empty design"),
        ({"grid": {"model": ["A"]}, "where": {"model": "B"}}, "leave none of its 1 cells"),
        ({"grid": {"modell": ["A"]}}, "did you mean 'model'"),
        ({"grid": {"model": ["E"]}}, "'model' has no option 'E'; it has A, B, C"),
        ({"subsets": ["model"]}, "a step names one: model.B, model.C"),
        ({"subsets": ["c", "c"]}, "stands twice"),
        ({"subsets": ["c"], "add_one": ["c"]}, "stands in 'subsets' already"),
        ({"list": ["A"], "subsets": ["c"]}, "a design of its own"),
        ({"list": ["A+x"]}, "no option or switch is called 'x'"),
        ({"list": ["A+B"]}, "names two options of factor 'model'"),
        ({"add_one": ["c"], "exclude": {"d": "on"}}, "no factor is called 'd'"),
    ],
)
def test_a_design_that_makes_no_sense_says_why(words: dict[str, object], message: str) -> None:
    with pytest.raises(Problem, match=message):
        expand_design(validate(Design, words), FACTORS)


@pytest.mark.parametrize("word", ["subsets", "grid"])
def test_more_cells_than_anybody_wants_are_refused_at_once(word: str) -> None:
    steps = [f"s{i}" for i in range(40)]
    factors = parse_factors({step: {"loss.label_smoothing": 0.1} for step in steps})
    words = {word: steps if word == "subsets" else dict.fromkeys(steps, "all")}
    with pytest.raises(Problem, match="1,099,511,627,776 cells, expected at most 20,000"):
        expand_design(validate(Design, words), factors)


def test_words_together_may_be_too_many_as_well() -> None:
    steps = [f"s{i}" for i in range(24)]
    factors = parse_factors({step: {"loss.label_smoothing": 0.1} for step in steps})
    words = {"subsets": steps[:12], "grid": dict.fromkeys(steps[12:], "all")}
    with pytest.raises(Problem, match="16,777,216 cells"):
        expand_design(validate(Design, words), factors)
