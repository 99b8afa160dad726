"""`ablate logs`: whose log an id names, what is printed of it, and that an id leads nowhere else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.commands.logs import CHUNK

ID, OTHER = "0123456789ab", "0123ffffffff"
COMMAND = [sys.executable, "-m", "orchestrator.cli", "logs"]


def logs(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["logs", *arguments], catch_exceptions=False)


def write(content: str | bytes, trial: str = ID, data: str = "aaaaaaaa") -> Path:
    file = Path(".ablate", "trials", f"{trial}-{data}", "log.txt")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refused(*arguments: str) -> str:
    result = logs(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    line = result.stderr.rstrip("\n")
    assert "\n" not in line
    return line


class TestWhichLog:
    @pytest.mark.parametrize("asked", [ID, ID[:4], ID[:-1], f"{ID}-aaaaaaaa"])
    def test_an_id_or_its_unique_beginning(self, asked: str) -> None:
        write("epoch 1: top1=0.5\n")
        write("another\n", trial="ffff00000000")
        result = logs(asked)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "epoch 1: top1=0.5\n", "")

    def test_of_several_data_the_newest_which_is_said(self) -> None:
        old, new = write("old\n", data="bbbbbbbb"), write("new\n", data="aaaaaaaa")
        os.utime(old, (1, 1))
        result = logs(ID)
        assert result.stdout == "new\n"
        assert f"the newest of 2, {new}; on other data: {ID}-bbbbbbbb" in result.stderr
        assert logs(f"{ID}-b").stdout == "old\n"

    def test_where_nothing_has_run(self) -> None:
        line = refused(ID)
        assert str(Path.cwd() / ".ablate" / "trials") in line
        assert "no trial has run here" in line
        assert "expected a folder where `ablate run` ran" in line

    def test_an_unknown_id_names_where_and_the_nearest(self) -> None:
        write("", trial=ID)
        write("", trial="ffffffffffff")
        line = refused("0123456788")
        assert "'0123456788'" in line
        assert f"{Path.cwd() / '.ablate' / 'trials'}/" in line
        assert line.endswith(f"; nearest: {ID}")
        assert "nearest" not in refused("eeeeeeee")

    def test_a_beginning_of_several_ids_names_five_of_them(self) -> None:
        ids = [f"0123{number:08}" for number in range(7)]
        for trial in ids:
            write("", trial)
        line = refused("0123")
        assert f"({', '.join(ids[:5])} and 2 more)" in line
        assert "more characters" in line

    def test_too_few_characters(self) -> None:
        write("")
        line = refused(ID[:3])
        assert "at least 4 characters" in line
        assert line.endswith("; `ablate status STUDY --json` lists ids")

    def test_a_folder_without_a_log_is_none(self) -> None:
        Path(".ablate", "trials", f"{ID}-aaaaaaaa").mkdir(parents=True)
        assert "no trial has run here" in refused(ID)

    @pytest.mark.parametrize(
        "asked",
        ["../secret", "../../.ablate/secret", "/etc/passwd", "****", "0123*", "0???????????", "[0-9]*", "....", "0123/",
         "{ID,x}", "~root", "0123\n4567", "0123\x1b[31m", "x" * 100_000],
    )  # fmt: skip
    def test_no_id_leads_out_of_the_folder_or_matches_by_pattern(self, asked: str) -> None:
        write("mine\n")
        secret = Path(".ablate", "secret", "log.txt")
        secret.parent.mkdir()
        secret.write_text("secret\n")
        line = refused(asked)
        assert "no trial with such an id" in line
        assert "\x1b" not in line
        assert len(line) < 1000


class TestWhatIsPrinted:
    def test_bytes_that_are_no_text_are_replaced(self) -> None:
        write(b"a\xff\xfeb\n")
        assert logs(ID).stdout == "a\ufffd\ufffdb\n"

    def test_a_character_across_two_reads_stays_whole(self) -> None:
        text = "x" * (CHUNK - 1) + "é\n"
        write(text)
        assert logs(ID).stdout == text

    def test_what_stdout_can_not_encode_is_a_question_mark(self) -> None:
        write("é\n")
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run([*COMMAND, ID], capture_output=True, check=True, env=environment)
        assert done.stdout == b"?\n"

    def test_a_reader_that_has_enough_ends_it_quietly(self) -> None:
        write("line\n" * 200_000)
        with subprocess.Popen([*COMMAND, ID], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"line\n"
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(20) == 0

    def test_the_log_of_a_real_trial(self, study_file: Callable[..., Path], record: Path) -> None:
        file = study_file(("epochs: 2", "epochs: 1"))
        runner = CliRunner()
        ran = runner.invoke(main, ["run", str(file), "--executor", "inline"], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        planned = runner.invoke(main, ["plan", str(file), "--json"], catch_exceptions=False)
        for trial in json.loads(planned.stdout)["trials"]:
            printed = logs(trial["id"]).stdout
            assert f"trial {trial['id']}: cell {trial['cell']}, seed {trial['seed']}" in printed
            assert "epoch 1: " in printed


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
class TestFollowing:
    @pytest.fixture
    def log(self) -> Path:
        return write("one\n")

    @pytest.fixture
    def following(self, log: Path, tmp_path: Path) -> Iterator[Callable[[str], None]]:
        """Starts `ablate logs --follow`; waits for text in what it prints; ends it with Ctrl-C."""
        printed, said = tmp_path / "printed", tmp_path / "said"
        with printed.open("wb") as out, said.open("wb") as errors:
            process = subprocess.Popen([*COMMAND, ID, "--follow"], stdout=out, stderr=errors)

        def wait_for(text: str) -> None:
            end = time.monotonic() + 20
            while printed.read_text() != text:
                assert time.monotonic() < end, f"printed {printed.read_text()!r}, expected {text!r}"
                time.sleep(0.02)

        try:
            wait_for("one\n")
            yield wait_for
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert "Traceback" not in said.read_text()
        finally:
            process.kill()
            process.wait()

    def test_what_is_added_is_printed(self, log: Path, following: Callable[[str], None]) -> None:
        with log.open("a") as handle:
            for number in ("two", "three"):
                print(number, file=handle, flush=True)
                following("one\ntwo\n" if number == "two" else "one\ntwo\nthree\n")

    def test_a_log_that_is_cut_is_printed_from_its_beginning(self, log: Path, following: Callable[[str], None]) -> None:
        log.write_text("a\n")
        following("one\na\n")

    def test_a_log_that_is_replaced_is_printed_from_its_beginning(
        self, log: Path, following: Callable[[str], None]
    ) -> None:
        with log.open("a") as handle:
            handle.write("last\n")
        log.with_name("next").write_text("another, longer than before\n")
        log.with_name("next").replace(log)
        following("one\nlast\nanother, longer than before\n")

    def test_a_log_that_is_deleted_is_waited_for(self, log: Path, following: Callable[[str], None]) -> None:
        log.unlink()
        time.sleep(0.5)
        log.write_text("again\n")
        following("one\nagain\n")
