// Keep "14 min" and "6 min left" true. The server wrote the first value; the exact time is in datetime and title.
const EVERY = 10_000;

// Keep in step with in_words() in approvals/tenants/templatetags/interface.py.
function words(seconds) {
  const minutes = Math.max(0, Math.floor(seconds / 60));
  if (minutes < 1) return "under 1 min";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h`;
  return `${Math.floor(minutes / (24 * 60))} days`;
}

function update() {
  for (const time of document.querySelectorAll("time[data-time]")) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const text = words(time.dataset.time === "until" ? seconds : -seconds);
    if (time.textContent !== text) time.textContent = text;
  }
}

setInterval(update, EVERY);
