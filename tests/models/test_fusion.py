"""The inference form: the same outputs without the norms, in every kind of model."""

import copy
import pickle
from unittest.mock import patch

import pytest
import torch
from helpers import ROOT, TINY_ARCH, randomize_norms
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import autocast
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm import CASViT, InputError, fuse, load_weights
from casvit_mm.models.folding import conv_then_norm, norm_then_linear

WIDTHS = list(TINY_ARCH['embed_dims'])


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def shaken(model: nn.Module) -> nn.Module:
    """The model in eval mode with norms that are far from the identity, some of them degenerate."""
    randomize_norms(model)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.running_mean, module.bias):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            spread = torch.rand(module.running_var.shape, generator=generator)
            module.running_var.copy_(2 * spread + 0.01)
            module.weight[::2] *= -1
            module.weight[1] = 0
    return model.eval()


def norms(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]


def images(height: int = 64, width: int = 96, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)


def assert_equal(ours, theirs, tolerance: float = 1e-10) -> None:
    """Compare relative to the largest value."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1, float(b.abs().max())))


def backbone(dtype: torch.dtype = torch.float64, **options) -> CASViT:
    torch.manual_seed(0)
    return shaken(CASViT(TINY_ARCH, **options)).to(dtype)


def build(config: str, scope: str, options: dict | None = None) -> nn.Module:
    """A config's model on a tiny backbone, with weights that give many detections, in float64."""
    registry = pytest.importorskip(f'{scope}.registry').MODELS
    cfg = Config.fromfile(ROOT / 'configs' / f'{config}.py')
    init_default_scope(scope)
    cfg.model.backbone.update(arch=TINY_ARCH, init_cfg=None)
    cfg.merge_from_dict({f'model.{key}': value for key, value in (options or {}).items()})
    torch.manual_seed(0)
    return shaken(registry.build(cfg.model)).double()


def classifier(options: dict | None = None) -> nn.Module:
    pytest.importorskip('mmpretrain')
    import casvit_mm.classification  # noqa: F401

    sizes = {'head.in_channels': WIDTHS[3], 'head.num_classes': 7}
    return build('casvit_xs_imagenet', 'mmpretrain', {**sizes, **(options or {})})


def retinanet(options: dict | None = None) -> nn.Module:
    sizes = {
        'neck.in_channels': WIDTHS[1:],
        'neck.out_channels': 16,
        'bbox_head.in_channels': 16,
        'bbox_head.feat_channels': 16,
        'bbox_head.num_classes': 3,
    }
    return build('retinanet_casvit_xs_coco', 'mmdet', {**sizes, **(options or {})})


def mask_rcnn(options: dict | None = None) -> nn.Module:
    sizes = {'neck.in_channels': WIDTHS}
    return build('maskrcnn_casvit_xs_shapes', 'mmdet', {**sizes, **(options or {})})


def semantic_fpn(options: dict | None = None) -> nn.Module:
    sizes = {'neck.in_channels': WIDTHS}
    return build('semfpn_casvit_xs_shapes', 'mmseg', {**sizes, **(options or {})})


def upernet(options: dict | None = None) -> nn.Module:
    sizes = {
        'decode_head.in_channels': WIDTHS,
        'decode_head.channels': 16,
        'decode_head.num_classes': 5,
        'auxiliary_head.in_channels': WIDTHS[2],
        'auxiliary_head.channels': 8,
    }
    return build('upernet_casvit_s_ade20k', 'mmseg', {**sizes, **(options or {})})


def detections(model: nn.Module) -> list:
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head
    from mmdet.structures import DetDataSample

    paste = fcn_mask_head._do_paste_mask
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0), pad_shape=(64, 96))
    samples = [DetDataSample(metainfo=meta) for _ in range(2)]

    def paste_in_float32(masks, boxes, *rest, **options):
        return paste(masks.float(), boxes.float(), *rest, **options)

    with patch.object(fcn_mask_head, '_do_paste_mask', paste_in_float32):  # it knows no other
        return [sample.pred_instances for sample in model.predict(images(), samples)]


