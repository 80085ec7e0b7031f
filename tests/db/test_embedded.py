"""The embedded PostgreSQL under everything that can happen to a process. Needs no Django."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from approvals.db import embedded, lodging, processes
from approvals.db.embedded import EmbeddedPostgres
from approvals.db.lodging import EmbeddedPostgresError, place_for
from approvals.db.roles import prepare_roles
from tests.launch.waiting import open_temporary_folder, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
USER_OF_THE_SERVER = """
import sys
from pathlib import Path
from approvals.db.embedded import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
print("started", flush=True)
sys.stdin.read()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server another account")


@pytest.fixture
def home() -> Iterator[Path]:
    with open_temporary_folder() as folder:
        yield folder


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[], EmbeddedPostgres]]:
    started: list[EmbeddedPostgres] = []

    def start_at_home() -> EmbeddedPostgres:
        started.append(EmbeddedPostgres(home / "postgres").start())
        return started[-1]

    yield start_at_home
    for server in started:
        server.release()


@pytest.fixture(scope="module")
def shared_home() -> Iterator[Path]:
    with open_temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def shared(shared_home: Path) -> Iterator[EmbeddedPostgres]:
    """For tests that leave it running."""
    server = EmbeddedPostgres(shared_home / "postgres").start()
    yield server
    server.release()


