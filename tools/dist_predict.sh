#!/usr/bin/env bash
# Predict on several GPUs, or with several processes of a CPU host, which share the files:
#   tools/dist_predict.sh GPUS [CONFIG] MODEL SOURCE ... [arguments of tools/predict.py]
# The same command goes on where it was ended. Several hosts: the same command on each, with NNODES,
# NODE_RANK, MASTER_ADDR (and PORT) set; hosts that come and go: MAX_RESTARTS. See docs/howto/cluster.md.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 GPUS [CONFIG] MODEL SOURCE ... [arguments of tools/predict.py]" >&2; exit 2; }
GPUS=$1
shift

source "$(dirname "$0")/dist_processes.sh"
exec "${launch[@]}" --max-restarts="${MAX_RESTARTS:-0}" "$(dirname "$0")/predict.py" "$@" --launcher pytorch
