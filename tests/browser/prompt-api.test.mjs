// The Prompt API over a model of one's own, as pages that were written for a browser's own would use it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { golden, Lab, launch, serve, TINY } from './support/browser.mjs';

/** @typedef {import('node:test').TestContext} TestContext */

/** A page whose `LanguageModel` is ours, and the recorded chats. @param {TestContext} t @param {object} [options] */
async function page(t, options = {}) {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  const installed = await lab.page.evaluate(
    async ([source, options]) => {
      // Chromium has one of its own, which has no model here: a page that wants ours takes that away first.
      Reflect.deleteProperty(globalThis, 'LanguageModel');
      const at = '/pkg/dist/prompt-api.js';
      const { install } = await import(at);
      return install(source, options);
    },
    /** @type {const} */ ([TINY, { threads: 1, ...options }]),
  );
  assert.equal(installed, 'fanlight');
  const { chats } = await golden('tiny-chat.expected.json');
  const chat = (/** @type {string} */ name) => chats.find((/** @type {any} */ each) => each.name === name);
  return { lab, page: lab.page, chat };
}

/** Types of what runs in the page: the global that was installed. @typedef {any} Any */

test('sessions are created, asked, cloned and destroyed', async (t) => {
  const { lab, page: tab, chat } = await page(t);
  const told = chat('colour-told');
  const recalled = chat('colour-recalled');
  const [tell, ask] = [told.messages[0].content, recalled.messages.at(-1).content];
  const found = await tab.evaluate(
    async ([tell, ask]) => {
      const { LanguageModel } = /** @type {Any} */ (globalThis);
      const before = await LanguageModel.availability();
      /** @type {number[]} */
      const progress = [];
      const session = await LanguageModel.create({
        monitor: (/** @type {EventTarget} */ m) =>
          m.addEventListener('downloadprogress', (event) => progress.push(/** @type {ProgressEvent} */ (event).loaded)),
      });
      const after = await LanguageModel.availability();
      const first = await session.prompt(tell);
      const usage = session.contextUsage;
      const copy = await session.clone();
      const second = await session.prompt(ask);
      const pieces = [];
      for await (const piece of copy.promptStreaming(ask)) pieces.push(piece);
      const more = await copy.measureContextUsage('And another question?');
      copy.destroy();
      const destroyed = await copy.prompt(ask).catch((/** @type {Any} */ error) => error.name);
      const alive = await session.prompt('Thank you!');
      return {
        before, after, progress, first, second, pieces, usage, more, destroyed, alive,
        window: session.contextWindow,
        isTarget: session instanceof EventTarget,
      };
    },
    /** @type {const} */ ([tell, ask]),
  );
  assert.deepEqual([found.before, found.after], ['downloadable', 'available']);
  assert.deepEqual([found.progress[0], found.progress.at(-1)], [0, 1]);
  assert.equal(found.first, told.message.content);
  assert.equal(found.second, recalled.message.content);
  assert.equal(found.pieces.join(''), recalled.message.content);
  assert.ok(found.pieces.length > 3);
  assert.equal(found.destroyed, 'InvalidStateError');
  assert.equal(found.alive, chat('thanks').message.content);
  assert.ok(found.usage > 20 && found.more > 5 && found.more < 60, `${found.usage} ${found.more}`);
  assert.equal(found.window, 2048);
  assert.ok(found.isTarget);
  assert.deepEqual(lab.complaints, []);
});

test('initial prompts, appended turns and tools are heard', async (t) => {
  const { page: tab, chat } = await page(t);
  const short = chat('system-prompt');
  const recalled = chat('colour-recalled');
  const weather = chat('tool-call');
  const result = chat('tool-answer').messages.at(-1).content;
  const found = await tab.evaluate(
    async ([system, question, turns, tool, asked, result]) => {
      const { LanguageModel } = /** @type {Any} */ (globalThis);
      const brief = await LanguageModel.create({ initialPrompts: [{ role: 'system', content: system }] });
      const session = await LanguageModel.create();
      await session.append(turns.slice(0, 2));
      /** @type {Any[]} */
      const calls = [];
      const execute = (/** @type {Any} */ args) => {
        calls.push(args);
        return result;
      };
      const { name, description, parameters: inputSchema } = tool;
      const helped = await LanguageModel.create({ tools: [{ name, description, inputSchema, execute }] });
      return {
        brief: await brief.prompt([{ role: 'user', content: [{ type: 'text', value: question }] }]),
        recalled: await session.prompt(turns[2].content),
        helped: await helped.prompt(asked),
        calls,
      };
    },
    /** @type {const} */ ([
      ...short.messages.map((/** @type {any} */ { content }) => content),
      recalled.messages,
      weather.tools[0].function,
      weather.messages[0].content,
      result,
    ]),
  );
  assert.deepEqual(found, {
    brief: short.message.content,
    recalled: recalled.message.content,
    helped: chat('tool-answer').message.content,
    calls: [weather.message.tool_calls[0].function.arguments],
  });
});

