// The picture of the samples.

/** Draw what a player has, what was heard in another colour. */
export function drawWave(canvas, player, growing) {
  const ink = canvas.getContext("2d"), scale = devicePixelRatio || 1, { rate, parts, samples } = player;
  const width = canvas.width = canvas.clientWidth * scale, height = canvas.height = canvas.clientHeight * scale;
  const style = getComputedStyle(document.body), shown = Math.max(samples, growing ? 5 * rate : 1), step = 3 * scale;
  const heard = player.at * rate / shown * width;
  let part = 0, base = 0;
  for (let x = 0; x < width; x += step) {
    const end = Math.min(samples, (x + step) / width * shown);
    let peak = 0;
    for (let i = Math.floor(x / width * shown); i < end; i += 8) {
      while (part < parts.length && i - base >= parts[part].length) base += parts[part++].length;
      if (part < parts.length) peak = Math.max(peak, Math.abs(parts[part][i - base]));
    }
    ink.fillStyle = style.getPropertyValue(x < heard ? "--accent" : "--soft");
    const tall = Math.max(scale, peak * height);
    ink.fillRect(x, (height - tall) / 2, step - scale, tall);
  }
}
