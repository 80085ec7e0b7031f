"""What the environment asks for, and the commands that this comes to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
URL_NAMES = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_WORKER_URL", "DATABASE_ADMIN_URL")
# What each process need not know, it is not told. The owner grants rights to all roles, so it knows all of them.
WITHHELD = {
    "web": ("DATABASE_OWNER_URL", "DATABASE_WORKER_URL"),
    "worker": ("DATABASE_OWNER_URL", "DATABASE_ADMIN_URL"),
    "owner": (),
}


class LaunchProblem(Exception):
    """Gatehouse cannot start; the message is one sentence for the operator, without secrets."""


@dataclass(frozen=True, kw_only=True)
class Options:
    home: Path
    host: str
    port: int
    debug: bool
    workers: int
    environment: Mapping[str, str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Options:
        return cls(
            home=Path(environment.get("GATEHOUSE_HOME") or CHECKOUT / ".gatehouse").absolute(),
            host=environment.get("HOST") or "127.0.0.1",
            port=_number(environment, "PORT", default=8000, largest=65535),
            debug=environment.get("DEBUG", "").lower() in ("1", "true", "yes", "on", "ok", "y"),
            workers=_number(environment, "WORKERS", default=1, largest=64),
            environment=environment,
        )

    @property
    def address(self) -> str:
        """Where a browser on this machine finds it, also when it listens everywhere."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # it is only read
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def value(self, name: str) -> str | None:
        """NAME, or the contents of the file that NAME_FILE names, as the settings read it."""
        if self.environment.get(name):
            return self.environment[name]
        file = self.environment.get(f"{name}_FILE")
        return Path(file).read_text().strip() if file else None

    def urls(self) -> dict[str, str]:
        return {name: value for name in URL_NAMES if (value := self.value(name))}

    def environment_of(self, process: str, additions: Mapping[str, str]) -> dict[str, str]:
        told = {
            **self.environment,
            **additions,
            **{"GATEHOUSE_PROCESS": process, "GATEHOUSE_HOME": str(self.home), "PYTHONUNBUFFERED": "1"},
        }
        withheld = {*WITHHELD[process], *(f"{name}_FILE" for name in WITHHELD[process])}
        return {name: value for name, value in told.items() if name not in withheld}


@dataclass(frozen=True, kw_only=True)
class Commands:
    migrate: tuple[str, ...]
    seed: tuple[str, ...]
    static: tuple[str, ...]
    web: tuple[str, ...]
    worker: tuple[str, ...]

    @classmethod
    def of_gatehouse(cls, options: Options) -> Commands:
        manage = (sys.executable, "manage.py")
        return cls(
            migrate=(*manage, "migrate", "--noinput"),
            seed=(*manage, "seed_demo"),
            static=(*manage, "collectstatic", "--noinput"),
            web=(
                *(sys.executable, "-m", "uvicorn", "approvals.asgi:application"),
                *("--host", options.host, "--port", str(options.port), "--ws", "websockets-sansio"),
                *("--timeout-graceful-shutdown", "5", "--no-access-log"),
            ),
            worker=(*manage, "worker"),
        )


def _number(environment: Mapping[str, str], name: str, *, default: int, largest: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise LaunchProblem(f"{name} must be a number from 1 to {largest}, not {text!r}.")
    return int(text)
