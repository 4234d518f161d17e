#!/usr/bin/env bash
# Train on several GPUs, or several processes of a CPU host:
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several hosts: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set.
# Hosts that come and go: NNODES=1:4 MAX_RESTARTS=3, and MASTER_ADDR. See docs/howto/cluster.md.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2; exit 2; }
CONFIG=$1 GPUS=$2
shift 2

source "$(dirname "$0")/dist_processes.sh"
exec "${launch[@]}" --max-restarts="${MAX_RESTARTS:-0}" "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
