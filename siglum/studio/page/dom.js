// Small helpers for elements and text. Text becomes text nodes, never markup.

const STEADY = 1000; // ms
export const MAX_NAMES = 3; // of the signs that a drawing may be, when the recogniser is not sure
export const byId = (id) => document.getElementById(id);

/** Create an element. `on...` props are listeners; true and false set or omit an attribute. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** The name of a sign, isolated from the text direction around it. */
export const signName = (name) => h("bdi", { class: [...name].length > 2 ? "sign word" : "sign", title: name }, name);

/** The same for attributes and options, with control characters. */
export const isolate = (name) => `\u2068${name}\u2069`;

/** A picture of a drawing, which is inverted in the dark theme unless it is a photo. */
export function thumbnail({ id, photo: isPhoto }, alt = "a drawing") {
  const src = `/api/drawings/${id}.png`;
  return h("img", { src, alt, class: isPhoto ? "" : "ink-image", width: 48, height: 48, draggable: "false" });
}

/** Text of the server, in which names stand between isolating characters. */
export const serverText = (text) => h("span", { dir: "auto" }, text);

/** Show an error in an alert, or clear it. */
export function showError(id, error = null) {
  if (byId(id).textContent === (error?.message ?? "")) return;
  byId(id).replaceChildren(...(error ? [serverText(error.message)] : []));
}

/** Announce something to screen readers. */
export const announce = (text) => (byId("live").textContent = text);

let [steadyKey, steadyTimer] = ["", 0];

/** Announce `text()` once `key` has stayed the same for a second, as answers follow the pen and the camera. */
export function announceSteady(key, text = () => key) {
  if (key === steadyKey) return;
  steadyKey = key;
  clearTimeout(steadyTimer);
  if (key) steadyTimer = setTimeout(() => announce(text()), STEADY);
}

/** Show `items` in `parent`: one element for each id, which is rendered again when its item changes. */
export function renderList(parent, items, render) {
  const existing = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const [key, version] = [String(item.id), JSON.stringify(item)];
    let child = existing.get(key);
    existing.delete(key);
    if (child?.dataset.version !== version) {
      const hadFocus = child?.contains(document.activeElement);
      const next = render(item);
      Object.assign(next.dataset, { key, version });
      child?.replaceWith(next);
      child = next;
      if (hadFocus) child.querySelector("[tabindex], button")?.focus();
    }
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of existing.values()) child.remove();
}

export function setOptions(select, classes) {
  const options = classes.map(({ id, name }) => ({ id, name }));
  renderList(select, options, ({ id, name }) => h("option", { value: id }, id ? isolate(name) : name));
}

/** Enable or disable a button; a disabled one keeps the focus. */
export const setEnabled = (button, enabled) => button.setAttribute("aria-disabled", !enabled);

/** Listen to clicks, by element id. */
export function onClick(listeners) {
  for (const [id, listener] of Object.entries(listeners)) byId(id).addEventListener("click", listener);
}

/** Run an action, and show its error in an alert. */
export async function attempt(errorId, action) {
  showError(errorId);
  try {
    await action();
  } catch (error) {
    showError(errorId, error);
  }
}

/** Handle a form's submission in the page. */
export function onSubmit(id, errorId, listener) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(errorId, listener);
  });
}

export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A share of 0 to 1 as a whole percentage; 0 and 100 only where it is exact. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1\u00a0%";
  if (share < 1 && share >= 0.995) return "> 99\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}

export const count = (number, noun) => `${number.toLocaleString("en-GB")} ${noun}${number === 1 ? "" : "s"}`;

export const words = (...parts) => h("span", { class: "words" }, parts);

function listNames(names) {
  return names.flatMap((name, index) => {
    const separator = index === names.length - 1 ? " or " : ", ";
    return index ? [separator, signName(name)] : [signName(name)];
  });
}

/** The headline of a prediction: the most probable sign, else the `names` of those that it may be, or `rejection`. */
export function headline([best, ...others], names, rejection) {
  if (rejection) {
    const closest = [best, ...others].slice(0, 2).map(({ name }) => name);
    const mark = h("span", { class: "mark", "aria-hidden": "true" }, "?");
    return [mark, words(rejection), h("span", { class: "quiet" }, "Closest: ", listNames(closest))];
  }
  if (names.length > MAX_NAMES) return [words("Not sure")];
  if (names.length > 1) return [words("Not sure: ", ...listNames(names), "?")];
  return [h("span", { class: "large" }, signName(best.name)), h("span", { class: "share" }, percent(best.probability))];
}

/** "9 of 10 recognised. Too few to be sure (60 to 98 %)." */
export function accuracy({ hits, total, low, high }) {
  const interval = `${Math.round(100 * low)} to ${Math.round(100 * high)}\u00a0%`;
  const result = `${hits} of ${total} recognised`;
  return total < 30 ? `${result}. Too few to be sure (${interval}).` : `${result} (${interval}).`;
}
