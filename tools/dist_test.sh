#!/usr/bin/env bash
# Evaluate on several GPUs, or several processes of a CPU host:
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Several hosts: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set.
# See docs/howto/cluster.md.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2; exit 2; }
CONFIG=$1 CHECKPOINT=$2 GPUS=$3
shift 3

echo "starting $GPUS processes on this host"
# casvit_mm.launch is torchrun with a check of GPUS and PORT before it.
exec python -m casvit_mm.launch \
    --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" --nproc-per-node="$GPUS" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
