"""What the frameworks ask of a backbone of stages: freezing, the depth of a layer, TorchScript."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.errors import InputError
from casvit_mm.models.backbone import Backbone
from casvit_mm.models.scripting import trace_of

__all__ = ['StagedBackbone']

Self = TypeVar('Self', bound='StagedBackbone')


class StagedBackbone(Backbone):
    """A backbone of ``stem``, ``stages``, ``downsamples`` between them, and a norm of each output.

    Attributes:
        frozen_stages: -1 freezes nothing, 0 the stem, ``n`` the stem and the first ``n`` stages
            with the downsampling before each.
        norm_eval: Whether every BatchNorm stays in eval mode while training.
        fused: Whether this is an inference form, made by :func:`casvit_mm.fuse`.
    """

    fused = False
    frozen_stages: int
    norm_eval: bool
    with_cp: bool
    stem: nn.Sequential
    stages: nn.ModuleList
    downsamples: nn.ModuleList

    def _freeze(self, frozen_stages: int, norm_eval: bool) -> None:
        """Switch off the gradients of the frozen stages; all stages are built already.

        Raises:
            ValueError: If there are not so many stages.
        """
        if not -1 <= frozen_stages <= len(self.stages):
            raise ValueError(
                f'frozen_stages must be in [-1, {len(self.stages)}], the stages that out_indices '
                f'needs, got {frozen_stages}'
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        for module in self._frozen_modules():
            module.requires_grad_(False)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        n = self.frozen_stages
        return [self.stem, *self.stages[:n], *self.downsamples[: max(n - 1, 0)]]

    def train(self: Self, mode: bool = True) -> Self:
        """Set the mode; frozen stages, and all norms if ``norm_eval``, stay in eval.

        Raises:
            InputError: If an inference form is to be trained.
        """
        if mode and self.fused:
            raise InputError(
                'an inference form made by casvit_mm.fuse cannot be trained: its BatchNorms are '
                'gone. Train the model it was made from, and fuse that one again'
            )
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return how deep a parameter lies, as mmpretrain's backbones do.

        The stem is layer 0 and each block a layer of its own. A downsampling counts with the block
        after it, an output norm with the last block of its stage, and what follows the backbone
        (neck, heads) is the last layer.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What the names of this backbone's parameters begin with there.

        Returns:
            The depth, and the number of layers.
        """
        depths = [len(list(stage.children())) for stage in self.stages]
        num_layers = sum(depths) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        part, *numbers = param_name.removeprefix(prefix).split('.')
        if part == 'stem':
            return 0, num_layers
        if part == 'stages':
            stage, block = map(int, numbers[:2])
        elif part == 'downsamples':
            stage, block = int(numbers[0]) + 1, 0
        else:
            stage = int(part.removeprefix('norm'))
            block = depths[stage] - 1
        return sum(depths[:stage]) + block + 1, num_layers

    def __prepare_scriptable__(self) -> Any:
        """Return what ``torch.jit.script`` compiles in place of this module."""
        return trace_of(self)
