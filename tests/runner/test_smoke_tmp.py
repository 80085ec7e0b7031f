from tests.runner.workbench import *
import time
def test_a(bench):
    t=time.time()
    for i in range(5):
        b = Bench(bench.loop)
        c = b.approved()
        g = b.enter(c)
        b.effect(g)
        b.settle(g)
        assert b.call().status == "done"
    print((time.time()-t)/5)
    assert isinstance(g, Grant)
    assert len(b.effects())==1
