// One card a candidate: its imagined pictures, its progress, its actions, its score, and what it led to.

/** The first candidate of a round that was imagined, if any: for lack of time not all may be. */
const imagined = (round) => round.candidates.find((candidate) => candidate.progress);
const imaginedPictures = (round) => round.candidates.some((candidate) => candidate.frames);
const colourOf = (one, round) => (round ? "revised" : imagined(one.rounds[0]) ? "simulated" : one.kind);

function roundBlock(one, round, index) {
  const everyAction = one.rounds.flatMap((each) => each.candidates.flatMap((candidate) => candidate.actions.flat()));
  const everyProgress = one.rounds.flatMap((each) => each.candidates.flatMap((candidate) => candidate.progress || []));
  const everyScore = one.rounds.flatMap((each) => each.candidates.map((candidate) => candidate.score));
  const limits = { scores: range([...everyScore, one.gate], 0.02), actions: range([0, ...everyAction], 0.1), progress: everyProgress.length ? range(everyProgress, 0.4) : null };
  const count = round.candidates.length;
  const title = index ? `The revision: ${count} new candidates` : count === 1 ? "The one candidate" : `The ${count} candidates`;
  const kept = one.chosen.round === 1 ? "One of them promised more than the best of the first round, so it replaced it." : "None promised more than the best of the first round, so they were put aside.";
  const note = index ? `The policy was shown the most promising future while that was still half formed, and planned again towards it. ${kept}`
    : imagined(round) ? `Choose one to compare its imagined future above. All curves of progress run from ${number(limits.progress[0], null, 2)} to ${number(limits.progress[1], null, 2)} over ${imagined(round).progress.length} steps; the dot marks the peak.`
      : "Every drawing has the same axes.";
  const names = episode().actionNames;
  return html("div", { class: "block" }, html("h4", null, title), html("p", { class: "note" }, note),
    html("p", { class: "keys" }, round.candidates[0].actions.length <= KEYS.length && round.candidates[0].actions.map((_, i) => html("span", { style: `--key: ${key(i)}` }, names[i] || `action ${i + 1}`))),
    html("div", { class: "cards" }, reality(one, round), round.candidates.map((candidate, i) => card(one, round, index, candidate, i, limits))));
}

/** What the cameras saw at the moments that were imagined, to lie beside what was. */
function reality(one, round) {
  if (!imaginedPictures(round) || !one.real.some(Boolean)) return null;
  const here = one.real.map((real, j) => ({ real, offset: one.offsets[j] }));
  return html("div", { class: "card real" },
    html("header", null, html("b", null, "What happened"), html("span", { class: "aside" }, "real")),
    html("div", { class: "film-strip", style: `--ahead: ${one.offsets.length}` },
      episode().cameras.map((camera, view) => here.map(({ real, offset }) => real ? tile(one.sprite, real.tiles[view], `${camera}, real, ${offset} steps later`)
        : html("div", { class: "none" }, "ended")))),
    html("p", { class: "aside" }, `The cameras ${one.offsets.map((offset) => `+${offset}`).join(" and ")} steps later: the pictures beside were imagined for the same moments.`));
}

function card(one, round, roundIndex, candidate, i, limits) {
  const isChosen = one.chosen.round === roundIndex && one.chosen.index === i;
  const others = round.candidates.filter((_, j) => j !== i).map((other) => other.progress).filter(Boolean);
  const remark = i === round.mostPromising ? "most promising" : i === round.mostConsistent && round.candidates.length > 1 ? "most believed" : "";
  const peak = candidate.progress && Math.max(...candidate.progress);
  return html("button", {
    class: `card is-${colourOf(one, roundIndex)}${isChosen ? " chosen" : ""}`, "aria-pressed": roundIndex === state.round && i === state.candidate,
    "aria-label": `Candidate ${i + 1}${isChosen ? ", executed" : ""}${remark ? `, ${remark}` : ""}`,
    onclick: () => { state.round = roundIndex; state.candidate = i; showKeepingFocus(roundIndex, i); },
  },
  html("header", null, html("b", null, html("span", { class: "word" }, "Candidate "), `${i + 1}`), isChosen ? html("span", { class: "pill" }, "executed") : html("span", { class: "aside" }, remark)),
  candidate.frames && html("div", { class: "film-strip", style: `--ahead: ${one.offsets.length}` },
    episode().cameras.map((camera, view) => candidate.frames.map((tiles, j) => tile(one.sprite, tiles[view], `${camera}, imagined ${one.offsets[j]} steps ahead`)))),
  candidate.progress && html("div", { class: "measure" }, html("span", null, "progress"), html("b", null, number(peak, null, 2)), progressDrawing(candidate.progress, others, limits.progress)),
  html("div", { class: "measure" }, html("span", null, "actions"), html("span", null, isChosen ? `first ${one.executed} executed` : ""),
    actionsDrawing(candidate.actions, limits.actions, isChosen ? one.executed : 0)),
  candidate.outcome && html("p", { class: candidate.outcome.startsWith("solves") ? "outcome" : "outcome failed" }, `tried in a copy of the world: ${candidate.outcome}`),
  candidate.score !== null && html("div", { class: "measure" }, html("span", null, "consistency"), html("b", null, number(candidate.score)),
    scoreDrawing(candidate.score, round.candidates.map((other) => other.score), one.gate, limits.scores)));
}
