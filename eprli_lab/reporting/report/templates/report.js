"use strict";
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
const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const from = button.querySelector("img"), to = large.querySelector("img");
    to.src = from.src;
    to.alt = from.alt;
    large.showModal();
  });
}
large.querySelector(".close").addEventListener("click", () => large.close()); // no form: MLflow's frame forbids them
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", (event) => { // MLflow's frame refuses to follow even a link to a place in the page
    event.preventDefault();
    document.getElementById(link.getAttribute("href").slice(1)).scrollIntoView();
  });
}
