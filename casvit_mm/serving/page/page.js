// Takes images, asks the server, and shows what it answers. Nothing is fetched from elsewhere.

import { draw } from './picture.js';
import { fillClasses, fillObjects } from './panel.js';

const MOST_OBJECTS = 300; // in the list
const MOST_BARS = 10; // classes of a classifier
const WEBCAM_SIDE = 1280;

const $ = (id) => document.getElementById(id);
const about = await (await fetch('model')).json();
const off = new Set(); // labels of the classes that are not shown
let shown = null; // {bitmap, answer, note}
let chosen = null; // an object of the list
let stream = null; // of the webcam
let asked = 0; // number of the latest request

function start() {
  document.title = about.name;
  $('name').textContent = about.name;
  const number = about.classes.length;
  $('about').textContent = `${about.task}, ${number} class${number === 1 ? '' : 'es'}, ${about.device}`;
  $('address').textContent = new URL('.', location.href);
  const finds = about.task === 'detection';
  $('score-row').hidden = $('objects').hidden = !finds;
  $('switches').hidden = about.task === 'classification';
  if (finds) {
    $('score').min = about.least_score;
    $('score').max = 1;
    $('score').value = about.score_thr;
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    $('webcam').disabled = true;
    $('webcam').textContent = 'Webcam: needs https or localhost';
  }
}

// ---- asking -----------------------------------------------------------------

async function ask(blob, output = 'json') {
  const query = about.task === 'detection' && output === 'json' ? `&score_thr=${about.least_score}` : '';
  const answer = await fetch(`predict?output=${output}${query}`, {
    method: 'POST',
    body: blob,
    headers: { 'Content-Type': blob.type.startsWith('image/') ? blob.type : 'application/octet-stream' },
  });
  if (answer.ok) return answer;
  let reason = answer.statusText;
  try { reason = (await answer.json()).detail; } catch { /* a proxy's page */ }
  throw Object.assign(new Error(`${reason} (${answer.status})`), { after: answer.headers.get('Retry-After') });
}

async function predict(file) {
  stopWebcam();
  const number = ++asked;
  tell('', '');
  $('status').textContent = 'predicting';
  $('status').classList.add('busy');
  try {
    let bitmap = null, note = '';
    try { bitmap = await createImageBitmap(file); } catch { /* a format that browsers do not know */ }
    let blob = file;
    if (bitmap) [blob, bitmap, note] = await fitted(file, bitmap);
    const begin = performance.now();
    const answer = await (await ask(blob)).json();
    const seconds = (performance.now() - begin) / 1000;
    if (!bitmap || bitmap.width !== answer.width || bitmap.height !== answer.height) {
      // The browser shows the file differently, or not at all: the server draws it.
      bitmap = await createImageBitmap(await (await ask(blob, 'picture')).blob());
      note = ', drawn by the server: the browser cannot show this format';
      answer.drawn = true;
    }
    if (number === asked) show(bitmap, answer, seconds, note);
  } catch (error) {
    if (number === asked) tell('', words(error));
  }
}

function words(error) {
  return error instanceof TypeError ? 'The server does not answer. Is it still running?' : error.message;
}

// Returns file, bitmap and a note, made smaller where the server would refuse them.
async function fitted(file, bitmap) {
  const { max_pixels: pixels, max_bytes: bytes } = about.limits;
  if (bitmap.width * bitmap.height <= pixels && file.size <= bytes) return [file, bitmap, ''];
  const scale = Math.min(1, Math.sqrt(0.98 * pixels / (bitmap.width * bitmap.height)));
  const canvas = document.createElement('canvas');
  canvas.width = Math.floor(bitmap.width * scale);
  canvas.height = Math.floor(bitmap.height * scale);
  canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.92));
  const note = `, made smaller from ${bitmap.width} × ${bitmap.height}`;
  return [blob, await createImageBitmap(canvas), note];
}

// ---- showing ----------------------------------------------------------------

function show(bitmap, answer, seconds, note = '') {
  shown = { bitmap, answer };
  const model = answer.model_seconds;
  tell(`${answer.width} × ${answer.height} px${note}; ${seconds.toFixed(2)} s, of which the model ${model.toFixed(2)} s`, '');
  $('view').classList.remove('empty');
  $('canvas').hidden = false;
  $('panel').hidden = false;
  chosen = null;
  refresh();
}

function tell(status, error) {
  $('status').classList.remove('busy');
  $('status').textContent = status;
  $('error').textContent = error;
}

function entries() {
  const { answer } = shown;
  if (answer.task === 'classification') return answer.classes;
  const all = answer.objects ?? answer.classes;
  const least = answer.objects ? Number($('score').value) : 0;
  return all.filter((entry) => !off.has(entry.label) && (entry.score ?? 1) >= least);
}

function refresh() {
  $('score-text').textContent = Number($('score').value).toFixed(2);
  $('opacity-text').textContent = `${Math.round(100 * $('opacity').value)} %`;
  if (!shown) return;
  const { answer } = shown;
  const found = entries();
  fillPanel(answer, found);
  const copied = { ...answer, [answer.objects ? 'objects' : 'classes']: found };
  delete copied.drawn;
  if (answer.objects) copied.score_thr = Number($('score').value);
  $('json').textContent = JSON.stringify(copied, (key, value) => (key === 'ends' ? undefined : value), 1);
  redraw();
}

