#!/usr/bin/env bash
# Evaluate on several GPUs, or several processes of a CPU host:
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Several hosts: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set.
# See docs/howto/cluster.md.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2; exit 2; }
CONFIG=$1 CHECKPOINT=$2 GPUS=$3
shift 3

source "$(dirname "$0")/dist_processes.sh"
exec "${launch[@]}" "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
