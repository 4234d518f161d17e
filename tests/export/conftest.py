"""Models of each kind, and their exports, made once for all tests."""

import pytest

PACKAGES = dict(
    onnx='onnxruntime', openvino='openvino', coreml='coremltools', ncnn='pnnx', mnn='MNN'
)


@pytest.fixture(scope='session')
def models(tmp_path_factory):
    """Config and checkpoint of each kind of model."""
    for package in ('mmdet', 'mmseg', 'mmpretrain'):
        pytest.importorskip(package)
    from export_models import CONFIGS, write_model

    folder = tmp_path_factory.mktemp('models')
    return {kind: write_model(folder, kind) for kind in CONFIGS}


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """A folder of images whose sizes differ."""
    from export_models import write_photos

    return write_photos(tmp_path_factory.mktemp('photos'))


@pytest.fixture
def write(models, photos, tmp_path):
    """Export one of the models and return the file and what was found."""

    def run(kind, form, **options):
        return _export(models, kind, form, tmp_path, dict(images=str(photos)) | options)

    return run


@pytest.fixture(scope='session')
def written(models, photos, tmp_path_factory):
    """As ``write``, but what several tests ask for is exported once."""
    known = {}

    def run(kind, form, **options):
        key = (kind, form, *sorted(options.items()))
        if key not in known:
            folder = tmp_path_factory.mktemp('file')
            known[key] = _export(models, kind, form, folder, dict(images=str(photos)) | options)
        return known[key]

    return run


def _export(models, kind, form, folder, options):
    pytest.importorskip('onnx')
    pytest.importorskip(PACKAGES.get(form, 'torch'))
    from casvit_mm.export import FORMATS, export

    detects = kind in ('retinanet', 'maskrcnn') and not options.get('backbone')
    if detects and FORMATS[form].no_detectors:
        pytest.skip(FORMATS[form].no_detectors)
    out = folder / f'model{FORMATS[form].suffix}'
    return out, export(*models[kind], format=form, out=str(out), **options)
