// Requests one prediction per image, at a low score; the slider and the switches only redraw.

const ASKED_SCORE = 0.05;
const SIDES = [1280, 2048]; // minimum and maximum of the canvas' longer side
const CAMERA_WIDTH = 640;
const MIN_SHARE = 0.005; // minimum share of the image for a class in the legend

const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
const canvas = $("canvas");

let colors = {}; // class name -> [r, g, b]
let shown = null; // content of the canvas: {image, result, classes, name}
let pinned = null; // class highlighted by a click
let hovered = null;
let request = 0; // answers to older requests are dropped

// --- the service ---------------------------------------------------------------------------

async function ask(path, options = {}) {
  for (;;) {
    const headers = { Accept: "application/json", ...options.headers };
    const token = sessionStorage.getItem("token");
    if (token) headers.Authorization = `Bearer ${token}`;
    const answer = await fetch(path, { ...options, headers });
    if (answer.status === 401) {
      await askForToken();
      continue;
    }
    const reply = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(reply.detail || `The server answered ${answer.status}.`);
    return reply;
  }
}

function askForToken() {
  const dialog = $("access");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("token", $("token").value);
      resolve();
    }, { once: true });
    if (!dialog.open) dialog.showModal();
  });
}

async function describeModel() {
  const model = (await ask("/models")).models[0];
  colors = Object.fromEntries(model.names.map((name, id) => [name, vivid(id)]));
  $("model").textContent = `${model.name} · ${model.engine}`;
}

// Hues a golden angle apart, so that neighbouring ids differ; bright enough on any photo.
function vivid(id) {
  const hue = (id * 137.508 + 310) % 360;
  const lightness = [0.57, 0.42, 0.68][id % 3];
  const chroma = 0.84 * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}
const colorOf = (name) => colors[name] || [128, 128, 128];
const css = (name) => `rgb(${colorOf(name).join()})`;

async function predict(blob, name) {
  const form = new FormData();
  form.append("file", blob, name);
  return (await ask(`/predict?score=${ASKED_SCORE}`, { method: "POST", body: form })).images[0];
}

// --- one image -----------------------------------------------------------------------------

async function show(blob, name) {
  const number = ++request;
  stopCamera();
  setError("");
  document.body.classList.add("busy");
  $("summary").textContent = "Predicting …";
  try {
    const start = performance.now();
    const [result, image] = await Promise.all([predict(blob, name), decode(blob)]);
    const time = performance.now() - start;
    if (number !== request) return;
    await present(image, result, name);
    $("summary").textContent = `${inWords(result)} ${Math.round(result.ms.network)} ms network, ${Math.round(time)} ms in all.`;
    canvas.setAttribute("aria-label", `${name}: ${inWords(result)}`);
    $("stage").focus({ preventScroll: true });
  } catch (error) {
    if (number !== request) return;
    setError(error.message === "Failed to fetch" ? "The server cannot be reached." : error.message);
    $("summary").textContent = "";
  } finally {
    if (number === request) document.body.classList.remove("busy");
  }
}

function decode(blob) {
  return createImageBitmap(blob).catch(() => null); // if the server also fails, its message is better
}

async function present(image, result, name) {
  if (!image) throw new Error("This browser cannot display the format; use JPEG, PNG or WebP.");
  shown = { image, result, name, classes: await readMap(result) };
  const side = Math.max(result.width, result.height);
  const scale = Math.max(SIDES[0], Math.min(SIDES[1], side)) / side;
  canvas.width = Math.round(result.width * scale);
  canvas.height = Math.round(result.height * scale);
  canvas.style.setProperty("--ratio", result.width / result.height);
  main.dataset.state = "done";
  for (const id of ["save-json", "save-png", "save-map"]) $(id).disabled = false;
  redraw();
}

async function readMap(result) {
  if (!result.segmentation_mask) return null;
  const bytes = Uint8Array.from(atob(result.segmentation_mask), (c) => c.charCodeAt(0));
  const map = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const sheet = new OffscreenCanvas(map.width, map.height);
  const context = sheet.getContext("2d", { willReadFrequently: true });
  context.drawImage(map, 0, 0);
  const pixels = context.getImageData(0, 0, map.width, map.height); // grey: red is the class id
  return { sheet, context, pixels, ids: pixels.data.filter((_, at) => at % 4 === 0) };
}

