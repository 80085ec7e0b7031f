"""`python -m approvals.launch`: PostgreSQL, migrations, web and workers in one terminal."""

from __future__ import annotations

import os
import sys

from approvals.db.lodging import EmbeddedPostgresError
from approvals.launch.console import Console
from approvals.launch.launcher import Launcher
from approvals.launch.options import Commands, LaunchProblem, Options


def launch(commands: Commands | None = None) -> int:
    """Run until stopped; the exit status. `commands` replaces Gatehouse's own processes in the tests."""
    console = Console()
    try:
        options = Options.from_environment(os.environ)
        Launcher(options, commands or Commands.of_gatehouse(options), console).run()
    except (LaunchProblem, EmbeddedPostgresError) as problem:
        console.complain(str(problem))
        return 1
    except OSError as error:  # a full disk, a folder that is not ours: a sentence, not a traceback
        console.complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(launch())
