import dataclasses
import subprocess
from pathlib import Path

import pytest

from casvit_mm import InputError
from casvit_mm.datasets import layouts
from casvit_mm.datasets.layouts import LAYOUTS, check_layout, print_layout

IMAGES = 6  # of every folder, in place of the official number


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Expect few files, and work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layouts, '_CLASSES', 3)
    for name, layout in list(LAYOUTS.items()):
        parts = tuple(
            part if part.files is None else dataclasses.replace(part, files=IMAGES)
            for part in layout.parts
        )
        monkeypatch.setitem(LAYOUTS, name, dataclasses.replace(layout, parts=parts))


def fill(folder: Path, count: int = IMAGES, suffix: str = '.jpg') -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f'{i}{suffix}').touch()


def make(name: str, root: str | Path) -> Path:
    """Create a complete data set."""
    root = Path(root)
    for part in LAYOUTS[name].parts:
        path = root / part.path
        if part.files is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('{}')
        elif part.in_classes:
            for label in ('n01', 'n02', 'n03'):
                fill(path / label, IMAGES // 3, '.JPEG')
        else:
            fill(path, suffix='.png' if 'annotations' in part.path else '.jpg')
    return root


def run(problem: str) -> None:
    """Run the command that a problem ends with."""
    command = problem.split(':\n  ')[1]
    subprocess.run(command, shell=True, check=True)


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_complete_data_set_has_no_problem(name, capsys):
    make(name, LAYOUTS[name].root)
    assert check_layout(name) == []
    assert print_layout(name) == 0
    assert 'is complete' in capsys.readouterr().out


def test_the_official_counts_are_those_published(monkeypatch):
    monkeypatch.undo()
    counts = {name: [part.files for part in layout.parts] for name, layout in LAYOUTS.items()}
    assert counts == {
        'coco': [None, None, 118_287, 5_000],
        'ade20k': [20_210, 2_000, 20_210, 2_000],
        'imagenet': [1_281_167, 50_000],
    }


@pytest.mark.parametrize('name', LAYOUTS)
def test_every_missing_part_is_named_with_its_archive(name, capsys):
    assert print_layout(name) == 1
    printed = capsys.readouterr().out
    for part in LAYOUTS[name].parts:
        for text in (part.path, part.archive.name, part.archive.url, LAYOUTS[name].page):
            assert text in printed


def test_parts_of_one_archive_are_one_problem():
    problems = check_layout('coco')
    assert len(problems) == 3
    assert 'instances_train2017.json, annotations/instances_val2017.json: missing' in problems[0]


def test_an_archive_that_lies_there_is_to_be_unpacked_not_downloaded():
    root = make('coco', 'data/my coco')
    for path in (root / 'val2017').iterdir():
        path.unlink()
    (root / 'val2017').rmdir()
    (root / 'val2017.zip').touch()
    (problem,) = check_layout('coco', root)
    assert 'val2017.zip is there but still packed' in problem
    assert "unzip -q 'data/my coco/val2017.zip' -d 'data/my coco'" in problem


@pytest.mark.parametrize(
    ('name', 'below'), [('coco', 'coco'), ('imagenet', 'ILSVRC/Data/CLS-LOC'), ('ade20k', 'x y')]
)
def test_the_command_for_data_too_deep_makes_it_complete(name, below):
    root = Path(LAYOUTS[name].root)
    make(name, root / below)
    (problem,) = check_layout(name)
    assert f'{name} lies in {root / below}' in problem
    run(problem)
    assert check_layout(name) == []


@pytest.mark.parametrize('name', ['coco', 'ade20k'])
def test_the_command_for_data_one_level_above_makes_it_complete(name):
    make(name, Path(LAYOUTS[name].root).parent)
    (problem,) = check_layout(name)
    assert 'one level above' in problem
    run(problem)
    assert check_layout(name) == []


def test_a_part_named_as_root_is_answered_with_the_root():
    make('coco', 'data/coco')
    (problem,) = check_layout('coco', 'data/coco/train2017')
    assert problem.endswith('Name data/coco')


def test_a_folder_within_its_namesake_is_moved_up_by_the_command():
    make('coco', 'data/coco')
    inner = Path('data/coco/train2017')
    inner.rename('data/coco/inner')
    inner.mkdir()
    Path('data/coco/inner').rename(inner / 'train2017')
    (problem,) = check_layout('coco')
    assert 'one level too deep' in problem
    run(problem)
    assert check_layout('coco') == []


@pytest.mark.parametrize('name', LAYOUTS)
def test_incomplete_unpacking_is_reported_with_both_numbers(name):
    root = make(name, LAYOUTS[name].root)
    next((root / LAYOUTS[name].parts[-1].path).rglob('*.*')).unlink()
    (problem,) = check_layout(name)
    assert f'{IMAGES - 1} images' in problem
    assert f'officially {IMAGES}' in problem


def test_surplus_images_are_reported_without_unpacking_again():
    fill(make('coco', 'data/coco') / 'val2017', IMAGES + 1)
    (problem,) = check_layout('coco')
    assert f'{IMAGES + 1} images' in problem
    assert 'unzip' not in problem


@pytest.mark.parametrize(
    'sign', ['images/ADE/training', 'images/training/a', 'ADE20K_2021_17_01/images']
)
def test_the_full_ade20k_is_told_from_the_challenge(sign):
    root = Path(LAYOUTS['ade20k'].root)
    (root / sign).mkdir(parents=True)
    (problem,) = check_layout('ade20k')
    assert 'full ADE20K' in problem
    assert 'ADEChallengeData2016.zip' in problem


def test_imagenet_classes_that_are_still_packed_are_unpacked_by_the_command():
    root = make('imagenet', 'data/imagenet')
    for folder in list((root / 'train').iterdir()):
        subprocess.run(['tar', '-cf', f'{folder}.tar', '-C', folder, '.'], check=True)
        subprocess.run(['rm', '-r', folder], check=True)
    (problem,) = check_layout('imagenet')
    assert '3 class archives are still packed' in problem
    run(problem)
    assert check_layout('imagenet') == []


def flat_val(root: Path) -> None:
    for i, path in enumerate(sorted((root / 'val').rglob('*.JPEG'))):
        path.rename(root / f'val/{i}.JPEG')
    for folder in (root / 'val').glob('n*'):
        folder.rmdir()


def test_imagenet_images_without_classes_need_folders_or_a_list():
    root = make('imagenet', 'data/imagenet')
    flat_val(root)
    (problem,) = check_layout('imagenet')
    assert f'{IMAGES} images in data/imagenet/val without classes' in problem
    assert 'data/imagenet/meta/val.txt' in problem
    (root / 'meta').mkdir()
    (root / 'meta/val.txt').write_text('0.JPEG 65\n')
    assert check_layout('imagenet') == []


def test_a_list_that_does_not_fit_imagenets_folders_is_moved_away():
    # mmpretrain goes by the list where there is one, and would find no image.
    root = make('imagenet', 'data/imagenet')
    (root / 'meta').mkdir()
    (root / 'meta/val.txt').write_text('ILSVRC2012_val_00000001.JPEG 65\n')
    (problem,) = check_layout('imagenet')
    assert 'names ILSVRC2012_val_00000001.JPEG, which is not in data/imagenet/val' in problem
    run(problem)
    assert check_layout('imagenet') == []


def test_a_lost_class_is_reported():
    root = make('imagenet', 'data/imagenet')
    subprocess.run(['rm', '-r', root / 'train/n02'], check=True)
    (problem,) = check_layout('imagenet')
    assert '2 class folders in data/imagenet/train, officially 3' in problem


def test_mmpretrain_reads_what_is_called_complete():
    datasets = pytest.importorskip('mmpretrain.datasets')
    root = make('imagenet', 'data/imagenet')
    classes = [{'metainfo': {'classes': ['a', 'b', 'c']}}, {}]
    for flat, arguments in zip((False, True), classes):
        if flat:
            flat_val(root)
            (root / 'meta').mkdir()
            lines = [f'{i}.JPEG {i % 3}\n' for i in range(IMAGES)]
            (root / 'meta/val.txt').write_text(''.join(lines))
        assert check_layout('imagenet') == []
        assert len(datasets.ImageNet(data_root=str(root), split='val', **arguments)) == IMAGES


def test_folders_full_of_images_are_not_searched(monkeypatch):
    monkeypatch.setattr(layouts, '_MANY', 2)
    make('coco', 'data/coco/deep/er')
    fill(Path('data/coco'))
    assert all('lies in' not in problem for problem in check_layout('coco'))


@pytest.mark.parametrize(
    ('name', 'root', 'message'), [('voc', None, "unknown layout 'voc'"), ('coco', 'f', 'is a file')]
)
def test_bad_input_is_refused(name, root, message):
    Path('f').touch()
    with pytest.raises(InputError, match=message):
        check_layout(name, root)
