// Files that go wrong, made of one that does not.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ROOT, TINY } from './browser.mjs';

/** The bytes of the model in this repository. */
export function tinyModel() {
  return readFile(path.join(ROOT, TINY));
}

/**
 * A folder with these files, which goes with the test.
 * @param {import('node:test').TestContext} t
 * @param {Record<string, string | Buffer>} files
 */
export async function folderOf(t, files) {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-files-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(folder, name), content);
  return folder;
}

/**
 * The same bytes with one text replaced by another of the same length.
 * @param {Buffer} bytes
 * @param {string} before
 * @param {string} after
 */
export function replaced(bytes, before, after) {
  const at = bytes.indexOf(before);
  if (at < 0 || before.length !== after.length) throw new Error(`cannot put ${after} in the place of ${before}`);
  const copy = Buffer.from(bytes);
  copy.write(after, at);
  return copy;
}

/**
 * The same bytes with another type for a tensor. After its name come the number of dimensions (u32), so many u64, and
 * the type (u32).
 * @param {Buffer} bytes
 * @param {string} tensor
 * @param {number} type
 */
export function retyped(bytes, tensor, type) {
  const name = Buffer.alloc(8 + tensor.length);
  name.writeBigUInt64LE(BigInt(tensor.length));
  name.write(tensor, 8);
  const at = bytes.indexOf(name) + name.length;
  const copy = Buffer.from(bytes);
  copy.writeUInt32LE(type, at + 4 + 8 * copy.readUInt32LE(at));
  return copy;
}
