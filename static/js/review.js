// The decision bar: panels open in place (without this file their buttons load ?panel=...), Ctrl Enter sends the open form,
// an edited value must be previewed again before it can be approved.
const bar = () => document.getElementById("decision");
const openPanel = () => bar()?.querySelector(".panel:not([hidden])");
const opener = (name) => bar().querySelector(`[data-panel-open="${name}"]`);

function show(name) {
  for (const panel of bar().querySelectorAll(".panel")) panel.hidden = panel.id !== `${name}-panel`;
  for (const button of bar().querySelectorAll("[data-panel-open]")) {
    button.setAttribute("aria-expanded", String(button.dataset.panelOpen === name));
  }
}

function open(name) {
  show(name);
  openPanel().querySelector("input:not([type=hidden]), textarea, select")?.focus();
}

function close() {
  const name = openPanel().id.replace("-panel", "");
  show("");
  opener(name)?.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-panel-open]");
  const cancel = event.target.closest("[data-panel-close]");
  if (!button && !cancel) return;
  event.preventDefault();
  if (button) open(button.dataset.panelOpen);
  else close();
});

document.addEventListener("keydown", (event) => {
  if (!bar() || event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && openPanel()) close();
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat) return;
  event.preventDefault();
  const panel = openPanel();
  const send = panel ? panel.querySelector(".acts .btn.approve:not(:disabled)") ?? panel.querySelector(".acts [type=submit]")
    : bar().querySelector(".choices .btn.approve");
  if (send?.checkVisibility()) send.click();
});

// What is approved is what was shown: a field that changed takes the approval away until the server has previewed it.
let previewing;
document.addEventListener("input", ({ target }) => {
  const preview = target.closest("#edit-panel form")?.querySelector("#edit-preview");
  if (!preview) return;
  preview.querySelector("[data-needs-preview]")?.setAttribute("disabled", "");
  clearTimeout(previewing);
  previewing = setTimeout(() => document.getElementById("edit-preview")?.dispatchEvent(new CustomEvent("preview")), 250);
});

document.addEventListener("live:request.changed", ({ detail }) => {
  const shown = document.querySelector("[data-review]");
  const notice = document.querySelector("[data-changed]");
  if (!notice || shown.dataset.review !== detail.id) return;
  notice.hidden = false;
  notice.querySelector("[data-changed-text]").textContent = detail.text ?? "";
  const text = `This request changed since you opened it. ${detail.text ?? ""}`;
  document.dispatchEvent(new CustomEvent("gatehouse:say", { detail: { text, urgent: true } }));
});
