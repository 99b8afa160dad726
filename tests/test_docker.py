"""The containers' files, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

DOCKER = REPOSITORY / "docker"
DOCKERFILES = sorted(path.name for path in DOCKER.glob("*Dockerfile"))
SERVICES = ["mlflow", "postgres", "runner", "runner-cpu"]
OF_RAY = ["head", "node", "node-cpu"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    data = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    data = yaml.safe_load((DOCKER / "cluster.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, argument) in order, comments dropped and continued lines joined."""
    lines = (DOCKER / name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = text.replace("\\\n", " ").splitlines()
    return [
        (word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in joined if line.strip())
    ]


def test_there_are_two_images_and_four_services(compose: dict[str, Any]) -> None:
    assert DOCKERFILES == ["Dockerfile", "mlflow.Dockerfile"]
    assert sorted(compose["services"]) == SERVICES


def test_every_build_file_exists(compose: dict[str, Any]) -> None:
    built = [service["build"] for service in compose["services"].values() if "build" in service]
    assert len(built) == 3
    for build in built:
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()


def test_only_this_machine_can_connect(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)
    assert "ports" not in compose["services"]["postgres"]
    assert compose["networks"]["database"]["internal"] is True
    assert compose["services"]["postgres"]["networks"] == ["database"]


def test_no_secret_stands_in_a_file(compose: dict[str, Any]) -> None:
    secrets = {
        name: value
        for service in compose["services"].values()
        for name, value in service.get("environment", {}).items()
        if "PASSWORD" in name
    }
    assert set(secrets) == {"POSTGRES_PASSWORD", "PGPASSWORD"}
    for value in secrets.values():
        # required: no default, and an empty value is refused as well
        assert re.fullmatch(r"\$\{ABLATE_DB_PASSWORD:\?[^}]+\}", value)
    assert not re.search(r"://[^/\s]*:[^/\s]*@", (DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    example = (DOCKER / ".env.example").read_text(encoding="utf-8")
    assert re.search(r"^ABLATE_DB_PASSWORD=$", example, re.MULTILINE)


def test_the_example_names_every_variable() -> None:
    files = "".join((DOCKER / name).read_text(encoding="utf-8") for name in ("compose.yaml", "cluster.yaml"))
    used = set(re.findall(r"\$\{(\w+)", files))
    named = set(re.findall(r"^#?(\w+)=", (DOCKER / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == used


def test_services_wait_for_what_they_need(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, needed in (("mlflow", "postgres"), ("runner", "mlflow"), ("runner-cpu", "mlflow")):
        assert services[name]["depends_on"] == {needed: {"condition": "service_healthy"}}
        assert "healthcheck" in services[needed]


def test_the_two_runners_differ_in_the_gpu_only(compose: dict[str, Any]) -> None:
    gpu, cpu = compose["services"]["runner"], compose["services"]["runner-cpu"]
    assert {key for key in gpu if gpu[key] != cpu[key]} == {"profiles", "deploy"}
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert cpu["deploy"] == {}
    assert all("user" not in service for service in (gpu, cpu)), "the image's own user runs"


def test_the_cluster_goes_with_the_record(compose: dict[str, Any], cluster: dict[str, Any]) -> None:
    assert sorted(cluster["services"]) == OF_RAY
    assert cluster["name"] == compose["name"]
    head, runner = cluster["services"]["head"], compose["services"]["runner"]
    for name in ("build", "image", "init", "volumes", "depends_on"):
        assert head[name] == runner[name], "`ablate` runs in the head as in the runner"
    assert head["environment"].items() > runner["environment"].items()


def test_the_cluster_asks_for_a_token_and_publishes_nothing(cluster: dict[str, Any]) -> None:
    for service in cluster["services"].values():
        assert "ports" not in service
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert re.fullmatch(r"\$\{ABLATE_RAY_TOKEN:\?[^}]+\}", service["environment"]["RAY_AUTH_TOKEN"])


def test_nodes_see_the_data_and_the_head_alone(cluster: dict[str, Any]) -> None:
    gpu, cpu = cluster["services"]["node"], cluster["services"]["node-cpu"]
    assert {key for key in gpu if gpu[key] != cpu[key]} == {"profiles", "deploy", "command"}
    assert [volume["target"] for volume in gpu["volumes"]] == ["/workspace/data"]
    assert gpu["volumes"][0]["read_only"] is True
    assert "MLFLOW_TRACKING_URI" not in gpu["environment"]
    assert gpu["depends_on"] == {"head": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", OF_RAY)
def test_ray_knows_the_options_of_its_services(name: str, cluster: dict[str, Any]) -> None:
    service = cluster["services"][name]
    program, command, *options = [*service["entrypoint"], *service["command"]]
    shown = subprocess.run(
        [tool_of(program), command, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    for option in options:
        assert re.search(rf"{re.escape(option.partition('=')[0])}\b", shown.stdout), option
    assert service["healthcheck"]["test"][1:3] == ["ray", "health-check"]
    assert service["command"][0] in ("--head", "--address=head:6379")


def tool_of(name: str) -> str:
    """A program that is installed beside Python."""
    return str(Path(sys.executable).parent / name)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_run_as_a_user_without_rights(name: str) -> None:
    steps = instructions(name)
    defaults = dict(argument.split("=") for word, argument in steps if word == "ARG")
    users = [index for index, (word, _) in enumerate(steps) if word == "USER"]
    assert len(users) == 1
    user = re.sub(r"\$(\w+)", lambda match: defaults[match[1]], steps[users[0]][1])
    assert all(int(part) > 0 for part in user.split(":"))
    assert max(i for i, (word, _) in enumerate(steps) if word in ("RUN", "COPY")) < users[0]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_installs_are_constrained_and_name_no_index(name: str) -> None:
    text = "\n".join(f"{word} {argument}" for word, argument in instructions(name))
    installs = re.findall(r"pip install ([^\n&|]+)", text)
    assert installs
    assert all("-c " in install and "constraints.txt" in install for install in installs)
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|\s-[if]\s|https?://|PIP_.*INDEX", text)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_exists_and_is_not_ignored(name: str) -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for word, argument in instructions(name):
        if word == "COPY":
            for source in argument.split()[:-1]:
                assert source in allowed
                assert (REPOSITORY / source).exists()


def test_the_runner_image_holds_the_whole_package() -> None:
    copied = {source for word, argument in instructions("Dockerfile") if word == "COPY" for source in argument.split()}
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    assert packages <= copied
    assert ("ENTRYPOINT", '["ablate"]') in instructions("Dockerfile")


def test_the_mlflow_server_knows_its_options(compose: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        # MLflow's own type hints
        warnings.simplefilter("ignore")
        from mlflow.cli import cli

    command, *options = compose["services"]["mlflow"]["command"]
    known = {option for parameter in cli.commands[command].params for option in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= known
    assert "--serve-artifacts" in options


def test_the_mlflow_server_answers_to_its_name_only(compose: dict[str, Any]) -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    options = dict(o.partition("=")[::2] for o in compose["services"]["mlflow"]["command"])
    hosts = options["--allowed-hosts"].split(",")
    tracking = compose["services"]["runner"]["environment"]["MLFLOW_TRACKING_URI"]
    for host in (tracking.removeprefix("http://"), "localhost:5000", "127.0.0.1:8080"):
        assert is_allowed_host_header(hosts, host)
    assert not is_allowed_host_header(hosts, "rebound.example:5000")


def test_the_database_driver_is_the_one_that_is_installed(compose: dict[str, Any]) -> None:
    """SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3."""
    options = dict(o.partition("=")[::2] for o in compose["services"]["mlflow"]["command"])
    assert options["--backend-store-uri"].startswith("postgresql+psycopg2://")
    assert "psycopg2-binary" in (DOCKER / "mlflow.Dockerfile").read_text(encoding="utf-8")


def _compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            try:
                done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, timeout=60)
            except (OSError, subprocess.SubprocessError):
                continue
            if done.returncode == 0 and done.stdout.strip().lstrip("v").startswith(("2", "3", "4", "5")):
                return command
    return None


def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    command = _compose_command()
    if command is None:
        pytest.skip("Docker Compose 2 or later is not installed")
    arguments = [*command, "-f", str(DOCKER / "compose.yaml"), "--env-file", os.devnull]
    arguments += ["--profile", "gpu", "--profile", "cpu"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ABLATE_")}
    without = subprocess.run([*arguments, "config"], capture_output=True, text=True, env=clean, timeout=60)
    assert without.returncode != 0
    assert "set it in docker/.env" in without.stderr
    given = clean | {"ABLATE_DB_PASSWORD": "only-here"}
    listed = subprocess.run([*arguments, "config", "--services"], capture_output=True, text=True, env=given, timeout=60)
    assert listed.returncode == 0, listed.stderr
    assert sorted(listed.stdout.split()) == SERVICES

    both = [*command, "-f", str(DOCKER / "compose.yaml"), "-f", str(DOCKER / "cluster.yaml"), "--env-file", os.devnull]
    both += ["--profile", "gpu", "--profile", "cpu", "config", "--services"]
    refused = subprocess.run(both, capture_output=True, text=True, env=given, timeout=60)
    assert refused.returncode != 0, "the token is asked for"
    given |= {"ABLATE_RAY_TOKEN": "only-here"}
    listed = subprocess.run(both, capture_output=True, text=True, env=given, timeout=60)
    assert listed.returncode == 0, listed.stderr
    assert sorted(listed.stdout.split()) == sorted(SERVICES + OF_RAY)
