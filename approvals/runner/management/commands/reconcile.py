from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from approvals.runner.reconciling import reconcile
from approvals.tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Compare ledger, requests and paused checkpoints both ways; say what disagrees, and with --mend put it right."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--mend", action="store_true", help="put right what a transition can put right")
        parser.add_argument("--tenant", help="only this tenant, by its slug")

    def handle(self, *args: Any, **options: Any) -> None:
        tenants = Tenant.objects.filter(slug=options["tenant"]) if options["tenant"] else Tenant.objects.all()
        total = 0
        for tenant in tenants:
            for finding in reconcile(tenant, mend=options["mend"]):
                total += 1
                done = (
                    "a person has to look"
                    if finding.mend is None
                    else "mended"
                    if options["mend"]
                    else "--mend mends it"
                )
                self.stdout.write(f"{tenant.slug}: {finding.subject} {finding.what} ({done})")
        self.stdout.write(f"{total} disagreements." if total else "Ledger, requests and checkpoints agree.")
