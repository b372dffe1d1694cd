// Rooms of the page, by the part of the address after `#`: `#/chat`, `#/extract` and so on.

import { make } from './dom.js';

/** Shows the room that the address names, now and whenever it changes. */
export function setUpRooms() {
  addEventListener('hashchange', () => show(true));
  show(false);
}

/** @param {boolean} moved the visitor went there, so that is where the focus goes */
function show(moved) {
  const rooms = [...document.querySelectorAll('main > .room')];
  const wanted = location.hash.replace(/^#\/?/, '');
  const room = rooms.find(({ id }) => id === wanted) ?? rooms[0];
  if (!(room instanceof HTMLElement)) return;
  const was = rooms.find((each) => each instanceof HTMLElement && !each.hidden);
  for (const each of rooms) if (each instanceof HTMLElement) each.hidden = each !== room;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#/${room.id}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.body.dataset['room'] = room.id;
  if (moved && was !== room) {
    scrollTo({ top: 0 });
    room.querySelector('h2')?.focus({ preventScroll: true });
  }
}

/**
 * Says what went wrong, in the place for that in a room; without an error, nothing.
 * @param {HTMLElement} element
 * @param {unknown} [error]
 */
export function showProblem(element, error) {
  element.replaceChildren();
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  element.hidden = error === undefined || code === 'aborted';
  if (element.hidden) return;
  const message = error instanceof Error ? error.message : String(error);
  if (code) element.append(make('code', '', code));
  element.append(make('p', '', message));
  element.scrollIntoView({ block: 'nearest' });
}
