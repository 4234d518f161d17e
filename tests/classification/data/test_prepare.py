import pickle

import pytest

pytest.importorskip('mmpretrain')
from classification_data import prepare


def test_prepared_splits_can_be_broadcast(folder):
    prepared = prepare(folder)['train']
    assert list(pickle.loads(pickle.dumps(prepared)).images) == list(prepared.images)


def test_val_stands_in_for_a_test_split_that_is_not_there(folder):
    assert prepare(folder, splits=('test',))['test'].file.name == 'val.json'
