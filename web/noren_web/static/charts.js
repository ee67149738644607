// Draws every element with data-chart, whose table stands below it. ECharts is fetched only where there is one.
"use strict";
const places = document.querySelectorAll("[data-chart]");
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function option(chart) {
  const text = token("--ink"), muted = token("--muted"), line = token("--line");
  const colours = ["--main", "--limit", "--good", "--bad", "--muted"].map(token);
  const axis = { axisLabel: { color: muted }, axisLine: { lineStyle: { color: line } } };
  const series = chart.series.map((one, index) => ({
    name: one.name, data: one.values, type: chart.kind === "line" ? "line" : "bar",
    stack: chart.kind === "stacked" ? "all" : undefined, symbolSize: 7, connectNulls: false,
    markLine: index === 0 && chart.limit !== null ? {
      symbol: "none", silent: true, lineStyle: { color: token("--limit"), type: "dashed" },
      label: { formatter: chart.limit[0], color: text, position: "insideEndTop" }, data: [{ yAxis: chart.limit[1] }],
    } : undefined,
  }));
  const highest = chart.limit === null ? undefined : (value) => Math.max(value.max, chart.limit[1] * 1.05);
  return {
    color: colours, animation: false, series,
    aria: { enabled: true, decal: { show: chart.kind !== "line" && chart.series.length > 1 } },
    textStyle: { color: text, fontFamily: "inherit" },
    legend: chart.series.length > 1 ? { bottom: 0, textStyle: { color: text } } : undefined,
    grid: { left: 8, right: 16, top: 32, bottom: chart.series.length > 1 ? 36 : 8, containLabel: true },
    xAxis: { type: "category", data: chart.labels, ...axis },
    yAxis: { type: "value", name: chart.unit, nameTextStyle: { color: muted }, max: highest,
      splitLine: { lineStyle: { color: line } }, ...axis },
  };
}

if (places.length > 0) {
  const script = document.createElement("script");
  script.src = "/static/kit/echarts.common.min.js";
  script.addEventListener("load", () => {
    for (const place of places) {
      place.hidden = false;
      const drawn = window.echarts.init(place, null, { renderer: "canvas" });
      const draw = () => drawn.setOption(option(JSON.parse(place.dataset.chart)), true);
      draw();
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
      new ResizeObserver(() => drawn.resize()).observe(place);
    }
    document.documentElement.dataset.charts = "drawn";
  });
  document.head.append(script);
}