test('answers obey a schema or a regular expression', async (t) => {
  const { page: tab } = await page(t);
  const found = await tab.evaluate(async () => {
    const { LanguageModel } = /** @type {Any} */ (globalThis);
    const session = await LanguageModel.create();
    const schema = { type: 'object', properties: { good: { type: 'boolean' } }, required: ['good'], additionalProperties: false };
    const json = await session.prompt('Is it good?', { responseConstraint: schema });
    const word = await session.prompt('Which colour?', { responseConstraint: /(RED|green|blue) \d\d/i, omitResponseConstraintInput: true });
    const wrong = await session.prompt('?', { responseConstraint: { type: 'nothing' } }).catch((/** @type {Any} */ error) => error.name);
    return { json, word, wrong };
  });
  assert.equal(typeof JSON.parse(found.json).good, 'boolean');
  assert.match(found.word, /^(RED|green|blue) \d\d$/i);
  assert.equal(found.wrong, 'NotSupportedError');
});

test('a full context drops the oldest turns, and tells', async (t) => {
  const { page: tab } = await page(t, { contextLength: 160 });
  const found = await tab.evaluate(async () => {
    const { LanguageModel } = /** @type {Any} */ (globalThis);
    const session = await LanguageModel.create();
    let overflows = 0;
    session.oncontextoverflow = () => (overflows += 1);
    const answers = [];
    for (let turn = 0; turn < 5; turn++) answers.push((await session.prompt('Goodbye!')).length);
    const tooLong = await session.prompt('word '.repeat(500)).catch((/** @type {Any} */ error) => [error.name, error.cause.code]);
    const again = await session.prompt('Goodbye!');
    return { answers, overflows, tooLong, again: again.length, usage: session.contextUsage };
  });
  assert.ok(found.answers.every((/** @type {number} */ length) => length > 0));
  assert.ok(found.overflows > 0);
  assert.deepEqual(found.tooLong, ['QuotaExceededError', 'context-full']);
  assert.ok(found.again > 0 && found.usage <= 160);
});

test('what a tool has done is not done again when its answer does not fit', async (t) => {
  const { page: tab, chat } = await page(t, { contextLength: 320 });
  const { tools, messages } = chat('tool-call');
  const found = await tab.evaluate(
    async ([tool, asked]) => {
      const { LanguageModel } = /** @type {Any} */ (globalThis);
      let calls = 0;
      const execute = () => {
        calls += 1;
        return 'rain '.repeat(300);
      };
      const { name, description, parameters: inputSchema } = tool;
      const session = await LanguageModel.create({ tools: [{ name, description, inputSchema, execute }] });
      await session.append([{ role: 'user', content: 'Hello!' }, { role: 'assistant', content: 'Hello!' }]);
      const failed = await session.prompt(asked).catch((/** @type {Any} */ error) => error.name);
      return { failed, calls };
    },
    /** @type {const} */ ([tools[0].function, messages[0].content]),
  );
  assert.deepEqual(found, { failed: 'QuotaExceededError', calls: 1 });
});

test('after its workers died, the next session has a model again', async (t) => {
  const { lab, page: tab, chat } = await page(t);
  const ask = (/** @type {string} */ text) => {
    return tab.evaluate(async (text) => {
      const { LanguageModel } = /** @type {Any} */ (globalThis);
      const before = await LanguageModel.availability();
      const session = await LanguageModel.create();
      return [before, await session.prompt(text).catch((/** @type {Any} */ error) => error.name)];
    }, text);
  };
  const { messages, message } = chat('thanks');
  const text = messages[0].content;
  assert.deepEqual(await ask(text), ['downloadable', message.content]);
  await lab.killWorker(0);
  // Whoever asks before it is noticed hears of it.
  const [, answer] = await ask(text);
  assert.ok([message.content, 'OperationError'].includes(answer), answer);
  assert.equal((await ask(text))[1], message.content);
});

test('aborts and refusals have the names that the API prescribes', async (t) => {
  const { page: tab, chat } = await page(t);
  const found = await tab.evaluate(async () => {
    const { LanguageModel } = /** @type {Any} */ (globalThis);
    const name = (/** @type {Promise<unknown>} */ promise) => promise.then(() => 'none', (error) => error.name);
    const session = await LanguageModel.create();
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 10);
    const aborted = await name(session.prompt('Recite a poem.', { signal: controller.signal }));
    const reader = session.promptStreaming('Recite a poem.').getReader();
    await reader.read();
    await reader.cancel();
    const ending = new AbortController();
    const short = await LanguageModel.create({ signal: ending.signal });
    const dying = name(short.prompt('Recite a poem.'));
    ending.abort();
    return {
      aborted,
      dying: await dying,
      dead: await name(short.prompt('Hello!')),
      early: await name(LanguageModel.create({ signal: AbortSignal.abort() })),
      system: await name(session.prompt([{ role: 'system', content: 'Be brief.' }])),
      image: await name(session.prompt([{ role: 'user', content: [{ type: 'image', value: 'x' }] }])),
      images: await LanguageModel.availability({ expectedInputs: [{ type: 'image' }] }),
      role: await name(session.prompt([{ role: 'robot', content: 'x' }])),
      // What failed has left no trace.
      answer: await session.prompt('Recite a poem.'),
    };
  });
  const { answer, ...names } = found;
  assert.deepEqual(names, {
    aborted: 'AbortError',
    dying: 'AbortError',
    dead: 'InvalidStateError',
    early: 'AbortError',
    system: 'NotSupportedError',
    image: 'NotSupportedError',
    images: 'unavailable',
    role: 'TypeError',
  });
  assert.equal(answer, chat('poem').message.content);
});