# --- backbone ---------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(64, 96), (37, 51)])
def test_a_fused_backbone_gives_the_same_maps(size):
    model = backbone(drop_path_rate=0.1, frozen_stages=1, norm_eval=True)
    assert_equal(fuse(model)(images(*size)), model(images(*size)))


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (3,), (2, 0)])
def test_a_bare_backbone_keeps_its_output_norms_and_no_other(out_indices):
    fused = fuse(backbone(out_indices=out_indices))
    assert sorted(norms(fused)) == sorted(f'norm{i}' for i in out_indices)


def test_fusing_in_float32_changes_nothing_above_rounding():
    model = backbone(torch.float32)
    x = images(dtype=torch.float32)
    assert_equal(fuse(model)(x), model(x), 1e-5)


def test_the_gates_of_a_fused_backbone_need_no_convolution_of_their_own():
    def gate_convolutions(model):
        return [
            name
            for name, module in model.named_modules()
            if '.gate_' in name and isinstance(module, nn.Conv2d) and module.groups == 1
        ]

    model = backbone()
    fused = fuse(model)
    assert gate_convolutions(model)
    assert not gate_convolutions(fused)


def test_an_exchanged_layer_of_a_gate_is_left_to_the_user():
    model = backbone()
    gate = model.stages[0][0].token_mixer.gate_q
    gate[0].gate[3] = nn.utils.parametrizations.spectral_norm(gate[0].gate[3])
    gate[1].gate[1] = nn.Conv2d(WIDTHS[0], WIDTHS[0], 1, bias=True).double()
    model.eval()
    assert_equal(fuse(model)(images()), model(images()))


def test_the_given_model_stays_as_it_is():
    model = backbone()
    before = copy.deepcopy(model.state_dict())
    fuse(model)
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert all(p.requires_grad for p in model.parameters())
    assert not model.fused


def test_a_fused_model_has_no_parameter_that_learns():
    assert not any(p.requires_grad for p in fuse(backbone()).parameters())


def test_a_backbone_inside_another_model_is_fused_and_keeps_its_output_norms():
    model = nn.Sequential(backbone(), nn.Identity()).eval()
    fused = fuse(model)
    assert norms(fused) == [f'0.norm{i}' for i in range(4)]
    assert_equal(fused(images()), model(images()))


def test_a_norm_without_weights_folds_as_well():
    model = backbone()
    model.stem[1] = nn.BatchNorm2d(WIDTHS[0] // 2, affine=False).double().eval()
    model.stages[0][0].norm1 = nn.BatchNorm2d(WIDTHS[0], affine=False).double().eval()
    assert_equal(fuse(model)(images()), model(images()))


# --- classifier -------------------------------------------------------------------------------


@pytest.mark.parametrize('distilled', [False, True])
def test_a_fused_classifier_gives_the_same_logits_from_one_linear_layer(distilled):
    model = classifier({'head.distilled': distilled})
    fused = fuse(model)
    assert_equal([fused(images())], [model(images())])
    assert norms(fused) == []
    assert not fused.head.distilled


def test_a_distilled_classifier_is_fused_without_its_teacher():
    teacher = dict(type='timm', name='resnet18', checkpoint='not/there.pth')
    model = classifier(
        {'type': 'DistilledClassifier', 'head.distilled': True, 'teacher': teacher}
        | {'distillation': dict(type='hard', alpha=0.5), 'train_cfg': None}
    )
    assert_equal([fuse(model)(images())], [model(images())])


def test_a_classifier_head_of_mmpretrain_takes_the_norm_too():
    model = classifier({'head.type': 'LinearClsHead', 'backbone.out_indices': (1, 3)})
    fused = fuse(model)
    assert_equal([fused(images())], [model(images())])
    assert norms(fused) == []


def test_an_unknown_head_keeps_the_norm_before_it():
    model = classifier()
    from mmpretrain.models.heads import MultiLabelLinearClsHead

    model.head = MultiLabelLinearClsHead(num_classes=7, in_channels=WIDTHS[3]).double().eval()
    fused = fuse(model)
    assert norms(fused) == ['backbone.norm3']
    assert_equal([fused(images())], [model(images())])


# --- detectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('detector', 'options', 'left'),
    [
        (retinanet, {}, ['backbone.norm3']),  # P6 is a padded convolution of the last output
        (retinanet, {'neck.add_extra_convs': 'on_output'}, []),
        (retinanet, {'neck.num_outs': 3, 'bbox_head.anchor_generator.strides': [8, 16, 32]}, []),
        (retinanet, {'bbox_head.norm_cfg': dict(type='BN')}, ['backbone.norm3']),
        (retinanet, {'neck.norm_cfg': dict(type='GN', num_groups=4)}, ['backbone.norm3']),
        (mask_rcnn, {}, []),
        (mask_rcnn, {'neck.norm_cfg': dict(type='BN')}, []),
        (mask_rcnn, {'neck.type': 'PAFPN'}, [f'backbone.norm{i}' for i in range(4)]),
    ],
)
def test_a_fused_detector_predicts_the_same_and_keeps_only_named_norms(detector, options, left):
    model = detector(options)
    fused = fuse(model)
    assert norms(fused) == left
    # Every level, whether or not one of its boxes is among the best.
    assert_equal(fused.extract_feat(images()), model.extract_feat(images()))
    for ours, theirs in zip(detections(fused), detections(model), strict=True):
        assert len(theirs) > 5
        assert torch.equal(ours.labels, theirs.labels)
        assert_equal([ours.bboxes, ours.scores], [theirs.bboxes, theirs.scores])
        if detector is mask_rcnn:
            assert torch.equal(ours.masks, theirs.masks)


