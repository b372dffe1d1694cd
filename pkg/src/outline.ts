/** A JSON schema in few words, as a prompt shows it: in the way of TypeScript, with what else limits a value in brackets behind it. */

/** A schema that is no longer than this as JSON, in characters, is shown as it is: there is little to save. */
const SHORT = 1000;
/** Schemas inside one another. */
const DEEPEST = 32;

/** What a prompt says of the JSON that is wanted: about half as long for a long schema, if all that it says can be said so. */
export function outline(schema: unknown): string {
  const json = JSON.stringify(schema);
  const short = json.length > SHORT ? outlined(schema) : undefined;
  return short === undefined ? `The JSON follows this schema: ${json}` : `The JSON has this form: ${short}`;
}

/** The form by itself; `undefined` for a schema that says something for which there is no word here. */
export function outlined(schema: unknown): string | undefined {
  try {
    const named = new Map<string, unknown>();
    for (const key of ['$defs', 'definitions']) {
      const some = isObject(schema) ? schema[key] : undefined;
      if (some === undefined) continue;
      for (const [name, one] of Object.entries(isObject(some) ? some : unsaid())) {
        if (!PLAIN.test(name) || named.has(name)) unsaid();
        named.set(name, one);
      }
    }
    const names = [...named].map(([name, one]) => `${name} = ${value(one, named, 0)}`);
    const whole = value(schema, named, 0);
    return names.length > 0 ? `${whole}\nwhere ${names.join('\n')}` : whole;
  } catch (error) {
    if (error instanceof Unsaid) return undefined;
    throw error;
  }
}

/** There is no word for it. */
class Unsaid extends Error {}

function unsaid(): never {
  throw new Unsaid();
}

/** A name that needs no quotes. */
const PLAIN = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Keywords that say nothing about values. */
const SILENT = ['$schema', '$comment', '$defs', 'definitions'];

type Schema = Readonly<Record<string, unknown>>;

function value(schema: unknown, named: ReadonlyMap<string, unknown>, depth: number): string {
  if (schema === true) return 'any';
  if (!isObject(schema) || depth > DEEPEST) return unsaid();
  const said = new Set(SILENT);
  /** What a keyword says; from then on, it is said. */
  const take = (key: string): unknown => {
    said.add(key);
    return schema[key];
  };
  const inner = (one: unknown) => value(one, named, depth + 1);
  const notes: string[] = [];
  const range = (least: number | undefined, most: number | undefined, what: string) => {
    if (least !== undefined || most !== undefined) notes.push(bounds(least, most, what));
  };

  const describe = take('description') ?? take('title');
  take('title'); // beside a description, it only says it shorter
  if (typeof describe === 'string' && describe.trim() !== '') notes.push(describe.trim());

  const type = take('type');
  let form: string;
  if (typeof schema['$ref'] === 'string') {
    const name = /^#\/(?:\$defs|definitions)\/(.*)$/.exec(String(take('$ref')))?.[1];
    form = name !== undefined && named.has(name) ? name : unsaid();
    if (type !== undefined) unsaid();
  } else if (Array.isArray(schema['enum'])) {
    form = choice(list(take('enum')).map((one) => JSON.stringify(one)));
  } else if (schema['const'] !== undefined) {
    form = JSON.stringify(take('const'));
  } else if (Array.isArray(schema['anyOf'])) {
    form = choice(list(take('anyOf')).map(inner));
    if (type !== undefined) unsaid();
  } else {
    form = choice(list(Array.isArray(type) ? type : [type]).map((one) => typed(one, schema, take, inner)));
    const bound = (key: string) => (schema[key] === undefined || typeof schema[key] === 'number' ? (take(key) as number | undefined) : unsaid());
    range(bound('minimum'), bound('maximum'), '');
    range(bound('minLength'), bound('maxLength'), ' characters');
    range(bound('minItems'), bound('maxItems'), ' items');
    const [above, below] = [bound('exclusiveMinimum'), bound('exclusiveMaximum')];
    if (above !== undefined) notes.push(`more than ${above}`);
    if (below !== undefined) notes.push(`less than ${below}`);
    if (typeof schema['multipleOf'] === 'number') notes.push(`a multiple of ${take('multipleOf')}`);
    if (typeof schema['format'] === 'string') notes.push(`format ${take('format')}`);
    if (typeof schema['pattern'] === 'string') notes.push(`pattern ${take('pattern')}`);
  }
  if (Object.keys(schema).some((key) => !said.has(key))) unsaid();
  return notes.length > 0 ? `${form} (${notes.join(', ')})` : form;
}

/** A value of this type. */
function typed(type: unknown, schema: Schema, take: (key: string) => unknown, inner: (schema: unknown) => string): string {
  switch (type) {
    case 'string':
    case 'number':
    case 'integer':
    case 'boolean':
    case 'null':
      return type;
    case 'array': {
      const item = schema['items'] === undefined ? 'any' : inner(take('items'));
      return item.includes(' | ') || item.endsWith(')') ? `(${item})[]` : `${item}[]`;
    }
    case 'object': {
      const properties = take('properties') ?? {};
      const required = list(take('required') ?? []);
      if (!isObject(properties) || !required.every((name) => typeof name === 'string' && Object.hasOwn(properties, name))) return unsaid();
      const members = Object.entries(properties).map(([name, one]) => {
        const key = PLAIN.test(name) ? name : JSON.stringify(name);
        return `${key}${required.includes(name) ? '' : '?'}: ${inner(one)}`;
      });
      const more = take('additionalProperties');
      if (isObject(more)) members.push(`[name: string]: ${inner(more)}`);
      return `{${members.join(', ')}}`;
    }
    default:
      return unsaid();
  }
}

/** Bounds that belong to the range. */
function bounds(least: number | undefined, most: number | undefined, what: string): string {
  if (least === most) return `${least}${what}`;
  if (least === undefined) return `at most ${most}${what}`;
  return most === undefined ? `at least ${least}${what}` : `${least} to ${most}${what}`;
}

function choice(forms: readonly string[]): string {
  return forms.length > 0 ? forms.join(' | ') : unsaid();
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : unsaid();
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
