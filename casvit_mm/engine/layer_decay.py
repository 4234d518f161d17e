"""Layer-wise learning rates: the earlier a layer of the backbone, the less it is changed."""

from __future__ import annotations

from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from casvit_mm.errors import InputError

__all__ = ['LayerDecayOptimWrapperConstructor']


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor with a learning rate that falls from the head to the stem.

    A parameter's rate is multiplied by ``layer_decay_rate`` once for each layer between it and the
    neck or head, by what ``model.backbone.get_layer_depth`` says. All else that ``paramwise_cfg``
    can name is MMEngine's and stays in force, ``custom_keys`` with ``lr_mult`` included. For
    classifiers, detectors and segmentors alike::

        optim_wrapper = dict(
            constructor='LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.75, norm_decay_mult=0.0, bias_decay_mult=0.0))

    mmpretrain's ``LearningRateDecayOptimWrapperConstructor`` asks the whole model for the depth of
    its layers, which detectors and segmentors do not know; those of mmdet and mmseg know the names
    of a few backbones.

    A schedule with an absolute ``eta_min`` ends at that rate in every layer; ``eta_min_ratio``
    keeps the differences.

    Raises:
        InputError: If ``layer_decay_rate`` is absent or outside (0, 1], if the optimizer has no
            ``lr``, or if the model has no backbone with ``get_layer_depth``.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if rate is None or not 0 < rate <= 1:
            raise InputError(
                'optim_wrapper.paramwise_cfg.layer_decay_rate must be above 0 and at most 1, '
                f'got {rate}'
            )
        if self.base_lr is None:
            raise InputError('layer-wise learning rates need optim_wrapper.optimizer.lr')

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Add the parameters of ``module`` as groups; see the parent, which calls itself."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            self._scale(params, module)

    def _scale(self, groups: list[dict], model: nn.Module) -> None:
        """Multiply the rate of each group, which holds one parameter, and log those of the layers.

        Raises:
            InputError: If the model has no backbone with ``get_layer_depth``.
        """
        backbone: Any = getattr(model, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise InputError(
                'LayerDecayOptimWrapperConstructor: the backbone of '
                f'{type(model).__name__}, {type(backbone).__name__}, has no get_layer_depth; '
                'CASViT has one'
            )
        names = {parameter: name for name, parameter in model.named_parameters()}
        multipliers = {}
        for group in groups:
            depth, num_layers = backbone.get_layer_depth(names[group['params'][0]], 'backbone.')
            multipliers[depth] = self.paramwise_cfg['layer_decay_rate'] ** (num_layers - 1 - depth)
            group['lr'] = group.get('lr', self.base_lr) * multipliers[depth]
        rates = ', '.join(
            f'{depth}: {self.base_lr * multiplier:.3g}'
            for depth, multiplier in sorted(multipliers.items())
        )
        MMLogger.get_current_instance().info(
            f'learning rate by layer, from the stem to the head: {rates}'
        )
