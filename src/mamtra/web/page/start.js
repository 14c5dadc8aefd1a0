// What must be so before anything is loaded: a browser that can compute, and a service worker that keeps the files.

/** A module of one function with a SIMD instruction. */
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
const TRIED = "mamtra-isolated";

export function checkBrowser() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD)) {
    throw new Error("This browser has no WebAssembly SIMD, which the voice needs; use a current Firefox, Chrome, Edge or Safari.");
  }
}

/** Have files kept; the page is loaded once more where that gives it threads. Where they cannot be kept the page works without.
 *  @param {() => void} full called when there is no room for them */
export async function keepFiles(full) {
  const keeper = navigator.serviceWorker;
  if (!keeper) return;
  keeper.addEventListener("message", ({ data }) => { if (data === "full") full(); });
  try {
    await keeper.register("keeper.js");
    await keeper.ready;
  } catch {
    return; // a private window, or a browser that is told to keep nothing
  }
  if (!crossOriginIsolated && !sessionStorage.getItem(TRIED)) {
    sessionStorage.setItem(TRIED, "1");
    location.reload();
    await new Promise(() => {});
  }
}

/** Threads for flow and vocoder, beside that of the language model. */
export function countThreads() {
  return crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1)) : 1;
}
