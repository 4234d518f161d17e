#!/usr/bin/env bash
# Train under Slurm, one task per GPU:
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# GPUS (8) in all, GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS are taken from the environment.
# On nodes without GPU: TASKS in all and TASKS_PER_NODE (1) instead.
# BATCH=1 submits a job that goes on by itself after preemption and at the end of its time: it is
# told to save SAVE_SECONDS (120) before that, and takes SBATCH_ARGS too. Log: slurm-JOB.out.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2; exit 2; }
here=$(dirname "$0")
PARTITION=$1 JOB_NAME=$2 CONFIG=$3
shift 3
source "$here/slurm_tasks.sh"
train=(python -u "$here/train.py" "$CONFIG" --launcher slurm "$@")

# SRUN_ARGS and SBATCH_ARGS hold several options and are split on purpose.
# shellcheck disable=SC2086
if [ -n "${BATCH:-}" ]; then
    exec sbatch --partition="$PARTITION" --job-name="$JOB_NAME" "${tasks[@]}" \
        --requeue --open-mode=append --signal="B:USR1@${SAVE_SECONDS:-120}" ${SBATCH_ARGS:-} \
        "$here/slurm_batch.sh" "${train[@]}"
fi
# shellcheck disable=SC2086
exec srun --partition="$PARTITION" --job-name="$JOB_NAME" "${tasks[@]}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} "${train[@]}"
