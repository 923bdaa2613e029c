"use strict";

// The figures: of the one for the choice, the rows that are asked for, in the page's colours.

const LEGEND = 24; // pixels that a legend takes in a figure; on the page it stands below
const BELOW_BAR = 17; // pixels below a colour bar, for its labels
const LIGHT = { ink: "#1b2128", paper: "#ffffff", line: "#d6dce2" };

function pageColours() {
  const body = getComputedStyle(document.body);
  const line = getComputedStyle(document.querySelector("header")).borderBottomColor;
  return { ink: body.color, paper: body.backgroundColor, line };
}

function plain(text) {
  return typeof text === "string"
    ? text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")
    : text;
}

function picked(trace, rows) {
  const length = trace.y.length;
  const take = (value) =>
    Array.isArray(value) && value.length === length ? rows.map((row) => value[row]) : value;
  const found = { ...trace };
  const names = trace.type === "heatmap" ? ["y", "z", "customdata"] : ["x", "y", "customdata", "hovertemplate"];
  for (const name of names) if (name in trace) found[name] = take(trace[name]);
  if (trace.error_x) {
    const { array, arrayminus } = trace.error_x;
    found.error_x = { ...trace.error_x, array: take(array), arrayminus: take(arrayminus) };
  }
  if (trace.marker) found.marker = { ...trace.marker, symbol: take(trace.marker.symbol) };
  return found;
}

// A colour bar as far above the bottom as its labels need, in a figure of another height.
function raised(colorbar, height) {
  return colorbar && { colorbar: { ...colorbar, y: BELOW_BAR / height } };
}

// The figure with the rows or lines that are asked for.
function chosen({ data, layout }) {
  if (layout.meta?.lines) {
    const rows = rowsOf(layout.meta.places.map(plain)).slice(0, layout.meta.lines);
    const dash = (number) => (number < layout.colorway.length ? "solid" : "dash");
    return { data: rows.map((row, number) => ({ ...data[row], line: { dash: dash(number) } })), layout };
  }
  if (!layout.meta?.row) return { data, layout };
  const { categoryarray, tickvals, ticktext } = layout.yaxis;
  const rows = rowsOf(categoryarray.map(plain));
  const take = (values) => rows.map((row) => values[row]);
  const yaxis = {
    ...layout.yaxis,
    categoryarray: take(categoryarray),
    tickvals: take(tickvals),
    ticktext: take(ticktext),
    range: [rows.length - 0.5, -0.5],
  };
  const high = (count) => layout.meta.row * Math.max(3, count);
  const height = layout.height - high(categoryarray.length) + high(rows.length);
  const found = data.map((trace) => ({ ...picked(trace, rows), ...raised(trace.colorbar, height) }));
  return { data: found, layout: { ...layout, yaxis, height } };
}

// Every bit has its label, upright where there is no room; of more than fit, the axis says which.
function spaced(axis, width) {
  const count = axis?.ticktext?.length ?? 0;
  if (count < 12) return axis;
  const pitch = (width - 130) / count;
  if (pitch >= 18) return axis;
  const step = Math.ceil(10 / pitch);
  const some = (values) => values.filter((_, place) => place % step === 0);
  const title = step > 1 ? `${axis.title.text} (1 of ${step} labelled)` : axis.title.text;
  return {
    ...axis,
    tickvals: some(axis.tickvals),
    ticktext: some(axis.ticktext),
    tickangle: -90,
    tickfont: { size: 9 },
    title: { ...axis.title, text: title },
  };
}

// Names of bit fields, as much of them as has room above their bits; left of the first there is.
function named(annotation, { xaxis, yaxis }, width) {
  const count = Number(/^above (\d+)$/.exec(annotation.name ?? "")?.[1]);
  if (!count) return annotation;
  const labels = Math.max(6, ...(yaxis.ticktext ?? []).map((label) => plain(label).length));
  const room = (count * (width - 7 * labels - 30)) / xaxis.ticktext.length;
  const letters = Math.floor(room / 6.5);
  const { text } = annotation;
  if (text.length <= letters) return annotation;
  if (annotation.x < count / 2) return { ...annotation, x: count - 0.5, xanchor: "right" };
  return { ...annotation, text: letters > 2 ? `${text.slice(0, letters - 1)}.` : text[0], hovertext: text };
}

function themed(layout, { ink, paper, line }, width) {
  const axis = (given) => ({ ...given, gridcolor: line, linecolor: line, tickcolor: line });
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: ink },
    hoverlabel: { ...layout.hoverlabel, bgcolor: paper, bordercolor: ink, font: { color: ink } },
    annotations: (layout.annotations ?? []).map((one) => named(one, layout, width)),
    xaxis: spaced(axis(layout.xaxis), width),
    yaxis: axis(layout.yaxis),
  };
}

function themedTrace(trace, { ink }) {
  if (trace.type === "heatmap") return mobile.matches ? { ...trace, xgap: 0 } : trace;
  const found = { ...trace };
  if (trace.name === "sdc + due") {
    found.marker = { ...trace.marker, color: ink };
    for (const name of ["error_x", "error_y"]) {
      if (trace[name]) found[name] = { ...trace[name], color: ink };
    }
  }
  return found;
}

