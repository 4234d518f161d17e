"""The command line of exports."""

import pytest
from helpers import run_job

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import write_model


def test_the_command_line_prints_a_refusal_and_exits_with_2(tmp_path):
    config, checkpoint = write_model(tmp_path, 'classification')
    options = ('--format', 'onnx', '--out', tmp_path / 'model.xml')
    done = run_job('export', config, checkpoint, *options)
    assert done.returncode == 2
    assert done.stderr.strip().endswith('a file of --format onnx ends in .onnx')
