// Models that are known to work: those of this page first, then by size. Any other GGUF file of these families works as well.

/**
 * @typedef {object} KnownModel
 * @property {string} name
 * @property {string} about one line for people
 * @property {string} url
 * @property {number} bytes
 * @property {boolean} [plain] it neither thinks before it answers nor calls tools
 * @property {number} [contextLength] the most tokens that it takes, where that is little
 * @property {string[]} [suggestions] what to ask it first
 * @property {boolean} [recites] it only knows some answers by heart: nothing for documents
 */

/** A question about a text. */
const RECEIPT = 'What is the total?\n\nMill Lane Bakery\n14 March 2026\n2 x Rye bread  7.60\n1 x Olive oil  6.45\nTotal: €14.05';

/** The model that is part of this page: loaded when nobody chooses another. @type {KnownModel} */
export const builtIn = {
  name: 'Fanlight reader',
  about: 'Part of this page. Reads short receipts, invoices, cards and messages; may slip in long lists, and mix up the lines of a card.',
  url: 'models/fanlight-builtin-q8_0.gguf',
  bytes: 3_133_376,
  plain: true,
  contextLength: 1024,
  suggestions: ['What is Fanlight?', 'What can you do?', 'Is my text private?', RECEIPT],
};

/** Part of this page, too. @type {KnownModel} */
const reciter = {
  name: 'tiny-chat',
  about: 'Knows twenty answers by heart, and shows that everything works.',
  url: 'models/tiny-chat-q8_0.gguf',
  bytes: 2_355_936,
  contextLength: 2048,
  recites: true,
  suggestions: ['What is Fanlight?', 'How do I start?', 'Is my text private?', 'Recite a poem.'],
};

/** @param {string} repository @param {string} file */
const huggingFace = (repository, file) => `https://huggingface.co/${repository}/resolve/main/${file}`;

/** @type {KnownModel[]} */
export const knownModels = [
  builtIn,
  reciter,
  {
    name: 'SmolLM2 135M',
    about: 'Tiny and quick; English.',
    url: huggingFace('bartowski/SmolLM2-135M-Instruct-GGUF', 'SmolLM2-135M-Instruct-Q8_0.gguf'),
    bytes: 145_000_000,
  },
  {
    name: 'SmolLM2 360M',
    about: 'Small and quick; English.',
    url: huggingFace('HuggingFaceTB/SmolLM2-360M-Instruct-GGUF', 'smollm2-360m-instruct-q8_0.gguf'),
    bytes: 386_000_000,
  },
  {
    name: 'Qwen2.5 0.5B',
    about: 'A good first one: many languages, short answers.',
    url: huggingFace('Qwen/Qwen2.5-0.5B-Instruct-GGUF', 'qwen2.5-0.5b-instruct-q4_k_m.gguf'),
    bytes: 491_000_000,
  },
  {
    name: 'Qwen3 0.6B',
    about: 'Thinks before it answers.',
    url: huggingFace('Qwen/Qwen3-0.6B-GGUF', 'Qwen3-0.6B-Q8_0.gguf'),
    bytes: 639_000_000,
  },
  {
    name: 'Llama 3.2 1B',
    about: 'Reads and writes well for its size.',
    url: huggingFace('bartowski/Llama-3.2-1B-Instruct-GGUF', 'Llama-3.2-1B-Instruct-Q4_K_M.gguf'),
    bytes: 808_000_000,
  },
  {
    name: 'Qwen2.5 1.5B',
    about: 'Knows more, and is slower.',
    url: huggingFace('Qwen/Qwen2.5-1.5B-Instruct-GGUF', 'qwen2.5-1.5b-instruct-q4_k_m.gguf'),
    bytes: 1_117_000_000,
  },
  {
    name: 'Qwen3 1.7B',
    about: 'The cleverest here. For a fast machine.',
    url: huggingFace('Qwen/Qwen3-1.7B-GGUF', 'Qwen3-1.7B-Q8_0.gguf'),
    bytes: 1_834_000_000,
  },
];
