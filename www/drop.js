// Files that are dropped on the page go to whoever takes such files.

import { find } from './dom.js';

/** @typedef {(files: File[]) => boolean} Taker whether it took them */

/** @type {Taker[]} */
const takers = [];

/** Asks for dropped files. Whoever comes later is asked first. @param {Taker} taker */
export function takeDrops(taker) {
  takers.unshift(taker);
}

/** Wires the whole window. */
export function setUpDrop() {
  const veil = find('drop', HTMLDivElement);
  /** @param {DragEvent} event */
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files') ?? false;
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) veil.hidden = true; // it left the window
  });
  addEventListener('drop', (event) => {
    veil.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])];
    takers.some((taker) => taker(files));
  });
}
