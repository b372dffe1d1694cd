// Where a model comes from: the list, an address, a file, or a file that is dropped on the page.

import { find, make } from './dom.js';
import { bytes } from './format.js';
import { knownModels } from './models.js';

/** @typedef {{ name: string, source: string | File | File[], suggestions?: string[] }} Choice */

/**
 * Wires the dialog and the drop target.
 * @param {(choice: Choice) => void} onChoose
 */
export function setUpPicker(onChoose) {
  const dialog = find('picker', HTMLDialogElement);
  const address = find('address', HTMLInputElement);
  const file = find('file', HTMLInputElement);

  /** @param {Choice} choice */
  const choose = (choice) => {
    dialog.close();
    onChoose(choice);
  };
  /** @param {FileList | undefined | null} list */
  const chooseFiles = (list) => {
    const files = [...(list ?? [])];
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
    chooseFiles(file.files);
    file.value = ''; // so that the same file can be chosen again
  });
  setUpDrop(chooseFiles);
}

/** The last part of an address. @param {string} address */
export function nameOf(address) {
  const path = new URL(address, document.baseURI).pathname;
  return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)) || address;
}

/** @param {(files: FileList | undefined) => void} onDrop */
function setUpDrop(onDrop) {
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
    onDrop(event.dataTransfer?.files);
  });
}
