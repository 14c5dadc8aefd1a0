// Whether a run of the language model read the whole text once, see `mamtra.synthesis.coverage`.

const REACHED = 0.5, MOST_LEFT_OUT = 3.2, MOST_SAID_TWICE = 5, SHORTEST = 0.85, APART = 3, SETTLED = 5;

/** How many text ids a run left out, said twice or is too short for, 0 for a run that is as it should be.
 *  @param {Float32Array[] | null} attention to the text ids at each token
 *  @param {boolean} ended whether the run is complete
 *  @param {number[] | null} pace tokens that a text takes: for each text id, and besides */
export function misread(attention, ended, pace = null) {
  if (!attention) return 0;
  const short = ended && pace ? countTooShort(attention.length, attention[0].length, pace) : 0;
  if (!ended) {
    const seen = Math.min(...attention.slice(-SETTLED).map(largest)) + 1;
    attention = attention.map(row => row.subarray(0, seen));
  }
  const out = longestLeftOut(attention), twice = countSaidTwice(attention);
  return (out > MOST_LEFT_OUT ? out : 0) + (twice > MOST_SAID_TWICE ? twice : 0) + short;
}

function countTooShort(tokens, ids, [each, besides]) {
  return tokens < SHORTEST * (each * ids + besides) ? ids - (tokens - besides) / each : 0;
}

export function longestLeftOut(attention) {
  let longest = 0, stretch = 0;
  for (let id = 0; id < attention[0].length; id++) {
    const missing = 1 - attention.reduce((most, row) => Math.max(most, row[id]), 0) / REACHED;
    stretch = missing > 0 ? stretch + missing : 0;
    longest = Math.max(longest, stretch);
  }
  return longest;
}

export function countSaidTwice(attention) {
  const before = new Map(), twice = new Set();
  attention.map(largest).forEach((place, token) => {
    if (before.has(place) && token - before.get(place) > APART) twice.add(place);
    before.set(place, token);
  });
  return twice.size;
}

function largest(row) {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
}
