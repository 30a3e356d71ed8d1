"use strict";
/* A map of galaxies: choose a mark, see its galaxy, and its neighbours in the whole space and on the map. */
{
  const data = play.read("play-map-data");
  const { classes, rows, labels, positions, inSpace, onMap, sheet, grid } = data;
  const root = document.getElementById("play-map");
  const hiddenClasses = new Set();
  const EDGE = 0.03 * grid; // so that marks at the border are not cut off
  const REACH = 28; // pixels from the pointer within which a mark is found
  let chosen = data.start;
  let kept = false; // A mark that was clicked stays until another one is.

  // The map

  const marks = labels.map((label, place) =>
    play.draw("path", { d: classes[label].shape, fill: classes[label].colour, class: "play-point", "data-place": place }),
  );
  const lines = play.draw("g", { class: "play-lines" });
  const rings = play.draw("g", { class: "play-rings" });
  const chart = play.draw(
    "svg",
    {
      class: "play-chart",
      viewBox: `${-EDGE} ${-EDGE} ${grid + 2 * EDGE} ${grid + 2 * EDGE}`,
      role: "application",
      tabindex: 0,
      "aria-label": `Map of ${rows.length} galaxies`,
      "aria-roledescription": "map",
      "aria-describedby": "play-map-keys",
    },
    ...marks,
    lines,
    rings,
  );
  chart.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !kept) choose(findMark(event));
  });
  chart.addEventListener("click", (event) => {
    const place = findMark(event);
    kept = place !== null;
    choose(place);
  });
  chart.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    kept = true;
    choose(step(direction));
  });

  /** The mark nearest to the pointer, if it is near: marks are small, and fingers are not. */
  function findMark(event) {
    const box = chart.getBoundingClientRect();
    const scale = (grid + 2 * EDGE) / box.width;
    const x = (event.clientX - box.left) * scale - EDGE;
    const y = (event.clientY - box.top) * scale - EDGE;
    const distance = (place) => Math.hypot(positions[place][0] - x, positions[place][1] - y);
    const nearest = shownPlaces().reduce((best, place) => (distance(place) < distance(best) ? place : best), chosen);
    return isShown(nearest) && distance(nearest) < REACH * scale ? nearest : null;
  }

  /** The next mark in a direction: near, and not far to the side. */
  function step([right, down]) {
    const [x, y] = positions[chosen];
    const price = (place) => {
      const forward = (positions[place][0] - x) * right + (positions[place][1] - y) * down;
      const aside = Math.abs((positions[place][0] - x) * down) + Math.abs((positions[place][1] - y) * right);
      return place !== chosen && forward > 0 && aside <= 2 * forward ? forward + 2 * aside : Infinity;
    };
    const best = shownPlaces().reduce((nearest, place) => (price(place) < price(nearest) ? place : nearest), chosen);
    return price(best) < Infinity ? best : null;
  }

  const isShown = (place) => !hiddenClasses.has(labels[place]);
  const shownPlaces = () => labels.map((_, place) => place).filter(isShown);

  /** Marks keep their size on the screen, however wide the map is. */
  function resize() {
    const width = chart.getBoundingClientRect().width || 500;
    const size = (Math.min(15, Math.max(10, width / 42)) * (grid + 2 * EDGE)) / width;
    marks.forEach((mark, place) => {
      mark.setAttribute("transform", `translate(${positions[place].join(" ")}) scale(${size})`);
    });
    chart.style.setProperty("--size", size);
    showLinks();
  }

  function showLinks() {
    const size = Number(chart.style.getPropertyValue("--size"));
    const [x, y] = positions[chosen];
    const ring = (place, kind, radius) => {
      const [cx, cy] = positions[place];
      return play.draw("circle", { cx, cy, r: radius * size, class: kind });
    };
    lines.replaceChildren(
      ...inSpace[chosen].map((place) => {
        const [x2, y2] = positions[place];
        // Up to the rings, not into them.
        const length = Math.hypot(x2 - x, y2 - y);
        const [start, end] = [1.15 * size, length - 0.95 * size].map((way) => way / length);
        const at = (share) => [x + share * (x2 - x), y + share * (y2 - y)];
        if (!(end > start)) return "";
        const [[x1, y1], [xEnd, yEnd]] = [at(start), at(end)];
        return play.draw("line", { x1, y1, x2: xEnd, y2: yEnd });
      }),
    );
    rings.replaceChildren(
      ...onMap[chosen].map((place) => ring(place, "play-on-map", 0.75)),
      ...inSpace[chosen].map((place) => ring(place, "play-in-space", 0.95)),
      ring(chosen, "play-chosen", 1.15),
    );
  }

  // The chosen galaxy and its neighbours

  const picture = play.make("span", { class: "play-picture play-large", role: "img" });
  const title = play.make("p", { class: "play-title", role: "status" });
  const spaceRow = play.make("ul", { class: "play-neighbours play-in-space" });
  const mapRow = play.make("ul", { class: "play-neighbours play-on-map" });
  const overlap = play.make("p", { class: "play-overlap" });

  function choose(place) {
    if (place === null || (place === chosen && title.textContent)) return;
    chosen = place;
    showChosen();
  }

  function showChosen() {
    play.show(picture, sheet, chosen);
    picture.setAttribute("aria-label", `The chosen galaxy, number ${rows[chosen]}`);
    title.replaceChildren(
      play.className(classes, labels[chosen]),
      play.make("small", {}, `galaxy ${rows[chosen]} of the data`),
    );
    spaceRow.replaceChildren(...inSpace[chosen].map(neighbour));
    mapRow.replaceChildren(...onMap[chosen].map(neighbour));
    const common = inSpace[chosen].filter((place) => onMap[chosen].includes(place)).length;
    const same = (places) => places.filter((place) => labels[place] === labels[chosen]).length;
    const number = inSpace[chosen].length;
    overlap.textContent =
      `${common} of ${number} ${common === 1 ? "is" : "are"} in both rows. The galaxy's own label is carried by ` +
      `${same(inSpace[chosen])} of ${number} in the whole space, and by ${same(onMap[chosen])} of ${number} on the map.`;
    marks.forEach((mark, place) => mark.classList.toggle("play-hidden", !isShown(place)));
    showLinks();
  }

  function neighbour(place) {
    const { name } = classes[labels[place]];
    const go = () => {
      kept = true;
      choose(place);
      chart.focus({ preventScroll: true }); // The button that was pressed is gone.
    };
    return play.make(
      "li",
      {},
      play.make(
        "button",
        { type: "button", onclick: go, "aria-label": `${name}, galaxy ${rows[place]}: choose it`, title: name },
        play.picture(sheet, place),
        play.make("span", { class: "play-class" }, play.mark(classes[labels[place]]), String(labels[place])),
      ),
    );
  }

  // The legend, which filters

  const numbers = classes.map((_, label) => labels.filter((other) => other === label).length);
  const present = classes.map((_, label) => label).filter((label) => numbers[label] > 0);
  const filters = present.map((label) =>
    play.make(
      "button",
      { type: "button", class: "play-filter", onclick: () => toggle(label) },
      play.className(classes, label, true),
      play.make("small", {}, String(numbers[label])),
    ),
  );
  const all = play.make("button", { type: "button", class: "play-filter", onclick: showAll }, "All");

  function toggle(label) {
    // The first click on a legend asks for one class; further clicks add and take away.
    if (hiddenClasses.size === 0) present.filter((other) => other !== label).forEach((other) => hiddenClasses.add(other));
    else if (!hiddenClasses.delete(label)) hiddenClasses.add(label);
    if (hiddenClasses.size === present.length) hiddenClasses.clear();
    showFilters();
  }

  function showAll() {
    hiddenClasses.clear();
    showFilters();
  }

  function showFilters() {
    filters.forEach((button, index) => button.setAttribute("aria-pressed", String(!hiddenClasses.has(present[index]))));
    all.setAttribute("aria-pressed", String(hiddenClasses.size === 0));
    if (!isShown(chosen)) chosen = shownPlaces()[0];
    showChosen();
  }

  const axis = (number) => `component ${number + 1}: ${play.percent(data.shares[number])} of the variance`;
  root.replaceChildren(
    play.make(
      "div",
      { class: "play-map" },
      play.make(
        "div",
        { class: "play-plot" },
        play.make("span", { class: "play-axis" }, `↑ ${axis(1)}`),
        chart,
        play.make("span", { class: "play-axis play-right" }, `${axis(0)} →`),
      ),
      play.make(
        "div",
        { class: "play-panel" },
        play.make("div", { class: "play-head" }, picture, title),
        play.make("p", { class: "play-sub" }, sample("play-in-space"), `Nearest in all ${data.dimensions} numbers`),
        spaceRow,
        play.make("p", { class: "play-sub" }, sample("play-on-map"), "Nearest on the map"),
        mapRow,
        overlap,
      ),
      play.make(
        "div",
        { class: "play-legend", role: "group", "aria-label": "Classes on the map" },
        all,
        ...filters,
      ),
      play.make(
        "p",
        { class: "play-keys", id: "play-map-keys" },
        "Hover over a mark, click or tap to keep it. With the keyboard, arrow keys go from mark to mark once the map has " +
          "the focus. A class in the legend shows it alone; more can be added.",
      ),
    ),
  );

  /** How a neighbour is marked on the map, beside the words for it. */
  function sample(kind) {
    const sign = play.draw("circle", { cx: 10, cy: 10, r: 7, class: kind });
    const line = play.draw("line", { x1: 17, y1: 10, x2: 28, y2: 10, class: "play-line" });
    const parts = kind === "play-in-space" ? [sign, line] : [sign];
    return play.draw("svg", { viewBox: "0 0 28 20", class: "play-sample", "aria-hidden": "true" }, ...parts);
  }

  showFilters();
  resize();
  new ResizeObserver(resize).observe(chart);
}
