"""--logger NAME, checked before the model is built."""

import importlib.util

import pytest
from mmengine.config import Config

from casvit_mm import InputError
from casvit_mm.engine import TrainOptions
from casvit_mm.engine.loggers import add_loggers


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Take every package as installed, and no key as given."""
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'mlflow' else name
    )
    for name in ('WANDB_API_KEY', 'WANDB_MODE', 'CLEARML_API_ACCESS_KEY', 'CLEARML_OFFLINE_MODE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('NETRC', '/nowhere')
    monkeypatch.setenv('CLEARML_CONFIG_FILE', '/nowhere')


def add(*names, present=('LocalVisBackend',)):
    backends = [dict(type=name) for name in present]
    cfg = Config(dict(work_dir='work_dirs/name', visualizer=dict(vis_backends=backends)))
    add_loggers(cfg, TrainOptions(loggers=names))
    return cfg.visualizer.vis_backends


def test_a_run_is_logged_under_the_name_of_its_work_dir(monkeypatch):
    monkeypatch.setenv('WANDB_MODE', 'offline')
    _, tensorboard, wandb = add('tensorboard', 'wandb')
    assert tensorboard == dict(type='TensorboardVisBackend')
    assert wandb['init_kwargs'] == dict(project='casvit_mm', name='name')


def test_what_a_copied_config_has_is_not_added_again():
    assert len(add('tensorboard', present=('TensorboardVisBackend',))) == 1


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mlflow', '--logger mlflow needs the package mlflow'),
        ('wandb', 'Run wandb login, or set WANDB_MODE=offline'),
        ('clearml', 'Run clearml-init, or set CLEARML_OFFLINE_MODE=1'),
        ('comet', 'is none of aim, clearml'),
    ],
)
def test_what_would_fail_or_ask_later_is_refused_now(name, message):
    with pytest.raises(InputError, match=message):
        add(name)


def test_a_key_for_wandb_is_found_where_its_login_leaves_it(monkeypatch, tmp_path):
    file = tmp_path / 'netrc'
    file.write_text('machine api.wandb.ai login user password key')
    monkeypatch.setenv('NETRC', str(file))
    assert len(add('wandb')) == 2
