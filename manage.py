#!/usr/bin/env python
import os
import sys

WORKERS = {"worker", "reconcile"}
OWNERS = {"migrate", "makemigrations", "sqlmigrate", "seed_demo", "flush", "dbshell", "createcachetable"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "approvals.settings")
    if len(sys.argv) > 1:
        # Which database role this process is: the owner changes tables, the others never can.
        role = "owner" if sys.argv[1] in OWNERS else "worker" if sys.argv[1] in WORKERS else "web"
        os.environ.setdefault("GATEHOUSE_PROCESS", role)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
