"""What a folder holds."""

from casvit_mm.datasets.files import describe_unused, find_files, find_images, list_images


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
    ((_, message),) = describe_unused([images, images / 'cats'], lambda path: False)
    assert message.startswith('2 file(s) of')


def test_images_of_formats_that_nobody_reads_count_unless_another_of_the_name_is_there(tmp_path):
    for name in ('a.heic', 'b.psd', 'b.png', 'c.jfif'):
        (tmp_path / name).touch()
    found = {name: [path.name for path in paths] for name, paths in find_images(tmp_path).items()}
    assert found == {'a': ['a.heic'], 'b': ['b.png'], 'c': ['c.jfif']}
    assert list_images(tmp_path) == [str(tmp_path / n) for n in ('a.heic', 'b.png', 'c.jfif')]
