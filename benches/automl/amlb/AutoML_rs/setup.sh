#!/usr/bin/env bash
# Puts the program at bin/automl: `setup.sh [VERSION] [REPOSITORY or the path of a checkout]`. $AUTOML_BINARY names one that is built already.
set -eo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VERSION=${1:-latest}
SOURCE=${2:-}

# The benchmark's settings, and the environment in which exec.py runs; its scripts are not written for `set -e`.
set +e
. "${HERE}/.setup/setup_env"
. "${AMLB_ROOT:-${HERE}/../..}/frameworks/shared/setup.sh" "${HERE}" true
set -e

mkdir -p "${HERE}/bin"
if [ -n "${AUTOML_BINARY}" ]; then
    install -m 755 "${AUTOML_BINARY}" "${HERE}/bin/automl"
elif [ -d "${SOURCE}" ]; then
    cargo install --locked --path "${SOURCE}/automl-cli" --root "${HERE}" --force
elif [ -n "${SOURCE}" ]; then
    tag=()
    case "${VERSION}" in latest | stable) ;; *) tag=(--tag "v${VERSION}") ;; esac
    cargo install --locked --git "${SOURCE}" "${tag[@]}" --root "${HERE}" --force automl-cli
else
    echo "set AUTOML_BINARY to the program, or give a repository or a checkout in setup_args" >&2
    exit 1
fi
"${HERE}/bin/automl" --version | sed 's/.* //' >> "${HERE}/.setup/installed"
