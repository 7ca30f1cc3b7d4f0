// Readings: what the chart says where the pointer is.
for (const chart of document.querySelectorAll("figure.chart:has(.readings)")) {
  const axis = chart.querySelector(".axis");
  const usual = axis.textContent;
  for (const part of chart.querySelectorAll(".readings rect")) {
    part.addEventListener("pointerenter", () => { axis.textContent = part.textContent; });
  }
  chart.querySelector(".plot svg").addEventListener("pointerleave", () => { axis.textContent = usual; });
}
