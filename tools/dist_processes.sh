# Sourced by dist_train.sh, dist_test.sh and dist_predict.sh: what starts $GPUS processes on this host, with
# NNODES, NODE_RANK, MASTER_ADDR and PORT of the environment.
echo "starting $GPUS processes on this host"
# casvit_mm.launch is torchrun with a check of GPUS and PORT before it.
launch=(
    python -m casvit_mm.launch
    --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" --nproc-per-node="$GPUS"
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}"
)