class User:
    """Another process that uses the same server."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER_OF_THE_SERVER, str(root)],
            **{"cwd": CHECKOUT, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
            text=True,
        )

    def is_in(self) -> bool:
        assert self.process.stdout is not None
        return self.process.stdout.readline() == "started\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def leave(self) -> str:
        return str(self.process.communicate("")[1])


def write_down(server: EmbeddedPostgres, word: str) -> None:
    with psycopg.connect(server.superuser_url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])


def words(server: EmbeddedPostgres) -> list[str]:
    with psycopg.connect(server.superuser_url()) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


def pid_of(root: Path) -> int:
    return int((root / "data" / "postmaster.pid").read_text().split()[0])


def is_running(pid: int) -> bool:
    return processes.started_at(pid) is not None


def initdb_of(root: Path) -> int | None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            arguments = processes.arguments(int(entry.name))
            if arguments and arguments[0].endswith("initdb") and any(str(root) in each for each in arguments):
                return int(entry.name)
    return None


def test_the_first_start_makes_it_and_the_second_finds_its_data(start: Callable[[], EmbeddedPostgres]) -> None:
    server = start()
    write_down(server, "kept")
    pid = pid_of(server.root)
    server.release()
    assert not is_running(pid)
    assert words(start()) == ["kept"]


def test_it_knows_letters_beyond_ascii(shared: EmbeddedPostgres) -> None:
    with psycopg.connect(shared.superuser_url()) as connection:
        found = connection.execute("SELECT 'É' ILIKE 'é', upper('é'), current_setting('listen_addresses')").fetchone()
    assert found == (True, "É", "")


def test_nothing_of_ours_is_in_its_environment(
    start: Callable[[], EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "for the application only")
    monkeypatch.setenv("PGPORT", "6543")
    server = start()
    environment = Path(f"/proc/{pid_of(server.root)}/environ").read_text()
    assert "SECRET_KEY" not in environment
    assert "PGPORT" not in environment


def test_secrets_are_for_their_owner_only(shared_home: Path, shared: EmbeddedPostgres) -> None:
    prepare_roles(shared, shared_home)
    for file in (shared_home / "role_passwords.json", shared.root / "password", shared.root / "server.log"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in (shared.root / "data", shared.root / "sock"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_killed_server_is_revived_with_every_committed_row(start: Callable[[], EmbeddedPostgres]) -> None:
    server = start()
    write_down(server, "kept")
    assert not server.revive()
    os.kill(pid_of(server.root), signal.SIGKILL)
    wait_until(lambda: server.revive())
    assert words(server) == ["kept"]


def test_a_server_killed_under_a_busy_query_is_revived(start: Callable[[], EmbeddedPostgres]) -> None:
    server = start()
    busy = psycopg.connect(server.superuser_url())
    query = "SELECT count(*) FROM generate_series(1, 100000000000) WHERE random() < 0"
    busy.pgconn.send_query(query.encode())  # a backend that never looks whether its server lives
    os.kill(pid_of(server.root), signal.SIGKILL)
    wait_until(lambda: server.revive())
    assert server.accepts_connections()
    busy.close()


def test_a_killed_user_does_not_keep_the_server_running(home: Path, start: Callable[[], EmbeddedPostgres]) -> None:
    user = User(home / "postgres")
    assert user.is_in()
    user.kill()
    pid = pid_of(home / "postgres")
    assert is_running(pid)
    start().release()
    assert not is_running(pid)


def test_many_at_once_share_one_server_until_the_last_leaves(home: Path) -> None:
    users = [User(home / "postgres") for _ in range(4)]
    assert all(user.is_in() for user in users)
    pid = pid_of(home / "postgres")
    for user in users[1:]:
        assert user.leave() == ""
    assert is_running(pid)
    users[0].leave()
    assert not is_running(pid)


def test_a_start_killed_during_initdb_is_repaired(home: Path, start: Callable[[], EmbeddedPostgres]) -> None:
    user = User(home / "postgres")
    wait_until(lambda: any(home.glob("postgres/unfinished-*")) or None)
    user.kill()
    write_down(start(), "kept")
    assert list(home.glob("postgres/unfinished-*/data/PG_VERSION")) == []


def test_a_killed_initdb_is_a_sentence_and_repaired(home: Path, start: Callable[[], EmbeddedPostgres]) -> None:
    user = User(home / "postgres")
    os.kill(wait_until(lambda: initdb_of(home)), signal.SIGKILL)
    assert "initdb failed (it was killed); see" in user.leave()
    write_down(start(), "kept")


def test_stale_lock_files_are_not_believed(start: Callable[[], EmbeddedPostgres]) -> None:
    server = start()
    write_down(server, "kept")
    zombie = subprocess.Popen([sys.executable, "-c", "pass"])
    wait_until(lambda: not is_running(zombie.pid))  # and not waited for
    for nobody_stranger_zombie in (2**22 + 1, os.getpid(), zombie.pid):
        server.release()
        for lock in (server.data / "postmaster.pid", server.root / "sock" / ".s.PGSQL.5432.lock"):
            lock.write_text(f"{nobody_stranger_zombie}\n{server.data}\n1700000000\n5432\n{server.root / 'sock'}\n\n")
        assert words(server.start()) == ["kept"]
    zombie.wait()


def test_a_copied_home_leaves_the_server_of_its_original_alone(
    home: Path, start: Callable[[], EmbeddedPostgres]
) -> None:
    original = start()
    write_down(original, "kept")
    with open_temporary_folder() as elsewhere:
        subprocess.run(["cp", "-r", str(home / "postgres"), str(elsewhere)], check=False, stderr=subprocess.DEVNULL)
        copy = EmbeddedPostgres(elsewhere / "postgres").start()
        assert pid_of(copy.root) != pid_of(original.root)
        copy.release()
        assert words(original) == ["kept"]


def test_a_long_path_gets_a_short_private_socket(home: Path) -> None:
    server = EmbeddedPostgres(home / ("deep" * 30) / "postgres")
    for folder in (server.root.parent, server.root):
        folder.mkdir()
        folder.chmod(0o711)
    server.start()
    write_down(server, "reached")
    folder = server._socket_folder
    assert folder.parent == lodging.SHORT_FOLDER
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    server.release()
    folder.rmdir()


def test_a_socket_folder_made_by_somebody_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lodging, "LONGEST_SOCKET_PATH", 10)
    monkeypatch.setattr(lodging, "SHORT_FOLDER", home)
    root = home / "postgres"
    (home / f"gatehouse-{lodging._digest(root)}").symlink_to("/")
    with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else"):
        EmbeddedPostgres(root).start()


def test_the_roles_are_what_the_file_says(shared_home: Path, shared: EmbeddedPostgres) -> None:
    facts = (
        "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    found = []
    for url in prepare_roles(shared, shared_home).values():
        with psycopg.connect(url) as connection:
            found.append(connection.execute(facts).fetchone())
    assert found == [
        ("gatehouse_web", False, False, False, False),
        ("gatehouse_owner", False, False, True, False),
        ("gatehouse_worker", False, False, False, False),
        ("gatehouse_admin", False, True, False, False),
    ]


def test_the_owner_may_hand_on_functions_and_act_as_the_runtime_roles(
    shared_home: Path, shared: EmbeddedPostgres
) -> None:
    urls = prepare_roles(shared, shared_home)
    with psycopg.connect(urls["DATABASE_OWNER_URL"]) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO gatehouse_sweeper")
        connection.execute("CREATE FUNCTION sweep() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1")
        connection.execute("ALTER FUNCTION sweep() OWNER TO gatehouse_sweeper")
        for role in ("gatehouse_web", "gatehouse_worker"):
            connection.execute(f"SET LOCAL ROLE {role}")
            connection.execute("RESET ROLE")
        connection.rollback()


@pytest.mark.parametrize(
    "damage",
    [
        "DROP DATABASE gatehouse",
        "DROP DATABASE gatehouse; DROP ROLE gatehouse_admin; DROP ROLE gatehouse_sweeper",
        "ALTER ROLE gatehouse_web BYPASSRLS CREATEDB PASSWORD 'changed'",
        "REVOKE gatehouse_web, gatehouse_sweeper FROM gatehouse_owner; ALTER DATABASE gatehouse OWNER TO postgres",
    ],
)
def test_half_made_or_changed_roles_are_repaired(damage: str, shared_home: Path, shared: EmbeddedPostgres) -> None:
    first = prepare_roles(shared, shared_home)
    with psycopg.connect(shared.superuser_url(), autocommit=True) as connection:
        for statement in damage.split("; "):
            connection.execute(statement)
    assert prepare_roles(shared, shared_home) == first
    test_the_roles_are_what_the_file_says(shared_home, shared)
    test_the_owner_may_hand_on_functions_and_act_as_the_runtime_roles(shared_home, shared)


def test_lost_passwords_are_replaced(shared_home: Path, shared: EmbeddedPostgres) -> None:
    before = prepare_roles(shared, shared_home)
    (shared_home / "role_passwords.json").write_text('{"web": ')  # a file cut off
    after = prepare_roles(shared, shared_home)
    assert after != before
    psycopg.connect(after["DATABASE_URL"]).close()


def test_a_server_that_cannot_start_is_a_sentence(start: Callable[[], EmbeddedPostgres]) -> None:
    server = start()
    server.release()
    with (server.data / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = none\n")
    with pytest.raises(
        EmbeddedPostgresError, match=r"PostgreSQL does not start \(configuration .*\); see .*server.log"
    ):
        server.start()


@as_root
class TestAsRoot:
    @pytest.fixture
    def system(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
        folders = (home / "var" / "gatehouse", home / "tmp")
        for folder in (folders[0].parent, folders[1]):
            folder.mkdir()
            folder.chmod(0o755)
        folders[1].chmod(0o1777)
        monkeypatch.setattr(lodging, "SYSTEM_FOLDERS", folders)
        return folders

    @pytest.fixture
    def closed(self, home: Path) -> Path:
        folder = home / "closed"
        (folder / ".gatehouse").mkdir(parents=True)
        folder.chmod(0o700)
        return folder

    def test_a_folder_of_the_systems_serves_a_closed_home(self, closed: Path, system: tuple[Path, Path]) -> None:
        place = place_for(closed / ".gatehouse" / "postgres")
        assert place.parent == system[0]
        server = EmbeddedPostgres(place).start()
        write_down(server, "kept")
        server.release()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        closed.chmod(0o755)
        assert place_for(closed / ".gatehouse" / "postgres") == place  # its data stay where they are

    def test_programs_below_a_closed_folder_are_copied(
        self, closed: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = lodging._installed_package()
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, closed / part.name)
        monkeypatch.setattr(lodging, "_installed_package", lambda: closed / package.name)
        server = EmbeddedPostgres(home / "postgres").start()
        write_down(server, "kept")
        assert str(server.root) in processes.arguments(pid_of(server.root))[0]
        server.release()

    def test_the_second_folder_serves_when_the_first_is_read_only(
        self, closed: Path, system: tuple[Path, Path]
    ) -> None:
        system[0].write_text("a file where a folder cannot be made")
        assert place_for(closed / "postgres").parent == system[1]

    def test_a_system_folder_made_by_somebody_else_is_refused(self, closed: Path, system: tuple[Path, Path]) -> None:
        system[0].write_text("a file where a folder cannot be made")
        theirs = lodging._in(system[1], closed / "postgres")
        (theirs / "data").mkdir(parents=True)
        os.chown(theirs, 12345, 12345)
        with pytest.raises(EmbeddedPostgresError, match="somebody else's"):
            place_for(closed / "postgres")

    def test_root_serves_the_data_of_an_ordinary_user_as_that_user(
        self, home: Path, start: Callable[[], EmbeddedPostgres]
    ) -> None:
        server = start()
        write_down(server, "kept")
        server.release()
        for path in (server.data, *server.data.rglob("*"), server.root / "sock"):
            os.chown(path, 12345, 12345)
        assert words(start()) == ["kept"]
        assert Path(f"/proc/{pid_of(server.root)}").stat().st_uid == 12345

    def test_a_home_copied_by_root_is_given_back(self, start: Callable[[], EmbeddedPostgres]) -> None:
        server = start()
        write_down(server, "kept")
        server.release()
        for path in (server.data, *server.data.rglob("*")):
            os.chown(path, 0, 0)
        assert words(start()) == ["kept"]


def test_without_the_wheel_it_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lodging, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedPostgresError, match=r"install requirements/embedded\.txt"):
        EmbeddedPostgres(home / "postgres").start()


def test_a_full_disk_is_named() -> None:
    said = "FATAL:  could not extend file\nHINT:  Check free disk space.\nPANIC:  cannot abort transaction 1\n"
    assert embedded._reason(said) == "the disk is full"


def test_a_large_log_is_put_aside(start: Callable[[], EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()
    server.release()
    monkeypatch.setattr(embedded, "LARGEST_LOG", 1)
    start()
    assert (server.root / "server.log.1").exists()
