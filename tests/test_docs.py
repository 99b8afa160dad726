"""The examples of docs/study.md and of the README: each is run and does what the page says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from conftest import REPOSITORY

from experiments import expand, load_study
from experiments.catalog import EXTENSION_POINTS
from experiments.search.plan import plan_search
from orchestrator.cli import main
from reports.power import fewest_seeds

PAGE = (REPOSITORY / "docs" / "study.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
BASE = BLOCKS[0]
DESIGNS = [
    *re.findall(r"^\|[^|]*\| `([^`]+)` \| ([^|`]+) \|$", PAGE, re.M),
    *re.findall(r"^\| `(\{[^`]+)` \| ([^|`]+) \|$", PAGE, re.M),
]
ERRORS = re.findall(r"^\$ ablate (plan digits\.yaml(?: --profile \w+)?)(?: +# (.*))?\n(ablate: .*)$", PAGE, re.M)


def write(text: str, name: str = "digits.yaml") -> Path:
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    return file


def merged(block: str, *dropped: str, more: str = "") -> Path:
    """The page's study with the words of another block in the place of its own."""
    replaced = set(yaml.safe_load(block)) | set(dropped)
    kept = [part for part in re.split(r"(?m)^(?=\w)", BASE) if part.split(":")[0] not in replaced]
    return write("".join(kept) + block + more)


def test_the_pages_own_study() -> None:
    plan = expand(load_study(write(BASE)))
    assert (len(plan.cells), len(plan.trials)) == (17, 51)
    assert len(expand(load_study(write(BASE), "quick")).trials) == 17


@pytest.mark.parametrize(("design", "cells"), DESIGNS, ids=[design for design, _ in DESIGNS])
def test_a_design_makes_the_cells_that_the_page_says(design: str, cells: str) -> None:
    head = BASE[: BASE.index("designs:")]
    plan = expand(load_study(write(f"{head}designs:\n  - {design}\n")))
    assert [cell.name for cell in plan.cells] == cells.strip().split(", ")


@pytest.mark.parametrize("block", [b for b in BLOCKS[1:] if "plugins" not in b and "factors:\n" not in b])
def test_an_example_expands(block: str) -> None:
    dropped = ("tables", "claims") if "designs:\n" in block.splitlines(keepends=True)[0] else ()
    study = load_study(merged(block, *dropped))
    plan = expand(study)
    if study.search:
        assert plan_search(study).starts[1]["architecture.width"] == "32"
    if "profiles" in block:
        quick = expand(load_study(merged(block, "tables", "claims"), "quick"))
        assert (len(quick.cells), quick.by_name["A"].recipe.dataset.image_size) == (6, 16)
    assert plan.cells


@pytest.mark.parametrize(("command", "change", "message"), ERRORS, ids=[message for _, _, message in ERRORS])
def test_an_error_reads_as_the_page_shows_it(command: str, change: str, message: str) -> None:
    text = BASE
    if change:
        line = change.split(", while")[0]
        key = line.split(":")[0]
        old = {"subset": "subsets: [c, l, m]", "rows": "rows: model", "test": "test: model.B.top1 > model.A.top1"}
        pattern = re.escape(old[key]) if key in old else rf"(?<=\n  ){key}: .*"
        text = re.sub(pattern, line, BASE)
        assert text != BASE
    write(text)
    result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (2, "", message)


@pytest.mark.usefixtures("record")
def test_the_pages_plugin_trains() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.S)
    assert code is not None
    Path("contrast.py").write_text(code[1], encoding="utf-8")
    (block,) = (b for b in BLOCKS if "plugins" in b)
    file = merged(block, "designs", "tables", "claims", "seeds", "profiles", more="designs: [{grid: [contrast]}]\n")
    text = file.read_text().replace("epochs: 5", "epochs: 1").replace("image_size: 32", "image_size: 16")
    result = CliRunner().invoke(main, ["run", str(write(text)), "--executor", "inline"])
    assert result.exit_code == 0, result.output
    assert "[2/2] contrast seed 0" in result.stdout


def test_the_readmes_study() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    study = re.search(r"```yaml\n(.*?)```", readme, re.S)
    assert study is not None
    plan = expand(load_study(write(study[1], "my_tricks.yaml")))
    assert len(plan.cells) == 8
    write(study[1].replace("refinements.mixup", "refinements.mixpu"), "my_tricks.yaml")
    result = CliRunner().invoke(main, ["plan", "my_tricks.yaml"])
    shown = re.search(r"^    (ablate: my_tricks.*?)\n\n", readme, re.S | re.M)
    assert shown is not None
    assert result.stderr.split() == shown[1].split()


def test_the_readmes_tree_names_every_file() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    told_together = {*EXTENSION_POINTS, "commands", "checks", "figures", "_modules"}
    tree = readme.partition("## Where to go")[2]
    packages = ("experiments", "trainer", "reports", "orchestrator")
    files = Counter(
        file.name
        for package in packages
        for file in (REPOSITORY / package).rglob("*.py")
        if file.name != "__init__.py" and file.parent.name not in told_together
    )
    for name, number in files.items():
        told = len(re.findall(rf"(?<!\w){re.escape(name)}", tree))
        assert told >= number, f"README.md says what {told} of {number} files called {name} are for"
    for package in packages:
        for folder in (REPOSITORY / package).rglob("*/__init__.py"):
            name = f"{folder.parent.name}/"
            assert name in readme or folder.parent.name.startswith("_"), f"README.md does not say what {name} is for"


def test_the_readme_lists_every_study_and_every_document_has_a_page() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for file in (REPOSITORY / "studies").glob("*.yaml"):
        assert file.stem in readme, f"README.md does not list {file.name}"
    pages = sorted(page.stem for page in (REPOSITORY / "docs" / "documents").glob("*.md"))
    for page in pages:
        assert f"docs/documents/{page}.md" in readme
        assert (REPOSITORY / "studies" / f"{page}.yaml").exists()
    assert len(pages) == 5


def test_the_page_of_statistics_says_from_how_many_seeds_on_the_test_can_decide() -> None:
    page = (REPOSITORY / "docs" / "statistics.md").read_text(encoding="utf-8")
    families, seeds = (
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in page.splitlines()
        if line.startswith(("| comparisons in the table", "| seeds from which"))
    )
    for family, needed in zip(families, seeds, strict=True):
        first, _, last = family.partition(" to ")
        assert fewest_seeds(int(first)) == fewest_seeds(int(last or first)) == int(needed)
        assert fewest_seeds(int(last or first) + 1) == int(needed) + 1