def test_a_level_below_the_pyramid_needs_no_norm():
    model = mask_rcnn({'neck.start_level': 1, 'neck.num_outs': 3})
    fused = fuse(model)
    assert norms(fused) == []
    assert_equal(fused.extract_feat(images()), model.extract_feat(images()))


def test_norms_that_share_one_convolution_each_get_their_own():
    pytest.importorskip('mmdet')
    from mmcv.cnn import ConvModule

    def layer() -> nn.Module:
        return ConvModule(WIDTHS[0], 4, 3, padding=1, norm_cfg=dict(type='BN'))

    model = nn.ModuleDict(dict(backbone=CASViT(TINY_ARCH), a=layer(), b=layer()))
    model.b.conv = model.a.conv
    shaken(model.double())
    fused = fuse(model)
    x = torch.randn(1, WIDTHS[0], 8, 8, dtype=torch.float64)
    assert_equal([fused.a(x), fused.b(x)], [model.a(x), model.b(x)])
    assert fused.a.norm is None


def test_a_lateral_convolution_of_another_kind_keeps_the_norm_before_it():
    model = mask_rcnn()

    class Shifted(nn.Conv2d):
        def forward(self, x):
            return super().forward(x + 1)

    lateral = model.neck.lateral_convs[0]
    lateral.conv = Shifted(WIDTHS[0], lateral.out_channels, 1).double().eval()
    fused = fuse(model)
    assert norms(fused) == ['backbone.norm0']
    assert_equal(fused.extract_feat(images()), model.extract_feat(images()))


def test_a_detector_that_reads_its_backbone_elsewhere_keeps_the_output_norms():
    model = mask_rcnn()

    class Curious(type(model)):
        def extract_feat(self, inputs):
            raw = self.backbone(inputs)
            return (*self.neck(raw), raw[0])

    model.__class__ = Curious
    fused = fuse(model)
    assert norms(fused) == [f'backbone.norm{i}' for i in range(4)]
    assert_equal(fused.extract_feat(images()), model.extract_feat(images()))


# --- segmentors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('segmentor', 'options', 'left'),
    [
        (semantic_fpn, {}, []),
        (semantic_fpn, {'decode_head.norm_cfg': dict(type='SyncBN')}, []),
        # The bottleneck after the pooling pyramid is a padded convolution of the last output.
        (upernet, {}, ['backbone.norm3']),
        (
            upernet,
            {'decode_head.in_index': [0, 1, 3, 2], 'decode_head.in_channels': [8, 12, 20, 16]},
            ['backbone.norm2'],
        ),
    ],
)
def test_a_fused_segmentor_draws_the_same_map_and_keeps_only_named_norms(segmentor, options, left):
    model = segmentor(options)
    fused = fuse(model)
    assert norms(fused) == left
    for ours, theirs in zip(fused.predict(images()), model.predict(images()), strict=True):
        assert theirs.pred_sem_seg.data.unique().numel() > 1
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
        assert_equal([ours.seg_logits.data], [theirs.seg_logits.data])


def test_an_auxiliary_head_is_left_out():
    fused = fuse(upernet())
    assert not fused.with_auxiliary_head


