"""The inference form of whole models: the same outputs without the norms, in every kind of one."""

import copy
import pickle
from importlib import import_module

import pytest
import torch
from fused_models import (
    WIDTHS,
    assert_equal,
    backbone,
    classifier,
    detections,
    images,
    mask_rcnn,
    norms,
    retinanet,
    segformer,
    semantic_fpn,
    shaken,
    upernet,
)
from helpers import TINY_ARCH
from mmengine.runner import autocast
from torch import nn

from casvit_mm import CASViT, InputError, fuse, load_weights
from casvit_mm.models import fusion


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize(
    'name',
    [
        fusion._CONV_MODULE,
        *fusion._FPNS,
        fusion._UPERNET,
        fusion._POOLING,
        *fusion._LINEAR_CLASSIFIERS,
        *fusion._DETECTORS,
        fusion._SEGMENTOR,
        fusion._CLASSIFIER,
    ],
)
def test_what_is_known_by_name_is_found_by_that_name(name):
    package, *path = name.split('.')
    pytest.importorskip('mmpretrain' if package == 'casvit_mm' else package)
    modules = [part for part in path if part.islower() and part != 'extract_feat']
    thing = import_module('.'.join([package, *modules]))
    for part in path[len(modules) :]:
        thing = getattr(thing, part)
    assert fusion._name(thing) == name


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


@pytest.mark.parametrize('kind', ['rtmdet', 'rtmdet-ins', 'yolox'])
def test_a_fused_detector_of_one_stage_predicts_the_same_from_convolutions_alone(kind):
    pytest.importorskip('mmdet')
    from dense_detectors import dense_detector

    model = shaken(dense_detector(kind)).double()
    fused = fuse(model)
    # Their necks join the levels before a convolution reads them.
    assert norms(fused) == ['backbone.norm1', 'backbone.norm2', 'backbone.norm3']

    def maps(detector):
        found = detector.bbox_head(detector.extract_feat(images()))
        return [each for level in found for each in ([level] if torch.is_tensor(level) else level)]

    assert_equal(maps(fused), maps(model))


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
        (segformer, {}, []),
        # A level that nothing reads has a norm that nothing needs.
        (
            segformer,
            {'decode_head.in_index': [3, 0, 2], 'decode_head.in_channels': [20, 8, 16]},
            [],
        ),
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
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_backbone_fuses_and_runs_in_low_precision_on_a_gpu(dtype, gpu):
    model = backbone(torch.float32)
    x = images(dtype=dtype).to(gpu).contiguous(memory_format=torch.channels_last)
    fused = fuse(copy.deepcopy(model).to(gpu, dtype)).to(memory_format=torch.channels_last)
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


def test_a_model_that_keeps_results_of_a_training_step_is_fused():
    model = retinanet()
    with torch.enable_grad():
        model.kept = dict(maps=list(model.extract_feat(images())))
        model.kept['itself'] = model.kept
    fused = fuse(model.eval())
    assert_equal(fused.extract_feat(images()), model.extract_feat(images()))
    assert not any(tensor.requires_grad for tensor in fused.kept['maps'])


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
