/** The wasm modules: fetched and compiled once for each page, the same for every model and every worker. */

import { asFanlightError } from './errors.js';
import type { Build, EngineRef } from './protocol.js';

// The paths are spelled out, here and below, so that bundlers find them.
const CONSTRAINTS = new URL('../wasm/constraints/constraints_bg.wasm', import.meta.url);

const modules = new Map<Build, Promise<WebAssembly.Module>>();

/** The engine of this build, as workers take it. */
export async function compileEngine(build: Build): Promise<EngineRef> {
  return { build, module: await compileModule(build) };
}

function compileModule(build: Build): Promise<WebAssembly.Module> {
  const known = modules.get(build);
  if (known) return known;
  const compiling = compile(build);
  modules.set(build, compiling);
  compiling.catch(() => modules.delete(build));
  return compiling;
}

let constraints: Promise<Blob> | undefined;
let compiled: Promise<WebAssembly.Module> | undefined;

/** Fetches the module of constraints, so that it is here when it is needed: after loading, there are no requests. */
export function fetchConstraints(): Promise<Blob> {
  if (constraints) return constraints;
  const fetching = fetchOf(CONSTRAINTS).then((response) => response.blob());
  constraints = fetching;
  fetching.catch(() => (constraints = undefined)); // whoever needs it tries again, and hears why
  return fetching;
}

/** The module of constraints, as workers take it. */
export function compileConstraints(): Promise<WebAssembly.Module> {
  if (compiled) return compiled;
  const compiling = explained(CONSTRAINTS, async () => WebAssembly.compile(await (await fetchConstraints()).arrayBuffer()));
  compiled = compiling;
  compiling.catch(() => (compiled = undefined));
  return compiling;
}

async function compile(build: Build): Promise<WebAssembly.Module> {
  const url =
    build === 'relaxed'
      ? new URL('../wasm/relaxed/fanlight_bg.wasm', import.meta.url)
      : new URL('../wasm/simd128/fanlight_bg.wasm', import.meta.url);
  return explained(url, async () => {
    const response = await fetchOf(url);
    // Streaming compilation insists on a content type that not every static host sends.
    const typed = response.headers.get('content-type')?.startsWith('application/wasm');
    return typed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
  });
}

async function fetchOf(url: URL): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response;
}

/** What `work` throws, with a code and what to do about it. */
async function explained<T>(url: URL, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const blocked =
      error instanceof WebAssembly.CompileError && /Content Security Policy|unsafe-eval/i.test(error.message);
    const advice = blocked ? "The page's CSP needs 'wasm-unsafe-eval' in script-src" : `${url} could not be loaded`;
    throw asFanlightError(error, blocked ? 'unsupported-browser' : 'network', advice);
  }
}
