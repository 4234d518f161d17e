"""Predict with a file that ``casvit-mm export`` wrote: NumPy, OpenCV and the engine are enough.

from casvit_mm.deploy import load

found = load('model.onnx')('photo.jpg')
"""

from casvit_mm.deploy.base import to_coco
from casvit_mm.deploy.engines import open_engine
from casvit_mm.deploy.images import read_image
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.predictor import Predictor, load
from casvit_mm.deploy.results import Classification, Detections, Features, Segmentation
from casvit_mm.deploy.spec import Spec

__all__ = [
    'Classification',
    'Detections',
    'Features',
    'ImageModel',
    'Predictor',
    'Segmentation',
    'Spec',
    'load',
    'open_engine',
    'read_image',
    'to_coco',
]
