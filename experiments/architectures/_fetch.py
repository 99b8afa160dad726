"""Files of pretrained weights by timm's names: found in the caches of this machine, else downloaded into ours."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from trainer.errors import UserError
from trainer.files import written_whole

from ..training.folders import cache_folder, locked
from . import _timm_facts

PATIENCE = 4.0
"""Seconds that a host may take to answer before the network counts as away."""

IN_REPOSITORY = ("model.safetensors", "pytorch_model.bin")
"""Names that the file may have in a repository of the Hugging Face hub, the better one first."""


def fetch_weights(name: str, say: Callable[[str], None]) -> Path:
    """The file of the weights `name` (`resnet50.a1_in1k`; `resnet50` stands for timm's default tag).

    Looks in this project's cache, then in those of the Hugging Face hub and torch, and downloads last. Raises UserError
    where timm knows no such weights and, saying which file to put where, within seconds where the network is away.
    """
    source = _timm_facts.weights(name)
    if source.unknown is not None:
        raise UserError(f"weights: timm has no weights {name!r}{source.unknown}")
    with locked(f"weights {source.name}"):
        found = local_weights(name)
        if found is None:
            say(f"weights {source.name}: downloading from {_host(source)}")
            found = _keep(_download(source), source)
    return found


def local_weights(name: str) -> Path | None:
    """The file of the weights `name` in this project's cache, put there from another cache if need be; else None."""
    source = _timm_facts.weights(name)
    for suffix in (".safetensors", ".pth"):
        file = _place(source, suffix)
        if file.is_file():
            return file
    cached = _in_other_caches(source)
    return _keep(cached, source) if cached else None


def _place(source: _timm_facts.Weights, suffix: str) -> Path:
    return cache_folder() / "weights" / f"{source.name}{suffix}"


def _keep(file: Path, source: _timm_facts.Weights) -> Path:
    """Keep the file in this project's cache, so that the weights' digest does not depend on where they are found."""
    place = _place(source, ".safetensors" if file.suffix == ".safetensors" else ".pth")
    with written_whole(place) as draft:
        try:
            os.link(file.resolve(), draft)
        except OSError:
            shutil.copyfile(file, draft)
    return place


def _in_other_caches(source: _timm_facts.Weights) -> Path | None:
    if source.repository is None:
        file = _torch_cache(source)
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    repository, revision = _revision(source.repository)
    for name in IN_REPOSITORY:
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _torch_cache(source: _timm_facts.Weights) -> Path:
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / Path(urlsplit(str(source.url)).path).name


def _revision(repository: str) -> tuple[str, str | None]:
    name, _, revision = repository.partition("@")
    return name, revision or None


def _download(source: _timm_facts.Weights) -> Path:
    """The downloaded file in the cache of the library that downloads it; raises UserError."""
    from huggingface_hub import constants

    if source.repository and constants.HF_HUB_OFFLINE:
        raise _away(source, "HF_HUB_OFFLINE is set")
    if not _answers(_host(source)):
        raise _away(source, f"{_host(source)} does not answer")
    try:
        return _from_repository(source.repository) if source.repository else _from_url(source)
    except Exception as error:
        raise _away(source, type(error).__name__) from error


def _from_repository(repository: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, revision = _revision(repository)
    better, other = IN_REPOSITORY
    try:
        return Path(hf_hub_download(name, better, revision=revision, etag_timeout=PATIENCE))
    except EntryNotFoundError:
        return Path(hf_hub_download(name, other, revision=revision, etag_timeout=PATIENCE))


def _from_url(source: _timm_facts.Weights) -> Path:
    from torch.hub import download_url_to_file

    file = _torch_cache(source)
    file.parent.mkdir(parents=True, exist_ok=True)
    download_url_to_file(str(source.url), str(file), progress=False)
    return file


def _host(source: _timm_facts.Weights) -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT if source.repository else str(source.url)).hostname or ""


def _answers(host: str) -> bool:
    """Whether the host can be reached; behind a proxy True, because only the download itself can find out."""
    proxies = getproxies()
    if ("https" in proxies or "all" in proxies) and not proxy_bypass(host):
        return True
    reached: list[bool] = []

    def connect() -> None:
        try:
            # half of the time for an address: a host may have one that leads nowhere besides one that works
            socket.create_connection((host, 443), timeout=PATIENCE / 2).close()
            reached.append(True)
        except OSError:
            pass

    # in a thread, because looking up a name has no time limit of its own
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(reached)


def _away(source: _timm_facts.Weights, reason: str) -> UserError:
    from huggingface_hub import constants

    if source.repository:
        what = f"{IN_REPOSITORY[0]} of {constants.ENDPOINT}/{_revision(source.repository)[0]}"
        place = _place(source, ".safetensors")
    else:
        what, place = str(source.url), _place(source, ".pth")
    return UserError(f"weights {source.name}: can't be fetched ({reason}); put {what} at {place}")
