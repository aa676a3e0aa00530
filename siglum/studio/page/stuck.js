// Drawings that were refused, or drawn for another folder: a person says what becomes of them.

import { byId, isolated, keyed, make, said } from "./dom.js";
import { layStroke } from "./pen.js";
import { classOf, now, onState } from "./state.js";
import { forget, onUnsent, send, stuck } from "./unsent.js";
import { count } from "./words.js";

const SIDE = 128; // px of the picture, shown at half that

function card({ key, drawing }) {
  const canvas = make("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": "The drawing" });
  const context = canvas.getContext("2d");
  context.fillStyle = context.strokeStyle = getComputedStyle(document.body).color;
  for (const stroke of drawing.strokes) layStroke(context, stroke, SIDE, SIDE);
  const select = make("select", { id: "stuck-as" });
  const settle = (action) => (event) => {
    event.preventDefault();
    action();
    byId("main").focus();
  };
  const again = () => {
    const { why, ...entry } = stuck().find((one) => one.key === key);
    send({ ...entry, class: select.value });
  };
  return make("div", {}, canvas, make("p", { role: "alert" }),
    make("form", { class: "tools", onsubmit: settle(again) },
      make("label", { for: "stuck-as" }, "Keep it as"), select,
      make("button", {}, "Keep"),
      make("button", { type: "button", onclick: settle(() => forget(key)) }, "Throw it away")));
}

function update(item, { class: meant, why, many }) {
  const words = item.querySelector("p");
  if (words.textContent !== many + why) words.replaceChildren(many, said(why));
  const select = item.querySelector("select");
  const fresh = !select.options.length;
  keyed(select, now().classes, ({ id }) => id, ({ id }) => make("option", { value: id }), (option, { name }) => {
    option.textContent = isolated(name);
  });
  if (fresh && classOf(meant)) select.value = meant;
}

function render() {
  const every = now() ? stuck() : [];
  const many = `${count(every.length, "drawing")} ${every.length === 1 ? "is" : "are"} not kept. `;
  keyed(byId("stuck"), every.slice(0, 1).map((one) => ({ ...one, many })), ({ key }) => key, card, update);
}

export function startStuck() {
  onUnsent(render);
  onState(render);
}
