"""The forms a model is timed in."""

import pytest
import torch
from benchmark_models import quick

from casvit_mm.benchmark import benchmark, forms
from casvit_mm.benchmark.forms import Form
from casvit_mm.errors import InputError


def test_a_form_is_read_from_its_words():
    form = Form.parse('fused+channels_last+compile+bf16')
    assert (form.fused, form.channels_last, form.compile) == (True, True, True)
    assert (form.engine, form.precision) == ('torch', 'bf16')


def test_the_precision_of_a_form_is_its_own_word_before_the_option():
    assert Form.parse('openvino+bf16', 'fp16').precision == 'bf16'
    assert Form.parse('eager', 'amp').name == 'eager+amp'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('eager+chanels_last', "'channels_last'?"),
        ('eager+fused', 'exclude each other'),
        ('onnxruntime+openvino', 'exclude each other'),
        ('openvino+compile', 'forms of PyTorch'),
        ('onnxruntime+bf16', 'casvit-mm export'),
        ('tensorrt+cuda_graph', 'forms of PyTorch'),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(InputError, match='--forms') as error:
        Form.parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ('form', 'reason'),
    [
        ('eager+cuda_graph', 'cuda_graph needs a GPU'),
        ('tensorrt+fp16', 'tensorrt needs a GPU'),
        ('onnxruntime+fp16', 'computes in fp32'),
    ],
)
def test_a_form_of_a_gpu_is_refused_on_a_cpu_or_left_out(form, reason, configs):
    options = dict(models=[configs['classifier']], size=['32'], forms=[form, 'eager'])
    with pytest.raises(InputError, match=reason):
        benchmark(quick(**options))
    result = benchmark(quick(**options, keep_going=True))
    assert [row['form'] for row in result['rows']] == ['eager']
    assert reason in result['failures'][0]['reason']


def test_mixed_precision_is_float16_on_a_gpu_before_ampere(monkeypatch):
    found = {'cuda:0': (7, 5), 'cuda:1': (8, 6)}
    monkeypatch.setattr(torch.cuda, 'get_device_capability', found.get)
    assert forms.mixed_type.__wrapped__('cuda:0') == torch.float16
    assert forms.mixed_type.__wrapped__('cuda:1') == torch.bfloat16


def test_compile_without_a_compiler_is_an_error_before_the_run(monkeypatch):
    def fail():
        raise InputError('--compile: torch cannot compile on this host: install g++')

    monkeypatch.setattr(forms, 'check_compiler', fail)
    with pytest.raises(InputError, match=r'--forms fused\+compile: the form compile: .*g\+\+'):
        benchmark(quick(models=['casvit_xs'], forms=['fused+compile']))
