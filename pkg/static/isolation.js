/*
 * Cross-origin isolation on hosts that cannot send headers, so that workers exchange through shared memory. Nothing needs it: without
 * it they exchange by messages.
 *
 * Copy this file to the top folder of the site, and put one line first in the <head> of its pages:
 *
 *     <script src="/isolation.js"></script>
 *
 * On the first visit it installs itself as a service worker, and the page loads once more, with the headers COOP and COEP. What
 * a page then embeds from other sites must allow that (CORS or CORP). It touches no request but those for pages and workers
 * of this site.
 */
(() => {
  'use strict';
  const HEADERS = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
    'Cross-Origin-Resource-Policy': 'same-origin',
  };
  const KINDS = ['document', 'worker', 'sharedworker'];
  const TRIED = 'fanlight:isolation';

  if (typeof window === 'undefined') asServiceWorker();
  else asScript();

  function asServiceWorker() {
    self.addEventListener('install', () => self.skipWaiting());
    self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
    self.addEventListener('fetch', (event) => {
      const { request } = event;
      const isOurs = new URL(request.url).origin === self.location.origin;
      if (isOurs && KINDS.includes(request.destination)) event.respondWith(fetch(request).then(isolated));
    });
  }

  function isolated(response) {
    if (response.type === 'opaque' || response.type === 'opaqueredirect' || response.type === 'error') return response;
    const headers = new Headers(response.headers);
    for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
    const { status, statusText } = response;
    return new Response(response.body, { status, statusText, headers });
  }

  async function asScript() {
    if (window.crossOriginIsolated || !window.isSecureContext || !navigator.serviceWorker) return;
    const script = document.currentScript?.src;
    if (!script) return;
    await navigator.serviceWorker.register(script);
    await navigator.serviceWorker.ready;
    // Once: a browser that does not isolate even so keeps the page as it is.
    if (sessionStorage.getItem(TRIED)) return;
    sessionStorage.setItem(TRIED, '1');
    location.reload();
  }
})();
