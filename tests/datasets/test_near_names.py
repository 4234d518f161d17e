import unicodedata

import pytest

from casvit_mm.datasets.near_names import images_below, near_names

ACCENT = unicodedata.normalize('NFC', 'caf\u00e9.jpg')


@pytest.mark.parametrize(
    ('name', 'there', 'difference'),
    [
        ('IM1.JPG', 'im1.jpg', 'case'),
        ('im1.jpg', 'im1.JPG', 'case'),
        ('a\\im1.jpg', 'a/im1.jpg', 'backslashes for /'),
        ('im%201.jpg', 'im 1.jpg', 'percent codes (%20 is a blank)'),
        (unicodedata.normalize('NFD', ACCENT), ACCENT, 'Unicode form'),
        ('images/im1.jpg', 'im1.jpg', 'the folder'),
        ('/home/me/im1.jpg', 'im1.jpg', 'the folder'),
        ('im1.jpg', 'below/im1.jpg', 'the folder'),
        ('A/im1.jpg', 'a/im1.jpg', 'case or Unicode form of the folder'),
        ('im1.jpeg', 'im1.jpg', 'the suffix'),
        (
            'C:\\data\\IM1.png',
            'im1.jpg',
            'backslashes for / and the folder and the suffix and case',
        ),
    ],
)
def test_what_differs_is_named(name, there, difference):
    hint = near_names([name], [there, 'other.png'])[name]
    assert hint.startswith(f'{there} is there, and differs in {difference}')


@pytest.mark.parametrize('there', [[], ['other.png'], ['a/im1.jpg', 'b/im1.jpg']])
def test_nothing_is_said_of_none_or_several(there):
    assert near_names(['im1.jpg'], there) == {}


def test_only_images_are_near(tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('a/im1.jpg', 'a/im1.txt', '.hidden.jpg'):
        (tmp_path / name).touch()
    assert images_below(tmp_path) == ['a/im1.jpg']
