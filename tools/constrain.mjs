#!/usr/bin/env node
// Random schemas, what a model makes of them at temperature 1, and what an independent validator says.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const HELP = `constrain.mjs [options] MODEL…: lets each model answer random JSON schemas at temperature 1, and validates the answers

  --count N   how many for each model (500)
  --seed N    of the schemas (1)
  --help      this text

Fails if an answer that came to its end is not valid. Those cut short by max_tokens are counted: whole and valid, or not whole.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: '500' }, seed: { type: 'string', default: '1' }, help: { type: 'boolean' } },
});

if (values.help) console.log(HELP);
else process.exitCode = await main();

async function main() {
  const models = positionals.filter((model) => existsSync(model));
  for (const model of positionals) if (!models.includes(model)) console.log(`SKIPPED: ${model} (it is absent)`);
  let wrong = 0;
  for (const model of models) wrong += await check(model);
  return wrong === 0 ? 0 : 1;
}

/**
 * How many answers of this model are wrong.
 * @param {string} model
 */
async function check(model) {
  const tally = { valid: 0, 'cut short, whole and valid': 0, 'cut short, not whole': 0, refused: 0, wrong: 0 };
  /** @type {Map<string, number>} */
  const reasons = new Map();
  const args = ['run', '--quiet', '--locked', '--profile', 'test', '--example', 'constrain', '--', model, values.count, values.seed];
  const child = spawn('cargo', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const { schema, text, finish, refused } = JSON.parse(line);
    if (refused !== undefined) {
      tally.refused += 1;
      const reason = /keyword is not supported|oneOf|disjoint|Unsatisfiable|no finite value/.exec(refused)?.[0] ?? refused;
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      continue;
    }
    const verdict = judge(schema, text);
    if (verdict === 'valid') tally[finish === 'stop' ? 'valid' : 'cut short, whole and valid'] += 1;
    else if (verdict === 'not whole' && finish === 'length') tally['cut short, not whole'] += 1;
    else {
      tally.wrong += 1;
      console.log(`WRONG (${verdict}, ${finish}): ${text}\n  ${JSON.stringify(schema)}`);
    }
  }
  const status = await ended;
  console.log(`${path.relative(ROOT, model)}:`, tally);
  for (const [reason, count] of reasons) console.log(`  refused ${count} times: ${reason}`);
  return tally.wrong + (status === 0 ? 0 : 1);
}

/**
 * @param {object} schema
 * @param {string} text
 */
function judge(schema, text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return 'not whole';
  }
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  const validate = ajv.compile(schema);
  return validate(value) ? 'valid' : `invalid: ${ajv.errorsText(validate.errors)}`;
}
