# Everything sets itself up: a clean checkout, Python 3.11 or newer and make are enough.
#   make demo     a short tour on real data
#   make test     the tests (POLYTASK_DATA, if set, names the folder of the real data sets)
#   make test-slow  those that take longer, some twenty minutes
#   make test-exhaustive  every law of every pair of a solver and a penalty
#   make check    lint, types, layers, shape and licences
#   make release  a wheel and a source archive in dist/, built twice alike, with what they need listed
#   make docs     the site, in docs/_build/html, checked for dead links
#   make results  the tables of docs/results that have raw rows, made from these anew
#   make audit    known weaknesses of the packages that the project is tested with
# Another interpreter: make test PYTHON=/path/to/python

PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
LOWEST_STAMP := $(LOWEST)/.installed
WHEEL := .venv-wheel
RELEASE := .venv-release
RELEASE_STAMP := $(RELEASE)/.installed
CODE := src tests tools $(wildcard examples benchmarks docs)

# One thread for each test worker, so that workers do not compete for the processors.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	VECLIB_MAXIMUM_THREADS=1 NUMBA_NUM_THREADS=1 POLARS_MAX_THREADS=1
PYTEST := -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# An interpreter that was named is the only candidate.
CANDIDATES := $(if $(filter file,$(origin PYTHON)),python3 python3.14 python3.13 python3.12 python3.11,$(PYTHON))
define find_python
python=""; \
for candidate in $(CANDIDATES); do \
	if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then python="$$candidate"; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "polytask needs Python 3.11 or newer with its venv module; name one with PYTHON=/path/to/python." >&2; \
	exit 1; \
fi
endef

# The two variables hold the tools that build the package to the same versions.
pip_install = PIP_CONSTRAINT=$(1) PIP_BUILD_CONSTRAINT=$(1) PIP_DISABLE_PIP_VERSION_CHECK=1 \
	$(2)/bin/python -m pip install --quiet -c $(1)

define try_wheel
rm -rf $(WHEEL) && $(BIN)/python -m venv $(WHEEL) && \
$(call pip_install,constraints.txt,$(WHEEL)) dist/*.whl && cd $(WHEEL) && \
bin/python -I -c "import polytask; [getattr(polytask, name) for name in polytask.__all__]; print('polytask', polytask.__version__)" && \
bin/polytask --help
endef

.PHONY: help demo test test-slow test-exhaustive test-lowest check lint types layers shape licenses format wheel \
	release audit changelog docs results clean

help:
	@sed -n '2,11s/^# //p' Makefile

$(STAMP): pyproject.toml constraints.txt
	@$(find_python); echo "Setting up $(VENV) (a minute or two)"; "$$python" -m venv --clear $(VENV)
	@$(call pip_install,constraints.txt,$(VENV)) -e ".[dev]"
	@touch $@

$(LOWEST_STAMP): pyproject.toml constraints-lowest.txt
	@$(find_python); echo "Setting up $(LOWEST) (a minute or two)"; "$$python" -m venv --clear $(LOWEST)
	@$(call pip_install,constraints-lowest.txt,$(LOWEST)) --only-binary numpy,scipy,scikit-learn,pandas,pyarrow,numba,llvmlite,matplotlib -e ".[test]"
	@touch $@

$(RELEASE_STAMP): pyproject.toml constraints.txt
	@$(find_python); echo "Setting up $(RELEASE) (a minute or two)"; "$$python" -m venv --clear $(RELEASE)
	@$(call pip_install,constraints.txt,$(RELEASE)) $$($(RELEASE)/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['release'])")
	@touch $@

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

test: $(STAMP)
	@$(ONE_THREAD) $(BIN)/python $(PYTEST) -m "not slow and not exhaustive"

test-slow: $(STAMP)
	@$(ONE_THREAD) $(BIN)/python $(PYTEST) -m "slow and not exhaustive"

test-exhaustive: $(STAMP)
	@$(ONE_THREAD) $(BIN)/python $(PYTEST) -m exhaustive

# What touches other packages: every solver on the oracle problems, every estimator and command, but
# not each law of it nor the arithmetic that is the same with any version.
ARITHMETIC := laws $(addprefix unit/,bayes datafits losses messages metrics penalties solvers)
test-lowest: $(LOWEST_STAMP)
	@$(ONE_THREAD) $(LOWEST)/bin/python $(PYTEST) $(ARITHMETIC:%=--ignore tests/%) -m "not slow and not exhaustive"

check: lint types layers shape licenses

lint: $(STAMP)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/typos --format brief $(wildcard *.md) changelog docs examples src tools

format: $(STAMP)
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

types: $(STAMP)
	@$(BIN)/mypy

layers: $(STAMP)
	@$(BIN)/lint-imports --no-logo

shape: $(STAMP)
	@$(BIN)/python tools/check_shape.py

# Licences that ask nothing of who uses polytask, or only of who changes the package itself (MPL). Those
# of three packages are not in their metadata: skops and huey are MIT, namex Apache-2.0.
licenses: $(STAMP)
	@$(BIN)/pip-licenses --partial-match --ignore-packages polytask skops huey namex --allow-only \
		"MIT;BSD;Apache;ISC;PSF;Python Software Foundation;MPL;Mozilla Public License" >/dev/null

# A wheel, installed on its own and used from a folder that is not the checkout.
wheel: $(STAMP)
	@rm -rf dist
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m build --wheel --outdir dist .
	@$(try_wheel)

# The same commit gives the same bytes. The list of components is that of the wheel with its dependencies.
release: $(STAMP) $(RELEASE_STAMP)
	@test -z "$$(git status --porcelain)" || { echo "Commit or remove first what git status shows." >&2; exit 1; }
	@rm -rf dist
	@for folder in dist dist/again; do \
		SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(RELEASE)/bin/python -m build --outdir $$folder . >/dev/null || exit 1; done
	@for file in dist/*.whl dist/*.tar.gz; do cmp $$file dist/again/$$(basename $$file) || exit 1; done; rm -r dist/again
	@$(RELEASE)/bin/twine check --strict dist/*
	@$(try_wheel) >/dev/null
	@$(RELEASE)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type library \
		-o "dist/$$(basename dist/*.whl -py3-none-any.whl).cdx.json" $(WHEEL)/bin/python
	@cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

# Where the database cannot be reached, the last line says that, and this fails.
audit: $(RELEASE_STAMP)
	@$(RELEASE)/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt || \
		{ echo "The audit did not end well: above are the weaknesses that it found, or why it did not run." >&2; exit 1; }

# What the next release will say.
changelog: $(STAMP)
	@$(BIN)/towncrier build --draft

results: $(STAMP)
	@$(BIN)/python tools/results.py

# Warnings are errors; afterwards links, anchors, texts of pictures and the reference are checked.
docs: $(STAMP)
	@rm -rf docs/_build docs/generated docs/auto_examples
	@$(ONE_THREAD) $(BIN)/python -m sphinx -q -W --keep-going -j 1 docs docs/_build/html
	@$(BIN)/python tools/check_site.py

clean:
	rm -rf docs/_build docs/generated docs/auto_examples $(VENV) $(LOWEST) $(WHEEL) $(RELEASE) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
