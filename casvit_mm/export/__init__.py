"""Models as files for other engines, each compared with PyTorch before it is kept."""

from casvit_mm.export.export import export
from casvit_mm.export.fastest import export_fastest
from casvit_mm.export.formats import FORMATS
from casvit_mm.export.graphs import build_graph
from casvit_mm.export.loading import load_model

__all__ = ['FORMATS', 'build_graph', 'export', 'export_fastest', 'load_model']
