// The panel that lists every request of this page: what the browser's own record of it says.

import { find, make } from './dom.js';
import { engine } from './engine.js';
import { bytes } from './format.js';

/** @typedef {{ url: string, at: number, bytes: number, what: string }} Request */

/** @type {Request[]} */
const requests = [];
/** When the model was ready, in milliseconds since the page began; before that, nothing. @type {number | undefined} */
let readyAt;
let show = () => {};

/** Begins to watch, and wires the panel. */
export function setUpPrivate() {
  const dialog = find('private', HTMLDialogElement);
  const open = find('open-private', HTMLButtonElement);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (!(entry instanceof PerformanceResourceTiming) || !/^https?:/.test(entry.name)) continue;
      requests.push({ url: entry.name, at: entry.startTime, bytes: entry.transferSize, what: entry.initiatorType });
    }
    update();
  }).observe({ type: 'resource', buffered: true });

  const update = () => {
    const count = sinceReady().length;
    open.textContent = readyAt === undefined ? 'Private' : `${count} ${count === 1 ? 'request' : 'requests'}`;
    open.title = 'What this page has asked of the network since the model was ready';
    if (dialog.open) show();
  };
  show = () => find('private-body', HTMLDivElement).replaceChildren(...body());

  engine.addEventListener('change', () => {
    readyAt = engine.status === 'ready' ? performance.now() : undefined;
    update();
  });
  open.addEventListener('click', () => {
    show();
    dialog.showModal();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
}

/** Requests that began after the model was ready. The icon of the tab is the browser's to fetch, whenever it likes. */
function sinceReady() {
  const icon = document.querySelector('link[rel=icon]');
  const isIcon = (/** @type {Request} */ { url, what }) => what === 'other' && icon instanceof HTMLLinkElement && url === icon.href;
  return requests.filter((each) => readyAt !== undefined && each.at > readyAt && !isIcon(each));
}

function body() {
  const since = sinceReady();
  const none = make('p', 'verdict');
  const count = make('strong', '', String(since.length));
  const tail =
    readyAt === undefined ? ' requests. No model is loaded yet.' : ` ${since.length === 1 ? 'request' : 'requests'} since the model was ready.`;
  none.append(count, tail);
  const how = make(
    'p',
    'soft',
    'The model runs in this tab. What you type, drop or paste is never sent: there is nobody to send it to. Below is what ' +
      'this page has asked of the network since you opened it, from the browser’s own record, and the models that its workers ' +
      'have read. JSON and images need parts of the page that come when they are first used. Look at the browser’s developer ' +
      'tools, or switch the network off: what was used once goes on.',
  );
  return [
    none,
    how,
    ...[...engine.downloads].map(([url, size]) => part('The model, read by a worker', [{ url, at: 0, bytes: size, what: '' }])),
    ...(engine.beginnings.size > 0
      ? [part('Files whose beginning was read by a worker, to see whether they fit', [...engine.beginnings].map((url) => ({ url, at: 0, bytes: NaN, what: '' })))]
      : []),
    ...(since.length > 0 ? [part('Since the model was ready', since)] : []),
    part('The page itself', requests.filter((each) => !since.includes(each)), true),
  ];
}

/** @param {string} title @param {Request[]} list @param {boolean} [closed] */
function part(title, list, closed = false) {
  const element = make('details', 'requests');
  element.open = !closed;
  const sum = list.reduce((sum, each) => sum + (each.bytes || 0), 0);
  element.append(make('summary', '', `${title}: ${list.length}${sum > 0 ? `, ${bytes(sum)}` : ''}`));
  const rows = make('ul');
  rows.append(
    ...list.map(({ url, bytes: size }) => {
      const row = make('li');
      const { origin, pathname } = new URL(url);
      row.append(
        make('span', '', origin === location.origin ? pathname : url),
        make('span', 'soft', size > 0 ? bytes(size) : size === 0 ? 'kept here' : ''),
      );
      return row;
    }),
  );
  element.append(rows);
  return element;
}
