#!/bin/sh
# Makes the peers' environments, one per list: peers.txt in .venv-peers, peers-NAME.txt in
# .venv-peers-NAME. Each package is installed on its own: one that fails is named, with its reason in
# the environment's install.log, and the rest goes on.
#   benchmarks/setup_peers.sh            PYTHON=python3.12 benchmarks/setup_peers.sh lenskit tables
set -u
here=$(cd "$(dirname "$0")" && pwd)

install() { # LIST
    suffix=$(basename "$1" .txt) && suffix=${suffix#peers}
    venv="$here/.venv-peers$suffix"
    "${PYTHON:-python3}" -m venv "$venv" || return 1
    echo '*' > "$venv/.gitignore" # git and ruff stay out of it
    : > "$venv/install.log"
    grep -v '^ *#' "$1" | while read -r package options; do
        [ -n "$package" ] || continue
        # shellcheck disable=SC2086  # the options are words of their own
        if "$venv/bin/python" -m pip install --constraint "$1" $options "$package" > "$venv/last.log" 2>&1; then
            echo "$package"
        else
            echo "$package is not installed: $(grep -im1 'error' "$venv/last.log") (see $venv/install.log)"
        fi
        cat "$venv/last.log" >> "$venv/install.log"
    done
    rm -f "$venv/last.log"
}

if [ $# -eq 0 ]; then
    for list in "$here"/peers*.txt; do install "$list"; done
else
    for name in "$@"; do
        if [ "$name" = peers ]; then install "$here/peers.txt"; else install "$here/peers-$name.txt"; fi
    done
fi
