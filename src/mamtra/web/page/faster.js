// The GPU for the vocoder, where it gives the same samples sooner than the processor: measured on the machine itself.

const WARM = 60, LENGTHS = [46, 85, 134], ALIKE = .05;

/** Whether there is a GPU that onnxruntime-web can use beside WebAssembly without slowing it down. */
export async function hasGraphics() {
  if (!("gpu" in navigator) || !("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return Boolean(adapter && !adapter.info?.isFallbackAdapter);
}

/** Of two sessions the one to take: `plain`, or the one that `open` gives. Lengths that have not been seen before count, as those of
 *  hops do; one that fails or gives other samples is not taken.
 *  @param {(session, frames: number) => Promise<Float32Array>} run samples of so many frames
 *  @param {() => number} clock milliseconds */
export async function faster(plain, open, run, clock = () => performance.now()) {
  let other;
  const timed = async session => {
    await run(session, WARM);
    const begun = clock(), made = [];
    for (const frames of LENGTHS) made.push(await run(session, frames));
    return { spent: clock() - begun, made };
  };
  try {
    other = await open();
    const second = await timed(other), first = await timed(plain);
    if (second.spent < first.spent && first.made.every((samples, i) => alike(samples, second.made[i]))) {
      await plain.release();
      return other;
    }
  } catch (error) {
    console.warn("The GPU is not used:", error);
  }
  await other?.release();
  return plain;
}

function alike(samples, others) {
  let difference = 0, power = 0;
  samples.forEach((x, i) => {
    difference += (x - others[i]) ** 2;
    power += x ** 2;
  });
  return difference <= ALIKE ** 2 * power;
}
