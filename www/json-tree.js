// A JSON value as people read it: fields with their values, lists of alike things as tables.

import { make } from './dom.js';

/**
 * The elements of a value.
 * @param {unknown} value
 * @returns {HTMLElement}
 */
export function jsonTree(value) {
  if (Array.isArray(value)) return value.length > 0 && value.every(isFlat) ? table(value) : list(value);
  if (isObject(value)) return fields(value);
  return scalar(value);
}

/** @param {Record<string, unknown>} object */
function fields(object) {
  const element = make('dl', 'json');
  for (const [key, value] of Object.entries(object)) {
    const content = make('dd');
    content.append(jsonTree(value));
    element.append(make('dt', '', key), content);
  }
  return element;
}

/** @param {unknown[]} values */
function list(values) {
  if (values.length === 0) return make('span', 'soft', 'none');
  const element = make('ul', 'json');
  for (const value of values) {
    const item = make('li');
    item.append(jsonTree(value));
    element.append(item);
  }
  return element;
}

/** @param {Record<string, unknown>[]} rows */
function table(rows) {
  const element = make('table', 'json');
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const head = make('tr');
  for (const key of keys) {
    const cell = make('th', '', key);
    cell.scope = 'col';
    head.append(cell);
  }
  element.createTHead().append(head);
  const body = element.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const key of keys) line.insertCell().append(key in row ? scalar(row[key]) : '');
  }
  return element;
}

/** @param {unknown} value */
function scalar(value) {
  if (value === null) return make('span', 'soft', 'not there');
  return make('span', typeof value === 'string' ? '' : 'number', String(value));
}

/** An object of plain values. @param {unknown} value @returns {value is Record<string, unknown>} */
function isFlat(value) {
  return isObject(value) && Object.values(value).every((each) => typeof each !== 'object' || each === null);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
