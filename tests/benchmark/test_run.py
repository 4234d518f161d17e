"""A whole run."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from benchmark_models import quick

from casvit_mm.benchmark import benchmark, engines, inference
from casvit_mm.benchmark.report import brief_markdown
from casvit_mm.errors import InputError


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


def test_a_form_that_fails_is_left_out_by_name_or_ends_the_run(configs, monkeypatch, capsys):
    def full(model, form, device):
        if form.channels_last:
            raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB.\nmore')
        return model

    monkeypatch.setattr(inference, 'prepare', full)
    forms = ['eager', 'eager+channels_last']
    options = dict(models=[configs['classifier']], forms=forms, size=['32'])
    with pytest.raises(RuntimeError, match='out of memory'):
        benchmark(quick(**options))
    result = benchmark(quick(**options, keep_going=True))
    assert [row['form'] for row in result['rows']] == ['eager']
    (failure,) = result['failures']
    assert (failure['form'], failure['memory']) == ('eager+channels_last', True)
    failed = 'classifier eager+channels_last, batch 1 failed: CUDA out of memory'
    assert failed in capsys.readouterr().out
    # What a GPU adds, and the notes that are of this run alone.
    result['rows'][0]['memory'] = 3 * 2**20
    told = brief_markdown(result)
    assert '| images/s | MiB | faster |' in told
    assert re.search(r'\| eager \|.*\| 3 \| 1\.00x \|', told)
    assert failed in told
    assert 'Timed in turn' not in told
    with pytest.raises(InputError, match='out of memory'):
        benchmark(quick(**options | dict(forms=forms[1:]), keep_going=True))


def test_onnxruntime_runs_on_inputs_that_stay_on_its_device(tmp_path):
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    module, x = torch.nn.Conv2d(3, 4, 1).eval(), torch.rand(2, 3, 8, 8)
    engines.trace_to_onnx(module, x, tmp_path / 'model.onnx')
    session = ort.InferenceSession(str(tmp_path / 'model.onnx'))
    bindings = []
    spied = SimpleNamespace(
        io_binding=lambda: bindings.append(session.io_binding()) or bindings[0],
        get_inputs=session.get_inputs,
        get_outputs=session.get_outputs,
        run_with_iobinding=session.run_with_iobinding,
    )
    engines.bind_on_device(spied, x.numpy(), 'cpu', 0)()
    (found,) = bindings[0].copy_outputs_to_cpu()
    torch.testing.assert_close(torch.from_numpy(found), module(x), rtol=1e-4, atol=1e-5)


def test_an_onnxruntime_without_a_gpu_is_named(monkeypatch):
    ort = pytest.importorskip('onnxruntime')
    monkeypatch.setattr(ort, 'get_available_providers', lambda: ['CPUExecutionProvider'])
    for engine in ('onnxruntime', 'tensorrt'):
        with pytest.raises(InputError, match='pip install onnxruntime-gpu'):
            engines.run_exported(torch.nn.Identity(), torch.rand(1), engine, 1, 'fp16', 'cuda')
