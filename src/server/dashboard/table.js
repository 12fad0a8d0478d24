
// A sortable, filterable table, updated in place to keep focus and selection.

/** Maximum number of rows in the page. */
const MAX_ROWS = 100;

/**
 * A column has a `label`, and for an item a sortable `value` and its `text`. `fill(cell, row)` builds other content, once
 * per row; `row.item` is always the current item.
 */
class Table {
  #rows = new Map();
  #items = [];
  #body = make("tbody");
  #headers = [];
  about = "";

  constructor(table, { columns, keyOf, matches, sortBy, descending = false, filter, order, note, decorate }) {
    Object.assign(this, { columns, keyOf, matches, sortBy, descending, note, decorate });
    this.#fillOrder(order);
    const head = make("tr", {}, ...columns.map((column) => this.#header(column)));
    table.replaceChildren(make("thead", {}, head), this.#body);
    this.filter = filter;
    filter?.addEventListener("input", () => this.render());
    this.#markOrder();
  }

  /** `about` explains which items are shown, if not all. */
  show(items, about = "") {
    this.#items = items;
    this.about = about;
    this.render();
  }

  render() {
    const needle = this.filter?.value.trim().toLowerCase() ?? "";
    const found = needle ? this.#items.filter((item) => this.matches(item, needle)) : [...this.#items];
    const column = this.columns.find(({ label }) => label === this.sortBy);
    if (column) {
      const sign = this.descending ? -1 : 1;
      const order = (a, b) => sign * compare(column.value(a), column.value(b)) || compare(this.keyOf(a), this.keyOf(b));
      found.sort(order);
    }
    this.#place(found.slice(0, MAX_ROWS));
    setText(this.note, [this.#summary(found.length, needle), this.about].filter(Boolean).join(" "));
  }

  #summary(found, needle) {
    const total = this.#items.length;
    if (total === 0) return this.about ? "" : "None.";
    if (found > MAX_ROWS) return `The first ${MAX_ROWS} of ${count(found)}. Filter or sort to see others.`;
    return needle ? `${count(found)} of ${count(total)} match.` : "";
  }

  /** Shows these rows in this order. Moves only rows that are out of place. */
  #place(items) {
    const wanted = new Set(items.map(this.keyOf));
    for (const [key, row] of this.#rows) {
      if (!wanted.has(key)) {
        row.element.remove();
        this.#rows.delete(key);
      }
    }
    const focused = document.activeElement;
    let next = this.#body.firstElementChild;
    for (const item of items) {
      const row = this.#row(item);
      if (row.element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row.element, next);
    }
    // A moved row loses the focus.
    if (this.#body.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }

  #row(item) {
    const key = this.keyOf(item);
    let row = this.#rows.get(key);
    if (!row) {
      row = { item, element: make("tr") };
      row.cells = this.columns.map((column) => this.#cell(column, row));
      row.element.append(...row.cells);
      this.#rows.set(key, row);
    }
    row.item = item;
    this.columns.forEach((column, at) => {
      const text = column.text?.(item);
      if (text !== undefined) setText(row.cells[at], text);
      column.decorate?.(row.cells[at], item);
    });
    this.decorate?.(row.element, item);
    return row;
  }

  #cell(column, row) {
    const cell = make("td", { className: column.className ?? "", "data-label": column.label });
    column.fill?.(cell, row);
    return cell;
  }

  #header(column) {
    const cell = make("th", { scope: "col", className: column.className ?? "" });
    if (column.value) {
      cell.append(make("button", { type: "button", textContent: column.label, onclick: () => this.#sort(column) }));
    } else {
      cell.append(make("span", { textContent: column.label }));
    }
    this.#headers.push([column, cell]);
    return cell;
  }

  /** Selecting the same column again reverses the order. Numbers start with the largest. */
  #sort(column) {
    const isNumber = column.className === "number";
    this.#sortBy(column.label, this.sortBy === column.label ? !this.descending : isNumber);
  }

  #sortBy(label, descending) {
    [this.sortBy, this.descending] = [label, descending];
    this.#markOrder();
    this.render();
  }

  /** Fills the list of orders, which narrow windows show instead of headers. */
  #fillOrder(order) {
    this.order = order;
    const sortable = this.columns.filter(({ value }) => value);
    const ways = sortable.flatMap(({ label }) => [make("option", { value: `-${label}`, textContent: `${label} ↓` }), make("option", { value: `+${label}`, textContent: `${label} ↑` })]);
    order.replaceChildren(...ways);
    order.addEventListener("change", () => this.#sortBy(order.value.slice(1), order.value[0] === "-"));
  }

  #markOrder() {
    this.order.value = `${this.descending ? "-" : "+"}${this.sortBy}`;
    for (const [column, cell] of this.#headers) {
      if (column.label === this.sortBy) cell.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }
}

function compare(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A column of numbers. 0 is pale; `alarm` highlights any other number. */
function numberColumn(label, value, text, { alarm = false } = {}) {
  return {
    label,
    value,
    text: (item) => text(value(item)),
    className: "number",
    decorate: (cell, item) => {
      cell.classList.toggle("zero", value(item) === 0);
      cell.classList.toggle("alarm", alarm && value(item) > 0);
    },
  };
}
