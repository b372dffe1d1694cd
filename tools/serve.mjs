#!/usr/bin/env node
// A small web server for development and tests: static files with ranges and validators, isolation headers on demand,
// and faults on demand. Listens on this machine only.
//
// As a module:
//   const server = await startServer({ root, mounts: { models: '/path' }, isolated: true });
//   server.fault = (request) => (request.path.endsWith('.gguf') ? { cutAfter: 100_000 } : undefined);
//   … server.url … server.requests …
//   await server.close();

import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HELP = `serve.mjs [options]: serves the project on this machine

  --port N          first port (8321). Without --isolated or --plain, N serves plain pages and N+1 isolated ones;
                    a port that is taken is passed over
  --isolated        only pages with the isolation headers (COOP, COEP), which allow SharedArrayBuffer
  --plain           only pages without them
  --dir NAME=PATH   serves the folder PATH as /NAME/ too (may be repeated)
  --root PATH       the folder served as / (the project)
  --cors            lets pages of other origins read the files
  --help            this text`;

/** @type {Record<string, string | undefined>} */
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.gguf': 'application/octet-stream',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ts': 'text/plain; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
};

const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

const CORS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Expose-Headers': 'Accept-Ranges, Content-Length, Content-Range, ETag, Last-Modified',
  'Cross-Origin-Resource-Policy': 'cross-origin',
};

/**
 * How one answer is to misbehave. All optional, and they combine.
 * @typedef {object} Fault
 * @property {number} [status] answer with this status and `body`, not with the file
 * @property {string} [body] the text that goes with `status`
 * @property {Record<string, string | null>} [headers] set these headers; null leaves one out
 * @property {number} [delay] milliseconds to wait before the answer begins
 * @property {number} [bytesPerSecond] send the body no faster than this
 * @property {number} [cutAfter] close the connection after this many bytes of the body
 * @property {number} [stallAfter] send this many bytes of the body, then nothing more
 * @property {boolean} [ignoreRange] answer a range request with the whole file
 */

/**
 * What was asked, for `fault` and `requests`.
 * @typedef {{ method: string, path: string, headers: import('node:http').IncomingHttpHeaders }} Asked
 */

/**
 * Starts a server on this machine.
 * @param {object} [options]
 * @param {string | undefined} [options.root] the folder served as `/`
 * @param {Record<string, string>} [options.mounts] further folders, by the name of their first path segment
 * @param {boolean} [options.isolated] send the headers of a cross-origin isolated page
 * @param {boolean} [options.cors] let pages of other origins read the files
 * @param {Record<string, string>} [options.headers] further headers on every answer
 * @param {number} [options.port] 0 for any that is free
 * @param {(path: string) => Promise<unknown> | undefined} [options.ready] what the answer about a path waits for
 */
export async function startServer(options = {}) {
  const root = path.resolve(options.root ?? projectRoot());
  const mounts = new Map(Object.entries(options.mounts ?? {}).map(([name, at]) => [name, path.resolve(at)]));
  /** @type {Record<string, string>} */
  const common = {
    ...(options.isolated ? ISOLATION : {}),
    ...(options.cors ? CORS : {}),
    ...options.headers,
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else sendText(response, 500, String(error));
    });
  });

  const running = {
    /** Where it listens, ending in a slash. */
    url: '',
    port: 0,
    /** Every request so far, in order. @type {Asked[]} */
    requests: [],
    /** Called for each request; says how the answer is to misbehave. @type {(asked: Asked) => Fault | undefined} */
    fault: () => undefined,
    /** Ends the connections and the server. */
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };

  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  running.port = /** @type {import('node:net').AddressInfo} */ (server.address()).port;
  running.url = `http://localhost:${running.port}/`;
  return running;

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async function answer(request, response) {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const asked = { method: request.method ?? 'GET', path: url.pathname, headers: request.headers };
    running.requests.push(asked);
    const fault = running.fault(asked) ?? {};
    const setHeader = response.setHeader.bind(response);
    response.setHeader = (name, value) => {
      // What a fault says about a header stands, whoever sets it later.
      return fault.headers && name in fault.headers ? response : setHeader(name, value);
    };
    for (const [name, value] of Object.entries(common)) response.setHeader(name, value);
    for (const [name, value] of Object.entries(fault.headers ?? {})) if (value !== null) setHeader(name, value);
    if (fault.delay) await sleep(fault.delay);
    if (fault.status) return sendText(response, fault.status, fault.body ?? '');
    if (asked.method === 'OPTIONS') return response.writeHead(204).end();
    if (asked.method !== 'GET' && asked.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD, OPTIONS');
      return sendText(response, 405, 'only GET and HEAD');
    }
    if (url.pathname === '/') return redirect(response, '/www/');
    await options.ready?.(url.pathname);

    const file = resolvePath(url.pathname, root, mounts);
    const found = file && (await stat(file).catch(() => undefined));
    if (!found) return sendText(response, 404, `nothing at ${url.pathname}`);
    if (!found.isDirectory()) return sendFile(asked, response, file, found, fault);
    if (!url.pathname.endsWith('/')) return redirect(response, `${url.pathname}/${url.search}`);
    const index = path.join(file, 'index.html');
    const page = await stat(index).catch(() => undefined);
    if (!page) return sendText(response, 404, `no index.html in ${url.pathname}`);
    return sendFile(asked, response, index, page, fault);
  }
}

