"""Official detectors and segmentors, whole, at every place where a path is accepted."""

import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT, official_state_dict, slow_after
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, init_default_scope

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from official_files import (
    CLASSES,
    RECIPES,
    WIDTH,
    head_shapes,
    official_model,
    renamed,
    save_official,
    write_config,
)

from casvit_mm import CASViT, InputError, load_weights
from casvit_mm.datasets.shapes import generate_shape_labels
from casvit_mm.engine import Start, TrainOptions, evaluate, train
from casvit_mm.prediction.checkpoints import CheckpointModel
from casvit_mm.weights.fitting import fit_whole
from casvit_mm.weights.matching import compare
from casvit_mm.weights.official_keys import (
    WHOLE_MODELS,
    rename_official_keys,
    whole_model_of,
)

METHODS = list(RECIPES)
NORM0 = [
    f'backbone.norm0.{part}'
    for part in ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
]


class _Ready(Exception):
    """Ends a training that is ready to start."""


@HOOKS.register_module()
class _EndBeforeTraining(Hook):
    def before_train(self, runner):
        raise _Ready(runner)


@HOOKS.register_module()
class _KeepModel(Hook):
    """Keeps the model of the last evaluation."""

    def after_test_epoch(self, runner, metrics=None):
        _KeepModel.model = runner.model


