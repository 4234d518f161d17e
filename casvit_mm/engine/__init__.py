"""Training and evaluation with MMEngine's Runner, as the command lines run them."""

from casvit_mm.engine.run import evaluate, train

__all__ = ['evaluate', 'train']
