"""Runs in SPU's own environment: ECDH private set intersection of two processes, one JSON object on stdout.

Usage: spu_psi.py APPLICANTS STUDENTS
"""

import json
import multiprocessing
import socket
import sys
import tempfile
import time
from pathlib import Path

ANSWER_SECONDS = 600


def party(rank, path, output, ports, results):
    """One side; its CPU and wall seconds go into the queue."""
    import spu.libspu.link as link
    import spu.psi as psi

    description = link.Desc()
    description.recv_timeout_ms = ANSWER_SECONDS * 1000
    for name, port in zip(("company", "platform"), ports, strict=True):
        description.add_party(name, f"127.0.0.1:{port}")
    context = link.create_brpc(description, rank)
    protocol = psi.PsiProtocolConfig(
        protocol=psi.PsiProtocol.PROTOCOL_ECDH, receiver_rank=0, broadcast_result=False
    )
    protocol.ecdh_params = psi.EcdhParams(curve=psi.EllipticCurveType.CURVE_25519)
    config = psi.PsiExecuteConfig(
        protocol_conf=protocol,
        input_params=psi.InputParams(path=path, selected_keys=["id"], keys_unique=True),
        output_params=psi.OutputParams(path=output),
    )
    start, begun = time.process_time(), time.perf_counter()
    report = psi.psi_execute(config, context)
    results.put((rank, time.process_time() - start, time.perf_counter() - begun, report.intersection_count))
    context.stop_link()


def free_ports():
    """Two ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(applicants, students):
    """Half of the applicants are students."""
    sizes, steps = (applicants, students), (1, 2)
    with tempfile.TemporaryDirectory(prefix="noren-bench-") as directory:
        paths = [str(Path(directory) / name) for name in ("company.csv", "platform.csv")]
        for path, size, step in zip(paths, sizes, steps, strict=True):
            lines = (f"user{step * n:08d}@example.org\n" for n in range(size))
            Path(path).write_text("id\n" + "".join(lines), encoding="utf-8")
        context = multiprocessing.get_context("spawn")
        results, ports = context.Queue(), free_ports()
        parties = [
            context.Process(target=party, args=(rank, path, f"{path}.out", ports, results), daemon=True)
            for rank, path in enumerate(paths)
        ]
        for each in parties:
            each.start()
        done = {rank: rest for rank, *rest in (results.get(timeout=ANSWER_SECONDS) for _ in parties)}
    if done[0][2] != (applicants + 1) // 2:
        sys.exit("expected half of the applicants in common, got another number")
    cpu = sum(cost[0] for cost in done.values())
    wall = max(cost[1] for cost in done.values())
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "us_per_server_id": cpu / students * 1e6}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
