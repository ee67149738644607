import socket, ssl, threading, time
import pytest
from student_http import *
from noren_server.rights import student_api
def test_idle(students, monkeypatch):
    import uvicorn
    real = uvicorn.Config
    def plain(*a, **k):
        k.pop("ssl_keyfile"); k.pop("ssl_certfile"); return real(*a, **k)
    monkeypatch.setattr(uvicorn, "Config", plain)
    from pathlib import Path
    with student_api.run_student_api(students.services, host="127.0.0.1", port=0, private_key=b"", certificate=Path("x")) as port:
        def ask():
            r = httpx.get(f"http://127.0.0.1:{port}/v1/openapi.json", timeout=5); return r.status_code
        time.sleep(0.5)
        print("before", ask())
        idle=[socket.create_connection(("127.0.0.1",port)) for _ in range(64)]
        time.sleep(0.5)
        print("with 64 idle connections", ask())
        time.sleep(15)
        print("15 s later", ask())
        for s in idle: s.close()
        time.sleep(0.5)
        print("after", ask())
