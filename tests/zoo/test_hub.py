"""A published model goes to the Hub and comes back, by a server of our own."""

import json
import os
import subprocess
import sys

import pytest
import torch
from helpers import ROOT
from hub_server import TOKEN, serving

from casvit_mm import InputError
from casvit_mm.weights.sources import local_file
from casvit_mm.zoo.publish import publish

# One process, since the Hub's library reads its settings when it is imported.
PROGRAM = """
import json, os, sys
from pathlib import Path
from casvit_mm import InputError
from casvit_mm.weights.reading import load_file
from casvit_mm.weights.sources import local_file
from casvit_mm.zoo.card import CardFacts
from casvit_mm.zoo.publish import publish

def refusal(work):
    try:
        work()
    except InputError as error:
        return str(error)

def no_right():
    os.environ['HF_TOKEN'] = 'hf_of_another'
    publish(checkpoint, folder + '/three/', card=facts, push_to='me/others')

checkpoint, folder = sys.argv[1:]
facts = CardFacts(data='cells', license='mit')
found = publish(checkpoint, folder + '/one/', card=facts, push_to='me/cells')
came = local_file('hf://me/cells')
again = publish(checkpoint, folder + '/two/other', card=facts, push_to='me/cells')
print(json.dumps(dict(
    address=found.address,
    equal=came.read_bytes() == found.path.read_bytes(),
    tensors=sorted(load_file('hf://me/cells/' + found.path.name)['state_dict']),
    several=refusal(lambda: local_file('hf://me/cells')),
    absent=refusal(lambda: local_file('hf://me/nothing')),
    missing=refusal(lambda: local_file('hf://me/cells/no.pth')),
    altered=refusal(lambda: local_file('hf://me/altered')),
    no_right=refusal(no_right),
)))
"""


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'epoch_3.pth'
    torch.save(dict(state_dict={'layer.weight': torch.arange(4.0)}, meta=dict(epoch=3)), path)
    return path


@pytest.fixture(scope='module')
def pushed(checkpoint, tmp_path_factory):
    """What the server has after the program, what the program found, and its folder."""
    folder = tmp_path_factory.mktemp('pushed')
    with serving() as hub:
        hub.repositories['me/altered'] = {'cells-0123abcd.safetensors': b'something else'}
        settings = {
            'HF_ENDPOINT': hub.address,
            'HF_HOME': str(folder / 'cache'),
            'HF_HUB_DISABLE_XET': '1',
            'HF_TOKEN': TOKEN,
        }
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, checkpoint, folder],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT), **settings},
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    return hub, json.loads(done.stdout.splitlines()[-1]), folder


def test_a_model_is_pushed_with_its_card_into_a_private_repository(pushed):
    hub, found, _ = pushed
    files = hub.repositories['me/cells']
    assert hub.private == {'me/cells'}
    assert len(files) == 3  # two files of weights and the card
    assert b'\nlicense: mit\n' in files['README.md']
    assert found['address'].startswith(f'{hub.address}/me/cells/commit/')


def test_it_is_loaded_by_its_name(pushed):
    _, found, _ = pushed
    assert found['equal']
    assert found['tensors'] == ['layer.weight']


def test_what_cannot_be_fetched_is_refused_with_the_cause(pushed):
    _, found, _ = pushed
    assert 'holds 2 files of weights, and one is read; name it' in found['several']
    assert 'was not downloaded' in found['absent']
    assert 'was not downloaded' in found['missing']
    assert 'its name says 0123abcd' in found['altered']


def test_without_a_right_to_write_the_files_are_kept_and_the_message_says_what_to_do(pushed):
    hub, found, folder = pushed
    assert found['no_right'].startswith('--push me/others: the Hub does not take it')
    assert 'hf auth login' in found['no_right']
    assert {path.suffix for path in (folder / 'three').iterdir()} == {'.md', '.safetensors'}
    assert 'me/others' not in hub.repositories


def test_a_push_without_a_card_is_refused_before_anything_is_written(checkpoint, tmp_path):
    with pytest.raises(InputError, match='--push needs --card'):
        publish(checkpoint, tmp_path / 'out', push_to='me/cells')
    assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('address', ['hf://cells', 'hf://', 'hf://me/cells@/x'])
def test_what_is_no_name_of_the_hub_is_refused(address):
    with pytest.raises(InputError, match='hf://user/name'):
        local_file(address)
