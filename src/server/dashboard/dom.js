
// The page: finding, building and changing its elements. Every text goes in as text, never as markup.

const byId = (id) => document.getElementById(id);

/** An element with properties (or attributes, where there is no such property) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Changes a text only if it is another one, so that nothing is laid out in vain. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Tells what came of a form; `bad` when it failed. */
function tell(output, text, bad = false) {
  output.dataset.state = bad ? "bad" : "good";
  setText(output, text);
}

/** Asks before something that cannot be undone. */
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
