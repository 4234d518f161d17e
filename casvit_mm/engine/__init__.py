"""Training and evaluation with MMEngine's Runner, as the command lines run them."""

from casvit_mm.engine.evaluation import evaluate
from casvit_mm.engine.options import Randomness, Recipe, Speed, Start, TrainOptions
from casvit_mm.engine.training import train

__all__ = ['Randomness', 'Recipe', 'Speed', 'Start', 'TrainOptions', 'evaluate', 'train']
