// Security keys and passkeys. Where a browser can't or nobody wants to, a code from an app serves, without this file.
"use strict";
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function asked(options, making) {
  options.challenge = bytes(options.challenge);
  if (options.user) options.user.id = bytes(options.user.id);
  for (const one of [...(options.excludeCredentials || []), ...(options.allowCredentials || [])]) one.id = bytes(one.id);
  const made = await navigator.credentials[making ? "create" : "get"]({ publicKey: options });
  const response = { clientDataJSON: text(made.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (made.response[name]) response[name] = text(made.response[name]);
  }
  return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });
}

for (const form of document.querySelectorAll("form[data-key]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  const button = form.querySelector("button");
  button.addEventListener("click", async () => {
    if (!form.reportValidity()) return;
    button.disabled = true;
    try {
      form.elements.answer.value = await asked(JSON.parse(form.dataset.key), form.hasAttribute("data-making"));
      form.submit();
    } catch {
      button.disabled = false;
      form.querySelector("[role=status]").hidden = false;
    }
  });
}
