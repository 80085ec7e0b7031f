// What to do with answers that are not the expected page. htmx 4 swaps 4xx and 5xx too; here they swap only where the
// element says so (hx-status:409, :422). Elements with data-quiet ask by themselves and so fail in silence.
const tell = (text) => document.dispatchEvent(new CustomEvent("gatehouse:say", { detail: { text, urgent: true, toast: true } }));
const quiet = (element) => element?.closest?.("[data-quiet]");
const EXPECTED = [409, 422];

function refused(status) {
  if (status === 403) return "You may not do this. Nothing was changed.";
  if (status === 404) return "This no longer exists. Nothing was changed.";
  if (status === 429) return "Too many requests. Wait a moment, then try again.";
  return `The server answered with an error (${status}). Load the page again before you repeat this.`;
}

document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  if (!ctx.response) return; // a frame of the socket
  const { status, raw } = ctx.response;
  const signIn = document.body.dataset.signIn;
  if (status === 401 || (raw.redirected && new URL(raw.url).pathname === signIn)) {
    event.preventDefault();
    document.dispatchEvent(new CustomEvent("gatehouse:signed-out"));
  } else if (status >= 400 && !EXPECTED.includes(status)) {
    event.preventDefault();
    if (!quiet(ctx.sourceElement)) tell(refused(status));
  } else if (ctx.select && tasks.some((task) => task.type === "main" && !task.fragment.childElementCount)) {
    event.preventDefault(); // not a part of this page: after a redirect, go there
    if (quiet(ctx.sourceElement)) return;
    if (raw.redirected) location.assign(raw.url);
    else tell(refused(status));
  }
});

document.addEventListener("htmx:error", ({ detail }) => {
  if (detail.ctx && !detail.ctx.response && !quiet(detail.ctx.sourceElement)) {
    tell("No answer from the server. What you typed is still here; load the page again to see whether it arrived.");
  }
});

// Signing in anew, in any tab, changes the token that older pages carry in their forms.
document.addEventListener("submit", ({ target }) => {
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1];
  const field = target.querySelector("[name=csrfmiddlewaretoken]");
  if (token && field) field.value = token;
}, { capture: true });
