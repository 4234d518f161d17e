"""FViT, its attention, and the pyramid that makes a dense backbone of it."""

import numpy as np
import pytest
import torch
from helpers import GOLDEN, ROOT, _draw
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from casvit_mm import FViT, InputError, load_weights
from casvit_mm.models import FVIT_ARCHS, SimpleFeaturePyramid
from casvit_mm.models.token_mixers import FastformerAttention

TINY = dict(patch_size=16, embed_dim=24, depth=2, num_heads=4, mlp_dim=32)
# Articles' metrics, in millions of parameters and 10^9 multiply-adds at 384x384.
PUBLISHED = {'b16': (79, 45.2), 'b32': (81, 11.6)}
PUBLISHED_VIT = {16: (86, 49.3), 32: (88, 12.6)}


def multiply_adds(model: nn.Module, size: int) -> float:
    """Those of the patch embedding, the projections and the MLPs, in 10^9.

    Not of the attention's logits, sums and products of tokens, as in the published counts.
    """
    total = 0

    def count(layer, _, out):
        nonlocal total
        wide = isinstance(layer, nn.Linear) and layer.out_features >= layer.in_features // 4
        if wide or isinstance(layer, nn.Conv2d):
            total += out.numel() * layer.weight[0].numel()

    for layer in model.modules():
        layer.register_forward_hook(count)
    model.eval()  # mmpretrain's does not return the model
    with torch.no_grad():
        model(torch.empty(1, 3, size, size, device='meta'))
    return total / 1e9


def golden_attention() -> FastformerAttention:
    attention = FastformerAttention(48, 4)
    state = attention.state_dict()
    attention.load_state_dict(
        {key: torch.from_numpy(_draw(key, list(value.shape))) for key, value in state.items()}
    )
    return attention.eval()


def test_attention_equals_the_published_code():
    golden = np.load(GOLDEN / 'fastformer.npz')
    with torch.no_grad():
        found = golden_attention()(torch.from_numpy(golden['x'])).numpy()
    assert np.abs(found - golden['y']).max() <= 1e-5 * np.abs(golden['y']).max()


def test_half_precision_stays_close_over_many_tokens():
    attention, x = golden_attention(), torch.randn(1, 4096, 48)
    with torch.no_grad():
        expected = attention(x)
        found = attention.bfloat16()(x.bfloat16()).float()
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize('arch', FVIT_ARCHS)
def test_size_and_cost_are_the_published_ones(arch):
    with torch.device('meta'):
        model = FViT(arch)
    millions, cost = PUBLISHED[arch]
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions
    assert multiply_adds(model, 384) == pytest.approx(cost, rel=0.005)


@pytest.mark.parametrize('patch_size', PUBLISHED_VIT)
def test_size_and_cost_of_the_baseline_are_the_published_ones(patch_size):
    pytest.importorskip('mmpretrain')
    cfg = Config.fromfile(ROOT / f'configs/vit_b{patch_size}_imagenet.py').model.backbone
    cfg.pop('init_cfg')
    init_default_scope('mmpretrain')
    from mmpretrain.registry import MODELS as registry

    with torch.device('meta'):
        model = registry.build(cfg)
    millions, cost = PUBLISHED_VIT[patch_size]
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions
    assert multiply_adds(model, 384) == pytest.approx(cost, rel=0.005)


@pytest.mark.parametrize('arch', FVIT_ARCHS)
def test_the_config_trains_fvit_by_the_recipe_of_the_plain_vit(arch):
    pytest.importorskip('mmpretrain')
    ours, plain = (
        Config.fromfile(ROOT / f'configs/{kind}_{arch}_imagenet.py').to_dict()
        for kind in ('fvit', 'vit')
    )
    assert ours['model']['head']['loss'] == plain['model']['head']['loss']
    assert ours['model']['backbone']['drop_rate'] == plain['model']['backbone']['drop_rate']
    for cfg in (ours, plain):
        del cfg['model']['backbone'], cfg['model']['head']
    assert ours == plain


@pytest.mark.parametrize('arch', FVIT_ARCHS)
def test_the_classifier_of_the_config_builds(arch):
    pytest.importorskip('mmpretrain')
    cfg = Config.fromfile(ROOT / f'configs/fvit_{arch}_imagenet.py')
    init_default_scope('mmpretrain')
    from mmpretrain.registry import MODELS as registry

    import casvit_mm.classification  # noqa: F401

    with torch.device('meta'):
        model = registry.build(cfg.model).eval()
        assert model(torch.empty(2, 3, 384, 384)).shape == (2, 1000)


def test_the_map_has_a_position_per_patch_of_any_image():
    model = FViT(TINY, img_size=64)
    (out,) = model(torch.rand(2, 3, 96, 160))
    assert out.shape == (2, 24, 6, 10)
    assert (model.out_channels, model.out_strides) == ((24,), (16,))


def test_the_class_token_is_one_vector():
    (out,) = FViT(TINY, img_size=64, out_type='cls_token')(torch.rand(2, 3, 64, 64))
    assert out.shape == (2, 24)


