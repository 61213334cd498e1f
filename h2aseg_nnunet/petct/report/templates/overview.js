// Sorting and filtering of the tables; without a script they are complete, in the order of the page.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const collator = new Intl.Collator(undefined, { numeric: true });
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : cell.dataset.value;
  };
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? collator.compare(a, b) : a - b);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("span"); // browsers leave real buttons out of headers repeated in print
    button.setAttribute("role", "button");
    button.tabIndex = 0;
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
    });
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      const defined = rows.filter(([value]) => value !== "").sort(([a], [b]) => compare(a, b));
      if (descending) defined.reverse();
      body.append(...defined.map(([, row]) => row), ...rows.filter(([value]) => value === "").map(([, row]) => row));
    });
  });
}
for (const input of document.querySelectorAll("input[type=search]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const line = input.closest("p");
  line.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    const shown = rows.filter((row) => !row.hidden).length;
    line.querySelector("[role=status]").textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
}
