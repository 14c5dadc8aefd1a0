// onnxruntime-web for this thread.

/** @param {ArrayBuffer} wasm its WebAssembly
 *  @param {number} threads to compute with
 *  @param {boolean} graphics with WebGPU beside WebAssembly */
export async function openRuntime(wasm, threads, graphics = false) {
  const ort = await import(`./onnxruntime-web/ort.${graphics ? "jspi" : "wasm"}.min.mjs`);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = new URL("onnxruntime-web/", import.meta.url).href;
  return ort;
}

/** The file of its WebAssembly. */
export function wasmPath(graphics) {
  return `onnxruntime-web/ort-wasm-simd-threaded${graphics ? ".jspi" : ""}.wasm`;
}
