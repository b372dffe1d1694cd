// A small server that speaks the OpenAI HTTP API, as llama-server or vLLM do: for the tests of what goes to one.

import { createServer } from 'node:http';

/**
 * Starts it; it ends with the test. It answers with what was asked, and remembers what it heard.
 * @param {import('node:test').TestContext} t
 * @param {{ status?: number, breakOff?: boolean, slow?: boolean }} [options]
 */
export async function openaiServer(t, options = {}) {
  /** @type {{ path: string, authorization: string | undefined, body: any }[]} */
  const heard = [];
  let closed = 0;
  const server = createServer(async (request, response) => {
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-allow-headers', '*');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    let text = '';
    for await (const piece of request) text += piece;
    const body = JSON.parse(text);
    heard.push({ path: request.url ?? '', authorization: request.headers.authorization, body });
    response.on('close', () => (closed += response.writableFinished ? 0 : 1));
    if (options.status) {
      response.writeHead(options.status, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify({ error: { message: 'Not today.', type: 'server_error' } }));
    }
    const chat = request.url?.endsWith('/chat/completions');
    const said = `${body.model} heard: ${chat ? body.messages.at(-1).content : body.prompt} – é`;
    const head = { id: 'x', created: 1, model: body.model, object: chat ? 'chat.completion' : 'text_completion' };
    if (!body.stream) {
      const message = { role: 'assistant', content: said };
      const choice = { index: 0, finish_reason: 'stop', ...(chat ? { message } : { text: said }) };
      response.setHeader('content-type', 'application/json');
      return void response.end(JSON.stringify({ ...head, choices: [choice], usage: null }));
    }
    response.setHeader('content-type', 'text/event-stream');
    const events = [...said].map((letter) => {
      const choice = { index: 0, finish_reason: null, ...(chat ? { delta: { content: letter } } : { text: letter }) };
      return `data: ${JSON.stringify({ ...head, choices: [choice] })}\r\n\r\n`;
    });
    // In pieces that end in the middle of events and characters.
    const bytes = Buffer.from(`: hello\n\n${events.join('')}data: [DONE]\n\n`);
    for (let at = 0; at < bytes.length; at += 61) {
      if (options.breakOff && at > bytes.length / 2) return void response.destroy();
      response.write(bytes.subarray(at, at + 61));
      await new Promise((resolve) => setTimeout(resolve, options.slow ? 20 : 0));
      if (response.destroyed) return;
    }
    response.end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (!address || typeof address === 'string') throw new Error('no port');
  return { baseURL: `http://127.0.0.1:${address.port}/v1/`, heard, closed: () => closed };
}
