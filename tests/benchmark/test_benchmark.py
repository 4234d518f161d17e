"""The benchmark: its arithmetic with a clock of ours, and each kind of run on tiny models."""

import dataclasses
import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
from helpers import ROOT, TINY_ARCH, randomize_norms, run_command
from timm import is_model
from timm.layers import BatchNormAct2d
from torch import nn

import casvit_mm
from casvit_mm.benchmark import Settings, benchmark, forms
from casvit_mm.benchmark import scaling as linear
from casvit_mm.benchmark.cases import Contestant, Host, make_call
from casvit_mm.benchmark.cost import count_parameters, peak_of_call
from casvit_mm.benchmark.forms import Form
from casvit_mm.benchmark.host import check_device
from casvit_mm.benchmark.inputs import normalise, parse_size, pixels
from casvit_mm.benchmark.model_specs import find_subject
from casvit_mm.benchmark.official import load_official
from casvit_mm.benchmark.parts import REST, time_parts
from casvit_mm.benchmark.peers import OURS, PEERS, count_norms, fold_norms, peers_of
from casvit_mm.benchmark.plots import draw_accuracy, draw_growth
from casvit_mm.benchmark.roofline import Piece, bytes_moved, shares
from casvit_mm.benchmark.run import compare, lead_over_peers
from casvit_mm.benchmark.training import training_call
from casvit_mm.deploy.engines import require
from casvit_mm.errors import InputError
from casvit_mm.models import CASViT
from casvit_mm.models.complexity import multiply_adds
from casvit_mm.timing import Schedule, WallTimer, in_turn, speed_up, statistics

CLASSIFIER = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['casvit_mm.classification'])
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CASViT', arch=dict({TINY_ARCH!r}), out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='CASViTClsHead', num_classes=7, in_channels=20))
"""
DETECTOR = f"""
_base_ = '{ROOT}/configs/maskrcnn_casvit_xs_shapes.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels=[8, 12, 16, 20]))
"""
SEGMENTOR = f"""
_base_ = '{ROOT}/configs/semfpn_casvit_xs_shapes.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels=[8, 12, 16, 20]))
"""
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
CPU = Host('cpu', 1)


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    texts = dict(classifier=CLASSIFIER, detector=DETECTOR, segmentor=SEGMENTOR)
    for name, text in texts.items():
        (folder / f'{name}.py').write_text(text)
    return {name: str(folder / f'{name}.py') for name in texts}


class Clock:
    """A clock that moves only when a call says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def passing(self, seconds):
        def call(*_):
            self.now += seconds

        return call


def quick(**options):
    """Settings of the shortest run."""
    return Settings(**{'rounds': 2, 'calls': 1, 'settle': 0.0, 'device': 'cpu', **options})


def contestant(name, form='eager', **options):
    family = options.pop('family', name)
    return Contestant(name, family, Form.parse(form), 1, (224, 224), print, **options)


# Timing


def test_each_call_is_timed_by_itself():
    clock = Clock()
    lengths = iter([1.0, 3.0, 2.0])
    assert WallTimer(clock).time(lambda: clock.passing(next(lengths))(), 3) == [1.0, 3.0, 2.0]


def test_calls_settle_for_the_time_asked_for():
    clock = Clock()
    WallTimer(clock).settle(clock.passing(0.25), 0.6)
    assert clock.now == 0.75


def test_a_call_settles_once_however_short_the_time():
    clock = Clock()
    WallTimer(clock).settle(clock.passing(5.0), 0.0)
    assert clock.now == 5.0


def test_everyone_has_a_turn_in_every_round():
    order = []
    visits = [lambda i=i: order.append(i) for i in range(5)]
    in_turn(visits, Schedule(rounds=6, calls=1, settle=0.0, seed=0))
    rounds = [order[i : i + 5] for i in range(0, 30, 5)]
    assert [sorted(each) for each in rounds] == [[0, 1, 2, 3, 4]] * 6
    assert len(set(map(tuple, rounds))) > 1


def test_results_stay_with_their_contestants_whatever_the_order():
    kept = in_turn([lambda: 'a', lambda: 'b'], Schedule(rounds=4, calls=1, settle=0.0, seed=3))
    assert kept == [['a'] * 4, ['b'] * 4]


