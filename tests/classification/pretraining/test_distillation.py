"""Learning from labels and from a teacher."""

from copy import deepcopy

import pytest
import torch
from helpers import TINY_ARCH, Malicious
from mmengine.registry import init_default_scope
from torch import nn

pytest.importorskip('mmpretrain')
import timm
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from casvit_mm import InputError
from casvit_mm.classification.pretraining.distillation import (
    DistilledClassifier,
    Teacher,
    soft_loss,
)

CLASSES = 5
TEACHER = dict(
    type='ImageClassifier',
    backbone=dict(type='CASViT', arch=TINY_ARCH, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=20),
)
NORMALISATION = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0])


class Heads(ClsHead):
    """One linear layer, or two; what they say apart, and their mean."""

    def __init__(self, num_classes, loss, distilled=True):
        super().__init__(loss=loss)
        self.num_classes = num_classes
        self.layers = nn.ModuleList(nn.Linear(20, num_classes) for _ in range(1 + distilled))

    def logits(self, feats):
        return tuple(layer(feats[-1]) for layer in self.layers)

    def forward(self, feats):
        return torch.stack(self.logits(feats)).mean(0)


@pytest.fixture(scope='module', autouse=True)
def scope():
    """Build what mmpretrain has registered, whatever was built before."""
    init_default_scope('mmpretrain')


@pytest.fixture(scope='module')
def teacher_file(tmp_path_factory):
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    model = MODELS.build(TEACHER)
    nn.init.normal_(model.head.fc.weight)  # so that its answers differ
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def student(checkpoint, teacher=TEACHER, num_classes=CLASSES, distilled=True, **distillation):
    torch.manual_seed(0)
    config = dict(
        type=DistilledClassifier,
        backbone=TEACHER['backbone'],
        neck=TEACHER['neck'],
        head=dict(
            type=Heads,
            num_classes=num_classes,
            distilled=distilled,
            loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
        ),
        data_preprocessor=dict(NORMALISATION),
        teacher=dict(teacher, checkpoint=checkpoint),
        distillation=distillation,
    )
    return MODELS.build(config).train()


def batch(number=4):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(number, 3, 64, 96, generator=generator)
    labels = torch.arange(number) % CLASSES
    return images, [DataSample().set_gt_label(label) for label in labels]


def parts(model, images, teacher_file):
    """Log-probabilities of each of the student's outputs, and the teacher's logits."""
    teacher = MODELS.build(TEACHER)
    teacher.load_state_dict(torch.load(teacher_file)['state_dict'])
    with torch.no_grad():
        outputs = model.head.logits(model.extract_feat(images))
        return [out.log_softmax(1) for out in outputs], teacher.eval()(images)


def smoothed(log_probabilities, labels):
    """Cross entropy with a tenth of the label spread over all classes."""
    picked = log_probabilities[torch.arange(len(labels)), labels]
    return -(0.9 * picked + 0.1 * log_probabilities.mean(1)).mean()


def test_hard_losses_are_label_and_teachers_choice_each_on_its_own_output(teacher_file):
    model, (images, samples) = student(teacher_file, type='hard', alpha=0.3), batch()
    (label_out, distill_out), taught = parts(model, images, teacher_file)
    losses = model.loss(images, samples)
    labels = torch.arange(4)
    torch.testing.assert_close(losses['loss_label'], 0.7 * smoothed(label_out, labels))
    chosen = taught.argmax(1)
    assert (chosen != labels).any()
    expected = -0.3 * distill_out[labels, chosen].mean()
    torch.testing.assert_close(losses['loss_distill'], expected)
    assert set(losses) == {'loss_label', 'loss_distill'}


