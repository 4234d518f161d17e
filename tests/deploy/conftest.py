"""Exported models, and photos for them."""

import pytest


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """A folder of images whose sizes differ."""
    from export_models import write_photos

    return write_photos(tmp_path_factory.mktemp('photos'))


@pytest.fixture(scope='session')
def classifier(tmp_path_factory, photos):
    """A classifier as an ONNX file."""
    return _exported('classification', 'mmpretrain', tmp_path_factory, photos)


@pytest.fixture(scope='session')
def detector(tmp_path_factory, photos):
    """A Mask R-CNN as an ONNX file."""
    return _exported('maskrcnn', 'mmdet', tmp_path_factory, photos)


def _exported(kind, framework, tmp_path_factory, photos):
    for package in (framework, 'onnxruntime', 'onnx'):
        pytest.importorskip(package)
    from export_models import export_onnx

    return export_onnx(kind, tmp_path_factory.mktemp(kind), photos)
