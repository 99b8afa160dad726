"""The training loop: what it computes, what an interruption leaves, and that both come out the same again."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from experiments.losses.cross_entropy import CrossEntropy
from experiments.losses.focal import Focal
from experiments.optimizers.sgd import Sgd
from experiments.options import Loss
from experiments.refinements.ema import Ema
from experiments.refinements.flip import Flip
from experiments.refinements.mixup import Mixup
from experiments.refinements.random_crop import RandomCrop
from experiments.schedules.constant import Constant
from experiments.schedules.cosine import Cosine
from trainer import Diverged, Outcome, UserError, checkpoint, train
from trainer.data import Data, has_room
from trainer.draws import Draws
from trainer.evaluate import Evaluation, Meter, evaluate, evaluation_batch, ranks
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Moment, Setup
from trainer.metrics import EVALUATED, epoch_metrics
from trainer.numerics import Numerics
from trainer.recorder import Epoch, Journal

CPU = torch.device("cpu")
CLASSES = 4
EPOCHS = 3
FP32 = Numerics(precision="fp32")
TIMES = ("epoch_seconds", "images_per_second")


def make_data(train: int = 41, val: int = 23, classes: int = CLASSES) -> Data:
    """Random images that are brighter the higher their class, so that there is something to learn."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, train + val)
    pixels = generator.integers(0, 128, (train + val, 3, 16, 16)) + (labels * 127 // classes)[:, None, None, None]
    shuffled = generator.permutation(train + val)
    return Data(
        images=torch.from_numpy(pixels.astype(np.uint8)),
        labels=torch.from_numpy(labels),
        splits={"train": shuffled[:train], "val": shuffled[train:]},
        classes=tuple(f"class {i}" for i in range(classes)),
        mean=torch.full((1, 3, 1, 1), 120.0),
        std=torch.tensor([50.0, 60.0, 70.0]).view(1, 3, 1, 1),
        image_size=16,
    )


DATA = make_data()


def network(classes: int = CLASSES) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, classes),
    )


SETUP = Setup(
    num_classes=CLASSES,
    image_size=16,
    mean=(120.0, 120.0, 120.0),
    std=(50.0, 60.0, 70.0),
    batch_size=8,
    epochs=EPOCHS,
    class_counts=DATA.class_counts(),
)


def refinements() -> list[Hook]:
    """What draws, and what keeps a state of its own."""
    return [option.build(SETUP) for option in (RandomCrop(padding=2), Flip(), Mixup(alpha=0.4), Ema(decay=0.9))]


