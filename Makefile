# `make run` is all it takes; `make test` is what the continuous integration does.
#
#   PORT=8080 make run              another port; HOST, WORKERS and DEBUG likewise
#   DATABASE_URL=... make run       your own PostgreSQL instead of the embedded one (approvals/db/roles.sql)
#   PYTHON=python3.12 make run      another Python, for the first start

PYTHON ?= python3
OURS = .venv/bin/python
BOOTSTRAP = @$(PYTHON) requirements/bootstrap.py

.PHONY: run test lint fmt bench torture requirements develop

run:
	$(BOOTSTRAP) base $(if $(DATABASE_URL)$(DATABASE_URL_FILE),,embedded) $(if $(GATEHOUSE_MODEL),models) $(if $(CHANNEL_LAYER_URL),redis)
	@DEBUG="$${DEBUG-1}" exec $(OURS) -m approvals.launch

test: lint
	@$(OURS) tests/browser/install.py
	@$(OURS) -m pytest -n 3 --dist loadfile

lint: develop
	@$(OURS) -m ruff check
	@$(OURS) -m ruff format --check
	@SECRET_KEY=lint DATABASE_URL=postgresql://lint@/lint $(OURS) -m mypy  # its Django plugin reads the settings
	@$(OURS) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

fmt: develop
	@$(OURS) -m ruff check --fix
	@$(OURS) -m ruff format

# Numbers of this machine: how fast.
bench: develop
	@$(OURS) -m tests.bench

# Everything that is killed, raced and repeated: how sure. Takes long; `make test` holds a fair sample.
torture: develop
	@$(OURS) -m pytest -m torture

requirements:
	@requirements/compile.sh

develop:
	$(BOOTSTRAP) base embedded dev models
