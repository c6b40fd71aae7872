"""The container: its file holds together, and its steps give a server that answers."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pims.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "docker" / "backend.dockerfile"
IGNORED = DOCKERFILE.with_name("backend.dockerfile.dockerignore")
KNOWN = {"FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}
NOT_SETTINGS = {"PATH", "PYTHONUNBUFFERED", "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"}


@dataclass
class Stage:
    """What follows one FROM."""

    base: str
    name: str = ""
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [rest for other, rest in self.instructions if other == keyword]

    def copies(self) -> list[tuple[list[str], str]]:
        """Sources and destination of every COPY from the repository."""
        parsed = [shlex.split(rest) for rest in self.all("COPY")]
        return [(words[:-1], words[-1]) for words in parsed if not words[0].startswith("--from")]


def stages() -> list[Stage]:
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text("utf-8")).replace("\\\n", " ")
    found: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].instructions.append((keyword, " ".join(rest.split())))
    return found


def environment(stage: Stage) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in stage.all("ENV") for pair in shlex.split(rest))


def test_only_known_instructions_are_used_and_nothing_is_fetched_by_url() -> None:
    for stage in stages():
        assert {keyword for keyword, _ in stage.instructions} <= KNOWN
        assert stage.base == "python:3.11-slim"
        for _, rest in stage.instructions:
            assert "://" not in rest
            assert not re.search(r"\b(curl|wget|git)\b|index-url|trusted-host", rest)


def test_every_source_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    patterns = [line for line in IGNORED.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert patterns[0] == "*"
    sent = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = {source for stage in stages() for sources, _ in stage.copies() for source in sources}
    for source in copied:
        assert (REPOSITORY / source).exists(), source
    assert copied == sent
    for secret in (".git", ".venv", "data", "pims-config.env.local"):
        assert not any(fnmatch.fnmatch(secret, pattern) for pattern in sent)


def test_packages_are_pinned_by_hashes_and_never_built_here() -> None:
    installs = [run for stage in stages() for run in stage.all("RUN") if "pip install" in run]
    foreign, own = installs
    assert "--require-hashes" in foreign and "--only-binary :all:" in foreign
    assert foreign.endswith("-r requirements.txt")
    assert "--no-deps" in own and "--no-build-isolation" in own
    assert own.endswith(" . ./plugins/*/")


def test_the_server_runs_as_nobody_in_particular_and_keeps_its_data_in_a_volume() -> None:
    last = stages()[-1]
    keywords = [keyword for keyword, _ in last.instructions]
    assert last.all("USER") == ["pims"]
    assert "RUN" not in keywords[keywords.index("USER") :]
    [volume] = last.all("VOLUME")
    assert environment(last)["ROOT"].startswith(f"{volume}/")
    assert f"install -d -o pims -g pims {volume}" in last.all("RUN")[0]


def test_what_is_set_are_settings_and_who_may_ask_is_left_to_say() -> None:
    given = environment(stages()[-1])
    assert {name.lower() for name in set(given) - NOT_SETTINGS} <= set(Settings.model_fields)
    assert given["AUTH"] == "network"
    assert not {"AUTH_NETWORKS", "AUTH_SECRET"} & set(given)
    assert stages()[-1].all("EXPOSE") == [given["PORT"]]


def test_it_says_whether_it_is_well_and_serves_to_others() -> None:
    last = stages()[-1]
    [check] = last.all("HEALTHCHECK")
    script = json.loads(check.partition(" CMD ")[2])[1]
    assert (DOCKERFILE.parent / Path(script).name).is_file()
    assert json.loads(last.all("CMD")[0]) == ["pims", "serve", "--host", "0.0.0.0"]


def test_the_example_of_compose_names_what_exists() -> None:
    text = (DOCKERFILE.parent / "compose.yml").read_text("utf-8")
    assert "dockerfile: docker/backend.dockerfile" in text
    block = text.partition("    environment:\n")[2].partition("    volumes:\n")[0]
    names = re.findall(r"(?m)^      ([A-Z_]+):", block)
    assert names and {name.lower() for name in names} <= set(Settings.model_fields)


@pytest.mark.skipif(
    not os.environ.get("CI"), reason="takes minutes and downloads packages: runs where CI is set"
)
@pytest.mark.timeout(900)
def test_its_steps_give_a_server_that_answers(tmp_path: Path) -> None:
    build, last = stages()
    app, environment_of_python = tmp_path / "app", tmp_path / "opt"
    app.mkdir()
    for keyword, rest in build.instructions:
        if keyword == "COPY":
            *sources, destination = shlex.split(rest)
            for source in sources:
                _copy(REPOSITORY / source, app / destination)
        elif keyword == "RUN":
            command = rest.replace("/opt/pims", str(environment_of_python))
            command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
            subprocess.run(["sh", "-ec", command], cwd=app, check=True, capture_output=True, timeout=600)
    shutil.rmtree(app / "pims")  # what was installed is what runs
    _copy(REPOSITORY / "logging.yml", app)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environ = {
        **environment(last),
        "PATH": f"{environment_of_python}/bin:/usr/bin:/bin",
        "ROOT": str(tmp_path / "data"),
        "PORT": port,
        "LOG_CONFIG_FILE": str(app / "logging.yml"),
        "AUTH_NETWORKS": "127.0.0.0/8",
    }
    command = json.loads(last.all("CMD")[0])
    command[0] = str(environment_of_python / "bin" / command[0])
    server = subprocess.Popen(command, cwd=app, env=environ, stdout=subprocess.DEVNULL)
    try:
        check = [sys.executable, str(DOCKERFILE.with_name("healthcheck.py"))]
        deadline = time.monotonic() + 60
        while subprocess.run(check, env=environ, capture_output=True, check=False).returncode:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        server.terminate()
        assert server.wait(30) is not None


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(source, destination, ignore=ignored)
    else:
        shutil.copy(source, destination)