function inWords(result) {
  const counts = {};
  for (const { label } of detections(result)) counts[label] = (counts[label] || 0) + 1;
  const parts = Object.entries(counts).map(([label, count]) => `${count} × ${label}`);
  return parts.length ? `${parts.join(", ")}.` : "No objects above the minimum score.";
}

// --- drawing -------------------------------------------------------------------------------

const detections = (result) => result.detections.filter(({ score }) => score >= $("score").value / 100);
const highlighted = () => hovered ?? pinned;

function redraw() {
  $("score-value").value = `${$("score").value} %`;
  $("opacity-value").value = `${$("opacity").value} %`;
  if (!shown) return;
  paint(canvas, canvas.width / (canvas.clientWidth || canvas.width));
  drawLegend();
}

// `unit`: canvas pixels per screen pixel.
function paint(target, unit) {
  const { image, result, classes } = shown;
  const pen = target.getContext("2d");
  pen.drawImage(image, 0, 0, target.width, target.height);
  if (classes && $("map").checked) drawMap(pen, classes, result.class_map);
  const boxes = $("boxes").checked ? detections(result).reverse() : []; // the best one on top
  for (const found of boxes) drawBox(pen, found, target.width / result.width, unit);
}

function drawMap(pen, { sheet, context, pixels, ids }, names) {
  const only = highlighted();
  const opacity = (255 * $("opacity").value) / 100;
  const values = Object.entries(names).map(([id, name]) => {
    const faded = only && name !== only ? 0.15 : 1;
    return [...colorOf(name), id === "0" ? 0 : opacity * faded];
  });
  for (let at = 0; at < ids.length; at++) {
    const id = ids[at];
    pixels.data.set(values[id] || [0, 0, 0, 0], 4 * at);
    if (id !== ids[at - 1] || id !== ids[at - pixels.width]) pixels.data[4 * at + 3] *= 2; // an outline
  }
  context.putImageData(pixels, 0, 0);
  pen.drawImage(sheet, 0, 0, pen.canvas.width, pen.canvas.height);
}

function drawBox(pen, { label, score, box }, scale, unit) {
  const [x1, y1, x2, y2] = box.map((edge) => edge * scale);
  pen.globalAlpha = highlighted() && label !== highlighted() ? 0.2 : 1;
  for (const [style, line] of [["#fffc", 5], [css(label), 3]]) {
    pen.strokeStyle = style;
    pen.lineWidth = line * unit;
    pen.beginPath();
    pen.roundRect(x1 + 2 * unit, y1 + 2 * unit, x2 - x1 - 4 * unit, y2 - y1 - 4 * unit, 6 * unit);
    pen.stroke();
  }
  const text = `${label} ${Math.round(100 * score)} %`;
  pen.font = `600 ${13 * unit}px system-ui, sans-serif`;
  const [width, height] = [pen.measureText(text).width + 14 * unit, 22 * unit];
  const left = Math.max(0, Math.min(x1, pen.canvas.width - width));
  const top = y1 >= height ? y1 - height + 2 * unit : y1 + 2 * unit;
  pen.fillStyle = css(label);
  pen.beginPath();
  pen.roundRect(left, top, width, height, 6 * unit);
  pen.fill();
  const [r, g, b] = colorOf(label);
  pen.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
  pen.textBaseline = "middle";
  pen.fillText(text, left + 7 * unit, top + height / 2);
  pen.globalAlpha = 1;
}

function drawLegend() {
  const { result } = shown;
  const counts = {};
  for (const { label } of detections(result)) counts[label] = (counts[label] || 0) + 1;
  const shares = result.pixels || {};
  const background = result.class_map["0"];
  const names = [...new Set([...Object.keys(counts), ...Object.keys(shares)])]
    .filter((name) => name !== background && (counts[name] || shares[name] >= MIN_SHARE))
    .sort((a, b) => (shares[b] || 0) - (shares[a] || 0));
  $("legend-empty").hidden = names.length > 0;
  $("legend-empty").textContent = "Nothing above the minimum score.";
  const key = JSON.stringify([names, counts, shares]);
  if ($("legend").dataset.key !== key) {
    $("legend").dataset.key = key;
    $("legend").replaceChildren(...names.map((name) => legendRow(name, counts[name], shares[name])));
  }
  for (const button of $("legend").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button.dataset.name === pinned);
  }
}

