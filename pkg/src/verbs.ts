/** The small verbs: classify, extract, embed, rerank, score. Each is one or more requests to the engine. */

import type { GenerateRequest, OutputEvent } from './engine.js';
import { aborted, FanlightError, fromRecord, invalidArgument } from './errors.js';
import type { ChatMessage } from './openai.js';
import { outline } from './outline.js';
import { checkDepth, checkSignal, flag, known, localTime, number } from './params.js';
import { type BatchProgress, Results } from './results.js';
import type { Answering } from './session.js';

// ---- What callers see ------------------------------------------------------------------------------------------

/** Options that all verbs take. */
export interface VerbOptions {
  /** Stops the work. */
  signal?: AbortSignal | null;
  /** Called after each of several texts. */
  onProgress?: ((progress: BatchProgress) => void) | null;
  /** A text that does not fit in the context is cut at its end; without this it is an error (`context-full`). */
  truncate?: boolean | null;
}

/** A text whose class is known. */
export interface ClassifyExample {
  text: string;
  label: string;
}

export interface ClassifyOptions extends VerbOptions {
  /** What the classes are about, in a sentence. */
  instruction?: string | null;
  examples?: readonly ClassifyExample[] | null;
  /** More than one label may apply, or none: each is judged by itself. */
  multi?: boolean | null;
  /** Takes out what the model would say of a text without content: better where one label is likely in itself. */
  calibrate?: boolean | null;
}

/** The class of a text. */
export interface Classification {
  /** The likeliest label. */
  label: string;
  /** With `multi`: those that apply, the likeliest first. */
  labels: string[];
  /** Of every label. They sum up to 1, unless `multi`. */
  probabilities: Record<string, number>;
  /** The probability of `label`. */
  confidence: number;
}

export interface ExtractOptions extends VerbOptions {
  /** What is to be taken out of the text, in a sentence. */
  instruction?: string | null;
  /** Texts and what they give. */
  examples?: readonly { text: string; value: unknown }[] | null;
  /** Most tokens of the JSON. */
  max_tokens?: number | null;
}

export interface EmbedOptions extends VerbOptions {
  /** Put before each text, as embedding models want it for queries. */
  instruction?: string | null;
}

export interface RerankOptions extends VerbOptions {
  /** What makes a document answer the query, in a sentence. */
  instruction?: string | null;
  /** How many of the best to return: all if absent. */
  top_n?: number | null;
}

/** A document, and how well it answers. */
export interface Ranked {
  /** Its place among the documents given. */
  index: number;
  document: string;
  /** From 0 to 1 by judgement; a cosine from -1 to 1 where the model makes embeddings. */
  score: number;
}

/** How likely a text is. */
export interface Score {
  /** Natural logarithm of the probability of the whole continuation. */
  logprob: number;
  /** Of each of its tokens. */
  tokens: number[];
  /** `logprob` divided by the number of tokens. */
  mean: number;
}

// ---- The verbs -------------------------------------------------------------------------------------------------

const SHARED = ['signal', 'onProgress', 'truncate'];
const MOST_LABELS = 1000;

/** What the verbs need of a model. */
export interface Verbs {
  readonly crew: Answering;
  readonly contextLength: number;
  /** The model's file says how its vectors are pooled: it is made for embeddings. */
  readonly embeds: boolean;
}

export function classify(
  model: Verbs,
  texts: readonly string[],
  labels: unknown,
  given: unknown,
): Results<Classification> {
  const options = known('classify', given ?? {}, new Set([...SHARED, 'instruction', 'examples', 'multi', 'calibrate']));
  const names = checkLabels(labels);
  const examples = checkExamples(options['examples'], 'label').map(({ text, label }) => {
    if (typeof label === 'string' && names.includes(label)) return { text, answer: label };
    throw invalidArgument('examples', label, `one of the labels`);
  });
  const instruction = text(options, 'instruction') ?? 'Say which class the text belongs to.';
  const shared = { model, options, truncate: flag(options, 'truncate') ?? false };
  const calibrated = flag(options, 'calibrate') ?? false;
  const classes = `${instruction}\nClasses: ${names.join(', ')}\nAnswer with one class and nothing else.`;

  if (flag(options, 'multi')) {
    const ask = (contents: readonly string[], label: string, signal: AbortSignal) => {
      const turns = examples.map((example) => ({ text: example.text, answer: example.answer === label ? 'yes' : 'no' }));
      const about = `${instruction}\nDoes the class "${label}" apply to the text? Answer yes or no.`;
      const asked = weigh(shared, about, turns, contents, ['yes', 'no'], signal);
      return asked.map(async (answers) => {
        const [yes = 0, no = 0] = await answers;
        return yes - no;
      });
    };
    const neutral = lazily((label: string, signal: AbortSignal) => first(ask(['N/A'], label, signal)));
    return batch(texts, options, (contents, signal) => {
      const columns = names.map((name) => {
        const free = calibrated ? neutral(name, signal) : 0;
        return { name, free, odds: ask(contents, name, signal) };
      });
      return contents.map(async (_, at) => {
        const found = columns.map(async ({ name, free, odds }) => {
          const [takenOut, own = 0] = await Promise.all([free, odds[at]]);
          return [name, 1 / (1 + Math.exp(takenOut - own))] as const;
        });
        return classification(Object.fromEntries(await Promise.all(found)), 0.5);
      });
    });
  }
  const ask = (contents: readonly string[], signal: AbortSignal) => weigh(shared, classes, examples, contents, names, signal);
  const neutral = lazily((_: string, signal: AbortSignal) => first(ask(['N/A'], signal)));
  return batch(texts, options, (contents, signal) => {
    const free = calibrated ? neutral('', signal) : [];
    return ask(contents, signal).map(async (found) => {
      const [takenOut, own] = await Promise.all([free, found]);
      const scores = own.map((score, at) => score - (takenOut[at] ?? 0));
      const best = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - best));
      const sum = weights.reduce((a, b) => a + b, 0);
      return classification(Object.fromEntries(names.map((name, at) => [name, (weights[at] ?? 0) / sum])), undefined);
    });
  });
}

