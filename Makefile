# make say    speak TEXT into OUT (sets up .venv on the first call)
# make test   installs torch too and runs all tests, JOBS of them side by side (JOBS=0 ARGS="-k NAME" for some)
#             (PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" takes the small torch for CPUs)
# make lint   style and import order       make clean   remove what the other targets made
PYTHON ?= python3
VENV   ?= .venv
OUT    ?= hello.wav
TEXT   ?= Hello! This voice runs on your own machine.
JOBS   ?= 2
PIP_ARGS ?=

BIN  := $(VENV)/bin
BASE := $(VENV)/.installed
DEV  := $(VENV)/.installed-dev

export TEXT
# The modules are compiled once, by whichever process of the tests imports them first.
test lint: export PYTHONDONTWRITEBYTECODE =

.PHONY: say test lint format wheel clean

say: $(BASE)
	@"$(BIN)/mamtra" say "$$TEXT" -o "$(OUT)"

test: $(DEV)
	OMP_WAIT_POLICY=PASSIVE "$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: $(DEV)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/lint-imports" --no-logo --no-cache

format: $(DEV)
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

wheel: $(DEV)
	"$(BIN)/python" -m pip wheel -q --no-deps -w dist .

$(BIN)/python:
	@echo "Setting up $(VENV), once."
	@$(PYTHON) -m venv "$(VENV)"

$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	@"$(BIN)/python" -m pip install $(PIP_ARGS) --disable-pip-version-check -c constraints.txt -e .
	@touch "$@"

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@"$(BIN)/python" -m pip install $(PIP_ARGS) --no-compile --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch "$(BASE)" "$@"

clean:
	rm -rf "$(VENV)" dist build hello.wav speech.wav .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
