// The text front end in a Python that runs in WebAssembly.

import { LetterToSound } from "./letter_to_sound.js";
import { Tensors } from "./tensors.js";

const MODEL = ["text.json", "tokenizer.json", "lexicon.txt.xz"];

export class Reader {
  /** @param python Pyodide
   *  @param {Record<string, ArrayBuffer>} files of the text front end by their names, and text.zip */
  constructor(python, files) {
    python.unpackArchive(files["text.zip"], "zip", { extractDir: "/package" });
    python.FS.mkdirTree("/model");
    for (const name of MODEL) python.FS.writeFile(`/model/${name}`, new Uint8Array(files[name]));
    python.runPython("import sys; sys.path.insert(0, '/package'); sys.dont_write_bytecode = True");
    this.module = python.pyimport("mamtra.web.text_in_page");
    const network = new LetterToSound(new Tensors(files["letter_to_sound.safetensors"]));
    const find = letters => network.classes(letters.toJs());
    this.reader = this.module.open_reader("/model", find, python.toPy(network.sounds));
  }

  /** Segments of a text one after the other: { text, ids, pause, written }; the last has { left_out } alone, what could not be read. */
  *segments(text) {
    let reading;
    try {
      reading = this.module.Reading(this.reader, text);
      for (let segment; ;) {
        segment = JSON.parse(reading.take());
        yield segment;
        if ("left_out" in segment) return;
      }
    } catch (error) {
      throw new Error(/MamTraError: (.*)\s*$/.exec(error.message)?.[1] || error.message);
    } finally {
      reading?.destroy();
    }
  }
}
