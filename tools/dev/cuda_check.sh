#!/usr/bin/env bash
# All checks that need a GPU, in one table (docs/gpu_check.md). From the repository:
#   bash tools/dev/cuda_check.sh [--out DIR] [--sections kernels,waits] [--minutes 4]
# Wheels in .whl/ are installed into a temporary folder where mmengine is missing.
set -uo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if [ -d .whl ] && ! "$PYTHON" -c 'import mmengine' 2>/dev/null; then
    site=${CUDA_CHECK_SITE:-${TMPDIR:-/tmp}/cuda-check-site}
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$site" \
        .whl/*.whl || echo 'some wheels of .whl/ could not be installed' >&2
    export PYTHONPATH="$site:$PYTHONPATH"
fi
command -v nvidia-smi >/dev/null &&
    nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used --format=csv
exec "$PYTHON" -W ignore tools/dev/cuda_check.py "$@"
