// The packed package in the tools of applications: Vite, webpack, no bundler, and server-side rendering. `make bundlers` runs it.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { startServer } from '../../tools/serve.mjs';
import { launch, ROOT, TINY } from '../browser/support/browser.mjs';

const HERE = import.meta.dirname ?? path.join(ROOT, 'tests/bundlers');
const BIN = path.join(HERE, 'node_modules/.bin');

const MAIN = `
import { Fanlight } from 'fanlight';

try {
  const model = await Fanlight.load('/models/${path.basename(TINY)}', { threads: 2 });
  const messages = [{ role: 'user', content: 'What is Fanlight?' }];
  const answer = await model.chat.completions.create({ messages, temperature: 0 });
  document.title = answer.choices[0].message.content;
} catch (error) {
  document.title = 'failed: ' + error.message;
}
`;
const CSP = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

/** @type {string} */
let tarball = '';

before(async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-pack-'));
  const args = ['pack', '--silent', '--pack-destination', folder];
  const name = execFileSync('npm', args, { cwd: path.join(ROOT, 'pkg'), encoding: 'utf8' }).trim();
  tarball = path.join(folder, name);
});

/**
 * An application with the package from its tarball, and nothing else of this project.
 * @param {import('node:test').TestContext} t
 * @param {Record<string, string>} files
 */
async function application(t, files) {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-app-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const manifest = JSON.stringify({ name: 'app', private: true, type: 'module' });
  for (const [name, content] of Object.entries({ 'package.json': manifest, 'main.js': MAIN, ...files })) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), content);
  }
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--offline', tarball], { cwd: folder, stdio: 'pipe' });
  return folder;
}

/**
 * Serves this folder, and the models, under a strict policy.
 * @param {import('node:test').TestContext} t
 * @param {string} root
 */
async function served(t, root) {
  const mounts = { models: path.join(ROOT, path.dirname(TINY)) };
  const server = await startServer({ root, mounts, headers: { 'Content-Security-Policy': CSP } });
  t.after(() => server.close());
  return server;
}

/**
 * What a page of this folder says in the end.
 * @param {import('node:test').TestContext} t
 * @param {string} root
 */
async function answer(t, root) {
  const server = await served(t, root);
  const { context } = await launch(t);
  const page = await context.newPage();
  await page.goto(`${server.url}index.html`);
  while ((await page.title()) === '') await page.waitForTimeout(100);
  return page.title();
}

const page = (/** @type {string} */ script) => `<!doctype html><html><body>${script}</body></html>`;
const EXPECTED = /^Fanlight runs small open language models/;

test('Vite', async (t) => {
  const app = await application(t, { 'index.html': page('<script type="module" src="/main.js"></script>') });
  execFileSync(path.join(BIN, 'vite'), ['build', '--logLevel', 'warn', '--target', 'es2022'], { cwd: app, stdio: 'pipe' });
  assert.match(await answer(t, path.join(app, 'dist')), EXPECTED);
});

/**
 * The example of a hook for React, as somebody has it who copied the folder and installed what it names.
 * @param {import('node:test').TestContext} t
 */
async function reactExample(t) {
  const app = await application(t, {});
  const example = path.join(ROOT, 'www/examples/vite-react');
  for (const name of await readdir(example)) {
    if (name !== 'package.json') await cp(path.join(example, name), path.join(app, name));
  }
  const { dependencies } = JSON.parse(await readFile(path.join(example, 'package.json'), 'utf8'));
  for (const name of ['react', 'react-dom']) {
    assert.ok(dependencies[name]);
    await symlink(path.join(ROOT, 'node_modules', name), path.join(app, 'node_modules', name));
  }
  return app;
}

/**
 * Asks in the page that the example makes.
 * @param {import('node:test').TestContext} t
 * @param {string} address
 */
async function ask(t, address) {
  const { context } = await launch(t);
  const page = await context.newPage();
  await page.goto(address);
  await page.fill('[name=question]', 'What is Fanlight?');
  await page.click('button');
  await page.waitForFunction((pattern) => new RegExp(pattern).test(document.querySelector('p')?.textContent ?? ''), EXPECTED.source);
}

test('Vite + React, built', async (t) => {
  const app = await reactExample(t);
  const env = { ...process.env, VITE_MODEL: `/models/${path.basename(TINY)}` };
  execFileSync(path.join(BIN, 'vite'), ['build', '--logLevel', 'warn'], { cwd: app, env, stdio: 'pipe' });
  await ask(t, `${(await served(t, path.join(app, 'dist'))).url}index.html`);
});

test('Vite + React, in development', async (t) => {
  const app = await reactExample(t);
  await mkdir(path.join(app, 'public'));
  await cp(path.join(ROOT, TINY), path.join(app, 'public/model.gguf'));
  const vite = spawn(path.join(BIN, 'vite'), ['--port', '5199'], { cwd: app, env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => vite.kill());
  const address = await new Promise((resolve, reject) => {
    let said = '';
    vite.stdout.on('data', (text) => {
      const found = /http:\/\/\S+/.exec((said += text));
      if (found) resolve(found[0]);
    });
    vite.on('exit', () => reject(new Error(`vite ended: ${said}`)));
  });
  await ask(t, address);
});

test('webpack', async (t) => {
  const config = `export default { mode: 'production', entry: './main.js', experiments: { topLevelAwait: true },
    output: { path: ${JSON.stringify('DIST')}, publicPath: '/' }, performance: { hints: false } };`;
  const app = await application(t, {});
  await writeFile(path.join(app, 'webpack.config.mjs'), config.replace('DIST', path.join(app, 'dist')));
  execFileSync(path.join(BIN, 'webpack'), ['--config', 'webpack.config.mjs'], { cwd: app, stdio: 'pipe' });
  await writeFile(path.join(app, 'dist/index.html'), page('<script src="/main.js"></script>'));
  assert.match(await answer(t, path.join(app, 'dist')), EXPECTED);
});

test('no bundler', async (t) => {
  const app = await application(t, {});
  const files = path.join(app, 'public');
  await mkdir(files);
  await cp(path.join(app, 'node_modules/fanlight'), path.join(files, 'fanlight'), { recursive: true });
  await writeFile(path.join(files, 'main.js'), MAIN.replace("'fanlight'", "'/fanlight/dist/index.js'"));
  await writeFile(path.join(files, 'index.html'), page('<script type="module" src="/main.js"></script>'));
  assert.match(await answer(t, files), EXPECTED);
});

test('server-side rendering imports it without a window', async (t) => {
  const app = await application(t, {
    'render.mjs': `
      import { Fanlight, FanlightError } from 'fanlight';
      const error = await Fanlight.load('https://example.org/model.gguf').catch((error) => error);
      if (!(error instanceof FanlightError)) throw error;
      console.log(typeof Fanlight.load, error.code);`,
  });
  const said = execFileSync(process.execPath, ['render.mjs'], { cwd: app, encoding: 'utf8' });
  assert.equal(said.trim(), 'function unsupported-browser');
});

test('publint and attw find nothing', async () => {
  const lint = execFileSync(path.join(BIN, 'publint'), ['run', tarball, '--strict'], { encoding: 'utf8' });
  assert.match(lint, /All good/);
  // The package is ESM alone, as browsers are.
  execFileSync(path.join(BIN, 'attw'), [tarball, '--profile', 'esm-only', '--exclude-entrypoints', 'isolation.js'], { stdio: 'pipe' });
  assert.ok((await readdir(path.dirname(tarball))).length === 1);
});
