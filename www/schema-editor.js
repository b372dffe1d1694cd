// The editor of what to find: a row for each field, or the JSON Schema itself for whoever wants more than rows can say.

import { find, make } from './dom.js';
import { MORE, schemaOf, TYPES } from './schema.js';

/** @typedef {import('./schema.js').Field} Field */

/** @type {Field[]} */
let fields = [];
let onChange = () => {};

/** Wires the editor. @param {() => void} changed */
export function setUpSchemaEditor(changed) {
  onChange = changed;
  const text = find('schema-text', HTMLTextAreaElement);
  find('schema-add', HTMLButtonElement).addEventListener('click', () => {
    fields.push({ name: '', type: 'text' });
    showRows();
    find('schema-rows', HTMLUListElement).querySelector('li:last-child input')?.scrollIntoView({ block: 'nearest' });
    const last = find('schema-rows', HTMLUListElement).querySelector('li:last-child input');
    if (last instanceof HTMLInputElement) last.focus();
  });
  text.addEventListener('input', () => {
    text.dataset['own'] = 'true'; // from here on it counts, and the rows do not
    showRows();
    onChange();
  });
  find('schema-back', HTMLButtonElement).addEventListener('click', () => setFields(fields));
}

/** Other fields in place of what is there. @param {Field[]} others */
export function setFields(others) {
  fields = others.map((field) => ({ ...field }));
  delete find('schema-text', HTMLTextAreaElement).dataset['own'];
  showRows();
  onChange();
}

/** The schema as it stands; throws when it was written by hand and is not JSON. @returns {Record<string, unknown>} */
export function currentSchema() {
  const text = find('schema-text', HTMLTextAreaElement);
  if (text.dataset['own']) {
    try {
      return JSON.parse(text.value);
    } catch (error) {
      throw new Error(`The schema is not JSON: ${error instanceof Error ? error.message : error}`);
    }
  }
  const empty = fields.find(({ name, type, more }) => name.trim() !== '' && MORE[type] !== undefined && !more?.replaceAll(',', '').trim());
  if (empty) throw new Error(`Say what ${empty.name} has: ${MORE[empty.type]}, for example.`);
  const schema = schemaOf(fields);
  if (Object.keys(schema.properties).length === 0) throw new Error('Name at least one field to find.');
  return schema;
}

function showRows() {
  const text = find('schema-text', HTMLTextAreaElement);
  const own = text.dataset['own'] !== undefined;
  find('schema-rows', HTMLUListElement).hidden = own;
  find('schema-add', HTMLButtonElement).hidden = own;
  find('schema-back', HTMLButtonElement).hidden = !own;
  if (own) return;
  find('schema-rows', HTMLUListElement).replaceChildren(...fields.map(row));
  showText();
}

function showText() {
  find('schema-text', HTMLTextAreaElement).value = JSON.stringify(schemaOf(fields), null, 2);
}

/** @param {Field} field @param {number} index */
function row(field, index) {
  const element = make('li', 'field');
  const name = make('input');
  name.value = field.name;
  name.placeholder = 'name';
  name.spellcheck = false;
  name.setAttribute('aria-label', `Field ${index + 1}: name`);
  const type = make('select');
  for (const [value, label] of TYPES) type.append(new Option(label, value, false, value === field.type));
  type.setAttribute('aria-label', `Field ${index + 1}: type`);
  const more = make('input', 'more');
  more.value = field.more ?? '';
  more.spellcheck = false;
  const remove = make('button', 'word', 'Remove');
  remove.type = 'button';
  remove.setAttribute('aria-label', `Remove ${field.name || `field ${index + 1}`}`);
  const showMore = () => {
    const hint = MORE[field.type];
    more.hidden = hint === undefined;
    more.placeholder = hint ?? '';
    more.setAttribute('aria-label', `Field ${index + 1}: ${field.type === 'rows' ? 'columns' : 'choices'}`);
  };
  const changed = () => {
    showMore();
    showText();
    onChange();
  };
  name.addEventListener('input', () => {
    field.name = name.value;
    changed();
  });
  type.addEventListener('change', () => {
    field.type = TYPES.find(([value]) => value === type.value)?.[0] ?? 'text';
    field.more = more.value = MORE[field.type] ?? '';
    changed();
  });
  more.addEventListener('input', () => {
    field.more = more.value;
    changed();
  });
  remove.addEventListener('click', () => {
    fields = fields.filter((each) => each !== field);
    showRows();
    onChange();
    find('schema-add', HTMLButtonElement).focus();
  });
  showMore();
  element.append(name, type, remove, more);
  return element;
}
