"""Draft labels for a tool that reads COCO: python examples/label_with_model.py best.pth DIR OUT."""

import json
import sys
from pathlib import Path

import casvit_mm
from casvit_mm.deploy import to_coco

model = casvit_mm.load(sys.argv[1])
results = model(sorted(Path(sys.argv[2]).glob('*.*g')))  # .jpg, .jpeg, .png
Path(sys.argv[3]).write_text(json.dumps(to_coco(results)))
