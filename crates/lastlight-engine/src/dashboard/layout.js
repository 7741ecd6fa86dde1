// Places the nodes of a graph in layers and routes its edges. The same graph is always placed in the same way. Knows
// neither jobs nor the page.
//
// A node's layer is the length of the longest path to it. An edge over several layers passes through a track in each
// layer between, so that it crosses no node; edges of one kind from one node share their tracks.

const SWEEPS = 24;
const TRACK = 10;
// So few layers are always placed side by side; more of them only if that is narrower than below each other.
const FEW = 6;
// A graph with more items than this is ordered and aligned in fewer sweeps.
const MANY = 2000;

const SIZE = { width: 212, height: 78 };
// Distances between layers and between the nodes of a layer.
const ACROSS = { between: 52, beside: 18, margin: 14 };
const DOWN = { between: 44, beside: 22, margin: 14 };

// nodes: [{ id, needs: [ids], follows: [ids] }], each after those that it depends on. Returns { width, height, isAcross,
// size, places: Map of id to { x, y, layer }, edges: [{ from, to, isNeeded, path, arrow }] } in pixels.
export function layout(nodes) {
  const { layers, edges } = layered(nodes);
  const sweeps = layers.flat().length > MANY ? SWEEPS / 4 : SWEEPS;
  order(layers, sweeps);
  const widest = Math.max(0, ...layers.map((layer) => layer.filter(({ id }) => id !== null).length));
  const isAcross = layers.length <= FEW
    || layers.length * (SIZE.width + ACROSS.between) < widest * (SIZE.width + DOWN.beside);
  const distance = isAcross ? ACROSS : DOWN;
  const [along, beside] = isAcross ? [SIZE.width, SIZE.height] : [SIZE.height, SIZE.width];
  align(layers, (item) => (item.id === null ? TRACK : beside), distance.beside, sweeps);
  const all = layers.flat();
  const low = Math.min(...all.map((item) => item.middle - (item.id === null ? TRACK : beside) / 2), Infinity);
  const high = Math.max(...all.map((item) => item.middle + (item.id === null ? TRACK : beside) / 2), -Infinity);
  const start = (layer) => distance.margin + layer * (along + distance.between);
  for (const item of all) item.middle = Math.round(item.middle - low + distance.margin);
  const at = (one, other) => (isAcross ? `${one} ${other}` : `${other} ${one}`);
  const length = layers.length === 0 ? 0 : start(layers.length - 1) + along + distance.margin;
  const breadth = all.length === 0 ? 0 : Math.round(high - low) + 2 * distance.margin;
  const places = new Map(all.filter(({ id }) => id !== null).map((item) => {
    const [one, other] = [start(item.layer), item.middle - beside / 2];
    return [item.id, { x: isAcross ? one : other, y: isAcross ? other : one, layer: item.layer }];
  }));
  return {
    width: isAcross ? length : breadth, height: isAcross ? breadth : length, isAcross, size: SIZE, places,
    edges: edges.map(({ from, to, isNeeded, items }) => {
      let path = `M${at(start(items[0].layer) + along, items[0].middle)}`;
      for (let step = 1; step < items.length; step += 1) {
        const [one, other] = [items[step - 1], items[step]];
        const [leaves, arrives] = [start(one.layer) + along, start(other.layer) - (other.id === null ? 0 : 5)];
        const bend = distance.between / 2;
        path += `C${at(leaves + bend, one.middle)} ${at(arrives - bend, other.middle)} ${at(arrives, other.middle)}`;
        if (other.id === null) path += `L${at(start(other.layer) + along, other.middle)}`;
      }
      const last = items.at(-1);
      const tip = start(last.layer) - 1;
      const arrow = `M${at(tip, last.middle)}L${at(tip - 7, last.middle - 4)}L${at(tip - 7, last.middle + 4)}Z`;
      return { from, to, isNeeded, path, arrow };
    }),
  };
}

// The layers with their nodes and tracks, and the edges with the items that each passes.
function layered(nodes) {
  const layers = [], found = new Map(), edges = [];
  const item = (key, id, layer) => {
    if (found.has(key)) return found.get(key);
    const made = { id, layer, place: 0, middle: 0, before: [], after: [] };
    (layers[layer] ??= []).push(made);
    found.set(key, made);
    return made;
  };
  for (const { id, needs, follows } of nodes) {
    const sources = [...needs.map((from) => [from, true]), ...follows.map((from) => [from, false])]
      .filter(([from]) => found.has(`node ${from}`));
    const layer = Math.max(-1, ...sources.map(([from]) => found.get(`node ${from}`).layer)) + 1;
    const target = item(`node ${id}`, id, layer);
    for (const [from, isNeeded] of sources) {
      const items = [found.get(`node ${from}`)];
      for (let between = items[0].layer + 1; between < layer; between += 1) {
        items.push(item(`track ${from} ${isNeeded} ${between}`, null, between));
      }
      items.push(target);
      edges.push({ from, to: id, isNeeded, items });
    }
  }
  const linked = new Map([...found.values()].map((one) => [one, new Set()]));
  for (const { items } of edges) {
    for (let step = 1; step < items.length; step += 1) linked.get(items[step - 1]).add(items[step]);
  }
  for (const [one, others] of linked) {
    one.after = [...others];
    for (const other of others) other.before.push(one);
  }
  return { layers, edges };
}

