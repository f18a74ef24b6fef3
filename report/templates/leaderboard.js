// The leaderboard: filters, sorts and ranks the rows of one JSON value. Everything a reader chooses
// is in `state`, and `state` is in the address after #. Text from records only ever becomes
// textContent or an attribute, so nothing in a method's name or a log can become markup.

const view = JSON.parse(document.getElementById("view").textContent);
const FIRST = 150;  // rows drawn before a reader asks for all
const ALL = "all";  // the tab with every table
const FILTERS = {data: "data set", arch: "architecture", eps: "radius", norm: "norm",
  protocol: "protocol", family: "family", status: "status", official: "data"};
const DEFAULTS = {q: "", ...Object.fromEntries(Object.keys(FILTERS).map(k => [k, ""])),
  sort: "autoattack", dir: "", hide: "", all: "", group: "", x: "time_ratio", y: "autoattack",
  trace: "accuracy", format: "csv", columns: "", run: ""};
const ABSENCES = {"not run": "not run", failed: "failed", diverged: "diverged", refused: "refused",
  oom: "out of memory", skipped: "skipped", unreadable: "unreadable"};
const PAIRS = {"-": "no verdicts image by image: by the means alone",
  "=": "equal means, no verdicts image by image",
  "+": "10 more seeds of each, or more, would tell them apart",
  "i": "more seeds would not tell them apart: attack more images",
  "?": "a second seed of each is needed to say how many would tell them apart"};
const place = Object.fromEntries(view.columns.map((column, i) => [column.key, i]));
const plain = text => String(text).toLowerCase().replace(/[^a-z0-9]/g, "");
const byRun = new Map();
for (const group of view.groups)
  group.rows.forEach((row, i) => {
    Object.assign(row, {group, i});
    row.names = [row.id, row.label, plain(row.id), plain(row.label)].join(" ").toLowerCase();
    row.words = [row.names, row.status, group.name, ...row.notes].join(" ").toLowerCase();
    for (const run of row.runs) byRun.set(run, row);
  });
let state = readAddress();
let later;
const $ = id => document.getElementById(id);
// Of runs: configurations, provenance, curves. The page holds those of all; or each table's lie in a
// script beside it, which hands them to `takeDetails`, since a page on a disk may read no other file.
const details = {configs: {}, origins: {}, sources: {}, runs: {}};
window.takeDetails = text => {
  for (const [name, values] of Object.entries(JSON.parse(text))) Object.assign(details[name], values);
};

/** Make an element; strings among the children become text. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  node.append(...children.filter(child => child !== null));
  return node;
}

// State and address.

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.keys(DEFAULTS).map(k => [k, given.get(k) ?? DEFAULTS[k]]));
}

function set(changes) {
  Object.assign(state, changes);
  const chosen = Object.entries(state).filter(([k, value]) => value !== DEFAULTS[k]);
  history.replaceState(null, "", "#" + new URLSearchParams(chosen));
  const parts = Object.keys(changes).map(k => PARTS[k]);
  if (parts.every(Boolean)) new Set(parts).forEach(part => part());
  else draw();
}

// What has to be drawn again when no more than this changes; the table stays, and the focus in it.
const PARTS = {run: () => drawDrawer(), format: () => drawExport(), columns: () => drawExport(),
  ...Object.fromEntries(["x", "y", "trace"].map(k => [k, () => drawPictures(visible())]))};

const hidden = () => new Set(state.hide.split(",").filter(Boolean));

function hide(key) {
  set({hide: [...hidden(), key].join(",")});
}

// Filter, sort, rank.

function passes(row, filters, words, unwanted) {
  if (unwanted.has(row.key) || unwanted.has(row.group.key)) return false;
  const {family, status, group} = row;
  return filters.every(k => ({...group.filters, family, status})[k] === state[k])
    && words.every(({word, isName}) => (isName ? row.names : row.words).includes(word));
}

/** The words of the search; one that is in any method's name is looked for in names alone. */
function searched() {
  return state.q.toLowerCase().split(/\s+/).filter(Boolean).map(word =>
    ({word, isName: view.groups.some(group => group.rows.some(row => row.names.includes(word)))}));
}

/** How many letters to change, add or leave out, to make one text of another. */
function distance(a, b) {
  let above = [...b, ""].map((_, j) => j);
  for (const [i, letter] of [...a].entries()) {
    const line = [i + 1];
    for (let j = 0; j < b.length; j++)
      line.push(Math.min(above[j] + (letter !== b[j]), above[j + 1] + 1, line[j] + 1));
    above = line;
  }
  return above.at(-1);
}

