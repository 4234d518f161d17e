"""What ``torch.jit.script`` compiles of a backbone.

TorchScript knows neither tuples whose length is an option nor modules found by a computed name. So
the way through the stages is traced by torch.fx, and the blocks are compiled from their source:
they keep their behaviour in training and evaluation.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import fx, nn

__all__ = ['trace_of']


class _StageTracer(fx.Tracer):
    """Traces the module itself and plain sequences; whatever else they hold stays one call."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.Sequential)


def trace_of(backbone: Any) -> fx.GraphModule:
    """Return the way through a backbone as a graph of its layers and blocks.

    It holds the same layers under the same names, so that its state dict has the same keys.

    Args:
        backbone: A :class:`~casvit_mm.CASViT`; stays as it is. Its gradient checkpointing, which
            TorchScript does not know, is left out.
    """
    plain = copy.copy(backbone)
    plain.with_cp = False
    graph = _StageTracer().trace(plain)
    for node in graph.nodes:
        node.type = None  # TorchScript reads no tuple[Tensor, ...]
    return fx.GraphModule(plain, graph, type(backbone).__name__)
