// The episodes: one is chosen, one of its decisions is shown. State is two numbers and lives in the address.

const episodes = JSON.parse(document.getElementById("data").textContent);
const KINDS = {
  direct: "executed without comparing futures",
  gate: "passed the gate, executed at once",
  simulated: "imagined, first round kept",
  revised: "imagined, then revised",
};
const STAGE_KEYS = { encode: "--faint", propose: "--direct", score: "--gate", simulate: "--simulated", revise: "--revised" };
const state = { episode: 0, decision: 0, round: 0, candidate: 0 };
const stage = document.getElementById("stage");
const picker = document.getElementById("picker");
let parts = {};

const episode = () => episodes[state.episode];
const decision = () => episode().decisions[state.decision];

/** How much a decision tells, 0 the most: revised before imagined before the rest, but those whose real pictures all exist first. */
function silence(one) {
  const isWhole = one.real.length > 0 && one.real.every(Boolean) && !one.isPlain;
  return ({ revised: 0, simulated: 1 }[one.kind] ?? 4) + (isWhole ? 0 : 2);
}

const least = (numbers) => Math.max(0, numbers.indexOf(Math.min(...numbers)));
const mostTelling = () => least(episode().decisions.map(silence));

function chooseEpisode(index, chosen = null) {
  state.episode = index;
  [...picker.children].forEach((button, i) => {
    button.setAttribute("aria-selected", i === index);
    button.tabIndex = i === index ? 0 : -1;
    if (i === index) picker.scrollLeft = button.offsetLeft - picker.offsetLeft - (picker.clientWidth - button.offsetWidth) / 2;
  });
  showEpisode();
  chooseDecision(chosen ?? mostTelling());
}

function chooseDecision(index) {
  if (!episode().decisions.length) return;
  state.decision = Math.max(0, Math.min(episode().decisions.length - 1, index));
  state.round = decision().chosen.round;
  state.candidate = decision().chosen.index;
  [...parts.ticks.children].forEach((tick, i) => {
    tick.setAttribute("aria-selected", i === state.decision);
    tick.tabIndex = i === state.decision ? 0 : -1;
  });
  seekTo(decision().step);
  remember();
  showDecision();
}

/** Puts the choice in the address; a page shown inside another may not be allowed to, and works without. */
function remember() {
  try {
    history.replaceState(null, "", `#episode=${state.episode + 1}&decision=${state.decision + 1}`);
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
  }
}

/** What tells an episode from others of its task: its mode and its seed, where there are several. */
function nameAmong(one) {
  const several = (name) => new Set(episodes.map((each) => each[name])).size > 1;
  const words = [several("mode") && one.mode, several("seed") && `seed ${one.seed}`].filter(Boolean);
  return words.length ? html("span", { class: "aside" }, words.join(" · "), html("br")) : null;
}

function showPicker() {
  picker.replaceChildren(...episodes.map((one, i) => html("button", {
    class: "choice", role: "tab", "aria-controls": "stage", onclick: () => chooseEpisode(i),
    onkeydown: (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      event.stopPropagation();
      chooseEpisode((i + move + episodes.length) % episodes.length);
      picker.children[state.episode].focus();
    },
  },
  html("img", { src: one.poster, alt: "" }),
  html("div", null, html("b", null, one.task), nameAmong(one),
    html("span", { class: one.success ? "outcome" : "outcome failed" }, `${one.success ? "solved" : "not solved"} · ${one.numSteps} steps`)))));
}

