"""Files of ncnn and MNN compute what the model computes, and say what they cannot."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnx')
from dense_detectors import dense_detector
from detector_files import assert_finds_what_mmdet_finds
from export_models import random_image

from casvit_mm import InputError
from casvit_mm.deploy import load
from casvit_mm.deploy.engines import engine_of
from casvit_mm.export import FORMATS, export
from casvit_mm.export.export import move
from casvit_mm.export.formats import mnn, ncnn


def package(form):
    return pytest.importorskip('MNN' if form == 'mnn' else 'pnnx')


@pytest.mark.parametrize('form', ['ncnn', 'mnn'])
@pytest.mark.parametrize(
    ('kind', 'size'),
    [
        ('classification', None),
        ('segmentation', '128x96'),
        pytest.param('segformer', '128x96', marks=pytest.mark.slow),
        pytest.param('upernet', '128x96', marks=pytest.mark.slow),
    ],
)
def test_a_file_gives_the_results_of_the_mm_package(written, kind, size, form):
    package(form)
    options = {} if size is None else dict(size=size)
    out, exported = written(kind, form, **options)
    assert exported.comparison.agreement > 0.999
    assert exported.comparison.mean < 1e-4
    assert load(out).spec.size == ((128, 128) if size is None else (96, 128))


@pytest.mark.parametrize('form', ['ncnn', 'mnn'])
@pytest.mark.parametrize('kind', ['rtmdet-ins', pytest.param('atss', marks=pytest.mark.slow)])
def test_a_detector_and_its_masks_are_those_of_mmdet(kind, form, tmp_path):
    package(form)
    assert_finds_what_mmdet_finds(dense_detector(kind), form, tmp_path)


@pytest.mark.parametrize(
    ('kind', 'form', 'precision'),
    [
        ('classification', 'ncnn', 'fp16'),
        ('classification', 'mnn', 'fp16'),
        ('classification', 'mnn', 'int8'),
        ('segformer', 'mnn', 'int8'),
    ],
)
def test_a_lower_precision_makes_a_smaller_file_that_is_close(written, kind, form, precision):
    package(form)
    whole, _ = written(kind, form)
    out, exported = written(kind, form, precision=precision)
    sizes = [
        sum(each.stat().st_size for each in FORMATS[form].files(path)) for path in (whole, out)
    ]
    assert sizes[1] < 0.9 * sizes[0]
    assert 0 < exported.comparison.mean < 0.01
    assert load(out).spec.precision == precision


def test_mnn_leaves_sizes_and_batch_open(written, photos):
    package('mnn')
    model = load(written('segformer', 'mnn')[0], threads=1)
    assert model.spec.size is None
    batch = np.stack([random_image(96, 160, seed).transpose(2, 0, 1) for seed in range(2)])
    together = model.run(batch)['logits']
    for number, image in enumerate(batch):
        np.testing.assert_allclose(model.run(image[None])['logits'][0], together[number], atol=1e-3)


@pytest.mark.parametrize(
    ('kind', 'form', 'options', 'message'),
    [
        ('maskrcnn', 'ncnn', dict(size='96x64'), 'cannot choose the regions.*RTMDet-Ins'),
        ('maskrcnn', 'mnn', {}, 'cannot choose the regions'),
        ('segmentation', 'ncnn', {}, 'fixed size here: name it, as in --size 640x480'),
        ('segmentation', 'ncnn', dict(dynamic=True), 'leave --dynamic out'),
        ('retinanet', 'ncnn', dict(size='96x64', nms='inside'), 'cannot choose objects'),
        ('classification', 'ncnn', dict(precision='int8', calibrate='.'), 'ncnn2table'),
        ('classification', 'ncnn', dict(precision='bf16'), 'cannot be written in bf16'),
        ('segmentation', 'mnn', dict(precision='int8', calibrate='.'), 'leave --calibrate out'),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_the_work(
    models, tmp_path, kind, form, options, message
):
    package(form)
    out = tmp_path / f'model{FORMATS[form].suffix}'
    with pytest.raises(InputError, match=message):
        export(models[kind][0], format=form, out=str(out), **options)
    assert not list(tmp_path.iterdir())


def test_a_file_of_ncnn_must_have_both_endings(models, tmp_path):
    with pytest.raises(InputError, match=r'ends in \.ncnn\.param'):
        export(models['classification'][0], format='ncnn', out=str(tmp_path / 'model.param'))


def test_a_layer_that_ncnn_lacks_leaves_no_file(models, photos, tmp_path, monkeypatch):
    package('ncnn')
    convert = ncnn._convert

    def with_a_foreign_layer(script, shape, halves, layers, weights):
        said = convert(script, shape, halves, layers, weights)
        layers.write_text(layers.read_text().replace('Softmax ', 'aten::softmax '))
        return said

    monkeypatch.setattr(ncnn, '_convert', with_a_foreign_layer)
    monkeypatch.chdir(tmp_path)  # pnnx works in a folder of its own
    out = 'model.ncnn.param'
    with pytest.raises(InputError, match=r'no layer for aten::softmax'):
        export(*models['classification'], format='ncnn', out=out, images=str(photos))
    assert not list(tmp_path.iterdir())


def test_what_ncnn_runs_on_a_gpu_is_listed(written):
    package('ncnn')
    out, _ = written('classification', 'ncnn')
    listed = json.loads(out.with_suffix('.operators.json').read_text())
    assert (listed['delegate'], listed['parts'], listed['left']) == ('Vulkan', 1, {'Input': 1})
    kinds = [line.split()[0] for line in out.read_text().splitlines()[2:]]
    assert sum(listed['delegated'].values()) == len(kinds) - 1
    # A layer that ncnn has on the CPU alone cuts what is around it.
    lines = out.read_text().splitlines()
    place = max(number for number, line in enumerate(lines) if line.startswith('GELU'))
    lines[place] = lines[place].replace('GELU', 'GLU', 1)
    parts, within, outside = ncnn._split_by_gpu('\n'.join(lines))
    assert parts == 2
    assert outside == {'Input': 1, 'GLU': 1}
    assert within.total() == len(kinds) - 2


def test_files_of_two_exports_are_told_apart(written, tmp_path):
    package('ncnn')
    out, _ = written('classification', 'ncnn')
    copies = []
    for file in FORMATS['ncnn'].files(out):
        copies.append(tmp_path / file.name)
        copies[-1].write_bytes(file.read_bytes())
    weights, described, _, layers = copies
    assert load(layers).spec.task == 'classification'
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r'\.ncnn\.bin differs'):
        load(layers)
    described.unlink()
    with pytest.raises(InputError, match=r'model\.ncnn\.json does not exist'):
        load(layers)


def test_an_edited_network_of_ncnn_is_taken_without_its_checksums(written, tmp_path):
    package('ncnn')
    out, _ = written('classification', 'ncnn')
    for file in FORMATS['ncnn'].files(out):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    described = tmp_path / 'model.ncnn.json'
    content = json.loads(described.read_text())
    del content['crc32']
    described.write_text(json.dumps(content))
    layers = tmp_path / 'model.ncnn.param'
    layers.write_text(layers.read_text().replace('0=1.000000e-5', '0=1e-5'))
    assert load(layers).spec.task == 'classification'


def test_damaged_files_are_refused(written, tmp_path):
    package('mnn')
    path = tmp_path / 'model.mnn'
    path.write_bytes(written('classification', 'mnn')[0].read_bytes()[:-3000])
    with pytest.raises(InputError, match='cannot be loaded'):
        load(path)
    package('ncnn')
    for name, text in [('a.ncnn.param', '7767517\n'), ('a.ncnn.bin', ''), ('a.ncnn.json', '{}')]:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match='does not say how to use it'):
        load(tmp_path / 'a.ncnn.param')


def test_the_old_file_goes_before_half_of_the_new_ones_is_in_place(tmp_path, monkeypatch):
    kind = FORMATS['ncnn']
    old, new = tmp_path / 'old.ncnn.param', tmp_path / 'new.ncnn.param'
    for file in (*kind.files(old), *kind.files(new)):
        file.write_text(file.name)
    new.unlink()  # the move fails at the last file
    with pytest.raises(OSError, match='new'):
        move(kind.files(new), kind.files(old))
    assert not old.exists()


@pytest.mark.parametrize(('form', 'name'), [('ncnn', 'pnnx'), ('ncnn', 'ncnn'), ('mnn', 'MNN')])
def test_a_missing_package_names_the_extra(models, tmp_path, monkeypatch, form, name):
    package(form)
    monkeypatch.setitem(sys.modules, name, None)
    out = str(tmp_path / f'model{FORMATS[form].suffix}')
    with pytest.raises(InputError, match=rf"{name} is not installed.*'\.\[{form}\]'"):
        export(models['classification'][0], format=form, out=out)


def test_the_commands_of_mnn_that_report_to_its_maker_are_not_used(tmp_path, monkeypatch):
    package('mnn')
    written = tmp_path / 'modules'
    imports, _, _ = mnn._CONVERTER.partition(';')
    listed = f'open({str(written)!r}, "w").write(str(sorted(sys.modules)))'
    monkeypatch.setattr(mnn, '_CONVERTER', f'{imports}; {listed}')
    mnn._convert([], written)
    assert '_tools' in written.read_text()
    assert 'MNN.tools' not in written.read_text()


def test_a_gpu_is_refused(written):
    package('mnn')
    with pytest.raises(InputError, match='cannot run on cuda here'):
        load(written('classification', 'mnn')[0], device='cuda')


def test_engines_are_known_by_the_whole_ending():
    assert engine_of('a/model.ncnn.param').name == 'ncnn'
    assert engine_of('model.param') is None
