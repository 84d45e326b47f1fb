// What the views share. Names come from a stranger's file, so they are never set as HTML.

/** The pictures of buttons, in 18 by 18. */
const ICONS = {
  back: "M14 3v12L5 9zM3 3h2v12H3z",
  play: "M4 2l12 7-12 7z",
  pause: "M4 2h4v14H4zM10 2h4v14h-4z",
  forward: "M4 3v12l9-6zM13 3h2v12h-2z",
};

/** Make an element. `properties` are set, `children` are elements or texts. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Show one of `ICONS` in a button. */
function setIcon(button, name, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 18 18");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  button.replaceChildren(svg);
  button.setAttribute("aria-label", label);
  button.title = label;
}

/** Make a button with an icon. */
function makeButton(icon, label, onClick) {
  const button = element("button", { type: "button" });
  setIcon(button, icon, label);
  button.addEventListener("click", onClick);
  return button;
}

/** Escape a text that is drawn for the export as SVG: figpack writes it there as it is. */
function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => names[character]);
}
