"""What a folder holds."""

from casvit_mm.datasets.files import describe_unused, find_files


def test_a_link_to_a_folder_that_it_lies_in_is_not_followed(tmp_path):
    for name in ('images/cats', 'elsewhere'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / '1.png').touch()
    images = tmp_path / 'images'
    (images / 'dogs').symlink_to(tmp_path / 'elsewhere')
    # Two of them would make 2 ** 40 paths.
    (images / 'cats/again').symlink_to(images)
    (images / 'cats/here').symlink_to(images / 'cats')
    assert list(find_files(images, {'.png'})) == ['cats/1', 'dogs/1']
    assert describe_unused(images, lambda path: False).startswith('2 file(s) of')
