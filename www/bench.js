// For programs that measure: they open bench.html and call `window.fanlightBench(options)`. People use the room "Bench".

import { find } from './dom.js';
import { fanlightBench } from './measure.js';

Object.assign(window, { fanlightBench });
find('room', HTMLAnchorElement).href = `index.html${location.search}#/bench`;
