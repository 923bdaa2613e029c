"use strict";

// The tables of numbers: one of them, filtered, sorted and shown a page at a time.

const PAGE = 25;
const MOST_CHOICES = 300;
const LONG = 26; // characters of a name that a phone has room for

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

// A name that is too long for a phone may break there, between its words.
function breakable(element) {
  const words = element.textContent.split(/(?<=[/_.])/);
  element.className = "long";
  element.replaceChildren(...words.flatMap((word) => [word, document.createElement("wbr")]));
}

function cell(column, row, first) {
  const element = document.createElement(first ? "th" : "td");
  if (first) element.scope = "row";
  if (column.kind !== "text") element.className = "number";
  element.textContent = text(column, row);
  if (first && element.textContent.length > LONG) breakable(element);
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

// The rows that words, selects and the layers asked for leave, in the order of a column.
class Numbers {
  constructor(tables) {
    this.tables = tables;
    this.table = field("numbers");
    for (const data of Object.values(tables)) {
      for (const column of data.columns) {
        if (column.kind === "number") column.values = column.values.map(infinite);
      }
    }
    field("filters").addEventListener("submit", (event) => event.preventDefault());
    field("table-name").addEventListener("change", () => this.open());
    field("search").addEventListener("input", () => this.find());
    field("previous").addEventListener("click", () => this.turn(-1));
    field("next").addEventListener("click", () => this.turn(1));
    field("save").addEventListener("click", () => this.save());
    document.addEventListener("redraw", () => this.find());
    this.open();
  }

  open() {
    this.data = this.tables[field("table-name").value];
    const { columns, rows } = this.data;
    this.words = Array.from({ length: rows }, (_, row) =>
      columns
        .filter((column) => column.kind === "text" || column.name === "bit")
        .map((column) => text(column, row))
        .join(" ")
        .toLowerCase(),
    );
    const head = document.createElement("thead").insertRow();
    for (const column of columns) head.append(this.header(column));
    this.table.tHead.replaceWith(head.parentElement);
    this.choices = new Map();
    field("columns").replaceChildren(...columns.filter(isChoice).map((column) => this.choice(column)));
    this.order = null; // they come in an order: by rate of faults, and within it as ranks do
    this.find();
  }

  header(column) {
    const header = document.createElement("th");
    header.scope = "col";
    if (column.kind !== "text") header.className = "number";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () => this.sortBy(column, header));
    header.append(button);
    return header;
  }

  choice(column) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.append(new Option("all", ""));
    column.levels.forEach((level, place) => select.append(new Option(level, String(place))));
    select.addEventListener("change", () => this.find());
    label.append(column.label, select);
    this.choices.set(column, select);
    return label;
  }

  sortBy(column, header) {
    const again = this.order?.column === column;
    this.order = { column, descending: again ? !this.order.descending : column.kind !== "text" };
    for (const other of this.table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", this.order.descending ? "descending" : "ascending");
    this.find();
  }

  fits(row, wanted) {
    if (!wanted.every((word) => this.words[row].includes(word))) return false;
    for (const [column, select] of this.choices) {
      if (select.value !== "" && column.values[row] !== Number(select.value)) return false;
    }
    return true;
  }

  find() {
    const wanted = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const layer = this.data.columns.find((column) => column.name === "layer");
    const asked = layer?.levels.map(matches);
    this.rows = [];
    for (let row = 0; row < this.data.rows; row += 1) {
      if (this.fits(row, wanted) && (!layer || asked[layer.values[row]])) this.rows.push(row);
    }
    if (this.order) this.rows.sort((one, other) => compared(this.order, one, other));
    this.page = 0;
    this.show();
  }

  turn(pages) {
    this.page += pages;
    this.show();
  }

  show() {
    const { columns } = this.data;
    const shown = this.rows.slice(this.page * PAGE, (this.page + 1) * PAGE);
    const body = document.createElement("tbody");
    for (const row of shown) {
      const line = body.insertRow();
      columns.forEach((column, place) => line.append(cell(column, row, place === 0)));
    }
    this.table.tBodies[0].replaceWith(body);
    const first = this.page * PAGE + 1;
    const number = (value) => value.toLocaleString("en");
    field("shown").textContent = this.rows.length
      ? `${number(first)} to ${number(first + shown.length - 1)} of ${number(this.rows.length)}`
      : "No row matches.";
    field("previous").disabled = this.page === 0;
    field("next").disabled = (this.page + 1) * PAGE >= this.rows.length;
    tellScrolling();
  }

  save() {
    const head = this.data.columns.flatMap(({ name, kind }) => {
      const base = name.replace(/_rate$/, "");
      return kind === "rate" ? [name, `${base}_low`, `${base}_high`] : [name];
    });
    const lines = this.rows.map((row) =>
      this.data.columns.flatMap((column) => {
        const value = column.values[row];
        if (column.kind === "text") return [value < 0 ? null : column.levels[value]];
        return column.kind === "rate" ? [value, column.low[row], column.high[row]] : [value];
      }),
    );
    saveCsv(fileName("csv", "numbers", field("table-name").value), [head, ...lines]);
  }
}

function isChoice(column) {
  const { kind, name, levels } = column;
  return kind === "text" && name !== "certain" && levels.length > 1 && levels.length <= MOST_CHOICES;
}

// What is not known comes last, whichever way the others go.
function compared({ column, descending }, one, other) {
  const unknown = column.kind === "text" ? -1 : null;
  const [a, b] = [column.values[one], column.values[other]];
  if (a === unknown || b === unknown) return (a === unknown) - (b === unknown);
  const way = descending ? -1 : 1;
  if (column.kind === "text" && column.name !== "layer") {
    return way * column.levels[a].localeCompare(column.levels[b], "en", { numeric: true });
  }
  return way * (a - b);
}

if (field("table-data")) new Numbers(JSON.parse(field("table-data").textContent));
applyTheme();
tellScrolling();
