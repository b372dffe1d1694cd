// How far loading is: what is being done, bytes, speed, time left.

import { find } from './dom.js';
import { bytes, duration } from './format.js';

/** @typedef {import('../pkg/dist/index.js').Progress} Progress */

const PHASES = {
  wait: 'Another tab is downloading it',
  download: 'Downloading',
  load: 'Loading into memory',
};

const card = find('loading', HTMLElement);
const phase = find('loading-phase', HTMLSpanElement);
const bar = find('loading-bar', HTMLProgressElement);
const detail = find('loading-detail', HTMLSpanElement);

/** @param {string} name */
export function showLoading(name) {
  find('loading-name', HTMLElement).textContent = name;
  phase.textContent = 'Getting ready';
  detail.textContent = '';
  bar.removeAttribute('value');
  card.hidden = false;
}

/** @param {Progress} progress */
export function showProgress(progress) {
  const { loaded, total, bytesPerSecond, etaSeconds, fromCache } = progress;
  phase.textContent = PHASES[progress.phase] + (fromCache ? ', from this machine' : '');
  if (total) bar.value = loaded / total;
  else bar.removeAttribute('value');
  detail.textContent = [
    total ? `${bytes(loaded)} of ${bytes(total)}` : bytes(loaded),
    ...(bytesPerSecond > 0 ? [`${bytes(bytesPerSecond)}/s`] : []),
    ...(etaSeconds ? [`${duration(etaSeconds)} left`] : []),
  ].join(' · ');
}

export function hideLoading() {
  card.hidden = true;
}
