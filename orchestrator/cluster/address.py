"""Whether a Ray cluster answers at an address: told in seconds, where Ray itself would try for minutes."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from trainer.errors import UserError

PATIENCE = 10.0
"""Seconds that a cluster may take to answer; one on the same network takes less than two."""

# a busy machine takes long to import Ray, which says nothing about the cluster: a first line tells when it is done
_HEALTH = "import sys; from ray.scripts import scripts; print(flush=True); scripts.cli(['health-check', *sys.argv[1:]])"
_JOIN = "import sys, ray; print(flush=True); ray.init(address=sys.argv[2], log_to_driver=False)"
_AUTH = (
    "it asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) "
    "to the token that its nodes were started with"
)


def check_address(address: str) -> None:
    """Raise UserError where no Ray cluster of this release answers at `host:port`, or none of its nodes is here.

    In processes of their own: Ray's client logs to the terminal, and can't be stopped while it waits.
    """
    what = f"--address {address}"
    if address.startswith("ray://"):
        raise UserError(f"{what}: Ray Client is not used; expected host:port of the cluster's head, or auto")
    host, colon, port = address.rpartition(":")
    if address != "auto":
        if not colon or not host or not port.isdigit():
            raise UserError(f"{what}: expected host:port of a Ray cluster's head, or auto")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"{what}: no Ray cluster answers there ({error})") from error
    with ThreadPoolExecutor(2) as pool:
        answers, joins = pool.map(lambda script: _asked(script, address), (_HEALTH, _JOIN))
    if answers is not None:
        raise UserError(f"{what}: {_reason(answers, address)}")
    if joins is not None:
        if "ersion mismatch" in joins:
            raise UserError(f"{what}: {_reason(joins, address)}")
        raise UserError(
            f"{what}: the cluster answers, but no node of it runs on this machine, which `ablate` needs; "
            f"start one here: `ray start --address={address}` (with `--num-cpus=0` it trains nothing)"
        )


def _asked(script: str, address: str) -> str | None:
    """None where the script succeeds in time, else what it says."""
    command = [sys.executable, "-c", script, "--address", address]
    # not buffered, so that what follows the first line is left to be read
    with subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            said += process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            said += process.communicate()[0]
    return said.decode(errors="replace") if process.returncode else None


def _reason(said: str, address: str) -> str:
    """What Ray says, in words that say what to do."""
    if "uthenticat" in said:
        return _AUTH
    lines = [line for line in said.splitlines() if line.strip()]
    mismatch = [line for line in lines if "ersion mismatch" in line]
    if mismatch:
        # of Ray, or of Python: with the two releases
        text = " ".join(said[said.index(mismatch[-1]) :].split()).removeprefix("RuntimeError: ")
        return f"{text[:240]}; expected the same release here and there"
    if address == "auto":
        return "no running cluster is found from here; expected RAY_ADDRESS to name one, or give its host:port"
    return "something listens there that is no Ray cluster; expected the address that `ray start --head` prints"