export function extract<T>(model: Verbs, texts: readonly string[], schema: unknown, given: unknown): Results<T> {
  const names = new Set([...SHARED, 'instruction', 'examples', 'max_tokens']);
  const options = known('extract', given ?? {}, names);
  if ((typeof schema !== 'object' || schema === null) && typeof schema !== 'boolean') {
    throw invalidArgument('schema', schema, 'a JSON schema');
  }
  checkDepth('schema', schema);
  const instruction = text(options, 'instruction') ?? 'Read the text and write down what it says as JSON.';
  const maxTokens = number(options, 'max_tokens', { min: 1, max: 0x7fffffff, whole: true });
  const examples = checkExamples(options['examples'], 'value').map(({ text, value }) => ({
    text,
    answer: JSON.stringify(value),
  }));
  const about = `${instruction}\n${outline(schema)}`;
  const shared = { model, options, truncate: flag(options, 'truncate') ?? false };
  const request = { constraint: { schema }, ...(maxTokens !== undefined && { maxTokens }) };
  return batch(texts, options, (contents, signal) =>
    ask(shared, about, examples, contents, request, signal).map(async (answer) => {
      const output = await answer;
      if (output.finishReason !== 'length') return JSON.parse(output.text ?? '');
      const message = `The JSON needs more tokens than there are: raise max_tokens, or load the model with a larger contextLength.`;
      throw new FanlightError('context-full', message);
    }),
  );
}

export function embed(model: Verbs, texts: readonly string[], given: unknown): Results<Float32Array> {
  const options = known('embed', given ?? {}, new Set([...SHARED, 'instruction']));
  const instruction = text(options, 'instruction') ?? '';
  const truncate = flag(options, 'truncate') ?? false;
  const request = (kept: string) => ({ prompt: `${instruction}${kept}`, embed: true });
  return batch(texts, options, (contents, signal) =>
    fitting(model, contents, truncate, request, signal).map(async (output) => Float32Array.from((await output).vector ?? [])),
  );
}

