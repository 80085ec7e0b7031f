"""The launcher: starting, refusing with one sentence, surviving deaths, stopping. With stand-ins for web and worker."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psycopg
import pytest

from approvals.db import processes
from approvals.launch.database import without_secrets
from approvals.launch.launcher import error_in
from approvals.launch.options import CHECKOUT, Commands, LaunchProblem, Options
from tests.launch.waiting import open_temporary_folder, wait_until

RUNS = "Gatehouse runs at"
OURS = ("DATABASE_", "GATEHOUSE_", "SECRET_KEY", "DEBUG", "HOST", "PORT", "WORKERS")  # as the session may have set them


class Gatehouse:
    """The launcher as a process of its own, and what it said."""

    def __init__(self, home: Path, port: int, *replaced: str, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.home, self.port = home, port
        self._output = TemporaryFile("w+b")  # noqa: SIM115  # closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.gatehouse_stub", *replaced],
            cwd=CHECKOUT,
            env={**inherited, "GATEHOUSE_HOME": str(home), "PORT": str(port), **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def said(self) -> str:
        self._output.seek(0)
        return self._output.read().decode()

    def wait_for(self, pattern: str, times: int = 1) -> list[Any]:
        def found() -> list[Any] | None:
            matches = re.findall(pattern, self.said)
            if len(matches) < times:
                assert self.process.poll() is None, self.said
                return None
            return matches

        return wait_until(found)

    def pids(self, word: str, times: int = 1) -> list[int]:
        """Of web ("listening") or worker ("working"), in the order of their births."""
        return [int(pid) for pid in self.wait_for(rf"\| {word} (\d+)", times)]

    def postgres_pid(self) -> int:
        return int((self.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def url(self, name: str) -> str:
        script = f'. "{self.home}/urls.env"; printf %s "${name}"'
        return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)

    def outcome(self) -> tuple[int, str]:
        status = self.process.wait(60)
        assert "Traceback" not in self.said
        return status, self.said

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)
        self._output.close()


@pytest.fixture
def home() -> Iterator[Path]:
    with open_temporary_folder() as folder:
        yield folder / "home"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running() -> Iterator[Gatehouse]:
    """One for all tests that leave it as it is."""
    with open_temporary_folder() as folder:
        gatehouse = Gatehouse(folder / "home", free_port(), DEBUG="1")
        gatehouse.wait_for(RUNS)
        yield gatehouse
        gatehouse.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


@pytest.fixture
def start(home: Path, port: int) -> Iterator[Callable[..., Gatehouse]]:
    started: list[Gatehouse] = []

    def start_one(*replaced: str, **environment: str) -> Gatehouse:
        started.append(Gatehouse(home, port, *replaced, **environment))
        return started[-1]

    yield start_one
    for each in reversed(started):
        each.close()


def is_running(pid: int) -> bool:
    return processes.started_at(pid) is not None


def test_it_brings_up_all_and_says_where(running: Gatehouse) -> None:
    assert f"Gatehouse runs at http://127.0.0.1:{running.port}/" in running.said
    assert "reviewer@acme.example" in running.said
    assert "gatehouse-demo" in running.said


def test_without_debug_there_is_no_demo(start: Callable[..., Gatehouse]) -> None:
    gatehouse = start()
    gatehouse.wait_for(RUNS)
    assert "demo" not in gatehouse.said


def test_the_urls_can_be_sourced_while_it_runs(running: Gatehouse) -> None:
    assert stat.S_IMODE((running.home / "urls.env").stat().st_mode) == 0o600
    for name, role in (("DATABASE_URL", "gatehouse_web"), ("DATABASE_OWNER_URL", "gatehouse_owner")):
        with psycopg.connect(running.url(name)) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
    password = running.url("DATABASE_URL").split(":")[2].partition("@")[0]
    assert password not in running.said


def test_each_process_is_told_only_what_it_needs(running: Gatehouse) -> None:
    assert running.wait_for(r"listening \d+ (.*)") == ["DATABASE_ADMIN_URL DATABASE_URL"]
    assert running.wait_for(r"working \d+ (.*)") == ["DATABASE_URL DATABASE_WORKER_URL"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_everything(how: signal.Signals, start: Callable[..., Gatehouse]) -> None:
    gatehouse = start()
    pids = [*gatehouse.pids("listening"), *gatehouse.pids("working")]
    gatehouse.wait_for(RUNS)
    pids.append(gatehouse.postgres_pid())
    assert gatehouse.stop(how) == 0
    assert not [pid for pid in pids if is_running(pid)]
    assert not (gatehouse.home / "urls.env").exists()
    assert gatehouse.said.endswith("Stopping.\nStopped.\n")


def test_it_stops_while_it_starts(start: Callable[..., Gatehouse]) -> None:
    gatehouse = start("web=failing")
    gatehouse.wait_for("PostgreSQL runs")
    pid = gatehouse.postgres_pid()
    gatehouse.stop()
    assert not is_running(pid)


def test_the_next_start_keeps_data_and_secrets(start: Callable[..., Gatehouse], home: Path) -> None:
    first = start()
    first.wait_for(RUNS)
    with psycopg.connect(first.url("DATABASE_OWNER_URL")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    secret = (home / "secret_key").read_text()
    assert stat.S_IMODE((home / "secret_key").stat().st_mode) == 0o600
    first.stop()
    second = start()
    second.wait_for(RUNS)
    with psycopg.connect(second.url("DATABASE_OWNER_URL")) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    assert (home / "secret_key").read_text() == secret


def test_a_killed_worker_is_replaced(start: Callable[..., Gatehouse]) -> None:
    gatehouse = start(WORKERS="2")
    gatehouse.wait_for(RUNS)
    first, _ = gatehouse.pids("working", 2)
    os.kill(first, signal.SIGKILL)
    gatehouse.wait_for(r"worker \d was ended by SIGKILL; starting it again")
    assert is_running(gatehouse.pids("working", 3)[-1])


def test_a_killed_web_process_is_replaced(start: Callable[..., Gatehouse]) -> None:
    gatehouse = start()
    gatehouse.wait_for(RUNS)
    os.kill(gatehouse.pids("listening")[0], signal.SIGKILL)
    assert is_running(gatehouse.pids("listening", 2)[-1])


def test_a_killed_postgres_is_started_again(start: Callable[..., Gatehouse]) -> None:
    gatehouse = start()
    gatehouse.wait_for(RUNS)
    pid = gatehouse.postgres_pid()
    os.kill(pid, signal.SIGKILL)
    gatehouse.wait_for("PostgreSQL had ended; it runs again")
    assert gatehouse.postgres_pid() != pid
    psycopg.connect(gatehouse.url("DATABASE_URL")).close()


def test_a_killed_launcher_takes_its_children_along_and_the_next_one_starts(start: Callable[..., Gatehouse]) -> None:
    killed = start()
    children = [*killed.pids("listening"), *killed.pids("working")]
    killed.wait_for(RUNS)
    postgres = killed.postgres_pid()
    killed.process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in children))
    again = start()
    again.wait_for(RUNS)
    again.stop()
    assert not is_running(postgres)  # the last one to leave turned it off


def test_leftovers_of_a_killed_launcher_are_ended_and_strangers_are_not(
    start: Callable[..., Gatehouse], home: Path
) -> None:
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    leftover, stranger = (sleeper.pid for sleeper in sleepers)
    born = {leftover: processes.started_at(leftover), stranger: (processes.started_at(stranger) or 0) - 1}
    home.mkdir()
    home.chmod(0o711)
    (home / "children.json").write_text(json.dumps({"boot": processes.boot_id(), "started": born}))
    gatehouse = start()
    gatehouse.wait_for(f"Ended what a killed launcher had left running: process {leftover}\\.")
    assert not is_running(leftover)
    assert is_running(stranger)
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()


def test_a_second_launcher_of_the_same_home_is_refused(running: Gatehouse) -> None:
    second = Gatehouse(running.home, free_port())
    status, said = second.outcome()
    assert status == 1
    assert said.startswith("Gatehouse runs already from ")
    assert f"(process {running.process.pid})" in said
    second.close()


def test_a_taken_port_is_one_sentence(start: Callable[..., Gatehouse], port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        status, said = start().outcome()
    sentence = f"Port {port} of 127.0.0.1 is taken by another program; choose another one, as in PORT=8080.\n"
    assert (status, said) == (1, sentence)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "postgresql://web:s3cr3t%40word@127.0.0.1:1/gatehouse",
            "cannot use the database at 127.0.0.1:1 (Connection refused",
        ),
        (
            "postgresql://web:s3cr3t%40word@/gatehouse?host=%2Fnowhere&conn_max_age=0",
            "cannot use the database at /nowhere",
        ),
        ("postgresql://web:s3cr3t@word/gate@127.0.0.1/gatehouse", "cannot use the database at"),
        ("postgresql://web:s3cr3t#word@127.0.0.1/gatehouse", "is not the address of a PostgreSQL database"),
        ("mysql://web:s3cr3t@127.0.0.1/gatehouse", "is not the address of a PostgreSQL database"),
        ("s3cr3t", "is not the address of a PostgreSQL database"),
    ],
)
def test_an_unusable_database_is_one_sentence_without_the_password(
    url: str, sentence: str, start: Callable[..., Gatehouse]
) -> None:
    status, said = start(DATABASE_URL=url).outcome()
    assert status == 1
    assert said.startswith("DATABASE_URL")
    assert sentence in said
    assert "s3cr3t" not in said
    assert said.count("\n") == 1


def test_a_brought_database_is_used_and_nothing_else_started(
    running: Gatehouse, start: Callable[..., Gatehouse]
) -> None:
    gatehouse = start(DATABASE_URL=running.url("DATABASE_URL"))
    gatehouse.wait_for(RUNS)
    assert not (gatehouse.home / "postgres").exists()
    assert not (gatehouse.home / "urls.env").exists()
    gatehouse.stop()
    assert is_running(running.postgres_pid())


def test_failing_migrations_are_one_sentence_with_the_log(start: Callable[..., Gatehouse], home: Path) -> None:
    gatehouse = start("migrate=failing")
    status, said = gatehouse.outcome()
    assert status == 1
    assert (
        "Bringing the tables up to date failed: ConnectionError: refused for postgresql://gatehouse_owner:***@" in said
    )
    assert f"(the log is {home}/logs/migrate.log)." in said
    assert not (home / "postgres" / "data" / "postmaster.pid").exists()


def test_a_web_process_that_never_starts_ends_it(start: Callable[..., Gatehouse]) -> None:
    gatehouse = start("web=failing")
    assert gatehouse.process.wait(60) == 1
    assert "The web process does not start: KeyError: 'DATABASE_OWNER_URL'." in gatehouse.said


def test_a_home_that_cannot_be_made_is_one_sentence(start: Callable[..., Gatehouse], home: Path) -> None:
    home.write_text("a file")
    status, said = start().outcome()
    assert (status, said) == (1, f"Not a directory: {home}/launch.lock.\n")


@pytest.mark.parametrize("name", ["PORT", "WORKERS"])
@pytest.mark.parametrize("value", ["0", "many", "-1", "70000"])
def test_numbers_are_checked(name: str, value: str) -> None:
    with pytest.raises(LaunchProblem, match=f"{name} must be a number from 1 to "):
        Options.from_environment({name: value})


def test_secrets_may_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://web@/gatehouse\n")
    options = Options.from_environment({"DATABASE_URL_FILE": str(tmp_path / "url")})
    assert options.urls() == {"DATABASE_URL": "postgresql://web@/gatehouse"}
    told = options.environment_of("worker", {"DATABASE_OWNER_URL": "no", "DATABASE_WORKER_URL": "yes"})
    assert "DATABASE_OWNER_URL" not in told
    assert told["GATEHOUSE_PROCESS"] == "worker"


def test_an_address_for_everyone_is_shown_as_one_for_this_machine() -> None:
    assert Options.from_environment({"HOST": "0.0.0.0", "PORT": "80"}).address == "http://127.0.0.1:80"
    assert Options.from_environment({"HOST": "::", "PORT": "80"}).address == "http://[::1]:80"


def test_gatehouses_own_commands_name_its_programs() -> None:
    commands = Commands.of_gatehouse(Options.from_environment({"HOST": "10.0.0.1", "PORT": "80"}))
    assert commands.worker[1:] == ("manage.py", "worker")
    assert "10.0.0.1" in commands.web
    assert "approvals.asgi:application" in commands.web


def test_the_telling_line_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback\n  File x\npsycopg.errors.Denied: no right to it\nLINE 1: CREATE\n   ^\nHINT:  ask\n")
    assert error_in(log) == "psycopg.errors.Denied: no right to it"


def test_passwords_are_starred_in_both_spellings() -> None:
    assert without_secrets("a%40b or a@b", ["postgresql://web:a%40b@/x"]) == "*** or ***"
