"""Files that run code when they are unpickled, at every place where a file is read."""

import argparse
import io
import os
import pickle
import tarfile
from collections import OrderedDict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import mmengine
import pytest
import torch
from helpers import ROOT, TINY_ARCH, Call
from mmengine.runner import CheckpointLoader
from torch import nn

pytest.importorskip('mmdet')
pytest.importorskip('mmpretrain')
from casvit_mm import CASViT, InputError, load_weights
from casvit_mm.benchmark.model_specs import find_model_spec
from casvit_mm.classification.pretraining.distillation import Teacher
from casvit_mm.engine import Start, TrainOptions, evaluate, train
from casvit_mm.export import export
from casvit_mm.prediction.checkpoints import CheckpointModel
from casvit_mm.visualization.models import load_config_model, load_named_model
from casvit_mm.weights.mmengine_loading import load_from_safe_reader, read_files_safely
from casvit_mm.weights.reading import load_file
from casvit_mm.zoo.convert import convert
from casvit_mm.zoo.publish import publish

CONFIG = f"""
_base_ = {str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY_ARCH!r})),
    neck=dict(in_channels={list(TINY_ARCH['embed_dims'])!r}))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
"""


class State:
    """Unpickling this gives a Namespace its attributes, which are unpickled with it."""

    def __init__(self, **attributes):
        self.attributes = attributes

    def __reduce__(self):
        return argparse.Namespace, (), self.attributes


class Program(nn.Module):
    """A TorchScript module that makes a file when it is loaded."""

    def __init__(self, marker):
        super().__init__()
        self.marker, self.data = str(marker), torch.zeros(1)

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.marker, self.training = state
        self.data = torch.from_file(self.marker, shared=True, size=1)


def content(**parts) -> dict:
    """A training file of ours with the parts replaced."""
    plain = dict(
        state_dict=CASViT(TINY_ARCH).state_dict(),
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        meta=dict(epoch=1, iter=4),
    )
    return {**plain, **parts}


def in_a_value(path, code):
    torch.save(content(state_dict={'stem.0.weight': code}), path)


def in_the_optimizer(path, code):
    torch.save(content(optimizer=dict(state={}, param_groups=[dict(lr=code)])), path)


def in_the_message_hub(path, code):
    torch.save(content(message_hub=dict(log_scalars={'train/loss': code})), path)


def in_a_nested_class(path, code):
    torch.save(content(meta=[OrderedDict(history=State(best=(1, {'score': code})))]), path)


def through_getattr(path, code):
    function = Call(getattr, Call(__import__, 'os'), 'mkdir')
    torch.save(content(extra=Call(function, *code.arguments)), path)


def in_the_arguments(path, code):
    torch.save(content(args=State(lr=0.1, model=code)), path)


def in_the_old_format(path, code):
    torch.save(content(extra=code), path, _use_new_zipfile_serialization=False)


def as_a_bare_pickle(path, code):
    path.write_bytes(pickle.dumps(dict(state_dict={}, extra=code), protocol=2))


def in_a_tar_archive(path, code):
    data = pickle.dumps(code)
    with tarfile.open(path, 'w') as archive:
        entry = tarfile.TarInfo('storages')
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))


PICKLES = [
    in_a_value,
    in_the_optimizer,
    in_the_message_hub,
    in_a_nested_class,
    through_getattr,
    in_the_arguments,
    in_the_old_format,
    as_a_bare_pickle,
]

