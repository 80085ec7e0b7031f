"""Make .venv and install the hashed requirement files named on the command line; do nothing when that is done.

    python3 requirements/bootstrap.py base embedded [dev] [models]

Standard library only, and it must *parse* on Python 3.6, so that an old Python says one clear sentence.

Two small files in .venv tell how far it came. `unfinished` is there from before pip may touch anything until all is
well: whoever finds it there later (after `kill -9`, a power cut, a full disk) makes the whole .venv again, because pip
believes in half-written packages. `installed.json` holds the hash of each requirement file and the place and the Python
that the .venv was made for: when they still match, a start costs milliseconds.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
OLDEST = (3, 11)
NEWER_NAMES = ("python3.13", "python3.12", "python3.11")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
UNFINISHED = os.path.join(VENV, "unfinished")
STAMP = os.path.join(VENV, "installed.json")
CACHE = os.path.join(ROOT, ".cache")
LOG = os.path.join(CACHE, "bootstrap.log")
CLEAR_LINE = "\r\033[K"
PROBE = "import sys, json; print(json.dumps(sys.version_info[:2])); import venv, ensurepip"


class Problem(Exception):
    """Nothing more can be done; the message is one sentence for a person."""


def main(names, running=sys.version_info[:2]):
    if not is_current(names):
        os.makedirs(CACHE, exist_ok=True)
        with Progress() as progress, locked(progress) as lock:
            if not is_current(names):
                install(names, running, lock, progress)


@contextlib.contextmanager
def locked(progress):
    """One at a time: `make run` beside `make test`, or the pip of a run that was killed.

    pip is given the lock's descriptor, so the lock is held until it ends too. Otherwise it would go on writing into the
    .venv that we make anew.
    """
    with open(os.path.join(CACHE, "bootstrap.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("Waiting for another installation of the Python packages to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def is_current(names):
    stamp = trusted_stamp()
    return stamp is not None and all(stamp["files"].get(name) == digest(name) for name in names)


def made_for():
    """Its programs name their own path in their first line, and a distribution may put another Python under a link."""
    return [VENV, os.path.realpath(PYTHON)]


def digest(name):
    with open(requirement_file(name), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def requirement_file(name):
    return os.path.join(ROOT, "requirements", name + ".txt")


def trusted_stamp():
    """What the .venv was made for and holds; None when it must be made again."""
    if os.path.exists(UNFINISHED) or not os.path.exists(PYTHON):
        return None
    try:
        with open(STAMP) as file:
            stamp = json.load(file)
        return stamp if stamp["made for"] == made_for() else None
    except (OSError, ValueError, KeyError):
        return None


def install(names, running, lock, progress):
    stamp = trusted_stamp()
    if stamp is None:
        make_venv(choose_python(running), lock, progress)
        stamp = {"files": {}}
    mark_unfinished()
    run_pip(names, lock, progress)
    stamp["made for"] = made_for()
    stamp["files"].update((name, digest(name)) for name in names)
    write_whole(STAMP, json.dumps(stamp))
    os.remove(UNFINISHED)
    progress.say("Python packages are installed")


def choose_python(running):
    """The Python that runs this, if it is new enough and whole; otherwise a newer one on PATH."""
    lacking = None
    found = [sys.executable] if running >= OLDEST else []
    for python in found + [path for path in map(shutil.which, NEWER_NAMES) if path]:
        version, whole = probe(python)
        if version and version >= OLDEST:
            if whole:
                return python
            package = "python{}.{}-venv".format(*version)
            lacking = f"{python} has no venv module: install it (on Debian and Ubuntu: apt-get install {package})."
    raise Problem(
        lacking
        or "Gatehouse needs Python {}.{} or newer, and this is Python {}.{}: install a newer one, and name it if it is "
        "not python3 (make PYTHON=/path/to/python3.11 run).".format(*OLDEST, *running)
    )


def probe(python):
    """Its version, and whether it can make a virtual environment; a name on PATH may be a shim of nothing."""
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = subprocess.run([python, "-c", PROBE], stdout=subprocess.PIPE, **quiet)
    try:
        return tuple(json.loads(run.stdout.decode())), run.returncode == 0
    except ValueError:
        return None, False


def make_venv(python, lock, progress):
    progress.say(f"Making .venv with {python}")
    if os.path.lexists(VENV):
        remove_tree(VENV)
    os.makedirs(VENV)
    mark_unfinished()
    if logged([python, "-m", "venv", VENV], lock).wait():
        raise Problem(f"Could not make .venv ({reason_in_log()}); the log is {LOG}.")


def logged(command, lock):
    with open(LOG, "wb") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, pass_fds=[lock], preexec_fn=die_with_parent, **streams)


def die_with_parent():
    """Spares the next run the wait for a lock that the pip of a killed one still holds. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def remove_tree(path):
    if os.path.islink(path) or not os.path.isdir(path):
        os.remove(path)
    else:
        shutil.rmtree(path)


