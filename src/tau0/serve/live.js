"use strict";

const at = (id) => document.getElementById(id);
const RETRY_MS = 1000;
const MAX_WORDS = 40;
const MARGIN = 42;
const CHOICES = {
  single: "the first is taken",
  random: "one is taken at random",
  medoid: "the one nearest to all others is taken",
  rcs: "the most consistent is taken",
  simulated: "the most promising future is taken; of equals, the most consistent candidate",
  revised: "drawn again from the most promising future; the most promising of these is taken",
};
let socket = null;
let shown = null;

function made(name, text, className) {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function drawn(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const fixed = (value, digits) => (value === null ? "–" : value.toFixed(digits));
const time = (ms) => (ms < 1000 ? `${fixed(ms, 0)} ms` : `${fixed(ms / 1000, 1)} s`);
const progressLabel = (value) => value.toFixed(1);

function highest(progress) {
  const known = (progress ?? []).filter((value) => value !== null);
  return known.length ? fixed(Math.max(...known), 2) : null;
}

function chart(svg, lines, low, high, label) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const xs = lines.flatMap((line) => line.points.map((point) => point[0]));
  const left = Math.min(...xs);
  const span = Math.max(...xs) - left || 1;
  const x = (value) => MARGIN + ((value - left) / span) * (width - MARGIN - 6);
  const y = (value) => height - 8 - ((value - low) / (high - low || 1)) * (height - 16);
  const parts = [low, high].flatMap((value) => [
    drawn("line", { x1: MARGIN, x2: width - 6, y1: y(value), y2: y(value) }),
    drawn("text", { x: MARGIN - 4, y: y(value) + 3, "text-anchor": "end" }, label(value)),
  ]);
  for (const { points, chosen } of lines) {
    const known = points.filter((point) => point[1] !== null);
    if (!known.length) continue;
    const path = known.length > 1 ? known : [known[0], [known[0][0] + span, known[0][1]]];
    parts.push(drawn("polyline", { class: chosen ? "chosen" : "", points: path.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
  }
  svg.replaceChildren(...(xs.length ? parts : []));
}

function pictures(holder, entries, caption, isChosen) {
  while (holder.children.length > entries.length) holder.lastChild.remove();
  entries.forEach((entry, number) => {
    if (!holder.children[number]) {
      const figure = document.createElement("figure");
      figure.append(document.createElement("img"), document.createElement("figcaption"));
      holder.append(figure);
    }
    const figure = holder.children[number];
    figure.className = isChosen(entry) ? "chosen" : "";
    figure.firstChild.src = entry.picture;
    figure.firstChild.alt = caption(entry);
    figure.lastChild.textContent = caption(entry);
  });
}

function showRobots(view) {
  const names = JSON.stringify(view.robots);
  if (at("robots").dataset.names !== names) {
    at("robots").dataset.names = names;
    at("robots").replaceChildren(
      ...view.robots.map((robot) => {
        const { number, paused, instruction } = robot;
        const words = instruction.length > MAX_WORDS ? `${instruction.slice(0, MAX_WORDS)}…` : instruction;
        const option = made("option", `${number}${paused ? " (paused)" : ""}${words && `: ${words}`}`);
        option.value = robot.id;
        return option;
      }),
    );
  }
  at("which").hidden = !view.robots.length;
  if (view.robot) at("robots").value = view.robot.id;
}

function showButtons(view) {
  const notices = [];
  if (view.stop !== null) notices.push(`All robots are stopped${view.stop ? `: ${view.stop}` : ""}.`);
  if (view.robot?.paused) notices.push("This robot is paused.");
  at("notice").textContent = notices.join(" ");
  at("notice").hidden = !notices.length;
  at("pause").disabled = !view.robot;
  at("pause").textContent = view.robot?.paused ? "Let this robot go on" : "Pause this robot";
  at("stop").disabled = false;
  at("stop").className = view.stop === null ? "" : "held";
  at("stop").textContent = view.stop === null ? "Stop all" : "End the stop";
}

function showDecision(decision) {
  const candidates = decision?.candidates ?? [];
  at("choice").textContent = decision
    ? `Mode ${decision.mode}, ${candidates.length} considered: ${CHOICES[decision.choice] ?? decision.choice}${decision.skipped.length ? `; left out: ${decision.skipped.join(", ")}` : ""}`
    : "";
  at("candidates").replaceChildren(
    ...candidates.map(({ score, progress }, number) => {
      const words = [`${number + 1}`];
      if (score !== null) words.push(`score ${fixed(score, 3)}`);
      if (progress) words.push(highest(progress) === null ? "not imagined" : `peak ${highest(progress)}`);
      const isChosen = number === decision.chosen;
      return made("li", words.join(" · ") + (isChosen ? " · chosen" : ""), isChosen ? "chosen" : "");
    }),
  );
  const lines = candidates
    .map(({ progress }, number) => ({ points: (progress ?? []).map((value, step) => [step, value]), chosen: number === decision.chosen }))
    .sort((a, b) => a.chosen - b.chosen);
  chart(at("imagined"), lines, -1, 1, progressLabel);
  const gate = decision?.gate;
  at("gate").textContent = gate
    ? `${gate.passed ? "passed: nothing had to be imagined" : "not passed: futures were imagined"} (best ${fixed(gate.best, 3)}, threshold ${fixed(gate.threshold, 3)})`
    : decision
      ? "this mode has no gate"
      : "–";
  const stages = Object.entries(decision?.milliseconds ?? {});
  at("stages").textContent = stages.length ? `Milliseconds: ${stages.map(([stage, value]) => `${stage} ${fixed(value, 0)}`).join(" · ")}` : "";
}

function showTimes(latency) {
  const last = latency[latency.length - 1];
  at("latency").textContent = last ? `${time(last[1])}, after ${time(last[0])} in the queue` : "–";
  const totals = latency.map(([queue, work], number) => [number, queue + work]);
  chart(at("times"), [{ points: totals, chosen: true }], 0, Math.max(1, ...totals.map((point) => point[1])), time);
}

function show(view) {
  shown = view;
  at("checkpoint").textContent = view.checkpoint;
  showRobots(view);
  showButtons(view);
  const robot = view.robot;
  at("instruction").textContent = robot ? robot.instruction || "Nothing asked yet." : "No robot is connected.";
  at("step").textContent = robot && robot.step !== null ? `control step ${robot.step}` : "";
  pictures(at("cameras"), view.cameras, (camera) => camera.name, () => false);
  const chosen = robot?.decision?.chosen;
  at("futures-section").hidden = !view.futures.length;
  pictures(at("futures"), view.futures, (future) => `candidate ${future.candidate + 1}`, (future) => future.candidate === chosen);
  showDecision(robot?.decision);
  chart(at("progress"), [{ points: robot?.progress ?? [], chosen: true }], -1, 1, progressLabel);
  showTimes(robot?.latency ?? []);
  const trips = Object.entries(robot?.trips ?? {});
  at("trips").replaceChildren(...(trips.length ? trips.map(([limit, count]) => made("li", `${limit}: ${count}`)) : [made("li", "none")]));
}

const say = (message) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
};

function lost() {
  socket = null;
  at("link").textContent = "no connection; what is shown is old";
  at("pause").disabled = true;
  at("stop").disabled = true;
  setTimeout(connect, RETRY_MS);
}

async function connect() {
  try {
    const ticket = await fetch(new URL("/live/ticket", location.origin), { cache: "no-store" });
    if (!ticket.ok) throw new Error(`HTTP ${ticket.status}`);
    const address = new URL("/live/feed", location.origin);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.searchParams.set("ticket", await ticket.text());
    socket = new WebSocket(address);
  } catch {
    lost();
    return;
  }
  socket.addEventListener("open", () => {
    at("link").textContent = "live";
    if (shown?.robot) say({ type: "choose", robot: shown.robot.id });
    say({ type: "look" });
  });
  socket.addEventListener("message", (event) => {
    show(JSON.parse(event.data));
    requestAnimationFrame(() => say({ type: "look" }));
  });
  socket.addEventListener("close", lost);
}

at("robots").addEventListener("change", (event) => say({ type: "choose", robot: event.target.value }));
at("pause").addEventListener("click", () => say({ type: shown.robot.paused ? "go" : "pause", robot: shown.robot.id }));
at("stop").addEventListener("click", () => say({ type: shown.stop === null ? "stop" : "resume" }));
connect();
