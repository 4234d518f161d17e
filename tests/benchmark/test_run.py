"""A whole run."""

import json

import pytest
from benchmark_models import quick

from casvit_mm.benchmark import benchmark


def test_a_run_writes_tables_and_json(configs, tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    pytest.importorskip('openvino')
    names = ['eager', 'eager+amp', 'onnxruntime', 'fused+openvino']
    options = dict(models=[configs['classifier']], forms=names, size=['64x32'], batch=[1, 2])
    benchmark(quick(**options, out=str(tmp_path)))
    written = json.loads((tmp_path / 'benchmark.json').read_text())
    assert [(row['form'], row['batch']) for row in written['rows']] == [
        (name, batch) for name in names for batch in (1, 2)
    ]
    text = (tmp_path / 'benchmark.md').read_text()
    assert text.count('\n| classifier |') == 1 + 8  # the model, and each case
