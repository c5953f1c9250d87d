# make search   the environment, the demo pair, and a real search on it
# make test     the environment and all tests
# make record   the studies of studies/ that are not recorded yet, about 3 to 15 minutes each
# make compare  the tables and the picture of those studies in docs/comparing.md
# make verify   the demo's study: its pick started as exported, ten requests at once to each model, a soak (DURATION=30m)
# make files    smaller and larger files of the demo pair, for configs/studies/demo-files.toml
# make tools    llama-bench, llama-fit-params, llama-perplexity and llama-server of the same llama.cpp, into build/tools/bin
PYTHON ?= python3
VENV   ?= .venv
DURATION ?= 1m
RUN     = $(VENV)/bin
FILES   = $(patsubst %,models/SmolLM2-135M-Instruct-%.gguf,Q8_0 Q4_K_M) $(patsubst %,models/gemma-3-270m-%.gguf,Q8_0 Q4_0)

.PHONY: search verify test check models files env record compare tools clean

search: env models
	@$(RUN)/python scripts/demo_search.py

verify: env models
	@$(RUN)/python scripts/demo_verify.py $(DURATION)

test: env models check
	$(RUN)/python -m pytest -q -n 2 tests/unit tests/hardening
	$(RUN)/python -m pytest -q tests/contract tests/integration tests/gpu

check: env
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/python scripts/config_docs.py --check

models: env
	@$(RUN)/python scripts/demo_models.py

files: models $(FILES)

models/SmolLM2-135M-Instruct-%.gguf:
	@$(RUN)/layertune quantize models/SmolLM2-135M-Instruct.Q4_1.gguf --types $*

models/gemma-3-270m-%.gguf:
	@$(RUN)/layertune quantize models/gemma-3-270m-q4_k_m.gguf --types $*

env:
	@$(PYTHON) scripts/bootstrap.py --venv $(VENV)

record: env models
	@$(RUN)/python scripts/record_studies.py

compare: env
	@$(RUN)/python scripts/compare_recorded.py

tools: env
	@$(PYTHON) scripts/build_tools.py --venv $(VENV)

clean:  # models stay: people keep their own there
	rm -rf $(VENV) build
