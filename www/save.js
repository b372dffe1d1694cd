// Results leave the page as files, or through the clipboard: to where the visitor puts them.

import { make } from './dom.js';

/** Saves a text as a file. @param {string} name @param {string} type @param {string} text */
export function save(name, type, text) {
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Puts a text on the clipboard when the button is pressed, and says on the button what became of it.
 * @param {HTMLButtonElement} button
 * @param {() => string} text
 */
export function copies(button, text) {
  const name = button.textContent;
  button.addEventListener('click', async () => {
    // Without HTTPS there is no clipboard; it may also be refused.
    const done = await navigator.clipboard?.writeText(text()).then(() => true, () => false);
    button.textContent = done ? 'Copied' : 'Could not copy';
    setTimeout(() => (button.textContent = name), 2000);
  });
}
