// A service worker can neither start workers nor stay for long, so the model lives in an offscreen page. Whoever wants an answer
// sends { ask: 'question' } here; the page is made when the first question comes, and stays.

let opening;

async function openPage() {
  if (await chrome.offscreen.hasDocument()) return;
  const reasons = ['WORKERS'];
  await chrome.offscreen.createDocument({ url: 'offscreen.html', reasons, justification: 'Runs a language model.' });
}

chrome.runtime.onMessage.addListener(({ ask }, _sender, reply) => {
  if (!ask) return false;
  opening ??= openPage().finally(() => (opening = undefined));
  opening.then(() => chrome.runtime.sendMessage({ question: ask })).then(reply, (error) => reply({ error: error.message }));
  return true; // the reply comes later
});