/** The method whose name is nearest to a text. */
function nearest(text) {
  const far = name => distance(plain(text), plain(name));
  return view.groups.flatMap(group => group.rows.map(row => row.label))
    .reduce((best, name) => far(name) < far(best) ? name : best);
}

/** The groups that pass the filters: each with how many rows do, and these in the order of the sort,
 * ranked when they are first asked for, since of thousands few are drawn. */
function visible() {
  const filters = Object.keys(FILTERS).filter(k => state[k]), words = searched(), unwanted = hidden();
  return view.groups.map(group => {
    const found = group.rows.filter(row => passes(row, filters, words, unwanted));
    let rows;
    return {group, count: found.length, get rows() { return rows ??= ranked(found); }};
  }).filter(({count}) => count);
}

/** Those of the chosen tab: one, or all. */
function inTab(groups) {
  if (state.group === ALL) return groups;
  return [groups.find(({group}) => group.key === state.group) ?? groups[0]].filter(Boolean);
}

/** What a row is sorted by; null where there is nothing. */
function value(row, key) {
  if (key === "method") return row.label.toLowerCase();
  if (key === "status") return row.status;
  if (key === "collapse") return row.collapsed && row.collapsed[0] / row.collapsed[1];
  if (key === "n") return row.cells[place.autoattack][2] ?? 0;
  const cell = row.cells[place[key]];
  return Array.isArray(cell) ? cell[0] : null;
}

const isRising = key =>
  ["method", "status", "collapse"].includes(key) || Boolean(view.columns[place[key]]?.rising);
const direction = () => state.dir || (isRising(state.sort) ? "up" : "down");

/** Order rows by a key; those without a value, or with a number that earns no rank, come last. */
function ordered(rows, key, up) {
  const sorted = row => key in place && row.unfit ? null : value(row, key);
  return rows.map(row => [sorted(row), row]).sort(([a, x], [b, y]) => {
    if (a === null || b === null) return (a === null) - (b === null) || x.i - y.i;
    const order = typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b;
    return (up ? order : -order) || x.i - y.i;
  }).map(([, row]) => row);
}

const rankKey = () => state.sort in place ? state.sort : "autoattack";

/** Are two rows tied? Under AutoAttack by their pair mark, elsewhere if their intervals overlap. */
function tied(a, b, key) {
  if (key === "autoattack") return !".-".includes(a.group.pair_marks[a.i][b.i]);
  const [[meanA, , , lowA, highA], [meanB, , , lowB, highB]] =
    [a.cells[place[key]], b.cells[place[key]]];
  return (lowA ?? meanA) <= (highB ?? meanB) && (lowB ?? meanB) <= (highA ?? meanA);
}

/** Rank rows from the best in either direction; a tie group has the rank of its first row. */
function ranked(rows) {
  const key = rankKey();
  const best = ordered(rows, key, isRising(key))
    .filter(row => value(row, key) !== null && !row.unfit);
  const ranks = new Map(), shared = new Map();
  let leader = 0;
  best.forEach((row, i) => {
    if (!tied(best[leader], row, key)) leader = i;
    ranks.set(row, leader + 1);
    shared.set(leader + 1, (shared.get(leader + 1) ?? 0) + 1);
  });
  return ordered(rows, state.sort, direction() === "up").map(row => {
    const rank = ranks.get(row);
    return {row, rank: rank === undefined ? "-" : rank + (shared.get(rank) > 1 ? "=" : "")};
  });
}

// The table.

/** The columns of tables: all but optional ones of which none of their rows has a number. */
const columnsOf = groups => view.columns.filter(({key, optional}) => !optional || key === state.sort
  || groups.some(({group}) => group.rows.some(row => Array.isArray(row.cells[place[key]]))));

function heads(columns) {
  return [
    ["rank", "Rank", `by ${title(rankKey())}; rows that share one (=) are not told apart: AutoAttack `
      + "by a paired test over images and seeds, other columns by overlapping 95 % intervals"],
    ["method", "Method", "its settings are named where they differ within a table"],
    ["collapse", "Collapsed", "seeds that overfitted catastrophically, and the epoch it began"],
    ...columns.map(column => [column.key, column.title, column.meaning]),
    ["n", "n", "seeds attacked with AutoAttack"],
    ["status", "Status", ""],
  ];
}

const title = key => view.columns[place[key]]?.title ?? key;

