// The thread of the text front end.

import { breathe, serve } from "./remote.js";
import { Reader } from "./text.js";

let reader;

serve({
  async open(files) {
    const { loadPyodide } = await import("./pyodide/pyodide.mjs");
    reader = new Reader(await loadPyodide({ indexURL: new URL("pyodide/", import.meta.url).href }), files);
  },
  /** Segments of a text, see text.js. */
  async *segments(text, signal) {
    for (const segment of reader.segments(text)) {
      yield segment;
      await breathe(signal);
    }
  },
});