# Every place that reads a file of weights, as a function of the file and of ``at``, which has a
# small detector's ``config``, its ``data`` and a ``folder`` to write in. A new one adds a line.
ENTRY_POINTS = {
    'load_weights': lambda path, at: load_weights(CASViT(TINY_ARCH), path),
    'init_cfg': lambda path, at: CASViT(TINY_ARCH, init_cfg=pretrained(path)).init_weights(),
    'init_cfg of another module': lambda path, at: start(
        at, {'model.neck.init_cfg': pretrained(path)}, from_scratch=True
    ),
    'init_cfg of the whole model': lambda path, at: start(at, {'model.init_cfg': pretrained(path)}),
    'load_from': lambda path, at: start(at, {'load_from': str(path)}),
    '--pretrained': lambda path, at: start(at, pretrained=str(path)),
    '--finetune': lambda path, at: start(at, finetune=str(path)),
    '--resume': lambda path, at: start(at, resume=str(path)),
    'tools/test.py': lambda path, at: evaluate(
        at.config, str(path), data=at.data, work_dir=str(at.folder)
    ),
    'tools/predict.py': lambda path, at: CheckpointModel(path, at.config, device='cpu'),
    'a teacher': lambda path, at: Teacher(
        dict(type='timm', name='resnet18', num_classes=3), str(path)
    ).load(),
    'tools/convert_weights.py': lambda path, at: convert(path, at.folder / 'out.safetensors'),
    'tools/publish_weights.py': lambda path, at: publish(path, at.folder / 'out'),
    'tools/export.py': lambda path, at: export(
        at.config, str(path), format='torch-export', out=str(at.folder / 'model.pt2')
    ),
    'tools/benchmark.py': lambda path, at: find_model_spec(at.config, checkpoint=str(path)).build(),
    'tools/visualize.py': lambda path, at: load_config_model(at.config, path, 'cpu'),
    'tools/visualize.py --beside': lambda path, at: load_named_model(
        f'casvit_xs:{path}', ('a', 'b'), 'cpu'
    ),
}


def every_file_at_every_entry_point():
    for entry in ENTRY_POINTS:
        for write in PICKLES:
            # Each way at one place, and each place with one way: the reader is the same.
            slow = entry != 'load_weights' and write is not through_getattr
            yield pytest.param(entry, write, marks=[pytest.mark.slow] if slow else [])


def pretrained(path) -> dict:
    return dict(type='Pretrained', checkpoint=str(path))


def start(at, cfg_options=None, **start):
    options = TrainOptions(
        data=at.data,
        work_dir=str(at.folder / 'run'),
        start=Start(**start),
        cfg_options=cfg_options,
    )
    train(at.config, options)


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def at(config, shapes, tmp_path):
    return SimpleNamespace(config=config, data=str(shapes), folder=tmp_path)


@pytest.fixture
def marker(tmp_path) -> Path:
    """What a malicious file makes when it runs."""
    return tmp_path / 'ran'


@pytest.mark.parametrize('write', PICKLES)
def test_the_files_of_these_tests_do_run_where_nothing_prevents_it(
    write, tmp_path, marker, monkeypatch
):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    write(tmp_path / 'w.pth', Call(os.mkdir, str(marker)))
    if write is as_a_bare_pickle:
        pickle.loads((tmp_path / 'w.pth').read_bytes())
    else:
        torch.load(tmp_path / 'w.pth', weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize(('entry', 'write'), every_file_at_every_entry_point())
def test_code_in_a_file_is_refused_by_name_and_never_runs(entry, write, at, marker):
    write(at.folder / 'w.pth', Call(os.mkdir, str(marker)))
    name = 'getattr|__import__' if write is through_getattr else r'posix\.mkdir|nt\.mkdir'
    with pytest.raises(InputError, match=rf'w\.pth(?s:.*)({name})(?s:.*)could run arbitrary code'):
        ENTRY_POINTS[entry](at.folder / 'w.pth', at)
    assert not marker.exists()


def test_a_torchscript_program_is_refused_and_never_runs(tmp_path, marker):
    path = tmp_path / 'w.pth'
    torch.jit.script(Program(marker)).save(str(path))
    torch.jit.load(str(path))
    assert marker.exists()
    marker.unlink()
    with pytest.raises(InputError, match=r'TorchScript program(?s:.*)could run arbitrary code'):
        load_file(path)
    assert not marker.exists()


def test_a_tar_archive_is_refused_and_never_runs(tmp_path, marker):
    in_a_tar_archive(tmp_path / 'w.pth', Call(os.mkdir, str(marker)))
    with pytest.raises(InputError, match=r'tar archive(?s:.*)could run arbitrary code'):
        load_file(tmp_path / 'w.pth')
    assert not marker.exists()


def test_what_another_library_allows_is_refused_still(tmp_path, marker):
    through_getattr(tmp_path / 'w.pth', Call(os.mkdir, str(marker)))
    torch.serialization.add_safe_globals([getattr, os.mkdir])
    try:
        with pytest.raises(InputError, match='could run arbitrary code'):
            load_file(tmp_path / 'w.pth')
        assert {getattr, os.mkdir} <= set(torch.serialization.get_safe_globals())
    finally:
        torch.serialization.clear_safe_globals()
    assert not marker.exists()


def test_what_may_be_rebuilt_is_not_left_allowed(tmp_path):
    torch.save(content(args=argparse.Namespace(lr=1.0)), tmp_path / 'w.pth')
    load_file(tmp_path / 'w.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'w.pth', weights_only=True)


def test_torch_load_in_other_libraries_reads_tensors_only(tmp_path, marker):
    in_a_value(tmp_path / 'w.pth', Call(os.mkdir, str(marker)))
    read_files_safely()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'w.pth')
    assert not marker.exists()


def test_the_users_wish_for_unsafe_loading_does_not_reach_the_tools(tmp_path, marker, monkeypatch):
    in_a_value(tmp_path / 'w.pth', Call(os.mkdir, str(marker)))
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    read_files_safely()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'w.pth')
    assert not marker.exists()