/** A number with two decimals, or as many as give it, or what it stands beside, two digits that count. */
function shown(number, beside = number) {
  const decimals = beside ? Math.min(1 - Math.floor(Math.log10(Math.abs(beside))), 9) : 2;
  return number.toFixed(Math.max(decimals, 2));
}

function number(mean, spread) {
  return shown(mean) + (spread !== null ? ` ± ${shown(spread, mean)}` : "");
}

/** An absence, by its id, in a word or two; "-" where they would not be enough. */
const absence = id => ABSENCES[id] ?? "-";

function cellNote([mean, , seeds, low, high, ...images]) {
  return `${seeds} seed${seeds === 1 ? "" : "s"}`
    + (images.length ? `, ${images.join(" or ")} images each` : "")
    + (low === null ? "" : `: 95 % interval ${shown(low, mean)} to ${shown(high, mean)}`);
}

function cellOf(row, {key}) {
  const cell = row.cells[place[key]], attributes = {"data-column": key};
  if (Array.isArray(cell))
    return el("td", {...attributes, title: cellNote(cell)}, number(cell[0], cell[1]));
  const reason = view.reasons[cell];
  return el("td", {...attributes, class: "none", title: reason.text}, absence(reason.id),
    el("span", {class: "unseen"}, ` ${reason.text}`));
}

/** List the rows that a row is not told apart from, and what it would take to do so. */
function ties(row) {
  const written = (other, mark) => `${other.label}: ` + (PAIRS[mark]
    ?? `${mark} more seed${mark === "1" ? "" : "s"} of each would tell them apart`);
  return [...(row.group.pair_marks[row.i] ?? "")]
    .map((mark, j) => [row.group.rows[j], mark])
    .filter(([other, mark]) => other !== row && mark !== ".")
    .map(([other, mark]) => written(other, mark));
}

function rankNote(row) {
  const others = rankKey() === "autoattack" ? ties(row) : [];
  return others.slice(0, 8).join("\n") + (others.length > 8 ? `\nand ${others.length - 8} more` : "");
}

const notes = row => [...row.notes, row.reason].filter(Boolean).join("; ");

const badges = row =>
  row.badges.map(([text, bad]) => el("span", {class: bad ? "badge bad" : "badge"}, text));

function line({row, rank}, columns) {
  const bad = row.collapsed?.[0] ? "text bad" : "text";
  return el("tr", {"data-row": row.key},
    el("td", {class: "tick"}, el("input", {type: "checkbox", checked: true,
      "aria-label": `show ${row.label}`, onchange: () => hide(row.key)})),
    el("td", {title: rankNote(row), "data-column": "rank"}, rank),
    el("th", {scope: "row"}, el("button", {type: "button", class: "link",
      onclick: () => set({run: row.runs[0]})}, row.label),
    ...badges(row)),
    el("td", {class: bad, "data-column": "collapse"}, row.collapse),
    ...columns.map(column => cellOf(row, column)),
    el("td", {"data-column": "n"}, String(value(row, "n"))),
    el("td", {class: row.status === "done" ? "text" : "text bad"}, ABSENCES[row.status] ?? row.status),
    el("td", {class: "text"}, ...paperLinks(row.method)),
    el("td", {class: "text notes", title: notes(row)},
      ...byRun.has(row.source) ? [openRun(row.source, "its start"), " "] : [],
      notes(row).length > 160 ? `${notes(row).slice(0, 159)}…` : notes(row)));
}

const away = (href, text) => el("a", {href, rel: "noopener"}, text);

/** Links to a method's paper and code. */
function paperLinks(method) {
  const {venue, link, code} = view.papers[method] ?? {};
  const paper = link ? away(link, venue) : venue;
  return [paper, code && " ", code && away(code, "code")].filter(Boolean);
}

function groupLine({group, rows}, width) {
  const facts = el("dl", {}, ...Object.entries(group.facts).flatMap(([name, fact]) =>
    [el("dt", {}, view.titles[name]), el("dd", {}, fact)]));
  return el("tr", {class: "group"},
    el("td", {class: "tick"}, el("input", {type: "checkbox", checked: true,
      "aria-label": `show ${group.name}`, onchange: () => hide(group.key)})),
    el("th", {colspan: width - 1, scope: "rowgroup"},
      el("div", {class: "stick"}, group.name, el("span", {class: "dim"},
        ` ${rows.length} row${rows.length === 1 ? "" : "s"}, `
        + `${group.facts.train_images} training images, `
        + `AutoAttack on ${group.facts.attacked_images || "no"} images, ${group.facts.data}`
        + (group.official === false ? " " : " data ")),
      group.caution ? el("div", {class: "caution"}, group.caution) : null,
      el("details", {}, el("summary", {}, "where these numbers come from"), facts))));
}

