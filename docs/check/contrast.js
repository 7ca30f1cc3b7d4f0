// Every piece of text whose contrast with its ground is below arguments[0]: [what it says, its contrast, its element].
const least = arguments[0];
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

// `top` over `ground`, which is opaque.
const over = (top, ground) => [0, 1, 2].map((i) => top[i] * top[3] + ground[i] * (1 - top[3]));

// The ground of a page that has none of its own: white, or dark where the page follows a dark scheme.
const probe = Object.assign(document.createElement("i"), { style: "background: Canvas" });
document.body.append(probe);
const blank = rgba(getComputedStyle(probe).backgroundColor).slice(0, 3);
probe.remove();

function groundOf(element) {
  const layers = [];
  for (let each = element; each; each = each.parentElement) {
    const colour = rgba(getComputedStyle(each).backgroundColor);
    layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reverse().reduce((ground, layer) => over(layer, ground), blank);
}

function opacityOf(element) {
  let opacity = 1;
  for (let each = element; each; each = each.parentElement) opacity *= Number(getComputedStyle(each).opacity);
  return opacity;
}

function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

const found = [];
const seen = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || seen.has(element) || element.closest("script, style, noscript, option, .katex-mathml")) continue;
  seen.add(element);
  const box = element.getBoundingClientRect();
  if (box.width < 2 || box.height < 2 || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
  const ground = groundOf(element);
  const style = getComputedStyle(element);
  const ink = rgba(element.closest("svg") ? style.fill : style.color);
  const shown = over([ink[0], ink[1], ink[2], ink[3] * opacityOf(element)], ground);
  const value = contrast(shown, ground);
  if (value < least) {
    const place = element.tagName.toLowerCase() + [...element.classList].map((name) => "." + name).join("");
    found.push([text.slice(0, 40), Math.round(value * 100) / 100, place]);
  }
}
return found;
