"""The pages of one company, on its own machine: each calls what the commands call."""
