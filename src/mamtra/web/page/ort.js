// onnxruntime-web for this thread.

import * as ort from "./onnxruntime-web/ort.wasm.min.mjs";

/** @param {ArrayBuffer} wasm its WebAssembly
 *  @param {number} threads to compute with */
export function openRuntime(wasm, threads) {
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = new URL("onnxruntime-web/", import.meta.url).href;
  return ort;
}