// What is drawn, as lines of a table: the names of the columns, then the rows.
function linesOf({ data, layout }) {
  const lines = new Map();
  for (const trace of data) {
    if (!trace.customdata) continue;
    if (trace.type === "heatmap") {
      trace.customdata.forEach((cells, row) => cells.forEach((cell, column) => {
        const at = [trace.y?.[row] ?? row, trace.x?.[column] ?? column];
        if (cell.some((value) => value !== null)) lines.set(lines.size, [...at, ...cell].map(plain));
      }));
    } else {
      for (const row of trace.customdata) lines.set(JSON.stringify(row), row.map(plain));
    }
  }
  return [layout.meta.columns.map((name) => (name === "place" ? "layer" : name)), ...lines.values()];
}

const MOST_LINES = 400;

function shownNumber(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value ?? "-");
}

function fillTable(table, lines) {
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const name of lines[0]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name.replaceAll("_", " ");
    head.append(cell);
  }
  const body = table.createTBody();
  for (const line of lines.slice(1, MOST_LINES + 1)) {
    const row = body.insertRow();
    for (const value of line) row.insertCell().textContent = shownNumber(value);
  }
  if (lines.length > MOST_LINES + 1) {
    const more = lines.length - 1 - MOST_LINES;
    table.createCaption().textContent = `${more.toLocaleString("en")} more rows are in the CSV.`;
  }
}

// What the traces are, below a figure, where names have all of the page's width.
function fillLegend(legend, { data, layout }, { ink }) {
  const named = data.filter((trace) => trace.name && data.length > 1);
  legend.replaceChildren(...named.map((trace, number) => {
    const [item, mark] = [document.createElement("span"), document.createElement("i")];
    const colour = trace.marker?.color ?? layout.colorway[number % layout.colorway.length];
    if (trace.mode?.includes("lines")) mark.className = `line ${trace.line.dash}`;
    else if (trace.type === "scatter") mark.className = layout.scattermode ? trace.marker.symbol : "circle";
    mark.style.background = mark.style.color = trace.name === "sdc + due" ? ink : colour;
    item.append(mark, plain(trace.name));
    return item;
  }));
}

class Figure {
  constructor(element) {
    this.element = element;
    this.legend = element.querySelector(".legend");
    this.box = element.querySelector(".plot");
    this.details = element.querySelector("details");
    this.variants = [...element.querySelectorAll("script[data-choices]")].map((script) => ({
      choices: script.dataset.choices.split(" ").filter(Boolean),
      figure: JSON.parse(script.textContent),
    }));
    const buttons = this.element.querySelector(".downloads");
    for (const kind of ["CSV", "SVG", "PNG"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = kind;
      button.addEventListener("click", () => this.save(kind.toLowerCase()));
      buttons.append(button);
    }
    this.details.addEventListener("toggle", () => this.fill());
  }

  draw() {
    const found = this.variants.find(({ choices: of }) => !of.length || of.includes(choice()));
    this.figure = found?.figure;
    this.shown = found && chosen(found.figure);
    this.box.hidden = this.legend.hidden = this.details.hidden = !found;
    this.element.querySelector(".missing").hidden = Boolean(found);
    if (!found) return;
    const colours = pageColours();
    const data = this.shown.data.map((trace) => themedTrace(trace, colours));
    const layout = { ...themed(this.shown.layout, colours, this.box.clientWidth), showlegend: false };
    fillLegend(this.legend, this.shown, colours);
    if (this.legend.childElementCount) layout.height -= LEGEND;
    this.box.style.height = `${layout.height}px`;
    Plotly.react(this.box, data, layout, { displayModeBar: false, responsive: true });
    this.fill();
  }

  fill() {
    if (!this.details.open || !this.shown) return;
    fillTable(this.details.querySelector("table"), linesOf(this.shown));
    tellScrolling();
  }

  // Pictures are for papers: in dark on white, whatever the theme.
  async save(kind) {
    const label = choices.labels[Number(choice())] ?? "";
    const name = fileName(kind, this.element.id, label);
    if (kind === "csv") {
      saveCsv(name, linesOf(this.figure)); // of all rows, whichever are shown
      return;
    }
    const width = Math.max(this.box.clientWidth, 560);
    const layout = { ...themed(this.shown.layout, LIGHT, width), paper_bgcolor: "#ffffff" };
    const data = this.shown.data.map((trace) => themedTrace(trace, LIGHT));
    const size = { width, height: layout.height, scale: kind === "png" ? 3 : 1 };
    saveAs(name, await Plotly.toImage({ data, layout }, { format: kind, ...size }));
  }
}

const figures = [...document.querySelectorAll(".figure")].map((element) => new Figure(element));
const redraw = () => figures.forEach((figure) => figure.draw());
document.addEventListener("redraw", redraw);
mobile.addEventListener("change", redraw);