@pytest.fixture(scope='module')
def configs(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp('configs')
    return {method: write_config(folder, method) for method in METHODS}


@pytest.fixture(scope='module')
def data(shapes, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp('labels')
    labels = str(generate_shape_labels(folder, sizes=(4, 2, 2), side=64))
    return {method: labels if method == 'Semantic FPN' else str(shapes) for method in METHODS}


def build(config):
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


def by_hand(method) -> dict[str, torch.Tensor]:
    """What a model must hold after loading the official file of a method."""
    state = rename_official_keys(official_model(method))
    unread = NORM0 if method == 'RetinaNet' else []
    return {key: value for key, value in state.items() if key not in unread}


def loaded_in_python(config, path, data, folder):
    model = build(config)
    load_weights(model, path)
    return model


def evaluated(config, path, data, folder):
    hooks = {'custom_hooks': [dict(type='_KeepModel')]}
    evaluate(config, str(path), data=data, work_dir=str(folder), cfg_options=hooks)
    return _KeepModel.model


def trained(config, data, folder, options=None, **start):
    options = {'custom_hooks': [dict(type='_EndBeforeTraining')], **(options or {})}
    with pytest.raises(_Ready) as ready:
        train(
            config,
            TrainOptions(
                data=data, work_dir=str(folder), start=Start(**start), cfg_options=options
            ),
        )
    return ready.value.args[0].model


def finetuned(config, path, data, folder):
    return trained(config, data, folder, finetune=str(path))


def loaded_from(config, path, data, folder):
    return trained(config, data, folder, {'load_from': str(path)})


def initialised_whole(config, path, data, folder):
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    return trained(config, data, folder, {'model.init_cfg': init_cfg})


def predicting(config, path, data, folder):
    return CheckpointModel(path, config, device='cpu')._model


WHOLE = [
    loaded_in_python,
    evaluated,
    finetuned,
    loaded_from,
    initialised_whole,
    predicting,
]


def pretrained(config, path, data, folder):
    return trained(config, data, folder, pretrained=str(path)).backbone


def initialised(config, path, data, folder):
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    backbone = CASViT('xs', init_cfg=init_cfg)
    backbone.init_weights()
    return backbone


def assert_holds(model, expected) -> None:
    state = {key: value.cpu() for key, value in model.state_dict().items()}
    assert state.keys() == expected.keys()
    assert [key for key in state if not torch.equal(state[key], expected[key])] == []


@pytest.mark.parametrize('method', METHODS)
def test_names_and_shapes_of_the_published_size_are_those_of_the_recipe(method):
    with torch.device('meta'):
        model = build(ROOT / f'configs/{RECIPES[method]}.py')
        classes = 150 if method == 'Semantic FPN' else 80
        hidden = 128 if method == 'Semantic FPN' else 1024
        heads = {k: torch.empty(v) for k, v in head_shapes(method, 256, hidden, classes).items()}
    trunk = {k: v for k, v in official_model(method).items() if k.startswith('backbone.')}
    new, dropped = fit_whole(rename_official_keys({**trunk, **heads}), model)
    report = compare(model.state_dict(), new, dropped, 'published.pth')
    assert len(report.matched) == len(model.state_dict())
    assert report.dropped == (NORM0 if method == 'RetinaNet' else [])


@pytest.mark.parametrize('method', METHODS)
def test_the_table_of_versions_lists_every_key_behind_the_trunk_and_no_other(method):
    name, parts = whole_model_of(head_shapes(method))
    kept = {key for key, part in parts.items() if part.kept}
    assert name == method
    assert kept == set(head_shapes(method))
    assert [key for key in parts if key not in kept] == (NORM0 if method == 'RetinaNet' else [])


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('place', slow_after(2, [loaded_in_python, evaluated, loaded_from]))
def test_every_method_comes_over_whole(place, method, configs, data, tmp_path):
    path = save_official(tmp_path / 'official.pth', official_model(method))
    model = place(configs[method], path, data[method], tmp_path / 'run')
    assert_holds(model, by_hand(method))


@pytest.mark.parametrize('place', [finetuned, initialised_whole, predicting])
def test_a_mask_rcnn_comes_over_whole_at_the_other_places(place, configs, data, tmp_path):
    path = save_official(tmp_path / 'official.pth', official_model('Mask R-CNN'))
    model = place(configs['Mask R-CNN'], path, data['Mask R-CNN'], tmp_path / 'run')
    assert_holds(model, by_hand('Mask R-CNN'))


@pytest.mark.parametrize('place', [pretrained, initialised])
def test_a_backbone_takes_its_part_of_a_whole_model(place, configs, data, tmp_path):
    path = save_official(tmp_path / 'official.pth', official_model('Mask R-CNN'))
    backbone = place(configs['Mask R-CNN'], path, data['Mask R-CNN'], tmp_path / 'run')
    expected = {
        key.removeprefix('backbone.'): value
        for key, value in by_hand('Mask R-CNN').items()
        if key.startswith('backbone.')
    }
    assert_holds(backbone, expected)


@pytest.mark.parametrize('place', slow_after(3, [*WHOLE, pretrained, initialised]))
def test_one_renamed_key_of_the_trunk_is_named(place, configs, data, tmp_path):
    key = 'backbone.network.2.0.attn.qkv.weight'
    state = renamed(official_model('Mask R-CNN'), key)
    path = save_official(tmp_path / 'official.pth', state)
    wrong = r'missing: \S*stages\.1\.0\.token_mixer\.qkv\.weight(?s:.*)network\.2\.0\.attn\.qkv'
    with pytest.raises(InputError, match=wrong):
        place(configs['Mask R-CNN'], path, data['Mask R-CNN'], tmp_path / 'run')


@pytest.mark.parametrize('place', slow_after(3, WHOLE))
def test_one_renamed_key_of_a_head_is_named(place, configs, data, tmp_path):
    key = 'roi_head.mask_head.convs.2.conv.bias'
    state = renamed(official_model('Mask R-CNN'), key)
    path = save_official(tmp_path / 'official.pth', state)
    with pytest.raises(InputError, match=rf'missing: {key}(?s:.*)unexpected: {key}_x'):
        place(configs['Mask R-CNN'], path, data['Mask R-CNN'], tmp_path / 'run')


@pytest.mark.parametrize('two_heads', [True, False])
def test_an_official_classifier_can_teach(two_heads, tmp_path):
    distillation = pytest.importorskip('casvit_mm.classification.pretraining.distillation')
    state = official_state_dict('xs')
    if not two_heads:
        state = {key: value for key, value in state.items() if not key.startswith('dist_head')}
    torch.save(dict(model=state, epoch=299), tmp_path / 'cas-vit-xs.pth')
    init_default_scope('mmpretrain')
    config = dict(config=str(ROOT / 'configs/casvit_xs_imagenet.py'))
    teacher = distillation.Teacher(config, str(tmp_path / 'cas-vit-xs.pth')).load()
    second = state['dist_head.weight'] if two_heads else state['head.weight']
    expected = (state['head.weight'] + second) / 2
    torch.testing.assert_close(teacher.head.fc.weight.data, expected)


def test_what_retinanet_never_read_is_dropped_by_name(configs, tmp_path):
    path = save_official(tmp_path / 'official.pth', official_model('RetinaNet'))
    report = load_weights(build(configs['RetinaNet']), path)
    assert report.dropped == NORM0
    assert 'backbone.norm0' in str(report)


def test_a_file_without_neck_and_heads_is_no_detector(configs, data, tmp_path):
    state = {k.removeprefix('backbone.'): v for k, v in official_model('RetinaNet').items()}
    trunk = {k: v for k, v in state.items() if k.startswith(('patch_embed', 'network', 'norm'))}
    path = save_official(tmp_path / 'official.pth', trunk)
    with pytest.raises(InputError, match='--pretrained'):
        evaluated(configs['RetinaNet'], path, data['RetinaNet'], tmp_path / 'run')


# What the old versions compute, from the numbers of the file and nothing else.


def _conv(state, name, x, **options):
    return F.conv2d(x, state[f'{name}.weight'], state.get(f'{name}.bias'), **options)


def _pyramid(state, features):
    laterals = [_conv(state, f'neck.lateral_convs.{i}.conv', x) for i, x in enumerate(features)]
    for i in range(len(laterals) - 1, 0, -1):
        size = laterals[i - 1].shape[2:]
        laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size, mode='nearest')
    return [_conv(state, f'neck.fpn_convs.{i}.conv', x, padding=1) for i, x in enumerate(laterals)]


def _features(channels) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, width, 16 // 2**i, 24 // 2**i, generator=generator)
        for i, width in enumerate(channels)
    ]


