# One command a target, run in the active environment (pip install -c constraints.txt -e '.[dev]'); .ci/run calls them.
.PHONY: help quick test extended exhaustive nightly lint format types docs commands sweeps rehearsal wheel ci

HYPOTHESIS_PROFILE ?= ci
export HYPOTHESIS_PROFILE

help:       ## the targets
	@grep -E '^[a-z]+: +##' Makefile | sed 's/: *## */\t/' | expand -t 12
quick:      ## the quick part of the tests
	python -m pytest -n 2 -m 'not slow'
test:       ## the tests
	python -m pytest -n 2
extended:   ## the tests that start processes, servers, browsers and whole studies
	python -m pytest -n 2 -m 'extended and not exhaustive'
exhaustive: ## before a release: every launcher, storage, entry and page once more, and the notebook
	python -m pytest -n 2 -m exhaustive
nightly:    ## random inputs and damages for an hour; what fails is printed as a small case
	HYPOTHESIS_PROFILE=nightly EPRLI_FUZZ_EXAMPLES=$${EPRLI_FUZZ_EXAMPLES:-3000} python -m pytest -n 2 --maxfail=20 -m '' \
		tests/fuzz $(wildcard tests/*/test_damaged_runs.py tests/*/test_study_damage.py tests/*/test_damaged_store.py tests/*/test_spool.py)
lint:       ## ruff's rules
	ruff check .
format:     ## is every file as ruff would write it?
	ruff format --check .
types:      ## mypy, strict
	mypy --num-workers 2
docs:       ## the documentation as a site, in site/
	mkdocs build --strict
commands:   ## every command of README and docs/, run page by page
	python tests/docs_commands.py $(PAGES)
sweeps:     ## every sweep at its smallest scale, one seed, each to its table
	python benchmarks/all_sweeps.py smoke "study.seeds=[0]" budget.amount=5000 evaluation.samples=1 study.figures=false
rehearsal:  ## OpenRLHF on CPU, in an environment of its own
	.ci/rehearsal
wheel:      ## sdist and wheel, used from another directory
	.ci/wheel
ci:         ## all of it, in stages
	.ci/run
