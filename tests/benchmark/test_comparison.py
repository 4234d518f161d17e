"""Rows of the table: the baseline of each, and the lead over the peers."""

import numpy as np
import pytest
from benchmark_models import CPU

from casvit_mm.benchmark.cases import BenchmarkCase
from casvit_mm.benchmark.comparison import compare, lead_over_peers
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.peers import PEERS
from casvit_mm.benchmark.workload import Workload


def case(name, form='eager', **options):
    family = options.pop('family', name)
    workload = Workload(Form.parse(form), options.pop('batch', 1), (224, 224), CPU)
    return BenchmarkCase(name, family, workload, print, **options)


def test_the_baseline_is_the_first_form_of_the_same_model():
    cases = [case(n, f) for n in ('casvit_xs', 'casvit_s') for f in ('eager', 'compile')]
    seconds = np.array([4.0, 2.0, 9.0, 3.0])[:, None, None] * np.ones((4, 2, 1))
    rows = compare(cases, seconds)
    assert [row['faster']['median'] for row in rows] == [1, 2, 1, 3]
    assert rows[3]['than'] == 'casvit_s eager'


def test_models_in_one_form_are_compared_with_the_first():
    seconds = np.array([4.0, 2.0])[:, None, None] * np.ones((2, 2, 1))
    rows = compare([case('casvit_xs'), case('repvit_m0_9')], seconds)
    assert rows[1]['faster']['median'] == 2
    assert rows[1]['than'] == 'casvit_xs eager'


def test_throughput_counts_the_images_of_a_batch():
    one = case('casvit_xs', batch=8)
    assert compare([one], np.full((1, 2, 3), 0.5))[0]['images_per_second'] == 16


def test_the_lead_is_over_the_fastest_peer_that_is_as_accurate():
    cases = [case('casvit_xs', top1=78.3)]
    for name, top1 in (('weaker', 78.2), ('slow', 83.0), ('rival', 78.3)):
        cases.append(case(name, top1=top1, peer=True))
    seconds = np.array([10.0, 1.0, 50.0, 14.0])[:, None, None] * np.ones((4, 3, 2))
    (lead,) = lead_over_peers(compare(cases, seconds))
    assert (lead['rival'], lead['faster']['median']) == ('rival', pytest.approx(1.4))


def test_a_peer_whose_accuracy_needs_larger_images_is_followed_by_the_fastest_other():
    cases = [case('casvit_m', top1=82.8)]
    for name in ('mobilenetv4_conv_large', 'efficientformerv2_l', 'repvit_m2_3'):
        cases.append(case(name, top1=PEERS[name].top1, peer=True))
    seconds = np.array([10.0, 10.0, 15.0, 20.0])[:, None, None] * np.ones((4, 3, 2))
    leads = lead_over_peers(compare(cases, seconds))
    assert [(lead['rival'], lead['rival_pixels']) for lead in leads] == [
        ('mobilenetv4_conv_large', 384),
        ('efficientformerv2_l', 224),
    ]
    assert [lead['faster']['median'] for lead in leads] == pytest.approx([1.0, 1.5])


def test_peers_count_in_the_same_form_only():
    cases = [
        case('casvit_xs', 'openvino', top1=78.3),
        case('other', 'eager', top1=80.0, peer=True),
    ]
    assert lead_over_peers(compare(cases, np.ones((2, 2, 1)))) == []
