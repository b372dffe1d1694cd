// Keeps the page for visits without the network: whatever it is made of, and nothing else.
//
// A site that `make site` wrote is one release. RELEASE lists its files, all of them come from what was kept of that release, and the
// next release waits until no page of this one is open: a page and its workers never are of two. In the repository, where files
// change all the time, the list is empty: files come from the network when it answers, and from what was kept when it does not, or not soon.

/**
 * Filled by `tools/site.mjs`.
 * @type {{ name: string, first: string[], sums: Record<string, string> }} `first` is kept at once, the others when they are used; the
 *   beginning of each file's SHA-256
 */
const RELEASE = { name: '', first: [], sums: {} };

/** What this file runs in. @type {ServiceWorkerGlobalScope} */
const worker = /** @type {any} */ (self);

const HERE = new URL('./', worker.location.href);
/** Other sites of the same origin have their own. */
const CACHES = `fanlight-page ${HERE.pathname} `;
const CACHE = CACHES + RELEASE.name;
/** How long the network may take, in milliseconds, where there is something kept. */
const PATIENCE = 3000;

worker.addEventListener('install', (event) => {
  event.waitUntil(RELEASE.name ? keepRelease() : keepAll().then(() => worker.skipWaiting()));
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(removeOthers().then(() => worker.clients.claim()));
});

worker.addEventListener('message', (event) => {
  /** @type {unknown[]} */
  const urls = Array.isArray(event.data?.keep) ? event.data.keep : [];
  const names = urls.map((url) => (typeof url === 'string' ? nameOf(new URL(url, HERE)) : undefined)).filter((name) => name !== undefined);
  event.waitUntil(Promise.all(names.map((name) => kept(name).catch(() => {}))));
  if (event.data?.takeOver) event.waitUntil(takeOver());
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || request.headers.has('range')) return;
  const name = nameOf(new URL(request.url), request.mode === 'navigate');
  if (name !== undefined) event.respondWith(RELEASE.name ? kept(name) : fresh(event, name));
});

/**
 * The name of a part of the page, by its address; nothing for anything else. Models are not: the package keeps those.
 * @param {URL} url
 * @param {boolean} [isPage] options in the address of a page are the page's business
 */
function nameOf(url, isPage = false) {
  const { href, pathname, search } = url;
  if (!href.startsWith(HERE.href) || pathname.endsWith('.gguf')) return undefined;
  if (RELEASE.name && search && !isPage) return undefined;
  const name = pathname.slice(HERE.pathname.length) || 'index.html';
  return RELEASE.name && !(name in RELEASE.sums) ? undefined : name;
}

// ---- One release ------------------------------------------------------------------------------------------------

/** What is kept of a file; fetched now if it was not. @param {string} name */
async function kept(name) {
  const cache = await caches.open(CACHE);
  const here = await cache.match(addressOf(name), { ignoreVary: true });
  if (here) return here;
  const response = await fetched(name);
  await cache.put(addressOf(name), response.clone()).catch(() => {}); // a full disk: then it is fetched again
  return response;
}

/** A file from the network; fails if it is of another release. @param {string} name */
async function fetched(name) {
  // By the address of the folder: where hosts send those who ask for index.html.
  const response = await fetch(name === 'index.html' ? HERE : addressOf(name), { cache: 'no-cache' });
  if (response.status !== 200) throw new Error(`${name}: the server answered ${response.status}`);
  const body = await response.arrayBuffer();
  if (RELEASE.name && (await sumOf(body)) !== RELEASE.sums[name]) throw new Error(`${name} is of another release`);
  const headers = new Headers(response.headers);
  for (const header of ['content-encoding', 'content-length']) headers.delete(header); // those of what was sent
  return new Response(body, { headers });
}

/** @param {ArrayBuffer} body */
async function sumOf(body) {
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', body)).subarray(0, 8);
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {string} name */
function addressOf(name) {
  return new URL(name, HERE).href;
}

/** All of it or nothing: the next visit tries again. */
async function keepRelease() {
  const cache = await caches.open(CACHE);
  await Promise.all(RELEASE.first.map(async (name) => cache.put(addressOf(name), await fetched(name))));
}

/** What other releases have left. */
async function removeOthers() {
  const names = await caches.keys();
  const others = names.filter((name) => name === 'fanlight-page' || (name.startsWith(CACHES) && name !== CACHE));
  await Promise.all(others.map((name) => caches.delete(name)));
}

/** A page that was just opened asks for its new release; not while another page is open, which is of the old one. */
async function takeOver() {
  const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  if (pages.filter(({ url }) => url.startsWith(HERE.href)).length <= 1) await worker.skipWaiting();
}

// ---- In the repository ------------------------------------------------------------------------------------------

/** @param {FetchEvent} event @param {string} name @returns {Promise<Response>} */
async function fresh(event, name) {
  const cache = await caches.open(CACHE);
  const here = await cache.match(addressOf(name));
  const coming = fetch(event.request).then((response) => {
    if (response.status === 200) event.waitUntil(cache.put(addressOf(name), response.clone()).catch(() => {}));
    else if (here && response.status >= 400) return here;
    return response;
  });
  if (!here) return coming;
  event.waitUntil(coming.catch(() => {}));
  // `make start` keeps those waiting who ask for an engine that is not yet compiled: the one before will not do.
  if (name.includes('/wasm/')) return coming.catch(() => here);
  /** @type {Promise<Response>} */
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, here));
  return Promise.race([coming.catch(() => here), late]);
}

/** Everything in the list that `tools/site.mjs` made. A file that does not come is not worth losing the others for. */
async function keepAll() {
  const list = await fetch(addressOf('vendor/files.json'));
  /** @type {string[]} */
  const names = list.ok ? await list.json() : [];
  await Promise.all(names.map((name) => kept(name).catch(() => {})));
  if (!(await caches.match(addressOf('index.html')))) throw new Error('the page did not come'); // the next visit tries again
}
