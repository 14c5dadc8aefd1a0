// The language model over its graph, and the state of a sequence that it decodes, see `mamtra.light.lm`.

const MORE = 128;
const TABLES = { text: "model.embed_tokens.weight", speech: "speech_embedding.weight", marks: "llm_embedding.weight" };

export class LM {
  /** @param ort the module of onnxruntime-web
   *  @param session of the graph
   *  @param graph inputs and outputs, from onnx.json
   *  @param {import("./tensors.js").Tensors} weights
   *  @param config section of config.json
   *  @param generation settings of the sampler */
  constructor(ort, session, graph, weights, config, generation) {
    this.ort = ort;
    this.session = session;
    this.config = config;
    this.generation = generation;
    this.states = Object.entries(graph.inputs).filter(([name]) => graph.outputs["new." + name]);
    this.head = "query" in graph.outputs ? generation.alignment_head : null;
    this.tables = Object.fromEntries(Object.entries(TABLES).map(([kind, name]) => [kind, weights.values(name)]));
  }

  /** Rows of a table one after the other. */
  embed(kind, ids) {
    const width = this.config.hidden_size, rows = new Float32Array(ids.length * width);
    ids.forEach((id, i) => rows.set(this.tables[kind].subarray(id * width, (id + 1) * width), i * width));
    return rows;
  }
}

export class LMState {
  constructor(lm) {
    this.lm = lm;
    this.length = this.capacity = 0;
    this.queries = [];
    this.feeds = {};
    this.makeRoom(1);
  }

  /** Run more inputs, (L, hidden_size) one after the other; logits of what follows. */
  async extend(rows) {
    const { ort, config, session } = this.lm, count = rows.length / config.hidden_size;
    this.length += count;
    if (this.length > this.capacity) this.makeRoom(this.length);
    this.feeds.x = new ort.Tensor("float32", rows, [1, count, config.hidden_size]);
    this.feeds.after = new ort.Tensor("int32", Int32Array.of(this.length - 1), [1]);
    this.feeds.total = new ort.Tensor("int32", Int32Array.of(this.length), []);
    const made = await session.run(this.feeds);
    for (const [name] of this.lm.states) this.feeds[name] = made["new." + name];
    if (made.query) this.queries.push(made.query.data);
    return made.logits.data;
  }

  /** Attention of the head that is followed to positions from `first` to before `last`, a row for each call so far. */
  attention(first, last) {
    const { head, config } = this.lm, dim = config.head_dim, half = dim / 2, { cos, sin } = this.feeds;
    const group = Math.floor(head[1] * config.num_key_value_heads / config.num_attention_heads);
    const keys = this.feeds[`key.${head[0]}`].data.subarray(group * this.capacity * dim);
    const begin = this.length - this.queries.length;
    return this.queries.map((query, row) => {
      const at = begin + row, turned = new Float32Array(dim), scores = new Float32Array(at + 1);
      for (let i = 0; i < half; i++) {
        const c = cos.data[at * half + i], s = sin.data[at * half + i];
        turned[i] = query[i] * c - query[half + i] * s;
        turned[half + i] = query[half + i] * c + query[i] * s;
      }
      let most = -Infinity, sum = 0;
      for (let key = 0; key <= at; key++) {
        let score = 0;
        for (let i = 0; i < dim; i++) score += turned[i] * keys[key * dim + i];
        scores[key] = score / Math.sqrt(dim);
        most = Math.max(most, scores[key]);
      }
      for (let key = 0; key <= at; key++) sum += scores[key] = Math.exp(scores[key] - most);
      return scores.slice(first, last).map(weight => weight / sum);
    });
  }

  /** States for more positions: new ones, or the present ones with zeros behind them. */
  makeRoom(positions) {
    const { ort, config, states } = this.lm, before = this.capacity, half = config.head_dim / 2;
    this.capacity = Math.ceil(positions / MORE + .5) * MORE;
    for (const [name, { shape }] of states) {
      if (before && !shape.includes("capacity")) continue;
      const sizes = shape.map(size => ({ B: 1, capacity: this.capacity })[size] ?? size);
      const wider = new Float32Array(sizes.reduce((a, b) => a * b, 1));
      const [, groups, , dim] = sizes;
      for (let group = 0; before && group < groups; group++) {
        const old = this.feeds[name].data.subarray(group * before * dim, (group + 1) * before * dim);
        wider.set(old, group * this.capacity * dim);
      }
      this.feeds[name] = new ort.Tensor("float32", wider, sizes);
    }
    const cos = new Float32Array(this.capacity * half), sin = new Float32Array(this.capacity * half);
    for (let i = 0; i < half; i++) {
      const frequency = Math.fround(config.rope_theta ** -Math.fround(2 * i / config.head_dim));
      for (let at = 0; at < this.capacity; at++) {
        const angle = Math.fround(at * frequency);
        cos[at * half + i] = Math.cos(angle);
        sin[at * half + i] = Math.sin(angle);
      }
    }
    this.feeds.cos = new ort.Tensor("float32", cos, [this.capacity, half]);
    this.feeds.sin = new ort.Tensor("float32", sin, [this.capacity, half]);
  }
}