function showEpisode() {
  const one = episode();
  const bytes = Uint8Array.from(atob(one.video.split(",")[1]), (c) => c.charCodeAt(0));
  if (parts.address) URL.revokeObjectURL(parts.address);
  const address = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  const video = html("video", { src: address, muted: true, onclick: () => togglePlay(), playsinline: true, preload: "auto",
    style: `aspect-ratio: ${one.aspect}`, "aria-label": `Film of the episode: ${one.instruction}` });
  parts = {
    address, video, ticks: html("div", { class: "ticks", role: "tablist", "aria-label": "Decisions" }),
    playhead: html("div", { class: "playhead", hidden: true }), detail: html("div"),
    where: html("span"), badge: html("span"), words: html("p", { class: "words", "aria-live": "polite" }), evidence: html("div", { class: "verdict" }),
    play: html("button", { class: "play", onclick: () => togglePlay() }, "Play the episode"),
    back: html("button", { "aria-label": "Previous decision", onclick: () => chooseDecision(state.decision - 1) }, "‹"),
    on: html("button", { "aria-label": "Next decision", onclick: () => chooseDecision(state.decision + 1) }, "›"),
  };
  const verdict = html("div", { class: "verdict" },
    html("div", { class: "where" }, parts.where, html("span", { class: "turn" }, parts.back, parts.on)), parts.badge, parts.words, parts.evidence);
  parts.ticks.append(...one.decisions.map((each, i) => html("button", {
    class: `tick is-${each.kind}`, role: "tab", style: `flex: ${Math.max(1, each.end - each.step)} 0 0`,
    "aria-label": `Decision ${i + 1} at step ${each.step}: ${KINDS[each.kind]}`, title: `step ${each.step}: ${KINDS[each.kind]}`,
    onclick: () => chooseDecision(i),
  }, html("i"))));
  const kinds = Object.keys(KINDS).filter((kind) => one.decisions.some((each) => each.kind === kind));
  stage.replaceChildren(...[
    html("h3", null, `“${one.instruction}”`),
    html("p", { class: "meta" }, html("span", { class: one.success ? "outcome" : "outcome failed" }, one.success ? "solved" : "not solved"),
      [one.task, `seed ${one.seed}`, `mode ${one.mode}`, `${one.numSteps} steps`, `${one.seconds.toFixed(1)} s`].map((word) => html("span", null, word))),
    one.others.length > 0 && html("p", { class: "others-here" }, html("span", null, "The same initial state:"),
      one.others.map((other) => html("span", { class: other.success ? "outcome" : "outcome failed" }, other.mode))),
    html("div", { class: "top" },
      html("div", { class: "film" }, video, html("div", { class: "views" }, one.cameras.map((name) => html("span", null, name))),
        html("div", { class: "player" }, parts.play, html("span", null, "The line on the strip below shows where the film is."))), verdict),
    html("div", { class: "timeline" }, parts.ticks, parts.playhead,
      html("div", { class: "scale" }, html("span", null, "step 0"), html("span", null, `step ${one.numSteps}`))),
    html("div", { class: "legend" }, kinds.map((kind) => html("span", { class: `badge is-${kind}` }, KINDS[kind]))),
    parts.detail].filter(Boolean));
  for (const event of ["timeupdate", "play", "pause", "ended"]) video.addEventListener(event, movePlayhead);
}

function togglePlay() {
  if (!parts.video.paused) return parts.video.pause();
  parts.video.currentTime = parts.video.ended || parts.play.dataset.from !== "here" ? 0 : parts.video.currentTime;
  parts.play.dataset.from = "here";
  return parts.video.play();
}

function seekTo(step) {
  const steps = episode().frameSteps;
  const after = steps.findIndex((one) => one >= step);
  parts.video.pause();
  delete parts.play.dataset.from;
  parts.video.currentTime = Math.max(0, (after < 0 ? steps.length - 1 : after) + 0.5) / episode().fps;
}

function movePlayhead() {
  const steps = episode().frameSteps;
  const step = steps[Math.min(steps.length - 1, Math.floor(parts.video.currentTime * episode().fps))];
  parts.play.textContent = parts.video.paused ? "Play the episode" : "Pause";
  parts.playhead.hidden = parts.video.paused;
  parts.playhead.style.left = `${100 * Math.min(1, step / Math.max(1, episode().numSteps))}%`;
}

function showDecision() {
  const one = decision();
  decoded(one.sprite);
  showVerdict(one);
  const blocks = [comparison(one), ...one.rounds.map((round, i) => roundBlock(one, round, i))];
  parts.detail.replaceChildren(...blocks.filter(Boolean));
}

function showVerdict(one) {
  const count = episode().decisions.length;
  const scores = one.rounds[0].candidates.map((candidate) => candidate.score).filter((score) => score !== null);
  const everyScore = episode().decisions.flatMap((each) => [each.gate, ...each.rounds[0].candidates.map((candidate) => candidate.score)]);
  parts.where.replaceChildren(html("b", null, `Decision ${state.decision + 1}`), ` of ${count}, at step ${one.step}`);
  parts.badge.className = `badge is-${one.kind}`;
  parts.badge.textContent = KINDS[one.kind];
  parts.words.textContent = one.words;
  parts.back.disabled = state.decision === 0;
  parts.on.disabled = state.decision === count - 1;
  parts.evidence.replaceChildren(...[
    scores.length > 1 && html("div", null, html("p", { class: "tag" }, "How far the policy believes in each candidate (further right is better, 0 is perfect)"),
      gateDrawing(scores, one.gate, range(everyScore, 0.05))),
    timeSpent(one.milliseconds),
  ].filter(Boolean));
}

