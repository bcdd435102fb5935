#!/usr/bin/env bash
# Runs this package with the original OpenMMLab packages (requirements/classic.txt), in
# an environment of their own: every method by the command line tools (.ci/method_runs.py,
# which gets the arguments), then the tests of what depends on those packages.
#
# VENV, PYTHON, TORCH_SPEC as for .ci/setup_env.sh [VENV: .venv-classic]
# TESTS   files or folders of tests; empty: none [those that depend on the packages]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
exec </dev/null

export VENV=${VENV:-.venv-classic}
TESTS=${TESTS-tests/test_borrowed_names.py tests/models tests/engine tests/datasets
    tests/evaluation tests/utils}

bash .ci/setup_env.sh classic || exit 1
"$VENV/bin/python" .ci/method_runs.py "$@"
status=$?
if [ -n "$TESTS" ]; then
    # shellcheck disable=SC2086
    "$VENV/bin/python" -m pytest -q $TESTS || status=1
fi
exit "$status"
