// Small helpers for elements. Text becomes text nodes, never markup.

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
export function signName(name) {
  return h("bdi", { class: [...name].length > 2 ? "sign word" : "sign", title: name }, name);
}

/** The same for attributes and options, with control characters. */
export const isolate = (name) => `\u2068${name}\u2069`;

/** Text of the server, in which names stand between isolating characters. */
export const serverText = (text) => h("span", { dir: "auto" }, text);

/** Show an error in an alert, or clear it. */
export function showError(id, error = null) {
  if (byId(id).textContent === (error?.message ?? "")) return;
  byId(id).replaceChildren(...(error ? [serverText(error.message)] : []));
}

/** Announce something to screen readers. */
export function announce(text) {
  byId("live").textContent = text;
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
      if (hadFocus) (child.matches("[tabindex]") ? child : child.querySelector("button"))?.focus();
    }
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of existing.values()) child.remove();
}

/** Fill a select with signs. */
export function setOptions(select, classes) {
  const options = classes.map(({ id, name }) => ({ id, name }));
  renderList(select, options, ({ id, name }) => h("option", { value: id }, id ? isolate(name) : name));
}

/** Replace the children of `root`, but keep focus and scroll position of elements with `data-keep`. */
export function replace(root, ...children) {
  const marked = () => [...root.querySelectorAll("[data-keep]")];
  const scrolled = new Map(marked().map((one) => [one.dataset.keep, one.scrollLeft]));
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
  root.replaceChildren(...children);
  for (const one of marked()) one.scrollLeft = scrolled.get(one.dataset.keep) ?? 0;
  if (focused === null) return;
  (marked().find((one) => one.dataset.keep === focused) ?? byId("main")).focus({ preventScroll: true });
}

/** Enable or disable a button; a disabled one keeps the focus. */
export const setEnabled = (button, enabled) => button.setAttribute("aria-disabled", !enabled);
export const isEnabled = (button) => button.getAttribute("aria-disabled") !== "true";

/** Listen to clicks, by element id. */
export function onClick(listeners) {
  for (const [id, listener] of Object.entries(listeners)) byId(id).addEventListener("click", listener);
}

/** Handle a form's submission in the page. */
export function onSubmit(id, listener) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    listener();
  });
}

/** A random id of 16 hexadecimal digits. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
