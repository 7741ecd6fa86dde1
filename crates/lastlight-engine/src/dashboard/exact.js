// JSON parsing that keeps all digits of numbers: parameters and results are shown and copied as they are stored.

// An integer that a JavaScript number cannot represent exactly becomes raw JSON, which JSON.stringify writes unchanged.
// Browsers without JSON.rawJSON round it.
export function exactly(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, { source }) =>
    (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER ? JSON.rawJSON(source) : value));
}

export const isExact = (value) => JSON.isRawJSON?.(value) ?? false;
