#!/usr/bin/env bash
# Predict under Slurm, one task per GPU:
#   tools/slurm_predict.sh PARTITION JOB_NAME [CONFIG] MODEL SOURCE ... [arguments of tools/predict.py]
# GPUS (8) in all, GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS are taken from the environment.
# On nodes without GPU: TASKS in all and TASKS_PER_NODE (1) instead.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME [CONFIG] MODEL SOURCE ... [arguments of tools/predict.py]" >&2; exit 2; }
here=$(dirname "$0")
PARTITION=$1 JOB_NAME=$2
shift 2
source "$here/slurm_tasks.sh"

# SRUN_ARGS holds several options and is split on purpose.
# shellcheck disable=SC2086
exec srun --partition="$PARTITION" --job-name="$JOB_NAME" "${tasks[@]}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$here/predict.py" "$@" --launcher slurm