@pytest.mark.parametrize('tau', [1.0, 3.0])
def test_the_soft_loss_is_the_divergence_at_a_temperature_by_batch_and_classes(teacher_file, tau):
    model, (images, samples) = student(teacher_file, type='soft', alpha=0.9, tau=tau), batch()
    (label_out, distill_out), taught = parts(model, images, teacher_file)
    losses = model.loss(images, samples)
    p, q = (taught.double() / tau).softmax(1), (distill_out.double() / tau).softmax(1)
    divergence = (p * (p / q).log()).sum() / (4 * CLASSES)
    assert losses['loss_distill'].item() == pytest.approx(0.9 * tau**2 * divergence.item(), 1e-5)
    torch.testing.assert_close(losses['loss_label'], 0.1 * smoothed(label_out, torch.arange(4)))


def test_a_student_like_its_teacher_has_no_soft_loss():
    logits = torch.randn(3, 7)
    assert soft_loss(logits, logits + 2, tau=4.0).item() == pytest.approx(0, abs=1e-6)


def test_with_one_output_both_losses_are_of_it(teacher_file):
    model, (images, samples) = student(teacher_file, distilled=False), batch()
    (only,), taught = parts(model, images, teacher_file)
    losses = model.loss(images, samples)
    torch.testing.assert_close(losses['loss_label'], 0.5 * smoothed(only, torch.arange(4)))
    expected = -0.5 * only[torch.arange(4), taught.argmax(1)].mean()
    torch.testing.assert_close(losses['loss_distill'], expected)


def test_mixed_images_are_learnt_by_their_shares(teacher_file):
    model, (images, samples) = student(teacher_file, alpha=0.0), batch()
    for sample in samples:
        sample.set_gt_score(torch.tensor([0.25, 0, 0, 0, 0.75]))
    (label_out, _), _ = parts(model, images, teacher_file)
    mixed = 0.25 * smoothed(label_out, torch.zeros(4, dtype=int))
    mixed += 0.75 * smoothed(label_out, torch.full((4,), 4))
    torch.testing.assert_close(model.loss(images, samples)['loss_label'], mixed)


def test_the_teacher_is_no_part_of_the_model_nor_of_its_copies(teacher_file):
    model = student(teacher_file)
    before = [*model.state_dict()], len([*model.parameters()])
    model.loss(*batch())
    assert ([*model.state_dict()], len([*model.parameters()])) == before
    assert not any('teacher' in name for name, _ in model.named_modules())
    assert deepcopy(model).teacher is model.teacher


def test_gradients_reach_both_outputs_and_the_backbone_but_not_the_teacher(teacher_file):
    model = student(teacher_file)
    sum(model.loss(*batch()).values()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.head.parameters())
    assert model.backbone.stem[0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.teacher.load().parameters())


def test_the_teacher_stays_in_evaluation_mode(teacher_file):
    model = student(teacher_file).train()
    model.loss(*batch())
    state = model.teacher.load().state_dict()
    stored = torch.load(teacher_file)['state_dict']
    assert all(torch.equal(state[key], value) for key, value in stored.items())


def test_the_teacher_gets_images_in_its_own_normalisation(teacher_file):
    own = dict(mean=[0.0, 1.0, 2.0], std=[255.0, 254.0, 253.0])
    model = student(teacher_file, teacher=dict(TEACHER, **own))
    pixels = torch.rand(2, 3, 64, 64) * 255
    mean, std, teacher_mean, teacher_std = (
        torch.tensor(v).view(3, 1, 1) for v in [*NORMALISATION.values(), *own.values()]
    )
    answer = model.teacher((pixels - mean) / std, model.data_preprocessor)
    with torch.no_grad():
        expected = model.teacher.load()((pixels - teacher_mean) / teacher_std)
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_the_teacher_follows_the_model_to_a_gpu(teacher_file, gpu):
    own = dict(mean=[0.0, 1.0, 2.0], std=[255.0, 254.0, 253.0])
    model, (images, samples) = student(teacher_file, dict(TEACHER, **own), type='soft'), batch()
    expected = model.loss(images, samples)
    model.to(gpu)
    found = model.loss(images.to(gpu), [sample.to(gpu) for sample in samples])
    for name, value in found.items():
        torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-2, atol=1e-2)