// Orders each layer by the mean place of the neighbours in the layer before, then after, and so on; the order with the
// fewest crossings is kept.
function order(layers, sweeps) {
  const number = (layer) => layer.forEach((item, place) => { item.place = place; });
  layers.forEach(number);
  const mean = (items) => items.reduce((sum, { place }) => sum + place, 0) / items.length;
  let best = layers.map((layer) => [...layer]), fewest = crossings(layers);
  for (let sweep = 0; sweep < sweeps && fewest > 0; sweep += 1) {
    const isForward = sweep % 2 === 0;
    for (const layer of isForward ? layers : [...layers].reverse()) {
      const wanted = new Map(layer.map((item) => {
        const near = isForward ? item.before : item.after;
        return [item, near.length > 0 ? mean(near) : item.place];
      }));
      layer.sort((one, other) => wanted.get(one) - wanted.get(other) || one.place - other.place);
      number(layer);
    }
    const now = crossings(layers);
    if (now < fewest) [best, fewest] = [layers.map((layer) => [...layer]), now];
  }
  best.forEach((layer, index) => {
    layers[index] = layer;
    number(layer);
  });
}

function crossings(layers) {
  let sum = 0;
  for (const layer of layers) {
    const ends = layer.flatMap(({ after }) => after.map(({ place }) => place).sort((one, other) => one - other));
    sum += inversions(ends);
  }
  return sum;
}

// Number of pairs in the wrong order, counted while they are merged.
function inversions(values) {
  if (values.length < 2) return 0;
  const half = values.length >> 1;
  const [left, right] = [values.slice(0, half), values.slice(half)];
  let sum = inversions(left) + inversions(right);
  for (let at = 0, one = 0, other = 0; at < values.length; at += 1) {
    if (other >= right.length || (one < left.length && left[one] <= right[other])) values[at] = left[one++];
    else {
      values[at] = right[other++];
      sum += left.length - one;
    }
  }
  return sum;
}

// Moves each item towards the mean place of its neighbours, in its layer's order. Tracks have more weight, so that long
// edges are straight.
function align(layers, sizeOf, gap, sweeps) {
  for (const layer of layers) settle(layer, layer.map(() => ({ wanted: 0, weight: 1 })), sizeOf, gap);
  const weightOf = (one, other) => (one.id === null ? (other.id === null ? 8 : 3) : other.id === null ? 3 : 1);
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    const isForward = sweep % 2 === 0;
    for (const layer of isForward ? layers : [...layers].reverse()) {
      const targets = layer.map((item) => {
        const near = sweep >= sweeps - sweeps / 3 ? [...item.before, ...item.after] : isForward ? item.before : item.after;
        if (near.length === 0) return { wanted: item.middle, weight: 0.2 };
        let sum = 0, weight = 0;
        for (const other of near) {
          sum += weightOf(item, other) * other.middle;
          weight += weightOf(item, other);
        }
        return { wanted: sum / weight, weight };
      });
      settle(layer, targets, sizeOf, gap);
    }
  }
}

// The places nearest to the targets, by least squares, at which no items overlap: neighbours that would overlap become a
// block that moves as one.
function settle(layer, targets, sizeOf, gap) {
  const offsets = [];
  layer.forEach((item, index) => {
    offsets.push(index === 0 ? 0 : offsets[index - 1] + (sizeOf(layer[index - 1]) + sizeOf(item)) / 2 + gap);
  });
  const blocks = [];
  targets.forEach(({ wanted, weight }, index) => {
    let block = { mean: wanted - offsets[index], weight, count: 1 };
    while (blocks.length > 0 && blocks.at(-1).mean > block.mean) {
      const other = blocks.pop();
      const together = other.weight + block.weight;
      block = { mean: (other.mean * other.weight + block.mean * block.weight) / together, weight: together, count: other.count + block.count };
    }
    blocks.push(block);
  });
  let index = 0;
  for (const { mean, count } of blocks) {
    for (let step = 0; step < count; step += 1, index += 1) layer[index].middle = mean + offsets[index];
  }
}
