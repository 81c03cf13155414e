"use strict";
document.documentElement.dataset.js = "";
for (const box of document.querySelectorAll("[data-sortable]")) {
  const body = box.querySelector("tbody");
  const heads = [...box.querySelectorAll("thead th")];
  const key = (row, i) => row.cells[i].dataset.key ?? row.cells[i].textContent;
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows];
      const numbers = rows.every((r) => key(r, i) === "" || !Number.isNaN(Number(key(r, i))));
      rows.sort((a, b) => {
        const x = key(a, i), y = key(b, i);
        if (x === "" || y === "") return (x === "") - (y === ""); // what is missing comes last, both ways
        return (up ? 1 : -1) * (numbers ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true }));
      });
      body.append(...rows);
    });
  });
  const input = box.querySelector("input[type=search]");
  input?.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) {
      const text = (row.textContent + " " + (row.dataset.runs ?? "")).toLowerCase();
      row.hidden = !words.every((w) => text.includes(w));
    }
  });
}
const said = document.getElementById("said");
async function copy(text) { // false: not even the old way works here
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // no permission, or a frame that forbids it
    const area = document.createElement("textarea");
    area.value = text;
    area.style.cssText = "position:fixed;opacity:0";
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus();
    return done;
  }
}
for (const button of document.querySelectorAll(".copy button")) {
  const format = button.textContent;
  button.addEventListener("click", async () => {
    const done = await copy(button.nextElementSibling.content.textContent);
    said.textContent = "";
    said.textContent = done ? `The table is in the clipboard as ${format}.` : "The browser does not let this page copy.";
    button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = format; }, 1600);
  });
}
const root = document.documentElement, theme = document.getElementById("theme");
const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const named = () => { theme.textContent = isDark() ? "Light colours" : "Dark colours"; };
theme.hidden = false;
named();
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  named();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", named);
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", (event) => { // MLflow's frame refuses to follow even a link to a place in the page
    event.preventDefault();
    document.getElementById(link.getAttribute("href").slice(1)).scrollIntoView();
  });
}
