"""Runs of earlier code go on, and give the numbers that the earlier code gave."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from old_runs import unpack_run

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
import casvit_mm
from casvit_mm import deploy
from casvit_mm.config.building import build_model, read_model_config
from casvit_mm.datasets.shapes import (
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.engine import Start, TrainOptions, evaluate, train
from casvit_mm.export import export

GENERATORS = dict(
    detection=generate_shapes,
    segmentation=generate_shape_labels,
    classification=generate_shape_classes,
)


@pytest.fixture(scope='module', params=GENERATORS)
def run(request, tmp_path_factory) -> SimpleNamespace:
    """An old work dir, unpacked at another place, its data, and what the old code gave."""
    task = request.param
    folder = tmp_path_factory.mktemp(task)
    work_dir = folder / 'run'
    files = unpack_run(task, work_dir)
    return SimpleNamespace(
        task=task,
        work_dir=work_dir,
        config=files.config,
        checkpoint=files.checkpoint,
        data=str(GENERATORS[task](folder / 'data', sizes=(8, 4, 4), side=64, seed=1)),
        expected=json.loads((work_dir / 'expected.json').read_text()),
    )


def tensors(outputs):
    """Yield the tensors inside nested lists."""
    if torch.is_tensor(outputs):
        yield outputs
    else:
        for part in outputs:
            yield from tensors(part)


def test_the_network_computes_what_it_computed(run):
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 96)
    model = build_model(read_model_config(run.config), run.checkpoint).model
    with torch.no_grad():
        outputs = model(image, mode='tensor')
    found = [[float(x.double().mean()), float(x.double().abs().mean())] for x in tensors(outputs)]
    np.testing.assert_allclose(found, run.expected['outputs'], rtol=1e-5, atol=1e-7)


def test_the_checkpoint_is_evaluated_to_the_same_metrics(run, tmp_path):
    metrics = evaluate(run.config, run.checkpoint, data=run.data, work_dir=str(tmp_path))
    expected = {k: float('nan') if v is None else v for k, v in run.expected['metrics'].items()}
    assert metrics == pytest.approx(expected, abs=1e-9, nan_ok=True)


# The old code went on at the rate that the schedule had ended with, here 0, whatever the length.
STAYS_AT_ITS_END = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=20, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=20, end=200, by_epoch=False),
    dict(type='ConstantLR', factor=1, begin=200, end=204, by_epoch=False),
]


def test_the_run_is_resumed_with_the_same_losses(run, tmp_path):
    work_dir = tmp_path / 'moved'
    shutil.copytree(run.work_dir, work_dir)
    options = TrainOptions(
        data=run.data,
        work_dir=str(work_dir),
        start=Start(resume='auto'),
        cfg_options={
            **run.expected['resumed_with'],
            **({'param_scheduler': STAYS_AT_ITS_END} if run.task == 'segmentation' else {}),
        },
    )
    runner = train(str(work_dir / Path(run.config).name), options)
    losses = runner.message_hub.get_scalar('train/loss').data[0][-4:]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    version = '.'.join(torch.__version__.split('.')[:2])
    if version not in run.expected['losses']:
        pytest.skip(f'the losses of the old code are not known for torch {version}')
    np.testing.assert_allclose(losses, run.expected['losses'][version], rtol=1e-5)


def test_the_checkpoint_is_exported_and_predicted_with(run, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    out = tmp_path / 'model.onnx'
    exported = export(run.config, run.checkpoint, format='onnx', out=str(out))
    assert exported.comparison is not None
    predictor = deploy.load(out)
    result = predictor(np.zeros((64, 64, 3), np.uint8))
    assert predictor.spec.task == run.task
    assert {'circle', 'square', 'triangle'} <= set(predictor.spec.classes)
    kinds = dict(detection='Detections', segmentation='Segmentation')
    assert type(result).__name__ == kinds.get(run.task, 'Classification')


def test_it_predicts(run):
    predictor = casvit_mm.load(run.checkpoint, run.config, score_thr=0.0, device='cpu')
    result = predictor(np.zeros((64, 64, 3), np.uint8))
    assert predictor.task == run.task
    assert predictor.classes[-3:] == ('circle', 'square', 'triangle')
    assert result.rows()
