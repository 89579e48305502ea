"use strict";
// The page is whole without this: it only finds and orders rows.
const tools = document.querySelector(".tools");
const lists = [...document.querySelectorAll(".rows")];
if (tools && lists.length) {
  const [find, sort] = [tools.querySelector("input"), tools.querySelector("select")];
  const count = tools.querySelector("output");
  const show = () => {
    const wanted = find.value.toLowerCase();
    let shown = 0;
    for (const list of lists)
      for (const item of list.children) {
        item.hidden = !item.dataset.name.includes(wanted);
        shown += !item.hidden;
      }
    for (const fold of document.querySelectorAll(".fold.stable")) if (wanted) fold.open = true;
    count.textContent = wanted ? `${shown} found` : "";
  };
  const order = () => {
    const key = sort.value;
    const by = (a, b) => key === "name" ? a.dataset.name.localeCompare(b.dataset.name) : a.dataset[key] - b.dataset[key];
    for (const list of lists) list.append(...[...list.children].sort(by));
  };
  find.addEventListener("input", show);
  sort.addEventListener("change", order);
  tools.hidden = false;
}
const open = () => {
  const row = document.getElementById(location.hash.slice(1));
  for (let at = row; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (row && row.tagName === "DETAILS") row.scrollIntoView();
};
addEventListener("hashchange", open);
open();
