"use strict";
/* What the interactive pages share. */

const play = {
  /** Return what a <script type="application/json"> holds. */
  read(id) {
    return JSON.parse(document.getElementById(id).textContent);
  },

  /** Make an element. `on…` attributes are listeners, `false` and `null` are left out, children are elements or texts. */
  make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  },

  /** The same for a drawing. */
  draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  },

  /** The mark of a class, as in the book's figures. */
  mark(galaxyClass) {
    const shape = play.draw("path", { d: galaxyClass.shape, fill: galaxyClass.colour });
    const attributes = { viewBox: "-0.62 -0.62 1.24 1.24", class: "play-mark", "aria-hidden": "true" };
    return play.draw("svg", attributes, shape);
  },

  /** Mark, number and name of a class. */
  className(classes, label, short = false) {
    const name = short ? classes[label].short : classes[label].name;
    return play.make("span", { class: "play-class" }, play.mark(classes[label]), `${label} ${name}`);
  },

  /**
   * Show one picture of a sheet in an element that is a square.
   * `zoom` 2 shows its central half.
   */
  show(element, sheet, place, zoom = 1) {
    const rows = Math.ceil(sheet.count / sheet.columns);
    const margin = (zoom - 1) / 2;
    const share = (index, number) => {
      const hidden = number * zoom - 1;
      return hidden > 0 ? (100 * (index * zoom + margin)) / hidden : 50;
    };
    const column = place % sheet.columns;
    const row = Math.floor(place / sheet.columns);
    element.style.backgroundImage = `url("${sheet.source}")`;
    element.style.backgroundSize = `${100 * sheet.columns * zoom}% ${100 * rows * zoom}%`;
    element.style.backgroundPosition = `${share(column, sheet.columns)}% ${share(row, rows)}%`;
  },

  /** A picture of a sheet. Without a description it is decoration: the text beside it says what it is. */
  picture(sheet, place, description = null, zoom = 1) {
    const role = description === null ? { "aria-hidden": "true" } : { role: "img", "aria-label": description };
    const element = play.make("span", { class: "play-picture", ...role });
    play.show(element, sheet, place, zoom);
    return element;
  },

  percent: (share) => `${Math.round(100 * share)}\u00a0%`,
};
