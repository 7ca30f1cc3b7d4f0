// The words of a search and their meaning, as in lossreg/search/words.py; a test compares the two.
"use strict";

const LONG = 5;
const SHORT = 3;

function singular(word) {
  if (word.length > LONG && word.endsWith("ies")) return word.slice(0, -3) + "y";
  if (word.endsWith("sses")) return word.slice(0, -2);
  return word.length > SHORT && word.endsWith("s") && !"su".includes(word.at(-2)) ? word.slice(0, -1) : word;
}

const words = (text) => (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).map(singular);

function asked(text, empty) {
  const typed = [...new Set(words(text))];
  const telling = typed.filter((word) => !empty.includes(word));
  return telling.length ? telling : typed;
}

const means = (typed, word) =>
  typed.length < SHORT ? typed === word : word.startsWith(typed) || (word.length >= LONG && typed.startsWith(word));

const isAmong = (typed, known) => known.some((word) => means(typed, word));

// The losses that have most of the words, the best first, and the problems that do; as in lossreg/search/search.py.
function search(text, losses, problems, empty) {
  const typed = asked(text, empty);
  const most = (pairs) => {
    const largest = Math.max(0, ...pairs.map(([, found]) => found.length));
    return largest ? pairs.filter(([, found]) => found.length === largest).map(([each]) => each) : [];
  };
  const had = problems.map((problem) => {
    const known = words(`${problem.key} ${problem.title} ${problem.words}`);
    return [problem, typed.filter((word) => isAmong(word, known))];
  });
  const best = most(had);
  const worths = new Map(losses.map((loss) => {
    const own = [[words(loss.spellings), 4], [words(`${loss.provider} ${loss.tags.join(" ")}`), 3], [words(loss.summary), 1]];
    const solved = had.filter(([problem]) => problem.key in loss.places).flatMap(([, found]) => found);
    const found = typed.map((word) => Math.max(
      0, ...own.filter(([known]) => isAmong(word, known)).map(([, worth]) => worth), solved.includes(word) ? 3 : 0));
    return [loss, found.filter(Boolean)];
  }));
  const sum = (loss) => worths.get(loss).reduce((a, b) => a + b, 0);
  const place = (loss) => Math.min(Infinity, ...best.filter(({ key }) => key in loss.places).map(({ key }) => loss.places[key]));
  const found = most([...worths]).sort((a, b) =>
    sum(b) - sum(a) || Math.sign(place(a) - place(b)) || b.owned - a.owned || (a.name < b.name ? -1 : 1));
  return { losses: found, problems: best };
}
