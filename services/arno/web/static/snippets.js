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

// What each client calls the files of TLS. This server does not tell where it has them.
const PEM_FILES = {
  authority: { python: ['root_certificates="ca.pem"'], grpcurl: "-cacert ca.pem" },
  certificate: {
    python: ['certificate="client.pem"', 'private_key="client.key"'],
    grpcurl: "-cert client.pem -key client.key",
  },
};
const pemFiles = (tls) => Object.keys(PEM_FILES).filter((kind) => tls[kind]).map((kind) => PEM_FILES[kind]);

function python(name, tasks, server) {
  const tls = server.gatewayTls ? `, tls=arno.client.Tls(${pemFiles(server.gatewayTls).flatMap((file) => file.python).join(", ")})` : "";
  const key = server.keyed ? ', api_key=os.environ["ARNO_API_KEY"]' : "";
  return [
    ...(key ? ["import os", ""] : []),
    "import arno", "",
    `with arno.Client(${JSON.stringify(server.gateway)}${tls}${key}) as client:`,
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
  const tls = server.gatewayTls ? pemFiles(server.gatewayTls).map((file) => file.grpcurl) : ["-plaintext"];
  const key = server.keyed ? ['-H "authorization: Bearer $ARNO_API_KEY"'] : [];
  return [
    `jq -n --rawfile image <(base64 -w0 ${shell(name)}) --argjson tasks ${shell(JSON.stringify(specs))} \\`,
    "    '{image: {content: $image}, tasks: $tasks}' |",
    `  grpcurl ${[...tls, ...key, "-d @", server.gateway].join(" ")} arno.api.v1.VisionService/Infer`,
  ].join("\n");
}

export const LANGUAGES = { Python: python, curl, grpcurl };
