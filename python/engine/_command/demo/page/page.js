// Draws with a pointer, sends what was drawn, and shows what comes back.
const SIDE = 140, PEN = 22, PIXELS = 28;  // SIDE as in server.py; a pen of 2 pixels of MNIST in a drawing of full height
const element = (id) => document.getElementById(id);
const drawing = element("drawing"), hint = element("hint"), answer = element("answer");
const pen = drawing.getContext("2d", { willReadFrequently: true });
Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });

const rows = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement("li");
  row.innerHTML = '<span class="digit"></span><span class="track"><span class="fill"></span></span><span class="share"></span>';
  row.firstChild.textContent = digit;
  element("shares").append(row);
  return row;
});
const percent = (share) => `${(100 * share).toFixed(1)}%`;

function show(reading) {
  const shares = reading ? reading.probabilities : rows.map(() => 0);
  const best = reading ? shares.indexOf(Math.max(...shares)) : -1;
  rows.forEach((row, digit) => {
    row.className = digit === best ? "first" : "";
    row.querySelector(".fill").style.width = `${100 * shares[digit]}%`;
    row.querySelector(".share").textContent = reading ? percent(shares[digit]) : "";
  });
  answer.textContent = reading ? `${best}, ${percent(shares[best])}` : "Nothing yet";
  answer.className = reading ? "" : "blank";
  element("for").textContent = reading ? `Speaks for ${best}` : "Speaks for the answer";
  paint(reading);
}

// Ink in grey, and over it what spoke for the answer and against it.
function paint(reading) {
  const context = element("pixels").getContext("2d"), style = getComputedStyle(document.documentElement);
  const [ink, pro, contra] = ["--soft", "--for", "--bar"].map((name) => style.getPropertyValue(name));
  context.clearRect(0, 0, PIXELS, PIXELS);
  const fill = (i, color, alpha) => {
    context.globalAlpha = alpha;
    context.fillStyle = color;
    context.fillRect(i % PIXELS, Math.floor(i / PIXELS), 1, 1);
  };
  reading?.attribution.forEach((spoken, i) => {
    fill(i, ink, 0.35 * reading.image[i] / 255);
    fill(i, spoken > 0 ? pro : contra, (Math.abs(spoken) / 127) ** 0.7);
  });
}

let drawn = 0, sent = 0, busy = false, blank = true, last = null;

// One question at a time; the next one has all that was drawn meanwhile.
async function ask() {
  if (busy || sent === drawn) return;
  busy = true;
  sent = drawn;
  try {
    const reply = await fetch("read", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: ink() });
    if (!reply.ok) throw new Error(reply.statusText);
    last = await reply.json();
    if (blank) last = null;
    show(last);
  } catch {
    answer.textContent = "No reply: is engine demo still running?";
  }
  busy = false;
  ask();
}

// Opacities, as means of squares of pixels.
function ink() {
  const step = drawing.width / SIDE, { data } = pen.getImageData(0, 0, drawing.width, drawing.height);
  const sums = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < drawing.height; y++)
    for (let x = 0; x < drawing.width; x++)
      sums[Math.floor(y / step) * SIDE + Math.floor(x / step)] += data[4 * (y * drawing.width + x) + 3];
  return Uint8Array.from(sums, (sum) => Math.round(sum / step ** 2));
}

function clear() {
  pen.clearRect(0, 0, drawing.width, drawing.height);
  blank = true;
  last = null;
  sent = drawn;
  hint.hidden = false;
  show(null);
}

let from = null;
function lineTo(event) {
  const box = drawing.getBoundingClientRect(), scale = drawing.width / box.width;
  const to = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  pen.beginPath();
  pen.moveTo(...(from ?? to));
  pen.lineTo(to[0] + 0.01, to[1]);  // a line without length would be no dot
  pen.stroke();
  from = to;
}

drawing.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || from) return;
  event.preventDefault();
  drawing.setPointerCapture(event.pointerId);
  hint.hidden = true;
  blank = false;
  lineTo(event);
  drawn++;
  ask();
});
drawing.addEventListener("pointermove", (event) => {
  if (!from || !drawing.hasPointerCapture(event.pointerId)) return;
  const events = event.getCoalescedEvents?.() ?? [];
  (events.length ? events : [event]).forEach(lineTo);
  drawn++;
  ask();
});
drawing.addEventListener("lostpointercapture", () => { from = null; });
element("clear").addEventListener("click", clear);
addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(last));
show(null);
