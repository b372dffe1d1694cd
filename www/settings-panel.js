// The panel with the settings.

import { find, make } from './dom.js';
import { engine } from './engine.js';
import { LOADING, reset, SAMPLING, set, setting } from './settings.js';

/** @typedef {import('./settings.js').Setting} Setting */

/** Wires the panel. */
export function setUpSettings() {
  const dialog = find('settings', HTMLDialogElement);
  const form = find('settings-form', HTMLFormElement);

  const reload = button('Load the model again with these', '');
  const back = button('Everything as it was', 'quiet');
  const show = () => {
    reload.disabled = true;
    form.replaceChildren(
      group('The model', 'These hold from when it is loaded.', LOADING, () => {
        reload.disabled = !engine.choice;
      }),
      group('The answer', 'These hold from the next answer. What is empty is as the model’s makers propose.', SAMPLING, () => {}),
      buttons(reload, back),
    );
  };
  find('open-settings', HTMLButtonElement).addEventListener('click', () => {
    show();
    dialog.showModal();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  reload.addEventListener('click', () => {
    dialog.close();
    void engine.reload();
  });
  back.addEventListener('click', () => {
    reset();
    show();
    reload.disabled = !engine.choice;
  });
}

/**
 * @param {string} title
 * @param {string} about
 * @param {Setting[]} settings
 * @param {() => void} onChange
 */
function group(title, about, settings, onChange) {
  const element = make('fieldset', 'fields plain');
  element.append(make('legend', '', title), make('p', 'wide soft', about), ...settings.map((each) => row(each, onChange)));
  return element;
}

/** @param {Setting} setting_ @param {() => void} onChange */
function row({ name, label, help, kind, range, choices }, onChange) {
  const element = make('label', '', label);
  const input = kind === 'choice' ? make('select') : make('input');
  input.id = `set-${name}`;
  if (input instanceof HTMLInputElement) {
    const [min = 0, max = 1, step = 1] = range ?? [];
    Object.assign(input, { type: 'number', min, max, step, placeholder: 'default' });
  } else {
    for (const [value, text] of choices ?? []) input.append(new Option(text, value));
  }
  input.value = String(setting(name) ?? '');
  input.addEventListener('change', () => {
    if (!input.reportValidity()) return;
    set(name, input.value);
    onChange();
  });
  element.append(input);
  if (help) {
    const small = make('small', '', help);
    small.id = `${input.id}-help`;
    input.setAttribute('aria-describedby', small.id);
    element.append(small);
  }
  return element;
}

/** @param {string} text @param {string} kind */
function button(text, kind) {
  const element = make('button', kind, text);
  element.type = 'button';
  return element;
}

/** @param {HTMLButtonElement[]} all */
function buttons(...all) {
  const element = make('p', 'buttons');
  element.append(...all);
  return element;
}
