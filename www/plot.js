// A small plot: lines over numbers, with a legend. The table beside it says the same for those who do not see it.

import { make } from './dom.js';
import { perSecond } from './format.js';

/** @typedef {{ label: string, points: { x: number, y: number }[] }} Series */

const [WIDTH, HEIGHT] = [480, 260];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, WIDTH - 18, 14, HEIGHT - 44];

/**
 * @param {string} title
 * @param {string} axis what lies along the bottom
 * @param {Series[]} series
 */
export function plot(title, axis, series) {
  const points = series.flatMap((each) => each.points);
  const most = niceAbove(Math.max(...points.map(({ y }) => y)));
  const widest = Math.max(...points.map(({ x }) => x));
  const x = (/** @type {number} */ value) => LEFT + ((RIGHT - LEFT) * value) / widest;
  const y = (/** @type {number} */ value) => BOTTOM - ((BOTTOM - TOP) * value) / most;
  const figure = make('figure', 'card');
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': title });
  for (const share of [0, 0.5, 1]) {
    const value = share * most;
    picture.append(
      svg('path', { class: 'grid', d: `M${LEFT},${y(value)}H${RIGHT}` }),
      svg('text', { x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, value === 0 ? '0' : perSecond(value)),
    );
  }
  let last = -Infinity;
  for (const value of [...new Set(points.map((point) => point.x))].sort((a, b) => a - b)) {
    if (x(value) - last < 30) continue; // there is no room for its number
    last = x(value);
    picture.append(svg('text', { x: last, y: BOTTOM + 18, 'text-anchor': 'middle' }, String(value)));
  }
  picture.append(svg('text', { x: (LEFT + RIGHT) / 2, y: HEIGHT - 8, 'text-anchor': 'middle' }, axis));
  for (const [index, { points }] of series.entries()) {
    const line = points.map((point) => `${x(point.x)},${y(point.y)}`).join(' ');
    picture.append(svg('polyline', { class: `line line-${index % 4}`, points: line }));
    for (const point of points) {
      picture.append(svg('circle', { class: `dot line-${index % 4}`, cx: x(point.x), cy: y(point.y), r: 3.5 }));
    }
  }
  const legend = make('ul', 'legend');
  legend.append(
    ...series.map(({ label }, index) => {
      const item = make('li');
      const key = svg('svg', { viewBox: '0 0 24 8', class: 'key', 'aria-hidden': 'true' });
      key.append(svg('path', { class: `line line-${index % 4}`, d: 'M1,4H23' }));
      item.append(key, label);
      return item;
    }),
  );
  figure.append(make('figcaption', '', title), picture, legend);
  return figure;
}

/** One, two or five times a power of ten. @param {number} value */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function svg(tag, attributes, text) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}
