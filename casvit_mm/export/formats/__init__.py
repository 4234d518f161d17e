"""One writer per format: a graph goes in, one file, or several of one model, come out."""

from casvit_mm.export.formats.base import Format
from casvit_mm.export.formats.registry import FORMATS

__all__ = ['FORMATS', 'Format']
