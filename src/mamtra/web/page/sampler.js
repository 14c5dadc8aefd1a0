// Repetition-aware sampling: the ids that `mamtra.light.sampler` draws from the same logits and seed.

export function softmax(logits) {
  let largest = -Infinity, sum = 0;
  for (const x of logits) if (x > largest) largest = x;
  const powers = Float32Array.from(logits, x => Math.exp(Math.fround(x - largest)));
  for (const x of powers) sum += x;
  sum = Math.fround(sum);
  for (let i = 0; i < powers.length; i++) powers[i] /= sum;
  return powers;
}

/** The candidates, the most probable first: { probabilities, ids }. */
export function nucleus(logits, topP, topK) {
  const probabilities = softmax(logits), ids = [];
  for (let id = 0; id < probabilities.length; id++) {
    const p = probabilities[id];
    if (ids.length === topK && p <= probabilities[ids[topK - 1]]) continue;
    let place = ids.length;
    while (place && probabilities[ids[place - 1]] < p) place--;
    ids.splice(place, 0, id);
    if (ids.length > topK) ids.pop();
  }
  let before = 0, size = 0;
  for (const id of ids) {
    if (size && before >= topP) break;
    before += probabilities[id];
    size++;
  }
  return { probabilities: Float32Array.from(ids.slice(0, size), id => probabilities[id]), ids: ids.slice(0, size) };
}

/** Place of one of the weights, by a race of exponential waiting times. */
export function draw(weights, generator) {
  const times = generator.exponential(weights.length);
  let best = 0, most = -Infinity;
  for (let i = 0; i < weights.length; i++) {
    const rate = Math.fround(weights[i] / times[i]);
    if (rate > most) [best, most] = [i, rate];
  }
  return best;
}

/** Draw from the nucleus; where the result is among the latest ids, draw again from all other ids. */
export function rasSample(logits, history, generator, config) {
  const { probabilities, ids } = nucleus(logits, config.top_p, config.top_k);
  let token = ids[draw(probabilities, generator)];
  const window = config.win_size ? history.slice(-config.win_size) : [];
  if (window.filter(each => each === token).length >= Math.max(1, config.win_size * config.tau_r)) {
    const rest = Float32Array.from(logits);
    rest[token] = -Infinity;
    token = draw(softmax(rest), generator);
  }
  return token;
}

/** Exclude what the guards of `mamtra.models.sampling_config.GuardConfig` keep from coming next, in place. */
export function bar(logits, history, config) {
  const { most_repeats: repeats = 0, most_silence: silence = 0, silent_tokens: silent = [] } = config;
  const barred = [];
  if (repeats && history.length >= repeats && new Set(history.slice(-repeats)).size === 1) barred.push(history.at(-1));
  if (silence && history.length >= silence && history.slice(-silence).every(each => silent.includes(each))) barred.push(...silent);
  for (const token of barred) if (token < logits.length) logits[token] = -Infinity;
}
