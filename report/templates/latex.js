// The view as LaTeX: what report/latex.py writes, of the rows and columns that a reader chose.

const SPECIAL = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  "±": "$\\pm$", "<": "\\textless{}", ">": "\\textgreater{}", "\n": " ", "\r": " "};
const escaped = text => text.replace(/[\\~^±<>\n\r]|[&%$#_{}]/g, char => SPECIAL[char] ?? `\\${char}`);

/** The columns that a reader chose, or those of the files. */
function latexColumns() {
  const chosen = state.columns.split(",");
  return view.columns.filter(column => state.columns ? chosen.includes(column.key) : column.short);
}

function latex() {
  return visible().map(({group, rows}) => latexTable(group, rows, latexColumns())).join("\n");
}

function latexTable(group, rows, columns) {
  const line = cells => `${cells.join(" & ")} \\\\`;
  return ["% \\usepackage{booktabs, graphicx}", "\\begin{table}[t]",
    "\\centering\\sloppy\\footnotesize\\setlength{\\tabcolsep}{3pt}",
    `\\caption{${escaped(latexCaption(group, columns))}}`, `\\label{tab:${group.file.replace(/[^\w.-]/g, "-")}}`,
    "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
    `\\begin{tabular}{rl${"r".repeat(columns.length)}lr}`, "\\toprule",
    line(["Rank", "Method", ...columns.map(column => escaped(column.title)), "Collapsed", "$n$"]), "\\midrule",
    ...rows.map(({row, rank}) => line(latexCells(row, rank, columns))), "\\bottomrule", "\\end{tabular}}",
    ...latexNotes(rows.map(({row}) => row), columns).map(note => `\\par ${escaped(note)}`),
    "\\end{table}", ""].join("\n");
}

/** Break a long name into lines, one above the other. */
function stacked(name) {
  const lines = [""];
  for (const word of name.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length <= 30 || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  const text = lines.map(escaped).join(" \\\\ ");
  return lines.length === 1 ? text : `\\shortstack[l]{${text}}`;
}

function latexCells(row, rank, columns) {
  return [rank === "-" ? "--" : rank, stacked(row.label), ...columns.map(({key}) => {
    const cell = row.cells[place[key]];
    const text = Array.isArray(cell) ? escaped(number(cell[0], cell[1])) : "--";
    return key === rankKey() && parseInt(rank) === 1 ? `\\textbf{${text}}` : text;
  }), row.collapsed ? row.collapsed.join(" of ") : "--", String(value(row, "n"))];
}

function latexCaption(group, columns) {
  const costs = columns.filter(({kind}) => kind === "cost").map(({title, meaning}) => ` ${title}: ${meaning}.`);
  return `${group.setting} Mean ± standard deviation over n seeds; ranks by ${title(rankKey())}, `
    + `= marks rows not told apart, bold the first rank.${costs.join("")}`;
}

/** A line for each remark and each reason of empty cells, with the rows that it is about. */
function latexNotes(rows, columns) {
  const lines = new Map();
  const add = (found, key, text) => found.set(key, [...found.get(key) ?? [], text]);
  for (const row of rows) {
    for (const remark of row.remarks) add(lines, remark, row.label);
    const absent = new Map();
    for (const {key, title} of columns)
      if (!Array.isArray(row.cells[place[key]])) add(absent, view.reasons[row.cells[place[key]]].short, title);
    for (const [reason, titles] of absent) add(lines, `-- in ${titles.join(", ")}: ${reason}`, row.label);
  }
  return [...lines].map(([text, labels]) =>
    `${labels.length === rows.length ? "all rows" : labels.join(", ")}: ${text}.`);
}

/** Offer the choice of columns, where the format has one. */
function drawColumns() {
  const chosen = new Set(latexColumns().map(column => column.key));
  const toggle = key => {
    if (!chosen.delete(key)) chosen.add(key);
    set({columns: view.columns.map(column => column.key).filter(one => chosen.has(one)).join(",") || "none"});
  };
  $("columns").hidden = state.format !== "latex";
  if ($("columns").contains(document.activeElement)) return;  // only its own boxes have changed
  $("columns").replaceChildren(...view.columns.map(({key, title}) => el("label", {},
    el("input", {type: "checkbox", checked: chosen.has(key), onchange: () => toggle(key)}), title)));
}
