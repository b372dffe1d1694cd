// What to find in a document: a list of fields, and the JSON Schema and the request that they make.

/** @typedef {'text' | 'number' | 'integer' | 'date' | 'boolean' | 'choice' | 'texts' | 'rows'} FieldType */
/**
 * @typedef {object} Field
 * @property {string} name
 * @property {FieldType} type
 * @property {string} [more] of a choice its words, of rows their columns (`name, qty: number`), with commas between them
 */

/** @type {[FieldType, string][]} */
export const TYPES = [
  ['text', 'text'],
  ['number', 'number'],
  ['integer', 'whole number'],
  ['date', 'date'],
  ['boolean', 'yes or no'],
  ['choice', 'one of …'],
  ['texts', 'list of texts'],
  ['rows', 'table with …'],
];

/** Types that have something `more`, and what stands in its empty field. @type {Partial<Record<FieldType, string>>} */
export const MORE = { choice: 'cash, card, other', rows: 'name, qty: number, price: number' };

/** Longest text, in characters, and longest list: a model that has lost its way comes to an end. */
const [MOST_LETTERS, MOST_ROWS] = [120, 40];

/** @type {Partial<Record<FieldType, object>>} */
const SIMPLE = {
  text: { type: ['string', 'null'], maxLength: MOST_LETTERS },
  number: { type: ['number', 'null'] },
  integer: { type: ['integer', 'null'] },
  date: { type: ['string', 'null'], format: 'date' },
  boolean: { type: ['boolean', 'null'] },
  texts: { type: 'array', items: { type: 'string', maxLength: MOST_LETTERS }, maxItems: MOST_ROWS },
};

/** The schema of an object with these fields, in this order. @param {Field[]} fields */
export function schemaOf(fields) {
  return objectOf(fields.filter(({ name }) => name.trim() !== '').map((field) => [field.name.trim(), typeOf(field)]));
}

/** What the model is asked for a text. @param {Record<string, unknown>} schema @param {string} text */
export function request(schema, text) {
  return `Extract ${named(schema)}.\n\n${text.trim()}`;
}

/** @param {Field} field */
function typeOf({ type, more = '' }) {
  if (type === 'choice') return { enum: [...parts(more), null] };
  if (type !== 'rows') return SIMPLE[type] ?? {};
  const columns = parts(more).map((part) => {
    const [name = '', type = 'text'] = part.split(':').map((each) => each.trim());
    const known = TYPES.find(([, label]) => label === type)?.[0] ?? 'text';
    /** @type {[string, object]} */
    const column = [name, SIMPLE[known] ?? {}];
    return column;
  });
  return { type: 'array', items: objectOf(columns), maxItems: MOST_ROWS };
}

/** @param {[string, object][]} properties */
function objectOf(properties) {
  return {
    type: 'object',
    properties: Object.fromEntries(properties),
    required: properties.map(([name]) => name),
    additionalProperties: false,
  };
}

/** The names of a schema's properties: `merchant, total, items (name, price)`. @param {any} schema @returns {string} */
function named(schema) {
  return Object.entries(schema?.properties ?? {})
    .map(([name, each]) => (each?.items?.properties ? `${name} (${named(each.items)})` : name))
    .join(', ');
}

/** @param {string} list */
function parts(list) {
  return list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
