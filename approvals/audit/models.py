"""The record of what happened: append-only, each entry bound to the one before it. Knows a tenant only as an id."""

from __future__ import annotations

from django.db import models


class AuditEvent(models.Model):
    """One entry. `hash` is audit_mark(hash of the entry before, this entry); the function stands in migration 0002.

    `facts` hold ids, digests and words of ours; never a person's content, so that erasing it leaves the chain valid.
    """

    tenant_id = models.UUIDField()
    sequence = models.BigIntegerField(null=True)  # given at the commit, by a trigger
    at = models.DateTimeField()
    actor = models.CharField(max_length=16)  # person, agent, policy or system
    actor_id = models.UUIDField(null=True)
    action = models.CharField(max_length=64)  # "request.approve"
    subject_id = models.UUIDField()
    facts = models.JSONField()
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant_id", "sequence"], name="audit_sequence_has_no_fork")]
        indexes = [models.Index(fields=["tenant_id", "subject_id"], name="audit_of_a_subject")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"


class AuditHead(models.Model):
    """The newest entry's number and hash: the row that writers of one tenant queue for, so it is always locked last."""

    tenant_id = models.UUIDField(primary_key=True)
    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="")

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.sequence}"
