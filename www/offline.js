// The service worker, which keeps the page itself for visits without the network. The model is kept by the package.

/** Registers it where there is one; without it, everything but that works. */
export function setUpOffline() {
  // None for a page that did not come over https, or from this machine. Refused in private windows and the like.
  navigator.serviceWorker?.register('sw.js').then(keep).catch(() => {});
}

/** @param {ServiceWorkerRegistration} registration */
async function keep({ waiting }) {
  const { serviceWorker } = navigator;
  // A new release came with an earlier visit. It can begin now, as long as nothing was done here.
  if (waiting && serviceWorker.controller && !navigator.userActivation?.hasBeenActive) {
    serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true });
    waiting.postMessage({ takeOver: true });
  }
  const { active } = await serviceWorker.ready;
  // What comes before the worker can see it: above all the engine that this browser uses.
  const observer = new PerformanceObserver((list) => {
    const came = list.getEntries().map(({ name }) => name);
    active?.postMessage({ keep: came.filter((url) => url.startsWith(new URL('.', document.baseURI).href)) });
  });
  observer.observe({ type: 'resource', buffered: true });
}
