#!/usr/bin/env node
// Brings what the page needs from elsewhere into www/vendor/, and makes a static site of it all.

import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, transform } from 'esbuild';
import { sha256 } from './prebuilt.mjs';

const HELP = `site.mjs [options]: fills www/vendor/ with what the page uses: this package (made smaller), marked and DOMPurify
(Markdown to safe elements), tesseract.js (text from images), and the list of files that an offline page needs

  --engines   only brings the engines, those that are built by now
  --out DIR   also copies the whole site, ready for any static host, to DIR, which is emptied first
  --help      this text

The language data of tesseract.js (eng.traineddata) is taken from TESSDATA, or from Debian's package tesseract-ocr-eng; without
it the page reads text, but no images.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const WWW = path.join(ROOT, 'www');
const VENDOR = path.join(WWW, 'vendor');
const MODULES = path.join(ROOT, 'node_modules');
const TESSDATA = [
  process.env.TESSDATA ?? '',
  '/usr/share/tesseract-ocr/5/tessdata',
  '/usr/share/tesseract-ocr/4.00/tessdata',
  '/usr/share/tessdata',
];

/** The wasm modules of this package: folders, and what the module in each is called. */
const ENGINES = { relaxed: 'fanlight', simd128: 'fanlight', constraints: 'constraints' };

/** As esbuild is told it. */
const SMALL = /** @type {const} */ ({ minify: true, target: 'es2022', legalComments: 'none' });

/** The page's own scripts, of which `www/` holds the modules. */
const SCRIPTS = ['app.js', 'bench.js'];

/** Loaded only when they are used, so they are not part of the first visit. */
const LATER = /^(models|vendor\/ocr|examples)\/|\.txt$/;

async function fillVendor() {
  await rm(VENDOR, { recursive: true, force: true });
  await mkdir(VENDOR, { recursive: true });
  await copyPackage();
  await bundle('marked', 'marked/lib/marked.d.ts', 'Marked');
  await bundle('dompurify', 'dompurify/dist/purify.es.d.mts', 'default');
  await bundleScripts();
  await copyOcr();
  await writeLicences();
  const files = (await pageFiles()).filter((file) => !LATER.test(file));
  await writeFile(path.join(VENDOR, 'files.json'), `${JSON.stringify(files, null, 1)}\n`);
}

/** This package: what a page imports and what its workers run, each in one file, and links to its engines. */
async function copyPackage() {
  const [from, to] = [path.join(ROOT, 'pkg/dist'), path.join(VENDOR, 'fanlight/dist')];
  // Of the engines a browser needs only one.
  const external = ['../wasm/relaxed/*', '../wasm/simd128/*'];
  // Small enough to come with the worker, if it is there.
  if (!isBuilt('constraints')) external.push('../wasm/constraints/*');
  for (const name of ['index.js', 'worker.js']) await together(path.join(from, name), path.join(to, name), { external });
  await writeFile(path.join(to, 'index.d.ts'), "export * from '../../../../pkg/dist/index.js';\n");
  await copyEngines();
}

/** @param {string} build */
function isBuilt(build) {
  return existsSync(path.join(ROOT, 'pkg/wasm', build, 'stamp.json'));
}

/** The wasm modules with their glue: those that are built. `make start` serves the page before the last ones are. */
async function copyEngines() {
  for (const [build, name] of Object.entries(ENGINES)) {
    const folder = path.join(VENDOR, 'fanlight/wasm', build);
    if (!isBuilt(build)) continue;
    await mkdir(folder, { recursive: true });
    await smaller(path.join(ROOT, 'pkg/wasm', build, `${name}.js`), path.join(folder, `${name}.js`));
    const link = path.join(folder, `${name}_bg.wasm`);
    await rm(link, { force: true });
    await symlink(`../../../../../pkg/wasm/${build}/${name}_bg.wasm`, link);
  }
}

/**
 * A module and what it imports as one file: a visitor waits for one answer of the server, not for one after the other.
 * @param {string} from
 * @param {string} to
 * @param {import('esbuild').BuildOptions} [more] what stays outside
 */
async function together(from, to, more) {
  await build({ entryPoints: [from], outfile: to, ...SMALL, bundle: true, format: 'esm', logLevel: 'error', ...more });
}

/** The same module in fewer bytes. @param {string} from @param {string} to */
async function smaller(from, to) {
  const { code } = await transform(await readFile(from, 'utf8'), SMALL);
  await writeFile(to, code);
}

/**
 * One module of a library, small, with its types and its licence beside it.
 * @param {string} name
 * @param {string} types
 * @param {string} exported
 */
async function bundle(name, types, exported) {
  const outfile = path.join(VENDOR, `${name}.js`);
  await build({
    stdin: {
      contents: `export { ${exported} } from '${name}'`,
      resolveDir: ROOT,
    },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'inline',
    outfile,
    logLevel: 'error',
  });
  await cp(path.join(MODULES, types), outfile.replace(/\.js$/, '.d.ts'));
}

/** The page's scripts, each with the modules that it imports. The package stays outside: it starts its workers from where it lies. */
async function bundleScripts() {
  const outside = {
    name: 'package',
    /** @param {import('esbuild').PluginBuild} build */
    setup: (build) => build.onResolve({ filter: /^\.\/vendor\/fanlight\// }, ({ path }) => ({ path: path.replace('vendor/', ''), external: true })),
  };
  for (const name of SCRIPTS) {
    await together(path.join(WWW, name), path.join(VENDOR, name), { plugins: [outside], legalComments: 'inline' });
  }
}

/** The reader of images: its code, the builds of its engine that browsers with SIMD use, and the data of one language. */
async function copyOcr() {
  const ocr = path.join(VENDOR, 'ocr');
  await mkdir(ocr, { recursive: true });
  await cp(path.join(MODULES, 'tesseract.js/dist/tesseract.esm.min.js'), path.join(ocr, 'tesseract.js'));
  await cp(path.join(MODULES, 'tesseract.js/dist/worker.min.js'), path.join(ocr, 'worker.js'));
  for (const build of ['simd-lstm', 'relaxedsimd-lstm', 'lstm']) {
    const name = `tesseract-core-${build}.wasm.js`;
    await cp(path.join(MODULES, 'tesseract.js-core', name), path.join(ocr, name));
  }
  const data = TESSDATA.map((folder) => path.join(folder, 'eng.traineddata')).find((file) => existsSync(file));
  if (data) await cp(data, path.join(ocr, 'eng.traineddata'), { dereference: true });
  else console.log('site.mjs: no eng.traineddata here (package tesseract-ocr-eng): the page will not read images');
}

/** What the authors of the libraries ask for: their licences go where their code goes. */
async function writeLicences() {
  const parts = ['marked', 'dompurify', 'tesseract.js', 'tesseract.js-core'].map(async (name) => {
    const { version, homepage } = JSON.parse(await readFile(path.join(MODULES, name, 'package.json'), 'utf8'));
    const file = (await readdir(path.join(MODULES, name))).find((each) => /^licen[cs]e/i.test(each));
    const text = file ? await readFile(path.join(MODULES, name, file), 'utf8') : '';
    return `${name} ${version} ${homepage ?? ''}\n\n${text.trim()}\n`;
  });
  await writeFile(path.join(VENDOR, 'LICENCES.txt'), (await Promise.all(parts)).join(`\n${'-'.repeat(80)}\n\n`));
}

/** What the page is made of, by addresses relative to it: not the modules that are in its scripts, nor the big ones. */
async function pageFiles() {
  const entries = await readdir(WWW, { recursive: true, withFileTypes: true });
  const own = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(WWW, path.join(entry.parentPath, entry.name)))
    .filter((file) => !/\.d\.ts$|(^|\/)tsconfig[.\w]*\.json$|^(vendor\/)?[^/]+\.js$|^vendor\/files\.json$/.test(file));
  own.push(...SCRIPTS.map((name) => `vendor/${name}`));
  return own.sort();
}

/** @param {string} out */
async function writeSite(out) {
  const modules = Object.entries(ENGINES).map(([build, name]) => `wasm/${build}/${name}_bg.wasm`);
  for (const module of modules) await stat(path.join(ROOT, 'pkg', module));
  await rm(out, { recursive: true, force: true });
  const files = await pageFiles();
  const engines = modules.map((module) => `vendor/fanlight/${module}`);
  for (const file of [...files, ...engines]) await cp(path.join(WWW, file), path.join(out, file), { dereference: true });
  await writeFile(path.join(out, 'sw.js'), await releaseOf(out, files, engines));
  await writeFile(path.join(out, '.nojekyll'), ''); // GitHub Pages: as it is
  const { version } = JSON.parse(await readFile(path.join(ROOT, 'pkg/package.json'), 'utf8'));
  console.log(`site.mjs: Fanlight ${version}, ${files.length + engines.length + 2} files in ${out}`);
}

/**
 * The service worker of this site: it knows every file by its sum, so that it serves those of one release only.
 * @param {string} out
 * @param {string[]} files
 * @param {string[]} engines kept when they are used: of the engines a browser needs only one
 */
async function releaseOf(out, files, engines) {
  /** @type {Record<string, string>} */
  const sums = {};
  for (const file of [...files, ...engines]) {
    if (!file.endsWith('.gguf')) sums[file] = sumOf(await readFile(path.join(out, file)));
  }
  const release = { name: sumOf(JSON.stringify(sums)), first: files.filter((file) => !LATER.test(file)), sums };
  const text = await readFile(path.join(WWW, 'sw.js'), 'utf8');
  const filled = text.replace(/^const RELEASE = .*$/m, () => `const RELEASE = ${JSON.stringify(release)};`);
  if (filled === text) throw new Error('sw.js has no place for the list of files');
  return filled;
}

/** The first eight bytes of a SHA-256. @param {string | Buffer} data */
function sumOf(data) {
  return sha256(Buffer.from(data)).slice(0, 16);
}

const { values } = parseArgs({
  options: { engines: { type: 'boolean', default: false }, out: { type: 'string' }, help: { type: 'boolean', default: false } },
});
if (values.help) {
  console.log(HELP);
} else if (values.engines) {
  await copyEngines();
} else {
  await fillVendor();
  if (values.out) await writeSite(path.resolve(values.out));
}
