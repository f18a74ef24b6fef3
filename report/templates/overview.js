// The first picture: a table's headline against what it cost, with what collapsed marked.

const CROSS = "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z";

function mark(row) {
  const [colour, shape] = row.collapsed?.[0] ? ["var(--bad)", CROSS] : row.look;
  return {colour, shape};
}

function drawOverview({group, rows} = {rows: []}) {
  const [x, y] = ["time_ratio", "autoattack"];
  const ranked = rows.map(({row}) => row).filter(row => !row.unfit);
  const points = ranked.filter(row => value(row, x) !== null && value(row, y) !== null).map(row => {
    const [[time], [mean, , , low, high]] = [row.cells[place[x]], row.cells[place[y]]];
    return {label: row.label, x: time, y: mean, low, high, ...mark(row)};
  });
  $("first").hidden = !points.length;
  if (!points.length) return;
  const node = $("overview");
  embed(node, PICTURES.scatter, scatter(points, view.columns[place[x]], view.columns[place[y]], node.clientWidth));
  $("overview-note").textContent = `${group.tab}: AutoAttack against the time of an update, FGSM-RS = 1. `
    + (points.some(point => point.shape === CROSS) ? "Crosses collapsed in a seed or more. " : "")
    + (ranked.length < rows.length ? "Rows without a rank are left out. " : "")
    + "Dashed: no other row beats these on both. Thin bars: 95 % intervals.";
}

addEventListener("resize", () => {
  clearTimeout(later);
  later = setTimeout(() => drawAll(), 200);
});
