"""Training and evaluation with MMEngine's Runner, as the command lines run them."""

from typing import TYPE_CHECKING

from casvit_mm.lazy import import_later

if TYPE_CHECKING:
    from casvit_mm.engine.evaluation import evaluate
    from casvit_mm.engine.options import Randomness, Recipe, Speed, Start, TrainOptions
    from casvit_mm.engine.training import train

__all__ = ['Randomness', 'Recipe', 'Speed', 'Start', 'TrainOptions', 'evaluate', 'train']

# The check and the conversion of data need nothing of the Runner.
__getattr__ = import_later(
    __name__,
    {
        'evaluate': 'casvit_mm.engine.evaluation',
        'train': 'casvit_mm.engine.training',
        **dict.fromkeys(
            ('Randomness', 'Recipe', 'Speed', 'Start', 'TrainOptions'), 'casvit_mm.engine.options'
        ),
    },
)