export async function rerank(model: Verbs, query: unknown, docs: readonly string[], given: unknown): Promise<Ranked[]> {
  const options = known('rerank', given ?? {}, new Set([...SHARED, 'instruction', 'top_n']));
  if (typeof query !== 'string' || query === '') throw invalidArgument('query', query, 'a text');
  const most = number(options, 'top_n', { min: 1, max: 0x7fffffff, whole: true }) ?? docs.length;
  const own = text(options, 'instruction');
  let scores: number[];
  if (model.embeds) {
    const { signal, truncate, onProgress } = options;
    const instruct = own ?? 'Given a web search query, retrieve relevant passages that answer the query';
    const instruction = `Instruct: ${instruct}\nQuery:`;
    const [asked = new Float32Array()] = await embed(model, [query], { signal, truncate, instruction });
    const vectors = await embed(model, docs, { signal, truncate, onProgress });
    scores = vectors.map((vector) => vector.reduce((sum, x, at) => sum + x * (asked[at] ?? 0), 0));
  } else {
    const shared = { model, options, truncate: flag(options, 'truncate') ?? false };
    const about = `${own ?? 'Judge whether the document answers the query.'} Answer yes or no.\nQuery: ${query}`;
    scores = await batch(docs, options, (contents, signal) =>
      weigh(shared, about, [], contents, ['yes', 'no'], signal).map(async (answers) => {
        const [yes = 0, no = 0] = await answers;
        return 1 / (1 + Math.exp(no - yes));
      }),
    );
  }
  return docs
    .map((document, index) => ({ index, document, score: scores[index] ?? 0 }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, most);
}

export async function score(
  model: Verbs,
  prompt: unknown,
  continuations: readonly string[],
  given: unknown,
): Promise<Score[]> {
  const options = known('score', given ?? {}, new Set(['signal']));
  if (typeof prompt !== 'string' || prompt === '') throw invalidArgument('prompt', prompt, 'a text');
  const request = { prompt, score: { texts: continuations } };
  const { scores = [] } = await run(model.crew, request, checkSignal(options['signal']));
  return scores.map((tokens) => {
    const logprob = tokens.reduce((a, b) => a + b, 0);
    return { logprob, tokens: [...tokens], mean: logprob / tokens.length };
  });
}

// ---- How they ask ----------------------------------------------------------------------------------------------

/** A verb's request: which model, and what to do with texts that do not fit. */
interface Asking {
  readonly model: Verbs;
  readonly truncate: boolean;
}

/** An example as a turn of a conversation. */
interface Turn {
  readonly text: string;
  readonly answer: string;
}

/** How likely each answer is for each text, by its tokens on average. An answer that begins another is weighed with its end. */
function weigh(
  asking: Asking,
  about: string,
  turns: readonly Turn[],
  contents: readonly string[],
  answers: readonly string[],
  signal: AbortSignal,
): Promise<number[]>[] {
  const withEnd = answers.some((a, i) => answers.some((b, j) => i !== j && b.startsWith(a)));
  const request = { score: { texts: answers, withEnd } };
  return ask(asking, about, turns, contents, request, signal).map(async (output) => {
    const { scores = [] } = await output;
    return scores.map((tokens) => tokens.reduce((a, b) => a + b, 0) / tokens.length);
  });
}

/** A chat about each text: what to do, examples, the text. All but the text is the same for all texts of a batch. */
function ask(
  { model, truncate }: Asking,
  about: string,
  turns: readonly Turn[],
  contents: readonly string[],
  request: Partial<GenerateRequest>,
  signal: AbortSignal,
): Promise<OutputEvent>[] {
  const user = (text: string): ChatMessage => ({ role: 'user', content: text });
  const messages = (kept: string): ChatMessage[] => [
    { role: 'system', content: about },
    ...turns.flatMap(({ text, answer }): ChatMessage[] => [user(text), { role: 'assistant', content: answer }]),
    user(kept),
  ];
  const chat = (kept: string) => ({
    messages: messages(kept),
    templateVariables: { enable_thinking: false },
    thinkingBudget: 0,
    sampling: { temperature: 0, repeat_penalty: 1, presence_penalty: 0, frequency_penalty: 0 },
    ...request,
  });
  return fitting(model, contents, truncate, chat, signal);
}

/** Runs a request about each text; where one does not fit and may be cut, about as much of it as fits. */
function fitting(
  model: Verbs,
  contents: readonly string[],
  truncate: boolean,
  request: (kept: string) => Partial<GenerateRequest>,
  signal: AbortSignal,
): Promise<OutputEvent>[] {
  const outputs = runTogether(model.crew, contents.map(request), signal);
  if (!truncate) return outputs;
  return outputs.map((output, at) =>
    output.catch((error: unknown) => {
      if (!(error instanceof FanlightError) || error.code !== 'context-full') throw error;
      return shortened(model, contents[at] ?? '', request, signal);
    }),
  );
}

/** Runs a request about as much of a text as fits: not all of it does. */
async function shortened(
  model: Verbs,
  content: string,
  request: (kept: string) => Partial<GenerateRequest>,
  signal: AbortSignal,
): Promise<OutputEvent> {
  const ids = await model.crew.leader.call('tokenize', { text: content, special: false });
  // What is not the text takes some, and so does the answer: an eighth is left to both, more if that is not enough.
  for (let room = Math.floor(model.contextLength * 0.875); room > 0; room = Math.floor(room * 0.75)) {
    if (room >= ids.length) continue;
    const kept = await model.crew.leader.call('detokenize', { ids: ids.slice(0, room) });
    try {
      return await run(model.crew, request(kept), signal);
    } catch (error) {
      if (!(error instanceof FanlightError) || error.code !== 'context-full') throw error;
    }
  }
  throw new FanlightError('context-full', 'Not even the beginning of the text fits beside the rest of the prompt.');
}

/** One request; what it brought. */
async function run(
  crew: Answering,
  request: Partial<GenerateRequest>,
  signal: AbortSignal | undefined,
): Promise<OutputEvent> {
  let answer: OutputEvent = {};
  await generate(crew, request, signal, (output) => {
    answer = { ...answer, ...output, text: (answer.text ?? '') + (output.text ?? '') };
  });
  return answer;
}

/** Several requests, which the engine computes together; a promise for what each brings. */
function runTogether(
  crew: Answering,
  requests: readonly Partial<GenerateRequest>[],
  signal: AbortSignal,
): Promise<OutputEvent>[] {
  const [only] = requests;
  if (only && requests.length === 1) return [run(crew, only, signal)];
  const settle: { resolve(output: OutputEvent): void; reject(error: unknown): void }[] = [];
  const outputs = requests.map(() => new Promise<OutputEvent>((resolve, reject) => settle.push({ resolve, reject })));
  const together = requests.map(complete);
  generate(crew, { together }, signal, ({ index = -1, error, ...output }) => {
    if (error) settle[index]?.reject(fromRecord(error));
    else settle[index]?.resolve(output);
  }).then(
    () => settle.forEach(({ reject }) => reject(new FanlightError('worker-crashed', 'The engine left a text without an answer.'))),
    (error: unknown) => settle.forEach(({ reject }) => reject(error)),
  );
  return outputs;
}

async function generate(
  crew: Answering,
  request: Partial<GenerateRequest>,
  signal: AbortSignal | undefined,
  onOutput: (output: OutputEvent) => void,
): Promise<void> {
  if (signal?.aborted) throw aborted(signal.reason);
  await crew.generate(complete(request), {
    signal,
    onEvent(event) {
      if (event.kind === 'output') onOutput(event.output);
    },
  });
}

function complete(request: Partial<GenerateRequest>): GenerateRequest {
  return { sampling: {}, now: localTime(new Date()), ...request };
}

async function first<T>(promises: readonly Promise<T>[]): Promise<T> {
  const [one] = promises;
  if (!one) throw new RangeError('there is none');
  return one;
}

function batch<T>(
  texts: readonly string[],
  options: Record<string, unknown>,
  work: (contents: readonly string[], signal: AbortSignal) => Promise<T>[],
): Results<T> {
  const { onProgress } = options;
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidArgument('onProgress', onProgress, 'a function');
  }
  return new Results(texts.length, (from, to, signal) => work(texts.slice(from, to), signal), {
    signal: checkSignal(options['signal']),
    onProgress: onProgress ? (progress) => void onProgress(progress) : undefined,
  });
}

