.PHONY: help demo test check format protos
help:     ## what the targets do
	@grep -E '^[a-z]+: +##' Makefile | sed 's/: *## */\t/'
demo:     ## run one season (scripts/demo)
	scripts/demo
test:     ## everything CI runs (scripts/test)
	scripts/test
check:    ## fast checks before a push: lint, types, import rules
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
format:   ## format and sort imports
	.venv/bin/ruff check --fix . ; .venv/bin/ruff format .
protos:   ## regenerate the stubs from protos/
	scripts/gen_protos
