// JSON whose numbers keep their digits: parameters and results are shown, and copied, as they are stored.

// A whole number that JavaScript has no exact value for becomes its text, which JSON.stringify writes as the number that it
// is. Browsers that do not know JSON.rawJSON round it, as they always did.
export function exactly(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, { source }) =>
    (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER ? JSON.rawJSON(source) : value));
}

export const isExact = (value) => JSON.isRawJSON?.(value) ?? false;
