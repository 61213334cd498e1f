// Links to the neighbors in the overview's order, which order.js names; without it the page is complete but for them.
if (typeof CASES !== "undefined") {
  const here = CASES.indexOf(document.body.dataset.case);
  for (const [id, step] of [["previous", -1], ["next", 1]]) {
    const name = CASES[here + step];
    if (here < 0 || name === undefined) continue;
    const link = document.getElementById(id);
    link.href = encodeURIComponent(name) + ".html";
    link.title = name;
    link.hidden = false;
  }
}
