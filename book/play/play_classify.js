"use strict";
/* You classify: twenty galaxies, the reader's answers beside the survey's labels and a network's answers. */
{
  const data = play.read("play-classify-data");
  const { classes, galaxies, sheet, network } = data;
  const root = document.getElementById("play-classify");
  const count = galaxies.length;
  const storageKey = `galaxies-classified-${data.key}`;
  let answers = [];
  let zoom = 2;
  let hints = !window.matchMedia("(max-width: 575px)").matches; // On a phone, picture and answers fit on one screen.

  // Progress is kept where the browser allows it; private windows and some local files do not.
  function remember() {
    try {
      localStorage.setItem(storageKey, JSON.stringify(answers));
    } catch {
      /* The page works without it. */
    }
  }

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(storageKey));
      const sound = Array.isArray(kept) && kept.length <= count && kept.every((answer) => classes[answer]);
      return sound ? kept : [];
    } catch {
      return [];
    }
  }

  // The question: made once, so that the focus stays where it is from galaxy to galaxy.

  const picture = play.make("span", { class: "play-picture play-large", role: "img" });
  const progress = play.make("progress", { max: count, value: 0, "aria-label": "Galaxies answered" });
  const counter = play.make("p", { class: "play-counter", role: "status" });
  const zoomButton = play.make("button", { type: "button", class: "play-button", onclick: toggleZoom });
  const backButton = play.make("button", { type: "button", class: "play-button", onclick: goBack }, "Back");
  const hintsButton = play.make("button", { type: "button", class: "play-button", onclick: toggleHints }, "Hints");
  const choices = classes.map(({ name, hint }, label) =>
    play.make(
      "button",
      { type: "button", class: "play-choice", onclick: () => answer(label) },
      label < 10 ? play.make("kbd", { "aria-hidden": "true" }, String(label)) : null,
      play.make("span", {}, play.make("strong", {}, name), hint ? play.make("small", {}, hint) : null),
    ),
  );
  const question = play.make(
    "div",
    { class: "play-question" },
    play.make("div", { class: "play-progress" }, counter, progress),
    play.make("div", { class: "play-look" }, picture, play.make("div", { class: "play-row" }, zoomButton, backButton)),
    play.make(
      "div",
      { class: "play-answer" },
      play.make("div", { class: "play-choices", role: "group", "aria-label": "Which class is it?" }, ...choices),
      classes.some(({ hint }) => hint) ? play.make("div", { class: "play-row" }, hintsButton) : null,
      play.make(
        "p",
        { class: "play-keys" },
        "With the keyboard, once something in this box has the focus: ",
        play.make("kbd", {}, "0"),
        " to ",
        play.make("kbd", {}, String(Math.min(9, classes.length - 1))),
        " answer, ",
        play.make("kbd", {}, "Z"),
        " changes the view, ",
        play.make("kbd", {}, "←"),
        " goes back.",
      ),
    ),
  );
  const result = play.make("div", { class: "play-result", hidden: true });
  root.tabIndex = -1; // A click on the picture gives the box the focus, and thereby the keys.
  root.replaceChildren(question, result);
  root.addEventListener("keydown", pressKey);

  function pressKey(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !result.hidden) return;
    if (/^[0-9]$/.test(event.key) && classes[event.key]) answer(Number(event.key));
    else if (event.key.toLowerCase() === "z") toggleZoom();
    else if (event.key === "ArrowLeft" || event.key === "Backspace") goBack();
    else return;
    event.preventDefault();
  }

  function answer(label) {
    answers.push(label);
    remember();
    showState();
    if (answers.length === count) result.querySelector("h3").focus();
  }

  function goBack() {
    if (answers.length === 0) return;
    answers.pop();
    remember();
    showState();
  }

  function toggleZoom() {
    zoom = zoom === 2 ? 1 : 2;
    showState();
  }

  function toggleHints() {
    hints = !hints;
    showState();
  }

  function startAgain() {
    answers = [];
    remember();
    showState();
    root.focus();
    root.scrollIntoView({ block: "start" });
  }

  function showState() {
    const done = answers.length === count;
    question.hidden = done;
    result.hidden = !done;
    if (done) {
      showResult();
      return;
    }
    const number = answers.length + 1;
    play.show(picture, sheet, answers.length, zoom);
    picture.setAttribute("aria-label", `Galaxy ${number}, ${zoom === 2 ? "central half of the" : "whole"} cut-out`);
    counter.textContent = `Galaxy ${number} of ${count}`;
    progress.value = answers.length;
    zoomButton.textContent = zoom === 2 ? "Whole cut-out" : "Central half";
    hintsButton.textContent = hints ? "Hide hints" : "What to look for";
    question.classList.toggle("play-no-hints", !hints);
    // Not `disabled`: that would take the focus away from whoever goes back to the first galaxy.
    backButton.setAttribute("aria-disabled", String(answers.length === 0));
  }

  // The result

  /** 95 % interval of a share, Wilson's: it stays between 0 and 1, also for few galaxies. */
  function wilson(right, number) {
    const z = 1.959964;
    const share = right / number;
    const scale = 1 + (z * z) / number;
    const centre = share + (z * z) / (2 * number);
    const reach = z * Math.sqrt((share * (1 - share)) / number + (z * z) / (4 * number * number));
    return [(centre - reach) / scale, (centre + reach) / scale];
  }

  /** How often a fair coin, thrown `number` times, is at least as far from half as `heads`. */
  function coin(heads, number) {
    const least = Math.max(heads, number - heads);
    let term = 1; // Binomial coefficient of `thrown`.
    let sum = 0;
    for (let thrown = 0; thrown <= number; thrown += 1) {
      if (thrown >= least) sum += term;
      term = (term * (number - thrown)) / (thrown + 1);
    }
    return Math.min(1, (2 * sum) / 2 ** number);
  }

  function showResult() {
    const yours = galaxies.map((galaxy, place) => answers[place] === galaxy.label);
    const networks = galaxies.map((galaxy) => galaxy.answer === galaxy.label);
    const right = yours.filter(Boolean).length;
    const networkRight = networks.filter(Boolean).length;
    const [mean, low, high] = network.accuracy;
    result.replaceChildren(
      play.make("h3", { tabindex: -1 }, `You agree with the survey on ${right} of ${count}`),
      play.make(
        "div",
        { class: "play-scores" },
        score("You", `${right} of ${count}`, right / count, wilson(right, count)),
        score("The network", `${networkRight} of ${count}`, networkRight / count, wilson(networkRight, count)),
        score(`The network on all ${network.tested} test galaxies`, "", mean, [low, high]),
        play.make("div", { class: "play-scale", "aria-hidden": "true" }, ...["0 %", "50 %", "100 %"].map(scaleMark)),
      ),
      play.make("p", {}, compare(yours, networks)),
      play.make("h3", {}, "What you took for what"),
      confusionMatrix(),
      play.make("h3", {}, "Look again"),
      ...gallery(yours, networks),
      play.make(
        "p",
        { class: "play-row" },
        play.make("button", { type: "button", class: "play-button play-main", onclick: startAgain }, "Start again"),
      ),
    );
  }

  function score(who, number, share, [low, high]) {
    const bar = play.make("span", { class: "play-bar", "aria-hidden": "true" });
    bar.append(
      play.make("span", { class: "play-band", style: `left:${100 * low}%;width:${100 * (high - low)}%` }),
      play.make("span", { class: "play-dot", style: `left:${100 * share}%` }),
    );
    const interval = `95 % interval ${Math.round(100 * low)} to ${Math.round(100 * high)} %`;
    const value = `${number ? `${number}, ` : ""}${play.percent(share)}`;
    return play.make(
      "p",
      { class: "play-score" },
      play.make("span", {}, play.make("strong", {}, who), " ", value, play.make("small", {}, interval)),
      bar,
    );
  }

  const scaleMark = (text) => play.make("span", {}, text);

  function compare(yours, networks) {
    const mine = yours.filter((right, place) => right && !networks[place]).length;
    const its = networks.filter((right, place) => right && !yours[place]).length;
    const same = galaxies.filter((galaxy, place) => galaxy.answer === answers[place]).length;
    const start = `You and the network give the same answer ${same} times. `;
    if (mine + its === 0) return `${start}There is no galaxy on which only one of you agrees with the survey.`;
    const chance = play.percent(coin(mine, mine + its));
    return (
      `${start}On ${mine + its} ${mine + its === 1 ? "galaxy" : "galaxies"} exactly one of you agrees with the survey: ` +
      `${mine} times you, ${its} times the network. A fair coin would be at least as one-sided in ${chance} of all ` +
      `tries${coin(mine, mine + its) > 0.05 ? ", so this does not show who is better." : "."}`
    );
  }

  function confusionMatrix() {
    const counts = classes.map(() => classes.map(() => 0));
    galaxies.forEach((galaxy, place) => {
      counts[galaxy.label][answers[place]] += 1;
    });
    const present = classes.map((_, label) => label).filter((label) => counts[label].some(Boolean));
    const head = classes.map(({ name }, label) =>
      play.make("th", { scope: "col" }, play.make("abbr", { title: name }, String(label))),
    );
    const rows = present.map((label) => {
      const most = Math.max(...counts.flat());
      const cells = counts[label].map((number, answered) =>
        play.make(
          "td",
          {
            class: answered === label ? "play-diagonal" : null,
            style: number ? `--share:${(40 * number) / most}%` : null,
          },
          number ? String(number) : play.make("span", { class: "play-none" }, "0"),
        ),
      );
      return play.make("tr", {}, play.make("th", { scope: "row" }, play.className(classes, label, true)), ...cells);
    });
    return play.make(
      "div",
      { class: "play-wide", role: "region", "aria-label": "Your confusion matrix", tabindex: 0 },
      play.make(
        "table",
        { class: "play-matrix" },
        play.make(
          "caption",
          {},
          "Your confusion matrix. Rows: the survey's label. Columns: your answer, by number. Framed: you agree.",
        ),
        play.make("thead", {}, play.make("tr", {}, play.make("td"), ...head)),
        play.make("tbody", {}, ...rows),
      ),
    );
  }

  function gallery(yours, networks) {
    const groups = [
      ["You see it differently", (place) => !yours[place]],
      ["Only the network sees it differently", (place) => yours[place] && !networks[place]],
      ["All three agree", (place) => yours[place] && networks[place]],
    ];
    return groups.flatMap(([title, belongs]) => {
      const places = galaxies.map((_, place) => place).filter(belongs);
      if (places.length === 0) return [];
      return [
        play.make("h4", {}, `${title} (${places.length})`),
        play.make("ul", { class: "play-gallery" }, ...places.map(card)),
      ];
    });
  }

  /** A galaxy with every answer that was given, and who gave it. */
  function card(place) {
    const galaxy = galaxies[place];
    const givers = new Map();
    for (const [who, label] of [
      ["survey", galaxy.label],
      ["you", answers[place]],
      ["network", galaxy.answer],
    ]) {
      givers.set(label, [...(givers.get(label) ?? []), who]);
    }
    const lines = [...givers].map(([label, who]) =>
      play.make("li", {}, play.className(classes, label, true), play.make("small", {}, who.join(", "))),
    );
    const sure = `The network was ${play.percent(galaxy.probability)} sure.`;
    const voted =
      galaxy.votes === undefined ? "" : ` ${data.voters} for the survey's label: ${play.percent(galaxy.votes)}.`;
    return play.make(
      "li",
      {},
      play.picture(sheet, place, `Galaxy ${place + 1}`, 2),
      play.make("ul", {}, ...lines),
      play.make("small", {}, sure + voted),
    );
  }

  answers = recall();
  showState();
}
