"""What the segmentation configs use beside the backbone. Needs mmseg."""

import casvit_mm.models  # noqa: F401  registers CASViT for configs that import only this
