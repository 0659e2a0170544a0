# One command opens the course: make lab. One command tests it: make test.
# Everything is installed into .venv, once; change pyproject.toml or constraints.txt and it is done again.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
NB     ?=
BENCH  ?=
# JupyterLab drops uploads of more than 10 MiB without a word; photographs can be larger.
LAB_OPTIONS ?= --ServerApp.tornado_settings='{"websocket_max_message_size": 100000000}'

REPO   ?=
REF    ?= main
SUBMITTED ?=

# Parallel, the longest files first; the tests of a file or notebook stay together.
# Threads that wait sleep: by default OpenMP's spin, which takes the cores from the other workers.
PYTEST := env -u SRLIB_STRICT SRLIB_PROFILE=ci OMP_WAIT_POLICY=passive $(BIN)/python -m pytest \
	-n auto --dist loadfile --no-loadscope-reorder --durations 20
# Learner notebooks run in Chromium; where there is none, with nbval.
CHROMIUM := $(shell for p in chromium chromium-browser google-chrome google-chrome-stable; do \
	command -v $$p || true; done)
NBVAL  := $(if $(CHROMIUM),,--nbval-lax)
MARKS  ?= not (notebooks or browser or network or processes or slow)

.PHONY: help lab test test-fast lint notebooks bench publish update assignment grade site clean

help:
	@echo "make lab        install what is needed, open JupyterLab with the course"
	@echo "make test       install what is needed, run all tests"
	@echo "make test-fast  those that run no notebook, no browser, no other process"
	@echo "make lint       ruff and codespell"
	@echo "make notebooks  rebuild and execute the notebooks (NB='02 03' for some)"
	@echo "make bench      measure what the README states about speed (BENCH=class_minute for one)"
	@echo "make site       build the website into build/site"
	@echo "make update     get the course's newest version; notebooks that you changed are kept"
	@echo "make publish    write a fork's name into badges and setup cells (REPO=owner/name REF=main)"
	@echo "make assignment make the version to hand out for nbgrader (NB=05)"
	@echo "make grade      grade what was handed in (NB=05; SUBMITTED=folder)"
	@echo "make clean      remove the environment and what was built"

lab: $(VENV)/.course
	$(BIN)/jupyter lab $(LAB_OPTIONS) notebooks/00_welcome.ipynb

test: $(VENV)/.dev lint
	$(BIN)/python tools/build_notebooks.py --check
	$(PYTEST) $(NBVAL)

test-fast: $(VENV)/.dev
	$(PYTEST) -m "$(MARKS)"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

notebooks: $(VENV)/.dev
	$(BIN)/python tools/build_notebooks.py $(NB) --execute

bench: $(VENV)/.dev
	$(BIN)/python tools/bench.py $(BENCH)

publish: $(VENV)/.dev
	$(BIN)/python tools/publish.py "$(REPO)" --ref "$(REF)"

update:
	@"$(or $(PYTHON),python3)" tools/update.py

assignment: $(VENV)/.dev
	$(BIN)/python tools/assignment.py make $(NB)

grade: $(VENV)/.dev
	$(BIN)/python tools/assignment.py grade $(NB) $(if $(SUBMITTED),--submitted "$(SUBMITTED)")

site: $(VENV)/.dev
	$(BIN)/python tools/build_site.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

# uv where it is present, because it is faster; else venv and pip.
$(VENV)/pyvenv.cfg:
	@if command -v uv >/dev/null; then uv venv --quiet --python '>=3.11' $(VENV); \
	elif [ -n "$(PYTHON)" ]; then "$(PYTHON)" -m venv $(VENV); \
	else echo "The course needs Python 3.11 or newer; none was found. See README.md."; exit 1; fi

$(VENV)/.course $(VENV)/.dev: $(VENV)/.%: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@extras=$$(if [ "$*" = dev ]; then echo course,dev; else echo course; fi); \
	if command -v uv >/dev/null; then \
		uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[$$extras]"; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$$extras]"; \
	fi
	@touch $@
