// The picture of the samples.

const drawn = new WeakMap();

/** Draw what a player has, what was heard in another colour; nothing where the picture would be the same. */
export function drawWave(canvas, player, growing) {
  const scale = devicePixelRatio || 1, { rate, parts, samples } = player, style = getComputedStyle(document.body);
  const width = canvas.clientWidth * scale, height = canvas.clientHeight * scale, step = 3 * scale;
  const shown = Math.max(samples, growing ? 5 * rate : 1), heard = Math.min(1, player.at * rate / shown) * width;
  const accent = style.getPropertyValue("--accent"), soft = style.getPropertyValue("--soft");
  const what = [width, height, samples, shown, Math.ceil(heard / step), accent].join();
  if (drawn.get(canvas) === what) return;
  drawn.set(canvas, what);
  Object.assign(canvas, { width, height });
  const ink = canvas.getContext("2d");
  let part = 0, base = 0;
  for (let x = 0; x < width; x += step) {
    const end = Math.min(samples, (x + step) / width * shown);
    let peak = 0;
    for (let i = Math.floor(x / width * shown); i < end; i += 8) {
      while (part < parts.length && i - base >= parts[part].length) base += parts[part++].length;
      if (part < parts.length) peak = Math.max(peak, Math.abs(parts[part][i - base]));
    }
    ink.fillStyle = x < heard ? accent : soft;
    const tall = Math.max(scale, peak * height);
    ink.fillRect(x, (height - tall) / 2, step - scale, tall);
  }
}