def test_the_ratio_is_right_although_the_machine_slows_down_during_the_run():
    slowdown = np.array([1.0, 1.0, 7.0, 3.0, 1.0])[:, None]
    baseline, other = np.full((5, 2), 0.020) * slowdown, np.full((5, 2), 0.010) * slowdown
    assert speed_up(baseline, other) == pytest.approx(dict(median=2.0, q1=2.0, q3=2.0))


def test_one_disturbed_round_does_not_move_the_ratio():
    baseline, other = np.full((5, 3), 0.020), np.full((5, 3), 0.010)
    other[2] = 0.5
    assert speed_up(baseline, other)['median'] == pytest.approx(2.0)


def test_statistics_are_percentiles_in_milliseconds():
    found = statistics(np.arange(101).reshape(1, 101) / 1000)
    assert found == pytest.approx(dict(min=0, q1=25, p50=50, q3=75, p90=90, p99=99, max=100))


# Comparison


def test_the_baseline_is_the_first_form_of_the_same_model():
    entered = [contestant(n, f) for n in ('casvit_xs', 'casvit_s') for f in ('eager', 'compile')]
    seconds = np.array([4.0, 2.0, 9.0, 3.0])[:, None, None] * np.ones((4, 2, 1))
    rows = compare(entered, seconds)
    assert [row['faster']['median'] for row in rows] == [1, 2, 1, 3]
    assert rows[3]['than'] == 'casvit_s eager'


def test_models_in_one_form_are_compared_with_the_first():
    seconds = np.array([4.0, 2.0])[:, None, None] * np.ones((2, 2, 1))
    rows = compare([contestant('casvit_xs'), contestant('repvit_m0_9')], seconds)
    assert rows[1]['faster']['median'] == 2
    assert rows[1]['than'] == 'casvit_xs eager'


def test_throughput_counts_the_images_of_a_batch():
    one = dataclasses.replace(contestant('casvit_xs'), batch=8)
    assert compare([one], np.full((1, 2, 3), 0.5))[0]['images_per_second'] == 16


def test_the_lead_is_over_the_fastest_peer_that_is_as_accurate():
    entered = [contestant('casvit_xs', top1=78.3)]
    for name, top1 in (('weaker', 78.2), ('slow', 83.0), ('rival', 78.3)):
        entered.append(contestant(name, top1=top1, peer=True))
    seconds = np.array([10.0, 1.0, 50.0, 14.0])[:, None, None] * np.ones((4, 3, 2))
    (lead,) = lead_over_peers(compare(entered, seconds))
    assert (lead['rival'], lead['faster']['median']) == ('rival', pytest.approx(1.4))


def test_a_peer_whose_accuracy_needs_larger_images_is_followed_by_the_fastest_other():
    entered = [contestant('casvit_m', top1=82.8)]
    for name in ('mobilenetv4_conv_large', 'efficientformerv2_l', 'repvit_m2_3'):
        entered.append(contestant(name, top1=PEERS[name].top1, peer=True))
    seconds = np.array([10.0, 10.0, 15.0, 20.0])[:, None, None] * np.ones((4, 3, 2))
    leads = lead_over_peers(compare(entered, seconds))
    assert [(lead['rival'], lead['rival_pixels']) for lead in leads] == [
        ('mobilenetv4_conv_large', 384),
        ('efficientformerv2_l', 224),
    ]
    assert [lead['faster']['median'] for lead in leads] == pytest.approx([1.0, 1.5])


def test_peers_count_in_the_same_form_only():
    entered = [
        contestant('casvit_xs', 'openvino', top1=78.3),
        contestant('other', 'eager', top1=80.0, peer=True),
    ]
    assert lead_over_peers(compare(entered, np.ones((2, 2, 1)))) == []


# Forms


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


def test_channels_last_and_precision_reach_weights_and_input(configs):
    seen = {}
    form = Form.parse('eager+channels_last+bf16')
    module, call = make_call(find_subject(configs['classifier']), form, 2, (32, 64), CPU)
    conv = module.model.backbone.stem[3]
    conv.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    call()
    assert seen['x'].dtype == torch.bfloat16
    assert seen['x'].is_contiguous(memory_format=torch.channels_last)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_fused_form_is_what_fuse_returns(configs, monkeypatch):
    marked = nn.Identity()
    monkeypatch.setattr(casvit_mm, 'fuse', lambda model: marked, raising=False)
    subject = find_subject(configs['classifier'])
    module, _ = make_call(subject, Form.parse('fused'), 1, (32, 32), CPU)
    assert module.model is marked


