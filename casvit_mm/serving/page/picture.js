// Draws an image and what was found in it onto a canvas.

const LONGEST_LAYER = 1600; // pixels of the masks' longer side

// Returns where runs of COCO's RLE end, going down the columns; they begin with one of zeros.
export function runEnds(counts) {
  const runs = [];
  let end = 0;
  const ends = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value -= 2 ** shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
    ends.push(end += value);
  }
  return ends;
}

// Paints the ones of a mask into a layer: pixels is a Uint32Array of width x height.
function paint(layer, ends, size, colour) {
  const [rows, columns] = size;
  const scale = layer.width / columns;
  const row = (y) => Math.min(layer.height, Math.ceil(y * layer.height / rows - 0.5));
  for (let k = 0; k + 1 < ends.length; k += 2) {
    let start = ends[k];
    const stop = ends[k + 1];
    while (start < stop) {
      const x = Math.floor(start / rows);
      const end = Math.min(stop, (x + 1) * rows);
      // At a scale below 1, several columns fall on one of the layer, and the middle one counts.
      const left = Math.ceil(x * scale - 0.5), right = Math.ceil((x + 1) * scale - 0.5);
      if (left < right && left < layer.width) {
        const top = row(start - x * rows), bottom = row(end - x * rows);
        for (let y = top; y < bottom; y++) layer.pixels[y * layer.width + left] = colour;
      }
      start = end;
    }
  }
}

function asPixel(hex) {
  const [r, g, b] = rgb(hex);
  return (255 << 24 | b << 16 | g << 8 | r) >>> 0; // little-endian, as every browser's machine is
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function textColour(hex) {
  const [r, g, b] = rgb(hex);
  return 0.299 * r + 0.587 * g + 0.114 * b > 120 ? '#000' : '#fff';
}

// Returns a canvas with the masks of the entries, the first on top.
function maskLayer(entries, width, height, colours) {
  const scale = Math.min(1, LONGEST_LAYER / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext('2d');
  const image = context.createImageData(canvas.width, canvas.height);
  const layer = { width: canvas.width, height: canvas.height, pixels: new Uint32Array(image.data.buffer) };
  for (const entry of [...entries].reverse()) {
    entry.ends ??= runEnds(entry.segmentation.counts);
    paint(layer, entry.ends, entry.segmentation.size, asPixel(colours[entry.label]));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// What: {bitmap, width, height, entries (the best first), colours, opacity, chosen, caption}
export function draw(canvas, room, what) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.min(room.width, room.height * what.bitmap.width / what.bitmap.height));
  const height = width * what.bitmap.height / what.bitmap.width;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(what.bitmap, 0, 0, canvas.width, canvas.height);
  const masked = what.entries.filter((entry) => entry.segmentation);
  if (masked.length && what.opacity > 0) {
    context.globalAlpha = what.opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(maskLayer(masked, what.width, what.height, what.colours), 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }
  const scale = canvas.width / what.width;
  const boxes = what.entries.filter((entry) => entry.bbox);
  for (const entry of [...boxes].reverse()) {
    const [x, y, w, h] = entry.bbox.map((value) => value * scale);
    context.lineWidth = (entry === what.chosen ? 5 : 2) * ratio;
    context.strokeStyle = what.colours[entry.label];
    context.strokeRect(x, y, w, h);
  }
  const font = Math.max(10, Math.min(13, width / 45)) * ratio;
  context.font = `600 ${font}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  const labels = boxes.map((entry) => ({ entry, text: `${entry.class} ${entry.score.toFixed(2)}` }));
  labels.sort((a, b) => (b.entry === what.chosen) - (a.entry === what.chosen));
  const placed = [];
  for (const { entry, text } of labels) place(context, entry, text, what.colours[entry.label], scale, font, placed);
  if (what.caption) place(context, { bbox: [0, 0, 0, 0] }, what.caption, '#202020', scale, font * 1.2, placed);
}

// Writes a label above, below or inside its box, unless it would cover another one.
function place(context, entry, text, colour, scale, font, placed) {
  const [x, y, , h] = entry.bbox.map((value) => value * scale);
  const width = context.measureText(text).width + font * 0.7, height = font * 1.5;
  const left = Math.max(0, Math.min(x, context.canvas.width - width));
  for (const top of [y - height, y + h, y]) {
    const free = placed.every((o) => left >= o[2] || left + width <= o[0] || top >= o[3] || top + height <= o[1]);
    if (!free || top < 0 || top + height > context.canvas.height) continue;
    context.fillStyle = colour;
    context.fillRect(left, top, width, height);
    context.fillStyle = textColour(colour);
    context.fillText(text, left + font * 0.35, top + height / 2);
    placed.push([left, top, left + width, top + height]);
    return;
  }
}
