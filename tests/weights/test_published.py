"""The published files and metrics, by name."""

from pathlib import Path

import pytest

from casvit_mm import InputError
from casvit_mm.weights.published import EARLIER_FILES, FILES, find_file, how_to_get


def test_no_two_files_have_one_name_or_link():
    known = FILES | EARLIER_FILES
    assert len(known) == len(FILES) + len(EARLIER_FILES)
    assert len({file.link for file in known.values()}) == len(known)


def test_an_earlier_file_is_found_by_its_name_and_its_config_finds_todays():
    earlier = find_file('checkpoints/cas-vit-m-2024-10.pth')
    assert earlier.metrics == {'Top 1 Accuracy': 81.4}
    assert find_file(earlier.config) is FILES['cas-vit-m']


@pytest.mark.parametrize(
    'name', ['cas-vit-s', 'checkpoints/cas-vit-s.pth', 'configs/casvit_s_imagenet.py']
)
def test_a_file_is_found_by_its_name_its_path_and_its_config(name):
    assert find_file(name) is FILES['cas-vit-s']


def test_a_misspelt_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'casvit-s'.*Did you mean cas-vit-s.*download-weights"):
        find_file('casvit-s')


@pytest.mark.parametrize(
    ('path', 'advice'),
    [
        (Path('checkpoints/cas-vit-m.pth'), 'download-weights cas-vit-m'),
        (Path('/home/me/checkpoints/cas-vit-m-384.pth'), 'download-weights cas-vit-m-384'),
        (Path('checkpoints/cas-vit-s-2024-10.pth'), 'download-weights cas-vit-s-2024-10'),
        (Path('mine.pth'), 'download-weights lists'),
    ],
)
def test_advice_about_a_missing_file_names_it_if_it_is_published(path, advice):
    assert advice in how_to_get(str(path))