# --- what can be done with the result ---------------------------------------------------------


def test_the_order_of_the_weights_in_memory_is_kept():
    fused = fuse(backbone().to(memory_format=torch.channels_last))
    convs = [m for m in fused.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert all(c.weight.is_contiguous(memory_format=torch.channels_last) for c in convs)


def test_channels_last_gives_the_same_maps():
    model = backbone()
    fused = fuse(model).to(memory_format=torch.channels_last)
    assert_equal(fused(images().to(memory_format=torch.channels_last)), model(images()))


def test_the_fused_backbone_compiles_without_a_break():
    model = backbone()
    fused = fuse(model)
    torch._dynamo.reset()
    assert torch._dynamo.explain(fused)(images()).graph_break_count == 0
    compiled = torch.compile(fused, backend='eager', fullgraph=True)
    assert_equal(compiled(images()), model(images()))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_folding_weights_of_low_precision_rounds_only_once(dtype):
    model = backbone(dtype)
    ours, exact = fuse(model).state_dict(), fuse(model.double()).state_dict()
    assert all(torch.equal(value, exact[key].to(dtype)) for key, value in ours.items())


def test_a_fused_backbone_runs_in_bfloat16():
    model = backbone(torch.float32)
    maps = fuse(model).bfloat16()(images(dtype=torch.bfloat16))
    assert_equal([m.float() for m in maps], model(images(dtype=torch.float32)), 0.1)


def test_a_fused_backbone_runs_under_autocast():
    model = backbone(torch.float32)
    with autocast(device_type='cpu', dtype=torch.bfloat16):
        maps = fuse(model)(images(dtype=torch.float32))
    assert_equal([m.float() for m in maps], model(images(dtype=torch.float32)), 0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_backbone_fuses_and_runs_in_low_precision_on_a_gpu(dtype):
    model = backbone(torch.float32)
    x = images(dtype=dtype).cuda().contiguous(memory_format=torch.channels_last)
    fused = fuse(copy.deepcopy(model).cuda().to(dtype)).to(memory_format=torch.channels_last)
    assert_equal([m.cpu().float() for m in fused(x)], model(x.cpu().float()), 0.1)


def test_the_state_dict_loads_strictly_into_another_fused_model(tmp_path):
    fused = fuse(retinanet())
    torch.save(fused.state_dict(), tmp_path / 'fused.pth')
    other = retinanet()
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    other = fuse(other)
    other.load_state_dict(torch.load(tmp_path / 'fused.pth', weights_only=True), strict=True)
    assert_equal(other.extract_feat(images()), fused.extract_feat(images()))


@pytest.mark.parametrize('make', [backbone, classifier, mask_rcnn])
def test_load_weights_takes_the_file_of_a_fused_model_into_a_fused_one(make, tmp_path):
    fused, other = fuse(make()), fuse(make())
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    torch.save(fused.state_dict(), tmp_path / 'fused.pth')
    report = load_weights(other, tmp_path / 'fused.pth')
    assert len(report.matched) == len(fused.state_dict())
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in fused.state_dict().items())


def test_a_fused_model_can_be_copied_and_pickled():
    fused = fuse(backbone())
    for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert_equal(other(images()), fused(images()), 0)
        assert other.fused


# --- refusals ---------------------------------------------------------------------------------


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(InputError, match=r'CASViT is in training mode.*model\.eval\(\)'):
        fuse(CASViT(TINY_ARCH))


def test_one_part_in_training_mode_is_refused_too():
    model = backbone()
    model.stages[1].train()
    with pytest.raises(InputError, match='in training mode'):
        fuse(model)


def test_fusing_twice_is_refused():
    with pytest.raises(InputError, match='fused already'):
        fuse(fuse(backbone()))


def test_a_model_without_casvit_is_refused():
    with pytest.raises(InputError, match='Sequential holds no CASViT'):
        fuse(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval())


def test_a_wrapped_model_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r'fuse\(model\.module\)'):
        fuse(nn.DataParallel(backbone()))


def test_a_compiled_model_is_refused_with_the_order_to_keep():
    with pytest.raises(InputError, match=r'fuse first, then torch\.compile'):
        fuse(torch.compile(backbone(), backend='eager'))


