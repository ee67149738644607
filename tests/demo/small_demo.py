"""`python -m noren_demo`, its arguments included, on three companies of a few dozen applicants."""

from __future__ import annotations

import sys

from noren_demo import __main__, generator

if __name__ == "__main__":
    generator.COMPANIES = {"akane": 40, "benten": 50, "chidori": 60}
    sys.exit(__main__.main())
