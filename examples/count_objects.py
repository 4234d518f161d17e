"""How many objects of each class are in a folder: python examples/count_objects.py best.pth DIR."""

import sys
from collections import Counter
from pathlib import Path

import casvit_mm

model = casvit_mm.load(sys.argv[1], score_thr=0.5)
photos = sorted(Path(sys.argv[2]).glob('*.*g'))  # .jpg, .jpeg, .png
for photo, result in zip(photos, model.stream(photos, batch_size=8), strict=True):
    print(photo.name, dict(Counter(result.names)))
