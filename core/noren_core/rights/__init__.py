"""Rules of consent, coverage, gate and rights: pure functions and state machines that every party shares."""
