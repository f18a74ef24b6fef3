// The pictures, as Vega-Lite specifications; colours are the page's own, so that they follow light,
// dark and print. Okabe and Ito's palette, which colour-blind readers tell apart; shapes say it again.

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "var(--ink)"];
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
const ATTACKS = {clean: ["#56B4E9", [1, 0]], fgsm: ["#E69F00", [5, 3]], pgd10: ["#0072B2", [1, 0]],
  validation: ["#009E73", [2, 2]]};
const SWEEP = "radius sweep", RADIUS = "radius of the attack, 1/255";
const PANELS = 24;  // small pictures at once
const CONFIG = {
  background: "transparent", font: "inherit", view: {stroke: null},
  axis: {labelColor: "var(--ink)", titleColor: "var(--ink)", gridColor: "var(--line)",
    domainColor: "var(--dim)", tickColor: "var(--dim)", labelFontSize: 11, titleFontSize: 12},
  header: {labelColor: "var(--ink)", labelFontSize: 12, labelLimit: 210, title: null},
  legend: {labelColor: "var(--ink)", labelFontSize: 12, orient: "top", title: null, symbolType: "stroke"},
  text: {color: "var(--ink)"},
};
// expressions are interpreted, because the page's policy forbids code made of text; styles are the page's
const PLAIN = {actions: false, renderer: "svg", ast: true, defaultStyle: false,
  tooltip: {disableDefaultStyle: true}};
let inSight = false;  // nothing is drawn until a reader scrolls to it

/** Draw; the library is a megabyte of script, which runs when the first picture is wanted. */
function embed(node, spec) {
  if (!window.vegaEmbed) {
    const library = document.createElement("script");
    library.textContent = $("library").textContent;
    document.head.append(library);
  }
  return vegaEmbed(node, {config: CONFIG, ...spec}, PLAIN);
}

/** A row's name looks the same in every picture. */
const labels = [...new Set(view.groups.flatMap(group => group.rows.map(row => row.label)))].sort();

function look(row) {
  const i = labels.indexOf(row.label);
  return {colour: COLOURS[i % COLOURS.length], shape: SHAPES[i % SHAPES.length]};
}

/** Push apart what stands too close: positions in rising order, at least `gap` apart, within 0..most. */
function spread(positions, gap, most) {
  const order = positions.map((position, i) => [position, i]).sort(([a], [b]) => a - b);
  const found = [];
  let last = -gap;
  for (const [position, i] of order) found[i] = last = Math.max(position, last + gap);
  let next = most + gap;
  for (const [, i] of order.reverse()) found[i] = next = Math.min(found[i], next - gap);
  return found;
}

/** Points that no other beats on both axes. */
function front(points, isCheap) {
  const beats = (a, b) => a.y >= b.y && (isCheap ? a.x <= b.x : a.x >= b.x) && (a.x !== b.x || a.y !== b.y);
  return points.filter(point => !points.some(other => beats(other, point)));
}

