/** The wasm module of a build: fetched and compiled once for each page, the same for every model and every worker. */

import { asFanlightError } from './errors.js';
import type { Build, EngineRef } from './protocol.js';

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

async function compile(build: Build): Promise<WebAssembly.Module> {
  // The paths are spelled out, so that bundlers find them.
  const url =
    build === 'relaxed'
      ? new URL('../wasm/relaxed/fanlight_bg.wasm', import.meta.url)
      : new URL('../wasm/simd128/fanlight_bg.wasm', import.meta.url);
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    // Streaming compilation insists on a content type that not every static host sends.
    const typed = response.headers.get('content-type')?.startsWith('application/wasm');
    return await (typed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
  } catch (error) {
    const blocked =
      error instanceof WebAssembly.CompileError && /Content Security Policy|unsafe-eval/i.test(error.message);
    const advice = blocked ? "The page's CSP needs 'wasm-unsafe-eval' in script-src" : `${url} could not be loaded`;
    throw asFanlightError(error, blocked ? 'unsupported-browser' : 'network', advice);
  }
}
