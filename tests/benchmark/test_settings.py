"""The options of a run."""

import pytest

from casvit_mm.benchmark import Settings
from casvit_mm.benchmark.peers import OURS
from casvit_mm.errors import InputError


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(), 'name a model'),
        (dict(models=['casvit_s'], roofline=True, train=True), '--roofline and --train'),
        (dict(models=['casvit_s'], rounds=1), '--rounds'),
        (dict(models=['casvit_s'], threads=0), '--batch and --threads'),
        (dict(models=['casvit_s'], settle=float('nan')), '--settle'),
        (dict(models=['casvit_s'], batch=[0]), '--batch'),
        (dict(models=['casvit_s'], sizes=['224', '512']), 'two sizes of 512 px'),
        (dict(models=['casvit_s'], sizes=['512', '1024'], peers=[]), '--sizes and --roofline'),
        (dict(models=['a.py', 'b.py'], checkpoint='c.pth'), 'one config'),
        (dict(part='backbone', peers=[]), '--part backbone'),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


def test_a_preset_is_the_protocol_of_the_paper():
    settings = Settings(preset='paper', device='cpu')
    assert settings.model_names == list(OURS)
    assert (settings.batches, settings.image_sizes) == ([64], [(224, 224)])
    assert [form.name for form in settings.chosen_forms] == ['onnxruntime']


def test_what_is_given_goes_before_the_preset():
    settings = Settings(preset='paper', device='cpu', batch=[2], forms=['eager'])
    assert settings.batches == [2]
    assert [form.name for form in settings.chosen_forms] == ['eager']
