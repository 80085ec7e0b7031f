from tests.runner.test_state_machine import *
def test_dbg(machine, monkeypatch):
    monkeypatch.setattr(ledgers, "RERUN_FREELY", set(Rerun))
    d = machine()
    d.between_approval_and_claim("crash", "rosa", 1)
    print(d.bench.call().status, d.bench.effects(), d.bench.rows("select action, facts from audit_auditevent where tenant_id=%s order by sequence", d.bench.tenant.pk))
    d.nothing_is_violated()
