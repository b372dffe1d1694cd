#!/usr/bin/env node
// What constraints cost in WebAssembly, without a model: how long a schema takes to compile, and the set of allowed tokens to
// compute, with the vocabulary of a GGUF file.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const HELP = `masks.mjs --model FILE [options]: the cost of constraints with the vocabulary of this GGUF file, in the wasm modules of pkg/wasm

  --model FILE   only its header is read
  --rounds N     walks through the answer (5)
  --help         this text

Times are processor time, which hardly depends on what else the machine does.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({ options: { model: { type: 'string' }, rounds: { type: 'string', default: '5' }, help: { type: 'boolean', default: false } } });

const text = { type: 'string' };
const address = {
  type: 'object',
  properties: { street: text, number: { type: 'integer', minimum: 1 }, city: text, postal_code: { type: 'string', pattern: '^[0-9]{5}$' }, country: { enum: ['DE', 'AT', 'CH', 'FR', 'IT'] } },
  required: ['street', 'number', 'city', 'postal_code', 'country'],
  additionalProperties: false,
};
/** An invoice, 2 KB as JSON. */
const SCHEMA = {
  type: 'object',
  properties: {
    invoice_number: { type: 'string', pattern: '^[A-Z]{2}-[0-9]{4,8}$' },
    issued: { type: 'string', format: 'date' },
    due: { type: 'string', format: 'date' },
    seller: { type: 'object', properties: { name: text, vat_number: { type: ['string', 'null'] }, email: { type: 'string', format: 'email' }, address: { $ref: '#/$defs/address' } }, required: ['name', 'vat_number', 'address'], additionalProperties: false },
    buyer: { type: 'object', properties: { name: text, customer_number: { type: 'integer' }, address: { $ref: '#/$defs/address' } }, required: ['name', 'customer_number', 'address'], additionalProperties: false },
    currency: { enum: ['EUR', 'CHF', 'USD', 'GBP', 'SEK', 'NOK', 'DKK'] },
    lines: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        properties: { description: { type: 'string', maxLength: 200 }, quantity: { type: 'number', minimum: 0 }, unit: { enum: ['piece', 'hour', 'kg', 'm', 'l'] }, unit_price: { type: 'number' }, discount: { anyOf: [{ type: 'number', minimum: 0, maximum: 100 }, { type: 'null' }] }, tax_rate: { enum: [0, 7, 19] } },
        required: ['description', 'quantity', 'unit', 'unit_price', 'discount', 'tax_rate'],
        additionalProperties: false,
      },
    },
    net: { type: 'number' },
    tax: { type: 'number' },
    gross: { type: 'number' },
    paid: { type: 'boolean' },
    payment: { anyOf: [{ type: 'object', properties: { method: { const: 'card' }, last_four: { type: 'string', pattern: '^[0-9]{4}$' } }, required: ['method', 'last_four'], additionalProperties: false }, { type: 'object', properties: { method: { const: 'transfer' }, iban: { type: 'string', minLength: 15, maxLength: 34 } }, required: ['method', 'iban'], additionalProperties: false }] },
    notes: { type: 'array', items: text, maxItems: 5 },
  },
  required: ['invoice_number', 'issued', 'due', 'seller', 'buyer', 'currency', 'lines', 'net', 'tax', 'gross', 'paid', 'payment', 'notes'],
  additionalProperties: false,
  $defs: { address },
};
const ANSWER =
  '{"invoice_number": "RE-20417", "issued": "2026-03-14", "due": "2026-04-13", "seller": {"name": "Müller & Söhne GmbH", "vat_number": null, "email": ' +
  '"rechnung@mueller-soehne.de", "address": {"street": "Lange Straße", "number": 12, "city": "Göttingen", "postal_code": "37073", "country": "DE"}}, "buyer": ' +
  '{"name": "Corner Bakery", "customer_number": 90412, "address": {"street": "Main Street", "number": 7, "city": "Basel", "postal_code": "40510", "country": ' +
  '"CH"}}, "currency": "EUR", "lines": [{"description": "Repair of the dough mixer, spare parts included", "quantity": 1, "unit": "piece", "unit_price": 418.5, ' +
  '"discount": null, "tax_rate": 19}, {"description": "Working time on site", "quantity": 2.5, "unit": "hour", "unit_price": 84, "discount": 10, "tax_rate": 19}], ' +
  '"net": 607.5, "tax": 115.43, "gross": 722.93, "paid": false, "payment": {"method": "transfer", "iban": "DE02120300000000202051"}, "notes": ["Thank you for ' +
  'your order.", "Please pay within 30 days."]}';

if (values.help) console.log(HELP);
else await main();

