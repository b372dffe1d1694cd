// For programs that measure: they open bench.html and call `window.fanlightBench(options)`. What the address says, as in
// `bench.html?build=simd128&transport=messages&kvType=q8`, holds where the options do not. People use the room "Bench".

import { find } from './dom.js';
import { fanlightBench } from './measure.js';

const address = new URLSearchParams(location.search);
const defaults = Object.fromEntries([...address].filter(([name]) => ['model', 'build', 'transport', 'kvType'].includes(name)));
const threads = address.get('threads');

Object.assign(window, {
  /** @param {import('./measure.js').BenchOptions} options */
  fanlightBench: (options) => fanlightBench({ ...defaults, ...(threads && { threads: Number(threads) }), ...options }),
});
find('room', HTMLAnchorElement).href = `index.html${location.search}#/bench`;
