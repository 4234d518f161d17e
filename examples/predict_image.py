"""What is in one image: python examples/predict_image.py best.pth photo.jpg out/."""

import sys

import casvit_mm

path, image, folder = sys.argv[1:]
model = casvit_mm.load(path)
result = model(image)
for row in result.rows():
    print(row)
print('written:', *result.save(folder))
