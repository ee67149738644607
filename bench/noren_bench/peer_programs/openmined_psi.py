"""Runs in openmined-psi's own environment: private set intersection, both sides, one JSON object on stdout.

Usage: openmined_psi.py APPLICANTS STUDENTS
"""

import json
import sys
import time

import private_set_intersection.python as psi

FALSE_POSITIVE_RATE = 1e-9


def main(applicants: int, students: int) -> None:
    """Half of the applicants are students. The cost is CPU of the whole process."""
    asked = [f"user{number:08d}@example.org" for number in range(applicants)]
    known = [f"user{2 * number:08d}@example.org" for number in range(students)]
    client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
    start, begun = time.process_time(), time.perf_counter()
    setup = server.CreateSetupMessage(FALSE_POSITIVE_RATE, applicants, known, psi.DataStructure.GCS)
    setup_cpu = time.process_time() - start
    response = server.ProcessRequest(client.CreateRequest(asked))
    found = client.GetIntersection(setup, response)
    cost = {"cpu_s": time.process_time() - start, "wall_s": time.perf_counter() - begun}
    if len(found) != (applicants + 1) // 2:
        sys.exit(f"expected {(applicants + 1) // 2} in common, got {len(found)}")
    print(json.dumps({**cost, "us_per_server_id": setup_cpu / students * 1e6}))


main(*map(int, sys.argv[1:]))
