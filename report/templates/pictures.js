// The pictures: report/figures.py describes them, and this fills them from the page's data. Colours are
// the page's own, so that they follow light, dark and print; what is saved has those of paper.

const {attacks: ATTACKS, other: OTHER, units: UNITS, sweep: SWEEP, ...PICTURES} = view.pictures;
const SCREEN = {ink: "var(--ink)", dim: "var(--dim)", line: "var(--line)", background: "transparent",
  font: "system-ui, sans-serif"};
// expressions are interpreted, because the page's policy forbids code made of text; styles are the page's
const PLAIN = {actions: false, renderer: "svg", ast: true, defaultStyle: false,
  tooltip: {disableDefaultStyle: true}};
const SHEET = 1000;  // pixels across a printed page
const KEY = 140;  // pixels of a curve's name in a legend, which takes more lines where they do not fit
let inSight = false;  // nothing is drawn until a reader scrolls to it, or prints
let printing = false;

/** Fill the places of a template. */
function filled(template, values) {
  return JSON.parse(JSON.stringify(template), (_, text) =>
    typeof text === "string" && text.startsWith("$") ? values[text.slice(1)] : text);
}

/** Draw; the library is a megabyte of script, which runs when the first picture is wanted. */
function embed(node, template, values, colours = SCREEN) {
  if (!window.vegaEmbed) {
    const library = document.createElement("script");
    library.textContent = $("library").textContent;
    document.head.append(library);
  }
  return vegaEmbed(node, filled(template, {...values, ...colours}), PLAIN);
}

/** Draw, and offer the picture and its data below it. */
function show(node, template, values, name) {
  const kinds = {svg: "image/svg+xml", png: "image/png", csv: "text/csv"};
  const buttons = el("p", {class: "take"}, "Save as ", ...Object.entries(kinds).map(([kind, type]) =>
    el("button", {type: "button", "aria-label": `Save this picture as ${kind.toUpperCase()}`,
      onclick: async () => save(new Blob([await picture(kind, template, values)], {type}), `${name}.${kind}`)},
    kind.toUpperCase())));
  unshow(node);
  node.after(buttons);
  embed(node, template, values);
}

function unshow(node) {
  node.replaceChildren();
  if (node.nextElementSibling.matches(".take")) node.nextElementSibling.remove();
}

/** A picture as on paper, or the lines of its data with the records that each is from. */
async function picture(kind, template, values) {
  if (kind === "csv") {
    const titles = filled(template.usermeta.columns, values);
    return csvText([Object.values(titles), ...values.data.map(point =>
      Object.keys(titles).map(name => point[name]))]);
  }
  const {view: drawn} = await embed(document.createElement("div"), template, values, PICTURES.paper);
  return kind === "svg" ? drawn.toSVG()
    : drawn.toCanvas(3).then(canvas => new Promise(resolve => canvas.toBlob(resolve)));
}

const wide = node => printing ? SHEET : node.clientWidth;
const axis = ({title, unit, kind}) => `${title}, ${unit}${kind === "cost" ? " (less is better)" : ""}`;
const folder = id => details.runs[id].folder;

function scatter(points, x, y, width) {
  const isCost = x.kind === "cost";
  const names = Math.min(190, 24 + 7.5 * Math.max(...points.map(point => point.label.length)));
  return {data: points, limit: names - 18, width: Math.max(120, width - names - 60),
    height: Math.max(320, 15 * points.length),
    // room for the points, not for every interval: that of two seeds can be the whole axis
    bottom: 0, top: Math.min(102, 1.3 * Math.max(8, ...points.map(point => point.y))),
    xTitle: axis(x), yTitle: axis(y), worse: isCost ? 1 : -1, step: isCost ? "step-after" : "linear",
    xScale: isCost && Math.min(...points.map(point => point.x)) > 0 ? PICTURES.log : PICTURES.linear};
}

/** Small pictures side by side, one a row of the table: lines over epochs or radii. */
function panels(lines, trace, width) {
  const columns = Math.max(1, Math.floor(width / 235));
  const kinds = [...new Set(lines.map(line => line.kind))], looks = kinds.map(kind => ATTACKS[kind] ?? OTHER);
  const unit = UNITS[trace] ?? PICTURES.state_unit, isPercent = unit === "%";
  return {data: lines, kinds, colours: looks.map(([colour]) => colour), dashes: looks.map(([, dash]) => dash),
    labels: [...new Set(lines.map(line => line.label))], columns,
    legend: kinds.length > 1 ? {columns: Math.max(1, Math.floor(width / KEY))} : null,
    width: Math.max(130, Math.floor(width / columns) - 62),
    xDomain: [Math.min(...lines.map(({x}) => x)), Math.max(...lines.map(({x}) => x))],
    xTitle: trace === SWEEP ? `radius of the attack, ${lines[0].swept}` : "epoch",
    yTitle: isPercent ? `${trace}, ${unit}` : [trace, unit], yName: `${trace}, ${unit}`,
    yScale: isPercent ? {domain: [0, 100]} : {zero: false, nice: true},
    resolve: isPercent ? "shared" : "independent"};
}

