// The request as code that can be run elsewhere. A key that was typed in stands there by the name of a variable.

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
// What curl would take for a parameter of the part, or for a second file.
const ofCurl = (name) => (/[;,"\\]/.test(name) ? `"${name.replaceAll(/["\\]/g, "\\$&")}"` : name);
const plain = (task) => Object.keys(task).length === 1;

function pythonTask(task) {
  if (plain(task)) return JSON.stringify(task.task);
  const parts = [JSON.stringify(task.task)];
  if (task.text) parts.push(`text=${JSON.stringify(task.text)}`);
  if (task.region) parts.push(`region=(${Object.values(task.region).join(", ")})`);
  return `arno.TaskRequest(${parts.join(", ")})`;
}

function python(name, tasks, server) {
  const key = server.keyed ? ', api_key=os.environ["ARNO_API_KEY"]' : "";
  return [
    ...(key ? ["import os", ""] : []),
    "import arno", "",
    `with arno.Client(${JSON.stringify(server.gateway)}${key}) as client:`,
    `    result = client.infer(${[JSON.stringify(name), ...tasks.map(pythonTask)].join(", ")})`,
    "    for task in result:",
    "        print(task.task, task.answer_text)",
    "        for region in task.regions:",
    "            print(region.label, region.score, region.shape)",
  ].join("\n");
}

function curl(name, tasks, server) {
  const asked = tasks.map((task) => `-F task=${plain(task) ? task.task : shell(JSON.stringify(task))}`);
  const key = server.keyed ? ['-H "Authorization: Bearer $ARNO_API_KEY"'] : [];
  return [`curl ${location.origin}/v1/infer`, ...key, `-F ${shell(`image=@${ofCurl(name)}`)}`, ...asked].join(" \\\n  ");
}

function grpcurl(name, tasks, server) {
  const specs = tasks.map((task) => ({ ...task, task: `TASK_${task.task}` }));
  return [
    `jq -n --rawfile image <(base64 -w0 ${shell(name)}) --argjson tasks ${shell(JSON.stringify(specs))} \\`,
    "    '{image: {content: $image}, tasks: $tasks}' |",
    `  grpcurl -plaintext ${server.keyed ? '-H "authorization: Bearer $ARNO_API_KEY" ' : ""}-d @ ${server.gateway} arno.api.v1.VisionService/Infer`,
  ].join("\n");
}

export const LANGUAGES = { Python: python, curl, grpcurl };
