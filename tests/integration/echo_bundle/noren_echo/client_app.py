"""Shows by a file that it was executed, which must never happen at a company."""

import pathlib

pathlib.Path(__file__).with_name("executed").touch()
app = None
