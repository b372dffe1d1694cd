// The demo page, for its tests.

/** The page's address, for the model that recites: what it says is known. */
export const RECITING = 'www/?model=models/tiny-chat-q8_0.gguf';

/**
 * Opens the page and waits until its model is ready.
 * @param {import('playwright-core').BrowserContext} context
 * @param {string} address
 */
export async function ready(context, address) {
  const page = await context.newPage();
  await page.goto(address);
  await loaded(page);
  return page;
}

/** Until the model is ready, or could not be loaded. @param {import('playwright-core').Page} page */
export async function loaded(page) {
  await page.waitForFunction(() => document.body.dataset['status'] === 'ready' || document.querySelector('.problem:not([hidden])'));
  const problem = page.locator('.problem:visible');
  if (await problem.count()) throw new Error(await problem.innerText());
}

/** Until the service worker has all that a visit without the network needs: the engine comes last. @param {import('playwright-core').Page} page */
export async function keptForLater(page) {
  const isKept = () =>
    page.evaluate(async () => {
      const name = (await caches.keys()).find((name) => name.startsWith('fanlight-page'));
      const kept = name ? await (await caches.open(name)).keys() : [];
      return navigator.serviceWorker.controller !== null && kept.some(({ url }) => url.endsWith('.wasm'));
    });
  while (!(await isKept())) await page.waitForTimeout(50); // the test's own time limit ends it
}
