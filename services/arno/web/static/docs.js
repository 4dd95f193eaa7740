// Shows /openapi.json: operations first, then the schemas that they name.
import { element } from "./dom.js";

const place = document.getElementById("api");

/** Show what stands between backticks as code. */
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return element("a", { href: `#${name}` }, name);
  }
  if (schema.type === "array") return element("span", {}, "list of ", typeOf(schema.items));
  if (schema.enum) return schema.enum.join(" | ");
  return [schema.type, schema.format ?? schema.contentEncoding].filter(Boolean).join(", ");
}

function bodies(content = {}) {
  return Object.entries(content).map(([type, { schema }]) =>
    element("li", {}, element("code", {}, type), " ", schema.$ref ? typeOf(schema) : fields(schema)));
}

function fields(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, one]) =>
    element("tr", {},
      element("td", {}, element("code", {}, name)),
      element("td", {}, typeOf(one)),
      element("td", {}, ...prose(one.description ?? ""))));
  return rows.length ? element("table", { class: "fields" }, element("tbody", {}, ...rows)) : typeOf(schema);
}

function nameOf(path, method) {
  return `${method}${path.replaceAll(/[^a-z0-9]+/g, "-")}`;
}

/** A line that leads to an operation. */
function entry(path, method, one) {
  return element("li", {}, element("a", { href: `#${nameOf(path, method)}` }, `${method.toUpperCase()} ${path}`), " ", ...prose(one.summary));
}

function operation(path, method, one) {
  const parameters = (one.parameters ?? []).map((each) =>
    element("li", {}, element("code", {}, each.name), ` (${each.in}) `, each.description ?? ""));
  const answers = Object.entries(one.responses).map(([status, each]) =>
    element("li", {}, element("b", {}, status), ` ${each.description} `, element("ul", {}, ...bodies(each.content))));
  return element("section", { class: "card", id: nameOf(path, method) },
    element("h2", {}, element("span", { class: `method ${method}` }, method.toUpperCase()), " ", element("code", {}, path)),
    element("p", {}, ...prose(one.summary)),
    ...(one["x-codeSamples"] ?? []).map((sample) => element("pre", { class: "raw" }, sample.source.replace("http://127.0.0.1:8080", location.origin))),
    parameters.length ? element("ul", {}, ...parameters) : "",
    one.requestBody ? element("h3", {}, "Request") : "",
    one.requestBody ? element("ul", {}, ...bodies(one.requestBody.content)) : "",
    element("h3", {}, "Answer"), element("ul", {}, ...answers));
}

const description = await (await fetch("/openapi.json")).json();
const operations = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, one]) => [path, method, one]));
const schemas = Object.entries(description.components.schemas).map(([name, schema]) =>
  element("section", { class: "card", id: name },
    element("h2", {}, name), schema.description ? element("p", {}, ...prose(schema.description)) : "", fields(schema)));
place.replaceChildren(
  element("h1", {}, `${description.info.title} over HTTP`),
  element("p", {}, description.info.description),
  element("ul", { class: "contents" }, ...operations.map((one) => entry(...one))),
  ...operations.map((one) => operation(...one)), element("h1", {}, "Messages"), ...schemas);
place.removeAttribute("aria-busy");
// The part that the address names was not there yet when the browser looked for it.
document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
