// The files of the voice: loaded with progress, and checked by their hashes.

export class Files {
  /** @param about site.json
   *  @param {(loaded: number) => void} progress told how many bytes have been loaded so far */
  constructor(about, progress) { Object.assign(this, { about, progress, loaded: 0 }); }

  /** Content of a file by its path. One that does not belong here is fetched once more, past all caches. */
  async get(path) {
    const { bytes, sha256 } = this.about.files[path], before = this.loaded;
    for (const cache of ["default", "reload"]) {
      const content = await this.fetch(path, sha256, cache);
      if (content.byteLength === bytes && [sha256, null].includes(await hash(content))) return content;
      this.loaded = Math.min(before, this.loaded);
    }
    throw new Error(`${path} does not belong to this page; write the folder again with mamtra web.`);
  }

  async fetch(path, sha256, cache) {
    // the npm packages load their own files, by their plain addresses
    const address = path.startsWith("model/") || path === "text.zip" ? `${path}?v=${sha256.slice(0, 16)}` : path;
    let answer;
    try {
      answer = await fetch(address, { cache });
    } catch {
      throw new Error(`${path} could not be loaded; check the connection and load the page again.`);
    }
    if (!answer.ok) throw new Error(`The server answered ${answer.status} for ${path}; write the folder again with mamtra web.`);
    const parts = [];
    for (const reader = answer.body.getReader(); ;) {
      const { value, done } = await reader.read();
      if (done) break;
      parts.push(value);
      this.progress(this.loaded += value.length);
    }
    return new Blob(parts).arrayBuffer();
  }
}

/** SHA-256 in hexadecimal; null where the browser computes none, on pages without https. */
async function hash(content) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, byte => byte.toString(16).padStart(2, "0")).join("");
}
