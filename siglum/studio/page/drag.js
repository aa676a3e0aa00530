// Dragging samples with mouse or pen to another row. A finger scrolls; it chooses by touching.

const FAR = 6; // px before a press becomes a drag
const EDGE = 64; // px from the window's edges within which a drag scrolls
const SPEED = 12; // px a frame

/**
 * Make `[data-sample]` elements of a sheet draggable to `[data-group]` elements.
 *
 * `press(id)` when it was no drag, `dropped(id, group)` when it was, and `picked(id)` says
 * how many go with it.
 */
export function dragging(sheet, { press, dropped, picked }) {
  let drag = null; // {id, pointer, x, y, ghost, over}

  function over(x, y) {
    return document.elementFromPoint(x, y)?.closest("[data-group]") ?? null;
  }

  function mark(group) {
    if (drag.over === group) return;
    drag.over?.classList.remove("over");
    group?.classList.add("over");
    drag.over = group;
  }

  function begin(element) {
    const ghost = element.cloneNode(true);
    ghost.className = "ghost-sample";
    ghost.removeAttribute("data-sample");
    ghost.setAttribute("aria-hidden", "true");
    const many = picked(drag.id);
    if (many > 1) ghost.lastElementChild.textContent = String(many);
    document.body.append(ghost);
    drag.ghost = ghost;
    scroll();
  }

  function scroll() {
    if (!drag?.ghost) return;
    if (drag.y < EDGE) scrollBy(0, -SPEED);
    else if (drag.y > innerHeight - EDGE) scrollBy(0, SPEED);
    mark(over(drag.x, drag.y));
    requestAnimationFrame(scroll);
  }

  function end() {
    drag?.ghost?.remove();
    drag?.over?.classList.remove("over");
    drag = null;
  }

  sheet.addEventListener("pointerdown", (event) => {
    const element = event.target.closest("[data-sample]");
    if (!element || event.button !== 0 || drag) return;
    drag = { id: element.dataset.sample, element, pointer: event.pointerId, touch: event.pointerType === "touch",
      startX: event.clientX, startY: event.clientY, x: event.clientX, y: event.clientY };
  });
  addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.pointer || drag.touch) return;
    [drag.x, drag.y] = [event.clientX, event.clientY];
    if (!drag.ghost && Math.hypot(drag.x - drag.startX, drag.y - drag.startY) > FAR) begin(drag.element);
    if (!drag.ghost) return;
    event.preventDefault();
    drag.ghost.style.transform = `translate(${drag.x}px, ${drag.y}px)`;
    mark(over(drag.x, drag.y));
  });
  addEventListener("pointerup", (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const { id, ghost, element } = drag;
    const group = ghost && over(event.clientX, event.clientY)?.dataset.group;
    const still = Math.hypot(event.clientX - drag.startX, event.clientY - drag.startY) <= FAR;
    end();
    if (group) dropped(id, group);
    else if (!ghost && still) {
      element.focus();
      press(id);
    }
  });
  addEventListener("pointercancel", end);
  sheet.addEventListener("click", (event) => {
    const element = event.target.closest("[data-sample]");
    if (element && event.detail === 0) press(element.dataset.sample); // by voice or a screen reader
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") end();
  });
}
