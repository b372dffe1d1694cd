// The page: one engine, and rooms that use it. Copy what you like.

import { setUpBench } from './bench-room.js';
import { setUpChat } from './chat.js';
import { setUpClassify } from './classify.js';
import { setUpDrop } from './drop.js';
import { find } from './dom.js';
import { engine } from './engine.js';
import { setUpExtract } from './extract.js';
import { setUpLoading } from './loading.js';
import { setUpOffline } from './offline.js';
import { setUpPrivate } from './private.js';
import { setUpRooms } from './rooms.js';
import { setUpSettings } from './settings-panel.js';
import { firstChoice, setUpShelf } from './shelf.js';

setUpLoading();
setUpChat();
setUpExtract();
setUpClassify();
setUpBench();
setUpDrop();
setUpShelf((choice) => void engine.load(choice));
setUpSettings();
setUpPrivate();
setUpRooms();
setUpOffline();

const mode = find('mode', HTMLParagraphElement);
const choose = find('choose', HTMLButtonElement);
engine.addEventListener('change', () => {
  mode.textContent = engine.model ? describe(engine.model) : 'No model is loaded.';
  choose.textContent = engine.choice?.name ?? 'Choose a model';
  document.body.dataset['status'] = engine.status;
});

/** What is loaded, and how. @param {import('./engine.js').Model} model */
function describe(model) {
  const { name, quantization, shards, transport, build, contextLength } = model.info();
  const exchanges = { none: '', shared: ' over shared memory', messages: ' over messages' };
  return [
    name,
    quantization,
    `${shards} ${shards === 1 ? 'worker' : `workers${exchanges[transport]}`}`,
    build === 'relaxed' ? 'relaxed SIMD' : 'SIMD',
    `${contextLength.toLocaleString('en')} tokens of context`,
  ].join(' · ');
}

void engine.load(firstChoice());
