"""`python -m noren_bench`, which is what scripts/bench runs."""

import sys

from noren_bench.cli import main

sys.exit(main())
