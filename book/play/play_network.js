/* The page "A network in the page": a network of the book answers in the reader's browser.

   The network, the pictures and Keras' answers are in network_data.js, which book/play/play_network.py writes; TensorFlow.js
   computes. Both are loaded when the reader first chooses a picture. Nothing is sent anywhere. */
"use strict";

(() => {
  const page = document.getElementById("network");
  const status = document.getElementById("network-status");
  const words = document.getElementById("network-words");
  const drop = page.querySelector(".network-drop");
  const fileInput = document.getElementById("network-file");
  const buttons = page.querySelectorAll(".network-pictures button");
  const rows = [...page.querySelectorAll(".network-answers tbody tr")];
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const files = ["tensorflowjs/tf-core.es2017.min.js", "tensorflowjs/tf-backend-cpu.es2017.min.js", "network_data.js"];
  const types = { "image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WebP" };
  const largestFile = 50e6; // bytes
  const largestSide = 1024; // pixels; the browser shrinks what is larger, everything else is exact area averaging
  const lower = [238, 119, 51], higher = [51, 187, 238];

  let network; // what network_data.js brought, with the weights as tensors
  let loading; // the promise of it
  let asked = 0; // counts the reader's choices; a later one overtakes an earlier one
  let shown = 0; // the choice whose answer is on the page
  let own; // the square that was cut from the reader's own picture, as pixels

  // --- Loading -------------------------------------------------------------------------------------------------------

  function loadScript(file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = here + file;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`The file ${file} could not be loaded.`));
      document.head.append(script);
    });
  }

  async function load() {
    for (const file of files) await loadScript(file);
    await tf.setBackend("cpu");
    network = window.galaxyNetwork;
    const numbers = new Float32Array(bytes(network.weights).buffer);
    let used = 0;
    for (const step of network.steps) {
      step.weights = step.shapes.map(shape => {
        const size = shape.reduce((product, side) => product * side, 1);
        used += size;
        return tf.tensor(numbers.subarray(used - size, used), shape);
      });
    }
    network.weights = null;
    for (const picture of network.pictures) picture.pixels = bytes(picture.pixels);
  }

  function bytes(base64) {
    const text = atob(base64);
    const numbers = new Uint8Array(text.length);
    for (let index = 0; index < text.length; index++) numbers[index] = text.charCodeAt(index);
    return numbers;
  }

  // --- The network ---------------------------------------------------------------------------------------------------

  const functions = {
    scale: (x, step) => tf.mul(x, step.factor),
    convolution: (x, step) => addBias(tf.conv2d(x, step.weights[0], step.stride, "same"), step.weights[1]),
    normalisation: (x, step) => tf.add(tf.mul(x, step.weights[0]), step.weights[1]),
    maximum: (x, step) => tf.maxPool(x, step.size, step.size, "valid"),
    average: x => tf.mean(x, [1, 2]),
    dense: (x, step) => addBias(tf.matMul(x, step.weights[0]), step.weights[1]),
    relu: x => tf.relu(x),
    softmax: x => tf.softmax(x),
  };

  function addBias(x, bias) {
    return bias ? tf.add(x, bias) : x;
  }

  /* The probabilities of one picture, given as bytes: red, green, blue, row by row. */
  function answer(pixels) {
    const { side, steps } = network;
    return tf.tidy(() => {
      const image = tf.tensor(Float32Array.from(pixels), [1, side, side, 3]);
      return steps.reduce((x, step) => functions[step.kind](x, step), image).dataSync();
    });
  }

  // --- Covering ------------------------------------------------------------------------------------------------------

  /* The mean colour of the edge, rounded as in book/play/play_network.py. */
  function edgeColour(pixels) {
    const { side } = network;
    const total = [0, 0, 0];
    for (let row = 0; row < side; row++)
      for (let column = 0; column < side; column++)
        if (row === 0 || column === 0 || row === side - 1 || column === side - 1)
          for (let band = 0; band < 3; band++) total[band] += pixels[3 * (row * side + column) + band];
    const count = 4 * (side - 1);
    return total.map(sum => Math.floor((2 * sum + count) / (2 * count)));
  }

  function covered(pixels, row, column, colour) {
    const { side, grid } = network;
    const first = cell => Math.max(0, Math.floor(((2 * cell - 1) * side) / (2 * grid)));
    const last = cell => Math.min(side, Math.floor(((2 * cell + 3) * side) / (2 * grid)));
    const copy = pixels.slice();
    for (let y = first(row); y < last(row); y++)
      for (let x = first(column); x < last(column); x++) copy.set(colour, 3 * (y * side + x));
    return copy;
  }

  // --- Answering -----------------------------------------------------------------------------------------------------

  /* Show what the network says about `pixels`, then cover them place by place. `picture` is one of the given ones. */
  async function show(pixels, picture) {
    const { grid, classes } = network;
    const mine = shown;
    const probabilities = answer(pixels);
    const order = [...probabilities.keys()].sort((one, other) => probabilities[other] - probabilities[one]);
    page.classList.add("network-answered");
    drawBars(probabilities, order[0]);
    drawPicture(pixels, picture ? picture.name : "Your picture");
    status.textContent = whatItSays(probabilities, order, picture) + (picture ? "" : whatWasEnlarged());
    // On a phone, what was asked for would appear below the window, unseen.
    if (status.getBoundingClientRect().bottom > innerHeight) status.scrollIntoView();
    words.textContent = "Covering the picture, place by place …";
    const changes = new Float32Array(grid * grid);
    const colour = edgeColour(pixels);
    const map = document.getElementById("network-map");
    delete map.dataset.changes;
    map.setAttribute("aria-label", "The map is being computed.");
    for (let place = 0; place < grid * grid; place++) {
      const [row, column] = [Math.floor(place / grid), place % grid];
      changes[place] = answer(covered(pixels, row, column, colour))[order[0]] - probabilities[order[0]];
      drawMap(pixels, changes, place + 1);
      // The page stays alive between two places; whoever has chosen something else does not wait for the rest.
      await new Promise(resolve => setTimeout(resolve));
      if (mine !== shown) return;
    }
    map.dataset.changes = JSON.stringify([...changes]);
    const told = whatTheMapSays(changes, classes[order[0]]);
    map.setAttribute("aria-label", told);
    words.textContent = told + howFarFromKeras(probabilities, changes, picture);
  }

  function drawBars(probabilities, likeliest) {
    rows.forEach((row, label) => {
      const value = row.querySelector(".network-value");
      value.textContent = probabilities[label].toFixed(2);
      value.dataset.probability = probabilities[label];
      row.querySelector(".network-bar").style.width = `${100 * probabilities[label]}%`;
      row.classList.toggle("network-likeliest", label === likeliest);
    });
  }

  function whatItSays(probabilities, order, picture) {
    const name = label => `${network.classes[label]} (${probabilities[label].toFixed(2)})`;
    const said = `The network says ${name(order[0])}, then ${name(order[1])}.`;
    if (!picture) return `${said} Nobody has labelled this picture, and the network has to name one of its classes.`;
    if (picture.label < 0) return `${said} This is no galaxy, which the network has no way to say.`;
    const agree = picture.label === order[0] ? "They agree." : "They differ.";
    return `${said} The survey says ${network.classes[picture.label]}. ${agree}`;
  }

  function whatTheMapSays(changes, name) {
    const { grid } = network;
    const place = index => `row ${Math.floor(index / grid) + 1}, column ${(index % grid) + 1} of ${grid} × ${grid}`;
    const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
    const low = changes.indexOf(Math.min(...changes)), high = changes.indexOf(Math.max(...changes));
    const parts = [];
    if (changes[low] < 0) parts.push(`costs ${name} most in ${place(low)}: ${signed(changes[low])}`);
    if (changes[high] > 0) parts.push(`adds most to it in ${place(high)}: ${signed(changes[high])}`);
    return parts.length ? `Covering ${parts.join(", and ")}.` : "Covering changes nothing.";
  }

  function howFarFromKeras(probabilities, changes, picture) {
    if (!picture) return "";
    const apart = (here, there) => Math.max(...there.map((value, index) => Math.abs(value - here[index])));
    const largest = Math.max(apart(probabilities, picture.probabilities), apart(changes, picture.changes));
    page.dataset.difference = largest;
    const shown = largest < 1e-6 ? "less than 0.000001" : largest.toFixed(6);
    return ` The largest difference from what Keras computed for this picture and this map: ${shown}.`;
  }

  // --- Drawing -------------------------------------------------------------------------------------------------------

  function drawPixels(canvas, pixels, toColour) {
    const { side } = network;
    canvas.width = canvas.height = side;
    const image = new ImageData(side, side);
    for (let index = 0; index < side * side; index++) {
      image.data.set(toColour(pixels.subarray(3 * index, 3 * index + 3)), 4 * index);
      image.data[4 * index + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function drawPicture(pixels, name) {
    const canvas = document.getElementById("network-picture");
    drawPixels(canvas, pixels, colour => colour);
    canvas.setAttribute("aria-label", `${name}, as the network sees it.`);
  }

  /* The picture in grey; over it, the first `count` places in colour, and a frame about the one that matters most. */
  function drawMap(pixels, changes, count) {
    const { side, grid } = network;
    const enlarged = Math.max(1, Math.round(384 / side));
    const small = document.createElement("canvas");
    drawPixels(small, pixels, colour => new Array(3).fill((colour[0] + colour[1] + colour[2]) / 3));
    const canvas = document.getElementById("network-map");
    canvas.width = canvas.height = side * enlarged;
    const drawing = canvas.getContext("2d");
    drawing.imageSmoothingEnabled = false;
    drawing.drawImage(small, 0, 0, canvas.width, canvas.height);
    const known = changes.subarray(0, count);
    const largest = Math.max(0.05, ...known.map(Math.abs));
    const cell = canvas.width / grid;
    const corner = place => [(place % grid) * cell, Math.floor(place / grid) * cell];
    known.forEach((change, place) => {
      const [red, green, blue] = change < 0 ? lower : higher;
      drawing.fillStyle = `rgba(${red}, ${green}, ${blue}, ${(0.8 * Math.abs(change)) / largest})`;
      drawing.fillRect(...corner(place), cell, cell);
    });
    const lowest = known.indexOf(Math.min(...known));
    if (known[lowest] < 0) {
      for (const [colour, width] of [["black", 6], ["white", 3]]) {
        drawing.strokeStyle = colour;
        drawing.lineWidth = width;
        const [x, y] = corner(lowest);
        drawing.strokeRect(x + 3, y + 3, cell - 6, cell - 6);
      }
    }
  }

  // --- The reader's own picture --------------------------------------------------------------------------------------

  /* Decode a file and return the largest square in its middle: {side, pixels}. */
  async function readSquare(file) {
    if (!(file.type in types))
      throw new Error(`${file.name} is no PNG, JPEG or WebP picture, and the network takes no others.`);
    if (file.size > largestFile) throw new Error(`${file.name} has more than 50 MB. Try a smaller picture.`);
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      throw new Error(`${file.name} calls itself ${types[file.type]}, but cannot be read as a picture.`);
    }
    const cut = Math.min(bitmap.width, bitmap.height);
    if (cut < network.grid)
      throw new Error(`${file.name} is ${bitmap.width} × ${bitmap.height} pixels: too small to show anything.`);
    const side = Math.min(cut, largestSide);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const drawing = canvas.getContext("2d");
    drawing.imageSmoothingQuality = "high";
    // What is transparent becomes dark, like the sky.
    drawing.fillRect(0, 0, side, side);
    const [left, top] = [Math.floor((bitmap.width - cut) / 2), Math.floor((bitmap.height - cut) / 2)];
    drawing.drawImage(bitmap, left, top, cut, cut, 0, 0, side, side);
    bitmap.close();
    const rgba = drawing.getImageData(0, 0, side, side).data;
    return { side, pixels: Uint8Array.from({ length: 3 * side * side }, (_, i) => rgba[4 * Math.floor(i / 3) + (i % 3)]) };
  }

  /* Keep the middle of a square and bring it to the network's size, each new pixel the mean of the area it covers.
     This is what galaxy_utils.prepare does to every galaxy. */
  function prepare(square, fraction) {
    const cut = keptSide(square, fraction);
    const margin = (square.side - cut) / 2;
    const { side } = network;
    const shares = areaShares(cut, side);
    const pixels = new Uint8Array(3 * side * side);
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++)
        for (let band = 0; band < 3; band++) {
          let sum = 0;
          for (const [oldY, shareY] of shares[y])
            for (const [oldX, shareX] of shares[x])
              sum += shareY * shareX * square.pixels[3 * ((margin + oldY) * square.side + margin + oldX) + band];
          pixels[3 * (y * side + x) + band] = Math.round(sum);
        }
    return pixels;
  }

  /* How many pixels of a square's side are kept. Half a pixel is rounded as Python does it: 62.5 becomes 62. */
  function keptSide(square, fraction) {
    const exact = (square.side * (1 - fraction)) / 2;
    const margin = exact % 1 === 0.5 ? 2 * Math.round(exact / 2) : Math.round(exact);
    return square.side - 2 * margin;
  }

  function whatWasEnlarged() {
    const kept = keptSide(own, chosenFraction());
    return kept < network.side ? ` (${kept} pixels a side were enlarged to ${network.side}: it never saw such.)` : "";
  }

  /* For each new pixel of a line, the old ones that it covers, each with its share. */
  function areaShares(old, side) {
    return Array.from({ length: side }, (_, index) => {
      const [from, to] = [(index * old) / side, ((index + 1) * old) / side];
      const shares = [];
      for (let pixel = Math.floor(from); pixel < Math.min(old, Math.ceil(to)); pixel++)
        shares.push([pixel, ((Math.min(to, pixel + 1) - Math.max(from, pixel)) * side) / old]);
      return shares;
    });
  }

  function chosenFraction() {
    const chosen = page.querySelector(".network-crop input:checked");
    return chosen ? Number(chosen.value) : 1;
  }

  // --- What the reader does ------------------------------------------------------------------------------------------

  /* Load what is missing, then answer. `choose` returns [pixels, picture, square], once the network is there; the
     square is a picture of the reader's own. */
  async function respond(pressed, choose) {
    const mine = ++asked;
    try {
      if (!network) status.textContent = "Loading the network …";
      loading = loading || load();
      await loading;
      const [pixels, picture, square] = await choose();
      if (mine !== asked) return;
      own = square || null;
      for (const button of buttons) button.setAttribute("aria-pressed", button === pressed);
      shown = mine;
      await show(pixels, picture);
    } catch (error) {
      if (!network) loading = null; // the next choice tries again
      if (mine === asked) status.textContent = error.message;
    }
  }

  function respondToFile(file) {
    if (!file) return;
    respond(null, async () => {
      const square = await readSquare(file);
      return [prepare(square, chosenFraction()), null, square];
    });
  }

  for (const button of buttons)
    button.addEventListener("click", () => {
      fileInput.value = ""; // so that the same file can be chosen again
      respond(button, () => {
        const picture = network.pictures[button.dataset.picture];
        return [picture.pixels, picture];
      });
    });

  fileInput.addEventListener("change", event => respondToFile(event.target.files[0]));

  for (const choice of page.querySelectorAll(".network-crop input"))
    choice.addEventListener("change", () => {
      const square = own;
      if (square) respond(null, () => [prepare(square, chosenFraction()), null, square]);
    });

  // A picture that misses the frame would otherwise take the place of the whole page.
  for (const kind of ["dragenter", "dragover"])
    page.addEventListener(kind, event => {
      event.preventDefault();
      drop.classList.add("network-over");
    });
  page.addEventListener("dragleave", () => drop.classList.remove("network-over"));
  page.addEventListener("drop", event => {
    event.preventDefault();
    drop.classList.remove("network-over");
    respondToFile(event.dataTransfer.files[0]);
  });
})();
