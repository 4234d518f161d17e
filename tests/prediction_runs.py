"""Predictions of a tiny detector on files that tests write."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet')
from casvit_mm.prediction.files import predict
from casvit_mm.prediction.options import PredictOptions

# Of :func:`export_models.write_model`, and options by which all of a prediction is written.
KINDS = {
    'maskrcnn': dict(labels='labelme', score_thr=0.05),
    'segmentation': dict(labels='coco'),
    'classification': dict(labels='yolo'),
}


def spread_scores(predictor, pixels, detector):
    """Set the classifier of ``detector`` so that classes and scores differ between boxes."""
    features = []
    classifier = predictor._model.roi_head.bbox_head.fc_cls
    classifier.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    predictor(pixels)
    mean, std = features[0].mean(0), features[0].std(0)
    weight = torch.randn(4, len(mean)) / (std.norm() / 2)
    target = detector.roi_head.bbox_head.fc_cls
    target.weight.data.copy_(weight)
    target.bias.data.copy_(-weight @ mean)


def save(image, path, **options):
    Image.fromarray(image).save(path, **options)
    return path


def run(model, inputs, out_dir, **options):
    options = dict(score_thr=0.05, device='cpu', out_dir=str(out_dir)) | options
    config, checkpoint = model
    options = PredictOptions(config=config, **options)
    return predict(checkpoint, [str(path) for path in inputs], options).read()


def write_video(path, num_frames, fourcc='MJPG', size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 10, size)
    for i in range(num_frames):
        writer.write(np.full((size[1], size[0], 3), 20 * i % 256, np.uint8))
    writer.release()
    return path


def edited_checkpoint(model, path, change):
    content = torch.load(model[1], weights_only=True)
    change(content)
    torch.save(content, path)
    return str(path)


def contents(folder):
    """Return the bytes of all files below a folder but drawn videos, which hold random numbers."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and path.suffix not in ('.webm', '.mp4')
    }
