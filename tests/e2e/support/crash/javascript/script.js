// Breaks in line 4.
function deeper(values) {
  // Not there.
  return values["missing"].name;
}

export function run(_event) {
  return deeper({});
}