def sgd(**settings: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    optimizer = Sgd(**settings)
    return lambda model: optimizer.build(optimizer.groups(model))


def run(**changed: Any) -> Outcome:
    """A training with everything on that could make a resumed one differ."""
    settings: dict[str, Any] = {
        "build_model": network,
        "build_optimizer": sgd(lr=0.05, momentum=0.9, weight_decay=1e-3),
        "schedule": Cosine(),
        "loss": CrossEntropy(label_smoothing=0.1).build(SETUP),
        "data": DATA,
        "epochs": EPOCHS,
        "batch_size": 8,
        "seed": 3,
        "hooks": refinements(),
        "numerics": FP32,
    }
    return train(**{**settings, **changed})


def numbers(history: Sequence[Epoch]) -> list[Epoch]:
    """What must come out the same again, bit for bit: everything but the clock."""
    return [{name: value for name, value in epoch.items() if name not in TIMES} for epoch in history]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved: dict[str, torch.Tensor] = torch.load(folder / "last.pt")["model"]
    return saved


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Interrupted(Exception):
    pass


class Stops:
    """A recorder that notes epochs and interrupts the training at one of them."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.epochs: list[tuple[int, Epoch]] = []

    def epoch(self, number: int, metrics: Epoch) -> None:
        self.epochs.append((number, dict(metrics)))
        if number == self.at:
            raise Interrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """The training that is never interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(folder=folder), folder


class TestRepeating:
    def test_the_same_seed_gives_the_same_numbers(self, whole: tuple[Outcome, Path], tmp_path: Path) -> None:
        again = run(folder=tmp_path)
        assert numbers(again.history) == numbers(whole[0].history)
        assert equal(weights(tmp_path), weights(whole[1]))

    def test_another_seed_gives_others(self, whole: tuple[Outcome, Path]) -> None:
        other = run(seed=4)
        assert all(a["train_loss"] != b["train_loss"] for a, b in zip(other.history, whole[0].history, strict=True))

    def test_a_training_in_between_and_draws_of_others_change_nothing(self, whole: tuple[Outcome, Path]) -> None:
        run(
            seed=9,
            epochs=1,
            numerics=Numerics(precision="bf16", threads=2, channels_last=False, tf32=False, deterministic=True),
        )
        torch.rand(7)
        np.random.default_rng().random(3)
        assert numbers(run().history) == numbers(whole[0].history)

    def test_recording_and_keeping_change_nothing(self, whole: tuple[Outcome, Path]) -> None:
        recorder = Stops()
        assert numbers(run(recorder=recorder).history) == numbers(whole[0].history)
        assert [number for number, _ in recorder.epochs] == [1, 2, 3]

    @pytest.mark.parametrize("channels_last", [True, False])
    def test_the_memory_format_reaches_weights_and_images(self, channels_last: bool) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        seen: list[bool] = []

        class Looks(Hook):
            def start(self, model: nn.Module) -> None:
                seen.append(next(model.parameters()).is_contiguous(memory_format=layout))

            def mix(self, batch: Batch, draws: Draws) -> Batch:
                seen.append(batch.images.is_contiguous(memory_format=layout))
                return batch

        run(epochs=1, hooks=[Looks()], numerics=Numerics(precision="fp32", channels_last=channels_last))
        assert len(seen) == 1 + DATA.steps(8)
        assert all(seen)


class TestNumerics:
    @pytest.mark.parametrize("on", [True, False])
    def test_every_switch_is_set_whatever_it_was(self, on: bool) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        run(epochs=1, numerics=Numerics(precision="fp32", threads=2 if on else 1, tf32=on, deterministic=on))
        assert torch.get_num_threads() == (2 if on else 1)
        assert torch.get_default_dtype() == torch.float32
        assert torch.backends.cuda.matmul.allow_tf32 is on
        assert torch.backends.cudnn.allow_tf32 is on
        assert torch.backends.cudnn.benchmark is not on
        assert torch.are_deterministic_algorithms_enabled() is on
        FP32.apply()

    def test_the_defaults(self) -> None:
        run(epochs=1, numerics=None)
        assert torch.get_num_threads() == 1
        assert Numerics().precision == "bf16"

    def test_bf16_is_for_the_forward_pass_only(self) -> None:
        inside: set[torch.dtype] = set()
        losses: set[torch.dtype] = set()
        entropy = nn.CrossEntropyLoss()

        def build_model() -> nn.Module:
            model = network()
            model[-1].register_forward_hook(lambda module, inputs, output: inside.add(output.dtype))
            return model

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            losses.add(logits.dtype)
            value: torch.Tensor = entropy(logits, targets)
            return value

        class Looks(Hook):
            def step_end(self, model: nn.Module) -> None:
                assert {p.dtype for p in model.parameters()} == {torch.float32}

        outcome = run(build_model=build_model, loss=loss, hooks=[Looks()], numerics=Numerics(precision="bf16"))
        assert inside == {torch.bfloat16}
        assert losses == {torch.float32}
        plain = run(loss=loss, hooks=[])
        for rounded, exact in zip(outcome.history, plain.history, strict=True):
            assert rounded["train_loss"] == pytest.approx(exact["train_loss"], rel=0.05)
            assert rounded["train_loss"] != exact["train_loss"]


class TestResuming:
    @pytest.mark.parametrize("at", range(1, EPOCHS + 1))
    def test_after_any_epoch_it_goes_on_bit_for_bit(self, at: int, whole: tuple[Outcome, Path], tmp_path: Path) -> None:
        with pytest.raises(Interrupted):
            run(folder=tmp_path, recorder=Stops(at))
        recorder = Stops()
        resumed = run(folder=tmp_path, recorder=recorder)
        assert numbers(resumed.history) == numbers(whole[0].history)
        assert equal(weights(tmp_path), weights(whole[1]))
        assert [number for number, _ in recorder.epochs] == list(range(at + 1, EPOCHS + 1))
        assert resumed.seconds == pytest.approx(sum(epoch["epoch_seconds"] for epoch in resumed.history))

    def test_in_the_middle_of_an_epoch_the_epoch_starts_over(self, whole: tuple[Outcome, Path], tmp_path: Path) -> None:
        smoothed, calls = CrossEntropy(label_smoothing=0.1).build(SETUP), 0

        def stops(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == 9:
                raise Interrupted
            return smoothed(logits, targets)

        with pytest.raises(Interrupted):
            run(folder=tmp_path, loss=stops)
        assert len(Journal(tmp_path / "journal.jsonl").read()) == 1
        assert numbers(run(folder=tmp_path).history) == numbers(whole[0].history)
        assert equal(weights(tmp_path), weights(whole[1]))

    @pytest.mark.parametrize("at", range(1, EPOCHS + 1))
    def test_between_journal_and_checkpoint(
        self, at: int, whole: tuple[Outcome, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save = checkpoint.save

        def fails(state: dict[str, Any], file: Path) -> None:
            if state["epoch"] == at:
                raise Interrupted
            save(state, file)

        monkeypatch.setattr(checkpoint, "save", fails)
        with pytest.raises(Interrupted):
            run(folder=tmp_path)
        monkeypatch.undo()
        assert len(Journal(tmp_path / "journal.jsonl").read()) == at
        assert numbers(run(folder=tmp_path).history) == numbers(whole[0].history)
        assert equal(weights(tmp_path), weights(whole[1]))
        assert numbers(Journal(tmp_path / "journal.jsonl").read()) == numbers(whole[0].history)

    def test_a_journal_whose_last_line_was_cut(self, whole: tuple[Outcome, Path], tmp_path: Path) -> None:
        with pytest.raises(Interrupted):
            run(folder=tmp_path, recorder=Stops(2))
        journal = tmp_path / "journal.jsonl"
        journal.write_text(journal.read_text() + journal.read_text()[:37])
        assert numbers(run(folder=tmp_path).history) == numbers(whole[0].history)
        assert numbers([json.loads(line) for line in journal.read_text().splitlines()]) == numbers(whole[0].history)

    @pytest.mark.parametrize("lines_lost", [1, 2])
    def test_a_checkpoint_that_the_journal_has_no_lines_for_starts_over(
        self, lines_lost: int, whole: tuple[Outcome, Path], tmp_path: Path
    ) -> None:
        with pytest.raises(Interrupted):
            run(folder=tmp_path, recorder=Stops(2))
        journal = tmp_path / "journal.jsonl"
        journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-lines_lost]))
        assert numbers(run(folder=tmp_path).history) == numbers(whole[0].history)
        assert equal(weights(tmp_path), weights(whole[1]))

    def test_a_lost_checkpoint_starts_over(self, whole: tuple[Outcome, Path], tmp_path: Path) -> None:
        with pytest.raises(Interrupted):
            run(folder=tmp_path, recorder=Stops(2))
        (tmp_path / "last.pt").unlink()
        recorder = Stops()
        assert numbers(run(folder=tmp_path, recorder=recorder).history) == numbers(whole[0].history)
        assert [number for number, _ in recorder.epochs] == [1, 2, 3]

    def test_a_finished_training_is_not_trained_again(self, whole: tuple[Outcome, Path]) -> None:
        recorder = Stops()
        again = run(folder=whole[1], recorder=recorder)
        assert again == whole[0]
        assert recorder.epochs == []

    def test_hooks_take_up_their_state(self, tmp_path: Path) -> None:
        class Counts(Hook):
            def __init__(self) -> None:
                self.steps = torch.zeros((), dtype=torch.int64)

            def step_end(self, model: nn.Module) -> None:
                self.steps += 1

            def state_dict(self) -> dict[str, Any]:
                return {"steps": self.steps}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                self.steps = state["steps"]

        with pytest.raises(Interrupted):
            run(folder=tmp_path, hooks=[Counts(), Hook()], recorder=Stops(1))
        counts = Counts()
        run(folder=tmp_path, hooks=[counts, Hook()])
        assert int(counts.steps) == EPOCHS * DATA.steps(8)


class TestCheckpoint:
    def test_a_crash_while_saving_leaves_the_one_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "last.pt"
        state = {"epoch": 1, "model": {"w": torch.ones(3)}, "optimizer": {}, "hooks": []}
        checkpoint.save(state, file)

        def crashes(state: object, handle: Any) -> None:
            handle.write(b"half of it")
            raise Interrupted

        monkeypatch.setattr(torch, "save", crashes)
        with pytest.raises(Interrupted):
            checkpoint.save({**state, "epoch": 2}, file)
        assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
        loaded = checkpoint.load(file)
        assert loaded is not None
        assert loaded["epoch"] == 1
        assert torch.equal(loaded["model"]["w"], torch.ones(3))

    def test_bits_that_the_disk_has_turned_over_are_noticed(self, tmp_path: Path) -> None:
        file = tmp_path / "last.pt"
        weights = torch.arange(10_000.0)
        checkpoint.save({"epoch": 1, "model": {"w": weights}, "optimizer": {}, "hooks": []}, file)
        content = bytearray(file.read_bytes())
        place = content.find(weights.numpy().tobytes()[20_000:20_064])
        content[place] ^= 1
        file.write_bytes(content)
        with pytest.raises(
            checkpoint.Unreadable, match=r"last\.pt: not a checkpoint that can be read \(.* is damaged\)"
        ):
            checkpoint.load(file)

    def test_none_is_none(self, tmp_path: Path) -> None:
        assert checkpoint.load(tmp_path / "last.pt") is None

    @staticmethod
    def starts_over(folder: Path) -> None:
        recorder = Stops()
        run(folder=folder, recorder=recorder)
        assert [number for number, _ in recorder.epochs] == list(range(1, EPOCHS + 1))

    @staticmethod
    def refused(folder: Path) -> str:
        with pytest.raises(UserError) as caught:
            run(folder=folder)
        message = str(caught.value)
        assert message.startswith(f"{folder / 'last.pt'}: ")
        assert message.endswith("delete it to start over")
        assert "\n" not in message
        return message

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
    def test_a_file_that_is_none_is_as_if_it_were_not_there(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "last.pt").write_bytes(content)
        self.starts_over(tmp_path)

    @pytest.mark.parametrize("select", ["last", "val_loss"])
    @pytest.mark.parametrize("damaged", ["last.pt", "selected-*.pt"])
    @pytest.mark.parametrize("how", ["cut", "deleted"])
    def test_a_damaged_or_missing_file_costs_epochs_but_no_result(
        self, damaged: str, select: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(Interrupted):
            run(folder=tmp_path, recorder=Stops(2), select=select)
        for file in tmp_path.glob(damaged):
            file.write_bytes(file.read_bytes()[:500])
            if how == "deleted":
                file.unlink()
        whole, again = run(select=select), run(folder=tmp_path, select=select)
        assert numbers(again.history) == numbers(whole.history)
        said = capsys.readouterr().out
        read = how == "cut" and (damaged == "last.pt" or select != "last")
        assert ("not a checkpoint that can be read" in said) == read

    @pytest.mark.parametrize("state", [[1, 2], {"conv1.weight": torch.ones(2)}, {"epoch": 1}])
    def test_something_else_that_torch_saved_is_refused(self, state: object, tmp_path: Path) -> None:
        torch.save(state, tmp_path / "last.pt")
        self.refused(tmp_path)

    @pytest.mark.parametrize(
        "changed",
        [
            {"build_model": lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, CLASSES))},
            {"build_optimizer": lambda model: torch.optim.SGD([{"params": [p]} for p in model.parameters()], lr=0.1)},
            {"hooks": []},
        ],
        ids=["network", "optimizer", "hooks"],
    )
    def test_the_checkpoint_of_another_training_is_refused(self, changed: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(Interrupted):
            run(folder=tmp_path, recorder=Stops(1), **changed)
        assert "another training" in self.refused(tmp_path)

    def test_code_in_it_is_not_run(self, tmp_path: Path) -> None:
        marker = tmp_path / "was here"

        class Payload:
            def __reduce__(self) -> tuple[Any, ...]:
                return open, (str(marker), "w")

        pickle.loads(pickle.dumps(Payload())).close()
        assert marker.exists(), "the payload works where it is let"
        marker.unlink()
        torch.save({"epoch": 1, "model": Payload(), "optimizer": {}, "hooks": []}, tmp_path / "last.pt")
        self.starts_over(tmp_path)
        assert not marker.exists()


class TestDivergence:
    @staticmethod
    def nan_in(epoch: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """A loss that is not a number in the last step of an epoch."""
        calls = 0
        entropy = nn.CrossEntropyLoss()

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            value: torch.Tensor = entropy(logits, targets)
            return value * math.nan if calls == epoch * DATA.steps(8) else value

        return loss

    @pytest.mark.parametrize("epoch", [1, 3])
    def test_it_names_the_epoch_records_it_and_keeps_what_was_sound(self, epoch: int, tmp_path: Path) -> None:
        recorder = Stops()
        with pytest.raises(Diverged, match=f"nan in epoch {epoch}") as caught:
            run(loss=self.nan_in(epoch), recorder=recorder, folder=tmp_path)
        assert caught.value.epoch == epoch
        assert [number for number, _ in recorder.epochs] == list(range(1, epoch + 1))
        assert math.isnan(recorder.epochs[-1][1]["train_loss"])
        state = checkpoint.load(tmp_path / "last.pt")
        assert len(Journal(tmp_path / "journal.jsonl").read()) == epoch - 1
        if epoch == 1:
            assert state is None
        else:
            assert state is not None
            assert state["epoch"] == epoch - 1
            assert all(bool(tensor.isfinite().all()) for tensor in state["model"].values())

    def test_weights_that_the_last_step_ruins_are_no_result(self, tmp_path: Path) -> None:
        """The training loss of that epoch is finite: it was taken before the step."""
        recorder = Stops()
        with pytest.raises(Diverged, match=r"the validation loss became nan in epoch 1"):
            run(
                build_optimizer=sgd(lr=1e30), schedule=Constant(), hooks=[], epochs=1, batch_size=1_000,
                recorder=recorder, folder=tmp_path,
            )  # fmt: skip
        ((_, metrics),) = recorder.epochs
        assert math.isfinite(metrics["train_loss"])
        assert checkpoint.load(tmp_path / "last.pt") is None

    def test_an_exploding_rate_diverges(self) -> None:
        with pytest.raises(Diverged, match=r"the training loss became (nan|inf) in epoch"):
            run(build_optimizer=sgd(lr=1e30), schedule=Constant(), hooks=[])


def naive_evaluation(model: nn.Module, data: Data, split: str) -> tuple[float, float, float, float]:
    """Mean cross-entropy, top-1, top-5 and mean class top-1, one image at a time."""
    model.eval()
    losses, first, five = [], [], []
    of_class: dict[int, list[bool]] = {}
    for i in data.splits[split]:
        pixels = data.images[i].numpy().astype(np.float64)
        image = (pixels - data.mean[0].numpy()) / data.std[0].numpy()
        with torch.no_grad():
            logits = model(torch.from_numpy(image[None]).float())[0].double().tolist()
        label = int(data.labels[i])
        losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
        ranking = sorted(range(len(logits)), key=lambda k: -logits[k])
        first.append(ranking[0] == label)
        five.append(label in ranking[:5])
        of_class.setdefault(label, []).append(first[-1])
    by_class = np.mean([np.mean(hits) for hits in of_class.values()])
    return float(np.mean(losses)), float(np.mean(first)), float(np.mean(five)), float(by_class)


class TestEvaluation:
    @pytest.mark.parametrize("classes", [2, 4, 5, 9])
    @pytest.mark.parametrize("split", ["train", "val"])
    def test_it_agrees_with_one_image_at_a_time(self, split: str, classes: int) -> None:
        data = make_data(train=300, val=30, classes=classes)
        torch.manual_seed(1)
        model = network(classes)
        model[1].running_mean.uniform_(-1, 1)
        found = evaluate([model], data, split, FP32, 64)[0]
        loss, top1, top5, class_top1 = naive_evaluation(model, data, split)
        assert found["loss"] == pytest.approx(loss, rel=1e-5)
        assert found["top1"] == pytest.approx(top1)
        assert found["top5"] == pytest.approx(top5)
        assert found["class_top1"] == pytest.approx(class_top1)
        assert found["top5"] == 1.0 if classes <= 5 else found["top1"] < found["top5"] < 1.0

    @pytest.mark.parametrize(("batch_size", "largest"), [(2, 8), (9, 36), (64, 256), (500, 256)])
    def test_it_takes_no_more_memory_than_training(self, batch_size: int, largest: int) -> None:
        """Networks hold at least four times as much of an image in training."""
        assert evaluation_batch(batch_size) == largest
        sizes: list[int] = []
        model = network(5)
        model.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
        evaluate([model], make_data(train=300, val=5, classes=5), "train", FP32, batch_size)
        assert (sum(sizes), max(sizes)) == (300, largest)

    def test_it_changes_neither_the_network_nor_its_later_draws(self) -> None:
        model = network().train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state = torch.get_rng_state()
        evaluate([model], DATA, "val", FP32, 64)
        assert equal(before, model.state_dict())
        assert torch.equal(torch.get_rng_state(), state)

    def test_every_epoch_reports_every_metric_and_the_validation_loss_is_plain(self) -> None:
        seen: list[nn.Module] = []

        class Keeps(Hook):
            def start(self, model: nn.Module) -> None:
                seen.append(model)

        outcome = run(hooks=[*refinements(), Keeps()], epochs=2)
        assert all(sorted(epoch) == sorted(epoch_metrics(["ema"])) for epoch in outcome.history)
        loss, top1, top5, class_top1 = naive_evaluation(seen[0], DATA, "val")
        last = outcome.history[-1]
        assert last["val_loss"] == pytest.approx(loss, rel=1e-5)
        assert (last["top1"], last["top5"], last["class_top1"]) == pytest.approx((top1, top5, class_top1))
        assert last["images_per_second"] > 41 / last["epoch_seconds"]

    def test_training_metrics_weigh_batches_by_their_images(self) -> None:
        values: list[tuple[float, int]] = []
        entropy = nn.CrossEntropyLoss()

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = entropy(logits, targets)
            values.append((float(value.detach()), len(logits)))
            return value

        outcome = run(loss=loss, epochs=1, batch_size=12)
        assert [count for _, count in values] == [12, 12, 12, 5]
        expected = sum(value * count for value, count in values) / 41
        assert outcome.history[0]["train_loss"] == pytest.approx(expected)


class TestMeter:
    def test_soft_targets_count_by_their_heaviest_class(self) -> None:
        logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0.0, 1, 2, 3, 4, 5], [9.0, 8, 7, 6, 5, 4]])
        targets = torch.tensor([[0.6, 0.4, 0, 0, 0, 0], [0.4, 0.6, 0, 0, 0, 0], [0, 0, 0, 0, 0.2, 0.8]])
        meter = Meter(CPU)
        meter.update(logits, targets, torch.tensor(2.0))
        assert meter.read("loss", "top1", "top5") == pytest.approx({"loss": 2.0, "top1": 1 / 3, "top5": 2 / 3})

    @pytest.mark.parametrize("classes", [2, 10, 100])
    def test_of_equal_logits_the_smaller_class_comes_first(self, classes: int) -> None:
        generator = torch.Generator().manual_seed(classes)
        logits = torch.randn(400, classes, generator=generator).bfloat16().float()
        targets = torch.randint(classes, (400,), generator=generator)
        order = logits.argsort(dim=1, descending=True, stable=True)
        assert torch.equal(ranks(logits, targets), order.eq(targets[:, None]).int().argmax(1))
        assert torch.equal(ranks(logits, targets) == 0, logits.argmax(1) == targets)
        assert torch.equal(ranks(logits, logits.argmax(1)), torch.zeros(400, dtype=torch.int64))
        assert (logits.topk(2, dim=1).values.diff(dim=1) == 0).any(), "there are ties"

    def test_what_is_no_number_is_no_hit(self) -> None:
        logits = torch.full((3, 10), math.nan)
        assert (ranks(logits, torch.tensor([0, 4, 9])) == 10).all()

    def test_batches_add_up(self) -> None:
        meter = Meter(CPU)
        meter.update(torch.eye(3), torch.tensor([0, 1, 0]), torch.tensor(1.0))
        meter.update(torch.eye(3)[:1], torch.tensor([0]), torch.tensor(5.0))
        assert meter.images == 4
        assert meter.read("loss", "top1", "top5") == {"loss": 2.0, "top1": 0.75, "top5": 1.0}


