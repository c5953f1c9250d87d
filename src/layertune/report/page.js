
"use strict";
// Without this script a browser shows each point's title instead, and exports are copied by hand.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");  // a point's name says the same
document.body.append(tip);

function show(mark) {
  const at = mark.getBoundingClientRect();
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  tip.style.left = "0px";
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
  const below = at.bottom + 8 + tip.offsetHeight < window.innerHeight;
  const top = below ? at.bottom + 8 : Math.max(8, at.top - tip.offsetHeight - 8);
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${top + window.scrollY}px`;
}

function hide() {
  tip.hidden = true;
}

for (const title of document.querySelectorAll(".mark > title")) {
  const mark = title.parentNode;
  mark.setAttribute("aria-label", title.textContent);
  if (mark.localName === "g") mark.setAttribute("role", "img");
  title.remove();
  mark.addEventListener("pointerenter", () => show(mark));
  mark.addEventListener("pointerleave", hide);
  if (mark.localName === "a") {  // a listener on any other element of a figure would make it a stop of Tab, too
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("blur", hide);
  }
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

for (const text of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(text);
    let copied = true;
    try { await navigator.clipboard.writeText(text.textContent); } catch { copied = document.execCommand("copy"); }
    button.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
  });
  text.before(button);
}

// Paper has nothing to click on, and nothing to copy from.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open], .to-copy)")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
