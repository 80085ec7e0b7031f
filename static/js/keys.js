// Keys. A control names its own key (data-key="r", data-key="g q", data-key-label), so a key exists exactly where its
// control does, and `?` lists what works here. Silent while typing and in dialogs. No single key approves: the tests say so.
const OFF = "gatehouse-keys-off", PAUSE = 1_000; // ms between the two keys of a sequence
let first = "", since = 0;

const typing = (element) => element.closest("input, textarea, select, [contenteditable]");
const visible = (element) => element.checkVisibility();
const controls = () => [...document.querySelectorAll("[data-key]")];

function press(control) {
  if (control.matches("textarea, input")) control.focus();
  else control.click();
}

function move(step) {
  const links = [...document.querySelectorAll("[data-list] a.t")].filter(visible);
  if (!links.length) return false;
  const here = links.findIndex((link) => link === document.activeElement);
  const open = links.findIndex((link) => link.hasAttribute("aria-current"));
  const from = here >= 0 ? here : open;
  links[Math.min(links.length - 1, Math.max(0, from < 0 ? 0 : from + step))].focus();
  return true;
}

function list() {
  const target = document.querySelector("[data-keys]");
  const shown = new Map([["Next, previous in a list", ["j", "k"]]]);
  for (const control of controls()) if (visible(control)) shown.set(control.dataset.keyLabel, [control.dataset.key]);
  if (document.querySelector("#decision")) shown.set("Approve, or send the open form", ["Ctrl Enter"]);
  shown.set("This list", ["?"]);
  target.replaceChildren();
  for (const [label, keys] of shown) {
    const term = document.createElement("dt"), value = document.createElement("dd");
    term.textContent = label;
    for (const key of keys.flatMap((each) => each.split(" "))) {
      const cap = document.createElement("kbd");
      cap.textContent = key.length === 1 ? key.toUpperCase() : key;
      value.append(cap);
    }
    target.append(term, value);
  }
  document.getElementById("keys").showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (typing(event.target) || document.querySelector("dialog[open]") || localStorage.getItem(OFF)) return;
  if (event.key === "?" && document.getElementById("keys")) return list();
  const pair = event.timeStamp - since < PAUSE ? `${first} ${event.key}` : "";
  [first, since] = [event.key, event.timeStamp];
  const control = controls().find((each) => each.dataset.key === pair && visible(each))
    ?? controls().find((each) => each.dataset.key === event.key && visible(each));
  if (control) {
    event.preventDefault();
    press(control);
  } else if ((event.key === "j" && move(1)) || (event.key === "k" && move(-1))) event.preventDefault();
});

document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-open=keys]")) list();
});
const single = document.querySelector("[data-single-keys]");
if (single) {
  single.checked = !localStorage.getItem(OFF);
  single.addEventListener("change", () => (single.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
}
