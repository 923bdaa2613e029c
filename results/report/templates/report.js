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
  document.dispatchEvent(new Event("redraw"));
}

themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remember(root.dataset.theme);
  applyTheme();
});
darkSystem.addEventListener("change", applyTheme);
if (remembered()) root.dataset.theme = remembered();

// What is asked for: kind and rate of faults, and which layers. Figures and tables follow.

const choices = JSON.parse(document.getElementById("choices").textContent);
const blockOf = new Map(choices.names.map((name, place) => [name, choices.blocks[place]]));
const field = (id) => document.getElementById(id);
const choice = () => field("choice")?.value ?? String(choices.start);
const mobile = window.matchMedia("(max-width: 40rem)");

// A layer of whose variables each has a row is in their block.
function inBlock(name, block) {
  if (blockOf.has(name)) return blockOf.get(name) === block;
  return choices.names.some((one) => one.startsWith(`${name} `) && blockOf.get(one) === block);
}

function matches(name) {
  const words = (field("words")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const block = field("block")?.value ?? "";
  return words.every((word) => name.toLowerCase().includes(word)) && (!block || inBlock(name, block));
}

// The rows that are shown of those with these names, as positions: all come in order of rank.
function rowsOf(names) {
  const found = names.map((_, place) => place).filter((place) => matches(names[place]));
  const how = field("rows")?.value ?? "all";
  if (how === "all") return found;
  if (how === "top") return found.slice(0, choices.rows);
  const seen = new Set();
  return found.filter((place) => {
    const block = blockOf.get(names[place]) ?? names[place];
    return !seen.has(block) && seen.add(block);
  });
}

// What a file that is saved is called: after the run, and after what it holds.
function fileName(kind, ...words) {
  const parts = [choices.run, ...words].flatMap((word) => word.split(/[^\w.]+/));
  return `${parts.filter(Boolean).join("-")}.${kind}`;
}

function saveAs(name, address) {
  const link = document.createElement("a");
  link.download = name;
  link.href = address;
  link.click();
}

function saveCsv(name, lines) {
  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const text = lines.map((line) => line.map(quoted).join(",")).join("\n");
  saveAs(name, URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" })));
}

// Boxes that scroll sideways say so.
function tellScrolling() {
  for (const box of document.querySelectorAll(".scroll")) {
    box.toggleAttribute("data-more", box.scrollWidth > box.clientWidth + 1);
  }
}

if (field("block")) {
  const counts = new Map();
  for (const block of choices.blocks) counts.set(block, (counts.get(block) ?? 0) + 1);
  for (const [block, count] of counts) {
    if (count > 1) field("block").append(new Option(`${block} (${count})`, block));
  }
}
field("choose")?.addEventListener("submit", (event) => event.preventDefault());
field("choose")?.addEventListener("input", () => document.dispatchEvent(new Event("redraw")));
document.addEventListener("redraw", () => {
  for (const one of document.querySelectorAll("[data-choice]")) {
    one.hidden = one.dataset.choice !== choice();
  }
  if (!field("kept")) return;
  const many = choices.names.length.toLocaleString("en");
  field("kept").textContent = `${rowsOf(choices.names).length} of ${many} rows`;
});
window.addEventListener("resize", tellScrolling);