def test_a_pickle_of_annotations_is_refused_and_never_runs(tmp_path, marker):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(Call(os.mkdir, str(marker))))
    read_files_safely()
    with pytest.raises(InputError, match='JSON'):
        mmengine.load(tmp_path / 'a.pkl')
    assert not marker.exists()


def test_pickles_can_be_written_still(tmp_path):
    read_files_safely()
    mmengine.dump(dict(a=1), tmp_path / 'a.pkl')
    assert pickle.loads((tmp_path / 'a.pkl').read_bytes()) == dict(a=1)


def test_a_timm_teacher_cannot_be_given_a_file_behind_our_back(tmp_path):
    (tmp_path / 'w.pth').touch()
    model = dict(type='timm', name='resnet18', checkpoint_path='evil.pth')
    with pytest.raises(ValueError, match='checkpoint'):
        Teacher(model, str(tmp_path / 'w.pth')).load()


def test_every_loader_of_mmengine_is_ours():
    read_files_safely()
    assert set(CheckpointLoader._schemes.values()) == {load_from_safe_reader}


@pytest.mark.parametrize(
    'address', ['s3://a/w.pth', 'petrel:s3://a/w.pth', 'pavi://w', 'ftp://a/w']
)
def test_addresses_that_are_not_read_are_refused(address):
    read_files_safely()
    with pytest.raises(InputError, match=r'are not read\. Fetch the file'):
        CheckpointLoader.load_checkpoint(address)


@pytest.mark.parametrize('scheme', ['torchvision', 'modelzoo', 'open-mmlab', 'openmmlab', 'mmcls'])
def test_an_unknown_name_of_mmengine_is_refused(scheme):
    with pytest.raises(InputError, match=f"knows no 'nothing' under {scheme}://"):
        load_file(f'{scheme}://nothing')


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve ``served`` at an address, with a cache of its own for what is fetched."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    folder = tmp_path / 'served'
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(folder), **options)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}', folder
    server.shutdown()
    server.server_close()


def test_code_behind_an_address_is_refused_and_never_runs(server, marker):
    url, folder = server
    in_a_value(folder / 'w.pth', Call(os.mkdir, str(marker)))
    for load in (load_file, CheckpointLoader.load_checkpoint):
        read_files_safely()
        with pytest.raises(InputError, match='could run arbitrary code'):
            load(f'{url}/w.pth')
    assert not marker.exists()


def test_weights_behind_an_address_load_and_stay_in_the_cache(server, tmp_path):
    url, folder = server
    source = CASViT(TINY_ARCH)
    torch.save(source.state_dict(), folder / 'w.pth')
    for _ in range(2):
        model = CASViT(TINY_ARCH)
        load_weights(model, f'{url}/w.pth')
        assert torch.equal(model.stem[0].weight, source.stem[0].weight)
        (folder / 'w.pth').unlink(missing_ok=True)
    assert (tmp_path / 'cache/hub/checkpoints/w.pth').is_file()


def test_a_download_that_is_not_what_its_name_says_is_refused(server, tmp_path):
    url, folder = server
    torch.save({}, folder / 'w-0123abcd.pth')
    with pytest.raises(InputError, match='invalid hash'):
        load_file(f'{url}/w-0123abcd.pth')
    assert not list((tmp_path / 'cache/hub/checkpoints').glob('*.pth'))


def test_a_download_that_fails_says_what_to_do(server):
    with pytest.raises(InputError, match=r'404(?s:.*)by hand'):
        load_file(f'{server[0]}/nothing.pth')
