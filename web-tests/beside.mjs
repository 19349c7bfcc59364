// Prints what was measured natively and in the page side by side, as tables in Markdown:
// `node beside.mjs NATIVE.json PAGE.json`, of `shardlab bench --json` and `node bench.mjs`.
import { readFileSync } from 'node:fs';

const PREFIXES = ['n', 'µ', 'm', '', 'k', 'M', 'G', 'T'];
const UNITS = { flops_per_sec: 'FLOP/s', bytes_per_sec: 'B/s', seconds: 's' };

const digits = (value) => String(Number(value.toPrecision(3)));

const written = ({ value, unit }) => {
  const step = Math.min(Math.max(Math.floor(Math.log10(value) / 3), -3), 4);
  return `${digits(value / 1000 ** step)} ${PREFIXES[step + 3]}${UNITS[unit]}`;
};

// Always as it looks from the native side: below 1 where the page is better.
const ratio = (native, page) =>
  (native.unit === 'seconds' ? page.value / native.value : native.value / page.value).toFixed(2);

const [native, page] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')).figures);
const key = ({ section, name }) => `${section}: ${name}`;
const inPage = new Map(page.map((figure) => [key(figure), figure]));
let section = '';
for (const figure of native) {
  if (figure.section !== section) {
    section = figure.section;
    console.log(`\n## ${section}\n\n| what | native | page | by which native is faster |\n|---|---|---|---|`);
  }
  const other = inPage.get(key(figure));
  const beside = other ? `${written(other)} | ${ratio(figure, other)}` : 'not measured | ';
  console.log(`| ${figure.name} | ${written(figure)} | ${beside} |`);
}
