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

// ---- A model in two files --------------------------------------------------------------------------------------

const FIXED_SIZES = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8]; // of metadata values, by type
const [STRING, ARRAY, U16, I32] = [8, 9, 2, 5];
const ALIGNMENT = 32;

/**
 * The model as two files, as llama.cpp splits them: the first has all metadata, both say how many files there are.
 * @param {Buffer} bytes
 */
export function splitInTwo(bytes) {
  let at = 24; // after "GGUF", version, number of tensors, number of keys
  const skip = (/** @type {number} */ length) => void (at += length);
  const u32 = () => bytes.readUInt32LE((at += 4) - 4);
  const u64 = () => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const skipValue = (/** @type {number} */ type) => {
    if (type === STRING) skip(u64());
    else if (type === ARRAY) {
      const element = u32();
      for (let count = u64(); count > 0; count--) skipValue(element);
    } else skip(FIXED_SIZES[type] ?? 0);
  };
  const tensorCount = Number(bytes.readBigUInt64LE(8));
  const keyCount = Number(bytes.readBigUInt64LE(16));
  for (let key = 0; key < keyCount; key++) {
    skip(u64());
    skipValue(u32());
  }
  const metadata = bytes.subarray(24, at);
  const infos = Array.from({ length: tensorCount }, () => {
    const begin = at;
    skip(u64()); // name
    skip(8 * u32()); // dimensions
    skip(4); // type
    return { info: bytes.subarray(begin, at), offset: u64() };
  });
  const data = bytes.subarray(Math.ceil(at / ALIGNMENT) * ALIGNMENT);
  const tensors = infos.map(({ info, offset }, index) => {
    return { info, data: data.subarray(offset, infos[index + 1]?.offset ?? data.length) };
  });
  const half = Math.floor(tensorCount / 2);
  return [tensors.slice(0, half), tensors.slice(half)].map((own, part) => {
    const split = [
      entry('split.no', U16, part),
      entry('split.count', U16, 2),
      entry('split.tensors.count', I32, tensorCount),
    ];
    const keys = part === 0 ? keyCount + split.length : split.length;
    return assemble(Buffer.concat([...(part === 0 ? [metadata] : []), ...split]), keys, own);
  });
}

/** @param {Buffer} metadata @param {number} keys @param {{ info: Buffer, data: Buffer }[]} tensors */
function assemble(metadata, keys, tensors) {
  const padded = (/** @type {Buffer} */ part) => Buffer.concat([part], Math.ceil(part.length / ALIGNMENT) * ALIGNMENT);
  let offset = 0;
  const infos = tensors.map(({ info, data }) => {
    const place = eightBytes(offset);
    offset += padded(data).length;
    return Buffer.concat([info, place]);
  });
  const begin = Buffer.concat([
    Buffer.from('GGUF\x03\0\0\0'),
    eightBytes(tensors.length),
    eightBytes(keys),
    metadata,
    ...infos,
  ]);
  return Buffer.concat([padded(begin), ...tensors.map(({ data }) => padded(data))]);
}

/** @param {string} key @param {number} type @param {number} value */
function entry(key, type, value) {
  const tail = Buffer.alloc(type === U16 ? 6 : 8);
  tail.writeUInt32LE(type);
  if (type === U16) tail.writeUInt16LE(value, 4);
  else tail.writeInt32LE(value, 4);
  return Buffer.concat([eightBytes(key.length), Buffer.from(key), tail]);
}

/** @param {number} value */
function eightBytes(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
