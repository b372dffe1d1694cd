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

/** The text of a file; a clear error if it holds none. @param {File} file */
export async function readText(file) {
  const text = await file.text().catch(() => {
    throw new Error(`${file.name} could not be opened.`);
  });
  if (/^%PDF/.test(text) || text.includes('\0')) throw new Error(`${file.name} is neither text nor an image: only these can be read here.`);
  return text;
}
