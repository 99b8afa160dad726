"""`ablate doctor`: what each check finds where all is well and where it is not, and what it advises."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import REPOSITORY
from PIL import Image

from experiments.plan import expand
from experiments.study import load_study
from experiments.tracking import open_client
from orchestrator import scratch
from orchestrator.checks import cuda, data, folders, isolated, listed, machine, packages, ray_start, schema, servers
from orchestrator.checks import record as records
from orchestrator.checks.finding import Check, Finding, findings
from orchestrator.checks.isolated import Unanswered, answer, begun
from orchestrator.cli import main
from trainer.errors import UserError

SECRET = "s3cr3t"


def one(found: Iterator[Finding]) -> Finding:
    (finding,) = found
    return is_whole(finding)


def is_whole(finding: Finding) -> Finding:
    """One line each, and advice exactly where it is needed."""
    assert bool(finding.remedy) == (finding.level != "ok"), finding
    assert "\n" not in finding.found + finding.remedy
    assert SECRET not in str(finding)
    return finding


class TestFindings:
    def test_a_check_that_raises_is_a_problem_and_the_others_go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{SECRET}@host/")

        def breaks() -> Iterator[Finding]:
            yield Finding("ok", "first", "fine")
            raise RuntimeError(f"no {SECRET}\nat all")

        def refuses() -> Iterator[Finding]:
            raise UserError("study.yaml:3: got 1, expected 2")

        checks: dict[str, Check] = {"a": breaks, "b": refuses, "c": lambda: [Finding("ok", "last", "fine")]}
        first, broken, refused, last = map(is_whole, findings(checks))
        assert (first.name, last.name) == ("first", "last")
        assert (broken.level, broken.name) == ("problem", "a")
        assert broken.found == "could not be checked: RuntimeError: no *** at all"
        assert (refused.level, refused.found) == ("problem", "study.yaml:3: got 1, expected 2")


def returns() -> dict[str, int]:
    print("noise")
    return {"number": 3}


def raises() -> None:
    raise ValueError("first line\nsecond line")


def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    Path("pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)


class TestProbe:
    def test_what_is_returned(self) -> None:
        Path("json.py").write_text("raise SystemExit('a file of the working folder passes for a library')")
        assert answer(returns, 60) == {"number": 3}

    def test_an_exception_is_its_first_line(self) -> None:
        with pytest.raises(Unanswered, match=r"^ValueError: first line$"):
            answer(raises, 60)

    def test_a_crash_names_the_signal(self) -> None:
        with pytest.raises(Unanswered, match=r"^killed by SIGSEGV"):
            answer(crashes, 60)

    def test_what_hangs_is_killed_with_what_it_has_started(self) -> None:
        # a busy machine may need longer until it hangs
        for seconds in (3, 10, 40):
            with pytest.raises(Unanswered, match=rf"^no answer within {seconds} s$"):
                answer(hangs, seconds)
            if Path("pids").exists():
                break
        for pid in map(int, Path("pids").read_text().split()):
            end = time.monotonic() + 10
            while _lives(pid):
                assert time.monotonic() < end
                time.sleep(0.02)

    def test_what_has_begun_is_not_begun_again_and_ends_where_nobody_asks(self) -> None:
        with begun(returns, hangs):
            process = isolated._begun[returns].process
            assert answer(returns, 60) == {"number": 3}
            unasked = isolated._begun[hangs].process
            assert (process.poll(), unasked.poll()) == (0, None)
        assert unasked.poll() is not None
        assert isolated._begun == {}


def _lives(pid: int) -> bool:
    try:
        # one that has ended, and that nobody waits for, is a zombie
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestPackages:
    def test_what_is_installed_here(self) -> None:
        assert one(packages.python()).level == "ok"
        found = one(packages.packages())
        assert found.level == "ok"
        assert f"torch {version('torch')}, torchvision {version('torchvision')}" in found.found

    def test_a_python_that_is_too_old(self) -> None:
        found = one(packages.python("3.10.14", ">=3.11"))
        assert (found.level, found.found) == ("problem", "3.10.14, expected >=3.11")

    def test_what_is_missing_or_does_not_fit_comes_with_the_command(self) -> None:
        required = [
            "no-such-package>=1",
            "click>=99",
            "torch>=1",
            'old-thing; python_version < "3"',
            'x; extra == "dev"',
        ]
        missing, unfit, fits = map(is_whole, packages.packages(required))
        assert (missing.level, missing.found) == ("problem", "no-such-package is not installed")
        assert (unfit.level, unfit.found) == ("problem", f"click {version('click')}, expected >=99")
        assert unfit.remedy == f"{sys.executable} -m pip install 'click>=8.1'"
        assert fits == Finding("ok", "packages", f"torch {version('torch')}")


WITH_CUDA: dict[str, Any] = {"version": "2.15.0", "built": "CUDA 13.0", "torchvision": None}
WITHOUT: dict[str, Any] = {"version": "2.15.0+cpu", "built": None, "torchvision": None}
H200: dict[str, Any] = {"name": "NVIDIA H200", "uuid": "11-22", "total": 140 * 2**30, "free": 139 * 2**30}


class TestTorch:
    @pytest.fixture
    def smi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A driver's tool that lists one GPU, which two processes use."""
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(
            "#!/bin/sh\n"
            'if [ "$1" = -L ]; then echo "GPU 0: NVIDIA H200 (UUID: GPU-11-22)"; exit; fi\n'
            'echo "GPU-11-22, 41, /usr/bin/python3, 3000"\n'
            'echo "GPU-33-44, 42, python, 5000"\n'
            'echo "GPU-11-22, 43, train, with a comma, [N/A]"\n'
        )
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")

    @pytest.fixture
    def answers(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """What the questions to torch are answered with, in their order."""

        def give(*given: object) -> None:
            left = list(given)

            def answered(question: object, seconds: float) -> object:
                next_one = left.pop(0)
                if isinstance(next_one, Exception):
                    raise next_one
                return next_one

            monkeypatch.setattr(cuda, "answer", answered)

        return give

    def test_the_torch_that_is_installed_here(self) -> None:
        found = list(map(is_whole, cuda.torch_and_gpus()))
        assert (found[0].level, found[0].name) == ("ok", "torch")
        assert found[0].found.startswith(f"{version('torch').partition('+')[0]}")

    def test_no_driver(self, answers: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        for torch in (WITH_CUDA, WITHOUT):
            answers(torch)
            found = one(cuda.torch_and_gpus(drivers={}))
            assert found.level == "ok"
            assert "no GPU here, trials train on the processor" in found.found

    @pytest.mark.usefixtures("smi")
    def test_a_driver_but_torch_for_the_processor(self, answers: Callable[..., None]) -> None:
        answers(WITHOUT)
        found = one(cuda.torch_and_gpus(drivers={}))
        assert found.level == "warning"
        assert "the driver lists 1 GPU" in found.found
        assert "pip install --force-reinstall 'torch" in found.remedy

    @pytest.mark.parametrize("library", ["torch", "torchvision"])
    def test_an_import_that_fails(self, answers: Callable[..., None], library: str) -> None:
        reason = "ImportError: libcudart.so.13"
        answers(Unanswered(reason) if library == "torch" else WITH_CUDA | {"torchvision": reason})
        found = one(cuda.torch_and_gpus())
        assert found.level == "problem"
        assert f"can't be imported: {reason}" in found.found
        assert "--force-reinstall" in found.remedy

    @pytest.mark.usefixtures("smi")
    def test_a_gpu_and_who_else_uses_it(self, answers: Callable[..., None]) -> None:
        answers(WITH_CUDA, {"gpus": [H200, H200 | {"uuid": "55-66", "name": "Other"}], "reason": ""})
        torch, used, free = map(is_whole, cuda.torch_and_gpus(drivers={}))
        assert (torch.level, torch.found) == ("ok", "2.15.0, built with CUDA 13.0; sees 2 GPUs")
        assert (used.level, used.name) == ("warning", "GPU 0")
        assert used.found == (
            "NVIDIA H200, 140.0 GiB, 139.0 GiB of it free; "
            "in use by python3 (process 41, 3000 MiB), train,with a comma (process 43, [N/A] MiB)"
        )
        assert free == Finding("ok", "GPU 1", "Other, 140.0 GiB, 139.0 GiB of it free")

    def test_a_gpu_whose_memory_is_taken(self) -> None:
        found = is_whole(cuda.gpu("GPU 0", H200 | {"free": 2**30}, []))
        assert found.level == "warning"
        assert "CUDA_VISIBLE_DEVICES" in found.remedy

    @pytest.mark.usefixtures("smi")
    def test_a_gpu_that_can_not_be_used(self, answers: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        answers(WITH_CUDA, {"gpus": [], "reason": "RuntimeError: the driver is too old"})
        assert (
            "can use no GPU, although the driver lists 1 GPU: RuntimeError: the driver"
            in one(cuda.torch_and_gpus()).found
        )
        answers(WITH_CUDA, Unanswered("killed by SIGSEGV"))
        assert "using a GPU fails: killed by SIGSEGV" in one(cuda.torch_and_gpus()).found
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        answers(WITH_CUDA, {"gpus": [], "reason": "RuntimeError: no GPUs"})
        assert one(cuda.torch_and_gpus()).level == "ok"


class TestMachine:
    @pytest.fixture
    def group(self, tmp_path: Path) -> Path:
        """A control group, below one with limits of its own."""
        group = tmp_path / "groups" / "outer" / "inner"
        group.mkdir(parents=True)
        (group / "cpu.max").write_text("max 100000\n")
        (group / "memory.max").write_text("max\n")
        (group / "memory.current").write_text("0\n")
        return group

    def limits(self, tmp_path: Path) -> Sequence[Path]:
        own = tmp_path / "cgroup"
        own.write_text("5:devices:/elsewhere\n0::/outer/inner\n")
        return machine.control_groups(own, tmp_path / "groups")

    def test_this_machine(self) -> None:
        for check in (machine.cores, machine.memory, machine.shared_memory):
            assert [is_whole(finding) for finding in check()]

    def test_the_groups_above_limit_as_well(self, group: Path, tmp_path: Path) -> None:
        (group.parent / "cpu.max").write_text("150000 100000\n")
        found = one(machine.cores(self.limits(tmp_path), visible=8))
        assert (found.level, found.found) == ("warning", "8, but the container has the time of 1.5")
        assert "`ablate run --concurrency 1`" in found.remedy
        (group.parent / "cpu.max").write_text("800000 100000\n")
        assert one(machine.cores(self.limits(tmp_path), visible=8)) == Finding("ok", "cores", "8")
        assert machine.control_groups(tmp_path / "none") == ()

    def test_memory_is_what_the_machine_and_the_groups_leave(self, group: Path, tmp_path: Path) -> None:
        meminfo = tmp_path / "meminfo"
        meminfo.write_text("MemTotal: 16777216 kB\nMemFree: 10 kB\nMemAvailable: 8388608 kB\n")
        assert one(machine.memory(self.limits(tmp_path), meminfo)).found == "16.0 GiB, 8.0 GiB of it free"
        (group / "memory.max").write_text(f"{4 * 2**30}\n")
        (group / "memory.current").write_text(f"{3 * 2**30}\n")
        found = one(machine.memory(self.limits(tmp_path), meminfo))
        assert (found.level, found.found) == ("warning", "4.0 GiB, 1.0 GiB of it free")
        (group / "memory.stat").write_text(f"anon 5\ninactive_file {2 * 2**30}\n")
        assert one(machine.memory(self.limits(tmp_path), meminfo)).found == "4.0 GiB, 3.0 GiB of it free"
        assert not list(machine.memory([], tmp_path / "none"))

    def test_shared_memory(self, tmp_path: Path) -> None:
        found = one(machine.shared_memory(tmp_path, small=2**60))
        assert found.level == "warning"
        assert "--shm-size" in found.remedy
        assert one(machine.shared_memory(tmp_path, small=1)).level == "ok"
        assert not list(machine.shared_memory(tmp_path / "none"))


class TestFolders:
    @pytest.mark.parametrize("check", [folders.working_folder, folders.cache])
    def test_room(self, check: Callable[..., Iterator[Finding]], tmp_path: Path) -> None:
        assert one(check(tmp_path, little=1, full=1)).level == "ok"
        assert one(check(tmp_path, little=2**60, full=1)).level == "warning"
        found = one(check(tmp_path, little=2**60, full=2**60))
        assert found.level == "problem"
        assert found.remedy.startswith(("make room, or ", "delete what is in it, or "))

    def test_the_cache_tells_its_size_and_is_not_made(self, tmp_path: Path) -> None:
        (tmp_path / "cache" / "decoded").mkdir(parents=True)
        (tmp_path / "cache" / "decoded" / "a.npy").write_bytes(bytes(3 * 2**20))
        assert one(folders.cache(tmp_path / "cache", 1, 1)).found.endswith(" free, 3 MiB in it")
        os.utime(tmp_path / "cache" / "decoded" / "a.npy", (0, 0))
        (tmp_path / "cache" / "decoded" / "b.npy").write_bytes(bytes(2**20))
        told = "4 MiB in it, of which 3 MiB of decoded images unused for 30 days"
        assert one(folders.cache(tmp_path / "cache", 1, 1)).found.endswith(told)
        assert one(folders.cache(tmp_path / "later" / "cache", 1, 1)).level == "ok"
        assert not (tmp_path / "later").exists()

    @pytest.mark.parametrize("place", ["/proc", "/proc/below", "a file", "a file/below"])
    def test_where_nothing_can_be_written(self, place: str, tmp_path: Path) -> None:
        (tmp_path / "a file").touch()
        found = one(folders.cache(tmp_path / place, 0, 0))
        assert found.level == "problem"
        assert "ABLATE_CACHE" in found.remedy

    def test_what_another_user_has_left_in_the_working_folder(self, tmp_path: Path) -> None:
        (tmp_path / "results").symlink_to("/proc")
        fine, found = map(is_whole, folders.working_folder(tmp_path, 1, 1))
        assert (fine.level, found.level) == ("ok", "problem")
        assert f"{tmp_path / 'results'}: can't be written to" in found.found

    def test_the_temporary_folder(self, tmp_path: Path) -> None:
        assert one(folders.temporary_folder(Path("/tmp"), "/tmp")).level == "ok"
        length = len(str(tmp_path))
        aside = one(folders.temporary_folder(tmp_path, str(tmp_path), longest=length - 1))
        assert (aside.level, "; Ray's sockets in /tmp" in aside.found) == ("ok", True)
        long = one(folders.temporary_folder(tmp_path, str(tmp_path), longest=length - 1, short=Path("/proc")))
        assert (long.level, f"{length} characters" in long.found) == ("problem", True)
        assert one(folders.temporary_folder(tmp_path, str(tmp_path), length, Path("/proc"))).level == "ok"
        assert one(folders.temporary_folder(Path("/proc"), "/proc")).level == "problem"
        ignored = one(folders.temporary_folder(Path("/tmp"), "/no/such"))
        assert (ignored.level, ignored.found) == ("warning", "/tmp, because TMPDIR, /no/such, can't be written to")
        assert not list(tmp_path.iterdir())


def three_times() -> list[float]:
    return [1.0, 2.5, 0.25]


class TestRay:
    def test_how_long_it_takes(self) -> None:
        assert one(ray_start.ray(three_times)).found == "imported in 1.0 s, started in 2.5 s, stopped in 0.2 s"

    @pytest.mark.parametrize(
        ("question", "seconds", "reason"),
        [(raises, 60, "ValueError: first line"), (hangs, 2, "no answer within 2 s")],
    )
    def test_one_that_does_not_start(self, question: Callable[[], object], seconds: int, reason: str) -> None:
        found = one(ray_start.ray(question, seconds=seconds))
        assert (found.level, found.found) == ("problem", f"does not start: {reason}")
        assert "--executor inline" in found.remedy

    def test_the_longest_path_of_a_socket(self) -> None:
        session = "session_2026-11-21_16-18-22_474793_1028251"
        assert len(f"/ablate-run-abcd1234/{session}/sockets/plasma_store") == scratch._SOCKET

    @pytest.mark.slow
    def test_ray_itself(self) -> None:
        assert one(ray_start.ray()).level == "ok"


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def change(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.commit()
    connection.close()


class TestEmbeddedRecord:
    def test_one_that_is_well(self, record: Path) -> None:
        found = one(records.record())
        assert found.level == "ok"
        assert found.found.startswith(f"{record}: SQLite, ")
        assert found.found.endswith(", 0 runs")
        assert not list(Path.cwd().glob("mlflow.db-*"))

    def test_none_yet(self, tmp_path: Path) -> None:
        assert "not there yet" in is_whole(records.embedded(tmp_path / "new" / "mlflow.db")).found
        assert not list(tmp_path.iterdir())
        (tmp_path / "mlflow.db").touch()
        assert "empty" in one(records.record()).found

    def test_where_it_can_not_be_written(self, tmp_path: Path) -> None:
        assert is_whole(records.embedded(Path("/proc/mlflow.db"))).level == "problem"
        assert "is a folder" in is_whole(records.embedded(tmp_path)).found

    def test_one_that_another_process_has_locked(self, record: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(record)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == b"held\n"
            found = is_whole(records.embedded(record, patience=0.1))
            process.stdin.close()
        assert (found.level, found.found) == ("problem", f"{record}: another process holds its lock")
        assert is_whole(records.embedded(record)).level == "ok"

    @pytest.mark.parametrize("damage", ["its first page", "a page", "its end", "text"])
    def test_one_that_is_damaged(self, damage: str, record: Path) -> None:
        content = bytearray(record.read_bytes())
        if damage == "its first page":
            content[:4096] = bytes(range(256)) * 16
        elif damage == "a page":
            content[8192 : 8192 + 40960] = b"\xff" * 40960
        elif damage == "its end":
            del content[len(content) // 2 :]
        record.write_bytes(b"this is no database, but long enough to be one" * 30 if damage == "text" else content)
        found = is_whole(records.embedded(record))
        assert found.level == "problem"
        assert f"{record}: damaged (" in found.found
        assert ".recover" in found.remedy

    def test_one_too_large_to_be_read_through(self, record: Path) -> None:
        change(
            record,
            "CREATE TABLE much AS WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i+1 FROM n LIMIT 99999) SELECT i FROM n",
        )
        found = is_whole(records.embedded(record, reading=0.0))
        assert found.level == "ok"
        assert "too large" in found.found

    def test_no_record_at_all(self, tmp_path: Path) -> None:
        change(tmp_path / "mlflow.db", "CREATE TABLE other (a)")
        assert "no record of MLflow's" in one(records.record()).found

    def test_the_schema_is_the_one_that_mlflow_writes(self) -> None:
        from mlflow.store.db.utils import _get_latest_schema_revision

        head, known = schema.revisions()
        assert head == _get_latest_schema_revision()
        assert "451aebb31d03" in known

    def test_an_older_schema(self, record: Path) -> None:
        change(record, "UPDATE alembic_version SET version_num = '451aebb31d03'")
        found = one(records.record())
        assert found.level == "problem"
        assert "of an older MLflow, schema 451aebb31d03" in found.found
        assert found.remedy.endswith(f"-m mlflow db upgrade sqlite:///{record}")
        with pytest.raises(UserError, match="out-of-date"):
            open_client()

    def test_a_newer_schema(self, record: Path) -> None:
        change(record, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
        found = one(records.record())
        assert found.level == "problem"
        assert "its schema ffffffffffff is unknown to MLflow" in found.found
        assert "pip install" in found.remedy


class Server(ThreadingHTTPServer):
    """Says what is `said` at each path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.said: dict[str, tuple[int, str]] = {}
        self.heard: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        path = self.path.partition("?")[0]
        self.server.heard.append((path, self.headers.get("Authorization")))
        status, text = self.server.said.get(path, (404, ""))
        time.sleep(1.0 if text == "later" else 0.0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        """Says nothing of its own."""


EXPERIMENTS = "/mlflow/api/2.0/mlflow/experiments/search"
Serve = Callable[..., list[tuple[str, str | None]]]


class TestServer:
    @pytest.fixture
    def serve(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
        """Lets a server say so at each path; returns what it will have heard."""
        with Server() as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()

            def start(said: dict[str, tuple[int, str]], user: str = "") -> list[tuple[str, str | None]]:
                server.said = said
                monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{user}127.0.0.1:{server.server_port}/mlflow/")
                return server.heard

            yield start
            server.shutdown()
            thread.join()

    def test_one_of_the_clients_release(self, serve: Serve) -> None:
        ours = version("mlflow")
        heard = serve(
            {"/mlflow/health": (200, "OK"), "/mlflow/version": (200, ours), EXPERIMENTS: (200, "{}")}, f"me:{SECRET}@"
        )
        found = one(records.record())
        assert (found.level, found.found.partition(": ")[2]) == ("ok", f"MLflow server {ours}")
        assert [path for path, _ in heard] == ["/mlflow/health", "/mlflow/version", EXPERIMENTS]
        assert all(credentials and credentials.startswith("Basic ") for _, credentials in heard)

    def test_a_token_is_sent(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        heard = serve({})
        one(records.record())
        assert heard == [("/mlflow/health", f"Bearer {SECRET}")]

    def test_a_login_of_mlflows_file_is_sent(
        self, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        file = tmp_path / ".mlflow" / "credentials"
        file.parent.mkdir()
        file.write_text(f"[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = {SECRET}\n")
        heard = serve({})
        one(records.record())
        assert heard[0][1] == "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()

    def test_a_login_that_only_mlflow_can_do(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "kubernetes")
        serve({"/mlflow/health": (200, "OK"), "/mlflow/version": (401, "")})
        assert one(records.record()).level == "warning"

    @pytest.mark.parametrize(
        ("health", "version", "level", "found"),
        [
            ((200, "OK"), (200, "3.1.4"), "warning", "MLflow server 3.1.4, the client here is 3."),
            ((200, "OK"), (401, ""), "problem", "refuses this client (HTTP status 401)"),
            ((200, "OK"), (403, "Invalid Host header"), "problem", "refuses this client (HTTP status 403)"),
            ((404, ""), (404, ""), "problem", "not as an MLflow server that is well (HTTP status 404)"),
            ((200, "OK"), (200, "<html>"), "problem", "not as an MLflow server"),
            ((500, ""), (200, "3.1.4"), "problem", "HTTP status 500"),
        ],
    )
    def test_others(
        self, serve: Serve, health: tuple[int, str], version: tuple[int, str], level: str, found: str
    ) -> None:
        serve({"/mlflow/health": health, "/mlflow/version": version, EXPERIMENTS: (200, "{}")}, f"{SECRET}@")
        finding = one(records.record())
        assert finding.level == level
        assert found in finding.found

    def test_one_whose_database_is_away(self, serve: Serve) -> None:
        said = {"/mlflow/health": (200, "OK"), "/mlflow/version": (200, version("mlflow"))}
        serve(said | {EXPERIMENTS: (500, "")})
        found = one(records.record())
        assert found.found.endswith("there, but can't tell its experiments (HTTP status 500)")
        serve(said | {EXPERIMENTS: (200, "later")})
        assert "(does not answer within 0.2 s)" in is_whole(servers.server(0.2)).found

    def test_one_that_does_not_answer_in_time(self, serve: Serve) -> None:
        serve({"/mlflow/health": (200, "later")})
        assert "does not answer within 0.2 s" in is_whole(servers.server(0.2)).found


@pytest.fixture(scope="module")
def closed() -> int:
    """A port that nothing listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class TestSecrets:
    @pytest.mark.parametrize(
        "beginning",
        [
            f"http://me:{SECRET}@",
            f"https://{SECRET}@",
            f"http://me:a/{SECRET}@",
            f"http://me:{SECRET}/b@",
            f"http://me:a?{SECRET}@",
            f"http://me:{SECRET}#b@",
            f"http://me:a@{SECRET}@",
            f"http://me:a:{SECRET}@",
            f"postgresql://me:{SECRET}@",
            f"postgresql://me:{SECRET}/b@",
            f"postgresql+psycopg2://me:{SECRET}%40x@",
            f"mysql://me:{SECRET}@",
            f"mysql+pymysql://me:{SECRET}@",
            f"mssql+pyodbc://me:{SECRET}@",
            f"databricks://me:{SECRET}@",
        ],
    )
    @pytest.mark.parametrize(
        "end", ["", f"/db?password={SECRET}", f"/db?password={SECRET}@x", f"?a=b&token=x@{SECRET}"]
    )
    def test_they_never_appear(self, beginning: str, end: str, closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{beginning}127.0.0.1:{closed}{end}")
        # in this process, which is quicker
        monkeypatch.setattr(servers, "answer", lambda question, seconds: question())
        (found,) = map(is_whole, findings({"record": records.record}))
        assert found.level != "ok"

    def test_a_server_that_is_away(self, closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@127.0.0.1:{closed}")
        found = one(records.record())
        assert (found.level, found.found) == (
            "problem",
            f"http://127.0.0.1:{closed}: can't be reached (Connection refused)",
        )

    def test_a_database_without_its_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg2", None)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://me:{SECRET}@host/db")
        found = is_whole(Finding(**servers.open_database()))
        assert "postgresql+psycopg2://host/db: its driver, psycopg2, is not installed" in found.found
        assert found.remedy.endswith("pip install 'psycopg2-binary'")

    def test_only_what_mlflow_or_a_plugin_of_it_knows_may_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgres://me:{SECRET}@host/db")
        found = one(records.record())
        assert (found.level, found.found) == (
            "problem",
            "postgres://host/db: a kind of record that MLflow doesn't know",
        )
        assert "postgresql" in found.remedy
        plugin = EntryPoint("postgres", "some:Store", "mlflow.tracking_store")
        monkeypatch.setattr("experiments.tracking.uris.entry_points", lambda group: [plugin])
        assert one(records.record()).level == "warning"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
        assert one(records.record()).level == "warning"

    def test_a_plain_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for uri in ("mlruns", "file:///tmp/mlruns"):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            found = one(records.record())
            assert found.level == "problem"
            with pytest.raises(UserError):
                open_client()
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        assert one(records.record()).level == "warning"


class TestDatabase:
    """SQLite by SQLAlchemy stands in for the databases that need a server."""

    @pytest.fixture
    def uri(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        uri = f"sqlite+pysqlite:///{tmp_path}/mlflow.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return uri

    @pytest.mark.usefixtures("uri")
    def test_its_schema(self, record: Path) -> None:
        assert is_whole(servers.database()).level == "ok"
        assert "no answer within 0.01 s" in is_whole(servers.database(0.01)).found
        change(record, "UPDATE alembic_version SET version_num = '451aebb31d03'")
        assert "-m mlflow db upgrade" in is_whole(servers.database()).remedy

    @pytest.mark.usefixtures("uri")
    def test_an_empty_one(self) -> None:
        assert "empty" in is_whole(servers.database()).found

    def test_one_that_refuses(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("/mlflow.db", "/none/mlflow.db"))
        found = is_whole(servers.database())
        assert (found.level, "can't be opened (unable to open database file)" in found.found) == ("problem", True)


WriteStudy = Callable[..., Path]
DIGITS = "dataset: {kind: digits, image_size: 16}"


class TestStudy:
    def data(self, file: Path) -> list[Finding]:
        return [is_whole(finding) for finding in data.study_data(expand(load_study(file)))]

    def weights(self, file: Path) -> list[Finding]:
        return [is_whole(finding) for finding in data.study_weights(expand(load_study(file)))]

    def test_data_at_hand(self, study_file: WriteStudy) -> None:
        assert self.data(study_file()) == [Finding("ok", "data digits", "at hand")]
        assert self.weights(study_file()) == []
        assert one(data.embedded_data()).level == "ok"

    def test_data_that_a_run_would_download_are_not_downloaded(self, study_file: WriteStudy) -> None:
        (found,) = self.data(study_file((DIGITS, "dataset: {kind: cifar10}")))
        assert (found.level, found.name) == ("warning", "data cifar10")
        assert found.found == "not at hand; `ablate run` begins with cifar10: downloading to data/ (170 MB)"
        assert not Path("data").exists()

    def test_data_that_a_run_would_render_are_not_rendered(self, study_file: WriteStudy) -> None:
        (found,) = self.data(study_file((DIGITS, "dataset: {kind: glyphs, per_class: 3, render_seed: 9}")))
        assert found.level == "ok"
        assert "`ablate run` begins with glyphs: rendering 186 images" in found.found

    def test_data_that_are_missing(self, study_file: WriteStudy) -> None:
        file = study_file((DIGITS, "dataset: {kind: image_folder, path: photos, classes: 3}"))
        (found,) = self.data(file)
        assert (found.level, found.found.partition(",")[0]) == ("problem", "photos: no such folder")
        for name in ("a", "b"):
            Path("photos", name).mkdir(parents=True)
            for number in range(3):
                Path("photos", name, f"{number}.jpg").touch()
        (found,) = self.data(file)
        assert (found.level, "holds 2 classes, the setting is classes: 3" in found.found) == ("problem", True)

    def test_images_that_do_not_decode(self, study_file: WriteStudy) -> None:
        file = study_file((DIGITS, "dataset: {kind: image_folder, path: photos, image_size: 16}"))
        for name in ("a", "b"):
            Path("photos", name).mkdir(parents=True)
            for number in range(300):
                Image.new("RGB", (20, 20), (number % 256, 0, 0)).save(Path("photos", name, f"{number:03}.png"))
        found, *_ = self.data(file)
        assert found == Finding("ok", "data image_folder", "at hand, 600 files, 300 of them tried: they decode")
        for broken in Path("photos", "b").iterdir():
            broken.write_bytes(broken.read_bytes()[:60])
        found, *_ = self.data(file)
        assert found.level == "problem"
        assert re.match(r"photos/b/\d\d\d.png: not an image that can be decoded", found.found)
        assert re.search(r"; 1\d\d more can't be decoded either$", found.found)

    def test_the_one_broken_image_of_a_small_folder_is_found(self, study_file: WriteStudy) -> None:
        file = study_file((DIGITS, "dataset: {kind: image_folder, path: photos, image_size: 16}"))
        for name in ("a", "b"):
            Path("photos", name).mkdir(parents=True)
            for number in range(45):
                Image.new("RGB", (20, 20), (number, 0, 0)).save(Path("photos", name, f"{number:02}.png"))
        found, *_ = self.data(file)
        assert found == Finding("ok", "data image_folder", "at hand, 90 files, all of them decode")
        Path("photos", "a", "01.png").write_bytes(b"not an image")
        found, *_ = self.data(file)
        assert (found.level, found.remedy) == ("problem", "copy them again, or take them away")
        assert found.found == "photos/a/01.png: not an image that can be decoded (unknown format)"

    def test_a_plugins_data_are_not_prepared(self, study_file: WriteStudy) -> None:
        Path("mine.py").write_text(
            "from typing import Literal\n"
            "from experiments.datasets.digits import Digits\n"
            "class Mine(Digits):\n"
            "    kind: Literal['mine'] = 'mine'\n"
            "    def files(self):\n"
            "        return []\n"
            "    def prepare(self, say):\n"
            "        raise AssertionError('prepared')\n"
        )
        file = study_file(
            (DIGITS, "dataset: {kind: mine, image_size: 16}"), ("study: tiny", "study: tiny\nplugins: [mine.py]")
        )
        (found,) = self.data(file)
        assert (found.level, found.found) == ("warning", "not at hand")

    @pytest.mark.parametrize(
        ("name", "content", "level", "part"),
        [
            ("old.pth", b"\x80\x02 a pickle", "ok", "old.pth: 0 KiB"),
            ("cut.pt", b"PK\x03\x04 and no end", "problem", "cut off"),
            ("cut.safetensors", b"\xff\0\0\0\0\0\0\0{}", "problem", "no whole safetensors file"),
            ("lfs.pth", b"version https://git-lfs.github.com/spec/v1\n", "problem", "Git LFS"),
        ],
    )
    def test_files_of_weights(self, name: str, content: bytes, level: str, part: str, study_file: WriteStudy) -> None:
        Path(name).write_bytes(content)
        (found,) = self.weights(study_file(("tweak: A}", f"tweak: A, weights_file: {name}}}")))
        assert (found.level, found.name) == (level, "weights_file")
        assert part in found.found

    def test_weights_by_name_that_are_not_here(self, study_file: WriteStudy) -> None:
        architecture = "architecture: {kind: timm, name: test_resnet, weights: test_resnet.r160_in1k}"
        tiny = "architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}"
        stem = ("stem: {plain: {}, deep: {architecture.tweak: D}}", "stem: {plain: {}, deep: {epochs: 3}}")
        (found,) = self.weights(study_file((tiny, architecture), stem))
        assert (found.level, found.name) == ("warning", "weights test_resnet.r160_in1k")


FINE = Finding("ok", "a", "fine")
LOW = Finding("warning", "b", "low", "get more")
BROKEN = Finding("problem", "c", "broken [red]", "mend it")


class TestCommand:
    @pytest.fixture
    def checks(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Replaces the checks of the machine by some that find so."""

        def give(*found: Finding) -> None:
            monkeypatch.setattr(listed, "MACHINE", {"given": lambda: found})

        return give

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(main, ["doctor", *arguments], catch_exceptions=False)

    @pytest.mark.parametrize(("found", "code"), [((FINE,), 0), ((FINE, LOW), 0), ((LOW, BROKEN, FINE), 1)])
    def test_the_exit_code(self, found: tuple[Finding, ...], code: int, checks: Callable[..., None]) -> None:
        checks(*found)
        assert self.run().exit_code == code
        assert self.run("--json").exit_code == code

    def test_what_people_read(self, checks: Callable[..., None]) -> None:
        checks(FINE, LOW, BROKEN)
        assert self.run().stdout.splitlines() == [
            "ok       a               fine",
            "warning  b               low",
            "         → get more",
            "problem  c               broken [red]",
            "         → mend it",
            "ok       data            digits and glyphs need no download",
            "problems: 1, warnings: 1",
        ]

    def test_what_programs_read(self, checks: Callable[..., None]) -> None:
        checks(LOW)
        first, second = json.loads(self.run("--json").stdout)
        assert first == {"level": "warning", "name": "b", "found": "low", "remedy": "get more"}
        assert (second["name"], second["remedy"]) == ("data", "")

    def test_a_study_is_checked_after_the_machine(self, checks: Callable[..., None]) -> None:
        checks(FINE)
        study = str(REPOSITORY / "studies" / "bag_of_tricks.yaml")
        assert "data digits     at hand\n" in self.run(study, "--profile", "demo").stdout
        assert "data caltech101 not at hand" in self.run(study).stdout

    def test_wrong_input(self, checks: Callable[..., None], study_file: WriteStudy) -> None:
        checks(FINE)
        study = str(study_file())
        wrong = Path(study).with_name("wrong.yaml")
        wrong.write_text(Path(study).read_text().replace("epochs: 2", "epoch: 2"))
        for arguments, part in [
            (("none.yaml",), "none.yaml"),
            ((str(wrong),), "did you mean 'epochs'"),
            ((study, "--profile", "none"), "'none'"),
            (("--profile", "demo"), "ablate doctor STUDY --profile demo"),
        ]:
            result = self.run(*arguments)
            assert (result.exit_code, result.stdout, part in result.stderr) == (2, "", True), result.output

    def test_a_plan_that_breaks_is_a_finding(
        self, checks: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def breaks(*arguments: object) -> None:
            raise OSError("libtorch.so: not found")

        checks(FINE)
        monkeypatch.setattr(listed, "load_plan", breaks)
        result = self.run("study.yaml")
        assert result.exit_code == 1
        assert "problem  study           could not be checked: OSError: libtorch.so: not found" in result.stdout

    def test_a_package_without_which_nothing_starts(self, tmp_path: Path) -> None:
        (tmp_path / "pydantic.py").write_text("raise ImportError('no core')")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-m", "orchestrator.cli", "doctor", "study.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (1, "")
        assert "ok       packages        torch " in done.stdout
        assert "problem  other checks    could not be checked: ImportError: no core\n" in done.stdout

    @pytest.mark.slow
    def test_here(self, record: Path) -> None:
        done = subprocess.run([sys.executable, "-m", "orchestrator.cli", "doctor", "--json"], capture_output=True)
        found = [is_whole(Finding(**finding)) for finding in json.loads(done.stdout)]
        assert done.returncode == int(any(finding.level == "problem" for finding in found))
        assert {"Python", "packages", "cores", "working folder", "cache", "temp folder", "record", "torch", "Ray"} <= {
            finding.name for finding in found
        }
        assert next(finding for finding in found if finding.name == "Ray").level == "ok", found
        assert not Path(".ablate").exists()
