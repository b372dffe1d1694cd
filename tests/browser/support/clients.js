// The page's side of the tests with other people's clients: each is given `model.fetch`, and nothing else is changed.
// `clients.test.mjs` bundles this file and says what is asked.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { AIMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { Fanlight } from '/pkg/dist/index.js';

/** @type {import('/pkg/dist/index.js').Model} */
let model;
/** An address that nobody answers: no request may leave the page. */
const baseURL = 'http://fanlight.invalid/v1';

const openai = () => new OpenAI({ apiKey: 'none', baseURL, fetch: model.fetch, dangerouslyAllowBrowser: true });
const sdk = () => createOpenAICompatible({ name: 'fanlight', baseURL, fetch: model.fetch, includeUsage: true });
const langchain = (options = {}) =>
  new ChatOpenAI({ model: 'any', apiKey: 'none', temperature: 0, configuration: { baseURL, fetch: model.fetch }, ...options });

/** What crosses: a result, or what kind of error it was. */
async function settle(work) {
  try {
    return { value: await work() };
  } catch (error) {
    const { name, message, status, code, param, type } = error;
    return { error: { name, message, status, code, param, type } };
  }
}

const request = (messages, more = {}) => ({ model: 'any', messages, temperature: 0, ...more });

globalThis.lab = {
  load: ({ source, ...options }) =>
    settle(async () => {
      model = await Fanlight.load(source, options);
      return { info: model.info() };
    }),

  // ---- openai ----
  openaiChat: ({ messages, ...more }) => settle(() => openai().chat.completions.create(request(messages, more))),
  openaiStream: ({ messages, ...more }) =>
    settle(async () => {
      const chunks = [];
      const stream = await openai().chat.completions.create(request(messages, { ...more, stream: true }));
      for await (const chunk of stream) chunks.push(chunk);
      return chunks;
    }),
  /** The client's own loop of tools. */
  openaiRunTools: ({ messages, tools, result }) =>
    settle(async () => {
      const calls = [];
      const run = (args) => {
        calls.push(args);
        return result;
      };
      const runnable = tools.map((each) => {
        return { type: 'function', function: { ...each.function, parse: JSON.parse, function: run } };
      });
      const runner = openai().chat.completions.runTools(request(messages, { tools: runnable, stream: true }));
      return { content: await runner.finalContent(), calls };
    }),
  openaiComplete: (params) => settle(() => openai().completions.create({ model: 'any', temperature: 0, ...params })),
  openaiJson: ({ messages, schema }) =>
    settle(async () => {
      const response_format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } };
      const completion = await openai().chat.completions.parse(request(messages, { response_format }));
      return completion.choices[0].message.parsed;
    }),
  openaiForced: ({ messages, tools }) =>
    settle(() => openai().chat.completions.create(request(messages, { tools, tool_choice: 'required' }))),
  /** As the client asks by itself (base64), and as plain numbers. */
  openaiEmbed: ({ input }) =>
    settle(async () => {
      const { embeddings } = openai();
      const [own, plain] = [
        await embeddings.create({ model: 'any', input }),
        await embeddings.create({ model: 'any', input, encoding_format: 'float' }),
      ];
      return [own, plain].map(({ data }) => data.map(({ embedding }) => Array.from(embedding)));
    }),
  openaiModels: () => settle(async () => (await openai().models.list()).data),
  openaiAbort: ({ messages, after }) =>
    settle(async () => {
      const chunks = [];
      const stream = await openai().chat.completions.create(request(messages, { stream: true }));
      for await (const chunk of stream) {
        chunks.push(chunk);
        if (chunks.length === after) stream.controller.abort();
      }
      return chunks.length;
    }),
  openaiAbortWhole: ({ messages, ms }) =>
    settle(() => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), ms);
      return openai().chat.completions.create(request(messages), { signal: controller.signal });
    }),

  // ---- The Vercel AI SDK ----
  sdkText: ({ prompt, more = {} }) =>
    settle(async () => {
      const { text, usage, finishReason } = await generateText({ model: sdk()('any'), prompt, temperature: 0, ...more });
      return { text, usage, finishReason };
    }),
  sdkStream: ({ prompt }) =>
    settle(async () => {
      const pieces = [];
      const { textStream } = streamText({ model: sdk()('any'), prompt, temperature: 0 });
      for await (const piece of textStream) pieces.push(piece);
      return pieces;
    }),
  sdkTools: ({ prompt, tools, result }) =>
    settle(async () => {
      const calls = [];
      const known = tools.map(({ function: { name, description, parameters } }) => {
        const execute = (args) => {
          calls.push(args);
          return result;
        };
        return [name, tool({ description, inputSchema: jsonSchema(parameters), execute })];
      });
      const { text, steps } = await generateText({
        model: sdk()('any'),
        prompt,
        temperature: 0,
        tools: Object.fromEntries(known),
        stopWhen: stepCountIs(3),
      });
      return { text, calls, steps: steps.length };
    }),
  sdkJson: ({ prompt, schema }) =>
    settle(async () => {
      const provider = createOpenAICompatible({
        ...{ name: 'fanlight', baseURL, fetch: model.fetch, supportsStructuredOutputs: true },
      });
      const wanted = Output.object({ schema: jsonSchema(schema) });
      const { output } = await generateText({ model: provider('any'), prompt, temperature: 0, output: wanted });
      return output;
    }),
  sdkEmbed: ({ input }) =>
    settle(async () => (await embedMany({ model: sdk().textEmbeddingModel('any'), values: input })).embeddings),
  sdkAbort: ({ prompt, ms }) =>
    settle(() => {
      const abortSignal = AbortSignal.timeout(ms);
      return generateText({ model: sdk()('any'), prompt, temperature: 0, abortSignal, maxRetries: 0 });
    }),

  // ---- LangChain ----
  chainText: ({ prompt }) => settle(async () => (await langchain().invoke(prompt)).content),
  chainStream: ({ prompt }) =>
    settle(async () => {
      const pieces = [];
      for await (const { content } of await langchain().stream(prompt)) pieces.push(content);
      return pieces;
    }),
  chainTools: ({ prompt, tools, result }) =>
    settle(async () => {
      const bound = langchain().bindTools(tools);
      const first = await bound.invoke([new HumanMessage(prompt)]);
      const told = first.tool_calls.map(({ id }) => new ToolMessage({ tool_call_id: id, content: result }));
      const turn = new AIMessage({ content: first.content, tool_calls: first.tool_calls });
      const second = await bound.invoke([new HumanMessage(prompt), turn, ...told]);
      return { calls: first.tool_calls.map(({ args }) => args), content: second.content };
    }),
  chainJson: ({ prompt, schema }) =>
    settle(() => langchain().withStructuredOutput(schema, { name: 'answer', method: 'jsonSchema' }).invoke(prompt)),
  chainEmbed: ({ input }) =>
    settle(() => {
      const embeddings = new OpenAIEmbeddings({ model: 'any', apiKey: 'none', configuration: { baseURL, fetch: model.fetch } });
      return embeddings.embedDocuments(input);
    }),
  chainAbort: ({ prompt, ms }) =>
    settle(() => langchain({ maxRetries: 0 }).invoke(prompt, { signal: AbortSignal.timeout(ms) })),

  // ---- fetch itself ----
  raw: ({ path, ...init }) =>
    settle(async () => {
      const response = await model.fetch(path, init);
      return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
    }),
};
