/** Where a model comes from: what applications may say, checked. */

import { FanlightError, invalidArgument } from './errors.js';

/** An address, or a file that the visitor chose. */
export type ModelPart = string | URL | Blob;

/** The parts of a model, in order: addresses and files. */
export function checkSource(source: ModelPart | readonly ModelPart[]): (URL | Blob)[] {
  const parts: readonly ModelPart[] = Array.isArray(source) ? source : [source];
  if (parts.length === 0) throw invalidArgument('source', source, 'an address, a file, or a list of them');
  const checked = parts.map((part) => {
    if (part instanceof Blob || part instanceof URL) return part;
    if (typeof part !== 'string') throw invalidArgument('source', part, 'an address or a file');
    const base = globalThis.document?.baseURI ?? globalThis.location?.href;
    try {
      return new URL(part, base);
    } catch (cause) {
      throw new FanlightError('invalid-argument', `source: ${JSON.stringify(part)} is not an address.`, { cause });
    }
  });
  const [only] = checked;
  return checked.length === 1 && only instanceof URL ? splitParts(only) : checked;
}

/** All parts of a model that is split over several files, by the address of one; otherwise that one. */
export function splitParts(url: URL): URL[] {
  const found = /^(.*-)(\d{5})-of-(\d{5})(\.gguf)$/.exec(url.pathname);
  const [, before = '', , count = '', after = ''] = found ?? [];
  if (Number(count) < 1) return [url];
  return Array.from({ length: Number(count) }, (_, index) => {
    const part = new URL(url);
    part.pathname = `${before}${String(index + 1).padStart(5, '0')}-of-${count}${after}`;
    return part;
  });
}

/** The SHA-256 that each part must have, in hexadecimal; nothing for those that may have any. */
export function checkIntegrity(
  integrity: string | readonly string[] | undefined,
  parts: readonly (URL | Blob)[],
): (string | undefined)[] {
  if (integrity === undefined || integrity === null) return parts.map(() => undefined);
  const list: readonly unknown[] = Array.isArray(integrity) ? integrity : [integrity];
  if (list.length !== parts.length) throw invalidArgument('integrity', integrity, `${parts.length} hashes`);
  return list.map((hash) => {
    const hexadecimal = typeof hash === 'string' ? sha256Of(hash) : undefined;
    if (hexadecimal === undefined) throw invalidArgument('integrity', hash, '"sha256-…" in base64 or hexadecimal');
    return hexadecimal;
  });
}

function sha256Of(text: string): string | undefined {
  const [, hash = ''] = /^sha256-(.*)$/.exec(text) ?? [];
  if (/^[0-9a-f]{64}$/i.test(hash)) return hash.toLowerCase();
  if (!/^[A-Za-z0-9+/]{43}=?$/.test(hash)) return undefined;
  return Array.from(atob(hash), (byte) => byte.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}