function timeSpent(milliseconds) {
  const stages = Object.keys(STAGE_KEYS).filter((name) => milliseconds[name] > 0);
  if (!stages.length) return null;
  const total = milliseconds.total ?? stages.reduce((sum, name) => sum + milliseconds[name], 0);
  return html("div", { role: "group", "aria-label": `${total.toFixed(0)} milliseconds in all` },
    html("div", { class: "spent", "aria-hidden": "true" }, stages.map((name) => html("i", { style: `flex: ${milliseconds[name]}; --key: var(${STAGE_KEYS[name]})` }))),
    html("div", { class: "spent-keys" }, stages.map((name) => html("span", { style: `--key: var(${STAGE_KEYS[name]})` }, `${name} ${milliseconds[name].toFixed(0)} ms`)),
      html("b", null, `${total.toFixed(0)} ms in all`)));
}

/** The imagined future of the candidate in hand above what the cameras saw afterwards. */
function comparison(one) {
  if (one.isPlain) return html("div", { class: "block" }, html("p", { class: "note" }, "The pictures of this decision were left out to keep the page small; its numbers are below."));
  if (!one.sprite || !one.now) return null;
  const candidate = one.rounds[state.round].candidates[state.candidate];
  const isChosen = state.round === one.chosen.round && state.candidate === one.chosen.index;
  const name = `${state.round ? "revised candidate" : "candidate"} ${state.candidate + 1}`;
  const colour = `is-${colourOf(one, state.round)}`;
  const picture = (tiles, view, words, label) => html("figure", null, tile(one.sprite, tiles[view], `${episode().cameras[view]}, ${label}`), html("figcaption", { class: "tag" }, words));
  const ahead = candidate.frames ? one.offsets.length : Math.max(1, one.real.filter(Boolean).length);
  const realWords = (offset, real) => [html("b", null, "real"), ` +${offset} steps`, one.step + offset > one.end ? ", after a new decision" : ""];
  const cameras = episode().cameras.map((camera, view) => html("div", { class: candidate.frames ? "camera" : "camera plain", style: `--ahead: ${ahead}` },
    html("div", { class: "now" }, picture(one.now, view, [html("b", null, "now"), `, ${camera}`], "now")),
    candidate.frames && one.offsets.map((offset, j) => html("div", { class: colour },
      picture(candidate.frames[j], view, [html("b", null, "imagined"), ` +${offset} steps`], `imagined ${offset} steps ahead`))),
    one.real.map((real, j) => real ? picture(real.tiles, view, realWords(one.offsets[j], real), `real, ${one.offsets[j]} steps later`)
      : candidate.frames && html("div", null, html("div", { class: "none" }, "the episode had ended"), html("p", { class: "tag" }, `+${one.offsets[j]}`)))));
  const title = candidate.frames ? "What it imagined, and what happened" : "What happened next";
  const note = !candidate.frames ? "Nothing was imagined at this decision: these are real pictures, control steps after it."
    : isChosen ? `The future of ${name}, which was executed, above the real pictures of the same moments.`
      : `The future of ${name}, which was not executed. The real pictures show what the executed plan led to.`;
  return html("div", { class: "block" }, html("h4", null, title), html("p", { class: "note" }, note), html("div", { class: "compare" }, cameras));
}

function showKeepingFocus(roundIndex, i) {
  showDecision();
  parts.detail.querySelectorAll(".cards")[roundIndex].children[i].focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  const isOnStrip = event.target.classList.contains("tick");
  if (!move || (!Number.isFinite(move) && !isOnStrip) || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("video, .picker")) return;
  event.preventDefault();
  chooseDecision(state.decision + move);
  if (isOnStrip) parts.ticks.children[state.decision].focus();
});

const wanted = new URLSearchParams(location.hash.slice(1));
const within = (name, count) => Math.max(0, Math.min(count - 1, (Number(wanted.get(name)) || 1) - 1));
showPicker();
const mostTellingEpisode = () => least(episodes.map((one) => Math.min(9, ...one.decisions.map(silence))));
const first = wanted.has("episode") ? within("episode", episodes.length) : mostTellingEpisode();
chooseEpisode(first, wanted.has("decision") ? within("decision", episodes[first].decisions.length) : null);
