// The official `openai` client, answered by a model in this page: no server, no key. Bundle it as you bundle your page.

import { Fanlight } from 'fanlight';
import OpenAI from 'openai';

const model = await Fanlight.load('/www/models/tiny-chat-q8_0.gguf');
const openai = new OpenAI({ apiKey: 'none', fetch: model.fetch, dangerouslyAllowBrowser: true });

const stream = await openai.chat.completions.create({
  model: 'local',
  messages: [{ role: 'user', content: 'What is Fanlight?' }],
  stream: true,
});
const answer = document.body.appendChild(document.createElement('p'));
for await (const chunk of stream) answer.append(chunk.choices[0]?.delta?.content ?? '');
answer.dataset.done = 'true';
