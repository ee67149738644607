"""x"""
def test_a(finished):
    """x"""
    print(finished.heads())
    import time
    t=time.time(); print(finished.audit().word, time.time()-t)
    t=time.time(); print(finished.audit().word, time.time()-t)
def test_b(season):
    """x"""
    import time
    t=time.time(); season.train(); print(time.time()-t)
    t=time.time(); v=season.audit(); print(v.word, v.findings, time.time()-t)
    print(season.heads(), season.exchange.refusals)