function drawHead(columns) {
  $("heads").replaceChildren(
    el("th", {class: "tick"}, el("span", {class: "unseen"}, "Shown")),
    ...heads(columns).map(([key, name, meaning]) => {
      if (key === "rank") return el("th", {scope: "col", title: meaning}, name);
      const sorted = state.sort === key;
      const up = sorted ? direction() !== "up" : isRising(key);
      return el("th", {scope: "col", class: ["method", "collapse", "status"].includes(key) ? "text" : null,
        "data-column": key, "aria-sort": sorted ? (direction() === "up" ? "ascending" : "descending") : null},
      el("button", {type: "button", title: meaning, "data-sort": key,
        onclick: () => set({sort: key, dir: up === isRising(key) ? "" : up ? "up" : "down"})}, name));
    }),
    ...["Paper", "Notes"].map(name => el("th", {scope: "col", class: "text"}, name)));
}

function drawTabs(groups) {
  const [first] = inTab(groups), chosen = state.group === ALL ? ALL : first?.group.key;
  const counts = new Map(groups.map(({group, count}) => [group.key, count]));
  for (const tab of $("tabs").children) {
    const key = tab.dataset.tab, text = key === ALL ? "" : ` ${counts.get(key)}`;
    tab.hidden = key !== ALL && !counts.has(key);
    tab.setAttribute("aria-selected", String(key === chosen));
    tab.tabIndex = key === chosen ? 0 : -1;
    if (tab.lastChild.textContent !== text) tab.lastChild.textContent = text;
  }
  options($("pick-table"), chosen,
    [...groups.map(({group, count}) => [group.key, `${group.tab} (${count})`]), [ALL, "All"]]);
  $("tabs").hidden = $("pick").hidden = view.groups.length < 2 || !groups.length;
}

/** Say what the filters left; if nothing, which name is nearest to what was looked for. */
function drawCount(groups, drawn) {
  const total = groups.reduce((sum, {count}) => sum + count, 0);
  const all = view.groups.reduce((sum, group) => sum + group.rows.length, 0);
  const name = !total && state.q && view.groups.length ? nearest(state.q) : "";
  const shown = inTab(groups).reduce((sum, {count}) => sum + count, 0);
  const isFiltered = Object.keys(FILTERS).some(k => state[k]);
  $("count").textContent = !total
    ? `Nothing found${state.q ? ` for "${state.q}"` : ""}${isFiltered ? " with these filters" : ""}.`
    : (total < all ? `${total} of ${all} rows in ${groups.length} table${groups.length === 1 ? "" : "s"}` : "")
      + (drawn < shown ? ` ${shown} rows, the first ${drawn} drawn` : "");
  $("nearest").hidden = !name || plain(name) === plain(state.q);
  $("nearest").textContent = `Search for ${name}`;
  $("nearest").onclick = () => set({q: name});
  $("more").hidden = drawn === shown;
}

/** Draw the tables of the tab; return how many rows that are. */
function drawTable(groups) {
  const columns = columnsOf(groups), width = heads(columns).length + 3, bodies = [];
  let left = state.all || printing ? Infinity : FIRST;
  for (const shown of groups) {
    if (left <= 0) break;
    bodies.push(el("tbody", {"data-group": shown.group.key}, groupLine(shown, width),
      ...shown.rows.slice(0, left).map(row => line(row, columns))));
    left -= shown.count;
  }
  const focus = document.activeElement?.dataset?.sort;  // the heads are made anew
  drawHead(columns);
  if (focus) $("heads").querySelector(`[data-sort="${CSS.escape(focus)}"]`)?.focus();
  $("table").querySelectorAll("tbody").forEach(body => body.remove());
  $("table").append(...bodies);
  $("unhide").hidden = !hidden().size;
  $("unhide").textContent = `Show what I hid (${hidden().size})`;
  return bodies.reduce((sum, body) => sum + body.querySelectorAll("[data-row]").length, 0);
}

// What others report: filtered by what both have.

const size = eps => eps.split("/").map(Number).reduce((part, whole) => part / whole);

function reported(mean, sd) {
  return mean === null ? el("td", {class: "none"}, "not reported") : el("td", {}, number(mean, sd));
}

