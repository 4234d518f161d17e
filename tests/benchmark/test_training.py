"""One training step."""

import pytest
import torch
from benchmark_models import CPU

from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.made_up_labels import made_up_labels
from casvit_mm.benchmark.model_specs import find_model_spec
from casvit_mm.benchmark.training import training_call
from casvit_mm.benchmark.workload import Workload
from casvit_mm.errors import InputError


def test_a_training_step_moves_the_weights(configs):
    spec = find_model_spec(configs['classifier'])
    form = Form.parse('eager+amp+channels_last')
    model, step = training_call(spec, Workload(form, 2, (32, 32), CPU))
    before = model.model.head.fc.weight.clone()
    step()
    assert not torch.equal(model.model.head.fc.weight, before)


@pytest.mark.parametrize(
    ('task', 'layer'), [('detector', 'rpn_head.rpn_cls'), ('segmentor', 'decode_head.conv_seg')]
)
def test_a_detector_and_a_segmentor_are_trained_on_made_up_labels(configs, task, layer):
    spec = find_model_spec(configs[task])
    model, step = training_call(spec, Workload(Form.parse('eager+amp'), 2, (64, 96), CPU))
    before = model.model.get_submodule(layer).weight.clone()
    step()
    assert not torch.equal(model.model.get_submodule(layer).weight, before)


@pytest.mark.parametrize('task', ['detector', 'segmentor'])
def test_made_up_labels_are_where_the_images_are(configs, task):
    model = find_model_spec(configs[task]).build()
    images = torch.empty(2, 3, 64, 96, device='meta')
    for sample in made_up_labels(model.model, model.samples(images), images):
        if task == 'segmentor':
            assert sample.gt_sem_seg.data.device.type == 'meta'
        else:
            assert sample.gt_instances.bboxes.device.type == 'meta'
            assert sample.gt_instances.labels.device.type == 'meta'
            assert sample.ignored_instances.bboxes.device.type == 'meta'


@pytest.mark.parametrize('form', ['fused', 'openvino', 'eager+bf16', 'eager+cuda_graph'])
def test_forms_for_inference_do_not_train(configs, form):
    with pytest.raises(InputError, match='form for inference'):
        training_call(
            find_model_spec(configs['classifier']), Workload(Form.parse(form), 2, (32, 32), CPU)
        )