def test_a_whole_detector_in_an_engine_points_to_the_export(configs):
    with pytest.raises(InputError, match=r'tools/export.py.*--file'):
        make_call(find_subject(configs['detector']), Form.parse('openvino'), 1, (64, 64), CPU)


def test_a_whole_detector_in_half_precision_points_to_amp(configs):
    with pytest.raises(InputError, match='Use amp'):
        make_call(find_subject(configs['detector']), Form.parse('eager+bf16'), 1, (64, 64), CPU)


# What is asked for


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(), 'name a model'),
        (dict(models=['casvit_s'], roofline=True, train=True), '--roofline and --train'),
        (dict(models=['casvit_s'], rounds=1), '--rounds'),
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
    assert settings.subjects == list(OURS)
    assert (settings.batches, settings.image_sizes) == ([64], [(224, 224)])
    assert [form.name for form in settings.chosen_forms] == ['onnxruntime']


def test_what_is_given_goes_before_the_preset():
    settings = Settings(preset='paper', device='cpu', batch=[2], forms=['eager'])
    assert settings.batches == [2]
    assert [form.name for form in settings.chosen_forms] == ['eager']


@pytest.mark.parametrize(('text', 'size'), [('224', (224, 224)), ('640x480', (480, 640))])
def test_a_size_is_width_by_height(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize('text', ['x', '640x', '-3', '16', '640x16'])
def test_a_size_that_cannot_be_is_refused(text):
    with pytest.raises(InputError, match='size'):
        parse_size(text)


def test_an_unknown_model_names_near_ones():
    with pytest.raises(InputError, match=r'near: .*repvit_m0_9'):
        find_subject('repvit_m09')


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InputError, match=r'--device cuda: torch finds no GPU'):
        check_device('cuda')


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino', 'onnx'])
def test_a_missing_engine_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed.*pip install '\.\[export\]'"):
        require(name, 'export')


@pytest.mark.parametrize(
    ('file', 'message'), [('absent.onnx', 'does not exist'), ('model.pt', r'\.onnx and \.xml')]
)
def test_a_file_that_cannot_be_timed_is_refused(file, message):
    with pytest.raises(InputError, match=message):
        benchmark(quick(files=[file]))


# The published code


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


def test_the_published_code_is_left_out_where_it_has_no_form(checkout, monkeypatch):
    pytest.importorskip('mmpretrain')
    monkeypatch.setattr(casvit_mm, 'fuse', lambda model: model, raising=False)
    options = dict(models=['casvit_xs'], official=str(checkout), size=['32'])
    result = benchmark(quick(**options, forms=['eager', 'fused']))
    assert len(result['rows']) == 3
    assert any('rcvit_xs fused left out' in note for note in result['notes'])


# Cost


def test_parameters_are_counted_with_both_heads():
    pytest.importorskip('mmpretrain')
    assert count_parameters(find_subject('casvit_xs').build()) == 3_200_700


def test_multiply_adds_are_near_the_published_number():
    # 0.56 G, which counts norms and pooling as well.
    counted = multiply_adds(CASViT('xs', out_indices=(3,)).eval(), torch.rand(1, 3, 224, 224))
    assert counted / 1e9 == pytest.approx(0.56, rel=0.03)


def test_attention_is_counted_though_it_is_one_operator():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    # Two products of 16 x 16 tokens, 8 channels each.
    assert multiply_adds(Attention(), torch.rand(1, 1, 16, 8)) == 2 * 16 * 16 * 8


def test_peak_memory_includes_what_a_call_frees_again():
    peak = peak_of_call(lambda: torch.ones(2**20).exp().sum(), 'cpu')
    assert peak == pytest.approx(2 * 4 * 2**20, rel=0.01)


def test_the_exponent_is_that_of_the_pixels():
    sizes = [(512, 512), (1024, 768), (2048, 2048)]
    values = [3 * (height * width) ** 1.25 for height, width in sizes]
    assert linear.exponent(sizes, values) == pytest.approx(1.25)


