"""The pages: links and anchors lead somewhere, and what they name in the code is there."""

import importlib.util
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from helpers import PARAMETERS, ROOT

from casvit_mm import ARCHS, __version__
from casvit_mm.commands import JOBS
from casvit_mm.weights.published import METRICS

PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (
        ROOT / 'README.md',
        ROOT / 'CHANGELOG.md',
        ROOT / 'CONTRIBUTING.md',
        ROOT / 'SECURITY.md',
        ROOT / 'configs/README.md',
        *sorted((ROOT / 'docs').rglob('*.md')),
    )
}
# Old paths and names stand in the log of changes because they are gone.
TODAY = [name for name in PAGES if name != 'CHANGELOG.md']


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    titles = re.findall(r'^#{1,6} (.+)$', without_code(text), re.MULTILINE)
    plain = [re.sub(r'\[(.+?)\]\(.+?\)', r'\1', title) for title in titles]
    return {re.sub(r'[^\w -]', '', title).lower().replace(' ', '-') for title in plain}


def import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_code(text: str) -> str:
    return re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize('name', PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name):
    page = PAGES[name]
    for link in re.findall(r'\]\(([^)\s]+)\)', without_code(page.read_text())):
        if '://' in link:
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f'{name}: {link}'
        if anchor:
            assert anchor in anchors(target.read_text()), f'{name}: {link}'


@pytest.mark.parametrize('name', TODAY)
def test_every_module_and_object_that_a_page_names_is_there(name):
    for found in set(re.findall(r'\bcasvit_mm(?:\.(?!json\b)\w+)+', PAGES[name].read_text())):
        pkgutil.resolve_name(found)


@pytest.mark.parametrize('name', TODAY)
def test_every_path_that_a_page_names_is_there(name):
    text = PAGES[name].read_text()
    folders = 'casvit_mm|configs|tools|tests|docs'
    endings = r'/|\.(?:py|sh|md|yml|jpg|png)\b'
    for path in set(re.findall(rf'(?<![\w./-])((?:{folders})/[\w./-]*\w(?:{endings}))', text)):
        assert (ROOT / path).exists(), f'{name}: {path}'


def test_every_page_is_in_the_site():
    nav = (ROOT / 'mkdocs.yml').read_text().split('\nnav:')[1]
    listed = [f'docs/{page}' for page in re.findall(r'([\w/]+\.md)$', nav, re.MULTILINE)]
    assert sorted(listed) == [path for path in PAGES if path.startswith('docs/')]


def test_every_message_that_names_a_page_names_one_that_is_there():
    text = '\n'.join(
        p.read_text()
        for p in [
            *ROOT.glob('casvit_mm/**/*.py'),
            *ROOT.glob('tools/*'),
            *ROOT.glob('examples/**/*.*'),
        ]
    )
    for page, anchor in set(re.findall(r'docs/([\w/]+\.md)(?:#([\w-]+))?', text)):
        assert (ROOT / 'docs' / page).is_file(), page
        assert not anchor or anchor in anchors((ROOT / 'docs' / page).read_text()), anchor


def test_commands_are_written_in_one_way():
    """``casvit-mm JOB`` is there in a checkout and in a wheel, which has no ``tools/``."""
    tools = '|'.join(JOBS)
    texts = {name: text.read_text() for name, text in PAGES.items() if name in TODAY}
    texts |= {str(path): path.read_text() for path in ROOT.glob('casvit_mm/**/*.py')}
    found = [
        f'{name}: {line.strip()}'
        for name, text in texts.items()
        for line in text.splitlines()
        if re.search(rf'\btools/({tools})\.py|casvit-mm \S+ configs/', line)
    ]
    # Tools of other frameworks, and where the two ways are said to be one.
    others = (
        "mmdet's",
        'another framework',
        'Its `tools/test',
        '| `python tools/',
        ' is `casvit-mm',
    )
    assert not [line for line in found if not any(words in line for words in others)]


def test_the_page_of_options_is_what_the_parsers_say():
    page = (ROOT / 'docs/reference/options.md').read_text()
    written = import_file(ROOT / 'docs/write_options.py').write_page()
    assert page == written, 'write it anew: python docs/write_options.py'
    assert not re.findall(r'^\| .+ \| *\|$', page, re.MULTILINE), 'an argument without help'


def test_the_table_of_models_has_the_published_metrics_and_our_parameters():
    rows = re.findall(r'^\| CAS-ViT-(\w+) \|(.+)\|$', PAGES['README.md'].read_text(), re.MULTILINE)
    assert [name.lower() for name, _ in rows] == list(ARCHS)
    for name, cells in rows:
        parameters, _, *metrics = (cell.strip() for cell in cells.split('|'))
        configs = (
            'casvit_{}_imagenet',
            'retinanet_casvit_{}_coco',
            'maskrcnn_casvit_{}_coco',
            'semfpn_casvit_{}_ade20k',
        )
        published = [METRICS[config.format(name.lower())].values() for config in configs]
        assert metrics == [', '.join(map(str, values)) for values in published]
        assert parameters == f'{PARAMETERS[name.lower()] / 1e6:.2f} M'


def test_the_citation_names_the_version():
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert cited['version'] == __version__
    assert cited['preferred-citation']['title'] in PAGES['README.md'].read_text()
    assert f'## {__version__}' in PAGES['CHANGELOG.md'].read_text()
