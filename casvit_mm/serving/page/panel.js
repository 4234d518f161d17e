// The lists beside the image: classes with a box to tick and a bar, and objects.

function element(tag, className, text = '') {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// Row of a class: {label, name, colour, value (text), share (0 to 1, or null for no bar), on}
function classRow(row, toggle) {
  const item = element('li', '');
  const label = element('label', 'class');
  if (toggle) {
    const box = element('input', '');
    box.type = 'checkbox';
    box.checked = row.on;
    box.dataset.label = row.label;
    box.addEventListener('change', () => toggle(row.label, box.checked));
    const swatch = element('span', 'swatch');
    swatch.style.background = row.colour;
    label.append(box, swatch);
  } else {
    label.classList.add('plain');
  }
  label.append(element('span', 'name', row.name), element('span', 'value', row.value));
  if (row.share !== null) {
    const share = element('div', 'share');
    const bar = element('div', '');
    bar.style.width = `${100 * row.share}%`;
    if (toggle) bar.style.background = row.colour;
    share.append(bar);
    label.append(share);
  }
  item.append(label);
  return item;
}

// Keeps the focus where it was, though the list is made anew.
export function fillClasses(list, rows, toggle) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.label : null;
  list.replaceChildren(...rows.map((row) => classRow(row, toggle)));
  if (focused !== null) list.querySelector(`input[data-label="${focused}"]`)?.focus();
}

export function fillObjects(list, objects, choose) {
  list.replaceChildren(...objects.map((entry) => {
    const item = element('li', '');
    const [x, y, w, h] = entry.bbox.map(Math.round);
    const button = element('button', '', `${entry.class} ${entry.score.toFixed(2)}: ${w} × ${h} px at ${x}, ${y}`);
    button.type = 'button';
    for (const [begin, end] of [['focus', 'blur'], ['pointerenter', 'pointerleave']]) {
      button.addEventListener(begin, () => choose(entry));
      button.addEventListener(end, () => choose(null));
    }
    item.append(button);
    return item;
  }));
}
