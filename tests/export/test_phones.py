"""Files for LiteRT and ExecuTorch give the results of the mm packages; skipped without them.

Neither is part of ``make test``: pip install '.[litert]' and '.[executorch]'.
"""

import json

import numpy as np
import pytest
from helpers import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from dense_detectors import dense_detector
from detector_files import assert_finds_what_mmdet_finds, outside_spec_of
from mmengine.config import Config

from casvit_mm import InputError, deploy
from casvit_mm.deploy.spec import Spec
from casvit_mm.export import FORMATS, build_graph
from casvit_mm.export.formats.executorch import _to_module

KINDS = ['classification', 'segmentation', 'segformer', 'upernet', 'retinanet']
PACKAGES = dict(litert='litert_torch', executorch='executorch')


@pytest.fixture
def form(request):
    pytest.importorskip(PACKAGES[request.param])
    return request.param


both = pytest.mark.parametrize('form', list(PACKAGES), indirect=True)


@pytest.mark.slow
@both
@pytest.mark.parametrize('kind', KINDS)
def test_a_file_gives_the_results_of_the_mm_package(written, kind, form):
    options = {} if kind == 'classification' else dict(size='128x96')
    if kind == 'retinanet':  # of many random boxes rounding decides on some
        options['allow_error'] = 0.01
    out, exported = written(kind, form, **options)
    assert exported.comparison.agreement > (0.99 if kind == 'retinanet' else 0.999)
    assert exported.comparison.maximum < 1e-3
    assert kind != 'retinanet' or exported.comparison.objects > 3
    found = json.loads(out.with_suffix('.operators.json').read_text())
    assert found['parts'] >= 1
    assert sum(found['delegated'].values()) > 5 * sum(found['left'].values())


@pytest.mark.slow
@both
def test_objects_and_masks_of_rtmdet_ins_are_those_of_mmdet(form, tmp_path):
    assert_finds_what_mmdet_finds(dense_detector('rtmdet-ins'), form, tmp_path)


def test_no_two_layers_of_a_program_of_executorch_share_weights():
    model = dense_detector('rtmdet-ins')
    graph = build_graph(Config(), model, outside_spec_of(model, size=(96, 160)))
    weights = [each for _, each in _to_module(graph).named_parameters(remove_duplicate=False)]
    assert len({id(weight) for weight in weights}) == len(weights) > 20


@pytest.mark.slow
@both
def test_a_backbone_gives_a_feature_map_per_stage(written, form):
    out, exported = written('retinanet', form, size='96x64', backbone=True)
    assert exported.comparison.maximum < 1e-4
    outputs = deploy.load(out).run(np.zeros((1, 3, 64, 96), np.uint8))
    assert [*outputs] == ['stride8', 'stride16', 'stride32']


@pytest.mark.slow
@both
@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_a_lower_precision_is_measured(written, photos, precision, form):
    options = dict(calibrate=str(photos)) if precision == 'int8' else {}
    out, exported = written('classification', form, precision=precision, **options)
    assert deploy.load(out).spec.precision == precision
    assert exported.comparison.mean < 0.1


@pytest.mark.slow
@both
@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('maskrcnn', dict(size='96x64'), 'no RoIAlign over regions.*RetinaNet or RTMDet-Ins'),
        ('retinanet', {}, 'have a fixed size: name it, as in --size 640x480'),
        ('retinanet', dict(size='96x64', nms='inside'), 'cannot choose objects'),
        ('classification', dict(precision='bf16'), 'cannot be written in bf16'),
    ],
)
def test_what_a_format_cannot_hold_is_refused(write, kind, form, options, message):
    with pytest.raises(InputError, match=message):
        write(kind, form, **options)


@pytest.mark.parametrize('form', list(PACKAGES))
def test_what_a_format_cannot_hold_is_known_without_its_packages(form):
    spec = Spec('detection', ('a',), (), (0.0,) * 3, (1.0,) * 3, rgb=True)
    with pytest.raises(InputError, match='no RoIAlign over regions'):
        FORMATS[form].refuse(spec, two_stages=True)
    with pytest.raises(InputError, match='fixed size: name it'):
        FORMATS[form].refuse(spec, two_stages=False)


@pytest.mark.parametrize('form', list(PACKAGES))
def test_a_missing_package_is_named_with_its_extra_before_work_begins(form, tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    from casvit_mm.export import export

    out = tmp_path / f'model{FORMATS[form].suffix}'
    expected = rf"not installed.*pip install '\.\[{form}\]'|executorch needs NumPy 2"
    with pytest.raises(InputError, match=expected):
        export(str(ROOT / 'no config'), format=form, out=str(out))


@pytest.mark.slow
def test_an_operator_without_a_kernel_is_named(write, monkeypatch):
    pytest.importorskip('executorch')
    monkeypatch.setattr('casvit_mm.export.graphs.fix_pooling', lambda *_: None)
    with pytest.raises(InputError, match=r'no kernel for one of.*adaptive_avg_pool2d'):
        write('upernet', 'executorch', size='160x96')
