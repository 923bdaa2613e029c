"use strict";

// The theme: that of the system, until the button says otherwise.

const root = document.documentElement;
const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches;
}

function remembered() {
  try {
    return localStorage.getItem("injecttf2-theme");
  } catch {
    return null; // a page opened from a file may have no storage
  }
}

function remember(theme) {
  try {
    localStorage.setItem("injecttf2-theme", theme);
  } catch {
    // then the next page begins with the system's theme
  }
}

function applyTheme() {
  themeButton.textContent = isDark() ? "Light theme" : "Dark theme";
  for (const element of document.querySelectorAll(".plot")) colour(element);
}

themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember(root.dataset.theme);
  applyTheme();
});
darkSystem.addEventListener("change", applyTheme);
if (remembered()) root.dataset.theme = remembered();

// The figures: their colours but those of the data are the page's.

function pageColours() {
  const body = getComputedStyle(document.body);
  const line = getComputedStyle(document.querySelector("header")).borderBottomColor;
  return { ink: body.color, paper: body.backgroundColor, line };
}

// On a phone, gaps would take most of a heat map, and a short bit field has no room for its name.
function narrow() {
  return window.innerWidth < 600;
}

function themed(layout) {
  const { ink, paper, line } = pageColours();
  const axis = (given) => ({ ...given, gridcolor: line, linecolor: line, tickcolor: line });
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: ink },
    hoverlabel: { ...layout.hoverlabel, bgcolor: paper, bordercolor: ink, font: { color: ink } },
    annotations: (layout.annotations ?? []).filter((one) => one.name !== "narrow" || !narrow()),
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
  };
}

function themedTrace(trace) {
  if (trace.type === "bar") {
    return { ...trace, error_x: { ...trace.error_x, color: pageColours().ink } };
  }
  return trace.type === "heatmap" && narrow() ? { ...trace, xgap: 0 } : trace;
}

const drawn = new WeakMap();

function colour(element) {
  const figure = drawn.get(element);
  if (!figure) return;
  const options = { displayModeBar: false, responsive: true };
  Plotly.react(element, figure.data.map(themedTrace), themed(figure.layout), options);
}

for (const script of document.querySelectorAll("script[data-plot]")) {
  drawn.set(document.getElementById(script.dataset.plot), JSON.parse(script.textContent));
}
applyTheme();

// The table of cells: filtered, sorted and shown a page at a time.

const PAGE = 25;
const MOST_CHOICES = 300;

function percent(value) {
  if (value === null) return "-";
  if (value > 0 && value < 0.0001) return `${Number((100 * value).toPrecision(2))}%`;
  return `${(100 * value).toFixed(2)}%`;
}

function text(column, row) {
  const value = column.values[row];
  if (column.kind === "text") return value < 0 ? "-" : column.levels[value];
  if (value === null) return "-";
  if (column.kind === "count") return value.toLocaleString("en");
  if (column.kind === "number") return String(Number(value.toPrecision(4)));
  return percent(value);
}

function cell(column, row, first) {
  const element = document.createElement(first ? "th" : "td");
  if (first) element.scope = "row";
  if (column.kind !== "text") element.className = "number";
  element.textContent = text(column, row);
  if (column.kind === "rate" && column.low[row] !== null) {
    const bounds = [column.low[row], column.high[row]].map((end) => percent(end).slice(0, -1));
    const interval = document.createElement("span");
    interval.className = "interval";
    interval.textContent = ` (${bounds[0]} to ${bounds[1]})`;
    element.append(interval);
  }
  return element;
}

function infinite(value) {
  return typeof value === "string" ? Number(value.replace("inf", "Infinity")) : value;
}

function cellTable(data) {
  for (const column of data.columns) {
    if (column.kind === "number") column.values = column.values.map(infinite);
  }
  const table = document.getElementById("cell-table");
  const search = document.getElementById("search");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");
  const texts = data.columns.filter((column) => column.kind === "text");
  const words = Array.from({ length: data.rows }, (_, row) =>
    data.columns
      .filter((column) => column.kind === "text" || column.name === "bit")
      .map((column) => text(column, row))
      .join(" ")
      .toLowerCase(),
  );
  const choices = new Map();
  let order = { column: null, descending: true };
  let page = 0;
  let rows = [];

  function chosen(row) {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!wanted.every((word) => words[row].includes(word))) return false;
    for (const [column, select] of choices) {
      if (select.value !== "" && column.values[row] !== Number(select.value)) return false;
    }
    return true;
  }

  // What is not known comes last, whichever way the others go.
  function compare(one, other) {
    const { column, descending } = order;
    const unknown = column.kind === "text" ? -1 : null;
    const [a, b] = [column.values[one], column.values[other]];
    if (a === unknown || b === unknown) return (a === unknown) - (b === unknown);
    const way = descending ? -1 : 1;
    if (column.kind === "text" && column.name !== "layer") {
      return way * column.levels[a].localeCompare(column.levels[b]);
    }
    return way * (a - b);
  }

  function find() {
    rows = [];
    for (let row = 0; row < data.rows; row += 1) if (chosen(row)) rows.push(row);
    if (order.column) rows.sort(compare);
    page = 0;
    show();
  }

  function show() {
    const shown = rows.slice(page * PAGE, (page + 1) * PAGE);
    const body = document.createElement("tbody");
    for (const row of shown) {
      const line = body.insertRow();
      data.columns.forEach((column, place) => line.append(cell(column, row, place === 0)));
    }
    table.tBodies[0].replaceWith(body);
    const first = page * PAGE + 1;
    document.getElementById("shown").textContent = rows.length
      ? `${first.toLocaleString("en")} to ${(first + shown.length - 1).toLocaleString("en")} ` +
        `of ${rows.length.toLocaleString("en")} cells`
      : "No cell matches.";
    previous.disabled = page === 0;
    next.disabled = (page + 1) * PAGE >= rows.length;
  }

  function sortBy(column, header) {
    const again = order.column === column;
    order = { column, descending: again ? !order.descending : column.kind !== "text" };
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
    find();
  }

  const head = table.tHead.insertRow();
  for (const column of data.columns) {
    const header = document.createElement("th");
    header.scope = "col";
    if (column.kind !== "text") header.className = "number";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () => sortBy(column, header));
    header.append(button);
    head.append(header);
  }
  for (const column of texts) {
    if (column.levels.length < 2 || column.levels.length > MOST_CHOICES) continue;
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.append(new Option("all", ""));
    column.levels.forEach((level, place) => select.append(new Option(level, String(place))));
    select.addEventListener("change", find);
    label.append(column.label, select);
    document.getElementById("filters").append(label);
    choices.set(column, select);
  }
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", find);
  previous.addEventListener("click", () => { page -= 1; show(); });
  next.addEventListener("click", () => { page += 1; show(); });
  const worst = data.columns.findIndex((column) => column.name === "sdc_rate");
  if (worst >= 0) sortBy(data.columns[worst], head.cells[worst]);
  else find();
}

const cells = document.getElementById("cell-data");
if (cells) cellTable(JSON.parse(cells.textContent));
