// The parts of the voice from the files of the folder.

import { faster } from "./faster.js";
import { Flow } from "./flow.js";
import { LM } from "./lm.js";
import { Sound } from "./sound.js";
import { Tensors } from "./tensors.js";
import { Vocoder } from "./vocoder.js";

/** @param ort the module of onnxruntime-web
 *  @param {Record<string, ArrayBuffer>} files by their names
 *  @param about onnx.json with `config` and `reach`, see `mamtra.web.site`
 *  @param {boolean} graphics whether the vocoder may be computed by the GPU */
export class Parts {
  constructor(ort, files, about, graphics = false) { Object.assign(this, { ort, files, about, graphics }); }

  session(graph, provider = "wasm") {
    const { weights } = this.about.graphs[graph];
    return this.ort.InferenceSession.create(new Uint8Array(this.files[`${graph}.onnx`]), {
      executionProviders: [provider],
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
    const vocoder = new Vocoder(this.ort, ofWave, weights, config.vocoder, reach), plain = ofWave.wave;
    if (this.graphics) ofWave.wave = await faster(plain, () => this.session("wave", "webgpu"), vocoder.trial());
    const sound = new Sound(flow, vocoder, config.sample_rate);
    sound.device = ofWave.wave === plain ? "WebAssembly" : "WebGPU";
    return sound;
  }
}
