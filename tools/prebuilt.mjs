// The modules of the package as they lie in the repository, packed: who starts the page in a fresh clone need not compile the engine.
// They count only while the sources are those they were made of.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import zlib from 'node:zlib';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const PACKED = path.join(ROOT, 'pkg/prebuilt');
const STAMP = 'stamp.json';
const [compress, decompress] = [promisify(zlib.brotliCompress), promisify(zlib.brotliDecompress)];

/** The folder of a finished build. @param {string} build */
export const folderOf = (build) => path.join(ROOT, 'pkg/wasm', build);

/** What a finished module was made of, and how; nothing if there is none. @param {string} folder */
export function stampIn(folder) {
  return readFile(path.join(folder, STAMP), 'utf8').then(JSON.parse, () => ({}));
}

/** A sum of everything that the modules are made of, but for the compiler. */
export async function sourcesOf() {
  const entries = await readdir(path.join(ROOT, 'src'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const tools = ['bindgen/src/main.rs', 'bindgen/Cargo.toml', 'bindgen/Cargo.lock', 'wasm.mjs', 'rust-wasm.sh'].map((name) => `tools/${name}`);
  files.push(...['Cargo.toml', 'Cargo.lock', ...tools].map((name) => path.join(ROOT, name)));
  return sha256(...(await Promise.all(files.sort().map((file) => readFile(file)))));
}

/** @param {Buffer[]} parts */
export function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** Puts a finished build into the repository. @param {string} build */
export async function pack(build) {
  const [from, to] = [folderOf(build), path.join(PACKED, build)];
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    const file = await readFile(path.join(from, name));
    if (name === STAMP) await writeFile(path.join(to, name), file);
    else await writeFile(path.join(to, `${name}.br`), await compress(file));
  }
}

/**
 * Takes a build out of the repository.
 * @param {string} build
 * @param {string} sources the sum of the sources as they are now
 * @param {string} to the folder that it becomes
 * @returns {Promise<boolean>} whether the packed build is of these sources; if not, nothing has been done
 */
export async function unpack(build, sources, to = folderOf(build)) {
  const from = path.join(PACKED, build);
  if ((await stampIn(from)).sources !== sources) return false;
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  const names = (await readdir(from)).filter((name) => name.endsWith('.br'));
  for (const name of names) await writeFile(path.join(to, name.slice(0, -'.br'.length)), await decompress(await readFile(path.join(from, name))));
  await writeFile(path.join(to, STAMP), await readFile(path.join(from, STAMP))); // last: without it the folder is not finished
  return true;
}
