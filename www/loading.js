// How far loading is: what is being done, bytes, speed, time left. A download may pause.

import { find } from './dom.js';
import { engine } from './engine.js';
import { bytes, duration } from './format.js';
import { showProblem } from './rooms.js';

const PHASES = {
  wait: 'Another tab is downloading it',
  download: 'Downloading',
  load: 'Loading into memory',
};

/** Wires the card and the buttons on it. */
export function setUpLoading() {
  const card = find('loading', HTMLElement);
  const phase = find('loading-phase', HTMLSpanElement);
  const bar = find('loading-bar', HTMLProgressElement);
  const detail = find('loading-detail', HTMLSpanElement);
  const pause = find('loading-pause', HTMLButtonElement);
  const resume = find('loading-resume', HTMLButtonElement);
  const drop = find('loading-drop', HTMLButtonElement);

  pause.addEventListener('click', () => engine.pause());
  resume.addEventListener('click', () => void engine.reload());
  drop.addEventListener('click', () => void engine.release());

  engine.addEventListener('change', () => {
    const { status, choice } = engine;
    const paused = status === 'paused';
    card.hidden = status !== 'loading' && !paused;
    pause.hidden = paused;
    resume.hidden = drop.hidden = !paused;
    find('loading-name', HTMLElement).textContent = choice?.name ?? '';
    if (paused) phase.textContent = 'Paused: what has come is kept';
    if (status === 'loading') {
      phase.textContent = 'Getting ready';
      detail.textContent = '';
      bar.removeAttribute('value');
    }
    showProblem(find('load-problem', HTMLDivElement), engine.error);
  });

  engine.addEventListener('progress', () => {
    if (engine.status !== 'loading' || !engine.progress) return;
    const { loaded, total, bytesPerSecond, etaSeconds, fromCache } = engine.progress;
    phase.textContent = PHASES[engine.progress.phase] + (fromCache ? ', from this machine' : '');
    if (total) bar.value = loaded / total;
    else bar.removeAttribute('value');
    detail.textContent = [
      total ? `${bytes(loaded)} of ${bytes(total)}` : bytes(loaded),
      ...(bytesPerSecond > 0 ? [`${bytes(bytesPerSecond)}/s`] : []),
      ...(etaSeconds ? [`${duration(etaSeconds)} left`] : []),
    ].join(' · ');
  });
}