/** What there is to trace in a group's runs: accuracies, then everything else that curves hold. */
function traces(rows) {
  const runs = rows.flatMap(({row}) => row.runs.map(id => details.runs[id]));
  const names = new Set(runs.flatMap(run => Object.keys(run.curves ?? {})));
  const others = [...names].filter(name => name !== "epoch" && !(name in ATTACKS));
  return [...(Object.keys(ATTACKS).some(kind => names.has(kind)) ? ["accuracy"] : []), ...others,
    ...(runs.some(run => run.sweep) ? [SWEEP] : [])];
}

function linesOf(row, ids, trace) {
  return ids.flatMap(id => {
    const {curves = {}, sweep = {}, swept, seed, training} = details.runs[id];
    const onset = trace === SWEEP ? null : training?.onset ?? null;
    const line = (kind, pairs) => pairs.filter(([, y]) => y !== null && y !== undefined)
      .map(([x, y]) => ({label: row.label, seed, kind, x, y, onset, records: folder(id)}));
    if (trace === SWEEP)
      return Object.entries(sweep).flatMap(([kind, pairs]) => line(kind, pairs).map(point => ({...point, swept})));
    const kinds = (trace === "accuracy" ? Object.keys(ATTACKS) : [trace]).filter(kind => kind in curves);
    return kinds.flatMap(kind => line(kind, curves.epoch.map((x, i) => [x, curves[kind][i]])));
  });
}

function drawRun(node, row, id) {
  const width = Math.min(node.clientWidth || 640, 290);
  node.replaceChildren(...traces([{row: {runs: [id]}}]).map(trace => {
    const one = el("div", {role: "img", "aria-label": `${trace} of ${row.label}`});
    embed(one, PICTURES.curves, panels(linesOf({label: trace}, [id], trace), trace, width));
    return one;
  }));
}

function options(select, chosen, pairs) {
  select.replaceChildren(...pairs.map(([value, name]) => el("option", {value}, name)));
  select.value = pairs.some(([value]) => value === chosen) ? chosen : pairs[0]?.[0] ?? "";
  return select.value;
}

function drawPictures(groups) {
  if (!groups.length || !inSight) return;
  const key = options($("picture-group"), state.group, groups.map(({group}) => [group.key, group.tab]));
  const {group, rows} = groups.find(({group}) => group.key === key);
  if (!here(group)) {
    [$("scatter"), $("traces")].forEach(unshow);
    $("scatter-note").textContent = waiting(group);
    $("traces-note").textContent = "";
    return;
  }
  const named = kinds => view.columns.filter(column => kinds.includes(column.kind)
    && rows.some(({row}) => value(row, column.key) !== null)).map(column => [column.key, column.title]);
  const x = options($("picture-x"), state.x, named(["cost", "accuracy"]));
  const y = options($("picture-y"), state.y, named(["accuracy"]));
  const trace = options($("picture-trace"), state.trace, traces(rows).map(name => [name, name]));
  drawScatter(rows, x, y);
  const drawn = rows.map(({row}) => linesOf(row, row.runs, trace)).filter(lines => lines.length);
  $("traces-note").textContent = !drawn.length ? "No run of this table has curves yet."
    : drawn.length > PICTURES.panels ? `The first ${PICTURES.panels} rows of the table, as sorted.` : "";
  if (!drawn.length) return unshow($("traces"));
  show($("traces"), PICTURES.curves, panels(drawn.slice(0, PICTURES.panels).flat(), trace,
    wide($("traces")) - 10), pictureName(rows[0].row.group, trace.replace(/[^A-Za-z0-9]+/g, "-")));
}

const pictureName = (group, what) => `${group.file}-${what}`;

function drawScatter(rows, x, y) {
  const [xColumn, yColumn] = [view.columns[place[x]], view.columns[place[y]]];
  const all = rows.map(({row}) => row), ranked = all.filter(row => !row.unfit);
  const points = ranked.filter(row => x && y && value(row, x) !== null && value(row, y) !== null)
    .map(row => {
      const [ys, xs] = [row.cells[place[y]], row.cells[place[x]]], [colour, shape] = row.look;
      return {label: row.label, x: xs[0], y: ys[0], low: ys[3], high: ys[4], colour, shape,
        records: row.runs.map(folder).join(" ")};
    });
  $("scatter-note").textContent = points.length
    ? `${points.length} of ${ranked.length} rows have both numbers; `
      + (ranked.length < all.length ? "rows without a rank are left out; " : "")
      + "the dashed line joins the rows that no other beats on both; thin bars are 95 % intervals."
    : "No row of this table has both numbers yet.";
  if (!points.length) return unshow($("scatter"));
  show($("scatter"), PICTURES.scatter, scatter(points, xColumn, yColumn, Math.min(960, wide($("scatter")))),
    pictureName(rows[0].row.group, `${y}-over-${x}`));
}

/** Draw for paper, or for the screen again. */
function print(isPaper) {
  if (printing === isPaper) return;
  [printing, inSight] = [isPaper, inSight || isPaper];
  const groups = visible();
  drawCount(groups, drawTable(inTab(groups)));
  drawPictures(groups);
}

makeControls();
draw();
new IntersectionObserver((entries, observer) => {
  if (!entries.some(entry => entry.isIntersecting)) return;
  inSight = true;
  observer.disconnect();
  drawPictures(visible());
}, {rootMargin: "200px"}).observe($("pictures"));
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => drawPictures(visible()), 200);
});
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
matchMedia("print").addEventListener("change", event => print(event.matches));
