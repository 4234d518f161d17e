#!/usr/bin/env bash
# What sbatch runs for slurm_train.sh with BATCH=1: a step of the job that goes on by itself.
#   slurm_batch.sh COMMAND ...
# Before its time is up Slurm sends USR1 here, and TERM to the tasks of a job that is preempted. Both
# make the tasks save and end; then the job is queued again, and the command resumes.
set -uo pipefail
export CASVIT_MM_RESUME=auto
due=
trap 'due=1; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
trap : TERM

# SRUN_ARGS holds several options and is split on purpose.
# shellcheck disable=SC2086
srun --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$@" &
step=$!
wait "$step"
status=$?
while kill -0 "$step" 2>/dev/null; do # a signal has ended the wait, not the step
    wait "$step"
    status=$?
done

job=$(scontrol show job "$SLURM_JOB_ID")
[[ $job == *PreemptTime=[0-9]* ]] && due=1
if [ "$status" -ne 0 ] && [ -n "$due" ] && [[ $job == *JobState=RUNNING* ]]; then
    echo "job $SLURM_JOB_ID: its time is up or it is preempted; it is queued again, to go on"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
