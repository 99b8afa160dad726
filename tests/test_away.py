"""A trial on a node that sees none of the driver's folders, in this process: what goes there, what comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batches import a_recipe
from PIL import Image
from plugins import FEW, Ignores, of_few, written

from experiments import catalog
from experiments.job import Job, Result
from experiments.recipe import parse_recipe
from experiments.trial import run_trial
from orchestrator.cluster import away
from orchestrator.cluster.desk import Desk, Mirror
from orchestrator.cluster.needs import NeededData, Needs, fitting, import_failed, key, unfit, versions
from trainer.errors import UserError
from trainer.files import CHECKPOINT, JOURNAL, WEIGHTS

HERE = "node there (10.0.0.7)"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where `ray start` was called on a node, with a cache of its own."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr(away, "_STARTED_IN", folder)
    monkeypatch.setattr(away, "_ready", set())
    monkeypatch.setenv("ABLATE_CACHE", str(folder / "cache"))
    return folder


def a_job(recipe: dict[str, Any], **more: Any) -> Job:
    recipe = {"numerics": {"precision": "fp32"}, **recipe}
    data = parse_recipe(recipe).dataset.fingerprint() or ""
    # its working folder is none of the node's
    folder = str(Path("trials/tiny").resolve())
    return Job("tiny", "baseline", 1, recipe, folder, "/nowhere/at/all", fingerprint=data, **more)


def needs_of(job: Job, plugins: tuple[Path, ...] = (), weights: Path | None = None) -> Needs:
    data = parse_recipe(job.recipe).dataset
    print_ = data.fingerprint()
    assert print_ is not None
    return Needs(
        versions(),
        job.working_folder,
        {str(plugin): plugin.read_text() for plugin in plugins},
        {key(job.recipe["dataset"]): NeededData(job.recipe["dataset"], print_, job.seed)},
        {key(job.recipe["architecture"]): str(weights)} if weights else {},
    )


def numbers(result: Result) -> list[dict[str, float]]:
    assert result.status == "finished", result.reason
    return [{k: v for k, v in epoch.items() if "second" not in k} for epoch in result.history]


def test_weights_plugins_and_results_travel(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = written(tmp_path, FEW)
    catalog.add_plugin(plugin)
    first = run_trial(
        replace(a_job(of_few([0, 1, 2] * 4)), folder=str(tmp_path / "first"), working_folder=str(tmp_path)), Ignores()
    )
    weights = tmp_path / "first" / WEIGHTS
    recipe = of_few([0, 1, 2] * 4)
    recipe["architecture"] = recipe["architecture"] | {"weights_file": str(weights)}
    job = a_job(recipe, plugins=(str(plugin),))
    whole = run_trial(replace(job, folder=str(tmp_path / "whole"), working_folder=str(tmp_path)), Ignores())
    needs = needs_of(job, (plugin,), weights)
    # by a run's id, the record is asked, which only the driver can
    of_run = {**recipe["architecture"], "weights_run": "0123456789ab"}
    del of_run["weights_file"]
    job = replace(job, recipe=job.recipe | {"architecture": of_run}, pretrained=str(weights))
    needs = replace(needs, weights={key(of_run): str(weights)})

    plugin_text = plugin.read_text()
    plugin.unlink()
    monkeypatch.setattr(catalog, "_plugins", {})
    monkeypatch.setattr(catalog, "_found", {point: dict(found) for point, found in catalog._found.items()})
    del catalog._found["datasets"]["few"]
    result = away.run_away(job, needs, Desk(), Ignores(), HERE)
    assert Path.cwd() == node
    assert numbers(result) == numbers(whole) != numbers(first)
    assert result.weights == whole.weights
    assert result.pretrained == first.weights
    back = Path(job.folder)
    assert result.log == str(back / "log.txt")
    assert {file.name for file in back.iterdir()} == {"log.txt", JOURNAL, CHECKPOINT, WEIGHTS}
    assert [file.read_text() for file in (node / "cache" / "plugins").glob("*/few.py")] == [plugin_text]


def test_what_an_earlier_attempt_left_is_taken_up(node: Path, tmp_path: Path) -> None:
    job = a_job(a_recipe({}) | {"epochs": 3})
    whole = run_trial(replace(job, folder=str(tmp_path / "whole"), working_folder=str(tmp_path)), Ignores())
    needs = needs_of(job)
    # two epochs elsewhere, by a driver that has died since
    short = replace(job, recipe=job.recipe | {"epochs": 2}, working_folder=str(tmp_path))
    run_trial(short, Ignores())
    heard: list[int] = []

    class Hears:
        def epoch(self, number: int, metrics: dict[str, float]) -> None:
            heard.append(number)

    result = away.run_away(job, needs, Desk(), Hears(), HERE)
    assert heard == [3]
    assert numbers(result) == numbers(whole)


def test_a_checkpoint_comes_back_with_what_it_needs(tmp_path: Path) -> None:
    """Of a folder that changes while it is read, nothing is kept that belongs to no state of it."""
    folder, target = tmp_path / "there", tmp_path / "here"
    folder.mkdir()
    (folder / "selected-1.pt").write_text("one")
    (folder / CHECKPOINT).write_text("1")

    class Changing(Mirror):
        changes = 0

        def _stats(self) -> dict[str, tuple[int, int]]:
            found = super()._stats()
            if self.changes:
                self.changes -= 1
                (folder / "selected-1.pt").unlink(missing_ok=True)
                (folder / "selected-2.pt").write_text("two")
                (folder / CHECKPOINT).write_text("second")
            return found

    mirror = Changing(folder, str(target), Desk(), Ignores())
    mirror.sent = {}
    Changing.changes = 1
    mirror.close()
    assert {file.name: file.read_text() for file in target.iterdir()} == {"selected-2.pt": "two", CHECKPOINT: "second"}
    (folder / "selected-2.pt").rename(folder / "selected-3.pt")
    mirror._send()
    assert {file.name for file in target.iterdir()} == {"selected-3.pt", CHECKPOINT}


def test_weights_of_a_name_are_put_where_they_are_looked_for(node: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights" / "resnet18.some.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"tensors")
    job = a_job(a_recipe({}))
    away.prepare(needs_of(job, weights=weights), Desk())
    assert (node / "cache" / "weights" / weights.name).read_bytes() == b"tensors"


def test_what_a_search_comes_to_later(node: Path, tmp_path: Path) -> None:
    """Data and weights of no trial that was known when the nodes were asked."""
    first = a_job(a_recipe({}))
    other = a_recipe({})
    other["dataset"] = other["dataset"] | {"image_size": other["dataset"].get("image_size", 32) + 8}
    start = run_trial(replace(a_job(other), folder=str(tmp_path / "start"), working_folder=str(tmp_path)), Ignores())
    assert start.status == "finished"
    weights = tmp_path / "start" / WEIGHTS
    other["architecture"] = other["architecture"] | {"weights_file": str(weights)}
    later = a_job(other, pretrained=str(weights))
    whole = run_trial(replace(later, folder=str(tmp_path / "whole"), working_folder=str(tmp_path)), Ignores())
    assert numbers(away.run_away(later, needs_of(first), Desk(), Ignores(), HERE)) == numbers(whole)


def test_other_versions(node: Path) -> None:
    needs = needs_of(a_job(a_recipe({})))
    for name in ("torch", "ablate's code"):
        with pytest.raises(UserError) as error:
            away.prepare(replace(needs, versions=needs.versions | {name: "0.1"}), Desk())
        assert str(error.value) == (
            f"has {name} {versions()[name]}, the driver has 0.1; expected the same, because others give other numbers: "
            "install the same release there"
        )


def test_data_that_differ(node: Path, tmp_path: Path) -> None:
    def pets(folder: Path, level: int) -> None:
        for name in ("cats", "dogs"):
            (folder / "pets" / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (20, 20), (level, 60 * i, 9)).save(folder / "pets" / name / f"{i}.png")

    pets(tmp_path, 0)
    pets(node, 1)
    dataset = {"kind": "image_folder", "path": "pets", "image_size": 16}
    job = a_job(a_recipe({}) | {"dataset": dataset})
    needs = needs_of(job)
    with pytest.raises(UserError, match=r"its data of .*image_folder.* are not those of the driver \(fingerprint"):
        away.prepare(needs, Desk())
    result = away.run_away(job, needs, Desk(), Ignores(), HERE)
    assert result.reason.startswith(f"{HERE}: its data of ")
    assert f"relative paths refer to {node} there" in result.reason
    assert result.again, "another node may have them"


def test_nodes_that_hold_a_share() -> None:
    def listed(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
        return {
            "NodeID": name, "Alive": alive, "NodeManagerHostname": name, "NodeManagerAddress": "10.0.0.1",
            "Resources": resources,
        }  # fmt: skip

    nodes = [listed("a", CPU=4), listed("b", CPU=4, GPU=2), listed("c", GPU=2), listed("d", False, CPU=4, GPU=2)]
    assert fitting(nodes, {"cpu": 1, "gpu": 0.5}, "x:1") == {"b": "node b (10.0.0.1)"}
    assert list(fitting(nodes, {"cpu": 1}, "x:1")) == ["a", "b"]
    with pytest.raises(UserError, match=r"no node of this cluster has 8 CPU for a trial \(nodes: 3\); add one"):
        fitting(nodes, {"cpu": 8}, "x:1")


def test_what_ray_says_of_a_node_in_a_line() -> None:
    assert import_failed("a\nModuleNotFoundError: No module named 'orchestrator'\n").startswith(
        "ablate can't be imported there (ModuleNotFoundError: No module named 'orchestrator'); install it"
    )
    assert "is not the driver's" in import_failed("AttributeError: Can't get attribute '_Home' on <module>")
    assert import_failed("") == "gave no answer"
    assert str(unfit([("node a", "x"), ("node b", "y")])) == "node a: x (and 1 more of its nodes)"
