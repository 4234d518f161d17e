"""Several processes: their group, work of one rank, and that none of them runs on alone."""

from casvit_mm.distributed.group import (
    init_distributed,
    lost_connection,
    on_first_rank,
    too_few_gpus,
    unwrapped_model,
)

__all__ = [
    'init_distributed',
    'lost_connection',
    'on_first_rank',
    'too_few_gpus',
    'unwrapped_model',
]