def test_half_a_normalisation_is_refused():
    with pytest.raises(ValueError, match='both mean and std'):
        Teacher(TEACHER, 'a.pth', mean=[0, 0, 0])


def test_evaluation_needs_no_teacher():
    model, (images, _) = student('nowhere.pth').eval(), batch()
    (first, *_) = model.predict(images)
    assert first.pred_score.shape == (CLASSES,)


def test_a_training_without_the_teachers_file_ends_when_weights_are_initialised():
    with pytest.raises(InputError, match=r'weights of the teacher .nowhere\.pth.*checkpoint=PATH'):
        student('nowhere.pth').init_weights()


def test_code_in_the_teachers_file_is_refused_and_does_not_run(tmp_path):
    state = MODELS.build(TEACHER).state_dict()
    torch.save(dict(state_dict=state, evil=Malicious(tmp_path / 'ran')), tmp_path / 't.pth')
    with pytest.raises(InputError, match=r'posix\.mkdir'):
        student(str(tmp_path / 't.pth')).init_weights()
    assert not (tmp_path / 'ran').exists()


def test_a_teachers_file_that_does_not_fit_is_refused_with_counts(tmp_path):
    state = MODELS.build(TEACHER).state_dict()
    number = len(state)
    del state['head.fc.bias'], state['backbone.stem.0.weight']
    state.update({'more': torch.zeros(1), 'head.fc.weight': torch.zeros(2, 20)})
    torch.save(state, tmp_path / 't.pth')
    message = (
        rf'(?s)does not fit the teacher: {number - 3}/{number} keys matched.*2 missing: '
        r'backbone\.stem\.0\.weight, head\.fc\.bias.*1 unexpected: more.*1 of another shape'
    )
    with pytest.raises(InputError, match=message):
        student(str(tmp_path / 't.pth')).check_teacher()


def test_a_teacher_of_other_classes_is_refused_before_and_at_the_first_loss(teacher_file):
    model = student(teacher_file, num_classes=3)
    with pytest.raises(InputError, match='has 5 classes and the student 3'):
        model.init_weights()
    with pytest.raises(InputError, match='has 5 classes and the student 3'):
        model.loss(*batch(3))


def test_a_timm_model_teaches(tmp_path):
    description = dict(type='timm', name='mobilenetv3_small_050', num_classes=CLASSES)
    torch.manual_seed(0)
    source = timm.create_model('mobilenetv3_small_050', num_classes=CLASSES).eval()
    torch.save(dict(model=source.state_dict()), tmp_path / 't.pth')  # as DeiT publishes its own
    model, (images, _) = student(str(tmp_path / 't.pth'), description), batch()
    model.check_teacher()
    with torch.no_grad():
        torch.testing.assert_close(model.teacher(images, model.data_preprocessor), source(images))


def test_a_config_file_describes_a_teacher(teacher_file, tmp_path):
    (tmp_path / 'teacher.py').write_text(f'model = {TEACHER!r}')
    model, (images, samples) = student(teacher_file, dict(config=f'{tmp_path}/teacher.py')), batch()
    expected = student(teacher_file).loss(images, samples)
    assert model.loss(images, samples) == expected


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        (dict(type='timm', name='regnety_16'), "timm has no model 'regnety_16'"),
        (dict(config='nowhere.py'), r'nowhere\.py does not exist'),
    ],
)
def test_a_teacher_that_is_unknown_is_refused(teacher_file, teacher, message):
    with pytest.raises(InputError, match=message):
        student(teacher_file, teacher).check_teacher()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(type='firm'), "'hard' or 'soft', got 'firm'"),
        (dict(alpha=1.5), 'alpha must be from 0 to 1'),
        (dict(tau=0), 'tau must be above 0'),
    ],
)
def test_options_out_of_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        student('nowhere.pth', **options)


def test_a_head_without_logits_is_refused():
    with pytest.raises(ValueError, match=r'LinearClsHead has no logits'):
        MODELS.build(
            dict(TEACHER, type=DistilledClassifier, teacher=dict(checkpoint=''), distillation={})
        )
