// The request as code that can be run elsewhere.

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const plain = (task) => Object.keys(task).length === 1;

function pythonTask(task) {
  if (plain(task)) return JSON.stringify(task.task);
  const parts = [JSON.stringify(task.task)];
  if (task.text) parts.push(`text=${JSON.stringify(task.text)}`);
  if (task.region) parts.push(`region=(${Object.values(task.region).join(", ")})`);
  return `arno.TaskRequest(${parts.join(", ")})`;
}

function python(name, tasks, server) {
  return [
    "import arno", "",
    `with arno.Client(${JSON.stringify(server.gateway)}) as client:`,
    `    result = client.infer(${[JSON.stringify(name), ...tasks.map(pythonTask)].join(", ")})`,
    "    for task in result:",
    "        print(task.task, task.answer_text)",
    "        for region in task.regions:",
    "            print(region.label, region.score, region.shape)",
  ].join("\n");
}

function curl(name, tasks) {
  const asked = tasks.map((task) => `-F task=${plain(task) ? task.task : shell(JSON.stringify(task))}`);
  return [`curl ${location.origin}/v1/infer`, `-F ${shell(`image=@${name}`)}`, ...asked].join(" \\\n  ");
}

function grpcurl(name, tasks, server) {
  const specs = tasks.map((task) => ({ ...task, task: `TASK_${task.task}` }));
  return [
    `jq -n --rawfile image <(base64 -w0 ${shell(name)}) --argjson tasks ${shell(JSON.stringify(specs))} \\`,
    "    '{image: {content: $image}, tasks: $tasks}' |",
    `  grpcurl -plaintext -d @ ${server.gateway} arno.api.v1.VisionService/Infer`,
  ].join("\n");
}

export const LANGUAGES = { Python: python, curl, grpcurl };
