#!/usr/bin/env node
// What guessing tokens brings: answers that repeat their prompt and answers that do not, with guesses and without.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { withBrowser } from './browser.mjs';
import { startServer } from './serve.mjs';

const HELP = `guesses.mjs --model FILE [options]: processor time of answers with guessed tokens, as a part of that without, with one worker

  --model FILE   a GGUF file with a chat template. Random weights will do: a constraint makes the model write the answers, token by token
  --rounds N     each answer with and without, in turns (3)
  --help         this text

\`make wasm js\` must have been run. CHROMIUM names the browser.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({ options: { model: { type: 'string' }, rounds: { type: 'string', default: '3' }, help: { type: 'boolean' } } });

const PARAGRAPH = `The lighthouse on Skerry Point was lit for the first time in the autumn of 1847. Its keeper, a widower called Magnus Rae, climbed the one hundred and sixty-two steps twice a night to trim the wick, and wrote down the weather in a book that is still kept in the harbour office. On the ninth of January 1862 he noted a wind so strong that the tower hummed; below it stands, in another hand, that the herring boats had all come home.`;
const CONFIG = `{
  "name": "harbour-tides",
  "version": "2.3.1",
  "port": 8080,
  "stations": [
    { "id": "SK-04", "label": "Skerry Point", "latitude": 58.4412, "longitude": -3.0917 },
    { "id": "SK-11", "label": "North Pier", "latitude": 58.4430, "longitude": -3.0851 }
  ],
  "alerts": { "email": "watch@harbour.example", "threshold_cm": 420 }
}`;
const TICKET = `Hello, I bought the Boreal 300 headphones (serial number BR3-77120-K) in your shop in Leith on 2 February. Since last week the left side crackles when I turn my head, and on Sunday it went silent. I have tried another cable and another telephone. My name is Isla Munro, and you can reach me at isla.munro@post.example or 0131 555 0182.`;

/** Questions and answers. Nothing of this was looked at when the policy of the guesses was chosen. @type {Record<string, [string, string]>} */
const TASKS = {
  'repeats a paragraph': [`Repeat this paragraph.\n\n${PARAGRAPH}`, PARAGRAPH],
  'JSON with a changed value': [`Set the port to 9090.\n\n${CONFIG}`, CONFIG.replace('8080', '9090')],
  'mail to JSON': [
    `Extract what a service ticket needs.\n\n${TICKET}`,
    `{"customer": "Isla Munro", "email": "isla.munro@post.example", "phone": "0131 555 0182", "product": "Boreal 300 headphones", "serial_number": "BR3-77120-K", "bought": {"place": "Leith", "date": "2 February"}, "fault": "the left side crackles and then went silent", "tried": ["another cable", "another telephone"]}`,
  ],
  'quotes and comments': [
    `What happened in January 1862?\n\n${PARAGRAPH}`,
    `On the ninth of January 1862 the keeper "noted a wind so strong that the tower hummed". Nobody was lost: the entry below it, in another hand, says "that the herring boats had all come home".`,
  ],
  'prose of its own': [
    'Why do cats purr?',
    `Cats purr by tightening and relaxing the muscles around their vocal folds some twenty-five times a second, so that the air hums both when it is drawn in and when it leaves. They do it when they are content, of course; but a cat that is hurt or frightened may purr as well, and mothers purr to kittens that can neither see nor hear yet. Some think that the trembling itself helps bones and tendons to heal.`,
  ],
  'a program of its own': [
    'Write a function that reverses a linked list in C.',
    `struct node *reverse(struct node *head)\n{\n    struct node *done = NULL;\n    while (head != NULL) {\n        struct node *rest = head->next;\n        head->next = done;\n        done = head;\n        head = rest;\n    }\n    return done;\n}\n`,
  ],
};

if (values.help || !values.model) console.log(HELP);
else await main(path.resolve(values.model), Number(values.rounds));

/** @param {string} model @param {number} rounds */
async function main(model, rounds) {
  const server = await startServer({ root: ROOT, mounts: { models: path.dirname(model) }, isolated: true });
  try {
    await withBrowser(server.url, async ({ page, timed }) => {
      await page.evaluate(load, `${server.url}models/${path.basename(model)}`);
      console.log(`${path.basename(model)}: processor ms per token without guesses, with them, and their ratio; medians of ${rounds}`);
      for (const [name, [question, answer]] of Object.entries(TASKS)) {
        const request = { question, answer };
        await page.evaluate(ask, { ...request, speculation: false, max_tokens: 1 }); // from here on, the prompt is known
        /** @type {Record<string, number[]>} */
        const costs = { true: [], false: [] };
        let told = '';
        for (let round = 0; round < rounds; round += 1) {
          for (const speculation of [false, true]) {
            const { value, cpu } = await timed(ask, { ...request, speculation });
            if (value.text !== answer) throw new Error(`${name}: ${JSON.stringify(value.text)}`);
            costs[String(speculation)]?.push(cpu / value.tokens);
            if (speculation) told = `${value.tokens} tokens, ${value.drafted} guessed, ${value.accepted} right`;
          }
        }
        const [without, with_] = [median(costs.false), median(costs.true)];
        console.log(`${name.padEnd(26)} ${without.toFixed(1)}  ${with_.toFixed(1)}  ${(with_ / without).toFixed(2)}  (${told})`);
      }
    });
  } finally {
    await server.close();
  }
}

/** @param {number[] | undefined} all */
function median(all = []) {
  return all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}

/** In the page. @param {string} source */
async function load(source) {
  const entry = '/pkg/dist/index.js';
  const { Fanlight } = /** @type {typeof import('../pkg/dist/index.js')} */ (await import(entry));
  Reflect.set(globalThis, 'model', await Fanlight.load(source, { threads: 1, contextLength: 4096 }));
}

/** In the page. @param {{ question: string, answer: string, speculation: boolean, max_tokens?: number }} what */
async function ask({ question, answer, ...options }) {
  const model = /** @type {import('../pkg/dist/index.js').Model} */ (Reflect.get(globalThis, 'model'));
  const { choices, usage, timings } = await model.chat.completions.create({
    messages: [{ role: 'user', content: question }],
    regex: answer.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replaceAll('\n', '\\n'),
    enable_thinking: false,
    fast_forward: false,
    allowed_rows: false,
    temperature: 0,
    ...options,
  });
  return { text: choices[0]?.message.content, tokens: usage?.completion_tokens ?? 0, drafted: timings?.draft_n, accepted: timings?.draft_n_accepted };
}
