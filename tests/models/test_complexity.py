"""Parameters and multiply-adds, counted."""

import torch
from helpers import ROOT
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.registry import MODELS

from casvit_mm.models.complexity import count_complexity


def test_multiply_adds_agree_with_mmengine_but_for_norms_and_pooling():
    cfg = Config.fromfile(ROOT / 'configs/casvit_xs_imagenet.py')
    counted = count_complexity(cfg, (96, 64)).multiply_adds
    analyzer = FlopAnalyzer(MODELS.build(cfg.model).eval(), torch.rand(1, 3, 64, 96))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analyzer.by_operator()
    assert counted == by_operator['conv'] + by_operator['linear']
