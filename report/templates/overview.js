// The first picture: a table's headline against what it cost, with what collapsed marked.

const CROSS = "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z";

function mark(row) {
  if (row.collapsed?.[0]) return {colour: "var(--bad)", shape: CROSS};
  const [colour, shape] = row.look;
  return {colour: row.unfit ? "var(--dim)" : colour, shape};
}

function drawOverview({group, rows} = {rows: []}) {
  const [x, y] = ["time_ratio", "autoattack"];
  const shown = rows.map(({row}) => row).filter(row => value(row, x) !== null && value(row, y) !== null);
  const points = shown.map(row => {
    const [[time], [mean, , , low, high]] = [row.cells[place[x]], row.cells[place[y]]];
    return {label: row.label, x: time, y: mean, low, high, ...mark(row)};
  });
  $("first").hidden = !points.length;
  if (!points.length) return;
  const node = $("overview");
  embed(node, PICTURES.scatter, scatter(points, view.columns[place[x]], view.columns[place[y]], node.clientWidth));
  $("overview-note").textContent = `${group.tab}: AutoAttack against the time of an update, FGSM-RS = 1. `
    + (points.some(point => point.shape === CROSS) ? "Crosses collapsed in a seed or more. " : "")
    + (shown.some(row => row.unfit) ? "Grey has no rank. " : "")
    + "Dashed: no other row beats these on both. Thin bars: 95 % intervals.";
}

addEventListener("resize", () => {
  clearTimeout(later);
  later = setTimeout(drawAll, 200);
});
