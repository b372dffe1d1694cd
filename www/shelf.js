// The shelf: where a model comes from. The list, an address, a file, or a file that is dropped on the page.

import { find, make } from './dom.js';
import { takeDrops } from './drop.js';
import { bytes } from './format.js';
import { knownModels } from './models.js';

/** @typedef {import('./engine.js').Choice} Choice */

/**
 * Wires the dialog, and takes GGUF files that are dropped.
 * @param {(choice: Choice) => void} onChoose
 */
export function setUpShelf(onChoose) {
  const dialog = find('shelf', HTMLDialogElement);
  const address = find('address', HTMLInputElement);
  const file = find('file', HTMLInputElement);

  /** @param {Choice} choice */
  const choose = (choice) => {
    dialog.close();
    onChoose(choice);
  };
  /** @param {File[]} files */
  const chooseFiles = (files) => {
    const [first] = files;
    if (first) choose({ name: first.name, source: files.length === 1 ? first : files });
  };

  for (const model of knownModels) {
    const button = make('button', 'model');
    button.type = 'button';
    button.append(
      make('strong', '', model.name),
      make('span', 'model-size', bytes(model.bytes)),
      make('span', 'model-about', model.about),
    );
    button.addEventListener('click', () =>
      choose({ name: model.name, source: model.url, suggestions: model.suggestions ?? [] }),
    );
    const item = make('li');
    item.append(button);
    find('models', HTMLUListElement).append(item);
  }

  find('choose', HTMLButtonElement).addEventListener('click', () => dialog.showModal());
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  find('by-address', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    choose({ name: nameOf(address.value), source: address.value });
  });
  file.addEventListener('change', () => {
    chooseFiles([...(file.files ?? [])]);
    file.value = ''; // so that the same file can be chosen again
  });
  takeDrops((files) => {
    const models = files.filter(({ name }) => name.endsWith('.gguf'));
    chooseFiles(models);
    return models.length > 0;
  });
}

/** The last part of an address. @param {string} address */
export function nameOf(address) {
  const path = new URL(address, document.baseURI).pathname;
  return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)) || address;
}
