"""The published code, beside ours."""

import pytest
from benchmark_models import quick

from casvit_mm.benchmark import benchmark
from casvit_mm.benchmark.official import load_official
from casvit_mm.errors import InputError

# As the published file: four constructors, of models with two heads that are averaged.
PUBLISHED_CODE = """
from torch import nn
from timm.models import register_model

class RCViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 3, 4)
        self.head, self.dist_head = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x):
        x = self.patch_embed(x).mean((2, 3))
        return (self.head(x) + self.dist_head(x)) / 2

@register_model
def rcvit_xs(**kwargs):
    return RCViT()
"""


@pytest.fixture
def checkout(tmp_path):
    path = tmp_path / 'classification/model/rcvit.py'
    path.parent.mkdir(parents=True)
    path.write_text(PUBLISHED_CODE)
    return tmp_path


def test_a_checkout_without_the_model_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match='git clone https'):
        load_official(str(tmp_path), 'xs')


def test_what_the_published_file_imports_and_is_absent_is_named(checkout):
    path = checkout / 'classification/model/rcvit.py'
    path.write_text('import no_such_package.inside\n' + path.read_text())
    with pytest.raises(InputError, match='pip install no_such_package'):
        load_official(str(checkout), 'xs')


def test_a_variant_that_the_published_file_lacks_is_named(checkout):
    with pytest.raises(InputError, match='defines no rcvit_t'):
        load_official(str(checkout), 't')


def test_the_published_code_is_the_baseline_of_ours(checkout):
    pytest.importorskip('mmpretrain')
    result = benchmark(
        quick(models=['casvit_xs'], official=str(checkout), size=['32'], forms=['eager'])
    )
    assert [row['model'] for row in result['rows']] == ['official rcvit_xs', 'casvit_xs']
    assert result['rows'][1]['than'] == 'official rcvit_xs eager'


def test_the_published_code_is_left_out_where_it_has_no_form(checkout):
    pytest.importorskip('mmpretrain')
    options = dict(models=['casvit_xs'], official=str(checkout), size=['32'])
    result = benchmark(quick(**options, forms=['eager', 'fused']))
    assert len(result['rows']) == 3
    assert any('rcvit_xs fused left out' in note for note in result['notes'])
