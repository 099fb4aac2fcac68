// Everything works without this file. It saves a press of a button where a choice can only mean one thing,
// and keeps a form from being sent twice by an impatient finger.
"use strict";
for (const form of document.querySelectorAll("form[data-auto]")) {
  for (const field of form.querySelectorAll("select")) field.addEventListener("change", () => form.requestSubmit());
}
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("button")) setTimeout(() => (button.disabled = true), 0);
  });
}
document.getElementById("problems")?.focus();
for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