async function main() {
  if (!values.model) throw new Error('name a file: --model FILE');
  const engine = await openEngine(values.model);
  const { Constraints } = await glue('constraints', 'constraints');
  const words = engine.words();
  const list = split(words);
  const answer = Buffer.from(ANSWER);
  console.log(`${path.basename(values.model)}: ${list.length} tokens; a schema of ${JSON.stringify(SCHEMA).length} bytes, an answer of ${answer.length}`);

  const made = waited(() => new Constraints(words));
  const constraints = made.value;
  console.log(`once for each model, its vocabulary above all: ${made.ms.toFixed(0)} ms`);
  const grammar = { Pattern: { Json: SCHEMA } };

  /** @type {number[]} */
  const compiles = [];
  /** @type {number[]} */
  const masks = [];
  let forced = 0;
  for (let round = 0; round < Number(values.rounds); round++) {
    // A schema that was used before is known.
    const { value: progress, ms } = waited(() => constraints.begin(grammar));
    compiles.push(ms);
    for (let at = 0; at < answer.length; ) {
      // As the engine asks: what is forced, then what is allowed.
      const step = timed(() => {
        const certain = progress.forced();
        let isComplete = false;
        for (const id of certain) isComplete = progress.accept(id);
        return { certain, allowed: isComplete ? undefined : progress.allowed() };
      });
      const { certain, allowed } = step.value;
      for (const id of certain) {
        const word = list[id] ?? answer;
        if (!answer.subarray(at, at + word.length).equals(word)) throw new Error(`${word} was forced at ${answer.subarray(at)}`);
        at += word.length;
      }
      forced += certain.length;
      if (!allowed) break;
      const id = words.encode(answer.subarray(at).toString())[0];
      const drawn = id === undefined ? undefined : list[id];
      if (!drawn || !((allowed[id >> 5] >>> (id & 31)) & 1)) throw new Error(`${drawn} is not allowed at ${answer.subarray(at)}`);
      const taken = timed(() => progress.accept(id));
      masks.push(step.ms + taken.ms);
      at += drawn.length;
    }
    progress.free();
  }
  const sorted = masks.sort((a, b) => a - b);
  const sum = sorted.reduce((a, b) => a + b, 0);
  const at = (/** @type {number} */ share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]?.toFixed(2);
  console.log(`compile: ${compiles.map((ms) => ms.toFixed(1)).join(', ')} ms (known from the second time on)`);
  console.log(`a drawn token: ${(sum / masks.length).toFixed(2)} ms on average, half below ${at(0.5)}, 95 of 100 below ${at(0.95)}, at most ${at(1)} ms`);
  console.log(`a token of the answer: ${(sum / (masks.length + forced)).toFixed(2)} ms on average (${forced} of ${masks.length + forced} were forced)`);
}

/** The bytes of each token. @param {{ bytes(): Uint8Array, lengths(): Uint32Array }} words */
function split(words) {
  const all = Buffer.from(words.bytes());
  let at = 0;
  return Array.from(words.lengths(), (length) => all.subarray(at, (at += length)));
}

/** With the processor time of the whole process. @template T @param {() => T} work */
function timed(work) {
  const before = process.cpuUsage();
  const value = work();
  const { user, system } = process.cpuUsage(before);
  return { value, ms: (user + system) / 1000 };
}

/**
 * With the processor time of this thread alone: what V8's optimising compiler does meanwhile, in threads of its own, nobody waits for.
 * Linux counts it in ticks of some milliseconds.
 * @template T @param {() => T} work
 */
function waited(work) {
  const spent = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  const before = spent();
  const value = work();
  return { value, ms: spent() - before };
}

/** @param {string} folder @param {string} name @returns {Promise<any>} */
async function glue(folder, name) {
  const base = path.join(ROOT, 'pkg/wasm', folder);
  const module = await import(pathToFileURL(path.join(base, `${name}.js`)).href);
  await module.default({ module_or_path: await readFile(path.join(base, `${name}_bg.wasm`)) });
  return module;
}

/** The leader of a model whose weights are not loaded. @param {string} model */
async function openEngine(model) {
  const { Engine } = await glue('simd128', 'fanlight');
  const file = openSync(model, 'r');
  const source = {
    length: fstatSync(file).size,
    sums: undefined,
    read(/** @type {number} */ offset, /** @type {Uint8Array} */ into) {
      if (readSync(file, into, 0, into.length, offset) !== into.length) throw new Error('the file ends too early');
    },
  };
  try {
    return new Engine([source], { shard: 0, shards: 1, contextLength: 64 });
  } finally {
    closeSync(file);
  }
}
