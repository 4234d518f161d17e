"""Models; importing this registers them in MMEngine's root registry."""

from casvit_mm.models.casvit import ARCHS, CASViT

__all__ = ['ARCHS', 'CASViT']
