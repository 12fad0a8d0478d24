
// Formats numbers and times.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (number) => whole.format(number);

function rate(perSecond) {
  if (perSecond >= 10_000) return compact.format(perSecond);
  return perSecond >= 10 || perSecond === 0 ? whole.format(perSecond) : perSecond.toFixed(1);
}

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

function duration(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min`;
  if (total < 86_400) return `${Math.floor(total / 3600)} h ${Math.floor((total % 3600) / 60)} min`;
  return `${Math.floor(total / 86_400)} d ${Math.floor((total % 86_400) / 3600)} h`;
}

const clock = (date) => date.toTimeString().slice(0, 8);

/** Shows invisible and bidirectional characters as their codes, except joiners, which are part of emoji. */
const visible = (text) => text.replace(/[\p{Cc}\p{Cf}]/gu, (char) => (/[\n\t\u200c\u200d]/.test(char) ? char : `\\u{${char.codePointAt(0).toString(16)}}`));

/** The first few of several names. */
function some(names, max) {
  const more = names.length - max;
  return names.slice(0, max).join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
}
