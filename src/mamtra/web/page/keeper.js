// A service worker that keeps what was loaded, so that the page works offline, and that lets the page use threads.

const OURS = `mamtra ${self.registration.scope}`, NAME = OURS + new URL(self.location).searchParams.get("digest");
const LASTING = /[?]v=|\/(onnxruntime-web|pyodide)\//;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", event => event.waitUntil(takeOver()));
self.addEventListener("fetch", event => {
  const { request } = event, ours = request.url.startsWith(self.registration.scope);
  if (request.method === "GET" && ours) event.respondWith(answer(event));
});

/** Serve the pages that are open, and forget the files of an earlier folder. */
async function takeOver() {
  for (const name of await caches.keys()) if (name.startsWith(OURS) && name !== NAME) await caches.delete(name);
  await self.clients.claim();
}

/** Files of the voice and of the packages from the cache; those of the page itself from there only when there is no network. */
async function answer(event) {
  const { request } = event, cache = await caches.open(NAME);
  if (LASTING.test(request.url) && request.cache !== "reload") {
    const kept = await cache.match(request);
    if (kept) return isolated(kept);
  }
  try {
    const found = await fetch(request);
    if (found.status === 200) event.waitUntil(keep(cache, request, found.clone()));
    return isolated(found);
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
    if (kept) return isolated(kept);
    throw error;
  }
}

async function keep(cache, request, found) {
  try {
    await cache.put(request, found);
  } catch {
    for (const client of await self.clients.matchAll()) client.postMessage("full");
  }
}

/** With the headers that let a page share memory between threads. */
function isolated(found) {
  const headers = new Headers(found.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
