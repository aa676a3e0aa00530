// Ink that the server computed, on canvases in the colours of the page.

const shown = new Map(); // canvas -> {ink, heat, side}

/** The red, green and blue of a colour of the page. */
export function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
}

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Show what a network sees (base64 of side x side bytes), and over it what mattered. */
export function showInk(canvas, { ink, heat, side }) {
  shown.set(canvas, { ink: bytes(ink), heat: heat ? bytes(heat) : null, side });
  paint(canvas);
}

export function clearInk(canvas) {
  shown.delete(canvas);
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

function paint(canvas) {
  const { ink, heat, side } = shown.get(canvas);
  const [paper, pen, hot] = ["--card", "--ink", "--accent"].map(colour);
  const picture = new ImageData(side, side);
  for (let pixel = 0; pixel < side * side; pixel++) {
    // Under a heat map ink is paler, so that the one hue over it is the strongest thing.
    const dark = (ink[pixel] / 255) * (heat ? 0.45 : 1);
    const warm = heat ? 0.9 * (heat[pixel] / 255) : 0;
    for (let part = 0; part < 3; part++) {
      const below = paper[part] + dark * (pen[part] - paper[part]);
      picture.data[4 * pixel + part] = below + warm * (hot[part] - below);
    }
    picture.data[4 * pixel + 3] = 255;
  }
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** Paint again in the colours that hold now. */
export function repaint() {
  for (const canvas of shown.keys()) paint(canvas);
}