function drawOutside() {
  const asked = ["q", "data", "arch", "norm", "eps"].map(k => state[k]).join("\n");
  if (asked === drawOutside.last) return;
  drawOutside.last = asked;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = view.outside.filter(row =>
    [["data", "dataset"], ["arch", "architecture"], ["norm", "norm"]].every(
      ([k, name]) => !state[k] || plain(row[name]) === plain(state[k]))
    // some report 8/255 as 0.031
    && (!state.eps || Math.abs(size(row.eps) - size(state.eps)) < 0.0005)
    && words.every(word => `${row.name} ${row.venue} ${row.architecture}`.toLowerCase().includes(word)));
  $("outside").hidden = !view.outside.length;
  $("outside-rows").replaceChildren(...rows.map(row => el("tr", {},
    el("th", {scope: "row"}, row.name, ...badges(row)),
    ...["dataset", "architecture", "norm", "eps"].map(name => el("td", {class: "text"}, row[name])),
    reported(row.clean, row.clean_sd), reported(row.pgd10, row.pgd10_sd),
    reported(row.autoattack, row.autoattack_sd),
    el("td", {}, ...row.held_out_last === null ? ["-"]
      : [`${row.held_out_best.toFixed(1)}, `, el("b", {}, row.held_out_last.toFixed(1))]),
    el("td", {class: "text"}, row.collapse || "-"),
    el("td", {}, row.seconds === null ? "-" : row.seconds.toFixed(0)),
    el("td", {}, row.memory_gb === null ? "-" : row.memory_gb.toFixed(2)),
    el("td", {class: "text notes"}, row.link ? el("a", {href: row.link}, row.source) : row.source),
    ...["venue", "footnote"].map(name => el("td", {class: "text notes"}, row[name])))));
  $("outside-count").textContent = `${rows.length} of ${view.outside.length} rows`;
}

// The details of runs.

/** Are those of a table here? If they lie in a file, it is read, and what waits for it is drawn then. */
function here(group) {
  const inside = $("runs");
  if (inside) {
    takeDetails(inside.textContent);
    inside.remove();
  }
  if (group.aside && !group.asked) {
    const come = () => {
      group.come = true;
      drawDrawer();
      drawPictures(visible());
    };
    group.asked = true;
    document.head.append(el("script", {src: group.aside, nonce: view.nonce, onload: come, onerror: come}));
  }
  return group.rows[0].runs[0] in details.runs;
}

const waiting = group => group.come
  ? `The details of these runs are not in ${group.aside}, beside this page: copy that folder with the page, `
    + "or render it again."
  : "The details of these runs are being read.";

// The drawer of one run.

function openRun(id, text) {
  return el("button", {type: "button", class: "link", onclick: () => set({run: id})}, text);
}

function listed(pairs) {
  return el("dl", {}, ...pairs.filter(([, text]) => text !== undefined && text !== null && text !== "")
    .flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text instanceof Node ? text : String(text))]));
}

/** What the runs took that a run started from, added to what it took itself. */
function withStart({source, ...training}, name, digits) {
  const own = training[name], before = source?.[name];
  return before === undefined ? own
    : `${(own + before).toFixed(digits)}: ${own}, and ${before} of the run it starts from`;
}

/** The run whose weights another began with; a link to it if it has a row. */
function startOf(source) {
  if (!source) return undefined;
  const text = `${source.method}, ${source.epochs} epochs (run ${source.run}, weights ${source.digest.slice(0, 12)})`;
  return byRun.has(source.run) ? openRun(source.run, text) : text;
}

const percent = share => share === undefined ? undefined : `${share.toFixed(2)} %`;

const scored = one => one && `PGD-10 ${percent(one.pgd10)}, clean ${percent(one.clean)}`;
const chosen = best => best && `${best.epoch}: ${scored(best)}; ${best.network} weights`
  + `${best.update === null ? "" : ` of update ${best.update}`}, ${percent(best.score)} by ${best.rule}`;

