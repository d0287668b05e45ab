# `make demo` makes a corpus, `make train-demo` a tokenizer and a model of it, `make test` checks everything. Each makes a virtual environment in
# .venv first, if there is none; the corpus needs no torch, so only the latter two install it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo train-demo test check clean

demo: .venv/.installed
	$(BIN)/onnuri run configs/sample.yaml

TINY := runs/train-demo

train-demo: .venv/.trainer runs/sample/corpus/manifest.json
	$(BIN)/onnuri tokenizer count runs/sample/corpus -o $(TINY)/counts --quiet
	$(BIN)/onnuri tokenizer train $(TINY)/counts -o $(TINY)/tokenizer --vocab-size 4096 --set seed_syllables=none --quiet
	$(BIN)/onnuri tokenizer encode runs/sample/corpus --tokenizer $(TINY)/tokenizer -o $(TINY)/shards --quiet
	$(BIN)/onnuri train plan configs/train-demo.yaml
	$(BIN)/onnuri train pretrain configs/train-demo.yaml -o $(TINY)/run
	$(BIN)/onnuri train export $(TINY)/run -o $(TINY)/model
	$(BIN)/onnuri train generate $(TINY)/model --prompt '농부 장터에서는' --max-tokens 48
	$(BIN)/onnuri train generate $(TINY)/model --prompt 'With feature flags, testers' --max-tokens 48
	@echo "The same model in transformers:"
	@$(BIN)/python -c "import sys, transformers; transformers.logging.set_verbosity_error(); transformers.logging.disable_progress_bar(); \
	write = transformers.pipeline('text-generation', sys.argv[1], dtype='float32'); print(write(sys.argv[2], max_new_tokens=48)[0]['generated_text'])" \
	$(TINY)/model 'With feature flags, testers'
	@echo "The course of the training: $(TINY)/run/report.html"

runs/sample/corpus/manifest.json: .venv/.installed
	$(BIN)/onnuri run configs/sample.yaml

test: .venv/.trainer check
	$(BIN)/python -m pytest

check: .venv/.trainer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Onnuri needs Python 3.11 or newer; run: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/.trainer: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@

clean:
	rm -rf .venv runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