def test_the_map_is_in_the_order_of_the_patches():
    model = FViT({**TINY, 'depth': 1}, img_size=64).eval()
    x = torch.rand(1, 3, 64, 96)
    other = x.clone()
    other[:, :, 16:32, 48:64] += 10
    with torch.no_grad():
        change = (model(other)[0] - model(x)[0]).abs().sum(1)[0]
    assert change.argmax() == 1 * 6 + 3


@pytest.mark.parametrize('out_type', ['featmap', 'cls_token'])
def test_every_parameter_gets_a_gradient(out_type):
    model = FViT(TINY, img_size=64, out_type=out_type)
    model(torch.rand(2, 3, 64, 64))[0].square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_the_position_embedding_is_taken_as_it_is_at_its_own_size():
    model = FViT({**TINY, 'depth': 1}, img_size=64).eval()
    seen = []
    model.drop.register_forward_hook(lambda module, inputs, out: seen.append(out))
    model(torch.zeros(1, 3, 64, 64))
    tokens = seen[0][0, 1:] - model.stem.bias
    torch.testing.assert_close(tokens, model.pos_embed[0, 1:])


def test_a_classifier_of_ours_loads_into_a_dense_backbone_strictly(tmp_path):
    classifier = FViT(TINY, img_size=64, out_type='cls_token')
    state = {f'backbone.{key}': value for key, value in classifier.state_dict().items()}
    state |= {'head.fc.weight': torch.zeros(2, 24), 'head.fc.bias': torch.zeros(2)}
    torch.save(dict(state_dict=state), tmp_path / 'fvit.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'fvit.pth'))
    dense = FViT(TINY, img_size=64, init_cfg=init_cfg)
    dense.init_weights()
    assert all(torch.equal(v, classifier.state_dict()[k]) for k, v in dense.state_dict().items())


def test_a_file_of_another_position_embedding_is_refused(tmp_path):
    torch.save(FViT(TINY, img_size=32).state_dict(), tmp_path / 'fvit.pth')
    with pytest.raises(InputError, match=r'pos_embed: file \(1, 5, 24\), model \(1, 17, 24\)'):
        load_weights(FViT(TINY, img_size=64), tmp_path / 'fvit.pth')


def test_layers_count_from_the_embeddings_to_the_head():
    model = FViT(TINY, img_size=64)
    depths = {name: model.get_layer_depth(name)[0] for name, _ in model.named_parameters()}
    assert depths['pos_embed'] == depths['cls_token'] == depths['stem.weight'] == 0
    assert (depths['blocks.0.mlp.fc1.weight'], depths['blocks.1.norm1.bias']) == (1, 2)
    assert depths['norm.weight'] == 2
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (3, 4)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='s16'), r"unknown arch 's16', expected one of \['b16', 'b32'\]"),
        (dict(arch=dict(depth=2)), 'exactly patch_size, embed_dim'),
        (dict(img_size=100), 'img_size 100 is no multiple of the patch size 16'),
        (dict(arch={**TINY, 'num_heads': 5}), 'must divide the 24 channels, got 5'),
        (dict(out_type='map'), "unknown out_type 'map'"),
        (dict(drop_path_rate=1.0), r'drop_path_rate must be in \[0, 1\)'),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        FViT(**{'arch': TINY, **arguments})


def test_an_image_that_does_not_fit_the_patches_is_refused_with_the_cure():
    with pytest.raises(InputError, match=r'64x50 pixels.* 16x16.*\n?.*pad_size_divisor=16'):
        FViT(TINY, img_size=64)(torch.rand(1, 3, 64, 50))


def test_a_misspelt_argument_of_a_config_is_named_before_training(tmp_path):
    pytest.importorskip('mmdet')
    from casvit_mm.config.checks import check_backbone

    cfg = Config(dict(model=dict(backbone=dict(type='FViT', image_size=384))))
    with pytest.raises(InputError, match="'image_size'; did you mean 'img_size'"):
        check_backbone(cfg)


@pytest.mark.parametrize('stride', [4, 8, 16, 32])
def test_the_pyramid_has_strides_4_to_64(stride):
    pyramid = SimpleFeaturePyramid(24, stride, out_channels=8, num_outs=5)
    levels = pyramid((torch.rand(1, 24, 128 // stride, 192 // stride),))
    assert [tuple(level.shape) for level in levels] == [
        (1, 8, 128 // s, 192 // s) for s in (4, 8, 16, 32, 64)
    ]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(dict(in_stride=12), 'in_stride must be one of'), (dict(num_outs=3), 'must be 4 or more')],
)
def test_a_pyramid_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimpleFeaturePyramid(**{'in_channels': 24, 'in_stride': 16, **arguments})


def test_plain_type_names_build_from_the_root_registry():
    assert isinstance(MODELS.build(dict(type='FViT', arch=TINY, img_size=64)), FViT)
    neck = dict(type='SimpleFeaturePyramid', in_channels=24, in_stride=16)
    assert isinstance(MODELS.build(neck), SimpleFeaturePyramid)
