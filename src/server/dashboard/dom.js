
// Finds, creates and changes elements. Texts are inserted as text, never as markup.

const byId = (id) => document.getElementById(id);

/** Creates an element with children. Names that are not properties become attributes. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Changes a text only if it differs, to avoid layout. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows the result of an action; `bad` if it failed. */
function showResult(output, text, bad = false) {
  output.dataset.state = bad ? "bad" : "good";
  setText(output, text);
}

/** Asks for confirmation. */
function confirmed(question, action) {
  const dialog = byId("confirm-dialog");
  setText(byId("confirm-text"), question);
  setText(byId("confirm-yes"), action);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