function legendRow(name, count, share) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.name = name;
  const texts = { swatch: "", name, count: count ? `× ${count}` : "", share: share ? percent(share) : "", bar: "" };
  for (const [kind, text] of Object.entries(texts)) {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    if (kind === "swatch" || kind === "bar") part.style.background = css(name);
    if (kind === "bar") part.style.transform = `scaleX(${share || 0})`;
    button.append(part);
  }
  const hover = (value) => () => { hovered = value; redraw(); };
  button.addEventListener("pointerenter", hover(name));
  button.addEventListener("pointerleave", hover(null));
  button.addEventListener("focus", hover(name));
  button.addEventListener("blur", hover(null));
  button.addEventListener("click", () => { pinned = pinned === name ? null : name; redraw(); });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

const percent = (share) => (share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);

function setError(text) {
  $("error").textContent = text;
}

// --- the camera ----------------------------------------------------------------------------

let stream = null;

async function startCamera() {
  const number = ++request;
  setError("");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: CAMERA_WIDTH, facingMode: "environment" } });
    $("camera").setAttribute("aria-pressed", "true");
    $("summary").ariaLive = "off"; // it changes with every frame
    $("video").srcObject = stream;
    await $("video").play();
    await predictFrames(number);
  } catch (error) {
    const hint = window.isSecureContext ? "" : " (browsers require https or localhost)";
    if (number === request) setError(`Camera: ${error.message}${hint}`);
    stopCamera();
  }
}

async function predictFrames(number) {
  const video = $("video");
  let rate = 0;
  while (stream && number === request) {
    const start = performance.now();
    const frame = await createImageBitmap(video);
    const sheet = new OffscreenCanvas(frame.width, frame.height);
    sheet.getContext("2d").drawImage(frame, 0, 0);
    const blob = await sheet.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    const result = await predict(blob, "camera.jpg");
    if (!stream || number !== request) return;
    await present(frame, result, "camera.jpg");
    const now = 1000 / (performance.now() - start);
    rate = rate ? 0.9 * rate + 0.1 * now : now;
    $("summary").textContent = `${rate.toFixed(1)} frames per second. ${inWords(result)}`;
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("video").srcObject = null;
  $("camera").setAttribute("aria-pressed", "false");
  $("summary").ariaLive = "polite";
}

// --- downloads -----------------------------------------------------------------------------

function save(content, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const stem = () => shown.name.replace(/\.[^.]*$/, "");

$("save-json").addEventListener("click", () => {
  save(JSON.stringify(shown.result, null, 2), `${stem()}.json`, "application/json");
});
$("save-png").addEventListener("click", () => {
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [shown.image.width, shown.image.height];
  paint(sheet, Math.max(sheet.width, sheet.height) / 900);
  sheet.toBlob((blob) => save(blob, `${stem()}_drawn.png`));
});
$("save-map").addEventListener("click", () => {
  if (!shown.result.segmentation_mask) return setError("This network gives no segmentation map.");
  const bytes = Uint8Array.from(atob(shown.result.segmentation_mask), (c) => c.charCodeAt(0));
  save(bytes, `${stem()}_map.png`, "image/png");
});

// --- uploads -------------------------------------------------------------------------------

$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) show(target.files[0], target.files[0].name);
  target.value = ""; // allows choosing the same file again
});
$("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((one) => one.startsWith("image/"));
      if (type) return show(await item.getType(type), "pasted.png");
    }
    setError("There is no image in the clipboard.");
  } catch {
    setError("The clipboard cannot be read here; press Ctrl+V instead.");
  }
});
document.addEventListener("paste", ({ clipboardData }) => {
  const file = [...clipboardData.files].find(({ type }) => type.startsWith("image/"));
  if (file) show(file, file.name || "pasted.png");
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const file = event.dataTransfer.files[0];
  if (file) show(file, file.name);
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    const name = button.dataset.example;
    show(await (await fetch(`/page/examples/${name}`)).blob(), name);
  });
}
$("camera").addEventListener("click", () => {
  if (stream) {
    request += 1;
    stopCamera();
  } else {
    startCamera();
  }
});
for (const id of ["score", "opacity", "boxes", "map"]) $(id).addEventListener("input", redraw);
window.addEventListener("resize", redraw);

redraw();
describeModel().catch((error) => setError(error.message));
