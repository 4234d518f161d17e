"""Names of the files that belong to images."""

from casvit_mm.datasets.image_files import ImageFiles


def test_a_dot_in_a_name_is_no_suffix():
    assert ImageFiles('out', '/data').name('/data/a/frame.001.jpg') == 'a/frame.001.png'
