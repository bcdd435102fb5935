#!/usr/bin/env bash
# Brings a virtual environment to the tested set of packages.
#
#   .ci/setup_env.sh base    what training needs, mmcv without compiled ops
#   .ci/setup_env.sh tests   what the tests need, the compiled ops of mmcv included
#   .ci/setup_env.sh ops     the compiled ops of mmcv alone
#   .ci/setup_env.sh docs    what the site of the documentation needs
#   .ci/setup_env.sh classic the original OpenMMLab packages and what the tests need, in
#                            an environment of its own
#
# VENV        the environment [.venv, for classic .venv-classic]; one that exists is used
#             and completed
# PYTHON      the interpreter that a new one is made with [3.11, 3.12 or 3.10]
# TORCH_SPEC  what pip installs where torch is missing [the pinned version: the CPU
#             build on a machine without an NVIDIA driver, where there is one]
# Finished parts leave a stamp in $VENV/.mmsemiseg, named after a hash of the
# requirement files: a second call ends at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

[ "${1:-}" = classic ] && VENV=${VENV:-.venv-classic}
VENV=${VENV:-.venv}
STAMPS=$VENV/.mmsemiseg
WHEELS=${XDG_CACHE_HOME:-$HOME/.cache}/mmsemiseg/wheels
PINS=requirements/constraints.txt
UNPINNED=torch # packages that stay as they are
ORIGINAL='mmengine mmcv mmsegmentation mmdet'
CONTINUATION='onedl-mmengine onedl-mmcv onedl-mmsegmentation onedl-mmdetection'
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '== %s\n' "$*"; }
pinned() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" "${2:-$PINS}"; }
py() { "$VENV/bin/python" "$@"; }
pip() { py -m pip "$@"; }

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.10 python3 python}; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
            2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo 'Python 3.10, 3.11 or 3.12 is needed; name one by PYTHON=...' >&2
    return 1
}

make_venv() {
    [ -x "$VENV/bin/python" ] && return
    local python
    python=$(find_python)
    say "making the environment $VENV with $("$python" --version)"
    "$python" -m venv "$VENV"
}

install_torch() {
    if py -c 'import torch' 2>/dev/null; then
        say "torch $(py -c 'import torch; print(torch.__version__)') is there and is kept"
        return
    fi
    local version
    version=$(pinned torch)
    if [ -n "${TORCH_SPEC:-}" ]; then
        say "installing torch: $TORCH_SPEC"
        # shellcheck disable=SC2086  (it may hold several arguments)
        pip install -q $TORCH_SPEC
    elif ! command -v nvidia-smi >/dev/null 2>&1 &&
        pip install -q "torch==$version+cpu" 2>/dev/null; then
        say "installed torch $version, CPU build"
    else
        say "installing torch $version, the default build"
        pip install -q "torch==$version"
    fi
}

install_mmcv_without_ops() {
    # Not through pip's cache of wheels: it does not know for which torch one was made.
    local version
    version=$(pinned onedl-mmcv)
    if [ "$(installed onedl-mmcv)" != "$version" ]; then
        say "installing mmcv $version without compiled ops"
        MMCV_WITH_OPS=0 pip install -q --no-deps --no-cache-dir \
            --no-binary onedl-mmcv "onedl-mmcv==$version"
    fi
}

installed() {
    py -c 'import sys, importlib.metadata as m
try: print(m.version(sys.argv[1]))
except m.PackageNotFoundError: pass' "$1"
}

# install NAME...: the requirement files of these names, what is UNPINNED as it is
install() {
    mkdir -p "$STAMPS"
    grep -vE "^(${UNPINNED// /|})==" "$PINS" >"$STAMPS/constraints.txt"
    local args=() name
    for name in "$@"; do args+=(-r "requirements/$name.txt"); done
    say "installing the requirements: $*"
    pip install -q -c "$STAMPS/constraints.txt" "${args[@]}"
}

install_self() {
    say 'installing mmsemiseg itself, editable'
    pip install -q --no-deps --no-build-isolation -e .
}

