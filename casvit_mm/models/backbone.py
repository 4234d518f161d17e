"""What our backbones share: pretrained weights are loaded strictly."""

from __future__ import annotations

from mmengine.logging import MMLogger
from mmengine.model import BaseModule, PretrainedInit

from casvit_mm.weights.matching import load_weights
from casvit_mm.weights.reading import forget_file

__all__ = ['Backbone']


class Backbone(BaseModule):
    """A module of MMEngine whose ``init_cfg`` of type ``Pretrained`` must fit, key by key."""

    _is_init: bool  # BaseModule's mark against initialising twice

    def init_weights(self) -> None:
        """Initialise, or load what ``init_cfg`` names; strict, unlike MMEngine's loader.

        Raises:
            InputError: If the file is missing, unreadable or does not fit.
        """
        init_cfg = self.init_cfg if isinstance(self.init_cfg, dict) else {}
        if not self._is_init and init_cfg.get('type') in ('Pretrained', PretrainedInit):
            path = init_cfg['checkpoint']
            report = load_weights(self, path, init_cfg.get('weights'))
            forget_file()  # a training begins, which needs the memory
            MMLogger.get_current_instance().info(f'backbone weights of {path}: {report.summary}')
            self._is_init = True
        else:
            super().init_weights()