function fillPanel(answer, found) {
  const all = answer.objects ?? answer.classes;
  $('opacity-row').hidden = !all.some((entry) => entry.segmentation);
  const row = (label, value, share) => ({
    label, name: about.classes[label], colour: about.colours[label], value, share, on: !off.has(label),
  });
  let rows;
  let sum;
  if (answer.task === 'classification') {
    rows = answer.classes.slice(0, MOST_BARS).map((e) => row(e.label, percent(e.score), e.score));
    fillClasses($('found'), rows, null);
    $('more').hidden = true;
    const [best] = answer.classes;
    sum = `${best.class}, ${percent(best.score)}`;
  } else {
    if (answer.objects) {
      const counts = new Map();
      const least = Number($('score').value);
      for (const e of answer.objects) if (e.score >= least) counts.set(e.label, (counts.get(e.label) ?? 0) + 1);
      rows = [...counts].sort((a, b) => b[1] - a[1]).map(([label, n]) => row(label, String(n), null));
      sum = found.length ? `${found.length} objects` : 'nothing found';
      fillObjects($('list'), found.slice(0, MOST_OBJECTS), choose);
      $('objects').firstElementChild.textContent = `Objects (${found.length})`;
    } else {
      rows = answer.classes.map((e) => row(e.label, percent(e.share), e.share));
      sum = found.map((e) => `${e.class} ${percent(e.share)}`).join(', ');
    }
    fillClasses($('found'), rows, toggle);
    const there = new Set(rows.map((r) => r.label));
    const others = about.classes.map((_, label) => label).filter((label) => !there.has(label));
    $('more').hidden = !others.length;
    $('more').firstElementChild.textContent = `${others.length} more, not in this image`;
    fillClasses($('others'), others.map((label) => row(label, '', null)), toggle);
  }
  $('canvas').setAttribute('aria-label', `Image with results: ${sum}`);
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function redraw() {
  if (!shown) return;
  const { bitmap, answer } = shown;
  const classified = answer.task === 'classification' && !answer.drawn;
  draw($('canvas'), { width: $('view').clientWidth, height: Math.max(240, 0.72 * window.innerHeight) }, {
    bitmap, width: answer.width, height: answer.height, colours: about.colours, chosen,
    entries: answer.drawn || classified ? [] : entries(),
    opacity: Number($('opacity').value),
    caption: classified ? `${answer.classes[0].class} ${percent(answer.classes[0].score)}` : '',
  });
}

function choose(entry) {
  chosen = entry;
  redraw();
}

function toggle(label, on) {
  if (on) off.delete(label); else off.add(label);
  refresh();
}

// ---- webcam -----------------------------------------------------------------

async function startWebcam() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  } catch (error) {
    tell('', `The webcam cannot be used: ${error.message}`);
    return;
  }
  $('webcam').setAttribute('aria-pressed', 'true');
  $('webcam').textContent = 'Stop the webcam';
  $('video').srcObject = stream;
  await $('video').play();
  const mine = stream;
  while (stream === mine) await frame(mine);
}

async function frame(mine) {
  const video = $('video');
  const scale = Math.min(1, WEBCAM_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  const number = ++asked;
  try {
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.85));
    const begin = performance.now();
    const answer = await (await ask(blob)).json();
    if (stream === mine && number === asked) show(canvas, answer, (performance.now() - begin) / 1000);
  } catch (error) {
    tell('', words(error));
    if (error.after) await new Promise((done) => setTimeout(done, 1000 * error.after));
    else stopWebcam();
  }
}

function stopWebcam() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $('webcam').setAttribute('aria-pressed', 'false');
  if (!$('webcam').disabled) $('webcam').textContent = 'Webcam';
}

// ---- what people do ---------------------------------------------------------

function take(files) {
  const file = [...files].find((one) => one.size);
  if (file) predict(file);
  else tell('', 'That holds no file.');
}

$('file').addEventListener('change', () => {
  take($('file').files);
  $('file').value = ''; // the same file can be chosen again
});
$('webcam').addEventListener('click', () => (stream ? stopWebcam() : startWebcam()));
document.addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
});
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $('view').classList.toggle('over', kind === 'dragover');
    if (kind === 'drop') take(event.dataTransfer.files);
  });
}
for (const id of ['score', 'opacity']) $(id).addEventListener('input', refresh);
$('all').addEventListener('click', () => { off.clear(); refresh(); });
$('none').addEventListener('click', () => { about.classes.forEach((_, label) => off.add(label)); refresh(); });
$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText($('json').textContent);
    $('copied').textContent = 'copied';
  } catch {
    getSelection().selectAllChildren($('json')); // without https a page may not copy
    $('copied').textContent = document.execCommand('copy') ? 'copied' : 'selected: press Ctrl+C';
  }
  setTimeout(() => { $('copied').textContent = ''; }, 3000);
});
new ResizeObserver(redraw).observe($('view'));

start();