def test_small_pictures_do_not_bend_the_exponent():
    sizes = [(64, 64), (512, 512), (1024, 1024)]
    assert linear.exponent(sizes, [7.0, 1.0, 4.0]) == pytest.approx(1.0)


def test_time_and_memory_are_measured_for_each_size(configs, monkeypatch, tmp_path):
    monkeypatch.setattr(linear, 'peak_of_call', lambda call, device: call()[0].shape[-1] ** 2)
    sizes = ['544', '512', '64']
    options = dict(models=[configs['classifier']], part='backbone', sizes=sizes)
    (curve,) = benchmark(quick(**options, out=str(tmp_path)))['curves']
    assert curve['bytes'] == [17**2, 16**2, 2**2]  # in the order given
    assert (tmp_path / 'growth.png').stat().st_size > 0


# Where the time goes


class Detector(nn.Module):
    """Something with the parts of a segmentor, each of which takes its time."""

    def __init__(self, clock):
        super().__init__()
        self.backbone, self.neck, self.decode_head = (nn.Identity() for _ in range(3))
        self.clock = clock
        for module, seconds in ((self.backbone, 4.0), (self.neck, 2.0), (self.decode_head, 1.0)):
            module.register_forward_hook(lambda *_: None)
            module.forward = clock.passing(seconds)

    def forward(self, x):
        self.neck(self.backbone(x))
        self.decode_head.forward(x)  # past the hooks, as mmseg does
        self.clock.now += 0.5


def test_the_time_of_each_part_is_told_and_the_rest_is_post_processing():
    clock = Clock()
    model = Detector(clock)
    found = time_parts(model, lambda: model(0), 2, 'cpu', clock)
    assert found == {
        'backbone': [4.0] * 2,
        'neck': [2.0] * 2,
        'head': [1.0] * 2,
        REST: [0.5] * 2,
    }


def test_a_model_is_left_as_it_was_after_its_parts_are_timed():
    model = nn.ModuleDict(dict(backbone=nn.Conv2d(3, 3, 1)))
    time_parts(model, lambda: model.backbone(torch.rand(1, 3, 4, 4)), 1, 'cpu')
    assert 'forward' not in vars(model.backbone)


@pytest.mark.parametrize(
    ('kind', 'parts'),
    [
        ('detector', ['backbone', 'neck', 'RPN head', 'box head', 'mask head', REST]),
        ('segmentor', ['backbone', 'neck', 'head', REST]),
    ],
)
def test_a_whole_model_is_timed_by_part(configs, kind, parts):
    pytest.importorskip(dict(detector='mmdet', segmentor='mmseg')[kind])
    result = benchmark(quick(models=[configs[kind]], size=['96x64'], by_part=True))
    (row,) = result['parts']
    assert list(row['ms']) == parts
    assert row['ms']['backbone'] > 0
    assert all(row['ms'][part] > 0 for part in parts if part != 'mask head')


def test_a_compiled_model_is_timed_by_part(configs, monkeypatch):
    pytest.importorskip('mmseg')
    monkeypatch.setattr(forms, 'check_compiler', lambda: None)
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend='eager'))
    options = dict(models=[configs['segmentor']], size=['64'], forms=['compile'])
    (row,) = benchmark(quick(**options, by_part=True))['parts']
    assert row['ms']['backbone'] > 0
    assert row['ms']['neck'] > 0


def test_parts_of_a_classifier_are_refused(configs):
    with pytest.raises(InputError, match='--by-part is for whole'):
        benchmark(quick(models=[configs['classifier']], size=['32'], by_part=True))


# Roofline


def test_a_fused_layer_moves_its_input_output_and_weights_once():
    module = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
    values = 3 * 4 * 4 + 8 * 4 * 4 + 3 * 8 + 2 * 8
    x = torch.rand(1, 3, 4, 4)
    assert bytes_moved(module, x, Form.parse('eager')) == 4 * values
    assert bytes_moved(module, x, Form.parse('eager+bf16')) == 2 * values


def test_shares_are_of_what_the_machine_can_do():
    piece = Piece('stage 1', print, moved=300, multiply_adds=500)
    (row,) = shares([piece], [np.full((2, 2), 2.0)], bandwidth=600, peak=1000)
    assert (row['of_bandwidth'], row['of_peak']) == (0.25, 0.25)


