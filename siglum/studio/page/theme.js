// The light and the dark theme: the system's, or the one that was chosen.

import { byId } from "./dom.js";

/** Follow the theme and its button; `repaint()` paints canvases again. */
export function startTheme(repaint) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  if (localStorage.getItem("siglum.theme")) root.dataset.theme = localStorage.getItem("siglum.theme");
  system.addEventListener("change", repaint);
  byId("theme").addEventListener("click", () => {
    const current = root.dataset.theme ?? (system.matches ? "dark" : "light");
    root.dataset.theme = current === "dark" ? "light" : "dark";
    localStorage.setItem("siglum.theme", root.dataset.theme);
    repaint();
  });
}
