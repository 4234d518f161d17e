"""Files of the tiny detectors, written without an export: what they say of themselves, and hold."""

from dataclasses import replace

import numpy as np
import torch
from dense_detectors import CLASSES
from export_models import random_image
from mmengine.config import Config

from casvit_mm.deploy import Predictor
from casvit_mm.deploy.engines import open_engine
from casvit_mm.deploy.images import Resized
from casvit_mm.deploy.outputs import read_outputs
from casvit_mm.deploy.spec import Spec
from casvit_mm.export import FORMATS, build_graph
from casvit_mm.export.detectors import mask_stride
from casvit_mm.export.head_maps import outside_settings
from casvit_mm.export.reference import reference


def spec_of(model):
    """Return what a file says that chooses the objects itself."""
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    mean, std = (tuple(each.flatten().tolist()) for each in (mean, std))
    return Spec('detection', CLASSES, (), mean, std, False)


def outside_spec_of(model, size, **fields):
    """Return what a file of one size says that holds the maps of the head alone."""
    outside = dict(mask_stride=mask_stride(model), outside=outside_settings(model))
    return replace(spec_of(model), size=size, **outside, **fields)


def write_outside(model, spec, form, folder):
    """Write the maps of the head, and return the path."""
    path = folder / f'model{FORMATS[form].suffix}'
    example = torch.zeros(1, 3, *spec.size, dtype=torch.uint8)
    FORMATS[form].write(build_graph(Config(), model, spec), example, spec, path)
    return path


def assert_finds_what_mmdet_finds(model, form, folder):
    """Write a file, and compare its objects and masks in an image with those of mmdet."""
    spec = outside_spec_of(model, size=(96, 160))
    path = write_outside(model, spec, form, folder)
    image = random_image(96, 160)
    resized = Resized(image, (96, 160), (72, 120))
    outputs = Predictor(open_engine(path, 1)).run(image.transpose(2, 0, 1)[None].copy())
    found = read_outputs(outputs, spec, resized)
    expected = reference(model, 'detection', resized)[1]
    assert len(expected.scores) == len(found.scores) > 5
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-3)
    for number in range(len(found.scores)):
        same = int(np.abs(expected.boxes - found.boxes[number]).max(1).argmin())
        np.testing.assert_allclose(found.boxes[number], expected.boxes[same], atol=0.1)
        assert (found.masks is None) == (expected.masks is None)
        if found.masks is not None:
            assert (expected.masks[same] == found.masks[number]).mean() > 0.99