has_ops() { py -c 'import torch; from mmcv import _ext' 2>/dev/null; }

# install_ops PACKAGE VERSION: mmcv with its ops, under the name PACKAGE. Its wheels are
# kept by Python and torch, for which pip's own cache has no eye.
install_ops() {
    if has_ops; then
        say 'the compiled ops of mmcv are there'
        return
    fi
    local package=$1 version=$2 key folder
    key=$(py -c 'import sys, torch
print("cp%d%d-torch%s" % (*sys.version_info[:2], torch.__version__))')
    folder=$WHEELS/$key
    if ! compgen -G "$folder/${package/-/_}-$version-*.whl" >/dev/null; then
        say "compiling the ops of $package $version for $key (8 minutes on 2 cores)"
        mkdir -p "$folder"
        local partial
        partial=$(mktemp -d "$folder/build.XXXX")
        MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} pip wheel -q --no-deps \
            --no-build-isolation --no-cache-dir --no-binary "$package" \
            -w "$partial" "$package==$version"
        mv "$partial"/*.whl "$folder/"
        rmdir "$partial"
    fi
    say "installing $package $version with ops from $folder"
    pip install -q --no-deps --force-reinstall "$folder/${package/-/_}-$version"-*.whl
    has_ops || {
        echo "mmcv was installed from $folder, but mmcv._ext does not import" >&2
        return 1
    }
}

install_ops_of_continuation() {
    pip install -q -c "$PINS" ninja psutil
    install_ops onedl-mmcv "$(pinned onedl-mmcv)"
}

# refuse NAME...: end where a package of the other family is installed
refuse() {
    local name
    for name in "$@"; do
        if [ -n "$(installed "$name")" ]; then
            echo "$VENV holds $name. The original OpenMMLab packages and their" \
                'continuation onedl-* share import names: name another environment' \
                'by VENV=...' >&2
            return 1
        fi
    done
}

base() {
    # shellcheck disable=SC2086
    refuse $ORIGINAL
    install_torch
    pip install -q -c "$PINS" pip setuptools wheel
    install_mmcv_without_ops
    install runtime mm augment pretrained
    install_self
}

tests() {
    once base
    install runtime mm rc2l tests docs
    install_ops_of_continuation
}

docs() {
    once base
    install runtime mm docs
}

classic() {
    # shellcheck disable=SC2086
    refuse $CONTINUATION
    UNPINNED="torch setuptools"
    install_torch
    pip install -q -c "$PINS" pip wheel ninja psutil
    local list=requirements/classic.txt
    pip install -q "setuptools==$(pinned setuptools "$list")"
    install runtime
    pip install -q -c "$STAMPS/constraints.txt" "mmengine==$(pinned mmengine "$list")"
    install_ops mmcv "$(pinned mmcv "$list")"
    install classic tests
    install_self
}

# once PART: run it unless its stamp says that nothing has changed since
once() {
    local hash stamp
    hash=$(cat requirements/*.txt setup.py pyproject.toml .ci/setup_env.sh |
        py -c 'import hashlib, sys
data = sys.stdin.buffer.read() + sys.version.encode() + sys.argv[1].encode()
print(hashlib.sha256(data).hexdigest()[:16])' "$PWD")
    stamp=$STAMPS/$1-$hash
    if [ -e "$stamp" ]; then
        say "environment $VENV: $1 is ready"
        return
    fi
    "$1"
    mkdir -p "$STAMPS"
    rm -f "$STAMPS/$1"-*
    touch "$stamp"
}

case "${1:-}" in
base)
    make_venv
    once base
    ;;
tests)
    make_venv
    once tests
    has_ops || install_ops_of_continuation # torch may have been replaced since
    ;;
ops)
    make_venv
    once base
    install_ops_of_continuation
    ;;
docs)
    make_venv
    once docs
    ;;
classic)
    make_venv
    once classic
    ;;
*)
    echo "usage: $0 base|tests|ops|docs|classic" >&2
    exit 2
    ;;
esac