/**
 * The file that a URL path names; undefined when it would lie outside the folders served, or is hidden. Links inside a
 * folder are followed: whoever made them meant it.
 * @param {string} pathname
 * @param {string} root
 * @param {Map<string, string>} mounts
 */
export function resolvePath(pathname, root, mounts = new Map()) {
  let decoded;
  try {
    decoded = decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
  if (decoded.includes('\0') || decoded.includes('\\')) return undefined;
  const segments = decoded.split('/').filter((segment) => segment !== '');
  if (segments.some((segment) => segment.startsWith('.'))) return undefined;
  const mount = mounts.get(segments[0] ?? '');
  return mount ? path.join(mount, ...segments.slice(1)) : path.join(root, ...segments);
}

/**
 * The bytes that a Range header asks for: undefined for all of them, null when there are none.
 * @param {string | undefined} header
 * @param {number} size
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined; // absent, or several ranges: all of it
  const [first, last] = [match[1], match[2]];
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(last) < start) return undefined; // malformed: as if absent
  return start < size && start <= end ? { start, end } : null;
}

/**
 * @param {Asked} asked
 * @param {import('node:http').ServerResponse} response
 * @param {string} file
 * @param {import('node:fs').Stats} found
 * @param {Fault} fault
 */
async function sendFile(asked, response, file, found, fault) {
  const etag = `"${found.size.toString(16)}-${Math.trunc(found.mtimeMs).toString(16)}"`;
  const modified = found.mtime.toUTCString();
  response.setHeader('Content-Type', TYPES[path.extname(file).toLowerCase()] ?? 'application/octet-stream');
  response.setHeader('ETag', etag);
  response.setHeader('Last-Modified', modified);
  response.setHeader('Cache-Control', 'no-cache'); // keep, but ask each time whether it has changed
  response.setHeader('Accept-Ranges', 'bytes');

  const { range: wanted, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = asked.headers;
  if (ifNoneMatch?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag || tag.trim() === '*')) {
    response.writeHead(304).end();
    return;
  }
  const unchanged = ifRange === undefined || ifRange === etag || ifRange === modified;
  const range = unchanged && !fault.ignoreRange ? parseRange(wanted, found.size) : undefined;
  if (range === null) {
    response.setHeader('Content-Range', `bytes */${found.size}`);
    return sendText(response, 416, `the file has ${found.size} bytes`);
  }
  const { start, end } = range ?? { start: 0, end: found.size - 1 };
  if (range) response.setHeader('Content-Range', `bytes ${start}-${end}/${found.size}`);
  response.setHeader('Content-Length', end + 1 - start);
  response.writeHead(range ? 206 : 200);
  if (asked.method === 'HEAD' || end < start) {
    response.end();
    return;
  }
  await sendBody(response, file, start, end, fault);
}

/**
 * @param {import('node:http').ServerResponse} response
 * @param {string} file
 * @param {number} start
 * @param {number} end inclusive
 * @param {Fault} fault
 */
async function sendBody(response, file, start, end, fault) {
  const { bytesPerSecond, cutAfter = Infinity, stallAfter = Infinity } = fault;
  const stop = Math.min(cutAfter, stallAfter);
  const piece = bytesPerSecond ? Math.max(1, Math.min(65536, Math.ceil(bytesPerSecond / 20))) : 262144;
  const began = performance.now();
  let sent = 0;
  for await (const chunk of createReadStream(file, { start, end, highWaterMark: piece })) {
    if (response.destroyed) return;
    const part = chunk.subarray(0, stop - sent);
    if (part.length > 0 && !response.write(part)) {
      await drained(response);
    }
    sent += part.length;
    if (sent >= stop) break;
    if (bytesPerSecond) await sleep(Math.max(0, began + (sent / bytesPerSecond) * 1000 - performance.now()));
  }
  if (sent >= cutAfter) response.socket?.destroySoon(); // what was written still arrives
  else if (sent < stallAfter) response.end();
}

/**
 * Resolves when the response takes more, or nothing any more.
 * @param {import('node:http').ServerResponse} response
 * @returns {Promise<void>}
 */
function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

/**
 * @param {import('node:http').ServerResponse} response
 * @param {number} status
 * @param {string} text
 */
function sendText(response, status, text) {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.writeHead(status).end(text);
}

/**
 * @param {import('node:http').ServerResponse} response
 * @param {string} to
 */
function redirect(response, to) {
  response.setHeader('Location', to);
  response.writeHead(302).end();
}

/** The project's folder: the parent of this file's. */
function projectRoot() {
  return path.dirname(path.dirname(fileURLToPath(import.meta.url)));
}

/**
 * Starts a server on the first free port from `port` on.
 * @param {Parameters<typeof startServer>[0] & { port: number }} options
 */
async function startNear(options) {
  for (let port = options.port; ; port++) {
    try {
      return await startServer({ ...options, port });
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EADDRINUSE' || port > options.port + 50) throw error;
    }
  }
}

/**
 * The command: serves as its arguments say, until it is stopped.
 * @param {string[]} args
 * @param {(path: string) => Promise<unknown> | undefined} [ready] see {@link startServer}
 */
export async function serve(args, ready) {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: 'string', default: '8321' },
      isolated: { type: 'boolean', default: false },
      plain: { type: 'boolean', default: false },
      dir: { type: 'string', multiple: true, default: [] },
      root: { type: 'string' },
      cors: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const mounts = Object.fromEntries(
    values.dir.map((dir) => {
      const [, name, at] = /^([^=./\\]+)=(.+)$/.exec(dir) ?? [];
      if (!name || !at) throw new Error(`--dir ${dir}: expected NAME=PATH`);
      return [name, at];
    }),
  );
  const shared = { root: values.root, mounts, cors: values.cors, ...(ready && { ready }) };
  let port = Number(values.port);
  if (values.plain || !values.isolated) {
    const plain = await startNear({ ...shared, port });
    port = plain.port + 1;
    console.log(`\n  ${plain.url}   on any static host: shards exchange by messages`);
    await listModels(plain.url, mounts);
  }
  if (values.isolated || !values.plain) {
    const isolated = await startNear({ ...shared, port, isolated: true });
    console.log(`  ${isolated.url}   with the isolation headers (COOP, COEP): shards exchange by shared memory`);
    if (values.isolated) await listModels(isolated.url, mounts);
  }
  console.log('\n  Ctrl-C ends the server.');
}

/**
 * @param {string} url
 * @param {Record<string, string>} mounts
 */
async function listModels(url, mounts) {
  for (const [name, at] of Object.entries(mounts)) {
    for (const entry of (await readdir(at)).filter((file) => file.endsWith('.gguf')).sort()) {
      console.log(`    ${url}${name}/${encodeURIComponent(entry)}`);
    }
  }
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  serve(process.argv.slice(2)).catch((error) => {
    console.error(`serve: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  });
}
