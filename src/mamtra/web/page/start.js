// What must be so before anything is loaded: a browser that can compute, and a service worker that keeps the files.

/** A module of one function with a SIMD instruction. */
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
const TRIED = "mamtra-isolated", PATIENCE = 5000;

export function checkBrowser() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD)) {
    throw new Error("This browser has no WebAssembly SIMD, which the voice needs; use a current Firefox, Chrome, Edge or Safari.");
  }
}

/** Have files kept; at the first visit the page is loaded once more, so that all of it is kept and it gets threads. Where files
 *  cannot be kept the page works without.
 *  @param {string} digest of the folder: files of another one are forgotten
 *  @param {() => void} full called when there is no room for them */
export async function keepFiles(digest, full) {
  const keeper = navigator.serviceWorker;
  if (!keeper) return;
  const before = keeper.controller;
  keeper.addEventListener("message", ({ data }) => { if (data === "full") full(); });
  try {
    const address = new URL(`keeper.js?digest=${digest}`, import.meta.url).href;
    const taken = new Promise(resolve => {
      keeper.addEventListener("controllerchange", resolve, { once: true });
      setTimeout(resolve, PATIENCE); // a page that was reloaded past all caches is not taken over
    });
    await keeper.register(address);
    if (keeper.controller?.scriptURL !== address) await taken;
  } catch {
    return; // a private window, or a browser that is told to keep nothing
  }
  if (!(before && crossOriginIsolated) && !sessionStorage.getItem(TRIED)) {
    sessionStorage.setItem(TRIED, "1");
    location.reload();
    await new Promise(() => {});
  }
}

/** Threads for flow and vocoder, beside that of the language model. */
export function countThreads() {
  return crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1)) : 1;
}
