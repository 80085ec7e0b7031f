"""requirements/bootstrap.py: what makes .venv before anything of ours can run."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.launch.waiting import wait_until

SOURCE = Path(__file__).resolve().parents[2] / "requirements" / "bootstrap.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    shutil.copy(SOURCE, tmp_path / "requirements")
    for name in ("base", "dev"):
        require(tmp_path, name, "first")
    return tmp_path


@pytest.fixture
def bootstrap(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", checkout / "requirements" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def installs(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, by stand-ins for venv and pip that take no time."""
    done: list[str] = []

    def make_venv(python: str, lock: int, progress: object) -> None:
        done.append("venv")
        shutil.rmtree(bootstrap.VENV, ignore_errors=True)
        os.makedirs(os.path.dirname(bootstrap.PYTHON))
        os.symlink(sys.executable, bootstrap.PYTHON)
        bootstrap.mark_unfinished()

    monkeypatch.setattr(bootstrap, "make_venv", make_venv)
    monkeypatch.setattr(bootstrap, "run_pip", lambda names, lock, progress: done.append(f"pip {' '.join(names)}"))
    return done


def require(checkout: Path, name: str, version: str) -> None:
    """A requirement that needs no network: a wheel of one file."""
    wheel = checkout / f"gatehouse_{name}_{version}-1-py3-none-any.whl"
    info = f"gatehouse_{name}_{version}-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"gatehouse_{name}.py", f"version = '{version}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: gatehouse_{name}_{version}\nVersion: 1\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    line = f"gatehouse_{name}_{version} @ {wheel.as_uri()} --hash=sha256:{digest}\n"
    (checkout / "requirements" / f"{name}.txt").write_text(line)


def run(checkout: Path, *names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "requirements/bootstrap.py", *names]
    return subprocess.run(command, cwd=checkout, check=False, capture_output=True, text=True)


def test_python_3_6_can_parse_it() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))


def test_an_old_python_without_a_newer_one_is_one_sentence(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        bootstrap.Problem, match=r"^Gatehouse needs Python 3\.11 or newer, and this is Python 3\.8: install"
    ):
        bootstrap.main(["base"], running=(3, 8))


def test_an_old_python_uses_a_newer_one_on_path(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3.13").write_text("#!/bin/sh\necho no such version >&2; exit 127\n")  # a shim of nothing
    (programs / "python3.13").chmod(0o755)
    newer = programs / "python3.12"
    newer.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert bootstrap.choose_python((3, 8)) == str(newer)


def test_a_python_without_venv_is_one_sentence(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "probe", lambda python: ((3, 11), False))
    with pytest.raises(
        bootstrap.Problem, match=r"has no venv module: install it \(.* apt-get install python3\.11-venv\)"
    ):
        bootstrap.choose_python((3, 11))


def test_the_second_start_does_nothing(bootstrap: ModuleType, installs: list[str]) -> None:
    bootstrap.main(["base", "dev"])
    assert installs == ["venv", "pip base dev"]
    bootstrap.main(["base", "dev"])
    bootstrap.main(["base"])
    assert installs == ["venv", "pip base dev"]


def test_a_changed_file_is_installed_into_what_is_there(
    bootstrap: ModuleType, installs: list[str], checkout: Path
) -> None:
    bootstrap.main(["base"])
    require(checkout, "base", "second")
    bootstrap.main(["base"])
    assert installs == ["venv", "pip base", "pip base"]


@pytest.mark.parametrize("damage", ["unfinished", "stamp cut off", "python gone", "moved", "another python", "foreign"])
def test_what_is_not_known_to_be_whole_is_made_again(
    damage: str, bootstrap: ModuleType, installs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.main(["base"])
    match damage:
        case "unfinished":
            bootstrap.mark_unfinished()
        case "stamp cut off":
            Path(bootstrap.STAMP).write_text('{"files"')
        case "python gone" | "another python":
            os.remove(bootstrap.PYTHON)
            os.symlink("/bin/sh" if damage == "another python" else "/nowhere/python", bootstrap.PYTHON)
        case "moved":
            monkeypatch.setattr(bootstrap, "made_for", lambda: ["/elsewhere/.venv", sys.executable])
        case "foreign":
            os.remove(bootstrap.STAMP)
    bootstrap.main(["base"])
    assert installs == ["venv", "pip base"] * 2


def test_an_install_that_dies_half_way_never_looks_finished(
    bootstrap: ModuleType, installs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    bootstrap.main(["base"])
    with monkeypatch.context() as patched:
        patched.setattr(bootstrap, "run_pip", dies)
        with pytest.raises(KeyboardInterrupt):
            bootstrap.main(["base", "dev"])
    assert not bootstrap.is_current(["base"])
    bootstrap.main(["base", "dev"])
    assert installs == ["venv", "pip base", "venv", "pip base dev"]


def test_only_one_installs_at_a_time(bootstrap: ModuleType, installs: list[str], checkout: Path) -> None:
    bootstrap.main(["base", "dev"])
    os.remove(bootstrap.STAMP)
    with (checkout / ".cache" / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            [sys.executable, "requirements/bootstrap.py", "base"],
            **{"cwd": checkout, "stderr": subprocess.PIPE, "text": True},
        )
        assert waiting.stderr is not None
        assert "Waiting for another installation" in waiting.stderr.readline()
        waiting.kill()
        waiting.communicate()


def test_an_unknown_set_is_named(checkout: Path) -> None:
    result = run(checkout, "base", "nonsense")
    assert result.returncode == 1
    assert result.stderr == f"There is no {checkout}/requirements/nonsense.txt.\n"


def test_a_cache_that_cannot_be_made_is_one_sentence(checkout: Path) -> None:
    (checkout / ".cache").write_text("a file")
    result = run(checkout, "base")
    assert (result.returncode, result.stderr) == (1, f"File exists: {checkout}/.cache\n")


def test_with_the_real_venv_and_pip(checkout: Path, bootstrap: ModuleType) -> None:
    def version(name: str) -> str:
        command = [bootstrap.PYTHON, "-c", f"import gatehouse_{name} as it; print(it.version)"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    dies_while_installing(checkout, bootstrap)
    result = run(checkout, "base")
    assert (result.returncode, version("base")) == (0, "first"), result.stderr
    assert run(checkout, "base").stderr == ""

    with (checkout / "requirements" / "dev.txt").open("a") as file:
        file.write("gatehouse_nowhere @ file:///nowhere.whl --hash=sha256:00\n")
    result = run(checkout, "base", "dev")
    assert result.returncode == 1
    assert result.stderr.startswith("Could not install the Python packages (")
    assert result.stderr.endswith(f"; the log is {checkout}/.cache/bootstrap.log.\n")
    assert run(checkout, "base").stderr == ""  # what was there is still good

    require(checkout, "dev", "first")
    assert run(checkout, "base", "dev").returncode == 0
    assert version("dev") == "first"


def dies_while_installing(checkout: Path, bootstrap: ModuleType) -> None:
    killed = subprocess.Popen(
        [sys.executable, "requirements/bootstrap.py", "base"],
        **{"cwd": checkout, "stderr": subprocess.DEVNULL, "start_new_session": True},
    )
    wait_until(lambda: os.path.exists(bootstrap.UNFINISHED) and os.path.exists(bootstrap.PYTHON))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not bootstrap.is_current(["base"])
