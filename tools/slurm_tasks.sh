# Sourced by slurm_train.sh, slurm_test.sh and slurm_predict.sh: the options of srun and sbatch for the tasks, of GPUS,
# GPUS_PER_NODE, TASKS, TASKS_PER_NODE and CPUS_PER_TASK.
if [ -n "${TASKS:-}" ]; then
    per_node=${TASKS_PER_NODE:-1}
    tasks=(--ntasks="$TASKS" --ntasks-per-node="$per_node")
else
    GPUS=${GPUS:-8}
    per_node=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
    tasks=(--gres="gpu:$per_node" --ntasks="$GPUS" --ntasks-per-node="$per_node")
fi
# A step does not take it over from its job in every version of Slurm.
export SRUN_CPUS_PER_TASK=${CPUS_PER_TASK:-5}
tasks+=(--cpus-per-task="$SRUN_CPUS_PER_TASK")