function scatter(points, x, y, width) {
  const height = Math.max(320, 15 * points.length), isCost = x.kind === "cost";
  const xs = points.map(point => point.x), [least, most] = [Math.min(...xs), Math.max(...xs)];
  const isLog = isCost && least > 0;
  const margin = Math.max(1, 0.06 * (most - least));
  const xDomain = isLog ? [least / 1.15, most * 1.15]
    : [least - margin, Math.min(x.kind === "accuracy" ? 100.5 : Infinity, most + margin)];
  // room for the points, not for every interval: that of two seeds can be the whole axis
  const top = Math.min(102, 1.3 * Math.max(8, ...points.map(point => point.y)));
  const pixels = spread(points.map(point => height * (1 - point.y / top)), 15, height);
  points.forEach((point, i) => { point.slot = top * (1 - pixels[i] / height); point.end = xDomain[1]; });
  const names = Math.min(190, 24 + 6.2 * Math.max(...points.map(point => point.label.length)));
  const inner = Math.max(120, width - names - 60);
  const colour = {field: "colour", type: "nominal", scale: null, legend: null};
  const shape = {field: "shape", type: "nominal", scale: null, legend: null};
  const xAxis = {field: "x", type: "quantitative", title: x.title + (isCost ? " (less is better)" : ""),
    scale: {type: isLog ? "log" : "linear", domain: xDomain, nice: false}};
  const yAxis = {field: "y", type: "quantitative", title: `${y.title}, %`,
    scale: {domain: [0, top], nice: false}};
  const tooltip = [{field: "label", title: "method"}, {field: "yText", title: y.title},
    {field: "xText", title: x.title}, {field: "best", title: "front"}];
  return {
    width: inner, height, padding: {left: 5, top: 10, bottom: 5, right: names},
    data: {values: points}, encoding: {x: xAxis, y: yAxis},
    layer: [
      {mark: {type: "line", interpolate: isCost ? "step-after" : "linear", color: "var(--dim)",
        strokeDash: [4, 3]},
        transform: [{filter: "datum.best == 'yes'"}], encoding: {order: {field: "x"}}},
      {mark: {type: "rule", opacity: 0.35, clip: true},
        transform: [{filter: "isValid(datum.low)"}],
        encoding: {color: colour, y: {...yAxis, field: "low"}, y2: {field: "high"}}},
      {mark: {type: "rule", opacity: 0.25, color: "var(--dim)"},
        encoding: {x2: {field: "end"}, y2: {field: "slot"}}},
      {mark: {type: "point", filled: true, size: 110, opacity: 1}, encoding: {color: colour, shape, tooltip}},
      {mark: {type: "point", filled: true, size: 60, opacity: 1},
        encoding: {x: {value: inner + 8}, y: {...yAxis, field: "slot"}, color: colour, shape, tooltip}},
      {mark: {type: "text", align: "left", baseline: "middle", fontSize: 11, limit: names - 18},
        encoding: {x: {value: inner + 16}, y: {...yAxis, field: "slot"}, text: {field: "label"}, tooltip}},
    ],
  };
}

/** Small pictures side by side, one a row of the table: lines over epochs or radii. */
function panels(lines, onsets, {xTitle, yTitle, width, isPercent}) {
  const columns = Math.max(1, Math.floor(width / 235));
  const kinds = [...new Set(lines.map(line => line.kind))];
  const known = kinds.map(kind => ATTACKS[kind] ?? ["#0072B2", [1, 0]]);
  const y = {field: "y", type: "quantitative", title: yTitle, axis: {format: ".4~g", tickCount: 4},
    scale: isPercent ? {domain: [0, 100]} : {zero: false, nice: true}};
  const x = {field: "x", type: "quantitative", title: xTitle, axis: {tickMinStep: 1, tickCount: 5}};
  const legend = kinds.length > 1 ? {} : null;
  const tooltip = ["label", "seed", "kind", "x", "y"].map(field => ({field}));
  const collapse = {
    mark: {type: "rule", color: "#D55E00", strokeWidth: 2, strokeDash: [2, 2]},
    transform: [{filter: "isValid(datum.onset)"}],
    encoding: {x: {...x, field: "onset"}, tooltip: [{field: "text", title: "collapse"}]},
  };
  return {
    data: {values: [...lines, ...onsets]},
    facet: {field: "label", type: "nominal", sort: [...new Set(lines.map(line => line.label))]}, columns,
    spec: {
      width: Math.max(130, Math.floor(width / columns) - 62), height: 100,
      layer: [
        {mark: {type: "line", strokeWidth: 1.6}, transform: [{filter: "isValid(datum.kind)"}],
          encoding: {x, y, detail: {field: "seed"}, tooltip,
            color: {field: "kind", type: "nominal", legend,
              scale: {domain: kinds, range: known.map(([colour]) => colour)}},
            strokeDash: {field: "kind", type: "nominal", legend,
              scale: {domain: kinds, range: known.map(([, dash]) => dash)}}}},
        ...(onsets.length ? [collapse] : []),
      ],
    },
    resolve: isPercent ? {} : {scale: {y: "independent"}},
  };
}

/** What there is to trace in a group's runs: accuracies, then everything else that curves hold. */
function traces(rows) {
  const runs = rows.flatMap(({row}) => row.runs.map(id => details().runs[id]));
  const names = new Set(runs.flatMap(run => Object.keys(run.curves ?? {})));
  const others = [...names].filter(name => name !== "epoch" && !(name in ATTACKS));
  return [...(Object.keys(ATTACKS).some(kind => names.has(kind)) ? ["accuracy"] : []), ...others,
    ...(runs.some(run => run.sweep) ? [SWEEP] : [])];
}

