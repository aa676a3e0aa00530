// Making elements. Text goes in as text nodes and nowhere as markup.

export const byId = (id) => document.getElementById(id);

/** Make an element: `on...` are listeners, true and false set or leave out an attribute. */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** The name of a sign, kept apart from the direction of the words around it. */
export function sign(name) {
  return make("bdi", { class: [...name].length > 2 ? "sign word" : "sign", title: name }, name);
}

/** A name for attributes and options, where there are no elements: the same by control characters. */
export const isolated = (name) => `\u2068${name}\u2069`;

/** Show words that the server said, of which names stand between isolating characters. */
export function said(words) {
  return make("span", { dir: "auto" }, words);
}

/** Say something to who listens. */
export function tell(text) {
  byId("live").textContent = text;
}

/** Make the children of `parent` those of `items`, keeping what is already there for a key. */
export function keyed(parent, items, key, create, update) {
  const held = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = held.get(name);
    held.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of held.values()) child.remove();
}

/** Put in new children, and leave alone what has the focus and how far anything is scrolled: by `data-stay`. */
export function renew(root, ...children) {
  const marked = () => [...root.querySelectorAll("[data-stay]")];
  const scrolled = new Map(marked().map((one) => [one.dataset.stay, one.scrollLeft]));
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.stay : null;
  root.replaceChildren(...children);
  for (const one of marked()) one.scrollLeft = scrolled.get(one.dataset.stay) ?? 0;
  if (focused === null) return;
  const again = marked().find((one) => one.dataset.stay === focused) ?? byId("main");
  again.focus({ preventScroll: true });
}

/** Say that a button has something to do, or nothing; it keeps the focus. */
export function able(button, so) {
  button.setAttribute("aria-disabled", !so);
}

/** Call when nothing has asked for it any more for `wait` ms. */
export function settled(action, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(action, wait, ...values);
  };
}

/** A random id of 16 hex digits. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
