"""What every party must agree on: formats, cryptography, privacy accounting, protocol machines."""

__version__ = "0.1.0"
