// Strokes on a canvas, as a pen of the server's width lays them.

export const WIDTH = 1 / 40; // of a line at middle pressure, in longer sides of the pad
const [LIGHT, HARD] = [0.75, 1.25]; // of that width, at no pressure and at full pressure

/** Draw one stroke of [x, y, t, pressure] on a context whose pad is width x height pixels. */
export function layStroke(context, stroke, width, height) {
  const middle = WIDTH * Math.max(width, height);
  const at = stroke.map(([x, y, , pressure]) => ({
    x: x * width,
    y: y * height,
    broad: middle * (LIGHT + (HARD - LIGHT) * pressure),
  }));
  const [first] = at;
  context.beginPath();
  context.arc(first.x, first.y, first.broad / 2, 0, 2 * Math.PI);
  context.fill();
  context.lineCap = context.lineJoin = "round";
  // From middle to middle, bent at each point: smooth however few points a browser gives.
  let from = first;
  for (let index = 1; index < at.length; index++) {
    const [point, next] = [at[index], at[index + 1]];
    const to = next ? { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 } : point;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.quadraticCurveTo(point.x, point.y, to.x, to.y);
    context.lineWidth = (at[index - 1].broad + point.broad) / 2;
    context.stroke();
    from = to;
  }
}
