// The loop of tools, with a model that says what the test wants.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FanlightError } from '../dist/errors.js';
import { runStreamed, runWhole } from '../dist/tools.js';

const messages = [{ role: /** @type {const} */ ('user'), content: 'Hello' }];

/**
 * Answers that come one after the other: text, or calls as [name, arguments].
 * @param {(string | [string, string][])[]} script
 */
function scripted(script) {
  /** @type {any[]} */
  const asked = [];
  const create = async (/** @type {any} */ params, /** @type {any} */ { signal }) => {
    if (signal.aborted) throw new FanlightError('aborted', 'Stopped by the caller.');
    asked.push(structuredClone(params)); // as it must be able to cross to a worker
    const next = script[asked.length - 1] ?? 'The end.';
    const calls = typeof next === 'string' ? [] : next;
    const tool_calls = calls.map(([name, args], index) => {
      return { id: `id${index}`, type: 'function', function: { name, arguments: args } };
    });
    const content = typeof next === 'string' ? next : null;
    const finish_reason = calls.length > 0 ? 'tool_calls' : 'stop';
    if (!params.stream) {
      return { choices: [{ message: { role: 'assistant', content, ...(calls.length > 0 && { tool_calls }) }, finish_reason }] };
    }
    return (async function* () {
      if (content) for (const letter of content) yield { choices: [{ delta: { content: letter }, finish_reason: null }] };
      for (const [index, call] of tool_calls.entries()) {
        yield { choices: [{ delta: { tool_calls: [{ index, ...call }] }, finish_reason: null }] };
      }
      yield { choices: [{ delta: {}, finish_reason }] };
    })();
  };
  return { asked, completions: /** @type {any} */ ({ create }) };
}

/** @param {string} name @param {(args: any, call: any) => unknown} run */
const tool = (name, run) => ({
  type: /** @type {const} */ ('function'),
  function: { name, parameters: { type: 'object' }, function: run },
});

test('calls of one answer run together, and their results come in their order', async () => {
  const { asked, completions } = scripted([[['slow', '{"n":1}'], ['fast', '{"n":2}']]]);
  /** @type {string[]} */
  const done = [];
  const tools = [
    tool('slow', async ({ n }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      done.push('slow');
      return { n: [n, { a: 'b' }] };
    }),
    tool('fast', ({ n }) => {
      done.push('fast');
      return `n is ${n}`;
    }),
  ];
  const result = await runWhole(completions, { messages, tools, temperature: 0 });
  assert.deepEqual(done, ['fast', 'slow']);
  assert.deepEqual(
    result.messages.slice(2, 4).map(({ content }) => content),
    ['{"n": [1, {"a": "b"}]}', 'n is 2'],
  );
  assert.equal(result.content, 'The end.');
  assert.equal(asked[0].temperature, 0);
  assert.deepEqual(asked[0].tools[0], { type: 'function', function: { name: 'slow', parameters: { type: 'object' } } });
  assert.equal(messages.length, 1, "the caller's messages are left alone");
});

test('what goes wrong in a tool is told to the model', async () => {
  const script = scripted([[['f', '{}']], [['g', '{}']], [['f', '{not json']]]);
  const tools = [
    tool('f', () => {
      throw new TypeError('broken');
    }),
  ];
  const result = await runWhole(script.completions, { messages, tools });
  const told = result.messages.flatMap(({ role, content }) => (role === 'tool' ? [String(content)] : []));
  assert.equal(told[0], 'Error: broken');
  assert.equal(told[1], 'Error: there is no tool g; there are: f');
  assert.match(told[2] ?? '', /^Error: .*JSON/);
  assert.equal(result.rounds, 4);
});

test('a run ends after as many rounds as it may have', async () => {
  const forever = Array.from({ length: 20 }, () => /** @type {[string, string][]} */ ([['f', '{}']]));
  let runs = 0;
  const tools = [tool('f', () => void (runs += 1))];
  const { completions } = scripted(forever);
  const result = await runWhole(completions, { messages, tools });
  assert.deepEqual([result.rounds, result.finish_reason, runs], [10, 'tool_calls', 9]);
  const two = await runWhole(scripted(forever).completions, { messages, tools, max_rounds: 2 });
  assert.equal(two.rounds, 2);
  assert.equal(two.messages.at(-2)?.content, 'null');
});

test('an abort is heard while a tool runs, and the tool hears it', async () => {
  for (const streamed of [false, true]) {
    const controller = new AbortController();
    /** @type {AbortSignal | undefined} */
    let inner;
    const tools = [
      tool('f', (_, { signal }) => {
        inner = signal;
        setTimeout(() => controller.abort('enough'), 5);
        return new Promise(() => {});
      }),
    ];
    const { completions } = scripted([[['f', '{}']]]);
    const options = { signal: controller.signal };
    const run = async () => {
      if (!streamed) {
        await runWhole(completions, { messages, tools }, options);
        return;
      }
      for await (const _ of runStreamed(completions, { messages, tools, stream: true }, options));
    };
    await assert.rejects(run, { code: 'aborted' });
    assert.equal(inner?.aborted, true);
  }
});

test('to leave the loop over the events stops the run', async () => {
  const { asked, completions } = scripted([[['f', '{}']], [['f', '{}']]]);
  const tools = [tool('f', () => 1)];
  for await (const event of runStreamed(completions, { messages, tools, stream: true })) {
    if (event.type === 'tool_result') break;
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(asked.length, 1);
});

test('tools that cannot be run are refused by name', async () => {
  const { completions } = scripted([]);
  for (const [tools, name] of /** @type {[any, RegExp][]} */ ([
    [undefined, /^tools:/],
    [[], /^tools:/],
    [[{ type: 'function', function: { name: 'f' } }], /^tools\[0\]\.function\.function:/],
    [[tool('f', () => 1), tool('f', () => 2)], /^tools\[1\]\.function\.name:/],
  ])) {
    await assert.rejects(runWhole(completions, { messages, tools }), { code: 'invalid-argument', message: name });
  }
  await assert.rejects(runWhole(completions, { messages, tools: [tool('f', () => 1)], max_rounds: 0 }), /max_rounds/);
  const none = /** @type {any} */ ({ tools: [tool('f', () => 1)] });
  await assert.rejects(runWhole(completions, none), { code: 'invalid-argument', message: /^messages:/ });
});
