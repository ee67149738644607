"""placeholder"""
def read(platform): return ()
