// How numbers are said.

/** A probability in [0, 1] as a whole percentage; never 0 or 100 where it is neither. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1\u00a0%";
  if (share < 1 && share >= 0.995) return "> 99\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
}

/** "9 of 10 right; with so few, the true rate is between 60 and 98 %". */
export function rate({ hits, total, low, high }) {
  const few = total < 30 ? "with so few, the" : "the";
  const [from, to] = [Math.round(100 * low), Math.round(100 * high)];
  return `${hits} of ${total} right; ${few} true rate is between ${from} and ${to}\u00a0%`;
}
