// The theme, without loading the page again. The form works without this file; the server writes data-theme either way.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-theme-form]");
  if (!form) return;
  event.preventDefault();
  const theme = event.submitter.value, before = document.documentElement.dataset.theme;
  wear(form, theme);
  const answer = await fetch(form.action, {
    method: "POST", body: new FormData(form, event.submitter), redirect: "manual", headers: { "HX-Request": "true" },
  }).catch(() => null);
  if (!answer || answer.status >= 400) wear(form, before);
});

function wear(form, theme) {
  document.documentElement.dataset.theme = theme;
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === theme));
}
