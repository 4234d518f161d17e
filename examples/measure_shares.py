"""How much of each image a class covers, from an exported file, which needs no torch.

python examples/measure_shares.py model.onnx CLASS IMAGE...
"""

import sys

import casvit_mm

path, name, *images = sys.argv[1:]
model = casvit_mm.load(path)
for image in images:
    labels = model(image).labels  # (H, W), the number of the class of each pixel
    print(image, f'{(labels == model.classes.index(name)).mean():.1%}')
