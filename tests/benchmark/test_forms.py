"""The forms a model is timed in."""

import pytest
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
        ('onnxruntime+bf16', 'tools/export.py'),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(InputError, match='--forms') as error:
        Form.parse(text)
    assert message in str(error.value)


def test_compile_without_a_compiler_is_an_error_before_the_run(monkeypatch):
    def fail():
        raise InputError('--compile: torch cannot compile on this host: install g++')

    monkeypatch.setattr(forms, 'check_compiler', fail)
    with pytest.raises(InputError, match=r'--forms fused\+compile: the form compile: .*g\+\+'):
        benchmark(quick(models=['casvit_xs'], forms=['fused+compile']))
