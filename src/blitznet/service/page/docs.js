// Shows the OpenAPI schema as a page, without loading anything from other hosts.

const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
// Text in which backticks mark code, as in Markdown.
const prose = (tag, text) =>
  make(tag, "", ...text.split("`").map((part, at) => (at % 2 ? make("code", part) : part)));
const rows = (pairs) =>
  make("table", "", make("tbody", "", ...pairs.map((cells) =>
    make("tr", "", ...cells.map((cell) => prose("td", cell))))));
const kind = ({ type, enum: values, minimum, maximum, default: usual }) =>
  [values?.join(" | ") ?? type, minimum !== undefined && `${minimum}..${maximum}`, usual !== undefined && `default ${usual}`]
    .filter(Boolean).join(", ");

function section(method, path, operation) {
  const title = make("h3", "", make("span", method.toUpperCase()), path);
  const parts = [title, prose("p", operation.description)];
  const types = Object.keys(operation.requestBody?.content ?? {});
  if (path === "/predict") parts.push(make("pre", `curl -F file=@street.jpg ${location.origin}/predict`));
  if (types.length) parts.push(make("p", `Body: ${types.join(", ")}`));
  const parameters = operation.parameters ?? [];
  if (parameters.length) parts.push(rows(parameters.map((one) => [one.name, kind(one.schema), one.description])));
  parts.push(rows(Object.entries(operation.responses).map(([status, { description }]) => [status, description])));
  if (path === "/predict") parts.push(make("pre", JSON.stringify(operation.responses["200"].content["application/json"].example, null, 2)));
  return make("section", "", ...parts);
}

const token = sessionStorage.getItem("token");
const answer = await fetch("/openapi.json", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
const api = await answer.json();
if (answer.ok) {
  document.getElementById("about").textContent = `${api.info.description} Version ${api.info.version}.`;
  const paths = Object.entries(api.paths);
  paths.sort(([a], [b]) => (b === "/predict") - (a === "/predict")); // what most people look for
  for (const [path, methods] of paths) {
    for (const [method, operation] of Object.entries(methods)) {
      document.getElementById("operations").append(section(method, path, operation));
    }
  }
} else {
  document.getElementById("about").textContent = api.detail;
}