def test_every_stage_has_a_row(configs, monkeypatch):
    monkeypatch.setattr('casvit_mm.benchmark.roofline._BUFFER', 2**12)
    monkeypatch.setattr('casvit_mm.benchmark.roofline._SIDE', dict(cpu=8))
    result = benchmark(quick(models=[configs['classifier']], size=['64x32'], roofline=True))
    rows = result['rooflines'][0]['pieces']
    assert [row['name'] for row in rows] == ['stem', *(f'stage {i}' for i in range(1, 5))]
    assert sum(row['share'] for row in rows) == pytest.approx(1)


# Training


def test_a_training_step_moves_the_weights(configs):
    subject = find_subject(configs['classifier'])
    form = Form.parse('eager+amp+channels_last')
    model, step = training_call(subject, form, 2, (32, 32), CPU)
    before = model.model.head.fc.weight.clone()
    step()
    assert not torch.equal(model.model.head.fc.weight, before)


@pytest.mark.parametrize('form', ['fused', 'openvino', 'eager+bf16'])
def test_forms_for_inference_do_not_train(configs, form):
    with pytest.raises(InputError, match='form for inference'):
        training_call(find_subject(configs['classifier']), Form.parse(form), 2, (32, 32), CPU)


# Peers


@pytest.mark.parametrize('name', PEERS)
def test_timm_has_every_peer(name):
    assert is_model(name)


def test_every_peer_belongs_to_one_of_ours():
    assert sorted(name for ours in OURS for name in peers_of([ours])) == sorted(PEERS)


class Branching(nn.Module):
    """What torch.fx cannot follow, around what it can."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.Conv2d(4, 4, 1))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.body(x)
        return self.norm(x) if x.sum() < 1e9 else x


def test_norms_are_folded_where_the_forward_can_be_followed():
    model = Branching().double().eval()
    randomize_norms(model)
    folded = fold_norms(model)
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x))
    assert (count_norms(model), count_norms(folded)) == (2, 1)


# Whole runs


def test_a_run_writes_table_and_figures(configs, tmp_path):
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
    assert text.count('\n| classifier |') == 1 + 8  # the model, and each contestant


def test_an_exported_file_is_timed_beside_the_model_it_is_from(configs, tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from casvit_mm.export.onnx_file import trace_to_onnx

    subject = find_subject(configs['classifier'])
    trace_to_onnx(subject.build(), normalise(pixels(1, (32, 64))), tmp_path / 'tiny.onnx')
    options = dict(models=[configs['classifier']], files=[str(tmp_path / 'tiny.onnx')])
    result = benchmark(quick(**options, size=['64x32']))
    assert result['rows'][1]['than'] == 'classifier eager'
    assert (result['rows'][1]['width'], result['rows'][1]['height']) == (64, 32)


def test_a_misspelt_model_ends_the_tool_with_one_message():
    ended = run_command(sys.executable, 'tools/benchmark.py', 'casvit_z', '--device', 'cpu')
    assert ended.returncode == 2
    assert 'near: casvit_' in ended.stderr
    assert 'Traceback' not in ended.stderr


def rows_for_picture():
    return [
        dict(model=name, form='eager', batch=1, width=224, height=224, top1=top1, ms=dict(p50=ms))
        for name, top1, ms in (('casvit_xs', 78.3, 10.0), ('repvit_m0_9', 78.7, 12.0))
    ]


def test_the_picture_is_a_png(tmp_path):
    path = draw_accuracy(rows_for_picture(), tmp_path / 'accuracy.png', 'some machine')
    assert path.read_bytes().startswith(b'\x89PNG')


def test_growth_is_drawn_for_every_curve(tmp_path):
    curve = dict(
        model='casvit_s',
        form='eager',
        sizes=[(512, 512), (1024, 1024)],
        ms=[dict(p50=1.0), dict(p50=4.1)],
        bytes=[2**20, 2**22],
        time_exponent=1.02,
        memory_exponent=1.0,
    )
    engine = {**curve, 'form': 'openvino', 'bytes': None, 'memory_exponent': None}
    path = draw_growth([curve, engine], tmp_path / 'growth.png')
    assert path.read_bytes().startswith(b'\x89PNG')
