// The conversation: Enter sends, the transcript follows its end only if the reader was there.
const NEAR = 80; // px from the end that still count as being there
const draft = () => document.getElementById("draft");
const turns = () => document.getElementById("turns");
let atEnd = true, busy = working();

function scroller() {
  const pane = document.getElementById("conversation");
  return pane && getComputedStyle(pane).overflowY === "auto" ? pane : document.scrollingElement;
}
function measure() {
  const box = scroller();
  atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
  const jump = document.querySelector("[data-jump]");
  if (jump) jump.hidden = atEnd;
}
function toEnd() {
  scroller().scrollTop = scroller().scrollHeight;
  measure();
}

function working() {
  return new Set([...document.querySelectorAll(".run[aria-busy=true]")].map((run) => run.id));
}
function announce() {
  const now = working();
  for (const id of busy) {
    const run = document.getElementById(id);
    if (now.has(id) || !run) continue;
    const count = [...run.querySelectorAll(".prose")].map((text) => text.textContent.trim()).join(" ").split(/\s+/).length;
    const by = run.querySelector(".turn:last-child .by b").textContent;
    const waits = run.querySelector(".call.wn");
    const text = waits ? `${by} waits for a review` : `Answer from ${by}, ${count} words`;
    document.dispatchEvent(new CustomEvent("gatehouse:say", { detail: { text } }));
  }
  busy = now;
}

function grow() {
  if (CSS.supports("field-sizing", "content") || !draft()) return;
  draft().rows = Math.min(12, Math.max(2, draft().value.split("\n").length));
}

document.addEventListener("keydown", (event) => {
  if (event.target !== draft() || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (draft().value.trim()) draft().form.requestSubmit(draft().form.querySelector("[data-send]"));
});
document.addEventListener("submit", (event) => {
  const send = event.target.closest("[data-composer]") && event.submitter?.closest("[data-send]");
  if (!send) return;
  if (send.getAttribute("aria-disabled") !== "true" && draft().value.trim()) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, { capture: true });
document.addEventListener("input", ({ target }) => target === draft() && grow());
document.addEventListener("click", ({ target }) => target.closest("[data-jump]") && toEnd());
document.addEventListener("scroll", measure, { capture: true, passive: true });

document.addEventListener("htmx:after:settle", () => {
  if (atEnd && turns()) toEnd();
  announce();
});
document.addEventListener("htmx:after:swap", ({ detail }) => {
  const { ctx } = detail;
  if (ctx.sourceElement?.id !== "composer" || !ctx.response || ctx.response.status >= 400) return;
  draft().value = "";
  document.getElementById("send-error").replaceChildren();
  grow();
  draft().focus();
  toEnd();
});

if (turns()) toEnd();
grow();
