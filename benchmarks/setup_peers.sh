#!/bin/sh
# Makes benchmarks/.venv-peers, where the peers live apart from halfstep's own environment.
#   benchmarks/setup_peers.sh            PYTHON=python3.12 benchmarks/setup_peers.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv="$here/.venv-peers"
"${PYTHON:-python3}" -m venv "$venv"
echo '*' > "$venv/.gitignore"  # git and ruff stay out of it
"$venv/bin/python" -m pip install --quiet --requirement "$here/peers.txt"
"$venv/bin/python" -c 'import irspack, surprise; print("irspack", irspack.__version__, "· surprise", surprise.__version__)'
