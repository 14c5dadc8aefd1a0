// The parts of the voice from the files of the folder.

import { Flow } from "./flow.js";
import { LM } from "./lm.js";
import { Sound } from "./sound.js";
import { Tensors } from "./tensors.js";
import { Vocoder } from "./vocoder.js";

/** @param ort the module of onnxruntime-web
 *  @param {Record<string, ArrayBuffer>} files by their names
 *  @param about onnx.json with `config` and `reach`, see `mamtra.web.site`
 *  @param {Record<string, string[]>} [providers] of sessions that are not to compute in WebAssembly, by the names of the graphs */
export class Parts {
  constructor(ort, files, about, providers = {}) { Object.assign(this, { ort, files, about, providers }); }

  session(graph) {
    const { weights } = this.about.graphs[graph];
    return this.ort.InferenceSession.create(new Uint8Array(this.files[`${graph}.onnx`]), {
      executionProviders: this.providers[graph] || ["wasm"],
      externalData: [{ path: weights, data: new Uint8Array(this.files[weights]) }],
      logSeverityLevel: 3,
    });
  }

  async lm() {
    const { graphs, config, generation } = this.about, weights = new Tensors(this.files[graphs.lm.weights]);
    return new LM(this.ort, await this.session("lm"), graphs.lm, weights, config.lm, generation);
  }

  async sound() {
    const { graphs, config, generation, reach } = this.about;
    const sessions = { encoder: await this.session("flow_encoder"), step: await this.session("flow_step") };
    const ofFlow = { encoder: graphs.flow_encoder, step: graphs.flow_step };
    const flow = new Flow(this.ort, sessions, ofFlow, config.flow, generation.flow_steps);
    const ofWave = { pitch: await this.session("pitch"), wave: await this.session("wave") };
    const weights = new Tensors(this.files[graphs.wave.weights]);
    return new Sound(flow, new Vocoder(this.ort, ofWave, weights, config.vocoder, reach), config.sample_rate);
  }
}