/** The same question is asked only once. */
function lazily<T>(ask: (key: string, signal: AbortSignal) => Promise<T>) {
  const answers = new Map<string, Promise<T>>();
  return (key: string, signal: AbortSignal): Promise<T> => {
    const known = answers.get(key) ?? ask(key, signal);
    answers.set(key, known);
    known.catch(() => answers.delete(key)); // the next one tries again
    return known;
  };
}

function classification(probabilities: Record<string, number>, threshold: number | undefined): Classification {
  const sorted = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  const [label, confidence] = sorted[0] ?? ['', 0];
  const applies = threshold === undefined ? [label] : sorted.filter(([, p]) => p >= threshold).map(([name]) => name);
  return { label, labels: applies, probabilities, confidence };
}

// ---- Checks ----------------------------------------------------------------------------------------------------

/** One text or several: the texts, and whether it was one. */
export function checkTexts(name: string, texts: unknown): readonly string[] {
  if (!Array.isArray(texts)) throw invalidArgument(name, texts, 'a text or an array of texts');
  return texts.map((each: unknown, at) => {
    if (typeof each === 'string' && each !== '') return each;
    throw invalidArgument(`${name}[${at}]`, each, 'a text that is not empty');
  });
}

function checkLabels(labels: unknown): readonly string[] {
  if (!Array.isArray(labels) || labels.length < 2 || labels.length > MOST_LABELS) {
    throw invalidArgument('labels', labels, `an array of 2 to ${MOST_LABELS} labels`);
  }
  const seen = new Set<string>();
  return labels.map((label: unknown, at) => {
    if (typeof label !== 'string' || label.trim() === '') throw invalidArgument(`labels[${at}]`, label, 'a text');
    if (seen.has(label)) throw invalidArgument(`labels[${at}]`, label, 'labels that differ');
    seen.add(label);
    return label;
  });
}

function checkExamples<K extends string>(examples: unknown, key: K): { text: string; [value: string]: unknown }[] {
  if (examples === undefined) return [];
  if (!Array.isArray(examples)) throw invalidArgument('examples', examples, `an array of { text, ${key} }`);
  return examples.map((example: unknown, at) => {
    const options = known(`examples[${at}]`, example, new Set(['text', key]));
    const { text } = options;
    if (typeof text !== 'string' || options[key] === undefined) {
      throw invalidArgument(`examples[${at}]`, example, `{ text, ${key} }`);
    }
    return { ...options, text };
  });
}

function text(options: Record<string, unknown>, name: string): string | undefined {
  const value = options[name];
  if (value === undefined || typeof value === 'string') return value;
  throw invalidArgument(name, value, 'a text');
}
