// What a page shows, as noren_core.rights.screen.PageReading. Evaluated by the crawler in its own world: the page
// cannot see or change it. Text counts as visible if somebody with eyes can read it: rendered, not transparent,
// not tiny, not outside the page, not clipped away, not covered, and not in the colour of its ground.
(() => {
  "use strict";
  const MOST = 64, MOST_TEXT = 65536;
  const cut = text => String(text ?? "").slice(0, MOST_TEXT);
  const rgba = text => (text.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] >= 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = element => {
    const [one, other] = [luminance(rgba(getComputedStyle(element).color)), luminance(ground(element))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const alpha = element => rgba(getComputedStyle(element).color)[3] ?? 1;
  const opacity = element => {
    let product = 1;
    for (let at = element; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
    return product;
  };
  const isReadable = element => element.checkVisibility({ checkVisibilityCSS: true, contentVisibilityAuto: true })
    && opacity(element) >= 0.5 && alpha(element) >= 0.5 && contrast(element) >= 3
    && parseFloat(getComputedStyle(element).fontSize) >= 9;
  const isClipped = (element, box) => {
    for (let at = element; at && at !== document.documentElement; at = at.parentElement) {
      const style = getComputedStyle(at), frame = at.getBoundingClientRect();
      if (style.clipPath !== "none" || style.clip !== "auto" || style.filter !== "none" || style.maskImage !== "none") return true;
      if (at !== document.body && style.overflow !== "visible"
        && (box.right > frame.right + 1 || box.left < frame.left - 1
          || box.bottom > frame.bottom + 1 || box.top < frame.top - 1)) return true;
    }
    return false;
  };
  const isOnPage = box => box.width >= 1 && box.height >= 1 && box.left + scrollX >= 0 && box.top + scrollY >= 0
    && box.right + scrollX <= document.documentElement.scrollWidth + 1
    && box.bottom + scrollY <= document.documentElement.scrollHeight + 1;
  const isUncovered = (element, box) => {
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const top = document.elementFromPoint(x, y);
    return top !== null && (element.contains(top) || top.contains(element) && !ownLayer(top, element));
  };
  // A container is below its text, unless what hit is drawn over it by a pseudo-element.
  const ownLayer = (top, element) => [..."ab"].some((_, i) => {
    const style = getComputedStyle(top, i ? "::after" : "::before");
    return style.content !== "none" && style.content !== "normal" && style.position !== "static" && element !== top;
  });
  const nodesOf = element => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) if (walker.currentNode.data.trim()) found.push(walker.currentNode);
    return found;
  };
  const isVisible = element => {
    const nodes = nodesOf(element);
    return nodes.length > 0 && nodes.every(node => {
      const parent = node.parentElement;
      if (!isReadable(parent)) return false;
      const range = document.createRange();
      range.selectNodeContents(node);
      const lines = () => [...range.getClientRects()];
      return lines().length > 0 && lines().every((_, index) => {
        const first = lines()[index];
        if (!isOnPage(first) || isClipped(parent, first)) return false;
        scrollTo(0, scrollY + first.top - innerHeight / 2);
        return isUncovered(parent, lines()[index]);
      });
    });
  };
  const looks = button => {
    const style = getComputedStyle(button), box = button.getBoundingClientRect();
    return [Math.round(box.width / 4), Math.round(box.height / 4), style.color, style.backgroundColor, style.fontSize,
      style.fontWeight, style.borderColor, style.borderWidth, opacity(button)].join("|");
  };
  const isOn = control => control.matches("input[type=checkbox], input[type=radio]")
    ? control.checked || control.defaultChecked
    : control.matches("select") && [...control.options].some(option => option.defaultSelected && option.value);
  const isBox = control => control.matches("input[type=checkbox], input[type=radio], select");
  const readForm = form => {
    const marked = [form, ...form.querySelectorAll("[data-purpose]")].filter(item => item.hasAttribute("data-purpose"));
    const controls = [...form.elements].filter(item => item.matches("input:not([type=hidden]), button, select, textarea"));
    const choices = controls.filter(item => item.matches("button[name=action]") && isVisible(item)
      && ["give", "refuse", "later"].includes(item.value));
    const words = [...form.querySelectorAll("[data-purpose-text]")].filter(isVisible);
    return {
      purposes: marked.map(item => cut(item.dataset.purpose)).slice(0, MOST),
      text: cut(words.map(item => item.innerText).join(" ")),
      prechecked: controls.some(isOn) || form.querySelector("[aria-checked=true], [aria-pressed=true]") !== null,
      choices: choices.map(item => item.value).slice(0, MOST),
      alike: new Set(choices.map(looks)).size <= 1,
      others: controls.filter(item => !choices.includes(item) && !isBox(item)).length
        + Math.max(0, controls.filter(isBox).length - 1),
    };
  };
  const APPLIES = /応募する|エントリー|申し込|登録する|送信する|\bapply\b|\bsubmit\b|\bregister\b|\bsign up\b/i;
  const writes = element => ["::before", "::after"].some(part => {
    const content = getComputedStyle(element, part).content;
    return /[\p{L}\p{N}]/u.test(content.replace(/^(none|normal)$/, "").replace(/counter\([^)]*\)|attr\([^)]*\)|url\([^)]*\)/g, "x"));
  });
  const all = [...document.querySelectorAll("body, body *")];
  const main = document.querySelector("[data-route]");
  const forms = [...document.querySelectorAll("form")]
    .filter(form => form.hasAttribute("data-purpose") || form.querySelector("[data-purpose]"));
  const place = { locale: cut(document.documentElement.lang) };
  for (const name of ["policy", "company", "position", "route", "build", "variant"])
    if (main?.dataset[name]) place[name] = cut(main.dataset[name]);
  const controls = [...document.querySelectorAll("button, a, input[type=submit], input[type=button]")];
  const result = {
    text: cut(document.body?.innerText),
    place,
    clauses: [...document.querySelectorAll("[data-clause]")].slice(0, MOST).map(item => (
      { clause: cut(item.dataset.clause), text: cut(item.innerText), visible: isVisible(item) })),
    forms: forms.slice(0, MOST).map(readForm),
    unreadable: all.filter(item => item.matches("img, svg, canvas, video, object, embed, iframe, input[type=image]")
      || getComputedStyle(item).backgroundImage !== "none" || item.shadowRoot || writes(item)).length,
    applies: controls.some(item => APPLIES.test(item.innerText || item.value || "")),
  };
  scrollTo(0, 0);
  return result;
})()
