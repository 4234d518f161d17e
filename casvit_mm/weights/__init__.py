"""Weights: where their files are, how they are read, and how they are fitted to a model."""

from casvit_mm.weights.matching import check_fit, load_weights, read_checkpoint
from casvit_mm.weights.official_keys import KEY_RULES, as_classifier, rename_official_keys
from casvit_mm.weights.report import LoadReport

__all__ = [
    'KEY_RULES',
    'LoadReport',
    'as_classifier',
    'check_fit',
    'load_weights',
    'read_checkpoint',
    'rename_official_keys',
]