function linesOf(row, ids, trace) {
  return ids.flatMap(id => {
    const {curves = {}, sweep = {}, seed} = details().runs[id];
    const line = (kind, pairs) => pairs.filter(([, y]) => y !== null && y !== undefined)
      .map(([x, y]) => ({label: row.label, seed, kind, x, y}));
    if (trace === SWEEP)
      return Object.entries(sweep).flatMap(([kind, pairs]) => line(kind, pairs));
    const kinds = trace === "accuracy" ? Object.keys(ATTACKS).filter(kind => kind in curves)
      : trace in curves ? [trace] : [];
    return kinds.flatMap(kind => line(kind, curves.epoch.map((x, i) => [x, curves[kind][i]])));
  });
}

function onsetsOf(row, ids, trace) {
  if (trace === SWEEP) return [];
  return ids.map(id => details().runs[id]).filter(run => run.training?.onset).map(
    ({seed, training: {onset}}) =>
      ({label: row.label, onset, text: `seed ${seed} collapsed in epoch ${onset}`}));
}

function tracesSpec(rows, trace, width) {
  const drawn = rows.filter(({row}) => linesOf(row, row.runs, trace).length).slice(0, PANELS);
  if (!drawn.length) return null;
  return panels(drawn.flatMap(({row}) => linesOf(row, row.runs, trace)),
    drawn.flatMap(({row}) => onsetsOf(row, row.runs, trace)), {
      xTitle: trace === SWEEP ? RADIUS : "epoch", width,
      yTitle: isShare(trace) ? "%" : null, isPercent: isShare(trace)});
}

const isShare = trace => ["accuracy", SWEEP].includes(trace);

function drawRun(node, row, id) {
  const width = Math.min(node.clientWidth || 640, 900) - 10;
  const shown = traces([{row: {runs: [id]}}]);
  node.replaceChildren(...shown.map(trace => {
    const one = el("div", {role: "img", "aria-label": `${trace} of ${row.label}`});
    const spec = panels(linesOf({label: trace}, [id], trace), onsetsOf({label: trace}, [id], trace),
      {xTitle: isShare(trace) && trace !== "accuracy" ? RADIUS : "epoch", yTitle: null,
        width: Math.min(width, 290), isPercent: isShare(trace)});
    embed(one, spec);
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
  const key = options($("picture-group"), state.group, groups.map(({group}) => [group.key,
    `${group.name}, width ${group.facts.width}, ${group.facts.train_images} images`]));
  const {rows} = groups.find(({group}) => group.key === key);
  const named = kinds => view.columns.filter(column => kinds.includes(column.kind)
    && rows.some(({row}) => value(row, column.key) !== null)).map(column => [column.key, column.title]);
  const x = options($("picture-x"), state.x, named(["cost", "accuracy"]));
  const y = options($("picture-y"), state.y, named(["accuracy"]));
  const trace = options($("picture-trace"), state.trace, traces(rows).map(name => [name, name]));
  drawScatter(rows, x, y);
  const spec = tracesSpec(rows, trace, $("traces").clientWidth - 10);
  $("traces-note").textContent = !spec ? "No run of this table has curves yet."
    : rows.length > PANELS ? `The first ${PANELS} rows of the table, as sorted.` : "";
  if (spec) embed($("traces"), spec);
  else $("traces").replaceChildren();
}

function drawScatter(rows, x, y) {
  const [xColumn, yColumn] = [view.columns[place[x]], view.columns[place[y]]];
  const points = rows.map(({row}) => row)
    .filter(row => x && y && value(row, x) !== null && value(row, y) !== null)
    .map(row => {
      const [ys, xs] = [row.cells[place[y]], row.cells[place[x]]];
      return {label: row.label, x: xs[0], y: ys[0], low: ys[3], high: ys[4], ...look(row), best: "no",
        xText: number(xs[0], xs[1]), yText: number(ys[0], ys[1])};
    });
  for (const point of front(points, xColumn?.kind === "cost")) point.best = "yes";
  $("scatter-note").textContent = points.length
    ? `${points.length} of ${rows.length} rows have both numbers; the dashed line joins the rows that no other `
      + "beats on both; thin bars are 95 % intervals."
    : "No row of this table has both numbers yet.";
  if (points.length) embed($("scatter"), scatter(points, xColumn, yColumn, $("scatter").clientWidth));
  else $("scatter").replaceChildren();
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
