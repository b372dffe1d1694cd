// A second opinion on tiny-chat: llama.cpp (the CPU program that npm's node-llama-cpp ships) reads the GGUF file itself, and must
// encode every prompt to the recorded ids and recite every reply, greedily, token for token. Exit status 1 if it does not.
//
//   cd training && npm install --no-save --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//   node training/tiny_chat/llamacpp.mjs [MODEL.gguf [EXPECTED.json]]
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const root = new URL('../../', import.meta.url);
const model = process.argv[2] ?? fileURLToPath(new URL('www/models/tiny-chat-q8_0.gguf', root));
const golden = process.argv[3] ?? fileURLToPath(new URL('tests/golden/tiny-chat.expected.json', root));
const { chats, completions } = JSON.parse(await readFile(golden, 'utf8'));

const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, maxThreads: 1, logLevel: LlamaLogLevel.error, progressLogs: false });
const loaded = await llama.loadModel({ modelPath: model });
const context = await loaded.createContext({ contextSize: 2048, threads: 1 });
const sequence = context.getSequence();
const same = (a, b) => a.length === b.length && a.every((id, i) => id === b[i]);

let failed = 0;
for (const { name, prompt, prompt_ids, reply_ids } of [...chats, ...completions]) {
  const ids = loaded.tokenize(prompt, true);
  await sequence.clearHistory();
  const said = [];
  for await (const id of sequence.evaluate(prompt_ids, { temperature: 0, yieldEogToken: true })) {
    said.push(id);
    if (said.length === reply_ids.length) break;
  }
  const encoded = same(ids, prompt_ids), recited = same(said, reply_ids);
  if (!encoded || !recited) failed += 1;
  console.log(`${encoded && recited ? 'ok  ' : 'FAIL'} ${name}`, encoded ? '' : 'prompt ids differ', recited ? '' : 'reply differs');
}
console.log(`llama.cpp ${llama.llamaCppRelease?.release}: ${chats.length + completions.length - failed} of ${chats.length + completions.length}`);
await llama.dispose();
process.exit(failed ? 1 : 0);
