"""CAS-ViT for MMEngine: importing this lets it know the backbone and the names of our configs.

It also lends mmcv its operators. Needs torch, mmengine and timm only; mmcv, mmdet, mmseg and
mmpretrain may be absent. Where one of the three is absent too, nothing is registered and
:mod:`casvit_mm.deploy` still works.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from casvit_mm.errors import InputError
from casvit_mm.io import limit_pixels
from casvit_mm.lazy import import_later
from casvit_mm.moved import keep_old_paths
from casvit_mm.registration import register_in_time

if TYPE_CHECKING:
    from casvit_mm.models import ARCHS, TOKEN_MIXERS, CASViT, FViT
    from casvit_mm.models.fusion import fuse
    from casvit_mm.prediction.labels import write_labels
    from casvit_mm.prediction.loading import load
    from casvit_mm.weights.matching import load_weights

__version__ = '0.2.0'

__all__ = [
    'ARCHS',
    'TOKEN_MIXERS',
    'CASViT',
    'FViT',
    'InputError',
    '__version__',
    'fuse',
    'load',
    'load_weights',
    'write_labels',
]

__getattr__ = import_later(
    __name__,
    {
        'ARCHS': 'casvit_mm.models',
        'CASViT': 'casvit_mm.models',
        'FViT': 'casvit_mm.models',
        'TOKEN_MIXERS': 'casvit_mm.models',
        'fuse': 'casvit_mm.models.fusion',
        'load': 'casvit_mm.prediction.loading',
        'load_weights': 'casvit_mm.weights.matching',
        'write_labels': 'casvit_mm.prediction.labels',
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


limit_pixels()  # before anything imports OpenCV
keep_old_paths()
if all(find_spec(package) is not None for package in ('torch', 'mmengine', 'timm')):
    from casvit_mm.ops import lend_operators_to_mmcv

    # Before the models, whose imports may reach mmcv.
    lend_operators_to_mmcv()
    register_in_time()
