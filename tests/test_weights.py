"""Pretrained weights: what is loaded of a file, a run or a timm name, and where a name's file comes from."""

from __future__ import annotations

import pickle
import socket
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file
from test_resnet import SMALL, build, fails, outputs, randomised, resnet
from torch import nn

from experiments import build_architecture, catalog
from experiments.architectures import _fetch
from experiments.options import Architecture
from experiments.training.fingerprint import file_digest
from trainer.errors import UserError

FURNISHED: dict[str, Any] = {
    "blocks": {"se": {"inside": [2]}, "cbam": {"after": [4]}},
    "head": {"kind": "mlp", "hidden": [6]},
}
NAME = "test_resnet.r160_in1k"
"""The smallest network of timm's that has pretrained weights: 0.5 million parameters."""


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


class TestFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Weights of the small network for ten classes."""
        file = tmp_path / "weights.pth"
        torch.save(randomised(build()).state_dict(), file)
        return file

    def test_a_head_of_another_number_of_classes_stays_as_drawn(self, file: Path) -> None:
        torch.manual_seed(3)
        drawn = build(classes=4).state_dict()
        torch.manual_seed(3)
        loaded = build(classes=4, weights_file=str(file)).state_dict()
        saved = torch.load(file)
        for name, tensor in loaded.items():
            assert torch.equal(tensor, (drawn if name.startswith("fc.") else saved)[name]), name
        assert not torch.equal(drawn["conv1.weight"], saved["conv1.weight"])

    def test_a_head_that_fits_is_loaded(self, file: Path) -> None:
        saved = torch.load(file)
        for name, tensor in build(weights_file=str(file)).state_dict().items():
            assert torch.equal(tensor, saved[name]), name

    def test_a_file_without_a_head_or_without_batch_counts_fits(self, file: Path) -> None:
        saved = torch.load(file)
        kept = {k: v for k, v in saved.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
        torch.save(kept, file)
        loaded = build(weights_file=str(file)).state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in kept.items())

    def test_a_state_dict_under_the_name_model_is_found(self, file: Path) -> None:
        saved = torch.load(file)
        torch.save({"model": saved, "epoch": 90}, file)
        assert torch.equal(build(weights_file=str(file)).state_dict()["conv1.weight"], saved["conv1.weight"])

    @pytest.mark.parametrize(
        ("changed", "first"),
        [({"width": 16}, "conv1.weight"), ({"layers": [2, 1, 1, 1]}, "layer1.1"), ({"tweak": "C"}, "conv1.0.weight")],
    )
    def test_a_file_of_another_network_is_refused(self, changed: dict[str, Any], first: str, file: Path) -> None:
        message = fails(weights_file=str(file), **changed)
        assert f"weights {file}: they are of another network; first difference at '{first}" in message

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        assert fails(weights_file=str(tmp_path / "none.pth")).endswith(
            f"weights_file {tmp_path}/none.pth: no such file"
        )

    def test_other_content_under_one_name_is_another_trial(self, tmp_path: Path) -> None:
        identities = []
        for content in (b"one", b"two"):
            (tmp_path / "weights.pth").write_bytes(content)
            option = resnet("resnet18", "A", weights_file=str(tmp_path / "weights.pth"))
            identities.append(str(option.identity()))
        assert identities[0] != identities[1]

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_file_that_holds_no_weights_is_refused(self, suffix: str, tmp_path: Path) -> None:
        file = tmp_path / f"notes{suffix}"
        file.write_text("Not weights.\nReally.")
        assert f"weights_file {file}: not a state dict" in fails(weights_file=str(file))

    def test_another_object_than_a_state_dict_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "list.pth"
        torch.save([1, 2], file)
        assert "got list, expected a state dict" in fails(weights_file=str(file))

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        marker, file = tmp_path / "was here", tmp_path / "evil.pth"
        pickle.loads(pickle.dumps(Payload(marker))).close()
        assert marker.exists(), "the payload works where it is let"
        marker.unlink()
        torch.save({"conv1.weight": Payload(marker)}, file)
        assert f"weights_file {file}: not a state dict that can be read safely" in fails(weights_file=str(file))
        assert not marker.exists()

    def test_a_whole_network_is_refused_with_how_to_save_its_weights(self, tmp_path: Path) -> None:
        file = tmp_path / "whole.pt"
        torch.save(build(), file)
        assert "expected tensors alone, as torch.save(model.state_dict(), ...)" in fails(weights_file=str(file))

    def test_both_sources_at_once_are_refused(self, file: Path) -> None:
        assert "both weights and weights_file" in fails(weights="resnet50", weights_file=str(file))

    def test_what_is_no_tensor_is_named(self, tmp_path: Path) -> None:
        torch.save({"conv1.weight": torch.zeros(1), "epoch": 3}, tmp_path / "mixed.pth")
        assert "got int at 'epoch', expected a state dict" in fails(weights_file=str(tmp_path / "mixed.pth"))

    @pytest.mark.parametrize("wrapper", ["state_dict_ema", "state_dict"])
    def test_a_state_dict_that_a_training_script_wrapped_is_found(self, wrapper: str, file: Path) -> None:
        saved = torch.load(file)
        torch.save({wrapper: saved, "optimizer": {}}, file)
        assert torch.equal(build(weights_file=str(file)).state_dict()["conv1.weight"], saved["conv1.weight"])

    def test_the_identity_holds_the_files_content_and_not_its_folder(self, tmp_path: Path) -> None:
        options = []
        for folder in (tmp_path / "one", tmp_path / "other"):
            folder.mkdir()
            (folder / "w.pth").write_bytes(b"weights")
            options.append(resnet("resnet50", "B", weights_file=str(folder / "w.pth")))
        assert options[0].identity() == options[1].identity()
        assert options[0].identity() != resnet("resnet50", "B").identity()


class TestWholeNetworks:
    """Files that a furnished network of this project was saved to."""

    @pytest.fixture
    def saved(self, tmp_path: Path) -> dict[str, torch.Tensor]:
        state = randomised(build(**FURNISHED)).state_dict()
        save_file(state, tmp_path / "whole.safetensors")
        return state

    def test_all_of_it_is_loaded_into_the_same_network(self, saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
        loaded = build(weights_file=str(tmp_path / "whole.safetensors"), **FURNISHED).state_dict()
        assert list(loaded) == list(saved)
        assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())

    def test_the_head_is_left_as_drawn_for_other_classes(self, saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
        file = str(tmp_path / "whole.safetensors")
        torch.manual_seed(1)
        drawn = build(classes=4, **FURNISHED).state_dict()
        torch.manual_seed(1)
        for name, tensor in build(classes=4, weights_file=file, **FURNISHED).state_dict().items():
            assert torch.equal(tensor, (drawn if name.startswith("fc.") else saved)[name]), name

    def test_another_head_is_left_as_drawn(self, saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
        loaded = build(weights_file=str(tmp_path / "whole.safetensors"), blocks=FURNISHED["blocks"]).state_dict()
        assert all(torch.equal(loaded[name], saved[name]) for name in saved if not name.startswith("fc."))
        assert loaded["fc.weight"].shape == (10, 256)

    def test_a_network_without_its_blocks_refuses_it(self, saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
        file = tmp_path / "whole.safetensors"
        message = fails(weights_file=str(file))
        expected = "first difference at 'layer4.0.conv1.weight', which the weights lack; 57 more differ"
        assert message == f"weights {file}: they are of another network; {expected}"

    def test_weights_of_the_plain_network_are_loaded_beneath_the_blocks(self, tmp_path: Path) -> None:
        plain = randomised(build()).state_dict()
        torch.save(plain, tmp_path / "plain.pth")
        torch.manual_seed(2)
        drawn = build(**FURNISHED).state_dict()
        torch.manual_seed(2)
        loaded = build(weights_file=str(tmp_path / "plain.pth"), **FURNISHED).state_dict()
        for name, tensor in loaded.items():
            beneath = name.replace("layer4.stage.", "layer4.").replace("layer2.0.se.", "-")
            assert torch.equal(tensor, (plain if beneath in plain else drawn)[beneath if beneath in plain else name])
        assert torch.equal(loaded["layer4.stage.0.conv1.weight"], plain["layer4.0.conv1.weight"])

    def test_a_convolution_that_a_block_replaces_is_left_out(self, tmp_path: Path) -> None:
        plain = randomised(build()).state_dict()
        torch.save(plain, tmp_path / "plain.pth")
        cot = {"cot": {"inside": [2]}}
        loaded = build(weights_file=str(tmp_path / "plain.pth"), blocks=cot).state_dict()
        assert torch.equal(loaded["layer2.0.conv3.weight"], plain["layer2.0.conv3.weight"])
        assert "layer2.0.bn2.weight" not in loaded

    def test_weights_of_a_run_are_looked_up_and_loaded(
        self, saved: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        record: Any = ModuleType("experiments.training.weights")

        def find_weights(run: str) -> Path:
            asked.append(run)
            return tmp_path / "whole.safetensors"

        record.find_weights = find_weights
        record.recorded_digest = lambda run: "ab" * 32
        monkeypatch.setitem(sys.modules, "experiments.training.weights", record)
        option = architecture(**SMALL, weights_run="0123456789ab", **FURNISHED)
        option.prepare(nothing)
        assert asked == ["0123456789ab"]
        loaded = option.build(10).state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
        assert option.pretrained_digest() == file_digest(tmp_path / "whole.safetensors")
        assert set(asked) == {"0123456789ab"}
        assert option.identity()["weights_run"] == "ab" * 32

        torch.save(randomised(build(width=16)).state_dict(), tmp_path / "other.pth")
        record.find_weights = lambda run: tmp_path / "other.pth"
        assert "weights of run 0123456789ab: they are of another network" in fails(weights_run="0123456789ab")


def architecture(**settings: Any) -> Architecture:
    option = catalog.parse("architectures", settings)
    assert isinstance(option, Architecture)
    return option


def timms(name: str = NAME, **settings: Any) -> Architecture:
    return architecture(kind="timm", name=name, **settings)


def nothing(line: str) -> None:
    raise AssertionError(line)


class TestNames:
    """Weights by the name that timm has for them."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """This project's cache of weights; the caches of the hub and of torch are empty, and no host answers."""
        for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

        def refuse(*where: Any, **settings: Any) -> socket.socket:
            raise OSError("unreachable")

        monkeypatch.setattr(socket, "create_connection", refuse)
        return tmp_path / "cache" / "weights"

    @pytest.fixture
    def theirs(self) -> nn.Module:
        return randomised(timm.create_model(NAME))

    def put_into_hub(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        """Into the hub's cache, as huggingface_hub lays it out."""
        repository = tmp_path / "hub" / f"models--timm--{NAME}"
        for folder in ("blobs", "refs", "snapshots/abc"):
            (repository / folder).mkdir(parents=True)
        save_file(state, repository / "blobs" / "content")
        (repository / "refs" / "main").write_text("abc")
        (repository / "snapshots" / "abc" / "model.safetensors").symlink_to("../../blobs/content")

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_a_file_in_the_cache_is_used_without_a_network(self, suffix: str, cache: Path, theirs: nn.Module) -> None:
        cache.mkdir(parents=True)
        file = cache / f"{NAME}{suffix}"
        if suffix == ".pth":
            torch.save({"state_dict": theirs.state_dict()}, file)
        else:
            save_file(theirs.state_dict(), file)
        for option in (timms(pretrained=True), timms("test_resnet", pretrained=True), timms(weights=NAME)):
            option.prepare(nothing)
            assert torch.equal(outputs(option.build(1000)), outputs(theirs))
            assert option.pretrained_digest() == file_digest(file)

    def test_a_differing_classifier_is_left_as_drawn(self, cache: Path, theirs: nn.Module) -> None:
        cache.mkdir(parents=True)
        save_file(theirs.state_dict(), cache / f"{NAME}.safetensors")
        ours = timms(pretrained=True, head={"kind": "bottleneck", "hidden": 8}, blocks={"se": {"after": [3]}}).build(7)
        assert torch.equal(ours.get_parameter("conv1.0.weight"), theirs.get_parameter("conv1.0.weight"))
        assert outputs(ours).shape == (2, 7)

    def test_the_hubs_cache_is_used_without_a_network(self, cache: Path, theirs: nn.Module, tmp_path: Path) -> None:
        self.put_into_hub(tmp_path, theirs.state_dict())
        option = timms(pretrained=True)
        option.prepare(nothing)
        assert [file.name for file in cache.iterdir()] == [f"{NAME}.safetensors"]
        assert torch.equal(outputs(option.build(1000)), outputs(theirs))

    def test_the_digest_does_not_depend_on_where_the_file_was_found(
        self, cache: Path, theirs: nn.Module, tmp_path: Path
    ) -> None:
        self.put_into_hub(tmp_path, theirs.state_dict())
        option = timms(pretrained=True)
        found = option.pretrained_digest()
        (cache / f"{NAME}.safetensors").unlink()
        save_file(theirs.state_dict(), cache / f"{NAME}.safetensors")
        assert found is not None
        assert option.pretrained_digest() == found
        assert timms().pretrained_digest() is None
        assert option.untrained() == timms()

    def test_torchs_cache_is_used_for_weights_that_are_on_no_hub(self, cache: Path, tmp_path: Path) -> None:
        file = tmp_path / "torch" / "hub" / "checkpoints" / "seresnet18-4bb0ce65.pth"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"content")
        assert _fetch.local_weights("legacy_seresnet18") == cache / "legacy_seresnet18.in1k.pth"

    @pytest.mark.parametrize("has_better", [True, False])
    def test_what_is_on_no_disk_is_downloaded_once(
        self, has_better: bool, cache: Path, theirs: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, str]] = []

        def download(repository: str, name: str, **settings: Any) -> str:
            asked.append((repository, name))
            file = tmp_path / name
            if name == "model.safetensors" and not has_better:
                raise EntryNotFoundError(name)
            if name == "model.safetensors":
                save_file(theirs.state_dict(), file)
            else:
                torch.save(theirs.state_dict(), file)
            return str(file)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        monkeypatch.setattr(_fetch, "_answers", lambda host: host == "huggingface.co")
        option = timms(pretrained=True)
        said: list[str] = []
        option.prepare(said.append)
        assert said == [f"weights {NAME}: downloading from huggingface.co"]
        names = ["model.safetensors"] if has_better else ["model.safetensors", "pytorch_model.bin"]
        assert asked == [(f"timm/{NAME}", name) for name in names]
        assert torch.equal(outputs(option.build(1000)), outputs(theirs))
        option.prepare(nothing)
        assert len(asked) == len(names)

    def test_without_a_network_one_line_names_the_file_and_its_place(self, cache: Path) -> None:
        with pytest.raises(UserError) as caught:
            timms("test_resnet", pretrained=True).prepare(lambda line: None)
        assert str(caught.value) == (
            f"weights {NAME}: can't be fetched (huggingface.co does not answer); put model.safetensors of "
            f"https://huggingface.co/timm/{NAME} at {cache}/{NAME}.safetensors"
        )
        with pytest.raises(UserError, match=r"legacy_seresnet18.in1k: can't be fetched .* put http.*pth at .*in1k.pth"):
            _fetch.fetch_weights("legacy_seresnet18", lambda line: None)
        with pytest.raises(UserError, match="can't be fetched"):
            timms(pretrained=True).build(10)

    def test_a_host_that_never_answers_takes_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def hang(*where: Any, **settings: Any) -> socket.socket:
            time.sleep(10)
            raise OSError("timed out")

        monkeypatch.setattr(socket, "create_connection", hang)
        monkeypatch.setattr(_fetch, "PATIENCE", 0.2)
        begin = time.perf_counter()
        with pytest.raises(UserError, match="does not answer"):
            _fetch.fetch_weights(NAME, lambda line: None)
        assert time.perf_counter() - begin < 5

    def test_behind_a_proxy_the_download_itself_finds_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*names: str, **settings: Any) -> str:
            raise ConnectionError

        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", away)
        with pytest.raises(UserError, match=r"can't be fetched \(ConnectionError\); put"):
            _fetch.fetch_weights(NAME, lambda line: None)

    def test_offline_mode_of_the_hub_is_honoured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match=r"can't be fetched \(HF_HUB_OFFLINE is set\); put"):
            _fetch.fetch_weights(NAME, lambda line: None)

    def test_a_file_of_other_weights_is_refused(self, cache: Path) -> None:
        cache.mkdir(parents=True)
        save_file(build().state_dict(), cache / f"{NAME}.safetensors")
        with pytest.raises(UserError, match=r"is no file of these weights \(RuntimeError\); remove it"):
            timms(pretrained=True).build(10)
        (cache / f"{NAME}.safetensors").write_text("nothing")
        with pytest.raises(UserError, match="not a state dict that can be read safely"):
            timms(pretrained=True).build(10)

    def test_weights_of_another_network_are_refused(self, cache: Path, theirs: nn.Module) -> None:
        cache.mkdir(parents=True)
        save_file(theirs.state_dict(), cache / f"{NAME}.safetensors")
        expected = f"weights {NAME}: they are of another network; first difference at 'bn1.weight', [32], expected [8]"
        assert fails(weights=NAME).startswith(expected)

    @pytest.mark.parametrize(
        ("name", "meant"),
        [("resnett50", "resnet50"), ("resnet50.a1_in1", "resnet50.a1_in1k"), ("resnet18.tv_in", "resnet18.tv_in1k")],
    )
    def test_an_unknown_name_brings_the_nearest(self, name: str, meant: str) -> None:
        expected = f"timm has no weights {name!r}; did you mean {meant!r}?"
        assert fails(weights=name) == f"architecture.weights: {expected}"
        with pytest.raises(UserError, match="weights: timm has no weights"):
            _fetch.fetch_weights(name, nothing)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"weights": NAME, "weights_run": "0123456789ab"}, "both weights and weights_run"),
            ({"weights_file": __file__, "weights_run": "0123456789ab"}, "both weights_file and weights_run"),
            ({"pretrained": True, "weights": NAME}, "both pretrained and weights"),
        ],
    )
    def test_two_sources_at_once_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            build_architecture({"kind": "timm", "name": "test_resnet", **settings}, 10)