function results(run) {
  const training = run.training ?? {}, attack = run.stages.find(stage => stage.after);
  return listed([
    ["clean", percent(training.clean)], ["FGSM", percent(training.fgsm)],
    ["PGD-10", percent(training.pgd10)], ["on test images", training.images],
    ["collapse began in epoch", training.onset],
    ["epsilon overfitting", run.eo && `eo ${run.eo.eo.toFixed(2)}, k_peak ${run.eo.k_peak}, `
      + `eo_gap ${run.eo.eo_gap.toFixed(2)}: accuracy under FGSM ` + (run.eo.eo > 0
        ? `rises by up to ${run.eo.eo.toFixed(2)} points from one radius to the next, at ${run.eo.k_peak}${run.swept.slice(1)}`
        : "rises nowhere with the radius")],
    ["best epoch", chosen(training.best)], ["best on test images", chosen(training.best_on_test)],
    ["averaged weights", scored(training.average)],
    ["AutoAttack leaves", attack && Object.entries(attack.after).map(([name, left]) =>
      `${percent(left)} after ${name}`).join(", ")],
    ["AutoAttack warned", attack && Object.entries(attack.warnings).map(([text, times]) =>
      `${text} (${times} times)`).join("; ")],
    ["weights attacked", attack && (attack.weights ?? "not tied to the record of training")],
    ["weights", run.weights], ["on the first test images", attack?.images], ["starts from", startOf(training.source)],
    ["epochs", withStart(training, "epochs", 0)],
    ["updates", withStart(training, "updates", 0)], ["parameters", training.parameters],
    ["seconds of training", withStart(training, "train_seconds", 1)], ["peak device bytes", training.peak_bytes],
    ["passes over all training images", run.passes && `${run.passes.forward} forward, `
      + `${run.passes.backward} backward${training.source ? ", with those of the run it starts from" : ""}`],
    ["resumed", training.segments?.slice(1).map(segment =>
      `at update ${segment.update}: ${segment.engine}, ${segment.device}, threads ${segment.threads}`)
      .join("; ") || training.resumed],
    ...run.stages.filter(stage => stage.reason).map(stage => [stage.stage, stage.reason]),
  ]);
}

/** What the row's cells hold, and what tooltips say of them, for those who cannot hover. */
function rowFacts(row) {
  return listed([["method", row.id], ...view.columns.map((column, i) => {
    const cell = row.cells[i];
    return [column.title, Array.isArray(cell) ? `${number(cell[0], cell[1])} (${cellNote(cell)})`
      : view.reasons[cell].text];
  }), ["collapsed", row.collapse], ["notes", notes(row)]]);
}

function provenance(run) {
  return run.stages.filter(stage => stage.origin !== undefined).map(stage => {
    const origin = details.origins[stage.origin], data = details.origins[stage.data] ?? {};
    return el("div", {}, el("h4", {}, stage.stage), listed([
      ["commit", (origin.commit ?? "unknown") + (origin.dirty ? " and uncommitted changes" : "")],
      ["method code", origin.method_code], ["bench code", origin.bench_code],
      ["versions", `Python ${origin.python}, torch ${origin.torch}, CUDA ${origin.cuda ?? "none"}`
        + (stage.library ? `, ${stage.library}` : "")],
      ["device", `${origin.device}, threads ${origin.threads}`],
      ["started", stage.started], ["seconds", stage.seconds],
      ["data checksum", data.checksum], ["data", data.official === undefined ? ""
        : data.official ? "official" : "UNOFFICIAL DATA"],
      ["passes forward, backward", stage.forward && `${stage.forward}, ${stage.backward}`],
    ]));
  });
}

function drawDrawer() {
  const drawer = $("drawer"), row = byRun.get(state.run);
  if (!row) return drawer.open && drawer.close();
  if (!here(row.group)) {
    $("drawer-body").replaceChildren(el("h2", {id: "drawer-title"}, row.label),
      el("p", {}, waiting(row.group)), rowFacts(row));
    return drawer.open || drawer.showModal();
  }
  const run = details.runs[state.run], config = details.configs[run.config];
  const others = ties(row), cited = view.cite[row.method];
  const part = (name, ...children) => el("section", {}, el("h3", {}, name), ...children);
  const code = text => el("pre", {tabindex: 0}, text);
  $("drawer-body").replaceChildren(
    el("h2", {id: "drawer-title"}, row.label),
    el("p", {}, ...paperLinks(row.method)),
    el("p", {class: "dim"}, `${row.group.name}; ${run.folder}${run.published ? "; published record" : ""}`),
    el("p", {}, "Seed ", ...row.runs.map(id => el("button", {type: "button",
      "aria-pressed": String(id === state.run), onclick: () => set({run: id})},
    String(details.runs[id].seed)))),
    part("The row, over its seeds", rowFacts(row)),
    part("Results of this seed", results(run)),
    run.curves ? part("Training", el("div", {id: "run-curves", class: "chart"})) : "",
    part("Against the other rows", others.length
      ? el("div", {}, el("p", {class: "dim"}, "Not told apart under AutoAttack, at 95 %. How many more seeds "
        + "would do it is an estimate: as if means, spreads over seeds and images stayed as they are."),
      el("ul", {}, ...others.map(text => el("li", {}, text))))
      : el("p", {}, row.i < row.group.pair_marks.length
        ? "Told apart from every other row under AutoAttack."
        : `It has no rank: ${row.unfit || "no AutoAttack"}.`)),
    part("Repeat it", code(run.command), copier(run.command)),
    part("Configuration", code(JSON.stringify({...config, seed: run.seed}, null, 2))),
    part("Where it was made", ...provenance(run)),
    part("Method as run", code(run.source === undefined
      ? "not kept: training is not done" : details.sources[run.source])),
    part("Ends of the logs", ...(run.logs
      ? Object.entries(run.logs).flatMap(([stage, end]) => [el("h4", {}, `${stage}.log`), code(end)])
      : [el("p", {}, `not on this page; results/logs/${run.folder}/ on the machine that ran it`)])),
    part("Cite", code(cited ? view.bibtex[cited] : `no BibTeX entry for ${row.method}`)));
  if (!drawer.open) drawer.showModal();
  if (run.curves) drawRun($("run-curves"), row, state.run);
}

