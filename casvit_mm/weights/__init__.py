"""Weights: where their files are, how they are read, and how they are fitted to a model.

The table of published files is read without torch.
"""

from typing import TYPE_CHECKING

from casvit_mm.lazy import import_later

if TYPE_CHECKING:
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

__getattr__ = import_later(
    __name__,
    {
        'KEY_RULES': 'casvit_mm.weights.official_keys',
        'LoadReport': 'casvit_mm.weights.report',
        'as_classifier': 'casvit_mm.weights.official_keys',
        'check_fit': 'casvit_mm.weights.matching',
        'load_weights': 'casvit_mm.weights.matching',
        'read_checkpoint': 'casvit_mm.weights.matching',
        'rename_official_keys': 'casvit_mm.weights.official_keys',
    },
)