def mark_unfinished():
    with open(UNFINISHED, "w"):
        pass


def run_pip(names, lock, progress):
    command = [PYTHON, "-m", "pip", "install", "--require-hashes", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off"]
    for name in names:
        command += ["-r", requirement_file(name)]
    watch = PipWatch(wanted=count_requirements(names))
    pip = logged(command, lock)
    while pip.poll() is None:
        progress.show(watch.look())
        time.sleep(0.1)
    watch.look()
    if pip.returncode:
        if not watch.touched:
            os.remove(UNFINISHED)  # it failed before it installed anything: what was there is still good
        raise Problem(f"Could not install the Python packages ({reason_in_log()}); the log is {LOG}.")


def count_requirements(names):
    found = set()
    for name in names:
        with open(requirement_file(name)) as file:
            found.update(line.split(";")[0].split("\\")[0].strip() for line in file if "==" in line.split("--hash")[0])
    return len(found)


class PipWatch:
    """What pip is doing, from its log, and from the folder it fills: it installs without a word."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.read = 0
        self.collected = 0
        self.installing = []
        self.before = None
        self.doing = "starting pip"

    @property
    def touched(self):
        return bool(self.installing)

    def look(self):
        with open(LOG, "rb") as log:
            log.seek(self.read)
            # A line may be half-written: it is read again, whole, the next time.
            for line in log.read().splitlines(True):
                if line.endswith(b"\n"):
                    self.read += len(line)
                    self.note(line.decode("utf-8", "replace").strip())
        return self.installed() if self.installing else self.doing

    def note(self, line):
        words = line.split()
        if line.startswith("Collecting ") or line.startswith("Requirement already satisfied: "):
            self.collected += 1
            name = words[1] if words[0] == "Collecting" else words[3]
            self.doing = f"fetching {self.collected} of {max(self.wanted, self.collected)}: {name}"
        elif "Retrying" in line:
            self.doing = "waiting for the network"
        elif line.startswith("Installing collected packages: "):
            self.installing = line.split(": ", 1)[1].split(", ")
            self.before = installed_count()

    def installed(self):
        done = min(max(installed_count() - self.before, 0), len(self.installing) - 1)
        return f"installing {done + 1} of {len(self.installing)}: {self.installing[done]}"


def installed_count():
    library = os.path.join(VENV, "lib")
    return sum(
        name.endswith(".dist-info")
        for python in os.listdir(library)
        for name in os.listdir(os.path.join(library, python, "site-packages"))
    )


def reason_in_log():
    with open(LOG, "rb") as file:
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    full = shutil.disk_usage(CACHE).free < 1_000_000  # then not even the log says so
    if full or any("No space left on device" in line for line in lines):
        return "the disk is full"
    if any("NewConnectionError" in line or "Temporary failure in name resolution" in line for line in lines):
        return "the network cannot be reached"
    errors = [line[len("ERROR: ") :] for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no reason given"])[-1].rstrip(".")


def write_whole(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


class Progress:
    """One live line on a terminal; elsewhere a plain line for each thing worth saying."""

    def __init__(self):
        self.live = sys.stderr.isatty()
        self.began = time.time()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.live:
            sys.stderr.write(CLEAR_LINE)

    def say(self, text):
        sys.stderr.write(f"{CLEAR_LINE if self.live else ''}{text} ({time.time() - self.began:.0f} s)\n")

    def show(self, text):
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = f"Python packages: {text}, {time.time() - self.began:.0f} s"
            sys.stderr.write(CLEAR_LINE + line[:width])
            sys.stderr.flush()


def run(names):
    unknown = [name for name in names if not os.path.exists(requirement_file(name))]
    if unknown or not names:
        return f"There is no {requirement_file(unknown[0])}." if unknown else __doc__
    try:
        main(names)
    except Problem as problem:
        return str(problem)
    except OSError as error:  # a full disk, or somebody else's files
        return f"{error.strerror or error}: {error.filename or ROOT}"
    except KeyboardInterrupt:
        return "Interrupted; the next start repairs what is unfinished."
    return None


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
