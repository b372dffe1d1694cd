// Keeps the page for visits without the network: whatever it is made of, and nothing else. From the network when that answers,
// so that what is shown is new; from what was kept when it does not, or not soon.

/** What this file runs in. @type {ServiceWorkerGlobalScope} */
const worker = /** @type {any} */ (self);

const CACHE = 'fanlight-page';
/** How long the network may take, in milliseconds, where there is something kept. */
const PATIENCE = 3000;
const HERE = new URL('./', worker.location.href);

worker.addEventListener('install', (event) => {
  event.waitUntil(keepAll().then(() => worker.skipWaiting()));
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(worker.clients.claim());
});

worker.addEventListener('message', (event) => {
  /** @type {unknown[]} */
  const urls = Array.isArray(event.data?.keep) ? event.data.keep : [];
  event.waitUntil(keep(urls.filter((url) => typeof url === 'string').filter((url) => isOurs(new URL(url, HERE)))));
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method === 'GET' && !request.headers.has('range') && isOurs(new URL(request.url))) {
    event.respondWith(answer(event));
  }
});

/** Part of the page. Models are not: the package keeps those. @param {URL} url */
function isOurs(url) {
  return url.href.startsWith(HERE.href) && !url.pathname.endsWith('.gguf');
}

/** The name under which it is kept: options in the address of the page are the page's business. @param {Request} request */
function nameOf(request) {
  const url = new URL(request.url);
  return request.mode === 'navigate' && url.pathname === HERE.pathname ? new URL('index.html', HERE).href : url.origin + url.pathname;
}

/** @param {FetchEvent} event @returns {Promise<Response>} */
async function answer(event) {
  const name = nameOf(event.request);
  const cache = await caches.open(CACHE);
  const kept = await cache.match(name);
  const coming = fetch(event.request).then((response) => {
    if (response.status === 200) event.waitUntil(cache.put(name, response.clone()));
    return response;
  });
  if (!kept) return coming;
  event.waitUntil(coming.catch(() => {}));
  /** @type {Promise<Response>} */
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, kept));
  return Promise.race([coming.catch(() => kept), late]);
}

/** Everything in the list that `tools/site.mjs` made. */
async function keepAll() {
  const list = await fetch(new URL('vendor/files.json', HERE));
  const files = ['', ...(list.ok ? await list.json() : [])];
  await keep(files.map((file) => new URL(file || 'index.html', HERE).href));
  if (!(await caches.match(new URL('index.html', HERE)))) throw new Error('the page did not come'); // the next visit tries again
}

/** A file that does not come is not worth losing the others for. @param {string[]} urls */
async function keep(urls) {
  const cache = await caches.open(CACHE);
  await Promise.all(
    urls.map(async (url) => {
      const { origin, pathname } = new URL(url);
      if (await cache.match(origin + pathname)) return;
      const response = await fetch(url).catch(() => undefined);
      if (response?.status === 200) await cache.put(origin + pathname, response);
    }),
  );
}
