# Each target makes .venv and installs everything on its first use.
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
# sleeping instead of spinning threads: several processes may share the cores
export OMP_WAIT_POLICY ?= PASSIVE
# the hundred Pythons that the tests start find our code compiled, also where the shell would not keep it
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint docs plugins packages clean

demo: $(READY)  ## the main job on real images, pictures written to demo/
	$(PYTHON) tools/demo.py

test: $(READY)  ## all default tests, in two processes
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-slow: $(READY)  ## the tests that take minutes
	$(PYTHON) -m pytest -m slow

lint: $(READY)  ## style, types, layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict mnasnet
	$(VENV)/bin/lint-imports

docs: $(READY)  ## the documentation as a site, in site/; NO_MKDOCS_2_WARNING: the theme's notice is not for us here
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

plugins: $(READY)  ## link the Ikomia plugins into ~/Ikomia
	$(PYTHON) tools/install_plugins.py

packages: $(READY)  ## the wheel and one zip a plugin, in dist/
	$(PYTHON) tools/pack_plugins.py

clean:
	rm -rf $(VENV) demo site

$(READY): pyproject.toml requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --disable-pip-version-check -q -r requirements.txt -e ".[dev]"
	touch $(READY)
