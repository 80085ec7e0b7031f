// The connection and what is said about it. Frames are hints, the server is the truth: after every connection, and every
// 15 s while there is none, the page asks again (`live:refresh`). Other modules speak through `gatehouse:say` on document.
const POLL = 15_000, PATIENCE = 10_000;
const WORDS = { live: "Live", reconnecting: "Reconnecting", offline: "Offline" };
const STOPPED = { 4401: "signed-out", 4403: "no-access" };
let polling, lost;

const socket = () => document.getElementById("live");
const refresh = () => document.dispatchEvent(new CustomEvent("live:refresh"));

function reconnect() {
  if (socket()) htmx.process(socket(), true);
}

function say(text, urgent = false) {
  const region = document.getElementById(urgent ? "warn" : "say");
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50); // an empty region first, or the same words are not read twice
}

function toast(text) {
  const line = document.createElement("p");
  line.className = "toast";
  line.textContent = text;
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), 8_000);
}

function show(state) {
  for (const chip of document.querySelectorAll("[data-live]")) {
    chip.hidden = false;
    chip.dataset.state = state;
    chip.querySelector("[data-live-word]").textContent = WORDS[state];
  }
  clearInterval(polling);
  if (state !== "live") polling = setInterval(() => document.hidden || refresh(), POLL);
  if (state === "live") {
    clearTimeout(lost);
    lost = undefined;
  } else {
    lost ??= setTimeout(() => say("Connection lost. The page still asks for news every 15 seconds.", true), PATIENCE);
  }
}

function stop(dialog) {
  show("offline");
  clearInterval(polling);
  clearTimeout(lost);
  document.getElementById(dialog)?.showModal();
}

document.addEventListener("htmx:ws:after:connection", () => {
  show("live");
  refresh();
});
document.addEventListener("htmx:ws:close", ({ detail }) => {
  if (detail.reason === "removed") return; // the element left the page, not the connection
  if (detail.code in STOPPED) stop(STOPPED[detail.code]);
  else show(detail.connection.config.reconnectCodes.includes(detail.code) && navigator.onLine ? "reconnecting" : "offline");
});
// A part the page does not have yet (a turn begun elsewhere): instead of swapping into nothing, the page asks for all of it.
document.addEventListener("htmx:ws:before:message:incoming", ({ detail }) => {
  const whole = detail.message.json().then((frame) => {
    detail.cancelled = Boolean(frame.target) && !document.querySelector(frame.target);
    if (detail.cancelled && frame.target.startsWith("#turn-")) refresh();
  });
  detail.waitUntil(whole.catch(() => undefined));
});
// A frame {"event": "request.changed", ...} becomes the event `live:request.changed` on document, and what it changes speaks
// for itself; {"say": "..."} alone is read out.
document.addEventListener("htmx:ws:after:message:incoming", async ({ detail }) => {
  const frame = await detail.message.json().catch(() => null);
  if (frame?.event) document.dispatchEvent(new CustomEvent(`live:${frame.event}`, { detail: frame }));
  else if (frame?.say) say(frame.say);
});
window.addEventListener("offline", () => socket() && show("offline"));
// The old socket may have outlived the gap or be dead without knowing it: a new one tells.
window.addEventListener("online", reconnect);

document.addEventListener("gatehouse:say", ({ detail }) => {
  say(detail.text, detail.urgent);
  if (detail.toast) toast(detail.text);
});
document.addEventListener("gatehouse:signed-out", () => stop("signed-out"));

// Signed in again in another tab: coming back to this one closes the dialog and connects anew.
let signingIn = false;
document.addEventListener("click", ({ target }) => (signingIn ||= Boolean(target.closest("[data-reconnect]"))));
window.addEventListener("focus", () => {
  if (!signingIn) return;
  signingIn = false;
  document.getElementById("signed-out")?.close();
  reconnect();
});

for (const part of document.querySelectorAll("[data-script]")) part.hidden = false;
for (const line of document.querySelectorAll("#toasts .toast")) setTimeout(() => line.remove(), 8_000);
