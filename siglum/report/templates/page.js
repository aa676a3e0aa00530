
const root = document.documentElement, button = document.getElementById("theme");
const dark = () => getComputedStyle(root).getPropertyValue("--dark").trim() === "1";
const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
button.hidden = false;
label();
