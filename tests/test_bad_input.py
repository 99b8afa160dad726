"""Every mistake gives one line with file, line and YAML path, exit code 2, no traceback, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TINY
from PIL import Image

from orchestrator.cli import main
from orchestrator.estimates import resources

WriteStudy = Callable[..., Path]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def refused(command: str, file: Path, *parts: str) -> str:
    """Run a command that must refuse its input and write nothing; returns its line."""
    before = sorted(path for path in Path.cwd().rglob("*") if "__pycache__" not in path.parts)
    result = run(command, str(file))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    line = result.stderr.rstrip("\n")
    assert "\n" not in line, f"expected one line, got:\n{line}"
    assert "Traceback" not in line
    for part in parts:
        assert part in line, f"{part!r} is not in: {line}"
    after = sorted(path for path in Path.cwd().rglob("*") if "__pycache__" not in path.parts)
    assert after == before, "something was written"
    return line


C = "c: {schedule: {kind: cosine}}"
STEM = "stem: {plain: {}, deep: {architecture.tweak: D}}"

MISTAKES: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "a brace that is never closed": (
        (C, "c: {schedule: {kind: cosine}"),
        (":14: malformed YAML: expected", "while parsing a flow mapping that begins in line 13"),
    ),
    "a quote that is never closed": (
        ("question: Does", 'question: "Does'),
        ("malformed YAML: found unexpected end of stream while scanning a quoted scalar that begins in line 3",),
    ),
    "a colon in a text": (
        ("question: Does the test pass?", "question: Does it pass: yes or no?"),
        (":3: malformed YAML: mapping values are not allowed here; expected quotes around a text that holds ': '",),
    ),
    "a colon in a text between braces": (
        ("says: Cosine pays", "says: Cosine pays: a lot"),
        ("malformed YAML: expected ',' or '}', but got ':'", "; expected quotes around a text that holds ': '"),
    ),
    "a line that is indented otherwise": (
        ("  epochs: 2", "   epochs: 2"),
        (":9: malformed YAML: the indentation fits no line above, expected names", "line up with what begins in line 5"),
    ),
    "a tab": (("  epochs: 2", "\tepochs: 2"), (":9: malformed YAML: got a tab, expected blanks",)),
    "a name without its colon": (("  epochs: 2", "  epochs 2"), (":9: malformed YAML: got a line without ': '",)),
    "a colon without its blank": (("  epochs: 2", "  epochs:2"), (":9: malformed YAML: got a line without ': '",)),
    "a sign of YAML's own": (
        ("question: Does", "question: @Does"),
        (":3: malformed YAML", "'@'", "expected quotes around a text that begins with such a sign"),
    ),
    "a number in quotes": (("lr: 0.05", 'lr: "0.05"'), (':7: recipe.optimizer.lr: got "0.05", expected a number; leave out',)),
    "a percentage": (
        ("l: {loss.label_smoothing: 0.1}", "l: {loss.label_smoothing: 10 %}"),
        ('got "10 %", expected a number: 0.1',),
    ),
    "a list in quotes": (("[1, 1, 1, 1]", "'[1, 1, 1, 1]'"), ("expected a list; leave out the quotes",)),
    "a list without brackets": (("[c, l]", "c, l"), ('got "c, l", expected a list: [c, l]',)),
    "true in quotes": (
        ("momentum: 0.9", "momentum: 0.9, nesterov: 'True'"),
        ('got "True", expected true or false; leave out the quotes',),
    ),
    "a tag that builds an object": (
        ("question: Does the test pass?", "question: !!python/object/apply:os.system ['touch pwned']"),
        (":3:", "question", "tag"),
    ),
    "a tag of its own": (("  epochs: 2", "  epochs: !danger 2"), (":9:", "recipe.epochs", "!danger")),
    "a name that stands twice": ((C, f"{C}\n  c: {{epochs: 3}}"), (":14:", "factors.c", "stands twice")),
    "an unknown word of the study": (("study: tiny", "studdy: tiny"), (":2:", "studdy", "did you mean 'study'")),
    "an unknown setting": (("momentum: 0.9", "momentun: 0.9"), (":7:", "recipe.optimizer.momentun", "'momentum'?")),
    "a number without end": (("  epochs: 2", f"  epochs: {'9' * 5000}"), (":9:", "a number of 5,000 digits")),
    "the same in another base": (("  epochs: 2", f"  epochs: 0x{'f' * 5000}"), (":9:", "a number of 5,002 digits")),
    "an empty option": ((STEM, "stem: {plain: {}, '': {architecture.tweak: D}}"), (":12:", "factors.stem", "an empty name")),
    "a name that claims could not say": (("c: {schedule", "a and b: {schedule"), ("factors.a and b", "' and '")),
    "a name with a letter that can't be seen": (("c: {schedule", '"c\\u200b": {schedule'), ("which can't be seen",)),
    "a step that changes nothing": (("[c, l]", "[stem.plain, l]"), ("add_one", "'stem.plain' is what cells have without",)),
    "a step that is off": (("[c, l]", "[c.off, l]"), ("'c.off' is what cells have without this step; expected one of c.on",)),
    "a path into a list": (
        (C, "c: {architecture.layers.0: 2}"),
        (":13:", "'architecture.layers' is a list, which is patched as a whole"),
    ),
    "a margin in points": (("plain+c.top1 > plain.top1", "plain+c.top1 > plain.top1 + 2"), ("the margin 2 for top1",)),
    "a kind that its key contradicts": (
        ("  epochs: 2", "  refinements: {mixup: {kind: cutmix}}\n  epochs: 2"),
        (":9:", "recipe.refinements.mixup.kind", "got \"cutmix\", but its key says mixup"),
    ),
    "a number in the place of a run's name": (
        ("tweak: A}", "tweak: A, weights_run: 994502902562}"),
        (":6:", "weights_run", "expected text; put it in quotes"),
    ),
    "an unknown recipe word": (("  epochs: 2", "  epoch: 2"), (":9:", "recipe.epoch", "did you mean 'epochs'")),
    "a setting of the former kind": (
        ("c: {", "w: {optimizer.kind: adamw}\n  c: {"),
        ("unknown setting 'momentum'", "it is the recipe's: `optimizer.momentum: null` removes it, and a patch of `optimizer`"),
    ),
    "an unknown option": (("kind: sgd", "kind: sdg"), (":7:", "recipe.optimizer.kind", "adam, adamw, rmsprop, sgd", "did you mean 'sgd'")),
    "an unknown data set": (("kind: digits", "kind: digit"), (":5:", "recipe.dataset.kind", "did you mean 'digits'")),
    "an unknown refinement": (
        (C, "c: {refinements.mixupp: {}}"),
        (":13:", "factors.c.refinements.mixupp", "did you mean 'mixup'"),
    ),
    "a kind left out": (("kind: digits, ", ""), (":5:", "recipe.dataset", "'kind' is missing")),
    "a missing setting": (("lr: 0.05, ", ""), (":7:", "recipe.optimizer", "'lr' is missing: Base learning rate")),
    "a missing choice": ((", tweak: A", ""), (":6:", "recipe.architecture.tweak", 'expected one of "A", "B", "C", "D"')),
    "text for a number": (("epochs: 2", "epochs: two"), (":9:", "recipe.epochs", '"two"', "a whole number")),
    "a number out of range": (("momentum: 0.9", "momentum: 1.5"), (":7:", "recipe.optimizer.momentum", "1.5", "less than 1")),
    "true for a number": (("batch_size: 256", "batch_size: true"), (":10:", "recipe.batch_size", "true")),
    "a list for a mapping": (
        ("dataset: {kind: digits, image_size: 16}", "dataset: [digits]"),
        (":5:", "recipe.dataset", "mapping"),
    ),
    "no seeds": (("designs:", "seeds: 0\ndesigns:"), (":15:", "seeds: got 0", "greater than or equal to 1")),
    "an empty list of seeds": (("designs:", "seeds: []\ndesigns:"), (":15:", "seeds: got []", "a list of at least 1 item")),
    "a seed twice": (("designs:", "seeds: [1, 1]\ndesigns:"), (":15:", "seeds", "each seed once")),
    "a number beyond all numbers": (("lr: 0.05", "lr: .inf"), (":7:", "recipe.optimizer.lr", "finite")),
    "a patch to a path that does not exist": (
        (C, "c: {optimizer.lrr: 0.1}"),
        (":13:", "factors.c.optimizer.lrr", "'lrr'", "did you mean 'lr'"),
    ),
    "a patch below a path that does not exist": (
        (C, "c: {optimiser.lr: 0.1}"),
        (":13:", "factors.c", "optimiser", "did you mean 'optimizer'"),
    ),
    "a patch into a refinement that is off": (
        (C, "c: {refinements.mixup.alpha: 0.1}"),
        (":13:", "no 'refinements.mixup' to patch", "expected `refinements.mixup: {alpha: ...}` to have it"),
    ),
    "a patch of the wrong type": ((C, "c: {epochs: many}"), (":13:", "factors.c.epochs", '"many"', "a whole number")),
    "a removal of nothing": ((C, "c: {optimizer.nesterow: null}"), (":13:", "factors.c", "to remove", "'nesterov'?")),
    "a refinement without settings": ((C, "c: {refinements.mixup: }"), (":13:", "factors.c", "expected {} to have it")),
    "a path that begins with the recipe": (
        (C, "c: {recipe.optimizer.lr: 0.1}"),
        (":13:", "factors.c.recipe.optimizer.lr", "did you mean 'optimizer.lr'?"),
    ),
    "an option in capitals": (("kind: sgd", "kind: SGD"), (":7:", "recipe.optimizer.kind", "did you mean 'sgd'?")),
    "a word that is one of few": (("fp32", "fp23"), ("recipe.numerics.precision", "did you mean 'fp32'?")),
    "a factor with one option": ((STEM, "stem: {plain: {}}"), (":12:", "factors.stem", "two options")),
    "a factor that mixes options and paths": (
        (C, "c: {schedule: {kind: cosine}, optimzer: {kind: adam, lr: 0.1}}"),
        (":13:", "factors.c.optimzer", "did you mean 'optimizer'"),
    ),
    "a name with a plus": ((STEM, "stem: {plain: {}, a+b: {architecture.tweak: D}}"), (":12:", "'a+b'", "without '+'")),
    "option names that collide": (
        (STEM, "stem: {plain: {}, l: {architecture.tweak: D}}"),
        (":14:", "factors.l", "'l' is taken by factor 'stem'"),
    ),
    "the name of the baseline": ((C, "baseline: {schedule: {kind: cosine}}"), (":13:", "'baseline'", "first option")),
    "a patch that sets one place twice": (
        (C, "c: {schedule.kind: cosine, schedule: {kind: constant}}"),
        (":13:", "factors.c.schedule.kind", "the patch sets 'schedule' as well"),
    ),
    "a kind whose settings do not fit": ((C, "c: {optimizer.kind: adam}"), (":13:", "factors.c.optimizer.kind", "'momentum'")),
    "an option that looks like a number": ((STEM, "stem: {plain: {}, 0.1: {architecture.tweak: D}}"), (":12:", "'0.1'", "without")),
    "text for a list in a grid": (("{stem: all}", "{stem: plain}"), (":16:", "designs.0.grid.stem", '"plain"', "a list or 'all'")),
    "a profile that is no mapping": (("tables:", "profiles: {demo: 3}\ntables:"), (":18:", "profiles.demo", "got 3", "mapping")),
    "a constraint without a number": (("tables:", "constraints: [params < 1.2.3]\ntables:"), (":18:", "constraints.0")),
    "a claim with a number on the left": (("plain+c.top1 > plain.top1", "0.9 < plain.top1"), (":21:", "claims.0.test")),
    "a claim with or": (("> plain.top1", "> plain.top1 or deep.top1 > 0.5"), (":21:", "claims.0.test", "got 'or'")),
    "a claim with itself": (("plain+c.top1 >", "plain.top1 >"), (":21:", "claims.0.test", "compares plain.top1 with itself")),
    "a claim with a difference": (
        ("plain+c.top1 > plain.top1", "plain+c.top1 - plain.top1 > 0.01"),
        (":21:", "claims.0.test", "expected a cell on each side: `plain+c.top1 > plain.top1 + 0.01`"),
    ),
    "a claim with a margin in per cent": (
        ("> plain.top1", "> plain.top1 + 0.9 %"),
        (":21:", "claims.0.test", "got '0.9 %', expected a fraction: 0.009"),
    ),
    "a claim with the number first": (
        ("plain+c.top1 > plain.top1", "0.9 < plain.top1"),
        ("expected the number on the right: `plain.top1 > 0.9`",),
    ),
    "a claim without blanks": (("c.top1 > plain", "c.top1>plain"), ("expected a blank on both sides of >",)),
    "a claim with the metric first": (
        ("plain+c.top1 > plain.top1", "top1.plain > plain.top1"),
        ("got 'top1.plain', expected the metric last: plain.top1",),
    ),
    "a margin that can't be": (("plain+c.top1 > plain.top1", "plain+c.top1 > plain.top1 + 1"), ("0.01 for a point",)),
    "a metric by another name": (("[top1, top5]", "[accuracy, top5]"), ("unknown metric 'accuracy'; did you mean 'top1'?",)),
    "a metric that there is not": (
        ("[top1, top5]", "[speed, top5]"),
        ("'speed', expected one of top1, top5, val_loss", "perhaps with best_ or selected_ before it"),
    ),
    "a claim with >=": (("> plain.top1", ">= plain.top1"), (":21:", "claims.0.test", "got '>=', expected > or <")),
    "a claim in per cent": (("> plain.top1", "> 90"), (":21:", "claims.0.test", "got 90 for top1, expected a fraction")),
    "a claim that compares two metrics": (("> plain.top1", "> plain.val_loss"), (":21:", "claims.0.test", "one metric")),
    "a published number in per cent": (("{top1: 0.5}", "{top1: 50}"), (":19:", "tables.0.published.plain.top1", "got 50", "fraction")),
    "a decimal comma": (("lr: 0.05, m", "lr: 0,05, m"), (":7:", "recipe.optimizer: got '05' alone between commas, expected decimals as 0.5")),
    "a list in round brackets": (("[1, 1, 1, 1]", "(1, 1, 1, 1)"), ("recipe.architecture: got '1' alone between commas", "lists as [1, 2]")),
    "a factor as a list": (("c: {", "x: [0, 0.1]\n  c: {"), ("got [0, 0.1], expected a mapping; factors: Ways in which trials differ",)),
    "a patch without its place": (("c: {", "x: {label_smoothing: 0.1}\n  c: {"), ("did you mean 'loss.label_smoothing'?",)),
    "a patch by another name": (("c: {", "x: {learning_rate: 0.1}\n  c: {"), ("did you mean 'optimizer.lr'?",)),
    "a number for a mapping": (("epochs: 2", "epochs: 2\n  early_stopping: 3"), ("got 3, expected a mapping: {patience: 3}",)),
    "a word for a mapping": (("{precision: fp32}", "bf16"), ('got "bf16", expected a mapping: {precision: "bf16"}',)),
    "refinements as a list": (("epochs: 2", "epochs: 2\n  refinements: [mixup, flip]"), ("to its settings: {mixup: {}, flip: {}}",)),
    "a macro average": (("[top1, top5]", "[f1]"), ("unknown metric 'f1'; did you mean 'macro_f1'?",)),
    "calibration": (("[top1, top5]", "[calibration]"), ("unknown metric 'calibration'; did you mean 'ece'?",)),
    "balanced accuracy": (("[top1, top5]", "[balanced_accuracy]"), ("unknown metric 'balanced_accuracy'; did you mean 'class_top1'?",)),
    "a column twice": (("[top1, top5]", "[top1, top1]"), (":19:", "tables.0.metrics.1", "twice")),
    "a row twice": (("rows: stem", "rows: [plain, deep, plain]"), (":19:", "tables.0.rows", "'plain' stands twice")),
    "an empty list of designs": (
        ("designs:\n  - grid: {stem: all}\n  - add_one: [c, l]", "designs: []"),
        (":15:", "designs", "at least 1 item"),
    ),
    "an empty design": (("- add_one: [c, l]", "- {}"), (":17:", "designs.1", "an empty design")),
    "a design without steps": (("add_one: [c, l]", "add_one: []"), (":17:", "designs.1.add_one", "at least 1 item")),
    "a design that is filtered empty": (
        ("- add_one: [c, l]", "- {add_one: [c], where: {l: on}}"),
        (":17:", "designs.1", "an empty design", "leave none"),
    ),
    "an unknown design word": (("add_one", "add_two"), (":17:", "designs.1.add_two", "did you mean 'add_one'")),
    "an unknown factor in a design": (("[c, l]", "[c, k]"), (":17:", "designs.1.add_one.1", "no factor is called 'k'")),
    "a study name with path separators": (("study: tiny", "study: ../tiny"), (":2:", "study", "'../tiny'", "names files")),
    "a table id with path separators": (("id: stems", "id: a/b"), (":19:", "tables.0.id", "'a/b'")),
    "an unknown metric": (("[top1, top5]", "[top1, top6]"), (":19:", "tables.0.metrics.1", "unknown metric 'top6'; did you mean 'top5'?")),
    "an unknown factor for rows": (("rows: stem", "rows: stems"), (":19:", "tables.0.rows", "did you mean 'stem'")),
    "a row that no design makes": (("rows: stem", "rows: [plain, deep+c]"), (":19:", "tables.0.rows.1", "no design makes")),
    "a published row that does not exist": (
        ("published: {plain:", "published: {plane:"),
        (":19:", "tables.0.published.plane", "has no row 'plane'", "did you mean 'plain'"),
    ),
    "a published metric that does not exist": (
        ("{plain: {top1: 0.5}}", "{plain: {top3: 0.5}}"),
        (":19:", "tables.0.published.plain.top3", "no column 'top3'"),
    ),
    "a row twice in two spellings": (
        ("rows: stem", "rows: [plain+c, c]"),
        (":19:", "tables.0.rows.1", "the row 'c' stands twice"),
    ),
    "a row's label twice in two spellings": (
        ("rows: stem", "rows: [plain+c, plain], labels: {plain+c: One, c+plain: Two}"),
        (":19:", "tables.0.labels.c+plain", "is the row 'plain+c', which stands here already"),
    ),
    "a note on a row that does not exist": (
        ("rows: stem", "rows: stem, notes: {depe: Deeper}"),
        (":19:", "tables.0.notes.depe", "has no row 'depe'", "did you mean 'deep'"),
    ),
    "a title of a column that does not exist": (
        ("rows: stem", "rows: stem, titles: {top2: Accuracy}"),
        (":19:", "tables.0.titles.top2", "no column 'top2'", "it has rows, top1, top5", "did you mean 'top"),
    ),
    "a setting that no row's recipe has": (
        ("rows: stem", "rows: stem, settings: {learning rate: optimizer.lrr}"),
        (":19:", "tables.0.settings.learning rate", "no row's recipe has a setting 'optimizer.lrr'", "did you mean 'optimizer.lr'"),
    ),
    "a setting of rows that are not in the table": (
        ("rows: stem", "rows: stem, settings: {floor: schedule.floor}"),
        (":19:", "tables.0.settings.floor", "no row's recipe has a setting 'schedule.floor'"),
    ),
    "several settings for one column": (
        ("rows: stem", "rows: stem, settings: {rate: schedule}"),
        (":19:", "tables.0.settings.rate", "'schedule' holds several settings", "schedule.kind"),
    ),
    "one of several published numbers in per cent": (
        ("{top1: 0.5}", "{top1: [0.5, 51]}"),
        (":19:", "tables.0.published.plain.top1", "got 51", "fraction of 1"),
    ),
    "published parameters in millions": (
        ("[top1, top5], published: {plain: {top1: 0.5}}", "[params], published: {plain: {params: 21}}"),
        (":19:", "tables.0.published.plain.params", "got 21", "21e6 for 21 million"),
    ),
    "no published number at all": (("{top1: 0.5}", "{top1: []}"), (":19:", "tables.0.published.plain.top1", "got []", "at least 1 item")),
    "text for a published number": (("{top1: 0.5}", '{top1: "0.5"}'), (":19:", "tables.0.published.plain.top1", '"0.5"', "a number")),
    "a claim about a fact": (("plain+c.top1 >", "plain+c.params >"), (":21:", "claims.0.test", "unknown metric 'params'")),
    "a size for two comparisons": (
        ("test: plain+c.top1 > plain.top1", "test: deep.top1 > plain.top1 and deep.top1 > 0.5, published: 0.1"),
        (":21:", "claims.0.published", "2 comparisons", "expected one"),
    ),
    "a size in per cent": (
        ("test: plain+c.top1 > plain.top1", "test: plain+c.top1 > plain.top1, published: 2.1"),
        (":21:", "claims.0.published", "got 2.1", "0.021 for 2.1 %"),
    ),
    "a size that contradicts its test": (
        ("test: plain+c.top1 > plain.top1", "test: plain+c.top1 < plain.top1 - 0.01, published: 0.021"),
        (":21:", "claims.0.published", "got 0.021, expected at most -0.01", "plain+c.top1 - plain.top1"),
    ),
    "an unknown cell in a figure": (
        ("claims:", "figures: [{id: x, cells: [plane]}]\nclaims:"),
        (":20:", "figures.0.cells.0", "'plane'", "did you mean 'plain'"),
    ),
    "a cell of a figure that no design makes": (
        ("claims:", "figures: [{id: x, cells: [plain, c+deep]}]\nclaims:"),
        (":20:", "figures.0.cells.1", "no design makes 'c+deep', the cell 'deep+c'"),
    ),
    "a cell twice in a figure": (
        ("claims:", "figures: [{id: x, cells: [plain+c, c]}]\nclaims:"),
        (":20:", "figures.0.cells.1", "'c' stands twice"),
    ),
    "a figure without cells": (("claims:", "figures: [{id: x, cells: []}]\nclaims:"), (":20:", "figures.0.cells", "at least 1 item")),
    "a figure of one number": (
        ("claims:", "figures: [{id: x, cells: [plain], panels: [[top1], [best_top1]]}]\nclaims:"),
        (":20:", "figures.0.panels.1.0", "'best_top1' is one number of a training", "top1, top5"),
    ),
    "an unknown metric in a figure": (
        ("claims:", "figures: [{id: x, cells: [plain], panels: [[train_top2]]}]\nclaims:"),
        (":20:", "figures.0.panels.0.0", "did you mean 'train_top"),
    ),
    "a panel that is no list": (
        ("claims:", "figures: [{id: x, cells: [plain], panels: [top1]}]\nclaims:"),
        (":20:", "figures.0.panels.0", '"top1"', "a list"),
    ),
    "a metric twice in a panel": (
        ("claims:", "figures: [{id: x, cells: [plain], panels: [[top1, top1]]}]\nclaims:"),
        (":20:", "figures.0.panels.0.1", "stands twice"),
    ),
    "epochs in reverse": (
        ("claims:", "figures: [{id: x, cells: [plain], epochs: [2, 1]}]\nclaims:"),
        (":20:", "figures.0.epochs", "got [2, 1]", "a later one"),
    ),
    "epochs that are not trained": (
        ("claims:", "figures: [{id: x, cells: [plain], epochs: [3, 5]}]\nclaims:"),
        (":20:", "figures.0.epochs", "got [3, 5]", "up to 2"),
    ),
    "epochs that are no two": (
        ("claims:", "figures: [{id: x, cells: [plain], epochs: [3]}]\nclaims:"),
        (":20:", "figures.0.epochs", "a list of 2 items"),
    ),
    "a figure's id twice": (
        ("claims:", "figures:\n  - {id: x, cells: [plain]}\n  - {id: x, cells: [deep]}\nclaims:"),
        (":22:", "figures.1.id", "the figure id 'x' stands twice"),
    ),
    "a figure with a table's id": (
        ("claims:", "figures: [{id: stems, cells: [plain]}]\nclaims:"),
        (":20:", "figures.0.id", "the table 'stems' has learning curves of this name"),
    ),
    "a claim that does not parse": (("plain+c.top1 > plain.top1", "plain is best"), (":21:", "claims.0.test", "expected `cell")),
    "a claim about a cell that does not exist": (
        ("plain+c.top1 >", "deep+c.top1 >"),
        (":21:", "claims.0.test", "no design makes"),
    ),
    "a constraint that does not parse": (
        ("tables:", "constraints: [parms < 10]\ntables:"),
        (":18:", "constraints.0", "did you mean 'params'"),
    ),
    "constraints that leave nothing": (("tables:", "constraints: [params < 10]\ntables:"), (":18:", "leave no cell")),
    "constraints that ask for more than there is": (
        ("tables:", "constraints: [params > 20383]\ntables:"),
        (":18:", "leave no cell to run; the nearest, 'plain', has params 20,382"),
    ),
    "a plugin that is missing": (("tables:", "plugins: [gone.py]\ntables:"), (":18:", "plugins.0", "gone.py", "no such file")),
    "a path of a profile that begins with the recipe": (
        ("tables:", "profiles: {demo: {recipe.epochs: 1}}\ntables:"),
        (":18:", "profiles.demo.recipe.epochs", "did you mean 'epochs'?"),
    ),
    "an unknown path in a profile": (
        ("tables:", "profiles: {demo: {epoch: 1}}\ntables:"),
        (":18:", "profiles.demo.epoch", "did you mean 'epochs'"),
    ),
    "a block in a stage that the network lacks": (
        (C, "c: {architecture.blocks.se: {after: [2, 5]}}"),
        (":13:", "factors.c.architecture.blocks.se.after", "has the stages 1 to 4, got 5"),
    ),
    "a block on a network without stages": (
        (C, "c: {architecture: {kind: timm, name: mixer_s32_224, blocks: {cbam: {after: [4]}}}, dataset.image_size: 224}"),
        (":13:", "factors.c.architecture.blocks.cbam.after", "mixer_s32_224 has no stages, got 4"),
    ),
    "a block nowhere": (
        (C, "c: {architecture.blocks.gc: {}}"),
        (":13:", "factors.c.architecture.blocks.gc", "got neither inside nor after"),
    ),
    "everything frozen": (
        (C, "c: {architecture.freeze: [stem, 1, 2, 3, 4, head]}"),
        (":13:", "factors.c.architecture.freeze", "freezes everything, expected something left to train"),
    ),
    "a network that timm lacks": (
        (C, "c: {architecture: {kind: timm, name: resnet43}}"),
        (":13:", "factors.c.architecture.name", "timm has no network 'resnet43'; did you mean"),
    ),
    "a cutout longer than the image": (
        (C, "c: {refinements.cutout: {length: 17}}"),
        (":13:", "factors.c.refinements.cutout", "got length 17, expected at most the image_size, 16"),
    ),
    "a cutout longer than the image in a phase": (
        (C, "c: {phases: [{start: 2, refinements: {cutout: {length: 17}}}]}"),
        (":13:", "factors.c.phases.0.refinements.cutout", "got length 17, expected at most the image_size, 16"),
    ),
    "a phase after the last epoch": (
        (C, "c: {phases: [{start: 3, refinements: {flip: {}}}]}"),
        (":13:", "factors.c.phases.0.start", "got a phase that starts in epoch 3, expected at most the last one, 2"),
    ),
    "phases out of order": (
        (C, "c: {phases: [{start: 2, refinements: {flip: {}}}, {start: 2, refinements: {}}]}"),
        (":13:", "factors.c.phases.1.start", "got 2, expected later than the phase before, 2"),
    ),
    "a warm-up longer than the training": (
        (C, "c: {refinements.warmup: {epochs: 3}}"),
        (":13:", "factors.c.refinements.warmup", "got a warm-up of 3 epochs, expected at most all epochs, 2"),
    ),
    "a warm-up that a phase cuts short": (
        (C, "c: {refinements.warmup: {epochs: 1.5}, phases: [{start: 2, refinements: {}}]}"),
        (":13:", "factors.c.refinements.warmup", "a warm-up of 1.5 epochs, which the phase of epoch 2 cuts short"),
    ),
    "a seed that no generator takes": (
        ("tables:", "seeds: [0, 9223372036854775808]\ntables:"),
        (":18:", "seeds", "9223372036854775808"),
    ),
    "restarts that never come": (
        (C, "c: {schedule: {kind: cosine_restarts, period: 2}}"),
        (":13:", "factors.c.schedule", "got a period of 2 epochs, which never restarts in 2"),
    ),
    "a choice of what does not act on single images": (
        (C, "c: {refinements.random_choice: {of: {flip: {}, mixup: {}}}}"),
        (":13:", "factors.c.refinements.random_choice.of.mixup", "does not act on single images"),
    ),
    "crops of less than the network sees": (
        (C, "c: {dataset.stored_size: 8}"),
        (":13:", "factors.c.dataset.stored_size", "got stored_size 8, expected at least the image_size, 16"),
    ),
    "a mean in 0..255": (
        (C, "c: {dataset.mean: [123.7, 116.3, 103.5]}"),
        (":13:", "factors.c.dataset.mean.0", "got 123.7, expected less than or equal to 1"),
    ),
    "a deviation that nothing can be divided by": (
        (C, "c: {dataset.std: [1, 0, 1]}"),
        (":13:", "factors.c.dataset.std.1", "got 0, expected greater than 0"),
    ),
    "an unknown block": (
        (C, "c: {architecture.blocks.cbm: {after: [4]}}"),
        (":13:", "factors.c.architecture.blocks.cbm", "unknown block 'cbm'", "did you mean 'cbam'"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, command: str, study_file: WriteStudy) -> None:
    replaced, parts = MISTAKES[mistake]
    refused(command, study_file(replaced), "study.yaml", *parts)
    assert not Path("pwned").exists()


def test_switches_that_patch_one_place_are_named(study_file: WriteStudy) -> None:
    file = study_file(
        ("l: {loss.label_smoothing: 0.1}", "l: {schedule.floor: 0.1, schedule: {kind: cosine}}"),
        ("- add_one: [c, l]", "- subsets: [c, l]"),
        ("claims:\n  - {says: Cosine pays, test: plain+c.top1 > plain.top1}", ""),
    )
    text = file.read_text().replace(
        "l: {schedule.floor: 0.1, schedule: {kind: cosine}}", "l: {schedule: {kind: constant}}"
    )
    file.write_text(text)
    refused("run", file, ":14:", "factors.l.schedule", "in cell 'plain+c+l'", "'l' patches 'schedule'", "'c' patches")


def test_an_architecture_that_cannot_be_built_is_named(study_file: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from typing import Literal\nfrom experiments.options import Architecture\n"
        "class Broken(Architecture):\n    kind: Literal['broken'] = 'broken'\n"
        "    def build(self, num_classes):\n        raise RuntimeError('too deep')\n"
    )
    file = study_file(
        text="plugins: [broken.py]\n" + TINY.replace("{architecture.tweak: D}", "{architecture: {kind: broken}}")
    )
    refused("plan", file, "broken", "can't be built", "RuntimeError: too deep")


def test_missing_files(tmp_path: Path, study_file: WriteStudy) -> None:
    study_file()
    refused("run", tmp_path / "studdy.yaml", "no such file", "did you mean 'study.yaml'")
    refused("plan", tmp_path, "is a folder")


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "study: x\n", "a: &a [*a]\n"])
def test_files_that_are_no_study(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    refused("plan", file, "x.yaml:1:")


def test_aliases_that_explode(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    refused("plan", tmp_path / "bomb.yaml", "aliases")


def test_an_unknown_profile(study_file: WriteStudy) -> None:
    file = study_file(text=TINY + "\nprofiles: {demo: {epochs: 1}}\n")
    result = run("plan", str(file), "--profile", "dem")
    assert result.exit_code == 2
    assert "unknown profile 'dem', expected one of demo; did you mean 'demo'?" in result.stderr


@pytest.mark.parametrize("path", ["seeds.max", "seeds.max.of", "designs.0", "keep_weights.x"])
def test_a_profile_that_leads_into_what_is_no_mapping(path: str, study_file: WriteStudy) -> None:
    file = study_file(text=f"{TINY}\nseeds: 2\nkeep_weights: true\nprofiles: {{demo: {{{path}: 5}}}}\n")
    result = run("plan", str(file), "--profile", "demo")
    assert result.exit_code == 2
    assert f"profiles.demo.{path}: the path '{path}' does not exist" in result.stderr


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("import not_there_at_all\n", (":1:", "ModuleNotFoundError", "not_there_at_all")),
        ("x = 1\ny = x +\n", (":2:", "SyntaxError")),
        ("raise RuntimeError('a\\nb')\n", (":1:", "RuntimeError")),
        ("x = 1\n", ("defines no option",)),
        ("import sys\nsys.exit(3)\n", (":2:", "SystemExit")),
        (
            "from experiments.options import Schedule\nclass A(Schedule):\n    pass\n",
            ("A has no kind", 'kind: Literal["a"]'),
        ),
        (
            "from typing import Literal\nfrom experiments.options import Schedule\n"
            "class B(Schedule):\n    kind: Literal['b'] = 'b'\n",
            ("B does not define factor",),
        ),
    ],
)
def test_a_plugin_that_fails_to_import(
    code: str, parts: tuple[str, ...], study_file: WriteStudy, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text(code)
    refused("run", study_file(text="plugins: [bad.py]\n" + TINY), "study.yaml:1:", "plugins.0", "bad.py", *parts)


def image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (10, 20, 30)).save(file)


def folder_study(study_file: WriteStudy) -> Path:
    return study_file(
        ("{kind: digits, image_size: 16}", "{kind: image_folder, path: images, image_size: 16, classes: 2}")
    )


def test_a_data_folder_that_is_missing(study_file: WriteStudy) -> None:
    refused("run", folder_study(study_file), "images")


def test_a_data_folder_that_is_empty(study_file: WriteStudy) -> None:
    Path("images").mkdir()
    refused("run", folder_study(study_file), "images")


def test_a_data_folder_with_one_class(study_file: WriteStudy) -> None:
    image(Path("images/cat/1.png"))
    refused("run", folder_study(study_file), "images", "class")


def test_a_class_without_images(study_file: WriteStudy) -> None:
    image(Path("images/cat/1.png"))
    Path("images/dog").mkdir()
    refused("run", folder_study(study_file), "dog")


def test_a_corrupt_image_is_named_before_training(study_file: WriteStudy) -> None:
    for name in ("cat", "dog"):
        for i in range(3):
            image(Path(f"images/{name}/{i}.png"))
    Path("images/dog/1.png").write_bytes(b"this is not an image")
    refused("run", folder_study(study_file), "dog/1.png")


def test_concurrency_beyond_reason(study_file: WriteStudy) -> None:
    for asked in ("0", "100000"):
        result = run("run", str(study_file()), "--concurrency", asked)
        assert result.exit_code == 2
        assert f"--concurrency {asked}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpu", "2"), "--gpu 2: expected a share of one GPU, 0 to 1"),
        (("--gpu", "-0.5"), "--gpu -0.5: expected a share"),
        (("--gpu", "nan"), "--gpu nan: expected a share"),
        (("--gpu", "0.5"), "--gpu 0.5: this machine has no GPU that CUDA can use; expected 0, or no --gpu"),
        (("--executor", "inline", "--concurrency", "2"), "--concurrency 2 --executor inline: expected 1"),
        (("--concurrency", "9999"), "--concurrency 9999: 9999 trials of 1 thread on"),
    ],
)
def test_more_than_the_machine_has(
    arguments: tuple[str, ...], said: str, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = run("run", str(study_file()), *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("mlflow.db").exists()


def test_more_trials_at_once_than_gpus_hold(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "smi", lambda *arguments: [f"GPU {number}: H200" for number in range(4)])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    result = run("run", str(study_file()), "--gpu", "0.5", "--concurrency", "5")
    assert result.exit_code == 2
    assert "--gpu 0.5 --concurrency 5: 4 such trials fit on 2 GPUs" in result.stderr


_LISTED = ["GPU 0: H200 (UUID: GPU-11aa)", "  MIG 1g.18gb Device 0: (UUID: MIG-22bb)", "GPU 1: H200 (UUID: GPU-33cc)"]


@pytest.mark.parametrize(
    ("visible", "listing", "count"),
    [
        ("0", [], 0),
        ("0,1", [], 0),
        ("NoDevFiles", [], 0),
        ("0", _LISTED, 1),
        ("1, 0", _LISTED, 2),
        ("0,7,1", _LISTED, 1),
        ("-1", _LISTED, 0),
        ("0,-1,1", _LISTED, 1),
        ("", _LISTED, 0),
        ("GPU-33,MIG-22bb", _LISTED, 2),
        ("NoDevFiles", _LISTED, 0),
        (None, _LISTED, 2),
    ],
)
def test_a_gpu_counts_if_it_is_named_and_there(
    visible: str | None, listing: list[str], count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "smi", lambda *arguments: listing)
    monkeypatch.setattr(resources, "_DRIVER", tmp_path / "no driver")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert resources.gpu_count() == count


def test_without_the_tool_a_driver_makes_the_variable_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "smi", lambda *arguments: [])
    monkeypatch.setattr(resources, "_DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert resources.gpu_count() == 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999999"])
def test_a_cluster_that_does_not_answer(address: str, study_file: WriteStudy) -> None:
    result = run("run", str(study_file()), "--address", address)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ablate: --address {address}: ")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["study.yaml"]


@pytest.mark.parametrize("what", [("run", "x.yaml"), ("plan", "x.yaml"), ("logs", "abcd"), ("doctor",), ("ui",)])
def test_a_working_folder_that_was_deleted(
    what: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = run(*what)
    assert result.exit_code == 2
    assert result.stderr == "ablate: the working folder has been deleted; expected one that is there, so `cd` to it\n"


def test_report_before_run(study_file: WriteStudy) -> None:
    refused("report", study_file(), "tiny", "no trial has finished")


def test_ui_without_a_record() -> None:
    result = run("ui")
    assert result.exit_code == 2
    assert "no record" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["run", "x.yaml", "--seeds", "0"],
            "ablate run: Invalid value for '--seeds': 0 is not in the range 1<=x<=10000",
        ),
        (["run"], "ablate run: Missing argument 'STUDY'"),
        (["run", "x.yaml", "--sedes", "3"], "ablate run: No such option"),
        (["run", "x.yaml", "--executor", "slurm"], "ablate run: Invalid value for '--executor': 'slurm' is not one of"),
        (["report", "x.yaml", "--out", "there.txt"], "ablate report: Invalid value for '--out': Directory 'there.txt'"),
        (["rnu", "x.yaml"], "ablate: No such command 'rnu'"),
    ],
)
def test_what_a_command_does_not_take(arguments: list[str], says: str) -> None:
    Path("there.txt").touch()
    result = run(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(says)
    assert line.endswith(f"; `{says.partition(':')[0]} --help` says what it takes")


def test_an_unknown_kind_of_option() -> None:
    result = run("options", "mixupp")
    assert result.exit_code == 2
    assert "did you mean 'mixup'" in result.stderr
