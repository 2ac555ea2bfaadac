// Reads a JSON list of KQL queries, and writes the faults of each: by Microsoft's parser, with the columns bound to the tables.
//
// tables.json has the columns that each table has to itself, as of
// https://learn.microsoft.com/azure/azure-monitor/reference/tables; the others are those of every table here.
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { readFileSync } = require("node:fs");
const own = require("./tables.json");

const COMMON = [
  "TimeGenerated: datetime",
  ...["AppRoleInstance", "AppRoleName", "AppVersion", "OperationId", "OperationName", "ParentId", "SDKVersion"].map(string),
  ...["TenantId", "Type", "_ResourceId", "_SubscriptionId"].map(string),
].join(", ");

function string(name) {
  return `${name}: string`;
}

const { DatabaseSymbol, TableSymbol } = Kusto.Language.Symbols;
const tables = Object.entries(own).map(([name, columns]) => new TableSymbol.$ctor7(name, `(${COMMON}, ${columns})`, null));
const database = new DatabaseSymbol.$ctor1("workspace", tables);
const globals = Kusto.Language.GlobalState.Default.WithDatabase(database);

function faults(query) {
  const found = Kusto.Language.KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index))
    .filter((one) => one.Severity !== "Suggestion" && one.Severity !== "Hidden")
    .map((one) => one.Message);
}

const queries = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(queries.map(faults)));