@torch.no_grad()
def test_retinanet_computes_what_the_old_version_computed(configs, tmp_path):
    state = official_model('RetinaNet')
    path = save_official(tmp_path / 'official.pth', state)
    model = loaded_in_python(configs['RetinaNet'], path, None, None).eval()
    features = _features((56, 112, 220))

    levels = _pyramid(state, features)
    for i, x in ((3, features[-1]), (4, None)):
        x = levels[-1] if x is None else x
        levels.append(_conv(state, f'neck.fpn_convs.{i}.conv', x, stride=2, padding=1))
    for kind, outputs in zip(('cls', 'reg'), model.bbox_head(model.neck(features))):
        for x, output in zip(levels, outputs, strict=True):
            for i in range(4):
                x = F.relu(_conv(state, f'bbox_head.{kind}_convs.{i}.conv', x, padding=1))
            expected = _conv(state, f'bbox_head.retina_{kind}', x, padding=1)
            torch.testing.assert_close(output, expected)


@torch.no_grad()
def test_mask_rcnn_computes_what_the_old_version_computed(configs, tmp_path):
    state = official_model('Mask R-CNN')
    path = save_official(tmp_path / 'official.pth', state)
    model = loaded_in_python(configs['Mask R-CNN'], path, None, None).eval()
    features = _features((48, 56, 112, 220))

    levels = _pyramid(state, features)
    levels.append(F.max_pool2d(levels[-1], 1, stride=2))
    scores, deltas = model.rpn_head(model.neck(features))
    for x, score, delta in zip(levels, scores, deltas, strict=True):
        x = F.relu(_conv(state, 'rpn_head.rpn_conv', x, padding=1))
        torch.testing.assert_close(score, _conv(state, 'rpn_head.rpn_cls', x))
        torch.testing.assert_close(delta, _conv(state, 'rpn_head.rpn_reg', x))

    heads, regions = 'roi_head.bbox_head', torch.randn(5, WIDTH, 7, 7)
    x = regions.flatten(1)
    for layer in ('shared_fcs.0', 'shared_fcs.1'):
        layer = f'{heads}.{layer}'
        x = F.relu(F.linear(x, state[f'{layer}.weight'], state[f'{layer}.bias']))
    for layer, output in zip(('fc_cls', 'fc_reg'), model.roi_head.bbox_head(regions)):
        layer = f'{heads}.{layer}'
        expected = F.linear(x, state[f'{layer}.weight'], state[f'{layer}.bias'])
        torch.testing.assert_close(output, expected)

    head, x = 'roi_head.mask_head', torch.randn(3, WIDTH, 14, 14)
    output = model.roi_head.mask_head(x)
    for i in range(4):
        x = F.relu(_conv(state, f'{head}.convs.{i}.conv', x, padding=1))
    weight, bias = state[f'{head}.upsample.weight'], state[f'{head}.upsample.bias']
    x = F.relu(F.conv_transpose2d(x, weight, bias, stride=2))
    torch.testing.assert_close(output, _conv(state, f'{head}.conv_logits', x))