// Exports of the current view.

function copier(text) {
  const button = el("button", {type: "button", onclick: async () => {
    await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
    button.textContent = "Copied";
  }}, "Copy");
  return button;
}

/** Lists of fields as lines of CSV. */
function csvText(lines) {
  // a spreadsheet would run a text that begins like a formula
  const safe = text => typeof text === "string" && /^[=+\-@\t\r]/.test(text) && text !== "-"
    ? `'${text}` : String(text ?? "");
  const quoted = text => /[",\n\r]/.test(safe(text)) ? `"${safe(text).replaceAll('"', '""')}"` : safe(text);
  return lines.map(fields => fields.map(quoted).join(",")).join("\n") + "\n";
}

function csv() {
  const facts = Object.keys(view.groups[0]?.facts ?? {});
  const head = [...facts.map(name => view.titles[name]), `rank by ${rankKey()}`, "method", "family",
    ...view.columns.flatMap(({key}) => [key, `${key}_sd`, `${key}_n`, `${key}_low`, `${key}_high`]),
    "collapsed", "status", "notes"];
  const word = cell => view.reasons[cell].id === "unreadable" ? "unreadable" : null;
  const lines = inTab(visible()).flatMap(({group, rows}) => rows.map(({row, rank}) => [
    ...facts.map(name => group.facts[name]), rank, row.id, row.family,
    ...row.cells.flatMap(cell => Array.isArray(cell) ? cell.slice(0, 5)
      : [word(cell), null, 0, null, null]),
    row.collapse, row.status, notes(row)]));
  return csvText([head, ...lines]);
}

function markdown() {
  const safe = text => text.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replaceAll("<", "&lt;")
    .replace(/\s+/g, " ");
  const written = fields => `| ${fields.map(safe).join(" | ")} |`;
  return inTab(visible()).map(({group, rows}) => {
    const columns = columnsOf([{group}]), titles = heads(columns).map(([, name]) => name);
    const text = cell => Array.isArray(cell) ? number(cell[0], cell[1]) : absence(view.reasons[cell].id);
    return [`## ${safe(group.name)}`, "", ...group.caution ? [safe(group.caution), ""] : [], written(titles),
      `|${" --- |".repeat(titles.length)}`, ...rows.map(({row, rank}) => written([rank, row.label, row.collapse,
        ...columns.map(({key}) => text(row.cells[place[key]])), String(value(row, "n")), row.status])),
      ""].join("\n");
  }).join("\n");
}

/** How to cite the tables in view: which they are, of which code, and when this page was made. */
function citation() {
  const {title, authors, version, repository, commit, rendered} = view.project;
  return inTab(visible()).map(({group}) => [
    `@misc{onestep_${group.key},`, `  author = {{${escaped(authors)}}},`,
    `  title = {${escaped(title)}, version ${escaped(version)}},`, `  year = {${rendered.slice(0, 4)}},`,
    ...(repository ? [`  url = {${repository}},`] : []),
    `  note = {Table ${escaped(group.name)}; rendered ${rendered} at commit ${escaped(commit.slice(0, 12))}, `
      + `records made at ${escaped(group.facts.commit)}}`, "}", ""].join("\n")).join("\n");
}

function bibtex() {
  const methods = new Set(inTab(visible()).flatMap(({rows}) => rows.map(({row}) => row.method)));
  const keys = new Set([...methods].map(method => view.cite[method]).filter(Boolean));
  const without = [...methods].filter(method => !view.cite[method]).sort();
  return (without.length ? `% no entry for: ${without.join(", ").replace(/\s+/g, " ")}\n\n` : "")
    + [...keys].sort().concat(view.cite_attack).map(key => view.bibtex[key]).join("\n\n") + "\n";
}

const EXPORTS = {csv: [csv, "csv"], markdown: [markdown, "md"], latex: [latex, "tex"],
  bibtex: [bibtex, "bib"], citation: [citation, "bib"]};
const exported = () => (EXPORTS[state.format] ?? EXPORTS.csv)[0]();

function download() {
  save(new Blob([exported()], {type: "text/plain"}), `leaderboard.${(EXPORTS[state.format] ?? EXPORTS.csv)[1]}`);
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// Controls.

function choices(key) {
  const rows = view.groups.flatMap(group => group.rows.map(row =>
    ({...group.filters, family: row.family, status: row.status})[key]));
  return [...new Set(rows)].sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
}

function makeControls() {
  $("page").hidden = false;
  $("filters").append(...Object.entries(FILTERS).map(([key, name]) => el("label", {}, name,
    el("select", {"data-key": key}, el("option", {value: ""}, "all"),
      ...choices(key).map(choice => el("option", {value: choice}, choice || "not known"))))));
  $("fold").open = Object.keys(FILTERS).some(k => state[k]);
  makeTabs();
  $("meanings").append(...heads(view.columns).filter(([, , meaning]) => meaning).flatMap(([, name, meaning]) =>
    [el("dt", {}, name), el("dd", {}, meaning)]));
  for (const link of document.querySelectorAll("[data-part]"))  // the address holds the state
    link.addEventListener("click", event => {
      event.preventDefault();
      const part = $(link.dataset.part);
      if (part.matches("details")) part.open = true;
      part.scrollIntoView();
    });
  for (const control of document.querySelectorAll("[data-key]"))
    control.addEventListener(control.type === "search" ? "input" : "change",
      () => set({[control.dataset.key]: control.value}));
  document.querySelector(".skip").addEventListener("click", event => {
    event.preventDefault();
    $("table").focus();
  });
  $("more").onclick = () => set({all: "yes"});
  $("unhide").onclick = () => set({hide: ""});
  $("reset").onclick = () => set({...DEFAULTS});
  $("download").onclick = download;
  $("download").after(" ", copier(exported));
  $("export").addEventListener("toggle", drawExport);
  $("cite").onclick = () => {
    $("export").open = true;
    set({format: "citation"});
    $("exported").focus();
  };
  $("drawer").addEventListener("close", () => state.run && set({run: ""}));
  $("drawer-close").onclick = () => $("drawer").close();
  $("table").addEventListener("click", event => {
    const row = event.target.closest("td:not(.tick)")?.closest("[data-row]");
    if (row) row.querySelector("button").click();
  });
  addEventListener("hashchange", () => { state = readAddress(); draw(); });
}

function makeTabs() {
  const names = [...view.groups.map(({key, tab, name}) => [key, tab, name]), [ALL, "All", null]];
  const tabs = names.map(([key, tab, name]) => el("button", {type: "button", role: "tab", "data-tab": key, title: name,
    "aria-controls": "panel", onclick: () => set({group: key})}, tab, el("span", {class: "dim"})));
  $("tabs").append(...tabs);
  $("tabs").addEventListener("keydown", event => {
    const shown = tabs.filter(tab => !tab.hidden), i = shown.indexOf(event.target);
    const to = {ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: -1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = shown.at(to % shown.length);
    next.focus();
    next.click();
  });
}

function drawExport() {
  drawColumns();
  if ($("export").open) $("exported").value = exported();
}

function draw() {
  for (const control of document.querySelectorAll("[data-key]"))
    if (control.value !== state[control.dataset.key]) control.value = state[control.dataset.key];
  const groups = visible();
  drawTabs(groups);
  drawCount(groups, drawTable(inTab(groups)));
  drawOutside();
  drawExport();
  $("pictures").hidden = !groups.length;
  clearTimeout(later);
  later = setTimeout(() => drawAll(groups), 100);  // not at every key of a search
  drawDrawer();
}

function drawAll(groups = visible()) {
  const [shown] = inTab(groups);
  drawOverview(shown);
  if (shown?.group.aside) here(shown.group);  // a print cannot wait for it
  drawPictures(groups);
}
