// Functions of a worker that another thread calls: each answers with a value, or with one after the other.

/** In the worker: answer calls of the functions by their names. A function gets its arguments and a signal that is aborted when
 *  the caller has had enough; generators answer with each value. Calls are answered one after the other. */
export function serve(functions) {
  const signals = new Map();
  let before = Promise.resolve();
  self.onmessage = ({ data: { call, name, given } }) => {
    if (name === null) {
      signals.get(call)?.abort();
      return;
    }
    const ends = new AbortController();
    signals.set(call, ends);
    before = before.then(async () => {
      try {
        if (ends.signal.aborted) throw new DOMException("Stopped.", "AbortError");
        const made = await functions[name](...given, ends.signal);
        if (made?.[Symbol.asyncIterator]) {
          for await (const value of made) self.postMessage({ call, value });
          self.postMessage({ call, done: true });
        } else {
          self.postMessage({ call, value: made, done: true });
        }
      } catch (error) {
        self.postMessage({ call, done: true, error: error.message || String(error), stopped: error.name === "AbortError" });
      }
      signals.delete(call);
    });
  };
}

/** Let messages arrive, and end where the signal says so. */
export async function breathe(signal) {
  await new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); resolve(); };
    port2.postMessage(0);
  });
  signal?.throwIfAborted();
}

/** In the other thread: the functions of a worker. */
export class Remote {
  constructor(address) {
    this.worker = new Worker(address, { type: "module" });
    this.calls = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data }) => this.calls.get(data.call)?.(data);
    this.worker.onerror = event => {
      const error = event.message || "a file of the page is missing";
      for (const answer of this.calls.values()) answer({ done: true, error: `The page could not start: ${error}.` });
    };
  }

  /** The answer of a function. */
  async ask(name, given = [], { transfer, signal } = {}) {
    let last;
    for await (const value of this.each(name, given, { transfer, signal })) last = value;
    return last;
  }

  /** The answers of a function one after the other; the call begins at once. */
  each(name, given = [], { transfer = [], signal } = {}) {
    const call = this.count++, arrived = [];
    let wake = () => {};
    this.calls.set(call, answer => { arrived.push(answer); wake(); });
    const stop = () => this.worker.postMessage({ call, name: null });
    signal?.addEventListener("abort", stop);
    this.worker.postMessage({ call, name, given }, transfer);
    return (async function* (remote) {
      try {
        for (;;) {
          while (arrived.length) {
            const { value, done, error, stopped } = arrived.shift();
            if (error) throw stopped ? new DOMException(error, "AbortError") : new Error(error);
            if (value !== undefined) yield value;
            if (done) return;
          }
          await new Promise(resolve => { wake = resolve; });
        }
      } finally {
        remote.calls.delete(call);
        signal?.removeEventListener("abort", stop);
        stop();
      }
    })(this);
  }
}
