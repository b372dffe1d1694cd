// The page that nobody sees, with the model.

import { Fanlight } from './fanlight/dist/index.js';

const model = Fanlight.load(new URL('model.gguf', location.href));

chrome.runtime.onMessage.addListener(({ question }, _sender, reply) => {
  if (!question) return false;
  model
    .then(({ chat }) => chat.completions.create({ messages: [{ role: 'user', content: question }] }))
    .then(({ choices }) => reply({ answer: choices[0].message.content }))
    .catch((error) => reply({ error: error.message }));
  return true; // the reply comes later
});
