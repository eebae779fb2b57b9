// Draws the charts of a diagnosis from the JSON in the page. The interpreter (`ast`) needs no `eval`, so that the page's
// content security policy can forbid it.
"use strict";
(() => {
  const { config, charts } = JSON.parse(document.getElementById("charts").textContent);

  function configFor(width) {
    const columns = Math.max(1, Math.min(4, Math.floor(width / 170)));
    return { ...config, legend: { ...config.legend, columns } };
  }

  async function draw(views, specs) {
    for (const spec of specs) {
      const view = views.appendChild(document.createElement("div"));
      view.className = "view";
    }
    for (const [index, spec] of specs.entries()) {
      const view = views.children[index];
      const options = {
        ast: true, renderer: "svg", actions: false, config: configFor(view.clientWidth), tooltip: { theme: "page" },
      };
      try {
        await vegaEmbed(view, spec, options);
      } catch (error) {
        view.textContent = `This picture could not be drawn: ${error.message}`;
      }
    }
  }

  // The rows of a chart's views as a table: made when somebody opens it.
  function fill(container, specs) {
    const rows = specs.flatMap((spec) => Object.values(spec.datasets).flat()).filter((row) => Object.keys(row).length);
    const fields = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    const table = container.appendChild(document.createElement("table"));
    const line = (values, tag) => {
      const row = table.appendChild(document.createElement("tr"));
      for (const value of values) row.appendChild(document.createElement(tag)).textContent = value ?? "";
    };
    line(fields, "th");
    for (const row of rows) line(fields.map((field) => row[field]), "td");
  }

  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const specs = charts[figure.dataset.chart];
    draw(figure.querySelector(".views"), specs);
    const details = figure.querySelector("details");
    const once = { once: true };
    details.addEventListener("toggle", () => fill(details.querySelector(".scroll"), specs), once);
  }
})();
