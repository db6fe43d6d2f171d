# The commands that people run here; `just` lists them. Each line works without just, too.

_list:
    @just --list

# Install everything that development needs into .venv (6.5 GB), and the checks before each commit.
setup:
    uv sync --locked
    uv run pre-commit install

# The shipped model on a real scan: the base package, seconds.
first-look:
    uv run --no-dev unetr demo --no-train

# And a training on a real brain: five minutes.
demo:
    uv run --no-dev --extra demo unetr demo

# Tests, such as `just test tests/io -x`; without arguments all of them (about 12 minutes on 2 cores).
test *arguments:
    uv run pytest {{ arguments }}

# Linter, formatter, types, import contracts: under a minute.
check:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy
    uv run lint-imports --no-cache

# Put code into the one format.
format:
    uv run ruff check --fix .
    uv run ruff format .

# The documentation, into site/.
docs:
    uv run --group docs python tools/build_site.py

# The package, into dist/.
wheel:
    uv build --wheel

# The image that predicts.
container:
    podman build --tag unetr .

# Everything that must pass before a change is taken.
gate:
    .ci/run
