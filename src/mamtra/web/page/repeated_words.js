// Words that come again, set apart, see `mamtra.synthesis.repeated_words`.

const LEAST = 3;

/** What the language model reads in an attempt: { ids, own }, the places in it of the ids of the text, null for all.
 *  @param {number[] | null} marks ids of opening and closing quotation mark and of the gap between words */
export function reading(ids, attempt, marks) {
  return attempt && marks ? setApart(ids, marks) : { ids, own: null };
}

export function setApart(ids, [opening, closing, gap]) {
  const parts = [], count = new Map(), read = [], own = [];
  ids.forEach((id, place) => {
    if (!place || (id > gap) !== (ids[place - 1] > gap)) parts.push([]);
    parts.at(-1).push(id);
  });
  for (const part of parts) count.set(part.join(), (count.get(part.join()) || 0) + 1);
  for (const part of parts) {
    const quoted = part[0] > gap && part.length >= LEAST && count.get(part.join()) > 1;
    if (quoted) read.push(opening);
    for (const id of part) own.push(read.push(id) - 1);
    if (quoted) read.push(closing);
  }
  return { ids: read, own };
}
