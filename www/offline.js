// The service worker, which keeps the page itself for visits without the network. The model is kept by the package.

/** Registers it where there is one; without it, everything but that works. */
export function setUpOffline() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return; // a page that did not come over https, or from this machine
  serviceWorker
    .register('sw.js')
    .then(() => serviceWorker.ready)
    .then(({ active }) => {
      // What comes before the worker can see it: above all the engine that this browser uses.
      const observer = new PerformanceObserver((list) => {
        const came = list.getEntries().map(({ name }) => name);
        active?.postMessage({ keep: came.filter((url) => url.startsWith(new URL('.', document.baseURI).href)) });
      });
      observer.observe({ type: 'resource', buffered: true });
    })
    .catch(() => {}); // refused: private windows and the like
}
