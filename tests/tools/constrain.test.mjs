// What a model makes of random schemas, validated by `ajv`. The full number: `make constrain`.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

test('no answer breaks its schema', (t) => {
  const models = ['../shared/fixtures/arch/qwen3/model-f32.gguf', 'www/models/tiny-chat-q8_0.gguf'];
  const args = ['tools/constrain.mjs', '--count', '250', ...models.map((model) => path.join(ROOT, model))];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  t.diagnostic(stdout);
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /valid: [1-9]/);
});
