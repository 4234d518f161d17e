"""The page in a real browser: what people drop, choose, paste and see."""

import json
import shutil
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from serving_models import StubModel, running

from casvit_mm.serving import Limits

WHY = "needs pip install playwright, and Debian's chromium (apt install chromium)"
sync_api = pytest.importorskip('playwright.sync_api', reason=WHY)
CHROMIUM = shutil.which('chromium')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY)

# Returns the colours of the canvas at a share of its width and height.
COLOUR = """([x, y]) => {
  const c = document.getElementById('canvas');
  const [left, top] = [Math.floor(x * c.width), Math.floor(y * c.height)];
  return [...c.getContext('2d').getImageData(left, top, 1, 1).data];
}"""
# Gives an event of the clipboard or of a drop a file, as a person would.
GIVE = """([kind, name, numbers]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(numbers)], name, { type: 'image/png' }));
  const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data })
    : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
  document.dispatchEvent(event);
}"""

# Returns the colours that the style sheet names.
COLOURS = """() => {
  const style = getComputedStyle(document.documentElement);
  const names = ['text', 'ground', 'card', 'quiet', 'on-accent', 'accent', 'error'];
  return Object.fromEntries(names.map((n) => [n, style.getPropertyValue('--' + n).trim()]));
}"""
# Returns what can be used and says nothing to a screen reader.
NAMELESS = """() => [...document.querySelectorAll('button, input, summary')]
  .filter((e) => e.offsetParent && !(e.textContent.trim() || e.labels?.length || e.ariaLabel))
  .map((e) => e.outerHTML)"""


def png(height=16, width=24, value=90):
    return cv2.imencode('.png', np.full((height, width, 3), value, np.uint8))[1].tobytes()


@pytest.fixture(scope='module')
def browser():
    with sync_api.sync_playwright() as play:
        options = [
            '--no-sandbox',
            '--use-fake-ui-for-media-stream',
            '--use-fake-device-for-media-stream',
        ]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser, model=None, limits=None, **options):
    """The page of a model; nothing may be asked of another host, nothing may be an error."""
    options = dict(viewport=dict(width=1200, height=800)) | options
    with running(model or StubModel(), limits, score_thr=0.3) as port:
        context = browser.new_context(**options)
        page = context.new_page()
        asked, faults = [], []
        page.on('request', lambda request: asked.append(request.url))
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.goto(f'http://127.0.0.1:{port}/')
        page.wait_for_selector('#about:not(:empty)')
        yield page
        context.close()
    assert not faults
    assert all(url.startswith((f'http://127.0.0.1:{port}/', 'blob:', 'data:')) for url in asked)


def choose(page, content, name='photo.png'):
    page.set_input_files('#file', dict(name=name, mimeType='image/png', buffer=content))
    page.wait_for_selector('#panel:not([hidden])')


def shown(page):
    return json.loads(page.text_content('#json'))


def names(page, where='#found'):
    return page.eval_on_selector_all(f'{where} .name', 'all => all.map((e) => e.textContent)')


def test_objects_are_drawn_and_follow_the_slider_and_the_classes(browser):
    with opened(browser) as page:
        choose(page, png())
        assert [entry['class'] for entry in shown(page)['objects']] == ['dog', 'cat']
        assert names(page) == ['dog', 'cat']
        inside, outside = (page.evaluate(COLOUR, place) for place in ([0.1, 0.3], [0.9, 0.9]))
        assert outside[:3] == [90, 90, 90] != inside[:3]  # a mask
        page.focus('#score')
        page.keyboard.press('Home')  # as low as the server goes
        assert len(shown(page)['objects']) == 3
        page.keyboard.press('End')
        assert shown(page)['objects'] == []
        assert page.evaluate(COLOUR, [0.1, 0.3])[:3] == [90, 90, 90]
        page.keyboard.press('Home')
        page.focus('#found input')  # the dog
        page.keyboard.press('Space')
        assert {entry['class'] for entry in shown(page)['objects']} == {'cat', 'tree'}
        assert page.evaluate('document.activeElement.dataset.label') == '1'  # still there
        page.click('#none')
        assert shown(page)['objects'] == []
        page.click('#all')
        assert len(shown(page)['objects']) == 3


def test_masks_are_where_the_server_has_them(browser):
    with opened(browser, StubModel('segmentation')) as page:
        choose(page, png(40, 60))
        assert names(page) == ['cat', 'tree']
        page.focus('#opacity')
        page.keyboard.press('End')
        colours = page.evaluate("fetch('model').then((a) => a.json()).then((m) => m.colours)")
        for place, label in (
            ([0.49, 0.5], 0),
            ([0.51, 0.02], 2),
            ([0.99, 0.99], 2),
            ([0.01, 0.99], 0),
        ):
            found = page.evaluate(COLOUR, place)
            assert '#' + bytes(found[:3]).hex() == colours[label], place