@torch.no_grad()
def test_semantic_fpn_computes_what_the_old_version_computed(configs, tmp_path):
    state = official_model('Semantic FPN')
    path = save_official(tmp_path / 'official.pth', state)
    model = loaded_in_python(configs['Semantic FPN'], path, None, None).eval()
    features = _features((48, 56, 112, 220))

    total = 0
    for level, x in enumerate(_pyramid(state, features)):
        for place in range(max(1, level)):
            name = f'decode_head.scale_heads.{level}.{2 * place}'
            x = _conv(state, f'{name}.conv', x, padding=1)
            norm = [f'{name}.bn.{k}' for k in ('running_mean', 'running_var', 'weight', 'bias')]
            x = F.relu(F.batch_norm(x, *(state[key] for key in norm)))
            if level > 0:
                x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
        total = total + F.interpolate(x, (16, 24), mode='bilinear', align_corners=False)
    expected = _conv(state, 'decode_head.conv_seg', total)
    torch.testing.assert_close(model.decode_head(model.neck(features)), expected)


def predicted(model, method) -> list[torch.Tensor]:
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    if method == 'Semantic FPN':
        return [model(image, mode='tensor')]
    shape = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))
    (sample,) = model(image, [DetDataSample(metainfo=shape)], mode='predict')
    found = sample.pred_instances
    masks = [found.masks] if method == 'Mask R-CNN' else []
    return [found.bboxes, found.scores, found.labels, *masks]


@torch.no_grad()
@pytest.mark.parametrize('method', METHODS)
def test_predictions_equal_those_of_the_same_numbers_loaded_by_hand(method, configs, tmp_path):
    path = save_official(tmp_path / 'official.pth', official_model(method))
    loaded = loaded_in_python(configs[method], path, None, None).eval()
    hand = build(configs[method]).eval()
    hand.load_state_dict(by_hand(method))
    for a, b in zip(predicted(loaded, method), predicted(hand, method), strict=True):
        assert len(a) > 0
        assert torch.equal(a, b)


@pytest.mark.parametrize('method', WHOLE_MODELS)
def test_class_names_of_an_official_file_are_used(method, configs, tmp_path):
    if method == 'Semantic FPN':
        pytest.skip('the predictor is for detectors')
    path = save_official(tmp_path / 'official.pth', official_model(method))
    assert CheckpointModel(path, configs[method], device='cpu').classes == CLASSES