def test_training_a_fused_model_is_refused():
    fused = fuse(mask_rcnn())
    with pytest.raises(InputError, match='cannot be trained: its BatchNorms are gone'):
        fused.train()
    assert fused.eval() is fused


def test_an_unknown_token_mixer_is_refused_by_name():
    class Pooling(nn.AvgPool2d):
        pass

    model = backbone()
    model.stages[2][0].token_mixer = Pooling(3, 1, 1).eval()
    with pytest.raises(InputError, match=r'token mixer Pooling has no inference form.*fuse_norm'):
        fuse(model)


def test_a_mixer_that_inherits_its_inference_form_but_not_its_forward_is_refused():
    model = backbone()
    mixer = model.stages[0][0].token_mixer

    class Sceptic(type(mixer)):
        def forward(self, x):
            return super().forward(x) - x

    mixer.__class__ = Sceptic
    with pytest.raises(InputError, match='Sceptic has no inference form'):
        fuse(model)


def test_a_mixer_with_an_inference_form_of_its_own_is_taken():
    class Mixer(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.conv = nn.Conv2d(dim, dim, 1)

        def forward(self, x):
            return self.conv(x)

        def fuse_norm(self, norm):
            self.conv = norm_then_linear(norm, self.conv)

    model = backbone()
    model.stages[3][0].token_mixer = Mixer(WIDTHS[3]).double().eval()
    assert_equal(fuse(model)(images()), model(images()))


def test_an_exchanged_layer_that_takes_no_norm_is_refused():
    model = backbone()
    dim = WIDTHS[0]
    model.stages[0][0].mlp.fc1 = nn.Conv2d(dim, 4 * dim, 3, padding=1).double().eval()
    with pytest.raises(InputError, match=r'got Conv2d\(8, 32, kernel_size=\(3, 3\)'):
        fuse(model)


def test_a_norm_without_running_statistics_is_refused_by_name():
    model = backbone()
    model.downsamples[1].norm = nn.BatchNorm2d(WIDTHS[2], track_running_stats=False).eval()
    with pytest.raises(InputError, match=r'cannot fold downsamples\.1\.norm'):
        fuse(model)


def test_spectral_normalisation_is_not_folded_into():
    model = backbone()
    nn.utils.spectral_norm(model.stem[0]).eval()
    with pytest.raises(InputError, match=r'cannot fold stem\.1'):
        fuse(model)


def test_trained_weights_are_refused_by_a_fused_model_which_says_when_to_load(tmp_path):
    torch.save(classifier().state_dict(), tmp_path / 'trained.pth')
    with pytest.raises(InputError, match=r'no norms left\. Load the file into the model before'):
        load_weights(fuse(classifier()), tmp_path / 'trained.pth')


def test_fused_weights_are_refused_by_a_model_that_can_be_trained(tmp_path):
    torch.save(fuse(classifier()).state_dict(), tmp_path / 'fused.pth')
    with pytest.raises(InputError, match='holds an inference form'):
        load_weights(classifier(), tmp_path / 'fused.pth')


def test_fused_weights_of_a_detector_are_refused_by_a_fused_backbone(tmp_path):
    torch.save(fuse(mask_rcnn()).state_dict(), tmp_path / 'fused.pth')
    with pytest.raises(InputError, match='inference form of another kind of model'):
        load_weights(fuse(backbone()), tmp_path / 'fused.pth')


# --- arithmetic -------------------------------------------------------------------------------


def norm_of(channels: int) -> nn.BatchNorm2d:
    return shaken(nn.BatchNorm2d(channels)).double()


@pytest.mark.parametrize('options', [dict(groups=2), dict(stride=2, bias=False), dict(dilation=2)])
def test_a_convolution_and_the_norm_after_it_become_one(options):
    conv, norm = nn.Conv2d(4, 6, 3, padding=2, **options).double().eval(), norm_of(6)
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    assert_equal([conv_then_norm(conv, norm)(x)], [norm(conv(x))])


@pytest.mark.parametrize('options', [dict(), dict(stride=2, bias=False)])
def test_a_norm_and_the_1x1_convolution_after_it_become_one(options):
    conv, norm = nn.Conv2d(4, 6, 1, **options).double().eval(), norm_of(4)
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    assert_equal([norm_then_linear(norm, conv)(x)], [conv(norm(x))])