def test_the_classes_of_a_classifier_have_bars(browser):
    with opened(browser, StubModel('classification')) as page:
        choose(page, png())
        assert names(page) == ['dog', 'cat', 'tree']
        widths = page.eval_on_selector_all('.share div', 'all => all.map((e) => e.style.width)')
        assert [round(float(width[:-1])) for width in widths] == [90, 40, 10]
        assert not page.is_visible('#score')


@pytest.mark.parametrize('kind', ['paste', 'drop'])
def test_an_image_is_pasted_or_dropped(browser, kind):
    with opened(browser) as page:
        page.evaluate(GIVE, [kind, 'photo.png', list(png())])
        page.wait_for_selector('#panel:not([hidden])')
        assert len(shown(page)['objects']) == 2


def test_the_webcam_is_followed_until_it_is_stopped(browser):
    model = StubModel()
    with opened(browser, model) as page:
        page.click('#webcam')
        page.wait_for_selector('#panel:not([hidden])')
        while len(model.batches) < 3:
            page.wait_for_timeout(20)
        page.click('#webcam')
        page.wait_for_timeout(300)
        number = len(model.batches)
        page.wait_for_timeout(300)
        assert len(model.batches) == number
        assert page.text_content('#webcam') == 'Webcam'


def test_json_is_copied(browser):
    with opened(browser, permissions=['clipboard-read', 'clipboard-write']) as page:
        choose(page, png())
        page.click('#raw summary')
        page.click('#copy')
        page.wait_for_selector('#copied:has-text("copied")')
        assert json.loads(page.evaluate('navigator.clipboard.readText()')) == shown(page)


def test_what_is_no_image_is_told_and_the_next_one_works(browser):
    with opened(browser) as page:
        page.set_input_files('#file', dict(name='a.png', mimeType='image/png', buffer=b'nothing'))
        page.wait_for_selector('#error:not(:empty)')
        assert 'the image cannot be read' in page.text_content('#error')
        assert '(422)' in page.text_content('#error')
        choose(page, png())
        assert page.text_content('#error') == ''


def test_an_image_beyond_the_limit_is_made_smaller(browser):
    with opened(browser, limits=Limits(max_pixels=10_000)) as page:
        choose(page, png(300, 400))
        found = shown(page)
        assert 9_000 < found['width'] * found['height'] <= 10_000
        assert 'made smaller from 400' in page.text_content('#status')


def test_what_the_browser_cannot_show_the_server_draws(browser):
    content = cv2.imencode('.tiff', np.full((16, 24, 3), 90, np.uint8))[1].tobytes()
    with opened(browser) as page:
        choose(page, content, 'scan.tif')
        assert 'drawn by the server' in page.text_content('#status')
        assert len(shown(page)['objects']) == 2


@pytest.mark.parametrize('task', ['detection', 'segmentation', 'classification'])
def test_a_telephone_shows_it_without_scrolling_sideways(browser, task):
    options = dict(viewport=dict(width=360, height=740), device_scale_factor=2, has_touch=True)
    with opened(browser, StubModel(task), color_scheme='dark', **options) as page:
        choose(page, png(300, 400))
        assert page.evaluate('document.documentElement.scrollWidth') == 360
        assert page.evaluate("document.getElementById('canvas').width") > 600  # of a sharp screen
        small = page.evaluate(
            "[...document.querySelectorAll('.stage button, .button')]"
            '.filter((e) => e.getBoundingClientRect().height < 44).length'
        )
        assert small == 0


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_texts_stand_out_from_their_ground(browser, scheme):
    # WCAG 2.2, 1.4.3: 4.5 to 1.
    with opened(browser, color_scheme=scheme) as page:
        choose(page, png())
        colours = page.evaluate(COLOURS)
    pairs = [('text', 'ground'), ('text', 'card'), ('quiet', 'ground'), ('quiet', 'card')]
    pairs += [('on-accent', 'accent'), ('error', 'card'), ('accent', 'ground')]
    for front, ground in pairs:
        light, dark = sorted((luminance(colours[name]) for name in (front, ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, ground)


def luminance(colour):
    values = np.array(list(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_everything_that_can_be_used_has_a_name_and_is_reached_by_tab(browser):
    with opened(browser) as page:
        choose(page, png())
        page.click('#raw summary')
        page.click('#objects summary')
        nameless = page.evaluate(NAMELESS)
        assert nameless == []
        page.evaluate('document.activeElement.blur()')
        reached = []
        for _ in range(20):
            page.keyboard.press('Tab')
            reached.append(
                page.evaluate('document.activeElement.id || document.activeElement.tagName')
            )
        assert {'file', 'webcam', 'score', 'opacity', 'all', 'none', 'copy', 'json'} <= set(reached)
