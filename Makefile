# One command opens the course: make lab. One command tests it: make test.
# Everything is installed into .venv, once; change pyproject.toml or constraints.txt and it is done again.

# What is said on the command line or in the environment stays as it was written: make expands none
# of it, and recipes read it from the environment, where the shell does not either.
GIVEN := PYTHON TORCH NB BENCH LAB_OPTIONS REPO REF SUBMITTED MARKS
$(foreach name,$(GIVEN),$(if $(filter command environment,$(firstword $(origin $(name)))),\
	$(eval override $(name) := $$(value $(name)))))

VENV   := .venv
BIN    := $(VENV)/bin
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif
# cpu: torch without CUDA, as make lab TORCH=cpu. An environment keeps what it was made with.
TORCH  ?= $(if $(wildcard $(VENV)/.torch-cpu),cpu)
ifneq ($(strip $(TORCH)),$(filter cpu,$(TORCH)))
$(error TORCH is cpu or nothing, got $(TORCH))
endif
REF    ?= main
# JupyterLab drops uploads of more than 10 MiB without a word; photographs can be larger.
UPLOADS := --ServerApp.tornado_settings='{"websocket_max_message_size": 100000000}'

# Parallel, the longest files first; the tests of a file or notebook stay together.
# Threads that wait sleep: by default OpenMP's spin, which takes the cores from the other workers.
PYTEST := env -u SRLIB_STRICT SRLIB_PROFILE=ci OMP_WAIT_POLICY=passive $(BIN)/python -m pytest \
	-n auto --dist loadfile --no-loadscope-reorder --durations 20
# Learner notebooks run in Chromium; where there is none, with nbval.
CHROMIUM := $(shell for p in chromium chromium-browser google-chrome google-chrome-stable; do \
	command -v $$p || true; done)
NBVAL  := $(if $(CHROMIUM),,--nbval-lax)
MARKS  ?= not (notebooks or browser or network or processes or slow)
export $(GIVEN)  # after the defaults: an exported name counts as defined

.PHONY: help lab test test-fast lint notebooks experiments bench publish update assignment grade site clean

help:
	@echo "make lab        install what is needed, open JupyterLab with the course"
	@echo "                (TORCH=cpu, in a new environment: torch without CUDA, 1.8 GB instead of 6.7)"
	@echo "make test       install what is needed, run all tests"
	@echo "make test-fast  those that run no notebook, no browser, no other process"
	@echo "make lint       ruff and codespell"
	@echo "make notebooks  rebuild and execute the notebooks (NB='02 03' for some)"
	@echo "make experiments  train for hours what a notebook's conclusions rest on (NB=04)"
	@echo "make bench      measure what docs/results.md says about speed (BENCH=class_minute for one)"
	@echo "make site       build the website into build/site"
	@echo "make update     get the course's newest version; notebooks that you changed are kept"
	@echo "make publish    write a fork's name into badges, setup cells, README (REPO=owner/name REF=main)"
	@echo "make assignment make the version to hand out for nbgrader (NB=05)"
	@echo "make grade      grade what was handed in (NB=05; SUBMITTED=folder)"
	@echo "make clean      remove the environment and what was built"

lab: $(VENV)/.course
	$(BIN)/jupyter lab $(UPLOADS) --ServerApp.root_dir=. $$LAB_OPTIONS notebooks/00_welcome.ipynb

test: $(VENV)/.dev lint
	$(BIN)/python tools/build_notebooks.py --check
	$(PYTEST) $(NBVAL)

test-fast: $(VENV)/.dev
	$(PYTEST) -m "$$MARKS"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

notebooks: $(VENV)/.dev
	$(BIN)/python tools/build_notebooks.py $$NB --execute

experiments: $(VENV)/.dev
	$(BIN)/python tools/experiments.py $$NB

bench: $(VENV)/.dev
	$(BIN)/python tools/bench.py $$BENCH

publish: $(VENV)/.dev
	$(BIN)/python tools/publish.py "$$REPO" --ref "$$REF"

update:
	@"$${PYTHON:-python3}" tools/update.py

assignment: $(VENV)/.dev
	$(BIN)/python tools/assignment.py make $$NB

grade: $(VENV)/.dev
	$(BIN)/python tools/assignment.py grade $$NB $${SUBMITTED:+"--submitted=$$SUBMITTED"}

site: $(VENV)/.dev
	$(BIN)/python tools/build_site.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

# uv where it is present, because it is faster; else venv and pip.
UV := $(shell command -v uv)
ifdef UV
INSTALL = "$(UV)" pip install --quiet --python $(BIN)/python --constraint constraints.txt
CPU_BUILD = --torch-backend=cpu
else
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CPU_BUILD = --index-url https://download.pytorch.org/whl/cpu
endif

$(VENV)/pyvenv.cfg:
	@if [ -n "$(UV)" ]; then "$(UV)" venv --quiet --python "$${PYTHON:->=3.11}" $(VENV); \
	elif [ -n "$$PYTHON" ]; then "$$PYTHON" -m venv $(VENV); \
	else echo "The course needs Python 3.11 or newer; none was found. See README.md."; exit 1; fi

$(VENV)/.course: EXTRAS := course
$(VENV)/.dev: EXTRAS := course,dev
$(VENV)/.course $(VENV)/.dev: $(TORCH:%=$(VENV)/.torch-%) $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(INSTALL) --editable ".[$(EXTRAS)]"
	@touch $@

# torch alone and first, so that the rest finds it there. On Linux its CPU build is called +cpu; by
# that name no other index can put the large one in its place. Elsewhere there is only one build.
$(VENV)/.torch-cpu: $(VENV)/pyvenv.cfg constraints.txt
	@if command -v nvidia-smi > /dev/null; then \
		echo "There is an NVIDIA GPU, which torch's CPU build cannot use. For CUDA: make clean, then make lab."; fi
	@echo "Installing torch's CPU build into $(VENV) ..."
	@$(INSTALL) --no-deps --upgrade $(CPU_BUILD) torchvision \
		"$$(sed -n 's/^torch==[^ ;]*/&$(if $(filter Linux,$(shell uname)),+cpu)/p' constraints.txt)" || \
		{ echo "There is no such build, or pytorch.org cannot be reached. Without TORCH=cpu"; \
		echo "torch comes from your usual index, on Linux with CUDA."; exit 1; }
	@touch $@
