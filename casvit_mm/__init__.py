"""CAS-ViT for MMEngine: importing this registers the backbone and the names of our configs.

It also lends mmcv its operators. Needs torch, mmengine and timm only; mmcv, mmdet, mmseg and
mmpretrain may be absent.
"""

from casvit_mm.config_files import let_mmengine_find_configs
from casvit_mm.ops import lend_operators_to_mmcv

lend_operators_to_mmcv()
let_mmengine_find_configs()

from casvit_mm.errors import InputError  # noqa: E402
from casvit_mm.fusion import fuse  # noqa: E402
from casvit_mm.models import ARCHS, TOKEN_MIXERS, CASViT, FViT  # noqa: E402
from casvit_mm.weights import load_weights  # noqa: E402

__version__ = '0.1.0'

__all__ = [
    'ARCHS',
    'TOKEN_MIXERS',
    'CASViT',
    'FViT',
    'InputError',
    '__version__',
    'fuse',
    'load_weights',
]