class TestByClassAndByConfidence:
    def test_each_class_that_has_images_counts_the_same(self) -> None:
        from sklearn.metrics import f1_score, recall_score

        for never_taken in (False, True):
            logits, targets = self.skewed(never_taken=never_taken)
            found = self.measured(logits, targets)
            predicted = logits.argmax(1)
            present = targets.unique()
            recalls = recall_score(targets, predicted, average="macro", labels=present)
            assert found["class_top1"] == pytest.approx(recalls)
            # a class without an image, but with some taken for it, has an F1 of zero
            assert found["macro_f1"] == pytest.approx(f1_score(targets, predicted, average="macro"))
            assert len({round(found[name], 2) for name in ("top1", "class_top1", "macro_f1")}) == 3

    @pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 5.0, 1000.0])
    def test_the_calibration_error_is_that_of_the_paper(self, scale: float) -> None:
        """Guo et al. 2017, equation 3, image by image: bin m is (m/15, (m+1)/15]."""
        logits, targets = self.skewed()
        logits = logits * scale
        inside: dict[int, list[tuple[float, bool]]] = {}
        for row, label in zip(logits.double().tolist(), targets.tolist(), strict=True):
            high = max(row)
            confidence = 1 / sum(math.exp(logit - high) for logit in row)
            inside.setdefault(math.ceil(confidence * 15), []).append((confidence, row.index(high) == label))
        gaps = [
            abs(sum(hit for _, hit in images) / len(images) - sum(c for c, _ in images) / len(images)) * len(images)
            for images in inside.values()
        ]
        assert self.measured(logits, targets)["ece"] == pytest.approx(sum(gaps) / len(targets), abs=1e-9)

    def test_what_is_always_right_and_certain_is_calibrated(self) -> None:
        targets = torch.arange(7).repeat(3)
        found = self.measured(100 * functional.one_hot(targets, 7).float(), targets)
        assert found == pytest.approx({"loss": 1.0, "top1": 1, "top5": 1, "class_top1": 1, "macro_f1": 1, "ece": 0})

    def test_networks_that_give_no_numbers_are_measured_all_the_same(self) -> None:
        found = self.measured(torch.full((3, 7), math.nan), torch.tensor([0, 4, 6]))
        assert (found["top1"], found["macro_f1"]) == (0.0, 0.0)

    def skewed(self, *, never_taken: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and classes of 500 images; class 6 has no image, class 0 most of them."""
        generator = torch.Generator().manual_seed(3)
        logits = torch.randn(500, 7, generator=generator)
        if never_taken:
            logits[:, 6] = -9
        return logits, (6 * torch.rand(500, generator=generator) ** 3).long()

    def measured(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        """In batches of 64, with a loss of 1."""
        meter = Evaluation(7, CPU)
        for batch in torch.arange(len(logits)).split(64):
            meter.update(logits[batch], targets[batch], torch.tensor(1.0))
        return meter.read(*EVALUATED)


def test_weights_of_five_dimensions_are_trained_beside_those_in_channels_last() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plane = nn.Conv2d(3, 4, 3)
            self.space = nn.Conv3d(1, CLASSES, (4, 3, 3))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.space(self.plane(images)[:, None]).mean((2, 3, 4))
            return logits

    torch.manual_seed(0)
    model = Deep()
    outcome = run(build_model=lambda: model, hooks=[], numerics=Numerics(precision="fp32", channels_last=True))
    assert model.plane.weight.is_contiguous(memory_format=torch.channels_last)
    other = run(build_model=lambda: Deep(), hooks=[], numerics=Numerics(precision="fp32", channels_last=False))
    assert len(outcome.history) == len(other.history) == EPOCHS


class TestMicroBatches:
    @pytest.mark.parametrize(
        ("images", "count", "sizes"),
        [
            (8, 1, [8]),
            (8, 4, [2] * 4),
            (9, 4, [2, 2, 2, 3]),
            (5, 4, [2, 3]),
            (3, 3, [3]),
            (1, 2, [1]),
            (10, 3, [3, 3, 4]),
        ],
    )
    def test_a_batch_is_cut_evenly_and_never_down_to_one_image(self, images: int, count: int, sizes: list[int]) -> None:
        whole = Batch(torch.arange(images), torch.arange(images) + 1, np.arange(images) + 2)
        parts = list(whole.parts(count))
        assert [len(part.samples) for part in parts] == sizes
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
        assert np.array_equal(np.concatenate([part.samples for part in parts]), whole.samples)

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_without_batch_norm_gradients_are_those_of_the_whole_batch(self, count: int) -> None:
        def plain() -> nn.Module:
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(3, 8, 3, 2), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
            )

        whole, cut = (run(build_model=plain, micro_batches=each) for each in (1, count))
        for one, other in zip(whole.history, cut.history, strict=True):
            for name in one.keys() - set(TIMES):
                assert one[name] == pytest.approx(other[name], rel=1e-4), name

    @pytest.mark.parametrize("mixes", [False, True])
    @pytest.mark.parametrize(
        "loss", [CrossEntropy(label_smoothing=0.1, class_weights="balanced"), Focal(class_weights="balanced")]
    )
    def test_a_weighted_mean_is_that_of_the_whole_batch(self, loss: Loss, mixes: bool) -> None:
        uneven = replace(SETUP, class_counts=(30, 5, 2, 1))

        def plain() -> nn.Module:
            torch.manual_seed(0)
            return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, CLASSES))

        hooks = [Mixup(alpha=0.4).build(SETUP)] if mixes else []
        whole, cut = (
            run(build_model=plain, loss=loss.build(uneven), hooks=hooks, micro_batches=each) for each in (1, 3)
        )
        for one, other in zip(whole.history, cut.history, strict=True):
            for name in ("train_loss", "val_loss"):
                assert one[name] == pytest.approx(other[name], rel=1e-5), name

    def test_the_network_sees_parts_and_hooks_whole_batches(self) -> None:
        seen: list[int] = []

        class Looks(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = network()

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                if self.training:
                    seen.append(len(images))
                logits: torch.Tensor = self.inner(images)
                return logits

        class Counts(Hook):
            steps = mixed = losses = 0

            def mix(self, batch: Batch, draws: Draws) -> Batch:
                self.mixed += len(batch.samples)
                return batch

            def loss(self, value: torch.Tensor, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
                assert len(logits) == len(batch.samples) == len(batch.images)
                self.losses += 1
                return value

            def step_end(self, model: nn.Module) -> None:
                self.steps += 1

        counts = Counts()
        run(build_model=Looks, hooks=[counts], micro_batches=2, epochs=1)
        assert seen == [4] * 8 + [4, 5]
        assert (counts.steps, counts.mixed, counts.losses) == (5, 41, 10)

    def test_resumed_it_is_the_same(self, tmp_path: Path) -> None:
        class Stop(Exception):
            pass

        class Stops:
            def epoch(self, number: int, metrics: Epoch) -> None:
                if number == 2:
                    raise Stop

        with pytest.raises(Stop):
            run(micro_batches=3, folder=tmp_path, recorder=Stops())
        resumed, whole = run(micro_batches=3, folder=tmp_path), run(micro_batches=3)
        for one, other in zip(resumed.history, whole.history, strict=True):
            assert {k: v for k, v in one.items() if k not in TIMES} == {
                k: v for k, v in other.items() if k not in TIMES
            }


class TestBatches:
    @pytest.mark.parametrize("size", [1, 2, 3, 9, 10])
    def test_every_image_comes_once_an_epoch_in_batches_of_the_size(self, size: int) -> None:
        data = make_data(train=size, val=2)
        for batch_size in range(1, size + 2):
            batches = list(data.train_batches(batch_size, Draws(0, 1)))
            counts = [len(batch.samples) for batch in batches]
            assert len(batches) == data.steps(batch_size)
            assert sorted(np.concatenate([batch.samples for batch in batches])) == sorted(data.splits["train"])
            assert all(count == batch_size for count in counts[:-1])
            assert 1 <= counts[-1] <= batch_size + 1
            assert counts[-1] > 1 or 1 in (size, batch_size)

    def test_a_last_image_joins_the_batch_before(self) -> None:
        assert [len(batch.samples) for batch in DATA.train_batches(8, Draws(0, 1))] == [8, 8, 8, 8, 9]
        assert [len(batch.samples) for batch in DATA.train_batches(13, Draws(0, 1))] == [13, 13, 13, 2]
        assert [len(batch.samples) for batch in DATA.train_batches(40, Draws(0, 1))] == [41]

    @pytest.mark.parametrize("size", [2, 3, 9])
    def test_batches_of_one_image_are_all_of_one(self, size: int) -> None:
        data = make_data(train=size, val=2)
        assert [len(batch.samples) for batch in data.train_batches(1, Draws(0, 1))] == [1] * size
        assert data.steps(1) == size

    def test_images_are_normalised_and_labels_are_theirs(self) -> None:
        train = [DATA.normalised(batch, FP32) for batch in DATA.train_batches(7, Draws(0, 1))]
        for batch in (*train, *DATA.eval_batches("val", FP32, batch_size=7)):
            assert batch.images.dtype == torch.float32
            for image, label, i in zip(batch.images, batch.targets, batch.samples, strict=True):
                assert int(label) == int(DATA.labels[i])
                for channel in range(3):
                    expected = (DATA.images[i, channel].double() - 120) / [50, 60, 70][channel]
                    assert torch.allclose(image[channel].double(), expected, atol=1e-6)

    def test_training_starts_from_the_stored_pixels_and_places_them_as_pixel_values(self) -> None:
        for batch in DATA.train_batches(7, Draws(0, 1)):
            assert torch.equal(batch.images, DATA.images[torch.from_numpy(batch.samples)])
            placed = DATA.placed(batch, Frame.of(batch.images))
            assert placed.images.dtype == torch.float32
            assert torch.equal(placed.images, batch.images.float())
            assert (placed.targets is batch.targets, placed.samples is batch.samples) == (True, True)

    def test_of_larger_images_the_network_sees_the_centre(self) -> None:
        data = replace(DATA, image_size=9)
        for batch in data.eval_batches("val", FP32, 256):
            whole = DATA.normalised(Batch(DATA.images[batch.samples].float(), batch.targets, batch.samples), FP32)
            assert torch.equal(batch.images, whole.images[:, :, 3:12, 3:12])
        batch = next(data.train_batches(7, Draws(0, 1)))
        assert batch.images.shape[-2:] == (16, 16)
        placed = data.placed(batch, Frame.of(batch.images))
        assert torch.equal(placed.images, batch.images[:, :, 3:12, 3:12].float())

    def test_what_comes_in_from_outside_is_zero_to_the_network(self) -> None:
        batch = next(DATA.train_batches(7, Draws(0, 1)))
        frame = Frame.of(batch.images).crop(np.zeros(7, np.int64), np.full(7, 4), (16, 16), padding=4)
        images = DATA.normalised(DATA.placed(batch, frame), FP32).images
        assert not images[..., :4, :].any()
        assert torch.equal(images[..., 4:, :], DATA.normalised(batch, FP32).images[..., :12, :])

    def test_images_may_stay_on_the_host(self) -> None:
        """Where the device has no room; `meta` stands for a device of its own."""
        data = replace(DATA, labels=DATA.labels.to("meta"), mean=DATA.mean.to("meta"), std=DATA.std.to("meta"))
        for batch in (next(data.train_batches(7, Draws(0, 1))), next(data.eval_batches("val", FP32, batch_size=7))):
            assert (batch.images.device.type, batch.targets.device.type) == ("meta", "meta")
            assert batch.images.shape == (7, 3, 16, 16)

    def test_a_gpu_keeps_half_of_its_free_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
        assert [has_room(torch.device("cuda"), size) for size in (400, 500, 501)] == [True, True, False]
        assert has_room(CPU, 10**15)

    def test_the_data_stay_as_they_are(self) -> None:
        before = DATA.images.clone()
        run(epochs=1)
        assert torch.equal(DATA.images, before)
        assert DATA.images.dtype == torch.uint8

    def test_evaluation_goes_through_a_split_in_its_order(self) -> None:
        batches = list(DATA.eval_batches("val", FP32, batch_size=7))
        assert [len(batch.samples) for batch in batches] == [7, 7, 7, 2]
        assert np.concatenate([batch.samples for batch in batches]).tolist() == DATA.splits["val"].tolist()

    def test_the_order_differs_by_epoch_and_seed_and_is_the_same_in_another_run(self) -> None:
        def order(seed: int, epoch: int, batch_size: int = 8) -> list[int]:
            batches = DATA.train_batches(batch_size, Draws(seed, epoch))
            return np.concatenate([batch.samples for batch in batches]).tolist()

        assert order(0, 1) == order(0, 1) == order(0, 1, batch_size=5)
        assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (1, 2, 3)}) == 6

    def test_batch_norm_trains_whatever_the_batch_size(self) -> None:
        data = make_data(train=9, val=2)
        for batch_size in range(2, 11):
            assert len(run(data=data, batch_size=batch_size, epochs=1).history) == 1


class Notes(Hook):
    """Writes down when it was called."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self.calls = calls

    def start(self, model: nn.Module) -> None:
        self.calls.append(f"{self.name}.start")

    def epoch_start(self, epoch: int) -> None:
        self.calls.append(f"{self.name}.epoch_start({epoch})")

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        self.calls.append(f"{self.name}.place")
        return frame

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        self.calls.append(f"{self.name}.augment")
        return batch

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        self.calls.append(f"{self.name}.mix")
        return batch

    def rate(self, factor: float, moment: Moment) -> float:
        self.calls.append(f"{self.name}.rate")
        return factor

    def loss(self, value: torch.Tensor, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        self.calls.append(f"{self.name}.loss")
        return value

    def step_end(self, model: nn.Module) -> None:
        self.calls.append(f"{self.name}.step_end")

    def epoch_end(self, epoch: int) -> None:
        self.calls.append(f"{self.name}.epoch_end({epoch})")

    def state_dict(self) -> dict[str, Any]:
        self.calls.append(f"{self.name}.state_dict")
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls.append(f"{self.name}.load_state_dict")


class Watched(nn.Module):
    """A network that writes down whether it trains or is evaluated."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.inner = network()
        self.calls = calls

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append("forward" if self.training else "evaluate")
        logits: torch.Tensor = self.inner(images)
        return logits


class TestHooks:
    def test_they_are_called_as_the_pseudo_code_says(self, tmp_path: Path) -> None:
        calls: list[str] = []
        entropy = nn.CrossEntropyLoss()

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            calls.append("loss")
            value: torch.Tensor = entropy(logits, targets)
            return value

        class Records:
            def epoch(self, number: int, metrics: Epoch) -> None:
                calls.append(f"record({number})")

        def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
            optimizer = sgd(lr=0.1)(model)
            optimizer.register_step_post_hook(lambda *_: calls.append("optimizer.step"))
            return optimizer

        def once(epochs: int) -> list[str]:
            calls.clear()
            run(
                hooks=[Notes("a", calls), Notes("b", calls)],
                loss=loss,
                recorder=Records(),
                build_model=lambda: Watched(calls),
                build_optimizer=build_optimizer,
                epochs=epochs,
                batch_size=21,
                folder=tmp_path,
            )
            return list(calls)

        step = [
            "a.place",
            "b.place",
            "a.augment",
            "b.augment",
            "a.mix",
            "b.mix",
            "a.rate",
            "b.rate",
            "forward",
            "loss",
            "a.loss",
            "b.loss",
            "optimizer.step",
            "a.step_end",
            "b.step_end",
        ]

        def epoch(e: int) -> list[str]:
            begin, end = [f"{hook}.epoch_start({e})" for hook in "ab"], [f"{hook}.epoch_end({e})" for hook in "ab"]
            return [*begin, *step, *step, *end, "evaluate", "a.state_dict", "b.state_dict", f"record({e})"]

        assert once(2) == ["a.start", "b.start", *epoch(1), *epoch(2)]
        assert once(3) == ["a.start", "b.start", "a.load_state_dict", "b.load_state_dict", *epoch(3)]

    def test_what_a_hook_returns_is_what_the_network_and_the_loss_get(self) -> None:
        class Blackens(Hook):
            def augment(self, batch: Batch, draws: Draws) -> Batch:
                assert draws == Draws(3, 1)
                return replace(batch, images=torch.zeros_like(batch.images))

            def mix(self, batch: Batch, draws: Draws) -> Batch:
                black = -DATA.mean / DATA.std
                assert torch.equal(batch.images, black.expand_as(batch.images))
                return replace(batch, images=torch.ones_like(batch.images), targets=torch.zeros_like(batch.targets))

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            assert not targets.any()
            return logits.pow(2).mean()

        seen: list[torch.Tensor] = []

        def build_model() -> nn.Module:
            model = network()

            def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                if module.training:
                    seen.append(inputs[0])

            model.register_forward_pre_hook(look)
            return model

        run(hooks=[Blackens()], loss=loss, build_model=build_model, epochs=1)
        assert Counter(bool((images == 1).all()) for images in seen) == {True: 5}

    def test_a_hook_that_only_augments_gets_what_the_others_placed_of_the_networks_size(self) -> None:
        seen: list[Batch] = []

        class Cuts(Hook):
            def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
                assert (frame.size, frame.count, draws) == ((16, 16), len(samples), Draws(3, 1))
                return frame.crop(np.zeros(len(samples), np.int64), np.ones(len(samples), np.int64), (12, 12))

        class Looks(Hook):
            def augment(self, batch: Batch, draws: Draws) -> Batch:
                seen.append(batch)
                return batch

        run(hooks=[Looks(), Cuts()], data=replace(DATA, image_size=10), epochs=1)
        for batch in seen:
            stored = DATA.images[torch.from_numpy(batch.samples)]
            assert torch.equal(batch.images, stored[:, :, 1:11, 2:12].float())


class TestLearningRate:
    @staticmethod
    def rates(**changed: Any) -> tuple[list[list[float]], Outcome]:
        """The rate of each parameter group at every step, as the optimizer saw it."""
        seen: list[list[float]] = []

        def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
            first, *rest = model.parameters()
            optimizer = torch.optim.SGD([{"params": [first], "lr": 0.2}, {"params": rest, "lr": 0.05}])
            optimizer.register_step_pre_hook(lambda used, *_: seen.append([g["lr"] for g in used.param_groups]))
            return optimizer

        return seen, run(build_optimizer=build_optimizer, **changed)

    def test_it_follows_the_schedule_at_every_step(self) -> None:
        seen, outcome = self.rates(epochs=3, batch_size=8)
        total = 3 * 5
        factors = [0.5 * (1 + math.cos(math.pi * t / total)) for t in range(total)]
        assert [rates[0] for rates in seen] == pytest.approx([0.2 * factor for factor in factors])
        assert [rates[1] for rates in seen] == pytest.approx([0.05 * factor for factor in factors])
        assert [epoch["learning_rate"] for epoch in outcome.history] == pytest.approx([seen[t][0] for t in (4, 9, 14)])

    def test_a_resumed_training_goes_on_where_the_schedule_was(self, tmp_path: Path) -> None:
        whole, _ = self.rates(folder=tmp_path / "whole")
        with pytest.raises(Interrupted):
            self.rates(folder=tmp_path / "cut", recorder=Stops(2))
        resumed, _ = self.rates(folder=tmp_path / "cut")
        assert resumed == whole[10:]


class TestLearning:
    def test_it_learns_what_there_is_to_learn(self) -> None:
        last = run(epochs=12, hooks=[], loss=nn.CrossEntropyLoss()).history[-1]
        assert last["top1"] > 0.7
        assert last["train_top1"] > 0.6

    def test_a_step_is_plain_gradient_descent(self) -> None:
        """One full-batch step against autograd by hand."""
        data = make_data(train=10, val=2)
        after: list[nn.Module] = []

        class Keeps(Hook):
            def start(self, model: nn.Module) -> None:
                after.append(model)

        def linear() -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, CLASSES))

        run(
            data=data,
            build_model=linear,
            build_optimizer=sgd(lr=0.01),
            loss=nn.CrossEntropyLoss(),
            hooks=[Keeps()],
            schedule=Constant(),
            epochs=1,
            batch_size=10,
        )
        torch.manual_seed(Draws(3).torch_seed("weights"))
        layer = linear()[1]
        w, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        train = data.splits["train"]
        pixels = data.images[train].double()
        x = ((pixels - data.mean.double()) / data.std.double()).flatten(1).numpy()
        logits = x @ w.T + b
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        error = (p - np.eye(CLASSES)[data.labels[train].numpy()]) / 10
        trained = after[0][1]
        assert np.allclose(trained.weight.detach().numpy(), w - 0.01 * error.T @ x, atol=1e-6)
        assert np.allclose(trained.bias.detach().numpy(), b - 0.01 * error.sum(0), atol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_layer_that_is_skipped_at_first_is_trained_as_by_torch_s_plain_loop(nesterov: bool) -> None:
    """As by stochastic depth; torch's fused step fails there."""

    def trained(build: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> list[nn.Parameter]:
        parameters = [nn.Parameter(torch.linspace(0.5, 2.0, 6).view(1, 6, 1, 1)) for _ in range(3)]
        optimizer = build(parameters)
        for step in range(5):
            optimizer.zero_grad(set_to_none=True)
            used = [p for place, p in enumerate(parameters) if step >= place and (step != 3 or place != 0)]
            torch.stack([p.square().sum() for p in used]).sum().backward()
            optimizer.step()
        return parameters

    settings: dict[str, Any] = {"momentum": 0.9, "nesterov": nesterov}
    ours = trained(lambda parameters: Sgd(lr=0.1, **settings).build([{"params": parameters}]))
    theirs = trained(lambda parameters: torch.optim.SGD(parameters, lr=0.1, foreach=False, **settings))
    assert all(torch.allclose(one, other) for one, other in zip(ours, theirs, strict=True))
