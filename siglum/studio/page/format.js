// Numbers as text.

/** A share of 0 to 1 as a whole percentage; 0 and 100 only where it is exact. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1\u00a0%";
  if (share < 1 && share >= 0.995) return "> 99\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}

export function count(number, singular, plural = `${singular}s`) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? singular : plural}`;
}

/** "9 of 10 recognised. Too few to be sure (60 to 98 %)." */
export function accuracy({ hits, total, low, high }) {
  const interval = `${Math.round(100 * low)} to ${Math.round(100 * high)}\u00a0%`;
  const result = `${hits} of ${total} recognised`;
  return total < 30 ? `${result}. Too few to be sure (${interval}).` : `${result} (${interval}).`;
}
