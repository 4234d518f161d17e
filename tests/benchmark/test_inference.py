"""One call of a model in each form."""

import pytest
import torch
from benchmark_models import CPU
from torch import nn

from casvit_mm.benchmark import inference
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.inference import inference_call
from casvit_mm.benchmark.model_specs import find_model_spec
from casvit_mm.benchmark.workload import Workload
from casvit_mm.errors import InputError


def test_channels_last_and_precision_reach_weights_and_input(configs):
    seen = {}
    form = Form.parse('eager+channels_last+bf16')
    module, call = inference_call(
        find_model_spec(configs['classifier']), Workload(form, 2, (32, 64), CPU)
    )
    conv = module.model.backbone.stem[3]
    conv.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    call()
    assert seen['x'].dtype == torch.bfloat16
    assert seen['x'].is_contiguous(memory_format=torch.channels_last)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_fused_form_is_what_fuse_returns(configs, monkeypatch):
    marked = nn.Identity()
    monkeypatch.setattr(inference, 'fuse', lambda model: marked)
    spec = find_model_spec(configs['classifier'])
    module, _ = inference_call(spec, Workload(Form.parse('fused'), 1, (32, 32), CPU))
    assert module.model is marked


def test_a_whole_detector_in_an_engine_points_to_the_export(configs):
    detector = find_model_spec(configs['detector'])
    with pytest.raises(InputError, match=r'casvit-mm export.*--file'):
        inference_call(detector, Workload(Form.parse('openvino'), 1, (64, 64), CPU))


def test_a_whole_detector_in_half_precision_points_to_amp(configs):
    detector = find_model_spec(configs['detector'])
    with pytest.raises(InputError, match='Use amp'):
        inference_call(detector, Workload(Form.parse('eager+bf16'), 1, (64, 64), CPU))
