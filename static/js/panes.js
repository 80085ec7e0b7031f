// Lists beside a detail: mark the open row, focus the new title, count what arrives.
const BATCH = 10_000; // at most one announcement in this time
let known = new Set(), fresh = 0, timer;

function mark() {
  for (const link of document.querySelectorAll("[data-list] a.t")) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function announce() {
  timer = undefined;
  const text = fresh === 1 ? "1 new request" : `${fresh} new requests`;
  fresh = 0;
  document.dispatchEvent(new CustomEvent("gatehouse:say", { detail: { text } }));
}

function count() {
  const rows = [...document.querySelectorAll("#queue-rows > li")], seen = new Set();
  for (const row of rows) {
    if (seen.has(row.id)) row.remove(); // a frame and a re-fetch can both bring the same request
    else if (known.size && !known.has(row.id) && !row.matches(".done")) fresh += 1;
    seen.add(row.id);
  }
  known = new Set([...known, ...seen]);
  if (fresh) timer ??= setTimeout(announce, BATCH);
}

document.addEventListener("htmx:after:settle", () => {
  count();
  mark();
});
// A new detail takes the focus to its title, unless something in it asked for the focus or the reader is elsewhere.
document.addEventListener("htmx:after:swap", ({ detail }) => {
  if (!detail.ctx.push && document.activeElement !== document.body) return;
  if (detail.ctx.select === "#detail") document.getElementById("title")?.focus({ preventScroll: true });
  mark();
});
count();
