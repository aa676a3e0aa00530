
const root = document.documentElement, button = document.getElementById("theme");
const dark = () => getComputedStyle(root).getPropertyValue("--dark").trim() === "1";
const tell = () => { button.textContent = dark() ? "Show light" : "Show dark"; };
button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; tell(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
button.hidden = false;
tell();
